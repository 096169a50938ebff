/* SPDX-License-Identifier: Apache-2.0
 *
 * Every command. A new one is a row of `commands` with its options, and a function.
 */
#include "tools/millrace/bench/command_bench.h"
#include "tools/millrace/command.h"

#define COUNT(array) .options = (array), .option_count = array_count(array)
#define MORE(title, array)                                                                         \
    .more_title = (title), .more_options = (array), .more_option_count = array_count(array)
#define ANY_NUMBER UINT32_MAX

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
    {0, "profile", "NAME", NULL,
     "settings that have a name (default: $MILLRACE_PROFILE, else the one in use)", NULL},
};
const uint32_t remote_option_count = array_count(remote_options);

static const struct command_option start_options[] = {
    {0, "data-dir", "DIR", NULL,
     "where the data lives (log.dirs; several: DIR,DIR; default: ./millrace-data)", NULL},
    {0, "listen", "HOST:PORT", NULL,
     "where clients connect (listeners; default: 127.0.0.1:9092 and [::1]:9092); port 0 takes a "
     "free one; may be repeated, as NAME://HOST:PORT with different names",
     NULL},
    {0, "advertise", "HOST:PORT", NULL, "what clients are told (advertised.listeners)", NULL},
    {0, "cores", "N|LIST", NULL,
     "how many cores, or which (0-3,6); default: all this process may use", NULL},
    {0, "spin", NULL, NULL,
     "each core looks for work for a millisecond before it sleeps (millrace.spin.us): answers "
     "sooner, at the expense of whoever shares its cores",
     NULL},
    {0, "memory", "SIZE", NULL,
     "the memory budget, e.g. 512M; default: a quarter of what this process may use", NULL},
    {0, "admin-listen", "HOST:PORT", NULL,
     "where health, metrics and live counters are told over HTTP (default: 127.0.0.1:9644, unless "
     "it is taken); off: nowhere",
     NULL},
    {0, "node-id", "N", NULL, "this node's number in its cluster (node.id)", NULL},
    {0, "zookeeper", "HOST:PORT,.../PATH", NULL,
     "be a broker of the cluster whose metadata is there (zookeeper.connect)", NULL},
    {0, "replaced-directory", "ID", NULL,
     "the data directory with this id (as the refused start names it) is lost for ever: begin "
     "empty, and copy from the other brokers of the cluster (millrace.replaced.directory)",
     NULL},
    {0, "override", "KEY=VALUE", NULL, "sets any key of server.properties; may be repeated", NULL},
};

#define WHOSE_OPTIONS                                                                              \
    {0, "user", "NAME", NULL, "of this user (ANONYMOUS: of all, as nobody logs in)", NULL},        \
        {0, "client-id", "NAME", NULL, "of clients that call themselves so", NULL},                \
        {0, "ip", "ADDRESS", NULL, "of connections from there", NULL},                             \
    {                                                                                              \
        0, "default", "TYPE", NULL, "of those without a quota of their own; may be repeated",      \
            "user|client-id|ip"                                                                    \
    }

static const struct command_option quota_list_options[] = {
    WHOSE_OPTIONS,
    {0, "any", "TYPE", NULL, "of all that are named, and the default; may be repeated",
     "user|client-id|ip"},
    {0, "strict", NULL, NULL, "only those of nothing else beside", NULL},
};

static const struct command_option quota_change_options[] = {
    WHOSE_OPTIONS,
    {0, "dry-run", NULL, NULL, "let the broker check, and change nothing", NULL},
};

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
    {0, "topics", "TOPIC[,...]", NULL, "only these topics", NULL},
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

static const struct command_option status_options[] = {
    {0, "admin", "HOST:PORT", NULL,
     "the broker's admin listener (default: $MILLRACE_ADMIN, else 127.0.0.1:9644)", NULL},
    {0, "interval", "MS", NULL, "over how long rates are measured (default: 500)", NULL},
};

static const struct command_option top_options[] = {
    {0, "admin", "HOST:PORT", NULL,
     "the broker's admin listener (default: $MILLRACE_ADMIN, else 127.0.0.1:9644)", NULL},
    {0, "interval", "MS", NULL, "how long an interval is (default: 1000)", NULL},
    {'n', "count", "N", NULL, "end after so many intervals", NULL},
    {0, "once", NULL, NULL, "after one", NULL},
};

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

