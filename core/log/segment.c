/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: files of record batches one after another, byte for byte what Kafka writes. Nothing
 * here is on the way of an append: directory, file and space come when the first lazy write needs
 * them, in steps from 256 KiB that double to 64 MiB, by jobs on the helper thread.
 */
#include "core/log/segment.h"

#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_mend.h"
#include "core/log/log_private.h"
#include "core/log/read_ahead.h"
#include "core/log/segment_index.h"
#include "io/diag.h"

#include <errno.h>
#include <stdio.h>

#define DIRECTORY_AGAIN_NS 100000000ULL /* a log's directory was another one's, or would not go */
#define SEGMENT_STEP_MAX   (64U << 20)

/* ---- life ---- */

struct segment *segment_new(struct log_body *lg, int64_t base)
{
    struct segment *segment = mem_zalloc(sizeof(*segment));
    segment->lg = lg;
    segment->base = base;
    segment->version = ++lg->versions;
    segment->end_offset = base;
    segment->file = -1;
    segment->index_asked = true; /* there is none */
    segment->born_ms = io_wall_ms(lg->ls->io);
    segment->first_timestamp = -1;
    segment->times = (struct segment_times){.max_timestamp = INT64_MIN};
    TAILQ_INIT(&segment->ahead);
    TAILQ_INSERT_TAIL(&lg->segments, segment, link);
    return segment;
}

static void segment_free(struct segment *segment)
{
    bypass_cut(segment, 0);
    read_ahead_drop(segment);
    segment_index_forget(segment);
    mem_free(segment->damage);
    mem_free(segment);
}

static void segment_close_done(struct file_job *job)
{
    log_shard_progress(job->ls);
}

static void segment_close(struct segment *segment)
{
    struct log_shard *ls = segment->lg->ls;
    TAILQ_REMOVE(&ls->files, segment, file_link);
    ls->file_count--;
    struct file_job *job = file_job_new(ls, JOB_CLOSE, NULL, NULL, segment_close_done);
    job->file = segment->file;
    segment->file = -1;
    file_job_start(job);
}

void segment_close_all(struct log_shard *ls)
{
    struct segment *segment;
    struct segment *next;
    for (segment = TAILQ_FIRST(&ls->files); segment != NULL; segment = next) {
        next = TAILQ_NEXT(segment, file_link);
        if (segment->io == 0 && segment->job == NULL)
            segment_close(segment);
    }
}

void segment_reap(struct segment *segment)
{
    if (!segment->doomed || segment->io > 0 || segment->job != NULL)
        return;
    if (segment->file >= 0)
        segment_close(segment);
    segment_free(segment);
}

void segment_doom(struct segment *segment)
{
    struct log_body *lg = segment->lg;
    TAILQ_REMOVE(segment->replaced ? &lg->replaced : &lg->segments, segment, link);
    segment->doomed = true;
    read_ahead_drop(segment);
    segment_reap(segment);
}

void segment_use(struct segment *segment)
{
    must(segment->file >= 0);
    segment->io++;
    struct log_shard *ls = segment->lg->ls;
    TAILQ_REMOVE(&ls->files, segment, file_link);
    TAILQ_INSERT_TAIL(&ls->files, segment, file_link);
}

void segment_unuse(struct segment *segment)
{
    must(segment->io > 0);
    segment->io--;
    segment_reap(segment);
}

struct segment *segment_by_base(const struct log_body *lg, int64_t base)
{
    struct segment *segment;
    TAILQ_FOREACH_REVERSE(segment, &lg->segments, segments, link)
    {
        if (segment->base <= base)
            return segment->base == base ? segment : NULL;
    }
    return NULL;
}

struct segment *segment_named(const struct log_body *lg, int64_t base, uint32_t version)
{
    struct segment *segment = segment_by_base(lg, base);
    return segment != NULL && segment->version == version ? segment : NULL;
}

bool segment_is_settled(const struct segment *segment)
{
    return segment->sealed && segment->sealed_number < segment->lg->ls->released_number;
}

