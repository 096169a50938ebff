/* SPDX-License-Identifier: Apache-2.0
 *
 * Consumers: fetch with and without sessions, poll short and long, take partitions up and lay them
 * down, begin at the front, in the middle or at the end. Every byte that comes is compared, and
 * what a consumer waits for must come.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/dirs.h"
#include "tests/sim/promises.h"

#define POSITIONS_MAX 8U
#define LONG_WAIT_MS  4000 /* the answers below come earlier when there is something to tell */
#define WAKE_NS       (2 * S)

struct position {
    struct topic_fact *topic; /* NULL: free */
    uint32_t incarnation;
    uint32_t losses; /* of the partition, when it was taken up */
    int32_t partition;
    int64_t offset;
    int64_t told_offset; /* what the session has; -1: it does not know the partition */
    int64_t start;       /* both of the model, when asked */
    int64_t end;
};

struct consumer {
    struct actor actor;
    struct ask ask;
    struct position positions[POSITIONS_MAX];
    struct position forgotten; /* of the session, since the last question */
    int32_t session_id;        /* 0: none */
    int32_t session_epoch;
    int32_t min_bytes;
    bool full; /* this question begins a session, or has none */
    int16_t version;
};

static struct consumer *consumer_of(struct actor *a)
{
    return container_of(a, struct consumer, actor);
}

static void consumer_start(struct actor *a)
{
    (void)a;
}

static void session_end(struct consumer *co)
{
    co->session_id = 0;
    co->forgotten.topic = NULL;
    for (uint32_t i = 0; i < POSITIONS_MAX; i++)
        co->positions[i].told_offset = -1;
}

static void consumer_connected(struct actor *a)
{
    session_end(consumer_of(a));
}

static bool is_valid(const struct position *at)
{
    return at->topic && at->topic->state == TOPIC_THERE &&
           at->topic->incarnation == at->incarnation &&
           at->topic->partition[at->partition].losses == at->losses;
}

static struct partition_fact *fact_of(const struct position *at)
{
    return &at->topic->partition[at->partition];
}

/* ---- positions ---- */

static void take_up(struct consumer *co)
{
    struct rng *rng = &co->actor.rng;
    struct topic_fact *topic = model_topic(co->actor.model, rng);
    struct position *place = NULL;
    if (!topic)
        return;
    int32_t partition = (int32_t)rng_below(rng, (uint64_t)topic->partitions);
    for (uint32_t i = 0; i < POSITIONS_MAX; i++) {
        struct position *at = &co->positions[i];
        if (!at->topic)
            place = at;
        else if (at->topic == topic && at->partition == partition)
            return;
    }
    if (!place || (co->forgotten.topic == topic && co->forgotten.partition == partition))
        return;
    *place = (struct position){.topic = topic,
                               .incarnation = topic->incarnation,
                               .losses = topic->partition[partition].losses,
                               .partition = partition,
                               .told_offset = -1};
    int64_t end = fact_of(place)->end;
    place->offset = fact_of(place)->start;
    if (rng_one_in(rng, 2))
        place->offset = rng_one_in(rng, 2) ? end : (int64_t)rng_below(rng, (uint64_t)end + 1);
}

static void lay_down(struct consumer *co, struct position *at)
{
    if (co->session_id == 0 || at->told_offset < 0) {
        at->topic = NULL;
    } else if (!co->forgotten.topic) {
        co->forgotten = *at;
        at->topic = NULL;
    }
}

static void positions_tidy(struct consumer *co)
{
    for (uint32_t i = 0; i < POSITIONS_MAX; i++) {
        struct position *at = &co->positions[i];
        if (at->topic && !is_valid(at)) {
            at->topic = NULL; /* of a deleted topic, or cut: the session is begun anew */
            session_end(co);
        }
    }
}

/* ---- answers ---- */

static struct position *position_find(struct consumer *co, const struct fetch_response_topic *topic,
                                      int32_t partition)
{
    struct topic_fact *fact = model_topic_find(co->actor.model, topic->topic, &topic->topic_id);
    for (uint32_t i = 0; fact && i < POSITIONS_MAX; i++) {
        struct position *at = &co->positions[i];
        if (at->topic == fact && at->partition == partition)
            return at;
    }
    return NULL;
}

