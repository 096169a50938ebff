/* SPDX-License-Identifier: Apache-2.0
 *
 * Which partitions a consume reads, from where to where: -p and -o, looked up.
 */
#pragma once

#include "tools/millrace/group/groups.h"

/* A partition that is read. */
struct fetch_part {
    const char *topic;
    struct uuid topic_id;
    int32_t partition;
    int32_t leader;
    int64_t next;      /* the offset wanted next */
    int64_t committed; /* in a group, by the group; -1: nothing */
    int64_t end;       /* and the one not wanted any more; INT64_MAX: none */
    bool over;         /* nothing more is wanted */
    bool asked;        /* a fetch of it is under way */
    uint64_t try_at_ns;
};

struct fetch_plan {
    struct fetch_part *parts;
    uint32_t count;
    struct metadata_response metadata;
};

int fetch_plan_make(struct fetch_plan *plan, struct session *s);
/* Are there such topics, and is -o one that a member of a group can have? The plan is empty. */
int fetch_plan_make_empty(struct fetch_plan *plan, struct session *s);
/* What a group has assigned instead, from where it has committed, and else from -o on. */
int fetch_plan_assign(struct fetch_plan *plan, struct session *s,
                      const struct group_partitions *assigned);
/* Where the leaders are now. */
int fetch_plan_refresh(struct fetch_plan *plan, struct session *s);
void fetch_plan_free(struct fetch_plan *plan);
