/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeConfigs, AlterConfigs, IncrementalAlterConfigs for topics and brokers, and for loggers.
 * What a key means and where its value comes from is core/conf/conf.h and core/conf/overrides.h;
 * changes are the controller's. Loggers are this broker's own (core/api/loggers.h).
 */
#include "core/api/api.h"
#include "core/api/loggers.h"
#include "core/conf/overrides.h"
#include "core/controller/controller.h"
#include "core/controller/controller_link.h"
#include "core/topic_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each key that is asked for is compared with each that there is, in one step. */
#define CONFIG_KEYS_MAX 1000

/* ConfigResource types. */
enum config_resource {
    CONFIG_TOPIC = 2,
    CONFIG_BROKER = 4,
    CONFIG_LOGGER = 8,
};

static enum api_resource resource_of(int8_t type)
{
    return type == CONFIG_TOPIC ? RESOURCE_TOPIC : RESOURCE_CLUSTER;
}

static enum err denial_of(int8_t type)
{
    return type == CONFIG_TOPIC ? ERR_TOPIC_AUTHORIZATION_FAILED : ERR_CLUSTER_AUTHORIZATION_FAILED;
}

static bool may(struct request *q, enum api_operation operation, int8_t type, struct str name)
{
    return api_may(q, operation, resource_of(type),
                   type == CONFIG_TOPIC ? name : str_of("kafka-cluster"));
}

/* ---- DescribeConfigs ---- */

struct describe {
    struct api_work work;
    struct request *q;
    struct describe_configs_request request;
    struct describe_configs_response response;
    bool failed;
};

static struct str arena_str(struct request *q, const char *text)
{
    return str_of(text ? arena_text(&q->arena, text) : NULL);
}

/* What acknowledgements promise is told as it is, whatever was asked for: a topic's mode is that of
 * its weakest partition, and a disk that is memory makes none of them durable. */
static enum log_durability durability_told(const struct describe *d,
                                           const struct topic_image *topic)
{
    const struct broker *broker = api_shard(d->q)->broker;
    if (!topic)
        return broker_durability(broker, (enum log_durability)broker->conf->broker.durability);
    enum log_durability mode = LOG_DURABLE;
    for (uint32_t i = 0; i < topic->partition_count && mode == LOG_DURABLE; i++)
        mode = partition_durability(topic, &topic->partitions[i]);
    return broker_durability(broker, mode);
}

static bool entry_fill(struct describe *d, const struct conf_view *view, const struct conf_key *key,
                       const struct topic_image *topic,
                       struct describe_configs_response_config *out)
{
    struct request *q = d->q;
    struct conf_entry entry;
    conf_describe(view, key, &entry);
    init_describe_configs_response_config(out);
    out->name = str_of(key->name);
    out->value = strcmp(key->name, "millrace.durability") == 0
                     ? str_of(log_durability_text(durability_told(d, topic)))
                     : arena_str(q, entry.value.text);
    out->read_only = entry.read_only;
    out->config_source = (int8_t)entry.value.source;
    out->is_sensitive = entry.sensitive;
    out->config_type = conf_type_of(key);
    out->documentation = d->request.include_documentation ? str_of(key->doc) : str_null();
    if (!d->request.include_synonyms)
        return true;
    out->synonyms = arena_array(&q->arena, entry.synonym_count, sizeof(*out->synonyms));
    if (!out->synonyms)
        return false;
    for (uint32_t i = 0; i < entry.synonym_count; i++)
        out->synonyms[out->synonyms_count++] =
            (struct describe_configs_response_synonym){.name = str_of(entry.synonym[i].name),
                                                       .value = arena_str(q, entry.synonym[i].text),
                                                       .source = (int8_t)entry.synonym[i].source};
    return true;
}

static bool key_wanted(const struct describe_configs_request_resource *in,
                       const struct conf_view *view, const struct conf_key *key)
{
    if (in->configuration_keys_count <= 0) /* null and empty are all */
        return conf_is_listed(view, key);
    for (int32_t i = 0; i < in->configuration_keys_count; i++)
        if (str_equal(in->configuration_keys[i], str_of(key->name)))
            return true;
    return false;
}

static const char *const kinds_told = "only topics, brokers and loggers have configurations here";

/* Of the brokers together only that is told which is set for them together. */
static bool of_all_brokers(const struct describe_configs_request_resource *in)
{
    return in->resource_type == CONFIG_BROKER && in->resource_name.len == 0;
}

static bool is_set_for_all(const struct conf_view *view, const struct conf_key *key)
{
    struct conf_value value;
    conf_value_find(view, key, &value);
    return value.source == CONF_DYNAMIC_DEFAULT_BROKER && value.key == key;
}

