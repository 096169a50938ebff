/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch.h"

#include <endian.h>
#include <string.h>

#include "io/crc.h"

static uint16_t be16_at(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return be16toh(value);
}

static uint32_t be32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static uint64_t be64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

static void put_be16(uint8_t *at, uint16_t value)
{
    value = htobe16(value);
    memcpy(at, &value, sizeof(value));
}

static void put_be32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

static void put_be64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
}

void batch_header_of(struct batch_header *header, const uint8_t *bytes)
{
    *header = (struct batch_header){
        .base_offset = (int64_t)be64_at(bytes + BATCH_AT_BASE_OFFSET),
        .length = (int32_t)be32_at(bytes + BATCH_AT_LENGTH),
        .leader_epoch = (int32_t)be32_at(bytes + BATCH_AT_LEADER_EPOCH),
        .magic = (int8_t)bytes[BATCH_AT_MAGIC],
        .crc = be32_at(bytes + BATCH_AT_CRC),
        .attributes = be16_at(bytes + BATCH_AT_ATTRIBUTES),
        .last_offset_delta = (int32_t)be32_at(bytes + BATCH_AT_LAST_OFFSET_DELTA),
        .base_timestamp = (int64_t)be64_at(bytes + BATCH_AT_BASE_TIMESTAMP),
        .max_timestamp = (int64_t)be64_at(bytes + BATCH_AT_MAX_TIMESTAMP),
        .producer_id = (int64_t)be64_at(bytes + BATCH_AT_PRODUCER_ID),
        .producer_epoch = (int16_t)be16_at(bytes + BATCH_AT_PRODUCER_EPOCH),
        .base_sequence = (int32_t)be32_at(bytes + BATCH_AT_BASE_SEQUENCE),
        .record_count = (int32_t)be32_at(bytes + BATCH_AT_RECORD_COUNT),
    };
}

bool batch_header_read(struct batch_header *header, const struct span *span)
{
    uint8_t bytes[BATCH_HEADER_SIZE];
    if (span->len < BATCH_HEADER_SIZE)
        return false;
    span_peek(span, bytes, BATCH_HEADER_SIZE);
    batch_header_of(header, bytes);
    return true;
}

void batch_header_put(const struct batch_header *header, uint8_t *bytes)
{
    put_be64(bytes + BATCH_AT_BASE_OFFSET, (uint64_t)header->base_offset);
    put_be32(bytes + BATCH_AT_LENGTH, (uint32_t)header->length);
    put_be32(bytes + BATCH_AT_LEADER_EPOCH, (uint32_t)header->leader_epoch);
    bytes[BATCH_AT_MAGIC] = (uint8_t)header->magic;
    put_be32(bytes + BATCH_AT_CRC, header->crc);
    put_be16(bytes + BATCH_AT_ATTRIBUTES, header->attributes);
    put_be32(bytes + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)header->last_offset_delta);
    put_be64(bytes + BATCH_AT_BASE_TIMESTAMP, (uint64_t)header->base_timestamp);
    put_be64(bytes + BATCH_AT_MAX_TIMESTAMP, (uint64_t)header->max_timestamp);
    put_be64(bytes + BATCH_AT_PRODUCER_ID, (uint64_t)header->producer_id);
    put_be16(bytes + BATCH_AT_PRODUCER_EPOCH, (uint16_t)header->producer_epoch);
    put_be32(bytes + BATCH_AT_BASE_SEQUENCE, (uint32_t)header->base_sequence);
    put_be32(bytes + BATCH_AT_RECORD_COUNT, (uint32_t)header->record_count);
}

uint32_t batch_crc(struct span batch)
{
    must(batch.len >= BATCH_HEADER_SIZE);
    span_advance(&batch, BATCH_CRC_FROM);
    return crc32c_span(0, batch);
}

void batch_put_place(uint8_t *bytes, int64_t base_offset, int32_t leader_epoch)
{
    put_be64(bytes + BATCH_AT_BASE_OFFSET, (uint64_t)base_offset);
    put_be32(bytes + BATCH_AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

void batch_put_timestamp(uint8_t *bytes, bool log_append_time, int64_t max_timestamp)
{
    enum { END = BATCH_AT_MAX_TIMESTAMP + 8 };
    uint8_t was[END - BATCH_CRC_FROM];
    memcpy(was, bytes + BATCH_CRC_FROM, sizeof(was));
    uint16_t attributes = be16_at(bytes + BATCH_AT_ATTRIBUTES);
    if (log_append_time)
        attributes |= BATCH_LOG_APPEND_TIME;
    else
        attributes &= (uint16_t)~BATCH_LOG_APPEND_TIME;
    put_be16(bytes + BATCH_AT_ATTRIBUTES, attributes);
    put_be64(bytes + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    uint64_t after = (uint64_t)be32_at(bytes + BATCH_AT_LENGTH) + BATCH_LENGTH_END - END;
    uint32_t crc = be32_at(bytes + BATCH_AT_CRC);
    crc = crc32c_patch(crc, was, bytes + BATCH_CRC_FROM, sizeof(was), after);
    put_be32(bytes + BATCH_AT_CRC, crc);
}
