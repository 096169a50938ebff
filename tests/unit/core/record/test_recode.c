/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches in another codec (B10), and the compressing streams under them.
 */
#include "core/record/recode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/record/batch_builder.h"
#include "io/mem.h"

#define LIMIT (64U << 20)

/* Half noise, half repetition. */
static uint8_t *sample(size_t len)
{
    uint8_t *data = malloc(len + 1);
    uint32_t seed = 7;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525U + 1013904223U;
        data[i] = (i >> 9) & 1 ? (uint8_t)(seed >> 24) : (uint8_t)(i % 13);
    }
    return data;
}

static void check_inflates_to(enum codec codec, const uint8_t *bytes, size_t bytes_len,
                              const uint8_t *data, size_t len)
{
    struct inflater inflater;
    struct piece piece;
    size_t at = 0;
    inflater_init(&inflater);
    inflater_start(&inflater, codec, span_of(&piece, bytes, (uint32_t)bytes_len), LIMIT);
    for (;;) {
        const uint8_t *slice;
        uint32_t slice_len;
        enum inflate_status status = inflater_next(&inflater, &slice, &slice_len);
        if (status != INFLATE_SLICE) {
            assert_int_equal(status, INFLATE_END);
            break;
        }
        assert_true(at + slice_len <= len);
        assert_memory_equal(slice, data + at, slice_len);
        at += slice_len;
    }
    assert_int_equal(at, len);
    inflater_fini(&inflater);
}

/* ---- streams ---- */

static void streams_of_any_size_and_slices(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 32767, 32768, 32769, 65536, 200000, 3000000};
    static const size_t slices[] = {1, 1000, 32768, 65536};
    struct deflater deflater;
    uint8_t *data = sample(3000000);
    (void)state;
    deflater_init(&deflater);
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        for (unsigned i = 0; i < array_count(sizes) * array_count(slices); i++) {
            size_t size = sizes[i / array_count(slices)];
            size_t slice = slices[i % array_count(slices)];
            if (slice == 1 && size > 100000)
                continue;
            deflater_start(&deflater, codec, CODEC_LEVEL_DEFAULT, size, 61, LIMIT);
            for (size_t at = 0; at < size; at += slice)
                assert_true(deflater_put(&deflater, data + at, min_u64(slice, size - at)));
            size_t len;
            uint8_t *out = deflater_end(&deflater, &len);
            assert_non_null(out);
            assert_true(len >= 61);
            if (codec != CODEC_NONE && size > 60000)
                assert_true(len < size * 7 / 10);
            check_inflates_to(codec, out + 61, len - 61, data, size);
            mem_free(out);
        }
    }
    deflater_fini(&deflater);
    free(data);
}

/* What a stream may become is bounded, to the byte, and the deflater is as good as before. */
static void streams_end_at_their_limit(void **state)
{
    struct deflater deflater;
    uint8_t *data = sample(500000);
    (void)state;
    deflater_init(&deflater);
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        size_t whole = 0;
        size_t limit = LIMIT;
        for (int round = 0; round < 4; round++) {
            size_t len;
            bool more = true;
            deflater_start(&deflater, codec, 1, 500000, 10, limit);
            for (size_t at = 0; at < 500000 && more; at += 50000)
                more = deflater_put(&deflater, data + at, 50000);
            uint8_t *out = deflater_end(&deflater, &len);
            if (round == 0)
                whole = len;
            assert_int_equal(out != NULL, limit >= whole);
            assert_int_equal(len, limit >= whole ? whole : 0);
            mem_free(out);
            limit = round == 0 ? whole : round == 1 ? whole - 1 : 20;
        }
    }
    deflater_fini(&deflater);
    free(data);
}

static void levels_count(void **state)
{
    static const struct {
        enum codec codec;
        int low, high;
    } rows[] = {{CODEC_GZIP, 1, 9}, {CODEC_LZ4, CODEC_LEVEL_DEFAULT, 12}, {CODEC_ZSTD, -50, 19}};
    struct deflater deflater;
    uint8_t *data = sample(400000);
    (void)state;
    for (size_t i = 0; i < 400000; i++)
        data[i] = (uint8_t)((data[i] % 3) * (i % 7));
    deflater_init(&deflater);
    for (unsigned i = 0; i < array_count(rows); i++) {
        size_t sizes[2];
        for (int high = 0; high < 2; high++) {
            deflater_start(&deflater, rows[i].codec, high ? rows[i].high : rows[i].low, 400000, 0,
                           LIMIT);
            assert_true(deflater_put(&deflater, data, 400000));
            uint8_t *out = deflater_end(&deflater, &sizes[high]);
            check_inflates_to(rows[i].codec, out, sizes[high], data, 400000);
            mem_free(out);
        }
        assert_true(sizes[1] < sizes[0]);
    }
    deflater_fini(&deflater);
    free(data);
}

/* ---- batches ---- */

