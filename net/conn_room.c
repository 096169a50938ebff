/* SPDX-License-Identifier: Apache-2.0
 *
 * Room for requests that handlers have: what they have decoded and found, until they are answered.
 * Small ones are a connection's known cost and not looked at; those of REQUEST_SMALL_BYTES and more
 * are counted, and share a budget of the shard.
 *
 * When it is used up, requests that may wait for long (a Fetch) and come in large frames wait for
 * their turn, and of those that wait the oldest are hurried: a Fetch may be answered before its
 * time. So what waits never holds up what is new for longer than CONN_HURRY_NS, which is also how
 * often one and the same client is asked to ask again. Other requests that may become large end by
 * themselves and wait only beyond twice the budget; small ones never wait.
 *
 * What goes on in steps grows by them. A thousand that have begun while there was room would all
 * grow together; so without room one of them goes on at a time, to its end, and as long as others
 * wait for that no more begin.
 */
#include "net/conn_private.h"

/* What waits in each. */
enum { LINE_PATIENT, LINE_COMMON, LINE_BULKY };
enum { LINES = array_count(((struct net_shard *)NULL)->lines) };

static void on_hurry(struct shard *sh, struct timer *timer);

void conn_room_init(struct net_shard *net)
{
    TAILQ_INIT(&net->heavy);
    TAILQ_INIT(&net->growers);
    for (unsigned i = 0; i < LINES; i++)
        TAILQ_INIT(&net->lines[i]);
    net->hurry = (struct timer){.fn = on_hurry, .name = "net.hurry"};
}

void conn_room_fini(struct net_shard *net)
{
    must(net->working_bytes == 0 && TAILQ_EMPTY(&net->heavy) && TAILQ_EMPTY(&net->growers));
    timer_cancel(net->sh, &net->hurry);
}

/* ---- those who wait for it ---- */

static bool line_has_room(const struct net_shard *net, unsigned line)
{
    const uint64_t most = net->limits.working_bytes_max;
    return most == 0 || net->working_bytes <= (line == LINE_PATIENT ? most : 2 * most);
}

static bool line_is_open(const struct net_shard *net, unsigned line)
{
    return line_has_room(net, line) && (line != LINE_BULKY || TAILQ_EMPTY(&net->growers));
}

static void wake(struct net_shard *net)
{
    for (unsigned i = 0; i < LINES; i++) {
        struct conn *first = TAILQ_FIRST(&net->lines[i]);
        if (first && line_is_open(net, i))
            conn_step_later(first);
    }
}

void conn_room_leave(struct conn *c)
{
    if (!c->lined_up)
        return;
    c->lined_up = false;
    TAILQ_REMOVE(&c->net->lines[c->line], c, lining);
    wake(c->net);
}

static void line_up(struct conn *c, unsigned line)
{
    if (c->lined_up)
        return;
    c->lined_up = true;
    c->line = (uint8_t)line;
    TAILQ_INSERT_TAIL(&c->net->lines[line], c, lining);
}

bool conn_is_small(const struct conn *c)
{
    const struct conn_service *service = c->net->service;
    const struct request *q = c->next_to_start;
    const int16_t key = q->header.request_api_key;
    return q->frame_bytes < REQUEST_SMALL_BYTES && !(service->is_bulky && service->is_bulky(key)) &&
           !(service->is_patient && service->is_patient(key));
}

static unsigned line_of(const struct net_shard *net, const struct request *q)
{
    const struct conn_service *service = net->service;
    const int16_t key = q->header.request_api_key;
    if (service->is_bulky && service->is_bulky(key))
        return LINE_BULKY;
    bool patient = service->is_patient && service->is_patient(key);
    return patient && q->frame_bytes >= REQUEST_SMALL_BYTES ? LINE_PATIENT : LINE_COMMON;
}

bool conn_room_admits(struct conn *c)
{
    struct net_shard *net = c->net;
    if (TAILQ_EMPTY(&net->lines[LINE_PATIENT]) && TAILQ_EMPTY(&net->growers) &&
        line_has_room(net, LINE_PATIENT)) {
        conn_room_leave(c);
        return true;
    }
    if (conn_is_small(c))
        return true;
    const unsigned line = line_of(net, c->next_to_start);
    struct conn *first = TAILQ_FIRST(&net->lines[line]);
    if (line_is_open(net, line) && (!first || first == c)) {
        conn_room_leave(c);
        return true;
    }
    line_up(c, line);
    return false;
}

/* ---- those who have it ---- */

/* Of the requests that wait for something, enough for what is too much, and the oldest first; those
 * that lose something by it only when that is not enough. */
