/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench net`: what the network between two processes can do, by the code that a broker
 * and its clients use for it. This is the end that measures; bench_net_serve.c is the other one,
 * on another machine or a child of this process.
 *
 * A line of the table has connections of its own. A message is a request and its answer; when one
 * is answered the next one goes. Counting begins with the first answer after the warm-up, which is
 * not counted, and ends with the first one after --seconds, which is: so what is in flight at
 * either end is balanced, and a line on a slow network is as long as it needs to be.
 */
#include "io/histogram.h"
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"
#include "tools/millrace/bench/bench_net.h"
#include "tools/millrace/output.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB             1024U
#define MIB             (1024U * KIB)
#define CONNECTIONS_MAX 4U
#define IN_FLIGHT_MAX   16U
#define POOL_BYTES      (64U << 20) /* answers stay in their blocks; touched only as it is needed */
#define CONNECT_NS      (5 * NS_PER_S)
#define ANSWER_S        60U
#define LOOK_NS         (250 * NS_PER_MS) /* a signal that comes before the sleep is seen then */
#define FEATURES_FIRST  3                 /* the version of ApiVersions that names them */

enum traffic { ROUND_TRIP, TO_SERVER, FROM_SERVER };

/* A line of the table. */
struct net_line {
    enum traffic traffic;
    uint32_t bytes, connections, in_flight;
};

static const struct net_line lines[] = {
    {ROUND_TRIP, NET_ANSWER_BYTES, 1, 1},
    {ROUND_TRIP, NET_ANSWER_BYTES, 1, 16},
    {TO_SERVER, 16 * KIB, 1, 4},
    {TO_SERVER, 16 * KIB, 4, 4},
    {TO_SERVER, 128 * KIB, 1, 4},
    {TO_SERVER, 128 * KIB, 4, 4},
    {TO_SERVER, MIB, 1, 4},
    {TO_SERVER, MIB, 4, 4},
    {FROM_SERVER, MIB, 1, 4},
    {FROM_SERVER, MIB, 4, 4},
};

static const char *const traffic_names[] = {"round trip", "to the server", "from the server"};

static const struct column columns[] = {
    {.key = "what", .title = "WHAT"},
    {.key = "message_bytes", .title = "MESSAGE", .unit = UNIT_BYTES},
    {.key = "connections", .title = "CONNECTIONS"},
    {.key = "in_flight", .title = "IN FLIGHT"},
    {.key = "per_s", .title = "PER SECOND"},
    {.key = "mb_per_s", .title = "MB/S"},
    {.key = "p50_ms", .title = "P50 MS"},
    {.key = "p99_ms", .title = "P99 MS"},
    {.key = "max_ms", .title = "MAX MS"},
    {.key = "server", .title = "SERVER", .wide = true},
};

struct net_conn;

struct net_call {
    struct client_call call;
    struct net_conn *conn;
    uint64_t asked_ns;
};

struct net_conn {
    struct client client;
    struct net *net;
    struct client_call hello;
    struct net_call calls[IN_FLIGHT_MAX];
    bool ready; /* the other end is known to be one of ours */
};

struct net {
    struct invocation *inv;
    struct session *s;
    uint64_t line_ns;
    struct address server;
    char text[ADDRESS_TEXT_SIZE];
    struct io_lookup lookup;
    struct io_address address; /* of those, the one that answers */
    bool found;                /* it has */
    struct net_conn conns[CONNECTIONS_MAX];
    uint32_t ready_count;
    uint8_t *bytes;
    bool news;
    bool closing; /* connections end because we end them */
    /* what ended it; EXIT_OK: nothing */
    int code;
    char problem[ADDRESS_TEXT_SIZE + CLIENT_WHY_SIZE + 128];
    /* the line that is measured */
    const struct net_line *line;
    uint64_t warm_until_ns; /* UINT64_MAX: not yet sending */
    uint64_t began_ns, ended_ns;
    bool over;
    struct histogram *times;
};

static void net_fail(struct net *net, int code, const char *format, ...) printf_like(3, 4);

/* The first reason stays. */
static void net_fail(struct net *net, int code, const char *format, ...)
{
    va_list arguments;
    net->news = true;
    if (net->code != EXIT_OK)
        return;
    net->code = code;
    va_start(arguments, format);
    (void)vsnprintf(net->problem, sizeof(net->problem), format, arguments);
    va_end(arguments);
}

/* ---- messages ---- */

static void on_answer(struct client *client, struct client_call *call);

static void ask(struct net_call *nc)
{
    struct client *client = &nc->conn->client;
    const struct net *net = nc->conn->net;
    const struct net_line *line = net->line;
    const bool from = line->traffic == FROM_SERVER;
    struct wr *w;
    if (client->state != CLIENT_READY)
        return; /* on_lost follows */
    nc->call.done = on_answer;
    nc->asked_ns = io_clock_ns(client->sh->io);
    w = client_begin(client, &nc->call, from ? KEY_FETCH : KEY_PRODUCE,
                     from ? NET_FETCH_VERSION : NET_PRODUCE_VERSION);
    if (from)
        wr_i32(w, (int32_t)line->bytes);
    else if (line->traffic == ROUND_TRIP)
        wr_raw(w, net->bytes, line->bytes);
    else
        wr_records_ref(w, line->bytes, (uintptr_t)net->bytes);
    const bool sent =
        client_send(client, &nc->call, io_now_ns(client->sh->io) + ANSWER_S * NS_PER_S);
    must(sent);
}

static void count(struct net *net, uint64_t asked_ns, uint64_t now_ns)
{
    if (now_ns < net->warm_until_ns || net->over)
        return;
    if (net->began_ns == 0) {
        net->began_ns = now_ns;
        return;
    }
    histogram_add(net->times, now_ns - asked_ns);
    net->ended_ns = now_ns;
    net->over = now_ns - net->began_ns >= net->line_ns;
    net->news |= net->over;
}

static void on_answer(struct client *client, struct client_call *call)
{
    struct net_call *nc = container_of(call, struct net_call, call);
    struct net *net = nc->conn->net;
    const uint32_t wanted = net->line->traffic == FROM_SERVER ? net->line->bytes : NET_ANSWER_BYTES;
    if (call->status != CLIENT_ANSWERED)
        return; /* on_lost follows */
    if (call->answer.len != wanted) {
        net_fail(net, EXIT_FAILED, "%s: an answer of %u bytes where %u were asked for", net->text,
                 call->answer.len, wanted);
        return;
    }
    count(net, nc->asked_ns, io_clock_ns(client->sh->io));
    if (!net->over && !bench_interrupted())
        ask(nc);
}

/* ---- connections ---- */

static bool is_ours(struct net *net, const struct api_versions_response *response)
{
    for (int32_t i = 0; i < response->supported_features_count; i++) {
        const struct api_versions_response_supported_feature *feature =
            &response->supported_features[i];
        if (!str_equal(feature->name, str_of(NET_FEATURE)))
            continue;
        if (feature->max_version == NET_VERSION)
            return true;
        net_fail(net, EXIT_FAILED,
                 "%s speaks version %d of `bench net`, and this is version %d: run the same "
                 "millrace at both ends",
                 net->text, feature->max_version, NET_VERSION);
        return false;
    }
    net_fail(net, EXIT_FAILED, "%s is a Kafka broker, and no `millrace bench net --serve`",
             net->text);
    return false;
}

static void on_hello(struct client *client, struct client_call *call)
{
    struct net_conn *c = container_of(client, struct net_conn, client);
    struct net *net = c->net;
    struct api_versions_response response;
    struct rd r;
    if (call->status != CLIENT_ANSWERED)
        return; /* on_lost follows */
    rd_init(&r, call->answer);
    if (!read_api_versions_response(&r, call->arena, call->version, &response)) {
        net_fail(net, EXIT_FAILED, "%s: its answer to ApiVersions cannot be read", net->text);
        return;
    }
    c->ready = is_ours(net, &response);
    net->ready_count += c->ready;
    net->news = true;
}

static void on_ready(struct client *client)
{
    struct net_conn *c = container_of(client, struct net_conn, client);
    const int16_t version = client_version(client, KEY_API_VERSIONS, CLIENT_NEWEST);
    const struct api_versions_request request = {.client_software_name = str_of("millrace-bench"),
                                                 .client_software_version = str_of(MR_VERSION)};
    if (version < FEATURES_FIRST) {
        const struct api_versions_response none = {0};
        (void)is_ours(c->net, &none);
        return;
    }
    c->hello.done = on_hello;
    struct wr *w = client_begin(client, &c->hello, KEY_API_VERSIONS, version);
    write_api_versions_request(w, version, &request);
    const bool sent = client_send(client, &c->hello, io_now_ns(client->sh->io) + CONNECT_NS);
    must(sent);
}

static void on_lost(struct client *client)
{
    struct net *net = container_of(client, struct net_conn, client)->net;
    net->news = true;
    if (net->closing)
        return;
    if (client->status == CLIENT_GARBLED)
        net_fail(net, EXIT_FAILED,
                 "%s answers with something else: it is no `millrace bench net "
                 "--serve`",
                 net->text);
    else if (!net->found)
        net_fail(net, EXIT_UNREACHABLE, "%s: %s; is `millrace bench net --serve` running there?",
                 net->text, client->why);
    else if (client->status == CLIENT_TIMED_OUT)
        net_fail(net, EXIT_UNREACHABLE, "%s has not answered for %u s", net->text, ANSWER_S);
    else
        net_fail(net, EXIT_UNREACHABLE, "%s has gone away (%s)", net->text, client->why);
}

