/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches and records of crash-load: made, and taken apart again.
 */
#include "tests/crash/load.h"

#include <endian.h>
#include <isa-l/crc.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

/* ---- batches ---- */

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, ~crc);
}

/* What a record carries before its body. */
struct record_head {
    uint32_t magic;
    uint32_t producer;
    uint32_t partition;
    uint32_t body_len;
    uint64_t number; /* in its stream */
    uint32_t crc;    /* of the fields above and the body */
    uint32_t zero;
};

static uint32_t record_crc(const struct record_head *head, const uint8_t *body)
{
    uint32_t crc = crc32c(0, head, offsetof(struct record_head, crc));
    return crc32c(crc, body, head->body_len);
}

/* Most batches hold small records only, one in sixteen goes up to the largest. */
static unsigned doublings_of(uint64_t *random)
{
    uint32_t kind = random_below(random, 16);
    return kind == 0 ? 10 : kind < 3 ? 6 : 3;
}

/* Even in the logarithm, from BODY_MIN upwards. */
static uint32_t body_len_of(uint64_t *random, unsigned doublings)
{
    uint32_t floor = BODY_MIN << random_below(random, doublings);
    uint32_t len = floor + random_below(random, floor);
    return len < BODY_MAX ? len : BODY_MAX;
}

static void put_record(struct bytes *to, uint32_t delta, const struct record_head *head,
                       const uint8_t *body)
{
    struct bytes fixed = {.data = (uint8_t[64]){0}, .room = 64};
    put8(&fixed, 0);
    put_varint(&fixed, 0);
    put_varint(&fixed, delta);
    put_varint(&fixed, -1);
    put_varint(&fixed, (int64_t)(sizeof(*head) + head->body_len));
    put_varint(to, (int64_t)(fixed.len + sizeof(*head) + head->body_len + 1));
    put(to, fixed.data, fixed.len);
    put(to, head, sizeof(*head));
    put(to, body, head->body_len);
    put_varint(to, 0);
}

static enum codec codec_of(uint64_t *random)
{
    static const enum codec codecs[] = {CODEC_NONE, CODEC_NONE, CODEC_NONE, CODEC_NONE,
                                        CODEC_NONE, CODEC_GZIP, CODEC_LZ4,  CODEC_ZSTD};
    return codecs[random_below(random, 8)];
}

static void gzip(struct bytes *to, const struct bytes *from)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    size_t bound = deflateBound(&stream, from->len);
    stream.next_out = room_for(to, bound);
    stream.avail_out = (uInt)bound;
    stream.next_in = from->data;
    stream.avail_in = (uInt)from->len;
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
        abort();
    to->len += stream.total_out;
    deflateEnd(&stream);
}

static void pack(struct bytes *to, enum codec codec, const struct bytes *from)
{
    /* Kafka's clients read no other kind. */
    static const LZ4F_preferences_t lz4 = {.frameInfo.blockMode = LZ4F_blockIndependent};
    size_t room;
    switch (codec) {
    case CODEC_GZIP:
        gzip(to, from);
        return;
    case CODEC_LZ4:
        room = LZ4F_compressFrameBound(from->len, &lz4);
        to->len += LZ4F_compressFrame(room_for(to, room), room, from->data, from->len, &lz4);
        return;
    case CODEC_ZSTD:
        room = ZSTD_compressBound(from->len);
        to->len += ZSTD_compress(room_for(to, room), room, from->data, from->len, 1);
        return;
    case CODEC_NONE:
        put(to, from->data, from->len);
        return;
    }
}

static uint64_t batch_seed(uint32_t producer, uint32_t partition, size_t batch)
{
    return load.seed ^ (uint64_t)producer << 56 ^ (uint64_t)partition << 44 ^ batch;
}

uint32_t batch_count(uint32_t producer, uint32_t partition, size_t number)
{
    uint64_t random = batch_seed(producer, partition, number);
    return 1 + random_below(&random, RECORDS_MAX);
}

