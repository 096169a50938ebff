/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/consumer_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct consumer_facts *consumer_facts_new(void)
{
    struct consumer_facts *facts = calloc(1, sizeof(*facts));
    must(facts);
    for (uint32_t i = 0; i < CONSUMER_GROUPS; i++)
        (void)snprintf(facts->groups[i].name, sizeof(facts->groups[i].name), "consumers-%u", i);
    return facts;
}

static bool same(const struct consumer_part *a, const struct consumer_part *b)
{
    return a->partition == b->partition && uuid_equal(&a->topic, &b->topic);
}

bool consumer_has(const struct consumer_list *list, const struct consumer_part *part)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (same(&list->parts[i], part))
            return true;
    return false;
}

/* NULL: never heard of, and there is no room for more. */
static uint32_t *member_of(struct consumer_facts *facts, uint32_t group,
                           const struct consumer_part *part)
{
    for (uint32_t i = 0; i < facts->groups[group].part_count; i++) {
        if (same(&facts->groups[group].parts[i].part, part))
            return &facts->groups[group].parts[i].member;
    }
    if (facts->groups[group].part_count == CONSUMER_PARTS)
        return NULL;
    const uint32_t place = facts->groups[group].part_count++;
    facts->groups[group].parts[place].part = *part;
    facts->groups[group].parts[place].member = CONSUMER_NOBODY;
    return &facts->groups[group].parts[place].member;
}

static bool is_certain(const struct model *m, uint32_t member)
{
    const uint64_t now_ns = world_now_ns(m->world);
    return now_ns < m->consumers->members[member].heard_ns + CONSUMER_SESSION_MS * MS &&
           now_ns < m->consumers->members[member].clean_ns + CONSUMER_REBALANCE_MS * MS;
}

uint32_t consumer_holder(const struct model *m, uint32_t group, const struct consumer_part *part)
{
    const uint32_t *member = member_of(m->consumers, group, part);
    return member && *member != CONSUMER_NOBODY && is_certain(m, *member) ? *member
                                                                          : CONSUMER_NOBODY;
}

void consumer_take(struct model *m, uint32_t group, uint32_t member,
                   const struct consumer_part *part)
{
    const uint32_t holder = consumer_holder(m, group, part);
    uint32_t *place = member_of(m->consumers, group, part);
    if (holder != CONSUMER_NOBODY && holder != member && is_certain(m, member))
        wrong(m, "%s: partition %d is member %u's while member %u has it",
              m->consumers->groups[group].name, part->partition, member, holder);
    if (place)
        *place = member;
    m->consumers->taken++;
}

void consumer_give(struct model *m, uint32_t group, uint32_t member,
                   const struct consumer_part *part)
{
    uint32_t *place = member_of(m->consumers, group, part);
    if (place && *place == member)
        *place = CONSUMER_NOBODY;
}

#define TIMES_NS (400 * MS)

bool consumer_is_classic_time(const struct model *m, uint32_t group)
{
    return m->consumers->migrates && (world_now_ns(m->world) / TIMES_NS + group) % 3 == 0;
}
