/* SPDX-License-Identifier: Apache-2.0
 *
 * A compacted segment takes the place of others, whatever crashes: core/log/log_swap.c says how.
 */
#pragma once

#include "core/log/checkpoint.h"

struct file_job;
struct log_body;

/* What log_swap() is to do. */
struct log_swap {
    struct swap_record record;
    uint32_t versions[SWAP_SEGMENTS_MAX]; /* of the segments that go */
    uint64_t sizes[SWAP_SEGMENTS_MAX];
    int64_t max_timestamp; /* both of the new one, INT64_MIN: it has no records */
    struct log_range max_range;
};

/* LOG_OK: it is done, for good; LOG_CLOSED: not any more, the segments are others than they were.
 * `swap` stays until then. */
void log_swap(struct log *lg, struct log_change *change, const struct log_swap *swap);
/* The file of a compacted segment that is not in place, and of its index. */
#define SWAP_NAME       "%020lld.%08x.cleaned"
#define SWAP_INDEX_NAME "%020lld.%08x.cleaned-index"
/* That of a segment whose place was taken: base and version. */
#define REPLACED_NAME "%020lld.%u.deleted"
void swap_run(struct log_body *lg, struct log_change *change);
void swap_durable(struct log_body *lg, struct log_change *change);
int64_t swap_files(struct file_job *job); /* blocking */
