/* SPDX-License-Identifier: Apache-2.0
 *
 * The world itself: one seed one run, time, clocks, memory of the dead, and what its network does
 * to a stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sim/echo.h"

#include <errno.h>

#define SECOND 1000000000U

struct echo_run {
    struct world *world;
    struct machine *server;
    struct machine *client;
    struct process *server_process;
    struct process *client_process;
    struct echo_wish wish;
    uint64_t accepted[4];
};

static void echo_begin(struct echo_run *run, const struct world_options *options, uint32_t rounds,
                       uint32_t len)
{
    *run = (struct echo_run){.world = world_new(options), .wish = {.rounds = rounds, .len = len}};
    run->server = world_machine(run->world, "server");
    run->client = world_machine(run->world, "client");
    machine_address(run->server, ECHO_PORT, &run->wish.address);
    run->server_process = machine_start(run->server, &(struct program){.name = "echo",
                                                                       .shards = 4,
                                                                       .start = echo_server_start,
                                                                       .argument = run->accepted});
    run->client_process = machine_start(run->client, &(struct program){.name = "client",
                                                                       .shards = 1,
                                                                       .start = echo_client_start,
                                                                       .argument = &run->wish});
}

static uint64_t echo_hash(uint64_t seed, bool rough, struct echo_wish *wish)
{
    struct world_options options;
    struct echo_run run;
    if (rough)
        world_options_rough(&options, seed);
    else
        world_options_calm(&options, seed);
    echo_begin(&run, &options, 50, 3000);
    world_run_until(run.world, echo_is_done, &run.wish, 600 * (uint64_t)SECOND);
    uint64_t hash = world_hash(run.world);
    *wish = run.wish;
    world_free(run.world);
    return hash;
}

static void one_seed_is_one_run(void **state)
{
    (void)state;
    struct echo_wish wish;
    uint64_t last = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t hash = echo_hash(seed, seed % 2, &wish);
        assert_int_equal(wish.rounds_done, 50);
        assert_int_equal(wish.wrong, 0);
        assert_true(hash == echo_hash(seed, seed % 2, &wish));
        assert_true(hash != last);
        last = hash;
    }
}

static void a_calm_network_makes_no_errors(void **state)
{
    (void)state;
    struct echo_wish wish;
    echo_hash(7, false, &wish);
    assert_int_equal(wish.errors, 0);
}

static void resets_break_streams_never_bytes(void **state)
{
    (void)state;
    struct world_options options;
    struct echo_run run;
    world_options_calm(&options, 3);
    options.network.reset_one_in = 20;
    options.network.refuse_one_in = 5;
    options.network.small_pieces_one_in = 2;
    options.network.buffer_bytes_max = 600;
    options.receive_blocks_max = 2;
    echo_begin(&run, &options, 200, 1000);
    assert_true(world_run_until(run.world, echo_is_done, &run.wish, 600 * (uint64_t)SECOND));
    assert_true(run.wish.errors > 5);
    assert_int_equal(run.wish.wrong, 0);
    uint64_t shards = 0;
    for (unsigned i = 0; i < 4; i++)
        shards += run.accepted[i] > 0;
    assert_int_equal(shards, 4);
    world_free(run.world);
}

static void a_crash_gives_all_memory_back(void **state)
{
    (void)state;
    struct world_options options;
    struct echo_run run;
    unsigned silent = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world_options_calm(&options, seed);
        echo_begin(&run, &options, 1000000, 10000);
        world_run(run.world, world_now_ns(run.world) + 20000000);
        assert_true(process_memory(run.server_process) > 0);
        machine_crash(run.server, seed % 2 ? CRASH_KILL : CRASH_POWER);
        assert_int_equal(process_state(run.server_process), PROCESS_CRASHED);
        assert_int_equal(process_memory(run.server_process), 0);
        uint32_t before = run.wish.rounds_done;
        world_run(run.world, world_now_ns(run.world) + 20000000);
        assert_in_range(run.wish.rounds_done, before, before + 1); /* what was on its way */
        machine_start(
            run.server,
            &(struct program){.shards = 2, .start = echo_server_start, .argument = run.accepted});
        world_run(run.world, world_now_ns(run.world) + SECOND);
        /* After a kill the kernel says goodbye. After power loss a client that only waits may
         * never hear of it: the connection is half open. */
        assert_true(run.wish.rounds_done > before || seed % 2 == 0);
        assert_true(run.wish.errors > 0 || run.wish.rounds_done <= before + 1);
        silent += run.wish.errors == 0;
        world_free(run.world);
    }
    assert_in_range(silent, 1, 9);
}

static void a_cut_link_is_silent_and_heals(void **state)
{
    (void)state;
    struct world_options options;
    struct echo_run run;
    world_options_calm(&options, 5);
    echo_begin(&run, &options, 1000000, 100);
    world_run(run.world, world_now_ns(run.world) + SECOND);
    world_link_cut(run.world, run.server, run.client);
    world_run(run.world, world_now_ns(run.world) + SECOND / 100);
    uint32_t before = run.wish.rounds_done;
    world_run(run.world, world_now_ns(run.world) + 5 * (uint64_t)SECOND);
    assert_int_equal(run.wish.rounds_done, before);
    assert_int_equal(run.wish.errors, 0);
    world_link_heal(run.world, run.server, run.client);
    world_run(run.world, world_now_ns(run.world) + 10 * (uint64_t)SECOND);
    assert_true(run.wish.rounds_done > before);
    assert_int_equal(run.wish.errors, 0);
    world_free(run.world);
}

