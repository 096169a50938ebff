/* SPDX-License-Identifier: Apache-2.0
 *
 * The log on a real directory: stop and start, kill -9, and what it costs. The measurement runs
 * when LOG_BENCH is set (seconds per row); the promise itself is tested under the simulated world.
 */
#include "core/log/checkpoint_run.h"
#include "core/log/format.h"
#include "core/log/log_dir.h"
#include "core/log/segment.h"
#include "io/mem.h"
#include "io/threads.h"
#include "tests/unit/log_batches.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PARTITIONS_MAX 288

static char root[64];

struct node {
    struct shard_group *group;
    struct io *io;
    struct shard *sh;
    struct log_dir *dir;
    struct log_shard *ls;
    struct log *logs[PARTITIONS_MAX];
    uint32_t count;
    bool stopped;
};

static struct log_id id_of(uint32_t partition)
{
    struct log_id id = {.topic_id = "topic-id-0000001", .partition = (int32_t)partition};
    return id;
}

/* Calls on a log must come from a turn of its shard: this runs fn in one. */
struct in_turn {
    struct task task;
    void (*fn)(struct node *node);
    struct node *node;
    bool done;
};

static void in_turn_run(struct shard *sh, struct task *task)
{
    (void)sh;
    struct in_turn *turn = container_of(task, struct in_turn, task);
    turn->fn(turn->node);
    turn->done = true;
}

static bool nothing_pending(void *argument)
{
    (void)argument;
    return false;
}

/* The ring runs what has completed only while the shard waits. */
static void turn(struct node *node)
{
    if (!shard_turn(node->sh))
        io_wait(node->io, io_now_ns(node->io) + 1000000, nothing_pending, NULL);
}

static void turns_until(struct node *node, const bool *done)
{
    while (!*done)
        turn(node);
}

static void in_turn(struct node *node, void (*fn)(struct node *node))
{
    struct in_turn turn = {.task = {.fn = in_turn_run, .name = "test"}, .fn = fn, .node = node};
    shard_ready(node->sh, &turn.task);
    turns_until(node, &turn.done);
}

static void node_begin(struct node *node)
{
    node->ls = log_shard_start(node->dir, node->sh);
    for (uint32_t i = 0; i < node->dir->recovered_count; i++) {
        struct recovered_log *recovered = &node->dir->recovered[i];
        uint32_t partition = (uint32_t)recovered->id.partition;
        node->logs[partition] = log_adopt(node->ls, recovered, &log_config_default);
    }
    for (uint32_t i = 0; i < node->count; i++) {
        struct log_id id = id_of(i);
        if (node->logs[i] == NULL)
            node->logs[i] = log_new(node->ls, &id, "orders", &log_config_default, 0);
    }
}

/* What opening and recovering the directory comes to. */
static bool node_try(struct node *node, uint32_t count, struct log_error *error)
{
    memset(node, 0, sizeof(*node));
    node->count = count;
    char refusal[256];
    const struct io_options io = {.receive_pool_bytes = 1U << 20};
    node->group = shard_group_new(1, SHARD_CREDITS);
    node->sh = shard_of(node->group, 0);
    node->io = io_open(&io, refusal, sizeof(refusal));
    assert_non_null(node->io);
    shard_init(node->sh, node->io);
    struct log_dir_options options = {.path = root,
                                      .fs = io_fs(node->io),
                                      .may_format = true,
                                      .node_id = 1,
                                      .pid = (uint32_t)getpid(),
                                      .shards = 1,
                                      .tail_bytes = 128U << 20,
                                      .cold_bytes = 4U << 20};
    uint64_t salt = (uint64_t)getpid() * 1000003U + (uint64_t)clock();
    memcpy(options.new_uuid, &salt, 8);
    node->dir = log_dir_open(&options, error);
    return node->dir != NULL && log_dir_recover(node->dir, error);
}

static void node_open(struct node *node, uint32_t count)
{
    struct log_error error;
    if (!node_try(node, count, &error))
        fail_msg("%s", error.text);
    in_turn(node, node_begin);
}

static void on_stopped(void *argument)
{
    *(bool *)argument = true;
}

