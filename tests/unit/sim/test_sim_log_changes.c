/* SPDX-License-Identifier: Apache-2.0
 *
 * Truncation, log start, reset, deletion and questions about time, in the simulated world. One log;
 * a script of random operations, one after another; a kill or a power loss at any moment, inside a
 * blocking call too; then everything is compared with a model of the log:
 *
 *   - an operation that was answered holds, one that was not holds wholly or not at all
 *   - what is read from start to end is the model's batches, byte for byte
 *   - the first batch at or above a time, and the one with the largest, are the model's
 *   - what a truncation took from a producer it may send again, and nothing is a duplicate
 *   - a log that was deleted does not come back, and its name is free for another one
 *
 * Resets once more, with a crash in each blocking call that they make.
 *
 * And the test bites: each deliberate mistake about truncations and resets is found.
 * SIM_LOG_CHANGES_SEEDS, SIM_LOG_CHANGES_FIRST and SIM_LOG_CHANGES_MISTAKE choose other runs.
 */
#include "tests/unit/sim/log_script.h"

#include <setjmp.h>

#include <cmocka.h>

#define MISTAKE_SEEDS 400U
#define RESET_CALLS   40U

/* ---- one seed ---- */

static bool is_checked(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->checked;
}

static bool is_stopped(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->stopped;
}

static bool is_idle(void *argument)
{
    const struct model *m = argument;
    return m->failed || !m->open;
}

static bool has_failed(void *argument)
{
    return ((const struct model *)argument)->failed;
}

static void life_end(struct model *m, struct process *process)
{
    uint64_t way = rng_below(&m->rng, 3);
    tell(m, "end by %s", way == 0 ? "kill" : way == 1 ? "power loss" : "stop");
    if (way < 2) {
        machine_crash(m->machine, way == 0 ? CRASH_KILL : CRASH_POWER);
        return;
    }
    if (!world_run_until(m->world, is_idle, m, world_now_ns(m->world) + 100 * S) &&
        process_state(process) != PROCESS_CRASHED)
        wrong(m, "operation %d does not end",
              ((struct run *)process_shard(process, 0)->user)->kind);
    m->stopped = false;
    process_call(process, 0, stop, NULL);
    if (!world_run_until(m->world, is_stopped, m, world_now_ns(m->world) + 100 * S) &&
        process_state(process) != PROCESS_CRASHED)
        wrong(m, "the stop does not end");
    (void)world_run_until(m->world, has_failed, m, world_now_ns(m->world) + 10 * MS);
    if (!m->failed && process_state(process) == PROCESS_STOPPED && process_memory(process) != 0)
        wrong(m, "%llu bytes were not freed", (unsigned long long)process_memory(process));
}

static void life(struct model *m, bool undisturbed)
{
    const struct program program = {
        .name = "log", .shards = 1, .prepare = prepare, .start = start, .stop = end, .argument = m};
    enum crash crash = rng_one_in(&m->rng, 2) ? CRASH_KILL : CRASH_POWER;
    uint32_t calls = (uint32_t)rng_between(&m->rng, 1, 80);
    machine_crash_in_call(m->machine, crash, !undisturbed && rng_one_in(&m->rng, 3) ? calls : 0);
    uint64_t salt[2] = {rng_next(&m->rng), rng_next(&m->rng)};
    memcpy(m->options.new_uuid, salt, 16);
    m->lives++;
    m->checked = false;
    struct process *process = machine_start(m->machine, &program);
    if (process == NULL)
        tell(m, "it did not start");
    if (process == NULL)
        return;
    if (!world_run_until(m->world, is_checked, m, world_now_ns(m->world) + 100 * S) &&
        process_state(process) != PROCESS_CRASHED)
        wrong(m, "the check after the start does not end");
    (void)world_run_until(m->world, has_failed, m,
                          world_now_ns(m->world) + rng_between(&m->rng, 10 * US, 120 * MS));
    if (!m->failed && process_state(process) == PROCESS_RUNS)
        life_end(m, process);
}

