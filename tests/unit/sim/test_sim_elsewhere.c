/* SPDX-License-Identifier: Apache-2.0
 *
 * Two brokers on one metadata store, and a client that asks one of them for what the other leads:
 * NOT_LEADER_OR_FOLLOWER makes it look for the leader, where UNKNOWN_TOPIC_OR_PARTITION would tell
 * it that its topic is gone. And their store goes away: records do not wait for it, changes do.
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

/* The first one is in office. */
static void begin(uint16_t shards)
{
    desk_begin(&desk, 1);
    store = store_of_world(desk.world, 0);
    node_init(&second, desk.world, world_machine(desk.world, "second"));
    desk_set(&desk, "connections.max.idle.ms", "-1");
    second.id = 2;
    desk.node.store = store;
    second.store = store;
    desk_broker_start(&desk, shards);
    assert_true(node_start(&second, shards));
    desk_until(&desk, second_is_ready, NULL);
    desk_pass(&desk, 100);
}

static void end(void)
{
    node_stop(&second);
    desk_until(&desk, second_is_gone, NULL);
    desk_end(&desk);
    store_sim_free(store);
}

static int32_t leader_of(const char *name)
{
    struct metadata_request request;
    struct metadata_request_topic topic;
    struct metadata_response response;
    init_metadata_request(&request);
    init_metadata_request_topic(&topic);
    topic.name = str_of(name);
    request.topics = &topic;
    request.topics_count = 1;
    desk_ask(&desk, 0, KEY_METADATA, 9, &request, &response);
    assert_int_equal(response.brokers_count, 2);
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    return response.topics[0].partitions[0].leader_id;
}

static enum err produce(const char *name)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1000, BYTES_NULL, (struct bytes_or_null){"value", 5}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    enum err error = (enum err)batch_produce(&desk, name, 9, bytes, len).error_code;
    batch_builder_fini(&builder);
    return error;
}

/* Each request that goes to a partition's home. */
static void all_answer(const char *name, enum err wanted)
{
    struct question question;
    int64_t low_watermark;
    assert_int_equal(produce(name), wanted);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_brokers_partitions_are_not_unknown),
        cmocka_unit_test(records_do_not_wait_for_the_store),
        cmocka_unit_test(a_stop_does_not_wait_for_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
