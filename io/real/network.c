/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets. A socket number is a descriptor; registered descriptors are not used for them, because
 * sockets move between shards and their slots have leaked in the past (liburing issue 1192).
 *
 * Each shard keeps a table by number of how many operations are in flight on a socket: a
 * descriptor that is closed too early could be given to a stranger while the kernel still works on
 * it, so io_close() insists that there are none.
 */
#include "io/real/ring.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

/* ---- the table ---- */

static void socket_enter(struct io *io, int number)
{
    uint32_t index = (uint32_t)number;
    if (index >= io->socket_size) {
        uint32_t size = io->socket_size == 0 ? 256 : io->socket_size;
        while (size <= index)
            size *= 2;
        io->sockets = mem_realloc(io->sockets, size * sizeof(io->sockets[0]));
        memset(io->sockets + io->socket_size, 0, (size - io->socket_size) * sizeof(io->sockets[0]));
        io->socket_size = size;
    }
    must(!io->sockets[index].open);
    io->sockets[index] = (struct socket){.open = true};
}

static struct socket *socket_of(const struct io *io, int number)
{
    must(number >= 0 && (uint32_t)number < io->socket_size && io->sockets[number].open);
    return &io->sockets[number];
}

void socket_leave(struct io *io, int number)
{
    struct socket *socket = socket_of(io, number);
    must(socket->in_flight > 0);
    socket->in_flight--;
}

void sockets_fini(struct io *io)
{
    mem_free(io->sockets);
}

static void socket_request(struct io *io, struct io_op *op, int kind, int number)
{
    socket_of(io, number)->in_flight++;
    request_start(io, op, kind, number);
}

void io_socket_give(struct io *io, int socket)
{
    struct socket *entry = socket_of(io, socket);
    must(entry->in_flight == 0);
    entry->open = false;
}

void io_socket_take(struct io *io, int socket)
{
    socket_enter(io, socket);
}

/* ---- addresses and options ---- */

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static socklen_t address_to_kernel(const struct io_address *address, struct sockaddr_in6 *to)
{
    memset(to, 0, sizeof(*to));
    if (address->v6) {
        to->sin6_family = AF_INET6;
        to->sin6_port = htons(address->port);
        memcpy(&to->sin6_addr, address->ip, 16);
        return sizeof(struct sockaddr_in6);
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    memcpy(&v4.sin_addr, address->ip + 12, 4);
    memcpy(to, &v4, sizeof(v4));
    return sizeof(struct sockaddr_in);
}

static void address_of_kernel(const struct sockaddr_in6 *from, struct io_address *address)
{
    memset(address, 0, sizeof(*address));
    if (from->sin6_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, from, sizeof(v4));
        memcpy(address->ip, mapped_prefix, 12);
        memcpy(address->ip + 12, &v4.sin_addr, 4);
        address->port = ntohs(v4.sin_port);
        return;
    }
    memcpy(address->ip, &from->sin6_addr, 16);
    address->port = ntohs(from->sin6_port);
    address->v6 = memcmp(address->ip, mapped_prefix, 12) != 0;
}

static void set_option(int file, int level, int name, int value)
{
    /* None of them is a promise; the kernel clips sizes to its own limits, too. */
    (void)setsockopt(file, level, name, &value, sizeof(value));
}

