/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/record.h"

#include <string.h>

#include "io/mem.h"

/* The fields in their order; the parser stands before one of them. */
enum step {
    STEP_LENGTH,
    STEP_ATTRIBUTES,
    STEP_TIMESTAMP,
    STEP_OFFSET,
    STEP_KEY_LENGTH,
    STEP_KEY,
    STEP_VALUE_LENGTH,
    STEP_VALUE,
    STEP_HEADER_COUNT,
    STEP_HEADER_KEY_LENGTH,
    STEP_HEADER_KEY,
    STEP_HEADER_VALUE_LENGTH,
    STEP_HEADER_VALUE,
};

#define VARINT_SHIFT_MAX  28U /* five bytes */
#define VARLONG_SHIFT_MAX 63U /* ten bytes */

/* The bytes at hand: [at, end). */
struct cursor {
    const uint8_t *at, *end;
};

/* The slow half of read_varint: more than one byte, or not all of them here. */
static enum record_status read_long_varint(struct record_parser *parser, struct cursor *cursor,
                                           unsigned shift_max, uint64_t *value)
{
    while (cursor->at < cursor->end) {
        uint8_t byte = *cursor->at++;
        parser->varint |= (uint64_t)(byte & 0x7f) << parser->varint_shift;
        if (byte < 0x80) {
            *value = parser->varint;
            parser->varint = 0;
            parser->varint_shift = 0;
            return RECORD_READY;
        }
        if (parser->varint_shift >= shift_max)
            return RECORD_BROKEN;
        parser->varint_shift = (uint8_t)(parser->varint_shift + 7);
    }
    return RECORD_MORE;
}

static inline enum record_status read_varint(struct record_parser *parser, struct cursor *cursor,
                                             unsigned shift_max, uint64_t *value)
{
    if (parser->varint_shift == 0 && cursor->at < cursor->end && *cursor->at < 0x80) {
        *value = *cursor->at++;
        return RECORD_READY;
    }
    return read_long_varint(parser, cursor, shift_max, value);
}

static inline enum record_status read_long(struct record_parser *parser, struct cursor *cursor,
                                           int64_t *value)
{
    uint64_t raw;
    enum record_status status = read_varint(parser, cursor, VARLONG_SHIFT_MAX, &raw);
    if (status == RECORD_READY)
        *value = (int64_t)((raw >> 1) ^ (0U - (raw & 1)));
    return status;
}

/* A varint of 32 bits that may not be below `min`. Bits above 32 are dropped, as Kafka does. */
static inline enum record_status read_int(struct record_parser *parser, struct cursor *cursor,
                                          int32_t min, int32_t *value)
{
    uint64_t raw;
    enum record_status status = read_varint(parser, cursor, VARINT_SHIFT_MAX, &raw);
    if (status != RECORD_READY)
        return status;
    *value = (int32_t)(((uint32_t)raw >> 1) ^ (0U - ((uint32_t)raw & 1)));
    return *value < min ? RECORD_BROKEN : RECORD_READY;
}

/* Steps over parser->skip bytes. */
static inline enum record_status step_over(struct record_parser *parser, struct cursor *cursor)
{
    size_t here = (size_t)(cursor->end - cursor->at);
    if (here < parser->skip) {
        parser->skip -= (uint32_t)here;
        cursor->at = cursor->end;
        return RECORD_MORE;
    }
    cursor->at += parser->skip;
    parser->skip = 0;
    return RECORD_READY;
}

static uint32_t length_or_zero(int32_t length)
{
    return length > 0 ? (uint32_t)length : 0;
}

static enum record_status parse_headers(struct record_parser *parser, struct cursor *cursor)
{
    enum record_status status = RECORD_READY;
    int32_t length = 0;
    while (parser->headers_left > 0) {
        if (parser->step == STEP_HEADER_KEY || parser->step == STEP_HEADER_VALUE) {
            status = step_over(parser, cursor);
        } else {
            int32_t min = parser->step == STEP_HEADER_KEY_LENGTH ? 0 : -1;
            status = read_int(parser, cursor, min, &length);
            parser->skip = length_or_zero(length);
        }
        if (status != RECORD_READY)
            return status;
        if (parser->step == STEP_HEADER_VALUE) {
            parser->step = STEP_HEADER_KEY_LENGTH;
            parser->headers_left--;
        } else {
            parser->step++;
        }
    }
    return RECORD_READY;
}

