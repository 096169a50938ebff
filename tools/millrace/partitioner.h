/* SPDX-License-Identifier: Apache-2.0
 *
 * Which partition a key belongs to: as Kafka's Java client decides, so that records of one key meet
 * whoever sends them.
 */
#pragma once

#include "io/base.h"

/* MurmurHash2 with Kafka's seed. */
uint32_t murmur2(const void *key, size_t len);
/* partition_count > 0. */
int32_t partition_of_key(const void *key, size_t len, int32_t partition_count);
