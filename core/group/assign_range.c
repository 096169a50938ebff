/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/assign_private.h"

#include <stdlib.h>
#include <string.h>

struct named {
    struct str name;
    uint32_t member;
};

static int by_name(const void *a, const void *b)
{
    const struct named *one = a;
    const struct named *two = b;
    const size_t len = (size_t)min_i64(one->name.len, two->name.len);
    const int order = len > 0 ? memcmp(one->name.data, two->name.data, len) : 0;
    return order != 0 ? order : (one->name.len > two->name.len) - (one->name.len < two->name.len);
}

static int by_rank(const void *a, const void *b)
{
    const uint32_t one = *(const uint32_t *)a;
    const uint32_t two = *(const uint32_t *)b;
    return (one > two) - (one < two);
}

/* Each member's place in the order of names, and back. */
static void rank_members(const struct assign_plan *plan, uint32_t *rank, uint32_t *member)
{
    struct named *names = mem_alloc((plan->member_count + 1UL) * sizeof(*names));
    for (uint32_t m = 0; m < plan->member_count; m++)
        names[m] = (struct named){.name = plan->members[m].name, .member = m};
    qsort(names, plan->member_count, sizeof(*names), by_name);
    for (uint32_t i = 0; i < plan->member_count; i++) {
        rank[names[i].member] = i;
        member[i] = names[i].member;
    }
    mem_free(names);
}

/* The first `partitions % count` readers get one more than the others. */
static void divide(struct assign_work *work, const struct assign_topic *topic,
                   const uint32_t *ranks, uint32_t count, const uint32_t *member)
{
    const uint32_t each = topic->partitions / count;
    const uint32_t more = topic->partitions % count;
    uint32_t part = topic->first;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t m = member[ranks[i]];
        const uint32_t share = each + (i < more ? 1 : 0);
        for (uint32_t p = 0; p < share; p++)
            work->owner[part++] = m;
        work->load[m] += share;
    }
}

void assign_range(struct assign_work *work)
{
    const struct assign_plan *plan = work->plan;
    const size_t size = (plan->member_count + 1UL) * sizeof(uint32_t);
    uint32_t *rank = mem_alloc(size);
    uint32_t *member = mem_alloc(size);
    uint32_t *ranks = mem_alloc(size);
    rank_members(plan, rank, member);
    for (uint32_t t = 0; t < plan->topic_count; t++) {
        const uint32_t *readers = &work->readers[work->reader_first[t]];
        const uint32_t count = work->reader_first[t + 1] - work->reader_first[t];
        for (uint32_t i = 0; i < count; i++)
            ranks[i] = rank[readers[i]];
        qsort(ranks, count, sizeof(*ranks), by_rank);
        if (count > 0)
            divide(work, &plan->topics[t], ranks, count, member);
    }
    mem_free(ranks);
    mem_free(member);
    mem_free(rank);
}
