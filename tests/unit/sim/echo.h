/* SPDX-License-Identifier: Apache-2.0
 *
 * Two small programs for tests of the simulated world: a server that sends back what it gets, and a
 * client that sends numbered bytes, checks what comes back and connects again after any error.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "io/mem.h"
#include "io/sim/sim.h"

#define ECHO_PORT 7

struct echo_server {
    struct io_op accept;
    struct shard *sh;
    int listener;
    uint64_t *accepted; /* [shard], outside of the process */
};

struct echo_conn {
    struct io_recv recv;
    struct io_op send;
    struct io *io;
    struct iovec iov;
    int socket;
};

static void echo_end(struct echo_conn *conn)
{
    if (conn->recv.block)
        io_block_put(conn->io, conn->recv.block);
    io_close(conn->io, conn->socket);
    mem_free(conn);
}

static void echo_on_send(struct io_op *op)
{
    struct echo_conn *conn = container_of(op, struct echo_conn, send);
    if (op->res < 0) {
        echo_end(conn);
        return;
    }
    io_block_put(conn->io, conn->recv.block);
    io_recv(conn->io, &conn->recv, conn->socket);
}

static void echo_on_recv(struct io_op *op)
{
    struct echo_conn *conn = container_of(op, struct echo_conn, recv.op);
    if (op->res <= 0) {
        echo_end(conn);
        return;
    }
    conn->iov = (struct iovec){.iov_base = conn->recv.block->data, .iov_len = (size_t)op->res};
    io_send(conn->io, &conn->send, conn->socket, &conn->iov, 1);
}

static void echo_on_accept(struct io_op *op)
{
    struct echo_server *server = container_of(op, struct echo_server, accept);
    struct io *io = server->sh->io;
    if (op->res >= 0) {
        struct echo_conn *conn = mem_zalloc(sizeof(*conn));
        conn->io = io;
        conn->socket = (int)op->res;
        conn->send.done = echo_on_send;
        conn->recv.op.done = echo_on_recv;
        server->accepted[server->sh->id]++;
        io_recv(io, &conn->recv, conn->socket);
    }
    io_accept(io, &server->accept, server->listener);
}

static void echo_server_start(struct shard *sh, void *accepted)
{
    struct echo_server *server = mem_zalloc(sizeof(*server));
    struct io_address address = {.ip = {[10] = 0xff, [11] = 0xff}, .port = ECHO_PORT};
    struct io_socket_options options = {.shared = true};
    server->sh = sh;
    server->accepted = accepted;
    server->accept.done = echo_on_accept;
    server->listener = io_listen(sh->io, &address, &options);
    must(server->listener >= 0);
    io_accept(sh->io, &server->accept, server->listener);
}

/* What a client shall do, and what came of it; outside of its process. */
struct echo_wish {
    struct io_address address;
    uint32_t rounds;
    uint32_t len;
    uint32_t rounds_done;
    uint32_t errors;
    uint32_t wrong;
    uint64_t pause_ns;
};

struct echo_client {
    struct echo_wish *wish;
    struct shard *sh;
    struct io_op connect;
    struct io_op send;
    struct io_recv recv;
    struct timer again;
    struct iovec iov;
    uint8_t *bytes;
    uint32_t got;
    int socket;
    bool sending;
    bool receiving;
    bool failed;
};

static void echo_connect(struct shard *sh, struct timer *timer)
{
    struct echo_client *client = container_of(timer, struct echo_client, again);
    io_connect(sh->io, &client->connect, &client->wish->address, NULL);
}

static void echo_client_fail(struct echo_client *client)
{
    client->failed = true;
    if (client->sending || client->receiving) {
        io_shutdown(client->sh->io, client->socket);
        return;
    }
    io_close(client->sh->io, client->socket);
    client->wish->errors++;
    timer_set(client->sh, &client->again, io_now_ns(client->sh->io) + 1000000);
}

static void echo_round(struct echo_client *client)
{
    struct io *io = client->sh->io;
    for (uint32_t i = 0; i < client->wish->len; i++)
        client->bytes[i] = (uint8_t)(client->wish->rounds_done * 7 + i);
    client->got = 0;
    client->iov = (struct iovec){.iov_base = client->bytes, .iov_len = client->wish->len};
    client->sending = true;
    client->receiving = true;
    io_send(io, &client->send, client->socket, &client->iov, 1);
    io_recv(io, &client->recv, client->socket);
}

/* A round is over when all has come back and the send has completed: in either order. */
static void echo_round_check(struct echo_client *client)
{
    if (client->sending || client->got < client->wish->len)
        return;
    client->wish->rounds_done++;
    if (client->wish->rounds_done < client->wish->rounds)
        echo_round(client);
    else
        io_close(client->sh->io, client->socket);
}

static void echo_client_on_send(struct io_op *op)
{
    struct echo_client *client = container_of(op, struct echo_client, send);
    client->sending = false;
    if (op->res < 0 || client->failed)
        echo_client_fail(client);
    else
        echo_round_check(client);
}

static void echo_client_on_recv(struct io_op *op)
{
    struct echo_client *client = container_of(op, struct echo_client, recv.op);
    struct io *io = client->sh->io;
    client->receiving = false;
    if (op->res <= 0 || client->failed) {
        if (client->recv.block)
            io_block_put(io, client->recv.block);
        echo_client_fail(client);
        return;
    }
    if (memcmp(client->recv.block->data, client->bytes + client->got, (size_t)op->res) != 0)
        client->wish->wrong++;
    client->got += (uint32_t)op->res;
    io_block_put(io, client->recv.block);
    if (client->got < client->wish->len) {
        client->receiving = true;
        io_recv(io, &client->recv, client->socket);
        return;
    }
    echo_round_check(client);
}

static void echo_on_connect(struct io_op *op)
{
    struct echo_client *client = container_of(op, struct echo_client, connect);
    if (op->res < 0) {
        client->wish->errors++;
        timer_set(client->sh, &client->again, io_now_ns(client->sh->io) + 1000000);
        return;
    }
    client->socket = (int)op->res;
    client->failed = false;
    echo_round(client);
}

static void echo_client_start(struct shard *sh, void *wish)
{
    struct echo_client *client = mem_zalloc(sizeof(*client));
    client->wish = wish;
    client->sh = sh;
    client->bytes = mem_alloc(client->wish->len);
    client->connect.done = echo_on_connect;
    client->send.done = echo_client_on_send;
    client->recv.op.done = echo_client_on_recv;
    client->again = (struct timer){.fn = echo_connect, .name = "echo.again"};
    echo_connect(sh, &client->again);
}

static inline bool echo_is_done(void *wish)
{
    const struct echo_wish *w = wish;
    return w->rounds_done >= w->rounds;
}