static void node_stop(struct node *node)
{
    log_shard_stop(node->ls, on_stopped, &node->stopped);
}

static void node_free(struct node *node)
{
    for (uint32_t i = 0; i < node->count; i++)
        log_free(node->logs[i]);
    log_shard_free(node->ls);
}

static void node_fini(struct node *node)
{
    log_dir_close(node->dir);
    shard_fini(node->sh);
    io_close_all(node->io);
    shard_group_free(node->group);
}

static void node_close(struct node *node)
{
    in_turn(node, node_stop);
    turns_until(node, &node->stopped);
    in_turn(node, node_free);
    node_fini(node);
}

/* ---- appending in closed loops ---- */

struct loop {
    struct log_append op;
    struct piece piece;
    struct node *node;
    uint32_t partition;
    uint8_t *batch;
    uint32_t size;
    uint64_t acked; /* batches */
    uint64_t limit;
};

static struct loop loops[PARTITIONS_MAX];

static uint64_t now_ns(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000U + (uint64_t)at.tv_nsec;
}

static void loop_done(struct log_append *op);

static void loop_append(struct loop *loop)
{
    loop->op = (struct log_append){.batch = span_of(&loop->piece, loop->batch, loop->size),
                                   .append_time_ms = -1,
                                   .max_timestamp = LOG_KEEP,
                                   .done = loop_done};
    enum log_verdict verdict = log_append(loop->node->logs[loop->partition], &loop->op);
    assert_true(verdict == LOG_OK || verdict == LOG_WAIT);
}

static void loop_done(struct log_append *op)
{
    struct loop *loop = container_of(op, struct loop, op);
    assert_int_equal(op->verdict, LOG_OK);
    loop->acked++;
    if (loop->acked < loop->limit)
        loop_append(loop);
}

static void loops_begin(struct node *node)
{
    for (uint32_t i = 0; i < node->count; i++)
        loop_append(&loops[i]);
}

static void loops_init(struct node *node, uint32_t size, uint64_t limit)
{
    for (uint32_t i = 0; i < node->count; i++) {
        loops[i] = (struct loop){.node = node, .partition = i, .size = size, .limit = limit};
        loops[i].batch = malloc(size);
        test_batch(loops[i].batch, size, i, 1, -1, -1, -1);
    }
}

static void loops_fini(struct node *node)
{
    for (uint32_t i = 0; i < node->count; i++)
        free(loops[i].batch);
}

static bool loops_finished(const struct node *node)
{
    for (uint32_t i = 0; i < node->count; i++) {
        if (loops[i].acked < loops[i].limit)
            return false;
    }
    return true;
}

/* ---- reading back ---- */

struct reading {
    struct log_find find;
    struct log_pin pin;
    struct node *node;
    uint32_t partition;
    uint64_t got; /* bytes of this find */
    uint64_t bytes;
    uint64_t crc_bytes;
    uint32_t crc;
    bool done;
};

static void reading_pinned(struct log_pin *pin);

static void reading_pin(struct reading *reading)
{
    struct log *lg = reading->node->logs[reading->partition];
    while (reading->got < reading->find.range.length) {
        reading->pin.done = reading_pinned;
        if (!log_pin(lg, &reading->find.range, (uint32_t)reading->got, 1U << 20, &reading->pin))
            return;
        reading_pinned(&reading->pin);
        return;
    }
    reading->done = true;
}

static void reading_pinned(struct log_pin *pin)
{
    struct reading *reading = container_of(pin, struct reading, pin);
    assert_int_equal(pin->verdict, LOG_OK);
    assert_true(pin->length > 0);
    for (uint32_t i = 0; i < pin->pieces; i++)
        reading->crc = crc32c(reading->crc, pin->iov[i].iov_base, pin->iov[i].iov_len);
    reading->got += pin->length;
    log_unpin(pin);
    reading_pin(reading);
}

static void reading_found(struct log_find *find)
{
    struct reading *reading = container_of(find, struct reading, find);
    assert_int_equal(find->verdict, LOG_OK);
    reading_pin(reading);
}

