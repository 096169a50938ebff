/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of a load: opened together, opened again when they are lost, each with its slots
 * and, when the load is idempotent, a producer id of its own.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <string.h>

#define AGAIN_NS (100 * NS_PER_MS)

/* ---- slots ---- */

/* The client knows of a loss before on_lost tells of it, and its calls end in between. */
bool conn_ready(const struct bench_conn *c)
{
    return c->begun && c->client.state == CLIENT_READY;
}

struct bench_slot *slot_take(struct bench_conn *c)
{
    if (!conn_ready(c))
        return NULL;
    struct bench_slot *slot = c->free;
    if (slot) {
        c->free = slot->next;
    } else if (c->slot_count < (uint32_t)c->bench->o.in_flight) {
        if (c->slot_count == c->slot_room) {
            c->slot_room = c->slot_room > 0 ? 2 * c->slot_room : 16;
            c->slots = mem_realloc(c->slots, c->slot_room * sizeof(struct bench_slot *));
        }
        slot = mem_zalloc(sizeof(*slot));
        slot->conn = c;
        if (c->bench->builds)
            batch_builder_init(&slot->builder);
        if (c->bench->o.joins)
            slot->dues = mem_alloc(c->bench->joined_max * sizeof(*slot->dues));
        c->slots[c->slot_count++] = slot;
    } else {
        return NULL;
    }
    slot->next = NULL;
    slot->records = 0;
    slot->bytes = 0;
    if (c->bench->builds)
        batch_builder_start(&slot->builder);
    c->in_flight++;
    c->bench->in_flight++;
    return slot;
}

void slot_give(struct bench_slot *slot)
{
    struct bench_conn *c = slot->conn;
    if (c->in_flight == (uint32_t)c->bench->o.in_flight)
        c->freed_ns = io_clock_ns(c->client.sh->io);
    c->in_flight--;
    c->bench->in_flight--;
    slot->next = c->free;
    c->free = slot;
}

/* ---- readiness ---- */

static void become_ready(struct bench_conn *c)
{
    struct bench *b = c->bench;
    c->begun = true;
    c->freed_ns = io_clock_ns(c->client.sh->io);
    b->ready_count++;
    b->news = true;
    if (b->sending)
        bench_fill(b, c);
}

/* How many lanes a connection may carry: all, or those of one producer. */
static size_t lanes_carried(const struct bench *b)
{
    return b->o.producers > 0 ? bench_topic_partitions(b) : b->lane_count;
}

/* The broker that has just started may not have producer ids yet. */
static void on_producer_id(struct client *client, struct client_call *call)
{
    struct bench_conn *c = container_of(call, struct bench_conn, id_call);
    struct bench *b = c->bench;
    struct init_producer_id_response response;
    struct rd r;
    if (call->status != CLIENT_ANSWERED)
        return; /* the loss of the connection is told by itself */
    rd_init(&r, call->answer);
    if (!read_init_producer_id_response(&r, call->arena, call->version, &response)) {
        client_close(client);
    } else if (response.error_code == ERR_NONE) {
        c->producer_id = response.producer_id;
        c->producer_epoch = response.producer_epoch;
        memset(c->sequences, 0, lanes_carried(b) * sizeof(*c->sequences));
        become_ready(c);
    } else if (err_retriable(response.error_code)) {
        timer_set(client->sh, &c->again, session_now_ns(b->s) + AGAIN_NS);
    } else {
        complain(b->s->inv, "no producer id: %s", err_name(response.error_code));
        client_close(client);
    }
}

static void ask_producer_id(struct bench_conn *c)
{
    struct client *client = &c->client;
    const int16_t version = client_version(client, KEY_INIT_PRODUCER_ID, 4);
    if (version < 0) {
        complain(c->bench->s->inv, "the broker has no producer ids");
        client_close(client);
        return;
    }
    struct init_producer_id_request request;
    init_init_producer_id_request(&request);
    request.transactional_id = str_null();
    request.transaction_timeout_ms = 60000;
    c->id_call.done = on_producer_id;
    struct wr *w = client_begin(client, &c->id_call, KEY_INIT_PRODUCER_ID, version);
    write_init_producer_id_request(w, version, &request);
    bool sent = client_send(client, &c->id_call, session_deadline_ns(c->bench->s));
    must(sent);
}

static void on_ready(struct client *client)
{
    struct bench_conn *c = container_of(client, struct bench_conn, client);
    if (client_version(client, KEY_PRODUCE, BENCH_VERSION_MAX) < 0) {
        complain(c->bench->s->inv, "the broker speaks no version of Produce that is known here");
        client_close(client);
    } else if (c->sequences) {
        ask_producer_id(c);
    } else {
        become_ready(c);
    }
}

