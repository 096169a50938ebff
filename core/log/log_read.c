/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading: where is an offset, and give me those bytes.
 *
 * Finding walks batch headers from the best hint (a mark left by an earlier find, the first batch
 * of a tail block, the sparse index) to the batch wanted. A reader at the end of the log finds its
 * place by a mark, without touching a header. In the tail the walk needs no I/O; in a segment it
 * reads 64 KiB at a time into the cold budget. Hints may be wrong (an index file is not part of any
 * promise): a header that does not fit means beginning again at position 0, and only a bad walk
 * from there is damage. Long walks go on in the next turn.
 *
 * A time is looked for segment by segment: those whose greatest timestamp is known are passed, in
 * the others the walk begins where the time index says (core/log/segment_index.c).
 *
 * Pins are tail blocks by reference or cold blocks read for the pin. What must wait (for a file to
 * be opened, for cold memory) stands in the shard's lists and tries again when something came back.
 */
#include "core/log/log_inside.h"

#include "core/record/batch.h"

#define FIND_READ   (64U << 10)
#define FIND_BUDGET 4096U

enum find_mode { FIND_OFFSET, FIND_TIMESTAMP, FIND_TIMESTAMP_MAX };

/* ---- hints ---- */

void log_marks_clear(struct log_body *lg)
{
    for (uint32_t i = 0; i < LOG_MARKS; i++)
        lg->marks[i].offset = -1;
}

static void log_mark_put(struct log_body *lg, int64_t offset, int64_t segment_base,
                         uint32_t position)
{
    for (uint32_t i = 0; i < LOG_MARKS; i++) {
        if (lg->marks[i].offset == offset)
            return;
    }
    lg->marks[lg->next_mark++ % LOG_MARKS] =
        (struct log_mark){.offset = offset, .place = {segment_base, position}};
}

/* The largest known place of a batch at or before `offset` in the segment. */
static uint32_t find_hint(const struct log_body *lg, const struct segment *segment, int64_t offset)
{
    uint32_t best = segment_index_find(segment, offset).position;
    for (uint32_t i = 0; i < LOG_MARKS; i++) {
        const struct log_mark *mark = &lg->marks[i];
        if (mark->offset >= 0 && mark->offset <= offset &&
            mark->place.segment_base == segment->base && mark->place.position > best)
            best = mark->place.position;
    }
    const struct tail_block *block;
    TAILQ_FOREACH_REVERSE(block, &lg->blocks, tail_blocks, link)
    {
        if (block->segment != segment) {
            if (block->segment->base < segment->base)
                break;
            continue;
        }
        if (block->position + block->size <= best)
            break;
        if (block->first_position == UINT32_MAX || block->first_offset > offset)
            continue;
        if (block->first_position > best)
            best = block->first_position;
        break;
    }
    return best;
}

/* Durable bytes of a segment. */
static uint32_t find_limit(const struct log_body *lg, const struct segment *segment)
{
    if (segment->base > lg->durable_segment->base)
        return 0;
    return segment == lg->durable_segment ? lg->durable_position : segment->size;
}

/* ---- headers, wherever they are ---- */

enum find_step { STEP_GOT, STEP_READ, STEP_WAIT };

static void find_wait(struct log_shard *ls, struct log_find *find)
{
    find->priv.waiting = true;
    TAILQ_INSERT_TAIL(&ls->finds_waiting, find, priv.link);
}

static void find_on_read(struct io_op *op);

static enum find_step find_read(struct log_body *lg, struct segment *segment, struct log_find *find,
                                uint32_t at)
{
    struct log_shard *ls = lg->ls;
    if (!segment_ready(segment, 0))
        return STEP_WAIT;
    if (find->priv.block == NULL)
        find->priv.block = tail_cold_block(ls, FIND_READ);
    if (find->priv.block == NULL)
        return STEP_WAIT;
    find->priv.buffer_position = (uint32_t)round_down(at, FS_BLOCK);
    find->priv.buffer_end = segment->written; /* what comes from behind it means nothing */
    segment_use(segment);
    find->priv.block->segment = segment; /* kept alive by the use */
    find->priv.op.done = find_on_read;
    io_read(ls->io, &find->priv.op, segment->file, find->priv.block->data, FIND_READ,
            find->priv.buffer_position);
    return STEP_READ;
}

