/* SPDX-License-Identifier: Apache-2.0
 *
 * Recovery, whatever the number of shards was:
 *
 *   1. all checkpoint files are read; of each log the entry with the largest change counts
 *   2. all journals are walked; each record joins its log
 *   3. per log, records are applied in the order of their change numbers: physically to the segment
 *      files, logically to offsets, epochs and producers (core/log/recovery_apply.c)
 *   4. files are checked against the lengths that came out (recovery_settle.c); 3 and 4 run for
 *      many logs beside each other, because a log costs a few waits for the disk; then all that
 *      they have changed is synced at once
 *   5. D/checkpoint-start gets all logs as they are now (written aside, renamed); the shards'
 *      checkpoint files begin empty
 *   6. every journal begins a new generation (recovery_renew.c)
 *
 * A crash anywhere in here is harmless: until 6 the journals still hold everything, replaying is
 * idempotent, and entries of step 5 cover the records they were made from.
 *
 * Why checkpoint-start: a shard's own file may be rewritten with the logs of that shard only, so
 * the logs of all must stand in a file that nobody rewrites while shards run.
 */
#include "core/log/recovery.h"

#include "core/log/log_directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- many at a time ---- */

typedef bool recovery_job(struct recovery *rc, struct recovery_worker *worker, uint32_t index);

struct recovery_each {
    struct recovery *rc;
    recovery_job *job;
};

static bool recovery_on_each(void *argument, uint32_t number, uint32_t index)
{
    const struct recovery_each *each = argument;
    struct recovery_worker *worker = &each->rc->workers[number];
    if (each->job(each->rc, worker, index))
        return true;
    worker->failed_at = index; /* the job has said why; a later failure is of a lower one */
    return false;
}

/* The error is that of the lowest index, whoever was first. */
static bool recovery_each(struct recovery *rc, uint32_t count, recovery_job *job)
{
    struct recovery_each each = {.rc = rc, .job = job};
    uint32_t failed = fs_each(rc->dir->fs, count, recovery_on_each, &each);
    for (uint32_t i = 0; failed < count && i < FS_WORKERS; i++) {
        const struct recovery_worker *worker = &rc->workers[i];
        if (worker->failed_at == failed && worker->error.kind != LOG_ERROR_NONE)
            *rc->error = worker->error;
    }
    return failed == count;
}

/* ---- 3 and 4: the logs ---- */

static bool recovery_has_record(const struct recovery_log *log, uint16_t kind)
{
    for (uint32_t i = 0; i < log->record_count; i++) {
        if (log->records[i].kind == kind)
            return true;
    }
    return false;
}

static bool recovery_is_deleted(const struct recovery_log *log)
{
    return (log->known && log->entry.deleted) || recovery_has_record(log, JOURNAL_DELETE);
}

static void recovery_drop_dead(struct recovery *rc)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rc->count; i++) {
        if (recovery_is_deleted(rc->logs[i]))
            recovery_log_free(rc->logs[i]);
        else
            rc->logs[kept++] = rc->logs[i];
    }
    rc->count = kept;
    recovery_fill_slots(rc);
}

/* A birth that only the journal knows: its entry begins the log. */
static bool recovery_take_births(struct recovery *rc)
{
    for (uint32_t i = 0; i < rc->count; i++) {
        const struct recovery_log *log = rc->logs[i];
        for (uint32_t n = 0; !log->known && n < log->record_count; n++) {
            struct bytes_in body = log->records[n].body;
            if (log->records[n].kind == JOURNAL_CHECKPOINT && !recovery_take_entry(rc, &body))
                break;
        }
        /* The deleted ones are gone already: this birth would be a dead log's. */
        if (!log->known || log->entry.deleted)
            return log_refuse(rc->error, LOG_ERROR_DAMAGED,
                              "%s holds records of a log (offset %llu) that no checkpoint knows; "
                              "restore the directory from a copy",
                              log->records[0].path, (unsigned long long)log->records[0].position);
    }
    return true;
}

static int recovery_name_order(const struct recovery_log *x, const struct recovery_log *y)
{
    int order = strcmp(x->entry.topic, y->entry.topic);
    if (order == 0 && x->id.partition != y->id.partition)
        order = x->id.partition < y->id.partition ? -1 : 1;
    return order;
}

/* By name. Two of one name, where both are said to live, stand beside each other. */
static int recovery_order(const void *a, const void *b)
{
    const struct recovery_log *x = *(struct recovery_log *const *)a;
    const struct recovery_log *y = *(struct recovery_log *const *)b;
    int order = recovery_name_order(x, y);
    if (order == 0)
        order = memcmp(&x->id, &y->id, sizeof(x->id));
    if (order == 0)
        order = x->incarnation < y->incarnation ? -1 : 1;
    return order;
}

static void recovery_sort(struct recovery *rc)
{
    if (rc->count > 1)
        qsort(rc->logs, rc->count, sizeof(struct recovery_log *), recovery_order);
    recovery_fill_slots(rc);
}

