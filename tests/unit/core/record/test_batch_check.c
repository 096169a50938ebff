/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/record/batch_builder.h"
#include "io/crc.h"
#include "tests/unit/core/batch_store.h"
#include "tests/unit/core/batch_vectors.h"
#include "tests/unit/heap.h"

#define NOW     1700000000000LL
#define HOUR_MS 3600000LL

struct fixture {
    struct inflater inflater;
    struct deflater deflater;
    struct batch_builder builder;
    struct batch_rules rules;
    struct batch_check check;
    struct piece piece; /* of the check, which is read after its verdict */
    uint8_t *bytes;     /* a batch of one's own to spoil */
    uint32_t len;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    inflater_init(&f->inflater);
    deflater_init(&f->deflater);
    batch_builder_init(&f->builder);
    f->rules = (struct batch_rules){.now_ms = NOW,
                                    .timestamp_before_max_ms = INT64_MAX,
                                    .timestamp_after_max_ms = HOUR_MS,
                                    .inflated_bytes_max = 1U << 30,
                                    .message_bytes_max = 1048588,
                                    .segment_bytes = 1 << 30,
                                    .zstd_allowed = true};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    inflater_fini(&f->inflater);
    deflater_fini(&f->deflater);
    batch_builder_fini(&f->builder);
    free(f->bytes);
    free(f);
    return 0;
}

static struct bytes_or_null text(const char *string)
{
    return (struct bytes_or_null){.data = string, .len = (int32_t)strlen(string)};
}

/* Takes a copy of what the builder has, and begins the next batch. */
static void finish(struct fixture *f, enum codec codec)
{
    const uint8_t *bytes;
    size_t len =
        batch_builder_finish(&f->builder, &f->deflater, codec, CODEC_LEVEL_DEFAULT, &bytes);
    free(f->bytes);
    f->bytes = malloc(len);
    memcpy(f->bytes, bytes, len);
    f->len = (uint32_t)len;
    batch_builder_start(&f->builder);
}

static void build(struct fixture *f, enum codec codec, int records)
{
    for (int i = 0; i < records; i++)
        batch_builder_add(&f->builder, NOW - i, text("key"), text("a value of some length"), NULL,
                          0);
    finish(f, codec);
}

static void put_be(uint8_t *at, uint64_t value, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        at[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

static void fix_crc(struct fixture *f)
{
    put_be(f->bytes + BATCH_AT_CRC, crc32c(0, f->bytes + BATCH_CRC_FROM, f->len - BATCH_CRC_FROM),
           4);
}

/* Changes a field and the checksum with it. */
static void set_field(struct fixture *f, enum batch_field at, uint64_t value, unsigned len)
{
    put_be(f->bytes + at, value, len);
    fix_crc(f);
}

/* The code of the verdict on `len` bytes at `data`, 0 when good. */
static int verdict_of(struct fixture *f, const uint8_t *data, uint32_t len)
{
    batch_check_start(&f->check, &f->rules, &f->inflater, span_of(&f->piece, data, len));
    enum batch_verdict verdict = batch_check_step(&f->check, UINT32_MAX);
    assert_int_not_equal(verdict, BATCH_MORE);
    assert_int_equal(verdict, batch_check_step(&f->check, 1));
    if (verdict == BATCH_GOOD)
        return ERR_NONE;
    assert_int_not_equal(f->check.failure.code, ERR_NONE);
    assert_true(strlen(f->check.failure.text) > 10);
    return f->check.failure.code;
}

static int verdict(struct fixture *f)
{
    return verdict_of(f, f->bytes, f->len);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        build(f, (enum codec)codec, 100);
        assert_int_equal(verdict(f), ERR_NONE);
        assert_int_equal(f->check.max_timestamp, NOW);
        assert_int_equal(f->check.max_timestamp_offset_delta, 0);
        assert_int_equal(f->check.header.record_count, 100);
    }
}

static void test_vectors_of_a_real_client(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(verdict_of(f, vector_none, sizeof(vector_none)), ERR_NONE);
    assert_int_equal(f->check.max_timestamp, 1700000000007);
    assert_int_equal(f->check.max_timestamp_offset_delta, 1);
    assert_int_equal(f->check.header.producer_id, 4711);
    assert_int_equal(f->check.header.base_sequence, 9);
    assert_int_equal(verdict_of(f, vector_gzip, sizeof(vector_gzip)), ERR_NONE);
    assert_int_equal(verdict_of(f, vector_snappy, sizeof(vector_snappy)), ERR_NONE);
    assert_int_equal(verdict_of(f, vector_lz4, sizeof(vector_lz4)), ERR_NONE);
    assert_int_equal(verdict_of(f, vector_zstd, sizeof(vector_zstd)), ERR_NONE);
    f->rules.zstd_allowed = false;
    assert_int_equal(verdict_of(f, vector_zstd, sizeof(vector_zstd)),
                     ERR_UNSUPPORTED_COMPRESSION_TYPE);
}

static void test_b1_sizes(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 3);
    f->rules.message_bytes_max = (int32_t)f->len;
    assert_int_equal(verdict(f), ERR_NONE);
    f->rules.message_bytes_max--;
    assert_int_equal(verdict(f), ERR_MESSAGE_TOO_LARGE);
    f->rules.message_bytes_max++;
    f->rules.segment_bytes = (int32_t)f->len - 1;
    assert_int_equal(verdict(f), ERR_RECORD_LIST_TOO_LARGE);
}

