/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine that sends.
 *
 * Open loop: records fall due by the schedule, whatever the broker does, and each is handed to a
 * connection as soon as it is due. When that connection has no slot left, the schedule waits there:
 * nothing is dropped, what is due meanwhile keeps its due time, and so the wait is in the response
 * times and, by its cause, in the counts of what was held.
 *
 * Closed loop: each connection keeps its slots in flight; a record is due when there is room for
 * it.
 */
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define TURN_NS_MAX 100000000U /* the longest sleep: an interrupt is looked for */
#define KEY_TRIES   64

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

void bench_interrupt(void)
{
    interrupted = 1;
}

static uint64_t clock_ns(const struct bench *b)
{
    return io_clock_ns(b->s->sh->io);
}

/* ---- answers ---- */

static void tell_acked(struct bench *b, const struct bench_slot *slot, uint64_t now_ns)
{
    struct acked acked = {.due_ns = slot->due_ns,
                          .planned_ns = slot->planned_ns,
                          .sent_ns = slot->sent_ns,
                          .now_ns = now_ns,
                          .count = slot->records,
                          .bytes = slot->bytes};
    measure_request(&b->measure, now_ns);
    if (!slot->dues) {
        measure_acked(&b->measure, &acked);
        return;
    }
    for (uint32_t i = 0; i < slot->records; i++) {
        acked.due_ns = slot->dues[i];
        acked.count = 1;
        acked.bytes = i == 0 ? slot->bytes : 0;
        measure_acked(&b->measure, &acked);
    }
}

/* Kafka's error, or MEASURE_LOST. */
static int code_of(struct client_call *call, int16_t acks)
{
    struct produce_response response;
    struct rd r;
    if (call->status != CLIENT_ANSWERED)
        return MEASURE_LOST;
    if (acks == 0)
        return ERR_NONE;
    rd_init(&r, call->answer);
    if (!read_produce_response(&r, call->arena, call->version, &response) ||
        response.responses_count != 1 || response.responses[0].partition_responses_count != 1)
        return MEASURE_LOST;
    return response.responses[0].partition_responses[0].error_code;
}

static void on_produced(struct client *client, struct client_call *call)
{
    struct bench_slot *slot = container_of(call, struct bench_slot, call);
    struct bench_conn *c = slot->conn;
    struct bench *b = c->bench;
    const int code = code_of(call, b->o.acks);
    (void)client;
    if (code == ERR_NONE)
        tell_acked(b, slot, clock_ns(b));
    if (code == ERR_NONE && b->checks)
        checks_acked(b->checks, (uint32_t)(slot->lane - b->lanes), slot->first_sequence,
                     slot->records);
    if (code != ERR_NONE)
        measure_failed(&b->measure, slot->due_ns, code, slot->records);
    slot_give(slot);
    if (b->sending && conn_ready(c))
        bench_fill(b, c);
    else
        b->news = true;
}

/* ---- requests ---- */

static void slot_send(struct bench_slot *slot)
{
    struct bench_conn *c = slot->conn;
    struct bench *b = c->bench;
    struct client *client = &c->client;
    if (!conn_ready(c)) { /* it was lost while the batch lingered */
        measure_failed(&b->measure, slot->due_ns, MEASURE_LOST, slot->records);
        slot_give(slot);
        return;
    }
    uint32_t len;
    const uint8_t *batch = slot_batch(slot, &len);
    struct produce_request_partition partition = {
        .index = slot->lane->partition,
        .records = records_ref(len, (uintptr_t)batch),
    };
    struct produce_request_topic topic = {
        .name = str_of(slot->lane->topic),
        .partition_data = &partition,
        .partition_data_count = 1,
    };
    const struct produce_request request = {
        .transactional_id = str_null(),
        .acks = b->o.acks,
        .timeout_ms = (int32_t)b->s->settings.request_timeout_ms,
        .topic_data = &topic,
        .topic_data_count = 1,
    };
    int16_t version = client_version(client, KEY_PRODUCE, BENCH_VERSION_MAX);
    slot->call.done = on_produced;
    slot->bytes = len;
    struct wr *w = client_begin(client, &slot->call, KEY_PRODUCE, version);
    write_produce_request(w, version, &request);
    slot->sent_ns = clock_ns(b);
    b->measure.sent += slot->records;
    uint64_t deadline_ns = session_deadline_ns(b->s);
    bool sent = b->o.acks == 0 ? client_send_silent(client, &slot->call, deadline_ns)
                               : client_send(client, &slot->call, deadline_ns);
    must(sent); /* the records are by reference, the rest is small */
}

static bool all_handed(const struct bench *b)
{
    return b->o.records_max > 0 && b->handed >= (uint64_t)b->o.records_max;
}

