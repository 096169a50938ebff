/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record/batch_scan.h"

#include "io/crc.h"

#include <string.h>

void batch_scan_start(struct batch_scan *scan, int64_t offset_from)
{
    *scan = (struct batch_scan){.offset_from = offset_from,
                                .offset_upto = INT64_MAX,
                                .epoch_from = -1,
                                .epoch_upto = INT32_MAX};
}

/* Not below the one before it: that one, when it did not follow its own predecessor. */
static bool scan_refuse(struct batch_scan *scan)
{
    if (scan->doubt && scan->header.base_offset < scan->offset_from)
        scan->batch_at = scan->doubt_at;
    return false;
}

static bool scan_header(struct batch_scan *scan)
{
    struct batch_header *header = &scan->header;
    batch_header_of(header, scan->head);
    if (batch_size(header) < BATCH_HEADER_SIZE || header->magic != BATCH_MAGIC ||
        header->last_offset_delta < 0 || header->base_offset < scan->offset_from ||
        header->base_offset > INT64_MAX - INT32_MAX ||
        batch_last_offset(header) >= scan->offset_upto || header->leader_epoch < scan->epoch_from ||
        header->leader_epoch > scan->epoch_upto)
        return scan_refuse(scan);
    scan->doubt = scan->batch_at > 0 && header->base_offset > scan->offset_from;
    scan->doubt_at = scan->batch_at;
    scan->left = (uint32_t)(batch_size(header) - BATCH_HEADER_SIZE);
    scan->crc = crc32c(0, scan->head + BATCH_CRC_FROM, BATCH_HEADER_SIZE - BATCH_CRC_FROM);
    return true;
}

/* Behind the last byte of a batch. */
static bool scan_batch(struct batch_scan *scan)
{
    if (scan->crc != scan->header.crc)
        return false;
    scan->offset_from = batch_last_offset(&scan->header) + 1;
    scan->epoch_from = scan->header.leader_epoch;
    scan->batch_at = scan->at;
    scan->head_len = 0;
    return true;
}

bool batch_scan_feed(struct batch_scan *scan, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t run;
        if (scan->head_len < BATCH_HEADER_SIZE) {
            run = min_u64(len, BATCH_HEADER_SIZE - scan->head_len);
            memcpy(scan->head + scan->head_len, bytes, run);
            scan->head_len += (uint32_t)run;
            if (scan->head_len == BATCH_HEADER_SIZE && !scan_header(scan))
                return false;
        } else {
            run = min_u64(len, scan->left);
            scan->crc = crc32c(scan->crc, bytes, run);
            scan->left -= (uint32_t)run;
        }
        bytes += run;
        len -= run;
        scan->at += run;
        if (scan->head_len == BATCH_HEADER_SIZE && scan->left == 0 && !scan_batch(scan))
            return false;
    }
    return true;
}
