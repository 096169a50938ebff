/* SPDX-License-Identifier: Apache-2.0
 *
 * What other brokers ask of the controller: AlterPartition, AllocateProducerIds and
 * ControlledShutdown. Taken on the listener of the brokers only, from a registered id and epoch.
 */
#include "core/api/api.h"
#include "core/controller/controller.h"

/* One partition of an AlterPartition: each is an operation of its own. */
struct alter_part {
    struct control_op op;
    struct control_alter alter;
    struct alter_partitions *all;
    struct alter_partition_response_partition *out;
};

struct alter_partitions {
    struct request *q;
    struct api_work work;
    struct alter_partition_request request;
    struct alter_partition_response response;
    int32_t waiting;
};

/* To one who is no broker as registered here: a broker that was missed comes back and asks again,
 * a client may not ask at all. */
static int16_t refusal(const struct request *q)
{
    return api_from_brokers(q) ? ERR_STALE_BROKER_EPOCH : ERR_CLUSTER_AUTHORIZATION_FAILED;
}

static void one_less(struct alter_partitions *all)
{
    if (--all->waiting == 0)
        api_work_answer(&all->work, KAFKA_ALTER_PARTITION_RESPONSE, &all->response);
}

static void on_altered(struct control_op *op)
{
    struct alter_part *part = op->user;
    part->out->error_code = op->error;
    one_less(part->all);
}

static void alter_begin(struct alter_partitions *all, const struct uuid *topic_id,
                        const struct alter_partition_request_partition *in,
                        struct alter_partition_response_partition *out)
{
    struct request *q = all->q;
    struct alter_part *part = arena_alloc(&q->arena, sizeof(*part));
    init_alter_partition_response_partition(out);
    out->partition_index = in->partition_index;
    if (!part || in->new_isr_with_epochs_count > (int32_t)METADATA_REPLICAS_MAX) {
        out->error_code = ERR_INVALID_REQUEST;
        return;
    }
    part->all = all;
    part->out = out;
    part->alter = (struct control_alter){.topic_id = *topic_id,
                                         .partition = in->partition_index,
                                         .leader = all->request.broker_id,
                                         .broker_epoch = all->request.broker_epoch,
                                         .leader_epoch = in->leader_epoch,
                                         .partition_epoch = in->partition_epoch,
                                         .recovering = in->leader_recovery_state ==
                                                       ALTER_PARTITION_RECOVERING,
                                         .lost = in->leader_recovery_state == ALTER_PARTITION_LOST};
    for (int32_t i = 0; i < in->new_isr_with_epochs_count; i++)
        part->alter.members[part->alter.member_count++] = (struct control_member){
            in->new_isr_with_epochs[i].broker_id, in->new_isr_with_epochs[i].broker_epoch};
    control_op_init(&part->op, CONTROL_ALTER_PARTITION, &q->arena, on_altered);
    part->op.alter = &part->alter;
    part->op.user = part;
    all->waiting++;
    controller_submit_here(api_shard(q), &part->op);
}

static bool alter_topics(struct alter_partitions *all)
{
    struct arena *arena = &all->q->arena;
    const struct alter_partition_request *request = &all->request;
    struct alter_partition_response *response = &all->response;
    response->topics = arena_array(arena, (size_t)request->topics_count, sizeof(*response->topics));
    if (!response->topics)
        return false;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct alter_partition_request_topic *in = &request->topics[i];
        struct alter_partition_response_topic *out = &response->topics[i];
        init_alter_partition_response_topic(out);
        out->topic_id = in->topic_id;
        out->partitions =
            arena_array(arena, (size_t)in->partitions_count, sizeof(*out->partitions));
        if (!out->partitions)
            return false;
        out->partitions_count = in->partitions_count;
        response->topics_count++;
    }
    for (int32_t i = 0; i < request->topics_count; i++)
        for (int32_t j = 0; j < request->topics[i].partitions_count; j++)
            alter_begin(all, &request->topics[i].topic_id, &request->topics[i].partitions[j],
                        &response->topics[i].partitions[j]);
    return true;
}

