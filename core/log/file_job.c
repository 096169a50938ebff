/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of the log for the helper thread: it touches nothing but its job.
 *
 * Directory, file and space of a segment come when its first lazy write needs them.
 */
#include "core/log/file_job.h"

#include "core/log/log_change.h"
#include "core/log/log_directory.h"
#include "core/log/log_private.h"
#include "core/log/log_swap.h"
#include "core/log/segment_cut.h"
#include "core/log/segment_index.h"

#include <errno.h>
#include <stdio.h>

#define OPENS_MAX   64U /* other jobs of the shard wait meanwhile */
#define OPENS_SHARE 4U  /* of few files they take no more than a fourth */

struct file_job *file_job_new(struct log_shard *ls, enum file_job_kind kind, struct log_body *lg,
                              struct segment *segment, void (*done)(struct file_job *job))
{
    struct file_job *job = mem_zalloc(sizeof(*job));
    job->ls = ls;
    job->kind = kind;
    job->lg = lg;
    job->segment = segment;
    job->done = done;
    job->fs = ls->fs;
    job->file = -1;
    job->root = mem_strdup(ls->dir->path);
    job->pool = log_dir_pool(ls->dir);
    job->reserve = ls->dir->options.reserve_bytes;
    if (lg != NULL) {
        size_t size = strlen(job->root) + LOG_TOPIC_MAX + 16;
        job->directory = mem_alloc(size);
        log_directory_path(job->directory, size, job->root, lg->log.topic, lg->log.id.partition);
        log_identity_encode(job->identity, ls->dir->uuid, &lg->log.id, lg->incarnation);
        lg->users++;
    }
    if (segment != NULL) {
        job->base = segment->base;
        job->replaced = segment->replaced ? segment->version : 0;
        job->file = segment->file;
        job->allocated = segment->allocated;
        segment->job = job;
    }
    return job;
}

void file_job_may_recycle(struct file_job *job)
{
    if (job->pool.bytes_max > 0 && !job->ls->full)
        job->pool_tag = io_random(job->ls->io) | 1U;
}

char *file_job_path(const struct file_job *job, const char *suffix)
{
    size_t size = strlen(job->directory) + 64;
    char *path = mem_alloc(size);
    int used = snprintf(path, size, "%s/", job->directory);
    if (job->replaced != 0)
        (void)snprintf(path + used, size - (size_t)used, REPLACED_NAME, (long long)job->base,
                       job->replaced);
    else
        (void)snprintf(path + used, size - (size_t)used, "%020lld%s", (long long)job->base, suffix);
    return path;
}

/* A file that was used before, if there is one of the right length, else a new one. */
static int64_t job_create(struct file_job *job, const char *path)
{
    int64_t result =
        recycle_take(&job->pool, job->directory, path, job->length / 2, job->pool_most);
    job->recycled = result == 1;
    if (result >= 0)
        result = fs_open(job->fs, path, FS_WRITE | FS_CREATE | FS_DIRECT);
    if (result < 0)
        return result;
    job->file = (int)result;
    return 0;
}

/* 1: there was none, and its name is not durable yet. */
static int64_t job_open_file(struct file_job *job)
{
    bool created = false;
    char *path = file_job_path(job, ".log");
    int64_t result = fs_open(job->fs, path, FS_WRITE | FS_DIRECT);
    if (result == -ENOENT) {
        result = job_create(job, path);
        created = !job->recycled;
    } else if (result >= 0) {
        job->file = (int)result;
    }
    mem_free(path);
    if (result >= 0)
        result = fs_size(job->fs, job->file);
    if (result < 0)
        return result;
    job->allocated = (uint64_t)result;
    return created;
}

/* Near the end of the disk a log gets what it needs now: the rest of a step would be taken from
 * what others have been promised. */
static void job_be_modest(struct file_job *job, uint64_t from)
{
    uint64_t free_bytes;
    if (job->reserve == 0 || job->least >= job->length ||
        recycle_space(&job->pool, job->reserve, &free_bytes) < 0)
        return;
    if (free_bytes < 2 * job->reserve + (job->length - from))
        job->length = job->least;
}

