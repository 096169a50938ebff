/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction of batches against a model (D8, D10, D11, KIP-534). A log of batches is made, of all
 * codecs, with tombstones, headers and producers; it is compacted in passes whose maps may be too
 * small for all keys; after each pass every record is looked at. COMPACT_RECORDS chooses how many
 * records the large case has: 2,000,000 take 50 s of a core.
 */
#include "core/log/compact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/mem.h"

#define RETENTION_MS 1000
#define NO_BYTES_MAX (1ULL << 30)

/* ---- a log in memory ---- */

struct fact {
    uint32_t key;
    bool tombstone;
};

struct memlog {
    uint8_t *bytes;
    size_t len, cap;
    struct fact *facts; /* [offset] */
    int64_t end;
};

static uint64_t dice(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*state >> 33) % below;
}

static void memlog_put(struct memlog *log, const uint8_t *bytes, size_t len)
{
    if (log->bytes == NULL || log->len + len > log->cap) {
        log->cap = (log->len + len) * 2;
        log->bytes = realloc(log->bytes, log->cap);
        assert_non_null(log->bytes);
    }
    memcpy(log->bytes + log->len, bytes, len);
    log->len += len;
}

static void memlog_fini(struct memlog *log)
{
    free(log->bytes);
    free(log->facts);
}

/* The value of a record follows from its offset. */
static int32_t value_of(int64_t offset, char *text, size_t size)
{
    return snprintf(text, size, "value-%lld-%0*d", (long long)offset, (int)(offset % 40), 0);
}

struct maker {
    struct memlog *log;
    struct batch_builder builder;
    struct deflater deflater;
    uint64_t state;
};

static void maker_init(struct maker *mk, struct memlog *log, uint64_t seed)
{
    *mk = (struct maker){.log = log, .state = seed};
    batch_builder_init(&mk->builder);
    deflater_init(&mk->deflater);
}

static void maker_fini(struct maker *mk)
{
    batch_builder_fini(&mk->builder);
    deflater_fini(&mk->deflater);
}

static void make_record(struct maker *mk, uint32_t key, bool tombstone, int64_t now_ms)
{
    char key_text[32];
    char value[80];
    struct memlog *log = mk->log;
    int64_t offset = log->end++;
    const struct record_header headers[] = {
        {.key = "h", .key_len = 1, .value = NULL, .value_len = -1},
        {.key = "offset", .key_len = 6, .value = (const uint8_t *)&offset, .value_len = 8}};
    int32_t key_len = snprintf(key_text, sizeof(key_text), "key-%u", key);
    int32_t len = value_of(offset, value, sizeof(value));
    batch_builder_add(&mk->builder, now_ms + offset % 5, (struct bytes_or_null){key_text, key_len},
                      tombstone ? BYTES_NULL : (struct bytes_or_null){value, len}, headers,
                      (int32_t)(offset % 3));
    log->facts[offset] = (struct fact){.key = key, .tombstone = tombstone};
}

static void make_batch(struct maker *mk, uint32_t keys, uint32_t records, uint32_t tombstone_in,
                       int64_t now_ms)
{
    static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4,
                                        CODEC_ZSTD};
    const uint8_t *bytes;
    struct memlog *log = mk->log;
    const int64_t base = log->end;
    batch_builder_start(&mk->builder);
    log->facts = realloc(log->facts, ((size_t)base + records) * sizeof(log->facts[0]));
    assert_non_null(log->facts);
    for (uint32_t i = 0; i < records; i++)
        make_record(mk, (uint32_t)dice(&mk->state, keys), dice(&mk->state, tombstone_in) == 0,
                    now_ms);
    mk->builder.header.base_offset = base;
    mk->builder.header.leader_epoch = (int32_t)(base / 1000);
    if (dice(&mk->state, 2) == 0) {
        mk->builder.header.producer_id = (int64_t)dice(&mk->state, 5);
        mk->builder.header.producer_epoch = 1;
        mk->builder.header.base_sequence = (int32_t)base;
    }
    enum codec codec = dice(&mk->state, 3) == 0 ? codecs[dice(&mk->state, 5)] : CODEC_NONE;
    size_t len = batch_builder_finish(&mk->builder, &mk->deflater, codec, 1, &bytes);
    memlog_put(log, bytes, len);
}

/* ---- a pass ---- */

struct pass {
    int64_t from;  /* first dirty */
    int64_t known; /* the result */
    bool full;
    int64_t now_ms;
    uint64_t map_bytes;
    const struct compact_producer *producers;
    uint32_t producer_count;
    bool mistake_drops_newest;
    bool mistake_tombstone_early;
};

