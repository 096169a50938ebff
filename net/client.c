/* SPDX-License-Identifier: Apache-2.0
 *
 * One queue holds the calls in order of sending; `next_call` divides those that have left from
 * those that have not. Bytes in are cut into frames; the frame at the front answers the call at the
 * front. While callbacks run (deliver, end) the queue may change under them, so both take the head
 * off first and look again afterwards; client_close() only marks, and the end comes as a task.
 */
#include "net/client.h"

#include "io/mem.h"
#include "net/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_SIZE   4U
#define FRAME_MIN     4 /* the correlation id */
#define HELLO_NAME(s) ((s).len > 0 ? (s) : str_of("millrace"))

static void client_lose(struct client *c, enum client_status status, const char *format, ...)
    printf_like(3, 4);

static void try_end(struct client *c)
{
    if (c->state == CLIENT_ENDING && !c->sending && !c->receiving && !c->connecting)
        shard_ready(c->sh, &c->end);
}

/* The first reason stays. */
static void client_lose(struct client *c, enum client_status status, const char *format, ...)
{
    if (c->state == CLIENT_ENDING || c->state == CLIENT_IDLE)
        return;
    c->state = CLIENT_ENDING;
    c->status = status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->why, sizeof(c->why), format, arguments);
    va_end(arguments);
    timer_cancel(c->sh, &c->deadline);
    task_cancel(c->sh, &c->flush);
    if (c->connecting)
        io_cancel(c->sh->io, &c->connect);
    else if (c->socket >= 0)
        io_shutdown(c->sh->io, c->socket);
    try_end(c);
}

static void call_finish(struct client *c, struct client_call *call, enum client_status status)
{
    must(call->in_flight);
    TAILQ_REMOVE(&c->calls, call, link);
    c->calls_in_flight--;
    call->in_flight = false;
    call->status = status;
    struct arena memory = call->memory; /* the callback may free the call, or send it again */
    call->memory = (struct arena){0};
    call->arena = &memory;
    call->done(c, call);
    if (c->spare_count < CLIENT_SPARES) {
        arena_reset(&memory);
        c->spares[c->spare_count++] = memory;
    } else {
        arena_fini(&memory);
    }
}

static void held_release(struct client *c)
{
    struct client_held *held = &c->held;
    for (uint32_t i = 0; i < held->count; i++)
        io_block_put(c->sh->io, held->blocks[i]);
    held->count = held->len = held->want = 0;
}

static void on_end(struct shard *sh, struct task *task)
{
    struct client *c = container_of(task, struct client, end);
    if (c->socket >= 0)
        io_close(sh->io, c->socket);
    c->socket = -1;
    c->frame_len = 0;
    held_release(c);
    c->next_call = NULL;
    struct client_call *call;
    while ((call = TAILQ_FIRST(&c->calls))) {
        bool late = c->status == CLIENT_TIMED_OUT && call->deadline_ns > io_now_ns(sh->io);
        call_finish(c, call, late ? CLIENT_LOST : c->status);
    }
    c->state = CLIENT_IDLE;
    c->options.on_lost(c);
}

/* ---- deadlines ---- */

/* The timer may stand for a call that was answered since: then it is set for the next when it
 * rings. Setting it with each answer would mean to look at all calls in flight each time. */
static void deadline_set(struct client *c)
{
    uint64_t first = UINT64_MAX;
    struct client_call *call;
    TAILQ_FOREACH (call, &c->calls, link)
        first = min_u64(first, call->deadline_ns);
    if (first == UINT64_MAX)
        timer_cancel(c->sh, &c->deadline);
    else
        timer_set(c->sh, &c->deadline, first);
}

