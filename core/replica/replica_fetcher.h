/* SPDX-License-Identifier: Apache-2.0
 *
 * The follower's side of replication: a shard fetches from each broker that leads partitions whose
 * home it is. One connection per shard and leading broker, with one Fetch at a time for all those
 * partitions together: what they bring is appended by the shard's one journal, becomes durable in
 * one flush, and only then is the next Fetch sent. So its offsets say what is durable here, which
 * is all that the leader counts (core/partition/partition_replicas.h); and records that come
 * meanwhile share the next flush. One connection per pair of shards would need to know the
 * placement of another broker, one per broker would carry bytes across shards.
 *
 * Memory: one answer per leading broker at a time, of FETCH_BYTES_MAX or one batch.
 *
 * What comes is another broker's word: batches are checked (bounds, order, epochs, checksum) like a
 * client's. Leader's offsets and epochs are kept. home: the partitions' shard.
 *
 * Sources: KIP-101, KIP-279, KIP-320 (truncation by leader epochs), KIP-595 (diverging epoch in the
 * answer), KIP-903 (broker epoch).
 */
#pragma once

#include "core/partition/partition.h"

struct replica_fetchers;

struct replica_fetchers *replica_fetchers_new(struct broker_shard *bs);
/* Nothing is fetched any more, and what has come is in the logs; then done(user). */
void replica_fetchers_stop(struct replica_fetchers *fetchers, void (*done)(void *user), void *user);
void replica_fetchers_free(struct replica_fetchers *fetchers);

/* The partition follows pt->leader in pt->leader_epoch, from its log's end. Nothing is on its way
 * into the log. Sets pt->follow. */
void replica_follow(struct partition *pt);
/* Not any more (also when it did not). What has come and is in the log stays there. */
void replica_unfollow(struct partition *pt);
