/* SPDX-License-Identifier: Apache-2.0
 *
 * OffsetCommit, OffsetFetch and OffsetDelete. What can be said without the group (is there such a
 * topic, is the note too long) is said on the connection's shard; the rest on the shard of the
 * group's coordinator, where the offsets are. A commit is answered when it is durable. A fetch for
 * several groups asks for one after another, since all answers go into one arena.
 */
#include "core/api/api.h"
#include "core/api/group_series.h"
#include "core/group/group_write.h"

#include <string.h>

/* OffsetFetch's versions. */
#define FETCH_ALL_VERSION    2 /* an error of its own, and null for all topics */
#define FETCH_GROUPS_VERSION 8

/* OffsetCommit: the last version whose retention counts (KIP-211). */
#define COMMIT_RETENTION_VERSION_MAX 4
/* The first in which a generation of no group has an error of its own (KIP-848). */
#define COMMIT_NO_GROUP_VERSION 9
/* The first that members of KIP-848 may use. */
#define COMMIT_EPOCH_VERSION 9
#define COMMIT_ITEMS         16U /* per step */

/* Of both: topics by id (KIP-848). */
#define TOPIC_ID_VERSION 10

/* What a topic is called here; a copy, for images come and go. Null: there is none such. */
static struct str name_of_id(const struct image *image, const struct uuid *id, struct arena *arena,
                             bool *full)
{
    const struct topic_image *topic = image_topic_by_id(image, id);
    char *copy = topic ? arena_alloc(arena, topic->name_len) : NULL;
    *full |= topic && !copy;
    if (!copy)
        return str_null();
    memcpy(copy, topic->name, topic->name_len);
    return (struct str){copy, (int32_t)topic->name_len};
}

/* ---- OffsetCommit ---- */

struct commit_op {
    struct group_call call;
    struct api_work work;
    struct request *q;
    struct offset_commit_request request;
    struct offset_commit_response response;
    struct api_cursor at;            /* what is looked at */
    struct str name;                 /* of the topic that it is at; null: an id that none has */
    const struct topic_image *image; /* of that topic, or NULL */
    bool failed;                     /* no memory */
    struct group_offset *offsets;
    int16_t **errors; /* of each offset, in the response */
    uint32_t count;
    struct group_write write;
};

static void commit_partition(struct commit_op *op, const struct topic_image *topic, struct str name,
                             const struct offset_commit_request_partition *in,
                             struct offset_commit_response_partition *out)
{
    const struct request *q = op->q;
    const struct broker_conf *conf = &api_shard(q)->broker->conf->broker;
    init_offset_commit_response_partition(out);
    out->partition_index = in->partition_index;
    if (name.len < 0) {
        out->error_code = ERR_UNKNOWN_TOPIC_ID;
    } else if (!api_may(q, OPERATION_READ, RESOURCE_TOPIC, name)) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
    } else if (!topic || !image_partition(topic, in->partition_index)) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (in->committed_metadata.len > conf->offset_metadata_max_bytes) {
        out->error_code = ERR_OFFSET_METADATA_TOO_LARGE;
    } else {
        op->errors[op->count] = &out->error_code;
        op->offsets[op->count++] = (struct group_offset){
            .topic = name,
            .topic_id = topic->id,
            .partition = in->partition_index,
            .offset = in->committed_offset,
            .leader_epoch = in->committed_leader_epoch,
            .metadata = in->committed_metadata,
            .expire_ms = -1,
        };
    }
}

