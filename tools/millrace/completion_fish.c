/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion for fish: a line for each word and option, with the command that it belongs to as its
 * condition.
 */
#include "tools/millrace/completion.h"

static void print_quoted(const char *text)
{
    putchar('\'');
    for (const char *at = text; *at; at++) {
        if (*at == '\'' || *at == '\\')
            putchar('\\');
        putchar(*at);
    }
    putchar('\'');
}

static void print_case(const char *name)
{
    printf("'%s' ", name);
}

static void print_condition(const char *name)
{
    printf("complete -c millrace -n '__millrace_at \"%s\"' ", name);
}

static void print_word(const char *group, const char *word, const char *about)
{
    print_condition(group);
    printf("-xa %s -d ", word);
    print_quoted(about);
    putchar('\n');
}

static void print_option(const char *name, const struct command_option *option)
{
    print_condition(name);
    printf("-l %s ", option->name);
    if (option->letter)
        printf("-s %c ", option->letter);
    if (option->choices) {
        printf("-xa '");
        for (const char *at = option->choices; *at; at++)
            putchar(*at == '|' ? ' ' : *at);
        printf("' ");
    } else if (option->argument) {
        printf(completion_is_path(option) ? "-rF " : "-x ");
    }
    printf("-d ");
    print_quoted(option->help);
    putchar('\n');
}

static void print_next(const char *name)
{
    const struct command *command = command_named(name);
    if (command) {
        completion_each_option(name, print_option);
        if (command->operands_max == 0) {
            print_condition(name);
            printf("-f\n");
        }
    } else {
        completion_each_next(name, print_word);
    }
}

void completion_print_fish(void)
{
    printf("# millrace %s: completion, made by `millrace generate completion fish`\n"
           "function __millrace_name\n"
           "    set -l name ''\n"
           "    set -l typed (commandline -opc)\n"
           "    for word in $typed[2..]\n"
           "        set -l next (string trim \"$name $word\")\n"
           "        switch $next\n"
           "            case ",
           MR_VERSION);
    completion_each_name(print_case);
    printf("\n"
           "                set name $next\n"
           "            case '*'\n"
           "                break\n"
           "        end\n"
           "    end\n"
           "    echo $name\n"
           "end\n"
           "function __millrace_at\n"
           "    set -l name (__millrace_name)\n"
           "    test \"$name\" = \"$argv\"\n"
           "end\n");
    print_next("");
    completion_each_name(print_next);
}
