/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest program that promises something: it appends records to a file, one block each, up
 * to four writes in flight, acknowledges them in order when they are durable, and reads them back
 * after a crash. What was acknowledged must be there, unchanged. It proves that the simulated disk
 * bites: each of its mutations loses an acknowledged record within a few seeds.
 */
#include "io/crc.h"
#include "io/mem.h"
#include "tests/sim/scenario.h"

#include <string.h>

#define SLOTS       128U
#define FLIGHT      4U
#define LIVES       30U
#define FILE_DIR    "/data"
#define FILE_PATH   FILE_DIR "/append.log"
#define MILLISECOND ((uint64_t)1000000)

/* One block on disk; the CRC covers all after it. */
struct record {
    uint32_t crc;
    uint32_t slot;
    uint64_t id;
    uint8_t filler[FS_BLOCK - 16];
};

/* What was promised, outside of every process. */
struct promise {
    uint64_t ids[SLOTS];
    uint32_t acked;
    uint32_t lost; /* slot + 1 of the first that was lost */
};

struct write {
    struct io_op op;
    struct append *owner;
    uint32_t slot;
    bool busy;
    bool done;
};

struct append {
    struct promise *promise;
    struct fs *fs;
    struct shard *sh;
    struct record *records; /* [SLOTS] */
    struct iovec iov[SLOTS];
    struct write writes[FLIGHT];
    uint64_t ids[SLOTS];
    bool done[SLOTS];
    uint32_t next;
    uint32_t acked;
    int file;
    bool mutation_not_durable;
    bool mutation_early;
    bool mutation_out_of_order;
};

static uint32_t record_crc(const struct record *record)
{
    return crc32c(0, &record->slot, sizeof(*record) - sizeof(record->crc));
}

/* ---- start: make the file or read it ---- */

static bool file_make(struct append *append)
{
    const uint64_t size = SLOTS * sizeof(struct record);
    void *zeros = mem_pages(size);
    bool ok = fs_mkdir(append->fs, FILE_DIR) == 0 && fs_sync_dir(append->fs, "/") == 0;
    append->file = ok ? fs_open(append->fs, FILE_PATH, FS_WRITE | FS_CREATE | FS_DIRECT) : -1;
    ok = ok && append->file >= 0 && fs_write(append->fs, append->file, zeros, size, 0) > 0 &&
         fs_sync(append->fs, append->file) == 0 && fs_sync_dir(append->fs, FILE_DIR) == 0;
    mem_pages_free(zeros, size);
    return ok;
}

static bool file_read(struct append *append)
{
    const uint64_t size = SLOTS * sizeof(struct record);
    append->file = fs_open(append->fs, FILE_PATH, FS_WRITE | FS_DIRECT);
    if (append->file < 0)
        return file_make(append);
    if (fs_size(append->fs, append->file) != (int64_t)size) {
        fs_close(append->fs, append->file);
        return file_make(append);
    }
    if (fs_read(append->fs, append->file, append->records, size, 0) != (int64_t)size)
        return false;
    while (append->next < SLOTS) {
        const struct record *record = &append->records[append->next];
        if (record->id == 0 || record->slot != append->next || record->crc != record_crc(record))
            break;
        append->ids[append->next++] = record->id;
    }
    append->acked = append->next;
    return true;
}

static void promise_check(struct append *append)
{
    struct promise *promise = append->promise;
    for (uint32_t i = 0; i < promise->acked && promise->lost == 0; i++) {
        if (i >= append->next || append->ids[i] != promise->ids[i])
            promise->lost = i + 1;
    }
}

/* After a kill, what was read may still be in the drive's cache only, the file's name included. A
 * flush settles it; writing it again would not do: a block that is being rewritten may be lost
 * whole. */
static bool file_settle(struct append *append)
{
    return fs_sync(append->fs, append->file) == 0 && fs_sync_dir(append->fs, FILE_DIR) == 0 &&
           fs_sync_dir(append->fs, "/") == 0;
}

