/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_step.h"

#include "core/controller/controller_features.h"
#include "core/controller/controller_place.h"
#include "core/controller/controller_quota.h"
#include "core/controller/controller_reassign.h"
#include "core/controller/controller_replicas.h"
#include "core/topic_name.h"
#include "io/mem.h"
#include "net/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX          512
#define REFUSALS             16           /* between looks at the clock */
#define RECORD_BYTES_MAX     (256U << 10) /* settings of one resource */
#define RESOURCE_TYPE_TOPIC  2
#define RESOURCE_TYPE_BROKER 4

/* ---- results and records ---- */

bool controller_refuse(struct control_op *op, struct control_item *item, int16_t error,
                       const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t size = len < 0 ? 1 : min_u64((size_t)len + 1, sizeof(text));
    char *message = arena_alloc(op->arena, size);
    if (message)
        memcpy(message, text, size);
    item->error = error;
    item->message = message;
    return false;
}

void controller_step_record(struct controller_step *step, const struct metadata_record *record)
{
    char sentence[256];
    must(step->mutate_early ||
         metadata_kind_level(record->kind) <= image_level(image_edit_peek(step->edit)));
    metadata_records_add(&step->records, record);
    bool applied = image_edit_apply(step->edit, record, sentence, sizeof(sentence));
    must(applied); /* what was decided fits what is there */
}

/* ---- names ---- */

static bool check_new_name(struct controller_step *step, struct control_op *op,
                           struct control_item *item)
{
    if (topic_name_problem(item->name))
        return controller_refuse(
            op, item, ERR_INVALID_TOPIC_EXCEPTION,
            "a topic name is 1 to %d of the characters a-z, A-Z, 0-9, '.', '_' and '-', "
            "and neither \".\" nor \"..\"",
            TOPIC_NAME_LEN_MAX);
    const struct topic_image *other = image_edit_collision(step->edit, item->name);
    if (!other)
        return true;
    if (!str_equal(item->name, (struct str){other->name, other->name_len}))
        return controller_refuse(
            op, item, ERR_INVALID_TOPIC_EXCEPTION,
            "topic %.*s collides with the existing topic %s: '.' and '_' count as the "
            "same in metric names",
            item->name.len, item->name.data, other->name);
    item->created_id = other->id;
    if (op->from_auto_create)
        return false; /* somebody was faster: that is what was wanted */
    return controller_refuse(op, item, ERR_TOPIC_ALREADY_EXISTS, "topic %s already exists",
                             other->name);
}

static const struct topic_image *find_topic(struct controller_step *step, struct control_op *op,
                                            struct control_item *item)
{
    const struct topic_image *topic =
        item->by_id           ? image_edit_topic_by_id(step->edit, &item->topic_id)
        : item->name.len >= 0 ? image_edit_topic_by_name(step->edit, item->name)
                              : NULL;
    if (!topic && item->by_id) {
        controller_refuse(op, item, ERR_UNKNOWN_TOPIC_ID, "there is no topic with this id");
    } else if (!topic) {
        controller_refuse(op, item, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                          "there is no topic of this name");
    } else if (item->by_id) {
        char *name = arena_alloc(op->arena, topic->name_len + 1U);
        if (name)
            memcpy(name, topic->name, topic->name_len + 1U);
        item->found_name = name;
    }
    if (topic)
        item->created_id = topic->id;
    return topic;
}

/* ---- settings ---- */

static struct conf_view view_of(const struct controller_step *step, const struct overrides *topic)
{
    return (struct conf_view){
        .conf = step->conf,
        .cluster = image_edit_settings(step->edit, -1),
        .broker = image_edit_settings(step->edit, step->node_id),
        .topic = topic,
    };
}

