/* SPDX-License-Identifier: Apache-2.0
 *
 * What the simulated disk keeps, loses and refuses: the model of io/sim/disk.h, line by line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/mem.h"
#include "io/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000U
#define BLOCKS 8U
#define LEN    (BLOCKS * FS_BLOCK)

static struct world *disk_world(uint64_t seed, struct machine **machine)
{
    struct world_options options;
    world_options_calm(&options, seed);
    struct world *world = world_new(&options);
    *machine = world_machine(world, "m");
    return world;
}

static void fill(uint8_t *bytes, uint8_t with)
{
    memset(bytes, with, LEN);
}

/* A file full of `with`, durable with its name; open. */
static int file_of(struct fs *fs, uint8_t with)
{
    static uint8_t bytes[LEN];
    int file = fs_open(fs, "f", FS_WRITE | FS_CREATE);
    fill(bytes, with);
    assert_true(file >= 0);
    assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
    assert_int_equal(fs_sync(fs, file), 0);
    assert_int_equal(fs_sync_dir(fs, "/"), 0);
    return file;
}

static void file_get(struct fs *fs, uint8_t *bytes)
{
    int file = fs_open(fs, "f", FS_READ);
    assert_true(file >= 0);
    memset(bytes, 0xff, LEN);
    assert_int_equal(fs_read(fs, file, bytes, LEN, 0), LEN);
    fs_close(fs, file);
}

static unsigned count_of(const uint8_t *bytes, uint8_t what)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LEN; i++)
        count += bytes[i] == what;
    return count;
}

/* ---- bytes ---- */

static void power_loss_mixes_old_and_new_by_sector(void **state)
{
    (void)state;
    uint8_t bytes[LEN];
    unsigned all_old = 0;
    unsigned all_new = 0;
    unsigned mixed = 0;
    unsigned torn = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        fill(bytes, 2);
        assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
        file_get(fs, bytes);
        assert_int_equal(count_of(bytes, 2), LEN);
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        unsigned fresh = count_of(bytes, 2);
        assert_int_equal(fresh + count_of(bytes, 1), LEN);
        all_old += fresh == 0;
        all_new += fresh == LEN;
        mixed += fresh > 0 && fresh < LEN;
        torn += fresh % 512 != 0;
        world_free(world);
    }
    assert_true(all_old > 5 && all_new > 5 && mixed > 20 && torn > 10);
}

static void what_was_synced_stays(void **state)
{
    (void)state;
    uint8_t bytes[LEN];
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        fill(bytes, 2);
        assert_int_equal(fs_write(fs, file, bytes, FS_BLOCK, FS_BLOCK), FS_BLOCK);
        assert_int_equal(fs_sync(fs, file), 0);
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        assert_int_equal(count_of(bytes, 2), FS_BLOCK);
        assert_int_equal(count_of(bytes, 1), LEN - FS_BLOCK);
        world_free(world);
    }
}

static void a_kill_loses_no_write(void **state)
{
    (void)state;
    uint8_t bytes[LEN];
    struct machine *machine;
    struct world *world = disk_world(1, &machine);
    struct fs *fs = machine_fs(machine);
    int file = file_of(fs, 1);
    fill(bytes, 2);
    assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
    machine_crash(machine, CRASH_KILL);
    file_get(fs, bytes);
    assert_int_equal(count_of(bytes, 2), LEN);
    world_free(world);
}

static void *flush_twice(struct fs *fs, void *argument, bool *failed)
{
    static uint8_t bytes[LEN];
    (void)argument;
    fill(bytes, 2);
    int file = fs_open(fs, "f", FS_WRITE);
    must(fs_write(fs, file, bytes, LEN, 0) == LEN);
    must(fs_sync(fs, file) == -EIO);
    must(fs_sync(fs, file) == 0);
    *failed = true; /* enough of it */
    return NULL;
}

static void a_failed_flush_saves_nothing_later(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint8_t bytes[LEN];
        struct world_options options;
        struct machine *machine;
        world_options_calm(&options, seed);
        struct world *world = world_new(&options);
        machine = world_machine(world, "m");
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        fs_close(fs, file);
        /* Faults are for processes, so one does it. */
        machine_disk_fault(machine,
                           &(struct disk_fault){.calls = DISK_SYNC, .times = 1, .error = -EIO});
        struct program program = {.shards = 1, .prepare = flush_twice};
        assert_null(machine_start(machine, &program));
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        lost += count_of(bytes, 2) < LEN;
        world_free(world);
    }
    assert_true(lost > 10);
}

