/* SPDX-License-Identifier: Apache-2.0
 *
 *   connect -> [Fetch -> answer -> parts, one after another: truncate or append -> all durable]
 *
 * A partition whose log is truncated is left out of Fetches until that is done.
 */
#include "core/replica/replica_fetcher.h"

#include "core/broker_address.h"
#include "core/partition/partition_private.h"
#include "core/replica/replica_private.h"
#include "io/diag.h"
#include "io/mem.h"
#include "net/kafka.h"

#include <string.h>

#define FETCH_BYTES_MAX    (2U << 20) /* room for others beside one that has more than it may send */
#define PART_BYTES_MAX     (1U << 20)
#define ANSWER_BYTES_MAX   (128U << 20) /* one batch may be as large as a request */
#define FETCH_VERSION_MIN  15
#define WAIT_MAX_MS        500
#define WAIT_LEAST_MS      2
#define WAIT_CUTTING_MS    5 /* while there are truncations: their partitions are not asked for */
#define ANSWER_PATIENCE_NS 10000000000ULL
#define RECONNECT_NS       20000000ULL /* after a loss */
#define THROTTLE_LOOK_NS   1000000000ULL

struct fetched_bytes {
    struct piece piece;
    uint8_t data[];
};

/* An answer: its bytes in one piece, and what it says of each partition. Lives until the last of
 * its batches is durable. */
struct fetched {
    struct fetched_bytes *bytes;
    uint32_t count;
    uint32_t next;
    struct fetched_part parts[];
};

