/* SPDX-License-Identifier: Apache-2.0
 *
 * How much followers that catch up may fetch (KIP-73): of the partitions that a topic's
 * leader.replication.throttled.replicas and follower.replication.throttled.replicas name, no more a
 * second than the broker's leader.replication.throttled.rate and
 * follower.replication.throttled.rate allow, as `kafka-reassign-partitions --throttle` sets them.
 * What is in sync is held up by neither. home: each shard has its share of the rate.
 */
#pragma once

#include "core/metadata/image.h"
#include "core/quota_window.h"

struct broker_shard;

enum replica_side { REPLICA_LEADS, REPLICA_FOLLOWS, REPLICA_SIDES };

/* Of a shard. */
struct replica_throttle {
    struct quota_window used[REPLICA_SIDES];
};

/* Does the topic name this broker's replica of the partition? */
bool replica_throttle_names(const struct topic_image *topic, int32_t partition, int32_t broker,
                            enum replica_side side);
/* How long the side has to wait with those; 0: not at all. */
uint64_t replica_throttle_rest_ns(struct broker_shard *bs, enum replica_side side);
void replica_throttle_use(struct broker_shard *bs, enum replica_side side, uint64_t bytes);
