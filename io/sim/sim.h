/* SPDX-License-Identifier: Apache-2.0
 *
 * THE SIMULATED WORLD: the second body of the door (io/io.h, io/fs.h, io/mem.h). Machines with a
 * disk, an address and a clock of their own, joined by a network, run the shipped code in one
 * thread. Time is virtual and jumps from event to event; every choice is drawn from one seed. So
 * the same seed gives the same run, bit for bit, and world_hash() proves it.
 *
 *   world -> machine -> process -> shard (struct io)
 *
 * A process is one group of shards with its memory: a broker, or a client that a test wrote. Tests
 * stand outside: they build machines, start programs, run the world, break things, and look.
 *
 * What the world may do to a program (each by a chance in world_options or by a call here):
 *   disk     completions reordered; slow, stalled; full; EIO on read, write or flush, once or for
 *            ever (after a failed flush the next one succeeds without having saved anything, as the
 *            kernel does it); bit rot; misdirected writes
 *   crash    kill -9: what was written stays, memory and connections go, writes in flight happen
 *            whole, in part or not. Power loss: see io/sim/disk.h for what a disk may keep
 *   network  streams cut in pieces anywhere, slow, resets, half-open after power loss, cut in one
 *            direction, bounded socket buffers, refused and silent connects
 *            Names of hosts are those of machines; a lookup fails now and then
 *   time     monotonic clocks that drift and start anywhere, a wall clock that jumps, turns that
 *            take long
 *   shards   mail credits from 1, receive blocks from 2, turns in any order
 *
 * One world lives on one thread; several worlds may live on several threads.
 */
#pragma once

#include "io/fs.h"
#include "io/io.h"
#include "io/shard.h"
#include "io/sim/rng.h"

#include <stdio.h>

struct world;
struct machine;
struct process;

/* ---- what the seed may do ---- */

struct world_latency {
    uint64_t min_ns;
    uint64_t max_ns;
    uint32_t slow_one_in; /* 0: never */
    uint64_t slow_ns;     /* then up to this much more */
};

/* All `one_in`: 0 is never. */
struct disk_options {
    struct world_latency read;
    struct world_latency write;
    struct world_latency flush; /* a sync, and what durable adds to a write */
    uint64_t size_bytes;
    bool
        shared_flush; /* one file's flush covers direct overwrites of all files; fs_probe says it */
    uint32_t read_error_one_in;
    uint32_t write_error_one_in;
    uint32_t sync_error_one_in;
    uint32_t misdirect_one_in;  /* a write that lands on another block of its file */
    uint32_t block_lost_one_in; /* per block being rewritten at power loss: all 4096 bytes gone */
};

struct network_options {
    struct world_latency latency;
    struct world_latency loopback;
    uint64_t bytes_per_second;    /* per direction of a connection */
    uint32_t small_pieces_one_in; /* connections that arrive in pieces of a few bytes */
    uint32_t reset_one_in;        /* per piece delivered */
    uint32_t refuse_one_in;       /* per connect */
    uint32_t buffer_bytes_max;    /* socket buffers: drawn from 512 up to this */
    uint64_t connect_timeout_ns;
    uint64_t stall_timeout_ns; /* unanswered bytes end a connection with ETIMEDOUT after this */
};

struct world_options {
    uint64_t seed;
    const char *mutation; /* the one deliberate mistake (io_mutation), NULL for none */
    bool chances;         /* whether io_chance() sites are on; half of the sites in each seed */
    uint32_t drift_ppm_max;
    uint64_t wall_offset_ms_max;
    uint32_t credits_max;        /* mail credits: drawn from 1 */
    uint32_t receive_blocks_max; /* per shard: drawn from 2, program's own number if that is less */
    uint32_t long_turn_one_in;   /* per look at the clock: a jump of up to 2 ms */
    struct disk_options disk;
    struct network_options network;
};

/* Latencies and drift, no faults: a quiet machine room. */
void world_options_calm(struct world_options *options, uint64_t seed);
/* Everything that does not by itself break a promise: each seed draws its own mix. Errors of the
 * disk and misdirected writes stay off, they are for the tests that expect them. */
void world_options_rough(struct world_options *options, uint64_t seed);

/* ---- the world ---- */

/* From now on no resets, refusals, slow links or slow disks: the faults of the options have ended.
 */
void world_calm(struct world *world);
struct world *world_new(const struct world_options *options);
void world_free(struct world *world); /* with all machines, processes and their memory */

void world_run(struct world *world, uint64_t until_ns);
/* True when done(argument) held before limit_ns; asked after each event. */
bool world_run_until(struct world *world, bool (*done)(void *argument), void *argument,
                     uint64_t limit_ns);
/* Runs fn outside every process, at that time of the world. */
void world_at(struct world *world, uint64_t at_ns, void (*fn)(void *argument), void *argument);

