/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/metrics_print.h"

#include "net/kafka.h"
#include "tools/millrace/start/metrics_durations.h"
#include "tools/millrace/start/process.h"

#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#define SECONDS(ns) ((double)(ns) / 1e9)

/* ---- sums over the shards ---- */

static void requests_of(const struct metrics *m, int16_t key, struct request_counts *sum)
{
    *sum = (struct request_counts){0};
    for (uint16_t i = 0; i < m->count; i++) {
        const struct request_counts *counts = &m->probes[i].seen.requests[key];
        sum->count += counts->count;
        sum->duration_ns += counts->duration_ns;
        for (unsigned b = 0; b < REQUEST_BUCKETS; b++)
            sum->buckets[b] += counts->buckets[b];
    }
}

static uint64_t closed_for(const struct metrics *m, unsigned reason)
{
    uint64_t sum = 0;
    for (uint16_t i = 0; i < m->count; i++)
        sum += m->probes[i].seen.closed[reason];
    return sum;
}

static const struct metrics_values *control(const struct metrics *m)
{
    return &m->probes[CONTROL_SHARD].seen;
}

static bool disk_of(const struct metrics *m, uint64_t *free_bytes, uint64_t *total_bytes)
{
    const struct log_dirs *dirs = m->broker->dirs;
    unsigned long seen[LOG_DIRS_MAX];
    uint32_t count = 0;
    *free_bytes = 0;
    *total_bytes = 0;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct statvfs disk;
        if (!dirs->entries[i].dir || statvfs(dirs->entries[i].path, &disk) != 0)
            continue;
        uint32_t before = 0;
        while (before < count && seen[before] != disk.f_fsid)
            before++;
        if (before < count)
            continue; /* two directories on one file system */
        seen[count++] = disk.f_fsid;
        *free_bytes += (uint64_t)disk.f_bavail * disk.f_frsize;
        *total_bytes += (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    return count > 0;
}

/* ---- Prometheus ---- */

static void gauge(FILE *to, const char *name, const char *help, double value)
{
    metric_print_head(to, name, "gauge", help);
    fprintf(to, "%s %.17g\n", name, value);
}

/* The names that every Prometheus client library uses for its own process. */
static void print_process(FILE *to)
{
    struct process process;
    process_read(&process);
    metric_print_head(to, "process_cpu_seconds_total", "counter",
                      "User and system time in seconds.");
    fprintf(to, "process_cpu_seconds_total %.2f\n", process.cpu_seconds);
    gauge(to, "process_resident_memory_bytes", "Resident memory.", (double)process.resident_bytes);
    gauge(to, "process_virtual_memory_bytes", "Virtual memory.", (double)process.virtual_bytes);
    gauge(to, "process_open_fds", "Open descriptors.", (double)process.open_files);
    gauge(to, "process_max_fds", "Descriptors that may be open.", (double)process.open_files_max);
    gauge(to, "process_start_time_seconds", "When it started, since 1970.",
          process.started_seconds);
}

static void print_table(FILE *to, const struct metrics *m)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *info = &metric_infos[i];
        char name[128];
        (void)snprintf(name, sizeof(name), "millrace_%s", info->name);
        metric_print_head(to, name, info->kind == METRIC_COUNTER ? "counter" : "gauge", info->help);
        for (uint16_t core = 0; core < m->count; core++) {
            uint64_t value = m->probes[core].seen.value[i];
            if (info->unit == METRIC_NANOSECONDS)
                fprintf(to, "%s{core=\"%u\"} %.9f\n", name, core, SECONDS(value));
            else
                fprintf(to, "%s{core=\"%u\"} %" PRIu64 "\n", name, core, value);
        }
    }
}

