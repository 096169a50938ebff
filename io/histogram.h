/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram of nanoseconds: 1,024 buckets per power of two, so that a quantile is at most 0.1 %
 * off, from 1 ns to centuries, in memory that does not grow (450 KiB). Two histograms are merged by
 * adding their counts, which loses nothing: the quantiles of a merged one are those of all values.
 */
#pragma once

#include "io/base.h"

#define HISTOGRAM_BITS    10U
#define HISTOGRAM_BUCKETS ((64U - HISTOGRAM_BITS + 1U) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    double sum_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The same value `count` times. */
void histogram_add_n(struct histogram *histogram, uint64_t ns, uint64_t count);
/* What came to `now` since it was `before`, into `since`, whose content is replaced. Its maximum is
 * a bucket's end. */
void histogram_since(struct histogram *since, const struct histogram *now,
                     const struct histogram *before);
/* Forgets everything; costs what was recorded, not what could be. */
void histogram_clear(struct histogram *histogram);
/* The least value that `quantile` (0 to 1) of all are not above, rounded up to its bucket's end; 0
 * when there are none. */
uint64_t histogram_quantile_ns(const struct histogram *histogram, double quantile);
double histogram_mean_ns(const struct histogram *histogram);

/* The buckets that are not empty, in order: begin with *cursor 0; false at the end. ns: the end of
 * the bucket, which histogram_add() puts into the same bucket again. */
bool histogram_next(const struct histogram *histogram, uint32_t *cursor, uint64_t *ns,
                    uint64_t *count);
