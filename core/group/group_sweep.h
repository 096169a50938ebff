/* SPDX-License-Identifier: Apache-2.0
 *
 * What groups are to forget, found by walking over all of a shard: offsets that expired (O5),
 * offsets of topics that were deleted, and groups of which nothing is left. home: the shard.
 *
 * One sweep at a time, one group at a time, in as many turns as it takes. It begins every
 * offsets.retention.check.interval.ms, when an image takes a topic away, and when a partition of
 * __consumer_offsets has been read back: a topic may have been deleted while nobody was there to
 * see it. A topic that was made again keeps what was committed for it since: offsets know the
 * topic's id, unless they were read back, and then they are older than any deletion that is seen.
 *
 * When the wall clock has jumped since the last check nothing expires in this one.
 */
#pragma once

#include "core/group/group_write.h"

struct gone_topics {
    struct gone_topic *by_id;
    struct gone_topic *by_name; /* one of each name */
};

struct group_sweep {
    struct groups *groups;
    struct timer timer; /* the next check */
    struct task task;
    bool running;
    bool away;     /* a removal is under way */
    bool starting; /* and its start has not returned */

    /* what is to be looked for next time, and what this one looks for */
    struct gone_topics gone_next;
    struct gone_topics gone;
    bool orphans_next;
    bool orphans;
    bool expires_next;
    bool expires;

    int64_t retention_ms;
    int64_t interval_ms;
    int64_t wall_ms; /* at the last check, with now_ns */
    uint64_t now_ns;

    struct group_walk walk;
    struct group_removal removal;
    uint64_t removed;
};

void group_sweep_init(struct group_sweep *sweep, struct groups *groups);
void group_sweep_fini(struct group_sweep *sweep);
void group_sweep_topic_gone(struct group_sweep *sweep, const struct topic_image *topic);
void group_sweep_loaded(struct group_sweep *sweep);
/* No new one begins; the one that runs ends soon, and then groups_maybe_stopped() is called. */
void group_sweep_drain(struct group_sweep *sweep);
