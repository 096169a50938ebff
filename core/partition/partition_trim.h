/* SPDX-License-Identifier: Apache-2.0
 *
 * Raising a partition's log start: what lies below is gone for readers at once, and its segments a
 * while later. Asked for by DeleteRecords (C6) from any shard and by retention on the home shard.
 */
#pragma once

#include "core/partition/partition.h"

#define TRIM_TO_HIGH_WATERMARK (-1)

/* Owned by who asks, lent to the home shard until done(). */
struct partition_trim {
    /* in */
    struct partition_key key;
    uint16_t home;
    int64_t offset; /* new log start; at or below the present one: nothing to do */
    void (*done)(struct partition_trim *trim); /* on the sender's shard; may run inside the call */

    /* out */
    int16_t error;         /* Kafka's code */
    int64_t low_watermark; /* log start now, -1 with an error */

    /* private */
    struct {
        struct mail mail;
        struct broker_shard *from;
        struct partition *pt;
        struct log_change change;
    } priv;
};

/* For a client: not on internal topics, nor where cleanup.policy does not delete. */
void partition_trim(struct broker_shard *from, struct partition_trim *trim);
/* For the broker itself, on the home shard; `key` and `home` are not looked at. */
void partition_trim_here(struct partition *pt, struct partition_trim *trim);
