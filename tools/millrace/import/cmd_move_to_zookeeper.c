/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace debug move-to-zookeeper`: the metadata of a node of its own goes to ZooKeeper, node by
 * node as the two stores have the same tree (core/metadata/store.h).
 *
 * The node /format says that a tree is one of Millrace's, so it comes last: until then no broker
 * takes what is there for a cluster. Then the store in the data directory gets another name, and a
 * start without ZooKeeper is refused. Interrupted anywhere, the command is given again: what is
 * there already must be what it would write.
 */
#include "core/metadata/store_tree.h"
#include "io/mem.h"
#include "tools/millrace/command.h"
#include "tools/millrace/import/data_directory.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/import/zookeeper_link.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define THREADED /* the library's calls that wait */
#include <zookeeper/zookeeper.h>

#define FORMAT_PATH  "/format"
#define TRIES        5
#define SENTENCE_MAX 512U

struct moving {
    const struct invocation *inv;
    struct log_dir *dir;
    char *metadata; /* D/metadata */
    char *servers;
    struct store_tree tree;
    struct zookeeper_link link;
    char *found; /* data of a node that is there: ZOOKEEPER_DATA_BYTES_MAX */
    uint32_t nodes;
    uint64_t bytes;
    char sentence[SENTENCE_MAX];
};

static bool refuse(struct moving *mv, const char *format, ...) printf_like(2, 3);

static bool refuse(struct moving *mv, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(mv->sentence, sizeof(mv->sentence), format, args);
    va_end(args);
    return false;
}

/* ---- the node's own ---- */

static void count_nodes(struct moving *mv)
{
    const struct store_node *node = NULL;
    while ((node = store_tree_next(&mv->tree, node)) != NULL) {
        mv->nodes += node->stat.owner == 0;
        mv->bytes += node->stat.owner == 0 ? node->len : 0;
    }
}

static bool read_own(struct moving *mv)
{
    struct log_error error;
    const struct log_dir_options options = data_directory_options(mv->inv->operands[0]);
    mv->dir = log_dir_open(&options, &error);
    if (!mv->dir)
        return refuse(mv, "%s", error.text);
    mv->metadata = kafka_path(mv->dir->path, "metadata");
    if (!store_file_read(mv->dir->fs, mv->metadata, mv->dir->uuid, &mv->tree, &error))
        return refuse(mv,
                      "%s (a directory whose metadata is in ZooKeeper, or the second one of a "
                      "node, has none)",
                      error.text);
    count_nodes(mv);
    return store_tree_find(&mv->tree, FORMAT_PATH) ||
           refuse(mv, "no broker has run on %s: there is nothing to be moved", mv->dir->path);
}

/* ---- ZooKeeper ---- */

static void path_in(const struct moving *mv, char path[1024], const char *below)
{
    (void)snprintf(path, 1024, "%s%s", mv->link.root, below);
}

/* ZOK and *len bytes in mv->found, or the library's answer. */
static int get(struct moving *mv, const char *path, int *len)
{
    struct Stat stat;
    *len = (int)ZOOKEEPER_DATA_BYTES_MAX;
    int rc = zoo_get(mv->link.zh, path, 0, mv->found, len, &stat);
    *len = *len < 0 ? 0 : *len;
    return rc;
}

/* A lost connection leaves open whether it was made: then it is asked for again, and is there. */
static int create(struct moving *mv, const char *path, const char *data, uint32_t len)
{
    int rc = ZCONNECTIONLOSS;
    for (int i = 0; i < TRIES && (rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT); i++)
        rc = zoo_create(mv->link.zh, path, data, (int)len, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    return rc;
}

static bool is_there(struct moving *mv, const char *path, const struct store_node *node)
{
    int len = 0;
    return get(mv, path, &len) == ZOK && (uint32_t)len == node->len &&
           (len == 0 || (node->data && memcmp(mv->found, node->data, node->len) == 0));
}

static bool put(struct moving *mv, const struct store_node *node)
{
    char path[1024];
    path_in(mv, path, node->path);
    int rc = create(mv, path, node->data ? node->data : "", node->len);
    if (rc != ZNODEEXISTS)
        return rc == ZOK || refuse(mv,
                                   "cannot make %s in ZooKeeper: %s; give the command again "
                                   "when it answers",
                                   path, zerror(rc));
    return is_there(mv, path, node) ||
           refuse(mv,
                  "%s is there already, with something else in it; name a path that nothing "
                  "lies at",
                  path);
}

/* The path itself, part by part. */
static bool make_root(struct moving *mv)
{
    char path[512];
    for (const char *at = mv->link.root; *at != '\0';) {
        const char *end = strchrnul(at + 1, '/');
        (void)snprintf(path, sizeof(path), "%.*s", (int)(end - mv->link.root), mv->link.root);
        int rc = create(mv, path, "", 0);
        if (rc != ZOK && rc != ZNODEEXISTS)
            return refuse(mv, "cannot make %s in ZooKeeper: %s", path, zerror(rc));
        at = end;
    }
    return true;
}

enum place { PLACE_FREE, PLACE_BEGUN, PLACE_MOVED };

/* What lies at the path: nothing, a beginning of this, or this cluster. */
static bool look(struct moving *mv, enum place *place)
{
    char path[1024];
    int len = 0;
    const struct store_node *own = store_tree_find(&mv->tree, "/cluster/id");
    path_in(mv, path, "/cluster/id");
    int id = get(mv, path, &len);
    bool same = id == ZOK && own && (uint32_t)len == own->len &&
                memcmp(mv->found, own->data, own->len) == 0;
    if (id == ZOK && !same)
        return refuse(mv, "%s belongs to another cluster; name a path that nothing lies at",
                      mv->link.root);
    path_in(mv, path, FORMAT_PATH);
    int format = get(mv, path, &len);
    path_in(mv, path, "/brokers/topics");
    int foreign = get(mv, path, &len);
    if (format == ZNONODE && foreign == ZOK)
        return refuse(mv, "%s belongs to Apache Kafka; name a path that nothing lies at",
                      mv->link.root[0] ? mv->link.root : "/");
    if ((id != ZOK && id != ZNONODE) || (format != ZOK && format != ZNONODE))
        return refuse(mv, "ZooKeeper does not answer: %s", zerror(format != ZOK ? format : id));
    *place = format == ZOK && same ? PLACE_MOVED : id == ZOK ? PLACE_BEGUN : PLACE_FREE;
    return format != ZOK || same ||
           refuse(mv, "%s is a cluster of Millrace already, and not this one", mv->link.root);
}

static bool put_all(struct moving *mv)
{
    const struct store_node *node = NULL;
    bool good = make_root(mv);
    while (good && (node = store_tree_next(&mv->tree, node)) != NULL)
        if (node->stat.owner == 0 && strcmp(node->path, "/") != 0 &&
            strcmp(node->path, FORMAT_PATH) != 0)
            good = put(mv, node);
    return good && put(mv, store_tree_find(&mv->tree, FORMAT_PATH));
}

/* All was moved by an earlier run that could not rename the store. Since then a broker may have
 * gone on with either of them: the one that is put aside must not be the newer one. */
static bool check_all(struct moving *mv)
{
    const struct store_node *node = NULL;
    char path[1024];
    while ((node = store_tree_next(&mv->tree, node)) != NULL) {
        path_in(mv, path, node->path);
        if (node->stat.owner == 0 && strcmp(node->path, "/") != 0 && !is_there(mv, path, node))
            return refuse(mv,
                          "this cluster is at %s already, but a broker has gone on since, there or "
                          "with %s/store: %s is another; move the store away if it was there, else "
                          "name a path that nothing lies at",
                          mv->link.root, mv->metadata, path);
    }
    return true;
}

/* From here on a start without ZooKeeper finds an empty store, and says so. */
static bool retire(struct moving *mv)
{
    struct fs *fs = mv->dir->fs;
    char *from = kafka_path(mv->metadata, "store");
    char *to = kafka_path(mv->metadata, "store.moved");
    int result = fs_rename(fs, from, to);
    if (result >= 0)
        result = fs_sync_dir(fs, mv->metadata);
    mem_free(from);
    mem_free(to);
    return result >= 0 || refuse(mv,
                                 "the metadata is in ZooKeeper, and the store in %s could not be "
                                 "renamed: %s; give the command again",
                                 mv->metadata, strerror(-result));
}

/* ---- the command ---- */

static bool move(struct moving *mv, bool run)
{
    enum place place = PLACE_FREE;
    char sentence[256];
    if (!read_own(mv))
        return false;
    if (!zookeeper_link_open(&mv->link, mv->servers, sentence, sizeof(sentence)))
        return refuse(mv, "ZooKeeper at %s: %s", mv->servers, sentence);
    if (!look(mv, &place))
        return false;
    if (!run) {
        note(mv->inv,
             "%u nodes, %llu bytes, of cluster %s would go to %s%s; nothing was changed, --run "
             "does it",
             mv->nodes, (unsigned long long)mv->bytes, mv->dir->cluster_id, mv->servers,
             place == PLACE_FREE ? "" : ", where they have begun to lie");
        return true;
    }
    if (place == PLACE_MOVED ? !check_all(mv) : !put_all(mv))
        return false;
    if (!retire(mv))
        return false;
    note(mv->inv, "moved: %u nodes, %llu bytes, of cluster %s", mv->nodes,
         (unsigned long long)mv->bytes, mv->dir->cluster_id);
    note(mv->inv,
         "next: millrace start --data-dir %s --node-id %d --zookeeper %s, and other brokers with "
         "node ids and data directories of their own",
         mv->dir->path, (int)mv->dir->node_id, mv->servers);
    return true;
}

int cmd_debug_move_to_zookeeper(struct invocation *inv)
{
    const char *servers = option_text(inv, "zookeeper");
    if (!servers)
        return usage_error(inv, "--zookeeper HOST:PORT/PATH is wanted: where the metadata goes");
    const char *root = strchr(servers, '/') ? "" : STORE_ZOOKEEPER_ROOT;
    struct moving mv = {.inv = inv, .found = mem_alloc(ZOOKEEPER_DATA_BYTES_MAX)};
    size_t size = strlen(servers) + strlen(root) + 1;
    mv.servers = mem_alloc(size);
    (void)snprintf(mv.servers, size, "%s%s", servers, root);
    store_tree_init(&mv.tree);
    bool good = move(&mv, option_on(inv, "run"));
    if (!good)
        complain(inv, "%s", mv.sentence);
    zookeeper_link_close(&mv.link);
    store_tree_fini(&mv.tree);
    if (mv.dir)
        log_dir_close(mv.dir);
    mem_free(mv.metadata);
    mem_free(mv.servers);
    mem_free(mv.found);
    return good ? EXIT_OK : EXIT_REFUSED_DATA;
}
