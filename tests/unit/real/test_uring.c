/* SPDX-License-Identifier: Apache-2.0
 *
 * The real door, driven by hand: one shard's ring on the test's own thread.
 */
#include "io/fs.h"
#include "io/io.h"
#include "io/mem.h"
#include "io/threads.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1024U * 1024)

struct probe {
    struct io_op op;
    unsigned done;
};

static void on_done(struct io_op *op)
{
    container_of(op, struct probe, op)->done++;
}

static struct io *open_spinning_door(uint64_t pool_bytes, uint64_t spin_ns)
{
    char error[512];
    struct io_options options = {
        .receive_pool_bytes = pool_bytes, .spin_ns = spin_ns, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    if (io == NULL)
        fail_msg("%s", error);
    return io;
}

static struct io *open_door(uint64_t pool_bytes)
{
    return open_spinning_door(pool_bytes, 0);
}

static bool nothing_pending(void *argument)
{
    (void)argument;
    return false;
}

/* One turn that sleeps at most `ms`. */
static void turn(struct io *io, unsigned ms)
{
    io_turn_begin(io);
    io_wait(io, io_now_ns(io) + ms * 1000000ULL, nothing_pending, NULL);
    io_turn_begin(io);
    io_reap(io);
}

static void run_until(struct io *io, const unsigned *counter, unsigned target)
{
    uint64_t stop_ns = io_clock_ns(io) + 20000000000ULL;
    while (__atomic_load_n(counter, __ATOMIC_RELAXED) < target) {
        turn(io, 1000);
        if (io_clock_ns(io) > stop_ns)
            fail_msg("stuck at %u of %u", *counter, target);
    }
}

static int64_t wait_for(struct io *io, struct probe *probe)
{
    run_until(io, &probe->done, 1);
    assert_int_equal(probe->done, 1);
    probe->done = 0;
    return probe->op.res;
}

/* ---- files ---- */

static const char *scratch_path(void)
{
    return "build/test-uring.data";
}

static void test_files(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    struct fs *fs = io_fs(io);
    (void)mkdir("build", 0755);
    int file = fs_open(fs, scratch_path(), FS_WRITE | FS_CREATE | FS_DIRECT);
    assert_true(file >= 0);
    uint8_t *data = mem_pages(4 * MIB);
    uint8_t *back = mem_pages(4 * MIB);
    for (size_t i = 0; i < 4 * MIB; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 12));

    /* Pieces, durable, gathered from the middle out; the array may change at once. */
    struct probe probe = {.op.done = on_done};
    struct iovec iov[3] = {{data, 4096}, {data + 4096, 2 * MIB}, {data + 4096 + 2 * MIB, 8192}};
    io_write(io, &probe.op, file, iov, 3, 4096, true);
    memset(iov, 0, sizeof(iov));
    assert_int_equal(probe.done, 0);
    assert_int_equal(wait_for(io, &probe), 4096 + 2 * MIB + 8192);
    iov[0] = (struct iovec){data, 4096};
    io_write(io, &probe.op, file, iov, 1, 0, false);
    assert_int_equal(wait_for(io, &probe), 4096);
    io_sync(io, &probe.op, file);
    assert_int_equal(wait_for(io, &probe), 0);

    /* Larger than one kernel read, ending at the end of the file. */
    io_read(io, &probe.op, file, back, 4 * MIB, 4096);
    assert_int_equal(wait_for(io, &probe), 4096 + 2 * MIB + 8192);
    assert_memory_equal(back, data, 4096 + 2 * MIB + 8192);
    io_read(io, &probe.op, file, back, 4096, 64 * MIB);
    assert_int_equal(wait_for(io, &probe), 0);

    /* An odd end: the last bytes come, and no error. */
    assert_int_equal(fs_truncate(fs, file, 4096 + 100), 0);
    io_read(io, &probe.op, file, back, 16384, 0);
    assert_int_equal(wait_for(io, &probe), 4096 + 100);

