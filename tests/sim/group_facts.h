/* SPDX-License-Identifier: Apache-2.0
 *
 * What the world outside knows of groups and committed offsets, beside the model of topics. Checked
 * is, as each answer comes in:
 *
 *   group_owner        a share of a generation has two owners
 *   group_committed    a commit of a generation that was over before it was sent, of a member that
 *                      had left, or of one whose place another had taken, was accepted
 *   group_fetched      a committed offset that nobody sent, or one that an acknowledged commit,
 *                      sent after it had ended, has replaced; or nothing where one was acknowledged
 *
 * A commit whose answer was lost may be done at any time in its life of the broker. So it may still
 * be what counts after a later one was acknowledged, until one of another life is. What a member is
 * told by JoinGroup is known only in that life, for nothing is written before the leader's decision
 * is; what SyncGroup tells is known for ever.
 */
#pragma once

#include "tests/sim/actor.h"

#define GROUPS_MAX       3U /* the last has no members: offsets are kept in it by hand */
#define GROUP_BY_HAND    (GROUPS_MAX - 1)
#define GROUP_SHARES     6U
#define GROUP_INSTANCES  2U
#define GROUP_NAME_SIZE  80U
#define GROUP_COMMITS    8192U
#define GROUP_GENERATION 4096U
#define ANY_TOPIC        (-1)

enum commit_end { COMMIT_OPEN, COMMIT_ACKED, COMMIT_REFUSED, COMMIT_LOST };

/* Offset -1: what was committed is taken back. */
struct commit_fact {
    uint32_t group;
    int32_t topic; /* ANY_TOPIC: of all partitions */
    int32_t partition;
    uint32_t incarnation; /* of the topic */
    int64_t offset;
    enum commit_end end;
    uint64_t sent_ns;
    uint64_t ended_ns;
    uint32_t life; /* in which it was sent; and acknowledged, if it was */
    bool fenced;   /* may not be accepted in that life */
    bool old;      /* may not be accepted at all */
};

struct group_fact {
    char name[16];
    uint32_t life;  /* of the two below */
    int32_t joined; /* the newest generation that JoinGroup told of */
    struct {
        char id[GROUP_NAME_SIZE]; /* "": not known */
        uint64_t since_ns;
    } holders[GROUP_INSTANCES]; /* of the names of static members */
    int32_t synced;             /* the newest that SyncGroup told of */
    char owners[GROUP_GENERATION][GROUP_SHARES][GROUP_NAME_SIZE];
};

struct group_facts {
    struct group_fact groups[GROUPS_MAX];
    struct commit_fact commits[GROUP_COMMITS];
    uint32_t commit_count;
    int64_t serial;
    uint64_t generations, accepted, fetched; /* what came to pass */
};

struct group_facts *group_facts_new(void);
void group_facts_free(struct group_facts *facts);

/* ---- members ---- */

/* JoinGroup's answer. instance < 0: a dynamic member. */
void group_joined(struct model *m, uint32_t group, const struct ask *ask, int32_t generation,
                  int instance, const char *member_id);
/* SyncGroup's answer: this share is `owner`'s, an instance's or a member's name. */
void group_owner(struct model *m, uint32_t group, int32_t generation, uint32_t share,
                 const char *owner);
/* Has another taken its place, as far as is known in this life? */
bool group_is_fenced(const struct model *m, uint32_t group, uint32_t life, int32_t generation,
                     int instance, const char *member_id);

/* ---- offsets ---- */

/* NULL: there were enough. */
struct commit_fact *group_commit_begin(struct model *m, uint32_t group,
                                       const struct topic_fact *topic, int32_t partition,
                                       int64_t offset);
void group_committed(struct model *m, struct commit_fact *commit, enum commit_end end);
/* The answer to an OffsetFetch that was sent at `asked_ns`. */
void group_fetched(struct model *m, uint32_t group, struct topic_fact *topic, int32_t partition,
                   int64_t offset, uint64_t asked_ns);
/* An error that says nothing of whether it was done. */
bool group_error_is_vague(int16_t error);
/* One that any request about a group may meet: ask again later. */
bool group_error_is_passing(int16_t error);
