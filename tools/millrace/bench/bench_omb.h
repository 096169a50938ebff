/* SPDX-License-Identifier: Apache-2.0
 *
 * A run as the OpenMessaging benchmark writes its own down, so that its chart script and what else
 * people have for its files read it: a sample for every ten seconds, then figures of all. There
 * publish latency counts from the real send, which is service here, and publish delay is the delay;
 * milliseconds, but for the delay, which is in microseconds.
 */
#pragma once

#include "tools/millrace/bench/bench_plan.h"

#define OMB_PERIOD_NS 10000000000U

struct omb {
    json_t *samples;                   /* its arrays */
    uint64_t from_ns;                  /* the sample that is under way; 0: none yet */
    uint64_t records, failed, arrived; /* at its begin */
    int64_t backlog;          /* now: what subscriptions have not read of what was acknowledged */
    struct histogram *before; /* [3]: what was known at its begin */
    struct histogram *period, *none;
};

void omb_init(struct omb *omb);
void omb_fini(struct omb *omb);
/* What came until now, in the measured time; when it wants to look again. */
uint64_t omb_look(struct omb *omb, const struct bench *b, uint64_t now_ns);
/* The run is over: the last sample, and all of it as one object. */
json_t *omb_json(struct omb *omb, const struct bench *b, const struct plan *plan);
