/* SPDX-License-Identifier: Apache-2.0
 *
 * Every message in every version: pseudo-random contents are written, read back from pieces cut at
 * random places, and written again: the bytes must be equal. Cut short anywhere, the reader must
 * say so. That the schema is right is the business of tests/schema/compare.py; that the bytes are,
 * is asked of Kafka's own codec by tests/schema/oracle.py, for which `--frames FILE` writes them.
 */
#include "net/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)16 << 20)
#define PIECES_MAX  64

/* ---- pseudo-random contents ---- */

struct fill {
    uint64_t state;
    struct arena *arena;
};

static uint64_t fill_next(struct fill *f)
{
    f->state ^= f->state << 13;
    f->state ^= f->state >> 7;
    f->state ^= f->state << 17;
    return f->state;
}

static uint32_t fill_below(struct fill *f, uint32_t limit)
{
    return (uint32_t)(fill_next(f) >> 33) % limit;
}

/* Zero is common: it is the default of most tagged fields. */
static int64_t fill_i64(struct fill *f)
{
    return fill_below(f, 4) ? (int64_t)fill_next(f) : 0;
}

static int32_t fill_i32(struct fill *f)
{
    return (int32_t)fill_i64(f);
}

static int16_t fill_i16(struct fill *f)
{
    return (int16_t)fill_i64(f);
}

static uint16_t fill_u16(struct fill *f)
{
    return (uint16_t)fill_i64(f);
}

static int8_t fill_i8(struct fill *f)
{
    return (int8_t)fill_i64(f);
}

static bool fill_bool(struct fill *f)
{
    return fill_below(f, 2);
}

static double fill_f64(struct fill *f)
{
    return (double)fill_i64(f);
}

static int32_t fill_count(struct fill *f, bool nullable)
{
    return (int32_t)fill_below(f, 4) - (nullable ? 1 : 0);
}

static void *fill_room(struct fill *f, int32_t count, size_t size)
{
    if (count <= 0)
        return NULL;
    void *room = arena_array(f->arena, (size_t)count, size);
    assert_non_null(room);
    return room;
}

static uint8_t *fill_raw(struct fill *f, int32_t len)
{
    uint8_t *raw = fill_room(f, len, 1);
    for (int32_t i = 0; i < len; i++)
        raw[i] = (uint8_t)fill_next(f);
    return raw;
}

static struct uuid fill_uuid(struct fill *f)
{
    return fill_below(f, 4) ? uuid_of_random(fill_next(f), fill_next(f)) : (struct uuid){{0}};
}

/* Mostly short; sometimes so long that its compact length takes two bytes. */
static int32_t fill_len(struct fill *f, bool nullable)
{
    int32_t len = (int32_t)fill_below(f, fill_below(f, 16) ? 6 : 300);
    return nullable && fill_below(f, 4) == 0 ? -1 : len;
}

static struct str fill_str(struct fill *f, bool nullable)
{
    int32_t len = fill_len(f, nullable);
    uint8_t *text = fill_raw(f, len);
    for (int32_t i = 0; i < len; i++)
        text[i] = (uint8_t)('a' + text[i] % 26);
    return (struct str){(const char *)text, len};
}

static struct bytes fill_bytes(struct fill *f, bool nullable)
{
    int32_t len = fill_len(f, nullable);
    return (struct bytes){fill_raw(f, len), len};
}

static struct records fill_records(struct fill *f, bool nullable)
{
    int32_t len = fill_len(f, nullable);
    if (len < 0)
        return (struct records){.kind = RECORDS_NULL};
    struct piece *piece = fill_room(f, 1, sizeof(*piece));
    return records_of(span_of(piece, fill_raw(f, len), (uint32_t)len));
}

#include "net/kafka_fill.h"

/* ---- helpers ---- */

struct flat {
    uint8_t *data;
    uint32_t len;
};

static struct flat flat_of(const struct out_part *part)
{
    struct flat flat = {NULL, 0};
    for (const struct out_part *at = part; at; at = at->next)
        flat.len += at->len;
    flat.data = malloc(flat.len + 1);
    uint32_t done = 0;
    for (const struct out_part *at = part; at; at = at->next) {
        assert_int_equal(at->kind, OUT_BYTES);
        memcpy(flat.data + done, at->data, at->len);
        done += at->len;
    }
    return flat;
}

/* A writer that stops between elements and goes on gives the same bytes. */
static unsigned pauses;

static void write_in_steps(struct arena *arena, enum kafka_kind kind, int16_t version,
                           const void *message, const struct flat *whole)
{
    struct wr w;
    wr_init(&w, arena);
    for (w.budget = WR_PLACES; !kafka_write(kind, &w, version, message); w.budget = WR_PLACES)
        pauses++;
    struct flat flat = flat_of(wr_finish(&w));
    assert_int_equal(flat.len, whole->len);
    assert_memory_equal(flat.data, whole->data, flat.len);
    assert_int_equal(w.depth, 0);
    free(flat.data);
}