static const struct command_option health_options[] = {
    {0, "brokers", "N", NULL, "how many brokers there must be at least (default: 1)", NULL},
    {'w', "watch", NULL, NULL, "look again every second", NULL},
    {0, "exit-when-healthy", NULL, NULL, "look every second until it is healthy", NULL},
};

static const struct command_option partitions_options[] = {
    {'a', "all", NULL, NULL, "those that are as they should be, too", NULL},
};

static const struct command_option reassign_options[] = {
    {0, "to", "BROKER,...", NULL, "where the replicas shall be, the preferred leader first", NULL},
    {0, "spread", NULL, NULL,
     "with --to: the first broker leads partition 0, the second one partition 1, and so on", NULL},
    {0, "cancel", NULL, NULL, "take back what is under way", NULL},
    {0, "wait", NULL, NULL, "until they are there", NULL},
};

static const struct command_option leader_elect_options[] = {
    {0, "unclean", NULL, NULL,
     "where no replica that is in sync lives: any that does; what it does not have is lost", NULL},
};

static const struct command_option config_list_options[] = {
    {'a', "all", NULL, NULL, "Kafka's keys that have no effect too", NULL},
    {0, "scope", "SCOPE", NULL, "broker or topic", "broker|topic"},
};

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

static const struct command_option topic_export_options[] = {
    {0, "to", "DIR", NULL, "where the folders go; made when it is missing", NULL},
    {0, "segment-bytes", "N", "1073741824", "where a segment ends and the next one begins", NULL},
};

static const struct command_option log_export_options[] = {
    {0, "to", "DIR", NULL, "where the folders go; made when it is missing", NULL},
};

static const struct command_option log_verify_options[] = {
    {0, "deep", NULL, NULL, "inflate the batches and look at every record too", NULL},
};

