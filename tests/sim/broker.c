/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipped broker, whole: it lives a few lives on one machine, each with one to three shards,
 * and each ends by a kill, a power loss or a clean stop, at any moment, inside a start or a stop
 * too: of some brokers every other life is asked to stop before it is ready. Clients on another
 * machine write, read and administer all the while (actor.h) and connect again whenever they are
 * cut off. In the last life the faults stop, everybody comes to an end within bounded time, all
 * partitions are read from front to back, and the model is concluded (model.h).
 */
#include <errno.h>

#include "tests/sim/actor.h"
#include "tests/sim/promises.h"
#include "tests/sim/rot.h"
#include "tests/sim/scenario.h"

#define OPERATIONS   2000U
#define START_NS     (60 * S)
#define SETTLE_NS    (30 * S) /* a connection may be dead since a power loss; nobody knows */
#define RECKONING_NS (30 * S)
#define STOP_NS      (60 * S)

struct play {
    struct world *world;
    const struct broker_lives *plan;
    struct node node;
    struct model model;
    struct crowd crowd;
    uint64_t operations_until;
    enum crash laid;  /* of this life, should it strike */
    bool scrubs;      /* all the time */
    struct rng haste; /* a stop of its own: what else this seed plays is as it was */
    bool hasty;       /* some lives are stopped before they are ready */
};

void broker_lives_options(struct world_options *options, uint64_t seed)
{
    struct rng rng = {.state = seed ^ 0x62726f6b6572U};
    world_options_rough(options, seed);
    /* Half of the disks are as bad as they may be, some shards have the least that can work. */
    if (rng_one_in(&rng, 2))
        options->disk.block_lost_one_in = (uint32_t)rng_between(&rng, 1, 3);
    if (rng_one_in(&rng, 2)) {
        options->disk.flush.slow_one_in = (uint32_t)rng_between(&rng, 2, 8);
        options->disk.flush.slow_ns = 4 * MS;
    }
    if (rng_one_in(&rng, 4))
        options->receive_blocks_max = 2;
}

static bool is_ready(void *argument)
{
    const struct play *play = argument;
    return play->model.failed || !node_runs(&play->node) || play->node.ready ||
           play->node.failure[0] != '\0';
}

static bool is_enough(void *argument)
{
    const struct play *play = argument;
    return play->model.failed || !node_runs(&play->node) ||
           play->model.operations >= play->operations_until;
}

static bool is_idle(void *argument)
{
    const struct play *play = argument;
    return play->model.failed || crowd_busy(&play->crowd) == NULL;
}

static bool is_ended(void *argument)
{
    const struct play *play = argument;
    return play->model.failed || !node_runs(&play->node);
}

static void life_stop(struct play *play, bool disturbed)
{
    struct node *node = &play->node;
    struct rng *rng = world_rng(play->world);
    play->model.stops |= 1ULL << (play->model.life & 63);
    if (disturbed && rng_one_in(rng, 3)) {
        play->laid = CRASH_POWER;
        machine_crash_in_call(node->machine, CRASH_POWER, (uint32_t)rng_between(rng, 1, 60));
    }
    node_stop(node);
    if (!world_run_until(play->world, is_ended, play, world_now_ns(play->world) + STOP_NS))
        wrong(&play->model, "the broker does not stop");
    play->model.life++;
    if (process_state(node->process) != PROCESS_STOPPED)
        promises_crashed(&play->model, play->laid);
    if (process_state(node->process) == PROCESS_STOPPED && process_memory(node->process) != 0)
        wrong(&play->model, "the broker left %llu bytes",
              (unsigned long long)process_memory(node->process));
}

/* Before it is ready: within its first steps, or anywhere in its start. */
static void stop_in_start(struct play *play)
{
    uint64_t within_ns = rng_one_in(&play->haste, 2) ? 500 * US : 40 * MS;
    uint64_t until_ns = world_now_ns(play->world) + rng_below(&play->haste, within_ns);
    (void)world_run_until(play->world, is_ready, play, until_ns);
    if (!node_runs(&play->node) || play->node.ready || play->node.failure[0] != '\0')
        return;
    world_note(play->world, "the broker is stopped in its start");
    life_stop(play, false);
}

