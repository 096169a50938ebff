/* SPDX-License-Identifier: Apache-2.0
 *
 * ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848): decode, a call to the shard of the
 * group's coordinator, encode. A heartbeat is answered when what it has changed is durable.
 */
#include "core/api/api.h"
#include "core/api/group_series.h"
#include "core/group/groups.h"

#include <string.h>

static struct str copy_str(struct arena *arena, struct str text, bool *full)
{
    if (text.len < 0)
        return str_null();
    char *copy = arena_alloc(arena, (size_t)text.len);
    if (!copy) {
        *full = true;
        return str_of("");
    }
    if (text.len > 0)
        memcpy(copy, text.data, (size_t)text.len);
    return (struct str){copy, text.len};
}

static size_t topics_in(const struct tp_set *set)
{
    size_t count = 0;
    uint32_t run;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run)
        count++;
    return count;
}

static int32_t *numbers_of(struct arena *arena, const struct tp *parts, uint32_t count)
{
    int32_t *numbers = arena_array(arena, count, sizeof(*numbers));
    for (uint32_t i = 0; numbers && i < count; i++)
        numbers[i] = parts[i].partition;
    return numbers;
}

/* ---- ConsumerGroupHeartbeat ---- */

#define CLIENT_MAKES_ID_VERSION 1
#define PROTOCOL_IS_OFF                                                                            \
    "group.coordinator.rebalance.protocols of this broker does not name consumer"
/* What one turn can look at; who reads more topics has expressions. */
#define NAMES_MAX 16384
/* Partitions that a member may name beyond what it has here: more is no member's, and each of them
 * would be looked up and sorted. */
#define OWNED_MORE_MAX 4096U

struct beat_op {
    struct group_call call;
    struct request *q;
    struct group_wait wait;
    struct consumer_group_heartbeat_request request;
    struct consumer_group_heartbeat_response response;
    struct consumer_heartbeat beat;
    struct tp_set owned;
    char made_id[UUID_TEXT_LEN + 1];
};

/* What the member says that it has: once each, and hardly more than it was given. Of topics that
 * are gone it may not know yet. One that is no member hears that, whatever it has. */
static bool take_owned(const struct broker_shard *bs, const struct consumer_member *member,
                       struct beat_op *op)
{
    const struct consumer_group_heartbeat_request *request = &op->request;
    size_t room = 0;
    if (request->topic_partitions_count < 0)
        return true;
    op->beat.owned = &op->owned;
    if (!member)
        return true;
    for (int32_t i = 0; i < request->topic_partitions_count; i++)
        room += (size_t)max_i64(request->topic_partitions[i].partitions_count, 0);
    if (room > (size_t)member->assigned.count + member->revoking.count + OWNED_MORE_MAX)
        return false;
    struct tp_set *set = &op->owned;
    set->parts = arena_array(op->call.arena, room, sizeof(*set->parts));
    if (!set->parts)
        return false;
    for (int32_t i = 0; i < request->topic_partitions_count; i++) {
        const struct consumer_group_heartbeat_request_topic_partition *in =
            &request->topic_partitions[i];
        const struct topic_image *topic = image_topic_by_id(bs->image, &in->topic_id);
        for (int32_t p = 0; p < in->partitions_count; p++) {
            if (in->partitions[p] < 0 || (topic && !image_partition(topic, in->partitions[p])))
                return false;
            set->parts[set->count++] =
                (struct tp){.topic = in->topic_id, .partition = in->partitions[p]};
        }
    }
    if (io_mutation(shard_here()->io, "consumer.owned_unheard"))
        set->count = 0;
    return tp_sort(set->parts, set->count);
}

static bool fill_assignment(struct beat_op *op, const struct tp_set *set)
{
    struct consumer_group_heartbeat_response_assignment *out = &op->response.assignment;
    struct arena *arena = op->call.arena;
    uint32_t run;
    op->response.has_assignment = true;
    out->topic_partitions_count = 0;
    out->topic_partitions = arena_array(arena, topics_in(set), sizeof(*out->topic_partitions));
    if (!out->topic_partitions)
        return false;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run) {
        struct consumer_group_heartbeat_response_topic_partition *topic =
            &out->topic_partitions[out->topic_partitions_count++];
        topic->topic_id = set->parts[at].topic;
        topic->partitions = numbers_of(arena, &set->parts[at], run);
        topic->partitions_count = (int32_t)run;
        if (!topic->partitions)
            return false;
    }
    return true;
}

