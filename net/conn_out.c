/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes out. Each send gathers what is ready at the head of the line: whole answers, and of a
 * referenced range as much as CONN_PIN_BYTES allow, so one system call carries many small answers
 * and a large one leaves in pieces that are resolved when the socket has room for them.
 *
 * The gathering cursor is (request, part, part_skip). A send completes whole, so what was
 * gathered has left when it completes: requests marked LEAVING are freed then.
 */
#include "io/mem.h"
#include "net/conn_private.h"

#define SHRINK_FROM_BYTES (64U << 10)

struct conn_out {
    struct iovec iov[IO_VECTORS_MAX];
    uint32_t count;
    uint32_t pin_count;
    uint32_t pin_bytes;
    struct conn_pin pins[CONN_PINS_MAX];
    struct conn_out *next;
};

static struct conn_out *out_get(struct net_shard *net)
{
    struct conn_out *out = net->outs_free;
    if (out)
        net->outs_free = out->next;
    else
        out = mem_alloc(sizeof(*out));
    out->count = 0;
    out->pin_count = 0;
    out->pin_bytes = 0;
    return out;
}

void conn_out_free_all(struct net_shard *net)
{
    while (net->outs_free) {
        struct conn_out *out = net->outs_free;
        net->outs_free = out->next;
        mem_free(out);
    }
}

void conn_out_end(struct conn *c)
{
    struct conn_out *out = c->out;
    if (!out)
        return;
    for (uint32_t i = 0; i < out->pin_count; i++)
        c->net->service->on_release(&out->pins[i]);
    c->out = NULL;
    out->next = c->net->outs_free;
    c->net->outs_free = out;
}

static void on_sent(struct io_op *op)
{
    struct conn *c = container_of(op, struct conn, send);
    c->sending = false;
    conn_out_end(c);
    if (op->res < 0) {
        conn_close(c, CLOSE_RESET);
    } else {
        c->active_ns = io_now_ns(c->net->sh->io);
        struct request *q;
        while ((q = TAILQ_FIRST(&c->requests)) && q->state == REQUEST_LEAVING)
            conn_request_sent(q);
    }
    conn_step_later(c);
}

/* The bytes of a resolved pin join the send; the cursor moves over them. */
static void pin_join(struct conn_out *out, struct request *q, struct conn_pin *pin)
{
    must(pin->bytes > 0 && pin->bytes <= pin->len && pin->count > 0);
    out->count += pin->count;
    out->pin_bytes += pin->bytes;
    q->part_skip += pin->bytes;
    if (q->part_skip == q->part->len) {
        q->part = q->part->next;
        q->part_skip = 0;
    }
}

enum gathered {
    GATHER_ON,   /* more may follow */
    GATHER_FULL, /* this send is full */
    GATHER_WAIT, /* a reference is being resolved */
};

static enum gathered gather_reference(struct conn *c, struct request *q)
{
    struct conn_out *out = c->out;
    if (out->pin_count == CONN_PINS_MAX || out->pin_bytes >= CONN_PIN_BYTES)
        return GATHER_FULL;
    uint32_t left = q->part->len - q->part_skip;
    struct conn_pin *pin = &out->pins[out->pin_count++];
    *pin = (struct conn_pin){
        .request = q,
        .cookie = q->part->cookie,
        .skip = q->part_skip,
        .len = (uint32_t)min_u64(left, CONN_PIN_BYTES - out->pin_bytes),
        .iov = &out->iov[out->count],
        .iov_max = IO_VECTORS_MAX - out->count,
    };
    if (!c->net->service->on_resolve(pin)) {
        c->resolving = true;
        return GATHER_WAIT;
    }
    if (pin->failed) {
        conn_close(c, CLOSE_STORAGE);
        return GATHER_WAIT;
    }
    pin_join(out, q, pin);
    return GATHER_ON;
}

static enum gathered gather_request(struct conn *c, struct request *q)
{
    struct conn_out *out = c->out;
    while (q->part) {
        if (out->count == IO_VECTORS_MAX)
            return GATHER_FULL;
        if (q->part->kind == OUT_REF) {
            enum gathered end = gather_reference(c, q);
            if (end != GATHER_ON)
                return end;
            continue;
        }
        out->iov[out->count++] =
            (struct iovec){.iov_base = no_const(q->part->data), .iov_len = q->part->len};
        q->part = q->part->next;
    }
    return GATHER_ON;
}

static enum gathered gather(struct conn *c)
{
    struct request *q;
    TAILQ_FOREACH (q, &c->requests, link) {
        if (q->state == REQUEST_LEAVING)
            continue;
        if (q->state != REQUEST_ANSWERED) {
            if (io_mutation(c->net->sh->io, "conn.answers_out_of_order"))
                continue;
            break;
        }
        if (!q->silent) {
            if (q->held_bytes >= SHRINK_FROM_BYTES && q->part == q->answer.first)
                conn_answer_shrink(q);
            enum gathered end = gather_request(c, q);
            if (end != GATHER_ON)
                return end;
        }
        q->state = REQUEST_LEAVING;
    }
    return GATHER_ON;
}

void conn_out_send(struct conn *c)
{
    if (c->sending || c->resolving || c->closing)
        return;
    struct request *first = TAILQ_FIRST(&c->requests);
    if (!c->out && (!first || first->state != REQUEST_ANSWERED))
        return;
    if (!c->out)
        c->out = out_get(c->net);
    enum gathered end = gather(c);
    if (end == GATHER_WAIT || c->closing)
        return;
    if (c->out->count == 0) { /* only silent requests */
        conn_out_end(c);
        struct request *q;
        while ((q = TAILQ_FIRST(&c->requests)) && q->state == REQUEST_LEAVING)
            conn_request_sent(q);
        return;
    }
    c->sending = true;
    c->send_ns = io_now_ns(c->net->sh->io);
    count_up(&c->net->sends, 1);
    c->send.done = on_sent;
    io_send(c->net->sh->io, &c->send, c->socket, c->out->iov, c->out->count);
}

void conn_resolved(struct conn_pin *pin)
{
    struct conn *c = pin->request->conn;
    must(c->resolving && shard_here() == c->net->sh);
    c->resolving = false;
    if (pin->failed)
        conn_close(c, CLOSE_STORAGE);
    else if (!c->closing)
        pin_join(c->out, pin->request, pin);
    conn_step_later(c);
}
