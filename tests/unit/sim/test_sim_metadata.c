/* SPDX-License-Identifier: Apache-2.0
 *
 * Controller, metadata log and file store in the simulated world: shards ask for changes, the
 * machine is killed or loses power, and starts again with another number of shards.
 *
 * A model outside of the machine knows what was asked and what was answered. What was answered must
 * be there after every restart; what was asked and not answered is whole or absent; and an answer
 * may come only when every shard can see the change. Deliberate mistakes show that the test bites.
 */
#include "core/broker.h"
#include "core/controller/controller.h"
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
#define SHARDS_MOST 4U
#define NAMES       6U

/* One topic's name, as the model knows it: only one shard at a time changes it. */
struct known_topic {
    char name[24];
    bool exists;
    struct uuid id;
    int32_t partitions;
    int32_t max_bytes; /* 0: not set */
    /* asked and not answered */
    bool asked;
    enum control_kind kind;
    int32_t value;
};

struct model {
    struct known_topic topics[SHARDS_MOST][NAMES];
    int64_t producer_id_end; /* of the blocks that were answered */
    struct uuid directory;
    struct kept kept; /* of the directory */
    uint64_t answers;
    uint64_t starts;
    struct findings violations;
    bool ready;
    bool may_fail;
    uint32_t recovered_count;
    char failed[512];
    struct node *node; /* of the life that runs */
    struct conf conf;
    struct store_sim *sim; /* NULL: the file store */
};

/* A machine's memory. */
struct node {
    struct alone alone;
    struct model *model;
    bool stopping;
    bool stopped;
    struct broker_shard shards[SHARDS_MOST];
    struct asker *askers[SHARDS_MOST];
};

/* A shard's client: one request at a time. */
struct asker {
    struct node *node;
    struct shard *sh;
    struct known_topic *topic;
    struct arena arena;
    struct control_op op;
    struct control_item item;
    struct control_config config;
    char text[16];
    struct timer pause;
    /* for the fake of partitions_apply */
    struct timer applying;
    void (*applied)(void *user);
    void *applied_user;
    const struct image *image;
    uint64_t digest;
};

/* ---- fakes of what the controller calls ---- */

static struct node *node_of(struct broker_shard *bs)
{
    return container_of(bs->broker, struct node, alone.broker);
}

static uint64_t digest_of(const struct image *image)
{
    uint64_t digest = image->topic_count;
    for (uint32_t i = 0; i < image->topic_count; i++) {
        const struct topic_image *topic = image->topics[i];
        digest = digest * 1000003 + topic->partition_count;
        digest = digest * 1000003 + (uint64_t)topic->conf.max_message_bytes;
    }
    return digest;
}

static void on_applying(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct asker *asker = container_of(timer, struct asker, applying);
    asker->applied(asker->applied_user);
}

/* Takes a while, and checks that the image before is what it was. */
void partitions_apply(struct broker_shard *bs, const struct image *image,
                      void (*applied)(void *user), void *user)
{
    struct node *node = node_of(bs);
    struct asker *asker = node->askers[bs->sh->id];
    if (asker->image && digest_of(asker->image) != asker->digest)
        violate(&node->model->violations, "an image changed after it was published");
    bs->image = image;
    asker->image = image;
    asker->digest = digest_of(image);
    asker->applied = applied;
    asker->applied_user = user;
    asker->applying = (struct timer){.fn = on_applying, .name = "test.apply"};
    timer_set(bs->sh, &asker->applying,
              io_now_ns(bs->sh->io) + io_random(bs->sh->io) % (3 * MS) + 1);
}

/* ---- what must hold ---- */

