/* SPDX-License-Identifier: Apache-2.0
 *
 * The world's heart: one heap of events, virtual time, the trace hash, and the machines' clocks.
 *
 * Events at one moment happen in an order thrown by dice (the tie), never by who came first: code
 * must not lean on an order the real machine does not give. The heap is 4-ary; an entry carries its
 * key, so a comparison touches no event.
 */
#include "io/crc.h"
#include "io/sim/drive.h"
#include "io/sim/inside.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define US ((uint64_t)1000)
#define MS ((uint64_t)1000000)
#define S  ((uint64_t)1000000000)

#define WALL_START_MS 1767225600000 /* 2026-01-01 */

void *sim_alloc(size_t size)
{
    void *memory = calloc(1, size);
    must(memory != NULL);
    return memory;
}

void *sim_grow(void *array, uint32_t *size, uint32_t need, size_t element)
{
    if (need <= *size)
        return array;
    uint32_t grown = *size ? *size * 2 : 16;
    if (grown < need)
        grown = need;
    array = realloc(array, grown * element);
    must(array != NULL);
    memset((char *)array + *size * element, 0, (grown - *size) * element);
    *size = grown;
    return array;
}

/* ---- options ---- */

void world_options_calm(struct world_options *options, uint64_t seed)
{
    *options = (struct world_options){
        .seed = seed,
        .drift_ppm_max = 100,
        .wall_offset_ms_max = 50,
        .credits_max = SHARD_CREDITS,
        .receive_blocks_max = 64,
        .disk =
            {
                .read = {.min_ns = 60 * US, .max_ns = 120 * US},
                .write = {.min_ns = 15 * US, .max_ns = 60 * US},
                .flush = {.min_ns = 80 * US, .max_ns = 400 * US},
                .size_bytes = (uint64_t)1 << 40,
            },
        .network =
            {
                .latency = {.min_ns = 50 * US, .max_ns = 200 * US},
                .loopback = {.min_ns = 5 * US, .max_ns = 20 * US},
                .bytes_per_second = 1250000000,
                .buffer_bytes_max = 256 * 1024,
                .connect_timeout_ns = 10 * S,
                .stall_timeout_ns = 60 * S,
            },
    };
}

void world_options_rough(struct world_options *options, uint64_t seed)
{
    struct rng rng = {.state = seed ^ 0x726f756768U};
    world_options_calm(options, seed);
    options->chances = true;
    options->drift_ppm_max = 500;
    options->wall_offset_ms_max = 5000;
    options->credits_max = (uint32_t)rng_between(&rng, 1, 16);
    options->receive_blocks_max = (uint32_t)rng_between(&rng, 2, 32);
    options->long_turn_one_in = rng_one_in(&rng, 2) ? 2000 : 0;
    struct disk_options *disk = &options->disk;
    if (rng_one_in(&rng, 2)) {
        disk->flush.slow_one_in = (uint32_t)rng_between(&rng, 4, 100);
        disk->flush.slow_ns = rng_between(&rng, 1, 50) * MS;
        disk->write.slow_one_in = 50;
        disk->write.slow_ns = 5 * MS;
        disk->read.slow_one_in = 50;
        disk->read.slow_ns = 20 * MS;
    }
    disk->shared_flush = rng_one_in(&rng, 2);
    disk->block_lost_one_in = (uint32_t)rng_between(&rng, 2, 20);
    struct network_options *network = &options->network;
    network->small_pieces_one_in = rng_one_in(&rng, 2) ? 8 : 0;
    network->reset_one_in = rng_one_in(&rng, 2) ? (uint32_t)rng_between(&rng, 200, 2000) : 0;
    network->refuse_one_in = rng_one_in(&rng, 4) ? 10 : 0;
    network->buffer_bytes_max = (uint32_t)rng_between(&rng, 1024, 64 * 1024);
    if (rng_one_in(&rng, 2)) {
        network->latency.slow_one_in = 20;
        network->latency.slow_ns = rng_between(&rng, 1, 40) * MS;
    }
}

