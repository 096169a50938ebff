/* SPDX-License-Identifier: Apache-2.0
 *
 * FindCoordinator: the broker that leads a group's partition of __consumer_offsets, which is made
 * when it is asked for the first time (M9, M10).
 */
#include "core/api/api.h"
#include "core/internal_topic.h"

#include <string.h>

enum key_type {
    KEY_TYPE_GROUP = 0,
    KEY_TYPE_TRANSACTION = 1,
};

#define BATCHED_VERSION 4   /* several keys, an answer each */
#define KEYS            16U /* per step */

struct coordinators_op {
    struct api_work work;
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    int32_t count;
    bool asked; /* for the topic */
};

static void refuse(struct find_coordinator_response_coordinator *out, enum err error,
                   const char *message)
{
    out->node_id = -1;
    out->port = -1;
    out->host = str_of("");
    out->error_code = (int16_t)error;
    out->error_message = str_of(message);
}

static void group_fill(struct coordinators_op *op,
                       struct find_coordinator_response_coordinator *out)
{
    struct request *q = op->work.q;
    struct broker_shard *bs = api_shard(q);
    struct str name = str_of(INTERNAL_TOPIC_OFFSETS);
    const struct topic_image *topic = image_topic_by_name(bs->image, name.data, (size_t)name.len);
    if (!topic) {
        if (!op->asked)
            internal_topic_create(bs, INTERNAL_TOPIC_OFFSETS);
        op->asked = true;
        refuse(out, ERR_COORDINATOR_NOT_AVAILABLE, NULL);
        return;
    }
    const struct partition_key key = {
        .topic_id = topic->id,
        .partition = internal_topic_partition(out->key, topic->partition_count)};
    struct api_leader leader = api_leader_of(q, &key);
    if (!leader.reachable) {
        refuse(out, ERR_COORDINATOR_NOT_AVAILABLE, NULL);
        return;
    }
    out->node_id = leader.id;
    out->host = leader.host;
    out->port = leader.port;
}

static void coordinator_fill(struct coordinators_op *op, struct str key,
                             struct find_coordinator_response_coordinator *out)
{
    const int8_t key_type = op->request.key_type;
    init_find_coordinator_response_coordinator(out);
    out->key = key;
    if (key_type == KEY_TYPE_TRANSACTION)
        refuse(out, ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
               "transactions are not supported yet: remove transactional.id");
    else if (key_type != KEY_TYPE_GROUP)
        refuse(out, ERR_INVALID_REQUEST, "only groups have coordinators here");
    else if (!api_may(op->work.q, OPERATION_DESCRIBE, RESOURCE_GROUP, key))
        refuse(out, ERR_GROUP_AUTHORIZATION_FAILED, NULL);
    else
        group_fill(op, out);
}

static bool find_step(struct api_work *work)
{
    struct coordinators_op *op = container_of(work, struct coordinators_op, work);
    const struct find_coordinator_request *request = &op->request;
    struct find_coordinator_response *response = &op->response;
    const bool batched = work->q->header.request_api_version >= BATCHED_VERSION;
    for (unsigned i = 0; response->coordinators_count < op->count && i < KEYS; i++) {
        const int32_t at = response->coordinators_count++;
        coordinator_fill(op, batched ? request->coordinator_keys[at] : request->key,
                         &response->coordinators[at]);
    }
    return response->coordinators_count < op->count;
}

static void found(struct api_work *work)
{
    struct coordinators_op *op = container_of(work, struct coordinators_op, work);
    struct find_coordinator_response *response = &op->response;
    if (work->q->header.request_api_version < BATCHED_VERSION) {
        const struct find_coordinator_response_coordinator *one = &response->coordinators[0];
        response->error_code = one->error_code;
        response->error_message = one->error_message;
        response->node_id = one->node_id;
        response->host = one->host;
        response->port = one->port;
    }
    api_work_answer(work, KAFKA_FIND_COORDINATOR_RESPONSE, response);
}

void api_find_coordinator(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    const int16_t version = q->header.request_api_version;
    struct rd rd;
    struct coordinators_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    init_find_coordinator_response(&op->response);
    if (!read_find_coordinator_request(&rd, &q->arena, version, &op->request)) {
        api_malformed(q);
        return;
    }
    op->count =
        version >= BATCHED_VERSION ? (int32_t)max_i64(op->request.coordinator_keys_count, 0) : 1;
    op->response.coordinators =
        arena_array(&q->arena, (size_t)op->count, sizeof(*op->response.coordinators));
    if (op->response.coordinators)
        api_work_go(&op->work, find_step, found);
    else
        api_malformed(q);
}
