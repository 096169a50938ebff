/* SPDX-License-Identifier: Apache-2.0
 *
 * THE DOOR. Everything outside a shard (time, chance, disk, network, other shards, helper threads)
 * passes through here. There are two bodies and the linker chooses: io/real on io_uring, and
 * io/sim, a world driven by one seed. No vtable: production pays nothing, and a debugger sees plain
 * calls.
 *
 * One struct io belongs to one shard and is used on that shard's thread only (io_wake excepted).
 * Asynchronous calls take an io_op that the caller owns and embeds; op and buffers stay untouched
 * until op->done(op) runs, and done never runs inside the call that submitted it. After that the op
 * is the caller's again. Blocking file system calls are apart, in io/fs.h.
 *
 * Rules both bodies keep: completions may come in any order; a write or send completes whole or
 * with an error; a receive gives what there is.
 */
#pragma once

#include "io/base.h"

#include <sys/queue.h>
#include <sys/uio.h>

struct fs;
struct io;
struct io_op;

typedef void io_fn(struct io_op *op);

struct io_op {
    io_fn *done;
    int64_t res; /* set before done: the call's result, or -errno */

    /* private to the body */
    TAILQ_ENTRY(io_op) link;
    uint64_t priv[8];
};

/* ---- time and chance ---- */

uint64_t io_now_ns(const struct io *io); /* monotonic, constant within one turn: all waits */
int64_t io_wall_ms(
    const struct io *io); /* since 1970, constant within one turn: record timestamps, retention */
uint64_t io_clock_ns(
    const struct io *io); /* monotonic, read now: for measuring a step, never for deciding */
int64_t io_wall_us(
    const struct io *io); /* since 1970, read now: for the stamp of a log line; io may be NULL */
uint64_t io_random(struct io *io);

/* A rare path the simulation takes with chance 1/`one_in`, or a deliberate mistake it makes; false
 * in the real world. */
bool io_chance(struct io *io, const char *name, uint32_t one_in);
bool io_mutation(const struct io *io, const char *name);

/* ---- files: numbers come from fs_open() ---- */

struct fs *io_fs(struct io *io);

/* FS_DIRECT files: offset, length and address are multiples of FS_BLOCK. */
void io_read(struct io *io, struct io_op *op, int file, void *to, uint32_t len, uint64_t offset);
/* durable: on stable storage at completion (RWF_DSYNC). The iovec array is copied. */
void io_write(struct io *io, struct io_op *op, int file, const struct iovec *iov, unsigned count,
              uint64_t offset, bool durable);
void io_sync(struct io *io, struct io_op *op, int file); /* fdatasync */

#define IO_VECTORS_MAX 64U

/* ---- network ---- */

struct io_address {
    uint8_t ip[16]; /* IPv6, or IPv4 mapped (::ffff:a.b.c.d) */
    uint16_t port;
    bool v6; /* false: an IPv4 address */
};

struct io_socket_options {
    uint32_t receive_buffer_bytes; /* 0: the kernel tunes it */
    uint32_t send_buffer_bytes;
    bool shared; /* io_listen: share the port with the shards of this broker that listen on it */
};

/* Blocking, at start; a socket number or -errno. The first listener of an address leaves `shared`
 * false and gets -EADDRINUSE when anybody listens there for 2 seconds; further shards of this
 * broker may join it with `shared`. */
int io_listen(struct io *io, const struct io_address *address,
              const struct io_socket_options *options);
/* The port a listener got when it asked for port 0. */
uint16_t io_listen_port(struct io *io, int listener);
void io_accept(struct io *io, struct io_op *op, int listener); /* res: the socket */
void io_peer(struct io *io, int socket, struct io_address *peer);
void io_connect(struct io *io, struct io_op *op, const struct io_address *address,
                const struct io_socket_options *options); /* res: the socket */
/* Hands a socket with no op in flight to another shard of this broker; numbers do not change. */
void io_socket_give(struct io *io, int socket);
void io_socket_take(struct io *io, int socket);

/* Receive blocks: one pool per shard, refcounted, home shard only. An armed receive holds none, so
 * 10,000 silent connections cost no buffers; with the pool empty a receive simply waits. */
struct io_block {
    uint8_t *data;
    uint32_t size;
    uint32_t refs;
    /* private */
    uint32_t index;
    struct io_block *next;
};

#define IO_BLOCK_SIZE 65536U