uint64_t latency_draw(struct rng *rng, const struct world_latency *latency)
{
    uint64_t ns = rng_between(rng, latency->min_ns, latency->max_ns);
    if (rng_one_in(rng, latency->slow_one_in))
        ns += rng_below(rng, latency->slow_ns);
    return ns;
}

/* ---- the world ---- */

struct world *world_new(const struct world_options *options)
{
    struct world *world = sim_alloc(sizeof(*world));
    struct rng seed = {.state = options->seed};
    world->options = *options;
    world->now_ns = 1 * S;
    world->rng = rng_split(&seed);
    world->ties = rng_split(&seed);
    world->chance = rng_split(&seed);
    world->machines = rng_split(&seed);
    world->net = rng_split(&seed);
    world->hash = rng_next(&seed);
    world->cuts = sim_alloc((size_t)MACHINES_MAX * MACHINES_MAX);
    TAILQ_INIT(&world->machines_list);
    TAILQ_INIT(&world->conns);
    return world;
}

struct world_call {
    struct event event;
    void (*fn)(void *argument);
    void *argument;
};

static void call_event(struct world *world, struct event *event)
{
    struct world_call *call = container_of(event, struct world_call, event);
    (void)world;
    call->fn(call->argument);
    free(call);
}

void world_free(struct world *world)
{
    struct machine *machine;
    TAILQ_FOREACH (machine, &world->machines_list, link) {
        struct process *process;
        TAILQ_FOREACH (process, &machine->processes, link) {
            if (process->state == PROCESS_RUNS)
                process_end(process, CRASH_KILL);
        }
    }
    network_free(world);
    while ((machine = TAILQ_FIRST(&world->machines_list)) != NULL) {
        struct process *process;
        TAILQ_REMOVE(&world->machines_list, machine, link);
        while ((process = TAILQ_FIRST(&machine->processes)) != NULL) {
            TAILQ_REMOVE(&machine->processes, process, link);
            process_free(process);
        }
        disk_free(machine->fs);
        free(machine);
    }
    for (uint32_t i = 0; i < world->heap_count; i++) {
        must(world->heap[i].event->fn == call_event);
        free(container_of(world->heap[i].event, struct world_call, event));
    }
    free(world->heap);
    free(world->cuts);
    free(world->chances.names);
    free(world->chances.on);
    free(world->mutations.names);
    free(world->mutations.on);
    free(world);
}

void world_calm(struct world *world)
{
    struct disk_options *disk = &world->options.disk;
    struct network_options *network = &world->options.network;
    disk->read.slow_one_in = disk->write.slow_one_in = disk->flush.slow_one_in = 0;
    disk->read_error_one_in = disk->write_error_one_in = disk->sync_error_one_in = 0;
    disk->misdirect_one_in = 0;
    network->latency.slow_one_in = network->loopback.slow_one_in = 0;
    network->reset_one_in = 0;
    network->refuse_one_in = 0;
    world_links_heal(world);
}

uint64_t world_now_ns(const struct world *world)
{
    return world->now_ns;
}

uint64_t world_events(const struct world *world)
{
    return world->events;
}

uint64_t world_hash(const struct world *world)
{
    return world->hash;
}

struct rng *world_rng(struct world *world)
{
    return &world->rng;
}

void world_trace(struct world *world, FILE *to)
{
    world->trace = to;
}

void world_note(struct world *world, const char *format, ...)
{
    if (!world->trace)
        return;
    va_list list;
    fprintf(world->trace, "%12.6f note ", (double)world->now_ns / 1e9);
    va_start(list, format);
    vfprintf(world->trace, format, list);
    va_end(list);
    fputc('\n', world->trace);
}

void world_fold(struct world *world, uint64_t value)
{
    uint64_t h = (world->hash ^ value) * 0x9fb21c651e98df25U;
    world->hash = h ^ (h >> 32);
}

void world_fold_bytes(struct world *world, const void *data, size_t len)
{
    world_fold(world, ((uint64_t)len << 32) | crc32c(0, data, len));
}

/* ---- the heap ---- */

static bool entry_before(const struct world_entry *a, const struct world_entry *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->tie < b->tie);
}

static void heap_put(struct world *world, uint32_t at, struct world_entry entry)
{
    world->heap[at] = entry;
    entry.event->slot = at + 1;
}

