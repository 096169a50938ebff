/* SPDX-License-Identifier: Apache-2.0
 *
 * One partition's folder as Apache Kafka left it after a clean stop, read whole: every batch is
 * checked, and what a log of ours has to know of it is gathered on the way: where it ends, leader
 * epochs, the newest batches of idempotent producers, which transactions were aborted.
 *
 * A transaction is in a partition from its first batch to its marker. Kafka's own list of the
 * aborted ones (.txnindex) has no checksum and goes with its segment, so it is not asked.
 */
#pragma once

#include "core/log/checkpoint.h"
#include "io/map.h"

struct kafka_segment {
    int64_t base;
    uint64_t bytes; /* of data; zeros may follow */
};

/* Like an entry of Kafka's .txnindex. */
struct kafka_aborted {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset; /* its marker */
};

struct kafka_open_transaction {
    int64_t producer_id;
    int64_t first_offset;
    UT_hash_handle hh;
};

struct kafka_scan {
    struct kafka_segment *segments; /* in order; the last one is where Kafka appends */
    uint32_t segment_count;
    int64_t end_offset;
    uint64_t batches;
    uint64_t records; /* without markers */
    uint64_t markers;
    uint64_t bytes;
    uint64_t transactional;  /* batches */
    uint32_t anchor;         /* core/log/checkpoint.h */
    int64_t producer_id_max; /* -1: none */
    struct epoch_history epochs;
    struct producer_state producers;
    struct kafka_aborted *aborted; /* by last offset */
    uint32_t aborted_count;
    struct kafka_open_transaction *open; /* of those that have not ended */
    char reason[320];                    /* why it cannot be taken over; "": it can */

    /* private */
    struct log_anchors anchors;
    /* NULL, or told of each batch that was read. */
    void (*on_progress)(void *user, uint64_t bytes);
    void *user;
};

/* Reads the folder; `reason` says what is wrong with it. kafka_scan_fini() is due in any case. */
void kafka_scan_read(struct kafka_scan *scan, const char *directory);
void kafka_scan_fini(struct kafka_scan *scan);

/* The folder's bytes in segments, for the bar. */
uint64_t kafka_scan_size(const char *directory);
/* Is this batch part of an aborted transaction? */
bool kafka_scan_is_aborted(const struct kafka_scan *scan, const struct batch_header *header);
/* The lowest offset of an open transaction, -1: there is none. */
int64_t kafka_scan_open_from(const struct kafka_scan *scan, int64_t *producer_id);
