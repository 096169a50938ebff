/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipped broker as a program of the simulated world: what `millrace start` does between its
 * command line and its threads (tools/millrace/start/cmd_start.c), with a plan and files so small
 * that every limit is met within a few milliseconds.
 */
#pragma once

#include "core/broker.h"
#include "io/sim/sim.h"

#define NODE_PORT 9092U

#define US 1000ULL
#define MS 1000000ULL
#define S  1000000000ULL

/* One broker over its lives; outside of every process. */
struct node {
    struct world *world;
    struct machine *machine;
    struct rng rng;
    /* What this seed gives it. */
    uint64_t tail_bytes;
    uint64_t cold_bytes;
    uint64_t journal_bytes;
    uint32_t open_files_max;
    uint32_t bypass_bytes;
    int32_t segment_bytes;
    int32_t sessions_max;
    int64_t retention_bytes; /* -1: nothing goes by itself */
    const char *scrub_ms;    /* millrace.scrub.period.ms */
    /* In a cluster: */
    int32_t id;              /* 0: 1 */
    struct store_sim *store; /* of the metadata; outlives it; NULL: a file store of its own */
    const char *log_dirs;    /* NULL: "/data" */
    /* What a test or a scenario sets beside that, before the start. */
    struct conf_assignment settings[8];
    uint32_t setting_count;
    bool apart; /* its shards begin one after another */
    /* NULL, or told where the logs end before anybody is served. */
    void (*on_recovered)(void *user, const struct log_dir *dir);
    void *on_recovered_user;

    /* this life */
    struct process *process;
    struct broker *broker; /* while it runs */
    uint16_t shards;
    bool was_ready; /* in this life or an earlier one */
    bool ready;
    bool stopping;
    char failure[700]; /* why it refused to start or gave up; "": it did not */
};

void node_init(struct node *node, struct world *world, struct machine *machine);
/* Begins a life. False when prepare did not end well: a crash was laid, or `failure` says why. */
bool node_start(struct node *node, uint16_t shards);
/* Asks it to stop as SIGTERM does; its process then is PROCESS_STOPPED. */
void node_stop(struct node *node);
bool node_runs(const struct node *node);
/* What its shards have counted, all together; zeros while it does not run. */
void node_log_counts(const struct node *node, struct log_counts *sum);