static void a_block_being_rewritten_may_be_lost_whole(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint8_t bytes[LEN];
        struct world_options options;
        world_options_calm(&options, seed);
        options.disk.block_lost_one_in = 2;
        struct world *world = world_new(&options);
        struct machine *machine = world_machine(world, "m");
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        memset(bytes, 2, 512);
        assert_int_equal(fs_write(fs, file, bytes, 512, FS_BLOCK), 512);
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        lost += bytes[FS_BLOCK + 4095] != 1;
        assert_int_equal(bytes[FS_BLOCK - 1], 1);
        assert_int_equal(bytes[2 * FS_BLOCK], 1);
        world_free(world);
    }
    assert_in_range(lost, 5, 30);
}

/* ---- sizes ---- */

static void a_truncation_may_be_lost_but_leaves_no_holes(void **state)
{
    (void)state;
    unsigned kept = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint8_t bytes[LEN];
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        assert_int_equal(fs_truncate(fs, file, FS_BLOCK + 100), 0);
        assert_int_equal(fs_truncate(fs, file, LEN), 0);
        file_get(fs, bytes);
        assert_int_equal(count_of(bytes, 1), FS_BLOCK + 100);
        assert_int_equal(count_of(bytes, 0), LEN - FS_BLOCK - 100);
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        /* Whole sectors came back or are zero, all of them alike. */
        bool zero = bytes[2 * FS_BLOCK] == 0;
        kept += zero;
        for (unsigned i = FS_BLOCK + 512; i < LEN; i++)
            assert_int_equal(bytes[i], zero ? 0 : 1);
        world_free(world);
    }
    assert_in_range(kept, 10, 50);
}

static void a_size_grows_by_sync_only(void **state)
{
    (void)state;
    unsigned shorter = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint8_t bytes[LEN];
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        int file = file_of(fs, 1);
        fill(bytes, 2);
        assert_int_equal(fs_write(fs, file, bytes, LEN, LEN), LEN);
        if (seed % 2)
            assert_int_equal(fs_sync(fs, file), 0);
        machine_crash(machine, CRASH_POWER);
        file = fs_open(fs, "f", FS_READ);
        int64_t size = fs_size(fs, file);
        assert_in_range((uint64_t)size, LEN, 2 * LEN);
        assert_true(size == 2 * LEN || seed % 2 == 0);
        shorter += size < 2 * LEN;
        world_free(world);
    }
    assert_true(shorter > 5);
}

/* ---- names ---- */

static bool there_is(struct fs *fs, const char *path)
{
    int file = fs_open(fs, path, FS_READ);
    if (file >= 0)
        fs_close(fs, file);
    return file >= 0;
}

static void names_need_their_directory_synced(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        assert_int_equal(fs_mkdir(fs, "d"), 0);
        assert_int_equal(fs_sync_dir(fs, "/"), 0);
        fs_close(fs, fs_open(fs, "d/synced", FS_WRITE | FS_CREATE));
        assert_int_equal(fs_sync_dir(fs, "d"), 0);
        int file = fs_open(fs, "d/new", FS_WRITE | FS_CREATE);
        assert_int_equal(fs_sync(fs, file), 0); /* saves the bytes, not the name */
        machine_crash(machine, CRASH_POWER);
        assert_true(there_is(fs, "d/synced"));
        lost += !there_is(fs, "d/new");
        world_free(world);
    }
    assert_in_range(lost, 10, 50);
}

static void a_rename_is_atomic(void **state)
{
    (void)state;
    unsigned fresh = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint8_t bytes[LEN];
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        file_of(fs, 1);
        int file = fs_open(fs, "f.tmp", FS_WRITE | FS_CREATE);
        fill(bytes, 2);
        assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
        assert_int_equal(fs_sync(fs, file), 0);
        assert_int_equal(fs_rename(fs, "f.tmp", "f"), 0);
        if (seed % 3 == 0)
            assert_int_equal(fs_sync_dir(fs, "/"), 0);
        machine_crash(machine, CRASH_POWER);
        file_get(fs, bytes);
        assert_true(count_of(bytes, 1) == LEN || count_of(bytes, 2) == LEN);
        assert_true(seed % 3 != 0 || bytes[0] == 2);
        fresh += seed % 3 != 0 && bytes[0] == 2;
        world_free(world);
    }
    assert_in_range(fresh, 5, 35);
}

