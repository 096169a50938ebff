/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/assign_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const assignor_names[ASSIGNOR_COUNT] = {"uniform", "range"};

const char *assign_name(enum assignor assignor)
{
    return assignor_names[assignor];
}

bool assign_find(struct str name, enum assignor *assignor)
{
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++) {
        if (str_equal(name, str_of(assignor_names[i]))) {
            *assignor = (enum assignor)i;
            return true;
        }
    }
    return false;
}

/* ---- plans ---- */

struct assign_plan *assign_plan_new(uint32_t topics, uint32_t subscriptions, uint32_t members)
{
    struct assign_plan *plan = mem_zalloc(sizeof(*plan));
    plan->topics = mem_zalloc((topics + 1UL) * sizeof(*plan->topics));
    plan->subscriptions = mem_zalloc((subscriptions + 1UL) * sizeof(*plan->subscriptions));
    plan->members = mem_zalloc((members + 1UL) * sizeof(*plan->members));
    plan->topic_count = topics;
    plan->subscription_count = subscriptions;
    plan->member_count = members;
    return plan;
}

void assign_plan_free(struct assign_plan *plan)
{
    for (uint32_t i = 0; i < plan->member_count; i++) {
        struct assign_member *member = &plan->members[i];
        if (member->name.data != member->id.data)
            mem_free(no_const(member->name.data));
        mem_free(no_const(member->id.data));
        tp_set_fini(&member->now);
        tp_set_fini(&member->next);
    }
    for (uint32_t i = 0; i < plan->subscription_count; i++)
        mem_free(plan->subscriptions[i].topics);
    mem_free(plan->members);
    mem_free(plan->subscriptions);
    mem_free(plan->topics);
    mem_free(plan);
}

static int topic_compare(const void *a, const void *b)
{
    const struct assign_topic *one = a;
    const struct assign_topic *two = b;
    return memcmp(one->id.bytes, two->id.bytes, sizeof(one->id.bytes));
}

void assign_plan_sort(struct assign_plan *plan)
{
    qsort(plan->topics, plan->topic_count, sizeof(*plan->topics), topic_compare);
}

uint32_t assign_plan_topic(const struct assign_plan *plan, const struct uuid *id)
{
    const struct assign_topic wanted = {.id = *id};
    const struct assign_topic *found =
        bsearch(&wanted, plan->topics, plan->topic_count, sizeof(wanted), topic_compare);
    return found ? (uint32_t)(found - plan->topics) : UINT32_MAX;
}

/* ---- work ---- */

static void count_parts(struct assign_work *work)
{
    struct assign_plan *plan = work->plan;
    for (uint32_t t = 0; t < plan->topic_count; t++) {
        plan->topics[t].first = work->part_count;
        work->part_count += plan->topics[t].partitions;
    }
}

/* Twice over all subscriptions of all members: how many read each topic, then who. */
static void find_readers(struct assign_work *work)
{
    const struct assign_plan *plan = work->plan;
    uint32_t *first = mem_zalloc((plan->topic_count + 2UL) * sizeof(*first));
    for (uint32_t m = 0; m < plan->member_count; m++) {
        const struct assign_subscription *sub = &plan->subscriptions[plan->members[m].subscription];
        for (uint32_t i = 0; i < sub->count; i++)
            first[sub->topics[i] + 2]++;
    }
    for (uint32_t t = 2; t < plan->topic_count + 2; t++)
        first[t] += first[t - 1];
    work->readers = mem_alloc((first[plan->topic_count + 1] + 1UL) * sizeof(*work->readers));
    for (uint32_t m = 0; m < plan->member_count; m++) {
        const struct assign_subscription *sub = &plan->subscriptions[plan->members[m].subscription];
        for (uint32_t i = 0; i < sub->count; i++)
            work->readers[first[sub->topics[i] + 1]++] = m;
    }
    work->reader_first = first;
}

/* From who has each partition to what each member has. */
static void hand_out(const struct assign_work *work)
{
    const struct assign_plan *plan = work->plan;
    for (uint32_t m = 0; m < plan->member_count; m++) {
        struct tp_set *next = &plan->members[m].next;
        next->parts = work->load[m] > 0 ? mem_alloc(work->load[m] * sizeof(*next->parts)) : NULL;
    }
    for (uint32_t t = 0; t < plan->topic_count; t++) {
        const struct assign_topic *topic = &plan->topics[t];
        for (uint32_t p = 0; p < topic->partitions; p++) {
            const uint32_t m = work->owner[topic->first + p];
            if (m == ASSIGN_NOBODY)
                continue;
            struct tp_set *next = &plan->members[m].next;
            must(next->count < work->load[m]);
            next->parts[next->count++] = (struct tp){.topic = topic->id, .partition = (int32_t)p};
        }
    }
}

void assign_run(struct assign_plan *plan)
{
    struct assign_work work = {.plan = plan};
    count_parts(&work);
    work.owner = mem_alloc((work.part_count + 1UL) * sizeof(*work.owner));
    work.load = mem_zalloc((plan->member_count + 1UL) * sizeof(*work.load));
    for (uint32_t i = 0; i < work.part_count; i++)
        work.owner[i] = ASSIGN_NOBODY;
    find_readers(&work);
    if (plan->assignor == ASSIGN_RANGE)
        assign_range(&work);
    else
        assign_uniform(&work);
    hand_out(&work);
    mem_free(work.readers);
    mem_free(work.reader_first);
    mem_free(work.load);
    mem_free(work.owner);
}