static void on_deadline(struct shard *sh, struct timer *timer)
{
    struct client *c = container_of(timer, struct client, deadline);
    if (c->state == CLIENT_CONNECTING) {
        client_lose(c, CLIENT_TIMED_OUT, "the connection was not accepted in time");
        return;
    }
    struct client_call *call;
    TAILQ_FOREACH (call, &c->calls, link) {
        if (call->deadline_ns <= io_now_ns(sh->io)) {
            const struct kafka_api *api = kafka_api_find(call->key);
            client_lose(c, CLIENT_TIMED_OUT, "no answer to %s in time", api ? api->name : "it");
            return;
        }
    }
    deadline_set(c); /* the call it was set for was answered */
}

/* ---- bytes out ---- */

static void flush(struct client *c)
{
    if (c->sending || c->state == CLIENT_ENDING)
        return;
    unsigned count = 0;
    while (c->next_call && count < IO_VECTORS_MAX) {
        struct client_call *call = c->next_call;
        struct out_part *part = call->part;
        for (; part && count < IO_VECTORS_MAX; part = part->next) {
            const void *data =
                part->kind == OUT_REF ? (const void *)(uintptr_t)part->cookie : part->data;
            c->iov[count++] = (struct iovec){.iov_base = no_const(data), .iov_len = part->len};
        }
        call->part = part;
        if (part)
            break;
        call->sent = true;
        c->next_call = TAILQ_NEXT(call, link);
    }
    if (count == 0)
        return;
    c->sending = true;
    io_send(c->sh->io, &c->send, c->socket, c->iov, count);
}

static void on_flush(struct shard *sh, struct task *task)
{
    (void)sh;
    flush(container_of(task, struct client, flush));
}

/* A send completes whole: what was marked sent has left. */
static void on_sent(struct io_op *op)
{
    struct client *c = container_of(op, struct client, send);
    c->sending = false;
    if (op->res < 0)
        client_lose(c, CLIENT_LOST, "%s", strerror((int)-op->res));
    struct client_call *call = TAILQ_FIRST(&c->calls);
    while (call && c->state != CLIENT_ENDING) {
        bool over = call->silent && call->sent;
        if (over)
            call_finish(c, call, CLIENT_ANSWERED);
        call = over ? TAILQ_FIRST(&c->calls) : TAILQ_NEXT(call, link);
    }
    flush(c);
    try_end(c);
}

/* ---- bytes in ---- */

/* One frame without its length word. It may come before its request's send is known to be complete:
 * the bytes of that request have left all the same. */
static void deliver(struct client *c, struct span frame)
{
    struct client_call *call = TAILQ_FIRST(&c->calls);
    while (call && call->silent)
        call = TAILQ_NEXT(call, link);
    if (!call || !call->sent) {
        client_lose(c, CLIENT_GARBLED, "an answer that nobody asked for");
        return;
    }
    const uint32_t len = frame.len;
    struct rd r;
    int32_t correlation_id;
    rd_init(&r, frame);
    bool good = header_read_response(&r, &call->memory, call->key, call->version, &correlation_id);
    if (!good || correlation_id != call->correlation_id) {
        client_lose(c, CLIENT_GARBLED, "an answer to another question; is that a Kafka broker?");
        return;
    }
    uint32_t left = rd_left(&r);
    span_advance(&frame, len - left);
    call->answer = frame;
    call_finish(c, call, CLIENT_ANSWERED);
}

static bool frame_allowed(struct client *c, int32_t length)
{
    if (length >= FRAME_MIN && (uint32_t)length <= c->options.answer_bytes_max)
        return true;
    client_lose(c, CLIENT_GARBLED, "an answer of %d bytes; is that a Kafka broker?", length);
    return false;
}

static int32_t length_of(const uint8_t *bytes)
{
    uint32_t length;
    memcpy(&length, bytes, sizeof(length));
    return (int32_t)__builtin_bswap32(length);
}

/* Adds to the frame in pieces up to `want` bytes of it. */
static void frame_add(struct client *c, const uint8_t **at, const uint8_t *end, uint32_t want)
{
    if (c->frame_size < want) {
        c->frame_size = want;
        c->frame = mem_realloc(c->frame, want);
    }
    uint32_t more = (uint32_t)min_u64((uint64_t)(end - *at), want - c->frame_len);
    memcpy(c->frame + c->frame_len, *at, more);
    c->frame_len += more;
    *at += more;
}