struct fixture {
    struct batch_builder builder;
    struct deflater deflater;
    struct inflater inflater;
    struct piece piece;
    const uint8_t *bytes;
    size_t len, plain_len;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    batch_builder_init(&fx->builder);
    deflater_init(&fx->deflater);
    inflater_init(&fx->inflater);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    batch_builder_fini(&fx->builder);
    deflater_fini(&fx->deflater);
    inflater_fini(&fx->inflater);
    free(fx);
    return 0;
}

static void build(struct fixture *fx, enum codec codec, int32_t count, uint32_t value_len)
{
    uint8_t *value = sample(value_len);
    static const struct record_header header = {
        .key = "h", .key_len = 1, .value = NULL, .value_len = -1};
    batch_builder_start(&fx->builder);
    fx->builder.header.producer_id = 4711;
    fx->builder.header.producer_epoch = 3;
    fx->builder.header.base_sequence = 17;
    for (int32_t i = 0; i < count; i++)
        batch_builder_add(&fx->builder, 5000 + i * 7, BYTES_NULL,
                          (struct bytes_or_null){value, (int32_t)value_len}, &header, i % 2);
    fx->plain_len = batch_builder_size(&fx->builder) - BATCH_HEADER_SIZE;
    fx->len =
        batch_builder_finish(&fx->builder, &fx->deflater, codec, CODEC_LEVEL_DEFAULT, &fx->bytes);
    free(value);
}

static struct recode run(struct fixture *fx, enum codec codec, uint32_t bytes_max)
{
    struct recode recode = {.batch = span_of(&fx->piece, fx->bytes, (uint32_t)fx->len),
                            .codec = codec,
                            .level = CODEC_LEVEL_DEFAULT,
                            .bytes_max = bytes_max,
                            .plain_bytes = fx->plain_len};
    recode_run(&recode, &fx->inflater, &fx->deflater);
    return recode;
}

static void b10_from_every_codec_to_every_other(void **state)
{
    struct fixture *fx = *state;
    for (enum codec from = CODEC_NONE; from <= CODEC_ZSTD; from++) {
        for (enum codec to = CODEC_NONE; to <= CODEC_ZSTD; to++) {
            build(fx, from, 300, 700);
            struct batch_header before;
            struct batch_header after;
            batch_header_of(&before, fx->bytes);
            struct recode recode = run(fx, to, LIMIT);
            assert_int_equal(recode.status, RECODE_OK);
            batch_header_of(&after, recode.bytes);
            assert_int_equal(batch_codec(&after), to);
            assert_int_equal(batch_size(&after), recode.len);
            struct piece piece;
            assert_int_equal(batch_crc(span_of(&piece, recode.bytes, recode.len)), after.crc);
            /* Nothing else in the header has changed. */
            after.crc = before.crc;
            after.length = before.length;
            after.attributes = before.attributes;
            uint8_t headers[2][BATCH_HEADER_SIZE];
            batch_header_put(&after, headers[0]);
            batch_header_put(&before, headers[1]);
            assert_memory_equal(headers[0], headers[1], BATCH_HEADER_SIZE);
            uint8_t *bytes = recode.bytes;
            uint32_t len = recode.len;
            build(fx, CODEC_NONE, 300, 700);
            check_inflates_to(to, bytes + BATCH_HEADER_SIZE, len - BATCH_HEADER_SIZE,
                              fx->bytes + BATCH_HEADER_SIZE, fx->len - BATCH_HEADER_SIZE);
            mem_free(bytes);
        }
    }
}

/* A little that inflates to much has no more room than its topic gives it. */
static void b1_the_new_size_is_bounded(void **state)
{
    struct fixture *fx = *state;
    build(fx, CODEC_ZSTD, 300, 700);
    struct recode recode = run(fx, CODEC_NONE, 100000);
    assert_int_equal(recode.status, RECODE_TOO_LARGE);
    assert_null(recode.bytes);
    recode = run(fx, CODEC_NONE, (uint32_t)fx->plain_len + BATCH_HEADER_SIZE);
    assert_int_equal(recode.status, RECODE_OK);
    mem_free(recode.bytes);
    recode = run(fx, CODEC_NONE, (uint32_t)fx->plain_len + BATCH_HEADER_SIZE - 1);
    assert_int_equal(recode.status, RECODE_TOO_LARGE);
}

static void what_does_not_inflate_is_refused(void **state)
{
    struct fixture *fx = *state;
    build(fx, CODEC_GZIP, 300, 700);
    uint8_t *bytes = malloc(fx->len);
    memcpy(bytes, fx->bytes, fx->len);
    bytes[fx->len / 2] ^= 0x55;
    fx->bytes = bytes;
    assert_int_equal(run(fx, CODEC_LZ4, LIMIT).status, RECODE_BROKEN);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_of_any_size_and_slices),
        cmocka_unit_test(streams_end_at_their_limit),
        cmocka_unit_test(levels_count),
        cmocka_unit_test_setup_teardown(b10_from_every_codec_to_every_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b1_the_new_size_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_inflate_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