void api_alter_partition(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct alter_partitions *all = api_op_new(q, sizeof(*all), &rd);
    if (!all)
        return;
    all->q = q;
    api_work_init(&all->work, q);
    init_alter_partition_response(&all->response);
    if (!read_alter_partition_request(&rd, &q->arena, q->header.request_api_version,
                                      &all->request)) {
        api_malformed(q);
        return;
    }
    all->waiting = 1;
    if (!api_is_broker(q, all->request.broker_id, all->request.broker_epoch))
        all->response.error_code = refusal(q);
    else if (!alter_topics(all))
        all->response.error_code = ERR_INVALID_REQUEST;
    one_less(all);
}

/* ---- AllocateProducerIds ---- */

struct allocate {
    struct control_op op;
    struct request *q;
    struct allocate_producer_ids_response response;
};

static void on_allocated(struct control_op *op)
{
    struct allocate *al = op->user;
    al->response.error_code = op->error;
    if (op->error == ERR_NONE) {
        al->response.producer_id_start = op->producer_id_first;
        al->response.producer_id_len = op->producer_id_count;
    }
    api_answer(al->q, KAFKA_ALLOCATE_PRODUCER_IDS_RESPONSE, &al->response);
}

void api_allocate_producer_ids(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct allocate *al = api_op_new(q, sizeof(*al), &rd);
    struct allocate_producer_ids_request request;
    if (!al)
        return;
    if (!read_allocate_producer_ids_request(&rd, &q->arena, q->header.request_api_version,
                                            &request)) {
        api_malformed(q);
        return;
    }
    al->q = q;
    init_allocate_producer_ids_response(&al->response);
    if (!api_is_broker(q, request.broker_id, request.broker_epoch)) {
        al->response.error_code = refusal(q);
        api_answer(q, KAFKA_ALLOCATE_PRODUCER_IDS_RESPONSE, &al->response);
        return;
    }
    control_op_init(&al->op, CONTROL_ALLOCATE_PRODUCER_IDS, &q->arena, on_allocated);
    al->op.user = al;
    controller_submit_here(api_shard(q), &al->op);
}

/* ---- ControlledShutdown ---- */

struct shutdown {
    struct control_op op;
    struct control_drain drain;
    struct request *q;
    struct controlled_shutdown_response response;
};

/* What it leads still: nobody else can. */
static uint32_t remaining_fill(const struct image *image, int32_t id,
                               struct controlled_shutdown_response_remaining_partition *to)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < image->topic_count; i++) {
        const struct topic_image *topic = image->topics[i];
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            if (topic->partitions[p].leader != id)
                continue;
            if (to)
                to[count] = (struct controlled_shutdown_response_remaining_partition){
                    .topic_name = {topic->name, topic->name_len}, .partition_index = (int32_t)p};
            count++;
        }
    }
    return count;
}

static void on_drained(struct control_op *op)
{
    struct shutdown *sd = op->user;
    const struct image *image = api_shard(sd->q)->image;
    sd->response.error_code = op->error;
    uint32_t count = op->error == ERR_NONE ? remaining_fill(image, sd->drain.id, NULL) : 0;
    sd->response.remaining_partitions =
        arena_array(&sd->q->arena, count, sizeof(*sd->response.remaining_partitions));
    if (count > 0 && sd->response.remaining_partitions)
        sd->response.remaining_partitions_count =
            (int32_t)remaining_fill(image, sd->drain.id, sd->response.remaining_partitions);
    api_answer(sd->q, KAFKA_CONTROLLED_SHUTDOWN_RESPONSE, &sd->response);
}

void api_controlled_shutdown(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct shutdown *sd = api_op_new(q, sizeof(*sd), &rd);
    struct controlled_shutdown_request request;
    if (!sd)
        return;
    if (!read_controlled_shutdown_request(&rd, &q->arena, q->header.request_api_version,
                                          &request)) {
        api_malformed(q);
        return;
    }
    sd->q = q;
    init_controlled_shutdown_response(&sd->response);
    if (!api_is_broker(q, request.broker_id, request.broker_epoch)) {
        sd->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        api_answer(q, KAFKA_CONTROLLED_SHUTDOWN_RESPONSE, &sd->response);
        return;
    }
    control_op_init(&sd->op, CONTROL_DRAIN_BROKER, &q->arena, on_drained);
    sd->drain = (struct control_drain){.id = request.broker_id, .epoch = request.broker_epoch};
    sd->op.drain = &sd->drain;
    sd->op.user = sd;
    controller_submit_here(api_shard(q), &sd->op);
}