static void commit_topic(struct commit_op *op)
{
    const struct offset_commit_request_topic *in = &op->request.topics[op->at.topic];
    struct offset_commit_response_topic *out = &op->response.topics[op->at.topic];
    bool full = false;
    op->name = in->name;
    if (op->q->header.request_api_version >= TOPIC_ID_VERSION)
        op->name = name_of_id(op->work.image, &in->topic_id, &op->q->arena, &full);
    op->image = op->name.len < 0
                    ? NULL
                    : image_topic_by_name(op->work.image, op->name.data, (size_t)op->name.len);
    init_offset_commit_response_topic(out);
    out->name = in->name;
    out->topic_id = in->topic_id;
    out->partitions_count = (int32_t)max_i64(in->partitions_count, 0);
    out->partitions =
        arena_array(&op->q->arena, (size_t)out->partitions_count, sizeof(*out->partitions));
    op->response.topics_count++;
    op->failed = full || !out->partitions;
}

static bool commit_step(struct api_work *work)
{
    struct commit_op *op = container_of(work, struct commit_op, work);
    const struct offset_commit_request *request = &op->request;
    struct api_cursor *at = &op->at;
    enum api_place place = API_TOPIC;
    for (unsigned i = 0; place != API_END && !op->failed && i < COMMIT_ITEMS; i++) {
        place = api_cursor_next(at, request->topics_count,
                                at->begun ? request->topics[at->topic].partitions_count : 0);
        if (place == API_TOPIC)
            commit_topic(op);
        else if (place == API_PARTITION)
            commit_partition(op, op->image, op->name,
                             &request->topics[at->topic].partitions[at->partition],
                             &op->response.topics[at->topic].partitions[at->partition]);
    }
    return place != API_END && !op->failed;
}

static void on_committed(struct group_write *write)
{
    struct commit_op *op = container_of(write, struct commit_op, write);
    group_call_end(&op->call, write->error);
}

/* Under an older epoch only for what the member has had since (KIP-1251). */
static void commit_drop_stale(struct commit_op *op, const struct consumer_group *g)
{
    const enum err stale = consumer_stale_error(consumer_group_member(g, op->request.member_id));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < op->count; i++) {
        const struct tp part = {.topic = op->offsets[i].topic_id,
                                .partition = op->offsets[i].partition};
        if (!consumer_group_commit_of(g, op->request.member_id,
                                      op->request.generation_id_or_member_epoch, &part)) {
            *op->errors[i] = (int16_t)stale;
            continue;
        }
        op->errors[kept] = op->errors[i];
        op->offsets[kept++] = op->offsets[i];
    }
    op->count = kept;
}

static enum err commit_check_consumer(const struct consumer_group *g, struct commit_op *op)
{
    bool each_partition;
    const struct consumer_member *member = consumer_group_member(g, op->request.member_id);
    const int32_t epoch = op->request.generation_id_or_member_epoch;
    if (member && member->classic && io_mutation(shard_here()->io, "migrate.generation_unchecked"))
        return ERR_NONE;
    const enum err error = consumer_group_commit(g, op->request.member_id, epoch, &each_partition);
    /* A member is known first; what an older version says is no epoch. */
    if (error != ERR_UNKNOWN_MEMBER_ID && g->member_count > 0 && member && !member->classic &&
        op->q->header.request_api_version < COMMIT_EPOCH_VERSION)
        return ERR_UNSUPPORTED_VERSION;
    if (error == ERR_NONE && each_partition &&
        !io_mutation(shard_here()->io, "consumer.epoch_unchecked"))
        commit_drop_stale(op, g);
    return error;
}

/* Kafka makes a group of whoever commits without one (O1). */
static enum err commit_check(struct groups *groups, struct commit_op *op,
                             struct group_entry **entry)
{
    const struct offset_commit_request *request = &op->request;
    int32_t generation = request->generation_id_or_member_epoch;
    *entry = groups_find(groups, request->group_id);
    if (*entry && (*entry)->consumer)
        return commit_check_consumer((*entry)->consumer, op);
    if (*entry && generation >= 0 && io_mutation(shard_here()->io, "group.generation_unchecked"))
        generation = (*entry)->group->generation;
    if (!*entry && generation >= 0)
        return op->q->header.request_api_version >= COMMIT_NO_GROUP_VERSION
                   ? ERR_GROUP_ID_NOT_FOUND
                   : ERR_ILLEGAL_GENERATION;
    if (!*entry)
        *entry = groups_get(groups, request->group_id);
    if (!*entry)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    return group_commit((*entry)->group, request->member_id, request->group_instance_id,
                        generation);
}