struct io_recv {
    struct io_op op; /* res: bytes received, 0 at end of stream, or -errno */
    struct io_block
        *block; /* holds them, with one reference that is now the caller's; NULL when res <= 0 */
};
void io_recv(struct io *io, struct io_recv *recv, int socket);
void io_block_get(struct io *io, struct io_block *block);
void io_block_put(struct io *io, struct io_block *block);
uint32_t io_blocks_free(const struct io *io);
/* Less than half of them are free. What may be held for long is then copied out of its block: else
 * all could be held by frames that wait for their rest, and no rest could come in. */
bool io_blocks_scarce(const struct io *io);

/* Sends all of it; one send in flight per socket. iov and what it points at stay until done. */
void io_send(struct io *io, struct io_op *op, int socket, const struct iovec *iov, unsigned count);

/* Ends both directions: receives and sends in flight complete soon. */
void io_shutdown(struct io *io, int socket);
/* No op may be in flight on the socket. */
void io_close(struct io *io, int socket);
/* The op completes soon, with its result or -ECANCELED: accept, connect, recv only. */
void io_cancel(struct io *io, struct io_op *op);

/* ---- helper threads: what burns or blocks ---- */

/* Runs work(argument) off the shard, one after another per shard at the earliest, then op->done on
 * the shard. The work may use io/fs.h and memory nobody else touches; it may not touch the shard.
 */
void io_work(struct io *io, struct io_op *op, void (*work)(void *argument), void *argument);

/* ---- names of hosts ---- */

#define IO_LOOKUP_ADDRESSES 4U
#define IO_LOOKUP_NAME_MAX  253U /* the longest DNS name, RFC 1035 */

struct io_lookup {
    struct io_op op;
    char host[IO_LOOKUP_NAME_MAX + 1];
    /* Valid in done(). None: nobody knows the name, or nobody who would was to be reached. */
    struct io_address addresses[IO_LOOKUP_ADDRESSES]; /* port 0, in the order to be tried */
    uint32_t count;
    /* private */
    struct io *io;
    void *job;
};

/* May take as long as name servers take, which is many seconds; nothing else waits for it. One
 * after another in the whole process. */
void io_lookup(struct io *io, struct io_lookup *lookup);
/* One that is under way completes soon, with or without addresses. */
void io_lookup_end(struct io *io, struct io_lookup *lookup);

/* ---- log lines: called by io/diag.c and io/diag_level.c only ---- */

/* One whole line with its newline, handed to a writer off the shard; copied. False when the
 * writer's buffer is full: the line is lost and counted. io may be NULL outside a shard. */
bool io_log(struct io *io, const char *line, size_t len);

/* How the lines of this process look. The simulated world has one style, and no way to set it. */
struct io_log_style {
    bool json; /* an object a line; else logfmt */
};
struct io_log_style io_log_style(void);
void io_log_style_set(struct io_log_style style); /* before there is a door */

/* A byte of this process for each logger (io/diag_level.h), 0 at its start: any thread may read and
 * set them at any time. */
#define IO_LOGGERS_MAX 32U
uint8_t io_log_level(uint32_t logger);
void io_log_level_set(uint32_t logger, uint8_t level);

/* ---- the turn, called by io/shard.c only ---- */

struct io_options {
    uint32_t shard; /* index within the broker */
    uint64_t receive_pool_bytes;
    uint64_t spin_ns; /* how long io_wait may spin before it sleeps; 0 never */
    int log_file;     /* where log lines go; 0: standard error, -1: nowhere */
};

/* NULL and a sentence in `error` when the machine refuses (seccomp, sysctl, kernel, memlock). */
struct io *io_open(const struct io_options *options, char *error, size_t error_size);
/* After every op has completed, and when no other shard can wake this one any more. */
void io_close_all(struct io *io);

void io_turn_begin(struct io *io); /* reads the clocks */
unsigned io_reap(struct io *io);   /* runs done() of what has completed; how many */
void io_submit(struct io *io);     /* everything asked for since the last submit */
/* Submits, and sleeps until a completion, a wake or `until_ns`; pending(argument) is asked while
 * spinning and once more after the sleeping flag is up, so that a message cannot be slept through.
 */
void io_wait(struct io *io, uint64_t until_ns, bool (*pending)(void *argument), void *argument);
/* Makes `to` leave io_wait, at the latest when `from` submits. `from` is the caller's door, or NULL
 * on a thread that has none. */
void io_wake(struct io *from, struct io *to);

/* Counts for the counters table: since io_open. */
struct io_counts {
    uint64_t enters; /* io_uring_enter calls */
    uint64_t submissions;
    uint64_t completions;
    uint64_t bytes_written;
    uint64_t bytes_read;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t sleeps;
    uint64_t spun_ns; /* looked for work and found none */
    uint64_t overflows;
};
const struct io_counts *io_counts(const struct io *io);
