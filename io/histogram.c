/* SPDX-License-Identifier: Apache-2.0
 *
 * See io/histogram.h. A value's bucket is its leading HISTOGRAM_BITS + 1 bits and how far they
 * stand from the right; values below 2 << HISTOGRAM_BITS have a bucket each.
 */
#include "io/histogram.h"

#include <math.h>
#include <string.h>

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

void histogram_add_n(struct histogram *histogram, uint64_t ns, uint64_t count)
{
    histogram->count += count;
    histogram->sum_ns += (double)ns * (double)count;
    histogram->buckets[bucket_of(ns)] += count;
    if (ns > histogram->max_ns && count > 0)
        histogram->max_ns = ns;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram_add_n(histogram, ns, 1);
}

/* One behind the last bucket that can be in use. */
static uint64_t buckets_used(const struct histogram *histogram)
{
    return histogram->count > 0 ? bucket_of(histogram->max_ns) + 1 : 0;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram->buckets, 0, buckets_used(histogram) * sizeof(histogram->buckets[0]));
    histogram->count = 0;
    histogram->max_ns = 0;
    histogram->sum_ns = 0;
}

void histogram_since(struct histogram *since, const struct histogram *now,
                     const struct histogram *before)
{
    histogram_clear(since);
    for (uint64_t bucket = 0; bucket < buckets_used(now); bucket++) {
        since->buckets[bucket] = now->buckets[bucket] - before->buckets[bucket];
        if (since->buckets[bucket] > 0)
            since->max_ns = min_u64(bucket_end_ns(bucket), now->max_ns);
    }
    since->count = now->count - before->count;
    since->sum_ns = now->sum_ns - before->sum_ns;
}

uint64_t histogram_quantile_ns(const struct histogram *histogram, double quantile)
{
    double rank = quantile * (double)histogram->count;
    uint64_t wanted = (uint64_t)ceil(rank - rank * 1e-12); /* 0.001 * 10000 is a little over 10 */
    uint64_t seen = 0;
    for (uint64_t bucket = 0; bucket < buckets_used(histogram); bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted && seen > 0)
            return min_u64(bucket_end_ns(bucket), histogram->max_ns);
    }
    return 0;
}

double histogram_mean_ns(const struct histogram *histogram)
{
    return histogram->count > 0 ? histogram->sum_ns / (double)histogram->count : 0;
}

bool histogram_next(const struct histogram *histogram, uint32_t *cursor, uint64_t *ns,
                    uint64_t *count)
{
    while (*cursor < buckets_used(histogram)) {
        uint32_t bucket = (*cursor)++;
        if (histogram->buckets[bucket] == 0)
            continue;
        *ns = bucket_end_ns(bucket);
        *count = histogram->buckets[bucket];
        return true;
    }
    return false;
}
