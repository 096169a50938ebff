/* SPDX-License-Identifier: Apache-2.0
 *
 * Several controllers on one metadata store: three machines ask for changes, wherever they are; are
 * killed, lose power, lose their sessions or the store for a while, and come back. A model outside
 * of them knows what was answered.
 *
 *   one past     whoever shows an image of batch N shows the same one, and its batches go up
 *   kept         a change that was answered is in the image that everybody has in the end
 *   home         a partition stays at home on its shard while its broker runs
 *   at peace     without faults all are registered and known to all, and one of them is in office
 */
#include "core/controller/controller_private.h"
#include "io/mem.h"
#include "net/err.h"
#include "tests/sim/world_store.h"
#include "tests/unit/sim/controller_alone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS          1000000ULL
#define MACHINES    3U
#define SHARDS      2U
#define NAMES       4U
#define BATCHES_MAX 65536U
#define HOMES_MAX   1024U

enum knowledge { ABSENT, EXISTS, UNKNOWN };

/* A topic of one machine: nobody else changes it. */
struct known_topic {
    char name[24];
    enum knowledge is;
    struct uuid id;
};

struct home {
    struct uuid topic;
    int32_t partition;
    uint16_t shard;
};

struct node;

struct model {
    struct world *world;
    struct store_sim *sim;
    struct conf conf;
    struct machine *machines[MACHINES];
    struct node *nodes[MACHINES]; /* of the lives that run */
    struct kept kept[MACHINES];
    struct known_topic topics[MACHINES][NAMES];
    uint64_t digests[BATCHES_MAX]; /* 0: nobody has shown it */
    uint64_t answers, refusals, elections;
    int32_t last_epoch;
    bool away; /* the store */
    bool quiet;
    struct findings violations;
};

struct node {
    struct alone alone;
    struct model *model;
    uint32_t index;
    struct broker_shard shards[SHARDS];
    struct arena arena;
    struct control_op op;
    struct control_item item;
    struct known_topic *topic;
    struct timer pause;
    bool ready;
    uint64_t batch;
    struct home homes[HOMES_MAX];
    uint32_t home_count;
    struct timer applying[SHARDS];
    void (*applied[SHARDS])(void *user);
    void *applied_user[SHARDS];
};

/* ---- fakes of what the controller calls ---- */

static struct node *node_of(struct broker_shard *bs)
{
    return container_of(bs->broker, struct node, alone.broker);
}

static uint64_t add(uint64_t digest, uint64_t value)
{
    digest = (digest ^ value) * 0x9e3779b97f4a7c15ULL;
    return digest ^ digest >> 29;
}

static uint64_t digest_of(const struct image *image)
{
    uint64_t digest = add((uint64_t)image->controller_epoch, (uint64_t)image->controller_id);
    digest = add(digest, (uint64_t)image->producer_id_next);
    for (uint32_t i = 0; i < image->broker_count; i++) {
        digest = add(digest, (uint64_t)image->brokers[i].id);
        digest = add(digest, (uint64_t)image->brokers[i].epoch * 2 + image->brokers[i].live);
    }
    for (uint32_t i = 0; i < image->topic_count; i++) {
        const struct topic_image *topic = image->topics[i];
        uint64_t id[2];
        memcpy(id, topic->id.bytes, sizeof(id));
        digest = add(add(digest, id[0]), id[1] + topic->partition_count);
        for (uint32_t p = 0; p < topic->partition_count; p++)
            digest = add(digest, (uint64_t)topic->partitions[p].leader);
    }
    return digest | 1;
}

static void check_home(struct node *node, const struct topic_image *topic, uint32_t p)
{
    uint16_t shard = topic->partitions[p].home;
    for (uint32_t i = 0; i < node->home_count; i++) {
        struct home *home = &node->homes[i];
        if (!uuid_equal(&home->topic, &topic->id) || home->partition != (int32_t)p)
            continue;
        if (home->shard != shard)
            violate(&node->model->violations, "partition %u of %s has moved from shard %u to %u", p,
                    topic->name, home->shard, shard);
        return;
    }
    if (node->home_count < HOMES_MAX)
        node->homes[node->home_count++] = (struct home){topic->id, (int32_t)p, shard};
}

