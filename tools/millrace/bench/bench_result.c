/* SPDX-License-Identifier: Apache-2.0
 *
 * What came of a run: the table for people, and one JSON object with everything in it. The object
 * is the input of `bench report` and `bench compare`; its shape is versioned (schema_version), its
 * times are nanoseconds, and its histograms are complete: pairs of a bucket's end and its count.
 */
#include "io/mem.h"
#include "io/uuid.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"
#include "tools/millrace/bench/bench_hgrm.h"
#include "tools/millrace/bench/bench_stored.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB 1048576.0

static const struct {
    const char *name;
    double quantile;
} quantiles[] = {
    {"p50_ns", 0.5},  {"p75_ns", 0.75},   {"p90_ns", 0.9},      {"p95_ns", 0.95},
    {"p99_ns", 0.99}, {"p999_ns", 0.999}, {"p9999_ns", 0.9999},
};

/* What is timed when nothing is sent. */
static const char *name_of_answers(const struct bench *b)
{
    return strcmp(b->o.kind, "ping") == 0 ? "request" : "fetch";
}

/* ---- JSON ---- */

static json_t *json_of_u64(uint64_t value)
{
    return json_integer((json_int_t)min_u64(value, INT64_MAX));
}

static json_t *json_of_histogram(const struct histogram *histogram)
{
    json_t *buckets = json_array();
    uint64_t ns;
    uint64_t count;
    for (uint32_t cursor = 0; histogram_next(histogram, &cursor, &ns, &count);)
        (void)json_array_append_new(buckets,
                                    json_pack("[o, o]", json_of_u64(ns), json_of_u64(count)));
    json_t *object =
        json_pack("{s:o, s:f, s:o}", "count", json_of_u64(histogram->count), "mean_ns",
                  histogram_mean_ns(histogram), "max_ns", json_of_u64(histogram->max_ns));
    for (size_t i = 0; i < array_count(quantiles); i++)
        (void)json_object_set_new(
            object, quantiles[i].name,
            json_of_u64(histogram_quantile_ns(histogram, quantiles[i].quantile)));
    (void)json_object_set_new(object, "histogram", buckets);
    return object;
}

static json_t *json_of_second(const struct bench_second *second, uint32_t number, bool e2e)
{
    json_t *object = json_pack(
        "{s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, "
        "s:f}",
        "second", (json_int_t)number, "seconds", second->seconds, "records",
        (json_int_t)second->records, "bytes", (json_int_t)second->bytes, "requests",
        (json_int_t)second->requests, "errors", (json_int_t)second->errors, "held",
        (json_int_t)second->held, "in_flight", (json_int_t)second->in_flight, "response_p50_ns",
        (json_int_t)second->response_p50, "response_p99_ns", (json_int_t)second->response_p99,
        "response_p999_ns", (json_int_t)second->response_p999, "response_max_ns",
        (json_int_t)second->response_max, "delay_p99_ns", (json_int_t)second->delay_p99,
        "lag_p99_ns", (json_int_t)second->lag_p99, "own_cpu", second->own_cpu, "own_wait",
        second->own_wait, "machine_cpu", second->machine_cpu, "steal", second->steal);
    must(object != NULL);
    const unsigned faults = second_faults(second);
    (void)json_object_set_new(object, "bad", json_boolean(faults != 0));
    (void)json_object_set_new(object, "arrived", json_of_u64(second->arrived));
    (void)json_object_set_new(object, "arrived_bytes", json_of_u64(second->arrived_bytes));
    if (!e2e)
        return object;
    (void)json_object_set_new(object, "e2e_p50_ns", json_of_u64(second->e2e_p50));
    (void)json_object_set_new(object, "e2e_p99_ns", json_of_u64(second->e2e_p99));
    (void)json_object_set_new(object, "e2e_max_ns", json_of_u64(second->e2e_max));
    return object;
}

