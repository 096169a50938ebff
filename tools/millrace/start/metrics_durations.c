/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/metrics_durations.h"

#include <inttypes.h>

#define FIRST_BUCKET 39U /* it ends at 16 us */
#define STEP_NAME    "millrace_request_step_seconds"
#define TOTAL_NAME   "millrace_request_latency_seconds"

static const struct {
    const char *name, *help;
} rows[METRIC_HISTOGRAMS] = {
#define HISTOGRAM(id_, name_, help_, fill_) [HISTOGRAM_##id_] = {.name = (name_), .help = (help_)},
#include "tools/millrace/start/metrics.def"
};

void metric_print_head(FILE *to, const char *name, const char *kind, const char *help)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* ---- Prometheus ---- */

static void print_durations(FILE *to, const char *name, const char *labels,
                            const struct durations *durations)
{
    uint64_t below = 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        below += durations->buckets[i];
        if (i >= FIRST_BUCKET && i % DURATIONS_PER_POWER == DURATIONS_PER_POWER - 1)
            fprintf(to, "%s_bucket{%s,le=\"%.9g\"} %" PRIu64 "\n", name, labels,
                    (double)duration_bucket_end_ns(i) / 1e9, below);
    }
    fprintf(to, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, durations->count);
    fprintf(to, "%s_sum{%s} %.9f\n", name, labels, (double)durations->sum_ns / 1e9);
    fprintf(to, "%s_count{%s} %" PRIu64 "\n", name, labels, durations->count);
}

static void print_rows(FILE *to, const struct metrics *m)
{
    for (unsigned row = 0; row < METRIC_HISTOGRAMS; row++) {
        char name[128];
        (void)snprintf(name, sizeof(name), "millrace_%s", rows[row].name);
        metric_print_head(to, name, "histogram", rows[row].help);
        for (uint16_t core = 0; core < m->count; core++) {
            char labels[32];
            (void)snprintf(labels, sizeof(labels), "core=\"%u\"", core);
            print_durations(to, name, labels, &m->probes[core].seen.histogram[row]);
        }
    }
}

static void print_steps(FILE *to, const struct metrics *m, unsigned family)
{
    for (unsigned step = 0; step < REQUEST_STEP_COUNT; step++) {
        struct durations sum = {0};
        char labels[64];
        uint64_t own = 0;
        for (uint16_t core = 0; core < m->count; core++) {
            const struct request_times *times = &m->probes[core].seen.times[family];
            request_times_merge(times, (enum request_step)step, &sum);
            own += times->steps[step].count;
        }
        (void)snprintf(labels, sizeof(labels), "api=\"%s\",step=\"%s\"",
                       request_family_names[family], request_step_names[step]);
        if (own > 0)
            print_durations(to, STEP_NAME, labels, &sum);
    }
}

static void print_total(FILE *to, const struct metrics *m, unsigned family)
{
    struct durations sum = {0};
    char labels[64];
    for (uint16_t core = 0; core < m->count; core++)
        durations_merge(&sum, &m->probes[core].seen.times[family].total);
    (void)snprintf(labels, sizeof(labels), "api=\"%s\"", request_family_names[family]);
    if (sum.count > 0)
        print_durations(to, TOTAL_NAME, labels, &sum);
}

void durations_print_text(FILE *to, const struct metrics *m)
{
    print_rows(to, m);
    metric_print_head(to, TOTAL_NAME, "histogram",
                      "From a request's last byte until its answer is with the socket.");
    for (unsigned family = 0; family < REQUEST_FAMILY_COUNT; family++)
        print_total(to, m, family);
    metric_print_head(to, STEP_NAME, "histogram",
                      "What of it a request spent on each step; the steps add up to it.");
    for (unsigned family = 0; family < REQUEST_FAMILY_COUNT; family++)
        print_steps(to, m, family);
}

/* ---- JSON ---- */

static json_t *json_durations(const struct durations *durations)
{
    json_t *buckets = json_array();
    for (unsigned i = 0; i < DURATION_BUCKETS; i++)
        if (durations->buckets[i] > 0)
            (void)json_array_append_new(buckets,
                                        json_pack("[I, I]", (json_int_t)duration_bucket_end_ns(i),
                                                  (json_int_t)durations->buckets[i]));
    return json_pack("{s:I, s:f, s:o}", "count", (json_int_t)durations->count, "seconds",
                     (double)durations->sum_ns / 1e9, "buckets", buckets);
}

static json_t *json_family(const struct request_times *times)
{
    json_t *family = json_pack("{s:o}", "total", json_durations(&times->total));
    for (unsigned step = 0; step < REQUEST_STEP_COUNT; step++) {
        struct durations all = {0};
        if (times->steps[step].count == 0)
            continue;
        request_times_merge(times, (enum request_step)step, &all);
        (void)json_object_set_new(family, request_step_names[step], json_durations(&all));
    }
    return family;
}

void durations_print_json(json_t *object, const struct metrics_values *values)
{
    json_t *times = json_object();
    for (unsigned row = 0; row < METRIC_HISTOGRAMS; row++)
        (void)json_object_set_new(object, rows[row].name, json_durations(&values->histogram[row]));
    for (unsigned family = 0; family < REQUEST_FAMILY_COUNT; family++)
        if (values->times[family].total.count > 0)
            (void)json_object_set_new(times, request_family_names[family],
                                      json_family(&values->times[family]));
    (void)json_object_set_new(object, "request_times", times);
}
