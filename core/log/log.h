/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: what the rest of the broker sees of it. One struct log is one partition's records on
 * this node; it has a home shard, and every call below is made there. "Acknowledged" means on
 * stable storage: done() of an append runs after the bytes are in a flushed journal group, never
 * earlier, unless the topic has asked for less (enum log_durability, core/log/promise.c).
 *
 * How an append travels: log_append() checks the producer's sequence, copies the batch into the
 * partition's tail buffer with the CRC on the way (core/log/tail.h), stamps offset and epoch, and
 * packs a record into the shard's open journal group (core/log/journal.h). The group leaves at the
 * end of the turn, shared by all partitions of the shard; when it is on disk, done() runs, in
 * order. Much later the bytes go from the tail buffer to the segment file (core/log/segment.h) in
 * large writes, and a checkpoint (core/log/checkpoint.h) gives the journal space back. After a
 * crash log_dir_recover() puts journal and checkpoints together again (core/log/recovery.h).
 *
 * Memory: a batch is copied twice (socket to tail, tail to journal group) and sent from the tail
 * blocks without a copy. Nothing allocates per append: operations are the caller's.
 *
 * Errors: nothing here returns errno or Kafka's numbers. A verdict says what happened; the table of
 * errors in the request layer maps it. A failed write or flush is final: the whole directory goes
 * offline on every shard and all that was waiting ends with LOG_OFFLINE.
 */
#pragma once

#include "core/record/batch_scan.h"
#include "io/durations.h"
#include "io/fs.h"
#include "io/shard.h"
#include "io/span.h"

#include <sys/queue.h>
#include <sys/uio.h>

struct log_dir;
struct log_shard;
struct log_swap;
struct segment;
struct tail_block;

enum log_verdict {
    LOG_OK,        /* done, and durable where that applies */
    LOG_WAIT,      /* not decided yet: done() will tell */
    LOG_CORRUPT,   /* CRC or header does not match: CORRUPT_MESSAGE */
    LOG_TOO_LARGE, /* larger than a segment or half the tail memory: RECORD_LIST_TOO_LARGE */
    LOG_OUT_OF_ORDER_SEQUENCE,  /* I3, I4: OUT_OF_ORDER_SEQUENCE_NUMBER */
    LOG_INVALID_PRODUCER_EPOCH, /* I4: INVALID_PRODUCER_EPOCH */
    LOG_OUT_OF_ORDER_OFFSET,    /* a replica's batch does not begin at or after the log's end */
    LOG_OUT_OF_RANGE,           /* offset below start or above the end: OFFSET_OUT_OF_RANGE */
    LOG_FULL,    /* no disk space above the reserve: KAFKA_STORAGE_ERROR, resumes by itself */
    LOG_OFFLINE, /* the directory failed: KAFKA_STORAGE_ERROR, until restart */
    LOG_CLOSED,  /* deleted, truncated away or stopping meanwhile */
};
const char *log_verdict_text(enum log_verdict verdict);

/* Who a log is. A topic that is deleted and made again has a new topic id. */
struct log_id {
    uint8_t topic_id[16];
    int32_t partition;
};

#define LOG_TOPIC_MAX 249U /* Kafka's limit for a topic name */

/* What an acknowledgement promises. */
enum log_durability {
    LOG_DURABLE, /* the bytes are on stable storage */
    LOG_OS,      /* they survive the end of this process, not a loss of power */
    LOG_NEVER,   /* they are in memory */
};
const char *log_durability_text(enum log_durability durability);

/* What the topic's configuration says; may change at any time (log_configure). */
struct log_config {
    enum log_durability durability;  /* millrace.durability */
    uint64_t flush_messages;         /* flush.messages: where less than all is durable */
    uint64_t flush_ms;               /* flush.ms: likewise */
    uint64_t segment_bytes;          /* segment.bytes: roll before a segment would pass it */
    uint64_t producer_expiration_ms; /* producer.id.expiration.ms */
    uint32_t producer_ids_max;       /* bound of the producer state, oldest idle evicted */
    uint32_t index_interval_bytes;   /* index.interval.bytes */
    uint32_t index_bytes;            /* segment.index.bytes */
    int64_t roll_ms;          /* segment.ms: roll when the batch is so much newer than the first */
    int64_t roll_jitter_ms;   /* segment.jitter.ms: a random part of it is taken off, per segment */
    uint64_t delete_delay_ms; /* file.delete.delay.ms: see log_start_set */
};
/* Kafka's defaults. */
extern const struct log_config log_config_default;

/* ---- a log ---- */

