/* SPDX-License-Identifier: Apache-2.0
 *
 * What somebody has used of late: 11 samples of a second (Kafka's quota.window.num and
 * quota.window.size.seconds). A rate is what they add up to over the ten whole seconds that they
 * hold and the part of the newest one that has passed; so whoever was silent may use ten seconds'
 * worth at once, and then waits until it is no more than what he was allowed.
 */
#pragma once

#include "io/base.h"

#define QUOTA_SAMPLES    11U
#define QUOTA_SAMPLE_NS  1000000000ULL
#define QUOTA_WHOLE_S    10.0 /* seconds of the samples that are over */
#define QUOTA_MUTE_S_MAX 3600.0

struct quota_window {
    uint64_t second; /* of the newest sample */
    double samples[QUOTA_SAMPLES];
};

void quota_window_add(struct quota_window *window, uint64_t now_ns, double amount);
double quota_window_sum(struct quota_window *window, uint64_t now_ns);

/* How long to rest after so much in the window, when `limit` a second is allowed; 0: not at all. */
double quota_rest_s(double sum, double limit, uint64_t now_ns);
