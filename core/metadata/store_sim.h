/* SPDX-License-Identifier: Apache-2.0
 *
 * A metadata store for the simulated world: one tree, shared by all machines, that never crashes
 * and may do to its clients what a store across a network does: answer late, lose an answer (the
 * multi happened, or it did not), be away, and end a session that was silent for too long.
 *
 * The store is made by the scenario, outside of every simulated process, and given to the brokers
 * as store_options.sim. Its own memory is nobody's: each call into it is made between memory_enter
 * and memory_leave. A client looks for what it has been told with a timer on its own shard, so the
 * store touches no memory of a process and a process that dies leaves nothing dangling.
 */
#pragma once

#include "core/metadata/store.h"

struct store_sim;

struct store_sim_options {
    uint64_t (*random)(void *user);
    uint64_t (*now_ns)(void *user); /* the world's time: clocks of machines differ */
    void *(*memory_enter)(void);    /* NULL: memory has no owners here */
    void (*memory_leave)(void *before);
    void *user;
    uint64_t delay_ns_max;       /* of an answer or event */
    uint32_t lost_before_one_in; /* multis that do not happen and are not answered; 0: never */
    uint32_t lost_after_one_in;  /* multis that happen and are not answered */
};

struct store_sim *store_sim_new(const struct store_sim_options *options);
void store_sim_free(struct store_sim *sim);
/* Ends every session now, as if all had been silent for longer than their timeout. */
void store_sim_expire(struct store_sim *sim);
/* Away: nobody reaches it, clients are suspended, and no session ends; or back again. */
void store_sim_away(struct store_sim *sim, bool away);

/* For core/metadata/store.c. */
struct store *store_sim_open(struct shard *sh, const struct store_options *options);
