/* SPDX-License-Identifier: Apache-2.0
 *
 * The assignors against plans from a seed: whatever the plan, what they promise holds.
 */
#include "core/group/assign.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PLANS 400U

static uint64_t seed = 1;

static uint32_t chance(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return below > 0 ? (uint32_t)(seed >> 33) % below : 0;
}

static struct uuid topic_id(uint32_t number)
{
    struct uuid id = {{0}};
    id.bytes[0] = 7;
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

static struct str name_of(uint32_t number)
{
    char *copy = mem_alloc(32);
    const int len = snprintf(copy, 32, "member-%03u", number);
    return (struct str){copy, len};
}

/* same: everybody reads all topics. */
static struct assign_plan *some_plan(bool same)
{
    const uint32_t topics = 1 + chance(8);
    const uint32_t members = 1 + chance(12);
    const uint32_t subs = same ? 1 : 1 + chance(5);
    struct assign_plan *plan = assign_plan_new(topics, subs, members);
    for (uint32_t t = 0; t < topics; t++)
        plan->topics[t] = (struct assign_topic){.id = topic_id(t), .partitions = 1 + chance(9)};
    assign_plan_sort(plan);
    for (uint32_t s = 0; s < subs; s++) {
        struct assign_subscription *sub = &plan->subscriptions[s];
        sub->topics = mem_alloc(topics * sizeof(*sub->topics));
        for (uint32_t t = 0; t < topics; t++)
            if (same || chance(2) == 0)
                sub->topics[sub->count++] = t;
    }
    for (uint32_t m = 0; m < members; m++) {
        plan->members[m].id = name_of(m);
        plan->members[m].name = plan->members[m].id;
        plan->members[m].subscription = chance(subs);
    }
    return plan;
}

/* The next plan begins with what this one has given. */
static void go_on(struct assign_plan *plan)
{
    for (uint32_t m = 0; m < plan->member_count; m++) {
        tp_set_replace(&plan->members[m].now, plan->members[m].next);
        plan->members[m].next = (struct tp_set){0};
    }
}

static bool reads(const struct assign_plan *plan, uint32_t m, uint32_t topic)
{
    const struct assign_subscription *sub = &plan->subscriptions[plan->members[m].subscription];
    for (uint32_t i = 0; i < sub->count; i++)
        if (sub->topics[i] == topic)
            return true;
    return false;
}

static uint32_t owner_of(const struct assign_plan *plan, uint32_t topic, uint32_t partition)
{
    const struct tp part = {.topic = plan->topics[topic].id, .partition = (int32_t)partition};
    uint32_t owner = UINT32_MAX;
    for (uint32_t m = 0; m < plan->member_count; m++) {
        if (!tp_set_has(&plan->members[m].next, &part))
            continue;
        assert_int_equal(owner, UINT32_MAX); /* one reader at most */
        owner = m;
    }
    return owner;
}

/* Every partition that somebody reads has one reader, who reads its topic. */
static void check_complete(const struct assign_plan *plan)
{
    uint32_t given = 0;
    uint32_t had = 0;
    for (uint32_t t = 0; t < plan->topic_count; t++) {
        bool wanted = false;
        for (uint32_t m = 0; m < plan->member_count; m++)
            wanted |= reads(plan, m, t);
        for (uint32_t p = 0; p < plan->topics[t].partitions; p++) {
            const uint32_t owner = owner_of(plan, t, p);
            assert_int_equal(owner != UINT32_MAX, wanted);
            if (wanted)
                assert_true(reads(plan, owner, t));
            given += wanted;
        }
    }
    for (uint32_t m = 0; m < plan->member_count; m++) {
        const struct tp_set *next = &plan->members[m].next;
        for (uint32_t i = 1; i < next->count; i++)
            assert_true(tp_compare(&next->parts[i - 1], &next->parts[i]) < 0);
        had += next->count;
    }
    assert_int_equal(given, had);
}

/* Nobody has two more than another one who could take one of his. */
static void check_balanced(const struct assign_plan *plan)
{
    for (uint32_t t = 0; t < plan->topic_count; t++)
        for (uint32_t p = 0; p < plan->topics[t].partitions; p++) {
            const uint32_t owner = owner_of(plan, t, p);
            for (uint32_t m = 0; owner != UINT32_MAX && m < plan->member_count; m++)
                if (reads(plan, m, t))
                    assert_true(plan->members[owner].next.count <= plan->members[m].next.count + 1);
        }
}

static uint32_t moved(const struct assign_plan *plan)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < plan->member_count; m++) {
        struct tp_set gone = tp_set_without(&plan->members[m].now, &plan->members[m].next);
        count += gone.count;
        tp_set_fini(&gone);
    }
    return count;
}