static void on_lost(struct client *client)
{
    struct bench_conn *c = container_of(client, struct bench_conn, client);
    struct bench *b = c->bench;
    if (c->begun)
        b->ready_count--;
    c->begun = false;
    b->news = true;
    if (b->closing)
        return;
    b->measure.reconnects += b->epoch_ns > 0;
    if (b->epoch_ns > 0)
        timer_set(client->sh, &c->again, session_now_ns(b->s) + AGAIN_NS);
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct bench_conn *c = container_of(timer, struct bench_conn, again);
    if (c->client.state == CLIENT_READY)
        ask_producer_id(c);
    else if (c->client.state == CLIENT_IDLE)
        client_connect(&c->client, &c->bench->brokers[c->broker].address);
}

/* ---- all of them ---- */

static void conn_init(struct bench *b, struct bench_conn *c, uint32_t number)
{
    const struct client_options options = {
        .client_id = str_of(b->s->settings.client_id),
        .software_name = str_of("millrace-bench"),
        .software_version = str_of(MR_VERSION),
        .answer_bytes_max = 64U << 20,
        .connect_timeout_ns = (uint64_t)b->s->settings.request_timeout_ms * NS_PER_MS,
        .on_ready = on_ready,
        .on_lost = on_lost,
    };
    client_init(&c->client, b->s->sh, &options);
    c->bench = b;
    c->number = number;
    c->broker = number % b->broker_count;
    c->again = (struct timer){.fn = on_again, .name = "bench.again"};
    if (b->o.idempotent)
        c->sequences = mem_zalloc(lanes_carried(b) * sizeof(*c->sequences));
    struct bench_broker *broker = &b->brokers[c->broker];
    c->rank = broker->conn_count++;
    c->turn = c->rank;
    client_connect(&c->client, &broker->address);
}

static const struct bench_conn *first_unready(const struct bench *b)
{
    for (uint32_t i = 0; i < b->conn_count; i++)
        if (!b->conns[i].begun && b->conns[i].client.state == CLIENT_IDLE)
            return &b->conns[i];
    return NULL;
}

int bench_conns_open(struct bench *b)
{
    struct session *s = b->s;
    b->conn_count = b->o.producers > 0
                        ? b->producer_count * b->broker_count
                        : (uint32_t)max_u64((uint64_t)b->o.connections,
                                            b->broker_count); /* one to each leader */
    b->conns = mem_zalloc(b->conn_count * sizeof(*b->conns));
    for (uint32_t i = 0; i < b->conn_count; i++)
        conn_init(b, &b->conns[i], i);
    while (b->ready_count < b->conn_count) {
        const struct bench_conn *failed = first_unready(b);
        if (failed) {
            const struct bench_broker *broker = &b->brokers[failed->broker];
            complain(s->inv, "%s:%u, connection %u: %s", broker->host, broker->address.port,
                     failed->number, failed->client.why);
            return EXIT_UNREACHABLE;
        }
        b->news = false;
        session_turn(s, UINT64_MAX, &b->news);
    }
    return EXIT_OK;
}

void bench_conns_begin(struct bench *b)
{
    for (uint32_t i = 0; i < b->conn_count; i++)
        if (b->conns[i].client.state == CLIENT_IDLE)
            timer_set(b->s->sh, &b->conns[i].again, session_now_ns(b->s));
}

void bench_conns_close(struct bench *b)
{
    const bool never = false;
    if (!b->conns)
        return;
    b->closing = true;
    for (uint32_t i = 0; i < b->conn_count; i++) {
        timer_cancel(b->s->sh, &b->conns[i].again);
        client_close(&b->conns[i].client);
    }
    for (uint32_t i = 0; i < b->conn_count; i++) {
        struct bench_conn *c = &b->conns[i];
        while (c->client.state != CLIENT_IDLE)
            session_turn(b->s, session_now_ns(b->s) + NS_PER_MS, &never);
        client_fini(&c->client);
        for (uint32_t k = 0; k < c->slot_count; k++) {
            if (b->builds)
                batch_builder_fini(&c->slots[k]->builder);
            mem_free(c->slots[k]->dues);
            mem_free(c->slots[k]);
        }
        mem_free(c->slots);
        mem_free(c->sequences);
    }
    mem_free(b->conns);
    b->conns = NULL;
    for (uint32_t i = 0; i < b->broker_count; i++)
        b->brokers[i].conn_count = 0;
    b->closing = false;
}
