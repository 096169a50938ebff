/* SPDX-License-Identifier: Apache-2.0
 *
 * Every command, in the order of the help, and the options that many have. A new one is a row with
 * its options in tools/millrace/commands, and a function.
 */
#include "tools/millrace/commands/commands.h"

#define MEANING(name, number, meaning) {EXIT_##name, meaning},
const struct exit_meaning exit_meanings[] = {EXIT_CODES(MEANING)};
#undef MEANING
const uint32_t exit_meaning_count = array_count(exit_meanings);

const struct command_option common_options[] = {
    {'q', "quiet", NULL, NULL, "leave out everything that is not asked for", NULL},
    {'v', "verbose", NULL, NULL, "say more", NULL},
    {0, "color", "WHEN", "auto", "colours: auto, always or never; NO_COLOR is obeyed",
     "auto|always|never"},
    {'h', "help", NULL, NULL, "this text", NULL},
};
const uint32_t common_option_count = array_count(common_options);

const struct command_option listing_options[] = {
    {0, "format", "FORMAT", "text",
     "text (a table), wide (more columns), json, ndjson (an object a line) or awk (tabs, no "
     "header)",
     "text|wide|json|ndjson|awk"},
};
const uint32_t listing_option_count = array_count(listing_options);

const struct command_option remote_options[] = {
    {'b', "bootstrap-server", "HOST:PORT[,...]", NULL,
     "the broker to ask (default: $MILLRACE_BOOTSTRAP_SERVER, else 127.0.0.1:9092)", NULL},
    {0, "timeout", "MS", NULL, "how long to wait for an answer (default: 30000)", NULL},
    {'X', "setting", "KEY=VALUE", NULL, "a setting of Kafka's clients; -X list shows them", NULL},
    PROFILE_OPTION,
};
const uint32_t remote_option_count = array_count(remote_options);

static const struct command_list *const lists[] = {
    &start_commands, &cluster_commands, &topic_commands, &records_commands,
    &group_commands, &live_commands,    &bench_commands, &settings_commands,
    &cheat_commands, &debug_commands,   &self_commands,
};

const struct command *command_at(uint32_t index)
{
    for (uint32_t i = 0; i < array_count(lists); index -= lists[i++]->count)
        if (index < lists[i]->count)
            return &lists[i]->rows[index];
    return NULL;
}
