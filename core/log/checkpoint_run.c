/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints while the broker runs (what one says about a log: core/log/checkpoint.h).
 *
 * A checkpoint makes everything up to journal group `mark_seq` durable in the segments, notes it in
 * the checkpoint file and gives the journal space back. From its first moment on every log's next
 * record carries its block's prefix, so all that follows can be recovered from what follows.
 * Entries may describe more than the mark: the records behind it stay in the journal.
 */
#include "core/log/checkpoint_run.h"

#include "core/log/disk_room.h"
#include "core/log/log_change.h"
#include "core/log/log_private.h"

#define CHECKPOINT_LOG_BYTES (64ULL << 10)

/* ---- when, and what it says ---- */

/* A checkpoint costs a write and a flush for each log that it finds dirty, however little that has:
 * with thousands of them the journal becomes so long that each has something worth a write. */
static uint64_t journal_wanted(const struct log_shard *ls)
{
    return max_u64(JOURNAL_MAX, 2 * CHECKPOINT_LOG_BYTES * ls->checkpoint_logs);
}

void checkpoint_want(struct log_shard *ls)
{
    if (ls->offline)
        return;
    if (ls->step != CHECKPOINT_IDLE) {
        ls->checkpoint_again = true;
        return;
    }
    if (TAILQ_EMPTY(&ls->dirty) && STAILQ_EMPTY(&ls->queue) && TAILQ_EMPTY(&ls->journaling) &&
        TAILQ_EMPTY(&ls->batches) && ls->journal.used == 0)
        return;
    ls->has_time = io_now_ns(ls->io) - ls->checkpoint_began_ns >= CHECKPOINT_AFTER_NS;
    if (journal_half_full(&ls->journal))
        journal_grow(&ls->journal, journal_wanted(ls));
    ls->step = CHECKPOINT_MARKED;
    ls->checkpoint_again = false;
    ls->checkpoint_began_ns = io_now_ns(ls->io);
    ls->checkpoint_number++;
    ls->mark_seq = journal_mark(&ls->journal);
    timer_cancel(ls->sh, &ls->checkpoint_timer);
    log_shard_kick(ls);
}

void checkpoint_log_entry(const struct log_body *lg, struct checkpoint_entry *entry)
{
    /* The entry is only read from. */
    *entry = (struct checkpoint_entry){
        .id = lg->log.id,
        .incarnation = lg->incarnation,
        .change = lg->flushed_change,
        .deleted = lg->ended,
        .start_offset = lg->log.start_offset,
        .end_offset = lg->log.durable_offset,
        .end = {lg->durable_segment->base, lg->durable_position},
        .flushed = {lg->flushed_segment->base, lg->flushed_position},
        .sealed_count = lg->sealed_count,
        .sealed_bytes = lg->sealed_bytes,
        .anchor = log_anchor_of(&lg->durable_segment->anchors, lg->durable_position),
        .clean_upto = lg->clean_upto,
        .swap = lg->swap,
        .relaxed = lg->relaxed,
        .may_have_lost = lg->log.may_have_lost,
        .has_aborted = lg->aborted.count > 0,
        .epochs = (struct epoch_history *)(uintptr_t)&lg->epochs,
        .producers = lg->durable_producers != NULL
                         ? lg->durable_producers
                         : (struct producer_state *)(uintptr_t)&lg->producers,
    };
    memcpy(entry->topic, lg->log.topic, sizeof(entry->topic));
    if (io_mutation(lg->ls->io, "checkpoint.wrong_end") && entry->end.position >= FS_BLOCK) {
        entry->end.position -= FS_BLOCK;
        entry->flushed.position -= FS_BLOCK;
    }
    const struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->base >= lg->durable_segment->base)
            break;
        if (segment->sealed || segment->below)
            continue;
        entry->open = mem_realloc(entry->open, (entry->open_count + 1) * sizeof(entry->open[0]));
        entry->open[entry->open_count++] =
            (struct log_place){.segment_base = segment->base, .position = segment->size};
    }
}

