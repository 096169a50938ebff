/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipped broker over its lives, as in broker.c, with other clients: members of groups, static
 * and dynamic, who come, go, die and come back as zombies; keepers of offsets; an administrator who
 * takes topics away under them; and producers beside them. What they are told must agree with
 * group_facts.h.
 */
#include "tests/sim/actor.h"
#include "tests/sim/group_facts.h"
#include "tests/sim/scenario.h"

static const struct cast cast[] = {
    {&actor_member, 8},   {&actor_keeper, 3}, {&actor_admin, 1},
    {&actor_producer, 1}, {&actor_reader, 1},
};

static void setting(struct node *node, const char *name, const char *value)
{
    must(node->setting_count < array_count(node->settings));
    node->settings[node->setting_count++] = (struct conf_assignment){.name = name, .value = value};
}

static void groups_begin(struct model *m)
{
    m->groups = group_facts_new();
    setting(m->node, "group.min.session.timeout.ms", "10");
    setting(m->node, "group.initial.rebalance.delay.ms", rng_one_in(&m->rng, 2) ? "0" : "5");
}

static void groups_end(struct model *m)
{
    const struct group_facts *facts = m->groups;
    world_note(m->world, "%llu generations, %llu commits accepted, %llu offsets fetched",
               (unsigned long long)facts->generations, (unsigned long long)facts->accepted,
               (unsigned long long)facts->fetched);
    group_facts_free(m->groups);
}

static const struct broker_lives lives = {
    .cast = cast, .cast_count = array_count(cast), .begin = groups_begin, .end = groups_end};

static bool groups_play(struct world *world, char *why, size_t why_size)
{
    return broker_lives_play(world, &lives, why, why_size);
}

const struct scenario scenario_groups = {
    .name = "groups",
    .summary = "the shipped broker with members of groups and keepers of offsets, over its lives",
    .options = broker_lives_options,
    .play = groups_play,
};