static void test_b2_checksum(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 3);
    for (uint32_t at = BATCH_AT_CRC; at < f->len; at++) {
        f->bytes[at] ^= 0x10;
        for (int by_copy = 0; by_copy < 2; by_copy++) {
            f->rules.crc_by_copy = by_copy != 0;
            int code = verdict(f);
            /* Whoever copies finds out then, unless the check refuses anyway. */
            if (code == ERR_NONE) {
                assert_true(f->rules.crc_by_copy);
                struct piece piece;
                uint8_t *copy = malloc(f->len);
                struct span span = span_of(&piece, f->bytes, f->len);
                assert_false(batch_store(copy, &f->check, span, 77, 3));
                free(copy);
            } else {
                assert_int_equal(code, ERR_CORRUPT_MESSAGE);
            }
        }
        f->bytes[at] ^= 0x10;
    }
    /* Outside the checksum. */
    f->rules.crc_by_copy = false;
    put_be(f->bytes + BATCH_AT_LEADER_EPOCH, 99, 4);
    assert_int_equal(verdict(f), ERR_NONE);
}

static void test_b3_offsets_and_counts(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 3);
    set_field(f, BATCH_AT_BASE_OFFSET, 1, 8);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    set_field(f, BATCH_AT_BASE_OFFSET, 0, 8);
    set_field(f, BATCH_AT_LAST_OFFSET_DELTA, 3, 4);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    for (int count = -1; count < 6; count++) {
        set_field(f, BATCH_AT_LAST_OFFSET_DELTA, (uint64_t)(count - 1), 4);
        set_field(f, BATCH_AT_RECORD_COUNT, (uint64_t)count, 4);
        assert_int_equal(verdict(f), count == 3 ? ERR_NONE : ERR_INVALID_RECORD);
    }
    set_field(f, BATCH_AT_RECORD_COUNT, 0x80000000U, 4);
    set_field(f, BATCH_AT_LAST_OFFSET_DELTA, 0x7fffffffU, 4);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
}

static void test_b4_flags_sequence_gaps(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 3);
    set_field(f, BATCH_AT_ATTRIBUTES, BATCH_CONTROL, 2);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    set_field(f, BATCH_AT_ATTRIBUTES, BATCH_DELETE_HORIZON, 2);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    set_field(f, BATCH_AT_ATTRIBUTES, BATCH_TRANSACTIONAL, 2);
    assert_int_equal(verdict(f), ERR_NONE);
    set_field(f, BATCH_AT_PRODUCER_ID, 5, 8);
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    set_field(f, BATCH_AT_BASE_SEQUENCE, 0, 4);
    assert_int_equal(verdict(f), ERR_NONE);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        batch_builder_add(&f->builder, NOW, text("k"), text("v"), NULL, 0);
        f->builder.next_delta = 2;
        batch_builder_add(&f->builder, NOW, text("k"), text("v"), NULL, 0);
        finish(f, (enum codec)codec);
        set_field(f, BATCH_AT_RECORD_COUNT, 3, 4);
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
        set_field(f, BATCH_AT_RECORD_COUNT, 2, 4);
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
        set_field(f, BATCH_AT_LAST_OFFSET_DELTA, 1, 4);
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    }
}

