/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram as the text that HdrHistogram's tools read and draw (.hgrm): value in milliseconds,
 * percentile, how many values up to it, 1/(1-percentile); five lines per halving of what is left.
 */
#pragma once

#include "io/histogram.h"

#include <stdio.h>

/* The percentiles at which HdrHistogram looks: the first is 0, then `ticks` steps to the half of
 * all values, as many to the half of the rest, and so on; the last is 1. */
struct hgrm_steps {
    double percentile; /* 0 to 1 */
    uint64_t ns;       /* the values up to there are not above it */
    uint64_t seen;     /* how many these are */
    /* private */
    const struct histogram *histogram;
    uint32_t ticks, cursor;
    double next;
    bool in_last;
};

void hgrm_begin(struct hgrm_steps *steps, const struct histogram *histogram, uint32_t ticks);
/* False at the end, which is at once when there are no values. */
bool hgrm_step(struct hgrm_steps *steps);

void hgrm_print(const struct histogram *histogram, FILE *to);
