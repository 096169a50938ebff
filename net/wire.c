/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the primitive codec that are not worth inlining: cuts between pieces, the end of the
 * frame, lengths and counts, new blocks.
 */
#include "net/wire.h"

#define STR_LEN_MAX     INT16_MAX
#define BLOCK_BYTES_MIN 512U
#define BLOCK_BYTES_MAX (32U << 10)
#define HOLE_BYTES_MAX  64U

/* ---- reading ---- */

void rd_init(struct rd *r, struct span frame)
{
    uint32_t run;
    const uint8_t *front = span_front(&frame, &run);
    *r = (struct rd){.at = front, .piece = frame.piece, .after = frame.len - run};
    r->end = front ? front + run : NULL;
}

void rd_fail(struct rd *r)
{
    r->bad = true;
    r->at = r->end = NULL;
    r->after = 0;
}

/* Steps into the next piece; only when the current one is used up and the frame goes on. */
static void next_piece(struct rd *r)
{
    r->piece++;
    must(r->piece->len > 0);
    uint32_t run = r->piece->len < r->after ? r->piece->len : r->after;
    r->at = r->piece->data;
    r->end = r->at + run;
    r->after -= run;
}

/* Drops `count` bytes and copies them to `to` if it is not NULL; count <= rd_left(). */
static void walk(struct rd *r, uint8_t *to, uint32_t count)
{
    while (count > 0) {
        if (r->at == r->end)
            next_piece(r);
        uint32_t run = (uint32_t)(r->end - r->at);
        if (run > count)
            run = count;
        if (to) {
            memcpy(to, r->at, run);
            to += run;
        }
        r->at += run;
        count -= run;
    }
}

void rd_take(struct rd *r, void *to, uint32_t count)
{
    if (count <= rd_left(r)) {
        walk(r, to, count);
        return;
    }
    rd_fail(r);
    memset(to, 0, count);
}

void rd_skip(struct rd *r, uint32_t count)
{
    if (count <= rd_left(r))
        walk(r, NULL, count);
    else
        rd_fail(r);
}

struct span rd_span(struct rd *r, uint32_t count)
{
    if (count > rd_left(r))
        rd_fail(r);
    if (r->bad || count == 0)
        return (struct span){.piece = NULL};
    if (r->at == r->end)
        next_piece(r);
    struct span span = {.piece = r->piece, .skip = (uint32_t)(r->at - r->piece->data)};
    span.len = count;
    walk(r, NULL, count);
    return span;
}

uint64_t rd_slow(struct rd *r, uint32_t size)
{
    uint8_t raw[8];
    rd_take(r, raw, size);
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value = value << 8 | raw[i];
    return value;
}

/* Up to `bits` bits in groups of seven, the lowest first. */
static uint64_t read_groups(struct rd *r, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        uint8_t byte = (uint8_t)rd_i8(r);
        uint64_t group = byte & 0x7f;
        if (shift + 7 > bits && group >> (bits - shift))
            break;
        value |= group << shift;
        if (byte < 0x80)
            return value;
    }
    rd_fail(r);
    return 0;
}

uint32_t rd_uvarint_slow(struct rd *r)
{
    return (uint32_t)read_groups(r, 32);
}

int32_t rd_varint(struct rd *r)
{
    uint32_t value = rd_uvarint(r);
    return (int32_t)(value >> 1) ^ -(int32_t)(value & 1);
}

