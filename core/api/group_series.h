/* SPDX-License-Identifier: Apache-2.0
 *
 * One request about many groups. All answers go into one arena, so one shard at a time is asked;
 * but it is asked for all of its groups, in as many turns as it takes: a message there and back for
 * each group would cost two turns of two shards, which for 100,000 names are seconds.
 */
#pragma once

#include "core/api/api_work.h"
#include "core/group/groups.h"

struct group_series {
    struct api_work work;
    struct group_call call; /* about the one at `at`; run is set by the owner */
    int32_t at;
    int32_t count;
    /* Sets call.group_id, and call.error to what is known without asking. Of all groups in order,
     * on the connection's shard. */
    void (*begin)(struct group_series *series);
    /* call.error is set. Where run() was, or where begin() has set the error; those of one home in
     * order. */
    void (*back)(struct group_series *series);
    void (*end)(struct group_series *series);

    /* private */
    struct series_place *places; /* [count] */
    struct series_line *lines;   /* [shard_count] */
    struct mail mail;
    struct task task; /* of the shard that is being asked */
    uint16_t shard;   /* the next one */
    bool away;
    bool stepping;
};

void group_series_start(struct group_series *series, struct request *q);
