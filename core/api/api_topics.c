/* SPDX-License-Identifier: Apache-2.0
 *
 * CreateTopics, DeleteTopics, CreatePartitions: decoded here, decided by the controller item by
 * item, encoded here when every shard of this broker has applied the result.
 */
#include "core/api/api.h"
#include "core/api/named_twice.h"
#include "core/conf/overrides.h"
#include "core/controller/controller.h"
#include "core/quota.h"

#include <string.h>

#define CREATE_TOPICS_CONFIGS_VERSION 5 /* answers with the topic's configuration */
#define DELETE_TOPICS_ID_VERSION      6
/* From these on a client is refused what is over its quota; before, it is only told to wait. */
#define CREATE_TOPICS_STRICT_VERSION     6
#define DELETE_TOPICS_STRICT_VERSION     5
#define CREATE_PARTITIONS_STRICT_VERSION 3
/* Kafka's bound (on partitions), and what keeps the answer in the request's memory: topics that are
 * made and not answered for would be asked for again. */
#define CREATE_TOPICS_MAX 10000
#define TOO_MANY_TOPICS   "one request may create 10000 topics"
#define ITEMS             16 /* per step */

/* In the request's arena. */
struct topics_op {
    struct control_op control;
    struct api_work work;
    struct request *q;
    const struct topics_kind *kind;
    struct named_twice names;
    int32_t at; /* the next item */
    union {
        struct create_topics_request create;
        struct delete_topics_request remove;
        struct create_partitions_request grow;
    } request;
    union {
        struct create_topics_response created;
        struct delete_topics_response removed;
        struct create_partitions_response grown;
    } response;
    bool failed;
};

/* What a request does about each of its items. */
struct topics_kind {
    bool (*fill)(struct topics_op *op, int32_t at); /* false: no memory */
    void (*judge)(struct topics_op *op, struct control_item *item);
    int16_t strict_version;
};

static struct topics_op *topics_op_new(struct request *q, enum control_kind kind,
                                       void (*done)(struct control_op *op))
{
    struct topics_op *op = arena_alloc(&q->arena, sizeof(*op));
    if (!op)
        return NULL;
    memset(op, 0, sizeof(*op));
    op->q = q;
    api_work_init(&op->work, q);
    control_op_init(&op->control, kind, &q->arena, done);
    return op;
}

static void item_refuse(struct control_item *item, enum err error, const char *message)
{
    item->error = (int16_t)error;
    item->message = message;
}

static struct named_topic item_name(const struct topics_op *op, const struct control_item *item)
{
    return named_topic_of(&op->names, item->name);
}

static bool clear_step(struct api_work *work)
{
    return named_twice_clear(&container_of(work, struct topics_op, work)->names);
}

static bool fill_step(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    const int32_t count = op->control.item_count;
    for (int32_t i = 0; op->at < count && i < ITEMS && !op->failed; i++) {
        const int32_t at = op->at++;
        const struct control_item *item = &op->control.items[at];
        op->failed = !op->kind->fill(op, at);
        if (op->failed || item->by_id)
            continue;
        const struct named_topic name = item_name(op, item);
        named_twice_add(&op->names, &name, 0);
    }
    return op->at < count && !op->failed;
}

/* A name that stands in the request more than once: each of them is refused (C2). */
static bool judge_step(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    const int32_t count = op->control.item_count;
    for (int32_t i = 0; op->at < count && i < ITEMS; i++) {
        struct control_item *item = &op->control.items[op->at++];
        const struct named_topic name = item_name(op, item);
        if (!item->by_id && named_twice(&op->names, &name, 0))
            item_refuse(item, ERR_INVALID_REQUEST, "the topic is named more than once");
        if (op->kind->judge)
            op->kind->judge(op, item);
    }
    return op->at < count;
}

static void judged(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    op->at = 0;
    op->control.strict = op->q->header.request_api_version >= op->kind->strict_version;
    quota_of_mutations(op->q, &op->control);
    controller_submit(api_shard(op->q), &op->control);
}

static void filled(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    op->at = 0;
    if (op->failed)
        api_malformed(op->q);
    else
        api_work_go(work, judge_step, judged);
}

static void cleared(struct api_work *work)
{
    api_work_go(work, fill_step, filled);
}

/* From the decoded request to the controller. */
static void topics_go(struct topics_op *op, const struct topics_kind *kind, int32_t count)
{
    const struct broker *broker = api_shard(op->q)->broker;
    op->kind = kind;
    if (control_op_room(&op->control, count) &&
        named_twice_init(&op->names, &op->q->arena, (size_t)op->control.item_count,
                         broker->options.seed[0]))
        api_work_go(&op->work, clear_step, cleared);
    else
        api_malformed(op->q);
}

