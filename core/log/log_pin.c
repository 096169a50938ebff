/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a log for readers, held in memory while they are sent.
 *
 * Pins are tail blocks by reference or cold blocks read for the pin. What must wait (for a file to
 * be opened, for cold memory) stands in the shard's list and tries again when something came back.
 */
#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/log_read.h"
#include "core/log/read_ahead.h"

static void pin_check_begin(struct log_pin *pin, const struct segment *segment)
{
    const struct epoch_history *epochs = &log_body_of(pin->priv.lg)->epochs;
    struct batch_scan *scan = &pin->check->scan;
    batch_scan_start(scan, pin->priv.base_offset);
    scan->offset_upto = segment->end_offset;
    epoch_bounds(epochs, pin->priv.base_offset, segment->end_offset, &scan->epoch_from,
                 &scan->epoch_upto);
}

/* Are the batches that end in these bytes what was written? Bytes of a pin may come again, because
 * the one before took less than it could; with a hole before them nothing is known. */
static bool pin_check(struct log_pin *pin, struct segment *segment)
{
    struct log_check *check = pin->check;
    if (check == NULL)
        return true;
    if (!check->begun)
        pin_check_begin(pin, segment);
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

/* A batch behind a gap is sent when the next one agrees with its offsets, so not as the last one of
 * a pin, as long as that leaves something. */
static void pin_hold_back(struct log_pin *pin)
{
    const struct log_check *check = pin->check;
    if (check == NULL || !check->scan.doubt || check->scan.doubt_at <= pin->priv.skip ||
        check->scan.doubt_at >= pin->priv.skip + pin->length)
        return;
    pin->length = (uint32_t)check->scan.doubt_at - pin->priv.skip;
    pin->iov[0].iov_len = pin->length;
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
    count_up(&lg->ls->counts.pins_tail, pin->length > 0);
    return pin->length > 0;
}

/* Its one block has `got` bytes of the file from the pin's position on. */
static enum log_verdict pin_from_file(struct log_pin *pin, struct segment *segment, uint32_t got)
{
    const struct tail_block *block = pin->priv.blocks[0];
    pin->pieces = 1;
    pin->length = (uint32_t)min_u64(got, pin->priv.length_max);
    pin->iov[0] = (struct iovec){.iov_base = block->data + (pin->priv.position - block->position),
                                 .iov_len = pin->length};
    count_up(&pin->priv.ls->counts.pins_cold, 1);
    read_ahead_go(segment, pin->priv.position, pin->priv.position + pin->length);
    if (pin_check(pin, segment)) {
        pin_hold_back(pin);
        return LOG_OK;
    }
    log_unpin(pin);
    return LOG_CORRUPT;
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
        count_up(&ls->counts.cold_bytes, (uint64_t)op->res);
        pin->verdict = pin_from_file(pin, segment, got);
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
    while (block == NULL && read_ahead_shrink(ls))
        block = tail_cold_block(ls, bytes);
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
    uint32_t limit = segment != NULL ? log_read_limit(lg, segment) : 0;
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
    switch (read_ahead_take(segment, pin, &pin->priv.blocks[0])) {
    case READ_HAS:
        return pin_from_file(pin, segment,
                             pin->priv.blocks[0]->position + pin->priv.blocks[0]->used -
                                 pin->priv.position);
    case READ_COMES:
        return LOG_WAIT;
    case READ_MISSES:
        break;
    }
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
        (uint32_t)min_u64(min_u64(length_max, LOG_PIN_BYTES_MAX), range->length - skip);
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

void pin_again(struct log_pin *pin)
{
    struct log_body *lg = log_body_of(pin->priv.lg);
    pin->priv.waiting = false;
    pin->verdict = pin_try(lg, pin);
    if (pin->verdict == LOG_WAIT)
        return;
    log_unuse(lg);
    pin->done(pin);
}
