/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the coordinator know of each other and nobody else: core/group/groups.c (groups
 * and calls), core/group/groups_load.c (partitions), core/group/group_write.c,
 * core/group/group_sweep.c.
 */
#pragma once

#include "core/group/consumer_record.h"
#include "core/group/group_sweep.h"
#include "core/group/group_write.h"
#include "core/group/groups.h"

enum slot_state {
    SLOT_LOADING,
    SLOT_SERVING,
    SLOT_FAILED, /* what the log says is not known: nothing may be answered */
    SLOT_GONE    /* something of it is still under way */
};

/* A partition of __consumer_offsets that is led here. */
struct group_slot {
    struct groups *groups;
    struct group_store store;
    struct group_load load;
    enum slot_state state;
    bool reading;
    bool again; /* when it is gone, it is read back: what is remembered is not what the log says */
    int32_t partition;
    uint32_t entries; /* groups of it, hidden ones included */
    UT_hash_handle hh;
};

struct groups {
    struct broker_shard *bs;
    struct group_host host;
    struct consumer_host consumers;
    struct group_slot *slots;          /* map by partition: those that serve, or will */
    struct group_entry *map;           /* by group id: those that can be found */
    TAILQ_HEAD(, group_entry) entries; /* all there are */
    uint32_t loading;
    size_t bytes; /* of ids and offsets, of all groups */
    size_t bytes_max;
    struct arena arena; /* for records that are being written */
    struct group_sweep sweep;
    bool draining;
    void (*stopped)(void *user);
    void *stopped_user;
};

/* ---- core/group/groups.c ---- */

struct group_entry *group_entry_new(struct group_slot *slot, struct str id);
/* Offsets came or went. */
void group_entry_account(struct group_entry *entry);
/* The group begins anew, as one of that kind; its offsets stay. */
void group_entry_renew(struct group_entry *entry);
void group_entry_renew_consumer(struct group_entry *entry);
/* Or as this one. */
void group_entry_become(struct group_entry *entry, struct group *group,
                        struct consumer_group *consumer);
/* The partition is not ours any more. */
void group_entry_drop(struct group_entry *entry);
void groups_maybe_stopped(struct groups *groups);

/* ---- core/group/groups_consumer.c ---- */

void groups_consumer_init(struct groups *groups);
/* Writes what has changed. */
void group_entry_flush(struct group_entry *entry);
/* What records() gives, in as many batches as it takes; and what has been put into one. */
void group_entry_write(struct group_entry *entry, bool (*records)(struct consumer_writer *writer,
                                                                  const struct consumer_group *g));
void group_entry_append(struct group_entry *entry);
/* Who waits for no more than so many changes is told. */
void group_entry_end_waits(struct group_entry *entry, uint64_t upto, enum err error);

/* ---- core/group/groups_migrate.c ---- */

/* The consumer group becomes a classic one. False: it stays what it is, for now or for good. */
bool groups_downgrade(struct group_entry *entry) warn_unused;

/* ---- core/group/groups_load.c ---- */

/* What the partition's groups remember is not what the log says: they are forgotten and read back.
 */
void groups_slot_reload(struct group_slot *slot);

struct group_slot *groups_slot(const struct groups *groups, int32_t partition);
void groups_slot_maybe_free(struct group_slot *slot);