static struct flat write_flat(struct arena *arena, enum kafka_kind kind, int16_t version,
                              const void *message)
{
    struct wr w, size;
    wr_init(&w, arena);
    kafka_write(kind, &w, version, message);
    struct out_part *parts = wr_finish(&w);
    assert_false(w.bad);
    wr_init_counting(&size);
    kafka_write(kind, &size, version, message);
    struct flat flat = flat_of(parts);
    assert_int_equal(flat.len, wr_len(&w));
    assert_int_equal(flat.len, wr_len(&size));
    write_in_steps(arena, kind, version, message, &flat);
    return flat;
}

/* Each piece is an allocation of its own, so that a read past its end is seen. */
struct cut {
    struct piece pieces[PIECES_MAX];
    uint8_t *owned[PIECES_MAX];
    unsigned count;
};

static struct span cut_randomly(struct cut *cut, struct fill *f, const uint8_t *data, uint32_t len)
{
    uint32_t done = 0;
    cut->count = 0;
    while (done < len) {
        uint32_t run = fill_below(f, fill_below(f, 3) ? 9 : 200);
        if (run > len - done || cut->count == PIECES_MAX - 1)
            run = len - done;
        if (run == 0)
            run = 1;
        uint8_t *copy = malloc(run);
        memcpy(copy, data + done, run);
        cut->owned[cut->count] = copy;
        cut->pieces[cut->count++] = (struct piece){copy, run};
        done += run;
    }
    return (struct span){.piece = cut->pieces, .len = len};
}

static void cut_free(struct cut *cut)
{
    for (unsigned i = 0; i < cut->count; i++)
        free(cut->owned[i]);
}

static void *message_new(enum kafka_kind kind)
{
    return calloc(1, kafka_messages[kind].size);
}

/* ---- tests ---- */

static void round_trip(enum kafka_kind kind, int16_t version, uint64_t seed)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct fill f = {.state = seed, .arena = &arena};
    void *message = message_new(kind);
    fill_message(&f, kind, message);
    struct flat first = write_flat(&arena, kind, version, message);

    struct cut cut;
    struct rd r;
    rd_init(&r, cut_randomly(&cut, &f, first.data, first.len));
    if (!kafka_read(kind, &r, &arena, version, message) || rd_left(&r) != 0)
        fail_msg("%s version %d cannot be read back", kafka_messages[kind].name, version);
    struct flat second = write_flat(&arena, kind, version, message);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        fail_msg("%s version %d differs after a round trip", kafka_messages[kind].name, version);

    /* Cut short, with the pieces as they are and as one allocation that ends there. */
    for (uint32_t len = 0; len < first.len; len++) {
        rd_init(&r, (struct span){.piece = cut.pieces, .len = len});
        assert_false(kafka_read(kind, &r, &arena, version, message));
        assert_true(r.bad);
    }
    free(first.data);
    free(second.data);
    free(message);
    cut_free(&cut);
    arena_fini(&arena);
}

static void test_round_trips(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15U;
    for (enum kafka_kind kind = 0; kind < KAFKA_MESSAGES; kind++) {
        for (int16_t v = kafka_messages[kind].min; v <= kafka_messages[kind].max; v++) {
            for (int i = 0; i < 6; i++)
                round_trip(kind, v, seed += 0x632be59bd9b4e019U);
        }
    }
    assert_in_range(pauses, 1000, UINT32_MAX);
}

/* A line per frame: message, version, bytes. */
static int write_frames(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return 1;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct fill f = {.state = 0xd1b54a32d192ed03U, .arena = &arena};
    for (enum kafka_kind kind = 0; kind < KAFKA_MESSAGES; kind++) {
        const struct kafka_message *about = &kafka_messages[kind];
        for (int i = 0; i < 10 * (about->max - about->min + 1); i++) {
            int16_t version = (int16_t)(about->min + i / 10);
            void *message = message_new(kind);
            fill_message(&f, kind, message);
            struct flat flat = write_flat(&arena, kind, version, message);
            fprintf(file, "%s %d ", about->name, version);
            for (uint32_t k = 0; k < flat.len; k++)
                fprintf(file, "%02x", flat.data[k]);
            fprintf(file, "\n");
            free(flat.data);
            free(message);
            arena_reset(&arena);
        }
    }
    arena_fini(&arena);
    return fclose(file) ? 1 : 0;
}

/* Damaged bytes may be read as something else, but never crash, and never take more than the
 * arena gives. */
