/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes here were put together by hand from Kafka's schemas: they are what its tools read.
 */
#include "core/group/group_record.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const uint8_t offset_key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 7};
static const uint8_t offset_value[] = {0, 3, 0, 0,   0,   0, 0, 0, 0,    42,   0,    0,    0,
                                       5, 0, 2, 'm', 'd', 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0};
static const uint8_t group_key[] = {0, 2, 0, 1, 'g'};
static const uint8_t group_value[] = {
    0,   3,                                             /* version */
    0,   8,   'c',  'o',  'n', 's', 'u', 'm', 'e', 'r', /* protocol type */
    0,   0,   0,    9,                                  /* generation */
    0,   5,   'r',  'a',  'n', 'g', 'e',                /* protocol */
    0,   2,   'm',  '1',                                /* leader */
    0,   0,   0,    0,    0,   0,   0,   3,             /* since */
    0,   0,   0,    1,                                  /* one member */
    0,   2,   'm',  '1',                                /* id */
    255, 255,                                           /* no instance */
    0,   1,   'c',                                      /* client id */
    0,   2,   '/',  'h',                                /* host */
    0,   0,   0x75, 0x30,                               /* rebalance timeout 30000 */
    0,   0,   0x27, 0x10,                               /* session timeout 10000 */
    0,   0,   0,    1,    's',                          /* subscription */
    0,   0,   0,    2,    'a', 's',                     /* assignment */
};

static uint64_t now_ns(struct group_host *host)
{
    (void)host;
    return 1000000;
}

static int64_t wall_ms(struct group_host *host)
{
    (void)host;
    return 3;
}

static uint64_t chance(struct group_host *host)
{
    (void)host;
    return 1;
}

static void store(struct group_host *host, struct group *g, uint64_t ticket)
{
    (void)host;
    (void)g;
    (void)ticket;
}

static struct group_host host = {.now_ns = now_ns,
                                 .wall_ms = wall_ms,
                                 .random = chance,
                                 .store = store,
                                 .session_timeout_max_ms = 100000,
                                 .members_max = 10,
                                 .group_bytes_max = 1U << 20,
                                 .member_bytes_max = 1U << 20};

static struct bytes view(const uint8_t *data, size_t len)
{
    return (struct bytes){data, (int32_t)len};
}

#define VIEW(array) view(array, sizeof(array))
#define NOTHING     ((struct bytes){.len = -1})

static void assert_bytes(struct bytes got, const uint8_t *expected, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, expected, len);
}

static void o7_offsets_are_written_in_kafkas_schema(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    const struct group_offset offset = {.topic = str_of("t"),
                                        .partition = 7,
                                        .offset = 42,
                                        .leader_epoch = 5,
                                        .metadata = str_of("md"),
                                        .commit_ms = 1700000000000,
                                        .expire_ms = -1};
    struct group_record_bytes bytes;
    assert_true(group_record_of_offset(&bytes, &arena, str_of("g"), &offset));
    assert_bytes(bytes.key, offset_key, sizeof(offset_key));
    assert_bytes(bytes.value, offset_value, sizeof(offset_value));
    assert_true(group_record_of_offset_gone(&bytes, &arena, str_of("g"), str_of("t"), 7));
    assert_bytes(bytes.key, offset_key, sizeof(offset_key));
    assert_int_equal(bytes.value.len, -1);
    arena_fini(&arena);
}

static void o7_offsets_are_read_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    struct group_record record;
    group_record_read(&record, VIEW(offset_key), VIEW(offset_value), &arena);
    assert_int_equal(record.kind, GROUP_RECORD_OFFSET);
    assert_false(record.tombstone);
    assert_true(str_equal(record.group, str_of("g")));
    assert_true(str_equal(record.offset.topic, str_of("t")));
    assert_int_equal(record.offset.partition, 7);
    assert_int_equal(record.offset.offset, 42);
    assert_int_equal(record.offset.leader_epoch, 5);
    assert_int_equal(record.offset.commit_ms, 1700000000000);
    assert_int_equal(record.offset.expire_ms, -1);
    group_record_read(&record, VIEW(offset_key), NOTHING, &arena);
    assert_int_equal(record.kind, GROUP_RECORD_OFFSET);
    assert_true(record.tombstone);
    assert_int_equal(record.offset.partition, 7);
    arena_fini(&arena);
}

