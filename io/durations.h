/* SPDX-License-Identifier: Apache-2.0
 *
 * How long things took, for a place that is passed all the time: 8 buckets per power of two from
 * 2 us to 68 s, so that a quantile is at most 6 % off its bucket's middle, in 1.7 KiB. Below 2 us a
 * bucket is 128 ns. io/histogram.h is exact where memory does not matter. Two are merged, and what
 * was between two looks is found, by adding and subtracting.
 */
#pragma once

#include "io/base.h"

#define DURATION_BUCKETS    216U
#define DURATION_BUCKET_NS  128U /* of the first ones */
#define DURATIONS_PER_POWER 8U   /* buckets; 16 of the first ones have one width */

struct durations {
    uint64_t count; /* longer ones than the last bucket's end are only in it */
    uint64_t sum_ns;
    uint64_t buckets[DURATION_BUCKETS];
};

/* The bucket is what stands in the leading 4 bits of a duration in DURATION_BUCKET_NS, and where.
 */
static inline unsigned duration_bucket(uint64_t ns)
{
    uint64_t units = ns / DURATION_BUCKET_NS;
    unsigned shift = units < 16 ? 0 : 60U - (unsigned)__builtin_clzll(units);
    return shift * DURATIONS_PER_POWER + (unsigned)(units >> shift);
}

/* A bucket's end, which is the first nanosecond of the next one. */
static inline uint64_t duration_bucket_end_ns(unsigned bucket)
{
    unsigned shift = bucket < 16 ? 0 : bucket / DURATIONS_PER_POWER - 1;
    uint64_t leading = bucket - shift * DURATIONS_PER_POWER;
    return ((leading + 1) << shift) * DURATION_BUCKET_NS;
}

static inline void durations_add(struct durations *durations, uint64_t ns)
{
    unsigned bucket = duration_bucket(ns);
    durations->count++;
    durations->sum_ns += ns;
    if (bucket < DURATION_BUCKETS)
        durations->buckets[bucket]++;
}

/* `to` gets what `from` has, or loses it: `from` is then an earlier look at the same. */
void durations_merge(struct durations *to, const struct durations *from);
void durations_subtract(struct durations *to, const struct durations *from);

/* The least value that `quantile` (0 to 1) of all are not above, if those of one bucket lie evenly
 * in it; 0 when there are none, UINT64_MAX beyond the last bucket. */
uint64_t durations_quantile_ns(const struct durations *durations, double quantile);
/* The end of the last bucket that is in use, or UINT64_MAX; 0 when there are none. */
uint64_t durations_longest_ns(const struct durations *durations);
