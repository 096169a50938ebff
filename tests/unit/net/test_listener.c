/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROTOCOLS "PLAINTEXT:PLAINTEXT,SSL:SSL,INTERNAL:plaintext,external:PLAINTEXT"

static struct listener_text text_of(const char *listeners, const char *advertised)
{
    return (struct listener_text){.listeners = listeners,
                                  .advertised = advertised,
                                  .protocols = PROTOCOLS,
                                  .hostname = "node7.example"};
}

/* Compares with "NAME bind advertised" for each listener. */
static void check_set(struct listener_text text, const char *expected)
{
    struct listener_set set;
    struct listener_error error;
    if (!listener_set_parse(&set, &text, &error))
        fail_msg("%s", error.text);
    char got[1024] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        char bind[ADDRESS_TEXT_SIZE];
        char advertised[ADDRESS_TEXT_SIZE];
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%s %s %s", i > 0 ? "\n" : "",
                                set.listener[i].name, address_print(&set.listener[i].bind, bind),
                                address_print(&set.listener[i].advertised, advertised));
    }
    assert_string_equal(got, expected);
}

static void check_refused(struct listener_text text, const char *part)
{
    struct listener_set set;
    struct listener_error error;
    assert_false(listener_set_parse(&set, &text, &error));
    if (strstr(error.text, part) == NULL)
        fail_msg("%s", error.text);
}

static void test_advertised_follows_bind(void **state)
{
    (void)state;
    check_set(text_of("PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092", NULL),
              "PLAINTEXT 127.0.0.1:9092 127.0.0.1:9092\nPLAINTEXT [::1]:9092 [::1]:9092");
    check_set(text_of(" internal://a:1 , External://b:2 ,", ""),
              "INTERNAL a:1 a:1\nEXTERNAL b:2 b:2");
}

static void test_wildcard_is_never_advertised(void **state)
{
    (void)state;
    check_set(text_of("PLAINTEXT://:9092", NULL), "PLAINTEXT :9092 node7.example:9092");
    check_set(text_of("PLAINTEXT://[::]:9092", NULL), "PLAINTEXT [::]:9092 node7.example:9092");
    check_refused(text_of("PLAINTEXT://:9092", "PLAINTEXT://0.0.0.0:9092"), "name a host");
    struct listener_text text = text_of("PLAINTEXT://:9092", NULL);
    text.hostname = NULL;
    check_refused(text, "set advertised.listeners");
}

static void test_advertised_by_name(void **state)
{
    (void)state;
    check_set(text_of("INTERNAL://:1,EXTERNAL://:2", "EXTERNAL://kafka.example.com:443"),
              "INTERNAL :1 node7.example:1\nEXTERNAL :2 kafka.example.com:443");
    check_set(text_of("PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092", "PLAINTEXT://x:1"),
              "PLAINTEXT 127.0.0.1:9092 x:1\nPLAINTEXT [::1]:9092 x:1");
    check_refused(text_of("INTERNAL://:1", "EXTERNAL://x:1"), "EXTERNAL is no listener");
    check_refused(text_of("INTERNAL://:1", "INTERNAL://x:1,INTERNAL://y:1"), "stands twice");
}

static void test_controller_listeners_are_left_out(void **state)
{
    (void)state;
    struct listener_text text =
        text_of("PLAINTEXT://h:9092,CONTROLLER://h:9093", "PLAINTEXT://h:9092,CONTROLLER://h:9093");
    text.controller_names = "controller";
    check_set(text, "PLAINTEXT h:9092 h:9092");
    text.listeners = "CONTROLLER://h:9093";
    check_refused(text, "no listener for clients");
}

static void test_refuses(void **state)
{
    (void)state;
    check_refused(text_of("", NULL), "no listener for clients");
    check_refused(text_of("h:9092", NULL), "not of the form");
    check_refused(text_of("://h:9092", NULL), "no listener name");
    check_refused(text_of("A B://h:9092", NULL), "no listener name");
    check_refused(text_of("PLAINTEXT://h", NULL), "has no port");
    check_refused(text_of("PLAINTEXT://h:1,PLAINTEXT://h:2", NULL), "name PLAINTEXT stands twice");
    check_refused(text_of("PLAINTEXT://127.0.0.1:1,PLAINTEXT://[::1]:2", NULL), "stands twice");
    /* What is said to be written instead is taken. */
    check_refused(text_of("PLAINTEXT://10.0.0.1:1,PLAINTEXT://10.0.0.2:2", NULL),
                  "PLAINTEXT2://10.0.0.2:2, and say what it speaks: "
                  "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PLAINTEXT2:PLAINTEXT (");
    struct listener_text named = text_of("PLAINTEXT://10.0.0.1:1,PLAINTEXT2://10.0.0.2:2", NULL);
    named.protocols = "PLAINTEXT:PLAINTEXT,PLAINTEXT2:PLAINTEXT";
    struct listener_set named_set;
    struct listener_error none;
    assert_true(listener_set_parse(&named_set, &named, &none));
    assert_int_equal(named_set.count, 2);
    check_refused(text_of("INTERNAL://h:1,EXTERNAL://h:1", NULL), "share port 1");
    check_refused(text_of("PLAINTEXT://0.0.0.0:1,PLAINTEXT://[::]:1", NULL),
                  "PLAINTEXT://0.0.0.0:1 and PLAINTEXT://[::]:1 are the same port");
    check_refused(text_of("INTERNAL://[::]:1,EXTERNAL://127.0.0.1:1", NULL),
                  "INTERNAL://[::]:1 and EXTERNAL://127.0.0.1:1 are the same port");
    check_refused(text_of("INTERNAL://[::1]:1,EXTERNAL://0.0.0.0:1", NULL), "are the same port");
    check_refused(text_of("SSL://h:1", NULL), "asks for SSL");
    check_refused(text_of("OTHER://h:1", NULL), "add OTHER:PLAINTEXT");
    struct listener_text text = text_of("PLAINTEXT://h:1", NULL);
    text.protocols = "PLAINTEXT:PLAIN";
    check_refused(text, "not NAME:PROTOCOL");

    char many[64 * (LISTENER_COUNT_MAX + 1)] = "";
    size_t len = 0;
    for (int i = 0; i <= LISTENER_COUNT_MAX; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "L%d://h:%d,", i, i + 1);
    check_refused(text_of(many, NULL), "more than");
}

static void test_port_of_the_kernel(void **state)
{
    (void)state;
    struct listener_text text = text_of("PLAINTEXT://127.0.0.1:0", NULL);
    struct listener_set set;
    struct listener_error error;
    assert_true(listener_set_parse(&set, &text, &error));
    listener_bound(&set.listener[0], 40123);
    assert_int_equal(set.listener[0].advertised.port, 40123);
    assert_ptr_equal(listener_find(&set, "plaintext"), &set.listener[0]);
    assert_null(listener_find(&set, "PLAIN"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_advertised_follows_bind),
        cmocka_unit_test(test_wildcard_is_never_advertised),
        cmocka_unit_test(test_advertised_by_name),
        cmocka_unit_test(test_controller_listeners_are_left_out),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_port_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
