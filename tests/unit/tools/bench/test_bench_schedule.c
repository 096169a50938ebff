/* SPDX-License-Identifier: Apache-2.0
 *
 * When records fall due: the counts that each shape promises, whatever the broker does.
 */
#include "tools/millrace/bench/bench_schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define S 1000000000ULL

/* Arrivals in [from, to), of a fresh schedule. */
static uint64_t arrivals(const char *arrival, double rate, uint64_t from_ns, uint64_t to_ns)
{
    struct schedule schedule;
    assert_null(schedule_init(&schedule, arrival, rate, 1 * S, 9 * S, 1));
    uint64_t count = 0;
    uint64_t last_ns = 0;
    for (uint64_t at_ns; (at_ns = schedule_next_ns(&schedule)) < to_ns; last_ns = at_ns) {
        assert_true(at_ns >= last_ns);
        count += at_ns >= from_ns;
    }
    return count;
}

static void near(uint64_t value, double wanted, double slack)
{
    if (fabs((double)value - wanted) > slack)
        fail_msg("%llu, and %.0f is wanted", (unsigned long long)value, wanted);
}

static void constant(void **state)
{
    (void)state;
    near(arrivals("constant", 1000, 0, 10 * S), 10000, 1);
    near(arrivals("constant", 333333, 3 * S, 4 * S), 333333, 1);
    near(arrivals("constant", 0.5, 0, 20 * S), 10, 1);
    struct schedule schedule;
    assert_null(schedule_init(&schedule, "constant", 300000, 0, S, 1));
    for (uint64_t i = 1; i <= 3000000; i++) { /* ten seconds without drift */
        uint64_t at_ns = schedule_next_ns(&schedule);
        near(at_ns, (double)i * 1e9 / 300000, 2);
    }
}

/* Independent arrivals: as many as the rate says, and as scattered as chance is. */
static void poisson(void **state)
{
    (void)state;
    near(arrivals("poisson", 10000, 0, 10 * S), 100000, 4 * sqrt(100000));
    struct schedule schedule;
    assert_null(schedule_init(&schedule, "poisson", 1e6, 0, S, 7));
    double squares = 0;
    uint64_t last_ns = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t at_ns = schedule_next_ns(&schedule);
        double gap = (double)(at_ns - last_ns) / 1000; /* in means */
        squares += gap * gap;
        last_ns = at_ns;
    }
    near((uint64_t)squares, 200000, 10000); /* E[gap^2] = 2 */
}

static void burst(void **state)
{
    (void)state;
    near(arrivals("burst:100ms/900ms", 10000, 0, 10 * S), 10000, 11);
    near(arrivals("burst:100ms/900ms", 10000, 2 * S, 2 * S + S / 10), 1000, 1);
    near(arrivals("burst:100ms/900ms", 10000, 2 * S + S / 10 + 1, 3 * S), 0, 1);
}

static void step(void **state)
{
    (void)state;
    near(arrivals("step:2000,4000", 1000, 0, 1 * S), 1000, 1); /* the warm-up */
    near(arrivals("step:2000,4000", 1000, 1 * S, 4 * S), 3000, 1);
    near(arrivals("step:2000,4000", 1000, 4 * S, 7 * S), 6000, 1);
    near(arrivals("step:2000,4000", 1000, 7 * S, 10 * S), 12000, 1);
    near(arrivals("step:2000,4000", 1000, 10 * S, 11 * S), 4000, 1); /* as it ended */
}

static void ramp(void **state)
{
    (void)state;
    near(arrivals("ramp:10000", 1000, 0, 1 * S), 1000, 1);
    near(arrivals("ramp:10000", 1000, 1 * S, 10 * S), 9 * 5500, 2);
    near(arrivals("ramp:10000", 1000, 1 * S, 1 * S + 9 * S / 2), 4.5 * 3250, 2);
    near(arrivals("ramp:100", 1000, 1 * S, 10 * S), 9 * 550, 2); /* downwards */
    near(arrivals("ramp:1000", 1000, 1 * S, 10 * S), 9000, 2);   /* level */
}

static void same_seed_same_arrivals(void **state)
{
    (void)state;
    struct schedule a;
    struct schedule b;
    assert_null(schedule_init(&a, "poisson", 1000, 0, S, 5));
    assert_null(schedule_init(&b, "poisson", 1000, 0, S, 5));
    for (int i = 0; i < 1000; i++)
        assert_true(schedule_next_ns(&a) == schedule_next_ns(&b));
}

static void what_is_no_shape(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "constat",  "burst:",    "burst:5s",
                                      "burst:0/1", "step:",    "step:x",    "ramp:",
                                      "ramp:-1",   "ramp:nan", "ramp:1e999"};
    struct schedule schedule;
    for (size_t i = 0; i < array_count(bad); i++)
        assert_non_null(schedule_init(&schedule, bad[i], 1, 0, S, 1));
}