static void commit_run(struct groups *groups, struct group_call *call)
{
    struct commit_op *op = container_of(call, struct commit_op, call);
    struct group_entry *entry;
    enum err error = commit_check(groups, op, &entry);
    if (error != ERR_NONE || op->count == 0) {
        if (entry)
            groups_settle(entry);
        group_call_end(call, error);
        return;
    }
    const int64_t now_ms = io_wall_ms(shard_here()->io);
    const int64_t retention_ms = op->request.retention_time_ms;
    for (uint32_t i = 0; i < op->count; i++) {
        op->offsets[i].commit_ms = now_ms;
        if (retention_ms >= 0)
            op->offsets[i].expire_ms = now_ms + min_i64(retention_ms, INT64_MAX - now_ms);
    }
    op->write = (struct group_write){.entry = entry,
                                     .offsets = op->offsets,
                                     .count = op->count,
                                     .arena = call->arena,
                                     .done = on_committed};
    group_write_start(&op->write);
    groups_settle(entry);
}

static void commit_answer(struct group_call *call)
{
    struct commit_op *op = container_of(call, struct commit_op, call);
    for (uint32_t i = 0; i < op->count; i++)
        *op->errors[i] = (int16_t)call->error;
    api_work_answer(&op->work, KAFKA_OFFSET_COMMIT_RESPONSE, &op->response);
}

static void commit_checked(struct api_work *work)
{
    struct commit_op *op = container_of(work, struct commit_op, work);
    struct request *q = op->q;
    if (op->failed) {
        api_malformed(q);
        return;
    }
    op->call.error = ERR_NONE;
    if (!api_may(q, OPERATION_READ, RESOURCE_GROUP, op->request.group_id))
        op->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
    if (op->call.error == ERR_NONE)
        group_call_start(api_shard(q), &op->call);
    else
        commit_answer(&op->call);
}

static bool commit_alloc(struct commit_op *op)
{
    struct arena *arena = &op->q->arena;
    const struct offset_commit_request *request = &op->request;
    const size_t topics = (size_t)max_i64(request->topics_count, 0);
    size_t partitions = 0;
    for (size_t i = 0; i < topics; i++)
        partitions += (size_t)max_i64(request->topics[i].partitions_count, 0);
    op->response.topics = arena_array(arena, topics, sizeof(*op->response.topics));
    op->offsets = arena_array(arena, partitions, sizeof(*op->offsets));
    op->errors = arena_array(arena, partitions, sizeof(*op->errors));
    return op->response.topics && op->offsets && op->errors;
}

void api_offset_commit(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    const int16_t version = q->header.request_api_version;
    struct rd rd;
    struct commit_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    op->q = q;
    init_offset_commit_response(&op->response);
    if (!read_offset_commit_request(&rd, &q->arena, version, &op->request) || !commit_alloc(op)) {
        api_malformed(q);
        return;
    }
    if (version > COMMIT_RETENTION_VERSION_MAX)
        op->request.retention_time_ms = -1;
    op->call = (struct group_call){.group_id = op->request.group_id,
                                   .arena = &q->arena,
                                   .run = commit_run,
                                   .done = commit_answer};
    api_work_go(&op->work, commit_step, commit_checked);
}

/* ---- OffsetFetch ---- */

struct offset_fetch_op {
    struct group_series series;
    struct request *q;
    struct offset_fetch_request request;
    struct offset_fetch_response response;
    bool full; /* the arena */
};