/* The same bytes each time it is asked for the same batch. */
void put_batch(struct producer *pr, uint32_t partition, size_t number)
{
    const struct batch *batch = &load.partitions[partition]->streams[pr->number].batches[number];
    uint64_t random = batch_seed(pr->number, partition, number);
    uint32_t count = 1 + random_below(&random, RECORDS_MAX);
    enum codec codec = codec_of(&random);
    unsigned doublings = doublings_of(&random);
    pr->records.len = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct record_head head = {
            .magic = RECORD_MAGIC, .producer = pr->number, .partition = partition};
        head.number = batch->first_record + i;
        head.body_len = body_len_of(&random, doublings);
        if (pr->records.len + head.body_len > BATCH_BYTES_MAX)
            head.body_len = BODY_MIN;
        const uint8_t *body = load.pool + random_below(&random, POOL_BYTES - BODY_MAX);
        head.crc = record_crc(&head, body);
        put_record(&pr->records, i, &head, body);
    }
    struct bytes *out = &pr->out;
    size_t at = out->len;
    put64(out, 0);
    put32(out, 0); /* length, below */
    put32(out, -1);
    put8(out, 2);
    put32(out, 0); /* CRC, below */
    put16(out, (int16_t)codec);
    put32(out, count - 1);
    put64(out, batch->timestamp_ms);
    put64(out, batch->timestamp_ms);
    put64(out, batch->producer_id);
    put16(out, pr->epoch);
    put32(out, batch->first_sequence);
    put32(out, count);
    pack(out, codec, &pr->records);
    set32(out, at + 8, out->len - at - 12);
    set32(out, at + 17, crc32c(0, out->data + at + 21, out->len - at - 21));
}

static bool gunzip(struct bytes *to, const uint8_t *from, size_t len, size_t bound)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, 31) != Z_OK)
        abort();
    stream.next_in = from;
    stream.avail_in = (uInt)len;
    stream.next_out = room_for(to, bound);
    stream.avail_out = (uInt)bound;
    int result = inflate(&stream, Z_FINISH);
    to->len += stream.total_out;
    inflateEnd(&stream);
    return result == Z_STREAM_END;
}

static bool unlz4(struct bytes *to, const uint8_t *from, size_t len, size_t bound)
{
    LZ4F_dctx *context;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        abort();
    uint8_t *out = room_for(to, bound);
    size_t made = 0;
    size_t left = 1;
    while (left > 0 && !LZ4F_isError(left) && len > 0) {
        size_t got = bound - made;
        size_t used = len;
        left = LZ4F_decompress(context, out + made, &got, from, &used, NULL);
        made += got;
        from += used;
        len -= used;
        if (got == 0 && used == 0)
            break;
    }
    LZ4F_freeDecompressionContext(context);
    to->len += made;
    return left == 0 && len == 0;
}

bool unpack(struct bytes *to, enum codec codec, const uint8_t *from, size_t len)
{
    const size_t bound = BATCH_BYTES_MAX + BODY_MAX + RECORDS_MAX * 64;
    to->len = 0;
    size_t made;
    switch (codec) {
    case CODEC_GZIP:
        return gunzip(to, from, len, bound);
    case CODEC_LZ4:
        return unlz4(to, from, len, bound);
    case CODEC_ZSTD:
        made = ZSTD_decompress(room_for(to, bound), bound, from, len);
        to->len = ZSTD_isError(made) ? 0 : made;
        return !ZSTD_isError(made);
    case CODEC_NONE:
        put(to, from, len);
        return true;
    }
    return false;
}

/* NULL, or what is wrong with the records. */
const char *check_records(const struct bytes *records, uint32_t producer, uint32_t partition,
                          const struct batch *batch)
{
    struct reader reader = {.at = records->data, .end = records->data + records->len};
    for (uint32_t i = 0; i < batch->count; i++) {
        int64_t len = take_varint(&reader);
        const uint8_t *begin = reader.at;
        (void)take(&reader, 1);
        (void)take_varint(&reader);
        if (take_varint(&reader) != i)
            return "a record's offset";
        if (take_varint(&reader) != -1)
            return "a record's key";
        int64_t value_len = take_varint(&reader);
        struct record_head head;
        if (reader.bad || value_len < (int64_t)sizeof(head) || value_len > reader.end - reader.at)
            return "a record's length";
        memcpy(&head, take(&reader, sizeof(head)), sizeof(head));
        if (head.magic != RECORD_MAGIC || head.body_len != (size_t)value_len - sizeof(head))
            return "a record's head";
        if (head.producer != producer || head.partition != partition ||
            head.number != batch->first_record + i)
            return "a record of somewhere else";
        if (record_crc(&head, take(&reader, head.body_len)) != head.crc)
            return "a record's CRC";
        if (take_varint(&reader) != 0 || reader.bad || reader.at - begin != len)
            return "a record's end";
    }
    return reader.at == reader.end ? NULL : "bytes behind the last record";
}
