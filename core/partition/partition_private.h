/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a partition know of each other and nobody else.
 */
#pragma once

#include "core/partition/partition.h"

/* partition_append.c: the task of pt->step. */
void partition_appends_step(struct shard *sh, struct task *task);

/* partition.c: when it is closing and nothing of it is in flight, goes on with that. */
void partition_maybe_closed(struct partition *pt);
/* Something else than a new leader may have become visible. */
void partition_wake(struct partition *pt, bool all);

/* partition.c: one that may have been the last, when the broker stops. */
void partition_proposal_ended(struct broker_shard *bs);

/* partition.c: the high watermark goes as far as it may. */
void partition_advance(struct partition *pt);

/* partition_append.c: the high watermark has passed some of pt->committing; or all end with an
 * error, because we do not lead any more. */
void partition_appends_committed(struct partition *pt);
void partition_appends_abandon(struct partition *pt, enum err error);

/* partition_role.c: what the image says about who leads; sets bs->image before. */
void partition_role_set(struct partition *pt, const struct partition_image *image);
/* A write of the present role begins, and has ended. */
static inline void partition_write_begin(struct partition *pt)
{
    pt->writes++;
}
void partition_write_end(struct partition *pt);
/* It closes. */
void partition_role_end(struct partition *pt);
