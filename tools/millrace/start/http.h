/* SPDX-License-Identifier: Apache-2.0
 *
 * A small HTTP server on a thread of its own: one request at a time, one answer for each. All that
 * is known of libmicrohttpd is behind this header.
 */
#pragma once

#include "io/base.h"

struct http_request {
    const char *method; /* "GET" */
    const char *path;   /* "/metrics", without what follows a '?' */
};

struct http_answer {
    unsigned status;
    const char *type; /* Content-Type; a literal */
    char *body;       /* of malloc(), taken */
    size_t len;
};

/* On the server's thread. */
typedef void http_fn(void *user, const struct http_request *request, struct http_answer *answer);

struct http_server;

/* Serves what connects to `socket`, which listens and is taken. NULL when there is no thread or no
 * memory. Connections are bounded in number, size of their requests and idle time. */
struct http_server *http_start(int socket, http_fn *fn, void *user);
/* Waits for the answer that is being made. */
void http_stop(struct http_server *server);
