/* SPDX-License-Identifier: Apache-2.0
 *
 * A truncation beside much that is not written: it does not wait for a writer that has time.
 */
#include "tests/unit/sim/one_log.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCHES 512U
#define SIZE    8000U
#define SLOW    100U /* times as slow as a good disk */
#define MOST_NS (S / 2)

struct haste {
    struct one_log one;
    struct timer timer;
    struct log_append appends[BATCHES];
    struct piece pieces[BATCHES];
    uint8_t *bytes;
    uint32_t asked;
    uint32_t durable;
    struct log_change change;
    uint64_t began_ns;
    uint64_t took_ns;
    uint64_t unwritten; /* when the truncation was asked for */
};

static void changed(struct log_change *change)
{
    struct haste *haste = container_of(change, struct haste, change);
    assert_int_equal(change->verdict, LOG_OK);
    assert_int_equal(haste->one.lg->end_offset, 1);
    haste->took_ns = io_now_ns(haste->one.sh->io) - haste->began_ns;
    haste->one.done = true;
}

static void appended(struct log_append *append)
{
    struct haste *haste = append->user;
    struct log_counts counts;
    assert_int_equal(append->verdict, LOG_OK);
    if (++haste->durable < BATCHES)
        return;
    log_shard_counts(haste->one.ls, &counts);
    haste->unwritten = (uint64_t)haste->one.lg->size_bytes - counts.segment_bytes;
    haste->began_ns = io_now_ns(haste->one.sh->io);
    haste->change = (struct log_change){.done = changed};
    log_truncate(haste->one.lg, &haste->change, 1);
}

static void append(struct haste *haste)
{
    uint32_t i = haste->asked++;
    uint8_t *bytes = haste->bytes + i * SIZE;
    test_batch(bytes, SIZE, i + 1, 1, 7, 0, (int32_t)i);
    one_log_append(&haste->one, &haste->appends[i], &haste->pieces[i], bytes, SIZE, appended,
                   haste);
}

/* Long after the first, which has made a checkpoint begin for lack of anything else to do. */
static void rest(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct haste *haste = container_of(timer, struct haste, timer);
    while (haste->asked < BATCHES)
        append(haste);
}

static void begin(struct one_log *one)
{
    struct haste *haste = container_of(one, struct haste, one);
    haste->timer = (struct timer){.fn = rest, .name = "script"};
    append(haste);
    timer_set(one->sh, &haste->timer, io_now_ns(one->sh->io) + 20 * S);
}

static void truncation_hurries(void **state)
{
    (void)state;
    struct haste *haste = calloc(1, sizeof(*haste));
    haste->bytes = calloc(BATCHES, SIZE);
    one_log_init(&haste->one, 64U << 20, 1U << 20, NULL);
    machine_disk_slow(haste->one.machine, SLOW);
    one_log_run(&haste->one, begin, 100 * S);
    printf("%llu KiB to be written first: %.3f s\n", (unsigned long long)haste->unwritten >> 10,
           (double)haste->took_ns / 1e9);
    assert_true(haste->unwritten > 2U << 20);
    assert_true(haste->took_ns < MOST_NS);
    free(haste->bytes);
    free(haste);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncation_hurries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