static void pass_run(struct memlog *log, struct pass *pass)
{
    struct compactor cp;
    uint8_t secret[KEY_MAP_SECRET_BYTES];
    struct batch_header header;
    memset(secret, 0x5a, sizeof(secret));
    compactor_init(&cp);
    cp.rules = (struct compact_rules){.now_ms = pass->now_ms,
                                      .horizon_ms = pass->now_ms + RETENTION_MS,
                                      .inflated_bytes_max = NO_BYTES_MAX,
                                      .producers = pass->producers,
                                      .producer_count = pass->producer_count,
                                      .mistake_drops_newest = pass->mistake_drops_newest,
                                      .mistake_tombstone_early = pass->mistake_tombstone_early};
    key_map_init(&cp.map, (uint64_t)log->end, pass->map_bytes, secret);
    cp.known_upto = pass->from;
    pass->full = false;
    for (size_t at = 0; at < log->len && !pass->full; at += (size_t)batch_size(&header)) {
        batch_header_of(&header, log->bytes + at);
        if (batch_last_offset(&header) < pass->from)
            continue;
        enum compact_verdict verdict =
            compact_note(&cp, log->bytes + at, (uint32_t)batch_size(&header), pass->from);
        pass->full = verdict == COMPACT_FULL;
        if (pass->full)
            break;
        assert_int_equal(verdict, COMPACT_KEEP);
        cp.known_upto = batch_last_offset(&header) + 1;
    }
    struct memlog left = {0};
    for (size_t at = 0; at < log->len; at += (size_t)batch_size(&header)) {
        const uint8_t *out = NULL;
        uint32_t out_len = 0;
        batch_header_of(&header, log->bytes + at);
        uint32_t len = (uint32_t)batch_size(&header);
        enum compact_verdict verdict = compact_batch(&cp, log->bytes + at, len, &out, &out_len);
        assert_int_not_equal(verdict, COMPACT_BROKEN);
        if (verdict == COMPACT_KEEP)
            memlog_put(&left, log->bytes + at, len);
        else if (verdict == COMPACT_CHANGED)
            memlog_put(&left, out, out_len);
    }
    free(log->bytes);
    log->bytes = left.bytes;
    log->len = left.len;
    log->cap = left.cap;
    pass->known = cp.known_upto;
    compactor_fini(&cp);
}

/* ---- what is there ---- */

struct seen {
    bool *records; /* [offset] */
    uint64_t count;
    uint64_t batches;
};

static void check_record(const struct memlog *log, const struct record *record)
{
    char key[32];
    char value[80];
    const struct fact *fact = &log->facts[record->offset];
    int32_t len = snprintf(key, sizeof(key), "key-%u", fact->key);
    assert_int_equal(record->key_len, len);
    assert_memory_equal(record->key, key, (size_t)len);
    assert_int_equal(record->header_count, record->offset % 3);
    assert_int_equal(record->value == NULL, fact->tombstone);
    if (fact->tombstone)
        return;
    len = value_of(record->offset, value, sizeof(value));
    assert_int_equal(record->value_len, len);
    assert_memory_equal(record->value, value, (size_t)len);
}

static void look(const struct memlog *log, struct seen *seen)
{
    struct inflater inflater;
    struct batch_header header;
    int64_t next = 0;
    *seen = (struct seen){.records = calloc((size_t)log->end + 1, sizeof(bool))};
    assert_non_null(seen->records);
    inflater_init(&inflater);
    for (size_t at = 0; at < log->len; at += (size_t)batch_size(&header)) {
        struct piece piece;
        struct record_iter iter;
        struct record record;
        int32_t max_delta = -1;
        batch_header_of(&header, log->bytes + at);
        struct span batch = span_of(&piece, log->bytes + at, (uint32_t)batch_size(&header));
        assert_true(header.base_offset >= next);
        assert_int_equal(batch_crc(batch), header.crc);
        assert_int_equal(header.leader_epoch, header.base_offset / 1000);
        next = batch_last_offset(&header) + 1;
        assert_true(record_iter_init(&iter, &inflater, batch, NO_BYTES_MAX));
        while (record_iter_next(&iter, &record) == RECORD_READY) {
            int32_t delta = (int32_t)(record.offset - header.base_offset);
            assert_true(delta > max_delta && delta <= header.last_offset_delta);
            max_delta = delta;
            check_record(log, &record);
            seen->records[record.offset] = true;
            seen->count++;
        }
        record_iter_fini(&iter);
        seen->batches++;
    }
    inflater_fini(&inflater);
}

