/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time of requests goes (net/request_time.h), of a whole broker in the simulated world,
 * whose network and disk take what they are told to: each kind of wait is found under its name,
 * the steps add up to the total to the nanosecond, and the total is what the client has waited but
 * for the way there and back.
 */
#include "core/broker.h"
#include "tests/sim/world_store.h"
#include "tests/unit/sim/desk_topics.h"

#define NET_MAX    (200 * US)  /* one way, world_options_calm() */
#define FLUSH_MIN  (15 * US)   /* a write and its flush take more */
#define HICCUP     (1000 * US) /* a turn of the broker in which its clock leaps */
#define PARTITIONS 12
#define WAIT_MS    500
#define BATCH      200U

static uint8_t batch[BATCH + 1024];
static size_t batch_len;

static void batch_make(void)
{
    static uint8_t value[BATCH];
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1700000000000, BYTES_NULL,
                      (struct bytes_or_null){value, (int32_t)sizeof(value)}, NULL, 0);
    batch_len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    must(batch_len <= sizeof(batch));
    memcpy(batch, bytes, batch_len);
    batch_builder_fini(&builder);
}

static void begin(struct desk *desk, uint64_t seed, uint16_t shards)
{
    desk_begin(desk, seed);
    desk_broker_start(desk, shards);
    assert_int_equal(topic_ask(desk, "t", PARTITIONS), ERR_NONE);
    desk_pass(desk, 100);
    batch_make();
}

/* ---- what the broker has counted ---- */

struct look {
    struct durations total;
    struct durations steps[REQUEST_STEP_COUNT];
};

/* All shards; each time, that the steps add up. */
static struct look look(const struct desk *desk, enum request_family family)
{
    struct look sum = {0};
    for (uint16_t s = 0; s < desk->node.shards; s++) {
        const struct broker_shard *bs = broker_shard_of(process_shard(desk->node.process, s));
        const struct request_times *times = &bs->net.times_of[family];
        uint64_t steps_ns = 0;
        durations_merge(&sum.total, &times->total);
        for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
            request_times_merge(times, (enum request_step)i, &sum.steps[i]);
            steps_ns += times->steps[i].sum_ns;
        }
        assert_int_equal(steps_ns, times->total.sum_ns);
    }
    return sum;
}

/* What has come since `before`; the broker hears last that an answer has left. */
static struct look since(struct desk *desk, enum request_family family, const struct look *before)
{
    desk_pass(desk, 10);
    struct look now = look(desk, family);
    durations_subtract(&now.total, &before->total);
    for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
        durations_subtract(&now.steps[i], &before->steps[i]);
        assert_int_equal(now.steps[i].count, now.total.count);
    }
    return now;
}

static uint64_t step_ns(const struct look *of, enum request_step step)
{
    return of->steps[step].sum_ns;
}

/* ---- requests ---- */

static void produce_send(struct desk *desk, struct question *question, int32_t partition)
{
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, "t", partition, batch, batch_len);
    desk_send(desk, question, 0, KEY_PRODUCE, 9, &request);
}

/* How long its client has waited. */
static uint64_t produce(struct desk *desk, int32_t partition)
{
    struct question question;
    const uint64_t asked_ns = world_now_ns(desk->world);
    produce_send(desk, &question, partition);
    assert_int_equal(produce_answer(&question).error_code, ERR_NONE);
    return world_now_ns(desk->world) - asked_ns;
}

/* Everything from the start of all partitions. */
static void fetch_send(struct desk *desk, struct question *question)
{
    static struct fetch_request_partition parts[PARTITIONS];
    struct fetch_request_topic topic;
    struct fetch_request request = fetch_request_of(&topic, parts, PARTITIONS, "t");
    request.max_wait_ms = WAIT_MS;
    desk_send(desk, question, 1, KEY_FETCH, 12, &request);
}

static void fetch_end(struct question *question)
{
    struct fetch_response response;
    must(desk_answer(question, &response));
}

/* ---- tests ---- */

