/* SPDX-License-Identifier: Apache-2.0
 *
 * What a consumer group of KIP-848 cannot keep, on paper: it is refused to who wants it, and those
 * that are there go on.
 */
#include "tests/unit/core/group/consumer_paper.h"

/* Topic 3 has more partitions than a record of one member's may name. */
static void what_is_too_much_for_a_record(void **state)
{
    (void)state;
    w.partitions[3] = 1000;
    b->topics = "3";
    join_and_settle(a);
    join(b);
    assert_int_equal(b->error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.g->member_count, 1); /* as if it had never come */
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 4);
    assert_int_equal(consumer_group_state(w.g), CONSUMER_STABLE);
    w.later = true; /* it is known when the plan is made */
    join(b);
    assert_int_equal(b->error, ERR_NONE);
    plan_now(&w);
    beat(a);
    assert_int_equal(a->error, ERR_NONE);
    beat(b);
    assert_int_equal(b->error, ERR_UNKNOWN_SERVER_ERROR);
    beat(b);
    assert_int_equal(b->error, ERR_UNKNOWN_MEMBER_ID);
    w.later = false;
    settle_down(a, 1);
    a->topics = "03"; /* who wants more is out as well */
    send_beat(a, &(struct beat){.epoch = a->epoch, .full = true, .owned = &a->owned});
    assert_int_equal(a->error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.g->member_count, 0);
}

static void topics_that_grow_too_much_change_nothing(void **state)
{
    (void)state;
    join_and_settle(a);
    topic_becomes(0, 1000);
    const unsigned plans = w.plans;
    settle_down(a, 1); /* and no heartbeat makes a plan again */
    assert_int_equal(w.plans, plans + 1);
    assert_int_equal(a->owned.count, 4);
    topic_becomes(0, 8);
    settle_down(a, 1);
    assert_int_equal(a->owned.count, 8);
}

static void members_whose_records_are_too_large_are_shed(void **state)
{
    (void)state;
    join_and_settle(a);
    join(b);
    assert_int_equal(consumer_group_shed(w.g), 0);
    struct consumer_heartbeat hb = {.member_id = str_of("a"),
                                    .epoch = a->epoch,
                                    .instance_id = str_null(),
                                    .rack_id = str_of("moved"),
                                    .client_id = str_null(),
                                    .client_host = str_null(),
                                    .rebalance_timeout_ms = -1,
                                    .name_count = -1,
                                    .regex = str_null(),
                                    .assignor = str_null()};
    consumer_group_heartbeat(w.g, &hb);
    w.record_max = 256;
    assert_int_equal(consumer_group_shed(w.g), 1);
    assert_int_equal(w.g->member_count, 1);
    flush(&w);
    assert_null(consumer_group_member(w.g, str_of("a")));
}

static void what_is_too_much_for_memory(void **state)
{
    (void)state;
    w.record_max = 1U << 20;
    w.partitions[3] = 3000;
    b->topics = "3";
    c->topics = "";
    c->regex = "t.*";
    join_and_settle(a);
    w.host.member_bytes_max = 100000;
    join(b);
    assert_int_equal(b->error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w.g->member_count, 1);
    settle_down(a, 1);
    w.host.member_bytes_max = 1U << 30; /* that passes */
    join_and_settle(b);
    assert_int_equal(b->owned.count, 3000);
    assert_true(w.host.member_bytes > 3000 * 2 * sizeof(struct tp));
    join(c);
    w.host.member_bytes_max = w.host.member_bytes + 8;
    resolve_now(&w);
    beat(c);
    assert_int_equal(c->error, ERR_COORDINATOR_NOT_AVAILABLE);
    beat(a);
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(w.g->member_count, 2);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_too_much_for_a_record),
        cmocka_unit_test(topics_that_grow_too_much_change_nothing),
        cmocka_unit_test(members_whose_records_are_too_large_are_shed),
        cmocka_unit_test(what_is_too_much_for_memory),
    };
    with_a_group(tests, array_count(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
