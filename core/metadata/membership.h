/* SPDX-License-Identifier: Apache-2.0
 *
 * This broker among others, in the store: what cluster it is, that it is there, and who is the
 * controller. Paths and JSON are Kafka's (ZkData of 3.9), so that people who know them can read
 * them:
 *
 *   /format              "1": the tree is Millrace's; without it, a tree that Kafka has written
 *                        (/brokers/topics) is left alone
 *   /cluster/id          {"version":"1","id":"22 characters"}, created once
 *   /brokers/ids/N       ephemeral; its czxid is the broker epoch
 *   /controller          ephemeral; created in one multi with the raise of
 *   /controller_epoch    a number; its version is the fencing token of every controller write
 * home: the control shard.
 */
#pragma once

#include "core/metadata/store.h"
#include "io/uuid.h"
#include "net/listener.h"

struct membership {
    /* in */
    struct shard *sh;
    struct store *store;
    int32_t node_id;
    const char *known_cluster_id; /* of the log directory; "": it belongs to no cluster yet */
    const struct listener_set *listeners;
    const char *rack; /* NULL: none */
    void (*on_failed)(void *user, const char *sentence);
    void *user;

    /* out */
    char cluster_id[UUID_TEXT_LEN + 1]; /* after open */
    int64_t broker_epoch;               /* after register */
    int32_t controller_epoch;           /* after elect */
    int32_t controller_epoch_version;

    /* private */
    void (*done)(void *user);
};

/* Makes the tree when there is none, and finds or makes the cluster id; then done(user). */
void membership_open(struct membership *ms, void (*done)(void *user));
/* Says that this broker is there. */
void membership_register(struct membership *ms, void (*done)(void *user));
/* Takes office. Fails while another broker is in office: to serve beside it is not supported. */
void membership_elect(struct membership *ms, void (*done)(void *user));
