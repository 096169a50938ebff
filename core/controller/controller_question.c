/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_question.h"

#include "core/broker.h"
#include "io/mem.h"
#include "net/client.h"
#include "net/kafka.h"

#include <string.h>

#define ALTER_VERSION    3
#define IDS_VERSION      0
#define DRAIN_VERSION    3
#define CONFIGS_VERSION  2
#define CHANGES_VERSION  1
#define CREATE_VERSION   7
#define QUOTAS_VERSION   1
#define ALTERS_BYTES_MAX (1U << 20)

/* ---- commit sets ---- */

/* How many sets from the first on go into one question: those of one registration. A broker whose
 * many partitions all change would else wait for a round trip and an append of the store for each,
 * and what else it has to ask with them. */
static uint32_t alters_count(const struct control_op *op)
{
    const int64_t broker_epoch = op->alter->broker_epoch;
    uint32_t count = 0;
    for (; op && count < CONTROLLER_ASKED_MAX; op = STAILQ_NEXT(op, link)) {
        if (op->kind != CONTROL_ALTER_PARTITION || op->alter->broker_epoch != broker_epoch)
            break;
        count++;
    }
    return count;
}

/* One set of the question. */
static void alter_fill(struct arena *arena, const struct control_alter *alter,
                       struct alter_partition_request_topic *topic)
{
    struct alter_partition_request_partition *partition = arena_alloc(arena, sizeof(*partition));
    struct alter_partition_request_new_isr_with_epoch *members =
        arena_array(arena, alter->member_count, sizeof(*members));
    must(partition && members);
    init_alter_partition_request_partition(partition);
    init_alter_partition_request_topic(topic);
    for (uint32_t i = 0; i < alter->member_count; i++)
        members[i] = (struct alter_partition_request_new_isr_with_epoch){
            .broker_id = alter->members[i].id, .broker_epoch = alter->members[i].broker_epoch};
    partition->partition_index = alter->partition;
    partition->leader_epoch = alter->leader_epoch;
    partition->partition_epoch = alter->partition_epoch;
    partition->leader_recovery_state = alter->lost         ? ALTER_PARTITION_LOST
                                       : alter->recovering ? ALTER_PARTITION_RECOVERING
                                                           : 0;
    partition->new_isr_with_epochs = members;
    partition->new_isr_with_epochs_count = (int32_t)alter->member_count;
    topic->topic_id = alter->topic_id;
    topic->partitions = partition;
    topic->partitions_count = 1;
}

static void write_alters(struct controller_asked *asked, struct wr *w)
{
    const struct control_op *op = asked->first;
    struct alter_partition_request_topic topics[CONTROLLER_ASKED_MAX];
    struct alter_partition_request request;
    struct arena arena;
    arena_init(&arena, ALTERS_BYTES_MAX);
    init_alter_partition_request(&request);
    request.broker_id = op->alter->leader;
    request.broker_epoch = op->alter->broker_epoch;
    request.topics = topics;
    asked->count = alters_count(op);
    request.topics_count = (int32_t)asked->count;
    for (uint32_t i = 0; i < asked->count; i++, op = STAILQ_NEXT(op, link))
        alter_fill(&arena, op->alter, &topics[i]);
    write_alter_partition_request(w, ALTER_VERSION, &request);
    arena_fini(&arena);
}

static bool read_alters(const struct controller_asked *asked, struct rd *rd,
                        struct client_call *call)
{
    struct alter_partition_response response;
    struct control_op *op = asked->first;
    if (!read_alter_partition_response(rd, call->arena, call->version, &response))
        return false;
    if (response.error_code == ERR_NONE && response.topics_count != (int32_t)asked->count)
        return false;
    for (int32_t i = 0; response.error_code == ERR_NONE && i < response.topics_count; i++)
        if (response.topics[i].partitions_count != 1)
            return false;
    for (uint32_t i = 0; i < asked->count; i++, op = STAILQ_NEXT(op, link))
        op->error = response.error_code != ERR_NONE ? response.error_code /* of all */
                                                    : response.topics[i].partitions[0].error_code;
    return true;
}