static bool is_as_asked(const struct known_topic *topic, const struct topic_image *found)
{
    if (!topic->asked)
        return false;
    switch (topic->kind) {
    case CONTROL_CREATE_TOPICS:
        return found && found->partition_count == (uint32_t)topic->value &&
               found->overrides.count == 0;
    case CONTROL_DELETE_TOPICS:
        return !found;
    case CONTROL_CREATE_PARTITIONS:
        return found && uuid_equal(&found->id, &topic->id) &&
               found->partition_count == (uint32_t)topic->value;
    case CONTROL_ALTER_CONFIGS:
    case CONTROL_INCREMENTAL_ALTER_CONFIGS:
        return found && uuid_equal(&found->id, &topic->id) &&
               found->partition_count == (uint32_t)topic->partitions &&
               found->conf.max_message_bytes == topic->value;
    case CONTROL_ALTER_PARTITION:
    case CONTROL_ELECT_LEADERS:
    case CONTROL_ALLOCATE_PRODUCER_IDS:
    case CONTROL_DRAIN_BROKER:
    case CONTROL_REASSIGN:
    case CONTROL_ALTER_QUOTAS:
    case CONTROL_UPDATE_FEATURES:
        return false;
    }
    return false;
}

static bool is_as_known(const struct known_topic *topic, const struct topic_image *found)
{
    if (!topic->exists || !found)
        return topic->exists == (found != NULL);
    return uuid_equal(&found->id, &topic->id) &&
           found->partition_count == (uint32_t)topic->partitions &&
           found->overrides.count == (topic->max_bytes > 0) &&
           (topic->max_bytes == 0 || found->conf.max_message_bytes == topic->max_bytes);
}

static void adopt(struct known_topic *topic, const struct topic_image *found)
{
    topic->asked = false;
    topic->exists = found != NULL;
    if (!found)
        return;
    topic->id = found->id;
    topic->partitions = (int32_t)found->partition_count;
    topic->max_bytes = found->overrides.count > 0 ? found->conf.max_message_bytes : 0;
}

static void check_restart(struct model *model, const struct image *image)
{
    for (uint32_t s = 0; s < SHARDS_MOST; s++) {
        for (uint32_t i = 0; i < NAMES; i++) {
            struct known_topic *topic = &model->topics[s][i];
            const struct topic_image *found =
                image_topic_by_name(image, topic->name, strlen(topic->name));
            if (!is_as_known(topic, found) && !is_as_asked(topic, found))
                violate(&model->violations,
                        "after a restart %s is %s with %u partitions; known: %d with %d",
                        topic->name, found ? "there" : "absent", found ? found->partition_count : 0,
                        topic->exists, topic->partitions);
            adopt(topic, found);
        }
    }
    if (image->producer_id_next < model->producer_id_end)
        violate(&model->violations, "producer ids would be given out twice");
}

/* ---- asking ---- */

static void ask(struct asker *asker);

static void on_pause(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct asker *asker = container_of(timer, struct asker, pause);
    if (!asker->node->stopping)
        ask(asker);
}

static void check_answer(struct asker *asker)
{
    struct known_topic *topic = asker->topic;
    struct node *node = asker->node;
    for (uint16_t i = 0; i < node->alone.broker.shard_count; i++) {
        const struct image *image = node->shards[i].image;
        const struct topic_image *found =
            image_topic_by_name(image, topic->name, strlen(topic->name));
        if (!is_as_asked(topic, found))
            violate(&node->model->violations, "%s was answered, and shard %u does not see it",
                    topic->name, i);
    }
    const struct image *image = node->shards[asker->sh->id].image;
    adopt(topic, image_topic_by_name(image, topic->name, strlen(topic->name)));
}

static void on_answered(struct control_op *op)
{
    struct asker *asker = op->user;
    struct model *model = asker->node->model;
    if (asker->node->stopping)
        return; /* the images are gone, or will be: it is as if never answered */
    if (op->error != ERR_NONE) {
        violate(&model->violations, "a request ended with error %d", op->error);
        return;
    }
    model->answers++;
    if (op->kind == CONTROL_ALLOCATE_PRODUCER_IDS) {
        if (op->producer_id_first < model->producer_id_end &&
            asker->node->alone.broker.shard_count == 1)
            violate(&model->violations, "a block of producer ids overlaps an earlier one");
        int64_t end = op->producer_id_first + op->producer_id_count;
        model->producer_id_end = max_i64(model->producer_id_end, end);
    } else if (asker->item.error != ERR_NONE) {
        violate(&model->violations, "%s: refused with error %d", asker->topic->name,
                asker->item.error);
    } else {
        check_answer(asker);
    }
    arena_reset(&asker->arena);
    timer_set(asker->sh, &asker->pause,
              io_now_ns(asker->sh->io) + io_random(asker->sh->io) % (2 * MS) + 1);
}

