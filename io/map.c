/* SPDX-License-Identifier: Apache-2.0 */
#include "io/map.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint32_t map_hash(const void *key, size_t len)
{
    return (uint32_t)XXH3_64bits(key, len);
}

uint64_t map_hash_salted(const void *key, size_t len, uint64_t salt)
{
    return XXH3_64bits_withSeed(key, len, salt);
}
