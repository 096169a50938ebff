/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: files of record batches one after another, byte for byte what Kafka writes, and what is
 * known of one while the broker runs.
 */
#pragma once

#include "core/log/bypass.h"
#include "core/log/checkpoint.h"

struct file_job;
struct log_body;

#define SEGMENT_DAMAGES  8U
#define SEGMENT_STEP_MIN (256U << 10) /* the first space that is taken */

/* A batch: the last of its offsets, and where it begins. */
struct index_entry {
    uint32_t relative_offset;
    uint32_t position;
};

/* The first batch with this max timestamp: all before it have less. `position` is the batch's, or
 * one before it. */
struct time_entry {
    int64_t timestamp;
    uint32_t relative_offset; /* the batch's last */
    uint32_t position;
};

/* What is known of a segment's timestamps: core/log/segment_index.c. */
struct segment_times {
    struct time_entry *entries; /* ascending in all three */
    uint32_t count;
    uint32_t size;
    uint32_t interval; /* bytes between looks at the maximum */
    uint32_t looked;   /* position of the last one */
    uint32_t upto;     /* every batch below is accounted for in these two: */
    int64_t max_timestamp;
    struct log_range max_range; /* of the first batch with it */
    uint32_t max_relative_offset;
    bool unsaved; /* the segment's file, if there is one, does not know them */
    bool claimed; /* `upto` is a file's word, until the batch of `claim` was met */
    struct time_entry claim;
};

/* Where reading has found damage: the places found last. */
struct segment_damage {
    uint32_t positions[SEGMENT_DAMAGES];
    uint32_t count;
};

struct segment {
    TAILQ_ENTRY(segment) link;      /* log's segments, by base */
    TAILQ_ENTRY(segment) file_link; /* shard's open files, least recently used first */
    struct log_body *lg;
    int64_t base;
    uint32_t version;   /* no other segment of this log had it while this process runs */
    int64_t end_offset; /* after the last batch in it, or (compacted) after what was the last */
    uint32_t size;      /* appended bytes */
    uint32_t written;   /* in the file: FS_BLOCK multiple, or all that a checkpoint wrote */
    uint32_t issued;    /* the end of what is written, or on its way to the file, holes included */
    struct bypasses ahead; /* at or behind `written`, by position */
    struct log_anchors anchors;
    uint64_t allocated;     /* length of the file as far as we took space */
    int file;               /* -1: not open */
    uint32_t io;            /* operations that use `file` now */
    struct file_job *job;   /* opening, extending or sealing */
    bool dirty;             /* written since its last sync */
    bool closed;            /* no longer the active one */
    bool sealed;            /* cut to its data, synced, index written */
    bool cut;               /* file cut to its data by a clean stop */
    bool index_asked;       /* its .index was looked for */
    bool doomed;            /* removed from the log; freed when nothing uses it */
    bool below;             /* wholly below the log's start: counted no more, its files go soon */
    bool swapping;          /* a compacted one takes its place: no job of its own any more */
    bool replaced;          /* one has, and its file has another name now (core/log/log_swap.c) */
    uint64_t gone_ns;       /* below or replaced: when its files go */
    uint64_t sealed_number; /* of the checkpoint that had begun last when it was sealed */

    int64_t born_ms;         /* wall clock when this process made or met it */
    int64_t first_timestamp; /* largest of its first batch, -1: unknown or none */
    int64_t roll_after_ms;   /* segment.ms less its jitter; 0: not decided yet */

    struct segment_times times;
    struct index_entry *index;
    uint32_t index_count;
    uint32_t index_size;
    uint32_t index_interval;

    struct segment_damage *damage; /* NULL: none is known */
    struct read_ahead *read_ahead; /* NULL: nobody has read it from its file */
};

TAILQ_HEAD(segments, segment);

struct segment *segment_new(struct log_body *lg, int64_t base);
/* Out of its log; its memory goes when nothing uses it. */
void segment_doom(struct segment *segment);
void segment_reap(struct segment *segment); /* something that used it has ended */
/* True when the file is open and has space up to `length` (0: just open); else a job was started
 * and `lg` will be queued for writing again, or its readers run. */
bool segment_ready(struct segment *segment, uint64_t length);
void segment_use(struct segment *segment);
void segment_unuse(struct segment *segment);
void segment_close_all(struct log_shard *ls); /* every open file, in the background */
/* One segment of a log at a time (lg->cutting). */
void segment_seal(struct segment *segment, void (*done)(struct file_job *job));
struct file_job *segment_seal_job(struct segment *segment, void (*done)(struct file_job *job));
/* The batch at `position` is not what was written: told to the operator, and remembered. */
void segment_damaged(struct segment *segment, uint32_t position, int64_t offset);
/* What lies between is as it was: nothing of it is known to be damaged any more. */
void segment_mended(struct segment *segment, uint32_t from, uint32_t upto);
/* The first known damage at or behind `position`, UINT32_MAX: none. */
uint32_t segment_damage_after(const struct segment *segment, uint32_t position);
struct segment *segment_by_base(const struct log_body *lg, int64_t base);
/* Likewise, but no other that took its place. */
struct segment *segment_named(const struct log_body *lg, int64_t base, uint32_t version);
/* All of a segment's bytes are in its file for good: sealed, and no record in the journal would put
 * them there again. */
bool segment_is_settled(const struct segment *segment);
/* The directory timer comes for the log. */
void log_directory_later(struct log_body *lg);
void log_on_directory_timer(struct shard *sh, struct timer *timer);
