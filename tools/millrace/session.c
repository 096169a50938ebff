/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/session.h"

#include "io/mem.h"
#include "net/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>

#define ARENA_MAX        (1U << 30)
#define ANSWER_BYTES_MAX (1U << 30)
#define ADDRESSES_MAX    8U
#define STOP_LOOK_NS     (250 * NS_PER_MS) /* a signal that comes before the sleep is seen then */

uint64_t session_now_ns(const struct session *s)
{
    return io_now_ns(s->sh->io);
}

uint64_t session_deadline_ns(const struct session *s)
{
    return session_now_ns(s) + (uint64_t)s->settings.request_timeout_ms * NS_PER_MS;
}

static bool nothing_pending(void *argument)
{
    (void)argument;
    return false;
}

void session_turn(struct session *s, uint64_t until_ns, const bool *news)
{
    if (s->stop)
        until_ns = min_u64(until_ns, session_now_ns(s) + STOP_LOOK_NS);
    if (!shard_turn(s->sh) && !*news)
        io_wait(s->sh->io, min_u64(until_ns, shard_deadline_ns(s->sh)), nothing_pending, NULL);
}

void session_pause(struct session *s, uint64_t ns)
{
    const bool news = false;
    for (uint64_t until_ns = session_now_ns(s) + ns; session_now_ns(s) < until_ns;)
        session_turn(s, until_ns, &news);
}

/* ---- links ---- */

const char *link_text(const struct broker_link *link, char buffer[LINK_TEXT_SIZE])
{
    bool brackets = strchr(link->host, ':') != NULL;
    char id[32] = "";
    if (link->node_id >= 0)
        (void)snprintf(id, sizeof(id), "broker %d at ", link->node_id);
    (void)snprintf(buffer, LINK_TEXT_SIZE, "%s%s%s%s:%u", id, brackets ? "[" : "", link->host,
                   brackets ? "]" : "", link->port);
    return buffer;
}

void link_complain(const struct broker_link *link)
{
    char text[LINK_TEXT_SIZE];
    if (!link->session->hush)
        complain(link->session->inv, "%s: %s", link_text(link, text), link->client.why);
}

static void on_settled(struct client *c)
{
    struct broker_link *link = c->user;
    link->settled = true;
}

/* Waits until an end that has begun is over. */
static void link_end(struct broker_link *link)
{
    link->settled = false;
    while (link->client.state != CLIENT_IDLE && link->client.state != CLIENT_READY)
        session_turn(link->session, UINT64_MAX, &link->settled);
}

static bool link_try(struct broker_link *link, const struct io_address *address)
{
    struct session *s = link->session;
    link->settled = false;
    client_connect(&link->client, address);
    while (!link->settled)
        session_turn(s, UINT64_MAX, &link->settled);
    return link->client.state == CLIENT_READY;
}

