/* SPDX-License-Identifier: Apache-2.0
 *
 * The last two steps of a recovery (core/log/recovery.c): checkpoint files and journals begin anew.
 * Until its journal does, a crash leaves all that a start needs.
 */
#include "core/log/recovery.h"

#include <stdio.h>

/* ---- 5: checkpoint files ---- */

static bool recovery_write_start(struct recovery *rc)
{
    struct checkpoint_payloads batches = {0};
    for (uint32_t i = 0; i < rc->count; i++) {
        struct recovery_log *log = rc->logs[i];
        log->entry.epochs = &log->epochs;
        log->entry.producers = &log->producers;
        checkpoint_payloads_add(&batches, &log->entry);
    }
    struct record_file rf;
    char *path = log_dir_path(rc->dir, CHECKPOINT_START);
    bool good = record_file_create(&rf, rc->dir->fs, path, CHECKPOINT_MAGIC, rc->dir->uuid,
                                   rc->seed, batches.payloads, batches.count, rc->error);
    if (good)
        record_file_close(&rf);
    checkpoint_payloads_fini(&batches);
    mem_free(path);
    return good;
}

/* All begin empty before any journal begins anew: an old one may say that a log lives of whose end
 * only the journal tells, and D/checkpoint-start has no word of the dead. Those of shards that this
 * run does not have go later (recovery_start_journals). */
static bool recovery_start_checkpoints(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    for (uint16_t i = 0; i < SHARDS_MAX; i++) {
        const bool ours = i < dir->options.shards;
        if (!ours && rc->journals[i].path == NULL)
            continue;
        struct record_file left;
        struct record_file *rf = ours ? &dir->priv->shards[i].checkpoints : &left;
        char name[32];
        (void)snprintf(name, sizeof(name), "checkpoint-%u", i);
        char *path = log_dir_path(dir, name);
        bool good = record_file_restart(rf, dir->fs, path, CHECKPOINT_MAGIC, dir->uuid,
                                        rc->seed + i + 1, rc->checkpoint_seqs[i] + 1, rc->error);
        mem_free(path);
        if (!good)
            return false;
        if (!ours)
            record_file_close(rf);
    }
    return true;
}

/* ---- 6: journals ---- */

static uint64_t recovery_nonce(const struct recovery *rc, uint16_t shard)
{
    return rc->seed ^ (0x9e3779b97f4a7c15ULL * (shard + 1U));
}

static bool recovery_sync_names(struct recovery *rc)
{
    int result = fs_sync_dir(rc->dir->fs, rc->dir->path);
    return result >= 0 || log_refuse_io(rc->error, "sync the directory", rc->dir->path, result);
}

/* Those that are not there yet, before their checkpoint files (recovery_has_journals). */
static bool recovery_create_journals(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    bool created = false;
    for (uint16_t i = 0; i < dir->options.shards; i++) {
        if (rc->journals[i].file >= 0)
            continue;
        char name[32];
        (void)snprintf(name, sizeof(name), "journal-%u", i);
        char *path = log_dir_path(dir, name);
        created = journal_create(&rc->journals[i], dir->fs, path, dir->uuid,
                                 dir->options.journal_bytes, recovery_nonce(rc, i), rc->error);
        mem_free(path);
        if (!created)
            return false;
        rc->is_new[i] = true;
    }
    return !created || recovery_sync_names(rc);
}

static bool recovery_start_journal(struct recovery *rc, uint16_t shard)
{
    struct log_dir_shard *part = &rc->dir->priv->shards[shard];
    struct journal_file *jf = &rc->journals[shard];
    if (!rc->is_new[shard] && !journal_renew(jf, rc->dir->uuid, recovery_nonce(rc, shard),
                                             rc->checkpoint_seqs[shard], rc->error))
        return false;
    part->sb = jf->sb;
    part->journal_file = jf->file;
    part->journal_path = jf->path;
    jf->file = -1;
    jf->path = NULL;
    return true;
}

/* A journal of a shard that this run does not have: all it held is in the segments. */
static void recovery_retire(struct recovery *rc, const char *prefix, uint16_t number)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%s%u", prefix, number);
    char *path = log_dir_path(rc->dir, name);
    (void)!fs_unlink(rc->dir->fs, path);
    mem_free(path);
}

static bool recovery_start_journals(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    for (uint16_t i = 0; i < SHARDS_MAX; i++) {
        if (i < dir->options.shards) {
            if (!recovery_start_journal(rc, i))
                return false;
            continue;
        }
        /* It is emptied before it goes, and goes last. */
        if (rc->journals[i].path == NULL)
            continue;
        if (!journal_renew(&rc->journals[i], dir->uuid, rc->seed - i, 0, rc->error))
            return false;
        recovery_retire(rc, "checkpoint-", i);
    }
    if (!recovery_sync_names(rc))
        return false;
    for (uint32_t i = dir->options.shards; i < SHARDS_MAX; i++)
        if (rc->journals[i].path != NULL)
            recovery_retire(rc, "journal-", (uint16_t)i);
    return true;
}

bool recovery_renew(struct recovery *rc)
{
    return recovery_write_start(rc) && recovery_create_journals(rc) &&
           recovery_start_checkpoints(rc) && recovery_start_journals(rc);
}
