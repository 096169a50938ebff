/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of a log that are no appends: birth, truncation, a new log start, deletion. Each is a
 * record in the journal like an append, and takes effect when that is durable. They run one at a
 * time per log; truncation, reset and deletion first wait until nothing of the log is on its way
 * (truncation and reset until all is in the files, too), a new start waits for nothing.
 */
#include "core/log/log_change.h"

#include "core/log/file_job.h"
#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/log/log_swap.h"
#include "core/log/promise.h"
#include "core/log/read_ahead.h"
#include "core/log/segment_index.h"

#include <errno.h>

/* ---- birth and end ---- */

struct log_body *log_body_new(struct log_shard *ls, const struct log_id *id, const char *topic,
                              const struct log_config *config)
{
    must(strlen(topic) <= LOG_TOPIC_MAX && id->partition >= 0);
    struct log_body *lg = mem_zalloc(sizeof(*lg));
    lg->ls = ls;
    lg->log.id = *id;
    lg->log.home = ls;
    lg->log.leader_epoch = -1;
    lg->log.first_unstable_offset = -1;
    memcpy(lg->log.topic, topic, strlen(topic));
    lg->config = *config;
    TAILQ_INIT(&lg->segments);
    TAILQ_INIT(&lg->replaced);
    TAILQ_INIT(&lg->blocks);
    TAILQ_INIT(&lg->changes);
    STAILQ_INIT(&lg->unjournaled);
    STAILQ_INIT(&lg->behind);
    STAILQ_INIT(&lg->asked_behind);
    log_marks_clear(lg);
    TAILQ_INSERT_TAIL(&ls->logs, lg, all_link);
    ls->log_count++;
    return lg;
}

struct log *log_new(struct log_shard *ls, const struct log_id *id, const char *topic,
                    const struct log_config *config, int64_t start_offset)
{
    must(log_at_home(ls));
    struct log_body *lg = log_body_new(ls, id, topic, config);
    lg->incarnation = (uint32_t)io_random(ls->io) | 1U;
    producer_state_init(&lg->producers, io_random(ls->io));
    lg->log.start_offset = start_offset;
    lg->clean_upto = start_offset;
    lg->log.durable_offset = start_offset;
    lg->log.end_offset = start_offset;
    lg->active = segment_new(lg, start_offset);
    lg->flushed_segment = lg->active;
    lg->durable_segment = lg->active;
    promise_reset(lg, lg->active, 0, start_offset);
    if (!ls->offline && !ls->stopping)
        log_queue_record(lg, &lg->birth, JOURNAL_CHECKPOINT);
    promise_mode_run(lg);
    return &lg->log;
}

void log_configure(struct log *log, const struct log_config *config)
{
    struct log_body *lg = log_body_of(log);
    lg->config = *config;
    promise_mode_run(lg);
}

void log_free(struct log *log)
{
    struct log_body *lg = log_body_of(log);
    struct log_shard *ls = lg->ls;
    must(lg->pending == 0 && lg->waiting == 0 && lg->users == 0 && !lg->moved);
    must(!lg->listed || ls->offline);
    writer_forget(lg);
    log_sweep_forget(lg);
    promise_forget(lg);
    tail_drop_all(lg);
    struct segment *segment;
    while ((segment = TAILQ_FIRST(&lg->segments)) != NULL ||
           (segment = TAILQ_FIRST(&lg->replaced)) != NULL)
        segment_doom(segment);
    epoch_fini(&lg->epochs);
    producer_state_fini(&lg->producers);
    aborted_fini(&lg->aborted);
    TAILQ_REMOVE(&ls->logs, lg, all_link);
    ls->log_count--;
    mem_free(lg);
}

/* ---- the queue of changes ---- */

void log_change_finish(struct log_body *lg, struct log_change *change, enum log_verdict verdict)
{
    must(TAILQ_FIRST(&lg->changes) == change);
    TAILQ_REMOVE(&lg->changes, change, priv.link);
    if (lg->state == LOG_TRUNCATING) {
        must(lg->ls->truncating > 0);
        lg->ls->truncating--;
        lg->state = LOG_LIVE;
        writer_want(lg); /* what was not written or sealed meanwhile */
    }
    change->verdict = verdict;
    log_shard_kick(lg->ls);
    change->done(change);
}

void log_change_soon(struct log_body *lg)
{
    if (TAILQ_EMPTY(&lg->changes) || lg->change_listed)
        return;
    lg->change_listed = true;
    TAILQ_INSERT_TAIL(&lg->ls->changing, lg, change_link);
    log_shard_kick(lg->ls);
}