/* ---- clocks ---- */

struct ticks {
    struct timer timer;
    struct shard *sh;
    uint64_t *count; /* outside */
    int64_t *wall_ms;
    uint64_t due_ns;
};

struct ticks_out {
    uint64_t count;
    int64_t wall_ms;
};

static void tick(struct shard *sh, struct timer *timer)
{
    struct ticks *ticks = container_of(timer, struct ticks, timer);
    must(io_now_ns(sh->io) >= ticks->due_ns);
    ++*ticks->count;
    *ticks->wall_ms = io_wall_ms(sh->io);
    ticks->due_ns += 1000000;
    timer_set(sh, timer, ticks->due_ns);
}

static void ticks_start(struct shard *sh, void *argument)
{
    struct ticks_out *out = argument;
    struct ticks *ticks = mem_zalloc(sizeof(*ticks));
    ticks->count = &out->count;
    ticks->wall_ms = &out->wall_ms;
    ticks->timer = (struct timer){.fn = tick, .name = "tick"};
    ticks->due_ns = io_now_ns(sh->io) + 1000000;
    timer_set(sh, &ticks->timer, ticks->due_ns);
}

static void clocks_drift_apart(void **state)
{
    (void)state;
    struct world_options options;
    struct ticks_out out[8] = {0};
    world_options_calm(&options, 11);
    options.drift_ppm_max = 1000;
    struct world *world = world_new(&options);
    for (unsigned i = 0; i < 8; i++) {
        char name[8] = {'m', (char)('0' + i)};
        machine_start(world_machine(world, name),
                      &(struct program){.shards = 1, .start = ticks_start, .argument = &out[i]});
    }
    world_run(world, world_now_ns(world) + 100 * (uint64_t)SECOND);
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (unsigned i = 0; i < 8; i++) {
        least = min_u64(least, out[i].count);
        most = max_u64(most, out[i].count);
    }
    assert_in_range(least, 99900, 100000);
    assert_in_range(most, 100000, 100101);
    assert_true(most - least > 20);
    int64_t before = out[0].wall_ms;
    machine_jump_wall(world_machine(world, "m0"), -3600000);
    world_run(world, world_now_ns(world) + SECOND);
    assert_in_range((uint64_t)(before - out[0].wall_ms), 3598900, 3599100);
    world_free(world);
}

/* ---- stop ---- */

static void stop_now(struct shard *sh, void *argument)
{
    (void)argument;
    shard_stop(sh);
}

static void leak_start(struct shard *sh, void *argument)
{
    (void)sh;
    (void)argument;
    (void)mem_alloc(100);
}

static void a_clean_stop_tells_leaks(void **state)
{
    (void)state;
    struct world_options options;
    world_options_calm(&options, 2);
    struct world *world = world_new(&options);
    struct process *process = machine_start(world_machine(world, "m"),
                                            &(struct program){.shards = 3, .start = leak_start});
    for (uint16_t i = 0; i < 3; i++)
        process_call(process, i, stop_now, NULL);
    world_run(world, world_now_ns(world) + SECOND);
    assert_int_equal(process_state(process), PROCESS_STOPPED);
    assert_int_equal(process_memory(process), 300);
    world_free(world);
}

/* ---- chances and mutations ---- */

static void ask_start(struct shard *sh, void *argument)
{
    uint64_t *taken = argument;
    for (unsigned i = 0; i < 1000; i++)
        taken[0] += io_chance(sh->io, "test.rare", 10);
    taken[1] += io_mutation(sh->io, "test.mistake");
    taken[2] += io_mutation(sh->io, "test.other");
}

static void names_are_counted(void **state)
{
    (void)state;
    uint64_t taken[3] = {0};
    struct world_options options;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world_options_calm(&options, seed);
        options.chances = true;
        options.mutation = "test.mistake";
        struct world *world = world_new(&options);
        machine_start(world_machine(world, "m"),
                      &(struct program){.shards = 1, .start = ask_start, .argument = taken});
        const struct world_name *names;
        assert_int_equal(world_mutations(world, &names), 2);
        assert_string_equal(names[0].name, "test.mistake");
        assert_int_equal(names[0].taken, 1);
        assert_int_equal(names[1].taken, 0);
        assert_int_equal(world_chances(world, &names), 1);
        assert_int_equal(names[0].asked, 1000);
        world_free(world);
    }
    assert_int_equal(taken[1], 20);
    assert_int_equal(taken[2], 0);
    assert_in_range(taken[0], 200, 1900); /* in about half of the seeds, one in ten */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(a_calm_network_makes_no_errors),
        cmocka_unit_test(resets_break_streams_never_bytes),
        cmocka_unit_test(a_crash_gives_all_memory_back),
        cmocka_unit_test(a_cut_link_is_silent_and_heals),
        cmocka_unit_test(clocks_drift_apart),
        cmocka_unit_test(a_clean_stop_tells_leaks),
        cmocka_unit_test(names_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
