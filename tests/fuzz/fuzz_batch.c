/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the records field of a produce request. The first two bytes choose the rules and
 * where the input is cut; one of them lets the harness repair length, magic, counts and checksum,
 * because no mutation finds those by chance.
 *
 * Beyond not crashing: the verdict is the same in one piece and in pieces, at once and step by
 * step, with the checksum first or left to the copy; what was accepted is read back by the iterator
 * to the last record; in another codec it is a good batch, too, with the same times; and output
 * stays inside its limit.
 */
#include "core/record/batch_check.h"
#include "core/record/recode.h"

#include <stdlib.h>
#include <string.h>

#include "io/crc.h"
#include "io/mem.h"
#include "tests/unit/core/batch_store.h"
#include "tests/unit/heap.h"

enum {
    LIMIT = 4 << 20,
    NOW = 1700000000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(uint8_t *bytes, uint32_t len, bool last_offset)
{
    struct batch_header header;
    if (len < BATCH_HEADER_SIZE)
        return;
    batch_header_of(&header, bytes);
    if (last_offset)
        header.base_offset = INT64_MAX;
    else
        header.base_offset = 0;
    header.length = (int32_t)(len - BATCH_LENGTH_END);
    header.magic = BATCH_MAGIC;
    header.attributes &= 0xff1f;
    header.record_count = (int32_t)((uint32_t)header.record_count % 32);
    header.last_offset_delta = header.record_count - 1;
    header.producer_id = -1;
    batch_header_put(&header, bytes);
    header.crc = crc32c(0, bytes + BATCH_CRC_FROM, len - BATCH_CRC_FROM);
    batch_header_put(&header, bytes);
}

static enum batch_verdict check(struct batch_check *check, const struct batch_rules *rules,
                                struct inflater *inflater, struct span span, uint32_t slices)
{
    enum batch_verdict verdict;
    batch_check_start(check, rules, inflater, span);
    do {
        verdict = batch_check_step(check, slices);
    } while (verdict == BATCH_MORE);
    return verdict;
}

static void read_back(const struct batch_check *good, struct inflater *inflater, struct span span)
{
    struct record_iter iter;
    struct record record;
    struct record_header header;
    int64_t max_timestamp = -1;
    must(record_iter_init(&iter, inflater, span, LIMIT));
    for (int32_t i = 0; i < good->header.record_count; i++) {
        must(record_iter_next(&iter, &record) == RECORD_READY);
        must(record.offset == i);
        max_timestamp = max_i64(max_timestamp, record.timestamp);
        while (record_header_next(&record, &header))
            ;
        must(record.headers_len == 0);
    }
    must(record_iter_next(&iter, &record) == RECORD_END);
    record_iter_fini(&iter);
    must(good->rules.log_append_time || good->max_timestamp == max_timestamp);
}

/* Reading knows less than checking: it has to live with anything. */
static void read_anything(struct inflater *inflater, struct span span)
{
    struct record_iter iter;
    struct record record;
    struct record_find find;
    if (record_iter_init(&iter, inflater, span, LIMIT)) {
        while (record_iter_next(&iter, &record) == RECORD_READY)
            ;
        must(iter.whole_cap <= 2 * LIMIT);
        record_iter_fini(&iter);
    }
    if (record_find_start(&find, inflater, span, 1000, 0, LIMIT))
        while (record_find_step(&find, 1) == RECORD_MORE)
            ;
}

static void store(const struct batch_check *good, struct span span)
{
    struct piece piece;
    struct batch_header stored;
    uint8_t *copy = malloc(span.len);
    bool matches = batch_store(copy, good, span, 99, 3);
    batch_header_of(&stored, copy);
    must(matches == (stored.crc == batch_crc(span_of(&piece, copy, span.len))));
    must(matches || good->rules.crc_by_copy);
    must(stored.max_timestamp == good->max_timestamp);
    free(copy);
}

static void recode(const struct batch_check *good, struct inflater *inflater, struct span span,
                   enum codec codec)
{
    static struct batch_check again;
    struct deflater deflater;
    struct piece piece;
    struct recode recode = {.batch = span,
                            .codec = codec,
                            .level = CODEC_LEVEL_DEFAULT,
                            .bytes_max = (uint32_t)good->rules.message_bytes_max,
                            .plain_bytes = good->plain_bytes};
    deflater_init(&deflater);
    recode_run(&recode, inflater, &deflater);
    must(recode.status != RECODE_BROKEN);
    if (recode.status == RECODE_OK) {
        struct batch_rules rules = good->rules;
        rules.crc_by_copy = false;
        must(recode.len <= recode.bytes_max);
        must(check(&again, &rules, inflater, span_of(&piece, recode.bytes, recode.len), 64) ==
             BATCH_GOOD);
        must(batch_codec(&again.header) == (int)codec);
        must(again.max_timestamp == good->max_timestamp);
        must(again.plain_bytes == good->plain_bytes);
    }
    mem_free(recode.bytes);
    deflater_fini(&deflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct batch_check whole, pieces;
    if (size < 2)
        return 0;
    uint8_t flags = data[0];
    uint32_t len = (uint32_t)size - 2;
    uint8_t *bytes = malloc(len + 1U);
    memcpy(bytes, data + 2, len);
    if (flags & 1)
        repair(bytes, len, (flags & 16) != 0);
    struct batch_rules rules = {.now_ms = NOW,
                                .timestamp_before_max_ms = flags & 2 ? 1000 : INT64_MAX,
                                .timestamp_after_max_ms = flags & 2 ? 1000 : INT64_MAX,
                                .inflated_bytes_max = LIMIT,
                                .message_bytes_max = 1 << 20,
                                .segment_bytes = 1 << 20,
                                .log_append_time = (flags & 4) != 0,
                                .compacted = (flags & 8) != 0,
                                .zstd_allowed = true};
    uint32_t cut = len == 0 ? 0 : data[1] % len;
    struct piece one;
    struct piece two[] = {{bytes, cut}, {bytes + cut, len - cut}};
    struct span in_one = span_of(&one, bytes, len);
    struct span in_two = {.piece = cut == 0 ? two + 1 : two, .len = len};
    struct inflater inflater;
    inflater_init(&inflater);

    enum batch_verdict verdict = check(&whole, &rules, &inflater, in_one, UINT32_MAX);
    must(check(&pieces, &rules, &inflater, in_two, 1) == verdict);
    must(whole.failure.code == pieces.failure.code);
    must(whole.max_timestamp == pieces.max_timestamp);
    must(whole.record_error_total == pieces.record_error_total);
    rules.crc_by_copy = true;
    enum batch_verdict by_copy = check(&pieces, &rules, &inflater, in_two, 3);
    if (verdict == BATCH_REFUSED && by_copy == BATCH_REFUSED)
        must(whole.failure.code == pieces.failure.code);
    else
        must(verdict == by_copy || whole.failure.code == ERR_CORRUPT_MESSAGE);
    if (by_copy == BATCH_GOOD) {
        store(&pieces, in_two);
        read_back(&pieces, &inflater, in_one);
    }
    if (verdict == BATCH_GOOD)
        recode(&whole, &inflater, in_two, (enum codec)(data[1] % CODEC_COUNT));
    read_anything(&inflater, in_two);
    inflater_fini(&inflater);
    free(bytes);
    return 0;
}
