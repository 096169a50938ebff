/* SPDX-License-Identifier: Apache-2.0
 *
 * ElectLeaders (KIP-460): on one node the leader of a partition is its only replica, which is the
 * preferred one, so no election is ever needed; where there is no leader nobody can be elected.
 */
#include "core/api/api.h"

#include <string.h>

#define ITEMS 64U /* per step */

enum election { ELECTION_PREFERRED = 0, ELECTION_UNCLEAN = 1 };

struct elect_leaders {
    struct api_work work;
    struct request *q;
    struct elect_leaders_request request;
    struct elect_leaders_response response;
    int32_t topic_count; /* that are looked at: those named, or all there are */
    bool all;            /* then what needs no election is not named */
    bool begun;
    struct api_cursor at;
    const struct topic_image *image;                            /* of the topic that it is at */
    struct elect_leaders_response_replica_election_result *out; /* and what comes of it */
    bool failed;
};

static enum err elect(const struct elect_leaders *op, int32_t index)
{
    const struct partition_image *partition =
        op->image && index >= 0 ? image_partition(op->image, index) : NULL;
    if (!partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    bool preferred = op->request.election_type == ELECTION_PREFERRED;
    if (partition->leader >= 0 && (!preferred || partition->leader == partition->replicas[0]))
        return ERR_ELECTION_NOT_NEEDED;
    return preferred ? ERR_PREFERRED_LEADER_NOT_AVAILABLE : ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
}

static int32_t partitions_of(const struct elect_leaders *op)
{
    return op->all ? (int32_t)op->image->partition_count
                   : op->request.topic_partitions[op->at.topic].partitions_count;
}

/* What came of the topic before is a part of the answer, unless nobody asked and nothing did. */
static void end_topic(struct elect_leaders *op)
{
    if (op->out && (!op->all || op->out->partition_result_count > 0))
        op->response.replica_election_results_count++;
    op->out = NULL;
}

static void begin_topic(struct elect_leaders *op)
{
    struct str name = op->all ? str_of(op->work.image->topics[op->at.topic]->name)
                              : op->request.topic_partitions[op->at.topic].topic;
    end_topic(op);
    op->image = image_topic_by_name(op->work.image, name.data, (size_t)name.len);
    op->out = &op->response.replica_election_results[op->response.replica_election_results_count];
    init_elect_leaders_response_replica_election_result(op->out);
    op->out->topic = name;
    op->out->partition_result =
        arena_array(&op->q->arena, (size_t)partitions_of(op), sizeof(*op->out->partition_result));
    op->failed = !op->out->partition_result;
}

static void add_result(struct elect_leaders *op, int32_t index)
{
    enum err error = elect(op, index);
    if (op->all && error == ERR_ELECTION_NOT_NEEDED)
        return;
    struct elect_leaders_response_partition_result *result =
        &op->out->partition_result[op->out->partition_result_count++];
    init_elect_leaders_response_partition_result(result);
    result->partition_id = index;
    result->error_code = (int16_t)error;
    result->error_message = str_of(err_sentence((int16_t)error));
}

/* False at the end. */
static bool next(struct elect_leaders *op)
{
    switch (api_cursor_next(&op->at, op->topic_count, op->at.begun ? partitions_of(op) : 0)) {
    case API_TOPIC:
        begin_topic(op);
        return !op->failed;
    case API_PARTITION:
        add_result(
            op, op->all ? op->at.partition
                        : op->request.topic_partitions[op->at.topic].partitions[op->at.partition]);
        return true;
    case API_END:
        end_topic(op);
        break;
    }
    return false;
}

static void begin(struct elect_leaders *op)
{
    const struct elect_leaders_request *request = &op->request;
    op->begun = true;
    op->all = request->topic_partitions_count < 0;
    if (!api_may(op->q, OPERATION_ALTER, RESOURCE_CLUSTER, str_of("kafka-cluster"))) {
        op->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        return;
    }
    if (request->election_type != ELECTION_PREFERRED &&
        request->election_type != ELECTION_UNCLEAN) {
        op->response.error_code = ERR_INVALID_REQUEST;
        return;
    }
    op->topic_count =
        op->all ? (int32_t)op->work.image->topic_count : request->topic_partitions_count;
    op->response.replica_election_results = arena_array(
        &op->q->arena, (size_t)op->topic_count, sizeof(*op->response.replica_election_results));
    op->failed = !op->response.replica_election_results;
}

static bool step(struct api_work *work)
{
    struct elect_leaders *op = container_of(work, struct elect_leaders, work);
    if (!op->begun)
        begin(op);
    bool more = !op->failed;
    for (unsigned i = 0; more && i < ITEMS; i++)
        more = next(op);
    return more;
}

static void on_done(struct api_work *work)
{
    struct elect_leaders *op = container_of(work, struct elect_leaders, work);
    if (op->failed)
        op->response.error_code = ERR_UNKNOWN_SERVER_ERROR;
    api_work_answer(&op->work, KAFKA_ELECT_LEADERS_RESPONSE, &op->response);
}

void api_elect_leaders(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct elect_leaders *op = arena_alloc(&q->arena, sizeof(*op));
    if (!op) {
        api_malformed(q);
        return;
    }
    memset(op, 0, sizeof(*op));
    api_work_init(&op->work, q);
    op->q = q;
    struct rd rd;
    rd_init(&rd, q->body);
    init_elect_leaders_response(&op->response);
    if (!read_elect_leaders_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    api_work_go(&op->work, step, on_done);
}
