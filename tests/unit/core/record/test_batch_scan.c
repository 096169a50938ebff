/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/checkpoint.h"
#include "core/record/batch_scan.h"
#include "tests/unit/heap.h"
#include "tests/unit/log_batches.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BATCHES 4U
#define SIZE    300U

static void some_batches(uint8_t *to)
{
    for (uint32_t i = 0; i < BATCHES; i++) {
        test_batch(to + i * SIZE, SIZE, i + 1, 2, -1, 0, -1);
        batch_put_place(to + i * SIZE, 10 + 2 * i, 3);
    }
}

static struct batch_scan scan_of(const uint8_t *bytes, size_t len, size_t piece, bool *good)
{
    struct batch_scan scan;
    batch_scan_start(&scan, 10);
    scan.offset_upto = 10 + 2 * BATCHES;
    scan.epoch_upto = 3;
    *good = true;
    for (size_t at = 0; *good && at < len; at += piece)
        *good = batch_scan_feed(&scan, bytes + at, min_u64(piece, len - at));
    return scan;
}

static void whole_in_any_pieces(void **state)
{
    (void)state;
    uint8_t bytes[BATCHES * SIZE];
    some_batches(bytes);
    const size_t pieces[] = {1, 7, 60, 61, 62, SIZE, SIZE + 1, sizeof(bytes)};
    for (size_t i = 0; i < array_count(pieces); i++) {
        bool good;
        struct batch_scan scan = scan_of(bytes, sizeof(bytes), pieces[i], &good);
        assert_true(good);
        assert_true(batch_scan_is_whole(&scan));
        assert_int_equal(scan.offset_from, 10 + 2 * BATCHES);
    }
}

static void cut_is_not_whole(void **state)
{
    (void)state;
    uint8_t bytes[BATCHES * SIZE];
    some_batches(bytes);
    bool good;
    struct batch_scan scan = scan_of(bytes, sizeof(bytes) - 1, 100, &good);
    assert_true(good);
    assert_false(batch_scan_is_whole(&scan));
    assert_int_equal(scan.batch_at, (BATCHES - 1) * SIZE);
}

/* Every bit of a batch counts; in the last one an offset that lies is noticed too. */
static void any_bit_is_noticed(void **state)
{
    (void)state;
    uint8_t bytes[BATCHES * SIZE];
    some_batches(bytes);
    for (uint32_t bit = 0; bit < SIZE * 8; bit++) {
        uint32_t at = SIZE + bit / 8;
        bytes[at] ^= (uint8_t)(1U << bit % 8);
        bool good;
        struct batch_scan scan = scan_of(bytes, sizeof(bytes), 97, &good);
        /* A length that grew past the end has nothing to be compared with: not whole. */
        good = good && batch_scan_is_whole(&scan);
        /* An offset that only leaves a gap, or an epoch that was skipped, is right for all we know.
         */
        bool may_pass = bit / 8 == 7 || bit / 8 == BATCH_AT_LEADER_EPOCH + 3;
        if (good && !may_pass)
            fail_msg("bit %u of the batch is not noticed", bit);
        if (!good && scan.batch_at != SIZE && scan.batch_at != 2 * (uint64_t)SIZE)
            fail_msg("bit %u is noticed at %llu", bit, (unsigned long long)scan.batch_at);
        bytes[at] ^= (uint8_t)(1U << bit % 8);
    }
}

static void anchors_stay_near_the_end(void **state)
{
    (void)state;
    struct log_anchors anchors = {0};
    for (uint32_t at = 0; at < 10 * LOG_ANCHOR_STEP; at += 1000) {
        log_anchors_move(&anchors, at);
        assert_true(anchors.first <= anchors.second && anchors.second <= at);
        assert_true(at - anchors.first <= 2 * LOG_ANCHOR_STEP + 1000);
        assert_true(at < LOG_ANCHOR_STEP || at - anchors.first >= LOG_ANCHOR_STEP - 1000);
        assert_int_equal(anchors.first % 1000, 0);
    }
    assert_int_equal(log_anchor_of(&anchors, anchors.second + LOG_ANCHOR_STEP), anchors.second);
    assert_int_equal(log_anchor_of(&anchors, anchors.second + LOG_ANCHOR_STEP - 1), anchors.first);
    assert_int_equal(log_anchor_of(&anchors, anchors.second - 1), anchors.first);
    log_anchors_cut(&anchors, anchors.second);
    assert_true(anchors.first < anchors.second);
    log_anchors_cut(&anchors, anchors.first + 1);
    assert_int_equal(anchors.second, anchors.first);
    log_anchors_cut(&anchors, anchors.first - 1);
    assert_int_equal(anchors.first, LOG_NO_ANCHOR);
    log_anchors_move(&anchors, 4711);
    assert_int_equal(anchors.first, 4711);
}

/* Of two that overlap the one behind a gap is the damaged one, and until the next one has agreed it
 * is in doubt. */
static void overlap_blames_who_has_a_gap(void **state)
{
    (void)state;
    uint8_t bytes[BATCHES * SIZE];
    bool good;
    some_batches(bytes);
    batch_put_place(bytes + SIZE, 13, 3);
    struct batch_scan scan = scan_of(bytes, sizeof(bytes), 97, &good);
    assert_false(good);
    assert_int_equal(scan.batch_at, SIZE);
    some_batches(bytes);
    batch_put_place(bytes + 2 * SIZE, 13, 3);
    scan = scan_of(bytes, sizeof(bytes), 97, &good);
    assert_false(good);
    assert_int_equal(scan.batch_at, 2 * SIZE);
    some_batches(bytes);
    batch_put_place(bytes + SIZE, 13, 3);
    scan = scan_of(bytes, 2 * SIZE, 97, &good);
    assert_true(good && scan.doubt);
    assert_int_equal(scan.doubt_at, SIZE);
    batch_put_place(bytes + 2 * SIZE, 15, 3);
    scan = scan_of(bytes, 3 * SIZE, 97, &good);
    assert_true(good && !scan.doubt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_in_any_pieces),       cmocka_unit_test(cut_is_not_whole),
        cmocka_unit_test(any_bit_is_noticed),        cmocka_unit_test(overlap_blames_who_has_a_gap),
        cmocka_unit_test(anchors_stay_near_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
