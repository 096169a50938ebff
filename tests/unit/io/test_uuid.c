/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_text(void **state)
{
    (void)state;
    char text[UUID_TEXT_LEN + 1];
    struct uuid zero = {{0}}, one = {{0}}, uuid;
    uuid_text(&zero, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_true(uuid_is_zero(&zero));
    /* Kafka's id of its metadata topic. */
    one.bytes[15] = 1;
    uuid_text(&one, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAQ");
    /* A cluster id, which is the base64 of a sentence. */
    assert_true(uuid_of_text(&uuid, "MkU3OEVBNTcwNTJENDM2Qg", UUID_TEXT_LEN));
    assert_memory_equal(uuid.bytes, "2E78EA57052D436B", 16);
    assert_false(uuid_is_zero(&uuid));
    assert_false(uuid_equal(&uuid, &one));
}

static void test_bad_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "AAAAAAAAAAAAAAAAAAAAA",   /* short */
        "AAAAAAAAAAAAAAAAAAAAAAA", /* long */
        "AAAAAAAAAAAAAAAAAAAAAB",  /* bits below the last byte */
        "AAAAAAAAAA+AAAAAAAAAAA",  /* the other alphabet */
        "AAAAAAAAAA AAAAAAAAAAA",
    };
    struct uuid uuid;
    for (size_t i = 0; i < array_count(bad); i++)
        assert_false(uuid_of_text(&uuid, bad[i], strlen(bad[i])));
    static const char with_zero[] = "AAAAAAAAAA\0AAAAAAAAAAA";
    assert_false(uuid_of_text(&uuid, with_zero, UUID_TEXT_LEN));
}

static void test_random(void **state)
{
    (void)state;
    uint64_t bits = 1;
    for (int i = 0; i < 10000; i++) {
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        struct uuid uuid = uuid_of_random(bits, ~bits), back;
        assert_int_equal(uuid.bytes[6] >> 4, 4);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        char text[UUID_TEXT_LEN + 1];
        uuid_text(&uuid, text);
        assert_true(text[0] != '-');
        assert_true(uuid_of_text(&back, text, strlen(text)));
        assert_true(uuid_equal(&uuid, &back));
    }
    struct uuid zeros = uuid_of_random(0, 0);
    assert_false(uuid_is_zero(&zeros));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
