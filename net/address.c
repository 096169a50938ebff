/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
}

static bool parse_port(const char *text, size_t len, uint16_t *port)
{
    if (len == 0 || len > 5)
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]))
            return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* A host of digits and dots alone is meant as an IPv4 address and must be one. */
static bool classify_host(struct address *address, bool bracketed, const char **problem)
{
    const char *host = address->host;
    if (bracketed) {
        *problem = "is no IPv6 address inside its brackets";
        address->kind = ADDRESS_IPV6;
        return inet_pton(AF_INET6, host, address->ip) == 1;
    }
    bool numeric = host[0] != '\0';
    for (const char *c = host; *c != '\0'; c++) {
        *problem = "has a host name with a character that names cannot have";
        if (!is_name_char(*c))
            return false;
        numeric = numeric && (is_digit(*c) || *c == '.');
    }
    *problem = "is no IPv4 address";
    address->kind = numeric ? ADDRESS_IPV4 : ADDRESS_NAME;
    return !numeric || inet_pton(AF_INET, host, address->ip) == 1;
}

bool address_parse(struct address *address, const char *text, size_t len, int32_t port_default,
                   const char **problem)
{
    *address = (struct address){0};
    const char *end = text + len;
    const char *host = text;
    const char *host_end = NULL;
    bool bracketed = len > 0 && text[0] == '[';
    if (bracketed) {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        *problem = "opens a bracket and does not close it";
        if (host_end == NULL)
            return false;
    } else {
        host_end = len > 0 ? memchr(text, ':', len) : NULL;
        host_end = host_end != NULL ? host_end : end;
    }
    *problem = "has a host name that is too long";
    if (host_end - host > ADDRESS_HOST_LEN_MAX)
        return false;
    memcpy(address->host, host, (size_t)(host_end - host));

    const char *rest = host_end + (bracketed ? 1 : 0);
    if (rest == end) {
        *problem = "has no port";
        if (port_default < 0)
            return false;
        address->port = (uint16_t)port_default;
    } else {
        *problem = !bracketed && memchr(rest + 1, ':', (size_t)(end - rest - 1)) != NULL
                       ? "has several colons: an IPv6 address stands in brackets, [::1]:9092"
                       : "has no port between 0 and 65535 behind its colon";
        if (*rest != ':' || !parse_port(rest + 1, (size_t)(end - rest - 1), &address->port))
            return false;
    }
    return classify_host(address, bracketed, problem);
}

const char *address_print(const struct address *address, char buffer[ADDRESS_TEXT_SIZE])
{
    bool bracketed = address->kind == ADDRESS_IPV6;
    (void)snprintf(buffer, ADDRESS_TEXT_SIZE, "%s%s%s:%u", bracketed ? "[" : "", address->host,
                   bracketed ? "]" : "", (unsigned)address->port);
    return buffer;
}

void address_set_ip(struct address *address, bool v6, const uint8_t *ip)
{
    *address = (struct address){.port = address->port, .kind = v6 ? ADDRESS_IPV6 : ADDRESS_IPV4};
    memcpy(address->ip, ip, v6 ? 16 : 4);
    must(inet_ntop(v6 ? AF_INET6 : AF_INET, ip, address->host, sizeof(address->host)) != NULL);
}

bool address_is_wildcard(const struct address *address)
{
    static const uint8_t zeros[sizeof(address->ip)];
    return address->host[0] == '\0' ||
           (address->kind != ADDRESS_NAME && memcmp(address->ip, zeros, sizeof(zeros)) == 0);
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool address_ip_parse(const char *text, size_t len, uint8_t ip[16])
{
    char copy[ADDRESS_IP_SIZE];
    if (len >= sizeof(copy) || memchr(text, 0, len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    memcpy(ip, mapped, sizeof(mapped));
    return inet_pton(AF_INET, copy, ip + sizeof(mapped)) == 1 || inet_pton(AF_INET6, copy, ip) == 1;
}

const char *address_ip_print(const uint8_t ip[16], char buffer[ADDRESS_IP_SIZE])
{
    bool v4 = memcmp(ip, mapped, sizeof(mapped)) == 0;
    must(inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + sizeof(mapped) : ip, buffer,
                   ADDRESS_IP_SIZE) != NULL);
    return buffer;
}