/* Of a header that the tail does not hold as a whole: it may begin in a block that was written and
 * evicted, and end in one that was not. */
static bool find_pieces(const struct log_body *lg, const struct segment *segment,
                        const struct log_find *find, uint32_t at, uint8_t bytes[BATCH_HEADER_SIZE])
{
    uint32_t begin = find->priv.buffer_position;
    uint32_t end = begin + find->priv.buffer_len;
    uint32_t got = 0;
    while (got < BATCH_HEADER_SIZE) {
        uint32_t from = at + got;
        uint32_t run = (uint32_t)min_u64(BATCH_HEADER_SIZE - got, FS_BLOCK - from % FS_BLOCK);
        if (tail_holds(lg, segment, from, run))
            tail_copy_out(lg, segment, from, bytes + got, run);
        else if (from >= begin && from + run <= end)
            memcpy(bytes + got, find->priv.block->data + (from - begin), run);
        else
            return false;
        got += run;
    }
    return true;
}

static enum find_step find_header(struct log_body *lg, struct segment *segment,
                                  struct log_find *find, uint32_t at, struct batch_header *header)
{
    uint8_t bytes[BATCH_HEADER_SIZE];
    if (tail_holds(lg, segment, at, BATCH_HEADER_SIZE))
        tail_copy_out(lg, segment, at, bytes, BATCH_HEADER_SIZE);
    else if (!find_pieces(lg, segment, find, at, bytes))
        return find_read(lg, segment, find, at);
    batch_header_of(header, bytes);
    return STEP_GOT;
}

/* ---- the walk ---- */

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

static int64_t find_upto(const struct log_body *lg, const struct log_find *find)
{
    return min_i64(find->upto_offset, lg->log.durable_offset);
}

/* Where a walk for a time begins: behind all that is known to be too old, and at the batch with the
 * greatest timestamp known. What the log no longer holds, or the reader may not see yet, does not
 * count. */
static void find_time_hint(const struct log_body *lg, struct log_find *find,
                           const struct segment *segment)
{
    find->priv.at = segment_index_find(segment, find->offset).position;
    bool maximum = find->priv.mode == FIND_TIMESTAMP_MAX;
    const struct time_entry *entry =
        segment_time_find(segment, maximum ? INT64_MAX : find->priv.timestamp, find_upto(lg, find));
    if (entry == NULL || entry->position < find->priv.at ||
        segment->base + entry->relative_offset < find->offset)
        return;
    find->priv.at = entry->position;
    find->priv.claimed = true;
    find->priv.claim_timestamp = entry->timestamp;
    find->priv.claim_offset = entry->relative_offset;
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
    if (find->priv.mode == FIND_OFFSET && !find->priv.no_hints)
        find->priv.at = find_hint(lg, segment, find->offset);
    else if (!find->priv.no_hints)
        find_time_hint(lg, find, segment);
    find->priv.from_start = find->priv.at == 0;
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
    uint32_t end = find_limit(lg, segment);
    if (upto < lg->log.durable_offset && upto < segment->end_offset) {
        /* Somewhere inside the segment: marks and index know batches before it; the walk that
         * would find the exact end is left to the next find, unless nothing else is there. */
        uint32_t hint = find_hint(lg, segment, upto);
        uint32_t next = find->priv.at + size;
        end = hint > next ? hint : next;
    } else if (segment == lg->durable_segment) {
        log_mark_put(lg, lg->log.durable_offset, segment->base, end);
    }
    end = damage < end ? damage : end;
    uint32_t room = end - find->priv.at;
    uint32_t length = room < find->bytes_max ? room : find->bytes_max;
    if (find->one_at_least && length < size)
        length = size;
    find->range.length = length;
    return find_finish(lg, find, LOG_OK);
}

