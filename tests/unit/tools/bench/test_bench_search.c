/* SPDX-License-Identifier: Apache-2.0
 *
 * The search for the highest rate, with brokers and consumers that follow up to a rate of their
 * own.
 */
#include "io/base.h"
#include "tools/millrace/bench/bench_search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static double least(double a, double b)
{
    return a < b ? a : b;
}

#define PERIODS 80
#define JUDGED  20 /* of them, the last ones */

/* The mean rate of those that are judged. */
static double found(double broker_rate, double consumer_rate)
{
    struct search search;
    double unread = 0;
    double sum = 0;
    search_begin(&search);
    assert_true(search.rate == SEARCH_BEGIN);
    for (int i = 0; i < PERIODS; i++) {
        struct search_period period = {.seconds = 3};
        period.acked = 3 * least(search.rate, broker_rate);
        period.read = least(unread + period.acked, 3 * consumer_rate);
        unread += period.acked - period.read;
        period.unread = unread;
        if (i >= PERIODS - JUDGED)
            sum += least(search.rate, broker_rate);
        const double next = search_next(&search, &period);
        assert_true(next == search.rate && next >= 1);
    }
    return sum / JUDGED;
}

static const double rates[] = {5000, 13500, 36450, 98415, 265720, 717445, 1937102};

static void the_broker_is_the_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(rates); i++) {
        const double rate = rates[i];
        const double told = found(rate, 1e9);
        assert_true(told > 0.85 * rate && told <= rate);
    }
}

static void the_consumers_are_the_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(rates); i++) {
        const double rate = rates[i];
        const double told = found(1e9, rate);
        assert_true(told > 0.85 * rate && told < 1.1 * rate);
    }
}

static void it_rises_while_nothing_is_behind(void **state)
{
    (void)state;
    struct search search;
    search_begin(&search);
    const struct search_period good = {.seconds = 3, .acked = 30000, .read = 30000};
    assert_true(search_next(&search, &good) == 20000);
    const struct search_period late = {.seconds = 3, .acked = 45000, .read = 45000};
    assert_true(search_next(&search, &late) == 15000); /* of 60,000, 15,000 are missing */
    const struct search_period again = {.seconds = 3, .acked = 45000, .read = 45000};
    assert_true(search_next(&search, &again) == 30000); /* the step was halved, and is doubled */
    const struct search_period unread = {
        .seconds = 3, .acked = 90000, .read = 60000, .unread = 30000};
    assert_true(search_next(&search, &unread) == 20000);
    const struct search_period stall = {.seconds = 3, .unread = 1e6};
    assert_true(search_next(&search, &stall) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_broker_is_the_limit),
        cmocka_unit_test(the_consumers_are_the_limit),
        cmocka_unit_test(it_rises_while_nothing_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
