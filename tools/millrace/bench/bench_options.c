/* SPDX-License-Identifier: Apache-2.0
 *
 * From what was typed to a plan of the load, with everything refused that makes no sense together.
 */
#include "tools/millrace/bench/bench_options.h"

#include "tools/millrace/bench/bench_schedule.h"
#include "tools/millrace/bench/bench_values.h"
#include "tools/millrace/session.h"

#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX    100000
#define IN_FLIGHT_MAX     65536
#define RECORD_BYTES_MAX  (256LL << 20)
#define KEYS_MAX          1000000
#define OPEN_IN_FLIGHT    4096
#define CLOSED_IN_FLIGHT  5
#define KAFKA_BATCH_BYTES 16384
#define DURATION_NS       10000000000U
#define WARM_NS           1000000000U

static bool has(const struct session *s, const char *name)
{
    return option_text(s->inv, name) != NULL;
}

static bool read_duration(const struct session *s, const char *name, uint64_t *ns)
{
    const char *text = option_text(s->inv, name);
    if (!text || duration_parse(text, strlen(text), ns))
        return true;
    (void)usage_error(s->inv, "--%s %s: a time is wanted, as 30s, 500ms or 5m", name, text);
    return false;
}

static bool read_size(const struct session *s, const char *name, int64_t min, int64_t max,
                      int64_t *bytes)
{
    const char *text = option_text(s->inv, name);
    if (!text)
        return true;
    if (size_parse(text, bytes) && *bytes >= min && *bytes <= max)
        return true;
    (void)usage_error(s->inv, "--%s %s: a size from %lld to %lld is wanted, as 1k or 4MiB", name,
                      text, (long long)min, (long long)max);
    return false;
}

/* none, uniform:N, cycle:N, zipf:N or zipf:N:SKEW */
static bool read_keys(struct bench_options *o, const struct session *s)
{
    const char *text = option_text(s->inv, "keys");
    const char *colon = strchr(text, ':');
    o->key_skew = 1;
    if (strcmp(text, "none") == 0)
        return true;
    if (strncmp(text, "uniform:", 8) == 0)
        o->keys = KEY_UNIFORM;
    else if (strncmp(text, "cycle:", 6) == 0)
        o->keys = KEY_CYCLE;
    else if (strncmp(text, "zipf:", 5) == 0)
        o->keys = KEY_ZIPF;
    char *end = NULL;
    if (o->keys != KEY_NONE && colon)
        o->key_count = strtoll(colon + 1, &end, 10);
    if (end && *end == ':' && o->keys == KEY_ZIPF)
        o->key_skew = strtod(end + 1, &end);
    if (end && *end == 0 && o->key_count >= 1 && o->key_count <= KEYS_MAX && o->key_skew >= 0 &&
        o->key_skew <= 10)
        return true;
    (void)usage_error(s->inv,
                      "--keys %s: none, uniform:N, cycle:N, zipf:N or zipf:N:SKEW is wanted, with "
                      "at most %d keys",
                      text, KEYS_MAX);
    return false;
}

static bool read_acks_and_codec(struct bench_options *o, const struct session *s, const char *acks,
                                const char *codec)
{
    if (strcmp(acks, "all") == 0 || strcmp(acks, "-1") == 0)
        o->acks = -1;
    else if (strcmp(acks, "0") == 0 || strcmp(acks, "1") == 0)
        o->acks = (int16_t)(acks[0] - '0');
    else
        return usage_error(s->inv, "acks=%s: all, 1 or 0 is wanted", acks) == EXIT_OK;
    if (!codec_of_name(codec, &o->codec))
        return usage_error(s->inv, "compression.type=%s: there is no such codec", codec) == EXIT_OK;
    return true;
}

static bool read_send(struct bench_options *o, const struct session *s)
{
    const char *acks = option_text(s->inv, "acks");
    const char *codec = option_text(s->inv, "compression");
    if (!read_acks_and_codec(o, s, acks ? acks : s->settings.acks,
                             codec ? codec : s->settings.compression))
        return false;
    o->idempotent = option_on(s->inv, "idempotent");
    if (o->idempotent && o->acks != -1)
        return usage_error(s->inv, "--idempotent needs --acks all") == EXIT_OK;
    o->joins = has(s, "linger") || has(s, "batch-bytes");
    return read_duration(s, "linger", &o->linger_ns);
}