/* Where the cursor stands in the record; `body` is the cursor as it was when `left` was true. */
static inline uint32_t position(const struct record_parser *parser, const struct cursor *cursor,
                                const uint8_t *body)
{
    return parser->shape.size - parser->left + (uint32_t)(cursor->at - body);
}

/* Reads the field that `step` names with `read`, or returns and comes back to it. */
#define FIELD(name, read)                                                                          \
    __attribute__((fallthrough));                                                                  \
    case name:                                                                                     \
        parser->step = name;                                                                       \
        status = (read);                                                                           \
        if (status != RECORD_READY)                                                                \
            return status;

static enum record_status parse_body(struct record_parser *parser, struct cursor *cursor)
{
    struct record_shape *shape = &parser->shape;
    const uint8_t *body = cursor->at;
    enum record_status status;
    switch ((enum step)parser->step) {
    case STEP_LENGTH:
    case STEP_ATTRIBUTES:
        if (cursor->at == cursor->end)
            return RECORD_MORE;
        shape->attributes = *cursor->at++;
        FIELD(STEP_TIMESTAMP, read_long(parser, cursor, &shape->timestamp_delta))
        FIELD(STEP_OFFSET, read_int(parser, cursor, INT32_MIN, &shape->offset_delta))
        FIELD(STEP_KEY_LENGTH, read_int(parser, cursor, -1, &shape->key_len))
        shape->key_at = position(parser, cursor, body);
        parser->skip = length_or_zero(shape->key_len);
        FIELD(STEP_KEY, step_over(parser, cursor))
        FIELD(STEP_VALUE_LENGTH, read_int(parser, cursor, -1, &shape->value_len))
        shape->value_at = position(parser, cursor, body);
        parser->skip = length_or_zero(shape->value_len);
        FIELD(STEP_VALUE, step_over(parser, cursor))
        FIELD(STEP_HEADER_COUNT, read_int(parser, cursor, 0, &shape->header_count))
        shape->headers_at = position(parser, cursor, body);
        parser->headers_left = shape->header_count;
        parser->step = STEP_HEADER_KEY_LENGTH;
        __attribute__((fallthrough));
    case STEP_HEADER_KEY_LENGTH:
    case STEP_HEADER_KEY:
    case STEP_HEADER_VALUE_LENGTH:
    case STEP_HEADER_VALUE:
    default:
        return parse_headers(parser, cursor);
    }
}

static bool between_records(const struct record_parser *parser)
{
    return parser->step == STEP_LENGTH && parser->varint_shift == 0;
}

/* A varint that is here as a whole, as the bits of its zigzag form. */
static inline bool quick_varint(struct cursor *cursor, unsigned shift_max, uint64_t *raw)
{
    const uint8_t *at = cursor->at;
    uint64_t value = 0;
    for (unsigned shift = 0; at < cursor->end && shift <= shift_max; shift += 7) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            cursor->at = at;
            *raw = value;
            return true;
        }
    }
    return false;
}

static inline bool quick_int(struct cursor *cursor, int32_t min, int32_t *value)
{
    uint64_t raw;
    if (!quick_varint(cursor, VARINT_SHIFT_MAX, &raw))
        return false;
    *value = (int32_t)(((uint32_t)raw >> 1) ^ (0U - ((uint32_t)raw & 1)));
    return *value >= min;
}

static inline bool quick_bytes(struct cursor *cursor, int32_t min, int32_t *length)
{
    if (!quick_int(cursor, min, length))
        return false;
    uint32_t skip = length_or_zero(*length);
    if ((size_t)(cursor->end - cursor->at) < skip)
        return false;
    cursor->at += skip;
    return true;
}