static json_t *json_of_options(const struct bench *b)
{
    static const char *const keys[] = {"none", "uniform", "zipf", "cycle"};
    const struct bench_options *o = &b->o;
    json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:s, s:i, s:b, s:I}",
                               "topic", o->topic, "topics", (json_int_t)o->topics, "partitions",
                               (json_int_t)b->partition_count, "connections",
                               (json_int_t)b->conn_count, "in_flight", (json_int_t)o->in_flight,
                               "record_bytes", (json_int_t)o->record_bytes, "batch_records",
                               (json_int_t)o->batch_records, "keys", keys[o->keys], "key_count",
                               (json_int_t)o->key_count, "codec", codec_name((int)o->codec), "acks",
                               o->acks, "idempotent", o->idempotent, "seed", (json_int_t)o->seed);
    must(object != NULL);
    (void)json_object_set_new(object, "loop", json_string(o->rate > 0 ? "open" : "closed"));
    (void)json_object_set_new(object, "rate",
                              o->rate > 0 && !o->searches ? json_real(o->rate) : json_null());
    (void)json_object_set_new(object, "arrival", json_string(o->arrival));
    (void)json_object_set_new(object, "batch_bytes",
                              o->joins ? json_integer(o->batch_bytes) : json_null());
    (void)json_object_set_new(object, "linger_ns",
                              o->joins ? json_of_u64(o->linger_ns) : json_null());
    (void)json_object_set_new(object, "compressible_percent", json_integer(o->compressible));
    (void)json_object_set_new(object, "warmup_s", json_real((double)o->warm_ns / 1e9));
    (void)json_object_set_new(object, "spin", json_boolean(b->measure.spun_ns != NULL));
    return object;
}

static const char *code_name(int index)
{
    if (index == MEASURE_LOST)
        return "NO_ANSWER";
    return index == MEASURE_UNSENT ? "NEVER_SENT" : err_name((int16_t)(index - 1));
}

static json_t *json_of_errors(const struct measure *m)
{
    json_t *object = json_object();
    for (int i = 0; i < MEASURE_CODES; i++) {
        if (m->codes[i] == 0)
            continue;
        (void)json_object_set_new(object, code_name(i), json_of_u64(m->codes[i]));
    }
    return object;
}

/* Over all seconds, of what the generator's thread did. */
static void own_means(const struct measure *m, double *cpu, double *wait)
{
    *cpu = 0;
    *wait = 0;
    for (uint32_t i = 0; i < m->second_count; i++) {
        *cpu += m->seconds[i].own_cpu / m->second_count;
        *wait += m->seconds[i].own_wait / m->second_count;
    }
}

static json_t *json_of_result(const struct bench *b)
{
    const struct measure *m = &b->measure;
    const double seconds = measure_seconds(m);
    const double per_s = seconds > 0 ? 1 / seconds : 0;
    json_t *object = json_pack(
        "{s:f, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "seconds", seconds,
        "records", (json_int_t)m->records, "bytes", (json_int_t)m->bytes, "records_per_s",
        (double)m->rate_records * per_s, "bytes_per_s", (double)m->rate_bytes * per_s,
        "requests_per_s", (double)m->rate_requests * per_s, "failed", (json_int_t)m->failed, "held",
        (json_int_t)m->held, "reconnects", (json_int_t)m->reconnects, "sent_in_all",
        (json_int_t)m->sent, "acknowledged_in_all", (json_int_t)m->acked, "failed_in_all",
        (json_int_t)m->lost, "errors", json_of_errors(m));
    must(object != NULL);
    if (b->client) /* it does not tell */
        (void)json_object_set_new(object, "requests_per_s", json_null());
    if (m->e2e || m->sent == 0) {
        (void)json_object_set_new(object, "arrived", json_of_u64(m->arrived));
        (void)json_object_set_new(object, "arrived_per_s", json_real((double)m->arrived * per_s));
        (void)json_object_set_new(object, "arrived_bytes_per_s",
                                  json_real((double)m->arrived_bytes * per_s));
    }
    if (b->o.broker_pid > 0) {
        (void)json_object_set_new(object, "broker_cpu_s", json_real(b->broker_cpu_s));
        (void)json_object_set_new(object, "broker_resident_bytes",
                                  json_integer(process_resident_bytes(b->o.broker_pid)));
    }
    if (b->counted >= 0)
        (void)json_object_set_new(object, "counted_in_all", json_integer(b->counted));
    double own;
    double wait;
    own_means(m, &own, &wait);
    (void)json_object_set_new(object, "own_cpu", json_real(own));
    (void)json_object_set_new(object, "own_wait", json_real(wait));
    return object;
}

