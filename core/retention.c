/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retention.h"

#include "core/partition/partition_trim.h"
#include "io/diag.h"
#include "io/mem.h"

#define FIRST_SWEEP_MS 30000
#define SWEEP_STEPS    16U /* between looks at the clock */

struct retention {
    struct broker_shard *bs;
    struct timer timer;
    struct task task;
    struct partition_key *keys; /* of the partitions when the sweep began */
    uint32_t key_count;
    uint32_t next;

    /* the partition under way */
    struct partition *pt;
    struct log_find find;
    struct partition_trim trim;

    struct clock_jump clock;

    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

static void sweep_on(struct retention *rt);

/* ---- one partition ---- */

static void partition_done(struct retention *rt)
{
    partition_unpinned(rt->pt);
    rt->pt = NULL;
    sweep_on(rt);
}

static void on_trimmed(struct partition_trim *trim)
{
    struct retention *rt = container_of(trim, struct retention, trim);
    const struct partition *pt = rt->pt;
    if (trim->error == ERR_NONE)
        diag_info(rt->bs->sh, "log.retention",
                  "topic=%s partition=%d log_start=%lld size_bytes=%llu retention_ms=%lld "
                  "retention_bytes=%lld",
                  pt->log->topic, pt->key.partition, (long long)trim->low_watermark,
                  (unsigned long long)pt->log->size_bytes, (long long)pt->conf.retention_ms,
                  (long long)pt->conf.retention_bytes);
    partition_done(rt);
}

/* `start` is where the log may begin by its records' age. */
static void trim_partition(struct retention *rt, int64_t start)
{
    const struct partition *pt = rt->pt;
    if (pt->conf.retention_bytes >= 0)
        start = max_i64(start, log_start_by_size(pt->log, (uint64_t)pt->conf.retention_bytes));
    start = min_i64(start, pt->high_watermark);
    if (start <= pt->log->start_offset || pt->closing) {
        partition_done(rt);
        return;
    }
    rt->trim = (struct partition_trim){.offset = start, .done = on_trimmed};
    partition_trim_here(rt->pt, &rt->trim);
}

static void found(struct retention *rt)
{
    const struct log_find *find = &rt->find;
    int64_t start = rt->pt->log->start_offset;
    if (find->verdict == LOG_OK)
        start = log_start_by_range(rt->pt->log, &find->range);
    trim_partition(rt, start);
}

static void on_found(struct log_find *find)
{
    found(container_of(find, struct retention, find));
}

static void partition_begin(struct retention *rt, struct partition *pt)
{
    rt->pt = pt;
    partition_pinned(pt);
    if (pt->conf.retention_ms < 0 || clock_jump_rests(&rt->clock)) {
        trim_partition(rt, pt->log->start_offset);
        return;
    }
    int64_t oldest_ms = rt->clock.wall_ms - pt->conf.retention_ms;
    rt->find = (struct log_find){.upto_offset = pt->high_watermark, .done = on_found};
    if (log_find_timestamp(pt->log, &rt->find, oldest_ms))
        found(rt);
}

/* ---- a sweep ---- */

static void sweep_end(struct retention *rt)
{
    mem_free(rt->keys);
    rt->keys = NULL;
    rt->key_count = 0;
    rt->next = 0;
    if (rt->stopping) {
        if (rt->stopped)
            rt->stopped(rt->user);
        return;
    }
    const int64_t interval_ms = rt->bs->broker->conf->broker.log_retention_check_interval_ms;
    timer_set(rt->bs->sh, &rt->timer,
              io_now_ns(rt->bs->sh->io) + (uint64_t)min_i64(interval_ms, INT32_MAX) * 1000000U);
}

static bool is_swept(const struct partition *pt)
{
    return pt != NULL && !pt->closing && !broker_logs_failed(pt) &&
           (pt->conf.cleanup_policy & CONF_CLEANUP_DELETE) &&
           pt->log->start_offset < pt->high_watermark;
}

static void on_step(struct shard *sh, struct task *task)
{
    struct retention *rt = container_of(task, struct retention, task);
    (void)sh;
    for (unsigned i = 0; i < SWEEP_STEPS && rt->next < rt->key_count; i++) {
        struct partition *pt = partition_find(&rt->bs->partitions, &rt->keys[rt->next++]);
        if (pt != NULL && !clock_jump_rests(&rt->clock))
            log_expire_producers(pt->log, rt->clock.wall_ms);
        if (is_swept(pt)) {
            partition_begin(rt, pt);
            return; /* it goes on by sweep_on() */
        }
    }
    sweep_on(rt);
}

static void sweep_on(struct retention *rt)
{
    if (rt->next == rt->key_count || rt->stopping)
        sweep_end(rt);
    else
        shard_ready(rt->bs->sh, &rt->task);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct retention *rt = container_of(timer, struct retention, timer);
    const struct partition_table *table = &rt->bs->partitions;
    clock_jump_look(&rt->clock, sh, "retention_by_time");
    rt->keys = mem_alloc((table->count + 1) * sizeof(rt->keys[0]));
    for (uint32_t i = 0; i < table->size; i++)
        if (table->slots[i])
            rt->keys[rt->key_count++] = table->slots[i]->key;
    sweep_on(rt);
}

/* ---- life ---- */

struct retention *retention_start(struct broker_shard *bs)
{
    struct retention *rt = mem_zalloc(sizeof(*rt));
    rt->bs = bs;
    rt->timer = (struct timer){.fn = on_timer, .name = "log.retention"};
    rt->task = (struct task){.fn = on_step, .name = "log.retention"};
    clock_jump_start(&rt->clock, bs->sh);
    int64_t first_ms = bs->broker->conf->broker.log_retention_check_interval_ms;
    first_ms = min_i64(first_ms, FIRST_SWEEP_MS);
    timer_set(bs->sh, &rt->timer, rt->clock.clock_ns + (uint64_t)first_ms * 1000000U);
    return rt;
}

void retention_stop(struct retention *rt, void (*done)(void *user), void *user)
{
    rt->stopping = true;
    timer_cancel(rt->bs->sh, &rt->timer);
    if (rt->keys == NULL) {
        done(user);
        return;
    }
    rt->stopped = done;
    rt->user = user;
}

void retention_free(struct retention *rt)
{
    mem_free(rt);
}
