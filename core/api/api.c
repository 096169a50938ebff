/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of what is served, and the upcalls by which connections reach it. Versions are not
 * here: the schema (net/kafka.wire) says which are served, this file says by whom.
 */
#include "core/api/api.h"
#include "core/partition/partition_offline.h"

#include "core/api/fetch.h"
#include "core/broker_address.h"
#include "core/quota.h"
#include "io/diag.h"

#include <string.h>

struct api_entry {
    api_handler *handle;
    enum request_family family;
    bool pipelined; /* the next request of the same key need not wait for the answer */
    bool bulky;     /* its answer may be large, and is not by reference */
    bool exempt;    /* of brokers alone: no quota counts its time */
    bool early;     /* nothing is lost by an answer before its time */
    /* its peer has said all, or its memory is wanted: answer with what there is */
    void (*hurry)(struct request *q);
    void (*cancel)(struct request *q); /* its connection ends: answer soon */
};

static const struct api_entry api_entries[] = {
    [KEY_PRODUCE] = {.handle = api_produce, .family = FAMILY_PRODUCE, .pipelined = true},
    [KEY_FETCH] = {.handle = api_fetch,
                   .family = FAMILY_FETCH,
                   .early = true,
                   .hurry = fetch_hurry,
                   .cancel = fetch_cancel},
    [KEY_LIST_OFFSETS] = {.handle = api_list_offsets},
    [KEY_METADATA] = {.handle = api_metadata, .bulky = true},
    [KEY_FIND_COORDINATOR] = {.handle = api_find_coordinator},
    [KEY_OFFSET_COMMIT] = {.handle = api_offset_commit},
    [KEY_OFFSET_FETCH] = {.handle = api_offset_fetch, .bulky = true},
    [KEY_JOIN_GROUP] = {.handle = api_join_group,
                        .bulky = true,
                        .hurry = api_group_cancel,
                        .cancel = api_group_cancel},
    [KEY_HEARTBEAT] = {.handle = api_heartbeat},
    [KEY_LEAVE_GROUP] = {.handle = api_leave_group},
    [KEY_SYNC_GROUP] = {.handle = api_sync_group,
                        .hurry = api_group_cancel,
                        .cancel = api_group_cancel},
    [KEY_CONSUMER_GROUP_HEARTBEAT] = {.handle = api_consumer_group_heartbeat},
    [KEY_CONSUMER_GROUP_DESCRIBE] = {.handle = api_consumer_group_describe, .bulky = true},
    [KEY_DESCRIBE_GROUPS] = {.handle = api_describe_groups, .bulky = true},
    [KEY_LIST_GROUPS] = {.handle = api_list_groups, .bulky = true},
    [KEY_DELETE_GROUPS] = {.handle = api_delete_groups},
    [KEY_OFFSET_DELETE] = {.handle = api_offset_delete},
    [KEY_API_VERSIONS] = {.handle = api_api_versions},
    [KEY_CREATE_TOPICS] = {.handle = api_create_topics, .bulky = true},
    [KEY_DELETE_TOPICS] = {.handle = api_delete_topics},
    [KEY_DELETE_RECORDS] = {.handle = api_delete_records},
    [KEY_INIT_PRODUCER_ID] = {.handle = api_init_producer_id},
    [KEY_OFFSET_FOR_LEADER_EPOCH] = {.handle = api_offset_for_leader_epoch},
    [KEY_DESCRIBE_CONFIGS] = {.handle = api_describe_configs, .bulky = true},
    [KEY_ALTER_CONFIGS] = {.handle = api_alter_configs},
    [KEY_DESCRIBE_LOG_DIRS] = {.handle = api_describe_log_dirs, .bulky = true},
    [KEY_CREATE_PARTITIONS] = {.handle = api_create_partitions},
    [KEY_INCREMENTAL_ALTER_CONFIGS] = {.handle = api_incremental_alter_configs},
    [KEY_DESCRIBE_CLUSTER] = {.handle = api_describe_cluster},
    [KEY_DESCRIBE_PRODUCERS] = {.handle = api_describe_producers, .bulky = true},
    [KEY_ELECT_LEADERS] = {.handle = api_elect_leaders},
    [KEY_ALTER_PARTITION_REASSIGNMENTS] = {.handle = api_alter_partition_reassignments},
    [KEY_LIST_PARTITION_REASSIGNMENTS] = {.handle = api_list_partition_reassignments,
                                          .bulky = true},
    [KEY_DESCRIBE_CLIENT_QUOTAS] = {.handle = api_describe_client_quotas, .bulky = true},
    [KEY_ALTER_CLIENT_QUOTAS] = {.handle = api_alter_client_quotas},
    [KEY_UPDATE_FEATURES] = {.handle = api_update_features},
    [KEY_ALTER_PARTITION] = {.handle = api_alter_partition, .exempt = true},
    [KEY_CONTROLLED_SHUTDOWN] = {.handle = api_controlled_shutdown, .exempt = true},
    [KEY_ALLOCATE_PRODUCER_IDS] = {.handle = api_allocate_producer_ids, .exempt = true},
    [KEY_DESCRIBE_TOPIC_PARTITIONS] = {.handle = api_describe_topic_partitions, .bulky = true},
};

