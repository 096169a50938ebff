/* SPDX-License-Identifier: Apache-2.0
 *
 * The store of a cluster: Apache ZooKeeper, by the client library libzookeeper_mt.
 *
 * The library has two threads of its own: one does its I/O, the other runs all completions and
 * watchers, one after another in the server's order. Here they do nothing but copy what they were
 * given into a message and push it on a stack; when that was empty a word in an eventfd wakes the
 * owner's shard, which has a read on it. The shard turns the stack round and tells.
 *
 * Requests stand in one line in the order in which they were made, and each is told when it has
 * come to the head of the line with its answer: so a request that is refused here (too big, the
 * session over) keeps its place among those that went to a server, and events stay between the
 * answers where the server has put them. A refusal is a message behind all that have come: whoever
 * asks again at once hears first what has happened.
 *
 * What the library is known for, and what is done about it:
 * - a multi's results and stats are written when its completion runs: they live in the request;
 * - a request beyond the server's limit costs the connection, and all in flight with it: refused;
 * - a lost connection answers ZCONNECTIONLOSS whether the multi happened or not: STORE_UNKNOWN;
 * - so does a request made while there is no connection, at every attempt to connect, and whoever
 *   asks again burns a core: from SUSPENDED to CONNECTED requests stay here, as copies;
 * - when the session is over its I/O thread ends, and before its event is told here a multi is
 *   refused with "marshalling error" and its memory lost: those requests wait for the event, too;
 * - of a session that ended, multis in flight are answered "expired", although they may have
 *   happened: STORE_EXPIRED says nothing about them (core/metadata/store.h, S5 and S6);
 * - a follower may sit on a write until another request arrives (ZOOKEEPER-4537), and the library
 *   does not ping while it waits: a write older than NUDGE_NS is followed by a read;
 * - closing may block for seconds, resolving names as well: both on the helper thread;
 * - closing drops completions: what is unanswered then is answered here;
 * - it tells every watcher of every change of the session: those are the session's watcher's only;
 * - it logs to stderr: its words go nowhere, the session's changes are told as events.
 *
 * The path below which everything lies (chroot) is put before each path and taken off each event
 * here, because it has to be made before anything can lie below it.
 */
#include "core/metadata/store_zookeeper.h"

#include "core/metadata/store_question.h"
#include "core/metadata/store_queue.h"
#include "io/diag.h"
#include "io/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#define THREADED
#include <zookeeper/zookeeper.h>

#define MS_NS         1000000ULL
#define NUDGE_NS      (100 * MS_NS)
#define CLOSE_WAIT_NS (1000 * MS_NS) /* for answers that are on their way */
#define CHROOT_MAX    128U
#define PATH_ROOM     (CHROOT_MAX + STORE_PATH_MAX + 2U)
/* ZooKeeper's limit of a request is 1,048,575 bytes; beside path and data an operation has so much:
 * header, lengths, the access control list, flags. */
#define OP_OVERHEAD 72U
#define WIRE_MAX    1000000U

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

    void (*closed)(void *user);
    void *closed_user;
};

static struct zoo *zoo_of(struct store *store)
{
    struct zoo *zoo = container_of(store, struct zoo, store);
    must(shard_here() == zoo->sh);
    return zoo;
}

/* ---- on the library's threads ---- */

static void ring(const struct zoo *zoo)
{
    uint64_t one = 1;
    ssize_t wrote = write(zoo->bell, &one, sizeof(one));
    must(wrote == (ssize_t)sizeof(one));
}

