/* SPDX-License-Identifier: Apache-2.0
 *
 * Shards on real threads: mail, credits, tasks, deadlines, stalls, and the sleep between turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/unit/real/world.h"

/* ---- mail among all, in order ---- */

enum { LETTERS = 3000 };
#define SHARDS ((uint16_t)3)

struct letter {
    struct mail mail;
    uint32_t number;
    uint16_t sender;
    uint64_t question;
    uint64_t answer;
};

static struct letter letters[SHARDS][SHARDS][LETTERS];
static uint32_t expected[SHARDS][SHARDS]; /* by receiver and sender; each shard its own row */
static uint32_t done_count[SHARDS];

static void on_answer(struct shard *here, struct mail *mail)
{
    struct letter *letter = container_of(mail, struct letter, mail);
    must(letter->sender == here->id);
    must(letter->answer == letter->question * 2 + 1);
    if (++done_count[here->id] == LETTERS * SHARDS)
        world_finish_one(here);
}

static void on_letter(struct shard *here, struct mail *mail)
{
    struct letter *letter = container_of(mail, struct letter, mail);
    must(letter->number == expected[here->id][letter->sender]);
    expected[here->id][letter->sender]++;
    letter->answer = letter->question * 2 + 1;
    shard_answer(here, mail, on_answer);
}

static void post_all(struct shard *sh)
{
    for (uint32_t i = 0; i < LETTERS; i++) {
        for (uint16_t to = 0; to < SHARDS; to++) {
            struct letter *letter = &letters[sh->id][to][i];
            letter->number = i;
            letter->sender = sh->id;
            letter->question = i * 3U + to;
            shard_post(sh, to, &letter->mail, on_letter);
        }
    }
}

/* Everybody posts far more than there are credits to everybody, at once. */
static void flood(uint32_t credits, uint64_t spin_ns)
{
    memset(letters, 0, sizeof(letters));
    memset(expected, 0, sizeof(expected));
    memset(done_count, 0, sizeof(done_count));
    struct world world = {.begin = post_all, .spin_ns = spin_ns};
    world_start(&world, SHARDS, credits);
    world_wait(&world, SHARDS);
    world_stop(&world);
    for (unsigned i = 0; i < SHARDS; i++)
        for (unsigned k = 0; k < SHARDS; k++)
            assert_int_equal(expected[i][k], LETTERS);
}

static void test_flood(void **state)
{
    (void)state;
    flood(SHARD_CREDITS, 0);
    flood(SHARD_CREDITS, 50000);
}

static void test_flood_of_few_credits(void **state)
{
    (void)state;
    flood(1, 0);
    flood(3, 0);
    flood(7, 20000);
}

/* ---- gifts that go round ---- */

enum { GIFTS = 2000, ROUNDS = 5 };

struct gift {
    struct mail mail;
    uint32_t hops;
};

static struct gift gifts[GIFTS];

static void on_gift(struct shard *here, struct mail *mail)
{
    struct gift *gift = container_of(mail, struct gift, mail);
    if (++gift->hops == ROUNDS * SHARDS)
        world_finish_one(here);
    else
        shard_post(here, (uint16_t)((here->id + 1) % SHARDS), mail, on_gift);
}

static void give_all(struct shard *sh)
{
    if (sh->id == 0)
        for (unsigned i = 0; i < GIFTS; i++)
            shard_post(sh, 1, &gifts[i].mail, on_gift);
}

static void test_gifts(void **state)
{
    (void)state;
    const uint32_t credits[] = {1, 2, 5, SHARD_CREDITS};
    for (unsigned i = 0; i < array_count(credits); i++) {
        memset(gifts, 0, sizeof(gifts));
        struct world world = {.begin = give_all};
        world_start(&world, SHARDS, credits[i]);
        world_wait(&world, GIFTS);
        world_stop(&world);
    }
}

/* ---- one shard: turns by hand ---- */

struct scene {
    struct shard_group *group;
    struct shard *sh;
    char log[64]; /* what ran, a letter each */
    unsigned logged;
};

static struct scene scene;

static void note(char what)
{
    scene.log[scene.logged++] = what;
    scene.log[scene.logged] = '\0';
}

static int scene_open(void **state)
{
    (void)state;
    char error[512];
    struct io_options options = {.receive_pool_bytes = 1 << 20, .log_file = -1};
    memset(&scene, 0, sizeof(scene));
    scene.group = shard_group_new(1, SHARD_CREDITS);
    scene.sh = shard_of(scene.group, 0);
    struct io *io = io_open(&options, error, sizeof(error));
    if (io == NULL)
        return -1;
    shard_init(scene.sh, io);
    return 0;
}