/* What was read back of what was sent. */
static json_t *json_of_checks(const struct bench *b)
{
    const struct checks_sum all = checks_sum_all(b->checks);
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < b->lane_count; i++) {
        const struct checks_sum sum = checks_sum_of(b->checks, i);
        (void)json_array_append_new(
            partitions,
            json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "topic",
                      b->lanes[i].topic, "partition", b->lanes[i].partition, "sent",
                      (json_int_t)b->lanes[i].sequence, "acknowledged", (json_int_t)sum.acked,
                      "seen", (json_int_t)sum.seen, "lost", (json_int_t)sum.lost, "duplicates",
                      (json_int_t)sum.duplicates, "reordered", (json_int_t)sum.reordered, "gaps",
                      (json_int_t)sum.gaps, "unacknowledged_seen", (json_int_t)sum.surplus));
    }
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "good",
                     checks_good(b->checks, &all), "acknowledged", (json_int_t)all.acked, "seen",
                     (json_int_t)all.seen, "lost", (json_int_t)all.lost, "duplicates",
                     (json_int_t)all.duplicates, "reordered", (json_int_t)all.reordered, "gaps",
                     (json_int_t)all.gaps, "unacknowledged_seen", (json_int_t)all.surplus,
                     "corrupt_batches", (json_int_t)b->checks->corrupt, "foreign",
                     (json_int_t)b->foreign, "partitions", partitions);
}

static json_t *json_of_assertions(const struct bench *b)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < b->o.assertion_count; i++) {
        double value;
        bool good = assertion_holds(&b->o.assertions[i], &b->measure, &value);
        (void)json_array_append_new(all,
                                    json_pack("{s:s, s:f, s:b}", "assert", b->o.assertions[i].text,
                                              "value", value, "good", good));
    }
    return all;
}

json_t *bench_json(const struct bench *b, const struct verdict *verdict)
{
    char text[VERDICT_TEXT_SIZE];
    char started[32];
    char id[UUID_TEXT_LEN + 1];
    const struct measure *m = &b->measure;
    const time_t at = (time_t)(b->started_wall_ms / 1000);
    struct tm utc;
    struct io *io = b->s->sh->io;
    const struct uuid uuid = uuid_of_random(io_random(io), io_random(io));
    (void)strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
    uuid_text(&uuid, id);
    json_t *latency = json_object();
    const struct {
        const char *name;
        const struct histogram *histogram;
    } all[] = {{"response", m->response},
               {m->sent > 0 ? "service" : name_of_answers(b), m->service},
               {"delay", m->delay},
               {"e2e", m->e2e}};
    for (size_t i = 0; i < array_count(all); i++)
        if (all[i].histogram && all[i].histogram->count > 0)
            (void)json_object_set_new(latency, all[i].name, json_of_histogram(all[i].histogram));
    json_t *series = json_array();
    for (uint32_t i = 0; i < m->second_count; i++)
        (void)json_array_append_new(series, json_of_second(&m->seconds[i], i + 1, m->e2e != NULL));
    json_t *run =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:b, s:s, s:{s:i, s:i, s:i, s:i, s:i}}",
                  "schema", BENCH_SCHEMA, "schema_version", BENCH_SCHEMA_VERSION, "id", id, "kind",
                  b->o.kind, "started", started, "version", MR_VERSION, "argv", bench_argv(),
                  "valid", verdict->valid, "invalid_because", verdict_text(verdict, text),
                  "self_check", "seconds", verdict->seconds, "bad", verdict->bad, "late",
                  verdict->lag, "out_of_cpu", verdict->cpu, "stolen", verdict->steal);
    must(run != NULL);
    (void)json_object_set_new(
        run, "client", b->client ? json_incref(b->client) : json_string("millrace " MR_VERSION));
    (void)json_object_set_new(run, "machine", bench_machine());
    (void)json_object_set(run, "broker", b->broker);
    (void)json_object_set_new(run, "options", json_of_options(b));
    (void)json_object_set_new(run, "result", json_of_result(b));
    (void)json_object_set_new(run, "latency", latency);
    (void)json_object_set_new(run, "series", series);
    (void)json_object_set_new(run, "assertions", json_of_assertions(b));
    if (b->checks)
        (void)json_object_set_new(run, "verify", json_of_checks(b));
    if (b->members)
        (void)json_object_update(run, b->members);
    if (b->agents)
        (void)json_object_set(run, "agents", b->agents);
    return run;
}

