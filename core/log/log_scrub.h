/* SPDX-License-Identifier: Apache-2.0
 *
 * Scrub: a log's files are read for no other reason than to find out whether they hold what was
 * written. Of each segment everything that lies in its file for good: checksum and header of every
 * batch, the order of offsets, leader epochs against the log's history, and of a closed segment
 * its two indexes. What a reader would find one day is found while a copy of it still exists.
 *
 * A damaged batch is told and remembered as if a reader had met it (segment_damaged); the walk goes
 * on behind it, at the batch that its length or the offset index names. An index that does not fit
 * its segment is removed, for it is only a hint, and neither checksummed nor flushed.
 *
 * Reading runs in io_work(), past the page cache, in steps of SCRUB_STEP_BYTES; what is between
 * steps is the caller's, who gives the pace. Nothing of a log stands still meanwhile: a segment
 * that was cut, replaced or removed since its step began is left alone.
 */
#pragma once

#include "core/log/log.h"

#define SCRUB_STEP_BYTES (256U << 10)

/* Since the caller has set it to zero. */
struct log_scrub_result {
    uint64_t step_bytes; /* read by the last step */
    uint64_t bytes;
    uint64_t batches;
    uint32_t segments;
    uint32_t damaged;    /* batches */
    uint32_t indexes;    /* that did not fit */
    uint32_t unreadable; /* files that the disk did not give */
};

struct log_scrub;

/* On one shard, as all of this; its logs may lie in several directories. */
struct log_scrub *log_scrub_new(struct fs *fs);
/* Of no log, or one whose log_scrub_leave() is done. */
void log_scrub_free(struct log_scrub *scrub);
struct log_scrub_result *log_scrub_result(struct log_scrub *scrub);

/* The caller's pins keep the log until log_scrub_leave() is done. */
void log_scrub_enter(struct log_scrub *scrub, struct log *lg);
/* To the next segment; false: there is none. Between steps. */
bool log_scrub_next(struct log_scrub *scrub);
/* done() comes later, never inside the call. */
void log_scrub_step(struct log_scrub *scrub, void (*done)(void *user), void *user);
/* Is there more of this segment? */
bool log_scrub_more(const struct log_scrub *scrub);
/* Between steps; done() comes later. */
void log_scrub_leave(struct log_scrub *scrub, void (*done)(void *user), void *user);
