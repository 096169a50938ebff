/* SPDX-License-Identifier: Apache-2.0
 *
 * The primitives: every number, length and array read from a span cut at every place; what is
 * refused, and that nothing is allocated for a lie; parts, references and frames when writing.
 */
#include "net/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)

struct cut {
    struct piece pieces[3];
    uint8_t *owned[3];
};

/* `data` in up to three allocations of their exact size. */
static struct span cut_at(struct cut *cut, const uint8_t *data, uint32_t len, uint32_t first,
                          uint32_t second)
{
    const uint32_t ends[] = {0, first, second, len};
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t run = ends[i + 1] - ends[i];
        cut->owned[i] = malloc(run + (run == 0));
        memcpy(cut->owned[i], data + ends[i], run);
        if (run > 0)
            cut->pieces[count++] = (struct piece){cut->owned[i], run};
    }
    return (struct span){.piece = cut->pieces, .len = len};
}

static void cut_free(struct cut *cut)
{
    for (unsigned i = 0; i < 3; i++)
        free(cut->owned[i]);
}

static uint8_t *flat_of(const struct out_part *part, uint32_t *len)
{
    *len = 0;
    for (const struct out_part *at = part; at; at = at->next)
        *len += at->len;
    uint8_t *flat = malloc(*len + 1);
    uint32_t done = 0;
    for (const struct out_part *at = part; at; at = at->next) {
        if (at->kind == OUT_BYTES)
            memcpy(flat + done, at->data, at->len);
        else
            memset(flat + done, (int)at->cookie, at->len);
        done += at->len;
    }
    return flat;
}