static bool quick_body(struct record_shape *shape, struct cursor *cursor)
{
    const uint8_t *body = cursor->at;
    uint64_t raw;
    shape->attributes = *cursor->at++;
    if (!quick_varint(cursor, VARLONG_SHIFT_MAX, &raw))
        return false;
    shape->timestamp_delta = (int64_t)((raw >> 1) ^ (0U - (raw & 1)));
    if (!quick_int(cursor, INT32_MIN, &shape->offset_delta) ||
        !quick_bytes(cursor, -1, &shape->key_len))
        return false;
    shape->key_at = (uint32_t)(cursor->at - body) - length_or_zero(shape->key_len);
    if (!quick_bytes(cursor, -1, &shape->value_len))
        return false;
    shape->value_at = (uint32_t)(cursor->at - body) - length_or_zero(shape->value_len);
    if (!quick_int(cursor, 0, &shape->header_count))
        return false;
    shape->headers_at = (uint32_t)(cursor->at - body);
    for (int32_t i = 0; i < shape->header_count; i++) {
        int32_t length;
        if (!quick_bytes(cursor, 0, &length) || !quick_bytes(cursor, -1, &length))
            return false;
    }
    return cursor->at == cursor->end;
}

/* The usual case, three times as fast: a good record that lies in the slice as a whole. It takes
 * nothing that the parser proper would not, and leaves every other case, and every verdict, to it.
 */
static bool parse_quick(struct record_shape *shape, const uint8_t **at, const uint8_t *end)
{
    struct cursor cursor = {.at = *at, .end = end};
    int32_t size;
    if (!quick_int(&cursor, 1, &size) || end - cursor.at < size)
        return false;
    cursor.end = cursor.at + size;
    /* Records of a batch are of a size: fetch the head of the next but one. */
    if (end - cursor.end > size)
        __builtin_prefetch(cursor.end + size);
    shape->size = (uint32_t)size;
    if (!quick_body(shape, &cursor))
        return false;
    *at = cursor.at;
    return true;
}

enum record_status record_parse(struct record_parser *parser, const uint8_t **at,
                                const uint8_t *end)
{
    if (between_records(parser) && parse_quick(&parser->shape, at, end))
        return RECORD_READY;
    struct cursor cursor = {.at = *at, .end = end};
    if (parser->step == STEP_LENGTH) {
        int32_t size;
        enum record_status status = read_int(parser, &cursor, 0, &size);
        *at = cursor.at;
        if (status != RECORD_READY)
            return status;
        parser->shape.size = parser->left = (uint32_t)size;
        parser->step = STEP_ATTRIBUTES;
    }
    const uint8_t *body = cursor.at;
    if ((size_t)(end - body) > parser->left)
        cursor.end = body + parser->left;
    enum record_status status = parse_body(parser, &cursor);
    parser->left -= (uint32_t)(cursor.at - body);
    *at = cursor.at;
    if (status == RECORD_READY) {
        parser->step = STEP_LENGTH;
        return parser->left == 0 ? RECORD_READY : RECORD_BROKEN;
    }
    /* A field that wants more than its record has. */
    if (status == RECORD_MORE && parser->left == 0)
        return RECORD_BROKEN;
    return status;
}

void record_walk_start(struct record_walk *walk, struct inflater *inflater, enum codec codec,
                       struct span records, uint64_t inflated_bytes_max)
{
    *walk = (struct record_walk){.inflater = inflater};
    inflater_start(inflater, codec, records, inflated_bytes_max);
}

enum record_status record_walk_next(struct record_walk *walk)
{
    if (walk->at != walk->end) {
        enum record_status status = record_parse(&walk->parser, &walk->at, walk->end);
        if (status != RECORD_MORE)
            return status;
    }
    uint32_t len;
    const uint8_t *data;
    switch (inflater_next(walk->inflater, &data, &len)) {
    case INFLATE_SLICE:
        walk->at = data;
        walk->end = data + len;
        return RECORD_MORE;
    case INFLATE_END:
        return between_records(&walk->parser) ? RECORD_END : RECORD_BROKEN;
    case INFLATE_TOO_LARGE:
        return RECORD_TOO_LARGE;
    case INFLATE_BROKEN:
    default:
        return RECORD_BROKEN;
    }
}