static void print_requests(FILE *to, const struct metrics *m)
{
    static const char name[] = "millrace_request_duration_seconds";
    metric_print_head(
        to, name, "histogram",
        "From a request's arrival to its answer; what waits on purpose (fetch, join_group) waits "
        "in it.");
    for (size_t i = 0; i < kafka_apis_count; i++) {
        struct request_counts sum;
        const char *api = kafka_apis[i].name;
        requests_of(m, kafka_apis[i].key, &sum);
        if (sum.count == 0)
            continue;
        uint64_t below = 0;
        for (unsigned b = 0; b < REQUEST_BUCKETS; b++) {
            below += sum.buckets[b];
            fprintf(to, "%s_bucket{api=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, api,
                    SECONDS(request_bucket_ns(b)), below);
        }
        fprintf(to, "%s_bucket{api=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, api, sum.count);
        fprintf(to, "%s_sum{api=\"%s\"} %.9f\n", name, api, SECONDS(sum.duration_ns));
        fprintf(to, "%s_count{api=\"%s\"} %" PRIu64 "\n", name, api, sum.count);
    }
}

static void print_reasons(FILE *to, const struct metrics *m)
{
    metric_print_head(to, "millrace_connections_closed_total", "counter",
                      "Client connections that ended.");
    for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
        fprintf(to, "millrace_connections_closed_total{reason=\"%s\"} %" PRIu64 "\n",
                close_reason_name((enum close_reason)i), closed_for(m, i));
    metric_print_head(to, "millrace_core_stalls_by_step_total", "counter",
                      "Turns of more than a millisecond, by the step that took longest.");
    for (uint16_t core = 0; core < m->count; core++)
        for (unsigned i = 0; i < SHARD_STALLS_NAMED; i++) {
            const struct shard_stalls *stalls = &m->probes[core].seen.stalls[i];
            if (stalls->count > 0)
                fprintf(to,
                        "millrace_core_stalls_by_step_total{core=\"%u\",step=\"%s\"} %" PRIu64 "\n",
                        core, stalls->name ? stalls->name : "other", stalls->count);
        }
}

static void print_broker(FILE *to, const struct metrics *m)
{
    uint64_t free_bytes;
    uint64_t total_bytes;
    gauge(to, "millrace_ready", "1: clients are served.", control(m)->ready);
    gauge(to, "millrace_topics", "Topics of the cluster.", (double)control(m)->topics);
    gauge(to, "millrace_cluster_partitions", "Partitions of all topics.",
          (double)control(m)->partitions);
    if (disk_of(m, &free_bytes, &total_bytes)) {
        gauge(to, "millrace_storage_free_bytes", "What the data directory may still take.",
              (double)free_bytes);
        gauge(to, "millrace_storage_size_bytes", "The file system it lies on.",
              (double)total_bytes);
    }
    metric_print_head(to, "millrace_core_responding", "gauge",
                      "1: the core answered when it was asked.");
    for (uint16_t core = 0; core < m->count; core++)
        fprintf(to, "millrace_core_responding{core=\"%u\"} %d\n", core,
                m->probes[core].silent_ns == 0);
}

static const char *durability_of(const struct broker *broker)
{
    return log_durability_text(
        broker_durability(broker, (enum log_durability)broker->conf->broker.durability));
}

void metrics_print_text(FILE *to, const struct metrics *m)
{
    metric_print_head(to, "millrace_build_info", "gauge", "The version.");
    fprintf(to, "millrace_build_info{version=\"%s\"} 1\n", MR_VERSION);
    print_process(to);
    if (!m->broker)
        return;
    metric_print_head(to, "millrace_durability_info", "gauge",
                      "What an acknowledgement means for topics that do not say.");
    fprintf(to, "millrace_durability_info{mode=\"%s\"} 1\n", durability_of(m->broker));
    print_broker(to, m);
    print_table(to, m);
    print_requests(to, m);
    durations_print_text(to, m);
    print_reasons(to, m);
}

/* ---- JSON ---- */

static json_t *json_u64(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *json_cores(const struct metrics *m)
{
    json_t *cores = json_array();
    for (uint16_t core = 0; core < m->count; core++) {
        const struct metrics_probe *probe = &m->probes[core];
        json_t *object = json_object();
        (void)json_object_set_new(object, "core", json_integer(core));
        (void)json_object_set_new(object, "responding", json_boolean(probe->silent_ns == 0));
        for (unsigned i = 0; i < METRIC_COUNT; i++)
            (void)json_object_set_new(object, metric_infos[i].name,
                                      metric_infos[i].unit == METRIC_NANOSECONDS
                                          ? json_real(SECONDS(probe->seen.value[i]))
                                          : json_u64(probe->seen.value[i]));
        durations_print_json(object, &probe->seen);
        (void)json_array_append_new(cores, object);
    }
    return cores;
}

static json_t *json_requests(const struct metrics *m)
{
    json_t *requests = json_array();
    for (size_t i = 0; i < kafka_apis_count; i++) {
        struct request_counts sum;
        requests_of(m, kafka_apis[i].key, &sum);
        if (sum.count == 0)
            continue;
        json_t *buckets = json_array();
        for (unsigned b = 0; b < REQUEST_BUCKETS; b++)
            (void)json_array_append_new(buckets, json_u64(sum.buckets[b]));
        (void)json_array_append_new(requests,
                                    json_pack("{s:s, s:o, s:f, s:o}", "api", kafka_apis[i].name,
                                              "count", json_u64(sum.count), "seconds",
                                              SECONDS(sum.duration_ns), "buckets", buckets));
    }
    return requests;
}

static json_t *json_process(void)
{
    struct process process;
    process_read(&process);
    return json_pack("{s:f, s:I, s:I, s:I, s:f, s:f}", "cpu_seconds", process.cpu_seconds,
                     "resident_bytes", (json_int_t)process.resident_bytes, "open_fds",
                     (json_int_t)process.open_files, "max_fds", (json_int_t)process.open_files_max,
                     "started_seconds", process.started_seconds, "uptime_seconds",
                     process.uptime_seconds);
}

static json_t *json_listeners(const struct metrics *m)
{
    json_t *listeners = json_array();
    for (uint32_t i = 0; control(m)->ready && i < m->broker->listeners.count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        (void)json_array_append_new(
            listeners, json_string(address_print(&m->broker->listeners.listener[i].bind, text)));
    }
    return listeners;
}

static json_t *json_closed(const struct metrics *m)
{
    json_t *closed = json_object();
    for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++)
        (void)json_object_set_new(closed, close_reason_name((enum close_reason)i),
                                  json_u64(closed_for(m, i)));
    return closed;
}

json_t *metrics_print_json(const struct metrics *m)
{
    json_t *bounds = json_array();
    for (unsigned b = 0; b < REQUEST_BUCKETS; b++)
        (void)json_array_append_new(bounds, json_real(SECONDS(request_bucket_ns(b))));
    json_t *object = json_pack("{s:s, s:b, s:o, s:o}", "version", MR_VERSION, "ready",
                               m->broker && control(m)->ready, "process", json_process(),
                               "bucket_seconds", bounds);
    if (!m->broker)
        return object;
    uint64_t free_bytes;
    uint64_t total_bytes;
    json_t *more = json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "node_id", m->broker->node_id,
        "cluster_id", control(m)->cluster_id, "data_dir", m->broker->conf->broker.log_dirs,
        "durability", durability_of(m->broker), "listeners", json_listeners(m), "topics",
        (json_int_t)control(m)->topics, "partitions", (json_int_t)control(m)->partitions, "cores",
        json_cores(m), "requests", json_requests(m), "connections_closed", json_closed(m));
    if (disk_of(m, &free_bytes, &total_bytes)) {
        (void)json_object_set_new(more, "storage_free_bytes", json_u64(free_bytes));
        (void)json_object_set_new(more, "storage_size_bytes", json_u64(total_bytes));
    }
    (void)json_object_update(object, more);
    json_decref(more);
    return object;
}

bool metrics_print_health(FILE *to, const struct metrics *m)
{
    bool good = true;
    for (uint16_t core = 0; m->broker && core < m->count; core++) {
        const struct metrics_probe *probe = &m->probes[core];
        if (probe->silent_ns > 0)
            fprintf(to, "core %u has not answered for %.1f s\n", core, SECONDS(probe->silent_ns));
        if (probe->seen.offline_reason[0])
            fprintf(to, "core %u: a log directory is offline: %s\n", core,
                    probe->seen.offline_reason);
        good &= probe->silent_ns == 0;
    }
    return good;
}