static bool may_or_refuse(struct request *q, struct control_item *item,
                          enum api_operation operation)
{
    if (api_may(q, operation, RESOURCE_TOPIC, item->name))
        return true;
    item_refuse(item, ERR_TOPIC_AUTHORIZATION_FAILED, NULL);
    return false;
}

static struct control_config *
configs_copy(struct arena *arena, const struct create_topics_request_config *in, int32_t count)
{
    struct control_config *configs = arena_array(arena, (size_t)count, sizeof(*configs));
    for (int32_t i = 0; configs && i < count; i++)
        configs[i] = (struct control_config){.name = in[i].name, .value = in[i].value};
    return configs;
}

/* ---- CreateTopics ---- */

static bool view_fill(struct topics_op *op, const struct conf_view *view,
                      struct create_topics_response_topic *out)
{
    struct request *q = op->q;
    out->configs = arena_array(&q->arena, conf_scope_count(CONF_TOPIC), sizeof(*out->configs));
    if (!out->configs)
        return false;
    out->configs_count = 0;
    for (uint16_t i = 0; i < conf_key_count; i++) {
        struct conf_entry entry;
        if (conf_keys[i].scope != CONF_TOPIC || !conf_is_listed(view, &conf_keys[i]))
            continue;
        conf_describe(view, &conf_keys[i], &entry);
        char *value = entry.value.text ? arena_text(&q->arena, entry.value.text) : NULL;
        out->configs[out->configs_count++] =
            (struct create_topics_response_config){.name = str_of(conf_keys[i].name),
                                                   .value = str_of(value),
                                                   .read_only = entry.read_only,
                                                   .config_source = (int8_t)entry.value.source,
                                                   .is_sensitive = entry.sensitive};
    }
    return true;
}

/* What a topic would have that is only validated. */
static bool validated_configs(struct topics_op *op, const struct control_item *item,
                              struct create_topics_response_topic *out)
{
    struct overrides overrides;
    overrides_init(&overrides, CONF_TOPIC);
    struct conf_view view = image_view(op->work.image, NULL);
    view.topic = &overrides;
    for (int32_t i = 0; i < item->config_count; i++) {
        const struct control_config *config = &item->configs[i];
        const char *value = config->value.len == 0 ? "" : config->value.data;
        struct conf_error error;
        /* The controller has said that all are valid. */
        if (!overrides_alter(&overrides, OVERRIDE_SET, config->name.data, (size_t)config->name.len,
                             value, (size_t)config->value.len, &view, &error))
            continue;
    }
    bool good = view_fill(op, &view, out);
    overrides_fini(&overrides);
    return good;
}

static bool created_configs(struct topics_op *op, const struct control_item *item,
                            struct create_topics_response_topic *out)
{
    if (op->control.validate_only)
        return validated_configs(op, item, out);
    const struct topic_image *topic = image_topic_by_id(op->work.image, &out->topic_id);
    if (!topic)
        return true; /* deleted again already */
    const struct conf_view view = image_view(op->work.image, topic);
    return view_fill(op, &view, out);
}

static bool created_fill(struct topics_op *op, const struct control_item *item,
                         struct create_topics_response_topic *out)
{
    struct request *q = op->q;
    init_create_topics_response_topic(out);
    out->name = item->name;
    out->error_code = control_item_error(&op->control, item);
    out->error_message = str_of(item->message);
    out->configs_count = 0;
    if (out->error_code != ERR_NONE)
        return true;
    out->topic_id = item->created_id;
    out->num_partitions = item->created_partitions;
    out->replication_factor = item->created_replication_factor;
    if (q->header.request_api_version < CREATE_TOPICS_CONFIGS_VERSION)
        return true;
    if (!api_may(q, OPERATION_DESCRIBE_CONFIGS, RESOURCE_TOPIC, item->name)) {
        out->topic_config_error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        out->num_partitions = -1;
        out->replication_factor = -1;
        out->configs_count = -1;
        return true;
    }
    return created_configs(op, item, out);
}

static bool created_step(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    int32_t next = op->response.created.topics_count;
    if (next == op->control.item_count)
        return false;
    struct create_topics_response_topic *out =
        &op->response.created.topics[op->response.created.topics_count++];
    op->failed = !created_fill(op, &op->control.items[next], out);
    /* The topics are made either way; who would not wait is told so (C3). */
    if (op->request.create.timeout_ms <= 0 && !op->control.validate_only &&
        out->error_code == ERR_NONE)
        out->error_code = ERR_REQUEST_TIMED_OUT;
    return !op->failed;
}

