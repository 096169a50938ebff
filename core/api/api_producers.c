/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeProducers: each partition's producers, from its home shard
 * (core/partition/partition_producers.c).
 */
#include "core/api/api.h"
#include "core/api/api_ask.h"
#include "core/partition/partition_producers.h"
#include "core/topic_name.h"
#include "io/mem.h"

struct describe_producers {
    struct api_ask ask;
    struct describe_producers_request request;
    struct describe_producers_response response;
};

struct producers_part {
    struct partition_producers ask;
    struct describe_producers *op;
    struct describe_producers_response_partition *out;
};

static void fill(struct producers_part *part)
{
    const struct partition_producers *ask = &part->ask;
    struct describe_producers_response_partition *out = part->out;
    out->error_code = ask->error;
    out->active_producers =
        arena_array(&part->op->ask.work.q->arena, ask->count, sizeof(*out->active_producers));
    if (!out->active_producers) {
        out->error_code = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    for (uint32_t i = 0; i < ask->count; i++) {
        const struct partition_producer *from = &ask->list[i];
        struct describe_producers_response_active_producer *to =
            &out->active_producers[out->active_producers_count++];
        init_describe_producers_response_active_producer(to);
        to->producer_id = from->id;
        to->producer_epoch = from->epoch;
        to->last_sequence = from->last_sequence;
        to->last_timestamp = from->last_timestamp;
        to->coordinator_epoch = from->coordinator_epoch;
        to->current_txn_start_offset = from->txn_first_offset;
    }
}

static void on_answered(struct partition_producers *ask)
{
    struct producers_part *part = container_of(ask, struct producers_part, ask);
    fill(part);
    mem_free(ask->list);
    api_ask_ended(&part->op->ask);
}

static struct describe_producers *op_of(const struct api_ask *ask)
{
    return container_of(no_const(ask), struct describe_producers, ask);
}

static void ask_partition(struct api_ask *ask)
{
    struct describe_producers *op = op_of(ask);
    struct request *q = ask->work.q;
    const struct topic_image *topic = ask->image;
    const struct describe_producers_request_topic *asked = &op->request.topics[ask->at.topic];
    const int32_t index = asked->partition_indexes[ask->at.partition];
    struct describe_producers_response_topic *topic_out = &op->response.topics[ask->at.topic];
    struct describe_producers_response_partition *out =
        &topic_out->partitions[topic_out->partitions_count++];
    const struct partition_image *partition = topic ? image_partition(topic, index) : NULL;
    init_describe_producers_response_partition(out);
    out->partition_index = index;
    if (topic && !api_may(q, OPERATION_READ, RESOURCE_TOPIC, str_of(topic->name))) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    if (!partition) {
        out->error_code = !topic && topic_name_problem(asked->name)
                              ? ERR_INVALID_TOPIC_EXCEPTION
                              : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    struct producers_part *part = arena_alloc(&q->arena, sizeof(*part));
    if (!part) {
        out->error_code = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    part->op = op;
    part->out = out;
    part->ask = (struct partition_producers){
        .key = {.topic_id = topic->id, .partition = index},
        .home = partition->home,
        .done = on_answered,
    };
    api_ask_begun(ask);
    partition_producers_ask(api_shard(q), &part->ask);
}

static int32_t partition_count(const struct api_ask *ask)
{
    return op_of(ask)->request.topics[ask->at.topic].partition_indexes_count;
}

static bool begin_topic(struct api_ask *ask)
{
    struct describe_producers *op = op_of(ask);
    const struct describe_producers_request_topic *in = &op->request.topics[ask->at.topic];
    struct describe_producers_response_topic *out =
        &op->response.topics[op->response.topics_count++];
    ask->image = image_topic_by_name(ask->work.image, in->name.data, (size_t)in->name.len);
    init_describe_producers_response_topic(out);
    out->name = in->name;
    out->partitions = arena_array(&ask->work.q->arena, (size_t)in->partition_indexes_count,
                                  sizeof(*out->partitions));
    return out->partitions != NULL;
}

static const struct api_ask_kind describe_producers_kind = {
    .answer = KAFKA_DESCRIBE_PRODUCERS_RESPONSE,
    .partition_count = partition_count,
    .topic = begin_topic,
    .partition = ask_partition,
};

void api_describe_producers(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct describe_producers *op = api_ask_new(q, sizeof(*op));
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_describe_producers_request(&rd, &q->arena, q->header.request_api_version,
                                                &op->request)) {
        api_malformed(q);
        return;
    }
    init_describe_producers_response(&op->response);
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    api_ask_go(&op->ask, &describe_producers_kind, op->request.topics_count, &op->response,
               op->response.topics);
}
