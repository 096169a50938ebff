/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction of record batches, without a disk: what a batch tells about keys, and what is left of
 * it. The rules are Kafka's (KIP-354, KIP-534; D8, D10, D11):
 *
 *  - of each key the newest record that the map knows is kept, older ones go; a record behind
 *    `known_upto` is kept whatever it is, because nobody has looked there for newer ones
 *  - a record without a value (a tombstone) stays for delete.retention.ms after the first pass that
 *    met it: that pass writes the end of its time into the batch, as attribute bit 6 and in place
 *    of the base timestamp
 *  - records keep offset, timestamp, key, value and headers; a batch keeps its offsets from the
 *    first to the last, its codec, its leader epoch and what it says of its producer
 *  - a batch that loses all its records stays, empty, while it is the last one of a producer: who
 *    brings the state of producers back from the log needs its sequence number
 *  - records without a key (a topic may have been another kind before) go
 *
 * Control batches are kept as they are. Of a transaction that was aborted nothing is kept, nor are
 * its keys noted; one that was committed is as any other. (Kafka drops markers, too, in the end;
 * this broker does not let any in, so only a log that was Kafka's has some.)
 *
 * Memory: that of the map and of one inflated batch.
 */
#pragma once

#include "core/log/aborted.h"
#include "core/log/key_map.h"
#include "core/record/batch_builder.h"

struct compact_producer {
    int64_t id;
    int64_t last_offset; /* of its newest batch */
};

struct compact_rules {
    int64_t now_ms;     /* a tombstone whose time ends at or before it goes */
    int64_t horizon_ms; /* when the time of one ends that is met now */
    uint64_t inflated_bytes_max;
    const struct compact_producer *producers; /* by id */
    uint32_t producer_count;
    struct aborted_list aborted; /* transactions; borrowed */
    bool mistake_drops_newest;
    bool mistake_tombstone_early;
};

enum compact_verdict {
    COMPACT_KEEP,    /* as it is */
    COMPACT_CHANGED, /* in another form */
    COMPACT_GONE,    /* nothing is left */
    COMPACT_FULL,    /* the map has no room for its keys; nothing was noted */
    COMPACT_BROKEN,  /* the bytes are no batch, or its records are none */
};

struct compactor {
    struct compact_rules rules;
    struct key_map map;
    int64_t known_upto; /* the map knows all records below it, from where it was begun */

    /* since the start */
    uint64_t records_read;
    uint64_t records_kept;

    /* private */
    struct inflater inflater;
    struct deflater deflater;
    struct batch_builder builder;
    uint8_t *kept; /* a bit for each record of the batch */
    uint32_t kept_size;
};

void compactor_init(struct compactor *cp);
void compactor_fini(struct compactor *cp);

/* `bytes` are one whole batch with its header, the checksum proven by the caller. KEEP, FULL or
 * BROKEN. */
enum compact_verdict compact_note(struct compactor *cp, const uint8_t *bytes, uint32_t len,
                                  int64_t from_offset);
/* CHANGED: *out is what is left, valid until the next call. */
enum compact_verdict compact_batch(struct compactor *cp, const uint8_t *bytes, uint32_t len,
                                   const uint8_t **out, uint32_t *out_len);
