/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes: how shipped code comes to run, takes its turns, stops and dies.
 *
 * A shard's turn is one event. It runs when there is something to do (`due`: a completion, a wake,
 * work left from the turn before) or a deadline has passed, and then the shard is busy for as long
 * as its clock has run during the turn; nothing else wakes it, so a missed wake shows as a hang.
 *
 * A process that crashes leaves nothing but its bytes on the disk: events out of the heap, memory
 * back, connections ended, files closed. It never happens inside a turn, whose effects all leave
 * through the door and are events of their own; but it may strike inside a blocking call (io_work,
 * prepare), between any two changes to the disk, and then unwinds by longjmp.
 */
#include "io/diag.h"
#include "io/sim/inside.h"

#include <stdlib.h>
#include <string.h>

_Thread_local struct process *process_here;
_Thread_local struct strike *strike_here;

static struct process *enter(struct process *process)
{
    struct process *before = process_here;
    process_here = process;
    mem_owner_set(process ? &process->memory : NULL);
    return before;
}

bool process_block(struct process *process, void (*fn)(void *argument), void *argument)
{
    struct strike strike = {.machine = process->machine};
    struct strike *outer = strike_here;
    struct process *before = enter(process);
    must(outer == NULL);
    strike_here = &strike;
    /* Nothing that changes between setjmp and longjmp is read afterwards. */
    if (setjmp(strike.back) == 0) {
        fn(argument);
        strike_here = NULL;
        enter(before);
        return true;
    }
    strike_here = NULL;
    enter(NULL);
    machine_crash(process->machine, disk_laid_crash(process->machine->fs));
    return false;
}

/* ---- turns ---- */

void io_turn_at(struct io *io, uint64_t at_ns)
{
    at_ns = max_u64(at_ns, io->busy_until_ns);
    if (io->gone || (io->turn.slot != 0 && io->turn_at_ns <= at_ns))
        return;
    io->turn_at_ns = at_ns;
    event_at(io->world, &io->turn, at_ns);
}

static void process_stop(struct process *process)
{
    struct process *before = enter(process);
    if (process->program.stop)
        process->program.stop(process->prepared);
    shard_group_free(process->group);
    process->group = NULL;
    enter(before);
    network_end(process, CRASH_KILL);
    disk_process_end(process->machine->fs, process);
    process->state = PROCESS_STOPPED;
    world_note(process->machine->world, "%s: %s stopped", process->machine->name, process->name);
}

static void shard_stopped(struct io *io, struct shard *sh)
{
    struct process *process = io->process;
    struct process *before = enter(process);
    shard_fini(sh);
    io_close_all(io);
    enter(before);
    if (--process->running == 0)
        process_stop(process);
}

static void turn_event(struct world *world, struct event *event)
{
    struct io *io = container_of(event, struct io, turn);
    struct process *process = io->process;
    struct shard *sh = shard_of(process->group, io->shard);
    uint64_t deadline_ns = shard_deadline_ns(sh);
    if (!io->due && deadline_ns > machine_clock_ns(io->machine)) {
        if (deadline_ns != UINT64_MAX)
            io_turn_at(io, machine_world_ns(io->machine, deadline_ns));
        return;
    }
    io->due = false;
    world_fold(world, ((uint64_t)io->machine->index << 16) | io->shard);
    struct process *before = enter(process);
    if (io->begins) {
        io->begins = false;
        io_turn_begin(io);
        process->program.start(sh, process->prepared);
    }
    bool more = shard_turn(sh);
    enter(before);
    io->busy_until_ns = world->now_ns + io->clock->skew_ns + rng_between(&io->dice, 200, 2000);
    if (sh->stopping) {
        shard_stopped(io, sh);
        return;
    }
    if (more || io->completed_count > 0) {
        io->due = true;
        io_turn_at(io, io->busy_until_ns);
        return;
    }
    deadline_ns = shard_deadline_ns(sh);
    if (deadline_ns != UINT64_MAX)
        io_turn_at(io, machine_world_ns(io->machine, deadline_ns));
}

/* ---- the turn's half of the door ---- */

