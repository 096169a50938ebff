/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks through a log's batches, from inside: what the files know of each other that find an offset
 * or a time.
 */
#pragma once

#include "core/log/log_private.h"

struct batch_header;

enum find_mode { FIND_OFFSET, FIND_TIMESTAMP, FIND_TIMESTAMP_MAX };

/* Where what the reader may see ends. */
static inline int64_t find_upto(const struct log_body *lg, const struct log_find *find)
{
    return min_i64(find->upto_offset, lg->log.acked_offset);
}

/* log_find.c */
/* Also while the log is being truncated. */
bool log_find_inside(struct log_body *lg, struct log_find *find);
void find_again(struct log_find *find); /* it has waited */
void find_on_read(struct io_op *op);    /* likewise, for bytes of the file */

/* find_hint.c */
/* A place where a batch begins, and what was seen of it there: -1 for what was not. */
struct find_hint {
    uint32_t position;
    int64_t base_offset;
    int64_t last_offset;
};
/* The largest known place of a batch at or before `offset` in the segment. */
struct find_hint find_hint(const struct log_body *lg, const struct segment *segment,
                           int64_t offset);
/* Is the first batch of a walk by offset the one that its hint has seen? Of others it is true. */
bool find_hint_was_right(const struct log_find *find, const struct batch_header *header);
/* The hint that the walk by offset began with was wrong: nobody else shall begin there. */
void find_disown(struct log_body *lg, const struct log_find *find, struct segment *segment);
void log_mark_put(struct log_body *lg, int64_t offset, int64_t segment_base, uint32_t position);
void log_marks_clear(struct log_body *lg);

/* find_time.c */
/* Where a walk for a time begins: behind all that is known to be too old, and at the batch with the
 * greatest timestamp known. */
void find_time_hint(const struct log_body *lg, struct log_find *find,
                    const struct segment *segment);
/* Can the whole segment be passed by what is known of its timestamps? */
bool find_time_skips(struct log_body *lg, struct log_find *find, const struct segment *segment);
/* Is this the batch? For the maximum: never, it is remembered instead. */
bool find_time_matches(struct log_find *find, const struct segment *segment,
                       const struct batch_header *header);
/* May this batch stand where the time index has led (find->priv.claimed)? */
bool find_time_holds(struct log_find *find, const struct segment *segment,
                     const struct batch_header *header);
/* Behind a segment whose batches were met or passed. */
void find_time_leave(const struct log_body *lg, struct segment *segment);

/* find_header.c */
enum find_step { STEP_GOT, STEP_READ, STEP_WAIT };
/* STEP_READ: find_on_read() comes; STEP_WAIT: no file or no memory, find_wait() is the caller's. */
enum find_step find_header(struct log_body *lg, struct segment *segment, struct log_find *find,
                           uint32_t at, struct batch_header *header);
/* The checksum of the batch that was passed last: STEP_GOT, it is summed up. What is in memory was
 * proven by the copy that brought it. */
enum find_step find_prove(struct log_body *lg, struct segment *segment, struct log_find *find);
void find_wait(struct log_shard *ls, struct log_find *find);