static void turn(struct net *net)
{
    net->news = false;
    session_turn(net->s, session_now_ns(net->s) + LOOK_NS, &net->news);
}

static bool goes_on(const struct net *net)
{
    return net->code == EXIT_OK && !bench_interrupted();
}

/* True when all of them are ready. */
static bool connect_all(struct net *net, uint32_t connections)
{
    const struct client_options options = {
        .client_id = str_of("millrace-bench"),
        .software_name = str_of("millrace-bench"),
        .software_version = str_of(MR_VERSION),
        .answer_bytes_max = 2 * NET_MESSAGE_BYTES_MAX,
        .holds_blocks = true,
        .connect_timeout_ns = CONNECT_NS,
        .on_ready = on_ready,
        .on_lost = on_lost,
    };
    net->closing = false;
    net->ready_count = 0;
    for (uint32_t i = 0; i < connections; i++) {
        struct net_conn *c = &net->conns[i];
        client_init(&c->client, net->s->sh, &options);
        c->net = net;
        c->ready = false;
        for (uint32_t k = 0; k < IN_FLIGHT_MAX; k++)
            c->calls[k].conn = c;
        client_connect(&c->client, &net->address);
    }
    while (net->ready_count < connections && goes_on(net))
        turn(net);
    return goes_on(net);
}

