/* SPDX-License-Identifier: Apache-2.0
 *
 * core/group/group: how many members, and how much memory, groups may have.
 */
#include "tests/unit/core/group/group_paper.h"

static void g13_a_full_group_refuses(void **state)
{
    (void)state;
    w.host.members_max = 2;
    struct client c = client_of(&w);
    settle_two(&a, &b);
    join(&c, "range:c");
    assert_int_equal(c.error, ERR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(w.g->state, GROUP_STABLE);
    join(&b, "range:b");
    assert_int_equal(b.error, ERR_NONE);
}

static void a_group_has_a_bound_of_memory(void **state)
{
    (void)state;
    w.host.group_bytes_max = 700;
    static struct client clients[3];
    unsigned refused = 0;
    for (unsigned i = 0; i < 3; i++) {
        clients[i] = client_of(&w);
        join(&clients[i], "range:0123456789");
        refused += clients[i].error == ERR_GROUP_MAX_SIZE_REACHED;
    }
    assert_int_equal(refused, 1);
}

/* That of all groups together: it passes, so it ends nobody. */
static void all_groups_have_a_bound_of_memory(void **state)
{
    (void)state;
    join(&a, "range:0123456789");
    w.host.member_bytes_max = w.host.member_bytes;
    join(&b, "range:0123456789");
    assert_int_equal(b.error, ERR_COORDINATOR_NOT_AVAILABLE);
}

/* Others have used it up: who is in a group goes on, with as much to say as before. */
static void a_member_needs_no_more_room_to_stay(void **state)
{
    (void)state;
    b.instance = "one";
    settle_one(&a);
    join(&b, "range:0123456789");
    w.host.member_bytes_max = w.host.member_bytes - 1;
    join(&a, "range:b");
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(w.g->member_count, 2);
    b.id[0] = 0; /* the instance, started again */
    join(&b, "range:9876543210");
    pass(&w, DELAY_MS);
    join(&a, "range:c");
    assert_int_equal(b.error, ERR_NONE);
    w.host.member_bytes_max = w.host.member_bytes; /* without what a was assigned */
    join(&b, "range:0123456789+");
    assert_int_equal(b.error, ERR_COORDINATOR_NOT_AVAILABLE);
    w.host.group_bytes_max = 1;
    join(&a, "range:c");
    assert_int_equal(a.error, ERR_NONE);
    join(&a, "range:c+");
    assert_int_equal(a.error, ERR_GROUP_MAX_SIZE_REACHED);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(g13_a_full_group_refuses),
        cmocka_unit_test(a_group_has_a_bound_of_memory),
        cmocka_unit_test(all_groups_have_a_bound_of_memory),
        cmocka_unit_test(a_member_needs_no_more_room_to_stay),
    };
    with_a_group(tests, array_count(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
