/* SPDX-License-Identifier: Apache-2.0
 *
 * Where `millrace group seek` is told to go: the words of kafka-consumer-groups --reset-offsets and
 * those of rpk become one kind of target.
 */
#pragma once

#include "tools/millrace/group/groups.h"

enum seek_kind {
    TO_START,
    TO_END,
    TO_CURRENT, /* what is committed; the end where nothing is */
    TO_OFFSET,
    TO_SHIFT,
    TO_TIME,  /* number: milliseconds since 1970 */
    TO_FILE,  /* text: its name */
    TO_GROUP, /* text: the group whose offsets are taken */
};

struct seek_target {
    enum seek_kind kind;
    int64_t number;
    const char *text;
};

/* EXIT_USAGE, and said, unless exactly one is given. */
int seek_target_read(struct session *s, struct seek_target *target);

/* The lines of a file, TOPIC,PARTITION,OFFSET or with blanks between, or with GROUP before them, of
 * which those of other groups are left out: as partitions, each with the offset as `committed`. */
int seek_file_read(struct session *s, const char *name, const char *group,
                   struct group_partitions *partitions);
