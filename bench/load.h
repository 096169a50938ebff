/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of bench-load share; bench/load.c says what the program is.
 *
 * One thread drives all connections by epoll. Requests are frames made once (a produce request per
 * partition: head, the one batch, tail) and sent by reference, so that the load costs little of the
 * machine it shares with the broker. Answers come in the order of the requests, which is checked.
 */
#pragma once

#include "bench/histogram.h"
#include "io/arena.h"
#include "net/wire.h"

#include <netinet/in.h>
#include <sys/uio.h>

struct load_options {
    struct sockaddr_in broker;
    const char *topic;
    const char *configs; /* of a topic to make: "key=value,..." */
    uint32_t partitions;
    uint32_t connections;
    uint32_t record_bytes;
    uint32_t records; /* in a batch */
    uint32_t window;  /* requests in flight per connection, closed loop */
    double rate;      /* requests per second of all connections together; 0: closed loop */
    double seconds;   /* the warm-up included */
    double warm_seconds;
    uint64_t bytes_max; /* ends a produce early; 0: no bound */
    uint64_t since_ns;  /* first-ack: when the broker was started, on the monotonic clock */
    uint32_t fetch_bytes;
    int16_t acks;
    int broker_pid; /* whose processor time and memory are told; 0: nobody's */
    bool repeat;    /* fetch: from the start again at the end */
};

#define FRAME_PIECES 3U /* a batch, and what is encoded before and behind it */

/* A whole request. */
struct frame {
    struct iovec iov[FRAME_PIECES];
    unsigned iov_count;
    uint32_t len;
    int32_t correlation_id;
};

struct flight {
    uint64_t since_ns; /* when it was, or should have been, sent */
    const struct frame *frame;
};

struct conn {
    int socket;
    uint32_t number;
    struct flight *flights; /* ring */
    uint32_t flights_size;  /* a power of two */
    uint32_t queued;        /* requests so far; queued - answered are in the ring */
    uint32_t sent;
    uint32_t answered;
    size_t sent_bytes; /* of the request that is next to be sent whole */
    uint8_t *in;
    size_t in_len, in_room;
    void *user;
};

/* What happened since the warm-up ended. */
struct measure {
    struct histogram latency;
    uint64_t began_ns;
    uint64_t requests;
    uint64_t batches;
    uint64_t bytes; /* of batches, as they are stored */
    uint64_t errors;
    uint64_t late; /* open loop: requests that found the connection's ring full */
    double broker_cpu_s, own_cpu_s;
};

struct load {
    struct load_options options;
    struct arena arena; /* of frames that stay, or of one blocking call */
    struct conn *conns;
    int epoll;
    uint16_t key, version; /* of what the connections carry */
    void (*on_answer)(struct load *load, struct conn *c, const struct flight *flight,
                      struct rd *body);
    struct measure measure;
    struct arena answer_arena; /* of one answer */
    int32_t error_code;        /* the last error of an answer */
};

uint64_t now_ns(void);
/* Ends the program: the load itself cannot go on. */
_Noreturn void give_up(const char *text, ...) printf_like(1, 2);

/* ---- load_conn.c: many connections ---- */

void conns_open(struct load *load, uint32_t flights_max);
bool conn_has_room(const struct conn *c);
void conn_queue(struct conn *c, const struct frame *frame, uint64_t since_ns);
void conn_flush(struct conn *c);
/* Waits at most wait_ns for events; calls on_answer for each answer. */
void conns_turn(struct load *load, uint64_t wait_ns);
/* The frame of a request, with its parts in `arena`; RECORDS_REF in it stands for `batch`. */
void frame_make(struct frame *frame, struct arena *arena, int16_t key, int16_t version,
                int32_t correlation_id, const void *request, struct iovec batch);

/* ---- load_call.c: one connection, one request at a time ---- */

int call_open(const struct load_options *options); /* -1: nobody listens */
/* The answer lives until the next call. False: the connection is of no use any more. */
bool call(struct load *load, int socket, int16_t key, int16_t version, const void *request,
          void *response);
/* Makes the topic unless it is there, and returns when all its partitions answer; 0 or Kafka's
 * error, -1 without a connection. */
int32_t topic_make(struct load *load, int socket);
/* ListOffsets of all partitions into offsets[partitions]: -2 the starts, -1 the ends. 0, or the
 * error of one of them, or -1 without a connection. */
int32_t offsets_of(struct load *load, int socket, int64_t timestamp, int64_t *offsets);
/* The batch that all produce requests carry: random bytes, so that nothing compresses it. */
struct iovec batch_make(const struct load_options *options);

/* ---- load_measure.c ---- */

void measure_begin(struct load *load);
void measure_print(const struct load *load);
double broker_cpu_s(int pid);

/* ---- the modes ---- */

void run_produce(struct load *load); /* load_produce.c */
void run_fetch(struct load *load);   /* load_fetch.c */
void run_idle(struct load *load);
void run_create(struct load *load); /* load_call.c */
void run_round_trips(struct load *load);
void run_first_ack(struct load *load);
