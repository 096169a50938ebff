/* SPDX-License-Identifier: Apache-2.0
 *
 * The search for the knee, against brokers that are made up: where they bend is known.
 */
#include "tools/millrace/bench/bench_sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define RUNS_MAX 128U

/* Holds below `bends`, and the generator keeps up below `tires`; 0: always. */
struct fake {
    double bends, tires;
    uint32_t fluke; /* this run misses all the same, and this one alone; from 1 */
    uint32_t ends;  /* this run is interrupted */
    double tried[RUNS_MAX];
    uint32_t count;
};

static enum sweep_outcome fake_run(void *argument, double rate)
{
    struct fake *fake = argument;
    assert_true(fake->count < RUNS_MAX);
    fake->tried[fake->count++] = rate;
    if (fake->count == fake->ends)
        return SWEEP_ENDED;
    if (fake->count == fake->fluke)
        return SWEEP_MISSED;
    if (fake->tires > 0 && rate >= fake->tires)
        return SWEEP_INVALID;
    return fake->bends > 0 && rate >= fake->bends ? SWEEP_MISSED : SWEEP_HELD;
}

static struct knee search(struct fake *fake, const struct rates *rates, int64_t refine, bool all)
{
    const struct sweep_plan plan = {.rates = rates, .refine = refine, .all = all};
    return sweep_search(&plan, fake_run, fake);
}

static const struct rates doubling = {
    .rates = {100, 200, 400, 800, 1600, 3200}, .count = 6, .by_factor = true};
static const struct rates list = {.rates = {100, 200, 400, 800}, .count = 4};

