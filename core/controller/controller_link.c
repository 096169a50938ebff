/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_link.h"

#include "core/broker.h"
#include "core/broker_address.h"
#include "core/controller/controller_question.h"
#include "io/mem.h"
#include "net/client.h"
#include "net/kafka.h"

#define ANSWER_BYTES_MAX (1U << 20)
#define PATIENCE_NS      5000000000ULL

struct controller_link {
    struct broker_shard *bs;
    STAILQ_HEAD(, control_op) queue;
    struct controller_asked asked; /* of the queue, while `calling` */
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

bool controller_link_takes(const struct control_op *op)
{
    return controller_question_of(op) != NULL;
}

/* ---- asking ---- */

/* Those that were asked about; `heard`: each has its error. */
static void answer_asked(struct controller_link *link, bool heard)
{
    for (; link->asked.count > 0; link->asked.count--) {
        const struct control_op *op = STAILQ_FIRST(&link->queue);
        answer_first(link, heard ? op->error : ERR_NOT_CONTROLLER);
    }
}

static void on_answer(struct client *c, struct client_call *call)
{
    struct controller_link *link = c->user;
    bool heard = false;
    struct rd rd;
    link->calling = false;
    if (call->status == CLIENT_ANSWERED) {
        rd_init(&rd, call->answer);
        heard = controller_question_of(link->asked.first)->read(&link->asked, &rd, call);
    }
    answer_asked(link, heard);
    shard_ready(link->bs->sh, &link->task);
}

static void ask(struct controller_link *link)
{
    struct control_op *op = STAILQ_FIRST(&link->queue);
    const struct controller_question *question = controller_question_of(op);
    if (client_version(&link->client, question->key, question->version) != question->version) {
        answer_first(link, ERR_NOT_CONTROLLER);
        shard_ready(link->bs->sh, &link->task);
        return;
    }
    struct wr *w = client_begin(&link->client, &link->call, question->key, question->version);
    link->asked = (struct controller_asked){.bs = link->bs, .first = op, .count = 1};
    question->write(&link->asked, w);
    link->call.done = on_answer;
    link->calling =
        client_send(&link->client, &link->call, io_now_ns(link->bs->sh->io) + PATIENCE_NS);
    if (!link->calling)
        answer_asked(link, false);
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
