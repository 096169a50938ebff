/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller_link.h"

#include "core/broker.h"
#include "core/broker_address.h"
#include "io/diag.h"
#include "io/mem.h"
#include "net/client.h"
#include "net/kafka.h"

#define ANSWER_BYTES_MAX   (1U << 20)
#define PATIENCE_NS        5000000000ULL
#define CONNECT_TIMEOUT_NS 3000000000ULL
#define ALTER_VERSION      3
#define IDS_VERSION        0
#define CREATE_VERSION     7

struct controller_link {
    struct broker_shard *bs;
    STAILQ_HEAD(, control_op) queue; /* the first is being asked while `calling` */
    struct client client;
    struct client_call call;
    bool calling;
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
    case CONTROL_CREATE_TOPICS:
        return op->from_auto_create ? KEY_CREATE_TOPICS : -1;
    case CONTROL_DELETE_TOPICS:
    case CONTROL_CREATE_PARTITIONS:
    case CONTROL_ALTER_CONFIGS:
    case CONTROL_INCREMENTAL_ALTER_CONFIGS:
    case CONTROL_ELECT_LEADERS:
        break;
    }
    return -1;
}

bool controller_link_takes(const struct control_op *op)
{
    return key_of(op) >= 0;
}

static void write_alter(struct wr *w, const struct control_alter *alter)
{
    struct alter_partition_request_new_isr_with_epoch members[METADATA_REPLICAS_MAX];
    struct alter_partition_request_partition partition;
    struct alter_partition_request_topic topic;
    struct alter_partition_request request;
    init_alter_partition_request_partition(&partition);
    init_alter_partition_request_topic(&topic);
    init_alter_partition_request(&request);
    for (uint32_t i = 0; i < alter->member_count; i++)
        members[i] = (struct alter_partition_request_new_isr_with_epoch){
            .broker_id = alter->members[i].id, .broker_epoch = alter->members[i].broker_epoch};
    partition.partition_index = alter->partition;
    partition.leader_epoch = alter->leader_epoch;
    partition.partition_epoch = alter->partition_epoch;
    partition.new_isr_with_epochs = members;
    partition.new_isr_with_epochs_count = (int32_t)alter->member_count;
    topic.topic_id = alter->topic_id;
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.broker_id = alter->leader;
    request.broker_epoch = alter->broker_epoch;
    request.topics = &topic;
    request.topics_count = 1;
    write_alter_partition_request(w, ALTER_VERSION, &request);
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

/* ---- what is answered ---- */

static int16_t read_alter(struct rd *rd, struct client_call *call)
{
    struct alter_partition_response response;
    if (!read_alter_partition_response(rd, call->arena, call->version, &response))
        return ERR_NOT_CONTROLLER;
    if (response.error_code != ERR_NONE)
        return response.error_code;
    if (response.topics_count != 1 || response.topics[0].partitions_count != 1)
        return ERR_NOT_CONTROLLER;
    return response.topics[0].partitions[0].error_code;
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

static void on_answer(struct client *c, struct client_call *call)
{
    struct controller_link *link = c->user;
    struct control_op *op = STAILQ_FIRST(&link->queue);
    int16_t error = ERR_NOT_CONTROLLER;
    struct rd rd;
    link->calling = false;
    if (call->status == CLIENT_ANSWERED) {
        rd_init(&rd, call->answer);
        error = call->key == KEY_ALTER_PARTITION         ? read_alter(&rd, call)
                : call->key == KEY_ALLOCATE_PRODUCER_IDS ? read_ids(&rd, call, op)
                                                         : read_create(&rd, call, op);
    }
    answer_first(link, error);
    shard_ready(link->bs->sh, &link->task);
}

/* ---- asking ---- */

static void ask(struct controller_link *link)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    int16_t key = key_of(op);
    int16_t version = key == KEY_ALTER_PARTITION         ? ALTER_VERSION
                      : key == KEY_ALLOCATE_PRODUCER_IDS ? IDS_VERSION
                                                         : CREATE_VERSION;
    if (client_version(&link->client, key, version) != version) {
        answer_first(link, ERR_NOT_CONTROLLER);
        shard_ready(link->bs->sh, &link->task);
        return;
    }
    struct wr *w = client_begin(&link->client, &link->call, key, version);
    if (key == KEY_ALTER_PARTITION)
        write_alter(w, op->alter);
    else if (key == KEY_ALLOCATE_PRODUCER_IDS)
        write_ids(link, w);
    else
        write_create(w, &op->items[0]);
    link->call.done = on_answer;
    link->calling =
        client_send(&link->client, &link->call, io_now_ns(link->bs->sh->io) + PATIENCE_NS);
    if (!link->calling)
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
        refuse_all(link);
        if (c->state != CLIENT_IDLE || !link->stopped)
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
    const struct client_options options = {.client_id = str_of("broker"),
                                           .software_name = str_of("millrace"),
                                           .software_version = str_of("1"),
                                           .answer_bytes_max = ANSWER_BYTES_MAX,
                                           .connect_timeout_ns = CONNECT_TIMEOUT_NS,
                                           .on_ready = on_ready,
                                           .on_lost = on_lost};
    client_init(&link->client, bs->sh, &options);
    link->client.user = link;
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