/* ---- producer ids ---- */

static void write_ids(struct controller_asked *asked, struct wr *w)
{
    const struct broker *broker = asked->bs->broker;
    const struct broker_image *self = image_broker(asked->bs->image, broker->node_id);
    struct allocate_producer_ids_request request;
    init_allocate_producer_ids_request(&request);
    request.broker_id = broker->node_id;
    request.broker_epoch = self ? self->epoch : -1;
    write_allocate_producer_ids_request(w, IDS_VERSION, &request);
}

static bool read_ids(const struct controller_asked *asked, struct rd *rd, struct client_call *call)
{
    struct control_op *op = asked->first;
    struct allocate_producer_ids_response response;
    if (!read_allocate_producer_ids_response(rd, call->arena, call->version, &response))
        return false;
    if (response.error_code == ERR_NONE &&
        (response.producer_id_start < 0 || response.producer_id_len < 1))
        return false;
    op->producer_id_first = response.producer_id_start;
    op->producer_id_count = response.producer_id_len;
    op->error = response.error_code;
    return true;
}

/* ---- a broker that stops ---- */

static void write_drain(struct controller_asked *asked, struct wr *w)
{
    const struct control_drain *drain = asked->first->drain;
    struct controlled_shutdown_request request;
    init_controlled_shutdown_request(&request);
    request.broker_id = drain->id;
    request.broker_epoch = drain->epoch;
    write_controlled_shutdown_request(w, DRAIN_VERSION, &request);
}

static bool read_drain(const struct controller_asked *asked, struct rd *rd,
                       struct client_call *call)
{
    struct control_op *op = asked->first;
    struct controlled_shutdown_response response;
    if (!read_controlled_shutdown_response(rd, call->arena, call->version, &response))
        return false;
    op->drain->remaining = (uint32_t)response.remaining_partitions_count;
    op->error = response.error_code;
    return true;
}

/* ---- topics ---- */

static void write_create(struct controller_asked *asked, struct wr *w)
{
    const struct control_item *item = &asked->first->items[0];
    struct create_topics_request_config configs[8];
    struct create_topics_request_topic topic;
    struct create_topics_request request;
    init_create_topics_request_topic(&topic);
    init_create_topics_request(&request);
    must(item->config_count <= (int32_t)array_count(configs));
    for (int32_t i = 0; i < item->config_count; i++)
        configs[i] = (struct create_topics_request_config){.name = item->configs[i].name,
                                                           .value = item->configs[i].value};
    topic.name = item->name;
    topic.num_partitions = item->partition_count;
    topic.replication_factor = item->replication_factor;
    topic.configs = configs;
    topic.configs_count = item->config_count;
    request.topics = &topic;
    request.topics_count = 1;
    write_create_topics_request(w, CREATE_VERSION, &request);
}

static bool read_create(const struct controller_asked *asked, struct rd *rd,
                        struct client_call *call)
{
    struct control_op *op = asked->first;
    struct create_topics_response response;
    if (!read_create_topics_response(rd, call->arena, call->version, &response) ||
        response.topics_count != 1)
        return false;
    int16_t error = response.topics[0].error_code;
    op->items[0].error = error == ERR_TOPIC_ALREADY_EXISTS ? ERR_NONE : error;
    op->items[0].message = NULL;
    op->error = ERR_NONE;
    return true;
}

/* ---- settings, and quotas: of several items, but for those that were refused already ---- */

/* The next item that was asked about; NULL: none is left. */
static struct control_item *next_asked(struct control_op *op, int32_t *at)
{
    while (*at < op->item_count && op->items[*at].error != ERR_NONE)
        ++*at;
    return *at < op->item_count ? &op->items[(*at)++] : NULL;
}