static void change_add(struct log *log, struct log_change *change, enum journal_kind kind,
                       int64_t offset)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls));
    change->priv.kind = (uint8_t)kind;
    change->priv.step = CHANGE_ASKED;
    change->priv.offset = offset;
    TAILQ_INSERT_TAIL(&lg->changes, change, priv.link);
    if (lg->pending > 0 && lg->relaxed && !lg->ls->offline)
        journal_want(&lg->ls->journal); /* it waits for what is not durable */
    log_change_soon(lg);                /* done() must not run inside the call */
}

void log_truncate(struct log *lg, struct log_change *change, int64_t offset)
{
    change_add(lg, change, JOURNAL_TRUNCATE, offset);
}

void log_start_set(struct log *lg, struct log_change *change, int64_t offset)
{
    change_add(lg, change, JOURNAL_LOG_START, offset);
}

void log_reset(struct log *lg, struct log_change *change, int64_t offset)
{
    must(offset >= 0);
    change_add(lg, change, JOURNAL_RESET, offset);
}

void log_swap(struct log *lg, struct log_change *change, const struct log_swap *swap)
{
    change->priv.swap = swap;
    change_add(lg, change, JOURNAL_SWAP, 0);
}

void log_delete(struct log *lg, struct log_change *change)
{
    change_add(lg, change, JOURNAL_DELETE, 0);
}

void log_unuse(struct log_body *lg)
{
    must(lg->users > 0);
    lg->users--;
    log_change_soon(lg);
}

static bool log_at_rest(const struct log_body *lg)
{
    const struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->job != NULL)
            return false; /* it may be about to be called sealed */
    }
    return lg->pending == 0 && !lg->writing && lg->syncing == NULL && !lg->listed &&
           !lg->in_checkpoint && !lg->loading;
}

/* ---- removing segments ---- */

static void change_on_unlinked(struct file_job *job)
{
    struct log_body *lg = job->lg;
    if (job->result < 0)
        log_shard_fail(job->ls, "remove a segment of", job->directory, job->result);
    count_up(&job->ls->counts.segments_recycled, job->recycled);
    if (--lg->unlinks == 0)
        log_change_run(lg);
}

void log_discount_segment(struct log_body *lg, struct segment *segment)
{
    if (segment->sealed) {
        lg->sealed_count--;
        lg->sealed_bytes -= segment->size;
    }
    lg->log.size_bytes -= segment->size;
}

void log_remove_segment(struct log_body *lg, struct segment *segment)
{
    struct tail_block *block;
    struct tail_block *next;
    for (block = TAILQ_FIRST(&lg->blocks); block != NULL; block = next) {
        next = TAILQ_NEXT(block, link);
        if (block->segment == segment)
            tail_drop(lg->ls, block);
    }
    struct file_job *job = file_job_new(lg->ls, JOB_UNLINK, lg, NULL, change_on_unlinked);
    job->base = segment->base;
    job->replaced = segment->replaced ? segment->version : 0;
    /* Who reads it has it by number or by name, and would read what comes next into the file. */
    if (segment->io == 0 && lg->read_by_name == 0)
        file_job_may_recycle(job);
    lg->unlinks++;
    segment_doom(segment);
    file_job_start(job);
}

/* ---- truncation ---- */

static void truncate_apply(struct log_body *lg, const struct log_change *change)
{
    const struct log_append *record = &change->priv.record;
    int64_t offset = record->base_offset;
    struct segment *segment = segment_by_base(lg, record->last_offset);
    uint32_t position = record->priv.end;
    segment->version = ++lg->versions; /* places in it may mean other bytes from now on */
    lg->active = segment;
    lg->flushed_segment = segment;
    lg->durable_segment = segment;
    lg->flushed_position = position;
    lg->durable_position = position;
    struct segment *last;
    while ((last = TAILQ_LAST(&lg->segments, segments)) != segment) {
        log_discount_segment(lg, last);
        log_remove_segment(lg, last);
    }
    tail_rewind(lg, segment, position);
    if (segment->sealed) {
        lg->sealed_count--;
        lg->sealed_bytes -= segment->size;
    }
    lg->log.size_bytes -= segment->size - position;
    segment->sealed = false;
    segment->closed = false;
    segment->size = position;
    segment->end_offset = offset;
    if (position == 0)
        segment->first_timestamp = -1;
    segment->written = (uint32_t)min_u64(segment->written, position);
    bypass_cut(segment, position);
    if (!io_mutation(lg->ls->io, "read_ahead.outlives_a_cut"))
        read_ahead_drop(segment);
    log_anchors_cut(&segment->anchors, position);
    mem_free(segment->damage);
    segment->damage = NULL;
    segment_index_cut(segment, position);
    if (lg->in_checkpoint && lg->target.segment_base >= segment->base)
        lg->target = (struct log_place){segment->base, position};
    lg->prefix_number = 0; /* the next append rewrites the block at the new end */
    lg->log.end_offset = offset;
    lg->log.durable_offset = offset;
    promise_reset(lg, segment, position, offset);
    lg->clean_upto = min_i64(lg->clean_upto, offset);
    epoch_truncate_end(&lg->epochs, offset);
    producer_truncate(&lg->producers, offset);
    lg->log.leader_epoch = epoch_latest(&lg->epochs);
    log_marks_clear(lg);
}

