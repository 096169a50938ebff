/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine and its threads (io/threads.h).
 *
 * Limits come from several places at once: the affinity mask (which the kernel keeps within the
 * cpuset), the CPU quota and the memory limit of each control group from ours up to the root, under
 * either version of the hierarchy, and the memory there is. The least one holds.
 */
#include "io/threads.h"

#include "io/mem.h"
#include "io/real/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- the machine ---- */

/* The main thread is never pinned; shards and helpers are, or may be. */
void host_cpus(cpu_set_t *cpus)
{
    CPU_ZERO(cpus);
    if (sched_getaffinity(getpid(), sizeof(*cpus), cpus) != 0 || CPU_COUNT(cpus) == 0)
        CPU_SET(0, cpus);
}

static bool file_text(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t n = read(file, text, size - 1);
    close(file);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool file_number(const char *path, int64_t *number)
{
    char text[64];
    if (!file_text(path, text, sizeof(text)))
        return false;
    char *end;
    *number = strtoll(text, &end, 10);
    return end != text;
}

static void quota_note(struct machine *machine, int64_t quota, int64_t period, const char *source)
{
    if (quota <= 0 || period <= 0)
        return;
    uint64_t percent = max_u64((uint64_t)quota * 100 / (uint64_t)period, 1);
    if (machine->quota_percent != 0 && percent >= machine->quota_percent)
        return;
    machine->quota_percent = (uint32_t)min_u64(percent, UINT32_MAX);
    snprintf(machine->quota_source, sizeof(machine->quota_source), "%s", source);
}

static void memory_note(struct machine *machine, int64_t bytes, const char *source)
{
    if (bytes <= 0 || (uint64_t)bytes >= machine->memory_bytes)
        return;
    machine->memory_bytes = (uint64_t)bytes;
    snprintf(machine->memory_source, sizeof(machine->memory_source), "%s", source);
}

/* One group's limits; the files of the other version are simply not there. */
static void group_read(struct machine *machine, const char *dir)
{
    char path[1024];
    char text[64];
    snprintf(path, sizeof(path), "%s/cpu.max", dir);
    if (file_text(path, text, sizeof(text)) && strncmp(text, "max", 3) != 0) {
        char *end;
        int64_t quota = strtoll(text, &end, 10);
        quota_note(machine, quota, strtoll(end, NULL, 10), path);
    }
    int64_t quota;
    int64_t period;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", dir);
    if (file_number(path, &period)) {
        snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", dir);
        if (file_number(path, &quota))
            quota_note(machine, quota, period, path);
    }
    int64_t bytes;
    snprintf(path, sizeof(path), "%s/memory.max", dir);
    if (file_number(path, &bytes))
        memory_note(machine, bytes, path);
    snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", dir);
    if (file_number(path, &bytes))
        memory_note(machine, bytes, path);
}

/* The group and all above it, up to the root of the hierarchy mounted at `mount`. */
static void group_walk(struct machine *machine, const char *mount, const char *group)
{
    char dir[768];
    size_t stop = (size_t)snprintf(dir, sizeof(dir), "%s", mount);
    int len = snprintf(dir, sizeof(dir), "%s%s", mount, group);
    if (len < 0 || (size_t)len >= sizeof(dir))
        return;
    for (;;) {
        group_read(machine, dir);
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < stop)
            return;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/path" (version 2) and "4:cpu,cpuacct:/path" (version 1). */
static void groups_read(struct machine *machine, const char *root)
{
    char path[512];
    char text[4096];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (!file_text(path, text, sizeof(text)))
        return;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *number = strsep(&line, ":");
        char *controllers = line != NULL ? strsep(&line, ":") : NULL;
        if (controllers == NULL || line == NULL)
            continue;
        const char *group = strcmp(line, "/") == 0 ? "" : line;
        if (strcmp(number, "0") == 0) {
            snprintf(path, sizeof(path), "%s/sys/fs/cgroup", root);
            group_walk(machine, path, group);
            snprintf(path, sizeof(path), "%s/sys/fs/cgroup/unified", root);
            group_walk(machine, path, group);
            continue;
        }
        for (char *name; (name = strsep(&controllers, ",")) != NULL;) {
            if (strcmp(name, "cpu") != 0 && strcmp(name, "memory") != 0)
                continue;
            snprintf(path, sizeof(path), "%s/sys/fs/cgroup/%s", root, name);
            group_walk(machine, path, group);
        }
    }
}

void machine_read(struct machine *machine, const char *root)
{
    *machine = (struct machine){.memory_bytes = UINT64_MAX};
    cpu_set_t cpus;
    host_cpus(&cpus);
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE && machine->cpu_count < SHARDS_MAX; cpu++)
        if (CPU_ISSET(cpu, &cpus))
            machine->cpus[machine->cpu_count++] = cpu;
    long pages = sysconf(_SC_PHYS_PAGES);
    memory_note(machine, pages * sysconf(_SC_PAGESIZE), "the machine's memory");
    groups_read(machine, root);
}

