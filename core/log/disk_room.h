/* SPDX-License-Identifier: Apache-2.0
 *
 * Room on the disk: how much a shard may still accept before the disk is asked again.
 *
 * A log directory keeps a reserve of free space, for what was acknowledged and is not in its
 * segment yet, for index files, checkpoints and metadata: so the disk is full, for producers, while
 * fetches, deletions, a stop and a start still work. Appends come faster than a disk can be asked;
 * so each answer gives every shard its part of what is free above the reserve, less what it has
 * accepted and not written, and when half of that is used up the disk is asked again.
 */
#pragma once

#include "core/log/log.h"

void disk_room_start(struct log_shard *ls);
void disk_room_stop(struct log_shard *ls);
/* LOG_OK; LOG_FULL; LOG_WAIT: a checkpoint, or an answer of the disk, is on its way. */
enum log_verdict disk_room_verdict(const struct log_shard *ls);
void disk_room_spend(struct log_shard *ls, uint32_t bytes);
/* Accepted bytes have come to their segments. */
void disk_room_written(struct log_shard *ls);
