/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata log: one ordered sequence of batches of metadata records, kept in the store. The
 * controller appends, everybody reads; an image is a prefix of it.
 *
 *   /controller_epoch      its version is the fencing token: every append checks it
 *   /mlog/head             last batch, its hash, the newest snapshot; set by every append
 *   /mlog/e/%010u          batch k, created once
 *   /mlog/snap/%010u/%04u  the records of everything up to batch N, in chunks
 *
 * Append k is one multi: check the controller epoch, create the entry, set the head at its version.
 * So of two controllers at most one writes, and of two attempts at most one succeeds. When the
 * outcome is unknown the entry is read: with our nonce it happened; with another we are fenced; and
 * when it is absent the same bytes are sent again.
 *
 * Each batch carries the hash of the one before it. The hash covers the batch's random nonce, so
 * two histories never agree by accident: a store that has lost or forked what it acknowledged stops
 * the broker instead of serving another past.
 *
 * Readers wait with one exists-watch on the next entry. A controller in office does not watch: it
 * is the only writer. home: the control shard.
 */
#pragma once

#include "core/log/log_dir.h"
#include "core/metadata/metadata_record.h"
#include "core/metadata/store_tree.h"

#define METADATA_LOG_ROOT          "/mlog"
#define METADATA_SNAPSHOT_CHUNK    (256U << 10)
#define METADATA_SNAPSHOT_AFTER    (4U << 20) /* bytes of log since the last one, */
#define METADATA_SNAPSHOT_ENTRIES  4000U      /* or entries: a start reads one after another */
#define METADATA_BATCH_BYTES_MAX   (800U << 10)
#define METADATA_DELETES_PER_MULTI 1000U

struct metadata_batch {
    uint64_t number;
    bool snapshot;           /* everything up to this number: what was applied before is void */
    struct bytes_in records; /* metadata_record_decode() */
};

enum metadata_append_result {
    METADATA_APPENDED,
    METADATA_FENCED, /* another controller is in office; nothing was written by us */
    METADATA_FAILED, /* the store failed: the batch may be there or not */
};

struct metadata_log_options {
    struct shard *sh;
    struct store *store;
    struct metadata_mark known; /* batch that was followed in an earlier life; number 0: none */
    /* In order, none left out. False after filling in the sentence: the log stops. */
    bool (*on_batch)(void *user, const struct metadata_batch *batch, char *sentence, size_t size);
    void (*on_end)(void *user); /* no further batch is there by now; before done() of a read */
    void (*on_failed)(void *user, const char *sentence); /* once; it reads and writes no more */
    void *user;
};

struct metadata_log_head {
    uint64_t number; /* 0: empty */
    uint64_t hash;
    uint64_t snapshot; /* 0: none */
    uint64_t snapshot_hash;
    uint32_t snapshot_chunks;
};

struct metadata_log {
    struct metadata_log_options options;
    uint64_t number; /* the last batch that was read or appended */
    uint64_t bytes_since_snapshot;
    bool failed;

    /* private */
    uint64_t hash; /* of batch `number` */
    int32_t epoch; /* of the last batch; ours while in office */
    bool in_office;
    int32_t epoch_version; /* of /controller_epoch, while in office */
    struct metadata_log_head head;
    int32_t head_version;
    bool reading;
    bool head_is_fresh; /* read after the last entry that was found */
    bool missed;        /* the next entry was not there, and the head knew of it */
    bool tailing;       /* go on after the end, with a watch */
    bool again;         /* behind a barrier, when this reading ends */
    void (*read_done)(void *user);
    void *read_user;
    uint8_t *snapshot; /* chunks read so far */
    size_t snapshot_length;
    uint32_t snapshot_chunk;

    uint8_t *entry; /* being appended */
    size_t entry_length;
    uint64_t nonce;
    bool sent_again;
    bool refused;
    void (*append_done)(void *user, enum metadata_append_result result);
    void *append_user;

    struct metadata_records chunks; /* being written as a snapshot */
    size_t chunk_at;
    size_t chunk_next;
    uint32_t chunk_index;
    uint64_t cleaning; /* number of the snapshot being removed */
    void (*snapshot_done)(void *user);
    void *snapshot_user;
};

void metadata_log_init(struct metadata_log *log, const struct metadata_log_options *options);
/* How far it was followed. */
static inline struct metadata_mark metadata_log_mark(const struct metadata_log *log)
{
    return (struct metadata_mark){.number = log->number, .hash = log->hash};
}
void metadata_log_fini(struct metadata_log *log); /* nothing in flight, or the store is closed */

/* The nodes above, in a store that has none yet; part of the multi that makes them. Fills at most
 * METADATA_LOG_NODES operations; returns how many. */
#define METADATA_LOG_NODES 5U
uint32_t metadata_log_nodes(struct store_op ops[METADATA_LOG_NODES], uint8_t head[64]);

/* Batch `number`, of no controller, right behind what is there: for a store that no broker has seen
 * yet. */
enum store_result metadata_log_seed(struct store_tree *tree, uint64_t number, uint64_t nonce,
                                    const struct metadata_records *records) warn_unused;

/* Reads to the end, then done(user) once: after a barrier, so everything that was acknowledged
 * before the call has been read. With `tail` it goes on reading what is appended by others, until
 * metadata_log_enter(). A session that ends ends the reading, too, without a word: then
 * metadata_log_reopen(). */
void metadata_log_read(struct metadata_log *log, bool tail, void (*done)(void *user), void *user);
/* The store's event, from whoever owns its session. */
void metadata_log_on_event(struct metadata_log *log, const struct store_event *event);

/* This broker was elected: /controller_epoch has this value and version. Read to the end after it,
 * then append a NOOP: it fences what older controllers may still have under way. */
void metadata_log_enter(struct metadata_log *log, int32_t epoch, int32_t epoch_version);

/* Out of office, between appends and snapshots; read again to follow who is in. */
void metadata_log_leave(struct metadata_log *log);
/* Another session, when all of the last one has been answered: as after metadata_log_leave(). */
void metadata_log_reopen(struct metadata_log *log, struct store *store);

/* In office, one at a time. The records are copied; on_batch is not called for them. */
void metadata_log_append(struct metadata_log *log, const struct metadata_records *records,
                         void (*done)(void *user, enum metadata_append_result result), void *user);

/* In office, between appends: these records stand for everything up to log->number; older entries
 * and snapshots are removed. Takes the records. done() also when it did not succeed: the log is
 * then as good as before. */
void metadata_log_snapshot(struct metadata_log *log, struct metadata_records *take_records,
                           void (*done)(void *user), void *user);

/* ---- between metadata_log.c and metadata_snapshot.c ---- */

bool metadata_log_holds(struct metadata_log *log); /* false: it has failed */
void metadata_log_fail(struct metadata_log *log, const char *format, ...) printf_like(2, 3);
size_t metadata_log_put_head(const struct metadata_log_head *head, uint8_t to[64]);
bool metadata_log_take_head(const void *data, uint32_t len, struct metadata_log_head *head);
void metadata_snapshot_read(struct metadata_log *log); /* log->head names it */
void metadata_log_read_next(struct metadata_log *log);
void metadata_log_read_head(struct metadata_log *log);
