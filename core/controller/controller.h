/* SPDX-License-Identifier: Apache-2.0
 *
 * The controller: the only writer of cluster metadata. Requests to change something come by mail
 * from any shard; the controller decides (controller_step: a pure function of the image and the
 * event), appends the records to the metadata log, builds the next image, waits until every shard
 * of this broker has applied it, and sends the results back. So a topic whose creation was answered
 * can be produced to at once, and a result that was answered survives power loss.
 *
 * One node is the same code over the file store with the controller on board. In a cluster every
 * broker has one, and exactly one of them is in office; the others follow what it writes, and
 * answer NOT_CONTROLLER.
 *
 * Requests are processed in order of arrival, one metadata batch may serve several of them. A
 * request is not atomic, each of its items is.
 * home: shard 0, the control shard.
 */
#pragma once

#include "core/metadata/image.h"
#include "core/metadata/metadata_record.h"
#include "core/metadata/store.h"
#include "io/arena.h"
#include "io/shard.h"
#include "net/wire.h"

struct broker_shard;
struct controller;
struct mutation_bucket;
struct store_sim;

enum control_kind {
    CONTROL_CREATE_TOPICS,
    CONTROL_DELETE_TOPICS,
    CONTROL_CREATE_PARTITIONS,
    CONTROL_ALTER_CONFIGS, /* replaces all overrides of a resource */
    CONTROL_INCREMENTAL_ALTER_CONFIGS,
    CONTROL_ALLOCATE_PRODUCER_IDS,
    CONTROL_ALTER_PARTITION,
    CONTROL_ELECT_LEADERS, /* the preferred ones, or any */
    CONTROL_DRAIN_BROKER,
    CONTROL_REASSIGN,        /* partitions to other brokers */
    CONTROL_ALTER_QUOTAS,    /* of clients */
    CONTROL_UPDATE_FEATURES, /* levels that all brokers agree to */
};

/* CONTROL_DRAIN_BROKER: a broker is about to stop. */
struct control_drain {
    int32_t id;
    int64_t epoch;      /* of its registration */
    uint32_t remaining; /* out: partitions that nobody else can lead */
};

/* Leader recovery states of an AlterPartition; Kafka has the first, which is 1. */
#define ALTER_PARTITION_RECOVERING 1
#define ALTER_PARTITION_LOST       2

/* CONTROL_ALTER_PARTITION: the leader of a partition wants another commit set (KIP-497). A request
 * is made once and may be sent several times: nothing in it changes. */
struct control_alter {
    struct uuid topic_id;
    int32_t partition;
    int32_t leader; /* who asks, under which broker epoch */
    int64_t broker_epoch;
    int32_t leader_epoch;
    int32_t partition_epoch; /* of the state that it would change */
    bool recovering; /* nothing but a new leader epoch is wanted: core/partition/partition_loss.h */
    bool lost;       /* who asks has lost its copy, whoever leads: it is to leave the set */
    uint32_t member_count;
    struct control_member {
        int32_t id;
        int64_t broker_epoch; /* under which it was found eligible; of new members (KIP-903) */
    } members[METADATA_REPLICAS_MAX];
};

struct control_config {
    struct str name;
    struct str value; /* null: as the kind says (reset to default, or not given) */
    int8_t operation; /* CONTROL_INCREMENTAL_ALTER_CONFIGS: 0 set 1 delete 2 append 3 subtract */
};

struct control_limit {
    struct str key;
    double value;
    bool remove;
};

struct control_assignment {
    int32_t partition; /* create partitions: ignored, the order of the array counts */
    const int32_t *broker_ids;
    int32_t broker_count;
};

/* One item of a request: a topic, or a configuration resource. Strings are views into the request's
 * frame or arena. */
struct control_item {
    /* in */
    struct str name;      /* topic or resource name; null with by_id */
    struct uuid topic_id; /* with by_id */
    bool by_id;
    int8_t resource_type;       /* configs: 2 topic, 4 broker */
    int32_t partition_count;    /* create topics: -1 default; create partitions: the new total */
    int16_t replication_factor; /* -1: default */
    int32_t partition;          /* elect leaders, reassign */
    bool unclean;               /* elect leaders: any replica, for a partition without a leader */
    const int32_t *replicas;    /* reassign */
    int32_t replica_count;      /* -1: take the move back */
    bool same_replica_count;    /* it may not become another one */
    const struct control_assignment *assignments;
    int32_t assignment_count; /* create partitions: -1, the controller chooses */
    const struct control_config *configs;
    int32_t config_count;
    const struct quota_entity *quota; /* alter quotas: whose */
    const struct control_limit *limits;
    int32_t limit_count;
    int16_t level;       /* update features: of the one of that name */
    int8_t upgrade_type; /* Kafka's: 1 upgrade, 2 safe downgrade, 3 unsafe downgrade */