static void *append_prepare(struct fs *fs, void *argument, bool *failed)
{
    struct append *append = mem_zalloc(sizeof(*append));
    append->promise = argument;
    append->fs = fs;
    append->records = mem_pages(SLOTS * sizeof(struct record));
    *failed = !file_read(append);
    if (!*failed)
        promise_check(append);
    *failed = *failed || !file_settle(append);
    return append;
}

/* ---- running ---- */

static void append_ack(struct append *append, uint32_t slot)
{
    struct promise *promise = append->promise;
    promise->ids[slot] = append->ids[slot];
    promise->acked = (uint32_t)max_u64(promise->acked, slot + 1);
}

static void append_on_write(struct io_op *op);

static void append_write(struct append *append, struct write *write)
{
    struct io *io = append->sh->io;
    struct record *record = &append->records[append->next];
    write->slot = append->next++;
    write->busy = true;
    write->op.done = append_on_write;
    record->slot = write->slot;
    record->id = io_random(io) | 1;
    memset(record->filler, (int)(record->id >> 56), sizeof(record->filler));
    record->crc = record_crc(record);
    append->ids[write->slot] = record->id;
    append->iov[write->slot] = (struct iovec){.iov_base = record, .iov_len = sizeof(*record)};
    io_write(io, &write->op, append->file, &append->iov[write->slot], 1,
             write->slot * sizeof(*record), !append->mutation_not_durable);
    if (append->mutation_early)
        append_ack(append, write->slot);
}

static void append_fill(struct append *append)
{
    for (unsigned i = 0; i < FLIGHT; i++) {
        if (!append->writes[i].busy && append->next < SLOTS)
            append_write(append, &append->writes[i]);
    }
}

static void append_on_write(struct io_op *op)
{
    struct write *write = container_of(op, struct write, op);
    struct append *append = write->owner;
    must(op->res == (int64_t)sizeof(struct record));
    write->busy = false;
    append->done[write->slot] = true;
    if (append->mutation_out_of_order)
        append_ack(append, write->slot);
    while (append->acked < SLOTS && append->done[append->acked])
        append_ack(append, append->acked++);
    append_fill(append);
}

static void append_start(struct shard *sh, void *prepared)
{
    struct append *append = prepared;
    append->sh = sh;
    append->mutation_not_durable = io_mutation(sh->io, "append.not_durable");
    append->mutation_early = io_mutation(sh->io, "append.ack_early");
    append->mutation_out_of_order = io_mutation(sh->io, "append.ack_out_of_order");
    for (uint32_t i = 0; i < append->acked; i++)
        append_ack(append, i);
    for (unsigned i = 0; i < FLIGHT; i++)
        append->writes[i].owner = append;
    append_fill(append);
}

/* ---- the play ---- */

static void append_options(struct world_options *options, uint64_t seed)
{
    world_options_rough(options, seed);
}

static bool append_play(struct world *world, char *why, size_t why_size)
{
    struct machine *machine = world_machine(world, "disk");
    struct promise promise = {0};
    const struct program program = {.name = "append",
                                    .shards = 1,
                                    .prepare = append_prepare,
                                    .start = append_start,
                                    .argument = &promise};
    for (unsigned life = 0; life < LIVES && promise.lost == 0; life++) {
        enum crash crash = rng_one_in(world_rng(world), 4) ? CRASH_KILL : CRASH_POWER;
        if (rng_one_in(world_rng(world), 4))
            machine_crash_in_call(machine, crash, (uint32_t)rng_between(world_rng(world), 1, 6));
        if (!machine_start(machine, &program))
            continue;
        world_run(world, world_now_ns(world) + rng_below(world_rng(world), 3 * MILLISECOND));
        machine_crash(machine, crash);
    }
    if (promise.lost != 0)
        (void)snprintf(why, why_size, "record %u of %u acknowledged is lost", promise.lost - 1,
                       promise.acked);
    return promise.lost == 0;
}

const struct scenario scenario_append = {
    .name = "append",
    .summary = "a durable append log over the door: proves that the simulated disk bites",
    .options = append_options,
    .play = append_play,
};