static void partition_answered(struct consumer *co, struct position *at,
                               const struct fetch_response_partition *answer)
{
    struct model *m = co->actor.model;
    dirs_answered(m, &co->ask, answer->error_code, at->topic, (uint32_t)at->partition);
    if (model_excuses(m, co->ask.life, answer->error_code))
        return;
    if (promises_excuse(m, at->topic, answer->error_code))
        return;
    if (answer->error_code == ERR_OFFSET_OUT_OF_RANGE && at->offset < fact_of(at)->start_asked) {
        at->topic = NULL;
        session_end(co);
        return;
    }
    if (answer->error_code != ERR_NONE) {
        wrong(m, "consumer %u: %s-%d at %lld: %s", co->actor.number, at->topic->name, at->partition,
              (long long)at->offset, err_name(answer->error_code));
        return;
    }
    model_end(m, at->topic, at->partition, answer->high_watermark, at->end);
    if (answer->last_stable_offset != answer->high_watermark)
        wrong(m, "%s-%d: stable up to %lld of %lld", at->topic->name, at->partition,
              (long long)answer->last_stable_offset, (long long)answer->high_watermark);
    if (answer->log_start_offset >= 0) /* version 5 */
        model_start(m, at->topic, at->partition, answer->log_start_offset, at->start);
    if (answer->records.kind != RECORDS_SPAN || answer->records.span.len == 0)
        return;
    if (at->offset < at->start)
        wrong(m, "%s-%d: read at %lld, and it began at %lld", at->topic->name, at->partition,
              (long long)at->offset, (long long)at->start);
    const struct span *span = &answer->records.span;
    must(span->piece->len - span->skip >= span->len);
    at->offset = model_read(m, at->topic, at->partition, at->offset,
                            (const uint8_t *)span->piece->data + span->skip, span->len);
    if (at->offset > answer->high_watermark)
        wrong(m, "%s-%d: read up to %lld, beyond the end at %lld", at->topic->name, at->partition,
              (long long)at->offset, (long long)answer->high_watermark);
}

static void take_answer(struct consumer *co, const struct fetch_response *response)
{
    co->actor.model->fetches++;
    for (int32_t t = 0; t < response->responses_count; t++) {
        const struct fetch_response_topic *topic = &response->responses[t];
        for (int32_t i = 0; i < topic->partitions_count; i++) {
            struct position *at = position_find(co, topic, topic->partitions[i].partition_index);
            if (at && is_valid(at))
                partition_answered(co, at, &topic->partitions[i]);
        }
    }
    if (co->full)
        co->session_id = response->session_id;
    co->session_epoch = co->full ? 1 : co->session_epoch + 1;
}

/* What it asked for was known to be there, and it was kept waiting all the same. */
static void wait_check(struct consumer *co)
{
    struct model *m = co->actor.model;
    uint64_t now_ns = world_now_ns(m->world);
    for (uint32_t i = 0; i < POSITIONS_MAX && co->ask.life == m->life; i++) {
        const struct position *at = &co->positions[i];
        if (!is_valid(at) || at->told_offset < fact_of(at)->start_asked)
            continue;
        const struct partition_fact *fact = fact_of(at);
        uint64_t tag = at->told_offset < fact->tags_size ? fact->tags[at->told_offset] : 0;
        uint64_t since_ns = max_u64(m->attempts[tag].known_ns, co->ask.asked_ns);
        if (tag != 0 && now_ns - since_ns > WAKE_NS && co->min_bytes <= 1)
            wrong(m, "consumer %u waited for %s-%d at %lld, which was there %llu ms before",
                  co->actor.number, at->topic->name, at->partition, (long long)at->told_offset,
                  (unsigned long long)((now_ns - since_ns) / MS));
    }
}

static void on_fetched(struct client *c, struct client_call *call)
{
    struct consumer *co = container_of(call, struct consumer, ask.call);
    struct fetch_response response;
    (void)c;
    actor_later(&co->actor, rng_one_in(&co->actor.rng, 3) ? 0 : MS);
    if (!ask_answered(&co->ask) || !ask_read(&co->ask, read_fetch_response, &response))
        return;
    wait_check(co);
    if (response.error_code == ERR_FETCH_SESSION_ID_NOT_FOUND && !co->full)
        session_end(co); /* there is room for few */
    else if (response.error_code != ERR_NONE)
        wrong(co->actor.model, "consumer %u: %s", co->actor.number, err_name(response.error_code));
    else
        take_answer(co, &response);
}

/* ---- questions ---- */

static void topic_name(const struct consumer *co, const struct topic_fact *topic, struct str *name,
                       struct uuid *id)
{
    if (co->version >= 13)
        *id = topic->id;
    else
        *name = str_of(topic->name);
}

