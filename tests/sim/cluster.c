/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenario "cluster": three to five shipped brokers, each with some shards, over one simulated
 * store, in trouble (cluster_troubles.c); "disks": the same with two log directories each; "mixed":
 * of two versions (cluster_upgrade.c); "rot": the disk of one flips bits (cluster_rot.c).
 */
#include "tests/sim/cluster.h"

#include "tests/sim/scenario.h"
#include "tests/sim/world_store.h"

#include <stdlib.h>
#include <string.h>

#define SESSION_MS   "400"
#define START_NS     (20 * S)
#define SETTLE_NS    (60 * S)
#define MENDED_NS    (100 * S) /* it is tried again after 1, 2, 4, ... s */
#define TROUBLES_MAX 8U

/* ---- the store of the world ---- */

static struct store_sim *store_make(struct cluster *cl)
{
    static const uint64_t delays[] = {3 * MS, 3 * MS, 30 * MS, 100 * MS};
    uint32_t slowest = cl->mixed ? 2 : 4; /* a long play has a long log to be read at a start */
    cl->store_delay_ns = delays[rng_below(&cl->rng, slowest)];
    const struct store_sim_options options = {
        .delay_ns_max = cl->store_delay_ns,
        .lost_before_one_in = rng_one_in(&cl->rng, 3) ? 10 : 50,
        .lost_after_one_in = rng_one_in(&cl->rng, 3) ? 10 : 50,
    };
    return store_of_options(cl->world, options);
}

/* ---- brokers ---- */

bool cluster_is_up(const struct cluster *cl, uint32_t i)
{
    return node_runs(&cl->nodes[i]) && cl->nodes[i].ready && cl->nodes[i].failure[0] == '\0';
}

const struct image *cluster_image(const struct cluster *cl, int32_t broker)
{
    if (broker < 1 || broker > (int32_t)cl->count)
        return NULL;
    const struct node *node = &cl->nodes[broker - 1];
    if (!node_runs(node) || !node->ready)
        return NULL;
    return broker_shard_of(process_shard(node->process, 0))->image;
}

const struct partition *cluster_partition_on(const struct node *node,
                                             const struct partition_key *key)
{
    for (uint16_t s = 0; s < node->shards; s++) {
        const struct broker_shard *bs = broker_shard_of(process_shard(node->process, s));
        const struct partition *pt = partition_find(&bs->partitions, key);
        if (pt)
            return pt;
    }
    return NULL;
}

const struct topic_image *cluster_newest_topic(const struct cluster *cl, const struct image **image)
{
    *image = NULL;
    for (uint32_t i = 0; i < cl->count; i++) {
        const struct image *one = cluster_image(cl, cl->nodes[i].id);
        if (one && (!*image || one->batch > (*image)->batch))
            *image = one;
    }
    return *image ? image_topic_by_name(*image, CLUSTER_TOPIC, strlen(CLUSTER_TOPIC)) : NULL;
}

static void broker_start(struct cluster *cl, uint32_t i)
{
    struct node *node = &cl->nodes[i];
    if (node_runs(node))
        return;
    if (cl->mixed)
        cluster_upgrade_ended(cl, i);
    world_note(cl->world, "broker %d starts", node->id);
    (void)node_start(node, (uint16_t)rng_between(&cl->rng, 1, 3));
}

/* Whoever has given up (a session that expired) is started again, as a supervisor does. */
static void look_after(struct cluster *cl, uint32_t down)
{
    for (uint32_t i = 0; i < cl->count; i++) {
        struct node *node = &cl->nodes[i];
        if (node->process && process_state(node->process) == PROCESS_FAILED)
            cluster_wrong(&cl->facts, "broker %d does not start: %.300s", node->id, node->failure);
        if (!(down >> i & 1U))
            broker_start(cl, i);
    }
}

void cluster_pass(struct cluster *cl, uint64_t ns, uint32_t down)
{
    uint64_t until = world_now_ns(cl->world) + ns;
    while (world_now_ns(cl->world) < until && !cl->facts.failed) {
        world_run(cl->world, min_u64(until, world_now_ns(cl->world) + 20 * MS));
        look_after(cl, down);
    }
}

struct waiting {
    struct cluster *cl;
    bool (*done)(const struct cluster *cl);
};

