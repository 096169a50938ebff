/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's promise in the simulated world. Writers append to partitions on one to four shards, the
 * machine is killed or loses power at any moment (inside a recovery too), comes back with another
 * number of shards, and everything is read and compared:
 *
 *   - what done() called durable is there, byte for byte, at its offset
 *   - offsets have no gaps, and nothing is there that nobody sent
 *   - a batch of an idempotent producer is there once, however often it was sent again
 *   - a start is never refused, a failed disk takes the log offline, a full one comes back
 *
 * And the test bites: each deliberate mistake in the log is found within MISTAKE_SEEDS seeds.
 * SIM_LOG_SEEDS, SIM_LOG_FIRST and SIM_LOG_MISTAKE (a name) choose other runs.
 */
#include "core/log/recycle.h"
#include "tests/unit/sim/log_writers.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MISTAKE_SEEDS 400U

/* ---- one seed ---- */

static bool is_checked(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->checked == PARTITIONS;
}

static bool is_stopped(void *argument)
{
    const struct model *m = argument;
    return m->failed || m->stopped == m->shards;
}

static bool never(void *argument)
{
    return ((const struct model *)argument)->failed;
}

static void model_init(struct model *m, uint64_t seed)
{
    m->attempts = calloc(ATTEMPTS_MAX, sizeof(*m->attempts));
    m->rng = (struct rng){.state = seed * 77 + 5};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t n = 0; n < WRITERS; n++)
            m->writers[p][n].producer_id = n == 0 ? (int64_t)(p * 10 + 1) : -1;
    }
    m->options = (struct log_dir_options){.path = "/data/log",
                                          .may_format = true,
                                          .node_id = 1,
                                          .pid = 1,
                                          .tail_bytes = rng_between(&m->rng, 3, 12) << 18,
                                          .cold_bytes = 1U << 20,
                                          .open_files_max = (uint32_t)rng_between(&m->rng, 2, 8),
                                          .journal_bytes = 65536U << rng_below(&m->rng, 4)};
    /* Two of three let appends of a few blocks and more bypass the journal, and send many. */
    struct rng rng = {.state = seed * 31 + 7};
    m->large_of_20 = 1;
    if (!rng_one_in(&rng, 3)) {
        m->options.bypass_bytes = (uint32_t)rng_between(&rng, 1, 16000);
        m->large_of_20 = (uint32_t)rng_between(&rng, 1, 4);
    }
    m->config = log_config_default;
    m->config.segment_bytes = 65536U << rng_below(&m->rng, 4);
    /* Three of four use files again, half of those with batches that begin at the same places. */
    m->plants = (struct rng){.state = seed * 17 + 3};
    if (!rng_one_in(&m->plants, 4))
        m->options.recycle_bytes = 65536U << rng_below(&m->plants, 7);
    if (m->options.recycle_bytes > 0 && rng_one_in(&m->plants, 2))
        m->size = (uint32_t)rng_between(&m->plants, 300, 8192);
}

/* ---- used files ----
 *
 * Nothing is ever deleted here, so the pool gets copies of the segments that there are: full of
 * batches of the same partitions, at the same places. */

static void plant(struct model *m, const char *path)
{
    struct fs *fs = machine_fs(m->machine);
    const struct recycle_pool pool = {
        .fs = fs, .root = "/data/log", .uuid = m->uuid, .bytes_max = m->options.recycle_bytes};
    static uint8_t bytes[1U << 20];
    int from = fs_open(fs, path, FS_READ);
    int64_t count = from < 0 ? 0 : fs_read(fs, from, bytes, sizeof(bytes), 0);
    if (from >= 0)
        fs_close(fs, from);
    if (count <= 0)
        return;
    int to = fs_open(fs, "/data/log/planted", FS_WRITE | FS_CREATE);
    if (to < 0)
        return;
    int64_t result = fs_write(fs, to, bytes, (size_t)count, 0);
    if (result >= 0)
        result = fs_sync(fs, to);
    fs_close(fs, to);
    if (result >= 0)
        result = recycle_put(&pool, "/data/log/planted", rng_next(&m->plants));
    m->planted += result == 1;
    (void)!fs_unlink(fs, "/data/log/planted");
    (void)!fs_sync_dir(fs, "/data/log/recycled");
}

static void plant_some(struct model *m)
{
    struct fs *fs = machine_fs(m->machine);
    for (uint32_t p = 0; m->known && m->options.recycle_bytes > 0 && p < PARTITIONS; p++) {
        char directory[64];
        char path[128];
        struct fs_list list = {0};
        (void)snprintf(directory, sizeof(directory), "/data/log/orders-%u", p);
        (void)!fs_list(fs, directory, &list);
        for (uint32_t i = 0; i < list.count; i++) {
            size_t length = strlen(list.names[i]);
            if (length < 4 || strcmp(list.names[i] + length - 4, ".log") != 0 ||
                rng_one_in(&m->plants, 2))
                continue;
            (void)snprintf(path, sizeof(path), "%s/%s", directory, list.names[i]);
            plant(m, path);
        }
        fs_list_free(&list);
    }
}

