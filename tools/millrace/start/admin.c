/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/admin.h"

#include "tools/millrace/start/http.h"
#include "tools/millrace/start/metrics_print.h"
#include "tools/millrace/start/port_holder.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

/* ---- answers, on the server's thread ---- */

static bool collect(struct admin *admin)
{
    if (!__atomic_load_n(&admin->broker_is_there, __ATOMIC_ACQUIRE))
        return false;
    metrics_collect(&admin->metrics);
    return true;
}

static unsigned healthz(struct admin *admin, FILE *to)
{
    bool good = !collect(admin) || metrics_print_health(to, &admin->metrics);
    if (good)
        fputs("ok\n", to);
    return good ? 200 : 503;
}

/* What lies in others is served when a directory is offline. */
static bool logs_online(const struct metrics *m)
{
    for (uint16_t i = 0; i < m->count; i++)
        if (m->probes[i].seen.value[METRIC_offline] >= m->broker->dirs->count)
            return false;
    return true;
}

static bool cores_respond(const struct metrics *m)
{
    for (uint16_t i = 0; i < m->count; i++)
        if (m->probes[i].silent_ns > 0)
            return false;
    return true;
}

static unsigned readyz(struct admin *admin, FILE *to)
{
    const struct metrics *m = &admin->metrics;
    bool recovered = collect(admin);
    bool serving = recovered && m->probes[CONTROL_SHARD].seen.ready;
    bool respond = recovered && cores_respond(m);
    bool storage = recovered && logs_online(m);
    bool ready = serving && respond && storage;
    fprintf(to,
            "{\"ready\":%s,\"checks\":{\"recovery\":%s,\"listeners\":%s,\"cores\":%s,"
            "\"storage\":%s}}\n",
            ready ? "true" : "false", recovered ? "true" : "false", serving ? "true" : "false",
            respond ? "true" : "false", storage ? "true" : "false");
    return ready ? 200 : 503;
}

/* Without a broker yet: of the process alone. */
static const struct metrics *collected(struct admin *admin)
{
    static const struct metrics none;
    return collect(admin) ? &admin->metrics : &none;
}

static unsigned metrics(struct admin *admin, FILE *to)
{
    metrics_print_text(to, collected(admin));
    return 200;
}

static unsigned counters(struct admin *admin, FILE *to)
{
    json_t *object = metrics_print_json(collected(admin));
    (void)json_dumpf(object, to, JSON_COMPACT);
    fputc('\n', to);
    json_decref(object);
    return 200;
}

static unsigned overview(struct admin *admin, FILE *to);

static const struct route {
    const char *path;
    const char *type;
    unsigned (*answer)(struct admin *admin, FILE *to); /* the status */
    const char *what;
} routes[] = {
    {"/", "text/plain; charset=utf-8", overview, "this text"},
    {"/healthz", "text/plain; charset=utf-8", healthz, "200 while every core answers"},
    {"/readyz", "application/json", readyz, "200 when clients are served"},
    {"/v1/status/ready", "application/json", readyz, "the same under Redpanda's name"},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics, "for Prometheus"},
    {"/api/v1/counters", "application/json", counters, "all live counters"},
};

static unsigned overview(struct admin *admin, FILE *to)
{
    (void)admin;
    fprintf(to, "millrace %s\n", MR_VERSION);
    for (size_t i = 0; i < array_count(routes); i++)
        fprintf(to, "%-18s %s\n", routes[i].path, routes[i].what);
    return 200;
}

static void on_request(void *user, const struct http_request *request, struct http_answer *answer)
{
    struct admin *admin = user;
    const struct route *route = NULL;
    for (size_t i = 0; i < array_count(routes); i++)
        if (strcmp(routes[i].path, request->path) == 0)
            route = &routes[i];
    FILE *to = open_memstream(&answer->body, &answer->len);
    must(to != NULL);
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (!reads) {
        answer->status = 405;
        fputs("there is nothing to be changed here\n", to);
    } else if (!route) {
        answer->status = 404;
        fputs("not found; / lists what there is\n", to);
    } else {
        answer->status = route->answer(admin, to);
        answer->type = route->type;
    }
    must(fclose(to) == 0);
}

