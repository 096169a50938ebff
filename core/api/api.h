/* SPDX-License-Identifier: Apache-2.0
 *
 * From a request to its handler: which keys are served (the schema says: net/kafka.wire), who
 * handles them, and what every handler shares. Decode, decide, encode are three places in each
 * core/api_<area>.c.
 *
 * A handler is called on the connection's shard when the request may start. It ends, now or later,
 * in request_answer(), request_silent(), or api_malformed().
 */
#pragma once

#include "core/api/api_work.h"
#include "core/broker.h"
#include "net/conn.h"
#include "net/kafka.h"

typedef void api_handler(struct broker_shard *bs, struct request *q);

/* The upcalls of net/conn.h. */
extern const struct conn_service api_service;

/* Every served key has a handler and every handler is served; called once at start. */
void api_check(void);

/* The body could not be read: the connection is closed and counted (N7). Ends the request. */
void api_malformed(struct request *q);
/* A handler's operation, all zeros, in the request's arena, and a reader of the request's body.
 * NULL: there is no memory for it, and the request has ended. */
void *api_op_new(struct request *q, size_t size, struct rd *body);

static inline struct broker_shard *api_shard(const struct request *q)
{
    return broker_shard_of(q->conn->net->sh);
}

/* Kafka's authorization operations (AclOperation) and resources, as handlers name them. */
enum api_operation {
    OPERATION_READ = 3,
    OPERATION_WRITE = 4,
    OPERATION_CREATE = 5,
    OPERATION_DELETE = 6,
    OPERATION_ALTER = 7,
    OPERATION_DESCRIBE = 8,
    OPERATION_CLUSTER_ACTION = 9,
    OPERATION_DESCRIBE_CONFIGS = 10,
    OPERATION_ALTER_CONFIGS = 11,
    OPERATION_IDEMPOTENT_WRITE = 12,
};

enum api_resource {
    RESOURCE_TOPIC = 2,
    RESOURCE_GROUP = 3,
    RESOURCE_CLUSTER = 4,
    RESOURCE_TRANSACTIONAL_ID = 5,
};

/* Asked before anything is revealed or done. Without an authorizer everybody may. */
bool api_may(const struct request *q, enum api_operation operation, enum api_resource resource,
             struct str name);
/* Bits (1 << operation) of what the principal may do to such a resource (M7). */
int32_t api_operations(const struct request *q, enum api_resource resource, struct str name);

/* Did the request come in where brokers talk among themselves? */
bool api_from_brokers(const struct request *q);
/* And is it of a broker of this cluster, under the epoch of its registration (KIP-903)? */
bool api_is_broker(const struct request *q, int32_t id, int64_t epoch);

/* Are there consumer groups of KIP-848 here? */
bool api_has_consumer_groups(const struct broker_shard *bs);

/* "/192.0.2.7", as Java prints an address: what members of groups are shown with. */
struct str api_client_host(struct request *q);

/* Where the leader of a partition is reached by clients of the request's listener: hints with
 * NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951). Texts are in the request's arena. */
struct api_leader {
    int32_t id; /* -1: none is known */
    int32_t epoch;
    bool reachable; /* host and port are valid */
    struct str host;
    int32_t port;
    struct str rack;
};
struct api_leader api_leader_of(struct request *q, const struct partition_key *key);

/* Who is told to be in sync (Kafka's ISR): the members of the commit set that live. The set itself
 * may keep dead ones, so that it stays as large as min.insync.replicas. *ids are the image's or the
 * arena's. False: no memory. */
bool api_in_sync(struct request *q, const struct image *image,
                 const struct partition_image *partition, int32_t **ids, int32_t *count);

/* Likewise its replicas on brokers that do not live, and this broker's if it cannot use its log. */
bool api_offline(struct request *q, const struct image *image, const struct topic_image *topic,
                 int32_t partition, int32_t **ids, int32_t *count);
/* Who is told to lead it; -1: nobody, or this broker, which cannot use its log. */
int32_t api_leader_id(const struct request *q, const struct topic_image *topic, int32_t partition);

/* Asks the controller to make a topic with the broker's defaults, and forgets about it: the client
 * will ask again (Metadata, FindCoordinator). `name` is valid. */
void api_auto_create(struct broker_shard *bs, struct str name);

/* Handlers: core/api_<area>.c */
api_handler api_produce, api_init_producer_id;
api_handler api_fetch, api_list_offsets, api_offset_for_leader_epoch;
api_handler api_api_versions, api_metadata, api_describe_cluster, api_describe_topic_partitions;
api_handler api_describe_producers, api_elect_leaders;
api_handler api_alter_partition_reassignments, api_list_partition_reassignments;
api_handler api_find_coordinator;
api_handler api_join_group, api_sync_group, api_heartbeat, api_leave_group;
api_handler api_offset_commit, api_offset_fetch, api_offset_delete;
api_handler api_consumer_group_heartbeat, api_consumer_group_describe;
api_handler api_describe_groups, api_list_groups, api_delete_groups;
/* Its connection ends: a JoinGroup or SyncGroup that waits for other members is called back. */
void api_group_cancel(struct request *q);
api_handler api_alter_partition, api_allocate_producer_ids, api_controlled_shutdown;
api_handler api_create_topics, api_delete_topics, api_create_partitions, api_delete_records;
api_handler api_describe_log_dirs;
api_handler api_describe_configs, api_alter_configs, api_incremental_alter_configs;
api_handler api_describe_client_quotas, api_alter_client_quotas;
api_handler api_update_features;
