/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads compacted topics: from any offset while others write, and in the reckoning all of them from
 * front to back.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/keyed.h"

#define LATEST (-1)

struct key_reader {
    struct actor actor;
    struct ask ask;
    struct topic_fact *topic;
    uint32_t incarnation;
    int32_t partition;
    int64_t offset; /* asked for */
    int64_t end;    /* of the model, when asked */
    /* All partitions of the topic at once: answers that are long enough to be sent piece by piece.
     * From `partition` on, round the end. */
    int32_t count;
    int32_t partitions;              /* there were, then */
    int64_t offsets[PARTITIONS_MAX]; /* [count] */
    int64_t ends[PARTITIONS_MAX];

    /* the reckoning */
    uint32_t next_topic;
    int32_t next_partition;
    bool end_wanted;
    bool reading;
    bool done;
};

static struct key_reader *reader_of(struct actor *a)
{
    return container_of(a, struct key_reader, actor);
}

static void reader_start(struct actor *a)
{
    (void)a;
}

static struct partition_fact *fact_of(const struct key_reader *kr)
{
    return &kr->topic->partition[kr->partition];
}

static bool is_valid(const struct key_reader *kr)
{
    return kr->topic->state == TOPIC_THERE && kr->topic->incarnation == kr->incarnation;
}

static void again(struct key_reader *kr)
{
    actor_later(&kr->actor, kr->actor.model->reckoning ? 0 : 2 * MS);
}

/* ---- the end ---- */

static void end_check(struct key_reader *kr, const struct list_offsets_response_partition *answer)
{
    struct model *m = kr->actor.model;
    if (model_excuses(m, kr->ask.life, answer->error_code))
        return;
    if (answer->error_code != ERR_NONE)
        wrong(m, "ListOffsets of %s-%d: %s", kr->topic->name, kr->partition,
              err_name(answer->error_code));
    else
        model_end(m, kr->topic, kr->partition, answer->offset, kr->end);
    if (m->reckoning)
        kr->end_wanted = false;
}

static void on_end(struct client *c, struct client_call *call)
{
    struct key_reader *kr = container_of(call, struct key_reader, ask.call);
    struct list_offsets_response response;
    (void)c;
    again(kr);
    if (!ask_answered(&kr->ask) || !ask_read(&kr->ask, read_list_offsets_response, &response))
        return;
    if (response.topics_count != 1 || response.topics[0].partitions_count != 1)
        wrong(kr->actor.model, "ListOffsets answers something else");
    else if (is_valid(kr))
        end_check(kr, &response.topics[0].partitions[0]);
}

static void ask_end(struct key_reader *kr)
{
    struct list_offsets_request request;
    struct list_offsets_request_topic topic;
    struct list_offsets_request_partition partition;
    int16_t version = actor_version(&kr->actor, KEY_LIST_OFFSETS, 1);
    init_list_offsets_request(&request);
    init_list_offsets_request_topic(&topic);
    init_list_offsets_request_partition(&partition);
    request.replica_id = -1;
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of(kr->topic->name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.partition_index = kr->partition;
    partition.timestamp = LATEST;
    kr->end = fact_of(kr)->end;
    struct wr *w = ask_begin(&kr->actor, &kr->ask, KEY_LIST_OFFSETS, version);
    write_list_offsets_request(w, version, &request);
    ask_send(&kr->ask, on_end);
}

/* ---- records ---- */

/* What came of the partition that was the n-th in the question; the offset after it. */
static int64_t take_records(struct key_reader *kr, int32_t n,
                            const struct fetch_response_partition *answer)
{
    struct model *m = kr->actor.model;
    const struct span *span = &answer->records.span;
    int32_t partition = answer->partition_index;
    if (model_excuses(m, kr->ask.life, answer->error_code))
        return kr->offsets[n];
    if (answer->error_code != ERR_NONE) {
        wrong(m, "reading %s-%d at %lld: %s", kr->topic->name, partition, (long long)kr->offsets[n],
              err_name(answer->error_code));
        return kr->offsets[n];
    }
    if (answer->records.kind != RECORDS_SPAN || span->len == 0) {
        if (kr->offsets[n] < kr->ends[n] && n == 0) /* the newest records are never compacted */
            wrong(m, "%s-%d: nothing at %lld of %lld", kr->topic->name, partition,
                  (long long)kr->offsets[n], (long long)kr->ends[n]);
        return kr->offsets[n];
    }
    must(span->piece->len - span->skip >= span->len);
    if (n > 0 && !keyed_begins_whole((const uint8_t *)span->piece->data + span->skip, span->len))
        return kr->offsets[n]; /* there was no room for more */
    return keyed_read(m, kr->topic, partition, kr->offsets[n],
                      (const uint8_t *)span->piece->data + span->skip, span->len);
}

static void take_all(struct key_reader *kr, const struct fetch_response_topic *topic)
{
    if (topic->partitions_count != kr->count) {
        wrong(kr->actor.model, "Fetch answers about %d partitions, not %d", topic->partitions_count,
              kr->count);
        return;
    }
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct fetch_response_partition *answer = &topic->partitions[i];
        int32_t n = answer->partition_index - kr->partition;
        n = n < 0 ? n + kr->partitions : n;
        if (n < 0 || n >= kr->count) {
            wrong(kr->actor.model, "Fetch answers about partition %d", answer->partition_index);
            return;
        }
        int64_t next = take_records(kr, n, answer);
        kr->offset = n == 0 ? next : kr->offset;
    }
}