/* As the group is at this moment: the answer may wait. */
static enum err fill_answer(struct beat_op *op)
{
    const struct consumer_heartbeat *beat = &op->beat;
    struct consumer_group_heartbeat_response *response = &op->response;
    bool full = false;
    if (beat->error != ERR_NONE) {
        response->error_message = str_of(beat->message);
        return beat->error;
    }
    response->member_id = copy_str(op->call.arena, beat->member_id_out, &full);
    response->member_epoch = beat->epoch_out;
    response->heartbeat_interval_ms = beat->interval_ms;
    if (beat->assignment)
        full |= !fill_assignment(op, beat->assignment);
    return full ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE;
}

static struct group_entry *beat_group(struct groups *groups, struct beat_op *op, enum err *error)
{
    if (op->beat.epoch == CONSUMER_EPOCH_JOIN)
        return groups_get_consumer(groups, op->call.group_id, &op->beat, error);
    struct group_entry *entry = groups_find_consumer(groups, op->call.group_id);
    *error = entry ? ERR_NONE : ERR_GROUP_ID_NOT_FOUND;
    return entry;
}

static void beat_run(struct groups *groups, struct group_call *call)
{
    struct beat_op *op = container_of(call, struct beat_op, call);
    enum err error;
    struct group_entry *entry = beat_group(groups, op, &error);
    if (!entry) {
        op->response.error_message = str_of(op->beat.message);
        if (error == ERR_GROUP_ID_NOT_FOUND && !op->beat.message)
            op->response.error_message = str_of("there is no such consumer group");
        group_call_end(call, error);
        return;
    }
    if (take_owned(broker_shard_of(shard_here()),
                   consumer_group_member(entry->consumer, op->beat.member_id), op)) {
        consumer_group_heartbeat(entry->consumer, &op->beat);
        error = fill_answer(op);
    } else {
        op->response.error_message = str_of("a partition is named twice, or there is none such");
        error = ERR_INVALID_REQUEST;
    }
    op->wait.call = call;
    if (error == ERR_NONE) {
        groups_answer_when_durable(entry, &op->wait);
        return;
    }
    groups_settle(entry);
    group_call_end(call, error);
}

static void beat_answer(struct group_call *call)
{
    struct beat_op *op = container_of(call, struct beat_op, call);
    struct consumer_group_heartbeat_response *response = &op->response;
    if (call->error != ERR_NONE) {
        const struct str message = response->error_message;
        init_consumer_group_heartbeat_response(response);
        response->error_message = message;
        response->error_code = (int16_t)call->error;
    }
    api_answer(op->q, KAFKA_CONSUMER_GROUP_HEARTBEAT_RESPONSE, response);
}

static void make_id(struct beat_op *op)
{
    struct io *io = api_shard(op->q)->sh->io;
    const uint64_t high = io_random(io);
    const struct uuid id = uuid_of_random(high, io_random(io));
    uuid_text(&id, op->made_id);
    op->beat.member_id = str_of(op->made_id);
}

static enum err beat_check(struct beat_op *op)
{
    const struct consumer_group_heartbeat_request *request = &op->request;
    const char *message = NULL;
    const bool client_makes_id = op->q->header.request_api_version >= CLIENT_MAKES_ID_VERSION;
    /* Who joins has none; whether others have what they say is seen where the group is. */
    const struct tp_set some = {.count = request->topic_partitions_count > 0 ? 1 : 0};
    if (!api_may(op->q, OPERATION_READ, RESOURCE_GROUP, request->group_id))
        return ERR_GROUP_AUTHORIZATION_FAILED;
    if (request->subscribed_topic_names_count > NAMES_MAX) {
        op->response.error_message = str_of("more topics are named than a member may read by name");
        return ERR_INVALID_REQUEST;
    }
    for (int32_t i = 0; i < request->subscribed_topic_names_count; i++)
        if (!api_may(op->q, OPERATION_DESCRIBE, RESOURCE_TOPIC, request->subscribed_topic_names[i]))
            return ERR_TOPIC_AUTHORIZATION_FAILED;
    op->beat.owned = request->topic_partitions_count >= 0 ? &some : NULL;
    enum err error = consumer_heartbeat_check(&op->beat, client_makes_id, &message);
    op->beat.owned = NULL;
    if (error == ERR_NONE && request->group_id.len <= 0) {
        error = ERR_INVALID_REQUEST;
        message = "the group id is empty";
    }
    op->response.error_message = str_of(message);
    if (error == ERR_NONE && op->beat.member_id.len <= 0)
        make_id(op);
    return error;
}

