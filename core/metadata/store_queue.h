/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits to be told to the owner of a store: answers and events, in order. Shared by the bodies
 * that keep the tree themselves. An entry holds copies of what it will show, taken when the request
 * was executed, so that it may be told later.
 */
#pragma once

#include "core/metadata/store_tree.h"

enum store_entry_kind {
    STORE_ENTRY_MULTI,
    STORE_ENTRY_GET,
    STORE_ENTRY_CHILDREN,
    STORE_ENTRY_EVENT
};

struct store_entry {
    STAILQ_ENTRY(store_entry) link;
    uint64_t due; /* the body's: a group number, or a time */
    enum store_entry_kind kind;
    enum store_result result;
    union {
        store_multi_fn *multi;
        store_get_fn *get;
        store_children_fn *children;
    } done;
    void *user;
    uint32_t bad_op;
    struct store_stat *stats; /* multi */
    struct store_stat stat;
    char *data; /* get; names of children, one after another */
    uint32_t len;
    const char **names;
    uint32_t name_count;
    enum store_event_kind event;
    char *path;
};
STAILQ_HEAD(store_queue, store_entry);

struct store_entry *store_entry_multi(enum store_result result, uint32_t bad_op,
                                      struct store_stat *take_stats, store_multi_fn *done,
                                      void *user);
/* node NULL: there is none. with_data false: exists. */
struct store_entry *store_entry_get(const struct store_node *node, bool with_data,
                                    store_get_fn *done, void *user);
struct store_entry *store_entry_children(const struct store_node *node, store_children_fn *done,
                                         void *user);
struct store_entry *store_entry_event(enum store_event_kind event, const char *path);
/* instead: what a request hears in place of its result, unless STORE_OK. */
void store_entry_tell(const struct store_entry *entry, enum store_result instead,
                      void (*on_event)(void *user, const struct store_event *event),
                      void *event_user);
void store_entry_free(struct store_entry *entry);

/* ---- watches of one session ---- */

struct store_watch {
    TAILQ_ENTRY(store_watch) link;
    bool children;
    char *path;
};
TAILQ_HEAD(store_watches, store_watch);

void store_watch_add(struct store_watches *watches, const char *path, bool children);
/* Takes the watches that the multi sets off, and appends their events. */
void store_watches_fire(struct store_watches *watches, const struct store_op *ops, uint32_t count,
                        uint64_t due, struct store_queue *to);
void store_watches_free(struct store_watches *watches);
