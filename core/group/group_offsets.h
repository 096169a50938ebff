/* SPDX-License-Identifier: Apache-2.0
 *
 * The offsets a group has committed: one per topic and partition, the newest counts. home: the
 * group's shard. A topic's name stays the key when the topic is deleted and made again, as in
 * Kafka: when a topic is deleted its offsets are (core/group/group_sweep.c).
 */
#pragma once

#include "core/group/group.h"
#include "io/uuid.h"

struct group_offset {
    struct str topic;
    struct uuid topic_id; /* zeros: not known, it was read back */
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch; /* -1: the committer did not say */
    struct str metadata;
    int64_t commit_ms; /* wall clock */
    int64_t expire_ms; /* asked for by the committer (v2 to v4); -1: the broker's retention */

    /* private */
    struct group_topic *home;
    struct group_offset_key {
        uint32_t topic;
        int32_t partition;
    } key;
    TAILQ_ENTRY(group_offset) link;
    UT_hash_handle hh;
};

/* Those of one topic, in order of first commit. */
struct group_topic {
    struct str name;
    uint32_t count;
    TAILQ_HEAD(, group_offset) offsets;

    /* private */
    uint32_t number;
    UT_hash_handle hh;
};

struct group_offsets {
    struct group_topic *topics; /* in order of first commit: walk them by hh.next */
    uint32_t topic_count;
    uint32_t count;
    size_t bytes; /* of memory */

    /* private */
    struct group_offset *map;
    uint32_t next_number;
};

/* Copies; an older one of the same partition is replaced in its place. */
void group_offsets_put(struct group_offsets *offsets, const struct group_offset *offset);
/* NULL: nothing was committed. */
const struct group_topic *group_offsets_topic(const struct group_offsets *offsets, struct str name);
const struct group_offset *group_offsets_find(const struct group_offsets *offsets, struct str topic,
                                              int32_t partition);
/* False: there was none. */
bool group_offsets_remove(struct group_offsets *offsets, struct str topic, int32_t partition);
void group_offsets_fini(struct group_offsets *offsets);
/* How many bytes of memory more at most when these are put, too. */
size_t group_offsets_growth(const struct group_offsets *offsets, const struct group_offset *puts,
                            uint32_t count);

/* May it be forgotten (O5)? A group that was managed counts from when it became Empty; a live
 * consumer group loses only topics that nobody in it reads; offsets kept by hand count from their
 * commit. */
bool group_offset_is_expired(const struct group *g, const struct group_offset *offset,
                             int64_t retention_ms, int64_t now_ms);
/* By when it was committed alone. */
bool group_offset_is_old(const struct group_offset *offset, int64_t retention_ms, int64_t now_ms);
