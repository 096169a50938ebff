/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_reads(const char *text, const char *host, uint16_t port, enum address_kind kind)
{
    struct address address;
    const char *problem = NULL;
    if (!address_parse(&address, text, strlen(text), -1, &problem))
        fail_msg("%s %s", text, problem);
    assert_string_equal(address.host, host);
    assert_int_equal(address.port, port);
    assert_int_equal(address.kind, kind);
    char buffer[ADDRESS_TEXT_SIZE];
    assert_string_equal(address_print(&address, buffer), text);
}

static void test_reads_and_prints(void **state)
{
    (void)state;
    check_reads("localhost:9092", "localhost", 9092, ADDRESS_NAME);
    check_reads("b-1.example.com:1", "b-1.example.com", 1, ADDRESS_NAME);
    check_reads("127.0.0.1:65535", "127.0.0.1", 65535, ADDRESS_IPV4);
    check_reads("[::1]:9092", "::1", 9092, ADDRESS_IPV6);
    check_reads("[2001:db8::7]:0", "2001:db8::7", 0, ADDRESS_IPV6);
    check_reads(":9092", "", 9092, ADDRESS_NAME);
}

static void test_default_port(void **state)
{
    (void)state;
    struct address address;
    const char *problem = NULL;
    assert_true(address_parse(&address, "host", 4, 9092, &problem));
    assert_int_equal(address.port, 9092);
    assert_true(address_parse(&address, "[::1]", 5, 9092, &problem));
    assert_int_equal(address.port, 9092);
    assert_true(address_parse(&address, "host:1,x", 6, 9092, &problem));
    assert_int_equal(address.port, 1);
}

static void check_refused(const char *text, const char *part)
{
    struct address address;
    const char *problem = NULL;
    if (address_parse(&address, text, strlen(text), -1, &problem))
        fail_msg("%s was accepted", text);
    assert_non_null(strstr(problem, part));
}

static void test_refuses(void **state)
{
    (void)state;
    check_refused("", "no port");
    check_refused("host", "no port");
    check_refused("host:", "between 0 and 65535");
    check_refused("host:65536", "between 0 and 65535");
    check_refused("host:-1", "between 0 and 65535");
    check_refused("host:9092x", "between 0 and 65535");
    check_refused("::1:9092", "brackets");
    check_refused("[::1:9092", "does not close");
    check_refused("[::1]9092", "between 0 and 65535");
    check_refused("[host]:9092", "no IPv6 address");
    check_refused("256.0.0.1:9092", "no IPv4 address");
    check_refused("1.2.3:9092", "no IPv4 address");
    check_refused("ho st:9092", "character");
    check_refused("host/x:9092", "character");

    char text[ADDRESS_HOST_LEN_MAX + 8];
    memset(text, 'a', sizeof(text));
    memcpy(text + ADDRESS_HOST_LEN_MAX + 1, ":9092", 6);
    check_refused(text, "too long");
}

static struct address parsed(const char *text)
{
    struct address address;
    const char *problem = NULL;
    assert_true(address_parse(&address, text, strlen(text), -1, &problem));
    return address;
}

static void test_wildcards(void **state)
{
    (void)state;
    const char *wild[] = {":1", "0.0.0.0:1", "[::]:1", "[0:0:0:0:0:0:0:0]:1"};
    const char *tame[] = {"localhost:1", "127.0.0.1:1", "[::1]:1"};
    for (size_t i = 0; i < array_count(wild); i++) {
        struct address address = parsed(wild[i]);
        assert_true(address_is_wildcard(&address));
    }
    for (size_t i = 0; i < array_count(tame); i++) {
        struct address address = parsed(tame[i]);
        assert_false(address_is_wildcard(&address));
    }
}

static void test_looked_up(void **state)
{
    (void)state;
    static const uint8_t loopback[16] = {[15] = 1};
    char buffer[ADDRESS_TEXT_SIZE];
    struct address address = parsed("localhost:9092");
    address_set_ip(&address, true, loopback);
    assert_string_equal(address_print(&address, buffer), "[::1]:9092");
    address_set_ip(&address, false, (const uint8_t[4]){127, 0, 0, 1});
    assert_string_equal(address_print(&address, buffer), "127.0.0.1:9092");
}

static void ips(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } good[] = {{"192.0.2.1", "192.0.2.1"},
                {"::ffff:192.0.2.1", "192.0.2.1"},
                {"::1", "::1"},
                {"2001:DB8:0::0:1", "2001:db8::1"}};
    static const char *const bad[] = {"",     "1.2.3", "1.2.3.4.5", "[::1]",
                                      "host", "::1%1", "1.2.3.4:5", "1.2.3.4 "};
    uint8_t ip[16];
    char text[ADDRESS_IP_SIZE];
    for (size_t i = 0; i < array_count(good); i++) {
        assert_true(address_ip_parse(good[i].text, strlen(good[i].text), ip));
        assert_string_equal(address_ip_print(ip, text), good[i].canonical);
    }
    for (size_t i = 0; i < array_count(bad); i++)
        assert_false(address_ip_parse(bad[i], strlen(bad[i]), ip));
    assert_false(address_ip_parse("1.2.3.4\0", 8, ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ips),
        cmocka_unit_test(test_reads_and_prints),
        cmocka_unit_test(test_default_port),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
