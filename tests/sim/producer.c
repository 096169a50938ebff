/* SPDX-License-Identifier: Apache-2.0
 *
 * Producers. An idempotent one keeps up to five requests under way, sends all of them again in
 * their order after a loss, and now and then sends one that was answered already: the answer must
 * be the same. The others send once and never again; what is not acknowledged may be there or not.
 */
#include <string.h>

#include "io/mem.h"
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/dirs.h"
#include "tests/sim/promises.h"

#define WINDOW    5U
#define PARTS_MAX 3U

enum batch_state { BATCH_OPEN, BATCH_ENDED };

struct part {
    uint64_t tag;
    enum batch_state state;
    size_t len;
    uint8_t *bytes;
};

struct produce {
    struct ask ask;
    bool used;
    bool again; /* a copy of what was acknowledged; never sent a third time */
    uint32_t part_count;
    uint32_t sent; /* parts in the request under way */
    struct part parts[PARTS_MAX];
};

struct sequence {
    uint32_t incarnation;
    int32_t next;
    uint64_t last_acked; /* the newest tag, 0: none */
};

struct producer {
    struct actor actor;
    bool idempotent;
    int16_t acks;
    int64_t producer_id; /* -1: to be asked for */
    uint32_t id_life;    /* in which it was given */
    bool renounces;      /* it, when nothing is under way any more */
    struct ask ask_id;
    struct produce window[WINDOW]; /* oldest first; [window_count] are used */
    uint32_t order[WINDOW];
    uint32_t window_count;
    struct produce copy;
    struct sequence sequences[TOPICS_MAX][PARTITIONS_MAX];
    struct batch_builder builder;
    struct deflater deflater;
};

static struct producer *producer_of(struct actor *a)
{
    return container_of(a, struct producer, actor);
}

static void producer_start(struct actor *a)
{
    struct producer *p = producer_of(a);
    batch_builder_init(&p->builder);
    deflater_init(&p->deflater);
    p->idempotent = a->number < 2;
    p->producer_id = -1;
    p->acks = (int16_t)(p->idempotent ? -1 : a->number == 2 ? 1 : 0);
}

static struct sequence *sequence_of(struct producer *p, const struct attempt *attempt)
{
    struct sequence *sequence = &p->sequences[attempt->topic][attempt->partition];
    uint32_t incarnation = p->actor.model->topics[attempt->topic].incarnation;
    if (sequence->incarnation != incarnation)
        *sequence = (struct sequence){.incarnation = incarnation};
    return sequence;
}

/* ---- a producer id ---- */

static void on_id(struct client *c, struct client_call *call)
{
    struct producer *p = container_of(call, struct producer, ask_id.call);
    struct init_producer_id_response response;
    (void)c;
    if (!ask_answered(&p->ask_id) ||
        !ask_read(&p->ask_id, read_init_producer_id_response, &response))
        return;
    if (model_excuses(p->actor.model, p->ask_id.life, response.error_code)) {
        actor_later(&p->actor, 5 * MS);
        return;
    }
    if (response.error_code != ERR_NONE || response.producer_id < 0)
        wrong(p->actor.model, "InitProducerId: %s", err_name(response.error_code));
    for (uint64_t tag = 1; tag <= p->actor.model->count; tag++) {
        if (p->actor.model->attempts[tag].producer_id == response.producer_id)
            wrong(p->actor.model, "producer id %lld was given twice",
                  (long long)response.producer_id);
    }
    p->producer_id = response.producer_id;
    p->id_life = p->ask_id.life;
    p->renounces = false;
    memset(p->sequences, 0, sizeof(p->sequences));
    actor_later(&p->actor, 100 * US);
}

static void ask_id(struct producer *p)
{
    struct init_producer_id_request request;
    int16_t version = actor_version(&p->actor, KEY_INIT_PRODUCER_ID, 0);
    init_init_producer_id_request(&request);
    request.transactional_id = str_null();
    request.producer_id = -1;
    request.producer_epoch = -1;
    struct wr *w = ask_begin(&p->actor, &p->ask_id, KEY_INIT_PRODUCER_ID, version);
    write_init_producer_id_request(w, version, &request);
    ask_send(&p->ask_id, on_id);
}

/* ---- answers ---- */

static void part_end(struct part *part)
{
    mem_free(part->bytes);
    part->bytes = NULL;
    part->state = BATCH_ENDED;
}

static bool produce_is_over(struct producer *p, struct produce *op)
{
    bool over = true;
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct part *part = &op->parts[i];
        if (p->actor.model->attempts[part->tag].forgotten && part->state == BATCH_OPEN)
            part_end(part);
        over = over && part->state == BATCH_ENDED;
    }
    return over;
}

static void window_tidy(struct producer *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->window_count; i++) {
        struct produce *op = &p->window[p->order[i]];
        if (!op->ask.under_way && produce_is_over(p, op))
            op->used = false;
        else
            p->order[kept++] = p->order[i];
    }
    p->window_count = kept;
}

/* To be sent again, in its order, on the next connection. */
static void part_refused(struct producer *p, struct part *part)
{
    if (!p->idempotent)
        part_end(part);
    client_close(&p->actor.client);
}