static void push(struct zoo *zoo, struct zoo_message *message)
{
    struct zoo_message *top = __atomic_load_n(&zoo->pushed, __ATOMIC_RELAXED);
    do
        message->next = top;
    while (!__atomic_compare_exchange_n(&zoo->pushed, &top, message, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
    if (!top)
        ring(zoo);
}

static void answer(struct zoo_request *request, int rc)
{
    request->rc = rc;
    push(request->zoo, &request->message);
}

static void copy_stat(struct store_stat *to, const struct Stat *from)
{
    *to = (struct store_stat){
        .czxid = (uint64_t)from->czxid,
        .mzxid = (uint64_t)from->mzxid,
        .owner = (uint64_t)from->ephemeralOwner,
        .version = from->version,
        .cversion = from->cversion,
        .child_count = (uint32_t)from->numChildren,
    };
}

static void on_multi(int rc, const void *data)
{
    struct zoo_request *request = no_const(data);
    for (uint32_t i = 0; rc == ZOK && request->entry && i < request->op_count; i++)
        copy_stat(&request->entry->stats[i], &request->stats[i]);
    for (uint32_t i = 0; rc != ZOK && request->entry && i < request->op_count; i++) {
        if (request->results[i].err != ZOK) {
            request->entry->bad_op = i;
            break;
        }
    }
    answer(request, rc);
}

static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *data)
{
    struct zoo_request *request = no_const(data);
    struct store_entry *entry = request->entry;
    if (rc == ZOK) {
        copy_stat(&entry->stat, stat);
        entry->len = len > 0 ? (uint32_t)len : 0;
        entry->data = mem_alloc(entry->len + 1U);
        if (entry->len > 0)
            memcpy(entry->data, value, entry->len);
    }
    answer(request, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct zoo_request *request = no_const(data);
    if (rc == ZOK)
        copy_stat(&request->entry->stat, stat);
    answer(request, rc);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void on_names(int rc, const struct String_vector *names, const struct Stat *stat,
                     const void *data)
{
    struct zoo_request *request = no_const(data);
    struct store_entry *entry = request->entry;
    size_t room = 1;
    if (rc == ZOK) {
        copy_stat(&entry->stat, stat);
        entry->name_count = (uint32_t)names->count;
        entry->names = mem_alloc((entry->name_count + 1U) * sizeof(*entry->names));
        for (uint32_t i = 0; i < entry->name_count; i++)
            room += strlen(names->data[i]) + 1;
        char *at = entry->data = mem_alloc(room);
        for (uint32_t i = 0; i < entry->name_count; i++) {
            size_t size = strlen(names->data[i]) + 1;
            memcpy(at, names->data[i], size);
            entry->names[i] = at;
            at += size;
        }
        qsort(entry->names, entry->name_count, sizeof(*entry->names), compare_names);
    }
    answer(request, rc);
}

static void on_nudged(int rc, const struct Stat *stat, const void *data)
{
    (void)rc;
    (void)stat;
    (void)data;
}

static void push_event(zhandle_t *zh, int type, int state, const char *path, struct zoo *zoo)
{
    struct zoo_message *message = mem_zalloc(sizeof(*message));
    message->type = type;
    message->state = state;
    message->session = (uint64_t)zoo_client_id(zh)->client_id;
    message->path = path ? mem_strdup(path) : NULL;
    push(zoo, message);
}

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)path;
    if (type == ZOO_SESSION_EVENT)
        push_event(zh, type, state, NULL, context);
}

static void on_node_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    if (type == ZOO_CREATED_EVENT || type == ZOO_DELETED_EVENT || type == ZOO_CHANGED_EVENT)
        push_event(zh, type, state, path, context);
}

/* A node that goes tells those who watch its children, too; they hear it as the other bodies tell
 * it: not at all. */
static void on_children_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    if (type == ZOO_CHILD_EVENT)
        push_event(zh, type, state, path, context);
}

static void on_library_line(const char *line)
{
    (void)line;
}

/* ---- telling ---- */

static enum store_result result_of(int rc)
{
    switch (rc) {
    case ZOK:
        return STORE_OK;
    case ZNONODE:
        return STORE_NO_NODE;
    case ZNODEEXISTS:
        return STORE_EXISTS;
    case ZBADVERSION:
        return STORE_BAD_VERSION;
    case ZNOTEMPTY:
        return STORE_NOT_EMPTY;
    case ZINVALIDSTATE:
    case ZSESSIONEXPIRED:
        return STORE_EXPIRED;
    case ZCLOSING:
    case ZAUTHFAILED:
    case ZNOAUTH:
    case ZBADARGUMENTS:
    case ZNOCHILDRENFOREPHEMERALS:
        return STORE_CLOSED;
    default:
        return STORE_UNKNOWN; /* the connection or the server: it may have happened */
    }
}

