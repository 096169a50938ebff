/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeClientQuotas and AlterClientQuotas (KIP-546). What holds for whom is
 * core/metadata/quota_table.h; changes are the controller's.
 */
#include "core/api/api.h"
#include "core/controller/controller.h"
#include "core/controller/controller_link.h"
#include "core/metadata/quota_table.h"

#include <stdlib.h>
#include <string.h>

#define CLUSTER                "kafka-cluster"
#define ENTITIES               64U   /* per step */
#define ALTERATIONS_MAX        10000 /* of one request: as many as there may be */
#define ENTITY_PARTS_LOOKED_AT 8     /* there are three types */
#define TOO_MANY_ALTERATIONS   "one request may alter the quotas of 10000"

/* ---- DescribeClientQuotas ---- */

enum match_type { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2 };

/* What is asked of one part of an entity. */
struct wish {
    bool given;
    enum match_type type;
    struct str name;
};

struct describe {
    struct api_work work;
    struct request *q;
    struct describe_client_quotas_request request;
    struct describe_client_quotas_response response;
    struct wish wishes[QUOTA_PARTS];
    unsigned wish_count;
    uint32_t next;
    bool failed;
};

static bool part_is_wanted(const struct wish *wish, const struct quota_part *part)
{
    if (!wish->given)
        return true;
    if (wish->type == MATCH_EXACT)
        return part->match == QUOTA_NAMED && str_equal(part->name, wish->name);
    return wish->type == MATCH_DEFAULT ? part->match == QUOTA_DEFAULT : part->match != QUOTA_ABSENT;
}

static bool is_wanted(const struct describe *d, const struct quota_entity *entity)
{
    unsigned parts = 0;
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        parts += entity->part[of].match != QUOTA_ABSENT;
        if (!part_is_wanted(&d->wishes[of], &entity->part[of]))
            return false;
    }
    return !d->request.strict || parts == d->wish_count;
}

/* Names are the image's, which is held until the answer is written. */
static bool entry_fill(struct describe *d, const struct quota_image *quota,
                       struct describe_client_quotas_response_entry *out)
{
    struct arena *arena = &d->q->arena;
    init_describe_client_quotas_response_entry(out);
    out->entity = arena_array(arena, QUOTA_PARTS, sizeof(*out->entity));
    out->values = arena_array(arena, QUOTA_KINDS, sizeof(*out->values));
    if (!out->entity || !out->values)
        return false;
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        const struct quota_part *part = &quota->entity.part[of];
        if (part->match != QUOTA_ABSENT)
            out->entity[out->entity_count++] = (struct describe_client_quotas_response_entity){
                .entity_type = str_of(quota_type((enum quota_of)of)),
                .entity_name = part->match == QUOTA_NAMED ? part->name : str_null()};
    }
    for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
        if (quota->limits[kind] > 0)
            out->values[out->values_count++] = (struct describe_client_quotas_response_value){
                .key = str_of(quota_key((enum quota_kind)kind)), .value = quota->limits[kind]};
    return true;
}

static bool describe_step(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    const struct quota_table *table = work->image->quotas;
    for (unsigned i = 0; i < ENTITIES; i++) {
        if (d->next == table->count)
            return false;
        const struct quota_image *quota = table->items[d->next++];
        if (!is_wanted(d, &quota->entity))
            continue;
        d->failed = !entry_fill(d, quota, &d->response.entries[d->response.entries_count++]);
        if (d->failed)
            return false;
    }
    return true;
}

static void described(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    if (d->failed)
        api_malformed(d->q);
    else
        api_work_answer(work, KAFKA_DESCRIBE_CLIENT_QUOTAS_RESPONSE, &d->response);
}

/* Before anything is looked for: *count entries would not be more than there are. */
static bool describe_begin_step(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    d->response.entries =
        arena_array(&d->q->arena, work->image->quotas->count, sizeof(*d->response.entries));
    d->response.entries_count = 0;
    d->failed = !d->response.entries;
    return false;
}

static void describe_begun(struct api_work *work)
{
    struct describe *d = container_of(work, struct describe, work);
    if (d->failed)
        api_malformed(d->q);
    else
        api_work_go(work, describe_step, described);
}

