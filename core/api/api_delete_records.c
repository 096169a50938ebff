/* SPDX-License-Identifier: Apache-2.0
 *
 * DeleteRecords (C6): each partition's log start goes up on its home shard
 * (core/partition/partition_trim.c). On one node the low watermark is the log start.
 */
#include "core/api/api.h"
#include "core/api/api_ask.h"
#include "core/partition/partition_trim.h"

struct delete_records {
    struct api_ask ask;
    struct delete_records_request request;
    struct delete_records_response response;
};

struct delete_part {
    struct partition_trim trim;
    struct delete_records *op;
    struct delete_records_response_partition *out;
};

static void on_trimmed(struct partition_trim *trim)
{
    struct delete_part *part = container_of(trim, struct delete_part, trim);
    part->out->error_code = trim->error;
    part->out->low_watermark = trim->low_watermark;
    api_ask_ended(&part->op->ask);
}

static struct delete_records *op_of(const struct api_ask *ask)
{
    return container_of(no_const(ask), struct delete_records, ask);
}

static void ask_partition(struct api_ask *ask)
{
    struct delete_records *op = op_of(ask);
    struct request *q = ask->work.q;
    const struct topic_image *topic = ask->image;
    const struct delete_records_request_partition *in =
        &op->request.topics[ask->at.topic].partitions[ask->at.partition];
    struct delete_records_response_topic *topic_out = &op->response.topics[ask->at.topic];
    struct delete_records_response_partition *out =
        &topic_out->partitions[topic_out->partitions_count++];
    const struct partition_image *partition =
        topic ? image_partition(topic, in->partition_index) : NULL;
    init_delete_records_response_partition(out);
    out->partition_index = in->partition_index;
    out->low_watermark = -1;
    if (!partition) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (!api_may(q, OPERATION_DELETE, RESOURCE_TOPIC, str_of(topic->name))) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    struct delete_part *part = arena_alloc(&q->arena, sizeof(*part));
    if (!part) {
        out->error_code = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    part->op = op;
    part->out = out;
    part->trim = (struct partition_trim){
        .key = {.topic_id = topic->id, .partition = in->partition_index},
        .home = partition->home,
        .offset = in->offset,
        .done = on_trimmed,
    };
    api_ask_begun(ask);
    partition_trim(api_shard(q), &part->trim);
}

static int32_t partition_count(const struct api_ask *ask)
{
    return op_of(ask)->request.topics[ask->at.topic].partitions_count;
}

static bool begin_topic(struct api_ask *ask)
{
    struct delete_records *op = op_of(ask);
    const struct delete_records_request_topic *in = &op->request.topics[ask->at.topic];
    struct delete_records_response_topic *out = &op->response.topics[op->response.topics_count++];
    ask->image = image_topic_by_name(ask->work.image, in->name.data, (size_t)in->name.len);
    init_delete_records_response_topic(out);
    out->name = in->name;
    out->partitions =
        arena_array(&ask->work.q->arena, (size_t)in->partitions_count, sizeof(*out->partitions));
    return out->partitions != NULL;
}

static const struct api_ask_kind delete_records_kind = {
    .answer = KAFKA_DELETE_RECORDS_RESPONSE,
    .partition_count = partition_count,
    .topic = begin_topic,
    .partition = ask_partition,
};

void api_delete_records(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct delete_records *op = api_ask_new(q, sizeof(*op));
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op ||
        !read_delete_records_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    init_delete_records_response(&op->response);
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    api_ask_go(&op->ask, &delete_records_kind, op->request.topics_count, &op->response,
               op->response.topics);
}
