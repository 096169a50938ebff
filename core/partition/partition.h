/* SPDX-License-Identifier: Apache-2.0
 *
 * A partition on this broker: leadership, the high watermark, who waits for it, and the line of
 * appends in front of its log. home: the shard named by the image; everything here runs there.
 * Requests come by mail from the shard of their connection and go back by the same mail.
 *
 * Appends keep their order of arrival: one at a time is being checked (a compressed batch is
 * inflated as a stream in slices that yield, or by io_work() when it is large), the next starts
 * when the one before it is in the log, and each is answered when it is durable, in offset order.
 *
 * Rules of visibility: readers see offsets below the high watermark. For a partition of one replica
 * that is what its log has acknowledged (durable, unless the topic wants less), else the least
 * durable offset over the commit set (core/partition/partition_replicas.h). LSO = min(high
 * watermark, first offset of an open transaction).
 *
 * Roles: an image may make a partition leader or follower. A role begins when nothing of the one
 * before is on its way into the log (core/partition/partition_role.c): an append of a former
 * leader, or of the follower of one, would otherwise come behind the place where the new epoch
 * began.
 */
#pragma once

#include "core/log/log.h"
#include "core/metadata/image.h"
#include "core/replica/replica_throttle.h"
#include "net/err.h"

struct broker_shard;
struct partition;
struct partition_follow;
struct partition_replicas;

struct partition_key {
    struct uuid topic_id;
    int32_t partition;
};

/* Partitions whose home is this shard, by key. */
struct partition_table {
    struct partition **slots;
    uint32_t size; /* power of two */
    uint32_t count;
};

struct partition *partition_find(const struct partition_table *table,
                                 const struct partition_key *key);

/* Why this shard has no such partition: it lies on other brokers (NOT_LEADER_OR_FOLLOWER), in a
 * directory that is offline (KAFKA_STORAGE_ERROR), or nobody has it (UNKNOWN_TOPIC_OR_PARTITION).
 */
enum err partition_absence(const struct broker_shard *bs, const struct partition_key *key);

/* Wakes its owner once when the high watermark (or LSO, with `committed_only`) passes `offset`, or
 * when leadership, log start or the partition itself changes (F2). One-shot; embedded in a fetch.
 */
struct partition_watch {
    void (*on_wake)(struct partition_watch *watch);
    int64_t offset; /* wake when readers may see beyond it */
    bool committed_only;
    bool replica;      /* a follower: it sees what is durable */
    int64_t watermark; /* and has been told of this high watermark; INT64_MAX: it need not be */
    uint64_t change;   /* pt->change when its owner looked */
    /* private */
    TAILQ_ENTRY(partition_watch) link;
    struct partition *pt; /* NULL: not watching */
};

TAILQ_HEAD(partition_append_queue, partition_append);
TAILQ_HEAD(partition_watch_queue, partition_watch);
TAILQ_HEAD(partition_line, partition);

struct partition {
    struct broker_shard *bs;
    struct partition_key key;
    struct log *log;
    bool leading;   /* it serves as the leader of leader_epoch */
    int32_t leader; /* a broker's id, by the newest image; -1: none */
    int32_t leader_epoch;
    int64_t high_watermark;
    struct partition_replicas *replicas; /* leading with others, else NULL */
    struct partition_follow *follow;     /* fetching from the leader, else NULL */
    struct partition_loss *loss;         /* asking for a new leader epoch, else NULL */
    int32_t loss_epoch;                  /* in which the log was found to have lost; -1: none */
    struct topic_conf conf; /* copied from the image, so that appends look nowhere else */
    bool internal;
    bool coordinates;              /* groups: it is of __consumer_offsets */
    bool throttled[REPLICA_SIDES]; /* its topic names it (core/replica/replica_throttle.h) */
    bool is_uncleanable; /* compaction has met damage, or a batch that it has no room for */
    uint64_t change;     /* of its role or directory, the last one: its number on this shard */

    /* private */
    bool watermark_was_known;                 /* when it was looked at last */
    bool role_begins;                         /* as soon as there are no writes */
    uint32_t writes;                          /* of its role, on their way into the log */
    struct partition_append_queue committing; /* durable, not below the high watermark */
    struct partition_append_queue appends;    /* arrived, not yet in the log */
    struct partition_watch_queue watches;
    struct task step;
    struct partition_check *check; /* of the first append, when it does not end at once */
    TAILQ_ENTRY(partition) recode_link;
    bool recode_waits; /* the first append, for its turn to be compressed: in bs->recode_line */
    uint32_t pins;     /* of its log; a deleted log is freed when the last is back */
    bool closing;
    bool deleted;
    struct log_change deletion;
};

/* A reader's pins keep the log's memory: count them. */
void partition_pinned(struct partition *pt);
void partition_unpinned(struct partition *pt);

/* Nothing is known of the high watermark of a leader until it has passed what the log held when the
 * epoch began: a former leader may have committed more than we have heard of. */
bool partition_watermark_known(const struct partition *pt);

