/* SPDX-License-Identifier: Apache-2.0
 *
 * A host and a port as people write them: `host:port`, `192.0.2.1:port`, `[2001:db8::1]:port`,
 * and `:port`, `0.0.0.0:port` or `[::]:port` for every address of the machine. Text only: looking a
 * name up is the caller's, because it blocks.
 */
#pragma once

#include "io/base.h"

enum address_kind {
    ADDRESS_NAME, /* has to be looked up */
    ADDRESS_IPV4,
    ADDRESS_IPV6,
};

enum {
    ADDRESS_HOST_LEN_MAX = 253, /* the longest DNS name, RFC 1035 */
    ADDRESS_TEXT_SIZE = ADDRESS_HOST_LEN_MAX + sizeof("[]:65535"),
};

struct address {
    char host[ADDRESS_HOST_LEN_MAX + 1]; /* without brackets; "" for all addresses of the machine */
    uint16_t port;                       /* 0: the kernel chooses one */
    uint8_t kind;                        /* enum address_kind; "" counts as ADDRESS_NAME */
    uint8_t ip[16];                      /* network order; four bytes for ADDRESS_IPV4 */
};

/* Reads exactly [text, text + len). A port is required unless port_default >= 0. On false *problem
 * is half a sentence that fits behind the text: "has no port". */
bool address_parse(struct address *address, const char *text, size_t len, int32_t port_default,
                   const char **problem) warn_unused;

/* The form that address_parse reads; returns buffer. */
const char *address_print(const struct address *address, char buffer[ADDRESS_TEXT_SIZE]);

/* Replaces a name by what it was looked up as: 16 bytes, or 4 unless v6. The port stays. */
void address_set_ip(struct address *address, bool v6, const uint8_t *ip);

/* Every address of the machine: "", 0.0.0.0 or [::]. */
bool address_is_wildcard(const struct address *address);

/* An address alone, in any way of writing it, as 16 bytes: an IPv4 one is mapped (::ffff:a.b.c.d).
 */
bool address_ip_parse(const char *text, size_t len, uint8_t ip[16]) warn_unused;
/* The one way to write it, 192.0.2.1 or 2001:db8::1; returns buffer. */
#define ADDRESS_IP_SIZE 48
const char *address_ip_print(const uint8_t ip[16], char buffer[ADDRESS_IP_SIZE]);
