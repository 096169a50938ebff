/* SPDX-License-Identifier: Apache-2.0
 *
 * A record batch, format v2: the unit that producers send, the log stores and consumers read, bit
 * for bit. Layout (KIP-98; integers are big-endian):
 *
 *      0  base offset             i64  |  outside the checksum: the broker's to set
 *      8  length                  i32  |  of what follows this field
 *     12  partition leader epoch  i32  |
 *     16  magic (2)               i8   |
 *     17  CRC-32C of the rest     u32  |
 *     21  attributes              i16     codec, timestamp type, transactional, control
 *     23  last offset delta       i32
 *     27  base timestamp          i64
 *     35  max timestamp           i64
 *     43  producer id             i64
 *     51  producer epoch          i16
 *     53  base sequence           i32
 *     57  record count            i32
 *     61  records, compressed as a whole
 *
 * This file knows the header alone: reading it, and the changes a broker may make. Who may send
 * what is core/record/batch_check.h, the records are core/record/record.h, making batches is
 * core/record/batch_builder.h.
 *
 * The changes inside the checksum (B7, B8: timestamp type and max timestamp) do not touch the
 * records: the checksum is moved by the difference (crc32c_patch). So a header can be patched
 * before its batch is copied, and the one pass that copies the records into the log proves at the
 * same time that they are what the producer sent.
 */
#pragma once

#include "core/record/codec.h"
#include "io/span.h"

#define BATCH_HEADER_SIZE  61U
#define BATCH_LENGTH_END   12U /* the length field counts from here */
#define BATCH_CRC_FROM     21U /* and so does the checksum */
#define BATCH_MAGIC        2
#define BATCH_NO_TIMESTAMP (-1LL)

enum batch_field {
    BATCH_AT_BASE_OFFSET = 0,
    BATCH_AT_LENGTH = 8,
    BATCH_AT_LEADER_EPOCH = 12,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_CRC = 17,
    BATCH_AT_ATTRIBUTES = 21,
    BATCH_AT_LAST_OFFSET_DELTA = 23,
    BATCH_AT_BASE_TIMESTAMP = 27,
    BATCH_AT_MAX_TIMESTAMP = 35,
    BATCH_AT_PRODUCER_ID = 43,
    BATCH_AT_PRODUCER_EPOCH = 51,
    BATCH_AT_BASE_SEQUENCE = 53,
    BATCH_AT_RECORD_COUNT = 57,
};

enum batch_attribute {
    BATCH_CODEC_MASK = 0x07,
    BATCH_LOG_APPEND_TIME = 0x08,
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    BATCH_DELETE_HORIZON = 0x40, /* base timestamp is when tombstones may go (KIP-534) */
};

/* The header in host order. Nothing in it is checked. */
struct batch_header {
    int64_t base_offset;
    int32_t length;
    int32_t leader_epoch;
    int8_t magic;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

/* `bytes` are BATCH_HEADER_SIZE. */
void batch_header_of(struct batch_header *header, const uint8_t *bytes);
/* False when the span is too short for a header. */
bool batch_header_read(struct batch_header *header, const struct span *span);
/* The reverse; all of the header, the checksum as it stands in `header`. */
void batch_header_put(const struct batch_header *header, uint8_t *bytes);

/* Bytes of the whole batch, from the base offset on. Meaningful for a length that was checked. */
static inline int64_t batch_size(const struct batch_header *header)
{
    return (int64_t)header->length + BATCH_LENGTH_END;
}

/* Wraps rather than overflows: a damaged header holds anything. */
static inline int64_t batch_offset_of(const struct batch_header *header, int32_t delta)
{
    return (int64_t)((uint64_t)header->base_offset + (uint64_t)(int64_t)delta);
}

static inline int64_t batch_last_offset(const struct batch_header *header)
{
    return batch_offset_of(header, header->last_offset_delta);
}

/* May be a value that is no codec. */
static inline int batch_codec(const struct batch_header *header)
{
    return header->attributes & BATCH_CODEC_MASK;
}

/* The time of a record with this delta: for LogAppendTime it is the batch's. */
static inline int64_t batch_timestamp_of(const struct batch_header *header, int64_t delta)
{
    if (header->attributes & BATCH_LOG_APPEND_TIME)
        return header->max_timestamp;
    return (int64_t)((uint64_t)header->base_timestamp + (uint64_t)delta);
}

/* The checksum that the span, one whole batch with its header, should carry. */
uint32_t batch_crc(struct span batch);

/* Outside the checksum (B9). `bytes` is the header wherever it lies. */
void batch_put_place(uint8_t *bytes, int64_t base_offset, int32_t leader_epoch);

/* Inside the checksum, which is moved along: the records are not needed (B7: type LogAppendTime and
 * the broker's clock; B8: type CreateTime and the true maximum). `bytes` is a whole header with a
 * checked length. */
void batch_put_timestamp(uint8_t *bytes, bool log_append_time, int64_t max_timestamp);
