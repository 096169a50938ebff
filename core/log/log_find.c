/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding: where is an offset, or a time?
 *
 * Finding walks batch headers from the best hint (core/log/find_hint.c, core/log/find_time.c) to
 * the batch wanted. In the tail the walk needs no I/O. Hints may be wrong (an index file is not
 * part of any promise): a header that does not fit means beginning again at position 0, and only a
 * bad walk from there is damage. Long walks go on in the next turn.
 *
 * What must wait (for a file to be opened, for cold memory) stands in the shard's list and tries
 * again when something came back.
 */
#include "core/log/log_find.h"

#include "core/log/find_doubt.h"
#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/log_read.h"
#include "core/log/segment_index.h"
#include "core/record/batch.h"

#define FIND_BUDGET 4096U

static bool find_finish(struct log_body *lg, struct log_find *find, enum log_verdict verdict)
{
    find->verdict = verdict;
    if (find->priv.block != NULL) {
        find->priv.block->segment = NULL;
        tail_put(lg->ls, find->priv.block);
        find->priv.block = NULL;
    }
    if (find->priv.async) {
        log_unuse(lg);
        find->done(find);
    }
    return true;
}

static void find_segment_begin(const struct log_body *lg, struct log_find *find,
                               const struct segment *segment)
{
    find->priv.segment_base = segment->base;
    find->priv.segment_version = segment->version;
    find->priv.buffer_len = 0;
    find->priv.at = 0;
    find->priv.claimed = false;
    find->priv.walked = false;
    struct find_hint hint = {.base_offset = -1, .last_offset = -1};
    if (find->priv.mode == FIND_OFFSET && !find->priv.no_hints)
        hint = find_hint(lg, segment, find->offset);
    find->priv.at = hint.position;
    find->priv.hint_base = hint.base_offset;
    find->priv.hint_last = hint.last_offset;
    if (find->priv.mode != FIND_OFFSET && !find->priv.no_hints)
        find_time_hint(lg, find, segment);
    find->priv.from_start = find->priv.at == 0;
    find_doubt_begin(find, segment);
}

static bool find_answer(struct log_body *lg, struct log_find *find, const struct segment *segment,
                        const struct batch_header *header)
{
    uint32_t size = (uint32_t)batch_size(header);
    find->max_timestamp = header->max_timestamp;
    find->range = (struct log_range){.base_offset = header->base_offset,
                                     .segment_base = segment->base,
                                     .segment_version = segment->version,
                                     .position = find->priv.at,
                                     .length = size,
                                     .first = size};
    uint32_t damage = segment_damage_after(segment, find->priv.at);
    if (damage == find->priv.at)
        return find_finish(lg, find, LOG_CORRUPT);
    if (find->priv.mode != FIND_OFFSET)
        return find_finish(lg, find, LOG_OK);
    log_mark_put(lg, header->base_offset, segment->base, find->priv.at);
    int64_t upto = find_upto(lg, find);
    uint32_t end = log_read_limit(lg, segment);
    if (upto < lg->log.acked_offset && upto < segment->end_offset) {
        /* Somewhere inside the segment: marks and index know batches before it; the walk that
         * would find the exact end is left to the next find, unless nothing else is there. */
        uint32_t hint = find_hint(lg, segment, upto).position;
        uint32_t next = find->priv.at + size;
        end = hint > next ? hint : next;
    } else if (segment == lg->acked_segment) {
        log_mark_put(lg, lg->log.acked_offset, segment->base, end);
    }
    end = damage < end ? damage : end;
    uint32_t room = end - find->priv.at;
    uint32_t length = room < find->bytes_max ? room : find->bytes_max;
    if (find->one_at_least && length < size)
        length = size;
    find->range.length = length;
    return find_finish(lg, find, LOG_OK);
}

static bool find_matches(struct log_find *find, const struct segment *segment,
                         const struct batch_header *header)
{
    if (find->priv.mode == FIND_OFFSET)
        return batch_last_offset(header) >= find->offset;
    return find_time_matches(find, segment, header);
}