static void check_image(struct node *node, const struct image *image)
{
    struct model *model = node->model;
    must(image->batch < BATCHES_MAX);
    uint64_t digest = digest_of(image);
    if (model->digests[image->batch] == 0)
        model->digests[image->batch] = digest;
    if (model->digests[image->batch] != digest)
        violate(&model->violations, "broker %u shows another batch %llu", node->index + 1,
                (unsigned long long)image->batch);
    if (image->batch < node->batch)
        violate(&model->violations, "broker %u goes back to batch %llu", node->index + 1,
                (unsigned long long)image->batch);
    node->batch = image->batch;
    model->elections += image->controller_epoch > model->last_epoch;
    model->last_epoch =
        image->controller_epoch > model->last_epoch ? image->controller_epoch : model->last_epoch;
    for (uint32_t i = 0; i < image->topic_count; i++) {
        for (uint32_t p = 0; p < image->topics[i]->partition_count; p++) {
            if (image->topics[i]->partitions[p].leader == node->alone.broker.node_id)
                check_home(node, image->topics[i], p);
        }
    }
}

static void on_applying(struct shard *sh, struct timer *timer)
{
    (void)timer;
    struct node *node = node_of(broker_shard_of(sh));
    node->applied[sh->id](node->applied_user[sh->id]);
}

void partitions_apply(struct broker_shard *bs, const struct image *image,
                      void (*applied)(void *user), void *user)
{
    struct node *node = node_of(bs);
    bs->image = image;
    if (bs->sh->id == 0)
        check_image(node, image);
    node->applied[bs->sh->id] = applied;
    node->applied_user[bs->sh->id] = user;
    node->applying[bs->sh->id] = (struct timer){.fn = on_applying, .name = "test.apply"};
    timer_set(bs->sh, &node->applying[bs->sh->id],
              io_now_ns(bs->sh->io) + io_random(bs->sh->io) % (2 * MS) + 1);
}

/* ---- asking ---- */

static void pause_then_ask(struct node *node)
{
    struct shard *sh = node->shards[0].sh;
    timer_set(sh, &node->pause, io_now_ns(sh->io) + io_random(sh->io) % (20 * MS) + 1);
}

static void on_answered(struct control_op *op)
{
    struct node *node = container_of(op, struct node, op);
    struct known_topic *topic = node->topic;
    int16_t error = op->error ? op->error : node->item.error;
    bool creates = op->kind == CONTROL_CREATE_TOPICS;
    if (error == ERR_NOT_CONTROLLER) {
        node->model->refusals++; /* it may have happened, if it was being appended */
    } else if (error == ERR_NONE) {
        node->model->answers++;
        topic->is = creates ? EXISTS : ABSENT;
        topic->id = node->item.created_id;
    } else if (error != (creates ? ERR_TOPIC_ALREADY_EXISTS : ERR_UNKNOWN_TOPIC_OR_PARTITION)) {
        violate(&node->model->violations, "%s: error %d", topic->name, error);
    } else {
        topic->is = creates ? EXISTS : ABSENT;
    }
    arena_reset(&node->arena);
    pause_then_ask(node);
}

static void on_pause(struct shard *sh, struct timer *timer)
{
    struct node *node = container_of(timer, struct node, pause);
    if (node->model->quiet)
        return;
    struct known_topic *topic = &node->model->topics[node->index][io_random(sh->io) % NAMES];
    bool creates = topic->is == ABSENT || (topic->is == UNKNOWN && io_random(sh->io) % 2);
    topic->is = UNKNOWN;
    node->topic = topic;
    node->op = (struct control_op){
        .kind = creates ? CONTROL_CREATE_TOPICS : CONTROL_DELETE_TOPICS,
        .arena = &node->arena,
        .items = &node->item,
        .item_count = 1,
        .done = on_answered,
    };
    node->item = (struct control_item){
        .name = str_of(topic->name), .partition_count = 4, .replication_factor = 1};
    controller_submit(&node->shards[0], &node->op);
}

