/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes in: receive blocks become frames, frames become requests. The pieces of the frame at the
 * front are in c->in_pieces; a piece is either part of a receive block (by reference) or of a copy.
 *
 * The budget counts what has arrived of unfinished frames and one receive ahead: a length alone is
 * a claim and costs nothing; and whole frames until their requests are over. When it is used up,
 * connections that need more wait in line without reading, and the first in line, the finisher,
 * goes beyond it until its frame is whole; so the largest allowed frame gets through whatever the
 * budget. While others wait it is that only as long as it brings a receive's worth each
 * CONN_FINISH_NS; when all that is kept is twice the budget, and a largest frame more than it, one
 * that does not is closed. Beyond twice the budget of whole frames there is no finisher: they have
 * to go first, and requests that wait long, with large frames or in front of some, are hurried
 * (net/conn_room.c). A connection that has no more than a receive's worth of whole frames may
 * always begin another one.
 */
#include "io/mem.h"
#include "net/conn_private.h"
#include "net/header.h"

#include <string.h>

#define FRAME_PREFIX 4U
#define COPY_FIRST   512U        /* first size of a copy, doubled */
#define COPY_MAX     (64U << 10) /* then a new piece begins */
#define PIECES_FIRST 8U
#define HEADER_MIN   8U /* api key, version, correlation id */

/* ---- the list of pieces ---- */

static void pieces_grow(struct conn *c)
{
    if (c->in_count < c->in_size) {
        must(c->in_pieces != NULL);
        return;
    }
    c->in_size = c->in_size ? c->in_size * 2 : PIECES_FIRST;
    c->in_pieces = mem_realloc(c->in_pieces, c->in_size * sizeof(*c->in_pieces));
    c->in_blocks = mem_realloc(c->in_blocks, c->in_size * sizeof(struct io_block *));
}

static void piece_put(struct conn *c, const struct piece *piece, struct io_block *block)
{
    if (block)
        io_block_put(c->net->sh->io, block);
    else
        mem_free(no_const(piece->data));
}

static void add_by_reference(struct conn *c, struct io_block *block, const uint8_t *data,
                             uint32_t len)
{
    pieces_grow(c);
    c->in_pieces[c->in_count] = (struct piece){.data = data, .len = len};
    c->in_blocks[c->in_count] = block;
    c->in_count++;
    c->in_room = 0;
    io_block_get(c->net->sh->io, block);
}

/* Appends to the copy at the end, which grows while it is small. */
static void add_by_copy(struct conn *c, const uint8_t *data, uint32_t len)
{
    count_up(&c->net->bytes_copied, len);
    while (len > 0) {
        struct piece *last = c->in_count ? &c->in_pieces[c->in_count - 1] : NULL;
        bool copy = last && !c->in_blocks[c->in_count - 1];
        if (!copy || (c->in_room == 0 && last->len >= COPY_MAX)) {
            pieces_grow(c);
            uint32_t size = (uint32_t)max_u64(COPY_FIRST, min_u64(len, COPY_MAX));
            c->in_pieces[c->in_count] = (struct piece){.data = mem_alloc(size), .len = 0};
            c->in_blocks[c->in_count] = NULL;
            c->in_room = size;
            c->in_count++;
            continue;
        }
        if (c->in_room == 0) {
            uint32_t size = (uint32_t)min_u64(last->len * 2ULL, COPY_MAX);
            last->data = mem_realloc(no_const(last->data), size);
            c->in_room = size - last->len;
            continue;
        }
        uint32_t run = len < c->in_room ? len : c->in_room;
        memcpy((uint8_t *)no_const(last->data) + last->len, data, run);
        last->len += run;
        c->in_room -= run;
        data += run;
        len -= run;
    }
}

/* ---- the budget ---- */

static void budget_next(struct net_shard *net)
{
    struct conn *first = TAILQ_FIRST(&net->waiting);
    if (first)
        conn_step_later(first);
}

void conn_in_leave(struct conn *c)
{
    if (!c->in_wait)
        return;
    c->in_wait = false;
    TAILQ_REMOVE(&c->net->waiting, c, waiting);
    budget_next(c->net);
}

static void budget_give_back(struct conn *c)
{
    struct net_shard *net = c->net;
    must(net->unfinished_bytes >= c->reserved);
    net->unfinished_bytes -= c->reserved;
    c->reserved = 0;
    if (net->finisher == c) {
        net->finisher = NULL;
        timer_cancel(net->sh, &net->finish);
    }
    budget_next(net);
}

static void finish_watch(struct net_shard *net)
{
    net->finisher_bytes = net->finisher->in_bytes;
    timer_set(net->sh, &net->finish, io_now_ns(net->sh->io) + CONN_FINISH_NS);
}

