/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/partitioner.h"

#include <string.h>

#define MIX   0x5bd1e995U
#define SHIFT 24
#define SEED  0x9747b28cU

uint32_t murmur2(const void *key, size_t len)
{
    const uint8_t *at = key;
    uint32_t hash = SEED ^ (uint32_t)len;
    for (; len >= 4; len -= 4, at += 4) {
        uint32_t word;
        memcpy(&word, at, sizeof(word)); /* little-endian, as everything here */
        word *= MIX;
        word ^= word >> SHIFT;
        word *= MIX;
        hash = hash * MIX ^ word;
    }
    uint32_t rest = 0;
    for (size_t i = 0; i < len; i++)
        rest |= (uint32_t)at[i] << (8 * i);
    if (len > 0)
        hash = (hash ^ rest) * MIX;
    hash ^= hash >> 13;
    hash *= MIX;
    return hash ^ hash >> 15;
}

int32_t partition_of_key(const void *key, size_t len, int32_t partition_count)
{
    must(partition_count > 0);
    return (int32_t)(murmur2(key, len) & INT32_MAX) % partition_count;
}
