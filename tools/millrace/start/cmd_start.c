/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace start`: the broker in the foreground.
 *
 * Everything that can be refused is refused before a thread starts: flags, the properties file, the
 * machine (io_uring), the data directory. Then one pinned thread per shard runs the broker, and
 * this thread waits for signals: TERM, INT and HUP drain and end with 0, a second INT ends at once,
 * USR1 prints the counters. Before that, while nothing is taken yet, they end the process at once.
 * The admin listener has a thread of its own, from before the logs are read.
 *
 * A signal reaches the broker as a word in an eventfd that shard 0 reads through its door. When the
 * broker ends by itself that read is still under way, and is ended by the same word. The doors are
 * closed when no shard runs any more and no signal is waited for: until then a shard may ring the
 * bell of another, and this thread may print what the doors have counted.
 */
#include "core/api/api.h"
#include "core/metadata/store_zookeeper.h"
#include "io/diag.h"
#include "io/fs.h"
#include "io/mem.h"
#include "tools/millrace/start/counters.h"
#include "tools/millrace/start/port_holder.h"
#include "tools/millrace/start/start.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS 1000000000U

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void end(struct start *st, int code)
{
    if (st->exit_code == EXIT_OK)
        st->exit_code = code;
}

/* What is synced there survives kill -9 and nothing more, whatever the acknowledgement says. */
static void warn_of_memory(const struct start *st)
{
    for (uint32_t i = 0; i < st->broker->dirs->count; i++) {
        const struct log_dir *dir = st->broker->dirs->entries[i].dir;
        if (dir && dir->probe.in_memory)
            (void)fprintf(stderr,
                          "warning: %s is on %s, which is memory: a loss of power or a restart of "
                          "the machine takes every record; choose a directory on a disk with "
                          "--data-dir\n",
                          dir->path, dir->probe.type);
    }
}

/* The broker starts without them. */
static void warn_of_missing(const struct start *st)
{
    for (uint32_t i = 0; i < st->broker->dirs->count; i++) {
        const struct log_dirs_entry *entry = &st->broker->dirs->entries[i];
        if (!entry->dir)
            (void)fprintf(stderr, "warning: %s is offline, and so is what lies in it: %s\n",
                          entry->path, entry->error.text);
    }
}

static enum log_durability durability_of(const struct start *st)
{
    return broker_durability(st->broker, (enum log_durability)st->broker->conf->broker.durability);
}

static void warn_of_mode(const struct start *st)
{
    enum log_durability mode = (enum log_durability)st->broker->conf->broker.durability;
    if (mode != LOG_DURABLE)
        (void)fprintf(stderr,
                      "warning: millrace.durability=%s: topics that say nothing else lose "
                      "acknowledged records when %s\n",
                      log_durability_text(mode),
                      mode == LOG_OS ? "power is lost" : "the broker dies or power is lost");
}

static void on_ready(void *user)
{
    struct start *st = user;
    char text[1024] = "";
    for (uint32_t i = 0; i < st->broker->listeners.count; i++) {
        char one[ADDRESS_TEXT_SIZE];
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, " %s",
                 address_print(&st->broker->listeners.listener[i].bind, one));
    }
    printf("ready in %lu ms  kafka%s  data %s  durability %s%s%s\n",
           (unsigned long)((now_ns() - st->began_ns) / 1000000U), text,
           st->broker->conf->broker.log_dirs, log_durability_text(durability_of(st)),
           st->admin.server ? "  admin http://" : "", st->admin.address);
    (void)fflush(stdout);
}

/* Many logs, or a long journal: who waits for more than a second learns for what. */
static void on_progress(void *user, uint32_t done, uint32_t count)
{
    struct start *st = user;
    uint64_t at_ns = now_ns();
    if (at_ns - max_u64(st->began_ns, st->told_ns) < PROGRESS_NS)
        return;
    st->told_ns = at_ns;
    (void)fprintf(stderr, "checking logs: %u of %u\n", done, count);
}

/* The broker knows that a port is taken, /proc by whom. */
static void name_port_holders(const struct listener_set *listeners)
{
    uint16_t last = 0; /* 127.0.0.1 and ::1 share a port */
    for (uint32_t i = 0; i < listeners->count; i++) {
        uint16_t port = listeners->listener[i].bind.port;
        char name[32];
        pid_t pid = port != 0 && port != last ? port_holder_find(port, name) : 0;
        if (pid != 0)
            (void)fprintf(stderr, "millrace start: port %u is held by process %ld (%s)\n", port,
                          (long)pid, name);
        last = port;
    }
}

static void on_failed(void *user, const char *sentence)
{
    struct start *st = user;
    complain(st->inv, "%s", sentence);
    name_port_holders(&st->broker->listeners);
    end(st, EXIT_FAILED);
    broker_stop(st->broker);
}

static void ask_to_stop(const struct start *st)
{
    uint64_t one = 1;
    if (write(st->stop_file, &one, sizeof(one)) != sizeof(one))
        _exit(EXIT_FAILED);
}

static void on_metrics_ended(void *user)
{
    struct start *st = user;
    __atomic_store_n(&st->ended, true, __ATOMIC_RELEASE);
    for (uint16_t i = 0; i < st->shard_count; i++)
        shard_stop(shard_of(st->group, i));
    kill(getpid(), SIGUSR2); /* the main thread waits for signals */
}

static void leave(struct start *st)
{
    if (st->admin.server)
        metrics_end(&st->admin.metrics, on_metrics_ended, st);
    else
        on_metrics_ended(st);
}

static void on_stopped(void *user)
{
    struct start *st = user;
    st->stopped = true;
    if (st->stop_asked)
        leave(st);
    else
        ask_to_stop(st);
}

static void on_stop_asked(struct io_op *op)
{
    struct start *st = container_of(op, struct start, stop_op);
    st->stop_asked = true;
    if (st->stopped)
        leave(st);
    else
        broker_stop(st->broker);
}

static uint64_t spin_ns_of(const struct start *st)
{
    if (st->conf.broker.spin_us >= 0)
        return (uint64_t)st->conf.broker.spin_us * 1000;
    return io_spin_allowed(&st->machine, st->shard_count) ? IO_SPIN_NS : 0;
}

static void shard_main(uint32_t index, void *argument)
{
    struct start *st = argument;
    char sentence[512];
    const struct io_options options = {
        .shard = index,
        .receive_pool_bytes = st->plan.receive_bytes,
        .spin_ns = spin_ns_of(st),
    };
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    must(io); /* the probe opened one like it */
    struct shard *sh = shard_of(st->group, (uint16_t)index);
    shard_init(sh, io);
    broker_shard_begin(st->broker, sh);
    if (st->admin.server)
        metrics_shard_begin(&st->admin.metrics, sh);
    if (index == CONTROL_SHARD) {
        st->stop_op.done = on_stop_asked;
        io_read(io, &st->stop_op, st->stop_file, &st->stop_word, sizeof(st->stop_word), 0);
    }
    shard_run(sh);
    pthread_barrier_wait(&st->all_ran);
    shard_fini(sh);
    io_close_all(io);
}

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};

/* Nothing is taken yet that would have to be given back. */
static void on_early_stop(int number)
{
    (void)number;
    _exit(EXIT_OK);
}

/* Who ignores HUP is under nohup, and goes on when its terminal is closed. */
static bool is_ignored(int number)
{
    struct sigaction before;
    return number == SIGHUP && sigaction(number, NULL, &before) == 0 &&
           before.sa_handler == SIG_IGN;
}

static void stop_early(void)
{
    for (size_t i = 0; i < array_count(stop_signals); i++)
        if (!is_ignored(stop_signals[i]))
            (void)signal(stop_signals[i], on_early_stop);
}

static void wait_for_signals(struct start *st, const sigset_t *signals)
{
    bool asked = false;
    while (!__atomic_load_n(&st->ended, __ATOMIC_ACQUIRE)) {
        int signal;
        if (sigwait(signals, &signal) != 0 || signal == SIGUSR2)
            continue;
        if (signal == SIGUSR1) {
            counters_print(st->broker);
            continue;
        }
        if (asked && signal == SIGINT)
            _exit(EXIT_INTERRUPTED);
        asked = true;
        ask_to_stop(st);
    }
}

static int open_broker(struct start *st)
{
    struct log_error error;
    struct broker_options options = {
        .conf = &st->conf,
        .fs = fs_host(),
        .plan = st->plan,
        .shard_count = st->shard_count,
        .pid = (uint32_t)getpid(),
        .open_files_max = st->files.segments,
        .connections_max = st->files.connections,
        .zookeeper = store_zookeeper_open,
        .on_progress = on_progress,
        .on_ready = on_ready,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
        .user = st,
    };
    if (getrandom(options.seed, sizeof(options.seed), 0) != sizeof(options.seed))
        return EXIT_FAILED;
    st->group = shard_group_new(st->shard_count, SHARD_CREDITS);
    st->broker = broker_open(&options, st->group, &error);
    if (st->broker) {
        warn_of_memory(st);
        warn_of_missing(st);
        warn_of_mode(st);
        return EXIT_OK;
    }
    shard_group_free(st->group);
    complain(st->inv, "%s", error.text);
    return EXIT_REFUSED_DATA;
}

static int start_admin(struct start *st)
{
    const char *key = "millrace.admin.listeners";
    bool chosen = st->conf.set[conf_index(conf_find(CONF_BROKER, key))].text != NULL;
    return admin_start(&st->admin, st->inv, st->conf.broker.admin_listeners, chosen);
}

static int run_broker(struct start *st, const sigset_t *signals)
{
    int code = open_broker(st);
    if (code != EXIT_OK)
        return code;
    if (st->admin.server)
        code = admin_broker(&st->admin, st->inv, st->broker);
    if (code != EXIT_OK)
        return code;
    pthread_barrier_init(&st->all_ran, NULL, st->shard_count + 1U);
    struct threads *threads;
    int error = threads_start(&threads, st->cpus, st->shard_count, shard_main, st);
    if (error < 0) {
        complain(st->inv, "cannot start threads: %s", strerror(-error));
        return EXIT_FAILED;
    }
    wait_for_signals(st, signals);
    pthread_barrier_wait(&st->all_ran);
    threads_join(threads);
    pthread_barrier_destroy(&st->all_ran);
    close(st->stop_file);
    admin_stop(&st->admin);
    broker_close(st->broker);
    shard_group_free(st->group);
    return st->exit_code;
}

static int run(struct start *st)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < array_count(stop_signals); i++)
        if (!is_ignored(stop_signals[i]))
            sigaddset(&signals, stop_signals[i]);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); // NOLINT
    st->stop_file = eventfd(0, EFD_CLOEXEC);
    int code = start_admin(st);
    if (code == EXIT_OK)
        code = run_broker(st, &signals);
    admin_stop(&st->admin);
    return code;
}

int cmd_start(struct invocation *inv)
{
    struct start *st = mem_zalloc(sizeof(*st));
    st->inv = inv;
    st->began_ns = now_ns();
    stop_early();
    api_check();
    int code = start_conf(st);
    if (code == EXIT_OK)
        code = start_machine(st);
    if (code == EXIT_OK)
        code = run(st);
    conf_fini(&st->conf);
    for (size_t i = 0; i < st->override_count; i++)
        mem_free(no_const(st->overrides[i].name));
    mem_free(st->file);
    mem_free(st);
    return code;
}