/* Batches before this one were acknowledged and are gone: it cannot follow. A client begins anew
 * with another id, as those of Java do (KIP-360). */
static bool is_gap_of_loss(const struct producer *p, const struct attempt *attempt, int16_t error)
{
    const struct topic_fact *topic = &p->actor.model->topics[attempt->topic];
    return p->idempotent && error == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER &&
           topic->partition[attempt->partition].loss_life > p->id_life;
}

static void part_answered(struct producer *p, const struct produce *op, struct part *part,
                          const struct produce_response_partition *answer)
{
    struct model *m = p->actor.model;
    const struct attempt *attempt = &m->attempts[part->tag];
    if (attempt->forgotten)
        return;
    dirs_answered(m, &op->ask, answer->error_code, &m->topics[attempt->topic], attempt->partition);
    if (model_excuses(m, op->ask.life, answer->error_code)) {
        part_refused(p, part);
        return;
    }
    if (is_gap_of_loss(p, attempt, answer->error_code)) {
        p->renounces = true;
        part_end(part);
        return;
    }
    if (answer->error_code != ERR_NONE) {
        wrong(m, "producer %u: batch %llu for %s-%u: %s (%.*s)", p->actor.number,
              (unsigned long long)part->tag, m->topics[attempt->topic].name, attempt->partition,
              err_name(answer->error_code),
              answer->error_message.len > 0 ? answer->error_message.len : 0,
              answer->error_message.data);
        return;
    }
    part_end(part);
    model_acked(m, part->tag, answer->base_offset);
    struct sequence *sequence = sequence_of(p, attempt);
    sequence->last_acked = max_u64(sequence->last_acked, part->tag);
}

static struct part *part_find(const struct producer *p, struct produce *op,
                              const struct produce_response_topic *topic, int32_t index)
{
    struct model *m = p->actor.model;
    const struct topic_fact *fact = model_topic_find(m, topic->name, &topic->topic_id);
    for (uint32_t i = 0; fact && i < op->part_count; i++) {
        const struct attempt *attempt = &m->attempts[op->parts[i].tag];
        if (attempt->topic == model_topic_index(m, fact) && attempt->partition == index)
            return &op->parts[i];
    }
    return NULL;
}

static void produce_answered(struct producer *p, struct produce *op)
{
    struct produce_response response;
    uint32_t answers = 0;
    if (!ask_read(&op->ask, read_produce_response, &response))
        return;
    for (int32_t t = 0; t < response.responses_count; t++) {
        const struct produce_response_topic *topic = &response.responses[t];
        for (int32_t i = 0; i < topic->partition_responses_count; i++) {
            struct part *part = part_find(p, op, topic, topic->partition_responses[i].index);
            if (part)
                part_answered(p, op, part, &topic->partition_responses[i]);
            answers++;
        }
    }
    if (answers != op->sent)
        wrong(p->actor.model, "producer %u: %u answers to %u batches", p->actor.number, answers,
              op->sent);
}

static void on_produced(struct client *c, struct client_call *call)
{
    struct produce *op = container_of(call, struct produce, ask.call);
    struct producer *p = producer_of(op->ask.actor);
    (void)c;
    bool answered = ask_answered(&op->ask);
    if (answered && p->acks != 0)
        produce_answered(p, op);
    if (!p->idempotent || op->again) {
        for (uint32_t i = 0; i < op->part_count; i++)
            part_end(&op->parts[i]);
        op->used = op->used && !op->again;
    }
    window_tidy(p);
    actor_later(&p->actor, rng_one_in(&p->actor.rng, 3) ? 0 : 500 * US);
}

/* ---- sending ---- */

static void topic_fill(struct produce_request_topic *topic, const struct topic_fact *fact)
{
    topic->name = str_of(fact->name);
    topic->topic_id = fact->id;
}

/* 1 and -1 are the same promise on one node. */
static int16_t acks_draw(struct producer *p)
{
    return p->acks == 1 && rng_one_in(&p->actor.rng, 2) ? -1 : p->acks;
}

static void produce_send(struct producer *p, struct produce *op)
{
    struct model *m = p->actor.model;
    struct produce_request request = {
        .transactional_id = str_null(), .acks = acks_draw(p), .timeout_ms = 30000};
    struct produce_request_topic topics[PARTS_MAX] = {0};
    struct produce_request_partition partitions[PARTS_MAX];
    for (uint32_t i = 0; i < op->part_count; i++) {
        const struct part *part = &op->parts[i];
        const struct attempt *attempt = &m->attempts[part->tag];
        if (part->state == BATCH_ENDED)
            continue;
        int32_t n = request.topic_data_count++;
        partitions[n] = (struct produce_request_partition){
            .index = attempt->partition,
            .records = records_ref((uint32_t)part->len, (uintptr_t)part->bytes)};
        topic_fill(&topics[n], &m->topics[attempt->topic]);
        topics[n].partition_data = &partitions[n];
        topics[n].partition_data_count = 1;
    }
    request.topic_data = topics;
    op->sent = (uint32_t)request.topic_data_count;
    int16_t version = actor_version(&p->actor, KEY_PRODUCE, 3);
    struct wr *w = ask_begin(&p->actor, &op->ask, KEY_PRODUCE, version);
    write_produce_request(w, version, &request);
    if (p->acks == 0)
        ask_send_silent(&op->ask, on_produced);
    else
        ask_send(&op->ask, on_produced);
}