/* Is this the batch? For the maximum: never, it is remembered instead. */
static bool find_matches(struct log_find *find, const struct segment *segment,
                         const struct batch_header *header)
{
    if (find->priv.mode == FIND_OFFSET)
        return batch_last_offset(header) >= find->offset;
    if (batch_last_offset(header) < find->offset || header->record_count == 0)
        return false; /* without records no time either: compaction leaves such batches */
    if (find->priv.mode == FIND_TIMESTAMP)
        return header->max_timestamp >= find->priv.timestamp;
    if (header->max_timestamp > find->priv.best_timestamp) {
        find->priv.best_timestamp = header->max_timestamp;
        find->priv.best = (struct log_range){.base_offset = header->base_offset,
                                             .segment_base = segment->base,
                                             .segment_version = segment->version,
                                             .position = find->priv.at,
                                             .length = (uint32_t)batch_size(header)};
    }
    return false;
}

/* Nothing (more) in this log: an empty range, or the best that was seen. */
static bool find_none(struct log_body *lg, struct log_find *find)
{
    find->range = find->priv.mode == FIND_TIMESTAMP_MAX ? find->priv.best : (struct log_range){0};
    return find_finish(lg, find, LOG_OK);
}

/* Can the whole segment be passed by what is known of its timestamps? */
static bool find_skips(struct log_body *lg, struct log_find *find, const struct segment *segment)
{
    const struct segment_times *times = &segment->times;
    if (find->priv.mode == FIND_OFFSET || !segment_times_known(segment))
        return false;
    if (find->priv.mode == FIND_TIMESTAMP)
        return times->max_timestamp < find->priv.timestamp;
    const struct log_range *range = &times->max_range;
    if (range->base_offset < find->offset || range->base_offset >= find_upto(lg, find))
        return false;
    if (times->max_timestamp > find->priv.best_timestamp) {
        find->priv.best_timestamp = times->max_timestamp;
        find->priv.best = *range;
    }
    return true;
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
    bool passes = find_skips(lg, find, segment);
    bool needs = find->priv.mode == FIND_OFFSET
                     ? tail_find(lg, segment, find_hint(lg, segment, find->offset)) == NULL
                     : !passes;
    if (needs && segment_index_load(segment)) {
        find->priv.at = UINT32_MAX;
        find_wait(lg->ls, find);
        return false;
    }
    find_segment_begin(lg, find, segment);
    if (passes) {
        find->priv.at = find_limit(lg, segment);
        find->priv.claimed = false;
    }
    return true;
}

/* Behind a segment whose batches were met or passed. */
static void find_leave(struct log_body *lg, const struct log_find *find, struct segment *segment)
{
    if (find->priv.mode == FIND_OFFSET || !find->priv.walked)
        return;
    if (segment->sealed && !lg->ls->stopping)
        segment_index_rewrite(segment);
    /* A search through a long log must not collect the indexes of all of it. */
    if (segment->sealed && segment->job == NULL && segment_times_known(segment))
        segment_index_forget(segment);
}

/* Hints led nowhere. */
static void find_without_hints(const struct log_body *lg, struct log_find *find,
                               const struct segment *segment)
{
    find->priv.no_hints = true;
    find_segment_begin(lg, find, segment);
}

/* Is it a batch that may stand there? */
static bool find_header_fits(const struct log_find *find, const struct segment *segment,
                             const struct batch_header *header, uint32_t limit)
{
    int64_t size = batch_size(header);
    return size >= BATCH_HEADER_SIZE && size <= (int64_t)limit - find->priv.at &&
           header->magic == BATCH_MAGIC && header->base_offset >= segment->base;
}

/* Did the hint that the walk began with lead to the right place? Asked of every batch. */
static bool find_hint_holds(struct log_find *find, const struct segment *segment,
                            const struct batch_header *header)
{
    bool first = !find->priv.walked && !find->priv.from_start;
    find->priv.walked = true;
    if (first && find->priv.mode == FIND_OFFSET)
        return header->base_offset <= find->offset;
    if (!find->priv.claimed)
        return true;
    const struct time_entry claim = {.timestamp = find->priv.claim_timestamp,
                                     .relative_offset = find->priv.claim_offset};
    bool met;
    bool holds = segment_time_claim_holds(segment, &claim, header, &met);
    find->priv.claimed = !met;
    return holds;
}

