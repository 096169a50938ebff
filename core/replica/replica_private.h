/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/replica/replica_fetcher.c and core/replica/replica_follow.c know of each other and
 * nobody else: the first asks leaders, the second does to a partition's log what they answer.
 */
#pragma once

#include "core/broker.h"
#include "core/replica/replica_fetcher.h"
#include "net/client.h"

/* Of a partition whose leader is not where we believe. It may have the image only that makes it so
 * in a moment: so little at first, and twice as long each time up to BACKOFF_NS. */
#define BACKOFF_FIRST_NS  2000000ULL
#define BACKOFF_NS        20000000ULL
#define DAMAGE_BACKOFF_NS 1000000000ULL

struct replica_fetchers;

/* What a fetcher keeps of a partition. */
struct partition_follow {
    struct partition *pt;
    struct replica_fetcher *fetcher;
    TAILQ_ENTRY(partition_follow) link; /* in the order in which the leader is asked */
    uint64_t not_before_ns;             /* backing off */
    uint32_t refusals;                  /* one after another */
    int64_t asked_offset;               /* in the Fetch under way; -1: it is not in it */
    int64_t leader_watermark;           /* -1: not heard yet */
};

TAILQ_HEAD(follow_list, partition_follow);

struct fetched_part {
    struct partition_key key;
    int64_t offset; /* that was asked for */
    int32_t leader_epoch;
    int16_t error;
    int64_t high_watermark;
    int64_t log_start_offset;
    int32_t diverging_epoch; /* -1: none */
    int64_t diverging_end_offset;
    struct span records;
    bool counted; /* against what this broker may fetch */
};

struct fetched;

struct replica_fetcher {
    struct replica_fetchers *all;
    struct broker_shard *bs;
    SLIST_ENTRY(replica_fetcher) link;
    int32_t leader;
    struct follow_list follows;
    struct client client;
    struct client_call call;
    bool calling;
    bool closing; /* by ourselves: connect again at once */
    struct fetched *fetched;
    uint32_t writes;    /* appends that are not durable */
    uint32_t cuts;      /* likewise truncations, which hold up nobody else */
    struct arena arena; /* of the request while it is written */
    struct task task;
    struct timer timer;
    uint64_t connect_ns; /* not before */
};

/* core/replica/replica_fetcher.c */
void replica_wake(struct replica_fetcher *f);
/* Not asked for before that time has passed. */
void replica_back_off(struct partition_follow *follow, uint64_t for_ns);

/* core/replica/replica_follow.c: what a leader says about a partition goes into its log, as far as
 * it is the partition's leader still. False: more of it in a later turn. */
bool replica_part_take(struct replica_fetcher *f, struct fetched_part *part, uint64_t began_ns);
