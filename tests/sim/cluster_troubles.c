/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens to the brokers of a cluster: they are killed, lose power, stop, inside a start too,
 * and come back; links are cut; sessions expire; all may lose power at once. Often one is slow
 * meanwhile, its network or its disk, so that it stays behind what the others have committed, and
 * may become leader in their absence.
 */
#include "core/handover.h"
#include "tests/sim/cluster.h"
#include "tests/sim/world_store.h"

#include <errno.h>
#include <string.h>

#define HANDOVER_NS    (10 * S)
#define STOP_NS        (10 * S)  /* inside a start there is nothing to hand over */
#define LATENCY_MAX_NS (40 * MS) /* io/sim/world.c draws it */
#define AWAY_NS        (15 * S)  /* for the others to start, and to be elected */

static struct machine *machine_of(struct cluster *cl, uint32_t i)
{
    return cl->nodes[i].machine;
}

static void trouble_crash(struct cluster *cl, uint32_t i)
{
    enum crash crash = rng_one_in(&cl->rng, 2) ? CRASH_KILL : CRASH_POWER;
    world_note(cl->world, "broker %d crashes", cl->nodes[i].id);
    machine_crash(machine_of(cl, i), crash);
    cluster_pass(cl, rng_below(&cl->rng, 1500 * MS), 1U << i);
}

static void trouble_all_lose_power(struct cluster *cl)
{
    world_note(cl->world, "all lose power");
    for (uint32_t i = 0; i < cl->count; i++)
        machine_crash(machine_of(cl, i), CRASH_POWER);
    cluster_pass(cl, 100 * MS, UINT32_MAX);
}

static enum handover_state handover_of(const struct node *node)
{
    return handover_state_of(broker_shard_of(process_shard(node->process, 0))->broker->handover);
}

static bool is_handed_over(void *argument)
{
    const struct node *node = argument;
    return !node_runs(node) ||
           (broker_shard_of(process_shard(node->process, 0))->broker->stopping &&
            handover_of(node) >= HANDOVER_COMPLETE);
}

/* Who stops leads nothing any more that another member of the set could lead. */
static void check_handed_over(struct cluster *cl, uint32_t i)
{
    int32_t id = cl->nodes[i].id;
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    for (uint32_t p = 0; topic && p < topic->partition_count; p++) {
        const struct partition_image *pt = &topic->partitions[p];
        for (uint32_t m = 0; pt->leader == id && m < pt->isr_count; m++)
            if (pt->isr[m] != id && image_broker_stays(image, pt->isr[m]))
                cluster_wrong(&cl->facts,
                              "broker %d stops, and partition %u is led by it, not by broker %d",
                              id, p, pt->isr[m]);
    }
}

static bool is_up_or_ended(void *argument)
{
    const struct node *node = argument;
    return !node_runs(node) || node->ready || node->failure[0] != '\0';
}

static bool is_ended(void *argument)
{
    return !node_runs(argument);
}

/* It comes back, and is asked to stop before it is ready. */
static void stop_in_start(struct cluster *cl, uint32_t i)
{
    struct rng haste = {.state = cl->rng.state ^ 0x6861737465U}; /* the rest plays as without it */
    struct node *node = &cl->nodes[i];
    if (node_runs(node) || !rng_one_in(&haste, 2))
        return;
    node->apart = true;
    bool runs = node_start(node, (uint16_t)rng_between(&haste, 1, 3));
    node->apart = false;
    if (!runs)
        return;
    uint64_t within_ns = rng_one_in(&haste, 2) ? 500 * US : 100 * MS;
    (void)world_run_until(cl->world, is_up_or_ended, node,
                          world_now_ns(cl->world) + rng_below(&haste, within_ns));
    if (is_up_or_ended(node))
        return;
    world_note(cl->world, "broker %d stops in its start", node->id);
    node_stop(node);
    if (!world_run_until(cl->world, is_ended, node, world_now_ns(cl->world) + STOP_NS))
        cluster_wrong(&cl->facts, "broker %d does not stop in its start", node->id);
}

