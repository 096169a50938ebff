/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/core/batch_vectors.h"
#include "tests/unit/heap.h"

#define BYTES(text) ((struct bytes_or_null){.data = (text), .len = (int32_t)sizeof(text) - 1})

/* The same records as the independent client was given make the same bytes. */
static void test_same_bytes_as_a_real_client(void **state)
{
    (void)state;
    const struct record_header headers[] = {
        {.key = "trace", .key_len = 5, .value = (const uint8_t *)"\x01\x02", .value_len = 2},
        {.key = "empty", .key_len = 5, .value = (const uint8_t *)"", .value_len = 0},
        {.key = "null", .key_len = 4, .value = NULL, .value_len = -1},
    };
    const struct record_header last = {
        .key = "h", .key_len = 1, .value = (const uint8_t *)"v", .value_len = 1};
    struct batch_builder builder;
    batch_builder_init(&builder);
    for (int again = 0; again < 2; again++) {
        batch_builder_start(&builder);
        batch_builder_add(&builder, 1700000000000, BYTES("key-0"),
                          BYTES("value-0 value-0 value-0 value-0 value-0 value-0 "
                                "value-0 value-0 value-0 value-0 value-0 value-0 "),
                          headers, 3);
        batch_builder_add(&builder, 1700000000007, BYTES_NULL,
                          BYTES("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), NULL, 0);
        batch_builder_add(&builder, 1700000000003, BYTES(""), BYTES_NULL, NULL, 0);
        batch_builder_add(&builder, 1699999999990, BYTES("key-3"), BYTES(""), &last, 1);
        builder.header.producer_id = 4711;
        builder.header.producer_epoch = 2;
        builder.header.base_sequence = 9;
        /* That client sends leader epoch 0; it is the broker's field. */
        builder.header.leader_epoch = 0;
        const uint8_t *bytes;
        assert_int_equal(batch_builder_size(&builder), sizeof(vector_none));
        size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, CODEC_LEVEL_DEFAULT, &bytes);
        assert_int_equal(len, sizeof(vector_none));
        assert_memory_equal(bytes, vector_none, sizeof(vector_none));
    }
    batch_builder_fini(&builder);
}

static void test_gaps_and_flags(void **state)
{
    (void)state;
    struct batch_builder builder;
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    struct piece piece;
    const uint8_t *bytes;
    inflater_init(&inflater);
    batch_builder_init(&builder);
    builder.header.base_offset = 100;
    builder.header.attributes = BATCH_CONTROL | BATCH_TRANSACTIONAL;
    batch_builder_add(&builder, 5, BYTES("a"), BYTES("b"), NULL, 0);
    builder.next_delta = 10;
    batch_builder_add(&builder, BATCH_NO_TIMESTAMP, BYTES("c"), BYTES("d"), NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, CODEC_LEVEL_DEFAULT, &bytes);
    assert_true(
        record_iter_init(&iter, &inflater, span_of(&piece, bytes, (uint32_t)len), UINT64_MAX));
    assert_int_equal(iter.header.attributes, BATCH_CONTROL | BATCH_TRANSACTIONAL);
    assert_int_equal(batch_last_offset(&iter.header), 110);
    assert_int_equal(iter.header.max_timestamp, 5);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record.offset, 100);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record.offset, 110);
    assert_int_equal(record.timestamp, -1);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_END);
    record_iter_fini(&iter);
    batch_builder_fini(&builder);
    inflater_fini(&inflater);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_as_a_real_client),
        cmocka_unit_test(test_gaps_and_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