/* False when it did not come up: a crash struck, it was stopped, or it is wrong. */
static bool life_begin(struct play *play, bool disturbed)
{
    struct model *m = &play->model;
    struct node *node = &play->node;
    struct rng *rng = world_rng(play->world);
    enum crash crash = rng_one_in(rng, 2) ? CRASH_KILL : CRASH_POWER;
    bool laid = disturbed && rng_one_in(rng, 6);
    play->laid = crash;
    machine_crash_in_call(node->machine, crash, laid ? (uint32_t)rng_between(rng, 1, 80) : 0);
    m->life++;
    m->lives++;
    if (play->plan->life)
        play->plan->life(m, disturbed);
    bool runs = node_start(node, (uint16_t)rng_between(rng, 1, 3));
    if (runs && disturbed && play->hasty && rng_one_in(&play->haste, 2))
        stop_in_start(play);
    if (runs && process_state(node->process) == PROCESS_STOPPED)
        return false;
    if (runs && !world_run_until(play->world, is_ready, play, world_now_ns(play->world) + START_NS))
        wrong(m, "the broker does not become ready");
    if (node->failure[0] != '\0')
        wrong(m, "the broker does not start: %.300s", node->failure);
    if (!node_runs(node)) {
        m->life++;
        promises_crashed(m, crash);
    }
    return !m->failed && node_runs(node);
}

static void link_heal(void *argument)
{
    world_links_heal(argument);
}

/* Bytes in one direction stop for a while. */
static void link_cut(struct play *play)
{
    struct rng *rng = world_rng(play->world);
    struct machine *node = play->node.machine;
    struct machine *clients = world_machine(play->world, "clients");
    if (rng_one_in(rng, 2))
        world_link_cut(play->world, node, clients);
    else
        world_link_cut(play->world, clients, node);
    world_at(play->world, world_now_ns(play->world) + rng_below(rng, 60 * MS), link_heal,
             play->world);
}

static void life_trouble(struct play *play)
{
    struct rng *rng = world_rng(play->world);
    struct machine *machine = play->node.machine;
    uint64_t kind = rng_below(rng, 7);
    play->model.slow = play->model.slow || kind < 2;
    if (kind == 0)
        machine_disk_slow(machine, (uint32_t)rng_between(rng, 2, 50));
    else if (kind == 1)
        machine_disk_stall(machine, rng_below(rng, 30 * MS));
    else if (kind == 2)
        machine_network_slow(machine, (uint32_t)rng_between(rng, 2, 20));
    else if (kind == 3)
        link_cut(play);
    if (rng_one_in(rng, 8)) {
        machine_jump_wall(machine, (int64_t)rng_below(rng, 7200000) - 3600000);
        play->model.clock_jumped = true;
    }
    if (rng_one_in(rng, 12)) {
        const struct disk_fault fault = {
            .calls = DISK_WRITE | DISK_SYNC, .times = 1, .error = -EIO};
        machine_disk_fault(machine, &fault);
        play->model.slow = true;
        promises_crashed(&play->model, CRASH_KILL); /* memory is lost with what was not written */
        play->model.fails |= 1ULL << (play->model.life & 63);
    }
}

static bool is_swept(void *argument)
{
    const struct play *play = argument;
    return is_ended(argument) || (!play->model.sweeping && is_idle(argument));
}

/* Everything comes to rest, and then a topic is deleted: little else is left for the stop to do. */
static void sweep(struct play *play)
{
    struct model *m = &play->model;
    m->resting = true;
    (void)world_run_until(play->world, is_ended, play, world_now_ns(play->world) + 6 * S);
    m->sweeping = true;
    (void)world_run_until(play->world, is_swept, play, world_now_ns(play->world) + 2 * S);
    m->sweeping = false;
    m->resting = false;
}

static bool is_writing(void *argument)
{
    const struct play *play = argument;
    return is_ended(argument) || machine_disk_writes(play->node.machine);
}

static void life_end(struct play *play)
{
    struct rng *rng = world_rng(play->world);
    rot_is_not_seen(&play->model);
    if (!node_runs(&play->node)) { /* a crash that was laid */
        play->model.life++;
        promises_crashed(&play->model, play->laid);
        return;
    }
    if (rng_one_in(rng, 4)) {
        if (rng_one_in(rng, 3))
            sweep(play);
        if (node_runs(&play->node)) {
            life_stop(play, true);
        } else {
            play->model.life++;
            promises_crashed(&play->model, play->laid);
        }
        return;
    }
    enum crash crash = rng_one_in(rng, 3) ? CRASH_KILL : CRASH_POWER;
    /* Half of the power losses meet a segment that is being written. */
    if (crash == CRASH_POWER && rng_one_in(rng, 2))
        (void)world_run_until(play->world, is_writing, play, world_now_ns(play->world) + 100 * MS);
    play->model.life++;
    if (node_runs(&play->node))
        machine_crash(play->node.machine, crash);
    else
        crash = play->laid;
    promises_crashed(&play->model, crash);
}