/* Every record that went had to: a newer one of its key below `known`, or it was a tombstone whose
 * time was over; every one that stayed below `known` is its key's newest there. */
static uint32_t count_wrong(const struct memlog *log, const struct seen *seen, uint32_t keys,
                            int64_t known, bool tombstones_over)
{
    uint32_t wrong = 0;
    int64_t *newest = malloc(keys * sizeof(newest[0]));
    assert_non_null(newest);
    for (uint32_t i = 0; i < keys; i++)
        newest[i] = -1;
    for (int64_t i = 0; i < known; i++)
        newest[log->facts[i].key] = i;
    for (int64_t i = 0; i < log->end; i++) {
        const struct fact *fact = &log->facts[i];
        bool due = i < known && newest[fact->key] > i;
        bool over = fact->tombstone && tombstones_over && i < known;
        wrong += seen->records[i] ? due : !due && !over;
    }
    free(newest);
    return wrong;
}

static uint32_t pass_wrong(struct memlog *log, struct pass *pass, uint32_t keys, bool over,
                           uint64_t *left)
{
    struct seen seen;
    pass_run(log, pass);
    look(log, &seen);
    uint32_t wrong = count_wrong(log, &seen, keys, pass->known, over);
    if (left != NULL)
        *left = seen.count;
    free(seen.records);
    return wrong;
}

/* ---- tests ---- */

static void test_d8_against_a_model(void **state)
{
    (void)state;
    const char *text = getenv("COMPACT_RECORDS");
    const uint64_t records = text != NULL ? strtoull(text, NULL, 10) : 40000;
    const uint32_t keys = (uint32_t)(records / 20);
    struct memlog log = {0};
    struct maker mk;
    maker_init(&mk, &log, 7);
    while ((uint64_t)log.end < records)
        make_batch(&mk, keys, (uint32_t)dice(&mk.state, 200) + 1, 10, 0);
    uint64_t left = 0;
    uint64_t passes = 0;
    struct pass pass = {.now_ms = 10, .map_bytes = records / 60 * KEY_MAP_ENTRY_BYTES};
    do { /* the map has room for a third of the keys */
        pass.from = pass.known;
        assert_int_equal(pass_wrong(&log, &pass, keys, false, &left), 0);
        passes++;
    } while (pass.full);
    assert_true(passes > 3 && pass.known == log.end && left <= keys);
    /* A second time nothing changes but the tombstones, whose time is over. */
    uint64_t again = 0;
    pass.from = 0;
    pass.map_bytes = UINT32_MAX;
    assert_int_equal(pass_wrong(&log, &pass, keys, false, &again), 0);
    assert_int_equal(again, left);
    pass.now_ms += RETENTION_MS;
    assert_int_equal(pass_wrong(&log, &pass, keys, true, &again), 0);
    assert_true(again < left);
    maker_fini(&mk);
    memlog_fini(&log);
}

static void test_mistakes_are_found(void **state)
{
    (void)state;
    for (unsigned mistake = 0; mistake < 2; mistake++) {
        struct memlog log = {0};
        struct maker mk;
        maker_init(&mk, &log, 8);
        while (log.end < 2000)
            make_batch(&mk, 100, (uint32_t)dice(&mk.state, 20) + 1, 10, 0);
        struct pass pass = {.now_ms = 10,
                            .map_bytes = 1 << 20,
                            .mistake_drops_newest = mistake == 0,
                            .mistake_tombstone_early = mistake == 1};
        assert_true(pass_wrong(&log, &pass, 100, false, NULL) > 0);
        maker_fini(&mk);
        memlog_fini(&log);
    }
}

static void first_header(const struct memlog *log, struct batch_header *header)
{
    assert_true(log->len >= BATCH_HEADER_SIZE);
    batch_header_of(header, log->bytes);
}

