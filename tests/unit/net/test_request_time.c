/* SPDX-License-Identifier: Apache-2.0 */
#include "net/request_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ARRIVED 1000000U

/* Each instant belongs to one step, whatever order the events come in. */
static void test_each_instant_once(void **state)
{
    (void)state;
    struct request_time time = {.until_ns = ARRIVED};
    request_time_pass(&time, STEP_QUEUE, ARRIVED + 10);
    request_time_pass(&time, STEP_WORK, ARRIVED + 30);
    request_time_pass(&time, STEP_WORK, ARRIVED + 5); /* a clock that is behind */
    request_time_pass(&time, STEP_JOURNAL, ARRIVED + 230);
    request_time_pass(&time, STEP_REPLICATION, 0); /* nobody waited for it */
    request_time_pass(&time, STEP_JOURNAL, ARRIVED + 200);
    request_time_pass(&time, STEP_SEND, ARRIVED + 240);
    assert_int_equal(time.step_ns[STEP_QUEUE], 10);
    assert_int_equal(time.step_ns[STEP_WORK], 20);
    assert_int_equal(time.step_ns[STEP_JOURNAL], 200);
    assert_int_equal(time.step_ns[STEP_REPLICATION], 0);
    assert_int_equal(time.step_ns[STEP_SEND], 10);
    assert_int_equal(time.until_ns, ARRIVED + 240);
}

/* The steps of all requests add up to their totals, and each step knows of all requests. */
static void test_sums(void **state)
{
    (void)state;
    struct request_times times = {0};
    for (uint64_t i = 0; i < 100; i++) {
        struct request_time time = {.until_ns = ARRIVED};
        request_time_pass(&time, STEP_WORK, ARRIVED + 500 * i);
        request_time_pass(&time, i % 4 ? STEP_JOURNAL : STEP_PARK, ARRIVED + 700 * i);
        request_times_add(&times, &time, ARRIVED);
    }
    struct durations sum[REQUEST_STEP_COUNT] = {0};
    uint64_t sum_ns = 0;
    for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
        request_times_merge(&times, (enum request_step)i, &sum[i]);
        assert_int_equal(sum[i].count, 100);
        sum_ns += sum[i].sum_ns;
    }
    assert_int_equal(times.total.count, 100);
    assert_int_equal(times.total.sum_ns, sum_ns);
    assert_int_equal(times.total.sum_ns, 700 * 4950);
    assert_int_equal(sum[STEP_THROTTLE].buckets[0], 100);
    assert_true(sum[STEP_JOURNAL].buckets[0] >= 25 && sum[STEP_JOURNAL].buckets[0] < 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_instant_once),
        cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
