/* SPDX-License-Identifier: Apache-2.0
 *
 * One request about many groups: they are asked one after another, because all answers go into one
 * arena, and in as many turns as it takes.
 */
#pragma once

#include "core/api/api_work.h"
#include "core/group/groups.h"

struct group_series {
    struct api_work work;
    struct group_call call; /* about the one at `at`; run is set by the owner */
    int32_t at;
    int32_t count;
    /* Sets call.group_id, and call.error to what is known without asking. */
    void (*begin)(struct group_series *series);
    void (*back)(struct group_series *series); /* on the connection's shard; call.error is set */
    void (*end)(struct group_series *series);

    /* private */
    bool away;
    bool stepping;
};

void group_series_start(struct group_series *series, struct request *q);
