/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/http.h"

#include "io/mem.h"

#include <microhttpd.h>
#include <string.h>

#define CONNECTIONS_MAX   64U
#define IDLE_S            10U
#define REQUEST_BYTES_MAX (16U << 10) /* line and headers */

struct http_server {
    struct MHD_Daemon *daemon;
    http_fn *fn;
    void *user;
};

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    static char begun;
    struct http_server *server = user;
    (void)version;
    (void)upload;
    if (!*state) { /* the headers are here: answer when the rest is, too */
        *state = &begun;
        return MHD_YES;
    }
    if (*upload_size > 0) { /* a body, which nobody wants */
        *upload_size = 0;
        return MHD_YES;
    }
    const struct http_request request = {.method = method, .path = url};
    struct http_answer answer = {.status = 500, .type = "text/plain"};
    server->fn(server->user, &request, &answer);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer.len, answer.body, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, "Content-Type", answer.type);
    if (result == MHD_YES)
        result = MHD_add_response_header(response, "Cache-Control", "no-store");
    if (result == MHD_YES && answer.status == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, answer.status, response);
    MHD_destroy_response(response);
    return result;
}

struct http_server *http_start(int socket, http_fn *fn, void *user)
{
    struct http_server *server = mem_zalloc(sizeof(*server));
    server->fn = fn;
    server->user = user;
    server->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL, on_request,
        server, MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)REQUEST_BYTES_MAX, MHD_OPTION_END);
    if (server->daemon)
        return server;
    mem_free(server);
    return NULL;
}

void http_stop(struct http_server *server)
{
    MHD_stop_daemon(server->daemon);
    mem_free(server);
}
