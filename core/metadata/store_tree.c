/* SPDX-License-Identifier: Apache-2.0
 *
 * A multi is applied operation by operation, each leaving what it takes to take it back; the first
 * that fails takes back all before it.
 */
#include "core/metadata/store_tree.h"

#include "io/mem.h"

#include <stdlib.h>

#define SLOTS_MIN     64U
#define NODE_OVERHEAD 64U

struct undo {
    enum store_op_kind kind;
    struct store_node *node; /* created, set, or unlinked by a delete */
    char *data;              /* before the set */
    uint32_t len;
    struct store_stat stat;
    struct store_stat parent_stat;
};

/* ---- nodes ---- */

static uint32_t path_hash(const char *path)
{
    uint32_t hash = 2166136261U;
    for (; *path != '\0'; path++)
        hash = (hash ^ (uint8_t)*path) * 16777619U;
    return hash;
}

static struct store_node *find_len(const struct store_tree *tree, const char *path, size_t len)
{
    char text[STORE_PATH_MAX + 1];
    must(len <= STORE_PATH_MAX);
    memcpy(text, path, len);
    text[len] = '\0';
    return store_tree_find(tree, text);
}

struct store_node *store_tree_find(const struct store_tree *tree, const char *path)
{
    uint32_t hash = path_hash(path);
    struct store_node *node = tree->slots[hash & (tree->slot_count - 1)];
    while (node && (node->hash != hash || strcmp(node->path, path) != 0))
        node = node->next_in_slot;
    return node;
}

static struct store_node *find_parent(const struct store_tree *tree, const char *path)
{
    const char *slash = strrchr(path, '/');
    must(slash != NULL && path[0] == '/' && slash[1] != '\0');
    return slash == path ? store_tree_find(tree, "/")
                         : find_len(tree, path, (size_t)(slash - path));
}

static void slots_grow(struct store_tree *tree)
{
    uint32_t old_count = tree->slot_count;
    struct store_node **old = tree->slots;
    tree->slot_count = old_count == 0 ? SLOTS_MIN : 2 * old_count;
    tree->slots = mem_zalloc(tree->slot_count * sizeof(*tree->slots));
    for (uint32_t i = 0; i < old_count; i++) {
        struct store_node *next;
        for (struct store_node *node = old[i]; node; node = next) {
            next = node->next_in_slot;
            struct store_node **slot = &tree->slots[node->hash & (tree->slot_count - 1)];
            node->next_in_slot = *slot;
            *slot = node;
        }
    }
    mem_free(old);
}

static uint64_t node_bytes(const struct store_node *node)
{
    return node->stat.owner ? 0 : strlen(node->path) + node->len + NODE_OVERHEAD;
}

static void node_link(struct store_tree *tree, struct store_node *node)
{
    if (tree->count >= tree->slot_count)
        slots_grow(tree);
    struct store_node **slot = &tree->slots[node->hash & (tree->slot_count - 1)];
    node->next_in_slot = *slot;
    *slot = node;
    tree->count++;
    tree->bytes += node_bytes(node);
    if (node->parent) {
        TAILQ_INSERT_TAIL(&node->parent->children, node, sibling);
        node->parent->stat.child_count++;
        node->parent->stat.cversion++;
    }
}

static void node_unlink(struct store_tree *tree, struct store_node *node)
{
    struct store_node **slot = &tree->slots[node->hash & (tree->slot_count - 1)];
    while (*slot != node)
        slot = &(*slot)->next_in_slot;
    *slot = node->next_in_slot;
    tree->count--;
    tree->bytes -= node_bytes(node);
    if (node->parent) {
        TAILQ_REMOVE(&node->parent->children, node, sibling);
        node->parent->stat.child_count--;
        node->parent->stat.cversion++;
    }
}