static bool refuse(struct describe *d, enum err error, const char *message)
{
    d->response.error_code = (int16_t)error;
    d->response.error_message = str_of(message);
    return false;
}

static bool wish_take(struct describe *d, const struct describe_client_quotas_request_component *in)
{
    enum quota_of of = quota_of_type(in->entity_type);
    if (in->entity_type.len == 0)
        return refuse(d, ERR_INVALID_REQUEST, "a component has no entity type");
    if (of == QUOTA_PARTS)
        return refuse(d, ERR_UNSUPPORTED_VERSION, "entity types are user, client-id and ip");
    if (d->wishes[of].given)
        return refuse(d, ERR_INVALID_REQUEST, "an entity type is there twice");
    if (in->match_type < MATCH_EXACT || in->match_type > MATCH_ANY)
        return refuse(d, ERR_INVALID_REQUEST, "match types are 0 to 2");
    if ((in->match_type == MATCH_EXACT) != (in->match.len >= 0))
        return refuse(d, ERR_INVALID_REQUEST,
                      "a name is given with the exact match type, and with no other");
    d->wishes[of] =
        (struct wish){.given = true, .type = (enum match_type)in->match_type, .name = in->match};
    d->wish_count++;
    return true;
}

static bool wishes_take(struct describe *d)
{
    if (!api_may(d->q, OPERATION_DESCRIBE_CONFIGS, RESOURCE_CLUSTER, str_of(CLUSTER)))
        return refuse(d, ERR_CLUSTER_AUTHORIZATION_FAILED, NULL);
    for (int32_t i = 0; i < d->request.components_count; i++)
        if (!wish_take(d, &d->request.components[i]))
            return false;
    if (d->wishes[QUOTA_OF_IP].given && d->wish_count > 1)
        return refuse(d, ERR_INVALID_REQUEST, "an ip is not combined with others");
    return true;
}

void api_describe_client_quotas(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct describe *d = api_op_new(q, sizeof(*d), &rd);
    if (!d)
        return;
    api_work_init(&d->work, q);
    d->q = q;
    init_describe_client_quotas_response(&d->response);
    if (!read_describe_client_quotas_request(&rd, &q->arena, q->header.request_api_version,
                                             &d->request)) {
        api_malformed(q);
        return;
    }
    if (wishes_take(d)) {
        api_work_go(&d->work, describe_begin_step, describe_begun);
    } else {
        d->response.entries_count = -1;
        api_work_answer(&d->work, KAFKA_DESCRIBE_CLIENT_QUOTAS_RESPONSE, &d->response);
    }
}

/* ---- AlterClientQuotas ---- */

struct alter {
    struct control_op control;
    struct request *q;
    struct alter_client_quotas_request request;
};

static void item_refuse(struct control_item *item, enum err error, const char *message)
{
    item->error = (int16_t)error;
    item->message = message;
}

/* Of a type that is there twice the last one counts, as in Kafka. */
static void entity_take(struct control_item *item, struct quota_entity *entity,
                        const struct alter_client_quotas_request_entry *in)
{
    for (int32_t i = 0; i < in->entity_count; i++) {
        const struct alter_client_quotas_request_entity *part = &in->entity[i];
        enum quota_of of = quota_of_type(part->entity_type);
        if (of == QUOTA_PARTS) {
            item_refuse(item, ERR_INVALID_REQUEST, "entity types are user, client-id and ip");
            return;
        }
        entity->part[of].match = part->entity_name.len < 0 ? QUOTA_DEFAULT : QUOTA_NAMED;
        entity->part[of].name = part->entity_name;
    }
}

static bool item_take(struct alter *op, const struct alter_client_quotas_request_entry *in,
                      struct control_item *item)
{
    struct quota_entity *entity = arena_alloc(&op->q->arena, sizeof(*entity));
    struct control_limit *limits =
        arena_array(&op->q->arena, (size_t)in->ops_count, sizeof(*limits));
    if (!entity || !limits)
        return false;
    memset(entity, 0, sizeof(*entity));
    *item = (struct control_item){.quota = entity, .limits = limits, .limit_count = in->ops_count};
    for (int32_t i = 0; i < in->ops_count; i++)
        limits[i] = (struct control_limit){
            .key = in->ops[i].key, .value = in->ops[i].value, .remove = in->ops[i].remove};
    entity_take(item, entity, in);
    if (op->control.item_count > ALTERATIONS_MAX)
        item_refuse(item, ERR_POLICY_VIOLATION, TOO_MANY_ALTERATIONS);
    if (!api_may(op->q, OPERATION_ALTER_CONFIGS, RESOURCE_CLUSTER, str_of(CLUSTER)))
        item_refuse(item, ERR_CLUSTER_AUTHORIZATION_FAILED, NULL);
    return true;
}