static uint8_t *checkpoint_room(struct log_shard *ls, uint32_t need)
{
    struct checkpoint_batch *batch = TAILQ_LAST(&ls->batches, checkpoint_batches);
    if (batch == NULL || batch->size - batch->used < need) {
        batch = mem_zalloc(sizeof(*batch));
        batch->ls = ls;
        batch->size = (uint32_t)max_u64(need, batch == NULL ? 4096 : CHECKPOINT_BATCH_MAX / 8);
        batch->bytes = mem_alloc(batch->size);
        TAILQ_INSERT_TAIL(&ls->batches, batch, link);
    }
    return batch->bytes + batch->used;
}

static uint32_t checkpoint_put(uint8_t *at, uint32_t room, const struct checkpoint_entry *entry)
{
    struct bytes_out out = bytes_out_of(at + 4, room - 4);
    checkpoint_encode(entry, &out);
    must(!out.overrun);
    uint32_t length = (uint32_t)(out.at - at);
    out = bytes_out_of(at, 4);
    put_u32(&out, length - 4);
    return length;
}

void checkpoint_note(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    struct checkpoint_entry entry;
    checkpoint_log_entry(lg, &entry);
    uint32_t need = (uint32_t)checkpoint_encoded_size(&entry) + 4;
    uint8_t *at = checkpoint_room(ls, need);
    uint32_t length = checkpoint_put(at, need, &entry);
    TAILQ_LAST(&ls->batches, checkpoint_batches)->used += length;
    mem_free(entry.open);
    if (!entry.deleted || !lg->adopted)
        return;
    struct checkpoint_tombstones *dead = &ls->tombstones;
    if (dead->size - dead->used < length) {
        dead->size = (dead->size + length) * 2;
        dead->bytes = mem_realloc(dead->bytes, dead->size);
    }
    memcpy(dead->bytes + dead->used, at, length);
    dead->used += length;
}

/* ---- writing and syncing the logs of a checkpoint ---- */

static bool checkpoint_reached(const struct log_body *lg)
{
    const struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->written < writer_target(lg, segment))
            return false;
    }
    return true;
}

static void checkpoint_sync_next(struct log_body *lg);

static void checkpoint_log_done(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    lg->in_checkpoint = false;
    ls->syncs--;
    if (!lg->ended)
        checkpoint_note(lg);
    if (!TAILQ_EMPTY(&lg->changes))
        log_change_run(lg);
    checkpoint_run(ls);
}

static void checkpoint_on_sync(struct io_op *op)
{
    struct log_body *lg = container_of(op, struct log_body, sync_op);
    struct segment *segment = lg->syncing;
    lg->syncing = NULL;
    log_unuse(lg);
    segment_unuse(segment);
    if (op->res < 0 || lg->ls->offline) {
        lg->in_checkpoint = false;
        lg->ls->syncs--;
        if (op->res < 0)
            log_shard_fail(lg->ls, "flush a segment of", lg->log.topic, op->res);
        log_shard_progress(lg->ls);
        return;
    }
    lg->ls->moves++;
    checkpoint_sync_next(lg);
}

/* One flush for each segment: it begins after the checkpoint's bytes were written. What is written
 * during the flush makes the segment dirty again, for the next checkpoint; a log that is never left
 * alone would otherwise be flushed for ever. */
static void checkpoint_sync_next(struct log_body *lg)
{
    struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->base > lg->target.segment_base)
            break;
        if (segment->base <= lg->synced_base || !segment->dirty || segment->file < 0 ||
            io_mutation(lg->ls->io, "checkpoint.release_before_sync"))
            continue;
        segment->dirty = false;
        lg->synced_base = segment->base;
        lg->syncing = segment;
        lg->users++;
        segment_use(segment);
        lg->sync_op.done = checkpoint_on_sync;
        io_sync(lg->ls->io, &lg->sync_op, segment->file);
        return;
    }
    checkpoint_log_done(lg);
}

/* Called whenever a log may have reached its target. */
void checkpoint_log_written(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    if (!lg->in_checkpoint || lg->syncing != NULL || lg->reached || !checkpoint_reached(lg))
        return;
    lg->reached = true;
    TAILQ_REMOVE(&ls->checkpointing, lg, dirty_link);
    TAILQ_INSERT_TAIL(&ls->to_sync, lg, dirty_link);
    log_shard_kick(ls);
}

