/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on records: writing and reading them.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option produce_options[] = {
    {'k', "key", "KEY", NULL, "the key of every record", NULL},
    {'K', "key-delimiter", "TEXT", NULL, "each line is KEY TEXT VALUE; as -f '%kTEXT%s\\n'", NULL},
    {'H', "header", "KEY=VALUE", NULL, "a header of every record; may be repeated", NULL},
    {'z', "compression", "CODEC", NULL, "none, gzip, snappy, lz4 or zstd",
     "none|gzip|snappy|lz4|zstd"},
    {'p', "partition", "N", NULL,
     "where every record goes (default: by the key's hash as Kafka's clients do it; without a key "
     "one partition after another, a batch each)",
     NULL},
    {0, "acks", "ACKS", NULL, "all: every replica has it; 1: the leader has it; 0: do not wait",
     "all|-1|0|1"},
    {'f', "input-format", "FORMAT", "%s\\n",
     "how records stand in the input: %s or %v value, %k key, %p partition, %T timestamp, %h "
     "headers (k=v,k=v), with the text between them; {hex} or {base64} behind a letter",
     NULL},
    {'Z', "null", NULL, NULL, "an empty value (key) is null", NULL},
    {0, "file", "FILE", NULL, "read this instead of standard input", NULL},
};

static const struct command_option consume_options[] = {
    {'g', "group", "NAME", NULL,
     "read as a member of a consumer group: it shares the partitions, begins where the group has "
     "committed (elsewhere by -o), and commits what was printed",
     NULL},
    {'o', "offset", "WHERE", "start",
     "start, end, an offset, +N (N after the start), -N (N before the end), @TIME or @FROM:TO; a "
     "time is milliseconds since 1970, 2026-01-31[T12:00[:00]] (UTC), or -90s, -5m, -2h, -1d",
     NULL},
    {'p', "partition", "LIST", NULL, "only these: 0,3-5 (default: all)", NULL},
    {'n', "count", "N", NULL, "end after so many records", NULL},
    {'e', "exit-at-end", NULL, NULL, "end when there is nothing more (default: wait for more)",
     NULL},
    {0, "follow", NULL, NULL, "wait for more: the default, against an earlier -e", NULL},
    {'f', "output-format", "FORMAT", "%s\\n",
     "how records are printed: %s or %v value, %k key, %t topic, %p partition, %o offset, %T "
     "timestamp, %h headers, %S and %K lengths; {hex}, {base64} or {json} behind a letter; \\n \\t "
     "\\xHH",
     NULL},
    {'J', "json", NULL, NULL, "one JSON object a record, as kcat prints them", NULL},
};

static const struct command records_rows[] = {
    {
        .name = "produce",
        .summary = "send records from standard input",
        .operands = "TOPIC",
        .about =
            "Sends the lines of standard input as records, and says where each of them is once "
            "it is acknowledged. A topic that does not exist is created if the broker allows "
            "that. What has to be sent again is stored once (-X enable.idempotence=true).",
        .examples = "echo hello | millrace produce demo\n"
                    "millrace produce orders -K : -z zstd <lines        # KEY:VALUE\n"
                    "millrace produce orders -k 42 -H source=cli --file record.txt -f '%s'\n"
                    "seq 1000000 | millrace produce numbers -q",
        COUNT(produce_options),
        .operands_min = 1,
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_produce,
    },
    {
        .name = "consume",
        .summary = "print records",
        .operands = "TOPIC...",
        .about =
            "Prints the records of topics, and waits for more unless -e or -n end it. Nothing is "
            "remembered on the broker, unless -g names a group.",
        .examples = "millrace consume demo -n 1\n"
                    "millrace consume orders -o -10 -e -f '%p %o %k %s\\n'\n"
                    "millrace consume orders -p 0 -o @2026-01-31T12:00:@2026-01-31T13:00 -J\n"
                    "millrace consume a b -e --format json\n"
                    "millrace consume orders -g billing -o end",
        COUNT(consume_options),
        .operands_min = 1,
        .operands_max = 64,
        .listing = true,
        .remote = true,
        .run = cmd_consume,
    },
};
const struct command_list records_commands = {records_rows, array_count(records_rows)};
