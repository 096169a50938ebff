/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/node.h"

#include "core/api/api.h"
#include "io/mem.h"

#include <string.h>

#define MIB (1ULL << 20)

/* In the memory of the process. */
struct broker_life {
    struct node *node;
    struct conf conf;
    struct broker *broker;
};

void node_init(struct node *node, struct world *world, struct machine *machine)
{
    struct rng rng = rng_split(world_rng(world));
    *node = (struct node){.world = world, .machine = machine, .rng = rng};
    node->tail_bytes = rng_between(&node->rng, 3, 12) << 18;
    node->cold_bytes = MIB;
    node->journal_bytes = 65536U << (rng_one_in(&node->rng, 2) ? 0 : rng_below(&node->rng, 4));
    node->open_files_max = (uint32_t)rng_between(&node->rng, 2, 8);
    node->segment_bytes = 65536 << rng_below(&node->rng, 4);
    node->sessions_max = rng_one_in(&node->rng, 4) ? 2 : 100;
    node->retention_bytes = rng_one_in(&node->rng, 5) ? (int64_t)rng_below(&node->rng, 200000) : -1;
    /* Two of three let appends of a few blocks bypass the journal. */
    node->bypass_bytes =
        rng_one_in(&node->rng, 3) ? 0 : (uint32_t)rng_between(&node->rng, 1, 16000);
    node->scrub_ms = "604800000";
}

static void on_ready(void *user)
{
    struct broker_life *life = user;
    life->node->ready = true;
    life->node->was_ready = true;
    world_note(life->node->world, "the broker is ready");
}

static void on_failed(void *user, const char *sentence)
{
    struct broker_life *life = user;
    (void)snprintf(life->node->failure, sizeof(life->node->failure), "%s", sentence);
    broker_stop(life->broker);
}

static void on_stopped(void *user)
{
    struct broker_life *life = user;
    for (uint16_t i = 0; i < life->node->shards; i++)
        shard_stop(life->broker->shards[i].sh);
}

static bool life_conf(struct broker_life *life)
{
    const struct node *node = life->node;
    struct io_address address;
    char listeners[64];
    char sessions[16];
    char bytes[24];
    char id[12];
    machine_address(node->machine, NODE_PORT, &address);
    (void)snprintf(listeners, sizeof(listeners), "PLAINTEXT://%u.%u.%u.%u:%u", address.ip[12],
                   address.ip[13], address.ip[14], address.ip[15], address.port);
    (void)snprintf(bytes, sizeof(bytes), "%lld", (long long)node->retention_bytes);
    (void)snprintf(sessions, sizeof(sessions), "%d", node->sessions_max);
    (void)snprintf(id, sizeof(id), "%d", node->id > 0 ? node->id : 1);
    static const char *const recycled[] = {"0", "200000", "4294967296"};
    const struct conf_assignment own[] = {
        {.name = "node.id", .value = id},
        {.name = "log.dirs", .value = node->log_dirs ? node->log_dirs : "/data"},
        {.name = "listeners", .value = listeners},
        {.name = "auto.create.topics.enable", .value = "false"},
        {.name = "offsets.topic.num.partitions", .value = "3"},
        {.name = "log.retention.ms", .value = "-1"}, /* timestamps are tags */
        {.name = "log.retention.bytes", .value = bytes},
        {.name = "log.retention.check.interval.ms", .value = "20"},
        {.name = "log.segment.delete.delay.ms", .value = "10"},
        {.name = "millrace.recycle.bytes", .value = recycled[node->open_files_max % 3]},
        {.name = "max.incremental.fetch.session.cache.slots", .value = sessions},
        {.name = "millrace.scrub.period.ms", .value = node->scrub_ms},
        {.name = "millrace.scrub.max.bytes.per.second", .value = "1000000000"},
    };
    struct conf_assignment flags[array_count(own) + array_count(node->settings)];
    memcpy(flags, own, sizeof(own));
    memcpy(flags + array_count(own), node->settings, sizeof(node->settings));
    const struct conf_input input = {
        .flag = flags, .flag_count = array_count(own) + node->setting_count, .hostname = "node"};
    bool good = conf_load(&life->conf, &input);
    /* Less than anybody may set: rolls within a few writes. */
    life->conf.topic.segment_bytes = node->segment_bytes;
    return good;
}

static void *life_prepare(struct fs *fs, void *argument, bool *failed)
{
    struct node *node = argument;
    struct broker_life *life = mem_zalloc(sizeof(*life));
    struct log_error error;
    life->node = node;
    if (!life_conf(life)) {
        (void)snprintf(node->failure, sizeof(node->failure), "the configuration is refused");
        *failed = true;
        return life;
    }
    struct broker_options options = {
        .conf = &life->conf,
        .fs = fs,
        .store_url = node->store ? "sim:" : NULL,
        .sim = node->store,
        .plan = {.total_bytes = 64 * MIB,
                 .source = "simulation",
                 .shards = node->shards,
                 .tail_bytes = node->tail_bytes,
                 .receive_bytes = 2 * MIB,
                 .unfinished_bytes = 2 * MIB,
                 .cold_bytes = node->cold_bytes,
                 .heap_bytes = 16 * MIB},
        .shard_count = node->shards,
        .pid = 1,
        .seed = {rng_next(&node->rng), rng_next(&node->rng)},
        .journal_bytes = node->journal_bytes,
        .open_files_max = node->open_files_max,
        .bypass_bytes = node->bypass_bytes,
        .on_ready = on_ready,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
        .user = life,
    };
    life->broker = broker_open(&options, NULL, &error);
    if (!life->broker) {
        (void)snprintf(node->failure, sizeof(node->failure), "%s", error.text);
        *failed = true;
    } else if (node->on_recovered) {
        node->on_recovered(node->on_recovered_user, life->broker->dirs->entries[0].dir);
    }
    return life;
}

static void life_start(struct shard *sh, void *prepared)
{
    struct broker_life *life = prepared;
    life->broker->group = sh->group;
    life->node->broker = life->broker;
    broker_shard_begin(life->broker, sh);
}

static void life_stop(void *prepared)
{
    struct broker_life *life = prepared;
    life->node->broker = NULL;
    broker_close(life->broker);
    conf_fini(&life->conf);
    mem_free(life);
}

bool node_start(struct node *node, uint16_t shards)
{
    const struct program program = {.name = "broker",
                                    .shards = shards,
                                    .apart = node->apart,
                                    .prepare = life_prepare,
                                    .start = life_start,
                                    .stop = life_stop,
                                    .argument = node};
    node->shards = shards;
    node->ready = false;
    node->stopping = false;
    node->failure[0] = '\0';
    api_check();
    node->process = machine_start(node->machine, &program);
    return node->process != NULL;
}

static void on_stop_asked(struct shard *sh, void *argument)
{
    (void)argument;
    broker_stop(broker_shard_of(sh)->broker);
}

void node_stop(struct node *node)
{
    node->stopping = true;
    process_call(node->process, CONTROL_SHARD, on_stop_asked, NULL);
}

bool node_runs(const struct node *node)
{
    return node->process && process_state(node->process) == PROCESS_RUNS;
}

void node_log_counts(const struct node *node, struct log_counts *sum)
{
    *sum = (struct log_counts){0};
    for (uint16_t i = 0; node_runs(node) && node->broker && i < node->shards; i++) {
        struct log_counts counts;
        broker_logs_counts(&node->broker->shards[i], &counts);
        log_counts_add(sum, &counts);
    }
}
