/* SPDX-License-Identifier: Apache-2.0
 *
 * Everybody first keeps what he has. When all read the same topics, how much each may keep is known
 * beforehand: the share, and one more for as many as there are partitions left over. Else
 * partitions without a reader go to whoever has the least, those of topics with the fewest readers
 * first, and then a partition moves as long as its reader has two more than another one who reads
 * its topic: each such move makes loads more alike, so they come to an end.
 */
#include "core/group/assign_private.h"

#include <stdlib.h>

/* Over all topics; a plan that needs more is left as good as it got. */
#define BALANCE_ROUNDS 64U

/* ---- what everybody has ---- */

static bool reads(const struct assign_plan *plan, const struct assign_member *member,
                  uint32_t topic)
{
    const struct assign_subscription *sub = &plan->subscriptions[member->subscription];
    uint32_t low = 0;
    uint32_t high = sub->count;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (sub->topics[mid] < topic)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sub->count && sub->topics[low] == topic;
}

static void keep_of_member(struct assign_work *work, uint32_t m)
{
    const struct assign_plan *plan = work->plan;
    const struct assign_member *member = &plan->members[m];
    const struct tp_set *now = &member->now;
    uint32_t run;
    for (uint32_t at = 0; (run = tp_set_run(now, at)) > 0; at += run) {
        const uint32_t t = assign_plan_topic(plan, &now->parts[at].topic);
        if (t == UINT32_MAX || !reads(plan, member, t))
            continue;
        for (uint32_t i = at; i < at + run; i++) {
            const uint32_t p = (uint32_t)now->parts[i].partition;
            if (p >= plan->topics[t].partitions)
                continue;
            uint32_t *owner = &work->owner[plan->topics[t].first + p];
            if (*owner != ASSIGN_NOBODY)
                continue;
            *owner = m;
            work->load[m]++;
        }
    }
}

/* ---- all read the same ---- */

static bool all_read_the_same(const struct assign_plan *plan)
{
    for (uint32_t m = 1; m < plan->member_count; m++)
        if (plan->members[m].subscription != plan->members[0].subscription)
            return false;
    return true;
}

static void share_alike(struct assign_work *work)
{
    const uint32_t members = work->plan->member_count;
    const uint32_t each = work->part_count / members;
    uint32_t more = work->part_count % members;
    uint32_t *quota = mem_alloc(members * sizeof(*quota));
    for (uint32_t m = 0; m < members; m++) {
        const bool one_more = more > 0 && work->load[m] > each;
        quota[m] = each + one_more;
        more -= one_more;
    }
    for (uint32_t m = 0; m < members && more > 0; m++) {
        if (quota[m] > each)
            continue;
        quota[m]++;
        more--;
    }
    for (uint32_t i = work->part_count; i-- > 0;) {
        const uint32_t m = work->owner[i];
        if (m == ASSIGN_NOBODY || work->load[m] <= quota[m])
            continue;
        work->load[m]--;
        work->owner[i] = ASSIGN_NOBODY;
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < work->part_count; i++) {
        if (work->owner[i] != ASSIGN_NOBODY)
            continue;
        for (uint32_t tried = 0; work->load[next % members] >= quota[next % members]; tried++) {
            must(tried <= members);
            next++;
        }
        work->owner[i] = next % members;
        work->load[next % members]++;
        next++;
    }
    mem_free(quota);
}

/* ---- they do not ---- */

/* Readers of one topic, the one with the least on top. */
struct heap {
    const uint32_t *load;
    uint32_t *at;    /* [count]: members */
    uint32_t *place; /* of each member in it */
    uint32_t count;
};

static bool is_less(const struct heap *heap, uint32_t a, uint32_t b)
{
    return heap->load[a] != heap->load[b] ? heap->load[a] < heap->load[b] : a < b;
}

static void heap_put(struct heap *heap, uint32_t place, uint32_t member)
{
    heap->at[place] = member;
    heap->place[member] = place;
}