/* To the next one that was asked about: what has become of it. */
static void next_answered(struct control_op *op, int32_t *at, int16_t error, struct str message)
{
    struct control_item *item = next_asked(op, at);
    if (!item)
        return;
    item->message = NULL;
    if (message.len >= 0) {
        char *text = arena_alloc(op->arena, (size_t)message.len + 1);
        if (text && message.len > 0)
            memcpy(text, message.data, (size_t)message.len);
        if (text)
            text[message.len] = '\0';
        item->message = text;
    }
    item->error = error;
}

/* True: all of them. */
static bool all_answered(struct control_op *op, int32_t at)
{
    if (next_asked(op, &at))
        return false;
    op->error = ERR_NONE;
    return true;
}

static void write_configs(struct controller_asked *asked, struct wr *w)
{
    struct control_op *op = asked->first;
    struct alter_configs_request request;
    init_alter_configs_request(&request);
    request.validate_only = op->validate_only;
    request.resources = arena_array(op->arena, (size_t)op->item_count, sizeof(*request.resources));
    for (int32_t i = 0; request.resources && i < op->item_count; i++) {
        const struct control_item *item = &op->items[i];
        struct alter_configs_request_resource *out = &request.resources[request.resources_count];
        if (item->error != ERR_NONE)
            continue; /* refused already */
        init_alter_configs_request_resource(out);
        out->resource_type = item->resource_type;
        out->resource_name = item->name;
        out->configs = arena_array(op->arena, (size_t)item->config_count, sizeof(*out->configs));
        if (!out->configs)
            break; /* the others are not asked about, and not answered */
        for (int32_t n = 0; n < item->config_count; n++)
            out->configs[out->configs_count++] = (struct alter_configs_request_config){
                .name = item->configs[n].name, .value = item->configs[n].value};
        request.resources_count++;
    }
    write_alter_configs_request(w, CONFIGS_VERSION, &request);
}

static bool read_configs(const struct controller_asked *asked, struct rd *rd,
                         struct client_call *call)
{
    struct control_op *op = asked->first;
    struct alter_configs_response response;
    int32_t at = 0;
    if (!read_alter_configs_response(rd, call->arena, call->version, &response))
        return false;
    for (int32_t i = 0; i < response.responses_count; i++)
        next_answered(op, &at, response.responses[i].error_code,
                      response.responses[i].error_message);
    return all_answered(op, at);
}

static void write_config_changes(struct controller_asked *asked, struct wr *w)
{
    struct control_op *op = asked->first;
    struct incremental_alter_configs_request request;
    init_incremental_alter_configs_request(&request);
    request.validate_only = op->validate_only;
    request.resources = arena_array(op->arena, (size_t)op->item_count, sizeof(*request.resources));
    for (int32_t i = 0; request.resources && i < op->item_count; i++) {
        const struct control_item *item = &op->items[i];
        struct incremental_alter_configs_request_resource *out =
            &request.resources[request.resources_count];
        if (item->error != ERR_NONE)
            continue;
        init_incremental_alter_configs_request_resource(out);
        out->resource_type = item->resource_type;
        out->resource_name = item->name;
        out->configs = arena_array(op->arena, (size_t)item->config_count, sizeof(*out->configs));
        if (!out->configs)
            break; /* the others are not asked about, and not answered */
        for (int32_t n = 0; n < item->config_count; n++)
            out->configs[out->configs_count++] = (struct incremental_alter_configs_request_config){
                .name = item->configs[n].name,
                .value = item->configs[n].value,
                .config_operation = item->configs[n].operation};
        request.resources_count++;
    }
    write_incremental_alter_configs_request(w, CHANGES_VERSION, &request);
}

static bool read_config_changes(const struct controller_asked *asked, struct rd *rd,
                                struct client_call *call)
{
    struct control_op *op = asked->first;
    struct incremental_alter_configs_response response;
    int32_t at = 0;
    if (!read_incremental_alter_configs_response(rd, call->arena, call->version, &response))
        return false;
    for (int32_t i = 0; i < response.responses_count; i++)
        next_answered(op, &at, response.responses[i].error_code,
                      response.responses[i].error_message);
    return all_answered(op, at);
}

