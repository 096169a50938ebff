/* SPDX-License-Identifier: Apache-2.0
 *
 * millrace-sim: plays scenarios in the simulated world, seed after seed, and when a check fails or
 * the code panics says which seed, with which hash, and the command that plays it again.
 *
 * The table of mutations (--mutations) runs each deliberate mistake in a process of its own, as
 * being found may well mean a panic.
 */
#include "tests/sim/scenario.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct scenario *const scenarios[] = {
    &scenario_append,
};

#define NAMES_MAX     256U
#define LISTING_SEEDS 20U

struct run {
    const struct scenario *scenario;
    const char *program;
    const char *mutation;
    uint64_t first;
    uint64_t seeds;
    bool twice;
    bool trace;
    bool quiet;
};

struct outcome {
    bool good;
    uint64_t hash;
    uint64_t events;
    char why[512];
};

struct name_list {
    const char *names[NAMES_MAX];
    uint64_t asked[NAMES_MAX];
    uint64_t taken[NAMES_MAX];
    unsigned count;
};

/* For the panic: what is being played right now, already in words. */
static char playing[512];

static void on_panic(int signal_number)
{
    (void)!write(STDERR_FILENO, playing, strlen(playing));
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void names_merge(struct name_list *list, const struct world_name *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = 0;
        while (at < list->count && strcmp(list->names[at], names[i].name) != 0)
            at++;
        must(at < NAMES_MAX);
        if (at == list->count) {
            list->names[list->count] = names[i].name;
            list->asked[list->count] = 0;
            list->taken[list->count++] = 0;
        }
        list->asked[at] += names[i].asked;
        list->taken[at] += names[i].taken;
    }
}

static void playing_say(const struct run *run, uint64_t seed)
{
    (void)snprintf(playing, sizeof(playing), "replay: %s --scenario %s --seed %llu%s%s --trace\n",
                   run->program, run->scenario->name, (unsigned long long)seed,
                   run->mutation ? " --mutation " : "", run->mutation ? run->mutation : "");
}

static struct outcome play(const struct run *run, uint64_t seed, struct name_list *mutations)
{
    struct outcome outcome = {.why = ""};
    struct world_options options;
    const struct world_name *names;
    playing_say(run, seed);
    run->scenario->options(&options, seed);
    options.mutation = run->mutation;
    struct world *world = world_new(&options);
    if (run->trace)
        world_trace(world, stdout);
    outcome.good = run->scenario->play(world, outcome.why, sizeof(outcome.why));
    outcome.hash = world_hash(world);
    outcome.events = world_events(world);
    unsigned count = world_mutations(world, &names);
    if (mutations)
        names_merge(mutations, names, count);
    world_free(world);
    return outcome;
}

static bool play_checked(const struct run *run, uint64_t seed, struct outcome *outcome)
{
    *outcome = play(run, seed, NULL);
    if (outcome->good && run->twice) {
        struct outcome again = play(run, seed, NULL);
        if (again.hash != outcome->hash) {
            outcome->good = false;
            (void)snprintf(outcome->why, sizeof(outcome->why),
                           "the second run went another way: hash %016llx",
                           (unsigned long long)again.hash);
        }
    }
    return outcome->good;
}

static double seconds_now(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* True when all seeds were good; *found is the first that was not. */
static bool play_all(const struct run *run, uint64_t *found)
{
    double began = seconds_now();
    uint64_t events = 0;
    uint64_t hashes = 0;
    for (uint64_t seed = run->first; seed < run->first + run->seeds; seed++) {
        struct outcome outcome;
        bool good = play_checked(run, seed, &outcome);
        events += outcome.events;
        hashes = hashes * 31 + outcome.hash;
        if (good)
            continue;
        *found = seed;
        if (!run->quiet)
            printf("seed %llu failed, hash %016llx: %s\n%s", (unsigned long long)seed,
                   (unsigned long long)outcome.hash, outcome.why, playing);
        return false;
    }
    double took = seconds_now() - began;
    if (!run->quiet)
        printf("%s: %llu seeds good%s, %llu events, %.1f s, %.2f M events/s, hash %016llx\n",
               run->scenario->name, (unsigned long long)run->seeds, run->twice ? " twice" : "",
               (unsigned long long)events, took, (double)events / took / 1e6,
               (unsigned long long)hashes);
    return true;
}

static void mutations_find(const struct run *run, struct name_list *list)
{
    struct run plain = *run;
    plain.mutation = NULL;
    for (uint64_t i = 0; i < LISTING_SEEDS; i++)
        (void)play(&plain, run->first + i, list);
}

/* 0: not found within the seeds; else how many seeds it took. A panic counts as found. */
static uint64_t mutation_hunt(const struct run *run, const char *mutation)
{
    int channel[2];
    uint64_t seeds = 0;
    if (pipe(channel) != 0)
        return 0;
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct run hunt = *run;
        hunt.mutation = mutation;
        hunt.quiet = true;
        hunt.seeds = 1;
        (void)freopen("/dev/null", "w", stderr);
        for (uint64_t i = 0; i < run->seeds; i++) {
            uint64_t found;
            uint64_t number = i + 1;
            hunt.first = run->first + i;
            (void)!write(channel[1], &number, sizeof(number));
            if (!play_all(&hunt, &found))
                _exit(1);
        }
        _exit(0);
    }
    (void)close(channel[1]);
    uint64_t number;
    while (read(channel[0], &number, sizeof(number)) == (ssize_t)sizeof(number))
        seeds = number;
    (void)close(channel[0]);
    int status = 0;
    (void)waitpid(child, &status, 0);
    return status == 0 ? 0 : seeds;
}