/* False: it did not come to be. */
static bool until(struct cluster *cl, bool (*done)(const struct cluster *cl), uint64_t limit_ns)
{
    uint64_t end = world_now_ns(cl->world) + limit_ns;
    while (!done(cl) && !cl->facts.failed && world_now_ns(cl->world) < end)
        cluster_pass(cl, 20 * MS, 0);
    return done(cl);
}

bool cluster_all_up(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (!cluster_is_up(cl, i))
            return false;
    return true;
}

static bool topic_made(const struct cluster *cl)
{
    return cl->topic_made;
}

bool cluster_all_in_sync(const struct cluster *cl)
{
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++) {
        const struct cluster_partition *pt = &cl->facts.partition[i];
        if (pt->leader < 0 || pt->in_sync < pt->replicas)
            return false;
    }
    return true;
}

static bool at_rest(const struct cluster *cl)
{
    return cluster_clients_busy(cl) == NULL;
}

/* ---- the play ---- */

static void cluster_options(struct world_options *options, uint64_t seed)
{
    if (seed % 3 == 0)
        world_options_calm(options, seed);
    else
        world_options_rough(options, seed);
}

static void cluster_init(struct cluster *cl, struct world *world)
{
    cl->world = world;
    cl->rng = rng_split(world_rng(world));
    cl->moves = rng_one_in(&cl->rng, 3);
    cl->count = cl->moves || rng_one_in(&cl->rng, 6) ? 5 : 3;
    cl->store = store_make(cl);
    cl->controller = -1;
    cl->deletes = rng_one_in(&cl->rng, 3);
    cl->insync_one = rng_one_in(&cl->rng, 4);
    cl->unclean = rng_one_in(&cl->rng, 5);
    bool names = rng_one_in(&cl->rng, 3);
    bool balances = rng_one_in(&cl->rng, 2);
    cl->racks = rng_one_in(&cl->rng, 3);
    const char *lag_ms = rng_one_in(&cl->rng, 3) ? "60000" : "700";
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++)
        cl->facts.partition[i].leader = -1;
    for (uint32_t i = 0; i < cl->count; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "broker%u", i + 1);
        struct node *node = &cl->nodes[i];
        node_init(node, world, world_machine(world, name));
        node->id = (int32_t)i + 1;
        node->store = cl->store;
        node->settings[node->setting_count++] =
            (struct conf_assignment){.name = "zookeeper.session.timeout.ms", .value = SESSION_MS};
        node->retention_bytes = -1;
        node->settings[node->setting_count++] = (struct conf_assignment){
            .name = "millrace.replaced.directory", .value = cl->replaced[i]};
        if (cl->dirs) {
            node->log_dirs = "/data,/more";
            node->tail_bytes *= 2;
            node->cold_bytes *= 2;
            node->open_files_max *= 2;
        }
        node->settings[node->setting_count++] =
            (struct conf_assignment){.name = "replica.lag.time.max.ms", .value = lag_ms};
        if (balances)
            node->settings[node->setting_count++] = (struct conf_assignment){
                .name = "leader.imbalance.check.interval.seconds", .value = "1"};
        if (cl->racks) {
            node->settings[node->setting_count++] =
                (struct conf_assignment){.name = "broker.rack", .value = CLUSTER_RACK(i)};
            node->settings[node->setting_count++] = (struct conf_assignment){
                .name = "replica.selector.class", .value = CONF_RACK_AWARE_SELECTOR};
        }
        (void)snprintf(cl->advertised[i], sizeof(cl->advertised[i]), "PLAINTEXT://%s:%u", name,
                       NODE_PORT);
        if (names)
            node->settings[node->setting_count++] = (struct conf_assignment){
                .name = "advertised.listeners", .value = cl->advertised[i]};
    }
}

static void wrong_down(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (!cluster_is_up(cl, i))
            cluster_wrong(&cl->facts,
                          "broker %d does not come up after the faults have ended: %s, %.300s",
                          cl->nodes[i].id, node_runs(&cl->nodes[i]) ? "it runs" : "it ended",
                          cl->nodes[i].failure);
}

static void wrong_sync(struct cluster *cl)
{
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++) {
        const struct cluster_partition *pt = &cl->facts.partition[i];
        if (pt->leader < 0 || pt->in_sync < pt->replicas)
            cluster_wrong(&cl->facts,
                          "partition %u is led by %d, and %u of %u replicas are in sync", i,
                          pt->leader, pt->in_sync, pt->replicas);
    }
}

