/* SPDX-License-Identifier: Apache-2.0
 *
 * Append. The hot path is log_append() -> append_try() -> log_enqueue(); what follows until the
 * acknowledgement is in core/log/log_commit.c. Everything else here is about not being able to go
 * on: no memory, the tail not in memory, a failed directory.
 */
#include "core/log/disk_room.h"
#include "core/log/log_private.h"
#include "core/log/promise.h"
#include "core/log/segment_index.h"
#include "core/record/batch.h"

const struct log_config log_config_default = {
    .segment_bytes = 1U << 30,
    .producer_expiration_ms = 86400000,
    .producer_ids_max = 1000,
    .index_interval_bytes = 4096,
    .index_bytes = 10485760,
    .roll_ms = 604800000,
    .delete_delay_ms = 60000,
    .flush_messages = INT64_MAX,
    .flush_ms = INT64_MAX,
};

const char *log_verdict_text(enum log_verdict verdict)
{
    switch (verdict) {
    case LOG_OK:
        return "ok";
    case LOG_WAIT:
        return "waits";
    case LOG_CORRUPT:
        return "the batch does not match its checksum";
    case LOG_TOO_LARGE:
        return "the batch is larger than a segment or half the tail memory";
    case LOG_OUT_OF_ORDER_SEQUENCE:
        return "the producer's sequence number is out of order";
    case LOG_INVALID_PRODUCER_EPOCH:
        return "the producer's epoch is older than the one seen last";
    case LOG_OUT_OF_ORDER_OFFSET:
        return "the replica's batch begins before the log's end";
    case LOG_OUT_OF_RANGE:
        return "the offset is out of the log's range";
    case LOG_FULL:
        return "the disk is full up to its reserve";
    case LOG_OFFLINE:
        return "the log directory is offline after a failed write";
    case LOG_CLOSED:
        return "the log is closed";
    }
    return "unknown";
}

/* Puts the batch at [from, from + len) of the tail: the header as patched, the rest from the span.
 * Returns the CRC of what the header's CRC covers. */
static uint32_t tail_copy_in(struct log_body *lg, struct segment *segment, uint32_t from,
                             const uint8_t *header, struct span batch)
{
    struct tail_block *block = tail_find(lg, segment, from);
    struct piece piece;
    struct span head = span_of(&piece, header, BATCH_HEADER_SIZE);
    uint32_t crc = crc32c(0, header + BATCH_CRC_FROM, BATCH_HEADER_SIZE - BATCH_CRC_FROM);
    span_advance(&batch, BATCH_HEADER_SIZE);
    while (head.len + batch.len > 0) {
        uint8_t *to = block->data + (from - block->position);
        uint32_t room = block->position + block->size - from;
        uint32_t run = (uint32_t)min_u64(room, head.len > 0 ? head.len : batch.len);
        if (head.len > 0) {
            span_take(&head, to, run);
        } else {
            crc = crc32c_copy_span(crc, to, span_first(batch, run));
            span_advance(&batch, run);
        }
        from += run;
        block->used = from - block->position;
        if (run == room)
            block = TAILQ_NEXT(block, link);
    }
    return crc;
}

static enum log_verdict append_check_producer(struct log_body *lg, struct log_append *op,
                                              const struct batch_header *header)
{
    struct producer_batch original;
    int32_t last = producer_last_sequence(header->base_sequence, header->last_offset_delta);
    switch (producer_check(&lg->producers, header->producer_id, header->producer_epoch,
                           header->base_sequence, last, &original)) {
    case PRODUCER_OK:
        return LOG_OK;
    case PRODUCER_OUT_OF_ORDER:
        return LOG_OUT_OF_ORDER_SEQUENCE;
    case PRODUCER_INVALID_EPOCH:
        return LOG_INVALID_PRODUCER_EPOCH;
    case PRODUCER_DUPLICATE:
        if (io_mutation(lg->ls->io, "log.duplicate_appended"))
            return LOG_OK;
        op->duplicate = true;
        op->base_offset = original.base_offset;
        op->last_offset = original.last_offset;
        op->timestamp = op->append_time_ms >= 0 ? original.timestamp : -1;
        return LOG_OK;
    }
    return LOG_CORRUPT;
}