/* ---- the machines' program ---- */

static void on_ready(void *user)
{
    struct node *node = user;
    node->ready = true;
    pause_then_ask(node);
}

static void on_failed(void *user, const char *sentence)
{
    const struct node *node = user;
    violate(&node->model->violations, "broker %u failed: %s", node->index + 1, sentence);
}

static void on_begun(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct node *node = node_of(broker_shard_of(here));
    if (!alone_shard_begun(&node->alone))
        return;
    const struct controller_options options = {.store_url = "sim:",
                                               .session_timeout_ms = 2000,
                                               .sim = node->model->sim,
                                               .on_ready = on_ready,
                                               .on_failed = on_failed,
                                               .user = node};
    node->alone.broker.controller = controller_start(&node->shards[0], &options);
}

static void start_shard(struct shard *sh, void *prepared)
{
    struct node *node = prepared;
    alone_start_shard(&node->alone, sh, on_begun);
}

struct life {
    struct model *model;
    uint32_t index;
};

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    const struct life *life = argument;
    struct model *model = life->model;
    struct node *node = mem_zalloc(sizeof(*node));
    *failed = false;
    node->model = model;
    node->index = life->index;
    memset(node->alone.dir.uuid, (int)(life->index + 1), sizeof(node->alone.dir.uuid));
    alone_init(&node->alone, fs, &model->kept[life->index], &model->conf, (int32_t)life->index + 1,
               node->shards);
    arena_init(&node->arena, 1U << 20);
    node->pause = (struct timer){.fn = on_pause, .name = "test.pause"};
    model->nodes[life->index] = node;
    return node;
}

static void finish(void *prepared)
{
    struct node *node = prepared;
    alone_fini(&node->alone);
    mem_free(node);
}

static struct life lives[MACHINES];

static void start(struct model *model, uint32_t index)
{
    lives[index] = (struct life){model, index};
    machine_start(model->machines[index], &(struct program){.name = "broker",
                                                            .shards = SHARDS,
                                                            .prepare = prepare,
                                                            .start = start_shard,
                                                            .stop = finish,
                                                            .argument = &lives[index]});
}

static void crash(struct model *model, uint32_t index, bool power)
{
    if (!model->nodes[index])
        return;
    model->nodes[index] = NULL;
    machine_crash(model->machines[index], power ? CRASH_POWER : CRASH_KILL);
}

/* ---- the end: everybody agrees ---- */

static bool at_peace(void *argument)
{
    const struct model *model = argument;
    uint32_t in_office = 0;
    if (model->violations.count > 0)
        return true;
    for (uint32_t i = 0; i < MACHINES; i++) {
        const struct node *node = model->nodes[i];
        const struct image *image = node ? node->shards[0].image : NULL;
        if (!image || !node->ready || image->broker_count != MACHINES)
            return false;
        for (uint32_t b = 0; b < MACHINES; b++) {
            const struct node *other = model->nodes[b];
            if (!other || !other->alone.broker.controller ||
                !controller_is_member(other->alone.broker.controller, image))
                return false;
        }
        in_office += node->alone.broker.controller->in_office;
    }
    return in_office == 1;
}

static void check_topics(struct model *model, const struct image *image)
{
    for (uint32_t m = 0; m < MACHINES; m++) {
        for (uint32_t i = 0; i < NAMES; i++) {
            const struct known_topic *topic = &model->topics[m][i];
            const struct topic_image *found =
                image_topic_by_name(image, topic->name, strlen(topic->name));
            if (topic->is != UNKNOWN && (found != NULL) != (topic->is == EXISTS))
                violate(&model->violations, "%s is %s in the end", topic->name,
                        found ? "there" : "absent");
        }
    }
}

static void end_in_peace(struct model *model)
{
    store_sim_away(model->sim, false);
    for (uint32_t i = 0; i < MACHINES; i++) {
        if (!model->nodes[i])
            start(model, i);
    }
    if (!world_run_until(model->world, at_peace, model, world_now_ns(model->world) + 15000 * MS) ||
        model->violations.count > 0) {
        violate(&model->violations, "three brokers do not find peace");
        return;
    }
    model->quiet = true; /* no further questions */
}