/* Read the fields freely on the home shard; only the log writes them (except `user`, `on_acked`,
 * `on_damaged`).
 * start_offset <= durable_offset <= acked_offset <= end_offset. */
struct log {
    struct log_id id;
    char topic[LOG_TOPIC_MAX + 1];
    struct log_shard *home;

    int64_t start_offset;   /* log start offset */
    int64_t durable_offset; /* all below is on stable storage */
    int64_t acked_offset;   /* all below is as safe as was promised: may be acknowledged and read;
                               single node: the high watermark */
    int64_t end_offset;     /* log end offset (LEO): next offset to be assigned */
    int32_t leader_epoch;   /* of the last batch, -1 for none */
    uint64_t size_bytes;    /* up to end_offset, without segments that lie below start_offset */
    int64_t
        first_unstable_offset; /* of the oldest open transaction, -1: none (none are opened yet) */

    /* Records that were acknowledged may be missing at its end: the last stop was no clean one, and
     * what was promised then was less than durable. Until log_loss_told(). */
    bool may_have_lost;

    /* The partition's: called after acked_offset moved, once per commit, after the done() calls
     * of that commit; NULL: nobody cares. May append, find and pin; may not close the log. */
    void (*on_acked)(struct log *lg);
    /* Likewise: damage was met that was not known, or a segment is closed that has some. May not
     * touch the log. */
    void (*on_damaged)(struct log *lg);
    void *user;
};

/* A log that did not exist: usable at once, empty, beginning at start_offset. Its first record in
 * the journal says that it exists, so a crash before anything was acknowledged leaves nothing. */
struct log *log_new(struct log_shard *ls, const struct log_id *id, const char *topic,
                    const struct log_config *config, int64_t start_offset);
/* What it has on disk, beside size_bytes. */
struct log_storage {
    uint32_t segments; /* without those below start_offset */
    uint32_t damaged;  /* places in them that are known to be damaged */
};
void log_storage_look(const struct log *lg, struct log_storage *storage);
/* Frees what log_new/log_adopt gave, without touching the disk. Only after log_shard_stop() or
 * log_delete() is done and every pin is back. */
void log_free(struct log *lg);
void log_configure(struct log *lg, const struct log_config *config);
/* Whoever reads it can know by now that may_have_lost was so: no later start says it again. */
void log_loss_told(struct log *lg);

/* ---- appending ---- */

#define LOG_KEEP INT64_MIN /* leave the header's max timestamp as it is */

/* One record batch (v2). The caller has checked size limits and contents (core/record/batch.h); the
 * CRC is checked here, during the copy. All fields of the first part are set before log_append().
 */
struct log_append {
    /* A batch and nothing else. Must stay until log_append() returns, or until done() if that
     * returned LOG_WAIT. */
    struct span batch;
    int32_t leader_epoch; /* stamped into the batch, not covered by the CRC (B9) */
    bool replica; /* from the leader: keeps its offsets and epoch, no sequence checks (I6) */
    int64_t append_time_ms; /* >= 0: LogAppendTime: timestamp type and max timestamp set, CRC redone
                               (B7); -1: CreateTime */
    int64_t max_timestamp;  /* corrected max timestamp (B8), CRC redone if it differs; LOG_KEEP */
    void (*done)(struct log_append *op);
    void *user;

    /* Result; complete when done() runs, offsets already when log_append() returned LOG_OK. */
    enum log_verdict verdict;
    bool duplicate;      /* answer with the original's offsets, nothing was appended (I2) */
    int64_t base_offset; /* first offset of the batch, or of the original */
    int64_t last_offset;
    int64_t timestamp; /* LogAppendTime answered: append_time_ms (the original's), else -1 */

    /* private */
    struct {
        STAILQ_ENTRY(log_append) link;
        struct log *lg;
        struct segment *segment;
        uint64_t seq;    /* journal group that makes it durable */
        uint64_t change; /* the log's number of its last journal record */
        uint32_t start;  /* the batch's range in the segment */
        uint32_t end;
        uint32_t journaled; /* copied to groups up to here */
        uint8_t kind;
        bool unwritten;          /* its direct write to the segment is under way */
        bool plain;              /* its record makes no group durable */
        bool from_memory;        /* and it was answered without one */
        struct log_append *pair; /* of what is asked and its stand-in: core/log/promise.c */
        int32_t leader_epoch;
        int64_t max_timestamp;
        int64_t now_ms;
        int64_t producer_id;
        int32_t base_sequence;
        int32_t last_sequence;
        int16_t producer_epoch;
        uint16_t attributes;
    } priv;
};

