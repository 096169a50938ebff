/* SPDX-License-Identifier: Apache-2.0
 *
 * What shards do all day: the ring between two of them, mail there and back, timers.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

/* Words put and taken on one thread: the ring's instructions without a cache line that travels. */
static void mail_ring(benchmark::State &state)
{
    const auto words = static_cast<uint32_t>(state.range(0));
    struct shim_ring *ring = shim_ring_open();
    while (state.KeepRunningBatch(words))
        shim_ring_pass(ring, words);
    shim_ring_close(ring);
}
BENCHMARK(mail_ring)->Arg(1)->Arg(256);

/* Time is per mail, there and back between two threads. spin_us: how long an idle shard spins
 * before it sleeps; without it every wake is a system call. */
static void mail_round_trip(benchmark::State &state)
{
    const auto count = static_cast<uint32_t>(state.range(0));
    struct shim_mail *mail = shim_mail_open(static_cast<uint64_t>(state.range(1)) * 1000);
    while (state.KeepRunningBatch(count))
        shim_mail_round_trip(mail, count);
    shim_mail_close(mail);
}
BENCHMARK(mail_round_trip)
    ->ArgNames({"in_flight", "spin_us"})
    ->ArgsProduct({{1, 16, 256}, {0, 50}})
    ->UseRealTime();

static const int timers_set = 10000;

static void run(benchmark::State &state, void (*step)(struct shim_timers *), int steps)
{
    struct shim_timers *timers = shim_timers_open(timers_set);
    while (state.KeepRunningBatch(steps))
        step(timers);
    shim_timers_close(timers);
}
BENCHMARK_CAPTURE(run, set_and_cancel, shim_timers_set_and_cancel, 1)
    ->Name("timer_set_and_cancel/of_10000");
BENCHMARK_CAPTURE(run, move, shim_timers_move, 1)->Name("timer_move/of_10000");
/* Each is set to be due, fires, and is set again: two times set and one expiry per timer. */
BENCHMARK_CAPTURE(run, expire, shim_timers_expire, timers_set)->Name("timer_expire/of_10000");
