/* SPDX-License-Identifier: Apache-2.0 */
#include "net/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_INVALID_RECORD), "INVALID_RECORD");
    assert_int_equal(ERR_INVALID_RECORD, 87);
    assert_int_equal(ERR_UNKNOWN_SERVER_ERROR, -1);
    assert_true(err_retriable(ERR_CORRUPT_MESSAGE));
    assert_false(err_retriable(ERR_INVALID_RECORD));
    assert_string_equal(err_name(4711), "UNKNOWN_ERROR_CODE");
    assert_false(err_retriable(4711));
    /* Without gaps, from -1 to 133, each with a sentence. */
    for (int code = -1; code <= 133; code++) {
        assert_string_not_equal(err_name(code), "UNKNOWN_ERROR_CODE");
        assert_true(strlen(err_sentence(code)) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
