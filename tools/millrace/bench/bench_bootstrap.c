/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_bootstrap.h"

#include "io/mem.h"

#include <stdlib.h>

#define DRAWS 2000U

static double mean(const double *values, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
}

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((*state >> 32) * below >> 32);
}

static double mean_drawn(const double *values, uint32_t count, uint64_t *state)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[draw(state, count)];
    return sum / count;
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return (a > b) - (a < b);
}

struct bootstrap bootstrap_ratio(const double *a, uint32_t a_count, const double *b,
                                 uint32_t b_count, uint64_t seed)
{
    must(a_count > 0 && b_count > 0);
    struct bootstrap result = {.a = mean(a, a_count), .b = mean(b, b_count)};
    double *ratios = mem_alloc(DRAWS * sizeof(*ratios));
    uint64_t state = seed;
    uint32_t count = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        const double below = mean_drawn(a, a_count, &state);
        const double above = mean_drawn(b, b_count, &state);
        if (below > 0)
            ratios[count++] = above / below;
    }
    if (result.a > 0 && count > 0) {
        qsort(ratios, count, sizeof(*ratios), ascending);
        result.ratio = result.b / result.a;
        result.low = ratios[(uint32_t)(0.025 * (count - 1))];
        result.high = ratios[(uint32_t)(0.975 * (count - 1) + 0.5)];
    }
    mem_free(ratios);
    return result;
}