struct io *io_open(const struct io_options *options, char *error, size_t error_size)
{
    struct process *process = process_here;
    must(process != NULL && error_size > 0);
    error[0] = '\0';
    struct world *world = process->machine->world;
    struct io *io = sim_alloc(sizeof(*io));
    io->world = world;
    io->machine = process->machine;
    io->process = process;
    io->shard = (uint16_t)options->shard;
    io->rng = rng_split(&world->machines);
    io->dice = rng_split(&world->machines);
    io->clock_mine.dice = rng_split(&world->machines);
    io->clock = &io->clock_mine;
    io->turn = (struct event){.fn = turn_event, .name = "turn"};
    TAILQ_INIT(&io->completed);
    TAILQ_INIT(&io->works);
    TAILQ_INIT(&io->connects);
    TAILQ_INIT(&io->thirsty);
    uint64_t blocks = max_u64(options->receive_pool_bytes / IO_BLOCK_SIZE, 2);
    blocks = rng_between(&world->machines, 2,
                         max_u64(2, min_u64(blocks, world->options.receive_blocks_max)));
    io->block_count = (uint32_t)blocks;
    io->block_free_count = io->block_count;
    io->blocks = sim_alloc(io->block_count * sizeof(*io->blocks));
    for (uint32_t i = io->block_count; i-- > 0;) {
        io->blocks[i] = (struct io_block){.index = i, .next = io->block_free};
        io->block_free = &io->blocks[i];
    }
    io_turn_begin(io);
    return io;
}

/* Its memory stays with the process, whose list of ios the world still reads. */
void io_close_all(struct io *io)
{
    must(io->in_flight == 0 && io->completed_count == 0);
    for (uint32_t i = 0; i < io->block_count; i++) {
        mem_pages_free(io->blocks[i].data, IO_BLOCK_SIZE);
        io->blocks[i].data = NULL;
    }
    event_cancel(io->world, &io->turn);
    io->gone = true;
}

void io_turn_begin(struct io *io)
{
    io->now_ns = machine_clock_ns(io->machine);
    io->wall_ms =
        io->machine->wall_offset_ms +
        (int64_t)((io->now_ns - io->machine->mono_offset_ns + io->machine->booted_ns) / 1000000);
    io->clock->skew_ns = 0;
}

unsigned io_reap(struct io *io)
{
    unsigned count = io->completed_count;
    for (unsigned i = 0; i < count; i++) {
        struct io_op *op = TAILQ_FIRST(&io->completed);
        TAILQ_REMOVE(&io->completed, op, link);
        io->completed_count--;
        io->in_flight--;
        io->counts.completions++;
        if (op->priv[2] != 0) {
            uint32_t *pending = (uint32_t *)(uintptr_t)op->priv[2];
            --*pending;
        }
        op->priv[0] = OP_NONE;
        world_fold(io->world, (uint64_t)op->res);
        op->done(op);
    }
    return count;
}

void io_submit(struct io *io)
{
    io->counts.enters++;
}

void io_wait(struct io *io, uint64_t until_ns, bool (*pending)(void *argument), void *argument)
{
    (void)until_ns;
    (void)pending;
    (void)argument;
    must(io == NULL); /* the world itself is what waits: shard_run() is for real threads */
}

void io_wake(struct io *from, struct io *to)
{
    must(!from || from->process == to->process);
    to->due = true;
    uint64_t late_ns = (from ? from->clock->skew_ns : 0) + rng_below(&to->dice, 5000);
    io_turn_at(to, to->world->now_ns + late_ns);
}

void io_begin(struct io *io, struct io_op *op, enum op_state state, void *thing, uint32_t *pending)
{
    must(op->done != NULL && !io->gone && io->process == process_here);
    op->res = INT64_MIN;
    op->priv[0] = state;
    op->priv[1] = (uintptr_t)thing;
    op->priv[2] = (uintptr_t)pending;
    io->in_flight++;
    io->counts.submissions++;
    if (pending)
        ++*pending;
}

/* In any order: at either end of what is waiting already. */
void io_complete(struct io *io, struct io_op *op, int64_t res)
{
    op->res = res;
    op->priv[0] = OP_COMPLETED;
    if (rng_one_in(&io->dice, 2))
        TAILQ_INSERT_HEAD(&io->completed, op, link);
    else
        TAILQ_INSERT_TAIL(&io->completed, op, link);
    io->completed_count++;
    io->due = true;
    io_turn_at(io, io->world->now_ns + rng_below(&io->dice, 3000));
}

const struct io_counts *io_counts(const struct io *io)
{
    return &io->counts;
}

/* ---- time and chance ---- */

uint64_t io_now_ns(const struct io *io)
{
    return io->now_ns;
}

int64_t io_wall_ms(const struct io *io)
{
    return io->wall_ms;
}

uint64_t io_clock_ns(const struct io *io)
{
    struct io_clock *clock = io->clock;
    uint64_t throw = rng_next(&clock->dice);
    clock->skew_ns += throw % 512;
    if ((throw >> 16) % 128 == 0)
        clock->skew_ns += (throw >> 32) % 300000;
    if (rng_one_in(&clock->dice, io->world->options.long_turn_one_in))
        clock->skew_ns += (throw >> 24) % 2000000;
    return io->now_ns + clock->skew_ns;
}

