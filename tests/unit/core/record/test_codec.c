/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/deflate.h"

#include <lz4frame.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#include "tests/unit/core/batch_vectors.h"
#include "tests/unit/heap.h"

/* What came out of a stream, and how it ended. */
struct output {
    enum inflate_status status;
    uint8_t *bytes;
    size_t len;
    uint32_t slice_max;
};

static struct output inflate_span(struct inflater *inflater, enum codec codec, struct span span,
                                  uint64_t limit)
{
    struct output output = {0};
    size_t cap = 1024;
    output.bytes = malloc(cap);
    inflater_start(inflater, codec, span, limit);
    for (;;) {
        const uint8_t *data;
        uint32_t len;
        output.status = inflater_next(inflater, &data, &len);
        if (output.status != INFLATE_SLICE) {
            assert_int_equal(len, 0);
            assert_int_equal(inflater_next(inflater, &data, &len), output.status);
            return output;
        }
        assert_true(len <= CODEC_SLICE_SIZE_MAX);
        if (output.len + len > cap)
            output.bytes = realloc(output.bytes, cap = (output.len + len) * 2);
        if (len > 0)
            memcpy(output.bytes + output.len, data, len);
        output.len += len;
        assert_true(output.len <= limit);
        if (len > output.slice_max)
            output.slice_max = len;
    }
}

static struct output inflate_all(struct inflater *inflater, enum codec codec, const uint8_t *data,
                                 size_t len, uint64_t limit)
{
    struct piece piece;
    return inflate_span(inflater, codec, span_of(&piece, data, (uint32_t)len), limit);
}

static enum inflate_status status_of(struct inflater *inflater, enum codec codec,
                                     const uint8_t *data, size_t len, uint64_t limit)
{
    struct output output = inflate_all(inflater, codec, data, len, limit);
    free(output.bytes);
    return output.status;
}

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

static size_t deflate_to(uint8_t **to, enum codec codec, const uint8_t *data, size_t len)
{
    struct deflater deflater;
    deflater_init(&deflater);
    *to = malloc(deflate_bound(codec, len) + 1);
    size_t packed = deflater_run(&deflater, codec, CODEC_LEVEL_DEFAULT, data, len, *to);
    assert_true(packed <= deflate_bound(codec, len));
    deflater_fini(&deflater);
    return packed;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    const size_t sizes[] = {0,     1,     2,     100,    32767,  32768,  32769,
                            65535, 65536, 65537, 131072, 300000, 5000000};
    for (size_t i = 0; i < array_count(sizes); i++) {
        uint8_t *data = sample(sizes[i]);
        for (int codec = 0; codec < CODEC_COUNT; codec++) {
            uint8_t *packed;
            size_t len = deflate_to(&packed, (enum codec)codec, data, sizes[i]);
            struct output output = inflate_all(&inflater, (enum codec)codec, packed, len, sizes[i]);
            assert_int_equal(output.status, INFLATE_END);
            assert_int_equal(output.len, sizes[i]);
            assert_memory_equal(output.bytes, data, sizes[i]);
            free(output.bytes);
            if (sizes[i] > 0)
                assert_int_equal(status_of(&inflater, (enum codec)codec, packed, len, sizes[i] - 1),
                                 INFLATE_TOO_LARGE);
            free(packed);
        }
        free(data);
    }
    inflater_fini(&inflater);
}

static void test_levels(void **state)
{
    (void)state;
    struct inflater inflater;
    struct deflater deflater;
    inflater_init(&inflater);
    deflater_init(&deflater);
    uint8_t *data = sample(100000);
    const int levels[] = {1, 9, 22, -5, 1000, CODEC_LEVEL_DEFAULT};
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        uint8_t *packed = malloc(deflate_bound((enum codec)codec, 100000));
        for (size_t i = 0; i < array_count(levels); i++) {
            size_t len =
                deflater_run(&deflater, (enum codec)codec, levels[i], data, 100000, packed);
            struct output output = inflate_all(&inflater, (enum codec)codec, packed, len, 100000);
            assert_int_equal(output.status, INFLATE_END);
            assert_memory_equal(output.bytes, data, 100000);
            free(output.bytes);
        }
        free(packed);
    }
    free(data);
    deflater_fini(&deflater);
    inflater_fini(&inflater);
}

static void test_pieces(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 70000, PIECE = 97 };
    uint8_t *data = sample(LEN);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        size_t len = deflate_to(&packed, (enum codec)codec, data, LEN);
        struct piece *pieces = calloc(len / PIECE + 1, sizeof(*pieces));
        for (size_t at = 0, i = 0; at < len; at += PIECE, i++)
            pieces[i] = (struct piece){.data = packed + at,
                                       .len = (uint32_t)(len - at < PIECE ? len - at : PIECE)};
        struct span span = {.piece = pieces, .len = (uint32_t)len};
        struct output output = inflate_span(&inflater, (enum codec)codec, span, LEN);
        assert_int_equal(output.status, INFLATE_END);
        assert_int_equal(output.len, LEN);
        assert_memory_equal(output.bytes, data, LEN);
        free(output.bytes);
        free(pieces);
        free(packed);
    }
    free(data);
    inflater_fini(&inflater);
}