static void heap_down(struct heap *heap, uint32_t place)
{
    const uint32_t member = heap->at[place];
    for (;;) {
        uint32_t child = place * 2 + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && is_less(heap, heap->at[child + 1], heap->at[child]))
            child++;
        if (!is_less(heap, heap->at[child], member))
            break;
        heap_put(heap, place, heap->at[child]);
        place = child;
    }
    heap_put(heap, place, member);
}

static void heap_up(struct heap *heap, uint32_t place)
{
    const uint32_t member = heap->at[place];
    while (place > 0 && is_less(heap, member, heap->at[(place - 1) / 2])) {
        heap_put(heap, place, heap->at[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(heap, place, member);
}

static void heap_fill(struct heap *heap, const struct assign_work *work, uint32_t t)
{
    const uint32_t *readers = &work->readers[work->reader_first[t]];
    heap->count = work->reader_first[t + 1] - work->reader_first[t];
    for (uint32_t i = 0; i < heap->count; i++)
        heap_put(heap, i, readers[i]);
    for (uint32_t i = heap->count / 2; i-- > 0;)
        heap_down(heap, i);
}

static void fill_topic(struct assign_work *work, struct heap *heap, uint32_t t)
{
    const struct assign_topic *topic = &work->plan->topics[t];
    heap_fill(heap, work, t);
    for (uint32_t i = topic->first; heap->count > 0 && i < topic->first + topic->partitions; i++) {
        if (work->owner[i] != ASSIGN_NOBODY)
            continue;
        work->owner[i] = heap->at[0];
        work->load[heap->at[0]]++;
        heap_down(heap, 0);
    }
}

static bool balance_topic(struct assign_work *work, struct heap *heap, uint32_t t)
{
    const struct assign_topic *topic = &work->plan->topics[t];
    bool moved = false;
    heap_fill(heap, work, t);
    for (uint32_t i = topic->first; heap->count > 1 && i < topic->first + topic->partitions; i++) {
        const uint32_t from = work->owner[i];
        const uint32_t to = heap->at[0];
        if (work->load[from] <= work->load[to] + 1)
            continue;
        work->owner[i] = to;
        work->load[to]++;
        heap_down(heap, 0);
        work->load[from]--;
        heap_up(heap, heap->place[from]);
        moved = true;
    }
    return moved;
}

struct crowd {
    uint32_t topic;
    uint32_t readers;
};

static int by_crowd(const void *a, const void *b)
{
    const struct crowd *one = a;
    const struct crowd *two = b;
    return one->readers != two->readers ? (one->readers > two->readers) * 2 - 1
                                        : (one->topic > two->topic) - (one->topic < two->topic);
}

static void share_as_far_as_can_be(struct assign_work *work)
{
    const struct assign_plan *plan = work->plan;
    struct crowd *crowds = mem_alloc((plan->topic_count + 1UL) * sizeof(*crowds));
    struct heap heap = {.load = work->load,
                        .at = mem_alloc((plan->member_count + 1UL) * sizeof(uint32_t)),
                        .place = mem_alloc((plan->member_count + 1UL) * sizeof(uint32_t))};
    for (uint32_t t = 0; t < plan->topic_count; t++)
        crowds[t] = (struct crowd){.topic = t,
                                   .readers = work->reader_first[t + 1] - work->reader_first[t]};
    qsort(crowds, plan->topic_count, sizeof(*crowds), by_crowd);
    for (uint32_t i = 0; i < plan->topic_count; i++)
        fill_topic(work, &heap, crowds[i].topic);
    bool moved = true;
    for (uint32_t round = 0; moved && round < BALANCE_ROUNDS; round++) {
        moved = false;
        for (uint32_t i = 0; i < plan->topic_count; i++)
            moved |= balance_topic(work, &heap, crowds[i].topic);
    }
    mem_free(heap.place);
    mem_free(heap.at);
    mem_free(crowds);
}

void assign_uniform(struct assign_work *work)
{
    const struct assign_plan *plan = work->plan;
    for (uint32_t m = 0; m < plan->member_count; m++)
        keep_of_member(work, m);
    if (plan->member_count == 0)
        return;
    if (all_read_the_same(plan) &&
        plan->subscriptions[plan->members[0].subscription].count == plan->topic_count)
        share_alike(work);
    else
        share_as_far_as_can_be(work);
}