static void model_init(struct model *model, uint64_t seed, const char *mutation)
{
    static const char *const names[MACHINES] = {"one", "two", "three"};
    struct world_options options;
    const struct conf_input input = {.hostname = "localhost"};
    *model = (struct model){0};
    world_options_calm(&options, seed);
    options.mutation = mutation;
    options.chances = true;
    assert_true(conf_load(&model->conf, &input));
    model->world = world_new(&options);
    model->sim = store_of_world(model->world, 20);
    for (uint32_t m = 0; m < MACHINES; m++) {
        model->machines[m] = world_machine(model->world, names[m]);
        for (uint32_t i = 0; i < NAMES; i++)
            (void)snprintf(model->topics[m][i].name, sizeof(model->topics[m][i].name), "t%u-%u", m,
                           i);
    }
}

static void disturb(struct model *model, uint64_t draw)
{
    uint32_t index = (uint32_t)(draw % MACHINES);
    if (model->away) { /* it was, since the last time */
        model->away = false;
        store_sim_away(model->sim, false);
        return;
    }
    switch (draw / 8 % 8) {
    case 0:
        store_sim_expire(model->sim);
        return;
    case 4:
        model->away = true;
        store_sim_away(model->sim, true);
        return;
    case 1:
    case 2:
    case 3:
        crash(model, index, draw / 64 % 2);
        return;
    default:
        if (!model->nodes[index])
            start(model, index);
        return;
    }
}

static void run(uint64_t seed, const char *mutation, struct model *model)
{
    model_init(model, seed, mutation);
    for (uint32_t i = 0; i < MACHINES; i++)
        start(model, i);
    for (uint32_t step = 0; step < 30 && model->violations.count == 0; step++) {
        uint64_t draw = (seed * 31 + step) * 0x9e3779b97f4a7c15ULL;
        draw ^= draw >> 31;
        world_run(model->world, world_now_ns(model->world) + draw / 512 % 1500 * MS);
        disturb(model, draw);
    }
    end_in_peace(model);
    world_run(model->world, world_now_ns(model->world) + 3000 * MS);
    if (model->violations.count == 0)
        check_topics(model, model->nodes[0]->shards[0].image);
    for (uint32_t i = 0; i < MACHINES; i++)
        crash(model, i, true);
    store_sim_free(model->sim);
    world_free(model->world);
    conf_fini(&model->conf);
}

static void three_controllers_agree(void **state)
{
    (void)state;
    const char *more = getenv("CLUSTER_SEEDS");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : 12;
    uint64_t answers = 0, elections = 0;
    struct model *model = malloc(sizeof(*model));
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run(seed, NULL, model);
        if (model->violations.count > 0)
            fail_msg("seed %llu: %s", (unsigned long long)seed, model->violations.first);
        answers += model->answers;
        elections += model->elections;
    }
    print_message("%llu changes answered, %llu elections\n", (unsigned long long)answers,
                  (unsigned long long)elections);
    assert_true(answers > 50 * seeds && elections > 3 * seeds);
    free(model);
}

static void found(const char *mutation)
{
    struct model *model = malloc(sizeof(*model));
    uint64_t seed = 0;
    do {
        run(++seed, mutation, model);
    } while (model->violations.count == 0 && seed < 50);
    if (model->violations.count == 0)
        fail_msg("not found: %s", mutation);
    print_message("%s: seed %llu: %s\n", mutation, (unsigned long long)seed,
                  model->violations.first);
    free(model);
}

static void brokers_not_watched_are_found(void **state)
{
    (void)state;
    found("controller.brokers_not_watched");
}

static void believed_appends_are_found(void **state)
{
    (void)state;
    found("metadata.unknown_append_believed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_controllers_agree),
        cmocka_unit_test(brokers_not_watched_are_found),
        cmocka_unit_test(believed_appends_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
