/* SPDX-License-Identifier: Apache-2.0
 *
 * What millrace-sim plays: a scenario builds machines in a fresh world, runs programs on them,
 * breaks things, and checks what must hold. One seed is one play. A scenario is listed in
 * main.c's table; it keeps no state outside of the play, and every choice it makes comes from
 * world_rng(), so that the seed alone replays it.
 */
#pragma once

#include "io/sim/sim.h"

struct cast;
struct model;

struct scenario {
    const char *name;
    const char *summary;
    /* The world this seed shall be; usually world_options_rough() and what the scenario changes. */
    void (*options)(struct world_options *options, uint64_t seed);
    /* True when every check held; otherwise a sentence in why. */
    bool (*play)(struct world *world, char *why, size_t why_size);
};

extern const struct scenario scenario_append;
extern const struct scenario scenario_broker;
extern const struct scenario scenario_groups;
extern const struct scenario scenario_consumers;
extern const struct scenario scenario_compact;
extern const struct scenario scenario_cluster;
extern const struct scenario scenario_modes;
extern const struct scenario scenario_dirs;
extern const struct scenario scenario_disks;
extern const struct scenario scenario_mixed;
extern const struct scenario scenario_rot;

/* The lives of a broker (tests/sim/broker.c), with clients of the scenario's choice. */
struct broker_lives {
    const struct cast *cast;
    size_t cast_count;
    void (*begin)(struct model *m); /* NULL: nothing to do; so are the others */
    void (*end)(struct model *m);
    void (*life)(struct model *m, bool disturbed); /* before one begins */
    void (*ready)(struct model *m);                /* it has, and will be disturbed */
};
void broker_lives_options(struct world_options *options, uint64_t seed);
bool broker_lives_play(struct world *world, const struct broker_lives *plan, char *why,
                       size_t why_size);