/* What is in the pool goes before anybody is told that there is no space. */
static int64_t job_allocate(struct file_job *job)
{
    uint64_t from = round_down(job->allocated, FS_BLOCK);
    int64_t result;
    job_be_modest(job, from);
    do
        result = fs_allocate(job->fs, job->file, from, job->length - from);
    while (result == -ENOSPC && recycle_shrink(&job->pool));
    return result;
}

/* Names first, then space, and only then the flushes: the first one saves what the others are
 * for, too. A directory that is ours is flushed whatever comes after: the next job would not know.
 */
static int64_t job_open(struct file_job *job)
{
    const bool known = job->file >= 0;
    int64_t claimed = 1;
    int64_t created = 0;
    int64_t result = 0;
    if (!known) {
        job->verb = "make";
        claimed = log_directory_claim(job->fs, job->directory, job->identity);
        if (claimed < 0)
            return claimed;
        job->verb = "open";
        result = created = job_open_file(job);
    }
    const bool longer = result >= 0 && job->length > job->allocated;
    if (longer) {
        job->verb = "extend";
        result = job_allocate(job);
    }
    if (claimed == 0) {
        int64_t flushed = log_directory_flush(job->fs, job->root, job->directory);
        result = min_i64(result, flushed);
    } else if (created == 1) {
        int64_t flushed = fs_sync_dir(job->fs, job->directory);
        result = min_i64(result, flushed);
    }
    /* The new length is saved here, so that no durable write within it has to. */
    if (longer && result >= 0)
        result = fs_sync(job->fs, job->file);
    if (longer && result >= 0)
        job->allocated = job->length;
    return min_i64(result, 0);
}

static int64_t job_seal(struct file_job *job)
{
    const struct segment_cut cut = {.directory = job->directory,
                                    .identity = job->identity,
                                    .file = job->file,
                                    .base = job->base,
                                    .length = (uint32_t)job->length,
                                    .mistake_no_copy = job->mistake_no_copy};
    job->verb = "cut";
    int64_t result = segment_cut(job->fs, &cut);
    if (result >= 0)
        result = segment_index_write(job);
    if (result >= 0)
        result = fs_sync_dir(job->fs, job->directory);
    return result;
}

static int64_t job_unlink(struct file_job *job)
{
    if (log_directory_owner(job->fs, job->directory, job->identity) != 1)
        return 0;
    char *path = file_job_path(job, ".log");
    int64_t result =
        segment_file_remove(job->fs, path, job->pool_tag != 0 ? &job->pool : NULL, job->pool_tag);
    job->recycled = result == 1;
    mem_free(path);
    if (job->replaced == 0)
        segment_index_unlink(job);
    if (result == -ENOENT)
        result = 0;
    return result < 0 ? result : fs_sync_dir(job->fs, job->directory);
}

static int64_t job_remove(struct file_job *job)
{
    job->verb = "remove";
    if (log_directory_owner(job->fs, job->directory, job->identity) != 1)
        return 0; /* never made, or somebody else's by now */
    return log_directory_remove(job->fs, job->root, job->directory,
                                crc32c(0, job->identity, FS_BLOCK),
                                job->pool_tag != 0 ? &job->pool : NULL, job->pool_tag);
}

static void file_job_work(void *argument)
{
    struct file_job *job = argument;
    switch (job->kind) {
    case JOB_OPEN:
        job->result = job_open(job);
        break;
    case JOB_SEAL:
        job->result = job_seal(job);
        break;
    case JOB_INDEX:
        job->result = segment_index_read(job);
        break;
    case JOB_INDEX_WRITE:
        job->result = segment_index_write(job);
        break;
    case JOB_UNLINK:
        job->result = job_unlink(job);
        break;
    case JOB_REMOVE:
        job->result = job_remove(job);
        break;
    case JOB_CLOSE:
        fs_close(job->fs, job->file);
        break;
    case JOB_SPACE:
        job->result = recycle_space(&job->pool, job->length, &job->length);
        break;
    case JOB_SWAP:
        job->result = swap_files(job);
        break;
    case JOB_MEND:
        job->result = mend_files(job);
        break;
    }
}

