/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups as clients see them: handlers, coordinator and log together, over restarts and crashes.
 * What the state machine alone decides is in tests/unit/core/group/test_group.c.
 */
#include "tests/unit/sim/desk_groups.h"

#include <errno.h>

/* ---- who is coordinator ---- */

static void g3_who_asks_while_the_offsets_are_read_back_is_told_so(void **state)
{
    (void)state;
    struct desk desk;
    int64_t offset;
    groups_begin(&desk, 12, 1);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    assert_int_equal(commit(&desk, "by-hand", "topic", 0, 5), ERR_NONE);
    desk_broker_stop(&desk); /* the log is in its segment, not in the tail */
    assert_true(node_start(&desk.node, 1));
    desk_until(&desk, desk_node_is_ready, &desk);
    machine_disk_stall(desk.node.machine, 20 * DESK_S);
    process_call(desk.process, 0, desk_connect, &desk);
    desk_until(&desk, desk_is_connected, &desk);
    assert_int_equal(fetch_error(&desk, "by-hand", "topic", 0, &offset),
                     ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(commit(&desk, "by-hand", "topic", 0, 6), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(heartbeat(&m), ERR_NONE);
    struct sync_group_response synced;
    sync_send(&m, NULL, 0);
    assert_int_equal(sync_end(&m, &synced), ERR_REBALANCE_IN_PROGRESS);
    struct list_groups_request request;
    struct list_groups_response response;
    init_list_groups_request(&request);
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    desk_pass(&desk, 21000);
    assert_int_equal(fetch(&desk, "by-hand", "topic", 0), 5);
    desk_end(&desk);
}

static void g3_without_its_topic_nobody_is_coordinator(void **state)
{
    (void)state;
    struct desk desk;
    int64_t offset;
    desk_begin(&desk, 13);
    desk_broker_start(&desk, 2);
    assert_int_equal(topic_ask(&desk, "topic", 1), ERR_NONE);
    assert_int_equal(commit(&desk, "group", "topic", 0, 1), ERR_NOT_COORDINATOR);
    assert_int_equal(fetch_error(&desk, "group", "topic", 0, &offset), ERR_NOT_COORDINATOR);
    struct member m = member_of(&desk, 2, NULL);
    join_send(&m);
    assert_int_equal(join_end(&m), ERR_NOT_COORDINATOR);
    desk_end(&desk);
}

/* ---- members ---- */

static void g6_two_members_share_a_group(void **state)
{
    (void)state;
    struct desk desk;
    struct sync_group_response synced;
    groups_begin(&desk, 17, 3);
    struct member a = member_of(&desk, 2, NULL);
    struct member b = member_of(&desk, 3, NULL);
    uint64_t since_ns = world_now_ns(desk.world);
    join_begin(&a);
    join_begin(&b);
    assert_int_equal(join_end(&a), ERR_NONE);
    assert_int_equal(join_end(&b), ERR_NONE);
    uint64_t took_ms = (world_now_ns(desk.world) - since_ns) / DESK_MS;
    assert_in_range(took_ms, DELAY_MS, 2 * DELAY_MS + 1000); /* somebody came meanwhile */
    assert_int_equal(a.generation, b.generation);
    assert_true(leads(&a) && !leads(&b));
    assert_int_equal(a.joined.members_count, 2);
    assert_int_equal(b.joined.members_count, 0);
    assert_state(&desk, "group", "CompletingRebalance");
    sync_send(&b, NULL, 0);
    const struct sync_group_request_assignment both[] = {{str_of(a.id), bytes_of("first")},
                                                         {str_of(b.id), bytes_of("second")}};
    sync_send(&a, both, 2);
    assert_int_equal(sync_end(&a, &synced), ERR_NONE);
    assert_assigned(&synced, "first");
    assert_int_equal(sync_end(&b, &synced), ERR_NONE);
    assert_assigned(&synced, "second");
    assert_state(&desk, "group", "Stable");
    /* One leaves: the other is told to join again. */
    assert_int_equal(leave(&b), ERR_NONE);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(&b), ERR_UNKNOWN_MEMBER_ID);
    const struct committer gone = committer_of(&b);
    assert_int_equal(commit_by(&desk, "group", &gone, "topic", 0, 9), ERR_UNKNOWN_MEMBER_ID);
    join_begin(&a);
    assert_int_equal(join_end(&a), ERR_NONE);
    assert_int_equal(a.generation, b.generation + 1);
    desk_end(&desk);
}

static void g10_a_silent_member_is_out_after_its_session(void **state)
{
    (void)state;
    struct desk desk;
    int32_t members;
    groups_begin(&desk, 18, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    desk_pass(&desk, SESSION_MS - 500);
    assert_int_equal(heartbeat(&m), ERR_NONE);
    desk_pass(&desk, SESSION_MS - 500);
    (void)group_state(&desk, "group", &members);
    assert_int_equal(members, 1);
    desk_pass(&desk, 1000);
    assert_state(&desk, "group", "Empty");
    assert_int_equal(heartbeat(&m), ERR_UNKNOWN_MEMBER_ID);
    desk_end(&desk);
}

static void g12_the_newer_of_two_with_one_instance_id_wins(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 19, 2);
    struct member old = member_of(&desk, 2, "instance");
    settle_one(&old);
    struct member new = member_of(&desk, 3, "instance");
    join_begin(&new);
    assert_int_equal(join_end(&new), ERR_NONE);
    assert_int_equal(new.generation, old.generation); /* nobody else need notice */
    assert_int_equal(heartbeat(&old), ERR_FENCED_INSTANCE_ID);
    struct committer by = committer_of(&old);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_FENCED_INSTANCE_ID);
    by = committer_of(&new);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 2), ERR_NONE);
    /* The new id is known after a crash, too. */
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 100);
    assert_int_equal(heartbeat(&old), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(heartbeat(&new), ERR_NONE);
    desk_end(&desk);
}

