/* SPDX-License-Identifier: Apache-2.0
 *
 * The store of a node of its own: the tree in memory, and a redo log in DIR/store (a record_file).
 *
 * A request is executed at once, on the tree; its answer waits in a queue until the redo of all
 * changes before it is durable, and so do events and reads. So one session sees one order, and
 * nobody hears of a change that a crash could take back. Changes that arrive while a batch is being
 * written go together into the next.
 *
 * Batches are of two kinds: redo, and nodes of a snapshot. When the file has outgrown the tree it
 * is rewritten as a snapshot: when nothing is being written and nothing waits to be, so that the
 * snapshot is exactly what is durable.
 *
 * A failed write is final: what was waiting hears STORE_UNKNOWN, what comes later STORE_CLOSED.
 * There is one session per life; ephemeral nodes are in no file, so they are gone at the next open.
 */
#include "core/log/record_file.h"
#include "core/metadata/store_queue.h"
#include "io/mem.h"

#include <errno.h>
#include <stdio.h>

#define FILE_MAGIC         "MRSTORE"
#define BATCH_REDO         1U
#define BATCH_NODES        2U
#define SNAPSHOT_BYTES     (1U << 20) /* of one batch */
#define REWRITE_ABOVE      (1U << 20)
#define SNAPSHOT_PARTS_MAX 4096U

enum file_state { FILE_OPENING, FILE_OPEN, FILE_FAILED, FILE_CLOSING };

/* A tree as batches. */
struct snapshot {
    struct store_bytes *parts;
    struct record_payload *payloads;
    uint32_t count;
};

struct store_file {
    struct store store;
    struct shard *sh;
    struct store_options options;
    char *directory;
    char *path;
    enum file_state state;
    struct store_tree tree;
    struct store_watches watches;
    struct record_file rf;
    bool rf_open;
    bool opened; /* the attempt to open has ended */
    bool ended;  /* closing has begun its last step */
    struct log_error error;
    uint64_t nonce;

    struct store_queue queue; /* due: the batch that must be durable */
    struct task tell;

    uint64_t batch;          /* the one that collects */
    uint64_t durable;        /* the last that is on stable storage */
    struct store_bytes redo; /* of the one that collects */
    struct store_bytes writing;
    bool busy; /* a batch or a rewrite is under way */
    struct task flush;
    struct record_append append;
    struct record_rewrite rewrite;
    struct snapshot snapshot;

    struct io_op work;
    void (*closed)(void *user);
    void *closed_user;
};

static struct store_file *file_of(struct store *store)
{
    struct store_file *sf = container_of(store, struct store_file, store);
    must(shard_here() == sf->sh);
    return sf;
}

static void put_batch_kind(struct store_bytes *bytes, uint8_t kind)
{
    if (bytes->room == 0) {
        bytes->room = 4096;
        bytes->data = mem_alloc(bytes->room);
    }
    bytes->data[0] = kind;
    bytes->length = 1;
}

/* ---- telling ---- */

static void file_finish_close(struct store_file *sf);

static enum store_result outcome_of(const struct store_file *sf, const struct store_entry *entry)
{
    if (entry->due <= sf->durable)
        return STORE_OK;
    if (sf->state != FILE_FAILED)
        return STORE_OK;
    return entry->kind == STORE_ENTRY_MULTI && entry->result == STORE_OK ? STORE_UNKNOWN
                                                                         : STORE_CLOSED;
}

static void on_tell(struct shard *sh, struct task *task)
{
    (void)sh;
    struct store_file *sf = container_of(task, struct store_file, tell);
    bool early = io_mutation(sf->sh->io, "metadata.answered_before_durable");
    struct store_entry *entry;
    while ((entry = STAILQ_FIRST(&sf->queue)) != NULL) {
        if (entry->due > sf->durable && sf->state != FILE_FAILED && !early)
            break;
        STAILQ_REMOVE_HEAD(&sf->queue, link);
        store_entry_tell(entry, outcome_of(sf, entry), sf->options.on_event, sf->options.user);
        store_entry_free(entry);
    }
    if (sf->closed)
        file_finish_close(sf);
}

static void enqueue(struct store_file *sf, struct store_entry *entry)
{
    entry->due =
        sf->redo.length > 1 || sf->busy ? sf->batch - (sf->redo.length > 1 ? 0 : 1) : sf->durable;
    STAILQ_INSERT_TAIL(&sf->queue, entry, link);
    shard_ready(sf->sh, &sf->tell);
}