static char *copy_of(const void *data, uint32_t len)
{
    char *copy = mem_alloc(len + 1U);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static struct store_node *node_new(struct store_node *parent, const char *path, const void *data,
                                   uint32_t len)
{
    must(strlen(path) <= STORE_PATH_MAX);
    struct store_node *node = mem_zalloc(sizeof(*node));
    node->path = mem_strdup(path);
    node->data = copy_of(data, len);
    node->len = len;
    node->parent = parent;
    node->hash = path_hash(path);
    TAILQ_INIT(&node->children);
    return node;
}

static void node_free(struct store_node *node)
{
    mem_free(node->path);
    mem_free(node->data);
    mem_free(node);
}

void store_tree_init(struct store_tree *tree)
{
    *tree = (struct store_tree){0};
    slots_grow(tree);
    node_link(tree, node_new(NULL, "/", "", 0));
}

void store_tree_fini(struct store_tree *tree)
{
    for (uint32_t i = 0; i < tree->slot_count; i++) {
        struct store_node *next;
        for (struct store_node *node = tree->slots[i]; node; node = next) {
            next = node->next_in_slot;
            node_free(node);
        }
    }
    mem_free(tree->slots);
    tree->slots = NULL;
    tree->slot_count = 0;
}

/* ---- multis ---- */

static enum store_result do_create(struct store_tree *tree, const struct store_op *op,
                                   uint64_t session, struct undo *undo)
{
    struct store_node *parent = find_parent(tree, op->path);
    if (!parent || parent->stat.owner)
        return STORE_NO_NODE;
    if (store_tree_find(tree, op->path))
        return STORE_EXISTS;
    struct store_node *node = node_new(parent, op->path, op->data, op->len);
    node->stat.czxid = tree->zxid;
    node->stat.mzxid = tree->zxid;
    node->stat.owner = op->ephemeral ? session : 0;
    undo->node = node;
    undo->parent_stat = parent->stat;
    node_link(tree, node);
    return STORE_OK;
}

static enum store_result do_set(struct store_tree *tree, const struct store_op *op,
                                struct store_node *node, struct undo *undo)
{
    undo->data = node->data;
    undo->len = node->len;
    undo->stat = node->stat;
    tree->bytes -= node_bytes(node);
    node->data = copy_of(op->data, op->len);
    node->len = op->len;
    node->stat.version++;
    node->stat.mzxid = tree->zxid;
    tree->bytes += node_bytes(node);
    return STORE_OK;
}

static enum store_result do_delete(struct store_tree *tree, struct store_node *node,
                                   struct undo *undo)
{
    if (!TAILQ_EMPTY(&node->children) || !node->parent)
        return STORE_NOT_EMPTY;
    undo->parent_stat = node->parent->stat;
    node_unlink(tree, node);
    return STORE_OK;
}

static enum store_result do_op(struct store_tree *tree, const struct store_op *op, uint64_t session,
                               struct undo *undo)
{
    undo->kind = op->kind;
    if (op->kind == STORE_CREATE)
        return do_create(tree, op, session, undo);
    struct store_node *node = store_tree_find(tree, op->path);
    if (!node)
        return STORE_NO_NODE;
    if (op->version != -1 && op->version != node->stat.version)
        return STORE_BAD_VERSION;
    undo->node = node;
    if (op->kind == STORE_SET)
        return do_set(tree, op, node, undo);
    return op->kind == STORE_DELETE ? do_delete(tree, node, undo) : STORE_OK;
}

static void take_back(struct store_tree *tree, struct undo *undo)
{
    struct store_node *node = undo->node;
    switch (undo->kind) {
    case STORE_CREATE:
        node_unlink(tree, node);
        node->parent->stat = undo->parent_stat;
        node_free(node);
        return;
    case STORE_SET:
        tree->bytes -= node_bytes(node);
        mem_free(node->data);
        node->data = undo->data;
        node->len = undo->len;
        node->stat = undo->stat;
        tree->bytes += node_bytes(node);
        return;
    case STORE_DELETE:
        node_link(tree, node);
        node->parent->stat = undo->parent_stat;
        return;
    case STORE_CHECK:
        return;
    }
}

static void forget(struct undo *undo)
{
    if (undo->kind == STORE_SET)
        mem_free(undo->data);
    else if (undo->kind == STORE_DELETE)
        node_free(undo->node);
}

bool store_ops_change(const struct store_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].kind != STORE_CHECK)
            return true;
    }
    return false;
}

