/* SPDX-License-Identifier: Apache-2.0
 *
 * Recovery, whatever the number of shards was:
 *
 *   1. all checkpoint files are read; of each log the entry with the largest change counts
 *   2. all journals are walked; each record joins its log
 *   3. per log, records are applied in the order of their change numbers: physically to the segment
 *      files, logically to offsets, epochs and producers (core/log/recovery_apply.c)
 *   4. files are checked against the lengths that came out, and synced (recovery_settle.c); 3 and 4
 *      run for many logs beside each other, because a log costs a few waits for the disk
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

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the table of logs ---- */

static uint32_t recovery_hash(const struct log_id *id, uint32_t incarnation)
{
    uint8_t key[24];
    struct bytes_out out = bytes_out_of(key, sizeof(key));
    put_bytes(&out, id->topic_id, 16);
    put_i32(&out, id->partition);
    put_u32(&out, incarnation);
    return crc32c(0, key, sizeof(key));
}

static void recovery_slot(struct recovery *rc, uint32_t index)
{
    const struct recovery_log *log = rc->logs[index];
    uint32_t slot = recovery_hash(&log->id, log->incarnation) & rc->slots_mask;
    while (rc->slots[slot] != 0)
        slot = (slot + 1) & rc->slots_mask;
    rc->slots[slot] = index + 1;
}

static void recovery_fill_slots(struct recovery *rc)
{
    for (uint32_t i = 0; rc->size > 0 && i <= rc->slots_mask; i++)
        rc->slots[i] = 0;
    for (uint32_t i = 0; i < rc->count; i++)
        recovery_slot(rc, i);
}

static struct recovery_log *recovery_log_of(struct recovery *rc, const struct log_id *id,
                                            uint32_t incarnation)
{
    if (rc->size > 0) {
        uint32_t slot = recovery_hash(id, incarnation) & rc->slots_mask;
        for (; rc->slots[slot] != 0; slot = (slot + 1) & rc->slots_mask) {
            struct recovery_log *log = rc->logs[rc->slots[slot] - 1];
            if (log->incarnation == incarnation && memcmp(&log->id, id, sizeof(*id)) == 0)
                return log;
        }
    }
    if (rc->count == rc->size) {
        rc->size = rc->size == 0 ? 64 : rc->size * 2;
        rc->logs = mem_realloc(rc->logs, rc->size * sizeof(struct recovery_log *));
        mem_free(rc->slots);
        rc->slots_mask = rc->size * 2 - 1;
        rc->slots = mem_zalloc((size_t)rc->size * 2 * sizeof(rc->slots[0]));
        for (uint32_t i = 0; i < rc->count; i++)
            recovery_slot(rc, i);
    }
    struct recovery_log *log = mem_zalloc(sizeof(*log));
    log->id = *id;
    log->incarnation = incarnation;
    producer_state_init(&log->producers, rc->seed);
    rc->logs[rc->count] = log;
    recovery_slot(rc, rc->count++);
    return log;
}

static void recovery_log_free(struct recovery_log *log)
{
    epoch_fini(&log->epochs);
    producer_state_fini(&log->producers);
    mem_free(log->entry.open);
    mem_free(log->records);
    mem_free(log->directory);
    mem_free(log->segments);
    mem_free(log);
}

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

/* ---- 1: checkpoints ---- */

bool recovery_take_entry(struct recovery *rc, struct bytes_in *in)
{
    struct checkpoint_entry entry = {0};
    struct epoch_history epochs = {0};
    struct producer_state producers;
    producer_state_init(&producers, rc->seed);
    entry.epochs = &epochs;
    entry.producers = &producers;
    bool good = checkpoint_decode(&entry, in);
    struct recovery_log *log = good ? recovery_log_of(rc, &entry.id, entry.incarnation) : NULL;
    if (log != NULL && (!log->known || log->entry.change < entry.change)) {
        epoch_fini(&log->epochs);
        producer_state_fini(&log->producers);
        mem_free(log->entry.open);
        log->known = true;
        log->entry = entry;
        log->epochs = epochs;
        log->producers = producers;
        return true;
    }
    epoch_fini(&epochs);
    producer_state_fini(&producers);
    mem_free(entry.open);
    return good;
}

static bool recovery_on_batch(void *argument, const uint8_t *payload, uint32_t length,
                              struct log_error *error)
{
    struct recovery *rc = argument;
    struct bytes_in in = bytes_in_of(payload, length);
    while (in.at < in.end) {
        uint32_t size = take_u32(&in);
        struct bytes_in one = bytes_in_of(in.at, size);
        if (take_bytes(&in, size) == NULL || !recovery_take_entry(rc, &one))
            return log_refuse(error, LOG_ERROR_DAMAGED,
                              "%s holds an entry that cannot be read although its checksum "
                              "matches; restore the file from a copy",
                              rc->path_now);
    }
    return true;
}