static void test_produce(void **state)
{
    (void)state;
    const uint64_t count = 2 * PARTITIONS;
    for (uint16_t shards = 1; shards <= 3; shards++) {
        struct desk desk;
        begin(&desk, shards, shards);
        const struct look before = look(&desk, FAMILY_PRODUCE);
        uint64_t client_ns = 0;
        for (uint64_t i = 0; i < count; i++)
            client_ns += produce(&desk, (int32_t)(i % PARTITIONS));
        const struct look of = since(&desk, FAMILY_PRODUCE, &before);
        assert_int_equal(of.total.count, count);
        assert_true(of.total.sum_ns + count * 2 * NET_MAX + HICCUP > client_ns);
        assert_true(of.total.sum_ns < client_ns + HICCUP);
        assert_true(step_ns(&of, STEP_JOURNAL) > count * FLUSH_MIN);
        assert_true(step_ns(&of, STEP_JOURNAL) > of.total.sum_ns / 2);
        assert_true(step_ns(&of, STEP_WORK) > 0 && step_ns(&of, STEP_SEND) > 0);
        assert_int_equal(step_ns(&of, STEP_PARK), 0);
        assert_int_equal(step_ns(&of, STEP_THROTTLE), 0);
        assert_int_equal(step_ns(&of, STEP_REPLICATION), 0); /* there is one replica */
        desk_end(&desk);
    }
}

/* Until somebody writes, or the time is up. */
static void test_park(void **state)
{
    (void)state;
    for (uint16_t shards = 1; shards <= 3; shards++) {
        for (unsigned woken = 0; woken <= 1; woken++) {
            struct desk desk;
            struct question question;
            begin(&desk, 10 + shards, shards);
            const struct look before = look(&desk, FAMILY_FETCH);
            fetch_send(&desk, &question);
            desk_pass(&desk, 200);
            if (woken)
                produce(&desk, PARTITIONS - 1);
            fetch_end(&question);
            const struct look of = since(&desk, FAMILY_FETCH, &before);
            const uint64_t parked_ms = woken ? 200 : WAIT_MS;
            assert_int_equal(of.total.count, 1);
            assert_in_range(step_ns(&of, STEP_PARK), (parked_ms - 2) * DESK_MS,
                            (parked_ms + 2) * DESK_MS);
            assert_true(of.total.sum_ns - step_ns(&of, STEP_PARK) < 2 * DESK_MS);
            assert_int_equal(step_ns(&of, STEP_JOURNAL), 0);
            desk_end(&desk);
        }
    }
}

/* What is there is not waited for. */
static void test_fetch(void **state)
{
    (void)state;
    struct desk desk;
    struct question question;
    begin(&desk, 20, 2);
    produce(&desk, 0);
    const struct look before = look(&desk, FAMILY_FETCH);
    fetch_send(&desk, &question);
    fetch_end(&question);
    const struct look of = since(&desk, FAMILY_FETCH, &before);
    assert_int_equal(of.total.count, 1);
    assert_int_equal(step_ns(&of, STEP_PARK), 0);
    assert_true(of.total.sum_ns < 2 * DESK_MS);
    desk_end(&desk);
}

static void send_three(struct shard *sh, void *argument)
{
    struct question *questions = argument;
    for (unsigned i = 0; i < 3; i++)
        desk_do_send(sh, &questions[i]);
}

/* The first question is on its way at once, and what is asked meanwhile leaves in one send: the
 * broker takes both batches in before it begins with one. */
static void produce_two(struct desk *desk, struct question questions[3])
{
    struct metadata_request metadata;
    struct one_batch one[2];
    struct produce_request requests[2];
    init_metadata_request(&metadata);
    questions[0] =
        (struct question){.desk = desk, .key = KEY_METADATA, .version = 9, .request = &metadata};
    for (unsigned i = 0; i < 2; i++) {
        requests[i] = produce_request_of(&one[i], "t", 0, batch, batch_len);
        questions[i + 1] = (struct question){
            .desk = desk, .key = KEY_PRODUCE, .version = 9, .request = &requests[i]};
    }
    process_call(desk->process, 0, send_three, questions);
    desk_until(desk, desk_is_sent, &questions[2]);
    struct metadata_response response;
    must(desk_answer(&questions[0], &response));
}

