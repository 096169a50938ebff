/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn: the only scheduler there is. Mail is in mail.c, deadlines in timer.c, and both bodies
 * of the door run this same code; they differ in how a shard sleeps.
 *
 * Time is accounted by step. A step is a task or a timer (they carry a name), all of the mail, or
 * all of the completions; a handler of those two may name itself with shard_step(). When a turn
 * took longer than SHARD_STALL_NS, its longest step is what the stall is blamed on.
 */
#include "io/group.h"

/* What the ready tasks may take of a turn, and again what the end-of-turn tasks may: with the last
 * task of each going on for SHARD_YIELD_NS, 400 us of the 1,000. */
#define TURN_TASKS_NS SHARD_YIELD_NS

static _Thread_local struct shard *shard_of_this_turn;

struct shard *shard_here(void)
{
    return shard_of_this_turn;
}

struct shard_group *shard_group_new(uint16_t count, uint32_t credits)
{
    must(count >= 1 && count <= SHARDS_MAX);
    must(credits >= 1 && credits <= SHARD_CREDITS);
    struct shard_group *group = mem_zalloc(sizeof(*group));
    group->count = count;
    group->credits = credits;
    group->shards = mem_zalloc(count * sizeof(group->shards[0]));
    group->rings = mem_zalloc((size_t)count * count * sizeof(group->rings[0]));
    for (uint32_t i = 0; i < (uint32_t)count * count; i++)
        if (i / count != i % count)
            mail_ring_init(&group->rings[i], 2 * credits);
    for (uint16_t i = 0; i < count; i++) {
        struct shard *sh = &group->shards[i];
        sh->id = i;
        sh->count = count;
        sh->group = group;
        sh->diag = diag_new();
        TAILQ_INIT(&sh->ready);
        TAILQ_INIT(&sh->at_end);
        mail_open(sh);
    }
    return group;
}

void shard_group_free(struct shard_group *group)
{
    for (uint16_t i = 0; i < group->count; i++) {
        struct shard *sh = &group->shards[i];
        mail_close(sh);
        diag_free(sh->diag);
        mem_free(sh->heap);
    }
    for (uint32_t i = 0; i < (uint32_t)group->count * group->count; i++)
        if (group->rings[i].slots != NULL)
            mail_ring_fini(&group->rings[i]);
    mem_free(group->rings);
    mem_free(group->shards);
    mem_free(group);
}

struct shard *shard_of(struct shard_group *group, uint16_t id)
{
    must(id < group->count);
    return &group->shards[id];
}

