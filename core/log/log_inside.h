/* SPDX-License-Identifier: Apache-2.0
 *
 * The log from inside: the structures that its files share. Nothing outside of the log includes
 * this. Who does what:
 *
 *   log.c         append, the queue in front of the journal, commits, waiting
 *   log_change.c  birth, truncation, log start, deletion
 *   log_swap.c    compacted segments take the place of others
 *   log_clean.c   compaction of one log, in steps on the helper thread
 *   log_read.c    finding offsets and timestamps, pinning bytes
 *   tail.c        tail blocks: memory, lookup, eviction
 *   segment.c     segments, and file jobs on the helper thread
 *   segment_index.c   where in a segment offsets and times are, about
 *   segment_cut.c a segment file is cut to its data
 *   recycle.c     segment files that are used again
 *   writer.c      lazy writes from tail blocks to segments
 *   checkpoint_run.c  checkpoints: everything in the segments, noted, the journal released
 *   bypass.c      large appends: direct writes to segments, which their acknowledgements wait for
 *   log_shard.c   a shard's part of a directory: start, end of turn, failure, stop
 *
 * A log's bytes go through four ends, each at or behind the one before:
 *
 *   appended  (active segment, its size)     in the tail buffer
 *   flushed   (place, change)                durable: in the journal, fragments of batches
 * included, or (bypassed) in the segment durable   (place, log.durable_offset)    whole batches
 * that are flushed: acknowledged written   (per segment)                  in the segment file,
 * without a hole; of what is not flushed only bypassed bytes get there
 *
 * The rule that keeps acknowledged bytes safe while their last block is rewritten: the first record
 * of a log after a checkpoint began starts at the block boundary, so the journal holds the block's
 * prefix too (`prefix_number` against the shard's `checkpoint_number`).
 */
#pragma once

#include "core/log/block_pool.h"
#include "core/log/checkpoint.h"
#include "core/log/journal.h"
#include "core/log/log_dir.h"
#include "core/log/record_file.h"
#include "core/log/recycle.h"
#include "io/mem.h"

#define TAIL_WRITE_MIN      (128U << 10) /* lazy write when so much is flushed and unwritten */
#define TAIL_WRITE_MAX      (256U << 10)
#define TAIL_WRITE_PACED    (64U << 10) /* while there is time */
#define WRITE_SLOTS         16U
#define WRITE_REST          4U /* times what a write took, while there is time */
#define CHECKPOINT_AFTER_NS 5000000000ULL
#define SPACE_CHECK_NS      1000000000ULL
#define SWEEP_AGAIN_NS      1000000000ULL /* a segment below the start was in use */
#define DIRECTORY_AGAIN_NS  100000000ULL  /* a log's directory was another one's, or would not go */
#define STOP_STALL_NS       10000000000ULL
#define SEGMENT_STEP_MIN    (256U << 10)
#define SEGMENT_STEP_MAX    (64U << 20)
#define SEGMENT_INDEX_MAX   2048U
#define LOG_MARKS           4U
#define BYPASS_BYTES        (64U << 10) /* appends of so much and more bypass the journal */
#define BYPASS_PIECE        (1U << 20)
#define BYPASS_PIECES       16U
#define LOG_NO_RECORD       0U /* kind of a duplicate in the queue: it waits and writes nothing */
/* A fragment fills its group or has 64 KiB: at most 16 in each of the journal's buffers. */
#define LOG_FRAGMENTS (17U * JOURNAL_BUFFERS)

struct log_body;
struct file_job;
struct batch_header;

/* ---- tail ---- */

/* Memory over file positions [position, position + size) of a segment; bytes below `used` are
 * valid. Referenced by its log while it is in the log's list, by pins, and by cold reads. */