static void o7_an_expiry_is_kept_in_version_1(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    const struct group_offset offset = {.topic = str_of("t"),
                                        .offset = 1,
                                        .leader_epoch = 5,
                                        .metadata = str_null(),
                                        .commit_ms = 10,
                                        .expire_ms = 20};
    struct group_record_bytes bytes;
    struct group_record record;
    assert_true(group_record_of_offset(&bytes, &arena, str_of("g"), &offset));
    assert_int_equal(bytes.value.data[1], 1);
    group_record_read(&record, bytes.key, bytes.value, &arena);
    assert_int_equal(record.offset.expire_ms, 20);
    assert_int_equal(record.offset.leader_epoch, -1); /* that version has none */
    arena_fini(&arena);
}

static void o7_a_group_is_read_and_written_in_kafkas_schema(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    struct group_record record;
    group_record_read(&record, VIEW(group_key), VIEW(group_value), &arena);
    assert_int_equal(record.kind, GROUP_RECORD_GROUP);
    struct group *g = group_new(&host, record.group);
    group_record_restore(&record, g);
    assert_int_equal(g->state, GROUP_STABLE);
    assert_int_equal(g->generation, 9);
    assert_int_equal(g->members->session_timeout_ms, 10000);
    assert_int_equal(group_heartbeat(g, str_of("m1"), str_null(), 9), ERR_NONE);
    struct group_record_bytes bytes;
    assert_true(group_record_of_group(&bytes, &arena, g));
    assert_bytes(bytes.key, group_key, sizeof(group_key));
    assert_bytes(bytes.value, group_value, sizeof(group_value));
    assert_true(group_record_of_group_gone(&bytes, &arena, str_of("g")));
    assert_int_equal(bytes.value.len, -1);
    group_free(g);
    arena_fini(&arena);
}

static void whatever_is_cut_is_poisoned_and_named(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    struct group_record record;
    for (size_t len = 0; len < sizeof(offset_key); len++) {
        group_record_read(&record, view(offset_key, len), VIEW(offset_value), &arena);
        assert_int_equal(record.kind, GROUP_RECORD_POISONED);
        assert_non_null(record.reason);
    }
    for (size_t len = 0; len < sizeof(offset_value); len++) {
        group_record_read(&record, VIEW(offset_key), view(offset_value, len), &arena);
        assert_int_equal(record.kind, GROUP_RECORD_POISONED);
    }
    for (size_t len = 0; len < sizeof(group_value); len++) {
        group_record_read(&record, VIEW(group_key), view(group_value, len), &arena);
        assert_int_equal(record.kind, GROUP_RECORD_POISONED);
    }
    arena_fini(&arena);
}

static void unknown_versions_are_poisoned_and_other_kinds_are_not_ours(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    struct group_record record;
    static const uint8_t version_9[] = {0, 9, 0, 0};
    static const uint8_t kind_3[] = {0, 3, 0, 1, 'g'};
    group_record_read(&record, VIEW(group_key), VIEW(version_9), &arena);
    assert_int_equal(record.kind, GROUP_RECORD_POISONED);
    group_record_read(&record, VIEW(kind_3), VIEW(version_9), &arena);
    assert_int_equal(record.kind, GROUP_RECORD_OTHER);
    group_record_read(&record, NOTHING, VIEW(version_9), &arena);
    assert_int_equal(record.kind, GROUP_RECORD_POISONED);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(o7_offsets_are_written_in_kafkas_schema),
        cmocka_unit_test(o7_offsets_are_read_back),
        cmocka_unit_test(o7_an_expiry_is_kept_in_version_1),
        cmocka_unit_test(o7_a_group_is_read_and_written_in_kafkas_schema),
        cmocka_unit_test(whatever_is_cut_is_poisoned_and_named),
        cmocka_unit_test(unknown_versions_are_poisoned_and_other_kinds_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