static void file_job_end(struct file_job *job)
{
    struct log_shard *ls = job->ls;
    ls->jobs--;
    if (job->segment != NULL)
        job->segment->job = NULL;
    if (job->kind == JOB_SEAL)
        job->lg->cutting = false;
    ls->moves += job->kind != JOB_SPACE && job->result >= 0;
    job->done(job);
    if (job->segment != NULL)
        segment_reap(job->segment);
    if (job->lg != NULL)
        log_unuse(job->lg);
    mem_free(job->root);
    mem_free(job->directory);
    mem_free(job->index);
    mem_free(job->times);
    mem_free(job);
}

static void file_job_on_work(struct io_op *op)
{
    struct file_job *job = container_of(op, struct file_job, op);
    struct log_shard *ls = job->ls;
    file_job_end(job);
    log_shard_progress(ls);
}

void file_job_start(struct file_job *job)
{
    job->ls->jobs++;
    job->op.done = file_job_on_work;
    io_work(job->ls->io, &job->op, file_job_work, job);
}

/* ---- many at a time ---- */

struct file_jobs {
    struct io_op op;
    uint32_t count;
    struct file_job *jobs[FILE_JOBS_MAX];
};

static bool file_jobs_one(void *argument, uint32_t worker, uint32_t index)
{
    const struct file_jobs *all = argument;
    (void)worker;
    file_job_work(all->jobs[index]);
    return true;
}

static void file_jobs_work(void *argument)
{
    struct file_jobs *all = argument;
    (void)fs_each(all->jobs[0]->fs, all->count, file_jobs_one, all);
}

static void opens_start(struct log_shard *ls);

static void file_jobs_on_work(struct io_op *op)
{
    struct file_jobs *all = container_of(op, struct file_jobs, op);
    struct log_shard *ls = all->jobs[0]->ls;
    const bool opens = all->jobs[0]->kind == JOB_OPEN;
    for (uint32_t i = 0; i < all->count; i++)
        file_job_end(all->jobs[i]);
    mem_free(all);
    if (opens)
        opens_start(ls);
    log_shard_progress(ls);
}

void file_jobs_start(struct file_job *const jobs[], uint32_t count)
{
    must(count > 0 && count <= FILE_JOBS_MAX);
    struct file_jobs *all = mem_zalloc(sizeof(*all));
    all->count = count;
    memcpy(all->jobs, jobs, count * sizeof(jobs[0]));
    all->op.done = file_jobs_on_work;
    jobs[0]->ls->jobs += count;
    io_work(jobs[0]->ls->io, &all->op, file_jobs_work, all);
}

/* ---- opens ---- */

uint32_t file_job_opens_max(const struct log_shard *ls)
{
    const uint64_t share = ls->dir->options.open_files_max / OPENS_SHARE;
    return (uint32_t)max_u64(1, min_u64(OPENS_MAX, share));
}

static void opens_start(struct log_shard *ls)
{
    struct file_job *jobs[OPENS_MAX];
    const uint32_t most = file_job_opens_max(ls);
    uint32_t count = 0;
    while (count < most && !TAILQ_EMPTY(&ls->opens)) {
        struct file_job *job = TAILQ_FIRST(&ls->opens);
        TAILQ_REMOVE(&ls->opens, job, link);
        jobs[count++] = job;
    }
    ls->opening = count > 0;
    if (count > 0)
        file_jobs_start(jobs, count);
}

void file_job_open(struct file_job *job)
{
    struct log_shard *ls = job->ls;
    TAILQ_INSERT_TAIL(&ls->opens, job, link);
    if (!ls->opening)
        opens_start(ls);
}