static uint64_t hurry(struct net_shard *net, uint64_t excess, bool hard)
{
    const struct conn_service *service = net->service;
    const uint64_t now = io_now_ns(net->sh->io);
    const uint64_t age_min_ns = line_has_room(net, LINE_COMMON) ? CONN_HURRY_NS : 0;
    struct request *q;
    struct request *next;
    for (q = TAILQ_FIRST(&net->heavy); q && excess > 0; q = next) {
        next = TAILQ_NEXT(q, heavy);
        const uint64_t bytes = q->working_bytes;
        const bool before = q->hurried;
        if (!before && now - q->started_ns >= age_min_ns)
            q->hurried = service->on_hurry(q, hard);
        if (q->hurried && !(before && hard)) /* not counted twice */
            excess -= min_u64(excess, bytes);
    }
    return excess;
}

/* How much of whole frames has to go, so that others may come in. */
static uint64_t frames_excess(const struct net_shard *net)
{
    const uint64_t most = net->limits.unfinished_bytes_max / 2;
    return net->whole_bytes <= most ? 0 : net->whole_bytes - most;
}

/* The same for frames: a request that waits keeps its own and those that came after it. */
static uint64_t hurry_frames(struct net_shard *net, uint64_t excess, bool hard)
{
    const uint64_t now = io_now_ns(net->sh->io);
    struct conn *c;
    TAILQ_FOREACH (c, &net->conns, link) {
        struct request *q = TAILQ_FIRST(&c->requests);
        const uint64_t bytes = c->whole_bytes;
        if (excess == 0)
            break;
        if (bytes < REQUEST_SMALL_BYTES || !q || q->state != REQUEST_RUNNING)
            continue;
        const bool before = q->hurried;
        if (!before && now - q->started_ns >= CONN_HURRY_NS)
            q->hurried = net->service->on_hurry(q, hard);
        if (q->hurried && !(before && hard))
            excess -= min_u64(excess, bytes);
    }
    return excess;
}

static void on_hurry(struct shard *sh, struct timer *timer)
{
    struct net_shard *net = container_of(timer, struct net_shard, hurry);
    const uint64_t most = net->limits.working_bytes_max;
    uint64_t excess = line_has_room(net, LINE_PATIENT) ? 0 : net->working_bytes - most;
    excess = hurry(net, excess, false);
    (void)hurry(net, excess, true);
    excess = hurry_frames(net, frames_excess(net), false);
    (void)hurry_frames(net, excess, true);
    if (!line_has_room(net, LINE_PATIENT) || frames_excess(net) > 0)
        timer_set(sh, timer, io_now_ns(sh->io) + CONN_HURRY_NS);
}

static void hurry_soon(struct net_shard *net)
{
    if (!timer_is_set(&net->hurry) && net->service->on_hurry)
        timer_set(net->sh, &net->hurry, io_now_ns(net->sh->io));
}

void conn_room_frames(struct net_shard *net)
{
    hurry_soon(net);
    conn_relief_later(net);
}

void conn_room_count(struct request *q)
{
    struct net_shard *net = q->conn->net;
    const uint64_t bytes = count_read(&q->arena.held_bytes); /* another shard may have it now */
    if (bytes < REQUEST_SMALL_BYTES)
        return;
    if (q->working_bytes == 0)
        TAILQ_INSERT_TAIL(&net->heavy, q, heavy);
    net->working_bytes += bytes - q->working_bytes;
    q->working_bytes = bytes;
    if (!line_has_room(net, LINE_PATIENT))
        hurry_soon(net);
}

void conn_room_forget(struct request *q)
{
    struct net_shard *net = q->conn->net;
    if (q->working_bytes == 0)
        return;
    TAILQ_REMOVE(&net->heavy, q, heavy);
    net->working_bytes -= q->working_bytes;
    q->working_bytes = 0;
    conn_room_grown(q);
    wake(net);
}

/* ---- those who need more of it ---- */

static void go_on(struct request *q)
{
    struct net_shard *net = q->conn->net;
    if (!line_has_room(net, LINE_PATIENT) && q->working_bytes > 0)
        net->grower = q;
    shard_ready(net->sh, q->next_step);
}

/* One; the next follows when it comes back for more. */
static void grow_next(struct net_shard *net)
{
    struct request *first = TAILQ_FIRST(&net->growers);
    if (!first || (net->grower && !line_has_room(net, LINE_PATIENT)))
        return;
    TAILQ_REMOVE(&net->growers, first, growing);
    go_on(first);
    if (TAILQ_EMPTY(&net->growers))
        wake(net);
}

void conn_room_grow(struct request *q)
{
    struct net_shard *net = q->conn->net;
    conn_room_count(q);
    if (q->working_bytes == 0 || !net->grower || net->grower == q ||
        line_has_room(net, LINE_PATIENT))
        go_on(q);
    else
        TAILQ_INSERT_TAIL(&net->growers, q, growing);
    grow_next(net);
}

void conn_room_grown(struct request *q)
{
    struct net_shard *net = q->conn->net;
    if (net->grower == q)
        net->grower = NULL;
    grow_next(net);
}