/* The frame that was begun; false while it is not whole. */
static bool frame_continue(struct client *c, const uint8_t **at, const uint8_t *end)
{
    if (c->frame_len < LENGTH_SIZE)
        frame_add(c, at, end, LENGTH_SIZE);
    if (c->frame_len < LENGTH_SIZE)
        return false;
    int32_t length = length_of(c->frame);
    if (!frame_allowed(c, length))
        return false;
    frame_add(c, at, end, LENGTH_SIZE + (uint32_t)length);
    if (c->frame_len < LENGTH_SIZE + (uint32_t)length)
        return false;
    c->frame_len = 0;
    struct piece piece;
    deliver(c, span_of(&piece, c->frame + LENGTH_SIZE, (uint32_t)length));
    return true;
}

/* ---- an answer that stays in its blocks ---- */

static void held_add(struct client *c, const uint8_t **at, const uint8_t *end)
{
    struct client_held *held = &c->held;
    struct io_block *block = c->recv.block;
    if (held->count == held->room) {
        held->room = held->room > 0 ? 2 * held->room : 32;
        held->blocks = mem_realloc(held->blocks, held->room * sizeof(struct io_block *));
        held->pieces = mem_realloc(held->pieces, held->room * sizeof(struct piece));
    }
    uint32_t more = (uint32_t)min_u64((uint64_t)(end - *at), held->want - held->len);
    io_block_get(c->sh->io, block);
    held->blocks[held->count] = block;
    held->pieces[held->count++] = (struct piece){.data = *at, .len = more};
    held->len += more;
    *at += more;
}

/* Blocks have become scarce: what is held goes on as a frame that is copied together. */
static void held_copy(struct client *c)
{
    const struct client_held held = c->held;
    if (c->frame_size < held.want) {
        c->frame_size = held.want;
        c->frame = mem_realloc(c->frame, held.want);
    }
    const struct span span = {.piece = held.pieces, .len = held.len};
    span_peek(&span, c->frame, held.len);
    c->frame_len = held.len;
    held_release(c);
}

/* False when the answer is not whole yet. */
static bool held_continue(struct client *c, const uint8_t **at, const uint8_t *end)
{
    struct client_held *held = &c->held;
    held_add(c, at, end);
    if (held->len < held->want) {
        if (io_blocks_scarce(c->sh->io))
            held_copy(c);
        return false;
    }
    struct span frame = {.piece = held->pieces, .len = held->len};
    span_advance(&frame, LENGTH_SIZE);
    deliver(c, frame);
    held_release(c);
    return true;
}

/* May the frame that begins with this length be held? */
static bool held_begin(struct client *c, int32_t length)
{
    if (!c->options.holds_blocks || c->frame_len > 0 || length < FRAME_MIN ||
        io_blocks_scarce(c->sh->io) || !frame_allowed(c, length))
        return false;
    c->held.want = LENGTH_SIZE + (uint32_t)length;
    return true;
}

static void take_bytes(struct client *c, const uint8_t *at, const uint8_t *end)
{
    while (at < end && c->state != CLIENT_ENDING) {
        if (c->held.want > 0) {
            if (!held_continue(c, &at, end))
                return;
            continue;
        }
        bool has_length = end - at >= (ptrdiff_t)LENGTH_SIZE;
        int32_t length = has_length ? length_of(at) : 0;
        bool whole = c->frame_len == 0 && has_length && length >= FRAME_MIN &&
                     end - at - (ptrdiff_t)LENGTH_SIZE >= length;
        if (!whole && has_length && held_begin(c, length))
            continue;
        if (!whole) {
            if (!frame_continue(c, &at, end))
                return;
            continue;
        }
        if (!frame_allowed(c, length))
            return;
        struct piece piece;
        deliver(c, span_of(&piece, at + LENGTH_SIZE, (uint32_t)length));
        at += LENGTH_SIZE + (uint32_t)length;
    }
}

