/* SPDX-License-Identifier: Apache-2.0
 *
 * Consumer groups of KIP-848 as records of __consumer_offsets, in Kafka's schemas (net/kafka.wire,
 * `record` 3 to 8 and 16).
 *
 * The hash in the group's record is our own: another coordinator's that takes over finds it wrong,
 * looks at the topics and lets the epoch grow, which is what it does anyway when they have changed.
 */
#pragma once

#include "core/group/consumer_group.h"
#include "core/group/group_record.h"

enum consumer_record_kind {
    CONSUMER_RECORD_GROUP = 3,
    CONSUMER_RECORD_TOPICS = 4, /* of Kafka before 4.1; read over, and taken back with the group */
    CONSUMER_RECORD_MEMBER = 5,
    CONSUMER_RECORD_EPOCH = 6,
    CONSUMER_RECORD_TARGET = 7,
    CONSUMER_RECORD_CURRENT = 8,
    CONSUMER_RECORD_REGEX = 16
};

/* Views into the record and the arena. */
struct consumer_record {
    enum consumer_record_kind kind;
    bool tombstone;
    struct str group;
    struct str member; /* or the regular expression */
    struct consumer_group_metadata_value of_group;
    struct consumer_group_target_assignment_metadata_value of_epoch;
    struct consumer_restored_member of_member;
    struct consumer_group_target_assignment_member_value of_target;
    struct consumer_group_current_member_assignment_value of_current;
    const char *reason; /* why it is poisoned; NULL: it is not */
};

/* A record that is none of the classic protocol. False: of this neither, but of another protocol.
 */
bool consumer_record_read(struct consumer_record *record, const struct group_record *from,
                          struct arena *arena) warn_unused;
/* Into the group, which is being read back. */
void consumer_record_restore(const struct consumer_record *record, struct consumer_group *g);

/* What add() is given makes, record by record, a restart find the group as it is now. add() returns
 * false when it takes no more: then so does this. The arena may be reset between two calls. */
struct consumer_writer {
    bool (*add)(struct consumer_writer *writer, const struct group_record_bytes *record);
    struct arena *arena;
};
/* Everything that is marked. */
bool consumer_record_changes(struct consumer_writer *writer, const struct consumer_group *g);
/* Tombstones for all of it, members included. */
bool consumer_record_gone(struct consumer_writer *writer, const struct consumer_group *g);