static bool read_rate(struct bench_options *o, const struct invocation *inv)
{
    const char *rate = option_text(inv, "rate");
    if (!rate || rate_parse(rate, strlen(rate), &o->rate))
        return true;
    (void)usage_error(inv, "--rate %s: records per second are wanted, as 5000 or 20k", rate);
    return false;
}

/* How fast, and how much. */
static bool read_extent(struct bench_options *o, const struct session *s)
{
    const struct invocation *inv = s->inv;
    if (!read_rate(o, inv))
        return false;
    if (o->rate <= 0 && strcmp(o->arrival, "constant") != 0) {
        (void)usage_error(inv, "--arrival %s needs --rate", o->arrival);
        return false;
    }
    if (has(s, "records")) {
        o->duration_ns = 0;
        o->warm_ns = 0;
    }
    o->kafka_style = strcmp(option_text(inv, "style"), "kafka-perf") == 0;
    return option_number(inv, "records", 0, INT64_MAX, &o->records_max) &&
           read_size(s, "bytes", 0, INT64_MAX, &o->bytes_max);
}

/* NULL: our own. */
static const char *client_of(const struct session *s)
{
    const char *client = option_text(s->inv, "client");
    return strcmp(client, "own") == 0 ? NULL : client;
}

/* What is sent where, and for how long. */
static bool read_load(struct bench_options *o, const struct session *s)
{
    const struct invocation *inv = s->inv;
    o->in_flight = o->rate > 0 ? OPEN_IN_FLIGHT : CLOSED_IN_FLIGHT;
    o->batch_bytes = KAFKA_BATCH_BYTES;
    return option_number(inv, "connections", 1, BENCH_CONNECTIONS_MAX, &o->connections) &&
           option_number(inv, "in-flight", 1, IN_FLIGHT_MAX, &o->in_flight) &&
           option_number(inv, "batch", 1, BENCH_RECORDS_MAX, &o->batch_records) &&
           option_number(inv, "compressible", 0, 100, &o->compressible) &&
           read_size(s, "record-size", 1, RECORD_BYTES_MAX, &o->record_bytes) &&
           read_size(s, "batch-bytes", 1, RECORD_BYTES_MAX, &o->batch_bytes) &&
           read_duration(s, "duration", &o->duration_ns) &&
           read_duration(s, "warmup", &o->warm_ns) && read_duration(s, "drain", &o->drain_ns) &&
           option_number(inv, "topics", 1, BENCH_TOPICS_MAX, &o->topics) &&
           option_number(inv, "partitions", 1, PARTITIONS_MAX, &o->partitions) &&
           option_number(inv, "replication-factor", 1, INT16_MAX, &o->replication) &&
           option_number(inv, "seed", 0, INT64_MAX, &o->seed) &&
           option_number(inv, "broker-pid", 0, INT32_MAX, &o->broker_pid);
}

/* What fetches ask for, by -X. */
static void take_fetch_settings(struct bench_options *o, const struct session *s)
{
    o->fetch_bytes = s->settings.partition_fetch_bytes;
    o->fetch_bytes_max = s->settings.fetch_max_bytes;
    o->wait_ns = (uint64_t)s->settings.fetch_max_wait_ms * 1000000U;
}

/* e2e and verify read while they write. */
static bool read_back(struct bench_options *o, const struct session *s)
{
    o->from_end = true;
    o->follow = true;
    take_fetch_settings(o, s);
    o->disturb = option_text(s->inv, "disturb");
    const char *colon = o->disturb ? strchr(o->disturb, ':') : NULL;
    if (o->disturb &&
        (!colon || !duration_parse(o->disturb, (size_t)(colon - o->disturb), &o->disturb_ns))) {
        (void)usage_error(s->inv, "--disturb %s: TIME:COMMAND is wanted, as '10s:kill -9 123'",
                          o->disturb);
        return false;
    }
    o->disturb = colon ? colon + 1 : NULL;
    return option_number(s->inv, "readers", 1, BENCH_CONNECTIONS_MAX, &o->readers);
}