static void a_member_whose_connection_goes_while_it_waits_stays_joined(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 20, 3);
    struct member m = member_of(&desk, 2, NULL);
    join_begin(&m);
    desk_pass(&desk, 10);
    world_link_reset(desk.world, NULL, NULL);
    struct join_group_response response;
    assert_false(desk_answer(&m.join, &response));
    desk_until(&desk, desk_is_alone, &desk);
    process_call(desk.process, 0, desk_connect, &desk);
    desk_until(&desk, desk_is_connected, &desk);
    desk_pass(&desk, DELAY_MS);
    assert_state(&desk, "group", "CompletingRebalance");
    join_send(&m); /* and is told what it has missed */
    assert_int_equal(join_end(&m), ERR_NONE);
    assert_int_equal(m.generation, 1);
    desk_end(&desk);
}

static void g9_an_assignment_that_no_record_can_hold_is_refused(void **state)
{
    (void)state;
    struct desk desk;
    struct sync_group_response synced;
    groups_begin(&desk, 21, 2);
    struct member m = member_of(&desk, 2, NULL);
    join_begin(&m);
    assert_int_equal(join_end(&m), ERR_NONE);
    uint8_t *huge = calloc(1, 1U << 20);
    must(huge != NULL);
    const struct sync_group_request_assignment all = {str_of(m.id), {huge, 1U << 20}};
    sync_send(&m, &all, 1); /* fits the sum, but not with the rest of the record */
    assert_int_equal(sync_end(&m, &synced), ERR_UNKNOWN_SERVER_ERROR);
    free(huge);
    join_send(&m);
    assert_int_equal(join_end(&m), ERR_NONE);
    desk_end(&desk);
}

/* ---- groups are told of, and deleted ---- */

static void g15_g16_groups_are_listed_and_described(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 22, 3);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    char name[16];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "hand-%d", i);
        assert_int_equal(commit(&desk, name, "topic", 0, i), ERR_NONE);
    }
    struct list_groups_request request;
    struct list_groups_response response;
    init_list_groups_request(&request);
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 21);
    struct str states[] = {str_of("stable")};
    request.states_filter = states;
    request.states_filter_count = 1;
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 1);
    assert_true(str_equal(response.groups[0].group_id, str_of("group")));
    assert_true(str_equal(response.groups[0].protocol_type, str_of("consumer")));
    struct str types[] = {str_of("consumer")};
    request.types_filter = types;
    request.types_filter_count = 1;
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 0);
    assert_state(&desk, "nowhere", "Dead");
    assert_state(&desk, "hand-7", "Empty");
    desk_end(&desk);
}

/* ---- of KIP-848 ---- */

#define NAMED 16385 /* one topic more than a member may name */
#define OWNED 5000  /* more than anybody has here */

struct consumer {
    struct desk *desk;
    const char *id;
    int32_t epoch;
    int32_t names; /* of the same topic; -1: none are said */
    int32_t owned; /* of a topic that is gone; -1: none are said */
};

