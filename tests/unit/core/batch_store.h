/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch that was found good as a log stores it (core/log/log.c), in one piece of memory.
 */
#pragma once

#include "core/record/batch_check.h"
#include "io/crc.h"

#include <string.h>

/* Placed, and with the timestamp type and max timestamp that rules B7 and B8 ask for. False: the
 * copy has found that the checksum does not match. */
static inline bool batch_store(uint8_t *to, const struct batch_check *check, struct span batch,
                               int64_t base_offset, int32_t leader_epoch)
{
    struct batch_header header;
    span_peek(&batch, to, BATCH_HEADER_SIZE);
    batch_put_place(to, base_offset, leader_epoch);
    if (check->rules.log_append_time || check->max_timestamp != check->header.max_timestamp)
        batch_put_timestamp(to, check->rules.log_append_time, check->max_timestamp);
    batch_header_of(&header, to);
    uint32_t crc = crc32c(0, to + BATCH_CRC_FROM, BATCH_HEADER_SIZE - BATCH_CRC_FROM);
    span_advance(&batch, BATCH_HEADER_SIZE);
    return crc32c_copy_span(crc, to + BATCH_HEADER_SIZE, batch) == header.crc;
}
