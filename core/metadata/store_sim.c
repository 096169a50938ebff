/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/store_sim.h"

#include "core/metadata/store_question.h"
#include "core/metadata/store_queue.h"
#include "io/mem.h"

#define LOOK_EVERY_NS 500000U

/* The store's half of a session. */
struct sim_session {
    TAILQ_ENTRY(sim_session) link;
    uint64_t id;
    uint64_t timeout_ns;
    uint64_t seen_ns;
    uint64_t last_due; /* answers stay in order */
    bool expired;
    struct store_watches watches;
    struct store_queue queue;
};

struct store_sim {
    struct store_sim_options options;
    struct store_tree tree;
    TAILQ_HEAD(, sim_session) sessions;
    uint64_t last_session;
    uint64_t lost;
    bool away;
};

/* Asked while it was away; in the memory of the process. */
struct sim_held {
    STAILQ_ENTRY(sim_held) link;
    struct store_question *question;
    union {
        store_multi_fn *multi;
        store_get_fn *get;
        store_children_fn *children;
    } done;
    void *user;
};

/* The client's half, in the memory of its process. */
struct store_sim_client {
    struct store store;
    struct store_sim *sim;
    struct sim_session *session;
    struct shard *sh;
    struct timer look;
    bool connected;
    bool suspended;
    bool closing;
    STAILQ_HEAD(, sim_held) held;
    void (*on_event)(void *user, const struct store_event *event);
    void *user;
    void (*closed)(void *user);
    void *closed_user;
};

static void *enter(const struct store_sim *sim)
{
    return sim->options.memory_enter ? sim->options.memory_enter() : NULL;
}

static void leave(const struct store_sim *sim, void *before)
{
    if (sim->options.memory_leave)
        sim->options.memory_leave(before);
}

static bool happens(struct store_sim *sim, uint32_t one_in)
{
    return one_in > 0 && sim->options.random(sim->options.user) % one_in == 0;
}

/* ---- the store ---- */

static uint64_t draw_due(struct store_sim *sim, struct sim_session *session)
{
    uint64_t due = sim->options.now_ns(sim->options.user);
    if (sim->options.delay_ns_max > 0)
        due += sim->options.random(sim->options.user) % sim->options.delay_ns_max;
    session->last_due = max_u64(session->last_due, due);
    return session->last_due;
}

static void tell(struct store_sim *sim, struct sim_session *session, struct store_entry *entry)
{
    entry->due = draw_due(sim, session);
    STAILQ_INSERT_TAIL(&session->queue, entry, link);
}

static void fire_all(struct store_sim *sim, const struct store_op *ops, uint32_t count)
{
    struct sim_session *session;
    TAILQ_FOREACH (session, &sim->sessions, link) {
        if (!session->expired)
            store_watches_fire(&session->watches, ops, count, draw_due(sim, session),
                               &session->queue);
    }
}

static void end_session(struct store_sim *sim, struct sim_session *session)
{
    uint32_t count;
    char **paths = store_tree_ephemerals(&sim->tree, session->id, &count);
    session->expired = true;
    for (uint32_t i = 0; i < count; i++) {
        const struct store_op op = {.kind = STORE_DELETE, .version = -1, .path = paths[i]};
        uint32_t bad_op;
        enum store_result result = store_tree_multi(&sim->tree, &op, 1, session->id, &bad_op, NULL);
        must(result == STORE_OK);
        fire_all(sim, &op, 1);
        mem_free(paths[i]);
    }
    mem_free(paths);
}

static void expire(struct store_sim *sim, struct sim_session *session)
{
    if (session->expired)
        return;
    end_session(sim, session);
    tell(sim, session, store_entry_event(STORE_SESSION_EXPIRED, NULL));
}

static void expire_silent(struct store_sim *sim)
{
    uint64_t now_ns = sim->options.now_ns(sim->options.user);
    struct sim_session *session;
    TAILQ_FOREACH (session, &sim->sessions, link) {
        if (!sim->away && now_ns > session->seen_ns + session->timeout_ns)
            expire(sim, session);
    }
}

struct store_sim *store_sim_new(const struct store_sim_options *options)
{
    struct store_sim *sim = mem_zalloc(sizeof(*sim));
    sim->options = *options;
    store_tree_init(&sim->tree);
    TAILQ_INIT(&sim->sessions);
    return sim;
}

