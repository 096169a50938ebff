/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on topics.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option create_options[] = {
    {'p', "partitions", "N", NULL, "how many (default: the broker's num.partitions)", NULL},
    {'r', "replication-factor", "N", NULL, "copies (default: the broker's)", NULL},
    {'c', "config", "KEY=VALUE", NULL, "a setting of the topic; may be repeated", NULL},
    {0, "if-not-exists", NULL, NULL, "a topic that exists is no error", NULL},
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option list_options[] = {
    {'i', "internal", NULL, NULL, "show the broker's own topics too", NULL},
};

static const struct command_option describe_options[] = {
    {0, "storage", NULL, NULL,
     "what they have on disk instead: segments, bytes and damage of each replica, and the files of "
     "segments that are gone and wait for their next use",
     NULL},
};

static const struct command_option add_partitions_options[] = {
    {'p', "partitions", "N", NULL, "how many there shall be in all; +N: how many more", NULL},
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option alter_options[] = {
    {'c', "config", "KEY=VALUE", NULL, "sets a setting; may be repeated", NULL},
    {'d', "delete-config", "KEY", NULL, "back to the broker's default; may be repeated", NULL},
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

static const struct command_option topic_export_options[] = {
    {0, "to", "DIR", NULL, "where the folders go; made when it is missing", NULL},
    {0, "segment-bytes", "N", "1073741824", "where a segment ends and the next one begins", NULL},
};

static const struct command topic_rows[] = {
    {
        .name = "topic create",
        .summary = "make topics",
        .operands = "TOPIC...",
        .examples = "millrace topic create orders\n"
                    "millrace topic create orders -p 12 -c retention.ms=86400000 --if-not-exists\n"
                    "millrace topic create a b c --dry-run --format json",
        COUNT(create_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_create,
    },
    {
        .name = "topic list",
        .summary = "the topics that exist",
        .operands = "[PATTERN]",
        .about = "The topics that exist, or those that match a pattern of the shell's.",
        .examples = "millrace topic list\n"
                    "millrace topic list 'order*' --format wide\n"
                    "millrace topic list --format awk | cut -f1",
        COUNT(list_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_topic_list,
    },
    {
        .name = "topic describe",
        .summary = "partitions, offsets and settings of topics",
        .operands = "TOPIC...",
        .about = "Partitions with their leaders, replicas and offsets, and the settings that the "
                 "topic has itself; with --format wide every setting, with awk a partition a row.",
        .examples = "millrace topic describe orders\n"
                    "millrace topic describe orders --format json | jq '.items[].configs'\n"
                    "millrace topic describe orders --storage",
        COUNT(describe_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_describe,
    },
    {
        .name = "topic delete",
        .summary = "remove topics and their data",
        .operands = "TOPIC...",
        .about = "Removes topics and their data, at once and for good.",
        .examples = "millrace topic delete orders",
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_delete,
    },
    {
        .name = "topic add-partitions",
        .summary = "give topics more partitions",
        .operands = "TOPIC...",
        .about = "Gives topics more partitions. Keys that were hashed to a partition before may "
                 "then belong to another.",
        .examples = "millrace topic add-partitions orders -p 24\n"
                    "millrace topic add-partitions orders -p +4",
        COUNT(add_partitions_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_add_partitions,
    },
    {
        .name = "topic export",
        .summary = "a topic's records as the segment files of Apache Kafka",
        .operands = "TOPIC...",
        .about = "Fetches all records of topics, up to those that are the last when it begins, and "
                 "writes them as Kafka keeps them: for each partition a folder with segments, "
                 ".index, .timeindex, .txnindex, leader-epoch-checkpoint and partition.metadata. "
                 "Any broker of the protocol may be asked. For a data directory whose broker was "
                 "stopped see debug log export.",
        .examples = "millrace topic export orders --to backup\n"
                    "millrace topic export orders payments --to backup -b 10.0.0.1:9092",
        COUNT(topic_export_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_export,
    },
    {
        .name = "topic alter",
        .summary = "change settings of topics",
        .operands = "TOPIC...",
        .examples = "millrace topic alter orders -c max.message.bytes=2000000\n"
                    "millrace topic alter orders -d max.message.bytes",
        COUNT(alter_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_topic_alter,
    },
};
const struct command_list topic_commands = {topic_rows, array_count(topic_rows)};
