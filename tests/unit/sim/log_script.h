/* SPDX-License-Identifier: Apache-2.0
 *
 * The program of test_sim_log_changes.c: one log, random operations on it one after another, and a
 * model that tells what is in it.
 */
#pragma once

#include "core/log/log_dir.h"
#include "io/mem.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCHES_MAX 4000U
#define PRODUCER    7
#define US          1000U
#define MS          1000000U
#define S           1000000000ULL

struct batch {
    int64_t base;
    int32_t count;
    uint32_t size;
    uint64_t tag; /* its bytes, and its time */
    int32_t sequence;
    int32_t epoch;
};

struct state {
    bool exists;
    uint32_t generation; /* of the topic id */
    int64_t start;
    int64_t end;
    int32_t epoch;
    uint32_t count;
    struct batch batches[BATCHES_MAX];
};

enum op_kind { APPEND, TRUNCATE, SET_START, RESET, DELETE, VERIFY, FIND_TIME, FIND_MAX };

struct model {
    struct world *world;
    struct machine *machine;
    struct rng rng;
    struct state now;  /* what was answered */
    struct state next; /* what it will be when the operation under way is done */
    bool open;         /* there is one */
    uint32_t done[FIND_MAX + 1];
    uint32_t lives;
    uint32_t reset_calls; /* 0, or the blocking call since the first reset that is cut off */
    enum crash reset_crash;
    struct log_dir_options options;
    struct log_config config;
    bool checked;
    bool stopped;
    bool failed;
    char why[300];
};

struct run {
    struct model *m;
    struct log_dir *dir;
    struct shard *sh;
    struct log_shard *ls;
    struct log *lg;
    struct timer timer;
    bool first; /* the check after the start */
    bool stopping;
    enum op_kind kind;
    uint32_t parts; /* of the operation under way that are not done: a start may have an append
                       beside it */
    struct timer append_timer;
    struct log_append append;
    struct piece piece;
    uint8_t *bytes;
    struct log_change change;
    struct log_find find;
    struct log_pin pin;
    struct log_check check;
    uint32_t got;
    int64_t reading;
};

static void wrong(struct model *m, const char *format, ...) printf_like(2, 3);
static void wrong(struct model *m, const char *format, ...)
{
    if (m->failed)
        return;
    m->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(m->why, sizeof(m->why), format, arguments);
    va_end(arguments);
}

