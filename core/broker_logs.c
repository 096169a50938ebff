/* SPDX-License-Identifier: Apache-2.0 */
#include "core/broker_logs.h"

#include "core/broker.h"
#include "core/group/groups.h"
#include "core/partition/partition_offline.h"
#include "core/partition/partition_private.h"
#include "core/replica/replica_fetcher.h"
#include "io/diag.h"

/* ---- a directory fails ---- */

static void partition_failed(struct partition *pt)
{
    if (!broker_logs_failed(pt))
        return;
    if (pt->coordinates)
        groups_partition_gone(pt->bs->groups, &pt->key); /* what it remembers cannot be kept */
    replica_unfollow(pt);
    partition_appends_abandon(pt, ERR_KAFKA_STORAGE_ERROR);
    partition_wake(pt, true);
}

static bool all_failed(const struct broker_shard *bs)
{
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++) {
        if (bs->logs.of[i] != NULL && !log_shard_offline(bs->logs.of[i]))
            return false;
    }
    return true;
}

static bool metadata_failed(const struct broker_shard *bs)
{
    const struct log_dirs *dirs = bs->broker->dirs;
    const struct log_shard *first = bs->logs.of[log_dirs_first(dirs) - dirs->entries];
    return bs->broker->metadata_inside && first != NULL && log_shard_offline(first);
}

static void on_failed(struct shard *sh, struct task *task)
{
    struct broker_shard *bs = container_of(task, struct broker_shard, logs.failed);
    const char *reason;
    partitions_each(bs, partition_failed);
    partition_offline_look(bs->offline);
    if (sh->id != CONTROL_SHARD || bs->broker->stopping || !(all_failed(bs) || metadata_failed(bs)))
        return;
    (void)broker_logs_offline(bs, &reason);
    broker_fail(bs->broker, reason);
}

static void on_offline(void *argument)
{
    struct broker_shard *bs = argument;
    shard_ready(bs->sh, &bs->logs.failed);
}

/* ---- life ---- */

void broker_logs_start(struct broker_shard *bs)
{
    const struct log_dirs *dirs = bs->broker->dirs;
    bs->logs.failed = (struct task){.fn = on_failed, .name = "broker.directory_failed"};
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct log_dir *dir = dirs->entries[i].dir;
        if (dir == NULL)
            continue;
        __atomic_store_n(&bs->logs.of[i], log_shard_start(dir, bs->sh), __ATOMIC_RELEASE);
        log_shard_on_offline(bs->logs.of[i], on_offline, bs);
        if (i > 0 && bs->logs.of[i - 1] != NULL &&
            io_mutation(bs->sh->io, "log.other_directory_acknowledges"))
            log_shard_mistake(bs->logs.of[i - 1], bs->logs.of[i]);
    }
}

static void on_one_stopped(void *argument)
{
    struct broker_shard *bs = argument;
    if (--bs->logs.stopping > 0)
        return;
    task_cancel(bs->sh, &bs->logs.failed);
    bs->logs.stopped(bs->logs.user);
}

void broker_logs_stop(struct broker_shard *bs, void (*stopped)(void *user), void *user)
{
    struct broker_logs *logs = &bs->logs;
    logs->stopped = stopped;
    logs->user = user;
    logs->stopping = bs->broker->dirs->count - bs->broker->dirs->missing;
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++) {
        if (logs->of[i] != NULL)
            log_shard_stop(logs->of[i], on_one_stopped, bs);
    }
}

void broker_logs_hurry(struct broker_shard *bs)
{
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++) {
        if (bs->logs.of[i] != NULL)
            log_shard_hurry(bs->logs.of[i]);
    }
}

void broker_logs_free(struct broker_shard *bs)
{
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++) {
        if (bs->logs.of[i] != NULL)
            log_shard_free(bs->logs.of[i]);
        bs->logs.of[i] = NULL;
    }
}

/* ---- places ---- */

static bool is_better(const struct log_shard *a, const struct log_shard *b)
{
    if (log_shard_full(a) != log_shard_full(b))
        return log_shard_full(b);
    return log_shard_log_count(a) < log_shard_log_count(b);
}

/* Shards begin at different directories, so that topics of one partition spread, too. */
struct log_shard *broker_logs_place(const struct broker_shard *bs)
{
    const uint32_t count = bs->broker->dirs->count;
    struct log_shard *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct log_shard *ls = bs->logs.of[(bs->sh->id + i) % count];
        if (ls != NULL && !log_shard_offline(ls) && (best == NULL || is_better(ls, best)))
            best = ls;
    }
    return best;
}

bool broker_logs_failed(const struct partition *pt)
{
    return log_shard_offline(pt->log->home);
}

/* ---- looking ---- */

void broker_logs_counts(const struct broker_shard *bs, struct log_counts *counts)
{
    *counts = (struct log_counts){0};
    for (uint32_t i = 0; i < LOG_DIRS_MAX; i++) {
        const struct log_shard *ls = __atomic_load_n(&bs->logs.of[i], __ATOMIC_ACQUIRE);
        struct log_counts one;
        if (ls == NULL)
            continue;
        log_shard_counts(ls, &one);
        log_counts_add(counts, &one);
    }
}

void broker_logs_commits(const struct broker_shard *bs, struct durations *sum)
{
    *sum = (struct durations){0};
    for (uint32_t i = 0; i < LOG_DIRS_MAX; i++)
        if (bs->logs.of[i] != NULL)
            log_shard_commits(bs->logs.of[i], sum);
}

uint32_t broker_logs_offline(const struct broker_shard *bs, const char **reason)
{
    uint32_t count = 0;
    *reason = "";
    for (uint32_t i = 0; i < bs->broker->dirs->count; i++) {
        const struct log_shard *ls = bs->logs.of[i];
        const struct log_dirs_entry *entry = &bs->broker->dirs->entries[i];
        if (entry->dir != NULL && !log_shard_offline(ls))
            continue;
        count++;
        *reason = entry->dir == NULL ? entry->error.text : log_shard_offline_reason(ls);
    }
    return count;
}