static const struct api_entry *entry_of(const struct request *q)
{
    return &api_entries[q->header.request_api_key];
}

static bool has_handler(int16_t key)
{
    return key >= 0 && (size_t)key < array_count(api_entries) && api_entries[key].handle;
}

void api_check(void)
{
    for (size_t i = 0; i < kafka_apis_count; i++)
        must(has_handler(kafka_apis[i].key) == (kafka_apis[i].served_max >= 0));
}

static bool is_pipelined(int16_t key)
{
    return has_handler(key) && api_entries[key].pipelined;
}

static bool is_bulky(int16_t key)
{
    return has_handler(key) && api_entries[key].bulky;
}

static bool is_patient(int16_t key)
{
    return has_handler(key) && api_entries[key].hurry;
}

/* Any version of ApiVersions is answered (A1); of anything else only what is served (N6). */
static bool is_served(int16_t key, int16_t version)
{
    if (key == KEY_API_VERSIONS)
        return true;
    const struct kafka_api *api = kafka_api_find(key);
    return api && api->served_max >= 0 && version >= api->served_min && version <= api->served_max;
}

static void on_request(struct request *q)
{
    struct broker_shard *bs = api_shard(q);
    const char *name = kafka_api_find(q->header.request_api_key)->name;
    shard_step(bs->sh, name);
    diag_event(bs->sh, name, q->conn->id, q->id);
    q->untimed = entry_of(q)->exempt;
    q->family = entry_of(q)->family;
    bool timed = quota_time_begin(q);
    entry_of(q)->handle(bs, q);
    if (timed)
        quota_time_end(q);
}

static void on_end_of_input(struct conn *c)
{
    struct request *q;
    struct request *next;
    for (q = TAILQ_FIRST(&c->requests); q; q = next) {
        next = TAILQ_NEXT(q, link);
        if (request_is_running(q) && entry_of(q)->hurry)
            entry_of(q)->hurry(q);
    }
}

static bool on_hurry(struct request *q, bool hard)
{
    const struct api_entry *entry = entry_of(q);
    if (!entry->hurry || (!entry->early && !hard))
        return false;
    entry->hurry(q);
    return true;
}

static void on_close(struct conn *c)
{
    struct request *q;
    struct request *next;
    for (q = TAILQ_FIRST(&c->requests); q; q = next) {
        next = TAILQ_NEXT(q, link);
        if (request_is_running(q) && entry_of(q)->cancel)
            entry_of(q)->cancel(q);
    }
}

static void on_gone(struct conn *c)
{
    struct broker_shard *bs = broker_shard_of(c->net->sh);
    quota_connection_gone(c);
    listen_connection_gone(&bs->broker->listen, bs->sh, &c->peer);
}

const struct conn_service api_service = {
    .on_request = on_request,
    .on_resolve = fetch_resolve,
    .on_release = fetch_release,
    .on_end_of_input = on_end_of_input,
    .on_close = on_close,
    .on_gone = on_gone,
    .is_pipelined = is_pipelined,
    .is_bulky = is_bulky,
    .is_patient = is_patient,
    .on_hurry = on_hurry,
    .is_served = is_served,
};

void api_malformed(struct request *q)
{
    conn_close_after_answers(q->conn, CLOSE_MALFORMED);
    request_silent(q);
}

void *api_op_new(struct request *q, size_t size, struct rd *body)
{
    void *op = arena_alloc(&q->arena, size);
    rd_init(body, q->body);
    if (op)
        memset(op, 0, size);
    else
        api_malformed(q);
    return op;
}

/* ---- who may do what: everybody, until there is an authorizer ---- */

bool api_may(const struct request *q, enum api_operation operation, enum api_resource resource,
             struct str name)
{
    (void)q;
    (void)operation;
    (void)resource;
    (void)name;
    return true;
}