static void tell_event(struct zoo *zoo, enum store_event_kind kind, const char *path,
                       const char *sentence)
{
    if (!zoo->closing)
        zoo->options.on_event(
            zoo->options.user,
            &(struct store_event){.kind = kind, .path = path, .sentence = sentence});
}

static void send_held(struct zoo *zoo);

static void fail(struct zoo *zoo, const char *sentence)
{
    if (zoo->state == ZOO_FAILED || zoo->state == ZOO_EXPIRED)
        return;
    zoo->state = ZOO_FAILED;
    send_held(zoo);
    tell_event(zoo, STORE_FAILED, NULL, sentence);
}

static void request_free(struct zoo_request *request)
{
    if (request->entry)
        store_entry_free(request->entry);
    store_question_free(request->held);
    mem_free(request->results);
    mem_free(request->stats);
    mem_free(request);
}

static void on_root_made(struct zoo *zoo, const struct zoo_request *request);

static void tell_request(struct zoo *zoo, struct zoo_request *request)
{
    STAILQ_REMOVE_HEAD(&zoo->requests, link);
    if (!request->entry) {
        on_root_made(zoo, request);
    } else {
        if (request->rc == ZNOAUTH || request->rc == ZAUTHFAILED)
            fail(zoo, "ZooKeeper denies access to the cluster's nodes: their access control list "
                      "does not allow this broker; let it allow world:anyone, or use another path");
        else if (request->refused && request->rc == ZMARSHALLINGERROR)
            fail(zoo, "a request to ZooKeeper cannot be made: libzookeeper refuses it");
        store_entry_tell(request->entry, STORE_OK, zoo->options.on_event, zoo->options.user);
    }
    request_free(request);
}

static const char *below_root(const struct zoo *zoo, const char *path)
{
    size_t len = strlen(zoo->chroot);
    must(strncmp(path, zoo->chroot, len) == 0);
    return path[len] == '\0' ? "/" : path + len;
}

static void tell_node(struct zoo *zoo, const struct zoo_message *message)
{
    enum store_event_kind kind = message->type == ZOO_CREATED_EVENT   ? STORE_NODE_CREATED
                                 : message->type == ZOO_DELETED_EVENT ? STORE_NODE_DELETED
                                 : message->type == ZOO_CHANGED_EVENT ? STORE_NODE_CHANGED
                                                                      : STORE_NODE_CHILDREN;
    tell_event(zoo, kind, below_root(zoo, message->path), NULL);
}

static void make_root(struct zoo *zoo);

static void on_state(struct zoo *zoo, const struct zoo_message *message)
{
    if (zoo->state == ZOO_EXPIRED || zoo->state == ZOO_FAILED)
        return;
    if (message->state == ZOO_EXPIRED_SESSION_STATE) {
        zoo->state = ZOO_EXPIRED;
        send_held(zoo);
        tell_event(zoo, STORE_SESSION_EXPIRED, NULL, NULL);
    } else if (message->state == ZOO_AUTH_FAILED_STATE) {
        fail(zoo, "ZooKeeper does not accept this broker's credentials");
    } else if (message->state == ZOO_CONNECTED_STATE && !zoo->rooted) {
        zoo->store.session = message->session;
        make_root(zoo);
    } else if (message->state == ZOO_CONNECTED_STATE && zoo->state == ZOO_SUSPENDED) {
        zoo->state = ZOO_CONNECTED;
        send_held(zoo);
        tell_event(zoo, STORE_CONNECTED, NULL, NULL);
    } else if (message->state != ZOO_CONNECTED_STATE && zoo->state == ZOO_CONNECTED) {
        zoo->state = ZOO_SUSPENDED;
        tell_event(zoo, STORE_SUSPENDED, NULL, NULL);
    }
}