static const int32_t some_i32s[] = {1, -1, INT32_MIN, 70000};
static const int64_t some_i64s[] = {INT64_MAX, -5};
static const int16_t some_i16s[] = {-2, 300};
static const int8_t some_i8s[] = {-128, 127, 0};
static const struct uuid some_uuid = {{0xf1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void write_everything(struct wr *w, bool flex)
{
    struct str strs[] = {str_of("one"), str_of(""), str_of("three")};
    wr_i8(w, -7);
    wr_bool(w, true);
    wr_i16(w, -12345);
    wr_u16(w, 65000);
    wr_i32(w, 0x12345678);
    wr_i64(w, -0x123456789abcdef);
    wr_f64(w, -1.5);
    wr_uuid(w, some_uuid);
    wr_uvarint(w, 300);
    wr_uvarint(w, UINT32_MAX);
    wr_varint(w, INT32_MIN);
    wr_varint(w, -1);
    wr_varlong(w, INT64_MIN);
    wr_varlong(w, INT64_MAX);
    wr_str(w, flex, true, str_of("hello"));
    wr_str(w, flex, true, str_null());
    wr_str(w, flex, false, str_null());
    wr_bytes(w, flex, true, (struct bytes){(const uint8_t *)"raw", 3});
    wr_bytes(w, flex, true, (struct bytes){NULL, -1});
    wr_i32s(w, flex, false, some_i32s, array_count(some_i32s));
    wr_i64s(w, flex, false, some_i64s, array_count(some_i64s));
    wr_i16s(w, flex, false, some_i16s, array_count(some_i16s));
    wr_i8s(w, flex, false, some_i8s, array_count(some_i8s));
    wr_uuids(w, flex, false, &some_uuid, 1);
    wr_strs(w, flex, false, strs, array_count(strs));
    wr_i32s(w, flex, true, NULL, -1);
    struct records records = records_ref(9, 'r');
    wr_records(w, flex, true, &records);
    wr_records(w, flex, true, &(struct records){.kind = RECORDS_NULL});
    wr_i16(w, 4711);
}

static void read_numbers(struct rd *r)
{
    assert_int_equal(rd_i8(r), -7);
    assert_true(rd_bool(r));
    assert_int_equal(rd_i16(r), -12345);
    assert_int_equal(rd_u16(r), 65000);
    assert_int_equal(rd_i32(r), 0x12345678);
    assert_int_equal(rd_i64(r), -0x123456789abcdef);
    assert_true(rd_f64(r) == -1.5);
    struct uuid uuid = rd_uuid(r);
    assert_true(uuid_equal(&uuid, &some_uuid));
    assert_int_equal(rd_uvarint(r), 300);
    assert_int_equal(rd_uvarint(r), UINT32_MAX);
    assert_int_equal(rd_varint(r), INT32_MIN);
    assert_int_equal(rd_varint(r), -1);
    assert_int_equal(rd_varlong(r), INT64_MIN);
    assert_int_equal(rd_varlong(r), INT64_MAX);
}

static void read_arrays(struct rd *r, struct arena *arena, bool flex)
{
    int32_t count;
    int32_t *i32s = rd_i32s(r, arena, flex, false, &count);
    assert_int_equal(count, array_count(some_i32s));
    assert_memory_equal(i32s, some_i32s, sizeof(some_i32s));
    int64_t *i64s = rd_i64s(r, arena, flex, false, &count);
    assert_int_equal(count, array_count(some_i64s));
    assert_memory_equal(i64s, some_i64s, sizeof(some_i64s));
    int16_t *i16s = rd_i16s(r, arena, flex, false, &count);
    assert_memory_equal(i16s, some_i16s, sizeof(some_i16s));
    int8_t *i8s = rd_i8s(r, arena, flex, false, &count);
    assert_memory_equal(i8s, some_i8s, sizeof(some_i8s));
    struct uuid *uuids = rd_uuids(r, arena, flex, false, &count);
    assert_true(uuid_equal(uuids, &some_uuid));
    struct str *strs = rd_strs(r, arena, flex, false, &count);
    assert_int_equal(count, 3);
    assert_true(str_equal(strs[2], str_of("three")));
    assert_null(rd_i32s(r, arena, flex, true, &count));
    assert_int_equal(count, -1);
}

static void read_everything(struct rd *r, struct arena *arena, bool flex)
{
    read_numbers(r);
    assert_true(str_equal(rd_str(r, arena, flex, true), str_of("hello")));
    assert_int_equal(rd_str(r, arena, flex, true).len, -1);
    assert_int_equal(rd_str(r, arena, flex, false).len, 0);
    struct bytes bytes = rd_bytes(r, arena, flex, false);
    assert_int_equal(bytes.len, 3);
    assert_memory_equal(bytes.data, "raw", 3);
    assert_int_equal(rd_bytes(r, arena, flex, true).len, -1);
    read_arrays(r, arena, flex);
    struct records records = rd_records(r, flex, true);
    assert_int_equal(records.kind, RECORDS_SPAN);
    assert_int_equal(records.span.len, 9);
    uint8_t got[9];
    span_peek(&records.span, got, sizeof(got));
    assert_memory_equal(got, "rrrrrrrrr", 9);
    assert_int_equal(rd_records(r, flex, true).kind, RECORDS_NULL);
    assert_int_equal(rd_i16(r), 4711);
    assert_int_equal(rd_left(r), 0);
    assert_false(r->bad);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (int flex = 0; flex < 2; flex++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct wr w;
        wr_init(&w, &arena);
        write_everything(&w, flex);
        uint32_t len;
        uint8_t *flat = flat_of(wr_finish(&w), &len);
        assert_int_equal(len, wr_len(&w));
        for (uint32_t first = 0; first <= len; first++) {
            for (uint32_t second = first; second <= len; second += second % 5 + 1) {
                struct cut cut;
                struct rd r;
                rd_init(&r, cut_at(&cut, flat, len, first, second));
                read_everything(&r, &arena, flex);
                cut_free(&cut);
                arena_reset(&arena);
            }
        }
        free(flat);
        arena_fini(&arena);
    }
}

/* A view is not a copy unless it has to be. */
static void test_views(void **state)
{
    (void)state;
    static const uint8_t frame[] = {0, 3, 'a', 'b', 'c', 0, 0, 0, 4, 1, 2, 3, 4};
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct piece piece;
    struct rd r;
    rd_init(&r, span_of(&piece, frame, sizeof(frame)));
    assert_ptr_equal(rd_str(&r, &arena, false, false).data, frame + 2);
    struct records records = rd_records(&r, false, false);
    assert_ptr_equal(records.span.piece->data + records.span.skip, frame + 9);
    assert_int_equal(arena.held_bytes, 0);
    /* A reader begins anywhere in a piece. */
    rd_init(&r, (struct span){.piece = &piece, .skip = 5, .len = 4});
    assert_int_equal(rd_i32(&r), 4);
    assert_int_equal(rd_left(&r), 0);
    arena_fini(&arena);
}

enum want {
    WANT_STR,
    WANT_STR_FLEX,
    WANT_BYTES,
    WANT_I32S,
    WANT_I64S_FLEX,
    WANT_RECORDS_FLEX,
    WANT_UVARINT,
    WANT_VARLONG,
    WANT_TAGS
};

static void read_one(struct rd *r, struct arena *arena, enum want want)
{
    int32_t count = 0;
    switch (want) {
    case WANT_STR:
        assert_true(rd_str(r, arena, false, false).len >= 0);
        break;
    case WANT_STR_FLEX:
        assert_true(rd_str(r, arena, true, false).len >= 0);
        break;
    case WANT_BYTES:
        assert_true(rd_bytes(r, arena, false, true).len >= -1);
        break;
    case WANT_I32S:
        rd_i32s(r, arena, false, false, &count);
        break;
    case WANT_I64S_FLEX:
        rd_i64s(r, arena, true, true, &count);
        break;
    case WANT_RECORDS_FLEX:
        assert_int_equal(rd_records(r, true, false).span.len, 0);
        break;
    case WANT_UVARINT:
        assert_int_equal(rd_uvarint(r), 0);
        break;
    case WANT_VARLONG:
        assert_int_equal(rd_varlong(r), 0);
        break;
    case WANT_TAGS:
        rd_skip_tags(r);
        break;
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        enum want want;
        uint8_t len;
        uint8_t bytes[12];
    } cases[] = {
        {WANT_STR, 2, {0xff, 0xff}},                        /* null where there is none */
        {WANT_STR, 2, {0x80, 0}},                           /* negative */
        {WANT_STR, 4, {0, 3, 'a', 'b'}},                    /* beyond the frame */
        {WANT_STR_FLEX, 1, {0}},                            /* null */
        {WANT_STR_FLEX, 3, {4, 'a', 'b'}},                  /* beyond the frame */
        {WANT_STR_FLEX, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}}, /* 4 GiB */
        {WANT_BYTES, 4, {0xff, 0xff, 0xff, 0xfe}},          /* -2 */
        {WANT_BYTES, 4, {0x7f, 0xff, 0xff, 0xff}},          /* 2 GiB */
        {WANT_I32S, 8, {0, 0, 0, 2, 0, 0, 0, 1}},           /* one of two */
        {WANT_I32S, 4, {0x7f, 0xff, 0xff, 0xff}},           /* 8 GiB */
        {WANT_I64S_FLEX, 9, {3, 0, 0, 0, 0, 0, 0, 0, 0}},   /* one of two */
        {WANT_RECORDS_FLEX, 2, {3, 0}},                     /* beyond the frame */
        {WANT_UVARINT, 5, {0x80, 0x80, 0x80, 0x80, 0x10}},  /* 33 bits */
        {WANT_UVARINT, 6, {0x80, 0x80, 0x80, 0x80, 0x80}},  /* six bytes */
        {WANT_UVARINT, 1, {0x80}},                          /* no end */
        {WANT_VARLONG, 11, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02}},
        {WANT_TAGS, 3, {1, 5, 9}},                      /* a tag beyond the frame */
        {WANT_TAGS, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}}, /* four billion tags */
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct piece piece;
        struct rd r;
        rd_init(&r, span_of(&piece, cases[i].bytes, cases[i].len));
        read_one(&r, &arena, cases[i].want);
        if (!r.bad)
            fail_msg("case %zu was not refused", i);
        assert_int_equal(rd_left(&r), 0);
        assert_int_equal(rd_i64(&r), 0);
        assert_int_equal(arena.held_bytes, 0);
        arena_fini(&arena);
    }
}

