/* SPDX-License-Identifier: Apache-2.0
 *
 * The cleaner of a shard: partitions whose cleanup.policy compacts, one after another (D8 to D11).
 * A sweep looks at all of them every log.cleaner.backoff.ms. One is cleaned (core/log/log_clean.h)
 * when the part that no pass has seen is more than min.cleanable.dirty.ratio of what may be
 * compacted, or holds a record that is older than max.compaction.lag.ms.
 *
 * Never touched: the active segment, what is not stable yet, and from the first segment on that
 * holds a record younger than min.compaction.lag.ms.
 *
 * Pace: between two steps it rests as long as the last one took, so that it takes half of what the
 * helper and the disk would give it, and longer when log.cleaner.io.max.bytes.per.second, divided
 * among the shards, says so.
 *
 * After a jump of the wall clock (core/clock_jump.h) no tombstone goes by its age, and topics with
 * a min.compaction.lag.ms are left alone. A log with a damaged batch is not compacted any more
 * while this process runs.
 */
#pragma once

#include "core/broker.h"

struct cleaner *cleaner_start(struct broker_shard *bs);
/* Gives up what is under way; done() when it has let go of its partition. */
void cleaner_stop(struct cleaner *cl, void (*done)(void *user), void *user);
void cleaner_free(struct cleaner *cl);