static void test_b5_log_append_time_is_not_for_producers(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 3);
    set_field(f, BATCH_AT_ATTRIBUTES, BATCH_LOG_APPEND_TIME, 2);
    for (int topic = 0; topic < 2; topic++) {
        f->rules.log_append_time = topic != 0;
        assert_int_equal(verdict(f), ERR_INVALID_TIMESTAMP);
        assert_int_equal(f->check.record_error_count, 3);
        assert_int_equal(f->check.record_errors[2].batch_index, 2);
    }
}

static void test_b6_timestamp_limits(void **state)
{
    struct fixture *f = *state;
    const int64_t times[] = {NOW,           NOW - HOUR_MS,     NOW - HOUR_MS - 1,
                             NOW + HOUR_MS, NOW + HOUR_MS + 1, -1,
                             INT64_MIN,     INT64_MAX};
    for (size_t i = 0; i < array_count(times); i++)
        batch_builder_add(&f->builder, times[i], text("k"), text("v"), NULL, 0);
    finish(f, CODEC_LZ4);
    f->rules.timestamp_before_max_ms = HOUR_MS;
    assert_int_equal(verdict(f), ERR_INVALID_TIMESTAMP);
    const int bad[] = {2, 4, 6, 7};
    assert_int_equal(f->check.record_error_count, array_count(bad));
    for (uint32_t i = 0; i < array_count(bad); i++) {
        char sentence[120];
        assert_int_equal(f->check.record_errors[i].batch_index, bad[i]);
        batch_check_record_error(&f->check, i, sentence, sizeof(sentence));
        assert_true(strlen(sentence) > 20);
    }
    /* Without limits everything goes, and nothing matters to a topic with its own clock. */
    f->rules.timestamp_before_max_ms = f->rules.timestamp_after_max_ms = INT64_MAX;
    build(f, CODEC_NONE, 1);
    set_field(f, BATCH_AT_BASE_TIMESTAMP, 0, 8);
    assert_int_equal(verdict(f), ERR_NONE);
    f->rules.timestamp_before_max_ms = 0;
    assert_int_equal(verdict(f), ERR_INVALID_TIMESTAMP);
    f->rules.log_append_time = true;
    assert_int_equal(verdict(f), ERR_NONE);
}

static void test_b6_named_records_are_bounded(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_ZSTD, 1000);
    f->rules.now_ms = NOW - 2 * HOUR_MS;
    assert_int_equal(verdict(f), ERR_INVALID_TIMESTAMP);
    assert_int_equal(f->check.record_error_count, BATCH_RECORD_ERRORS_MAX);
    assert_int_equal(f->check.record_error_total, 1000);
}

/* The header that would be stored, proven by copying. */
static struct batch_header stored(struct fixture *f, int64_t base_offset)
{
    struct piece piece;
    struct batch_header header;
    uint8_t *copy = malloc(f->len);
    assert_true(batch_store(copy, &f->check, span_of(&piece, f->bytes, f->len), base_offset, 12));
    batch_header_of(&header, copy);
    assert_int_equal(header.crc, batch_crc(span_of(&piece, copy, f->len)));
    assert_memory_equal(copy + BATCH_HEADER_SIZE, f->bytes + BATCH_HEADER_SIZE,
                        f->len - BATCH_HEADER_SIZE);
    free(copy);
    return header;
}

static void test_b7_log_append_time(void **state)
{
    struct fixture *f = *state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        build(f, (enum codec)codec, 50);
        f->rules.log_append_time = true;
        f->rules.now_ms = NOW + 12345;
        assert_int_equal(verdict(f), ERR_NONE);
        struct batch_header header = stored(f, 1000);
        assert_int_equal(header.max_timestamp, NOW + 12345);
        assert_int_equal(header.attributes, BATCH_LOG_APPEND_TIME | codec);
        assert_int_equal(header.base_timestamp, NOW);
        assert_int_equal(header.base_offset, 1000);
        assert_int_equal(f->check.max_timestamp, NOW + 12345);
        assert_int_equal(f->check.max_timestamp_offset_delta, 0);
    }
}

static void test_b8_b9_true_max_timestamp_and_place(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_GZIP, 50);
    assert_int_equal(verdict(f), ERR_NONE);
    struct batch_header header = stored(f, 1LL << 40);
    assert_int_equal(header.max_timestamp, NOW);
    assert_int_equal(header.base_offset, 1LL << 40);
    assert_int_equal(batch_last_offset(&header), (1LL << 40) + 49);
    assert_int_equal(header.leader_epoch, 12);
    assert_int_equal(header.crc, f->check.header.crc);
    set_field(f, BATCH_AT_MAX_TIMESTAMP, NOW * 2, 8);
    assert_int_equal(verdict(f), ERR_NONE);
    header = stored(f, 5);
    assert_int_equal(header.max_timestamp, NOW);
    assert_int_not_equal(header.crc, f->check.header.crc);
}

