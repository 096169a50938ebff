/* SPDX-License-Identifier: Apache-2.0
 *
 * The interval of a ratio: narrow where values agree, wide where they do not, and nearly always
 * around the truth.
 */
#include "tools/millrace/bench/bench_bootstrap.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static double noise(uint64_t *state) /* -1 to 1 */
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (double)(*state >> 33) / 1073741824.0 - 1;
}

static void equal_values(void **state)
{
    (void)state;
    const double a[] = {5, 5, 5, 5};
    const double b[] = {10, 10, 10};
    struct bootstrap result = bootstrap_ratio(a, 4, b, 3, 1);
    assert_true(fabs(result.ratio - 2) < 1e-12);
    assert_true(fabs(result.low - 2) < 1e-12 && fabs(result.high - 2) < 1e-12);
}

static void scattered_values(void **state)
{
    (void)state;
    double a[30];
    double b[30];
    uint64_t dice = 3;
    for (int i = 0; i < 30; i++) {
        a[i] = 100 + 30 * noise(&dice);
        b[i] = 100 + 30 * noise(&dice);
    }
    struct bootstrap same = bootstrap_ratio(a, 30, b, 30, 1);
    assert_true(same.low < 1 && same.high > 1);
    assert_true(same.low > 0.8 && same.high < 1.25);
    for (int i = 0; i < 30; i++)
        b[i] *= 1.5;
    struct bootstrap more = bootstrap_ratio(a, 30, b, 30, 1);
    assert_true(more.low > 1.2 && more.high < 1.9);
}

/* Of 400 pairs that do not differ, about 5 % may seem to. */
static void nineteen_of_twenty(void **state)
{
    (void)state;
    uint64_t dice = 11;
    int wrong = 0;
    for (int trial = 0; trial < 400; trial++) {
        double a[20];
        double b[20];
        for (int i = 0; i < 20; i++) {
            a[i] = 50 + 20 * noise(&dice);
            b[i] = 50 + 20 * noise(&dice);
        }
        struct bootstrap result = bootstrap_ratio(a, 20, b, 20, (uint64_t)trial);
        wrong += result.low > 1 || result.high < 1;
    }
    assert_in_range(wrong, 4, 48);
}

static void nothing_to_divide_by(void **state)
{
    (void)state;
    const double zero[] = {0, 0};
    const double one[] = {1};
    struct bootstrap result = bootstrap_ratio(zero, 2, one, 1, 1);
    assert_true(fabs(result.ratio) < 1e-12 && fabs(result.high) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values),
        cmocka_unit_test(scattered_values),
        cmocka_unit_test(nineteen_of_twenty),
        cmocka_unit_test(nothing_to_divide_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
