/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of a shard's helper thread that may be quick or very long: what inflates a batch. It is done
 * in jobs of some slices, and what else the shard has asked of its helper has its turn in between.
 *
 * Every work has one job to begin with; most are over then. One that is not is long, and a shard
 * has one long work under way at a time, because what it keeps between its jobs may be large (a
 * zstd window has up to 128 MiB): the others forget what they have done, wait, and begin anew. So
 * quick ones pass long ones, and long ones come one after another.
 * home: the shard.
 */
#pragma once

#include "io/shard.h"

#include <sys/queue.h>

#define HELPER_SLICES_FIRST 32U /* of 64 KiB: 20 ms of gzip at the most */
#define HELPER_SLICES       8U

struct helper_job {
    /* On a helper thread: goes on for `slices`, and says whether there is more to do. */
    bool (*work)(struct helper_job *job, uint32_t slices);
    /* Back to the beginning: the next work() is the first, and until then no memory is kept. */
    void (*rewind)(struct helper_job *job);
    void (*done)(struct helper_job *job);

    /* private */
    struct helper_line *line;
    struct io_op op;
    TAILQ_ENTRY(helper_job) link; /* while it waits to be the long one */
    uint32_t slices;
    bool more;
};

struct helper_line {
    struct shard *sh;
    struct helper_job *longest; /* the long one; NULL: none */
    TAILQ_HEAD(, helper_job) waiting;
    uint64_t jobs;    /* of the helper thread */
    uint64_t rewinds; /* long ones that waited */
};

void helper_line_init(struct helper_line *line, struct shard *sh);
/* done() follows in a later turn. */
void helper_line_go(struct helper_line *line, struct helper_job *job);