static bool recovery_read_checkpoint(struct recovery *rc, const char *name, uint64_t *seq)
{
    char *path = log_dir_path(rc->dir, name);
    rc->path_now = path;
    struct record_file rf;
    bool good = record_file_open(&rf, rc->dir->fs, path, CHECKPOINT_MAGIC, rc->dir->uuid,
                                 recovery_on_batch, rc, rc->error);
    if (good) {
        *seq = rf.next_seq - 1;
        record_file_close(&rf);
    }
    mem_free(path);
    return good;
}

/* The number behind a prefix, -1: another name. */
static int32_t name_number(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || name[length] == '\0')
        return -1;
    char *end;
    unsigned long number = strtoul(name + length, &end, 10);
    return *end == '\0' && number < SHARDS_MAX ? (int32_t)number : -1;
}

static bool recovery_read_checkpoints(struct recovery *rc)
{
    const struct fs_list *list = &rc->list;
    for (uint32_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        int32_t number = name_number(name, "checkpoint-");
        uint64_t ignored;
        uint64_t *seq = number >= 0 ? &rc->checkpoint_seqs[number] : &ignored;
        if ((number >= 0 || strcmp(name, CHECKPOINT_START) == 0) &&
            !recovery_read_checkpoint(rc, name, seq))
            return false;
        if (number >= 0)
            rc->has_checkpoint[number] = true;
    }
    return true;
}

/* ---- 2: journals ---- */

static bool recovery_on_record(void *argument, const struct journal_record *record,
                               struct bytes_in body, uint64_t position, struct log_error *error)
{
    struct recovery *rc = argument;
    if (record->kind < JOURNAL_APPEND || record->kind > JOURNAL_RESET || record->version != 1)
        return log_refuse(error, LOG_ERROR_NEWER,
                          "%s holds a record of kind %u version %u at offset %llu that this "
                          "version cannot read; start the version that wrote it and stop it "
                          "cleanly first",
                          rc->path_now, record->kind, record->version,
                          (unsigned long long)position);
    rc->dir->replayed_records++;
    struct recovery_log *log = recovery_log_of(rc, &record->id, record->incarnation);
    if (log->record_count == log->record_size) {
        log->record_size = log->record_size == 0 ? 8 : log->record_size * 2;
        log->records = mem_realloc(log->records, log->record_size * sizeof(log->records[0]));
    }
    log->records[log->record_count++] = (struct recovery_record){.change = record->change,
                                                                 .kind = record->kind,
                                                                 .body = body,
                                                                 .path = rc->path_now,
                                                                 .position = position};
    return true;
}

static bool recovery_walk(struct recovery *rc, struct journal_file *jf, int32_t number)
{
    struct log_dir *dir = rc->dir;
    rc->path_now = jf->path;
    if (jf->sb.checkpoint_seq > rc->checkpoint_seqs[number])
        return log_refuse(rc->error, LOG_ERROR_DAMAGED,
                          "%s/checkpoint-%d lacks its last batches (%llu of %llu are there); "
                          "restore the file from a copy, or take this node out of service",
                          dir->path, (int)number, (unsigned long long)rc->checkpoint_seqs[number],
                          (unsigned long long)jf->sb.checkpoint_seq);
    struct journal_walk walk = {
        .bytes = jf->bytes,
        .size = jf->size,
        .path = jf->path,
        .sb = jf->sb,
        .on_record = recovery_on_record,
        .argument = rc,
        .mistake_skip_group = fs_mutation(dir->fs, "recovery.skip_group"),
        .mistake_any_generation = fs_mutation(dir->fs, "recovery.any_generation"),
        .mistake_no_crc = fs_mutation(dir->fs, "recovery.no_crc"),
    };
    bool good = journal_walk(&walk, rc->error);
    dir->replayed_groups += walk.groups;
    dir->replayed_bytes += walk.group_bytes;
    jf->end = walk.end;
    jf->discarded_groups = walk.discarded_groups;
    jf->discarded_bytes = walk.discarded_bytes;
    dir->was_clean = dir->was_clean && jf->sb.clean;
    return good;
}

/* A checkpoint file is younger than its journal, and goes before it. */
static bool recovery_has_journals(struct recovery *rc)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        if (rc->has_checkpoint[i] && rc->journals[i].path == NULL)
            return log_refuse(rc->error, LOG_ERROR_DAMAGED,
                              "%s/journal-%u is missing; acknowledged records may be in it alone: "
                              "restore the file from a copy, or take this node out of service",
                              rc->dir->path, i);
    }
    return true;
}

