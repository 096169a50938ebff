/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of `millrace bench` share: the engine that sends.
 *
 * One thread, one shard, many connections (net/client). A lane is a partition; each connection goes
 * to one broker and carries lanes that this broker leads. Where there are producers, each of one
 * topic, a lane is what one of them sends to a partition, and each has a connection to every
 * broker; it fills one batch at a time and goes on to its next partition when that one leaves. A
 * slot is room for one request in flight: its call, its batch, when its records were due. A
 * connection has at most --in-flight of them, made as they are first needed and used again, so that
 * a run in its stride allocates nothing.
 *
 * Batches are made once and sent again and again where nothing in them has to differ; where it has
 * to (keys, stamps, sequence numbers, --linger), each slot builds its own.
 *
 * Nothing is sent twice: a request that fails is counted, not repeated. A lost connection is opened
 * again, and what was in flight counts as failed.
 */
#pragma once

#include "core/record/batch_builder.h"
#include "tools/millrace/bench/bench_checks.h"
#include "tools/millrace/bench/bench_measure.h"
#include "tools/millrace/bench/bench_schedule.h"
#include "tools/millrace/bench/bench_values.h"
#include "tools/millrace/cluster.h"

#define BENCH_VERSION_MAX 12 /* of Produce and Fetch: the newest that name topics */
#define BENCH_BROKERS_MAX 64U

struct bench;
struct bench_conn;

struct bench_lane {
    const char *topic;
    int32_t partition;
    uint32_t broker;            /* index of its leader in bench->brokers */
    uint32_t producer;          /* where there are producers: whose it is */
    uint32_t rank;              /* among those that this broker leads */
    uint64_t sequence;          /* stamped: of the next record */
    int64_t start, end;         /* its offsets before the run */
    struct bench_slot *filling; /* joins: a batch that waits for more */
};

struct bench_broker {
    int32_t node_id;
    struct io_address address;
    char host[256];
    uint32_t *lanes; /* it leads these; of several producers those of the first */
    uint32_t lane_count;
    uint32_t conn_count;
    uint32_t next_conn; /* keys: whose turn it is */
};

struct bench_slot {
    struct client_call call;
    struct bench_conn *conn;
    struct bench_slot *next; /* of the free ones; of those that fill, in order of their begin */
    struct bench_lane *lane;
    uint64_t due_ns; /* of the first record */
    uint64_t planned_ns, sent_ns;
    uint32_t records;
    uint32_t bytes;
    uint64_t first_sequence; /* stamped */
    struct batch_builder builder;
    uint64_t *dues; /* joins: of each record */
};

struct bench_conn {
    struct client client;
    struct bench *bench;
    uint32_t number;
    uint32_t broker;
    uint32_t rank; /* among the connections to this broker */
    uint32_t turn; /* which of its broker's lanes comes next */
    bool begun;    /* was ready, and on_lost has not come since: conn_ready() says more */
    struct timer again;
    struct bench_slot **slots;
    uint32_t slot_count, slot_room;
    uint32_t in_flight;
    struct bench_slot *free;
    uint64_t freed_ns; /* when a slot came back after all were in use */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t *sequences; /* idempotent: of each lane that it may carry */
    struct client_call id_call;
};

/* A partition as one reader reads it. */
struct read_part {
    struct bench_lane *lane;
    int64_t start, end, next;
};

struct bench_reader {
    struct client client;
    struct bench *bench;
    uint32_t broker;
    bool connected, over;
    bool paused; /* it would have asked */
    struct timer again;
    struct client_call call;
    uint64_t asked_ns;
    struct read_part *parts;
    uint32_t part_count;
    uint32_t next_part; /* where the next of an answer is looked for first */
    struct fetch_request_partition *request_partitions;
    struct fetch_request_topic *request_topics;
};

/* Ready-made batches. */
#define BENCH_BATCHES_MAX 16U
struct bench_batch {
    uint8_t *data;
    uint32_t len;
};