static void choose(struct asker *asker)
{
    struct known_topic *topic = asker->topic;
    uint64_t draw = io_random(asker->sh->io);
    topic->value = (int32_t)(1 + draw % 7);
    if (!topic->exists) {
        topic->kind = CONTROL_CREATE_TOPICS;
    } else if (draw / 7 % 3 == 0) {
        topic->kind = CONTROL_DELETE_TOPICS;
    } else if (draw / 7 % 3 == 1) {
        topic->kind = CONTROL_CREATE_PARTITIONS;
        topic->value += topic->partitions;
    } else {
        topic->kind = CONTROL_INCREMENTAL_ALTER_CONFIGS;
        topic->value += 1000;
    }
    topic->asked = true;
}

static void ask(struct asker *asker)
{
    struct io *io = asker->sh->io;
    asker->op = (struct control_op){.kind = CONTROL_ALLOCATE_PRODUCER_IDS,
                                    .arena = &asker->arena,
                                    .done = on_answered,
                                    .user = asker};
    if (io_random(io) % 8 > 0) {
        asker->topic = &asker->node->model->topics[asker->sh->id][io_random(io) % NAMES];
        struct known_topic *topic = asker->topic;
        choose(asker);
        (void)snprintf(asker->text, sizeof(asker->text), "%d", topic->value);
        asker->config = (struct control_config){.name = str_of("max.message.bytes"),
                                                .value = str_of(asker->text)};
        asker->item = (struct control_item){.name = str_of(topic->name),
                                            .resource_type = 2,
                                            .partition_count = topic->value,
                                            .assignment_count = -1,
                                            .replication_factor = 1};
        if (topic->kind == CONTROL_INCREMENTAL_ALTER_CONFIGS) {
            asker->item.configs = &asker->config;
            asker->item.config_count = 1;
        }
        asker->op.kind = topic->kind;
        asker->op.items = &asker->item;
        asker->op.item_count = 1;
    }
    controller_submit(&asker->node->shards[asker->sh->id], &asker->op);
}

/* ---- the machine's program ---- */

static void on_go(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct broker_shard *bs = broker_shard_of(here);
    ask(node_of(bs)->askers[here->id]);
}

static void on_ready(void *user)
{
    struct node *node = user;
    check_restart(node->model, node->shards[0].image);
    node->model->ready = true;
    for (uint16_t i = 0; i < node->alone.broker.shard_count; i++)
        shard_post(node->shards[0].sh, i, &node->shards[i].mail, on_go);
}

static void on_failed(void *user, const char *sentence)
{
    struct model *model = ((struct node *)user)->model;
    (void)snprintf(model->failed, sizeof(model->failed), "%s", sentence);
    if (!model->may_fail)
        violate(&model->violations, "failed: %s", sentence);
}

static void on_begun(struct shard *here, struct mail *mail)
{
    (void)mail;
    struct node *node = node_of(broker_shard_of(here));
    if (!alone_shard_begun(&node->alone))
        return;
    const struct controller_options options = {.store_url =
                                                   node->model->sim ? "sim:" : "file:data/metadata",
                                               .session_timeout_ms = 9000,
                                               .sim = node->model->sim,
                                               .on_ready = on_ready,
                                               .on_failed = on_failed,
                                               .user = node};
    node->alone.broker.controller = controller_start(&node->shards[0], &options);
}

static void start_shard(struct shard *sh, void *prepared)
{
    struct node *node = prepared;
    struct asker *asker = mem_zalloc(sizeof(*asker));
    asker->node = node;
    asker->sh = sh;
    asker->pause = (struct timer){.fn = on_pause, .name = "test.pause"};
    arena_init(&asker->arena, 1U << 20);
    node->askers[sh->id] = asker;
    alone_start_shard(&node->alone, sh, on_begun);
}

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    struct model *model = argument;
    struct node *node = mem_zalloc(sizeof(*node));
    *failed = fs_mkdir(fs, "data") < 0 || fs_sync_dir(fs, ".") < 0;
    node->model = model;
    memcpy(node->alone.dir.uuid, model->directory.bytes, sizeof(node->alone.dir.uuid));
    alone_init(&node->alone, fs, &model->kept, &model->conf, model->conf.broker.node_id,
               node->shards);
    node->alone.dirs.recovered_count = model->recovered_count;
    model->starts++;
    model->node = node;
    return node;
}