int64_t io_wall_us(const struct io *io)
{
    if (!io)
        return process_here ? process_here->machine->wall_offset_ms * 1000 : 0;
    return io->wall_ms * 1000 + (int64_t)((io_clock_ns(io) - io->now_ns) / 1000);
}

/* Never full; what is said counts as behaviour, so two runs that log differently differ. */
struct io_log_style io_log_style(void)
{
    return (struct io_log_style){0};
}

uint8_t io_log_level(uint32_t logger)
{
    return process_here ? process_here->log_levels[logger] : 0;
}

void io_log_level_set(uint32_t logger, uint8_t level)
{
    must(process_here != NULL);
    process_here->log_levels[logger] = level;
}

bool io_log(struct io *io, const char *line, size_t len)
{
    struct process *process = io ? io->process : process_here;
    if (!process)
        return true;
    world_fold_bytes(process->machine->world, line, len);
    if (process->machine->world->trace)
        world_note(process->machine->world, "%s: log %.*s", process->machine->name,
                   (int)(len > 0 ? len - 1 : 0), line);
    return true;
}

uint64_t io_random(struct io *io)
{
    return rng_next(&io->rng);
}

struct fs *io_fs(struct io *io)
{
    return io->machine->fs;
}

/* ---- helper threads ---- */

struct sim_work {
    struct event event;
    struct io *io;
    struct io_op *op;
    void (*work)(void *argument);
    void *argument;
    TAILQ_ENTRY(sim_work) link;
};

static void work_event(struct world *world, struct event *event)
{
    struct sim_work *work = container_of(event, struct sim_work, event);
    struct io *io = work->io;
    struct io_op *op = work->op;
    void (*fn)(void *argument) = work->work;
    void *argument = work->argument;
    (void)world;
    TAILQ_REMOVE(&io->works, work, link);
    free(work);
    if (process_block(io->process, fn, argument))
        io_complete(io, op, 0);
}

void io_work(struct io *io, struct io_op *op, void (*work)(void *argument), void *argument)
{
    struct sim_work *job = sim_alloc(sizeof(*job));
    *job = (struct sim_work){.event = {.fn = work_event, .name = "work"},
                             .io = io,
                             .op = op,
                             .work = work,
                             .argument = argument};
    io_begin(io, op, OP_WORK, job, NULL);
    TAILQ_INSERT_TAIL(&io->works, job, link);
    uint64_t delay_ns = rng_between(&io->dice, 2000, 200000);
    if (rng_one_in(&io->dice, 16))
        delay_ns += rng_below(&io->dice, 20000000);
    event_at(io->world, &job->event, io->world->now_ns + delay_ns);
}

/* ---- names of hosts ---- */

/* A machine has its name and the one address. */
static void lookup_work(void *argument)
{
    struct io_lookup *lookup = argument;
    const struct machine *machine;
    lookup->count = 0;
    TAILQ_FOREACH (machine, &lookup->io->world->machines_list, link) {
        if (strcmp(machine->name, lookup->host) == 0 && !rng_one_in(&lookup->io->dice, 8))
            machine_address(machine, 0, &lookup->addresses[lookup->count++]);
    }
}

void io_lookup(struct io *io, struct io_lookup *lookup)
{
    lookup->io = io;
    io_work(io, &lookup->op, lookup_work, lookup);
}

void io_lookup_end(struct io *io, struct io_lookup *lookup)
{
    (void)io;
    (void)lookup; /* none takes long here */
}

/* ---- birth ---- */

static void prepare_run(void *argument)
{
    struct process *process = argument;
    const struct program *program = &process->program;
    bool failed = false;
    process->prepared = program->prepare(process->machine->fs, program->argument, &failed);
    if (failed)
        process->state = PROCESS_FAILED;
}

static bool process_prepare(struct process *process)
{
    process->prepared = process->program.argument;
    if (!process->program.prepare)
        return true;
    if (!process_block(process, prepare_run, process))
        return false;
    if (process->state == PROCESS_FAILED) {
        disk_process_end(process->machine->fs, process);
        mem_owner_free_all(&process->memory);
        return false;
    }
    return true;
}