struct replica_fetchers {
    struct broker_shard *bs;
    SLIST_HEAD(, replica_fetcher) fetchers;
    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

void replica_wake(struct replica_fetcher *f)
{
    shard_ready(f->bs->sh, &f->task);
}

static void wake_at(struct replica_fetcher *f, uint64_t at_ns)
{
    if (!timer_is_set(&f->timer) || f->timer.at_ns > at_ns)
        timer_set(f->bs->sh, &f->timer, at_ns);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    replica_wake(container_of(timer, struct replica_fetcher, timer));
}

static uint64_t now_ns(const struct replica_fetcher *f)
{
    return io_now_ns(f->bs->sh->io);
}

void replica_back_off(struct partition_follow *follow, uint64_t for_ns)
{
    follow->not_before_ns = now_ns(follow->fetcher) + for_ns;
}

static bool is_idle(const struct replica_fetcher *f)
{
    return !f->calling && !f->fetched && f->writes == 0 && f->cuts == 0;
}

static void maybe_stopped(struct replica_fetchers *all)
{
    struct replica_fetcher *f;
    if (!all->stopped)
        return;
    SLIST_FOREACH (f, &all->fetchers, link)
        if (!is_idle(f) || f->client.state != CLIENT_IDLE)
            return;
    void (*stopped)(void *) = all->stopped;
    all->stopped = NULL;
    stopped(all->user);
}

static void fetched_free(struct replica_fetcher *f)
{
    mem_free(f->fetched->bytes);
    mem_free(f->fetched);
    f->fetched = NULL;
}

/* True when all parts have been looked at; their bytes stay until all is durable. */
static bool take_parts(struct replica_fetcher *f)
{
    uint64_t began_ns = io_clock_ns(f->bs->sh->io);
    struct fetched *fetched = f->fetched;
    while (fetched->next < fetched->count) {
        if (!replica_part_take(f, &fetched->parts[fetched->next], began_ns)) {
            replica_wake(f);
            return false;
        }
        fetched->next++;
    }
    return true;
}

static uint32_t count_parts(const struct fetch_response *response)
{
    uint32_t count = 0;
    for (int32_t i = 0; i < response->responses_count; i++)
        count += (uint32_t)response->responses[i].partitions_count;
    return count;
}

/* The leader fills an answer in the order of the request, so whoever was served asks last: else one
 * that always has more would leave nothing to those behind it. */
static void ask_last(struct partition_follow *follow)
{
    struct replica_fetcher *f = follow->fetcher;
    TAILQ_REMOVE(&f->follows, follow, link);
    TAILQ_INSERT_TAIL(&f->follows, follow, link);
}

/* What was asked of the partition; false: it was not. */
static bool part_fill(struct replica_fetcher *f, struct fetched_part *part,
                      const struct uuid *topic_id, const struct fetch_response_partition *in)
{
    *part = (struct fetched_part){.key = {.topic_id = *topic_id, .partition = in->partition_index},
                                  .error = in->error_code,
                                  .high_watermark = in->high_watermark,
                                  .log_start_offset = in->log_start_offset,
                                  .diverging_epoch = in->diverging_epoch.epoch,
                                  .diverging_end_offset = in->diverging_epoch.end_offset,
                                  .records = in->records.span};
    struct partition *pt = partition_find(&f->bs->partitions, &part->key);
    struct partition_follow *follow = pt ? pt->follow : NULL;
    if (!follow || follow->fetcher != f || follow->asked_offset < 0)
        return false;
    part->offset = follow->asked_offset;
    part->leader_epoch = pt->leader_epoch;
    follow->asked_offset = -1;
    if (part->records.len > 0)
        ask_last(follow);
    return true;
}

static bool answer_read(struct replica_fetcher *f, struct client_call *call)
{
    uint32_t len = call->answer.len;
    struct fetched_bytes *bytes = mem_alloc(sizeof(*bytes) + len);
    struct span rest = call->answer;
    struct fetch_response response;
    struct rd rd;
    span_take(&rest, bytes->data, len);
    rd_init(&rd, span_of(&bytes->piece, bytes->data, len));
    if (!read_fetch_response(&rd, call->arena, call->version, &response) ||
        response.error_code != ERR_NONE) {
        mem_free(bytes);
        return false;
    }
    uint32_t count = count_parts(&response);
    struct fetched *fetched = mem_zalloc(sizeof(*fetched) + count * sizeof(fetched->parts[0]));
    fetched->bytes = bytes;
    for (int32_t i = 0; i < response.responses_count; i++) {
        const struct fetch_response_topic *topic = &response.responses[i];
        for (int32_t j = 0; j < topic->partitions_count; j++)
            fetched->count += part_fill(f, &fetched->parts[fetched->count], &topic->topic_id,
                                        &topic->partitions[j]);
    }
    f->fetched = fetched;
    return true;
}

/* ---- asking ---- */

static void on_answer(struct client *c, struct client_call *call)
{
    struct replica_fetcher *f = call->user;
    f->calling = false;
    if (call->status == CLIENT_ANSWERED && !answer_read(f, call)) {
        diag_info(f->bs->sh, "replica.fetch_refused", "leader=%d", f->leader);
        f->connect_ns = now_ns(f) + BACKOFF_NS;
        client_close(c);
    }
    replica_wake(f);
}

static void topic_begin(struct fetch_request *request, const struct uuid *id,
                        struct fetch_request_partition *partitions)
{
    struct fetch_request_topic *topic = &request->topics[request->topics_count++];
    init_fetch_request_topic(topic);
    topic->topic_id = *id;
    topic->partitions = partitions;
}

static void part_ask(struct partition_follow *follow, struct fetch_request_partition *out)
{
    const struct partition *pt = follow->pt;
    init_fetch_request_partition(out);
    follow->asked_offset = pt->log->end_offset;
    out->partition = pt->key.partition;
    out->current_leader_epoch = pt->leader_epoch;
    out->fetch_offset = pt->log->end_offset;
    out->last_fetched_epoch = pt->log->leader_epoch;
    out->log_start_offset = pt->log->start_offset;
    out->partition_max_bytes = PART_BYTES_MAX;
}

/* How long it is held up (core/replica/replica_throttle.h): one that catches up, as far as is
 * known. The rate may be another one soon. */
static uint64_t rest_ns(const struct partition_follow *follow)
{
    const struct partition *pt = follow->pt;
    const bool catches_up =
        follow->leader_watermark < 0 || follow->leader_watermark > pt->log->end_offset;
    if (!catches_up || !pt->throttled[REPLICA_FOLLOWS])
        return 0;
    return min_u64(replica_throttle_rest_ns(pt->bs, REPLICA_FOLLOWS), THROTTLE_LOOK_NS);
}

/* Nothing is on its way into its log (a truncation may be), and it does not back off: *next_ns. */
static bool may_ask(const struct partition_follow *follow, uint64_t *next_ns)
{
    if (follow->pt->writes > 0)
        return false; /* whose end wakes the fetcher */
    uint64_t at_ns = max_u64(follow->not_before_ns, now_ns(follow->fetcher) + rest_ns(follow));
    if (at_ns <= now_ns(follow->fetcher))
        return true;
    *next_ns = min_u64(*next_ns, at_ns);
    return false;
}

/* How long the leader may wait for records: who is left out now is not to wait until others have
 * some, which may take WAIT_MAX_MS and a leadership that has just begun as long. */
static int32_t wait_ms(const struct replica_fetcher *f, uint64_t next_ns)
{
    uint64_t rest_ms = next_ns == UINT64_MAX ? WAIT_MAX_MS : (next_ns - now_ns(f)) / 1000000;
    if (f->cuts > 0)
        return WAIT_CUTTING_MS;
    return (int32_t)max_u64(WAIT_LEAST_MS, min_u64(rest_ms, WAIT_MAX_MS));
}

/* Those whose time has come; false: none. */
static bool request_fill(struct replica_fetcher *f, struct fetch_request *request)
{
    uint32_t count = 0;
    uint64_t next_ns = UINT64_MAX;
    struct partition_follow *follow;
    TAILQ_FOREACH (follow, &f->follows, link)
        count++;
    struct fetch_request_partition *out = arena_array(&f->arena, count, sizeof(*out));
    request->topics = arena_array(&f->arena, count, sizeof(*request->topics));
    must(out && request->topics);
    TAILQ_FOREACH (follow, &f->follows, link) {
        follow->asked_offset = -1;
        if (!may_ask(follow, &next_ns))
            continue;
        const struct uuid *id = &follow->pt->key.topic_id;
        if (request->topics_count == 0 ||
            !uuid_equal(&request->topics[request->topics_count - 1].topic_id, id))
            topic_begin(request, id, out);
        request->topics[request->topics_count - 1].partitions_count++;
        part_ask(follow, out++);
    }
    if (next_ns != UINT64_MAX)
        wake_at(f, next_ns);
    request->max_wait_ms = wait_ms(f, next_ns);
    return request->topics_count > 0;
}

static void ask(struct replica_fetcher *f)
{
    const struct broker_image *self = image_broker(f->bs->image, f->bs->broker->node_id);
    int16_t version = client_version(&f->client, KEY_FETCH, CLIENT_NEWEST);
    struct fetch_request request;
    init_fetch_request(&request);
    arena_reset(&f->arena);
    if (!self || version < FETCH_VERSION_MIN) {
        wake_at(f, now_ns(f) + BACKOFF_NS);
        return;
    }
    if (!request_fill(f, &request))
        return;
    request.replica_state.replica_id = self->id;
    request.replica_state.replica_epoch = self->epoch;
    request.min_bytes = 1;
    request.max_bytes = FETCH_BYTES_MAX;
    struct wr *w = client_begin(&f->client, &f->call, KEY_FETCH, version);
    (void)write_fetch_request(w, version, &request);
    f->call.done = on_answer;
    f->call.user = f;
    f->calling = true;
    if (!client_send(&f->client, &f->call, now_ns(f) + ANSWER_PATIENCE_NS)) {
        f->calling = false; /* partitions beyond all measure */
        wake_at(f, now_ns(f) + DAMAGE_BACKOFF_NS);
    }
}

static void connect_to_leader(struct replica_fetcher *f)
{
    struct io_address address;
    if (f->connect_ns > now_ns(f)) {
        wake_at(f, f->connect_ns);
    } else if (broker_address(f->bs, f->leader, &address)) {
        client_connect(&f->client, &address);
    } else {
        f->connect_ns = now_ns(f) + RECONNECT_NS;
        wake_at(f, f->connect_ns);
    }
}

static void on_task(struct shard *sh, struct task *task)
{
    struct replica_fetcher *f = container_of(task, struct replica_fetcher, task);
    (void)sh;
    if (f->fetched && !take_parts(f))
        return;
    if (f->calling || f->writes > 0)
        return;
    if (f->fetched)
        fetched_free(f);
    bool wanted = !f->all->stopping && !TAILQ_EMPTY(&f->follows);
    if (f->client.state == CLIENT_IDLE && wanted)
        connect_to_leader(f);
    else if (f->client.state == CLIENT_READY && wanted)
        ask(f);
    else if (f->client.state != CLIENT_IDLE && !wanted)
        client_close(&f->client);
    maybe_stopped(f->all);
}

static void on_ready(struct client *c)
{
    replica_wake(c->user);
}

static void on_lost(struct client *c)
{
    struct replica_fetcher *f = c->user;
    f->connect_ns = max_u64(f->connect_ns, now_ns(f) + (f->closing ? 0 : RECONNECT_NS));
    f->closing = false;
    replica_wake(f);
}

/* ---- life ---- */

static struct replica_fetcher *fetcher_of(struct replica_fetchers *all, int32_t leader)
{
    struct replica_fetcher *f;
    SLIST_FOREACH (f, &all->fetchers, link)
        if (f->leader == leader)
            return f;
    f = mem_zalloc(sizeof(*f));
    f->all = all;
    f->bs = all->bs;
    f->leader = leader;
    TAILQ_INIT(&f->follows);
    f->task = (struct task){.fn = on_task, .name = "replica.fetch"};
    f->timer = (struct timer){.fn = on_timer, .name = "replica.fetch"};
    arena_init(&f->arena, CLIENT_ARENA_MAX);
    broker_client_init(&f->client, f->bs->sh,
                       &(struct broker_client){"replica", ANSWER_BYTES_MAX, on_ready, on_lost, f});
    SLIST_INSERT_HEAD(&all->fetchers, f, link);
    return f;
}

void replica_follow(struct partition *pt)
{
    struct replica_fetchers *all = pt->bs->fetchers;
    must(!pt->follow && !pt->leading && pt->writes == 0);
    if (all->stopping)
        return;
    struct replica_fetcher *f = fetcher_of(all, pt->leader);
    pt->follow = mem_zalloc(sizeof(*pt->follow));
    *pt->follow = (struct partition_follow){
        .pt = pt, .fetcher = f, .asked_offset = -1, .leader_watermark = -1};
    TAILQ_INSERT_TAIL(&f->follows, pt->follow, link);
    /* A Fetch that waits for the others does not hold up the new one: its connection is made
     * anew. */
    if (f->calling && f->client.state == CLIENT_READY) {
        f->closing = true;
        client_close(&f->client);
    }
    replica_wake(f);
}

void replica_unfollow(struct partition *pt)
{
    struct partition_follow *follow = pt->follow;
    if (!follow)
        return;
    TAILQ_REMOVE(&follow->fetcher->follows, follow, link);
    replica_wake(follow->fetcher);
    mem_free(follow);
    pt->follow = NULL;
}

struct replica_fetchers *replica_fetchers_new(struct broker_shard *bs)
{
    struct replica_fetchers *all = mem_zalloc(sizeof(*all));
    all->bs = bs;
    SLIST_INIT(&all->fetchers);
    return all;
}

void replica_fetchers_stop(struct replica_fetchers *all, void (*done)(void *user), void *user)
{
    struct replica_fetcher *f;
    all->stopping = true;
    all->stopped = done;
    all->user = user;
    SLIST_FOREACH (f, &all->fetchers, link) {
        timer_cancel(f->bs->sh, &f->timer);
        client_close(&f->client);
        replica_wake(f);
    }
    maybe_stopped(all);
}

void replica_fetchers_free(struct replica_fetchers *all)
{
    struct replica_fetcher *f;
    while ((f = SLIST_FIRST(&all->fetchers))) {
        SLIST_REMOVE_HEAD(&all->fetchers, link);
        must(TAILQ_EMPTY(&f->follows));
        client_fini(&f->client);
        arena_fini(&f->arena);
        mem_free(f);
    }
    mem_free(all);
}