struct tail_block {
    TAILQ_ENTRY(tail_block) link;       /* log's blocks, by place */
    TAILQ_ENTRY(tail_block) clean_link; /* shard's clean list, oldest first */
    struct segment *segment;
    struct log_body *lg; /* NULL: in no log's list any more, or a cold read */
    uint8_t *data;
    uint32_t position;
    uint32_t size;
    uint32_t used;
    uint32_t refs;
    uint32_t first_position; /* of the first batch that begins here; UINT32_MAX: none */
    int64_t first_offset;
    uint8_t size_class;
    bool clean;  /* in the clean list */
    bool cold;   /* memory of the cold budget */
    bool loaded; /* it began as a partial block that was read back from the segment */
};

TAILQ_HEAD(tail_blocks, tail_block);

/* ---- segments ---- */

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

#define SEGMENT_DAMAGES 8U

/* Where reading has found damage: the places found last. */
struct segment_damage {
    uint32_t positions[SEGMENT_DAMAGES];
    uint32_t count;
};

/* Whole blocks of an append, on their way to its segment file or there already: core/log/bypass.c.
 */
struct bypass {
    TAILQ_ENTRY(bypass) link; /* the segment's, until `written` has passed it */
    TAILQ_ENTRY(bypass) line_link;
    struct segment *segment;
    struct log_append *op; /* waits for it; NULL: it is answered */
    uint32_t from;
    uint32_t upto;
    uint32_t next;   /* asked for up to here */
    uint32_t pieces; /* in flight */
    bool done;
};

TAILQ_HEAD(bypasses, bypass);

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
};

TAILQ_HEAD(segments, segment);

/* What log_swap() is to do. */
struct log_swap {
    struct swap_record record;
    uint32_t versions[SWAP_SEGMENTS_MAX]; /* of the segments that go */
    uint64_t sizes[SWAP_SEGMENTS_MAX];
    int64_t max_timestamp; /* both of the new one, INT64_MIN: it has no records */
    struct log_range max_range;
    bool mistake_names_first;
};

enum file_job_kind {
    JOB_OPEN,  /* directory, log.id, file, space up to `length` */
    JOB_SEAL,  /* cut to `length`, sync, write the indexes */
    JOB_INDEX, /* read the indexes */
    JOB_INDEX_WRITE,
    JOB_UNLINK, /* remove one segment's files */
    JOB_REMOVE, /* rename the log's directory away and remove it */
    JOB_CLOSE,  /* a file number */
    JOB_SPACE,  /* free space of the directory */
    JOB_SWAP,   /* names of segments that are replaced by a compacted one */
};

/* Work for the helper thread: it touches nothing but this. */
struct file_job {
    struct io_op op;
    struct log_shard *ls;
    enum file_job_kind kind;
    struct log_body *lg;                /* not touched by the helper */
    struct segment *segment;            /* not touched by the helper */
    void (*done)(struct file_job *job); /* on the shard; then the job is freed */
    void *argument;
    struct fs *fs;
    char *root;
    char *directory;
    int64_t base;
    uint64_t length;
    int file;
    struct recycle_pool pool;
    uint64_t pool_tag;          /* of files that may go to the pool; 0: none may */
    uint64_t pool_most;         /* a new file may come from the pool, and be so long */
    bool recycled;              /* one did, or went there */
    uint8_t identity[FS_BLOCK]; /* log.id as it must be */
    uint32_t replaced;          /* version of a segment that was replaced, 0: it is in place */
    const struct log_swap *swap;
    bool mistake_no_copy;
    struct index_entry *index;
    uint32_t index_count;
    struct time_entry *times;
    uint32_t times_count;
    bool index_begins_late; /* the file's entries before the first of these stay */
    bool times_unknown;     /* the file stays */
    uint64_t allocated;
    int64_t result; /* -EBUSY: the directory is another log's still */
    const char *verb;
};

/* ---- a log ---- */

enum log_state { LOG_LIVE, LOG_TRUNCATING, LOG_DELETING, LOG_DEAD };

struct log_mark {
    int64_t offset;
    struct log_place place;
};

STAILQ_HEAD(log_appends, log_append);

