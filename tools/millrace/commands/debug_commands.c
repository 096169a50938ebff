/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on data that no broker has open: segment files, and directories of Kafka.
 */
#include "tools/millrace/commands/commands.h"

static const struct command_option log_repair_options[] = {
    {0, "dry-run", NULL, NULL, "say what is kept and what is lost, and change nothing", NULL},
};

static const struct command_option log_dump_options[] = {
    {'r', "records", NULL, NULL, "the records instead of the batches", NULL},
    {'f', "output-format", "FORMAT", "%o\\t%T\\t%k\\t%s\\n",
     "with --records: how they are printed, as consume has it", NULL},
    {'J', "json", NULL, NULL, "the records, one JSON object each", NULL},
};

static const struct command_option import_kafka_options[] = {
    {0, "data-dir", "D", NULL, "the data directory that is to be made; a new one", NULL},
    {0, "run", NULL, NULL, "really take it over, into --data-dir", NULL},
    {0, "commit", NULL, NULL,
     "give up the way back: remove from Kafka's directories what was taken over into --data-dir",
     NULL},
    {0, "copy", "WAY", "auto",
     "how segments get there; auto: reflink where the file system can, else a hard link for closed "
     "ones, else a copy",
     "auto|reflink|link|copy"},
    {0, "without-settings", NULL, NULL,
     "Kafka in ZooKeeper mode: go on without the settings of its topics", NULL},
    {0, "zookeeper", "HOST:PORT/PATH", NULL,
     "Kafka in ZooKeeper mode: ask this ZooKeeper for the settings of its topics", NULL},
    {0, "except", "TOPIC", NULL, "leave this topic out; may be given again", NULL},
};

static const struct command_option move_to_zookeeper_options[] = {
    {0, "zookeeper", "HOST:PORT,.../PATH", NULL,
     "the servers, and a path that nothing lies at yet (/millrace when none is given)", NULL},
    {0, "run", NULL, NULL, "really do it", NULL},
};

static const struct command_option log_export_options[] = {
    {0, "to", "DIR", NULL, "where the folders go; made when it is missing", NULL},
};

static const struct command_option log_verify_options[] = {
    {0, "deep", NULL, NULL, "inflate the batches and look at every record too", NULL},
};

static const struct command debug_rows[] = {
    {
        .name = "debug import-kafka",
        .summary = "take over the data directory of an Apache Kafka that was stopped",
        .operands = "DIR...",
        .about = "Reads what a node of Apache Kafka (3.9 with ZooKeeper, 4 with KRaft) has left "
                 "after a clean stop, and tells what carries over and what does not: topics with "
                 "their ids, settings and segments, committed offsets. All its directories are "
                 "named. Nothing is changed unless --run is given, and then a new data directory "
                 "is made of it: Kafka's own stays as it is and Kafka can be started on it again, "
                 "until --commit.",
        .examples = "millrace debug import-kafka /var/lib/kafka\n"
                    "millrace debug import-kafka /disk1/kafka /disk2/kafka --format json\n"
                    "millrace debug import-kafka /var/lib/kafka --zookeeper 127.0.0.1:2181\n"
                    "millrace debug import-kafka /var/lib/kafka --data-dir /var/lib/millrace "
                    "--run",
        COUNT(import_kafka_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .run = cmd_debug_import_kafka,
    },
    {
        .name = "debug move-to-zookeeper",
        .summary =
            "put the metadata of a stopped node into ZooKeeper, where it may become a cluster",
        .operands = "DIR",
        .about = "A node of its own keeps its metadata in its data directory, the brokers of a "
                 "cluster in ZooKeeper. This takes the one to the other: cluster id, topics, "
                 "settings, quotas, all as they are; records and committed offsets stay where they "
                 "lie. Nothing is changed unless --run is given; interrupted, it is run again. "
                 "Afterwards the node starts with --zookeeper only, and other brokers may join.",
        .examples = "millrace debug move-to-zookeeper /var/lib/millrace --zookeeper "
                    "127.0.0.1:2181/millrace\n"
                    "millrace debug move-to-zookeeper /var/lib/millrace --zookeeper "
                    "127.0.0.1:2181/millrace --run",
        COUNT(move_to_zookeeper_options),
        .operands_min = 1,
        .operands_max = 1,
        .run = cmd_debug_move_to_zookeeper,
    },
    {
        .name = "debug log dump",
        .summary = "what stands in segment files",
        .operands = "PATH...",
        .about =
            "Lists the batches of segment files, or prints their records. A path is a segment "
            "file, the directory of a partition, or a data directory; Kafka's are read too. No "
            "broker is asked: the files may be of one that does not run, or does not start.",
        .examples = "millrace debug log dump millrace-data/orders-0\n"
                    "millrace debug log dump millrace-data/orders-0 --records\n"
                    "millrace debug log dump 00000000000000000000.log --format ndjson",
        COUNT(log_dump_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .run = cmd_debug_log_dump,
    },
    {
        .name = "debug log export",
        .summary = "logs as Apache Kafka keeps them",
        .operands = "D [TOPIC...]",
        .about = "Writes the logs of a data directory whose broker was stopped as Kafka keeps "
                 "them: for each partition a folder with segments, .index, .timeindex, .txnindex, "
                 "leader-epoch-checkpoint and partition.metadata, and beside them "
                 "log-start-offset-checkpoint, for logs that begin inside of a segment. Put in the "
                 "place of Kafka's own "
                 "folders of a topic with the same id (see partition.metadata) they are served by "
                 "it. The data directory is only read.",
        .examples = "millrace debug log export millrace-data --to kafka-form\n"
                    "millrace debug log export /var/lib/millrace orders --to /backup/orders",
        COUNT(log_export_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .run = cmd_debug_log_export,
    },
    {
        .name = "debug log verify",
        .summary = "are segment files what was written?",
        .operands = "PATH...",
        .about = "Reads segment files whole and checks each batch: length, order of offsets, "
                 "checksum. Exit code 21 when one is damaged; what was found stands on standard "
                 "error, with file and position.",
        .examples = "millrace debug log verify millrace-data\n"
                    "millrace debug log verify /var/lib/kafka/orders-0 --deep --format json",
        COUNT(log_verify_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .run = cmd_debug_log_verify,
    },
    {
        .name = "debug log repair",
        .summary = "what of damaged segment files is lost, and what is kept",
        .operands = "PATH...",
        .about =
            "Reads segment files whole and says which bytes and offsets are whole batches and "
            "which are not: behind damage it looks for the next batch that fits. It never writes; "
            "--dry-run has to be said. Exit code 21 when something is lost.",
        .examples = "millrace debug log repair --dry-run millrace-data\n"
                    "millrace debug log repair --dry-run millrace-data/orders-0 --format json",
        COUNT(log_repair_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .run = cmd_debug_log_repair,
    },
};
const struct command_list debug_commands = {debug_rows, array_count(debug_rows)};
