/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the real door, for io/real only.
 *
 * Files: uring.c the ring itself, its turn and its sleep; network.c sockets; blocks.c receive
 * blocks; files.c reads and writes; work.c helper threads; logger.c log lines; refusal.c the
 * sentence when the machine says no.
 *
 * An operation in flight keeps its state in io_op.priv (struct request). It is in one place at a
 * time (enum place), and every place but the kernel is a list of this shard, so that any operation
 * can be found, cancelled and completed.
 */
#pragma once

#include "io/base.h"
#include "io/io.h"
#include "io/mem.h"

#include <liburing.h>
#include <netinet/in.h>

enum request_kind {
    REQUEST_READ = 1,
    REQUEST_WRITE,
    REQUEST_SYNC,
    REQUEST_ACCEPT,
    REQUEST_CONNECT,
    REQUEST_RECV,
    REQUEST_SEND,
    REQUEST_WORK,
};

enum place {
    PLACE_NONE,
    PLACE_KERNEL,   /* submitted, or in the submission queue */
    PLACE_CANCEL,   /* with the kernel, and to be cancelled with the next submit: io->cancels */
    PLACE_WAITING,  /* the submission queue was full: io->waiting */
    PLACE_LAST,     /* a receive that goes with the next submit, behind all else: io->receives */
    PLACE_STARVED,  /* a receive without a block: io->starved */
    PLACE_FINISHED, /* has its result, done() is due: io->finished */
    PLACE_HELPER,   /* with a helper thread, or on its way back */
};

/* Several pieces of memory for one operation: writes and sends of more than one iovec. */
struct vectors {
    struct vectors *next;
    struct msghdr message;
    unsigned first;
    unsigned count;
    struct iovec iov[IO_VECTORS_MAX];
};

struct transfer {
    uint8_t *base; /* of a single piece */
    uint64_t length;
    uint64_t done_bytes;
    uint64_t offset;
    struct vectors *vectors; /* NULL: one piece */
};

/* Lies over io_op.priv. */
struct __attribute__((may_alias)) request {
    uint8_t kind;
    uint8_t place;
    bool durable;
    uint8_t tries; /* EAGAIN and EINTR in a row */
    int number;    /* file or socket */
    union {
        struct transfer transfer;
        struct sockaddr_in6 address; /* connect; also holds a sockaddr_in */
        struct {
            void (*fn)(void *argument);
            void *argument;
            struct io *io; /* NULL: forsaken */
            struct io_op *next;
            bool back; /* on its way to the shard */
        } work;
    };
};
_Static_assert(sizeof(struct request) <= sizeof(((struct io_op *)0)->priv), "fits");

static inline struct request *request_of(struct io_op *op)
{
    return (struct request *)(void *)op->priv;
}

TAILQ_HEAD(op_queue, io_op);

struct socket {
    uint16_t in_flight;
    bool open; /* is this shard's */
    bool shut; /* io_shutdown() was called */
    bool dry;  /* the last receive has left nothing in it */
};

#define POOL_GROUP 1 /* the kernel's name for the one ring of blocks */

struct receive_pool {
    uint8_t *memory;
    uint32_t count;
    uint32_t entries; /* of the kernel's ring, a power of two */
    uint32_t target;  /* how many blocks we keep there now */
    uint32_t offered; /* how many are there */
    uint32_t held;    /* by receivers */
    struct io_block *blocks;
    struct io_block *unused; /* last in, first out: warm in the cache */
    struct io_uring_buf_ring *ring;
};

/* A bounded line of bytes from the shard to the log writer. */
struct log_pipe {
    uint8_t *bytes;
    uint64_t head; /* written by the shard */
    uint64_t tail; /* written by the writer */
    uint64_t lost; /* lines */
    int file;
    TAILQ_ENTRY(log_pipe) link;
};

/* Jobs of one shard; guarded by the lock in work.c. */
struct work_queue {
    struct op_queue jobs;
    bool listed; /* in the list of queues with a job to start */
    bool running;
    TAILQ_ENTRY(work_queue) link;
};

/* work.c: io_work() by another queue than the shard's own. */
void work_start(struct io *io, struct io_op *op, struct work_queue *queue,
                void (*work)(void *argument), void *argument);