/* A part of a batch that is in a group: when the group is durable, so is this place. */
struct log_fragment {
    uint64_t seq;
    struct log_body *lg;
    struct segment *segment;
    uint32_t position;
    uint64_t change;
};

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
    bool cleaning;           /* its segments are being read by name */
    bool cutting;            /* one of its segments is */
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
    uint32_t sealed_count;
    uint64_t sealed_bytes;

    /* ends */
    struct segment *flushed_segment;
    uint32_t flushed_position;
    uint64_t flushed_change;
    bool ended; /* its deletion is durable, and noted for the next checkpoint */
    struct segment *durable_segment;
    uint32_t durable_position;

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
    bool moved; /* durable_offset moved in this commit */
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

enum checkpoint_step {
    CHECKPOINT_IDLE,
    CHECKPOINT_MARKED,  /* waits until the marked group is durable */
    CHECKPOINT_WRITING, /* logs write and sync */
    CHECKPOINT_NOTING,  /* entries go to the checkpoint file */
    CHECKPOINT_RELEASING,
};

struct segment_write {
    struct io_op op;
    struct log_shard *ls;
    struct log_body *lg;
    struct segment *segment;
    uint32_t upto;
    uint32_t bytes;
    uint64_t began_ns;
    uint8_t *page; /* for the partial last block */
    TAILQ_ENTRY(segment_write) link;
};

struct bypass_piece {
    struct io_op op;
    struct log_shard *ls;
    struct bypass *bypass;
    uint32_t bytes;
    uint64_t submitted_ns;
    uint64_t together_bytes; /* under way then, its own included */
    TAILQ_ENTRY(bypass_piece) link;
};

struct checkpoint_batch {
    struct record_append append;
    struct log_shard *ls;
    TAILQ_ENTRY(checkpoint_batch) link;
    uint32_t used;
    uint32_t size;
    uint8_t *bytes;
};

/* Entries "deleted" of logs that D/checkpoint-start still knows as alive. */
struct checkpoint_tombstones {
    uint8_t *bytes;
    size_t used;
    size_t size;
};

TAILQ_HEAD(checkpoint_batches, checkpoint_batch);
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
    struct log_appends ready; /* done() at the end of this turn */
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
    uint64_t dirty_since_ns;
    struct segments files;
    uint32_t file_count;
    uint32_t jobs;

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
    bool full; /* free space is below the reserve */
    bool space_asked;
    bool pressure;       /* appends wait for memory */
    uint32_t truncating; /* logs in that state */

    bool offline;
    char reason[512];
    void (*on_offline)(void *argument);
    void *on_offline_argument;

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

/* What log_dir keeps for its shards. */
struct log_offline_mail {
    struct mail mail;
    struct log_dir *dir;
    char reason[512];
};

struct log_dir_shard {
    struct log_shard *ls;
    struct journal_superblock sb; /* of the generation that recovery began */
    int journal_file;
    char *journal_path;
    struct record_file checkpoints;
    struct log_offline_mail *mails; /* [shards], to each other shard */
};

struct log_dir_private {
    int lock_file;
    struct log_dir_shard *shards; /* [options.shards] */
};

struct recovered_segment {
    int64_t base;
    uint32_t size;
    uint64_t length; /* of the file */
    bool sealed;
};

struct recovered_state {
    uint32_t incarnation;
    uint64_t change;
    struct recovered_segment *segments; /* by base; the last is the active one */
    uint32_t segment_count;
    uint32_t sealed_count;
    uint64_t sealed_bytes;
    uint32_t anchor; /* in the last segment */
    int64_t clean_upto;
    struct epoch_history epochs;
    struct producer_state producers;
};

/* tail.c */
void tail_init(struct log_shard *ls);
void tail_fini(struct log_shard *ls);
/* Blocks for [from, from + len) of the segment, which is the log's end. LOG_OK, or LOG_WAIT: no
 * memory (*memory), or the partial block is being read. */
enum log_verdict tail_reserve(struct log_body *lg, struct segment *segment, uint32_t from,
                              uint32_t len, bool *memory);
