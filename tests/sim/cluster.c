/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenario "cluster": three to five shipped brokers, each with some shards, over one simulated
 * store. Brokers are killed, lose power, stop and come back; links are cut; sessions expire; all
 * may lose power at once. Often one is slow meanwhile, its network or its disk, so that it stays
 * behind what the others have committed, and may become leader in their absence.
 */
#include "tests/sim/cluster.h"

#include "tests/sim/scenario.h"
#include "tests/sim/world_store.h"

#include <stdlib.h>
#include <string.h>

#define SESSION_MS   "400"
#define START_NS     (20 * S)
#define SETTLE_NS    (60 * S)
#define TROUBLES_MAX 8U
#define AWAY_NS      (15 * S) /* for the others to start, and to be elected */

/* ---- the store of the world ---- */

static struct store_sim *store_make(struct cluster *cl)
{
    static const uint64_t delays[] = {3 * MS, 3 * MS, 30 * MS, 100 * MS};
    const struct store_sim_options options = {
        .delay_ns_max = delays[rng_below(&cl->rng, array_count(delays))],
        .lost_before_one_in = rng_one_in(&cl->rng, 3) ? 10 : 50,
        .lost_after_one_in = rng_one_in(&cl->rng, 3) ? 10 : 50,
    };
    return store_of_options(cl->world, options);
}

/* ---- brokers ---- */

static bool is_up(const struct cluster *cl, uint32_t i)
{
    return node_runs(&cl->nodes[i]) && cl->nodes[i].ready && cl->nodes[i].failure[0] == '\0';
}

static void broker_start(struct cluster *cl, uint32_t i)
{
    struct node *node = &cl->nodes[i];
    if (node_runs(node))
        return;
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

static void pass(struct cluster *cl, uint64_t ns, uint32_t down)
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
        pass(cl, 20 * MS, 0);
    return done(cl);
}

static bool all_up(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (!is_up(cl, i))
            return false;
    return true;
}

static bool topic_made(const struct cluster *cl)
{
    return cl->topic_made;
}

static bool all_in_sync(const struct cluster *cl)
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

/* ---- troubles ---- */

static struct machine *machine_of(struct cluster *cl, uint32_t i)
{
    return cl->nodes[i].machine;
}

static void trouble_crash(struct cluster *cl, uint32_t i)
{
    enum crash crash = rng_one_in(&cl->rng, 2) ? CRASH_KILL : CRASH_POWER;
    world_note(cl->world, "broker %d crashes", cl->nodes[i].id);
    machine_crash(machine_of(cl, i), crash);
    pass(cl, rng_below(&cl->rng, 1500 * MS), 1U << i);
}

static void trouble_all_lose_power(struct cluster *cl)
{
    world_note(cl->world, "all lose power");
    for (uint32_t i = 0; i < cl->count; i++)
        machine_crash(machine_of(cl, i), CRASH_POWER);
    pass(cl, 100 * MS, UINT32_MAX);
}

static void trouble_stop(struct cluster *cl, uint32_t i)
{
    if (!is_up(cl, i))
        return;
    world_note(cl->world, "broker %d stops", cl->nodes[i].id);
    node_stop(&cl->nodes[i]);
    pass(cl, rng_below(&cl->rng, 1000 * MS), 1U << i);
}

static void trouble_cut(struct cluster *cl, uint32_t i)
{
    uint32_t other = (i + 1 + (uint32_t)rng_below(&cl->rng, cl->count - 1)) % cl->count;
    bool both = rng_one_in(&cl->rng, 2);
    world_note(cl->world, "cut from %d to %d", cl->nodes[i].id, cl->nodes[other].id);
    world_link_cut(cl->world, machine_of(cl, i), machine_of(cl, other));
    if (both)
        world_link_cut(cl->world, machine_of(cl, other), machine_of(cl, i));
    pass(cl, rng_below(&cl->rng, 2000 * MS), 0);
    world_links_heal(cl->world);
}

static void trouble_expire(struct cluster *cl)
{
    world_note(cl->world, "all sessions expire");
    store_sim_expire(cl->store);
    pass(cl, 200 * MS, 0);
}

static void crash(struct cluster *cl, uint32_t i)
{
    world_note(cl->world, "broker %d crashes", cl->nodes[i].id);
    machine_crash(machine_of(cl, i), rng_one_in(&cl->rng, 2) ? CRASH_KILL : CRASH_POWER);
}