    /* out; an item whose error is set beforehand (by the request\'s own checks) is left alone */
    int16_t error;          /* Kafka's code; 0 */
    const char *message;    /* a sentence in op->arena, or NULL */
    struct uuid created_id; /* of the topic created, deleted, extended or configured */
    const char *found_name; /* with by_id: the topic's name, in op->arena; NULL when unknown */
    int32_t created_partitions;
    int16_t created_replication_factor;
};

/* Owned by the sender (a request's arena), lent to the control shard until done(). */
struct control_op {
    enum control_kind kind;
    struct arena *arena; /* for messages: only the control shard uses it while the op is away */
    struct control_item *items;
    int32_t item_count;
    bool validate_only;
    bool not_passed_on;                  /* another broker asks: it wants this one's decision */
    bool from_auto_create;               /* a topic that exists already is no error then */
    void (*done)(struct control_op *op); /* on the sender's shard */
    void *user;

    const struct control_alter *alter; /* CONTROL_ALTER_PARTITION: in */
    struct control_drain *drain;       /* CONTROL_DRAIN_BROKER: in and out */

    /* The quota on partitions that are created and deleted: core/controller/controller_quota.h */
    double mutation_rate; /* a second; 0: there is none for who asks */
    struct str mutator;   /* who counts together with others of this text */
    bool strict;          /* items are refused while it is used up */
    uint32_t throttle_ms; /* out */

    /* CONTROL_ALLOCATE_PRODUCER_IDS: out */
    int64_t producer_id_first;
    int32_t producer_id_count;
    int16_t error; /* of the whole op: NOT_CONTROLLER, or the store failed */

    /* private */
    struct mail mail;
    STAILQ_ENTRY(control_op) link;
    int32_t next_item;
    struct mutation_bucket *bucket; /* while it is being decided */
    uint64_t batch;                 /* answered when every shard has applied it */
};

/* Of one cluster today, of one broker when there are several. Each partition costs memory on its
 * shard and a directory on disk. */
#define CONTROL_PARTITIONS_MAX 100000U
/* Replicas created by one item: its records are one atomic batch. */
#define CONTROL_REPLICAS_PER_ITEM_MAX 50000U
#define CONTROL_PRODUCER_IDS          1000 /* in a block, as in Kafka */

/* What every request to the controller begins with; `arena` is the request's. */
void control_op_init(struct control_op *op, enum control_kind kind, struct arena *arena,
                     void (*done)(struct control_op *op));
/* Zeroed items in the op's arena; false when its limit would be passed. */
bool control_op_items(struct control_op *op, int32_t count) warn_unused;
/* The same for who fills each of them as a whole: they hold anything. */
bool control_op_room(struct control_op *op, int32_t count) warn_unused;
/* What the whole operation met counts for items that nothing else happened to. */
static inline int16_t control_item_error(const struct control_op *op,
                                         const struct control_item *item)
{
    return item->error ? item->error : op->error;
}

/* From any shard of this broker. When another broker is the controller, it is asked
 * (core/controller/controller_link.h), or the op ends with NOT_CONTROLLER. */
void controller_submit(struct broker_shard *from, struct control_op *op);
/* The same for what another broker asks: it is not passed on. */
void controller_submit_here(struct broker_shard *from, struct control_op *op);
/* On the control shard: the op goes back to who sent it. */
void control_op_answer(struct shard *here, struct control_op *op);

/* ---- life, on the control shard, when every shard of this broker has begun ---- */

struct controller_options {
    const char *store_url; /* core/metadata/store.h; outlives the controller */
    uint32_t session_timeout_ms;
    uint32_t connect_timeout_ms;  /* at the start; 0: for ever */
    store_body_fn *zookeeper;     /* for zookeeper: */
    struct store_sim *sim;        /* the world's store, for sim: */
    void (*on_ready)(void *user); /* the first image is applied on every shard */
    void (*on_failed)(void *user, const char *sentence);
    void *user;
};

/* Opens the store, reads the metadata log, checks that it knows this log directory, registers this
 * broker, takes office or stands by, and publishes the first image that this broker is in. */
struct controller *controller_start(struct broker_shard *bs,
                                    const struct controller_options *options);
/* Nothing can be changed at the moment. */
bool controller_store_is_away(const struct controller *controller);
/* The broker stops, and answers what it was asked first: a change that waits for a store that is
 * away is answered NOT_CONTROLLER; it may happen all the same. */
void controller_drain(struct controller *controller);
/* What is being written ends, unless the store is away; then done(user), and the controller is
 * gone. */
void controller_stop(struct controller *controller, void (*done)(void *user), void *user);
