/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench/histogram.h. A value's bucket is its leading HISTOGRAM_BITS + 1 bits and how far they
 * stand from the right; values below 2 << HISTOGRAM_BITS have a bucket each.
 */
#include "bench/histogram.h"

#include <math.h>

static unsigned shift_of(uint64_t ns)
{
    unsigned bits = 64U - (unsigned)__builtin_clzll(ns | 1);
    return bits > HISTOGRAM_BITS + 1 ? bits - HISTOGRAM_BITS - 1 : 0;
}

static uint64_t bucket_of(uint64_t ns)
{
    unsigned shift = shift_of(ns);
    return ((uint64_t)shift << HISTOGRAM_BITS) + (ns >> shift);
}

static uint64_t bucket_end_ns(uint64_t bucket)
{
    uint64_t above = bucket >> HISTOGRAM_BITS;
    uint64_t shift = above > 0 ? above - 1 : 0;
    uint64_t leading = bucket - (shift << HISTOGRAM_BITS);
    return (leading << shift) + ((1ULL << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

uint64_t histogram_quantile_ns(const struct histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->count);
    uint64_t seen = 0;
    for (uint64_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted && seen > 0) {
            uint64_t end_ns = bucket_end_ns(bucket);
            return end_ns < histogram->max_ns ? end_ns : histogram->max_ns;
        }
    }
    return 0;
}
