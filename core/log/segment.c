/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: files of record batches one after another, byte for byte what Kafka writes. Nothing
 * here is on the way of an append: directory, file and space come when the first lazy write needs
 * them, in steps from 256 KiB that double to 64 MiB, by jobs on the helper thread.
 *
 * Whose directory is it? A topic that is deleted and made again has the same path but another id,
 * and the old directory may still be on its way out on another shard. So each holds a file log.id,
 * and a job that finds another log's says so; the directory timer tries again.
 */
#include "core/log/log_inside.h"

#include "io/diag.h"

#include <errno.h>
#include <stdio.h>

#define NAME_KEPT_ASIDE 200U /* bytes of a deleted log's name, of the 255 a name may have */

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

static void segment_reap(struct segment *segment)
{
    if (!segment->doomed || segment->io > 0 || segment->job != NULL)
        return;
    if (segment->file >= 0)
        segment_close(segment);
    segment_free(segment);
}

/* Out of its log; its memory goes when nothing uses it. */
void segment_doom(struct segment *segment)
{
    struct log_body *lg = segment->lg;
    TAILQ_REMOVE(segment->replaced ? &lg->replaced : &lg->segments, segment, link);
    segment->doomed = true;
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
    if (segment_damage_after(segment, position) != position) {
        if (segment->damage == NULL)
            segment->damage = mem_zalloc(sizeof(*segment->damage));
        segment->damage->positions[segment->damage->count++ % SEGMENT_DAMAGES] = position;
        ls->counts.damaged++;
    }
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s-%d/%020lld.log", ls->dir->path, lg->topic,
                   (int)lg->id.partition, (long long)segment->base);
    diag_error(
        ls->sh, "log.damaged", "file=%s offset=%u batch=%lld next_step=%s", path, position,
        (long long)offset,
        "restore the file from a replica or a copy; until then a fetch of this batch answers "
        "CORRUPT_MESSAGE");
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

/* ---- jobs ---- */

void log_directory_path(char *to, size_t size, const char *root, const char *topic,
                        int32_t partition)
{
    (void)snprintf(to, size, "%s/%s-%d", root, topic, (int)partition);
}

void log_identity_encode(uint8_t block[FS_BLOCK], const uint8_t directory[16],
                         const struct log_id *id, uint32_t incarnation)
{
    struct bytes_out own = format_begin(block, SEGMENT_IDENTITY_MAGIC, 1, 1, directory);
    put_bytes(&own, id->topic_id, 16);
    put_i32(&own, id->partition);
    put_u32(&own, incarnation);
    format_end(block);
}

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

static char *path_in(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", directory, name);
    return path;
}

/* Whose directory is it: 1 this identity's, 0 nobody's, -EBUSY another log's. */
static int64_t directory_owner(struct fs *fs, const char *directory,
                               const uint8_t identity[FS_BLOCK])
{
    char *path = path_in(directory, "log.id");
    uint8_t *block = mem_pages(FS_BLOCK);
    int64_t result = fs_open(fs, path, FS_READ);
    if (result >= 0) {
        int file = (int)result;
        result = fs_read(fs, file, block, FS_BLOCK, 0);
        fs_close(fs, file);
        struct bytes_in own;
        const uint8_t *owner;
        if (result >= 0 &&
            format_check(block, SEGMENT_IDENTITY_MAGIC, 1, &own, &owner) == FORMAT_OK)
            result = memcmp(block, identity, FS_BLOCK) == 0 ? 1 : -EBUSY;
        else
            result = min_i64(result, 0); /* torn by a crash: nobody relied on it */
    }
    mem_pages_free(block, FS_BLOCK);
    mem_free(path);
    return result == -ENOENT ? 0 : result;
}

bool log_directory_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                        struct log_id *id, uint32_t *incarnation)
{
    char *path = path_in(directory, "log.id");
    uint8_t block[FS_BLOCK];
    int file = fs_open(fs, path, FS_READ);
    bool good = false;
    if (file >= 0) {
        struct bytes_in own;
        const uint8_t *owner;
        good = fs_read(fs, file, block, FS_BLOCK, 0) == FS_BLOCK &&
               format_check(block, SEGMENT_IDENTITY_MAGIC, 1, &own, &owner) == FORMAT_OK &&
               memcmp(owner, uuid, 16) == 0;
        fs_close(fs, file);
        if (good) {
            take_into(&own, id->topic_id, 16);
            id->partition = take_i32(&own);
            *incarnation = take_u32(&own);
        }
    }
    mem_free(path);
    return good;
}

int64_t log_directory_claim(struct fs *fs, const char *root, const char *directory,
                            const uint8_t identity[FS_BLOCK])
{
    int64_t result = fs_mkdir(fs, directory);
    if (result >= 0)
        result = directory_owner(fs, directory, identity);
    if (result != 0)
        return result;
    char *path = path_in(directory, "log.id");
    uint8_t *block = mem_pages(FS_BLOCK);
    memcpy(block, identity, FS_BLOCK);
    result = fs_open(fs, path, FS_WRITE | FS_CREATE);
    if (result >= 0) {
        int file = (int)result;
        result = fs_write(fs, file, block, FS_BLOCK, 0);
        if (result >= 0)
            result = fs_sync(fs, file);
        fs_close(fs, file);
    }
    mem_pages_free(block, FS_BLOCK);
    mem_free(path);
    if (result >= 0)
        result = fs_sync_dir(fs, directory);
    if (result >= 0)
        result = fs_sync_dir(fs, root);
    return min_i64(result, 0);
}

