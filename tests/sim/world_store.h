/* SPDX-License-Identifier: Apache-2.0
 *
 * A metadata store (core/metadata/store_sim.h) that draws and counts time as its world does.
 */
#pragma once

#include "core/metadata/store_sim.h"
#include "io/sim/mem.h"
#include "io/sim/sim.h"

static uint64_t draw_of_world(void *user)
{
    return rng_next(world_rng(user));
}

static uint64_t now_of_world(void *user)
{
    return world_now_ns(user);
}

static void *enter_memory(void)
{
    return mem_owner_set(NULL);
}

static void leave_memory(void *before)
{
    mem_owner_set(before);
}

/* `options` says how slow it is and what it loses. */
static inline struct store_sim *store_of_options(struct world *world,
                                                 struct store_sim_options options)
{
    options.random = draw_of_world;
    options.now_ns = now_of_world;
    options.memory_enter = enter_memory;
    options.memory_leave = leave_memory;
    options.user = world;
    return store_sim_new(&options);
}

/* One of `lost_one_in` multis does not happen and is not answered, one happens and is not; 0: none.
 */
static inline struct store_sim *store_of_world(struct world *world, uint32_t lost_one_in)
{
    return store_of_options(world, (struct store_sim_options){.delay_ns_max = 3000000U,
                                                              .lost_before_one_in = lost_one_in,
                                                              .lost_after_one_in = lost_one_in});
}