static bool entries_fill(struct describe *d, const struct describe_configs_request_resource *in,
                         const struct conf_view *view, const struct topic_image *topic,
                         struct describe_configs_response_result *out)
{
    const enum conf_scope scope = topic ? CONF_TOPIC : CONF_BROKER;
    out->configs = arena_array(&d->q->arena, conf_scope_count(scope), sizeof(*out->configs));
    if (!out->configs)
        return false;
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        if (key->scope == scope && key_wanted(in, view, key) &&
            (!of_all_brokers(in) || is_set_for_all(view, key)) &&
            !entry_fill(d, view, key, topic, &out->configs[out->configs_count++]))
            return false;
    }
    return true;
}

static void result_refuse(struct describe_configs_response_result *out, enum err error,
                          const char *message)
{
    out->error_code = (int16_t)error;
    out->error_message = str_of(message);
}

static bool is_this_broker(struct broker_shard *bs, struct str name)
{
    char id[16];
    snprintf(id, sizeof(id), "%d", bs->broker->node_id);
    return str_equal(name, str_of(id));
}

/* "" is the default of all brokers, else it has to be this one (C8). There is none for loggers. */
static bool broker_named(struct broker_shard *bs, int8_t type, struct str name)
{
    return (type == CONFIG_BROKER && name.len == 0) || is_this_broker(bs, name);
}

static bool resource_fill(struct describe *d, const struct describe_configs_request_resource *in,
                          struct describe_configs_response_result *out)
{
    struct broker_shard *bs = api_shard(d->q);
    init_describe_configs_response_result(out);
    out->resource_type = in->resource_type;
    out->resource_name = in->resource_name;
    if (in->resource_type != CONFIG_TOPIC && in->resource_type != CONFIG_BROKER &&
        in->resource_type != CONFIG_LOGGER) {
        result_refuse(out, ERR_INVALID_REQUEST, kinds_told);
        return true;
    }
    if (in->configuration_keys_count > CONFIG_KEYS_MAX) {
        result_refuse(out, ERR_INVALID_REQUEST, "more keys are asked for than there are");
        return true;
    }
    if (!may(d->q, OPERATION_DESCRIBE_CONFIGS, in->resource_type, in->resource_name)) {
        result_refuse(out, denial_of(in->resource_type), NULL);
        return true;
    }
    if (in->resource_type != CONFIG_TOPIC &&
        !broker_named(bs, in->resource_type, in->resource_name)) {
        result_refuse(out, ERR_INVALID_REQUEST, "ask the broker itself for its configuration");
        return true;
    }
    if (in->resource_type == CONFIG_LOGGER)
        return loggers_describe(d->q, in, d->request.include_documentation, out);
    if (in->resource_type == CONFIG_BROKER) {
        struct conf_view view = image_view(d->work.image, NULL);
        if (in->resource_name.len == 0)
            view.broker = NULL;
        return entries_fill(d, in, &view, NULL, out);
    }
    const struct topic_image *topic =
        image_topic_by_name(d->work.image, in->resource_name.data, (size_t)in->resource_name.len);
    if (!topic) {
        const char *problem = topic_name_problem(in->resource_name);
        result_refuse(out, problem ? ERR_INVALID_TOPIC_EXCEPTION : ERR_UNKNOWN_TOPIC_OR_PARTITION,
                      problem);
        return true;
    }
    struct conf_view view = image_view(d->work.image, topic);
    return entries_fill(d, in, &view, topic, out);
}

static bool describe_step(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    int32_t next = d->response.results_count;
    if (next == d->request.resources_count)
        return false;
    d->response.results_count++;
    d->failed = !resource_fill(d, &d->request.resources[next], &d->response.results[next]);
    return !d->failed;
}

static void described(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    if (d->failed)
        api_malformed(d->q);
    else
        api_work_answer(work, KAFKA_DESCRIBE_CONFIGS_RESPONSE, &d->response);
}

void api_describe_configs(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct describe *d = api_op_new(q, sizeof(*d), &rd);
    if (!d)
        return;
    api_work_init(&d->work, q);
    d->q = q;
    init_describe_configs_response(&d->response);
    if (!read_describe_configs_request(&rd, &q->arena, q->header.request_api_version,
                                       &d->request)) {
        api_malformed(q);
        return;
    }
    d->response.results =
        arena_array(&q->arena, (size_t)d->request.resources_count, sizeof(*d->response.results));
    if (d->response.results)
        api_work_go(&d->work, describe_step, described);
    else
        api_malformed(q);
}

/* ---- changes ---- */

