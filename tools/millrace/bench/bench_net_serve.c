/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of `millrace bench net` that serves: a broker's shards, listener and connections, and
 * nothing behind them.
 *
 * A stop goes as a broker's does: a signal becomes a word in a file that shard 0 reads; it stops
 * listening, each shard closes its connections, and when all have none left they leave together.
 */
#include "core/broker_address.h"
#include "io/mem.h"
#include "io/threads.h"
#include "net/err.h"
#include "net/listen.h"
#include "tools/millrace/bench/bench_net.h"
#include "tools/millrace/bench/bench_schedule.h"
#include "tools/millrace/output.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIRST            0U
#define POOL_BYTES       (16U << 20) /* of each shard; touched as it is needed */
#define FRAME_BYTES_MAX  (NET_MESSAGE_BYTES_MAX + 1024U) /* with its header */
#define UNFINISHED_BYTES (64U << 20)
#define HELD_BYTES       (16U << 20)
#define REQUEST_BYTES    (16U << 20) /* one request, beside its frame */
#define IDLE_NS          (30 * NS_PER_S)

struct net_server;

struct serve_shard {
    struct net_server *server;
    struct shard *sh;
    struct net_shard net;
    struct mail mail;
    uint64_t bytes_out;
};

struct net_server {
    struct invocation *inv;
    struct address address;
    int port_file;
    struct machine machine;
    uint16_t shard_count;
    struct shard_group *group;
    struct serve_shard *shards;
    struct listen listen;
    struct task begin;
    pthread_barrier_t all_there, all_ran;
    int stop_file; /* eventfd */
    struct io_op stop_op;
    uint64_t stop_word;
    uint16_t drained;
    uint8_t *bytes; /* what everybody gets */
    int code;
    bool ended; /* atomic: said by the first shard, read by the thread that waits for signals */
};

/* ---- what is asked and answered ---- */

static void api_fill(struct api_versions_response_api_key *to, int16_t key, int16_t min,
                     int16_t max)
{
    *to = (struct api_versions_response_api_key){
        .api_key = key, .min_version = min, .max_version = max};
}

static void answer_hello(struct request *q)
{
    const struct kafka_api *self = kafka_api_find(KEY_API_VERSIONS);
    const int16_t version = q->header.request_api_version;
    const bool known = version >= self->served_min && version <= self->served_max;
    struct api_versions_response_supported_feature feature;
    struct api_versions_response_api_key keys[3];
    struct api_versions_response response;
    init_api_versions_response_supported_feature(&feature);
    feature.name = str_of(NET_FEATURE);
    feature.min_version = feature.max_version = NET_VERSION;
    api_fill(&keys[0], KEY_PRODUCE, NET_PRODUCE_VERSION, NET_PRODUCE_VERSION);
    api_fill(&keys[1], KEY_FETCH, NET_FETCH_VERSION, NET_FETCH_VERSION);
    api_fill(&keys[2], KEY_API_VERSIONS, self->served_min, self->served_max);
    init_api_versions_response(&response);
    response.error_code = known ? ERR_NONE : ERR_UNSUPPORTED_VERSION;
    response.api_keys = keys;
    response.api_keys_count = array_count(keys);
    response.supported_features = &feature;
    response.supported_features_count = 1;
    request_answer_begin(q);
    write_api_versions_response(&q->answer, known ? version : 0, &response);
    request_answer(q);
}

static void answer_fetch(struct request *q)
{
    struct rd r;
    rd_init(&r, q->body);
    const int32_t wanted = rd_i32(&r);
    if (r.bad || wanted <= 0 || (uint32_t)wanted > NET_MESSAGE_BYTES_MAX) {
        conn_close_after_answers(q->conn, CLOSE_MALFORMED);
        request_silent(q);
        return;
    }
    request_answer_begin(q);
    wr_records_ref(&q->answer, (uint32_t)wanted, 0);
    request_answer(q);
}

