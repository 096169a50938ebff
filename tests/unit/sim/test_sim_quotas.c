/* SPDX-License-Identifier: Apache-2.0
 *
 * Quotas as clients meet them (Q1-Q5): over connections on two shards, with answers that come at
 * once and connections that rest.
 */
#include "tests/unit/sim/desk_topics.h"

#define BATCH   20000
#define RATE    10000.0     /* bytes a second: ten seconds' worth are five batches */
#define GREED   (10 * RATE) /* where what a request is over the limit is little beside it */
#define SOON_MS 50U         /* what an answer takes here at most */
#define CLIENT  "desk"

enum part { USER, CLIENT_ID, IP };
static const char *const types[] = {"user", "client-id", "ip"};

static uint8_t batch[BATCH + 4096];
static size_t batch_len;

static uint64_t now_ms(const struct desk *desk)
{
    return world_now_ns(desk->world) / DESK_MS;
}

/* name NULL: the default. value 0: none any more. */
static int16_t quota(struct desk *desk, enum part part, const char *name, const char *key,
                     double value)
{
    return quota_ask(desk, types[part], name, key, value);
}

static void begin(struct desk *desk, uint64_t seed, uint16_t shards)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    static uint8_t value[BATCH];
    desk_begin(desk, seed);
    desk_set(desk, "connections.max.idle.ms", "-1");
    desk_broker_start(desk, shards);
    topic_create(desk, "t", NULL, 0);
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1700000000000, (struct bytes_or_null){NULL, -1},
                      (struct bytes_or_null){value, BATCH - 150}, NULL, 0);
    batch_len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    must(batch_len <= sizeof(batch));
    memcpy(batch, bytes, batch_len);
    batch_builder_fini(&builder);
}

static void produce_send(struct desk *desk, struct question *question, unsigned connection)
{
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, "t", 0, batch, batch_len);
    desk_send(desk, question, connection, KEY_PRODUCE, 9, &request);
}

/* How long the connection is to rest; the answer took *took_ms. */
static int32_t produce(struct desk *desk, unsigned connection, uint64_t *took_ms)
{
    struct question question;
    struct produce_response response;
    uint64_t began_ms = now_ms(desk);
    produce_send(desk, &question, connection);
    must(desk_answer(&question, &response));
    assert_int_equal(response.responses[0].partition_responses[0].error_code, ERR_NONE);
    *took_ms = now_ms(desk) - began_ms;
    return response.throttle_time_ms;
}

/* One quota over connections on both shards: what one has used the other may not, nobody waits for
 * an answer, and who was told to rest is not heard before. */
static void test_produce(void **state)
{
    (void)state;
    struct desk desk;
    uint64_t took_ms;
    begin(&desk, 1, 2);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(produce(&desk, i % 4, &took_ms), 0); /* no quota */
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "producer_byte_rate", RATE), ERR_NONE);
    int32_t rest[4] = {0};
    for (unsigned i = 0; i < 8; i++) {
        rest[i % 4] = produce(&desk, i % 4, &took_ms);
        assert_true(i < 4 || rest[i % 4] > 0 || i == 4);
        assert_true(took_ms <= SOON_MS);
        desk_pass(&desk, 1); /* the shards tell each other */
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(rest[i] > 0 || i == 0);
    /* Another client is not meant. */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(produce(&desk, DESK_ADMIN, &took_ms), 0);
    assert_true(took_ms <= SOON_MS);
    /* This one is heard when it has rested. */
    produce(&desk, 3, &took_ms);
    assert_in_range(took_ms, (uint64_t)rest[3] - 200, (uint64_t)rest[3] + SOON_MS);
    desk_end(&desk);
}

/* What greed over three connections on both shards has in a minute, in bytes a second. */
static double greed(struct desk *desk)
{
    uint64_t took_ms;
    unsigned batches = 0;
    const uint64_t end_ms = now_ms(desk) + 60000;
    while (now_ms(desk) < end_ms) {
        produce(desk, batches % 3, &took_ms);
        batches++;
    }
    return (double)batches * (double)batch_len / 60;
}

/* Ten seconds' worth come at once. */
static void check_greed(struct desk *desk)
{
    double per_s = greed(desk);
    assert_true(per_s > 0.9 * GREED && per_s < 1.25 * GREED);
}

