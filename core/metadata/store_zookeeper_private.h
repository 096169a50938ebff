/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the ZooKeeper store, for store_zookeeper.c (its life), store_zookeeper_ask.c (what
 * is asked), store_zookeeper_heard.c (what the library says, on threads of its own) and
 * store_zookeeper_doubt.c (a session whose end nobody tells) only. The rules are at the head of
 * store_zookeeper.c.
 */
#pragma once

#include "core/metadata/store_question.h"
#include "core/metadata/store_queue.h"

#define THREADED
#include <zookeeper/zookeeper.h>

#define CHROOT_MAX 128U

enum zoo_state {
    ZOO_OPENING,   /* no session yet, or its root is being made */
    ZOO_CONNECTED, /* the owner knows */
    ZOO_SUSPENDED,
    ZOO_EXPIRED,
    ZOO_FAILED,
};

struct zoo;
struct zoo_request;

/* From the library's threads to the shard. */
struct zoo_message {
    struct zoo_message *next;
    struct zoo_request *request; /* its answer has come; NULL: a session's or a node's event */
    int type;                    /* ZOO_*_EVENT */
    int state;                   /* ZOO_*_STATE */
    uint64_t session;
    char *path;
};

struct zoo_request {
    struct zoo_message message;
    STAILQ_ENTRY(zoo_request) link;
    struct zoo *zoo;
    struct store_entry *entry; /* the answer; NULL: our own, for the root */
    bool answered;
    bool refused;                /* here, with the result in its entry */
    bool is_write;               /* and sent: it may have happened */
    struct store_question *held; /* not sent yet: its copy */
    uint64_t sent_ns;
    /* Written by the library's completion. */
    int rc;
    uint32_t op_count;
    zoo_op_result_t *results;
    struct Stat *stats;
};
STAILQ_HEAD(zoo_requests, zoo_request);

struct zoo {
    struct store store;
    struct shard *sh;
    struct store_options options;
    char *servers;
    char chroot[CHROOT_MAX + 1]; /* "" or "/a/b" */
    zhandle_t *zh;
    int init_error;
    enum zoo_state state;
    bool opened; /* the attempt to make a handle has ended */
    bool rooted; /* the chroot is there */
    bool closing;
    bool ended; /* the handle is closed; the last word of the bell frees all this */

    struct zoo_requests requests;  /* in order, those not told */
    struct zoo_message *inbox;     /* taken from `pushed`, oldest first */
    struct zoo_message *inbox_end; /* the newest of them */
    struct task tell;
    struct timer nudge;
    struct timer patience; /* to connect; after store_close: for answers */
    struct io_op work;
    struct io_op read;
    uint64_t word;
    int bell;
    struct zoo_message *pushed; /* shared with the library's threads: atomic */

    zhandle_t *probe;     /* a second session, while this one is in doubt */
    bool probing;         /* it is being opened or closed */
    bool probe_is_served; /* shared with its threads: atomic */
    uint32_t probe_served_looks;
    struct timer doubt;
    struct io_op probe_work;

    void (*closed)(void *user);
    void *closed_user;
};

static inline struct zoo *zoo_of(struct store *store)
{
    struct zoo *zoo = container_of(store, struct zoo, store);
    must(shard_here() == zoo->sh);
    return zoo;
}

/* ---- store_zookeeper_heard.c: on the library's threads, and what the shard takes from them ----
 */

/* A word to the shard. */
void zoo_ring(const struct zoo *zoo);
/* Behind what is in the inbox. */
void zoo_receive(struct zoo *zoo, struct zoo_message *first, struct zoo_message *last);
/* What was pushed, newest first, goes behind what is in the inbox, oldest first. */
void zoo_fetch(struct zoo *zoo);

/* Completions of a request, which is their data. */
void zoo_on_multi(int rc, const void *data);
void zoo_on_data(int rc, const char *value, int len, const struct Stat *stat, const void *data);
void zoo_on_stat(int rc, const struct Stat *stat, const void *data);
void zoo_on_names(int rc, const struct String_vector *names, const struct Stat *stat,
                  const void *data);

/* Watchers; their context is the zoo. */
void zoo_on_session(zhandle_t *zh, int type, int state, const char *path, void *context);
void zoo_on_node_watch(zhandle_t *zh, int type, int state, const char *path, void *context);
void zoo_on_children_watch(zhandle_t *zh, int type, int state, const char *path, void *context);

void zoo_on_line(const char *line);

/* ---- store_zookeeper.c ---- */

/* Nothing is asked in this session any more. */
void zoo_session_over(struct zoo *zoo);

/* ---- store_zookeeper_doubt.c ---- */

/* The session is suspended. */
void zoo_doubt_begin(struct zoo *zoo);
/* It is not, or there shall be none. */
void zoo_doubt_end(struct zoo *zoo);
/* Nothing is under way; later, zoo->tell is made ready. */
bool zoo_doubt_rests(const struct zoo *zoo);
void zoo_on_doubt(struct shard *sh, struct timer *timer);

/* ---- store_zookeeper_ask.c ---- */

void zoo_store_multi(struct store *store, const struct store_op *ops, uint32_t count,
                     store_multi_fn *done, void *user);
void zoo_store_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                   void *user);
void zoo_store_exists(struct store *store, const char *path, bool watch, store_get_fn *done,
                      void *user);
void zoo_store_children(struct store *store, const char *path, bool watch, store_children_fn *done,
                        void *user);
/* Creates the first `len` characters of the chroot; answered by a request without an entry, whose
 * op_count is `len`. */
void zoo_ask_for_root(struct zoo *zoo, size_t len);
/* In their order, before whatever the owner asks for next; or they are refused. */
void zoo_send_held(struct zoo *zoo);
void zoo_on_nudge(struct shard *sh, struct timer *timer);
