/* SPDX-License-Identifier: Apache-2.0
 *
 * Topics that promise less than durable beside others that do not, and some whose promise changes
 * (tests/sim/promises.h says what must hold).
 */
#include "tests/sim/actor.h"
#include "tests/sim/promises.h"
#include "tests/sim/scenario.h"

static const struct cast cast[] = {
    {&actor_producer, PRODUCERS_MAX},
    {&actor_consumer, 2},
    {&actor_admin, 1},
    {&actor_reader, 1},
    {&actor_trimmer, 1},
    {&actor_changer, 1},
};

static void on_recovered(void *user, const struct log_dir *dir)
{
    promises_recovered(user, dir);
}

static void modes_begin(struct model *m)
{
    promises_begin(m);
    m->node->on_recovered = on_recovered;
    m->node->on_recovered_user = m;
}

static bool modes_play(struct world *world, char *why, size_t why_size)
{
    static const struct broker_lives modes = {
        .cast = cast, .cast_count = array_count(cast), .begin = modes_begin};
    return broker_lives_play(world, &modes, why, why_size);
}

const struct scenario scenario_modes = {
    .name = "modes",
    .summary = "topics that promise less than durable, beside others that do not",
    .options = broker_lives_options,
    .play = modes_play,
};
