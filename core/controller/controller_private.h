/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the controller know of each other and nobody else:
 * core/controller/controller.c decides and makes decisions true,
 * core/controller/controller_office.c is how this broker comes to be in the cluster, and in or out
 * of office, core/controller/controller_members.c who else is there.
 */
#pragma once

#include "core/broker.h"
#include "core/controller/controller_features.h"
#include "core/controller/controller_quota.h"
#include "core/controller/controller_replicas.h"
#include "core/metadata/membership.h"
#include "core/metadata/metadata_log.h"

enum control_state { CONTROL_STARTING, CONTROL_SERVING, CONTROL_FAILED, CONTROL_STOPPING };

/* An image on its way to a shard and back. */
struct image_mail {
    struct mail mail;
    struct controller *controller;
    struct broker_shard *bs;
    const struct image *image;
};

STAILQ_HEAD(op_queue, control_op);

enum member_change_kind { MEMBER_GOES, MEMBER_IS_LOSSY, MEMBER_COMES };

/* One broker's coming or going, over as many batches as its partitions take. */
struct member_change {
    bool under_way;
    enum member_change_kind kind;
    int32_t id;                          /* of who is lossy */
    struct metadata_broker_up broker_up; /* its endpoints only in the first of them */
    struct metadata_broker_down broker_down;
    struct controller_pass pass;
};

/* core/controller/controller_mark.c */
struct controller_mark {
    struct io_op op;
    struct timer rest;
    bool busy;
    bool good;
    bool told;        /* that it is not */
    uint64_t written; /* to this batch */
    struct metadata_mark writing;
    struct log_dirs *dirs;
    struct log_error error;
};

struct controller {
    struct broker_shard *bs;
    struct shard *sh;
    struct controller_options options;
    enum control_state state;

    /* core/controller/controller_office.c */
    int16_t level; /* of METADATA_LEVEL, up to which this broker takes part */
    struct store *store;
    bool connected;
    bool suspended; /* and without a connection: what is written waits */
    bool reopening; /* a session has ended, and its store is being closed */
    bool electing;
    struct membership membership;
    struct metadata_log log;
    bool log_begun;
    bool following;        /* the log is read in this session */
    struct io_op identity; /* the log directory learns its cluster, off the shard */
    bool identity_busy;
    bool identity_good;
    struct log_error error;
    struct task no_store;
    struct image_edit *loading; /* while batches of others are read */
    bool in_office;
    bool leaving;     /* as soon as what is being written has ended */
    bool taking_over; /* in office, and the first batch is not written */
    bool leading_all; /* settings have changed: what has no leader may get one */
    struct controller_pass lead_all;
    struct timer balance_timer;
    bool balancing; /* leadership goes back to preferred replicas: some in the next batch */
    bool balanced;  /* the pass is over */
    struct controller_pass balance;

    struct controller_mark mark;

    /* core/controller/controller_members.c */
    struct member_change change;
    uint32_t recheck;               /* brokers whose end a former controller may not have come to */
    bool members_known;             /* and the image is to agree with them */
    struct controller_level lowest; /* of those that were registered when they were last listed */

    struct mutation_buckets buckets; /* of clients with a quota on what they ask here */
    struct op_queue queue;           /* not decided */
    struct op_queue deciding;        /* in the batch that is being appended */
    struct op_queue waiting;         /* durable, not yet applied by all shards */
    struct task work;
    uint64_t deciding_since_ns; /* this turn */
    struct controller_step step;
    bool appending;
    bool snapshotting;

    struct image *tip;
    struct image *published;
    struct image *retiring;
    struct image_mail *mails; /* [shard_count] */
    uint16_t applying;        /* shards that have not answered */
    uint64_t applied;         /* the last batch that every shard has applied */

    bool draining;
    bool closing;
    void (*stopped)(void *user);
    void *stopped_user;
};

/* ---- core/controller/controller.c ---- */

void controller_fail(struct controller *c, const char *format, ...) printf_like(2, 3);
/* What waits for a decision, or for its batch, hears this error. */
void controller_answer_undecided(struct controller *c, int16_t error);
/* After the store has gone away: who waits for a decision does not while the broker stops. */
void controller_let_go(struct controller *c);
void controller_set_tip(struct controller *c, struct image *image);
void controller_publish(struct controller *c);
void controller_try_to_end(struct controller *c);
void controller_mark(struct controller *c);       /* the log has gone on, maybe */
bool controller_mark_ended(struct controller *c); /* nothing is left to tell, and no one tells it */
/* A look at what has no leader, beside the next batch. */
void controller_lead_all_later(struct controller *c);
void controller_record(struct controller *c, const struct metadata_record *record);

/* ---- core/controller/controller_office.c ---- */

void controller_office_open(struct controller *c);
/* Some leaders go back to where they are preferred; the others later. */
void controller_balance_some(struct controller *c);
/* Out of office, unless something is being written: then when that has ended. */
void controller_resign(struct controller *c);
void controller_office_fini(struct controller *c);

/* ---- core/controller/controller_members.c ---- */

/* Is this broker, as it is registered now, in the image? */
bool controller_is_member(const struct controller *c, const struct image *image);
/* Asks the store who is registered; then it is decided about them. */
void controller_list_members(struct controller *c);
/* In office: what the first batch begins with, and who has come and gone. */
void controller_decide_members(struct controller *c);