/* Accepted sockets inherit all of these from their listener. */
static int socket_open(const struct io_address *address, const struct io_socket_options *options)
{
    int file = socket(address->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0)
        return -errno;
    if (address->v6)
        set_option(file, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_option(file, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(file, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (options->receive_buffer_bytes != 0)
        set_option(file, SOL_SOCKET, SO_RCVBUF,
                   (int)min_u64(options->receive_buffer_bytes, INT32_MAX / 2));
    if (options->send_buffer_bytes != 0)
        set_option(file, SOL_SOCKET, SO_SNDBUF,
                   (int)min_u64(options->send_buffer_bytes, INT32_MAX / 2));
    return file;
}

/* ---- listening ---- */

static int listen_on(const struct io_address *address, const struct io_socket_options *options,
                     bool reuse_port)
{
    int file = socket_open(address, options);
    if (file < 0)
        return file;
    struct sockaddr_in6 to;
    socklen_t len = address_to_kernel(address, &to);
    set_option(file, SOL_SOCKET, SO_REUSEADDR, 1);
    if (reuse_port)
        set_option(file, SOL_SOCKET, SO_REUSEPORT, 1);
    if (bind(file, (struct sockaddr *)&to, len) != 0 || listen(file, LISTEN_BACKLOG) != 0) {
        int error = -errno;
        close(file);
        return error;
    }
    return file;
}

/* A listener outlives its process: the kernel takes the ring that accepts on it apart after the
 * process has been waited for (4 to 12 ms after kill -9 on an idle machine), and whoever restarts
 * one that was killed must not be told that its port is taken. */
static int listen_alone(const struct io_address *address, const struct io_socket_options *options)
{
    enum { TRIES = 40 };
    for (int i = 0;; i++) {
        int file = listen_on(address, options, false);
        if (file != -EADDRINUSE || i == TRIES)
            return file;
        (void)nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    }
}

/* The port must be shareable for our other shards, but not with a stranger of the same user, who
 * could silently take half of the connections: so the first listener looks whether it can have the
 * address alone before it opens it for sharing. */
int io_listen(struct io *io, const struct io_address *address,
              const struct io_socket_options *options)
{
    if (!options->shared && address->port != 0) {
        int alone = listen_alone(address, options);
        if (alone < 0)
            return alone;
        close(alone);
    }
    int file = listen_on(address, options, true);
    if (file >= 0)
        socket_enter(io, file);
    return file;
}

uint16_t io_listen_port(struct io *io, int listener)
{
    (void)socket_of(io, listener);
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof(name);
    int result = getsockname(listener, (struct sockaddr *)&name, &len);
    must(result == 0);
    struct io_address address;
    address_of_kernel(&name, &address);
    return address.port;
}

void io_peer(struct io *io, int socket, struct io_address *peer)
{
    (void)socket_of(io, socket);
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof(name);
    memset(peer, 0, sizeof(*peer));
    if (getpeername(socket, (struct sockaddr *)&name, &len) == 0)
        address_of_kernel(&name, peer);
}

/* ---- operations ---- */

void io_accept(struct io *io, struct io_op *op, int listener)
{
    socket_request(io, op, REQUEST_ACCEPT, listener);
    request_issue(io, op);
}

void io_connect(struct io *io, struct io_op *op, const struct io_address *address,
                const struct io_socket_options *options)
{
    int file = socket_open(address, options);
    request_start(io, op, REQUEST_CONNECT, file);
    if (file < 0) {
        request_finish(io, op, file);
        return;
    }
    (void)address_to_kernel(address, &request_of(op)->address);
    request_issue(io, op);
}

static void recv_starve(struct io *io, struct io_op *op)
{
    request_of(op)->place = PLACE_STARVED;
    TAILQ_INSERT_TAIL(&io->starved, op, link);
    io->starved_count++;
}

void io_recv(struct io *io, struct io_recv *recv, int socket)
{
    recv->block = NULL;
    socket_request(io, &recv->op, REQUEST_RECV, socket);
    bool blocks = io->pool.offered > 0 || io->pool.unused != NULL;
    if (!blocks && !socket_of(io, socket)->shut) {
        recv_starve(io, &recv->op);
        return;
    }
    /* Whoever has taken a request or an answer asks for the next one before he sends his own, and
     * the peer shall not wait until the kernel has armed this. */
    request_of(&recv->op)->place = PLACE_LAST;
    TAILQ_INSERT_TAIL(&io->receives, &recv->op, link);
}

void io_send(struct io *io, struct io_op *op, int socket, const struct iovec *iov, unsigned count)
{
    must(count >= 1);
    socket_request(io, op, REQUEST_SEND, socket);
    struct transfer *transfer = &request_of(op)->transfer;
    for (unsigned i = 0; i < count; i++)
        transfer->length += iov[i].iov_len;
    must(transfer->length > 0 && transfer->length <= INT32_MAX);
    if (count == 1)
        transfer->base = iov->iov_base;
    else
        transfer->vectors = vectors_get(io, iov, count);
    request_issue(io, op);
}

static void send_prepare(const struct request *request, struct io_uring_sqe *sqe)
{
    const struct transfer *transfer = &request->transfer;
    struct vectors *vectors = transfer->vectors;
    const int flags = MSG_NOSIGNAL | MSG_WAITALL; /* the kernel goes on after a short send itself */
    if (vectors == NULL) {
        io_uring_prep_send(sqe, request->number, transfer->base + transfer->done_bytes,
                           transfer->length - transfer->done_bytes, flags);
        return;
    }
    vectors->message = (struct msghdr){.msg_iov = vectors->iov + vectors->first,
                                       .msg_iovlen = vectors->count - vectors->first};
    io_uring_prep_sendmsg(sqe, request->number, &vectors->message, (unsigned)flags);
}

void network_prepare(struct io *io, struct io_op *op, struct io_uring_sqe *sqe)
{
    struct request *request = request_of(op);
    switch (request->kind) {
    case REQUEST_ACCEPT:
        io_uring_prep_accept(sqe, request->number, NULL, NULL, SOCK_CLOEXEC);
        break;
    case REQUEST_CONNECT:
        io_uring_prep_connect(sqe, request->number, (struct sockaddr *)&request->address,
                              request->address.sin6_family == AF_INET ? sizeof(struct sockaddr_in)
                                                                      : sizeof(request->address));
        break;
    case REQUEST_RECV:
        io_uring_prep_recv(sqe, request->number, NULL, IO_BLOCK_SIZE, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = POOL_GROUP;
        if (io->polls_first && socket_of(io, request->number)->dry)
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST; /* a try would find nothing */
        break;
    default:
        must(request->kind == REQUEST_SEND);
        send_prepare(request, sqe);
    }
}

static void recv_complete(struct io *io, struct io_op *op, int res, unsigned flags)
{
    struct io_recv *recv = container_of(op, struct io_recv, op);
    struct io_block *block = NULL;
    if (flags & IORING_CQE_F_BUFFER)
        block = pool_taken(io, flags >> IORING_CQE_BUFFER_SHIFT);
    if (res > 0) {
        must(block != NULL);
        count_up(&io->counts.bytes_received, (uint64_t)res);
        socket_of(io, request_of(op)->number)->dry = !(flags & IORING_CQE_F_SOCK_NONEMPTY);
        recv->block = block;
        request_done(io, op, res);
        return;
    }
    if (block != NULL)
        io_block_put(io, block);
    if (res == -ENOBUFS && !socket_of(io, request_of(op)->number)->shut) {
        pool_starving(io);
        recv_starve(io, op);
        return;
    }
    request_done(io, op, res == -ENOBUFS ? 0 : res);
}

static void send_complete(struct io *io, struct io_op *op, int res)
{
    struct transfer *transfer = &request_of(op)->transfer;
    if (res > 0) {
        count_up(&io->counts.bytes_sent, (uint64_t)res);
        if (!transfer_advance(transfer, (uint64_t)res)) {
            request_issue(io, op);
            return;
        }
    }
    vectors_put(io, transfer->vectors);
    transfer->vectors = NULL;
    int64_t result = res < 0 ? res : (int64_t)transfer->length;
    request_done(io, op, res == 0 ? -EPIPE : result);
}

void network_complete(struct io *io, struct io_op *op, int res, unsigned flags)
{
    struct request *request = request_of(op);
    if ((res == -EINTR || res == -EAGAIN) && request->kind != REQUEST_CONNECT) {
        request_issue(io, op);
        return;
    }
    switch (request->kind) {
    case REQUEST_ACCEPT:
        if (res >= 0)
            socket_enter(io, res);
        request_done(io, op, res);
        break;
    case REQUEST_CONNECT:
        if (res == 0)
            socket_enter(io, request->number);
        else
            close(request->number);
        request_done(io, op, res == 0 ? request->number : res);
        break;
    case REQUEST_RECV:
        recv_complete(io, op, res, flags);
        break;
    default:
        must(request->kind == REQUEST_SEND);
        send_complete(io, op, res);
    }
}

/* ---- ending ---- */

/* A receive that waits for a block is not with the kernel and would not hear of it. */
void io_shutdown(struct io *io, int socket)
{
    socket_of(io, socket)->shut = true;
    (void)shutdown(socket, SHUT_RDWR);
    struct io_op *op = TAILQ_FIRST(&io->starved);
    while (op != NULL) {
        struct io_op *next = TAILQ_NEXT(op, link);
        if (request_of(op)->number == socket) {
            TAILQ_REMOVE(&io->starved, op, link);
            io->starved_count--;
            request_finish(io, op, 0);
        }
        op = next;
    }
}

void io_close(struct io *io, int socket)
{
    struct socket *entry = socket_of(io, socket);
    must(entry->in_flight == 0);
    entry->open = false;
    int result = close(socket);
    must(result == 0 || errno != EBADF);
}

void io_cancel(struct io *io, struct io_op *op)
{
    struct request *request = request_of(op);
    must(request->kind == REQUEST_ACCEPT || request->kind == REQUEST_CONNECT ||
         request->kind == REQUEST_RECV);
    if (request->place == PLACE_STARVED) {
        TAILQ_REMOVE(&io->starved, op, link);
        io->starved_count--;
        request_finish(io, op, -ECANCELED);
    } else if (request->place == PLACE_LAST) {
        TAILQ_REMOVE(&io->receives, op, link);
        request_finish(io, op, -ECANCELED);
    } else if (request->place == PLACE_WAITING) {
        TAILQ_REMOVE(&io->waiting, op, link);
        request_finish(io, op, -ECANCELED);
    } else if (request->place == PLACE_KERNEL) {
        request->place = PLACE_CANCEL;
        TAILQ_INSERT_TAIL(&io->cancels, op, link);
    }
}