static struct reading reading;

static void reading_begin(struct node *node)
{
    const struct log *lg = node->logs[reading.partition];
    reading.node = node;
    reading.find = (struct log_find){.offset = 0,
                                     .upto_offset = lg->durable_offset,
                                     .bytes_max = UINT32_MAX,
                                     .done = reading_found};
    if (log_find(node->logs[reading.partition], &reading.find))
        reading_found(&reading.find);
}

/* Every batch of the partition is there, in order. */
static void check_partition(struct node *node, uint32_t partition, uint32_t size)
{
    uint64_t batches = (uint64_t)node->logs[partition]->durable_offset;
    if (batches == 0)
        return;
    reading = (struct reading){.partition = partition};
    in_turn(node, reading_begin);
    turns_until(node, &reading.done);
    assert_int_equal(reading.got, batches * size);
    uint8_t *batch = malloc(size);
    uint32_t crc = 0;
    test_batch(batch, size, partition, 1, -1, -1, -1);
    for (uint64_t i = 0; i < batches; i++) {
        batch_put_place(batch, (int64_t)i, 0);
        crc = crc32c(crc, batch, size);
    }
    assert_int_equal(crc, reading.crc);
    free(batch);
}

static void remove_root(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void run_loops(struct node *node, uint32_t size, uint64_t limit)
{
    loops_init(node, size, limit);
    in_turn(node, loops_begin);
    while (!loops_finished(node))
        turn(node);
    loops_fini(node);
}

static void stop_and_start(void **state)
{
    (void)state;
    struct node node;
    node_open(&node, 5);
    run_loops(&node, 3001, 100);
    for (uint32_t i = 0; i < 5; i++)
        check_partition(&node, i, 3001);
    node_close(&node);
    for (unsigned again = 1; again <= 3; again++) {
        node_open(&node, 5);
        assert_true(node.dir->was_clean);
        for (uint32_t i = 0; i < 5; i++) {
            assert_int_equal(node.logs[i]->end_offset, again * 100);
            check_partition(&node, i, 3001);
        }
        run_loops(&node, 3001, 100);
        node_close(&node);
    }
    remove_root();
}

static void ask_checkpoint(struct node *node)
{
    checkpoint_want(node->ls);
}

static uint64_t checkpoints_of(const struct node *node)
{
    struct log_counts counts = {0};
    log_shard_counts(node->ls, &counts);
    return counts.checkpoints;
}

/* More logs than files that may be open: each checkpoint closes and opens some of them again. */
static void a_file_that_is_opened_again_does_not_grow(void **state)
{
    (void)state;
    struct node node;
    node_open(&node, 280);
    for (uint64_t round = 1; round <= 6; round++) {
        run_loops(&node, 3001, 1);
        uint64_t before = checkpoints_of(&node);
        in_turn(&node, ask_checkpoint);
        while (checkpoints_of(&node) == before)
            turn(&node);
    }
    for (uint32_t i = 0; i < 280; i++) {
        char path[128];
        struct stat seen;
        (void)snprintf(path, sizeof(path), "%s/orders-%u/%020d.log", root, i, 0);
        assert_int_equal(stat(path, &seen), 0);
        assert_in_range(seen.st_size, 6 * 3001, SEGMENT_STEP_MIN);
    }
    node_close(&node);
    remove_root();
}

/* Turns over one bit; false: the file ends before it. */
static bool flip(const char *path, long at, int bit)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    if (byte != EOF) {
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_not_equal(fputc(byte ^ 1 << bit, file), EOF);
    }
    assert_int_equal(fclose(file), 0);
    return byte != EOF;
}

#define EACH 10 /* batches of those that are written down */

/* So many logs, which the second start has written down in checkpoint-start. */
static void written_down(uint32_t count)
{
    struct node node;
    node_open(&node, count);
    run_loops(&node, 3001, EACH);
    node_close(&node);
    node_open(&node, count);
    node_close(&node);
}

static void assert_refused(const char *words)
{
    struct node node;
    struct log_error error;
    assert_false(node_try(&node, 5, &error));
    assert_non_null(strstr(error.text, words));
    node_fini(&node);
}

