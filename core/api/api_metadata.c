/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata: which topics there are, and who leads their partitions; a topic that is asked for and
 * does not exist may be made on the way (M3).
 */
#include "core/api/api.h"
#include "core/controller/controller.h"
#include "core/topic_name.h"
#include "io/mem.h"

#include <string.h>

#define METADATA_NULL_MEANS_ALL 1    /* before: an empty list does (M1) */
#define METADATA_AUTO_CREATE    4    /* before: always allowed */
#define METADATA_TOPIC_ID       10   /* in the request */
#define METADATA_BY_ID          12   /* and usable */
#define METADATA_ITEMS          64U  /* per step: topics and partitions */
#define AUTO_CREATES_MAX        256U /* of a shard, on their way: the rest is asked for again */

static const struct uuid no_id;

/* In the request's arena. */
struct metadata {
    struct api_work work;
    struct metadata_request request;
    struct metadata_response response;
    bool all;
    bool refused; /* as a whole */
    bool by_id;   /* some have an id: then names are passed over, as Kafka does */
    bool failed;
    uint32_t next; /* topic, of the image or of the request */
    uint32_t count;
    const struct topic_image *topic; /* whose partitions are being told, NULL: of none */
    uint32_t partition;              /* the next one of it */
};

static bool id_given(const struct uuid *id)
{
    return memcmp(id->bytes, no_id.bytes, sizeof(no_id.bytes)) != 0;
}

/* ---- a topic that is made because it was asked for ---- */

struct auto_create {
    struct broker_shard *bs;
    struct control_op op;
    struct control_item item;
    struct arena arena;
    char name[TOPIC_NAME_LEN_MAX];
};

static void on_created(struct control_op *op)
{
    struct auto_create *ac = container_of(op, struct auto_create, op);
    ac->bs->auto_creates--;
    arena_fini(&ac->arena);
    mem_free(ac);
}

void api_auto_create(struct broker_shard *bs, struct str name)
{
    if (bs->auto_creates == AUTO_CREATES_MAX)
        return; /* one request may name a million */
    bs->auto_creates++;
    struct auto_create *ac = mem_zalloc(sizeof(*ac));
    ac->bs = bs;
    memcpy(ac->name, name.data, (size_t)name.len);
    arena_init(&ac->arena, 1U << 16);
    ac->item = (struct control_item){
        .name = {ac->name, name.len}, .partition_count = -1, .replication_factor = -1};
    ac->op = (struct control_op){.kind = CONTROL_CREATE_TOPICS,
                                 .arena = &ac->arena,
                                 .items = &ac->item,
                                 .item_count = 1,
                                 .from_auto_create = true,
                                 .done = on_created};
    controller_submit(bs, &ac->op);
}

static enum err missing_topic(struct broker_shard *bs, struct request *q,
                              const struct metadata_request *request, struct str name)
{
    if (topic_name_problem(name))
        return ERR_INVALID_TOPIC_EXCEPTION;
    bool allowed =
        q->header.request_api_version < METADATA_AUTO_CREATE || request->allow_auto_topic_creation;
    if (!allowed || !bs->broker->conf->broker.auto_create_topics_enable)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!api_may(q, OPERATION_CREATE, RESOURCE_TOPIC, name))
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    api_auto_create(bs, name);
    return ERR_LEADER_NOT_AVAILABLE; /* ask again */
}

/* ---- what is known ---- */

static bool partition_fill(struct metadata *m, const struct partition_image *in, int32_t index,
                           struct metadata_response_partition *out)
{
    const int32_t leader = api_leader_id(m->work.q, m->topic, index);
    *out = (struct metadata_response_partition){
        .error_code = leader < 0 ? ERR_LEADER_NOT_AVAILABLE : ERR_NONE,
        .partition_index = index,
        .leader_id = leader,
        .leader_epoch = in->leader_epoch,
        .replica_nodes = no_const(in->replicas),
        .replica_nodes_count = in->replica_count,
    };
    return api_in_sync(m->work.q, m->work.image, in, &out->isr_nodes, &out->isr_nodes_count) &&
           api_offline(m->work.q, m->work.image, m->topic, index, &out->offline_replicas,
                       &out->offline_replicas_count);
}

static bool topic_begin(struct metadata *m, const struct topic_image *in,
                        struct metadata_response_topic *out)
{
    struct request *q = m->work.q;
    init_metadata_response_topic(out);
    out->name = (struct str){in->name, in->name_len};
    out->topic_id = in->id;
    out->is_internal = in->internal;
    out->partitions = arena_array(&q->arena, in->partition_count, sizeof(*out->partitions));
    if (!out->partitions)
        return false;
    if (m->request.include_topic_authorized_operations)
        out->topic_authorized_operations = api_operations(q, RESOURCE_TOPIC, out->name);
    m->topic = in->partition_count > 0 ? in : NULL;
    m->partition = 0;
    return true;
}

static bool next_of_all(struct metadata *m)
{
    const struct topic_image *topic = m->work.image->topics[m->next++];
    struct str name = {topic->name, topic->name_len};
    if (!api_may(m->work.q, OPERATION_DESCRIBE, RESOURCE_TOPIC, name))
        return true;
    return topic_begin(m, topic, &m->response.topics[m->response.topics_count++]);
}