void shard_init(struct shard *sh, struct io *io)
{
    must(sh->io == NULL);
    __atomic_store_n(&sh->io, io, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* see mail_wake() */
}

void shard_fini(struct shard *sh)
{
    __atomic_store_n(&sh->io, NULL, __ATOMIC_RELEASE);
}

/* ---- tasks ---- */

static void task_queue_up(struct shard *sh, struct task_queue *queue, struct task *task)
{
    must(shard_here() == sh || shard_here() == NULL);
    if (task->queue == queue)
        return;
    must(task->queue == NULL);
    task->queue = queue;
    TAILQ_INSERT_TAIL(queue, task, link);
}

void shard_ready(struct shard *sh, struct task *task)
{
    task_queue_up(sh, &sh->ready, task);
}

void shard_at_end(struct shard *sh, struct task *task)
{
    task_queue_up(sh, &sh->at_end, task);
}

void task_cancel(struct shard *sh, struct task *task)
{
    must(shard_here() == sh || shard_here() == NULL);
    if (task->queue == NULL)
        return;
    must(task->queue == &sh->ready || task->queue == &sh->at_end);
    TAILQ_REMOVE(task->queue, task, link);
    task->queue = NULL;
}

static unsigned task_count(const struct task_queue *queue, unsigned most)
{
    unsigned count = 0;
    const struct task *task;
    TAILQ_FOREACH (task, queue, link) {
        if (count == most)
            break;
        count++;
    }
    return count;
}

/* Those that wait now, not those they queue: a task that goes on in steps gives way to the rest of
 * the turn between them. They stop early, too, when they have had their time. */
static void task_run(struct shard *sh, struct task_queue *queue)
{
    unsigned count = task_count(queue, SHARD_TASKS_PER_TURN);
    uint64_t stop_ns = 0;
    for (unsigned i = 0; i < count; i++) {
        struct task *task = TAILQ_FIRST(queue);
        if (task == NULL)
            return;
        shard_step_begin(sh, task->name);
        if (i == 0)
            stop_ns = sh->step_began_ns + TURN_TASKS_NS;
        else if (sh->step_began_ns >= stop_ns)
            return;
        TAILQ_REMOVE(queue, task, link);
        task->queue = NULL;
        task->fn(sh, task);
    }
}

/* ---- the turn ---- */

void shard_step_begin(struct shard *sh, const char *name)
{
    uint64_t now_ns = io_clock_ns(sh->io);
    uint64_t took_ns = now_ns - sh->step_began_ns;
    if (took_ns > sh->turn_longest.ns)
        sh->turn_longest = (struct shard_stall){sh->step, took_ns};
    sh->step = name;
    sh->step_began_ns = now_ns;
}

static void stall_count(struct shard *sh, const struct shard_stall *blamed)
{
    struct shard_stalls *stalls = sh->stalls_of;
    for (unsigned i = 0; i + 1 < SHARD_STALLS_NAMED; i++, stalls++)
        if (stalls->name == blamed->name || stalls->name == NULL)
            break;
    if (stalls != &sh->stalls_of[SHARD_STALLS_NAMED - 1])
        __atomic_store_n(&stalls->name, blamed->name, __ATOMIC_RELAXED);
    count_up(&stalls->count, 1);
    if (blamed->ns > stalls->longest_ns)
        __atomic_store_n(&stalls->longest_ns, blamed->ns, __ATOMIC_RELAXED);
}

static void turn_account(struct shard *sh, uint64_t began_ns)
{
    shard_step_begin(sh, NULL);
    uint64_t took_ns = sh->step_began_ns - began_ns;
    count_up(&sh->turns, 1);
    count_up(&sh->busy_ns, took_ns);
    if (took_ns >= SHARD_YIELD_NS)
        durations_add(&sh->long_turns, took_ns);
    if (took_ns < SHARD_STALL_NS)
        return;
    count_up(&sh->stalls, 1);
    stall_count(sh, &sh->turn_longest);
    diag_event(sh, sh->turn_longest.name, took_ns, sh->turn_longest.ns);
    if (sh->turn_longest.ns > sh->longest.ns)
        sh->longest = sh->turn_longest;
}

void shard_turns(const struct shard *sh, struct durations *turns)
{
    const uint64_t others = sh->turns - sh->long_turns.count;
    *turns = sh->long_turns;
    turns->count = sh->turns;
    turns->sum_ns = sh->busy_ns;
    turns->buckets[duration_bucket(SHARD_YIELD_NS)] += others;
}

/* Everything but the submit; true when there is more to do at once. */
static bool turn_work(struct shard *sh)
{
    must(shard_of_this_turn == NULL);
    shard_of_this_turn = sh;
    io_turn_begin(sh->io);
    uint64_t began_ns = io_clock_ns(sh->io);
    sh->step_began_ns = began_ns;
    sh->turn_longest = (struct shard_stall){0};

    sh->step = "shard.mail";
    bool more = mail_run(sh);
    shard_step_begin(sh, "shard.completions");
    io_reap(sh->io);
    task_run(sh, &sh->ready);
    more |= timer_run(sh);
    task_run(sh, &sh->at_end);
    shard_step_begin(sh, "shard.wake");
    mail_wake(sh);

    more |= !TAILQ_EMPTY(&sh->ready) || !TAILQ_EMPTY(&sh->at_end) || !STAILQ_EMPTY(&sh->self);
    turn_account(sh, began_ns);
    shard_of_this_turn = NULL;
    return more;
}

bool shard_turn(struct shard *sh)
{
    bool more = turn_work(sh);
    io_submit(sh->io);
    return more;
}

static bool turn_pending(void *shard)
{
    struct shard *sh = shard;
    return __atomic_load_n(&sh->stopping, __ATOMIC_ACQUIRE) || mail_pending(sh);
}

void shard_run(struct shard *sh)
{
    while (!__atomic_load_n(&sh->stopping, __ATOMIC_ACQUIRE)) {
        if (turn_work(sh))
            io_submit(sh->io);
        else
            io_wait(sh->io, shard_deadline_ns(sh), turn_pending, sh);
    }
}

void shard_stop(struct shard *sh)
{
    __atomic_store_n(&sh->stopping, true, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    struct io *io = __atomic_load_n(&sh->io, __ATOMIC_ACQUIRE);
    if (io != NULL)
        io_wake(NULL, io);
}

bool shard_should_yield(const struct shard *sh, uint64_t began_ns)
{
    return io_clock_ns(sh->io) - began_ns > SHARD_YIELD_NS;
}