static bool quota_fill(struct arena *arena, const struct control_item *item,
                       struct alter_client_quotas_request_entry *out)
{
    init_alter_client_quotas_request_entry(out);
    out->entity = arena_array(arena, QUOTA_PARTS, sizeof(*out->entity));
    out->ops = arena_array(arena, (size_t)item->limit_count, sizeof(*out->ops));
    if (!out->entity || !out->ops)
        return false;
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        const struct quota_part *part = &item->quota->part[of];
        if (part->match != QUOTA_ABSENT)
            out->entity[out->entity_count++] = (struct alter_client_quotas_request_entity){
                .entity_type = str_of(quota_type((enum quota_of)of)),
                .entity_name = part->match == QUOTA_NAMED ? part->name : str_null()};
    }
    for (int32_t i = 0; i < item->limit_count; i++)
        out->ops[out->ops_count++] =
            (struct alter_client_quotas_request_op){.key = item->limits[i].key,
                                                    .value = item->limits[i].value,
                                                    .remove = item->limits[i].remove};
    return true;
}

static void write_quotas(struct controller_asked *asked, struct wr *w)
{
    struct control_op *op = asked->first;
    struct alter_client_quotas_request request;
    init_alter_client_quotas_request(&request);
    request.validate_only = op->validate_only;
    request.entries = arena_array(op->arena, (size_t)op->item_count, sizeof(*request.entries));
    for (int32_t i = 0; request.entries && i < op->item_count; i++) {
        if (op->items[i].error != ERR_NONE)
            continue; /* refused already */
        if (!quota_fill(op->arena, &op->items[i], &request.entries[request.entries_count]))
            break; /* the others are not asked about, and not answered */
        request.entries_count++;
    }
    write_alter_client_quotas_request(w, QUOTAS_VERSION, &request);
}

static bool read_quotas(const struct controller_asked *asked, struct rd *rd,
                        struct client_call *call)
{
    struct control_op *op = asked->first;
    struct alter_client_quotas_response response;
    int32_t at = 0;
    if (!read_alter_client_quotas_response(rd, call->arena, call->version, &response))
        return false;
    for (int32_t i = 0; i < response.entries_count; i++)
        next_answered(op, &at, response.entries[i].error_code, response.entries[i].error_message);
    return all_answered(op, at);
}

/* ---- all of them ---- */

static const struct controller_question questions[] = {
    [CONTROL_CREATE_TOPICS] = {KEY_CREATE_TOPICS, CREATE_VERSION, write_create, read_create},
    [CONTROL_ALTER_CONFIGS] = {KEY_ALTER_CONFIGS, CONFIGS_VERSION, write_configs, read_configs},
    [CONTROL_INCREMENTAL_ALTER_CONFIGS] = {KEY_INCREMENTAL_ALTER_CONFIGS, CHANGES_VERSION,
                                           write_config_changes, read_config_changes},
    [CONTROL_ALLOCATE_PRODUCER_IDS] = {KEY_ALLOCATE_PRODUCER_IDS, IDS_VERSION, write_ids, read_ids},
    [CONTROL_ALTER_PARTITION] = {KEY_ALTER_PARTITION, ALTER_VERSION, write_alters, read_alters},
    [CONTROL_DRAIN_BROKER] = {KEY_CONTROLLED_SHUTDOWN, DRAIN_VERSION, write_drain, read_drain},
    [CONTROL_ALTER_QUOTAS] = {KEY_ALTER_CLIENT_QUOTAS, QUOTAS_VERSION, write_quotas, read_quotas},
};

const struct controller_question *controller_question_of(const struct control_op *op)
{
    if (op->kind >= array_count(questions) || !questions[op->kind].write)
        return NULL;
    if (op->kind == CONTROL_CREATE_TOPICS && !op->from_auto_create)
        return NULL;
    return &questions[op->kind];
}