static void finish(void *prepared)
{
    struct node *node = prepared;
    alone_fini(&node->alone);
    mem_free(node);
}

/* ---- a clean stop ---- */

static void on_controller_stopped(void *user)
{
    struct node *node = user;
    node->alone.broker.controller = NULL;
    node->stopped = true;
}

static void stop_controller(struct shard *sh, void *argument)
{
    (void)sh;
    struct node *node = argument;
    node->stopping = true;
    controller_stop(node->alone.broker.controller, on_controller_stopped, node);
}

static bool is_stopped(void *argument)
{
    const struct node *node = argument;
    return node->stopped;
}

static void end_shard(struct shard *sh, void *argument)
{
    struct node *node = argument;
    struct asker *asker = node->askers[sh->id];
    timer_cancel(sh, &asker->pause);
    arena_fini(&asker->arena);
    mem_free(asker);
    shard_stop(sh);
}

static void stop_cleanly(struct world *world, struct process *process, struct model *model)
{
    struct node *node = model->node;
    uint16_t shard_count = node->alone.broker.shard_count;
    process_call(process, 0, stop_controller, node);
    if (!world_run_until(world, is_stopped, node, world_now_ns(world) + 60000 * MS)) {
        violate(&model->violations, "the controller does not stop");
        return;
    }
    world_run(world, world_now_ns(world) + 100 * MS); /* answers under way */
    for (uint16_t i = 0; i < shard_count; i++)
        process_call(process, i, end_shard, node);
    world_run(world, world_now_ns(world) + 100 * MS);
    if (process_state(process) != PROCESS_STOPPED || process_memory(process) > 0)
        violate(&model->violations, "a clean stop leaves %llu bytes",
                (unsigned long long)process_memory(process));
}

static void model_init(struct model *model)
{
    *model = (struct model){.directory = {{7, 7, 7}}};
    const struct conf_input input = {.hostname = "localhost"};
    assert_true(conf_load(&model->conf, &input));
    for (uint32_t s = 0; s < SHARDS_MOST; s++)
        for (uint32_t i = 0; i < NAMES; i++)
            (void)snprintf(model->topics[s][i].name, sizeof(model->topics[s][i].name), "t%u-%u", s,
                           i);
}

static bool is_ready(void *argument)
{
    const struct model *model = argument;
    return model->ready || model->violations.count > 0 || model->failed[0] != '\0';
}

/* Six lives of one machine. */
static void run(uint64_t seed, const char *mutation, bool with_file, struct model *model)
{
    struct world_options options;
    if (seed % 4 == 0)
        world_options_calm(&options, seed);
    else
        world_options_rough(&options, seed);
    options.mutation = mutation;
    options.chances = true;
    model_init(model);
    struct world *world = world_new(&options);
    struct machine *machine = world_machine(world, "broker");
    model->sim = with_file ? NULL : store_of_world(world, 4); /* half of the answers are lost */
    for (uint32_t life = 0; life < 6 && model->violations.count == 0; life++) {
        uint64_t draw = seed * 0x9e3779b97f4a7c15ULL + life * 0xbf58476d1ce4e5b9ULL;
        draw ^= draw >> 31;
        model->ready = false;
        struct process *process =
            machine_start(machine, &(struct program){.name = "broker",
                                                     .shards = (uint16_t)(1 + draw % SHARDS_MOST),
                                                     .prepare = prepare,
                                                     .start = start_shard,
                                                     .stop = finish,
                                                     .argument = model});
        if (life == 5 || draw / 7 % 3 > 0)
            (void)world_run_until(world, is_ready, model, world_now_ns(world) + 60000 * MS);
        if (life == 5 && !model->ready)
            violate(&model->violations, "the last start did not become ready");
        world_run(world, world_now_ns(world) + draw / 64 % 200 * MS);
        if (model->ready && model->violations.count == 0 && (life == 5 || draw / 11 % 4 == 0))
            stop_cleanly(world, process, model);
        else
            machine_crash(machine, draw / 11 % 2 ? CRASH_KILL : CRASH_POWER);
        if (model->sim)
            store_sim_expire(model->sim);
    }
    if (model->sim)
        store_sim_free(model->sim);
    world_free(world);
    conf_fini(&model->conf);
}

