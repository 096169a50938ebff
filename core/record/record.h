/* SPDX-License-Identifier: Apache-2.0
 *
 * The records inside a batch. One record (KIP-98; varints are zigzag):
 *
 *     length varint, attributes i8, timestamp delta varlong, offset delta varint,
 *     key length varint, key, value length varint, value,
 *     header count varint, then per header: key length varint, key, value length varint, value
 *
 * A record may be larger than a slice of inflated bytes and may begin and end anywhere in one, so
 * the parser keeps its state between any two bytes: which field is next, the varint so far, how
 * much is still to be skipped. That is all it keeps; keys and values are stepped over, not looked
 * at, so that walking 1 KiB records touches a few bytes of each.
 *
 * On the parser stand three readers: record_walk tells where records are (the checks of a produce),
 * record_find looks for a time (ListOffsets), record_iter hands out keys and values (consumers of
 * our own). The first two need no memory; the last puts a record in pieces together.
 *
 * Refused, as Kafka refuses it: a length that does not fit its contents to the byte, varints of
 * more than 5 or 10 bytes, negative counts, null header keys. Refused though Kafka takes it for
 * null: a key or value length below -1.
 */
#pragma once

#include "core/record/batch.h"

enum record_status {
    RECORD_READY,     /* a record */
    RECORD_MORE,      /* not yet: a slice was used up; call again */
    RECORD_END,       /* no more records, and nothing behind the last */
    RECORD_BROKEN,    /* the bytes are not records, or their compression is broken */
    RECORD_TOO_LARGE, /* more comes out of the compression than the limit given */
};

/* Where the parts of a record lie. Positions count from the byte after the record's length. */
struct record_shape {
    uint32_t size; /* bytes after the length */
    uint8_t attributes;
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t key_len, value_len; /* -1: null */
    int32_t header_count;
    uint32_t key_at, value_at, headers_at;
};

/* Private but for `shape`. Zero-initialised it stands before a record; after a record too. */
struct record_parser {
    struct record_shape shape;
    uint8_t step;
    uint8_t varint_shift;
    uint64_t varint;
    uint32_t left; /* bytes of the record that were not read yet */
    uint32_t skip; /* bytes of a key or value that were not stepped over yet */
    int32_t headers_left;
};

/* Reads on in [*at, end) and moves *at: RECORD_READY (shape is complete, *at is behind the record),
 * RECORD_MORE (*at == end) or RECORD_BROKEN. */
enum record_status record_parse(struct record_parser *parser, const uint8_t **at,
                                const uint8_t *end);

/* The records of a stream, one after another. Private but for parser.shape. */
struct record_walk {
    struct inflater *inflater;
    const uint8_t *at, *end;
    struct record_parser parser;
};

/* `inflater` is borrowed until the end and must not be started by others meanwhile; the pieces of
 * `records` (the batch without its header) stay in place as long. */
void record_walk_start(struct record_walk *walk, struct inflater *inflater, enum codec codec,
                       struct span records, uint64_t inflated_bytes_max);
/* RECORD_MORE comes once for each slice of at most 64 KiB: the place to count and to yield. */
enum record_status record_walk_next(struct record_walk *walk);

/* The first record of a batch at or after `from_offset` whose timestamp is >= target (L2). With the
 * header's max timestamp as the target, that is the record with the greatest timestamp (L1, -3). */
struct record_find {
    struct record_walk walk;
    struct batch_header header;
    int64_t target, from_offset;
    int64_t offset, timestamp; /* the answer */
};

/* False when `batch` does not begin with a whole v2 batch; bytes behind it are ignored. */
bool record_find_start(struct record_find *find, struct inflater *inflater, struct span batch,
                       int64_t target, int64_t from_offset,
                       uint64_t inflated_bytes_max) warn_unused;
/* Looks at about `slices` times 64 KiB. RECORD_READY: found; RECORD_END: there is none. */
enum record_status record_find_step(struct record_find *find, uint32_t slices);

/* A record as its reader wants it. Pointers are valid until the next call on the iterator. */
struct record {
    int64_t offset, timestamp;
    const uint8_t *key, *value; /* NULL when null */
    int32_t key_len, value_len; /* -1 when null */
    int32_t header_count;
    const uint8_t *headers; /* encoded; see record_header_next */
    uint32_t headers_len;
};

struct record_header {
    const char *key; /* not terminated */
    int32_t key_len;
    const uint8_t *value; /* NULL when null */
    int32_t value_len;    /* -1 when null */
};

struct record_iter {
    struct inflater *inflater;
    struct batch_header header;
    const uint8_t *at, *end;
    uint8_t *whole; /* a record that came in pieces */
    size_t whole_cap;
    int32_t records_left;
};

/* False when `batch` does not begin with a whole v2 batch; bytes behind it are ignored. The
 * checksum is the caller's business (batch_crc). After true, record_iter_fini is due. */
bool record_iter_init(struct record_iter *iter, struct inflater *inflater, struct span batch,
                      uint64_t inflated_bytes_max) warn_unused;
void record_iter_fini(struct record_iter *iter);
/* RECORD_READY, RECORD_END, RECORD_BROKEN or RECORD_TOO_LARGE. */
enum record_status record_iter_next(struct record_iter *iter, struct record *record);

/* Takes the first header off record->headers; false when there is none left. */
bool record_header_next(struct record *record, struct record_header *header);

/* Writes a zigzag varint, at most 10 bytes; returns its length. */
uint32_t record_put_varint(uint8_t *to, int64_t value);
