/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a connection; what net/conn.h promises. Bytes in are net/conn_in.c, bytes out are
 * net/conn_out.c; here requests are started in order, and the end is arranged: a connection is
 * freed only when nothing of it is in flight (receive, send, resolve, running requests).
 */
#include "net/conn.h"

#include "io/mem.h"
#include "net/conn_private.h"
#include "net/header.h"

#include <string.h>

static void on_relief(struct shard *sh, struct timer *timer);

const char *close_reason_name(enum close_reason reason)
{
    static const char *const names[] = {
#define X(name, text) text,
        CLOSE_REASONS(X)
#undef X
    };
    must(reason < CLOSE_REASON_COUNT);
    return names[reason];
}

void net_shard_init(struct net_shard *net, struct shard *sh, const struct net_limits *limits,
                    const struct conn_service *service)
{
    memset(net, 0, sizeof(*net));
    net->sh = sh;
    net->limits = *limits;
    net->service = service;
    TAILQ_INIT(&net->conns);
    TAILQ_INIT(&net->waiting);
    net->next_conn_id = 1;
    net->next_request_id = 1;
    conn_room_init(net);
    net->relief = (struct timer){.fn = on_relief, .name = "net.relief"};
    net->finish = (struct timer){.fn = conn_in_on_finish, .name = "net.finish"};
}

void net_shard_fini(struct net_shard *net)
{
    must(net->conn_count == 0 && net->held_bytes == 0);
    timer_cancel(net->sh, &net->relief);
    conn_room_fini(net);
    conn_out_free_all(net);
}

static void on_empty(struct shard *sh, struct task *task)
{
    (void)sh;
    struct net_shard *net = container_of(task, struct net_shard, emptied);
    net->empty(net->empty_user);
}