/* Not one byte less is a whole stream, save where snappy's framing ends a block. */
static void test_truncated(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 3000 };
    uint8_t *data = sample(LEN);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        size_t len = deflate_to(&packed, (enum codec)codec, data, LEN);
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *part = malloc(cut + 1);
            memcpy(part, packed, cut);
            enum inflate_status status =
                status_of(&inflater, (enum codec)codec, part, cut, (size_t)LEN * 2);
            bool block_end = codec == CODEC_SNAPPY && (cut == 0 || cut == 16);
            if (!block_end)
                assert_int_equal(status, INFLATE_BROKEN);
            free(part);
        }
        free(packed);
    }
    free(data);
    inflater_fini(&inflater);
}

static void test_bit_flips(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 700 };
    uint8_t *data = sample(LEN);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        size_t len = deflate_to(&packed, (enum codec)codec, data, LEN);
        for (size_t bit = 0; bit < len * 8; bit++) {
            packed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            /* The limit is asserted inside. */
            (void)status_of(&inflater, (enum codec)codec, packed, len, 100000);
            packed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        }
        assert_int_equal(status_of(&inflater, (enum codec)codec, packed, len, LEN), INFLATE_END);
        free(packed);
    }
    free(data);
    inflater_fini(&inflater);
}

static void test_what_follows_the_end(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 1000 };
    uint8_t *data = sample(LEN);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        size_t len = deflate_to(&packed, (enum codec)codec, data, LEN);
        uint8_t *twice = malloc(2 * len);
        memcpy(twice, packed, len);
        memcpy(twice + len, packed, len);
        struct output output =
            inflate_all(&inflater, (enum codec)codec, twice, 2 * len, (size_t)LEN * 3);
        if (codec == CODEC_GZIP || codec == CODEC_ZSTD) {
            assert_int_equal(output.status, INFLATE_END);
            assert_int_equal(output.len, 2 * LEN);
            assert_memory_equal(output.bytes + LEN, data, LEN);
        } else {
            assert_int_equal(output.status, INFLATE_BROKEN);
        }
        free(output.bytes);
        twice[len] = 0x55;
        assert_int_equal(status_of(&inflater, (enum codec)codec, twice, len + 1, (size_t)LEN * 3),
                         INFLATE_BROKEN);
        free(twice);
        free(packed);
    }
    free(data);
    inflater_fini(&inflater);
}

static void test_snappy_framings(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    struct output output = inflate_all(&inflater, CODEC_SNAPPY, vector_raw_snappy_block,
                                       sizeof(vector_raw_snappy_block), 196);
    assert_int_equal(output.status, INFLATE_END);
    assert_int_equal(output.len, 196);
    assert_memory_equal(output.bytes, "value-0 value-0 ", 16);
    free(output.bytes);
    assert_int_equal(status_of(&inflater, CODEC_SNAPPY, vector_raw_snappy_block,
                               sizeof(vector_raw_snappy_block), 195),
                     INFLATE_TOO_LARGE);
    /* A block that claims 2 GiB but has five bytes is not believed, whatever the limit. */
    const uint8_t lie[] = {0xff, 0xff, 0xff, 0xff, 0x07, 0, 'a'};
    assert_int_equal(status_of(&inflater, CODEC_SNAPPY, lie, sizeof(lie), UINT64_MAX),
                     INFLATE_BROKEN);
    assert_true(inflater.block_cap < 1 << 20);
    /* A newer framing than ours. */
    const uint8_t newer[] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 2, 0, 0, 0, 2};
    assert_int_equal(status_of(&inflater, CODEC_SNAPPY, newer, sizeof(newer), 100), INFLATE_BROKEN);
    inflater_fini(&inflater);
}

static void test_lz4_dependent_blocks_are_refused(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 2000000 };
    uint8_t *data = sample(LEN);
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockLinked}};
    size_t room = LZ4F_compressFrameBound(LEN, &preferences);
    uint8_t *packed = malloc(room);
    size_t len = LZ4F_compressFrame(packed, room, data, LEN, &preferences);
    assert_int_equal(status_of(&inflater, CODEC_LZ4, packed, len, LEN), INFLATE_BROKEN);
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max4MB;
    preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    preferences.frameInfo.contentSize = LEN;
    len = LZ4F_compressFrame(packed, room, data, LEN, &preferences);
    assert_int_equal(status_of(&inflater, CODEC_LZ4, packed, len, LEN), INFLATE_END);
    assert_null(inflater.lz4);
    free(packed);
    free(data);
    inflater_fini(&inflater);
}

