/* SPDX-License-Identifier: Apache-2.0
 *
 * Produce: each partition's batch goes to the shard that owns the partition; the answer is written
 * when the last of them is durable or refused. Partitions fail one by one (P5).
 */
#include "core/api/api.h"
#include "core/quota.h"
#include "io/mem.h"

#define PRODUCE_ZSTD_VERSION     7
#define PRODUCE_TOPIC_ID_VERSION 13
#define ADMIN_CLIENT_ID          "__admin_client"

/* In the request's arena. The appends are those that went to a partition; the response is filled
 * from the first look, and completed from them. */
struct produce {
    struct api_work work;
    struct request *q;
    struct produce_request request;
    struct produce_response response;
    struct produce_append *appends;
    int32_t append_count;
    int32_t topics_begun;
    int32_t appends_sent;
    int32_t waiting; /* appends under way, and one while they are being sent */
    bool failed;     /* some partition was refused */
};

struct produce_append {
    struct partition_append append;
    struct produce *produce;
    struct produce_response_partition *answer;
};

/* ---- encode ---- */

static void endpoint_add(struct produce_response *response, const struct api_leader *leader)
{
    for (int32_t i = 0; i < response->node_endpoints_count; i++)
        if (response->node_endpoints[i].node_id == leader->id)
            return;
    struct produce_response_node_endpoint *endpoint =
        &response->node_endpoints[response->node_endpoints_count++];
    *endpoint = (struct produce_response_node_endpoint){
        .node_id = leader->id, .host = leader->host, .port = leader->port, .rack = leader->rack};
}

static void leader_hint(struct produce *p, const struct partition_append *append,
                        struct produce_response_partition *answer)
{
    struct api_leader leader = api_leader_of(p->q, &append->key);
    answer->current_leader.leader_id = leader.id;
    answer->current_leader.leader_epoch = leader.epoch;
    struct produce_response *response = &p->response;
    if (leader.reachable && !response->node_endpoints)
        response->node_endpoints =
            arena_array(&p->q->arena, (size_t)p->append_count, sizeof(*response->node_endpoints));
    if (leader.reachable && response->node_endpoints)
        endpoint_add(response, &leader);
}

static void refusal_fill(struct produce *p, const struct partition_refusal *refusal,
                         struct produce_response_partition *answer)
{
    struct arena *arena = &p->q->arena;
    if (refusal->text[0])
        answer->error_message = str_of(arena_text(arena, refusal->text));
    uint32_t count = refusal->record_error_count;
    answer->record_errors = arena_array(arena, count, sizeof(*answer->record_errors));
    if (!answer->record_errors)
        return;
    for (uint32_t i = 0; i < count; i++) {
        answer->record_errors[i].batch_index = refusal->record_errors[i].batch_index;
        answer->record_errors[i].batch_index_error_message =
            str_of(arena_text(arena, refusal->record_errors[i].text));
    }
    answer->record_errors_count = (int32_t)count;
}

static void answer_fill(struct produce *p, const struct partition_append *append,
                        struct produce_response_partition *answer)
{
    answer->error_code = append->error;
    answer->base_offset = append->base_offset;
    answer->log_append_time_ms = append->log_append_time_ms;
    answer->log_start_offset = append->log_start_offset;
    if (append->error == ERR_NONE)
        return;
    answer->error_message = str_of(append->message);
    if (append->refusal)
        refusal_fill(p, append->refusal, answer);
    if (append->error == ERR_NOT_LEADER_OR_FOLLOWER)
        leader_hint(p, append, answer);
}

/* acks=0 is never answered; a failure shows as a closed connection (P2). */
static void produce_answer(struct produce *p)
{
    struct request *q = p->q;
    if (p->request.acks == 0) {
        if (p->failed)
            conn_close(q->conn, CLOSE_ACKS_ZERO);
        request_silent(q);
        return;
    }
    api_work_answer(&p->work, KAFKA_PRODUCE_RESPONSE, &p->response);
}

static void one_less(struct produce *p)
{
    must(p->waiting > 0);
    if (--p->waiting == 0)
        produce_answer(p);
}

/* Of several appends each counts for what it lasted longer than those before it. */
static void count_time(struct request *q, const struct partition_append *append)
{
    request_time_pass(&q->time, STEP_WORK, append->appended_ns);
    request_time_pass(&q->time, STEP_JOURNAL, append->durable_ns);
    request_time_pass(&q->time, STEP_REPLICATION, append->committed_ns);
}

static void on_appended(struct partition_append *append)
{
    struct produce_append *pa = container_of(append, struct produce_append, append);
    struct produce *p = pa->produce;
    count_time(p->q, append);
    if (append->error != ERR_NONE)
        p->failed = true;
    answer_fill(p, append, pa->answer);
    mem_free(append->refusal);
    one_less(p);
}

/* ---- decide ---- */

