/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic group protocol against a host of paper: time stands still until a test moves it, and
 * what is stored is stored when a test says so. Tests are named by the rule they hold (G, O).
 */
#include "tests/unit/core/group/group_paper.h"

static enum err heartbeat(struct client *c)
{
    return group_heartbeat(c->w->g, str_of(c->id), str_of(c->instance), c->generation);
}

static enum err leave(const char *id)
{
    return group_leave(w.g, str_of(id), str_null());
}

static enum err commit(const char *id, int32_t generation)
{
    return group_commit(w.g, str_of(id), str_null(), generation);
}

/* A client that speaks for a static member, and knows no member id yet. */
static struct client instance(const char *id)
{
    struct client c = client_of(&w);
    c.instance = id;
    return c;
}

/* Generation 7 of a stable group of one member, "m", as it was read from the log. */
static void restore_one(struct bytes metadata, struct bytes assignment)
{
    const struct group_protocol protocol = {str_of("range"), metadata};
    group_restore_member(w.g, str_of("m"), str_null(), str_of("c"), str_of("/h"), 10000, 30000,
                         &protocol, 1, assignment);
    group_restore(w.g, 7, str_of("consumer"), str_of("range"), str_of("m"), 5);
}

/* For a test of two: the one before is gone, and its clients with it. */
static void another_group(void **state)
{
    group_end(state);
    group_begin(state);
}

/* ---- states and generations ---- */

static void g1_generation_grows_with_every_completed_join_phase(void **state)
{
    (void)state;
    settle_one(&a);
    assert_int_equal(a.generation, 1);
    join(&a, "range:changed");
    assert_int_equal(a.generation, 2);
    assert_int_equal(w.g->state, GROUP_COMPLETING_REBALANCE);
    assert_int_equal(leave(a.id), ERR_NONE);
    assert_int_equal(w.g->state, GROUP_EMPTY);
    assert_int_equal(w.g->generation, 3); /* also to Empty */
    assert_int_equal(w.stores, 2);        /* the assignment of 1, and that nobody is left */
}

static void g2_session_timeouts_outside_the_range_are_refused(void **state)
{
    (void)state;
    const int32_t bad[] = {5999, 1800001, -1};
    for (size_t i = 0; i < array_count(bad); i++) {
        a.session_ms = bad[i];
        join(&a, "range:a");
        assert_int_equal(a.error, ERR_INVALID_SESSION_TIMEOUT);
    }
    assert_true(group_is_void(w.g));
}

static void g4_a_new_dynamic_member_is_given_its_id_first(void **state)
{
    (void)state;
    a.version = 4;
    join(&a, "range:a");
    assert_int_equal(a.error, ERR_MEMBER_ID_REQUIRED);
    assert_int_equal(strncmp(a.id, "client-", 7), 0);
    assert_int_equal(strlen(a.id), 7 + 36);
    assert_int_equal(w.g->pending_count, 1);
    join(&a, "range:a");
    assert_int_equal(w.g->pending_count, 0);
    pass(&w, DELAY_MS);
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.generation, 1);
}

static void g4_an_id_that_does_not_come_back_is_forgotten(void **state)
{
    (void)state;
    a.version = 4;
    join(&a, "range:a");
    pass(&w, 9999);
    assert_int_equal(w.g->pending_count, 1);
    pass(&w, 1);
    assert_int_equal(w.g->pending_count, 0);
    assert_true(group_is_void(w.g));
    join(&a, "range:a");
    assert_int_equal(a.error, ERR_UNKNOWN_MEMBER_ID);
}

static void g4_static_and_old_members_join_at_once(void **state)
{
    (void)state;
    a.version = 9;
    a.instance = "one";
    join(&a, "range:a");
    join(&b, "range:a");
    assert_int_equal(w.g->member_count, 2);
    assert_int_equal(w.g->pending_count, 0);
    pass(&w, 2 * DELAY_MS);
    assert_int_equal(strncmp(a.id, "one-", 4), 0);
}

/* ---- G5 ---- */

static void g5_type_and_protocols_must_be_compatible(void **state)
{
    (void)state;
    join(&b, "");
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    join_type(&b, "", "range:a");
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    join(&a, "range:a,sticky:a");
    join_type(&b, "connect", "range:b");
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    join(&b, "other:b");
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(w.g->member_count, 1);
}