static void truncate_on_found(struct log_find *find)
{
    struct log_change *change = find->user;
    change->priv.step = CHANGE_FOUND;
    log_change_run(log_body_of(find->priv.lg));
}

/* Until its end the writer hurries: appends to this log wait, and so may a follower's leader. */
static void truncation_begin(struct log_body *lg)
{
    if (lg->state == LOG_TRUNCATING)
        return;
    lg->state = LOG_TRUNCATING;
    lg->ls->truncating++;
    log_shard_kick(lg->ls); /* the writer may be resting */
}

static void truncate_run(struct log_body *lg, struct log_change *change)
{
    struct log_find *find = &change->priv.find;
    struct log_append *record = &change->priv.record;
    if (change->priv.step == CHANGE_ASKED) {
        truncation_begin(lg);
        /* All is written first: the record may have to wait for journal space, that for a
         * checkpoint, and that for what is not written. From here on there is nothing to write. */
        if (!log_at_rest(lg) || !writer_is_done(lg))
            return;
        if (change->priv.offset >= lg->log.end_offset) {
            log_change_finish(
                lg, change, change->priv.offset == lg->log.end_offset ? LOG_OK : LOG_OUT_OF_RANGE);
            return;
        }
        *find = (struct log_find){.offset = change->priv.offset,
                                  .upto_offset = lg->log.end_offset,
                                  .done = truncate_on_found,
                                  .user = change};
        change->priv.step = CHANGE_FINDING;
        if (log_find_inside(lg, find))
            change->priv.step = CHANGE_FOUND;
    }
    if (change->priv.step == CHANGE_UNLINKING) {
        if (lg->unlinks == 0)
            log_change_finish(lg, change, LOG_OK);
        return;
    }
    if (change->priv.step != CHANGE_FOUND)
        return;
    if (find->verdict != LOG_OK || find->range.base_offset != change->priv.offset) {
        log_change_finish(lg, change, find->verdict != LOG_OK ? find->verdict : LOG_OUT_OF_RANGE);
        return;
    }
    record->base_offset = change->priv.offset;
    record->last_offset = find->range.segment_base;
    record->priv.end = find->range.position;
    change->priv.step = CHANGE_QUEUED;
    log_queue_record(lg, record, JOURNAL_TRUNCATE);
}

/* ---- reset ----
 *
 * A truncation that leaves not even the segment where the log ends: the new one may have the name
 * of an old one, so the change lasts until the old files are gone. */

static void reset_apply(struct log_body *lg, int64_t offset)
{
    struct segment *segment;
    while ((segment = TAILQ_FIRST(&lg->segments)) != NULL) {
        if (!segment->below)
            log_discount_segment(lg, segment);
        log_remove_segment(lg, segment);
    }
    lg->tail = NULL;
    lg->active = segment_new(lg, offset);
    lg->flushed_segment = lg->active;
    lg->durable_segment = lg->active;
    lg->flushed_position = 0;
    lg->durable_position = 0;
    lg->target = (struct log_place){-1, 0}; /* a checkpoint has nothing to write */
    lg->prefix_number = 0;
    lg->log.start_offset = offset;
    lg->log.end_offset = offset;
    lg->log.durable_offset = offset;
    promise_reset(lg, lg->active, 0, offset);
    lg->clean_upto = offset;
    epoch_truncate_end(&lg->epochs, 0);
    producer_truncate(&lg->producers, 0);
    if (lg->durable_producers != NULL)
        producer_truncate(lg->durable_producers, 0);
    lg->log.leader_epoch = -1;
    log_marks_clear(lg);
}

static void reset_run(struct log_body *lg, struct log_change *change)
{
    if (change->priv.step == CHANGE_ASKED) {
        truncation_begin(lg);
        if (!log_at_rest(lg) || !writer_is_done(lg)) /* as for a truncation */
            return;
        change->priv.record.base_offset = change->priv.offset;
        change->priv.step = CHANGE_QUEUED;
        log_queue_record(lg, &change->priv.record, JOURNAL_RESET);
        return;
    }
    if (change->priv.step != CHANGE_UNLINKING)
        return;
    if (lg->unlinks == 0 || io_mutation(lg->ls->io, "log.reset_with_old_files"))
        log_change_finish(lg, change, LOG_OK);
}

/* ---- deletion ----
 *
 * Until its record is durable the log may have to live again, so checkpoints go on writing it as
 * any other: one that is running waits for it, and the deletion waits for that checkpoint. */