static void test_string_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    char *text = calloc(1, 40000);
    for (int32_t len = 32767; len <= 32768; len++) {
        struct wr w;
        wr_init(&w, &arena);
        wr_str(&w, true, false, (struct str){text, len});
        assert_int_equal(w.bad, len > 32767);
        assert_int_equal(wr_finish(&w) == NULL, len > 32767);
    }
    free(text);
    arena_fini(&arena);
}

static void test_arena_refuses(void **state)
{
    (void)state;
    static const uint8_t frame[4096] = {0, 0, 0x0f, 0};
    struct arena arena;
    arena_init(&arena, 8192);
    struct piece piece;
    struct rd r;
    int32_t count;
    rd_init(&r, span_of(&piece, frame, sizeof(frame)));
    /* 3840 elements of a byte each may be there; 64 bytes for each of them are not. */
    assert_null(rd_array(&r, &arena, false, false, 1, 64, &count));
    assert_true(r.bad);
    assert_int_equal(count, 0);

    struct wr w;
    wr_init(&w, &arena);
    for (int i = 0; i < 4096; i++)
        wr_i64(&w, i);
    assert_true(w.bad);
    assert_null(wr_finish(&w));
    assert_true(arena.held_bytes <= arena.bytes_max);
    arena_fini(&arena);
}

