/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of io/sim know of each other. Nobody else includes this.
 *
 * Everything that waits is an event in one heap, ordered by time and then by dice. An event is
 * embedded in the thing that waits and knows its place in the heap, so what a crash ends is simply
 * taken out: there are no stale events.
 *
 * Memory of the world itself is malloc's; memory of a process is mem_alloc's and tagged with it.
 */
#pragma once

#include "io/sim/disk.h"
#include "io/sim/mem.h"
#include "io/sim/sim.h"

#include <setjmp.h>

struct event;
typedef void event_fn(struct world *world, struct event *event);

struct event {
    event_fn *fn;
    const char *name;
    uint32_t slot; /* place in the heap + 1; 0: not in it */
};

struct world_entry {
    uint64_t at_ns;
    uint64_t tie;
    struct event *event;
};

struct world_names {
    struct world_name *names;
    uint8_t *on; /* chances: whether this seed takes this site */
    unsigned count;
};

TAILQ_HEAD(machine_list, machine);
TAILQ_HEAD(process_list, process);
TAILQ_HEAD(conn_list, conn);
TAILQ_HEAD(op_queue, io_op);

struct world {
    struct world_options options;
    uint64_t now_ns;
    uint64_t events;
    uint64_t hash;
    struct rng rng;      /* the scenario's */
    struct rng ties;     /* order of what happens at one time */
    struct rng chance;   /* io_chance */
    struct rng machines; /* everything drawn when a machine or process is made */
    struct world_entry *heap;
    uint32_t heap_count;
    uint32_t heap_size;
    struct machine_list machines_list;
    uint32_t machine_count;
    struct conn_list conns;
    struct rng net;
    uint8_t *cuts; /* [from * MACHINES_MAX + to] */
    struct world_names chances;
    struct world_names mutations;
    FILE *trace;
};

#define MACHINES_MAX 64U

struct machine {
    char name[32];
    struct world *world;
    uint32_t index;
    TAILQ_ENTRY(machine) link;
    struct process_list processes;
    struct fs *fs;
    int64_t drift_ppm;
    uint64_t mono_offset_ns;
    uint64_t booted_ns; /* drift counts from here */
    int64_t wall_offset_ms;
    uint16_t next_port;
    uint32_t network_factor;
    bool dark; /* no power since a power loss, until a process starts */
};

/* One thing a process listens on or is connected by; its number is its place + SOCKET_FIRST. */
struct socket_slot {
    struct listener *listener;
    struct end *end;
};
#define SOCKET_FIRST 1000

struct process {
    const char *name;
    struct machine *machine;
    TAILQ_ENTRY(process) link;
    enum process_state state;
    struct mem_owner memory;
    struct shard_group *group;
    struct io **ios; /* [shards] */
    uint16_t shards;
    uint16_t running; /* shards that have not stopped */
    struct program program;
    void *prepared;
    struct socket_slot *sockets;
    uint32_t socket_count;
    uint8_t log_levels[IO_LOGGERS_MAX];
};

struct io_clock {
    struct rng dice;
    uint64_t skew_ns; /* how far it has run since the turn began */
};

struct io {
    struct world *world;
    struct machine *machine;
    struct process *process;
    uint16_t shard;
    bool due;        /* something to do: a completion, a wake, work left over */
    bool gone;       /* its shard has stopped */
    bool begins;     /* with its first turn */
    uint64_t now_ns; /* the machine's clock at the turn's begin */
    struct io_clock clock_mine;
    struct io_clock *clock; /* that one: it runs on when a const io is asked */
    uint64_t busy_until_ns; /* world time */
    uint64_t turn_at_ns;
    int64_t wall_ms;
    struct rng rng;  /* io_random */
    struct rng dice; /* latencies and orders */
    struct event turn;
    struct op_queue completed;
    uint32_t completed_count;
    uint32_t in_flight;
    TAILQ_HEAD(sim_works, sim_work) works;
    TAILQ_HEAD(, connecting) connects;
    TAILQ_HEAD(, end) thirsty; /* receives with bytes waiting for a block */
    struct io_block *blocks;
    uint32_t block_count;
    struct io_block *block_free;
    uint32_t block_free_count;
    struct io_counts counts;
};

/* What io_op.priv holds: [0] what it waits for, [1] that thing, [2] a count to drop when done. */
enum op_state {
    OP_NONE,
    OP_DISK,
    OP_WORK,
    OP_ACCEPT,
    OP_CONNECT,
    OP_RECV,
    OP_SEND,
    OP_COMPLETED,
};

static inline void *op_thing(const struct io_op *op)
{
    return (void *)(uintptr_t)op->priv[1];
}

/* ---- world.c ---- */
void event_at(struct world *world, struct event *event, uint64_t at_ns);
void event_cancel(struct world *world, struct event *event);
void world_fold(struct world *world, uint64_t value);
void world_fold_bytes(struct world *world, const void *data, size_t len);
uint64_t latency_draw(struct rng *rng, const struct world_latency *latency);
uint64_t machine_clock_ns(const struct machine *machine);
/* The first moment of the world at which that machine's clock shows clock_ns. */
uint64_t machine_world_ns(const struct machine *machine, uint64_t clock_ns);
void machine_boot(struct machine *machine);
void *sim_alloc(size_t size); /* zeroed, the world's own; aborts when there is none */
void *sim_grow(void *array, uint32_t *size, uint32_t need, size_t element);

/* ---- process.c ---- */
extern _Thread_local struct process *process_here; /* whose code runs now; NULL: the world's */
void io_begin(struct io *io, struct io_op *op, enum op_state state, void *thing, uint32_t *pending);
void io_complete(struct io *io, struct io_op *op, int64_t res);
void io_turn_at(struct io *io, uint64_t at_ns);
void process_free(struct process *process);
void process_end(struct process *process, enum crash crash); /* it ceases to be, now */

/* A place to come back to when a laid crash strikes inside a blocking call. */
struct strike {
    jmp_buf back;
    struct machine *machine;
};
extern _Thread_local struct strike *strike_here;
/* Runs blocking code of a process; false when a laid crash struck in it (the process is gone). */
bool process_block(struct process *process, void (*fn)(void *argument), void *argument);

/* ---- network.c, listen.c ---- */
void network_end(struct process *process, enum crash crash);
void network_free(struct world *world);
void end_try_recv(struct end *end);
void network_thirst(struct io *io); /* a block came back */