static bool one_topic(struct metadata *m, const struct metadata_request_topic *in,
                      struct metadata_response_topic *out)
{
    struct request *q = m->work.q;
    const struct image *image = m->work.image;
    bool by_id = id_given(&in->topic_id);
    const struct topic_image *topic =
        by_id ? image_topic_by_id(image, &in->topic_id)
              : image_topic_by_name(image, in->name.data, (size_t)in->name.len);
    struct str name = topic ? (struct str){topic->name, topic->name_len} : in->name;
    if (topic && api_may(q, OPERATION_DESCRIBE, RESOURCE_TOPIC, name))
        return topic_begin(m, topic, out);
    init_metadata_response_topic(out);
    out->name = by_id ? str_null() : in->name;
    out->topic_id = in->topic_id;
    if (by_id)
        out->error_code = topic ? ERR_TOPIC_AUTHORIZATION_FAILED : ERR_UNKNOWN_TOPIC_ID;
    else if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_TOPIC, in->name))
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
    else
        out->error_code = (int16_t)missing_topic(api_shard(q), q, &m->request, in->name);
    if (m->request.include_topic_authorized_operations && !by_id &&
        out->error_code != ERR_TOPIC_AUTHORIZATION_FAILED)
        out->topic_authorized_operations = api_operations(q, RESOURCE_TOPIC, in->name);
    return true;
}

/* A name or an id, and an id only from the version on that may ask by it (M4). */
static bool topic_asked_well(const struct metadata_request_topic *topic, int16_t version)
{
    if (version >= METADATA_BY_ID)
        return topic->name.len >= 0 || id_given(&topic->topic_id);
    return topic->name.len >= 0 && !(version >= METADATA_TOPIC_ID && id_given(&topic->topic_id));
}

static void look_at_topics(struct metadata *m)
{
    const int16_t version = m->work.q->header.request_api_version;
    for (int32_t i = 0; i < m->request.topics_count; i++) {
        m->refused |= !topic_asked_well(&m->request.topics[i], version);
        m->by_id |= id_given(&m->request.topics[i].topic_id);
    }
}

static bool next_of_some(struct metadata *m)
{
    const struct metadata_request_topic *in = &m->request.topics[m->next++];
    if (!m->refused && m->by_id && !id_given(&in->topic_id))
        return true;
    struct metadata_response_topic *out = &m->response.topics[m->response.topics_count++];
    if (!m->refused)
        return one_topic(m, in, out);
    init_metadata_response_topic(out);
    out->name = in->name.len >= 0 ? in->name : str_of("");
    out->topic_id = in->topic_id;
    out->error_code = ERR_INVALID_REQUEST;
    return true;
}

static bool next_partition(struct metadata *m)
{
    struct metadata_response_topic *out = &m->response.topics[m->response.topics_count - 1];
    bool filled = partition_fill(m, &m->topic->partitions[m->partition], (int32_t)m->partition,
                                 &out->partitions[out->partitions_count++]);
    if (++m->partition == m->topic->partition_count)
        m->topic = NULL;
    return filled;
}

static bool fill_some(struct api_work *work)
{
    struct metadata *m = container_of(work, struct metadata, work);
    for (unsigned i = 0; i < METADATA_ITEMS; i++) {
        if (!m->topic && m->next == m->count)
            return false;
        if (m->topic)
            m->failed = !next_partition(m);
        else
            m->failed = !(m->all ? next_of_all(m) : next_of_some(m));
        if (m->failed)
            return false;
    }
    return true;
}

static void on_filled(struct api_work *work)
{
    struct metadata *m = container_of(work, struct metadata, work);
    if (m->failed)
        api_malformed(work->q);
    else
        api_work_answer(work, KAFKA_METADATA_RESPONSE, &m->response);
}

static bool brokers_fill(struct broker_shard *bs, struct request *q,
                         struct metadata_response *response)
{
    const struct image *image = bs->image;
    const char *listener = bs->broker->listeners.listener[q->conn->listener].name;
    response->brokers = arena_array(&q->arena, image->broker_count, sizeof(*response->brokers));
    if (!response->brokers)
        return false;
    for (uint32_t i = 0; i < image->broker_count; i++) {
        const struct broker_endpoint_image *endpoint = image_endpoint(&image->brokers[i], listener);
        if (endpoint && image->brokers[i].live)
            response->brokers[response->brokers_count++] =
                (struct metadata_response_broker){.node_id = image->brokers[i].id,
                                                  .host = str_of(endpoint->host),
                                                  .port = endpoint->port,
                                                  .rack = str_of(image->brokers[i].rack)};
    }
    response->cluster_id = str_of(image->cluster_id);
    response->controller_id = image->controller_id;
    return true;
}

void api_metadata(struct broker_shard *bs, struct request *q)
{
    const int16_t version = q->header.request_api_version;
    struct rd rd;
    struct metadata *m = api_op_new(q, sizeof(*m), &rd);
    if (!m)
        return;
    api_work_init(&m->work, q);
    init_metadata_response(&m->response);
    if (!read_metadata_request(&rd, &q->arena, version, &m->request)) {
        api_malformed(q);
        return;
    }
    look_at_topics(m);
    m->all = version >= METADATA_NULL_MEANS_ALL ? m->request.topics_count < 0
                                                : m->request.topics_count == 0;
    m->count = m->all ? bs->image->topic_count : (uint32_t)m->request.topics_count;
    m->response.topics = arena_array(&q->arena, m->count, sizeof(*m->response.topics));
    if (!m->response.topics || (!m->refused && !brokers_fill(bs, q, &m->response))) {
        api_malformed(q);
        return;
    }
    if (!m->refused && m->request.include_cluster_authorized_operations)
        m->response.cluster_authorized_operations =
            api_operations(q, RESOURCE_CLUSTER, str_of("kafka-cluster"));
    api_work_go(&m->work, fill_some, on_filled);
}