int64_t rd_varlong(struct rd *r)
{
    uint64_t value = read_groups(r, 64);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* A length or count that was read: -1 for an allowed null; fails and gives 0 when it is negative
 * or when `len` elements of at least `unit` bytes cannot follow. */
static int32_t check_len(struct rd *r, int64_t len, bool nullable, uint32_t unit)
{
    if (len == -1 && nullable)
        return -1;
    if (len < 0 || len * unit > rd_left(r)) {
        rd_fail(r);
        return 0;
    }
    return (int32_t)len;
}

static int32_t read_len(struct rd *r, bool flex, bool nullable, uint32_t unit)
{
    int64_t len = flex ? (int64_t)rd_uvarint(r) - 1 : rd_i32(r);
    return r->bad ? 0 : check_len(r, len, nullable, unit);
}

/* `len` contiguous bytes: a view, or a copy of what is cut. */
static const uint8_t *view(struct rd *r, struct arena *arena, uint32_t len)
{
    if (r->at == r->end && r->after > 0 && len > 0)
        next_piece(r);
    if (len <= (size_t)(r->end - r->at)) {
        const uint8_t *data = r->at;
        if (len > 0)
            r->at += len;
        return data;
    }
    uint8_t *copy = arena_alloc(arena, len);
    if (!copy) {
        rd_fail(r);
        return NULL;
    }
    rd_take(r, copy, len);
    return copy;
}

struct str rd_str(struct rd *r, struct arena *arena, bool flex, bool nullable)
{
    int64_t wanted = flex ? (int64_t)rd_uvarint(r) - 1 : rd_i16(r);
    if (wanted > STR_LEN_MAX)
        rd_fail(r);
    int32_t len = r->bad ? 0 : check_len(r, wanted, nullable, 1);
    if (len < 0)
        return str_null();
    const uint8_t *data = view(r, arena, (uint32_t)len);
    return (struct str){(const char *)data, r->bad ? 0 : len};
}

struct bytes rd_bytes(struct rd *r, struct arena *arena, bool flex, bool nullable)
{
    int32_t len = read_len(r, flex, nullable, 1);
    if (len < 0)
        return (struct bytes){NULL, -1};
    const uint8_t *data = view(r, arena, (uint32_t)len);
    return (struct bytes){data, r->bad ? 0 : len};
}

struct records rd_records(struct rd *r, bool flex, bool nullable)
{
    int32_t len = read_len(r, flex, nullable, 1);
    if (len < 0)
        return (struct records){.kind = RECORDS_NULL};
    return records_of(rd_span(r, (uint32_t)len));
}

void *rd_array(struct rd *r, struct arena *arena, bool flex, bool nullable,
               uint32_t element_bytes_min, size_t element_size, int32_t *count)
{
    *count = read_len(r, flex, nullable, element_bytes_min);
    if (*count <= 0)
        return NULL;
    void *room = arena_array(arena, (size_t)*count, element_size);
    if (!room) {
        rd_fail(r);
        *count = 0;
    }
    return room;
}

/* A type cannot stand in parentheses. NOLINTBEGIN(bugprone-macro-parentheses) */
#define ARRAY_READER(name, type, wire_bytes, read)                                                 \
    type *name(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count)        \
    {                                                                                              \
        type *values = rd_array(r, arena, flex, nullable, wire_bytes, sizeof(*values), count);     \
        for (int32_t i = 0; i < *count; i++)                                                       \
            values[i] = read;                                                                      \
        return values;                                                                             \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

ARRAY_READER(rd_i8s, int8_t, 1, rd_i8(r))
ARRAY_READER(rd_i16s, int16_t, 2, rd_i16(r))
ARRAY_READER(rd_i32s, int32_t, 4, rd_i32(r))
ARRAY_READER(rd_i64s, int64_t, 8, rd_i64(r))
ARRAY_READER(rd_uuids, struct uuid, 16, rd_uuid(r))
ARRAY_READER(rd_strs, struct str, flex ? 1 : 2, rd_str(r, arena, flex, false))

uint32_t rd_tag(struct rd *r, struct rd *field)
{
    uint32_t tag = rd_uvarint(r);
    uint32_t size = rd_uvarint(r);
    rd_init(field, rd_span(r, size));
    field->bad = r->bad;
    return tag;
}

void rd_tag_end(struct rd *r, const struct rd *field)
{
    if (field->bad || rd_left(field) > 0)
        rd_fail(r);
}

void rd_skip_tags(struct rd *r)
{
    for (uint32_t count = rd_uvarint(r); count > 0 && !r->bad; count--) {
        rd_uvarint(r);
        rd_skip(r, rd_uvarint(r));
    }
}

/* ---- writing ---- */

void wr_init(struct wr *w, struct arena *arena)
{
    *w = (struct wr){.arena = arena, .block_bytes = BLOCK_BYTES_MIN, .budget = UINT32_MAX};
}

void wr_init_counting(struct wr *w)
{
    *w = (struct wr){.counting = true, .budget = UINT32_MAX};
}

static void fail(struct wr *w)
{
    w->bad = true;
    w->at = w->end = w->from = NULL;
}

static void append_part(struct wr *w, struct out_part *part)
{
    part->next = NULL;
    if (w->last)
        w->last->next = part;
    else
        w->first = part;
    w->last = part;
    w->closed += part->len;
    if (w->closed > INT32_MAX)
        fail(w);
}

static struct out_part *part_new(struct wr *w)
{
    struct out_part *part = arena_alloc(w->arena, sizeof(*part));
    if (!part)
        fail(w);
    return part;
}

/* Makes a part of what was written into the block since the last one; the block stays in use. */
static void close_part(struct wr *w)
{
    if (w->at == w->from)
        return;
    struct out_part *part = part_new(w);
    if (!part)
        return;
    uint32_t len = (uint32_t)(w->at - w->from);
    *part = (struct out_part){.kind = OUT_BYTES, .data = w->from, .len = len};
    w->from = w->at;
    append_part(w, part);
}

/* A new block with at least `count` contiguous bytes free. */
static bool grow(struct wr *w, uint32_t count)
{
    if (!w->bad)
        close_part(w);
    if (w->bad)
        return false;
    uint32_t bytes = w->block_bytes > count ? w->block_bytes : count;
    uint8_t *block = arena_alloc(w->arena, bytes);
    if (!block) {
        fail(w);
        return false;
    }
    if (w->block_bytes < BLOCK_BYTES_MAX)
        w->block_bytes *= 2;
    w->at = w->from = block;
    w->end = block + bytes;
    return true;
}

struct out_part *wr_finish(struct wr *w)
{
    if (!w->bad)
        close_part(w);
    return w->bad ? NULL : w->first;
}

uint8_t *wr_hole(struct wr *w, uint32_t count)
{
    must(count <= HOLE_BYTES_MAX);
    if (w->counting) {
        w->closed += count;
        return NULL;
    }
    if ((size_t)(w->end - w->at) < count && !grow(w, count))
        return NULL;
    uint8_t *hole = w->at;
    w->at += count;
    return hole;
}

void wr_frame_begin(struct wr *w)
{
    must(wr_len(w) == 0);
    w->frame_len = wr_hole(w, sizeof(uint32_t));
}

void wr_frame_end(struct wr *w)
{
    uint64_t len = wr_len(w) - sizeof(uint32_t);
    if (w->bad)
        return;
    if (len > INT32_MAX) {
        fail(w);
        return;
    }
    uint32_t bits = __builtin_bswap32((uint32_t)len);
    memcpy(w->frame_len, &bits, sizeof(bits));
}

void wr_raw(struct wr *w, const void *data, uint32_t count)
{
    if (w->counting) {
        w->closed += count;
        return;
    }
    const uint8_t *from = data;
    while (count > 0) {
        if (w->at == w->end && !grow(w, 1))
            return;
        uint32_t run = (uint32_t)(w->end - w->at);
        if (run > count)
            run = count;
        memcpy(w->at, from, run);
        w->at += run;
        from += run;
        count -= run;
    }
}

void wr_records_ref(struct wr *w, uint32_t len, uint64_t cookie)
{
    if (w->counting) {
        w->closed += len;
        return;
    }
    if (w->bad || len == 0)
        return;
    close_part(w);
    struct out_part *part = w->bad ? NULL : part_new(w);
    if (!part)
        return;
    *part = (struct out_part){.kind = OUT_REF, .cookie = cookie, .len = len};
    append_part(w, part);
}

void wr_slow(struct wr *w, uint64_t value, uint32_t size)
{
    uint8_t *to = wr_hole(w, size);
    for (uint32_t i = size; to && i > 0; i--) {
        to[i - 1] = (uint8_t)value;
        value >>= 8;
    }
}

static void write_groups(struct wr *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        wr_i8(w, (int8_t)(uint8_t)(value | 0x80));
    wr_i8(w, (int8_t)value);
}

void wr_uvarint(struct wr *w, uint32_t value)
{
    write_groups(w, value);
}

void wr_varint(struct wr *w, int32_t value)
{
    write_groups(w, ((uint32_t)value << 1) ^ (uint32_t)(value >> 31));
}

void wr_varlong(struct wr *w, int64_t value)
{
    write_groups(w, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

int32_t wr_count(struct wr *w, bool flex, bool nullable, int32_t count)
{
    if (count < 0)
        count = nullable ? -1 : 0;
    if (flex)
        wr_uvarint(w, (uint32_t)(count + 1));
    else
        wr_i32(w, count);
    return count < 0 ? 0 : count;
}

void wr_str(struct wr *w, bool flex, bool nullable, struct str str)
{
    if (str.len > STR_LEN_MAX) {
        fail(w);
        return;
    }
    int32_t len = str.len < 0 && !nullable ? 0 : str.len;
    if (flex)
        wr_uvarint(w, (uint32_t)(len + 1));
    else
        wr_i16(w, (int16_t)len);
    if (len > 0)
        wr_raw(w, str.data, (uint32_t)len);
}

void wr_bytes(struct wr *w, bool flex, bool nullable, struct bytes bytes)
{
    int32_t len = wr_count(w, flex, nullable, bytes.len);
    wr_raw(w, bytes.data, (uint32_t)len);
}

void wr_records(struct wr *w, bool flex, bool nullable, const struct records *records)
{
    struct span span = records->span;
    if (span.len > INT32_MAX) {
        fail(w);
        return;
    }
    wr_count(w, flex, nullable, records->kind == RECORDS_NULL ? -1 : (int32_t)span.len);
    if (records->kind == RECORDS_REF)
        wr_records_ref(w, span.len, records->cookie);
    while (records->kind == RECORDS_SPAN && span.len > 0) {
        uint32_t run;
        const uint8_t *front = span_front(&span, &run);
        wr_raw(w, front, run);
        span_advance(&span, run);
    }
}

/* NOLINTBEGIN(bugprone-macro-parentheses) */
#define ARRAY_WRITER(name, type, write)                                                            \
    void name(struct wr *w, bool flex, bool nullable, const type *values, int32_t count)           \
    {                                                                                              \
        count = wr_count(w, flex, nullable, count);                                                \
        for (int32_t i = 0; i < count; i++)                                                        \
            write;                                                                                 \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

ARRAY_WRITER(wr_i8s, int8_t, wr_i8(w, values[i]))
ARRAY_WRITER(wr_i16s, int16_t, wr_i16(w, values[i]))
ARRAY_WRITER(wr_i32s, int32_t, wr_i32(w, values[i]))
ARRAY_WRITER(wr_i64s, int64_t, wr_i64(w, values[i]))
ARRAY_WRITER(wr_uuids, struct uuid, wr_uuid(w, values[i]))
ARRAY_WRITER(wr_strs, struct str, wr_str(w, flex, false, values[i]))

void wr_tag_size(struct wr *w, uint32_t tag, const struct wr *size)
{
    if (size->bad || wr_len(size) > INT32_MAX) {
        fail(w);
        return;
    }
    wr_uvarint(w, tag);
    wr_uvarint(w, (uint32_t)wr_len(size));
}
