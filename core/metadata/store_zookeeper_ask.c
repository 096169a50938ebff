/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of ZooKeeper: sent at once, kept while the session is suspended, or refused here.
 */
#include "core/metadata/store_zookeeper_private.h"
#include "io/mem.h"

#include <stdio.h>
#include <string.h>

#define MS_NS     1000000ULL
#define NUDGE_NS  (100 * MS_NS)
#define PATH_ROOM (CHROOT_MAX + STORE_PATH_MAX + 2U)
/* ZooKeeper's limit of a request is 1,048,575 bytes; beside path and data an operation has so much:
 * header, lengths, the access control list, flags. */
#define OP_OVERHEAD 72U
#define WIRE_MAX    1000000U

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
    zoo_fetch(zoo);
    request->message.next = NULL;
    zoo_receive(zoo, &request->message, &request->message);
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
    int rc = zoo_amulti(zoo->zh, (int)count, zoo_ops, request->results, zoo_on_multi, request);
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
                       : question->kind == STORE_ASK_CHILDREN ? zoo_on_children_watch
                                                              : zoo_on_node_watch;
    int rc = ZBADARGUMENTS;
    switch (question->kind) {
    case STORE_ASK_MULTI:
        return send_multi(request, question->ops, question->count);
    case STORE_ASK_GET:
        rc = zoo_awget(zoo->zh, path, watch, zoo, zoo_on_data, request);
        break;
    case STORE_ASK_EXISTS:
        rc = zoo_awexists(zoo->zh, path, watch, zoo, zoo_on_stat, request);
        break;
    case STORE_ASK_CHILDREN:
        rc = zoo_awget_children2(zoo->zh, path, watch, zoo, zoo_on_names, request);
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

void zoo_send_held(struct zoo *zoo)
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

void zoo_store_multi(struct store *store, const struct store_op *ops, uint32_t count,
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

void zoo_store_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                   void *user)
{
    ask(request_new(zoo_of(store), store_entry_get(NULL, true, done, user)),
        &(struct store_question){.kind = STORE_ASK_GET, .path = path, .watch = watch});
}

void zoo_store_exists(struct store *store, const char *path, bool watch, store_get_fn *done,
                      void *user)
{
    ask(request_new(zoo_of(store), store_entry_get(NULL, false, done, user)),
        &(struct store_question){.kind = STORE_ASK_EXISTS, .path = path, .watch = watch});
}

void zoo_store_children(struct store *store, const char *path, bool watch, store_children_fn *done,
                        void *user)
{
    ask(request_new(zoo_of(store), store_entry_children(NULL, done, user)),
        &(struct store_question){.kind = STORE_ASK_CHILDREN, .path = path, .watch = watch});
}

static void on_nudged(int rc, const struct Stat *stat, const void *data)
{
    (void)rc;
    (void)stat;
    (void)data;
}

void zoo_on_nudge(struct shard *sh, struct timer *timer)
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

/* One part of the chroot at a time; which are there already is no secret. */
void zoo_ask_for_root(struct zoo *zoo, size_t len)
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
    if (!sent(request, zoo_amulti(zoo->zh, 1, &op, request->results, zoo_on_multi, request)))
        refuse(request, ZINVALIDSTATE, STORE_EXPIRED);
}
