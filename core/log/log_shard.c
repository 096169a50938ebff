/* SPDX-License-Identifier: Apache-2.0
 *
 * A shard's part of a log directory: it starts with what recovery left, does its background work at
 * the end of each turn, goes offline at the first failed write, and stops cleanly.
 *
 * Failure is final and of the whole directory: the shard that sees it tells the others by mail (one
 * mail per pair, kept ready, so that telling cannot fail).
 */
#include "core/log/disk_room.h"
#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_commit.h"
#include "core/log/log_dir_private.h"
#include "core/log/log_private.h"
#include "core/log/log_read.h"
#include "core/log/promise.h"
#include "core/log/segment_index.h"
#include "io/diag.h"

#include <assert.h>
#include <stdio.h>

#define STOP_STALL_NS 10000000000ULL

/* ---- the end of the turn ---- */

static void log_shard_stop_step(struct log_shard *ls);

void log_shard_kick(struct log_shard *ls)
{
    if (!ls->stopped)
        shard_at_end(ls->sh, &ls->end_task);
}

void log_shard_progress(struct log_shard *ls)
{
    if (ls->stopping)
        log_shard_kick(ls);
}

static void log_shard_ready(struct log_shard *ls)
{
    struct log_append *op;
    while ((op = STAILQ_FIRST(&ls->ready)) != NULL) {
        STAILQ_REMOVE_HEAD(&ls->ready, priv.link);
        struct log_body *lg = log_body_of(op->priv.lg);
        if (--lg->pending == 0)
            log_change_soon(lg);
        op->verdict = LOG_OK;
        op->done(op);
    }
}

static void log_shard_changes(struct log_shard *ls)
{
    struct log_body *lg;
    while ((lg = TAILQ_FIRST(&ls->changing)) != NULL) {
        TAILQ_REMOVE(&ls->changing, lg, change_link);
        lg->change_listed = false;
        log_change_run(lg);
    }
}

static void log_shard_relieve(struct log_shard *ls)
{
    /* Appends wait for memory: whatever is flushed is written, and a checkpoint frees the rest. */
    struct log_body *lg;
    TAILQ_FOREACH (lg, &ls->dirty, dirty_link)
        writer_want(lg);
    journal_want(&ls->journal);
    checkpoint_want(ls);
}

static void log_shard_at_end(struct shard *sh, struct task *task)
{
    struct log_shard *ls = container_of(task, struct log_shard, end_task);
    (void)sh;
    log_shard_ready(ls);
    log_shard_changes(ls);
    if (!STAILQ_EMPTY(&ls->waiting))
        log_retry_waiting(ls);
    promise_run(ls);
    if (ls->pressure && ls->waiting_memory > 0 && !ls->offline)
        log_shard_relieve(ls);
    ls->pressure = ls->waiting_memory > 0;
    if (ls->step != CHECKPOINT_IDLE)
        checkpoint_run(ls);
    bypass_run(ls);
    writer_run(ls);
    if (ls->step == CHECKPOINT_WRITING)
        checkpoint_run(ls);
    if (ls->reads_again || ls->offline)
        log_read_run(ls);
    if (!ls->offline)
        journal_flush(&ls->journal);
    if (io_mutation(ls->io, "journal.ack_before_flush"))
        log_on_commit(ls, ls->journal.submitted_seq);
    if (ls->journal.starved)
        checkpoint_want(ls); /* a small journal may be full for a group before it is half full */
    if (ls->stopping)
        log_shard_stop_step(ls);
}

static void log_shard_on_checkpoint_timer(struct shard *sh, struct timer *timer)
{
    struct log_shard *ls = container_of(timer, struct log_shard, checkpoint_timer);
    (void)sh;
    checkpoint_want(ls);
}

/* The writer goes on. */
static void log_shard_on_write_timer(struct shard *sh, struct timer *timer)
{
    (void)sh;
    log_shard_kick(container_of(timer, struct log_shard, write_timer));
}

/* ---- failure ---- */

static void log_shard_go_offline(struct log_shard *ls, const char *reason)
{
    if (ls->offline)
        return;
    ls->offline = true;
    ls->journal.failed = true;
    diag_error(ls->sh, "log.directory_offline", "dir=%s logs=%u reason=%s", ls->dir->path,
               ls->log_count, reason);
    (void)snprintf(ls->reason, sizeof(ls->reason), "%s", reason);
    log_fail_all(ls);
    if (ls->on_offline != NULL)
        ls->on_offline(ls->on_offline_argument);
    log_shard_kick(ls);
}