static void slow(struct cluster *cl, uint32_t i)
{
    uint32_t factor = 4U << rng_below(&cl->rng, 9);
    bool disk = rng_one_in(&cl->rng, 3);
    world_note(cl->world, "broker %d has a slow %s, factor %u", cl->nodes[i].id,
               disk ? "disk" : "network", factor);
    if (disk)
        machine_disk_slow(machine_of(cl, i), factor);
    else
        machine_network_slow(machine_of(cl, i), factor);
}

static void slow_end(struct cluster *cl, uint32_t i)
{
    machine_disk_heal(machine_of(cl, i));
    machine_network_slow(machine_of(cl, i), 1);
}

/* The brokers of a partition, in any order; false: they are not known. */
static bool draw_order(struct cluster *cl, uint32_t partition, uint32_t order[CLUSTER_REPLICAS])
{
    const struct cluster_partition *pt = &cl->facts.partition[partition];
    uint32_t first = (uint32_t)rng_below(&cl->rng, CLUSTER_REPLICAS);
    uint32_t step = (uint32_t)rng_between(&cl->rng, 1, CLUSTER_REPLICAS - 1);
    for (uint32_t i = 0; i < CLUSTER_REPLICAS; i++) {
        int32_t id = pt->replica[(first + i * step) % CLUSTER_REPLICAS];
        if (id < 1 || id > (int32_t)cl->count)
            return false;
        order[i] = (uint32_t)id - 1;
    }
    return true;
}

/* A replica comes back slow, behind what the others have committed, and they go one after the
 * other. */
static void trouble_cascade(struct cluster *cl)
{
    uint32_t order[CLUSTER_REPLICAS];
    if (!draw_order(cl, (uint32_t)rng_below(&cl->rng, CLUSTER_PARTITIONS), order))
        return;
    crash(cl, order[0]);
    pass(cl, rng_below(&cl->rng, 900 * MS), 1U << order[0]);
    slow(cl, order[0]);
    crash(cl, order[1]);
    uint32_t down = 1U << order[1];
    pass(cl, rng_below(&cl->rng, 900 * MS), down);
    crash(cl, order[2]);
    down = rng_one_in(&cl->rng, 3) ? 1U << order[2] : down | 1U << order[2];
    pass(cl, rng_below(&cl->rng, 1200 * MS), down);
    slow_end(cl, order[0]);
}

static bool is_led(const struct cluster *cl, uint32_t partition)
{
    int32_t leader = cl->facts.partition[partition].leader;
    return leader >= 1 && !(cl->away >> (leader - 1) & 1U);
}

static bool all_led(const struct cluster *cl)
{
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++)
        if (!is_led(cl, i))
            return false;
    return true;
}

/* No set is smaller than min.insync.replicas, 2: whoever is away, each partition has a leader. */
static void trouble_away(struct cluster *cl, uint32_t i)
{
    if (cl->insync_one)
        return;
    crash(cl, i);
    cl->away = 1U << i;
    uint64_t end = world_now_ns(cl->world) + AWAY_NS;
    while (!all_led(cl) && !cl->facts.failed && world_now_ns(cl->world) < end)
        pass(cl, 20 * MS, cl->away);
    for (uint32_t n = 0; n < CLUSTER_PARTITIONS; n++)
        if (!is_led(cl, n))
            cluster_wrong(&cl->facts, "broker %d alone is away, and partition %u is led by %d",
                          cl->nodes[i].id, n, cl->facts.partition[n].leader);
}

/* One has missed what the others have committed; those restart, one of them alone, and lead what it
 * does not know to be committed; then they fall while the first catches up. */
static void trouble_rejoin(struct cluster *cl)
{
    uint32_t order[CLUSTER_REPLICAS];
    uint32_t partition = (uint32_t)rng_below(&cl->rng, CLUSTER_PARTITIONS);
    if (!draw_order(cl, partition, order))
        return;
    const struct cluster_partition *pt = &cl->facts.partition[partition];
    uint32_t behind = order[0];
    uint32_t away = 1U << order[1];
    crash(cl, behind);
    pass(cl, rng_between(&cl->rng, 400 * MS, 900 * MS), 1U << behind);
    crash(cl, order[1]);
    crash(cl, order[2]);
    machine_network_slow(machine_of(cl, behind), 128U << rng_below(&cl->rng, 4));
    uint64_t end = world_now_ns(cl->world) + 3 * S;
    int32_t epoch = pt->leader_epoch;
    while ((pt->leader != cl->nodes[order[2]].id || pt->leader_epoch == epoch) &&
           world_now_ns(cl->world) < end && !cl->facts.failed)
        pass(cl, 5 * MS, away);
    pass(cl, rng_below(&cl->rng, 400 * MS), away);
    crash(cl, order[2]);
    pass(cl, rng_between(&cl->rng, 400 * MS, 1200 * MS), away | 1U << order[2]);
    slow_end(cl, behind);
}

