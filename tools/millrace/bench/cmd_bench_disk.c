/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench disk`: what the disk below a directory can do, asked through the door that the
 * broker has (io/io.h): durable writes and direct reads, in the sizes and numbers in flight that
 * decide how fast a broker can be there.
 *
 * Fresh space is allocated and never written, as a segment's file grows; written space is what a
 * journal goes round in.
 */
#include "io/fs.h"
#include "io/histogram.h"
#include "io/mem.h"
#include "tools/millrace/bench/bench.h"
#include "tools/millrace/output.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 16U
#define KIB       1024U
#define MIB       (1024U * KIB)
#define FILE_MIN  (16LL * MIB)
#define FILE_MAX  (512LL << 40)

enum access_kind { WRITE_FRESH, WRITE_OVER, READ_IN_ORDER, READ_RANDOM };

/* A line of the table. */
struct access {
    enum access_kind kind;
    uint32_t bytes, in_flight;
};

static const struct access accesses[] = {
    {WRITE_FRESH, 4 * KIB, 1},  {WRITE_FRESH, 4 * KIB, 4},   {WRITE_FRESH, 16 * KIB, 1},
    {WRITE_FRESH, 16 * KIB, 4}, {WRITE_FRESH, 128 * KIB, 1}, {WRITE_FRESH, 128 * KIB, 4},
    {WRITE_FRESH, MIB, 1},      {WRITE_FRESH, MIB, 4},       {WRITE_OVER, 4 * KIB, 1},
    {WRITE_OVER, 4 * KIB, 4},   {WRITE_OVER, 16 * KIB, 1},   {WRITE_OVER, 16 * KIB, 4},
    {WRITE_OVER, 128 * KIB, 1}, {WRITE_OVER, 128 * KIB, 4},  {WRITE_OVER, MIB, 1},
    {WRITE_OVER, MIB, 4},       {READ_IN_ORDER, MIB, 4},     {READ_RANDOM, 64 * KIB, 16},
};

static const char *const kind_names[] = {"durable write, fresh space",
                                         "durable write, written space", "read in order",
                                         "read at random"};

static const struct column columns[] = {
    {.key = "what", .title = "WHAT"},
    {.key = "block_bytes", .title = "BLOCK", .unit = UNIT_BYTES},
    {.key = "in_flight", .title = "IN FLIGHT"},
    {.key = "iops", .title = "IOPS"},
    {.key = "mb_per_s", .title = "MB/S"},
    {.key = "p50_ms", .title = "P50 MS"},
    {.key = "p99_ms", .title = "P99 MS"},
    {.key = "max_ms", .title = "MAX MS"},
    {.key = "file_system", .title = "FILE SYSTEM", .wide = true},
};

struct disk;

struct disk_slot {
    struct io_op op;
    struct disk *disk;
    uint8_t *bytes;
    uint64_t begun_ns;
};

struct disk {
    struct session *s;
    struct io *io;
    struct fs *fs;
    const char *directory;
    char path[4096];
    int file;
    int64_t size;
    uint64_t line_ns;
    struct fs_probe probe;
    struct disk_slot slots[SLOTS_MAX];
    uint64_t dice;
    /* the line that is measured */
    struct access access;
    uint32_t busy;
    uint64_t next; /* where in the file */
    uint64_t began_ns, ended_ns;
    uint64_t bytes_done;
    struct histogram *times;
    int64_t error; /* 0, or -errno */
    bool news;
};

/* ---- one line ---- */

/* False: the fresh space is used up. */
static bool place(struct disk *d, uint64_t *offset)
{
    const uint64_t bytes = d->access.bytes;
    const uint64_t size = (uint64_t)d->size;
    if (d->access.kind == READ_RANDOM) {
        *offset = dice_next(&d->dice) % (size / bytes) * bytes;
        return true;
    }
    if (d->next + bytes > size && d->access.kind == WRITE_FRESH)
        return false;
    if (d->next + bytes > size)
        d->next = 0;
    *offset = d->next;
    d->next += bytes;
    return true;
}

static void on_done(struct io_op *op);

static void slot_go(struct disk_slot *slot)
{
    struct disk *d = slot->disk;
    uint64_t offset;
    slot->begun_ns = io_clock_ns(d->io);
    if (slot->begun_ns >= d->began_ns + d->line_ns || d->error != 0 || bench_interrupted() ||
        !place(d, &offset))
        return;
    d->busy++;
    slot->op.done = on_done;
    const struct iovec iov = {.iov_base = slot->bytes, .iov_len = d->access.bytes};
    if (d->access.kind <= WRITE_OVER)
        io_write(d->io, &slot->op, d->file, &iov, 1, offset, true);
    else
        io_read(d->io, &slot->op, d->file, slot->bytes, d->access.bytes, offset);
}

static void on_done(struct io_op *op)
{
    struct disk_slot *slot = container_of(op, struct disk_slot, op);
    struct disk *d = slot->disk;
    d->ended_ns = io_clock_ns(d->io);
    d->busy--;
    d->news = true;
    if (op->res != (int64_t)d->access.bytes) {
        d->error = op->res < 0 ? op->res : -EIO;
        return;
    }
    histogram_add(d->times, d->ended_ns - slot->begun_ns);
    d->bytes_done += d->access.bytes;
    slot_go(slot);
}

static void line_run(struct disk *d, const struct access *access)
{
    d->access = *access;
    d->next = 0;
    d->bytes_done = 0;
    histogram_clear(d->times);
    d->began_ns = io_clock_ns(d->io);
    d->ended_ns = d->began_ns;
    for (uint32_t i = 0; i < access->in_flight; i++)
        slot_go(&d->slots[i]);
    while (d->busy > 0) {
        d->news = false;
        session_turn(d->s, UINT64_MAX, &d->news);
    }
}

/* ---- the file ---- */

static void empty_again(struct disk *d)
{
    d->error = fs_truncate(d->fs, d->file, 0);
    if (d->error >= 0)
        d->error = fs_allocate(d->fs, d->file, 0, (uint64_t)d->size);
    if (d->error >= 0) /* so that no durable write has to save the length */
        d->error = fs_sync(d->fs, d->file);
}

static void write_all(struct disk *d)
{
    d->error = 0;
    for (int64_t at = 0; at < d->size && d->error >= 0 && !bench_interrupted(); at += MIB)
        d->error = fs_write(d->fs, d->file, d->slots[0].bytes, MIB, (uint64_t)at);
    if (d->error >= 0)
        d->error = fs_sync(d->fs, d->file);
}

/* What the file has to be before this line. */
static void prepare(struct disk *d, uint32_t index)
{
    const enum access_kind kind = accesses[index].kind;
    if (kind == WRITE_FRESH)
        empty_again(d);
    else if (index > 0 && accesses[index - 1].kind == WRITE_FRESH)
        write_all(d);
    if (d->error > 0)
        d->error = 0;
}

/* ---- telling ---- */

static double rounded(double value, double digits)
{
    return round(value * digits) / digits;
}

static double rounded_ms(uint64_t ns)
{
    return rounded(ms(ns), 1000);
}

static json_t *row_of(const struct disk *d)
{
    const struct histogram *h = d->times;
    const double seconds = (double)(d->ended_ns - d->began_ns) / (double)NS_PER_S;
    const double per_s = seconds > 0 ? 1 / seconds : 0;
    const uint64_t p50_ns = histogram_quantile_ns(h, 0.5);
    const uint64_t p99_ns = histogram_quantile_ns(h, 0.99);
    return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:s, s:b}",
                     "what", kind_names[d->access.kind], "block_bytes", (json_int_t)d->access.bytes,
                     "in_flight", (json_int_t)d->access.in_flight, "iops",
                     (json_int_t)((double)h->count * per_s + 0.5), "mb_per_s",
                     rounded((double)d->bytes_done * per_s / 1e6, 10), "p50_ms", rounded_ms(p50_ns),
                     "p99_ms", rounded_ms(p99_ns), "max_ms", rounded_ms(h->max_ns), "count",
                     (json_int_t)h->count, "p50_ns", (json_int_t)p50_ns, "p99_ns",
                     (json_int_t)p99_ns, "max_ns", (json_int_t)h->max_ns, "seconds", seconds,
                     "file_system", d->probe.type, "direct", d->probe.direct);
}

static int measure_all(struct disk *d)
{
    const struct invocation *inv = d->s->inv;
    struct listing *listing = listing_open(inv, columns, array_count(columns));
    for (uint32_t i = 0; i < array_count(accesses) && d->error == 0 && !bench_interrupted(); i++) {
        char size[BYTES_TEXT_SIZE];
        note(inv, "%s: %s, %u in flight", kind_names[accesses[i].kind],
             bytes_text(accesses[i].bytes, size), accesses[i].in_flight);
        prepare(d, i);
        if (d->error == 0 && !bench_interrupted())
            line_run(d, &accesses[i]);
        if (d->error == 0 && !bench_interrupted())
            listing_row(listing, row_of(d));
    }
    listing_close(listing);
    if (bench_interrupted())
        return EXIT_INTERRUPTED;
    if (d->error == 0)
        return EXIT_OK;
    complain(inv, "%s: %s", d->path, strerror((int)-d->error));
    return EXIT_FAILED;
}

/* ---- from begin to end ---- */

static int read_options(struct disk *d)
{
    const struct invocation *inv = d->s->inv;
    const char *seconds = option_text(inv, "seconds");
    const char *size = option_text(inv, "size");
    d->directory = inv->operand_count > 0 ? inv->operands[0] : ".";
    if (!duration_parse(seconds, strlen(seconds), &d->line_ns) || d->line_ns == 0)
        return usage_error(inv, "--seconds %s: a time is wanted, as 1 or 0.5", seconds);
    if (!size_parse(size, &d->size) || d->size < FILE_MIN || d->size > FILE_MAX)
        return usage_error(inv, "--size %s: a size from 16M on is wanted", size);
    d->size -= d->size % MIB;
    return EXIT_OK;
}

static int look_at_directory(struct disk *d)
{
    const struct invocation *inv = d->s->inv;
    struct fs_space space;
    char texts[2][BYTES_TEXT_SIZE];
    int result = fs_probe(d->fs, d->directory, &d->probe);
    if (result >= 0)
        result = fs_space(d->fs, d->directory, &space);
    if (result < 0) {
        complain(inv, "cannot use %s: %s", d->directory, strerror(-result));
        return EXIT_FAILED;
    }
    if (space.free_bytes < 2 * (uint64_t)d->size) {
        complain(inv, "%s has %s of free space, and twice --size (%s) is wanted", d->directory,
                 bytes_text((int64_t)space.free_bytes, texts[0]), bytes_text(d->size, texts[1]));
        return EXIT_FAILED;
    }
    if (d->probe.in_memory)
        note(inv, "warning: %s is in memory (%s): this is not about a disk", d->directory,
             d->probe.type);
    else if (!d->probe.direct)
        note(inv, "warning: %s has no direct I/O (%s): the page cache is measured too",
             d->directory, d->probe.type);
    return EXIT_OK;
}

static int with_file(struct disk *d)
{
    (void)snprintf(d->path, sizeof(d->path), "%s/millrace-bench-disk.%ld", d->directory,
                   (long)getpid());
    d->file = fs_open(d->fs, d->path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE | FS_DIRECT);
    if (d->file < 0) {
        complain(d->s->inv, "cannot make %s: %s", d->path, strerror(-d->file));
        return EXIT_FAILED;
    }
    int code = measure_all(d);
    fs_close(d->fs, d->file);
    int removed = fs_unlink(d->fs, d->path);
    if (removed < 0) {
        complain(d->s->inv, "cannot remove %s: %s", d->path, strerror(-removed));
        code = code == EXIT_OK ? EXIT_FAILED : code;
    }
    return code;
}

static int disk_run(struct session *s)
{
    struct disk *d = mem_zalloc(sizeof(*d));
    d->s = s;
    d->io = s->sh->io;
    d->fs = io_fs(d->io);
    int code = read_options(d);
    if (code == EXIT_OK)
        code = look_at_directory(d);
    if (code == EXIT_OK) {
        bench_prepare();
        d->times = mem_zalloc(sizeof(*d->times));
        for (uint32_t i = 0; i < SLOTS_MAX; i++) {
            d->slots[i].disk = d;
            d->slots[i].bytes = mem_pages(MIB);
            dice_fill(&d->dice, d->slots[i].bytes, MIB);
        }
        code = with_file(d);
        for (uint32_t i = 0; i < SLOTS_MAX; i++)
            mem_pages_free(d->slots[i].bytes, MIB);
        mem_free(d->times);
    }
    mem_free(d);
    return code;
}

int cmd_bench_disk(struct invocation *inv)
{
    return session_run_alone(inv, SESSION_POOL_BYTES, NULL, disk_run);
}
