/* SPDX-License-Identifier: Apache-2.0
 *
 *   connect -> [Fetch -> answer -> parts, one after another: truncate or append -> all durable]
 *
 * A partition whose log is truncated is left out of Fetches until that is done.
 *
 * The part of a partition that has changed its leader meanwhile, or whose log is not where it was
 * when it was asked for, is dropped: it will be asked for again by whoever follows then.
 */
#include "core/replica_fetcher.h"

#include "core/broker.h"
#include "core/broker_address.h"
#include "core/partition_private.h"
#include "core/partition_trim.h"
#include "core/record/batch.h"
#include "io/diag.h"
#include "io/mem.h"
#include "net/client.h"
#include "net/kafka.h"

#include <string.h>

#define FETCH_BYTES_MAX    (2U << 20) /* room for others beside one that has more than it may send */
#define PART_BYTES_MAX     (1U << 20)
#define ANSWER_BYTES_MAX   (128U << 20) /* one batch may be as large as a request */
#define FETCH_VERSION_MIN  15
#define WAIT_MAX_MS        500
#define WAIT_CUTTING_MS    20 /* while there are truncations: their partitions are not asked for */
#define ANSWER_PATIENCE_NS 10000000000ULL
#define CONNECT_TIMEOUT_NS 3000000000ULL
#define RECONNECT_NS       20000000ULL /* after a loss */
#define BACKOFF_NS         20000000ULL /* of a partition whose leader is not where we believe */
#define DAMAGE_BACKOFF_NS  1000000000ULL

/* What a fetcher keeps of a partition. */
struct partition_follow {
    struct partition *pt;
    struct replica_fetcher *fetcher;
    TAILQ_ENTRY(partition_follow) link; /* in the order in which the leader is asked */
    uint64_t not_before_ns;             /* backing off */
    int64_t asked_offset;               /* in the Fetch under way; -1: it is not in it */
    int64_t leader_watermark;
};

TAILQ_HEAD(follow_list, partition_follow);

struct fetched_part {
    struct partition_key key;
    int64_t offset; /* that was asked for */
    int32_t leader_epoch;
    int16_t error;
    int64_t high_watermark;
    int64_t log_start_offset;
    int32_t diverging_epoch; /* -1: none */
    int64_t diverging_end_offset;
    struct span records;
};

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

struct replica_fetcher {
    struct replica_fetchers *all;
    struct broker_shard *bs;
    SLIST_ENTRY(replica_fetcher) link;
    int32_t leader;
    struct follow_list follows;
    struct client client;
    struct client_call call;
    bool calling;
    bool closing; /* by ourselves: connect again at once */
    struct fetched *fetched;
    uint32_t writes;    /* appends that are not durable */
    uint32_t cuts;      /* likewise truncations, which hold up nobody else */
    struct arena arena; /* of the request while it is written */
    struct task task;
    struct timer timer;
    uint64_t connect_ns; /* not before */
};

struct replica_fetchers {
    struct broker_shard *bs;
    SLIST_HEAD(, replica_fetcher) fetchers;
    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

/* A batch on its way into the log. */
struct follow_append {
    struct log_append append;
    struct replica_fetcher *fetcher;
    struct partition *pt;
};

struct follow_truncate {
    struct log_change change;
    struct replica_fetcher *fetcher;
    struct partition *pt;
    int64_t offset;
    bool reset; /* all goes, and the log begins at `offset` */
};

static void wake(struct replica_fetcher *f)
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
    wake(container_of(timer, struct replica_fetcher, timer));
}

static uint64_t now_ns(const struct replica_fetcher *f)
{
    return io_now_ns(f->bs->sh->io);
}

static void back_off(struct partition_follow *follow, uint64_t for_ns)
{
    follow->not_before_ns = now_ns(follow->fetcher) + for_ns;
}

/* ---- into the log ---- */

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

/* `count` is one of the fetcher's. */
static void write_ended(struct replica_fetcher *f, struct partition *pt, uint32_t *count)
{
    must(*count > 0);
    --*count;
    partition_write_end(pt); /* it may have another role from here on */
    wake(f);
}

/* The follower's own idea of the high watermark: where it begins should it lead. */
static void watermark_settle(struct partition *pt)
{
    const struct partition_follow *follow = pt->follow;
    if (follow)
        pt->high_watermark =
            max_i64(pt->high_watermark, min_i64(follow->leader_watermark, pt->log->durable_offset));
}

static void on_appended(struct log_append *append)
{
    struct follow_append *op = append->user;
    struct partition *pt = op->pt;
    struct replica_fetcher *f = op->fetcher;
    if (append->verdict == LOG_OK) {
        watermark_settle(pt);
    } else if (pt->follow) {
        diag_warn(f->bs->sh, "replica.append_failed", "topic=%s partition=%d reason=%s",
                  pt->log->topic, pt->key.partition, log_verdict_text(append->verdict));
        back_off(pt->follow, DAMAGE_BACKOFF_NS);
    }
    mem_free(op);
    write_ended(f, pt, &f->writes);
}