/* Is this the name of the directory of a log that lives? They are sorted by name. */
static bool recovery_is_living_name(const struct recovery *rc, const char *name)
{
    const char *dash = strrchr(name, '-');
    if (dash == NULL || dash == name || strlen(name) >= sizeof(rc->logs[0]->entry.topic) + 12)
        return false;
    struct recovery_log sought = {.id.partition = (int32_t)strtol(dash + 1, NULL, 10)};
    size_t length = min_u64((uint64_t)(dash - name), sizeof(sought.entry.topic) - 1);
    memcpy(sought.entry.topic, name, length);
    uint32_t low = 0;
    for (uint32_t high = rc->count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (recovery_name_order(rc->logs[middle], &sought) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rc->count && recovery_name_order(rc->logs[low], &sought) == 0;
}

/* Directories of deleted logs, and of logs that were never born durably: their paths may be wanted
 * by logs that live. A clean stop has waited for such to be put aside. */
static bool recovery_clear_directory(struct recovery *rc, struct recovery_worker *worker,
                                     uint32_t index)
{
    struct log_dir *dir = rc->dir;
    char *path = log_dir_path(dir, rc->list.names[index]);
    size_t length = strlen(path);
    struct log_id id;
    uint32_t incarnation;
    bool dead = length > 7 && strcmp(path + length - 7, "-delete") == 0;
    bool sure = dir->was_clean && recovery_is_living_name(rc, rc->list.names[index]);
    bool good = true;
    if (!dead && !sure && log_directory_read(dir->fs, path, dir->uuid, &id, &incarnation)) {
        dead = !recovery_lives(rc, &id, incarnation);
        good = rc->has_start || recovery_refuse_no_start(rc, path, &worker->error);
    }
    if (good && dead)
        (void)log_directory_remove(dir->fs, dir->path, path, (uint32_t)rc->seed, NULL, 0);
    mem_free(path);
    return good;
}

static bool recovery_same_name(const struct recovery *rc, uint32_t a, uint32_t b)
{
    return recovery_name_order(rc->logs[a], rc->logs[b]) == 0;
}

/* Logs of one name have one directory, and come one after another. */
static bool recovery_bring_back_name(struct recovery *rc, struct recovery_worker *worker,
                                     uint32_t index)
{
    const struct log_dir_options *options = &rc->dir->options;
    if (worker == &rc->workers[0] && options->on_progress != NULL)
        options->on_progress(options->user, index, rc->count);
    if (index > 0 && recovery_same_name(rc, index - 1, index))
        return true;
    for (uint32_t i = index; i < rc->count && recovery_same_name(rc, index, i); i++) {
        if (!recovery_bring_back(rc, worker, rc->logs[i]))
            return false;
    }
    return true;
}

static bool recovery_bring_all_back(struct recovery *rc)
{
    if (!recovery_each(rc, rc->count, recovery_bring_back_name))
        return false;
    int result = rc->changed ? fs_tree_sync(rc->dir->fs, &rc->tree) : 0;
    return result >= 0 || log_refuse_io(rc->error, "sync the directory", rc->dir->path, result);
}

static void recovery_fini(struct recovery *rc)
{
    for (uint32_t i = 0; i < rc->count; i++)
        recovery_log_free(rc->logs[i]);
    for (uint32_t i = 0; i < rc->journal_count; i++) {
        if (rc->journals[i].path != NULL)
            journal_file_close(&rc->journals[i]);
        else
            journal_forget(&rc->journals[i]);
    }
    for (uint32_t i = 0; i < FS_WORKERS; i++)
        mem_pages_free(rc->workers[i].buffer, RECOVERY_CHECK_READ);
    fs_list_free(&rc->list);
    mem_free(rc->journals);
    mem_free(rc->logs);
    mem_free(rc->slots);
}

/* Before anything needs space. */
static bool recovery_start_pool(struct recovery *rc)
{
    const struct recycle_pool pool = log_dir_pool(rc->dir);
    uint64_t free_bytes;
    int64_t result = recycle_start(&pool);
    if (result >= 0)
        result = recycle_space(&pool, rc->dir->options.reserve_bytes, &free_bytes);
    return result >= 0 ||
           log_refuse_io(rc->error, "look at recycled files of", rc->dir->path, result);
}

bool log_dir_recover(struct log_dir *dir, struct log_error *error)
{
    struct recovery rc = {.dir = dir, .error = error};
    *error = (struct log_error){0};
    memcpy(&rc.seed, dir->options.new_uuid, sizeof(rc.seed));
    rc.mistake_forget_producers = fs_mutation(dir->fs, "recovery.forget_producers");
    dir->was_clean = true;
    int result = fs_tree_open(dir->fs, dir->path, &rc.tree);
    if (result >= 0)
        result = fs_list(dir->fs, dir->path, &rc.list);
    bool good = result >= 0 || log_refuse_io(error, "read the directory", dir->path, result);
    good = good && recovery_start_pool(&rc) && recovery_read_checkpoints(&rc) &&
           recovery_read_journals(&rc);
    if (good)
        recovery_drop_dead(&rc);
    good = good && recovery_take_births(&rc);
    if (good)
        recovery_sort(&rc);
    good = good && recovery_each(&rc, rc.list.count, recovery_clear_directory) &&
           recovery_bring_all_back(&rc);
    if (good)
        recovery_report(&rc);
    good = good && recovery_renew(&rc);
    if (good)
        recovery_publish(&rc);
    fs_tree_close(dir->fs, &rc.tree);
    recovery_fini(&rc);
    return good;
}

bool log_dir_look(struct log_dir *dir, struct log_error *error)
{
    struct recovery rc = {.dir = dir, .error = error};
    *error = (struct log_error){0};
    dir->was_clean = true;
    int result = fs_list(dir->fs, dir->path, &rc.list);
    bool good = result >= 0 || log_refuse_io(error, "read the directory", dir->path, result);
    good = good && recovery_read_checkpoints(&rc) && recovery_read_journals(&rc);
    if (good && (!dir->was_clean || dir->replayed_records > 0))
        good =
            log_refuse(error, LOG_ERROR_DAMAGED,
                       "%s was not stopped cleanly, and the ends of its logs are in its journals "
                       "only; start the broker and stop it with SIGTERM",
                       dir->path);
    if (good) {
        recovery_drop_dead(&rc);
        recovery_sort(&rc);
        recovery_publish(&rc);
    }
    recovery_fini(&rc);
    return good;
}
