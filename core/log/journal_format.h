/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a journal file, shared by the writer (core/log/journal.c) and the reader
 * (core/log/journal_replay.c). All integers little-endian.
 *
 * File: block 0 and block 1 are superblocks, written in turn so that one is always whole; from
 * JOURNAL_AREA to `length` a circular area of groups. Superblock (core/log/format.h, magic
 * "MRJRNL01"):
 *
 *     nonce          u64  random, new with each generation; every group repeats it
 *     generation     u64  grows by one at each start
 *     count          u64  of superblocks written: the larger is the newer
 *     released_seq   u64  groups below it are not needed any more
 *     released_pos   u64  where group released_seq is, or (if nothing valid is there) JOURNAL_AREA
 *     length         u64  end of the area; the file may be longer while it grows
 *     checkpoint_seq u64  batches the checkpoint file had when this was written
 *     flags          u32  1: stopped cleanly, nothing to replay
 *
 * Group: header of JOURNAL_GROUP_HEADER bytes, records, zeros to the next FS_BLOCK. A group never
 * wraps. The position rule: group seq + 1 begins where group seq ends, or at JOURNAL_AREA when it
 * did not fit there (no marker is needed: the reader looks at both places, and generation, nonce,
 * seq, position and two CRCs say which one it is).
 *
 *      0  magic       u64  "MRGROUP1"
 *      8  header_crc  u32  of bytes 12..64
 *     12  body_crc    u32  of `length` bytes of records
 *     16  generation  u64
 *     24  nonce       u64
 *     32  seq         u64  1, 2, 3, ... in each generation
 *     40  position    u64  in the file: a write that landed elsewhere does not pass
 *     48  acked_seq   u64  groups up to it were durable when this one was built: a hole at or below
 *                          it is damage, a hole above it a torn tail
 *     56  length      u32  of the records
 *     60  count       u32
 *
 * The nonce is there because clients choose bytes that end up here: without it one could place a
 * group of their own where a torn tail will be looked for.
 *
 * Record: length u32 (whole record), kind u16, version u16, topic id 16, partition i32,
 * incarnation u32, change u64, then what the kind has:
 *
 *     append      segment_base i64, position u32, bytes u32, flags u32 (1: last fragment),
 *                 summary of the batch (see struct journal_append), then the bytes
 *     truncate    offset i64, segment_base i64, position u32
 *     log_start   offset i64
 *     reset       offset i64: nothing that came before is there any more, the log begins here
 *     delete      nothing
 *     mode        relaxed i64: 1 when less than durable may be promised from here on, 0 when not
 *     checkpoint  an entry as in the checkpoint file: a log that is born
 *     swap        a compacted segment takes the place of others: see struct swap_record
 *     extent      an append whose whole blocks went to the segment directly (core/log/bypass.c): as
 *                 append, then inner_position u32, inner_bytes u32, inner_crc u32, zero u32, and of
 *                 the bytes those before and those behind the inner ones
 *
 * `change` counts a log's records over its whole life and over all journals. Replay applies them in
 * this order, misses none, and knows by it what a checkpoint already covers.
 */
#pragma once

#include "core/log/format.h"
#include "core/log/log.h"

#define JOURNAL_MAGIC         "MRJRNL01"
#define JOURNAL_VERSION       1U
#define JOURNAL_AREA          ((uint64_t)FS_BLOCK * 2)
#define JOURNAL_GROUP_MAGIC   0x3150554f5247524dULL /* "MRGROUP1" */
#define JOURNAL_GROUP_HEADER  64U
#define JOURNAL_RECORD_HEADER 40U
#define JOURNAL_APPEND_HEADER (JOURNAL_RECORD_HEADER + 88U)
#define JOURNAL_EXTENT_HEADER (JOURNAL_APPEND_HEADER + 16U)
#define JOURNAL_GROUP_MAX     (1U << 20)

enum journal_kind {
    JOURNAL_APPEND = 1,
    JOURNAL_EXTENT = 2,
    JOURNAL_TRUNCATE = 3,
    JOURNAL_LOG_START = 4,
    JOURNAL_DELETE = 5,
    JOURNAL_CHECKPOINT = 6,
    JOURNAL_SWAP = 7,
    JOURNAL_RESET = 8,
    JOURNAL_MODE = 9,
};

