/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams of the simulated network: how bytes travel, stall, and end. A pipe delivers one piece
 * after another, each an event; the first after silence takes the latency of the link, the others
 * follow at its bandwidth. A send completes when the last byte has a place in the sender's buffer,
 * so a reader that does not read stops the writer. Bytes keep their order; where pieces begin and
 * end means nothing.
 */
#include "io/sim/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(data, size)   ((void)(data), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#endif

#define RETRY_NS 200000000ULL

static void end_try_send(struct end *end);

bool link_is_cut(const struct world *world, const struct machine *from, const struct machine *to)
{
    return from != to && world->cuts[from->index * MACHINES_MAX + to->index];
}

/* ---- pipes ---- */

static void ring_grow(struct pipe *pipe, uint32_t need)
{
    uint32_t size = pipe->ring_size ? pipe->ring_size : 4096;
    while (size < need)
        size *= 2;
    uint8_t *ring = malloc(size);
    must(ring != NULL);
    uint32_t first = (uint32_t)min_u64(pipe->held, pipe->ring_size - pipe->head);
    if (pipe->held > 0) {
        memcpy(ring, pipe->ring + pipe->head, first);
        memcpy(ring + first, pipe->ring, pipe->held - first);
    }
    free(pipe->ring);
    pipe->ring = ring;
    pipe->ring_size = size;
    pipe->head = 0;
}

static void pipe_put(struct pipe *pipe, const uint8_t *data, uint32_t len)
{
    if (pipe->held + len > pipe->ring_size)
        ring_grow(pipe, pipe->held + len);
    uint32_t at = (pipe->head + pipe->held) & (pipe->ring_size - 1);
    uint32_t first = (uint32_t)min_u64(len, pipe->ring_size - at);
    memcpy(pipe->ring + at, data, first);
    memcpy(pipe->ring, data + first, len - first);
    pipe->held += len;
}

static void pipe_take(struct pipe *pipe, uint8_t *to, uint32_t len)
{
    must(len <= pipe->arrived && len <= pipe->held);
    uint32_t first = (uint32_t)min_u64(len, pipe->ring_size - pipe->head);
    if (to) {
        memcpy(to, pipe->ring + pipe->head, first);
        memcpy(to + first, pipe->ring, len - first);
    }
    pipe->head = (pipe->head + len) & (pipe->ring_size - 1);
    pipe->held -= len;
    pipe->arrived -= len;
}

static struct end *pipe_from(struct pipe *pipe)
{
    return &pipe->conn->end[pipe->side];
}

static struct end *pipe_to(struct pipe *pipe)
{
    return &pipe->conn->end[1 - pipe->side];
}

static struct pipe *end_out(struct end *end)
{
    return &end->conn->pipe[end->side];
}

static struct pipe *end_in(struct end *end)
{
    return &end->conn->pipe[1 - end->side];
}

/* Schedules what comes next, unless it is scheduled or there is nothing. */
static void pipe_kick(struct pipe *pipe, bool more)
{
    struct conn *conn = pipe->conn;
    struct world *world = conn->world;
    const struct end *to = pipe_to(pipe);
    bool bytes = pipe->held > pipe->arrived && (pipe->arrived < to->receive_bytes || !to->open);
    bool fin = pipe->fin && !pipe->fin_seen && pipe->held == pipe->arrived;
    if (pipe->event.slot != 0 || pipe_from(pipe)->dead || !(bytes || fin || pipe->reset))
        return;
    const struct network_options *options = &world->options.network;
    uint64_t delay_ns = rng_below(&world->net, 2000);
    if (!more)
        delay_ns +=
            latency_draw(&world->net, conn->loopback ? &options->loopback : &options->latency) *
            (conn->loopback ? 1 : to->machine->network_factor);
    event_at(world, &pipe->event, world->now_ns + delay_ns);
}

/* Nothing gets through: try again until the sender's patience ends. */
/* Tried again after 200 ms, and then each time after as long as it has lasted: TCP's backoff. */
static void pipe_stall(struct pipe *pipe)
{
    struct world *world = pipe->conn->world;
    uint64_t timeout_ns = world->options.network.stall_timeout_ns;
    if (pipe->stalled_ns == 0)
        pipe->stalled_ns = world->now_ns;
    if (world->now_ns >= pipe->stalled_ns + timeout_ns) {
        conn_reset(pipe->conn, -ETIMEDOUT);
        return;
    }
    uint64_t wait_ns = max_u64(world->now_ns - pipe->stalled_ns, RETRY_NS);
    uint64_t next_ns =
        min_u64(world->now_ns + min_u64(wait_ns, timeout_ns / 16), pipe->stalled_ns + timeout_ns);
    event_at(world, &pipe->event, next_ns);
}

