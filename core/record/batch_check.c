/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "io/crc.h"

enum state {
    STATE_CRC,     /* summing up, before anything inside is believed */
    STATE_HEADER,  /* the fields that the checksum covers */
    STATE_RECORDS, /* walking */
    STATE_GOOD,
    STATE_REFUSED,
    STATE_REFUSED_CRC, /* refused, but perhaps it is damaged: summing up */
};

/* The least length field Kafka takes for a batch of any format; less is damage, not age. */
#define LENGTH_MIN 14

/* Refuses, with the constant `text` when `format` gives no sentence of its own. A failure found
 * inside the checksum stands only if the checksum holds. */
static void refuse(struct batch_check *check, enum err code, const char *format, ...)
    printf_like(3, 4);

static void refuse(struct batch_check *check, enum err code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(check->sentence, sizeof(check->sentence), format, arguments);
    va_end(arguments);
    check->failure = failure_of(code, check->sentence);
    bool is_inside = check->state == STATE_HEADER || check->state == STATE_RECORDS;
    check->state = is_inside && !check->crc_known ? STATE_REFUSED_CRC : STATE_REFUSED;
}

/* What can be said without believing the checksum: is there exactly one whole v2 batch? */
static bool frame_is_good(struct batch_check *check, struct span records)
{
    struct batch_header *header = &check->header;
    uint8_t bytes[BATCH_HEADER_SIZE] = {0};
    uint32_t have = records.len < BATCH_HEADER_SIZE ? records.len : BATCH_HEADER_SIZE;
    span_peek(&records, bytes, have);
    batch_header_of(header, bytes);
    int64_t size = batch_size(header);
    if (have < BATCH_LENGTH_END) {
        refuse(check, ERR_INVALID_RECORD, "the request has no record batch for this partition");
    } else if (header->length < LENGTH_MIN) {
        refuse(check, ERR_CORRUPT_MESSAGE, "record batch has a length of %d", header->length);
    } else if (have <= BATCH_AT_MAGIC || size > records.len) {
        refuse(check, ERR_INVALID_RECORD, "record batch of %" PRId64 " bytes is cut off after %u",
               size, records.len);
    } else if (header->magic < 0 || header->magic > BATCH_MAGIC) {
        refuse(check, ERR_CORRUPT_MESSAGE, "record batch has the unknown magic %d", header->magic);
    } else if (header->magic < BATCH_MAGIC) {
        refuse(check, ERR_INVALID_RECORD,
               "message format %d is not accepted, only record batches of format 2", header->magic);
    } else if (size < records.len) {
        refuse(check, ERR_INVALID_RECORD,
               "%" PRId64 " bytes follow the record batch, there must be exactly one",
               records.len - size);
    } else {
        return true;
    }
    return false;
}

static bool size_is_good(struct batch_check *check)
{
    const struct batch_header *header = &check->header;
    int64_t size = batch_size(header);
    if (size > check->rules.message_bytes_max) {
        refuse(check, ERR_MESSAGE_TOO_LARGE,
               "record batch is %" PRId64 " bytes, max.message.bytes is %d", size,
               check->rules.message_bytes_max);
    } else if (size > check->rules.segment_bytes) {
        refuse(check, ERR_RECORD_LIST_TOO_LARGE,
               "record batch is %" PRId64 " bytes, segment.bytes is %d", size,
               check->rules.segment_bytes);
    } else if (size < BATCH_HEADER_SIZE) {
        refuse(check, ERR_CORRUPT_MESSAGE,
               "record batch is %" PRId64 " bytes, its header alone has %u", size,
               BATCH_HEADER_SIZE);
    } else if (header->base_offset != 0) {
        refuse(check, ERR_INVALID_RECORD, "base offset is %" PRId64 ", a producer must send 0",
               header->base_offset);
    } else {
        return true;
    }
    return false;
}

void batch_check_start(struct batch_check *check, const struct batch_rules *rules,
                       struct inflater *inflater, struct span records)
{
    check->failure = (struct failure){0};
    check->record_error_count = check->record_error_total = 0;
    check->max_timestamp = BATCH_NO_TIMESTAMP;
    check->max_timestamp_offset_delta = -1;
    check->rules = *rules;
    check->batch = check->crc_left = records;
    check->crc = 0;
    check->record_index = 0;
    check->crc_known = check->bad_timestamps = false;
    check->inflater = inflater;
    check->state = STATE_CRC;
    if (!frame_is_good(check, records) || !size_is_good(check))
        return;
    span_advance(&check->crc_left, BATCH_CRC_FROM);
    if (rules->crc_by_copy)
        check->state = STATE_HEADER;
}