struct bench {
    struct session *s;
    struct bench_options o;
    struct metadata_response metadata;
    struct bench_lane *lanes; /* those of the first producers of all topics, then the second's */
    uint32_t lane_count;
    uint32_t partition_count; /* of all topics: so many lanes are the first producers' */
    struct bench_broker brokers[BENCH_BROKERS_MAX];
    uint32_t broker_count;
    struct bench_conn *conns;
    uint32_t conn_count;
    uint32_t next_conn;
    uint32_t ready_count;
    uint32_t producer_count, next_producer;
    uint32_t *producer_turns; /* the partition that each one fills */

    struct bench_batch batches[BENCH_BATCHES_MAX];
    uint32_t batch_count, next_batch;
    bool builds; /* each slot its own batch */
    struct values values;
    struct deflater deflater;
    uint64_t run_id;

    struct schedule schedule;
    uint64_t epoch_ns; /* when the schedule began; 0: it has not */
    uint64_t until_ns; /* nothing that is due later is sent; UINT64_MAX: --records ends it */
    struct bench_next {
        uint64_t due_ns;
        struct bench_conn *conn; /* NULL: not chosen yet */
        struct bench_lane *lane;
        int64_t key;
        bool held;   /* it waits for a slot, and has been counted */
    } next;          /* open loop: the next that has not been handed over */
    uint64_t handed; /* records so far */
    struct bench_slot *filling_first, *filling_last;
    uint32_t joined_max; /* records of a batch with --linger */
    uint32_t in_flight;
    /* What a command does beside the load: called in each turn of the run; when it wants to be
     * called again. NULL: nothing. */
    uint64_t (*beside)(struct bench *b, uint64_t now_ns);
    void *user;   /* of the command */
    bool pinned;  /* a lane has one connection */
    bool sending; /* closed loop: an answer is followed by a request */
    bool closing;
    bool news;

    struct measure measure;
    double broker_cpu_s; /* at the begin of the measured time */
    uint64_t started_wall_ms;
    json_t *broker;        /* bench_facts */
    json_t *members;       /* further ones of the result, of the command; or NULL */
    char *remarks;         /* lines for people, likewise */
    struct checks *checks; /* NULL: nothing is verified */

    struct bench_reader *readers;
    uint32_t reader_count, readers_ready, readers_over;
    uint32_t idle_consumers;
    bool reading, reading_paused;
    struct inflater inflater;
    uint64_t read_records; /* of the whole run */
    uint64_t foreign;      /* of them: not of this run */
    int64_t counted;       /* records that came, by the broker's offsets; -1: not known */

    json_t *agents;         /* what each of them was and did; NULL: there are none */
    json_t *client;         /* the library that sent and read, and its version; NULL: none */
    struct verdict verdict; /* on the worst of them */
};

/* ---- cmd_bench.c ---- */

#define BENCH_POOL_BYTES                                                                           \
    (192U << 20) /* of a session that reads: answers stay in their blocks; touched only as it is   \
                    needed */

/* Runs `work` with a session as --spin asks for it. */
int bench_session(struct invocation *inv, uint64_t pool_bytes, int (*work)(struct session *s));
struct bench *bench_new(struct session *s, bool e2e);
void bench_free(struct bench *b);
/* Finds topics, sends, waits for the answers and until all is read, and ends the connections:
 * b->epoch_ns > 0 when there is something to report. */
int bench_load(struct bench *b);

/* ---- bench_lanes.c: topics, partitions and who leads them ---- */

/* Makes topics that are missing, finds leaders, waits until all partitions answer. */
int bench_lanes_find(struct bench *b);
/* Deletes the topics; what fails is said. */
void bench_topics_remove(struct bench *b);
void bench_lanes_fini(struct bench *b);
/* No topic, just a broker that answers. */
int bench_broker_any(struct bench *b);
/* Where the lanes begin and end now, into start and end; EXIT_OK, or said. */
int bench_lanes_offsets(struct bench *b);
/* The sum of their ends, as they were told last: it grows by one with each record. */
int64_t bench_lanes_end(const struct bench *b);
/* The first of a producer's lanes; there is one for each partition of its topic. */
struct bench_lane *bench_producer_lanes(struct bench *b, uint32_t producer);
/* Of one topic, where they are alike. */
uint32_t bench_topic_partitions(const struct bench *b);

/* ---- bench_conn.c ---- */

