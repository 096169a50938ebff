/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipped broker over its lives, as in broker.c, with members of consumer groups of KIP-848 and
 * members of the classic protocol in the same groups, which migrate up and down thereby; an
 * administrator who makes topics, gives them partitions and takes them away under them; and a
 * producer beside them. What they are told must agree with consumer_facts.h.
 */
#include "tests/sim/actor.h"
#include "tests/sim/consumer_facts.h"
#include "tests/sim/scenario.h"

#include <stdlib.h>

static const struct cast cast[] = {
    {&actor_fellow, 7},   {&actor_elder, 4},  {&actor_admin, 1},
    {&actor_producer, 1}, {&actor_reader, 1},
};

static void setting(struct node *node, const char *name, const char *value)
{
    must(node->setting_count < array_count(node->settings));
    node->settings[node->setting_count++] = (struct conf_assignment){.name = name, .value = value};
}

static void consumers_begin(struct model *m)
{
    m->consumers = consumer_facts_new();
    setting(m->node, "group.consumer.session.timeout.ms", "60");
    setting(m->node, "group.consumer.heartbeat.interval.ms", "10");
    setting(m->node, "group.min.session.timeout.ms", "10");
    setting(m->node, "group.initial.rebalance.delay.ms", rng_one_in(&m->rng, 2) ? "0" : "10");
    m->consumers->migrates = !rng_one_in(&m->rng, 3);
    if (rng_one_in(&m->rng, 3))
        setting(m->node, "group.consumer.assignors", "range");
}

static void consumers_end(struct model *m)
{
    const struct consumer_facts *facts = m->consumers;
    world_note(m->world, "%llu partitions taken, %llu commits accepted, %llu refused",
               (unsigned long long)facts->taken, (unsigned long long)facts->accepted,
               (unsigned long long)facts->refused);
    free(m->consumers);
}

static const struct broker_lives lives = {
    .cast = cast, .cast_count = array_count(cast), .begin = consumers_begin, .end = consumers_end};

static bool consumers_play(struct world *world, char *why, size_t why_size)
{
    return broker_lives_play(world, &lives, why, why_size);
}

const struct scenario scenario_consumers = {
    .name = "consumers",
    .summary = "the shipped broker with consumer groups of KIP-848, over its lives",
    .options = broker_lives_options,
    .play = consumers_play,
};