/* The log ends at `end` of the segment again: blocks beyond go away. */
void tail_rewind(struct log_body *lg, struct segment *segment, uint32_t end);
struct tail_block *tail_find(const struct log_body *lg, const struct segment *segment,
                             uint32_t position);
/* Are these bytes all in memory? */
bool tail_holds(const struct log_body *lg, const struct segment *segment, uint32_t from,
                uint32_t len);
void tail_copy_out(const struct log_body *lg, const struct segment *segment, uint32_t from,
                   void *to, uint32_t len);
uint32_t tail_crc(const struct log_body *lg, const struct segment *segment, uint32_t from,
                  uint32_t len);
/* The vectors of whole blocks [from, upto), as many as there is room for; *reached says how far. */
unsigned tail_gather(const struct log_body *lg, const struct segment *segment, uint32_t from,
                     uint32_t upto, struct iovec iov[], unsigned count_max, uint32_t *reached);
/* The block that holds the batch's start; begins at the newest. */
void tail_get(struct tail_block *block);
void tail_put(struct log_shard *ls, struct tail_block *block);
void tail_written(struct log_body *lg, struct segment *segment);
void tail_drop(struct log_shard *ls, struct tail_block *block); /* out of its log */
void tail_drop_all(struct log_body *lg);
/* A reader wants bytes that are not in the tail any more: would a larger one have them? */
void tail_missed(const struct log_body *lg, const struct segment *segment, uint32_t position,
                 uint32_t bytes);
struct tail_block *tail_cold_block(struct log_shard *ls, uint32_t bytes);

/* segment.c */
struct segment *segment_new(struct log_body *lg, int64_t base);
void segment_doom(struct segment *segment);
/* True when the file is open and has space up to `length` (0: just open); else a job was started
 * and `lg` will be queued for writing again, or its readers run. */
bool segment_ready(struct segment *segment, uint64_t length);
void segment_use(struct segment *segment);
void segment_unuse(struct segment *segment);
void segment_close_all(struct log_shard *ls); /* every open file, in the background */
/* One segment of a log at a time (lg->cutting). */
void segment_seal(struct segment *segment, void (*done)(struct file_job *job));
/* The batch at `position` is not what was written: told to the operator, and remembered. */
void segment_damaged(struct segment *segment, uint32_t position, int64_t offset);
/* The first known damage at or behind `position`, UINT32_MAX: none. */
uint32_t segment_damage_after(const struct segment *segment, uint32_t position);
struct segment *segment_by_base(const struct log_body *lg, int64_t base);
/* Likewise, but no other that took its place. */
struct segment *segment_named(const struct log_body *lg, int64_t base, uint32_t version);
/* All of a segment's bytes are in its file for good: sealed, and no record in the journal would put
 * them there again. */
bool segment_is_settled(const struct segment *segment);
struct file_job *file_job_new(struct log_shard *ls, enum file_job_kind kind, struct log_body *lg,
                              struct segment *segment, void (*done)(struct file_job *job));
void file_job_start(struct file_job *job);
char *file_job_path(const struct file_job *job, const char *suffix);
void log_directory_path(char *to, size_t size, const char *root, const char *topic,
                        int32_t partition);
#define SEGMENT_IDENTITY_MAGIC "MRLOGID1"
void log_identity_encode(uint8_t block[FS_BLOCK], const uint8_t directory[16],
                         const struct log_id *id, uint32_t incarnation);

/* Makes the directory and its log.id: 1 it was ours, 0 it is now, -EBUSY: another log's. Blocking.
 */
int64_t log_directory_claim(struct fs *fs, const char *root, const char *directory,
                            const uint8_t identity[FS_BLOCK]);
/* Whose it says it is; false: it has no readable log.id. Blocking. */
bool log_directory_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                        struct log_id *id, uint32_t *incarnation);
/* Renames a directory away and removes it; its segments may go to a pool (NULL: none do) under the
 * tags from `pool_tag` on. Blocking. */
int64_t log_directory_remove(struct fs *fs, const char *root, const char *directory, uint32_t tag,
                             const struct recycle_pool *pool, uint64_t pool_tag);
