/* SPDX-License-Identifier: Apache-2.0
 *
 * The schedule. Open loop: records are handed to the library when they are due, whatever the broker
 * does; when --in-flight records of a producer are not reported yet, the schedule waits there, and
 * what is due meanwhile keeps its due time. Closed loop: each producer keeps so many under way.
 */
#include "io/mem.h"
#include "tools/librdkafka/load.h"

bool all_handed(const struct load *l)
{
    return l->o.records_max > 0 && l->handed >= (uint64_t)l->o.records_max;
}

void next_due(struct load *l)
{
    l->next.producer = NULL;
    l->next.due_ns = l->epoch_ns + schedule_next_ns(&l->schedule);
}

static bool has_room(const struct producer *producer)
{
    return producer->outstanding < producer->load->o.in_flight;
}

void producer_freed(struct producer *producer)
{
    if (!has_room(producer))
        producer->freed_ns = message_clock_ns();
    producer->outstanding--;
    producer->load->outstanding--;
}

/* The lane of a key, or the next one. Those who look at what comes back want each lane to have one
 * producer. */
static void choose(struct load *l)
{
    struct load_next *next = &l->next;
    const uint32_t partitions = l->lane_count / (uint32_t)l->o.topics;
    next->key = key_draw(&l->values);
    next->held = false;
    next->lane = l->next_lane++ % l->lane_count;
    if (next->key >= 0)
        next->lane = next->lane / partitions * partitions + l->values.key_lanes[next->key];
    const uint32_t number = l->o.stamped ? next->lane : l->next_producer++;
    next->producer = &l->producers[number % l->producer_count];
}

/* False when the library takes no more. */
static bool hand_over(struct load *l, uint64_t now_ns)
{
    struct load_next *next = &l->next;
    struct producer *producer = next->producer;
    struct load_lane *lane = &l->lanes[next->lane];
    const struct bench_stamp stamp = {l->run_id, lane->sequence, next->due_ns};
    char text[BENCH_KEY_SIZE];
    if (!has_room(producer))
        return false;
    struct handed *handed = l->free ? l->free : mem_alloc(sizeof(*handed));
    l->free = l->free ? handed->next : NULL;
    *handed = (struct handed){
        .producer = producer,
        .lane = next->lane,
        .due_ns = next->due_ns,
        .planned_ns = max_u64(next->due_ns, next->held ? producer->freed_ns : 0),
        .sent_ns = now_ns,
        .sequence = lane->sequence,
    };
    uint8_t *value = value_draw(&l->values, l->o.stamped ? &stamp : NULL);
    const size_t key_len = next->key >= 0 ? key_text(text, next->key) : 0;
    char *key = key_len > 0 ? text : NULL; /* the macros below take no expressions */
    const size_t value_len = (size_t)l->o.record_bytes;
    rd_kafka_resp_err_t error = rd_kafka_producev(
        producer->rk, RD_KAFKA_V_TOPIC(lane->topic), RD_KAFKA_V_PARTITION(lane->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, value_len),
        RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_OPAQUE(handed), RD_KAFKA_V_END);
    if (error) {
        handed->next = l->free;
        l->free = handed;
    }
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return false;
    l->handed++;
    if (error) { /* it is too large for the library itself, say */
        measure_failed(&l->measure, next->due_ns, MEASURE_UNSENT, 1);
        return true;
    }
    l->measure.sent++;
    lane->sequence++;
    producer->outstanding++;
    l->outstanding++;
    return true;
}

static uint64_t pump_open(struct load *l, uint64_t now_ns)
{
    struct load_next *next = &l->next;
    while (next->due_ns <= now_ns && next->due_ns < l->until_ns && !all_handed(l)) {
        if (!next->producer)
            choose(l);
        if (!hand_over(l, message_clock_ns())) {
            l->measure.held += !next->held;
            l->measure.now.held += !next->held;
            next->held = true;
            return UINT64_MAX; /* a report wakes the loop */
        }
        next_due(l);
    }
    return next->due_ns < l->until_ns && !all_handed(l) ? next->due_ns : UINT64_MAX;
}

static uint64_t pump_closed(struct load *l, uint64_t now_ns)
{
    uint32_t full = 0;
    while (full < l->producer_count && now_ns < l->until_ns && !all_handed(l)) {
        choose(l);
        l->next.due_ns = message_clock_ns();
        full = hand_over(l, l->next.due_ns) ? 0 : full + 1;
    }
    l->next.producer = NULL;
    return UINT64_MAX;
}

uint64_t pump(struct load *l, uint64_t now_ns)
{
    return l->o.rate > 0 ? pump_open(l, now_ns) : pump_closed(l, now_ns);
}

void backlog_fail(struct load *l)
{
    while (l->o.rate > 0 && l->next.due_ns < l->until_ns && !all_handed(l)) {
        l->handed++;
        measure_failed(&l->measure, l->next.due_ns, MEASURE_UNSENT, 1);
        next_due(l);
    }
}
