/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/producer_state.h"

#include "tests/unit/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int64_t next_offset;

static enum producer_verdict check(struct producer_state *ps, int64_t id, int16_t epoch,
                                   int32_t base, int32_t last)
{
    struct producer_batch original;
    return producer_check(ps, id, epoch, base, last, &original);
}

static void absorb(struct producer_state *ps, int64_t id, int16_t epoch, int32_t base, int32_t last)
{
    struct producer_batch batch = {.base_sequence = base,
                                   .last_sequence = last,
                                   .base_offset = next_offset,
                                   .last_offset = next_offset + 9,
                                   .timestamp = 1000 + next_offset};
    next_offset += 10;
    producer_absorb(ps, id, epoch, &batch, 5000 + next_offset, 8);
}

static void unknown_producer_may_begin_anywhere(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1);
    assert_int_equal(check(&ps, 7, 0, 42, 50), PRODUCER_OK);
    absorb(&ps, 7, 0, 42, 50);
    assert_int_equal(check(&ps, 7, 0, 51, 51), PRODUCER_OK);
    assert_int_equal(check(&ps, 7, 0, 52, 52), PRODUCER_OUT_OF_ORDER);
    assert_int_equal(check(&ps, 7, 0, 50, 50), PRODUCER_OUT_OF_ORDER);
    producer_state_fini(&ps);
}

static void the_last_five_batches_are_duplicates(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 2);
    next_offset = 100;
    for (int32_t n = 0; n < 7; n++)
        absorb(&ps, 3, 1, n * 2, n * 2 + 1);
    struct producer_batch original;
    for (int32_t n = 2; n < 7; n++) {
        assert_int_equal(producer_check(&ps, 3, 1, n * 2, n * 2 + 1, &original),
                         PRODUCER_DUPLICATE);
        assert_int_equal(original.base_offset, 100 + n * 10);
        assert_int_equal(original.timestamp, 1100 + n * 10);
    }
    assert_int_equal(check(&ps, 3, 1, 2, 3), PRODUCER_OUT_OF_ORDER);
    /* Both ends must match. */
    assert_int_equal(check(&ps, 3, 1, 12, 12), PRODUCER_OUT_OF_ORDER);
    producer_state_fini(&ps);
}

static void epochs(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 3);
    absorb(&ps, 3, 5, 0, 0);
    assert_int_equal(check(&ps, 3, 4, 1, 1), PRODUCER_INVALID_EPOCH);
    assert_int_equal(check(&ps, 3, 6, 1, 1), PRODUCER_OUT_OF_ORDER);
    assert_int_equal(check(&ps, 3, 6, 0, 0), PRODUCER_OK);
    absorb(&ps, 3, 6, 0, 0);
    assert_int_equal(check(&ps, 3, 6, 0, 0), PRODUCER_DUPLICATE);
    assert_int_equal(check(&ps, 3, 5, 1, 1), PRODUCER_INVALID_EPOCH);
    assert_int_equal(check(&ps, 3, 6, 1, 1), PRODUCER_OK);
    producer_state_fini(&ps);
}

static void sequences_wrap(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 4);
    int32_t last = producer_last_sequence(INT32_MAX - 1, 1);
    assert_int_equal(last, INT32_MAX);
    absorb(&ps, 3, 0, INT32_MAX - 1, last);
    assert_int_equal(check(&ps, 3, 0, 0, 0), PRODUCER_OK);
    assert_int_equal(producer_last_sequence(INT32_MAX - 1, 4), 2);
    absorb(&ps, 3, 0, INT32_MAX - 1, 2);
    assert_int_equal(check(&ps, 3, 0, 3, 3), PRODUCER_OK);
    producer_state_fini(&ps);
}

static void the_one_idle_longest_makes_place(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 5);
    for (int64_t id = 0; id < 8; id++)
        absorb(&ps, id, 0, 0, 0);
    absorb(&ps, 0, 0, 1, 1);
    absorb(&ps, 100, 0, 0, 0);
    assert_int_equal(ps.count, 8);
    assert_non_null(producer_find(&ps, 0));
    assert_null(producer_find(&ps, 1));
    assert_non_null(producer_find(&ps, 2));
    producer_state_fini(&ps);
}

static void truncation_forgets_what_is_gone(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 6);
    next_offset = 0;
    absorb(&ps, 1, 0, 0, 0); /* 0..9 */
    absorb(&ps, 2, 0, 0, 0); /* 10..19 */
    absorb(&ps, 1, 0, 1, 1); /* 20..29 */
    producer_truncate(&ps, 10);
    assert_int_equal(ps.count, 1);
    assert_int_equal(check(&ps, 1, 0, 1, 1), PRODUCER_OK);
    assert_int_equal(check(&ps, 1, 0, 0, 0), PRODUCER_DUPLICATE);
    producer_state_fini(&ps);
}

