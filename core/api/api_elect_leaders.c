/* SPDX-License-Identifier: Apache-2.0
 *
 * ElectLeaders (KIP-460): what the image says needs no election is told at once, the others are the
 * controller's to decide.
 */
#include "core/api/api.h"
#include "core/controller/controller.h"

#include <string.h>

#define ITEMS 64U /* per step */

/* One that the controller is asked for. */
struct election {
    SLIST_ENTRY(election) link;
    struct str topic; /* copied: the image may be another one by then */
    int32_t partition;
    struct elect_leaders_response_partition_result *result;
};

enum election_type { ELECTION_PREFERRED = 0, ELECTION_UNCLEAN = 1 };

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
    SLIST_HEAD(, election) elections;
    int32_t election_count;
    struct control_op control;
    bool failed;
};

/* NONE: it depends on the controller. */
static enum err elect(const struct elect_leaders *op, int32_t index)
{
    const struct partition_image *partition =
        op->image && index >= 0 ? image_partition(op->image, index) : NULL;
    if (!partition)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    bool preferred = op->request.election_type == ELECTION_PREFERRED;
    if (partition->leader >= 0 && (!preferred || partition->leader == partition->replicas[0]))
        return ERR_ELECTION_NOT_NEEDED;
    return ERR_NONE;
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

/* Of a topic that nobody has named: the answer may be given when its image is gone. */
static bool name_copy(const struct elect_leaders *op, struct str *name)
{
    char *copy = op->all && name->len > 0 ? arena_alloc(&op->q->arena, (size_t)name->len) : NULL;
    if (copy)
        memcpy(copy, name->data, (size_t)name->len);
    if (op->all)
        name->data = copy;
    return !op->all || copy;
}

static void say(struct elect_leaders_response_partition_result *result, int16_t error)
{
    result->error_code = error;
    result->error_message = str_of(err_sentence(error));
}

static void ask_later(struct elect_leaders *op,
                      struct elect_leaders_response_partition_result *result)
{
    struct election *election = arena_alloc(&op->q->arena, sizeof(*election));
    op->failed = op->failed || !election;
    if (!election)
        return;
    *election = (struct election){
        .topic = op->out->topic, .partition = result->partition_id, .result = result};
    SLIST_INSERT_HEAD(&op->elections, election, link);
    op->election_count++;
}

static void begin_topic(struct elect_leaders *op)
{
    struct str name = op->all ? str_of(op->work.image->topics[op->at.topic]->name)
                              : op->request.topic_partitions[op->at.topic].topic;
    end_topic(op);
    op->failed = !name_copy(op, &name);
    op->image = image_topic_by_name(op->work.image, name.data, (size_t)name.len);
    op->out = &op->response.replica_election_results[op->response.replica_election_results_count];
    init_elect_leaders_response_replica_election_result(op->out);
    op->out->topic = name;
    op->out->partition_result =
        arena_array(&op->q->arena, (size_t)partitions_of(op), sizeof(*op->out->partition_result));
    op->failed = op->failed || !op->out->partition_result;
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
    if (error == ERR_NONE)
        ask_later(op, result);
    else
        say(result, (int16_t)error);
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
        return !op->failed;
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

static void answer(struct elect_leaders *op)
{
    if (op->failed)
        op->response.error_code = ERR_UNKNOWN_SERVER_ERROR;
    api_work_answer(&op->work, KAFKA_ELECT_LEADERS_RESPONSE, &op->response);
}

static void on_elected(struct control_op *control)
{
    struct elect_leaders *op = control->user;
    const struct control_item *item = control->items;
    struct election *election;
    SLIST_FOREACH (election, &op->elections, link)
        say(election->result, control_item_error(control, item++));
    if (control->error == ERR_NOT_CONTROLLER)
        op->response.error_code = ERR_NOT_CONTROLLER; /* whoever asks looks for another one */
    answer(op);
}

static bool ask(struct elect_leaders *op)
{
    struct election *election;
    control_op_init(&op->control, CONTROL_ELECT_LEADERS, &op->q->arena, on_elected);
    op->control.user = op;
    if (!control_op_items(&op->control, op->election_count))
        return false;
    struct control_item *item = op->control.items;
    SLIST_FOREACH (election, &op->elections, link) {
        item->name = election->topic;
        item->partition = election->partition;
        item->unclean = op->request.election_type == ELECTION_UNCLEAN;
        item++;
    }
    controller_submit(api_shard(op->q), &op->control);
    return true;
}

static void on_done(struct api_work *work)
{
    struct elect_leaders *op = container_of(work, struct elect_leaders, work);
    if (!op->failed && op->election_count > 0) {
        op->failed = !ask(op);
        if (!op->failed)
            return;
    }
    answer(op);
}

void api_elect_leaders(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct elect_leaders *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    op->q = q;
    init_elect_leaders_response(&op->response);
    if (!read_elect_leaders_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    api_work_go(&op->work, step, on_done);
}
