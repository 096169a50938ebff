/* SPDX-License-Identifier: Apache-2.0
 *
 * What checkpoint files and journals say of each log: steps 1 and 2 of core/log/recovery.c.
 */
#include "core/log/recovery.h"

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

void recovery_fill_slots(struct recovery *rc)
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

void recovery_log_free(struct recovery_log *log)
{
    epoch_fini(&log->epochs);
    producer_state_fini(&log->producers);
    aborted_fini(&log->aborted);
    mem_free(log->entry.open);
    mem_free(log->records);
    mem_free(log->directory);
    mem_free(log->segments);
    mem_free(log);
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
    /* This one was renamed when it was whole, and nobody appends to it: no crash tears it. (Version
     * 1 of the file does not say how many batches it was born with.) */
    if (good && rf.torn_tail && strcmp(name, CHECKPOINT_START) == 0) {
        good = log_refuse(rc->error, LOG_ERROR_DAMAGED,
                          "%s is damaged at offset %llu: a batch does not match its checksum; "
                          "restore the file from a copy, or take this node out of service",
                          path, (unsigned long long)rf.position);
        record_file_close(&rf);
    }
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

bool recovery_read_checkpoints(struct recovery *rc)
{
    const struct fs_list *list = &rc->list;
    for (uint32_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        int32_t number = name_number(name, "checkpoint-");
        uint64_t ignored;
        uint64_t *seq = number >= 0 ? &rc->checkpoint_seqs[number] : &ignored;
        const bool is_start = strcmp(name, CHECKPOINT_START) == 0;
        if ((number >= 0 || is_start) && !recovery_read_checkpoint(rc, name, seq))
            return false;
        rc->has_start = rc->has_start || is_start;
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
    if (record->kind < JOURNAL_APPEND || record->kind > JOURNAL_MODE || record->version != 1)
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

bool recovery_refuse_no_start(struct recovery *rc, const char *witness, struct log_error *error)
{
    return log_refuse(
        error, LOG_ERROR_DAMAGED,
        "%s/" CHECKPOINT_START " is missing, and %s is there: logs would be taken for "
        "deleted ones; restore the file from a copy, or begin with an empty directory",
        rc->dir->path, witness);
}

/* A checkpoint file is younger than its journal, and goes before it; D/checkpoint-start is older
 * than both, and stays. */
static bool recovery_has_journals(struct recovery *rc)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        if (rc->journals[i].path != NULL && !rc->has_start)
            return recovery_refuse_no_start(rc, rc->journals[i].path, rc->error);
        if (rc->has_checkpoint[i] && rc->journals[i].path == NULL)
            return log_refuse(rc->error, LOG_ERROR_DAMAGED,
                              "%s/journal-%u is missing; acknowledged records may be in it alone: "
                              "restore the file from a copy, or take this node out of service",
                              rc->dir->path, i);
    }
    return true;
}

bool recovery_read_journals(struct recovery *rc)
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
