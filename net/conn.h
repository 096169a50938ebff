/* SPDX-License-Identifier: Apache-2.0
 *
 * One peer: bytes in, requests in arrival order, answers in the same order, bytes out.
 *
 * In: the socket fills receive blocks; conn cuts them into frames without joining them. A request
 * whose API carries records keeps references to the blocks (one copy from socket to log); every
 * other request is copied out, because it may be parked for long and would pin 64 KiB for a few
 * bytes. The unfinished rest of a frame is kept by reference while its pieces are large and copied
 * when they are small, so a slow sender costs what it sent, not what the kernel handed us.
 *
 * Order: requests start one at a time, each after the answer before it is queued, except that
 * consecutive requests of a pipelined API (Produce) start at once, in order, and wait for their
 * flushes together. Answers leave in request order whatever order they come in.
 *
 * Out: an answer is a list of parts, bytes or references (Fetch: ranges of a log). A reference is
 * resolved into memory only when the socket is ready for it, CONN_PIN_BYTES at a time: a reader
 * that never reads costs no memory. One send is in flight per socket and carries as many answers as
 * fit.
 *
 * Fairness: in each turn a connection may start requests for CONN_QUANTUM_BYTES, and what it took
 * above that it pays back before it starts the next; so are receives (one block each) and sends
 * (CONN_PIN_BYTES of references each) cut. Whoever is alone goes on in the next turn at once.
 *
 * Limits: requests taken in and not answered, frame size, bytes of frames per shard (the budget;
 * what does not fit waits, unread, and one frame is admitted beyond it), memory of requests
 * that handlers have (net/conn_room.c), bytes of answers that wait for their reader (per
 * connection, and per shard: beyond half of that budget a connection that holds some starts no
 * more, beyond all of it requests with bulky answers wait and readers that have stalled for
 * CONN_STALL_NS are closed, beyond twice of it all others that are not small wait, too), idle time.
 * A connection over its quota rests: request_mute().
 *
 * Everything here lives on the connection's shard. The upcalls of struct conn_service are the
 * only way up; net/ knows no handler.
 */
#pragma once

#include "io/arena.h"
#include "io/shard.h"
#include "net/kafka.h"
#include "net/request_time.h"
#include "net/wire.h"

struct conn;
struct request;
struct net_shard;

#define CONN_REQUESTS_MAX   64U           /* started and not yet answered, per connection */
#define CONN_QUANTUM_BYTES  (64U << 10)   /* of requests started in a turn, per connection */
#define CONN_REQUEST_COST   1024U         /* bytes; a request's own, beside its frame's */
#define CONN_HELD_BYTES     (256U << 10)  /* of answers not sent: no further request starts */
#define REQUEST_SMALL_BYTES (16U << 10)   /* a smaller request is a connection's known cost */
#define CONN_HURRY_NS       100000000U    /* a wait is never cut shorter, when memory is short */
#define CONN_STALL_NS       2000000000U   /* a send that took longer, when memory is short */
#define CONN_AHEAD_BYTES    IO_BLOCK_SIZE /* what one receive may bring */
#define CONN_FINISH_NS      20000000U     /* how long it may bring less than a receive's worth */
#define CONN_PINS_MAX       16U           /* references resolved for one send */
#define CONN_PIN_BYTES      (256U << 10)  /* resolved references in flight, per connection */
#define CONN_KEEP_BLOCK_MIN (16U << 10)   /* a smaller piece of an unfinished frame is copied */