/* ---- text ---- */

static void print_row(const char *name, const struct histogram *h, const char *meaning)
{
    if (!h || h->count == 0)
        return;
    printf("%-9s %8.3f %8.3f %8.3f %8.3f %8.3f %8.3f %9.3f   %s\n", name,
           histogram_mean_ns(h) / 1e6, ms(histogram_quantile_ns(h, 0.5)),
           ms(histogram_quantile_ns(h, 0.9)), ms(histogram_quantile_ns(h, 0.99)),
           ms(histogram_quantile_ns(h, 0.999)), ms(histogram_quantile_ns(h, 0.9999)), ms(h->max_ns),
           meaning);
}

/* name, count, mean, p50, p90, p99, p99.9, p99.99, max; milliseconds */
static void print_awk_row(const char *name, const struct histogram *h)
{
    static const double shown[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    if (!h || h->count == 0)
        return;
    printf("%s\t%llu\t%.6f", name, (unsigned long long)h->count, histogram_mean_ns(h) / 1e6);
    for (size_t i = 0; i < array_count(shown); i++)
        printf("\t%.6f", ms(histogram_quantile_ns(h, shown[i])));
    printf("\t%.6f\n", ms(h->max_ns));
}

static void print_awk(const struct bench *b)
{
    const struct measure *m = &b->measure;
    print_awk_row("response", m->response);
    print_awk_row(m->sent > 0 ? "service" : name_of_answers(b), m->service);
    print_awk_row("delay", m->delay);
    print_awk_row("e2e", m->e2e);
}

static void print_errors(const struct bench *b)
{
    const struct measure *m = &b->measure;
    if (m->held > 0)
        printf("held      %llu times all that was due waited: %lld requests were in flight on a "
               "connection, or it was lost\n",
               (unsigned long long)(m->held / (uint64_t)b->o.batch_records),
               (long long)b->o.in_flight);
    for (int i = 0; i < MEASURE_CODES; i++)
        if (m->codes[i] > 0)
            printf("errors    %llu requests: %s\n", (unsigned long long)m->codes[i], code_name(i));
}

static void print_checks(const struct bench *b)
{
    const struct checks_sum all = checks_sum_all(b->checks);
    printf("%s  %llu acknowledged, %llu seen: %llu lost, %llu duplicates, %llu out of order; "
           "%llu gaps, %llu seen without an answer\n",
           checks_good(b->checks, &all) ? "verified" : "FAULTY  ", (unsigned long long)all.acked,
           (unsigned long long)all.seen, (unsigned long long)all.lost,
           (unsigned long long)all.duplicates, (unsigned long long)all.reordered,
           (unsigned long long)all.gaps, (unsigned long long)all.surplus);
    if (b->checks->corrupt > 0)
        printf("          %llu batches whose checksum does not fit\n",
               (unsigned long long)b->checks->corrupt);
    for (uint32_t i = 0; i < b->lane_count; i++) {
        const struct checks_sum sum = checks_sum_of(b->checks, i);
        if (sum.lost + sum.duplicates + sum.reordered > 0)
            printf("          %s-%d: %llu lost, %llu duplicates, %llu out of order, %llu gaps\n",
                   b->lanes[i].topic, b->lanes[i].partition, (unsigned long long)sum.lost,
                   (unsigned long long)sum.duplicates, (unsigned long long)sum.reordered,
                   (unsigned long long)sum.gaps);
    }
}

static double member_ms(const json_t *object, const char *name)
{
    return (double)json_integer_value(json_object_get(object, name)) / (double)NS_PER_MS;
}

static void print_agents(const struct bench *b)
{
    size_t at;
    const json_t *agent;
    json_array_foreach(b->agents, at, agent)
        printf("agent     %s: %lld records, p50 %.3f ms, p99 %.3f ms, generator %.0f %%%s\n",
               json_string_value(json_object_get(agent, "address")),
               (long long)json_integer_value(json_object_get(agent, "records")),
               member_ms(agent, "response_p50_ns"), member_ms(agent, "response_p99_ns"),
               100 * json_real_value(json_object_get(agent, "own_cpu")),
               json_is_true(json_object_get(agent, "valid")) ? "" : ", INVALID");
}

/* What --spin costs. */
static void print_spin(const struct measure *m)
{
    double own;
    double wait;
    own_means(m, &own, &wait);
    if (m->spun_ns)
        printf("spin      a whole core for the generator, which worked %.0f %% of the time\n",
               100 * own);
}

static void print_text(const struct bench *b, const struct verdict *verdict)
{
    const struct measure *m = &b->measure;
    const double seconds = measure_seconds(m);
    const double per_s = seconds > 0 ? 1 / seconds : 0;
    char text[VERDICT_TEXT_SIZE];
    printf("%s  %s of %s at %s\n", verdict->valid ? "valid" : "INVALID", b->o.kind, b->o.topic,
           json_string_value(json_object_get(b->broker, "address")));
    if (!verdict->valid)
        printf("          %s\n", verdict_text(verdict, text));
    if (b->client)
        printf("client    %s\n", json_string_value(b->client));
    printf("broker    %s\n", json_string_value(json_object_get(b->broker, "durability_text")));
    if (b->remarks)
        fputs(b->remarks, stdout);
    if (m->sent > 0)
        printf("records   %llu in %.1f s, %.0f/s, %.1f MiB/s, %llu failed\n",
               (unsigned long long)m->records, seconds, (double)m->rate_records * per_s,
               (double)m->rate_bytes * per_s / MIB, (unsigned long long)m->failed);
    if (b->counted >= 0 && (uint64_t)b->counted != m->acked)
        printf("          the broker counts %lld, of %llu acknowledged, the warm-up included\n",
               (long long)b->counted, (unsigned long long)m->acked);
    if (strcmp(b->o.kind, "ping") == 0)
        printf("requests  %.0f/s, answers %.1f MiB/s\n", (double)m->rate_requests * per_s,
               (double)m->arrived_bytes * per_s / MIB);
    else if (m->sent == 0 || m->e2e)
        printf("read      %llu, %.0f/s, %.1f MiB/s\n", (unsigned long long)m->arrived,
               (double)m->arrived * per_s, (double)m->arrived_bytes * per_s / MIB);
    print_agents(b);
    print_spin(m);
    if (b->checks)
        print_checks(b);
    print_errors(b);
    if (m->service->count > 0)
        printf("\n%-9s %8s %8s %8s %8s %8s %8s %9s\n", "ms", "mean", "p50", "p90", "p99", "p99.9",
               "p99.99", "max");
    print_row("response", m->response, "intended send -> acknowledged");
    if (m->sent > 0)
        print_row("service", m->service, "real send -> acknowledged");
    else
        print_row(name_of_answers(b), m->service, "asked -> answered");
    print_row("delay", m->delay, "intended -> real send");
    print_row("e2e", m->e2e, "intended send -> at the consumer");
}

/* Says those that do not hold; how many. */
static uint32_t say_assertions(const struct bench *b)
{
    char text[ASSERTION_TEXT_SIZE];
    uint32_t bad = 0;
    for (uint32_t i = 0; i < b->o.assertion_count; i++) {
        double value;
        if (assertion_holds(&b->o.assertions[i], &b->measure, &value))
            continue;
        bad++;
        complain(b->s->inv, "%s", assertion_text(&b->o.assertions[i], value, text));
    }
    return bad;
}

/* ---- as kafka-producer-perf-test prints it ---- */

#define KAFKA_SECONDS 5U

static bool is_kafka_style(const struct bench *b)
{
    return b->measure.sent > 0 && b->o.kafka_style;
}

static double kafka_mb(const struct bench *b, double records)
{
    return records * (double)b->o.record_bytes / MIB;
}

/* A line for every five seconds. */
static void print_kafka_second(const struct bench *b)
{
    const struct measure *m = &b->measure;
    double records = 0;
    double seconds = 0;
    double latency = 0;
    uint64_t max = 0;
    if (m->second_count % KAFKA_SECONDS != 0)
        return;
    for (uint32_t i = m->second_count - KAFKA_SECONDS; i < m->second_count; i++) {
        const struct bench_second *second = &m->seconds[i];
        records += (double)second->records;
        seconds += second->seconds;
        latency += second->response_mean * (double)second->records;
        max = max_u64(max, second->response_max);
    }
    printf("%.0f records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max "
           "latency.\n",
           records, records / seconds, kafka_mb(b, records) / seconds,
           records > 0 ? latency / records / 1e6 : 0, ms(max));
    (void)fflush(stdout);
}

static void print_kafka(const struct bench *b)
{
    const struct measure *m = &b->measure;
    const struct histogram *h = m->response;
    const double seconds = measure_seconds(m);
    const double per_s = seconds > 0 ? (double)m->rate_records / seconds : 0;
    printf("%llu records sent, %f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max "
           "latency, %.0f ms 50th, %.0f ms 95th, %.0f ms 99th, %.0f ms 99.9th.\n",
           (unsigned long long)m->records, per_s, kafka_mb(b, per_s), histogram_mean_ns(h) / 1e6,
           ms(h->max_ns), ms(histogram_quantile_ns(h, 0.5)), ms(histogram_quantile_ns(h, 0.95)),
           ms(histogram_quantile_ns(h, 0.99)), ms(histogram_quantile_ns(h, 0.999)));
}

/* ---- seconds ---- */

void bench_say_second(struct bench *b)
{
    const struct measure *m = &b->measure;
    const struct bench_second *second = &m->seconds[m->second_count - 1];
    const struct invocation *inv = b->s->inv;
    if (format_of(inv) == FORMAT_NDJSON) {
        json_t *object = json_of_second(second, m->second_count, m->e2e != NULL);
        (void)json_object_set_new(object, "type", json_string("second"));
        (void)json_object_set_new(object, "rate",
                                  b->o.rate > 0 ? json_real(b->o.rate) : json_null());
        print_object(inv, object);
        (void)fflush(stdout);
        return;
    }
    if (is_kafka_style(b)) {
        print_kafka_second(b);
        return;
    }
    if (inv->quiet)
        return;
    const bool live = isatty(STDERR_FILENO) == 1;
    const double per_s = 1 / second->seconds;
    const bool reads = m->sent == 0;
    const uint64_t read = strcmp(b->o.kind, "ping") == 0 ? second->requests : second->arrived;
    fprintf(stderr,
            "%s%4us %10.0f/s %8.1f MiB/s  p50 %.2f  p99 %.2f  max %.2f ms  lag %.2f ms  "
            "generator %3.0f %%%s%s",
            live ? "\r" : "", m->second_count, (double)(reads ? read : second->records) * per_s,
            (double)(reads ? second->arrived_bytes : second->bytes) * per_s / MIB,
            ms(second->response_p50), ms(second->response_p99), ms(second->response_max),
            ms(second->lag_p99), 100 * second->own_cpu, second_faults(second) ? " !" : "",
            live ? "\033[K" : "\n");
    (void)fflush(stderr);
}

void bench_live_clear(const struct bench *b)
{
    const struct invocation *inv = b->s->inv;
    if (inv->quiet || format_of(inv) == FORMAT_NDJSON || isatty(STDERR_FILENO) != 1)
        return;
    fputs("\r\033[K", stderr);
    (void)fflush(stderr);
}

/* ---- files ---- */

static int write_hgrm(const struct bench *b, const char *prefix, const char *name,
                      const struct histogram *histogram)
{
    char path[4096];
    if (!histogram || histogram->count == 0)
        return EXIT_OK;
    (void)snprintf(path, sizeof(path), "%s.%s.hgrm", prefix, name);
    FILE *file = fopen(path, "we");
    if (file)
        hgrm_print(histogram, file);
    if (file && fclose(file) == 0)
        return EXIT_OK;
    complain(b->s->inv, "cannot write %s: %s", path, strerror(errno));
    return EXIT_FAILED;
}

static int write_files(const struct bench *b, const json_t *run)
{
    const char *out = option_text(b->s->inv, "out");
    const char *hgrm = option_text(b->s->inv, "hgrm");
    int code = EXIT_OK;
    if (out && json_dump_file(run, out, JSON_COMPACT) != 0) {
        complain(b->s->inv, "cannot write %s: %s", out, strerror(errno));
        code = EXIT_FAILED;
    }
    const struct measure *m = &b->measure;
    if (hgrm && code == EXIT_OK)
        code = write_hgrm(b, hgrm, "response", m->response);
    if (hgrm && code == EXIT_OK)
        code = write_hgrm(b, hgrm, "service", m->service);
    if (hgrm && code == EXIT_OK)
        code = write_hgrm(b, hgrm, "delay", m->delay);
    if (hgrm && code == EXIT_OK)
        code = write_hgrm(b, hgrm, "e2e", m->e2e);
    return code;
}

int bench_report(struct bench *b, int code)
{
    const struct invocation *inv = b->s->inv;
    const struct verdict verdict =
        b->agents ? b->verdict : verdict_of(b->measure.seconds, b->measure.second_count);
    bench_live_clear(b);
    char text[VERDICT_TEXT_SIZE];
    json_t *run = bench_json(b, &verdict);
    int written = write_files(b, run);
    if (format_of(inv) == FORMAT_JSON || format_of(inv) == FORMAT_NDJSON) {
        (void)json_object_set_new(run, "type", json_string("result"));
        print_object(inv, run);
    } else {
        if (is_kafka_style(b))
            print_kafka(b);
        else if (format_of(inv) == FORMAT_AWK)
            print_awk(b);
        else
            print_text(b, &verdict);
        if (is_kafka_style(b) && !verdict.valid)
            complain(inv, "INVALID: %s", verdict_text(&verdict, text));
        json_decref(run);
    }
    const uint32_t bad = say_assertions(b);
    if (code != EXIT_OK)
        return code;
    if (written != EXIT_OK)
        return written;
    if (b->checks) {
        const struct checks_sum sum = checks_sum_all(b->checks);
        if (!checks_good(b->checks, &sum))
            return EXIT_VERIFY;
    }
    if (b->counted >= 0 && (uint64_t)b->counted < b->measure.acked)
        return EXIT_VERIFY;
    if (!verdict.valid || bad > 0)
        return EXIT_INVALID;
    return b->measure.lost > 0 ? EXIT_PARTLY : EXIT_OK;
}