/* Where the epoch `asked` ends, as its leader tells it (L5): false: undefined, both are -1. A
 * leader knows of its own epoch before there is a record of it. */
bool partition_epoch_end(const struct partition *pt, int32_t asked, int32_t *epoch,
                         int64_t *end_offset);

/* A reader whose last record below `offset` is of the epoch `last` (-1: does not say): does our
 * history agree? False: they part where *epoch, the newest that both may have, ends; both are -1
 * where nobody can tell. */
bool partition_agrees(const struct partition *pt, int32_t last, int64_t offset, int32_t *epoch,
                      int64_t *end_offset);

/* Its log start went up: those who wait below it are woken. */
void partition_start_moved(struct partition *pt);

void partition_watch_add(struct partition *pt, struct partition_watch *watch);
/* Has what it waits for come before it was added? Then nothing may wake it. */
bool partition_watch_is_late(const struct partition_watch *watch);
void partition_watch_remove(struct partition_watch *watch); /* also when it is not watching */

static inline int64_t partition_last_stable_offset(const struct partition *pt)
{
    int64_t open = pt->log->first_unstable_offset;
    return open >= 0 && open < pt->high_watermark ? open : pt->high_watermark;
}

/* May a reader with this leader epoch (-1: does not say) be served here? NONE,
 * NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH (F8). */
enum err partition_check_leader(const struct partition *pt, int32_t current_leader_epoch);
/* The same of a reader that may also be served by a follower (KIP-392). */
enum err partition_check_reader(const struct partition *pt, int32_t current_leader_epoch);

/* What its acknowledgements promise (millrace.durability), as far as it is not the disk's. */
enum log_durability partition_durability(const struct topic_image *topic,
                                         const struct partition_image *image);

/* ---- appending, from any shard ---- */

/* One partition's part of a Produce request. Owned by the request (its arena), lent to the home
 * shard by mail until done() runs on the shard that sent it. */
struct partition_append {
    /* in; set before partition_append() */
    struct partition_key key;
    uint16_t home;
    struct span records; /* one batch; stays until done() */
    int16_t acks;
    int32_t timeout_ms;                        /* acks=all: for the others to follow */
    bool zstd_allowed;                         /* the request's version is new enough */
    bool internal_allowed;                     /* may write to internal topics (P11) */
    void (*done)(struct partition_append *op); /* on the sender's shard; may run inside the call */
    void *user;

    /* out */
    int16_t error;       /* Kafka's code */
    const char *message; /* a constant sentence, or NULL */
    int64_t base_offset;
    int64_t log_append_time_ms; /* -1: CreateTime */
    int64_t log_start_offset;   /* -1: unknown */
    int32_t leader_epoch;       /* ours, with an error about leadership */
    uint64_t appended_ns;       /* given to the log; 0: it was not */
    uint64_t durable_ns;        /* as safe as the log has promised */
    uint64_t committed_ns;      /* and then below the high watermark; 0: nobody waited for that */
    struct partition_refusal
        *refusal; /* what the check found, or NULL; the sender mem_free()s it */

    /* private */
    struct {
        struct mail mail;
        TAILQ_ENTRY(partition_append) link;
        struct broker_shard *from;
        struct partition *pt;
        struct log_append append;
        struct timer patience; /* while it waits for the high watermark */
        struct piece recoded;  /* the batch in the topic's codec, of priv.append; NULL: as sent */
    } priv;
};

/* Why a batch was refused, in words; made on the home shard, so not in the request's arena. */
struct partition_refusal {
    char text[192]; /* "": the error says it */
    uint32_t record_error_count;
    struct {
        int32_t batch_index;
        char text[128];
    } record_errors[];
};

/* On the sender's shard. Several calls in a row for one partition keep their order. */
void partition_append(struct broker_shard *from, struct partition_append *op);

/* ---- life, driven by images (on the home shard) ---- */

void partition_table_fini(struct partition_table *table);
/* fn(pt) for each partition of this shard; it may not close any. */
void partitions_each(struct broker_shard *bs, void (*fn)(struct partition *pt));

/* Opens, closes, deletes and reconfigures this shard's partitions so that they match `image`; then
 * applied(user). Opening is adopting a recovered log or making a new one. */
/* (installs it as bs->image) */
void partitions_apply(struct broker_shard *bs, const struct image *image,
                      void (*applied)(void *user), void *user);
/* A reader of bs->image that goes on in a later turn holds it: the shard does not say that it has
 * applied the next one before it is released. Returns what to release it by. */
uint32_t partitions_hold_image(struct broker_shard *bs);
void partitions_release_image(struct broker_shard *bs, uint32_t hold);
/* Every replica.lag.time.max.ms / 2 the followers of what is led here are looked at. */
void partitions_watch_lag(struct broker_shard *bs);
/* What waits for other brokers is answered now. */
void partitions_abandon_appends(struct broker_shard *bs);
/* The broker stops: nothing is led or followed from here on. */
void partitions_end_roles(struct broker_shard *bs);
/* Every append has ended and the logs are stopped; then done(user). */
void partitions_stop(struct broker_shard *bs, void (*done)(void *user), void *user);
