/* SPDX-License-Identifier: Apache-2.0
 *
 * Bringing the logs of a directory back (log_dir_recover, core/log/log_dir.h). See
 * core/log/recovery.c.
 */
#pragma once

#include "core/log/journal_replay.h"
#include "core/log/log_dir_private.h"
#include "core/log/log_private.h"
#include "io/fs.h"

/* Bytes of segments that a start reads at most to check them, all logs together: what lies between
 * a log's anchor and its end (core/log/checkpoint.h), as long as there is room. On a disk of 300
 * MB/s 64 MiB take 0.2 seconds of a start (256 MiB took 0.9 of the 1.0 that 1,000 partitions
 * needed); what is not checked here is checked when it is read. */
#define RECOVERY_CHECK_MAX  (64ULL << 20)
#define RECOVERY_CHECK_READ (256U << 10) /* at a time */

#define CHECKPOINT_START "checkpoint-start" /* all logs as a start has left them */

/* What is given to log_adopt(). */
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
    bool relaxed;
    struct epoch_history epochs;
    struct producer_state producers;
    struct aborted_list aborted;
};

/* A record of the journals that belongs to a log; the body points into the journal's bytes. */
struct recovery_record {
    uint64_t change;
    uint16_t kind;
    struct bytes_in body;
    const char *path; /* of its journal, for sentences */
    uint64_t position;
    bool committed;       /* a later record says so */
    struct log_place cut; /* what stands here or behind it a later truncation has dropped */
};

/* A log while it is brought back: what the newest entry says, then record by record onwards. */
struct recovery_log {
    struct log_id id;
    uint32_t incarnation;
    bool known; /* there is an entry */
    struct checkpoint_entry entry;
    struct epoch_history epochs;
    struct producer_state producers;
    struct aborted_list aborted;
    struct recovery_record *records;
    uint32_t record_count;
    uint32_t record_size;

    /* while replaying */
    uint64_t change;              /* what the entry covered */
    struct log_place covered;     /* the entry's flushed place */
    struct log_place covered_end; /* and its end */
    struct log_place later_cut;   /* the lowest place that a record truncates to */
    int64_t later_start;          /* what the log lets go of in the end: all below */
    bool files_changed;           /* how many files there are is not what the entry counted */
    struct log_anchors anchors;
    uint64_t discarded_bytes; /* of appends from an extent on that was not whole */
    char *directory;
    struct recovered_segment *segments;
    uint32_t segment_count;
};

/* Logs come back beside each other (fs_each): each worker has an error and memory of its own. */
struct recovery_worker {
    uint32_t failed_at; /* the index whose error this is */
    struct log_error error;
    uint8_t *buffer; /* RECOVERY_CHECK_READ bytes */
};

struct recovery {
    struct log_dir *dir;
    struct log_error *error;
    struct fs_list list;        /* names in the directory */
    struct recovery_log **logs; /* by name, once their names are known */
    uint32_t count;
    uint32_t size;
    uint32_t *slots; /* index + 1 */
    uint32_t slots_mask;
    struct journal_file *journals;
    uint32_t journal_count;
    uint64_t checkpoint_seqs[SHARDS_MAX]; /* batches of checkpoint-<n> that are there */
    bool has_start;                       /* CHECKPOINT_START is there */
    bool has_checkpoint[SHARDS_MAX];
    bool is_new[SHARDS_MAX]; /* journal-<n> is made by this start */
    uint64_t seed;
    struct recovery_worker workers[FS_WORKERS];
    uint64_t checked_bytes; /* of segments, against RECOVERY_CHECK_MAX; atomic */
    struct fs_tree tree;
    bool changed;         /* something below the directory is to be synced; atomic */
    const char *path_now; /* file being read */
    bool mistake_forget_producers;
};

/* One log on its way back: records first, then files. */
struct recovery_apply {
    struct recovery *rc;
    struct recovery_worker *worker;
    struct log_error *error; /* the worker's */
    struct recovery_log *log;
    struct fs *fs;
    int file; /* of segment `base` */
    int64_t base;
    bool changed; /* a file, or the names of files: since a clean stop, or it was none */
    bool ended;   /* an extent was not whole */
};

/* core/log/recovery_read.c */
void recovery_fill_slots(struct recovery *rc); /* logs have gone, or have another order */
void recovery_log_free(struct recovery_log *log);
bool recovery_lives(const struct recovery *rc, const struct log_id *id, uint32_t incarnation);
bool recovery_read_checkpoints(struct recovery *rc);
bool recovery_read_journals(struct recovery *rc);
/* CHECKPOINT_START is not there; `witness`: a path that is, and would not be without it. */
bool recovery_refuse_no_start(struct recovery *rc, const char *witness, struct log_error *error);
/* For fuzzing: one entry; false when it cannot be read. */
bool recovery_take_entry(struct recovery *rc, struct bytes_in *in);

/* core/log/recovered.c: the directory gets what came out. */
void recovery_publish(struct recovery *rc);
void recovery_forget(struct log_dir *dir); /* what nobody adopted */

/* core/log/recovery_swap.c. The directory is to be flushed afterwards. */
bool recovery_swap_finish(struct fs *fs, const char *directory, const struct swap_record *swap,
                          struct log_error *error);
/* A name that only a running broker has a use for. */
bool recovery_is_left_over(const char *name);

/* core/log/recovery_reach.c. Before any record is put in place, with the records in order and
 * later_cut and later_start known: do the files hold what no journal holds? */
bool recovery_reaches(struct fs *fs, const struct recovery_log *log, struct log_error *error);
bool recovery_refuse_missing(struct log_error *error, const char *path, uint64_t size);
bool recovery_refuse_short(struct log_error *error, const char *path, uint64_t length,
                           uint64_t size);

/* core/log/recovery_apply.c: the caller's to mem_free(). */
char *recovery_segment_path(const struct recovery_log *log, int64_t base);
/* The base that a segment file's name says, -1 for other names. */
int64_t recovery_segment_base(const char *name);
uint8_t *recovery_buffer(struct recovery_worker *worker); /* RECOVERY_CHECK_READ bytes */
/* How far a record's bytes in this segment still belong to the log. */
uint32_t recovery_record_limit(struct fs *fs, const struct recovery_log *log,
                               const struct recovery_record *record, int64_t base);
/* One log's records, physically and logically; then recovery_settle(). */
bool recovery_bring_back(struct recovery *rc, struct recovery_worker *worker,
                         struct recovery_log *log);

/* core/log/recovery_settle.c: its files are checked and cut. */
bool recovery_settle(struct recovery_apply *ap);

/* core/log/recovery_renew.c: checkpoint files and journals begin anew. */
bool recovery_renew(struct recovery *rc);

/* core/log/recovery_report.c: log lines about what was found; sums it up in the directory. */
void recovery_report(struct recovery *rc);