/* Returns
 *   LOG_OK    appended (or duplicate): base_offset is valid, done() follows with verdict LOG_OK
 *             when it (or the original) is durable, or as safe as the topic wants it, or
 *             LOG_OFFLINE;
 *   LOG_WAIT  no memory, or the tail must be read first, or an earlier append waits: done() follows
 *             with the final verdict, and order is kept. The caller should stop reading;
 *   else      refused: nothing happened, done() is not called.
 * done() runs on the home shard in offset order, never inside log_append(). */
enum log_verdict log_append(struct log *lg, struct log_append *op);

/* ---- finding ---- */

/* Bytes of one segment. Stays meaningful until the log is truncated or the segment deleted, by
 * retention or because a compacted one has taken its place, and file.delete.delay.ms beyond that;
 * then log_pin() says LOG_CLOSED. */
struct log_range {
    int64_t base_offset;  /* of the first batch: <= the offset asked for (F5), or the next one's
                             that there is, where compaction has left a hole */
    int64_t segment_base; /* both name the segment: another one may take its place */
    uint32_t segment_version;
    uint32_t position; /* of the first batch in it */
    uint32_t length;   /* 0: nothing there yet */
    uint32_t first;    /* of it, the length of the first batch */
};

struct log_find {
    int64_t offset;      /* start_offset <= offset <= upto_offset, else LOG_OUT_OF_RANGE */
    int64_t upto_offset; /* only batches below it (high watermark or LSO); cut to acked_offset */
    uint32_t bytes_max;
    bool one_at_least; /* the first batch whole even if larger than bytes_max (F3); after it, or
                          without it, the range may end inside a batch */
    void (*done)(struct log_find *find);
    void *user;

    enum log_verdict verdict; /* LOG_OK, LOG_OUT_OF_RANGE, LOG_CORRUPT, LOG_OFFLINE, LOG_CLOSED */
    struct log_range range;
    int64_t max_timestamp; /* of the first batch in the range */

    /* private */
    struct {
        struct io_op op;
        TAILQ_ENTRY(log_find) link;
        struct log *lg;
        struct tail_block *block; /* what was read, from buffer_position on */
        int64_t segment_base;
        uint32_t segment_version;
        uint32_t swaps; /* of the log, when the walk began */
        int64_t timestamp;
        int64_t best_timestamp;
        struct log_range best;
        uint32_t buffer_position;
        uint32_t buffer_end; /* where what was written ended when it was asked for */
        uint32_t buffer_len;
        uint32_t wanted; /* position that it was read for */
        uint32_t at;     /* position of the next batch to look at */
        /* The batch that the walk's hint has named, until it was met. */
        int64_t claim_timestamp;
        uint32_t claim_offset; /* relative */
        bool claimed;
        /* What the walk by offset knows of the batch before: core/log/find_doubt.c. */
        int64_t hint_base; /* of the batch at the hint, and its last offset; -1: it does not say */
        int64_t hint_last;
        int64_t follows;
        int64_t before_offset;
        uint32_t before_at;
        uint32_t before_size; /* 0: there is none */
        uint32_t before_crc;
        bool before_proven; /* its checksum is right */
        bool proving;       /* that is being found out, up to prove_at so far */
        uint32_t prove_at;
        uint32_t prove_crc;
        bool has_gap;
        uint32_t lost_at;
        uint32_t candidate;
        int64_t candidate_end;
        uint32_t believed;
        bool walked; /* a batch of this segment was looked at */
        uint8_t mode;
        bool from_start; /* the walk of this segment began at its first batch */
        bool no_hints;   /* a hint was wrong: begin at position 0 */
        bool async;
        bool waiting;
    } priv;
};

/* true: the answer is there (the usual case: the place is in memory); false: done() comes later. */
bool log_find(struct log *lg, struct log_find *find);

/* The first batch at or above `offset` (raised to start_offset, which may lie inside a batch) and
 * below upto_offset whose max timestamp is >= timestamp; range.length 0 when there is none. The
 * batch is whole in the range. The record inside it is the caller's to find (L2). `bytes_max` and
 * `one_at_least` are ignored. */
bool log_find_timestamp(struct log *lg, struct log_find *find, int64_t timestamp);
/* The batch with the largest max timestamp (ListOffsets -3): the first such one; `offset` is
 * ignored, too. */
bool log_find_timestamp_max(struct log *lg, struct log_find *find);

/* ---- aborted transactions (core/log/aborted.h) ---- */

struct aborted_transaction;
struct batch_header;

/* Those that a reader meets who gets this range and begins at `from`, perhaps some behind it, too:
 * the caller's to mem_free(), on any shard. NULL, and *count 0: none. */
