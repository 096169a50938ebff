/* SPDX-License-Identifier: Apache-2.0
 *
 * A shard's logs in all of the broker's directories: one struct log_shard for each directory that
 * worked at the start. Which directory a partition's log lies in is the log's own knowledge
 * (log->home); where a new one goes is decided here.
 *
 * A directory that fails is offline for good. Its partitions answer KAFKA_STORAGE_ERROR and the
 * others go on, unless nothing is left, or what is left is of no use: the last directory, or on one
 * node the one with the metadata. Then the broker stops and says why.
 */
#pragma once

#include "core/log/log_dirs.h"

struct broker_shard;
struct log_counts;
struct partition;

struct broker_logs {
    struct log_shard *of[LOG_DIRS_MAX]; /* by the directory's index; NULL: it was offline */
    uint32_t stopping;                  /* of them, not stopped yet */
    void (*stopped)(void *user);
    void *user;
    struct task failed; /* one has gone offline in this turn */
};

/* On the shard, before it serves. */
void broker_logs_start(struct broker_shard *bs);
/* log_shard_stop(), log_shard_hurry() and log_shard_free() of all. */
void broker_logs_stop(struct broker_shard *bs, void (*stopped)(void *user), void *user);
void broker_logs_hurry(struct broker_shard *bs);
void broker_logs_free(struct broker_shard *bs);

/* Where a new log goes: not onto a full disk if another one has room, then to where this shard has
 * the fewest logs. NULL: everything is offline. */
struct log_shard *broker_logs_place(const struct broker_shard *bs);

/* May this partition's log not be used any more? */
bool broker_logs_failed(const struct partition *pt);

/* The sum over all directories; from any thread. */
void broker_logs_counts(const struct broker_shard *bs, struct log_counts *counts);
/* Likewise, of how long commits took; on that shard. */
void broker_logs_commits(const struct broker_shard *bs, struct durations *sum);
/* How many directories are offline, and of one the reason, with its path; "": none. */
uint32_t broker_logs_offline(const struct broker_shard *bs, const char **reason);
