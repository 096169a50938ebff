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

#define BATCHED_VERSION 4 /* several keys, an answer each */

static void refuse(struct find_coordinator_response_coordinator *out, enum err error,
                   const char *message)
{
    out->node_id = -1;
    out->port = -1;
    out->host = str_of("");
    out->error_code = (int16_t)error;
    out->error_message = str_of(message);
}

static void group_fill(struct request *q, struct find_coordinator_response_coordinator *out)
{
    struct broker_shard *bs = api_shard(q);
    struct str name = str_of(INTERNAL_TOPIC_OFFSETS);
    const struct topic_image *topic = image_topic_by_name(bs->image, name.data, (size_t)name.len);
    if (!topic) {
        internal_topic_create(bs, INTERNAL_TOPIC_OFFSETS);
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

static void coordinator_fill(struct request *q, struct str key, int8_t key_type,
                             struct find_coordinator_response_coordinator *out)
{
    init_find_coordinator_response_coordinator(out);
    out->key = key;
    if (key_type == KEY_TYPE_TRANSACTION)
        refuse(out, ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
               "transactions are not supported yet: remove transactional.id");
    else if (key_type != KEY_TYPE_GROUP)
        refuse(out, ERR_INVALID_REQUEST, "only groups have coordinators here");
    else if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_GROUP, key))
        refuse(out, ERR_GROUP_AUTHORIZATION_FAILED, NULL);
    else
        group_fill(q, out);
}

void api_find_coordinator(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    const int16_t version = q->header.request_api_version;
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    struct rd rd;
    rd_init(&rd, q->body);
    init_find_coordinator_response(&response);
    if (!read_find_coordinator_request(&rd, &q->arena, version, &request)) {
        api_malformed(q);
        return;
    }
    int32_t count = version >= BATCHED_VERSION ? request.coordinator_keys_count : 1;
    response.coordinators = arena_array(&q->arena, (size_t)count, sizeof(*response.coordinators));
    if (!response.coordinators) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < count; i++)
        coordinator_fill(q, version >= BATCHED_VERSION ? request.coordinator_keys[i] : request.key,
                         request.key_type, &response.coordinators[response.coordinators_count++]);
    if (version < BATCHED_VERSION) {
        const struct find_coordinator_response_coordinator *one = &response.coordinators[0];
        response.error_code = one->error_code;
        response.error_message = one->error_message;
        response.node_id = one->node_id;
        response.host = one->host;
        response.port = one->port;
    }
    request_answer_begin(q);
    write_find_coordinator_response(&q->answer, version, &response);
    request_answer(q);
}