uint32_t machine_shards(const struct machine *machine)
{
    uint32_t shards = machine->cpu_count;
    if (machine->quota_percent != 0)
        shards = (uint32_t)min_u64(shards, (machine->quota_percent + 99) / 100);
    return shards;
}

bool io_spin_allowed(const struct machine *machine, uint32_t shards)
{
    return machine->quota_percent == 0 && shards < machine->cpu_count;
}

uint64_t threads_raise_nofile(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur != limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            return raised.rlim_cur;
    }
    return limit.rlim_cur;
}

/* ---- threads ---- */

struct thread {
    struct threads *all;
    uint32_t index;
    pthread_t handle;
};

/* Nobody starts before all are there: a thread that cannot be made must not leave half a broker
 * running. */
enum gate { GATE_WAIT, GATE_GO, GATE_LEAVE };

struct threads {
    thread_fn *fn;
    void *argument;
    uint32_t count;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    enum gate gate;
    struct thread each[];
};

static int thread_create(pthread_t *handle, const cpu_set_t *cpus, bool detached,
                         void *(*fn)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int result = pthread_attr_init(&attributes);
    must(result == 0);
    if (cpus != NULL)
        (void)pthread_attr_setaffinity_np(&attributes, sizeof(*cpus), cpus);
    if (detached)
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    result = pthread_create(handle, &attributes, fn, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -result;
}

int helper_thread(void *(*fn)(void *argument), void *argument)
{
    pthread_t handle;
    cpu_set_t cpus;
    host_cpus(&cpus);
    return thread_create(&handle, &cpus, true, fn, argument);
}

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    char name[16];
    snprintf(name, sizeof(name), "shard-%u", thread->index);
    (void)pthread_setname_np(pthread_self(), name);
    struct threads *all = thread->all;
    pthread_mutex_lock(&all->lock);
    while (all->gate == GATE_WAIT)
        pthread_cond_wait(&all->moved, &all->lock);
    enum gate gate = all->gate;
    pthread_mutex_unlock(&all->lock);
    if (gate == GATE_GO)
        all->fn(thread->index, all->argument);
    return NULL;
}

static void gate_move(struct threads *all, enum gate gate)
{
    pthread_mutex_lock(&all->lock);
    all->gate = gate;
    pthread_cond_broadcast(&all->moved);
    pthread_mutex_unlock(&all->lock);
}

int threads_start(struct threads **threads, const uint16_t *cpus, uint32_t count, thread_fn *fn,
                  void *argument)
{
    struct threads *all = mem_zalloc(sizeof(*all) + count * sizeof(all->each[0]));
    all->fn = fn;
    all->argument = argument;
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->moved, NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct thread *thread = &all->each[i];
        thread->all = all;
        thread->index = i;
        cpu_set_t one;
        CPU_ZERO(&one);
        if (cpus != NULL)
            CPU_SET(cpus[i], &one);
        int result =
            thread_create(&thread->handle, cpus != NULL ? &one : NULL, false, thread_main, thread);
        if (result != 0) {
            gate_move(all, GATE_LEAVE);
            threads_join(all);
            return result;
        }
        all->count++;
    }
    gate_move(all, GATE_GO);
    *threads = all;
    return 0;
}

void threads_join(struct threads *threads)
{
    for (uint32_t i = 0; i < threads->count; i++)
        pthread_join(threads->each[i].handle, NULL);
    pthread_cond_destroy(&threads->moved);
    pthread_mutex_destroy(&threads->lock);
    mem_free(threads);
}
