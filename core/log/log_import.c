/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/log_import.h"

#include "core/log/log_dir_private.h"
#include "core/log/log_directory.h"
#include "core/log/recovery.h"

#define INCARNATION 1U

char *log_import_folder(struct log_dir *dir, const struct log_import *log, struct log_error *error)
{
    uint8_t *identity = mem_pages(FS_BLOCK);
    size_t size = strlen(dir->path) + LOG_TOPIC_MAX + 16;
    char *folder = mem_alloc(size);
    log_directory_path(folder, size, dir->path, log->topic, log->id.partition);
    log_identity_encode(identity, dir->uuid, &log->id, INCARNATION);
    int64_t result = log_directory_claim(dir->fs, folder, identity);
    if (result == 0)
        result = log_directory_flush(dir->fs, dir->path, folder);
    mem_pages_free(identity, FS_BLOCK);
    bool good = result >= 0 || log_refuse_io(error, "make", folder, result);
    if (good && log->aborted->count > 0)
        good = aborted_write(dir->fs, folder, dir->uuid, log->aborted, error);
    if (good)
        return folder;
    mem_free(folder);
    return NULL;
}

static void entry_of(struct checkpoint_entry *entry, const struct log_import *log)
{
    const struct log_import_segment *last = &log->segments[log->segment_count - 1];
    *entry = (struct checkpoint_entry){
        .id = log->id,
        .incarnation = INCARNATION,
        .change = 1,
        .start_offset = log->start_offset,
        .end_offset = log->end_offset,
        .end = {last->base, last->bytes},
        .flushed = {last->base, last->bytes},
        .sealed_count = log->segment_count - 1,
        .anchor = log->anchor,
        .has_aborted = log->aborted->count > 0,
        .epochs = no_const(log->epochs),
        .producers = no_const(log->producers),
    };
    size_t len = strlen(log->topic);
    must(len > 0 && len <= LOG_TOPIC_MAX);
    memcpy(entry->topic, log->topic, len);
    for (uint32_t i = 0; i + 1 < log->segment_count; i++)
        entry->sealed_bytes += log->segments[i].bytes;
}

bool log_import_all(struct log_dir *dir, const struct log_import *logs, uint32_t count,
                    struct log_error *error)
{
    struct checkpoint_payloads batches = {0};
    must(dir->formatted_now);
    for (uint32_t i = 0; i < count; i++) {
        struct checkpoint_entry entry;
        entry_of(&entry, &logs[i]);
        checkpoint_payloads_add(&batches, &entry);
    }
    uint64_t nonce;
    memcpy(&nonce, dir->uuid, sizeof(nonce));
    struct record_file rf;
    char *path = log_dir_path(dir, CHECKPOINT_START);
    bool good = record_file_create(&rf, dir->fs, path, CHECKPOINT_MAGIC, dir->uuid, nonce,
                                   batches.payloads, batches.count, error);
    if (good)
        record_file_close(&rf);
    checkpoint_payloads_fini(&batches);
    mem_free(path);
    return good;
}
