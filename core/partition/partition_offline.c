/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/partition_offline.h"

#include "core/broker.h"
#include "core/controller/controller.h"
#include "core/partition/partition_private.h"
#include "io/diag.h"
#include "io/mem.h"

#include <stdlib.h>
#include <string.h>

#define AWAY_MAX       64U /* questions at a time */
#define AGAIN_FIRST_NS 50000000U
#define AGAIN_MOST_NS  3200000000U

/* Partitions at home on one shard, by key. */
struct offline_list {
    struct partition_key *keys;
    uint32_t count;
    uint32_t size;
};

struct partition_offline {
    struct broker_shard *bs;
    struct task task;
    struct timer again;
    uint64_t again_ns;
    uint32_t topic; /* of the image, the next to look at */
    uint32_t away;
    bool looking;
    bool wanted; /* another look, when this one has ended */
    bool found;  /* one in this pass that another broker could lead */
    bool stopped;
    struct offline_list pass;   /* of this shard, in the making */
    struct offline_list *lists; /* [shards], as they have told */
};

/* From one shard to another: the list becomes the receiver's. */
struct news {
    struct mail mail;
    struct offline_list list;
    uint16_t from;
};

/* Lent to the control shard while it is away. */
struct question {
    struct control_op op;
    struct control_alter alter;
    struct partition_offline *offline;
};

static void look(struct partition_offline *offline);

static void look_later(struct partition_offline *offline)
{
    struct shard *sh = offline->bs->sh;
    if (offline->stopped || offline->looking || offline->away > 0)
        return;
    if (offline->wanted) {
        look(offline);
    } else if (offline->found) {
        timer_set(sh, &offline->again, io_now_ns(sh->io) + offline->again_ns);
        offline->again_ns = min_u64(2 * offline->again_ns, AGAIN_MOST_NS);
    }
}

static void on_asked(struct control_op *op)
{
    struct question *question = op->user;
    struct partition_offline *offline = question->offline;
    struct broker_shard *bs = offline->bs;
    if (op->error == ERR_NONE)
        offline->again_ns = AGAIN_FIRST_NS; /* it gets on: the next ones soon */
    mem_free(question);
    bs->proposals--;
    offline->away--;
    look_later(offline);
    partition_proposal_ended(bs);
}

static void ask(struct partition_offline *offline, const struct topic_image *topic,
                const struct partition_image *image, int32_t partition, bool lost)
{
    struct broker_shard *bs = offline->bs;
    const int32_t self = bs->broker->node_id;
    const struct broker_image *own = image_broker(bs->image, self);
    struct question *question = mem_zalloc(sizeof(*question));
    question->offline = offline;
    question->alter = (struct control_alter){.topic_id = topic->id,
                                             .partition = partition,
                                             .leader = self,
                                             .broker_epoch = own ? own->epoch : -1,
                                             .leader_epoch = image->leader_epoch,
                                             .partition_epoch = image->partition_epoch,
                                             .lost = lost};
    for (uint32_t i = 0; i < image->isr_count && !lost; i++) {
        const struct broker_image *member = image_broker(bs->image, image->isr[i]);
        if (image->isr[i] != self)
            question->alter.members[question->alter.member_count++] =
                (struct control_member){image->isr[i], member ? member->epoch : -1};
    }
    control_op_init(&question->op, CONTROL_ALTER_PARTITION, NULL, on_asked);
    question->op.user = question;
    question->op.alter = &question->alter;
    offline->away++;
    bs->proposals++;
    diag_info(bs->sh, lost ? "partition.lost" : "partition.resigns",
              "topic=%s partition=%d leader_epoch=%d", topic->name, partition, image->leader_epoch);
    controller_submit(bs, &question->op);
}

static bool another_could(const struct broker_shard *bs, const struct partition_image *image)
{
    for (uint32_t i = 0; i < image->isr_count; i++)
        if (image->isr[i] != bs->broker->node_id && image_broker_stays(bs->image, image->isr[i]))
            return true;
    return false;
}

/* ---- telling ---- */

