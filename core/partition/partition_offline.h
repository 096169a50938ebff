/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions of this broker whose log cannot be used: their directory is offline, since the start
 * or since it failed.
 *
 * All shards are told which they are, so that Metadata and FindCoordinator can say, wherever they
 * are asked, that nobody leads them.
 *
 * Of those that were in a directory that is lost for ever (core/log/log_dirs.h) the controller is
 * told that: this broker leaves the set, however many remain, and begins anew as one that follows.
 *
 * Where another member of the commit set lives, the controller is asked to let that one lead: by
 * AlterPartition with the set without this broker. It is asked again, in longer and longer
 * intervals, for as long as there is such a partition. Where nobody else can lead, this broker
 * stays the leader by the image, and answers KAFKA_STORAGE_ERROR.
 */
#pragma once

#include "core/partition/partition.h"

struct partition_offline; /* home: one of each shard */

struct partition_offline *partition_offline_new(struct broker_shard *bs);
void partition_offline_free(struct partition_offline *offline);
/* A directory has failed, or there is a new image. */
void partition_offline_look(struct partition_offline *offline);
/* Roles have ended: no more of it. */
void partition_offline_stop(struct partition_offline *offline);

/* Is this partition of ours, at home on shard `home`, one of them? A moment late. */
bool partition_is_offline(const struct partition_offline *offline, uint16_t home,
                          const struct partition_key *key);
