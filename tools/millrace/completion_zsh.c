/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion for zsh: a function that finds the command in the words typed, and leaves its options
 * to _arguments, with their help. It works as a file _millrace in $fpath, and when it is sourced.
 */
#include "tools/millrace/completion.h"

#include <string.h>

/* Inside of single quotes; `special` are characters that mean something to who reads it then. */
static void print_escaped(const char *text, const char *special)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\'')
            printf("'\\''");
        else if (*at == '\\' || strchr(special, *at))
            printf("\\%c", *at);
        else
            putchar(*at);
    }
}

static void print_word(const char *group, const char *word, const char *about)
{
    (void)group;
    printf(" '%s:", word);
    print_escaped(about, "");
    putchar('\'');
}

/* A specification of _arguments: how it is written, what it does, and what value it takes. */
static void print_option(const char *name, const struct command_option *option)
{
    (void)name;
    const char *end = option->argument ? "=" : "";
    printf(" \\\n            '*'");
    if (option->letter)
        printf("{-%c%s,--%s%s}'[", option->letter, option->argument ? "+" : "", option->name, end);
    else
        printf("--%s%s'[", option->name, end);
    print_escaped(option->help, "[]:");
    putchar(']');
    if (option->argument) {
        putchar(':');
        print_escaped(option->argument, "[]:");
        putchar(':');
    }
    if (option->choices) {
        putchar('(');
        for (const char *at = option->choices; *at; at++)
            putchar(*at == '|' ? ' ' : *at);
        putchar(')');
    } else if (option->argument) {
        printf(completion_is_path(option) ? "_files" : " ");
    }
    putchar('\'');
}

static void print_next(const char *name)
{
    const struct command *command = command_named(name);
    printf("    ('%s') offered=(", name);
    if (command) {
        printf(")\n"
               "        words=(millrace \"${(@)words[i,-1]}\")\n"
               "        ((CURRENT -= i - 2))\n"
               "        _arguments -s -S :");
        completion_each_option(name, print_option);
        if (command->operands_max > 0) {
            printf(" \\\n            '*:");
            print_escaped(command->operands, "[]:");
            printf(":_files'");
        }
        printf("\n"
               "        return ;;\n");
    } else {
        completion_each_next(name, print_word);
        printf(") ;;\n");
    }
}

void completion_print_zsh(void)
{
    printf("#compdef millrace\n"
           "# millrace %s: completion, made by `millrace generate completion zsh`\n"
           "_millrace() {\n"
           "    local name='' next i\n"
           "    local -a offered\n"
           "    for ((i = 2; i < CURRENT; i++)); do\n"
           "        next=\"${name:+$name }${words[i]}\"\n"
           "        case $next in\n"
           "        (",
           MR_VERSION);
    completion_each_name(completion_print_pattern);
    printf("'') name=$next ;;\n"
           "        (*) break ;;\n"
           "        esac\n"
           "    done\n"
           "    case $name in\n");
    print_next("");
    completion_each_name(print_next);
    printf("    esac\n"
           "    _describe -t commands 'millrace' offered\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _millrace ]; then\n"
           "    _millrace \"$@\"\n"
           "else\n"
           "    compdef _millrace millrace\n"
           "fi\n");
}