const struct command commands[] = {
    {
        .name = "start",
        .summary = "run a broker in the foreground",
        .operands = "[server.properties]",
        .about = "Runs a broker in the foreground. Without arguments it is safe and useful: every "
                 "acknowledged record is on stable storage, data lives in ./millrace-data, clients "
                 "connect to 127.0.0.1:9092. Kafka's own server.properties is read; what each of "
                 "its keys does here is reported. TERM, INT and HUP end it cleanly.",
        .examples = "millrace start\n"
                    "millrace start --data-dir /var/lib/millrace --listen 0.0.0.0:9092 --cores 4\n"
                    "millrace start config/server.properties --override num.partitions=12",
        COUNT(start_options),
        .operands_max = 1,
        .run = cmd_start,
    },
    {
        .name = "cluster brokers",
        .summary = "the brokers that live",
        .about = "The brokers that live, with what each leads and holds.",
        .examples = "millrace cluster brokers\n"
                    "millrace cluster brokers --format json | jq '.items[].host'",
        .listing = true,
        .remote = true,
        .run = cmd_cluster_brokers,
    },
    {
        .name = "cluster health",
        .summary = "is everything served?",
        .about = "Healthy is a cluster with a controller, a leader of every partition, and every "
                 "replica in sync. Exit code 10 when it is not.",
        .examples = "millrace cluster health\n"
                    "millrace cluster health --brokers 3 --exit-when-healthy",
        COUNT(health_options),
        .listing = true,
        .remote = true,
        .run = cmd_cluster_health,
    },
    {
        .name = "cluster partitions",
        .summary = "partitions that are not as they should be",
        .operands = "[TOPIC...]",
        .about = "Partitions without a leader, with replicas that are not in sync, that are being "
                 "moved, or that another replica than the first one leads.",
        .examples = "millrace cluster partitions\n"
                    "millrace cluster partitions orders --all",
        COUNT(partitions_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_partitions,
    },
    {
        .name = "cluster reassign",
        .summary = "move partitions to other brokers",
        .operands = "TOPIC[:PARTITIONS]...",
        .about =
            "Says on which brokers the replicas of partitions shall be; the first of them is the "
            "preferred leader. New replicas catch up first, then the others go. Partitions are "
            "served meanwhile.",
        .examples = "millrace cluster reassign orders --to 1,2,3 --spread --wait\n"
                    "millrace cluster reassign orders:0,3-5 --to 4,5\n"
                    "millrace cluster reassign orders --cancel",
        COUNT(reassign_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_reassign,
    },
    {
        .name = "cluster leader-elect",
        .summary = "give partitions back to their preferred leaders",
        .operands = "[TOPIC[:PARTITIONS]...]",
        .about = "The preferred leader is the first replica. Without operands: of all partitions.",
        .examples = "millrace cluster leader-elect\n"
                    "millrace cluster leader-elect orders:0 --unclean",
        COUNT(leader_elect_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_leader_elect,
    },
    {
        .name = "cluster quota list",
        .summary = "what clients may use",
        .about = "The quotas that are set, of all or of those that are named.",
        .examples = "millrace cluster quota list\n"
                    "millrace cluster quota list --client-id orders --format json\n"
                    "millrace cluster quota list --any user --strict",
        COUNT(quota_list_options),
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_list,
    },
    {
        .name = "cluster quota set",
        .summary = "limit what clients may use",
        .operands = "KEY=NUMBER...",
        .about = "Of users and client ids: producer_byte_rate and consumer_byte_rate (bytes a "
                 "second, of each broker), request_percentage (of a core's time) and "
                 "controller_mutation_rate (partitions created and deleted a second); of addresses "
                 "connection_creation_rate. The first of these that is set holds: user and client "
                 "id, user and default client id, user, default user and client id, both "
                 "defaults, default user, client id, default client id.",
        .examples = "millrace cluster quota set --client-id import producer_byte_rate=10000000\n"
                    "millrace cluster quota set --default client-id request_percentage=25\n"
                    "millrace cluster quota set --ip 192.0.2.7 connection_creation_rate=20",
        COUNT(quota_change_options),
        .operands_min = 1,
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_set,
    },
    {
        .name = "cluster quota delete",
        .summary = "take limits away",
        .operands = "[KEY...]",
        .about = "Takes the named quotas away, or all of them.",
        .examples = "millrace cluster quota delete --client-id import\n"
                    "millrace cluster quota delete --default client-id request_percentage",
        COUNT(quota_change_options),
        .operands_max = ANY_NUMBER,
        .listing = true,
        .remote = true,
        .run = cmd_cluster_quota_delete,
    },
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
        .operands = "GROUP",
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
        .operands_min = 1,
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
    {
        .name = "status",
        .summary = "a running broker on one screen",
        .about = "What a running broker does: its cores, its requests, its memory and its disk, "
                 "from its admin listener. json and ndjson print every live counter. Ends with 10 "
                 "when the broker does not serve, or a core does not answer.",
        .examples = "millrace status\n"
                    "millrace status --admin 127.0.0.1:9645 --interval 5000 --format wide\n"
                    "millrace status --format json | jq '.cores[].core_busy_seconds_total'",
        COUNT(status_options),
        .listing = true,
        .run = cmd_status,
    },
    {
        .name = "top",
        .summary = "what a running broker does, interval by interval",
        .about =
            "What each core did in the last interval, and where the time of requests went: a "
            "page that is drawn again on a terminal (q quits), pages one after another elsewhere "
            "or with -n, and with ndjson an object an interval. BUSY is the part of the interval "
            "in which the core did not sleep, LONGEST-TURN how long its longest round was at the "
            "most, COMMIT-P99 what a write to its journal took. A request is counted from the "
            "turn that found its last byte to the one that found its answer with the socket; MEAN "
            "is what that took, and the columns behind it add up to it: QUEUE, it waits for its "
            "turn behind others; WORK, its handler and the way to other cores; JOURNAL, its batch "
            "waits to be on the disk; REPLICATION, for the other replicas; PARK, a fetch waits for "
            "records, a join for members; THROTTLE, its connection rests because of a quota; "
            "SEND, its answer waits for those before it and for the socket. What a client sees "
            "beyond that is the network, the kernel and itself: millrace bench ping measures "
            "those.",
        .examples = "millrace top\n"
                    "millrace top --once\n"
                    "millrace top --interval 5000 --format wide\n"
                    "millrace top --format ndjson | jq '.requests[0].steps.journal'",
        COUNT(top_options),
        .listing = true,
        .run = cmd_top,
    },
#include "tools/millrace/bench/command_bench.def"
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
                 "$MILLRACE_BOOTSTRAP_SERVER, comes first.",
        .examples = "millrace profile create prod bootstrap.servers=kafka-1:9092,kafka-2:9092\n"
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
    {
        .name = "generate completion",
        .summary = "completion of commands and options for a shell",
        .operands = "bash",
        .about = "Prints what a shell reads to complete commands, options and their values.",
        .examples = "source <(millrace generate completion bash)\n"
                    "millrace generate completion bash >/etc/bash_completion.d/millrace",
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
const uint32_t command_count = array_count(commands);