static void hang_up(struct net *net, uint32_t connections)
{
    net->closing = true;
    for (uint32_t i = 0; i < connections; i++)
        client_close(&net->conns[i].client);
    for (uint32_t i = 0; i < connections; i++) {
        while (net->conns[i].client.state != CLIENT_IDLE)
            turn(net);
        client_fini(&net->conns[i].client);
    }
}

static void on_lookup(struct io_op *op)
{
    struct net *net = container_of(op, struct net, lookup.op);
    net->news = net->over = true;
}

/* Finds the address of the name that one of ours answers on; else net->code says why not. */
static void find(struct net *net)
{
    struct io *io = net->s->sh->io;
    bool ending = false;
    (void)snprintf(net->lookup.host, sizeof(net->lookup.host), "%s", net->server.host);
    net->lookup.op.done = on_lookup;
    net->over = false;
    io_lookup(io, &net->lookup);
    while (!net->over) {
        if (bench_interrupted() && !ending)
            io_lookup_end(io, &net->lookup);
        ending = bench_interrupted();
        turn(net);
    }
    if (net->lookup.count == 0 && !ending)
        net_fail(net, EXIT_UNREACHABLE, "the name %s is not known", net->server.host);
    for (uint32_t i = 0; i < net->lookup.count; i++) {
        if (net->code == EXIT_UNREACHABLE)
            net->code = EXIT_OK; /* the one before */
        net->address = net->lookup.addresses[i];
        net->address.port = net->server.port;
        net->found = connect_all(net, 1);
        hang_up(net, 1);
        if (net->found || net->code != EXIT_UNREACHABLE)
            return;
    }
}