struct aborted_transaction *log_aborted(const struct log *lg, const struct log_range *range,
                                        int64_t from, uint32_t *count);
/* Is the batch data of one? */
bool log_is_aborted(const struct log *lg, const struct batch_header *header);

/* ---- bytes for readers ---- */

#define LOG_PIN_PIECES    16U
#define LOG_PIN_BYTES_MAX (256U << 10)

/* Checks the batches of a range while it is read from a segment: one per range, zeros before the
 * first of its pins, which go from its beginning to its end. Bytes from the tail were checked when
 * they came, and are not checked again; nor is what follows them. */
struct log_check {
    struct batch_scan scan;
    bool begun;
};

/* Memory that holds a part of a range. While pinned it does not move, change or go away, even if
 * the log is truncated or deleted meanwhile. */
struct log_pin {
    void (*done)(struct log_pin *pin);
    void *user;

    struct log_check *check; /* NULL: nobody minds damage */

    /* LOG_OK, LOG_OFFLINE, LOG_CLOSED; LOG_CORRUPT: a batch that ends in it is not what was
     * written. Its place is remembered: finds that begin there say so too, others end before it. */
    enum log_verdict verdict;
    struct iovec iov[LOG_PIN_PIECES];
    uint32_t pieces;
    uint32_t length; /* > 0 with LOG_OK; less than asked when the pieces or the memory kind end */

    /* private */
    struct {
        struct io_op op;
        TAILQ_ENTRY(log_pin) link;
        struct log_shard *ls;
        struct log *lg;
        struct segment *segment; /* being read */
        struct tail_block *blocks[LOG_PIN_PIECES];
        int64_t segment_base;
        uint32_t segment_version;
        int64_t base_offset; /* of the range */
        uint32_t position;
        uint32_t skip;
        uint32_t length_max;
        bool waiting;
    } priv;
};

/* Pins up to length_max bytes (at most LOG_PIN_BYTES_MAX) of `range` from `skip` on; skip <
 * range->length. true: ready now (tail blocks, by reference); false: done() comes later (read from
 * the segment into the cold budget, which backfills share and producers do not). */
bool log_pin(struct log *lg, const struct log_range *range, uint32_t skip, uint32_t length_max,
             struct log_pin *pin);
/* On the home shard; allowed after the log was deleted. */
void log_unpin(struct log_pin *pin);

/* ---- producers ---- */

struct producer_state;

/* Who has written to it of late, as far as it remembers. */
const struct producer_state *log_producers(const struct log *lg);
/* Forgets who has not written for producer_expiration_ms, as of `now_ms`. */
void log_expire_producers(struct log *lg, int64_t now_ms);

/* ---- epochs ---- */

/* OffsetForLeaderEpoch's answer (L5): false: undefined, *epoch and *end_offset are -1. */
bool log_epoch_end(const struct log *lg, int32_t asked, int32_t *epoch, int64_t *end_offset);
/* Of the first record there is; -1: of none. */
int32_t log_oldest_epoch(const struct log *lg);

/* ---- changes other than appends: durable at done(), one at a time per log ---- */

struct log_change {
    void (*done)(struct log_change *change);
    void *user;
    enum log_verdict verdict;

    /* private */
    struct {
        struct log_append record; /* its place in the journal queue */
        struct log_find find;
        TAILQ_ENTRY(log_change) link;
        int64_t offset;
        const struct log_swap *swap;
        uint8_t kind;
        uint8_t step;
    } priv;
};

/* Drops everything at and above `offset` (a batch boundary, >= start_offset), durable before the
 * next append is accepted or anything is found; appends accepted before it finish first, later ones
 * wait. */
void log_truncate(struct log *lg, struct log_change *change, int64_t offset);
/* Moves start_offset up to `offset` (<= acked_offset; LOG_OUT_OF_RANGE when it is elsewhere), once
 * all below it is durable. Appends go on meanwhile. What lies below is not found any more; the
 * files of segments wholly below go after delete_delay_ms, so that a reader that has found its
 * bytes gets them, or at once while the disk is full. At the log's end: the active segment goes,
 * too. */
void log_start_set(struct log *lg, struct log_change *change, int64_t offset);
/* Empties the log, which then begins and ends at `offset`, anywhere: a follower's whose leader has
 * nothing any more of what would come next. Epochs and producers are forgotten, too. Durable before
 * the next append is accepted; appends accepted before it finish first, later ones wait. */
void log_reset(struct log *lg, struct log_change *change, int64_t offset);
/* Where a log begins that is rid of its oldest segments as long as at least `bytes` remain:
 * start_offset when none can go. */