static bool alter(struct control_op *op, struct control_item *item, struct overrides *overrides,
                  const struct conf_view *view)
{
    if (item->config_count > CONF_KEY_COUNT_MAX)
        return controller_refuse(op, item, ERR_INVALID_CONFIG,
                                 "%d settings are more than there are keys", item->config_count);
    for (int32_t i = 0; i < item->config_count; i++) {
        const struct control_config *config = &item->configs[i];
        int operation =
            op->kind == CONTROL_INCREMENTAL_ALTER_CONFIGS ? config->operation : OVERRIDE_SET;
        if (operation < OVERRIDE_SET || operation > OVERRIDE_SUBTRACT)
            return controller_refuse(op, item, ERR_INVALID_REQUEST, "%d is not a config operation",
                                     operation);
        for (int32_t j = 0; j < i; j++) {
            if (str_equal(item->configs[j].name, config->name))
                return controller_refuse(op, item, ERR_INVALID_REQUEST, "%.*s is given twice",
                                         config->name.len < 96 ? config->name.len : 96,
                                         config->name.data);
        }
        if (config->name.len < 1)
            return controller_refuse(op, item, ERR_INVALID_CONFIG, "a setting has no name");
        const char *value = config->value.len < 0 ? NULL : config->value.data;
        if (!value && config->value.len >= 0)
            value = "";
        size_t value_len = config->value.len > 0 ? (size_t)config->value.len : 0;
        if (!value && op->kind == CONTROL_CREATE_TOPICS)
            return controller_refuse(op, item, ERR_INVALID_CONFIG, "%.*s has no value",
                                     config->name.len < 96 ? config->name.len : 96,
                                     config->name.data);
        struct conf_error error;
        if (!overrides_alter(overrides, (enum override_op)operation, config->name.data,
                             (size_t)config->name.len, value, value_len, view, &error))
            return controller_refuse(op, item, error.code, "%s", error.text);
    }
    return true;
}

static bool record_overrides(struct controller_step *step, struct control_op *op,
                             struct control_item *item, const struct overrides *overrides,
                             struct metadata_config config)
{
    struct metadata_setting *settings = mem_alloc((overrides->count + 1U) * sizeof(*settings));
    for (uint16_t i = 0; i < overrides->count; i++)
        settings[i] = (struct metadata_setting){
            .name = str_of(conf_keys[overrides->item[i].key].name),
            .value = str_of(overrides->item[i].value),
        };
    config.settings = settings;
    config.setting_count = overrides->count;
    const struct metadata_record wanted = {.kind = METADATA_CONFIG, .config = config};
    bool good = metadata_record_size(&wanted) <= RECORD_BYTES_MAX;
    if (!good)
        controller_refuse(op, item, ERR_INVALID_CONFIG,
                          "the settings take more than %u bytes together", RECORD_BYTES_MAX);
    else if (!op->validate_only)
        controller_step_record(step, &wanted);
    mem_free(settings);
    return good;
}

/* ---- create ---- */

static void record_topic(struct controller_step *step, struct control_op *op,
                         struct control_item *item, const struct placement *placement,
                         const struct overrides *overrides)
{
    const struct uuid id = uuid_of_random(step->random(step->user), step->random(step->user));
    controller_step_record(
        step, &(struct metadata_record){.kind = METADATA_TOPIC_CREATE,
                                        .topic_create = {.id = id, .name = item->name}});
    placement_record(step, &id, 0, placement);
    if (overrides->count > 0)
        (void)record_overrides(step, op, item, overrides,
                               (struct metadata_config){.resource = METADATA_RESOURCE_TOPIC,
                                                        .topic_id = id,
                                                        .broker_id = -1});
    item->created_id = id;
}

/* The settings of a new topic: all valid, consistent, and small enough for one batch. */
static bool check_new_settings(struct controller_step *step, struct control_op *op,
                               struct control_item *item, struct overrides *overrides)
{
    const struct conf_view view = view_of(step, overrides);
    if (!alter(op, item, overrides, &view))
        return false;
    struct topic_conf resolved;
    struct conf_error error;
    if (!overrides_resolve_topic(&view, &resolved, &error))
        return controller_refuse(op, item, error.code, "%s", error.text);
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < overrides->count; i++)
        bytes += strlen(overrides->item[i].value) + 128;
    return bytes <= RECORD_BYTES_MAX ||
           controller_refuse(op, item, ERR_INVALID_CONFIG,
                             "the settings take more than %u bytes together", RECORD_BYTES_MAX);
}

static void create_topic(struct controller_step *step, struct control_op *op,
                         struct control_item *item)
{
    if (!check_new_name(step, op, item))
        return;
    struct placement placement = {0};
    if (!placement_of_topic(step, op, item, &placement))
        return;
    struct overrides overrides;
    overrides_init(&overrides, CONF_TOPIC);
    if (check_new_settings(step, op, item, &overrides) &&
        controller_charge(op, item, placement.count)) {
        item->created_partitions = (int32_t)placement.count;
        item->created_replication_factor = (int16_t)placement.replica_count;
        if (!op->validate_only)
            record_topic(step, op, item, &placement, &overrides);
    }
    overrides_fini(&overrides);
    mem_free(placement.replicas);
}

/* ---- delete, extend ---- */

