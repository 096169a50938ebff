/* SPDX-License-Identifier: Apache-2.0
 *
 * This broker among others, in the store: what cluster it is, that it is there, and who is the
 * controller. Paths and JSON are Kafka's (ZkData of 3.9), so that people who know them can read
 * them:
 *
 *   /format              "1": the tree is Millrace's; without it, a tree that Kafka has written
 *                        (/brokers/topics) is left alone
 *   /cluster/id          {"version":"1","id":"22 characters"}, created once
 *   /brokers/ids/N       ephemeral; its czxid is the broker epoch. Its features are those of the
 *                        metadata. Beside Kafka's fields it names the UUID of the broker's log
 *                        directory, the one in whose place that is if that one is lost, and the
 *                        version of the program
 *   /controller          ephemeral; created in one multi with the raise of
 *   /controller_epoch    a number; its version is the fencing token of every controller write
 *
 * home: the control shard.
 */
#pragma once

#include "core/metadata/metadata_log.h"
#include "io/arena.h"
#include "io/uuid.h"
#include "net/listener.h"

#define MEMBERSHIP_CONTROLLER "/controller"
#define MEMBERSHIP_IDS        "/brokers/ids"
#define MEMBERS_MAX           1000U /* brokers of a cluster */

/* A registered broker. */
struct member {
    int32_t id;
    int64_t epoch;
    uint64_t session;
    struct uuid directory;
    struct uuid replaced; /* the one before it, which is lost; zeros: none */
    const char *rack;     /* NULL: none */
    const char *version;  /* of its program; "" when it does not say */
    int16_t level;        /* of METADATA_LEVEL, up to which it knows records */
    uint32_t endpoint_count;
    struct member_endpoint {
        const char *listener;
        const char *host;
        uint16_t port;
    } endpoints[LISTENER_COUNT_MAX];
};

struct membership {
    /* in */
    struct shard *sh;
    struct store *store;
    int32_t node_id;
    struct uuid directory;        /* of the log directory */
    struct uuid replaced;         /* in whose place it is; zeros: nobody's. Before register */
    const char *version;          /* of this program */
    int16_t level;                /* of METADATA_LEVEL, up to which it knows records */
    const char *known_cluster_id; /* of the log directory; "": it belongs to no cluster yet */
    const struct listener_set *listeners;
    const char *rack; /* NULL: none */
    /* What keeps this broker from being there. A session that ended is nothing of that kind: what
     * is under way then just ends, and its done() never comes. */
    void (*on_failed)(void *user, const char *sentence);
    void *user;

    /* out */
    char cluster_id[UUID_TEXT_LEN + 1]; /* after open */
    int64_t broker_epoch;               /* after register */
    bool in_office;                     /* after elect */
    int32_t controller_epoch;           /* in office */
    int32_t controller_epoch_version;
    const struct member *members; /* after list, sorted by id; until the next list */
    uint32_t member_count;

    /* private */
    void (*done)(void *user);
    void (*listed)(void *user);
    struct arena arena; /* of members */
    struct member *listing;
    uint32_t listing_count;
    uint32_t asked; /* registrations that are being read */
    bool list_again;
    uint64_t left_over; /* the session of our own registration from before a crash */
    int32_t left_over_version;
};

/* The tree as it begins, and the cluster's id in it, as operations for a store. Both fill what the
 * operations point into. */
#define MEMBERSHIP_NODES         (4U + METADATA_LOG_NODES)
#define MEMBERSHIP_CLUSTER_BYTES 128U
uint32_t membership_nodes(struct store_op ops[MEMBERSHIP_NODES], uint8_t head[64]);
struct store_op membership_cluster(const char *cluster_id, char json[MEMBERSHIP_CLUSTER_BYTES]);

void membership_init(struct membership *ms);
void membership_fini(struct membership *ms);

/* Makes the tree when there is none, and finds or makes the cluster id; then done(user). */
void membership_open(struct membership *ms, void (*done)(void *user));
/* Says that this broker is there. A registration that an earlier life of this log directory has
 * left is replaced at once: who holds the directory's lock knows that this life is over. */
void membership_register(struct membership *ms, void (*done)(void *user));
/* Takes office if nobody is in it, and watches MEMBERSHIP_CONTROLLER: when that goes, call again.
 */
void membership_elect(struct membership *ms, void (*done)(void *user));
/* Who is registered, and watches MEMBERSHIP_IDS: when its children change, call again. May be
 * called while it runs: it then begins again, and done() comes once. */
void membership_list(struct membership *ms, void (*done)(void *user));