struct journal_superblock {
    uint64_t nonce;
    uint64_t generation;
    uint64_t count;
    uint64_t released_seq;
    uint64_t released_pos;
    uint64_t length;
    uint64_t checkpoint_seq;
    bool clean;
};

struct journal_group_header {
    uint32_t body_crc;
    uint64_t generation;
    uint64_t nonce;
    uint64_t seq;
    uint64_t position;
    uint64_t acked_seq;
    uint32_t length;
    uint32_t count;
};

struct journal_record {
    uint16_t kind;
    uint16_t version;
    struct log_id id;
    uint32_t incarnation;
    uint64_t change;
};

/* An append record, physical: these bytes at that place. The last fragment of a batch carries what
 * replay must know of the batch, because its first bytes may be in a group long gone. */
struct journal_append {
    int64_t segment_base;
    uint32_t position;
    uint32_t bytes;
    bool last;
    uint16_t attributes;
    uint32_t batch_position; /* where the batch begins */
    int64_t base_offset;
    int64_t last_offset;
    int64_t max_timestamp;
    int64_t now_ms; /* wall time of the append, for the producer's expiry */
    int64_t producer_id;
    int32_t base_sequence;
    int32_t last_sequence;
    int32_t leader_epoch;
    int16_t producer_epoch;
    uint64_t committed; /* the log's changes up to it were durable when this was written */
};

/* An extent record: of [append.position, append.position + append.bytes) the inner bytes are in the
 * segment file, whole blocks with this CRC, and the others follow in the record. */
struct journal_extent {
    struct journal_append append;
    uint32_t inner_position;
    uint32_t inner_bytes;
    uint32_t inner_crc;
};

/* Bytes before the inner ones, and behind them. */
static inline uint32_t journal_extent_head(const struct journal_extent *extent)
{
    return extent->inner_position - extent->append.position;
}

static inline uint32_t journal_extent_tail(const struct journal_extent *extent)
{
    return extent->append.bytes - journal_extent_head(extent) - extent->inner_bytes;
}

static inline void journal_superblock_encode(const struct journal_superblock *sb,
                                             const uint8_t directory[16], uint8_t block[FS_BLOCK])
{
    struct bytes_out own =
        format_begin(block, JOURNAL_MAGIC, JOURNAL_VERSION, JOURNAL_VERSION, directory);
    put_u64(&own, sb->nonce);
    put_u64(&own, sb->generation);
    put_u64(&own, sb->count);
    put_u64(&own, sb->released_seq);
    put_u64(&own, sb->released_pos);
    put_u64(&own, sb->length);
    put_u64(&own, sb->checkpoint_seq);
    put_u32(&own, sb->clean ? 1 : 0);
    format_end(block);
}

static inline void journal_superblock_decode(struct journal_superblock *sb, struct bytes_in *own)
{
    sb->nonce = take_u64(own);
    sb->generation = take_u64(own);
    sb->count = take_u64(own);
    sb->released_seq = take_u64(own);
    sb->released_pos = take_u64(own);
    sb->length = take_u64(own);
    sb->checkpoint_seq = take_u64(own);
    sb->clean = (take_u32(own) & 1) != 0;
}

static inline void journal_group_encode(const struct journal_group_header *group, uint8_t *to)
{
    struct bytes_out out = bytes_out_of(to, JOURNAL_GROUP_HEADER);
    put_u64(&out, JOURNAL_GROUP_MAGIC);
    put_u32(&out, 0);
    put_u32(&out, group->body_crc);
    put_u64(&out, group->generation);
    put_u64(&out, group->nonce);
    put_u64(&out, group->seq);
    put_u64(&out, group->position);
    put_u64(&out, group->acked_seq);
    put_u32(&out, group->length);
    put_u32(&out, group->count);
    out = bytes_out_of(to + 8, 4);
    put_u32(&out, crc32c(0, to + 12, JOURNAL_GROUP_HEADER - 12));
}

/* False when this is no group header. */
static inline bool journal_group_decode(struct journal_group_header *group, const uint8_t *from)
{
    struct bytes_in in = bytes_in_of(from, JOURNAL_GROUP_HEADER);
    uint64_t magic = take_u64(&in);
    uint32_t crc = take_u32(&in);
    group->body_crc = take_u32(&in);
    group->generation = take_u64(&in);
    group->nonce = take_u64(&in);
    group->seq = take_u64(&in);
    group->position = take_u64(&in);
    group->acked_seq = take_u64(&in);
    group->length = take_u32(&in);
    group->count = take_u32(&in);
    return magic == JOURNAL_GROUP_MAGIC && crc == crc32c(0, from + 12, JOURNAL_GROUP_HEADER - 12);
}

