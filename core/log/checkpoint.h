/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint says about one log: enough to bring it back without reading a single segment.
 * Entries stand in D/checkpoint-<n> (a record file, many entries per batch, each behind its u32
 * length) and, for a log that is born, in the journal. Of all entries of a log anywhere in the
 * directory the one with the largest `change` counts.
 *
 * Lengths come from here and from the journal alone: a segment file may be longer (space taken
 * ahead, bytes of a truncated or recycled past) and what lies beyond is not looked at.
 */
#pragma once

#include "core/log/epoch.h"
#include "core/log/log.h"
#include "core/log/producer_state.h"
#include "core/log/record_file.h"

#define CHECKPOINT_MAGIC     "MRCHKPT1"
#define CHECKPOINT_BATCH_MAX (1U << 20)
#define CHECKPOINT_SLACK     (1U << 20) /* dead bytes a file may always have */
#define CHECKPOINT_OPEN_MAX  4096U

/* A place in a log: byte `position` of the segment that begins at `segment_base`. */
struct log_place {
    int64_t segment_base;
    uint32_t position;
};

#define LOG_NO_ANCHOR   UINT32_MAX
#define LOG_ANCHOR_STEP (16U << 10)

/* Two batches' places in a segment. The second takes the first one's place when the log has gone on
 * by a step behind it, so between one and two steps (and a batch) lie behind the first. */
struct log_anchors {
    uint32_t first;
    uint32_t second;
};

/* A batch is appended at `position`. */
static inline void log_anchors_move(struct log_anchors *anchors, uint32_t position)
{
    if (anchors->first > position || anchors->second > position)
        *anchors = (struct log_anchors){position, position};
    if (position - anchors->second < LOG_ANCHOR_STEP)
        return;
    anchors->first = anchors->second;
    anchors->second = position;
}

/* The one from which a start reads on: a step or a batch that is longer than one lies behind it. */
static inline uint32_t log_anchor_of(const struct log_anchors *anchors, uint32_t end)
{
    bool far = anchors->second <= end && end - anchors->second >= LOG_ANCHOR_STEP;
    return far ? anchors->second : anchors->first;
}

/* The segment ends at `position` from now on. */
static inline void log_anchors_cut(struct log_anchors *anchors, uint32_t position)
{
    if (anchors->second > position)
        anchors->second = anchors->first;
    if (anchors->first > position)
        *anchors = (struct log_anchors){LOG_NO_ANCHOR, LOG_NO_ANCHOR};
}

/* A compacted segment takes the place of others (core/log/log_swap.c). As bytes: tag u32, new_size
 * u32, clean_upto i64, end_offset i64, count u32, then each base i64. */
#define SWAP_SEGMENTS_MAX  16U
#define SWAP_ENCODED_BYTES (28U + 8U * SWAP_SEGMENTS_MAX)

struct swap_record {
    uint32_t tag;       /* names its file until it is in place */
    uint32_t new_size;  /* of the segment at bases[0]; 0: nothing is left of them, there is none */
    int64_t clean_upto; /* of the log, from now on */
    int64_t end_offset; /* the segment behind those that go begins here */
    uint32_t count;     /* of segments that go; 0: only clean_upto is told */
    int64_t bases[SWAP_SEGMENTS_MAX];
};

void swap_record_encode(const struct swap_record *swap, struct bytes_out *out);
/* False when the bytes are none. */
bool swap_record_decode(struct swap_record *swap, struct bytes_in *in);

struct checkpoint_entry {
    struct log_id id;
    uint32_t incarnation;
    uint64_t change; /* records of the log that this entry covers */
    bool deleted;
    char topic[LOG_TOPIC_MAX + 1];
    int64_t start_offset;
    int64_t end_offset;
    struct log_place end;
    /* Covered bytes: beyond `end` when a large batch was partly journaled. */
    struct log_place flushed;
    /* Segments before the last that are cut to their data, by their number and bytes; the others
     * ("open") with their sizes. */
    uint32_t sealed_count;
    uint64_t sealed_bytes;
    uint32_t open_count;
    struct log_place *open; /* position: size */
    /* Where a batch begins in the last segment, not far before `end`: from here on a start reads
     * the batches and checks them. LOG_NO_ANCHOR: nobody knows. */
    uint32_t anchor;
    int64_t clean_upto;      /* compaction has looked at all that lies below */
    struct swap_record swap; /* count > 0: its files may have their old names still */
    bool relaxed;            /* less than durable may have been promised (core/log/promise.c) */
    bool may_have_lost;      /* and a start has found that it may be gone */
    bool has_aborted;        /* transactions; its directory holds the list (core/log/aborted.h) */
    struct epoch_history *epochs;
    struct producer_state *producers;
};

size_t checkpoint_encoded_size(const struct checkpoint_entry *entry);
/* Of epochs and producers only what lies below end_offset. */
void checkpoint_encode(const struct checkpoint_entry *entry, struct bytes_out *out);
/* Many entries as the payloads of a checkpoint file, as many in each as fit. */
struct checkpoint_payloads {
    struct record_payload *payloads;
    uint32_t count;
    /* private */
    size_t room; /* of the last */
};
void checkpoint_payloads_add(struct checkpoint_payloads *batches,
                             const struct checkpoint_entry *entry);
void checkpoint_payloads_fini(struct checkpoint_payloads *batches);
/* `epochs` and `producers` point at empty ones; `open` is the caller's to mem_free(). False when
 * the bytes are no entry. */
bool checkpoint_decode(struct checkpoint_entry *entry, struct bytes_in *in);
