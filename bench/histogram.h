/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram of nanoseconds: 64 buckets per power of two, so that a quantile is at most 1.6 % off,
 * from 1 ns to centuries in 30 KiB and without allocation.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BITS    6U
#define HISTOGRAM_BUCKETS ((64U - HISTOGRAM_BITS + 1U) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The least value that `quantile` (0 to 1) of all are not above, rounded up to its bucket's end; 0
 * when there are none. */
uint64_t histogram_quantile_ns(const struct histogram *histogram, double quantile);