/* The oldest message: an answer is noted, an event told. */
static void take_message(struct zoo *zoo)
{
    struct zoo_message *message = zoo->inbox;
    zoo->inbox = message->next;
    if (message->request) {
        struct zoo_request *request = message->request;
        request->answered = true;
        if (request->entry && !request->refused)
            request->entry->result = result_of(request->rc);
        return;
    }
    if (message->type == ZOO_SESSION_EVENT)
        on_state(zoo, message);
    else
        tell_node(zoo, message);
    mem_free(message->path);
    mem_free(message);
}

static void try_to_end(struct zoo *zoo, bool anyway);

static void on_tell(struct shard *sh, struct task *task)
{
    struct zoo *zoo = container_of(task, struct zoo, tell);
    uint64_t began_ns = io_clock_ns(sh->io);
    if (!zoo->opened)
        return;
    while (!shard_should_yield(sh, began_ns)) {
        struct zoo_request *first = STAILQ_FIRST(&zoo->requests);
        if (first && first->answered) {
            tell_request(zoo, first);
        } else if (zoo->inbox) {
            take_message(zoo);
        } else {
            if (zoo->closing)
                try_to_end(zoo, false);
            return;
        }
    }
    shard_ready(sh, &zoo->tell);
}

static void listen_for_bell(struct zoo *zoo)
{
    io_read(zoo->sh->io, &zoo->read, zoo->bell, &zoo->word, sizeof(zoo->word), 0);
}

static void zoo_free(struct zoo *zoo);

static void receive(struct zoo *zoo, struct zoo_message *first, struct zoo_message *last)
{
    if (zoo->inbox)
        zoo->inbox_end->next = first;
    else
        zoo->inbox = first;
    zoo->inbox_end = last;
}

/* What was pushed, newest first, goes behind what is in the inbox, oldest first. */
static void fetch(struct zoo *zoo)
{
    struct zoo_message *pushed = __atomic_exchange_n(&zoo->pushed, NULL, __ATOMIC_ACQUIRE);
    struct zoo_message *turned = NULL;
    struct zoo_message *newest = pushed;
    while (pushed) {
        struct zoo_message *next = pushed->next;
        pushed->next = turned;
        turned = pushed;
        pushed = next;
    }
    if (turned)
        receive(zoo, turned, newest);
}

static void on_bell(struct io_op *op)
{
    struct zoo *zoo = container_of(op, struct zoo, read);
    shard_step(zoo->sh, "store.bell");
    if (zoo->ended) {
        void (*closed)(void *) = zoo->closed;
        void *user = zoo->closed_user;
        zoo_free(zoo);
        closed(user);
        return;
    }
    fetch(zoo);
    listen_for_bell(zoo);
    shard_ready(zoo->sh, &zoo->tell);
}

/* ---- requests ---- */

static const char *full_path(const struct zoo *zoo, const char *path, char room[PATH_ROOM])
{
    bool is_root = strcmp(path, "/") == 0;
    if (is_root && zoo->chroot[0] == '\0')
        return path;
    (void)snprintf(room, PATH_ROOM, "%s%s", zoo->chroot, is_root ? "" : path);
    return room;
}

static struct zoo_request *request_new(struct zoo *zoo, struct store_entry *take_entry)
{
    struct zoo_request *request = mem_zalloc(sizeof(*request));
    request->zoo = zoo;
    request->entry = take_entry;
    request->message.request = request;
    STAILQ_INSERT_TAIL(&zoo->requests, request, link);
    return request;
}

/* It goes nowhere; its answer waits for its place in the line, and comes behind all that has been
 * pushed. */