static void test_b11_broken_payload(void **state)
{
    struct fixture *f = *state;
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        build(f, (enum codec)codec, 200);
        /* Behind the frames' magic, which is allowed to be another framing (snappy). */
        f->bytes[BATCH_HEADER_SIZE] ^= 0xff;
        fix_crc(f);
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
        build(f, (enum codec)codec, 200);
        f->bytes[f->len - 1] ^= 0xff;
        f->len--;
        put_be(f->bytes + BATCH_AT_LENGTH, f->len - BATCH_LENGTH_END, 4);
        fix_crc(f);
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    }
    build(f, CODEC_NONE, 2);
    for (uint16_t codec = 1; codec < 8; codec++) {
        set_field(f, BATCH_AT_ATTRIBUTES, codec, 2);
        assert_int_equal(verdict(f), codec >= CODEC_COUNT ? ERR_UNSUPPORTED_COMPRESSION_TYPE
                                                          : ERR_INVALID_RECORD);
    }
}

static void test_b11_bomb(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 4 << 20 };
    uint8_t *zeros = calloc(1, SIZE);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        batch_builder_add(&f->builder, NOW, BYTES_NULL,
                          (struct bytes_or_null){.data = zeros, .len = SIZE}, NULL, 0);
        finish(f, (enum codec)codec);
        f->rules.inflated_bytes_max = SIZE + 100;
        assert_int_equal(verdict(f), ERR_NONE);
        f->rules.inflated_bytes_max = SIZE;
        assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    }
    free(zeros);
}

static void test_b12_compacted(void **state)
{
    struct fixture *f = *state;
    batch_builder_add(&f->builder, NOW, text("k"), BYTES_NULL, NULL, 0);
    batch_builder_add(&f->builder, NOW, BYTES_NULL, text("v"), NULL, 0);
    batch_builder_add(&f->builder, NOW, text(""), text("v"), NULL, 0);
    finish(f, CODEC_SNAPPY);
    assert_int_equal(verdict(f), ERR_NONE);
    f->rules.compacted = true;
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    assert_int_equal(f->check.record_error_count, 1);
    assert_int_equal(f->check.record_errors[0].batch_index, 1);
}

static void test_framing(void **state)
{
    struct fixture *f = *state;
    build(f, CODEC_NONE, 2);
    for (uint32_t len = 0; len < f->len; len++)
        assert_int_equal(verdict_of(f, f->bytes, len), ERR_INVALID_RECORD);
    for (uint32_t more = 1; more < 100; more++) {
        uint8_t *longer = calloc(1, f->len + more);
        memcpy(longer, f->bytes, f->len);
        assert_int_equal(verdict_of(f, longer, f->len + more), ERR_INVALID_RECORD);
        free(longer);
    }
    f->bytes[BATCH_AT_MAGIC] = 0;
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    f->bytes[BATCH_AT_MAGIC] = 1;
    assert_int_equal(verdict(f), ERR_INVALID_RECORD);
    f->bytes[BATCH_AT_MAGIC] = 3;
    assert_int_equal(verdict(f), ERR_CORRUPT_MESSAGE);
    f->bytes[BATCH_AT_MAGIC] = 0xff;
    assert_int_equal(verdict(f), ERR_CORRUPT_MESSAGE);
    f->bytes[BATCH_AT_MAGIC] = 2;
    const uint32_t lengths[] = {0, 13, 14, 48, 0x7fffffff, 0x80000000, 0xffffffff};
    const int codes[] = {2, 2, 87, 87, 87, 2, 2};
    for (size_t i = 0; i < array_count(lengths); i++) {
        put_be(f->bytes + BATCH_AT_LENGTH, lengths[i], 4);
        assert_int_equal(verdict(f), codes[i]);
    }
    /* A length that is exact, but leaves no room for the header. */
    put_be(f->bytes + BATCH_AT_LENGTH, 48, 4);
    assert_int_equal(verdict_of(f, f->bytes, 60), ERR_CORRUPT_MESSAGE);
}

