/* SPDX-License-Identifier: Apache-2.0
 *
 * Who of a consumer group is to read which partition: `uniform` and `range`, as pure functions of a
 * plan. A plan is a copy of all that counts, so it may be worked on by a helper thread while the
 * group goes on.
 *
 * uniform gives everybody as much as everybody else, as far as subscriptions allow, and moves as
 * little as that takes. range gives each member neighbouring partitions of every topic, by the
 * order of the members' names: topics that the same members read are divided alike, so that
 * partition 7 of both is read by one member.
 *
 * Racks do not count. A member's is kept and told to who describes the group, but neither of the
 * two assignors of Kafka 4.3.1 looks at it (none of their classes refers to one), so here nobody
 * moves a partition for it, either; what `client.rack` brings is a near replica
 * (core/partition/read_replica.h).
 */
#pragma once

#include "core/group/tp_set.h"
#include "net/wire.h"

enum assignor { ASSIGN_UNIFORM, ASSIGN_RANGE, ASSIGNOR_COUNT };

/* As the protocol writes it. */
const char *assign_name(enum assignor assignor);
/* False: there is none of that name. */
bool assign_find(struct str name, enum assignor *assignor) warn_unused;

struct assign_topic {
    struct uuid id;
    uint32_t partitions;
    uint32_t first; /* private: of its partitions among all */
};

struct assign_subscription {
    uint32_t *topics; /* places in assign_plan.topics, rising */
    uint32_t count;
};

struct assign_member {
    struct str id;   /* the plan's copy */
    struct str name; /* by which range sorts: the instance id, or the member id; points likewise */
    uint32_t subscription;
    struct tp_set now;  /* what it has been given last; in, the plan's */
    struct tp_set next; /* out */
};

struct assign_plan {
    enum assignor assignor;
    struct assign_topic *topics; /* sorted by id */
    uint32_t topic_count;
    struct assign_subscription *subscriptions;
    uint32_t subscription_count;
    struct assign_member *members;
    uint32_t member_count;
};

/* All zeros but for these. */
struct assign_plan *assign_plan_new(uint32_t topics, uint32_t subscriptions, uint32_t members);
void assign_plan_free(struct assign_plan *plan);
/* Sorts the topics of a new plan, which have id and partitions only. */
void assign_plan_sort(struct assign_plan *plan);
/* UINT32_MAX: it is none of the plan's. */
uint32_t assign_plan_topic(const struct assign_plan *plan, const struct uuid *id);

/* Fills `next` of every member. Everything reachable from the plan is its own. */
void assign_run(struct assign_plan *plan);