static void heap_up(struct world *world, uint32_t at, struct world_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 4;
        if (!entry_before(&entry, &world->heap[parent]))
            break;
        heap_put(world, at, world->heap[parent]);
        at = parent;
    }
    heap_put(world, at, entry);
}

static void heap_down(struct world *world, uint32_t at, struct world_entry entry)
{
    for (;;) {
        uint32_t first = at * 4 + 1;
        if (first >= world->heap_count)
            break;
        uint32_t least = first;
        for (uint32_t i = first + 1; i < first + 4 && i < world->heap_count; i++) {
            if (entry_before(&world->heap[i], &world->heap[least]))
                least = i;
        }
        if (!entry_before(&world->heap[least], &entry))
            break;
        heap_put(world, at, world->heap[least]);
        at = least;
    }
    heap_put(world, at, entry);
}

void event_at(struct world *world, struct event *event, uint64_t at_ns)
{
    event_cancel(world, event);
    world->heap =
        sim_grow(world->heap, &world->heap_size, world->heap_count + 1, sizeof(*world->heap));
    struct world_entry entry = {
        .at_ns = max_u64(at_ns, world->now_ns), .tie = rng_next(&world->ties), .event = event};
    world->heap_count++;
    heap_up(world, world->heap_count - 1, entry);
}

void event_cancel(struct world *world, struct event *event)
{
    if (event->slot == 0)
        return;
    uint32_t at = event->slot - 1;
    must(world->heap[at].event == event);
    event->slot = 0;
    world->heap_count--;
    if (at == world->heap_count)
        return;
    struct world_entry last = world->heap[world->heap_count];
    if (at > 0 && entry_before(&last, &world->heap[(at - 1) / 4]))
        heap_up(world, at, last);
    else
        heap_down(world, at, last);
}

static void world_step(struct world *world)
{
    struct world_entry entry = world->heap[0];
    event_cancel(world, entry.event);
    world->now_ns = entry.at_ns;
    world->events++;
    world_fold(world, entry.at_ns);
    if (world->trace)
        fprintf(world->trace, "%12.6f %s\n", (double)world->now_ns / 1e9, entry.event->name);
    entry.event->fn(world, entry.event);
}

void world_run(struct world *world, uint64_t until_ns)
{
    while (world->heap_count > 0 && world->heap[0].at_ns <= until_ns)
        world_step(world);
    world->now_ns = max_u64(world->now_ns, until_ns);
}

bool world_run_until(struct world *world, bool (*done)(void *argument), void *argument,
                     uint64_t limit_ns)
{
    while (!done(argument)) {
        if (world->heap_count == 0 || world->heap[0].at_ns > limit_ns) {
            world->now_ns = max_u64(world->now_ns, limit_ns);
            return false;
        }
        world_step(world);
    }
    return true;
}

void world_at(struct world *world, uint64_t at_ns, void (*fn)(void *argument), void *argument)
{
    struct world_call *call = sim_alloc(sizeof(*call));
    call->event = (struct event){.fn = call_event, .name = "scenario"};
    call->fn = fn;
    call->argument = argument;
    event_at(world, &call->event, at_ns);
}

/* ---- names ---- */

static unsigned name_find(struct world *world, struct world_names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (names->names[i].name == name || strcmp(names->names[i].name, name) == 0)
            return i;
    }
    uint32_t size = names->count;
    names->names = sim_grow(names->names, &size, names->count + 1, sizeof(*names->names));
    size = names->count;
    names->on = sim_grow(names->on, &size, names->count + 1, sizeof(*names->on));
    /* A site's fate hangs on its name and the seed, not on when it was first reached. */
    uint64_t hash = crc32c(0, name, strlen(name)) ^ world->options.seed;
    struct rng dice = {.state = hash};
    names->names[names->count] = (struct world_name){.name = name};
    names->on[names->count] = rng_one_in(&dice, 2);
    return names->count++;
}

bool io_chance(struct io *io, const char *name, uint32_t one_in)
{
    struct world *world = io->world;
    unsigned i = name_find(world, &world->chances, name);
    world->chances.names[i].asked++;
    bool taken =
        world->options.chances && world->chances.on[i] && rng_one_in(&world->chance, one_in);
    world->chances.names[i].taken += taken;
    return taken;
}