static void fail(struct store_file *sf, const char *sentence)
{
    sf->state = FILE_FAILED;
    sf->options.on_event(sf->options.user,
                         &(struct store_event){.kind = STORE_FAILED, .sentence = sentence});
    shard_ready(sf->sh, &sf->tell);
}

/* ---- writing ---- */

static bool wants_rewrite(const struct store_file *sf)
{
    return sf->rf.position > 2 * sf->tree.bytes + REWRITE_ABOVE ||
           (sf->rf.position > 8 * FS_BLOCK && io_chance(sf->sh->io, "store rewritten early", 50));
}

static void snapshot_fini(struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->count; i++)
        store_bytes_fini(&snapshot->parts[i]);
    mem_free(snapshot->parts);
    mem_free(snapshot->payloads);
    *snapshot = (struct snapshot){0};
}

static void snapshot_init(struct snapshot *snapshot, const struct store_tree *tree)
{
    snapshot->parts = mem_zalloc(SNAPSHOT_PARTS_MAX * sizeof(*snapshot->parts));
    snapshot->payloads = mem_zalloc(SNAPSHOT_PARTS_MAX * sizeof(*snapshot->payloads));
    struct store_node *node = NULL;
    struct store_bytes *part = NULL;
    while ((node = store_tree_next(tree, node)) != NULL) {
        if (!part || part->length >= SNAPSHOT_BYTES) {
            must(snapshot->count < SNAPSHOT_PARTS_MAX);
            part = &snapshot->parts[snapshot->count++];
            put_batch_kind(part, BATCH_NODES);
        }
        (void)store_tree_save(tree, node, part);
    }
    for (uint32_t i = 0; i < snapshot->count; i++)
        snapshot->payloads[i] = (struct record_payload){
            .data = snapshot->parts[i].data,
            .length = (uint32_t)snapshot->parts[i].length,
        };
}

static void on_rewritten(struct record_rewrite *rewrite)
{
    struct store_file *sf = container_of(rewrite, struct store_file, rewrite);
    sf->busy = false;
    snapshot_fini(&sf->snapshot);
    if (rewrite->failed)
        fail(sf, sf->rf.reason);
    else if (sf->redo.length > 1)
        shard_at_end(sf->sh, &sf->flush);
    shard_ready(sf->sh, &sf->tell);
}

static void begin_rewrite(struct store_file *sf)
{
    snapshot_init(&sf->snapshot, &sf->tree);
    sf->busy = true;
    sf->batch++; /* what comes meanwhile waits for a batch of its own */
    sf->durable = sf->batch - 1;
    sf->rewrite = (struct record_rewrite){
        .payloads = sf->snapshot.payloads,
        .count = sf->snapshot.count,
        .nonce = io_random(sf->sh->io),
        .done = on_rewritten,
    };
    record_file_rewrite(&sf->rf, sf->sh->io, &sf->rewrite);
}

static void on_appended(struct record_append *append)
{
    struct store_file *sf = container_of(append, struct store_file, append);
    sf->busy = false;
    if (append->failed) {
        fail(sf, sf->rf.reason);
        return;
    }
    sf->durable = sf->batch - 1;
    if (sf->redo.length > 1)
        shard_at_end(sf->sh, &sf->flush);
    else if (wants_rewrite(sf) && sf->state == FILE_OPEN)
        begin_rewrite(sf);
    shard_ready(sf->sh, &sf->tell);
}

static void on_flush(struct shard *sh, struct task *task)
{
    struct store_file *sf = container_of(task, struct store_file, flush);
    if (sf->busy || sf->redo.length <= 1 || sf->state == FILE_FAILED)
        return;
    struct store_bytes bytes = sf->writing;
    sf->writing = sf->redo;
    sf->redo = bytes;
    put_batch_kind(&sf->redo, BATCH_REDO);
    sf->batch++;
    sf->busy = true;
    sf->append = (struct record_append){
        .payload = {.data = sf->writing.data, .length = (uint32_t)sf->writing.length},
        .done = on_appended,
    };
    record_file_append(&sf->rf, sh->io, &sf->append);
}

/* ---- requests ---- */