/* ---- damage ---- */

void segment_damaged(struct segment *segment, uint32_t position, int64_t offset)
{
    const struct log *lg = &segment->lg->log;
    struct log_shard *ls = segment->lg->ls;
    bool news = segment_damage_after(segment, position) != position;
    if (news) {
        if (segment->damage == NULL)
            segment->damage = mem_zalloc(sizeof(*segment->damage));
        segment->damage->positions[segment->damage->count++ % SEGMENT_DAMAGES] = position;
        count_up(&ls->counts.damaged, 1);
    }
    /* An error is always said; what a reader runs into again, and the rest of a file that is full
       of damage, is a warning, of which there may be too many. */
    bool first = news && segment->damage->count <= SEGMENT_DAMAGES;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s-%d/%020lld.log", ls->dir->path, lg->topic,
                   (int)lg->id.partition, (long long)segment->base);
    diag_line(ls->sh, first ? DIAG_ERROR : DIAG_WARN, "log.damaged",
              "file=%s offset=%u batch=%lld topic=%s partition=%d next_step=%s", path, position,
              (long long)offset, lg->topic, (int)lg->id.partition,
              "none if another replica has it (log.mended will tell); else restore the file from a "
              "copy: until then a fetch of this batch answers CORRUPT_MESSAGE");
    if (news && lg->on_damaged != NULL)
        lg->on_damaged(&segment->lg->log);
}

void segment_mended(struct segment *segment, uint32_t from, uint32_t upto)
{
    struct segment_damage *damage = segment->damage;
    uint32_t left = 0;
    for (uint32_t i = 0; damage != NULL && i < SEGMENT_DAMAGES && i < damage->count; i++)
        if (damage->positions[i] < from || damage->positions[i] >= upto)
            damage->positions[left++] = damage->positions[i];
    read_ahead_drop(segment);
    if (damage != NULL)
        damage->count = left;
    if (left > 0)
        return;
    mem_free(damage);
    segment->damage = NULL;
}

uint32_t segment_damage_after(const struct segment *segment, uint32_t position)
{
    uint32_t found = UINT32_MAX;
    const struct segment_damage *damage = segment->damage;
    for (uint32_t i = 0; damage != NULL && i < SEGMENT_DAMAGES && i < damage->count; i++) {
        if (damage->positions[i] >= position && damage->positions[i] < found)
            found = damage->positions[i];
    }
    return found;
}

bool log_is_damaged(const struct log *log)
{
    const struct segment *segment;
    TAILQ_FOREACH (segment, &log_body_of_const(log)->segments, link)
        if (segment->damage != NULL && !segment->below)
            return true;
    return false;
}

void log_storage_look(const struct log *log, struct log_storage *storage)
{
    const struct segment *segment;
    *storage = (struct log_storage){0};
    TAILQ_FOREACH (segment, &log_body_of_const(log)->segments, link) {
        if (segment->below)
            continue;
        storage->segments++;
        if (segment->damage != NULL)
            storage->damaged += (uint32_t)min_u64(segment->damage->count, SEGMENT_DAMAGES);
    }
}

/* ---- directories that are not free yet, or would not go ---- */

void log_directory_later(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    lg->directory_waits = true;
    if (!timer_is_set(&ls->directory_timer) && !ls->offline)
        timer_set(ls->sh, &ls->directory_timer, io_now_ns(ls->io) + DIRECTORY_AGAIN_NS);
}

void log_on_directory_timer(struct shard *sh, struct timer *timer)
{
    struct log_shard *ls = container_of(timer, struct log_shard, directory_timer);
    struct log_body *lg;
    (void)sh;
    TAILQ_FOREACH (lg, &ls->logs, all_link) {
        if (!lg->directory_waits || ls->offline)
            continue;
        lg->directory_waits = false;
        if (lg->state == LOG_DEAD)
            log_remove_directory(lg);
        else
            writer_want(lg);
    }
    ls->reads_again = true;
    log_shard_kick(ls);
}