/* Is this the next batch of the log, by what its leader may have written? */
static bool batch_fits(const struct partition *pt, const struct batch_header *header)
{
    return header->magic == BATCH_MAGIC && header->last_offset_delta >= 0 &&
           header->base_offset >= pt->log->end_offset &&
           header->leader_epoch >= pt->log->leader_epoch &&
           header->leader_epoch <= pt->leader_epoch;
}

/* The first batch of *records goes into the log. False: no more of this partition now. */
static bool append_one(struct partition *pt, struct span *records)
{
    struct partition_follow *follow = pt->follow;
    struct batch_header header;
    if (!batch_header_read(&header, records) || batch_size(&header) > records->len)
        return false; /* the end of the answer, in the middle of a batch */
    if (!batch_fits(pt, &header)) {
        diag_warn(pt->bs->sh, "replica.batch_refused",
                  "topic=%s partition=%d base_offset=%lld leader_epoch=%d log_end=%lld",
                  pt->log->topic, pt->key.partition, (long long)header.base_offset,
                  header.leader_epoch, (long long)pt->log->end_offset);
        back_off(follow, DAMAGE_BACKOFF_NS);
        return false;
    }
    struct follow_append *op = mem_alloc(sizeof(*op));
    *op = (struct follow_append){.fetcher = follow->fetcher, .pt = pt};
    op->append = (struct log_append){.batch = span_first(*records, (uint32_t)batch_size(&header)),
                                     .leader_epoch = header.leader_epoch,
                                     .replica = true,
                                     .append_time_ms = -1,
                                     .max_timestamp = LOG_KEEP,
                                     .done = on_appended,
                                     .user = op};
    enum log_verdict verdict = log_append(pt->log, &op->append);
    if (verdict != LOG_OK && verdict != LOG_WAIT) {
        diag_warn(pt->bs->sh, "replica.append_refused", "topic=%s partition=%d reason=%s",
                  pt->log->topic, pt->key.partition, log_verdict_text(verdict));
        mem_free(op);
        back_off(follow, DAMAGE_BACKOFF_NS);
        return false;
    }
    follow->fetcher->writes++;
    partition_write_begin(pt);
    span_advance(records, (uint32_t)batch_size(&header));
    /* One that waits may yet be refused, and nothing may come after a gap. */
    return verdict == LOG_OK;
}

/* ---- truncation ---- */

static void on_truncated(struct log_change *change)
{
    struct follow_truncate *op = change->user;
    struct partition *pt = op->pt;
    struct replica_fetcher *f = op->fetcher;
    diag_info(f->bs->sh, op->reset ? "replica.reset" : "replica.truncated",
              "topic=%s partition=%d to=%lld reason=%s", pt->log->topic, pt->key.partition,
              (long long)op->offset, log_verdict_text(change->verdict));
    if (change->verdict == LOG_OK && op->reset)
        pt->high_watermark = pt->log->start_offset; /* what lies below is gone with consent */
    else if (change->verdict == LOG_OK)
        pt->high_watermark = min_i64(pt->high_watermark, pt->log->end_offset);
    else if (pt->follow)
        back_off(pt->follow, DAMAGE_BACKOFF_NS);
    mem_free(op);
    write_ended(f, pt, &f->cuts);
}

static void cut_to(struct partition *pt, int64_t offset, bool reset)
{
    struct replica_fetcher *f = pt->follow->fetcher;
    struct follow_truncate *op = mem_zalloc(sizeof(*op));
    op->change = (struct log_change){.done = on_truncated, .user = op};
    op->fetcher = f;
    op->pt = pt;
    op->offset = offset;
    op->reset = reset;
    f->cuts++;
    partition_write_begin(pt);
    if (reset)
        log_reset(pt->log, &op->change, offset);
    else
        log_truncate(pt->log, &op->change, offset);
}

/* The leader's history parts from ours: its epoch ends where it says. Ours of that epoch may end
 * earlier; or we never had it, then all that is newer than it goes. Never to a high watermark.
 * Where they part at or below the leader's start nothing of ours is of use, and there may be no
 * batch of ours that begins there. */
static void follow_diverged(struct partition *pt, const struct fetched_part *part)
{
    int32_t epoch;
    int64_t end;
    if (part->diverging_end_offset <= part->log_start_offset) {
        cut_to(pt, part->log_start_offset, true);
        return;
    }
    if (!log_epoch_end(pt->log, part->diverging_epoch, &epoch, &end)) {
        epoch = part->diverging_epoch; /* newer than all of ours */
        end = pt->log->end_offset;
    }
    if (epoch == part->diverging_epoch)
        end = min_i64(end, part->diverging_end_offset);
    if (io_mutation(pt->bs->sh->io, "replica.truncates_to_watermark"))
        end = min_i64(pt->high_watermark, pt->log->end_offset);
    end = max_i64(end, pt->log->start_offset);
    if (end < pt->log->end_offset)
        cut_to(pt, end, false);
    else
        back_off(pt->follow, BACKOFF_NS); /* the leader contradicts itself */
}

