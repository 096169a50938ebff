/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata store: a small tree of nodes with versions, watches and sessions, as ZooKeeper gives
 * it. The second seam of the broker (the first is io/io.h), and the one vtable: which body serves
 * is said at run time by a URL,
 *
 *     file:DIR           the tree in memory and a redo log in DIR, for a node of its own
 *                        (store_file.c)
 *     zookeeper:H:P,H:P/PATH  Apache ZooKeeper (store_zookeeper.h); only of programs that bring it
 *     sim:               a store of the simulated world, shared by its machines (store_sim.h)
 *
 * What every body gives:
 *   S1  Writes are linearizable and totally ordered by zxid. A multi is atomic; its later
 *       operations see the earlier ones. Its answer comes when it is durable.
 *   S2  Requests of one session run and complete in order; callbacks and events arrive on the
 *       owner's shard only, in the store's order, and never inside a call. What is refused without
 *       the store is told behind the events that have come by then.
 *   S3  Reads may be stale against other sessions, never older than what this session saw; after a
 *       barrier they show every write that was acknowledged anywhere before it.
 *   S4  Watches fire once. The event comes before any read that shows the change; changes between
 *       the event and the next read coalesce, so read again and compare zxids.
 *   S5  STORE_UNKNOWN: the multi was sent, and happened or not. A multi that failed names the
 *       operation and changed nothing.
 *   S6  SUSPENDED: the session may be gone, nobody knows. EXPIRED comes from the store only, after
 *       it is reached again; safety comes from versions (fencing), never from believing a session.
 *       A multi that was in flight then is answered STORE_EXPIRED, too: it happened or it did not.
 *       What was in flight at SUSPENDED is answered STORE_UNKNOWN; what is asked from then on waits
 *       for CONNECTED or the session's end, so whoever asks again does not do it in a circle.
 *   S7  Ephemeral nodes go with their session: at close at once, otherwise after its timeout.
 *   S8  A request above STORE_REQUEST_BYTES_MAX is refused here (ZooKeeper would drop the
 *       connection, and with it everything in flight).
 */
#pragma once

#include "io/shard.h"

#define STORE_REQUEST_BYTES_MAX 900000U
#define STORE_PATH_MAX          255U
#define STORE_OPS_MAX           1024U       /* of one multi */
#define STORE_ZOOKEEPER_ROOT    "/millrace" /* in ZooKeeper, when no path is given */

enum store_result {
    STORE_OK,
    STORE_NO_NODE,
    STORE_EXISTS,
    STORE_BAD_VERSION,
    STORE_NOT_EMPTY,
    STORE_TOO_BIG,
    STORE_UNKNOWN, /* S5 */
    STORE_EXPIRED,
    STORE_CLOSED, /* the store failed or is being closed: nothing happened */
};
const char *store_result_name(enum store_result result);

struct store_stat {
    uint64_t czxid; /* of its creation: a bounced ephemeral has a new one */
    uint64_t mzxid; /* of its last change */
    uint64_t owner; /* session of an ephemeral node, 0: persistent */
    int32_t version;
    int32_t cversion;
    uint32_t child_count;
};

enum store_op_kind { STORE_CREATE, STORE_SET, STORE_DELETE, STORE_CHECK };

struct store_op {
    enum store_op_kind kind;
    bool ephemeral;  /* STORE_CREATE */
    int32_t version; /* the node's, for the others; -1: any */
    const char *path;
    const void *data; /* STORE_CREATE, STORE_SET */
    uint32_t len;
};

enum store_event_kind {
    STORE_CONNECTED, /* requests may be made; also after SUSPENDED */
    STORE_SUSPENDED,
    STORE_SESSION_EXPIRED, /* final: close, open, read everything again */
    STORE_FAILED,          /* final; `sentence` says why */
    STORE_NODE_CREATED,
    STORE_NODE_DELETED,
    STORE_NODE_CHANGED,
    STORE_NODE_CHILDREN,
};

struct store_event {
    enum store_event_kind kind;
    const char *path;     /* of a node's event */
    const char *sentence; /* STORE_FAILED */
};