static void a_tree_is_synced_with_all_below(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint8_t bytes[LEN];
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        struct fs *fs = machine_fs(machine);
        struct fs_tree tree;
        assert_int_equal(fs_tree_open(fs, "/none", &tree), -ENOENT);
        assert_int_equal(fs_tree_open(fs, "/", &tree), 0);
        assert_int_equal(fs_mkdir(fs, "d"), 0);
        int file = fs_open(fs, "d/f", FS_WRITE | FS_CREATE);
        fill(bytes, 2);
        assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
        assert_int_equal(fs_tree_sync(fs, &tree), 0);
        fs_tree_close(fs, &tree);
        machine_crash(machine, CRASH_POWER);
        file = fs_open(fs, "d/f", FS_READ);
        assert_true(file >= 0);
        assert_int_equal(fs_read(fs, file, bytes, LEN, 0), LEN);
        assert_int_equal(count_of(bytes, 2), LEN);
        world_free(world);
    }
}

/* ---- space, faults, locks ---- */

static void a_full_disk_says_so_and_recovers(void **state)
{
    (void)state;
    uint8_t bytes[LEN];
    struct machine *machine;
    struct world *world = disk_world(1, &machine);
    struct fs *fs = machine_fs(machine);
    struct fs_space space;
    int file = file_of(fs, 1);
    fill(bytes, 2);
    machine_disk_free(machine, 2 * FS_BLOCK);
    assert_int_equal(fs_space(fs, "/", &space), 0);
    assert_int_equal(space.free_bytes, 2 * FS_BLOCK);
    assert_int_equal(fs_write(fs, file, bytes, LEN, LEN), -ENOSPC);
    assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN); /* takes no space */
    assert_int_equal(fs_allocate(fs, file, LEN, 2 * FS_BLOCK), 0);
    assert_int_equal(fs_open(fs, "g", FS_WRITE | FS_CREATE), -ENOSPC);
    assert_int_equal(fs_truncate(fs, file, FS_BLOCK), 0);
    assert_int_equal(fs_write(fs, file, bytes, LEN, FS_BLOCK), LEN);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, "f"), 0);
    assert_int_equal(fs_space(fs, "/", &space), 0);
    assert_int_equal(space.free_bytes, LEN + 2 * FS_BLOCK);
    world_free(world);
}

static void rot_flips_one_bit(void **state)
{
    (void)state;
    uint8_t bytes[LEN];
    struct machine *machine;
    struct world *world = disk_world(3, &machine);
    struct fs *fs = machine_fs(machine);
    assert_false(machine_disk_rot(machine, "f"));
    file_of(fs, 0);
    assert_true(machine_disk_damage(machine, "f", 5, 0x10));
    file_get(fs, bytes);
    assert_int_equal(bytes[5], 0x10);
    assert_true(machine_disk_rot(machine, ""));
    file_get(fs, bytes);
    unsigned bits = 0;
    for (unsigned i = 0; i < LEN; i++)
        bits += (unsigned)__builtin_popcount(bytes[i]);
    assert_true(bits == 2 || bits == 0);
    world_free(world);
}

static void a_new_disk_is_empty(void **state)
{
    (void)state;
    uint8_t bytes[LEN] = {0};
    struct fs_space before;
    struct fs_space after;
    struct machine *machine;
    struct world *world = disk_world(4, &machine);
    struct fs *fs = machine_fs(machine);
    assert_int_equal(fs_space(fs, "/", &before), 0);
    fs_close(fs, file_of(fs, 7));
    machine_crash(machine, CRASH_POWER);
    machine_disk_replace(machine, "/");
    assert_int_equal(fs_open(fs, "f", FS_READ), -ENOENT);
    assert_int_equal(fs_space(fs, "/", &after), 0);
    assert_int_equal(after.free_bytes, before.free_bytes);
    assert_int_equal(fs_mkdir(fs, "/more"), 0);
    assert_int_equal(fs_sync_dir(fs, "/"), 0);
    fs_close(fs, file_of(fs, 8));
    int file = fs_open(fs, "/more/g", FS_WRITE | FS_CREATE);
    assert_int_equal(fs_write(fs, file, bytes, LEN, 0), LEN);
    fs_close(fs, file);
    machine_crash(machine, CRASH_POWER);
    machine_disk_replace(machine, "/more");
    machine_crash(machine, CRASH_POWER);
    assert_int_equal(fs_open(fs, "/more/g", FS_READ), -ENOENT);
    file_get(fs, bytes);
    assert_int_equal(bytes[0], 8);
    world_free(world);
}

