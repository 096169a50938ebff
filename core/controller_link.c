/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller_link.h"

#include "core/broker.h"
#include "core/broker_address.h"
#include "io/diag.h"
#include "io/mem.h"
#include "net/client.h"
#include "net/kafka.h"

#include <string.h>

#define ANSWER_BYTES_MAX (1U << 20)
#define PATIENCE_NS      5000000000ULL
#define ALTER_VERSION    3
#define IDS_VERSION      0
#define DRAIN_VERSION    3
#define CONFIGS_VERSION  2
#define CHANGES_VERSION  1
#define CREATE_VERSION   7
#define QUOTAS_VERSION   1
#define ALTERS_MAX       64U /* sets of one question */
#define ALTERS_BYTES_MAX (1U << 20)

struct controller_link {
    struct broker_shard *bs;
    STAILQ_HEAD(, control_op) queue; /* the first `asked` are being asked while `calling` */
    struct client client;
    struct client_call call;
    bool calling;
    uint32_t asked;
    int32_t controller; /* whom the connection is to */
    struct task task;
    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

static void answer_first(struct controller_link *link, int16_t error)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    STAILQ_REMOVE_HEAD(&link->queue, link);
    op->error = error;
    control_op_answer(link->bs->sh, op);
}

static void refuse_all(struct controller_link *link)
{
    while (!STAILQ_EMPTY(&link->queue))
        answer_first(link, ERR_NOT_CONTROLLER);
}

/* ---- what is asked ---- */

/* -1: it is not passed on. */
static int16_t key_of(const struct control_op *op)
{
    switch (op->kind) {
    case CONTROL_ALTER_PARTITION:
        return KEY_ALTER_PARTITION;
    case CONTROL_ALLOCATE_PRODUCER_IDS:
        return KEY_ALLOCATE_PRODUCER_IDS;
    case CONTROL_DRAIN_BROKER:
        return KEY_CONTROLLED_SHUTDOWN;
    case CONTROL_CREATE_TOPICS:
        return op->from_auto_create ? KEY_CREATE_TOPICS : -1;
    case CONTROL_ALTER_CONFIGS:
        return KEY_ALTER_CONFIGS;
    case CONTROL_INCREMENTAL_ALTER_CONFIGS:
        return KEY_INCREMENTAL_ALTER_CONFIGS;
    case CONTROL_ALTER_QUOTAS:
        return KEY_ALTER_CLIENT_QUOTAS;
    case CONTROL_DELETE_TOPICS:
    case CONTROL_CREATE_PARTITIONS:
    case CONTROL_ELECT_LEADERS:
    case CONTROL_REASSIGN:
        break;
    }
    return -1;
}

bool controller_link_takes(const struct control_op *op)
{
    return key_of(op) >= 0;
}

/* How many sets from the first on go into one question: those of one registration. A broker whose
 * many partitions all change would else wait for a round trip and an append of the store for each,
 * and what else it has to ask with them. */
