/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction of one log: its closed segments are read, what newer records have made superfluous is
 * left out (core/log/compact.h), and the rest takes their place, several small ones as one
 * (core/log/log_swap.c). A pass has two halves. First the keys of the dirty part, which no pass has
 * seen, go into the map, until it is full or the part ends; then all segments below that place are
 * filtered, from the oldest on, up to SWAP_SEGMENTS_MAX and segment.bytes at a time. At the end the
 * log's clean_upto moves there; it is durable, so that a restart goes on from it.
 *
 * Everything that reads, inflates and writes runs in io_work(), in steps of CLEAN_STEP_BYTES; what
 * is between steps is the caller's, who gives the pace. A pass may be given up between any two
 * steps: what was swapped stays, the rest is as it was. Nothing of a log stands still meanwhile:
 * appends, reads, retention and deletion go on, and a pass whose segments are gone ends.
 *
 * The order matters: older segments are swapped first, each durably, so that a tombstone never goes
 * before the records it has killed.
 */
#pragma once

#include "core/log/compact.h"
#include "core/log/log.h"

#define CLEAN_STEP_BYTES (1U << 20)

/* What there is to do. */
struct log_clean_look {
    int64_t clean_upto; /* the dirty part begins here */
    uint64_t clean_bytes;
    uint64_t dirty_bytes; /* of segments that may be compacted now */
};

/* Which segments may be: all settled ones that end at or below upto_offset and begin below
 * before_segment, up to the first that is not so. */
struct log_clean_bounds {
    int64_t upto_offset;    /* the last stable offset, or less */
    int64_t before_segment; /* INT64_MAX: as many as there are */
};

void log_clean_look(const struct log *lg, const struct log_clean_bounds *bounds,
                    struct log_clean_look *look);

struct log_clean_options {
    struct log_clean_bounds bounds;
    struct compact_rules rules; /* but for the producers, which are the log's */
    uint64_t map_bytes_max;
};

enum log_clean_verdict {
    LOG_CLEAN_MORE,      /* step again */
    LOG_CLEAN_DONE,      /* the log is clean up to `known_upto` */
    LOG_CLEAN_STOPPED,   /* the log is not what it was, or goes, or there is no space */
    LOG_CLEAN_DAMAGED,   /* a batch cannot be read; a line says which */
    LOG_CLEAN_TOO_SMALL, /* one batch has more keys than the map */
};

struct log_clean;

struct log_clean_result {
    enum log_clean_verdict verdict;
    uint64_t step_bytes; /* read and written by the last step */
    bool map_full;       /* there is more than one pass to do */
    int64_t known_upto;
    uint64_t records_read; /* by the filter, in segments that were swapped */
    uint64_t records_kept;
    uint64_t bytes_before;
    uint64_t bytes_after;
    uint32_t segments_before;
    uint32_t segments_after;
};

/* On the log's home shard. The caller's pins keep the log until log_clean_end() is done. */
struct log_clean *log_clean_begin(struct log *lg, const struct log_clean_options *options);
/* done() comes later, never inside the call. */
void log_clean_step(struct log_clean *clean, void (*done)(void *user), void *user);
const struct log_clean_result *log_clean_result(const struct log_clean *clean);
/* Between steps. What it has begun goes; then done(), later, and it is freed. */
void log_clean_end(struct log_clean *clean, void (*done)(void *user), void *user);
