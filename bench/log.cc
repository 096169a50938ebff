/* SPDX-License-Identifier: Apache-2.0
 *
 * The append path without the disk: arguments are partitions, each with one batch in flight, and
 * the bytes of a batch. Time is per append, on the shard's thread. copied: user-space copies per
 * byte appended (socket to tail, tail to journal group); journal: bytes of groups per byte; appends
 * shared by one group.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

static void log_append(benchmark::State &state)
{
    const auto partitions = static_cast<uint32_t>(state.range(0));
    struct shim_log *log = shim_log_open(partitions, static_cast<uint32_t>(state.range(1)));
    const struct shim_log_counts before = shim_log_counts(log);
    while (state.KeepRunningBatch(partitions))
        shim_log_append(log);
    const struct shim_log_counts after = shim_log_counts(log);
    const auto bytes = static_cast<double>(after.appended_bytes - before.appended_bytes);
    state.SetBytesProcessed(state.iterations() * state.range(1));
    state.counters["copied"] =
        static_cast<double>(after.copied_bytes - before.copied_bytes) / bytes;
    state.counters["journal"] = static_cast<double>(after.group_bytes - before.group_bytes) / bytes;
    state.counters["shared"] = static_cast<double>(after.appends - before.appends) /
                               static_cast<double>(after.groups - before.groups);
    shim_log_close(log);
}

BENCHMARK(log_append)
    ->ArgNames({"partitions", "bytes"})
    ->ArgsProduct({{1, 12, 288}, {1 << 10, 16 << 10}})
    ->Args({1, 1 << 20})
    ->Args({12, 1 << 20});