static void answer_produce(struct request *q)
{
    const struct serve_shard *ss = container_of(q->conn->net, struct serve_shard, net);
    request_answer_begin(q);
    wr_raw(&q->answer, ss->server->bytes, NET_ANSWER_BYTES);
    request_answer(q);
}

static void on_request(struct request *q)
{
    switch (q->header.request_api_key) {
    case KEY_API_VERSIONS:
        answer_hello(q);
        break;
    case KEY_FETCH:
        answer_fetch(q);
        break;
    default:
        must(q->header.request_api_key == KEY_PRODUCE);
        answer_produce(q);
    }
}

static bool on_resolve(struct conn_pin *pin)
{
    const struct serve_shard *ss = container_of(pin->request->conn->net, struct serve_shard, net);
    pin->iov[0] = (struct iovec){.iov_base = ss->server->bytes + pin->skip, .iov_len = pin->len};
    pin->count = 1;
    pin->bytes = pin->len;
    return true;
}

static void on_release(struct conn_pin *pin)
{
    (void)pin;
}

static void on_end(struct conn *c)
{
    (void)c;
}

static void on_gone(struct conn *c)
{
    const struct serve_shard *ss = container_of(c->net, struct serve_shard, net);
    listen_connection_gone(&ss->server->listen, ss->sh, &c->peer);
}

static bool is_pipelined(int16_t key)
{
    return key == KEY_PRODUCE;
}

static bool is_served(int16_t key, int16_t version)
{
    return key == KEY_API_VERSIONS || (key == KEY_PRODUCE && version == NET_PRODUCE_VERSION) ||
           (key == KEY_FETCH && version == NET_FETCH_VERSION);
}

static const struct conn_service service = {
    .on_request = on_request,
    .on_resolve = on_resolve,
    .on_release = on_release,
    .on_end_of_input = on_end,
    .on_close = on_end,
    .on_gone = on_gone,
    .is_pipelined = is_pipelined,
    .is_served = is_served,
};

/* ---- the end ---- */

static void ask_to_stop(const struct net_server *server)
{
    const uint64_t one = 1;
    if (write(server->stop_file, &one, sizeof(one)) != sizeof(one))
        _exit(EXIT_FAILED);
}

static void on_drained(struct shard *here, struct mail *mail)
{
    struct net_server *server = container_of(mail, struct serve_shard, mail)->server;
    (void)here;
    if (++server->drained < server->shard_count)
        return;
    __atomic_store_n(&server->ended, true, __ATOMIC_RELEASE);
    for (uint16_t i = 0; i < server->shard_count; i++)
        shard_stop(shard_of(server->group, i));
    kill(getpid(), SIGUSR2); /* the main thread waits for signals */
}

static void on_net_empty(void *user)
{
    struct serve_shard *ss = user;
    shard_post(ss->sh, FIRST, &ss->mail, on_drained);
}

static void on_stop(struct shard *here, struct mail *mail)
{
    struct serve_shard *ss = container_of(mail, struct serve_shard, mail);
    (void)here;
    net_shard_drain(&ss->net, on_net_empty, ss);
    net_shard_close_all(&ss->net, CLOSE_SHUTDOWN);
}

static void on_listen_stopped(void *user)
{
    struct net_server *server = user;
    for (uint16_t i = 0; i < server->shard_count; i++)
        shard_post(server->shards[FIRST].sh, i, &server->shards[i].mail, on_stop);
}

static void on_stop_asked(struct io_op *op)
{
    struct net_server *server = container_of(op, struct net_server, stop_op);
    listen_stop(&server->listen, on_listen_stopped, server);
}

/* ---- the begin ---- */

static struct net_shard *net_of(struct shard *here)
{
    struct serve_shard *ss = here->user;
    return &ss->net;
}