static void refuse(struct zoo_request *request, int rc, enum store_result result)
{
    struct zoo *zoo = request->zoo;
    request->rc = rc;
    request->refused = true;
    request->is_write = false;
    if (request->entry)
        request->entry->result = result;
    fetch(zoo);
    request->message.next = NULL;
    receive(zoo, &request->message, &request->message);
    shard_ready(zoo->sh, &zoo->tell);
}

static bool may_send(struct zoo_request *request)
{
    const struct zoo *zoo = request->zoo;
    if (zoo->zh && !zoo->closing && zoo->state != ZOO_FAILED && zoo->state != ZOO_EXPIRED)
        return true;
    refuse(request, ZCLOSING, zoo->state == ZOO_EXPIRED ? STORE_EXPIRED : STORE_CLOSED);
    return false;
}

/* The library has given up this handle; its last event may be still on its way. */
static bool is_over(const struct zoo *zoo)
{
    return is_unrecoverable(zoo->zh) != ZOK;
}

/* False: it was not sent, because the session is over. */
static bool sent(struct zoo_request *request, int rc)
{
    struct zoo *zoo = request->zoo;
    if (rc != ZOK && is_over(zoo)) {
        request->is_write = false;
        return false;
    }
    if (rc != ZOK) {
        refuse(request, ZMARSHALLINGERROR, STORE_CLOSED);
        return true;
    }
    request->sent_ns = io_now_ns(zoo->sh->io);
    if (request->is_write && !timer_is_set(&zoo->nudge))
        timer_set(zoo->sh, &zoo->nudge, request->sent_ns + NUDGE_NS);
    return true;
}

static void op_init(zoo_op_t *to, const struct store_op *op, const char *path, struct Stat *stat)
{
    switch (op->kind) {
    case STORE_CREATE:
        zoo_create_op_init(to, path, op->data, (int)op->len, &ZOO_OPEN_ACL_UNSAFE,
                           op->ephemeral ? ZOO_EPHEMERAL : 0, NULL, 0);
        return;
    case STORE_SET:
        zoo_set_op_init(to, path, op->data, (int)op->len, op->version, stat);
        return;
    case STORE_DELETE:
        zoo_delete_op_init(to, path, op->version);
        return;
    case STORE_CHECK:
        zoo_check_op_init(to, path, op->version);
        return;
    }
}

static bool send_multi(struct zoo_request *request, const struct store_op *ops, uint32_t count)
{
    struct zoo *zoo = request->zoo;
    zoo_op_t *zoo_ops = mem_zalloc((count + 1U) * sizeof(*zoo_ops));
    char(*paths)[PATH_ROOM] = mem_alloc((count + 1U) * sizeof(*paths));
    request->is_write = true;
    request->op_count = count;
    mem_free(request->results); /* of an attempt that failed */
    mem_free(request->stats);
    request->results = mem_zalloc((count + 1U) * sizeof(*request->results));
    request->stats = mem_zalloc((count + 1U) * sizeof(*request->stats));
    for (uint32_t i = 0; i < count; i++)
        op_init(&zoo_ops[i], &ops[i], full_path(zoo, ops[i].path, paths[i]), &request->stats[i]);
    int rc = zoo_amulti(zoo->zh, (int)count, zoo_ops, request->results, on_multi, request);
    mem_free(paths);
    mem_free(zoo_ops);
    return sent(request, rc);
}

/* False: as sent(). */
static bool send_question(struct zoo_request *request, const struct store_question *question)
{
    struct zoo *zoo = request->zoo;
    char room[PATH_ROOM];
    const char *path = question->path ? full_path(zoo, question->path, room) : NULL;
    watcher_fn watch = !question->watch                       ? NULL
                       : question->kind == STORE_ASK_CHILDREN ? on_children_watch
                                                              : on_node_watch;
    int rc = ZBADARGUMENTS;
    switch (question->kind) {
    case STORE_ASK_MULTI:
        return send_multi(request, question->ops, question->count);
    case STORE_ASK_GET:
        rc = zoo_awget(zoo->zh, path, watch, zoo, on_data, request);
        break;
    case STORE_ASK_EXISTS:
        rc = zoo_awexists(zoo->zh, path, watch, zoo, on_stat, request);
        break;
    case STORE_ASK_CHILDREN:
        rc = zoo_awget_children2(zoo->zh, path, watch, zoo, on_names, request);
        break;
    }
    return sent(request, rc);
}