/* Where shards do not tell each other, each of them has a quota. */
static void test_mistake(void **state)
{
    (void)state;
    struct desk desk;
    desk_mistake = "quota.of_a_shard";
    begin(&desk, 7, 2);
    desk_mistake = NULL;
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "producer_byte_rate", GREED), ERR_NONE);
    assert_true(greed(&desk) > 1.5 * GREED);
    desk_end(&desk);
}

static void test_greed(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 2, 2);
    assert_int_equal(quota(&desk, USER, NULL, "producer_byte_rate", GREED), ERR_NONE);
    check_greed(&desk);
    /* The broker remembers, and a limit that goes is gone at once. */
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 2);
    check_greed(&desk);
    assert_int_equal(quota(&desk, USER, NULL, "producer_byte_rate", 0), ERR_NONE);
    uint64_t took_ms;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(produce(&desk, i % 4, &took_ms), 0);
        assert_true(i < 4 || took_ms <= SOON_MS);
    }
    desk_end(&desk);
}

/* ---- fetch ---- */

static struct fetch_response fetch(struct desk *desk, unsigned connection, int32_t session,
                                   int32_t epoch)
{
    struct fetch_request_topic topic;
    struct fetch_request_partition part;
    struct fetch_request request = fetch_request_of(&topic, &part, 1, "t");
    struct fetch_response response;
    request.max_wait_ms = 100;
    request.session_id = session;
    request.session_epoch = epoch;
    request.topics_count = epoch <= 0;
    desk_ask(desk, connection, KEY_FETCH, 12, &request, &response);
    assert_int_equal(response.error_code, ERR_NONE);
    return response;
}

static uint32_t bytes_of(const struct fetch_response *response)
{
    return response->responses_count > 0 ? response->responses[0].partitions[0].records.span.len
                                         : 0;
}

/* Nothing is told over the quota, the session goes on, and never is more found than a quota that
 * nobody has used allows. */
static void test_fetch(void **state)
{
    (void)state;
    struct desk desk;
    uint64_t took_ms;
    begin(&desk, 3, 2);
    for (unsigned i = 0; i < 10; i++)
        produce(&desk, 0, &took_ms);
    struct fetch_response first = fetch(&desk, 1, 0, 0);
    assert_true(bytes_of(&first) > 2 * BATCH);
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "consumer_byte_rate", RATE), ERR_NONE);
    struct fetch_response second = fetch(&desk, 1, first.session_id, 1);
    assert_int_equal(second.throttle_time_ms, 0);
    assert_in_range(bytes_of(&second), 2 * BATCH, (uint32_t)(10 * RATE));
    struct fetch_response third = fetch(&desk, 1, first.session_id, 2);
    assert_true(third.throttle_time_ms > 0);
    assert_int_equal(third.responses_count, 0);
    assert_int_equal(third.session_id, first.session_id);
    uint64_t began_ms = now_ms(&desk);
    struct fetch_response fourth = fetch(&desk, 1, first.session_id, 3);
    assert_true(now_ms(&desk) - began_ms + 10 >= (uint64_t)third.throttle_time_ms);
    assert_int_equal(fourth.session_id, first.session_id);
    /* A full request over the quota has no session. */
    struct fetch_response fifth = fetch(&desk, 2, 0, 0);
    while (fifth.throttle_time_ms == 0)
        fifth = fetch(&desk, 2, 0, 0);
    assert_int_equal(fifth.session_id, 0);
    assert_int_equal(fifth.responses_count, 0);
    desk_end(&desk);
}

/* A batch that is more than ten seconds' worth is told to who has been silent, or it never were. */
static void test_large_batch(void **state)
{
    (void)state;
    struct desk desk;
    uint64_t took_ms;
    begin(&desk, 8, 2);
    produce(&desk, 0, &took_ms);
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "consumer_byte_rate", 1000), ERR_NONE);
    struct fetch_response response = fetch(&desk, 1, 0, -1);
    assert_int_equal(response.throttle_time_ms, 0);
    assert_true(bytes_of(&response) > BATCH / 2);
    response = fetch(&desk, 2, 0, -1);
    assert_true(response.throttle_time_ms > 10000);
    assert_int_equal(bytes_of(&response), 0);
    response = fetch(&desk, 2, 0, -1);
    assert_true(bytes_of(&response) > BATCH / 2);
    desk_end(&desk);
}

/* ---- the controller ---- */