static size_t zstd_with_window(uint8_t *to, size_t room, const uint8_t *data, size_t len, int log)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
    ZSTD_inBuffer in = {.src = data, .size = len};
    ZSTD_outBuffer out = {.dst = to, .size = room};
    /* In two steps, so that the frame cannot know its size and has to claim its window. */
    assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)));
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    return out.pos;
}

static void test_zstd_windows(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    uint8_t data[1000] = {1};
    uint8_t packed[2000];
    size_t len = zstd_with_window(packed, sizeof(packed), data, sizeof(data), 21);
    assert_int_equal(status_of(&inflater, CODEC_ZSTD, packed, len, 1000), INFLATE_END);
    assert_non_null(inflater.zstd);
    /* What level 22 uses is read, but the context is not kept. */
    len = zstd_with_window(packed, sizeof(packed), data, sizeof(data), 27);
    assert_int_equal(status_of(&inflater, CODEC_ZSTD, packed, len, 1000), INFLATE_END);
    assert_null(inflater.zstd);
    len = zstd_with_window(packed, sizeof(packed), data, sizeof(data), 28);
    assert_int_equal(status_of(&inflater, CODEC_ZSTD, packed, len, 1000), INFLATE_BROKEN);
    inflater_fini(&inflater);
}

/* 100 MB of zeros stop at the limit, after little work and with little memory. */
static void test_bombs(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 100000000, LIMIT = 1000000 };
    uint8_t *zeros = calloc(1, LEN);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        size_t len = deflate_to(&packed, (enum codec)codec, zeros, LEN);
        struct output output = inflate_all(&inflater, (enum codec)codec, packed, len, LIMIT);
        assert_int_equal(output.status, INFLATE_TOO_LARGE);
        assert_true(output.len <= LIMIT);
        free(output.bytes);
        free(packed);
    }
    free(zeros);
    inflater_fini(&inflater);
}

/* Input that yields nothing does not hold the caller for longer than a slice of it. */
static void test_empty_blocks(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    enum { LEN = 1 << 20 };
    uint8_t *packed = calloc(1, LEN);
    const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    const uint8_t block[] = {0, 0, 0, 0xff, 0xff};
    memcpy(packed, head, sizeof(head));
    for (size_t at = sizeof(head); at + sizeof(block) <= LEN; at += sizeof(block))
        memcpy(packed + at, block, sizeof(block));
    struct piece piece;
    int calls = 0;
    const uint8_t *data;
    uint32_t len;
    inflater_start(&inflater, CODEC_GZIP, span_of(&piece, packed, LEN), LEN);
    while (inflater_next(&inflater, &data, &len) == INFLATE_SLICE)
        calls++;
    assert_int_equal(inflater.status, INFLATE_BROKEN);
    assert_in_range(calls, 15, 17);
    free(packed);
    inflater_fini(&inflater);
}

static void test_a_stream_may_be_left(void **state)
{
    (void)state;
    struct inflater inflater;
    inflater_init(&inflater);
    uint8_t *data = sample(200000);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        uint8_t *packed;
        const uint8_t *slice;
        uint32_t slice_len;
        struct piece piece;
        size_t len = deflate_to(&packed, (enum codec)codec, data, 200000);
        inflater_start(&inflater, (enum codec)codec, span_of(&piece, packed, (uint32_t)len),
                       200000);
        assert_int_equal(inflater_next(&inflater, &slice, &slice_len), INFLATE_SLICE);
        struct output output = inflate_all(&inflater, (enum codec)codec, packed, len, 200000);
        assert_int_equal(output.status, INFLATE_END);
        assert_memory_equal(output.bytes, data, 200000);
        free(output.bytes);
        free(packed);
    }
    free(data);
    inflater_fini(&inflater);
}

static void test_names(void **state)
{
    (void)state;
    enum codec codec;
    assert_true(codec_of_name("ZSTD", &codec) && codec == CODEC_ZSTD);
    assert_true(codec_of_name("uncompressed", &codec) && codec == CODEC_NONE);
    assert_false(codec_of_name("brotli", &codec));
    assert_null(codec_name(5));
    assert_null(codec_name(-1));
    assert_string_equal(codec_name(CODEC_SNAPPY), "snappy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_what_follows_the_end),
        cmocka_unit_test(test_snappy_framings),
        cmocka_unit_test(test_lz4_dependent_blocks_are_refused),
        cmocka_unit_test(test_zstd_windows),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_empty_blocks),
        cmocka_unit_test(test_a_stream_may_be_left),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