enum find_verdict { FIND_ON, FIND_AGAIN, FIND_ANSWERED };

/* The batch at find->priv.at. */
static enum find_verdict find_look(struct log_body *lg, struct log_find *find,
                                   struct segment *segment, const struct batch_header *header,
                                   uint32_t limit)
{
    if (!find_header_fits(find, segment, header, limit)) {
        if (!find->priv.from_start)
            return FIND_AGAIN;
        segment_damaged(segment, find->priv.at, header->base_offset);
        (void)find_finish(lg, find, LOG_CORRUPT);
        return FIND_ANSWERED;
    }
    if (!find_hint_holds(find, segment, header)) {
        if (find->priv.mode != FIND_OFFSET)
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
        uint32_t limit = find_limit(lg, segment);
        if (find->priv.at >= limit && find->priv.claimed) {
            segment_times_drop(segment); /* it names a batch that is not there */
            find_without_hints(lg, find, segment);
            continue;
        }
        if (find->priv.at >= limit) {
            struct segment *next = TAILQ_NEXT(segment, link);
            find_leave(lg, find, segment);
            if (next == NULL || find_limit(lg, next) == 0)
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

static void find_on_read(struct io_op *op)
{
    struct log_find *find = container_of(op, struct log_find, priv.op);
    struct log_body *lg = log_body_of(find->priv.lg);
    struct segment *segment = find->priv.block->segment;
    bool gone = segment->doomed;
    segment_unuse(segment);
    find->priv.block->segment = NULL;
    uint32_t there = find->priv.buffer_end - find->priv.buffer_position;
    uint32_t wanted =
        (uint32_t)min_u64(find->priv.at - find->priv.buffer_position + BATCH_HEADER_SIZE, there);
    if (op->res < 0) {
        (void)find_finish(lg, find, LOG_OFFLINE);
    } else if (lg->ls->offline) {
        (void)find_finish(lg, find, LOG_OFFLINE);
    } else if (gone) {
        (void)find_lost(lg, find);
    } else if (op->res < (int64_t)wanted) {
        (void)find_finish(lg, find, LOG_CORRUPT); /* the file is shorter than its log */
    } else {
        lg->ls->counts.cold_bytes += (uint64_t)op->res;
        find->priv.buffer_len = (uint32_t)min_u64((uint64_t)op->res, there);
        (void)find_walk(lg, find);
    }
}

static bool find_begin(struct log_body *lg, struct log_find *find)
{
    struct segment *segment;
    TAILQ_FOREACH_REVERSE(segment, &lg->segments, segments, link)
    {
        if (segment->base <= find->offset || TAILQ_PREV(segment, segments, link) == NULL)
            break;
    }
    if (find_limit(lg, segment) == 0 && TAILQ_PREV(segment, segments, link) != NULL &&
        find->priv.mode == FIND_OFFSET)
        segment = lg->durable_segment;
    return find_enter(lg, find, segment) && find_walk(lg, find);
}

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
        if (upto == lg->log.durable_offset)
            log_mark_put(lg, upto, lg->durable_segment->base, lg->durable_position);
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

bool log_epoch_end(const struct log *log, int32_t asked, int32_t *epoch, int64_t *end_offset)
{
    return epoch_end(&log_body_of_const(log)->epochs, asked, log->end_offset, epoch, end_offset);
}

/* ---- pins ---- */

/* Are the batches that end in these bytes what was written? Bytes of a pin may come again, because
 * the one before took less than it could; with a hole before them nothing is known. */
static bool pin_check(struct log_pin *pin, struct segment *segment)
{
    struct log_check *check = pin->check;
    if (check == NULL)
        return true;
    if (!check->begun)
        batch_scan_start(&check->scan, pin->priv.base_offset);
    check->begun = true;
    uint64_t at = pin->priv.skip;
    if (check->scan.at < at)
        return true;
    for (uint32_t i = 0; i < pin->pieces; i++) {
        const uint8_t *bytes = pin->iov[i].iov_base;
        size_t len = pin->iov[i].iov_len;
        size_t known = min_u64(len, check->scan.at - at);
        if (!batch_scan_feed(&check->scan, bytes + known, len - known)) {
            uint32_t begin = pin->priv.position - pin->priv.skip;
            segment_damaged(segment, begin + (uint32_t)check->scan.batch_at,
                            check->scan.offset_from);
            return false;
        }
        at += len;
    }
    return true;
}

/* Bytes in the tail were proven by the copy that brought them, unless that copy came from the disk,
 * or a batch of which they are the rest did. */
static bool pin_is_proven(const struct log_pin *pin)
{
    const struct log_check *check = pin->check;
    return check == NULL ||
           (!pin->priv.blocks[0]->loaded && (!check->begun || batch_scan_is_whole(&check->scan)));
}

static bool pin_tail(struct log_body *lg, struct segment *segment, struct log_pin *pin)
{
    struct tail_block *block = tail_find(lg, segment, pin->priv.position);
    uint32_t at = pin->priv.position;
    uint32_t end = at + pin->priv.length_max;
    /* Blocks in the middle may have been evicted. */
    while (block != NULL && block->segment == segment && at >= block->position && at < end &&
           pin->pieces < LOG_PIN_PIECES) {
        uint32_t run = (uint32_t)min_u64(end, block->position + block->used) - at;
        tail_get(block);
        pin->priv.blocks[pin->pieces] = block;
        pin->iov[pin->pieces++] =
            (struct iovec){.iov_base = block->data + (at - block->position), .iov_len = run};
        at += run;
        block = TAILQ_NEXT(block, link);
    }
    pin->length = at - pin->priv.position;
    lg->ls->counts.pins_tail += pin->length > 0;
    return pin->length > 0;
}

static void pin_on_read(struct io_op *op)
{
    struct log_pin *pin = container_of(op, struct log_pin, priv.op);
    struct log_body *lg = log_body_of(pin->priv.lg);
    struct log_shard *ls = pin->priv.ls;
    struct tail_block *block = pin->priv.blocks[0];
    uint32_t skip = pin->priv.position - block->position;
    struct segment *segment = pin->priv.segment;
    bool gone = segment->doomed;
    uint32_t got = op->res > (int64_t)skip ? (uint32_t)op->res - skip : 0;
    if (op->res < 0 || gone || got == 0) {
        pin->verdict = gone ? LOG_CLOSED : LOG_OFFLINE;
        tail_put(ls, block);
        pin->pieces = 0;
    } else {
        pin->verdict = LOG_OK;
        pin->length = (uint32_t)min_u64(got, pin->priv.length_max);
        pin->iov[0] = (struct iovec){.iov_base = block->data + skip, .iov_len = pin->length};
        ls->counts.pins_cold++;
        ls->counts.cold_bytes += (uint64_t)op->res;
        if (!pin_check(pin, segment)) {
            log_unpin(pin);
            pin->verdict = LOG_CORRUPT;
        }
    }
    segment_unuse(segment);
    log_unuse(lg);
    pin->done(pin);
}

/* true: it was started; false: it waits. */
static bool pin_read(struct log_body *lg, struct segment *segment, struct log_pin *pin)
{
    struct log_shard *ls = lg->ls;
    uint32_t from = (uint32_t)round_down(pin->priv.position, FS_BLOCK);
    uint32_t bytes = (uint32_t)round_up(pin->priv.position + pin->priv.length_max, FS_BLOCK) - from;
    if (bytes > LOG_PIN_BYTES_MAX)
        bytes = LOG_PIN_BYTES_MAX;
    if (!segment_ready(segment, 0))
        return false;
    struct tail_block *block = tail_cold_block(ls, bytes);
    if (block == NULL)
        return false;
    tail_missed(lg, segment, from, bytes);
    block->position = from;
    pin->priv.blocks[0] = block;
    pin->priv.segment = segment;
    pin->pieces = 1;
    segment_use(segment);
    pin->priv.op.done = pin_on_read;
    io_read(ls->io, &pin->priv.op, segment->file, block->data, bytes, from);
    return true;
}

/* Also one whose place a compacted one has taken: the answer that refers to it is on its way. */
static struct segment *pin_segment(const struct log_body *lg, const struct log_pin *pin)
{
    struct segment *segment = segment_named(lg, pin->priv.segment_base, pin->priv.segment_version);
    if (segment != NULL)
        return segment;
    TAILQ_FOREACH (segment, &lg->replaced, link) {
        if (segment->version == pin->priv.segment_version)
            return segment;
    }
    return NULL;
}

/* LOG_WAIT: done() comes. */
static enum log_verdict pin_try(struct log_body *lg, struct log_pin *pin)
{
    if (lg->ls->offline)
        return LOG_OFFLINE;
    struct segment *segment = pin_segment(lg, pin);
    uint32_t limit = segment != NULL ? find_limit(lg, segment) : 0;
    if (lg->state != LOG_LIVE || pin->priv.position >= limit)
        return LOG_CLOSED;
    if (pin->priv.length_max > limit - pin->priv.position)
        pin->priv.length_max = limit - pin->priv.position;
    if (pin_tail(lg, segment, pin)) {
        if (pin_is_proven(pin) || pin_check(pin, segment))
            return LOG_OK;
        log_unpin(pin);
        return LOG_CORRUPT;
    }
    /* From the file, up to where it was written. */
    if (pin->priv.length_max > segment->written - pin->priv.position)
        pin->priv.length_max = segment->written - pin->priv.position;
    if (!pin_read(lg, segment, pin)) {
        pin->priv.waiting = true;
        TAILQ_INSERT_TAIL(&lg->ls->pins_waiting, pin, priv.link);
    }
    return LOG_WAIT;
}

bool log_pin(struct log *log, const struct log_range *range, uint32_t skip, uint32_t length_max,
             struct log_pin *pin)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls) && skip < range->length);
    pin->priv.lg = log;
    pin->priv.ls = lg->ls;
    pin->priv.segment_base = range->segment_base;
    pin->priv.segment_version = range->segment_version;
    pin->priv.base_offset = range->base_offset;
    pin->priv.skip = skip;
    pin->priv.position = range->position + skip;
    pin->priv.length_max =
        (uint32_t)min_u64(min_u64(length_max, LOG_PIN_BYTES_MAX - FS_BLOCK), range->length - skip);
    pin->priv.waiting = false;
    pin->pieces = 0;
    pin->length = 0;
    pin->verdict = pin_try(lg, pin);
    if (pin->verdict != LOG_WAIT)
        return true;
    lg->users++;
    return false;
}