/* The verdict may depend neither on where the batch was cut nor on how often the check paused. */
static void assert_same_in_pieces(struct fixture *f, const uint8_t *data, uint32_t len)
{
    static struct batch_check whole;
    int code = verdict_of(f, data, len);
    memcpy(&whole, &f->check, sizeof(whole));
    for (uint32_t cut = 1; cut < len; cut++) {
        uint8_t *left = malloc(cut);
        uint8_t *right = malloc(len - cut);
        memcpy(left, data, cut);
        memcpy(right, data + cut, len - cut);
        struct piece pieces[] = {{left, cut}, {right, len - cut}};
        struct span span = {.piece = pieces, .len = len};
        batch_check_start(&f->check, &f->rules, &f->inflater, span);
        enum batch_verdict verdict;
        do {
            verdict = batch_check_step(&f->check, 1);
        } while (verdict == BATCH_MORE);
        assert_int_equal(verdict == BATCH_GOOD ? ERR_NONE : f->check.failure.code, code);
        assert_string_equal(f->check.sentence, whole.sentence);
        assert_int_equal(f->check.max_timestamp, whole.max_timestamp);
        assert_int_equal(f->check.record_error_total, whole.record_error_total);
        free(left);
        free(right);
    }
}

static void test_pieces(void **state)
{
    struct fixture *f = *state;
    assert_same_in_pieces(f, vector_none, sizeof(vector_none));
    assert_same_in_pieces(f, vector_gzip, sizeof(vector_gzip));
    assert_same_in_pieces(f, vector_snappy, sizeof(vector_snappy));
    assert_same_in_pieces(f, vector_lz4, sizeof(vector_lz4));
    assert_same_in_pieces(f, vector_zstd, sizeof(vector_zstd));
    f->rules.compacted = true;
    assert_same_in_pieces(f, vector_none, sizeof(vector_none));
    /* Every single-byte change of the records, with a checksum that fits. */
    f->rules.compacted = false;
    build(f, CODEC_NONE, 3);
    for (uint32_t at = BATCH_HEADER_SIZE; at < f->len; at++) {
        uint8_t was = f->bytes[at];
        f->bytes[at] ^= (uint8_t)(1U << (at % 8));
        fix_crc(f);
        assert_same_in_pieces(f, f->bytes, f->len);
        f->bytes[at] = was;
    }
}

/* Records larger than a slice, so that lengths, keys and headers lie across slices. */
static void test_slices(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 200000 };
    uint8_t *noise = malloc(SIZE);
    uint32_t seed = 1;
    for (int i = 0; i < SIZE; i++)
        noise[i] = (uint8_t)((seed = seed * 1664525U + 1013904223U) >> 24);
    struct bytes_or_null big = {.data = noise, .len = SIZE};
    struct record_header header = {
        .key = (const char *)noise, .key_len = 70000, .value = noise, .value_len = 65536};
    f->rules.message_bytes_max = INT32_MAX;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        for (int i = 0; i < 5; i++) {
            batch_builder_add(&f->builder, NOW, big, text("v"), &header, 1);
            batch_builder_add(&f->builder, NOW + i, text("k"), big, NULL, 0);
        }
        finish(f, (enum codec)codec);
        assert_int_equal(verdict(f), ERR_NONE);
        struct piece piece;
        int steps = 0;
        batch_check_start(&f->check, &f->rules, &f->inflater, span_of(&piece, f->bytes, f->len));
        assert_int_equal(batch_check_is_heavy(&f->check), codec != CODEC_NONE);
        while (batch_check_step(&f->check, 1) == BATCH_MORE)
            steps++;
        assert_null(f->check.failure.text);
        assert_int_equal(f->check.max_timestamp_offset_delta, 9);
        /* 2.7 MB of records at least; snappy has them in blocks of 32 KiB. */
        assert_in_range(steps, 41, 130);
    }
    free(noise);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_good),
        TEST(test_vectors_of_a_real_client),
        TEST(test_b1_sizes),
        TEST(test_b2_checksum),
        TEST(test_b3_offsets_and_counts),
        TEST(test_b4_flags_sequence_gaps),
        TEST(test_b5_log_append_time_is_not_for_producers),
        TEST(test_b6_timestamp_limits),
        TEST(test_b6_named_records_are_bounded),
        TEST(test_b7_log_append_time),
        TEST(test_b8_b9_true_max_timestamp_and_place),
        TEST(test_b11_broken_payload),
        TEST(test_b11_bomb),
        TEST(test_b12_compacted),
        TEST(test_framing),
        TEST(test_pieces),
        TEST(test_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