/* Why a connection ended: each is counted and is the `reason` of its log line. */
#define CLOSE_REASONS(X)                                                                           \
    X(CLOSE_BY_PEER, "closed_by_peer")                                                             \
    X(CLOSE_RESET, "reset")                                                                        \
    X(CLOSE_IDLE, "idle")                                                                          \
    X(CLOSE_FRAME_SIZE, "frame_size")                                                              \
    X(CLOSE_MALFORMED, "malformed_request")                                                        \
    X(CLOSE_UNSUPPORTED, "unsupported_request")                                                    \
    X(CLOSE_SLOW_READER, "slow_reader")                                                            \
    X(CLOSE_SLOW_SENDER, "slow_sender")                                                            \
    X(CLOSE_ANSWER_SIZE, "answer_size")                                                            \
    X(CLOSE_STORAGE, "storage")                                                                    \
    X(CLOSE_ACKS_ZERO, "acks_zero_failed")                                                         \
    X(CLOSE_LIMIT, "connection_limit")                                                             \
    X(CLOSE_LIMIT_PER_IP, "connection_limit_per_ip")                                               \
    X(CLOSE_RATE_PER_IP, "connection_rate_per_ip")                                                 \
    X(CLOSE_DESCRIPTORS, "descriptors")                                                            \
    X(CLOSE_SHUTDOWN, "shutdown")

enum close_reason {
#define X(name, text) name,
    CLOSE_REASONS(X)
#undef X
        CLOSE_REASON_COUNT
};
const char *close_reason_name(enum close_reason reason);

/* One request from its frame to its answer. home: the connection's shard. */
struct request {
    struct conn *conn;
    uint64_t id;                  /* of this broker, for log lines */
    struct request_header header; /* decoded by conn; views into the frame */
    struct span body;             /* what follows the header */
    struct arena arena;           /* everything decoded, and the answer's bytes */
    struct wr answer;
    uint64_t arrived_ns;
    uint64_t started_ns;
    uint64_t answered_ns;
    struct request_time time;   /* where it has been since it arrived; handlers may say more */
    enum request_family family; /* the service says */
    void *user;                 /* the handler's operation */

    /* the time it takes, where that is counted (core/quota.h) */
    uint64_t timed_ns; /* since when; 0: not now */
    uint64_t spent_ns; /* and not settled */
    bool untimed;      /* exempt */

    /* private to conn */
    TAILQ_ENTRY(request) link;
    uint32_t frame_bytes;
    TAILQ_ENTRY(request) heavy;   /* while working_bytes > 0 */
    size_t working_bytes;         /* of the arena, as counted while a handler has it; 0: small */
    TAILQ_ENTRY(request) growing; /* while it waits for room to go on with */
    struct task *next_step;
    size_t held_bytes; /* memory of the answer, while it waits to be sent */
    uint8_t state;
    bool pipelined;
    bool silent;      /* no answer will be sent */
    bool hurried;     /* its memory is wanted: it must not wait any more */
    bool busy;        /* its handler goes on in steps: nothing after it may start */
    uint64_t mute_ns; /* how long the connection rests after its answer; 0: not */
    struct piece *pieces;
    struct io_block **blocks; /* one per piece, NULL: the piece is a copy of our own */
    uint32_t piece_count;
    struct out_part *part; /* leaving: the part that is next */
    uint32_t part_skip;    /* of it, when it is a reference */
};

/* Part of a reference made addressable: the service fills iov[0..count) and bytes, and keeps in
 * `user` what it needs to let go of it again. */
struct conn_pin {
    struct request *request;
    uint64_t cookie;   /* what the handler gave to wr_records_ref() */
    uint32_t skip;     /* bytes of the reference that were sent already */
    uint32_t len;      /* wanted; the service may give less, never 0 */
    struct iovec *iov; /* [iov_max] */
    uint32_t iov_max;
    uint32_t count;
    uint32_t bytes;
    bool failed; /* the bytes cannot be had: the connection is closed */
    void *user;
};