static struct create_topics_response create(struct desk *desk, int16_t version, const char *name,
                                            int32_t partitions)
{
    struct create_topics_request_topic topic;
    struct create_topics_request request = topic_request(&topic, name, partitions);
    struct create_topics_response response;
    desk_ask(desk, 0, KEY_CREATE_TOPICS, version, &request, &response);
    return response;
}

static void test_mutations(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 4, 2);
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "controller_mutation_rate", 1), ERR_NONE);
    struct create_topics_response response = create(&desk, 7, "a", 15);
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    assert_int_equal(response.throttle_time_ms, 0);
    response = create(&desk, 7, "b", 1);
    assert_int_equal(response.topics[0].error_code, ERR_THROTTLING_QUOTA_EXCEEDED);
    assert_in_range(response.throttle_time_ms, 3000, 4000);
    response = create(&desk, 5, "c", 1); /* heard after the rest */
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    assert_in_range(response.throttle_time_ms, 1, 1100);
    desk_end(&desk);
}

/* ---- what a rest does not hold up ---- */

static void test_ends(void **state)
{
    (void)state;
    struct desk desk;
    uint64_t took_ms;
    begin(&desk, 5, 2);
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "producer_byte_rate", 1), ERR_NONE);
    assert_true(produce(&desk, 0, &took_ms) > 600000);
    uint64_t began_ms = now_ms(&desk);
    desk_broker_stop(&desk); /* not even the stop of the broker */
    assert_true(now_ms(&desk) - began_ms < 10000);
    /* Nor the limit on idle connections. */
    desk.node.setting_count = 0;
    desk_set(&desk, "connections.max.idle.ms", "30000");
    desk_broker_start(&desk, 2);
    assert_true(produce(&desk, 0, &took_ms) > 600000);
    desk_pass(&desk, 29000);
    assert_true(desk.ready > 0);
    desk_pass(&desk, 61000);
    assert_int_equal(desk.ready, 0);
    desk_end(&desk);
}

/* A request that came behind waits, and is answered. */
static void test_behind(void **state)
{
    (void)state;
    struct desk desk;
    struct question questions[4];
    struct produce_response response;
    begin(&desk, 6, 1);
    assert_int_equal(quota(&desk, CLIENT_ID, CLIENT, "producer_byte_rate", 1900), ERR_NONE);
    for (unsigned i = 0; i < 4; i++)
        produce_send(&desk, &questions[i], 0);
    int32_t rest_ms = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t began_ms = now_ms(&desk);
        must(desk_answer(&questions[i], &response));
        uint64_t took_ms = now_ms(&desk) - began_ms;
        assert_in_range(took_ms + 10, (uint64_t)rest_ms, (uint64_t)rest_ms + SOON_MS + 10);
        rest_ms = response.throttle_time_ms;
        assert_true(rest_ms > 0);
    }
    desk_end(&desk);
}

/* More than one request may alter: each is refused, and the connection goes on. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 10001 };
    static struct alter_client_quotas_request_entry entries[MANY];
    static struct alter_client_quotas_request_entity entities[MANY];
    static char names[MANY][8];
    struct desk desk;
    struct alter_client_quotas_request request;
    struct alter_client_quotas_response response;
    struct alter_client_quotas_request_op op = {.key = str_of("producer_byte_rate"), .value = 1};
    begin(&desk, 9, 2);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%u", i);
        entities[i].entity_type = str_of(types[USER]);
        entities[i].entity_name = str_of(names[i]);
        init_alter_client_quotas_request_entry(&entries[i]);
        entries[i].entity = &entities[i];
        entries[i].entity_count = 1;
        entries[i].ops = &op;
        entries[i].ops_count = 1;
    }
    init_alter_client_quotas_request(&request);
    request.entries = entries;
    request.entries_count = MANY;
    desk_ask(&desk, DESK_ADMIN, KEY_ALTER_CLIENT_QUOTAS, 1, &request, &response);
    assert_int_equal(response.entries_count, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(response.entries[i].error_code, ERR_POLICY_VIOLATION);
    assert_int_equal(quota(&desk, USER, names[0], "producer_byte_rate", 1), ERR_NONE);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce),   cmocka_unit_test(test_greed),
        cmocka_unit_test(test_fetch),     cmocka_unit_test(test_large_batch),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_behind),    cmocka_unit_test(test_mistake),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
