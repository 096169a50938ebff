/* SPDX-License-Identifier: Apache-2.0
 *
 * Which replica a consumer had better read from: one in its own rack (replica.selector.class,
 * KIP-392). The leader names it, the consumer goes there, and a follower serves what it knows to be
 * committed. home: the partition's shard.
 */
#pragma once

#include "core/partition/partition.h"
#include "net/wire.h"

/* Does the configuration send consumers to followers? Then these are told of the high watermark as
 * soon as it moves, which costs an answer more where little is written. */
bool read_replicas_are_used(const struct broker_shard *bs);

/* The follower in `rack` that has come furthest, if it lives, is in the commit set and has what
 * comes at `offset`; -1: there is none, or this leader is in the rack itself. */
int32_t read_replica_for(const struct partition *pt, struct str rack, int64_t offset);
