/* SPDX-License-Identifier: Apache-2.0
 *
 * compression.type as clients see it (B1, B10, F12): batches that the broker writes in its topic's
 * codec, in their order, by their producer, and in bounded memory.
 */
#include "io/mem.h"
#include "tests/unit/sim/desk_batches.h"

#include <stdio.h>

/* Records that compress well and tell each other apart. */
static void make(struct made *made, enum codec codec, int32_t count, uint32_t value_len,
                 int32_t sequence)
{
    uint8_t *value = calloc(1, value_len + 16);
    static const struct record_header header = {
        .key = "h", .key_len = 1, .value = (const uint8_t *)"v", .value_len = 1};
    made_begin(made);
    for (int32_t i = 0; i < count; i++) {
        (void)snprintf((char *)value, 16, "%d-%d", sequence, i);
        batch_builder_add(&made->builder, 1000 + i, BYTES_NULL,
                          (struct bytes_or_null){value, (int32_t)value_len}, &header, i % 2);
    }
    if (sequence >= 0)
        made_is_of_producer(made, sequence);
    made_finish(made, codec);
    free(value);
}

static struct produce_response_partition send(struct desk *desk, const char *name, enum codec codec,
                                              int32_t count, uint32_t value_len)
{
    struct made made;
    make(&made, codec, count, value_len, -1);
    struct produce_response_partition answer = made_produce(desk, name, &made);
    made_fini(&made);
    return answer;
}

/* The batch that is stored at an offset has this codec and the records of `made`, by the same
 * producer; its size. */
static uint32_t check_stored(struct desk *desk, const char *name, int64_t offset, enum codec codec,
                             const struct made *made)
{
    struct piece piece;
    struct span batch;
    struct record_iter stored;
    struct record_iter sent;
    struct record a;
    struct record b;
    const struct batch_header header = batch_stored(desk, name, 12, offset, &batch);
    struct batch_header before;
    batch_header_of(&before, made->bytes);
    assert_int_equal(header.base_offset, offset);
    assert_int_equal(batch_codec(&header), codec);
    assert_int_equal(header.record_count, before.record_count);
    assert_int_equal(header.producer_id, before.producer_id);
    assert_int_equal(header.base_sequence, before.base_sequence);
    assert_int_equal(header.max_timestamp, before.max_timestamp);
    struct inflater inflaters[2];
    inflater_init(&inflaters[0]);
    inflater_init(&inflaters[1]);
    assert_true(record_iter_init(&stored, &inflaters[0], batch, 64U << 20));
    assert_true(record_iter_init(&sent, &inflaters[1],
                                 span_of(&piece, made->bytes, (uint32_t)made->len), 64U << 20));
    for (int32_t i = 0; i < header.record_count; i++) {
        assert_int_equal(record_iter_next(&stored, &a), RECORD_READY);
        assert_int_equal(record_iter_next(&sent, &b), RECORD_READY);
        assert_int_equal(a.offset, offset + i);
        assert_int_equal(a.timestamp, b.timestamp);
        assert_int_equal(a.value_len, b.value_len);
        assert_memory_equal(a.value, b.value, (size_t)b.value_len);
        assert_int_equal(a.headers_len, b.headers_len);
    }
    assert_int_equal(record_iter_next(&stored, &a), RECORD_END);
    record_iter_fini(&stored);
    record_iter_fini(&sent);
    inflater_fini(&inflaters[0]);
    inflater_fini(&inflaters[1]);
    return (uint32_t)batch_size(&header);
}

/* ---- what is stored ---- */

static void b10_every_codec_becomes_the_topic_s(void **state)
{
    static const char *const types[] = {"uncompressed", "gzip", "snappy", "lz4", "zstd"};
    struct desk desk;
    (void)state;
    desk_begin_small(&desk, 1);
    desk_broker_start(&desk, 2);
    for (enum codec to = CODEC_NONE; to <= CODEC_ZSTD; to++) {
        TOPIC(&desk, types[to], SET("compression.type", types[to]));
        for (enum codec from = CODEC_NONE; from <= CODEC_ZSTD; from++) {
            for (uint32_t value_len = 10; value_len < 20000; value_len *= 40) {
                struct made made;
                make(&made, from, 20, value_len, -1);
                struct produce_response_partition answer = made_produce(&desk, types[to], &made);
                assert_int_equal(answer.error_code, ERR_NONE);
                assert_int_equal(answer.log_append_time_ms, -1);
                (void)check_stored(&desk, types[to], answer.base_offset, to, &made);
                made_fini(&made);
            }
        }
    }
    desk_end(&desk);
}