/* Nothing (more) in this log: an empty range, or the best that was seen. */
static bool find_none(struct log_body *lg, struct log_find *find)
{
    find->range = find->priv.mode == FIND_TIMESTAMP_MAX ? find->priv.best : (struct log_range){0};
    bool missed = find->priv.mode == FIND_OFFSET && find_doubt_missed(find);
    return find_finish(lg, find, missed ? LOG_CORRUPT : LOG_OK);
}

static bool find_begin(struct log_body *lg, struct log_find *find);

/* The segment that was walked is gone: the log was cut, its start has passed it, or a compacted one
 * has taken its place. */
static bool find_lost(struct log_body *lg, struct log_find *find)
{
    bool swapped = find->priv.swaps != lg->swaps;
    bool below = find->offset < lg->log.start_offset;
    if (lg->state != LOG_LIVE || (!below && !swapped))
        return find_finish(lg, find, LOG_CLOSED);
    if (below && find->priv.mode == FIND_OFFSET)
        return find_finish(lg, find, LOG_OUT_OF_RANGE);
    find->offset = max_i64(find->offset, lg->log.start_offset);
    find->priv.swaps = lg->swaps;
    find->priv.follows = 0;
    find->priv.no_hints = false;
    find->priv.best = (struct log_range){0};
    find->priv.best_timestamp = INT64_MIN;
    return find_begin(lg, find);
}

/* Into a segment, once its index is in memory; false: that is waited for. */
static bool find_enter(struct log_body *lg, struct log_find *find, struct segment *segment)
{
    find->priv.segment_base = segment->base;
    find->priv.segment_version = segment->version;
    bool passes = find->priv.mode != FIND_OFFSET && find_time_skips(lg, find, segment);
    bool needs = find->priv.mode == FIND_OFFSET
                     ? tail_find(lg, segment, find_hint(lg, segment, find->offset).position) == NULL
                     : !passes;
    if (needs && segment_index_load(segment)) {
        find->priv.at = UINT32_MAX;
        find_wait(lg->ls, find);
        return false;
    }
    find_segment_begin(lg, find, segment);
    if (passes) {
        find->priv.at = log_read_limit(lg, segment);
        find->priv.claimed = false;
    }
    return true;
}

/* Hints led nowhere. */
static void find_without_hints(const struct log_body *lg, struct log_find *find,
                               const struct segment *segment)
{
    find->priv.no_hints = true;
    find_segment_begin(lg, find, segment);
}

/* Is it a batch that may stand there? Of a walk by offset its own offset is looked at later. */
static bool find_header_fits(const struct segment *segment, const struct log_find *find,
                             const struct batch_header *header, uint32_t limit)
{
    int64_t size = batch_size(header);
    return size >= BATCH_HEADER_SIZE && size <= (int64_t)limit - find->priv.at &&
           header->magic == BATCH_MAGIC &&
           (find->priv.mode == FIND_OFFSET || header->base_offset >= segment->base);
}

enum find_verdict { FIND_ON, FIND_AGAIN, FIND_ANSWERED };

static enum find_verdict find_doubted(struct log_body *lg, struct log_find *find,
                                      struct segment *segment, enum find_doubt doubt)
{
    if (doubt == DOUBT_AGAIN) {
        find_disown(lg, find, segment);
        return FIND_AGAIN;
    }
    find->priv.walked = true;
    if (doubt == DOUBT_ON)
        return FIND_ON;
    (void)find_finish(lg, find, LOG_CORRUPT);
    return FIND_ANSWERED;
}

