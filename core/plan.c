/* SPDX-License-Identifier: Apache-2.0 */
#include "core/plan.h"

/* Percent of the budget; the rest is the heap. */
#define TAIL_PERCENT       45U
#define RECEIVE_PERCENT    15U
#define UNFINISHED_PERCENT 10U
#define COLD_PERCENT       10U

#define DEFAULT_BYTES_MIN (256ULL << 20)
#define DEFAULT_BYTES_MAX (8ULL << 30)

static uint64_t share(const struct plan *plan, unsigned percent)
{
    uint64_t bytes = plan->total_bytes / 100 * percent + plan->total_bytes % 100 * percent / 100;
    return round_down(bytes / plan->shards, 1U << 20);
}

uint64_t plan_bytes_min(uint16_t shards, uint32_t dirs)
{
    /* The smallest shares are 10 %, rounded down to 1 MiB. */
    return max_u64(64ULL << 20, dirs * shards * (10ULL << 20));
}

struct plan plan_make(uint64_t total_bytes, const char *source, uint16_t shards, uint32_t dirs)
{
    must(shards > 0);
    struct plan plan = {.total_bytes = max_u64(total_bytes, plan_bytes_min(shards, dirs)),
                        .source = source,
                        .shards = shards};
    uint64_t receive_bytes = share(&plan, RECEIVE_PERCENT);
    plan.receive_bytes = min_u64(receive_bytes, PLAN_RECEIVE_BYTES_MAX);
    plan.tail_bytes = share(&plan, TAIL_PERCENT) + receive_bytes - plan.receive_bytes;
    plan.unfinished_bytes = share(&plan, UNFINISHED_PERCENT);
    plan.cold_bytes = share(&plan, COLD_PERCENT);
    uint64_t divided =
        plan.tail_bytes + plan.receive_bytes + plan.unfinished_bytes + plan.cold_bytes;
    plan.heap_bytes = plan.total_bytes - divided * shards;
    return plan;
}

uint64_t plan_request_bytes(const struct plan *plan)
{
    uint64_t share = plan->heap_bytes / plan->shards / 2;
    return max_u64(PLAN_REQUEST_BYTES_MIN, min_u64(share, PLAN_REQUEST_BYTES_MAX));
}

uint64_t plan_working_bytes(const struct plan *plan)
{
    return max_u64(PLAN_REQUEST_BYTES_MIN / 2, plan->heap_bytes / plan->shards / 2);
}

uint64_t plan_default_bytes(uint64_t machine_bytes)
{
    uint64_t quarter = machine_bytes / 4;
    return max_u64(DEFAULT_BYTES_MIN, min_u64(quarter, DEFAULT_BYTES_MAX));
}

/* An idle broker has 10 and 4 for each shard; the rest is for what comes and goes (files that are
 * made, read back or compacted). */
#define OWN_FILES       48U
#define OWN_FILES_SHARD 16U
#define OWN_FILES_DIR                                                                              \
    3U /* beside the first, on each shard: a journal, a checkpoint, a file made                    \
        */

static uint32_t own_files(uint16_t shards, uint32_t dirs)
{
    return OWN_FILES + (OWN_FILES_SHARD + OWN_FILES_DIR * (dirs - 1)) * shards;
}

uint64_t plan_files_min(uint16_t shards, uint32_t dirs)
{
    return own_files(shards, dirs) + (uint64_t)shards * max_u64(PLAN_SEGMENTS_MIN, 2ULL * dirs) +
           PLAN_CONNECTIONS_MIN;
}

struct plan_files plan_files_make(uint64_t limit, uint16_t shards, uint32_t dirs)
{
    must(shards > 0 && dirs > 0);
    struct plan_files files = {.limit = max_u64(limit, plan_files_min(shards, dirs)),
                               .own = own_files(shards, dirs)};
    uint64_t rest = files.limit - files.own;
    /* Connections are refused for want of a number, files are only opened again: half for the
     * files up to what most need, and a quarter of the rest. */
    uint64_t segments = min_u64(rest / 2 / shards, PLAN_SEGMENTS_SHORT);
    segments = max_u64(segments, max_u64(PLAN_SEGMENTS_MIN, 2ULL * dirs));
    const uint64_t common = 2ULL * PLAN_SEGMENTS_SHORT * shards;
    if (rest > common)
        segments += (rest - common) / 4 / shards;
    files.segments = (uint32_t)min_u64(segments, PLAN_SEGMENTS_MAX);
    files.connections = (uint32_t)min_u64(rest - (uint64_t)files.segments * shards, INT32_MAX);
    files.short_of = files.segments < PLAN_SEGMENTS_SHORT;
    return files;
}
