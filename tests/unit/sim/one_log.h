/* SPDX-License-Identifier: Apache-2.0
 *
 * One log on one shard of a simulated machine, in a directory of its own, for a test that runs a
 * script on it: the test begins in the shard's first turn and says when it is done.
 */
#pragma once

#include "core/log/log_dir.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define S 1000000000ULL

struct one_log {
    struct world *world;
    struct machine *machine;
    struct log_dir_options options;
    struct log_dir *dir;
    struct shard *sh;
    struct log_shard *ls;
    struct log *lg;
    void (*begin)(struct one_log *one);
    bool done;
};

static inline void one_log_init(struct one_log *one, uint64_t tail_bytes, uint64_t cold_bytes,
                                const char *mutation)
{
    struct world_options options;
    one->options = (struct log_dir_options){.path = "/data/log",
                                            .may_format = true,
                                            .node_id = 1,
                                            .pid = 1,
                                            .shards = 1,
                                            .new_uuid = "a directory's id",
                                            .tail_bytes = tail_bytes,
                                            .cold_bytes = cold_bytes,
                                            .open_files_max = 4,
                                            .journal_bytes = 16U << 20};
    world_options_calm(&options, 1);
    options.mutation = mutation;
    one->world = world_new(&options);
    one->machine = world_machine(one->world, "node");
    assert_int_equal(fs_mkdir(machine_fs(one->machine), "/data"), 0);
}

static inline void *one_log_prepare(struct fs *fs, void *argument, bool *failed)
{
    struct one_log *one = argument;
    struct log_error error;
    one->options.fs = fs;
    one->dir = log_dir_open(&one->options, &error);
    *failed = one->dir == NULL || !log_dir_recover(one->dir, &error);
    return one;
}

static inline void one_log_start(struct shard *sh, void *prepared)
{
    struct one_log *one = prepared;
    const struct log_id id = {.topic_id = "topic-id-0000001", .partition = 3};
    one->sh = sh;
    one->ls = log_shard_start(one->dir, sh);
    one->lg = log_new(one->ls, &id, "orders", &log_config_default, 0);
    one->begin(one);
}

static inline bool one_log_is_done(void *argument)
{
    return ((const struct one_log *)argument)->done;
}

/* To the end of the script. */
static inline void one_log_run(struct one_log *one, void (*begin)(struct one_log *one),
                               uint64_t limit_ns)
{
    const struct program program = {.name = "log",
                                    .shards = 1,
                                    .prepare = one_log_prepare,
                                    .start = one_log_start,
                                    .argument = one};
    one->begin = begin;
    assert_non_null(machine_start(one->machine, &program));
    assert_true(
        world_run_until(one->world, one_log_is_done, one, world_now_ns(one->world) + limit_ns));
    machine_crash(one->machine, CRASH_KILL);
    world_free(one->world);
}

static inline void one_log_append(struct one_log *one, struct log_append *append,
                                  struct piece *piece, const uint8_t *batch, uint32_t size,
                                  void (*done)(struct log_append *append), void *user)
{
    *append = (struct log_append){.batch = span_of(piece, batch, size),
                                  .append_time_ms = -1,
                                  .max_timestamp = LOG_KEEP,
                                  .done = done,
                                  .user = user};
    enum log_verdict verdict = log_append(one->lg, append);
    assert_true(verdict == LOG_OK || verdict == LOG_WAIT);
}
