/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of a log's aborted transactions: what it answers, and its file.
 */
#include "core/log/aborted.h"
#include "io/mem.h"
#include "io/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOG "/orders-0"

static const uint8_t uuid[16] = "0123456789abcdef";

/* Producers 1, 2 and 3: 2's is long and holds two of the others'. */
static struct aborted_list example(void)
{
    static const struct aborted_transaction items[] = {
        {1, 10, 14}, {3, 16, 20}, {1, 18, 25}, {2, 12, 40}, {1, 50, 60},
    };
    struct aborted_transaction *copy = mem_alloc(sizeof(items));
    memcpy(copy, items, sizeof(items));
    return aborted_of(copy, (uint32_t)array_count(items));
}

static bool has(const struct aborted_list *list, int64_t producer_id, int64_t offset,
                uint16_t attributes)
{
    const struct batch_header header = {
        .producer_id = producer_id, .base_offset = offset, .attributes = attributes};
    return aborted_has(list, &header);
}

static void test_has(void **state)
{
    (void)state;
    struct aborted_list list = example();
    assert_true(has(&list, 1, 10, BATCH_TRANSACTIONAL));
    assert_true(has(&list, 1, 13, BATCH_TRANSACTIONAL));
    assert_true(has(&list, 2, 39, BATCH_TRANSACTIONAL));
    assert_true(has(&list, 1, 25, BATCH_TRANSACTIONAL));
    assert_false(has(&list, 1, 9, BATCH_TRANSACTIONAL));
    assert_false(has(&list, 1, 15, BATCH_TRANSACTIONAL)); /* between two of its own */
    assert_false(has(&list, 1, 30, BATCH_TRANSACTIONAL));
    assert_false(has(&list, 1, 61, BATCH_TRANSACTIONAL));
    assert_false(has(&list, 4, 20, BATCH_TRANSACTIONAL));
    assert_false(has(&list, 1, 10, 0));
    assert_false(has(&list, 1, 14, BATCH_TRANSACTIONAL | BATCH_CONTROL));
    aborted_fini(&list);
    assert_false(has(&list, 1, 10, BATCH_TRANSACTIONAL));
}

static void expect(const struct aborted_list *list, int64_t from, int64_t upto, uint32_t most,
                   const int64_t *firsts, uint32_t count)
{
    uint32_t found;
    struct aborted_transaction *items = aborted_between(list, from, upto, most, &found);
    assert_int_equal(found, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(items[i].first_offset, firsts[i]);
    mem_free(items);
}

static void test_between(void **state)
{
    (void)state;
    struct aborted_list list = example();
    expect(&list, 0, 100, 100, (const int64_t[]){10, 12, 16, 18, 50}, 5);
    expect(&list, 0, 12, 100, (const int64_t[]){10}, 1);
    expect(&list, 0, 13, 100, (const int64_t[]){10, 12}, 2);
    expect(&list, 15, 17, 100, (const int64_t[]){12, 16}, 2);
    expect(&list, 30, 40, 100, (const int64_t[]){12}, 1);
    expect(&list, 40, 41, 100, (const int64_t[]){12}, 1); /* its marker is no reason to lose it */
    expect(&list, 41, 50, 100, NULL, 0);
    expect(&list, 61, 100, 100, NULL, 0);
    /* Who gets two batches at most gets nothing behind the third marker. */
    expect(&list, 0, 100, 2, (const int64_t[]){10, 12, 16, 18}, 4);
    expect(&list, 0, 100, 1, (const int64_t[]){10, 12, 16, 18}, 4);
    expect(&list, 0, 100, 0, (const int64_t[]){10, 12}, 2);
    aborted_fini(&list);
}

/* The same as looking at each of them. */
static void test_random(void **state)
{
    (void)state;
    uint64_t seed = 4711;
    for (uint32_t round = 0; round < 200; round++) {
        struct aborted_transaction *items = mem_alloc(40 * sizeof(items[0]));
        int64_t last = 0;
        for (uint32_t i = 0; i < 40; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            last += 1 + (int64_t)((seed >> 33) % 20);
            items[i] = (struct aborted_transaction){.producer_id = i,
                                                    .first_offset =
                                                        max_i64(0, last - (int64_t)(seed >> 60)),
                                                    .last_offset = last};
        }
        struct aborted_list list = aborted_of(items, 40);
        for (int64_t from = 0; from < last; from += 7) {
            uint32_t wanted = 0;
            uint32_t found;
            for (uint32_t i = 0; i < 40; i++)
                wanted += items[i].last_offset >= from && items[i].first_offset < from + 30;
            mem_free(aborted_between(&list, from, from + 30, 1000, &found));
            assert_int_equal(found, wanted);
        }
        aborted_fini(&list);
    }
}

static void test_file(void **state)
{
    (void)state;
    struct world_options options;
    world_options_rough(&options, 1);
    struct world *world = world_new(&options);
    struct fs *fs = machine_fs(world_machine(world, "node"));
    struct log_error error;
    struct aborted_list list = example();
    struct aborted_list back;
    assert_int_equal(fs_mkdir(fs, LOG), 0);
    assert_false(aborted_read(fs, LOG, uuid, &back, &error)); /* a log that has to have one */
    assert_true(aborted_write(fs, LOG, uuid, &list, &error));
    assert_true(aborted_read(fs, LOG, uuid, &back, &error));
    assert_int_equal(back.count, list.count);
    assert_memory_equal(back.items, list.items, list.count * sizeof(list.items[0]));
    assert_int_equal(back.span_max, list.span_max);
    aborted_fini(&back);
    assert_false(aborted_read(fs, LOG, (const uint8_t *)"another one's...", &back, &error));
    /* No byte may be another one. */
    for (uint64_t at = 0; at < FS_BLOCK + list.count * 24;
         at += at < 64 || at >= FS_BLOCK ? 1 : 64) {
        uint8_t byte;
        int file = fs_open(fs, LOG "/" ABORTED_NAME, FS_WRITE);
        assert_int_equal(fs_read(fs, file, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(fs_write(fs, file, &byte, 1, at), 1);
        assert_false(aborted_read(fs, LOG, uuid, &back, &error));
        assert_int_equal(error.kind, LOG_ERROR_DAMAGED);
        byte ^= 1;
        assert_int_equal(fs_write(fs, file, &byte, 1, at), 1);
        fs_close(fs, file);
    }
    int file = fs_open(fs, LOG "/" ABORTED_NAME, FS_WRITE);
    assert_int_equal(fs_truncate(fs, file, FS_BLOCK + 24), 0);
    fs_close(fs, file);
    assert_false(aborted_read(fs, LOG, uuid, &back, &error));
    aborted_fini(&list);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