static bool recovery_read_journals(struct recovery *rc)
{
    const struct fs_list *list = &rc->list;
    rc->journals = mem_zalloc(SHARDS_MAX * sizeof(rc->journals[0]));
    rc->journal_count = SHARDS_MAX;
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        rc->journals[i].file = -1;
    for (uint32_t i = 0; i < list->count; i++) {
        int32_t number = name_number(list->names[i], "journal-");
        if (number < 0)
            continue;
        char *path = log_dir_path(rc->dir, list->names[i]);
        struct journal_file *jf = &rc->journals[number];
        bool good = journal_read(jf, rc->dir->fs, path, rc->dir->uuid, rc->error) &&
                    recovery_walk(rc, jf, number);
        mem_free(path);
        if (!good)
            return false;
    }
    return recovery_has_journals(rc);
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

/* By name. Two of one name, where both are said to live, stand beside each other. */
static int recovery_order(const void *a, const void *b)
{
    const struct recovery_log *x = *(struct recovery_log *const *)a;
    const struct recovery_log *y = *(struct recovery_log *const *)b;
    int order = strcmp(x->entry.topic, y->entry.topic);
    if (order == 0 && x->id.partition != y->id.partition)
        order = x->id.partition < y->id.partition ? -1 : 1;
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

bool recovery_lives(const struct recovery *rc, const struct log_id *id, uint32_t incarnation)
{
    if (rc->size == 0)
        return false;
    uint32_t slot = recovery_hash(id, incarnation) & rc->slots_mask;
    for (; rc->slots[slot] != 0; slot = (slot + 1) & rc->slots_mask) {
        const struct recovery_log *log = rc->logs[rc->slots[slot] - 1];
        if (log->incarnation == incarnation && memcmp(&log->id, id, sizeof(*id)) == 0)
            return true;
    }
    return false;
}

/* Directories of deleted logs, and of logs that were never born durably: their paths may be wanted
 * by logs that live. */
static bool recovery_clear_directory(struct recovery *rc, struct recovery_worker *worker,
                                     uint32_t index)
{
    struct log_dir *dir = rc->dir;
    (void)worker;
    char *path = log_dir_path(dir, rc->list.names[index]);
    size_t length = strlen(path);
    struct log_id id;
    uint32_t incarnation;
    bool dead = length > 7 && strcmp(path + length - 7, "-delete") == 0;
    if (!dead && log_directory_read(dir->fs, path, dir->uuid, &id, &incarnation))
        dead = !recovery_lives(rc, &id, incarnation);
    if (dead)
        (void)log_directory_remove(dir->fs, dir->path, path, (uint32_t)rc->seed, NULL, 0);
    mem_free(path);
    return true;
}

static bool recovery_same_name(const struct recovery *rc, uint32_t a, uint32_t b)
{
    const struct recovery_log *x = rc->logs[a];
    const struct recovery_log *y = rc->logs[b];
    return x->id.partition == y->id.partition && strcmp(x->entry.topic, y->entry.topic) == 0;
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
    int result = fs_sync_dir(rc->dir->fs, rc->dir->path);
    return result >= 0 || log_refuse_io(rc->error, "sync the directory", rc->dir->path, result);
}

/* ---- results ---- */

static void recovery_publish(struct recovery *rc)
{
    struct log_dir *dir = rc->dir;
    dir->recovered = mem_zalloc((rc->count + 1) * sizeof(dir->recovered[0]));
    dir->recovered_count = rc->count;
    for (uint32_t i = 0; i < rc->count; i++) {
        struct recovery_log *log = rc->logs[i];
        struct recovered_state *state = mem_zalloc(sizeof(*state));
        struct recovered_log *out = &dir->recovered[i];
        state->incarnation = log->incarnation;
        state->change = log->entry.change;
        state->segments = log->segments;
        state->segment_count = log->segment_count;
        state->sealed_count = log->entry.sealed_count;
        state->sealed_bytes = log->entry.sealed_bytes;
        state->anchor = log->entry.anchor;
        state->clean_upto = log->entry.clean_upto;
        state->epochs = log->epochs;
        state->producers = log->producers;
        out->id = log->id;
        out->topic = mem_strdup(log->entry.topic);
        out->start_offset = log->entry.start_offset;
        out->end_offset = log->entry.end_offset;
        for (uint32_t n = 0; n < log->segment_count; n++)
            out->size_bytes += log->segments[n].size;
        out->state = state;
        log->segments = NULL;
        log->epochs = (struct epoch_history){0};
        log->producers = (struct producer_state){0};
    }
}

static void recovered_fini(struct recovered_log *recovered)
{
    struct recovered_state *state = recovered->state;
    if (state != NULL) {
        mem_free(state->segments);
        epoch_fini(&state->epochs);
        producer_state_fini(&state->producers);
        mem_free(state);
    }
    recovered->state = NULL;
    union {
        const char *in;
        char *out;
    } topic = {.in = recovered->topic};
    mem_free(topic.out);
    recovered->topic = NULL;
}

void recovery_forget(struct log_dir *dir)
{
    for (uint32_t i = 0; i < dir->recovered_count; i++)
        recovered_fini(&dir->recovered[i]);
    mem_free(dir->recovered);
    dir->recovered = NULL;
    dir->recovered_count = 0;
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
    int result = fs_list(dir->fs, dir->path, &rc.list);
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
    recovery_fini(&rc);
    return good;
}

/* ---- giving logs to shards ---- */

struct log *log_adopt(struct log_shard *ls, struct recovered_log *recovered,
                      const struct log_config *config)
{
    must(log_at_home(ls) && recovered->state != NULL);
    struct recovered_state *state = recovered->state;
    struct log_body *lg = log_body_new(ls, &recovered->id, recovered->topic, config);
    lg->adopted = true;
    lg->incarnation = state->incarnation;
    lg->change = state->change;
    lg->flushed_change = state->change;
    lg->log.start_offset = recovered->start_offset;
    lg->clean_upto =
        max_i64(recovered->start_offset, min_i64(state->clean_upto, recovered->end_offset));
    lg->log.end_offset = recovered->end_offset;
    lg->log.durable_offset = recovered->end_offset;
    lg->log.leader_epoch = epoch_latest(&state->epochs);
    for (uint32_t i = 0; i < state->segment_count; i++) {
        struct segment *segment = segment_new(lg, state->segments[i].base);
        bool last = i + 1 == state->segment_count;
        segment->size = state->segments[i].size;
        segment->written = segment->size;
        segment->issued = segment->size;
        segment->allocated = state->segments[i].length;
        uint32_t anchor = last ? state->anchor : LOG_NO_ANCHOR;
        segment->anchors = (struct log_anchors){anchor, anchor};
        segment->sealed = state->segments[i].sealed;
        segment->closed = !last;
        segment->index_asked = segment->size == 0;
        segment->end_offset = last ? recovered->end_offset : state->segments[i + 1].base;
        lg->log.size_bytes += segment->size;
        lg->active = segment;
    }
    lg->sealed_count = state->sealed_count;
    lg->sealed_bytes = state->sealed_bytes;
    lg->flushed_segment = lg->active;
    lg->durable_segment = lg->active;
    lg->flushed_position = lg->active->size;
    lg->durable_position = lg->active->size;
    lg->epochs = state->epochs;
    lg->producers = state->producers;
    state->epochs = (struct epoch_history){0};
    state->producers = (struct producer_state){0};
    if (lg->sealed_count + 1 < state->segment_count)
        writer_want(lg); /* it seals the others */
    mem_free(state->segments);
    mem_free(state);
    recovered->state = NULL;
    return &lg->log;
}

bool log_dir_drop(struct log_dir *dir, struct recovered_log *recovered, struct log_error *error)
{
    must(recovered->state != NULL);
    struct epoch_history epochs = {0};
    struct producer_state producers;
    producer_state_init(&producers, 0);
    struct checkpoint_entry entry = {.id = recovered->id,
                                     .incarnation = recovered->state->incarnation,
                                     .change = recovered->state->change + 1,
                                     .deleted = true,
                                     .epochs = &epochs,
                                     .producers = &producers};
    (void)snprintf(entry.topic, sizeof(entry.topic), "%s", recovered->topic);
    uint8_t bytes[1024];
    struct bytes_out out = bytes_out_of(bytes + 4, sizeof(bytes) - 4);
    checkpoint_encode(&entry, &out);
    must(!out.overrun);
    uint32_t length = (uint32_t)(out.at - bytes);
    out = bytes_out_of(bytes, 4);
    put_u32(&out, length - 4);
    /* Beside checkpoint-start, which still says that it lives, and which nobody rewrites. */
    char *path = log_dir_path(dir, CHECKPOINT_START);
    struct record_file rf;
    struct recovery ignored = {.dir = dir, .error = error};
    bool good = record_file_open(&rf, dir->fs, path, CHECKPOINT_MAGIC, dir->uuid, recovery_on_batch,
                                 &ignored, error);
    if (good) {
        good = record_file_append_now(&rf, (struct record_payload){.data = bytes, .length = length},
                                      error);
        record_file_close(&rf);
    }
    recovery_fini(&ignored);
    mem_free(path);
    if (!good)
        return false;
    size_t size = strlen(dir->path) + LOG_TOPIC_MAX + 16;
    char *directory = mem_alloc(size);
    log_directory_path(directory, size, dir->path, recovered->topic, recovered->id.partition);
    (void)log_directory_remove(dir->fs, dir->path, directory, recovered->state->incarnation, NULL,
                               0);
    mem_free(directory);
    recovered_fini(recovered);
    recovered->topic = mem_strdup("");
    return true;
}
