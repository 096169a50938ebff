/* SPDX-License-Identifier: Apache-2.0
 *
 * The program: finds the command and runs it.
 */
#include "tools/millrace/command.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"start", "run a broker in the foreground", cmd_start},
    {"version", "print the version", cmd_version},
};

static void print_help(FILE *to)
{
    fputs("usage: millrace COMMAND [options]\n\ncommands:\n", to);
    for (size_t i = 0; i < array_count(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\nmillrace COMMAND --help tells more.\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    for (size_t i = 0; i < array_count(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "millrace: unknown command '%s'; millrace --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
