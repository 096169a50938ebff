/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantiles against the sorted values themselves.
 */
#include "io/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT ((size_t)10000)

static int ascending(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

/* Never below the truth, and above it by a thousandth at most. */
static void check_quantile(const struct histogram *histogram, const uint64_t *sorted,
                           double quantile, size_t rank)
{
    uint64_t truth = sorted[rank - 1];
    uint64_t told = histogram_quantile_ns(histogram, quantile);
    assert_true(told >= truth);
    assert_true(told - truth <= truth / 1024);
}

static void quantiles(void **state)
{
    (void)state;
    static uint64_t values[COUNT];
    static struct histogram histogram;
    for (unsigned shift = 0; shift < 60; shift += 3) {
        uint64_t random = 88172645463325252U + shift;
        memset(&histogram, 0, sizeof(histogram));
        for (uint32_t i = 0; i < COUNT; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            values[i] = random >> (random & 3) >> shift;
            histogram_add(&histogram, values[i]);
        }
        qsort(values, COUNT, sizeof(values[0]), ascending);
        check_quantile(&histogram, values, 0.5, COUNT / 2);
        check_quantile(&histogram, values, 0.99, COUNT / 100 * 99);
        check_quantile(&histogram, values, 0.999, COUNT / 1000 * 999);
        check_quantile(&histogram, values, 1, COUNT);
        assert_int_equal(histogram.max_ns, values[COUNT - 1]);
    }
}

static void small_values_are_exact(void **state)
{
    (void)state;
    static struct histogram histogram;
    for (uint64_t ns = 0; ns < 2048; ns += 1 + ns / 64) {
        memset(&histogram, 0, sizeof(histogram));
        histogram_add(&histogram, ns);
        histogram_add(&histogram, UINT64_MAX);
        assert_int_equal(histogram_quantile_ns(&histogram, 0.5), ns);
        assert_true(histogram_quantile_ns(&histogram, 1) == UINT64_MAX);
    }
}

/* Every quantile of a thousand and one, against the sorted values. */
static void all_quantiles(void **state)
{
    (void)state;
    static uint64_t values[COUNT];
    static struct histogram histogram;
    uint64_t random = 1234567;
    for (uint32_t i = 0; i < COUNT; i++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        values[i] = 20000 + (random >> 33) % 1000 * ((random >> 50) % 5000); /* a long tail */
        histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), ascending);
    for (size_t i = 1; i <= 1000; i++)
        check_quantile(&histogram, values, (double)i / 1000, i * COUNT / 1000);
}

static void buckets_come_back(void **state)
{
    (void)state;
    static struct histogram histogram;
    static struct histogram again;
    for (uint64_t ns = 1; ns < 1000000000; ns += ns / 3 + 1)
        histogram_add_n(&histogram, ns, ns % 5 + 1);
    uint64_t ns;
    uint64_t count;
    uint64_t last = 0;
    for (uint32_t cursor = 0; histogram_next(&histogram, &cursor, &ns, &count);) {
        assert_true(ns > last);
        last = ns;
        histogram_add_n(&again, ns, count);
    }
    assert_int_equal(again.count, histogram.count);
    assert_memory_equal(again.buckets, histogram.buckets, sizeof(again.buckets));
}

/* What came since a moment is what was added since, to a bucket's end. */
static void since(void **state)
{
    (void)state;
    static struct histogram all;
    static struct histogram before;
    static struct histogram late;
    static struct histogram told;
    for (uint64_t ns = 1; ns < 1000000000; ns += ns / 3 + 1) {
        histogram_add_n(&all, ns, ns % 5 + 1);
        if (ns % 2 == 0)
            histogram_add(&told, ns); /* is replaced */
    }
    before = all;
    for (uint64_t ns = 7; ns < 5000000; ns += ns / 2 + 1) {
        histogram_add_n(&all, ns, 3);
        histogram_add_n(&late, ns, 3);
    }
    histogram_since(&told, &all, &before);
    assert_int_equal(told.count, late.count);
    assert_true(histogram_mean_ns(&told) == histogram_mean_ns(&late));
    assert_memory_equal(told.buckets, late.buckets, sizeof(told.buckets));
    assert_true(told.max_ns >= late.max_ns && told.max_ns - late.max_ns <= late.max_ns / 1024);
    histogram_since(&told, &all, &all);
    assert_int_equal(told.count, 0);
    assert_int_equal(told.max_ns, 0);
}

static void nothing(void **state)
{
    (void)state;
    static struct histogram histogram;
    assert_int_equal(histogram_quantile_ns(&histogram, 0.99), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles),     cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(all_quantiles), cmocka_unit_test(buckets_come_back),
        cmocka_unit_test(since),         cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