static bool end_is_dead(const struct end *end)
{
    return end->dead && end->machine->dark;
}

static void conn_maybe_free(struct conn *conn)
{
    if (conn->end[0].open || conn->end[1].open || conn->pipe[0].event.slot != 0 ||
        conn->pipe[1].event.slot != 0)
        return;
    TAILQ_REMOVE(&conn->world->conns, conn, link);
    free(conn->pipe[0].ring);
    free(conn->pipe[1].ring);
    free(conn);
}

static void pipe_deliver(struct pipe *pipe)
{
    struct world *world = pipe->conn->world;
    struct end *to = pipe_to(pipe);
    uint64_t n = min_u64(pipe->held - pipe->arrived, to->receive_bytes - pipe->arrived);
    n = min_u64(n, pipe->piece_max);
    if (n > 1 && rng_one_in(&world->net, 4))
        n = rng_between(&world->net, 1, n);
    pipe->arrived += (uint32_t)n;
    world_fold(world, ((uint64_t)pipe->side << 32) | n);
    if (to->shut)
        pipe_take(pipe, NULL, pipe->arrived);
    else
        end_try_recv(to);
    end_try_send(pipe_from(pipe));
}

static void pipe_event(struct world *world, struct event *event)
{
    struct pipe *pipe = container_of(event, struct pipe, event);
    struct conn *conn = pipe->conn;
    struct end *to = pipe_to(pipe);
    if (link_is_cut(world, pipe_from(pipe)->machine, to->machine) || end_is_dead(to)) {
        pipe_stall(pipe);
        return;
    }
    pipe->stalled_ns = 0;
    bool strange = to->dead || (!to->open && pipe->held > 0);
    if (pipe->reset || strange ||
        (!conn->loopback && rng_one_in(&world->net, world->options.network.reset_one_in))) {
        conn_reset(conn, -ECONNRESET);
        return;
    }
    if (pipe->held > pipe->arrived)
        pipe_deliver(pipe);
    if (pipe->fin && pipe->held == pipe->arrived && !pipe->fin_seen) {
        pipe->fin_seen = true;
        end_try_recv(to);
    }
    pipe_kick(pipe, true);
    conn_maybe_free(conn);
}

/* ---- ends ---- */

static void send_finish(struct end *end, int64_t res)
{
    struct io_op *op = end->send;
    end->send = NULL;
    io_complete(end->io, op, res);
}

static void recv_finish(struct end *end, struct io_block *block, int64_t res)
{
    struct io_recv *recv = end->recv;
    end->recv = NULL;
    recv->block = block;
    if (end->dry)
        TAILQ_REMOVE(&end->io->thirsty, end, link);
    end->dry = false;
    io_complete(end->io, &recv->op, res);
}

static void end_try_send(struct end *end)
{
    struct pipe *pipe = end_out(end);
    if (!end->send)
        return;
    if (end->error != 0 || end->shut) {
        send_finish(end, end->error != 0 ? end->error : -EPIPE);
        return;
    }
    while (end->iov_count > 0) {
        uint32_t on_way = pipe->held - pipe->arrived;
        uint64_t left = end->iov->iov_len - end->iov_skip;
        uint64_t room = end->send_bytes > on_way ? end->send_bytes - on_way : 0;
        uint32_t part = (uint32_t)min_u64(left, room);
        if (part == 0 && left > 0)
            break;
        if (part > 0) {
            const uint8_t *data = (const uint8_t *)end->iov->iov_base + end->iov_skip;
            world_fold_bytes(end->conn->world, data, part);
            pipe_put(pipe, data, part);
        }
        end->sent += part;
        end->iov_skip += part;
        if (end->iov_skip == end->iov->iov_len) {
            end->iov++;
            end->iov_count--;
            end->iov_skip = 0;
        }
    }
    if (end->iov_count == 0) {
        end->io->counts.bytes_sent += (uint64_t)end->sent;
        send_finish(end, end->sent);
    }
    pipe_kick(pipe, false);
}

static struct io_block *block_take(struct io *io)
{
    struct io_block *block = io->block_free;
    io->block_free = block->next;
    io->block_free_count--;
    if (!block->data) {
        struct mem_owner *before = mem_owner_set(&io->process->memory);
        block->data = mem_pages(IO_BLOCK_SIZE);
        mem_owner_set(before);
    }
    ASAN_UNPOISON_MEMORY_REGION(block->data, IO_BLOCK_SIZE);
    block->refs = 1;
    block->next = NULL;
    return block;
}