static int32_t broker_default(const char *name)
{
    struct broker_conf conf = {0};
    const struct conf_key *key = conf_find(CONF_BROKER, name);
    must(key && key->kind == CONF_INT);
    conf_store(key, key->fallback, &conf);
    return *(int32_t *)(void *)((char *)&conf + key->field);
}

static int listen_one(struct net_server *server, bool v6)
{
    const struct io_socket_options options = {
        .receive_buffer_bytes = (uint32_t)max_i64(broker_default("socket.receive.buffer.bytes"), 0),
        .send_buffer_bytes = (uint32_t)max_i64(broker_default("socket.send.buffer.bytes"), 0),
    };
    struct io_address address;
    const uint32_t at = server->listen.socket_count;
    broker_address_to_io(&server->address, v6, &address);
    int error = listen_add(&server->listen, &address, 0, &options);
    if (error == 0)
        server->address.port = listen_port(&server->listen, at);
    return error;
}

/* A wildcard is both families; a machine without IPv6 does with one. */
static int listen_all(struct net_server *server)
{
    const bool only6 = server->address.kind == ADDRESS_IPV6;
    const bool both = address_is_wildcard(&server->address) && !only6;
    int error = listen_one(server, only6);
    if (error == 0 && both && listen_one(server, true) == -EADDRINUSE)
        error = -EADDRINUSE;
    return error;
}

static void on_begin(struct shard *here, struct task *task)
{
    struct net_server *server = container_of(task, struct net_server, begin);
    char text[ADDRESS_TEXT_SIZE];
    server->stop_op.done = on_stop_asked;
    io_read(here->io, &server->stop_op, server->stop_file, &server->stop_word,
            sizeof(server->stop_word), 0);
    const int error = listen_all(server);
    const uint16_t port = server->address.port;
    if (error < 0) {
        complain(server->inv, "cannot listen on %s: %s", address_print(&server->address, text),
                 strerror(-error));
        server->code = EXIT_FAILED;
        ask_to_stop(server);
        return;
    }
    listen_start(&server->listen);
    if (server->port_file < 0)
        note(server->inv, "serving on %s with %u core%s; ^C ends it",
             address_print(&server->address, text), server->shard_count,
             server->shard_count > 1 ? "s" : "");
    else if (write(server->port_file, &port, sizeof(port)) != sizeof(port))
        ask_to_stop(server);
}

static void shard_main(uint32_t index, void *argument)
{
    struct net_server *server = argument;
    struct serve_shard *ss = &server->shards[index];
    char sentence[512];
    const struct io_options options = {
        .shard = index,
        .receive_pool_bytes = POOL_BYTES,
        .spin_ns = io_spin_allowed(&server->machine, server->shard_count) ? IO_SPIN_NS : 0,
        .log_file = -1,
    };
    const struct net_limits limits = {
        .frame_bytes_max = FRAME_BYTES_MAX,
        .unfinished_bytes_max = UNFINISHED_BYTES,
        .idle_max_ns = IDLE_NS,
        .held_bytes_max = HELD_BYTES,
        .request_bytes_max = REQUEST_BYTES,
    };
    const struct listen_limits listen_limits = {.connections_max = NET_CONNECTIONS_MAX,
                                                .per_ip_max = NET_CONNECTIONS_MAX};
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    must(io); /* the probe opened one like it */
    ss->server = server;
    ss->sh = shard_of(server->group, (uint16_t)index);
    shard_init(ss->sh, io);
    ss->sh->user = ss;
    net_shard_init(&ss->net, ss->sh, &limits, &service);
    if (index == FIRST) {
        listen_init(&server->listen, ss->sh, net_of, &listen_limits);
        shard_ready(ss->sh, &server->begin);
    }
    pthread_barrier_wait(&server->all_there);
    shard_run(ss->sh);
    pthread_barrier_wait(&server->all_ran);
    if (index == FIRST)
        listen_fini(&server->listen);
    net_shard_fini(&ss->net);
    ss->bytes_out = io_counts(io)->bytes_sent;
    shard_fini(ss->sh);
    io_close_all(io);
}

