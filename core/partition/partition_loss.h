/* SPDX-License-Identifier: Apache-2.0
 *
 * A new leader epoch for a partition that may have lost acknowledged records.
 *
 * When the last stop was no clean one, and the topic's millrace.durability was less than durable
 * (log->may_have_lost), the partition is led in a new leader epoch only: so whoever has read or
 * written more than there is now hears that histories part, and where (OffsetForLeaderEpoch,
 * KIP-320), before anything new stands at those offsets.
 *
 * The controller gives the epoch. It is asked by AlterPartition with the leader's recovery state,
 * again and again until an image shows a newer epoch than the one that was found. Until then the
 * partition is led by nobody; what producers send meanwhile waits in its line, since a refusal of
 * the first of their requests and not of the second would let that one overtake it. That the log
 * has lost something is forgotten when the new epoch begins, not before: a start that is cut off
 * leaves it to the next one. home: the partition's shard.
 */
#pragma once

#include "core/partition/partition.h"

/* The image says that this broker leads. False: not before the next epoch. */
bool partition_loss_may_lead(struct partition *pt, const struct partition_image *image);
/* If that is being asked for: no more. What waits in the line goes on, or is refused. */
void partition_loss_end(struct partition *pt);
