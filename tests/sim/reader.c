/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader asks for offsets while others write. In the reckoning it asks for the end of every
 * partition and reads them all from front to back. Batches that nobody waits for (acks=0) may
 * arrive meanwhile, so it reads on until nothing is left that anybody was told of.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/dirs.h"
#include "tests/sim/promises.h"

#define EARLIEST      (-2)
#define LATEST        (-1)
#define MAX_TIMESTAMP (-3)

struct reader {
    struct actor actor;
    struct ask ask;
    struct topic_fact *topic;
    uint32_t incarnation;
    uint32_t losses; /* of the partition, when asked */
    int32_t partition;
    int64_t timestamp; /* asked for */
    int64_t start;     /* both of the model, when asked */
    int64_t end;

    /* the reckoning */
    uint32_t next_topic;
    int32_t next_partition;
    bool end_wanted; /* both of this partition: to be asked for */
    bool start_wanted;
    bool done;
};

static struct reader *reader_of(struct actor *a)
{
    return container_of(a, struct reader, actor);
}

static void reader_start(struct actor *a)
{
    (void)a;
}

static struct partition_fact *fact_of(const struct reader *re)
{
    return &re->topic->partition[re->partition];
}

static bool is_valid(const struct reader *re)
{
    return re->topic->state == TOPIC_THERE && re->topic->incarnation == re->incarnation &&
           fact_of(re)->losses == re->losses;
}

/* ---- offsets ---- */

/* The first record at or after a time: none that was acknowledged before the question lies in front
 * of it. */
static void time_check(struct reader *re, const struct list_offsets_response_partition *answer)
{
    struct model *m = re->actor.model;
    if (re->topic->append_time)
        return; /* its times are the broker's */
    const struct partition_fact *fact = fact_of(re);
    int64_t upto = answer->offset < 0 ? re->end : min_i64(answer->offset, re->end);
    for (int64_t at = fact->start_asked; at < upto; at++) {
        uint64_t tag = at < fact->tags_size ? fact->tags[at] : 0;
        if (tag != 0 && (int64_t)tag >= re->timestamp && m->attempts[tag].acked)
            wrong(m, "%s-%d: the first at time %lld is %lld, not %lld", re->topic->name,
                  re->partition, (long long)re->timestamp, (long long)at,
                  (long long)answer->offset);
    }
    if (answer->offset >= 0 && answer->offset < re->start)
        wrong(m, "%s-%d: time %lld is at %lld, and it began at %lld", re->topic->name,
              re->partition, (long long)re->timestamp, (long long)answer->offset,
              (long long)re->start);
    if (answer->offset >= 0 && answer->timestamp < re->timestamp)
        wrong(m, "%s-%d: time %lld at %lld for %lld", re->topic->name, re->partition,
              (long long)answer->timestamp, (long long)answer->offset, (long long)re->timestamp);
}

/* The record with the greatest time: none that was acknowledged before the question has more. */
static void max_time_check(struct reader *re, const struct list_offsets_response_partition *answer)
{
    struct model *m = re->actor.model;
    if (re->topic->append_time)
        return;
    const struct partition_fact *fact = fact_of(re);
    for (int64_t at = fact->start_asked; at < re->end; at++) {
        uint64_t tag = at < fact->tags_size ? fact->tags[at] : 0;
        if (tag != 0 && (int64_t)tag > answer->timestamp && m->attempts[tag].acked)
            wrong(m, "%s-%d: the greatest time is %lld, and %llu is at %lld", re->topic->name,
                  re->partition, (long long)answer->timestamp, (unsigned long long)tag,
                  (long long)at);
    }
    if (answer->offset >= 0 && answer->offset < re->start)
        wrong(m, "%s-%d: the greatest time is at %lld, and it began at %lld", re->topic->name,
              re->partition, (long long)answer->offset, (long long)re->start);
}