/* ---- opening and extending ---- */

/* Closes files that are over the limit, those that are being opened included, but neither what is
 * dirty, because its sync needs it, nor the one that was just opened, because who asked has not
 * used it yet. */
static void segment_limit_files(struct log_shard *ls, const struct segment *opened)
{
    const uint32_t most = ls->dir->options.open_files_max - file_job_opens_max(ls);
    struct segment *segment;
    struct segment *next;
    for (segment = TAILQ_FIRST(&ls->files); segment != NULL && ls->file_count > most;
         segment = next) {
        next = TAILQ_NEXT(segment, file_link);
        if (segment->io == 0 && segment->job == NULL && !segment->dirty && segment != opened)
            segment_close(segment);
    }
}

static void segment_on_open(struct file_job *job)
{
    struct segment *segment = job->segment;
    struct log_shard *ls = job->ls;
    if (job->file >= 0 && segment->file < 0) {
        segment->file = job->file;
        TAILQ_INSERT_TAIL(&ls->files, segment, file_link);
        ls->file_count++;
        segment_limit_files(ls, segment);
    }
    segment->allocated = max_u64(segment->allocated, job->allocated);
    count_up(&ls->counts.segments_reused, job->recycled);
    if (job->result == -EBUSY) {
        log_directory_later(job->lg);
        return;
    }
    if (job->result == -ENOSPC) {
        ls->full = true; /* the space timer tries again */
    } else if (job->result < 0) {
        log_shard_fail(ls, job->verb, job->directory, job->result);
        return;
    } else {
        writer_want(job->lg);
    }
    ls->reads_again = true;
    log_shard_kick(ls);
}

/* How long a file from the pool may be: it is not given to a log that will not fill it. */
static uint64_t segment_recycled_most(const struct segment *segment, uint64_t step)
{
    const struct log_body *lg = segment->lg;
    const struct segment *before = TAILQ_PREV(segment, segments, link);
    uint64_t most = round_up(lg->config.segment_bytes, FS_BLOCK);
    if (before != NULL && before->size > 0)
        return min_u64(most, 2ULL * before->size);
    return lg->large ? most : min_u64(most, 4 * step);
}

bool segment_ready(struct segment *segment, uint64_t length)
{
    if (segment->file >= 0 && segment->allocated >= length)
        return true;
    struct log_body *lg = segment->lg;
    if (segment->job != NULL || segment->swapping || lg->directory_waits || lg->ls->offline)
        return false;
    struct file_job *job = file_job_new(lg->ls, JOB_OPEN, lg, segment, segment_on_open);
    if (length > segment->allocated) {
        lg->step = lg->step == 0 ? SEGMENT_STEP_MIN : min_u64(lg->step * 2, SEGMENT_STEP_MAX);
        job->length = round_up(length, lg->step);
        if (job->length > lg->config.segment_bytes)
            job->length = max_u64(round_up(lg->config.segment_bytes, FS_BLOCK), length);
        job->least = round_up(length, FS_BLOCK);
        job->pool_most = segment_recycled_most(segment, job->length);
    }
    file_job_open(job);
    return false;
}

struct file_job *segment_seal_job(struct segment *segment, void (*done)(struct file_job *job))
{
    must(segment->file >= 0 && segment->job == NULL && !segment->lg->cutting);
    struct file_job *job = file_job_new(segment->lg->ls, JOB_SEAL, segment->lg, segment, done);
    segment->lg->cutting = true;
    job->length = segment->size;
    job->mistake_no_copy = io_mutation(segment->lg->ls->io, "segment.cut_without_copy");
    if (io_mutation(segment->lg->ls->io, "segment.cut_too_short"))
        job->length = round_down(segment->size, FS_BLOCK);
    segment_index_save(segment, job);
    return job;
}

void segment_seal(struct segment *segment, void (*done)(struct file_job *job))
{
    file_job_start(segment_seal_job(segment, done));
}
