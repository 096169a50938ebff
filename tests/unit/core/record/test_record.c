/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/record/batch_builder.h"
#include "tests/unit/core/batch_vectors.h"
#include "tests/unit/heap.h"

struct vector {
    const uint8_t *bytes;
    uint32_t len;
};

static const struct vector vectors[CODEC_COUNT] = {
    {vector_none, sizeof(vector_none)},     {vector_gzip, sizeof(vector_gzip)},
    {vector_snappy, sizeof(vector_snappy)}, {vector_lz4, sizeof(vector_lz4)},
    {vector_zstd, sizeof(vector_zstd)},
};

static void assert_bytes(const void *bytes, int32_t len, const char *expected)
{
    if (expected == NULL) {
        assert_int_equal(len, -1);
        assert_null(bytes);
        return;
    }
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(bytes, expected, (size_t)len);
}

/* The records that batch_vectors.h says are inside. */
static void assert_vector_records(struct inflater *inflater, struct span span)
{
    struct record_iter iter;
    struct record record;
    struct record_header header;
    assert_true(record_iter_init(&iter, inflater, span, 10000));

    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record.offset, 0);
    assert_int_equal(record.timestamp, 1700000000000);
    assert_bytes(record.key, record.key_len, "key-0");
    assert_int_equal(record.value_len, 96);
    assert_memory_equal(record.value, "value-0 value-0 ", 16);
    assert_int_equal(record.header_count, 3);
    assert_true(record_header_next(&record, &header));
    assert_bytes(header.key, header.key_len, "trace");
    assert_bytes(header.value, header.value_len, "\x01\x02");
    assert_true(record_header_next(&record, &header));
    assert_bytes(header.key, header.key_len, "empty");
    assert_bytes(header.value, header.value_len, "");
    assert_true(record_header_next(&record, &header));
    assert_bytes(header.key, header.key_len, "null");
    assert_bytes(header.value, header.value_len, NULL);
    assert_false(record_header_next(&record, &header));

    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record.offset, 1);
    assert_int_equal(record.timestamp, 1700000000007);
    assert_bytes(record.key, record.key_len, NULL);
    assert_bytes(record.value, record.value_len, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_bytes(record.key, record.key_len, "");
    assert_bytes(record.value, record.value_len, NULL);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record.timestamp, 1699999999990);
    assert_bytes(record.key, record.key_len, "key-3");
    assert_bytes(record.value, record.value_len, "");
    assert_true(record_header_next(&record, &header));
    assert_int_equal(record_iter_next(&iter, &record), RECORD_END);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_END);
    record_iter_fini(&iter);
}

static void test_iter_reads_a_real_client(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        const struct vector *vector = &vectors[codec];
        for (uint32_t cut = 1; cut <= vector->len; cut++) {
            uint8_t *left = malloc(cut);
            memcpy(left, vector->bytes, cut);
            struct piece pieces[] = {{left, cut}, {vector->bytes + cut, vector->len - cut}};
            assert_vector_records(&inflater, (struct span){.piece = pieces, .len = vector->len});
            free(left);
        }
    }
    inflater_fini(&inflater);
}

static void test_iter_refuses(void **state)
{
    (void)state;
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    struct piece piece;
    inflater_init(&inflater);
    for (uint32_t len = 0; len < sizeof(vector_none); len++)
        assert_false(record_iter_init(&iter, &inflater, span_of(&piece, vector_none, len), 10000));
    uint8_t *bytes = malloc(sizeof(vector_none));
    memcpy(bytes, vector_none, sizeof(vector_none));
    /* Fewer and more records than there are. */
    for (int count = 0; count < 8; count++) {
        bytes[BATCH_AT_RECORD_COUNT + 3] = (uint8_t)count;
        enum record_status status;
        int seen = 0;
        assert_true(
            record_iter_init(&iter, &inflater, span_of(&piece, bytes, sizeof(vector_none)), 10000));
        while ((status = record_iter_next(&iter, &record)) == RECORD_READY)
            seen++;
        assert_int_equal(status, count == 4 ? RECORD_END : RECORD_BROKEN);
        assert_true(seen <= count && seen <= 4);
        record_iter_fini(&iter);
    }
    assert_true(record_iter_init(&iter, &inflater, span_of(&piece, bytes, sizeof(vector_none)),
                                 sizeof(vector_none) - BATCH_HEADER_SIZE - 1));
    assert_int_equal(record_iter_next(&iter, &record), RECORD_TOO_LARGE);
    record_iter_fini(&iter);
    free(bytes);
    inflater_fini(&inflater);
}

