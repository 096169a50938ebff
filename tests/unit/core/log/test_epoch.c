/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/epoch.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect_end(const struct epoch_history *history, int32_t asked, int32_t epoch,
                       int64_t offset)
{
    int32_t found;
    int64_t end;
    bool known = epoch_end(history, asked, 100, &found, &end);
    assert_int_equal(known, epoch >= 0);
    assert_int_equal(found, epoch);
    assert_int_equal(end, offset);
}

static struct epoch_history three(void)
{
    struct epoch_history history = {0};
    epoch_assign(&history, 2, 10);
    epoch_assign(&history, 4, 30);
    epoch_assign(&history, 7, 60);
    return history;
}

/* L5, each of its cases. */
static void end_offset_for_epoch(void **state)
{
    (void)state;
    struct epoch_history history = three();
    expect_end(&history, 7, 7, 100);
    expect_end(&history, 4, 4, 60);
    expect_end(&history, 5, 4, 60);
    expect_end(&history, 2, 2, 30);
    expect_end(&history, 0, 0, 10);
    expect_end(&history, 8, -1, -1);
    expect_end(&history, -1, -1, -1);
    epoch_fini(&history);
    expect_end(&history, 0, -1, -1);
}

static void old_epoch_changes_nothing(void **state)
{
    (void)state;
    struct epoch_history history = three();
    epoch_assign(&history, 7, 80);
    epoch_assign(&history, 3, 90);
    assert_int_equal(history.count, 3);
    assert_int_equal(epoch_latest(&history), 7);
    epoch_fini(&history);
}

static void epoch_without_records_is_replaced(void **state)
{
    (void)state;
    struct epoch_history history = three();
    epoch_assign(&history, 9, 60);
    assert_int_equal(history.count, 3);
    expect_end(&history, 7, 4, 60);
    expect_end(&history, 9, 9, 100);
    epoch_fini(&history);
}

static void truncation(void **state)
{
    (void)state;
    struct epoch_history history = three();
    epoch_truncate_end(&history, 60);
    assert_int_equal(epoch_latest(&history), 4);
    epoch_truncate_start(&history, 35);
    assert_int_equal(history.count, 1);
    assert_int_equal(history.entries[0].start_offset, 35);
    epoch_fini(&history);
}

/* Which epochs may a batch there have? */
static void batches_are_of_their_epoch(void **state)
{
    (void)state;
    struct epoch_history history = three();
    const struct epoch_history none = {0};
    int32_t least;
    int32_t most;
    assert_true(epoch_holds(&history, 10, 2) && epoch_holds(&history, 29, 2));
    assert_true(epoch_holds(&history, 30, 4) && epoch_holds(&history, 1000, 7));
    assert_false(epoch_holds(&history, 29, 4) || epoch_holds(&history, 30, 2));
    assert_false(epoch_holds(&history, 29, 3) || epoch_holds(&history, 60, 8));
    assert_true(epoch_holds(&history, 9, 2) && epoch_holds(&history, 9, 0));
    assert_false(epoch_holds(&history, 9, 3));
    assert_true(epoch_holds(&none, 9, 3));
    epoch_bounds(&history, 20, 60, &least, &most);
    assert_true(least == 2 && most == 4);
    epoch_bounds(&history, 20, 61, &least, &most);
    assert_true(least == 2 && most == 7);
    epoch_fini(&history);
}

static void survives_encoding(void **state)
{
    (void)state;
    struct epoch_history history = three();
    uint8_t bytes[64];
    struct bytes_out out = bytes_out_of(bytes, sizeof(bytes));
    epoch_encode(&history, &out);
    assert_int_equal(out.at - bytes, epoch_encoded_size(&history));
    struct epoch_history copy = {0};
    struct bytes_in in = bytes_in_of(bytes, (size_t)(out.at - bytes));
    assert_true(epoch_decode(&copy, &in));
    assert_int_equal(copy.count, 3);
    expect_end(&copy, 7, 7, 100);
    expect_end(&copy, 4, 4, 60);
    expect_end(&copy, 0, 0, 10);
    epoch_fini(&copy);

    /* A count that the bytes cannot hold is refused before anything is allocated. */
    bytes[3] = 0x7f;
    in = bytes_in_of(bytes, sizeof(bytes));
    assert_false(epoch_decode(&copy, &in));
    epoch_fini(&copy);
    epoch_fini(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(end_offset_for_epoch),
        cmocka_unit_test(old_epoch_changes_nothing),
        cmocka_unit_test(epoch_without_records_is_replaced),
        cmocka_unit_test(truncation),
        cmocka_unit_test(batches_are_of_their_epoch),
        cmocka_unit_test(survives_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
