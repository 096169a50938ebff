/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/block_pool.h"
#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void classes(void **state)
{
    (void)state;
    assert_int_equal(block_class_of(1), 0);
    assert_int_equal(block_class_of(4096), 0);
    assert_int_equal(block_class_of(4097), 1);
    assert_int_equal(block_class_of(65536), 2);
    assert_int_equal(block_class_of(65537), 3);
    assert_int_equal(block_class_of(1U << 30), 3);
    assert_int_equal(block_size_of(3), BLOCK_SIZE_MAX);
}

static void small_blocks_leave_chunks_whole(void **state)
{
    (void)state;
    struct block_pool pool;
    block_pool_init(&pool, 2 * BLOCK_SIZE_MAX);
    uint8_t *small[3];
    for (unsigned i = 0; i < 3; i++)
        small[i] = block_get(&pool, i);
    uint8_t *large = block_get(&pool, 3);
    assert_non_null(large);
    assert_null(block_get(&pool, 3));
    for (unsigned i = 0; i < 3; i++)
        block_put(&pool, small[i], i);
    uint8_t *second = block_get(&pool, 3);
    assert_non_null(second);
    block_put(&pool, second, 3);
    block_put(&pool, large, 3);
    block_pool_fini(&pool);
}

/* Random traffic: blocks never overlap, everything comes back, and a whole chunk is there again. */
static void random_traffic(void **state)
{
    (void)state;
    enum { LIVE = 200 };
    struct block_pool pool;
    block_pool_init(&pool, 8 * BLOCK_SIZE_MAX);
    uint8_t *blocks[LIVE] = {0};
    unsigned size_class[LIVE] = {0};
    uint64_t seed = 7;
    for (unsigned n = 0; n < 50000; n++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        unsigned at = (unsigned)(seed >> 33) % LIVE;
        if (blocks[at] != NULL) {
            for (uint32_t i = 0; i < block_size_of(size_class[at]); i += BLOCK_SIZE_MIN)
                assert_int_equal(blocks[at][i], at);
            block_put(&pool, blocks[at], size_class[at]);
            blocks[at] = NULL;
            continue;
        }
        size_class[at] = (unsigned)(seed >> 50) % BLOCK_CLASSES;
        blocks[at] = block_get(&pool, size_class[at]);
        if (blocks[at] == NULL)
            continue;
        for (uint32_t i = 0; i < block_size_of(size_class[at]); i += BLOCK_SIZE_MIN)
            blocks[at][i] = (uint8_t)at;
    }
    for (unsigned at = 0; at < LIVE; at++) {
        if (blocks[at] != NULL)
            block_put(&pool, blocks[at], size_class[at]);
    }
    assert_int_equal(pool.used, 0);
    uint8_t *all[8];
    for (unsigned i = 0; i < 8; i++)
        assert_non_null(all[i] = block_get(&pool, 3));
    for (unsigned i = 0; i < 8; i++)
        block_put(&pool, all[i], 3);
    block_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),
        cmocka_unit_test(small_blocks_leave_chunks_whole),
        cmocka_unit_test(random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
