/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeProducers: each partition's producers, from its home shard
 * (core/partition_producers.c).
 */
#include "core/api/api.h"
#include "core/partition_producers.h"
#include "io/mem.h"

#include <string.h>

#define ASK_ITEMS 8U /* per step */

struct describe_producers {
    struct api_work work;
    struct request *q;
    struct describe_producers_request request;
    struct describe_producers_response response;
    int32_t waiting;
    struct api_cursor at;
    const struct topic_image *image; /* of the topic that it is at */
    bool failed;
};

struct producers_part {
    struct partition_producers ask;
    struct describe_producers *op;
    struct describe_producers_response_partition *out;
};

static void one_less(struct describe_producers *op)
{
    if (--op->waiting == 0)
        api_work_answer(&op->work, KAFKA_DESCRIBE_PRODUCERS_RESPONSE, &op->response);
}

static void fill(struct producers_part *part)
{
    const struct partition_producers *ask = &part->ask;
    struct describe_producers_response_partition *out = part->out;
    out->error_code = ask->error;
    out->active_producers =
        arena_array(&part->op->q->arena, ask->count, sizeof(*out->active_producers));
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
    one_less(part->op);
}

static void ask_partition(struct describe_producers *op, int32_t index,
                          struct describe_producers_response_partition *out)
{
    struct request *q = op->q;
    const struct topic_image *topic = op->image;
    const struct partition_image *partition = topic ? image_partition(topic, index) : NULL;
    init_describe_producers_response_partition(out);
    out->partition_index = index;
    if (topic && !api_may(q, OPERATION_READ, RESOURCE_TOPIC, str_of(topic->name))) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    if (!partition) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
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
    op->waiting++;
    partition_producers_ask(api_shard(q), &part->ask);
}

static void begin_topic(struct describe_producers *op)
{
    const struct describe_producers_request_topic *in = &op->request.topics[op->at.topic];
    struct describe_producers_response_topic *out =
        &op->response.topics[op->response.topics_count++];
    op->image = image_topic_by_name(op->work.image, in->name.data, (size_t)in->name.len);
    init_describe_producers_response_topic(out);
    out->name = in->name;
    out->partitions =
        arena_array(&op->q->arena, (size_t)in->partition_indexes_count, sizeof(*out->partitions));
    op->failed = !out->partitions;
}

/* False at the end. */
static bool ask_next(struct describe_producers *op)
{
    const struct api_cursor *at = &op->at;
    const struct describe_producers_request_topic *topics = op->request.topics;
    struct describe_producers_response_topic *out;
    switch (api_cursor_next(&op->at, op->request.topics_count,
                            at->begun ? topics[at->topic].partition_indexes_count : 0)) {
    case API_TOPIC:
        begin_topic(op);
        return !op->failed;
    case API_PARTITION:
        out = &op->response.topics[at->topic];
        ask_partition(op, topics[at->topic].partition_indexes[at->partition],
                      &out->partitions[out->partitions_count++]);
        return true;
    case API_END:
        break;
    }
    return false;
}

static bool ask_step(struct api_work *work)
{
    struct describe_producers *op = container_of(work, struct describe_producers, work);
    bool more = !op->failed;
    for (unsigned i = 0; more && i < ASK_ITEMS; i++)
        more = ask_next(op);
    return more;
}

static void on_asked(struct api_work *work)
{
    one_less(container_of(work, struct describe_producers, work));
}

void api_describe_producers(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct describe_producers *op = arena_alloc(&q->arena, sizeof(*op));
    if (!op) {
        api_malformed(q);
        return;
    }
    memset(op, 0, sizeof(*op));
    api_work_init(&op->work, q);
    op->q = q;
    op->waiting = 1;
    struct rd rd;
    rd_init(&rd, q->body);
    init_describe_producers_response(&op->response);
    if (!read_describe_producers_request(&rd, &q->arena, q->header.request_api_version,
                                         &op->request)) {
        api_malformed(q);
        return;
    }
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    op->failed = !op->response.topics;
    api_work_go(&op->work, ask_step, on_asked);
}
