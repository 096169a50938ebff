/* SPDX-License-Identifier: Apache-2.0
 *
 * Where connections come in. One shard (the control shard) accepts for the whole broker, so the
 * limits (max.connections, max.connections.per.ip, descriptors) are exact without splitting them,
 * and hands each socket to the shard with the fewest connections. A shard reports each end back.
 *
 * Over a limit the newcomer is closed at once and counted with its reason (N9). max.connections
 * stops accepting instead: the peer waits in the kernel's backlog until a place is free. Who comes
 * too often (a quota) is held unread for a while and then closed, so that it does not come again at
 * once; up to LISTEN_HELD_MAX at a time, others are closed without it.
 */
#pragma once

#include "net/conn.h"

struct listen_limits {
    uint32_t connections_max;
    uint32_t per_ip_max;
    /* Of addresses with a limit of their own. NULL: none. */
    bool (*per_ip_override)(const struct io_address *peer, const void *user, uint32_t *limit);
    const void *user;
    /* How long a newcomer is held before it is closed; 0: it may come in. NULL: all may. */
    uint64_t (*delay_ns)(const struct io_address *peer, void *delay_user);
    void *delay_user;
};

#define LISTEN_HELD_MAX 1024U

struct listen_socket {
    struct listen *listen;
    struct io_address address;
    uint32_t listener; /* index of its name in the configuration */
    int socket;
    struct io_op accept;
    bool accepting;
};

/* Came too often, and is closed then. */
struct listen_held {
    int socket;
    uint64_t until_ns;
};

struct listen_ip; /* uthash: connections of one address */

/* home: the control shard. */
struct listen {
    struct shard *sh;
    struct net_shard *(*net_of)(struct shard *here); /* on any shard: its connections */
    struct listen_limits limits;
    struct listen_socket *sockets;
    uint32_t socket_count;
    uint32_t *loads; /* connections per shard, as handed out and reported back */
    uint32_t connections;
    struct listen_ip *ips;
    bool stopping;
    uint64_t refused[CLOSE_REASON_COUNT];
    struct listen_held *held; /* [LISTEN_HELD_MAX], made for the first */
    uint32_t held_count;
    struct timer release; /* set while there are some */
    struct timer retry;   /* after accept failed for want of descriptors */
    void (*stopped)(void *user);
    void *user;
};

void listen_init(struct listen *ln, struct shard *sh, struct net_shard *(*net_of)(struct shard *),
                 const struct listen_limits *limits);
/* Blocking, at start: 0 or -errno of io_listen. address->port 0: any; see listen_port(). */
int listen_add(struct listen *ln, const struct io_address *address, uint32_t listener,
               const struct io_socket_options *options);
uint16_t listen_port(const struct listen *ln, uint32_t socket_index);
void listen_start(struct listen *ln);
/* No more connections; stopped(user) when nothing is in flight. */
void listen_stop(struct listen *ln, void (*stopped)(void *user), void *user);
void listen_fini(struct listen *ln);

/* On a connection's shard, when it has been freed. */
void listen_connection_gone(struct listen *ln, struct shard *here, const struct io_address *peer);