int64_t log_start_by_size(const struct log *lg, uint64_t bytes);
/* Where a log begins that keeps the segment with this range (log_find_timestamp) and all after it;
 * an empty range keeps nothing. */
int64_t log_start_by_range(const struct log *lg, const struct log_range *range);
/* The log is gone for good: what waits ends with LOG_CLOSED, the directory is renamed and removed
 * in the background. done() runs when the deletion is durable; then log_free(). */
void log_delete(struct log *lg, struct log_change *change);

/* ---- a shard's part of a directory: journal, lazy writer, checkpoints ---- */

/* Counters since start, for the counters table. */
struct log_counts {
    uint64_t appends;
    uint64_t appended_bytes;
    uint64_t duplicates;
    uint64_t copied_bytes;    /* user-space copies on the way in: socket to tail, tail to group */
    uint64_t groups;          /* journal groups written = commits */
    uint64_t plain_groups;    /* of these, written without a flush */
    uint64_t journal_flushes; /* for those */
    uint64_t early_acks;      /* appends acknowledged before they were durable */
    uint64_t logs_os;         /* logs with this mode now */
    uint64_t logs_never;
    uint64_t group_bytes; /* with padding */
    uint64_t groups_in_flight_max;
    uint64_t segment_writes; /* lazy ones */
    uint64_t segment_bytes;
    uint64_t bypass_writes; /* direct ones, of appends that bypass the journal */
    uint64_t bypass_bytes;
    uint64_t checkpoints;
    uint64_t checkpoint_ns_last;
    uint64_t rolls;
    uint64_t segments_removed;
    uint64_t segments_recycled; /* of those, files that wait for their next use */
    uint64_t segments_reused;   /* segments whose file had been another one's */
    uint64_t segments_swapped;  /* compacted ones that took the place of others */
    uint64_t waits;             /* appends that waited for memory or journal space */
    uint64_t pins_tail;         /* served from the tail */
    uint64_t pins_cold;         /* read from a segment */
    uint64_t cold_bytes;
    uint64_t damaged;         /* batches that were found damaged */
    uint64_t mended;          /* of those, put back from another replica */
    uint64_t damaged_indexes; /* that did not fit their segment, and were removed */
    uint64_t unreadable;      /* times the scrub came to what the disk did not give */
    uint64_t scrubbed_bytes;  /* read by it */
    uint64_t scrub_passes;    /* over all logs */
    uint64_t journal_bytes;   /* length of the journal now */
    uint64_t journal_used_bytes;
    uint64_t tail_bytes; /* tail memory in use now */
};

/* On the shard's own thread, before it serves; home of `dir` is nobody: it does not change any more
 * after log_dir_recover(), except each shard's own part. */
struct log_shard *log_shard_start(struct log_dir *dir, struct shard *sh);
/* Everything durable goes to the segments, segments are cut to their data, indexes written, the
 * journal is marked clean; then done(argument). Appends from now on end with LOG_CLOSED. Also right
 * for an offline directory: then it only waits for what is in flight. */
void log_shard_stop(struct log_shard *ls, void (*done)(void *argument), void *argument);
/* A stop is on its way, changes of logs are still being waited for. From now on, and in the stop
 * itself, ten seconds in which nothing was written, flushed or removed are the end of patience: the
 * shard goes offline, everything ends, and the next start recovers from the journal. */
void log_shard_hurry(struct log_shard *ls);
void log_shard_free(struct log_shard *ls); /* after stop is done and its logs are freed */

/* From any thread: each is right, together they are about the same moment. */
void log_shard_counts(const struct log_shard *ls, struct log_counts *counts);
/* Of several: sums, and the larger of what is no sum. */
void log_counts_add(struct log_counts *to, const struct log_counts *from);
/* Adds how long commits took; on its own shard. */
void log_shard_commits(const struct log_shard *ls, struct durations *sum);
bool log_shard_offline(const struct log_shard *ls);
/* Free disk space is below the reserve. */
bool log_shard_full(const struct log_shard *ls);
uint32_t log_shard_log_count(const struct log_shard *ls);
/* Why it went offline: a sentence with the file's name; "" while online. */
const char *log_shard_offline_reason(const struct log_shard *ls);
/* A deliberate mistake of the simulation: this one's commits count as the other's, too. */
void log_shard_mistake(struct log_shard *ls, struct log_shard *other);
/* A pass of the scrub over all logs has come to its end. */
void log_shard_scrubbed(struct log_shard *ls);
/* Called once, on this shard, when the directory has gone offline (a failure of any shard). */
void log_shard_on_offline(struct log_shard *ls, void (*fn)(void *argument), void *argument);
