/* SPDX-License-Identifier: Apache-2.0
 *
 * The asking side of a connection to a broker: of the command line, of load generators, of a
 * replica that fetches, of simulated clients. One struct client is one connection.
 *
 *   client_init -> client_connect -> [connect, ApiVersions] -> on_ready -> calls ... -> on_lost
 *
 * A call is one request and its answer. It is the caller's memory, embedded in the operation that
 * asks; so what is in flight is bounded by what the caller owns. Calls are pipelined: they leave in
 * order, many in one send, and their answers come in that order.
 *
 * Versions: after connecting the client asks for the broker's ranges (with the newest ApiVersions
 * it knows; a broker that does not know it says so with error 35 and its own range, KIP-511) and
 * keeps per key the newest that both speak.
 *
 * A connection is lost when either side ends it, when a call is not answered before its deadline
 * (answers come in order, so nothing behind it could be answered either), or when the bytes are no
 * answer. Then every call in flight ends with the reason, oldest first, then on_lost runs, once,
 * and the owner may connect again. Calls and the memory they refer to are the owner's again in
 * call->done; a callback may close the client, and start calls while it is ready.
 *
 * A loss has no good time, and on_lost comes last: by then the state has not been CLIENT_READY for
 * a while. Whoever starts calls asks the state; a call that comes too late is refused all the same.
 *
 * Memory: an answer that lies in one receive block is handed out there; any other is put together
 * in one buffer of at most answer_bytes_max, kept for the next. A client with holds_blocks keeps
 * such an answer in its receive blocks instead and saves the copy, as long as blocks are not
 * scarce: for those who fetch much and whose door has a pool for it. The first chunk of a request's
 * arena is kept for later requests too, so that a client in its stride allocates nothing.
 */
#pragma once

#include "io/shard.h"
#include "net/header.h"

#define CLIENT_KEYS      128
#define CLIENT_ARENA_MAX (64U << 20) /* one request, referenced records aside */
#define CLIENT_WHY_SIZE  160
#define CLIENT_SPARES    32U

struct client;
struct client_call;

enum client_status {
    CLIENT_ANSWERED,
    CLIENT_LOST,      /* the connection ended first: refused, reset, closed */
    CLIENT_TIMED_OUT, /* this call or, when connecting, the broker was too slow */
    CLIENT_GARBLED,   /* the broker sent what is no answer to the call */
};

typedef void client_fn(struct client *c);
typedef void client_call_fn(struct client *c, struct client_call *call);

/* Filled by client_begin and client_send but for `user`. home: the client's shard. */
struct client_call {
    client_call_fn *done;
    void *user;
    enum client_status status;
    int16_t key, version;
    struct span answer;  /* CLIENT_ANSWERED: the body, valid until done returns */
    struct arena *arena; /* for reading it: holds the request, reset when done returns */

    /* private */
    TAILQ_ENTRY(client_call) link;
    struct arena memory;
    struct wr request;
    struct out_part *part; /* the first that has not left */
    uint64_t deadline_ns;
    int32_t correlation_id;
    bool sent, silent, in_flight;
};

struct client_options {
    struct str client_id;     /* borrowed, like the two below */
    struct str software_name; /* told to the broker by ApiVersions (KIP-511) */
    struct str software_version;
    uint32_t answer_bytes_max;   /* a larger frame ends the connection */
    bool holds_blocks;           /* an answer in pieces stays in its receive blocks */
    uint64_t connect_timeout_ns; /* until on_ready */
    client_fn *on_ready;
    client_fn *on_lost; /* c->status and c->why say why; the client is idle again */
};

enum client_state {
    CLIENT_IDLE,
    CLIENT_CONNECTING,
    CLIENT_NEGOTIATING,
    CLIENT_READY,
    CLIENT_ENDING, /* waits for what is in flight to complete */
};

struct client {
    void *user;
    struct shard *sh;
    enum client_state state;
    enum client_status status; /* of the last loss */
    char why[CLIENT_WHY_SIZE]; /* of the last loss: half a sentence, "connection refused" */
    uint32_t calls_in_flight;

    /* private */
    struct client_options options;
    struct io_address address;
    int socket;
    struct io_op connect;
    struct io_op send;
    struct io_recv recv;
    bool sending, receiving, connecting;
    TAILQ_HEAD(, client_call) calls; /* in order of sending */
    struct client_call *next_call;   /* the first that has not left whole */
    struct client_call hello;        /* ApiVersions */
    bool hello_again;
    struct iovec iov[IO_VECTORS_MAX];
    struct task flush;
    struct task end;
    struct timer deadline;
    struct arena spares[CLIENT_SPARES]; /* of calls that are over */
    uint32_t spare_count;
    int32_t next_correlation_id;
    int16_t versions_min[CLIENT_KEYS]; /* what both speak; min > max: nothing */
    int16_t versions_max[CLIENT_KEYS];
    struct client_held { /* an answer in its receive blocks, with its length word */
        struct io_block **blocks;
        struct piece *pieces;
        uint32_t count, room;
        uint32_t len, want; /* bytes; want 0: none is held */
    } held;
    uint8_t *frame; /* an answer that came in pieces, with its length word */
    uint32_t frame_size;
    uint32_t frame_len;
};

void client_init(struct client *c, struct shard *sh, const struct client_options *options);
/* Idle only. */
void client_fini(struct client *c);

/* Idle only. on_ready or on_lost follows, never inside this call. */
void client_connect(struct client *c, const struct io_address *address);
/* Ends the connection: calls end with CLIENT_LOST, then on_lost; later. Nothing when idle. */
void client_close(struct client *c);

/* The newest version of the key that both sides speak, at most `version_max`; -1: none. Ready only.
 */
int16_t client_version(const struct client *c, int16_t key, int16_t version_max);
#define CLIENT_NEWEST INT16_MAX

/* Begins a request: the caller writes its body at that version into the writer, and then sends it.
 * Records may be spliced by wr_records_ref(): the cookie is then the address of their bytes, which
 * stay in place until done. */
struct wr *client_begin(struct client *c, struct client_call *call, int16_t key, int16_t version);
/* Queues it; call->done follows, never inside this call. False, and done will not be called: the
 * client is not ready (its connection is being lost), or the request did not fit CLIENT_ARENA_MAX.
 */
bool client_send(struct client *c, struct client_call *call, uint64_t deadline_ns) warn_unused;
/* For a request that has no answer (Produce with acks=0): done when it has left. */
bool client_send_silent(struct client *c, struct client_call *call,
                        uint64_t deadline_ns) warn_unused;