/* One that dawdles keeps what it was given and lines up again for more: nobody waits for it. But
 * many would be given a little each time round: there is an end to what all of them keep. */
void conn_in_on_finish(struct shard *sh, struct timer *timer)
{
    struct net_shard *net = container_of(timer, struct net_shard, finish);
    const uint64_t budget = net->limits.unfinished_bytes_max;
    const uint64_t most = budget + max_u64(budget, net->limits.frame_bytes_max);
    struct conn *c = net->finisher;
    (void)sh;
    if (TAILQ_EMPTY(&net->waiting) || c->in_bytes - net->finisher_bytes >= CONN_AHEAD_BYTES) {
        finish_watch(net);
        return;
    }
    net->finisher = NULL;
    if (net->unfinished_bytes > most)
        conn_close(c, CLOSE_SLOW_SENDER);
    budget_next(net);
}

static bool budget_admits(struct conn *c, uint64_t bytes)
{
    struct net_shard *net = c->net;
    if (net->finisher == c)
        return true;
    if (!TAILQ_EMPTY(&net->waiting) && TAILQ_FIRST(&net->waiting) != c)
        return false;
    const uint64_t most = net->limits.unfinished_bytes_max;
    if (net->unfinished_bytes + net->whole_bytes + bytes <= most)
        return true;
    if (net->whole_bytes > most / 2)
        conn_room_frames(net);
    if (net->finisher != NULL || net->whole_bytes > 2 * most)
        return false;
    net->finisher = c;
    finish_watch(net);
    return true;
}

static bool budget_take(struct conn *c, uint64_t bytes)
{
    struct net_shard *net = c->net;
    if (!budget_admits(c, bytes)) {
        if (!c->in_wait)
            TAILQ_INSERT_TAIL(&net->waiting, c, waiting);
        c->in_wait = true;
        return false;
    }
    conn_in_leave(c);
    net->unfinished_bytes += bytes;
    c->reserved += bytes;
    return true;
}

/* For the receive that comes next. */
static bool budget_suffices(struct conn *c)
{
    uint64_t whole = FRAME_PREFIX + (uint64_t)c->in_frame;
    uint64_t need = min_u64(whole, c->in_bytes + CONN_AHEAD_BYTES);
    return c->reserved >= need || budget_take(c, need - c->reserved);
}

/* ---- frames become requests ---- */

void conn_in_forget(struct request *q)
{
    struct net_shard *net = q->conn->net;
    must(q->conn->whole_bytes >= q->frame_bytes && net->whole_bytes >= q->frame_bytes);
    q->conn->whole_bytes -= q->frame_bytes;
    net->whole_bytes -= q->frame_bytes;
    budget_next(net);
    for (uint32_t i = 0; i < q->piece_count; i++)
        piece_put(q->conn, &q->pieces[i], q->blocks[i]);
    q->piece_count = 0;
    mem_free(q->pieces);
    mem_free(q->blocks);
}

static struct request *request_new(struct conn *c)
{
    struct request *q = mem_zalloc(sizeof(*q));
    q->conn = c;
    q->id = c->net->next_request_id++;
    q->arrived_ns = c->rest ? c->rest_ns : io_now_ns(c->net->sh->io);
    q->time.until_ns = q->arrived_ns;
    arena_init(&q->arena, c->net->limits.request_bytes_max);
    TAILQ_INSERT_TAIL(&c->requests, q, link);
    c->request_count++;
    count_up(&c->net->requests, 1);
    if (!c->next_to_start)
        c->next_to_start = q;
    return q;
}

/* The frame's bytes as the request's own; what pins no receive block. */
static struct span frame_copied(struct conn *c, struct request *q, struct span frame)
{
    uint32_t len = frame.len;
    uint8_t *copy = mem_alloc(len);
    span_take(&frame, copy, len);
    count_up(&c->net->bytes_copied, len);
    q->pieces = mem_alloc(sizeof(*q->pieces));
    q->blocks = mem_zalloc(sizeof(struct io_block *));
    q->piece_count = 1;
    return span_of(q->pieces, copy, len);
}

static struct span frame_kept(struct conn *c, struct request *q, struct span frame,
                              struct io_block *block)
{
    uint32_t len;
    const uint8_t *data = span_front(&frame, &len);
    must(len == frame.len);
    q->pieces = mem_alloc(sizeof(*q->pieces));
    q->blocks = mem_alloc(sizeof(struct io_block *));
    q->piece_count = 1;
    q->blocks[0] = block;
    io_block_get(c->net->sh->io, block);
    return span_of(q->pieces, data, len);
}

