/* SPDX-License-Identifier: Apache-2.0
 *
 * ListOffsets and OffsetForLeaderEpoch: questions about partitions, answered by
 * core/api/offset_lookup.c on their home shards.
 */
#include "core/api/api.h"
#include "core/api/api_ask.h"
#include "core/api/named_twice.h"
#include "core/api/offset_lookup.h"

/* ListOffsets' special timestamps and the first version of each (L1). */
enum list_timestamp {
    LIST_LATEST = -1,
    LIST_EARLIEST = -2,
    LIST_MAX_TIMESTAMP = -3,  /* 7+, KIP-734 */
    LIST_EARLIEST_LOCAL = -4, /* 8+, KIP-405 */
    LIST_LATEST_TIERED = -5,  /* 9+, KIP-1005 */
};

#define ISOLATION_COMMITTED 1

#define NAME_ITEMS 64U /* per step */

struct list_offsets {
    struct api_ask ask;
    struct list_offsets_request request;
    struct list_offsets_response response;
    struct named_twice names;
    struct api_cursor names_at; /* while they are gathered */
    struct named_topic topic;   /* that it is at */
};

struct list_part {
    struct offset_lookup lookup;
    struct list_offsets *op;
    struct list_offsets_response_partition *out;
};

static void on_listed(struct offset_lookup *lookup)
{
    struct list_part *part = container_of(lookup, struct list_part, lookup);
    part->out->error_code = lookup->error;
    part->out->offset = lookup->offset;
    part->out->timestamp = lookup->found_timestamp;
    part->out->leader_epoch = lookup->leader_epoch;
    api_ask_ended(&part->op->ask);
}

static enum err question_of(int64_t timestamp, int16_t version, enum offset_question *question)
{
    switch (timestamp) {
    case LIST_LATEST:
        *question = OFFSET_LATEST;
        return ERR_NONE;
    case LIST_EARLIEST:
        *question = OFFSET_EARLIEST;
        return ERR_NONE;
    case LIST_MAX_TIMESTAMP:
        *question = OFFSET_MAX_TIMESTAMP;
        return version >= 7 ? ERR_NONE : ERR_UNSUPPORTED_VERSION;
    case LIST_EARLIEST_LOCAL:
        *question = OFFSET_EARLIEST; /* nothing is tiered */
        return version >= 8 ? ERR_NONE : ERR_UNSUPPORTED_VERSION;
    default:
        *question = OFFSET_OF_TIMESTAMP;
        return timestamp >= 0 ? ERR_NONE : ERR_UNSUPPORTED_VERSION;
    }
}

static void list_partition(struct list_offsets *op, const struct list_offsets_request_partition *in,
                           struct list_offsets_response_partition *out)
{
    struct request *q = op->ask.work.q;
    const struct topic_image *topic = op->ask.image;
    const int16_t version = q->header.request_api_version;
    const struct partition_image *partition =
        topic ? image_partition(topic, in->partition_index) : NULL;
    enum offset_question question;
    enum err error = question_of(in->timestamp, version, &question);
    if (!partition)
        error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    else if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_TOPIC, str_of(topic->name)))
        error = ERR_TOPIC_AUTHORIZATION_FAILED;
    if (error == ERR_UNSUPPORTED_VERSION && in->timestamp == LIST_LATEST_TIERED && version >= 9)
        return; /* nothing is tiered: no offset, no error */
    struct list_part *part = error == ERR_NONE ? arena_alloc(&q->arena, sizeof(*part)) : NULL;
    if (!part) {
        out->error_code = (int16_t)(error == ERR_NONE ? ERR_UNKNOWN_SERVER_ERROR : error);
        return;
    }
    part->op = op;
    part->out = out;
    part->lookup = (struct offset_lookup){
        .key = {.topic_id = topic->id, .partition = in->partition_index},
        .home = partition->home,
        .question = question,
        .timestamp = in->timestamp,
        .current_leader_epoch = in->current_leader_epoch,
        .committed_only = op->request.isolation_level == ISOLATION_COMMITTED,
        .done = on_listed,
    };
    api_ask_begun(&op->ask);
    offset_lookup_start(api_shard(q), &part->lookup);
}

