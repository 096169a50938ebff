/* SPDX-License-Identifier: Apache-2.0
 *
 * The bypass of large appends: direct writes to segments, which their acknowledgements wait for.
 * core/log/bypass.c says when, and in what order.
 */
#pragma once

#include "core/log/log.h"

struct log_body;

#define BYPASS_BYTES  (64U << 10) /* appends of so much and more bypass the journal */
#define BYPASS_PIECES 16U

/* Whole blocks of an append, on their way to its segment file or there already. */
struct bypass {
    TAILQ_ENTRY(bypass) link; /* the segment's, until `written` has passed it */
    TAILQ_ENTRY(bypass) line_link;
    struct segment *segment;
    struct log_append *op; /* waits for it; NULL: it is answered */
    uint32_t from;
    uint32_t upto;
    uint32_t next;   /* asked for up to here */
    uint32_t pieces; /* in flight */
    bool done;
};

TAILQ_HEAD(bypasses, bypass);

struct bypass_piece {
    struct io_op op;
    struct log_shard *ls;
    struct bypass *bypass;
    uint32_t bytes;
    uint64_t submitted_ns;
    uint64_t together_bytes; /* under way then, its own included */
    TAILQ_ENTRY(bypass_piece) link;
};

/* Does this append, new at the end of its segment, bypass the journal? Then its write is on its
 * way. */
bool bypass_take(struct log_body *lg, struct log_append *op);
/* Its extent record goes to the open group; false: no group takes it now. */
bool bypass_journal(struct log_body *lg, struct log_append *op, bool prefix);
void bypass_run(struct log_shard *ls); /* at the end of a turn */
bool bypass_busy(const struct log_shard *ls);
/* Is a direct write under way whose record is in group `seq` or before it? */
bool bypass_waits(const struct log_shard *ls, uint64_t seq);
/* Where the lazy writer must stop; UINT32_MAX: nowhere. */
uint32_t bypass_wall(const struct segment *segment);
void bypass_absorb(struct segment *segment);                 /* `written` has moved */
void bypass_cut(struct segment *segment, uint32_t position); /* the segment ends there */
void bypass_fail(struct log_shard *ls);                      /* nobody waits any more */
