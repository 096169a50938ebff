/* SPDX-License-Identifier: Apache-2.0
 *
 * Named listeners: where the broker listens, and which address it tells a client that arrived
 * there. Read from Kafka's three keys: listeners, advertised.listeners and
 * listener.security.protocol.map (KIP-103, KIP-291).
 *
 * A listener is one name on one socket. A name may stand twice only as Kafka lets a port stand
 * twice: once with an IPv4 and once with an IPv6 address on the same port; that is how the default
 * serves 127.0.0.1 and ::1. A wildcard is never advertised: no client could connect to it.
 */
#pragma once

#include "io/base.h"
#include "net/address.h"

enum {
    LISTENER_COUNT_MAX = 32,
    LISTENER_NAME_LEN_MAX = 63,
    LISTENER_PORT_DEFAULT = 9092,
};

struct listener {
    char name[LISTENER_NAME_LEN_MAX + 1]; /* upper case: Kafka ignores case here */
    struct address
        bind; /* a name has to be looked up before it can be listened on: address_set_ip */
    struct address advertised;   /* port 0: whatever bind gets, set by listener_bound */
    bool advertised_is_explicit; /* advertised.listeners says so */
};

struct listener_set {
    struct listener listener[LISTENER_COUNT_MAX];
    uint32_t count;
};

struct listener_text {
    const char *listeners;
    const char *advertised;       /* NULL or "": the bound address, or hostname for a wildcard */
    const char *protocols;        /* listener.security.protocol.map */
    const char *controller_names; /* NULL or a list: these listeners are left out */
    const char *hostname;         /* what is advertised in place of a wildcard */
};

struct listener_error {
    char text[512]; /* a sentence that names the key */
};

/* The set holds at least one listener on success. */
bool listener_set_parse(struct listener_set *set, const struct listener_text *text,
                        struct listener_error *error) warn_unused;

/* Tells a listener the port that the kernel chose for its port 0. */
void listener_bound(struct listener *listener, uint16_t port);

/* The first listener of that name (in any case), or NULL. */
const struct listener *listener_find(const struct listener_set *set, const char *name);

/* Whether the comma-separated list holds the name, in any case. */
bool listener_names_hold(const char *names, const char *name);