static void g5_most_votes_among_the_common_protocols_win(void **state)
{
    (void)state;
    struct client c = client_of(&w);
    join(&a, "range:a,sticky:a,lonely:a");
    join(&b, "sticky:b,range:b");
    join(&c, "unknown:c,sticky:c,range:c");
    pass(&w, 3 * DELAY_MS);
    assert_string_equal(a.protocol, "sticky");
    assert_string_equal(c.protocol, "sticky");
}

/* ---- G6 ---- */

static void g6_the_initial_delay_grows_while_members_come(void **state)
{
    (void)state;
    a.rebalance_ms = b.rebalance_ms = 7000;
    join(&a, "range:a");
    pass(&w, DELAY_MS - 1);
    join(&b, "range:b");
    pass(&w, 1);
    assert_int_equal(a.joins, 0);
    pass(&w, DELAY_MS - 1);
    assert_int_equal(a.joins, 0);
    pass(&w, 1);
    assert_int_equal(a.joins, 1);
    assert_int_equal(b.joins, 1);
}

static void g6_the_initial_delay_ends_with_the_rebalance_timeout(void **state)
{
    (void)state;
    static struct client clients[5];
    for (unsigned i = 0; i < 5; i++) {
        clients[i] = client_of(&w);
        clients[i].rebalance_ms = 7000;
        join(&clients[i], "range:a");
        pass(&w, 1500);
    }
    assert_int_equal(clients[0].joins, 1); /* after 7.0 s, at 7.5 s the fifth was in */
}

static void g6_a_rebalance_waits_for_all_known_members(void **state)
{
    (void)state;
    settle_one(&a);
    join(&b, "range:b");
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(b.joins, 0);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    join(&a, "range:a");
    assert_int_equal(a.joins, 2);
    assert_int_equal(b.joins, 1);
    assert_int_equal(a.generation, 2);
}

static void g6_who_does_not_come_back_in_time_is_out(void **state)
{
    (void)state;
    a.session_ms = 1000000;
    settle_one(&a);
    join(&b, "range:b");
    pass(&w, 29999);
    assert_int_equal(b.joins, 0);
    pass(&w, 1);
    assert_int_equal(b.joins, 1);
    assert_true(b.leads); /* G7: the old leader was late */
    assert_int_equal(b.members, 1);
    assert_int_equal(heartbeat(&a), ERR_UNKNOWN_MEMBER_ID);
}

static void g6_static_members_stay_until_their_session_ends(void **state)
{
    (void)state;
    a.instance = "one";
    a.session_ms = 50000;
    settle_one(&a);
    join(&b, "range:b");
    pass(&w, 30000);
    assert_int_equal(b.joins, 1);
    assert_int_equal(b.members, 2);
    assert_true(b.leads);
}

static void g6_a_group_of_static_members_that_are_all_late_waits_on(void **state)
{
    (void)state;
    a.instance = "one";
    a.session_ms = 100000;
    settle_one(&a);
    b.session_ms = 10000;
    join(&b, "range:b");
    assert_int_equal(leave(b.id[0] ? b.id : "none"), ERR_UNKNOWN_MEMBER_ID);
    group_join_cancel(&b.join, ERR_REBALANCE_IN_PROGRESS);
    pass(&w, 10000); /* b, which was never told its id, is gone */
    assert_int_equal(w.g->member_count, 1);
    pass(&w, 40000);
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    pass(&w, 50000);
    assert_int_equal(w.g->state, GROUP_EMPTY);
}

/* ---- G7, G8 ---- */

static void g7_only_the_leader_is_told_the_members(void **state)
{
    (void)state;
    settle_two(&a, &b);
    assert_int_equal(a.members, 2);
    assert_int_equal(b.members, 0);
    assert_string_equal(a.leader, b.leader);
}

static void g8_an_unchanged_follower_rejoins_without_a_rebalance(void **state)
{
    (void)state;
    settle_two(&a, &b);
    join(&b, "range:b");
    assert_int_equal(b.joins, 2);
    assert_int_equal(b.generation, 1);
    assert_int_equal(w.g->state, GROUP_STABLE);
    join(&b, "range:changed");
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(b.joins, 2);
}