static void log_shard_on_mail(struct shard *here, struct mail *mail)
{
    struct log_offline_mail *told = container_of(mail, struct log_offline_mail, mail);
    struct log_shard *ls = told->dir->priv->shards[here->id].ls;
    if (ls != NULL)
        log_shard_go_offline(ls, told->reason);
}

void log_shard_fail(struct log_shard *ls, const char *verb, const char *path, int64_t result)
{
    if (ls->offline)
        return;
    struct log_error error;
    (void)log_refuse_io(&error, verb, path, result);
    struct log_dir_shard *part = &ls->dir->priv->shards[ls->sh->id];
    for (uint16_t i = 0; i < ls->sh->count; i++) {
        struct log_offline_mail *told = &part->mails[i];
        if (i == ls->sh->id)
            continue;
        told->dir = ls->dir;
        (void)snprintf(told->reason, sizeof(told->reason), "%.511s", error.text);
        shard_post(ls->sh, i, &told->mail, log_shard_on_mail);
    }
    log_shard_go_offline(ls, error.text);
}

static void log_shard_on_stall_timer(struct shard *sh, struct timer *timer)
{
    struct log_shard *ls = container_of(timer, struct log_shard, stall_timer);
    if (ls->moves == ls->moves_seen && !ls->offline) {
        diag_warn(sh, "log.stop_stalled", "dir=%s stalled_ms=%llu next_start=recovers",
                  ls->dir->path, STOP_STALL_NS / 1000000);
        log_shard_go_offline(ls, "the stop did not come on");
    }
    log_shard_hurry(ls);
}

void log_shard_hurry(struct log_shard *ls)
{
    ls->moves_seen = ls->moves;
    timer_set(ls->sh, &ls->stall_timer, io_now_ns(ls->io) + STOP_STALL_NS);
}

static void log_shard_on_written(struct journal *journal, uint64_t seq)
{
    promise_on_written(journal->user, seq);
}

static void log_shard_on_commit(struct journal *journal, uint64_t seq)
{
    struct log_shard *ls = journal->user;
    ls->moves++;
    log_on_commit(ls, seq);
    if (ls->mistaken != NULL && !ls->mistaken->offline)
        log_on_commit(ls->mistaken, ls->mistaken->last_seq);
}

void log_shard_mistake(struct log_shard *ls, struct log_shard *other)
{
    ls->mistaken = other;
}

static void log_shard_on_release(struct journal *journal)
{
    struct log_shard *ls = journal->user;
    ls->moves++;
    checkpoint_on_release(ls);
    log_shard_progress(ls);
}

static void log_shard_on_failure(struct journal *journal, const char *verb, int64_t result)
{
    log_shard_fail(journal->user, verb, journal->path, result);
}

/* ---- start ---- */

struct log_shard *log_shard_start(struct log_dir *dir, struct shard *sh)
{
    struct log_shard *ls = mem_zalloc(sizeof(*ls));
    struct log_dir_shard *part = &dir->priv->shards[sh->id];
    const struct log_dir_options *options = &dir->options;
    part->ls = ls;
    ls->dir = dir;
    ls->sh = sh;
    ls->io = sh->io;
    ls->fs = io_fs(sh->io);
    uint64_t journal_max =
        min_u64(JOURNAL_MANY_MAX, round_down(options->tail_bytes / 2, JOURNAL_STEP));
    journal_start(&ls->journal, ls->io, ls->fs, part->journal_path, part->journal_file, dir->uuid,
                  &part->sb, max_u64(journal_max, part->sb.length));
    ls->journal.on_written = log_shard_on_written;
    ls->journal.on_commit = log_shard_on_commit;
    ls->journal.on_release = log_shard_on_release;
    ls->journal.on_failure = log_shard_on_failure;
    ls->journal.user = ls;
    ls->checkpoints = part->checkpoints;
    STAILQ_INIT(&ls->checkpoints.queue);
    ls->live_bytes = ls->checkpoints.position;
    ls->checkpoint_number = 1;
    ls->released_number = 1;
    TAILQ_INIT(&ls->logs);
    STAILQ_INIT(&ls->queue);
    TAILQ_INIT(&ls->journaling);
    STAILQ_INIT(&ls->ready);
    STAILQ_INIT(&ls->promised);
    STAILQ_INIT(&ls->asked);
    STAILQ_INIT(&ls->stand_ins);
    STAILQ_INIT(&ls->waiting);
    TAILQ_INIT(&ls->moved);
    TAILQ_INIT(&ls->opens);
    TAILQ_INIT(&ls->changing);
    TAILQ_INIT(&ls->sweeping);
    TAILQ_INIT(&ls->pins_waiting);
    TAILQ_INIT(&ls->read_chunks);
    TAILQ_INIT(&ls->finds_waiting);
    TAILQ_INIT(&ls->writes_free);
    TAILQ_INIT(&ls->write_queue);
    TAILQ_INIT(&ls->dirty);
    TAILQ_INIT(&ls->files);
    TAILQ_INIT(&ls->checkpointing);
    TAILQ_INIT(&ls->to_sync);
    TAILQ_INIT(&ls->batches);
    TAILQ_INIT(&ls->pieces_free);
    TAILQ_INIT(&ls->bypass_line);
    TAILQ_INIT(&ls->bypass_flights);
    tail_init(ls);
    for (unsigned i = 0; i < BYPASS_PIECES; i++) {
        ls->pieces[i].ls = ls;
        TAILQ_INSERT_TAIL(&ls->pieces_free, &ls->pieces[i], link);
    }
    for (unsigned i = 0; i < WRITE_SLOTS; i++) {
        ls->writes[i].ls = ls;
        ls->writes[i].page = mem_pages(FS_BLOCK);
        TAILQ_INSERT_TAIL(&ls->writes_free, &ls->writes[i], link);
    }
    ls->end_task = (struct task){.fn = log_shard_at_end, .name = "log.end_of_turn"};
    ls->checkpoint_timer =
        (struct timer){.fn = log_shard_on_checkpoint_timer, .name = "log.checkpoint"};
    ls->write_timer = (struct timer){.fn = log_shard_on_write_timer, .name = "log.write"};
    ls->sweep_timer = (struct timer){.fn = log_on_sweep_timer, .name = "log.sweep"};
    ls->directory_timer = (struct timer){.fn = log_on_directory_timer, .name = "log.directory"};
    ls->flush_timer = (struct timer){.fn = promise_on_flush_timer, .name = "log.flush"};
    ls->stall_timer = (struct timer){.fn = log_shard_on_stall_timer, .name = "log.stall"};
    disk_room_start(ls);
    return ls;
}

