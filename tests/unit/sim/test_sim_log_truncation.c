/* SPDX-License-Identifier: Apache-2.0
 *
 * A truncation beside much that is not written: it does not wait for a writer that has time.
 */
#include "core/log/log_dir.h"
#include "io/mem.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define S       1000000000ULL
#define BATCHES 512U
#define SIZE    8000U
#define SLOW    100U /* times as slow as a good disk */
#define MOST_NS (S / 2)

struct haste {
    struct log_dir_options options;
    struct log_dir *dir;
    struct shard *sh;
    struct log_shard *ls;
    struct log *lg;
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
    bool done;
};

static void changed(struct log_change *change)
{
    struct haste *haste = container_of(change, struct haste, change);
    assert_int_equal(change->verdict, LOG_OK);
    assert_int_equal(haste->lg->end_offset, 1);
    haste->took_ns = io_now_ns(haste->sh->io) - haste->began_ns;
    haste->done = true;
}

static void appended(struct log_append *append)
{
    struct haste *haste = append->user;
    struct log_counts counts;
    assert_int_equal(append->verdict, LOG_OK);
    if (++haste->durable < BATCHES)
        return;
    log_shard_counts(haste->ls, &counts);
    haste->unwritten = (uint64_t)haste->lg->size_bytes - counts.segment_bytes;
    haste->began_ns = io_now_ns(haste->sh->io);
    haste->change = (struct log_change){.done = changed};
    log_truncate(haste->lg, &haste->change, 1);
}

static void append(struct haste *haste)
{
    uint32_t i = haste->asked++;
    uint8_t *bytes = haste->bytes + i * SIZE;
    test_batch(bytes, SIZE, i + 1, 1, 7, 0, (int32_t)i);
    haste->appends[i] = (struct log_append){.batch = span_of(&haste->pieces[i], bytes, SIZE),
                                            .append_time_ms = -1,
                                            .max_timestamp = LOG_KEEP,
                                            .done = appended,
                                            .user = haste};
    enum log_verdict verdict = log_append(haste->lg, &haste->appends[i]);
    assert_true(verdict == LOG_OK || verdict == LOG_WAIT);
}

/* Long after the first, which has made a checkpoint begin for lack of anything else to do. */
static void rest(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct haste *haste = container_of(timer, struct haste, timer);
    while (haste->asked < BATCHES)
        append(haste);
}

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    struct haste *haste = argument;
    struct log_error error;
    haste->options.fs = fs;
    haste->dir = log_dir_open(&haste->options, &error);
    *failed = haste->dir == NULL || !log_dir_recover(haste->dir, &error);
    return haste;
}

static void start(struct shard *sh, void *prepared)
{
    struct haste *haste = prepared;
    const struct log_id id = {.topic_id = "topic-id-0000001", .partition = 3};
    haste->sh = sh;
    haste->ls = log_shard_start(haste->dir, sh);
    haste->lg = log_new(haste->ls, &id, "orders", &log_config_default, 0);
    haste->timer = (struct timer){.fn = rest, .name = "script"};
    append(haste);
    timer_set(sh, &haste->timer, io_now_ns(sh->io) + 20 * S);
}

static bool is_done(void *argument)
{
    return ((const struct haste *)argument)->done;
}

static void truncation_hurries(void **state)
{
    (void)state;
    struct world_options options;
    struct haste *haste = calloc(1, sizeof(*haste));
    haste->bytes = calloc(BATCHES, SIZE);
    haste->options = (struct log_dir_options){.path = "/data/log",
                                              .may_format = true,
                                              .node_id = 1,
                                              .pid = 1,
                                              .shards = 1,
                                              .new_uuid = "a directory's id",
                                              .tail_bytes = 64U << 20,
                                              .cold_bytes = 1U << 20,
                                              .open_files_max = 4,
                                              .journal_bytes = 16U << 20};
    world_options_calm(&options, 1);
    struct world *world = world_new(&options);
    struct machine *machine = world_machine(world, "node");
    (void)!fs_mkdir(machine_fs(machine), "/data");
    machine_disk_slow(machine, SLOW);
    const struct program program = {
        .name = "log", .shards = 1, .prepare = prepare, .start = start, .argument = haste};
    assert_non_null(machine_start(machine, &program));
    (void)world_run_until(world, is_done, haste, world_now_ns(world) + 100 * S);
    printf("%llu KiB to be written first: %.3f s\n", (unsigned long long)haste->unwritten >> 10,
           (double)haste->took_ns / 1e9);
    assert_true(haste->done && haste->unwritten > 2U << 20);
    assert_true(haste->took_ns < MOST_NS);
    machine_crash(machine, CRASH_KILL);
    world_free(world);
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
