/* SPDX-License-Identifier: Apache-2.0
 *
 * A command's connections to brokers. Commands read as if they waited; underneath there is one
 * shard on this thread whose turns run meanwhile, the same shard and door that the broker has.
 *
 * Whatever fails is said here, once, with the broker's address; the caller gets an exit code.
 */
#pragma once

#include "net/client.h"
#include "tools/millrace/settings.h"

#include <signal.h>

#define LINKS_MAX          256U
#define SESSION_POOL_BYTES (2U << 20) /* to receive into, where nothing else is said */

/* A connection to one broker. */
struct broker_link {
    struct client client;
    struct session *session;
    int32_t node_id; /* -1: a bootstrap server */
    char host[256];
    uint16_t port;
    bool apart;   /* not shared: for a coordinator, whose answers may take long */
    bool settled; /* connecting has come to an end, or the connection has */
};

struct session {
    struct invocation *inv;
    void *user; /* the command's own, where it runs alone */
    struct settings settings;
    struct shard *sh;
    struct shard_group *group;
    struct broker_link *bootstrap;
    struct broker_link *links[LINKS_MAX];
    uint32_t link_count;
    struct arena arena; /* for the command: answers to session_call live here until the end */
    bool hush;          /* something is being tried again: say nothing of what fails */
    /* What a signal sets: calls end with EXIT_INTERRUPTED then; NULL: nothing does. */
    const volatile sig_atomic_t *stop;
    bool abandoned; /* an operation that may never end is in flight: close nothing */
};

/* Opens the door, runs `work` and closes; the exit code. Brokers are connected to when they are
 * first asked, so that mistakes in what was typed are told before anything else. */
int session_run(struct invocation *inv, int (*work)(struct session *s));
/* The same with another door. */
struct session_options {
    uint64_t pool_bytes; /* to receive into: much for clients that hold blocks */
    uint64_t spin_ns;    /* how long to look for answers before it sleeps */
};
int session_run_as(struct invocation *inv, const struct session_options *options,
                   int (*work)(struct session *s));

/* The same without a broker: the shard is there, and its door. user: becomes s->user. */
int session_run_alone(struct invocation *inv, uint64_t pool_bytes, void *user,
                      int (*work)(struct session *s));

/* Ends all connections; afterwards no call is in flight. */
void session_hang_up(struct session *s);

/* One turn; then, unless a callback set *news, sleeps until something happens, at most until then.
 */
void session_turn(struct session *s, uint64_t until_ns, const bool *news);
uint64_t session_now_ns(const struct session *s);
/* The deadline of a request sent now. */
uint64_t session_deadline_ns(const struct session *s);
void session_pause(struct session *s, uint64_t ns);

/* The broker of that id, connected; NULL, and said, when it cannot be reached. */
struct broker_link *session_broker(struct session *s, int32_t node_id, const char *host,
                                   int32_t port);

/* The same on a connection of its own. */
struct broker_link *session_broker_apart(struct session *s, int32_t node_id, const char *host,
                                         int32_t port);

/* A broker of the bootstrap servers, connected; NULL, and said, when none can be reached. */
struct broker_link *session_any(struct session *s);

/* One request and its answer, from `link` or, when it is NULL, from any broker; connects again when
 * the connection was lost before. request and response are the structs of `key` (net/kafka.h); the
 * response's memory is the arena's. */
int session_call(struct session *s, struct broker_link *link, int16_t key, int16_t version_max,
                 const void *request, void *response, struct arena *arena);

/* The same within so many milliseconds. */
int session_call_for(struct session *s, struct broker_link *link, int16_t key, int16_t version_max,
                     const void *request, void *response, struct arena *arena, int64_t timeout_ms);

/* The name of a broker for messages: "broker 1 (host:port)". */
#define LINK_TEXT_SIZE 320
const char *link_text(const struct broker_link *link, char buffer[LINK_TEXT_SIZE]);
/* Says why a link was lost, unless s->hush. */
void link_complain(const struct broker_link *link);