void log_unpin(struct log_pin *pin)
{
    must(log_at_home(pin->priv.ls));
    for (uint32_t i = 0; i < pin->pieces; i++)
        tail_put(pin->priv.ls, pin->priv.blocks[i]);
    pin->pieces = 0;
    pin->length = 0;
}

/* ---- what waits ---- */

static void pin_again(struct log_pin *pin)
{
    struct log_body *lg = log_body_of(pin->priv.lg);
    pin->priv.waiting = false;
    pin->verdict = pin_try(lg, pin);
    if (pin->verdict == LOG_WAIT)
        return;
    log_unuse(lg);
    pin->done(pin);
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

static void find_again(struct log_find *find)
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

void log_read_run(struct log_shard *ls)
{
    ls->reads_again = false;
    struct log_find *last_find = TAILQ_LAST(&ls->finds_waiting, log_finds);
    struct log_pin *last_pin = TAILQ_LAST(&ls->pins_waiting, log_pins);
    struct log_find *find;
    while (last_find != NULL && (find = TAILQ_FIRST(&ls->finds_waiting)) != NULL) {
        TAILQ_REMOVE(&ls->finds_waiting, find, priv.link);
        bool end = find == last_find;
        find_again(find);
        if (end)
            break;
    }
    struct log_pin *pin;
    while (last_pin != NULL && (pin = TAILQ_FIRST(&ls->pins_waiting)) != NULL) {
        TAILQ_REMOVE(&ls->pins_waiting, pin, priv.link);
        bool end = pin == last_pin;
        pin_again(pin);
        if (end)
            break;
    }
}