/* The only record claims 1 GiB; what is allocated follows what is there. */
static void test_iter_memory_follows_the_bytes(void **state)
{
    (void)state;
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    inflater_init(&inflater);
    uint8_t bytes[BATCH_HEADER_SIZE + 200] = {0};
    struct batch_header header = {
        .length = (int32_t)sizeof(bytes) - 12, .magic = BATCH_MAGIC, .record_count = 1};
    batch_header_put(&header, bytes);
    (void)record_put_varint(bytes + BATCH_HEADER_SIZE, 1 << 30);
    struct piece pieces[] = {{bytes, 100}, {bytes + 100, sizeof(bytes) - 100}};
    struct span span = {.piece = pieces, .len = sizeof(bytes)};
    assert_true(record_iter_init(&iter, &inflater, span, UINT64_MAX));
    assert_int_equal(record_iter_next(&iter, &record), RECORD_BROKEN);
    assert_true(iter.whole_cap < 4096);
    record_iter_fini(&iter);
    inflater_fini(&inflater);
}

/* One record's parse, all at once, and a byte at a time. */
static enum record_status parse(const uint8_t *bytes, size_t len, struct record_shape *shape)
{
    struct record_parser at_once = {0};
    struct record_parser by_byte = {0};
    const uint8_t *at = bytes;
    enum record_status status = record_parse(&at_once, &at, bytes + len);
    const uint8_t *end = at;
    enum record_status other = RECORD_MORE;
    for (at = bytes; at < bytes + len && other == RECORD_MORE;)
        other = record_parse(&by_byte, &at, at + 1);
    assert_int_equal(status, other);
    if (status == RECORD_READY) {
        assert_ptr_equal(at, end);
        assert_memory_equal(&at_once.shape, &by_byte.shape, sizeof(*shape));
    }
    *shape = at_once.shape;
    return status;
}

static void test_parser(void **state)
{
    (void)state;
    struct record_shape shape;
    /* length 9, attributes, time -1, offset 2, key "k", value null, one header "" = null */
    const uint8_t good[] = {18, 0x80, 1, 4, 2, 'k', 1, 2, 0, 1};
    assert_int_equal(parse(good, sizeof(good), &shape), RECORD_READY);
    assert_int_equal(shape.size, 9);
    assert_int_equal(shape.attributes, 0x80);
    assert_int_equal(shape.timestamp_delta, -1);
    assert_int_equal(shape.offset_delta, 2);
    assert_int_equal(shape.key_len, 1);
    assert_int_equal(shape.key_at, 4);
    assert_int_equal(shape.value_len, -1);
    assert_int_equal(shape.value_at, 6);
    assert_int_equal(shape.header_count, 1);
    assert_int_equal(shape.headers_at, 7);
    for (size_t len = 0; len < sizeof(good); len++)
        assert_int_equal(parse(good, len, &shape), RECORD_MORE);

    const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x00", 1},                           /* length 0 */
        {"\x01", 1},                           /* length -1 */
        {"\x0a\0\0\0\x01\x01\0", 7},           /* length 5, holds 6 */
        {"\x0e\0\0\0\x01\x01\0\0", 8},         /* length 7, holds 6 */
        {"\x0c\0\0\0\x03\x01\0", 7},           /* key length -2 */
        {"\x0c\0\0\0\x01\x03\0", 7},           /* value length -2 */
        {"\x0c\0\0\0\x01\x01\x01", 7},         /* header count -1 */
        {"\x0c\0\0\0\x01\x01\x02", 7},         /* a header, but no bytes for it */
        {"\x10\0\0\0\x01\x01\x02\x01\x01", 9}, /* header key null */
        {"\x10\0\0\0\x01\x01\x02\x00\x03", 9}, /* header value length -2 */
        {"\x0c\0\0\0\x0a\x01\0", 7},           /* key longer than the record */
        {"\xff\xff\xff\xff\xff\x01", 6},       /* varint of six bytes */
        {"\x20\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01\x01\0", 17}, /* of eleven */
    };
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(parse((const uint8_t *)bad[i].bytes, bad[i].len, &shape), RECORD_BROKEN);
}

static void test_varints(void **state)
{
    (void)state;
    const int64_t times[] = {0,         -1,        1,         63,        -64,          64,
                             INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT64_MAX - 1};
    for (size_t i = 0; i < array_count(times); i++) {
        uint8_t bytes[32];
        uint8_t body[31];
        uint32_t len = 0;
        body[len++] = 0;
        len += record_put_varint(body + len, times[i]);
        len += record_put_varint(body + len, INT32_MIN);
        len += record_put_varint(body + len, -1);
        len += record_put_varint(body + len, -1);
        len += record_put_varint(body + len, 0);
        uint32_t head = record_put_varint(bytes, len);
        memcpy(bytes + head, body, len);
        struct record_shape shape;
        assert_int_equal(parse(bytes, head + len, &shape), RECORD_READY);
        assert_true(shape.timestamp_delta == times[i]);
        assert_int_equal(shape.offset_delta, INT32_MIN);
    }
}

