/* SPDX-License-Identifier: Apache-2.0
 *
 *   damage -> [step ...] -> ask a replica -> give -> [step ...] -> whole
 *                              ^               |
 *                              +---------------+ refused: the next replica; more is needed: again
 */
#include "core/partition/partition_mend.h"

#include "core/log/log_mend.h"
#include "core/replica/replica_ask.h"
#include "io/diag.h"
#include "io/mem.h"

#include <stdio.h>
#include <string.h>

#define BEGIN_NS       10000000ULL    /* who met the damage ends first */
#define NEWS_NS        10000000000ULL /* other damage could not be mended, this one may */
#define AGAIN_FIRST_NS 1000000000ULL
#define AGAIN_MOST_NS  600000000000ULL
#define PEERS_MAX      8U
#define WHY_SIZE       200
#define HEAP_SHARE     8U /* of the heap's plan: as much again for the file's own bytes */
#define BYTES_LEAST    (4U << 20)
#define BYTES_MOST     (256U << 20)

/* A partition with damage. */
struct mend {
    TAILQ_ENTRY(mend) link;
    struct partition_key key;
    uint64_t not_before_ns;
    uint64_t again_ns;
    uint64_t others;     /* who could be asked when it was tried last */
    char told[WHY_SIZE]; /* why it was not mended, as it was told */
};

struct mender {
    struct broker_shard *bs;
    TAILQ_HEAD(, mend) mends;
    struct timer timer;

