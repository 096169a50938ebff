/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log/key_map.h"

static void secret_fill(uint8_t secret[KEY_MAP_SECRET_BYTES], uint64_t seed)
{
    for (uint32_t i = 0; i < KEY_MAP_SECRET_BYTES; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        secret[i] = (uint8_t)(seed >> 56);
    }
}

static void test_the_newest_offset_counts(void **state)
{
    (void)state;
    uint8_t secret[KEY_MAP_SECRET_BYTES];
    struct key_map map;
    secret_fill(secret, 1);
    key_map_init(&map, 10, 1 << 20, secret);
    assert_int_equal(key_map_get(&map, "a", 1), -1);
    key_map_put(&map, "a", 1, 0);
    key_map_put(&map, "", 0, 7);
    assert_int_equal(key_map_get(&map, "a", 1), 0);
    assert_int_equal(key_map_get(&map, "", 0), 7);
    key_map_put(&map, "a", 1, 9);
    key_map_put(&map, "a", 1, 5);
    assert_int_equal(key_map_get(&map, "a", 1), 9);
    assert_int_equal(map.count, 2);
    key_map_fini(&map);
}

/* All places taken, probes that go round the end, and what is not there is not found. */
static void test_filled_to_its_bound(void **state)
{
    (void)state;
    uint8_t secret[KEY_MAP_SECRET_BYTES];
    struct key_map map;
    secret_fill(secret, 2);
    key_map_init(&map, UINT64_MAX / 200, 1 << 20, secret);
    assert_true(map.size * sizeof(struct key_map_entry) <= 1 << 20);
    const uint64_t count = key_map_room(&map);
    assert_true(count > (1 << 20) / KEY_MAP_ENTRY_BYTES * 8 / 10);
    char key[100];
    for (uint64_t i = 0; i < count; i++) {
        int len = snprintf(key, sizeof(key), "key-%0*llu", (int)(i % 60), (unsigned long long)i);
        key_map_put(&map, key, (uint32_t)len, (int64_t)i * 3);
    }
    assert_int_equal(key_map_room(&map), 0);
    for (uint64_t i = 0; i < count; i++) {
        int len = snprintf(key, sizeof(key), "key-%0*llu", (int)(i % 60), (unsigned long long)i);
        assert_int_equal(key_map_get(&map, key, (uint32_t)len), (int64_t)i * 3);
        key[0] = 'K';
        assert_int_equal(key_map_get(&map, key, (uint32_t)len), -1);
    }
    key_map_put(&map, "key-0", 5, 1 << 30); /* known already: no room is needed */
    assert_int_equal(key_map_get(&map, "key-0", 5), 1 << 30);
    key_map_fini(&map);
}

static void test_small_maps_have_some_room(void **state)
{
    (void)state;
    uint8_t secret[KEY_MAP_SECRET_BYTES];
    struct key_map map;
    secret_fill(secret, 3);
    key_map_init(&map, 0, 0, secret);
    assert_true(key_map_room(&map) >= 50);
    key_map_fini(&map);
    key_map_init(&map, 1000, 1 << 20, secret);
    assert_true(key_map_room(&map) >= 1000);
    key_map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_offset_counts),
        cmocka_unit_test(test_filled_to_its_bound),
        cmocka_unit_test(test_small_maps_have_some_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