static void test_find(void **state)
{
    (void)state;
    struct inflater inflater;
    struct record_find find;
    struct piece piece;
    inflater_init(&inflater);
    const struct {
        int64_t target, from;
        enum record_status status;
        int64_t offset, timestamp;
    } cases[] = {
        {0, 0, RECORD_READY, 0, 1700000000000},
        {1700000000001, 0, RECORD_READY, 1, 1700000000007},
        {1700000000001, 2, RECORD_READY, 2, 1700000000003},
        {1700000000007, 0, RECORD_READY, 1, 1700000000007},
        {1700000000008, 0, RECORD_END, -1, -1},
        {0, 3, RECORD_READY, 3, 1699999999990},
        {0, 4, RECORD_END, -1, -1},
    };
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        for (size_t i = 0; i < array_count(cases); i++) {
            assert_true(record_find_start(&find, &inflater,
                                          span_of(&piece, vectors[codec].bytes, vectors[codec].len),
                                          cases[i].target, cases[i].from, 10000));
            enum record_status status;
            do {
                status = record_find_step(&find, 1);
            } while (status == RECORD_MORE);
            assert_int_equal(status, cases[i].status);
            assert_int_equal(find.offset, cases[i].offset);
            assert_int_equal(find.timestamp, cases[i].timestamp);
        }
    }
    /* With the broker's clock every record has the batch's time, so the first is the one. */
    uint8_t bytes[sizeof(vector_none)];
    memcpy(bytes, vector_none, sizeof(bytes));
    batch_put_timestamp(bytes, true, 1800000000000);
    batch_put_place(bytes, 500, 1);
    assert_true(record_find_start(&find, &inflater, span_of(&piece, bytes, sizeof(bytes)),
                                  1800000000000, 0, 10000));
    assert_int_equal(record_find_step(&find, 100), RECORD_READY);
    assert_int_equal(find.offset, 500);
    assert_int_equal(find.timestamp, 1800000000000);
    inflater_fini(&inflater);
}

/* Offsets beyond the last one wrap; they come from damaged headers only. */
static void test_offsets_wrap(void **state)
{
    (void)state;
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    struct record_find find;
    struct piece piece;
    uint8_t bytes[sizeof(vector_none)];
    inflater_init(&inflater);
    memcpy(bytes, vector_none, sizeof(bytes));
    batch_put_place(bytes, INT64_MAX, 1);
    struct span span = span_of(&piece, bytes, sizeof(bytes));
    assert_true(record_iter_init(&iter, &inflater, span, 10000));
    assert_true(batch_last_offset(&iter.header) == INT64_MIN + 2);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
    assert_true(record.offset == INT64_MIN);
    record_iter_fini(&iter);
    assert_true(record_find_start(&find, &inflater, span, INT64_MAX, 0, 10000));
    assert_int_equal(record_find_step(&find, 10), RECORD_END);
    inflater_fini(&inflater);
}

/* Records of any size around the slice's come back as they went in. */
static void test_large_records(void **state)
{
    (void)state;
    struct inflater inflater;
    struct deflater deflater;
    struct batch_builder builder;
    inflater_init(&inflater);
    deflater_init(&deflater);
    batch_builder_init(&builder);
    enum { COUNT = 9 };
    const int32_t sizes[COUNT] = {0, 65500, 65536, 1, 200000, 65535, 131072, 7, 1000000};
    uint8_t *noise = malloc(1000000);
    uint32_t seed = 3;
    for (int i = 0; i < 1000000; i++)
        noise[i] = (uint8_t)((seed = seed * 1664525U + 1013904223U) >> (i & 2 ? 24 : 30));
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        batch_builder_start(&builder);
        for (int i = 0; i < COUNT; i++)
            batch_builder_add(&builder, i, (struct bytes_or_null){noise, sizes[COUNT - 1 - i] / 3},
                              (struct bytes_or_null){noise, sizes[i]}, NULL, 0);
        const uint8_t *bytes;
        size_t len = batch_builder_finish(&builder, &deflater, (enum codec)codec,
                                          CODEC_LEVEL_DEFAULT, &bytes);
        struct piece piece;
        struct record_iter iter;
        struct record record;
        assert_true(
            record_iter_init(&iter, &inflater, span_of(&piece, bytes, (uint32_t)len), 1U << 30));
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(record_iter_next(&iter, &record), RECORD_READY);
            assert_int_equal(record.offset, i);
            assert_int_equal(record.key_len, sizes[COUNT - 1 - i] / 3);
            assert_int_equal(record.value_len, sizes[i]);
            assert_memory_equal(record.key, noise, (size_t)record.key_len);
            assert_memory_equal(record.value, noise, (size_t)record.value_len);
        }
        assert_int_equal(record_iter_next(&iter, &record), RECORD_END);
        record_iter_fini(&iter);
    }
    free(noise);
    batch_builder_fini(&builder);
    deflater_fini(&deflater);
    inflater_fini(&inflater);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iter_reads_a_real_client),
        cmocka_unit_test(test_iter_refuses),
        cmocka_unit_test(test_iter_memory_follows_the_bytes),
        cmocka_unit_test(test_parser),
        cmocka_unit_test(test_varints),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_offsets_wrap),
        cmocka_unit_test(test_large_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
