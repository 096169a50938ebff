/* SPDX-License-Identifier: Apache-2.0
 *
 * The program that `millrace bench --client librdkafka` starts beside itself: the same load, sent
 * and read by another client. It is told what to do, and tells what it has measured, as an agent's
 * run does (tools/millrace/bench/bench_fleet.c):
 *
 *   plan     (to it) bench_options_json.h; servers, client_id, timeout_ms, level, min_bytes,
 * run_id; lanes: [topic, partition, start, end] of each ready    version: of librdkafka checks what
 * was read back, by the lane: [sent, acked, seen, lost, duplicates, reordered, gaps, surplus];
 * foreign
 *
 * One thread hands records over when they are due and takes reports and messages; the library has
 * threads of its own behind that. A record is sent, for the measure, when the library has it: what
 * it waits for there is in the service time.
 */
#pragma once

#include "tools/millrace/bench/bench_checks.h"
#include "tools/millrace/bench/bench_options_json.h"
#include "tools/millrace/bench/bench_schedule.h"
#include "tools/millrace/bench/bench_share.h"
#include "tools/millrace/bench/bench_values.h"

#include <librdkafka/rdkafka.h>

#define LOAD_WHY_SIZE 512U

struct load;

struct load_lane {
    const char *topic;
    int32_t partition;
    int64_t start, end;
    int64_t next; /* to be read */
    uint64_t sequence;
};

/* A record that the library has. */
struct handed {
    struct handed *next; /* of the free ones */
    struct producer *producer;
    uint32_t lane;
    uint64_t due_ns, planned_ns, sent_ns, sequence;
};

struct producer {
    struct load *load;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int64_t outstanding;
    uint64_t freed_ns; /* when there was room again after there was none */
};

struct consumer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
};

struct load {
    struct bench_options o;
    json_t *plan; /* owns the texts */
    const char *servers, *client_id;
    uint64_t timeout_ms, min_bytes, run_id;
    int64_t level;
    struct load_lane *lanes;
    uint32_t lane_count;
    struct values values;
    struct schedule schedule;
    struct measure measure;
    struct checks checks;
    uint64_t foreign;
    uint64_t epoch_ns, until_ns;
    struct producer *producers;
    uint32_t producer_count, next_producer, next_lane;
    struct consumer *consumers;
    uint32_t consumer_count;
    struct handed *free;
    int64_t outstanding;
    uint64_t handed;
    struct load_next {
        uint64_t due_ns;
        struct producer *producer; /* NULL: not chosen yet */
        uint32_t lane;
        int64_t key;
        bool held;
    } next;
    int events; /* eventfd: the library has something */
    int file;   /* who asked */
    struct share_line line;
    uint64_t busiest_ns; /* what the busiest thread had used when the second began */
    bool alone;          /* who asked has gone */
    char why[LOAD_WHY_SIZE];
};

/* ---- load_clients.c: the library ---- */

/* False, and l->why. */
bool producers_open(struct load *l);
bool consumers_open(struct load *l);
bool consumers_begin(struct load *l); /* reads from now on */
void clients_close(struct load *l);
/* Takes what the library reports; measures it. */
void clients_serve(struct load *l);
/* Where the lanes end now: they are read up to there. */
bool lanes_extend(struct load *l);
bool lanes_pending(const struct load *l); /* is one of them not read to its end? */

/* ---- load_send.c: the schedule ---- */

void producer_freed(struct producer *producer);
/* Hands over what is due and has room; when there will be more to do. */
uint64_t pump(struct load *l, uint64_t now_ns);
bool all_handed(const struct load *l);
/* What was due in time and could not be handed over. */
void backlog_fail(struct load *l);
void next_due(struct load *l);