static void trouble_stop(struct cluster *cl, uint32_t i)
{
    struct node *node = &cl->nodes[i];
    if (!cluster_is_up(cl, i))
        return;
    bool undisturbed = cluster_all_up(cl) && cluster_all_in_sync(cl) &&
                       world_now_ns(cl->world) > cl->late_until_ns;
    world_note(cl->world, "broker %d stops", node->id);
    node_stop(node);
    if (!world_run_until(cl->world, is_handed_over, node, world_now_ns(cl->world) + HANDOVER_NS))
        cluster_wrong(&cl->facts, "broker %d does not stop", node->id);
    else if (node_runs(node) && handover_of(node) == HANDOVER_COMPLETE)
        check_handed_over(cl, i);
    else if (node_runs(node) && undisturbed)
        cluster_wrong(&cl->facts, "broker %d stops without handing over", node->id);
    cluster_pass(cl, rng_below(&cl->rng, 1000 * MS), 1U << i);
    stop_in_start(cl, i);
}

static void trouble_cut(struct cluster *cl, uint32_t i)
{
    uint32_t other = (i + 1 + (uint32_t)rng_below(&cl->rng, cl->count - 1)) % cl->count;
    bool both = rng_one_in(&cl->rng, 2);
    world_note(cl->world, "cut from %d to %d", cl->nodes[i].id, cl->nodes[other].id);
    world_link_cut(cl->world, machine_of(cl, i), machine_of(cl, other));
    if (both)
        world_link_cut(cl->world, machine_of(cl, other), machine_of(cl, i));
    cluster_pass(cl, rng_below(&cl->rng, 2000 * MS), 0);
    world_links_heal(cl->world);
}

static void trouble_expire(struct cluster *cl)
{
    world_note(cl->world, "all sessions expire");
    store_sim_expire(cl->store);
    cluster_pass(cl, 200 * MS, 0);
}

static void crash(struct cluster *cl, uint32_t i)
{
    world_note(cl->world, "broker %d crashes", cl->nodes[i].id);
    machine_crash(machine_of(cl, i), rng_one_in(&cl->rng, 2) ? CRASH_KILL : CRASH_POWER);
}

/* What was sent meanwhile may still be on its way for so long, and all behind it waits. */
static void network_slow(struct cluster *cl, uint32_t i, uint32_t factor)
{
    machine_network_slow(machine_of(cl, i), factor);
    cl->late_ns = max_u64(cl->late_ns, factor * LATENCY_MAX_NS);
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
        network_slow(cl, i, factor);
}

static void slow_end(struct cluster *cl, uint32_t i)
{
    cl->late_until_ns = max_u64(cl->late_until_ns, world_now_ns(cl->world) + cl->late_ns);
    cl->late_ns = 0;
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
    cluster_pass(cl, rng_below(&cl->rng, 900 * MS), 1U << order[0]);
    slow(cl, order[0]);
    crash(cl, order[1]);
    uint32_t down = 1U << order[1];
    cluster_pass(cl, rng_below(&cl->rng, 900 * MS), down);
    crash(cl, order[2]);
    down = rng_one_in(&cl->rng, 3) ? 1U << order[2] : down | 1U << order[2];
    cluster_pass(cl, rng_below(&cl->rng, 1200 * MS), down);
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

/* Is no set smaller than min.insync.replicas, 2? One that has lost a copy with a disk may be. And
 * who stays away may have the last good copy of what another one's disk has damaged. */
static bool sets_are_whole(const struct cluster *cl)
{
    if (cl->rots && !cluster_rot_is_mended(cl))
        return false;
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->replaced[i][0] != '\0')
            return false;
    return !cl->insync_one;
}

/* Whoever is away, each partition has a leader. */
static void trouble_away(struct cluster *cl, uint32_t i)
{
    if (!sets_are_whole(cl))
        return;
    crash(cl, i);
    cl->away = 1U << i;
    uint64_t end = world_now_ns(cl->world) + AWAY_NS;
    while (!all_led(cl) && !cl->facts.failed && world_now_ns(cl->world) < end)
        cluster_pass(cl, 20 * MS, cl->away);
    for (uint32_t n = 0; n < CLUSTER_PARTITIONS; n++)
        if (!is_led(cl, n))
            cluster_wrong(&cl->facts, "broker %d alone is away, and partition %u is led by %d",
                          cl->nodes[i].id, n, cl->facts.partition[n].leader);
}

static bool is_written(const struct cluster *cl, uint32_t partition, uint64_t acks)
{
    return cl->facts.partition[partition].acks > acks || !cluster_clients_write(cl, partition);
}

/* All stop at once, and one does not come back: though it was needed when the others came one after
 * the other, nobody waits for it when they are there. */
