/* SPDX-License-Identifier: Apache-2.0
 *
 * CreateTopics, DeleteTopics, CreatePartitions: decoded here, decided by the controller item by
 * item, encoded here when every shard of this broker has applied the result.
 */
#include "core/api/api.h"
#include "core/conf/overrides.h"
#include "core/controller.h"
#include "core/quota.h"

#include <stdlib.h>
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

/* In the request's arena. */
struct topics_op {
    struct control_op control;
    struct api_work work;
    struct request *q;
    union {
        struct create_topics_request create;
        struct delete_topics_request remove;
        struct create_partitions_request grow;
    } request;
    struct create_topics_response created;
    bool failed;
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

static void submit(struct broker_shard *bs, struct topics_op *op, int16_t strict_version)
{
    op->control.strict = op->q->header.request_api_version >= strict_version;
    quota_of_mutations(op->q, &op->control);
    controller_submit(bs, &op->control);
}

static void item_refuse(struct control_item *item, enum err error, const char *message)
{
    item->error = (int16_t)error;
    item->message = message;
}

static int by_name(const void *a, const void *b)
{
    const struct control_item *x = *(struct control_item *const *)a;
    const struct control_item *y = *(struct control_item *const *)b;
    if (x->by_id || y->by_id)
        return (int)x->by_id - (int)y->by_id;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->name.len > 0 ? memcmp(x->name.data, y->name.data, (size_t)x->name.len) : 0;
}

/* A name that stands in the request more than once: each of them is refused (C2). */
static bool refuse_duplicates(struct topics_op *op)
{
    struct control_op *control = &op->control;
    size_t count = (size_t)control->item_count;
    struct control_item **sorted = arena_array(&op->q->arena, count, sizeof(struct control_item *));
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &control->items[i];
    qsort(sorted, count, sizeof(struct control_item *), by_name);
    for (size_t i = 1; i < count; i++) {
        if (sorted[i]->by_id || by_name(&sorted[i - 1], &sorted[i]) != 0)
            continue;
        item_refuse(sorted[i - 1], ERR_INVALID_REQUEST, "the topic is named more than once");
        item_refuse(sorted[i], ERR_INVALID_REQUEST, "the topic is named more than once");
    }
    return true;
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
    int32_t next = op->created.topics_count;
    if (next == op->control.item_count)
        return false;
    struct create_topics_response_topic *out = &op->created.topics[op->created.topics_count++];
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
        api_work_answer(work, KAFKA_CREATE_TOPICS_RESPONSE, &op->created);
}

static void on_created(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct request *q = op->q;
    quota_mutated(q, control);
    init_create_topics_response(&op->created);
    op->created.topics =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*op->created.topics));
    if (op->created.topics)
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

void api_create_topics(struct broker_shard *bs, struct request *q)
{
    struct topics_op *op = topics_op_new(q, CONTROL_CREATE_TOPICS, on_created);
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_create_topics_request(&rd, &q->arena, q->header.request_api_version,
                                           &op->request.create)) {
        api_malformed(q);
        return;
    }
    const struct create_topics_request *request = &op->request.create;
    op->control.validate_only = request->validate_only;
    bool whole = control_op_items(&op->control, request->topics_count);
    for (int32_t i = 0; whole && i < request->topics_count; i++)
        whole = create_item(op, &request->topics[i], &op->control.items[i]);
    if (!whole || !refuse_duplicates(op)) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < op->control.item_count; i++) {
        if (op->control.item_count > CREATE_TOPICS_MAX)
            item_refuse(&op->control.items[i], ERR_POLICY_VIOLATION, TOO_MANY_TOPICS);
        else
            may_or_refuse(q, &op->control.items[i], OPERATION_CREATE);
    }
    submit(bs, op, CREATE_TOPICS_STRICT_VERSION);
}

/* ---- DeleteTopics ---- */

static void on_deleted(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct request *q = op->q;
    quota_mutated(q, control);
    struct delete_topics_response response;
    init_delete_topics_response(&response);
    response.responses =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*response.responses));
    if (!response.responses) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < control->item_count; i++) {
        const struct control_item *item = &control->items[i];
        struct delete_topics_response_response *out =
            &response.responses[response.responses_count++];
        init_delete_topics_response_response(out);
        out->name = item->by_id ? str_of(item->found_name) : item->name;
        out->topic_id = item->by_id ? item->topic_id : item->created_id;
        out->error_code = control_item_error(control, item);
        out->error_message = str_of(item->message);
    }
    api_answer(q, KAFKA_DELETE_TOPICS_RESPONSE, &response);
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

void api_delete_topics(struct broker_shard *bs, struct request *q)
{
    struct topics_op *op = topics_op_new(q, CONTROL_DELETE_TOPICS, on_deleted);
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_delete_topics_request(&rd, &q->arena, q->header.request_api_version,
                                           &op->request.remove)) {
        api_malformed(q);
        return;
    }
    const struct delete_topics_request *request = &op->request.remove;
    bool ids = q->header.request_api_version >= DELETE_TOPICS_ID_VERSION;
    if (!control_op_items(&op->control, ids ? request->topics_count : request->topic_names_count)) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < op->control.item_count; i++) {
        if (ids)
            delete_item(q, request->topics[i].name, &request->topics[i].topic_id,
                        &op->control.items[i]);
        else
            delete_item(q, request->topic_names[i], NULL, &op->control.items[i]);
    }
    if (!refuse_duplicates(op)) {
        api_malformed(q);
        return;
    }
    submit(bs, op, DELETE_TOPICS_STRICT_VERSION);
}

/* ---- CreatePartitions ---- */

static void on_grown(struct control_op *control)
{
    struct topics_op *op = container_of(control, struct topics_op, control);
    struct request *q = op->q;
    quota_mutated(q, control);
    struct create_partitions_response response;
    init_create_partitions_response(&response);
    response.results =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*response.results));
    if (!response.results) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < control->item_count; i++)
        response.results[response.results_count++] = (struct create_partitions_response_result){
            .name = control->items[i].name,
            .error_code = control_item_error(control, &control->items[i]),
            .error_message = str_of(control->items[i].message)};
    api_answer(q, KAFKA_CREATE_PARTITIONS_RESPONSE, &response);
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

void api_create_partitions(struct broker_shard *bs, struct request *q)
{
    struct topics_op *op = topics_op_new(q, CONTROL_CREATE_PARTITIONS, on_grown);
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_create_partitions_request(&rd, &q->arena, q->header.request_api_version,
                                               &op->request.grow)) {
        api_malformed(q);
        return;
    }
    const struct create_partitions_request *request = &op->request.grow;
    op->control.validate_only = request->validate_only;
    bool whole = control_op_items(&op->control, request->topics_count);
    for (int32_t i = 0; whole && i < request->topics_count; i++)
        whole = grow_item(op, &request->topics[i], &op->control.items[i]);
    if (!whole || !refuse_duplicates(op)) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < op->control.item_count; i++)
        may_or_refuse(q, &op->control.items[i], OPERATION_ALTER);
    submit(bs, op, CREATE_PARTITIONS_STRICT_VERSION);
}
