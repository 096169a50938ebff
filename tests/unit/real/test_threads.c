/* SPDX-License-Identifier: Apache-2.0 */
#include "io/threads.h"

#include "io/fs.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

/* root/path with these bytes, directories made on the way. */
static void put_file(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int root_open(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/test-threads-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int root_close(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command); // NOLINT(cert-env33-c): a name of our own making
}

static void test_this_machine(void **state)
{
    (void)state;
    struct machine machine;
    machine_read(&machine, "");
    assert_in_range(machine.cpu_count, 1, SHARDS_MAX);
    assert_true(machine.memory_bytes > 1 << 24 && machine.memory_bytes < UINT64_MAX);
    assert_true(machine.memory_source[0] != '\0');
    assert_in_range(machine_shards(&machine), 1, machine.cpu_count);
    assert_false(io_spin_allowed(&machine, machine.cpu_count));
}

/* Version 2: the least limit up the tree holds. */
static void test_groups_v2(void **state)
{
    (void)state;
    put_file("proc/self/cgroup", "0::/a/b\n");
    put_file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put_file("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    put_file("sys/fs/cgroup/a/b/memory.max", "max\n");
    put_file("sys/fs/cgroup/a/memory.max", "268435456\n");
    put_file("sys/fs/cgroup/memory.max", "536870912\n");
    struct machine machine;
    machine_read(&machine, root);
    assert_int_equal(machine.quota_percent, 150);
    assert_non_null(strstr(machine.quota_source, "/sys/fs/cgroup/a/cpu.max"));
    assert_int_equal(machine.memory_bytes, 268435456);
    assert_non_null(strstr(machine.memory_source, "/sys/fs/cgroup/a/memory.max"));
    assert_false(io_spin_allowed(&machine, 1));
    machine.cpu_count = 8;
    assert_int_equal(machine_shards(&machine), 2);
    machine.quota_percent = 0;
    assert_int_equal(machine_shards(&machine), 8);
    assert_true(io_spin_allowed(&machine, 7));
}

static void test_groups_v1(void **state)
{
    (void)state;
    put_file("proc/self/cgroup", "4:cpu,cpuacct:/c\n3:memory:/\n1:name=systemd:/x\n0::/\n");
    put_file("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    put_file("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000\n");
    put_file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put_file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n");
    struct machine machine;
    machine_read(&machine, root);
    assert_int_equal(machine.quota_percent, 50);
    assert_int_equal(machine_shards(&machine), 1);
    assert_int_equal(machine.memory_bytes, 134217728);
}

static void see_cpu(uint32_t index, void *argument)
{
    cpu_set_t cpus;
    must(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    int *seen = argument;
    seen[index] = CPU_COUNT(&cpus) == 1 ? sched_getcpu() : -1;
}

static void test_pinned(void **state)
{
    (void)state;
    struct machine machine;
    machine_read(&machine, "");
    int seen[4];
    uint16_t cpus[4];
    for (unsigned i = 0; i < 4; i++)
        cpus[i] = machine.cpus[i % machine.cpu_count];
    struct threads *threads;
    assert_int_equal(threads_start(&threads, cpus, 4, see_cpu, seen), 0);
    threads_join(threads);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(seen[i], cpus[i]);
}

/* A thread that cannot be made leaves none that ran. */
static void test_not_started(void **state)
{
    (void)state;
    int seen[2] = {-2, -2};
    uint16_t cpus[2] = {0, CPU_SETSIZE - 1};
    struct threads *threads = NULL;
    assert_true(threads_start(&threads, cpus, 2, see_cpu, seen) < 0);
    assert_int_equal(seen[0], -2);
}

static void test_nofile(void **state)
{
    (void)state;
    uint64_t files = threads_raise_nofile();
    assert_true(files >= 256);
    assert_int_equal(threads_raise_nofile(), files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test_setup_teardown(test_groups_v2, root_open, root_close),
        cmocka_unit_test_setup_teardown(test_groups_v1, root_open, root_close),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_not_started),
        cmocka_unit_test(test_nofile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
