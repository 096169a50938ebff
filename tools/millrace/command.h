/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line. One table (tools/millrace/command_table.c, with a file for each subject in
 * tools/millrace/commands) says every command: its name, what it takes, its options with their
 * help, examples, and who runs it. The parser, `--help`, the errors with their "did you mean" and
 * the defaults all follow from it; a command is one row there and one function.
 *
 * A command gets an invocation and asks it by an option's long name. A value comes from the first
 * that has one: the flag, -X, the environment, the default.
 *
 * Data goes to standard output, everything said about it to standard error.
 */
#pragma once

#include "io/base.h"

#include <stdio.h>

/* What scripts see, and what the help and the manual say of it. */
#define EXIT_CODES(X)                                                                              \
    X(OK, 0, "done")                                                                               \
    X(FAILED, 1, "failed")                                                                         \
    X(USAGE, 2, "used wrongly, or a setting that is none")                                         \
    X(UNREACHABLE, 3, "no broker there, or no answer in time")                                     \
    X(PARTLY, 4, "some items failed")                                                              \
    X(PRESENCE, 5, "not found, or there already")                                                  \
    X(UNHEALTHY, 10, "the broker does not serve, or not as it should")                             \
    X(INVALID, 11, "of bench: the generator was the limit, a claim does not hold, or B is worse")  \
    X(VERIFY, 12, "records were lost, doubled or out of order")                                    \
    X(REFUSED_IO, 20, "the machine refuses io_uring")                                              \
    X(REFUSED_DATA, 21, "the data directory is in use, not usable, foreign, newer or damaged")     \
    X(INTERRUPTED, 130, "interrupted")

#define EXIT_CODE(name, number, meaning) EXIT_##name = (number),
enum exit_code { EXIT_CODES(EXIT_CODE) };
#undef EXIT_CODE

struct exit_meaning {
    enum exit_code code;
    const char *meaning;
};
extern const struct exit_meaning exit_meanings[]; /* all of them, in order */
extern const uint32_t exit_meaning_count;

struct invocation;

struct command_option {
    char letter;          /* 0: it has only a name */
    const char *name;     /* long, without the dashes */
    const char *argument; /* what it takes, as the help names it; NULL: a switch */
    const char *fallback; /* the value when it is not given, or NULL */
    const char *help;
    const char *choices; /* "a|b|c": nothing else is taken; NULL: anything */
};

struct command {
    const char *name; /* "topic create" */
    const char *summary;
    const char *operands; /* "TOPIC..." */
    const char *about;    /* further sentences of the help, or NULL */
    const char *examples; /* lines */
    const struct command_option *options;
    const struct command_option *more_options; /* further ones of its own, or NULL */
    const char *more_title;
    uint32_t option_count;
    uint32_t more_option_count;
    uint32_t operands_min;
    uint32_t operands_max;
    bool listing; /* prints rows or objects: has --format */
    bool remote;  /* asks a broker: has the options for that */
    int (*run)(struct invocation *inv);
};

/* In the order of the help; NULL behind the last. */
const struct command *command_at(uint32_t index);
const struct command *command_named(const char *name); /* NULL: there is none */
/* Does its name begin with these words? They are less than all of it; "" is the group of all. */
bool command_is_in(const struct command *command, const char *group);
extern const struct command_option common_options[]; /* every command has these */
extern const uint32_t common_option_count;
extern const struct command_option listing_options[];
extern const uint32_t listing_option_count;
extern const struct command_option remote_options[];
extern const uint32_t remote_option_count;

/* The options of a command, set by set: its own first, those of all commands last. */
struct option_set {
    const char *title;
    const struct command_option *options;
    uint32_t count;
};
#define OPTION_SETS     5U
#define OPTION_SETS_OWN 2U /* the first of them: of the command alone */
struct option_set option_set_of(const struct command *command, uint32_t index);

/* An option as it was given. */
struct given {
    const struct command_option *option;
    const char *value;
};

struct invocation {
    const struct command *command;
    const char **operands;
    uint32_t operand_count;
    struct given *given;
    uint32_t given_count;
    bool quiet, verbose;
    bool color; /* of standard error */
};

/* ---- asking (command.c); an unknown name is a bug ---- */

