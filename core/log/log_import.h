/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs of another broker come into a log directory that is new: after log_dir_open(), which has
 * formatted it. The next start finds them as after a clean stop, checks their files, and writes
 * everything else. Everything here blocks.
 *
 * The caller puts the segments into each log's folder, whole and synced, and says what is in them;
 * closed ones may be names of files that somebody else has, too: such a file is read and removed,
 * and never written (core/log/recycle.c leaves it alone). The last one is appended to.
 */
#pragma once

#include "core/log/aborted.h"
#include "core/log/checkpoint.h"
#include "core/log/log_dir.h"

struct log_import_segment {
    int64_t base;
    uint32_t bytes;
};

struct log_import {
    struct log_id id;
    const char *topic;
    int64_t start_offset;
    int64_t end_offset;
    const struct log_import_segment *segments; /* by base, one at least */
    uint32_t segment_count;
    uint32_t anchor; /* in the last one; LOG_NO_ANCHOR: nobody knows */
    const struct epoch_history *epochs;
    const struct producer_state *producers;
    const struct aborted_list *aborted;
};

/* Makes the log's folder: its path, the caller's to mem_free(). NULL and `error` when it cannot. */
char *log_import_folder(struct log_dir *dir, const struct log_import *log, struct log_error *error);

/* All of them, once: with their files in place. */
bool log_import_all(struct log_dir *dir, const struct log_import *logs, uint32_t count,
                    struct log_error *error) warn_unused;