static void uniform_is_complete_balanced_and_stays(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PLANS; i++) {
        struct assign_plan *plan = some_plan(i % 2 == 0);
        plan->assignor = ASSIGN_UNIFORM;
        assign_run(plan);
        check_complete(plan);
        check_balanced(plan);
        go_on(plan);
        assign_run(plan);
        check_complete(plan);
        assert_int_equal(moved(plan), 0);
        assign_plan_free(plan);
    }
}

/* One leaves: what the others have stays with them. */
static void uniform_moves_what_it_must(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PLANS; i++) {
        struct assign_plan *plan = some_plan(true);
        plan->assignor = ASSIGN_UNIFORM;
        assign_run(plan);
        go_on(plan);
        const uint32_t had = plan->members[0].now.count;
        const uint32_t members = plan->member_count;
        tp_set_fini(&plan->members[0].now);
        plan->members[0].subscription = 0;
        if (members > 1) { /* the last takes the place of the first */
            struct assign_member first = plan->members[0];
            plan->members[0] = plan->members[members - 1];
            plan->members[members - 1] = first;
            plan->member_count--;
            assign_run(plan);
            check_complete(plan);
            check_balanced(plan);
            assert_int_equal(moved(plan), 0);
            go_on(plan);
            plan->member_count++; /* and is back: it gets its share, and no more moves */
            assign_run(plan);
            check_complete(plan);
            check_balanced(plan);
            assert_true(moved(plan) <= had + 1);
            assert_int_equal(moved(plan), plan->members[members - 1].next.count);
        }
        assign_plan_free(plan);
    }
}

static void range_aligns_topics(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PLANS; i++) {
        struct assign_plan *plan = some_plan(i % 2 == 0);
        plan->assignor = ASSIGN_RANGE;
        for (uint32_t t = 1; t < plan->topic_count; t++)
            plan->topics[t].partitions = plan->topics[0].partitions;
        assign_run(plan);
        check_complete(plan);
        for (uint32_t t = 1; i % 2 == 0 && t < plan->topic_count; t++)
            for (uint32_t p = 0; p < plan->topics[t].partitions; p++)
                assert_int_equal(owner_of(plan, t, p), owner_of(plan, 0, p));
        for (uint32_t t = 0; t < plan->topic_count; t++) /* neighbours, in the order of names */
            for (uint32_t p = 1; p < plan->topics[t].partitions; p++)
                if (owner_of(plan, t, p) != UINT32_MAX)
                    assert_true(owner_of(plan, t, p) >= owner_of(plan, t, p - 1));
        assign_plan_free(plan);
    }
}

static void nobody_and_nothing(void **state)
{
    (void)state;
    for (unsigned assignor = 0; assignor < ASSIGNOR_COUNT; assignor++) {
        struct assign_plan *plan = assign_plan_new(0, 0, 0);
        plan->assignor = (enum assignor)assignor;
        assign_run(plan);
        assign_plan_free(plan);
        plan = assign_plan_new(0, 1, 2);
        plan->assignor = (enum assignor)assignor;
        plan->members[0].id = plan->members[0].name = name_of(0);
        plan->members[1].id = plan->members[1].name = name_of(1);
        assign_run(plan);
        assert_int_equal(plan->members[0].next.count, 0);
        assign_plan_free(plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_is_complete_balanced_and_stays),
        cmocka_unit_test(uniform_moves_what_it_must),
        cmocka_unit_test(range_aligns_topics),
        cmocka_unit_test(nobody_and_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