/* As it was sent, byte for byte: the default, and a codec that the batch has already. */
static void b10_a_batch_in_the_right_codec_is_left_alone(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin_small(&desk, 2);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "producer", SET("compression.type", "producer"));
    TOPIC(&desk, "gzip", SET("compression.type", "gzip"), SET("compression.gzip.level", "9"));
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct made made;
        make(&made, codec, 5, 100, -1);
        struct produce_response_partition answer = made_produce(&desk, "producer", &made);
        assert_int_equal(check_stored(&desk, "producer", answer.base_offset, codec, &made),
                         made.len);
        if (codec == CODEC_GZIP) {
            answer = made_produce(&desk, "gzip", &made);
            assert_int_equal(check_stored(&desk, "gzip", answer.base_offset, codec, &made),
                             made.len);
        }
        made_fini(&made);
    }
    desk_end(&desk);
}

/* The broker's key is the default of topics, and both change while they live. */
static void b10_the_type_changes_while_the_topic_lives(void **state)
{
    struct desk desk;
    struct made made;
    (void)state;
    desk_begin_small(&desk, 3);
    desk_set(&desk, "compression.type", "lz4");
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "default", SET("retention.ms", "-1"));
    make(&made, CODEC_NONE, 10, 1000, -1);
    assert_int_equal(made_produce(&desk, "default", &made).error_code, ERR_NONE);
    (void)check_stored(&desk, "default", 0, CODEC_LZ4, &made);
    config_set(&desk, "default", "compression.type", "zstd");
    desk_pass(&desk, 100);
    assert_int_equal(made_produce(&desk, "default", &made).error_code, ERR_NONE);
    (void)check_stored(&desk, "default", 10, CODEC_ZSTD, &made);
    config_set(&desk, "default", "compression.type", "producer");
    desk_pass(&desk, 100);
    assert_int_equal(made_produce(&desk, "default", &made).error_code, ERR_NONE);
    (void)check_stored(&desk, "default", 20, CODEC_NONE, &made);
    made_fini(&made);
    desk_end(&desk);
}

static void b7_b10_a_codec_and_a_time(void **state)
{
    struct desk desk;
    struct span batch;
    (void)state;
    desk_begin_small(&desk, 4);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "both", SET("compression.type", "snappy"),
          SET("message.timestamp.type", "LogAppendTime"));
    struct produce_response_partition answer = send(&desk, "both", CODEC_GZIP, 10, 100);
    assert_int_equal(answer.error_code, ERR_NONE);
    const struct batch_header header = batch_stored(&desk, "both", 12, 0, &batch);
    assert_int_equal(batch_codec(&header), CODEC_SNAPPY);
    assert_true(header.attributes & BATCH_LOG_APPEND_TIME);
    assert_int_equal(header.max_timestamp, answer.log_append_time_ms);
    desk_end(&desk);
}

/* ---- order, producers ---- */

/* Many at once on one connection, of codecs that are and are not the topic's, small and large. */
static void b10_order_is_kept_and_duplicates_are_known(void **state)
{
    enum { COUNT = 40 };
    struct desk desk;
    struct made made[COUNT];
    static struct question questions[COUNT];
    (void)state;
    desk_begin_small(&desk, 5);
    desk_broker_start(&desk, 2);
    TOPIC(&desk, "order", SET("compression.type", "lz4"));
    int32_t sequence = 0;
    for (int32_t i = 0; i < COUNT; i++) {
        int32_t count = 1 + i % 3;
        make(&made[i],
             i % 4 == 0   ? CODEC_LZ4
             : i % 4 == 1 ? CODEC_NONE
                          : CODEC_GZIP,
             count, i % 5 == 0 ? 30000 : 50, sequence);
        sequence += count;
        produce_ask(&desk, &questions[i], "order", 9, made[i].bytes, made[i].len);
    }
    int64_t offset = 0;
    for (int32_t i = 0; i < COUNT; i++) {
        struct produce_response_partition answer = produce_answer(&questions[i]);
        assert_int_equal(answer.error_code, ERR_NONE);
        assert_int_equal(answer.base_offset, offset);
        (void)check_stored(&desk, "order", offset, CODEC_LZ4, &made[i]);
        offset += 1 + i % 3;
    }
    /* What is in the journal is what was made of it. */
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    (void)check_stored(&desk, "order", 0, CODEC_LZ4, &made[0]);
    (void)check_stored(&desk, "order", 1, CODEC_LZ4, &made[1]);
    struct produce_response_partition again = made_produce(&desk, "order", &made[COUNT - 2]);
    assert_int_equal(again.error_code, ERR_NONE);
    assert_int_equal(again.base_offset, offset - (1 + (COUNT - 1) % 3) - (1 + (COUNT - 2) % 3));
    assert_int_equal(offset_at(&desk, "order", LATEST), offset);
    for (int32_t i = 0; i < COUNT; i++)
        made_fini(&made[i]);
    desk_end(&desk);
}