/* The records of the batch that `batch` begins with; false when it is not a whole v2 batch. */
static bool records_of(struct batch_header *header, struct span batch, struct span *records)
{
    if (!batch_header_read(header, &batch) || header->magic != BATCH_MAGIC)
        return false;
    int64_t size = batch_size(header);
    if (size < BATCH_HEADER_SIZE || size > batch.len || batch_codec(header) >= CODEC_COUNT)
        return false;
    *records = span_first(batch, (uint32_t)size);
    span_advance(records, BATCH_HEADER_SIZE);
    return true;
}

bool record_find_start(struct record_find *find, struct inflater *inflater, struct span batch,
                       int64_t target, int64_t from_offset, uint64_t inflated_bytes_max)
{
    struct span records;
    *find = (struct record_find){
        .target = target, .from_offset = from_offset, .offset = -1, .timestamp = -1};
    if (!records_of(&find->header, batch, &records))
        return false;
    record_walk_start(&find->walk, inflater, (enum codec)batch_codec(&find->header), records,
                      inflated_bytes_max);
    return true;
}

enum record_status record_find_step(struct record_find *find, uint32_t slices)
{
    for (;;) {
        enum record_status status = record_walk_next(&find->walk);
        if (status == RECORD_MORE) {
            if (slices-- <= 1)
                return RECORD_MORE;
            continue;
        }
        if (status != RECORD_READY)
            return status;
        const struct record_shape *shape = &find->walk.parser.shape;
        int64_t offset = batch_offset_of(&find->header, shape->offset_delta);
        int64_t timestamp = batch_timestamp_of(&find->header, shape->timestamp_delta);
        if (timestamp >= find->target && offset >= find->from_offset) {
            find->offset = offset;
            find->timestamp = timestamp;
            return RECORD_READY;
        }
    }
}

bool record_iter_init(struct record_iter *iter, struct inflater *inflater, struct span batch,
                      uint64_t inflated_bytes_max)
{
    struct span records;
    *iter = (struct record_iter){.inflater = inflater};
    if (!records_of(&iter->header, batch, &records))
        return false;
    iter->records_left = iter->header.record_count;
    inflater_start(inflater, (enum codec)batch_codec(&iter->header), records, inflated_bytes_max);
    return true;
}

void record_iter_fini(struct record_iter *iter)
{
    mem_free(iter->whole);
    *iter = (struct record_iter){0};
}

/* The next slice that is not empty, or why there is none. */
static enum record_status iter_refill(struct record_iter *iter)
{
    enum inflate_status status;
    uint32_t len = 0;
    do {
        status = inflater_next(iter->inflater, &iter->at, &len);
    } while (status == INFLATE_SLICE && len == 0);
    iter->end = iter->at == NULL ? NULL : iter->at + len;
    if (status == INFLATE_SLICE)
        return RECORD_READY;
    if (status == INFLATE_TOO_LARGE)
        return RECORD_TOO_LARGE;
    return status == INFLATE_END ? RECORD_END : RECORD_BROKEN;
}

/* The length of the next record; RECORD_END when there is none. */
static enum record_status iter_length(struct record_iter *iter, int32_t *length)
{
    struct record_parser parser = {0};
    for (;;) {
        struct cursor cursor = {.at = iter->at, .end = iter->end};
        enum record_status status = read_int(&parser, &cursor, 0, length);
        iter->at = cursor.at;
        if (status != RECORD_MORE)
            return status;
        status = iter_refill(iter);
        if (status == RECORD_END && parser.varint_shift != 0)
            return RECORD_BROKEN;
        if (status != RECORD_READY)
            return status;
    }
}

/* `length` bytes in one piece. Memory grows with what has really come, not with what was claimed.
 */
