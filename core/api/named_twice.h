/* SPDX-License-Identifier: Apache-2.0
 *
 * Which partitions does a request name more than once? They may stand in different topics of its
 * list, and the topic need not exist. A hash table in the request's arena, salted, because a client
 * chooses what goes in.
 */
#pragma once

#include "io/arena.h"
#include "net/wire.h"

struct named_twice {
    struct named_slot *slots;
    size_t mask;
    size_t cleared;
    uint64_t salt;
};

/* A topic's name, hashed once for all its partitions. */
struct named_topic {
    struct str name; /* lent until the last question */
    uint64_t hash;
};

/* Room for `count` names, which is to be cleared; false: the arena is full. */
bool named_twice_init(struct named_twice *nt, struct arena *arena, size_t count,
                      uint64_t salt) warn_unused;
/* Some of it, because a request may name a million; true: there is more to do. Then come all
 * additions, then the questions. */
bool named_twice_clear(struct named_twice *nt);
struct named_topic named_topic_of(const struct named_twice *nt, struct str name);
void named_twice_add(struct named_twice *nt, const struct named_topic *topic, int32_t partition);
bool named_twice(const struct named_twice *nt, const struct named_topic *topic, int32_t partition);
