/* SPDX-License-Identifier: Apache-2.0
 *
 * Mending of one log: what the disk has damaged in a closed segment is put back, byte for byte at
 * its place, from what another replica has. The caller asks that replica; here is decided what is
 * to be asked for, whether what came is right, and the file is written. core/log/log_mend_given.c
 * says how, and why a crash in the midst is safe.
 *
 * Reading and writing run in io_work(), one job of the segment at a time; what is between steps is
 * the caller's, who gives the pace.
 */
#pragma once

#include "core/log/log.h"

enum log_mend_verdict {
    LOG_MEND_MORE,    /* step again */
    LOG_MEND_ASK,     /* give what another replica has from `offset` on */
    LOG_MEND_REFUSED, /* what was given does not fit: `reason`. Give another one's, from `offset` */
    LOG_MEND_DONE,    /* a range is as it was; step again */
    LOG_MEND_WHOLE,   /* nothing is known to be damaged any more */
    LOG_MEND_LATER,   /* there is damage yet, and nothing can be done now: `reason`, or NULL */
};

struct log_mend_result {
    enum log_mend_verdict verdict;
    const char *reason; /* a constant */
    int64_t offset;
    /* Of the damaged range. */
    const char *file;
    int64_t from_offset;
    int64_t upto_offset; /* behind its last one; DONE only, as the rest */
    uint32_t position;
    uint32_t bytes;
    uint32_t batches;
};

struct log_mend;

/* Is anything of it known to be damaged? */
bool log_is_damaged(const struct log *lg);

/* On the log's home shard, as all of this. The caller's pins keep it until log_mend_end(). No more
 * than given_bytes_max are put together at a time. */
struct log_mend *log_mend_begin(struct log *lg, uint32_t given_bytes_max);
/* False: the verdict is there already. True: done() comes later, never inside the call. */
bool log_mend_step(struct log_mend *mend, void (*done)(void *user), void *user);
/* Likewise, when it was asked for. All of the bytes lie below the high watermark of who gave them,
 * and are copied; of ours nothing at or above upto_offset is touched. */
bool log_mend_give(struct log_mend *mend, const uint8_t *bytes, uint32_t len, int64_t upto_offset,
                   void (*done)(void *user), void *user);
/* Nobody has it: the rest of the segment stays as it is for now. Step again. */
void log_mend_skip(struct log_mend *mend);
const struct log_mend_result *log_mend_result(const struct log_mend *mend);
/* Between steps. */
void log_mend_end(struct log_mend *mend);
