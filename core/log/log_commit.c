/* SPDX-License-Identifier: Apache-2.0
 *
 * An append's way through the journal: its record into the open group (log_journal_fill), and when
 * the group is durable its answer (log_on_commit).
 *
 * One queue per shard holds all records between append and durability, in the order in which they
 * are journaled. Groups are acknowledged in order, so a commit pops from the front and needs no
 * lookup. A duplicate joins the queue without a record: whatever is before it, its original
 * included, is durable when it gets its turn.
 */
#include "core/log/log_commit.h"

#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/log_swap.h"
#include "core/log/promise.h"

static bool is_append(const struct log_append *op)
{
    return op->priv.kind == JOURNAL_APPEND || op->priv.kind == JOURNAL_EXTENT;
}

/* ---- into the journal ---- */

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

/* Does the next record of this log carry the prefix of its first block? (core/log/log_private.h) */
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

bool log_makes_durable(const struct log_body *lg, const struct log_append *op)
{
    return !op->priv.plain || lg->ls->stopping || !TAILQ_EMPTY(&lg->changes);
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
    op->priv.seq = journal_written(&ls->journal, length, 1, crc, log_makes_durable(lg, op));
    op->priv.change = lg->change;
    op->priv.journaled = to;
    lg->prefix_number = ls->checkpoint_number;
    count_up(&ls->counts.copied_bytes, append.bytes);
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
    } else if (record->priv.kind == JOURNAL_RESET || record->priv.kind == JOURNAL_MODE) {
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
    record->priv.seq = journal_written(&ls->journal, length, 1, crc32c(crc, at, length), true);
    record->priv.change = lg->change;
    return true;
}

static bool log_journal_record(struct log_body *lg, struct log_append *op)
{
    if (op->priv.kind == LOG_NO_RECORD ||
        (op->priv.kind == JOURNAL_EXTENT && io_mutation(lg->ls->io, "bypass.no_record"))) {
        op->priv.seq = lg->ls->last_seq;
        op->priv.change = lg->change;
        if (lg->relaxed)
            journal_want(&lg->ls->journal); /* it is answered when that is durable */
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
    if (op->priv.plain)
        promise_journaled(ls, op);
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

void log_enqueue(struct log_body *lg, struct log_append *op, uint8_t kind)
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
    if (lg->durable_segment != op->priv.segment)
        writer_want(lg); /* the segment before it can be sealed */
    lg->durable_segment = op->priv.segment;
    lg->durable_position = op->priv.end;
    lg->log.durable_offset = op->last_offset + 1;
    log_flushed(lg, op->priv.segment, op->priv.end, op->priv.change);
    if (op->priv.kind == JOURNAL_EXTENT)
        tail_written(lg, op->priv.segment); /* it may have been there before it was flushed */
    promise_durable(lg, op);
    if (!op->priv.plain)
        lg->strict--;
}

static void log_commit_one(struct log_append *op)
{
    struct log_body *lg = log_body_of(op->priv.lg);
    bool plain = op->priv.plain;
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
    if ((lg->pending == 0 || plain) && !TAILQ_EMPTY(&lg->changes))
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
    promise_tell(ls);
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
    promise_behind(lg);
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

/* ---- the directory is offline ---- */

void log_fail_all(struct log_shard *ls)
{
    struct log_body *lg;
    struct log_appends failed = STAILQ_HEAD_INITIALIZER(failed);
    promise_fail(ls);
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
        if (is_append(op) && !op->priv.plain)
            lg->strict--;
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
