/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/crc.h"
#include "tests/unit/core/batch_vectors.h"
#include "tests/unit/heap.h"

static void test_header_of_a_real_client(void **state)
{
    (void)state;
    struct piece piece;
    struct span span = span_of(&piece, vector_lz4, sizeof(vector_lz4));
    struct batch_header header;
    assert_true(batch_header_read(&header, &span));
    assert_int_equal(header.base_offset, 0);
    assert_int_equal(batch_size(&header), sizeof(vector_lz4));
    assert_int_equal(header.magic, 2);
    assert_int_equal(header.crc, batch_crc(span));
    assert_int_equal(batch_codec(&header), CODEC_LZ4);
    assert_int_equal(header.attributes, CODEC_LZ4);
    assert_int_equal(header.last_offset_delta, 3);
    assert_int_equal(header.base_timestamp, 1700000000000);
    assert_int_equal(header.max_timestamp, 1700000000007);
    assert_int_equal(header.producer_id, 4711);
    assert_int_equal(header.producer_epoch, 2);
    assert_int_equal(header.base_sequence, 9);
    assert_int_equal(header.record_count, 4);
    uint8_t bytes[BATCH_HEADER_SIZE];
    batch_header_put(&header, bytes);
    assert_memory_equal(bytes, vector_lz4, BATCH_HEADER_SIZE);
    span.len = BATCH_HEADER_SIZE - 1;
    assert_false(batch_header_read(&header, &span));
}

static void test_negative_fields(void **state)
{
    (void)state;
    struct batch_header header = {.base_offset = INT64_MIN,
                                  .length = -1,
                                  .leader_epoch = -2,
                                  .magic = -3,
                                  .crc = 0xfedcba98,
                                  .attributes = 0xfff8,
                                  .last_offset_delta = -4,
                                  .base_timestamp = -5,
                                  .max_timestamp = -6,
                                  .producer_id = -7,
                                  .producer_epoch = -8,
                                  .base_sequence = -9,
                                  .record_count = -10};
    struct batch_header again;
    uint8_t bytes[BATCH_HEADER_SIZE];
    uint8_t bytes_again[BATCH_HEADER_SIZE];
    batch_header_put(&header, bytes);
    batch_header_of(&again, bytes);
    batch_header_put(&again, bytes_again);
    assert_memory_equal(bytes, bytes_again, BATCH_HEADER_SIZE);
    assert_int_equal(again.producer_id, -7);
    assert_int_equal(again.record_count, -10);
}

static void test_put_place_leaves_the_checksum(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(vector_gzip)];
    struct piece piece;
    struct batch_header header;
    memcpy(bytes, vector_gzip, sizeof(bytes));
    batch_put_place(bytes, 0x1122334455667788, 0x01020304);
    batch_header_of(&header, bytes);
    assert_int_equal(header.base_offset, 0x1122334455667788);
    assert_int_equal(header.leader_epoch, 0x01020304);
    assert_int_equal(header.crc, batch_crc(span_of(&piece, bytes, sizeof(bytes))));
    assert_memory_equal(bytes + 16, vector_gzip + 16, sizeof(bytes) - 16);
}

static void test_put_timestamp_moves_the_checksum(void **state)
{
    (void)state;
    uint8_t bytes[sizeof(vector_none)];
    struct piece piece;
    struct batch_header header;
    memcpy(bytes, vector_none, sizeof(bytes));
    batch_put_timestamp(bytes, true, 1234567890123);
    batch_header_of(&header, bytes);
    assert_int_equal(header.attributes, BATCH_LOG_APPEND_TIME);
    assert_int_equal(header.max_timestamp, 1234567890123);
    assert_int_equal(header.crc, batch_crc(span_of(&piece, bytes, sizeof(bytes))));
    assert_int_equal(batch_timestamp_of(&header, 5), 1234567890123);
    /* And back. */
    batch_put_timestamp(bytes, false, 1700000000007);
    assert_memory_equal(bytes, vector_none, sizeof(bytes));
    /* What was damaged before stays damaged. */
    bytes[100] ^= 1;
    batch_put_timestamp(bytes, true, 5);
    batch_header_of(&header, bytes);
    assert_int_not_equal(header.crc, batch_crc(span_of(&piece, bytes, sizeof(bytes))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_of_a_real_client),
        cmocka_unit_test(test_negative_fields),
        cmocka_unit_test(test_put_place_leaves_the_checksum),
        cmocka_unit_test(test_put_timestamp_moves_the_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