static void on_fetched(struct client *c, struct client_call *call)
{
    struct key_reader *kr = container_of(call, struct key_reader, ask.call);
    struct fetch_response response;
    (void)c;
    again(kr);
    if (!ask_answered(&kr->ask) || !ask_read(&kr->ask, read_fetch_response, &response))
        return;
    if (response.error_code != ERR_NONE || response.responses_count != 1)
        wrong(kr->actor.model, "Fetch answers something else");
    else if (is_valid(kr))
        take_all(kr, &response.responses[0]);
}

static void ask_records(struct key_reader *kr)
{
    kr->offsets[0] = kr->offset;
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partitions[PARTITIONS_MAX];
    int32_t bytes_max = 1 << (kr->actor.model->reckoning ? 16 : rng_between(&kr->actor.rng, 8, 16));
    int16_t version = actor_version(&kr->actor, KEY_FETCH, 4);
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    kr->partitions = kr->topic->partitions;
    for (int32_t i = 0; i < kr->count; i++) {
        int32_t index = (kr->partition + i) % kr->partitions;
        kr->ends[i] = kr->topic->partition[index].end;
        if (i > 0)
            kr->offsets[i] = (int64_t)rng_below(&kr->actor.rng, (uint64_t)kr->ends[i] + 1) / 2;
        init_fetch_request_partition(&partitions[i]);
        partitions[i].partition = index;
        partitions[i].fetch_offset = kr->offsets[i];
        partitions[i].partition_max_bytes = bytes_max;
    }
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    if (version >= 13)
        topic.topic_id = kr->topic->id;
    else
        topic.topic = str_of(kr->topic->name);
    topic.partitions = partitions;
    topic.partitions_count = kr->count;
    struct wr *w = ask_begin(&kr->actor, &kr->ask, KEY_FETCH, version);
    write_fetch_request(w, version, &request);
    ask_send(&kr->ask, on_fetched);
}

static void ask_something(struct key_reader *kr)
{
    struct actor *a = &kr->actor;
    kr->topic = model_topic(a->model, &a->rng);
    actor_later(a, a->model->resting ? 100 * MS : 3 * MS);
    if (!kr->topic || a->model->resting)
        return;
    kr->incarnation = kr->topic->incarnation;
    kr->partition = (int32_t)rng_below(&a->rng, (uint64_t)kr->topic->partitions);
    int64_t end = fact_of(kr)->end;
    if (rng_one_in(&a->rng, 4)) {
        ask_end(kr);
    } else if (end > 0) {
        kr->offset = rng_one_in(&a->rng, 3) ? 0 : (int64_t)rng_below(&a->rng, (uint64_t)end);
        kr->count = rng_one_in(&a->rng, 2) ? kr->topic->partitions : 1;
        ask_records(kr);
    }
}

/* ---- the reckoning ---- */

static bool next_partition(struct key_reader *kr)
{
    struct model *m = kr->actor.model;
    for (; kr->next_topic < TOPICS_MAX; kr->next_topic++, kr->next_partition = 0) {
        struct topic_fact *topic = &m->topics[kr->next_topic];
        if (topic->state != TOPIC_THERE || kr->next_partition >= topic->partitions)
            continue;
        kr->topic = topic;
        kr->incarnation = topic->incarnation;
        kr->partition = kr->next_partition++;
        kr->offset = 0;
        kr->end_wanted = true;
        return true;
    }
    return false;
}

static void reckon(struct key_reader *kr)
{
    if (!kr->reading)
        kr->end_wanted = false; /* what was asked before the reckoning is of no use */
    if (kr->end_wanted) {
        ask_end(kr);
    } else if (kr->reading && kr->offset < fact_of(kr)->end) {
        kr->count = 1;
        ask_records(kr);
    } else if (next_partition(kr)) {
        kr->reading = true;
        ask_end(kr);
    } else {
        kr->done = true;
    }
}

static void reader_step(struct actor *a)
{
    struct key_reader *kr = reader_of(a);
    if (kr->ask.under_way || kr->done)
        return;
    if (a->model->reckoning && a->number == 0)
        reckon(kr);
    else
        ask_something(kr);
}

static bool reader_busy(const struct actor *a)
{
    const struct key_reader *kr = container_of(no_const(a), struct key_reader, actor);
    return a->model->reckoning && a->number == 0 && !kr->done;
}

const struct actor_kind actor_key_reader = {
    .name = "key reader",
    .size = sizeof(struct key_reader),
    .start = reader_start,
    .step = reader_step,
    .busy = reader_busy,
};
