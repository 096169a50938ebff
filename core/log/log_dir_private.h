/* SPDX-License-Identifier: Apache-2.0
 *
 * What a log directory keeps for the shards that work in it.
 */
#pragma once

#include "core/log/journal.h"
#include "core/log/log_dir.h"
#include "core/log/record_file.h"

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
    bool full;                    /* atomic: a shard was told so by the disk (disk_room.h) */
};

char *log_dir_path(const struct log_dir *dir, const char *name); /* the caller's to mem_free() */
/* A file of one block in the directory: written aside and renamed, durably. */
bool log_dir_write_block(struct log_dir *dir, const char *name, const uint8_t block[FS_BLOCK],
                         struct log_error *error);
bool log_dir_read_block(const struct log_dir *dir, const char *name, uint8_t block[FS_BLOCK],
                        struct log_error *error);
/* From now on it is one of several: a version that would take it for the only one, and make the
 * others' logs anew, may not start with it. */
bool log_dir_join(struct log_dir *dir, struct log_error *error);
