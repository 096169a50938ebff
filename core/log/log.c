/* SPDX-License-Identifier: Apache-2.0
 *
 * Append, and the way of an append to its acknowledgement. The hot path is log_append() ->
 * append_try() -> log_journal_fill(); at the end of the turn the group leaves, and log_on_commit()
 * answers what it carried. Everything else here is about not being able to go on: no memory, the
 * tail not in memory, a failed directory.
 *
 * One queue per shard holds all records between append and durability, in the order in which they
 * are journaled. Groups are acknowledged in order, so a commit pops from the front and needs no
 * lookup. A duplicate joins the queue without a record: whatever is before it, its original
 * included, is durable when it gets its turn.
 */
#include "core/log/log_inside.h"

#include "core/record/batch.h"

const struct log_config log_config_default = {
    .segment_bytes = 1U << 30,
    .producer_expiration_ms = 86400000,
    .producer_ids_max = 1000,
    .index_interval_bytes = 4096,
    .index_bytes = 10485760,
    .roll_ms = 604800000,
    .delete_delay_ms = 60000,
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

static bool is_append(const struct log_append *op)
{
    return op->priv.kind == JOURNAL_APPEND || op->priv.kind == JOURNAL_EXTENT;
}

/* ---- the journal's side ---- */

void log_dirty(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    if (lg->listed)
        lg->dirty_again = true;
    if (lg->dirty || lg->listed)
        return;
    lg->dirty = true;
    TAILQ_INSERT_TAIL(&ls->dirty, lg, dirty_link);
    if (!timer_is_set(&ls->checkpoint_timer) && !ls->stopping)
        timer_set(ls->sh, &ls->checkpoint_timer, io_now_ns(ls->io) + CHECKPOINT_AFTER_NS);
}

/* Does the next record of this log carry the prefix of its first block? (core/log/log_inside.h) */
static bool log_needs_prefix(const struct log_body *lg)
{
    return lg->prefix_number != lg->ls->checkpoint_number &&
           !io_mutation(lg->ls->io, "log.no_prefix_copy");
}

static void append_fragment_note(struct log_shard *ls, struct log_body *lg,
                                 const struct log_append *op)
{
    /* At most as many groups are on their way as there are buffers; one entry per group. */
    struct log_fragment *last =
        ls->fragment_count > 0 ? &ls->fragments[ls->fragment_count - 1] : NULL;
    if (last == NULL || last->seq != op->priv.seq || last->lg != lg) {
        must(ls->fragment_count < LOG_FRAGMENTS);
        last = &ls->fragments[ls->fragment_count++];
    }
    *last = (struct log_fragment){.seq = op->priv.seq,
                                  .lg = lg,
                                  .segment = op->priv.segment,
                                  .position = op->priv.journaled,
                                  .change = lg->change};
}

void log_append_summary(const struct log_body *lg, const struct log_append *op, uint32_t from,
                        uint32_t to, struct journal_append *append)
{
    *append = (struct journal_append){
        .segment_base = op->priv.segment->base,
        .position = from,
        .bytes = to - from,
        .last = to == op->priv.end,
        .attributes = op->priv.attributes,
        .batch_position = op->priv.start,
        .base_offset = op->base_offset,
        .last_offset = op->last_offset,
        .max_timestamp = op->priv.max_timestamp,
        .now_ms = op->priv.now_ms,
        .producer_id = op->priv.producer_id,
        .base_sequence = op->priv.base_sequence,
        .last_sequence = op->priv.last_sequence,
        .leader_epoch = op->priv.leader_epoch,
        .producer_epoch = op->priv.producer_epoch,
        .committed = lg->flushed_change,
    };
}

/* Copies bytes [from, to) of a batch and their record into the open group. */
static void append_record(struct log_body *lg, struct log_append *op, uint32_t from, uint32_t to,
                          uint8_t *at, uint32_t crc)
{
    struct log_shard *ls = lg->ls;
    const struct journal_record record = {.kind = JOURNAL_APPEND,
                                          .version = 1,
                                          .id = lg->log.id,
                                          .incarnation = lg->incarnation,
                                          .change = ++lg->change};
    struct journal_append append;
    log_append_summary(lg, op, from, to, &append);
    uint32_t length = JOURNAL_APPEND_HEADER + append.bytes;
    struct bytes_out out = bytes_out_of(at, JOURNAL_APPEND_HEADER);
    journal_record_encode(&record, length, &out);
    journal_append_encode(&append, &out);
    tail_copy_out(lg, op->priv.segment, from, at + JOURNAL_APPEND_HEADER, append.bytes);
    crc = crc32c(crc, at, length);
    op->priv.seq = journal_written(&ls->journal, length, 1, crc);
    op->priv.change = lg->change;
    op->priv.journaled = to;
    lg->prefix_number = ls->checkpoint_number;
    ls->counts.copied_bytes += append.bytes;
    if (!append.last)
        append_fragment_note(ls, lg, op);
}

/* As much of the batch as the open group takes, or 64 KiB of it when others wait; false when no
 * group takes any now. */
static bool append_journal(struct log_body *lg, struct log_append *op)
{
    const uint32_t group_room = lg->ls->journal.group_max - JOURNAL_GROUP_HEADER;
    const uint32_t piece = JOURNAL_APPEND_HEADER + (64U << 10);
    uint32_t from = op->priv.journaled;
    if (log_needs_prefix(lg))
        from = (uint32_t)round_down(from, FS_BLOCK);
    /* Small records stay whole; large ones are cut, but not into crumbs. */
    uint32_t whole = JOURNAL_APPEND_HEADER + (op->priv.end - from);
    uint32_t need = whole < piece ? whole : piece;
    if (need > group_room)
        need = group_room;
    bool alone = TAILQ_NEXT(lg, journal_link) == NULL;
    uint32_t room;
    uint32_t crc;
    uint8_t *at = journal_reserve(&lg->ls->journal, need, &room, &crc);
    if (at == NULL)
        return false;
    if (!alone)
        room = need;
    uint32_t to = whole <= room ? op->priv.end : from + (room - JOURNAL_APPEND_HEADER);
    append_record(lg, op, from, to, at, crc);
    return true;
}

/* Any other record: small and whole. */
static bool change_journal(struct log_body *lg, struct log_append *record)
{
    struct log_shard *ls = lg->ls;
    struct checkpoint_entry entry;
    uint32_t need = JOURNAL_RECORD_HEADER + 32;
    if (record->priv.kind == JOURNAL_CHECKPOINT) {
        checkpoint_log_entry(lg, &entry);
        entry.change = lg->change + 1;
        need = JOURNAL_RECORD_HEADER + (uint32_t)checkpoint_encoded_size(&entry);
    } else if (record->priv.kind == JOURNAL_SWAP) {
        need = JOURNAL_RECORD_HEADER + SWAP_ENCODED_BYTES;
    }
    uint32_t room;
    uint32_t crc;
    uint8_t *at = journal_reserve(&ls->journal, need, &room, &crc);
    if (at == NULL)
        return false;
    struct bytes_out out = bytes_out_of(at + JOURNAL_RECORD_HEADER, need - JOURNAL_RECORD_HEADER);
    if (record->priv.kind == JOURNAL_CHECKPOINT) {
        checkpoint_encode(&entry, &out);
        mem_free(entry.open);
    } else if (record->priv.kind == JOURNAL_TRUNCATE) {
        put_i64(&out, record->base_offset);
        put_i64(&out, record->last_offset); /* segment base of the new end */
        put_u32(&out, record->priv.end);
    } else if (record->priv.kind == JOURNAL_LOG_START) {
        put_i64(&out, record->base_offset);
        put_i64(&out, record->last_offset); /* segment base of the log's end */
    } else if (record->priv.kind == JOURNAL_RESET) {
        put_i64(&out, record->base_offset);
    } else if (record->priv.kind == JOURNAL_SWAP) {
        const struct log_change *change = container_of(record, struct log_change, priv.record);
        swap_record_encode(&change->priv.swap->record, &out);
    }
    must(!out.overrun);
    uint32_t length = (uint32_t)(out.at - at);
    const struct journal_record head = {.kind = record->priv.kind,
                                        .version = 1,
                                        .id = lg->log.id,
                                        .incarnation = lg->incarnation,
                                        .change = ++lg->change};
    out = bytes_out_of(at, JOURNAL_RECORD_HEADER);
    journal_record_encode(&head, length, &out);
    record->priv.seq = journal_written(&ls->journal, length, 1, crc32c(crc, at, length));
    record->priv.change = lg->change;
    return true;
}

static bool log_journal_record(struct log_body *lg, struct log_append *op)
{
    if (op->priv.kind == LOG_NO_RECORD ||
        (op->priv.kind == JOURNAL_EXTENT && io_mutation(lg->ls->io, "bypass.no_record"))) {
        op->priv.seq = lg->ls->last_seq;
        op->priv.change = lg->change;
        return true;
    }
    if (op->priv.kind == JOURNAL_EXTENT)
        return bypass_journal(lg, op, log_needs_prefix(lg));
    return op->priv.kind == JOURNAL_APPEND ? append_journal(lg, op) : change_journal(lg, op);
}

/* One record, or a piece of one, from the front of the log's line; false: no room now. */
static bool log_journal_one(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    struct log_append *op = STAILQ_FIRST(&lg->unjournaled);
    if (!log_journal_record(lg, op))
        return false;
    ls->last_seq = op->priv.seq;
    if (op->priv.kind == JOURNAL_APPEND && op->priv.journaled < op->priv.end)
        return true;
    STAILQ_REMOVE_HEAD(&lg->unjournaled, priv.link);
    STAILQ_INSERT_TAIL(&ls->queue, op, priv.link);
    return true;
}

void log_journal_fill(struct log_shard *ls)
{
    struct log_body *lg;
    while ((lg = TAILQ_FIRST(&ls->journaling)) != NULL && !ls->offline && log_journal_one(lg)) {
        TAILQ_REMOVE(&ls->journaling, lg, journal_link);
        if (!STAILQ_EMPTY(&lg->unjournaled))
            TAILQ_INSERT_TAIL(&ls->journaling, lg, journal_link);
    }
    if (journal_half_full(&ls->journal) || ls->journal.starved)
        checkpoint_want(ls);
    log_shard_kick(ls);
}

static void log_enqueue(struct log_body *lg, struct log_append *op, uint8_t kind)
{
    struct log_shard *ls = lg->ls;
    op->priv.kind = kind;
    op->priv.unwritten = kind == JOURNAL_EXTENT && op->priv.unwritten;
    lg->pending++;
    bool room = TAILQ_EMPTY(&ls->journaling); /* else the first in turn has found none */
    if (STAILQ_EMPTY(&lg->unjournaled))
        TAILQ_INSERT_TAIL(&ls->journaling, lg, journal_link);
    STAILQ_INSERT_TAIL(&lg->unjournaled, op, priv.link);
    if (room)
        log_journal_fill(ls);
}

void log_queue_record(struct log_body *lg, struct log_append *record, uint8_t kind)
{
    record->priv.lg = &lg->log;
    log_enqueue(lg, record, kind);
}

/* ---- commits ---- */

static void log_flushed(struct log_body *lg, struct segment *segment, uint32_t position,
                        uint64_t change)
{
    /* Within one commit a fragment is noted before whole batches that precede it. */
    if (change > lg->flushed_change) {
        lg->flushed_segment = segment;
        lg->flushed_position = position;
        lg->flushed_change = change;
    }
    log_dirty(lg);
    writer_on_flushed(lg);
}

static void append_commit(struct log_body *lg, struct log_append *op)
{
    struct log_shard *ls = lg->ls;
    if (lg->durable_segment != op->priv.segment)
        writer_want(lg); /* the segment before it can be sealed */
    lg->durable_segment = op->priv.segment;
    lg->durable_position = op->priv.end;
    lg->log.durable_offset = op->last_offset + 1;
    log_flushed(lg, op->priv.segment, op->priv.end, op->priv.change);
    if (op->priv.kind == JOURNAL_EXTENT)
        tail_written(lg, op->priv.segment); /* it may have been there before it was flushed */
    if (!lg->moved) {
        lg->moved = true;
        TAILQ_INSERT_TAIL(&ls->moved, lg, moved_link);
    }
}

static void log_commit_one(struct log_append *op)
{
    struct log_body *lg = log_body_of(op->priv.lg);
    lg->pending--;
    if (is_append(op))
        append_commit(lg, op);
    if (is_append(op) || op->priv.kind == LOG_NO_RECORD) {
        op->verdict = LOG_OK;
        op->done(op);
    } else {
        lg->flushed_change = max_u64(lg->flushed_change, op->priv.change); /* see log_flushed */
        log_dirty(lg);
        log_change_durable(lg, op);
    }
    if (lg->pending == 0 && !TAILQ_EMPTY(&lg->changes))
        log_change_run(lg);
}

/* Appends that are durable in the journal, in its order: those to be answered now go to `due`, the
 * others behind the direct write that they wait for. */
static void commit_sort(struct log_shard *ls, uint64_t seq, struct log_appends *due)
{
    struct log_append *op;
    while ((op = STAILQ_FIRST(&ls->queue)) != NULL && op->priv.seq <= seq) {
        struct log_body *lg = log_body_of(op->priv.lg);
        STAILQ_REMOVE_HEAD(&ls->queue, priv.link);
        bool overtakes = io_mutation(ls->io, "bypass.ack_out_of_order");
        if (op->priv.unwritten || (!STAILQ_EMPTY(&lg->behind) && !overtakes))
            STAILQ_INSERT_TAIL(&lg->behind, op, priv.link);
        else
            STAILQ_INSERT_TAIL(due, op, priv.link);
    }
}

static void fragment_flushed(const struct log_fragment *fragment)
{
    log_flushed(fragment->lg, fragment->segment, fragment->position, fragment->change);
}

/* Is it behind a direct write that is not done? */
static bool fragment_is_behind(const struct log_fragment *fragment)
{
    const struct log_append *first = STAILQ_FIRST(&fragment->lg->behind);
    return first != NULL && first->priv.change < fragment->change;
}

static void commit_fragments(struct log_shard *ls, uint64_t seq)
{
    uint32_t done = 0;
    while (done < ls->fragment_count && ls->fragments[done].seq <= seq) {
        const struct log_fragment *fragment = &ls->fragments[done++];
        if (fragment_is_behind(fragment) && !io_mutation(ls->io, "bypass.fragment_overtakes"))
            fragment->lg->fragment_behind = *fragment; /* of several the last one tells all */
        else
            fragment_flushed(fragment);
    }
    ls->fragment_count -= done;
    memmove(ls->fragments, ls->fragments + done, ls->fragment_count * sizeof(ls->fragments[0]));
}

static void commit_end(struct log_shard *ls)
{
    struct log_body *lg;
    while ((lg = TAILQ_FIRST(&ls->moved)) != NULL) {
        TAILQ_REMOVE(&ls->moved, lg, moved_link);
        lg->moved = false;
        if (lg->log.on_durable != NULL)
            lg->log.on_durable(&lg->log);
    }
    log_journal_fill(ls);
    if (ls->step == CHECKPOINT_MARKED)
        checkpoint_run(ls);
    log_shard_progress(ls);
}

void log_on_commit(struct log_shard *ls, uint64_t seq)
{
    struct log_appends due = STAILQ_HEAD_INITIALIZER(due);
    struct log_append *op;
    commit_sort(ls, seq, &due);
    commit_fragments(ls, seq);
    while ((op = STAILQ_FIRST(&due)) != NULL) {
        STAILQ_REMOVE_HEAD(&due, priv.link);
        log_commit_one(op);
    }
    commit_end(ls);
}

void log_commit_behind(struct log_body *lg)
{
    struct log_append *op;
    while ((op = STAILQ_FIRST(&lg->behind)) != NULL && !op->priv.unwritten) {
        STAILQ_REMOVE_HEAD(&lg->behind, priv.link);
        log_commit_one(op);
    }
    if (lg->fragment_behind.change != 0 && !fragment_is_behind(&lg->fragment_behind)) {
        fragment_flushed(&lg->fragment_behind);
        lg->fragment_behind.change = 0;
    }
    commit_end(lg->ls);
}

/* ---- append ---- */

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
    ls->counts.duplicates++;
    if (op->last_offset < lg->log.durable_offset ||
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
    return active->size > 0 && (active->size + (uint64_t)op->batch.len > lg->config.segment_bytes ||
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
        ls->counts.rolls++;
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
    ls->counts.appends++;
    ls->counts.appended_bytes += len;
    ls->counts.copied_bytes += len;
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
    if (ls->full)
        return LOG_FULL;
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
    ls->counts.waits++;
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

/* The directory is offline: everything that waits for it ends. */
void log_fail_all(struct log_shard *ls)
{
    struct log_body *lg;
    struct log_appends failed = STAILQ_HEAD_INITIALIZER(failed);
    TAILQ_FOREACH (lg, &ls->logs, all_link) {
        STAILQ_CONCAT(&failed, &lg->behind);
        lg->fragment_behind.change = 0;
    }
    STAILQ_CONCAT(&failed, &ls->queue);
    while ((lg = TAILQ_FIRST(&ls->journaling)) != NULL) {
        TAILQ_REMOVE(&ls->journaling, lg, journal_link);
        STAILQ_CONCAT(&failed, &lg->unjournaled);
    }
    ls->fragment_count = 0;
    bypass_fail(ls);
    struct log_append *op;
    while ((op = STAILQ_FIRST(&failed)) != NULL) {
        STAILQ_REMOVE_HEAD(&failed, priv.link);
        lg = log_body_of(op->priv.lg);
        lg->pending--;
        if (is_append(op) || op->priv.kind == LOG_NO_RECORD) {
            op->verdict = LOG_OFFLINE;
            op->done(op);
        } else {
            log_change_durable(lg, op);
        }
    }
    log_retry_waiting(ls);
    struct log_body *next;
    for (lg = TAILQ_FIRST(&ls->logs); lg != NULL; lg = next) {
        next = TAILQ_NEXT(lg, all_link); /* a deletion that ends frees its log */
        if (!TAILQ_EMPTY(&lg->changes))
            log_change_run(lg);
    }
}
