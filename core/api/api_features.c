/* SPDX-License-Identifier: Apache-2.0
 *
 * UpdateFeatures (KIP-584, KIP-778): levels that all brokers agree to, all of a request or none.
 * Which there are by now is in every ApiVersions (core/api/api_cluster.c).
 */
#include "core/api/api.h"
#include "core/controller/controller.h"
#include "core/controller/controller_features.h"

#include <stdio.h>

#define MESSAGE_MAX 640

struct update {
    struct control_op control;
    struct request *q;
    struct update_features_request request;
};

/* The error of the first that was refused is that of all. */
static void take_refusal(struct update *op, struct update_features_response *response)
{
    const struct control_op *control = &op->control;
    response->error_code = control->error;
    for (int32_t i = 0; i < control->item_count && response->error_code == ERR_NONE; i++) {
        const struct control_item *item = &control->items[i];
        char text[MESSAGE_MAX];
        if (item->error == ERR_NONE)
            continue;
        (void)snprintf(text, sizeof(text), "nothing is changed: %s",
                       item->message ? item->message : err_sentence(item->error));
        response->error_code = item->error;
        response->error_message = str_of(arena_text(&op->q->arena, text));
    }
}

static void on_updated(struct control_op *control)
{
    struct update *op = container_of(control, struct update, control);
    struct request *q = op->q;
    struct update_features_response response;
    init_update_features_response(&response);
    response.error_message = str_null();
    take_refusal(op, &response);
    response.results =
        arena_array(&q->arena, (size_t)control->item_count, sizeof(*response.results));
    if (!response.results) {
        api_malformed(q);
        return;
    }
    for (int32_t i = 0; i < control->item_count && response.error_code == ERR_NONE; i++)
        response.results[response.results_count++] = (struct update_features_response_result){
            .feature = control->items[i].name, .error_message = str_null()};
    api_answer(q, KAFKA_UPDATE_FEATURES_RESPONSE, &response);
}

static void item_take(struct update *op, const struct update_features_request_feature_update *in,
                      struct control_item *item)
{
    const bool v0 = op->q->header.request_api_version == 0;
    *item = (struct control_item){
        .name = in->feature, .level = in->max_version_level, .upgrade_type = in->upgrade_type};
    if (v0)
        item->upgrade_type = in->allow_downgrade ? SAFE_DOWNGRADE : UPGRADE;
    if (!api_may(op->q, OPERATION_ALTER, RESOURCE_CLUSTER, str_of("kafka-cluster")))
        item->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
}

void api_update_features(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct update *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    control_op_init(&op->control, CONTROL_UPDATE_FEATURES, &q->arena, on_updated);
    if (!read_update_features_request(&rd, &q->arena, q->header.request_api_version,
                                      &op->request) ||
        !control_op_items(&op->control, op->request.feature_updates_count)) {
        api_malformed(q);
        return;
    }
    op->control.validate_only = op->request.validate_only;
    for (int32_t i = 0; i < op->request.feature_updates_count; i++)
        item_take(op, &op->request.feature_updates[i], &op->control.items[i]);
    controller_submit(bs, &op->control);
}
