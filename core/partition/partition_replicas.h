/* SPDX-License-Identifier: Apache-2.0
 *
 * What the leader of a partition knows of its followers, and what follows from it: the high
 * watermark, and who belongs to the commit set. home: the partition's shard.
 *
 * A follower's Fetch says how far its log is durable: it asks for the next offset after its last
 * flush. The high watermark is the least durable end over the commit set C and whoever a proposal
 * under way may have added to it. The rules, by the names that the model has for them too
 * (tests/model/commit_set.c; what each broker knows after each event is compared with it):
 *
 *   durable       only durable ends count, the leader's own included
 *   seen          a member counts from its first Fetch in this leader epoch on
 *   enough        nothing is committed while C has fewer members than min.insync.replicas (or than
 *                 the partition has replicas, if that is less)
 *   superset      from the moment a larger set is proposed its new members count, too, and the old
 *                 set counts until a smaller one is confirmed: by an image with a newer partition
 *                 epoch, and by nothing else. A refusal proves nothing: an earlier copy of the same
 *                 request may have been taken.
 *   same bytes    a proposal is sent again as it was first made: its members' broker epochs are
 *                 those of the Fetches that made them eligible. (Who comes back with another
 *                 directory is refused at its start, core/controller/controller_office.c,
 *                 so this is a second guard: brokers can do without it, the model cannot.)
 *   eligible      who joins has fetched in this epoch up to the high watermark and up to where the
 *                 epoch began, under the broker epoch by which the cluster knows it
 *   never below   no set smaller than min.insync.replicas is proposed; the controller would refuse
 *                 it (core/controller/controller_replicas.c)
 *
 * Sources: KIP-497 (AlterPartition), KIP-903 (broker epochs), KIP-966 (the last replica standing).
 */
#pragma once

#include "core/partition/partition.h"

struct partition_follower {
    int32_t id;
    bool in_set;
    bool in_proposal;     /* of a proposal that is not confirmed */
    bool seen;            /* has fetched in this epoch */
    int64_t broker_epoch; /* of its last Fetch */
    int64_t durable_end;
    int64_t told_watermark; /* the last high watermark that it was told */
    uint64_t caught_up_ns;  /* when it last had all there was */
};

/* A larger or smaller commit set, on its way to the controller. */
struct partition_proposal;

struct partition_replicas {
    struct partition *pt;
    int64_t epoch_start; /* the log's end when this leader epoch began */
    int32_t partition_epoch;
    uint32_t set_count; /* of C, the leader included */
    uint32_t insync_min;
    struct partition_proposal *proposal;
    struct timer again; /* for a proposal that was refused or got lost */
    bool proposal_away; /* it is at the controller, or on its way */
    uint32_t count;
    struct partition_follower followers[];
};

/* The partition leads a new epoch; `image` has other replicas than this broker. */
struct partition_replicas *partition_replicas_new(struct partition *pt,
                                                  const struct partition_image *image);
void partition_replicas_free(struct partition_replicas *replicas);
/* The same leader epoch in a newer image: who is in the set by now. */
void partition_replicas_update(struct partition_replicas *replicas,
                               const struct partition_image *image);

/* A Fetch of a follower: what may be asked, before it is. ERR_NONE, or what it is told. */
enum err partition_replicas_check(const struct partition *pt, int32_t id, int64_t broker_epoch);
/* Its log agrees with ours up to `offset`, and is durable up to there. */
void partition_replicas_fetched(struct partition *pt, int32_t id, int64_t broker_epoch,
                                int64_t offset);

/* Must the follower wait, because it catches up and has had its share
 * (core/replica/replica_throttle.h)? */
bool partition_replicas_hold(const struct partition *pt, int32_t id);
/* What it gets, if that counts. */
void partition_replicas_count(const struct partition *pt, int32_t id, uint64_t bytes);

/* Does the follower not know the high watermark yet? From now on it counts as told. */
bool partition_replicas_tell(struct partition *pt, int32_t id);

/* Where the high watermark may be by what is known: the least durable end; -1: unknown. */
int64_t partition_replicas_least(const struct partition_replicas *replicas);
/* min.insync.replicas, or the number of replicas if that is less. */
uint32_t partition_insync_min(const struct partition *pt);
/* Has the set so many members? */
bool partition_set_is_enough(const struct partition *pt);
/* May acks=all be promised: are enough members of the set alive? */
bool partition_has_quorum(const struct partition *pt);

/* Whoever has not caught up for replica.lag.time.max.ms leaves the set, if that remains large
 * enough. Now and then. */
void partition_replicas_look(struct partition_replicas *replicas);
