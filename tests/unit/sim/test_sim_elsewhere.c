/* SPDX-License-Identifier: Apache-2.0
 *
 * Two brokers on one metadata store, and a client that asks one of them for what the other leads:
 * NOT_LEADER_OR_FOLLOWER makes it look for the leader, where UNKNOWN_TOPIC_OR_PARTITION would tell
 * it that its topic is gone. And their store goes away: records do not wait for it, changes do. And
 * what is asked of any broker goes to the one in office; and the leader's epoch changes while a
 * Fetch is being read: it is told at once.
 */
#include "tests/sim/world_store.h"
#include "tests/unit/sim/desk_topics.h"

#define NOWHERE "no-such-topic"

static struct node second;
static struct desk desk;
static struct store_sim *store;

static bool second_is_ready(void *argument)
{
    (void)argument;
    return second.ready;
}

static bool second_is_gone(void *argument)
{
    (void)argument;
    return !node_runs(&second);
}

/* The first one, alone and in office. */
static void begin_alone(uint16_t shards)
{
    desk_begin(&desk, 1);
    store = store_of_world(desk.world, 0);
    node_init(&second, desk.world, world_machine(desk.world, "second"));
    desk_set(&desk, "connections.max.idle.ms", "-1");
    second.id = 2;
    desk.node.store = store;
    second.store = store;
    desk_broker_start(&desk, shards);
}

static void second_joins(uint16_t shards)
{
    assert_true(node_start(&second, shards));
    desk_until(&desk, second_is_ready, NULL);
    desk_pass(&desk, 100);
}

static void begin(uint16_t shards)
{
    begin_alone(shards);
    second_joins(shards);
}

static void end(void)
{
    node_stop(&second);
    desk_until(&desk, second_is_gone, NULL);
    desk_end(&desk);
    store_sim_free(store);
}

static struct metadata_response_partition partition_of(const char *name)
{
    struct metadata_response response = metadata_ask(&desk, 0, name, 9);
    assert_int_equal(response.brokers_count, 2);
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    return response.topics[0].partitions[0];
}

static int32_t leader_of(const char *name)
{
    return partition_of(name).leader_id;
}

/* Each request that goes to a partition's home. */
static void all_answer(const char *name, enum err wanted)
{
    struct question question;
    int64_t low_watermark;
    assert_int_equal(record_produce(&desk, name), wanted);
    assert_int_equal(offset_ask(&desk, name, 7, LATEST).error_code, wanted);
    fetch_ask(&desk, &question, name, 11, 0, 0);
    assert_int_equal(fetch_answer(&question).error_code, wanted);
    assert_int_equal(producers_ask(&desk, name, 0)->error_code, wanted);
    assert_int_equal(delete_records(&desk, name, 0, &low_watermark), wanted);
}

static void other_brokers_partitions_are_not_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b"};
    begin(2);
    TOPIC(&desk, "a", SET("retention.ms", "60000"));
    TOPIC(&desk, "b", SET("retention.ms", "60000"));
    int32_t leaders[] = {leader_of("a"), leader_of("b")};
    assert_int_equal(leaders[0] + leaders[1], 3);
    for (unsigned i = 0; i < 2; i++)
        all_answer(names[i], leaders[i] == 1 ? ERR_NONE : ERR_NOT_LEADER_OR_FOLLOWER);
    all_answer(NOWHERE, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    end();
}

static const char *own_topic(void)
{
    TOPIC(&desk, "a", SET("retention.ms", "-1"));
    TOPIC(&desk, "b", SET("retention.ms", "-1"));
    return leader_of("a") == 1 ? "a" : "b";
}

static void ask_for_a_change(struct question *question)
{
    struct create_topics_request_topic topic;
    struct create_topics_request request = topic_request(&topic, "waits", 1);
    request.timeout_ms = 600000;
    desk_send(&desk, question, 2, KEY_CREATE_TOPICS, 5, &request);
}

static void records_do_not_wait_for_the_store(void **state)
{
    (void)state;
    struct question change;
    struct create_topics_response response;
    begin(2);
    const char *own = own_topic();
    store_sim_away(store, true);
    desk_pass(&desk, 10);
    ask_for_a_change(&change);
    for (unsigned second_of = 0; second_of < 60; second_of++) {
        uint64_t began_ns = world_now_ns(desk.world);
        all_answer(own, ERR_NONE);
        assert_true(world_now_ns(desk.world) - began_ns < 100 * DESK_MS);
        desk_pass(&desk, 1000);
    }
    assert_false(change.done);
    store_sim_away(store, false);
    assert_true(desk_answer(&change, &response));
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    (void)leader_of("waits");
    end();
}

/* Takes back all that was set. */
static enum err reset_settings(const char *name)
{
    struct alter_configs_request request;
    struct alter_configs_request_resource resource;
    struct alter_configs_response response;
    init_alter_configs_request(&request);
    init_alter_configs_request_resource(&resource);
    request.resources = &resource;
    request.resources_count = 1;
    resource.resource_type = 2;
    resource.resource_name = str_of(name);
    desk_ask(&desk, 0, KEY_ALTER_CONFIGS, 1, &request, &response);
    assert_int_equal(response.responses_count, 1);
    return (enum err)response.responses[0].error_code;
}

