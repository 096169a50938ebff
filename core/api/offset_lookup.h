/* SPDX-License-Identifier: Apache-2.0
 *
 * One question about a partition's offsets, answered on its home shard: where it begins or ends, at
 * which offset a time begins (ListOffsets), or where a leader epoch ended (OffsetForLeaderEpoch).
 *
 * A time is looked for in two steps: the log finds the batch by its max timestamp, then the records
 * of that batch are looked at one by one (L2: the answer is a record's, not a batch's) on a helper
 * thread, because they may have to be inflated. The helper gets a copy of the batch; so a shard has
 * only a few of them at a time, and the other questions wait for their turn.
 */
#pragma once

#include "core/partition/partition.h"

enum offset_question {
    OFFSET_LATEST,        /* high watermark or last stable offset */
    OFFSET_EARLIEST,      /* log start offset */
    OFFSET_MAX_TIMESTAMP, /* the record with the greatest timestamp */
    OFFSET_OF_TIMESTAMP,  /* the first record at or after `timestamp` */
    OFFSET_END_OF_EPOCH,  /* of `asked_epoch` */
};

/* Owned by the request's arena, lent to the home shard by mail until done(). */
struct offset_lookup {
    /* in */
    struct partition_key key;
    uint16_t home;
    enum offset_question question;
    int64_t timestamp;
    int32_t asked_epoch;
    int32_t current_leader_epoch;
    bool committed_only;
    void (*done)(struct offset_lookup *lookup); /* on the sender's shard; may run inside the call */
    void *user;

    /* out */
    int16_t error;
    int64_t offset;          /* -1: none */
    int64_t found_timestamp; /* -1: none, or not asked for */
    int32_t leader_epoch;    /* -1: unknown */

    /* private */
    struct {
        struct mail mail;
        struct broker_shard *from;
        struct broker_shard *bs; /* the home's */
        struct partition *pt;
        uint32_t held; /* bytes of its batch, of those that may be copied at a time */
        TAILQ_ENTRY(offset_lookup) link; /* while it waits for that */
        struct task called;
        int64_t from_offset; /* the answer lies between these */
        int64_t upto_offset;
        struct log_find find;
        struct log_pin pin;
        struct log_check check;
        struct offset_scan *scan; /* the batch, for the helper thread */
    } priv;
};

void offset_lookup_start(struct broker_shard *from, struct offset_lookup *lookup);
