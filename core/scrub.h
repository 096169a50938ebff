/* SPDX-License-Identifier: Apache-2.0
 *
 * The scrub of a shard: all logs are read against rot, one after another (core/log/log_scrub.h). A
 * pass goes over everything in millrace.scrub.period.ms, a week, as evenly as it can, but never
 * faster than millrace.scrub.max.bytes.per.second, which the shards divide; then it takes longer.
 * Both may be changed at any time, -1 for the period turns it off.
 *
 * Pace: 256 KiB at a time on a helper thread, then a rest that the rate asks for, of four times
 * what the read took at least.
 *
 * Where a pass is is not written anywhere. After a restart the next one begins at a random
 * partition, so that a broker that is restarted more often than once a period comes to all of them
 * in the end.
 */
#pragma once

#include "core/broker.h"

struct scrub *scrub_start(struct broker_shard *bs);
/* Gives up what is under way; done() when it has let go of its partition. */
void scrub_stop(struct scrub *sc, void (*done)(void *user), void *user);
void scrub_free(struct scrub *sc);