static uint32_t alters_count(const struct controller_link *link)
{
    const struct control_op *op = STAILQ_FIRST(&link->queue);
    const int64_t broker_epoch = op->alter->broker_epoch;
    uint32_t count = 0;
    for (; op && count < ALTERS_MAX; op = STAILQ_NEXT(op, link)) {
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
    partition->leader_recovery_state = alter->recovering;
    partition->new_isr_with_epochs = members;
    partition->new_isr_with_epochs_count = (int32_t)alter->member_count;
    topic->topic_id = alter->topic_id;
    topic->partitions = partition;
    topic->partitions_count = 1;
}

static void write_alters(struct controller_link *link, struct wr *w)
{
    const struct control_op *op = STAILQ_FIRST(&link->queue);
    struct alter_partition_request_topic topics[ALTERS_MAX];
    struct alter_partition_request request;
    struct arena arena;
    arena_init(&arena, ALTERS_BYTES_MAX);
    init_alter_partition_request(&request);
    request.broker_id = op->alter->leader;
    request.broker_epoch = op->alter->broker_epoch;
    request.topics = topics;
    link->asked = alters_count(link);
    request.topics_count = (int32_t)link->asked;
    for (uint32_t i = 0; i < link->asked; i++, op = STAILQ_NEXT(op, link))
        alter_fill(&arena, op->alter, &topics[i]);
    write_alter_partition_request(w, ALTER_VERSION, &request);
    arena_fini(&arena);
}

static void write_ids(const struct controller_link *link, struct wr *w)
{
    const struct broker *broker = link->bs->broker;
    const struct broker_image *self = image_broker(link->bs->image, broker->node_id);
    struct allocate_producer_ids_request request;
    init_allocate_producer_ids_request(&request);
    request.broker_id = broker->node_id;
    request.broker_epoch = self ? self->epoch : -1;
    write_allocate_producer_ids_request(w, IDS_VERSION, &request);
}

static void write_drain(struct wr *w, const struct control_drain *drain)
{
    struct controlled_shutdown_request request;
    init_controlled_shutdown_request(&request);
    request.broker_id = drain->id;
    request.broker_epoch = drain->epoch;
    write_controlled_shutdown_request(w, DRAIN_VERSION, &request);
}

static void write_create(struct wr *w, const struct control_item *item)
{
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

static void write_configs(struct wr *w, struct control_op *op)
{
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

static void write_config_changes(struct wr *w, struct control_op *op)
{
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

static void write_quotas(struct wr *w, struct control_op *op)
{
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

/* ---- what is answered ---- */

/* Answers all that were asked about but the last, and returns that one's error. */
static int16_t read_alters(struct controller_link *link, struct rd *rd, struct client_call *call)
{
    struct alter_partition_response response;
    if (!read_alter_partition_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    if (response.error_code != ERR_NONE)
        return response.error_code; /* of all */
    if (response.topics_count != (int32_t)link->asked)
        return ERR_NOT_CONTROLLER;
    for (int32_t i = 0; i < response.topics_count; i++)
        if (response.topics[i].partitions_count != 1)
            return ERR_NOT_CONTROLLER;
    int32_t at = 0;
    for (; link->asked > 1; link->asked--)
        answer_first(link, response.topics[at++].partitions[0].error_code);
    return response.topics[at].partitions[0].error_code;
}

static int16_t read_ids(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct allocate_producer_ids_response response;
    if (!read_allocate_producer_ids_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    if (response.error_code == ERR_NONE &&
        (response.producer_id_start < 0 || response.producer_id_len < 1))
        return ERR_NOT_CONTROLLER;
    op->producer_id_first = response.producer_id_start;
    op->producer_id_count = response.producer_id_len;
    return response.error_code;
}

static int16_t read_drain(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct controlled_shutdown_response response;
    if (!read_controlled_shutdown_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    op->drain->remaining = (uint32_t)response.remaining_partitions_count;
    return response.error_code;
}

static int16_t read_create(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct create_topics_response response;
    if (!read_create_topics_response(rd, call->arena, call->version, &response) ||
        response.topics_count != 1)
        return ERR_NOT_CONTROLLER;
    int16_t error = response.topics[0].error_code;
    op->items[0].error = error == ERR_TOPIC_ALREADY_EXISTS ? ERR_NONE : error;
    op->items[0].message = NULL;
    return ERR_NONE;
}

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

static int16_t read_configs(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct alter_configs_response response;
    int32_t at = 0;
    if (!read_alter_configs_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    for (int32_t i = 0; i < response.responses_count; i++)
        next_answered(op, &at, response.responses[i].error_code,
                      response.responses[i].error_message);
    return next_asked(op, &at) ? ERR_NOT_CONTROLLER : ERR_NONE;
}

static int16_t read_config_changes(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct incremental_alter_configs_response response;
    int32_t at = 0;
    if (!read_incremental_alter_configs_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    for (int32_t i = 0; i < response.responses_count; i++)
        next_answered(op, &at, response.responses[i].error_code,
                      response.responses[i].error_message);
    return next_asked(op, &at) ? ERR_NOT_CONTROLLER : ERR_NONE;
}

static int16_t read_quotas(struct rd *rd, struct client_call *call, struct control_op *op)
{
    struct alter_client_quotas_response response;
    int32_t at = 0;
    if (!read_alter_client_quotas_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    for (int32_t i = 0; i < response.entries_count; i++)
        next_answered(op, &at, response.entries[i].error_code, response.entries[i].error_message);
    return next_asked(op, &at) ? ERR_NOT_CONTROLLER : ERR_NONE;
}

static int16_t read_answer(struct controller_link *link, struct rd *rd, struct client_call *call)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    switch (call->key) {
    case KEY_ALTER_PARTITION:
        return read_alters(link, rd, call);
    case KEY_ALLOCATE_PRODUCER_IDS:
        return read_ids(rd, call, op);
    case KEY_CONTROLLED_SHUTDOWN:
        return read_drain(rd, call, op);
    case KEY_ALTER_CONFIGS:
        return read_configs(rd, call, op);
    case KEY_INCREMENTAL_ALTER_CONFIGS:
        return read_config_changes(rd, call, op);
    case KEY_ALTER_CLIENT_QUOTAS:
        return read_quotas(rd, call, op);
    default:
        return read_create(rd, call, op);
    }
}

static void on_answer(struct client *c, struct client_call *call)
{
    struct controller_link *link = c->user;
    int16_t error = ERR_NOT_CONTROLLER;
    struct rd rd;
    link->calling = false;
    if (call->status == CLIENT_ANSWERED) {
        rd_init(&rd, call->answer);
        error = read_answer(link, &rd, call);
    }
    for (; link->asked > 0; link->asked--)
        answer_first(link, error);
    shard_ready(link->bs->sh, &link->task);
}

/* ---- asking ---- */

static int16_t version_of(int16_t key)
{
    switch (key) {
    case KEY_ALTER_PARTITION:
        return ALTER_VERSION;
    case KEY_ALLOCATE_PRODUCER_IDS:
        return IDS_VERSION;
    case KEY_CONTROLLED_SHUTDOWN:
        return DRAIN_VERSION;
    case KEY_ALTER_CONFIGS:
        return CONFIGS_VERSION;
    case KEY_INCREMENTAL_ALTER_CONFIGS:
        return CHANGES_VERSION;
    case KEY_ALTER_CLIENT_QUOTAS:
        return QUOTAS_VERSION;
    default:
        return CREATE_VERSION;
    }
}

static void write_question(struct controller_link *link, struct wr *w)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    link->asked = 1;
    switch (key_of(op)) {
    case KEY_ALTER_PARTITION:
        write_alters(link, w);
        return;
    case KEY_ALLOCATE_PRODUCER_IDS:
        write_ids(link, w);
        return;
    case KEY_CONTROLLED_SHUTDOWN:
        write_drain(w, op->drain);
        return;
    case KEY_ALTER_CONFIGS:
        write_configs(w, op);
        return;
    case KEY_INCREMENTAL_ALTER_CONFIGS:
        write_config_changes(w, op);
        return;
    case KEY_ALTER_CLIENT_QUOTAS:
        write_quotas(w, op);
        return;
    default:
        write_create(w, &op->items[0]);
    }
}

static void ask(struct controller_link *link)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    int16_t key = key_of(op);
    int16_t version = version_of(key);
    if (client_version(&link->client, key, version) != version) {
        answer_first(link, ERR_NOT_CONTROLLER);
        shard_ready(link->bs->sh, &link->task);
        return;
    }
    struct wr *w = client_begin(&link->client, &link->call, key, version);
    write_question(link, w);
    link->call.done = on_answer;
    link->calling =
        client_send(&link->client, &link->call, io_now_ns(link->bs->sh->io) + PATIENCE_NS);
    for (; !link->calling && link->asked > 0; link->asked--)
        answer_first(link, ERR_NOT_CONTROLLER);
}

static void connect_to_controller(struct controller_link *link)
{
    struct io_address address;
    const struct image *image = link->bs->image;
    if (!image || image->controller_id < 0 ||
        !broker_address(link->bs, image->controller_id, &address)) {
        refuse_all(link);
        return;
    }
    link->controller = image->controller_id;
    client_connect(&link->client, &address);
}

static void on_task(struct shard *sh, struct task *task)
{
    struct controller_link *link = container_of(task, struct controller_link, task);
    struct client *c = &link->client;
    (void)sh;
    if (link->stopping) {
        if (c->state != CLIENT_IDLE)
            return; /* what was asked is answered first, when the connection has gone */
        refuse_all(link);
        if (!link->stopped)
            return;
        void (*stopped)(void *) = link->stopped;
        link->stopped = NULL;
        stopped(link->user);
    } else if (!link->calling && !STAILQ_EMPTY(&link->queue)) {
        if (c->state == CLIENT_IDLE)
            connect_to_controller(link);
        else if (c->state == CLIENT_READY && link->controller != link->bs->image->controller_id)
            client_close(c); /* another one by now */
        else if (c->state == CLIENT_READY)
            ask(link);
    }
}

static void on_ready(struct client *c)
{
    struct controller_link *link = c->user;
    shard_ready(link->bs->sh, &link->task);
}

static void on_lost(struct client *c)
{
    struct controller_link *link = c->user;
    if (link->bs->image && link->controller == link->bs->image->controller_id)
        refuse_all(link); /* whoever asked, asks again */
    shard_ready(link->bs->sh, &link->task);
}

void controller_link_submit(struct controller_link *link, struct control_op *op)
{
    must(controller_link_takes(op));
    STAILQ_INSERT_TAIL(&link->queue, op, link);
    shard_ready(link->bs->sh, &link->task);
}

/* ---- life ---- */

struct controller_link *controller_link_new(struct broker_shard *bs)
{
    struct controller_link *link = mem_zalloc(sizeof(*link));
    link->bs = bs;
    link->controller = -1;
    link->task = (struct task){.fn = on_task, .name = "controller.link"};
    STAILQ_INIT(&link->queue);
    broker_client_init(
        &link->client, bs->sh,
        &(struct broker_client){BROKER_CLIENT_ID, ANSWER_BYTES_MAX, on_ready, on_lost, link});
    return link;
}

void controller_link_stop(struct controller_link *link, void (*done)(void *user), void *user)
{
    link->stopping = true;
    link->stopped = done;
    link->user = user;
    client_close(&link->client);
    shard_ready(link->bs->sh, &link->task);
}

void controller_link_free(struct controller_link *link)
{
    client_fini(&link->client);
    mem_free(link);
}