/* Any broker takes them, and asks the one in office. */
static void settings_are_passed_on(void **state)
{
    (void)state;
    begin_alone(2);
    TOPIC(&desk, "a", SET("retention.ms", "-1"));
    second_joins(2);
    desk_broker_stop(&desk); /* now the second one is in office */
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(record_produce(&desk, "a"), ERR_NONE);
    config_set(&desk, "a", "max.message.bytes", "10");
    desk_pass(&desk, 100);
    assert_int_equal(record_produce(&desk, "a"), ERR_MESSAGE_TOO_LARGE);
    assert_int_equal(reset_settings("a"), ERR_NONE);
    desk_pass(&desk, 100);
    assert_int_equal(record_produce(&desk, "a"), ERR_NONE);
    assert_int_equal(reset_settings(NOWHERE), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    end();
}

/* It may have happened or not; nobody waits for the store's return to stop. */
static void a_stop_does_not_wait_for_the_store(void **state)
{
    (void)state;
    struct question change;
    begin(2);
    store_sim_away(store, true);
    desk_pass(&desk, 10);
    ask_for_a_change(&change);
    desk_pass(&desk, 1000);
    assert_false(change.done);
    uint64_t began_ns = world_now_ns(desk.world);
    node_stop(&second);
    desk_until(&desk, second_is_gone, NULL);
    desk_broker_stop(&desk);
    assert_true(world_now_ns(desk.world) - began_ns < 2 * DESK_S);
    assert_true(change.done);
    free(change.answer);
    world_free(desk.world);
    arena_fini(&desk.arena);
    store_sim_free(store);
}

/* ---- a Fetch that is being read ---- */

/* Both from the beginning, for more than there is. */
static void fetch_both(struct question *question, const char *one, int32_t epoch_of_one,
                       const char *other)
{
    struct fetch_request request;
    struct fetch_request_topic topics[2];
    struct fetch_request_partition parts[2];
    init_fetch_request(&request);
    request.max_wait_ms = 600000;
    request.min_bytes = 1 << 20;
    request.max_bytes = 1 << 20;
    request.session_epoch = -1;
    request.topics = topics;
    request.topics_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        init_fetch_request_topic(&topics[i]);
        init_fetch_request_partition(&parts[i]);
        topics[i].topic = str_of(i == 0 ? one : other);
        topics[i].partitions = &parts[i];
        topics[i].partitions_count = 1;
        parts[i].partition_max_bytes = 1 << 20;
    }
    parts[0].current_leader_epoch = epoch_of_one;
    desk_send(&desk, question, 1, KEY_FETCH, 11, &request);
}

/* Its leader stays, in a new epoch. */
static void give_both_replicas(const char *name)
{
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_request_topic topic;
    struct alter_partition_reassignments_request_partition partition;
    struct alter_partition_reassignments_response response;
    int32_t both[] = {1, 2};
    init_alter_partition_reassignments_request(&request);
    init_alter_partition_reassignments_request_topic(&topic);
    init_alter_partition_reassignments_request_partition(&partition);
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of(name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.replicas = both;
    partition.replicas_count = 2;
    desk_ask(&desk, 2, KEY_ALTER_PARTITION_REASSIGNMENTS, 0, &request, &response);
    assert_int_equal(response.error_code, ERR_NONE);
    assert_int_equal(response.responses[0].partitions[0].error_code, ERR_NONE);
}

/* The first part was looked at and has nothing; the second one waits for the disk. */
static void a_new_epoch_while_a_fetch_is_read_is_told(void **state)
{
    (void)state;
    struct question question;
    struct fetch_response response;
    begin_alone(1);
    TOPIC(&desk, "empty", SET("retention.ms", "-1"));
    TOPIC(&desk, "on-disk", SET("retention.ms", "-1"));
    assert_int_equal(record_produce(&desk, "on-disk"), ERR_NONE);
    desk_broker_stop(&desk); /* and not in memory any more */
    desk_broker_start(&desk, 1);
    second_joins(1);
    int32_t epoch = partition_of("empty").leader_epoch;
    machine_disk_stall(desk.node.machine, 5 * DESK_S);
    fetch_both(&question, "empty", epoch, "on-disk");
    desk_pass(&desk, 100);
    give_both_replicas("empty");
    desk_pass(&desk, 2000);
    assert_int_equal(leader_of("empty"), 1);
    assert_true(partition_of("empty").leader_epoch > epoch);
    assert_false(question.done);
    desk_pass(&desk, 5000);
    assert_true(question.done);
    must(desk_answer(&question, &response));
    assert_int_equal(response.responses[0].partitions[0].error_code, ERR_FENCED_LEADER_EPOCH);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_brokers_partitions_are_not_unknown),
        cmocka_unit_test(records_do_not_wait_for_the_store),
        cmocka_unit_test(settings_are_passed_on),
        cmocka_unit_test(a_stop_does_not_wait_for_the_store),
        cmocka_unit_test(a_new_epoch_while_a_fetch_is_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