/* One partition's answer; there may be nothing to tell (O4). */
static void fetch_fill(struct offset_fetch_op *op, const struct group_offset *found,
                       int32_t partition, struct offset_fetch_response_group_topic_partition *out)
{
    init_offset_fetch_response_group_topic_partition(out);
    out->partition_index = partition;
    out->committed_offset = -1;
    out->metadata = str_of("");
    if (!found)
        return;
    out->committed_offset = found->offset;
    out->committed_leader_epoch = found->leader_epoch;
    const size_t len = (size_t)max_i64(found->metadata.len, 0);
    char *text = arena_alloc(op->series.call.arena, len);
    if (!text) {
        op->full = true;
        return;
    }
    if (len > 0)
        memcpy(text, found->metadata.data, len);
    out->metadata = (struct str){text, (int32_t)len};
}

static void fetch_named(struct offset_fetch_op *op, const struct group_offsets *offsets,
                        const struct offset_fetch_request_group *in,
                        struct offset_fetch_response_group *out)
{
    struct arena *arena = op->series.call.arena;
    out->topics = arena_array(arena, (size_t)in->topics_count, sizeof(*out->topics));
    for (int32_t t = 0; out->topics && t < in->topics_count; t++) {
        const struct offset_fetch_request_group_topic *asked = &in->topics[t];
        struct offset_fetch_response_group_topic *topic = &out->topics[out->topics_count++];
        const size_t count = (size_t)max_i64(asked->partition_indexes_count, 0);
        init_offset_fetch_response_group_topic(topic);
        topic->name = asked->name;
        topic->topic_id = asked->topic_id;
        topic->partitions = arena_array(arena, count, sizeof(*topic->partitions));
        for (size_t p = 0; topic->partitions && p < count; p++) {
            const int32_t partition = asked->partition_indexes[p];
            struct offset_fetch_response_group_topic_partition *to =
                &topic->partitions[topic->partitions_count++];
            const struct group_offset *found =
                offsets && asked->name.len >= 0
                    ? group_offsets_find(offsets, asked->name, partition)
                    : NULL;
            fetch_fill(op, found, partition, to);
            if (asked->name.len < 0)
                to->error_code = ERR_UNKNOWN_TOPIC_ID;
        }
        op->full |= !topic->partitions;
    }
    op->full |= !out->topics;
}

static void fetch_all_of(struct offset_fetch_op *op, const struct group_topic *from,
                         struct offset_fetch_response_group_topic *topic)
{
    struct arena *arena = op->series.call.arena;
    char *name = arena_alloc(arena, (size_t)from->name.len);
    init_offset_fetch_response_group_topic(topic);
    topic->partitions = arena_array(arena, from->count, sizeof(*topic->partitions));
    op->full |= !name || !topic->partitions;
    if (op->full)
        return;
    memcpy(name, from->name.data, (size_t)from->name.len);
    topic->name = (struct str){name, from->name.len};
    const struct group_offset *offset;
    TAILQ_FOREACH (offset, &from->offsets, link)
        fetch_fill(op, offset, offset->partition, &topic->partitions[topic->partitions_count++]);
}

static void fetch_all(struct offset_fetch_op *op, const struct group_offsets *offsets,
                      struct offset_fetch_response_group *out)
{
    const uint32_t count = offsets ? offsets->topic_count : 0;
    out->topics = arena_array(op->series.call.arena, count, sizeof(*out->topics));
    op->full |= !out->topics;
    const bool by_id = op->q->header.request_api_version >= TOPIC_ID_VERSION;
    const struct image *image = broker_shard_of(shard_here())->image;
    const struct group_topic *topic = offsets ? offsets->topics : NULL;
    for (; topic && !op->full; topic = topic->hh.next) {
        const struct topic_image *there =
            image_topic_by_name(image, topic->name.data, (size_t)topic->name.len);
        if (by_id && !there)
            continue; /* it has no id any more */
        struct offset_fetch_response_group_topic *to = &out->topics[out->topics_count++];
        fetch_all_of(op, topic, to);
        if (by_id)
            to->topic_id = there->id;
    }
}