    /* Errors arrive as results, later. */
    int reader = fs_open(fs, scratch_path(), FS_READ);
    io_write(io, &probe.op, reader, iov, 1, 0, false);
    assert_int_equal(probe.done, 0);
    assert_int_equal(wait_for(io, &probe), -EBADF);
    fs_close(fs, reader);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, scratch_path()), 0);
    mem_pages_free(data, 4 * MIB);
    mem_pages_free(back, 4 * MIB);
    io_close_all(io);
}

/* More operations than the submission queue holds. */
static void test_queue_full(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct io *io = open_door(MIB);
    struct fs *fs = io_fs(io);
    int file = fs_open(fs, scratch_path(), FS_WRITE | FS_CREATE);
    assert_true(file >= 0);
    struct probe *probes = mem_zalloc(COUNT * sizeof(probes[0]));
    uint8_t byte = 'x';
    struct iovec iov = {&byte, 1};
    for (unsigned i = 0; i < COUNT; i++) {
        probes[i].op.done = on_done;
        io_write(io, &probes[i].op, file, &iov, 1, i, false);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(wait_for(io, &probes[i]), 1);
    assert_int_equal(fs_size(fs, file), COUNT);
    mem_free(probes);
    fs_close(fs, file);
    assert_int_equal(fs_unlink(fs, scratch_path()), 0);
    io_close_all(io);
}

/* ---- sockets ---- */

struct peer {
    struct io *io;
    int socket;
    struct io_recv recv;
    struct io_op send;
    struct iovec iov;
    uint8_t *out; /* what it sends */
    uint8_t *in;  /* what came back */
    size_t received;
    size_t echoed; /* bytes in flight of the echo */
    bool echo;
    bool hold; /* keeps the blocks it gets */
    struct io_block *held[512];
    unsigned held_count;
    unsigned ended;
    unsigned sent;
    int64_t end_result;
};

static void peer_receive(struct peer *peer);

static void on_echoed(struct io_op *op)
{
    struct peer *peer = container_of(op, struct peer, send);
    assert_int_equal(op->res, (int64_t)peer->iov.iov_len);
    io_block_put(peer->io, peer->recv.block);
    peer_receive(peer);
}

static void on_received(struct io_op *op)
{
    struct peer *peer = container_of(op, struct peer, recv.op);
    if (op->res <= 0) {
        assert_null(peer->recv.block);
        peer->ended++;
        peer->end_result = op->res;
        return;
    }
    struct io_block *block = peer->recv.block;
    assert_int_equal(block->refs, 1);
    peer->received += (size_t)op->res;
    if (peer->echo) {
        peer->iov = (struct iovec){block->data, (size_t)op->res};
        peer->send.done = on_echoed;
        io_send(peer->io, &peer->send, peer->socket, &peer->iov, 1);
        return;
    }
    if (peer->in != NULL)
        memcpy(peer->in + peer->received - (size_t)op->res, block->data, (size_t)op->res);
    if (peer->hold)
        peer->held[peer->held_count++] = block;
    else
        io_block_put(peer->io, block);
    peer_receive(peer);
}

static void peer_receive(struct peer *peer)
{
    peer->recv.op.done = on_received;
    io_recv(peer->io, &peer->recv, peer->socket);
}

static void on_sent(struct io_op *op)
{
    struct peer *peer = container_of(op, struct peer, send);
    peer->sent++;
    peer->end_result = op->res;
}

/* 127.0.0.1, as v4 is told in an address of v6; port 0: any. */
static struct io_address local_address(uint16_t port)
{
    return (struct io_address){.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                               .port = port};
}

static int listen_local(struct io *io, uint16_t *port)
{
    struct io_address any = local_address(0);
    struct io_socket_options options = {0};
    int listener = io_listen(io, &any, &options);
    assert_true(listener >= 0);
    *port = io_listen_port(io, listener);
    assert_true(*port != 0);
    return listener;
}

static void connect_pair(struct io *io, int listener, uint16_t port, int *client, int *server)
{
    struct io_address to = local_address(port);
    struct io_socket_options options = {0};
    struct probe accepted = {.op.done = on_done};
    struct probe connected = {.op.done = on_done};
    io_accept(io, &accepted.op, listener);
    io_connect(io, &connected.op, &to, &options);
    *client = (int)wait_for(io, &connected);
    *server = (int)wait_for(io, &accepted);
    assert_true(*client >= 0 && *server >= 0);
    struct io_address peer;
    io_peer(io, *server, &peer);
    assert_false(peer.v6);
    assert_memory_equal(peer.ip, to.ip, 16);
}

static void peer_close(struct peer *peer)
{
    while (peer->held_count > 0)
        io_block_put(peer->io, peer->held[--peer->held_count]);
    io_close(peer->io, peer->socket);
}

static void peer_send(struct peer *peer, const struct iovec *pieces, unsigned count)
{
    peer->send.done = on_sent;
    io_send(peer->io, &peer->send, peer->socket, pieces, count);
}

/* Turns until it has received so much in all. */
static void peer_hears(struct peer *peer, size_t bytes)
{
    while (peer->received < bytes)
        turn(peer->io, 1000);
}

/* Its receive ends for the first time, with this result. */
static void peer_ends(struct peer *peer, int64_t result)
{
    run_until(peer->io, &peer->ended, 1);
    assert_int_equal(peer->end_result, result);
}

/* Bytes from a socket that the door does not know of: they are there at once. */
static void send_beside(int socket, const char *text)
{
    const size_t len = strlen(text);
    assert_int_equal(send(socket, text, len, 0), len);
}

/* A door, the port it listens on, and the two ends of one connection to it, both its own. */
struct line {
    struct io *io;
    uint16_t port;
    int listener;
    struct peer server;
    struct peer client;
};

static void line_open(struct line *line)
{
    memset(line, 0, sizeof(*line));
    line->io = open_door(MIB);
    line->listener = listen_local(line->io, &line->port);
    line->server.io = line->client.io = line->io;
    connect_pair(line->io, line->listener, line->port, &line->client.socket, &line->server.socket);
}

/* Both ends have been closed. */
static void line_end(struct line *line)
{
    io_close(line->io, line->listener);
    io_close_all(line->io);
}

/* 1 MiB out in two pieces and back, on two connections at once; then one side closes. */
static void test_echo(void **state)
{
    (void)state;
    struct io *io = open_door(4 * MIB);
    uint16_t port;
    int listener = listen_local(io, &port);
    struct peer servers[2] = {0};
    struct peer clients[2] = {0};
    struct iovec pieces[2][2];
    for (unsigned i = 0; i < 2; i++) {
        connect_pair(io, listener, port, &clients[i].socket, &servers[i].socket);
        servers[i].io = clients[i].io = io;
        servers[i].echo = true;
        clients[i].out = mem_alloc(MIB);
        clients[i].in = mem_zalloc(MIB);
        for (size_t b = 0; b < MIB; b++)
            clients[i].out[b] = (uint8_t)(b * 31 + i + (b >> 9));
        peer_receive(&servers[i]);
        peer_receive(&clients[i]);
        pieces[i][0] = (struct iovec){clients[i].out, 17};
        pieces[i][1] = (struct iovec){clients[i].out + 17, MIB - 17};
        peer_send(&clients[i], pieces[i], 2);
    }
    while (clients[0].received + clients[1].received < 2 * MIB)
        turn(io, 1000);
    for (unsigned i = 0; i < 2; i++) {
        run_until(io, &clients[i].sent, 1);
        assert_int_equal(clients[i].end_result, MIB);
        assert_memory_equal(clients[i].in, clients[i].out, MIB);
        io_shutdown(io, clients[i].socket);
        run_until(io, &clients[i].ended, 1);
        peer_ends(&servers[i], 0);
        peer_close(&clients[i]);
        peer_close(&servers[i]);
        mem_free(clients[i].in);
        mem_free(clients[i].out);
    }
    assert_int_equal(io_blocks_free(io), 4 * MIB / IO_BLOCK_SIZE);
    io_close(io, listener);
    io_close_all(io);
}

/* The peer ends its direction only: we see the end, and can still answer. */
static void test_half_close(void **state)
{
    (void)state;
    struct line line;
    line_open(&line);
    peer_receive(&line.server);
    assert_int_equal(shutdown(line.client.socket, SHUT_WR), 0);
    peer_ends(&line.server, 0);
    char answer[] = "answer";
    struct iovec iov = {answer, 6};
    peer_send(&line.server, &iov, 1);
    peer_receive(&line.client);
    run_until(line.io, &line.server.sent, 1);
    peer_hears(&line.client, 6);
    peer_close(&line.server);
    run_until(line.io, &line.client.ended, 1);
    peer_close(&line.client);
    line_end(&line);
}

static void test_reset(void **state)
{
    (void)state;
    struct line line;
    line_open(&line);
    peer_receive(&line.server);
    struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(line.client.socket, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    peer_close(&line.client);
    peer_ends(&line.server, -ECONNRESET);
    /* A send after that fails, too, and raises no signal. */
    struct iovec iov = {&line.port, 2};
    peer_send(&line.server, &iov, 1);
    run_until(line.io, &line.server.sent, 1);
    assert_int_equal(line.server.end_result, -EPIPE);
    peer_close(&line.server);
    line_end(&line);
}

/* A send that cannot get rid of its bytes and a receive that hears nothing both end. */
static void test_shutdown_pending(void **state)
{
    (void)state;
    struct line line;
    line_open(&line);
    uint8_t *much = mem_pages(64 * MIB);
    struct iovec iov = {much, 64 * MIB};
    peer_send(&line.server, &iov, 1);
    peer_receive(&line.server);
    turn(line.io, 50);
    turn(line.io, 50);
    assert_int_equal(line.server.sent + line.server.ended, 0);
    io_shutdown(line.io, line.server.socket);
    run_until(line.io, &line.server.sent, 1);
    run_until(line.io, &line.server.ended, 1);
    peer_close(&line.server);
    peer_close(&line.client);
    mem_pages_free(much, 64 * MIB);
    line_end(&line);
}

static void test_cancel(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    uint16_t port;
    int listener = listen_local(io, &port);
    struct probe accept = {.op.done = on_done};
    io_accept(io, &accept.op, listener);
    turn(io, 0);
    io_cancel(io, &accept.op);
    assert_int_equal(accept.done, 0);
    assert_int_equal(wait_for(io, &accept), -ECANCELED);

    /* A connection that is refused gives no socket. */
    io_close(io, listener);
    struct io_address to = local_address(port);
    struct io_socket_options options = {0};
    struct probe connect = {.op.done = on_done};
    io_connect(io, &connect.op, &to, &options);
    assert_int_equal(wait_for(io, &connect), -ECONNREFUSED);
    io_close_all(io);
}

/* A receive that has not been submitted yet ends as one that has. */
static void test_receive_unsubmitted(void **state)
{
    (void)state;
    struct line line;
    line_open(&line);
    peer_receive(&line.server);
    io_cancel(line.io, &line.server.recv.op);
    assert_int_equal(line.server.ended, 0);
    peer_ends(&line.server, -ECANCELED);
    peer_receive(&line.server);
    io_shutdown(line.io, line.server.socket);
    run_until(line.io, &line.server.ended, 2);
    assert_int_equal(line.server.end_result, 0);
    peer_close(&line.server);
    peer_close(&line.client);
    line_end(&line);
}

/* Where there was nothing more to receive the next receive only waits, and hears all the same what
 * came before it was submitted. */
static void test_receive_dry(void **state)
{
    (void)state;
    struct line line;
    line_open(&line);
    peer_receive(&line.server);
    for (size_t i = 1; i <= 100; i++) {
        send_beside(line.client.socket, "answer");
        peer_hears(&line.server, 6 * i);
    }
    peer_close(&line.client);
    peer_ends(&line.server, 0);
    peer_close(&line.server);
    line_end(&line);
}

/* Nobody takes half of our connections by listening on our port; our own shards may. */
static void test_listen_twice(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    uint16_t port;
    int listener = listen_local(io, &port);
    struct io_address same = local_address(port);
    struct io_socket_options options = {0};
    assert_int_equal(io_listen(io, &same, &options), -EADDRINUSE);
    options.shared = true;
    int second = io_listen(io, &same, &options);
    assert_true(second >= 0);
    io_close(io, second);
    io_close(io, listener);
    io_close_all(io);
}

/* The port, to a pipe; then it waits to be killed. */
static void accept_for_ever(int pipe_end)
{
    struct io *io = open_door(MIB);
    uint16_t port;
    struct probe accepted = {.op.done = on_done};
    int listener = listen_local(io, &port);
    io_accept(io, &accepted.op, listener);
    io_submit(io);
    if (write(pipe_end, &port, sizeof(port)) == (ssize_t)sizeof(port))
        (void)pause();
    _exit(1);
}

/* kill -9, and the next one at once on the same port. */
static void test_port_of_a_killed_process(void **state)
{
    (void)state;
    int ends[2];
    uint16_t port;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        accept_for_ever(ends[1]);
    assert_int_equal(read(ends[0], &port, sizeof(port)), sizeof(port));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    struct io *io = open_door(MIB);
    struct io_address same = local_address(port);
    int listener = io_listen(io, &same, &(struct io_socket_options){0});
    assert_true(listener >= 0);
    io_close(io, listener);
    io_close_all(io);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_idle_connections_hold_no_block(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    threads_raise_nofile();
    struct io *io = open_door(8 * 65536);
    uint16_t port;
    int listener = listen_local(io, &port);
    struct peer *peers = mem_zalloc(COUNT * sizeof(peers[0]));
    int *clients = mem_zalloc(COUNT * sizeof(clients[0]));
    for (unsigned i = 0; i < COUNT; i++) {
        peers[i].io = io;
        connect_pair(io, listener, port, &clients[i], &peers[i].socket);
        peer_receive(&peers[i]);
    }
    turn(io, 10);
    assert_int_equal(io_blocks_free(io), 8);
    /* All speak at once, with far fewer blocks than that. */
    for (unsigned i = 0; i < COUNT; i++)
        send_beside(clients[i], "hello");
    for (unsigned i = 0; i < COUNT; i++)
        peer_hears(&peers[i], 5);
    assert_int_equal(io_blocks_free(io), 8);
    for (unsigned i = 0; i < COUNT; i++) {
        io_shutdown(io, peers[i].socket);
        run_until(io, &peers[i].ended, 1);
        io_close(io, peers[i].socket);
        io_close(io, clients[i]);
    }
    mem_free(peers);
    mem_free(clients);
    io_close(io, listener);
    io_close_all(io);
}

/* One connection keeps every block; the other waits without a storm, and goes on. */
static void test_pool_exhausted(void **state)
{
    (void)state;
    enum { BLOCKS = 8 };
    struct io *io = open_door(BLOCKS * 65536);
    uint16_t port;
    int listener = listen_local(io, &port);
    struct peer greedy = {.io = io, .hold = true};
    struct peer patient = {.io = io};
    int greedy_client;
    int patient_client;
    connect_pair(io, listener, port, &greedy_client, &greedy.socket);
    connect_pair(io, listener, port, &patient_client, &patient.socket);
    peer_receive(&greedy);
    peer_receive(&patient);
    while (io_blocks_free(io) > 0) {
        send_beside(greedy_client, "x");
        turn(io, 1000);
    }
    send_beside(patient_client, "y");
    uint64_t enters = io_counts(io)->enters;
    for (unsigned i = 0; i < 10; i++)
        turn(io, 20);
    assert_int_equal(patient.received, 0);
    assert_true(io_counts(io)->enters - enters < 30); /* it sleeps, it does not spin */
    io_block_put(io, greedy.held[--greedy.held_count]);
    peer_hears(&patient, 1);

    /* A starved receive hears of a shutdown, and can be cancelled. */
    send_beside(greedy_client, "x");
    while (io_blocks_free(io) > 0)
        turn(io, 1000);
    send_beside(patient_client, "y");
    turn(io, 20);
    turn(io, 20);
    io_shutdown(io, patient.socket);
    peer_ends(&patient, 0);
    send_beside(greedy_client, "x");
    turn(io, 20);
    turn(io, 20);
    io_cancel(io, &greedy.recv.op);
    peer_ends(&greedy, -ECANCELED);
    peer_close(&greedy);
    peer_close(&patient);
    io_close(io, greedy_client);
    io_close(io, patient_client);
    io_close(io, listener);
    io_close_all(io);
}

/* ---- helpers, waking, sleeping ---- */

struct job {
    struct io_op op;
    unsigned *finished;
    unsigned *ran;
    unsigned order;
};

static void run_job(void *argument)
{
    struct job *job = argument;
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    job->order = __atomic_fetch_add(job->ran, 1, __ATOMIC_RELAXED);
}

static void on_job(struct io_op *op)
{
    struct job *job = container_of(op, struct job, op);
    (*job->finished)++;
}

static void test_work(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    unsigned ran = 0;
    unsigned finished = 0;
    struct job jobs[20];
    for (unsigned i = 0; i < array_count(jobs); i++) {
        jobs[i] = (struct job){.op.done = on_job, .finished = &finished, .ran = &ran};
        io_work(io, &jobs[i].op, run_job, &jobs[i]);
    }
    assert_int_equal(finished, 0);
    run_until(io, &finished, array_count(jobs));
    for (unsigned i = 0; i < array_count(jobs); i++)
        assert_int_equal(jobs[i].order, i);
    io_close_all(io);
}

struct named {
    struct io_lookup lookup;
    unsigned *finished;
};

static void on_named(struct io_op *op)
{
    struct named *named = container_of(op, struct named, lookup.op);
    (*named->finished)++;
}

static void test_lookup(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    unsigned finished = 0;
    struct named known = {.lookup = {.op.done = on_named, .host = "localhost"},
                          .finished = &finished};
    struct named unknown = {.lookup = {.op.done = on_named, .host = "no-such-host.invalid"},
                            .finished = &finished};
    io_lookup(io, &known.lookup);
    io_lookup(io, &unknown.lookup);
    assert_int_equal(finished, 0);
    run_until(io, &finished, 2);
    assert_true(known.lookup.count > 0);
    for (uint32_t i = 0; i < known.lookup.count; i++)
        assert_true(known.lookup.addresses[i].v6 ? known.lookup.addresses[i].ip[15] == 1
                                                 : known.lookup.addresses[i].ip[12] == 127);
    assert_int_equal(unknown.lookup.count, 0);
    io_close_all(io);
}

/* A name server that does not answer until it may. */
#define SILENT_NAME "silent.invalid"

static unsigned silent_asked;
static unsigned silent_may_answer;

/* In place of the C library's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (strcmp(name, SILENT_NAME) != 0) {
        void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
        memcpy(&real, &symbol, sizeof(real));
        return real(name, service, hints, found);
    }
    __atomic_store_n(&silent_asked, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&silent_may_answer, __ATOMIC_ACQUIRE))
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return EAI_AGAIN;
}

/* Two that wait for it end at once, the second in line behind the first; the door is closed before
 * the helper comes back, which then serves others. */
static void test_lookup_end(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    unsigned finished = 0;
    struct named named[2];
    for (unsigned i = 0; i < array_count(named); i++) {
        named[i] = (struct named){.lookup = {.op.done = on_named, .host = SILENT_NAME},
                                  .finished = &finished};
        io_lookup(io, &named[i].lookup);
    }
    while (!__atomic_load_n(&silent_asked, __ATOMIC_ACQUIRE))
        turn(io, 1);
    for (unsigned i = 0; i < array_count(named); i++)
        io_lookup_end(io, &named[i].lookup);
    assert_int_equal(finished, 0);
    run_until(io, &finished, array_count(named));
    for (unsigned i = 0; i < array_count(named); i++) {
        assert_int_equal(named[i].lookup.op.res, -ECANCELED);
        assert_int_equal(named[i].lookup.count, 0);
    }
    io_close_all(io);
    __atomic_store_n(&silent_may_answer, 1, __ATOMIC_RELEASE);
    test_lookup(state);
}

struct waker {
    struct io *to;
    unsigned wakes;
};

static void wake_later(uint32_t index, void *argument)
{
    (void)index;
    struct waker *waker = argument;
    (void)nanosleep(&(struct timespec){.tv_nsec = 30 * 1000000}, NULL);
    __atomic_store_n(&waker->wakes, 1, __ATOMIC_RELAXED);
    io_wake(NULL, waker->to);
}

static void test_wake(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    turn(io, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct waker waker = {.to = io};
        struct threads *threads;
        assert_int_equal(threads_start(&threads, NULL, 1, wake_later, &waker), 0);
        uint64_t began_ns = io_clock_ns(io);
        run_until(io, &waker.wakes, 1);
        uint64_t took_ns = io_clock_ns(io) - began_ns;
        assert_in_range(took_ns, 10000000, 900000000);
        threads_join(threads);
    }
    io_close_all(io);
}

static void test_sleep_until(void **state)
{
    (void)state;
    struct io *io = open_door(MIB);
    for (unsigned i = 0; i < 3; i++)
        turn(io, 0);
    uint64_t began_ns = io_clock_ns(io);
    turn(io, 30);
    uint64_t took_ns = io_clock_ns(io) - began_ns;
    assert_in_range(took_ns, 29000000, 500000000);
    io_close_all(io);
}

/* One that spins for longer than it may wait never sleeps, and says how long it found nothing. */
static void test_spin_until(void **state)
{
    (void)state;
    struct io *io = open_spinning_door(MIB, 1000000000);
    for (unsigned i = 0; i < 3; i++)
        turn(io, 0);
    const struct io_counts before = *io_counts(io);
    uint64_t began_ns = io_clock_ns(io);
    turn(io, 30);
    uint64_t took_ns = io_clock_ns(io) - began_ns;
    assert_in_range(took_ns, 29000000, 500000000);
    assert_int_equal(io_counts(io)->sleeps, before.sleeps);
    assert_int_equal(io_counts(io)->enters, before.enters);
    assert_in_range(io_counts(io)->spun_ns - before.spun_ns, 29000000, took_ns);
    io_close_all(io);
}

/* A descriptor limit that leaves none for the ring: a sentence, not a crash. */
static void test_refused(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    char error[512] = "";
    struct io_options options = {.receive_pool_bytes = MIB, .log_file = -1};
    struct io *io = io_open(&options, error, sizeof(error));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_null(io);
    assert_non_null(strstr(error, "ulimit -n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_shutdown_pending),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_receive_unsubmitted),
        cmocka_unit_test(test_receive_dry),
        cmocka_unit_test(test_listen_twice),
        cmocka_unit_test(test_port_of_a_killed_process),
        cmocka_unit_test(test_idle_connections_hold_no_block),
        cmocka_unit_test(test_pool_exhausted),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_lookup_end),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_sleep_until),
        cmocka_unit_test(test_spin_until),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