static void beat_prepare(struct beat_op *op)
{
    const struct consumer_group_heartbeat_request *request = &op->request;
    const bool has_regex = op->q->header.request_api_version >= CLIENT_MAKES_ID_VERSION;
    op->beat = (struct consumer_heartbeat){
        .member_id = request->member_id,
        .epoch = request->member_epoch,
        .instance_id = request->instance_id,
        .rack_id = request->rack_id,
        .client_id = op->q->header.client_id,
        .client_host = api_client_host(op->q),
        .rebalance_timeout_ms = request->rebalance_timeout_ms,
        .names = request->subscribed_topic_names,
        .name_count = request->subscribed_topic_names_count,
        .regex = has_regex ? request->subscribed_topic_regex : str_null(),
        .assignor = request->server_assignor,
    };
}

bool api_has_consumer_groups(const struct broker_shard *bs)
{
    return (bs->broker->conf->broker.group_rebalance_protocols & CONF_PROTOCOL_CONSUMER) != 0;
}

void api_consumer_group_heartbeat(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct beat_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_consumer_group_heartbeat_response(&op->response);
    if (!read_consumer_group_heartbeat_request(&rd, &q->arena, q->header.request_api_version,
                                               &op->request)) {
        api_malformed(q);
        return;
    }
    if (!api_has_consumer_groups(bs)) {
        op->response.error_code = ERR_UNSUPPORTED_VERSION;
        op->response.error_message = str_of(PROTOCOL_IS_OFF);
        api_answer(q, KAFKA_CONSUMER_GROUP_HEARTBEAT_RESPONSE, &op->response);
        return;
    }
    beat_prepare(op);
    op->call = (struct group_call){
        .group_id = op->request.group_id, .arena = &q->arena, .run = beat_run, .done = beat_answer};
    op->call.error = beat_check(op);
    if (op->call.error == ERR_NONE)
        group_call_start(bs, &op->call);
    else
        beat_answer(&op->call);
}

/* ---- ConsumerGroupDescribe ---- */

#define MEMBER_TYPE_CLASSIC  0
#define MEMBER_TYPE_CONSUMER 1

struct describe_op {
    struct group_series series;
    struct request *q;
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    /* of the group that is being described */
    struct group_entry *entry;
    struct consumer_cursor cursor;
    struct task task;
    uint32_t room; /* for members */
    bool full;     /* the arena */
};

static void describe_parts(struct describe_op *op, const struct tp_set *set,
                           struct consumer_group_describe_response_assignment *out)
{
    const struct image *image = broker_shard_of(shard_here())->image;
    struct arena *arena = op->series.call.arena;
    uint32_t run;
    out->topic_partitions = arena_array(arena, topics_in(set), sizeof(*out->topic_partitions));
    out->topic_partitions_count = 0;
    op->full |= !out->topic_partitions;
    for (uint32_t at = 0; !op->full && (run = tp_set_run(set, at)) > 0; at += run) {
        const struct topic_image *topic = image_topic_by_id(image, &set->parts[at].topic);
        if (!topic)
            continue; /* deleted meanwhile: it has no name any more */
        struct consumer_group_describe_response_topic_partition *to =
            &out->topic_partitions[out->topic_partitions_count++];
        to->topic_id = topic->id;
        to->topic_name =
            copy_str(arena, (struct str){topic->name, (int32_t)topic->name_len}, &op->full);
        to->partitions = numbers_of(arena, &set->parts[at], run);
        to->partitions_count = (int32_t)run;
        op->full |= !to->partitions;
    }
}

static void describe_member(struct describe_op *op, const struct consumer_member *m,
                            struct consumer_group_describe_response_member *out)
{
    struct arena *arena = op->series.call.arena;
    const struct consumer_subscription *sub = m->subscription;
    init_consumer_group_describe_response_member(out);
    out->member_id = copy_str(arena, m->id, &op->full);
    out->instance_id = copy_str(arena, m->instance_id, &op->full);
    out->rack_id = copy_str(arena, m->rack_id, &op->full);
    out->member_epoch = m->epoch;
    out->client_id = copy_str(arena, m->client_id, &op->full);
    out->client_host = copy_str(arena, m->client_host, &op->full);
    out->member_type = m->classic ? MEMBER_TYPE_CLASSIC : MEMBER_TYPE_CONSUMER;
    out->subscribed_topic_regex =
        sub->regex ? copy_str(arena, sub->regex->text, &op->full) : str_of("");
    out->subscribed_topic_names =
        arena_array(arena, sub->name_count, sizeof(*out->subscribed_topic_names));
    op->full |= !out->subscribed_topic_names;
    for (uint32_t i = 0; !op->full && i < sub->name_count; i++)
        out->subscribed_topic_names[out->subscribed_topic_names_count++] =
            copy_str(arena, sub->names[i], &op->full);
    describe_parts(op, &m->assigned, &out->assignment);
    describe_parts(op, &m->target, &out->target_assignment);
}