static void test_damage(void **state)
{
    (void)state;
    struct arena arena, small;
    arena_init(&arena, ARENA_BYTES);
    arena_init(&small, (size_t)64 << 10);
    struct fill f = {.state = 0x2545f4914f6cdd1dU, .arena = &arena};
    for (int i = 0; i < 20000; i++) {
        enum kafka_kind kind = (enum kafka_kind)fill_below(&f, KAFKA_MESSAGES);
        const struct kafka_message *about = &kafka_messages[kind];
        uint32_t versions = (uint32_t)(about->max - about->min) + 1;
        int16_t version = (int16_t)(about->min + (int32_t)fill_below(&f, versions));
        void *message = message_new(kind);
        fill_message(&f, kind, message);
        struct flat flat = write_flat(&arena, kind, version, message);
        for (uint32_t n = 1 + fill_below(&f, 4); n > 0 && flat.len > 0; n--)
            flat.data[fill_below(&f, flat.len)] =
                (uint8_t)(fill_below(&f, 2) ? fill_next(&f) : 0xff);
        struct cut cut;
        struct rd r;
        rd_init(&r, cut_randomly(&cut, &f, flat.data, flat.len));
        if (kafka_read(kind, &r, &small, version, message))
            free(write_flat(&arena, kind, version, message).data);
        assert_true(small.held_bytes <= small.bytes_max);
        cut_free(&cut);
        free(flat.data);
        free(message);
        arena_reset(&small);
        arena_reset(&arena);
    }
    arena_fini(&small);
    arena_fini(&arena);
}

static void test_defaults_of_absent_fields(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct fetch_request before, after;
    init_fetch_request(&before);
    assert_int_equal(before.max_bytes, INT32_MAX);
    before.session_epoch = 5;
    before.cluster_id = str_of("somewhere");
    before.rack_id = str_of("here");
    struct flat flat = write_flat(&arena, KAFKA_FETCH_REQUEST, 4, &before);
    struct piece piece;
    struct rd r;
    rd_init(&r, span_of(&piece, flat.data, flat.len));
    assert_true(read_fetch_request(&r, &arena, 4, &after));
    assert_int_equal(after.session_epoch, -1);
    assert_int_equal(after.cluster_id.len, -1);
    assert_int_equal(after.rack_id.len, 0);
    assert_int_equal(after.replica_state.replica_id, -1);
    free(flat.data);
    arena_fini(&arena);
}

static void test_table(void **state)
{
    (void)state;
    assert_null(kafka_api_find(4));
    assert_null(kafka_api_find(-1));
    const struct kafka_api *produce = kafka_api_find(KEY_PRODUCE);
    assert_non_null(produce);
    assert_string_equal(produce->name, "produce");
    assert_int_equal(produce->min, 3);
    assert_int_equal(produce->max, 13);
    assert_int_equal(produce->flexible_first, 9);
    assert_int_equal(kafka_api_find(KEY_SASL_HANDSHAKE)->flexible_first, INT16_MAX);
    for (size_t i = 0; i < kafka_apis_count; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        assert_true(i == 0 || kafka_apis[i - 1].key < api->key);
        assert_int_equal(kafka_messages[kafka_request_kind(api->key)].key, api->key);
        assert_int_equal(kafka_messages[kafka_response_kind(api->key)].key, api->key);
        if (api->served_min < 0)
            continue;
        assert_true(api->min <= api->served_min && api->served_max <= api->max);
        assert_int_equal(api->advertised_min, api->key == KEY_PRODUCE ? 0 : api->served_min);
    }
    assert_int_equal(kafka_request_kind(4), KAFKA_MESSAGES);
}

static void test_headers(void **state)
{
    (void)state;
    assert_int_equal(header_request_version(KEY_CONTROLLED_SHUTDOWN, 0), 0);
    assert_int_equal(header_request_version(KEY_CONTROLLED_SHUTDOWN, 3), 2);
    assert_int_equal(header_request_version(KEY_PRODUCE, 8), 1);
    assert_int_equal(header_request_version(KEY_PRODUCE, 9), 2);
    assert_int_equal(header_request_version(KEY_API_VERSIONS, 99), 2);
    assert_int_equal(header_request_version(32000, 3), 1);
    assert_int_equal(header_response_version(KEY_API_VERSIONS, 3), 0);
    assert_int_equal(header_response_version(KEY_FETCH, 12), 1);
    assert_int_equal(header_response_version(KEY_FETCH, 11), 0);

    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct wr w;
    wr_init(&w, &arena);
    header_begin_request(&w, KEY_METADATA, 12, 77, str_of("me"));
    wr_frame_end(&w);
    /* Flexible, and yet the client id keeps its old form. */
    static const uint8_t expected[] = {0, 0, 0, 13, 0, 3, 0, 12, 0, 0, 0, 77, 0, 2, 'm', 'e', 0};
    struct flat flat = flat_of(wr_finish(&w));
    assert_int_equal(flat.len, sizeof(expected));
    assert_memory_equal(flat.data, expected, sizeof(expected));

    struct piece piece;
    struct rd r;
    struct request_header header;
    rd_init(&r, span_of(&piece, flat.data + 4, flat.len - 4));
    assert_true(header_read_request(&r, &arena, &header));
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(header.correlation_id, 77);
    assert_true(str_equal(header.client_id, str_of("me")));
    free(flat.data);
    arena_fini(&arena);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--frames") == 0)
        return write_frames(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_defaults_of_absent_fields),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