static void address_of(struct io_address *address, const struct sockaddr *from, uint16_t port)
{
    *address = (struct io_address){.port = port, .v6 = from->sa_family == AF_INET6};
    if (address->v6) {
        memcpy(address->ip, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    } else {
        memset(address->ip + 10, 0xff, 2);
        memcpy(address->ip + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    }
}

/* Tries each address of the name; why it failed is in client.why. */
static bool link_connect(struct broker_link *link)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(link->host, NULL, &hints, &found);
    if (error) {
        (void)snprintf(link->client.why, sizeof(link->client.why), "the name is not known (%s)",
                       gai_strerror(error));
        return false;
    }
    bool connected = false;
    unsigned tried = 0;
    for (struct addrinfo *at = found; at && !connected && tried < ADDRESSES_MAX; at = at->ai_next) {
        struct io_address address;
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        tried++;
        address_of(&address, at->ai_addr, link->port);
        connected = link_try(link, &address);
    }
    freeaddrinfo(found);
    return connected;
}

static struct broker_link *link_new(struct session *s, int32_t node_id, const char *host,
                                    uint16_t port)
{
    struct broker_link *link = mem_zalloc(sizeof(*link));
    const struct client_options options = {
        .client_id = str_of(s->settings.client_id),
        .software_name = str_of("millrace"),
        .software_version = str_of(MR_VERSION),
        .answer_bytes_max = ANSWER_BYTES_MAX,
        .connect_timeout_ns =
            min_u64((uint64_t)s->settings.request_timeout_ms * NS_PER_MS, 10000 * NS_PER_MS),
        .on_ready = on_settled,
        .on_lost = on_settled,
    };
    client_init(&link->client, s->sh, &options);
    link->client.user = link;
    link->session = s;
    link->node_id = node_id;
    link->port = port;
    (void)snprintf(link->host, sizeof(link->host), "%s", host);
    s->links[s->link_count++] = link;
    return link;
}

static struct broker_link *link_of(struct session *s, int32_t node_id, const char *host,
                                   uint16_t port, bool apart)
{
    for (uint32_t i = 0; i < s->link_count; i++) {
        struct broker_link *link = s->links[i];
        bool there = link->port == port && link->apart == apart && strcmp(link->host, host) == 0;
        if (there && link->node_id < 0)
            link->node_id = node_id; /* a bootstrap server turns out to be this one */
        if (there && link->node_id == node_id)
            return link;
    }
    if (s->link_count == LINKS_MAX)
        return NULL;
    struct broker_link *link = link_new(s, node_id, host, port);
    link->apart = apart;
    return link;
}

/* Connected, again if need be; false, and said, when it cannot be. */
static bool link_ready(struct broker_link *link)
{
    link_end(link);
    if (link->client.state == CLIENT_READY || link_connect(link))
        return true;
    link_complain(link);
    return false;
}

static struct broker_link *broker_link_of(struct session *s, int32_t node_id, const char *host,
                                          int32_t port, bool apart)
{
    struct broker_link *link = link_of(s, node_id, host, (uint16_t)port, apart);
    if (!link) {
        complain(s->inv, "more than %u brokers", LINKS_MAX);
        return NULL;
    }
    return link_ready(link) ? link : NULL;
}

struct broker_link *session_broker(struct session *s, int32_t node_id, const char *host,
                                   int32_t port)
{
    return broker_link_of(s, node_id, host, port, false);
}

struct broker_link *session_broker_apart(struct session *s, int32_t node_id, const char *host,
                                         int32_t port)
{
    return broker_link_of(s, node_id, host, port, true);
}

/* ---- opening ---- */

static int connect_bootstrap(struct session *s)
{
    const char *list = s->settings.bootstrap_servers;
    struct broker_link *link = NULL;
    for (const char *at = list; *at && s->link_count < LINKS_MAX;) {
        size_t len = strcspn(at, ",");
        struct address address;
        const char *problem;
        if (!address_parse(&address, at, len, 9092, &problem) || address.host[0] == 0)
            return usage_error(s->inv, "bootstrap server '%.*s': HOST:PORT is wanted", (int)len,
                               at);
        link = link_new(s, -1, address.host, address.port);
        if (link_connect(link)) {
            s->bootstrap = link;
            return EXIT_OK;
        }
        at += len + (at[len] == ',');
    }
    if (!link)
        return usage_error(s->inv, "no bootstrap server is given");
    if (strchr(list, ','))
        complain(s->inv, "none of the brokers %s can be reached; the last: %s", list,
                 link->client.why);
    else
        link_complain(link);
    fprintf(stderr, "next:  is a broker running there? millrace start runs one; -b HOST:PORT names "
                    "another\n");
    return EXIT_UNREACHABLE;
}

struct broker_link *session_any(struct session *s)
{
    if (s->bootstrap)
        return link_ready(s->bootstrap) ? s->bootstrap : NULL;
    return connect_bootstrap(s) == EXIT_OK ? s->bootstrap : NULL;
}

static int session_open(struct session *s, const struct session_options *options)
{
    char sentence[512];
    const struct io_options door = {
        .receive_pool_bytes = options->pool_bytes,
        .spin_ns = options->spin_ns,
        .log_file = -1,
    };
    struct io *io = io_open(&door, sentence, sizeof(sentence));
    if (!io) {
        complain(s->inv, "%s", sentence);
        return EXIT_REFUSED_IO;
    }
    s->group = shard_group_new(1, SHARD_CREDITS);
    s->sh = shard_of(s->group, 0);
    shard_init(s->sh, io);
    (void)shard_turn(s->sh); /* reads the clocks */
    return EXIT_OK;
}

void session_hang_up(struct session *s)
{
    for (uint32_t i = 0; i < s->link_count; i++) {
        s->links[i]->settled = false;
        client_close(&s->links[i]->client);
    }
    for (uint32_t i = 0; i < s->link_count; i++)
        link_end(s->links[i]);
}

/* Not when something is in flight that may never end: the process ends it. */
static void session_close(struct session *s)
{
    if (!s->sh || s->abandoned)
        return;
    session_hang_up(s);
    for (uint32_t i = 0; i < s->link_count; i++) {
        client_fini(&s->links[i]->client);
        mem_free(s->links[i]);
    }
    struct io *io = s->sh->io;
    shard_fini(s->sh);
    io_close_all(io);
    shard_group_free(s->group);
}

static int session_work(struct session *s, const struct session_options *options,
                        int (*work)(struct session *s))
{
    arena_init(&s->arena, ARENA_MAX);
    int code = session_open(s, options);
    if (code == EXIT_OK)
        code = work(s);
    session_close(s);
    arena_fini(&s->arena);
    return code;
}

int session_run_as(struct invocation *inv, const struct session_options *options,
                   int (*work)(struct session *s))
{
    struct session s = {.inv = inv};
    bool listed;
    int code = settings_read(&s.settings, inv, &listed);
    if (code == EXIT_OK && !listed)
        code = session_work(&s, options, work);
    settings_fini(&s.settings);
    return code;
}

int session_run(struct invocation *inv, int (*work)(struct session *s))
{
    const struct session_options options = {.pool_bytes = SESSION_POOL_BYTES};
    return session_run_as(inv, &options, work);
}

int session_run_alone(struct invocation *inv, uint64_t pool_bytes, void *user,
                      int (*work)(struct session *s))
{
    const struct session_options options = {.pool_bytes = pool_bytes};
    struct session s = {.inv = inv, .user = user};
    return session_work(&s, &options, work);
}

/* ---- one request, one answer ---- */

struct question {
    struct client_call call;
    struct arena *arena;
    void *response;
    enum client_status status;
    bool over, decoded;
};

/* The answer is copied, because what is decoded from it are views. */
static void on_answer(struct client *c, struct client_call *call)
{
    (void)c;
    struct question *q = container_of(call, struct question, call);
    q->over = true;
    q->status = call->status;
    if (call->status != CLIENT_ANSWERED)
        return;
    uint32_t len = call->answer.len;
    uint8_t *copy = arena_alloc(q->arena, len);
    struct piece *piece = arena_alloc(q->arena, sizeof(*piece));
    if (!copy || !piece)
        return;
    span_peek(&call->answer, copy, len);
    struct rd r;
    rd_init(&r, span_of(piece, copy, len));
    q->decoded =
        kafka_read(kafka_response_kind(call->key), &r, q->arena, call->version, q->response);
}

/* Until it is answered; when something says stop, the connection is ended, and the call with it. */
static void wait_for_answer(struct session *s, struct broker_link *link, struct question *q)
{
    bool ending = false;
    while (!q->over) {
        if (s->stop && *s->stop && !ending) {
            ending = true;
            client_close(&link->client);
        }
        session_turn(s, UINT64_MAX, &q->over);
    }
}

int session_call(struct session *s, struct broker_link *link, int16_t key, int16_t version_max,
                 const void *request, void *response, struct arena *arena)
{
    return session_call_for(s, link, key, version_max, request, response, arena,
                            s->settings.request_timeout_ms);
}

int session_call_for(struct session *s, struct broker_link *link, int16_t key, int16_t version_max,
                     const void *request, void *response, struct arena *arena, int64_t timeout_ms)
{
    char text[LINK_TEXT_SIZE];
    const char *name = kafka_api_find(key)->name;
    if (!link && !s->bootstrap) {
        int code = connect_bootstrap(s);
        if (code != EXIT_OK)
            return code;
    }
    if (!link)
        link = s->bootstrap;
    must(link);
    if (!link_ready(link))
        return EXIT_UNREACHABLE;
    int16_t version = client_version(&link->client, key, version_max);
    if (version < 0) {
        complain(s->inv, "%s does not speak %s", link_text(link, text), name);
        return EXIT_FAILED;
    }
    struct question q = {.call.done = on_answer, .arena = arena, .response = response};
    struct wr *w = client_begin(&link->client, &q.call, key, version);
    kafka_write(kafka_request_kind(key), w, version, request);
    if (!client_send(&link->client, &q.call,
                     session_now_ns(s) + (uint64_t)timeout_ms * NS_PER_MS)) {
        complain(s->inv, "the %s request is too large", name);
        return EXIT_FAILED;
    }
    wait_for_answer(s, link, &q);
    if (q.status != CLIENT_ANSWERED) {
        if (s->stop && *s->stop)
            return EXIT_INTERRUPTED;
        link_complain(link);
        return EXIT_UNREACHABLE;
    }
    if (!q.decoded) {
        complain(s->inv, "%s: its answer to %s (version %d) cannot be read", link_text(link, text),
                 name, version);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}
