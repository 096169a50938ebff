/* SPDX-License-Identifier: Apache-2.0
 *
 * Are the batches that come from a disk what was written? They come one after another, in pieces
 * cut anywhere. The checksum covers a batch from its attributes on. Of what lies before it the
 * length and the magic are proven by the walk itself, offsets and leader epochs by their order.
 */
#pragma once

#include "core/record/batch.h"

struct batch_scan {
    int64_t offset_from; /* the next batch does not begin below it */
    int64_t offset_upto; /* none ends at or above it */
    int32_t epoch_from;  /* the next batch's leader epoch is not below it */
    int32_t epoch_upto;  /* nor is any above this one */
    uint64_t at;         /* bytes seen */
    uint64_t batch_at;   /* where the batch begins that holds them, or would begin */
    uint32_t head_len;   /* bytes of its header that were seen */
    uint32_t left;       /* bytes of it behind the header that were not */
    uint32_t crc;
    bool doubt;        /* the batch at doubt_at did not follow the one before it, as behind */
    uint64_t doubt_at; /* compaction, and no other one has agreed with its offsets yet */
    struct batch_header header; /* of the batch seen last, once head_len is BATCH_HEADER_SIZE */
    uint8_t head[BATCH_HEADER_SIZE];
};

/* Anything goes, except offsets below this one. */
void batch_scan_start(struct batch_scan *scan, int64_t offset_from);

/* False: the batch at `batch_at` is damaged, and the scan is over. It may be the one in doubt, when
 * the next one begins below its end. */
bool batch_scan_feed(struct batch_scan *scan, const uint8_t *bytes, size_t len) warn_unused;

/* All that was seen are whole batches. */
static inline bool batch_scan_is_whole(const struct batch_scan *scan)
{
    return scan->at == scan->batch_at;
}
