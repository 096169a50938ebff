/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench ping`: requests that carry no records, as fast as they are answered. What a round
 * trip costs that touches no log.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <string.h>

#define IN_FLIGHT_MAX 65536

struct ping_conn;

struct ping_call {
    struct client_call call;
    struct ping_conn *conn;
    uint64_t asked_ns;
};

struct ping_conn {
    struct client client;
    struct ping *ping;
    struct ping_call *calls;
    bool settled;
};

struct ping {
    struct bench *b;
    int16_t key;
    struct ping_conn *conns;
    uint32_t conn_count, call_count;
    uint32_t settled;
    const struct ping_conn *lost;
    bool asking;
};

static void on_answer(struct client *client, struct client_call *call);

static void ask(struct ping_call *pc)
{
    struct client *client = &pc->conn->client;
    const struct ping *ping = pc->conn->ping;
    if (client->state != CLIENT_READY)
        return; /* on_settled follows */
    const int16_t version = client_version(client, ping->key, CLIENT_NEWEST);
    pc->call.done = on_answer;
    pc->asked_ns = io_clock_ns(client->sh->io);
    struct wr *w = client_begin(client, &pc->call, ping->key, version);
    if (ping->key == KEY_METADATA) {
        struct metadata_request request;
        init_metadata_request(&request);
        request.topics_count = -1; /* all */
        write_metadata_request(w, version, &request);
    } else {
        const struct api_versions_request request = {.client_software_name =
                                                         str_of("millrace-bench"),
                                                     .client_software_version = str_of(MR_VERSION)};
        write_api_versions_request(w, version, &request);
    }
    bool sent = client_send(client, &pc->call, session_deadline_ns(ping->b->s));
    must(sent);
}

static void on_answer(struct client *client, struct client_call *call)
{
    struct ping_call *pc = container_of(call, struct ping_call, call);
    const struct ping *ping = pc->conn->ping;
    struct measure *m = &ping->b->measure;
    if (call->status != CLIENT_ANSWERED)
        return; /* on_settled follows */
    const uint64_t now_ns = io_clock_ns(client->sh->io);
    measure_fetched(m, pc->asked_ns, now_ns);
    measure_read(m, now_ns, 0, call->answer.len);
    if (ping->asking)
        ask(pc);
}

static void on_settled(struct client *client)
{
    struct ping_conn *c = container_of(client, struct ping_conn, client);
    c->ping->settled += !c->settled;
    c->settled = true;
    c->ping->b->news = true;
    if (client->state != CLIENT_READY)
        c->ping->lost = c;
}

static int connect_all(struct ping *ping)
{
    struct bench *b = ping->b;
    const struct client_options options = {
        .client_id = str_of(b->s->settings.client_id),
        .software_name = str_of("millrace-bench"),
        .software_version = str_of(MR_VERSION),
        .answer_bytes_max = 64U << 20,
        .connect_timeout_ns = (uint64_t)b->s->settings.request_timeout_ms * NS_PER_MS,
        .on_ready = on_settled,
        .on_lost = on_settled,
    };
    ping->conns = mem_zalloc(ping->conn_count * sizeof(*ping->conns));
    for (uint32_t i = 0; i < ping->conn_count; i++) {
        struct ping_conn *c = &ping->conns[i];
        client_init(&c->client, b->s->sh, &options);
        c->ping = ping;
        c->calls = mem_zalloc(ping->call_count * sizeof(*c->calls));
        for (uint32_t k = 0; k < ping->call_count; k++)
            c->calls[k].conn = c;
        client_connect(&c->client, &b->brokers[0].address);
    }
    while (ping->settled < ping->conn_count) {
        b->news = false;
        session_turn(b->s, UINT64_MAX, &b->news);
    }
    return ping->lost ? EXIT_UNREACHABLE : EXIT_OK;
}

static int ask_all(struct ping *ping)
{
    struct bench *b = ping->b;
    struct io *io = b->s->sh->io;
    b->epoch_ns = io_clock_ns(io);
    b->started_wall_ms = (uint64_t)io_wall_ms(io);
    b->until_ns = b->epoch_ns + b->o.warm_ns + b->o.duration_ns;
    ping->asking = true;
    for (uint32_t i = 0; i < ping->conn_count; i++)
        for (uint32_t k = 0; k < ping->call_count; k++)
            ask(&ping->conns[i].calls[k]);
    for (uint64_t now_ns = b->epoch_ns; now_ns < b->until_ns; now_ns = io_clock_ns(io)) {
        if (ping->lost || bench_interrupted())
            break;
        if (b->measure.began_ns == 0 && now_ns >= b->epoch_ns + b->o.warm_ns)
            bench_measure_begin(b, b->epoch_ns + b->o.warm_ns);
        bench_turn(b, b->until_ns);
    }
    ping->asking = false;
    bench_measure_end(b);
    if (ping->lost)
        return EXIT_UNREACHABLE;
    return bench_interrupted() ? EXIT_INTERRUPTED : EXIT_OK;
}

static void close_all(struct ping *ping)
{
    const bool never = false;
    const struct session *s = ping->b->s;
    for (uint32_t i = 0; i < ping->conn_count; i++)
        client_close(&ping->conns[i].client);
    for (uint32_t i = 0; i < ping->conn_count; i++) {
        struct ping_conn *c = &ping->conns[i];
        while (c->client.state != CLIENT_IDLE)
            session_turn(ping->b->s, session_now_ns(s) + NS_PER_MS, &never);
        client_fini(&c->client);
        mem_free(c->calls);
    }
    mem_free(ping->conns);
}

static int read_options(struct ping *ping)
{
    struct bench_options *o = &ping->b->o;
    struct session *s = ping->b->s;
    int64_t connections = 1;
    *o = (struct bench_options){.kind = "ping", .arrival = "constant", .topics = 1};
    o->topic = option_text(s->inv, "request");
    ping->key = strcmp(o->topic, "metadata") == 0 ? KEY_METADATA : KEY_API_VERSIONS;
    if (!option_number(s->inv, "connections", 1, 20000, &connections) ||
        !option_number(s->inv, "in-flight", 1, IN_FLIGHT_MAX, &o->in_flight) ||
        !option_number(s->inv, "broker-pid", 0, INT32_MAX, &o->broker_pid))
        return EXIT_USAGE;
    ping->conn_count = (uint32_t)connections;
    ping->call_count = (uint32_t)o->in_flight;
    return bench_times_read(o, s);
}

static int ping_run(struct session *s)
{
    struct bench *b = bench_new(s, false);
    struct ping ping = {.b = b};
    int code = read_options(&ping);
    if (code == EXIT_OK)
        code = bench_broker_any(b);
    if (code == EXIT_OK)
        code = bench_broker_facts(b);
    if (code == EXIT_OK) {
        code = connect_all(&ping);
        if (code == EXIT_OK)
            code = ask_all(&ping);
        if (ping.lost)
            complain(s->inv, "%s: %s", b->brokers[0].host, ping.lost->client.why);
        const struct ping_conn *lost = ping.lost;
        close_all(&ping);
        if (b->epoch_ns > 0 && !lost)
            code = bench_report(b, code);
    }
    bench_free(b);
    return code;
}

int cmd_bench_ping(struct invocation *inv)
{
    return bench_session(inv, SESSION_POOL_BYTES, ping_run);
}
