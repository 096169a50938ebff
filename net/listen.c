/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listen.h"

#include "io/map.h"
#include "io/mem.h"

#include <errno.h>
#include <string.h>

#define RETRY_NS 100000000ULL /* accept failed: descriptors or memory; look again in 100 ms */

struct listen_ip {
    uint8_t ip[16];
    uint32_t connections;
    UT_hash_handle hh;
};

/* A socket on its way to its shard, or the news of its end on the way back. */
struct handover {
    struct mail mail;
    struct listen *listen;
    int socket;
    uint32_t listener;
    uint16_t to;
    struct io_address peer;
};

static void accept_next(struct listen_socket *ls);

static void accept_all(struct listen *ln)
{
    for (uint32_t i = 0; i < ln->socket_count; i++)
        accept_next(&ln->sockets[i]);
}

static struct listen_ip *ip_of(struct listen *ln, const uint8_t *ip)
{
    struct listen_ip *entry;
    HASH_FIND(hh, ln->ips, ip, sizeof(entry->ip), entry);
    return entry;
}

static uint32_t ip_limit(const struct listen *ln, const struct io_address *peer)
{
    uint32_t limit;
    if (ln->limits.per_ip_override && ln->limits.per_ip_override(peer, ln->limits.user, &limit))
        return limit;
    return ln->limits.per_ip_max;
}

/* Counts it in, or says why not. */
static enum close_reason admit(struct listen *ln, const struct io_address *peer)
{
    struct listen_ip *entry = ip_of(ln, peer->ip);
    uint32_t held = entry ? entry->connections : 0;
    if (held >= ip_limit(ln, peer))
        return CLOSE_LIMIT_PER_IP;
    if (!entry) {
        entry = mem_zalloc(sizeof(*entry));
        memcpy(entry->ip, peer->ip, sizeof(entry->ip));
        HASH_ADD(hh, ln->ips, ip, sizeof(entry->ip), entry);
    }
    entry->connections++;
    ln->connections++;
    return CLOSE_REASON_COUNT;
}

static uint16_t least_loaded(const struct listen *ln)
{
    uint16_t best = 0;
    for (uint16_t i = 1; i < ln->sh->count; i++)
        if (ln->loads[i] < ln->loads[best])
            best = i;
    return best;
}

static void on_arrived(struct shard *here, struct mail *mail)
{
    struct handover *h = container_of(mail, struct handover, mail);
    io_socket_take(here->io, h->socket);
    conn_new(h->listen->net_of(here), h->socket, h->listener, &h->peer);
    mem_free(h);
}

static void hand_over(struct listen_socket *ls, int socket, const struct io_address *peer)
{
    struct listen *ln = ls->listen;
    struct handover *h = mem_alloc(sizeof(*h));
    *h = (struct handover){.listen = ln,
                           .socket = socket,
                           .listener = ls->listener,
                           .to = least_loaded(ln),
                           .peer = *peer};
    ln->loads[h->to]++;
    io_socket_give(ln->sh->io, socket);
    shard_post(ln->sh, h->to, &h->mail, on_arrived);
}

/* Here, on the listener's shard: at listen_fini() after a stop its ring is gone. */
static void maybe_stopped(struct listen *ln)
{
    for (uint32_t i = 0; i < ln->socket_count; i++)
        if (ln->sockets[i].accepting)
            return;
    for (uint32_t i = 0; i < ln->socket_count; i++)
        io_close(ln->sh->io, ln->sockets[i].socket);
    ln->socket_count = 0;
    if (ln->stopped) {
        void (*stopped)(void *) = ln->stopped;
        ln->stopped = NULL;
        stopped(ln->user);
    }
}

/* ---- held ---- */

static void release_later(struct listen *ln)
{
    uint64_t first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < ln->held_count; i++)
        first_ns = min_u64(first_ns, ln->held[i].until_ns);
    if (ln->held_count > 0)
        timer_set(ln->sh, &ln->release, first_ns);
}

static void release(struct listen *ln, uint64_t now_ns)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ln->held_count; i++) {
        if (ln->held[i].until_ns <= now_ns)
            io_close(ln->sh->io, ln->held[i].socket);
        else
            ln->held[kept++] = ln->held[i];
    }
    ln->held_count = kept;
}

static void on_release(struct shard *sh, struct timer *timer)
{
    struct listen *ln = container_of(timer, struct listen, release);
    release(ln, io_now_ns(sh->io));
    release_later(ln);
}

static void turn_away(struct listen *ln, int socket, uint64_t delay_ns)
{
    if (delay_ns == 0 || ln->stopping || ln->held_count == LISTEN_HELD_MAX) {
        io_close(ln->sh->io, socket);
        return;
    }
    if (!ln->held)
        ln->held = mem_alloc(LISTEN_HELD_MAX * sizeof(*ln->held));
    ln->held[ln->held_count++] =
        (struct listen_held){.socket = socket, .until_ns = io_now_ns(ln->sh->io) + delay_ns};
    release_later(ln);
}

/* ---- accepting ---- */