static void tried(const struct fake *fake, const double *wanted, uint32_t count)
{
    assert_int_equal(fake->count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_float_equal(fake->tried[i], wanted[i], 1e-9);
}
#define TRIED(fake, ...)                                                                           \
    tried((fake), (const double[]){__VA_ARGS__},                                                   \
          sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void a_knee(void **state)
{
    (void)state;
    struct fake fake = {.bends = 500};
    struct knee knee = search(&fake, &doubling, 3, false);
    /* 566 = sqrt(400 * 800), 476 = sqrt(400 * 566), 519 = sqrt(476 * 566) */
    TRIED(&fake, 100, 200, 400, 800, 800, 566, 566, 476, 519, 519);
    assert_float_equal(knee.held, 476, 1e-9);
    assert_float_equal(knee.missed, 519, 1e-9);
    assert_true(knee.invalid <= 0 && !knee.ended);
    for (int bends = 101; bends < 3200; bends += 37) { /* and for any other */
        fake = (struct fake){.bends = bends};
        knee = search(&fake, &doubling, 12, false);
        assert_true(knee.held < bends && knee.missed >= bends && knee.missed - knee.held < 2);
    }
}

static void halves_are_those_of_the_rates(void **state)
{
    (void)state;
    struct fake fake = {.bends = 500};
    struct knee knee = search(&fake, &list, 1, false);
    TRIED(&fake, 100, 200, 400, 800, 800, 600, 600);
    assert_float_equal(knee.missed, 600, 1e-9);
    fake = (struct fake){.bends = 500};
    knee = search(&fake, &list, 0, false);
    TRIED(&fake, 100, 200, 400, 800, 800);
    assert_float_equal(knee.held, 400, 1e-9);
    const struct rates close = {.rates = {100, 101}, .count = 2};
    fake = (struct fake){.bends = 101};
    (void)search(&fake, &close, 9, false); /* there is nothing between */
    TRIED(&fake, 100, 101, 101);
}

static void a_fluke_ends_nothing(void **state)
{
    (void)state;
    struct fake fake = {.bends = 500, .fluke = 2};
    const struct knee knee = search(&fake, &list, 0, false);
    TRIED(&fake, 100, 200, 200, 400, 800, 800);
    assert_float_equal(knee.held, 400, 1e-9);
}

static void all_or_none_hold(void **state)
{
    (void)state;
    struct fake fake = {0};
    struct knee knee = search(&fake, &list, 3, false);
    TRIED(&fake, 100, 200, 400, 800);
    assert_true(knee.held >= 800 && knee.missed <= 0 && knee.invalid <= 0);
    fake = (struct fake){.bends = 1};
    knee = search(&fake, &list, 3, false);
    TRIED(&fake, 100, 100);
    assert_true(knee.held <= 0 && knee.missed >= 100);
}

static void a_tired_generator(void **state)
{
    (void)state;
    struct fake fake = {.bends = 1000, .tires = 300};
    struct knee knee = search(&fake, &list, 3, false);
    TRIED(&fake, 100, 200, 400, 400);
    assert_true(knee.held >= 200 && knee.held < 201 && knee.missed <= 0 && knee.invalid >= 400);
    assert_false(knee.ended);
}

static enum sweep_outcome by_rate(void *argument, double rate)
{
    struct fake *fake = argument;
    fake->tried[fake->count++] = rate;
    return rate < 150 || rate > 700 ? SWEEP_HELD : rate < 300 ? SWEEP_INVALID : SWEEP_MISSED;
}

static void tired_while_the_gap_is_halved(void **state)
{
    (void)state;
    struct fake fake = {0};
    const struct rates wide = {.rates = {100, 400}, .count = 2};
    const struct sweep_plan plan = {.rates = &wide, .refine = 3};
    const struct knee knee = sweep_search(&plan, by_rate, &fake);
    TRIED(&fake, 100, 400, 400, 250, 250);
    assert_true(knee.held < 101 && knee.invalid >= 250 && knee.missed >= 400);
}

/* What the generator could not do does not end the search, and what holds above the first miss does
 * not raise the knee. */
static void all(void **state)
{
    (void)state;
    struct fake fake = {.bends = 300};
    struct knee knee = search(&fake, &list, 1, true);
    TRIED(&fake, 100, 200, 400, 400, 800, 300, 300);
    assert_true(knee.held >= 200 && knee.held < 201 && knee.missed >= 300 && knee.missed < 301);
    fake = (struct fake){0};
    const struct sweep_plan plan = {.rates = &list, .refine = 3, .all = true};
    knee = sweep_search(&plan, by_rate, &fake);
    TRIED(&fake, 100, 200, 200, 400, 400, 800);
    assert_true(knee.held < 101 && knee.invalid >= 200 && knee.missed >= 400 && knee.missed < 401);
    const struct rates above = {.rates = {200, 800}, .count = 2}; /* what held is above it */
    const struct sweep_plan higher = {.rates = &above, .refine = 3, .all = true};
    fake = (struct fake){0};
    knee = sweep_search(&higher, by_rate, &fake);
    TRIED(&fake, 200, 200, 800);
    assert_true(knee.held >= 800 && knee.invalid <= 0 && knee.missed <= 0);
}

static void interrupted(void **state)
{
    (void)state;
    struct fake fake = {.bends = 500, .ends = 3};
    struct knee knee = search(&fake, &list, 3, true);
    TRIED(&fake, 100, 200, 400);
    assert_true(knee.ended && knee.held >= 200 && knee.held < 201);
    fake = (struct fake){.bends = 500, .ends = 6}; /* while the gap is halved */
    knee = search(&fake, &list, 3, false);
    TRIED(&fake, 100, 200, 400, 800, 800, 600);
    assert_true(knee.ended && knee.held >= 400 && knee.held < 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_knee),
        cmocka_unit_test(halves_are_those_of_the_rates),
        cmocka_unit_test(a_fluke_ends_nothing),
        cmocka_unit_test(all_or_none_hold),
        cmocka_unit_test(a_tired_generator),
        cmocka_unit_test(tired_while_the_gap_is_halved),
        cmocka_unit_test(all),
        cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
