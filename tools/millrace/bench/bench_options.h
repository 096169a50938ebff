/* SPDX-License-Identifier: Apache-2.0
 *
 * What a load is to be: everything that was typed, checked and without its units.
 */
#pragma once

#include "core/conf/properties.h"
#include "core/record/codec.h"
#include "tools/millrace/bench/bench_assert.h"

#define BENCH_RECORDS_MAX     65536
#define BENCH_TOPICS_MAX      10000
#define BENCH_TOPIC_SIZE      256U
#define BENCH_CONNECTIONS_MAX 20000
#define BENCH_ASSERTS_MAX     16U

struct session;
struct rates;

enum key_choice { KEY_NONE, KEY_UNIFORM, KEY_ZIPF, KEY_CYCLE };

struct bench_options {
    const char *kind; /* "produce", "consume", "e2e", "verify" */
    const char *topic;
    const char *arrival;
    int64_t topics;
    int64_t partitions; /* of a topic that is made; 0: the broker's default */
    int64_t replication;
    bool create;
    const struct properties *topic_settings; /* of a topic that is made, below --config; or NULL */
    int64_t connections;
    int64_t producers; /* of each topic; 0: connections send to all topics */
    int64_t in_flight;
    int64_t record_bytes;
    int64_t batch_records; /* handed over together */
    int64_t batch_bytes;
    uint64_t linger_ns; /* with `joins` */
    bool joins;         /* records wait for others of their partition */
    double rate;        /* records per second; 0: closed loop */
    bool searches;      /* it is changed while it runs, to find the highest */
    uint64_t duration_ns, warm_ns, drain_ns;
    int64_t records_max; /* 0: no bound */
    int64_t bytes_max;   /* of batches, acknowledged; 0: no bound */
    enum key_choice keys;
    int64_t key_count;
    double key_skew;
    int64_t compressible; /* percent of a value that is zeros */
    int64_t payloads; /* so many values, again and again: then random_bytes counts; 0: endless */
    int64_t random_bytes;   /* of each of them, at its begin; the rest is zeros */
    const uint8_t *payload; /* the only value there is, record_bytes of it; or NULL */
    enum codec codec;
    int16_t acks;
    bool idempotent;
    bool stamped; /* values say who they are and when they were due */
    int64_t seed;
    const char *disturb; /* a command to run at disturb_ns after the begin; or NULL */
    uint64_t disturb_ns;
    /* reading */
    bool from_end, follow, repeat;
    int64_t readers;
    int64_t subscriptions, consumers; /* of each topic, and of each of those; 0: readers of all */
    int64_t fetch_bytes, fetch_bytes_max; /* of a partition, of an answer */
    uint64_t wait_ns;
    struct assertion assertions[BENCH_ASSERTS_MAX];
    uint32_t assertion_count;
    int64_t broker_pid; /* whose processor time and memory are told; 0: nobody's */
    bool kafka_style;
    const char *client; /* the library that sends and reads; NULL: this program itself */
    const char *agents; /* who loads the broker, HOST:PORT,...; NULL: this process */
    uint32_t part,
        parts; /* of one schedule, this process sends every parts-th arrival from that on */
};

/* Reads what the invocation says; EXIT_OK, or said. */
int bench_options_read(struct bench_options *o, struct session *s, const char *kind);
int bench_read_options(struct bench_options *o, struct session *s);
/* `bench sweep`: the same, with the rates that it tries. */
int bench_sweep_read(struct bench_options *o, struct session *s, struct rates *rates);
/* `bench run`: the workload's are there already, and what was typed goes over them. */
int bench_run_read(struct bench_options *o, struct session *s);
/* --duration and --warmup, 10 and 1 seconds unless they are given. */
int bench_times_read(struct bench_options *o, const struct session *s);
