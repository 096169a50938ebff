/* SPDX-License-Identifier: Apache-2.0
 *
 * The dice of the simulated world: splitmix64, one 64-bit word of state, so that a stream of its
 * own for each disk, link and shard costs nothing and a draw more in one does not move another.
 */
#pragma once

#include "io/base.h"

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* In [0, bound); 0 for bound 0. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)rng_next(rng) * bound) >> 64);
}

/* In [low, high]. */
static inline uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    return low + rng_below(rng, high - low + 1);
}

/* True once in `one_in` throws; never for 0. */
static inline bool rng_one_in(struct rng *rng, uint64_t one_in)
{
    return one_in != 0 && rng_below(rng, one_in) == 0;
}

static inline struct rng rng_split(struct rng *rng)
{
    return (struct rng){.state = rng_next(rng)};
}
