/* SPDX-License-Identifier: Apache-2.0
 *
 * DeleteRecords (C6): each partition's log start goes up on its home shard
 * (core/partition_trim.c). On one node the low watermark is the log start.
 */
#include "core/api/api.h"
#include "core/partition_trim.h"

#include <string.h>

#define ASK_ITEMS 8U /* per step */

struct delete_records {
    struct api_work work;
    struct request *q;
    struct delete_records_request request;
    struct delete_records_response response;
    int32_t waiting;
    struct api_cursor at;
    const struct topic_image *image; /* of the topic that it is at */
    bool failed;
};

struct delete_part {
    struct partition_trim trim;
    struct delete_records *op;
    struct delete_records_response_partition *out;
};

static void one_less(struct delete_records *op)
{
    if (--op->waiting == 0)
        api_work_answer(&op->work, KAFKA_DELETE_RECORDS_RESPONSE, &op->response);
}

static void on_trimmed(struct partition_trim *trim)
{
    struct delete_part *part = container_of(trim, struct delete_part, trim);
    part->out->error_code = trim->error;
    part->out->low_watermark = trim->low_watermark;
    one_less(part->op);
}

static void ask_partition(struct delete_records *op,
                          const struct delete_records_request_partition *in,
                          struct delete_records_response_partition *out)
{
    struct request *q = op->q;
    const struct topic_image *topic = op->image;
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
    op->waiting++;
    partition_trim(api_shard(q), &part->trim);
}

static void begin_topic(struct delete_records *op)
{
    const struct delete_records_request_topic *in = &op->request.topics[op->at.topic];
    struct delete_records_response_topic *out = &op->response.topics[op->response.topics_count++];
    op->image = image_topic_by_name(op->work.image, in->name.data, (size_t)in->name.len);
    init_delete_records_response_topic(out);
    out->name = in->name;
    out->partitions =
        arena_array(&op->q->arena, (size_t)in->partitions_count, sizeof(*out->partitions));
    op->failed = !out->partitions;
}

/* False at the end. */
static bool ask_next(struct delete_records *op)
{
    const struct api_cursor *at = &op->at;
    const struct delete_records_request_topic *topics = op->request.topics;
    struct delete_records_response_topic *out;
    switch (api_cursor_next(&op->at, op->request.topics_count,
                            at->begun ? topics[at->topic].partitions_count : 0)) {
    case API_TOPIC:
        begin_topic(op);
        return !op->failed;
    case API_PARTITION:
        out = &op->response.topics[at->topic];
        ask_partition(op, &topics[at->topic].partitions[at->partition],
                      &out->partitions[out->partitions_count++]);
        return true;
    case API_END:
        break;
    }
    return false;
}

static bool ask_step(struct api_work *work)
{
    struct delete_records *op = container_of(work, struct delete_records, work);
    bool more = !op->failed;
    for (unsigned i = 0; more && i < ASK_ITEMS; i++)
        more = ask_next(op);
    return more;
}

static void on_asked(struct api_work *work)
{
    one_less(container_of(work, struct delete_records, work));
}

void api_delete_records(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct delete_records *op = arena_alloc(&q->arena, sizeof(*op));
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
    init_delete_records_response(&op->response);
    if (!read_delete_records_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    op->failed = !op->response.topics;
    api_work_go(&op->work, ask_step, on_asked);
}