static enum record_status iter_whole(struct record_iter *iter, uint32_t length,
                                     const uint8_t **body)
{
    if ((size_t)(iter->end - iter->at) >= length) {
        *body = iter->at;
        iter->at += length;
        return RECORD_READY;
    }
    size_t have = 0;
    for (;;) {
        size_t run = (size_t)min_u64((size_t)(iter->end - iter->at), length - have);
        if (have + run > iter->whole_cap) {
            iter->whole_cap = (size_t)max_u64(have + run, iter->whole_cap * 2);
            iter->whole = mem_realloc(iter->whole, iter->whole_cap);
        }
        if (run > 0)
            memcpy(iter->whole + have, iter->at, run);
        iter->at += run;
        have += run;
        if (have == length)
            break;
        enum record_status status = iter_refill(iter);
        if (status != RECORD_READY)
            return status == RECORD_END ? RECORD_BROKEN : status;
    }
    *body = iter->whole;
    return RECORD_READY;
}

/* One record in one piece: its shape, and where its bytes behind the length begin. */
static enum record_status iter_parse(struct record_iter *iter, struct record_shape *shape,
                                     const uint8_t **body)
{
    if (iter->at != iter->end && parse_quick(shape, &iter->at, iter->end)) {
        *body = iter->at - shape->size;
        return RECORD_READY;
    }
    int32_t length = 0;
    enum record_status status = iter_length(iter, &length);
    if (status == RECORD_READY)
        status = iter_whole(iter, (uint32_t)length, body);
    if (status != RECORD_READY)
        return status;
    struct record_parser parser = {.step = STEP_ATTRIBUTES, .left = (uint32_t)length};
    parser.shape.size = (uint32_t)length;
    const uint8_t *at = *body;
    if (length == 0 || record_parse(&parser, &at, at + length) != RECORD_READY)
        return RECORD_BROKEN;
    *shape = parser.shape;
    return RECORD_READY;
}

enum record_status record_iter_next(struct record_iter *iter, struct record *record)
{
    struct record_shape parsed;
    const struct record_shape *shape = &parsed;
    const uint8_t *body = NULL;
    enum record_status status = iter_parse(iter, &parsed, &body);
    if (status == RECORD_END)
        return iter->records_left == 0 ? RECORD_END : RECORD_BROKEN;
    if (status != RECORD_READY)
        return status;
    if (iter->records_left <= 0)
        return RECORD_BROKEN;
    iter->records_left--;
    *record = (struct record){
        .offset = batch_offset_of(&iter->header, shape->offset_delta),
        .timestamp = batch_timestamp_of(&iter->header, shape->timestamp_delta),
        .key = shape->key_len < 0 ? NULL : body + shape->key_at,
        .key_len = shape->key_len,
        .value = shape->value_len < 0 ? NULL : body + shape->value_at,
        .value_len = shape->value_len,
        .header_count = shape->header_count,
        .headers = body + shape->headers_at,
        .headers_len = shape->size - shape->headers_at,
    };
    return RECORD_READY;
}

bool record_header_next(struct record *record, struct record_header *header)
{
    if (record->header_count == 0)
        return false;
    /* The record was parsed as a whole before, so its headers are known to fit. */
    struct record_parser parser = {0};
    struct cursor cursor = {.at = record->headers, .end = record->headers + record->headers_len};
    must(read_int(&parser, &cursor, 0, &header->key_len) == RECORD_READY);
    header->key = (const char *)(const void *)cursor.at;
    cursor.at += header->key_len;
    must(read_int(&parser, &cursor, -1, &header->value_len) == RECORD_READY);
    header->value = header->value_len < 0 ? NULL : cursor.at;
    cursor.at += length_or_zero(header->value_len);
    must(cursor.at <= cursor.end);
    record->headers = cursor.at;
    record->headers_len = (uint32_t)(cursor.end - cursor.at);
    record->header_count--;
    return true;
}

uint32_t record_put_varint(uint8_t *to, int64_t value)
{
    uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    uint32_t len = 0;
    for (; left >= 0x80; left >>= 7)
        to[len++] = (uint8_t)(left | 0x80);
    to[len++] = (uint8_t)left;
    return len;
}