static void *lock_it(struct fs *fs, void *argument, bool *failed)
{
    (void)argument;
    int file = fs_open(fs, "lock", FS_WRITE | FS_CREATE);
    *failed = fs_lock(fs, file) == -EWOULDBLOCK;
    return NULL;
}

static void idle_start(struct shard *sh, void *argument)
{
    (void)sh;
    (void)argument;
}

static void a_lock_dies_with_its_process(void **state)
{
    (void)state;
    struct machine *machine;
    struct world *world = disk_world(1, &machine);
    const struct program program = {.shards = 1, .prepare = lock_it, .start = idle_start};
    struct process *first = machine_start(machine, &program);
    assert_non_null(first);
    assert_null(machine_start(machine, &program));
    process_kill(first);
    assert_non_null(machine_start(machine, &program));
    world_free(world);
}

/* ---- calls with a completion ---- */

#define OPS 64U

struct storm {
    struct io_op ops[OPS];
    struct iovec iov[OPS];
    uint8_t *pages;
    int file;
};

struct storm_out {
    int64_t res[OPS];
    uint32_t done;
    bool durable;
};

static struct storm_out *storm_out; /* of the test that runs */

static void storm_on_write(struct io_op *op)
{
    struct storm_out *out = storm_out;
    out->res[out->done++] = op->res;
}

static void *storm_prepare(struct fs *fs, void *argument, bool *failed)
{
    (void)argument;
    struct storm *storm = mem_zalloc(sizeof(*storm));
    storm->pages = mem_pages(OPS * FS_BLOCK);
    storm->file = fs_open(fs, "storm", FS_WRITE | FS_CREATE | FS_DIRECT);
    must(fs_write(fs, storm->file, storm->pages, OPS * FS_BLOCK, 0) > 0);
    *failed = fs_sync(fs, storm->file) != 0 || fs_sync_dir(fs, "/") != 0;
    return storm;
}

static void storm_start(struct shard *sh, void *prepared)
{
    struct storm *storm = prepared;
    memset(storm->pages, 7, OPS * FS_BLOCK);
    for (unsigned i = 0; i < OPS; i++) {
        storm->ops[i].done = storm_on_write;
        storm->iov[i] = (struct iovec){storm->pages + i * FS_BLOCK, FS_BLOCK};
        io_write(sh->io, &storm->ops[i], storm->file, &storm->iov[i], 1, (uint64_t)i * FS_BLOCK,
                 storm_out->durable);
    }
}

static const struct program storm_program = {
    .shards = 1, .prepare = storm_prepare, .start = storm_start};

static unsigned storm_blocks(struct machine *machine)
{
    static uint8_t bytes[OPS * FS_BLOCK];
    unsigned whole = 0;
    int file = fs_open(machine_fs(machine), "storm", FS_READ);
    assert_int_equal(fs_read(machine_fs(machine), file, bytes, sizeof(bytes), 0), sizeof(bytes));
    fs_close(machine_fs(machine), file);
    for (unsigned i = 0; i < OPS; i++) {
        bool all = true;
        for (unsigned j = 0; j < FS_BLOCK; j++)
            all = all && bytes[i * FS_BLOCK + j] == 7;
        whole += all;
    }
    return whole;
}

/* Durable: what completed is there. Not: something is lost in some world. */
static void durable_writes_survive_power_loss(void **state)
{
    (void)state;
    unsigned lost[2] = {0};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct storm_out out = {.durable = seed % 2};
        struct machine *machine;
        struct world *world = disk_world(seed, &machine);
        storm_out = &out;
        assert_non_null(machine_start(machine, &storm_program));
        world_run(world, world_now_ns(world) + (out.durable ? 250000 : 45000));
        machine_crash(machine, CRASH_POWER);
        assert_in_range(out.done, 1, OPS);
        lost[seed % 2] += storm_blocks(machine) < out.done;
        world_free(world);
    }
    assert_int_equal(lost[1], 0);
    assert_true(lost[0] > 10);
}

static void *storm_reopen(struct fs *fs, void *argument, bool *failed)
{
    (void)argument;
    struct storm *storm = mem_zalloc(sizeof(*storm));
    storm->pages = mem_pages(OPS * FS_BLOCK);
    storm->file = fs_open(fs, "storm", FS_WRITE | FS_DIRECT);
    *failed = storm->file < 0;
    return storm;
}