static struct process *life_begin(struct model *m)
{
    struct program program = {.name = "log",
                              .prepare = node_prepare,
                              .start = node_start,
                              .stop = node_end,
                              .argument = m};
    m->life++;
    m->shards = (uint16_t)rng_between(&m->rng, 1, 4);
    m->checked = 0;
    m->started = 0;
    m->stopped = 0;
    m->writing = false;
    m->offline = false;
    m->start_error[0] = '\0';
    uint64_t salt[2] = {rng_next(&m->rng), rng_next(&m->rng)};
    memcpy(m->options.new_uuid, salt, 16);
    program.shards = m->shards;
    plant_some(m);
    bool laid = rng_one_in(&m->rng, 8);
    enum crash crash = rng_one_in(&m->rng, 2) ? CRASH_KILL : CRASH_POWER;
    if (laid)
        machine_crash_in_call(m->machine, crash, (uint32_t)rng_between(&m->rng, 1, 60));
    tell(m, "start%s", laid ? ", a crash is laid" : "");
    struct process *process = machine_start(m->machine, &program);
    if (process == NULL)
        tell(m, "it did not start: %s", m->start_error);
    if (process == NULL && m->start_error[0] != '\0')
        wrong(m, "start refused: %.200s", m->start_error);
    return process;
}

static void life_stop(struct model *m, struct process *process)
{
    m->writing = false;
    for (uint16_t i = 0; i < m->shards; i++)
        process_call(process, i, node_stop, NULL);
    if (!world_run_until(m->world, is_stopped, m, world_now_ns(m->world) + 100 * S)) {
        if (process_state(process) != PROCESS_CRASHED)
            wrong(m, "the stop does not end");
        return;
    }
    (void)world_run_until(m->world, never, m, world_now_ns(m->world) + 10 * MS);
    if (!m->failed && process_state(process) == PROCESS_STOPPED && process_memory(process) != 0)
        wrong(m, "%llu bytes were not freed", (unsigned long long)process_memory(process));
}

static void life_trouble(struct model *m)
{
    uint64_t kind = rng_below(&m->rng, 12);
    tell(m, "writing%s", kind == 0 ? ", one write or flush will fail" : "");
    struct disk_fault fault = {.calls = DISK_WRITE | DISK_SYNC, .times = 1, .error = -5};
    if (kind == 0)
        machine_disk_fault(m->machine, &fault);
    else if (kind == 1)
        machine_disk_slow(m->machine, (uint32_t)rng_between(&m->rng, 2, 50));
    else if (kind == 2)
        machine_disk_stall(m->machine, rng_below(&m->rng, 30 * MS));
}

/* false: nothing more to do in this seed */
static bool life(struct model *m)
{
    struct process *process = life_begin(m);
    if (m->failed)
        return false;
    if (process == NULL)
        return true; /* a crash that was laid struck in the recovery */
    bool checked = world_run_until(m->world, is_checked, m, world_now_ns(m->world) + 100 * S);
    if (m->failed)
        return false;
    if (process_state(process) == PROCESS_CRASHED)
        return true;
    if (!checked) {
        wrong(m, "reading does not end");
        return false;
    }
    m->writing = true;
    for (uint16_t i = 0; i < m->shards; i++)
        process_call(process, i, node_write, NULL);
    life_trouble(m);
    (void)world_run_until(m->world, never, m,
                          world_now_ns(m->world) + rng_between(&m->rng, 100 * US, 60 * MS));
    if (rng_one_in(&m->rng, 3) && process_state(process) == PROCESS_RUNS) {
        m->life++;
        m->checked = 0;
        for (uint16_t i = 0; i < m->shards; i++)
            process_call(process, i, node_read, NULL);
        (void)world_run_until(m->world, is_checked, m,
                              world_now_ns(m->world) + rng_between(&m->rng, 1 * MS, 30 * MS));
    }
    machine_disk_heal(m->machine);
    if (m->failed || process_state(process) == PROCESS_CRASHED)
        return !m->failed;
    if (m->checked == PARTITIONS && rng_one_in(&m->rng, 3)) {
        tell(m, "stop");
        life_stop(m, process);
    } else {
        enum crash crash = rng_one_in(&m->rng, 2) ? CRASH_KILL : CRASH_POWER;
        tell(m, "%s", crash == CRASH_KILL ? "kill" : "power loss");
        machine_crash(m->machine, crash);
    }
    return !m->failed;
}

