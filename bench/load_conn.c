/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of bench-load: a ring of requests in flight each, bytes out by reference, bytes
 * in through one buffer.
 */
#include "bench/load.h"

#include "net/header.h"
#include "net/kafka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IOV_MAX_SENT 96U
#define EVENTS_MAX   256
#define IN_ROOM_MIN  65536U

void frame_make(struct frame *frame, struct arena *arena, int16_t key, int16_t version,
                int32_t correlation_id, const void *request, struct iovec batch)
{
    struct wr w;
    wr_init(&w, arena);
    header_begin_request(&w, key, version, correlation_id, str_of("bench-load"));
    kafka_write(kafka_request_kind(key), &w, version, request);
    wr_frame_end(&w);
    *frame = (struct frame){.correlation_id = correlation_id, .len = (uint32_t)wr_len(&w)};
    /* What is encoded lies in one piece before the batch and one behind it, however many it was. */
    uint8_t *to = arena_alloc(arena, frame->len);
    must(to != NULL && !w.bad);
    bool joins = false;
    for (const struct out_part *part = wr_finish(&w); part != NULL; part = part->next) {
        const bool reference = part->kind == OUT_REF;
        if (!joins || reference)
            frame->iov_count++;
        must(frame->iov_count <= array_count(frame->iov));
        struct iovec *piece = &frame->iov[frame->iov_count - 1];
        joins = !reference;
        if (reference) {
            *piece = batch;
            continue;
        }
        if (piece->iov_len == 0)
            piece->iov_base = to;
        memcpy(to, part->data, part->len);
        to += part->len;
        piece->iov_len += part->len;
    }
    must(frame->iov_count > 0);
}

/* ---- out ---- */

bool conn_has_room(const struct conn *c)
{
    return c->queued - c->answered < c->flights_size;
}

void conn_queue(struct conn *c, const struct frame *frame, uint64_t since_ns)
{
    must(conn_has_room(c));
    c->flights[c->queued++ & (c->flights_size - 1)] =
        (struct flight){.since_ns = since_ns, .frame = frame};
}

/* The vectors of what is queued and not sent yet, without the bytes that went out already. */
static unsigned gather(const struct conn *c, struct iovec *iov)
{
    unsigned count = 0;
    size_t skip = c->sent_bytes;
    for (uint32_t i = c->sent; i != c->queued && count + FRAME_PIECES <= IOV_MAX_SENT; i++) {
        const struct frame *frame = c->flights[i & (c->flights_size - 1)].frame;
        for (unsigned k = 0; k < frame->iov_count; k++) {
            struct iovec part = frame->iov[k];
            size_t cut = skip < part.iov_len ? skip : part.iov_len;
            skip -= cut;
            if (cut == part.iov_len)
                continue;
            iov[count++] = (struct iovec){.iov_base = (uint8_t *)part.iov_base + cut,
                                          .iov_len = part.iov_len - cut};
        }
    }
    return count;
}

void conn_flush(struct conn *c)
{
    while (c->sent != c->queued) {
        struct iovec iov[IOV_MAX_SENT];
        ssize_t done = writev(c->socket, iov, (int)gather(c, iov));
        if (done < 0 && errno == EAGAIN)
            return;
        if (done <= 0)
            give_up("connection %u: cannot send: %m", c->number);
        c->sent_bytes += (size_t)done;
        while (c->sent != c->queued) {
            uint32_t len = c->flights[c->sent & (c->flights_size - 1)].frame->len;
            if (c->sent_bytes < len)
                break;
            c->sent_bytes -= len;
            c->sent++;
        }
    }
}

/* ---- in ---- */

/* The length of the whole frame at `at`, its length field included; 0: not known yet. */
static size_t frame_size(const struct conn *c, size_t at)
{
    uint32_t wire;
    if (c->in_len - at < sizeof(wire))
        return 0;
    memcpy(&wire, c->in + at, sizeof(wire));
    return (size_t)__builtin_bswap32(wire) + sizeof(wire);
}

static void take_answer(struct load *load, struct conn *c, const uint8_t *data, size_t len)
{
    struct rd r;
    struct piece piece;
    int32_t correlation_id;
    arena_reset(&load->answer_arena);
    rd_init(&r, span_of(&piece, data, (uint32_t)len));
    if (!header_read_response(&r, &load->answer_arena, (int16_t)load->key, (int16_t)load->version,
                              &correlation_id))
        give_up("connection %u: an answer without a header", c->number);
    struct flight flight = c->flights[c->answered & (c->flights_size - 1)];
    if (c->answered == c->sent || flight.frame->correlation_id != correlation_id)
        give_up("connection %u: an answer nobody waits for now", c->number);
    c->answered++;
    load->on_answer(load, c, &flight, &r);
}

static void take_answers(struct load *load, struct conn *c)
{
    size_t at = 0;
    size_t size = 0;
    while ((size = frame_size(c, at)) > 0 && size <= c->in_len - at) {
        take_answer(load, c, c->in + at + 4, size - 4);
        at += size;
    }
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
    size = size > IN_ROOM_MIN ? size : IN_ROOM_MIN;
    if (size > c->in_room) {
        c->in_room = size;
        c->in = realloc(c->in, c->in_room);
        must(c->in != NULL);
    }
}

static void conn_receive(struct load *load, struct conn *c)
{
    for (;;) {
        size_t room = c->in_room - c->in_len;
        ssize_t got = recv(c->socket, c->in + c->in_len, room, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0)
            give_up("connection %u: cannot receive: %m", c->number);
        if (got == 0)
            give_up("connection %u: closed by the broker", c->number);
        c->in_len += (size_t)got;
        take_answers(load, c);
        if ((size_t)got < room)
            return; /* edge-triggered, but a short read empties the socket */
    }
}

void conns_turn(struct load *load, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_MAX];
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000U),
                                  .tv_nsec = (long)(wait_ns % 1000000000U)};
    int count = epoll_pwait2(load->epoll, events, EVENTS_MAX, &wait, NULL);
    for (int i = 0; i < count; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            conn_receive(load, c);
        conn_flush(c);
    }
}

/* ---- opening ---- */

static void conn_open(struct load *load, struct conn *c, uint32_t flights_max)
{
    c->socket = call_open(&load->options);
    if (c->socket < 0)
        give_up("connection %u: cannot connect: %m", c->number);
    if (fcntl(c->socket, F_SETFL, O_NONBLOCK) != 0)
        give_up("connection %u: %m", c->number);
    c->flights_size = 1;
    while (c->flights_size < flights_max)
        c->flights_size *= 2;
    c->flights = calloc(c->flights_size, sizeof(*c->flights));
    c->in_room = IN_ROOM_MIN;
    c->in = malloc(c->in_room);
    must(c->flights != NULL && c->in != NULL);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->socket, &event) != 0)
        give_up("epoll: %m");
}

void conns_open(struct load *load, uint32_t flights_max)
{
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->conns = calloc(load->options.connections, sizeof(*load->conns));
    must(load->epoll >= 0 && load->conns != NULL);
    for (uint32_t i = 0; i < load->options.connections; i++) {
        load->conns[i].number = i;
        conn_open(load, &load->conns[i], flights_max);
    }
}
