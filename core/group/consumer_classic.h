/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of a consumer group of KIP-848 that speak the classic protocol, while their group
 * migrates: JoinGroup, SyncGroup, Heartbeat and LeaveGroup to such a group. Nobody leads, nobody
 * waits for the others, and the generation is the member's epoch: each join is answered at once
 * with how far the member may go, SyncGroup tells what is its own, and a heartbeat asks it to join
 * again when there is more to give back or to get.
 *
 * Nothing is answered before what was changed is durable: that is the host's.
 *
 * Sources: KIP-848 (Migration), the behaviour of Apache Kafka 4.3.1.
 */
#pragma once

#include "core/group/consumer_embedded.h"
#include "core/group/group.h"

/* Fills what is out in join; done() is not called. made_id: for who has none. */
void consumer_classic_join(struct consumer_group *g, struct group_join *join, struct str made_id);
/* Likewise; the assignment is in the arena. */
void consumer_classic_sync(struct consumer_group *g, struct group_sync *sync, struct arena *arena);
enum err consumer_classic_heartbeat(struct consumer_group *g, struct str member_id,
                                    struct str instance_id, int32_t generation);
/* Several may leave at a time; then, if any did, consumer_classic_left(). */
enum err consumer_classic_leave(struct consumer_group *g, struct str member_id,
                                struct str instance_id);
void consumer_classic_left(struct consumer_group *g);
