/* SPDX-License-Identifier: Apache-2.0
 *
 * Committed offsets on their way into the log, and out of it. home: the group's shard.
 *
 * A write is one batch of the group's partition: all its offsets are committed, or none. Writes are
 * applied in the order of the log, so what memory says is at any time what a restart would find.
 *
 * A removal takes back many offsets, and the group itself if that is wanted, by tombstones in as
 * many batches as it takes. What is being committed at that moment is left alone, because its
 * tombstone would stand behind it in the log. A group that goes itself is served no more from then
 * on, and is back if the log does not take it.
 */
#pragma once

#include "core/group/groups.h"

struct group_write;
typedef void group_write_done(struct group_write *write);

struct group_write {
    struct group_entry *entry;
    struct group_offset *offsets; /* to be committed; [count], the caller's until done() */
    bool remove;                  /* they are taken back instead: topic and partition count */
    bool group_too;               /* with `remove`: the group's own record, too */
    uint32_t count;               /* > 0, unless group_too */
    struct arena *arena;
    group_write_done *done;
    void *user;
    enum err error; /* as a committer is told (O3) */

    /* private */
    struct mail mail;
    TAILQ_ENTRY(group_write) link;
};

/* When done() runs with ERR_NONE they are durable, and can be found. done() never runs inside the
 * call. `write` stays until then. */
void group_write_start(struct group_write *write);

struct group_removal {
    struct group_entry *entry;
    /* NULL: all. */
    bool (*wants)(const struct group_removal *removal, const struct group_offset *offset);
    bool group_too; /* with `wants`: if it is Empty and nothing is left of it */
    void (*done)(struct group_removal *removal); /* may run inside the call */
    void *user;

    enum err error;   /* out */
    uint32_t removed; /* out: offsets */

    /* private */
    struct arena arena;
    struct group_write write;
    bool finishing;
};

void group_removal_start(struct group_removal *removal);
