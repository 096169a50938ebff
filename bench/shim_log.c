/* SPDX-License-Identifier: Apache-2.0
 *
 * The append path for the benchmarks: the shipped log on the real door, over a disk that takes
 * everything at once. The linker puts the functions below in the place of the door's io_write,
 * io_sync and fs_allocate (--wrap in CMakeLists.txt), so what is measured is processor time: the
 * checks, the copy with its CRC, the journal's groups, lazy writes, checkpoints and rolls.
 */
#include "bench/shim.h"
#include "core/log/log_dir.h"
#include "core/record/batch.h"
#include "io/crc.h"
#include "io/mem.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAIL_BYTES (256U << 20)

/* ---- the disk ---- */

static struct {
    struct shard *sh;
    struct task task;
    TAILQ_HEAD(disk_ops, io_op) done;
} disk;

static void disk_complete(struct shard *here, struct task *task)
{
    struct io_op *op;
    struct io_op *last = TAILQ_LAST(&disk.done, disk_ops);
    (void)here;
    (void)task;
    do {
        op = TAILQ_FIRST(&disk.done);
        TAILQ_REMOVE(&disk.done, op, link);
        op->done(op);
    } while (op != last);
}

static void disk_take(struct io_op *op, int64_t res)
{
    op->res = res;
    TAILQ_INSERT_TAIL(&disk.done, op, link);
    shard_ready(disk.sh, &disk.task);
}

void __wrap_io_write(struct io *io, struct io_op *op, int file, const struct iovec *iov,
                     unsigned count, uint64_t offset, bool durable);
void __wrap_io_write(struct io *io, struct io_op *op, int file, const struct iovec *iov,
                     unsigned count, uint64_t offset, bool durable)
{
    int64_t len = 0;
    (void)io;
    (void)file;
    (void)offset;
    (void)durable;
    for (unsigned i = 0; i < count; i++)
        len += (int64_t)iov[i].iov_len;
    disk_take(op, len);
}

void __wrap_io_sync(struct io *io, struct io_op *op, int file);
void __wrap_io_sync(struct io *io, struct io_op *op, int file)
{
    (void)io;
    (void)file;
    disk_take(op, 0);
}

int __wrap_fs_allocate(struct fs *fs, int file, uint64_t offset, uint64_t len);
int __wrap_fs_allocate(struct fs *fs, int file, uint64_t offset, uint64_t len)
{
    (void)fs;
    (void)file;
    (void)offset;
    (void)len;
    return 0;
}

/* ---- the log ---- */

struct append {
    struct log_append op;
    struct piece piece;
    struct log *lg;
    struct shim_log *owner;
};

struct shim_log {
    struct shard_group *group;
    struct shard *sh;
    struct log_dir *dir;
    struct log_shard *ls;
    struct append *appends; /* one per partition */
    uint32_t partitions, waiting;
    uint8_t *batch;
    uint32_t batch_bytes;
    struct task task;
    bool stopped;
    char path[64];
};

static bool nothing_else(void *argument)
{
    (void)argument;
    return false;
}

static void turn(struct shim_log *log)
{
    if (!shard_turn(log->sh))
        io_wait(log->sh->io, io_now_ns(log->sh->io) + 1000000, nothing_else, NULL);
}

/* Calls on a log must come from a turn of its shard. */
static void in_turn(struct shim_log *log, task_fn *fn)
{
    log->task = (struct task){.fn = fn, .name = "bench.log"};
    shard_ready(log->sh, &log->task);
    while (log->task.queue != NULL)
        turn(log);
}

static void begin(struct shard *sh, struct task *task)
{
    struct shim_log *log = container_of(task, struct shim_log, task);
    log->ls = log_shard_start(log->dir, sh);
    for (uint32_t i = 0; i < log->partitions; i++) {
        struct log_id id = {.topic_id = "benchmark-000001", .partition = (int32_t)i};
        log->appends[i].owner = log;
        log->appends[i].lg = log_new(log->ls, &id, "bench", &log_config_default, 0);
    }
}

static void batch_make(struct shim_log *log)
{
    struct batch_header header = {.length = (int32_t)(log->batch_bytes - BATCH_LENGTH_END),
                                  .leader_epoch = -1,
                                  .magic = BATCH_MAGIC,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .base_sequence = -1,
                                  .record_count = 1};
    log->batch = mem_alloc(log->batch_bytes);
    memset(log->batch, 'b', log->batch_bytes); /* the log does not look at records */
    batch_header_put(&header, log->batch);
    header.crc = crc32c(0, log->batch + BATCH_CRC_FROM, log->batch_bytes - BATCH_CRC_FROM);
    batch_header_put(&header, log->batch);
}

