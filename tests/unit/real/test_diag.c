/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines, as they come out of the writer's end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/diag.h"
#include "io/io.h"
#include "io/mem.h"
#include "io/shard.h"

static struct shard_group *group;
static struct shard *sh;
static int out[2];

static void say_as(enum diag_level most, bool json)
{
    diag_level_set(DIAG_ROOT, most);
    io_log_style_set((struct io_log_style){.json = json});
}

static int scene_open(void **state)
{
    (void)state;
    char error[512];
    if (pipe(out) != 0)
        return -1;
    struct io_options options = {.receive_pool_bytes = 1 << 20, .log_file = out[1]};
    group = shard_group_new(1, SHARD_CREDITS);
    sh = shard_of(group, 0);
    struct io *io = io_open(&options, error, sizeof(error));
    if (io == NULL)
        return -1;
    shard_init(sh, io);
    say_as(DIAG_INFO, false);
    return 0;
}

static void door_close(void)
{
    struct io *io = sh->io;
    if (io == NULL)
        return;
    shard_fini(sh);
    io_close_all(io);
}

static int scene_close(void **state)
{
    (void)state;
    door_close();
    shard_group_free(group);
    close(out[0]);
    close(out[1]);
    return 0;
}

/* The next line, without its time stamp. */
static const char *next_line(void)
{
    static char line[DIAG_LINE_MAX + 1];
    size_t len = 0;
    do {
        ssize_t n = read(out[0], line + len, 1);
        assert_int_equal(n, 1);
    } while (line[len++] != '\n');
    line[len - 1] = '\0';
    const char *stamp = strstr(line, "20");
    assert_non_null(stamp);
    assert_int_equal(stamp[19], '.');
    assert_int_equal(stamp[26], 'Z');
    return stamp + 27;
}

static void test_logfmt(void **state)
{
    (void)state;
    diag_info(sh, "listener.open", "address=%s:%u backlog=%d", "127.0.0.1", 9092U, -1);
    assert_string_equal(next_line(), " level=info shard=0 event=listener.open "
                                     "address=127.0.0.1:9092 backlog=-1");
    diag_error(sh, "test.kinds", "a=%lu b=%zu c=%x d=%.3f e=%c f=%.*s g=%lld h=100%%", ~0UL,
               (size_t)7, 255U, 1.5, 'z', 3, "abcdef", -5LL);
    assert_string_equal(next_line(), " level=error shard=0 event=test.kinds "
                                     "a=18446744073709551615 b=7 c=ff d=1.500 e=z f=abc g=-5 "
                                     "h=100%");
}

/* What a client sends cannot leave its field. */
static void test_values_are_escaped(void **state)
{
    (void)state;
    diag_warn(sh, "test.escape", "client=%s next=%s", "a b=\"c\"\n\xff", "");
    assert_string_equal(next_line(), " level=warn shard=0 event=test.escape "
                                     "client=\"a b=\\\"c\\\"\\u000a\\u00ff\" next=\"\"");
}

static void test_json(void **state)
{
    (void)state;
    say_as(DIAG_INFO, true);
    diag_info(sh, "test.json", "name=%s count=%u mixed=%ums", "two words", 3U, 5U);
    assert_string_equal(next_line(), "\",\"level\":\"info\",\"shard\":0,\"event\":\"test.json\","
                                     "\"name\":\"two words\",\"count\":3,\"mixed\":\"5ms\"}");
}

static void test_level(void **state)
{
    (void)state;
    say_as(DIAG_WARN, false);
    diag_info(sh, "test.quiet", "a=%u", 1U);
    diag_warn(sh, "test.loud", "a=%u", 2U);
    assert_non_null(strstr(next_line(), "event=test.loud a=2"));
}

/* A subject says more or less than the root, until its level is taken back. */
static void test_level_of_a_subject(void **state)
{
    (void)state;
    const uint32_t of_logs = diag_logger_of("log.damaged");
    assert_string_equal(diag_loggers[of_logs].name, "log");
    assert_int_equal(diag_logger_of("logs.damaged"), DIAG_ROOT);
    assert_int_equal(diag_logger_of("lo.damaged"), DIAG_ROOT);
    say_as(DIAG_WARN, false);
    diag_level_set(of_logs, DIAG_INFO);
    diag_info(sh, "quota.crowded", "a=%u", 1U);
    diag_info(sh, "log.retention", "a=%u", 2U);
    assert_non_null(strstr(next_line(), "event=log.retention a=2"));
    diag_level_set(of_logs, DIAG_FATAL);
    diag_error(sh, "log.damaged", "a=%u", 3U);
    diag_warn(sh, "quota.crowded", "a=%u", 4U);
    assert_non_null(strstr(next_line(), "event=quota.crowded a=4"));
    diag_level_unset(of_logs);
    assert_int_equal(diag_level_of(of_logs), DIAG_WARN);
    say_as(DIAG_TRACE, false);
    assert_int_equal(diag_level_of(of_logs), DIAG_TRACE);
    diag_info(sh, "log.retention", "a=%u", 5U);
    assert_non_null(strstr(next_line(), "event=log.retention a=5"));
}

static void test_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 25; i++)
        diag_warn(sh, "test.often", "i=%u", i);
    diag_warn(sh, "test.other", "i=%u", 0U);
    for (unsigned i = 0; i < DIAG_LINES_PER_SECOND; i++)
        assert_null(strstr(next_line(), "suppressed"));
    assert_non_null(strstr(next_line(), "event=test.other"));
    (void)nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
    io_turn_begin(sh->io);
    diag_warn(sh, "test.often", "i=%u", 25U);
    assert_string_equal(next_line(), " level=warn shard=0 event=test.often i=25 suppressed=15");
}