/* ---- what came ---- */

static void on_trimmed(struct partition_trim *trim)
{
    mem_free(trim);
}

/* The leader's log begins later by now. */
static void follow_start(struct partition *pt, int64_t start)
{
    start = min_i64(start, pt->high_watermark);
    if (start <= pt->log->start_offset)
        return;
    struct partition_trim *trim = mem_zalloc(sizeof(*trim));
    trim->offset = start;
    trim->done = on_trimmed;
    partition_trim_here(pt, trim);
}

/* The leader has nothing any more of what comes next here, and says where its first batch begins.
 * All of ours lies below its start, or was never committed: it goes. */
static void follow_below_start(struct partition *pt, int64_t first)
{
    if (io_mutation(pt->bs->sh->io, "replica.stays_below_start"))
        back_off(pt->follow, DAMAGE_BACKOFF_NS);
    else
        cut_to(pt, first, true);
}

static void follow_error(struct partition *pt, const struct fetched_part *part)
{
    if (part->error == ERR_OFFSET_OUT_OF_RANGE && part->log_start_offset >= 0 &&
        part->log_start_offset != part->offset) {
        follow_below_start(pt, part->log_start_offset);
        return;
    }
    if (part->error == ERR_OFFSET_OUT_OF_RANGE)
        diag_warn(pt->bs->sh, "replica.out_of_range",
                  "topic=%s partition=%d offset=%lld leader_log_start=%lld", pt->log->topic,
                  pt->key.partition, (long long)part->offset, (long long)part->log_start_offset);
    back_off(pt->follow, part->error == ERR_OFFSET_OUT_OF_RANGE ? DAMAGE_BACKOFF_NS : BACKOFF_NS);
}

/* False: more of it in a later turn. */
static bool part_take(struct replica_fetcher *f, struct fetched_part *part, uint64_t began_ns)
{
    struct partition *pt = partition_find(&f->bs->partitions, &part->key);
    struct partition_follow *follow = pt ? pt->follow : NULL;
    if (!follow || follow->fetcher != f || pt->leader_epoch != part->leader_epoch)
        return true;
    if (pt->log->end_offset != part->offset) /* moved on: between two of its batches at the most */
        return true;
    if (part->error != ERR_NONE) {
        follow_error(pt, part);
        return true;
    }
    if (part->diverging_epoch >= 0) {
        follow_diverged(pt, part);
        return true;
    }
    follow->leader_watermark = part->high_watermark;
    while (part->records.len > 0 && append_one(pt, &part->records)) {
        part->offset = pt->log->end_offset;
        if (shard_should_yield(f->bs->sh, began_ns))
            return false;
    }
    watermark_settle(pt);
    follow_start(pt, part->log_start_offset);
    return true;
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
        if (!part_take(f, &fetched->parts[fetched->next], began_ns)) {
            wake(f);
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
    wake(f);
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

/* Nothing is on its way into its log (a truncation may be), and it does not back off: *next_ns. */
static bool may_ask(const struct partition_follow *follow, uint64_t *next_ns)
{
    if (follow->pt->writes > 0)
        return false; /* whose end wakes the fetcher */
    if (follow->not_before_ns <= now_ns(follow->fetcher))
        return true;
    *next_ns = min_u64(*next_ns, follow->not_before_ns);
    return false;
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
    request.max_wait_ms = f->cuts > 0 ? WAIT_CUTTING_MS : WAIT_MAX_MS;
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
    wake(c->user);
}

static void on_lost(struct client *c)
{
    struct replica_fetcher *f = c->user;
    f->connect_ns = max_u64(f->connect_ns, now_ns(f) + (f->closing ? 0 : RECONNECT_NS));
    f->closing = false;
    wake(f);
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
    const struct client_options options = {.client_id = str_of("replica"),
                                           .software_name = str_of("millrace"),
                                           .software_version = str_of("1"),
                                           .answer_bytes_max = ANSWER_BYTES_MAX,
                                           .connect_timeout_ns = CONNECT_TIMEOUT_NS,
                                           .on_ready = on_ready,
                                           .on_lost = on_lost};
    client_init(&f->client, f->bs->sh, &options);
    f->client.user = f;
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
    *pt->follow = (struct partition_follow){.pt = pt, .fetcher = f, .asked_offset = -1};
    TAILQ_INSERT_TAIL(&f->follows, pt->follow, link);
    /* A Fetch that waits for the others does not hold up the new one: its connection is made
     * anew. */
    if (f->calling && f->client.state == CLIENT_READY) {
        f->closing = true;
        client_close(&f->client);
    }
    wake(f);
}

void replica_unfollow(struct partition *pt)
{
    struct partition_follow *follow = pt->follow;
    if (!follow)
        return;
    TAILQ_REMOVE(&follow->fetcher->follows, follow, link);
    wake(follow->fetcher);
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
        wake(f);
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
