/* SPDX-License-Identifier: Apache-2.0
 *
 * Producing: closed loop (each connection keeps `window` requests in flight) or open loop (requests
 * are due at a fixed rate, whatever the broker does, and their latency counts from when they were
 * due: a stall is felt by all that should have been sent meanwhile). One request is one batch for
 * one partition.
 */
#include "bench/load.h"

#include "net/kafka.h"

#include <stdlib.h>

/* The newest version that names topics and not their ids. */
#define VERSION          12
#define OPEN_FLIGHTS_MAX 4096U

struct producing {
    struct iovec batch;
    struct frame *frames; /* [partitions] */
    uint32_t *next;       /* [connections]: the partition of its next request */
    uint64_t began_ns, end_ns;
    uint64_t due; /* open loop: requests so far */
};

static struct producing *producing_of(struct conn *c)
{
    return c->user;
}

static void frames_make(struct load *load, struct producing *producing)
{
    const struct load_options *o = &load->options;
    producing->frames = calloc(o->partitions, sizeof(*producing->frames));
    must(producing->frames != NULL);
    for (uint32_t i = 0; i < o->partitions; i++) {
        struct produce_request_partition partition = {
            .index = (int32_t)i, .records = records_ref((uint32_t)producing->batch.iov_len, 0)};
        struct produce_request_topic topic = {
            .name = str_of(o->topic), .partition_data = &partition, .partition_data_count = 1};
        struct produce_request request = {.transactional_id = str_null(),
                                          .acks = o->acks,
                                          .timeout_ms = 30000,
                                          .topic_data = &topic,
                                          .topic_data_count = 1};
        frame_make(&producing->frames[i], &load->arena, KEY_PRODUCE, VERSION, (int32_t)i, &request,
                   producing->batch);
    }
}

/* Connection i begins at partition i and goes on by as many as there are connections, so that
 * together they touch all partitions evenly. */
static void send_next(struct load *load, struct conn *c, uint64_t since_ns)
{
    const struct load_options *o = &load->options;
    struct producing *producing = producing_of(c);
    uint32_t *next = &producing->next[c->number];
    uint32_t step = o->connections % o->partitions;
    conn_queue(c, &producing->frames[*next], since_ns);
    *next = (*next + (step > 0 ? step : 1)) % o->partitions;
}

static void on_answer(struct load *load, struct conn *c, const struct flight *flight,
                      struct rd *body)
{
    uint64_t at_ns = now_ns();
    struct produce_response response;
    if (!read_produce_response(body, &load->answer_arena, VERSION, &response) ||
        response.responses_count != 1 || response.responses[0].partition_responses_count != 1)
        give_up("a produce answer that does not fit its request");
    struct measure *m = &load->measure;
    int16_t error = response.responses[0].partition_responses[0].error_code;
    m->requests++;
    if (error != 0) {
        m->errors++;
        load->error_code = error;
    } else {
        m->batches++;
        m->bytes += producing_of(c)->batch.iov_len;
    }
    histogram_add(&m->latency, at_ns - flight->since_ns);
    if (load->options.rate <= 0) /* conns_turn() flushes after the last answer of this event */
        send_next(load, c, at_ns);
}

/* Queues what is due; how long until the next one is. */
static uint64_t send_due(struct load *load, struct producing *producing)
{
    const struct load_options *o = &load->options;
    for (;;) {
        uint64_t due_ns = producing->began_ns + (uint64_t)((double)producing->due * 1e9 / o->rate);
        uint64_t at_ns = now_ns();
        if (due_ns > at_ns)
            return due_ns - at_ns;
        struct conn *c = &load->conns[producing->due++ % o->connections];
        if (!conn_has_room(c)) {
            load->measure.late++;
            continue;
        }
        send_next(load, c, due_ns);
        conn_flush(c);
    }
}

static bool has_ended(const struct load *load, uint64_t end_ns)
{
    uint64_t bytes_max = load->options.bytes_max;
    return now_ns() >= end_ns || (bytes_max > 0 && load->measure.bytes >= bytes_max);
}

void run_produce(struct load *load)
{
    const struct load_options *o = &load->options;
    struct producing producing = {.batch = batch_make(o)};
    load->key = KEY_PRODUCE;
    load->version = VERSION;
    load->on_answer = on_answer;
    frames_make(load, &producing);
    producing.next = calloc(o->connections, sizeof(*producing.next));
    must(producing.next != NULL);
    conns_open(load, o->rate > 0 ? OPEN_FLIGHTS_MAX : o->window);
    producing.began_ns = now_ns();
    producing.end_ns = producing.began_ns + (uint64_t)(o->seconds * 1e9);
    for (uint32_t i = 0; i < o->connections; i++) {
        struct conn *c = &load->conns[i];
        c->user = &producing;
        producing.next[i] = i % o->partitions;
        for (uint32_t k = 0; o->rate <= 0 && k < o->window; k++)
            send_next(load, c, now_ns());
        conn_flush(c);
    }
    uint64_t warm_ns = producing.began_ns + (uint64_t)(o->warm_seconds * 1e9);
    bool warm = false;
    measure_begin(load);
    while (!has_ended(load, producing.end_ns)) {
        if (!warm && now_ns() >= warm_ns) {
            warm = true;
            measure_begin(load);
        }
        uint64_t wait_ns = o->rate > 0 ? send_due(load, &producing) : 100000000U;
        conns_turn(load, wait_ns < 100000000U ? wait_ns : 100000000U);
    }
    measure_print(load);
    free(producing.next);
    free(producing.frames);
}