uint64_t store_ops_bytes(const struct store_op *ops, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += strlen(ops[i].path) + ops[i].len + 32U;
    return bytes;
}

enum store_result store_tree_multi(struct store_tree *tree, const struct store_op *ops,
                                   uint32_t count, uint64_t session, uint32_t *bad_op,
                                   struct store_stat *stats)
{
    struct undo *undo = mem_zalloc((count + 1U) * sizeof(*undo));
    enum store_result result = STORE_OK;
    bool changes = store_ops_change(ops, count);
    uint32_t done = 0;
    if (changes)
        tree->zxid++;
    for (; done < count; done++) {
        result = do_op(tree, &ops[done], session, &undo[done]);
        if (result != STORE_OK)
            break;
        if (stats && ops[done].kind == STORE_SET)
            stats[done] = undo[done].node->stat;
    }
    *bad_op = done;
    if (result != STORE_OK) {
        while (done > 0)
            take_back(tree, &undo[--done]);
        if (changes)
            tree->zxid--;
    } else {
        for (uint32_t i = 0; i < count; i++)
            forget(&undo[i]);
    }
    mem_free(undo);
    return result;
}

/* ---- listing ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **store_tree_children(const struct store_node *node)
{
    const char **names = mem_alloc((node->stat.child_count + 1U) * sizeof(*names));
    uint32_t count = 0;
    const struct store_node *child;
    TAILQ_FOREACH (child, &node->children, sibling)
        names[count++] = strrchr(child->path, '/') + 1;
    qsort(names, count, sizeof(const char *), compare_names);
    return names;
}

struct store_node *store_tree_next(const struct store_tree *tree, const struct store_node *node)
{
    if (!node)
        return store_tree_find(tree, "/");
    if (!TAILQ_EMPTY(&node->children))
        return TAILQ_FIRST(&node->children);
    while (node->parent && !TAILQ_NEXT(node, sibling))
        node = node->parent;
    return node->parent ? TAILQ_NEXT(node, sibling) : NULL;
}

char **store_tree_ephemerals(const struct store_tree *tree, uint64_t session, uint32_t *count)
{
    char **paths = mem_alloc((tree->count + 1U) * sizeof(*paths));
    *count = 0;
    struct store_node *node = NULL;
    while ((node = store_tree_next(tree, node)) != NULL) {
        if (node->stat.owner == session && session != 0)
            paths[(*count)++] = mem_strdup(node->path);
    }
    return paths;
}

/* ---- bytes ---- */

static struct bytes_out bytes_reserve(struct store_bytes *bytes, size_t wanted)
{
    if (bytes->length + wanted > bytes->room) {
        bytes->room = bytes->length + wanted + bytes->room;
        bytes->data = mem_realloc(bytes->data, bytes->room);
    }
    return bytes_out_of(bytes->data + bytes->length, wanted);
}

static void bytes_commit(struct store_bytes *bytes, const struct bytes_out *out)
{
    must(!out->overrun);
    bytes->length = (size_t)(out->at - bytes->data);
}

void store_bytes_fini(struct store_bytes *bytes)
{
    mem_free(bytes->data);
    *bytes = (struct store_bytes){0};
}

static void put_blob(struct bytes_out *out, const void *data, size_t len)
{
    put_u32(out, (uint32_t)len);
    put_bytes(out, data, len);
}

static bool take_path(struct bytes_in *in, char path[STORE_PATH_MAX + 1])
{
    uint32_t len = take_u32(in);
    const uint8_t *text = len <= STORE_PATH_MAX ? take_bytes(in, len) : NULL;
    if (!text || len < 1 || text[0] != '/' || memchr(text, 0, len))
        return false;
    if (len > 1 && text[len - 1] == '/')
        return false;
    memcpy(path, text, len);
    path[len] = '\0';
    return true;
}

