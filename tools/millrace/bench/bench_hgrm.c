/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_hgrm.h"

#include <math.h>

#define TICKS_PER_HALF 5U /* as its tools have it */

static double deviation_ms(const struct histogram *histogram, double mean_ns)
{
    double squares = 0;
    uint64_t ns;
    uint64_t count;
    for (uint32_t cursor = 0; histogram_next(histogram, &cursor, &ns, &count);)
        squares += ((double)ns - mean_ns) * ((double)ns - mean_ns) * (double)count;
    return histogram->count > 0 ? sqrt(squares / (double)histogram->count) / (double)NS_PER_MS : 0;
}

void hgrm_begin(struct hgrm_steps *steps, const struct histogram *histogram, uint32_t ticks)
{
    *steps = (struct hgrm_steps){.histogram = histogram, .ticks = ticks};
}

/* Of the last bucket there is one step before that of 100 %, as HdrHistogram has it. */
bool hgrm_step(struct hgrm_steps *steps)
{
    const struct histogram *histogram = steps->histogram;
    uint64_t ns;
    uint64_t count;
    if (steps->seen == histogram->count && steps->in_last) {
        const bool more = steps->percentile < 1;
        steps->percentile = 1;
        return more;
    }
    while (steps->seen == 0 || (double)steps->seen / (double)histogram->count < steps->next) {
        if (!histogram_next(histogram, &steps->cursor, &ns, &count))
            return false;
        steps->seen += count;
        steps->ns = min_u64(ns, histogram->max_ns);
    }
    steps->in_last = steps->seen == histogram->count;
    steps->percentile = steps->next;
    const double halves = floor(log2(1 / (1 - steps->next))) + 1;
    steps->next += 1 / (exp2(halves) * steps->ticks);
    return true;
}

void hgrm_print(const struct histogram *histogram, FILE *to)
{
    fprintf(to, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    struct hgrm_steps steps;
    hgrm_begin(&steps, histogram, TICKS_PER_HALF);
    while (hgrm_step(&steps)) {
        fprintf(to, "%12.6f %.12f %10llu", (double)steps.ns / (double)NS_PER_MS, steps.percentile,
                (unsigned long long)steps.seen);
        if (steps.percentile < 1)
            fprintf(to, " %14.2f", 1 / (1 - steps.percentile));
        fputc('\n', to);
    }
    double mean_ns = histogram_mean_ns(histogram);
    fprintf(to, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n", mean_ns / (double)NS_PER_MS,
            deviation_ms(histogram, mean_ns));
    fprintf(to, "#[Max     = %12.6f, Total count    = %12llu]\n",
            (double)histogram->max_ns / (double)NS_PER_MS, (unsigned long long)histogram->count);
    fprintf(to, "#[Buckets = %12u, SubBuckets     = %12u]\n", 64U - HISTOGRAM_BITS,
            2U << HISTOGRAM_BITS);
}