static void process_shards(struct process *process)
{
    struct world *world = process->machine->world;
    uint32_t blocks = process->program.receive_blocks;
    char error[128];
    uint16_t order[SHARDS_MAX];
    must(process->shards > 0 && process->shards <= SHARDS_MAX);
    process->group = shard_group_new(
        process->shards, (uint32_t)rng_between(&world->machines, 1, world->options.credits_max));
    process->ios = sim_alloc(process->shards * sizeof(struct io *));
    process->running = process->shards;
    for (uint16_t i = 0; i < process->shards; i++) {
        struct io_options options = {
            .shard = i, .receive_pool_bytes = (uint64_t)(blocks ? blocks : 1024) * IO_BLOCK_SIZE};
        process->ios[i] = io_open(&options, error, sizeof(error));
        shard_init(shard_of(process->group, i), process->ios[i]);
        uint64_t place = rng_below(&world->machines, i + 1U);
        order[i] = order[place];
        order[place] = i;
    }
    for (uint16_t i = 0; i < process->shards; i++) {
        struct io *io = process->ios[order[i]];
        io_turn_begin(io);
        io->begins = process->program.apart;
        if (!io->begins)
            process->program.start(shard_of(process->group, order[i]), process->prepared);
        io->due = true;
        io_turn_at(io, world->now_ns + rng_below(&io->dice, io->begins ? 500000 : 50000));
    }
}

struct process *machine_start(struct machine *machine, const struct program *program)
{
    struct process *process = sim_alloc(sizeof(*process));
    process->name = program->name ? program->name : "program";
    process->machine = machine;
    process->state = PROCESS_RUNS;
    process->shards = program->shards;
    process->program = *program;
    mem_owner_init(&process->memory);
    TAILQ_INSERT_TAIL(&machine->processes, process, link);
    world_note(machine->world, "%s: %s starts, %u shards", machine->name, process->name,
               process->shards);
    must(process_here == NULL);
    if (machine->dark)
        machine_boot(machine);
    machine->dark = false;
    if (!process_prepare(process))
        return NULL;
    enter(process);
    process_shards(process);
    enter(NULL);
    return process;
}

/* ---- death ---- */

static void io_end(struct io *io)
{
    struct sim_work *work;
    while ((work = TAILQ_FIRST(&io->works)) != NULL) {
        TAILQ_REMOVE(&io->works, work, link);
        event_cancel(io->world, &work->event);
        free(work);
    }
    event_cancel(io->world, &io->turn);
    io->gone = true;
}

/* Order matters: what is in flight may still read the process's memory. */
void process_end(struct process *process, enum crash crash)
{
    must(process->state == PROCESS_RUNS && process_here == NULL);
    disk_process_crash(process->machine->fs, process, crash);
    network_end(process, crash);
    for (uint16_t i = 0; process->ios && i < process->shards; i++)
        io_end(process->ios[i]);
    disk_process_end(process->machine->fs, process);
    mem_owner_free_all(&process->memory);
    process->group = NULL;
    process->state = PROCESS_CRASHED;
}

void process_free(struct process *process)
{
    must(process->state != PROCESS_RUNS);
    mem_owner_free_all(&process->memory);
    for (uint16_t i = 0; process->ios && i < process->shards; i++) {
        free(process->ios[i]->blocks);
        free(process->ios[i]);
    }
    free((void *)process->ios);
    free(process->sockets);
    free(process);
}

void process_kill(struct process *process)
{
    if (process->state != PROCESS_RUNS)
        return;
    world_note(process->machine->world, "%s: kill -9 %s", process->machine->name, process->name);
    process_end(process, CRASH_KILL);
}

void machine_crash(struct machine *machine, enum crash crash)
{
    struct process *process;
    world_note(machine->world, "%s: %s", machine->name,
               crash == CRASH_KILL ? "kill -9" : "power loss");
    TAILQ_FOREACH (process, &machine->processes, link) {
        if (process->state == PROCESS_RUNS)
            process_end(process, crash);
    }
    if (crash == CRASH_POWER) {
        disk_power_loss(machine->fs);
        machine->dark = true;
    }
}

enum process_state process_state(const struct process *process)
{
    return process->state;
}

uint64_t process_memory(const struct process *process)
{
    return process->memory.bytes;
}

struct shard *process_shard(struct process *process, uint16_t shard)
{
    return process->group ? shard_of(process->group, shard) : NULL;
}

struct call {
    struct io_op op;
    struct shard *sh;
    void (*fn)(struct shard *sh, void *argument);
    void *argument;
};

static void call_done(struct io_op *op)
{
    struct call call = *container_of(op, struct call, op);
    mem_free(container_of(op, struct call, op));
    call.fn(call.sh, call.argument);
}

void process_call(struct process *process, uint16_t shard,
                  void (*fn)(struct shard *sh, void *argument), void *argument)
{
    if (process->state != PROCESS_RUNS || process->ios[shard]->gone)
        return;
    struct process *before = enter(process);
    struct call *call = mem_zalloc(sizeof(*call));
    *call = (struct call){.op = {.done = call_done},
                          .sh = shard_of(process->group, shard),
                          .fn = fn,
                          .argument = argument};
    io_begin(process->ios[shard], &call->op, OP_NONE, NULL, NULL);
    io_complete(process->ios[shard], &call->op, 0);
    enter(before);
}