static struct list_offsets *list_of(const struct api_ask *ask)
{
    return container_of(no_const(ask), struct list_offsets, ask);
}

static int32_t list_partition_count(const struct api_ask *ask)
{
    return list_of(ask)->request.topics[ask->at.topic].partitions_count;
}

static bool list_topic(struct api_ask *ask)
{
    struct list_offsets *op = list_of(ask);
    const struct list_offsets_request_topic *in = &op->request.topics[ask->at.topic];
    struct list_offsets_response_topic *out = &op->response.topics[op->response.topics_count++];
    ask->image = image_topic_by_name(ask->work.image, in->name.data, (size_t)in->name.len);
    init_list_offsets_response_topic(out);
    out->name = in->name;
    out->partitions =
        arena_array(&ask->work.q->arena, (size_t)in->partitions_count, sizeof(*out->partitions));
    op->topic = named_topic_of(&op->names, in->name);
    return out->partitions != NULL;
}

static void list_one(struct api_ask *ask)
{
    struct list_offsets *op = list_of(ask);
    const struct list_offsets_request_partition *asked =
        &op->request.topics[ask->at.topic].partitions[ask->at.partition];
    struct list_offsets_response_topic *out = &op->response.topics[ask->at.topic];
    struct list_offsets_response_partition *answer = &out->partitions[out->partitions_count++];
    init_list_offsets_response_partition(answer);
    answer->partition_index = asked->partition_index;
    if (named_twice(&op->names, &op->topic, asked->partition_index))
        answer->error_code = ERR_INVALID_REQUEST;
    else
        list_partition(op, asked, answer);
}

static const struct api_ask_kind list_kind = {
    .answer = KAFKA_LIST_OFFSETS_RESPONSE,
    .partition_count = list_partition_count,
    .topic = list_topic,
    .partition = list_one,
};

/* Before anything is asked: which partitions are named more than once (L3)? */
static bool name_step(struct api_work *work)
{
    struct list_offsets *op = container_of(work, struct list_offsets, ask.work);
    struct api_cursor *at = &op->names_at;
    const struct list_offsets_request_topic *topics = op->request.topics;
    enum api_place place = API_TOPIC;
    if (!at->begun && named_twice_clear(&op->names))
        return true;
    for (unsigned i = 0; place != API_END && i < NAME_ITEMS; i++) {
        place = api_cursor_next(at, op->request.topics_count,
                                at->begun ? topics[at->topic].partitions_count : 0);
        if (place == API_TOPIC)
            op->topic = named_topic_of(&op->names, topics[at->topic].name);
        else if (place == API_PARTITION)
            named_twice_add(&op->names, &op->topic,
                            topics[at->topic].partitions[at->partition].partition_index);
    }
    return place != API_END;
}

static void names_known(struct api_work *work)
{
    struct list_offsets *op = container_of(work, struct list_offsets, ask.work);
    api_ask_go(&op->ask, &list_kind, op->request.topics_count, &op->response, op->response.topics);
}

static bool names_init(struct list_offsets *op)
{
    const struct broker *broker = api_shard(op->ask.work.q)->broker;
    size_t count = 0;
    for (int32_t i = 0; i < op->request.topics_count; i++)
        count += (size_t)max_i64(op->request.topics[i].partitions_count, 0);
    return named_twice_init(&op->names, &op->ask.work.q->arena, count, broker->options.seed[0]);
}

void api_list_offsets(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct list_offsets *op = api_ask_new(q, sizeof(*op));
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op ||
        !read_list_offsets_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !names_init(op)) {
        api_malformed(q);
        return;
    }
    init_list_offsets_response(&op->response);
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    api_work_go(&op->ask.work, name_step, names_known);
}