static void delete_on_removed(struct file_job *job)
{
    struct log_body *lg = job->lg;
    struct log_change *change = TAILQ_FIRST(&lg->changes);
    if (job->result == -ENOSPC && !lg->ls->stopping) {
        log_directory_later(lg);
        return;
    }
    /* A directory that stays would keep out the next log of this name. During a stop there is none,
     * and the next start removes it. */
    if (job->result < 0 && job->result != -ENOSPC)
        log_shard_fail(job->ls, job->verb, job->directory, job->result);
    job->lg = NULL; /* the log may be freed inside done() */
    lg->users--;
    if (lg->change_listed)
        TAILQ_REMOVE(&lg->ls->changing, lg, change_link);
    lg->change_listed = false;
    log_change_finish(lg, change, LOG_OK);
}

void log_remove_directory(struct log_body *lg)
{
    struct file_job *job = file_job_new(lg->ls, JOB_REMOVE, lg, NULL, delete_on_removed);
    if (lg->read_by_name == 0)
        file_job_may_recycle(job);
    file_job_start(job);
}

/* Noted at the very moment it is durable: the checkpoint that releases its record may be the one
 * that runs now, and the files go only later, when nothing of the log is under way. */
static void log_end(struct log_body *lg)
{
    lg->ended = true;
    checkpoint_note(lg);
}

static void delete_run(struct log_body *lg, struct log_change *change)
{
    if (change->priv.step == CHANGE_ASKED) {
        lg->state = LOG_DELETING;
        log_retry_waiting(lg->ls); /* ends what waits */
        if (!log_at_rest(lg) || lg->users > 0)
            return;
        change->priv.step = CHANGE_QUEUED;
        log_queue_record(lg, &change->priv.record, JOURNAL_DELETE);
        return;
    }
    if (change->priv.step != CHANGE_DURABLE || !log_at_rest(lg) || lg->users > 0)
        return;
    change->priv.step = CHANGE_FOUND;
    lg->state = LOG_DEAD;
    if (!lg->ended)
        log_end(lg);
    writer_forget(lg);
    log_sweep_forget(lg);
    log_remove_directory(lg);
}

/* ---- driving ---- */

void log_change_durable(struct log_body *lg, struct log_append *record)
{
    if (record == &lg->birth || lg->ls->offline)
        return; /* offline: log_fail_all() ends the change */
    if (record == &lg->mode_record) {
        promise_mode_durable(lg);
        return;
    }
    struct log_change *change = container_of(record, struct log_change, priv.record);
    change->priv.step = CHANGE_DURABLE;
    if (change->priv.kind == JOURNAL_SWAP) {
        swap_durable(lg, change);
        return;
    }
    if (change->priv.kind == JOURNAL_DELETE) {
        if (!io_mutation(lg->ls->io, "checkpoint.death_noted_late"))
            log_end(lg);
        return; /* log_change_run() goes on */
    }
    if (change->priv.kind == JOURNAL_LOG_START) {
        log_start_apply(lg, change);
        log_change_finish(lg, change, LOG_OK);
        return;
    }
    if (change->priv.kind == JOURNAL_RESET) {
        reset_apply(lg, change->priv.record.base_offset);
        change->priv.step = CHANGE_UNLINKING;
        reset_run(lg, change);
        return;
    }
    truncate_apply(lg, change);
    /* The log may come to have other segments of these names, or at both sides of them. */
    change->priv.step = CHANGE_UNLINKING;
    truncate_run(lg, change);
}

void log_change_run(struct log_body *lg)
{
    struct log_change *change;
    struct log_change *last = NULL;
    while ((change = TAILQ_FIRST(&lg->changes)) != NULL && change != last) {
        last = change;
        if (lg->ls->offline && lg->users == 0 && lg->pending == 0) {
            bool deletion = change->priv.kind == JOURNAL_DELETE;
            log_change_finish(lg, change, LOG_OFFLINE);
            if (deletion)
                return; /* the log may be gone */
        } else if (lg->ls->offline) {
            return;
        } else if (lg->state == LOG_DELETING && change->priv.kind != JOURNAL_DELETE) {
            log_change_finish(lg, change, LOG_CLOSED);
        } else if (change->priv.kind == JOURNAL_TRUNCATE) {
            truncate_run(lg, change);
        } else if (change->priv.kind == JOURNAL_RESET) {
            reset_run(lg, change);
        } else if (change->priv.kind == JOURNAL_LOG_START) {
            log_start_run(lg, change);
        } else if (change->priv.kind == JOURNAL_SWAP) {
            swap_run(lg, change);
        } else {
            delete_run(lg, change);
            return; /* the log may be gone */
        }
    }
}
