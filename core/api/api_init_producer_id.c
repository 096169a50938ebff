/* SPDX-License-Identifier: Apache-2.0
 *
 * InitProducerId: a new id for an idempotent producer. A transactional id is refused at once with
 * an error that no client retries: a producer that asks for transactions must not believe it has
 * them.
 */
#include "core/api/api.h"
#include "core/producer_ids.h"

#include <string.h>

struct init_producer_id {
    struct request *q;
    struct init_producer_id_request request;
    struct producer_id_request id;
};

static void answer(struct request *q, int16_t error, int64_t producer_id)
{
    struct init_producer_id_response response;
    init_init_producer_id_response(&response);
    response.error_code = error;
    response.producer_id = producer_id;
    response.producer_epoch = producer_id < 0 ? -1 : 0;
    request_answer_begin(q);
    write_init_producer_id_response(&q->answer, q->header.request_api_version, &response);
    request_answer(q);
}

/* Why the controller gives no ids now concerns brokers only: it moves, or has missed this one. A
 * client asks again at this error, and gives up for good at most others. */
static void on_id(struct producer_id_request *id)
{
    struct init_producer_id *op = container_of(id, struct init_producer_id, id);
    answer(op->q, id->error ? ERR_COORDINATOR_LOAD_IN_PROGRESS : ERR_NONE, id->producer_id);
}

void api_init_producer_id(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct init_producer_id *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    if (!read_init_producer_id_request(&rd, &q->arena, q->header.request_api_version,
                                       &op->request)) {
        api_malformed(q);
        return;
    }
    op->q = q;
    const struct str transactional_id = op->request.transactional_id;
    if (transactional_id.len == 0)
        answer(q, ERR_INVALID_REQUEST, -1);
    else if (transactional_id.len > 0)
        answer(q, ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1);
    else if ((op->request.producer_id == -1) != (op->request.producer_epoch == -1))
        answer(q, ERR_INVALID_REQUEST, -1); /* KIP-360: both or neither */
    else if (!api_may(q, OPERATION_IDEMPOTENT_WRITE, RESOURCE_CLUSTER, str_of("kafka-cluster")))
        answer(q, ERR_CLUSTER_AUTHORIZATION_FAILED, -1);
    else {
        op->id = (struct producer_id_request){.done = on_id};
        producer_ids_take(bs->producer_ids, &op->id);
    }
}