static enum err consumer_beat(struct consumer *c)
{
    static struct str names[NAMED];
    static int32_t numbers[OWNED];
    struct consumer_group_heartbeat_request request;
    struct consumer_group_heartbeat_request_topic_partition owned;
    struct consumer_group_heartbeat_response response;
    for (int32_t i = 0; i < NAMED; i++)
        names[i] = str_of("topic");
    for (int32_t i = 0; i < OWNED; i++)
        numbers[i] = i;
    init_consumer_group_heartbeat_request(&request);
    init_consumer_group_heartbeat_request_topic_partition(&owned);
    owned.topic_id.bytes[3] = 7;
    owned.partitions = numbers;
    owned.partitions_count = c->owned;
    request.group_id = str_of("group");
    request.member_id = str_of(c->id);
    request.member_epoch = c->epoch;
    request.rebalance_timeout_ms = c->names >= 0 ? 60000 : -1;
    request.subscribed_topic_names = names;
    request.subscribed_topic_names_count = c->names;
    request.topic_partitions = &owned;
    request.topic_partitions_count = c->owned > 0 ? 1 : c->owned;
    desk_ask(c->desk, 0, KEY_CONSUMER_GROUP_HEARTBEAT, 1, &request, &response);
    if (response.error_code == ERR_NONE)
        c->epoch = response.member_epoch;
    return (enum err)response.error_code;
}

static void k1_what_is_too_much_for_a_turn(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 25, 2);
    struct consumer one = {.desk = &desk, .id = "one", .names = NAMED};
    assert_int_equal(consumer_beat(&one), ERR_INVALID_REQUEST);
    one.names = 1;
    assert_int_equal(consumer_beat(&one), ERR_NONE);
    assert_true(one.epoch > 0);
    one.names = -1;
    one.owned = OWNED;
    assert_int_equal(consumer_beat(&one), ERR_INVALID_REQUEST);
    one.owned = 4000; /* it may not have heard that the topic is gone */
    assert_int_equal(consumer_beat(&one), ERR_NONE);
    struct consumer two = {.desk = &desk, .id = "two", .epoch = 1, .names = -1, .owned = OWNED};
    assert_int_equal(consumer_beat(&two), ERR_UNKNOWN_MEMBER_ID);
    desk_end(&desk);
}

static void k7_a_deleted_group_does_not_come_back(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 26, 2);
    struct consumer one = {.desk = &desk, .id = "one", .names = 1};
    assert_int_equal(consumer_beat(&one), ERR_NONE);
    one.epoch = -1;
    assert_int_equal(consumer_beat(&one), ERR_NONE);
    assert_int_equal(group_delete(&desk, "group"), ERR_NONE);
    for (int life = 0; life < 2; life++) {
        one.epoch = 1;
        assert_int_equal(consumer_beat(&one), ERR_GROUP_ID_NOT_FOUND);
        assert_int_equal(group_delete(&desk, "group"), ERR_GROUP_ID_NOT_FOUND);
        desk_broker_crash(&desk, CRASH_POWER);
        desk_broker_start(&desk, 1);
        desk_pass(&desk, 200);
    }
    desk_end(&desk);
}

/* ---- deleted ---- */

static void g15_a_deleted_group_does_not_come_back(void **state)
{
    (void)state;
    struct desk desk;
    groups_begin(&desk, 24, 2);
    assert_int_equal(topic_ask(&desk, "wide", MANY_PARTITIONS), ERR_NONE);
    commit_many(&desk, "hand", "wide",
                MANY_PARTITIONS); /* more than one batch of tombstones takes */
    assert_int_equal(fetch_count(&desk, "hand"), MANY_PARTITIONS);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    assert_int_equal(leave(&m), ERR_NONE);
    assert_state(&desk, "group", "Empty");
    assert_int_equal(group_delete(&desk, "hand"), ERR_NONE);
    assert_int_equal(group_delete(&desk, "group"), ERR_NONE);
    assert_int_equal(group_delete(&desk, "group"), ERR_GROUP_ID_NOT_FOUND);
    for (int life = 0; life < 2; life++) {
        assert_state(&desk, "hand", "Dead");
        assert_state(&desk, "group", "Dead");
        assert_int_equal(fetch_count(&desk, "hand"), 0);
        desk_broker_crash(&desk, CRASH_POWER);
        desk_broker_start(&desk, 1);
        desk_pass(&desk, 200);
    }
    desk_end(&desk);
}