/* How many records are handed over together now. */
static uint32_t batch_count(const struct bench *b)
{
    uint64_t left = b->o.records_max > 0 ? (uint64_t)b->o.records_max - b->handed : UINT64_MAX;
    return (uint32_t)(b->builds ? min_u64(left, (uint64_t)b->o.batch_records)
                                : (uint64_t)b->o.batch_records);
}

/* ---- where to ---- */

struct bench_conn *bench_conn_of(struct bench *b, const struct bench_lane *lane)
{
    const struct bench_broker *broker = &b->brokers[lane->broker];
    if (b->o.producers > 0)
        return &b->conns[(size_t)lane->producer * b->broker_count + lane->broker];
    return &b->conns[lane->rank % broker->conn_count * b->broker_count + lane->broker];
}

/* The connection's next lane. Without pins it begins at its rank and goes on by as many as there
 * are connections, so that together they touch all lanes evenly. NULL: it has none. */
static struct bench_lane *lane_next(struct bench *b, struct bench_conn *c)
{
    const struct bench_broker *broker = &b->brokers[c->broker];
    if (broker->lane_count == 0 || (b->pinned && c->rank >= broker->lane_count))
        return NULL;
    uint32_t step = b->pinned ? broker->conn_count : broker->conn_count % broker->lane_count;
    uint32_t turn = c->turn % broker->lane_count;
    c->turn = turn + (step > 0 ? step : 1);
    if (c->turn >= broker->lane_count)
        c->turn = b->pinned ? c->rank : c->turn % broker->lane_count;
    return &b->lanes[broker->lanes[turn]];
}

static struct bench_lane *lane_of_key(struct bench *b, int64_t key)
{
    const uint32_t partitions = bench_topic_partitions(b);
    uint32_t topic =
        b->o.topics > 1 ? (uint32_t)(dice_next(&b->values.dice) % (uint64_t)b->o.topics) : 0;
    return &b->lanes[topic * partitions + b->values.key_lanes[key]];
}

/* Producers take turns. Each goes on to its next partition when its batch has left. */
static struct bench_lane *lane_of_producer(struct bench *b, int64_t key)
{
    const uint32_t producer = b->next_producer++ % b->producer_count;
    struct bench_lane *lanes = bench_producer_lanes(b, producer);
    uint32_t *turn = &b->producer_turns[producer];
    if (key >= 0)
        return &lanes[b->values.key_lanes[key]];
    if (!lanes[*turn].filling)
        *turn = (*turn + 1) % bench_topic_partitions(b);
    return &lanes[*turn];
}

/* Open loop: who takes the next records. */
static void next_choose(struct bench *b)
{
    struct bench_next *next = &b->next;
    next->key = key_draw(&b->values);
    next->held = false;
    if (b->o.producers > 0) {
        next->lane = lane_of_producer(b, next->key);
    } else if (next->key >= 0) {
        next->lane = lane_of_key(b, next->key);
    } else if (b->pinned) {
        next->lane = &b->lanes[b->next_conn++ % b->lane_count];
    } else {
        do
            next->conn = &b->conns[b->next_conn++ % b->conn_count];
        while (!(next->lane = lane_next(b, next->conn)));
        return;
    }
    next->conn = bench_conn_of(b, next->lane);
    struct bench_broker *broker = &b->brokers[next->lane->broker];
    if (!b->pinned)
        next->conn = &b->conns[broker->next_conn++ % broker->conn_count * b->broker_count +
                               next->lane->broker];
}

/* ---- closed loop ---- */

void bench_fill(struct bench *b, struct bench_conn *c)
{
    while (!all_handed(b)) {
        int64_t key = key_draw(&b->values);
        struct bench_lane *lane = NULL;
        for (int i = 0; key >= 0 && i < KEY_TRIES && !lane;
             i++, key = lane ? key : key_draw(&b->values)) {
            lane = lane_of_key(b, key);
            if (lane->broker != c->broker)
                lane = NULL;
        }
        if (!lane && !(lane = lane_next(b, c)))
            return;
        struct bench_slot *slot = slot_take(c);
        if (!slot)
            return;
        uint64_t now_ns = clock_ns(b);
        uint32_t count = batch_count(b);
        slot->lane = lane;
        slot->planned_ns = now_ns;
        slot_add(slot, now_ns, count, key);
        b->handed += count;
        slot_send(slot);
    }
}

/* ---- open loop ---- */

static void filling_add(struct bench *b, struct bench_slot *slot)
{
    slot->lane->filling = slot;
    slot->next = NULL;
    if (b->filling_last)
        b->filling_last->next = slot;
    else
        b->filling_first = slot;
    b->filling_last = slot;
}