static void directory_open(struct shim_log *log)
{
    struct log_error error;
    (void)snprintf(log->path, sizeof(log->path), "/tmp/millrace-bench-XXXXXX");
    if (mkdtemp(log->path) == NULL)
        must(!"a directory in /tmp");
    struct log_dir_options options = {.path = log->path,
                                      .fs = io_fs(log->sh->io),
                                      .may_format = true,
                                      .node_id = 1,
                                      .shards = 1,
                                      .tail_bytes = TAIL_BYTES,
                                      .cold_bytes = 4U << 20,
                                      .new_uuid = "millrace-bench"};
    log->dir = log_dir_open(&options, &error);
    if (log->dir == NULL || !log_dir_recover(log->dir, &error)) {
        (void)fprintf(stderr, "%s\n", error.text);
        must(!"a log directory");
    }
}

struct shim_log *shim_log_open(uint32_t partitions, uint32_t batch_bytes)
{
    char error[512];
    const struct io_options options = {.receive_pool_bytes = 1U << 20, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    must(io != NULL);
    struct shim_log *log = mem_zalloc(sizeof(*log));
    log->partitions = partitions;
    log->batch_bytes = batch_bytes;
    log->appends = mem_zalloc(partitions * sizeof(*log->appends));
    log->group = shard_group_new(1, SHARD_CREDITS);
    log->sh = shard_of(log->group, 0);
    shard_init(log->sh, io);
    TAILQ_INIT(&disk.done);
    disk.sh = log->sh;
    disk.task = (struct task){.fn = disk_complete, .name = "bench.disk"};
    batch_make(log);
    directory_open(log);
    in_turn(log, begin);
    return log;
}

static void append_done(struct log_append *op)
{
    must(op->verdict == LOG_OK);
    container_of(op, struct append, op)->owner->waiting--;
}

static void append_all(struct shard *sh, struct task *task)
{
    struct shim_log *log = container_of(task, struct shim_log, task);
    (void)sh;
    for (uint32_t i = 0; i < log->partitions; i++) {
        struct append *append = &log->appends[i];
        append->op =
            (struct log_append){.batch = span_of(&append->piece, log->batch, log->batch_bytes),
                                .append_time_ms = -1,
                                .max_timestamp = LOG_KEEP,
                                .done = append_done};
        enum log_verdict verdict = log_append(append->lg, &append->op);
        must(verdict == LOG_OK || verdict == LOG_WAIT);
    }
}

void shim_log_append(struct shim_log *log)
{
    log->waiting = log->partitions;
    in_turn(log, append_all);
    while (log->waiting > 0)
        turn(log);
}

struct shim_log_counts shim_log_counts(struct shim_log *log)
{
    struct log_counts counts;
    log_shard_counts(log->ls, &counts);
    return (struct shim_log_counts){.appends = counts.appends,
                                    .appended_bytes = counts.appended_bytes,
                                    .copied_bytes = counts.copied_bytes,
                                    .groups = counts.groups,
                                    .group_bytes = counts.group_bytes};
}

static void on_stopped(void *argument)
{
    ((struct shim_log *)argument)->stopped = true;
}

static void stop(struct shard *sh, struct task *task)
{
    struct shim_log *log = container_of(task, struct shim_log, task);
    (void)sh;
    log_shard_stop(log->ls, on_stopped, log);
}

static void free_logs(struct shard *sh, struct task *task)
{
    struct shim_log *log = container_of(task, struct shim_log, task);
    (void)sh;
    for (uint32_t i = 0; i < log->partitions; i++)
        log_free(log->appends[i].lg);
    log_shard_free(log->ls);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void shim_log_close(struct shim_log *log)
{
    struct io *io = log->sh->io;
    in_turn(log, stop);
    while (!log->stopped)
        turn(log);
    in_turn(log, free_logs);
    log_dir_close(log->dir);
    (void)nftw(log->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    shard_fini(log->sh);
    io_close_all(io);
    shard_group_free(log->group);
    mem_free(log->appends);
    mem_free(log->batch);
    mem_free(log);
}
