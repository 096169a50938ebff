/* SPDX-License-Identifier: Apache-2.0 */
#include "core/producer_ids.h"

#include "core/controller/controller.h"
#include "io/mem.h"
#include "net/err.h"

struct producer_ids {
    struct broker_shard *bs;
    int64_t next;
    int64_t end;
    bool asking;
    struct arena arena; /* of the op, which needs one for sentences */
    struct control_op op;
    STAILQ_HEAD(, producer_id_request) waiting;
};

struct producer_ids *producer_ids_new(struct broker_shard *bs)
{
    struct producer_ids *ids = mem_zalloc(sizeof(*ids));
    ids->bs = bs;
    arena_init(&ids->arena, 1U << 16);
    STAILQ_INIT(&ids->waiting);
    return ids;
}

void producer_ids_free(struct producer_ids *ids)
{
    arena_fini(&ids->arena);
    mem_free(ids);
}

static void serve(struct producer_ids *ids, struct producer_id_request *request, int16_t error)
{
    request->error = error;
    request->producer_id = error ? -1 : ids->next++;
    request->done(request);
}

static void ask(struct producer_ids *ids);

static void on_block(struct control_op *op)
{
    struct producer_ids *ids = op->user;
    ids->asking = false;
    if (op->error == ERR_NONE) {
        ids->next = op->producer_id_first;
        ids->end = op->producer_id_first + op->producer_id_count;
    }
    struct producer_id_request *request;
    while ((request = STAILQ_FIRST(&ids->waiting)) && (op->error || ids->next < ids->end)) {
        STAILQ_REMOVE_HEAD(&ids->waiting, link);
        serve(ids, request, op->error);
    }
    if (request)
        ask(ids);
}

static void ask(struct producer_ids *ids)
{
    if (ids->asking)
        return;
    ids->asking = true;
    arena_reset(&ids->arena);
    ids->op = (struct control_op){
        .kind = CONTROL_ALLOCATE_PRODUCER_IDS, .arena = &ids->arena, .done = on_block, .user = ids};
    controller_submit(ids->bs, &ids->op);
}

void producer_ids_take(struct producer_ids *ids, struct producer_id_request *request)
{
    if (ids->next < ids->end) {
        serve(ids, request, ERR_NONE);
        return;
    }
    STAILQ_INSERT_TAIL(&ids->waiting, request, link);
    ask(ids);
}