/* ---- the address ---- */

bool admin_address_parse(const char *text, bool *off, struct address *address, const char **problem)
{
    *off = strcasecmp(text, "off") == 0 || text[0] == 0;
    if (*off)
        return true;
    if (strncasecmp(text, "http://", strlen("http://")) == 0)
        text += strlen("http://");
    return address_parse(address, text, strlen(text), -1, problem);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 ==
               127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* A socket that listens, or -errno. */
static int listen_on(const struct addrinfo *at)
{
    int one = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

/* The port that port 0 became. */
static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound;
    socklen_t len = sizeof(bound);
    memset(&bound, 0, sizeof(bound));
    if (getsockname(fd, &bound.any, &len) != 0)
        return 0;
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

static int complain_bind(const struct invocation *inv, const struct address *address, int error,
                         bool chosen)
{
    char text[ADDRESS_TEXT_SIZE];
    char name[32];
    char holder[96] = "";
    pid_t pid = error == EADDRINUSE ? port_holder_find(address->port, name) : 0;
    if (pid)
        (void)snprintf(holder, sizeof(holder), " (held by process %ld, %s)", (long)pid, name);
    address_print(address, text);
    if (chosen) {
        complain(inv, "admin listener %s: %s%s", text, strerror(error), holder);
        return EXIT_FAILED;
    }
    fprintf(stderr,
            "warning: admin listener %s: %s%s; there is none in this broker: no /metrics, no "
            "millrace status\n"
            "next:    --admin-listen HOST:PORT names another address, --admin-listen off says that "
            "none is wanted\n",
            text, strerror(error), holder);
    return EXIT_OK;
}

/* ---- life ---- */

static int listen_at(struct admin *admin, const struct invocation *inv, struct address *address,
                     bool chosen, int *fd)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    (void)snprintf(port, sizeof(port), "%u", address->port);
    int error = getaddrinfo(address->host[0] ? address->host : NULL, port, &hints, &found);
    if (error) {
        complain(inv, "admin listener: cannot look up '%s': %s", address->host,
                 gai_strerror(error));
        return EXIT_FAILED;
    }
    *fd = listen_on(found);
    if (*fd >= 0) {
        address->port = port_of(*fd);
        address_print(address, admin->address);
        if (!is_loopback(found->ai_addr))
            fprintf(stderr,
                    "warning: the admin listener %s is open to other machines, and asks "
                    "nobody who they are\n",
                    admin->address);
    }
    freeaddrinfo(found);
    return *fd >= 0 ? EXIT_OK : complain_bind(inv, address, -*fd, chosen);
}

int admin_start(struct admin *admin, const struct invocation *inv, const char *text, bool chosen)
{
    struct address address = {0};
    const char *problem;
    bool off;
    *admin = (struct admin){0};
    if (!admin_address_parse(text, &off, &address, &problem))
        return usage_error(inv, "millrace.admin.listeners: '%s' %s", text, problem);
    if (off)
        return EXIT_OK;
    int fd = -1;
    int code = listen_at(admin, inv, &address, chosen, &fd);
    if (code != EXIT_OK || fd < 0)
        return code;
    admin->server = http_start(fd, on_request, admin);
    if (!admin->server) {
        (void)close(fd);
        complain(inv, "admin listener %s: cannot start its thread", admin->address);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

int admin_broker(struct admin *admin, const struct invocation *inv, struct broker *broker)
{
    if (!metrics_init(&admin->metrics, broker)) {
        complain(inv, "admin listener: %s", strerror(errno));
        return EXIT_FAILED;
    }
    __atomic_store_n(&admin->broker_is_there, true, __ATOMIC_RELEASE);
    return EXIT_OK;
}

void admin_stop(struct admin *admin)
{
    if (admin->server)
        http_stop(admin->server);
    admin->server = NULL;
    if (admin->broker_is_there)
        metrics_fini(&admin->metrics);
    admin->broker_is_there = false;
}
