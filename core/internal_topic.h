/* SPDX-License-Identifier: Apache-2.0
 *
 * The topics the broker keeps for itself: their names, how they are made, and which partition of
 * theirs a key belongs to.
 */
#pragma once

#include "core/broker.h"

#define INTERNAL_TOPIC_OFFSETS      "__consumer_offsets"
#define INTERNAL_TOPIC_TRANSACTIONS "__transaction_state"

/* Asks the controller to make it, unless it is under way from this shard; the asker tries again. */
void internal_topic_create(struct broker_shard *bs, const char *name);

/* Java's String.hashCode over UTF-16 code units, its absolute value modulo the count; the absolute
 * value of the smallest integer is 0 (M10). Bytes that are no UTF-8 count as U+FFFD, as there. */
int32_t internal_topic_partition(struct str key, uint32_t partition_count);
