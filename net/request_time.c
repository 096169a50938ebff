/* SPDX-License-Identifier: Apache-2.0 */
#include "net/request_time.h"

const char *const request_step_names[REQUEST_STEP_COUNT] = {
#define X(id, name, meaning) name,
    REQUEST_STEPS(X)
#undef X
};

const char *const request_family_names[REQUEST_FAMILY_COUNT] = {
#define X(id, name) name,
    REQUEST_FAMILIES(X)
#undef X
};

void request_times_add(struct request_times *times, const struct request_time *time,
                       uint64_t arrived_ns)
{
    uint64_t sum_ns = 0;
    for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
        if (time->step_ns[i] == 0)
            continue;
        sum_ns += time->step_ns[i];
        durations_add(&times->steps[i], time->step_ns[i]);
    }
    must(sum_ns == time->until_ns - arrived_ns);
    durations_add(&times->total, sum_ns);
}

void request_times_merge(const struct request_times *times, enum request_step step,
                         struct durations *sum)
{
    const struct durations *own = &times->steps[step];
    const uint64_t none = times->total.count - own->count;
    durations_merge(sum, own);
    sum->count += none;
    sum->buckets[0] += none;
}
