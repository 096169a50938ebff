/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens that are equal, and files that are none. The command line around them is the test's own.
 */
#include "tools/millrace/bench/bench_token.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/millrace-token-XXXXXX";
static const char *given = path;

const char *option_text(const struct invocation *inv, const char *name)
{
    (void)inv;
    assert_string_equal(name, "token-file");
    return given;
}

void complain(const struct invocation *inv, const char *format, ...)
{
    (void)inv;
    (void)format;
}

int usage_error(const struct invocation *inv, const char *format, ...)
{
    (void)inv;
    (void)format;
    return EXIT_USAGE;
}

static int read_of(const char *text, mode_t mode, struct token *token)
{
    assert_int_equal(chmod(path, 0600), 0);
    int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(file, mode), 0);
    assert_int_equal(close(file), 0);
    return token_read(token, NULL);
}

#define SECRET "0123456789abcdef"

static void files(void **state)
{
    (void)state;
    struct token token;
    char longest[TOKEN_LEN_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[TOKEN_LEN_MAX] = 0;
    assert_int_equal(read_of(SECRET "\n", 0600, &token), EXIT_OK);
    assert_string_equal(token.text, SECRET);
    assert_int_equal(read_of(SECRET, 0400, &token), EXIT_OK);
    assert_int_equal(read_of(longest, 0600, &token), EXIT_OK);
    assert_string_equal(token.text, longest);
    longest[TOKEN_LEN_MAX] = 'x';
    longest[TOKEN_LEN_MAX + 1] = 0;
    assert_int_equal(read_of(longest, 0600, &token), EXIT_FAILED);
    assert_int_equal(read_of(SECRET "\n", 0640, &token), EXIT_FAILED);
    assert_int_equal(read_of(SECRET "\n", 0604, &token), EXIT_FAILED);
    assert_int_equal(read_of("0123456789abcde\n", 0600, &token), EXIT_FAILED);
    assert_int_equal(read_of("", 0600, &token), EXIT_FAILED);
    assert_int_equal(read_of("01234567 89abcdef\n", 0600, &token), EXIT_FAILED);
    given = "/";
    assert_int_equal(token_read(&token, NULL), EXIT_FAILED);
    given = "/nowhere/token";
    assert_int_equal(token_read(&token, NULL), EXIT_FAILED);
    given = NULL;
    assert_int_equal(token_read(&token, NULL), EXIT_USAGE);
    given = path;
}

static void equal(void **state)
{
    (void)state;
    struct token token;
    char text[TOKEN_LEN_MAX + 100];
    assert_int_equal(read_of(SECRET "\n", 0600, &token), EXIT_OK);
    assert_true(token_equal(&token, SECRET));
    assert_false(token_equal(&token, NULL));
    assert_false(token_equal(&token, ""));
    assert_false(token_equal(&token, SECRET "0"));
    assert_false(token_equal(&token, "0123456789abcde"));
    assert_false(token_equal(&token, "1123456789abcdef"));
    assert_false(token_equal(&token, "0123456789abcdeg"));
    memset(token.text, 'x', TOKEN_LEN_MAX);
    memset(text, 'x', sizeof(text));
    text[TOKEN_LEN_MAX] = 0;
    assert_true(token_equal(&token, text));
    text[TOKEN_LEN_MAX] = 'x';
    text[TOKEN_LEN_MAX + 99] = 0;
    assert_false(token_equal(&token, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(equal),
    };
    int file = mkstemp(path);
    if (file < 0 || close(file) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