static void append_duplicate(struct log_body *lg, struct log_append *op)
{
    struct log_shard *ls = lg->ls;
    count_up(&ls->counts.duplicates, 1);
    if (op->last_offset < promise_of_duplicates(lg) ||
        io_mutation(ls->io, "log.duplicate_answered_early")) {
        STAILQ_INSERT_TAIL(&ls->ready, op, priv.link);
        lg->pending++;
        log_shard_kick(ls);
    } else {
        log_enqueue(lg, op, LOG_NO_RECORD);
    }
}

/* Has the segment been filled for long enough (D2)? By the batches' timestamps; where they have
 * none, or those of a former run were not met yet, by the clock. */
static bool append_is_late(struct log_body *lg, int64_t timestamp)
{
    struct segment *active = lg->active;
    if (active->roll_after_ms == 0) {
        int64_t jitter_max = min_i64(lg->config.roll_jitter_ms, lg->config.roll_ms);
        active->roll_after_ms = lg->config.roll_ms;
        if (jitter_max > 0)
            active->roll_after_ms -= (int64_t)(io_random(lg->ls->io) % (uint64_t)jitter_max);
    }
    if (timestamp >= 0 && active->first_timestamp >= 0)
        return timestamp - active->first_timestamp > active->roll_after_ms;
    return io_wall_ms(lg->ls->io) - active->born_ms > active->roll_after_ms;
}

static bool append_must_roll(struct log_body *lg, const struct batch_header *header,
                             const struct log_append *op)
{
    const struct segment *active = lg->active;
    /* One that is damaged is closed: only then it can be mended (core/log/log_mend.h). */
    return active->size > 0 && (active->damage != NULL ||
                                active->size + (uint64_t)op->batch.len > lg->config.segment_bytes ||
                                op->last_offset - active->base > INT32_MAX ||
                                append_is_late(lg, header->max_timestamp));
}

/* The batch is in the tail and right: it is part of the log from here on. */
static void append_accept(struct log_body *lg, struct log_append *op, struct segment *segment,
                          const struct batch_header *header)
{
    struct log_shard *ls = lg->ls;
    uint32_t len = op->batch.len;
    if (segment != lg->active) {
        lg->active->closed = true;
        lg->active = segment;
        count_up(&ls->counts.rolls, 1);
        writer_on_flushed(lg);
    }
    op->priv.segment = segment;
    op->priv.start = segment->size;
    op->priv.end = segment->size + len;
    op->priv.journaled = op->priv.start;
    op->priv.leader_epoch = header->leader_epoch;
    op->priv.max_timestamp = header->max_timestamp;
    op->priv.now_ms = io_wall_ms(ls->io);
    op->priv.producer_id = header->producer_id;
    op->priv.producer_epoch = header->producer_epoch;
    op->priv.base_sequence = header->base_sequence;
    op->priv.last_sequence =
        producer_last_sequence(header->base_sequence, header->last_offset_delta);
    op->priv.attributes = header->attributes;

    lg->tail = TAILQ_LAST(&lg->blocks, tail_blocks);
    struct tail_block *first = lg->tail;
    while (first->position > op->priv.start)
        first = TAILQ_PREV(first, tail_blocks, link);
    if (first->first_position == UINT32_MAX) {
        first->first_position = op->priv.start;
        first->first_offset = op->base_offset;
    }
    (void)segment_noted(segment, header, op->priv.start, lg->config.index_interval_bytes);
    log_anchors_move(&segment->anchors, op->priv.start);
    segment->size += len;
    segment->end_offset = op->last_offset + 1;
    lg->log.end_offset = op->last_offset + 1;
    lg->log.size_bytes += len;
    if (header->leader_epoch > lg->log.leader_epoch) {
        epoch_assign(&lg->epochs, header->leader_epoch, op->base_offset);
        lg->log.leader_epoch = header->leader_epoch;
    }
    if (header->producer_id >= 0 && header->base_sequence >= 0) {
        const struct producer_batch batch = {.base_sequence = header->base_sequence,
                                             .last_sequence = op->priv.last_sequence,
                                             .base_offset = op->base_offset,
                                             .last_offset = op->last_offset,
                                             .timestamp = header->max_timestamp};
        producer_absorb(&lg->producers, header->producer_id, header->producer_epoch, &batch,
                        op->priv.now_ms, lg->config.producer_ids_max);
    }
    count_up(&ls->counts.appends, 1);
    count_up(&ls->counts.appended_bytes, len);
    count_up(&ls->counts.copied_bytes, len);
    disk_room_spend(ls, len);
    op = promise_take(lg, op);
    bool large = bypass_take(lg, op);
    if (!large)
        lg->ls->small_append_ns = io_now_ns(lg->ls->io);
    log_enqueue(lg, op, large ? JOURNAL_EXTENT : JOURNAL_APPEND);
}