static bool is_kept(const struct store_tree *tree, const struct store_op *op)
{
    if (op->kind == STORE_CHECK || (op->kind == STORE_CREATE && op->ephemeral))
        return false;
    const struct store_node *node = store_tree_find(tree, op->path);
    return !node || node->stat.owner == 0;
}

void store_tree_redo(const struct store_tree *tree, const struct store_op *ops, uint32_t count,
                     struct store_bytes *to)
{
    struct bytes_out out = bytes_reserve(to, 16 + (size_t)store_ops_bytes(ops, count));
    put_u64(&out, tree->zxid);
    struct bytes_out kept_at = out;
    put_u32(&out, 0);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_kept(tree, &ops[i]))
            continue;
        put_u8(&out, (uint8_t)ops[i].kind);
        put_blob(&out, ops[i].path, strlen(ops[i].path));
        put_blob(&out, ops[i].data, ops[i].kind == STORE_DELETE ? 0 : ops[i].len);
        kept++;
    }
    put_u32(&kept_at, kept);
    bytes_commit(to, &out);
}

static bool replay_op(struct store_tree *tree, struct bytes_in *in)
{
    char path[STORE_PATH_MAX + 1];
    uint8_t kind = take_u8(in);
    if (kind > STORE_DELETE || !take_path(in, path) || path[1] == '\0')
        return false;
    uint32_t len = take_u32(in);
    const uint8_t *data = take_bytes(in, len);
    if (in->overrun)
        return false;
    struct undo undo = {0};
    const struct store_op op = {
        .kind = (enum store_op_kind)kind, .version = -1, .path = path, .data = data, .len = len};
    enum store_result result = do_op(tree, &op, 0, &undo);
    if (result == STORE_OK)
        forget(&undo);
    /* The node of a delete may have been ephemeral: then nothing made it here. */
    return result == STORE_OK || (result == STORE_NO_NODE && kind == STORE_DELETE);
}

bool store_tree_replay(struct store_tree *tree, struct bytes_in *in)
{
    while (in->at < in->end) {
        uint64_t zxid = take_u64(in);
        uint32_t count = take_u32(in);
        if (in->overrun || zxid <= tree->zxid)
            return false;
        tree->zxid = zxid;
        for (uint32_t i = 0; i < count; i++) {
            if (!replay_op(tree, in))
                return false;
        }
    }
    return !in->overrun;
}

bool store_tree_save(const struct store_tree *tree, const struct store_node *node,
                     struct store_bytes *to)
{
    if (node->stat.owner)
        return false;
    struct bytes_out out = bytes_reserve(to, 64 + strlen(node->path) + node->len);
    put_u64(&out, tree->zxid);
    put_blob(&out, node->path, strlen(node->path));
    put_u64(&out, node->stat.czxid);
    put_u64(&out, node->stat.mzxid);
    put_i32(&out, node->stat.version);
    put_i32(&out, node->stat.cversion);
    put_blob(&out, node->data, node->len);
    bytes_commit(to, &out);
    return true;
}

bool store_tree_load(struct store_tree *tree, struct bytes_in *in)
{
    char path[STORE_PATH_MAX + 1];
    uint64_t zxid = take_u64(in);
    if (!take_path(in, path))
        return false;
    struct store_stat stat = {0};
    stat.czxid = take_u64(in);
    stat.mzxid = take_u64(in);
    stat.version = take_i32(in);
    stat.cversion = take_i32(in);
    uint32_t len = take_u32(in);
    const uint8_t *data = take_bytes(in, len);
    if (in->overrun)
        return false;
    struct store_node *node = store_tree_find(tree, path);
    if (!node) {
        struct store_node *parent = find_parent(tree, path);
        if (!parent)
            return false;
        node = node_new(parent, path, data, len);
        node_link(tree, node);
    } else if (strcmp(path, "/") != 0) {
        return false;
    }
    stat.child_count = node->stat.child_count;
    node->stat = stat;
    tree->zxid = zxid;
    return true;
}
