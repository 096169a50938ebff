/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine under a broker that starts: its cores, its memory, and io_uring, which is tried
 * before a thread depends on it.
 */
#include "io/diag.h"
#include "tools/millrace/start/start.h"

static bool choose_cores(struct start *st)
{
    struct conf_cores wanted = {0};
    const char *text = st->conf.broker.cores;
    if (text && !conf_cores_parse(text, &wanted))
        return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < st->machine.cpu_count; i++) {
        uint16_t cpu = st->machine.cpus[i];
        if (!wanted.listed || (cpu < CONF_CPU_MAX && wanted.cpus[cpu / 64] >> (cpu % 64) & 1))
            st->cpus[count++] = cpu;
    }
    uint32_t shards = wanted.listed ? count : wanted.count;
    if (shards == 0)
        shards = machine_shards(&st->machine);
    if (count == 0 || shards > SHARDS_MAX || (wanted.listed && count < wanted.count)) {
        complain(st->inv, "--cores %s: this process may use %u cores only", text,
                 st->machine.cpu_count);
        return false;
    }
    /* More shards than cores: they share, which tests want and nobody else. */
    if (shards > count)
        fprintf(stderr, "warning: %u shards share the %u cores that this process may use\n", shards,
                count);
    for (uint32_t i = count; i < shards; i++)
        st->cpus[i] = st->cpus[i % count];
    st->shard_count = (uint16_t)shards;
    return true;
}

static bool probe_io(const struct start *st)
{
    char sentence[512];
    const struct io_options options = {.log_file = -1, .receive_pool_bytes = 1U << 20};
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    if (!io) {
        complain(st->inv, "%s", sentence);
        return false;
    }
    io_close_all(io);
    return true;
}

/* A budget that nothing can be made of, or that the kernel would kill for, is a slip of the pen. */
static bool make_plan(struct start *st)
{
    uint64_t asked = (uint64_t)st->conf.broker.memory_bytes;
    const uint32_t dirs = log_dirs_count(st->conf.broker.log_dirs);
    uint64_t least = plan_bytes_min(st->shard_count, dirs);
    if (asked && asked < least) {
        complain(st->inv, "millrace.memory: %u cores%s need at least %lluM", st->shard_count,
                 dirs > 1 ? " with as many log.dirs" : "", (unsigned long long)(least >> 20));
        return false;
    }
    if (asked > st->machine.memory_bytes) {
        complain(st->inv, "millrace.memory: this process may use %lluM only (%s)",
                 (unsigned long long)(st->machine.memory_bytes >> 20), st->machine.memory_source);
        return false;
    }
    uint64_t bytes = asked ? asked : plan_default_bytes(st->machine.memory_bytes);
    st->plan = plan_make(bytes, asked ? "millrace.memory" : st->machine.memory_source,
                         st->shard_count, dirs);
    return true;
}

/* Too few descriptors are refused; few are shared out, so that connections cannot take those that
 * the logs need. */
static bool plan_descriptors(struct start *st, uint64_t limit)
{
    const uint32_t dirs = log_dirs_count(st->conf.broker.log_dirs);
    unsigned long long least = plan_files_min(st->shard_count, dirs);
    if (limit < least) {
        struct plan_files files = plan_files_make(least, st->shard_count, dirs);
        complain(st->inv,
                 "this process may open %llu files, and %u cores need at least %llu: %u of the "
                 "broker's own, %u segments each, %u connections; raise the limit (ulimit -Hn, "
                 "LimitNOFILE=) or start with fewer --cores",
                 (unsigned long long)limit, st->shard_count, least, files.own, files.segments,
                 files.connections);
        return false;
    }
    st->files = plan_files_make(limit, st->shard_count, dirs);
    if (st->files.short_of)
        fprintf(stderr,
                "warning: this process may open %llu files: %u of the broker's own, %u segments "
                "on each of %u cores, and %u connections; more connections are refused; raise the "
                "limit (ulimit -Hn, LimitNOFILE=)\n",
                (unsigned long long)limit, st->files.own, st->files.segments, st->shard_count,
                st->files.connections);
    return true;
}

int start_machine(struct start *st)
{
    machine_read(&st->machine, "");
    uint64_t descriptors = threads_raise_nofile();
    if (!choose_cores(st))
        return EXIT_USAGE;
    if (!plan_descriptors(st, descriptors))
        return EXIT_FAILED;
    if (!probe_io(st))
        return EXIT_REFUSED_IO;
    return make_plan(st) ? EXIT_OK : EXIT_USAGE;
}
