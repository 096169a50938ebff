/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: partitions forget their oldest segments by retention.ms and retention.bytes where
 * cleanup.policy deletes (D4, D5, D7). One sweep per shard over its partitions, one partition at a
 * time: half a minute after the start, then every log.retention.check.interval.ms.
 *
 * Age is that of a segment's newest record, by its timestamp, never that of a file. The first batch
 * that is young enough is looked for as for a ListOffsets: segments that are known to be older are
 * passed without I/O, others are read from their beginning until such a batch is met. Where nothing
 * is young enough the active segment goes, too, and an empty one begins at the log's end.
 *
 * On its way the sweep lets every log forget the producers that have not written for
 * producer.id.expiration.ms (I8).
 *
 * A clock that jumps forward must not empty the disk: core/clock_jump.h.
 */
#pragma once

#include "core/broker.h"
#include "core/clock_jump.h"

struct retention *retention_start(struct broker_shard *bs);
/* No sweep begins any more; done() when the one under way has let go of its partition. */
void retention_stop(struct retention *rt, void (*done)(void *user), void *user);
void retention_free(struct retention *rt);
