/* SPDX-License-Identifier: Apache-2.0
 *
 * millrace-bench: the micro-benchmarks; `--benchmark_filter=REGEX` chooses. They see the broker
 * through bench/shim.h alone.
 */
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
