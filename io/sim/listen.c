/* SPDX-License-Identifier: Apache-2.0
 *
 * How connections of the simulated network come to be: listeners (several shards may share an
 * address, each connection goes to one of them by dice, as SO_REUSEPORT does), connects that are
 * refused or never answered, and the numbers of sockets. Numbers are the lowest free, as the
 * kernel's are, so that a stale one soon belongs to somebody else.
 */
#include "io/sim/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

int socket_take(struct process *process, struct listener *listener, struct end *end)
{
    uint32_t i = 0;
    while (i < process->socket_count && (process->sockets[i].listener || process->sockets[i].end))
        i++;
    process->sockets =
        sim_grow(process->sockets, &process->socket_count, i + 1, sizeof(*process->sockets));
    process->sockets[i] = (struct socket_slot){.listener = listener, .end = end};
    return (int)i + SOCKET_FIRST;
}

void socket_free(struct process *process, int number)
{
    process->sockets[number - SOCKET_FIRST] = (struct socket_slot){0};
}

static struct socket_slot *slot_of(struct process *process, int number)
{
    must(number >= SOCKET_FIRST && (uint32_t)(number - SOCKET_FIRST) < process->socket_count);
    return &process->sockets[number - SOCKET_FIRST];
}

struct end *socket_end(struct io *io, int number)
{
    struct end *end = slot_of(io->process, number)->end;
    must(end != NULL && end->io == io && io->process == process_here);
    return end;
}

static struct listener *socket_listener(struct io *io, int number)
{
    struct listener *listener = slot_of(io->process, number)->listener;
    must(listener != NULL && listener->io == io);
    return listener;
}

/* ---- addresses ---- */

static bool ip_is_wild(const struct io_address *address)
{
    static const uint8_t none[16];
    static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->ip, none, 16) == 0 || memcmp(address->ip, v4, 16) == 0;
}

