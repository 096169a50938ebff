/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches for tests of the log: one record whose bytes follow from a number, so that a reader can
 * tell which batch it holds and whether it is whole. The log does not look into records.
 */
#pragma once

#include "core/record/batch.h"
#include "io/crc.h"

#include <string.h>

/* Writes a batch of `size` bytes (> BATCH_HEADER_SIZE) for `tag`, with `count` offsets. */
static inline void test_batch(uint8_t *to, uint32_t size, uint64_t tag, int32_t count,
                              int64_t producer_id, int16_t epoch, int32_t sequence)
{
    struct batch_header header = {.length = (int32_t)(size - BATCH_LENGTH_END),
                                  .leader_epoch = -1,
                                  .magic = BATCH_MAGIC,
                                  .last_offset_delta = count - 1,
                                  .base_timestamp = (int64_t)tag,
                                  .max_timestamp = (int64_t)tag,
                                  .producer_id = producer_id,
                                  .producer_epoch = epoch,
                                  .base_sequence = sequence,
                                  .record_count = count};
    uint64_t state = tag * 0x9e3779b97f4a7c15ULL + 1;
    uint32_t at = BATCH_HEADER_SIZE;
    for (; at + 8 <= size; at += 8) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        memcpy(to + at, &state, 8);
    }
    for (; at < size; at++)
        to[at] = (uint8_t)at;
    batch_header_put(&header, to);
    uint32_t crc = crc32c(0, to + BATCH_CRC_FROM, size - BATCH_CRC_FROM);
    header.crc = crc;
    batch_header_put(&header, to);
}