static void wait_for_signals(const struct net_server *server, const sigset_t *signals)
{
    bool asked = false;
    while (!__atomic_load_n(&server->ended, __ATOMIC_ACQUIRE)) {
        int signal;
        if (sigwait(signals, &signal) != 0 || signal == SIGUSR2)
            continue;
        if (asked && signal == SIGINT)
            _exit(EXIT_INTERRUPTED);
        if (!asked)
            ask_to_stop(server);
        asked = true;
    }
}

static void tell(const struct net_server *server)
{
    uint64_t opened = 0;
    uint64_t in = 0;
    uint64_t out = 0;
    uint64_t strangers = 0;
    char texts[2][BYTES_TEXT_SIZE];
    for (uint16_t i = 0; i < server->shard_count; i++) {
        const struct net_shard *net = &server->shards[i].net;
        opened += net->opened;
        in += net->bytes_in;
        out += server->shards[i].bytes_out;
        strangers += net->closed[CLOSE_FRAME_SIZE] + net->closed[CLOSE_MALFORMED] +
                     net->closed[CLOSE_UNSUPPORTED];
    }
    note(server->inv,
         "%llu connections, %s in, %s out; %llu of them closed because they asked for something "
         "else",
         (unsigned long long)opened, bytes_text((int64_t)in, texts[0]),
         bytes_text((int64_t)out, texts[1]), (unsigned long long)strangers);
}

static bool probe_io(const struct net_server *server)
{
    char sentence[512];
    const struct io_options options = {.receive_pool_bytes = POOL_BYTES, .log_file = -1};
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    if (io)
        io_close_all(io);
    else
        complain(server->inv, "%s", sentence);
    return io != NULL;
}

/* Signals are for this thread alone. */
static int serve(struct net_server *server)
{
    struct threads *threads;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR2);
    if (server->port_file < 0)
        sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int error =
        threads_start(&threads, server->machine.cpus, server->shard_count, shard_main, server);
    if (error < 0) {
        complain(server->inv, "cannot start %u threads: %s", server->shard_count, strerror(-error));
        return EXIT_FAILED;
    }
    wait_for_signals(server, &signals);
    threads_join(threads);
    if (server->port_file < 0 && server->code == EXIT_OK)
        tell(server);
    return server->code;
}

int bench_net_serve(struct invocation *inv, const struct address *address, int port_file)
{
    struct net_server server = {
        .inv = inv,
        .address = *address,
        .port_file = port_file,
        .begin = {.fn = on_begin, .name = "bench.begin"},
    };
    uint64_t dice = 0;
    if (port_file >= 0)
        (void)signal(SIGINT, SIG_IGN);
    if (!probe_io(&server))
        return EXIT_REFUSED_IO;
    machine_read(&server.machine, "");
    server.shard_count = (uint16_t)min_u64(machine_shards(&server.machine), NET_CONNECTIONS_MAX);
    server.shards = mem_zalloc(server.shard_count * sizeof(*server.shards));
    server.group = shard_group_new(server.shard_count, SHARD_CREDITS);
    server.bytes = mem_pages(NET_MESSAGE_BYTES_MAX);
    dice_fill(&dice, server.bytes, NET_MESSAGE_BYTES_MAX);
    server.stop_file = eventfd(0, EFD_CLOEXEC);
    must(server.stop_file >= 0);
    pthread_barrier_init(&server.all_there, NULL, server.shard_count);
    pthread_barrier_init(&server.all_ran, NULL, server.shard_count);
    int code = serve(&server);
    pthread_barrier_destroy(&server.all_there);
    pthread_barrier_destroy(&server.all_ran);
    (void)close(server.stop_file);
    mem_pages_free(server.bytes, NET_MESSAGE_BYTES_MAX);
    shard_group_free(server.group);
    mem_free(server.shards);
    return code;
}