static void offset_check(struct reader *re, const struct list_offsets_response_partition *answer)
{
    struct model *m = re->actor.model;
    dirs_answered(m, &re->ask, answer->error_code, re->topic, (uint32_t)re->partition);
    if (model_excuses(m, re->ask.life, answer->error_code) ||
        promises_excuse(m, re->topic, answer->error_code))
        return;
    if (answer->error_code != ERR_NONE)
        wrong(m, "ListOffsets of %s-%d: %s", re->topic->name, re->partition,
              err_name(answer->error_code));
    else if (re->timestamp == EARLIEST)
        model_start(m, re->topic, re->partition, answer->offset, re->start);
    else if (re->timestamp == LATEST)
        model_end(m, re->topic, re->partition, answer->offset, re->end);
    else if (re->timestamp == MAX_TIMESTAMP)
        max_time_check(re, answer);
    else
        time_check(re, answer);
    if (m->reckoning && re->timestamp == LATEST)
        re->end_wanted = false;
    if (m->reckoning && re->timestamp == EARLIEST) {
        re->start_wanted = false;
        fact_of(re)->reckoned = max_i64(fact_of(re)->reckoned, answer->offset);
    }
}

static void on_offsets(struct client *c, struct client_call *call)
{
    struct reader *re = container_of(call, struct reader, ask.call);
    struct list_offsets_response response;
    (void)c;
    actor_later(&re->actor, re->actor.model->resting ? 0 : 2 * MS);
    if (!ask_answered(&re->ask) || !ask_read(&re->ask, read_list_offsets_response, &response))
        return;
    if (response.topics_count != 1 || response.topics[0].partitions_count != 1)
        wrong(re->actor.model, "ListOffsets answers something else");
    else if (is_valid(re))
        offset_check(re, &response.topics[0].partitions[0]);
}

