/* SPDX-License-Identifier: Apache-2.0
 *
 * Which runs are valid.
 */
#include "tools/millrace/bench/bench_verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_second(void **state)
{
    (void)state;
    const struct bench_second good = {.lag_p99 = 200000, .own_cpu = 0.5, .delay_p99 = 3000000000};
    const struct bench_second late = {.lag_p99 = 1500000};
    const struct bench_second busy = {.own_cpu = 0.99};
    const struct bench_second starved = {.own_cpu = 0.2, .own_wait = 0.79};
    const struct bench_second held_back = {.own_cpu = 0.02, .own_wait = 0.6};
    const struct bench_second idle = {.own_cpu = 0.2, .own_wait = 0.3};
    const struct bench_second stolen = {.steal = 0.2, .lag_p99 = 2000000};
    assert_int_equal(second_faults(&good), 0); /* a delay that the broker caused is no fault */
    assert_int_equal(second_faults(&late), FAULT_LAG);
    assert_int_equal(second_faults(&busy), FAULT_CPU);
    assert_int_equal(second_faults(&starved), FAULT_CPU);
    assert_int_equal(second_faults(&held_back), FAULT_CPU);
    assert_int_equal(second_faults(&idle), 0);
    assert_int_equal(second_faults(&stolen), FAULT_STEAL | FAULT_LAG);
}

static void a_tenth_may_be_bad(void **state)
{
    (void)state;
    struct bench_second seconds[20] = {0};
    char text[VERDICT_TEXT_SIZE];
    seconds[3].own_cpu = 1;
    seconds[9].lag_p99 = 5000000;
    struct verdict verdict = verdict_of(seconds, 20);
    assert_true(verdict.valid);
    assert_int_equal(verdict.bad, 2);
    assert_string_equal(verdict_text(&verdict, text), "");
    seconds[19].lag_p99 = 5000000;
    verdict = verdict_of(seconds, 20);
    assert_false(verdict.valid);
    assert_non_null(strstr(verdict_text(&verdict, text), "late in 2 of 20 seconds"));
    assert_non_null(strstr(text, "lacked processor time in 1 of 20 seconds"));
}

static void short_runs(void **state)
{
    (void)state;
    struct bench_second seconds[5] = {0};
    assert_true(verdict_of(seconds, 0).valid);
    assert_true(verdict_of(seconds, 5).valid);
    seconds[0].steal = 0.5;
    assert_false(verdict_of(seconds, 5).valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second),
        cmocka_unit_test(a_tenth_may_be_bad),
        cmocka_unit_test(short_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
