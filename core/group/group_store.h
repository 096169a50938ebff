/* SPDX-License-Identifier: Apache-2.0
 *
 * A partition of __consumer_offsets as the coordinator of its groups uses it: records go in as
 * batches, each of them whole or not at all, and are acknowledged when they are durable; and once,
 * before the coordinator serves, everything is read back. home: the partition's shard.
 *
 * The partition is an ordinary one. Appends take the way of every produced batch
 * (core/partition/partition_append.c), so groups share the journal's flushes with everybody else.
 */
#pragma once

#include "core/broker.h"
#include "core/group/group_record.h"
#include "core/record/batch_builder.h"

/* ---- writing ---- */

struct group_append;

typedef void group_append_done(struct group_append *append);

/* One batch on its way. Freed after done(). */
struct group_append {
    group_append_done *done;
    void *user;
    enum err error; /* Kafka's, as the partition gave it */
    int64_t offset; /* of the first record; -1 with an error */

    /* private */
    struct group_store *store;
    struct partition_append append;
    struct mail mail;
    struct piece piece;
    bool starting; /* the call that sent it has not returned */
    uint8_t bytes[];
};

struct group_store {
    struct broker_shard *bs;
    struct partition_key key;
    uint32_t appends; /* on their way */

    /* private */
    struct batch_builder builder;
};

void group_store_init(struct group_store *store, struct broker_shard *bs,
                      const struct partition_key *key);
/* No append is on its way. */
void group_store_fini(struct group_store *store);

/* A batch: begin, add what it consists of, append. done() follows in a later call, in the order of
 * the appends. */
void group_store_begin(struct group_store *store);
void group_store_add(struct group_store *store, const struct group_record_bytes *record);
/* What was added is larger than the log takes in one batch. */
bool group_store_is_full(const struct group_store *store);
void group_store_append(struct group_store *store, group_append_done *done, void *user);

/* What a client is told when its offsets, or its group, could not be stored (O3). */
enum err group_store_offset_error(enum err error);
enum err group_store_group_error(enum err error);

/* ---- reading back ---- */

/* In place, not moved while it runs. */
struct group_load {
    /* in */
    /* NULL, or why it is skipped. */
    const char *(*on_record)(struct group_load *load, const struct group_record *record);
    void (*done)(struct group_load *load);
    void *user;

    /* out */
    enum err error; /* ERR_NONE: everything was read, but for what was skipped */
    uint64_t records;
    uint64_t skipped; /* records that could not be read; each has a warning */

    /* private */
    struct partition *pt;
    struct log_find find;
    struct log_pin pin;
    struct log_check check;
    struct task task;
    struct inflater inflater;
    struct arena arena;
    uint8_t *bytes; /* of the range that is read */
    uint32_t have;  /* of it, in memory */
    uint32_t at;    /* of it, done with */
    int64_t next;   /* offset to be read */
    int64_t upto;
    bool cancelled;
};

/* Reads the partition from its start to where it is durable now; goes on in later turns. done()
 * never runs inside the call. */
void group_load_start(struct group_load *load, struct partition *pt);
/* Soon done() follows, with NOT_COORDINATOR. */
void group_load_cancel(struct group_load *load);