void end_try_recv(struct end *end)
{
    struct pipe *pipe = end_in(end);
    if (!end->recv)
        return;
    if (end->error != 0) {
        recv_finish(end, NULL, end->error);
        return;
    }
    if (end->shut || (pipe->arrived == 0 && pipe->fin_seen)) {
        recv_finish(end, NULL, 0);
        return;
    }
    if (pipe->arrived == 0)
        return;
    struct io *io = end->io;
    if (!io->block_free) {
        if (!end->dry)
            TAILQ_INSERT_TAIL(&io->thirsty, end, link);
        end->dry = true;
        return;
    }
    struct io_block *block = block_take(io);
    block->size = (uint32_t)min_u64(pipe->arrived, IO_BLOCK_SIZE);
    pipe_take(pipe, block->data, block->size);
    io->counts.bytes_received += block->size;
    recv_finish(end, block, block->size);
    block->size = IO_BLOCK_SIZE;
    pipe_kick(pipe, true);
}

void network_thirst(struct io *io)
{
    struct end *end = TAILQ_FIRST(&io->thirsty);
    if (!end || !io->block_free)
        return;
    TAILQ_REMOVE(&io->thirsty, end, link);
    end->dry = false;
    end_try_recv(end);
}

/* Both sides learn of it when they next look. */
void conn_reset(struct conn *conn, int error)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pipe *pipe = &conn->pipe[i];
        event_cancel(conn->world, &pipe->event);
        pipe->held = 0;
        pipe->arrived = 0;
        pipe->fin = true;
        pipe->fin_seen = true;
        pipe->reset = false;
        if (conn->end[i].error == 0)
            conn->end[i].error = error;
    }
    for (unsigned i = 0; i < 2; i++) {
        end_try_recv(&conn->end[i]);
        end_try_send(&conn->end[i]);
    }
    conn_maybe_free(conn);
}

void end_close(struct end *end)
{
    struct conn *conn = end->conn;
    struct pipe *out = end_out(end);
    must(end->open && !end->recv && !end->send);
    end->open = false;
    end->number = 0;
    end->io = NULL;
    if (end->dead) {
        event_cancel(conn->world, &out->event);
        out->held = out->arrived; /* what had not arrived never will */
    } else if (end->error == 0) {
        bool unread = !end->shut && end_in(end)->arrived > 0;
        out->reset = out->reset || unread;
        out->fin = true;
        pipe_kick(out, false);
        pipe_kick(end_in(end), false);
    }
    conn_maybe_free(conn);
}

struct conn *network_connect(struct world *world, struct io *from, struct listener *to,
                             const struct io_socket_options *options)
{
    struct conn *conn = sim_alloc(sizeof(*conn));
    struct io *ios[2] = {from, to->io};
    const struct io_socket_options *sizes[2] = {options, &to->options};
    uint64_t most = max_u64(world->options.network.buffer_bytes_max, 512);
    bool small = rng_one_in(&world->net, world->options.network.small_pieces_one_in);
    conn->world = world;
    conn->loopback = from->machine == to->io->machine;
    for (uint8_t i = 0; i < 2; i++) {
        struct end *end = &conn->end[i];
        *end = (struct end){.conn = conn,
                            .side = i,
                            .open = true,
                            .process = ios[i]->process,
                            .machine = ios[i]->machine,
                            .io = ios[i]};
        end->receive_bytes = (uint32_t)rng_between(&world->net, 512, most);
        end->send_bytes = (uint32_t)rng_between(&world->net, 512, most);
        if (sizes[i]->receive_buffer_bytes)
            end->receive_bytes = sizes[i]->receive_buffer_bytes;
        if (sizes[i]->send_buffer_bytes)
            end->send_bytes = sizes[i]->send_buffer_bytes;
        struct pipe *pipe = &conn->pipe[i];
        *pipe = (struct pipe){.event = {.fn = pipe_event, .name = "piece"}, .conn = conn};
        pipe->side = i;
        pipe->piece_max = small ? (uint32_t)rng_between(&world->net, 1, 64)
                                : (uint32_t)rng_between(&world->net, 1400, 65536);
    }
    TAILQ_INSERT_TAIL(&world->conns, conn, link);
    return conn;
}

/* ---- the door ---- */

void io_recv(struct io *io, struct io_recv *recv, int socket)
{
    struct end *end = socket_end(io, socket);
    must(end->recv == NULL);
    recv->block = NULL;
    io_begin(io, &recv->op, OP_RECV, end, &end->pending);
    end->recv = recv;
    end_try_recv(end);
}

void io_send(struct io *io, struct io_op *op, int socket, const struct iovec *iov, unsigned count)
{
    struct end *end = socket_end(io, socket);
    must(end->send == NULL && count > 0);
    io_begin(io, op, OP_SEND, end, &end->pending);
    end->send = op;
    end->iov = iov;
    end->iov_count = count;
    end->iov_skip = 0;
    end->sent = 0;
    end_try_send(end);
}

