/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/store_queue.h"

#include "io/mem.h"

static struct store_entry *entry_new(enum store_entry_kind kind, enum store_result result,
                                     void *user)
{
    struct store_entry *entry = mem_zalloc(sizeof(*entry));
    entry->kind = kind;
    entry->result = result;
    entry->user = user;
    return entry;
}

struct store_entry *store_entry_multi(enum store_result result, uint32_t bad_op,
                                      struct store_stat *take_stats, store_multi_fn *done,
                                      void *user)
{
    struct store_entry *entry = entry_new(STORE_ENTRY_MULTI, result, user);
    entry->bad_op = bad_op;
    entry->stats = take_stats;
    entry->done.multi = done;
    return entry;
}

struct store_entry *store_entry_get(const struct store_node *node, bool with_data,
                                    store_get_fn *done, void *user)
{
    struct store_entry *entry = entry_new(STORE_ENTRY_GET, node ? STORE_OK : STORE_NO_NODE, user);
    entry->done.get = done;
    if (node)
        entry->stat = node->stat;
    if (node && with_data) {
        entry->len = node->len;
        entry->data = mem_alloc(node->len + 1U);
        memcpy(entry->data, node->data, node->len);
    }
    return entry;
}

struct store_entry *store_entry_children(const struct store_node *node, store_children_fn *done,
                                         void *user)
{
    struct store_entry *entry =
        entry_new(STORE_ENTRY_CHILDREN, node ? STORE_OK : STORE_NO_NODE, user);
    entry->done.children = done;
    if (!node)
        return entry;
    entry->stat = node->stat;
    entry->name_count = node->stat.child_count;
    entry->names = store_tree_children(node);
    size_t room = 1;
    for (uint32_t i = 0; i < entry->name_count; i++)
        room += strlen(entry->names[i]) + 1;
    entry->data = mem_alloc(room);
    char *at = entry->data;
    for (uint32_t i = 0; i < entry->name_count; i++) {
        size_t size = strlen(entry->names[i]) + 1;
        memcpy(at, entry->names[i], size);
        entry->names[i] = at;
        at += size;
    }
    return entry;
}

struct store_entry *store_entry_event(enum store_event_kind event, const char *path)
{
    struct store_entry *entry = entry_new(STORE_ENTRY_EVENT, STORE_OK, NULL);
    entry->event = event;
    entry->path = path ? mem_strdup(path) : NULL;
    return entry;
}

void store_entry_free(struct store_entry *entry)
{
    mem_free(entry->stats);
    mem_free(entry->data);
    mem_free(entry->names);
    mem_free(entry->path);
    mem_free(entry);
}

void store_entry_tell(const struct store_entry *entry, enum store_result instead,
                      void (*on_event)(void *user, const struct store_event *event),
                      void *event_user)
{
    enum store_result result = instead == STORE_OK ? entry->result : instead;
    bool good = result == STORE_OK;
    switch (entry->kind) {
    case STORE_ENTRY_MULTI:
        entry->done.multi(entry->user, result, entry->bad_op, good ? entry->stats : NULL);
        break;
    case STORE_ENTRY_GET:
        entry->done.get(entry->user, result, good ? entry->data : NULL, good ? entry->len : 0,
                        &entry->stat);
        break;
    case STORE_ENTRY_CHILDREN:
        entry->done.children(entry->user, result, good ? entry->names : NULL,
                             good ? entry->name_count : 0, &entry->stat);
        break;
    case STORE_ENTRY_EVENT:
        if (instead == STORE_OK)
            on_event(event_user, &(struct store_event){.kind = entry->event, .path = entry->path});
        break;
    }
}

/* ---- watches ---- */

void store_watch_add(struct store_watches *watches, const char *path, bool children)
{
    struct store_watch *watch;
    TAILQ_FOREACH (watch, watches, link) {
        if (watch->children == children && strcmp(watch->path, path) == 0)
            return;
    }
    watch = mem_zalloc(sizeof(*watch));
    watch->path = mem_strdup(path);
    watch->children = children;
    TAILQ_INSERT_TAIL(watches, watch, link);
}

static void fire(struct store_watches *watches, const char *path, size_t len, bool children,
                 struct store_entry *take_event, struct store_queue *to)
{
    struct store_watch *watch;
    TAILQ_FOREACH (watch, watches, link) {
        if (watch->children == children && strlen(watch->path) == len &&
            memcmp(watch->path, path, len) == 0)
            break;
    }
    if (!watch) {
        store_entry_free(take_event);
        return;
    }
    TAILQ_REMOVE(watches, watch, link);
    take_event->path = watch->path;
    mem_free(watch);
    STAILQ_INSERT_TAIL(to, take_event, link);
}

static void fire_node(struct store_watches *watches, const struct store_op *op, uint64_t due,
                      struct store_queue *to)
{
    enum store_event_kind event = op->kind == STORE_CREATE ? STORE_NODE_CREATED
                                  : op->kind == STORE_SET  ? STORE_NODE_CHANGED
                                                           : STORE_NODE_DELETED;
    struct store_entry *entry = store_entry_event(event, NULL);
    entry->due = due;
    fire(watches, op->path, strlen(op->path), false, entry, to);
}

static void fire_parent(struct store_watches *watches, const struct store_op *op, uint64_t due,
                        struct store_queue *to)
{
    size_t len = (size_t)(strrchr(op->path, '/') - op->path);
    struct store_entry *entry = store_entry_event(STORE_NODE_CHILDREN, NULL);
    entry->due = due;
    fire(watches, op->path, len > 0 ? len : 1, true, entry, to);
}

void store_watches_fire(struct store_watches *watches, const struct store_op *ops, uint32_t count,
                        uint64_t due, struct store_queue *to)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].kind == STORE_CHECK)
            continue;
        fire_node(watches, &ops[i], due, to);
        if (ops[i].kind != STORE_SET)
            fire_parent(watches, &ops[i], due, to);
    }
}

void store_watches_free(struct store_watches *watches)
{
    struct store_watch *watch;
    while ((watch = TAILQ_FIRST(watches)) != NULL) {
        TAILQ_REMOVE(watches, watch, link);
        mem_free(watch->path);
        mem_free(watch);
    }
}
