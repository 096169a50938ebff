/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch_builder.h"

#include <string.h>

#include "io/crc.h"
#include "io/mem.h"

#define VARINT_LEN_MAX 10U

void batch_builder_init(struct batch_builder *builder)
{
    *builder = (struct batch_builder){0};
    batch_builder_start(builder);
}

void batch_builder_fini(struct batch_builder *builder)
{
    mem_free(builder->plain);
    mem_free(builder->packed);
    *builder = (struct batch_builder){0};
}

static void grow(uint8_t **buffer, size_t *cap, size_t size)
{
    if (size <= *cap)
        return;
    *cap = (size_t)max_u64(size, *cap * 2);
    *buffer = mem_realloc(*buffer, *cap);
}

void batch_builder_start(struct batch_builder *builder)
{
    grow(&builder->plain, &builder->plain_cap, 4096);
    builder->plain_len = BATCH_HEADER_SIZE;
    builder->next_delta = 0;
    builder->base_timestamp_set = false;
    builder->header = (struct batch_header){
        .magic = BATCH_MAGIC,
        .leader_epoch = -1,
        .max_timestamp = BATCH_NO_TIMESTAMP,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
    };
}

static uint32_t varint_len(int64_t value)
{
    uint8_t bytes[VARINT_LEN_MAX];
    return record_put_varint(bytes, value);
}

static void put_varint(struct batch_builder *builder, int64_t value)
{
    builder->plain_len += record_put_varint(builder->plain + builder->plain_len, value);
}

static void put_bytes(struct batch_builder *builder, const void *data, int32_t len)
{
    put_varint(builder, len);
    if (len > 0)
        memcpy(builder->plain + builder->plain_len, data, (size_t)len);
    builder->plain_len += len > 0 ? (size_t)len : 0;
}

static size_t bytes_len(int32_t len)
{
    return varint_len(len) + (len > 0 ? (size_t)len : 0);
}

/* The parts that every record has, before its headers, whose encoding has `headers_len` bytes. */
static void begin_record(struct batch_builder *builder, int64_t timestamp, struct bytes_or_null key,
                         struct bytes_or_null value, size_t headers_len)
{
    struct batch_header *batch = &builder->header;
    if (batch->record_count == 0 && !builder->base_timestamp_set)
        batch->base_timestamp = timestamp;
    int64_t time_delta = (int64_t)((uint64_t)timestamp - (uint64_t)batch->base_timestamp);
    size_t size = 1 + varint_len(time_delta) + varint_len(builder->next_delta) +
                  bytes_len(key.len) + bytes_len(value.len) + headers_len;
    must(size <= INT32_MAX);
    grow(&builder->plain, &builder->plain_cap, builder->plain_len + VARINT_LEN_MAX + size);

    put_varint(builder, (int64_t)size);
    builder->plain[builder->plain_len++] = 0;
    put_varint(builder, time_delta);
    put_varint(builder, builder->next_delta);
    put_bytes(builder, key.data, key.len);
    put_bytes(builder, value.data, value.len);
    batch->max_timestamp = max_i64(batch->max_timestamp, timestamp);
    batch->last_offset_delta = builder->next_delta++;
    batch->record_count++;
}

void batch_builder_add(struct batch_builder *builder, int64_t timestamp, struct bytes_or_null key,
                       struct bytes_or_null value, const struct record_header *headers,
                       int32_t header_count)
{
    size_t headers_len = varint_len(header_count);
    for (int32_t i = 0; i < header_count; i++)
        headers_len += bytes_len(headers[i].key_len) + bytes_len(headers[i].value_len);
    begin_record(builder, timestamp, key, value, headers_len);
    put_varint(builder, header_count);
    for (int32_t i = 0; i < header_count; i++) {
        put_bytes(builder, headers[i].key, headers[i].key_len);
        put_bytes(builder, headers[i].value, headers[i].value_len);
    }
}

void batch_builder_add_record(struct batch_builder *builder, const struct record *record)
{
    begin_record(builder, record->timestamp, (struct bytes_or_null){record->key, record->key_len},
                 (struct bytes_or_null){record->value, record->value_len},
                 varint_len(record->header_count) + record->headers_len);
    put_varint(builder, record->header_count);
    memcpy(builder->plain + builder->plain_len, record->headers, record->headers_len);
    builder->plain_len += record->headers_len;
}

size_t batch_builder_finish(struct batch_builder *builder, struct deflater *deflater,
                            enum codec codec, int level, const uint8_t **bytes)
{
    struct batch_header *header = &builder->header;
    uint8_t *to = builder->plain;
    size_t len = builder->plain_len;
    if (codec != CODEC_NONE) {
        size_t body = len - BATCH_HEADER_SIZE;
        grow(&builder->packed, &builder->packed_cap,
             BATCH_HEADER_SIZE + deflate_bound(codec, body));
        to = builder->packed;
        len = BATCH_HEADER_SIZE + deflater_run(deflater, codec, level,
                                               builder->plain + BATCH_HEADER_SIZE, body,
                                               to + BATCH_HEADER_SIZE);
    }
    must(len <= INT32_MAX);
    header->length = (int32_t)(len - BATCH_LENGTH_END);
    header->attributes = (uint16_t)((header->attributes & ~BATCH_CODEC_MASK) | (int)codec);
    batch_header_put(header, to);
    header->crc = crc32c(0, to + BATCH_CRC_FROM, len - BATCH_CRC_FROM);
    batch_header_put(header, to);
    *bytes = to;
    return len;
}