/* The pool of D. */
struct recycle_pool log_dir_pool(const struct log_dir *dir);
/* The job may put files there: nobody reads them. */
void file_job_may_recycle(struct file_job *job);

/* The directory timer comes for the log. */
void log_directory_later(struct log_body *lg);
void log_on_directory_timer(struct shard *sh, struct timer *timer);

/* segment_index.c */
/* A batch was appended or met on a walk. False: it gives the lie to what was read from a file, and
 * all that is forgotten: who relied on it begins again. */
bool segment_noted(struct segment *segment, const struct batch_header *header, uint32_t position,
                   uint32_t interval);
/* The last indexed place at or before `offset`: position 0 when there is none. */
struct index_entry segment_index_find(const struct segment *segment, int64_t offset);
/* Before which entry's batch no timestamp reaches `timestamp`: the last such one whose offset is
 * below `upto_offset`; NULL: none is known. INT64_MAX: the greatest. */
const struct time_entry *segment_time_find(const struct segment *segment, int64_t timestamp,
                                           int64_t upto_offset);
/* May this batch stand where the entry says that no batch before its own has its timestamp? *met:
 * it is the entry's own. */
bool segment_time_claim_holds(const struct segment *segment, const struct time_entry *claim,
                              const struct batch_header *header, bool *met);
/* Is every timestamp in it accounted for? */
static inline bool segment_times_known(const struct segment *segment)
{
    return segment->times.upto == segment->size && !segment->times.claimed;
}
/* The times were wrong: nothing is known of them any more. */
void segment_times_drop(struct segment *segment);
/* The segment ends there. */
void segment_index_cut(struct segment *segment, uint32_t position);
/* The entries go, what is known of the timestamps stays. */
void segment_index_forget(struct segment *segment);
/* True when its index files are being read: its readers run when they are. */
bool segment_index_load(struct segment *segment);
/* The job gets what its write needs. */
void segment_index_save(struct segment *segment, struct file_job *job);
/* When the times are known now that no file holds. */
void segment_index_rewrite(struct segment *segment);
/* On the helper thread. */
int64_t segment_index_write(struct file_job *job);
int64_t segment_index_read(struct file_job *job);
void segment_index_unlink(const struct file_job *job);

/* segment_cut.c; both block */
struct segment_cut {
    const char *directory;
    const uint8_t *identity; /* of its log.id */
    int file;
    int64_t base;
    uint32_t length;
    bool mistake_no_copy;
};
/* The file ends at its data, durably. */
int64_t segment_cut(struct fs *fs, const struct segment_cut *what);
/* At a start: the last block of a segment whose cut was cut off is there again. */
int64_t segment_cut_undo(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK]);

/* writer.c */
void writer_want(struct log_body *lg);
void writer_run(struct log_shard *ls);
void writer_on_flushed(struct log_body *lg);
bool writer_is_done(struct log_body *lg); /* all that is flushed is written; else it is asked for */
void writer_forget(struct log_body *lg);
/* How far the running checkpoint needs this segment written. */
uint32_t writer_target(const struct log_body *lg, const struct segment *segment);
/* Is neither space nor memory wanted, so that commits go first? */
bool writer_has_time(const struct log_shard *ls);

/* checkpoint_run.c */
void checkpoint_want(struct log_shard *ls);
void checkpoint_run(struct log_shard *ls);
void checkpoint_on_release(struct log_shard *ls);
/* `open` is the caller's to free. */
void checkpoint_log_entry(const struct log_body *lg, struct checkpoint_entry *entry);
bool checkpoint_busy(const struct log_shard *ls);
void checkpoint_note(struct log_body *lg);
void checkpoint_fini(struct log_shard *ls);

/* What runs in WRITING may have come to its end. */
void checkpoint_log_written(struct log_body *lg);

/* bypass.c */
/* Does this append, new at the end of its segment, bypass the journal? Then its write is on its
 * way. */