static void delete_topic(struct controller_step *step, struct control_op *op,
                         struct control_item *item)
{
    if (!step->conf->broker.delete_topic_enable) {
        controller_refuse(op, item, ERR_TOPIC_DELETION_DISABLED, "delete.topic.enable is false");
        return;
    }
    const struct topic_image *topic = find_topic(step, op, item);
    if (!topic || op->validate_only || !controller_charge(op, item, topic->partition_count))
        return;
    const struct uuid id = topic->id;
    if (step->mutate_deletion)
        return;
    controller_step_record(
        step, &(struct metadata_record){.kind = METADATA_TOPIC_DELETE, .topic_delete = {.id = id}});
}

static void create_partitions(struct controller_step *step, struct control_op *op,
                              struct control_item *item)
{
    const struct topic_image *topic = find_topic(step, op, item);
    if (!topic)
        return;
    uint32_t now = topic->partition_count;
    if (item->partition_count <= (int32_t)now) {
        controller_refuse(op, item, ERR_INVALID_PARTITIONS,
                          "topic %s has %u partitions already; asked for %d", topic->name, now,
                          item->partition_count);
        return;
    }
    for (uint32_t i = 0; i < now; i++) {
        if (!image_is_moving(&topic->partitions[i]))
            continue;
        controller_refuse(op, item, ERR_REASSIGNMENT_IN_PROGRESS,
                          "partition %u of topic %s is being moved", i, topic->name);
        return;
    }
    struct placement placement = {0};
    if (!placement_of_more(step, op, item, topic, &placement))
        return;
    const struct uuid id = topic->id;
    if (controller_charge(op, item, placement.count) && !op->validate_only)
        placement_record(step, &id, now, &placement);
    item->created_partitions = item->partition_count;
    mem_free(placement.replicas);
}

/* ---- configure ---- */

static void alter_topic(struct controller_step *step, struct control_op *op,
                        struct control_item *item)
{
    if (item->name.len <= 0) {
        controller_refuse(op, item, ERR_INVALID_REQUEST,
                          "topics have no default settings of their own");
        return;
    }
    if (topic_name_problem(item->name)) {
        controller_refuse(op, item, ERR_INVALID_TOPIC_EXCEPTION, "this is no name of a topic");
        return;
    }
    const struct topic_image *topic = find_topic(step, op, item);
    if (!topic)
        return;
    const struct uuid id = topic->id;
    struct overrides overrides;
    overrides_init(&overrides, CONF_TOPIC);
    if (op->kind == CONTROL_INCREMENTAL_ALTER_CONFIGS)
        overrides_copy(&overrides, &topic->overrides);
    const struct conf_view view = view_of(step, &overrides);
    struct topic_conf resolved;
    struct conf_error error;
    if (alter(op, item, &overrides, &view)) {
        if (!overrides_resolve_topic(&view, &resolved, &error))
            controller_refuse(op, item, error.code, "%s", error.text);
        else
            (void)record_overrides(step, op, item, &overrides,
                                   (struct metadata_config){.resource = METADATA_RESOURCE_TOPIC,
                                                            .topic_id = id,
                                                            .broker_id = -1});
    }
    overrides_fini(&overrides);
}

/* "" is -1: all brokers. */
static bool broker_of(struct controller_step *step, struct control_op *op,
                      struct control_item *item, int32_t *id)
{
    *id = -1;
    if (item->name.len <= 0)
        return true;
    char text[12];
    char *end = text;
    long number = -1;
    if ((size_t)item->name.len < sizeof(text)) {
        memcpy(text, item->name.data, (size_t)item->name.len);
        text[item->name.len] = '\0';
        number = strtol(text, &end, 10);
    }
    if (end == text || *end != '\0' || number < 0 || number > INT32_MAX)
        return controller_refuse(op, item, ERR_INVALID_REQUEST, "a broker is named by its number");
    *id = (int32_t)number;
    if (!image_broker(image_edit_peek(step->edit), *id))
        return controller_refuse(op, item, ERR_BROKER_ID_NOT_REGISTERED, "there is no broker %d",
                                 *id);
    return true;
}

static void alter_broker(struct controller_step *step, struct control_op *op,
                         struct control_item *item)
{
    int32_t id;
    if (!broker_of(step, op, item, &id))
        return;
    const struct overrides *before = image_edit_settings(step->edit, id);
    struct overrides overrides;
    overrides_init(&overrides, CONF_BROKER);
    if (op->kind == CONTROL_INCREMENTAL_ALTER_CONFIGS && before)
        overrides_copy(&overrides, before);
    struct conf_view view = view_of(step, NULL);
    if (id == -1)
        view.cluster = &overrides;
    else
        view.broker = &overrides;
    struct topic_conf resolved;
    struct conf_error error;
    if (alter(op, item, &overrides, &view)) {
        if (!overrides_resolve_topic(&view, &resolved, &error))
            controller_refuse(op, item, error.code, "%s", error.text);
        else
            (void)record_overrides(
                step, op, item, &overrides,
                (struct metadata_config){.resource = METADATA_RESOURCE_BROKER, .broker_id = id});
    }
    overrides_fini(&overrides);
}