static void session_free(struct store_sim *sim, struct sim_session *session)
{
    struct store_entry *entry;
    while ((entry = STAILQ_FIRST(&session->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&session->queue, link);
        store_entry_free(entry);
    }
    TAILQ_REMOVE(&sim->sessions, session, link);
    store_watches_free(&session->watches);
    mem_free(session);
}

void store_sim_free(struct store_sim *sim)
{
    struct sim_session *session;
    while ((session = TAILQ_FIRST(&sim->sessions)) != NULL)
        session_free(sim, session);
    store_tree_fini(&sim->tree);
    mem_free(sim);
}

void store_sim_expire(struct store_sim *sim)
{
    struct sim_session *session;
    TAILQ_FOREACH (session, &sim->sessions, link)
        expire(sim, session);
}

void store_sim_away(struct store_sim *sim, bool away)
{
    struct sim_session *session;
    sim->away = away;
    TAILQ_FOREACH (session, &sim->sessions, link)
        session->seen_ns = sim->options.now_ns(sim->options.user);
}

/* ---- requests ---- */

static struct store_sim_client *client_of(struct store *store)
{
    struct store_sim_client *client = container_of(store, struct store_sim_client, store);
    must(shard_here() == client->sh);
    return client;
}

/* Executes a multi, or loses it on one side of its execution. */
static enum store_result execute(struct store_sim *sim, struct sim_session *session,
                                 const struct store_op *ops, uint32_t count, uint32_t *bad_op,
                                 struct store_stat *stats)
{
    if (session->expired)
        return STORE_EXPIRED;
    if (count > STORE_OPS_MAX || store_ops_bytes(ops, count) > STORE_REQUEST_BYTES_MAX)
        return STORE_TOO_BIG;
    if (sim->away || happens(sim, sim->options.lost_before_one_in)) {
        sim->lost++;
        return STORE_UNKNOWN;
    }
    enum store_result result = store_tree_multi(&sim->tree, ops, count, session->id, bad_op, stats);
    if (result == STORE_OK)
        fire_all(sim, ops, count);
    if (!happens(sim, sim->options.lost_after_one_in))
        return result;
    sim->lost++;
    return STORE_UNKNOWN;
}

/* NULL: it may be asked now. */
static struct sim_held *hold(struct store_sim_client *client, const struct store_question *question,
                             void *user)
{
    if (!client->suspended || client->closing)
        return NULL;
    struct sim_held *held = mem_zalloc(sizeof(*held));
    held->question = store_question_copy(question);
    held->user = user;
    STAILQ_INSERT_TAIL(&client->held, held, link);
    return held;
}

static void sim_multi(struct store *store, const struct store_op *ops, uint32_t count,
                      store_multi_fn *done, void *user)
{
    struct store_sim_client *client = client_of(store);
    struct store_sim *sim = client->sim;
    struct sim_held *held =
        hold(client, &(struct store_question){.kind = STORE_ASK_MULTI, .ops = ops, .count = count},
             user);
    if (held) {
        held->done.multi = done;
        return;
    }
    void *before = enter(sim);
    expire_silent(sim);
    uint32_t bad_op = 0;
    struct store_stat *stats = mem_zalloc((count + 1U) * sizeof(*stats));
    enum store_result result =
        client->closing ? STORE_CLOSED : execute(sim, client->session, ops, count, &bad_op, stats);
    tell(sim, client->session, store_entry_multi(result, bad_op, stats, done, user));
    leave(sim, before);
}

static enum store_result readable(const struct store_sim_client *client)
{
    if (client->closing)
        return STORE_CLOSED;
    if (client->session->expired)
        return STORE_EXPIRED;
    return client->sim->away ? STORE_UNKNOWN : STORE_OK;
}

static void read_node(struct store_sim_client *client, const char *path, bool watch, bool with_data,
                      store_get_fn *done, void *user)
{
    struct store_sim *sim = client->sim;
    struct sim_held *held = hold(
        client,
        &(struct store_question){
            .kind = with_data ? STORE_ASK_GET : STORE_ASK_EXISTS, .watch = watch, .path = path},
        user);
    if (held) {
        held->done.get = done;
        return;
    }
    void *before = enter(sim);
    expire_silent(sim);
    enum store_result result = readable(client);
    const struct store_node *node = store_tree_find(&sim->tree, path);
    if (watch && result == STORE_OK && (node || !with_data))
        store_watch_add(&client->session->watches, path, false);
    struct store_entry *entry = store_entry_get(node, with_data, done, user);
    if (result != STORE_OK)
        entry->result = result;
    tell(sim, client->session, entry);
    leave(sim, before);
}

static void sim_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                    void *user)
{
    read_node(client_of(store), path, watch, true, done, user);
}

static void sim_exists(struct store *store, const char *path, bool watch, store_get_fn *done,
                       void *user)
{
    read_node(client_of(store), path, watch, false, done, user);
}

static void sim_children(struct store *store, const char *path, bool watch, store_children_fn *done,
                         void *user)
{
    struct store_sim_client *client = client_of(store);
    struct store_sim *sim = client->sim;
    struct sim_held *held = hold(
        client, &(struct store_question){.kind = STORE_ASK_CHILDREN, .watch = watch, .path = path},
        user);
    if (held) {
        held->done.children = done;
        return;
    }
    void *before = enter(sim);
    expire_silent(sim);
    enum store_result result = readable(client);
    const struct store_node *node = store_tree_find(&sim->tree, path);
    if (watch && node && result == STORE_OK)
        store_watch_add(&client->session->watches, path, true);
    struct store_entry *entry = store_entry_children(node, done, user);
    if (result != STORE_OK)
        entry->result = result;
    tell(sim, client->session, entry);
    leave(sim, before);
}

