/* SPDX-License-Identifier: Apache-2.0
 *
 * bench-load: load for any broker that speaks Kafka's protocol, over plain sockets. It is the same
 * client for Millrace and for Apache Kafka, which is what makes their numbers comparable;
 * bench/peer drives it. One mode per run, one line of JSON as the result.
 */
#include "bench/load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000U + (uint64_t)at.tv_nsec;
}

void give_up(const char *text, ...)
{
    va_list arguments;
    va_start(arguments, text);
    (void)fputs("bench-load: ", stderr);
    (void)vfprintf(stderr, text, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static const struct mode {
    const char *name;
    void (*run)(struct load *load);
} modes[] = {
    {"create", run_create}, {"produce", run_produce}, {"fetch", run_fetch},
    {"idle", run_idle},     {"rtt", run_round_trips}, {"first-ack", run_first_ack},
};

static const char usage[] =
    "bench-load MODE [OPTION...]: load for any broker that speaks Kafka's protocol; prints JSON\n"
    "\n"
    "  create      makes the topic and waits for its leaders\n"
    "  produce     closed loop, or with --rate open loop: latency counts from the intended time\n"
    "  fetch       from the start of the topic to where it ends now\n"
    "  idle        a fetch parked at the end of the topic on each connection\n"
    "  rtt         ApiVersions, one after another on one connection\n"
    "  first-ack   tries until a record is acknowledged; --since-ns: when the broker was started\n"
    "\n"
    "  --broker IP:PORT (127.0.0.1:9092)   --topic NAME (bench)       --partitions N (1)\n"
    "  --connections N (1)                 --acks N (-1)              --configs K=V,... of the "
    "topic\n"
    "  --record-bytes N (1024)             --records N per batch (1)\n"
    "  --window N in flight (1)            --rate N requests/s, all connections\n"
    "  --seconds S (5)                     --warm-seconds S, not measured, part of S (1)\n"
    "  --bytes-max N ends a produce        --fetch-bytes N per partition (1048576)\n"
    "  --repeat: fetch again and again     --broker-pid N: tell its processor time and memory\n";

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0')
        give_up("'%s' is not a number", text);
    return value;
}

static double seconds_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= 0))
        give_up("'%s' is not a number", text);
    return value;
}

static uint32_t count_of(const char *text, uint64_t max)
{
    uint64_t value = number_of(text);
    if (value < 1 || value > max)
        give_up("'%s' is not between 1 and %llu", text, (unsigned long long)max);
    return (uint32_t)value;
}

static void broker_of(struct sockaddr_in *broker, const char *text)
{
    char ip[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(ip))
        give_up("'%s' is not IP:PORT", text);
    memcpy(ip, text, (size_t)(colon - text));
    ip[colon - text] = '\0';
    broker->sin_family = AF_INET;
    broker->sin_port = htons((uint16_t)count_of(colon + 1, 65535));
    if (inet_pton(AF_INET, ip, &broker->sin_addr) != 1)
        give_up("'%s' is not an IPv4 address", ip);
}

static const struct option option_table[] = {
    {"broker", required_argument, NULL, 'b'},
    {"topic", required_argument, NULL, 't'},
    {"partitions", required_argument, NULL, 'p'},
    {"connections", required_argument, NULL, 'c'},
    {"acks", required_argument, NULL, 'a'},
    {"configs", required_argument, NULL, 'k'},
    {"record-bytes", required_argument, NULL, 's'},
    {"records", required_argument, NULL, 'n'},
    {"window", required_argument, NULL, 'w'},
    {"rate", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 'd'},
    {"warm-seconds", required_argument, NULL, 'W'},
    {"bytes-max", required_argument, NULL, 'N'},
    {"fetch-bytes", required_argument, NULL, 'M'},
    {"repeat", no_argument, NULL, 'R'},
    {"broker-pid", required_argument, NULL, 'P'},
    {"since-ns", required_argument, NULL, 'S'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void option_take(struct load_options *o, int option, const char *text)
{
    switch (option) {
    case 'b':
        broker_of(&o->broker, text);
        return;
    case 't':
        o->topic = text;
        return;
    case 'p':
        o->partitions = count_of(text, 100000);
        return;
    case 'c':
        o->connections = count_of(text, 100000);
        return;
    case 'a':
        o->acks = strcmp(text, "1") == 0 ? 1 : -1;
        return;
    case 'k':
        o->configs = text;
        return;
    case 's':
        o->record_bytes = count_of(text, 64U << 20);
        return;
    case 'n':
        o->records = count_of(text, 1U << 20);
        return;
    case 'w':
        o->window = count_of(text, 4096);
        return;
    case 'r':
        o->rate = seconds_of(text);
        return;
    case 'd':
        o->seconds = seconds_of(text);
        return;
    case 'W':
        o->warm_seconds = seconds_of(text);
        return;
    case 'N':
        o->bytes_max = number_of(text);
        return;
    case 'M':
        o->fetch_bytes = count_of(text, 64U << 20);
        return;
    case 'R':
        o->repeat = true;
        return;
    case 'P':
        o->broker_pid = (int)count_of(text, INT32_MAX);
        return;
    case 'S':
        o->since_ns = number_of(text);
        return;
    case 'h':
        (void)fputs(usage, stdout);
        exit(0);
    default:
        (void)fputs(usage, stderr);
        exit(2);
    }
}

static const struct mode *mode_find(const char *name)
{
    for (size_t i = 0; i < array_count(modes); i++) {
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct load load; /* zeroed, and large */
    struct load_options *o = &load.options;
    *o = (struct load_options){.topic = "bench",
                               .partitions = 1,
                               .connections = 1,
                               .record_bytes = 1024,
                               .records = 1,
                               .window = 1,
                               .seconds = 5,
                               .warm_seconds = 1,
                               .fetch_bytes = 1U << 20,
                               .acks = -1};
    broker_of(&o->broker, "127.0.0.1:9092");
    const struct mode *mode = argc > 1 ? mode_find(argv[1]) : NULL;
    optind = mode ? 2 : 1;
    for (int option; (option = getopt_long(argc, argv, "h", option_table, NULL)) != -1;)
        option_take(o, option, optarg);
    if (mode == NULL || optind != argc) {
        (void)fputs(usage, stderr);
        return 2;
    }
    struct rlimit files;
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* an open loop sends when it said */
    arena_init(&load.arena, 1U << 30);
    arena_init(&load.answer_arena, 1U << 26);
    mode->run(&load);
    return 0;
}