static void newcomer(struct listen_socket *ls, int socket)
{
    struct listen *ln = ls->listen;
    struct io_address peer;
    uint64_t delay_ns = 0;
    io_peer(ln->sh->io, socket, &peer);
    if (!ln->stopping && ln->limits.delay_ns)
        delay_ns = ln->limits.delay_ns(&peer, ln->limits.delay_user);
    enum close_reason no = ln->stopping   ? CLOSE_SHUTDOWN
                           : delay_ns > 0 ? CLOSE_RATE_PER_IP
                                          : admit(ln, &peer);
    if (no == CLOSE_REASON_COUNT) {
        hand_over(ls, socket, &peer);
    } else {
        ln->refused[no]++;
        turn_away(ln, socket, delay_ns);
    }
}

static void on_accepted(struct io_op *op)
{
    struct listen_socket *ls = container_of(op, struct listen_socket, accept);
    struct listen *ln = ls->listen;
    ls->accepting = false;
    if (op->res >= 0) {
        newcomer(ls, (int)op->res);
    } else if (!ln->stopping && (op->res == -EMFILE || op->res == -ENFILE || op->res == -ENOMEM ||
                                 op->res == -ENOBUFS)) {
        ln->refused[CLOSE_DESCRIPTORS]++;
        timer_set(ln->sh, &ln->retry, io_now_ns(ln->sh->io) + RETRY_NS);
        return;
    }
    if (ln->stopping)
        maybe_stopped(ln);
    else
        accept_next(ls);
}

static void accept_next(struct listen_socket *ls)
{
    struct listen *ln = ls->listen;
    if (ls->accepting || ln->stopping || timer_is_set(&ln->retry))
        return;
    if (ln->connections >= ln->limits.connections_max)
        return; /* a connection that ends calls again */
    ls->accepting = true;
    ls->accept.done = on_accepted;
    io_accept(ln->sh->io, &ls->accept, ls->socket);
}

static void on_retry(struct shard *sh, struct timer *timer)
{
    (void)sh;
    accept_all(container_of(timer, struct listen, retry));
}

/* ---- the end of a connection ---- */

static void on_gone(struct shard *here, struct mail *mail)
{
    (void)here;
    struct handover *h = container_of(mail, struct handover, mail);
    struct listen *ln = h->listen;
    must(ln->loads[h->to] > 0 && ln->connections > 0);
    ln->loads[h->to]--;
    ln->connections--;
    struct listen_ip *entry = ip_of(ln, h->peer.ip);
    must(entry && entry->connections > 0);
    if (--entry->connections == 0) {
        HASH_DEL(ln->ips, entry);
        mem_free(entry);
    }
    mem_free(h);
    accept_all(ln);
}

void listen_connection_gone(struct listen *ln, struct shard *here, const struct io_address *peer)
{
    struct handover *h = mem_alloc(sizeof(*h));
    *h = (struct handover){.listen = ln, .socket = -1, .to = here->id, .peer = *peer};
    shard_post(here, ln->sh->id, &h->mail, on_gone);
}

/* ---- life ---- */

void listen_init(struct listen *ln, struct shard *sh, struct net_shard *(*net_of)(struct shard *),
                 const struct listen_limits *limits)
{
    memset(ln, 0, sizeof(*ln));
    ln->sh = sh;
    ln->net_of = net_of;
    ln->limits = *limits;
    ln->loads = mem_zalloc(sh->count * sizeof(*ln->loads));
    ln->retry = (struct timer){.fn = on_retry, .name = "listen.retry"};
    ln->release = (struct timer){.fn = on_release, .name = "listen.release"};
}

int listen_add(struct listen *ln, const struct io_address *address, uint32_t listener,
               const struct io_socket_options *options)
{
    int socket = io_listen(ln->sh->io, address, options);
    if (socket < 0)
        return socket;
    ln->sockets = mem_realloc(ln->sockets, (ln->socket_count + 1) * sizeof(*ln->sockets));
    ln->sockets[ln->socket_count++] = (struct listen_socket){
        .listen = ln, .address = *address, .listener = listener, .socket = socket};
    return 0;
}

uint16_t listen_port(const struct listen *ln, uint32_t socket_index)
{
    must(socket_index < ln->socket_count);
    return io_listen_port(ln->sh->io, ln->sockets[socket_index].socket);
}

void listen_start(struct listen *ln)
{
    accept_all(ln);
}

void listen_stop(struct listen *ln, void (*stopped)(void *user), void *user)
{
    ln->stopping = true;
    ln->stopped = stopped;
    ln->user = user;
    timer_cancel(ln->sh, &ln->retry);
    timer_cancel(ln->sh, &ln->release);
    release(ln, UINT64_MAX);
    for (uint32_t i = 0; i < ln->socket_count; i++)
        if (ln->sockets[i].accepting)
            io_cancel(ln->sh->io, &ln->sockets[i].accept);
    maybe_stopped(ln);
}

void listen_fini(struct listen *ln)
{
    struct listen_ip *entry;
    struct listen_ip *next;
    HASH_ITER(hh, ln->ips, entry, next)
    {
        HASH_DEL(ln->ips, entry);
        mem_free(entry);
    }
    for (uint32_t i = 0; i < ln->socket_count; i++)
        io_close(ln->sh->io, ln->sockets[i].socket);
    mem_free(ln->sockets);
    release(ln, UINT64_MAX);
    mem_free(ln->held);
    mem_free(ln->loads);
}