/* SIM_LOG_CHANGES_TALK=1 tells the story of a seed. */
static void tell(const struct model *m, const char *format, ...) printf_like(2, 3);
static void tell(const struct model *m, const char *format, ...)
{
    if (getenv("SIM_LOG_CHANGES_TALK") == NULL)
        return;
    (void)fprintf(stderr, "%9.3f ms, life %u: ", (double)world_now_ns(m->world) / 1e6, m->lives);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

static struct log_id id_of(uint32_t generation)
{
    struct log_id id = {.topic_id = "topic-id-0000000", .partition = 3};
    id.topic_id[15] = (uint8_t)generation;
    id.topic_id[14] = (uint8_t)(generation >> 8);
    return id;
}

/* ---- the model ---- */

/* The batch that holds the offset, count when none does. */
static uint32_t batch_at(const struct state *state, int64_t offset)
{
    uint32_t i = 0;
    while (i < state->count && state->batches[i].base + state->batches[i].count <= offset)
        i++;
    return i;
}

static const struct batch *model_at_time(const struct state *state, int64_t timestamp)
{
    for (uint32_t i = batch_at(state, state->start); i < state->count; i++) {
        if ((int64_t)state->batches[i].tag >= timestamp)
            return &state->batches[i];
    }
    return NULL;
}

static const struct batch *model_latest(const struct state *state)
{
    const struct batch *best = NULL;
    for (uint32_t i = batch_at(state, state->start); i < state->count; i++) {
        if (best == NULL || state->batches[i].tag > best->tag)
            best = &state->batches[i];
    }
    return best;
}

static void batch_bytes(const struct batch *batch, uint8_t *to)
{
    test_batch(to, batch->size, batch->tag, batch->count, PRODUCER, 0, batch->sequence);
    batch_put_place(to, batch->base, batch->epoch);
}

/* ---- one operation after another ---- */

static void finish(struct run *run)
{
    struct model *m = run->m;
    if (--run->parts > 0)
        return;
    static const char *const names[] = {"append", "truncate", "start", "reset",
                                        "delete", "verify",   "time",  "latest"};
    tell(m, "%s done: %lld..%lld", names[run->kind], (long long)m->next.start,
         (long long)m->next.end);
    m->done[run->kind]++;
    m->now = m->next;
    m->open = false;
    if (run->first)
        m->checked = true;
    run->first = false;
    if (!m->failed && !run->stopping && !timer_is_set(&run->timer))
        timer_set(run->sh, &run->timer,
                  io_now_ns(run->sh->io) + (rng_one_in(&m->rng, 2) ? 0 : rng_below(&m->rng, MS)));
}

static void on_append(struct log_append *op)
{
    struct run *run = container_of(op, struct run, append);
    struct model *m = run->m;
    mem_free(run->bytes);
    run->bytes = NULL;
    if (op->verdict == LOG_CLOSED)
        return;
    const struct batch *batch = &m->next.batches[m->next.count - 1];
    if (op->verdict != LOG_OK || op->duplicate || op->base_offset != batch->base)
        wrong(m, "append: %s%s at %lld, not at %lld", log_verdict_text(op->verdict),
              op->duplicate ? " (duplicate)" : "", (long long)op->base_offset,
              (long long)batch->base);
    finish(run);
}

static void append(struct run *run)
{
    struct model *m = run->m;
    struct state *next = &m->next;
    const struct batch *last = next->count > 0 ? &next->batches[next->count - 1] : NULL;
    struct batch *batch = &next->batches[next->count++];
    *batch = (struct batch){.base = next->end,
                            .count = (int32_t)rng_between(&m->rng, 1, 4),
                            .size = (uint32_t)rng_between(&m->rng, 70, 9000),
                            .tag = rng_between(&m->rng, 1, 1000000),
                            .sequence = last != NULL ? last->sequence + last->count : 0,
                            .epoch = next->epoch};
    next->end += batch->count;
    run->bytes = mem_alloc(batch->size);
    batch_bytes(batch, run->bytes);
    run->append = (struct log_append){.batch = span_of(&run->piece, run->bytes, batch->size),
                                      .leader_epoch = batch->epoch,
                                      .append_time_ms = -1,
                                      .max_timestamp = LOG_KEEP,
                                      .done = on_append};
    enum log_verdict verdict = log_append(run->lg, &run->append);
    if (verdict != LOG_OK && verdict != LOG_WAIT)
        wrong(m, "append is refused: %s", log_verdict_text(verdict));
}

static void on_change(struct log_change *change)
{
    struct run *run = container_of(change, struct run, change);
    struct model *m = run->m;
    const struct log *lg = run->lg;
    if (change->verdict != LOG_OK)
        wrong(m, "change %d: %s", run->kind, log_verdict_text(change->verdict));
    else if (run->kind != DELETE && (lg->start_offset != m->next.start ||
                                     (run->parts == 1 && (lg->end_offset != m->next.end ||
                                                          lg->durable_offset != m->next.end))))
        wrong(m, "after change %d the log is %lld..%lld, not %lld..%lld", run->kind,
              (long long)lg->start_offset, (long long)lg->end_offset, (long long)m->next.start,
              (long long)m->next.end);
    if (run->kind == DELETE) {
        log_free(run->lg);
        run->lg = NULL;
    }
    finish(run);
}

static void truncate(struct run *run)
{
    struct model *m = run->m;
    struct state *next = &m->next;
    /* To a batch's beginning at or above the start: often a few back, at times
     * far. */
    uint32_t least = batch_at(next, next->start);
    if (least < next->count && next->batches[least].base < next->start)
        least++;
    uint32_t back = (uint32_t)rng_below(&m->rng, rng_one_in(&m->rng, 3) ? 200 : 4);
    uint32_t count = next->count > least + back ? next->count - back : least;
    int64_t offset = count < next->count ? next->batches[count].base : next->end;
    next->count = count;
    next->end = offset;
    next->epoch++;
    run->change = (struct log_change){.done = on_change};
    log_truncate(run->lg, &run->change, offset);
}

/* Where one of its batches begins, so that segments come to have the names of those that go; or
 * beyond the end. */
static void reset(struct run *run)
{
    struct model *m = run->m;
    struct state *next = &m->next;
    if (next->count > 0 && rng_one_in(&m->rng, 2))
        next->end = next->batches[rng_below(&m->rng, next->count)].base;
    else
        next->end += (int64_t)rng_below(&m->rng, 100);
    next->start = next->end;
    next->count = 0;
    next->epoch++;
    run->change = (struct log_change){.done = on_change};
    if (m->reset_calls > 0)
        machine_crash_in_call(m->machine, m->reset_crash, m->reset_calls);
    m->reset_calls = 0;
    log_reset(run->lg, &run->change, next->end);
}

static void append_beside(struct shard *sh, struct timer *timer)
{
    (void)sh;
    append(container_of(timer, struct run, append_timer));
}

/* Often with an append before or after it, or while its record is on its way. */
static void set_start(struct run *run)
{
    struct model *m = run->m;
    int64_t room = m->next.end - m->next.start;
    m->next.start +=
        rng_one_in(&m->rng, 4) ? room : (int64_t)rng_below(&m->rng, (uint64_t)room / 4 + 1);
    run->change = (struct log_change){.done = on_change};
    log_start_set(run->lg, &run->change, m->next.start);
    uint64_t beside = m->next.count < BATCHES_MAX - 1 ? rng_below(&m->rng, 3) : 0;
    run->parts += beside > 0;
    if (beside == 1)
        append(run);
    else if (beside == 2)
        timer_set(run->sh, &run->append_timer,
                  io_now_ns(run->sh->io) + rng_below(&m->rng, 300 * US));
}

static void remove_log(struct run *run)
{
    run->m->next.exists = false;
    run->change = (struct log_change){.done = on_change};
    log_delete(run->lg, &run->change);
}

static void found_time(struct run *run, const struct batch *expected)
{
    struct model *m = run->m;
    const struct log_find *find = &run->find;
    if (find->verdict != LOG_OK || (expected == NULL) != (find->range.length == 0) ||
        (expected != NULL &&
         (find->range.base_offset != expected->base || find->range.length != expected->size)))
        wrong(m, "question %d: %s, batch %lld of %u bytes, not %lld of %u", run->kind,
              log_verdict_text(find->verdict), (long long)find->range.base_offset,
              find->range.length, expected != NULL ? (long long)expected->base : -1LL,
              expected != NULL ? expected->size : 0);
    finish(run);
}

static void on_time(struct log_find *find)
{
    struct run *run = container_of(find, struct run, find);
    found_time(run, run->kind == FIND_MAX ? model_latest(&run->m->now)
                                          : model_at_time(&run->m->now, run->reading));
}

static void ask_time(struct run *run)
{
    struct model *m = run->m;
    run->reading = (int64_t)rng_between(&m->rng, 1, 1000001);
    run->find = (struct log_find){.upto_offset = INT64_MAX, .done = on_time};
    if (run->kind == FIND_MAX ? log_find_timestamp_max(run->lg, &run->find)
                              : log_find_timestamp(run->lg, &run->find, run->reading))
        on_time(&run->find);
}

/* ---- reading everything ---- */

static void verify_find(struct run *run);

static void verify_batches(struct run *run)
{
    struct model *m = run->m;
    uint32_t at = 0;
    while (run->got - at >= BATCH_HEADER_SIZE && !m->failed) {
        uint32_t i = batch_at(&m->now, run->reading);
        if (i == m->now.count)
            break;
        const struct batch *batch = &m->now.batches[i];
        if (batch->size > run->got - at)
            break;
        uint8_t *expected = mem_alloc(batch->size);
        batch_bytes(batch, expected);
        if (memcmp(expected, run->bytes + at, batch->size) != 0)
            wrong(m, "the batch at %lld is not what was written", (long long)batch->base);
        mem_free(expected);
        run->reading = batch->base + batch->count;
        at += batch->size;
    }
    if (at == 0)
        wrong(m, "no whole batch at %lld", (long long)run->reading);
}

static void verify_on(struct run *run);

static void on_verify_pin(struct log_pin *pin)
{
    struct run *run = container_of(pin, struct run, pin);
    if (pin->verdict != LOG_OK) {
        wrong(run->m, "pin: %s", log_verdict_text(pin->verdict));
        return;
    }
    for (uint32_t i = 0; i < pin->pieces; i++) {
        memcpy(run->bytes + run->got, pin->iov[i].iov_base, pin->iov[i].iov_len);
        run->got += (uint32_t)pin->iov[i].iov_len;
    }
    log_unpin(pin);
    verify_on(run);
}

static void verify_on(struct run *run)
{
    if (run->got < run->find.range.length) {
        run->pin.done = on_verify_pin;
        run->pin.check = &run->check;
        if (log_pin(run->lg, &run->find.range, run->got, 1U << 18, &run->pin))
            on_verify_pin(&run->pin);
        return;
    }
    verify_batches(run);
    mem_free(run->bytes);
    run->bytes = NULL;
    if (!run->m->failed)
        verify_find(run);
}

static void on_verify_find(struct log_find *find)
{
    struct run *run = container_of(find, struct run, find);
    if (find->verdict != LOG_OK || find->range.length == 0) {
        wrong(run->m, "find of %lld: %s", (long long)find->offset, log_verdict_text(find->verdict));
        return;
    }
    run->got = 0;
    run->check.begun = false;
    run->bytes = mem_alloc(find->range.length);
    verify_on(run);
}

static void verify_find(struct run *run)
{
    if (run->reading >= run->m->now.end) {
        finish(run);
        return;
    }
    run->find = (struct log_find){.offset = run->reading,
                                  .upto_offset = INT64_MAX,
                                  .bytes_max = (uint32_t)rng_between(&run->m->rng, 1, 200000),
                                  .one_at_least = true,
                                  .done = on_verify_find};
    if (log_find(run->lg, &run->find))
        on_verify_find(&run->find);
}

static void verify(struct run *run)
{
    struct model *m = run->m;
    const struct log *lg = run->lg;
    if (lg->start_offset != m->now.start || lg->end_offset != m->now.end)
        wrong(m, "the log is %lld..%lld, not %lld..%lld", (long long)lg->start_offset,
              (long long)lg->end_offset, (long long)m->now.start, (long long)m->now.end);
    run->reading = m->now.start;
    verify_find(run);
}

/* ---- what is next ---- */

static void begin(struct run *run, enum op_kind kind)
{
    struct model *m = run->m;
    run->kind = kind;
    run->parts = 1;
    m->next = m->now;
    m->open = true;
    tell(m, "  begin %d", (int)kind);
    switch (kind) {
    case APPEND:
        append(run);
        break;
    case TRUNCATE:
        truncate(run);
        break;
    case SET_START:
        set_start(run);
        break;
    case RESET:
        reset(run);
        break;
    case DELETE:
        remove_log(run);
        break;
    case VERIFY:
        verify(run);
        break;
    case FIND_TIME:
    case FIND_MAX:
        ask_time(run);
        break;
    }
}

static void birth(struct run *run)
{
    struct model *m = run->m;
    m->now.exists = true;
    m->now.generation++;
    m->now.count = 0;
    m->now.start = m->now.end = (int64_t)rng_below(&m->rng, 3) * 100;
    m->next = m->now;
    struct log_id id = id_of(m->now.generation);
    run->lg = log_new(run->ls, &id, "orders", &m->config, m->now.start);
}

static void step(struct shard *sh, struct timer *timer)
{
    struct run *run = container_of(timer, struct run, timer);
    struct model *m = run->m;
    (void)sh;
    if (run->lg == NULL)
        birth(run);
    uint64_t chance = rng_below(&m->rng, 100);
    if (m->reset_calls > 0 && m->now.count > 30) {
        begin(run, RESET);
        return;
    }
    if (chance < 76 && m->now.count < BATCHES_MAX - 1)
        begin(run, APPEND);
    else if (chance < 82)
        begin(run, TRUNCATE);
    else if (chance < 87)
        begin(run, SET_START);
    else if (chance < 88)
        begin(run, RESET);
    else if (chance < 90)
        begin(run, DELETE);
    else if (chance < 93)
        begin(run, VERIFY);
    else
        begin(run, chance < 97 ? FIND_TIME : FIND_MAX);
}

/* ---- start and stop ---- */

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    struct model *m = argument;
    struct log_error error;
    struct run *run = mem_zalloc(sizeof(*run));
    run->m = m;
    m->options.fs = fs;
    run->dir = log_dir_open(&m->options, &error);
    *failed = run->dir == NULL || !log_dir_recover(run->dir, &error);
    if (*failed)
        wrong(m, "start refused: %.200s", error.text);
    return run;
}