static void on_received(struct io_op *op)
{
    struct client *c = container_of(op, struct client, recv.op);
    c->receiving = false;
    if (op->res > 0) {
        struct io_block *block = c->recv.block;
        take_bytes(c, block->data, block->data + op->res);
        io_block_put(c->sh->io, block);
    } else if (op->res == 0) {
        client_lose(c, CLIENT_LOST, "the broker closed the connection");
    } else {
        client_lose(c, CLIENT_LOST, "%s", strerror((int)-op->res));
    }
    if (c->state != CLIENT_ENDING) {
        c->receiving = true;
        io_recv(c->sh->io, &c->recv, c->socket);
        if (TAILQ_EMPTY(&c->calls))
            timer_cancel(c->sh, &c->deadline);
    }
    try_end(c);
}

/* ---- calls ---- */

struct wr *client_begin(struct client *c, struct client_call *call, int16_t key, int16_t version)
{
    must(c->sh == shard_here() || shard_here() == NULL);
    must(!call->in_flight);
    call->key = key;
    call->version = version;
    call->correlation_id = c->next_correlation_id++;
    call->answer = (struct span){0};
    if (c->spare_count > 0)
        call->memory = c->spares[--c->spare_count];
    else
        arena_init(&call->memory, CLIENT_ARENA_MAX);
    wr_init(&call->request, &call->memory);
    header_begin_request(&call->request, key, version, call->correlation_id, c->options.client_id);
    return &call->request;
}

static bool send_call(struct client *c, struct client_call *call, uint64_t deadline_ns, bool silent)
{
    const bool open = c->state == CLIENT_READY || call == &c->hello;
    wr_frame_end(&call->request);
    call->part = wr_finish(&call->request);
    if (!open || !call->part) {
        arena_fini(&call->memory);
        return false;
    }
    call->deadline_ns = deadline_ns;
    call->silent = silent;
    call->sent = false;
    call->in_flight = true;
    TAILQ_INSERT_TAIL(&c->calls, call, link);
    c->calls_in_flight++;
    if (!c->next_call)
        c->next_call = call;
    shard_at_end(c->sh, &c->flush);
    if (!timer_is_set(&c->deadline) || deadline_ns < c->deadline.at_ns)
        timer_set(c->sh, &c->deadline, deadline_ns);
    return true;
}

bool client_send(struct client *c, struct client_call *call, uint64_t deadline_ns)
{
    return send_call(c, call, deadline_ns, false);
}

bool client_send_silent(struct client *c, struct client_call *call, uint64_t deadline_ns)
{
    return send_call(c, call, deadline_ns, true);
}

/* ---- which versions both speak ---- */

static void ranges_clear(struct client *c)
{
    for (int key = 0; key < CLIENT_KEYS; key++) {
        c->versions_min[key] = 0;
        c->versions_max[key] = -1;
    }
}

static void range_take(struct client *c, const struct api_versions_response_api_key *theirs)
{
    const struct kafka_api *ours = kafka_api_find(theirs->api_key);
    if (!ours || theirs->api_key >= CLIENT_KEYS)
        return;
    c->versions_min[theirs->api_key] = (int16_t)max_i64(ours->min, theirs->min_version);
    c->versions_max[theirs->api_key] = (int16_t)min_i64(ours->max, theirs->max_version);
}

int16_t client_version(const struct client *c, int16_t key, int16_t version_max)
{
    must(key >= 0 && key < CLIENT_KEYS);
    int16_t version = (int16_t)min_i64(c->versions_max[key], version_max);
    if (version < c->versions_min[key])
        return -1;
    return version;
}