static int compare_keys(const void *a, const void *b)
{
    const struct partition_key *x = a;
    const struct partition_key *y = b;
    int order = memcmp(x->topic_id.bytes, y->topic_id.bytes, sizeof(x->topic_id.bytes));
    return order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

static void list_add(struct offline_list *list, const struct partition_key *key)
{
    if (list->count == list->size) {
        list->size = list->size ? 2 * list->size : 64;
        list->keys = mem_realloc(list->keys, list->size * sizeof(list->keys[0]));
    }
    list->keys[list->count++] = *key;
}

static void list_take(struct partition_offline *offline, uint16_t from, struct offline_list list)
{
    mem_free(offline->lists[from].keys);
    offline->lists[from] = list;
}

static void on_news(struct shard *here, struct mail *mail)
{
    struct news *news = container_of(mail, struct news, mail);
    list_take(broker_shard_of(here)->offline, news->from, news->list);
    mem_free(news);
}

static bool same_list(const struct offline_list *a, const struct offline_list *b)
{
    for (uint32_t i = 0; a->count == b->count && i < a->count; i++)
        if (compare_keys(&a->keys[i], &b->keys[i]) != 0)
            return false;
    return a->count == b->count;
}

/* What the pass has found, if it is something else than before. */
static void tell(struct partition_offline *offline)
{
    struct shard *sh = offline->bs->sh;
    struct offline_list list = offline->pass;
    offline->pass = (struct offline_list){0};
    if (list.count > 0)
        qsort(list.keys, list.count, sizeof(list.keys[0]), compare_keys);
    bool same = same_list(&list, &offline->lists[sh->id]);
    for (uint16_t i = 0; !same && i < sh->count; i++) {
        if (i == sh->id)
            continue;
        struct news *news = mem_zalloc(sizeof(*news));
        news->from = sh->id;
        for (uint32_t k = 0; k < list.count; k++)
            list_add(&news->list, &list.keys[k]);
        shard_post(sh, i, &news->mail, on_news);
    }
    list_take(offline, sh->id, list);
}

bool partition_is_offline(const struct partition_offline *offline, uint16_t home,
                          const struct partition_key *key)
{
    const struct offline_list *list = &offline->lists[home];
    return list->count > 0 &&
           bsearch(key, list->keys, list->count, sizeof(list->keys[0]), compare_keys) != NULL;
}

/* ---- looking ---- */

static void look_at(struct partition_offline *offline, const struct topic_image *topic,
                    uint32_t partition)
{
    const struct broker_shard *bs = offline->bs;
    const int32_t self = bs->broker->node_id;
    const struct partition_image *image = &topic->partitions[partition];
    const struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)partition};
    if (image->home != bs->sh->id || !image_has_replica(image, self))
        return;
    const struct partition *pt = partition_find(&bs->partitions, &key);
    if (pt && !broker_logs_failed(pt))
        return;
    list_add(&offline->pass, &key);
    const struct log_dirs *dirs = bs->broker->dirs;
    bool lost = !pt && dirs->lost && dirs->missing == 0 && image_in_set(image, self);
    if (!lost && (image->leader != self || !another_could(bs, image)))
        return;
    offline->found = true;
    if (offline->away < AWAY_MAX)
        ask(offline, topic, image, (int32_t)partition, lost);
}

static void on_step(struct shard *sh, struct task *task)
{
    struct partition_offline *offline = container_of(task, struct partition_offline, task);
    const struct image *image = offline->bs->image;
    const uint64_t began_ns = io_clock_ns(sh->io);
    while (image && offline->topic < image->topic_count) {
        const struct topic_image *topic = image->topics[offline->topic++];
        for (uint32_t i = 0; i < topic->partition_count; i++)
            look_at(offline, topic, i);
        if (shard_should_yield(sh, began_ns)) {
            shard_ready(sh, task);
            return;
        }
    }
    tell(offline);
    offline->looking = false;
    look_later(offline);
}

static void look(struct partition_offline *offline)
{
    offline->looking = true;
    offline->wanted = false;
    offline->found = false;
    offline->topic = 0;
    offline->pass.count = 0;
    shard_ready(offline->bs->sh, &offline->task);
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    look(container_of(timer, struct partition_offline, again));
}

void partition_offline_look(struct partition_offline *offline)
{
    const char *reason;
    if (offline->stopped || offline->bs->roles_ended ||
        (broker_logs_offline(offline->bs, &reason) == 0 && !offline->bs->broker->dirs->lost))
        return;
    offline->wanted = true;
    offline->again_ns = AGAIN_FIRST_NS;
    timer_cancel(offline->bs->sh, &offline->again);
    look_later(offline);
}

/* ---- life ---- */

void partition_offline_stop(struct partition_offline *offline)
{
    offline->stopped = true;
    timer_cancel(offline->bs->sh, &offline->again);
    task_cancel(offline->bs->sh, &offline->task);
}

struct partition_offline *partition_offline_new(struct broker_shard *bs)
{
    struct partition_offline *offline = mem_zalloc(sizeof(*offline));
    offline->bs = bs;
    offline->lists = mem_zalloc(bs->broker->shard_count * sizeof(offline->lists[0]));
    offline->task = (struct task){.fn = on_step, .name = "partition.offline"};
    offline->again = (struct timer){.fn = on_again, .name = "partition.offline"};
    return offline;
}

void partition_offline_free(struct partition_offline *offline)
{
    for (uint16_t i = 0; i < offline->bs->broker->shard_count; i++)
        mem_free(offline->lists[i].keys);
    mem_free(offline->lists);
    mem_free(offline->pass.keys);
    mem_free(offline);
}
