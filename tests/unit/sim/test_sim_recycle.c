/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of segment files: what enters, what comes out, what a crash may leave.
 */
#include "core/log/recycle.h"
#include "io/mem.h"
#include "io/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define D      "/data"
#define LOG    "/data/orders-0"
#define LENGTH 65536U

struct test {
    struct world *world;
    struct machine *machine;
    struct recycle_pool pool;
};

static void setup(struct test *t, uint64_t bytes_max)
{
    struct world_options options;
    world_options_rough(&options, 1);
    t->world = world_new(&options);
    t->machine = world_machine(t->world, "node");
    t->pool = (struct recycle_pool){.fs = machine_fs(t->machine),
                                    .root = D,
                                    .uuid = (const uint8_t *)"0123456789abcdef",
                                    .bytes_max = bytes_max};
    assert_int_equal(fs_mkdir(t->pool.fs, D), 0);
    assert_int_equal(fs_mkdir(t->pool.fs, LOG), 0);
    assert_int_equal(fs_sync_dir(t->pool.fs, "/"), 0);
    assert_int_equal(fs_sync_dir(t->pool.fs, D), 0);
    assert_true(recycle_start(&t->pool) >= 0);
}

/* A file full of 'x', durable. */
static void write_file(const struct test *t, const char *path, size_t length)
{
    uint8_t *bytes = mem_pages(LENGTH * 2);
    memset(bytes, 'x', LENGTH * 2);
    int file = fs_open(t->pool.fs, path, FS_WRITE | FS_CREATE);
    assert_true(file >= 0);
    assert_int_equal(fs_write(t->pool.fs, file, bytes, length, 0), length);
    assert_int_equal(fs_sync(t->pool.fs, file), 0);
    fs_close(t->pool.fs, file);
    assert_int_equal(fs_sync_dir(t->pool.fs, LOG), 0);
    mem_pages_free(bytes, LENGTH * 2);
}

static uint32_t count(const struct test *t)
{
    struct fs_list list = {0};
    (void)!fs_list(t->pool.fs, D "/recycled", &list);
    uint32_t found = list.count;
    fs_list_free(&list);
    return found;
}

/* The file's length, and the bytes at its beginning and behind its first block. */
static int64_t look(const struct test *t, const char *path, uint8_t *first, uint8_t *second)
{
    uint8_t *bytes = mem_pages(2 * FS_BLOCK);
    int file = fs_open(t->pool.fs, path, FS_READ);
    assert_true(file >= 0);
    assert_int_equal(fs_read(t->pool.fs, file, bytes, 2 * FS_BLOCK, 0), 2 * FS_BLOCK);
    *first = bytes[0];
    *second = bytes[FS_BLOCK];
    int64_t size = fs_size(t->pool.fs, file);
    fs_close(t->pool.fs, file);
    mem_pages_free(bytes, 2 * FS_BLOCK);
    return size;
}

static void a_file_comes_back_wiped_at_its_beginning(void **state)
{
    (void)state;
    struct test t;
    uint8_t first;
    uint8_t second;
    setup(&t, 1U << 20);
    write_file(&t, LOG "/a.log", LENGTH + 77); /* cut to its blocks */
    assert_int_equal(recycle_put(&t.pool, LOG "/a.log", 1), 1);
    assert_int_equal(count(&t), 1);
    assert_true(fs_open(t.pool.fs, LOG "/a.log", FS_READ) < 0);
    assert_int_equal(recycle_take(&t.pool, LOG, LOG "/b.log", LENGTH + 1, 1U << 20), 0);
    assert_int_equal(recycle_take(&t.pool, LOG, LOG "/b.log", 1, LENGTH - 1), 0);
    assert_int_equal(recycle_take(&t.pool, LOG, LOG "/b.log", 1, LENGTH), 1);
    assert_int_equal(count(&t), 0);
    machine_crash(t.machine, CRASH_POWER);
    assert_int_equal(look(&t, LOG "/b.log", &first, &second), LENGTH);
    assert_int_equal(first, 0);
    assert_int_equal(second, 'x');
    world_free(t.world);
}

static void it_is_bounded_and_gives_way(void **state)
{
    (void)state;
    struct test t;
    setup(&t, 2 * LENGTH);
    write_file(&t, LOG "/small.log", FS_BLOCK);
    assert_int_equal(recycle_put(&t.pool, LOG "/small.log", 1), 0);
    assert_int_equal(recycle_put(&t.pool, LOG "/none.log", 1), 0);
    for (uint64_t tag = 2; tag < 5; tag++) {
        write_file(&t, LOG "/a.log", LENGTH);
        assert_int_equal(recycle_put(&t.pool, LOG "/a.log", tag), tag < 4);
    }
    assert_int_equal(count(&t), 2);
    assert_true(recycle_shrink(&t.pool));
    assert_int_equal(count(&t), 1);
    uint64_t free_bytes;
    assert_true(recycle_space(&t.pool, 1ULL << 60, &free_bytes) >= 0);
    assert_int_equal(count(&t), 0);
    assert_false(recycle_shrink(&t.pool));
    world_free(t.world);
}

static void a_start_keeps_what_is_free(void **state)
{
    (void)state;
    struct test t;
    char path[64];
    setup(&t, 2 * LENGTH);
    write_file(&t, LOG "/a.log", LENGTH);
    assert_int_equal(recycle_put(&t.pool, LOG "/a.log", 1), 1);
    assert_int_equal(fs_sync_dir(t.pool.fs, D "/recycled"), 0);
    /* The name of a file that is in use already, as a crash of a file system leaves it. */
    (void)snprintf(path, sizeof(path), D "/recycled/%016x-%016x", LENGTH, 2U);
    write_file(&t, path, LENGTH);
    write_file(&t, D "/recycled/something.in", LENGTH);
    assert_int_equal(count(&t), 3);
    assert_true(recycle_start(&t.pool) >= 0);
    assert_int_equal(count(&t), 1);
    t.pool.uuid = (const uint8_t *)"another directory";
    assert_true(recycle_start(&t.pool) >= 0);
    assert_int_equal(count(&t), 0);
    world_free(t.world);
}

static void switched_off_nothing_stays(void **state)
{
    (void)state;
    struct test t;
    setup(&t, 2 * LENGTH);
    write_file(&t, LOG "/a.log", LENGTH);
    assert_int_equal(recycle_put(&t.pool, LOG "/a.log", 1), 1);
    t.pool.bytes_max = 0;
    write_file(&t, LOG "/a.log", LENGTH);
    assert_int_equal(recycle_put(&t.pool, LOG "/a.log", 2), 0);
    assert_true(recycle_start(&t.pool) >= 0);
    struct fs_list list = {0};
    assert_true(fs_list(t.pool.fs, D "/recycled", &list) < 0);
    world_free(t.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_wiped_at_its_beginning),
        cmocka_unit_test(it_is_bounded_and_gives_way),
        cmocka_unit_test(a_start_keeps_what_is_free),
        cmocka_unit_test(switched_off_nothing_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
