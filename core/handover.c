/* SPDX-License-Identifier: Apache-2.0 */
#include "core/handover.h"

#include "core/controller/controller.h"
#include "io/diag.h"
#include "io/mem.h"

#define PATIENCE_NS 3000000000ULL
#define AGAIN_NS    50000000ULL  /* after a controller that was none */
#define LOOK_NS     2000000ULL   /* has the image come? */
#define LINGER_NS   100000000ULL /* a client in its stride asks within that time */

struct handover {
    enum handover_state state;
    struct broker *broker;
    struct control_op op; /* lent to the controller; may be answered when all is over */
    struct control_drain drain;
    struct timer timer;
    uint32_t led; /* partitions, when it began */
    uint64_t began_ns;
    void (*done)(struct broker *broker);
};

static struct broker_shard *control_shard_of(const struct handover *h)
{
    return &h->broker->shards[CONTROL_SHARD];
}

static uint64_t elapsed_ns(const struct handover *h)
{
    return io_now_ns(control_shard_of(h)->sh->io) - h->began_ns;
}

static void wake_after(struct handover *h, uint64_t ns)
{
    struct shard *sh = control_shard_of(h)->sh;
    timer_set(sh, &h->timer, min_u64(io_now_ns(sh->io) + ns, h->began_ns + PATIENCE_NS));
}

/* ---- what there is to hand over, and to whom ---- */

static bool others_stay(const struct image *image, int32_t self)
{
    for (uint32_t i = 0; i < image->broker_count; i++)
        if (image->brokers[i].id != self && image_broker_stays(image, image->brokers[i].id))
            return true;
    return false;
}

static bool another_may_lead(const struct image *image, const struct partition_image *partition,
                             int32_t self)
{
    for (uint32_t i = 0; i < partition->isr_count; i++)
        if (partition->isr[i] != self && image_broker_stays(image, partition->isr[i]))
            return true;
    return false;
}

/* What it leads, and how much of that somebody else could. */
struct led {
    uint32_t all;
    uint32_t movable;
};

static struct led count_led(const struct handover *h)
{
    const struct image *image = control_shard_of(h)->image;
    int32_t self = h->broker->node_id;
    struct led led = {0};
    for (uint32_t i = 0; i < image->topic_count; i++) {
        const struct topic_image *topic = image->topics[i];
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            if (topic->partitions[p].leader != self)
                continue;
            led.all++;
            led.movable += another_may_lead(image, &topic->partitions[p], self);
        }
    }
    return led;
}

static bool is_wanted(const struct broker *broker)
{
    const struct image *image = broker->shards[CONTROL_SHARD].image;
    return broker->ready && !broker->failed && broker->controller && image &&
           broker->conf->broker.controlled_shutdown_enable &&
           !controller_store_is_away(broker->controller) && others_stay(image, broker->node_id);
}

/* ---- the steps ---- */

static void finish(struct handover *h, enum handover_state state)
{
    struct led led = count_led(h);
    diag_info(control_shard_of(h)->sh, "broker.handed_over",
              "complete=%d led=%u leads=%u others_could=%u took_ms=%llu",
              state == HANDOVER_COMPLETE, h->led, led.all, led.movable,
              (unsigned long long)(elapsed_ns(h) / 1000000U));
    timer_cancel(control_shard_of(h)->sh, &h->timer);
    h->state = state;
    h->done(h->broker);
}

static void on_drained(struct control_op *op)
{
    struct handover *h = op->user;
    if (h->state != HANDOVER_ASKING)
        return; /* given up */
    h->state = op->error == ERR_NONE ? HANDOVER_LOOKING : HANDOVER_WAITING;
    wake_after(h, op->error == ERR_NONE ? 0 : AGAIN_NS);
}

static void ask(struct handover *h)
{
    struct broker_shard *bs = control_shard_of(h);
    const struct broker_image *self = image_broker(bs->image, h->broker->node_id);
    control_op_init(&h->op, CONTROL_DRAIN_BROKER, NULL, on_drained);
    h->drain = (struct control_drain){.id = h->broker->node_id, .epoch = self ? self->epoch : -1};
    h->op.drain = &h->drain;
    h->op.user = h;
    h->state = HANDOVER_ASKING;
    wake_after(h, PATIENCE_NS);
    controller_submit(bs, &h->op);
}

/* The controller decided on what it knows; what this broker knows comes a moment later. */
static void look(struct handover *h)
{
    const struct broker_shard *bs = control_shard_of(h);
    const struct broker_image *self = image_broker(bs->image, h->broker->node_id);
    struct led led = count_led(h);
    bool heard = self && self->draining && led.movable == 0;
    if (heard && led.all == h->led)
        finish(h, HANDOVER_COMPLETE); /* nothing has moved: nobody is to be told */
    else if (heard)
        h->state = HANDOVER_LINGERING;
    if (h->state == HANDOVER_LINGERING || h->state == HANDOVER_LOOKING)
        wake_after(h, heard ? LINGER_NS : LOOK_NS);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct handover *h = container_of(timer, struct handover, timer);
    (void)sh;
    if (h->state == HANDOVER_LINGERING)
        finish(h, HANDOVER_COMPLETE);
    else if (elapsed_ns(h) >= PATIENCE_NS)
        finish(h, HANDOVER_GIVEN_UP);
    else if (h->state == HANDOVER_LOOKING)
        look(h);
    else
        ask(h);
}

void handover_begin(struct broker *broker, void (*done)(struct broker *broker))
{
    if (!is_wanted(broker)) {
        done(broker);
        return;
    }
    struct handover *h = mem_zalloc(sizeof(*h));
    broker->handover = h;
    h->broker = broker;
    h->done = done;
    h->began_ns = io_now_ns(control_shard_of(h)->sh->io);
    h->led = count_led(h).all;
    h->timer = (struct timer){.fn = on_timer, .name = "broker.handover"};
    ask(h);
}

enum handover_state handover_state_of(const struct handover *h)
{
    return h ? h->state : HANDOVER_GIVEN_UP;
}

void handover_free(struct handover *h)
{
    mem_free(h);
}
