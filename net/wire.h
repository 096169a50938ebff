/* SPDX-License-Identifier: Apache-2.0
 *
 * Kafka's primitive types, read and written. The generated codec (net/kafka.h) is made of these
 * calls; nothing else in the broker knows how a string or an array looks on the wire.
 *
 * Reading: `struct rd` walks a frame that may be cut into pieces anywhere (io/span.h). The error is
 * sticky: after the first short, negative or absurd value every read gives zero, and whoever reads
 * asks once, at the end (`r->bad`). Nothing is read beyond the span. Strings and bytes are views
 * into the frame; one that crosses a cut is copied into the request's arena. So what was read lives
 * as long as both. `records` are never copied: they stay a span.
 *
 * Writing: `struct wr` appends to a chain of parts whose bytes live in an arena. Opaque runs of
 * records are not copied either: a part of kind OUT_REF keeps their place and length, and a cookie
 * by which the owner finds the bytes when the socket has room for them. The error is sticky too: it
 * means that the arena's limit was reached or that the frame passed 2 GiB.
 *
 * Flexible versions (KIP-482) change the form of lengths: `flex` says which.
 */
#pragma once

#include "io/arena.h"
#include "io/span.h"
#include "io/uuid.h"

#include <string.h>

/* Text; not zero-terminated, not checked for UTF-8. len == -1: null. */
struct str {
    const char *data;
    int32_t len;
};

/* len == -1: null. */
struct bytes {
    const uint8_t *data;
    int32_t len;
};

enum records_kind {
    RECORDS_SPAN, /* span is the bytes; a zeroed struct is an empty run */
    RECORDS_NULL,
    RECORDS_REF /* writing only: span.len bytes that `cookie` stands for */
};

/* Record batches, opaque here. */
struct records {
    enum records_kind kind;
    struct span span;
    uint64_t cookie;
};

static inline struct str str_of(const char *text)
{
    return text ? (struct str){text, (int32_t)strlen(text)} : (struct str){NULL, -1};
}

static inline struct str str_null(void)
{
    return (struct str){NULL, -1};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len <= 0 || memcmp(a.data, b.data, (size_t)a.len) == 0);
}

static inline struct records records_of(struct span span)
{
    return (struct records){.kind = RECORDS_SPAN, .span = span};
}

static inline struct records records_ref(uint32_t len, uint64_t cookie)
{
    return (struct records){.kind = RECORDS_REF, .span = {.len = len}, .cookie = cookie};
}

/* ---- reading ---- */

struct rd {
    bool bad;
    /* private */
    const uint8_t *at; /* the rest of the current piece that belongs to the frame: [at, end) */
    const uint8_t *end;
    const struct piece *piece; /* the one `at` points into */
    uint32_t after;            /* bytes of the frame in later pieces */
};

void rd_init(struct rd *r, struct span frame);

/* Bytes of the frame not read yet; 0 after an error. A handler that wants nothing behind the
 * message asks for 0. */
static inline uint32_t rd_left(const struct rd *r)
{
    return (uint32_t)(r->end - r->at) + r->after;
}

void rd_fail(struct rd *r);

/* Copies `count` bytes, or fails and gives zeros. */
void rd_take(struct rd *r, void *to, uint32_t count);
void rd_skip(struct rd *r, uint32_t count);
/* The next `count` bytes as a span into the frame; empty after an error. */
struct span rd_span(struct rd *r, uint32_t count);

/* private: a big-endian number of `size` <= 8 bytes, wherever it is cut */
uint64_t rd_slow(struct rd *r, uint32_t size);
uint32_t rd_uvarint_slow(struct rd *r);

static inline int8_t rd_i8(struct rd *r)
{
    if (__builtin_expect(r->at < r->end, 1))
        return (int8_t)*r->at++;
    return (int8_t)rd_slow(r, 1);
}

/* Any byte but 0 is true, as Kafka reads it. */
static inline bool rd_bool(struct rd *r)
{
    return rd_i8(r) != 0;
}

static inline uint16_t rd_u16(struct rd *r)
{
    uint16_t value;
    if (__builtin_expect(r->end - r->at < (ptrdiff_t)sizeof(value), 0))
        return (uint16_t)rd_slow(r, sizeof(value));
    memcpy(&value, r->at, sizeof(value));
    r->at += sizeof(value);
    return __builtin_bswap16(value);
}

static inline int16_t rd_i16(struct rd *r)
{
    return (int16_t)rd_u16(r);
}

static inline int32_t rd_i32(struct rd *r)
{
    uint32_t value;
    if (__builtin_expect(r->end - r->at < (ptrdiff_t)sizeof(value), 0))
        return (int32_t)rd_slow(r, sizeof(value));
    memcpy(&value, r->at, sizeof(value));
    r->at += sizeof(value);
    return (int32_t)__builtin_bswap32(value);
}