static void created_done(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    if (op->failed)
        api_malformed(op->q);
    else
        api_work_answer(work, KAFKA_CREATE_TOPICS_RESPONSE, &op->response.created);
}

static void on_created(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct request *q = op->q;
    quota_mutated(q, control);
    init_create_topics_response(&op->response.created);
    op->response.created.topics =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*op->response.created.topics));
    if (op->response.created.topics)
        api_work_go(&op->work, created_step, created_done);
    else
        api_malformed(q);
}

static bool create_item(struct topics_op *op, const struct create_topics_request_topic *in,
                        struct control_item *item)
{
    struct arena *arena = &op->q->arena;
    struct control_assignment *assignments =
        arena_array(arena, (size_t)in->assignments_count, sizeof(*assignments));
    struct control_config *configs = configs_copy(arena, in->configs, in->configs_count);
    if (!assignments || !configs)
        return false;
    for (int32_t i = 0; i < in->assignments_count; i++)
        assignments[i] =
            (struct control_assignment){.partition = in->assignments[i].partition_index,
                                        .broker_ids = in->assignments[i].broker_ids,
                                        .broker_count = in->assignments[i].broker_ids_count};
    *item = (struct control_item){.name = in->name,
                                  .partition_count = in->num_partitions,
                                  .replication_factor = in->replication_factor,
                                  .assignments = assignments,
                                  .assignment_count = in->assignments_count,
                                  .configs = configs,
                                  .config_count = in->configs_count};
    return true;
}

static bool create_fill(struct topics_op *op, int32_t at)
{
    return create_item(op, &op->request.create.topics[at], &op->control.items[at]);
}

static void create_judge(struct topics_op *op, struct control_item *item)
{
    if (op->control.item_count > CREATE_TOPICS_MAX)
        item_refuse(item, ERR_POLICY_VIOLATION, TOO_MANY_TOPICS);
    else
        may_or_refuse(op->q, item, OPERATION_CREATE);
}

void api_create_topics(struct broker_shard *bs, struct request *q)
{
    static const struct topics_kind kind = {
        .fill = create_fill, .judge = create_judge, .strict_version = CREATE_TOPICS_STRICT_VERSION};
    struct topics_op *op = topics_op_new(q, CONTROL_CREATE_TOPICS, on_created);
    struct rd rd;
    (void)bs;
    rd_init(&rd, q->body);
    if (!op || !read_create_topics_request(&rd, &q->arena, q->header.request_api_version,
                                           &op->request.create)) {
        api_malformed(q);
        return;
    }
    op->control.validate_only = op->request.create.validate_only;
    topics_go(op, &kind, op->request.create.topics_count);
}

/* ---- DeleteTopics ---- */

static bool deleted_step(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    const struct control_op *control = &op->control;
    struct delete_topics_response *response = &op->response.removed;
    for (int32_t i = 0; response->responses_count < control->item_count && i < ITEMS; i++) {
        const struct control_item *item = &control->items[response->responses_count];
        struct delete_topics_response_response *out =
            &response->responses[response->responses_count++];
        init_delete_topics_response_response(out);
        out->name = item->by_id ? str_of(item->found_name) : item->name;
        out->topic_id = item->by_id ? item->topic_id : item->created_id;
        out->error_code = control_item_error(control, item);
        out->error_message = str_of(item->message);
    }
    return response->responses_count < control->item_count;
}

static void deleted_done(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    api_work_answer(work, KAFKA_DELETE_TOPICS_RESPONSE, &op->response.removed);
}

static void on_deleted(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct delete_topics_response *response = &op->response.removed;
    quota_mutated(op->q, control);
    init_delete_topics_response(response);
    response->responses =
        arena_array(&op->q->arena, (size_t)control->item_count, sizeof(*response->responses));
    if (response->responses)
        api_work_go(&op->work, deleted_step, deleted_done);
    else
        api_malformed(op->q);
}

static void delete_item(struct request *q, struct str name, const struct uuid *id,
                        struct control_item *item)
{
    static const struct uuid no_id;
    bool id_given = id && memcmp(id->bytes, no_id.bytes, sizeof(no_id.bytes)) != 0;
    *item = (struct control_item){.name = name, .by_id = name.len < 0};
    if (id_given)
        item->topic_id = *id;
    if (id_given && name.len >= 0)
        item_refuse(item, ERR_INVALID_REQUEST, "give the topic's name or its id, not both");
    else if (!id_given && name.len < 0)
        item_refuse(item, ERR_INVALID_REQUEST, "give the topic's name or its id");
    else if (!api_shard(q)->broker->conf->broker.delete_topic_enable)
        item_refuse(item, ERR_TOPIC_DELETION_DISABLED, "delete.topic.enable is false");
    else
        may_or_refuse(q, item, OPERATION_DELETE);
}

