/* SPDX-License-Identifier: Apache-2.0
 *
 * The codec: what it costs to read a request and to write an answer, for every key that is served.
 * The argument is how many elements each array has: 1 is the request of a client with one
 * partition, 8 has 64 partitions in 8 topics.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

#include <string>

static void run(benchmark::State &state, unsigned index, size_t (*step)(struct shim_codec *))
{
    struct shim_codec *codec = shim_codec_open(index, static_cast<int32_t>(state.range(0)));
    size_t bytes = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(bytes = step(codec));
    state.counters["bytes"] = static_cast<double>(bytes);
    shim_codec_close(codec);
}

static int register_all()
{
    for (unsigned i = 0; i < shim_codec_count(); i++) {
        std::string name = shim_codec_name(i);
        benchmark::RegisterBenchmark(("decode_request/" + name).c_str(), run, i,
                                     shim_codec_decode_request)
            ->Arg(1)
            ->Arg(8);
        benchmark::RegisterBenchmark(("encode_response/" + name).c_str(), run, i,
                                     shim_codec_encode_response)
            ->Arg(1)
            ->Arg(8);
    }
    return 0;
}

[[maybe_unused]] static const int registered = register_all();