static bool run_seed(uint64_t seed, const char *mistake, char *why, size_t why_size,
                     struct model *sums)
{
    struct model *m = calloc(1, sizeof(*m));
    struct world_options options;
    world_options_rough(&options, seed);
    options.mutation = mistake;
    m->world = world_new(&options);
    m->machine = world_machine(m->world, "node");
    model_init(m, seed);
    (void)!fs_mkdir(machine_fs(m->machine), "/data");
    (void)!fs_sync_dir(machine_fs(m->machine), "/");
    uint32_t lives = (uint32_t)rng_between(&m->rng, 3, 7);
    bool good = true;
    for (uint32_t i = 0; i < lives && good; i++)
        good = life(m);
    if (good) {
        /* The last start is undisturbed. */
        if (machine_runs(m->machine))
            machine_crash(m->machine, CRASH_KILL);
        machine_crash_in_call(m->machine, CRASH_KILL, 0);
        (void)life(m); /* m->failed tells */
    }
    (void)snprintf(why, why_size, "%s", m->why);
    sums->acks += m->acks;
    sums->duplicates += m->duplicates;
    sums->life += m->life;
    sums->planted += m->planted;
    bool failed = m->failed;
    world_free(m->world);
    free(m->attempts);
    free(m);
    return !failed;
}

/* ---- many seeds, in a child that may die ---- */

struct verdict {
    uint64_t seed;
    bool wrong;
    bool died; /* which says nothing about what is wrong */
    char why[256];
    struct model sums;
};

static struct verdict *run_seeds(uint64_t first, uint64_t count, const char *mistake)
{
    struct verdict *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    memset(shared, 0, sizeof(*shared));
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the next test */
        (void)signal(SIGABRT, SIG_DFL);
        if (mistake != NULL) {
            (void)!freopen("/dev/null", "w", stderr);
            (void)setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = 120}}, NULL);
        }
        for (uint64_t seed = first; seed < first + count; seed++) {
            shared->seed = seed;
            shared->wrong =
                !run_seed(seed, mistake, shared->why, sizeof(shared->why), &shared->sums);
            if (shared->wrong)
                break;
        }
        _exit(0);
    }
    int status;
    (void)waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        shared->wrong = shared->died = true;
        (void)snprintf(shared->why, sizeof(shared->why), "it died (status %d)", status);
    }
    return shared;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void promise(void **state)
{
    (void)state;
    uint64_t first = number_of("SIM_LOG_FIRST", 1);
    uint64_t seeds = number_of("SIM_LOG_SEEDS", 20);
    struct verdict *verdict = run_seeds(first, seeds, getenv("SIM_LOG_MISTAKE"));
    printf("%llu seeds, %u lives, %u acknowledgements, %u of them duplicates, %u used files\n",
           (unsigned long long)seeds, verdict->sums.life, verdict->sums.acks,
           verdict->sums.duplicates, verdict->sums.planted);
    if (verdict->wrong)
        fail_msg("seed %llu: %s", (unsigned long long)verdict->seed, verdict->why);
    (void)munmap(verdict, sizeof(*verdict));
}

static void mistakes_are_found(void **state)
{
    (void)state;
    /* `from`: a seed that has found it, so that the short run is short; SIM_LOG_MISTAKE_SEEDS=n
     * asks all of them from seed 1. */
    static const struct {
        const char *name;
        uint64_t from;
    } mistakes[] = {
        {"journal.ack_before_flush", 1},
        {"bypass.ack_before_write", 17},
        {"bypass.no_dsync", 11},
        {"bypass.no_record", 1},
        {"bypass.shared_block_rewritten", 438},
        {"bypass.checkpoint_does_not_wait", 73},
        {"bypass.ack_out_of_order", 1},
        {"recovery.extent_not_checked", 28},
        {"journal.no_dsync", 2},
        {"journal.ack_out_of_order", 1},
        {"journal.release_before_superblock", 84},
        {"recovery.skip_group", 1},
        {"recovery.any_generation", 24},
        {"recovery.no_crc", 2},
        {"recovery.forget_producers", 1},
        {"log.duplicate_answered_early", 1},
        {"log.no_prefix_copy", 23},
        {"writer.unflushed_bytes", 203},
        {"checkpoint.release_before_sync", 5},
        {"checkpoint.wrong_end", 1},
        {"recovery.recycled_batch_replayed", 20},
        {"recycle.place_not_durable", 48},
        {"log_directory.not_durable", 1},
    };
    bool all = getenv("SIM_LOG_MISTAKE_SEEDS") != NULL;
    uint64_t seeds = number_of("SIM_LOG_MISTAKE_SEEDS", MISTAKE_SEEDS);
    unsigned missed = 0;
    for (unsigned i = 0; i < array_count(mistakes); i++) {
        struct verdict *verdict = run_seeds(all ? 1 : mistakes[i].from, seeds, mistakes[i].name);
        missed += !verdict->wrong || verdict->died;
        printf("%-36s %s %llu: %s\n", mistakes[i].name,
               verdict->wrong ? "found by seed" : "MISSED in", (unsigned long long)verdict->seed,
               verdict->why);
        (void)munmap(verdict, sizeof(*verdict));
    }
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promise),
        cmocka_unit_test(mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
