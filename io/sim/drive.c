/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads, writes and syncs with a completion. Each is an event of its own with a latency of its own,
 * so completions come in any order; the bytes move when it completes, from the caller's memory,
 * which is untouched until then. A sync remembers which writes had completed when it was asked for.
 */
#include "io/sim/drive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct disk_op *op_take(struct fs *fs)
{
    struct disk_op *op = TAILQ_FIRST(&fs->spare);
    if (op)
        TAILQ_REMOVE(&fs->spare, op, link);
    else
        op = sim_alloc(sizeof(*op));
    TAILQ_INSERT_TAIL(&fs->in_flight, op, link);
    return op;
}

static void op_put(struct fs *fs, struct disk_op *op)
{
    event_cancel(fs->world, &op->event);
    TAILQ_REMOVE(&fs->in_flight, op, link);
    node_close(&fs->tree, op->node);
    TAILQ_INSERT_HEAD(&fs->spare, op, link);
}

static void write_bytes(struct fs *fs, struct disk_op *op, uint64_t len, bool durable)
{
    uint64_t before = op->node->space;
    uint64_t offset = op->offset;
    const struct disk_options *options = &fs->world->options.disk;
    uint64_t blocks = round_up(op->node->size, BLOCK) / BLOCK;
    if (len > 0 && len == op->len && offset % BLOCK == 0 && blocks > len / BLOCK &&
        rng_one_in(&fs->rng, options->misdirect_one_in))
        offset = rng_below(&fs->rng, blocks - len / BLOCK) * BLOCK;
    node_write(op->node, op->iov, op->count, offset, len, durable);
    disk_spend(fs, op->node, before);
}

static void other_files_sync(struct node *node, const char *path, void *argument)
{
    (void)path;
    if (node != argument && node->direct)
        node_sync_overwrites(node);
}

static int64_t op_read(struct fs *fs, struct disk_op *op)
{
    if (op->error < 0)
        return op->error;
    uint64_t len = node_read(op->node, op->to, op->len, op->offset);
    world_fold_bytes(fs->world, op->to, len);
    op->io->counts.bytes_read += len;
    return (int64_t)len;
}

/* A write that fails has done any part of its work. */
static int64_t op_write(struct fs *fs, struct disk_op *op)
{
    int error = op->error;
    if (error == 0)
        error = disk_space(fs, op->node, op->offset, op->len);
    if (error == -ENOSPC)
        return error;
    if (error < 0) {
        uint64_t part = rng_below(&fs->rng, op->len / BLOCK + 1) * BLOCK;
        if (disk_space(fs, op->node, op->offset, part) == 0)
            write_bytes(fs, op, part, false);
        return error;
    }
    for (unsigned i = 0; i < op->count; i++)
        world_fold_bytes(fs->world, op->iov[i].iov_base, op->iov[i].iov_len);
    write_bytes(fs, op, op->len, op->durable);
    op->io->counts.bytes_written += op->len;
    return (int64_t)op->len;
}

static int64_t op_sync(struct fs *fs, struct disk_op *op)
{
    if (op->error < 0) {
        node_sync_failed(op->node, op->mark);
        return op->error;
    }
    node_sync(op->node, op->mark);
    if (fs->world->options.disk.shared_flush)
        tree_walk(&fs->tree, other_files_sync, op->node);
    return 0;
}

static void disk_event(struct world *world, struct event *event)
{
    struct disk_op *op = container_of(event, struct disk_op, event);
    struct fs *fs = op->io->machine->fs;
    int64_t res = 0;
    if (world->now_ns < fs->stall_until_ns) {
        event_at(world, event, fs->stall_until_ns + rng_below(&fs->rng, 1000000));
        return;
    }
    if (op->call == DISK_READ)
        res = op_read(fs, op);
    else if (op->call == DISK_WRITE)
        res = op_write(fs, op);
    else
        res = op_sync(fs, op);
    if (world->trace)
        world_note(world, "%s/%u: node %llu: %s %llu + %llu -> %lld", op->io->machine->name,
                   op->io->shard, (unsigned long long)op->node->id, event->name,
                   (unsigned long long)op->offset, (unsigned long long)op->len, (long long)res);
    struct io *io = op->io;
    struct io_op *done = op->op;
    op_put(fs, op);
    io_complete(io, done, res);
}