static void describe_over(struct describe_op *op, enum err error)
{
    struct group_entry *entry = op->entry;
    consumer_cursor_end(&op->cursor);
    op->entry = NULL;
    groups_release(entry);
    group_call_end(&op->series.call, error);
}

static void describe_some(struct shard *here, struct task *task)
{
    struct describe_op *op = container_of(task, struct describe_op, task);
    struct consumer_group_describe_response_group *out = &op->response.groups[op->series.at];
    const uint64_t began_ns = io_clock_ns(here->io);
    const struct consumer_member *member;
    /* It may have become another one meanwhile. */
    if (!op->cursor.g || op->cursor.g != op->entry->consumer || op->entry->consumer->dead) {
        describe_over(op, ERR_NOT_COORDINATOR);
        return;
    }
    while (!op->full && (uint32_t)out->members_count < op->room &&
           (member = consumer_cursor_next(&op->cursor)) != NULL) {
        describe_member(op, member, &out->members[out->members_count++]);
        if (shard_should_yield(here, began_ns)) {
            shard_ready(here, task);
            return;
        }
    }
    describe_over(op, op->full ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE);
}

static void describe_run(struct groups *groups, struct group_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, series.call);
    struct consumer_group_describe_response_group *out = &op->response.groups[op->series.at];
    struct group_entry *entry = groups_find_consumer(groups, call->group_id);
    if (!entry || entry->consumer->dead) {
        group_call_end(call, ERR_GROUP_ID_NOT_FOUND);
        return;
    }
    struct consumer_group *g = entry->consumer;
    out->group_state = str_of(consumer_state_name(consumer_group_state(g)));
    out->group_epoch = g->epoch;
    out->assignment_epoch = g->assignment_epoch;
    out->assignor_name = str_of(assign_name(consumer_group_assignor(g)));
    op->room = g->member_count;
    out->members = arena_array(call->arena, op->room, sizeof(*out->members));
    op->full = !out->members;
    op->entry = entry;
    groups_hold(entry);
    consumer_cursor_begin(&op->cursor, g);
    op->task = (struct task){.fn = describe_some, .name = "group.describe"};
    describe_some(shard_here(), &op->task);
}

static void describe_begin(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    struct str id = op->request.group_ids[series->at];
    struct consumer_group_describe_response_group *out = &op->response.groups[series->at];
    init_consumer_group_describe_response_group(out);
    op->response.groups_count++;
    out->group_id = id;
    series->call.group_id = id;
    if (!api_may(op->q, OPERATION_DESCRIBE, RESOURCE_GROUP, id))
        series->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
    else if (id.len <= 0)
        series->call.error = ERR_INVALID_GROUP_ID;
    else if (op->request.include_authorized_operations)
        out->authorized_operations = api_operations(op->q, RESOURCE_GROUP, id);
}

static void describe_back(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    struct consumer_group_describe_response_group *out = &op->response.groups[series->at];
    out->error_code = (int16_t)series->call.error;
    if (series->call.error == ERR_NONE)
        return;
    out->members_count = 0;
    out->authorized_operations = INT32_MIN;
    if (series->call.error == ERR_GROUP_ID_NOT_FOUND)
        out->error_message = str_of("there is no such consumer group");
}

static void describe_end(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    api_work_answer(&series->work, KAFKA_CONSUMER_GROUP_DESCRIBE_RESPONSE, &op->response);
}

static void describe_refuse(struct describe_op *op)
{
    for (int32_t i = 0; i < op->request.group_ids_count; i++) {
        struct consumer_group_describe_response_group *out =
            &op->response.groups[op->response.groups_count++];
        init_consumer_group_describe_response_group(out);
        out->group_id = op->request.group_ids[i];
        out->error_code = ERR_UNSUPPORTED_VERSION;
        out->error_message = str_of(PROTOCOL_IS_OFF);
    }
    api_answer(op->q, KAFKA_CONSUMER_GROUP_DESCRIBE_RESPONSE, &op->response);
}

void api_consumer_group_describe(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct describe_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_consumer_group_describe_response(&op->response);
    if (!read_consumer_group_describe_request(&rd, &q->arena, q->header.request_api_version,
                                              &op->request)) {
        api_malformed(q);
        return;
    }
    const size_t count = (size_t)max_i64(op->request.group_ids_count, 0);
    op->response.groups = arena_array(&q->arena, count, sizeof(*op->response.groups));
    if (!op->response.groups) {
        api_malformed(q);
        return;
    }
    if (!api_has_consumer_groups(bs)) {
        describe_refuse(op);
        return;
    }
    op->series.count = (int32_t)count;
    op->series.call.run = describe_run;
    op->series.begin = describe_begin;
    op->series.back = describe_back;
    op->series.end = describe_end;
    group_series_start(&op->series, q);
}