static void offset_fetch_run(struct groups *groups, struct group_call *call)
{
    struct offset_fetch_op *op = container_of(call, struct offset_fetch_op, series.call);
    const struct offset_fetch_request_group *in = &op->request.groups[op->series.at];
    struct offset_fetch_response_group *out = &op->response.groups[op->series.at];
    const struct group_entry *entry = groups_find(groups, in->group_id);
    const struct group_offsets *offsets = entry ? &entry->offsets : NULL;
    const enum err error =
        entry && entry->consumer
            ? consumer_group_fetch(entry->consumer, in->member_id, in->member_epoch)
            : ERR_NONE;
    if (error != ERR_NONE) {
        group_call_end(call, error);
        return;
    }
    if (in->topics_count < 0)
        fetch_all(op, offsets, out);
    else
        fetch_named(op, offsets, in, out);
    group_call_end(call, op->full ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE);
}

/* Version 1 has no place for an error but the partitions. */
static void errors_into_partitions(struct offset_fetch_op *op, enum err error)
{
    const struct offset_fetch_request_group *in = &op->request.groups[0];
    struct offset_fetch_response_group *out = &op->response.groups[0];
    out->topics_count = 0;
    fetch_named(op, NULL, in, out);
    for (int32_t t = 0; t < out->topics_count; t++)
        for (int32_t p = 0; p < out->topics[t].partitions_count; p++)
            out->topics[t].partitions[p].error_code = (int16_t)error;
}

/* One group, in the older shape. */
static bool fetch_flatten(struct offset_fetch_op *op)
{
    const struct offset_fetch_response_group *group = &op->response.groups[0];
    struct offset_fetch_response *response = &op->response;
    const size_t count = (size_t)group->topics_count;
    response->error_code = group->error_code;
    response->groups_count = 0;
    response->topics = arena_array(&op->q->arena, count, sizeof(*response->topics));
    for (size_t t = 0; response->topics && t < count; t++) {
        const struct offset_fetch_response_group_topic *from = &group->topics[t];
        struct offset_fetch_response_topic *to = &response->topics[response->topics_count++];
        const size_t partitions = (size_t)from->partitions_count;
        init_offset_fetch_response_topic(to);
        to->name = from->name;
        to->partitions = arena_array(&op->q->arena, partitions, sizeof(*to->partitions));
        if (!to->partitions)
            return false;
        for (size_t p = 0; p < partitions; p++)
            to->partitions[to->partitions_count++] = (struct offset_fetch_response_partition){
                .partition_index = from->partitions[p].partition_index,
                .committed_offset = from->partitions[p].committed_offset,
                .committed_leader_epoch = from->partitions[p].committed_leader_epoch,
                .metadata = from->partitions[p].metadata,
                .error_code = from->partitions[p].error_code};
    }
    return response->topics != NULL;
}

static void offset_fetch_end(struct group_series *series)
{
    struct offset_fetch_op *op = container_of(series, struct offset_fetch_op, series);
    if (op->q->header.request_api_version < FETCH_GROUPS_VERSION && !fetch_flatten(op))
        api_malformed(op->q);
    else
        api_work_answer(&series->work, KAFKA_OFFSET_FETCH_RESPONSE, &op->response);
}

static void offset_fetch_begin(struct group_series *series)
{
    struct offset_fetch_op *op = container_of(series, struct offset_fetch_op, series);
    struct str id = op->request.groups[series->at].group_id;
    series->call.group_id = id;
    if (!api_may(op->q, OPERATION_DESCRIBE, RESOURCE_GROUP, id))
        series->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
}

static void offset_fetch_back(struct group_series *series)
{
    struct offset_fetch_op *op = container_of(series, struct offset_fetch_op, series);
    struct offset_fetch_response_group *out = &op->response.groups[series->at];
    const enum err error = series->call.error;
    out->error_code = (int16_t)error;
    if (error != ERR_NONE)
        out->topics_count = 0;
    if (error != ERR_NONE && op->q->header.request_api_version < FETCH_ALL_VERSION)
        errors_into_partitions(op, error);
}