static void file_multi(struct store *store, const struct store_op *ops, uint32_t count,
                       store_multi_fn *done, void *user)
{
    struct store_file *sf = file_of(store);
    uint32_t bad_op = 0;
    struct store_stat *stats = mem_zalloc((count + 1U) * sizeof(*stats));
    enum store_result result = STORE_CLOSED;
    if (sf->state == FILE_OPEN)
        result = count <= STORE_OPS_MAX && store_ops_bytes(ops, count) <= STORE_REQUEST_BYTES_MAX
                     ? store_tree_multi(&sf->tree, ops, count, store->session, &bad_op, stats)
                     : STORE_TOO_BIG;
    if (result == STORE_OK && store_ops_change(ops, count)) {
        store_tree_redo(&sf->tree, ops, count, &sf->redo);
        store_watches_fire(&sf->watches, ops, count, sf->batch, &sf->queue);
        shard_at_end(sf->sh, &sf->flush);
    }
    enqueue(sf, store_entry_multi(result, bad_op, stats, done, user));
}

static void read_node(struct store_file *sf, const char *path, bool watch, bool with_data,
                      store_get_fn *done, void *user)
{
    if (sf->state != FILE_OPEN) {
        struct store_entry *closed = store_entry_get(NULL, false, done, user);
        closed->result = STORE_CLOSED;
        enqueue(sf, closed);
        return;
    }
    const struct store_node *node = store_tree_find(&sf->tree, path);
    if (watch && (node || !with_data))
        store_watch_add(&sf->watches, path, false);
    enqueue(sf, store_entry_get(node, with_data, done, user));
}

static void file_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                     void *user)
{
    read_node(file_of(store), path, watch, true, done, user);
}

static void file_exists(struct store *store, const char *path, bool watch, store_get_fn *done,
                        void *user)
{
    read_node(file_of(store), path, watch, false, done, user);
}

static void file_children(struct store *store, const char *path, bool watch,
                          store_children_fn *done, void *user)
{
    struct store_file *sf = file_of(store);
    const struct store_node *node =
        sf->state == FILE_OPEN ? store_tree_find(&sf->tree, path) : NULL;
    if (watch && node)
        store_watch_add(&sf->watches, path, true);
    struct store_entry *entry = store_entry_children(node, done, user);
    if (sf->state != FILE_OPEN)
        entry->result = STORE_CLOSED;
    enqueue(sf, entry);
}

/* ---- opening ---- */

/* Where the batches go, and how it is called. */
struct reading {
    struct store_tree *tree;
    const char *directory;
};

static bool on_batch(void *argument, const uint8_t *payload, uint32_t length,
                     struct log_error *error)
{
    const struct reading *reading = argument;
    struct bytes_in in = bytes_in_of(payload, length);
    uint8_t kind = take_u8(&in);
    bool good = false;
    if (kind == BATCH_REDO) {
        good = store_tree_replay(reading->tree, &in);
    } else if (kind == BATCH_NODES) {
        good = true;
        while (good && in.at < in.end)
            good = store_tree_load(reading->tree, &in);
    }
    return good || log_refuse(error, LOG_ERROR_DAMAGED,
                              "%s/store holds a batch of kind %u that does not fit what is before "
                              "it; restore the directory from a copy",
                              reading->directory, kind);
}

static bool make_directory(struct fs *fs, const char *directory, struct log_error *error)
{
    int result = fs_mkdir(fs, directory);
    char *parent = mem_strdup(directory);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        slash++;
    if (slash)
        *slash = '\0';
    if (result >= 0)
        result = fs_sync_dir(fs, slash ? parent : ".");
    mem_free(parent);
    return result >= 0 || log_refuse_io(error, "create", directory, result);
}

static char *file_path(const char *directory)
{
    size_t size = strlen(directory) + sizeof("/store");
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/store", directory);
    return path;
}

bool store_file_write(struct fs *fs, const char *directory, const uint8_t uuid[16], uint64_t nonce,
                      const struct store_tree *tree, struct log_error *error)
{
    if (!make_directory(fs, directory, error))
        return false;
    struct snapshot snapshot = {0};
    struct record_file rf;
    char *path = file_path(directory);
    snapshot_init(&snapshot, tree);
    bool good = record_file_create(&rf, fs, path, FILE_MAGIC, uuid, nonce, snapshot.payloads,
                                   snapshot.count, error);
    if (good)
        record_file_close(&rf);
    snapshot_fini(&snapshot);
    mem_free(path);
    return good;
}