static bool all_moved(const struct cluster *cl)
{
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    for (uint32_t p = 0; topic && p < topic->partition_count; p++)
        if (image_is_moving(&topic->partitions[p]))
            return false;
    return topic != NULL;
}

static const struct log *log_on(const struct node *node, const struct partition_key *key)
{
    const struct partition *pt = cluster_partition_on(node, key);
    return pt ? pt->log : NULL;
}

/* Does each broker have what the newest image says, and nothing else? */
static bool all_in_place(const struct cluster *cl)
{
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    for (uint32_t p = 0; topic && p < topic->partition_count; p++) {
        const struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)p};
        for (uint32_t i = 0; i < cl->count; i++)
            if (!cluster_is_up(cl, i) ||
                (log_on(&cl->nodes[i], &key) != NULL) !=
                    image_has_replica(&topic->partitions[p], cl->nodes[i].id))
                return false;
    }
    return topic != NULL;
}

static bool same_log(const struct log *a, const struct log *b)
{
    if (a->end_offset != b->end_offset || a->durable_offset != b->durable_offset)
        return false;
    for (int32_t epoch = 0; epoch <= a->leader_epoch; epoch++) {
        int32_t a_epoch = -1;
        int32_t b_epoch = -1;
        int64_t a_end = -1;
        int64_t b_end = -1;
        bool a_has = log_epoch_end(no_const(a), epoch, &a_epoch, &a_end);
        bool b_has = log_epoch_end(no_const(b), epoch, &b_epoch, &b_end);
        if (max_i64(a_end, b_end) <= max_i64(a->start_offset, b->start_offset))
            continue; /* deleted on one of them at least */
        if (a_has != b_has || a_epoch != b_epoch || a_end != b_end)
            return false;
    }
    return true;
}

/* Nothing is written any more: is the log the same everywhere, by its epochs and its end? Says
 * where it is not. */
static bool differ(const struct cluster *cl, char *why, size_t size)
{
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    for (uint32_t p = 0; topic && p < topic->partition_count; p++) {
        const struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)p};
        const struct log *first = NULL;
        for (uint32_t i = 0; i < cl->count; i++) {
            const struct log *log = cluster_is_up(cl, i) ? log_on(&cl->nodes[i], &key) : NULL;
            if (log && first && !same_log(first, log)) {
                (void)snprintf(
                    why, size,
                    "partition %u differs: %lld to %lld (epoch %d), on broker %d %lld to "
                    "%lld (epoch %d)",
                    p, (long long)first->start_offset, (long long)first->end_offset,
                    first->leader_epoch, cl->nodes[i].id, (long long)log->start_offset,
                    (long long)log->end_offset, log->leader_epoch);
                return true;
            }
            first = first ? first : log;
        }
    }
    return false;
}

static bool all_alike(const struct cluster *cl)
{
    char why[200];
    return !differ(cl, why, sizeof(why));
}

static void wrong_alike(struct cluster *cl)
{
    char why[200];
    if (differ(cl, why, sizeof(why)))
        cluster_wrong(&cl->facts, "%s", why);
}

/* A start reads the metadata log one entry after another, and others may go on writing it. */
static uint64_t start_ns(const struct cluster *cl)
{
    const struct image *newest;
    (void)cluster_newest_topic(cl, &newest);
    return START_NS + (newest ? 2 * newest->batch * cl->store_delay_ns : 0);
}

static void reckon(struct cluster *cl)
{
    world_links_heal(cl->world);
    world_calm(cl->world);
    if (cl->mixed)
        cluster_upgrade_end(cl);
    if (!until(cl, cluster_all_up, start_ns(cl)))
        wrong_down(cl);
    cl->resting = true;
    if (!until(cl, at_rest, SETTLE_NS))
        cluster_wrong(&cl->facts, "%s still waits", cluster_clients_busy(cl));
    if (!until(cl, cluster_all_in_sync, SETTLE_NS))
        wrong_sync(cl);
    if (!until(cl, all_moved, SETTLE_NS))
        cluster_wrong(&cl->facts, "a partition is being moved, and does not arrive");
    if (!until(cl, all_in_place, SETTLE_NS))
        cluster_wrong(&cl->facts, "a broker has a partition that is not its, or lacks one");
    if (!until(cl, all_alike, SETTLE_NS))
        wrong_alike(cl);
    if (cl->rots && !until(cl, cluster_rot_is_mended, MENDED_NS))
        cluster_rot_wrong(cl);
    cluster_clients_reckon(cl);
    if (!until(cl, at_rest, SETTLE_NS))
        cluster_wrong(&cl->facts, "%s still waits", cluster_clients_busy(cl));
    cluster_conclude(cl);
}

