/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/named_twice.h"

#include "io/map.h"

#include <string.h>

#define CLEAR_SLOTS 512U /* 12 KiB of memory that may be fresh */

struct named_slot {
    struct str name;
    int32_t partition;
    uint32_t times; /* 0: free; 2: more than once */
};

bool named_twice_init(struct named_twice *nt, struct arena *arena, size_t count, uint64_t salt)
{
    size_t size = 8;
    while (size < count * 2)
        size *= 2;
    *nt = (struct named_twice){.mask = size - 1, .salt = salt};
    nt->slots = arena_array(arena, size, sizeof(*nt->slots));
    return nt->slots != NULL;
}

bool named_twice_clear(struct named_twice *nt)
{
    const size_t count = min_u64(nt->mask + 1 - nt->cleared, CLEAR_SLOTS);
    memset(&nt->slots[nt->cleared], 0, count * sizeof(*nt->slots));
    nt->cleared += count;
    return nt->cleared <= nt->mask;
}

struct named_topic named_topic_of(const struct named_twice *nt, struct str name)
{
    return (struct named_topic){name,
                                map_hash_salted(name.data, (size_t)max_i64(name.len, 0), nt->salt)};
}

/* Where it is, or the free slot where it would be: the table is never more than half full. */
static struct named_slot *slot_of(const struct named_twice *nt, const struct named_topic *topic,
                                  int32_t partition)
{
    size_t at = map_hash_salted(&partition, sizeof(partition), topic->hash) & nt->mask;
    for (;; at = (at + 1) & nt->mask) {
        struct named_slot *slot = &nt->slots[at];
        if (slot->times == 0 ||
            (slot->partition == partition && str_equal(slot->name, topic->name)))
            return slot;
    }
}

void named_twice_add(struct named_twice *nt, const struct named_topic *topic, int32_t partition)
{
    struct named_slot *slot = slot_of(nt, topic, partition);
    slot->name = topic->name;
    slot->partition = partition;
    slot->times = slot->times == 0 ? 1 : 2;
}

bool named_twice(const struct named_twice *nt, const struct named_topic *topic, int32_t partition)
{
    return slot_of(nt, topic, partition)->times > 1;
}