struct conn_service {
    void *user; /* the broker's shard */
    /* The request may start; ends, now or later, in request_answer(), request_silent() or
     * conn_close(). header and body are valid until then. */
    void (*on_request)(struct request *q);
    /* True: pin is filled now. False: conn_resolved() follows. */
    bool (*on_resolve)(struct conn_pin *pin);
    void (*on_release)(struct conn_pin *pin);
    void (*on_end_of_input)(struct conn *c); /* it will ask nothing more, and may still read */
    void (*on_close)(struct conn *c);        /* it will get no more requests */
    void (*on_gone)(struct conn *c);         /* it is about to be freed, its socket is closed */
    bool (*is_pipelined)(int16_t api_key);
    /* May its answer be large, and not by reference? Such requests wait first when memory is short;
     * NULL: none is. */
    bool (*is_bulky)(int16_t api_key);
    /* May it wait long for something to happen? NULL: none does. */
    bool (*is_patient)(int16_t api_key);
    /* Its memory is wanted: ends the wait of a request, now or soon. False: it does not, or, unless
     * it is `hard`, its client would lose something by it. NULL: likewise. */
    bool (*on_hurry)(struct request *q, bool hard);
    /* Is this key at this version served? Else the connection is closed (ApiVersions excepted). */
    bool (*is_served)(int16_t api_key, int16_t api_version);
};

TAILQ_HEAD(request_list, request);

struct conn {
    struct net_shard *net;
    int socket;
    uint64_t id;
    uint32_t listener; /* index of the listener it came in on */
    struct io_address peer;
    char client_id[64];     /* of its last request, cut */
    char software_name[64]; /* from ApiVersions v3+, "" before */
    char software_version[64];
    const char *principal; /* "User:ANONYMOUS" */
    void *user;            /* the broker's state of this connection */
    uint64_t opened_ns;

    /* private */
    TAILQ_ENTRY(conn) link;
    TAILQ_ENTRY(conn) waiting;     /* for the budget */
    TAILQ_ENTRY(conn) lining;      /* for room for its next request, if lined_up: in that line */
    struct request_list requests;  /* arrival order */
    struct request *next_to_start; /* the first that waits for its turn */
    uint32_t running;
    uint32_t request_count;
    struct io_recv recv;
    struct io_op send;
    struct timer idle;
    struct timer mute;     /* set while it rests */
    uint32_t muting;       /* requests after whose answers it will */
    uint64_t mute_from_ns; /* of the last rest, or the one that it has */
    uint64_t mute_until_ns;
    struct task step; /* starts requests and sends, at the end of the turn */
    uint64_t active_ns;
    struct piece
        *in_pieces; /* the frame at the front, while it is unfinished; with its length word */
    struct io_block **in_blocks;
    uint32_t in_count;
    uint32_t in_size;
    uint32_t in_bytes;
    uint32_t in_frame; /* length word of the frame at the front, 0: not known */
    uint32_t in_room;  /* of the last piece, when it is a copy */
    uint64_t reserved;
    uint64_t whole_bytes; /* of the frames of its requests */
    uint8_t *rest;        /* bytes that came while it had CONN_REQUESTS_MAX requests; own memory */
    uint32_t rest_len;
    uint32_t rest_at;
    uint64_t rest_ns;     /* when they came */
    int64_t credit;       /* bytes of requests that may start in this turn; negative: a debt */
    size_t held_bytes;    /* of answers that wait to be sent */
    uint64_t send_ns;     /* when the send in flight began */
    struct conn_out *out; /* while something leaves */
    bool receiving, sending, resolving, at_eof, closing, draining, in_wait, held_back;
    bool lined_up;
    uint8_t line;
    enum close_reason reason; /* known from the moment the end is decided */
};

/* How long requests of one key took: whole turns are told apart, not what happens within one. */
#define NET_KEYS        96U /* of requests, 0 and on */
#define REQUEST_BUCKETS 21U /* up to 64 us, 128 us, ... 67 s; longer ones are in `count` alone */

struct request_counts {
    uint64_t count;
    uint64_t duration_ns; /* of all, from arrival to answer */
    uint64_t buckets[REQUEST_BUCKETS];
};

/* The upper end of a bucket, which is in it. */
static inline uint64_t request_bucket_ns(unsigned bucket)
{
    return 64000ULL << bucket;
}

struct net_limits {
    uint32_t frame_bytes_max;      /* socket.request.max.bytes */
    uint64_t unfinished_bytes_max; /* budget of this shard, for whole ones, too */
    uint64_t idle_max_ns;          /* connections.max.idle.ms; 0: no limit */
    uint64_t held_bytes_max;       /* of answers that wait to be sent; 0: no limit */
    uint64_t working_bytes_max;    /* of requests that handlers have; 0: no limit */
    uint64_t request_bytes_max;    /* one request's decoding and answer, beside its frame */
};