static void life(struct play *play, uint64_t operations)
{
    struct rng *rng = world_rng(play->world);
    if (!life_begin(play, true))
        return;
    life_trouble(play);
    if (play->plan->ready)
        play->plan->ready(&play->model);
    play->operations_until = play->model.operations + operations;
    (void)world_run_until(play->world, is_enough, play, world_now_ns(play->world) + 300 * MS);
    /* Not always just behind an answer. */
    (void)world_run_until(play->world, is_ended, play,
                          world_now_ns(play->world) + rng_below(rng, 2 * MS));
    machine_disk_heal(play->node.machine);
    machine_network_slow(play->node.machine, 1);
    if (!play->model.failed)
        life_end(play);
}

/* Until nobody waits for anything. */
static void rest(struct play *play, uint64_t limit_ns)
{
    if (world_run_until(play->world, is_idle, play, world_now_ns(play->world) + limit_ns))
        return;
    const struct actor *a = crowd_busy(&play->crowd);
    wrong(&play->model, "%s %u still waits %llu s after the faults have ended", a->kind->name,
          a->number, (unsigned long long)(limit_ns / S));
}

static void last_life(struct play *play)
{
    struct model *m = &play->model;
    if (!life_begin(play, false))
        return;
    world_calm(play->world);
    play->operations_until = m->operations + 100;
    (void)world_run_until(play->world, is_enough, play, world_now_ns(play->world) + 50 * MS);
    m->resting = true;
    rest(play, SETTLE_NS);
    m->reckoning = true;
    rest(play, RECKONING_NS);
    if (!m->failed)
        model_conclude(m);
    rot_is_not_seen(m);
    if (!m->failed && play->scrubs)
        rot_is_found(m);
    if (!m->failed)
        life_stop(play, false);
}

bool broker_lives_play(struct world *world, const struct broker_lives *plan, char *why,
                       size_t why_size)
{
    struct play play = {.world = world, .plan = plan};
    struct machine *machine = world_machine(world, "node");
    uint64_t lives = rng_between(world_rng(world), 1, 4);
    node_init(&play.node, world, machine);
    model_init(&play.model, world, &play.node);
    play.scrubs = (play.node.tail_bytes >> 18) % 3 == 0; /* four of ten */
    play.haste = (struct rng){.state = world_rng(world)->state ^ 0x6861737465U};
    play.hasty = rng_one_in(&play.haste, 3);
    play.node.apart = play.hasty;
    if (play.scrubs)
        play.node.scrub_ms = "40";
    play.model.operations_max = OPERATIONS;
    play.crowd.model = &play.model;
    play.crowd.cast = plan->cast;
    play.crowd.cast_count = plan->cast_count;
    if (plan->begin)
        plan->begin(&play.model);
    crowd_start(&play.crowd, world_machine(world, "clients"));
    for (uint64_t i = 0; i < lives && !play.model.failed; i++) {
        life(&play, OPERATIONS / lives);
        while (!play.model.failed && rng_one_in(world_rng(world), 3))
            life(&play, rng_below(world_rng(world), 30));
    }
    if (!play.model.failed)
        last_life(&play);
    const struct model *m = &play.model;
    world_note(world, "%llu lives, %llu operations, %llu acks, %llu batches read, %llu lost",
               (unsigned long long)m->lives, (unsigned long long)m->operations,
               (unsigned long long)m->acks, (unsigned long long)m->batches_read,
               (unsigned long long)m->lost);
    if (m->failed)
        (void)snprintf(why, why_size, "%s", m->why);
    bool good = !m->failed;
    if (plan->end)
        plan->end(&play.model);
    model_fini(&play.model);
    return good;
}

static void usual_begin(struct model *m)
{
    if (rng_one_in(&m->rng, 2))
        model_rewrites(m);
}

static bool broker_play(struct world *world, char *why, size_t why_size)
{
    static const struct broker_lives usual = {.begin = usual_begin};
    return broker_lives_play(world, &usual, why, why_size);
}

const struct scenario scenario_broker = {
    .name = "broker",
    .summary = "the shipped broker with clients that write, read and administer, over its lives",
    .options = broker_lives_options,
    .play = broker_play,
};