bool bypass_take(struct log_body *lg, struct log_append *op);
/* Its extent record goes to the open group; false: no group takes it now. */
bool bypass_journal(struct log_body *lg, struct log_append *op, bool prefix);
void bypass_run(struct log_shard *ls); /* at the end of a turn */
bool bypass_busy(const struct log_shard *ls);
/* Is a direct write under way whose record is in group `seq` or before it? */
bool bypass_waits(const struct log_shard *ls, uint64_t seq);
/* Where the lazy writer must stop; UINT32_MAX: nowhere. */
uint32_t bypass_wall(const struct segment *segment);
void bypass_absorb(struct segment *segment);                 /* `written` has moved */
void bypass_cut(struct segment *segment, uint32_t position); /* the segment ends there */
void bypass_fail(struct log_shard *ls);                      /* nobody waits any more */

/* log.c */
void log_journal_fill(struct log_shard *ls);
void log_on_commit(struct log_shard *ls, uint64_t seq);
/* What a record of bytes [from, to) of an append says. */
void log_append_summary(const struct log_body *lg, const struct log_append *op, uint32_t from,
                        uint32_t to, struct journal_append *append);
/* A direct write of the log is done: what stands behind it. */
void log_commit_behind(struct log_body *lg);
/* A record that is no append joins the queue; log_change_durable() when it is durable. */
void log_queue_record(struct log_body *lg, struct log_append *record, uint8_t kind);
void log_dirty(struct log_body *lg);
void log_retry_waiting(struct log_shard *ls);
void log_fail_all(struct log_shard *ls);
struct log_body *log_body_new(struct log_shard *ls, const struct log_id *id, const char *topic,
                              const struct log_config *config);

/* log_change.c */
enum change_step {
    CHANGE_ASKED,
    CHANGE_FINDING,
    CHANGE_FOUND,
    CHANGE_QUEUED,
    CHANGE_DURABLE,
    CHANGE_UNLINKING,
};
void log_remove_directory(struct log_body *lg);
void log_change_durable(struct log_body *lg, struct log_append *record);
void log_change_run(struct log_body *lg);
void log_sweep_run(struct log_shard *ls);
void log_on_sweep_timer(struct shard *sh, struct timer *timer);
/* No segment of it is swept any more. */
void log_sweep_forget(struct log_body *lg);
/* Something that used the log has ended (lg->users). */
void log_unuse(struct log_body *lg);

/* Takes one whole away, with its files. */
void log_remove_segment(struct log_body *lg, struct segment *segment);
/* It is no part of the log any more. */
void log_discount_segment(struct log_body *lg, struct segment *segment);
/* Its files go when their time has come. */
void log_sweep_later(struct log_body *lg, struct segment *segment);
void log_change_finish(struct log_body *lg, struct log_change *change, enum log_verdict verdict);

/* log_swap.c */
/* LOG_OK: it is done, for good; LOG_CLOSED: not any more, the segments are others than they were.
 * `swap` stays until then. */
void log_swap(struct log *lg, struct log_change *change, const struct log_swap *swap);
/* The file of a compacted segment that is not in place, and of its index. */
#define SWAP_NAME       "%020lld.%08x.cleaned"
#define SWAP_INDEX_NAME "%020lld.%08x.cleaned-index"
/* That of a segment whose place was taken: base and version. */
#define REPLACED_NAME "%020lld.%u.deleted"
void swap_run(struct log_body *lg, struct log_change *change);
void swap_durable(struct log_body *lg, struct log_change *change);
int64_t swap_files(struct file_job *job); /* blocking */

/* log_read.c */
void log_read_run(struct log_shard *ls); /* finds and pins that wait try again */
void log_marks_clear(struct log_body *lg);
/* Also while the log is being truncated. */
bool log_find_inside(struct log_body *lg, struct log_find *find);

/* log_shard.c */
void log_shard_fail(struct log_shard *ls, const char *verb, const char *path, int64_t result);
void log_shard_kick(struct log_shard *ls);     /* something for the end of the turn */
void log_shard_progress(struct log_shard *ls); /* towards a stop */