/* All connections of one shard. */
struct net_shard {
    struct shard *sh;
    struct net_limits limits;
    const struct conn_service *service;
    TAILQ_HEAD(, conn) conns;
    TAILQ_HEAD(, conn) waiting;
    uint64_t conn_count;
    uint64_t unfinished_bytes;
    uint64_t whole_bytes;    /* of the frames of all requests */
    struct conn *finisher;   /* may go beyond the budget; NULL: nobody has to */
    uint64_t finisher_bytes; /* of its frame, when that was looked at last */
    struct timer finish;     /* set while there is one */
    uint64_t held_bytes;
    uint64_t working_bytes;      /* of `heavy`, together */
    struct request_list heavy;   /* requests that handlers have and that are not small */
    TAILQ_HEAD(, conn) lines[3]; /* who waits for room: who may wait long, others, bulky ones */
    struct request_list growers; /* they have begun, and wait for room to go on */
    struct request *grower;      /* the one that goes on though there is none */
    struct timer hurry;          /* set while there is too little of it */
    uint64_t rest_bytes;         /* of all c->rest; starting requests makes them fewer */
    struct timer relief;         /* set while memory is short */
    uint64_t next_conn_id;
    uint64_t next_request_id;
    bool draining;
    void (*empty)(void *user);
    void *empty_user;
    struct task emptied;
    struct conn_out *outs_free; /* used when something leaves, kept for the next */

    /* counters */
    uint64_t opened;
    uint64_t closed[CLOSE_REASON_COUNT];
    uint64_t requests;
    uint64_t bytes_in;
    uint64_t bytes_copied; /* out of receive blocks, by conn */
    uint64_t sends;
    struct request_counts requests_of[NET_KEYS];
    struct request_times times_of[REQUEST_FAMILY_COUNT];
};

void net_shard_init(struct net_shard *net, struct shard *sh, const struct net_limits *limits,
                    const struct conn_service *service);
/* Stops reading everywhere, lets what runs finish; empty(user) when no connection is left. */
void net_shard_drain(struct net_shard *net, void (*empty)(void *user), void *user);
/* No more waiting for readers. */
void net_shard_close_all(struct net_shard *net, enum close_reason reason);
void net_shard_fini(struct net_shard *net);

/* Takes the socket. */
struct conn *conn_new(struct net_shard *net, int socket, uint32_t listener,
                      const struct io_address *peer);
/* Ends it: answers in progress are dropped, the struct is freed when nothing is in flight. */
void conn_close(struct conn *c, enum close_reason reason);
/* Closes after the answers of everything that came before have left. */
void conn_close_after_answers(struct conn *c, enum close_reason reason);
/* May an answer wait for something to happen? Not when the broker stops, nor when memory is short,
 * nor for a peer that is gone, or has said all and may be gone: a wait can be weeks long. */
bool request_may_wait(const struct request *q);
/* From now on until so long after the answer of this request is queued, nothing more is read from
 * the connection and no request of it starts (KIP-219). The longest of several counts; the end of
 * its input, of its idle time or of the broker does not wait for it. */
void request_mute(struct request *q, uint64_t ns);

/* Does a handler have it? */
bool request_is_running(const struct request *q);
/* The handler goes on with `task`, in a later turn, or when there is room for it to grow. Until it
 * ends that, not even a pipelined request starts after it. */
void request_yield(struct request *q, struct task *task);
void request_yield_end(struct request *q);

/* The handler writes the response body of q->header's key and version into q->answer between these
 * two; begin writes length and response header, request_answer() patches the length and queues it.
 * An answer that outgrew the arena closes the connection. */
void request_answer_begin(struct request *q);
void request_answer(struct request *q);
void request_silent(struct request *q); /* over without an answer: acks=0 */
/* on_resolve() returned false: pin is filled now, or has failed. */
void conn_resolved(struct conn_pin *pin);
