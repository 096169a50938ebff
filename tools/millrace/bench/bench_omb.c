/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_omb.h"

#include "io/mem.h"
#include "tools/millrace/bench/bench_hgrm.h"

#include <string.h>

#define KINDS          3U
#define TICKS_PER_HALF 100U /* of the percentiles that are told of all */
#define NAME_SIZE      64U

/* The latencies, by the names that they have there. */
static const struct kind {
    const char *name, *total;
    double unit_ns;
    bool whole; /* integers */
} kinds[KINDS] = {
    {"publishLatency", "aggregatedPublishLatency", 1e6, false},
    {"publishDelayLatency", "aggregatedPublishDelayLatency", 1e3, true},
    {"endToEndLatency", "aggregatedEndToEndLatency", 1e6, false},
};

static const struct histogram *histogram_of(const struct omb *omb, const struct bench *b,
                                            size_t kind)
{
    const struct measure *m = &b->measure;
    const struct histogram *const all[KINDS] = {m->service, m->delay, m->e2e ? m->e2e : omb->none};
    return all[kind];
}

static const struct {
    const char *name;
    double quantile;
} quantiles[] = {{"50pct", 0.5},    {"75pct", 0.75},     {"95pct", 0.95}, {"99pct", 0.99},
                 {"999pct", 0.999}, {"9999pct", 0.9999}, {"Max", 1}};

void omb_init(struct omb *omb)
{
    *omb = (struct omb){.samples = json_object()};
    omb->before = mem_zalloc(KINDS * sizeof(*omb->before));
    omb->period = mem_zalloc(sizeof(*omb->period));
    omb->none = mem_zalloc(sizeof(*omb->none));
}

void omb_fini(struct omb *omb)
{
    json_decref(omb->samples);
    mem_free(omb->before);
    mem_free(omb->period);
    mem_free(omb->none);
}

/* ---- samples ---- */

static void append(json_t *object, const char *prefix, const char *suffix, json_t *value)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), "%s%s", prefix, suffix);
    json_t *array = json_object_get(object, name);
    if (!array) {
        array = json_array();
        (void)json_object_set_new(object, name, array);
    }
    (void)json_array_append_new(array, value);
}

static json_t *in_unit(const struct kind *kind, double ns)
{
    return kind->whole ? json_integer((json_int_t)(ns / kind->unit_ns))
                       : json_real(ns / kind->unit_ns);
}

static void latencies_sample(struct omb *omb, const struct bench *b)
{
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *kind = &kinds[i];
        const struct histogram *all = histogram_of(omb, b, i);
        histogram_since(omb->period, all, &omb->before[i]);
        omb->before[i] = *all;
        append(omb->samples, kind->name, "Avg",
               json_real(histogram_mean_ns(omb->period) / kind->unit_ns));
        for (size_t q = 0; q < array_count(quantiles); q++)
            append(
                omb->samples, kind->name, quantiles[q].name,
                in_unit(kind, (double)histogram_quantile_ns(omb->period, quantiles[q].quantile)));
    }
}

static void begin(struct omb *omb, const struct bench *b, uint64_t now_ns)
{
    const struct measure *m = &b->measure;
    omb->from_ns = now_ns;
    omb->records = m->rate_records;
    omb->failed = m->failed;
    omb->arrived = m->arrived;
}

static void sample(struct omb *omb, const struct bench *b, uint64_t now_ns)
{
    const struct measure *m = &b->measure;
    const double per_s = (double)NS_PER_S / (double)(now_ns - omb->from_ns);
    append(omb->samples, "publishRate", "",
           json_real((double)(m->rate_records - omb->records) * per_s));
    append(omb->samples, "publishErrorRate", "",
           json_real((double)(m->failed - omb->failed) * per_s));
    append(omb->samples, "consumeRate", "", json_real((double)(m->arrived - omb->arrived) * per_s));
    append(omb->samples, "backlog", "", json_integer((json_int_t)omb->backlog));
    latencies_sample(omb, b);
    begin(omb, b, now_ns);
}

uint64_t omb_look(struct omb *omb, const struct bench *b, uint64_t now_ns)
{
    const int64_t all = (int64_t)b->measure.acked * b->o.subscriptions;
    omb->backlog = max_i64(all - (int64_t)b->read_records, 0);
    if (b->measure.began_ns == 0)
        return UINT64_MAX;
    if (omb->from_ns == 0)
        begin(omb, b, b->measure.began_ns);
    if (now_ns >= omb->from_ns + OMB_PERIOD_NS)
        sample(omb, b, now_ns);
    return omb->from_ns + OMB_PERIOD_NS;
}

/* ---- all of it ---- */

static json_t *percentiles(const struct kind *kind, const struct histogram *histogram)
{
    json_t *object = json_object();
    struct hgrm_steps steps;
    hgrm_begin(&steps, histogram, TICKS_PER_HALF);
    while (hgrm_step(&steps)) {
        char name[NAME_SIZE];
        (void)snprintf(name, sizeof(name), "%.12g", 100 * steps.percentile);
        (void)json_object_set_new(object, name, in_unit(kind, (double)steps.ns));
    }
    return object;
}

static void totals(json_t *object, const struct omb *omb, const struct bench *b)
{
    char name[NAME_SIZE];
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *kind = &kinds[i];
        const struct histogram *all = histogram_of(omb, b, i);
        (void)snprintf(name, sizeof(name), "%sAvg", kind->total);
        (void)json_object_set_new(object, name, json_real(histogram_mean_ns(all) / kind->unit_ns));
        for (size_t q = 0; q < array_count(quantiles); q++) {
            (void)snprintf(name, sizeof(name), "%s%s", kind->total, quantiles[q].name);
            (void)json_object_set_new(
                object, name,
                in_unit(kind, (double)histogram_quantile_ns(all, quantiles[q].quantile)));
        }
        (void)snprintf(name, sizeof(name), "%sQuantiles", kind->total);
        (void)json_object_set_new(object, name, percentiles(kind, all));
    }
}

json_t *omb_json(struct omb *omb, const struct bench *b, const struct plan *plan)
{
    const bool none = json_object_size(omb->samples) == 0;
    if (omb->from_ns > 0 && (none || b->measure.ends_ns >= omb->from_ns + NS_PER_S))
        sample(omb, b, b->measure.ends_ns);
    json_t *object = json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "workload", json_of(str_of(plan->workload.name)),
        "driver", plan->driver.name, "messageSize", (json_int_t)b->o.record_bytes, "topics",
        (json_int_t)b->o.topics, "partitions", (json_int_t)b->o.partitions, "producersPerTopic",
        (json_int_t)b->o.producers, "consumersPerTopic", (json_int_t)b->o.consumers);
    must(object != NULL);
    (void)json_object_update(object, omb->samples);
    totals(object, omb, b);
    return object;
}