static struct disk_op *op_begin(struct io *io, struct io_op *caller, int file, enum disk_calls call)
{
    struct fs *fs = io->machine->fs;
    struct file *open = disk_file(fs, file);
    struct disk_op *op = op_take(fs);
    op->event = (struct event){.fn = disk_event};
    op->io = io;
    op->op = caller;
    op->node = open->node;
    op->call = call;
    op->durable = false;
    op->error = disk_error(fs, call, open->path);
    op->count = 0;
    op->offset = 0;
    op->len = 0;
    op->mark = open->node->writes;
    node_open(&fs->tree, op->node);
    io_begin(io, caller, OP_DISK, op, &open->in_flight);
    return op;
}

static void op_start(struct io *io, struct disk_op *op, const char *name, uint64_t latency_ns)
{
    struct fs *fs = io->machine->fs;
    op->event.name = name;
    event_at(io->world, &op->event, io->world->now_ns + latency_ns * fs->slow);
}

void io_read(struct io *io, struct io_op *op, int file, void *to, uint32_t len, uint64_t offset)
{
    struct fs *fs = io->machine->fs;
    const struct file *open = disk_file(fs, file);
    must(!(open->flags & FS_DIRECT) || (((uintptr_t)to | len | offset) % FS_BLOCK) == 0);
    struct disk_op *mine = op_begin(io, op, file, DISK_READ);
    mine->to = to;
    mine->len = len;
    mine->offset = offset;
    op_start(io, mine, "read", latency_draw(&fs->rng, &io->world->options.disk.read));
}

void io_write(struct io *io, struct io_op *op, int file, const struct iovec *iov, unsigned count,
              uint64_t offset, bool durable)
{
    struct fs *fs = io->machine->fs;
    const struct file *open = disk_file(fs, file);
    must((open->flags & FS_WRITE) && count > 0 && count <= IO_VECTORS_MAX);
    struct disk_op *mine = op_begin(io, op, file, DISK_WRITE);
    for (unsigned i = 0; i < count; i++) {
        must(!(open->flags & FS_DIRECT) ||
             (((uintptr_t)iov[i].iov_base | iov[i].iov_len | offset) % FS_BLOCK) == 0);
        mine->iov[i] = iov[i];
        mine->len += iov[i].iov_len;
    }
    mine->count = count;
    mine->offset = offset;
    mine->durable = durable;
    uint64_t latency_ns = latency_draw(&fs->rng, &io->world->options.disk.write);
    if (durable)
        latency_ns += latency_draw(&fs->rng, &io->world->options.disk.flush);
    op_start(io, mine, durable ? "write durable" : "write", latency_ns);
}

void io_sync(struct io *io, struct io_op *op, int file)
{
    struct fs *fs = io->machine->fs;
    struct disk_op *mine = op_begin(io, op, file, DISK_SYNC);
    mine->node->sync_mark = mine->mark;
    op_start(io, mine, "sync", latency_draw(&fs->rng, &io->world->options.disk.flush));
}

/* Power loss: every sector of a write in flight is dirty, its fate is thrown with the others'.
 * Kill: the kernel goes on with what it had begun. */
void disk_process_crash(struct fs *fs, struct process *process, enum crash crash)
{
    struct disk_op *op;
    struct disk_op *next;
    for (op = TAILQ_FIRST(&fs->in_flight); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->io->process != process)
            continue;
        uint64_t len = op->call == DISK_WRITE && op->error == 0 ? op->len : 0;
        if (crash == CRASH_KILL) {
            uint64_t fate = rng_below(&fs->rng, 3);
            len = fate == 0 ? 0 : fate == 1 ? len : rng_below(&fs->rng, len / BLOCK + 1) * BLOCK;
        }
        if (len > 0 && disk_space(fs, op->node, op->offset, len) == 0)
            write_bytes(fs, op, len, false);
        op_put(fs, op);
    }
}