/* ---- stop ----
 *
 * Everything durable goes to the segments by checkpoints until none is dirty; then files are cut to
 * their data and indexed; then the journal says "clean". Each completion asks for the end of the
 * turn (log_shard_progress), and that takes the next step when the one before is done. */

static bool log_shard_in_flight(const struct log_shard *ls)
{
    return ls->journal.in_flight > 0 || ls->journal.sb_busy || ls->journal.sync_busy ||
           ls->journal.growing || ls->writes_busy > 0 || bypass_busy(ls) || ls->syncs > 0 ||
           ls->jobs > 0 || ls->checkpoints.busy || ls->rewriting || ls->batches_pending > 0;
}

static void log_shard_on_cut(struct file_job *job)
{
    if (job->result < 0) {
        log_shard_fail(job->ls, job->verb, job->directory, job->result);
        return;
    }
    job->segment->cut = true;
    job->segment->allocated = job->segment->size;
}

/* True when a file still has to be cut. */
static bool log_shard_cut(struct log_shard *ls)
{
    struct file_job *jobs[FILE_JOBS_MAX];
    uint32_t count = 0;
    bool busy = false;
    struct log_body *lg;
    TAILQ_FOREACH (lg, &ls->logs, all_link) {
        struct segment *segment = lg->active;
        if (lg->state == LOG_DEAD)
            continue;
        if (segment->cut || segment->allocated <= segment->size) {
            segment_index_rewrite(segment);
            continue;
        }
        busy = true;
        if (count < FILE_JOBS_MAX && segment->job == NULL && !lg->cutting &&
            segment_ready(segment, 0))
            jobs[count++] = segment_seal_job(segment, log_shard_on_cut);
    }
    if (count > 0)
        file_jobs_start(jobs, count);
    return busy;
}

static void log_shard_stopped(struct log_shard *ls)
{
    ls->stopped = true;
    timer_cancel(ls->sh, &ls->checkpoint_timer);
    disk_room_stop(ls);
    timer_cancel(ls->sh, &ls->write_timer);
    timer_cancel(ls->sh, &ls->sweep_timer);
    timer_cancel(ls->sh, &ls->directory_timer);
    timer_cancel(ls->sh, &ls->stall_timer);
    timer_cancel(ls->sh, &ls->flush_timer);
    task_cancel(ls->sh, &ls->end_task);
    ls->stop_done(ls->stop_argument);
}

/* What was noted and not written yet: the end of a deleted log, which nothing else tells. */
static bool log_shard_has_notes(const struct log_shard *ls)
{
    return !TAILQ_EMPTY(&ls->batches) && !io_mutation(ls->io, "checkpoint.deletion_not_noted");
}

