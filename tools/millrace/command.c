/* SPDX-License-Identifier: Apache-2.0
 *
 * From words to an invocation. Commands are one to three words ("produce", "topic list", "debug log
 * dump"); options may stand anywhere after them, as -p 3, -p3, --partition 3 or --partition=3,
 * switches together (-qe);
 * "--" ends them. An option's value is whatever stands next, so that `-o -5` means what it says.
 */
#include "tools/millrace/command.h"

#include "io/mem.h"
#include "io/nearest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- asking ---- */

struct option_set option_set_of(const struct command *command, uint32_t index)
{
    const struct option_set sets[OPTION_SETS] = {
        {"options", command->options, command->option_count},
        {command->more_title, command->more_options, command->more_option_count},
        {"what is printed", listing_options, command->listing ? listing_option_count : 0},
        {"asking a broker", remote_options, command->remote ? remote_option_count : 0},
        {"all commands", common_options, common_option_count},
    };
    must(index < OPTION_SETS);
    return sets[index];
}

/* By its name, or by its letter when name is NULL. */
static const struct command_option *option_find(const struct command *command, const char *name,
                                                size_t len, char letter)
{
    for (uint32_t i = 0; i < OPTION_SETS; i++) {
        struct option_set set = option_set_of(command, i);
        for (uint32_t j = 0; j < set.count; j++) {
            const struct command_option *option = &set.options[j];
            if (!name && option->letter == letter)
                return option;
            if (name && strlen(option->name) == len && memcmp(option->name, name, len) == 0)
                return option;
        }
    }
    return NULL;
}

static const struct command_option *asked(const struct invocation *inv, const char *name)
{
    const struct command_option *option = option_find(inv->command, name, strlen(name), 0);
    must(option != NULL);
    return option;
}

const char *option_next(const struct invocation *inv, const char *name, uint32_t *cursor)
{
    const struct command_option *option = asked(inv, name);
    while (*cursor < inv->given_count) {
        const struct given *given = &inv->given[(*cursor)++];
        if (given->option == option)
            return given->value;
    }
    return NULL;
}

bool option_on(const struct invocation *inv, const char *name)
{
    uint32_t cursor = 0;
    return option_next(inv, name, &cursor) != NULL;
}

const char *option_text(const struct invocation *inv, const char *name)
{
    const char *last = asked(inv, name)->fallback;
    const char *value;
    for (uint32_t cursor = 0; (value = option_next(inv, name, &cursor));)
        last = value;
    return last;
}

bool option_number(const struct invocation *inv, const char *name, int64_t min, int64_t max,
                   int64_t *value)
{
    const char *text = option_text(inv, name);
    if (!text)
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == 0 && number >= min && number <= max) {
        *value = number;
        return true;
    }
    if (max == INT64_MAX || max == INT32_MAX)
        (void)usage_error(inv, "--%s %s: a number of at least %lld is wanted", name, text,
                          (long long)min);
    else
        (void)usage_error(inv, "--%s %s: a number from %lld to %lld is wanted", name, text,
                          (long long)min, (long long)max);
    return false;
}

/* ---- saying ---- */

#define RED   "\033[1;31m"
#define PLAIN "\033[0m"

static void say_error(const struct invocation *inv, const char *format, va_list arguments)
    printf_like(2, 0);

