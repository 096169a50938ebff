/* SPDX-License-Identifier: Apache-2.0
 *
 * The log directories of a broker (log.dirs): which of them are its own, and which of these work.
 *
 * Each is a struct log_dir of its own: journals, checkpoints, lock, disk and failure are one
 * directory's and never another one's. What they share is divided here: memory and open files, so
 * that one whose disk stalls cannot hold what a healthy one needs.
 *
 * Where there are several, each knows all of them: D/directories lists their UUIDs and paths, and
 * the broker's identity, which is the UUID of its first directory ever and what the metadata log
 * knows the broker by. It is written to all that work before anything lies in a new one; the list
 * with the highest generation counts. So an empty, missing or foreign directory where a known one
 * is expected is not taken for a new one: it is offline, and what lies in it waits, unless somebody
 * says that it is lost for ever. Then a new one takes its place, and the list tells for ever that
 * one was lost: what is missing since then is missing, and nothing that nobody has made yet. A
 * directory that is alone has no such file.
 */
#pragma once

#include "core/log/log_dir.h"
#include "io/uuid.h"

#include <string.h>

#define LOG_DIRS_MAX 32U

struct log_dirs_entry {
    char *path;
    uint8_t uuid[16];
    struct log_dir *dir;    /* NULL: offline since the start, and why: */
    struct log_error error; /* a sentence */
    uint64_t generation;    /* of the list that it held; 0: none */
};

struct log_dirs {
    uint32_t count;
    struct log_dirs_entry entries[LOG_DIRS_MAX]; /* in the order of log.dirs */
    uint8_t identity[16];
    uint32_t missing;         /* of the entries, offline since the start */
    uint32_t recovered_count; /* logs, in all of them */
    bool lost;                /* one was, with the logs in it, and another one is in its place */

    /* private */
    uint64_t generation;
};

/* The UUID without it names the loss of them all (core/controller/controller_office.c): that of the
 * identity is known for as long as one of them is left, and who gives up one gives up no other. */
#define LOG_DIRS_LOST          "one:"
#define LOG_DIRS_LOST_TEXT_LEN (sizeof(LOG_DIRS_LOST) - 1 + UUID_TEXT_LEN)

struct log_dirs_options {
    const char *paths;           /* separated by commas */
    struct log_dir_options each; /* but for its path; memory and open files are for all together */
    bool metadata_inside;        /* the metadata store lies in the directory of the identity */
    const char *replaced;        /* LOG_DIRS_LOST and the UUID of one that is lost for ever */
};

/* How many directories a list names. */
uint32_t log_dirs_count(const char *paths);

/* Opens all that work and brings their logs back. NULL and `error`: none works, one is locked or
 * holds the metadata and does not work, or log.dirs is not what it was. */
struct log_dirs *log_dirs_open(const struct log_dirs_options *options, struct log_error *error);
/* After every shard's parts were freed. */
void log_dirs_close(struct log_dirs *dirs);

/* Blocking: log_dir_set_identity() of those that do not. */
bool log_dirs_set_identity(struct log_dirs *dirs, const char *cluster_id, int32_t node_id,
                           struct log_error *error);

/* Blocking: log_dir_set_mark() of all; those that fail stay behind, and `error` is of the last. */
bool log_dirs_set_mark(struct log_dirs *dirs, struct metadata_mark mark, struct log_error *error);

/* What options.replaced is to say of this one. */
void log_dirs_lost_text(const uint8_t uuid[16], char text[LOG_DIRS_LOST_TEXT_LEN + 1]);

/* The directory of the identity: its path is there also when it is offline. */
static inline const struct log_dirs_entry *log_dirs_first(const struct log_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        if (memcmp(dirs->entries[i].uuid, dirs->identity, sizeof(dirs->identity)) == 0)
            return &dirs->entries[i];
    }
    return &dirs->entries[0];
}

/* The cluster that they belong to; "": to none yet. */
static inline const char *log_dirs_cluster_id(const struct log_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dir *dir = dirs->entries[i].dir;
        if (dir != NULL && dir->cluster_id[0] != '\0')
            return dir->cluster_id;
    }
    return "";
}

/* The furthest of those that work. */
static inline struct metadata_mark log_dirs_mark(const struct log_dirs *dirs)
{
    struct metadata_mark mark = {0};
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dir *dir = dirs->entries[i].dir;
        if (dir != NULL && dir->mark.number > mark.number)
            mark = dir->mark;
    }
    return mark;
}

/* Does every one that works know it? */
static inline bool log_dirs_have_identity(const struct log_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct log_dir *dir = dirs->entries[i].dir;
        if (dir != NULL && dir->cluster_id[0] == '\0')
            return false;
    }
    return true;
}
