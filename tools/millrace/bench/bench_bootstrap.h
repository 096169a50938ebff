/* SPDX-License-Identifier: Apache-2.0
 *
 * How sure is it that B differs from A? The bootstrap: the values of each side are drawn again and
 * again, with replacement, and the ratio of the means is taken each time; the middle 95 % of those
 * ratios are the interval. Nothing is assumed of how the values are distributed.
 */
#pragma once

#include "io/base.h"

struct bootstrap {
    double a, b;      /* the means */
    double ratio;     /* b / a */
    double low, high; /* the interval of the ratio */
};

/* Of counts >= 1. The same seed gives the same interval. */
struct bootstrap bootstrap_ratio(const double *a, uint32_t a_count, const double *b,
                                 uint32_t b_count, uint64_t seed);