/* The pass that meets a tombstone writes down when its time ends; times of records stay. */
static void test_d10_a_tombstone_has_its_time(void **state)
{
    (void)state;
    struct memlog log = {0};
    struct maker mk;
    struct batch_header before;
    struct batch_header header;
    maker_init(&mk, &log, 9);
    make_batch(&mk, 1000, 3, 1, 500); /* tombstones */
    first_header(&log, &before);
    struct pass pass = {.now_ms = 2000, .map_bytes = 1 << 20};
    assert_int_equal(pass_wrong(&log, &pass, 1000, false, NULL), 0);
    first_header(&log, &header);
    assert_int_equal(header.attributes & BATCH_DELETE_HORIZON, BATCH_DELETE_HORIZON);
    assert_int_equal(header.base_timestamp, 2000 + RETENTION_MS);
    assert_int_equal(header.max_timestamp, before.max_timestamp);
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    struct piece piece;
    inflater_init(&inflater);
    assert_true(record_iter_init(&iter, &inflater, span_of(&piece, log.bytes, (uint32_t)log.len),
                                 NO_BYTES_MAX));
    while (record_iter_next(&iter, &record) == RECORD_READY)
        assert_int_equal(record.timestamp, 500 + record.offset % 5);
    record_iter_fini(&iter);
    inflater_fini(&inflater);
    /* A later pass does not prolong it; a millisecond before it is over they are all there. */
    pass.now_ms = 2000 + RETENTION_MS - 1;
    assert_int_equal(pass_wrong(&log, &pass, 1000, false, NULL), 0);
    first_header(&log, &header);
    assert_int_equal(header.base_timestamp, 2000 + RETENTION_MS);
    pass.now_ms++;
    (void)pass_wrong(&log, &pass, 1000, true, NULL);
    assert_int_equal(log.len, 0);
    maker_fini(&mk);
    memlog_fini(&log);
}

/* Behind what the map knows nothing is touched, not even a tombstone's time. */
static void test_what_is_not_known_stays(void **state)
{
    (void)state;
    struct memlog log = {0};
    struct maker mk;
    maker_init(&mk, &log, 10);
    make_batch(&mk, 5, 40, 2, 0);
    make_batch(&mk, 5, 40, 2, 0);
    struct compactor cp;
    uint8_t secret[KEY_MAP_SECRET_BYTES] = {0};
    struct batch_header header;
    compactor_init(&cp);
    cp.rules = (struct compact_rules){.inflated_bytes_max = NO_BYTES_MAX};
    key_map_init(&cp.map, 100, 1 << 20, secret);
    first_header(&log, &header);
    uint32_t len = (uint32_t)batch_size(&header);
    const uint8_t *out = NULL;
    uint32_t out_len = 0;
    assert_int_equal(compact_note(&cp, log.bytes, len, 0), COMPACT_KEEP);
    cp.known_upto = 40;
    assert_int_equal(compact_batch(&cp, log.bytes + len, (uint32_t)log.len - len, &out, &out_len),
                     COMPACT_KEEP);
    assert_int_equal(compact_batch(&cp, log.bytes, len, &out, &out_len), COMPACT_CHANGED);
    compactor_fini(&cp);
    maker_fini(&mk);
    memlog_fini(&log);
}

/* The last batch of a producer outlives its records, empty. */
static void test_d11_producers_keep_their_last_batch(void **state)
{
    (void)state;
    struct memlog log = {0};
    struct maker mk;
    struct batch_header header;
    maker_init(&mk, &log, 11);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *bytes;
        int64_t base = log.end;
        batch_builder_start(&mk.builder);
        log.facts = realloc(log.facts, ((size_t)base + 2) * sizeof(log.facts[0]));
        make_record(&mk, 1, false, 5);
        make_record(&mk, 2, false, 5);
        mk.builder.header.base_offset = base;
        mk.builder.header.leader_epoch = 0;
        if (i < 2) {
            mk.builder.header.producer_id = 4711;
            mk.builder.header.producer_epoch = 3;
            mk.builder.header.base_sequence = (int32_t)base;
        }
        size_t len = batch_builder_finish(&mk.builder, &mk.deflater, CODEC_ZSTD, 1, &bytes);
        memlog_put(&log, bytes, len);
    }
    const struct compact_producer producers[] = {{.id = 1, .last_offset = 3},
                                                 {.id = 4711, .last_offset = 3}};
    struct pass pass = {.map_bytes = 1 << 20, .producers = producers, .producer_count = 2};
    assert_int_equal(pass_wrong(&log, &pass, 10, false, NULL), 0);
    first_header(&log, &header);
    assert_int_equal(header.base_offset, 2);
    assert_int_equal(batch_last_offset(&header), 3);
    assert_int_equal(header.record_count, 0);
    assert_int_equal(header.base_sequence, 2);
    assert_int_equal(header.producer_epoch, 3);
    assert_int_equal(batch_codec(&header), CODEC_NONE);
    assert_int_equal(batch_size(&header), BATCH_HEADER_SIZE);
    /* When it has written again elsewhere, the empty one goes, too. */
    pass.producer_count = 1;
    assert_int_equal(pass_wrong(&log, &pass, 10, false, NULL), 0);
    first_header(&log, &header);
    assert_int_equal(header.base_offset, 4);
    maker_fini(&mk);
    memlog_fini(&log);
}

