/* SPDX-License-Identifier: Apache-2.0
 *
 * A topic is deleted and made again: the new log needs the directory that the old one still has.
 * And what is cut inside a block is never in one place only.
 */
#include "core/log/log_private.h"
#include "io/sim/sim.h"
#include "tests/unit/log_batches.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define S     1000000000ULL
#define PATH  "/data/orders-0"
#define BYTES 3000U

struct test {
    struct world *world;
    struct machine *machine;
    struct process *process;
    struct log_dir_options options;
    struct log_dir *dir;
    struct log_shard *ls;
    struct log *old;
    struct log *new;
    struct log_change deletion;
    bool deleted;
    bool stopped;
    int64_t recovered_end;
    struct log_append append;
    struct piece piece;
    uint8_t batch[BYTES];
};

static struct log_id id_of(uint8_t number)
{
    return (struct log_id){.topic_id = {number}};
}

/* ---- the program: one shard with one log ---- */

static void *prepare(struct fs *fs, void *argument, bool *failed)
{
    struct test *t = argument;
    struct log_error error;
    t->options.fs = fs;
    t->dir = log_dir_open(&t->options, &error);
    *failed = t->dir == NULL || !log_dir_recover(t->dir, &error);
    if (*failed)
        print_message("%s\n", error.text);
    return t;
}

static void start(struct shard *sh, void *prepared)
{
    struct test *t = prepared;
    struct log_id id = id_of(1);
    sh->user = t;
    t->ls = log_shard_start(t->dir, sh);
    t->new = NULL;
    t->stopped = false;
    if (t->dir->recovered_count == 0) {
        t->old = log_new(t->ls, &id, "orders", &log_config_default, 0);
    } else {
        t->recovered_end = t->dir->recovered[0].end_offset;
        t->old = log_adopt(t->ls, &t->dir->recovered[0], &log_config_default);
    }
}

static void on_stopped(void *argument)
{
    struct test *t = argument;
    if (t->old != NULL)
        log_free(t->old);
    if (t->new != NULL)
        log_free(t->new);
    struct shard *sh = t->ls->sh;
    log_shard_free(t->ls);
    t->stopped = true;
    shard_stop(sh);
}

static void end(void *prepared)
{
    log_dir_close(((struct test *)prepared)->dir);
}

static void stop(struct shard *sh, void *argument)
{
    struct test *t = argument;
    (void)sh;
    log_shard_stop(t->ls, on_stopped, t);
}

static void on_append(struct log_append *op)
{
    assert_int_equal(op->verdict, LOG_OK);
}

static void append(struct shard *sh, void *argument)
{
    struct test *t = argument;
    (void)sh;
    test_batch(t->batch, BYTES, 1, 1, -1, -1, -1);
    t->append = (struct log_append){.batch = span_of(&t->piece, t->batch, BYTES),
                                    .append_time_ms = -1,
                                    .max_timestamp = LOG_KEEP,
                                    .done = on_append};
    assert_int_equal(log_append(t->new != NULL ? t->new : t->old, &t->append), LOG_OK);
}

static void on_deleted(struct log_change *change)
{
    struct test *t = change->user;
    t->deleted = true;
    log_free(t->old);
    t->old = NULL;
}

static void delete_and_make_again(struct shard *sh, void *argument)
{
    struct test *t = argument;
    struct log_id id = id_of(2);
    t->deletion = (struct log_change){.done = on_deleted, .user = t};
    log_delete(t->old, &t->deletion);
    t->new = log_new(t->ls, &id, "orders", &log_config_default, 0);
    append(sh, argument);
}

/* ---- running it ---- */

static bool never(void *argument)
{
    (void)argument;
    return false;
}

static bool is_stopped(void *argument)
{
    return ((struct test *)argument)->stopped;
}

static void seconds(struct test *t, uint64_t count)
{
    (void)world_run_until(t->world, never, t, world_now_ns(t->world) + count * S);
}

static void life_begin(struct test *t)
{
    const struct program program = {
        .name = "log", .shards = 1, .prepare = prepare, .start = start, .stop = end, .argument = t};
    t->process = machine_start(t->machine, &program);
    assert_non_null(t->process);
}

