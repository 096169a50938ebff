/* SPDX-License-Identifier: Apache-2.0 */
#include "io/durations.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Every duration lies in its bucket, and buckets have no gap. */
static void test_buckets(void **state)
{
    (void)state;
    uint64_t begin_ns = 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        uint64_t end_ns = duration_bucket_end_ns(i);
        assert_true(end_ns > begin_ns);
        assert_int_equal(duration_bucket(begin_ns), i);
        assert_int_equal(duration_bucket((begin_ns + end_ns) / 2), i);
        assert_int_equal(duration_bucket(end_ns - 1), i);
        assert_int_equal(duration_bucket(end_ns), i + 1);
        assert_true(i < 16 || end_ns - begin_ns <= begin_ns / 8);
        begin_ns = end_ns;
    }
    assert_in_range(begin_ns, 60000000000, 70000000000);
}

static void test_quantiles(void **state)
{
    (void)state;
    struct durations durations = {0};
    assert_int_equal(durations_quantile_ns(&durations, 0.5), 0);
    assert_int_equal(durations_longest_ns(&durations), 0);
    for (uint64_t i = 0; i < 8192; i++) /* evenly, up to the end of a bucket */
        durations_add(&durations, i * 1024);
    for (unsigned percent = 1; percent < 100; percent++) {
        double found = (double)durations_quantile_ns(&durations, percent / 100.0);
        assert_true(fabs(found / (percent / 100.0 * 8192 * 1024) - 1) < 0.01);
    }
    assert_int_equal(durations_longest_ns(&durations), 8192 * 1024);
    durations_add(&durations, UINT64_MAX / 4);
    assert_int_equal(durations.count, 8193);
    assert_true(durations_quantile_ns(&durations, 1) == UINT64_MAX);
    assert_true(durations_longest_ns(&durations) == UINT64_MAX);
}

/* Of two looks the later one less the earlier one is what came between them. */
static void test_looks(void **state)
{
    (void)state;
    struct durations a = {0};
    struct durations b = {0};
    struct durations between = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        durations_add(&a, i * i);
        durations_add(&b, i * 7);
        durations_add(&between, i * 7);
    }
    durations_merge(&b, &a);
    assert_int_equal(b.count, 2000);
    durations_subtract(&b, &a);
    assert_memory_equal(&b, &between, sizeof(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
