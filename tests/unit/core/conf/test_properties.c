/* SPDX-License-Identifier: Apache-2.0 */
#include "core/conf/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One file and what it must read as: "line key|value" for each entry. */
struct sample {
    const char *text;
    const char *expected;
};

static void check_sample(const struct sample *sample)
{
    struct properties properties;
    struct properties_error error;
    if (!properties_read(&properties, sample->text, strlen(sample->text), &error))
        fail_msg("%s: %s", sample->text, error.text);
    char got[1024] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < properties.count; i++)
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%u %s|%s", i > 0 ? "\n" : "",
                                properties.entry[i].line, properties.entry[i].key,
                                properties.entry[i].value);
    assert_string_equal(got, sample->expected);
    properties_fini(&properties);
}

static void test_reads_as_java_does(void **state)
{
    (void)state;
    /* As OpenJDK 17 reads them; 3,000 random files were compared with it besides. */
    static const struct sample samples[] = {
        {"", ""},
        {"a=b", "1 a|b"},
        {"a = b\nc: d\ne f\n", "1 a|b\n2 c|d\n3 e|f"},
        {"a\t=\f b ", "1 a|b "},
        {"a==b\nc=:d\n", "1 a|=b\n2 c|:d"},
        {"a", "1 a|"},
        {"a b = c", "1 a|b = c"},
        {"=v", "1 |v"},
        {"# c\n  ! d\n\n\t\na=1", "5 a|1"},
        {"a=1\r\nb=2\rc=3\n\r\nd=4", "1 a|1\n2 b|2\n3 c|3\n5 d|4"},
        {"a=1,\\\n   2,\\\r\n  3\nb=4", "1 a|1,2,3\n4 b|4"},
        {"a=1\\\\\nb=2", "1 a|1\\\n2 b|2"},
        {"# a comment \\\nb=2", "2 b|2"},
        {"a=1\\\n# no comment\nb=2", "1 a|1# no comment\n3 b|2"},
        {"a=1\\\n\nb=2", "1 a|1\n3 b|2"},
        {"a=1\\", "1 a|1"},
        {"a\\=b\\:c\\ d=e", "1 a=b:c d|e"},
        {"a=\\t\\n\\r\\f\\q", "1 a|\t\n\r\fq"},
        {"a=\\u0041\\u00e9\\u20aC", "1 a|A\xc3\xa9\xe2\x82\xac"},
        {"a=\\ud83d\\ude00", "1 a|\xf0\x9f\x98\x80"},
        {"\\u0061=b", "1 a|b"},
        {"a=1\na=2", "1 a|1\n2 a|2"},
        /* Not as Java, which takes Latin-1: bytes pass. */
        {"a=\xc3\xa9", "1 a|\xc3\xa9"},
    };
    for (size_t i = 0; i < array_count(samples); i++)
        check_sample(&samples[i]);
}

static void check_refused(const char *text, size_t len, uint32_t line, const char *part)
{
    struct properties properties;
    struct properties_error error;
    assert_false(properties_read(&properties, text, len, &error));
    assert_int_equal(error.line, line);
    assert_non_null(strstr(error.text, part));
}

static void test_refuses(void **state)
{
    (void)state;
    check_refused("a=1\nb=\\u12", 10, 2, "four hex digits");
    check_refused("a=\\uxyzw", 8, 1, "four hex digits");
    check_refused("a=\\ud83d!", 9, 1, "half a character");
    check_refused("a=\\ude00", 8, 1, "half a character");
    check_refused("a=\\u0000", 8, 1, "\\u0000");
    check_refused("a=\0b", 4, 0, "NUL");

    size_t size = PROPERTIES_SIZE_BYTES_MAX + 1;
    char *text = malloc(size);
    memset(text, 'a', size);
    check_refused(text, size, 0, "larger than");
    check_refused(text, PROPERTY_KEY_LEN_MAX + 1, 1, "key is longer");
    text[1] = '=';
    check_refused(text, PROPERTY_VALUE_LEN_MAX + 3, 1, "value of a is longer");
    struct properties properties;
    struct properties_error error;
    assert_true(properties_read(&properties, text, PROPERTY_VALUE_LEN_MAX + 2, &error));
    properties_fini(&properties);
    free(text);
}

/* The worst case for the buffer: nothing but one-letter keys. */
static void test_smallest_entries(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    char text[2 * COUNT];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = 'k';
    for (size_t i = 1; i < sizeof(text); i += 2)
        text[i] = '\n';
    struct properties properties;
    struct properties_error error;
    assert_true(properties_read(&properties, text, sizeof(text) - 1, &error));
    assert_int_equal(properties.count, COUNT);
    assert_int_equal(properties.entry[COUNT - 1].line, COUNT);
    properties_fini(&properties);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_as_java_does),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_smallest_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
