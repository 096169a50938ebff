/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages over a pipe, whole and in pieces, and what is none.
 */
#include "tools/millrace/bench/bench_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_MAX_BYTES 100U
#define SOON           (message_clock_ns() + 10 * NS_PER_S)

struct pair {
    struct message_reader reader;
    int to;
};

static struct pair pair_new(void)
{
    int files[2];
    struct pair pair;
    assert_int_equal(pipe(files), 0);
    message_reader_init(&pair.reader, files[0], LINE_MAX_BYTES);
    pair.to = files[1];
    return pair;
}

static void pair_close(struct pair *pair)
{
    if (pair->to >= 0)
        assert_int_equal(close(pair->to), 0);
    pair->to = -1;
}

static void pair_end(struct pair *pair)
{
    pair_close(pair);
    message_reader_fini(&pair->reader);
    assert_int_equal(close(pair->reader.file), 0);
}

static void put(const struct pair *pair, const char *text)
{
    assert_true(message_send_text(pair->to, text, strlen(text)));
}

static void wants(struct pair *pair, const char *type)
{
    json_t *message;
    assert_int_equal(message_wait(&pair->reader, SOON, &message), MESSAGE_TAKEN);
    assert_true(message_is(message, type));
    json_decref(message);
}

static void wants_none(struct pair *pair)
{
    json_t *message;
    assert_int_equal(message_wait(&pair->reader, message_clock_ns(), &message), MESSAGE_NONE);
    assert_null(message);
}

static void wants_loss(struct pair *pair, const char *why)
{
    json_t *message;
    assert_int_equal(message_wait(&pair->reader, SOON, &message), MESSAGE_LOST);
    assert_null(message);
    assert_non_null(strstr(pair->reader.why, why));
    assert_int_equal(message_take(&pair->reader, &message), MESSAGE_LOST); /* for good */
}

static void in_pieces(void **state)
{
    (void)state;
    struct pair pair = pair_new();
    wants_none(&pair);
    put(&pair, "{\"type\":\"a\"}\n{\"type\":\"b\"}\n{\"ty");
    wants(&pair, "a");
    wants(&pair, "b");
    wants_none(&pair);
    put(&pair, "pe\":\"c\"}");
    wants_none(&pair);
    put(&pair, "\n");
    wants(&pair, "c");
    for (int i = 0; i < 1000; i++) {
        assert_true(message_send(pair.to, json_pack("{s:s, s:i}", "type", "d", "i", i)));
        if (i % 7 == 0)
            for (int k = 0; k <= (i > 0 ? 6 : 0); k++)
                wants(&pair, "d");
    }
    pair_close(&pair);
    for (int i = 0; i < 999 % 7; i++)
        wants(&pair, "d");
    wants_loss(&pair, "closed");
    pair_end(&pair);
}

static void too_long(void **state)
{
    (void)state;
    char line[LINE_MAX_BYTES + 2];
    struct pair pair = pair_new();
    memset(line, ' ', sizeof(line));
    memcpy(line, "{\"type\":\"a\"}", 12);
    line[LINE_MAX_BYTES] = '\n';
    line[LINE_MAX_BYTES + 1] = 0;
    put(&pair, line); /* just as long as it may be */
    wants(&pair, "a");
    line[LINE_MAX_BYTES] = ' ';
    put(&pair, line);
    wants_loss(&pair, "too long");
    assert_true(pair.reader.room <= LINE_MAX_BYTES + 1);
    pair_end(&pair);
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const none[] = {"\n",
                                       "GET / HTTP/1.1\r\n",
                                       "[1]\n",
                                       "{}\n",
                                       "{\"type\":1}\n",
                                       "{\"type\":\"a\"\n",
                                       "\"type\"\n",
                                       "{\"type\":\"a\",\"type\":\"b\"}\n"};
    for (size_t i = 0; i < array_count(none); i++) {
        struct pair pair = pair_new();
        put(&pair, none[i]);
        put(&pair, "{\"type\":\"a\"}\n"); /* what follows is no better */
        wants_loss(&pair, "no message");
        pair_end(&pair);
    }
}

static void members(void **state)
{
    (void)state;
    uint64_t number = 77;
    double real;
    json_t *message =
        json_pack("{s:s, s:I, s:I, s:f, s:s, s:s}", "type", "x", "seven", (json_int_t)7, "minus",
                  (json_int_t)-1, "half", 0.5, "text", "abc", "bell", "a\ac");
    assert_non_null(message);
    assert_false(message_u64(message, "nothing", 10, &number));
    assert_false(message_u64(message, "minus", 10, &number));
    assert_false(message_u64(message, "half", 10, &number));
    assert_false(message_u64(message, "seven", 6, &number));
    assert_int_equal(number, 77);
    assert_true(message_u64(message, "seven", 7, &number));
    assert_int_equal(number, 7);
    assert_false(message_real(message, "minus", 10, &real));
    assert_false(message_real(message, "half", 0.4, &real));
    assert_false(message_real(message, "text", 10, &real));
    assert_true(message_real(message, "half", 0.5, &real));
    assert_true(message_real(message, "seven", 7, &real));
    assert_null(message_text(message, "text", 2));
    assert_null(message_text(message, "bell", 10));
    assert_null(message_text(message, "seven", 10));
    assert_string_equal(message_text(message, "text", 3), "abc");
    json_decref(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(too_long),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
