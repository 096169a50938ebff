/* SPDX-License-Identifier: Apache-2.0
 *
 * The log from inside: the structures that its files share, and the structures of its parts with
 * them. Nothing above the log includes this.
 *
 * A log's bytes go through these ends, each at or behind the one before:
 *
 *   appended  (active segment, its size)     in the tail buffer
 *   flushed   (place, change)                durable: in the journal, fragments of batches
 *                                            included, or (bypassed) in the segment
 *   durable   (place, log.durable_offset)    whole batches that are flushed
 *   written   (per segment)                  in the segment file, without a hole; of what is not
 *                                            flushed only bypassed bytes get there
 *
 * Acknowledged (place, log.acked_offset) is what is durable, or (core/log/promise.c) more of what
 * was appended. Nothing but readers and answers looks at it.
 *
 * The rule that keeps acknowledged bytes safe while their last block is rewritten: the first record
 * of a log after a checkpoint began starts at the block boundary, so the journal holds the block's
 * prefix too (`prefix_number` against the shard's `checkpoint_number`).
 */
#pragma once

#include "core/log/aborted.h"
#include "core/log/block_pool.h"
#include "core/log/checkpoint_run.h"
#include "core/log/epoch.h"
#include "core/log/journal.h"
#include "core/log/log_commit.h"
#include "core/log/log_dir.h"
#include "core/log/producer_state.h"
#include "core/log/read_ahead.h"
#include "core/log/tail.h"
#include "core/log/writer.h"
#include "io/mem.h"

#define LOG_MARKS 4U

/* ---- a log ---- */

enum log_state { LOG_LIVE, LOG_TRUNCATING, LOG_DELETING, LOG_DEAD };

struct log_mark {
    int64_t offset;
    struct log_place place;
};

STAILQ_HEAD(log_appends, log_append);

struct log_body {
    struct log log;
    struct log_shard *ls;
    struct log_config config;
    enum log_state state;
    uint32_t incarnation;

    /* hot: append */
    struct segment *active;
    struct tail_block *tail; /* the last block, where the next byte goes; NULL: not in memory */
    uint64_t change;         /* given to the last record */
    uint64_t prefix_number;  /* the checkpoint since whose beginning the prefix is in the journal */
    uint32_t waiting;        /* appends in the shard's waiting list */
    uint32_t pending;        /* in the shard's queue: not durable yet */
    uint8_t size_class;      /* of the next block */
    bool loading;            /* the tail's partial block is being read */
    bool large;              /* appends have bypassed the journal since it is here */
    bool cutting;            /* one of its segments is */
    uint32_t read_by_name;   /* who reads its segments so: compaction, the scrub */
    bool directory_waits;    /* to be made or removed when the directory timer comes */
    bool held;               /* scratch of the waiting list */
    uint64_t block_since_ns;

    struct segments segments;
    uint32_t versions;        /* given to the last one */
    struct segments replaced; /* by compacted ones; readers may still have places in them */
    uint32_t swaps;           /* how often that was */
    struct swap_record swap;  /* durable in the journal, and not yet in the names of files */
    int64_t clean_upto;       /* compaction has looked at all that lies below */
    struct tail_blocks blocks;
    struct epoch_history epochs;
    struct producer_state producers;
    /* As of the durable end, which may be many batches behind; NULL: not relaxed, and `producers`
     * remembers enough. */
    struct producer_state *durable_producers;
    struct aborted_list aborted; /* never changes */
    uint32_t sealed_count;
    uint64_t sealed_bytes;

    /* ends */
    struct segment *flushed_segment;
    uint32_t flushed_position;
    uint64_t flushed_change;
    bool ended; /* its deletion is durable, and noted for the next checkpoint */
    struct segment *durable_segment;
    uint32_t durable_position;
    struct segment *acked_segment;
    uint32_t acked_position;