/* Lingers are alike, so those that began first are over first; one that is full leaves earlier. */
static void filling_remove(struct bench *b, struct bench_slot *slot)
{
    struct bench_slot *before = NULL;
    for (struct bench_slot *at = b->filling_first; at != slot; at = at->next)
        before = at;
    if (before)
        before->next = slot->next;
    else
        b->filling_first = slot->next;
    if (b->filling_last == slot)
        b->filling_last = before;
    slot->lane->filling = NULL;
    slot->next = NULL;
}

/* Hands over the next records; false when there is no room for them. */
static bool hand_over(struct bench *b)
{
    struct bench_next *next = &b->next;
    const uint32_t count = batch_count(b);
    struct bench_slot *slot = b->o.joins ? next->lane->filling : NULL;
    const bool began = slot != NULL;
    if (!began && !(slot = slot_take(next->conn)))
        return false;
    if (!began) {
        slot->lane = next->lane;
        slot->planned_ns = max_u64(next->due_ns, next->held ? next->conn->freed_ns : 0);
        slot->planned_ns += b->o.joins ? b->o.linger_ns : 0;
    }
    slot_add(slot, next->due_ns, count, next->key);
    b->handed += count;
    if (!b->o.joins) {
        slot_send(slot);
        return true;
    }
    if (!began)
        filling_add(b, slot);
    bool full = batch_builder_size(&slot->builder) >= (size_t)b->o.batch_bytes ||
                slot->records + b->o.batch_records > b->joined_max;
    if (full) {
        slot->planned_ns = min_u64(slot->planned_ns, max_u64(next->due_ns, next->conn->freed_ns));
        filling_remove(b, slot);
        slot_send(slot);
    }
    return true;
}

static void next_due(struct bench *b)
{
    b->next.conn = NULL;
    uint32_t others = b->o.parts;
    do
        b->next.due_ns = b->epoch_ns + schedule_next_ns(&b->schedule);
    while (others-- > 1);
}

/* Sends what has lingered; when the next will have. */
static uint64_t linger_pump(struct bench *b, uint64_t now_ns)
{
    struct bench_slot *slot;
    while ((slot = b->filling_first)) {
        if (slot->planned_ns > now_ns)
            return slot->planned_ns;
        filling_remove(b, slot);
        slot_send(slot);
    }
    return UINT64_MAX;
}

/* Sends what is due and has room; when there will be more to do. */
static uint64_t pump(struct bench *b)
{
    const uint64_t now_ns = clock_ns(b);
    struct bench_next *next = &b->next;
    uint64_t then_ns = UINT64_MAX;
    while (next->due_ns <= now_ns && next->due_ns < b->until_ns && !all_handed(b)) {
        if (!next->conn)
            next_choose(b);
        if (!hand_over(b)) {
            if (!next->held) {
                b->measure.held += (uint64_t)b->o.batch_records;
                b->measure.now.held += (uint64_t)b->o.batch_records;
            }
            next->held = true;
            return linger_pump(b, now_ns); /* an answer or a new connection wakes the loop */
        }
        next_due(b);
    }
    if (next->due_ns < b->until_ns && !all_handed(b))
        then_ns = next->due_ns;
    return min_u64(then_ns, linger_pump(b, now_ns));
}

/* ---- running ---- */

static bool is_open(const struct bench *b)
{
    return b->o.rate > 0;
}

void bench_turn(struct bench *b, uint64_t until_ns)
{
    uint64_t now_ns = clock_ns(b);
    if (measure_tick(&b->measure, now_ns, b->in_flight))
        bench_say_second(b);
    until_ns = min_u64(until_ns, measure_second_end_ns(&b->measure));
    session_turn(b->s, min_u64(until_ns, now_ns + TURN_NS_MAX), &b->news);
    b->news = false;
}

