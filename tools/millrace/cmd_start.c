/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace start`: the broker in the foreground.
 *
 * Everything that can be refused is refused before a thread starts: flags, the properties file, the
 * machine (io_uring), the data directory. Then one pinned thread per shard runs the broker, and
 * this thread waits for signals: TERM and INT drain and end with 0, a second INT ends at once.
 */
#include "core/api.h"
#include "core/broker.h"
#include "io/diag.h"
#include "io/fs.h"
#include "io/mem.h"
#include "io/threads.h"
#include "tools/millrace/command.h"
#include "tools/millrace/port_holder.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define ASSIGNMENTS_MAX 256U
#define PROPERTIES_MAX  (1U << 20)
#define SPIN_NS         30000U
#define LISTEN_TEXT_MAX 512U

struct start {
    struct conf conf;
    struct conf_assignment overrides[ASSIGNMENTS_MAX];
    uint32_t override_count;
    struct conf_assignment flags[ASSIGNMENTS_MAX];
    uint32_t flag_count;
    const char *file_name;
    char *file;
    size_t file_len;
    char hostname[256];
    char listen_text[LISTEN_TEXT_MAX];
    bool verbose;

    struct machine machine;
    uint16_t cpus[SHARDS_MAX];
    uint16_t shard_count;
    struct shard_group *group;
    struct broker *broker;
    struct plan plan;
    int stop_file; /* eventfd: written by the signal thread, read by shard 0 */
    struct io_op stop_op;
    uint64_t stop_word;
    uint64_t began_ns;
    volatile int exit_code;
    volatile bool ended;
};

/* One broker per process here; its doors stay open until the process ends. */
static struct start *started;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* ---- flags ---- */

static const char start_help[] =
    "usage: millrace start [server.properties] [options]\n"
    "\n"
    "Runs a broker in the foreground. Without arguments it is safe and useful: every acknowledged\n"
    "record is on stable storage, data lives in ./millrace-data, clients connect to "
    "127.0.0.1:9092.\n"
    "\n"
    "  server.properties        Kafka's own file; what it says is reported at start\n"
    "  --data-dir DIR           where the data lives (log.dirs)\n"
    "  --listen HOST:PORT       where clients connect (listeners); port 0 takes a free one\n"
    "  --advertise HOST:PORT    what clients are told (advertised.listeners)\n"
    "  --cores N|LIST           how many cores, or which (0-3,6); default: all this process may "
    "use\n"
    "  --memory SIZE            the memory budget, e.g. 512M; default: a quarter of the machine's\n"
    "  --node-id N              this node's number in its cluster\n"
    "  --override KEY=VALUE     sets any key of server.properties; may be repeated\n"
    "  -v, --verbose            reports every key that the file sets\n"
    "  -h, --help               this text\n"
    "\n"
    "examples:\n"
    "  millrace start\n"
    "  millrace start --data-dir /var/lib/millrace --listen 0.0.0.0:9092 --cores 4\n"
    "  millrace start config/server.properties --override num.partitions=12\n";

static bool add_flag(struct start *st, const char *name, const char *value)
{
    if (st->flag_count == ASSIGNMENTS_MAX)
        return false;
    st->flags[st->flag_count++] = (struct conf_assignment){.name = name, .value = value};
    return true;
}

static bool add_override(struct start *st, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || st->override_count == ASSIGNMENTS_MAX) {
        fprintf(stderr, "millrace start: --override wants KEY=VALUE, not '%s'\n", text);
        return false;
    }
    *equals = 0;
    st->overrides[st->override_count++] =
        (struct conf_assignment){.name = text, .value = equals + 1};
    return true;
}

static bool add_listen(struct start *st, const char *address)
{
    size_t used = strlen(st->listen_text);
    int wrote = snprintf(st->listen_text + used, sizeof(st->listen_text) - used, "%s%s%s",
                         used ? "," : "", strstr(address, "://") ? "" : "PLAINTEXT://", address);
    return wrote > 0 && (size_t)wrote < sizeof(st->listen_text) - used;
}

enum flag {
    FLAG_DATA_DIR = 256,
    FLAG_LISTEN,
    FLAG_ADVERTISE,
    FLAG_CORES,
    FLAG_MEMORY,
    FLAG_NODE_ID,
    FLAG_OVERRIDE,
};

static const struct option start_options[] = {
    {"data-dir", required_argument, NULL, FLAG_DATA_DIR},
    {"listen", required_argument, NULL, FLAG_LISTEN},
    {"advertise", required_argument, NULL, FLAG_ADVERTISE},
    {"cores", required_argument, NULL, FLAG_CORES},
    {"memory", required_argument, NULL, FLAG_MEMORY},
    {"node-id", required_argument, NULL, FLAG_NODE_ID},
    {"override", required_argument, NULL, FLAG_OVERRIDE},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool take_flag(struct start *st, int flag, char *value)
{
    switch (flag) {
    case FLAG_DATA_DIR:
        return add_flag(st, "log.dirs", value);
    case FLAG_LISTEN:
        return add_listen(st, value);
    case FLAG_ADVERTISE: {
        static char text[LISTEN_TEXT_MAX];
        snprintf(text, sizeof(text), "%s%s", strstr(value, "://") ? "" : "PLAINTEXT://", value);
        return add_flag(st, "advertised.listeners", text);
    }
    case FLAG_CORES:
        return add_flag(st, "millrace.cores", value);
    case FLAG_MEMORY:
        return add_flag(st, "millrace.memory", value);
    case FLAG_NODE_ID:
        return add_flag(st, "node.id", value);
    case FLAG_OVERRIDE:
        return add_override(st, value);
    case 'v':
        st->verbose = true;
        return true;
    default:
        return false;
    }
}

/* EXIT_OK to go on, else how to end; *done: the help was asked for. */
static int parse_flags(struct start *st, int argc, char **argv, bool *done)
{
    int flag;
    optind = 1;
    while ((flag = getopt_long(argc, argv, "vh", start_options, NULL)) != -1) {
        if (flag == 'h') {
            fputs(start_help, stdout);
            *done = true;
            return EXIT_OK;
        }
        if (!take_flag(st, flag, optarg)) {
            fprintf(stderr, "try: millrace start --help\n");
            return EXIT_USAGE;
        }
    }
    if (optind < argc)
        st->file_name = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "millrace start: unexpected '%s'; one properties file at most\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    if (st->listen_text[0])
        add_flag(st, "listeners", st->listen_text);
    return EXIT_OK;
}

/* ---- configuration ---- */

static bool read_file(struct start *st)
{
    FILE *in = fopen(st->file_name, "rb");
    if (!in) {
        fprintf(stderr, "millrace start: cannot read %s: %s\n", st->file_name, strerror(errno));
        return false;
    }
    st->file = mem_alloc(PROPERTIES_MAX + 1);
    st->file_len = fread(st->file, 1, PROPERTIES_MAX + 1, in);
    bool whole = !ferror(in) && st->file_len <= PROPERTIES_MAX;
    fclose(in);
    if (!whole)
        fprintf(stderr, "millrace start: %s is larger than 1 MiB; is it a properties file?\n",
                st->file_name);
    return whole;
}

static void print_report(const struct start *st)
{
    static const char *const levels[] = {"detail", "info", "warning", "error"};
    for (uint32_t i = 0; i < st->conf.line_count; i++) {
        const struct conf_line *line = &st->conf.line[i];
        if (line->level > CONF_DETAIL || st->verbose)
            fprintf(stderr, "%s: %s\n", levels[line->level], line->text);
    }
}

static int load_conf(struct start *st)
{
    if (st->file_name && !read_file(st))
        return EXIT_FAILED;
    if (gethostname(st->hostname, sizeof(st->hostname) - 1) < 0)
        snprintf(st->hostname, sizeof(st->hostname), "localhost");
    const struct conf_input input = {
        .file_name = st->file_name,
        .file = st->file,
        .file_len = st->file_len,
        .override = st->overrides,
        .override_count = st->override_count,
        .flag = st->flags,
        .flag_count = st->flag_count,
        .hostname = st->hostname,
    };
    bool good = conf_load(&st->conf, &input);
    print_report(st);
    return good ? EXIT_OK : EXIT_USAGE;
}

/* Names that the broker binds to are looked up here, where waiting harms nobody. */
static bool resolve_listeners(struct start *st)
{
    for (uint32_t i = 0; i < st->conf.listeners.count; i++) {
        struct address *bind = &st->conf.listeners.listener[i].bind;
        if (bind->kind != ADDRESS_NAME || address_is_wildcard(bind))
            continue;
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found;
        int error = getaddrinfo(bind->host, NULL, &hints, &found);
        if (error) {
            fprintf(stderr, "millrace start: listeners: cannot look up '%s': %s\n", bind->host,
                    gai_strerror(error));
            return false;
        }
        bool v6 = found->ai_family == AF_INET6;
        const void *ip =
            v6 ? (const void *)&((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr
               : (const void *)&((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr;
        address_set_ip(bind, v6, ip);
        freeaddrinfo(found);
    }
    return true;
}

/* ---- the machine ---- */

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
        fprintf(stderr, "millrace start: --cores %s: this process may use %u cores only\n", text,
                st->machine.cpu_count);
        return false;
    }
    /* More shards than cores: they share, which tests want and nobody else. */
    for (uint32_t i = count; i < shards; i++)
        st->cpus[i] = st->cpus[i % count];
    st->shard_count = (uint16_t)shards;
    return true;
}

static bool probe_io(void)
{
    char sentence[512];
    const struct io_options options = {.log_file = -1, .receive_pool_bytes = 1U << 20};
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    if (!io) {
        fprintf(stderr, "millrace start: %s\n", sentence);
        return false;
    }
    io_close_all(io);
    return true;
}

static void make_plan(struct start *st)
{
    uint64_t asked = (uint64_t)st->conf.broker.memory_bytes;
    uint64_t bytes = asked ? asked : plan_default_bytes(st->machine.memory_bytes);
    st->plan =
        plan_make(bytes, asked ? "millrace.memory" : st->machine.memory_source, st->shard_count);
}

/* ---- running ---- */

static void end(struct start *st, int code)
{
    if (st->exit_code == EXIT_OK)
        st->exit_code = code;
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
    printf("ready in %lu ms  kafka%s  data %s  durability durable\n",
           (unsigned long)((now_ns() - st->began_ns) / 1000000U), text, st->broker->dir->path);
    fflush(stdout);
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
            fprintf(stderr, "millrace start: port %u is held by process %ld (%s)\n", port,
                    (long)pid, name);
        last = port;
    }
}

static void on_failed(void *user, const char *sentence)
{
    struct start *st = user;
    fprintf(stderr, "millrace start: %s\n", sentence);
    name_port_holders(&st->broker->listeners);
    end(st, EXIT_FAILED);
    broker_stop(st->broker);
}

static void on_stopped(void *user)
{
    struct start *st = user;
    st->ended = true;
    for (uint16_t i = 0; i < st->shard_count; i++)
        shard_stop(shard_of(st->group, i));
    kill(getpid(), SIGUSR2); /* the main thread waits for signals */
}

static void on_stop_asked(struct io_op *op)
{
    struct start *st = container_of(op, struct start, stop_op);
    if (op->res == (int64_t)sizeof(st->stop_word))
        broker_stop(st->broker);
}

static void shard_main(uint32_t index, void *argument)
{
    struct start *st = argument;
    char sentence[512];
    const struct io_options options = {
        .shard = index,
        .receive_pool_bytes = st->plan.receive_bytes,
        .spin_ns = io_spin_allowed(&st->machine, st->shard_count) ? SPIN_NS : 0,
    };
    struct io *io = io_open(&options, sentence, sizeof(sentence));
    must(io); /* the probe opened one like it */
    struct shard *sh = shard_of(st->group, (uint16_t)index);
    shard_init(sh, io);
    broker_shard_begin(st->broker, sh);
    if (index == CONTROL_SHARD) {
        st->stop_op.done = on_stop_asked;
        io_read(io, &st->stop_op, st->stop_file, &st->stop_word, sizeof(st->stop_word), 0);
    }
    shard_run(sh);
    shard_fini(sh);
}

static void wait_for_signals(struct start *st, const sigset_t *signals)
{
    bool asked = false;
    while (!st->ended) {
        int signal;
        if (sigwait(signals, &signal) != 0 || signal == SIGUSR2)
            continue;
        if (asked && signal == SIGINT)
            _exit(EXIT_INTERRUPTED);
        asked = true;
        uint64_t one = 1;
        if (write(st->stop_file, &one, sizeof(one)) != sizeof(one))
            _exit(EXIT_FAILED);
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
        .on_ready = on_ready,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
        .user = st,
    };
    if (getrandom(options.seed, sizeof(options.seed), 0) != sizeof(options.seed))
        return EXIT_FAILED;
    st->group = shard_group_new(st->shard_count, SHARD_CREDITS);
    st->broker = broker_open(&options, st->group, &error);
    if (st->broker)
        return EXIT_OK;
    fprintf(stderr, "millrace start: %s\n", error.text);
    return EXIT_REFUSED_DATA;
}

static int run(struct start *st)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); // NOLINT
    st->stop_file = eventfd(0, EFD_CLOEXEC);
    int code = open_broker(st);
    if (code != EXIT_OK)
        return code;
    struct threads *threads;
    int error = threads_start(&threads, st->cpus, st->shard_count, shard_main, st);
    if (error < 0) {
        fprintf(stderr, "millrace start: cannot start threads: %s\n", strerror(-error));
        return EXIT_FAILED;
    }
    wait_for_signals(st, &signals);
    threads_join(threads);
    broker_close(st->broker);
    shard_group_free(st->group);
    return st->exit_code;
}

int cmd_start(int argc, char **argv)
{
    struct start *st = started = mem_zalloc(sizeof(*st));
    st->began_ns = now_ns();
    bool done = false;
    int code = parse_flags(st, argc, argv, &done);
    if (code != EXIT_OK || done)
        return code;
    api_check();
    code = load_conf(st);
    if (code == EXIT_OK && !resolve_listeners(st))
        code = EXIT_FAILED;
    if (code == EXIT_OK) {
        machine_read(&st->machine, "");
        threads_raise_nofile();
        if (!choose_cores(st))
            code = EXIT_USAGE;
        else if (!probe_io())
            code = EXIT_REFUSED_IO;
    }
    if (code == EXIT_OK) {
        make_plan(st);
        code = run(st);
    }
    conf_fini(&st->conf);
    mem_free(st->file);
    return code;
}