static void alter_configs(struct controller_step *step, struct control_op *op,
                          struct control_item *item)
{
    if (item->resource_type == RESOURCE_TYPE_TOPIC)
        alter_topic(step, op, item);
    else if (item->resource_type == RESOURCE_TYPE_BROKER)
        alter_broker(step, op, item);
    else
        controller_refuse(op, item, ERR_INVALID_REQUEST,
                          "resources of type %d have no settings here", item->resource_type);
}

/* ---- producer ids ---- */

static void allocate_producer_ids(struct controller_step *step, struct control_op *op)
{
    const struct image *image = image_edit_peek(step->edit);
    if (image->producer_id_next > INT64_MAX - CONTROL_PRODUCER_IDS) {
        op->error = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    const struct broker_image *broker = image_broker(image, step->node_id);
    op->producer_id_first = image->producer_id_next;
    op->producer_id_count = CONTROL_PRODUCER_IDS;
    if (step->mutate_producer_ids)
        return;
    controller_step_record(
        step, &(struct metadata_record){.kind = METADATA_PRODUCER_IDS,
                                        .producer_ids = {
                                            .broker_id = step->node_id,
                                            .broker_epoch = broker ? broker->epoch : -1,
                                            .first = op->producer_id_first,
                                            .count = CONTROL_PRODUCER_IDS,
                                        }});
}

static void elect_leader(struct controller_step *step, struct control_op *op,
                         struct control_item *item)
{
    const struct topic_image *topic = find_topic(step, op, item);
    enum err error = ERR_NONE;
    if (topic && item->unclean)
        error = controller_elect_unclean(step, &topic->id, item->partition);
    else if (topic)
        error = controller_elect_preferred(step, &topic->id, item->partition);
    if (error != ERR_NONE)
        controller_refuse(op, item, (int16_t)error, "%s", err_sentence((int16_t)error));
}

static void reassign(struct controller_step *step, struct control_op *op, struct control_item *item)
{
    const struct topic_image *topic = find_topic(step, op, item);
    if (topic)
        controller_reassign(step, op, item, topic);
}

static void decide(struct controller_step *step, struct control_op *op, struct control_item *item)
{
    item->found_name = NULL;
    if (item->error != ERR_NONE)
        return; /* the request's own checks refused it */
    item->message = NULL;
    switch (op->kind) {
    case CONTROL_CREATE_TOPICS:
        create_topic(step, op, item);
        return;
    case CONTROL_DELETE_TOPICS:
        delete_topic(step, op, item);
        return;
    case CONTROL_CREATE_PARTITIONS:
        create_partitions(step, op, item);
        return;
    case CONTROL_ALTER_CONFIGS:
    case CONTROL_INCREMENTAL_ALTER_CONFIGS:
        alter_configs(step, op, item);
        return;
    case CONTROL_ELECT_LEADERS:
        elect_leader(step, op, item);
        return;
    case CONTROL_REASSIGN:
        reassign(step, op, item);
        return;
    case CONTROL_ALTER_QUOTAS:
        controller_alter_quota(step, op, item);
        return;
    case CONTROL_ALLOCATE_PRODUCER_IDS:
    case CONTROL_ALTER_PARTITION:
    case CONTROL_DRAIN_BROKER:
    case CONTROL_UPDATE_FEATURES:
        return;
    }
}

bool controller_step(struct controller_step *step, struct control_op *op)
{
    op->error = ERR_NONE;
    if (op->kind == CONTROL_ALLOCATE_PRODUCER_IDS) {
        allocate_producer_ids(step, op);
        return true;
    }
    if (op->kind == CONTROL_ALTER_PARTITION) {
        controller_alter_partition(step, op);
        return true;
    }
    if (op->kind == CONTROL_DRAIN_BROKER)
        return controller_broker_drain(step, op);
    if (op->kind == CONTROL_UPDATE_FEATURES) {
        controller_update_features(step, op);
        return true;
    }
    const int32_t first = op->next_item;
    while (op->next_item < op->item_count) {
        if (step->records.length >= CONTROL_BATCH_BYTES)
            return false;
        /* What is decided is written together: a batch costs a flush. */
        const bool may_rest = step->records.count == 0 && (op->next_item - first) % REFUSALS == 0;
        if (may_rest && op->next_item > first && step->is_tired && step->is_tired(step->user))
            return false;
        decide(step, op, &op->items[op->next_item++]);
    }
    return true;
}