static void part_fill(struct producer *p, struct part *part, uint64_t tag)
{
    const uint8_t *bytes;
    part->tag = tag;
    part->state = BATCH_OPEN;
    part->len = model_batch(p->actor.model, tag, &p->builder, &p->deflater, &bytes);
    part->bytes = memcpy(mem_alloc(part->len), bytes, part->len);
}

/* A partition is named once in a request. */
static bool is_named(const struct model *m, const struct produce *op, uint64_t tag)
{
    for (uint32_t i = 0; i < op->part_count; i++) {
        const struct attempt *other = &m->attempts[op->parts[i].tag];
        if (other->topic == m->attempts[tag].topic &&
            other->partition == m->attempts[tag].partition)
            return true;
    }
    return false;
}

static bool part_new(struct producer *p, struct produce *op)
{
    struct model *m = p->actor.model;
    uint64_t tag = model_attempt(m, &p->actor.rng);
    if (tag == 0)
        return false;
    struct attempt *attempt = &m->attempts[tag];
    if (is_named(m, op, tag)) {
        m->count--;
        return false;
    }
    attempt->producer = (uint8_t)p->actor.number;
    attempt->connection = p->actor.connection;
    attempt->idempotent = p->idempotent;
    if (p->idempotent) {
        attempt->producer_id = p->producer_id;
        attempt->sequence = sequence_of(p, attempt)->next;
    }
    part_fill(p, &op->parts[op->part_count++], tag);
    if (p->idempotent)
        sequence_of(p, attempt)->next += attempt->count;
    return true;
}

static bool produce_new(struct producer *p)
{
    uint32_t at = 0;
    while (p->window[at].used)
        at++;
    struct produce *op = &p->window[at];
    op->part_count = 0;
    uint64_t want = rng_one_in(&p->actor.rng, 3) ? rng_between(&p->actor.rng, 2, PARTS_MAX) : 1;
    while (op->part_count < want && part_new(p, op)) {
    }
    if (op->part_count == 0)
        return false;
    op->used = true;
    p->order[p->window_count++] = at;
    produce_send(p, op);
    return true;
}

/* The newest batch that was acknowledged in a partition of which nothing is under way. */
static void copy_send(struct producer *p)
{
    struct model *m = p->actor.model;
    struct topic_fact *topic = model_topic(m, &p->actor.rng);
    if (!topic || p->copy.ask.under_way)
        return;
    uint64_t partition = rng_below(&p->actor.rng, (uint64_t)topic->partitions);
    struct sequence *sequence = &p->sequences[model_topic_index(m, topic)][partition];
    if (sequence->incarnation != topic->incarnation || sequence->last_acked == 0)
        return;
    const struct attempt *attempt = &m->attempts[sequence->last_acked];
    if (attempt->sequence + attempt->count != sequence->next || attempt->forgotten)
        return;
    p->copy.again = true;
    p->copy.part_count = 1;
    part_fill(p, &p->copy.parts[0], sequence->last_acked);
    produce_send(p, &p->copy);
}

static void producer_connected(struct actor *a)
{
    struct producer *p = producer_of(a);
    window_tidy(p);
    for (uint32_t i = 0; i < p->window_count; i++) {
        if (!p->window[p->order[i]].ask.under_way)
            produce_send(p, &p->window[p->order[i]]);
    }
}

static void producer_step(struct actor *a)
{
    struct producer *p = producer_of(a);
    if (a->model->resting || a->model->operations > a->model->operations_max) {
        actor_later(a, a->model->resting ? S : 20 * MS);
        return;
    }
    if (p->renounces && (p->window_count > 0 || p->copy.ask.under_way || p->ask_id.under_way)) {
        actor_later(a, 5 * MS);
        return;
    }
    bool renew = p->window_count == 0 && !p->copy.ask.under_way && rng_one_in(&a->rng, 150);
    renew = renew || p->renounces;
    if (p->idempotent && !p->ask_id.under_way && (p->producer_id < 0 || renew)) {
        p->producer_id = -1;
        ask_id(p);
        return;
    }
    if (p->idempotent && p->ask_id.under_way)
        return;
    if (p->idempotent && rng_one_in(&a->rng, 8))
        copy_send(p);
    while (p->window_count < WINDOW && produce_new(p)) {
        if (rng_one_in(&a->rng, 3))
            break;
    }
    actor_later(a, p->window_count < WINDOW ? 500 * US : 5 * MS);
}

static bool producer_busy(const struct actor *a)
{
    const struct producer *p = container_of(no_const(a), struct producer, actor);
    return p->window_count > 0;
}

const struct actor_kind actor_producer = {
    .name = "producer",
    .size = sizeof(struct producer),
    .start = producer_start,
    .connected = producer_connected,
    .step = producer_step,
    .busy = producer_busy,
};