static void trouble_missing(struct cluster *cl, uint32_t i)
{
    uint64_t acks[CLUSTER_PARTITIONS];
    if (!sets_are_whole(cl))
        return;
    trouble_all_lose_power(cl);
    world_note(cl->world, "broker %d stays away", cl->nodes[i].id);
    cl->away = 1U << i;
    for (uint32_t n = 0; n < CLUSTER_PARTITIONS; n++)
        acks[n] = cl->facts.partition[n].acks;
    uint64_t end = world_now_ns(cl->world) + AWAY_NS;
    for (uint32_t n = 0; n < CLUSTER_PARTITIONS; n++)
        while (!is_written(cl, n, acks[n]) && world_now_ns(cl->world) < end && !cl->facts.failed)
            cluster_pass(cl, 20 * MS, cl->away);
    for (uint32_t n = 0; n < CLUSTER_PARTITIONS; n++)
        if (!is_written(cl, n, acks[n]))
            cluster_wrong(&cl->facts, "broker %d alone is away, and partition %u takes nothing",
                          cl->nodes[i].id, n);
}

/* All replicas of a partition go but one: it leads if it may, whatever it has missed. */
static void trouble_last(struct cluster *cl)
{
    uint32_t order[CLUSTER_REPLICAS];
    uint32_t partition = (uint32_t)rng_below(&cl->rng, CLUSTER_PARTITIONS);
    if (cl->moves || !draw_order(cl, partition, order))
        return;
    const struct cluster_partition *pt = &cl->facts.partition[partition];
    uint32_t last = order[CLUSTER_REPLICAS - 1];
    crash(cl, last);
    cluster_pass(cl, rng_between(&cl->rng, 100 * MS, 900 * MS), 1U << last);
    for (uint32_t i = 0; i + 1 < CLUSTER_REPLICAS; i++) {
        crash(cl, order[i]);
        cl->away = (i ? cl->away : 0) | 1U << order[i];
    }
    uint64_t end = world_now_ns(cl->world) + (cl->unclean ? AWAY_NS : S);
    while (pt->leader != cl->nodes[last].id && world_now_ns(cl->world) < end && !cl->facts.failed)
        cluster_pass(cl, 20 * MS, cl->away);
    if (cl->unclean && pt->leader != cl->nodes[last].id)
        cluster_wrong(&cl->facts, "broker %d alone is there, and partition %u is led by %d",
                      cl->nodes[last].id, partition, pt->leader);
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
    cluster_pass(cl, rng_between(&cl->rng, 400 * MS, 900 * MS), 1U << behind);
    crash(cl, order[1]);
    crash(cl, order[2]);
    network_slow(cl, behind, 128U << rng_below(&cl->rng, 4));
    uint64_t end = world_now_ns(cl->world) + 3 * S;
    int32_t epoch = pt->leader_epoch;
    while ((pt->leader != cl->nodes[order[2]].id || pt->leader_epoch == epoch) &&
           world_now_ns(cl->world) < end && !cl->facts.failed)
        cluster_pass(cl, 5 * MS, away);
    cluster_pass(cl, rng_below(&cl->rng, 400 * MS), away);
    crash(cl, order[2]);
    cluster_pass(cl, rng_between(&cl->rng, 400 * MS, 1200 * MS), away | 1U << order[2]);
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
        cluster_pass(cl, rng_below(&cl->rng, 600 * MS), down);
    }
    slow_end(cl, lame);
}

/* A partition that the broker leads, by what anybody knows, though its log has failed and another
 * member of the set could; -1: there is none. */
static int32_t led_in_vain(const struct cluster *cl, uint32_t i)
{
    int32_t id = cl->nodes[i].id;
    const struct image *image;
    const struct topic_image *topic = cluster_newest_topic(cl, &image);
    for (uint32_t p = 0; topic && p < topic->partition_count; p++) {
        const struct partition_key key = {.topic_id = topic->id, .partition = (int32_t)p};
        const struct partition_image *is = &topic->partitions[p];
        const struct partition *pt = is->leader == id && cluster_is_up(cl, i)
                                         ? cluster_partition_on(&cl->nodes[i], &key)
                                         : NULL;
        for (uint32_t m = 0; pt && broker_logs_failed(pt) && m < is->isr_count; m++)
            if (is->isr[m] != id && image_broker_stays(image, is->isr[m]))
                return (int32_t)p;
    }
    return -1;
}

/* A directory of one fails, and others lead what it led there; then it comes back, often after a
 * loss of power, with a disk that works. */