/* Under load all at once: they share one commit of the file system's own journal (12 files 4 to 8
 * ms; one after the other, each pays for a commit of its own, 2.5 ms). */
static void checkpoint_start_syncs(struct log_shard *ls)
{
    struct log_body *lg;
    uint32_t syncs_max = writer_has_time(ls) ? 1 : WRITE_SLOTS;
    while (ls->syncs < syncs_max && (lg = TAILQ_FIRST(&ls->to_sync)) != NULL) {
        TAILQ_REMOVE(&ls->to_sync, lg, dirty_link);
        ls->syncs++;
        if (lg->dirty_again)
            TAILQ_INSERT_TAIL(&ls->dirty, lg, dirty_link);
        lg->dirty = lg->dirty_again;
        lg->dirty_again = false;
        lg->listed = false;
        lg->synced_base = -1;
        checkpoint_sync_next(lg);
    }
}

static void checkpoint_take_logs(struct log_shard *ls)
{
    struct log_body *lg;
    TAILQ_CONCAT(&ls->checkpointing, &ls->dirty, dirty_link);
    ls->checkpoint_logs = 0;
    TAILQ_FOREACH (lg, &ls->checkpointing, dirty_link) {
        ls->checkpoint_logs++;
        lg->listed = true;
        lg->dirty = false;
        lg->dirty_again = false;
        lg->in_checkpoint = true;
        lg->reached = false;
        lg->target = (struct log_place){lg->flushed_segment->base, lg->flushed_position};
        if (lg->state == LOG_DEAD)
            lg->target = (struct log_place){-1, 0};
        writer_want(lg);
    }
    /* Logs that have nothing to write are never picked by the writer. */
    struct log_body *next;
    for (lg = TAILQ_FIRST(&ls->checkpointing); lg != NULL; lg = next) {
        next = TAILQ_NEXT(lg, dirty_link);
        checkpoint_log_written(lg);
    }
}

/* ---- noting and releasing ---- */

static void checkpoint_on_append(struct record_append *append)
{
    struct checkpoint_batch *batch = container_of(append, struct checkpoint_batch, append);
    struct log_shard *ls = batch->ls;
    bool failed = append->failed;
    mem_free(batch->bytes);
    mem_free(batch);
    ls->batches_pending--;
    if (failed)
        log_shard_fail(ls, "append to", ls->checkpoints.path, 0);
    checkpoint_run(ls);
    log_shard_progress(ls);
}

static void checkpoint_append(struct log_shard *ls)
{
    struct checkpoint_batch *batch;
    while ((batch = TAILQ_FIRST(&ls->batches)) != NULL) {
        TAILQ_REMOVE(&ls->batches, batch, link);
        ls->batches_pending++;
        batch->append.payload =
            (struct record_payload){.data = batch->bytes, .length = batch->used};
        batch->append.done = checkpoint_on_append;
        record_file_append(&ls->checkpoints, ls->io, &batch->append);
    }
}

static void checkpoint_on_rewrite(struct record_rewrite *rewrite)
{
    struct log_shard *ls = container_of(rewrite, struct log_shard, rewrite);
    for (uint32_t i = 0; i < rewrite->count; i++)
        mem_free(ls->rewrite_buffers[i]);
    mem_free(ls->rewrite_buffers);
    mem_free(ls->rewrite_payloads);
    ls->rewrite_buffers = NULL;
    ls->rewrite_payloads = NULL;
    ls->rewriting = false;
    ls->live_bytes = ls->checkpoints.position;
    if (rewrite->failed)
        log_shard_fail(ls, "rewrite", ls->checkpoints.path, 0);
    log_shard_progress(ls);
}

/* All logs of the shard anew, when the file is more than twice that and an eighth of the journal.
 */