/* Copies and proves the batch; `bytes` is its header, patched. */
static enum log_verdict append_copy(struct log_body *lg, struct log_append *op,
                                    const uint8_t *bytes, bool *memory)
{
    struct batch_header header;
    batch_header_of(&header, bytes);
    bool roll = append_must_roll(lg, &header, op);
    struct segment *segment = roll ? segment_new(lg, op->base_offset) : lg->active;
    enum log_verdict verdict = tail_reserve(lg, segment, segment->size, op->batch.len, memory);
    if (verdict == LOG_OK &&
        tail_copy_in(lg, segment, segment->size, bytes, op->batch) != header.crc) {
        tail_rewind(lg, segment, segment->size);
        verdict = LOG_CORRUPT;
    }
    if (verdict == LOG_OK) {
        append_accept(lg, op, segment, &header);
        return LOG_OK;
    }
    if (roll) {
        segment_doom(segment);
        /* The tail of the segment that stays active goes on where it was. */
        struct tail_block *last = TAILQ_LAST(&lg->blocks, tail_blocks);
        lg->tail = last != NULL && last->segment == lg->active &&
                           lg->active->size == last->position + last->used
                       ? last
                       : NULL;
    }
    return verdict;
}

static enum log_verdict append_try(struct log_body *lg, struct log_append *op, bool *memory)
{
    struct log_shard *ls = lg->ls;
    uint8_t bytes[BATCH_HEADER_SIZE];
    struct batch_header header;
    *memory = false;
    if (op->batch.len < BATCH_HEADER_SIZE)
        return LOG_CORRUPT;
    span_peek(&op->batch, bytes, BATCH_HEADER_SIZE);
    batch_header_of(&header, bytes);
    if (batch_size(&header) != op->batch.len || header.magic != BATCH_MAGIC ||
        header.last_offset_delta < 0)
        return LOG_CORRUPT;
    if (op->batch.len > lg->config.segment_bytes || op->batch.len > ls->pool.size / 2)
        return LOG_TOO_LARGE;
    op->duplicate = false;
    op->timestamp = op->append_time_ms;
    if (!op->replica && header.producer_id >= 0 && header.base_sequence >= 0) {
        enum log_verdict verdict = append_check_producer(lg, op, &header);
        if (verdict == LOG_OK && op->duplicate)
            append_duplicate(lg, op);
        if (verdict != LOG_OK || op->duplicate)
            return verdict;
    }
    enum log_verdict room = disk_room_verdict(ls);
    if (room != LOG_OK)
        return room;
    if (op->replica) {
        if (header.base_offset < lg->log.end_offset)
            return LOG_OUT_OF_ORDER_OFFSET;
    } else {
        header.base_offset = lg->log.end_offset;
        batch_put_place(bytes, lg->log.end_offset, op->leader_epoch);
        if (op->append_time_ms >= 0)
            batch_put_timestamp(bytes, true, op->append_time_ms);
        else if (op->max_timestamp != LOG_KEEP && op->max_timestamp != header.max_timestamp)
            batch_put_timestamp(bytes, false, op->max_timestamp);
    }
    op->base_offset = header.base_offset;
    op->last_offset = batch_last_offset(&header);
    return append_copy(lg, op, bytes, memory);
}

