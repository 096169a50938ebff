/* SPDX-License-Identifier: Apache-2.0
 *
 * AlterPartitionReassignments and ListPartitionReassignments (KIP-455). Moves are decided by the
 * controller (core/controller/controller_reassign.h); which are under way every broker knows from
 * its image.
 */
#include "core/api/api.h"
#include "core/controller/controller.h"

#define ITEMS 64U /* per step */

static bool may(struct request *q, enum api_operation operation)
{
    return api_may(q, operation, RESOURCE_CLUSTER, str_of("kafka-cluster"));
}

/* ---- AlterPartitionReassignments ---- */

struct alter_moves {
    struct control_op control;
    struct request *q;
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_response response;
};

static bool response_alloc(struct alter_moves *op)
{
    struct arena *arena = &op->q->arena;
    const struct alter_partition_reassignments_request *request = &op->request;
    struct alter_partition_reassignments_response *response = &op->response;
    response->responses =
        arena_array(arena, (size_t)request->topics_count, sizeof(*response->responses));
    if (!response->responses)
        return false;
    for (int32_t i = 0; i < request->topics_count; i++) {
        struct alter_partition_reassignments_response_topic *out = &response->responses[i];
        init_alter_partition_reassignments_response_topic(out);
        out->name = request->topics[i].name;
        out->partitions = arena_array(arena, (size_t)request->topics[i].partitions_count,
                                      sizeof(*out->partitions));
        if (!out->partitions)
            return false;
        response->responses_count++;
    }
    return true;
}

static void on_altered(struct control_op *control)
{
    struct alter_moves *op = control->user;
    const struct control_item *item = control->items;
    struct alter_partition_reassignments_response *response = &op->response;
    if (control->error == ERR_NOT_CONTROLLER)
        response->error_code = ERR_NOT_CONTROLLER; /* whoever asks looks for another one */
    for (int32_t i = 0; i < response->responses_count; i++) {
        struct alter_partition_reassignments_response_topic *out = &response->responses[i];
        for (int32_t p = 0; p < op->request.topics[i].partitions_count; p++, item++)
            out->partitions[out->partitions_count++] =
                (struct alter_partition_reassignments_response_partition){
                    .partition_index = item->partition,
                    .error_code = control_item_error(control, item),
                    .error_message = str_of(item->message)};
    }
    api_answer(op->q, KAFKA_ALTER_PARTITION_REASSIGNMENTS_RESPONSE, response);
}

static bool items_fill(struct alter_moves *op)
{
    const struct alter_partition_reassignments_request *request = &op->request;
    int64_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        count += request->topics[i].partitions_count;
    if (count > INT32_MAX || !control_op_items(&op->control, (int32_t)count))
        return false;
    struct control_item *item = op->control.items;
    for (int32_t i = 0; i < request->topics_count; i++) {
        for (int32_t p = 0; p < request->topics[i].partitions_count; p++, item++) {
            const struct alter_partition_reassignments_request_partition *in =
                &request->topics[i].partitions[p];
            item->name = request->topics[i].name;
            item->partition = in->partition_index;
            item->replicas = in->replicas;
            item->replica_count = in->replicas_count;
            item->same_replica_count = !request->allow_replication_factor_change;
        }
    }
    return true;
}

void api_alter_partition_reassignments(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct alter_moves *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_alter_partition_reassignments_response(&op->response);
    control_op_init(&op->control, CONTROL_REASSIGN, &q->arena, on_altered);
    op->control.user = op;
    if (!read_alter_partition_reassignments_request(&rd, &q->arena, q->header.request_api_version,
                                                    &op->request) ||
        !response_alloc(op) || !items_fill(op)) {
        api_malformed(q);
        return;
    }
    op->response.allow_replication_factor_change = op->request.allow_replication_factor_change;
    if (!may(q, OPERATION_ALTER)) {
        op->response.responses_count = 0;
        op->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        api_answer(q, KAFKA_ALTER_PARTITION_REASSIGNMENTS_RESPONSE, &op->response);
        return;
    }
    controller_submit(bs, &op->control);
}

/* ---- ListPartitionReassignments ---- */

struct list_moves {
    struct api_work work;
    struct list_partition_reassignments_request request;
    struct list_partition_reassignments_response response;
    bool all; /* that are under way; else those of what is named */
    int32_t topic_count;
    struct api_cursor at;
    const struct topic_image *image; /* of the topic that it is at; NULL: there is none */
    struct list_partition_reassignments_response_topic *out;
    bool failed;
};