bool batch_check_is_heavy(const struct batch_check *check)
{
    return check->state <= STATE_RECORDS && batch_codec(&check->header) != CODEC_NONE &&
           check->batch.len > CODEC_SLICE_SIZE_MAX;
}

/* One slice of the checksum. */
static void crc_step(struct batch_check *check)
{
    uint32_t run = (uint32_t)min_u64(check->crc_left.len, CODEC_SLICE_SIZE_MAX);
    check->crc = crc32c_span(check->crc, span_first(check->crc_left, run));
    span_advance(&check->crc_left, run);
    if (check->crc_left.len > 0)
        return;
    check->crc_known = true;
    bool was_refused = check->state == STATE_REFUSED_CRC;
    if (check->crc != check->header.crc)
        refuse(check, ERR_CORRUPT_MESSAGE, "checksum of the record batch is %08x, it says %08x",
               check->crc, check->header.crc);
    else
        check->state = was_refused ? STATE_REFUSED : STATE_HEADER;
}

static bool codec_is_good(struct batch_check *check)
{
    int codec = batch_codec(&check->header);
    if (codec >= CODEC_COUNT) {
        refuse(check, ERR_UNSUPPORTED_COMPRESSION_TYPE, "there is no compression type %d", codec);
        return false;
    }
    if (codec == CODEC_ZSTD && !check->rules.zstd_allowed) {
        refuse(check, ERR_UNSUPPORTED_COMPRESSION_TYPE,
               "zstd needs a produce request of version 7 or later");
        return false;
    }
    return true;
}

/* What the header says by itself, then on to the records. */
static void header_step(struct batch_check *check)
{
    const struct batch_header *header = &check->header;
    if (!codec_is_good(check))
        return;
    if (header->record_count <= 0) {
        refuse(check, ERR_INVALID_RECORD, "record batch has a count of %d records",
               header->record_count);
    } else if (header->last_offset_delta != header->record_count - 1) {
        refuse(check, ERR_INVALID_RECORD,
               "record batch has %d records, but a last offset delta of %d", header->record_count,
               header->last_offset_delta);
    } else if (header->attributes & BATCH_CONTROL) {
        refuse(check, ERR_INVALID_RECORD, "control batches are written by brokers only");
    } else if (header->attributes & BATCH_DELETE_HORIZON) {
        refuse(check, ERR_INVALID_RECORD, "the delete horizon is set by brokers only");
    } else if (header->producer_id >= 0 && header->base_sequence < 0) {
        refuse(check, ERR_INVALID_RECORD, "producer id %" PRId64 " with the sequence number %d",
               header->producer_id, header->base_sequence);
    } else {
        struct span records = check->batch;
        span_advance(&records, BATCH_HEADER_SIZE);
        record_walk_start(&check->walk, check->inflater, (enum codec)batch_codec(header), records,
                          check->rules.inflated_bytes_max);
        check->state = STATE_RECORDS;
    }
}

static void note_record_error(struct batch_check *check, enum record_error_kind kind,
                              int64_t timestamp)
{
    check->record_error_total++;
    check->bad_timestamps |= kind != RECORD_ERROR_NO_KEY;
    if (check->record_error_count < BATCH_RECORD_ERRORS_MAX)
        check->record_errors[check->record_error_count++] = (struct record_error){
            .timestamp = timestamp, .batch_index = check->record_index, .kind = kind};
}

static bool timestamp_is_good(const struct batch_rules *rules, int64_t timestamp)
{
    if (rules->log_append_time || timestamp == BATCH_NO_TIMESTAMP)
        return true;
    /* Unsigned, because the distance of two int64_t is one bit wider than they are. */
    uint64_t now = (uint64_t)rules->now_ms;
    uint64_t time = (uint64_t)timestamp;
    if (timestamp <= rules->now_ms)
        return now - time <= (uint64_t)rules->timestamp_before_max_ms;
    return time - now <= (uint64_t)rules->timestamp_after_max_ms;
}