static bool mutations_table(const struct run *run)
{
    struct name_list list = {.count = 0};
    unsigned missed = 0;
    mutations_find(run, &list);
    printf("%-44s %s\n", "mutation", "found after seeds");
    for (unsigned i = 0; i < list.count; i++) {
        uint64_t seeds = mutation_hunt(run, list.names[i]);
        missed += seeds == 0;
        if (seeds == 0)
            printf("%-44s not within %llu\n", list.names[i], (unsigned long long)run->seeds);
        else
            printf("%-44s %llu\n", list.names[i], (unsigned long long)seeds);
    }
    printf("%u mutations, %u not found\n", list.count, missed);
    return missed == 0 && list.count > 0;
}

static void usage(const char *program)
{
    printf("usage: %s [--scenario NAME] [--seeds N] [--first S] [--seed S] [--twice] [--trace]\n"
           "       [--mutation NAME] [--list-mutations] [--mutations]\n\nscenarios:\n",
           program);
    for (unsigned i = 0; i < array_count(scenarios); i++)
        printf("  %-12s %s\n", scenarios[i]->name, scenarios[i]->summary);
}

static const struct scenario *scenario_find(const char *name)
{
    for (unsigned i = 0; i < array_count(scenarios); i++) {
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    }
    return NULL;
}

enum {
    OPT_SCENARIO = 1,
    OPT_SEEDS,
    OPT_FIRST,
    OPT_SEED,
    OPT_TWICE,
    OPT_TRACE,
    OPT_MUTATION,
    OPT_LIST,
    OPT_TABLE,
    OPT_HELP
};

static const struct option long_options[] = {
    {"scenario", required_argument, NULL, OPT_SCENARIO},
    {"seeds", required_argument, NULL, OPT_SEEDS},
    {"first", required_argument, NULL, OPT_FIRST},
    {"seed", required_argument, NULL, OPT_SEED},
    {"twice", no_argument, NULL, OPT_TWICE},
    {"trace", no_argument, NULL, OPT_TRACE},
    {"mutation", required_argument, NULL, OPT_MUTATION},
    {"list-mutations", no_argument, NULL, OPT_LIST},
    {"mutations", no_argument, NULL, OPT_TABLE},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* OPT_LIST, OPT_TABLE, OPT_HELP: what to do; 0: play; -1: not understood. */
static int arguments_read(int argc, char **argv, struct run *run)
{
    int what = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPT_SCENARIO)
            run->scenario = scenario_find(optarg);
        else if (option == OPT_SEEDS)
            run->seeds = strtoull(optarg, NULL, 10);
        else if (option == OPT_FIRST)
            run->first = strtoull(optarg, NULL, 10);
        else if (option == OPT_MUTATION)
            run->mutation = optarg;
        else if (option == OPT_TWICE)
            run->twice = true;
        else if (option == OPT_TRACE)
            run->trace = true;
        else if (option == OPT_LIST || option == OPT_TABLE || option == OPT_HELP)
            what = option;
        else if (option != OPT_SEED)
            return -1;
        if (option == OPT_SEED) {
            run->first = strtoull(optarg, NULL, 10);
            run->seeds = 1;
        }
    }
    return optind == argc && run->scenario ? what : -1;
}

int main(int argc, char **argv)
{
    struct run run = {.scenario = scenarios[0], .program = argv[0], .first = 1, .seeds = 100};
    struct name_list list = {.count = 0};
    uint64_t found;
    /* World after world takes and frees the same memory: page faults were most of a short play. */
    (void)mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 512 * 1024 * 1024);
    (void)signal(SIGABRT, on_panic);
    (void)signal(SIGSEGV, on_panic);
    switch (arguments_read(argc, argv, &run)) {
    case 0: {
        bool good = play_all(&run, &found);
        uint64_t passed = good ? run.seeds : found - run.first;
        printf("%llu passed, %d failed\n", (unsigned long long)passed, !good);
        return good ? 0 : 1;
    }
    case OPT_LIST:
        mutations_find(&run, &list);
        for (unsigned i = 0; i < list.count; i++)
            printf("%s\n", list.names[i]);
        return 0;
    case OPT_TABLE:
        return mutations_table(&run) ? 0 : 1;
    case OPT_HELP:
        usage(argv[0]);
        return 0;
    default:
        usage(argv[0]);
        return 2;
    }
}