static void survive(bool with_file, uint64_t seeds)
{
    uint64_t answers = 0;
    struct model *model = malloc(sizeof(*model));
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run(seed, NULL, with_file, model);
        if (model->violations.count > 0)
            fail_msg("seed %llu: %s", (unsigned long long)seed, model->violations.first);
        answers += model->answers;
    }
    assert_true(answers > 5 * seeds);
    free(model);
}

/* One start on the store `sim`, until it is ready or has failed. */
static struct process *begins(struct world *world, struct model *model)
{
    model->ready = false;
    model->failed[0] = '\0';
    struct process *process =
        machine_start(world_machine(world, "broker"), &(struct program){.name = "broker",
                                                                        .shards = 2,
                                                                        .prepare = prepare,
                                                                        .start = start_shard,
                                                                        .stop = finish,
                                                                        .argument = model});
    (void)world_run_until(world, is_ready, model, world_now_ns(world) + 60000 * MS);
    return process;
}

/* True when it became ready. Then the machine loses power. */
static bool starts(struct world *world, struct model *model)
{
    begins(world, model);
    world_run(world, world_now_ns(world) + 3000 * MS); /* the directory has its mark */
    machine_crash(world_machine(world, "broker"), CRASH_POWER);
    store_sim_expire(model->sim);
    return model->ready;
}

static void is_refused(struct world *world, struct model *model, const char *because)
{
    assert_false(starts(world, model));
    assert_non_null(strstr(model->failed, because));
}

/* A world without faults, and a store in it; a start may fail. */
static struct world *calm_begin(struct model *model)
{
    struct world_options options;
    world_options_calm(&options, 1);
    model_init(model);
    model->may_fail = true;
    struct world *world = world_new(&options);
    model->sim = store_of_world(world, 4);
    return world;
}

static void calm_end(struct world *world, struct model *model)
{
    store_sim_free(model->sim);
    world_free(world);
    conf_fini(&model->conf);
    free(model);
}

/* The one there was is lost. */
static void store_is_new(struct world *world, struct model *model)
{
    store_sim_free(model->sim);
    model->sim = store_of_world(world, 4);
}

/* Nothing is made anew silently: a start that does not find what it knows says so. */
static void wrong_directories_are_refused(void **state)
{
    (void)state;
    struct model *model = malloc(sizeof(*model));
    struct world *world = calm_begin(model);
    model->recovered_count = 3; /* records, and a store that knows nothing of them */
    is_refused(world, model, "never heard of it");
    store_is_new(world, model);
    model->kept.cluster_id[0] = '\0';
    model->recovered_count = 0;
    assert_true(starts(world, model));
    model->recovered_count = 3;
    assert_true(starts(world, model));

    const struct uuid right = model->directory;
    model->directory.bytes[0]++; /* another directory */
    is_refused(world, model, "expects the data directory");
    model->directory = right;
    assert_true(starts(world, model));

    char expected[UUID_TEXT_LEN + 1];
    uuid_text(&right, expected);
    model->directory.bytes[0]++; /* the disk was replaced */
    model->recovered_count = 0;
    is_refused(world, model, "--replaced-directory");
    assert_non_null(strstr(model->failed, expected));
    model->conf.broker.replaced_directory = "another";
    assert_false(starts(world, model));
    char one[LOG_DIRS_LOST_TEXT_LEN + 1];
    /* of several, long ago: others may be whole */
    (void)snprintf(one, sizeof(one), LOG_DIRS_LOST "%s", expected);
    model->conf.broker.replaced_directory = one;
    assert_false(starts(world, model));
    model->conf.broker.replaced_directory = expected;
    assert_true(starts(world, model));
    model->conf.broker.replaced_directory = NULL;
    model->recovered_count = 3;
    assert_true(starts(world, model)); /* it is the one that is known from now on */
    uuid_text(&model->directory, expected);
    model->directory = right; /* the old one has turned up again */
    is_refused(world, model, "is another one");
    model->conf.broker.replaced_directory = expected;
    assert_true(starts(world, model));
    model->conf.broker.replaced_directory = NULL;

    const char right_cluster = model->kept.cluster_id[0];
    model->kept.cluster_id[0] = right_cluster == 'A' ? 'B' : 'A';
    is_refused(world, model, "belongs to cluster");
    model->kept.cluster_id[0] = right_cluster;
    assert_true(starts(world, model));

    store_is_new(world, model);
    is_refused(world, model, "is empty");
    calm_end(world, model);
}