static void say_hello(struct client *c, int16_t version)
{
    const struct api_versions_request request = {
        .client_software_name = HELLO_NAME(c->options.software_name),
        .client_software_version = HELLO_NAME(c->options.software_version),
    };
    uint64_t deadline_ns = io_now_ns(c->sh->io) + c->options.connect_timeout_ns;
    must(c->state == CLIENT_NEGOTIATING);
    struct wr *w = client_begin(c, &c->hello, KEY_API_VERSIONS, version);
    write_api_versions_request(w, version, &request);
    bool sent = client_send(c, &c->hello, deadline_ns);
    must(sent);
}

static void on_hello(struct client *c, struct client_call *call)
{
    if (call->status != CLIENT_ANSWERED)
        return;
    struct rd r;
    rd_init(&r, call->answer);
    struct rd ahead = r;
    int16_t error = rd_i16(&ahead);
    int16_t version = call->version;
    if (error == ERR_UNSUPPORTED_VERSION)
        version = 0; /* it is refused in the oldest form */
    struct api_versions_response answer;
    if (!read_api_versions_response(&r, call->arena, version, &answer)) {
        client_lose(c, CLIENT_GARBLED, "no answer to ApiVersions; is that a Kafka broker?");
        return;
    }
    ranges_clear(c);
    for (int32_t i = 0; i < answer.api_keys_count; i++)
        if (answer.api_keys[i].api_key >= 0)
            range_take(c, &answer.api_keys[i]);
    if (error == ERR_UNSUPPORTED_VERSION && !c->hello_again) {
        c->hello_again = true;
        int16_t both = client_version(c, KEY_API_VERSIONS, CLIENT_NEWEST);
        if (both < 0 || both == call->version)
            both = 0;
        say_hello(c, both);
        return;
    }
    if (error != ERR_NONE) {
        client_lose(c, CLIENT_GARBLED, "the broker refused ApiVersions: %s", err_name(error));
        return;
    }
    c->state = CLIENT_READY;
    c->options.on_ready(c);
}

/* ---- connecting ---- */

static void on_connected(struct io_op *op)
{
    struct client *c = container_of(op, struct client, connect);
    c->connecting = false;
    if (op->res >= 0)
        c->socket = (int)op->res;
    if (op->res < 0)
        client_lose(c, CLIENT_LOST, "%s", strerror((int)-op->res));
    if (c->state == CLIENT_ENDING) {
        try_end(c);
        return;
    }
    c->state = CLIENT_NEGOTIATING;
    timer_cancel(c->sh, &c->deadline);
    c->receiving = true;
    io_recv(c->sh->io, &c->recv, c->socket);
    say_hello(c, kafka_api_find(KEY_API_VERSIONS)->max);
}

void client_connect(struct client *c, const struct io_address *address)
{
    must(c->state == CLIENT_IDLE);
    c->state = CLIENT_CONNECTING;
    c->connecting = true;
    c->hello_again = false;
    c->address = *address;
    c->why[0] = 0;
    const struct io_socket_options options = {0};
    io_connect(c->sh->io, &c->connect, &c->address, &options);
    timer_set(c->sh, &c->deadline, io_now_ns(c->sh->io) + c->options.connect_timeout_ns);
}

void client_close(struct client *c)
{
    client_lose(c, CLIENT_LOST, "closed");
}

void client_init(struct client *c, struct shard *sh, const struct client_options *options)
{
    *c = (struct client){
        .sh = sh,
        .options = *options,
        .socket = -1,
        .connect.done = on_connected,
        .send.done = on_sent,
        .recv.op.done = on_received,
        .flush = {.fn = on_flush, .name = "client.flush"},
        .end = {.fn = on_end, .name = "client.end"},
        .deadline = {.fn = on_deadline, .name = "client.deadline"},
        .hello.done = on_hello,
    };
    TAILQ_INIT(&c->calls);
    ranges_clear(c);
}

void client_fini(struct client *c)
{
    must(c->state == CLIENT_IDLE);
    mem_free(c->frame);
    mem_free(c->held.blocks);
    mem_free(c->held.pieces);
    c->held = (struct client_held){0};
    c->frame = NULL;
    while (c->spare_count > 0)
        arena_fini(&c->spares[--c->spare_count]);
}
