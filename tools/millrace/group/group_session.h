/* SPDX-License-Identifier: Apache-2.0
 *
 * This process as a member of a consumer group of the classic protocol: it joins, is told its
 * partitions (or, as the group's leader, tells everybody theirs), says that it lives, commits how
 * far it has come, and leaves.
 *
 *   join ... keep, keep, commit, keep ... [the group rebalances] join ... commit, leave
 *
 * All calls wait for their answers; meanwhile the turns go on, so that other answers are taken. The
 * coordinator has a connection of its own, because a join may wait long for the other members.
 * Everything is given up when *s->stop becomes true.
 */
#pragma once

#include "tools/millrace/fetch_plan.h"
#include "tools/millrace/group/groups.h"

struct group_session {
    struct session *s;
    const char *group;
    const char *const *topics;
    uint32_t topic_count;
    bool joined; /* false: join before anything else is read or committed */

    /* private */
    struct broker_link *coordinator; /* NULL: to be looked for */
    char *member_id;                 /* "" before the coordinator gave one */
    int32_t generation;              /* -1: none */
    char protocol[32];
    bool leads;
    int32_t *partition_counts; /* of the topics, when it led the last rebalance; -1: no topic */
    uint64_t answered_ns;      /* when the coordinator last did */
    uint64_t heartbeat_at_ns, commit_at_ns, look_at_ns;
    struct arena scratch; /* of one call */
};

/* group and topics are borrowed. */
void group_session_init(struct group_session *g, struct session *s, const char *group,
                        const char *const *topics, uint32_t topic_count);
void group_session_fini(struct group_session *g);

/* Joins, again and again while the group changes. assigned: this member's partitions, with what the
 * group has committed there; of s->arena. Not EXIT_OK: said, and final. */
int group_session_join(struct group_session *g, struct group_partitions *assigned);

/* A sign of life and a look at the topics, when they are due; g->joined is false afterwards when
 * the group rebalances. */
int group_session_keep(struct group_session *g);

/* Commits what the plan has reached since the last time. */
int group_session_commit(struct group_session *g, struct fetch_plan *plan);
bool group_session_commit_due(const struct group_session *g);

void group_session_leave(struct group_session *g);

/* When there is something to be done next. */
uint64_t group_session_next_ns(const struct group_session *g);