static bool world_mutation(struct world *world, const char *name)
{
    unsigned i = name_find(world, &world->mutations, name);
    world->mutations.names[i].asked++;
    bool taken = world->options.mutation && strcmp(world->options.mutation, name) == 0;
    world->mutations.names[i].taken += taken;
    return taken;
}

bool io_mutation(const struct io *io, const char *name)
{
    return world_mutation(io->world, name);
}

bool fs_mutation(const struct fs *fs, const char *name)
{
    return world_mutation(fs->world, name);
}

unsigned world_chances(const struct world *world, const struct world_name **names)
{
    *names = world->chances.names;
    return world->chances.count;
}

unsigned world_mutations(const struct world *world, const struct world_name **names)
{
    *names = world->mutations.names;
    return world->mutations.count;
}

/* ---- machines ---- */

struct machine *world_machine(struct world *world, const char *name)
{
    struct machine *machine;
    TAILQ_FOREACH (machine, &world->machines_list, link) {
        if (strcmp(machine->name, name) == 0)
            return machine;
    }
    must(world->machine_count < MACHINES_MAX && strlen(name) < sizeof(machine->name));
    machine = sim_alloc(sizeof(*machine));
    memcpy(machine->name, name, strlen(name));
    machine->world = world;
    machine->index = world->machine_count++;
    machine->network_factor = 1;
    TAILQ_INIT(&machine->processes);
    TAILQ_INSERT_TAIL(&world->machines_list, machine, link);
    int64_t range = (int64_t)world->options.wall_offset_ms_max;
    machine->wall_offset_ms =
        WALL_START_MS + (int64_t)rng_below(&world->machines, (uint64_t)range * 2 + 1) - range;
    machine_boot(machine);
    machine->fs = disk_new(world, machine);
    return machine;
}

/* The monotonic clock begins anywhere, and drifts at a rate of its own. */
void machine_boot(struct machine *machine)
{
    struct world *world = machine->world;
    int64_t ppm = world->options.drift_ppm_max;
    machine->booted_ns = world->now_ns;
    machine->mono_offset_ns = rng_below(&world->machines, (uint64_t)100 * 86400 * S) + S;
    machine->drift_ppm = (int64_t)rng_below(&world->machines, (uint64_t)ppm * 2 + 1) - ppm;
    machine->next_port = (uint16_t)(32768 + rng_below(&world->machines, 1000));
}

uint64_t machine_clock_ns(const struct machine *machine)
{
    int64_t since = (int64_t)(machine->world->now_ns - machine->booted_ns);
    return machine->mono_offset_ns + (uint64_t)(since + since / 1000000 * machine->drift_ppm +
                                                since % 1000000 * machine->drift_ppm / 1000000);
}

uint64_t machine_world_ns(const struct machine *machine, uint64_t clock_ns)
{
    if (clock_ns <= machine_clock_ns(machine))
        return machine->world->now_ns;
    unsigned __int128 since = clock_ns - machine->mono_offset_ns;
    since = since * 1000000 / (unsigned __int128)(1000000 + machine->drift_ppm);
    /* One microsecond later than exact: a deadline may be late, never early. */
    unsigned __int128 at = since + machine->booted_ns + 1000;
    return at > UINT64_MAX / 4 ? UINT64_MAX : (uint64_t)at;
}

void machine_address(const struct machine *machine, uint16_t port, struct io_address *address)
{
    *address = (struct io_address){
        .ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)(machine->index + 1)},
        .port = port};
}

struct fs *machine_fs(struct machine *machine)
{
    return machine->fs;
}

void machine_jump_wall(struct machine *machine, int64_t by_ms)
{
    machine->wall_offset_ms += by_ms;
    world_note(machine->world, "%s: wall clock jumps by %lld ms", machine->name, (long long)by_ms);
}

bool machine_runs(const struct machine *machine)
{
    struct process *process;
    TAILQ_FOREACH (process, &machine->processes, link) {
        if (process->state == PROCESS_RUNS)
            return true;
    }
    return false;
}
