/* SPDX-License-Identifier: Apache-2.0
 *
 * Mending of a shard's partitions: when the scrub or a reader has met damage in a partition's log,
 * the other replicas are asked for the same batches, the leader first, and what comes is put back
 * in its place (core/log/log_mend.h). Only members of the commit set are asked, and only what is
 * below the high watermark is mended. What was done is told (log.mended), and what cannot be,
 * with the reason, once (log.not_mended). A partition of one replica stays as it is.
 *
 * One partition at a time, with rests as long as the steps. What could not be mended is tried again
 * after a second, then after two, up to ten minutes, and when its set is another one.
 */
#pragma once

#include "core/broker.h"

struct mender *mender_new(struct broker_shard *bs);
/* Damage was met. May be called from within a find or a pin. */
void mender_damaged(struct mender *mender, const struct partition *pt);
/* The shard has another image: who did not answer may do so now. */
void mender_image(struct mender *mender);
/* Gives up what is under way; done() when it has let go of its partition, perhaps inside the call.
 */
void mender_stop(struct mender *mender, void (*done)(void *user), void *user);
void mender_free(struct mender *mender);