void io_shutdown(struct io *io, int socket)
{
    struct end *end = socket_end(io, socket);
    if (end->shut)
        return;
    struct pipe *in = end_in(end);
    end->shut = true;
    end_out(end)->fin = true;
    if (in->arrived > 0)
        pipe_take(in, NULL, in->arrived);
    end_try_recv(end);
    end_try_send(end);
    pipe_kick(end_out(end), false);
    pipe_kick(in, false);
}

void io_block_get(struct io *io, struct io_block *block)
{
    must(block->refs > 0 && block == &io->blocks[block->index]);
    block->refs++;
}

void io_block_put(struct io *io, struct io_block *block)
{
    must(block->refs > 0 && block == &io->blocks[block->index]);
    if (--block->refs > 0)
        return;
    memset(block->data, 0xdb, 64);
    ASAN_POISON_MEMORY_REGION(block->data, IO_BLOCK_SIZE);
    block->next = io->block_free;
    io->block_free = block;
    io->block_free_count++;
    network_thirst(io);
}

uint32_t io_blocks_free(const struct io *io)
{
    return io->block_free_count;
}

bool io_blocks_scarce(const struct io *io)
{
    return io->block_free_count < io->block_count / 2;
}

/* ---- from outside ---- */

/* The analyzer does not see that an end leaves its listener's list before it is freed. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc)

/* Power loss: half of the connections are silent until their peer speaks and the machine is up
 * again, of the others the peer hears soon. Kill: the kernel closes them. */
static void end_crash(struct end *end, enum crash crash)
{
    struct world *world = end->conn->world;
    end->recv = NULL;
    end->send = NULL;
    if (end->dry)
        TAILQ_REMOVE(&end->io->thirsty, end, link);
    end->dry = false;
    if (crash == CRASH_POWER && rng_one_in(&world->net, 2))
        end->dead = true;
    else if (crash == CRASH_POWER)
        end_out(end)->reset = true;
    end_close(end);
}

void network_end(struct process *process, enum crash crash)
{
    for (uint32_t i = 0; process->ios && i < process->shards; i++) {
        struct connecting *connecting;
        while ((connecting = TAILQ_FIRST(&process->ios[i]->connects)) != NULL) {
            TAILQ_REMOVE(&process->ios[i]->connects, connecting, link);
            event_cancel(process->machine->world, &connecting->event);
            free(connecting);
        }
    }
    for (uint32_t i = 0; i < process->socket_count; i++) {
        struct socket_slot *slot = &process->sockets[i];
        struct listener *listener = slot->listener;
        struct end *end = slot->end;
        *slot = (struct socket_slot){0};
        if (end)
            end_crash(end, crash);
        if (!listener)
            continue;
        while ((end = TAILQ_FIRST(&listener->waiting)) != NULL) {
            TAILQ_REMOVE(&listener->waiting, end, link);
            end->listener = NULL;
            end_crash(end, crash);
        }
        free(listener);
    }
}
// NOLINTEND(clang-analyzer-unix.Malloc)

void network_free(struct world *world)
{
    struct conn *conn;
    while ((conn = TAILQ_FIRST(&world->conns)) != NULL) {
        must(!conn->end[0].open && !conn->end[1].open);
        event_cancel(world, &conn->pipe[0].event);
        event_cancel(world, &conn->pipe[1].event);
        conn_maybe_free(conn);
    }
}

void world_link_cut(struct world *world, struct machine *from, struct machine *to)
{
    must(from != to);
    world_note(world, "link %s -> %s cut", from->name, to->name);
    world->cuts[from->index * MACHINES_MAX + to->index] = 1;
}

void world_link_heal(struct world *world, struct machine *from, struct machine *to)
{
    world_note(world, "link %s -> %s heals", from->name, to->name);
    world->cuts[from->index * MACHINES_MAX + to->index] = 0;
}

void world_links_heal(struct world *world)
{
    memset(world->cuts, 0, (size_t)MACHINES_MAX * MACHINES_MAX);
}

unsigned world_link_reset(struct world *world, struct machine *a, struct machine *b)
{
    unsigned count = 0;
    struct conn *conn;
    struct conn *next;
    for (conn = TAILQ_FIRST(&world->conns); conn; conn = next) {
        const struct machine *from = conn->end[0].machine;
        const struct machine *to = conn->end[1].machine;
        next = TAILQ_NEXT(conn, link);
        if ((a && from != a && to != a) || (b && from != b && to != b))
            continue;
        conn_reset(conn, -ECONNRESET);
        count++;
    }
    return count;
}

void machine_network_slow(struct machine *machine, uint32_t factor)
{
    machine->network_factor = factor;
}
