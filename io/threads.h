/* SPDX-License-Identifier: Apache-2.0
 *
 * The real machine as a program sees it before it has a door: how many cores and how much memory it
 * may use and who says so, its threads, its descriptors. For tools/ and tests only: the simulated
 * world has no body of this.
 */
#pragma once

#include "io/shard.h"

/* What the process may use. Each limit names its source, for the lines printed at start. */
struct machine {
    uint32_t cpu_count;
    uint16_t cpus[SHARDS_MAX]; /* numbers, ascending: affinity, within the cpuset */
    uint32_t quota_percent;    /* of one core, from cpu.max or cpu.cfs_quota_us; 0: no quota */
    char quota_source[128];
    uint64_t memory_bytes; /* the least of memory.max up the tree and the machine's */
    char memory_source[128];
};

/* Reads it for this process. root is "" (tests: a directory with proc/ and sys/ inside). */
void machine_read(struct machine *machine, const char *root);

/* How many shards to run by default: one per usable core, fewer under a quota. */
uint32_t machine_shards(const struct machine *machine);

/* May shards spin before they sleep? Only where that takes no core from anybody: not under a quota,
 * and not unless a core is left over for everything else. */
bool io_spin_allowed(const struct machine *machine, uint32_t shards);
#define IO_SPIN_NS 30000U /* how long, where they may */

/* Raises the limit of open descriptors to its hard limit; what it is now. */
uint64_t threads_raise_nofile(void);

/* `count` threads, the i-th pinned to cpus[i] (cpus NULL: not pinned) and named "shard-i", each
 * running fn(i, argument). 0, or -errno with no thread left running fn. */
typedef void thread_fn(uint32_t index, void *argument);
struct threads;
int threads_start(struct threads **threads, const uint16_t *cpus, uint32_t count, thread_fn *fn,
                  void *argument);
void threads_join(struct threads *threads); /* waits for all, frees */

/* The file system of this machine. */
struct fs *fs_host(void);
