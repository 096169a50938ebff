/* SPDX-License-Identifier: Apache-2.0
 *
 * ElectLeaders, DescribeProducers and DescribeTopicPartitions as clients see them: what one node
 * answers (R9, KIP-664, KIP-966).
 */
#include "tests/unit/sim/desk_topics.h"

#define NOWHERE "no-such-topic"

static void topics_create(struct desk *desk, const char *const *names, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        assert_int_equal(topic_ask(desk, names[i], 3), ERR_NONE);
    desk_pass(desk, 10);
}

static void begin(struct desk *desk, uint64_t seed)
{
    static const char *const names[] = {"first", "second"};
    desk_begin(desk, seed);
    desk_set(desk, "connections.max.idle.ms", "-1");
    desk_broker_start(desk, 2);
    topics_create(desk, names, 2);
}

/* ---- elections ---- */

static void elect(struct desk *desk, int16_t version, int8_t type,
                  struct elect_leaders_request_topic_partition *named, int32_t count,
                  struct elect_leaders_response *response)
{
    struct elect_leaders_request request;
    init_elect_leaders_request(&request);
    request.election_type = type;
    request.topic_partitions = named;
    request.topic_partitions_count = count;
    desk_ask(desk, 0, KEY_ELECT_LEADERS, version, &request, response);
}

static void test_elections(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 1);
    int32_t partitions[] = {0, 2, 3, -1};
    struct elect_leaders_request_topic_partition named[] = {
        {.topic = str_of("second"), .partitions = partitions, .partitions_count = 4},
        {.topic = str_of(NOWHERE), .partitions = partitions, .partitions_count = 1},
        {.topic = str_of("first"), .partitions = partitions, .partitions_count = 0},
    };
    static const int16_t wanted[] = {ERR_ELECTION_NOT_NEEDED, ERR_ELECTION_NOT_NEEDED,
                                     ERR_UNKNOWN_TOPIC_OR_PARTITION,
                                     ERR_UNKNOWN_TOPIC_OR_PARTITION};
    for (int16_t version = 0; version <= 2; version++)
        for (int type = 0; type <= (version > 0); type++) {
            struct elect_leaders_response response;
            elect(&desk, version, (int8_t)type, named, 3, &response);
            assert_int_equal(response.error_code, ERR_NONE);
            assert_int_equal(response.replica_election_results_count, 3);
            const struct elect_leaders_response_replica_election_result *results =
                response.replica_election_results;
            assert_true(str_equal(results[0].topic, str_of("second")));
            assert_int_equal(results[0].partition_result_count, 4);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(results[0].partition_result[i].partition_id, partitions[i]);
                assert_int_equal(results[0].partition_result[i].error_code, wanted[i]);
            }
            assert_int_equal(results[1].partition_result[0].error_code,
                             ERR_UNKNOWN_TOPIC_OR_PARTITION);
            assert_int_equal(results[2].partition_result_count, 0);
        }
    desk_end(&desk);
}

/* All: what has its leader is not named. */
static void test_elections_of_all(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 2);
    for (int16_t version = 0; version <= 2; version++) {
        struct elect_leaders_response response;
        elect(&desk, version, 0, NULL, -1, &response);
        assert_int_equal(response.error_code, ERR_NONE);
        assert_int_equal(response.replica_election_results_count, 0);
    }
    struct elect_leaders_response response;
    elect(&desk, 2, 7, NULL, -1, &response);
    assert_int_equal(response.error_code, ERR_INVALID_REQUEST);
    elect(&desk, 2, 0, NULL, 0, &response);
    assert_int_equal(response.error_code, ERR_NONE);
    assert_int_equal(response.replica_election_results_count, 0);
    desk_end(&desk);
}

/* ---- producers ---- */

