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
 * - a server that has seen less than the client refuses it for ever, without a word
 *   (store_zookeeper_doubt.c);
 * - it tells every watcher of every change of the session: those are the session's watcher's only;
 * - it logs to stderr: its words go nowhere, the session's changes are told as events.
 *
 * The path below which everything lies (chroot) is put before each path and taken off each event
 * here, because it has to be made before anything can lie below it.
 */
#include "core/metadata/store_zookeeper.h"

#include "core/metadata/store_zookeeper_private.h"
#include "io/diag.h"
#include "io/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MS_NS         1000000ULL
#define CLOSE_WAIT_NS (1000 * MS_NS) /* for answers that are on their way */

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

static void fail(struct zoo *zoo, const char *sentence)
{
    if (zoo->state == ZOO_FAILED || zoo->state == ZOO_EXPIRED)
        return;
    zoo->state = ZOO_FAILED;
    zoo_doubt_end(zoo);
    zoo_send_held(zoo);
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

void zoo_session_over(struct zoo *zoo)
{
    zoo->state = ZOO_EXPIRED;
    zoo_doubt_end(zoo);
    zoo_send_held(zoo);
    tell_event(zoo, STORE_SESSION_EXPIRED, NULL, NULL);
}

static void on_state(struct zoo *zoo, const struct zoo_message *message)
{
    if (zoo->state == ZOO_EXPIRED || zoo->state == ZOO_FAILED)
        return;
    if (message->state == ZOO_EXPIRED_SESSION_STATE) {
        zoo_session_over(zoo);
    } else if (message->state == ZOO_AUTH_FAILED_STATE) {
        fail(zoo, "ZooKeeper does not accept this broker's credentials");
    } else if (message->state == ZOO_CONNECTED_STATE && !zoo->rooted) {
        zoo->store.session = message->session;
        make_root(zoo);
    } else if (message->state == ZOO_CONNECTED_STATE && zoo->state == ZOO_SUSPENDED) {
        zoo->state = ZOO_CONNECTED;
        zoo_doubt_end(zoo);
        zoo_send_held(zoo);
        tell_event(zoo, STORE_CONNECTED, NULL, NULL);
    } else if (message->state != ZOO_CONNECTED_STATE && zoo->state == ZOO_CONNECTED) {
        zoo->state = ZOO_SUSPENDED;
        zoo_doubt_begin(zoo);
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
    zoo_fetch(zoo);
    listen_for_bell(zoo);
    shard_ready(zoo->sh, &zoo->tell);
}

/* ---- the root ---- */

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
        zoo_ask_for_root(zoo, slash ? (size_t)(slash - zoo->chroot) : strlen(zoo->chroot));
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
            zoo_ask_for_root(zoo, slash ? (size_t)(slash - zoo->chroot) : strlen(zoo->chroot));
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
    zoo->zh = zookeeper_init2(zoo->servers, zoo_on_session, (int)zoo->options.session_timeout_ms,
                              NULL, zoo, 0, zoo_on_line);
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
    zoo_fetch(zoo);
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
    zoo_ring(zoo);
}

static void try_to_end(struct zoo *zoo, bool anyway)
{
    bool idle = STAILQ_EMPTY(&zoo->requests) || zoo->state != ZOO_CONNECTED;
    if (!zoo->opened || zoo->work.done == on_handle_closed || !(idle || anyway) ||
        !zoo_doubt_rests(zoo))
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
    zoo_doubt_end(zoo);
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
    zoo->nudge = (struct timer){.fn = zoo_on_nudge, .name = "store.nudge"};
    zoo->patience = (struct timer){.fn = on_patience, .name = "store.patience"};
    zoo->doubt = (struct timer){.fn = zoo_on_doubt, .name = "store.doubt"};
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
