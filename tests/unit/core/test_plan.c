/* SPDX-License-Identifier: Apache-2.0 */
#include "core/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check_parts(const struct plan *plan)
{
    uint64_t shard =
        plan->tail_bytes + plan->receive_bytes + plan->unfinished_bytes + plan->cold_bytes;
    assert_int_equal(shard * plan->shards + plan->heap_bytes, plan->total_bytes);
    assert_true(plan->tail_bytes >= 1U << 20);
    assert_true(plan->receive_bytes >= 1U << 20);
    assert_true(plan->unfinished_bytes >= 1U << 20);
    assert_true(plan->cold_bytes >= 1U << 20);
    assert_true(plan->receive_bytes <= PLAN_RECEIVE_BYTES_MAX);
}

static void parts_add_up(void **state)
{
    (void)state;
    const uint64_t totals[] = {0, 1, 256ULL << 20, (1ULL << 30) + 12345, 32ULL << 30, UINT64_MAX};
    const uint16_t shards[] = {1, 2, 7, 64, 256};
    for (size_t t = 0; t < array_count(totals); t++) {
        for (size_t s = 0; s < array_count(shards); s++) {
            struct plan plan = plan_make(totals[t], "test", shards[s], 1);
            assert_true(plan.total_bytes >= totals[t]);
            assert_true(plan.total_bytes >= plan_bytes_min(shards[s], 1));
            check_parts(&plan);
        }
    }
}

/* 15 % of 32 GiB on one shard are more blocks than have numbers (the broker once ended in a must).
 */
static void large_budget_of_one_shard(void **state)
{
    (void)state;
    struct plan plan = plan_make(32ULL << 30, "test", 1, 1);
    assert_int_equal(plan.receive_bytes, PLAN_RECEIVE_BYTES_MAX);
    assert_true(plan.tail_bytes > plan.total_bytes / 100 * 45);
}

static void one_request_has_a_share(void **state)
{
    (void)state;
    struct plan small = plan_make(64ULL << 20, "test", 1, 1);
    assert_int_equal(plan_request_bytes(&small), PLAN_REQUEST_BYTES_MIN);
    struct plan middle = plan_make(1ULL << 30, "test", 2, 1);
    assert_int_equal(plan_request_bytes(&middle), middle.heap_bytes / 4);
    struct plan large = plan_make(32ULL << 30, "test", 2, 1);
    assert_int_equal(plan_request_bytes(&large), PLAN_REQUEST_BYTES_MAX);
}

static void files_add_up(void **state)
{
    (void)state;
    const uint64_t limits[] = {0, 30, 300, 1024, 4096, 65536, 1U << 20, 1U << 30, UINT64_MAX};
    const uint16_t shards[] = {1, 2, 7, 64, 256};
    for (size_t l = 0; l < array_count(limits); l++) {
        for (size_t s = 0; s < array_count(shards); s++) {
            struct plan_files files = plan_files_make(limits[l], shards[s], 1);
            uint64_t segments = (uint64_t)files.segments * shards[s];
            assert_true(files.own + segments + files.connections <= files.limit);
            assert_int_equal(files.limit, max_u64(limits[l], plan_files_min(shards[s], 1)));
            assert_in_range(files.segments, PLAN_SEGMENTS_MIN, PLAN_SEGMENTS_MAX);
            assert_in_range(files.connections, PLAN_CONNECTIONS_MIN, INT32_MAX);
            assert_int_equal(files.short_of, files.segments < PLAN_SEGMENTS_SHORT);
        }
    }
    assert_true(plan_files_make(1024, 2, 1).short_of);
    for (uint16_t shard_count = 1; shard_count <= 2; shard_count++) /* a crowd has room */
        assert_true(plan_files_make(20000, shard_count, 1).connections > 10500);
    assert_false(plan_files_make(1U << 20, 2, 1).short_of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(large_budget_of_one_shard),
        cmocka_unit_test(one_request_has_a_share),
        cmocka_unit_test(files_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
