/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of the table of commands, subject by subject, for tools/millrace/command_table.c, which
 * says in which order they come.
 */
#pragma once

#include "tools/millrace/command.h"

struct command_list {
    const struct command *rows;
    uint32_t count;
};

extern const struct command_list start_commands;
extern const struct command_list cluster_commands;
extern const struct command_list topic_commands;
extern const struct command_list records_commands;
extern const struct command_list group_commands;
extern const struct command_list live_commands;
extern const struct command_list bench_commands;
extern const struct command_list settings_commands;
extern const struct command_list cheat_commands;
extern const struct command_list debug_commands;
extern const struct command_list self_commands;

/* Parts of a row. */
#define COUNT(array) .options = (array), .option_count = array_count(array)
#define MORE(title, array)                                                                         \
    .more_title = (title), .more_options = (array), .more_option_count = array_count(array)
#define ANY_NUMBER UINT32_MAX
#define PROFILE_OPTION                                                                             \
    {                                                                                              \
        0, "profile", "NAME", NULL,                                                                \
            "settings that have a name (default: $MILLRACE_PROFILE, else the one in use)", NULL    \
    }