/* ---- lines ---- */

static double rounded(double value, double digits)
{
    return round(value * digits) / digits;
}

static double rounded_ms(uint64_t ns)
{
    return rounded(ms(ns), 1000);
}

static json_t *row_of(const struct net *net)
{
    const struct net_line *line = net->line;
    const struct histogram *h = net->times;
    const double seconds = (double)(net->ended_ns - net->began_ns) / (double)NS_PER_S;
    const double per_s = (double)h->count / seconds;
    const uint64_t p50_ns = histogram_quantile_ns(h, 0.5);
    const uint64_t p99_ns = histogram_quantile_ns(h, 0.99);
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:s}", "what",
        traffic_names[line->traffic], "message_bytes", (json_int_t)line->bytes, "connections",
        (json_int_t)line->connections, "in_flight", (json_int_t)line->in_flight, "per_s",
        (json_int_t)(per_s + 0.5), "mb_per_s", rounded(per_s * line->bytes / 1e6, 10), "p50_ms",
        rounded_ms(p50_ns), "p99_ms", rounded_ms(p99_ns), "max_ms", rounded_ms(h->max_ns), "count",
        (json_int_t)h->count, "p50_ns", (json_int_t)p50_ns, "p99_ns", (json_int_t)p99_ns, "max_ns",
        (json_int_t)h->max_ns, "seconds", seconds, "server", net->text);
}

static void line_run(struct net *net, const struct net_line *line)
{
    char size[BYTES_TEXT_SIZE];
    note(net->inv, "%s: %s, %u connection%s, %u in flight", traffic_names[line->traffic],
         bytes_text(line->bytes, size), line->connections, line->connections > 1 ? "s" : "",
         line->in_flight);
    net->line = line;
    net->began_ns = net->ended_ns = 0;
    net->over = false;
    histogram_clear(net->times);
    if (connect_all(net, line->connections)) {
        net->warm_until_ns = io_clock_ns(net->s->sh->io) + net->line_ns / 5;
        for (uint32_t i = 0; i < line->connections; i++)
            for (uint32_t k = 0; k < line->in_flight; k++)
                ask(&net->conns[i].calls[k]);
        while (!net->over && goes_on(net))
            turn(net);
    }
    hang_up(net, line->connections);
}

static int measure(struct session *s)
{
    struct net *net = s->user;
    net->s = s;
    bench_prepare();
    find(net);
    if (!goes_on(net))
        return bench_interrupted() ? EXIT_INTERRUPTED : net->code;
    struct listing *listing = listing_open(net->inv, columns, array_count(columns));
    for (uint32_t i = 0; i < array_count(lines) && goes_on(net); i++) {
        line_run(net, &lines[i]);
        if (goes_on(net))
            listing_row(listing, row_of(net));
    }
    listing_close(listing);
    return bench_interrupted() ? EXIT_INTERRUPTED : net->code;
}

static int measure_alone(struct net *net)
{
    uint64_t dice = 0;
    (void)address_print(&net->server, net->text);
    net->times = mem_zalloc(sizeof(*net->times));
    net->bytes = mem_pages(NET_MESSAGE_BYTES_MAX);
    dice_fill(&dice, net->bytes, NET_MESSAGE_BYTES_MAX);
    int code = session_run_alone(net->inv, POOL_BYTES, net, measure);
    if (net->code != EXIT_OK && code == net->code)
        complain(net->inv, "%s", net->problem);
    mem_pages_free(net->bytes, NET_MESSAGE_BYTES_MAX);
    mem_free(net->times);
    return code;
}

