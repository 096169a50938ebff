/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/quota_table.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* NULL: absent; "": the default. */
static struct quota_part part_of(const char *name)
{
    if (!name)
        return (struct quota_part){.match = QUOTA_ABSENT};
    return (struct quota_part){.match = name[0] ? QUOTA_NAMED : QUOTA_DEFAULT,
                               .name = str_of(name)};
}

static struct quota_entity entity_of(const char *user, const char *client, const char *ip)
{
    return (struct quota_entity){{part_of(user), part_of(client), part_of(ip)}};
}

static uint32_t set(struct quota_table *table, const char *user, const char *client, const char *ip,
                    const char *key, double value)
{
    const struct metadata_limit limit = {str_of(key), value};
    const struct metadata_quota record = {
        .entity = entity_of(user, client, ip), .limits = &limit, .limit_count = value > 0};
    return quota_table_set(table, &record);
}

static double limit_of(const struct quota_table *table, const char *user, const char *client,
                       struct quota_rule *rule)
{
    if (!quota_table_rule(table, QUOTA_PRODUCE, str_of(user), str_of(client), rule))
        return 0;
    return rule->limit;
}

/* Q1: each of them hides those after it. */
static void precedence(void **state)
{
    (void)state;
    static const struct {
        const char *user, *client;
        bool by_user, by_client;
    } order[] = {
        {"u", "c", true, true},   {"u", "", true, true},   {"u", NULL, true, false},
        {"", "c", true, true},    {"", "", true, true},    {"", NULL, true, false},
        {NULL, "c", false, true}, {NULL, "", false, true},
    };
    struct quota_table *table = quota_table_new();
    struct quota_rule rule;
    assert_true(limit_of(table, "u", "c", &rule) == 0);
    for (size_t i = array_count(order); i-- > 0;) {
        assert_int_equal(
            set(table, order[i].user, order[i].client, NULL, "producer_byte_rate", (double)i + 1),
            0);
        assert_true(limit_of(table, "u", "c", &rule) == (double)i + 1);
        assert_int_equal(rule.by_user, order[i].by_user);
        assert_int_equal(rule.by_client, order[i].by_client);
    }
    assert_true(limit_of(table, "u", "other", &rule) == 2);
    assert_true(limit_of(table, "other", "c", &rule) == 4);
    assert_true(limit_of(table, "other", "other", &rule) == 5);
    assert_true(limit_of(table, "", "", &rule) == 5);
    /* Kinds by themselves: who has a quota of another kind has none of this one. */
    set(table, "u", "c", NULL, "consumer_byte_rate", 99);
    assert_true(limit_of(table, "u", "c", &rule) == 2);
    assert_int_equal(table->count, 8);
    quota_table_put(table);
}

static void entities_come_and_go(void **state)
{
    (void)state;
    struct quota_table *first = quota_table_new();
    set(first, NULL, "b", NULL, "producer_byte_rate", 2);
    set(first, NULL, "a", NULL, "producer_byte_rate", 1);
    struct quota_table *second = quota_table_copy(first);
    set(second, NULL, "a", NULL, "", 0);
    set(second, NULL, "c", NULL, "producer_byte_rate", 3);
    assert_int_equal(first->count, 2);
    assert_int_equal(second->count, 2);
    const struct quota_entity a = entity_of(NULL, "a", NULL);
    const struct quota_entity b = entity_of(NULL, "b", NULL);
    assert_non_null(quota_table_find(first, &a));
    assert_null(quota_table_find(second, &a));
    assert_ptr_equal(quota_table_find(first, &b), quota_table_find(second, &b));
    set(second, NULL, "c", NULL, "", 0);
    set(second, NULL, "b", NULL, "", 0);
    set(second, NULL, "b", NULL, "", 0);
    assert_int_equal(second->count, 0);
    assert_false(second->any[QUOTA_PRODUCE]);
    assert_true(first->any[QUOTA_PRODUCE]);
    assert_int_equal(set(second, NULL, "b", NULL, "lunch_break_rate", 1), 1);
    assert_int_equal(second->count, 0);
    quota_table_put(second);
    quota_table_put(quota_table_get(first));
    quota_table_put(first);
}

static void addresses(void **state)
{
    (void)state;
    struct quota_table *table = quota_table_new();
    assert_true(quota_table_ip_limit(table, str_of("192.0.2.1")) == 0);
    set(table, NULL, NULL, "", "connection_creation_rate", 5);
    set(table, NULL, NULL, "192.0.2.1", "connection_creation_rate", 7);
    assert_true(quota_table_ip_limit(table, str_of("192.0.2.1")) == 7);
    assert_true(quota_table_ip_limit(table, str_of("192.0.2.10")) == 5);
    /* Neither is of the other's kind. */
    assert_int_equal(set(table, NULL, NULL, "192.0.2.1", "producer_byte_rate", 7), 1);
    assert_int_equal(set(table, NULL, "a", NULL, "connection_creation_rate", 7), 1);
    quota_table_put(table);
}

/* In any order of coming in, the order is the same. */
static void sorted(void **state)
{
    (void)state;
    static const char *const names[] = {"m", "a", "zz", "z", "aa", "\xff", "0", "ab"};
    struct quota_table *table = quota_table_new();
    for (size_t i = 0; i < array_count(names); i++) {
        set(table, names[i], NULL, NULL, "request_percentage", 1);
        set(table, names[i], "", NULL, "request_percentage", 1);
        set(table, NULL, names[i], NULL, "request_percentage", 1);
    }
    assert_int_equal(table->count, 3 * array_count(names));
    for (uint32_t i = 1; i < table->count; i++)
        assert_true(quota_entity_compare(&table->items[i - 1]->entity, &table->items[i]->entity) <
                    0);
    quota_table_put(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precedence),
        cmocka_unit_test(entities_come_and_go),
        cmocka_unit_test(addresses),
        cmocka_unit_test(sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