static void numbers(void **state)
{
    (void)state;
    double rate;
    uint64_t ns;
    int64_t bytes;
    assert_true(rate_parse("20k", 3, &rate) && fabs(rate - 20000) < 1e-9);
    assert_true(rate_parse("1.5M/s", 6, &rate) && fabs(rate - 1.5e6) < 1e-9);
    assert_false(rate_parse("0", 1, &rate));
    assert_false(rate_parse("-5", 2, &rate));
    assert_false(rate_parse("5q", 2, &rate));
    assert_true(duration_parse("500ms", 5, &ns) && ns == S / 2);
    assert_true(duration_parse("2m", 2, &ns) && ns == 120 * S);
    assert_true(duration_parse("3", 1, &ns) && ns == 3 * S);
    assert_false(duration_parse("", 0, &ns));
    assert_false(duration_parse("inf", 3, &ns));
    assert_true(size_parse("1k", &bytes) && bytes == 1024);
    assert_true(size_parse("1MiB", &bytes) && bytes == 1048576);
    assert_false(size_parse("1x", &bytes));
}

static void rates_are(const char *text, const double *wanted, uint32_t count)
{
    struct rates rates;
    const char *wrong = rates_parse(&rates, text);
    if (wrong)
        fail_msg("%s: %s", text, wrong);
    assert_int_equal(rates.count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_float_equal(rates.rates[i], wanted[i], 1e-9);
}
#define RATES_ARE(text, ...)                                                                       \
    rates_are((text), (const double[]){__VA_ARGS__},                                               \
              sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void ranges(void **state)
{
    (void)state;
    RATES_ARE("1k..8k:x2", 1000, 2000, 4000, 8000);
    RATES_ARE("1k..9k:x2", 1000, 2000, 4000, 8000, 9000); /* the last one is what was asked for */
    RATES_ARE("10k..20k:x1.3", 10000, 13000, 16900, 20000);
    RATES_ARE("1000..2k/s:+500", 1000, 1500, 2000);
    RATES_ARE("0.5..2:x2", 0.5, 1, 2);
    RATES_ARE("100..200:+60", 100, 160, 200);
    RATES_ARE("5k,7k,0.01M", 5000, 7000, 10000);
    RATES_ARE("20k", 20000);
    struct rates rates;
    assert_null(rates_parse(&rates, "1k..1M:x1.1"));
    assert_true(rates.by_factor && rates.rates[rates.count - 1] >= 1e6);
    assert_null(rates_parse(&rates, "1k..2k:+100"));
    assert_true(!rates.by_factor && rates.count == 11);
    for (uint32_t i = 1; i < rates.count; i++)
        assert_true(rates.rates[i] > rates.rates[i - 1]);
}

static void what_is_no_range(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "x",           ",",           "1k,",           "1k,,2k",     "2k,1k",
        "1k,1k",      "1k..",        "..2k:x2",     "1k..2k",        "1k..2k:",    "1k..2k:x",
        "1k..2k:2",   "1k..2k:x1",   "1k..2k:x0.5", "1k..2k:x1.001", "1k..2k:+0",  "1k..2k:+-5",
        "2k..1k:x2",  "2k..2k:x2",   "1k..2k:x2:3", "0..2k:x2",      "1..1000:+1", "1k..2k,3k:x2",
        "1k..2k:x2x", "1k...2k..:x2"};
    struct rates rates;
    for (size_t i = 0; i < array_count(bad); i++)
        if (!rates_parse(&rates, bad[i]))
            fail_msg("'%s' is taken for rates", bad[i]);
}

/* Another rate from a moment on, early or late: whatever it was before. */
static void changed(void **state)
{
    (void)state;
    struct schedule schedule;
    assert_null(schedule_init(&schedule, "constant", 1000, 0, 10 * S, 1));
    for (int i = 0; i < 500; i++)
        (void)schedule_next_ns(&schedule);
    schedule_change(&schedule, 2 * S, 100); /* a second and a half are left out */
    assert_int_equal(schedule_next_ns(&schedule), 2 * S + S / 100);
    assert_int_equal(schedule_next_ns(&schedule), 2 * S + 2 * S / 100);
    schedule_change(&schedule, 2 * S + S / 40, 1000);
    assert_int_equal(schedule_next_ns(&schedule), 2 * S + S / 40 + S / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant),
        cmocka_unit_test(poisson),
        cmocka_unit_test(burst),
        cmocka_unit_test(step),
        cmocka_unit_test(ramp),
        cmocka_unit_test(changed),
        cmocka_unit_test(same_seed_same_arrivals),
        cmocka_unit_test(what_is_no_shape),
        cmocka_unit_test(numbers),
        cmocka_unit_test(ranges),
        cmocka_unit_test(what_is_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