static void say_error(const struct invocation *inv, const char *format, va_list arguments)
{
    (void)fflush(stdout);
    bool color = inv && inv->color;
    fprintf(stderr, "%serror:%s ", color ? RED : "", color ? PLAIN : "");
    (void)vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void complain(const struct invocation *inv, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_error(inv, format, arguments);
    va_end(arguments);
}

void note(const struct invocation *inv, const char *format, ...)
{
    if (inv->quiet)
        return;
    (void)fflush(stdout);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int usage_error(const struct invocation *inv, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_error(inv, format, arguments);
    va_end(arguments);
    if (inv && inv->command)
        fprintf(stderr, "next:  millrace %s --help\n", inv->command->name);
    else
        fprintf(stderr, "next:  millrace --help\n");
    return EXIT_USAGE;
}

const char *did_you_mean(const char *nearest)
{
    static char text[2][320];
    static unsigned turn;
    if (!nearest)
        return "";
    char *to = text[turn++ % array_count(text)];
    (void)snprintf(to, sizeof(text[0]), "; did you mean '%s'?", nearest);
    return to;
}

/* ---- which command ---- */

#define COMMAND_NAME_SIZE 128U

const struct command *command_named(const char *name)
{
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
        if (strcmp(command->name, name) == 0)
            break;
    return command;
}

bool command_is_in(const struct command *command, const char *group)
{
    const size_t len = strlen(group);
    return len == 0 || (strncmp(command->name, group, len) == 0 && command->name[len] == ' ');
}

static bool is_group(const char *name)
{
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
        if (command_is_in(command, name))
            break;
    return command != NULL;
}

/* Words join to a name for as long as it is that of a group. How many were taken. */
static int take_name(const char *const *words, int count, char name[COMMAND_NAME_SIZE])
{
    int taken = 0;
    size_t len = 0;
    name[0] = '\0';
    while (taken < count && (taken == 0 || (words[taken][0] != '-' && is_group(name)))) {
        (void)snprintf(name + len, COMMAND_NAME_SIZE - len, "%s%s", taken ? " " : "", words[taken]);
        len = strlen(name);
        taken++;
        if (command_named(name))
            break;
    }
    return taken;
}

/* "topics" for "topic". Whose the words are: the text that is offered has to last. */
static void offer_group(struct nearest *nearest, const char *name, char found[COMMAND_NAME_SIZE])
{
    char group[COMMAND_NAME_SIZE];
    (void)snprintf(group, sizeof(group), "%.*s", (int)strcspn(name, " "), name);
    if (!name[strlen(group)] || !nearest_offer(nearest, group))
        return;
    memcpy(found, group, sizeof(group));
    nearest->found = found;
}

static int unknown_command(const char *name)
{
    struct nearest nearest;
    char group[COMMAND_NAME_SIZE];
    nearest_begin(&nearest, name);
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++) {
        (void)nearest_offer(&nearest, command->name);
        offer_group(&nearest, command->name, group);
    }
    const char *last = strrchr(name, ' ');
    if (!nearest.found && !last) { /* a last word alone: "describe" */
        for (uint32_t i = 0; !nearest.found && (command = command_at(i)) != NULL; i++) {
            const char *word = strrchr(command->name, ' ');
            if (word && strcmp(word + 1, name) == 0)
                nearest.found = command->name;
        }
    }
    complain(NULL, "there is no command '%s'%s", name, did_you_mean(nearest.found));
    fprintf(stderr, "next:  millrace %.*s%s--help\n", last ? (int)(last - name) : 0, name,
            last ? " " : "");
    return EXIT_USAGE;
}

/* `millrace -b HOST topic list`: the same in the right order, as far as there is a command in it.
 */
static int option_first(const char *const *words, int count)
{
    complain(NULL, "'%s' stands before the command: options come behind it", words[0]);
    for (int at = 1; at < count; at++) {
        char name[COMMAND_NAME_SIZE];
        int taken = take_name(words + at, count - at, name);
        if (!command_named(name))
            continue;
        fprintf(stderr, "next:  millrace %s", name);
        for (int i = 0; i < count; i++)
            if (i < at || i >= at + taken)
                fprintf(stderr, " %s", words[i]);
        fputc('\n', stderr);
        return EXIT_USAGE;
    }
    fputs("next:  millrace --help\n", stderr);
    return EXIT_USAGE;
}

/* ---- options ---- */

static int unknown_option(const struct invocation *inv, const char *name, size_t len)
{
    char text[NEAREST_NAME_LEN_MAX + 1];
    (void)snprintf(text, sizeof(text), "%.*s", (int)len, name);
    struct nearest nearest;
    nearest_begin(&nearest, text);
    for (uint32_t i = 0; i < OPTION_SETS; i++) {
        struct option_set set = option_set_of(inv->command, i);
        for (uint32_t j = 0; j < set.count; j++)
            (void)nearest_offer(&nearest, set.options[j].name);
    }
    char with_dashes[NEAREST_NAME_LEN_MAX + 3];
    if (nearest.found)
        (void)snprintf(with_dashes, sizeof(with_dashes), "--%s", nearest.found);
    return usage_error(inv, "'%s' has no option --%s%s", inv->command->name, text,
                       did_you_mean(nearest.found ? with_dashes : NULL));
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, value, len) == 0 && (at[len] == '|' || at[len] == 0) && len > 0)
            return true;
    }
    return false;
}

static int give(struct invocation *inv, const struct command_option *option, const char *value)
{
    if (option->choices && !is_choice(option->choices, value))
        return usage_error(inv, "--%s %s: one of %s is wanted", option->name, value,
                           option->choices);
    inv->given[inv->given_count++] = (struct given){.option = option, .value = value};
    return EXIT_OK;
}