static void assert_whole(uint32_t count)
{
    struct node node;
    node_open(&node, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(node.logs[i]->end_offset, EACH);
        check_partition(&node, i, 3001);
    }
    node_close(&node);
}

/* checkpoint-start is renamed when it is whole: what does not match in it is no torn tail, and the
 * logs it no longer names are not for removal. */
static void a_flipped_bit_removes_nothing(void **state)
{
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/checkpoint-start", root);
    written_down(5);
    for (long at = 4096; at < 4096 + 80; at += 7) {
        assert_true(flip(path, at, (int)(at % 8)));
        assert_refused("checkpoint-start is damaged at offset 4096");
        assert_true(flip(path, at, (int)(at % 8)));
    }
    assert_whole(5);
    remove_root();
}

/* The first `count` of these get another name, or their own again. */
static void put_aside(uint32_t count, bool back)
{
    static const char *const names[] = {"checkpoint-start", "journal-0", "checkpoint-0"};
    for (uint32_t i = 0; i < count; i++) {
        char path[128], aside[128];
        (void)snprintf(path, sizeof(path), "%s/%s", root, names[i]);
        (void)snprintf(aside, sizeof(aside), "%s/aside-%u", root, i);
        assert_int_equal(back ? rename(aside, path) : rename(path, aside), 0);
    }
}

/* The first block of the file that was put aside: as if it had been cut behind it. */
static void leave_first_block(void)
{
    char path[128], block[4096];
    (void)snprintf(path, sizeof(path), "%s/aside-0", root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(block, 1, sizeof(block), file), sizeof(block));
    assert_int_equal(fclose(file), 0);
    (void)snprintf(path, sizeof(path), "%s/checkpoint-start", root);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(block, 1, sizeof(block), file), sizeof(block));
    assert_int_equal(fclose(file), 0);
}

/* checkpoint-start that is gone, or shorter than it was written, names no logs: none is removed. */
static void a_missing_checkpoint_removes_nothing(void **state)
{
    (void)state;
    written_down(5);
    put_aside(3, false);
    assert_refused("checkpoint-start is missing, and ");
    put_aside(3, true);
    put_aside(1, false);
    assert_refused("/journal-0 is there");
    leave_first_block();
    assert_refused("checkpoint-start is damaged at offset 4096");
    put_aside(1, true);
    assert_whole(5);
    remove_root();
}

/* As it was before a record file said how many batches it was born with. */
static void make_version_1(const char *path)
{
    uint8_t block[4096];
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fread(block, 1, sizeof(block), file), sizeof(block));
    block[12] = 1;
    memset(block + 48, 0, 8);
    format_end(block);
    assert_int_equal(fseek(file, 0, SEEK_SET), 0);
    assert_int_equal(fwrite(block, 1, sizeof(block), file), sizeof(block));
    assert_int_equal(fclose(file), 0);
}

static void a_flipped_bit_in_an_older_one_removes_nothing(void **state)
{
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/checkpoint-start", root);
    written_down(5);
    make_version_1(path);
    assert_true(flip(path, 4096 + 40, 3));
    assert_refused("checkpoint-start is damaged at offset 4096");
    assert_true(flip(path, 4096 + 40, 3));
    assert_whole(5);
    remove_root();
}

static uint64_t sum(const volatile uint64_t *counts, uint32_t count)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < count; i++)
        all += counts[i];
    return all;
}

/* The child has begun to append. */
static void await_more(const volatile uint64_t *acked, uint32_t count)
{
    uint64_t before = sum(acked, count);
    for (unsigned i = 0; i < 10000 && sum(acked, count) == before; i++)
        (void)usleep(1000);
    assert_true(sum(acked, count) > before);
}

/* Appends for ever, as soon as a byte comes. */
static _Noreturn void killed_child(uint64_t *acked, uint32_t count, int go)
{
    struct node node;
    uint64_t base[PARTITIONS_MAX];
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(go, &byte, 1) != 1)
        _exit(1);
    node_open(&node, count);
    loops_init(&node, 1500, UINT64_MAX);
    in_turn(&node, loops_begin);
    for (uint32_t i = 0; i < count; i++)
        base[i] = (uint64_t)node.logs[i]->durable_offset;
    for (;;) {
        turn(&node);
        for (uint32_t i = 0; i < count; i++)
            acked[i] = base[i] + loops[i].acked;
    }
}