/* More partitions of one shard than may compress at a time. */
static void many_partitions_take_turns(void **state)
{
    enum { TOPICS = 12, ROUNDS = 3 };
    struct desk desk;
    static struct question questions[TOPICS * ROUNDS];
    struct made made;
    char name[32];
    (void)state;
    desk_begin_small(&desk, 6);
    desk_broker_start(&desk, 1);
    make(&made, CODEC_NONE, 10, 5000, -1);
    for (unsigned i = 0; i < TOPICS; i++) {
        (void)snprintf(name, sizeof(name), "turn-%u", i);
        TOPIC(&desk, name, SET("compression.type", "gzip"));
    }
    for (unsigned i = 0; i < TOPICS * ROUNDS; i++) {
        (void)snprintf(name, sizeof(name), "turn-%u", i % TOPICS);
        produce_ask(&desk, &questions[i], name, 9, made.bytes, made.len);
    }
    for (unsigned i = 0; i < TOPICS * ROUNDS; i++) {
        (void)snprintf(name, sizeof(name), "turn-%u", i % TOPICS);
        struct produce_response_partition answer = produce_answer(&questions[i]);
        assert_int_equal(answer.error_code, ERR_NONE);
        assert_int_equal(answer.base_offset, (int64_t)(i / TOPICS * 10));
        (void)check_stored(&desk, name, answer.base_offset, CODEC_GZIP, &made);
    }
    made_fini(&made);
    desk_end(&desk);
}

/* ---- what takes long ---- */

/* One gzip record of so many bytes, all the same or of chance. */
static void make_one(struct made *made, uint32_t value_len, bool plain)
{
    uint8_t *value = calloc(1, value_len);
    uint32_t dice = 1;
    for (uint32_t i = 0; !plain && i < value_len; i++)
        value[i] = (uint8_t)((dice = dice * 1664525 + 1013904223) >> 24);
    made_begin(made);
    batch_builder_add(&made->builder, 1000, BYTES_NULL,
                      (struct bytes_or_null){value, (int32_t)value_len}, NULL, 0);
    made_finish(made, CODEC_GZIP);
    free(value);
}

static void ask_on(struct desk *desk, struct question *question, unsigned connection,
                   const char *name, const struct made *made)
{
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, name, 0, made->bytes, made->len);
    desk_send(desk, question, connection, KEY_PRODUCE, 9, &request);
}

/* The helper thread has several that inflate to 80 MB each, and then one that is what it seems. */
static void a_quick_check_passes_long_ones(void **state)
{
    enum { LONGS = 3 };
    struct desk desk;
    static struct question longs[LONGS], quick;
    struct made bomb, honest;
    char name[32];
    (void)state;
    desk_begin_small(&desk, 10);
    desk_broker_start(&desk, 1);
    make_one(&bomb, 80000000, true);
    make_one(&honest, 100000, false);
    assert_true(bomb.len > CODEC_SLICE_SIZE_MAX && honest.len > CODEC_SLICE_SIZE_MAX);
    TOPIC(&desk, "quick");
    for (unsigned i = 0; i < LONGS; i++) {
        (void)snprintf(name, sizeof(name), "long-%u", i);
        TOPIC(&desk, name);
    }
    for (unsigned i = 0; i < LONGS; i++) {
        (void)snprintf(name, sizeof(name), "long-%u", i);
        ask_on(&desk, &longs[i], i, name, &bomb);
    }
    ask_on(&desk, &quick, LONGS, "quick", &honest);
    assert_int_equal(produce_answer(&quick).error_code, ERR_NONE);
    for (unsigned i = 0; i < LONGS; i++)
        assert_false(longs[i].done);
    for (unsigned i = 0; i < LONGS; i++)
        assert_int_equal(produce_answer(&longs[i]).error_code, ERR_NONE);
    made_fini(&bomb);
    made_fini(&honest);
    desk_end(&desk);
}

/* ---- what is refused ---- */

static void what_inflates_beyond_reason_is_refused(void **state)
{
    struct desk desk;
    struct made bomb;
    (void)state;
    desk_begin_small(&desk, 11);
    desk_broker_start(&desk, 1);
    make_one(&bomb, 135000000, true);
    TOPIC(&desk, "usual", SET("segment.bytes", "16777216"));
    TOPIC(&desk, "large", SET("segment.bytes", "16777216"), SET("max.message.bytes", "4000000"));
    assert_int_equal(made_produce(&desk, "usual", &bomb).error_code, ERR_INVALID_RECORD);
    assert_int_equal(made_produce(&desk, "large", &bomb).error_code, ERR_NONE);
    made_fini(&bomb);
    desk_end(&desk);
}

