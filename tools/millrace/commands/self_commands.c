/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands about the program itself.
 */
#include "tools/millrace/commands/commands.h"

static const struct command cheat_rows[] = {
    {
        .name = "cheat",
        .summary = "what one does with it, as lines to copy",
        .operands = "[SUBJECT]",
        .about = "Lines to copy, by what one wants to do. Each command's --help has more.",
        .examples = "millrace cheat\nmillrace cheat groups",
        .operands_max = 1,
        .listing = true,
        .run = cmd_cheat,
    },
};
const struct command_list cheat_commands = {cheat_rows, array_count(cheat_rows)};

static const struct command self_rows[] = {
    {
        .name = "generate completion",
        .summary = "completion of commands and options for a shell",
        .operands = "bash|zsh|fish",
        .about = "Prints what a shell reads to complete commands, options and their values.",
        .examples =
            "source <(millrace generate completion bash)\n"
            "millrace generate completion bash >/etc/bash_completion.d/millrace\n"
            "millrace generate completion zsh >/usr/local/share/zsh/site-functions/_millrace\n"
            "millrace generate completion fish >~/.config/fish/completions/millrace.fish",
        .operands_min = 1,
        .operands_max = 1,
        .run = cmd_generate_completion,
    },
    {
        .name = "generate man",
        .summary = "the manual page",
        .examples = "millrace generate man | man -l -",
        .run = cmd_generate_man,
    },
    {
        .name = "version",
        .summary = "the version; -v: compiler, kernel, served requests",
        .examples = "millrace version\nmillrace version --verbose --format json",
        .listing = true,
        .run = cmd_version,
    },
    {
        .name = "help",
        .summary = "what a command does",
        .operands = "[COMMAND]",
        .examples = "millrace help topic create",
        .operands_max = 3,
        .run = cmd_help,
    },
};
const struct command_list self_commands = {self_rows, array_count(self_rows)};
