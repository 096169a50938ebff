/* SPDX-License-Identifier: Apache-2.0
 *
 * What another replica of a partition has from an offset on: one question to its broker, as a
 * consumer asks, which leaders and followers answer alike below their high watermark (KIP-392). It
 * names the leader epoch, so that nobody answers who does not know of the same leader.
 *
 * Not the Fetch of a follower: that one is only for leaders, and says how far its own log is
 * durable.
 */
#pragma once

#include "core/broker.h"
#include "net/client.h"

struct replica_question {
    int32_t broker;
    struct partition_key key;
    int32_t leader_epoch;
    int64_t offset;
};

struct replica_ask {
    /* The answer: batches, the last one perhaps not whole. Until the next question. */
    uint8_t *bytes;
    uint32_t len;
    const char *why; /* there is none: a constant, or a text of this struct; NULL: there is one */

    /* private */
    struct broker_shard *bs;
    struct replica_question question;
    struct client client;
    struct client_call call;
    struct task unreached;
    bool asking;
    char lost[CLIENT_WHY_SIZE];
    void (*done)(void *user);
    void *user;
};

void replica_ask_init(struct replica_ask *ask, struct broker_shard *bs, void (*done)(void *user),
                      void *user);
/* One at a time; done() comes later, never inside the call. */
void replica_ask(struct replica_ask *ask, const struct replica_question *question);
/* The answer's bytes go, as they do at the next question. */
void replica_ask_forget(struct replica_ask *ask);
/* A question under way ends soon, if there is one. */
void replica_ask_hurry(struct replica_ask *ask);
/* None is under way. */
void replica_ask_fini(struct replica_ask *ask);
