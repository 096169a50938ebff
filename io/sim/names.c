/* SPDX-License-Identifier: Apache-2.0
 *
 * Names on a simulated disk: the tree that is seen, the tree that is durable, and between them the
 * pending operations in order (the model: io/sim/disk.h). Directories are sorted arrays, so that
 * listing has one order and looking up is a binary search.
 */
#include "io/sim/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The analyzer does not count references. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc)

struct pending {
    TAILQ_ENTRY(pending) link;
    struct node *node;
    struct node *from; /* NULL: created */
    struct node *to;   /* NULL: removed */
    char *from_name;
    char *to_name;
    bool chosen;
};

static void *take(size_t size)
{
    void *memory = calloc(1, size);
    must(memory != NULL);
    return memory;
}

static char *text_of(const char *name, uint32_t len)
{
    char *text = take(len + 1U);
    memcpy(text, name, len);
    return text;
}

/* ---- a directory's array ---- */

static int name_compare(const char *a, uint32_t a_len, const char *b)
{
    int order = strncmp(a, b, a_len);
    return order != 0 ? order : (b[a_len] ? -1 : 0);
}

/* Its place, or where it would go. */
static uint32_t names_place(const struct names *names, const char *name, uint32_t len, bool *found)
{
    uint32_t low = 0;
    uint32_t high = names->count;
    *found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = name_compare(name, len, names->names[middle].text);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct node *names_find(const struct names *names, const char *name, uint32_t len)
{
    bool found;
    uint32_t at = names_place(names, name, len, &found);
    return found ? names->names[at].node : NULL;
}

/* The node that had this name before, or NULL. References are the caller's. */
static struct node *names_set(struct names *names, const char *name, uint32_t len,
                              struct node *node)
{
    bool found;
    uint32_t at = names_place(names, name, len, &found);
    must(!found || names->names != NULL);
    if (found) {
        struct node *before = names->names[at].node;
        names->names[at].node = node;
        return before;
    }
    if (names->count == names->size) {
        names->size = names->size ? names->size * 2 : 8;
        names->names = realloc(names->names, names->size * sizeof(*names->names));
        must(names->names != NULL);
    }
    memmove(names->names + at + 1, names->names + at, (names->count - at) * sizeof(*names->names));
    names->names[at] = (struct name){.text = text_of(name, len), .node = node};
    names->count++;
    return NULL;
}

static struct node *names_remove(struct names *names, const char *name, uint32_t len)
{
    bool found;
    uint32_t at = names_place(names, name, len, &found);
    if (!found)
        return NULL;
    struct node *node = names->names[at].node;
    free(names->names[at].text);
    names->count--;
    memmove(names->names + at, names->names + at + 1, (names->count - at) * sizeof(*names->names));
    return node;
}

/* ---- nodes ---- */

void node_hold(struct node *node)
{
    node->refs++;
}

static void names_drop(struct tree *tree, struct names *names, bool seen)
{
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->names[i].text);
        if (seen)
            node_close(tree, names->names[i].node);
        else
            node_drop(tree, names->names[i].node);
    }
    free(names->names);
    *names = (struct names){0};
}

void node_drop(struct tree *tree, struct node *node)
{
    must(node->refs > 0);
    if (--node->refs > 0)
        return;
    names_drop(tree, &node->seen, true);
    names_drop(tree, &node->kept, false);
    node_data_free(node);
    free(node);
}

void node_open(struct tree *tree, struct node *node)
{
    node_hold(node);
    if (node->seen_refs++ == 0)
        tree->space += node->space;
}

void node_close(struct tree *tree, struct node *node)
{
    must(node->seen_refs > 0);
    if (--node->seen_refs == 0)
        tree->space -= node->space;
    node_drop(tree, node);
}

