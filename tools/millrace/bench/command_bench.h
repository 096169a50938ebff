/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of `millrace bench ...`, for tools/millrace/command_table.c alone; its rows are
 * command_bench.def.
 */
#pragma once

#include "tools/millrace/command.h"

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
    {'o', "out", "FILE", NULL, "write the whole result there, as JSON", NULL},
    {0, "hgrm", "PREFIX", NULL, "write the times of the fetches to PREFIX.service.hgrm", NULL},
};

static const struct command_option bench_ping_options[] = {
    {0, "request", "NAME", "api-versions", "what is asked: api-versions, or metadata of all topics",
     "api-versions|metadata"},
    {'c', "connections", "N", "1", "connections", NULL},
    {0, "in-flight", "N", "1", "requests in flight per connection", NULL},
    {'d', "duration", "TIME", NULL, "the measured time (default: 10s)", NULL},
    {'w', "warmup", "TIME", NULL, "not measured, before it (default: 1s)", NULL},
    {0, "broker-pid", "PID", NULL, "tell this process's processor time and memory too", NULL},
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