/* name: the option that says them. */
static bool read_assertions(struct bench_options *o, const struct session *s, const char *name)
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(s->inv, name, &cursor));) {
        const char *wrong = o->assertion_count == BENCH_ASSERTS_MAX
                                ? "there are too many of them"
                                : assertion_parse(&o->assertions[o->assertion_count++], text);
        if (wrong) {
            (void)usage_error(s->inv, "--%s '%s': %s", name, text, wrong);
            return false;
        }
    }
    return true;
}

static int refuse_nonsense(const struct bench_options *o, const struct session *s)
{
    if (o->joins && o->rate <= 0)
        return usage_error(s->inv, "--linger and --batch-bytes need --rate: in a closed loop a "
                                   "batch is full at once, and --batch says how many records it "
                                   "has");
    if (o->batch_records * o->record_bytes > RECORD_BYTES_MAX)
        return usage_error(s->inv, "a batch of %lld records of %lld bytes is too large",
                           (long long)o->batch_records, (long long)o->record_bytes);
    if (o->stamped && o->record_bytes < (int64_t)BENCH_STAMP_SIZE)
        return usage_error(s->inv, "--record-size: a record of %s has at least %u bytes", o->kind,
                           BENCH_STAMP_SIZE);
    if (o->stamped && o->acks == 0)
        return usage_error(s->inv, "--acks 0 tells nothing that %s could check", o->kind);
    if (strlen(o->topic) > BENCH_TOPIC_SIZE - 16)
        return usage_error(s->inv, "the topic's name is too long");
    return EXIT_OK;
}

static void options_begin(struct bench_options *o, const struct session *s, const char *kind)
{
    const struct invocation *inv = s->inv;
    *o = (struct bench_options){.kind = kind,
                                .replication = -1,
                                .duration_ns = DURATION_NS,
                                .warm_ns = WARM_NS,
                                .parts = 1};
    o->topic = inv->operand_count > 0 ? inv->operands[0] : "bench";
    o->arrival = option_text(inv, "arrival");
    o->create = !option_on(inv, "no-create");
    o->stamped = strcmp(kind, "produce") != 0;
}

static bool read_agents(struct bench_options *o, const struct session *s)
{
    o->agents = option_text(s->inv, "agents");
    if (!o->agents && has(s, "token-file"))
        return usage_error(s->inv, "--token-file is for --agents") == EXIT_OK;
    if (o->agents && o->broker_pid > 0)
        return usage_error(s->inv, "--broker-pid is not for --agents") == EXIT_OK;
    return true;
}

int bench_options_read(struct bench_options *o, struct session *s, const char *kind)
{
    options_begin(o, s, kind);
    o->client = client_of(s);
    bool good = read_extent(o, s) && read_send(o, s) && read_load(o, s) && read_keys(o, s) &&
                read_assertions(o, s, "assert") &&
                (o->stamped ? read_back(o, s) : read_agents(o, s));
    return good ? refuse_nonsense(o, s) : EXIT_USAGE;
}

int bench_sweep_read(struct bench_options *o, struct session *s, struct rates *rates)
{
    const char *text = option_text(s->inv, "rate");
    if (!text)
        return usage_error(s->inv, "--rate is wanted: which rates? as 10k..1M:x1.3");
    const char *wrong = rates_parse(rates, text);
    if (wrong)
        return usage_error(s->inv, "--rate %s: %s", text, wrong);
    options_begin(o, s, "produce");
    o->rate = rates->rates[0];
    if (strncmp(o->arrival, "step:", 5) == 0 || strncmp(o->arrival, "ramp:", 5) == 0)
        return usage_error(s->inv, "--arrival %s: the rates of a sweep are those of --rate",
                           o->arrival);
    bool good =
        read_send(o, s) && read_load(o, s) && read_keys(o, s) && read_assertions(o, s, "slo");
    if (good && o->duration_ns == 0)
        return usage_error(s->inv, "--duration: each rate is measured for some time");
    return good ? refuse_nonsense(o, s) : EXIT_USAGE;
}