/* bad_op: of a failed multi. stats: [count], those of STORE_SET are filled; NULL when it failed. */
typedef void store_multi_fn(void *user, enum store_result result, uint32_t bad_op,
                            const struct store_stat *stats);
/* data is NULL for exists; valid during the call. */
typedef void store_get_fn(void *user, enum store_result result, const void *data, uint32_t len,
                          const struct store_stat *stat);
/* names without path, sorted; valid during the call. */
typedef void store_children_fn(void *user, enum store_result result, const char *const *names,
                               uint32_t count, const struct store_stat *stat);

struct store;

struct store_ops {
    void (*multi)(struct store *store, const struct store_op *ops, uint32_t count,
                  store_multi_fn *done, void *user);
    void (*get)(struct store *store, const char *path, bool watch, store_get_fn *done, void *user);
    void (*exists)(struct store *store, const char *path, bool watch, store_get_fn *done,
                   void *user);
    void (*children)(struct store *store, const char *path, bool watch, store_children_fn *done,
                     void *user);
    void (*close)(struct store *store, void (*done)(void *user), void *user);
};

struct store {
    const struct store_ops *ops;
    uint64_t session; /* 0 before the first STORE_CONNECTED */
};

struct store_sim;
struct store_options;

/* Opens a body that a program has linked; `where` is the URL after its scheme. */
typedef struct store *store_body_fn(struct shard *sh, const struct store_options *options,
                                    const char *where, char *sentence, size_t sentence_size);

struct store_options {
    const char *url;
    uint32_t session_timeout_ms;
    uint32_t connect_timeout_ms; /* to the first STORE_CONNECTED, else STORE_FAILED; 0: for ever */
    store_body_fn *zookeeper;    /* zookeeper: store_zookeeper_open, NULL: not in this program */
    uint8_t directory[16];       /* file: UUID of the log directory it belongs to */
    struct store_sim *sim;       /* sim: the world's store */
    void (*on_event)(void *user, const struct store_event *event);
    void *user;
};

/* Home: this shard. NULL and a sentence for a URL of no body; everything else is told by events,
 * the first of them STORE_CONNECTED or STORE_FAILED. */
struct store *store_open(struct shard *sh, const struct store_options *options, char *sentence,
                         size_t sentence_size);

/* All or nothing; operations and data are copied. */
static inline void store_multi(struct store *store, const struct store_op *ops, uint32_t count,
                               store_multi_fn *done, void *user)
{
    store->ops->multi(store, ops, count, done, user);
}

static inline void store_get(struct store *store, const char *path, bool watch, store_get_fn *done,
                             void *user)
{
    store->ops->get(store, path, watch, done, user);
}

/* A watch on a node that does not exist waits for its creation. (A get's waits only if it does.) */
static inline void store_exists(struct store *store, const char *path, bool watch,
                                store_get_fn *done, void *user)
{
    store->ops->exists(store, path, watch, done, user);
}

static inline void store_children(struct store *store, const char *path, bool watch,
                                  store_children_fn *done, void *user)
{
    store->ops->children(store, path, watch, done, user);
}

/* Later reads see all writes acknowledged anywhere before the call (S3). In ZooKeeper a sync is
 * not enough for that: a multi that only checks is a committed transaction. */
static inline void store_barrier(struct store *store, store_multi_fn *done, void *user)
{
    const struct store_op check = {.kind = STORE_CHECK, .version = -1, .path = "/"};
    store->ops->multi(store, &check, 1, done, user);
}

/* Ends the session. Requests in flight are answered before done(). */
static inline void store_close(struct store *store, void (*done)(void *user), void *user)
{
    store->ops->close(store, done, user);
}

/* ---- a store of a node of its own, while no broker runs ---- */

struct store_tree;
struct log_error;

/* Makes DIR/store with this tree, durably. Blocks. */
bool store_file_write(struct fs *fs, const char *directory, const uint8_t uuid[16], uint64_t nonce,
                      const struct store_tree *tree, struct log_error *error) warn_unused;

/* What DIR/store holds, into an empty tree. Blocks. */
bool store_file_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                     struct store_tree *tree, struct log_error *error) warn_unused;

/* ---- the bodies: for store.c ---- */

struct store *store_file_open(struct shard *sh, const struct store_options *options,
                              const char *directory);