static int32_t partitions_of(const struct list_moves *op)
{
    if (!op->all)
        return op->request.topics[op->at.topic].partition_indexes_count;
    return (int32_t)op->image->partition_count;
}

static uint32_t moving_count(const struct topic_image *topic)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < topic->partition_count; i++)
        count += image_is_moving(&topic->partitions[i]);
    return count;
}

static void end_topic(struct list_moves *op)
{
    if (op->out && op->out->partitions_count > 0)
        op->response.topics_count++;
    op->out = NULL;
}

static void begin_topic(struct list_moves *op)
{
    end_topic(op);
    struct str name = op->all ? str_of(op->work.image->topics[op->at.topic]->name)
                              : op->request.topics[op->at.topic].name;
    op->image = image_topic_by_name(op->work.image, name.data, (size_t)name.len);
    op->out = &op->response.topics[op->response.topics_count];
    init_list_partition_reassignments_response_topic(op->out);
    op->out->name = name;
    size_t room = op->image ? (size_t)min_i64(moving_count(op->image), partitions_of(op)) : 0;
    op->out->partitions = arena_array(&op->work.q->arena, room, sizeof(*op->out->partitions));
    op->failed = !op->out->partitions;
}

static void add_move(struct list_moves *op, int32_t index)
{
    const struct partition_image *in = op->image ? image_partition(op->image, index) : NULL;
    if (!in || !image_is_moving(in))
        return;
    for (int32_t i = 0; !op->all && i < op->out->partitions_count; i++)
        if (op->out->partitions[i].partition_index == index)
            return; /* named twice, told once */
    int32_t *adding = arena_array(&op->work.q->arena, in->replica_count, sizeof(*adding));
    op->failed = !adding;
    if (op->failed)
        return;
    struct list_partition_reassignments_response_partition *out =
        &op->out->partitions[op->out->partitions_count++];
    init_list_partition_reassignments_response_partition(out);
    out->partition_index = index;
    out->replicas = no_const(in->replicas);
    out->replicas_count = in->replica_count;
    out->adding_replicas = adding;
    for (uint32_t i = 0; i < in->replica_count; i++)
        if (in->adding >> i & 1U)
            adding[out->adding_replicas_count++] = in->replicas[i];
    out->removing_replicas = no_const(in->replicas + in->replica_count - in->removing_count);
    out->removing_replicas_count = in->removing_count;
}

static bool next(struct list_moves *op)
{
    switch (api_cursor_next(&op->at, op->topic_count, op->at.begun ? partitions_of(op) : 0)) {
    case API_TOPIC:
        begin_topic(op);
        return !op->failed;
    case API_PARTITION:
        add_move(op, op->all
                         ? op->at.partition
                         : op->request.topics[op->at.topic].partition_indexes[op->at.partition]);
        return !op->failed;
    case API_END:
        end_topic(op);
        break;
    }
    return false;
}

static bool list_step(struct api_work *work)
{
    struct list_moves *op = container_of(work, struct list_moves, work);
    bool more = true;
    for (unsigned i = 0; more && i < ITEMS; i++)
        more = next(op);
    return more;
}

static void on_listed(struct api_work *work)
{
    struct list_moves *op = container_of(work, struct list_moves, work);
    if (op->failed)
        api_malformed(work->q);
    else
        api_work_answer(work, KAFKA_LIST_PARTITION_REASSIGNMENTS_RESPONSE, &op->response);
}

void api_list_partition_reassignments(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct list_moves *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    init_list_partition_reassignments_response(&op->response);
    if (!read_list_partition_reassignments_request(&rd, &q->arena, q->header.request_api_version,
                                                   &op->request)) {
        api_malformed(q);
        return;
    }
    op->all = op->request.topics_count < 0;
    op->topic_count = op->all ? (int32_t)bs->image->topic_count : op->request.topics_count;
    op->response.topics =
        arena_array(&q->arena, (size_t)op->topic_count, sizeof(*op->response.topics));
    if (!op->response.topics) {
        api_malformed(q);
        return;
    }
    if (!may(q, OPERATION_DESCRIBE)) {
        op->topic_count = 0;
        op->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
    }
    api_work_go(&op->work, list_step, on_listed);
}
