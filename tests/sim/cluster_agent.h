/* SPDX-License-Identifier: Apache-2.0
 *
 * One client of a simulated cluster: what its kinds (cluster_clients.c, cluster_ghost.c) share.
 */
#pragma once

#include "core/record/batch_builder.h"
#include "net/kafka.h"
#include "tests/sim/cluster.h"

enum agent_kind { AGENT_ROUTER, AGENT_PRODUCER, AGENT_CONSUMER, AGENT_GHOST, AGENT_OPERATOR };

struct agent {
    struct cluster *cl;
    enum agent_kind kind;
    uint32_t number;
    struct shard *sh;
    struct rng rng;
    struct client clients[CLUSTER_BROKERS_MAX];
    struct client_call call;
    bool busy;
    struct timer timer;

    /* producer */
    uint32_t partition;
    int64_t producer_id; /* -1: not yet, or none is wanted */
    int32_t sequence;
    uint32_t value; /* the first of the batch under way, or to come */
    uint32_t count; /* of it; 0: none */
    int16_t acks;
    uint8_t *bytes;
    struct batch_builder builder;

    /* consumer */
    int64_t offset;
    int32_t asked; /* the broker, last */
    int32_t near;  /* the replica that the leader has named; -1: none */
    bool shall_reckon;
    bool reckons; /* reads this partition back */
    int64_t upto;
};

/* It goes on within that time. */
void agent_later(struct agent *a, uint64_t within_ns);
/* The connection to a broker, if it is there; else it will be. */
struct client *agent_client(struct agent *a, int32_t broker);
void agent_ask(struct agent *a, struct client *c, client_call_fn *done);
/* True: there is an answer to be read. */
bool agent_answered(struct client_call *call, struct rd *rd);

/* A Fetch of the agent's partition. */
struct agent_fetch {
    const struct uuid *topic_id; /* NULL: by name, as consumers of old do */
    int64_t offset;
    int32_t leader_epoch; /* -1: does not say */
    int32_t wait_ms;
    int32_t replica;  /* -1: a consumer */
    const char *rack; /* of a consumer; NULL: does not say */
    int64_t replica_epoch;
};
void agent_fetch(struct agent *a, struct client *c, const struct agent_fetch *what,
                 client_call_fn *done);
/* What is answered about it; NULL: nothing. */
const struct fetch_response_partition *agent_fetched(struct client_call *call,
                                                     struct fetch_response *response);

/* cluster_ghost.c: a Fetch of a follower that was on its way since an earlier leader epoch. */
void ghost_step(struct agent *a);
/* cluster_upgrade.c: somebody who wants what comes with a newer version. */
void operator_step(struct agent *a);