static int take_long(struct invocation *inv, const char *word, char ***at, char **end)
{
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct command_option *option = option_find(inv->command, name, len, 0);
    if (!option)
        return unknown_option(inv, name, len);
    if (!option->argument && equals)
        return usage_error(inv, "--%s takes no value", option->name);
    if (!option->argument)
        return give(inv, option, "");
    if (equals)
        return give(inv, option, equals + 1);
    if (*at == end)
        return usage_error(inv, "--%s wants %s", option->name, option->argument);
    return give(inv, option, *(*at)++);
}

static int take_letters(struct invocation *inv, const char *word, char ***at, char **end)
{
    for (const char *letter = word + 1; *letter; letter++) {
        const struct command_option *option = option_find(inv->command, NULL, 0, *letter);
        if (!option)
            return usage_error(inv, "'%s' has no option -%c", inv->command->name, *letter);
        if (!option->argument) {
            int code = give(inv, option, "");
            if (code != EXIT_OK)
                return code;
            continue;
        }
        if (letter[1])
            return give(inv, option, letter + 1);
        if (*at == end)
            return usage_error(inv, "-%c wants %s", *letter, option->argument);
        return give(inv, option, *(*at)++);
    }
    return EXIT_OK;
}

static int take_words(struct invocation *inv, char **at, char **end)
{
    bool only_operands = false;
    while (at < end) {
        const char *word = *at++;
        int code = EXIT_OK;
        if (only_operands || word[0] != '-' || word[1] == 0)
            inv->operands[inv->operand_count++] = word;
        else if (strcmp(word, "--") == 0)
            only_operands = true;
        else if (word[1] == '-')
            code = take_long(inv, word, &at, end);
        else
            code = take_letters(inv, word, &at, end);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

static bool use_color(const struct invocation *inv)
{
    const char *when = option_text(inv, "color");
    if (strcmp(when, "auto") != 0)
        return strcmp(when, "always") == 0;
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDERR_FILENO) && !(no_color && no_color[0]);
}

static int run(const struct command *command, char **words, char **end)
{
    size_t room = 1;
    for (char **word = words; word < end; word++)
        room += strlen(*word) + 1; /* letters in one word may be many options */
    struct invocation inv = {.command = command};
    inv.operands = mem_alloc(room * sizeof(*inv.operands));
    inv.given = mem_alloc(room * sizeof(*inv.given));
    int code = take_words(&inv, words, end);
    if (code == EXIT_OK && option_on(&inv, "help")) {
        help_command(stdout, command);
    } else if (code == EXIT_OK) {
        inv.quiet = option_on(&inv, "quiet");
        inv.verbose = option_on(&inv, "verbose");
        inv.color = use_color(&inv);
        if (inv.operand_count < command->operands_min)
            code = usage_error(&inv, "'%s' wants %s", command->name, command->operands);
        else if (inv.operand_count > command->operands_max)
            code = usage_error(&inv, "'%s' has no use for '%s'", command->name,
                               inv.operands[command->operands_max]);
        else
            code = command->run(&inv);
    }
    mem_free(inv.operands);
    mem_free(inv.given);
    return code;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int command_line(int argc, char **argv)
{
    if (argc < 2) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    if (is_help(argv[1])) {
        help_all(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return run(command_named("version"), argv + 2, argv + argc);
    const char *const *words = (const char *const *)(argv + 1);
    if (words[0][0] == '-')
        return option_first(words, argc - 1);
    char name[COMMAND_NAME_SIZE];
    int taken = take_name(words, argc - 1, name);
    const struct command *command = command_named(name);
    if (command)
        return run(command, argv + 1 + taken, argv + argc);
    if (!is_group(name))
        return unknown_command(name);
    bool wanted = 1 + taken < argc && is_help(argv[1 + taken]);
    help_group(wanted ? stdout : stderr, name);
    return wanted ? EXIT_OK : EXIT_USAGE;
}

int cmd_help(struct invocation *inv)
{
    if (inv->operand_count == 0) {
        help_all(stdout);
        return EXIT_OK;
    }
    char name[COMMAND_NAME_SIZE];
    (void)take_name(inv->operands, (int)inv->operand_count, name);
    const struct command *command = command_named(name);
    if (command)
        help_command(stdout, command);
    else if (is_group(name))
        help_group(stdout, name);
    else
        return unknown_command(name);
    return EXIT_OK;
}
