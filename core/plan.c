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
    return round_down(plan->total_bytes / 100 * percent / plan->shards, 1U << 20);
}

struct plan plan_make(uint64_t total_bytes, const char *source, uint16_t shards)
{
    must(shards > 0);
    struct plan plan = {
        .total_bytes = max_u64(total_bytes, PLAN_BYTES_MIN), .source = source, .shards = shards};
    plan.tail_bytes = max_u64(share(&plan, TAIL_PERCENT), 1U << 20);
    plan.receive_bytes = max_u64(share(&plan, RECEIVE_PERCENT), 1U << 20);
    plan.unfinished_bytes = max_u64(share(&plan, UNFINISHED_PERCENT), 1U << 20);
    plan.cold_bytes = max_u64(share(&plan, COLD_PERCENT), 1U << 20);
    uint64_t divided =
        plan.tail_bytes + plan.receive_bytes + plan.unfinished_bytes + plan.cold_bytes;
    divided *= shards;
    plan.heap_bytes = plan.total_bytes > divided ? plan.total_bytes - divided : 0;
    return plan;
}

uint64_t plan_default_bytes(uint64_t machine_bytes)
{
    uint64_t quarter = machine_bytes / 4;
    return max_u64(DEFAULT_BYTES_MIN, min_u64(quarter, DEFAULT_BYTES_MAX));
}
