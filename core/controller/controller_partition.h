/* SPDX-License-Identifier: Apache-2.0
 *
 * The next state of one partition, in the making: what every decision about leaders, commit sets
 * and replicas begins with (next_begin) and, if anything is different, ends with (next_write).
 * Pure, as core/controller/controller_step.h. The rules by name:
 * core/controller/controller_replicas.h.
 */
#pragma once

#include "core/controller/controller_step.h"

struct next_state {
    const struct topic_image *topic;
    const struct partition_image *was;
    int32_t partition;
    int32_t leader;
    int32_t leader_epoch;
    int32_t set[METADATA_REPLICAS_MAX];
    uint32_t set_count;
    int32_t replicas[METADATA_REPLICAS_MAX]; /* the last removing_count go when the move is over */
    uint32_t replica_count;
    uint32_t removing_count;
    uint64_t adding; /* bit i: replicas[i] was none before the move */
};

bool ids_hold(const int32_t *ids, uint32_t count, int32_t id);

void next_begin(struct next_state *next, const struct topic_image *topic, uint32_t partition);
void next_set_remove(struct next_state *next, int32_t id);
/* It leaves the set, if that remains large enough. */
void next_set_leave(const struct controller_step *step, struct next_state *next, int32_t id);
/* How many of the set acks=all needs. */
uint32_t next_insync_min(const struct next_state *next);
/* Who may be the leader of a new epoch; -1: nobody. */
int32_t next_candidate(const struct controller_step *step, const struct next_state *next);
/* A new epoch: whoever may lead by now does. */
void next_elect(const struct controller_step *step, struct next_state *next);
/* The same, and when nobody of the set is there, any replica that is, those that a move has yet to
 * add last: then it alone is the set, and what it does not have is lost, acknowledged or not. */
void next_elect_unclean(struct controller_step *step, struct next_state *next);
/* As the topic's unclean.leader.election.enable says. */
void next_elect_as_set(struct controller_step *step, struct next_state *next);
void next_write(struct controller_step *step, const struct next_state *next);