bool store_file_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                     struct store_tree *tree, struct log_error *error)
{
    struct record_file rf;
    struct reading reading = {.tree = tree, .directory = directory};
    char *path = file_path(directory);
    bool good = record_file_open(&rf, fs, path, FILE_MAGIC, uuid, on_batch, &reading, error);
    if (good)
        record_file_close(&rf);
    mem_free(path);
    return good;
}

static void open_work(void *argument)
{
    struct store_file *sf = argument;
    struct fs *fs = io_fs(sf->sh->io);
    struct reading reading = {.tree = &sf->tree, .directory = sf->directory};
    if (!make_directory(fs, sf->directory, &sf->error))
        return;
    int found = fs_open(fs, sf->path, FS_READ);
    if (found >= 0)
        fs_close(fs, found);
    if (found == -ENOENT)
        sf->rf_open = record_file_create(&sf->rf, fs, sf->path, FILE_MAGIC, sf->options.directory,
                                         sf->nonce, NULL, 0, &sf->error);
    else
        sf->rf_open = record_file_open(&sf->rf, fs, sf->path, FILE_MAGIC, sf->options.directory,
                                       on_batch, &reading, &sf->error);
}

static void on_opened(struct io_op *op)
{
    struct store_file *sf = container_of(op, struct store_file, work);
    sf->opened = true;
    if (!sf->rf_open) {
        fail(sf, sf->error.text);
    } else if (sf->state == FILE_OPENING) {
        sf->state = FILE_OPEN;
        sf->store.session = io_random(sf->sh->io) | 1U;
        sf->options.on_event(sf->options.user, &(struct store_event){.kind = STORE_CONNECTED});
    }
    shard_ready(sf->sh, &sf->tell);
}

/* ---- closing ---- */

static void close_work(void *argument)
{
    struct store_file *sf = argument;
    if (sf->rf_open)
        record_file_close(&sf->rf);
}

static void on_closed(struct io_op *op)
{
    struct store_file *sf = container_of(op, struct store_file, work);
    void (*closed)(void *) = sf->closed;
    void *user = sf->closed_user;
    task_cancel(sf->sh, &sf->tell);
    task_cancel(sf->sh, &sf->flush);
    store_tree_fini(&sf->tree);
    store_watches_free(&sf->watches);
    store_bytes_fini(&sf->redo);
    store_bytes_fini(&sf->writing);
    mem_free(sf->directory);
    mem_free(sf->path);
    mem_free(sf);
    closed(user);
}

static void file_finish_close(struct store_file *sf)
{
    bool unwritten = sf->redo.length > 1 && sf->state != FILE_FAILED;
    if (sf->busy || unwritten || !STAILQ_EMPTY(&sf->queue) || !sf->opened || sf->ended)
        return;
    sf->ended = true;
    sf->work.done = on_closed;
    io_work(sf->sh->io, &sf->work, close_work, sf);
}

static void file_close(struct store *store, void (*done)(void *user), void *user)
{
    struct store_file *sf = file_of(store);
    must(!sf->closed);
    if (sf->state != FILE_FAILED)
        sf->state = FILE_CLOSING;
    sf->closed = done;
    sf->closed_user = user;
    shard_ready(sf->sh, &sf->tell);
}

static const struct store_ops file_ops = {
    .multi = file_multi,
    .get = file_get,
    .exists = file_exists,
    .children = file_children,
    .close = file_close,
};

struct store *store_file_open(struct shard *sh, const struct store_options *options,
                              const char *directory)
{
    struct store_file *sf = mem_zalloc(sizeof(*sf));
    sf->store.ops = &file_ops;
    sf->sh = sh;
    sf->options = *options;
    sf->directory = mem_strdup(directory);
    sf->path = file_path(directory);
    sf->nonce = io_random(sh->io);
    store_tree_init(&sf->tree);
    TAILQ_INIT(&sf->watches);
    STAILQ_INIT(&sf->queue);
    sf->tell = (struct task){.fn = on_tell, .name = "store.tell"};
    sf->flush = (struct task){.fn = on_flush, .name = "store.flush"};
    sf->batch = 1;
    put_batch_kind(&sf->redo, BATCH_REDO);
    sf->work.done = on_opened;
    io_work(sh->io, &sf->work, open_work, sf);
    return &sf->store;
}