/* Now, or when the session goes on; or it is refused, at once or when the session's end is told. */
static void ask(struct zoo_request *request, const struct store_question *question)
{
    const struct zoo *zoo = request->zoo;
    if (!may_send(request))
        return;
    if (zoo->state == ZOO_SUSPENDED || is_over(zoo) || !send_question(request, question))
        request->held = store_question_copy(question);
}

/* In their order, before whatever the owner asks for next; or they are refused. */
static void send_held(struct zoo *zoo)
{
    struct zoo_request *request;
    STAILQ_FOREACH (request, &zoo->requests, link) {
        struct store_question *question = request->held;
        if (!question)
            continue;
        request->held = NULL;
        ask(request, question);
        store_question_free(question);
    }
}

static void zoo_store_multi(struct store *store, const struct store_op *ops, uint32_t count,
                            store_multi_fn *done, void *user)
{
    struct zoo *zoo = zoo_of(store);
    const struct store_question question = {.kind = STORE_ASK_MULTI, .ops = ops, .count = count};
    struct store_stat *stats = mem_zalloc((count + 1U) * sizeof(*stats));
    struct zoo_request *request =
        request_new(zoo, store_entry_multi(STORE_CLOSED, 0, stats, done, user));
    uint64_t bytes = store_ops_bytes(ops, count);
    if (count > STORE_OPS_MAX || bytes > STORE_REQUEST_BYTES_MAX ||
        bytes + count * (strlen(zoo->chroot) + OP_OVERHEAD) > WIRE_MAX)
        refuse(request, ZBADARGUMENTS, STORE_TOO_BIG);
    else
        ask(request, &question);
}

static void zoo_store_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                          void *user)
{
    ask(request_new(zoo_of(store), store_entry_get(NULL, true, done, user)),
        &(struct store_question){.kind = STORE_ASK_GET, .path = path, .watch = watch});
}

static void zoo_store_exists(struct store *store, const char *path, bool watch, store_get_fn *done,
                             void *user)
{
    ask(request_new(zoo_of(store), store_entry_get(NULL, false, done, user)),
        &(struct store_question){.kind = STORE_ASK_EXISTS, .path = path, .watch = watch});
}

static void zoo_store_children(struct store *store, const char *path, bool watch,
                               store_children_fn *done, void *user)
{
    ask(request_new(zoo_of(store), store_entry_children(NULL, done, user)),
        &(struct store_question){.kind = STORE_ASK_CHILDREN, .path = path, .watch = watch});
}

static void on_nudge(struct shard *sh, struct timer *timer)
{
    struct zoo *zoo = container_of(timer, struct zoo, nudge);
    uint64_t now_ns = io_now_ns(sh->io);
    struct zoo_request *request;
    STAILQ_FOREACH (request, &zoo->requests, link) {
        if (request->is_write && !request->answered)
            break;
    }
    if (!request || zoo->closing)
        return;
    uint64_t due_ns = request->sent_ns + NUDGE_NS;
    if (due_ns <= now_ns) {
        if (zoo->state == ZOO_CONNECTED)
            (void)zoo_aexists(zoo->zh, "/", 0, on_nudged, NULL);
        due_ns = now_ns + NUDGE_NS;
    }
    timer_set(sh, timer, due_ns);
}

/* ---- the root ---- */