static void b1_what_grows_too_large_is_refused(void **state)
{
    struct desk desk;
    struct made made;
    (void)state;
    desk_begin_small(&desk, 7);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "small", SET("compression.type", "uncompressed"),
          SET("max.message.bytes", "20000"));
    make(&made, CODEC_ZSTD, 10, 5000, -1);
    assert_true(made.len < 5000);
    struct produce_response_partition answer = made_produce(&desk, "small", &made);
    assert_int_equal(answer.error_code, ERR_MESSAGE_TOO_LARGE);
    assert_true(answer.error_message.len > 0);
    assert_int_equal(send(&desk, "small", CODEC_ZSTD, 3, 5000).error_code, ERR_NONE);
    /* B2, B11: what is wrong with a batch is found as ever. */
    uint8_t *broken = malloc(made.len);
    memcpy(broken, made.bytes, made.len);
    broken[made.len - 5] ^= 1;
    assert_int_equal(batch_produce(&desk, "small", 9, broken, made.len).error_code,
                     ERR_CORRUPT_MESSAGE);
    struct piece piece;
    struct batch_header header;
    batch_header_of(&header, broken);
    memset(broken + BATCH_HEADER_SIZE + 20, 0x55, 20);
    header.crc = batch_crc(span_of(&piece, broken, (uint32_t)made.len));
    batch_header_put(&header, broken);
    assert_int_equal(batch_produce(&desk, "small", 9, broken, made.len).error_code,
                     ERR_INVALID_RECORD);
    assert_int_equal(offset_at(&desk, "small", LATEST), 3);
    free(broken);
    made_fini(&made);
    desk_end(&desk);
}

static void f12_old_consumers_do_not_get_zstd(void **state)
{
    struct desk desk;
    struct question question;
    (void)state;
    desk_begin_small(&desk, 8);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "new", SET("compression.type", "zstd"));
    TOPIC(&desk, "old", SET("compression.type", "gzip"));
    assert_int_equal(send(&desk, "new", CODEC_NONE, 3, 10).error_code, ERR_NONE);
    assert_int_equal(send(&desk, "old", CODEC_NONE, 3, 10).error_code, ERR_NONE);
    for (int16_t version = 4; version <= 12; version++) {
        fetch_ask(&desk, &question, "new", version, 0, 0);
        assert_int_equal(fetch_answer(&question).error_code,
                         version < 10 ? ERR_UNSUPPORTED_COMPRESSION_TYPE : ERR_NONE);
        fetch_ask(&desk, &question, "old", version, 0, 0);
        assert_int_equal(fetch_answer(&question).error_code, ERR_NONE);
    }
    desk_end(&desk);
}

static void levels_are_obeyed(void **state)
{
    struct desk desk;
    uint32_t sizes[2];
    struct made made;
    (void)state;
    desk_begin_small(&desk, 9);
    desk_broker_start(&desk, 1);
    TOPIC(&desk, "fast", SET("compression.type", "zstd"), SET("compression.zstd.level", "-100"));
    TOPIC(&desk, "small", SET("compression.type", "zstd"), SET("compression.zstd.level", "19"));
    make(&made, CODEC_NONE, 300, 60, -1);
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "fast" : "small";
        assert_int_equal(made_produce(&desk, name, &made).error_code, ERR_NONE);
        sizes[i] = check_stored(&desk, name, 0, CODEC_ZSTD, &made);
    }
    assert_true(sizes[1] < sizes[0]);
    made_fini(&made);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b10_every_codec_becomes_the_topic_s),
        cmocka_unit_test(b10_a_batch_in_the_right_codec_is_left_alone),
        cmocka_unit_test(b10_the_type_changes_while_the_topic_lives),
        cmocka_unit_test(b7_b10_a_codec_and_a_time),
        cmocka_unit_test(b10_order_is_kept_and_duplicates_are_known),
        cmocka_unit_test(many_partitions_take_turns),
        cmocka_unit_test(a_quick_check_passes_long_ones),
        cmocka_unit_test(what_inflates_beyond_reason_is_refused),
        cmocka_unit_test(b1_what_grows_too_large_is_refused),
        cmocka_unit_test(f12_old_consumers_do_not_get_zstd),
        cmocka_unit_test(levels_are_obeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
