/* SPDX-License-Identifier: Apache-2.0
 *
 * What bench verify counts, on partitions whose fate is known.
 */
#include "tools/millrace/bench/bench_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void see(struct checks *checks, uint32_t lane, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_true(checks_seen(checks, lane, first + i, 100000));
}

static void all_is_well(void **state)
{
    (void)state;
    struct checks checks;
    checks_init(&checks, 3);
    for (uint32_t lane = 0; lane < 3; lane++) {
        see(&checks, lane, 0, 10000); /* a record may be read before its acknowledgement comes */
        checks_acked(&checks, lane, 0, 10000);
    }
    struct checks_sum sum = checks_sum_all(&checks);
    assert_true(checks_good(&checks, &sum));
    assert_int_equal(sum.acked, 30000);
    assert_int_equal(sum.seen, 30000);
    assert_int_equal(sum.gaps + sum.surplus, 0);
    checks_fini(&checks);
}

static void each_fault_is_counted(void **state)
{
    (void)state;
    struct checks checks;
    checks_init(&checks, 1);
    checks_acked(&checks, 0, 0, 20);
    see(&checks, 0, 0, 5);
    see(&checks, 0, 7, 3);  /* 5 and 6 are missing, for now */
    see(&checks, 0, 3, 2);  /* twice */
    see(&checks, 0, 6, 1);  /* late */
    see(&checks, 0, 12, 4); /* 10 and 11 are missing, and 16 to 19 at the end */
    struct checks_sum sum = checks_sum_of(&checks, 0);
    assert_int_equal(sum.lost, 7);
    assert_int_equal(sum.duplicates, 2);
    assert_int_equal(sum.reordered, 1);
    assert_int_equal(sum.gaps, 2);
    assert_int_equal(sum.surplus, 0);
    assert_false(checks_good(&checks, &sum));
    checks_fini(&checks);
}

/* A request that was not answered may have been written or not: neither is a fault. */
static void no_answer_no_promise(void **state)
{
    (void)state;
    struct checks checks;
    checks_init(&checks, 1);
    checks_acked(&checks, 0, 0, 10);
    checks_acked(&checks, 0, 30, 10);
    see(&checks, 0, 0, 20);
    see(&checks, 0, 30, 10);
    struct checks_sum sum = checks_sum_of(&checks, 0);
    assert_true(checks_good(&checks, &sum));
    assert_int_equal(sum.surplus, 10);
    assert_int_equal(sum.gaps, 1);
    checks_fini(&checks);
}

static void what_was_never_sent(void **state)
{
    (void)state;
    struct checks checks;
    checks_init(&checks, 1);
    assert_false(checks_seen(&checks, 0, 10, 10));
    assert_false(checks_seen(&checks, 0, UINT64_MAX, 10));
    assert_int_equal(checks.foreign, 2);
    checks.corrupt = 1;
    struct checks_sum sum = checks_sum_of(&checks, 0);
    assert_false(checks_good(&checks, &sum));
    checks_fini(&checks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(each_fault_is_counted),
        cmocka_unit_test(no_answer_no_promise),
        cmocka_unit_test(what_was_never_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
