/* SPDX-License-Identifier: Apache-2.0
 *
 * The checksum, alone and fused with the copy of an append, beside the copy alone.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

enum class Pass { copy, crc, crc_copy };

static void run(benchmark::State &state, Pass pass)
{
    const auto len = static_cast<size_t>(state.range(0));
    std::vector<uint8_t> from(len, 'f');
    std::vector<uint8_t> to(len);
    for (auto _ : state) {
        switch (pass) {
        case Pass::copy:
            std::memcpy(to.data(), from.data(), len);
            break;
        case Pass::crc:
            benchmark::DoNotOptimize(shim_crc(from.data(), len));
            break;
        case Pass::crc_copy:
            benchmark::DoNotOptimize(shim_crc_copy(to.data(), from.data(), len));
            break;
        }
        benchmark::DoNotOptimize(to.data());
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK_CAPTURE(run, memcpy, Pass::copy)->Name("memcpy")->RangeMultiplier(4)->Range(64, 1 << 20);
BENCHMARK_CAPTURE(run, crc32c, Pass::crc)->Name("crc32c")->RangeMultiplier(4)->Range(64, 1 << 20);
BENCHMARK_CAPTURE(run, crc32c_copy, Pass::crc_copy)
    ->Name("crc32c_copy")
    ->RangeMultiplier(4)
    ->Range(64, 1 << 20);
