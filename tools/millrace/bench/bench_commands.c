/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench ...`: loads, and what is made of their results.
 */
#include "tools/millrace/commands/commands.h"

#define CLIENT_OPTION                                                                              \
    {                                                                                              \
        0, "client", "NAME", "own",                                                                \
            "librdkafka: another client, as a control of our own; schedule, histograms and "       \
            "result "                                                                              \
            "are the same, but what a record waits for in that library is in its service time, "   \
            "and "                                                                                 \
            "--in-flight counts records",                                                          \
            "own|librdkafka"                                                                       \
    }
#define SPIN_OPTION                                                                                \
    {                                                                                              \
        0, "spin", NULL, NULL,                                                                     \
            "look for answers all the time and never sleep: what is due leaves and what comes is " \
            "taken some microseconds earlier, for a whole core (refused where this process may "   \
            "not "                                                                                 \
            "use one, or there is no other)",                                                      \
            NULL                                                                                   \
    }

static const struct command_option bench_load_options[] = {
    {'r', "rate", "RECORDS/S", NULL,
     "open loop: records fall due at this rate whatever the broker does, 20k or 1.5M; without it a "
     "closed loop, as fast as --in-flight allows",
     NULL},
    {0, "arrival", "SHAPE", "constant",
     "how records fall due: constant, poisson, burst:ON/OFF (burst:100ms/900ms), step:RATE,... "
     "(after --rate these, for equal times), ramp:RATE (from --rate to this one)",
     NULL},
    {'d', "duration", "TIME", NULL, "the measured time, 30s or 5m (default: 10s, or --records)",
     NULL},
    {'w', "warmup", "TIME", NULL, "not measured, before it (default: 1s; with --records: none)",
     NULL},
    {'n', "records", "N", NULL, "end after so many records", NULL},
    {0, "bytes", "SIZE", NULL, "end after so many bytes of batches", NULL},
#include "tools/millrace/bench/command_bench_load.def"
    {0, "assert", "CLAIM", NULL,
     "exit code 11 unless it holds: 'p99<5ms', 'max<1s', 'e2e.p99.9<20ms', 'rate>20k'; may be "
     "repeated",
     NULL},
    {0, "style", "STYLE", "own",
     "kafka-perf: the lines of kafka-producer-perf-test, with the response time as latency",
     "own|kafka-perf"},
    {'o', "out", "FILE", NULL, "write the whole result there, as JSON", NULL},
    {0, "hgrm", "PREFIX", NULL,
     "write the latencies to PREFIX.response.hgrm, .service.hgrm and .delay.hgrm, for "
     "HdrHistogram's tools",
     NULL},
    CLIENT_OPTION,
};

static const struct command_option bench_fleet_options[] = {
    {0, "agents", "HOST:PORT,...", NULL,
     "these send it all, each an equal part of the rate, of --records and of --bytes, and over so "
     "many connections as --connections says (bench agent --help)",
     NULL},
    {0, "token-file", "FILE", NULL, "what the agents have, too: a secret that nobody else reads",
     NULL},
};

static const struct command_option bench_agent_options[] = {
    {0, "listen", "HOST:PORT", "127.0.0.1:9700",
     "where it is asked; :PORT for every address of the machine, port 0 takes a free one", NULL},
    {0, "token-file", "FILE", NULL,
     "a secret of 16 to 256 characters, which nobody else may read; who does not know it is "
     "refused",
     NULL},
};

static const struct command_option bench_sweep_options[] = {
    {'r', "rate", "RATES", NULL,
     "the rates, one after the other: FROM..TO:xFACTOR, FROM..TO:+STEP, or RATE,RATE,...; FROM and "
     "TO are among them",
     NULL},
    {0, "slo", "CLAIM", NULL,
     "what has to hold: 'p99<10ms', 'p99.9<50ms', 'max<1s', 'service.p99<5ms'; may be repeated "
     "(default: only that the broker follows)",
     NULL},
    {0, "refine", "N", "3",
     "halve the gap between the last rate that held and the first that did not so many times",
     NULL},
    {0, "all", NULL, NULL, "go on to the last rate, whatever does not hold", NULL},
    {0, "arrival", "SHAPE", "constant",
     "how records fall due: constant, poisson or burst:ON/OFF (burst:100ms/900ms)", NULL},
    {'d', "duration", "TIME", NULL, "the measured time of each rate, 30s or 5m (default: 10s)",
     NULL},
    {'w', "warmup", "TIME", NULL, "not measured, before each (default: 1s)", NULL},
#include "tools/millrace/bench/command_bench_load.def"
    {'o', "out", "FILE", NULL,
     "write the whole result of every run there, as a JSON array, for `bench report`", NULL},
};

static const struct command_option bench_run_options[] = {
    {0, "driver", "FILE", NULL,
     "the benchmark's driver of Kafka: settings of topics, producers and consumers (default: those "
     "of Kafka's clients, and -X)",
     NULL},
    {'d', "duration", "TIME", NULL, "instead of testDurationMinutes; 0: until interrupted", NULL},
    {'w', "warmup", "TIME", NULL, "instead of warmupDurationMinutes", NULL},
    {'r', "rate", "RECORDS/S", NULL, "instead of producerRate", NULL},
    {0, "backlog", "SIZE", NULL, "instead of consumerBacklogSizeGB: 500M or 2G; 0: none", NULL},
    {0, "topics", "N", NULL, "instead of the workload's", NULL},
    {'p', "partitions", "N", NULL, "instead of partitionsPerTopic", NULL},
    {0, "replication-factor", "N", NULL, "instead of the driver's (default: the broker's)", NULL},
    {0, "config", "KEY=VALUE", NULL, "a setting of the topics, over topicConfig; may be repeated",
     NULL},
    {0, "topic", "NAME", NULL,
     "use these: NAME, or NAME-0, NAME-1, ...; they stay (default: topics of its own, which are "
     "deleted at the end)",
     NULL},
    {0, "keep", NULL, NULL, "leave the topics there", NULL},
    {0, "in-flight", "N", NULL, "batches in flight or filling per connection at most (4096)", NULL},
    {0, "drain", "TIME", "30s", "how long to wait at the end for what is in flight or unread",
     NULL},
    {0, "seed", "N", "1", "of the values and keys", NULL},
    {0, "broker-pid", "PID", NULL, "tell this process's processor time and memory too", NULL},
    SPIN_OPTION,
    {0, "assert", "CLAIM", NULL,
     "exit code 11 unless it holds: 'p99<5ms', 'max<1s', 'e2e.p99.9<20ms', 'rate>20k'; may be "
     "repeated",
     NULL},
    {'o', "out", "FILE", NULL, "write the whole result there, as JSON, for `bench report`", NULL},
    {0, "omb", "FILE", NULL,
     "write it as the OpenMessaging benchmark does, for its chart script and for what else reads "
     "its results",
     NULL},
    {0, "hgrm", "PREFIX", NULL,
     "write the latencies to PREFIX.response.hgrm, .service.hgrm, .delay.hgrm and .e2e.hgrm", NULL},
};

static const struct command_option bench_back_options[] = {
    {0, "readers", "N", "1", "connections that read, the partitions divided among them", NULL},
    {0, "disturb", "TIME:COMMAND", NULL,
     "run a command beside the load, so long after its begin: '10s:kill -9 123'", NULL},
};

static const struct command_option bench_consume_options[] = {
    {'c', "connections", "N", "1",
     "connections that read, the partitions divided among them; when there are more of them than "
     "partitions, these are read several times",
     NULL},
    {0, "from", "WHERE", "start", "start or end", "start|end"},
    {0, "follow", NULL, NULL, "wait for more at the end, until --duration is over", NULL},
    {0, "repeat", NULL, NULL, "begin again at the end, until --duration is over", NULL},
    {'d', "duration", "TIME", NULL,
     "read so long (default: until all is read that was there at the begin; with --follow and "
     "--repeat 10s)",
     NULL},
    {'w', "warmup", "TIME", NULL, "not measured, before it (default: none)", NULL},
    {0, "topics", "N", "1", "so many topics, TOPIC-0, TOPIC-1, ...", NULL},
    {0, "fetch-bytes", "SIZE", NULL,
     "of one partition in an answer (default: max.partition.fetch.bytes of -X)", NULL},
    {0, "max-bytes", "SIZE", NULL, "of an answer (default: fetch.max.bytes of -X)", NULL},
    {0, "wait", "TIME", NULL,
     "how long the broker may wait for records (default: fetch.max.wait.ms of -X)", NULL},
    {0, "broker-pid", "PID", NULL, "tell this process's processor time and memory too", NULL},
    SPIN_OPTION,
    {'o', "out", "FILE", NULL, "write the whole result there, as JSON", NULL},
    {0, "hgrm", "PREFIX", NULL, "write the times of the fetches to PREFIX.service.hgrm", NULL},
    CLIENT_OPTION,
};

static const struct command_option bench_ping_options[] = {
    {0, "request", "NAME", "api-versions", "what is asked: api-versions, or metadata of all topics",
     "api-versions|metadata"},
    {'c', "connections", "N", "1", "connections", NULL},
    {0, "in-flight", "N", "1", "requests in flight per connection", NULL},
    {'d', "duration", "TIME", NULL, "the measured time (default: 10s)", NULL},
    {'w', "warmup", "TIME", NULL, "not measured, before it (default: 1s)", NULL},
    {0, "broker-pid", "PID", NULL, "tell this process's processor time and memory too", NULL},
    SPIN_OPTION,
    {'o', "out", "FILE", NULL, "write the whole result there, as JSON", NULL},
    {0, "hgrm", "PREFIX", NULL, "write the times to PREFIX.service.hgrm", NULL},
};

static const struct command_option bench_disk_options[] = {
    {0, "seconds", "N", "1", "how long each line is measured", NULL},
    {0, "size", "SIZE", "1G",
     "of the file that is written and read; twice as much has to be free, and it is removed at the "
     "end",
     NULL},
};

static const struct command_option bench_net_options[] = {
    {0, "seconds", "N", "1", "how long each line is measured, after a fifth of that to warm up",
     NULL},
    {0, "serve", "HOST:PORT", NULL,
     "be the other end, there, until interrupted; :PORT for every address of the machine", NULL},
};

static const struct command_option bench_report_options[] = {
    {'o', "out", "FILE", NULL, "where the page goes (default: RESULT.html)", NULL},
};

static const struct command_option bench_compare_options[] = {
    {0, "max-regress", "PERCENT", NULL,
     "exit code 11 when B is worse than A by more than that, beyond doubt", NULL},
};

static const struct command bench_rows[] = {
    {
        .name = "bench produce",
        .summary = "load a broker with records and measure",
        .operands = "[TOPIC]",
        .about =
            "Sends records to any broker that speaks Kafka's protocol and measures how long they "
            "take to be acknowledged. With --rate (open loop) latency counts from when a record "
            "was due, not from when it was sent: when the broker stalls for a second, all records "
            "that were due in that second are as late as a user would find them. That is the "
            "response time; service (from the real send) and delay are told beside it. The "
            "generator watches itself each second; when it was the limit and not the broker, the "
            "run is INVALID and the exit code 11. What an acknowledgement means (on stable "
            "storage, "
            "or in memory) is read from the broker and told with every result.",
        .examples =
            "millrace bench produce                               # closed loop, 10 s\n"
            "millrace bench produce orders -r 20k -d 60s -c 8 -p 12    # latency at 20,000/s\n"
            "millrace bench produce -r 5k --arrival poisson -s 256 --out run.json\n"
            "millrace bench produce -r 10k --arrival ramp:200k -d 2m   # where does it bend?\n"
            "millrace bench produce -c 4 --batch 1000 --in-flight 4    # 1 MiB batches, full "
            "speed\n"
            "millrace bench produce -b kafka:9092 -r 100k --linger 5ms -z zstd --compressible 50\n"
            "millrace bench produce -r 5k --client librdkafka            # does another client "
            "agree?\n"
            "millrace bench produce -b kafka:9092 -r 500k --agents a:9700,b:9700 --token-file "
            "token",
        COUNT(bench_load_options),
        MORE("from several machines", bench_fleet_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_produce,
    },
    {
        .name = "bench agent",
        .summary = "load brokers for a `bench produce` on another machine",
        .about =
            "Waits for `bench produce --agents`, from a machine that knows the same token, and "
            "runs "
            "its part of the load, one run at a time. All agents follow one schedule, each sends "
            "every n-th record of it, and they begin together: the distance of their clocks is "
            "measured before. Their histograms are merged bucket by bucket, so the quantiles are "
            "those of all records. The result tells what each agent did; when one of them was the "
            "limit, the run is INVALID. An agent that is lost ends the run with exit code 3, as "
            "figures of a part would be taken for those of the whole; who asked and goes ends it "
            "too. Token, options and results are sent as they are: where others could listen on "
            "the "
            "network, let ssh carry them (ssh -L 9700:127.0.0.1:9700 HOST). An agent opens no "
            "files "
            "and runs no commands for whoever asks, but it does load any broker that it can reach.",
        .examples = "(umask 077; head -c 24 /dev/urandom | base64 >token)  # once; copy it to each "
                    "machine\n"
                    "millrace bench agent --listen :9700 --token-file token\n"
                    "millrace bench produce orders -b broker:9092 -r 500k --agents a:9700,b:9700 "
                    "--token-file token",
        COUNT(bench_agent_options),
        .run = cmd_bench_agent,
    },
    {
        .name = "bench sweep",
        .summary = "where does a broker bend? one rate after the other",
        .operands = "[TOPIC]",
        .about =
            "Loads a broker as `bench produce` does, in an open loop, at one rate after the other, "
            "on the same connections, and prints a line for each. A rate holds when the broker "
            "follows (98 % of what was due is acknowledged in time), every --slo holds and no "
            "record fails. What does not hold is measured once more, and the second run decides; "
            "then the search ends, unless --all, and the gap below is halved --refine times. The "
            "knee is the highest rate that held. Where the generator was the limit and not the "
            "broker, the knee is \"at least\" the last rate that held, and the exit code 11, as "
            "when "
            "no rate held.",
        .examples =
            "millrace bench sweep orders -r 10k..1M:x1.3 --slo 'p99<10ms' -c 8 -p 12\n"
            "millrace bench sweep -r 5k..50k:+5k -d 30s --slo 'p99<10ms' --slo 'p99.9<50ms'\n"
            "millrace bench sweep -r 20k,40k,80k --all -d 60s --out sweep.json    # a curve\n"
            "millrace bench report sweep.json                  # all runs, one over the other\n"
            "millrace bench sweep -r 1k..1M:x2 --linger 5ms -z zstd --format ndjson",
        COUNT(bench_sweep_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_sweep,
    },
    {
        .name = "bench consume",
        .summary = "read topics as fast as a broker gives them, and measure",
        .operands = "[TOPIC]",
        .about =
            "Reads what is in a topic, once, again and again, or as it comes, from any broker that "
            "speaks Kafka's protocol. Records are counted by the headers of their batches; the "
            "times are those of single fetches.",
        .examples =
            "millrace bench consume orders                        # all that is there, once\n"
            "millrace bench consume orders --repeat -d 30s -c 4   # again and again\n"
            "millrace bench consume orders --from end --follow -c 1000 -d 1m    # parked fetches",
        COUNT(bench_consume_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_consume,
    },
    {
        .name = "bench e2e",
        .summary = "measure from when a record was due to when a consumer has it",
        .operands = "[TOPIC]",
        .about =
            "Produces as `bench produce` does and reads it back meanwhile. Each record carries "
            "when "
            "it was due, on this machine's clock, so the end-to-end time has no clock skew and "
            "hides no stall. What was acknowledged and did not arrive, arrived twice or out of "
            "order ends the command with exit code 12.",
        .examples = "millrace bench e2e orders -r 5k -d 60s -p 12\n"
                    "millrace bench e2e -r 100k --linger 2ms -c 4 --readers 4",
        COUNT(bench_load_options),
        MORE("reading back", bench_back_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_e2e,
    },
    {
        .name = "bench verify",
        .summary = "does a broker keep what it acknowledged, once and in order?",
        .operands = "[TOPIC]",
        .about =
            "Produces numbered records, reads them back and tells, per partition, how many were "
            "acknowledged and lost, came twice, out of order, or left gaps; any of the first three "
            "ends it with exit code 12. --disturb kills the broker, cuts the network or whatever "
            "else shall happen meanwhile; connections are opened again, and what was in flight "
            "counts as unanswered: it may be there or not.",
        .examples = "millrace bench verify orders -r 5k -d 30s -p 12 --idempotent\n"
                    "millrace bench verify -r 2k -d 60s --disturb '20s:kill -9 $(pidof millrace)'",
        COUNT(bench_load_options),
        MORE("reading back", bench_back_options),
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_verify,
    },
    {
        .name = "bench run",
        .summary = "a workload of the OpenMessaging benchmark, as it is",
        .operands = "WORKLOAD.yaml",
        .about =
            "Reads a workload and a driver file of the OpenMessaging benchmark and runs them, "
            "without a JVM. Each producer sends to its topic, partition after partition, as the "
            "clients of Kafka do; each subscription reads all of a topic, its partitions divided "
            "among the consumers (by rank: no group is formed and nothing committed). producerRate "
            "0 searches for the highest rate that broker and consumers follow, for as long as it "
            "runs. With consumerBacklogSizeGB reading stops after the warm-up until so much is "
            "unread, and the test's time begins when that is read. Latency counts from when a "
            "record was due, which the first 32 bytes of a message that is read back say; a key "
            "that is none is an error, and settings of no effect are named. Sample workloads are "
            "written for clusters and hours: --duration, --rate, --topics and --replication-factor "
            "make them fit.",
        .examples =
            "millrace bench run simple-workload.yaml --driver kafka-latency.yaml\n"
            "millrace bench run 100-topics.yaml -d 30s -w 5s --replication-factor 1 -b host:9092\n"
            "millrace bench run max-rate.yaml -d 1m -w 30s --omb result.json   # it searches\n"
            "millrace bench run backlog.yaml --backlog 2G -d 10s -o run.json && millrace bench "
            "report run.json\n"
            "create_charts.py result.json                      # the benchmark's own script",
        COUNT(bench_run_options),
        .operands_min = 1,
        .operands_max = 1,
        .listing = true,
        .remote = true,
        .run = cmd_bench_run,
    },
    {
        .name = "bench ping",
        .summary = "round trips that touch no log",
        .about = "Asks a broker for what it knows by heart, again as soon as it is answered: what "
                 "the way there and back costs.",
        .examples = "millrace bench ping -d 5s\n"
                    "millrace bench ping --request metadata -c 4 --in-flight 8",
        COUNT(bench_ping_options),
        .listing = true,
        .remote = true,
        .run = cmd_bench_ping,
    },
    {
        .name = "bench disk",
        .summary = "what the disk below a directory can do",
        .operands = "[DIR]",
        .about =
            "Writes and reads a file there through the door that the broker has: io_uring and "
            "direct I/O, each write durable when it completes (RWF_DSYNC). It says what Millrace "
            "can "
            "reach on that disk. A commit of the journal is a durable write of some 16 KiB into "
            "written space, a few of them in flight on each core: its p50 is the least that an "
            "acknowledgement waits for, its IOPS the most commits per second. Batches of 64 KiB "
            "and more go to fresh space beside it: durable writes of 1 MiB say how many MB/s of "
            "them can be taken in. Cold consumers read in order, many of them at once at random. "
            "Fresh space is allocated and was never written; a line ends before --seconds when it "
            "is "
            "used up. A file that fits into a drive's cache flatters it: give a large --size.",
        .examples = "millrace bench disk /var/lib/millrace\n"
                    "millrace bench disk /mnt/data --size 8G --seconds 5\n"
                    "millrace bench disk --format json >disk.json",
        COUNT(bench_disk_options),
        .operands_max = 1,
        .listing = true,
        .run = cmd_bench_disk,
    },
    {
        .name = "bench net",
        .summary = "what the network between two processes can do",
        .operands = "[HOST:PORT]",
        .about =
            "Sends messages through sockets as a broker and its clients do, and does nothing else "
            "with them: the same code on io_uring, Kafka's framing, a thread on each core that "
            "serves and one that asks, socket buffers as a broker has them by default. So it tells "
            "the limit of this code's way to use a socket, which is what a broker can come up to, "
            "and not what the wire or the kernel could do for others. Without HOST:PORT the other "
            "end is a child of this process on 127.0.0.1, and both share the machine as a broker "
            "and `bench produce` do. A round trip of 64 bytes is the least that any request takes; "
            "what is produced goes to the server, each message answered by 64 bytes; what is "
            "consumed comes from it, each message asked for. Judge a broker's MB/s by the lower of "
            "this and `bench disk`, for batches of that size and as many connections. The server "
            "keeps nothing, takes messages of 1 MiB and 16 connections at the most, and asks "
            "nobody who he is: do not leave it running.",
        .examples =
            "millrace bench net                                   # this machine with itself\n"
            "millrace bench net --serve :9700                     # on one machine, and then\n"
            "millrace bench net other-host:9700 --seconds 5       # on another one\n"
            "millrace bench net --format json >net.json",
        COUNT(bench_net_options),
        .operands_max = 1,
        .listing = true,
        .run = cmd_bench_net,
    },
    {
        .name = "bench report",
        .summary = "results as one HTML page",
        .operands = "RESULT...",
        .about =
            "Makes one HTML file of the results of --out: throughput and latency over time, the "
            "percentile curve, what the generator itself did, the broker, its settings and the "
            "machine. It needs no network. Several results are also drawn over each other.",
        .examples = "millrace bench produce -r 20k -d 60s --out run.json\n"
                    "millrace bench report run.json                    # run.html\n"
                    "millrace bench report kafka.json millrace.json -o both.html",
        COUNT(bench_report_options),
        .operands_min = 1,
        .operands_max = 16,
        .run = cmd_bench_report,
    },
    {
        .name = "bench compare",
        .summary = "is one result better than another, and how sure is that?",
        .operands = "A B",
        .about =
            "Compares two results second by second. The interval is a bootstrap of the ratio of B "
            "to A: when it contains no change, none was shown. A figure of latency is the mean, "
            "over the seconds, of that quantile within a second.",
        .examples = "millrace bench compare before.json after.json\n"
                    "millrace bench compare before.json after.json --max-regress 5%",
        COUNT(bench_compare_options),
        .operands_min = 2,
        .operands_max = 2,
        .listing = true,
        .run = cmd_bench_compare,
    },
};
const struct command_list bench_commands = {bench_rows, array_count(bench_rows)};
