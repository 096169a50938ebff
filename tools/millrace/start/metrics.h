/* SPDX-License-Identifier: Apache-2.0
 *
 * What a running broker has counted, for a thread that is none of its shards.
 *
 * A shard's numbers are its own, and plain. Who wants them asks: a word in an eventfd, on which the
 * shard has a read through its door; the shard copies its numbers in that turn and says so. Between
 * the two the copy is the shard's, otherwise the asker's, so nothing is shared without order, a
 * shard that nobody asks does nothing, and one that does not answer is known to be stuck.
 *
 *   metrics_init, metrics_shard_begin (each shard) ... metrics_collect ... metrics_end,
 * metrics_fini
 */
#pragma once

#include "core/broker.h"

enum metric {
#define METRIC(id, kind, unit, name, help, value) METRIC_##id,
#include "tools/millrace/start/metrics.def"
    METRIC_COUNT
};

enum metric_histogram {
#define HISTOGRAM(id, name, help, fill) HISTOGRAM_##id,
#include "tools/millrace/start/metrics.def"
    METRIC_HISTOGRAMS
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };
enum metric_unit { METRIC_NONE, METRIC_NANOSECONDS };

struct metric_info {
    const char *name; /* behind "millrace_" */
    const char *help;
    enum metric_kind kind;
    enum metric_unit unit;
};
extern const struct metric_info metric_infos[METRIC_COUNT];

/* One shard at one moment. */
struct metrics_values {
    uint64_t value[METRIC_COUNT];
    struct durations histogram[METRIC_HISTOGRAMS];
    uint64_t closed[CLOSE_REASON_COUNT];
    struct shard_stalls stalls[SHARD_STALLS_NAMED];
    struct request_counts requests[NET_KEYS];
    struct request_times times[REQUEST_FAMILY_COUNT];
    char offline_reason[256]; /* "": every log directory is online */
    /* of the control shard */
    bool ready;
    uint64_t topics, partitions;
    char cluster_id[UUID_TEXT_LEN + 1];
};

struct metrics;

/* What one shard and the asker share. */
struct metrics_probe {
    struct metrics *metrics;
    struct broker_shard *bs;
    struct io_op op;
    uint64_t word;
    int file;          /* eventfd */
    uint64_t asked;    /* atomic; written by the asker */
    uint64_t answered; /* atomic; written by the shard: equal to asked, the copy is the asker's */
    struct metrics_values copy;

    /* the asker's */
    struct metrics_values seen; /* the newest */
    uint64_t asked_ns;          /* the question that is open, or the last */
    uint64_t silent_ns;         /* how long it has been open; 0: it is not */
};

struct metrics {
    struct broker *broker;
    struct metrics_probe *probes; /* one a shard */
    uint16_t count;
    uint16_t armed; /* atomic: reads under way, or to come */
    bool ending;    /* atomic */
    void (*ended)(void *user);
    void *user;
};

#define METRICS_PATIENCE_NS 1000000000U /* a shard that does not answer within it is stuck */

/* Before the shards start. False, and errno, when there are no descriptors. */
bool metrics_init(struct metrics *m, struct broker *broker);
void metrics_fini(struct metrics *m);

/* On the shard, when its door is open. */
void metrics_shard_begin(struct metrics *m, struct shard *sh);
/* On the control shard: no more questions; ended(user) on some shard when no read is under way. */
void metrics_end(struct metrics *m, void (*ended)(void *user), void *user);

/* On the asker's thread, one at a time: brings `seen` of every probe up to date. Waits for at most
 * METRICS_PATIENCE_NS; probes with silent_ns then are of a stuck shard, and old. */
void metrics_collect(struct metrics *m);
