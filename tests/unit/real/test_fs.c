/* SPDX-License-Identifier: Apache-2.0 */
#include "io/fs.h"

#include "io/mem.h"
#include "io/threads.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[32];
static struct fs *fs;

static const char *in_root(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static int root_open(void **state)
{
    (void)state;
    fs = fs_host();
    snprintf(root, sizeof(root), "./test-fs-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int root_close(void **state)
{
    (void)state;
    return fs_rmdir(fs, root); /* each test leaves it empty */
}

static void test_open(void **state)
{
    (void)state;
    assert_int_equal(fs_open(fs, in_root("none"), FS_READ), -ENOENT);
    int file = fs_open(fs, in_root("f"), FS_WRITE | FS_CREATE | FS_EXCLUSIVE);
    assert_true(file >= 0);
    assert_int_equal(fs_open(fs, in_root("f"), FS_WRITE | FS_CREATE | FS_EXCLUSIVE), -EEXIST);
    assert_int_equal(fs_write(fs, file, "hello", 5, 3), 5);
    char back[16];
    assert_int_equal(fs_read(fs, file, back, sizeof(back), 0), 8);
    assert_memory_equal(back, "\0\0\0hello", 8);
    assert_int_equal(fs_size(fs, file), 8);
    assert_int_equal(fs_sync(fs, file), 0);
    assert_int_equal(fs_truncate(fs, file, 4), 0);
    assert_int_equal(fs_size(fs, file), 4);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, in_root("f")), 0);
    assert_int_equal(fs_unlink(fs, in_root("f")), -ENOENT);
}

static void test_allocate(void **state)
{
    (void)state;
    int file = fs_open(fs, in_root("f"), FS_WRITE | FS_CREATE);
    assert_int_equal(fs_write(fs, file, "hello", 5, 0), 5);
    assert_int_equal(fs_allocate(fs, file, 0, 100000), 0);
    assert_int_equal(fs_size(fs, file), 100000);
    char back[8];
    assert_int_equal(fs_read(fs, file, back, 8, 0), 8);
    assert_memory_equal(back, "hello\0\0\0", 8);
    assert_int_equal(fs_allocate(fs, file, 0, 50), 0);
    assert_int_equal(fs_size(fs, file), 100000);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, in_root("f")), 0);
}

/* A direct read past an odd end brings the last bytes, not an error. */
static void test_direct(void **state)
{
    (void)state;
    struct fs_probe probe;
    assert_int_equal(fs_probe(fs, root, &probe), 0);
    assert_true(probe.type[0] != '\0');
    if (!probe.direct)
        skip();
    int file = fs_open(fs, in_root("f"), FS_WRITE | FS_CREATE | FS_DIRECT);
    uint8_t *block = mem_pages(4 * FS_BLOCK);
    memset(block, 'x', 2 * FS_BLOCK);
    assert_int_equal(fs_write(fs, file, block + 1, FS_BLOCK, 0), -EINVAL); /* it is direct */
    assert_int_equal(fs_write(fs, file, block, 2 * FS_BLOCK, 0), 2 * FS_BLOCK);
    assert_int_equal(fs_truncate(fs, file, FS_BLOCK + 10), 0);
    assert_int_equal(fs_read(fs, file, block, 4 * FS_BLOCK, 0), FS_BLOCK + 10);
    mem_pages_free(block, 4 * FS_BLOCK);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, in_root("f")), 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdir(fs, in_root("b")), 0);
    assert_int_equal(fs_mkdir(fs, in_root("b")), 0);
    int file = fs_open(fs, in_root("a"), FS_WRITE | FS_CREATE);
    fs_close(fs, file);
    assert_int_equal(fs_mkdir(fs, in_root("a")), -ENOTDIR);
    char from[128];
    snprintf(from, sizeof(from), "%s", in_root("a"));
    assert_int_equal(fs_rename(fs, from, in_root("c")), 0);
    assert_int_equal(fs_sync_dir(fs, root), 0);
    struct fs_list list;
    assert_int_equal(fs_list(fs, root, &list), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.names[0], "b");
    assert_string_equal(list.names[1], "c");
    fs_list_free(&list);
    assert_int_equal(fs_list(fs, in_root("none"), &list), -ENOENT);
    assert_int_equal(fs_unlink(fs, in_root("c")), 0);
    assert_int_equal(fs_rmdir(fs, in_root("b")), 0);
    struct fs_space space;
    assert_int_equal(fs_space(fs, root, &space), 0);
    assert_true(space.total_bytes >= space.free_bytes && space.total_bytes > 0);
}