    /* promise */
    bool relaxed;     /* its record is durable: less than durable may be promised */
    bool mode_queued; /* a record that changes this is on its way */
    uint32_t strict;  /* appends on their way that are answered when they are durable */
    uint32_t early;   /* others that are not answered yet */
    enum log_durability counted_as;
    struct log_append mode_record;
    struct log_appends asked_behind; /* written, and behind a direct write that is not done */

    /* journal */
    struct log_appends unjournaled; /* its line */
    TAILQ_ENTRY(log_body) journal_link;
    /* Durable in the journal, but not committed: the first one's direct write is under way. And the
     * last fragment that is behind such a one, change 0: none. */
    struct log_appends behind;
    struct log_fragment fragment_behind;

    /* writer */
    TAILQ_ENTRY(log_body) write_link;
    TAILQ_ENTRY(log_body) dirty_link;
    TAILQ_ENTRY(log_body) moved_link;
    bool write_queued;
    bool writing;
    bool dirty; /* changed since its last checkpoint entry */
    bool moved; /* acked_offset moved in this commit */
    bool in_checkpoint;
    bool reached;            /* the target is written */
    bool listed;             /* in the checkpoint's lists: dirty_link is taken */
    bool dirty_again;        /* changed meanwhile: back to the dirty list afterwards */
    struct log_place target; /* of the running checkpoint */
    struct io_op sync_op;
    struct segment *syncing;
    int64_t synced_base; /* of the last segment this checkpoint has flushed, -1: none */
    bool adopted;        /* D/checkpoint-start knows it */
    uint64_t step;       /* next space to take */

    struct log_mark marks[LOG_MARKS];
    uint32_t next_mark;
    uint32_t unlinks; /* segments whose files are being removed */
    bool sweeping;    /* in the shard's list of logs with segments below their start, or replaced */
    TAILQ_ENTRY(log_body) sweep_link;
    uint32_t users;          /* finds, pins in progress, jobs: no log_free before they end */
    struct log_append birth; /* the record that says the log exists */
    TAILQ_HEAD(, log_change) changes;
    TAILQ_ENTRY(log_body) change_link;
    bool change_listed; /* in the shard's list of logs whose changes begin this turn */
    struct tail_block *load_block;
    struct io_op load_op;
    TAILQ_ENTRY(log_body) all_link;
};

TAILQ_HEAD(log_bodies, log_body);

static inline struct log_body *log_body_of(struct log *lg)
{
    return container_of(lg, struct log_body, log);
}

static inline const struct log_body *log_body_of_const(const struct log *lg)
{
    return (const struct log_body *)(const void *)lg;
}

/* ---- a shard's part ---- */

TAILQ_HEAD(log_pins, log_pin);
TAILQ_HEAD(log_finds, log_find);

struct log_shard {
    struct log_dir *dir;
    struct shard *sh;
    struct io *io;
    struct fs *fs;
    struct journal journal;
    struct record_file checkpoints;
    struct log_counts counts;
    struct log_bodies logs;
    uint32_t log_count;

    /* From append to ack: in the log's own line until its record is whole in a group, then in the
     * queue of all, by group. Lines are served in turn, so that a small append does not wait for
     * megabytes of its neighbour's. */
    struct log_bodies journaling; /* logs with a line, the next one first */
    struct log_appends queue;
    uint64_t last_seq;                            /* group of the record written last */
    struct log_fragment fragments[LOG_FRAGMENTS]; /* journaled parts of a large batch, by seq */
    uint32_t fragment_count;
    struct log_appends ready;     /* done() at the end of this turn */
    struct log_appends promised;  /* likewise, from memory alone */
    struct log_appends asked;     /* to be answered when their group is written, by group */
    struct log_appends stand_ins; /* free ones */
    uint64_t memory_bytes;        /* answered from memory, and not durable */
    struct timer flush_timer;
    struct log_appends waiting;
    uint32_t waiting_memory;
    struct log_bodies moved;
    struct log_bodies changing;
    struct log_bodies sweeping;
    struct timer sweep_timer;