static bool fetch_name_topics(struct offset_fetch_op *op, struct offset_fetch_request_group *group)
{
    const struct image *image = api_shard(op->q)->image;
    bool full = false;
    for (int32_t i = 0; i < group->topics_count && !full; i++)
        group->topics[i].name = name_of_id(image, &group->topics[i].topic_id, &op->q->arena, &full);
    return !full;
}

/* The older shape as a list of one group. */
static bool fetch_prepare(struct offset_fetch_op *op)
{
    struct offset_fetch_request *request = &op->request;
    struct arena *arena = &op->q->arena;
    if (op->q->header.request_api_version < FETCH_GROUPS_VERSION) {
        struct offset_fetch_request_group *group = arena_alloc(arena, sizeof(*group));
        const size_t count = (size_t)max_i64(request->topics_count, 0);
        if (!group)
            return false;
        init_offset_fetch_request_group(group);
        group->group_id = request->group_id;
        group->topics = arena_array(arena, count, sizeof(*group->topics));
        if (!group->topics)
            return false;
        for (size_t i = 0; i < count; i++) {
            init_offset_fetch_request_group_topic(&group->topics[i]);
            group->topics[i].name = request->topics[i].name;
            group->topics[i].partition_indexes = request->topics[i].partition_indexes;
            group->topics[i].partition_indexes_count = request->topics[i].partition_indexes_count;
        }
        group->topics_count = request->topics_count;
        request->groups = group;
        request->groups_count = 1;
    }
    const size_t count = (size_t)max_i64(request->groups_count, 0);
    op->response.groups = arena_array(arena, count, sizeof(*op->response.groups));
    if (!op->response.groups)
        return false;
    for (size_t i = 0; i < count; i++) {
        init_offset_fetch_response_group(&op->response.groups[i]);
        op->response.groups[i].group_id = request->groups[i].group_id;
        if (op->q->header.request_api_version >= TOPIC_ID_VERSION &&
            !fetch_name_topics(op, &request->groups[i]))
            return false;
    }
    op->response.groups_count = (int32_t)count;
    return true;
}

void api_offset_fetch(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct offset_fetch_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_offset_fetch_response(&op->response);
    if (!read_offset_fetch_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !fetch_prepare(op)) {
        api_malformed(q);
        return;
    }
    op->series.call.run = offset_fetch_run;
    op->series.count = op->response.groups_count;
    op->series.begin = offset_fetch_begin;
    op->series.back = offset_fetch_back;
    op->series.end = offset_fetch_end;
    group_series_start(&op->series, q);
}

/* ---- OffsetDelete ---- */

struct offset_delete_op {
    struct group_call call;
    struct api_work work;
    struct request *q;
    struct offset_delete_request request;
    struct offset_delete_response response;
    struct group_offset *offsets;
    uint32_t count;
    struct group_write write;
};

static void on_offsets_deleted(struct group_write *write)
{
    struct offset_delete_op *op = container_of(write, struct offset_delete_op, write);
    group_call_end(&op->call, write->error);
}

/* O6: of a group that is alive only topics that nobody reads, and those we understand. */
static enum err delete_check(const struct group_entry *entry)
{
    if (!entry || group_entry_is_dead(entry))
        return ERR_GROUP_ID_NOT_FOUND;
    if (!entry->group || entry->group->state == GROUP_EMPTY || group_is_consumer(entry->group))
        return ERR_NONE;
    return ERR_NON_EMPTY_GROUP;
}