static void test_errors_have_no_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * DIAG_LINES_PER_SECOND; i++) {
        char wanted[64];
        (void)snprintf(wanted, sizeof(wanted), " level=error shard=0 event=test.broken i=%u", i);
        diag_error(sh, "test.broken", "i=%u", i);
        assert_string_equal(next_line(), wanted);
    }
}

/* A field that is too long is left out whole, and the line stays a line. */
static void test_too_long(void **state)
{
    (void)state;
    char *much = malloc(3000);
    memset(much, '\n', 2999);
    much[2999] = '\0';
    diag_info(sh, "test.long", "before=%u much=%s after=%u", 1U, much, 2U);
    assert_string_equal(next_line(),
                        " level=info shard=0 event=test.long before=1 after=2 truncated=true");
    say_as(DIAG_INFO, true);
    diag_info(sh, "test.long", "much=%s after=%u", much, 2U);
    assert_string_equal(next_line(), "\",\"level\":\"info\",\"shard\":0,\"event\":\"test.long\","
                                     "\"after\":2,\"truncated\":true}");
    free(much);
}

/* A value that is too long for a value, though not for the line, shows where it was cut. */
static void test_long_value(void **state)
{
    (void)state;
    char much[DIAG_VALUE_MAX + 2];
    char expected[DIAG_VALUE_MAX + 100];
    memset(much, 'a', sizeof(much));
    much[DIAG_VALUE_MAX] = '\0';
    diag_info(sh, "test.whole", "much=%s after=%u", much, 2U);
    (void)snprintf(expected, sizeof(expected),
                   " level=info shard=0 event=test.whole much=%s after=2", much);
    assert_string_equal(next_line(), expected);
    much[DIAG_VALUE_MAX] = 'a';
    much[DIAG_VALUE_MAX + 1] = '\0';
    diag_info(sh, "test.cut", "much=%s after=%u", much, 2U);
    (void)snprintf(expected, sizeof(expected),
                   " level=info shard=0 event=test.cut much=%.*s... after=2",
                   (int)DIAG_VALUE_MAX - 3, much);
    assert_string_equal(next_line(), expected);
    diag_info(sh, "test.cut", "much=%s:%u after=%u", much, 1U, 2U);
    assert_string_equal(next_line(), expected);
}

/* Nobody reads: lines are lost and counted, and the shard does not wait. What was accepted comes,
 * and then the count. */
static void test_nobody_reads(void **state)
{
    (void)state;
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890\n";
    unsigned accepted = 0;
    unsigned lost = 0;
    for (unsigned i = 0; i < 20000; i++)
        if (io_log(sh->io, line, sizeof(line) - 1))
            accepted++;
        else
            lost++;
    assert_true(accepted > 4000 && lost > 1000);
    static char text[4 << 20];
    static const char notice[] = "event=log.lost lines=";
    size_t len = 0;
    size_t seen = 0; /* text before this has been looked at */
    unsigned counted = 0;
    while (counted < lost || len < (size_t)accepted * (sizeof(line) - 1)) {
        ssize_t n = read(out[0], text + len, sizeof(text) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        text[len] = '\0';
        const char *found;
        while ((found = strstr(text + seen, notice)) != NULL && strchr(found, '\n') != NULL) {
            counted += (unsigned)strtoul(found + strlen(notice), NULL, 10);
            seen = (size_t)(strchr(found, '\n') - text);
        }
    }
    assert_int_equal(counted, lost);
}

/* Nor does the door wait for ever when it closes, nor a new one when it opens. */
static void test_nobody_reads_at_the_end(void **state)
{
    (void)state;
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890\n";
    for (unsigned i = 0; i < 3000; i++)
        (void)io_log(sh->io, line, sizeof(line) - 1);
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    door_close();
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_in_range(after.tv_sec - before.tv_sec, 1, 5);
    char error[512];
    struct io_options options = {.receive_pool_bytes = 1 << 20, .log_file = -1};
    shard_init(sh, io_open(&options, error, sizeof(error)));
    /* Let the writer go: what is in the pipe, and the rest of what it was writing, however much. */
    char buffer[65536];
    struct pollfd more = {.fd = out[0], .events = POLLIN};
    size_t len = 0;
    while (poll(&more, 1, 300) > 0) {
        ssize_t n = read(out[0], buffer, sizeof(buffer));
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_true(len > 0);
}

/* The last events are printed in order, the oldest overwritten first. */
static void test_dump(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIAG_EVENTS + 3; i++)
        diag_event(sh, "test.event", i, i * 2);
    (void)fflush(stderr);
    int before = dup(STDERR_FILENO);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) > 0);
    dup2(pipes[1], STDERR_FILENO);
    diag_dump(sh);
    dup2(before, STDERR_FILENO);
    close(before);
    close(pipes[1]);
    static char text[1 << 16];
    size_t len = 0;
    for (ssize_t n; (n = read(pipes[0], text + len, sizeof(text) - 1 - len)) > 0;)
        len += (size_t)n;
    close(pipes[0]);
    text[len] = '\0';
    assert_non_null(strstr(text, "shard 0 of 1, step (between turns)"));
    assert_null(strstr(text, "test.event 2 4\n"));
    const char *first = strstr(text, "test.event 3 6\n");
    const char *last = strstr(text, "test.event 258 516\n");
    assert_true(first != NULL && last != NULL && first < last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_values_are_escaped, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_json, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_level, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_level_of_a_subject, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_limit, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_errors_have_no_limit, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_too_long, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_long_value, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_nobody_reads, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_nobody_reads_at_the_end, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_dump, scene_open, scene_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