    /* memory */
    struct block_pool pool;
    struct block_pool cold_pool;
    uint64_t tail_target; /* below it the tail takes new memory, above it clean blocks first */
    struct tail_blocks clean;
    struct tail_blocks spare; /* descriptors */
    struct tail_block **slabs;
    uint32_t slab_count;
    struct log_pins pins_waiting; /* for cold memory or a file */
    struct log_finds finds_waiting;
    struct read_chunks read_chunks; /* least recently used first */
    bool reads_again; /* a file was opened, cold memory came back, or a walk goes on */

    /* writer */
    struct segment_write writes[WRITE_SLOTS];
    TAILQ_HEAD(, segment_write) writes_free;
    uint32_t writes_busy;
    uint64_t writes_bytes;        /* in flight */
    bool has_time;                /* the last checkpoint began because of time, not of space */
    uint64_t write_not_before_ns; /* the next one, while there is time */
    struct log_bodies write_queue;
    struct log_bodies dirty;
    struct segments files;
    uint32_t file_count;
    uint32_t jobs;
    TAILQ_HEAD(, file_job) opens; /* to be started when those under way have ended */
    bool opening;

    /* bypass */
    struct bypass_piece pieces[BYPASS_PIECES];
    TAILQ_HEAD(, bypass_piece) pieces_free;
    uint64_t pieces_per_ms;         /* bytes that the disk took lately */
    uint64_t small_append_ns;       /* when one came that does not bypass */
    uint64_t pieces_bytes;          /* in flight */
    struct bypasses bypass_line;    /* with bytes to be asked for, by line_link */
    struct bypasses bypass_flights; /* with all of them in flight, by line_link */

    /* checkpoint */
    enum checkpoint_step step;
    uint64_t checkpoint_number;
    uint64_t released_number; /* of the last one that has released the journal */
    uint64_t checkpoint_began_ns;
    uint32_t checkpoint_logs; /* that it found, or the last one did */
    uint64_t mark_seq;
    struct log_bodies checkpointing; /* still to write (by dirty_link) */
    struct log_bodies to_sync;       /* written, not synced */
    uint32_t syncs;
    struct checkpoint_batches batches;
    uint32_t batches_pending;
    bool checkpoint_again;
    struct record_rewrite rewrite;
    struct record_payload *rewrite_payloads;
    uint8_t **rewrite_buffers;
    bool rewriting;
    uint64_t live_bytes; /* of the checkpoint file when it was rewritten last */
    struct checkpoint_tombstones tombstones;

    struct task end_task;
    struct timer checkpoint_timer;
    struct timer write_timer;
    struct timer space_timer;
    struct timer directory_timer;
    bool full;           /* free space is below the reserve */
    uint64_t room;       /* bytes that may be accepted (core/log/disk_room.h) */
    uint64_t room_given; /* by the disk's last answer */
    bool space_asked;
    bool pressure;       /* appends wait for memory */
    uint32_t truncating; /* logs in that state */

    bool offline;
    char reason[512];
    void (*on_offline)(void *argument);
    void *on_offline_argument;

    struct log_shard *mistaken; /* NULL: log_shard_mistake() */

    bool stopping;
    bool stopped;
    uint64_t moves; /* what was written, flushed, removed ...: a stop goes on while this grows */
    uint64_t moves_seen;
    struct timer stall_timer;
    bool cutting; /* the last checkpoint is done, files are being cut */
    void (*stop_done)(void *argument);
    void *stop_argument;
};

/* On the home shard's turn, or before its first and after its last one. */
static inline bool log_at_home(const struct log_shard *ls)
{
    return shard_here() == ls->sh || shard_here() == NULL;
}

/* log.c */
void log_retry_waiting(struct log_shard *ls);
struct log_body *log_body_new(struct log_shard *ls, const struct log_id *id, const char *topic,
                              const struct log_config *config);

/* log_shard.c */
void log_shard_fail(struct log_shard *ls, const char *verb, const char *path, int64_t result);
void log_shard_kick(struct log_shard *ls);     /* something for the end of the turn */
void log_shard_progress(struct log_shard *ls); /* towards a stop */
