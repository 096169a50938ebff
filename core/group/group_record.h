/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups and offsets as records of __consumer_offsets, in Kafka's schemas (net/kafka.wire, `record`
 * 0 to 2): other tools read that topic, too. The key begins with the kind of the record, the value
 * with the version of its schema; no value (a tombstone) takes back what the key names.
 *
 * Written are the versions that Kafka 3.9 and 4.3 write: offsets as version 3, or 1 when the
 * committer asked for an expiry; groups as version 3. Read is everything that Kafka ever wrote.
 * What cannot be read is poisoned: named, skipped, and never fatal, because it may be another's
 * mistake.
 */
#pragma once

#include "core/group/group_offsets.h"
#include "net/kafka.h"

enum group_record_kind {
    GROUP_RECORD_OFFSET,
    GROUP_RECORD_GROUP,
    GROUP_RECORD_OTHER,   /* of another group protocol: key and value are there */
    GROUP_RECORD_POISONED /* `reason` says why */
};

/* Views into the record and the arena. */
struct group_record {
    enum group_record_kind kind;
    bool tombstone;
    struct str group;
    struct group_offset offset;        /* GROUP_RECORD_OFFSET; of a tombstone only its place */
    struct group_metadata_value value; /* GROUP_RECORD_GROUP without tombstone */
    struct bytes key;                  /* GROUP_RECORD_OTHER */
    struct bytes value_bytes;
    const char *reason;
};

/* key.len == -1 and value.len == -1 are null. */
void group_record_read(struct group_record *record, struct bytes key, struct bytes value,
                       struct arena *arena);

/* The bytes of one record, in an arena. */
struct group_record_bytes {
    struct bytes key;
    struct bytes value; /* len -1: a tombstone */
};

/* False: the arena is full, or it would not fit its schema. */
bool group_record_of_offset(struct group_record_bytes *bytes, struct arena *arena, struct str group,
                            const struct group_offset *offset) warn_unused;
bool group_record_of_offset_gone(struct group_record_bytes *bytes, struct arena *arena,
                                 struct str group, struct str topic, int32_t partition) warn_unused;
/* As the group is; while the leader's decision is being stored, with what it decided. */
bool group_record_of_group(struct group_record_bytes *bytes, struct arena *arena,
                           const struct group *g) warn_unused;
bool group_record_of_group_gone(struct group_record_bytes *bytes, struct arena *arena,
                                struct str group) warn_unused;

/* What was written, in one piece of the arena. */
bool group_record_piece(struct wr *w, struct arena *arena, struct bytes *bytes) warn_unused;

/* What the record says becomes the group, which is new. */
void group_record_restore(const struct group_record *record, struct group *g);