int32_t api_operations(const struct request *q, enum api_resource resource, struct str name)
{
    static const struct {
        enum api_resource resource;
        int32_t bits;
    } supported[] = {
        {RESOURCE_TOPIC, 1 << OPERATION_READ | 1 << OPERATION_WRITE | 1 << OPERATION_CREATE |
                             1 << OPERATION_DELETE | 1 << OPERATION_ALTER |
                             1 << OPERATION_DESCRIBE | 1 << OPERATION_DESCRIBE_CONFIGS |
                             1 << OPERATION_ALTER_CONFIGS},
        {RESOURCE_GROUP, 1 << OPERATION_READ | 1 << OPERATION_DELETE | 1 << OPERATION_DESCRIBE},
        {RESOURCE_CLUSTER, 1 << OPERATION_CREATE | 1 << OPERATION_ALTER | 1 << OPERATION_DESCRIBE |
                               1 << OPERATION_CLUSTER_ACTION | 1 << OPERATION_DESCRIBE_CONFIGS |
                               1 << OPERATION_ALTER_CONFIGS | 1 << OPERATION_IDEMPOTENT_WRITE},
    };
    int32_t allowed = 0;
    for (size_t i = 0; i < array_count(supported); i++) {
        if (supported[i].resource != resource)
            continue;
        for (int operation = OPERATION_READ; operation <= OPERATION_IDEMPOTENT_WRITE; operation++)
            if ((supported[i].bits & 1 << operation) &&
                api_may(q, (enum api_operation)operation, resource, name))
                allowed |= 1 << operation;
    }
    return allowed;
}

bool api_from_brokers(const struct request *q)
{
    const struct broker *broker = api_shard(q)->broker;
    const char *name = broker_listener_of_brokers(broker);
    return strcmp(broker->listeners.listener[q->conn->listener].name, name) == 0;
}

bool api_is_broker(const struct request *q, int32_t id, int64_t epoch)
{
    const struct broker_shard *bs = api_shard(q);
    const struct broker_image *broker = image_broker(bs->image, id);
    return api_from_brokers(q) && broker && broker->live && broker->epoch == epoch &&
           id != bs->broker->node_id;
}

/* Is there a replica here whose log cannot be used? */
static bool is_offline_here(const struct request *q, const struct topic_image *topic,
                            int32_t partition)
{
    const struct broker_shard *bs = api_shard(q);
    const struct partition_image *image = &topic->partitions[partition];
    const struct partition_key key = {.topic_id = topic->id, .partition = partition};
    return image_has_replica(image, bs->broker->node_id) &&
           partition_is_offline(bs->offline, image->home, &key);
}

int32_t api_leader_id(const struct request *q, const struct topic_image *topic, int32_t partition)
{
    const struct partition_image *image = &topic->partitions[partition];
    bool here = image->leader == api_shard(q)->broker->node_id;
    return here && is_offline_here(q, topic, partition) ? -1 : image->leader;
}

struct api_leader api_leader_of(struct request *q, const struct partition_key *key)
{
    struct api_leader leader = {.id = -1, .epoch = -1, .host = str_null(), .rack = str_null()};
    struct broker_shard *bs = api_shard(q);
    const struct topic_image *topic = image_topic_by_id(bs->image, &key->topic_id);
    const struct partition_image *partition = topic ? image_partition(topic, key->partition) : NULL;
    if (!partition)
        return leader;
    leader.id = api_leader_id(q, topic, key->partition);
    leader.epoch = partition->leader_epoch;
    const struct broker_image *broker = image_broker(bs->image, leader.id);
    const char *listener = bs->broker->listeners.listener[q->conn->listener].name;
    const struct broker_endpoint_image *endpoint = broker ? image_endpoint(broker, listener) : NULL;
    if (!endpoint)
        return leader;
    leader.host = str_of(arena_text(&q->arena, endpoint->host));
    leader.port = endpoint->port;
    leader.rack = broker->rack ? str_of(arena_text(&q->arena, broker->rack)) : str_null();
    leader.reachable = leader.host.len >= 0;
    return leader;
}

/* Those of `from` that live, or those that do not. False: no memory. */
static bool select_ids(struct request *q, const struct image *image, const int32_t *from,
                       uint32_t from_count, bool live, int32_t **ids, int32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < from_count; i++)
        *count += image_broker_is_live(image, from[i]) == live;
    *ids = no_const(from);
    if (*count == 0 || *count == (int32_t)from_count)
        return true;
    *ids = arena_array(&q->arena, (size_t)*count, sizeof(**ids));
    if (!*ids)
        return false;
    uint32_t at = 0;
    for (uint32_t i = 0; i < from_count; i++)
        if (image_broker_is_live(image, from[i]) == live)
            (*ids)[at++] = from[i];
    return true;
}

bool api_in_sync(struct request *q, const struct image *image,
                 const struct partition_image *partition, int32_t **ids, int32_t *count)
{
    return select_ids(q, image, partition->isr, partition->isr_count, true, ids, count);
}

bool api_offline(struct request *q, const struct image *image, const struct topic_image *topic,
                 int32_t partition, int32_t **ids, int32_t *count)
{
    const struct partition_image *in = &topic->partitions[partition];
    if (!select_ids(q, image, in->replicas, in->replica_count, false, ids, count))
        return false;
    if (!is_offline_here(q, topic, partition))
        return true;
    int32_t *more = arena_array(&q->arena, (size_t)*count + 1, sizeof(*more));
    if (!more)
        return false;
    for (int32_t i = 0; i < *count; i++)
        more[i] = (*ids)[i];
    more[(*count)++] = api_shard(q)->broker->node_id;
    *ids = more;
    return true;
}
