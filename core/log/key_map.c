/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/key_map.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io/mem.h"

#define KEYS_MIN 64U

void key_map_init(struct key_map *map, uint64_t keys, uint64_t bytes_max,
                  const uint8_t secret[KEY_MAP_SECRET_BYTES])
{
    const uint64_t wanted = max_u64(keys, KEYS_MIN) * 100 / KEY_MAP_FILL + 1;
    *map = (struct key_map){0};
    map->size = min_u64(wanted, max_u64(bytes_max / sizeof(struct key_map_entry), KEYS_MIN));
    map->count_max = map->size * KEY_MAP_FILL / 100;
    map->entries = mem_pages(map->size * sizeof(struct key_map_entry));
    memcpy(map->secret, secret, KEY_MAP_SECRET_BYTES);
}

void key_map_fini(struct key_map *map)
{
    if (map->entries != NULL)
        mem_pages_free(map->entries, map->size * sizeof(struct key_map_entry));
    *map = (struct key_map){0};
}

/* The key's entry, or the free one where it belongs. */
static struct key_map_entry *entry_of(const struct key_map *map, XXH128_hash_t hash)
{
    uint64_t at = (uint64_t)(((unsigned __int128)hash.high64 * map->size) >> 64);
    for (;;) {
        struct key_map_entry *entry = &map->entries[at];
        if (entry->next == 0 || (entry->hash[0] == hash.low64 && entry->hash[1] == hash.high64))
            return entry;
        at = at + 1 == map->size ? 0 : at + 1;
    }
}

static XXH128_hash_t hash_of(const struct key_map *map, const void *key, uint32_t len)
{
    return XXH3_128bits_withSecret(key, len, map->secret, KEY_MAP_SECRET_BYTES);
}

void key_map_put(struct key_map *map, const void *key, uint32_t len, int64_t offset)
{
    const XXH128_hash_t hash = hash_of(map, key, len);
    struct key_map_entry *entry = entry_of(map, hash);
    if (entry->next == 0) {
        must(map->count < map->count_max);
        map->count++;
        entry->hash[0] = hash.low64;
        entry->hash[1] = hash.high64;
    }
    entry->next = max_i64(entry->next, offset + 1);
}

int64_t key_map_get(const struct key_map *map, const void *key, uint32_t len)
{
    return entry_of(map, hash_of(map, key, len))->next - 1;
}
