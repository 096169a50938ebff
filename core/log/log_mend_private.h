/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/log/log_mend.c and core/log/log_mend_given.c know of each other and nobody else: the
 * first finds what is damaged, the second puts in its place what was given.
 */
#pragma once

#include "core/log/clean_file.h"
#include "core/log/log_mend.h"
#include "core/log/log_private.h"

#define NO_POSITION UINT32_MAX

/* Where a batch begins, or should. */
struct mend_place {
    uint32_t at;
    int64_t offset;
};

/* During a step the helper's, who sees nothing else; otherwise the shard's. */
struct log_mend {
    struct log_body *lg; /* not touched by the helper */
    struct log_mend_result result;
    char file[512];
    struct task over; /* a step is */
    void (*done)(void *user);
    void *user;

    /* The segment, as it was when the walk of it began; base -1: none. */
    int64_t base;
    int64_t start_offset; /* of the log; what lies below it nobody wants, and nobody has */
    int64_t end_offset;
    uint32_t version;
    uint32_t size;
    int64_t over_upto; /* segments that begin below it have had their turn */
    struct epoch_history epochs;
    struct segment_damage known;

    struct clean_input input;
    struct mend_place next;   /* of the walk */
    struct mend_place anchor; /* the last batch that begins at or before the block of `next` */
    struct mend_place gap;    /* a batch that does not follow the one before it; NO_POSITION: the */
    struct mend_place gap_anchor; /* last one does */
    struct mend_place dead;       /* damage that may lie below the log's start; NO_POSITION: none */
    struct mend_place dead_anchor;

    struct mend_place hole; /* the first damaged batch; NO_POSITION: not met */
    uint8_t *given;         /* from the anchor on */
    uint32_t given_len;
    uint32_t given_max;
    uint32_t asked_at; /* what was given last begins there */
    int64_t upto_offset;

    uint8_t *blocks; /* of the file, from the anchor's on; during one step */
    uint64_t blocks_from;
    uint64_t blocks_len;
    struct mend_place bad_upto;
    uint32_t bad_from;
    uint32_t bad_batches;
    struct mend_place after; /* the end of what is the same now, and its anchor */
    struct mend_place after_anchor;
};

static inline void mend_say(struct log_mend *mend, enum log_mend_verdict verdict,
                            const char *reason)
{
    mend->result.verdict = verdict;
    mend->result.reason = reason;
}

/* What its checksum does not prove. */
bool mend_belongs(const struct log_mend *mend, const struct batch_header *header);

/* core/log/log_mend_given.c, blocking: what was given is right, and the file as it was, or the
 * result says why not. -errno: a write or flush has failed. */
int64_t mend_given(struct log_mend *mend, const char *path);