static void disturb(struct cluster *cl)
{
    for (uint64_t n = rng_between(&cl->rng, 1, TROUBLES_MAX); n > 0 && !cl->facts.failed; n--) {
        if (cl->rots)
            cluster_rot(cl);
        if (!cl->rots || rng_one_in(&cl->rng, 2))
            cluster_trouble(cl);
    }
    if (cl->rots)
        cluster_rot(cl);
    else if (!cl->facts.failed)
        cluster_trouble_replaced(cl);
}

enum kind { PLAY_CLUSTER, PLAY_DISKS, PLAY_MIXED, PLAY_ROT };

static bool play(struct world *world, enum kind kind, char *why, size_t why_size)
{
    struct cluster *cl = calloc(1, sizeof(*cl));
    must(cl != NULL);
    cl->dirs = kind == PLAY_DISKS;
    cl->mixed = kind == PLAY_MIXED;
    cluster_init(cl, world);
    cl->rots = kind == PLAY_ROT;
    if (cl->mixed)
        cluster_upgrade_init(cl);
    if (cl->rots)
        cluster_rot_init(cl);
    for (uint32_t i = 0; i < cl->count; i++)
        broker_start(cl, i);
    cluster_clients_start(cl);
    if (!until(cl, cluster_all_up, START_NS) || !until(cl, topic_made, START_NS))
        cluster_wrong(&cl->facts, "the cluster does not begin");
    cluster_pass(cl, cl->rots ? rng_between(&cl->rng, 2, 8) * S : 200 * MS, 0);
    if (cl->mixed)
        cluster_upgrade_play(cl);
    else
        disturb(cl);
    if (!cl->facts.failed)
        reckon(cl);
    world_note(world,
               "%llu values, %llu acks, %llu reads, %llu elections, %llu deletions, %llu moves",
               (unsigned long long)cl->values, (unsigned long long)cl->facts.acks,
               (unsigned long long)cl->facts.reads, (unsigned long long)cl->facts.elections,
               (unsigned long long)cl->facts.deletions, (unsigned long long)cl->facts.moves);
    (void)snprintf(why, why_size, "%s", cl->facts.why);
    bool good = !cl->facts.failed;
    for (uint32_t i = 0; i < cl->count; i++)
        machine_crash(cl->nodes[i].machine, CRASH_KILL);
    store_sim_free(cl->store);
    free(cl);
    return good;
}

static bool cluster_play(struct world *world, char *why, size_t why_size)
{
    return play(world, PLAY_CLUSTER, why, why_size);
}

static bool disks_play(struct world *world, char *why, size_t why_size)
{
    return play(world, PLAY_DISKS, why, why_size);
}

static bool mixed_play(struct world *world, char *why, size_t why_size)
{
    return play(world, PLAY_MIXED, why, why_size);
}

static bool rot_play(struct world *world, char *why, size_t why_size)
{
    return play(world, PLAY_ROT, why, why_size);
}

const struct scenario scenario_cluster = {
    .name = "cluster",
    .summary = "several brokers replicate: crashes, power losses, cut links, sessions that expire",
    .options = cluster_options,
    .play = cluster_play,
};

const struct scenario scenario_disks = {
    .name = "disks",
    .summary = "the same with two log directories on each broker, of which one fails now and then",
    .options = cluster_options,
    .play = disks_play,
};

const struct scenario scenario_mixed = {
    .name = "mixed",
    .summary = "the same with brokers of two versions: upgraded and taken back one by one",
    .options = cluster_options,
    .play = mixed_play,
};

const struct scenario scenario_rot = {
    .name = "rot",
    .summary = "the same with bits that flip on the disk of one, and are mended by the others",
    .options = cluster_options,
    .play = rot_play,
};