static void refuse(struct produce *p, struct produce_response_partition *answer, enum err error,
                   const char *message)
{
    answer->error_code = (int16_t)error;
    answer->base_offset = -1;
    answer->error_message = str_of(message);
    p->failed = true;
}

static const struct topic_image *topic_of(const struct image *image, int16_t version,
                                          const struct produce_request_topic *topic)
{
    if (version >= PRODUCE_TOPIC_ID_VERSION)
        return image_topic_by_id(image, &topic->topic_id);
    return image_topic_by_name(image, topic->name.data, (size_t)topic->name.len);
}

static bool client_is_admin(const struct request *q)
{
    return str_equal(q->header.client_id, str_of(ADMIN_CLIENT_ID));
}

/* True: it is for a partition, append is ready to be sent. */
static bool partition_begin(struct produce *p, const struct topic_image *topic,
                            const struct produce_request_partition *in,
                            struct produce_response_partition *answer, struct produce_append *pa)
{
    struct request *q = p->q;
    const struct partition_image *partition = image_partition(topic, in->index);
    if (!partition) {
        refuse(p, answer, ERR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
        return false;
    }
    pa->produce = p;
    pa->answer = answer;
    pa->append = (struct partition_append){
        .key = {.topic_id = topic->id, .partition = in->index},
        .home = partition->home,
        .records = in->records.span,
        .acks = p->request.acks,
        .timeout_ms = p->request.timeout_ms,
        .zstd_allowed = q->header.request_api_version >= PRODUCE_ZSTD_VERSION,
        .internal_allowed = client_is_admin(q),
        .done = on_appended,
    };
    return true;
}

static void topic_begin(struct produce *p, const struct produce_request_topic *in,
                        struct produce_response_topic *out)
{
    struct request *q = p->q;
    const int16_t version = q->header.request_api_version;
    const struct topic_image *topic = topic_of(p->work.image, version, in);
    out->name = in->name;
    out->topic_id = in->topic_id;
    out->partition_responses_count = in->partition_data_count;
    enum err missing =
        version >= PRODUCE_TOPIC_ID_VERSION ? ERR_UNKNOWN_TOPIC_ID : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    for (int32_t i = 0; i < in->partition_data_count; i++) {
        const struct produce_request_partition *partition = &in->partition_data[i];
        struct produce_response_partition *answer = &out->partition_responses[i];
        init_produce_response_partition(answer);
        answer->index = partition->index;
        if (p->request.transactional_id.len >= 0)
            refuse(p, answer, ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                   "transactions are not supported yet: remove transactional.id");
        else if (!topic)
            refuse(p, answer, missing, NULL);
        else if (!api_may(q, OPERATION_WRITE, RESOURCE_TOPIC, str_of(topic->name)))
            refuse(p, answer, ERR_TOPIC_AUTHORIZATION_FAILED, NULL);
        else if (partition_begin(p, topic, partition, answer, &p->appends[p->append_count]))
            p->append_count++;
    }
}

static bool response_alloc(struct produce *p)
{
    struct arena *arena = &p->q->arena;
    const struct produce_request *request = &p->request;
    int32_t partitions = 0;
    p->response.responses_count = request->topic_data_count;
    p->response.responses = arena_array(arena, (size_t)max_i64(request->topic_data_count, 0),
                                        sizeof(*p->response.responses));
    if (!p->response.responses)
        return false;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        int32_t count = (int32_t)max_i64(request->topic_data[i].partition_data_count, 0);
        struct produce_response_topic *topic = &p->response.responses[i];
        init_produce_response_topic(topic);
        topic->partition_responses =
            arena_array(arena, (size_t)count, sizeof(*topic->partition_responses));
        if (!topic->partition_responses)
            return false;
        partitions += count;
    }
    p->appends = arena_array(arena, (size_t)partitions, sizeof(*p->appends));
    return p->appends != NULL;
}

/* All topics first, then the appends in their order. */
static bool produce_step(struct api_work *work)
{
    struct produce *p = container_of(work, struct produce, work);
    if (p->topics_begun < p->request.topic_data_count) {
        topic_begin(p, &p->request.topic_data[p->topics_begun],
                    &p->response.responses[p->topics_begun]);
        p->topics_begun++;
        return true;
    }
    if (p->appends_sent == p->append_count)
        return false;
    p->waiting++;
    partition_append(api_shard(p->q), &p->appends[p->appends_sent++].append);
    return true;
}

static void produce_sent(struct api_work *work)
{
    one_less(container_of(work, struct produce, work));
}

void api_produce(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct produce *p = api_op_new(q, sizeof(*p), &rd);
    if (!p)
        return;
    api_work_init(&p->work, q);
    p->q = q;
    p->waiting = 1;
    init_produce_response(&p->response);
    if (!read_produce_request(&rd, &q->arena, q->header.request_api_version, &p->request) ||
        !response_alloc(p)) {
        api_malformed(q);
        return;
    }
    quota_spend(q, QUOTA_PRODUCE, q->frame_bytes);
    api_work_go(&p->work, produce_step, produce_sent);
}