static inline void journal_record_encode(const struct journal_record *record, uint32_t length,
                                         struct bytes_out *out)
{
    put_u32(out, length);
    put_u16(out, record->kind);
    put_u16(out, record->version);
    put_bytes(out, record->id.topic_id, 16);
    put_i32(out, record->id.partition);
    put_u32(out, record->incarnation);
    put_u64(out, record->change);
}

/* Returns the record's whole length, 0 when it cannot be one. */
static inline uint32_t journal_record_decode(struct journal_record *record, struct bytes_in *in)
{
    size_t room = (size_t)(in->end - in->at);
    uint32_t length = take_u32(in);
    record->kind = take_u16(in);
    record->version = take_u16(in);
    take_into(in, record->id.topic_id, 16);
    record->id.partition = take_i32(in);
    record->incarnation = take_u32(in);
    record->change = take_u64(in);
    return in->overrun || length < JOURNAL_RECORD_HEADER || length > room ? 0 : length;
}

static inline void journal_append_encode(const struct journal_append *append, struct bytes_out *out)
{
    put_i64(out, append->segment_base);
    put_u32(out, append->position);
    put_u32(out, append->bytes);
    put_u16(out, append->last ? 1 : 0);
    put_u16(out, append->attributes);
    put_u32(out, append->batch_position);
    put_i64(out, append->base_offset);
    put_i64(out, append->last_offset);
    put_i64(out, append->max_timestamp);
    put_i64(out, append->now_ms);
    put_i64(out, append->producer_id);
    put_i32(out, append->base_sequence);
    put_i32(out, append->last_sequence);
    put_i32(out, append->leader_epoch);
    put_i16(out, append->producer_epoch);
    put_u16(out, 0);
    put_u64(out, append->committed);
}

static inline bool journal_summary_decode(struct journal_append *append, struct bytes_in *in)
{
    append->segment_base = take_i64(in);
    append->position = take_u32(in);
    append->bytes = take_u32(in);
    append->last = (take_u16(in) & 1) != 0;
    append->attributes = take_u16(in);
    append->batch_position = take_u32(in);
    append->base_offset = take_i64(in);
    append->last_offset = take_i64(in);
    append->max_timestamp = take_i64(in);
    append->now_ms = take_i64(in);
    append->producer_id = take_i64(in);
    append->base_sequence = take_i32(in);
    append->last_sequence = take_i32(in);
    append->leader_epoch = take_i32(in);
    append->producer_epoch = take_i16(in);
    (void)take_u16(in);
    append->committed = take_u64(in);
    return !in->overrun && append->segment_base >= 0 &&
           append->position + (uint64_t)append->bytes <= INT32_MAX &&
           append->batch_position <= append->position + append->bytes &&
           (!append->last || (append->base_offset >= append->segment_base &&
                              append->last_offset >= append->base_offset));
}

/* False when it does not fit the record; *in stands at the bytes afterwards. */
static inline bool journal_append_decode(struct journal_append *append, struct bytes_in *in)
{
    return journal_summary_decode(append, in) && append->bytes == (size_t)(in->end - in->at);
}

static inline void journal_extent_encode(const struct journal_extent *extent, struct bytes_out *out)
{
    journal_append_encode(&extent->append, out);
    put_u32(out, extent->inner_position);
    put_u32(out, extent->inner_bytes);
    put_u32(out, extent->inner_crc);
    put_u32(out, 0);
}

/* Likewise; *in stands at the bytes before the inner ones, and those behind follow. */
static inline bool journal_extent_decode(struct journal_extent *extent, struct bytes_in *in)
{
    const struct journal_append *append = &extent->append;
    if (!journal_summary_decode(&extent->append, in))
        return false;
    extent->inner_position = take_u32(in);
    extent->inner_bytes = take_u32(in);
    extent->inner_crc = take_u32(in);
    (void)take_u32(in);
    uint64_t inner_end = (uint64_t)extent->inner_position + extent->inner_bytes;
    return !in->overrun && append->last && extent->inner_position >= append->position &&
           inner_end <= (uint64_t)append->position + append->bytes &&
           (uint64_t)append->bytes - extent->inner_bytes == (size_t)(in->end - in->at);
}
