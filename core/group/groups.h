/* SPDX-License-Identifier: Apache-2.0
 *
 * The group coordinator of a shard: the groups whose partition of __consumer_offsets is led here.
 *
 * A request about a group goes by mail to the home shard of that partition and comes back by the
 * same mail, now or, while members wait for each other, much later. What it finds there is one of
 * four: no such partition (NOT_COORDINATOR), one that is being read back (COORDINATOR_LOAD_IN_
 * PROGRESS), one whose reading failed (COORDINATOR_NOT_AVAILABLE), or a coordinator that serves
 * (G3). Reading begins when an image brings the partition, and nothing of it is known before it
 * ends.
 *
 * Memory follows the log: what is acknowledged is durable, and an offset can be read once it is
 * (core/group/group_write.h). Groups are made by those who join or commit, and forgotten when
 * nothing is known of them; what they may remember, all together, is a part of the plan.
 */
#pragma once

#include "core/group/consumer_group.h"
#include "core/group/group_store.h"

struct groups;

struct groups *groups_new(struct broker_shard *bs);
void groups_free(struct groups *groups);

/* ---- following the images (core/partition/partition.c), on the partition's home shard ---- */

/* The partition is led here: its groups are read back. */
void groups_partition_led(struct groups *groups, struct partition *pt);
/* It is no longer, or goes away: who waits is answered NOT_COORDINATOR. */
void groups_partition_gone(struct groups *groups, const struct partition_key *key);
/* Topics came or went, or have more partitions than before: consumer groups look at theirs again.
 */
void groups_topics_changed(struct groups *groups);
/* A topic was deleted: what was committed for it goes. */
void groups_topic_gone(struct groups *groups, const struct topic_image *topic);
/* The broker stops: nobody waits any more, and nobody will. */
void groups_drain(struct groups *groups);
/* After the drain, when no shard has a request any more: done() when nothing is under way. */
void groups_stop(struct groups *groups, void (*done)(void *user), void *user);

/* ---- one request about one group ---- */

struct group_call;

typedef void group_call_fn(struct groups *groups, struct group_call *call);
typedef void group_call_done(struct group_call *call);

/* In the request's arena, which is lent with it: run() may take memory from it. */
struct group_call {
    struct str group_id;
    struct arena *arena;
    group_call_fn *run;    /* on the home shard of the group, which is not loading */
    group_call_done *done; /* on the shard that sent it; may run inside the call */
    void *user;

    enum err error; /* out; set before run() when it was not run */

    /* private */
    struct mail mail;
    struct broker_shard *from;
    int32_t partition;
    uint16_t home;
};

void group_call_start(struct broker_shard *from, struct group_call *call);
/* The same in two parts, for who brings the call there: where to (call->home; false: nobody knows),
 * and, on that shard, the rest; done() on that shard, too. */
bool group_call_place(const struct broker_shard *from, struct group_call *call);
void group_call_run(struct broker_shard *home, struct group_call *call);
/* On the home shard, once, in run() or later: the call goes back. */
void group_call_end(struct group_call *call, enum err error);

/* ---- on the home shard ---- */

/* A group and what it has committed. It is of one kind, and may become one of the other when it has
 * no members. */
struct group_entry {
    struct str id;
    struct group *group;             /* of the classic protocol; NULL: it is not */
    struct consumer_group *consumer; /* of KIP-848's; NULL: it is not */
    struct group_offsets offsets;

    /* private */
    struct groups *groups;
    struct group_slot *slot;
    struct timer timer;
    uint32_t holds; /* it stays as long as somebody has it */
    bool stored;    /* the log has a record of the group */
    bool hidden;    /* not found any more */
    bool ending;    /* being taken back: served no more */
    size_t bytes;   /* as they are accounted */
    uint64_t kinds; /* how often it has changed its kind */
    TAILQ_HEAD(, group_write) writes;
    struct group_removal *removal; /* waits until nothing is being written */
    uint64_t sent;                 /* changes of a consumer group on their way, counted, */
    uint64_t durable;              /* and how many have come there */
    TAILQ_HEAD(, group_wait) waits;
    TAILQ_ENTRY(group_entry) link;
    UT_hash_handle hh;
};

/* NULL: nothing is known of it. */
struct group_entry *groups_find(const struct groups *groups, struct str id);
/* They remember as much as the plan allows, so the group `id` has to wait: said in the log. */
bool groups_are_full(const struct groups *groups, struct str id);
/* NULL: they are full, or its partition is not here. */
struct group_entry *groups_get(struct groups *groups, struct str id);
/* The same for requests of one protocol: made if need be, or made one of it when it has no members.
 * Else the error is set. */
struct group_entry *groups_get_classic(struct groups *groups, struct str id, enum err *error);
/* It becomes one of consumers only for a member that it takes in: else the heartbeat has the
 * message. */
struct group_entry *groups_get_consumer(struct groups *groups, struct str id,
                                        struct consumer_heartbeat *hb, enum err *error);
/* NULL also when it is of the other kind. */
struct group_entry *groups_find_classic(const struct groups *groups, struct str id);
struct group_entry *groups_find_consumer(const struct groups *groups, struct str id);

/* Of either kind: it is on its way out; it has no members, and expects none; somebody of it reads
 * the topic. */
bool group_entry_is_dead(const struct group_entry *entry);
bool group_entry_is_empty(const struct group_entry *entry);
bool group_entry_reads(const struct group_entry *entry, struct str topic);

/* What a call waits for: that everything a consumer group has changed so far is durable. */
struct group_wait {
    struct group_call *call;
    /* private */
    uint64_t ticket;
    TAILQ_ENTRY(group_wait) link;
};
/* Writes what has changed; ends the call then, or with an error if the log does not take it. */
void groups_answer_when_durable(struct group_entry *entry, struct group_wait *wait);

/* It stays as long as somebody has it; the release settles it, too. */
void groups_hold(struct group_entry *entry);
void groups_release(struct group_entry *entry);
/* After anything was done with it: writes what has changed, sets its timer, or forgets it when
 * nothing is left to know. */
void groups_settle(struct group_entry *entry);
uint32_t groups_count(const struct groups *groups);
/* Partitions that are being read back: what is walked is not all. */
bool groups_are_loading(const struct groups *groups);

/* A walk over all groups of this shard in order of their making, in as many turns as it takes.
 * Those that come meanwhile are at the end. */
struct group_walk {
    struct group_entry *at; /* held */
};
/* NULL: that was the last, and the walk is over. */
struct group_entry *group_walk_next(struct groups *groups, struct group_walk *walk);
void group_walk_end(struct group_walk *walk);
