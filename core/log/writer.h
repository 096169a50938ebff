/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tail to the segments, lazily: core/log/writer.c.
 */
#pragma once

#include "core/log/segment.h"

#define WRITE_SLOTS 16U

struct segment_write {
    struct io_op op;
    struct log_shard *ls;
    struct log_body *lg;
    struct segment *segment;
    uint32_t upto;
    uint32_t bytes;
    uint64_t began_ns;
    uint8_t *page; /* for the partial last block */
    TAILQ_ENTRY(segment_write) link;
};

void writer_want(struct log_body *lg);
void writer_run(struct log_shard *ls);
void writer_on_flushed(struct log_body *lg);
bool writer_is_done(struct log_body *lg); /* all that is flushed is written; else it is asked for */
void writer_forget(struct log_body *lg);
/* How far the running checkpoint needs this segment written. */
uint32_t writer_target(const struct log_body *lg, const struct segment *segment);
/* Is neither space nor memory wanted, so that commits go first? */
bool writer_has_time(const struct log_shard *ls);