static struct node *node_new(struct tree *tree, bool directory)
{
    struct node *node = take(sizeof(*node));
    node->directory = directory;
    node->id = ++tree->ids;
    node->refs = 1;
    TAILQ_INIT(&node->dirty);
    return node;
}

void tree_init(struct tree *tree)
{
    TAILQ_INIT(&tree->pending);
    tree->ids = 0;
    tree->space = 0;
    tree->root = node_new(tree, true);
}

static void pending_free(struct tree *tree, struct pending *pending)
{
    TAILQ_REMOVE(&tree->pending, pending, link);
    if (pending->from)
        node_drop(tree, pending->from);
    if (pending->to)
        node_drop(tree, pending->to);
    node_drop(tree, pending->node);
    free(pending->from_name);
    free(pending->to_name);
    free(pending);
}

void tree_fini(struct tree *tree)
{
    while (!TAILQ_EMPTY(&tree->pending))
        pending_free(tree, TAILQ_FIRST(&tree->pending));
    node_drop(tree, tree->root);
}

int tree_find(struct tree *tree, const char *path, struct place *place)
{
    *place = (struct place){.node = tree->root};
    for (;;) {
        while (*path == '/' || (path[0] == '.' && (path[1] == '/' || path[1] == '\0')))
            path++;
        if (*path == '\0')
            return 0;
        if (!place->node)
            return -ENOENT;
        if (!place->node->directory)
            return -ENOTDIR;
        uint32_t len = (uint32_t)strcspn(path, "/");
        if (len > 255)
            return -ENAMETOOLONG;
        if (len == 2 && memcmp(path, "..", 2) == 0)
            return -EINVAL; /* nobody above the door needs it, so the world does not know it */
        place->directory = place->node;
        place->name = path;
        place->name_len = len;
        place->node = names_find(&place->directory->seen, path, len);
        path += len;
    }
}

/* ---- operations ---- */

static void pending_add(struct tree *tree, struct node *node, const struct place *from,
                        const struct place *to)
{
    struct pending *pending = take(sizeof(*pending));
    pending->node = node;
    node_hold(node);
    if (from) {
        pending->from = from->directory;
        pending->from_name = text_of(from->name, from->name_len);
        node_hold(pending->from);
    }
    if (to) {
        pending->to = to->directory;
        pending->to_name = text_of(to->name, to->name_len);
        node_hold(pending->to);
    }
    TAILQ_INSERT_TAIL(&tree->pending, pending, link);
}

struct node *tree_create(struct tree *tree, const struct place *place, bool directory)
{
    struct node *node = node_new(tree, directory);
    node_open(tree, node); /* its name */
    names_set(&place->directory->seen, place->name, place->name_len, node);
    pending_add(tree, node, NULL, place);
    node_drop(tree, node); /* this function's */
    return node;
}

void tree_remove(struct tree *tree, const struct place *place)
{
    pending_add(tree, place->node, place, NULL);
    names_remove(&place->directory->seen, place->name, place->name_len);
    node_close(tree, place->node);
}

void tree_rename(struct tree *tree, const struct place *from, const struct place *to)
{
    if (from->node == to->node)
        return;
    pending_add(tree, from->node, from, to);
    names_remove(&from->directory->seen, from->name, from->name_len);
    struct node *before = names_set(&to->directory->seen, to->name, to->name_len, from->node);
    if (before)
        node_close(tree, before);
}

/* Makes one pending operation durable and forgets it. */
static void pending_keep(struct tree *tree, struct pending *pending)
{
    struct node *before;
    if (pending->from) {
        uint32_t len = (uint32_t)strlen(pending->from_name);
        if (names_find(&pending->from->kept, pending->from_name, len) == pending->node) {
            names_remove(&pending->from->kept, pending->from_name, len);
            node_drop(tree, pending->node);
        }
    }
    if (pending->to) {
        node_hold(pending->node);
        before = names_set(&pending->to->kept, pending->to_name, (uint32_t)strlen(pending->to_name),
                           pending->node);
        if (before)
            node_drop(tree, before);
    }
    pending_free(tree, pending);
}