/* Whatever lies below, files and directories; a missing one is an error. */
static void test_tree(void **state)
{
    (void)state;
    struct fs_tree tree;
    assert_int_equal(fs_tree_open(fs, in_root("none"), &tree), -ENOENT);
    char top[128];
    snprintf(top, sizeof(top), "%s", in_root("top"));
    assert_int_equal(fs_mkdir(fs, top), 0);
    assert_int_equal(fs_tree_open(fs, top, &tree), 0);
    assert_int_equal(fs_tree_sync(fs, &tree), 0);
    assert_int_equal(fs_mkdir(fs, in_root("top/below")), 0);
    fs_close(fs, fs_open(fs, in_root("top/below/file"), FS_WRITE | FS_CREATE));
    assert_int_equal(symlink("nowhere", in_root("top/link")), 0);
    assert_int_equal(fs_tree_sync(fs, &tree), 0);
    fs_tree_close(fs, &tree);
    assert_int_equal(fs_unlink(fs, in_root("top/link")), 0);
    assert_int_equal(fs_unlink(fs, in_root("top/below/file")), 0);
    assert_int_equal(fs_rmdir(fs, in_root("top/below")), 0);
    assert_int_equal(fs_rmdir(fs, top), 0);
}

/* Another open of the same file stands for another process. */
static void test_lock(void **state)
{
    (void)state;
    int first = fs_open(fs, in_root("lock"), FS_WRITE | FS_CREATE);
    int second = fs_open(fs, in_root("lock"), FS_WRITE | FS_CREATE);
    assert_int_equal(fs_lock(fs, first), 0);
    assert_int_equal(fs_lock(fs, second), -EWOULDBLOCK);
    fs_close(fs, first);
    assert_int_equal(fs_lock(fs, second), 0);
    fs_close(fs, second);
    assert_int_equal(fs_unlink(fs, in_root("lock")), 0);
}

enum { EACH = 1000 };

struct each_seen {
    uint8_t times[EACH];
    bool busy[FS_WORKERS];
    uint32_t bad_from; /* from here on every third fails */
};

static bool each_look(void *argument, uint32_t worker, uint32_t index)
{
    struct each_seen *seen = argument;
    must(worker < FS_WORKERS && !seen->busy[worker]);
    seen->busy[worker] = true;
    seen->times[index]++;
    usleep(10);
    seen->busy[worker] = false;
    return index < seen->bad_from || index % 3 != 0;
}

static void test_each(void **state)
{
    (void)state;
    static const uint32_t bad_from[] = {EACH, 0, 500, 997};
    for (size_t i = 0; i < array_count(bad_from); i++) {
        struct each_seen seen = {.bad_from = bad_from[i]};
        uint32_t failed = (bad_from[i] + 2) / 3 * 3;
        uint32_t count = failed > EACH ? EACH : failed;
        assert_int_equal(fs_each(fs, EACH, each_look, &seen), count);
        for (uint32_t index = 0; index < count; index++)
            assert_int_equal(seen.times[index], 1);
        for (uint32_t index = count; index < EACH; index++)
            assert_true(seen.times[index] <= 1);
    }
    assert_int_equal(fs_each(fs, 0, each_look, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_allocate, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_direct, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_names, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_tree, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_lock, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_each, root_open, root_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
