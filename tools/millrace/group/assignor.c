/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/group/assignor.h"

#include <stdlib.h>

static const char *const names[ASSIGNOR_COUNT] = {"range", "roundrobin"};

const char *assignor_name(enum assignor assignor)
{
    return assignor < ASSIGNOR_COUNT ? names[assignor] : NULL;
}

enum assignor assignor_find(struct str name)
{
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++)
        if (str_equal(name, str_of(names[i])))
            return (enum assignor)i;
    return ASSIGNOR_COUNT;
}

static int order_of(struct str a, struct str b)
{
    int order = memcmp(a.data, b.data, (size_t)min_i64(a.len, b.len));
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_member(const void *a, const void *b)
{
    const struct assignor_member *x = a;
    const struct assignor_member *y = b;
    bool x_static = x->instance_id.len >= 0;
    bool y_static = y->instance_id.len >= 0;
    if (x_static != y_static)
        return x_static ? -1 : 1;
    return x_static ? order_of(x->instance_id, y->instance_id) : order_of(x->id, y->id);
}

static int by_name(const void *a, const void *b)
{
    return order_of(((const struct assignor_topic *)a)->name,
                    ((const struct assignor_topic *)b)->name);
}

static bool wants(const struct assignor_member *member, struct str topic)
{
    for (int32_t i = 0; i < member->topic_count; i++)
        if (str_equal(member->topics[i], topic))
            return true;
    return false;
}

#define NOBODY UINT32_MAX

/* owners[partition]: the place of a member. */
static void range(const struct assignor_member *members, uint32_t count,
                  const struct assignor_topic *topic, uint32_t *owners)
{
    int32_t interested = 0;
    for (uint32_t i = 0; i < count; i++)
        interested += wants(&members[i], topic->name);
    int32_t next = 0;
    for (uint32_t i = 0, place = 0; i < count && interested > 0; i++) {
        if (!wants(&members[i], topic->name))
            continue;
        bool one_more = (int32_t)place < topic->partitions % interested;
        int32_t share = topic->partitions / interested + one_more;
        for (; share > 0; share--)
            owners[next++] = i;
        place++;
    }
}

/* *at: whose turn it is, from topic to topic. */
static void round_robin(const struct assignor_member *members, uint32_t count,
                        const struct assignor_topic *topic, uint32_t *owners, uint32_t *at)
{
    for (int32_t p = 0; p < topic->partitions; p++)
        for (uint32_t tries = 0; tries < count && owners[p] == NOBODY; tries++) {
            if (wants(&members[*at], topic->name))
                owners[p] = *at;
            *at = (*at + 1) % count;
        }
}

/* Hands the topic's partitions to their owners. */
static bool give(struct assignor_member *members, uint32_t count,
                 const struct assignor_topic *topic, const uint32_t *owners, struct arena *arena)
{
    for (uint32_t i = 0; i < count; i++) {
        struct consumer_protocol_assignment *assignment = &members[i].assignment;
        struct consumer_protocol_assignment_assigned_partition *to =
            &assignment->assigned_partitions[assignment->assigned_partitions_count];
        int32_t share = 0;
        for (int32_t p = 0; p < topic->partitions; p++)
            share += owners[p] == i;
        if (share == 0)
            continue;
        init_consumer_protocol_assignment_assigned_partition(to);
        to->topic = topic->name;
        to->partitions = arena_array(arena, (size_t)share, sizeof(*to->partitions));
        if (!to->partitions)
            return false;
        for (int32_t p = 0; p < topic->partitions; p++)
            if (owners[p] == i)
                to->partitions[to->partitions_count++] = p;
        assignment->assigned_partitions_count++;
    }
    return true;
}

bool assignor_run(enum assignor assignor, struct assignor_member *members, uint32_t member_count,
                  struct assignor_topic *topics, uint32_t topic_count, struct arena *arena)
{
    must(assignor < ASSIGNOR_COUNT);
    if (member_count > 1)
        qsort(members, member_count, sizeof(*members), by_member);
    if (topic_count > 1)
        qsort(topics, topic_count, sizeof(*topics), by_name);
    for (uint32_t i = 0; i < member_count; i++) {
        struct consumer_protocol_assignment *assignment = &members[i].assignment;
        init_consumer_protocol_assignment(assignment);
        assignment->assigned_partitions =
            arena_array(arena, topic_count, sizeof(*assignment->assigned_partitions));
        if (!assignment->assigned_partitions)
            return false;
    }
    uint32_t turn = 0;
    for (uint32_t t = 0; t < topic_count && member_count > 0; t++) {
        uint32_t *owners = arena_array(arena, (size_t)topics[t].partitions, sizeof(*owners));
        if (!owners)
            return false;
        memset(owners, 0xff, (size_t)topics[t].partitions * sizeof(*owners)); /* NOBODY */
        if (assignor == ASSIGNOR_RANGE)
            range(members, member_count, &topics[t], owners);
        else
            round_robin(members, member_count, &topics[t], owners, &turn);
        if (!give(members, member_count, &topics[t], owners, arena))
            return false;
    }
    return true;
}
