/* SPDX-License-Identifier: Apache-2.0 */
#include "io/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20);
    assert_int_equal(arena.held_bytes, 0);
    uint8_t *found[2000];
    for (size_t i = 0; i < array_count(found); i++) {
        size_t size = i * 7 % 5000;
        found[i] = arena_alloc(&arena, size);
        assert_non_null(found[i]);
        assert_int_equal((uintptr_t)found[i] % 8, 0);
        memset(found[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < array_count(found); i++) {
        for (size_t k = 0; k < i * 7 % 5000; k++)
            assert_int_equal(found[i][k], i & 0xff);
    }
    arena_fini(&arena);
    assert_int_equal(arena.held_bytes, 0);
}

static void test_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    size_t given = 0;
    while (arena_alloc(&arena, 100))
        given += 100;
    assert_true(given >= 9000);
    assert_true(arena.held_bytes <= 10000);
    assert_null(arena_alloc(&arena, 5000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    arena_fini(&arena);
    /* A limit below the smallest chunk still serves what fits. */
    arena_init(&arena, 200);
    assert_non_null(arena_alloc(&arena, 100));
    assert_null(arena_alloc(&arena, 100));
    arena_fini(&arena);
}

static void test_reset(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, (size_t)1 << 20);
    for (int round = 0; round < 3; round++) {
        assert_non_null(arena_alloc(&arena, 10));
        assert_non_null(arena_alloc(&arena, 300000));
        assert_non_null(arena_alloc(&arena, 0));
        for (int i = 0; i < 100; i++)
            assert_non_null(arena_alloc(&arena, 900));
        arena_reset(&arena);
        assert_int_equal(arena.held_bytes, 4096);
    }
    void *first = arena_alloc(&arena, 8);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 8), first);
    arena_fini(&arena);
    /* Only a large chunk: nothing is kept. */
    assert_non_null(arena_alloc(&arena, 300000));
    arena_reset(&arena);
    assert_int_equal(arena.held_bytes, 0);
    assert_non_null(arena_alloc(&arena, 8));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_and_apart),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