static inline int64_t rd_i64(struct rd *r)
{
    uint64_t value;
    if (__builtin_expect(r->end - r->at < (ptrdiff_t)sizeof(value), 0))
        return (int64_t)rd_slow(r, sizeof(value));
    memcpy(&value, r->at, sizeof(value));
    r->at += sizeof(value);
    return (int64_t)__builtin_bswap64(value);
}

static inline double rd_f64(struct rd *r)
{
    int64_t bits = rd_i64(r);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline struct uuid rd_uuid(struct rd *r)
{
    struct uuid uuid;
    rd_take(r, uuid.bytes, sizeof(uuid.bytes));
    return uuid;
}

/* At most five bytes that fit in 32 bits; anything longer fails. */
static inline uint32_t rd_uvarint(struct rd *r)
{
    if (__builtin_expect(r->at < r->end && *r->at < 0x80, 1))
        return *r->at++;
    return rd_uvarint_slow(r);
}

/* Zigzag, as inside record batches. */
int32_t rd_varint(struct rd *r);
int64_t rd_varlong(struct rd *r);

/* Null where it is not allowed fails; so does a string above 32767 bytes, as in Kafka. */
struct str rd_str(struct rd *r, struct arena *arena, bool flex, bool nullable);
struct bytes rd_bytes(struct rd *r, struct arena *arena, bool flex, bool nullable);
struct records rd_records(struct rd *r, bool flex, bool nullable);

/* An array's count (-1: null) and room for it. A count whose smallest elements (element_bytes_min
 * each) would not fit in the rest of the frame fails before anything is allocated. The room is not
 * initialised; NULL when the count is <= 0. */
void *rd_array(struct rd *r, struct arena *arena, bool flex, bool nullable,
               uint32_t element_bytes_min, size_t element_size, int32_t *count);

int8_t *rd_i8s(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);
int16_t *rd_i16s(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);
int32_t *rd_i32s(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);
int64_t *rd_i64s(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);
struct uuid *rd_uuids(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);
struct str *rd_strs(struct rd *r, struct arena *arena, bool flex, bool nullable, int32_t *count);

/* One tagged field: gives its tag, and a reader of its bytes alone; `r` goes on behind them. */
uint32_t rd_tag(struct rd *r, struct rd *field);
/* Ends it: fails `r` when the field was cut short or has bytes that nobody read. */
void rd_tag_end(struct rd *r, const struct rd *field);
/* An unknown tag is skipped by its size. */
static inline void rd_skip_rest(struct rd *field)
{
    rd_skip(field, rd_left(field));
}
/* The whole section, where no tag is known. */
void rd_skip_tags(struct rd *r);

/* ---- writing ---- */

enum out_kind { OUT_BYTES, OUT_REF };

/* A run of the answer, in order. Lives in the writer's arena; the bytes do too. */
struct out_part {
    struct out_part *next;
    const uint8_t *data; /* OUT_BYTES only */
    uint64_t cookie;     /* OUT_REF only: the owner's name for the bytes */
    uint32_t len;        /* > 0 */
    enum out_kind kind;
};

/* Where a writer is in a struct with arrays of structs: odd stages are arrays. */
struct wr_place {
    int32_t stage;
    int32_t index;
    int32_t count;
};

#define WR_PLACES 4U

struct wr {
    bool bad;
    /* Elements that may still be written: a long message stops when there is none left, and the
     * same call with a new budget (WR_PLACES or more) goes on from there. Unlimited unless set. */
    uint32_t budget;
    /* private */
    bool counting; /* nothing is stored: the size is wanted */
    uint32_t block_bytes;
    uint8_t *at; /* free bytes of the current block: [at, end) */
    uint8_t *end;
    uint8_t *from;          /* where the current part begins in the block */
    uint64_t closed;        /* bytes of the parts before it */
    struct arena *arena;    /* borrowed */
    struct out_part *first; /* complete parts */
    struct out_part *last;
    uint8_t *frame_len; /* where wr_frame_end() patches */
    uint32_t depth;
    struct wr_place places[WR_PLACES];
};

void wr_init(struct wr *w, struct arena *arena);

/* Only counts: wr_len() after writing says how many bytes it would have been. */
void wr_init_counting(struct wr *w);

static inline uint64_t wr_len(const struct wr *w)
{
    return w->closed + (uint64_t)(w->at - w->from);
}

/* Begins a frame: room for the four bytes of its length, which wr_frame_end() fills in. The frame
 * must be the writer's first. */
void wr_frame_begin(struct wr *w);
void wr_frame_end(struct wr *w);

/* Closes the chain and gives its first part; NULL when nothing was written or w->bad. The writer
 * may go on afterwards: the chain grows. */
struct out_part *wr_finish(struct wr *w);

/* `count` contiguous bytes to be filled in later (`count` <= 64); NULL after an error and while
 * counting. */
uint8_t *wr_hole(struct wr *w, uint32_t count);

/* Copies. */
void wr_raw(struct wr *w, const void *data, uint32_t count);
/* Splices `len` bytes by reference. */
void wr_records_ref(struct wr *w, uint32_t len, uint64_t cookie);

/* private */
void wr_slow(struct wr *w, uint64_t value, uint32_t size);

static inline void wr_i8(struct wr *w, int8_t value)
{
    if (__builtin_expect(w->end - w->at < 1, 0)) {
        wr_slow(w, (uint8_t)value, 1);
        return;
    }
    *w->at++ = (uint8_t)value; /* NOLINT: at < end, so it is not null */
}

static inline void wr_bool(struct wr *w, bool value)
{
    wr_i8(w, value ? 1 : 0);
}

static inline void wr_u16(struct wr *w, uint16_t value)
{
    if (__builtin_expect(w->end - w->at < (ptrdiff_t)sizeof(value), 0)) {
        wr_slow(w, value, sizeof(value));
        return;
    }
    value = __builtin_bswap16(value);
    memcpy(w->at, &value, sizeof(value));
    w->at += sizeof(value);
}

static inline void wr_i16(struct wr *w, int16_t value)
{
    wr_u16(w, (uint16_t)value);
}

static inline void wr_i32(struct wr *w, int32_t value)
{
    uint32_t bits = (uint32_t)value;
    if (__builtin_expect(w->end - w->at < (ptrdiff_t)sizeof(bits), 0)) {
        wr_slow(w, bits, sizeof(bits));
        return;
    }
    bits = __builtin_bswap32(bits);
    memcpy(w->at, &bits, sizeof(bits));
    w->at += sizeof(bits);
}

static inline void wr_i64(struct wr *w, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    if (__builtin_expect(w->end - w->at < (ptrdiff_t)sizeof(bits), 0)) {
        wr_slow(w, bits, sizeof(bits));
        return;
    }
    bits = __builtin_bswap64(bits);
    memcpy(w->at, &bits, sizeof(bits));
    w->at += sizeof(bits);
}

static inline void wr_f64(struct wr *w, double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    wr_i64(w, bits);
}

static inline void wr_uuid(struct wr *w, struct uuid uuid)
{
    wr_raw(w, uuid.bytes, sizeof(uuid.bytes));
}

void wr_uvarint(struct wr *w, uint32_t value);
void wr_varint(struct wr *w, int32_t value);
void wr_varlong(struct wr *w, int64_t value);

/* Null where the version has no null is written as empty. A string above 32767 bytes is an error.
 */
void wr_str(struct wr *w, bool flex, bool nullable, struct str str);
void wr_bytes(struct wr *w, bool flex, bool nullable, struct bytes bytes);
void wr_records(struct wr *w, bool flex, bool nullable, const struct records *records);

/* ---- long messages: for the generated code ---- */

static inline struct wr_place *wr_enter(struct wr *w)
{
    return &w->places[w->depth++];
}

/* The struct is whole. */
static inline bool wr_leave(struct wr *w)
{
    w->places[--w->depth] = (struct wr_place){0};
    return true;
}

/* It is to be gone on with. */
static inline bool wr_pause(struct wr *w)
{
    w->depth--;
    return false;
}

static inline bool wr_more(struct wr *w)
{
    if (w->budget == 0)
        return false;
    w->budget--;
    return true;
}

static inline void wr_array(struct wr_place *at, int32_t count)
{
    at->stage++;
    at->index = 0;
    at->count = count;
}

/* Writes an array's count and gives the number of elements that must follow: 0 for null. */
int32_t wr_count(struct wr *w, bool flex, bool nullable, int32_t count);

void wr_i8s(struct wr *w, bool flex, bool nullable, const int8_t *values, int32_t count);
void wr_i16s(struct wr *w, bool flex, bool nullable, const int16_t *values, int32_t count);
void wr_i32s(struct wr *w, bool flex, bool nullable, const int32_t *values, int32_t count);
void wr_i64s(struct wr *w, bool flex, bool nullable, const int64_t *values, int32_t count);
void wr_uuids(struct wr *w, bool flex, bool nullable, const struct uuid *values, int32_t count);
void wr_strs(struct wr *w, bool flex, bool nullable, const struct str *values, int32_t count);

/* A tagged field is preceded by its size. First a counting pass writes the field into `size`, then
 * wr_tag_size() writes what was counted, then the field is written itself. */
void wr_tag_size(struct wr *w, uint32_t tag, const struct wr *size);