    /* under way */
    struct mend *mend; /* NULL: nothing is */
    struct partition *pt;
    struct log_mend *log_mend;
    struct replica_ask ask;
    int32_t peers[PEERS_MAX];
    uint32_t peer_count;
    uint32_t peer;
    uint64_t step_ns; /* when the last one began */
    bool resting;
    bool asking;
    char why[WHY_SIZE];

    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

static void step(struct mender *m);

static uint64_t now_ns(const struct mender *m)
{
    return io_now_ns(m->bs->sh->io);
}

static bool may_go_on(const struct mender *m)
{
    return !m->stopping && !m->pt->closing && !broker_logs_failed(m->pt);
}

/* ---- which one, and when ---- */

static void look_again(struct mender *m)
{
    const struct mend *mend;
    uint64_t at_ns = UINT64_MAX;
    if (m->stopping || m->mend)
        return;
    TAILQ_FOREACH (mend, &m->mends, link)
        at_ns = min_u64(at_ns, mend->not_before_ns);
    if (at_ns < UINT64_MAX)
        timer_set(m->bs->sh, &m->timer, max_u64(at_ns, now_ns(m) + 1));
}

static void mend_drop(struct mender *m, struct mend *mend)
{
    TAILQ_REMOVE(&m->mends, mend, link);
    mem_free(mend);
}

void mender_damaged(struct mender *m, const struct partition *pt)
{
    struct mend *mend;
    TAILQ_FOREACH (mend, &m->mends, link)
        if (uuid_equal(&mend->key.topic_id, &pt->key.topic_id) &&
            mend->key.partition == pt->key.partition)
            break;
    if (!mend) {
        mend = mem_zalloc(sizeof(*mend));
        mend->key = pt->key;
        mend->not_before_ns = now_ns(m) + BEGIN_NS;
        mend->again_ns = AGAIN_FIRST_NS;
        TAILQ_INSERT_TAIL(&m->mends, mend, link);
    }
    mend->not_before_ns = min_u64(mend->not_before_ns, now_ns(m) + NEWS_NS);
    look_again(m);
}

static const struct partition_image *image_of(const struct mender *m,
                                              const struct partition_key *key)
{
    const struct topic_image *topic = image_topic_by_id(m->bs->image, &key->topic_id);
    return topic ? image_partition(topic, key->partition) : NULL;
}

/* It is another number when the set is another one, or a member has come back. */
static uint64_t others_of(const struct mender *m, const struct partition_key *key)
{
    const struct partition_image *now = image_of(m, key);
    uint64_t sum = now ? (uint64_t)now->partition_epoch : 0;
    for (uint32_t i = 0; now && i < now->isr_count; i++) {
        const struct broker_image *member = image_broker(m->bs->image, now->isr[i]);
        if (member && member->live)
            sum += (uint64_t)member->epoch;
    }
    return sum;
}

void mender_image(struct mender *m)
{
    struct mend *mend;
    TAILQ_FOREACH (mend, &m->mends, link) {
        if (mend->others == others_of(m, &mend->key))
            continue;
        mend->again_ns = AGAIN_FIRST_NS;
        mend->not_before_ns = min_u64(mend->not_before_ns, now_ns(m) + AGAIN_FIRST_NS);
    }
    look_again(m);
}

/* ---- its end ---- */

static void tell_not_mended(struct mender *m)
{
    struct mend *mend = m->mend;
    if (strcmp(mend->told, m->why) == 0)
        return;
    memcpy(mend->told, m->why, sizeof(mend->told));
    diag_warn(m->bs->sh, "log.not_mended", "topic=%s partition=%d reason=%s next_step=%s",
              m->pt->log->topic, m->pt->key.partition, m->why,
              "none yet: it is tried again; when no replica has it, restore the file from a copy");
}

static void again_later(struct mender *m, struct mend *mend)
{
    mend->not_before_ns = now_ns(m) + mend->again_ns;
    mend->again_ns = min_u64(2 * mend->again_ns, AGAIN_MOST_NS);
}

static void mend_end(struct mender *m, bool whole)
{
    struct mend *mend = m->mend;
    if (!whole && m->why[0] != '\0' && !m->stopping)
        tell_not_mended(m);
    log_mend_end(m->log_mend);
    m->log_mend = NULL;
    m->mend = NULL;
    partition_unpinned(m->pt);
    m->pt = NULL;
    if (whole)
        mend_drop(m, mend);
    else
        again_later(m, mend);
    if (m->stopping && m->stopped)
        m->stopped(m->user);
    look_again(m);
}

/* ---- asking ---- */

static void peer_add(struct mender *m, int32_t id)
{
    if (m->peer_count < PEERS_MAX && image_broker_is_live(m->bs->image, id))
        m->peers[m->peer_count++] = id;
}

/* The leader, then the others of the set. */
static void peers_find(struct mender *m)
{
    const struct partition_image *now = image_of(m, &m->pt->key);
    const int32_t self = m->bs->broker->node_id;
    m->peer = 0;
    m->peer_count = 0;
    if (now && now->leader != self)
        peer_add(m, now->leader);
    if (io_mutation(m->bs->sh->io, "mend.only_the_leader_is_asked"))
        return;
    for (uint32_t i = 0; now && i < now->isr_count; i++)
        if (now->isr[i] != self && now->isr[i] != now->leader)
            peer_add(m, now->isr[i]);
}

static void ask(struct mender *m)
{
    const struct log_mend_result *result = log_mend_result(m->log_mend);
    if (m->peer == m->peer_count) {
        log_mend_skip(m->log_mend);
        peers_find(m);
        step(m);
        return;
    }
    m->asking = true;
    replica_ask(&m->ask, &(struct replica_question){.broker = m->peers[m->peer],
                                                    .key = m->pt->key,
                                                    .leader_epoch = m->pt->leader_epoch,
                                                    .offset = result->offset});
}

static void ask_next(struct mender *m, const char *why)
{
    const struct log_mend_result *result = log_mend_result(m->log_mend);
    (void)snprintf(m->why, sizeof(m->why), "offset %lld, asked of broker %d: %.100s",
                   (long long)result->from_offset, m->peers[m->peer], why);
    m->peer++;
    ask(m);
}

/* ---- steps ---- */

static void tell_mended(const struct mender *m)
{
    const struct log_mend_result *result = log_mend_result(m->log_mend);
    const struct log *log = m->pt->log;
    diag_info(m->bs->sh, "log.mended",
              "file=%s offset=%u bytes=%u topic=%s partition=%d first_offset=%lld last_offset=%lld "
              "batches=%u from_broker=%d",
              result->file, result->position, result->bytes, log->topic, m->pt->key.partition,
              (long long)result->from_offset, (long long)result->upto_offset - 1, result->batches,
              m->peers[m->peer]);
}

static void rest(struct mender *m)
{
    m->resting = true;
    timer_set(m->bs->sh, &m->timer, now_ns(m) + max_u64(1, now_ns(m) - m->step_ns));
}

static void go_on(struct mender *m)
{
    const struct log_mend_result *result = log_mend_result(m->log_mend);
    if (result->verdict == LOG_MEND_DONE)
        tell_mended(m);
    if (!may_go_on(m)) {
        mend_end(m, false);
        return;
    }
    switch (result->verdict) {
    case LOG_MEND_DONE:
        m->pt->is_uncleanable = false; /* compaction may have given it up for that */
        peers_find(m);
        rest(m);
        return;
    case LOG_MEND_MORE:
        rest(m);
        return;
    case LOG_MEND_ASK:
        ask(m);
        return;
    case LOG_MEND_REFUSED:
        ask_next(m, result->reason);
        return;
    case LOG_MEND_WHOLE:
        mend_end(m, true);
        return;
    case LOG_MEND_LATER:
        if (result->reason)
            (void)snprintf(m->why, sizeof(m->why), "%s", result->reason);
        mend_end(m, !log_is_damaged(m->pt->log)); /* or what was so has gone */
        return;
    }
}

static void on_step_done(void *user)
{
    go_on(user);
}

static void step(struct mender *m)
{
    m->step_ns = now_ns(m);
    if (!log_mend_step(m->log_mend, on_step_done, m))
        go_on(m);
}

/* A leader knows its high watermark, a follower what it was told of it. */
static void on_asked(void *user)
{
    struct mender *m = user;
    m->asking = false;
    if (!may_go_on(m)) {
        mend_end(m, false);
        return;
    }
    if (m->ask.why) {
        ask_next(m, m->ask.why);
        return;
    }
    m->step_ns = now_ns(m);
    const bool waits = log_mend_give(m->log_mend, m->ask.bytes, m->ask.len, m->pt->high_watermark,
                                     on_step_done, m);
    replica_ask_forget(&m->ask); /* there is a copy, and who asks next may be an hour away */
    if (!waits)
        go_on(m);
}

static uint32_t given_bytes_max(const struct broker *broker)
{
    uint64_t share = broker->options.plan.heap_bytes / broker->shard_count / HEAP_SHARE;
    return (uint32_t)max_u64(BYTES_LEAST, min_u64(share, BYTES_MOST));
}

/* False: it need not be mended, or has nobody to ask. */
static bool begin(struct mender *m, struct mend *mend)
{
    struct partition *pt = partition_find(&m->bs->partitions, &mend->key);
    if (!pt || pt->closing || broker_logs_failed(pt) || !log_is_damaged(pt->log))
        return false;
    m->pt = pt;
    mend->others = others_of(m, &mend->key);
    peers_find(m);
    if (m->peer_count == 0) {
        again_later(m, mend);
        return true;
    }
    m->mend = mend;
    m->why[0] = '\0';
    partition_pinned(pt);
    m->log_mend = log_mend_begin(pt->log, given_bytes_max(m->bs->broker));
    step(m);
    return true;
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct mender *m = container_of(timer, struct mender, timer);
    struct mend *mend;
    struct mend *next;
    (void)sh;
    if (m->resting) {
        m->resting = false;
        if (may_go_on(m))
            step(m);
        else
            mend_end(m, false);
        return;
    }
    for (mend = TAILQ_FIRST(&m->mends); mend && !m->mend; mend = next) {
        next = TAILQ_NEXT(mend, link);
        if (mend->not_before_ns <= now_ns(m) && !begin(m, mend))
            mend_drop(m, mend);
    }
    look_again(m);
}

/* ---- life ---- */

struct mender *mender_new(struct broker_shard *bs)
{
    struct mender *m = mem_zalloc(sizeof(*m));
    m->bs = bs;
    TAILQ_INIT(&m->mends);
    m->timer = (struct timer){.fn = on_timer, .name = "partition.mend"};
    replica_ask_init(&m->ask, bs, on_asked, m);
    return m;
}

void mender_stop(struct mender *m, void (*done)(void *user), void *user)
{
    m->stopping = true;
    timer_cancel(m->bs->sh, &m->timer);
    if (!m->mend) {
        done(user);
        return;
    }
    m->stopped = done;
    m->user = user;
    if (m->resting)
        mend_end(m, false);
    else if (m->asking)
        replica_ask_hurry(&m->ask);
    /* else what is under way comes to its end */
}

void mender_free(struct mender *m)
{
    struct mend *mend;
    while ((mend = TAILQ_FIRST(&m->mends)))
        mend_drop(m, mend);
    replica_ask_fini(&m->ask);
    mem_free(m);
}