static void question_limits(struct consumer *co, struct fetch_request *request)
{
    struct rng *rng = &co->actor.rng;
    request->max_wait_ms = rng_one_in(rng, 3) ? LONG_WAIT_MS : (int32_t)rng_below(rng, 20);
    request->min_bytes = rng_one_in(rng, 4) && request->max_wait_ms < LONG_WAIT_MS
                             ? (int32_t)rng_below(rng, 3000)
                             : 1;
    co->min_bytes = request->min_bytes;
    request->max_bytes = rng_one_in(rng, 3) ? (int32_t)rng_between(rng, 1, 5000) : 1 << 16;
    if (co->actor.model->resting)
        request->max_wait_ms = 2000;
}

static void session_choose(struct consumer *co, struct fetch_request *request)
{
    struct rng *rng = &co->actor.rng;
    co->full = co->session_id == 0 || rng_one_in(rng, 30);
    request->session_id = co->session_id;
    request->session_epoch = co->session_epoch;
    if (!co->full)
        return;
    bool sessionless = rng_one_in(rng, 4);
    /* Topics of zstd want 10 (F12). */
    int16_t least = co->actor.model->rewrites ? 10 : sessionless ? 4 : 7;
    co->version = actor_version(&co->actor, KEY_FETCH, least);
    request->session_epoch = sessionless ? -1 : 0;
    session_end(co);
    if (sessionless || rng_one_in(rng, 2))
        request->session_id = 0;
}

static void fetch(struct consumer *co)
{
    struct fetch_request request;
    struct fetch_request_topic topics[POSITIONS_MAX];
    struct fetch_request_partition partitions[POSITIONS_MAX];
    struct fetch_request_forgotten_topic gone;
    init_fetch_request(&request);
    question_limits(co, &request);
    session_choose(co, &request);
    for (uint32_t i = 0; i < POSITIONS_MAX; i++) {
        struct position *at = &co->positions[i];
        if (!at->topic)
            continue;
        at->start = fact_of(at)->start;
        at->end = fact_of(at)->end;
        if (at->told_offset == at->offset)
            continue;
        int32_t n = request.topics_count++;
        init_fetch_request_topic(&topics[n]);
        init_fetch_request_partition(&partitions[n]);
        topic_name(co, at->topic, &topics[n].topic, &topics[n].topic_id);
        topics[n].partitions = &partitions[n];
        topics[n].partitions_count = 1;
        partitions[n].partition = at->partition;
        partitions[n].fetch_offset = at->offset;
        partitions[n].partition_max_bytes =
            rng_one_in(&co->actor.rng, 3) ? (int32_t)rng_between(&co->actor.rng, 1, 3000) : 1 << 20;
        at->told_offset = at->offset;
    }
    request.topics = topics;
    if (co->forgotten.topic) {
        init_fetch_request_forgotten_topic(&gone);
        topic_name(co, co->forgotten.topic, &gone.topic, &gone.topic_id);
        gone.partitions = &co->forgotten.partition;
        gone.partitions_count = 1;
        request.forgotten_topics_data = &gone;
        request.forgotten_topics_data_count = 1;
    }
    struct wr *w = ask_begin(&co->actor, &co->ask, KEY_FETCH, co->version);
    write_fetch_request(w, co->version, &request);
    co->forgotten.topic = NULL;
    ask_send(&co->ask, on_fetched);
}

static void consumer_step(struct actor *a)
{
    struct consumer *co = consumer_of(a);
    uint32_t used = 0;
    if (co->ask.under_way)
        return;
    positions_tidy(co);
    for (uint32_t i = 0; i < POSITIONS_MAX; i++)
        used += co->positions[i].topic != NULL;
    struct position *one = &co->positions[rng_below(&a->rng, POSITIONS_MAX)];
    if (used < 3 || rng_one_in(&a->rng, 6))
        take_up(co);
    else if (one->topic && rng_one_in(&a->rng, 10))
        lay_down(co, one);
    if (used > 0)
        fetch(co);
    else
        actor_later(a, 2 * MS);
}

/* Everything it waits for has come. */
static bool consumer_busy(const struct actor *a)
{
    const struct consumer *co = container_of(no_const(a), struct consumer, actor);
    for (uint32_t i = 0; i < POSITIONS_MAX; i++) {
        const struct position *at = &co->positions[i];
        if (is_valid(at) && at->offset < fact_of(at)->end)
            return true;
    }
    return false;
}

const struct actor_kind actor_consumer = {
    .name = "consumer",
    .size = sizeof(struct consumer),
    .start = consumer_start,
    .connected = consumer_connected,
    .step = consumer_step,
    .busy = consumer_busy,
};