static void look_at_record(struct batch_check *check)
{
    const struct record_shape *shape = &check->walk.parser.shape;
    const struct batch_header *header = &check->header;
    if (check->record_index >= header->record_count) {
        refuse(check, ERR_INVALID_RECORD, "record batch holds more than the %d records it counts",
               header->record_count);
        return;
    }
    if (shape->offset_delta != check->record_index) {
        refuse(check, ERR_INVALID_RECORD, "record %d has the offset delta %d", check->record_index,
               shape->offset_delta);
        return;
    }
    int64_t timestamp =
        (int64_t)((uint64_t)header->base_timestamp + (uint64_t)shape->timestamp_delta);
    if (check->rules.compacted && shape->key_len < 0)
        note_record_error(check, RECORD_ERROR_NO_KEY, timestamp);
    else if (header->attributes & BATCH_LOG_APPEND_TIME)
        note_record_error(check, RECORD_ERROR_LOG_APPEND_TIME, timestamp);
    else if (!timestamp_is_good(&check->rules, timestamp))
        note_record_error(check, RECORD_ERROR_TIMESTAMP, timestamp);
    if (timestamp > check->max_timestamp) {
        check->max_timestamp = timestamp;
        check->max_timestamp_offset_delta = check->record_index;
    }
    check->record_index++;
}

/* All records were seen and none was left over. */
static void finish(struct batch_check *check)
{
    if (check->record_index != check->header.record_count) {
        refuse(check, ERR_INVALID_RECORD, "record batch counts %d records, but holds %d",
               check->header.record_count, check->record_index);
    } else if (check->record_error_total > 0) {
        refuse(check, check->bad_timestamps ? ERR_INVALID_TIMESTAMP : ERR_INVALID_RECORD,
               "%u of the %d records were refused, so the batch is", check->record_error_total,
               check->header.record_count);
    } else {
        if (check->rules.log_append_time) {
            check->max_timestamp = check->rules.now_ms;
            check->max_timestamp_offset_delta = 0;
        }
        check->plain_bytes = check->rules.inflated_bytes_max - inflater_left(check->inflater);
        check->state = STATE_GOOD;
    }
}

/* Walks to the end of the slice at hand. */
static void records_step(struct batch_check *check)
{
    while (check->state == STATE_RECORDS) {
        enum record_status status = record_walk_next(&check->walk);
        switch (status) {
        case RECORD_READY:
            look_at_record(check);
            break;
        case RECORD_MORE:
            return;
        case RECORD_END:
            finish(check);
            break;
        case RECORD_TOO_LARGE:
            refuse(check, ERR_INVALID_RECORD,
                   "records inflate to more than the %" PRIu64 " bytes allowed",
                   check->rules.inflated_bytes_max);
            break;
        case RECORD_BROKEN:
        default:
            refuse(check, ERR_INVALID_RECORD, "record %d of the batch cannot be read%s",
                   check->record_index,
                   batch_codec(&check->header) == CODEC_NONE ? "" : " or inflated");
        }
    }
}

enum batch_verdict batch_check_step(struct batch_check *check, uint32_t slices)
{
    must(slices > 0);
    for (;;) {
        switch ((enum state)check->state) {
        case STATE_GOOD:
            return BATCH_GOOD;
        case STATE_REFUSED:
            return BATCH_REFUSED;
        case STATE_HEADER:
            header_step(check);
            continue;
        case STATE_RECORDS:
            records_step(check);
            break;
        case STATE_CRC:
        case STATE_REFUSED_CRC:
        default:
            crc_step(check);
            break;
        }
        /* A verdict is returned with the last slice, not in a step of its own. */
        if (--slices == 0 && check->state != STATE_GOOD && check->state != STATE_REFUSED)
            return BATCH_MORE;
    }
}

void batch_check_record_error(const struct batch_check *check, uint32_t index, char *text,
                              size_t size)
{
    must(index < check->record_error_count);
    const struct record_error *error = &check->record_errors[index];
    switch (error->kind) {
    case RECORD_ERROR_NO_KEY:
        (void)snprintf(text, size, "a compacted topic takes no record without a key");
        return;
    case RECORD_ERROR_LOG_APPEND_TIME:
        (void)snprintf(text, size, "a producer may not set the timestamp type LogAppendTime");
        return;
    case RECORD_ERROR_TIMESTAMP:
    default:
        (void)snprintf(text, size,
                       "timestamp %" PRId64 " is too far from the broker's clock, %" PRId64,
                       error->timestamp, check->rules.now_ms);
    }
}