struct alter {
    struct control_op control;
    struct request *q;
    union {
        struct alter_configs_request replace;
        struct incremental_alter_configs_request change;
    } request;
    struct control_item **items; /* in the request's order */
    int32_t item_count;
    int32_t room;
};

static struct alter *alter_new(struct request *q, enum control_kind kind,
                               void (*done)(struct control_op *op))
{
    struct alter *op = arena_alloc(&q->arena, sizeof(*op));
    if (!op)
        return NULL;
    memset(op, 0, sizeof(*op));
    op->q = q;
    control_op_init(&op->control, kind, &q->arena, done);
    return op;
}

static bool items_room(struct alter *op, int32_t count)
{
    if (!control_op_items(&op->control, count))
        return false;
    op->control.item_count = 0;
    op->room = count;
    op->items = arena_array(&op->q->arena, (size_t)count, sizeof(struct control_item *));
    return op->items != NULL;
}

/* AlterConfigs does not know them (KIP-412). */
static bool is_logger(const struct alter *op, const struct control_item *item)
{
    return item->resource_type == CONFIG_LOGGER &&
           op->control.kind == CONTROL_INCREMENTAL_ALTER_CONFIGS;
}

static int16_t item_error(const struct alter *op, const struct control_item *item)
{
    return is_logger(op, item) ? item->error : control_item_error(&op->control, item);
}

/* Of any broker: what it is set to is the controller's to change. */
static bool broker_exists(const struct image *image, struct str name)
{
    for (uint32_t i = 0; i < image->broker_count; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%d", image->brokers[i].id);
        if (str_equal(name, str_of(id)))
            return true;
    }
    return name.len == 0;
}

static void item_check(struct alter *op, struct control_item *item)
{
    const char *message = NULL;
    enum err error = ERR_NONE;
    if (item->resource_type != CONFIG_TOPIC && item->resource_type != CONFIG_BROKER &&
        !is_logger(op, item)) {
        error = ERR_INVALID_REQUEST;
        message = kinds_told;
    } else if (!may(op->q, OPERATION_ALTER_CONFIGS, item->resource_type, item->name)) {
        error = denial_of(item->resource_type);
    } else if (item->resource_type == CONFIG_BROKER &&
               !broker_exists(api_shard(op->q)->image, item->name)) {
        error = ERR_INVALID_REQUEST;
        message = "there is no such broker";
    } else if (is_logger(op, item) && !is_this_broker(api_shard(op->q), item->name)) {
        error = ERR_INVALID_REQUEST;
        message = "ask the broker itself to change its loggers";
    }
    item->error = (int16_t)error;
    item->message = message;
}

/* Loggers are not the controller's to change: they stand behind its items, from the end on. */
static void item_add(struct alter *op, struct control_item item)
{
    struct control_op *control = &op->control;
    const int32_t loggers = op->item_count - control->item_count;
    struct control_item *place = is_logger(op, &item) ? &control->items[op->room - 1 - loggers]
                                                      : &control->items[control->item_count++];
    *place = item;
    item_check(op, place);
    op->items[op->item_count++] = place;
}

static int by_resource(const void *a, const void *b)
{
    const struct control_item *x = *(struct control_item *const *)a;
    const struct control_item *y = *(struct control_item *const *)b;
    if (x->resource_type != y->resource_type)
        return x->resource_type < y->resource_type ? -1 : 1;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->name.len > 0 ? memcmp(x->name.data, y->name.data, (size_t)x->name.len) : 0;
}

/* A resource that stands in the request more than once: each of them is refused (C7). */
static bool refuse_duplicates(struct alter *op)
{
    size_t count = (size_t)op->item_count;
    struct control_item **sorted = arena_array(&op->q->arena, count, sizeof(struct control_item *));
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = op->items[i];
    qsort(sorted, count, sizeof(struct control_item *), by_resource);
    for (size_t i = 1; i < count; i++) {
        if (by_resource(&sorted[i - 1], &sorted[i]) != 0)
            continue;
        for (size_t j = i - 1; j <= i; j++) {
            sorted[j]->error = ERR_INVALID_REQUEST;
            sorted[j]->message = "the resource is named more than once";
        }
    }
    return true;
}

static void change_loggers(struct alter *op)
{
    for (int32_t i = 0; i < op->item_count; i++)
        if (is_logger(op, op->items[i]) && op->items[i]->error == ERR_NONE)
            loggers_change(op->q, op->items[i], op->control.validate_only);
}