static void checkpoint_compact(struct log_shard *ls)
{
    if (ls->rewriting ||
        ls->checkpoints.position <
            2 * ls->live_bytes + min_u64(ls->journal.sb.length / 8, CHECKPOINT_SLACK))
        return;
    uint32_t count = ls->log_count + 1;
    ls->rewrite_payloads = mem_zalloc(count * sizeof(ls->rewrite_payloads[0]));
    ls->rewrite_buffers = mem_zalloc(count * sizeof(ls->rewrite_buffers[0]));
    uint8_t *bytes = NULL;
    uint32_t size = 0;
    uint32_t used = 0;
    count = 0;
    struct log_body *lg;
    TAILQ_FOREACH (lg, &ls->logs, all_link) {
        /* Change 0: its birth is on its way to the journal, which alone may tell of it. */
        if (lg->ended ||
            (lg->flushed_change == 0 && !io_mutation(ls->io, "checkpoint.unborn_noted")))
            continue;
        struct checkpoint_entry entry;
        checkpoint_log_entry(lg, &entry);
        uint32_t need = (uint32_t)checkpoint_encoded_size(&entry) + 4;
        if (size - used < need) {
            size = (uint32_t)max_u64(need, CHECKPOINT_BATCH_MAX);
            used = 0;
            bytes = mem_alloc(size);
            ls->rewrite_buffers[count] = bytes;
            ls->rewrite_payloads[count++].data = bytes;
        }
        used += checkpoint_put(bytes + used, need, &entry);
        ls->rewrite_payloads[count - 1].length = used;
        mem_free(entry.open);
    }
    if (ls->tombstones.used > 0) {
        ls->rewrite_buffers[count] = mem_alloc(ls->tombstones.used);
        memcpy(ls->rewrite_buffers[count], ls->tombstones.bytes, ls->tombstones.used);
        ls->rewrite_payloads[count].data = ls->rewrite_buffers[count];
        ls->rewrite_payloads[count++].length = (uint32_t)ls->tombstones.used;
    }
    ls->rewriting = true;
    ls->rewrite.payloads = ls->rewrite_payloads;
    ls->rewrite.count = count;
    ls->rewrite.nonce = io_random(ls->io);
    ls->rewrite.done = checkpoint_on_rewrite;
    record_file_rewrite(&ls->checkpoints, ls->io, &ls->rewrite);
}

void checkpoint_on_release(struct log_shard *ls)
{
    if (ls->step != CHECKPOINT_RELEASING || ls->offline ||
        ls->journal.sb.released_seq != ls->mark_seq + 1)
        return;
    ls->step = CHECKPOINT_IDLE;
    ls->released_number = ls->checkpoint_number;
    count_up(&ls->counts.checkpoints, 1);
    count_set(&ls->counts.checkpoint_ns_last, io_now_ns(ls->io) - ls->checkpoint_began_ns);
    checkpoint_compact(ls);
    disk_room_written(ls);
    if (!TAILQ_EMPTY(&ls->dirty) && !timer_is_set(&ls->checkpoint_timer) && !ls->stopping)
        timer_set(ls->sh, &ls->checkpoint_timer, io_now_ns(ls->io) + CHECKPOINT_AFTER_NS);
    if (ls->checkpoint_again || ls->journal.starved)
        checkpoint_want(ls);
    log_journal_fill(ls);
}

void checkpoint_run(struct log_shard *ls)
{
    if (ls->offline)
        return;
    if (ls->step == CHECKPOINT_MARKED && ls->journal.acked_seq >= ls->mark_seq &&
        !bypass_waits(ls, ls->mark_seq)) {
        ls->step = CHECKPOINT_WRITING;
        checkpoint_take_logs(ls);
    }
    if (ls->step == CHECKPOINT_WRITING) {
        checkpoint_start_syncs(ls);
        if (ls->step != CHECKPOINT_WRITING || ls->syncs > 0 || !TAILQ_EMPTY(&ls->checkpointing) ||
            !TAILQ_EMPTY(&ls->to_sync))
            return;
        ls->step = CHECKPOINT_NOTING;
        checkpoint_append(ls);
    }
    if (ls->step == CHECKPOINT_NOTING && ls->batches_pending == 0 && !ls->offline) {
        ls->step = CHECKPOINT_RELEASING;
        journal_release(&ls->journal, ls->checkpoints.next_seq - 1, false);
    }
}

void checkpoint_fini(struct log_shard *ls)
{
    struct checkpoint_batch *batch;
    while ((batch = TAILQ_FIRST(&ls->batches)) != NULL) {
        TAILQ_REMOVE(&ls->batches, batch, link);
        mem_free(batch->bytes);
        mem_free(batch);
    }
    mem_free(ls->tombstones.bytes);
}
