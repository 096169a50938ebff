/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion for bash: a function that finds the command in the words typed, and offers the words
 * that may follow.
 */
#include "tools/millrace/completion.h"

static void print_word(const char *group, const char *word, const char *about)
{
    (void)group;
    (void)about;
    printf("%s ", word);
}

static void print_option(const char *name, const struct command_option *option)
{
    (void)name;
    printf("--%s ", option->name);
}

static void print_words(const char *name)
{
    printf("    '%s') words='", name);
    if (command_named(name))
        completion_each_option(name, print_option);
    else
        completion_each_next(name, print_word);
    printf("' ;;\n");
}

static void print_choices(const char *name, const struct command_option *option)
{
    if (!option->choices)
        return;
    printf("    '%s --%s'", name, option->name);
    if (option->letter)
        printf(" | '%s -%c'", name, option->letter);
    printf(") words='");
    for (const char *at = option->choices; *at; at++)
        putchar(*at == '|' ? ' ' : *at);
    printf("' ;;\n");
}

static void print_all_choices(const char *name)
{
    completion_each_option(name, print_choices);
}

void completion_print_bash(void)
{
    printf("# millrace %s: completion, made by `millrace generate completion bash`\n"
           "_millrace() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local name='' next words='' i\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        next=\"${name:+$name }${COMP_WORDS[i]}\"\n"
           "        case $next in\n"
           "        ",
           MR_VERSION);
    completion_each_name(completion_print_pattern);
    printf("'') name=$next ;;\n"
           "        *) break ;;\n"
           "        esac\n"
           "    done\n"
           "    case $name in\n");
    print_words("");
    completion_each_name(print_words);
    printf("    esac\n"
           "    case \"$name $prev\" in\n");
    completion_each_name(print_all_choices);
    printf("    *) [[ $cur = -* || $words != -* ]] || words='' ;;\n"
           "    esac\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "}\n"
           "complete -o bashdefault -o default -F _millrace millrace\n");
}