void net_shard_drain(struct net_shard *net, void (*empty)(void *user), void *user)
{
    net->draining = true;
    net->empty = empty;
    net->empty_user = user;
    net->emptied = (struct task){.fn = on_empty, .name = "net.empty"};
    if (net->conn_count == 0)
        shard_ready(net->sh, &net->emptied);
    struct conn *c;
    struct conn *next;
    for (c = TAILQ_FIRST(&net->conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        conn_close_after_answers(c, CLOSE_SHUTDOWN);
    }
}

void net_shard_close_all(struct net_shard *net, enum close_reason reason)
{
    struct conn *c;
    struct conn *next;
    for (c = TAILQ_FIRST(&net->conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        conn_close(c, reason);
    }
}

/* ---- the end ---- */

static void conn_hold(struct conn *c, size_t bytes)
{
    c->held_bytes += bytes;
    c->net->held_bytes += bytes;
}

static void conn_let_go(struct conn *c, size_t bytes)
{
    must(c->held_bytes >= bytes && c->net->held_bytes >= bytes);
    c->held_bytes -= bytes;
    c->net->held_bytes -= bytes;
}

void conn_request_free(struct request *q)
{
    struct conn *c = q->conn;
    TAILQ_REMOVE(&c->requests, q, link);
    c->request_count--;
    conn_let_go(c, q->held_bytes);
    conn_in_forget(q);
    arena_fini(&q->arena);
    mem_free(q);
}

static void conn_free(struct conn *c)
{
    struct net_shard *net = c->net;
    timer_cancel(net->sh, &c->idle);
    timer_cancel(net->sh, &c->mute);
    task_cancel(net->sh, &c->step);
    conn_in_fini(c);
    TAILQ_REMOVE(&net->conns, c, link);
    count_set(&net->conn_count, net->conn_count - 1);
    io_close(net->sh->io, c->socket);
    net->service->on_gone(c);
    mem_free(c);
    if (net->draining && net->conn_count == 0)
        shard_ready(net->sh, &net->emptied);
}

/* Requests that run when their connection goes stay until their handler ends them. */
void conn_reap(struct conn *c)
{
    must(c->closing);
    if (c->receiving || c->sending || c->resolving)
        return;
    conn_out_end(c);
    struct request *q;
    struct request *next;
    for (q = TAILQ_FIRST(&c->requests); q; q = next) {
        next = TAILQ_NEXT(q, link);
        if (q->state != REQUEST_RUNNING)
            conn_request_free(q);
    }
    if (c->request_count == 0)
        conn_free(c);
}

void conn_close(struct conn *c, enum close_reason reason)
{
    if (c->closing)
        return;
    c->closing = true;
    c->reason = reason;
    count_up(&c->net->closed[reason], 1);
    conn_room_leave(c);
    conn_in_leave(c);
    c->net->service->on_close(c);
    io_shutdown(c->net->sh->io, c->socket);
    conn_step_later(c); /* freed from there, never under the caller */
}

void conn_close_after_answers(struct conn *c, enum close_reason reason)
{
    if (c->closing || c->draining)
        return;
    c->draining = true;
    c->reason = reason;
    conn_room_leave(c);
    /* A request still waiting for its turn was not started; its sender will see the close. */
    c->next_to_start = NULL;
    struct request *q;
    struct request *next;
    for (q = TAILQ_FIRST(&c->requests); q; q = next) {
        next = TAILQ_NEXT(q, link);
        if (q->state == REQUEST_WAITING)
            conn_request_free(q);
    }
    c->next_to_start = NULL;
    conn_step_later(c);
}

/* ---- memory ---- */

#define RELIEF_NS 100000000U

void conn_relief_later(struct net_shard *net)
{
    if (!timer_is_set(&net->relief))
        timer_set(net->sh, &net->relief, io_now_ns(net->sh->io) + RELIEF_NS);
}

static bool answers_have_room(struct conn *c)
{
    struct net_shard *net = c->net;
    uint64_t most = net->limits.held_bytes_max;
    if (c->held_bytes >= CONN_HELD_BYTES)
        return false; /* the send in flight calls again */
    const struct conn_service *service = net->service;
    if (c->held_bytes > 0)
        most /= 2;
    else if (!service->is_bulky || !service->is_bulky(c->next_to_start->header.request_api_key))
        most *= 2;
    if (net->limits.held_bytes_max == 0 || net->held_bytes < most)
        return true;
    if (c->held_bytes == 0 && conn_is_small(c))
        return true; /* others do not read, that is no fault of this one */
    c->held_back = true;
    conn_relief_later(net);
    return false;
}

/* Those that were held back look again; readers that stall make room when there is none. */
static void on_relief(struct shard *sh, struct timer *timer)
{
    struct net_shard *net = container_of(timer, struct net_shard, relief);
    const uint64_t most = net->limits.held_bytes_max;
    bool crowded = net->rest_bytes > most;
    bool stuck = net->whole_bytes > net->limits.unfinished_bytes_max / 2; /* frames must go */
    bool full = net->held_bytes >= most || crowded || stuck;
    uint64_t now = io_now_ns(sh->io);
    struct conn *c;
    struct conn *next;
    for (c = TAILQ_FIRST(&net->conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (full && c->sending && now - c->send_ns >= CONN_STALL_NS)
            conn_close(c, CLOSE_SLOW_READER);
        if (c->held_back)
            conn_step_later(c);
        c->held_back = false;
    }
    if (crowded || (stuck && !TAILQ_EMPTY(&net->waiting)))
        conn_relief_later(net);
}

/* ---- requests in order ---- */

static bool may_start(const struct conn *c, const struct request *q)
{
    if (c->running == 0)
        return true;
    if (!q->pipelined || c->running >= CONN_REQUESTS_MAX)
        return false;
    const struct request *before = TAILQ_PREV(q, request_list, link);
    return before && before->state != REQUEST_WAITING && before->pipelined && !before->busy;
}

static bool can_start(const struct conn *c)
{
    return c->next_to_start && !c->closing && !conn_is_muted(c) && may_start(c, c->next_to_start);
}

/* Of the time until its handler begins, what its client's own quota has cost is told apart. */
static void count_wait(struct request *q, uint64_t now_ns)
{
    const struct conn *c = q->conn;
    if (c->mute_until_ns > q->arrived_ns) {
        request_time_pass(&q->time, STEP_QUEUE, c->mute_from_ns);
        request_time_pass(&q->time, STEP_THROTTLE, min_u64(c->mute_until_ns, now_ns));
    }
    request_time_pass(&q->time, STEP_QUEUE, now_ns);
}

/* At now_ns; returns the time after it. */
static uint64_t start(struct conn *c, struct request *q, uint64_t now_ns)
{
    const struct io *io = c->net->sh->io;
    c->next_to_start = TAILQ_NEXT(q, link);
    c->credit -= (int64_t)q->frame_bytes + CONN_REQUEST_COST;
    q->state = REQUEST_RUNNING;
    q->started_ns = io_now_ns(io);
    c->running++;
    count_wait(q, now_ns);
    c->net->service->on_request(q);
    if (q->state == REQUEST_RUNNING)
        conn_room_count(q);
    now_ns = io_clock_ns(io);
    request_time_pass(&q->time, STEP_WORK, now_ns);
    return now_ns;
}

/* Deficit round robin: the queue of end-of-turn tasks is the round. */
static void start_requests(struct conn *c)
{
    if (!can_start(c)) {
        conn_room_leave(c);
        return;
    }
    const uint64_t began_ns = shard_step_ns(c->net->sh);
    uint64_t now_ns = began_ns;
    c->credit = min_i64(c->credit + CONN_QUANTUM_BYTES, CONN_QUANTUM_BYTES);
    while (can_start(c)) {
        if (c->credit <= 0 || now_ns - began_ns > SHARD_YIELD_NS) {
            conn_step_later(c);
            return;
        }
        if (!answers_have_room(c)) {
            conn_room_leave(c);
            return;
        }
        if (!conn_room_admits(c))
            return;
        now_ns = start(c, c->next_to_start, now_ns);
    }
}

static void conn_step(struct shard *sh, struct task *task)
{
    (void)sh;
    struct conn *c = container_of(task, struct conn, step);
    if (!c->closing) {
        conn_in_rest(c);
        start_requests(c);
        conn_out_send(c);
        conn_in_read(c);
    }
    if (!c->closing && c->rest && c->request_count == 0)
        conn_step_later(c); /* what had no answer is over: the rest has its turn */
    bool over = c->at_eof || c->draining;
    if (!c->closing && over && c->request_count == 0 && !c->sending)
        conn_close(c, c->reason);
    if (c->closing)
        conn_reap(c);
}

void conn_step_later(struct conn *c)
{
    shard_at_end(c->net->sh, &c->step);
}

static void count_request(const struct request *q)
{
    must((uint16_t)q->header.request_api_key < NET_KEYS); /* it was served */
    struct request_counts *counts = &q->conn->net->requests_of[q->header.request_api_key];
    uint64_t took_ns = q->answered_ns - q->arrived_ns;
    uint64_t units = took_ns > 0 ? (took_ns - 1) / request_bucket_ns(0) : 0;
    unsigned bucket = units > 0 ? 64U - (unsigned)__builtin_clzll(units) : 0;
    counts->count++;
    counts->duration_ns += took_ns;
    if (bucket < REQUEST_BUCKETS)
        counts->buckets[bucket]++;
}

/* ---- resting ---- */

static void on_mute_over(struct shard *sh, struct timer *timer)
{
    (void)sh;
    conn_step_later(container_of(timer, struct conn, mute));
}

void request_mute(struct request *q, uint64_t ns)
{
    must(q->state == REQUEST_RUNNING);
    if (ns == 0)
        return;
    q->conn->muting += q->mute_ns == 0;
    q->mute_ns = max_u64(q->mute_ns, ns);
}

static void rest_begin(struct request *q)
{
    struct conn *c = q->conn;
    if (q->mute_ns == 0)
        return;
    must(c->muting > 0);
    c->muting--;
    uint64_t until_ns = q->answered_ns + q->mute_ns;
    if (timer_is_set(&c->mute) && until_ns <= c->mute_until_ns)
        return;
    if (!timer_is_set(&c->mute))
        c->mute_from_ns = q->answered_ns;
    c->mute_until_ns = until_ns;
    timer_set(c->net->sh, &c->mute, until_ns);
}

static void request_over(struct request *q)
{
    struct conn *c = q->conn;
    must(q->state == REQUEST_RUNNING);
    must(c->running > 0);
    c->running--;
    conn_room_forget(q);
    q->answered_ns = io_now_ns(c->net->sh->io);
    q->state = REQUEST_ANSWERED;
    request_time_pass(&q->time, STEP_WORK, shard_step_ns(c->net->sh));
    rest_begin(q);
    count_request(q);
    conn_step_later(c);
}

bool request_is_running(const struct request *q)
{
    return q->state == REQUEST_RUNNING;
}

static void hold_arena(struct request *q)
{
    conn_let_go(q->conn, q->held_bytes);
    q->held_bytes = q->arena.held_bytes;
    conn_hold(q->conn, q->held_bytes);
}

void request_yield(struct request *q, struct task *task)
{
    must(shard_here() == q->conn->net->sh && q->state == REQUEST_RUNNING);
    q->busy = true;
    q->next_step = task;
    conn_room_grow(q);
}

void request_yield_end(struct request *q)
{
    must(shard_here() == q->conn->net->sh);
    q->busy = false;
    if (q->state == REQUEST_RUNNING)
        conn_room_count(q);
    conn_room_grown(q);
    conn_step_later(q->conn);
}

void request_answer_begin(struct request *q)
{
    wr_init(&q->answer, &q->arena);
    header_begin_response(&q->answer, q->header.request_api_key, q->header.request_api_version,
                          q->header.correlation_id);
}

void request_answer(struct request *q)
{
    must(shard_here() == q->conn->net->sh);
    wr_frame_end(&q->answer);
    q->part = wr_finish(&q->answer);
    if (!q->part)
        conn_close(q->conn, CLOSE_ANSWER_SIZE);
    hold_arena(q);
    request_over(q);
}

void request_silent(struct request *q)
{
    must(shard_here() == q->conn->net->sh);
    q->silent = true;
    request_over(q);
}

#define SHRINK_BYTES_MAX (1U << 20) /* what is copied at once */

void conn_answer_shrink(struct request *q)
{
    uint64_t bytes = 0;
    for (const struct out_part *part = q->part; part; part = part->next) {
        if (part->kind == OUT_REF)
            return; /* the handler's operation is what it refers to */
        bytes += part->len;
    }
    if (bytes > SHRINK_BYTES_MAX || q->held_bytes / 4 < bytes)
        return;
    struct arena arena;
    arena_init(&arena, 2 * SHRINK_BYTES_MAX);
    struct out_part *whole = arena_alloc(&arena, sizeof(*whole));
    uint8_t *to = arena_alloc(&arena, bytes);
    must(whole && to);
    *whole = (struct out_part){.kind = OUT_BYTES, .data = to, .len = (uint32_t)bytes};
    for (const struct out_part *part = q->part; part; part = part->next) {
        memcpy(to, part->data, part->len);
        to += part->len;
    }
    arena_fini(&q->arena);
    q->arena = arena;
    q->part = whole;
    hold_arena(q);
}

void conn_request_sent(struct request *q)
{
    struct net_shard *net = q->conn->net;
    if (!q->silent)
        request_time_pass(&q->time, STEP_SEND, shard_step_ns(net->sh));
    request_times_add(&net->times_of[q->family], &q->time, q->arrived_ns);
    conn_request_free(q);
}

/* ---- beginning, idling ---- */

static void on_idle(struct shard *sh, struct timer *timer)
{
    struct conn *c = container_of(timer, struct conn, idle);
    uint64_t now = io_now_ns(sh->io);
    uint64_t limit = c->net->limits.idle_max_ns;
    /* A request being worked on, or one that must wait because the connection rests, or a frame
     * that we do not read on, is not idleness (but a rest that is longer than the limit: nobody
     * sees whether the peer is still there); the clock is the last byte moved. */
    bool rests = conn_is_muted(c) && c->next_to_start && c->mute.at_ns < now + limit;
    if (c->running > 0 || c->in_wait || c->lined_up || rests)
        c->active_ns = now;
    if (now - c->active_ns >= limit)
        conn_close(c, CLOSE_IDLE);
    else
        timer_set(sh, timer, c->active_ns + limit);
}

struct conn *conn_new(struct net_shard *net, int socket, uint32_t listener,
                      const struct io_address *peer)
{
    struct conn *c = mem_zalloc(sizeof(*c));
    c->net = net;
    c->socket = socket;
    c->id = net->next_conn_id++;
    c->listener = listener;
    c->peer = *peer;
    c->principal = "User:ANONYMOUS";
    c->opened_ns = io_now_ns(net->sh->io);
    c->active_ns = c->opened_ns;
    c->idle = (struct timer){.fn = on_idle, .name = "conn.idle"};
    c->mute = (struct timer){.fn = on_mute_over, .name = "conn.mute"};
    c->step = (struct task){.fn = conn_step, .name = "conn.step"};
    TAILQ_INIT(&c->requests);
    TAILQ_INSERT_TAIL(&net->conns, c, link);
    count_up(&net->conn_count, 1);
    count_up(&net->opened, 1);
    if (net->limits.idle_max_ns > 0)
        timer_set(net->sh, &c->idle, c->active_ns + net->limits.idle_max_ns);
    if (net->draining)
        conn_close(c, CLOSE_SHUTDOWN); /* it was on its way when the broker began to stop */
    else
        conn_in_read(c);
    return c;
}

bool request_may_wait(const struct request *q)
{
    const struct conn *c = q->conn;
    return !c->net->draining && !c->at_eof && !c->closing && !q->hurried;
}
