/* SPDX-License-Identifier: Apache-2.0
 *
 * The manual page, from the table of commands: `millrace generate man`.
 */
#include "tools/millrace/command.h"

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
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
        print_command(command);
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