/* Connects all; EXIT_OK, or said. */
int bench_conns_open(struct bench *b);
/* Those that were lost since are opened again. */
void bench_conns_begin(struct bench *b);
/* What is in flight has failed then. They may be opened again. */
void bench_conns_close(struct bench *b);
/* May it send? It is connected now and, when idempotent, has its producer id. */
bool conn_ready(const struct bench_conn *c);
/* Room for one more request, or NULL. */
struct bench_slot *slot_take(struct bench_conn *c);
void slot_give(struct bench_slot *slot);

/* ---- bench_batches.c: the batches that are sent ---- */

void bench_batches_init(struct bench *b);
void bench_batches_fini(struct bench *b);
/* Adds `count` records that were due at due_ns to the slot's batch. key: which, or -1. */
void slot_add(struct bench_slot *slot, uint64_t due_ns, uint32_t count, int64_t key);
/* The bytes of the slot's batch, which is complete now. */
const uint8_t *slot_batch(struct bench_slot *slot, uint32_t *len);

/* ---- bench_produce.c: the engine ---- */

/* The schedule of an open loop; EXIT_OK, or said. */
int bench_schedule_begin(struct bench *b);
/* Open loop: from now on evenly at this rate; what is due and waits for room is left out. */
void bench_rate_change(struct bench *b, double rate);
/* Forgets the run before, which has nothing in flight any more; its connections stay. */
void bench_run_forget(struct bench *b);
/* Signals, files, timers of this process. */
void bench_prepare(void);
/* The connection that carries a lane when b->pinned, as with producers it always is. */
struct bench_conn *bench_conn_of(struct bench *b, const struct bench_lane *lane);
/* Closed loop: as many requests as there may be. */
void bench_fill(struct bench *b, struct bench_conn *c);
/* Warm-up and measured time; EXIT_OK or EXIT_INTERRUPTED. */
int bench_run(struct bench *b);
/* Waits for what is in flight, and while pending(), which may be NULL; not longer than --drain. */
void bench_drain(struct bench *b, bool (*pending)(struct bench *b));
void bench_measure_begin(struct bench *b, uint64_t at_ns);
void bench_measure_end(struct bench *b);
/* One turn, and what a second's end brings; sleeps until something happens, at most until then. */
void bench_turn(struct bench *b, uint64_t until_ns);
/* Was the run interrupted? */
bool bench_interrupted(void);
void bench_interrupt(void);

/* ---- bench_fleet.c: the load comes from agents ---- */

/* From their begin to their results, which b->measure has then; EXIT_OK, or said. */
int bench_fleet_run(struct bench *b);

/* ---- bench_read.c: the engine that reads ---- */

int bench_readers_open(struct bench *b, uint32_t count);
/* Each subscription reads all; the partitions of a topic are divided among its consumers. How many
 * of these have none is told in b->idle_consumers. */
int bench_subscribers_open(struct bench *b);
/* Nothing is asked for until they go on. */
void bench_readers_pause(struct bench *b);
void bench_readers_resume(struct bench *b);
void bench_readers_begin(struct bench *b);
/* From now on the end is where the lanes end now; EXIT_OK, or said. */
int bench_readers_extend(struct bench *b);
/* Reads until all is read or time is over; EXIT_OK or EXIT_INTERRUPTED. */
int bench_read_run(struct bench *b);
/* Is there a reader that is not at the end of its parts? */
bool bench_readers_pending(struct bench *b);
void bench_readers_close(struct bench *b);

/* ---- bench_facts.c: where and against what ---- */

json_t *bench_machine(void);
json_t *bench_argv(void);
/* What the broker says of itself and of the topic, into b->broker. */
int bench_broker_facts(struct bench *b);

/* ---- bench_result.c: what came of it ---- */

/* The whole run: what --out keeps. */
json_t *bench_json(const struct bench *b, const struct verdict *verdict);
/* Prints, and writes the files that are asked for; the exit code. */
int bench_report(struct bench *b, int code);
/* Makes room for other lines where there is a live one. */
void bench_live_clear(const struct bench *b);
/* What is told of the second that was closed last: a live line, or as it is asked for. */
void bench_say_second(struct bench *b);