static void g8_the_leader_rejoins_for_a_rebalance(void **state)
{
    (void)state;
    settle_two(&a, &b);
    join(&a, "range:a");
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(heartbeat(&b), ERR_REBALANCE_IN_PROGRESS);
}

static void g8_unchanged_joins_are_answered_again_before_the_sync(void **state)
{
    (void)state;
    join_two(&a, &b);
    join(&a, "range:a");
    assert_int_equal(a.joins, 2);
    assert_int_equal(a.members, 2);
    assert_int_equal(w.g->state, GROUP_COMPLETING_REBALANCE);
    sync_follow(&b);
    join(&a, "range:other");
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(b.syncs, 1);
    assert_int_equal(b.error, ERR_REBALANCE_IN_PROGRESS);
}

/* ---- G9 ---- */

static void g9_sync_waits_for_the_leader_and_for_the_log(void **state)
{
    (void)state;
    join_two(&a, &b);
    sync_follow(&b);
    assert_int_equal(b.syncs, 0);
    assign_itself(&a, "mine");
    assert_int_equal(a.syncs + b.syncs, 0);
    stored(&w, ERR_NONE);
    assert_string_equal(a.assignment, "mine");
    assert_int_equal(b.syncs, 1);
    assert_string_equal(b.assignment, ""); /* forgotten by the leader */
    /* Again, in Stable: the same. */
    sync_follow(&a);
    assert_int_equal(a.syncs, 2);
    assert_string_equal(a.assignment, "mine");
}

