/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes record batches: for the programs that produce, for the broker's own records in internal
 * topics, and for tests. Records are collected uncompressed in one buffer behind the place of the
 * header; finishing compresses them and computes the checksum. The buffer is kept for the next
 * batch.
 */
#pragma once

#include "core/record/deflate.h"
#include "core/record/record.h"

/* Bytes that may be null: len is -1 then. */
struct bytes_or_null {
    const void *data;
    int32_t len;
};

#define BYTES_NULL ((struct bytes_or_null){.data = NULL, .len = -1})

struct batch_builder {
    /* The header as it will be; base_offset 0, no producer id, leader epoch -1 after start. The
     * user may set what it wants before finish: producer id, epoch and sequence, attributes
     * (transactional, control), base offset, leader epoch. Counts, timestamps, codec and checksum
     * are the builder's. */
    struct batch_header header;
    /* The offset delta of the next record. May be raised to leave a gap, as compaction does. */
    int32_t next_delta;
    /* The header's base timestamp is the user's, and not that of the first record. */
    bool base_timestamp_set;
    /* Private. */
    uint8_t *plain, *packed;
    size_t plain_len, plain_cap, packed_cap;
};

void batch_builder_init(struct batch_builder *builder);
void batch_builder_fini(struct batch_builder *builder);

/* Forgets the records so far and begins an empty batch. */
void batch_builder_start(struct batch_builder *builder);

/* Appends a record; timestamp BATCH_NO_TIMESTAMP for none. The first one's is the base timestamp.
 */
void batch_builder_add(struct batch_builder *builder, int64_t timestamp, struct bytes_or_null key,
                       struct bytes_or_null value, const struct record_header *headers,
                       int32_t header_count);

/* Likewise, a record of another batch with all it has but its offset. */
void batch_builder_add_record(struct batch_builder *builder, const struct record *record);

/* Bytes of the batch so far, were it not compressed. */
static inline size_t batch_builder_size(const struct batch_builder *builder)
{
    return builder->plain_len;
}

/* Completes the batch; *bytes is valid until the builder's next use. Returns its length. With a
 * codec other than CODEC_NONE a deflater is needed. */
size_t batch_builder_finish(struct batch_builder *builder, struct deflater *deflater,
                            enum codec codec, int level, const uint8_t **bytes);
