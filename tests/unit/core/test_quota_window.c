/* SPDX-License-Identifier: Apache-2.0 */
#include "core/quota_window.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define S  1000000000ULL
#define MS 1000000ULL

static void samples_are_forgotten(void **state)
{
    (void)state;
    struct quota_window window = {0};
    quota_window_add(&window, 100 * S, 5);
    quota_window_add(&window, 100 * S + 999 * MS, 7);
    quota_window_add(&window, 101 * S, 11);
    assert_true(quota_window_sum(&window, 101 * S) == 23);
    assert_true(quota_window_sum(&window, 110 * S + 999 * MS) == 23);
    assert_true(quota_window_sum(&window, 111 * S) == 11);
    assert_true(quota_window_sum(&window, 112 * S) == 0);
    quota_window_add(&window, 5000 * S, 1);
    assert_true(quota_window_sum(&window, 5000 * S) == 1);
    /* Another shard's clock may be read a little earlier. */
    quota_window_add(&window, 4999 * S, 2);
    assert_true(quota_window_sum(&window, 5000 * S) == 3);
}

/* Q3: (rate - limit) / limit * window. */
static void rests(void **state)
{
    (void)state;
    assert_true(quota_rest_s(100, 10, 50 * S) == 0);
    assert_true(quota_rest_s(101, 10, 50 * S) > 0.099);
    assert_true(quota_rest_s(101, 10, 50 * S) < 0.101);
    assert_true(quota_rest_s(105, 10, 50 * S + 500 * MS) == 0);
    assert_true(quota_rest_s(200, 10, 50 * S) == 10);
    assert_true(quota_rest_s(1e12, 1, 50 * S) == QUOTA_MUTE_S_MAX);
}

/* Somebody who asks for 1 MB at a time, as often as he may, has his 1 MB a second in the end. */
static void greed_gets_the_limit(void **state)
{
    (void)state;
    struct quota_window window = {0};
    const double limit = 1e6;
    uint64_t now = 7 * S + 123 * MS;
    const uint64_t end = now + 600 * S;
    double used = 0;
    while (now < end) {
        quota_window_add(&window, now, 1e6);
        used += 1e6;
        double rest = quota_rest_s(quota_window_sum(&window, now), limit, now);
        now += (uint64_t)(rest * 1e9) + 5 * MS; /* and the work itself */
    }
    assert_true(used > 0.9 * 600 * limit);
    assert_true(used < 1.05 * 600 * limit + 11 * limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_forgotten),
        cmocka_unit_test(rests),
        cmocka_unit_test(greed_gets_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
