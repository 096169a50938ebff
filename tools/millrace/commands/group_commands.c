/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on consumer groups.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option group_list_options[] = {
    {0, "state", "STATE[,...]", NULL,
     "only groups in these states: Stable, Empty, PreparingRebalance, CompletingRebalance, Dead",
     NULL},
    {0, "type", "TYPE[,...]", NULL, "only groups of these types: classic, consumer", NULL},
};

static const struct command_option group_describe_options[] = {
    {'a', "all-groups", NULL, NULL, "every group", NULL},
    {0, "state", NULL, NULL, "of the tables, the line about the group", NULL},
    {0, "members", NULL, NULL, "of the tables, that of the members", NULL},
    {0, "offsets", NULL, NULL, "of the tables, that of the partitions", NULL},
};

static const struct command_option group_seek_options[] = {
    {0, "to", "WHERE", NULL, "start, end, or a time as for --to-datetime", NULL},
    {0, "to-earliest", NULL, NULL, "to the first record there is", NULL},
    {0, "to-latest", NULL, NULL, "to the end: only what comes next", NULL},
    {0, "to-current", NULL, NULL, "what is committed now; the end where nothing is", NULL},
    {0, "to-offset", "N", NULL, "to this offset in every partition", NULL},
    {0, "shift-by", "N", NULL, "N records on, or back when N is negative", NULL},
    {0, "to-datetime", "TIME", NULL,
     "to the first record at or after milliseconds since 1970, 2026-01-31[T12:00[:00.000]] (UTC, "
     "or "
     "+01:00 behind it), or -90s, -5m, -2h, -1d",
     NULL},
    {0, "by-duration", "DURATION", NULL, "so long before now: P1DT2H30M, 90s, 5m, 2h, 1d", NULL},
    {0, "from-file", "FILE", NULL, "lines of TOPIC,PARTITION,OFFSET; -: standard input", NULL},
    {0, "to-file", "FILE", NULL, "rpk's name for --from-file", NULL},
    {0, "to-group", "GROUP", NULL, "to what another group has committed", NULL},
    {'t', "topic", "TOPIC[:LIST]", NULL,
     "only this topic, orders:0,3-5 these partitions; may be repeated (default: all that the group "
     "has committed)",
     NULL},
    {0, "topics", "TOPIC[,...]", NULL,
     "only these topics, of those that the group has committed in (rpk's word)", NULL},
    {0, "allow-new-topics", NULL, NULL, "--topics takes others, too, as --topic always does", NULL},
    {'a', "all-groups", NULL, NULL,
     "every group of consumers, one after another; those that somebody is in fail", NULL},
    {0, "all-topics", NULL, NULL, "all that the group has committed: the default", NULL},
    {0, "execute", NULL, NULL, "do it", NULL},
    {0, "dry-run", NULL, NULL, "show what would be done: the default", NULL},
    {0, "export", NULL, NULL, "print what --from-file reads", NULL},
};

static const struct command_option offset_delete_options[] = {
    {'t', "topic", "TOPIC[:LIST]", NULL,
     "forget what is committed in this topic, orders:0,3-5 in these partitions; may be repeated",
     NULL},
};

static const struct command group_rows[] = {
    {
        .name = "group list",
        .summary = "the consumer groups that exist",
        .operands = "[PATTERN]",
        .about = "The groups that exist, or those that match a pattern of the shell's.",
        .examples = "millrace group list\n"
                    "millrace group list --state Stable,PreparingRebalance\n"
                    "millrace group list 'billing-*' --format awk | cut -f1",
        COUNT(group_list_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_group_list,
    },
    {
        .name = "group describe",
        .summary = "members, offsets and lag of groups",
        .operands = "GROUP...",
        .about = "Who is in a group, which partitions each member has, what is committed and how "
                 "far behind the end of the log that is.",
        .examples = "millrace group describe billing\n"
                    "millrace group describe billing --members --format wide\n"
                    "millrace group describe -a --format json | jq '.items[] | {group, lag}'",
        COUNT(group_describe_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_group_describe,
    },
    {
        .name = "group seek",
        .summary = "give a group other offsets",
        .operands = "[GROUP]",
        .about =
            "Moves what a group has committed, so that its members go on elsewhere. Nobody may "
            "be in the group. Without --execute nothing is changed: what would be is printed. "
            "The words are those of kafka-consumer-groups --reset-offsets and of rpk.",
        .examples = "millrace group seek billing --to-earliest\n"
                    "millrace group seek billing --to-datetime 2026-01-31T12:00 --execute\n"
                    "millrace group seek billing --shift-by -100 --topic orders:0,1 --execute\n"
                    "millrace group seek billing --to-current --export >offsets.csv\n"
                    "millrace group seek billing --from-file offsets.csv --execute",
        COUNT(group_seek_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_group_seek,
    },
    {
        .name = "group delete",
        .summary = "remove groups and what they have committed",
        .operands = "GROUP...",
        .about = "Removes groups and everything they have committed, at once and for good. Nobody "
                 "may be in them.",
        .examples = "millrace group delete billing",
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_group_delete,
    },
    {
        .name = "group offset-delete",
        .summary = "forget some of what a group has committed",
        .operands = "GROUP",
        .about =
            "Forgets what a group has committed in a topic, or in some of its partitions, that "
            "no member of it reads.",
        .examples = "millrace group offset-delete billing --topic orders:0,3-5",
        COUNT(offset_delete_options),
        .operands_min = 1,
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_group_offset_delete,
    },
};
const struct command_list group_commands = {group_rows, array_count(group_rows)};