static int scene_close(void **state)
{
    (void)state;
    struct io *io = scene.sh->io;
    shard_fini(scene.sh);
    io_close_all(io);
    shard_group_free(scene.group);
    return 0;
}

static void run_a(struct shard *here, struct task *task)
{
    must(shard_here() == here);
    note('a');
    if (scene.logged < 3)
        shard_ready(here, task);
}

static void run_b(struct shard *here, struct task *task)
{
    (void)here;
    (void)task;
    note('b');
}

static void run_end(struct shard *here, struct task *task)
{
    (void)here;
    (void)task;
    note('e');
}

static void test_tasks(void **state)
{
    (void)state;
    struct task a = {.fn = run_a, .name = "test.a"};
    struct task b = {.fn = run_b, .name = "test.b"};
    struct task c = {.fn = run_b, .name = "test.c"};
    struct task end = {.fn = run_end, .name = "test.end"};
    shard_at_end(scene.sh, &end);
    shard_ready(scene.sh, &a);
    shard_ready(scene.sh, &c);
    shard_ready(scene.sh, &b);
    shard_ready(scene.sh, &b); /* once */
    task_cancel(scene.sh, &c);
    task_cancel(scene.sh, &c);
    assert_null(shard_here());
    assert_true(shard_turn(scene.sh)); /* a task that goes on gives way */
    assert_string_equal(scene.log, "abe");
    assert_true(!shard_turn(scene.sh) || scene.logged == 4);
    assert_string_equal(scene.log, "abea");
    assert_false(shard_turn(scene.sh));
}

static void fire(struct shard *here, struct timer *timer)
{
    (void)here;
    note(timer->name[0]);
}

static void test_timers(void **state)
{
    (void)state;
    struct timer timers[5] = {{.fn = fire, .name = "0"},
                              {.fn = fire, .name = "1"},
                              {.fn = fire, .name = "2"},
                              {.fn = fire, .name = "3"},
                              {.fn = fire, .name = "4"}};
    uint64_t now_ns = io_now_ns(scene.sh->io);
    assert_int_equal(shard_deadline_ns(scene.sh), UINT64_MAX);
    timer_set(scene.sh, &timers[3], now_ns + 3);
    timer_set(scene.sh, &timers[0], now_ns + 90000000000ULL);
    timer_set(scene.sh, &timers[2], now_ns + 2);
    timer_set(scene.sh, &timers[4], now_ns + 4);
    timer_set(scene.sh, &timers[1], now_ns + 1);
    timer_cancel(scene.sh, &timers[3]);
    assert_false(timer_is_set(&timers[3]));
    timer_set(scene.sh, &timers[0], now_ns); /* moves */
    assert_int_equal(shard_deadline_ns(scene.sh), now_ns);
    shard_turn(scene.sh);
    assert_string_equal(scene.log, "0124");
    assert_int_equal(shard_deadline_ns(scene.sh), UINT64_MAX);
    for (unsigned i = 0; i < 5; i++)
        assert_false(timer_is_set(&timers[i]));
}

static uint64_t last_at_ns;
static unsigned fired;

static void fire_in_order(struct shard *here, struct timer *timer)
{
    (void)here;
    must(timer->at_ns >= last_at_ns);
    last_at_ns = timer->at_ns;
    fired++;
}

/* Sets, moves and cancels at random: what is left fires in order, all of it. */
static void test_many_timers(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct timer *timers = calloc(COUNT, sizeof(timers[0]));
    uint64_t base_ns = io_now_ns(scene.sh->io);
    uint32_t random = 12345;
    for (unsigned i = 0; i < COUNT * 5; i++) {
        random = random * 1664525U + 1013904223U;
        struct timer *timer = &timers[(random >> 8) % COUNT];
        timer->fn = fire_in_order;
        timer->name = "test.timer";
        if (random >> 29 == 0)
            timer_cancel(scene.sh, timer);
        else
            timer_set(scene.sh, timer, base_ns + (random >> 16) % 1000);
    }
    unsigned set = 0;
    for (unsigned i = 0; i < COUNT; i++)
        set += timer_is_set(&timers[i]);
    assert_true(set > COUNT / 2);
    last_at_ns = 0;
    fired = 0;
    unsigned turns = 0;
    do
        turns++;
    while (shard_turn(scene.sh));
    assert_int_equal(fired, set);
    assert_true(turns > set / 300); /* a turn takes a bounded number of them */
    free(timers);
}