static void expiry(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 7);
    next_offset = 0;
    for (int64_t id = 0; id < 6; id++)
        absorb(&ps, id, 0, 0, 0); /* used at 5010, 5020, ... */
    producer_expire(&ps, 5040);
    assert_int_equal(ps.count, 3);
    for (int64_t id = 0; id < 6; id++)
        assert_int_equal(producer_find(&ps, id) != NULL, id >= 3);
    absorb(&ps, 50, 0, 0, 0);
    assert_non_null(producer_find(&ps, 50));
    producer_expire(&ps, INT64_MAX);
    assert_int_equal(ps.count, 0);
    producer_state_fini(&ps);
}

static void survives_encoding(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 8);
    for (int64_t id = 0; id < 5; id++) {
        for (int32_t n = 0; n <= id; n++)
            absorb(&ps, id * 1000, 2, n, n);
    }
    size_t size = producer_encoded_size(&ps);
    uint8_t *bytes = mem_alloc(size);
    struct bytes_out out = bytes_out_of(bytes, size);
    producer_encode(&ps, INT64_MAX, &out);
    assert_false(out.overrun);
    size = (size_t)(out.at - bytes);

    struct producer_state copy;
    producer_state_init(&copy, 99);
    struct bytes_in in = bytes_in_of(bytes, size);
    assert_true(producer_decode(&copy, &in));
    assert_int_equal(copy.count, 5);
    for (int64_t id = 0; id < 5; id++) {
        assert_int_equal(check(&copy, id * 1000, 2, (int32_t)id, (int32_t)id), PRODUCER_DUPLICATE);
        assert_int_equal(check(&copy, id * 1000, 2, (int32_t)id + 1, (int32_t)id + 1), PRODUCER_OK);
    }
    assert_int_equal(copy.producers[copy.oldest - 1].id, 0);
    producer_state_fini(&copy);

    for (size_t cut = 0; cut < size; cut++) {
        producer_state_init(&copy, 1);
        in = bytes_in_of(bytes, cut);
        assert_false(producer_decode(&copy, &in));
        producer_state_fini(&copy);
    }
    mem_free(bytes);
    producer_state_fini(&ps);
}

/* A checkpoint must not know of batches that a crash can still take away, and must know five that
 * it cannot. */
static void only_durable_batches_are_encoded(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 9);
    next_offset = 0;
    for (int32_t n = 0; n < 10; n++)
        absorb(&ps, 1, 0, n, n);
    absorb(&ps, 2, 0, 0, 0); /* 100..109 */
    uint8_t bytes[1024];
    struct bytes_out out = bytes_out_of(bytes, sizeof(bytes));
    producer_encode(&ps, 70, &out);
    assert_false(out.overrun);
    struct producer_state copy;
    producer_state_init(&copy, 10);
    struct bytes_in in = bytes_in_of(bytes, (size_t)(out.at - bytes));
    assert_true(producer_decode(&copy, &in));
    assert_int_equal(copy.count, 1);
    for (int32_t n = 2; n < 7; n++)
        assert_int_equal(check(&copy, 1, 0, n, n), PRODUCER_DUPLICATE);
    assert_int_equal(check(&copy, 1, 0, 7, 7), PRODUCER_OK);
    assert_int_equal(check(&copy, 1, 0, 1, 1), PRODUCER_OUT_OF_ORDER);
    producer_state_fini(&copy);
    producer_state_fini(&ps);
}

/* Against a plain array: lookups stay right through thousands of evictions. */
static void many_ids(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 0x1234);
    int64_t ids[64];
    uint64_t seed = 42;
    for (unsigned n = 0; n < 20000; n++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        int64_t id = (int64_t)((seed >> 33) % 500);
        struct producer_batch batch = {.last_offset = n};
        producer_absorb(&ps, id, 0, &batch, n, 64);
        ids[n % 64] = id;
        assert_true(ps.count <= 64);
        assert_int_equal(ps.producers[ps.newest - 1].id, id);
        /* The last 64 appends touched at most 64 ids: all of them are known. */
        for (unsigned k = 0; k < 64 && k <= n; k += 7)
            assert_non_null(producer_find(&ps, ids[k]));
    }
    producer_state_fini(&ps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_producer_may_begin_anywhere),
        cmocka_unit_test(the_last_five_batches_are_duplicates),
        cmocka_unit_test(epochs),
        cmocka_unit_test(sequences_wrap),
        cmocka_unit_test(the_one_idle_longest_makes_place),
        cmocka_unit_test(truncation_forgets_what_is_gone),
        cmocka_unit_test(expiry),
        cmocka_unit_test(survives_encoding),
        cmocka_unit_test(only_durable_batches_are_encoded),
        cmocka_unit_test(many_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