static void trouble_disk(struct cluster *cl, uint32_t i)
{
    struct disk_fault fault = {.calls = DISK_WRITE | DISK_SYNC, .times = UINT32_MAX, .error = -EIO};
    (void)snprintf(fault.prefix, sizeof(fault.prefix),
                   rng_one_in(&cl->rng, 3) ? "/data/" : "/more/");
    if (!cluster_is_up(cl, i))
        return;
    world_note(cl->world, "broker %d: %s fails", cl->nodes[i].id, fault.prefix);
    machine_disk_fault(machine_of(cl, i), &fault);
    cluster_pass(cl, rng_below(&cl->rng, 400 * MS), 0);
    uint64_t end = world_now_ns(cl->world) + AWAY_NS;
    while (led_in_vain(cl, i) >= 0 && !cl->facts.failed && world_now_ns(cl->world) < end)
        cluster_pass(cl, 20 * MS, 0);
    if (led_in_vain(cl, i) >= 0)
        cluster_wrong(&cl->facts, "broker %d leads partition %d on a disk that has failed",
                      cl->nodes[i].id, led_in_vain(cl, i));
    if (rng_one_in(&cl->rng, 2))
        trouble_crash(cl, (i + 1) % cl->count); /* one of those that lead by now */
    machine_disk_heal(machine_of(cl, i));
    if (node_runs(&cl->nodes[i])) /* or has begun to, without that directory */
        crash(cl, i);
    cluster_pass(cl, rng_below(&cl->rng, 600 * MS), rng_one_in(&cl->rng, 2) ? 1U << i : 0);
}

void cluster_trouble(struct cluster *cl)
{
    uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
    if (cl->dirs && rng_one_in(&cl->rng, 2)) {
        trouble_disk(cl, i);
        return;
    }
    switch (rng_below(&cl->rng, 19)) {
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
    case 14:
    case 15:
        trouble_missing(cl, i);
        break;
    case 16:
        trouble_stop(cl, i);
        break;
    case 17:
        trouble_last(cl);
        break;
    default:
        trouble_expire(cl);
        break;
    }
    cluster_pass(cl, rng_below(&cl->rng, 600 * MS), 0);
}

/* ---- a disk is replaced ---- */

static void replace(struct cluster *cl, uint32_t i, const char *mounted)
{
    world_note(cl->world, "broker %d: %s is replaced", cl->nodes[i].id, mounted);
    machine_crash(machine_of(cl, i), CRASH_POWER);
    machine_disk_replace(machine_of(cl, i), mounted);
}

/* False: nobody knows by now which directory it had. */
static bool replace_all(struct cluster *cl, uint32_t i)
{
    const struct image *image;
    (void)cluster_newest_topic(cl, &image);
    const struct broker_image *known = image ? image_broker(image, cl->nodes[i].id) : NULL;
    if (!known)
        return false;
    uuid_text(&known->directory, cl->replaced[i]);
    replace(cl, i, "/");
    return true;
}

/* Of two. */
static bool replace_one(struct cluster *cl, uint32_t i)
{
    if (!cluster_is_up(cl, i) || cl->nodes[i].broker->dirs->missing > 0)
        return false;
    const struct log_dirs *dirs = cl->nodes[i].broker->dirs;
    const struct log_dirs_entry *entry = &dirs->entries[rng_below(&cl->rng, dirs->count)];
    log_dirs_lost_text(entry->uuid, cl->replaced[i]);
    replace(cl, i, strcmp(entry->path, "/data") == 0 ? "/data" : "/more");
    return true;
}

/* Who has whole copies goes while the empty one is there, for as long as somebody might take that
 * for another whole one. */
static void others_fall(struct cluster *cl, uint32_t i)
{
    uint32_t down = 0;
    for (uint32_t n = 1; n < cl->count && !cl->facts.failed; n++) {
        uint32_t other = (i + n) % cl->count;
        crash(cl, other);
        down |= 1U << other;
        cluster_pass(cl, rng_below(&cl->rng, 900 * MS), down);
    }
    cluster_pass(cl, rng_below(&cl->rng, 900 * MS), down);
}

void cluster_trouble_replaced(struct cluster *cl)
{
    if (cl->insync_one || cl->unclean)
        return; /* its copy may be the only one */
    uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
    bool one = cl->dirs && rng_one_in(&cl->rng, 2);
    if (one ? !replace_one(cl, i) : !replace_all(cl, i))
        return;
    cluster_pass(cl, rng_below(&cl->rng, 1500 * MS), rng_one_in(&cl->rng, 2) ? 1U << i : 0);
    if (rng_one_in(&cl->rng, 2))
        others_fall(cl, i);
    else
        cluster_trouble(cl);
}
