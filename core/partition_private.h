/* SPDX-License-Identifier: Apache-2.0
 *
 * What core/partition.c and core/partition_append.c know of each other.
 */
#pragma once

#include "core/partition.h"

/* partition_append.c: the task of pt->step. */
void partition_appends_step(struct shard *sh, struct task *task);

/* partition.c: when it is closing and nothing of it is in flight, goes on with that. */
void partition_maybe_closed(struct partition *pt);