/* A batch of one tombstone that is over, of this kind, by producer 7. */
static enum compact_verdict compacted(uint16_t kind, const struct aborted_list *aborted,
                                      uint32_t *noted, struct batch_header *left)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    const uint8_t *out = NULL;
    uint32_t out_len = 0;
    struct compactor cp;
    uint8_t secret[KEY_MAP_SECRET_BYTES] = {0};
    batch_builder_init(&builder);
    builder.header.producer_id = 7;
    builder.header.base_offset = 40;
    batch_builder_add(&builder, 1, (struct bytes_or_null){"k", 1}, (struct bytes_or_null){"v", 1},
                      NULL, 0);
    batch_builder_add(&builder, 1, (struct bytes_or_null){"k", 1}, (struct bytes_or_null){"w", 1},
                      NULL, 0);
    builder.header.attributes = kind;
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    compactor_init(&cp);
    cp.rules = (struct compact_rules){
        .now_ms = INT64_MAX, .inflated_bytes_max = NO_BYTES_MAX, .aborted = *aborted};
    key_map_init(&cp.map, 10, 1 << 20, secret);
    assert_int_equal(compact_note(&cp, bytes, (uint32_t)len, 0), COMPACT_KEEP);
    *noted = (uint32_t)cp.map.count;
    cp.known_upto = 100;
    enum compact_verdict verdict = compact_batch(&cp, bytes, (uint32_t)len, &out, &out_len);
    if (verdict == COMPACT_CHANGED)
        batch_header_of(left, out);
    compactor_fini(&cp);
    batch_builder_fini(&builder);
    return verdict;
}

/* Markers stay as they are; committed data is as any other and stays a transaction's; aborted data
 * goes and its keys count for nothing. */
static void test_transactions(void **state)
{
    (void)state;
    struct aborted_transaction item = {.producer_id = 7, .first_offset = 40, .last_offset = 44};
    const struct aborted_list none = {0};
    const struct aborted_list aborted = {.items = &item, .count = 1, .span_max = 4};
    struct batch_header left = {0};
    uint32_t noted;
    assert_int_equal(compacted(BATCH_CONTROL | BATCH_TRANSACTIONAL, &aborted, &noted, &left),
                     COMPACT_KEEP);
    assert_int_equal(noted, 0);
    assert_int_equal(compacted(BATCH_TRANSACTIONAL, &none, &noted, &left), COMPACT_CHANGED);
    assert_int_equal(noted, 1);
    assert_int_equal(left.record_count, 1);
    assert_true(left.attributes & BATCH_TRANSACTIONAL);
    assert_int_equal(compacted(BATCH_TRANSACTIONAL, &aborted, &noted, &left), COMPACT_GONE);
    assert_int_equal(noted, 0);
    item.producer_id = 8; /* another's */
    assert_int_equal(compacted(BATCH_TRANSACTIONAL, &aborted, &noted, &left), COMPACT_CHANGED);
}

/* Records without a key go; bytes that are no records are said to be none. */
static void test_keyless_and_broken(void **state)
{
    (void)state;
    struct batch_builder builder;
    struct compactor cp;
    uint8_t secret[KEY_MAP_SECRET_BYTES] = {0};
    const uint8_t *bytes;
    const uint8_t *out = NULL;
    uint32_t out_len = 0;
    batch_builder_init(&builder);
    batch_builder_add(&builder, 1, BYTES_NULL, (struct bytes_or_null){"v", 1}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    compactor_init(&cp);
    cp.rules = (struct compact_rules){.inflated_bytes_max = NO_BYTES_MAX};
    key_map_init(&cp.map, 10, 1 << 20, secret);
    cp.known_upto = 1;
    assert_int_equal(compact_note(&cp, bytes, (uint32_t)len, 0), COMPACT_KEEP);
    assert_int_equal(compact_batch(&cp, bytes, (uint32_t)len, &out, &out_len), COMPACT_GONE);
    uint8_t broken[200];
    memcpy(broken, bytes, len);
    broken[len - 1] = 9;
    assert_int_equal(compact_note(&cp, broken, (uint32_t)len, 0), COMPACT_BROKEN);
    assert_int_equal(compact_batch(&cp, broken, (uint32_t)len, &out, &out_len), COMPACT_BROKEN);
    compactor_fini(&cp);
    batch_builder_fini(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_d8_against_a_model),
        cmocka_unit_test(test_mistakes_are_found),
        cmocka_unit_test(test_d10_a_tombstone_has_its_time),
        cmocka_unit_test(test_what_is_not_known_stays),
        cmocka_unit_test(test_d11_producers_keep_their_last_batch),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_keyless_and_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