/* The shard waits for it no longer, and may even close its door: op and argument are the helpers'
 * now, in one piece of memory that begins at `argument` and is freed in the end. False: it is on
 * its way back already. */
bool work_forsake(struct io *io, struct io_op *op);

struct io {
    struct io_uring ring;
    int enter_fd; /* the ring's, or its registered index */
    unsigned enter_flags;
    unsigned sleep_flags;
    bool message_ring; /* IORING_OP_MSG_RING works */
    bool polls_first;  /* a receive may be told that there is nothing yet */
    bool reaping;
    bool wake_unarmed; /* no read of wake_file is in flight: the queue was full */
    uint64_t now_ns;
    int64_t wall_ms;
    uint64_t spin_ns;
    uint64_t in_flight; /* operations asked for and not done, whatever their place */

    struct op_queue waiting;
    struct op_queue receives;
    struct op_queue cancels;
    struct op_queue starved;
    uint32_t starved_count;
    struct op_queue finished;
    struct vectors *vectors_unused;
    struct receive_pool pool;
    struct socket *sockets;
    uint32_t socket_size;

    uint64_t wake_value; /* what a read of wake_file brings */
    int wake_file;       /* an eventfd */
    uint8_t random[256];
    uint32_t random_left;
    struct io_counts counts;
    struct work_queue work;
    struct log_pipe log;

    /* touched by other threads */
    _Alignas(64) uint32_t sleeping;
    struct io_op *work_done; /* a stack: helpers push, the shard takes all */
};

/* user_data of completions that are not an operation's: odd numbers, or a door's address + 1. */
#define DATA_WAKE_READ 1U
#define DATA_RUNG      3U /* another shard's message */
#define DATA_IGNORED   5U

/* uring.c */
struct io_uring_sqe *ring_sqe(struct io *io); /* NULL when the queue stays full */
void request_start(struct io *io, struct io_op *op, int kind, int number);
void request_issue(struct io *io, struct io_op *op);
void request_finish(struct io *io, struct io_op *op, int64_t res); /* done() runs in io_reap() */
void request_done(struct io *io, struct io_op *op, int64_t res);   /* within io_reap(): now */
struct vectors *vectors_get(struct io *io, const struct iovec *iov, unsigned count);
void vectors_put(struct io *io, struct vectors *vectors);
/* Notes `bytes` more of a transfer as done; true when all are. */
bool transfer_advance(struct transfer *transfer, uint64_t bytes);

/* network.c and files.c: fill in the submission, and take the result (within io_reap). */
void network_prepare(struct io *io, struct io_op *op, struct io_uring_sqe *sqe);
void network_complete(struct io *io, struct io_op *op, int res, unsigned flags);
void files_prepare(struct io *io, struct io_op *op, struct io_uring_sqe *sqe);
void files_complete(struct io *io, struct io_op *op, int res);
void sockets_fini(struct io *io);
void socket_leave(struct io *io, int number); /* an op of it is done */

/* blocks.c */
int pool_init(struct io *io, uint64_t bytes); /* 0 or -errno of the registration */
void pool_fini(struct io *io);
void pool_offer(struct io *io); /* fills the kernel's ring up to the target */
void pool_starving(struct io *io);
struct io_block *pool_taken(struct io *io, unsigned index); /* the kernel used this block */

/* work.c */
void work_init(struct io *io);
void work_fini(struct io *io);
bool work_is_done(const struct io *io);
unsigned work_reap(struct io *io);

/* logger.c */
void logger_attach(struct io *io, int file);
void logger_detach(struct io *io);

/* refusal.c */
void refusal_of_ring(int error, char *text, size_t size);
void refusal_of_buffers(int error, char *text, size_t size);
void refusal_of_operations(const char *missing, char *text, size_t size);

/* threads.c */
void host_cpus(cpu_set_t *cpus); /* the process's, before a thread pinned itself */
/* A detached thread that runs wherever the process may and leaves signals to the main thread: not
 * on the one CPU of the shard that happened to start it. 0 or -errno. */
int helper_thread(void *(*fn)(void *argument), void *argument);
