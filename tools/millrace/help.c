/* SPDX-License-Identifier: Apache-2.0
 *
 * Help, from the table of commands. Text is wrapped at 96 columns; options come in the table's
 * order, those that all commands share last.
 */
#include "tools/millrace/command.h"

#include <string.h>

#define WIDTH 96U

/* Wraps at blanks; lines after the first begin at column `indent`. */
static void wrap(FILE *to, const char *text, size_t column, size_t indent)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > indent && column + 1 + len > WIDTH) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        }
        bool first = column == indent;
        fprintf(to, "%s%.*s", first ? "" : " ", (int)len, text);
        column += len + !first;
        text += len + (text[len] == ' ');
    }
    fputc('\n', to);
}

static int label_of(char *text, size_t size, const struct command_option *option)
{
    char letter[8] = "    ";
    if (option->letter)
        (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    return snprintf(text, size, "%s--%s%s%s", letter, option->name, option->argument ? " " : "",
                    option->argument ? option->argument : "");
}

static void print_options(FILE *to, struct option_set set)
{
    size_t width = 0;
    char label[96];
    for (uint32_t i = 0; i < set.count; i++)
        width = max_u64(width, (uint64_t)label_of(label, sizeof(label), &set.options[i]));
    width = min_u64(width, 30);
    if (set.count > 0)
        fprintf(to, "\n%s:\n", set.title);
    for (uint32_t i = 0; i < set.count; i++) {
        int len = label_of(label, sizeof(label), &set.options[i]);
        fprintf(to, "  %-*s  ", (int)width, label);
        if ((size_t)len > width)
            fprintf(to, "\n  %*s  ", (int)width, "");
        char text[640];
        const struct command_option *option = &set.options[i];
        bool named = option->fallback && option->fallback[0];
        (void)snprintf(text, sizeof(text), "%s%s%s%s", option->help, named ? " (default: " : "",
                       named ? option->fallback : "", named ? ")" : "");
        wrap(to, text, width + 4, width + 4);
    }
}

void help_command(FILE *to, const struct command *command)
{
    fprintf(to, "usage: millrace %s%s%s [options]\n\n", command->name, command->operands ? " " : "",
            command->operands ? command->operands : "");
    wrap(to, command->about ? command->about : command->summary, 0, 0);
    for (uint32_t i = 0; i < OPTION_SETS; i++)
        print_options(to, option_set_of(command, i));
    if (!command->examples)
        return;
    fputs("\nexamples:\n", to);
    for (const char *line = command->examples; *line;) {
        size_t len = strcspn(line, "\n");
        fprintf(to, "  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void print_commands(FILE *to, const char *group)
{
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
        if (command_is_in(command, group))
            fprintf(to, "  %-22s %s\n", command->name, command->summary);
}

void help_group(FILE *to, const char *group)
{
    fprintf(to, "usage: millrace %s COMMAND [options]\n\ncommands:\n", group);
    print_commands(to, group);
    fprintf(to, "\nmillrace %s COMMAND --help tells more, with examples.\n", group);
}

void help_all(FILE *to)
{
    fputs("Millrace: a message broker that speaks Kafka's protocol. An acknowledged record is on\n"
          "stable storage. This program is the broker and its command line; the client commands\n"
          "work with any broker of that protocol.\n"
          "\n"
          "usage: millrace COMMAND [options]\n\ncommands:\n",
          to);
    print_commands(to, "");
    fputs("\n"
          "first steps:\n"
          "  millrace start                          a broker on 127.0.0.1:9092, data in "
          "./millrace-data\n"
          "  echo hello | millrace produce demo      one record\n"
          "  millrace consume demo -n 1              and back\n"
          "\n"
          "exit codes:\n",
          to);
    for (uint32_t i = 0; i < exit_meaning_count; i++)
        fprintf(to, "  %-3d  %s\n", exit_meanings[i].code, exit_meanings[i].meaning);
    fputs("\nmillrace COMMAND --help tells more, with examples.\n", to);
}