static void on_own_mail(struct shard *here, struct mail *mail)
{
    note('m');
    if (scene.logged < 2)
        shard_post(here, here->id, mail, on_own_mail);
}

static void test_mail_to_itself(void **state)
{
    (void)state;
    struct mail mail;
    shard_post(scene.sh, 0, &mail, on_own_mail);
    assert_string_equal(scene.log, "");
    assert_true(shard_turn(scene.sh));
    assert_string_equal(scene.log, "m");
    assert_false(shard_turn(scene.sh));
    assert_string_equal(scene.log, "mm");
}

static void run_long(struct shard *here, struct task *task)
{
    (void)task;
    uint64_t began_ns = io_clock_ns(here->io);
    must(!shard_should_yield(here, began_ns));
    while (io_clock_ns(here->io) - began_ns < 2000000)
        ;
    must(shard_should_yield(here, began_ns));
}

static void test_stall(void **state)
{
    (void)state;
    struct task quick = {.fn = run_b, .name = "test.quick"};
    struct task slow = {.fn = run_long, .name = "test.long"};
    shard_turn(scene.sh);
    uint64_t before = scene.sh->stalls;
    shard_ready(scene.sh, &quick);
    shard_ready(scene.sh, &slow);
    shard_turn(scene.sh);
    assert_int_equal(scene.sh->stalls, before + 1);
    assert_string_equal(scene.sh->longest.name, "test.long");
    assert_in_range(scene.sh->longest.ns, 2000000, 1000000000);
    assert_null(scene.sh->step);
    uint64_t blamed = 0;
    for (unsigned i = 0; i < SHARD_STALLS_NAMED; i++)
        if (scene.sh->stalls_of[i].name == slow.name)
            blamed = scene.sh->stalls_of[i].count;
    assert_int_equal(blamed, 1);
}

static unsigned burnt;

static void run_burning(struct shard *here, struct task *task)
{
    (void)task;
    uint64_t began_ns = io_clock_ns(here->io);
    while (io_clock_ns(here->io) - began_ns < 150000)
        ;
    burnt++;
}

/* Tasks of either kind get through in every turn, and none takes the whole of it. */
static void test_shares(void **state)
{
    (void)state;
    struct task tasks[20];
    burnt = 0;
    for (unsigned i = 0; i < array_count(tasks); i++) {
        tasks[i] = (struct task){.fn = run_burning, .name = "test.burning"};
        if (i % 2)
            shard_ready(scene.sh, &tasks[i]);
        else
            shard_at_end(scene.sh, &tasks[i]);
    }
    unsigned turns = 0;
    for (unsigned before = 0; before < array_count(tasks); before = burnt, turns++) {
        bool more = shard_turn(scene.sh);
        assert_int_equal(more, burnt < array_count(tasks));
        assert_in_range(burnt - before, before == 0 ? 2 : 1, 4);
        if (burnt == array_count(tasks))
            break;
    }
    assert_in_range(turns, 4, 18);
}

/* ---- sleeping ---- */

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void test_idle_costs_nothing(void **state)
{
    (void)state;
    struct world world = {.spin_ns = 50000};
    world_start(&world, 2, SHARD_CREDITS);
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    uint64_t before_us = cpu_us();
    (void)nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    uint64_t used_us = cpu_us() - before_us;
    world_stop(&world);
    assert_in_range(used_us, 0, 10000);
}

/* Mail wakes a shard that sleeps, again and again: a bell that is lost is a test that hangs. */
static struct letter ping;

static void on_pong(struct shard *here, struct mail *mail);

static void on_ping(struct shard *here, struct mail *mail)
{
    shard_answer(here, mail, on_pong);
}

static void on_pong(struct shard *here, struct mail *mail)
{
    if (++ping.number == 5000)
        world_finish_one(here);
    else
        shard_post(here, 1, mail, on_ping);
}

static void ping_begin(struct shard *sh)
{
    if (sh->id == 0)
        shard_post(sh, 1, &ping.mail, on_ping);
}

static void test_ping_pong(void **state)
{
    (void)state;
    const uint64_t spins_ns[] = {0, 3000};
    for (unsigned i = 0; i < array_count(spins_ns); i++) {
        ping.number = 0;
        struct world world = {.begin = ping_begin, .spin_ns = spins_ns[i]};
        world_start(&world, 2, 1);
        world_wait(&world, 1);
        world_stop(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tasks, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_timers, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_many_timers, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_mail_to_itself, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_stall, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_shares, scene_open, scene_close),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_flood_of_few_credits),
        cmocka_unit_test(test_gifts),
        cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_idle_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