/* As Kafka's clients have it, records always wait for others of their partition, and what is
 * idempotent unless it was refused is so where acks allow it. */
int bench_run_read(struct bench_options *o, struct session *s)
{
    const struct settings *settings = &s->settings;
    const struct invocation *inv = s->inv;
    o->kind = "run";
    o->arrival = "constant";
    o->create = true;
    o->in_flight = OPEN_IN_FLIGHT;
    o->batch_records = 1;
    o->joins = true;
    o->linger_ns = (uint64_t)settings->linger_ms * 1000000U;
    o->batch_bytes = settings->batch_size;
    o->from_end = true;
    o->follow = true;
    o->stamped = o->subscriptions > 0;
    take_fetch_settings(o, s);
    const bool good = read_acks_and_codec(o, s, settings->acks, settings->compression) &&
                      option_number(inv, "topics", 1, BENCH_TOPICS_MAX, &o->topics) &&
                      option_number(inv, "partitions", 1, PARTITIONS_MAX, &o->partitions) &&
                      option_number(inv, "replication-factor", 1, INT16_MAX, &o->replication) &&
                      option_number(inv, "in-flight", 1, IN_FLIGHT_MAX, &o->in_flight) &&
                      option_number(inv, "seed", 0, INT64_MAX, &o->seed) &&
                      option_number(inv, "broker-pid", 0, INT32_MAX, &o->broker_pid) &&
                      read_duration(s, "duration", &o->duration_ns) &&
                      read_duration(s, "warmup", &o->warm_ns) &&
                      read_duration(s, "drain", &o->drain_ns) && read_rate(o, inv) &&
                      read_assertions(o, s, "assert");
    o->idempotent = settings->idempotence && o->acks == -1;
    return good ? EXIT_OK : EXIT_USAGE;
}

int bench_times_read(struct bench_options *o, const struct session *s)
{
    o->duration_ns = DURATION_NS;
    o->warm_ns = WARM_NS;
    return read_duration(s, "duration", &o->duration_ns) && read_duration(s, "warmup", &o->warm_ns)
               ? EXIT_OK
               : EXIT_USAGE;
}

int bench_read_options(struct bench_options *o, struct session *s)
{
    const struct invocation *inv = s->inv;
    *o = (struct bench_options){.kind = "consume", .arrival = "constant", .in_flight = 1};
    o->topic = inv->operand_count > 0 ? inv->operands[0] : "bench";
    o->client = client_of(s);
    o->batch_records = 1;
    o->follow = option_on(inv, "follow");
    o->repeat = option_on(inv, "repeat");
    o->from_end = strcmp(option_text(inv, "from"), "end") == 0;
    o->duration_ns = has(s, "duration") || o->follow || o->repeat ? DURATION_NS : 0;
    take_fetch_settings(o, s);
    if (o->from_end && !o->follow)
        return usage_error(inv, "--from end needs --follow: there is nothing to read yet");
    if (o->follow && o->repeat)
        return usage_error(inv, "--follow and --repeat exclude each other");
    bool good = option_number(inv, "topics", 1, BENCH_TOPICS_MAX, &o->topics) &&
                option_number(inv, "connections", 1, BENCH_CONNECTIONS_MAX, &o->readers) &&
                read_size(s, "fetch-bytes", 1, INT32_MAX, &o->fetch_bytes) &&
                read_size(s, "max-bytes", 1, 192LL << 20, &o->fetch_bytes_max) &&
                read_duration(s, "duration", &o->duration_ns) &&
                read_duration(s, "warmup", &o->warm_ns) && read_duration(s, "wait", &o->wait_ns) &&
                option_number(inv, "broker-pid", 0, INT32_MAX, &o->broker_pid);
    return good ? EXIT_OK : EXIT_USAGE;
}