/* Which of the two states is it: before the operation that was under way, or
 * after it? */
static void settle(struct run *run, const struct recovered_log *recovered)
{
    struct model *m = run->m;
    bool old = m->now.exists && recovered != NULL && recovered->start_offset == m->now.start &&
               recovered->end_offset == m->now.end;
    bool new = m->open && m->next.exists &&recovered != NULL &&
               recovered->start_offset == m->next.start && recovered->end_offset == m->next.end;
    bool half =
        m->open && m->next.exists && recovered != NULL && m->now.exists &&
        m->next.start > m->now.start && m->next.end > m->now.end &&
        (recovered->start_offset == m->now.start || recovered->start_offset == m->next.start) &&
        (recovered->end_offset == m->now.end || recovered->end_offset == m->next.end);
    bool none = recovered == NULL && (!m->now.exists || (m->open && !m->next.exists) ||
                                      m->now.count == 0); /* its birth may be lost with it */
    if (!old && !new && !half && !none)
        wrong(m, "it is %lld..%lld, was %lld..%lld%s, may be %lld..%lld",
              recovered != NULL ? (long long)recovered->start_offset : -1LL,
              recovered != NULL ? (long long)recovered->end_offset : -1LL, (long long)m->now.start,
              (long long)m->now.end, m->now.exists ? "" : " (deleted)", (long long)m->next.start,
              (long long)m->next.end);
    if (half && recovered->end_offset == m->now.end)
        m->next = m->now;
    if ((new || half) && !old) {
        m->now = m->next;
        m->now.start = recovered->start_offset;
    }
    m->now.exists = !none;
    m->open = false;
}