static bool delete_fill(struct topics_op *op, int32_t at)
{
    const struct delete_topics_request *request = &op->request.remove;
    struct control_item *item = &op->control.items[at];
    if (op->q->header.request_api_version >= DELETE_TOPICS_ID_VERSION)
        delete_item(op->q, request->topics[at].name, &request->topics[at].topic_id, item);
    else
        delete_item(op->q, request->topic_names[at], NULL, item);
    return true;
}

void api_delete_topics(struct broker_shard *bs, struct request *q)
{
    static const struct topics_kind kind = {.fill = delete_fill,
                                            .strict_version = DELETE_TOPICS_STRICT_VERSION};
    struct topics_op *op = topics_op_new(q, CONTROL_DELETE_TOPICS, on_deleted);
    struct rd rd;
    (void)bs;
    rd_init(&rd, q->body);
    if (!op || !read_delete_topics_request(&rd, &q->arena, q->header.request_api_version,
                                           &op->request.remove)) {
        api_malformed(q);
        return;
    }
    const struct delete_topics_request *request = &op->request.remove;
    topics_go(op, &kind,
              q->header.request_api_version >= DELETE_TOPICS_ID_VERSION
                  ? request->topics_count
                  : request->topic_names_count);
}

/* ---- CreatePartitions ---- */

static bool grown_step(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    const struct control_op *control = &op->control;
    struct create_partitions_response *response = &op->response.grown;
    for (int32_t i = 0; response->results_count < control->item_count && i < ITEMS; i++) {
        const struct control_item *item = &control->items[response->results_count];
        response->results[response->results_count++] = (struct create_partitions_response_result){
            .name = item->name,
            .error_code = control_item_error(control, item),
            .error_message = str_of(item->message)};
    }
    return response->results_count < control->item_count;
}

static void grown_done(struct api_work *work)
{
    struct topics_op *op = container_of(work, struct topics_op, work);
    api_work_answer(work, KAFKA_CREATE_PARTITIONS_RESPONSE, &op->response.grown);
}

static void on_grown(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct create_partitions_response *response = &op->response.grown;
    quota_mutated(op->q, control);
    init_create_partitions_response(response);
    response->results =
        arena_array(&op->q->arena, (size_t)control->item_count, sizeof(*response->results));
    if (response->results)
        api_work_go(&op->work, grown_step, grown_done);
    else
        api_malformed(op->q);
}

static bool grow_item(struct topics_op *op, const struct create_partitions_request_topic *in,
                      struct control_item *item)
{
    int32_t count = (int32_t)max_i64(in->assignments_count, 0);
    struct control_assignment *assignments =
        arena_array(&op->q->arena, (size_t)count, sizeof(*assignments));
    if (!assignments)
        return false;
    for (int32_t i = 0; i < count; i++)
        assignments[i] =
            (struct control_assignment){.partition = i,
                                        .broker_ids = in->assignments[i].broker_ids,
                                        .broker_count = in->assignments[i].broker_ids_count};
    *item = (struct control_item){.name = in->name,
                                  .partition_count = in->count,
                                  .assignments = assignments,
                                  .assignment_count = in->assignments_count};
    return true;
}

static bool grow_fill(struct topics_op *op, int32_t at)
{
    return grow_item(op, &op->request.grow.topics[at], &op->control.items[at]);
}

static void grow_judge(struct topics_op *op, struct control_item *item)
{
    may_or_refuse(op->q, item, OPERATION_ALTER);
}

void api_create_partitions(struct broker_shard *bs, struct request *q)
{
    static const struct topics_kind kind = {
        .fill = grow_fill, .judge = grow_judge, .strict_version = CREATE_PARTITIONS_STRICT_VERSION};
    struct topics_op *op = topics_op_new(q, CONTROL_CREATE_PARTITIONS, on_grown);
    struct rd rd;
    (void)bs;
    rd_init(&rd, q->body);
    if (!op || !read_create_partitions_request(&rd, &q->arena, q->header.request_api_version,
                                               &op->request.grow)) {
        api_malformed(q);
        return;
    }
    op->control.validate_only = op->request.grow.validate_only;
    topics_go(op, &kind, op->request.grow.topics_count);
}
