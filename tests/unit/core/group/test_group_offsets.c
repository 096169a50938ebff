/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/group_offsets.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct group_offset offset_of(const char *topic, int32_t partition, int64_t offset)
{
    return (struct group_offset){.topic = str_of(topic),
                                 .partition = partition,
                                 .offset = offset,
                                 .leader_epoch = -1,
                                 .metadata = str_of("note"),
                                 .commit_ms = 1000,
                                 .expire_ms = -1};
}

static void the_newest_of_a_partition_counts(void **state)
{
    (void)state;
    struct group_offsets offsets = {0};
    struct group_offset a0 = offset_of("a", 0, 5);
    struct group_offset a1 = offset_of("a", 1, 6);
    struct group_offset ab = offset_of("ab", 0, 7);
    group_offsets_put(&offsets, &a0);
    group_offsets_put(&offsets, &a1);
    group_offsets_put(&offsets, &ab);
    a0.offset = 3; /* a smaller one, too */
    a0.metadata = str_of("a longer note");
    group_offsets_put(&offsets, &a0);
    assert_int_equal(offsets.count, 3);
    const struct group_offset *found = group_offsets_find(&offsets, str_of("a"), 0);
    assert_int_equal(found->offset, 3);
    assert_true(str_equal(found->metadata, str_of("a longer note")));
    assert_int_equal(group_offsets_find(&offsets, str_of("a"), 1)->offset, 6);
    assert_int_equal(group_offsets_find(&offsets, str_of("ab"), 0)->offset, 7);
    assert_null(group_offsets_find(&offsets, str_of("b"), 0));
    assert_true(group_offsets_remove(&offsets, str_of("a"), 0));
    assert_false(group_offsets_remove(&offsets, str_of("a"), 0));
    assert_int_equal(offsets.count, 2);
    group_offsets_fini(&offsets);
}

static void what_is_put_again_needs_no_more_memory(void **state)
{
    (void)state;
    struct group_offsets offsets = {0};
    struct group_offset puts[] = {offset_of("a", 0, 5), offset_of("a", 1, 6), offset_of("b", 0, 7)};
    const size_t wanted = group_offsets_growth(&offsets, puts, 3);
    for (unsigned i = 0; i < 3; i++)
        group_offsets_put(&offsets, &puts[i]);
    assert_true(wanted >= offsets.bytes);
    assert_int_equal(group_offsets_growth(&offsets, puts, 3), 0);
    puts[0].metadata = str_of("notes");
    puts[1].metadata = str_null();
    assert_int_equal(group_offsets_growth(&offsets, puts, 3), 1);
    const struct group_offset other = offset_of("a", 2, 0);
    const size_t before = offsets.bytes;
    const size_t growth = group_offsets_growth(&offsets, &other, 1);
    group_offsets_put(&offsets, &other);
    assert_int_equal(offsets.bytes - before, growth);
    group_offsets_fini(&offsets);
}

static void names_longer_than_any_topic_are_no_danger(void **state)
{
    (void)state;
    struct group_offsets offsets = {0};
    char name[3000];
    memset(name, 'x', sizeof(name));
    const struct str topic = {name, sizeof(name)};
    assert_null(group_offsets_find(&offsets, topic, 0));
    struct group_offset offset = offset_of("", 0, 1);
    offset.topic = topic;
    group_offsets_put(&offsets, &offset);
    assert_non_null(group_offsets_find(&offsets, topic, 0));
    group_offsets_fini(&offsets);
}

/* A group that is as its fields say. */
static struct group group_in(enum group_state group_state, const char *type, int64_t since_ms)
{
    return (struct group){.state = group_state,
                          .protocol_type = str_of(type),
                          .protocol = str_null(),
                          .leader = str_null(),
                          .state_since_ms = since_ms};
}

static void o5_offsets_kept_by_hand_expire_after_their_commit(void **state)
{
    (void)state;
    struct group g = group_in(GROUP_EMPTY, NULL, 1000000);
    struct group_offset offset = offset_of("a", 0, 5);
    assert_false(group_offset_is_expired(&g, &offset, 500, 1499));
    assert_true(group_offset_is_expired(&g, &offset, 500, 1500));
}

static void o5_offsets_of_a_managed_group_expire_after_it_became_empty(void **state)
{
    (void)state;
    struct group g = group_in(GROUP_EMPTY, "consumer", 8000);
    struct group_offset offset = offset_of("a", 0, 5);
    assert_false(group_offset_is_expired(&g, &offset, 500, 8499));
    assert_true(group_offset_is_expired(&g, &offset, 500, 8500));
    g.state_since_ms = -1; /* written by an old broker */
    assert_true(group_offset_is_expired(&g, &offset, 500, 1500));
}

static void o5_a_live_group_keeps_what_it_reads(void **state)
{
    (void)state;
    static const uint8_t wants_a[] = {0, 1, 0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 0};
    struct group_protocol protocol = {str_of("range"), {wants_a, sizeof(wants_a)}};
    struct group_member member = {.protocols = &protocol, .protocol_count = 1};
    struct group g = group_in(GROUP_STABLE, "consumer", 0);
    g.protocol = str_of("range");
    g.members = &member;
    g.member_count = 1;
    struct group_offset read = offset_of("a", 0, 5);
    struct group_offset left = offset_of("b", 0, 5);
    assert_false(group_offset_is_expired(&g, &read, 500, 1000000));
    assert_true(group_offset_is_expired(&g, &left, 500, 1500));
    g.state = GROUP_PREPARING_REBALANCE;
    assert_false(group_offset_is_expired(&g, &left, 500, 1500));
    g.state = GROUP_STABLE;
    g.protocol_type = str_of("connect");
    assert_false(group_offset_is_expired(&g, &left, 500, 1500));
}

static void o5_a_retention_that_was_asked_for_is_honoured(void **state)
{
    (void)state;
    struct group g = group_in(GROUP_EMPTY, "consumer", 8000);
    struct group_offset offset = offset_of("a", 0, 5);
    offset.expire_ms = 9000;
    assert_false(group_offset_is_expired(&g, &offset, 500, 8999));
    assert_true(group_offset_is_expired(&g, &offset, 5000, 9000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_a_partition_counts),
        cmocka_unit_test(what_is_put_again_needs_no_more_memory),
        cmocka_unit_test(names_longer_than_any_topic_are_no_danger),
        cmocka_unit_test(o5_offsets_kept_by_hand_expire_after_their_commit),
        cmocka_unit_test(o5_offsets_of_a_managed_group_expire_after_it_became_empty),
        cmocka_unit_test(o5_a_live_group_keeps_what_it_reads),
        cmocka_unit_test(o5_a_retention_that_was_asked_for_is_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