static void ask_offsets(struct reader *re, int64_t timestamp)
{
    struct list_offsets_request request;
    struct list_offsets_request_topic topic;
    struct list_offsets_request_partition partition;
    int16_t version =
        actor_version(&re->actor, KEY_LIST_OFFSETS, timestamp == MAX_TIMESTAMP ? 7 : 1);
    init_list_offsets_request(&request);
    init_list_offsets_request_topic(&topic);
    init_list_offsets_request_partition(&partition);
    request.replica_id = -1;
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of(re->topic->name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.partition_index = re->partition;
    partition.timestamp = re->timestamp = timestamp;
    re->losses = fact_of(re)->losses;
    re->start = fact_of(re)->start;
    re->end = fact_of(re)->end;
    struct wr *w = ask_begin(&re->actor, &re->ask, KEY_LIST_OFFSETS, version);
    write_list_offsets_request(w, version, &request);
    ask_send(&re->ask, on_offsets);
}

static void ask_something(struct reader *re)
{
    struct actor *a = &re->actor;
    re->topic = model_topic(a->model, &a->rng);
    actor_later(a, a->model->resting ? 100 * MS : 3 * MS);
    if (!re->topic || a->model->resting)
        return;
    re->incarnation = re->topic->incarnation;
    re->partition = (int32_t)rng_below(&a->rng, (uint64_t)re->topic->partitions);
    uint64_t kind = rng_below(&a->rng, 6);
    int64_t time = (int64_t)rng_below(&a->rng, a->model->count + 2);
    if (kind == 0)
        ask_offsets(re, EARLIEST);
    else if (kind < 3)
        ask_offsets(re, LATEST);
    else
        ask_offsets(re, kind == 3 ? MAX_TIMESTAMP : time);
}

/* ---- the reckoning ---- */

static void on_fetched(struct client *c, struct client_call *call)
{
    struct reader *re = container_of(call, struct reader, ask.call);
    struct fetch_response response;
    (void)c;
    actor_later(&re->actor, 0);
    if (!ask_answered(&re->ask) || !ask_read(&re->ask, read_fetch_response, &response))
        return;
    if (response.responses_count != 1 || response.responses[0].partitions_count != 1) {
        wrong(re->actor.model, "Fetch answers something else");
        return;
    }
    const struct fetch_response_partition *answer = &response.responses[0].partitions[0];
    struct partition_fact *fact = fact_of(re);
    if (model_excuses(re->actor.model, re->ask.life, answer->error_code) ||
        promises_excuse(re->actor.model, re->topic, answer->error_code))
        return;
    if (answer->error_code == ERR_OFFSET_OUT_OF_RANGE && fact->reckoned < fact->start_asked) {
        re->start_wanted = true; /* it begins later now */
        return;
    }
    if (answer->error_code != ERR_NONE) {
        wrong(re->actor.model, "reading %s-%d at %lld: %s", re->topic->name, re->partition,
              (long long)fact->reckoned, err_name(answer->error_code));
        return;
    }
    const struct span *span = &answer->records.span;
    if (answer->records.kind != RECORDS_SPAN || span->len == 0) {
        wrong(re->actor.model, "%s-%d: nothing at %lld of %lld", re->topic->name, re->partition,
              (long long)fact->reckoned, (long long)fact->end);
        return;
    }
    must(span->piece->len - span->skip >= span->len);
    fact->reckoned = model_read(re->actor.model, re->topic, re->partition, fact->reckoned,
                                (const uint8_t *)span->piece->data + span->skip, span->len);
}

static void read_on(struct reader *re)
{
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    int16_t version = actor_version(&re->actor, KEY_FETCH, re->topic->zstd ? 10 : 4);
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    init_fetch_request_partition(&partition);
    request.min_bytes = 1;
    request.max_bytes = 1 << 16;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    if (version >= 13)
        topic.topic_id = re->topic->id;
    else
        topic.topic = str_of(re->topic->name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.partition = re->partition;
    partition.fetch_offset = fact_of(re)->reckoned;
    partition.partition_max_bytes = 1 << 16;
    struct wr *w = ask_begin(&re->actor, &re->ask, KEY_FETCH, version);
    write_fetch_request(w, version, &request);
    ask_send(&re->ask, on_fetched);
}

/* Whose end is to be asked for. False: there was none after the last. */
static bool next_partition(struct reader *re)
{
    struct model *m = re->actor.model;
    for (; re->next_topic < TOPICS_MAX; re->next_topic++, re->next_partition = 0) {
        struct topic_fact *topic = &m->topics[re->next_topic];
        if (topic->state != TOPIC_THERE || re->next_partition >= topic->partitions)
            continue;
        re->topic = topic;
        re->incarnation = topic->incarnation;
        re->partition = re->next_partition++;
        re->end_wanted = true;
        re->start_wanted = true;
        return true;
    }
    return false;
}

/* One that is known to go on behind what was read of it. */
static bool unread_partition(struct reader *re)
{
    struct model *m = re->actor.model;
    for (uint32_t t = 0; t < TOPICS_MAX; t++) {
        struct topic_fact *topic = &m->topics[t];
        for (int32_t i = 0; topic->state == TOPIC_THERE && i < topic->partitions; i++) {
            if (topic->partition[i].reckoned >= topic->partition[i].end)
                continue;
            re->topic = topic;
            re->incarnation = topic->incarnation;
            re->partition = i;
            return true;
        }
    }
    return false;
}

static void reckon(struct reader *re)
{
    if (re->end_wanted || (!re->start_wanted && next_partition(re)))
        ask_offsets(re, LATEST);
    else if (re->start_wanted)
        ask_offsets(re, EARLIEST);
    else if (unread_partition(re))
        read_on(re);
    else
        re->done = true;
}

static void reader_step(struct actor *a)
{
    struct reader *re = reader_of(a);
    if (re->ask.under_way || re->done)
        return;
    if (a->model->reckoning)
        reckon(re);
    else
        ask_something(re);
}

static bool reader_busy(const struct actor *a)
{
    const struct reader *re = container_of(no_const(a), struct reader, actor);
    return a->model->reckoning && !re->done;
}

const struct actor_kind actor_reader = {
    .name = "reader",
    .size = sizeof(struct reader),
    .start = reader_start,
    .step = reader_step,
    .busy = reader_busy,
};