static enum log_verdict append_wait(struct log_body *lg, struct log_append *op, bool memory)
{
    struct log_shard *ls = lg->ls;
    lg->waiting++;
    count_up(&ls->counts.waits, 1);
    if (memory) {
        ls->waiting_memory = 1;
        ls->pressure = true;
    }
    STAILQ_INSERT_TAIL(&ls->waiting, op, priv.link);
    log_shard_kick(ls);
    return LOG_WAIT;
}

enum log_verdict log_append(struct log *log, struct log_append *op)
{
    struct log_body *lg = log_body_of(log);
    struct log_shard *ls = lg->ls;
    must(log_at_home(ls));
    op->priv.lg = log;
    if (ls->offline)
        return LOG_OFFLINE;
    if (ls->stopping || lg->state == LOG_DELETING || lg->state == LOG_DEAD)
        return LOG_CLOSED;
    if (lg->waiting > 0 || ls->waiting_memory > 0 || lg->state == LOG_TRUNCATING)
        return append_wait(lg, op, false);
    bool memory;
    enum log_verdict verdict = append_try(lg, op, &memory);
    return verdict == LOG_WAIT ? append_wait(lg, op, memory) : verdict;
}

/* ---- waiting ---- */

static enum log_verdict append_again(struct log_body *lg, struct log_append *op, bool *memory)
{
    *memory = false;
    if (lg->ls->offline)
        return LOG_OFFLINE;
    if (lg->ls->stopping || lg->state == LOG_DELETING || lg->state == LOG_DEAD)
        return LOG_CLOSED;
    if (lg->held || lg->state == LOG_TRUNCATING)
        return LOG_WAIT;
    return append_try(lg, op, memory);
}

void log_retry_waiting(struct log_shard *ls)
{
    struct log_appends tried = STAILQ_HEAD_INITIALIZER(tried);
    struct log_appends kept = STAILQ_HEAD_INITIALIZER(kept);
    STAILQ_CONCAT(&tried, &ls->waiting);
    ls->waiting_memory = 0;
    bool memory = false;
    struct log_append *op;
    while ((op = STAILQ_FIRST(&tried)) != NULL) {
        STAILQ_REMOVE_HEAD(&tried, priv.link);
        struct log_body *lg = log_body_of(op->priv.lg);
        /* Without memory all stay in line, but for a log that goes: nothing may wait for it. */
        if (memory && lg->state != LOG_DELETING) {
            STAILQ_INSERT_TAIL(&kept, op, priv.link);
            continue;
        }
        bool lacks;
        enum log_verdict verdict = append_again(lg, op, &lacks);
        memory = memory || lacks;
        if (verdict == LOG_WAIT) {
            lg->held = true;
            STAILQ_INSERT_TAIL(&kept, op, priv.link);
            continue;
        }
        lg->waiting--;
        if (verdict == LOG_OK)
            continue;
        op->verdict = verdict;
        op->done(op);
    }
    STAILQ_FOREACH (op, &kept, priv.link)
        log_body_of(op->priv.lg)->held = false;
    /* What was asked meanwhile comes after what waited before. */
    STAILQ_CONCAT(&kept, &ls->waiting);
    STAILQ_CONCAT(&ls->waiting, &kept);
    if (memory) {
        ls->waiting_memory = 1;
        ls->pressure = true;
    }
}