/* What --disturb names runs beside the load; what it prints is no data of ours. */
static void disturb(struct bench *b, uint64_t now_ns)
{
    char shell[] = "sh";
    char option[] = "-c";
    char *const argv[] = {shell, option, no_const(b->o.disturb), NULL};
    if (!b->o.disturb || now_ns < b->epoch_ns + b->o.disturb_ns)
        return;
    pid_t pid;
    posix_spawn_file_actions_t files;
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    int error = posix_spawn(&pid, "/bin/sh", &files, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    if (error)
        complain(b->s->inv, "--disturb: %s", strerror(error));
    b->o.disturb = NULL;
}

static bool has_ended(const struct bench *b, uint64_t now_ns)
{
    bool all = all_handed(b) && b->in_flight == 0 && !b->filling_first;
    bool bytes = b->o.bytes_max > 0 && b->measure.bytes >= (uint64_t)b->o.bytes_max;
    return now_ns >= b->until_ns || all || bytes || interrupted;
}

void bench_prepare(void)
{
    struct rlimit files;
    struct sigaction action = {.sa_handler = on_interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* what is due is sent when it is due */
}

int bench_schedule_begin(struct bench *b)
{
    const struct bench_options *o = &b->o;
    if (!is_open(b))
        return EXIT_OK;
    const char *wrong = schedule_init(&b->schedule, o->arrival, o->rate / (double)o->batch_records,
                                      o->warm_ns, o->duration_ns, (uint64_t)o->seed);
    if (wrong)
        return usage_error(b->s->inv, "--arrival %s: %s", o->arrival, wrong);
    if (b->schedule.part_count > 1 && o->duration_ns == 0)
        return usage_error(b->s->inv, "--arrival %s needs --duration", o->arrival);
    return EXIT_OK;
}

void bench_rate_change(struct bench *b, double rate)
{
    b->o.rate = rate;
    schedule_change(&b->schedule, clock_ns(b) - b->epoch_ns, rate / (double)b->o.batch_records);
    next_due(b);
}

void bench_run_forget(struct bench *b)
{
    must(b->in_flight == 0 && !b->filling_first);
    measure_reset(&b->measure);
    b->next = (struct bench_next){0};
    b->handed = 0;
    b->epoch_ns = 0;
}

static void begin(struct bench *b)
{
    if (b->epoch_ns == 0)
        b->epoch_ns = clock_ns(b);
    b->started_wall_ms = (uint64_t)io_wall_ms(b->s->sh->io);
    b->until_ns = b->o.duration_ns > 0 ? b->epoch_ns + b->o.warm_ns + b->o.duration_ns : UINT64_MAX;
    b->sending = !is_open(b);
    b->next.due_ns = b->epoch_ns; /* the first is due at once */
    for (uint32_t i = 0; is_open(b) && i < b->o.part; i++)
        b->next.due_ns = b->epoch_ns + schedule_next_ns(&b->schedule);
    bench_conns_begin(b);
    for (uint32_t i = 0; !is_open(b) && i < b->conn_count; i++)
        bench_fill(b, &b->conns[i]);
}

void bench_measure_begin(struct bench *b, uint64_t at_ns)
{
    measure_begin(&b->measure, at_ns);
    b->broker_cpu_s = process_cpu_s(b->o.broker_pid);
}

void bench_measure_end(struct bench *b)
{
    measure_end(&b->measure, min_u64(clock_ns(b), b->until_ns));
    b->broker_cpu_s = process_cpu_s(b->o.broker_pid) - b->broker_cpu_s;
    if (measure_tick(&b->measure, clock_ns(b), b->in_flight))
        bench_say_second(b);
}

int bench_run(struct bench *b)
{
    begin(b);
    uint64_t now_ns = b->epoch_ns;
    const uint64_t warm_ns = b->epoch_ns + b->o.warm_ns;
    while (!has_ended(b, now_ns)) {
        if (b->measure.began_ns == 0 && now_ns >= warm_ns)
            bench_measure_begin(b, warm_ns);
        disturb(b, now_ns);
        uint64_t then_ns = b->beside ? b->beside(b, now_ns) : UINT64_MAX;
        then_ns = min_u64(then_ns, is_open(b) ? pump(b) : UINT64_MAX);
        if (b->measure.began_ns == 0)
            then_ns = min_u64(then_ns, warm_ns);
        bench_turn(b, min_u64(then_ns, b->until_ns));
        now_ns = clock_ns(b);
    }
    b->sending = false;
    b->until_ns = min_u64(b->until_ns, now_ns); /* --bytes may have ended it */
    bench_measure_end(b);
    return interrupted ? EXIT_INTERRUPTED : EXIT_OK;
}

/* Open loop: records that were due in time and have not been handed over. */
static bool has_backlog(const struct bench *b)
{
    return is_open(b) && b->until_ns != UINT64_MAX && b->next.due_ns < b->until_ns &&
           !all_handed(b);
}

/* What was due and could not even be sent is no less late for that. */
static void backlog_fail(struct bench *b)
{
    for (struct bench_slot *slot; (slot = b->filling_first);) {
        filling_remove(b, slot);
        measure_failed(&b->measure, slot->due_ns, MEASURE_UNSENT, slot->records);
        slot_give(slot);
    }
    for (; has_backlog(b); next_due(b)) {
        const uint32_t count = batch_count(b);
        b->handed += count;
        measure_failed(&b->measure, b->next.due_ns, MEASURE_UNSENT, count);
    }
}

void bench_drain(struct bench *b, bool (*pending)(struct bench *b))
{
    const uint64_t limit_ns = clock_ns(b) + b->o.drain_ns;
    while (b->in_flight > 0 || b->filling_first || has_backlog(b) || (pending && pending(b))) {
        uint64_t now_ns = clock_ns(b);
        if (now_ns >= limit_ns || interrupted)
            break;
        uint64_t then_ns = is_open(b) ? pump(b) : UINT64_MAX;
        bench_turn(b, min_u64(limit_ns, then_ns));
    }
    if (!interrupted)
        backlog_fail(b);
}
