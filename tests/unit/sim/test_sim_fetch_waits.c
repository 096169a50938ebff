/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetches that wait: what they hold meanwhile, and what they answer then.
 */
#include "tests/unit/sim/desk_topics.h"

#define PARTITIONS 100
#define WAITERS    4U
#define PART_MOST  400U         /* bytes that a partition costs which has nothing new */
#define FETCH_MOST (12U << 10)  /* and a fetch, beside its partitions */
#define KEPT_MOST  (128U << 10) /* chunks and lists that are kept for the next ones */
#define LAST       (PARTITIONS - 1)

static uint8_t batch[4096];
static size_t batch_len;

static void begin(struct desk *desk, uint64_t seed, uint16_t shards)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    desk_begin(desk, seed);
    desk_broker_start(desk, shards);
    assert_int_equal(topic_ask(desk, "t", PARTITIONS), ERR_NONE);
    desk_pass(desk, 1000); /* what its logs do at their beginning is over */
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1700000000000, (struct bytes_or_null){NULL, -1},
                      (struct bytes_or_null){batch, 1000}, NULL, 0);
    batch_len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    must(batch_len <= sizeof(batch));
    memcpy(batch, bytes, batch_len);
    batch_builder_fini(&builder);
}

static void fetch_all(struct desk *desk, struct question *question, unsigned connection,
                      int32_t min_bytes, int32_t wait_ms)
{
    static struct fetch_request_partition parts[PARTITIONS];
    struct fetch_request_topic topic;
    struct fetch_request request = fetch_request_of(&topic, parts, PARTITIONS, "t");
    request.max_wait_ms = wait_ms;
    request.min_bytes = min_bytes;
    desk_send(desk, question, connection, KEY_FETCH, 12, &request);
}

static void produce(struct desk *desk, int32_t partition)
{
    struct question question;
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, "t", partition, batch, batch_len);
    desk_send(desk, &question, 0, KEY_PRODUCE, 9, &request);
    assert_int_equal(produce_answer(&question).error_code, ERR_NONE);
}

/* The batch, whole, and nothing else. */
static void expect_batch(struct question *question, int32_t partition)
{
    struct fetch_response response;
    must(desk_answer(question, &response));
    assert_int_equal(response.responses_count, 1);
    assert_int_equal(response.responses[0].partitions_count, PARTITIONS);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        const struct fetch_response_partition *part = &response.responses[0].partitions[i];
        assert_int_equal(part->error_code, ERR_NONE);
        assert_int_equal(part->partition_index, i);
        assert_int_equal(part->records.span.len, i == partition ? batch_len : 0);
    }
}

/* A consumer that has nothing to read costs little, and leaves nothing. */
static void wait_and_hear(struct desk *desk)
{
    struct question questions[WAITERS];
    uint64_t before = process_memory(desk->node.process);
    for (unsigned i = 0; i < WAITERS; i++)
        fetch_all(desk, &questions[i], 1 + i, 1, 60000);
    desk_pass(desk, 1000);
    for (unsigned i = 0; i < WAITERS; i++)
        assert_false(questions[i].done);
    assert_in_range(process_memory(desk->node.process) - before, 1,
                    WAITERS * (FETCH_MOST + PARTITIONS * PART_MOST));
    produce(desk, LAST);
    for (unsigned i = 0; i < WAITERS; i++)
        expect_batch(&questions[i], LAST);
    desk_pass(desk, 1000);
    assert_in_range(process_memory(desk->node.process), 1, before + KEPT_MOST);
}

static void test_memory(void **state)
{
    (void)state;
    for (uint16_t shards = 1; shards <= 3; shards++) {
        struct desk desk;
        begin(&desk, shards, shards);
        wait_and_hear(&desk);
        desk_end(&desk);
    }
}

/* What was found, and was too little to be told, is told when the time is up: with another home's
 * part, and after others have woken it. */
static void test_too_little(void **state)
{
    (void)state;
    for (uint16_t shards = 1; shards <= 3; shards++) {
        struct desk desk;
        struct question question;
        begin(&desk, 10 + shards, shards);
        produce(&desk, LAST);
        fetch_all(&desk, &question, 1, 1 << 16, 500);
        desk_pass(&desk, 300);
        assert_false(question.done);
        expect_batch(&question, LAST);
        fetch_all(&desk, &question, 1, (int32_t)(2 * batch_len), 60000);
        desk_pass(&desk, 300);
        assert_false(question.done);
        produce(&desk, 0);
        struct fetch_response response;
        must(desk_answer(&question, &response));
        assert_int_equal(response.responses[0].partitions[0].records.span.len, batch_len);
        assert_int_equal(response.responses[0].partitions[LAST].records.span.len, batch_len);
        desk_end(&desk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