/* ---- the client's side ---- */

/* What waited is asked, in its order. */
static void ask_held(struct store_sim_client *client)
{
    struct sim_held *held;
    while ((held = STAILQ_FIRST(&client->held)) != NULL) {
        const struct store_question *question = held->question;
        STAILQ_REMOVE_HEAD(&client->held, link);
        if (question->kind == STORE_ASK_MULTI)
            sim_multi(&client->store, question->ops, question->count, held->done.multi, held->user);
        else if (question->kind == STORE_ASK_CHILDREN)
            sim_children(&client->store, question->path, question->watch, held->done.children,
                         held->user);
        else
            read_node(client, question->path, question->watch, question->kind == STORE_ASK_GET,
                      held->done.get, held->user);
        store_question_free(held->question);
        mem_free(held);
    }
}

/* Answers that are on their way do not arrive. */
static void suspend(struct store_sim_client *client)
{
    struct store_entry *entry;
    client->suspended = true;
    STAILQ_FOREACH (entry, &client->session->queue, link) {
        if (entry->kind != STORE_ENTRY_EVENT)
            entry->result = STORE_UNKNOWN;
    }
    client->on_event(client->user, &(struct store_event){.kind = STORE_SUSPENDED});
}

static void go_on(struct store_sim_client *client)
{
    client->suspended = false;
    ask_held(client);
    client->on_event(client->user, &(struct store_event){.kind = STORE_CONNECTED});
}

static void client_end(struct store_sim_client *client)
{
    void (*closed)(void *) = client->closed;
    void *user = client->closed_user;
    void *before = enter(client->sim);
    session_free(client->sim, client->session);
    leave(client->sim, before);
    mem_free(client);
    closed(user);
}

/* Tells what is due. An entry is told in the memory of the process and freed in the store's. */
static bool tell_first(struct store_sim_client *client)
{
    struct store_sim *sim = client->sim;
    struct store_entry *entry = STAILQ_FIRST(&client->session->queue);
    if (!entry || entry->due > sim->options.now_ns(sim->options.user))
        return false;
    STAILQ_REMOVE_HEAD(&client->session->queue, link);
    store_entry_tell(entry, STORE_OK, client->on_event, client->user);
    void *before = enter(sim);
    store_entry_free(entry);
    leave(sim, before);
    return true;
}

static void on_look(struct shard *sh, struct timer *timer)
{
    struct store_sim_client *client = container_of(timer, struct store_sim_client, look);
    struct store_sim *sim = client->sim;
    void *before = enter(sim);
    expire_silent(sim);
    client->session->seen_ns = sim->options.now_ns(sim->options.user);
    leave(sim, before);
    if (!client->connected && !sim->away) {
        client->connected = true;
        client->on_event(client->user, &(struct store_event){.kind = STORE_CONNECTED});
    } else if (client->connected && !client->closing && sim->away != client->suspended) {
        if (sim->away)
            suspend(client);
        else
            go_on(client);
    }
    while (tell_first(client))
        continue;
    if (client->closing && STAILQ_EMPTY(&client->session->queue))
        client_end(client);
    else
        timer_set(sh, &client->look, io_now_ns(sh->io) + LOOK_EVERY_NS);
}

static void sim_close(struct store *store, void (*done)(void *user), void *user)
{
    struct store_sim_client *client = client_of(store);
    must(!client->closing);
    client->closing = true;
    client->connected = true; /* nobody wants to hear of it any more */
    ask_held(client);         /* and hears that it is closed */
    client->closed = done;
    client->closed_user = user;
    void *before = enter(client->sim);
    if (!client->session->expired)
        end_session(client->sim, client->session);
    leave(client->sim, before);
}

static const struct store_ops sim_ops = {
    .multi = sim_multi,
    .get = sim_get,
    .exists = sim_exists,
    .children = sim_children,
    .close = sim_close,
};

struct store *store_sim_open(struct shard *sh, const struct store_options *options)
{
    struct store_sim *sim = options->sim;
    struct store_sim_client *client = mem_zalloc(sizeof(*client));
    client->store.ops = &sim_ops;
    client->sim = sim;
    client->sh = sh;
    client->on_event = options->on_event;
    client->user = options->user;
    client->look = (struct timer){.fn = on_look, .name = "store.look"};
    STAILQ_INIT(&client->held);
    void *before = enter(sim);
    struct sim_session *session = mem_zalloc(sizeof(*session));
    session->id = ++sim->last_session;
    session->timeout_ns = options->session_timeout_ms * 1000000ULL;
    session->seen_ns = sim->options.now_ns(sim->options.user);
    TAILQ_INIT(&session->watches);
    STAILQ_INIT(&session->queue);
    TAILQ_INSERT_TAIL(&sim->sessions, session, link);
    leave(sim, before);
    client->session = session;
    client->store.session = session->id;
    timer_set(sh, &client->look, io_now_ns(sh->io) + 1);
    return &client->store;
}
