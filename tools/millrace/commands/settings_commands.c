/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on settings: of keys, of running brokers, and profiles.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option config_show_options[] = {
    {0, "broker", "ID", NULL, "of this broker alone (default: of each)", NULL},
    {'a', "all", NULL, NULL, "what is as by default, too", NULL},
};

static const struct command_option config_set_options[] = {
    {0, "broker", "ID", NULL, "for this broker alone (default: for all)", NULL},
    {'d', "delete", "KEY", NULL, "back to what the file or the default says; may be repeated",
     NULL},
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option profile_create_options[] = {
    {0, "use", NULL, NULL, "use it from now on", NULL},
    {0, "replace", NULL, NULL, "make it anew when it is there already", NULL},
};

static const struct command_option config_list_options[] = {
    {'a', "all", NULL, NULL, "Kafka's keys that have no effect too", NULL},
    {0, "scope", "SCOPE", NULL, "broker or topic", "broker|topic"},
};

static const struct command settings_rows[] = {
    {
        .name = "config list",
        .summary = "the keys of the configuration",
        .operands = "[PART]",
        .about =
            "The keys that a broker or a topic can be configured with; PART of a name chooses.",
        .examples = "millrace config list\nmillrace config list retention --all --format wide",
        COUNT(config_list_options),
        .operands_max = 1,
        .listing = true,
        .run = cmd_config_list,
    },
    {
        .name = "config explain",
        .summary = "what a key of the configuration means",
        .operands = "KEY",
        .examples = "millrace config explain listeners",
        .operands_min = 1,
        .operands_max = 1,
        .listing = true,
        .run = cmd_config_explain,
    },
    {
        .name = "config show",
        .summary = "what running brokers are set to",
        .operands = "[PART]",
        .about = "What brokers that run are set to, and by whom: by their server.properties or "
                 "command line (STATIC), or while they ran, for one (DYNAMIC_BROKER) or for all "
                 "(DYNAMIC_DEFAULT_BROKER). PART of a name chooses.",
        .examples = "millrace config show\n"
                    "millrace config show retention --all --broker 1",
        COUNT(config_show_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_config_show,
    },
    {
        .name = "config set",
        .summary = "change a setting of running brokers",
        .operands = "KEY=VALUE...",
        .about = "Changes what brokers are set to while they run, for all of them or for one. What "
                 "is set for one comes before what is set for all, and both before its file. Which "
                 "keys may be changed so tells millrace config list --format wide.",
        .examples = "millrace config set log.retention.ms=86400000\n"
                    "millrace config set --broker 1 --delete log.retention.ms",
        COUNT(config_set_options),
        .operands_max = 64,
        .listing = true,
        .remote = true,
        .run = cmd_config_set,
    },
    {
        .name = "profile create",
        .summary = "give settings a name",
        .operands = "NAME KEY=VALUE...",
        .about = "Gives settings a name, so that they need not be typed again. The keys are those "
                 "of -X. Every command that asks a broker takes the settings of the profile that "
                 "--profile or $MILLRACE_PROFILE names, or that is in use; what is typed, and "
                 "$MILLRACE_BOOTSTRAP_SERVER, comes first. status and top take the key admin of "
                 "it, which says where an admin listener is.",
        .examples = "millrace profile create prod bootstrap.servers=kafka-1:9092,kafka-2:9092 "
                    "admin=kafka-1:9644\n"
                    "millrace profile create local bootstrap.servers=127.0.0.1:9092 linger.ms=0 "
                    "--use",
        COUNT(profile_create_options),
        .operands_min = 2,
        .operands_max = 64,
        .run = cmd_profile_create,
    },
    {
        .name = "profile use",
        .summary = "the profile that holds from now on",
        .operands = "[NAME]",
        .about = "From now on this profile holds where no other is named; without a name none "
                 "does.",
        .examples = "millrace profile use prod\nmillrace profile use",
        .operands_max = 1,
        .run = cmd_profile_use,
    },
    {
        .name = "profile list",
        .summary = "the profiles there are",
        .examples = "millrace profile list\nmillrace profile list --format json",
        .listing = true,
        .run = cmd_profile_list,
    },
    {
        .name = "profile show",
        .summary = "the settings of a profile",
        .operands = "[NAME]",
        .about = "The settings of a profile, or of the one in use.",
        .examples = "millrace profile show\nmillrace profile show prod --format awk",
        .operands_max = 1,
        .listing = true,
        .run = cmd_profile_show,
    },
    {
        .name = "profile delete",
        .summary = "remove a profile",
        .operands = "NAME",
        .examples = "millrace profile delete prod",
        .operands_min = 1,
        .operands_max = 1,
        .run = cmd_profile_delete,
    },
};
const struct command_list settings_commands = {settings_rows, array_count(settings_rows)};