static void g9_what_cannot_be_stored_is_not_assigned(void **state)
{
    (void)state;
    join_alone(&a);
    assign_itself(&a, "mine");
    stored(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(a.error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    join(&a, "range:a");
    assert_int_equal(a.error, ERR_NONE);
    assert_int_equal(a.generation, 2);
}

static void g9_what_no_record_can_hold_is_not_even_kept(void **state)
{
    (void)state;
    static uint8_t huge[RECORD_MAX + 1];
    join_alone(&a);
    struct group_assignment all = {str_of(a.id), {huge, sizeof(huge)}};
    size_t bytes = w.g->bytes;
    sync_with(&a, &all, 1);
    assert_int_equal(a.error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w.stores, 0);
    assert_int_equal(w.g->bytes, bytes);
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
}

static void g9_a_decision_of_an_older_generation_changes_nothing(void **state)
{
    (void)state;
    join_alone(&a);
    assign_itself(&a, "mine");
    join(&a, "range:new");
    assert_int_equal(a.generation, 2);
    stored(&w, ERR_NONE);
    assert_int_equal(w.g->state, GROUP_COMPLETING_REBALANCE);
}

static void g9_generation_and_protocol_are_checked(void **state)
{
    (void)state;
    settle_two(&a, &b);
    b.generation = 0;
    sync_follow(&b);
    assert_int_equal(b.error, ERR_ILLEGAL_GENERATION);
    b.generation = 1;
    b.sync.generation = 1;
    b.sync.protocol = str_of("sticky");
    group_sync(w.g, &b.sync);
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    b.sync.protocol = str_of("range");
    b.sync.protocol_type = str_of("connect");
    group_sync(w.g, &b.sync);
    assert_int_equal(b.error, ERR_INCONSISTENT_GROUP_PROTOCOL);
    b.sync.protocol_type = str_of("consumer");
    group_sync(w.g, &b.sync);
    assert_int_equal(b.error, ERR_NONE);
    join(&a, "range:a");
    sync_follow(&b);
    assert_int_equal(b.error, ERR_REBALANCE_IN_PROGRESS);
}

static void g9_who_never_syncs_is_removed(void **state)
{
    (void)state;
    a.session_ms = b.session_ms = 100000;
    join_two(&a, &b);
    assign_itself(&a, "mine");
    stored(&w, ERR_NONE);
    pass(&w, 29000 - DELAY_MS);
    assert_int_equal(w.g->member_count, 2);
    pass(&w, 1000 + DELAY_MS);
    assert_int_equal(w.g->member_count, 1);
    assert_int_equal(w.g->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
}

/* ---- G10, G11 ---- */

static void g10_heartbeats(void **state)
{
    (void)state;
    assert_int_equal(group_heartbeat(w.g, str_of("x"), str_null(), 0), ERR_UNKNOWN_MEMBER_ID);
    settle_one(&a);
    assert_int_equal(heartbeat(&a), ERR_NONE);
    a.generation = 2;
    assert_int_equal(heartbeat(&a), ERR_ILLEGAL_GENERATION);
    a.generation = 1;
    join(&a, "range:new");
    assert_int_equal(heartbeat(&a), ERR_NONE); /* CompletingRebalance */
}

static void g10_silence_ends_a_member_and_heartbeats_keep_it(void **state)
{
    (void)state;
    settle_one(&a);
    for (unsigned i = 0; i < 5; i++) {
        pass(&w, 9000);
        assert_int_equal(heartbeat(&a), ERR_NONE);
    }
    pass(&w, 10000);
    assert_int_equal(w.g->state, GROUP_EMPTY);
    assert_int_equal(heartbeat(&a), ERR_UNKNOWN_MEMBER_ID);
}

static void g10_who_waits_in_join_or_sync_does_not_expire(void **state)
{
    (void)state;
    a.session_ms = b.session_ms = 6000;
    a.rebalance_ms = b.rebalance_ms = 60000;
    settle_two(&a, &b);
    join(&b, "range:b2");
    for (unsigned i = 0; i < 9; i++) {
        pass(&w, 5000);
        assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    }
    assert_int_equal(w.g->member_count, 2);
    join(&a, "range:a");
    assert_int_equal(b.joins, 2);
    sync_follow(&b);
    for (unsigned i = 0; i < 9; i++) {
        pass(&w, 5000);
        assert_int_equal(heartbeat(&a), ERR_NONE);
    }
    assert_int_equal(b.syncs, 1);
    assert_int_equal(w.g->member_count, 2);
}

static void g10_a_first_join_is_not_held_for_ever(void **state)
{
    (void)state;
    a.rebalance_ms = 1000000;
    a.session_ms = 1000000;
    settle_one(&a);
    join(&b, "range:b");
    pass(&w, 299999);
    assert_int_equal(b.joins, 0);
    pass(&w, 1);
    assert_int_equal(b.error, ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(w.g->member_count, 1);
}

static void g11_leaving_begins_a_rebalance_for_the_rest(void **state)
{
    (void)state;
    settle_two(&a, &b);
    assert_int_equal(leave("stranger"), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(leave(a.id), ERR_NONE);
    assert_int_equal(heartbeat(&b), ERR_REBALANCE_IN_PROGRESS);
    join(&b, "range:b");
    assert_true(b.leads);
    assert_int_equal(b.generation, 2);
}

static void g11_a_pending_member_and_a_static_one_may_leave(void **state)
{
    (void)state;
    a.instance = "one";
    settle_one(&a);
    b.version = 4;
    join(&b, "range:b");
    assert_int_equal(leave(b.id), ERR_NONE);
    assert_int_equal(w.g->pending_count, 0);
    assert_int_equal(w.g->state, GROUP_STABLE);
    assert_int_equal(group_leave(w.g, str_of(""), str_of("two")), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(group_leave(w.g, str_of("old"), str_of("one")), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(group_leave(w.g, str_of(""), str_of("one")), ERR_NONE);
    assert_int_equal(w.g->state, GROUP_EMPTY);
}

/* ---- G12: static members ---- */

static void g12_a_static_member_is_back_without_a_rebalance(void **state)
{
    (void)state;
    b.instance = "two";
    settle_two(&a, &b);
    struct client again = instance("two");
    join(&again, "range:b");
    assert_int_equal(again.joins, 0); /* not before the new id is stored */
    assert_int_equal(w.g->state, GROUP_STABLE);
    stored(&w, ERR_NONE);
    assert_int_equal(again.error, ERR_NONE);
    assert_int_equal(again.generation, 1);
    assert_string_not_equal(again.id, b.id);
    sync_follow(&again);
    assert_string_equal(again.assignment, "second");
    /* The old one is fenced everywhere. */
    assert_int_equal(heartbeat(&b), ERR_FENCED_INSTANCE_ID);
    sync_follow(&b);
    assert_int_equal(b.error, ERR_FENCED_INSTANCE_ID);
    join(&b, "range:b");
    assert_int_equal(b.error, ERR_FENCED_INSTANCE_ID);
    assert_int_equal(group_commit(w.g, str_of(b.id), str_of("two"), 1), ERR_FENCED_INSTANCE_ID);
}

static void static_leader_back(int16_t version, bool skips)
{
    a.instance = "one";
    settle_two(&a, &b);
    struct client again = instance("one");
    again.version = version;
    join(&again, "range:a");
    stored(&w, ERR_NONE);
    assert_int_equal(again.error, ERR_NONE);
    assert_int_equal(again.skip, skips);
    assert_int_equal(again.leads, skips);
    assert_int_equal(again.members, skips ? 2 : 0);
    if (!skips)
        assert_string_equal(again.leader, a.id);
}

static void g12_a_static_leader_is_told_to_skip_or_its_old_id(void **state)
{
    static_leader_back(9, true);
    another_group(state);
    static_leader_back(8, false);
}

static void g12_a_new_protocol_of_a_static_member_begins_a_rebalance(void **state)
{
    (void)state;
    a.instance = "one";
    join(&a, "range:a,sticky:a");
    pass(&w, DELAY_MS);
    sync_follow(&a);
    stored(&w, ERR_NONE);
    struct client again = instance("one");
    join(&again, "sticky:a");
    assert_int_equal(again.generation, 2);
    assert_string_equal(again.protocol, "sticky");
}

static void g12_in_completing_rebalance_a_static_member_begins_another(void **state)
{
    (void)state;
    b.instance = "two";
    join_two(&a, &b);
    struct client again = instance("two");
    sync_follow(&a);
    join(&again, "range:b");
    assert_int_equal(a.error, ERR_REBALANCE_IN_PROGRESS);
    join(&a, "range:a");
    assert_int_equal(again.generation, 2);
}

static void g12_two_with_one_instance_id_the_newer_wins(void **state)
{
    (void)state;
    struct client twin = instance("one");
    a.instance = "one";
    join(&a, "range:a");
    join(&twin, "range:a");
    assert_int_equal(a.error, ERR_FENCED_INSTANCE_ID);
    pass(&w, DELAY_MS);
    assert_int_equal(twin.error, ERR_NONE);
    assert_int_equal(w.g->member_count, 1);
}

static void g12_an_id_that_cannot_be_stored_is_not_told(void **state)
{
    (void)state;
    a.instance = "one";
    settle_one(&a);
    struct client again = instance("one");
    join(&again, "range:a");
    stored(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(again.error, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_string_equal(again.id, "");
    join(&again, "range:a");
    stored(&w, ERR_NONE);
    assert_int_equal(again.error, ERR_NONE);
}

/* ---- clients that go ---- */

static void a_connection_that_goes_leaves_its_member_joined(void **state)
{
    (void)state;
    settle_one(&a);
    b.version = 4;
    join(&b, "range:b");
    join(&b, "range:b");
    group_join_cancel(&b.join, ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(b.joins, 2);
    join(&a, "range:a");
    assert_int_equal(a.generation, 2);
    assert_int_equal(a.members, 2);
    sync_follow(&a);
    stored(&w, ERR_NONE);
    pass(&w, 9000);
    assert_int_equal(heartbeat(&a), ERR_NONE);
    pass(&w, 1000); /* nothing was heard of b since */
    assert_int_equal(w.g->member_count, 1);
}

/* ---- offsets ---- */

static void o1_who_may_commit(void **state)
{
    (void)state;
    assert_int_equal(commit("", -1), ERR_NONE);
    assert_int_equal(commit("x", 3), ERR_UNKNOWN_MEMBER_ID);
    settle_one(&a);
    assert_int_equal(commit(a.id, 1), ERR_NONE);
    assert_int_equal(commit(a.id, 0), ERR_ILLEGAL_GENERATION);
    assert_int_equal(commit("x", 1), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(commit("", -1), ERR_UNKNOWN_MEMBER_ID);
    join(&b, "range:b");
    for (unsigned i = 0; i < 2; i++) { /* PreparingRebalance: allowed, and a sign of life */
        pass(&w, 9000);
        assert_int_equal(commit(a.id, 1), ERR_NONE);
    }
    join(&a, "range:a");
    assert_int_equal(a.generation, 2);
    assert_int_equal(commit(a.id, 2), ERR_REBALANCE_IN_PROGRESS);
}

static void g14_subscriptions_of_consumers_are_known(void **state)
{
    static const uint8_t wants_t[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0};
    static const uint8_t broken[] = {0, 1, 0, 0, 0, 9, 0, 1, 't'};
    restore_one((struct bytes){wants_t, sizeof(wants_t)}, (struct bytes){0});
    assert_true(group_is_consumer(w.g));
    assert_true(group_subscribes(w.g, str_of("t")));
    assert_false(group_subscribes(w.g, str_of("u")));
    another_group(state);
    restore_one((struct bytes){broken, sizeof(broken)}, (struct bytes){0});
    assert_true(group_subscribes(w.g, str_of("u")));
}

static void a_restored_group_goes_on_where_it_was(void **state)
{
    (void)state;
    restore_one(bytes_of("a"), bytes_of("all"));
    assert_int_equal(w.g->state, GROUP_STABLE);
    assert_int_equal(group_heartbeat(w.g, str_of("m"), str_null(), 7), ERR_NONE);
    assert_int_equal(commit("m", 7), ERR_NONE);
    pass(&w, 10000);
    assert_int_equal(w.g->state, GROUP_EMPTY);
    assert_int_equal(w.g->generation, 8);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(g1_generation_grows_with_every_completed_join_phase),
        cmocka_unit_test(g2_session_timeouts_outside_the_range_are_refused),
        cmocka_unit_test(g4_a_new_dynamic_member_is_given_its_id_first),
        cmocka_unit_test(g4_an_id_that_does_not_come_back_is_forgotten),
        cmocka_unit_test(g4_static_and_old_members_join_at_once),
        cmocka_unit_test(g5_type_and_protocols_must_be_compatible),
        cmocka_unit_test(g5_most_votes_among_the_common_protocols_win),
        cmocka_unit_test(g6_the_initial_delay_grows_while_members_come),
        cmocka_unit_test(g6_the_initial_delay_ends_with_the_rebalance_timeout),
        cmocka_unit_test(g6_a_rebalance_waits_for_all_known_members),
        cmocka_unit_test(g6_who_does_not_come_back_in_time_is_out),
        cmocka_unit_test(g6_static_members_stay_until_their_session_ends),
        cmocka_unit_test(g6_a_group_of_static_members_that_are_all_late_waits_on),
        cmocka_unit_test(g7_only_the_leader_is_told_the_members),
        cmocka_unit_test(g8_an_unchanged_follower_rejoins_without_a_rebalance),
        cmocka_unit_test(g8_the_leader_rejoins_for_a_rebalance),
        cmocka_unit_test(g8_unchanged_joins_are_answered_again_before_the_sync),
        cmocka_unit_test(g9_sync_waits_for_the_leader_and_for_the_log),
        cmocka_unit_test(g9_what_cannot_be_stored_is_not_assigned),
        cmocka_unit_test(g9_what_no_record_can_hold_is_not_even_kept),
        cmocka_unit_test(g9_a_decision_of_an_older_generation_changes_nothing),
        cmocka_unit_test(g9_generation_and_protocol_are_checked),
        cmocka_unit_test(g9_who_never_syncs_is_removed),
        cmocka_unit_test(g10_heartbeats),
        cmocka_unit_test(g10_silence_ends_a_member_and_heartbeats_keep_it),
        cmocka_unit_test(g10_who_waits_in_join_or_sync_does_not_expire),
        cmocka_unit_test(g10_a_first_join_is_not_held_for_ever),
        cmocka_unit_test(g11_leaving_begins_a_rebalance_for_the_rest),
        cmocka_unit_test(g11_a_pending_member_and_a_static_one_may_leave),
        cmocka_unit_test(g12_a_static_member_is_back_without_a_rebalance),
        cmocka_unit_test(g12_a_static_leader_is_told_to_skip_or_its_old_id),
        cmocka_unit_test(g12_a_new_protocol_of_a_static_member_begins_a_rebalance),
        cmocka_unit_test(g12_in_completing_rebalance_a_static_member_begins_another),
        cmocka_unit_test(g12_two_with_one_instance_id_the_newer_wins),
        cmocka_unit_test(g12_an_id_that_cannot_be_stored_is_not_told),
        cmocka_unit_test(a_connection_that_goes_leaves_its_member_joined),
        cmocka_unit_test(o1_who_may_commit),
        cmocka_unit_test(g14_subscriptions_of_consumers_are_known),
        cmocka_unit_test(a_restored_group_goes_on_where_it_was),
    };
    with_a_group(tests, array_count(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
