/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/partition_loss.h"

#include "core/broker.h"
#include "core/controller/controller.h"
#include "core/partition/partition_private.h"
#include "io/diag.h"
#include "io/mem.h"

/* Between two askings, twice as long each time: the first comes before this broker is registered.
 */
#define AGAIN_FIRST_NS 5000000U
#define AGAIN_MOST_NS  640000000U

/* Lent to the control shard while it is away; it may outlive who made it. */
struct partition_loss {
    struct control_op op;
    struct control_alter alter;
    struct broker_shard *bs;
    struct timer again;
    uint64_t again_ns;
    bool away;
    bool orphan;
};

static void on_asked(struct control_op *op);

/* Under the epochs of now: a session may have ended since it was asked last. */
static void ask(struct partition_loss *loss)
{
    const struct image *image = loss->bs->image;
    const struct broker_image *self = image_broker(image, loss->alter.leader);
    const struct topic_image *topic = image_topic_by_id(image, &loss->alter.topic_id);
    const struct partition_image *now =
        topic ? image_partition(topic, loss->alter.partition) : NULL;
    loss->alter.broker_epoch = self ? self->epoch : -1;
    loss->alter.partition_epoch = now ? now->partition_epoch : -1;
    control_op_init(&loss->op, CONTROL_ALTER_PARTITION, NULL, on_asked);
    loss->op.user = loss;
    loss->op.alter = &loss->alter;
    loss->away = true;
    loss->bs->proposals++;
    controller_submit(loss->bs, &loss->op);
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    ask(container_of(timer, struct partition_loss, again));
}

/* An image will say what came of it. */
static void on_asked(struct control_op *op)
{
    struct partition_loss *loss = op->user;
    struct broker_shard *bs = loss->bs;
    bs->proposals--;
    loss->away = false;
    if (loss->orphan) {
        mem_free(loss);
        partition_proposal_ended(bs);
        return;
    }
    timer_set(bs->sh, &loss->again, io_now_ns(bs->sh->io) + loss->again_ns);
    loss->again_ns = min_u64(2 * loss->again_ns, AGAIN_MOST_NS);
}

static struct partition_loss *loss_new(struct partition *pt, const struct partition_image *image)
{
    struct broker_shard *bs = pt->bs;
    struct partition_loss *loss = mem_zalloc(sizeof(*loss));
    loss->bs = bs;
    loss->again_ns = AGAIN_FIRST_NS;
    loss->again = (struct timer){.fn = on_again, .name = "partition.loss"};
    loss->alter = (struct control_alter){.topic_id = pt->key.topic_id,
                                         .partition = pt->key.partition,
                                         .leader = bs->broker->node_id,
                                         .leader_epoch = image->leader_epoch,
                                         .recovering = true};
    return loss;
}

bool partition_loss_may_lead(struct partition *pt, const struct partition_image *image)
{
    struct log *log = pt->log;
    if (!log->may_have_lost)
        return true;
    bool raised = pt->loss_epoch >= 0 && image->leader_epoch > pt->loss_epoch;
    if (raised || io_mutation(pt->bs->sh->io, "partition.loss_not_told")) {
        diag_warn(pt->bs->sh, "partition.may_have_lost",
                  "topic=%s partition=%d log_end=%lld leader_epoch=%d reason=%s", log->topic,
                  pt->key.partition, (long long)log->end_offset, image->leader_epoch,
                  "unclean stop in a mode of less than durable");
        log_loss_told(log);
        return true;
    }
    pt->loss_epoch = image->leader_epoch;
    pt->loss = loss_new(pt, image);
    ask(pt->loss);
    return false;
}

void partition_loss_end(struct partition *pt)
{
    struct partition_loss *loss = pt->loss;
    if (!loss)
        return;
    pt->loss = NULL;
    timer_cancel(loss->bs->sh, &loss->again);
    if (loss->away)
        loss->orphan = true;
    else
        mem_free(loss);
    shard_ready(pt->bs->sh, &pt->step);
}
