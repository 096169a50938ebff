/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows from the table of commands for others than the parser: completion for shells and the
 * manual page. `millrace generate completion`, `millrace generate man`.
 */
#include "tools/millrace/command.h"

#include <string.h>

#define NAME_SIZE 128U

/* ---- completion: bash, and zsh through its emulation of it ---- */

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
        if (name_words(&commands[i], count, other) && strcmp(other, name) == 0)
            return true;
    return false;
}

/* Calls fn for every name and every beginning of one, each once. */
static void each_name(void (*fn)(const char *name))
{
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < command_count; i++)
        for (unsigned words = 1; name_words(&commands[i], words, name); words++)
            if (!met_before(i, words, name))
                fn(name);
}

static const struct command *command_called(const char *name)
{
    for (uint32_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_known(const char *name)
{
    printf("'%s' | ", name);
}

/* What may stand behind `name`, which is a group: the next words. */
static void print_next_words(const char *name)
{
    size_t len = strlen(name);
    char next[NAME_SIZE];
    const char *between = "";
    unsigned words = len > 0;
    for (const char *at = name; *at; at++)
        words += *at == ' ';
    for (uint32_t i = 0; i < command_count; i++) {
        if (!name_words(&commands[i], words + 1, next) || met_before(i, words + 1, next))
            continue;
        if (len > 0 && (strncmp(next, name, len) != 0 || next[len] != ' '))
            continue;
        printf("%s%s", between, next + len + (len > 0));
        between = " ";
    }
}

static void print_words(const char *name)
{
    const struct command *command = command_called(name);
    printf("    '%s') words='", name);
    if (!command)
        print_next_words(name);
    for (uint32_t s = 0; command && s < OPTION_SETS; s++) {
        struct option_set set = option_set_of(command, s);
        for (uint32_t o = 0; o < set.count; o++)
            printf("--%s ", set.options[o].name);
    }
    printf("' ;;\n");
}

static void print_choice(const char *name, const struct command_option *option)
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

static void print_choices(const char *name)
{
    const struct command *command = command_called(name);
    for (uint32_t s = 0; command && s < OPTION_SETS; s++) {
        struct option_set set = option_set_of(command, s);
        for (uint32_t o = 0; o < set.count; o++)
            print_choice(name, &set.options[o]);
    }
}

static void print_bash(void)
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
    each_name(print_known);
    printf("'') name=$next ;;\n"
           "        *) break ;;\n"
           "        esac\n"
           "    done\n"
           "    case $name in\n"
           "    '') words='");
    print_next_words("");
    printf("' ;;\n");
    each_name(print_words);
    printf("    esac\n"
           "    case \"$name $prev\" in\n");
    each_name(print_choices);
    printf("    *) [[ $cur = -* || $words != -* ]] || words='' ;;\n"
           "    esac\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "}\n"
           "complete -o bashdefault -o default -F _millrace millrace\n");
}

int cmd_generate_completion(struct invocation *inv)
{
    if (strcmp(inv->operands[0], "bash") != 0)
        return usage_error(inv, "'%s': completion is there for bash", inv->operands[0]);
    print_bash();
    return EXIT_OK;
}

/* ---- the manual page ---- */

/* Text of troff: no line begins a request, and a backslash is one. */
static void print_roff(const char *text)
{
    bool at_start = true;
    for (const char *at = text; *at; at++) {
        if (at_start && (*at == '.' || *at == '\''))
            fputs("\\&", stdout);
        if (*at == '\\')
            fputs("\\e", stdout);
        else if (*at == '-')
            fputs("\\-", stdout);
        else
            putchar(*at);
        at_start = *at == '\n';
    }
}

static void print_option(const struct command_option *option)
{
    printf(".TP\n");
    if (option->letter)
        printf("\\fB\\-%c\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    print_roff(option->name);
    printf("\\fR");
    if (option->argument) {
        printf(" \\fI");
        print_roff(option->argument);
        printf("\\fR");
    }
    putchar('\n');
    print_roff(option->help);
    putchar('\n');
}

static void print_options(struct option_set set)
{
    for (uint32_t o = 0; o < set.count; o++)
        print_option(&set.options[o]);
}

static void print_command(const struct command *command)
{
    printf(".SS millrace ");
    print_roff(command->name);
    if (command->operands) {
        putchar(' ');
        print_roff(command->operands);
    }
    printf("\n");
    print_roff(command->about ? command->about : command->summary);
    printf("\n");
    for (uint32_t s = 0; s < OPTION_SETS_OWN; s++)
        print_options(option_set_of(command, s));
    if (command->examples) {
        printf(".PP\n.nf\n.RS\n");
        print_roff(command->examples);
        printf("\n.RE\n.fi\n");
    }
}

int cmd_generate_man(struct invocation *inv)
{
    (void)inv;
    printf(".TH MILLRACE 1 \"\" \"millrace %s\"\n"
           ".SH NAME\nmillrace \\- a message broker that speaks Kafka's wire protocol, and its "
           "command line\n"
           ".SH SYNOPSIS\n.B millrace\n.I COMMAND\n.RI [ OPTIONS ]\n"
           ".SH COMMANDS\n",
           MR_VERSION);
    for (uint32_t i = 0; i < command_count; i++)
        print_command(&commands[i]);
    printf(".SH OPTIONS OF COMMANDS THAT PRINT ROWS OR OBJECTS\n");
    print_options((struct option_set){NULL, listing_options, listing_option_count});
    printf(".SH OPTIONS OF COMMANDS THAT ASK A BROKER\n");
    print_options((struct option_set){NULL, remote_options, remote_option_count});
    printf(".SH OPTIONS OF ALL COMMANDS\n");
    print_options((struct option_set){NULL, common_options, common_option_count});
    printf(".SH EXIT STATUS\n");
    for (uint32_t i = 0; i < exit_meaning_count; i++)
        printf(".TP\n.B %d\n%s.\n", exit_meanings[i].code, exit_meanings[i].meaning);
    return EXIT_OK;
}
