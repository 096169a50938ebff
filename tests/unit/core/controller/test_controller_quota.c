/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides about quotas (Q5), and the bucket that its own is (Q4).
 */
#include "core/controller/controller_quota.h"
#include "core/metadata/quota_table.h"
#include "tests/unit/core/controller/controller_world.h"

#include <math.h>
#include <stdio.h>

#define S 1000000000ULL

#define NAMED(text)                                                                                \
    {                                                                                              \
        QUOTA_NAMED, str_of(text)                                                                  \
    }
#define DEFAULTS                                                                                   \
    {                                                                                              \
        QUOTA_DEFAULT, str_null()                                                                  \
    }
#define ABSENT                                                                                     \
    {                                                                                              \
        QUOTA_ABSENT, str_null()                                                                   \
    }

static int16_t alter(struct world *w, struct quota_entity entity, const char *key, double value)
{
    const struct control_limit limit = {str_of(key), value < 0 ? 0 : value, value < 0};
    struct control_item item = {.quota = &entity, .limits = &limit, .limit_count = 1};
    return decide(w, CONTROL_ALTER_QUOTAS, &item);
}

static int16_t of_client(struct world *w, const char *key, double value)
{
    return alter(w, (struct quota_entity){{ABSENT, NAMED("c"), ABSENT}}, key, value);
}

static int16_t of_ip(struct world *w, const char *ip, double value)
{
    return alter(w, (struct quota_entity){{ABSENT, ABSENT, NAMED(ip)}}, "connection_creation_rate",
                 value);
}

