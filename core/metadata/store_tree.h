/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of a metadata store, in memory: nodes by path, atomic multis, and its bytes for a redo
 * log. Used by the bodies of core/metadata/store.h that keep the tree themselves. No I/O, no
 * waiting.
 *
 * Redo: the operations of one multi as applied, without checks and without ephemeral nodes, under
 * its zxid. Replaying them in order gives the same persistent nodes with the same versions, and a
 * zxid that was given out once never comes again. A snapshot is all persistent nodes.
 */
#pragma once

#include "core/log/format.h"
#include "core/metadata/store.h"

struct store_node {
    char *path;
    char *data;
    uint32_t len;
    struct store_stat stat;
    /* private */
    struct store_node *parent;
    TAILQ_HEAD(, store_node) children;
    TAILQ_ENTRY(store_node) sibling;
    struct store_node *next_in_slot;
    uint32_t hash;
};

struct store_tree {
    uint64_t zxid;  /* of the last change */
    uint64_t bytes; /* of the persistent nodes: about what a snapshot takes */
    uint32_t count;
    /* private */
    struct store_node **slots;
    uint32_t slot_count;
};

void store_tree_init(struct store_tree *tree); /* with the root, "/" */
void store_tree_fini(struct store_tree *tree);
struct store_node *store_tree_find(const struct store_tree *tree, const char *path);

/* Applies all or nothing. stats: [count], NULL when nobody wants them. Paths begin with '/', have
 * no empty part and at most STORE_PATH_MAX bytes (must). */
enum store_result store_tree_multi(struct store_tree *tree, const struct store_op *ops,
                                   uint32_t count, uint64_t session, uint32_t *bad_op,
                                   struct store_stat *stats);
/* Would this multi change anything? (Checks alone do not.) */
bool store_ops_change(const struct store_op *ops, uint32_t count);
uint64_t store_ops_bytes(const struct store_op *ops, uint32_t count);

/* Names of the children, sorted: an array to mem_free(); the names belong to the nodes. */
const char **store_tree_children(const struct store_node *node);
/* Paths of a session's ephemeral nodes, to mem_free() with their array, children first. */
char **store_tree_ephemerals(const struct store_tree *tree, uint64_t session, uint32_t *count);

/* ---- bytes ---- */

/* Growing bytes. */
struct store_bytes {
    uint8_t *data;
    size_t length;
    size_t room;
};
void store_bytes_fini(struct store_bytes *bytes);

/* Appends the redo of a multi that store_tree_multi() has just applied. */
void store_tree_redo(const struct store_tree *tree, const struct store_op *ops, uint32_t count,
                     struct store_bytes *to);
/* Applies redo bytes; false when they do not fit the tree or are damaged. */
bool store_tree_replay(struct store_tree *tree, struct bytes_in *in);
/* Appends the node as a snapshot keeps it; false: it is ephemeral and is left out. */
bool store_tree_save(const struct store_tree *tree, const struct store_node *node,
                     struct store_bytes *to);
bool store_tree_load(struct store_tree *tree, struct bytes_in *in);
/* All nodes, parents before children; NULL ends. */
struct store_node *store_tree_next(const struct store_tree *tree, const struct store_node *node);