void tree_sync(struct tree *tree, struct node *directory)
{
    struct pending *pending;
    struct pending *next;
    TAILQ_FOREACH_REVERSE(pending, &tree->pending, pending_queue, link)
    {
        pending->chosen =
            pending->from == directory || pending->to == directory || pending->node->wanted;
        if (pending->chosen)
            pending->node->wanted = true;
    }
    TAILQ_FOREACH (pending, &tree->pending, link)
        pending->node->wanted = false;
    for (pending = TAILQ_FIRST(&tree->pending); pending; pending = next) {
        next = TAILQ_NEXT(pending, link);
        if (pending->chosen)
            pending_keep(tree, pending);
    }
}

/* ---- power loss ---- */

static void pending_resolve(struct tree *tree, struct rng *rng)
{
    struct pending *pending;
    uint64_t count = 0;
    bool prefix = !rng_one_in(rng, 3);
    TAILQ_FOREACH (pending, &tree->pending, link) {
        pending->node->lost = false;
        count++;
    }
    uint64_t keep = rng_below(rng, count + 1);
    uint64_t one_in = rng_between(rng, 1, 4);
    while ((pending = TAILQ_FIRST(&tree->pending)) != NULL) {
        bool lost = keep == 0;
        if (!prefix)
            lost = pending->node->lost = pending->node->lost || rng_one_in(rng, one_in);
        keep -= keep > 0;
        if (lost)
            pending_free(tree, pending);
        else
            pending_keep(tree, pending);
    }
}

/* What is durable becomes what is seen; files are visited once even with two names. */
static void kept_to_seen(struct tree *tree, struct node *directory, const struct power_dice *dice)
{
    struct names before = directory->seen;
    directory->seen = (struct names){0};
    for (uint32_t i = 0; i < directory->kept.count; i++) {
        const struct name *name = &directory->kept.names[i];
        node_open(tree, name->node);
        names_set(&directory->seen, name->text, (uint32_t)strlen(name->text), name->node);
    }
    names_drop(tree, &before, true);
    for (uint32_t i = 0; i < directory->kept.count; i++) {
        struct node *node = directory->kept.names[i].node;
        if (node->visited)
            continue;
        node->visited = true;
        if (node->directory) {
            kept_to_seen(tree, node, dice);
            continue;
        }
        tree->space -= node->space;
        node_power_loss(node, dice);
        tree->space += node->space;
    }
}

static void unvisit(struct node *directory)
{
    for (uint32_t i = 0; i < directory->kept.count; i++) {
        struct node *node = directory->kept.names[i].node;
        if (node->visited && node->directory) {
            node->visited = false;
            unvisit(node);
        }
        node->visited = false;
    }
}

void tree_power_loss(struct tree *tree, const struct power_dice *dice)
{
    pending_resolve(tree, dice->rng);
    kept_to_seen(tree, tree->root, dice);
    unvisit(tree->root);
}

static void walk(struct node *directory, char *path, size_t len,
                 void (*fn)(struct node *node, const char *path, void *argument), void *argument)
{
    for (uint32_t i = 0; i < directory->seen.count; i++) {
        const struct name *name = &directory->seen.names[i];
        size_t name_len = strlen(name->text);
        if (len + name_len + 2 > 4096)
            continue;
        path[len] = '/';
        memcpy(path + len + 1, name->text, name_len + 1);
        if (name->node->directory)
            walk(name->node, path, len + 1 + name_len, fn, argument);
        else
            fn(name->node, path + 1, argument);
    }
}

void tree_walk(struct tree *tree, void (*fn)(struct node *node, const char *path, void *argument),
               void *argument)
{
    char path[4096] = "";
    walk(tree->root, path, 0, fn, argument);
}

// NOLINTEND(clang-analyzer-unix.Malloc)
