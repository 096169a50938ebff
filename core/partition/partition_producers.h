/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has written to a partition of late: its idempotent producers, as its log remembers them. For
 * DescribeProducers (KIP-664), asked from any shard.
 */
#pragma once

#include "core/partition/partition.h"

struct partition_producer {
    int64_t id;
    int32_t epoch;
    int32_t last_sequence; /* -1: none */
    int64_t last_timestamp;
    int32_t coordinator_epoch; /* -1: none */
    int64_t txn_first_offset;  /* -1: no open transaction */
};

/* Owned by who asks, lent to the home shard until done(). */
struct partition_producers {
    /* in */
    struct partition_key key;
    uint16_t home;
    void (*done)(
        struct partition_producers *ask); /* on the sender's shard; maybe inside the call */

    /* out */
    int16_t error;                   /* Kafka's code */
    struct partition_producer *list; /* the sender mem_free()s it */
    uint32_t count;

    /* private */
    struct {
        struct mail mail;
        struct broker_shard *from;
    } priv;
};

void partition_producers_ask(struct broker_shard *from, struct partition_producers *ask);