/* The first of two batches is over the quota, and the second one waits for that. */
static void test_throttle(void **state)
{
    (void)state;
    struct desk desk;
    struct question questions[3];
    struct produce_response response;
    begin(&desk, 30, 1);
    /* What a second has; ten seconds' worth may come at once. */
    assert_int_equal(quota_ask(&desk, "client-id", "desk", "producer_byte_rate", BATCH / 20.0),
                     ERR_NONE);
    const struct look before = look(&desk, FAMILY_PRODUCE);
    produce_two(&desk, questions);
    must(desk_answer(&questions[1], &response));
    const uint64_t rest_ns = (uint32_t)response.throttle_time_ms * DESK_MS;
    assert_true(rest_ns > 1000 * DESK_MS);
    must(desk_answer(&questions[2], &response));
    const struct look of = since(&desk, FAMILY_PRODUCE, &before);
    assert_int_equal(of.total.count, 2);
    assert_in_range(step_ns(&of, STEP_THROTTLE), rest_ns - DESK_MS, rest_ns + DESK_MS);
    assert_true(of.total.sum_ns - step_ns(&of, STEP_THROTTLE) < 10 * DESK_MS);
    desk_end(&desk);
}

static bool is_ready(void *argument)
{
    return ((struct node *)argument)->ready;
}

static bool is_gone(void *argument)
{
    return !node_runs(argument);
}

/* Of a topic that both brokers have, a partition that the first one leads; -1: it leads none. */
static int32_t own_partition(struct desk *desk)
{
    struct create_topics_request_topic topic;
    struct create_topics_request request = topic_request(&topic, "t", PARTITIONS);
    struct create_topics_response response;
    topic.replication_factor = 2;
    desk_ask(desk, 0, KEY_CREATE_TOPICS, 5, &request, &response);
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    desk_pass(desk, 1000);
    struct metadata_response metadata = metadata_ask(desk, 0, "t", 9);
    for (int32_t i = 0; i < PARTITIONS; i++)
        if (metadata.topics[0].partitions[i].leader_id == 1)
            return metadata.topics[0].partitions[i].partition_index;
    return -1;
}

/* Beside the journal's there is the wait for the other broker, whose fetches are no consumer's. */
static void test_replication(void **state)
{
    (void)state;
    struct desk desk;
    struct node second;
    desk_begin(&desk, 40);
    struct store_sim *store = store_of_world(desk.world, 0);
    node_init(&second, desk.world, world_machine(desk.world, "second"));
    second.id = 2;
    desk.node.store = second.store = store;
    desk_broker_start(&desk, 2);
    assert_true(node_start(&second, 1));
    desk_until(&desk, is_ready, &second);
    desk_pass(&desk, 100);
    batch_make();
    const int32_t own = own_partition(&desk);
    assert_true(own >= 0);
    const struct look before = look(&desk, FAMILY_PRODUCE);
    const struct look fetched = look(&desk, FAMILY_FOLLOWER_FETCH);
    for (unsigned i = 0; i < 20; i++)
        produce(&desk, own);
    const struct look of = since(&desk, FAMILY_PRODUCE, &before);
    assert_int_equal(of.total.count, 20);
    assert_true(step_ns(&of, STEP_REPLICATION) > 20 * FLUSH_MIN); /* it flushes, too */
    assert_true(step_ns(&of, STEP_JOURNAL) > 20 * FLUSH_MIN);
    const struct look fetches = since(&desk, FAMILY_FOLLOWER_FETCH, &fetched);
    assert_true(fetches.total.count >= 20 && step_ns(&fetches, STEP_PARK) > 0);
    assert_int_equal(look(&desk, FAMILY_FETCH).total.count, 0);
    node_stop(&second);
    desk_until(&desk, is_gone, &second);
    desk_end(&desk);
    store_sim_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce),     cmocka_unit_test(test_park),
        cmocka_unit_test(test_fetch),       cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_replication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