static void produce(struct desk *desk, int64_t producer_id, int16_t epoch, int32_t sequence,
                    int64_t timestamp, int32_t partition)
{
    struct one_batch one;
    struct produce_response response;
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    builder.header.producer_id = producer_id;
    builder.header.producer_epoch = epoch;
    builder.header.base_sequence = sequence;
    for (int i = 0; i < 5; i++)
        batch_builder_add(&builder, timestamp, (struct bytes_or_null){(const uint8_t *)"key", 3},
                          (struct bytes_or_null){(const uint8_t *)"value", 5}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    struct produce_request request = produce_request_of(&one, "first", partition, bytes, len);
    desk_ask(desk, 0, KEY_PRODUCE, 9, &request, &response);
    assert_int_equal(response.responses[0].partition_responses[0].error_code, ERR_NONE);
    batch_builder_fini(&builder);
}

static int64_t producer_id(struct desk *desk)
{
    struct init_producer_id_request request;
    struct init_producer_id_response response;
    init_init_producer_id_request(&request);
    request.transactional_id = str_null();
    desk_ask(desk, 0, KEY_INIT_PRODUCER_ID, 1, &request, &response);
    assert_int_equal(response.error_code, ERR_NONE);
    return response.producer_id;
}

static void check_two(struct desk *desk, const int64_t *ids, int64_t now_ms)
{
    const struct describe_producers_response_partition *found = producers_ask(desk, "first", 1);
    assert_int_equal(found->error_code, ERR_NONE);
    assert_int_equal(found->active_producers_count, 2);
    for (int i = 0; i < 2; i++) {
        const struct describe_producers_response_active_producer *producer =
            &found->active_producers[i];
        bool is_first = producer->producer_id == ids[0];
        assert_int_equal(producer->producer_id, ids[is_first ? 0 : 1]);
        assert_int_equal(producer->producer_epoch, is_first ? 0 : 3);
        assert_int_equal(producer->last_sequence, is_first ? 9 : 4);
        assert_int_equal(producer->last_timestamp, now_ms + (is_first ? 7 : 1));
        assert_int_equal(producer->coordinator_epoch, -1);
        assert_int_equal(producer->current_txn_start_offset, -1);
    }
}

/* Also after restarts: what a log remembers is a part of it. */
static void test_producers(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 3);
    int64_t ids[2] = {producer_id(&desk), producer_id(&desk)};
    const int64_t now_ms = 1700000000000;
    produce(&desk, -1, -1, -1, now_ms, 1); /* one that is not idempotent is nobody */
    assert_int_equal(producers_ask(&desk, "first", 1)->active_producers_count, 0);
    produce(&desk, ids[0], 0, 0, now_ms, 1);
    produce(&desk, ids[1], 3, 0, now_ms + 1, 1);
    produce(&desk, ids[0], 0, 5, now_ms + 7, 1);
    check_two(&desk, ids, now_ms);
    assert_int_equal(producers_ask(&desk, "first", 0)->active_producers_count, 0);
    assert_int_equal(producers_ask(&desk, "first", 0)->error_code, ERR_NONE);
    assert_int_equal(producers_ask(&desk, "first", 3)->error_code, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(producers_ask(&desk, NOWHERE, 0)->error_code, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 1);
    check_two(&desk, ids, now_ms);
    desk_broker_crash(&desk, CRASH_KILL);
    desk_broker_start(&desk, 2);
    check_two(&desk, ids, now_ms);
    desk_end(&desk);
}

/* A sweep comes every five minutes; the second one has written later. */
static void i8_who_has_not_written_for_a_day_is_forgotten(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 4);
    int64_t ids[2] = {producer_id(&desk), producer_id(&desk)};
    produce(&desk, ids[0], 0, 0, 1700000000000, 1);
    desk_pass(&desk, 3600000);
    produce(&desk, ids[1], 0, 0, 1700000000000, 1);
    desk_pass(&desk, 86400000 - 3600000 - 60000);
    assert_int_equal(producers_ask(&desk, "first", 1)->active_producers_count, 2);
    desk_pass(&desk, 600000);
    const struct describe_producers_response_partition *found = producers_ask(&desk, "first", 1);
    assert_int_equal(found->active_producers_count, 1);
    assert_int_equal(found->active_producers[0].producer_id, ids[1]);
    desk_pass(&desk, 3600000);
    assert_int_equal(producers_ask(&desk, "first", 1)->active_producers_count, 0);
    desk_end(&desk);
}

/* ---- topics ---- */

/* Kafka collects the names in a set: each topic once, in order; a refusal names each once, too. */
static void test_topics_named_twice(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 5);
    struct describe_topic_partitions_request_topic named[] = {{.name = str_of("second")},
                                                              {.name = str_of(NOWHERE)},
                                                              {.name = str_of("first")},
                                                              {.name = str_of("second")},
                                                              {.name = str_of(NOWHERE)}};
    struct describe_topic_partitions_request request;
    struct describe_topic_partitions_response response;
    init_describe_topic_partitions_request(&request);
    request.topics = named;
    request.topics_count = 5;
    request.response_partition_limit = 2000;
    desk_ask(&desk, 0, KEY_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
    assert_int_equal(response.topics_count, 3);
    assert_true(str_equal(response.topics[0].name, str_of("first")));
    assert_true(str_equal(response.topics[1].name, str_of(NOWHERE)));
    assert_int_equal(response.topics[1].error_code, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_true(str_equal(response.topics[2].name, str_of("second")));
    assert_int_equal(response.topics[2].partitions_count, 3);
    request.has_cursor = true;
    request.cursor.topic_name = str_of("elsewhere");
    desk_ask(&desk, 0, KEY_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
    assert_int_equal(response.topics_count, 3);
    assert_int_equal(response.topics[0].error_code, ERR_INVALID_REQUEST);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elections),
        cmocka_unit_test(test_elections_of_all),
        cmocka_unit_test(test_producers),
        cmocka_unit_test(test_topics_named_twice),
        cmocka_unit_test(i8_who_has_not_written_for_a_day_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
