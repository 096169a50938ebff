/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion in shells. The table of commands is looked at as a tree of words: behind a name that
 * is a group ("" and "cluster quota") stand its next words, behind a command its options. Each
 * shell has a function that prints this in its own language.
 */
#pragma once

#include "tools/millrace/command.h"

/* Every name, and every beginning of one, each once. */
void completion_each_name(void (*fn)(const char *name));
/* The words that may stand behind `group`, and what they mean: a command's summary, or which
 * commands are in that group. */
void completion_each_next(const char *group,
                          void (*fn)(const char *group, const char *word, const char *about));
void completion_each_option(const char *name,
                            void (*fn)(const char *name, const struct command_option *option));

/* An option's value, as the help names it, is a path. */
bool completion_is_path(const struct command_option *option);

/* 'name' | , as bash and zsh write the patterns of a case. */
void completion_print_pattern(const char *name);

void completion_print_bash(void);
void completion_print_zsh(void);
void completion_print_fish(void);