/* whole: every item was understood. */
static void submit(struct broker_shard *bs, struct alter *op, bool whole)
{
    if (!whole || !refuse_duplicates(op)) {
        api_malformed(op->q);
        return;
    }
    change_loggers(op);
    if (op->control.item_count == 0)
        op->control.done(&op->control); /* there is nothing for the controller to do */
    else if (str_equal(op->q->header.client_id, str_of(BROKER_CLIENT_ID)))
        controller_submit_here(bs, &op->control); /* it was passed on once */
    else
        controller_submit(bs, &op->control);
}

static void on_replaced(struct control_op *control)
{
    struct alter *op = container_of(control, struct alter, control);
    struct request *q = op->q;
    struct alter_configs_response response;
    init_alter_configs_response(&response);
    response.responses =
        arena_array(&q->arena, (size_t)op->item_count, sizeof(*response.responses));
    if (!response.responses) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < op->item_count; i++) {
        const struct control_item *item = op->items[i];
        response.responses[response.responses_count++] =
            (struct alter_configs_response_response){.error_code = item_error(op, item),
                                                     .error_message = str_of(item->message),
                                                     .resource_type = item->resource_type,
                                                     .resource_name = item->name};
    }
    api_answer(q, KAFKA_ALTER_CONFIGS_RESPONSE, &response);
}

static bool replace_item(struct alter *op, const struct alter_configs_request_resource *in)
{
    struct control_config *configs =
        arena_array(&op->q->arena, (size_t)in->configs_count, sizeof(*configs));
    if (!configs)
        return false;
    for (int32_t i = 0; i < in->configs_count; i++)
        configs[i] =
            (struct control_config){.name = in->configs[i].name, .value = in->configs[i].value};
    item_add(op, (struct control_item){.name = in->resource_name,
                                       .resource_type = in->resource_type,
                                       .configs = configs,
                                       .config_count = in->configs_count});
    return true;
}

void api_alter_configs(struct broker_shard *bs, struct request *q)
{
    struct alter *op = alter_new(q, CONTROL_ALTER_CONFIGS, on_replaced);
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_alter_configs_request(&rd, &q->arena, q->header.request_api_version,
                                           &op->request.replace)) {
        api_malformed(q);
        return;
    }
    const struct alter_configs_request *request = &op->request.replace;
    op->control.validate_only = request->validate_only;
    bool whole = items_room(op, request->resources_count);
    for (int32_t i = 0; whole && i < request->resources_count; i++)
        whole = replace_item(op, &request->resources[i]);
    submit(bs, op, whole);
}

static void on_changed(struct control_op *control)
{
    struct alter *op = container_of(control, struct alter, control);
    struct request *q = op->q;
    struct incremental_alter_configs_response response;
    init_incremental_alter_configs_response(&response);
    response.responses =
        arena_array(&q->arena, (size_t)op->item_count, sizeof(*response.responses));
    if (!response.responses) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < op->item_count; i++) {
        const struct control_item *item = op->items[i];
        response.responses[response.responses_count++] =
            (struct incremental_alter_configs_response_response){
                .error_code = item_error(op, item),
                .error_message = str_of(item->message),
                .resource_type = item->resource_type,
                .resource_name = item->name};
    }
    api_answer(q, KAFKA_INCREMENTAL_ALTER_CONFIGS_RESPONSE, &response);
}

static bool change_item(struct alter *op,
                        const struct incremental_alter_configs_request_resource *in)
{
    struct control_config *configs =
        arena_array(&op->q->arena, (size_t)in->configs_count, sizeof(*configs));
    if (!configs)
        return false;
    for (int32_t i = 0; i < in->configs_count; i++)
        configs[i] = (struct control_config){.name = in->configs[i].name,
                                             .value = in->configs[i].value,
                                             .operation = in->configs[i].config_operation};
    item_add(op, (struct control_item){.name = in->resource_name,
                                       .resource_type = in->resource_type,
                                       .configs = configs,
                                       .config_count = in->configs_count});
    return true;
}

void api_incremental_alter_configs(struct broker_shard *bs, struct request *q)
{
    struct alter *op = alter_new(q, CONTROL_INCREMENTAL_ALTER_CONFIGS, on_changed);
    struct rd rd;
    rd_init(&rd, q->body);
    if (!op || !read_incremental_alter_configs_request(
                   &rd, &q->arena, q->header.request_api_version, &op->request.change)) {
        api_malformed(q);
        return;
    }
    const struct incremental_alter_configs_request *request = &op->request.change;
    op->control.validate_only = request->validate_only;
    bool whole = items_room(op, request->resources_count);
    for (int32_t i = 0; whole && i < request->resources_count; i++)
        whole = change_item(op, &request->resources[i]);
    submit(bs, op, whole);
}