static int by_entity(const void *a, const void *b)
{
    return quota_entity_compare((*(struct control_item *const *)a)->quota,
                                (*(struct control_item *const *)b)->quota);
}

/* Whoever stands in the request more than once: each of them is refused. */
static bool refuse_duplicates(struct alter *op)
{
    size_t count = (size_t)op->control.item_count;
    if (count > ALTERATIONS_MAX)
        return true; /* they are refused already */
    struct control_item **sorted = arena_array(&op->q->arena, count, sizeof(struct control_item *));
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &op->control.items[i];
    qsort(sorted, count, sizeof(struct control_item *), by_entity);
    for (size_t i = 1; i < count; i++) {
        if (by_entity(&sorted[i - 1], &sorted[i]) != 0)
            continue;
        item_refuse(sorted[i - 1], ERR_INVALID_REQUEST, "the entity is there more than once");
        item_refuse(sorted[i], ERR_INVALID_REQUEST, "the entity is there more than once");
    }
    return true;
}

/* An entity is a map in Kafka: a type that is there twice has the name that came last. */
static bool entity_told(struct arena *arena, const struct alter_client_quotas_request_entry *in,
                        struct alter_client_quotas_response_entry *out)
{
    out->entity = arena_array(arena, (size_t)in->entity_count, sizeof(*out->entity));
    for (int32_t i = 0; out->entity && i < in->entity_count; i++) {
        const struct alter_client_quotas_request_entity *part = &in->entity[i];
        int32_t at = 0;
        while (at < out->entity_count && at < ENTITY_PARTS_LOOKED_AT &&
               !str_equal(out->entity[at].entity_type, part->entity_type))
            at++;
        if (at == ENTITY_PARTS_LOOKED_AT)
            at = out->entity_count;
        out->entity[at] = (struct alter_client_quotas_response_entity){
            .entity_type = part->entity_type, .entity_name = part->entity_name};
        out->entity_count = at < out->entity_count ? out->entity_count : at + 1;
    }
    return out->entity != NULL;
}

static void on_altered(struct control_op *control)
{
    struct alter *op = container_of(control, struct alter, control);
    struct request *q = op->q;
    struct alter_client_quotas_response response;
    init_alter_client_quotas_response(&response);
    response.entries =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*response.entries));
    bool whole = response.entries != NULL;
    for (int32_t i = 0; whole && i < control->item_count; i++) {
        const struct alter_client_quotas_request_entry *in = &op->request.entries[i];
        struct alter_client_quotas_response_entry *out = &response.entries[i];
        init_alter_client_quotas_response_entry(out);
        out->error_code = control_item_error(control, &control->items[i]);
        out->error_message = str_of(control->items[i].message);
        whole = entity_told(&q->arena, in, out);
        response.entries_count++;
    }
    if (whole)
        api_answer(q, KAFKA_ALTER_CLIENT_QUOTAS_RESPONSE, &response);
    else
        api_malformed(q);
}

void api_alter_client_quotas(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct alter *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    control_op_init(&op->control, CONTROL_ALTER_QUOTAS, &q->arena, on_altered);
    if (!read_alter_client_quotas_request(&rd, &q->arena, q->header.request_api_version,
                                          &op->request)) {
        api_malformed(q);
        return;
    }
    op->control.validate_only = op->request.validate_only;
    bool whole = control_op_items(&op->control, op->request.entries_count);
    for (int32_t i = 0; whole && i < op->request.entries_count; i++)
        whole = item_take(op, &op->request.entries[i], &op->control.items[i]);
    if (!whole || !refuse_duplicates(op))
        api_malformed(q);
    else if (str_equal(q->header.client_id, str_of(BROKER_CLIENT_ID)))
        controller_submit_here(bs, &op->control); /* it was passed on once */
    else
        controller_submit(bs, &op->control);
}