bool option_on(const struct invocation *inv, const char *name); /* was it given? */
/* The last one given, or the default; may be NULL. */
const char *option_text(const struct invocation *inv, const char *name);
/* One after another, those given: begin with *cursor 0; NULL at the end. */
const char *option_next(const struct invocation *inv, const char *name, uint32_t *cursor);
/* False, and said, when the value is no number in [min, max]. An option that has no value leaves
 * *value alone. */
bool option_number(const struct invocation *inv, const char *name, int64_t min, int64_t max,
                   int64_t *value) warn_unused;

/* ---- saying (command.c) ---- */

/* "error: ..." to standard error: cause, object, next step. */
void complain(const struct invocation *inv, const char *format, ...) printf_like(2, 3);
/* A note for people, on standard error; not with -q. */
void note(const struct invocation *inv, const char *format, ...) printf_like(2, 3);
/* complain() and where to read on; EXIT_USAGE. */
int usage_error(const struct invocation *inv, const char *format, ...) printf_like(2, 3);
/* "; did you mean 'x'?" or "", in one of a few buffers that are reused. */
const char *did_you_mean(const char *nearest);

/* ---- parsing and help (command.c, help.c) ---- */

/* Words after the program's name; the exit code. */
int command_line(int argc, char **argv);
void help_all(FILE *to);
/* The commands whose name begins with `group`, "topic". */
void help_group(FILE *to, const char *group);
void help_command(FILE *to, const struct command *command);

/* ---- the commands ---- */

int cmd_bench_agent(struct invocation *inv);
int cmd_bench_compare(struct invocation *inv);
int cmd_bench_consume(struct invocation *inv);
int cmd_bench_disk(struct invocation *inv);
int cmd_bench_e2e(struct invocation *inv);
int cmd_bench_net(struct invocation *inv);
int cmd_bench_ping(struct invocation *inv);
int cmd_bench_produce(struct invocation *inv);
int cmd_bench_report(struct invocation *inv);
int cmd_bench_run(struct invocation *inv);
int cmd_bench_sweep(struct invocation *inv);
int cmd_bench_verify(struct invocation *inv);
int cmd_cheat(struct invocation *inv);
int cmd_cluster_brokers(struct invocation *inv);
int cmd_cluster_features(struct invocation *inv);
int cmd_cluster_health(struct invocation *inv);
int cmd_cluster_leader_elect(struct invocation *inv);
int cmd_cluster_partitions(struct invocation *inv);
int cmd_cluster_quota_delete(struct invocation *inv);
int cmd_cluster_quota_list(struct invocation *inv);
int cmd_cluster_quota_set(struct invocation *inv);
int cmd_cluster_reassign(struct invocation *inv);
int cmd_config_explain(struct invocation *inv);
int cmd_config_list(struct invocation *inv);
int cmd_config_set(struct invocation *inv);
int cmd_config_show(struct invocation *inv);
int cmd_consume(struct invocation *inv);
int cmd_debug_import_kafka(struct invocation *inv);
int cmd_debug_move_to_zookeeper(struct invocation *inv);
int cmd_debug_log_dump(struct invocation *inv);
int cmd_debug_log_export(struct invocation *inv);
int cmd_debug_log_repair(struct invocation *inv);
int cmd_debug_log_verify(struct invocation *inv);
int cmd_generate_completion(struct invocation *inv);
int cmd_generate_man(struct invocation *inv);
int cmd_group_delete(struct invocation *inv);
int cmd_group_describe(struct invocation *inv);
int cmd_group_list(struct invocation *inv);
int cmd_group_offset_delete(struct invocation *inv);
int cmd_group_seek(struct invocation *inv);
int cmd_help(struct invocation *inv);
int cmd_produce(struct invocation *inv);
int cmd_profile_create(struct invocation *inv);
int cmd_profile_delete(struct invocation *inv);
int cmd_profile_list(struct invocation *inv);
int cmd_profile_show(struct invocation *inv);
int cmd_profile_use(struct invocation *inv);
int cmd_start(struct invocation *inv);
int cmd_status(struct invocation *inv);
int cmd_top(struct invocation *inv);
int cmd_topic_add_partitions(struct invocation *inv);
int cmd_topic_alter(struct invocation *inv);
int cmd_topic_create(struct invocation *inv);
int cmd_topic_delete(struct invocation *inv);
int cmd_topic_describe(struct invocation *inv);
int cmd_topic_export(struct invocation *inv);
int cmd_topic_list(struct invocation *inv);
int cmd_version(struct invocation *inv);
