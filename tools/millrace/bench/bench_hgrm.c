/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_hgrm.h"

#include <math.h>

#define TICKS_PER_HALF 5U

static double deviation_ms(const struct histogram *histogram, double mean_ns)
{
    double squares = 0;
    uint64_t ns;
    uint64_t count;
    for (uint32_t cursor = 0; histogram_next(histogram, &cursor, &ns, &count);)
        squares += ((double)ns - mean_ns) * ((double)ns - mean_ns) * (double)count;
    return histogram->count > 0 ? sqrt(squares / (double)histogram->count) / (double)NS_PER_MS : 0;
}

void hgrm_print(const struct histogram *histogram, FILE *to)
{
    fprintf(to, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    const double total = (double)histogram->count;
    uint64_t seen = 0;
    uint64_t ns;
    uint64_t count;
    double next = 0; /* the percentile that the next line is for */
    for (uint32_t cursor = 0; histogram_next(histogram, &cursor, &ns, &count);) {
        seen += count;
        double reached = (double)seen / total;
        double value_ms = (double)min_u64(ns, histogram->max_ns) / (double)NS_PER_MS;
        /* Of the last bucket one line, as HdrHistogram has it. */
        for (bool more = true; more && reached >= next; more = seen < histogram->count) {
            fprintf(to, "%12.6f %.12f %10llu %14.2f\n", value_ms, next, (unsigned long long)seen,
                    1 / (1 - next));
            double halves = floor(log2(1 / (1 - next))) + 1;
            next += 1 / (exp2(halves) * TICKS_PER_HALF);
        }
        if (seen == histogram->count)
            fprintf(to, "%12.6f %.12f %10llu\n", value_ms, 1.0, (unsigned long long)seen);
    }
    double mean_ns = histogram_mean_ns(histogram);
    fprintf(to, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n", mean_ns / (double)NS_PER_MS,
            deviation_ms(histogram, mean_ns));
    fprintf(to, "#[Max     = %12.6f, Total count    = %12llu]\n",
            (double)histogram->max_ns / (double)NS_PER_MS, (unsigned long long)histogram->count);
    fprintf(to, "#[Buckets = %12u, SubBuckets     = %12u]\n", 64U - HISTOGRAM_BITS,
            2U << HISTOGRAM_BITS);
}
