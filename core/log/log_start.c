/* SPDX-License-Identifier: Apache-2.0
 *
 * A new log start: what lies below goes.
 *
 * Appends go on, so this waits for nothing: segments below the start are no part of the log from
 * the moment its record is durable, and their files go when their time has come and nobody uses
 * them. A stop waits for no time: its files are not cut to their data, and a clean directory has
 * none of that kind. A crash leaves them to the next start.
 */
#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/promise.h"

#define SWEEP_AGAIN_NS      1000000000ULL /* a segment below the start was in use */
#define DELETE_DELAY_MS_MAX (1ULL << 40)  /* decades: longer than anything runs */

/* ---- sweeping ---- */

void log_sweep_forget(struct log_body *lg)
{
    if (lg->sweeping)
        TAILQ_REMOVE(&lg->ls->sweeping, lg, sweep_link);
    lg->sweeping = false;
}

/* When to come again for the first of these; UINT64_MAX: it need not go. */
static uint64_t log_sweep_list(struct log_body *lg, struct segments *list, uint64_t now_ns)
{
    struct segment *segment;
    while ((segment = TAILQ_FIRST(list)) != NULL && (segment->below || segment->replaced)) {
        if (segment->gone_ns > now_ns && !lg->ls->full && !lg->ls->stopping)
            return segment->gone_ns;
        if (segment->io > 0 || segment->job != NULL || segment->swapping || lg->state != LOG_LIVE)
            return now_ns + SWEEP_AGAIN_NS;
        count_up(&lg->ls->counts.segments_removed, 1);
        log_remove_segment(lg, segment);
    }
    return UINT64_MAX;
}

/* When to come again; UINT64_MAX: no more. */
static uint64_t log_sweep(struct log_body *lg, uint64_t now_ns)
{
    uint64_t below_ns = log_sweep_list(lg, &lg->segments, now_ns);
    return min_u64(below_ns, log_sweep_list(lg, &lg->replaced, now_ns));
}

void log_sweep_later(struct log_body *lg, struct segment *segment)
{
    uint64_t delay_ms = min_u64(lg->config.delete_delay_ms, DELETE_DELAY_MS_MAX);
    segment->gone_ns = io_now_ns(lg->ls->io) + delay_ms * 1000000U;
    if (!lg->sweeping)
        TAILQ_INSERT_TAIL(&lg->ls->sweeping, lg, sweep_link);
    lg->sweeping = true;
}

void log_sweep_run(struct log_shard *ls)
{
    uint64_t now_ns = io_now_ns(ls->io);
    uint64_t next_ns = UINT64_MAX;
    struct log_body *lg;
    struct log_body *next;
    for (lg = TAILQ_FIRST(&ls->sweeping); lg != NULL && !ls->offline; lg = next) {
        next = TAILQ_NEXT(lg, sweep_link);
        uint64_t again_ns = log_sweep(lg, now_ns);
        next_ns = min_u64(next_ns, again_ns);
        if (again_ns == UINT64_MAX)
            log_sweep_forget(lg);
    }
    timer_cancel(ls->sh, &ls->sweep_timer);
    if (next_ns != UINT64_MAX && !ls->stopping && !ls->offline)
        timer_set(ls->sh, &ls->sweep_timer,
                  ls->full ? now_ns + SWEEP_AGAIN_NS : max_u64(next_ns, now_ns));
}

void log_on_sweep_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    log_sweep_run(container_of(timer, struct log_shard, sweep_timer));
}

/* ---- the start ---- */

/* The log's end is in another segment, which is empty. */
static void start_end_moved(struct log_body *lg, int64_t segment_base)
{
    if (segment_base > lg->acked_segment->base)
        promise_reset(lg, segment_by_base(lg, segment_base), 0, lg->log.acked_offset);
    if (segment_base <= lg->durable_segment->base)
        return;
    lg->durable_segment = segment_by_base(lg, segment_base);
    lg->durable_position = 0;
    if (lg->flushed_segment->base < segment_base) {
        lg->flushed_segment = lg->durable_segment;
        lg->flushed_position = 0;
    }
}