/* One part of the chroot at a time; which are there already is no secret. */
static void make_root_part(struct zoo *zoo, size_t len)
{
    struct zoo_request *request = request_new(zoo, NULL);
    char part[CHROOT_MAX + 1];
    memcpy(part, zoo->chroot, len);
    part[len] = '\0';
    request->op_count = (uint32_t)len;
    if (!may_send(request))
        return;
    zoo_op_t op;
    zoo_create_op_init(&op, part, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    request->results = mem_zalloc(sizeof(*request->results));
    request->is_write = true;
    if (!sent(request, zoo_amulti(zoo->zh, 1, &op, request->results, on_multi, request)))
        refuse(request, ZINVALIDSTATE, STORE_EXPIRED);
}

static void rooted(struct zoo *zoo)
{
    zoo->rooted = true;
    zoo->state = ZOO_CONNECTED;
    timer_cancel(zoo->sh, &zoo->patience);
    tell_event(zoo, STORE_CONNECTED, NULL, NULL);
}

static void make_root(struct zoo *zoo)
{
    const char *slash = zoo->chroot[0] ? strchr(zoo->chroot + 1, '/') : NULL;
    if (zoo->chroot[0] == '\0')
        rooted(zoo);
    else
        make_root_part(zoo, slash ? (size_t)(slash - zoo->chroot) : strlen(zoo->chroot));
}

static void on_root_made(struct zoo *zoo, const struct zoo_request *request)
{
    size_t len = request->op_count;
    char sentence[CHROOT_MAX + 128];
    if (zoo->rooted || zoo->closing)
        return;
    if (request->rc == ZOK || request->rc == ZNODEEXISTS) {
        const char *slash = zoo->chroot[len] ? strchr(zoo->chroot + len + 1, '/') : NULL;
        if (zoo->chroot[len] == '\0')
            rooted(zoo);
        else
            make_root_part(zoo, slash ? (size_t)(slash - zoo->chroot) : strlen(zoo->chroot));
    } else if (result_of(request->rc) == STORE_UNKNOWN || result_of(request->rc) == STORE_EXPIRED) {
        return; /* the next connection begins again, or the session's end is told */
    } else {
        (void)snprintf(sentence, sizeof(sentence), "cannot create %.*s in ZooKeeper: %s", (int)len,
                       zoo->chroot, zerror(request->rc));
        fail(zoo, sentence);
    }
}

/* ---- opening ---- */

static void open_work(void *argument)
{
    struct zoo *zoo = argument;
    zoo->zh = zookeeper_init2(zoo->servers, on_session, (int)zoo->options.session_timeout_ms, NULL,
                              zoo, 0, on_library_line);
    zoo->init_error = zoo->zh ? 0 : errno;
}

static void on_opened(struct io_op *op)
{
    struct zoo *zoo = container_of(op, struct zoo, work);
    zoo->opened = true;
    if (!zoo->zh) {
        char sentence[512];
        (void)snprintf(sentence, sizeof(sentence),
                       "cannot use the ZooKeeper servers %.300s: %s; give them as host:port,...",
                       zoo->servers, strerror(zoo->init_error));
        fail(zoo, sentence);
    }
    shard_ready(zoo->sh, &zoo->tell);
}

static void on_patience(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct zoo *zoo = container_of(timer, struct zoo, patience);
    char sentence[512];
    if (zoo->closing) {
        try_to_end(zoo, true);
        return;
    }
    (void)snprintf(sentence, sizeof(sentence),
                   "no ZooKeeper server of %.300s has answered for %u ms; start it, or give "
                   "others",
                   zoo->servers, zoo->options.connect_timeout_ms);
    fail(zoo, sentence);
}

/* ---- closing ---- */

static void close_work(void *argument)
{
    struct zoo *zoo = argument;
    if (zoo->zh)
        (void)zookeeper_close(zoo->zh);
}

/* The library's threads are gone. What they did not answer is answered here. */
static void on_handle_closed(struct io_op *op)
{
    struct zoo *zoo = container_of(op, struct zoo, work);
    zoo->zh = NULL;
    fetch(zoo);
    for (;;) {
        while (zoo->inbox) /* also the refusals of what is asked meanwhile */
            take_message(zoo);
        struct zoo_request *request = STAILQ_FIRST(&zoo->requests);
        if (!request)
            break;
        if (!request->answered && request->entry)
            request->entry->result = request->is_write ? STORE_UNKNOWN : STORE_CLOSED;
        tell_request(zoo, request);
    }
    zoo->ended = true;
    ring(zoo);
}

static void try_to_end(struct zoo *zoo, bool anyway)
{
    bool idle = STAILQ_EMPTY(&zoo->requests) || zoo->state != ZOO_CONNECTED;
    if (!zoo->opened || zoo->work.done == on_handle_closed || !(idle || anyway))
        return;
    timer_cancel(zoo->sh, &zoo->patience);
    timer_cancel(zoo->sh, &zoo->nudge);
    zoo->work.done = on_handle_closed;
    io_work(zoo->sh->io, &zoo->work, close_work, zoo);
}

static void zoo_store_close(struct store *store, void (*done)(void *user), void *user)
{
    struct zoo *zoo = zoo_of(store);
    must(!zoo->closing);
    zoo->closing = true;
    zoo->closed = done;
    zoo->closed_user = user;
    timer_set(zoo->sh, &zoo->patience, io_now_ns(zoo->sh->io) + CLOSE_WAIT_NS);
    shard_ready(zoo->sh, &zoo->tell);
}

static void zoo_free(struct zoo *zoo)
{
    task_cancel(zoo->sh, &zoo->tell);
    timer_cancel(zoo->sh, &zoo->nudge);
    timer_cancel(zoo->sh, &zoo->patience);
    (void)close(zoo->bell);
    mem_free(zoo->servers);
    mem_free(zoo);
}

static const struct store_ops zoo_ops = {
    .multi = zoo_store_multi,
    .get = zoo_store_get,
    .exists = zoo_store_exists,
    .children = zoo_store_children,
    .close = zoo_store_close,
};

static bool chroot_is_good(const char *chroot)
{
    size_t len = strlen(chroot);
    return len == 0 || (len <= CHROOT_MAX && len > 1 && chroot[len - 1] != '/' &&
                        !strstr(chroot, "//") && !strstr(chroot, "/./") && !strstr(chroot, "/../"));
}

struct store *store_zookeeper_open(struct shard *sh, const struct store_options *options,
                                   const char *where, char *sentence, size_t sentence_size)
{
    size_t servers_len = strcspn(where, "/");
    const char *chroot = where + servers_len;
    if (servers_len == 0 || !chroot_is_good(chroot)) {
        (void)snprintf(sentence, sentence_size,
                       "'%s' names no ZooKeeper: it is host:port,host:port,.../path, and the path "
                       "has at most %u characters and no slash at its end",
                       where, CHROOT_MAX);
        return NULL;
    }
    struct zoo *zoo = mem_zalloc(sizeof(*zoo));
    zoo->store.ops = &zoo_ops;
    zoo->sh = sh;
    zoo->options = *options;
    zoo->servers = mem_strdup(where);
    zoo->servers[servers_len] = '\0';
    (void)snprintf(zoo->chroot, sizeof(zoo->chroot), "%s", chroot);
    STAILQ_INIT(&zoo->requests);
    zoo->tell = (struct task){.fn = on_tell, .name = "store.tell"};
    zoo->nudge = (struct timer){.fn = on_nudge, .name = "store.nudge"};
    zoo->patience = (struct timer){.fn = on_patience, .name = "store.patience"};
    zoo->bell = eventfd(0, EFD_CLOEXEC);
    if (zoo->bell < 0) {
        (void)snprintf(sentence, sentence_size, "no more files may be opened: %s", strerror(errno));
        mem_free(zoo->servers);
        mem_free(zoo);
        return NULL;
    }
    if (options->connect_timeout_ms > 0)
        timer_set(sh, &zoo->patience, io_now_ns(sh->io) + options->connect_timeout_ms * MS_NS);
    zoo->read.done = on_bell;
    listen_for_bell(zoo);
    zoo->work.done = on_opened;
    io_work(sh->io, &zoo->work, open_work, zoo);
    return &zoo->store;
}
