/* SPDX-License-Identifier: Apache-2.0
 *
 * A log directory (an entry of log.dirs): its identity, its lock, and its way back after a stop or
 * a crash. Everything here blocks and runs at start, before any shard serves.
 *
 * Layout of D:
 *   D/millrace.meta         who the directory is: UUID, cluster, node (core/log/format.h)
 *   D/directories           where there are several: which (core/log/log_dirs.h)
 *   D/lock                  flock; its text names the holder's pid
 *   D/journal-<n>           one per shard index that ever existed (core/log/journal.h)
 *   D/checkpoint-<n>        likewise (core/log/checkpoint.h, a record_file)
 *   D/<topic>-<partition>/  log.id (whose it is), <20 digits>.log, and .index
 *                           and .timeindex of segments that are closed
 *   D/<...>-delete          a deleted log on its way out
 *   D/recycled/             segment files for later (core/log/recycle.h)
 *   D/metadata/             the metadata store's
 *
 * Opening has two steps because the metadata log may live inside the directory: log_dir_open()
 * locks and identifies, log_dir_recover() brings back the logs. Recovery does not care how many
 * shards there were.
 */
#pragma once

#include "core/log/log.h"
#include "core/log/log_error.h"

struct recycle_pool;

/* How far the metadata log was followed with what lies in a directory: to which batch, and its
 * hash. Logs of topics that a later metadata knows nothing of are removed, for they were deleted; a
 * metadata that ends before the mark has only forgotten them. */
struct metadata_mark {
    uint64_t number; /* 0: it was never told */
    uint64_t hash;
};

struct log_dir_options {
    const char *path; /* made when missing, if may_format */
    struct fs *fs;
    bool may_format;         /* an empty or missing directory becomes ours; false: it is an error */
    uint8_t new_uuid[16];    /* for a fresh directory, and salt: from io_random() */
    char cluster_id[64];     /* "" : take what is there (or none yet: log_dir_set_cluster) */
    int32_t node_id;         /* -1: take what is there */
    uint32_t pid;            /* named in the lock file */
    uint16_t shards;         /* of this run */
    uint64_t tail_bytes;     /* tail memory per shard; journals take at most half of it on disk */
    uint64_t cold_bytes;     /* memory for reads of old segments, per shard */
    uint64_t reserve_bytes;  /* free disk space below which appends answer LOG_FULL */
    uint32_t open_files_max; /* segment files open at a time, per shard */
    uint64_t recycle_bytes;  /* of segment files that are kept for new ones; 0: none */
    uint64_t journal_bytes;  /* first length of a journal; 0: 1 MiB */
    uint32_t bypass_bytes;   /* appends of so much bypass the journal; 0: BYPASS_BYTES */
    /* NULL, or told now and then by log_dir_recover how far it is: of how many logs. */
    void (*on_progress)(void *user, uint32_t done, uint32_t count);
    void *user;
};

struct log_dir {
    char *path;
    struct fs *fs;
    uint8_t
        uuid[16]; /* known to the metadata log: it decides whether this is the right directory */
    char cluster_id[64];
    int32_t node_id;
    bool formatted_now; /* it was empty and is ours now */
    bool joined;        /* it is one of several (core/log/log_dirs.h) */
    struct metadata_mark mark;
    struct fs_probe probe;
    struct log_dir_options options;

    /* After log_dir_recover(). */
    struct recovered_log *recovered; /* [recovered_count], by topic name and partition */
    uint32_t recovered_count;
    bool was_clean; /* the last stop was clean: nothing had to be replayed */
    uint64_t replayed_bytes;
    uint64_t replayed_groups;
    uint64_t replayed_records;
    uint64_t discarded_bytes; /* at the ends of journals and logs: nobody was told of them, unless
                                 that was promised by less than durable */
    uint32_t may_have_lost;   /* logs of which records that were acknowledged may be gone */

    struct log_dir_private *priv;
};

/* A log that the directory holds. Give each to exactly one shard (log_adopt) or drop it. */
struct recovered_log {
    struct log_id id;
    const char *topic;
    int64_t start_offset;
    int64_t end_offset;
    uint64_t size_bytes;
    bool may_have_lost;            /* see struct log */
    struct recovered_state *state; /* moves into the log by log_adopt */
};

/* Of two logs of one partition, in two directories: does `a` end later in the leaders' history? */
bool recovered_is_newer(const struct recovered_log *a, const struct recovered_log *b);

/* NULL and `error` when refused. */
struct log_dir *log_dir_open(const struct log_dir_options *options, struct log_error *error);
/* Records the cluster id in a directory that has none yet. False and `error` when it cannot. */
bool log_dir_set_identity(struct log_dir *dir, const char *cluster_id, int32_t node_id,
                          struct log_error *error);
/* Records the mark, durably. */
bool log_dir_set_mark(struct log_dir *dir, struct metadata_mark mark, struct log_error *error);
/* Reads all checkpoints and journals, replays, makes the result durable and starts new journal
 * generations for all shards of this run. False and `error` when something is damaged. */
bool log_dir_recover(struct log_dir *dir, struct log_error *error);
/* Instead: what a directory holds after a clean stop, without a change. `recovered` says id, topic
 * and offsets, and gives nothing to adopt. False and `error` also when the stop was no clean one.
 */
bool log_dir_look(struct log_dir *dir, struct log_error *error);
/* After every shard's part was freed. */
void log_dir_close(struct log_dir *dir);

/* Its files of segments that are gone: core/log/recycle.h. */
struct recycle_pool log_dir_pool(const struct log_dir *dir);

/* On the shard that will be the log's home; any shard may take any log. `recovered` is used up. */
struct log *log_adopt(struct log_shard *ls, struct recovered_log *recovered,
                      const struct log_config *config);
