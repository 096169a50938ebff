/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/time_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS 1769860800000LL /* 2026-01-31T12:00:00Z */

static void is(const char *text, int64_t want_ms)
{
    int64_t ms = -1;
    assert_true(time_text_parse(text, strlen(text), NOW_MS, &ms));
    assert_int_equal(ms, want_ms);
}

static void is_none(const char *text)
{
    int64_t ms;
    assert_false(time_text_parse(text, strlen(text), NOW_MS, &ms));
}

static void test_times(void **state)
{
    (void)state;
    is("2026-01-31T12:00:00", NOW_MS);
    is("2026-01-31T12:00", NOW_MS);
    is("2026-01-31", NOW_MS - 12 * 3600000);
    is("2026-01-31T12:00:00Z", NOW_MS);
    is("2026-01-31T12:00:00.250", NOW_MS + 250);
    is("2026-01-31T12:00:00.5Z", NOW_MS + 500);
    is("2026-01-31T13:00:00.000+01:00", NOW_MS);
    is("2026-01-31T07:30:00-0430", NOW_MS);
    is("1769860800000", NOW_MS);
    is("0", 0);
    is("-90s", NOW_MS - 90000);
    is("-2h", NOW_MS - 7200000);
    is("-1d", NOW_MS - 86400000);
    static const char *const none[] = {"",    "yesterday", "2026-13-01",           "-2",
                                       "-2w", "-h",        "2026-01-31T12:00:00X", "12:00",
                                       "1.5", "--2h",      "2026-01-31T12:00:00+x"};
    for (size_t i = 0; i < array_count(none); i++)
        is_none(none[i]);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } table[] = {
        {"P1D", 86400000}, {"PT1H", 3600000}, {"P1DT2H3M4S", 93784000},
        {"PT1.5S", 1500},  {"90s", 90000},    {"5m", 300000},
        {"P", -1},         {"PT", -1},        {"P1H", -1},
        {"PT1D", -1},      {"PT1S2M", -1},    {"PT1.5H", -1},
        {"P-1D", -1},      {"-5m", -1},       {"5", -1},
        {"PT1H1H", -1},    {"P1DT", -1},      {"PT99999999999S", -1},
    };
    for (size_t i = 0; i < array_count(table); i++) {
        int64_t ms = -1;
        bool good = time_text_duration(table[i].text, &ms);
        assert_int_equal(good, table[i].ms >= 0);
        if (good)
            assert_int_equal(ms, table[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