/* ---- a server of its own ---- */

/* Whatever becomes of this process, the child gets a SIGTERM. */
static _Noreturn void child_main(struct net *net, pid_t parent, int port_file)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_INTERRUPTED);
    exit(bench_net_serve(net->inv, &net->server, port_file));
}

static int child_end(const struct net *net, pid_t child, int code)
{
    int status = 0;
    (void)kill(child, SIGTERM);
    while (waitpid(child, &status, 0) < 0)
        must(errno == EINTR);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK)
        return code;
    if (WIFSIGNALED(status))
        complain(net->inv, "the server, process %ld, was ended by a signal: %s", (long)child,
                 strsignal(WTERMSIG(status)));
    return code == EXIT_OK ? EXIT_FAILED : code; /* the server has said why */
}

static int with_child(struct net *net)
{
    int ends[2];
    const pid_t self = getpid();
    address_set_ip(&net->server, false, (const uint8_t[]){127, 0, 0, 1});
    net->server.port = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        complain(net->inv, "cannot make a pipe: %s", strerror(errno));
        return EXIT_FAILED;
    }
    const pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        child_main(net, self, ends[1]);
    }
    (void)close(ends[1]);
    if (child < 0) {
        complain(net->inv, "cannot fork: %s", strerror(errno));
        (void)close(ends[0]);
        return EXIT_FAILED;
    }
    ssize_t got;
    do
        got = read(ends[0], &net->server.port, sizeof(net->server.port));
    while (got < 0 && errno == EINTR);
    (void)close(ends[0]);
    int code = got == sizeof(net->server.port) ? measure_alone(net) : EXIT_FAILED;
    return child_end(net, child, code);
}

/* ---- from begin to end ---- */

/* An address to listen on may be a name of this machine. */
static int resolve(struct net *net)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (net->server.kind != ADDRESS_NAME || address_is_wildcard(&net->server))
        return EXIT_OK;
    const int error = getaddrinfo(net->server.host, NULL, &hints, &found);
    if (error) {
        complain(net->inv, "cannot look up '%s': %s", net->server.host, gai_strerror(error));
        return EXIT_FAILED;
    }
    const bool v6 = found->ai_family == AF_INET6;
    address_set_ip(&net->server, v6,
                   v6 ? ((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr.s6_addr
                      : (const uint8_t *)&((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr);
    freeaddrinfo(found);
    return EXIT_OK;
}

static int read_address(struct net *net, const char *text, bool wildcard)
{
    const char *problem;
    if (!address_parse(&net->server, text, strlen(text), -1, &problem))
        return usage_error(net->inv, "'%s' %s", text, problem);
    if (!wildcard && (net->server.host[0] == 0 || net->server.port == 0))
        return usage_error(net->inv, "'%s': HOST:PORT is wanted", text);
    return EXIT_OK;
}

static int run(struct net *net)
{
    struct invocation *inv = net->inv;
    const char *seconds = option_text(inv, "seconds");
    const char *serve = option_text(inv, "serve");
    if (!duration_parse(seconds, strlen(seconds), &net->line_ns) || net->line_ns == 0)
        return usage_error(inv, "--seconds %s: a time is wanted, as 1 or 0.5", seconds);
    if (!serve && inv->operand_count == 0)
        return with_child(net);
    if (serve && (inv->operand_count > 0 || option_on(inv, "seconds")))
        return usage_error(inv, "--serve only serves: the other end measures");
    int code = read_address(net, serve ? serve : inv->operands[0], serve);
    if (code == EXIT_OK && serve)
        code = resolve(net);
    if (code != EXIT_OK)
        return code;
    return serve ? bench_net_serve(inv, &net->server, -1) : measure_alone(net);
}

int cmd_bench_net(struct invocation *inv)
{
    struct net *net = mem_zalloc(sizeof(*net));
    net->inv = inv;
    const int code = run(net);
    mem_free(net);
    return code;
}