/* Segments wholly below the offset are no part of the log any more. */
static void start_drop_below(struct log_body *lg, int64_t offset)
{
    struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        const struct segment *next = TAILQ_NEXT(segment, link);
        if (next == NULL || next->base > offset || segment->base >= lg->durable_segment->base ||
            segment->base >= lg->flushed_segment->base)
            break;
        if (segment->below)
            continue;
        segment->below = true;
        if (!io_mutation(lg->ls->io, "log.gone_segment_counted"))
            log_discount_segment(lg, segment);
        log_sweep_later(lg, segment);
    }
    if (lg->sweeping)
        log_sweep_run(lg->ls);
}

void log_start_apply(struct log_body *lg, const struct log_change *change)
{
    int64_t offset = change->priv.record.base_offset;
    lg->log.start_offset = max_i64(lg->log.start_offset, offset);
    epoch_truncate_start(&lg->epochs, offset);
    start_end_moved(lg, change->priv.record.last_offset);
    lg->clean_upto = max_i64(lg->clean_upto, lg->log.start_offset);
    start_drop_below(lg, offset);
}

/* A mistake: files may have their next use before it is durable that they are not needed. */
static void start_drop_early(struct log_body *lg, int64_t offset)
{
    uint64_t delay_ms = lg->config.delete_delay_ms;
    lg->config.delete_delay_ms = 0;
    start_drop_below(lg, offset);
    lg->config.delete_delay_ms = delay_ms;
}

void log_start_run(struct log_body *lg, struct log_change *change)
{
    if (change->priv.step != CHANGE_ASKED)
        return;
    int64_t offset = change->priv.offset;
    if (offset < lg->log.start_offset || offset > lg->log.acked_offset) {
        log_change_finish(lg, change, LOG_OUT_OF_RANGE);
        return;
    }
    if (offset > lg->log.durable_offset)
        return;
    if (offset == lg->log.end_offset && lg->active->size > 0) {
        lg->active->closed = true;
        lg->active = segment_new(lg, offset);
        count_up(&lg->ls->counts.rolls, 1);
    }
    change->priv.record.base_offset = offset;
    change->priv.record.last_offset = io_mutation(lg->ls->io, "log.start_hides_new_end")
                                          ? lg->durable_segment->base
                                          : lg->active->base;
    if (io_mutation(lg->ls->io, "log.start_before_durable"))
        lg->log.start_offset = offset;
    if (io_mutation(lg->ls->io, "recycle.deletion_not_durable"))
        start_drop_early(lg, offset);
    change->priv.step = CHANGE_QUEUED;
    log_queue_record(lg, &change->priv.record, JOURNAL_LOG_START);
}

int64_t log_start_by_size(const struct log *log, uint64_t bytes)
{
    const struct log_body *lg = log_body_of_const(log);
    uint64_t left = log->size_bytes;
    int64_t start = log->start_offset;
    const struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->below)
            continue;
        const struct segment *next = TAILQ_NEXT(segment, link);
        int64_t after = next != NULL ? next->base : segment->end_offset;
        if (segment->size == 0 || left < bytes + segment->size || after > log->durable_offset)
            break;
        left -= segment->size;
        start = max_i64(start, after);
    }
    return start;
}

int64_t log_start_by_range(const struct log *log, const struct log_range *range)
{
    const struct log_body *lg = log_body_of_const(log);
    int64_t start = range->length > 0 ? range->segment_base : log->durable_offset;
    const struct segment *first = TAILQ_FIRST(&lg->segments);
    while (first != NULL && first->below)
        first = TAILQ_NEXT(first, link);
    /* Compaction may have left nothing of what stood in front of the first one. */
    if (first != NULL && range->length > 0 && first->base >= start)
        return log->start_offset;
    return max_i64(start, log->start_offset);
}