static void run_seed(uint64_t seed, struct model *m, const char *mistake)
{
    struct world_options options;
    world_options_rough(&options, seed);
    options.mutation = mistake;
    m->failed = false;
    memset(&m->now, 0, sizeof(m->now));
    m->next = m->now;
    m->open = false;
    m->world = world_new(&options);
    m->machine = world_machine(m->world, "node");
    m->rng = (struct rng){.state = seed * 131 + 7};
    m->options = (struct log_dir_options){.path = "/data/log",
                                          .may_format = true,
                                          .node_id = 1,
                                          .pid = 1,
                                          .shards = 1,
                                          .tail_bytes = rng_between(&m->rng, 3, 8) << 18,
                                          .cold_bytes = 1U << 20,
                                          .open_files_max = (uint32_t)rng_between(&m->rng, 1, 4),
                                          .journal_bytes = 65536U << rng_below(&m->rng, 3)};
    m->config = log_config_default;
    m->config.segment_bytes = 16384U << rng_below(&m->rng, 4);
    m->config.delete_delay_ms = rng_one_in(&m->rng, 2) ? 0 : rng_below(&m->rng, 100);
    m->config.roll_ms = rng_one_in(&m->rng, 3) ? (int64_t)rng_between(&m->rng, 1, 1000000)
                                               : log_config_default.roll_ms;
    struct rng rng = {.state = seed * 31 + 7};
    if (!rng_one_in(&rng, 3))
        m->options.bypass_bytes = (uint32_t)rng_between(&rng, 1, 9000);
    if (!rng_one_in(&rng, 4))
        m->options.recycle_bytes = 32768U << rng_below(&rng, 7);
    (void)!fs_mkdir(machine_fs(m->machine), "/data");
    (void)!fs_sync_dir(machine_fs(m->machine), "/");
    if (rng_one_in(&m->rng, 3)) /* as a start leaves it that is killed at its first step */
        (void)!fs_mkdir(machine_fs(m->machine), "/data/log");
    uint64_t lives = rng_between(&m->rng, 4, 9);
    for (uint64_t i = 0; i < lives && !m->failed; i++)
        life(m, i + 1 == lives);
    world_free(m->world);
}

static void changes_hold(void **state)
{
    (void)state;
    const char *first_text = getenv("SIM_LOG_CHANGES_FIRST");
    const char *seeds_text = getenv("SIM_LOG_CHANGES_SEEDS");
    uint64_t first = first_text != NULL ? strtoull(first_text, NULL, 10) : 1;
    uint64_t seeds = seeds_text != NULL ? strtoull(seeds_text, NULL, 10) : 25;
    struct model *m = calloc(1, sizeof(*m));
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        run_seed(seed, m, getenv("SIM_LOG_CHANGES_MISTAKE"));
        if (m->failed)
            fail_msg("seed %llu, life %u: %s", (unsigned long long)seed, m->lives, m->why);
    }
    printf("%llu seeds, %u lives: %u appends, %u truncations, %u starts, %u resets, %u "
           "deletions, %u readings, "
           "%u times, %u largest times\n",
           (unsigned long long)seeds, m->lives, m->done[APPEND], m->done[TRUNCATE],
           m->done[SET_START], m->done[RESET], m->done[DELETE], m->done[VERIFY], m->done[FIND_TIME],
           m->done[FIND_MAX]);
    for (unsigned i = 0; i < array_count(m->done); i++)
        assert_true(m->done[i] > 0);
    free(m);
}

/* A reset makes some blocking calls per segment: each of them is the last one once. */
static void resets_survive_any_crash(void **state)
{
    (void)state;
    struct model *m = calloc(1, sizeof(*m));
    uint32_t reached = 0;
    for (uint32_t calls = 1; calls <= RESET_CALLS; calls++) {
        for (uint32_t power = 0; power < 2; power++) {
            m->reset_calls = calls;
            m->reset_crash = power ? CRASH_POWER : CRASH_KILL;
            run_seed(1000 + calls, m, NULL);
            if (m->failed)
                fail_msg("%s in call %u: life %u: %s", power ? "power loss" : "kill", calls,
                         m->lives, m->why);
            reached += m->reset_calls == 0;
        }
    }
    printf("%u of %u runs came to a reset\n", reached, 2 * RESET_CALLS);
    assert_true(reached > RESET_CALLS);
    free(m);
}

static void mistakes_are_found(void **state)
{
    (void)state;
    /* `from`: a seed that finds it. */
    static const struct {
        const char *name;
        uint64_t from;
    } mistakes[] = {
        {"recovery.dropped_bytes_again", 69},  {"recovery.new_segment_dropped", 58},
        {"log.reset_with_old_files", 315},     {"recovery.recycled_batch_replayed", 30},
        {"recycle.deletion_not_durable", 432}, {"recycle.place_not_durable", 4},
    };
    struct model *m = calloc(1, sizeof(*m));
    for (unsigned i = 0; i < array_count(mistakes); i++) {
        uint64_t seed = mistakes[i].from;
        do
            run_seed(seed, m, mistakes[i].name);
        while (!m->failed && seed++ < mistakes[i].from + MISTAKE_SEEDS);
        printf("%s: seed %llu: %s\n", mistakes[i].name, (unsigned long long)seed, m->why);
        assert_true(m->failed);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_hold),
        cmocka_unit_test(resets_survive_any_crash),
        cmocka_unit_test(mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