static void faults_fail_writes_once_or_for_ever(void **state)
{
    (void)state;
    for (unsigned ever = 0; ever < 2; ever++) {
        struct storm_out out = {.durable = true};
        struct machine *machine;
        struct world *world = disk_world(4, &machine);
        storm_out = &out;
        struct process *process = machine_start(machine, &storm_program);
        world_run(world, world_now_ns(world) + SECOND);
        assert_int_equal(out.done, OPS);
        for (unsigned i = 0; i < OPS; i++)
            assert_int_equal(out.res[i], FS_BLOCK);
        process_kill(process);
        out.done = 0;
        machine_disk_fault(machine, &(struct disk_fault){.calls = DISK_WRITE,
                                                         .prefix = "stor",
                                                         .times = ever ? UINT32_MAX : 3,
                                                         .error = -EIO});
        struct program program = storm_program;
        program.prepare = storm_reopen;
        assert_non_null(machine_start(machine, &program));
        world_run(world, world_now_ns(world) + SECOND);
        unsigned failed = 0;
        for (unsigned i = 0; i < OPS; i++)
            failed += out.res[i] == -EIO;
        assert_int_equal(failed, ever ? OPS : 3);
        world_free(world);
    }
}

static void a_stalled_disk_waits_and_goes_on(void **state)
{
    (void)state;
    struct storm_out out = {.durable = true};
    struct machine *machine;
    struct world *world = disk_world(5, &machine);
    storm_out = &out;
    assert_non_null(machine_start(machine, &storm_program));
    machine_disk_stall(machine, SECOND);
    world_run(world, world_now_ns(world) + SECOND / 2);
    assert_int_equal(out.done, 0);
    world_run(world, world_now_ns(world) + SECOND);
    assert_int_equal(out.done, OPS);
    world_free(world);
}

/* ---- a crash inside blocking code ---- */

struct job {
    struct io_op op;
    struct fs *fs;
};

static void job_work(void *argument)
{
    struct job *job = argument;
    (void)mem_alloc(1000); /* the crash gives it back */
    for (char name[] = "a"; name[0] <= 'j'; name[0]++)
        fs_close(job->fs, fs_open(job->fs, name, FS_WRITE | FS_CREATE));
}

static void job_done(struct io_op *op)
{
    must(op->res == 0);
    must(false && "the crash comes before");
}

static void job_start(struct shard *sh, void *argument)
{
    (void)argument;
    struct job *job = mem_zalloc(sizeof(*job));
    job->op.done = job_done;
    job->fs = io_fs(sh->io);
    io_work(sh->io, &job->op, job_work, job);
}

static void a_laid_crash_strikes_between_two_calls(void **state)
{
    (void)state;
    for (uint32_t calls = 1; calls <= 10; calls++) {
        struct fs_list list;
        struct machine *machine;
        struct world *world = disk_world(calls, &machine);
        struct process *process =
            machine_start(machine, &(struct program){.shards = 1, .start = job_start});
        machine_crash_in_call(machine, CRASH_KILL, calls);
        world_run(world, world_now_ns(world) + SECOND);
        assert_int_equal(process_state(process), PROCESS_CRASHED);
        assert_int_equal(process_memory(process), 0);
        assert_int_equal(fs_list(machine_fs(machine), "/", &list), 0);
        assert_int_equal(list.count, calls - 1);
        fs_list_free(&list);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_loss_mixes_old_and_new_by_sector),
        cmocka_unit_test(what_was_synced_stays),
        cmocka_unit_test(a_kill_loses_no_write),
        cmocka_unit_test(a_failed_flush_saves_nothing_later),
        cmocka_unit_test(a_block_being_rewritten_may_be_lost_whole),
        cmocka_unit_test(a_truncation_may_be_lost_but_leaves_no_holes),
        cmocka_unit_test(a_size_grows_by_sync_only),
        cmocka_unit_test(names_need_their_directory_synced),
        cmocka_unit_test(a_rename_is_atomic),
        cmocka_unit_test(a_tree_is_synced_with_all_below),
        cmocka_unit_test(a_full_disk_says_so_and_recovers),
        cmocka_unit_test(rot_flips_one_bit),
        cmocka_unit_test(a_new_disk_is_empty),
        cmocka_unit_test(a_lock_dies_with_its_process),
        cmocka_unit_test(durable_writes_survive_power_loss),
        cmocka_unit_test(faults_fail_writes_once_or_for_ever),
        cmocka_unit_test(a_stalled_disk_waits_and_goes_on),
        cmocka_unit_test(a_laid_crash_strikes_between_two_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
