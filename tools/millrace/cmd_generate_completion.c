/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace generate completion`: the table of commands as a tree of words, and which shell is
 * told.
 */
#include "tools/millrace/completion.h"

#include <string.h>

#define NAME_SIZE  128U
#define ABOUT_SIZE 512U

/* The first `count` words of a command's name. */
static bool name_words(const struct command *command, unsigned count, char name[NAME_SIZE])
{
    const char *end = command->name;
    for (unsigned i = 0; i < count; i++) {
        end += *end == ' ';
        if (*end == 0)
            return false;
        end += strcspn(end, " ");
    }
    (void)snprintf(name, NAME_SIZE, "%.*s", (int)(end - command->name), command->name);
    return true;
}

/* Was this prefix of a name met at an earlier command? */
static bool met_before(uint32_t index, unsigned count, const char *name)
{
    char other[NAME_SIZE];
    for (uint32_t i = 0; i < index; i++)
        if (name_words(command_at(i), count, other) && strcmp(other, name) == 0)
            return true;
    return false;
}

void completion_each_name(void (*fn)(const char *name))
{
    char name[NAME_SIZE];
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
        for (unsigned words = 1; name_words(command, words, name); words++)
            if (!met_before(i, words, name))
                fn(name);
}

void completion_each_option(const char *name,
                            void (*fn)(const char *name, const struct command_option *option))
{
    const struct command *command = command_named(name);
    for (uint32_t s = 0; command && s < OPTION_SETS; s++) {
        struct option_set set = option_set_of(command, s);
        for (uint32_t o = 0; o < set.count; o++)
            fn(name, &set.options[o]);
    }
}

/* What a command does; of a group, what is in it. */
static void about_of(const char *name, char text[ABOUT_SIZE])
{
    const struct command *command = command_named(name);
    size_t at = 0;
    if (command) {
        (void)snprintf(text, ABOUT_SIZE, "%s", command->summary);
        return;
    }
    for (uint32_t i = 0; (command = command_at(i)) != NULL && at < ABOUT_SIZE; i++)
        if (command_is_in(command, name))
            at += (size_t)snprintf(text + at, ABOUT_SIZE - at, "%s%s", at > 0 ? ", " : "",
                                   command->name + strlen(name) + 1);
}

void completion_each_next(const char *group,
                          void (*fn)(const char *group, const char *word, const char *about))
{
    const size_t len = strlen(group);
    char next[NAME_SIZE];
    char about[ABOUT_SIZE];
    unsigned words = len > 0;
    for (const char *at = group; *at; at++)
        words += *at == ' ';
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++) {
        if (!command_is_in(command, group) || !name_words(command, words + 1, next) ||
            met_before(i, words + 1, next))
            continue;
        about_of(next, about);
        fn(group, next + len + (len > 0), about);
    }
}

bool completion_is_path(const struct command_option *option)
{
    return strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "DIR") == 0;
}

void completion_print_pattern(const char *name)
{
    printf("'%s' | ", name);
}

/* ---- the command ---- */

static const struct {
    const char *name;
    void (*print)(void);
} shells[] = {
    {"bash", completion_print_bash},
    {"zsh", completion_print_zsh},
    {"fish", completion_print_fish},
};

int cmd_generate_completion(struct invocation *inv)
{
    for (uint32_t i = 0; i < array_count(shells); i++) {
        if (strcmp(inv->operands[0], shells[i].name) != 0)
            continue;
        shells[i].print();
        return EXIT_OK;
    }
    return usage_error(inv, "'%s': completion is there for bash, zsh and fish", inv->operands[0]);
}