/* ---- OffsetForLeaderEpoch ---- */

struct epoch_ends {
    struct api_ask ask;
    struct offset_for_leader_epoch_request request;
    struct offset_for_leader_epoch_response response;
};

struct epoch_part {
    struct offset_lookup lookup;
    struct epoch_ends *op;
    struct offset_for_leader_epoch_response_partition *out;
};

static void on_epoch_end(struct offset_lookup *lookup)
{
    struct epoch_part *part = container_of(lookup, struct epoch_part, lookup);
    part->out->error_code = lookup->error;
    part->out->leader_epoch = lookup->leader_epoch;
    part->out->end_offset = lookup->offset;
    api_ask_ended(&part->op->ask);
}

static struct epoch_ends *epoch_of(const struct api_ask *ask)
{
    return container_of(no_const(ask), struct epoch_ends, ask);
}

static void epoch_partition(struct api_ask *ask)
{
    struct epoch_ends *op = epoch_of(ask);
    struct request *q = ask->work.q;
    const struct topic_image *topic = ask->image;
    const struct offset_for_leader_epoch_request_partition *in =
        &op->request.topics[ask->at.topic].partitions[ask->at.partition];
    struct offset_for_leader_epoch_response_topic *topic_out = &op->response.topics[ask->at.topic];
    struct offset_for_leader_epoch_response_partition *out =
        &topic_out->partitions[topic_out->partitions_count++];
    const struct partition_image *partition = topic ? image_partition(topic, in->partition) : NULL;
    init_offset_for_leader_epoch_response_partition(out);
    out->partition = in->partition;
    if (!partition) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_TOPIC, str_of(topic->name))) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    struct epoch_part *part = arena_alloc(&q->arena, sizeof(*part));
    if (!part) {
        out->error_code = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    part->op = op;
    part->out = out;
    part->lookup = (struct offset_lookup){
        .key = {.topic_id = topic->id, .partition = in->partition},
        .home = partition->home,
        .question = OFFSET_END_OF_EPOCH,
        .asked_epoch = in->leader_epoch,
        .current_leader_epoch = in->current_leader_epoch,
        .done = on_epoch_end,
    };
    api_ask_begun(ask);
    offset_lookup_start(api_shard(q), &part->lookup);
}

static int32_t epoch_partition_count(const struct api_ask *ask)
{
    return epoch_of(ask)->request.topics[ask->at.topic].partitions_count;
}

static bool epoch_topic(struct api_ask *ask)
{
    struct epoch_ends *op = epoch_of(ask);
    const struct offset_for_leader_epoch_request_topic *in = &op->request.topics[ask->at.topic];
    struct offset_for_leader_epoch_response_topic *out =
        &op->response.topics[op->response.topics_count++];
    ask->image = image_topic_by_name(ask->work.image, in->topic.data, (size_t)in->topic.len);
    init_offset_for_leader_epoch_response_topic(out);
    out->topic = in->topic;
    out->partitions =
        arena_array(&ask->work.q->arena, (size_t)in->partitions_count, sizeof(*out->partitions));
    return out->partitions != NULL;
}

static const struct api_ask_kind epoch_kind = {
    .answer = KAFKA_OFFSET_FOR_LEADER_EPOCH_RESPONSE,
    .partition_count = epoch_partition_count,
    .topic = epoch_topic,
    .partition = epoch_partition,
};

void api_offset_for_leader_epoch(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct epoch_ends *op = api_ask_new(q, sizeof(*op));
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_offset_for_leader_epoch_request(&rd, &q->arena, q->header.request_api_version,
                                                     &op->request)) {
        api_malformed(q);
        return;
    }
    init_offset_for_leader_epoch_response(&op->response);
    op->response.topics =
        arena_array(&q->arena, (size_t)op->request.topics_count, sizeof(*op->response.topics));
    api_ask_go(&op->ask, &epoch_kind, op->request.topics_count, &op->response, op->response.topics);
}