uint64_t world_now_ns(const struct world *world);
uint64_t world_events(const struct world *world);
uint64_t world_hash(const struct world *world);  /* of all events so far, their times and bytes */
struct rng *world_rng(struct world *world);      /* for the scenario's own choices */
void world_trace(struct world *world, FILE *to); /* one line per event; NULL: off */
void world_note(struct world *world, const char *format, ...)
    printf_like(2, 3); /* a line in the trace */

/* Names the code has asked for so far, in the order it did. */
struct world_name {
    const char *name;
    uint64_t asked;
    uint64_t taken; /* times the answer was yes */
};
unsigned world_chances(const struct world *world, const struct world_name **names);
unsigned world_mutations(const struct world *world, const struct world_name **names);

/* ---- machines and processes ---- */

struct machine *world_machine(struct world *world, const char *name); /* found, or made */
void machine_address(const struct machine *machine, uint16_t port, struct io_address *address);
struct fs *machine_fs(struct machine *machine); /* for checkers; and for files before a start */
void machine_jump_wall(struct machine *machine, int64_t by_ms);
/* A log line of the simulation, never an input to the code under test. */

struct program {
    const char *name;
    uint16_t shards;
    uint32_t receive_blocks; /* 0: as the world draws */
    bool apart; /* each shard begins at a moment of its own, as threads do; false: all at once */
    /* Before the shards: blocking work (io/fs.h). NULL: none. Its result goes to start and stop;
     * with *failed set the process ends there. */
    void *(*prepare)(struct fs *fs, void *argument, bool *failed);
    void (*start)(struct shard *sh, void *prepared); /* once per shard, in any order */
    void (*stop)(void *prepared);                    /* after the last shard has stopped */
    void *argument;                                  /* prepared, when there is no prepare() */
};

/* NULL when prepare failed, or a crash that had been laid struck in it. */
struct process *machine_start(struct machine *machine, const struct program *program);

enum process_state {
    PROCESS_RUNS,
    PROCESS_STOPPED, /* all its shards were stopped (shard_stop) */
    PROCESS_FAILED,  /* prepare() said so */
    PROCESS_CRASHED,
};
enum process_state process_state(const struct process *process);
uint64_t
process_memory(const struct process *process); /* bytes it holds; after a stop: its leaks */
struct shard *process_shard(struct process *process, uint16_t shard);
/* Runs fn on a turn of that shard, as a signal would; nothing when the process is gone by then. */
void process_call(struct process *process, uint16_t shard,
                  void (*fn)(struct shard *sh, void *argument), void *argument);

enum crash {
    CRASH_KILL,  /* kill -9 */
    CRASH_POWER, /* the machine loses power */
};
void process_kill(struct process *process);
void machine_crash(struct machine *machine, enum crash crash); /* all its processes */
/* Lays a crash: it strikes inside the `calls`th blocking file call (1: the next) of an io_work or
 * prepare on this machine that would change something. */
void machine_crash_in_call(struct machine *machine, enum crash crash, uint32_t calls);
bool machine_runs(const struct machine *machine); /* has a running process */

/* ---- breaking disks ---- */

enum disk_calls {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_SYNC = 4,
    DISK_NAMES = 8, /* create, rename, unlink, mkdir, truncate, allocate */
};

struct disk_fault {
    unsigned calls;   /* enum disk_calls */
    char prefix[128]; /* of the path as it was opened; "": all */
    uint32_t times;   /* UINT32_MAX: for ever */
    int error;        /* -EIO; what the call returns */
};
void machine_disk_fault(struct machine *machine, const struct disk_fault *fault);
void machine_disk_heal(struct machine *machine); /* no fault, no stall, not slow */
/* Space left: more than that fails with ENOSPC; UINT64_MAX: as the options said. */
void machine_disk_free(struct machine *machine, uint64_t free_bytes);
void machine_disk_slow(struct machine *machine, uint32_t factor); /* 1: normal */
void machine_disk_stall(struct machine *machine, uint64_t for_ns);
/* Another disk, and empty, or one that was mounted there, which leaves nothing; after a loss of
 * power, while nothing runs on the machine. */
void machine_disk_replace(struct machine *machine, const char *mounted);
/* Is a write under way that makes nothing durable? */
bool machine_disk_writes(const struct machine *machine);
/* Flips one bit that was durable, in a file whose path begins with prefix; false: none found. */
bool machine_disk_rot(struct machine *machine, const char *prefix);
/* Flips the bits of `mask` in one byte of a file, durable. */
bool machine_disk_damage(struct machine *machine, const char *path, uint64_t offset, uint8_t mask);

/* ---- breaking links ---- */

/* Bytes from one to the other stop; in that direction only. */
void world_link_cut(struct world *world, struct machine *from, struct machine *to);
void world_link_heal(struct world *world, struct machine *from, struct machine *to);
void world_links_heal(struct world *world);
/* Resets the connections between two machines; NULL: any. */
unsigned world_link_reset(struct world *world, struct machine *a, struct machine *b);
void machine_network_slow(struct machine *machine, uint32_t factor); /* 1: normal */
