/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleaner.h"

#include "core/clock_jump.h"
#include "core/log/log_clean.h"
#include "io/diag.h"
#include "io/mem.h"

#define SWEEP_STEPS 16U /* between looks at the clock */
#define HEAP_SHARE  8U  /* of the heap's plan, for the map of keys */
#define REST_NS_MAX 10000000000ULL

struct cleaner {
    struct broker_shard *bs;
    struct timer timer; /* the next sweep, or the next step */
    struct task task;
    struct partition_key *keys; /* of the partitions when the sweep began */
    uint32_t key_count;
    uint32_t next;
    struct clock_jump clock;

    /* the partition under way */
    struct partition *pt;
    struct log_find find;
    struct log_clean_bounds bounds;
    struct log_clean *clean;
    struct log_clean_result total;
    uint64_t began_ns;      /* of the step */
    uint64_t pass_began_ns; /* of the first pass */
    bool resting;

    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

static void sweep_on(struct cleaner *cl);
static void pass_begin(struct cleaner *cl);

/* ---- one partition ---- */

static void partition_done(struct cleaner *cl)
{
    partition_unpinned(cl->pt);
    cl->pt = NULL;
    sweep_on(cl);
}

static bool may_go_on(const struct cleaner *cl)
{
    return !cl->stopping && !cl->pt->closing && !broker_logs_failed(cl->pt);
}

static void say_what_was_done(const struct cleaner *cl)
{
    const struct log_clean_result *total = &cl->total;
    const struct log *log = cl->pt->log;
    uint64_t took_ns = io_now_ns(cl->bs->sh->io) - cl->pass_began_ns;
    if (total->segments_before == 0)
        return;
    diag_info(cl->bs->sh, "log.compacted",
              "topic=%s partition=%d clean_upto=%lld segments_before=%u segments_after=%u "
              "bytes_before=%llu bytes_after=%llu records_before=%llu records_after=%llu "
              "took_ms=%llu",
              log->topic, log->id.partition, (long long)total->known_upto, total->segments_before,
              total->segments_after, (unsigned long long)total->bytes_before,
              (unsigned long long)total->bytes_after, (unsigned long long)total->records_read,
              (unsigned long long)total->records_kept, (unsigned long long)(took_ns / 1000000));
}

static void add_up(struct log_clean_result *total, const struct log_clean_result *pass)
{
    total->verdict = pass->verdict;
    total->map_full = pass->map_full;
    total->known_upto = max_i64(total->known_upto, pass->known_upto);
    total->segments_before += pass->segments_before;
    total->segments_after += pass->segments_after;
    total->bytes_before += pass->bytes_before;
    total->bytes_after += pass->bytes_after;
    total->records_read += pass->records_read;
    total->records_kept += pass->records_kept;
}

static void on_ended(void *user)
{
    struct cleaner *cl = user;
    const enum log_clean_verdict verdict = cl->total.verdict;
    if (verdict == LOG_CLEAN_DONE && cl->total.map_full && may_go_on(cl)) {
        pass_begin(cl);
        return;
    }
    say_what_was_done(cl);
    if (verdict == LOG_CLEAN_TOO_SMALL)
        diag_warn(cl->bs->sh, "log.compaction_map_too_small", "topic=%s partition=%d next_step=%s",
                  cl->pt->log->topic, cl->pt->key.partition,
                  "raise log.cleaner.dedupe.buffer.size or --memory");
    cl->pt->is_uncleanable = verdict == LOG_CLEAN_DAMAGED || verdict == LOG_CLEAN_TOO_SMALL;
    partition_done(cl);
}

static void pass_end(struct cleaner *cl)
{
    struct log_clean *clean = cl->clean;
    cl->clean = NULL;
    add_up(&cl->total, log_clean_result(clean));
    log_clean_end(clean, on_ended, cl);
}

/* Before the next step. */
static uint64_t rest_ns(const struct cleaner *cl)
{
    uint64_t rest = io_now_ns(cl->bs->sh->io) - cl->began_ns;
    double bytes_max = cl->bs->broker->conf->broker.log_cleaner_io_max_bytes_per_second /
                       cl->bs->broker->shard_count;
    double paced = (double)log_clean_result(cl->clean)->step_bytes / bytes_max * 1e9;
    if (paced > (double)rest) /* which is part of the time that it may take */
        rest = paced < (double)REST_NS_MAX ? (uint64_t)paced : REST_NS_MAX;
    return rest;
}

static void on_step_done(void *user)
{
    struct cleaner *cl = user;
    if (log_clean_result(cl->clean)->verdict != LOG_CLEAN_MORE || !may_go_on(cl)) {
        pass_end(cl);
        return;
    }
    cl->resting = true;
    timer_set(cl->bs->sh, &cl->timer, io_now_ns(cl->bs->sh->io) + rest_ns(cl));
}

static void step(struct cleaner *cl)
{
    cl->resting = false;
    cl->began_ns = io_now_ns(cl->bs->sh->io);
    log_clean_step(cl->clean, on_step_done, cl);
}

static uint64_t map_bytes_max(const struct broker *broker)
{
    uint64_t heap_bytes = broker->options.plan.heap_bytes / broker->shard_count;
    uint64_t wanted = (uint64_t)broker->conf->broker.log_cleaner_dedupe_buffer_size;
    return min_u64(heap_bytes / HEAP_SHARE, wanted / broker->shard_count);
}

static void pass_begin(struct cleaner *cl)
{
    struct io *io = cl->bs->sh->io;
    const struct topic_conf *conf = &cl->pt->conf;
    const int64_t now_ms = io_wall_ms(io);
    const struct log_clean_options options = {
        .bounds = cl->bounds,
        .rules = {.now_ms = clock_jump_rests(&cl->clock) ? INT64_MIN / 2 : now_ms,
                  .horizon_ms = now_ms < INT64_MAX - conf->delete_retention_ms
                                    ? now_ms + conf->delete_retention_ms
                                    : INT64_MAX,
                  .inflated_bytes_max = INFLATED_BYTES_MAX,
                  .mistake_drops_newest = io_mutation(io, "compact.drops_newest"),
                  .mistake_tombstone_early = io_mutation(io, "compact.tombstone_early")},
        .map_bytes_max = map_bytes_max(cl->bs->broker),
    };
    cl->clean = log_clean_begin(cl->pt->log, &options);
    step(cl);
}

/* ---- is there enough to do? ---- */

static bool is_dirty(const struct log_clean_look *look, double ratio)
{
    return look->dirty_bytes > 0 &&
           (double)look->dirty_bytes / (double)(look->dirty_bytes + look->clean_bytes) > ratio;
}

static void partition_clean(struct cleaner *cl)
{
    cl->total = (struct log_clean_result){0};
    cl->pass_began_ns = io_now_ns(cl->bs->sh->io);
    pass_begin(cl);
}

/* The first dirty batch: has it waited too long? */
static void oldest_found(struct cleaner *cl)
{
    const struct log_find *find = &cl->find;
    int64_t age_ms = cl->clock.wall_ms - find->max_timestamp;
    if (find->verdict == LOG_OK && find->range.length > 0 && find->max_timestamp >= 0 &&
        age_ms > cl->pt->conf.max_compaction_lag_ms && may_go_on(cl))
        partition_clean(cl);
    else
        partition_done(cl);
}

static void on_oldest_found(struct log_find *find)
{
    oldest_found(container_of(find, struct cleaner, find));
}

static void partition_judge(struct cleaner *cl)
{
    const struct topic_conf *conf = &cl->pt->conf;
    struct log *log = cl->pt->log;
    struct log_clean_look look;
    log_clean_look(log, &cl->bounds, &look);
    if (is_dirty(&look, conf->min_cleanable_dirty_ratio)) {
        partition_clean(cl);
        return;
    }
    if (look.dirty_bytes == 0 || conf->max_compaction_lag_ms == INT64_MAX ||
        clock_jump_rests(&cl->clock)) {
        partition_done(cl);
        return;
    }
    cl->find = (struct log_find){
        .offset = look.clean_upto, .upto_offset = cl->bounds.upto_offset, .done = on_oldest_found};
    if (log_find_timestamp(log, &cl->find, INT64_MIN))
        oldest_found(cl);
}

/* The first batch that is too young is where compaction has to stop. */
static void youngest_found(struct cleaner *cl)
{
    const struct log_find *find = &cl->find;
    if (find->verdict != LOG_OK || !may_go_on(cl)) {
        partition_done(cl);
        return;
    }
    if (!io_mutation(cl->bs->sh->io, "compact.before_the_lag") && find->range.length > 0)
        cl->bounds.before_segment = find->range.segment_base;
    partition_judge(cl);
}

static void on_youngest_found(struct log_find *find)
{
    youngest_found(container_of(find, struct cleaner, find));
}

static void partition_begin(struct cleaner *cl, struct partition *pt)
{
    const int64_t lag_ms = pt->conf.min_compaction_lag_ms;
    struct log_clean_look look;
    cl->pt = pt;
    partition_pinned(pt);
    cl->bounds = (struct log_clean_bounds){.upto_offset = partition_last_stable_offset(pt),
                                           .before_segment = INT64_MAX};
    log_clean_look(pt->log, &cl->bounds, &look);
    if (look.dirty_bytes == 0 || (lag_ms > 0 && clock_jump_rests(&cl->clock))) {
        partition_done(cl);
        return;
    }
    if (lag_ms == 0) {
        partition_judge(cl);
        return;
    }
    cl->find = (struct log_find){.offset = look.clean_upto,
                                 .upto_offset = cl->bounds.upto_offset,
                                 .done = on_youngest_found};
    if (log_find_timestamp(pt->log, &cl->find, cl->clock.wall_ms - lag_ms + 1))
        youngest_found(cl);
}

/* ---- a sweep ---- */

static void sweep_end(struct cleaner *cl)
{
    mem_free(cl->keys);
    cl->keys = NULL;
    cl->key_count = 0;
    cl->next = 0;
    if (cl->stopping) {
        if (cl->stopped)
            cl->stopped(cl->user);
        return;
    }
    int64_t backoff_ms = cl->bs->broker->conf->broker.log_cleaner_backoff_ms;
    timer_set(cl->bs->sh, &cl->timer,
              io_now_ns(cl->bs->sh->io) + (uint64_t)min_i64(backoff_ms, INT32_MAX) * 1000000U);
}

static bool is_compacted(const struct partition *pt)
{
    return pt != NULL && !pt->closing && !pt->is_uncleanable && !broker_logs_failed(pt) &&
           (pt->conf.cleanup_policy & CONF_CLEANUP_COMPACT);
}

static void on_step(struct shard *sh, struct task *task)
{
    struct cleaner *cl = container_of(task, struct cleaner, task);
    (void)sh;
    for (unsigned i = 0; i < SWEEP_STEPS && cl->next < cl->key_count; i++) {
        struct partition *pt = partition_find(&cl->bs->partitions, &cl->keys[cl->next++]);
        if (is_compacted(pt)) {
            partition_begin(cl, pt);
            return; /* it goes on by sweep_on() */
        }
    }
    sweep_on(cl);
}

static void sweep_on(struct cleaner *cl)
{
    if (cl->next == cl->key_count || cl->stopping)
        sweep_end(cl);
    else
        shard_ready(cl->bs->sh, &cl->task);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct cleaner *cl = container_of(timer, struct cleaner, timer);
    const struct partition_table *table = &cl->bs->partitions;
    clock_jump_look(&cl->clock, sh, "tombstones");
    if (cl->resting && may_go_on(cl)) {
        step(cl);
        return;
    }
    if (cl->resting) {
        cl->resting = false;
        pass_end(cl);
        return;
    }
    cl->keys = mem_alloc((table->count + 1) * sizeof(cl->keys[0]));
    for (uint32_t i = 0; i < table->size; i++)
        if (table->slots[i])
            cl->keys[cl->key_count++] = table->slots[i]->key;
    sweep_on(cl);
}

/* ---- life ---- */

struct cleaner *cleaner_start(struct broker_shard *bs)
{
    struct cleaner *cl = mem_zalloc(sizeof(*cl));
    const struct broker_conf *conf = &bs->broker->conf->broker;
    cl->bs = bs;
    cl->timer = (struct timer){.fn = on_timer, .name = "log.cleaner"};
    cl->task = (struct task){.fn = on_step, .name = "log.cleaner"};
    clock_jump_start(&cl->clock, bs->sh);
    int64_t backoff_ms = min_i64(conf->log_cleaner_backoff_ms, INT32_MAX);
    if (conf->log_cleaner_enable)
        timer_set(bs->sh, &cl->timer, cl->clock.clock_ns + (uint64_t)backoff_ms * 1000000U);
    return cl;
}

void cleaner_stop(struct cleaner *cl, void (*done)(void *user), void *user)
{
    cl->stopping = true;
    timer_cancel(cl->bs->sh, &cl->timer);
    if (cl->keys == NULL) {
        done(user);
        return;
    }
    cl->stopped = done;
    cl->user = user;
    if (!cl->resting)
        return; /* what is under way comes to its end */
    cl->resting = false;
    pass_end(cl);
}

void cleaner_free(struct cleaner *cl)
{
    mem_free(cl);
}