/* The group lies in partition 1 of __consumer_offsets, and that in the directory that fails. */
static void a_deletion_that_the_log_does_not_take_changes_nothing(void **state)
{
    (void)state;
    struct desk desk;
    desk_begin(&desk, 30);
    desk.node.log_dirs = "/data,/more";
    desk.node.tail_bytes = 2U << 20;
    groups_begin_with(&desk, 1);
    assert_int_equal(commit(&desk, "hand1", "topic", 0, 2), ERR_NONE);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    const struct disk_fault fault = {
        .calls = DISK_WRITE | DISK_SYNC, .prefix = "/more/", .times = UINT32_MAX, .error = -EIO};
    machine_disk_fault(desk.node.machine, &fault);
    assert_int_equal(group_delete(&desk, "hand1"), ERR_NOT_COORDINATOR);
    assert_int_equal(commit(&desk, "hand1", "topic", 0, 3), ERR_NOT_COORDINATOR);
    int64_t offset;
    assert_int_equal(fetch_error(&desk, "hand1", "topic", 0, &offset), ERR_NOT_COORDINATOR);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 3), ERR_NONE);
    machine_disk_heal(desk.node.machine);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "hand1", "topic", 0), 2);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 3);
    desk_end(&desk);
}

/* ---- many groups in one request ---- */

#define MANY   3000
#define STORED 20

/* Whatever shards they live on, answers stand in the order of the names; and a shard is asked once,
 * not once for each name: a turn of two shards for each of 100,000 names would be seconds. */
static void g15_many_groups_are_described_at_once(void **state)
{
    (void)state;
    static char text[MANY][16];
    static struct str names[MANY];
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct desk desk;
    groups_begin(&desk, 24, 2);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "group-%d", i);
        names[i] = str_of(text[i]);
    }
    for (int i = 0; i < STORED; i++)
        assert_int_equal(commit(&desk, text[i], "topic", 0, 1), ERR_NONE);
    init_describe_groups_request(&request);
    request.groups = names;
    request.groups_count = MANY;
    uint64_t began_ns = world_now_ns(desk.world);
    desk_ask(&desk, 1, KEY_DESCRIBE_GROUPS, 5, &request, &response);
    assert_in_range(world_now_ns(desk.world) - began_ns, 0, 20 * DESK_MS);
    assert_int_equal(response.groups_count, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(str_equal(response.groups[i].group_id, names[i]));
        assert_int_equal(response.groups[i].error_code, ERR_NONE);
        assert_true(
            str_equal(response.groups[i].group_state, str_of(i < STORED ? "Empty" : "Dead")));
    }
    desk_end(&desk);
}

/* Those of one name in order: the second finds nothing. */
static void g16_many_groups_are_deleted_at_once(void **state)
{
    (void)state;
    struct delete_groups_request request;
    struct delete_groups_response response;
    struct desk desk;
    groups_begin(&desk, 25, 2);
    struct str names[] = {str_of("a"), str_of("nobody"), str_of("b"), str_of("a"), str_of("c")};
    static const int16_t wanted[] = {ERR_NONE, ERR_GROUP_ID_NOT_FOUND, ERR_NONE,
                                     ERR_GROUP_ID_NOT_FOUND, ERR_NONE};
    assert_int_equal(commit(&desk, "a", "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "b", "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "c", "topic", 0, 1), ERR_NONE);
    init_delete_groups_request(&request);
    request.groups_names = names;
    request.groups_names_count = array_count(names);
    desk_ask(&desk, 0, KEY_DELETE_GROUPS, 2, &request, &response);
    for (uint32_t i = 0; i < array_count(names); i++)
        assert_int_equal(response.results[i].error_code, wanted[i]);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g3_who_asks_while_the_offsets_are_read_back_is_told_so),
        cmocka_unit_test(g3_without_its_topic_nobody_is_coordinator),
        cmocka_unit_test(g15_many_groups_are_described_at_once),
        cmocka_unit_test(g16_many_groups_are_deleted_at_once),
        cmocka_unit_test(g6_two_members_share_a_group),
        cmocka_unit_test(g10_a_silent_member_is_out_after_its_session),
        cmocka_unit_test(g12_the_newer_of_two_with_one_instance_id_wins),
        cmocka_unit_test(a_member_whose_connection_goes_while_it_waits_stays_joined),
        cmocka_unit_test(g9_an_assignment_that_no_record_can_hold_is_refused),
        cmocka_unit_test(g15_g16_groups_are_listed_and_described),
        cmocka_unit_test(k1_what_is_too_much_for_a_turn),
        cmocka_unit_test(k7_a_deleted_group_does_not_come_back),
        cmocka_unit_test(g15_a_deleted_group_does_not_come_back),
        cmocka_unit_test(a_deletion_that_the_log_does_not_take_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