static void delete_collect(struct offset_delete_op *op, const struct group_entry *entry)
{
    for (int32_t t = 0; t < op->response.topics_count; t++) {
        struct offset_delete_response_topic *topic = &op->response.topics[t];
        const bool read = group_entry_reads(entry, topic->name);
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            struct offset_delete_response_partition *out = &topic->partitions[p];
            if (out->error_code != ERR_NONE)
                continue;
            if (read)
                out->error_code = ERR_GROUP_SUBSCRIBED_TO_TOPIC;
            else if (group_offsets_find(&entry->offsets, topic->name, out->partition_index))
                op->offsets[op->count++] =
                    (struct group_offset){.topic = topic->name, .partition = out->partition_index};
        }
    }
}

static void offset_delete_run(struct groups *groups, struct group_call *call)
{
    struct offset_delete_op *op = container_of(call, struct offset_delete_op, call);
    struct group_entry *entry = groups_find(groups, call->group_id);
    enum err error = delete_check(entry);
    if (error == ERR_NONE)
        delete_collect(op, entry);
    if (error != ERR_NONE || op->count == 0) {
        group_call_end(call, error);
        return;
    }
    op->write = (struct group_write){.entry = entry,
                                     .offsets = op->offsets,
                                     .count = op->count,
                                     .remove = true,
                                     .arena = call->arena,
                                     .done = on_offsets_deleted};
    group_write_start(&op->write);
}

static void offset_delete_answer(struct group_call *call)
{
    struct offset_delete_op *op = container_of(call, struct offset_delete_op, call);
    op->response.error_code = (int16_t)call->error;
    if (call->error != ERR_NONE)
        op->response.topics_count = 0;
    api_work_answer(&op->work, KAFKA_OFFSET_DELETE_RESPONSE, &op->response);
}

static bool delete_topic(struct offset_delete_op *op, const struct offset_delete_request_topic *in,
                         struct offset_delete_response_topic *out)
{
    const struct image *image = api_shard(op->q)->image;
    const struct topic_image *topic =
        image_topic_by_name(image, in->name.data, (size_t)in->name.len);
    const size_t count = (size_t)max_i64(in->partitions_count, 0);
    init_offset_delete_response_topic(out);
    out->name = in->name;
    out->partitions = arena_array(&op->q->arena, count, sizeof(*out->partitions));
    if (!out->partitions)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct offset_delete_response_partition *partition = &out->partitions[i];
        init_offset_delete_response_partition(partition);
        partition->partition_index = in->partitions[i].partition_index;
        if (!api_may(op->q, OPERATION_READ, RESOURCE_TOPIC, in->name))
            partition->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        else if (!topic || !image_partition(topic, partition->partition_index))
            partition->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    out->partitions_count = (int32_t)count;
    return true;
}

static bool delete_prepare(struct offset_delete_op *op)
{
    struct arena *arena = &op->q->arena;
    const size_t count = (size_t)max_i64(op->request.topics_count, 0);
    size_t partitions = 0;
    op->response.topics = arena_array(arena, count, sizeof(*op->response.topics));
    if (!op->response.topics)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!delete_topic(op, &op->request.topics[i], &op->response.topics[i]))
            return false;
        partitions += (size_t)op->response.topics[i].partitions_count;
    }
    op->response.topics_count = (int32_t)count;
    op->offsets = arena_array(arena, partitions, sizeof(*op->offsets));
    return op->offsets != NULL;
}

void api_offset_delete(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct offset_delete_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    op->q = q;
    init_offset_delete_response(&op->response);
    if (!read_offset_delete_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !delete_prepare(op)) {
        api_malformed(q);
        return;
    }
    op->call = (struct group_call){.group_id = op->request.group_id,
                                   .arena = &q->arena,
                                   .run = offset_delete_run,
                                   .done = offset_delete_answer};
    if (!api_may(q, OPERATION_DELETE, RESOURCE_GROUP, op->request.group_id))
        op->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
    else if (op->request.group_id.len <= 0)
        op->call.error = ERR_INVALID_GROUP_ID;
    if (op->call.error == ERR_NONE)
        group_call_start(bs, &op->call);
    else
        offset_delete_answer(&op->call);
}
