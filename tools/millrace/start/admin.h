/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin listener: what a running broker tells over HTTP, on a thread that is none of its
 * shards.
 *
 *   /healthz           200 while every core answers within a second, else 503 and which does not
 *   /readyz            200 when clients are served, else 503; JSON that says what is missing
 *   /metrics           for Prometheus
 *   /api/v1/counters   all live counters as one JSON object: what `millrace status` reads
 *
 * It reads only, and asks nobody who they are: so it listens on this machine alone unless it is
 * told otherwise, and says so then.
 */
#pragma once

#include "net/address.h"
#include "tools/millrace/command.h"
#include "tools/millrace/start/metrics.h"

struct admin {
    struct metrics metrics;     /* with a broker once there is one */
    bool broker_is_there;       /* atomic */
    struct http_server *server; /* NULL: it is off */
    char address[ADDRESS_TEXT_SIZE];
};

#define ADMIN_ADDRESS "127.0.0.1:9644"

/* "HOST:PORT" or "HTTP://HOST:PORT"; off: "off". The problem is a half sentence. */
bool admin_address_parse(const char *text, bool *off, struct address *address,
                         const char **problem);

/* Before there is a broker, so that who waits for it is told. `chosen`: the address was named, so
 * that a port which is taken is an error; else it is a warning, and there is no listener. An exit
 * code. */
int admin_start(struct admin *admin, const struct invocation *inv, const char *text, bool chosen);
/* The broker is there, its shards are about to start. */
int admin_broker(struct admin *admin, const struct invocation *inv, struct broker *broker);
/* After the shards have ended, before the broker is closed. */
void admin_stop(struct admin *admin);
