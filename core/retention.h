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
 * A clock that jumps forward must not empty the disk. Between two sweeps wall clock and monotonic
 * clock must agree to CLOCK_JUMP_MS; when the wall clock has gained more, a line says so and
 * retention by time rests for CLOCK_JUMP_REST_MS, in which the clock can be mended. (A clock that
 * is wrong already when the broker starts cannot be told from a long stop.)
 */
#pragma once

#include "core/broker.h"

#define CLOCK_JUMP_MS      60000
#define CLOCK_JUMP_REST_MS 3600000

struct retention *retention_start(struct broker_shard *bs);
/* No sweep begins any more; done() when the one under way has let go of its partition. */
void retention_stop(struct retention *rt, void (*done)(void *user), void *user);
void retention_free(struct retention *rt);
