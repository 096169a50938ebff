/* SPDX-License-Identifier: Apache-2.0
 *
 * For compaction: at which offset stands the newest record of each key? A table of fixed size,
 * whatever the keys' lengths: of a key only a hash of 128 bits is kept. Two keys with the same hash
 * would be taken for one, and the older one's records lost; clients choose keys, so the hash is
 * made with a secret of its own for each map.
 *
 * Open addressing with linear probing, at most KEY_MAP_FILL percent full. Memory is touched only
 * where keys are. Belongs to one owner, on any thread.
 */
#pragma once

#include "io/base.h"

#define KEY_MAP_SECRET_BYTES 192U
#define KEY_MAP_FILL         85U
/* Bytes of memory for each key. */
#define KEY_MAP_ENTRY_BYTES 24U

struct key_map_entry {
    uint64_t hash[2];
    int64_t next; /* offset + 1; 0: free */
};

struct key_map {
    struct key_map_entry *entries;
    uint64_t size;
    uint64_t count;
    uint64_t count_max;
    uint8_t secret[KEY_MAP_SECRET_BYTES];
};

/* Room for `keys`, or for as many as `bytes_max` holds if that is less (but always for some). */
void key_map_init(struct key_map *map, uint64_t keys, uint64_t bytes_max,
                  const uint8_t secret[KEY_MAP_SECRET_BYTES]);
void key_map_fini(struct key_map *map);

/* How many more keys it takes for certain. */
static inline uint64_t key_map_room(const struct key_map *map)
{
    return map->count_max - map->count;
}

/* The key's newest record is at `offset` or later. There is room. */
void key_map_put(struct key_map *map, const void *key, uint32_t len, int64_t offset);
/* -1: not seen. */
int64_t key_map_get(const struct key_map *map, const void *key, uint32_t len);