/* Crashes in quick succession, while one is slow. */
static void trouble_fray(struct cluster *cl)
{
    uint32_t lame = (uint32_t)rng_below(&cl->rng, cl->count);
    uint32_t down = 0;
    slow(cl, lame);
    for (uint64_t n = rng_between(&cl->rng, 2, 6); n > 0 && !cl->facts.failed; n--) {
        uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
        crash(cl, i);
        down = rng_one_in(&cl->rng, 2) ? 1U << i : down | 1U << i;
        pass(cl, rng_below(&cl->rng, 600 * MS), down);
    }
    slow_end(cl, lame);
}

static void trouble(struct cluster *cl)
{
    uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
    switch (rng_below(&cl->rng, 15)) {
    case 0:
    case 1:
    case 2:
        trouble_crash(cl, i);
        break;
    case 3:
        trouble_stop(cl, i);
        break;
    case 4:
    case 5:
        trouble_cut(cl, i);
        break;
    case 6:
        trouble_all_lose_power(cl);
        break;
    case 7:
    case 8:
        trouble_cascade(cl);
        break;
    case 9:
    case 10:
        trouble_fray(cl);
        break;
    case 11:
        trouble_away(cl, i);
        break;
    case 12:
    case 13:
        trouble_rejoin(cl);
        break;
    default:
        trouble_expire(cl);
        break;
    }
    pass(cl, rng_below(&cl->rng, 600 * MS), 0);
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
    cl->count = rng_one_in(&cl->rng, 4) ? 5 : 3;
    cl->store = store_make(cl);
    cl->controller = -1;
    cl->deletes = rng_one_in(&cl->rng, 3);
    cl->insync_one = rng_one_in(&cl->rng, 4);
    bool names = rng_one_in(&cl->rng, 3);
    bool balances = rng_one_in(&cl->rng, 2);
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
        node->settings[node->setting_count++] =
            (struct conf_assignment){.name = "replica.lag.time.max.ms", .value = "700"};
        if (balances)
            node->settings[node->setting_count++] = (struct conf_assignment){
                .name = "leader.imbalance.check.interval.seconds", .value = "1"};
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
        if (!is_up(cl, i))
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

static void reckon(struct cluster *cl)
{
    world_links_heal(cl->world);
    world_calm(cl->world);
    if (!until(cl, all_up, START_NS))
        wrong_down(cl);
    cl->resting = true;
    if (!until(cl, at_rest, SETTLE_NS))
        cluster_wrong(&cl->facts, "%s still waits", cluster_clients_busy(cl));
    if (!until(cl, all_in_sync, SETTLE_NS))
        wrong_sync(cl);
    cluster_clients_reckon(cl);
    if (!until(cl, at_rest, SETTLE_NS))
        cluster_wrong(&cl->facts, "%s still waits", cluster_clients_busy(cl));
    cluster_conclude(cl);
}

static bool cluster_play(struct world *world, char *why, size_t why_size)
{
    struct cluster *cl = calloc(1, sizeof(*cl));
    must(cl != NULL);
    cluster_init(cl, world);
    for (uint32_t i = 0; i < cl->count; i++)
        broker_start(cl, i);
    cluster_clients_start(cl);
    if (!until(cl, all_up, START_NS) || !until(cl, topic_made, START_NS))
        cluster_wrong(&cl->facts, "the cluster does not begin");
    pass(cl, 200 * MS, 0);
    for (uint64_t n = rng_between(&cl->rng, 1, TROUBLES_MAX); n > 0 && !cl->facts.failed; n--)
        trouble(cl);
    if (!cl->facts.failed)
        reckon(cl);
    world_note(world, "%llu values, %llu acks, %llu reads, %llu elections, %llu deletions",
               (unsigned long long)cl->values, (unsigned long long)cl->facts.acks,
               (unsigned long long)cl->facts.reads, (unsigned long long)cl->facts.elections,
               (unsigned long long)cl->facts.deletions);
    (void)snprintf(why, why_size, "%s", cl->facts.why);
    bool good = !cl->facts.failed;
    for (uint32_t i = 0; i < cl->count; i++)
        machine_crash(machine_of(cl, i), CRASH_KILL);
    store_sim_free(cl->store);
    free(cl);
    return good;
}

const struct scenario scenario_cluster = {
    .name = "cluster",
    .summary = "several brokers replicate: crashes, power losses, cut links, sessions that expire",
    .options = cluster_options,
    .play = cluster_play,
};
