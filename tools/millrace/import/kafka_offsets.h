/* SPDX-License-Identifier: Apache-2.0
 *
 * How many groups have committed how many offsets, as Kafka's __consumer_offsets says: an ordinary
 * compacted topic, whose records the coordinator here reads as well (core/group/group_record.h).
 */
#pragma once

#include "tools/millrace/import/kafka_cluster.h"

void kafka_offsets_count(const struct kafka_topic *topic, uint64_t *groups, uint64_t *offsets);