static void test_tags(void **state)
{
    (void)state;
    /* Two tags: 1 with an i16, 7 unknown; then 42. */
    static const uint8_t good[] = {2, 1, 2, 0x01, 0x02, 7, 3, 9, 9, 9, 42};
    static const uint8_t too_long[] = {1, 1, 3, 0x01, 0x02, 0x03};
    static const uint8_t too_short[] = {1, 1, 1, 0x01, 0x02};
    struct piece piece;
    struct rd r, field;
    rd_init(&r, span_of(&piece, good, sizeof(good)));
    assert_int_equal(rd_uvarint(&r), 2);
    assert_int_equal(rd_tag(&r, &field), 1);
    assert_int_equal(rd_i16(&field), 0x0102);
    rd_tag_end(&r, &field);
    assert_int_equal(rd_tag(&r, &field), 7);
    rd_skip_rest(&field);
    rd_tag_end(&r, &field);
    assert_int_equal(rd_i8(&r), 42);
    assert_false(r.bad);
    rd_init(&r, span_of(&piece, good, sizeof(good)));
    rd_skip_tags(&r);
    assert_int_equal(rd_i8(&r), 42);

    const struct {
        const uint8_t *bytes;
        uint32_t len;
    } bad[] = {{too_long, sizeof(too_long)}, {too_short, sizeof(too_short)}};
    for (size_t i = 0; i < array_count(bad); i++) {
        rd_init(&r, span_of(&piece, bad[i].bytes, bad[i].len));
        assert_int_equal(rd_uvarint(&r), 1);
        assert_int_equal(rd_tag(&r, &field), 1);
        rd_i16(&field);
        rd_tag_end(&r, &field);
        assert_true(r.bad);
    }
}

static void test_frame_with_references(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct wr w;
    wr_init(&w, &arena);
    wr_frame_begin(&w);
    wr_i16(&w, 1);
    wr_records_ref(&w, 1000, 11);
    wr_i32(&w, 2);
    wr_records_ref(&w, 0, 12); /* nothing: no part */
    wr_records_ref(&w, 70000, 13);
    wr_records_ref(&w, 5, 14);
    wr_frame_end(&w);
    struct out_part *part = wr_finish(&w);
    assert_int_equal(wr_len(&w), 4 + 2 + 1000 + 4 + 70000 + 5);
    static const struct {
        enum out_kind kind;
        uint32_t len;
        uint64_t cookie;
    } expected[] = {{OUT_BYTES, 6, 0},
                    {OUT_REF, 1000, 11},
                    {OUT_BYTES, 4, 0},
                    {OUT_REF, 70000, 13},
                    {OUT_REF, 5, 14}};
    static const uint8_t head[] = {0, 1, 0x15, 0x63, 0, 1}; /* 71011 bytes follow the length */
    assert_memory_equal(part->data, head, sizeof(head));
    for (size_t i = 0; i < array_count(expected); i++, part = part->next) {
        assert_non_null(part);
        assert_int_equal(part->kind, expected[i].kind);
        assert_int_equal(part->len, expected[i].len);
        assert_int_equal(part->cookie, expected[i].cookie);
    }
    assert_null(part);
    arena_fini(&arena);
}

/* Numbers never straddle blocks, opaque bytes may. */
static void test_growth(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct wr w;
    wr_init(&w, &arena);
    uint8_t raw[1000];
    memset(raw, 0xab, sizeof(raw));
    for (int32_t i = 0; i < 300; i++) {
        wr_i32(&w, i);
        wr_raw(&w, raw, (uint32_t)i * 3);
    }
    uint32_t len;
    uint8_t *flat = flat_of(wr_finish(&w), &len);
    assert_int_equal(len, wr_len(&w));
    struct piece piece;
    struct rd r;
    rd_init(&r, span_of(&piece, flat, len));
    for (int32_t i = 0; i < 300; i++) {
        assert_int_equal(rd_i32(&r), i);
        rd_skip(&r, (uint32_t)i * 3);
    }
    assert_int_equal(rd_left(&r), 0);
    assert_false(r.bad);
    free(flat);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_string_limit),
        cmocka_unit_test(test_arena_refuses),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_frame_with_references),
        cmocka_unit_test(test_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
