/* SPDX-License-Identifier: Apache-2.0
 *
 * All that is checked of a produced batch, per codec; the argument is its size before compression.
 * Bytes per second are those of the plain records.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

#include <string>

static void run(benchmark::State &state, unsigned codec)
{
    struct shim_batch *batch = shim_batch_open(codec, static_cast<uint32_t>(state.range(0)));
    for (auto _ : state)
        shim_batch_check(batch);
    state.SetBytesProcessed(state.iterations() * state.range(0));
    state.counters["sent"] = static_cast<double>(shim_batch_bytes(batch));
    shim_batch_close(batch);
}

static int register_all()
{
    for (unsigned codec = 0; codec < shim_codecs(); codec++) {
        benchmark::RegisterBenchmark((std::string("batch_check/") + shim_codec_of(codec)).c_str(),
                                     run, codec)
            ->Arg(1 << 10)
            ->Arg(16 << 10)
            ->Arg(1 << 20);
    }
    return 0;
}

[[maybe_unused]] static const int registered = register_all();