static bool ip_is_loopback(const struct io_address *address)
{
    static const uint8_t v6[16] = {[15] = 1};
    static const uint8_t v4[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    return memcmp(address->ip, v6, 16) == 0 || memcmp(address->ip, v4, 13) == 0;
}

static struct machine *machine_of_ip(struct machine *here, const struct io_address *address)
{
    struct machine *machine;
    if (ip_is_loopback(address))
        return here;
    TAILQ_FOREACH (machine, &here->world->machines_list, link) {
        struct io_address own;
        machine_address(machine, 0, &own);
        if (memcmp(own.ip, address->ip, 16) == 0)
            return machine;
    }
    return NULL;
}

static bool listener_matches(const struct listener *listener, const struct io_address *address)
{
    return listener->address.port == address->port &&
           (ip_is_wild(&listener->address) ||
            memcmp(listener->address.ip, address->ip, sizeof(address->ip)) == 0);
}

typedef void listener_fn(struct listener *listener, void *argument);

static void listeners_each(struct machine *machine, listener_fn *fn, void *argument)
{
    struct process *process;
    TAILQ_FOREACH (process, &machine->processes, link) {
        for (uint32_t i = 0; process->state == PROCESS_RUNS && i < process->socket_count; i++) {
            if (process->sockets[i].listener)
                fn(process->sockets[i].listener, argument);
        }
    }
}

/* ---- listening ---- */

struct clash {
    const struct io *io;
    const struct io_address *address;
    bool shared;
    bool found;
};

/* The same port on overlapping addresses: fine for shards of one process that ask to share. */
static void clash_look(struct listener *listener, void *argument)
{
    struct clash *clash = argument;
    if (listener->address.port != clash->address->port)
        return;
    bool overlap = ip_is_wild(&listener->address) || ip_is_wild(clash->address) ||
                   memcmp(listener->address.ip, clash->address->ip, 16) == 0;
    bool shared = clash->shared && listener->io->process == clash->io->process;
    if (overlap && !shared && listener->address.v6 == clash->address->v6)
        clash->found = true;
}

static bool address_is_taken(struct io *io, const struct io_address *address, bool shared)
{
    struct clash clash = {.io = io, .address = address, .shared = shared};
    listeners_each(io->machine, clash_look, &clash);
    return clash.found;
}

int io_listen(struct io *io, const struct io_address *address,
              const struct io_socket_options *options)
{
    struct io_address own;
    struct io_address at = *address;
    bool shared = options && options->shared;
    machine_address(io->machine, at.port, &own);
    must(io->process == process_here);
    if (!ip_is_wild(&at) && !ip_is_loopback(&at) && memcmp(own.ip, at.ip, 16) != 0)
        return -EADDRNOTAVAIL;
    do {
        if (address->port == 0)
            at.port = io->machine->next_port++;
        if (io->machine->next_port == 0)
            io->machine->next_port = 32768;
    } while (address->port == 0 && address_is_taken(io, &at, shared));
    if (address_is_taken(io, &at, shared))
        return -EADDRINUSE;
    struct listener *listener = sim_alloc(sizeof(*listener));
    listener->io = io;
    listener->address = at;
    if (options)
        listener->options = *options;
    TAILQ_INIT(&listener->accepts);
    TAILQ_INIT(&listener->waiting);
    listener->number = socket_take(io->process, listener, NULL);
    return listener->number;
}

uint16_t io_listen_port(struct io *io, int listener)
{
    return socket_listener(io, listener)->address.port;
}

static void listener_serve(struct listener *listener)
{
    struct end *end;
    struct io_op *op;
    while ((end = TAILQ_FIRST(&listener->waiting)) != NULL &&
           (op = TAILQ_FIRST(&listener->accepts)) != NULL) {
        TAILQ_REMOVE(&listener->waiting, end, link);
        TAILQ_REMOVE(&listener->accepts, op, link);
        listener->waiting_count--;
        end->listener = NULL;
        end->io = listener->io;
        end->number = socket_take(listener->io->process, NULL, end);
        io_complete(listener->io, op, end->number);
    }
}

void io_accept(struct io *io, struct io_op *op, int listener)
{
    struct listener *found = socket_listener(io, listener);
    io_begin(io, op, OP_ACCEPT, found, &found->pending);
    TAILQ_INSERT_TAIL(&found->accepts, op, link);
    listener_serve(found);
}

void io_peer(struct io *io, int socket, struct io_address *peer)
{
    const struct end *end = socket_end(io, socket);
    *peer = end->conn->end[1 - end->side].address;
}

/* ---- connecting ---- */

struct choice {
    struct rng *rng;
    const struct io_address *address;
    struct listener *listener;
    uint64_t count;
};

static void choice_look(struct listener *listener, void *argument)
{
    struct choice *choice = argument;
    if (listener_matches(listener, choice->address) && rng_one_in(choice->rng, ++choice->count))
        choice->listener = listener;
}

static int64_t connect_now(struct connecting *connecting, struct machine *target)
{
    struct io *io = connecting->io;
    struct world *world = io->world;
    struct choice choice = {.rng = &world->net, .address = &connecting->address};
    listeners_each(target, choice_look, &choice);
    struct listener *listener = choice.listener;
    bool refused =
        target != io->machine && rng_one_in(&world->net, world->options.network.refuse_one_in);
    if (!listener || listener->waiting_count >= BACKLOG || refused)
        return -ECONNREFUSED;
    struct conn *conn = network_connect(world, io, listener, &connecting->options);
    struct end *near = &conn->end[0];
    struct end *far = &conn->end[1];
    if (ip_is_loopback(&connecting->address))
        near->address = connecting->address;
    else
        machine_address(io->machine, 0, &near->address);
    near->address.port = io->machine->next_port++;
    if (io->machine->next_port == 0)
        io->machine->next_port = 32768;
    far->address = connecting->address;
    far->listener = listener;
    near->number = socket_take(io->process, NULL, near);
    TAILQ_INSERT_TAIL(&listener->waiting, far, link);
    listener->waiting_count++;
    listener_serve(listener);
    return near->number;
}

static void connect_finish(struct connecting *connecting, int64_t res)
{
    struct io *io = connecting->io;
    struct io_op *op = connecting->op;
    event_cancel(io->world, &connecting->event);
    TAILQ_REMOVE(&io->connects, connecting, link);
    free(connecting);
    io_complete(io, op, res);
}

static void silence_event(struct world *world, struct event *event)
{
    (void)world;
    connect_finish(container_of(event, struct connecting, event), -ETIMEDOUT);
}

static void connect_event(struct world *world, struct event *event)
{
    struct connecting *connecting = container_of(event, struct connecting, event);
    struct machine *here = connecting->io->machine;
    struct machine *target = machine_of_ip(here, &connecting->address);
    /* No such machine, no power, or no way there or back: nobody answers. */
    bool silent = !target || target->dark;
    if (silent || link_is_cut(world, here, target) || link_is_cut(world, target, here)) {
        connecting->event.fn = silence_event;
        event_at(world, event, world->now_ns + world->options.network.connect_timeout_ns);
        return;
    }
    connect_finish(connecting, connect_now(connecting, target));
}

void io_connect(struct io *io, struct io_op *op, const struct io_address *address,
                const struct io_socket_options *options)
{
    struct world *world = io->world;
    struct connecting *connecting = sim_alloc(sizeof(*connecting));
    *connecting = (struct connecting){
        .event = {.fn = connect_event, .name = "connect"}, .io = io, .op = op, .address = *address};
    if (options)
        connecting->options = *options;
    io_begin(io, op, OP_CONNECT, connecting, NULL);
    TAILQ_INSERT_TAIL(&io->connects, connecting, link);
    uint64_t latency_ns =
        latency_draw(&world->net, ip_is_loopback(address) ? &world->options.network.loopback
                                                          : &world->options.network.latency);
    event_at(world, &connecting->event, world->now_ns + 2 * latency_ns);
}

/* ---- the rest of the door ---- */

void io_socket_give(struct io *io, int socket)
{
    struct end *end = socket_end(io, socket);
    must(end->pending == 0);
    end->io = NULL;
}

void io_socket_take(struct io *io, int socket)
{
    struct end *end = slot_of(io->process, socket)->end;
    must(end != NULL && end->io == NULL);
    end->io = io;
}

static void listener_close(struct listener *listener)
{
    struct end *end;
    must(listener->pending == 0);
    while ((end = TAILQ_FIRST(&listener->waiting)) != NULL) {
        TAILQ_REMOVE(&listener->waiting, end, link);
        end->listener = NULL;
        end->conn->pipe[end->side].reset = true;
        end_close(end);
    }
    socket_free(listener->io->process, listener->number);
    free(listener);
}

void io_close(struct io *io, int socket)
{
    const struct socket_slot *slot = slot_of(io->process, socket);
    if (slot->listener) {
        listener_close(socket_listener(io, socket));
        return;
    }
    struct end *end = socket_end(io, socket);
    must(end->pending == 0);
    socket_free(io->process, socket);
    end_close(end);
}

void io_cancel(struct io *io, struct io_op *op)
{
    struct listener *listener;
    struct end *end;
    switch ((enum op_state)op->priv[0]) {
    case OP_ACCEPT:
        listener = op_thing(op);
        TAILQ_REMOVE(&listener->accepts, op, link);
        io_complete(io, op, -ECANCELED);
        break;
    case OP_CONNECT:
        connect_finish(op_thing(op), -ECANCELED);
        break;
    case OP_RECV:
        end = op_thing(op);
        end->recv = NULL;
        if (end->dry)
            TAILQ_REMOVE(&io->thirsty, end, link);
        end->dry = false;
        io_complete(io, op, -ECANCELED);
        break;
    case OP_COMPLETED:
        break; /* its result is on its way */
    case OP_NONE:
    case OP_DISK:
    case OP_WORK:
    case OP_SEND:
        must(false && "only accept, connect and recv can be cancelled");
    }
}