/* The batch at find->priv.at. */
static enum find_verdict find_look(struct log_body *lg, struct log_find *find,
                                   struct segment *segment, const struct batch_header *header,
                                   uint32_t limit)
{
    const bool fits = find_header_fits(segment, find, header, limit);
    if (find->priv.mode == FIND_OFFSET) {
        enum find_doubt doubt = fits ? find_doubt(segment, find, header, limit)
                                     : find_doubt_unfit(segment, find, header->base_offset);
        if (doubt != DOUBT_NONE)
            return find_doubted(lg, find, segment, doubt);
    }
    if (!fits) {
        if (!find->priv.from_start)
            return FIND_AGAIN;
        segment_damaged(segment, find->priv.at, header->base_offset);
        (void)find_finish(lg, find, LOG_CORRUPT);
        return FIND_ANSWERED;
    }
    find->priv.walked = true;
    if (find->priv.claimed && !find_time_holds(find, segment, header)) {
        segment_times_drop(segment);
        return FIND_AGAIN;
    }
    if (header->base_offset >= find_upto(lg, find)) {
        (void)find_none(lg, find);
        return FIND_ANSWERED;
    }
    if (find_matches(find, segment, header)) {
        (void)find_answer(lg, find, segment, header);
        return FIND_ANSWERED;
    }
    bool noted = segment_noted(segment, header, find->priv.at, lg->config.index_interval_bytes);
    if (!noted && !find->priv.from_start && find->priv.mode != FIND_OFFSET)
        return FIND_AGAIN;
    find->priv.at += (uint32_t)batch_size(header);
    return FIND_ON;
}

/* true: answered */
static bool find_walk(struct log_body *lg, struct log_find *find)
{
    uint32_t budget = FIND_BUDGET;
    struct segment *segment =
        segment_named(lg, find->priv.segment_base, find->priv.segment_version);
    while (segment != NULL) {
        uint32_t limit = log_read_limit(lg, segment);
        if (find->priv.proving) {
            enum find_step step = find_prove(lg, segment, find);
            if (step == STEP_WAIT)
                find_wait(lg->ls, find);
            if (step != STEP_GOT)
                return false;
            if (!find_doubt_proven(segment, find))
                return find_finish(lg, find, LOG_CORRUPT);
        }
        if (find->priv.at >= limit && find->priv.mode == FIND_OFFSET && find_doubt_prove(find))
            continue;
        if (find->priv.at >= limit && find->priv.claimed) {
            segment_times_drop(segment); /* it names a batch that is not there */
            find_without_hints(lg, find, segment);
            continue;
        }
        if (find->priv.at >= limit) {
            struct segment *next = TAILQ_NEXT(segment, link);
            if (find->priv.mode != FIND_OFFSET && find->priv.walked)
                find_time_leave(lg, segment);
            if (next == NULL || log_read_limit(lg, next) == 0)
                return find_none(lg, find);
            segment = next;
            find->priv.no_hints = false;
            if (!find_enter(lg, find, segment))
                return false;
            continue;
        }
        struct batch_header header = {0}; /* of what is too short for one: it fits nowhere */
        enum find_step step = STEP_GOT;
        if (budget-- == 0)
            step = STEP_WAIT;
        else if (limit - find->priv.at >= BATCH_HEADER_SIZE)
            step = find_header(lg, segment, find, find->priv.at, &header);
        if (step == STEP_READ)
            return false;
        if (step == STEP_WAIT) {
            find_wait(lg->ls, find);
            if (budget > FIND_BUDGET) {
                lg->ls->reads_again = true;
                log_shard_kick(lg->ls);
            }
            return false;
        }
        enum find_verdict verdict = find_look(lg, find, segment, &header, limit);
        if (verdict == FIND_ANSWERED)
            return true;
        if (verdict == FIND_AGAIN)
            find_without_hints(lg, find, segment);
    }
    return find_lost(lg, find);
}

static bool find_begin(struct log_body *lg, struct log_find *find)
{
    struct segment *segment;
    TAILQ_FOREACH_REVERSE(segment, &lg->segments, segments, link)
    {
        if (segment->base <= find->offset || TAILQ_PREV(segment, segments, link) == NULL)
            break;
    }
    if (log_read_limit(lg, segment) == 0 && TAILQ_PREV(segment, segments, link) != NULL &&
        find->priv.mode == FIND_OFFSET)
        segment = lg->acked_segment;
    return find_enter(lg, find, segment) && find_walk(lg, find);
}

/* ---- going on ---- */