/* The request takes over the pieces of the frame that was unfinished. */
static struct span frame_taken(struct conn *c, struct request *q)
{
    q->pieces = c->in_pieces;
    q->blocks = c->in_blocks;
    q->piece_count = c->in_count;
    struct span frame = {q->pieces, 0, c->in_bytes};
    c->in_pieces = NULL;
    c->in_blocks = NULL;
    c->in_size = 0;
    c->in_count = 0;
    c->in_bytes = 0;
    c->in_frame = 0;
    c->in_room = 0;
    span_advance(&frame, FRAME_PREFIX);
    return frame;
}

/* What came last is not a request we take: no more is read, and the connection closes when what
 * came before it has been answered. */
static void refuse(struct conn *c, enum close_reason reason)
{
    c->at_eof = true;
    c->reason = reason;
    c->net->service->on_end_of_input(c);
}

/* Decodes the header; the request waits for its turn, or is refused. */
static void request_open(struct conn *c, struct request *q, struct span frame)
{
    struct rd rd;
    rd_init(&rd, frame);
    if (!header_read_request(&rd, &q->arena, &q->header)) {
        if (c->next_to_start == q)
            c->next_to_start = NULL;
        conn_request_free(q);
        refuse(c, CLOSE_MALFORMED);
        return;
    }
    q->body = rd_span(&rd, rd_left(&rd));
    size_t len = q->header.client_id.len > 0 ? (size_t)q->header.client_id.len : 0;
    len = min_u64(len, sizeof(c->client_id) - 1);
    if (len)
        memcpy(c->client_id, q->header.client_id.data, len);
    c->client_id[len] = 0;
}

struct frame_key {
    int16_t key;
    int16_t version;
};

static struct frame_key frame_key_of(const struct span *frame)
{
    uint8_t raw[4];
    span_peek(frame, raw, sizeof(raw));
    return (struct frame_key){.key = (int16_t)(raw[0] << 8 | raw[1]),
                              .version = (int16_t)(raw[2] << 8 | raw[3])};
}

/* `frame` without its length word; block: the one receive block it lies in, NULL: in c->in_pieces.
 */
static void on_frame(struct conn *c, struct span frame, struct io_block *block)
{
    if (c->draining || c->closing)
        return;
    struct frame_key api = frame_key_of(&frame);
    if (!c->net->service->is_served(api.key, api.version)) {
        refuse(c, CLOSE_UNSUPPORTED);
        return;
    }
    struct request *q = request_new(c);
    q->frame_bytes = frame.len;
    c->whole_bytes += frame.len;
    c->net->whole_bytes += frame.len;
    q->pipelined = c->net->service->is_pipelined(api.key);
    if (!block)
        frame = frame_taken(c, q);
    else if (q->pipelined)
        frame = frame_kept(c, q, frame, block);
    else
        frame = frame_copied(c, q, frame);
    request_open(c, q, frame);
}

/* ---- cutting ---- */

/* 0: bad, and refused. */
static uint32_t frame_length(struct conn *c, const uint8_t word[FRAME_PREFIX])
{
    uint32_t len =
        (uint32_t)word[0] << 24 | (uint32_t)word[1] << 16 | (uint32_t)word[2] << 8 | word[3];
    if (len >= HEADER_MIN && len <= c->net->limits.frame_bytes_max)
        return len;
    refuse(c, CLOSE_FRAME_SIZE);
    return 0;
}

/* Whole frames at the front of a receive block; returns the bytes used. */
static uint32_t cut_whole_frames(struct conn *c, struct io_block *block, const uint8_t *data,
                                 uint32_t len)
{
    uint32_t used = 0;
    while (len - used >= FRAME_PREFIX && !c->closing && !c->at_eof &&
           c->request_count < CONN_REQUESTS_MAX) {
        uint32_t frame_len = frame_length(c, data + used);
        if (frame_len == 0 || len - used - FRAME_PREFIX < frame_len)
            break;
        struct piece piece;
        on_frame(c, span_of(&piece, data + used + FRAME_PREFIX, frame_len), block);
        used += FRAME_PREFIX + frame_len;
    }
    return used;
}

/* The last receive block is never kept by a frame that needs more of them to be whole: all
 * connections of the shard would wait for it. */
static bool may_keep(const struct conn *c, const struct io_block *block, uint32_t run)
{
    if (!block || run < CONN_KEEP_BLOCK_MIN)
        return false;
    const struct io *io = c->net->sh->io;
    return io_blocks_free(io) > 0 || io_mutation(io, "conn.last_block_kept");
}

/* Bytes for the unfinished frame (block NULL: they are copied); returns how many it took. */
static uint32_t add_to_frame(struct conn *c, struct io_block *block, const uint8_t *data,
                             uint32_t len)
{
    uint32_t whole = c->in_frame ? FRAME_PREFIX + c->in_frame : FRAME_PREFIX;
    uint32_t run = (uint32_t)min_u64(whole - c->in_bytes, len);
    if (may_keep(c, block, run))
        add_by_reference(c, block, data, run);
    else
        add_by_copy(c, data, run);
    c->in_bytes += run;
    if (c->in_frame == 0 && c->in_bytes == FRAME_PREFIX) {
        uint8_t word[FRAME_PREFIX];
        span_peek(&(struct span){c->in_pieces, 0, FRAME_PREFIX}, word, FRAME_PREFIX);
        c->in_frame = frame_length(c, word);
    }
    return run;
}