static void life_stop(struct test *t)
{
    process_call(t->process, 0, stop, t);
    assert_true(world_run_until(t->world, is_stopped, t, world_now_ns(t->world) + 30 * S));
    seconds(t, 1);
    assert_int_equal(process_state(t->process), PROCESS_STOPPED);
    assert_int_equal(process_memory(t->process), 0);
}

/* One log whose directory is there. */
static void test_begin(struct test *t, uint64_t seed)
{
    struct world_options options;
    world_options_calm(&options, seed);
    options.disk.block_lost_one_in = 1;
    *t = (struct test){.options = {.path = "/data",
                                   .may_format = true,
                                   .new_uuid = {7},
                                   .node_id = 1,
                                   .pid = 1,
                                   .shards = 1,
                                   .tail_bytes = 1U << 20,
                                   .cold_bytes = 1U << 20,
                                   .journal_bytes = 65536}};
    t->world = world_new(&options);
    t->machine = world_machine(t->world, "node");
    life_begin(t);
    process_call(t->process, 0, append, t);
    seconds(t, 7); /* a checkpoint writes it */
}

static void fail_names(struct test *t, int error, uint32_t times)
{
    struct disk_fault fault = {.calls = DISK_NAMES, .times = times, .error = error};
    (void)snprintf(fault.prefix, sizeof(fault.prefix), "%s", PATH);
    machine_disk_fault(t->machine, &fault);
}

static void a_new_log_waits_for_the_directory(void **state)
{
    (void)state;
    struct test t;
    test_begin(&t, 1);
    fail_names(&t, -ENOSPC, 12); /* the old one goes at the thirteenth attempt */
    process_call(t.process, 0, delete_and_make_again, &t);
    seconds(&t, 1);
    assert_false(t.deleted);
    seconds(&t, 8);
    assert_true(t.deleted);
    assert_false(log_shard_offline(t.ls));
    assert_int_equal(log_body_of(t.new)->active->written, BYTES);
    life_stop(&t);
    world_free(t.world);
}

static void a_directory_that_cannot_be_removed_is_a_failure(void **state)
{
    (void)state;
    struct test t;
    test_begin(&t, 2);
    fail_names(&t, -EIO, 1);
    process_call(t.process, 0, delete_and_make_again, &t);
    seconds(&t, 8);
    assert_true(t.deleted);
    assert_true(log_shard_offline(t.ls));
    life_stop(&t);
    world_free(t.world);
}

static void a_stop_ends_though_a_deletion_does_not(void **state)
{
    (void)state;
    struct test t;
    test_begin(&t, 3);
    fail_names(&t, -ENOSPC, UINT32_MAX);
    process_call(t.process, 0, delete_and_make_again, &t);
    seconds(&t, 8);
    assert_false(t.deleted);
    life_stop(&t);
    machine_disk_heal(t.machine);
    life_begin(&t);
    assert_int_equal(t.recovered_end, 1);
    assert_memory_equal(&t.old->id, &(struct log_id){.topic_id = {2}}, sizeof(struct log_id));
    seconds(&t, 7);
    life_stop(&t);
    world_free(t.world);
}

/* ---- cutting ---- */

/* Power is lost in the n-th call of a stop, which cuts the file to 3000 bytes, for each n there is;
 * the disk is the worst there may be. */
static void a_cut_that_is_cut_off_loses_nothing(void **state)
{
    (void)state;
    unsigned struck = 0;
    for (uint32_t call = 1; call <= 16; call++) {
        for (uint64_t seed = 1; seed <= 8; seed++) {
            struct test t;
            test_begin(&t, seed);
            machine_crash_in_call(t.machine, CRASH_POWER, call);
            process_call(t.process, 0, stop, &t);
            seconds(&t, 2);
            struck += process_state(t.process) == PROCESS_CRASHED;
            machine_crash_in_call(t.machine, CRASH_POWER, 0);
            t.recovered_end = 0;
            life_begin(&t); /* it reads and checks the batch */
            assert_int_equal(t.recovered_end, 1);
            seconds(&t, 1);
            life_stop(&t);
            world_free(t.world);
        }
    }
    assert_in_range(struck, 40, 127); /* and some stops have fewer calls */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_waits_for_the_directory),
        cmocka_unit_test(a_directory_that_cannot_be_removed_is_a_failure),
        cmocka_unit_test(a_stop_ends_though_a_deletion_does_not),
        cmocka_unit_test(a_cut_that_is_cut_off_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