/* A store that ends before what was followed here, or goes on otherwise, was set back. */
static void a_store_set_back_is_noticed(void **state)
{
    (void)state;
    struct model *model = malloc(sizeof(*model));
    struct world *world = calm_begin(model);
    assert_true(starts(world, model));
    const struct metadata_mark first = model->kept.mark;
    assert_true(first.number > 0);
    assert_true(starts(world, model));
    const struct metadata_mark second = model->kept.mark;
    assert_true(second.number > first.number);

    model->kept.mark = (struct metadata_mark){.number = second.number + 50, .hash = 1};
    is_refused(world, model, "the store has lost entries");
    model->kept.mark = (struct metadata_mark){.number = first.number, .hash = first.hash + 1};
    is_refused(world, model, "is not the one that was applied here");
    model->kept.mark = first; /* behind the store is where a crash leaves it */
    assert_true(starts(world, model));
    assert_true(model->kept.mark.number > second.number);

    calm_end(world, model);
}

/* Who is refused stops in order, and is refused again: the mark is as it was. */
static void a_refusal_keeps_the_mark(void **state)
{
    (void)state;
    struct model *model = malloc(sizeof(*model));
    struct world *world = calm_begin(model);
    assert_true(starts(world, model));
    struct metadata_mark other = model->kept.mark;
    assert_true(starts(world, model)); /* the store has gone on */
    other.hash++;
    model->kept.mark = other;
    for (uint32_t life = 0; life < 2; life++) {
        struct process *process = begins(world, model);
        assert_false(model->ready);
        assert_non_null(strstr(model->failed, "is not the one that was applied here"));
        stop_cleanly(world, process, model);
        assert_int_equal(model->violations.count, 0);
        assert_int_equal(model->kept.mark.number, other.number);
        assert_int_equal(model->kept.mark.hash, other.hash);
    }
    calm_end(world, model);
}

static void answered_changes_survive(void **state)
{
    (void)state;
    survive(true, 60);
}

/* A store that loses every second answer: nothing happens twice, nothing is forgotten. */
static void lost_answers_are_found_out(void **state)
{
    (void)state;
    survive(false, 15);
}

static void found(const char *mutation, bool with_file)
{
    struct model *model = malloc(sizeof(*model));
    uint64_t seed = 0;
    do {
        run(++seed, mutation, with_file, model);
    } while (model->violations.count == 0 && seed < 200);
    if (model->violations.count == 0)
        fail_msg("not found: %s", mutation);
    print_message("%s: seed %llu: %s\n", mutation, (unsigned long long)seed,
                  model->violations.first);
    free(model);
}

static void answered_before_durable_is_found(void **state)
{
    (void)state;
    found("metadata.answered_before_durable", true);
}

static void answered_before_applied_is_found(void **state)
{
    (void)state;
    found("metadata.answered_before_applied", true);
}

static void shared_topics_changed_in_place_are_found(void **state)
{
    (void)state;
    found("image.shared_mutable", true);
}

static void unknown_outcomes_believed_are_found(void **state)
{
    (void)state;
    found("metadata.unknown_append_believed", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered_changes_survive),
        cmocka_unit_test(lost_answers_are_found_out),
        cmocka_unit_test(wrong_directories_are_refused),
        cmocka_unit_test(a_store_set_back_is_noticed),
        cmocka_unit_test(a_refusal_keeps_the_mark),
        cmocka_unit_test(answered_before_durable_is_found),
        cmocka_unit_test(answered_before_applied_is_found),
        cmocka_unit_test(shared_topics_changed_in_place_are_found),
        cmocka_unit_test(unknown_outcomes_believed_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
