/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of the simulated network. A connection has two ends and two pipes; pipe[i] carries
 * the bytes that end[i] sends. What a pipe holds is either still on its way (in the sender's buffer
 * or in the network) or has arrived (in the receiver's buffer), in that order.
 */
#pragma once

#include "io/sim/inside.h"

struct conn;

struct pipe {
    struct event event; /* the next piece arrives */
    struct conn *conn;
    uint8_t side; /* of the sender */
    bool fin;     /* the sender sends no more */
    bool fin_seen;
    bool reset; /* a reset is on its way instead of bytes */
    uint8_t *ring;
    uint32_t ring_size; /* power of two */
    uint32_t head;
    uint32_t held; /* bytes in the ring */
    uint32_t arrived;
    uint32_t piece_max;
    uint64_t latency_ns; /* drawn when it was last empty */
    uint64_t stalled_ns; /* nothing gets through since then; 0: it does */
};

struct end {
    struct conn *conn;
    uint8_t side;
    int number; /* 0: not accepted yet, or closed */
    bool open;  /* somebody has it or will accept it */
    bool shut;
    bool dead; /* its machine lost power: it answers nothing */
    bool dry;  /* in io->thirsty */
    int error; /* what every call gets from now on */
    struct process *process;
    struct machine *machine;
    struct io *io;             /* NULL while given to another shard */
    struct listener *listener; /* waiting there to be accepted */
    TAILQ_ENTRY(end) link;     /* in listener->waiting or io->thirsty */
    struct io_address address;
    uint32_t pending; /* ops in flight */
    uint32_t receive_bytes;
    uint32_t send_bytes;
    struct io_recv *recv;
    struct io_op *send;
    const struct iovec *iov;
    unsigned iov_count;
    size_t iov_skip;
    int64_t sent;
};

struct conn {
    TAILQ_ENTRY(conn) link;
    struct world *world;
    struct end end[2];
    struct pipe pipe[2];
    bool loopback;
};

struct listener {
    struct io *io;
    int number;
    struct io_address address;
    uint32_t pending;
    struct op_queue accepts;
    TAILQ_HEAD(, end) waiting;
    uint32_t waiting_count;
    struct io_socket_options options;
};

struct connecting {
    struct event event;
    TAILQ_ENTRY(connecting) link;
    struct io *io;
    struct io_op *op;
    struct io_address address;
    struct io_socket_options options;
};

#define BACKLOG 128U

/* A free number of the process's sockets. */
int socket_take(struct process *process, struct listener *listener, struct end *end);
void socket_free(struct process *process, int number);
struct end *socket_end(struct io *io, int number);
struct conn *network_connect(struct world *world, struct io *from, struct listener *to,
                             const struct io_socket_options *options);
void conn_reset(struct conn *conn, int error);
/* The end's owner lets go of it; the connection is freed when nothing holds it any more. */
void end_close(struct end *end);
bool link_is_cut(const struct world *world, const struct machine *from, const struct machine *to);