static void start(struct shard *sh, void *prepared)
{
    struct run *run = prepared;
    struct model *m = run->m;
    run->sh = sh;
    sh->user = run;
    run->ls = log_shard_start(run->dir, sh);
    run->timer = (struct timer){.fn = step, .name = "script"};
    run->append_timer = (struct timer){.fn = append_beside, .name = "append"};
    struct log_id id = id_of(m->now.generation);
    struct recovered_log *recovered = NULL;
    for (uint32_t i = 0; i < run->dir->recovered_count; i++) {
        if (memcmp(&run->dir->recovered[i].id, &id, sizeof(id)) != 0)
            wrong(m, "a deleted log came back");
        else
            recovered = &run->dir->recovered[i];
    }
    settle(run, recovered);
    if (m->failed)
        return;
    if (recovered == NULL) {
        m->checked = true;
        timer_set(sh, &run->timer, io_now_ns(sh->io));
        return;
    }
    run->lg = log_adopt(run->ls, recovered, &m->config);
    run->first = true;
    begin(run, VERIFY);
}

static void on_stopped(void *argument)
{
    struct run *run = argument;
    timer_cancel(run->sh, &run->timer);
    timer_cancel(run->sh, &run->append_timer);
    if (run->lg != NULL)
        log_free(run->lg);
    log_shard_free(run->ls);
    mem_free(run->bytes);
    run->m->stopped = true;
    shard_stop(run->sh);
}

static void stop(struct shard *sh, void *argument)
{
    (void)argument;
    struct run *run = sh->user;
    run->stopping = true;
    timer_cancel(sh, &run->timer);
    log_shard_stop(run->ls, on_stopped, run);
}

static void end(void *prepared)
{
    struct run *run = prepared;
    log_dir_close(run->dir);
    mem_free(run);
}