/* Takes in what it may; returns the bytes left. */
static uint32_t on_bytes(struct conn *c, struct io_block *block, const uint8_t *data, uint32_t len)
{
    while (len > 0 && !c->closing && !c->draining && !c->at_eof &&
           c->request_count < CONN_REQUESTS_MAX) {
        uint32_t used = c->in_bytes || !block ? add_to_frame(c, block, data, len)
                                              : cut_whole_frames(c, block, data, len);
        if (used == 0 && !c->closing && !c->at_eof)
            used = add_to_frame(c, block, data, len);
        data += used;
        len -= used;
        if (c->in_frame && c->in_bytes == FRAME_PREFIX + c->in_frame) {
            struct span frame = {c->in_pieces, 0, c->in_bytes};
            span_advance(&frame, FRAME_PREFIX);
            budget_give_back(c);
            on_frame(c, frame, NULL);
        }
    }
    return c->closing || c->draining || c->at_eof ? 0 : len;
}

/* ---- bytes of requests beyond CONN_REQUESTS_MAX: a copy, because a block is for everybody ---- */

static void rest_keep(struct conn *c, const uint8_t *data, uint32_t len)
{
    must(!c->rest);
    c->rest = mem_alloc(len);
    memcpy(c->rest, data, len);
    c->rest_len = len;
    c->rest_at = 0;
    c->rest_ns = io_now_ns(c->net->sh->io);
    count_up(&c->net->bytes_copied, len);
    c->net->rest_bytes += len;
    if (c->net->limits.held_bytes_max > 0 && c->net->rest_bytes > c->net->limits.held_bytes_max)
        conn_relief_later(c->net);
}

static void rest_free(struct conn *c)
{
    if (!c->rest)
        return;
    c->net->rest_bytes -= c->rest_len;
    mem_free(c->rest);
    c->rest = NULL;
}

void conn_in_rest(struct conn *c)
{
    if (!c->rest || c->request_count > 0)
        return;
    uint32_t left = on_bytes(c, NULL, c->rest + c->rest_at, c->rest_len - c->rest_at);
    c->rest_at = c->rest_len - left;
    if (left == 0)
        rest_free(c);
}

static void on_received(struct io_op *op)
{
    struct conn *c = container_of(op, struct conn, recv.op);
    c->receiving = false;
    if (op->res > 0) {
        c->active_ns = io_now_ns(c->net->sh->io);
        count_up(&c->net->bytes_in, (uint64_t)op->res);
        const uint32_t len = (uint32_t)op->res;
        struct io_block *keep = io_blocks_scarce(c->net->sh->io) ? NULL : c->recv.block;
        uint32_t left = on_bytes(c, keep, c->recv.block->data, len);
        if (left > 0)
            rest_keep(c, c->recv.block->data + len - left, left);
        io_block_put(c->net->sh->io, c->recv.block);
    } else if (op->res == 0) {
        c->at_eof = true; /* half-closed peers still get their answers */
        c->reason = CLOSE_BY_PEER;
        c->net->service->on_end_of_input(c);
    } else {
        conn_close(c, CLOSE_RESET);
    }
    conn_step_later(c);
}

static bool may_begin(struct conn *c)
{
    struct net_shard *net = c->net;
    if (c->whole_bytes <= CONN_AHEAD_BYTES ||
        net->unfinished_bytes + net->whole_bytes < net->limits.unfinished_bytes_max)
        return true;
    c->held_back = true;
    conn_room_frames(net);
    return false;
}

static bool wants_bytes(const struct conn *c)
{
    return !c->receiving && !c->closing && !conn_is_muted(c) && !c->at_eof && !c->draining &&
           c->request_count < CONN_REQUESTS_MAX && !c->rest;
}

void conn_in_read(struct conn *c)
{
    if (!wants_bytes(c)) {
        conn_in_leave(c); /* those behind it do */
        return;
    }
    if (!(c->in_frame == 0 ? may_begin(c) : budget_suffices(c)))
        return;
    c->receiving = true;
    c->recv.op.done = on_received;
    io_recv(c->net->sh->io, &c->recv, c->socket);
}

void conn_in_fini(struct conn *c)
{
    conn_in_leave(c);
    rest_free(c);
    budget_give_back(c);
    for (uint32_t i = 0; i < c->in_count; i++)
        piece_put(c, &c->in_pieces[i], c->in_blocks[i]);
    mem_free(c->in_pieces);
    mem_free(c->in_blocks);
}