static void log_shard_stop_clean(struct log_shard *ls)
{
    if (!STAILQ_EMPTY(&ls->queue) || !TAILQ_EMPTY(&ls->journaling) || !STAILQ_EMPTY(&ls->ready) ||
        !STAILQ_EMPTY(&ls->waiting) || !journal_idle(&ls->journal) || bypass_busy(ls))
        return;
    if (!TAILQ_EMPTY(&ls->dirty) || log_shard_has_notes(ls) || ls->step != CHECKPOINT_IDLE) {
        if (ls->step == CHECKPOINT_IDLE)
            checkpoint_want(ls);
        return;
    }
    log_sweep_run(ls);
    if (log_shard_in_flight(ls) || log_shard_cut(ls) || log_shard_in_flight(ls))
        return;
    if (!ls->journal.sb.clean) {
        (void)journal_mark(&ls->journal);
        journal_release(&ls->journal, ls->checkpoints.next_seq - 1, true);
        return;
    }
    if (!TAILQ_EMPTY(&ls->files)) {
        segment_close_all(ls);
        return;
    }
    log_shard_stopped(ls);
}

/* The last thing of a turn: what asked for the stop may free everything in its answer. */
static void log_shard_stop_step(struct log_shard *ls)
{
    if (!ls->offline)
        log_shard_stop_clean(ls);
    else if (log_shard_in_flight(ls))
        return;
    else if (!TAILQ_EMPTY(&ls->files))
        segment_close_all(ls);
    else
        log_shard_stopped(ls);
}

void log_shard_stop(struct log_shard *ls, void (*done)(void *argument), void *argument)
{
    must(log_at_home(ls) && !ls->stopping);
    ls->stopping = true;
    ls->stop_done = done;
    ls->stop_argument = argument;
    if (!ls->offline)
        journal_want(&ls->journal);
    log_shard_hurry(ls);
    log_shard_kick(ls);
}

void log_shard_free(struct log_shard *ls)
{
    must(ls->stopped && TAILQ_EMPTY(&ls->logs));
    struct log_dir_shard *part = &ls->dir->priv->shards[ls->sh->id];
    part->checkpoints = ls->checkpoints; /* log_dir_close() closes it */
    part->ls = NULL;
    journal_stop(&ls->journal);
    checkpoint_fini(ls);
    promise_fini(ls);
    tail_fini(ls);
    for (unsigned i = 0; i < WRITE_SLOTS; i++)
        mem_pages_free(ls->writes[i].page, FS_BLOCK);
    mem_free(ls);
}

/* ---- looking ---- */

void log_shard_counts(const struct log_shard *ls, struct log_counts *counts)
{
    const uint64_t *from = (const uint64_t *)&ls->counts;
    uint64_t *to = (uint64_t *)counts;
    static_assert(sizeof(*counts) % sizeof(*to) == 0, "counters only");
    for (size_t i = 0; i < sizeof(*counts) / sizeof(*to); i++)
        to[i] = count_read(&from[i]);
    counts->groups = count_read(&ls->journal.count_groups);
    counts->plain_groups = count_read(&ls->journal.count_plain);
    counts->journal_flushes = count_read(&ls->journal.count_syncs);
    counts->group_bytes = count_read(&ls->journal.count_bytes);
    counts->groups_in_flight_max = count_read(&ls->journal.flights_max);
    counts->journal_bytes = count_read(&ls->journal.length);
    counts->journal_used_bytes = count_read(&ls->journal.used);
    counts->tail_bytes = count_read(&ls->pool.used);
}

void log_counts_add(struct log_counts *to, const struct log_counts *from)
{
    const struct log_counts before = *to;
    const uint64_t *more = (const uint64_t *)from;
    uint64_t *sum = (uint64_t *)to;
    for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
        sum[i] += more[i];
    to->groups_in_flight_max = max_u64(before.groups_in_flight_max, from->groups_in_flight_max);
    to->checkpoint_ns_last = max_u64(before.checkpoint_ns_last, from->checkpoint_ns_last);
}

void log_shard_commits(const struct log_shard *ls, struct durations *sum)
{
    durations_merge(sum, &ls->journal.commits);
}

void log_shard_scrubbed(struct log_shard *ls)
{
    count_up(&ls->counts.scrub_passes, 1);
}

bool log_shard_offline(const struct log_shard *ls)
{
    return ls->offline;
}

bool log_shard_full(const struct log_shard *ls)
{
    return disk_room_verdict(ls) == LOG_FULL;
}

uint32_t log_shard_log_count(const struct log_shard *ls)
{
    return ls->log_count;
}

const char *log_shard_offline_reason(const struct log_shard *ls)
{
    return ls->reason;
}

void log_shard_on_offline(struct log_shard *ls, void (*fn)(void *argument), void *argument)
{
    ls->on_offline = fn;
    ls->on_offline_argument = argument;
}