static void what_is_refused(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    char longest[QUOTA_NAME_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    const struct quota_entity bad[] = {
        {{ABSENT, ABSENT, ABSENT}},         {{NAMED("u"), ABSENT, NAMED("192.0.2.1")}},
        {{ABSENT, DEFAULTS, DEFAULTS}},     {{NAMED(""), ABSENT, ABSENT}},
        {{ABSENT, NAMED(longest), ABSENT}}, {{ABSENT, {QUOTA_NAMED, {"a\0b", 3}}, ABSENT}},
    };
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(alter(w, bad[i], "producer_byte_rate", 1), ERR_INVALID_REQUEST);
    static const char *const ips[] = {"localhost", "1.2.3", "::ffff:192.0.2.1",
                                      "0::1",      "[::1]", "192.0.2.1:9092"};
    for (size_t i = 0; i < array_count(ips); i++)
        assert_int_equal(of_ip(w, ips[i], 1), ERR_INVALID_REQUEST);
    static const double values[] = {0, 0.5, 1e30, (double)NAN, HUGE_VAL};
    for (size_t i = 0; i < array_count(values); i++)
        assert_int_equal(of_client(w, "producer_byte_rate", values[i]), ERR_INVALID_REQUEST);
    assert_int_equal(of_client(w, "connection_creation_rate", 1), ERR_INVALID_REQUEST);
    assert_int_equal(of_client(w, "lunch", 1), ERR_INVALID_REQUEST);
    assert_int_equal(of_ip(w, "192.0.2.1", 3e9), ERR_INVALID_REQUEST);
    assert_int_equal(end_batch(w), 0);
    world_free(w);
}

static void changes(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    const struct quota_entity client = {{ABSENT, NAMED("c"), ABSENT}};
    assert_int_equal(of_client(w, "producer_byte_rate", 100), ERR_NONE);
    assert_int_equal(of_client(w, "request_percentage", 0.5), ERR_NONE);
    assert_int_equal(of_client(w, "request_percentage", 0.5), ERR_NONE); /* it is so already */
    assert_int_equal(of_ip(w, "2001:db8::1", 3), ERR_NONE);
    assert_int_equal(
        alter(w, (struct quota_entity){{DEFAULTS, DEFAULTS, ABSENT}}, "consumer_byte_rate", 7),
        ERR_NONE);
    assert_int_equal(end_batch(w), 4);
    const struct quota_image *found = quota_table_find(w->image->quotas, &client);
    assert_true(found->limits[QUOTA_PRODUCE] == 100 && found->limits[QUOTA_REQUEST] == 0.5);
    assert_int_equal(of_client(w, "producer_byte_rate", -1), ERR_NONE);
    assert_int_equal(of_client(w, "consumer_byte_rate", -1), ERR_NONE); /* was none */
    assert_int_equal(of_client(w, "lunch", -1), ERR_NONE);
    assert_int_equal(end_batch(w), 1);
    found = quota_table_find(w->image->quotas, &client);
    assert_true(found->limits[QUOTA_PRODUCE] == 0 && found->limits[QUOTA_REQUEST] == 0.5);
    assert_int_equal(of_client(w, "request_percentage", -1), ERR_NONE);
    assert_int_equal(end_batch(w), 1);
    assert_null(quota_table_find(w->image->quotas, &client));
    assert_int_equal(w->image->quotas->count, 2);
    world_free(w);
}

/* A bad one beside a good one changes nothing, and neither does a look. */
static void all_or_nothing(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    struct quota_entity client = {{ABSENT, NAMED("c"), ABSENT}};
    const struct control_limit limits[] = {{str_of("producer_byte_rate"), 1, false},
                                           {str_of("consumer_byte_rate"), 0, false}};
    const struct control_limit twice[] = {{str_of("producer_byte_rate"), 1, false},
                                          {str_of("producer_byte_rate"), 0, true}};
    struct control_item item = {.quota = &client, .limits = limits, .limit_count = 2};
    assert_int_equal(decide(w, CONTROL_ALTER_QUOTAS, &item), ERR_INVALID_REQUEST);
    item.limits = twice;
    assert_int_equal(decide(w, CONTROL_ALTER_QUOTAS, &item), ERR_INVALID_REQUEST);
    item.limits = limits;
    item.limit_count = 1;
    struct control_op look = {.kind = CONTROL_ALTER_QUOTAS,
                              .arena = &w->arena,
                              .items = &item,
                              .item_count = 1,
                              .validate_only = true};
    item.error = ERR_NONE;
    assert_true(controller_step(&w->step, &look));
    assert_int_equal(item.error, ERR_NONE);
    assert_int_equal(end_batch(w), 0);
    world_free(w);
}

/* No room is needed for what is taken away, nor for what is there. */
static void as_many_as_there_may_be(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    for (unsigned i = 0; i < QUOTA_ENTITIES_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%u", i);
        const struct quota_entity user = {{NAMED(name), ABSENT, ABSENT}};
        assert_int_equal(alter(w, user, "producer_byte_rate", 1), ERR_NONE);
        if (i % 1000 == 999)
            assert_int_equal(end_batch(w), 1000);
    }
    const struct quota_entity there = {{NAMED("u7"), ABSENT, ABSENT}};
    assert_int_equal(of_client(w, "producer_byte_rate", 1), ERR_POLICY_VIOLATION);
    assert_int_equal(of_client(w, "producer_byte_rate", -1), ERR_NONE); /* was none */
    assert_int_equal(of_client(w, "producer_byte_rate", 0), ERR_INVALID_REQUEST);
    assert_int_equal(alter(w, there, "producer_byte_rate", 2), ERR_NONE);
    assert_int_equal(end_batch(w), 1);
    assert_int_equal(alter(w, there, "producer_byte_rate", -1), ERR_NONE);
    assert_int_equal(of_client(w, "producer_byte_rate", 1), ERR_NONE);
    assert_int_equal(of_ip(w, "192.0.2.1", 1), ERR_POLICY_VIOLATION);
    assert_int_equal(end_batch(w), 2);
    assert_int_equal(w->image->quotas->count, QUOTA_ENTITIES_MAX);
    world_free(w);
}

/* ---- the bucket ---- */

static int16_t create_by(struct world *w, struct mutation_buckets *buckets, bool strict,
                         const char *who, uint64_t now_ns, int32_t partitions, uint32_t *throttle)
{
    static int number;
    char *name = arena_alloc(&w->arena, 16);
    (void)snprintf(name, 16, "t%d", number++);
    struct control_item item = {
        .name = str_of(name), .partition_count = partitions, .replication_factor = 1};
    struct control_op op = {.kind = CONTROL_CREATE_TOPICS,
                            .arena = &w->arena,
                            .items = &item,
                            .item_count = 1,
                            .mutation_rate = 2,
                            .mutator = str_of(who),
                            .strict = strict};
    mutation_bucket_find(buckets, &op, now_ns);
    assert_true(controller_step(&w->step, &op));
    *throttle = op.throttle_ms;
    return item.error;
}

static void partitions_are_tokens(void **state)
{
    (void)state;
    struct world *w = world_of("", 1);
    struct mutation_buckets buckets = {0};
    uint32_t throttle;
    /* 22 tokens; it may be overdrawn once. */
    assert_int_equal(create_by(w, &buckets, true, "a", 5 * S, 20, &throttle), ERR_NONE);
    assert_int_equal(create_by(w, &buckets, true, "a", 5 * S, 5, &throttle), ERR_NONE);
    assert_int_equal(throttle, 0);
    assert_int_equal(create_by(w, &buckets, true, "a", 5 * S, 1, &throttle),
                     ERR_THROTTLING_QUOTA_EXCEEDED);
    assert_int_equal(throttle, 1500); /* -3 at 2 a second */
    assert_int_equal(create_by(w, &buckets, true, "b", 5 * S, 1, &throttle), ERR_NONE);
    assert_int_equal(create_by(w, &buckets, false, "a", 5 * S, 1, &throttle), ERR_NONE);
    assert_int_equal(throttle, 2000); /* older versions are only told */
    assert_int_equal(create_by(w, &buckets, true, "a", 6 * S, 1, &throttle),
                     ERR_THROTTLING_QUOTA_EXCEEDED);
    assert_int_equal(throttle, 1000);
    assert_int_equal(create_by(w, &buckets, true, "a", 7 * S, 1, &throttle), ERR_NONE);
    /* A long silence fills it, and no more than that. */
    assert_int_equal(create_by(w, &buckets, true, "a", 900 * S, 23, &throttle), ERR_NONE);
    assert_int_equal(create_by(w, &buckets, true, "a", 900 * S, 1, &throttle),
                     ERR_THROTTLING_QUOTA_EXCEEDED);
    assert_int_equal(buckets.count, 2);
    mutation_buckets_fini(&buckets);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),       cmocka_unit_test(changes),
        cmocka_unit_test(all_or_nothing),        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(partitions_are_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