void find_on_read(struct io_op *op)
{
    struct log_find *find = container_of(op, struct log_find, priv.op);
    struct log_body *lg = log_body_of(find->priv.lg);
    struct segment *segment = find->priv.block->segment;
    bool gone = segment->doomed;
    segment_unuse(segment);
    find->priv.block->segment = NULL;
    uint32_t there = find->priv.buffer_end - find->priv.buffer_position;
    uint32_t wanted = (uint32_t)min_u64(
        find->priv.wanted - find->priv.buffer_position + BATCH_HEADER_SIZE, there);
    if (op->res < 0) {
        (void)find_finish(lg, find, LOG_OFFLINE);
    } else if (lg->ls->offline) {
        (void)find_finish(lg, find, LOG_OFFLINE);
    } else if (gone) {
        (void)find_lost(lg, find);
    } else if (op->res < (int64_t)wanted) {
        (void)find_finish(lg, find, LOG_CORRUPT); /* the file is shorter than its log */
    } else {
        count_up(&lg->ls->counts.cold_bytes, (uint64_t)op->res);
        find->priv.buffer_len = (uint32_t)min_u64((uint64_t)op->res, there);
        (void)find_walk(lg, find);
    }
}

/* The index of the segment is there now. */
static void find_enter_again(struct log_body *lg, struct log_find *find)
{
    struct segment *segment =
        segment_named(lg, find->priv.segment_base, find->priv.segment_version);
    if (segment == NULL)
        (void)find_lost(lg, find);
    else if (find_enter(lg, find, segment))
        (void)find_walk(lg, find);
}

void find_again(struct log_find *find)
{
    struct log_body *lg = log_body_of(find->priv.lg);
    find->priv.waiting = false;
    if (lg->ls->offline)
        (void)find_finish(lg, find, LOG_OFFLINE);
    else if (lg->state == LOG_DEAD || lg->state == LOG_DELETING)
        (void)find_finish(lg, find, LOG_CLOSED);
    else if (find->priv.at == UINT32_MAX)
        find_enter_again(lg, find);
    else
        (void)find_walk(lg, find);
}

/* ---- what is asked ---- */

bool log_find_inside(struct log_body *lg, struct log_find *find)
{
    find->priv.lg = &lg->log;
    find->priv.swaps = lg->swaps;
    find->priv.block = NULL;
    find->priv.buffer_len = 0;
    find->priv.buffer_position = 0;
    find->priv.no_hints = false;
    find->priv.async = false;
    find->priv.waiting = false;
    find->priv.follows = 0;
    find->priv.best = (struct log_range){0};
    find->priv.best_timestamp = INT64_MIN;
    find->range = (struct log_range){0};
    int64_t upto = find_upto(lg, find);
    if (lg->ls->offline)
        return find_finish(lg, find, LOG_OFFLINE);
    if (find->offset < lg->log.start_offset || find->offset > upto)
        return find_finish(lg, find, LOG_OUT_OF_RANGE);
    if (find->offset == upto) {
        /* A reader that waits at the end comes back for what begins here. */
        if (upto == lg->log.acked_offset)
            log_mark_put(lg, upto, lg->acked_segment->base, lg->acked_position);
        return find_finish(lg, find, LOG_OK);
    }
    if (find_begin(lg, find))
        return true;
    find->priv.async = true;
    lg->users++;
    return false;
}

static bool log_find_mode(struct log *log, struct log_find *find, enum find_mode mode)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls));
    find->priv.mode = (uint8_t)mode;
    if (lg->state != LOG_LIVE) {
        find->verdict = LOG_CLOSED;
        return true;
    }
    return log_find_inside(lg, find);
}

bool log_find(struct log *lg, struct log_find *find)
{
    return log_find_mode(lg, find, FIND_OFFSET);
}

bool log_find_timestamp(struct log *lg, struct log_find *find, int64_t timestamp)
{
    find->offset = max_i64(find->offset, lg->start_offset);
    find->priv.timestamp = timestamp;
    return log_find_mode(lg, find, FIND_TIMESTAMP);
}

bool log_find_timestamp_max(struct log *lg, struct log_find *find)
{
    find->offset = lg->start_offset;
    return log_find_mode(lg, find, FIND_TIMESTAMP_MAX);
}
