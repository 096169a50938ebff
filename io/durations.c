/* SPDX-License-Identifier: Apache-2.0 */
#include "io/durations.h"

void durations_merge(struct durations *to, const struct durations *from)
{
    to->count += from->count;
    to->sum_ns += from->sum_ns;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
}

void durations_subtract(struct durations *to, const struct durations *from)
{
    to->count -= from->count;
    to->sum_ns -= from->sum_ns;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++)
        to->buckets[i] -= from->buckets[i];
}

uint64_t durations_quantile_ns(const struct durations *durations, double quantile)
{
    double wanted = quantile * (double)durations->count;
    double below = 0;
    uint64_t begin_ns = 0;
    if (durations->count == 0)
        return 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        uint64_t end_ns = duration_bucket_end_ns(i);
        double here = (double)durations->buckets[i];
        if (here > 0 && below + here >= wanted)
            return begin_ns + (uint64_t)((double)(end_ns - begin_ns) * (wanted - below) / here);
        below += here;
        begin_ns = end_ns;
    }
    return UINT64_MAX;
}

uint64_t durations_longest_ns(const struct durations *durations)
{
    uint64_t counted = 0;
    uint64_t longest_ns = 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        counted += durations->buckets[i];
        if (durations->buckets[i] > 0)
            longest_ns = duration_bucket_end_ns(i);
    }
    return counted < durations->count ? UINT64_MAX : longest_ns;
}