/* Into the pool, when there is one that has room, else away: 1 it is in the pool. */
static int64_t segment_file_remove(struct fs *fs, const char *path, const struct recycle_pool *pool,
                                   uint64_t pool_tag)
{
    int64_t result = pool != NULL ? recycle_put(pool, path, pool_tag) : 0;
    return result == 0 ? fs_unlink(fs, path) : result;
}

int64_t log_directory_remove(struct fs *fs, const char *root, const char *directory, uint32_t tag,
                             const struct recycle_pool *pool, uint64_t pool_tag)
{
    /* The longest topic name leaves no room for a suffix: the tag alone tells such logs apart. */
    size_t keep = min_u64(strlen(directory), strlen(root) + 1 + NAME_KEPT_ASIDE);
    size_t size = keep + 32;
    char *aside = mem_alloc(size);
    (void)snprintf(aside, size, "%.*s.%08x-delete", (int)keep, directory, tag);
    int64_t result = fs_rename(fs, directory, aside);
    if (result >= 0)
        result = fs_sync_dir(fs, root);
    struct fs_list list = {0};
    if (result >= 0 && fs_list(fs, aside, &list) >= 0) {
        for (uint32_t i = 0; i < list.count; i++) {
            char *path = path_in(aside, list.names[i]);
            const char *dot = strrchr(list.names[i], '.');
            bool segment = dot != NULL && strcmp(dot, ".log") == 0;
            (void)!segment_file_remove(fs, path, segment ? pool : NULL, pool_tag + i);
            mem_free(path);
        }
        fs_list_free(&list);
        (void)!fs_rmdir(fs, aside);
    }
    mem_free(aside);
    return result;
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
    return job->recycled ? 0 : fs_sync_dir(job->fs, job->directory);
}

/* What is in the pool goes before anybody is told that there is no space. */
static int64_t job_allocate(struct file_job *job, uint64_t from)
{
    int64_t result;
    do
        result = fs_allocate(job->fs, job->file, from, job->length - from);
    while (result == -ENOSPC && recycle_shrink(&job->pool));
    return result;
}

static int64_t job_open(struct file_job *job)
{
    int64_t result = 0;
    if (job->file < 0) {
        job->verb = "make";
        result = log_directory_claim(job->fs, job->root, job->directory, job->identity);
        if (result < 0)
            return result;
        job->verb = "open";
        char *path = file_job_path(job, ".log");
        result = fs_open(job->fs, path, FS_WRITE | FS_DIRECT);
        if (result == -ENOENT) {
            result = job_create(job, path);
        } else if (result >= 0) {
            job->file = (int)result;
        }
        mem_free(path);
        if (result >= 0)
            result = fs_size(job->fs, job->file);
        if (result < 0)
            return result;
        job->allocated = (uint64_t)result;
    }
    job->verb = "extend";
    if (job->length > job->allocated) {
        uint64_t from = round_down(job->allocated, FS_BLOCK);
        result = job_allocate(job, from);
        /* The new length is saved here, so that no durable write within it has to. */
        if (result >= 0)
            result = fs_sync(job->fs, job->file);
        if (result >= 0)
            job->allocated = job->length;
    }
    return result;
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
    if (directory_owner(job->fs, job->directory, job->identity) != 1)
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
    if (directory_owner(job->fs, job->directory, job->identity) != 1)
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
    }
}

static void file_job_on_work(struct io_op *op)
{
    struct file_job *job = container_of(op, struct file_job, op);
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
    log_shard_progress(ls);
}

void file_job_start(struct file_job *job)
{
    job->ls->jobs++;
    job->op.done = file_job_on_work;
    io_work(job->ls->io, &job->op, file_job_work, job);
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

/* Closes files that are over the limit, but neither what is dirty, because its sync needs it, nor
 * the one that was just opened, because who asked has not used it yet. */
static void segment_limit_files(struct log_shard *ls, const struct segment *opened)
{
    struct segment *segment;
    struct segment *next;
    for (segment = TAILQ_FIRST(&ls->files);
         segment != NULL && ls->file_count > ls->dir->options.open_files_max; segment = next) {
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
    ls->counts.segments_reused += job->recycled;
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
    if (length > 0) {
        lg->step = lg->step == 0 ? SEGMENT_STEP_MIN : min_u64(lg->step * 2, SEGMENT_STEP_MAX);
        job->length = round_up(length, lg->step);
        if (job->length > lg->config.segment_bytes)
            job->length = max_u64(round_up(lg->config.segment_bytes, FS_BLOCK), length);
        job->pool_most = segment_recycled_most(segment, job->length);
    }
    file_job_start(job);
    return false;
}

void segment_seal(struct segment *segment, void (*done)(struct file_job *job))
{
    must(segment->file >= 0 && segment->job == NULL && !segment->lg->cutting);
    struct file_job *job = file_job_new(segment->lg->ls, JOB_SEAL, segment->lg, segment, done);
    segment->lg->cutting = true;
    job->length = segment->size;
    job->mistake_no_copy = io_mutation(segment->lg->ls->io, "segment.cut_without_copy");
    if (io_mutation(segment->lg->ls->io, "segment.cut_too_short"))
        job->length = round_down(segment->size, FS_BLOCK);
    segment_index_save(segment, job);
    file_job_start(job);
}