/* kill -9 while appends run: what was acknowledged (counted in shared memory) is there. All
 * children are made before this process has helper threads, because a fork copies none, but the
 * memory that says they are there. */
static void killed(void **state)
{
    (void)state;
    enum { COUNT = 12, ROUNDS = 5 };
    uint64_t *acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[ROUNDS];
    int go[ROUNDS][2];
    for (unsigned round = 0; round < ROUNDS; round++) {
        assert_int_equal(pipe(go[round]), 0);
        children[round] = fork();
        if (children[round] == 0)
            killed_child(acked, COUNT, go[round][0]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t child = children[round];
        assert_int_equal(write(go[round][1], "g", 1), 1);
        await_more(acked, COUNT);
        (void)usleep(100000 + round * 30000);
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
        struct node node;
        node_open(&node, COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_true((uint64_t)node.logs[i]->durable_offset >= acked[i]);
            check_partition(&node, i, 1500);
        }
        node_close(&node);
        (void)close(go[round][0]);
        (void)close(go[round][1]);
    }
    (void)munmap(acked, 4096);
    remove_root();
}

/* ---- the measurement ---- */

static void measure(uint32_t partitions, uint32_t size, double seconds)
{
    struct node node;
    node_open(&node, partitions);
    loops_init(&node, size, UINT64_MAX);
    in_turn(&node, loops_begin);
    struct log_counts before;
    log_shard_counts(node.ls, &before);
    uint64_t wall = now_ns(CLOCK_MONOTONIC);
    uint64_t cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t end = wall + (uint64_t)(seconds * 1e9);
    do {
        turn(&node);
    } while (now_ns(CLOCK_MONOTONIC) < end);
    double wall_s = (double)(now_ns(CLOCK_MONOTONIC) - wall) / 1e9;
    double cpu_us = (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e3;
    struct log_counts after;
    log_shard_counts(node.ls, &after);
    double appends = (double)(after.appends - before.appends);
    double bytes = (double)(after.appended_bytes - before.appended_bytes);
    printf("%4u x %7u: %8.1f MB/s %9.0f appends/s %7.0f commits/s %6.2f us CPU/append "
           "%5.2f copied/byte %5.2f journal/byte, %llu checkpoints, %llu waits, journal %llu MiB\n",
           partitions, size, bytes / wall_s / 1e6, appends / wall_s,
           (double)(after.groups - before.groups) / wall_s, cpu_us / appends,
           (double)(after.copied_bytes - before.copied_bytes) / bytes,
           (double)(after.group_bytes - before.group_bytes) / bytes,
           (unsigned long long)after.checkpoints, (unsigned long long)after.waits,
           (unsigned long long)after.journal_bytes >> 20);
    for (uint32_t i = 0; i < partitions; i++)
        loops[i].limit = 0;
    node_close(&node);
    loops_fini(&node);
    remove_root();
}

static void measurement(void **state)
{
    (void)state;
    const char *seconds = getenv("LOG_BENCH");
    if (seconds == NULL) {
        skip();
        return; /* not reached */
    }
    double each = strtod(seconds, NULL);
    measure(12, 1024, each);
    measure(288, 1024, each);
    measure(12, 16U << 10, each);
    measure(288, 16U << 10, each);
    measure(12, 1U << 20, each);
}

int main(void)
{
    (void)snprintf(root, sizeof(root), "test-log-%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed),
        cmocka_unit_test(stop_and_start),
        cmocka_unit_test(a_file_that_is_opened_again_does_not_grow),
        cmocka_unit_test(a_flipped_bit_removes_nothing),
        cmocka_unit_test(a_missing_checkpoint_removes_nothing),
        cmocka_unit_test(a_flipped_bit_in_an_older_one_removes_nothing),
        cmocka_unit_test(measurement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
