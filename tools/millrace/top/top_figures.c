/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/top/top_figures.h"

#include "net/request_time.h"

#include <string.h>
#include <time.h>

/* ---- durations between two looks ---- */

/* What the broker has printed (tools/millrace/start/metrics_durations.h), read back. */
static void durations_read(const json_t *object, struct durations *durations)
{
    size_t index;
    const json_t *pair;
    *durations = (struct durations){
        .count = (uint64_t)look_number(object, "count"),
        .sum_ns = (uint64_t)(look_number(object, "seconds") * 1e9 + 0.5),
    };
    json_array_foreach(json_object_get(object, "buckets"), index, pair)
    {
        json_int_t end_ns = json_integer_value(json_array_get(pair, 0));
        unsigned bucket = end_ns > 0 ? duration_bucket((uint64_t)end_ns - 1) : DURATION_BUCKETS;
        if (bucket < DURATION_BUCKETS)
            durations->buckets[bucket] = (uint64_t)json_integer_value(json_array_get(pair, 1));
    }
}

/* Adds what has come since `before`; a broker that began anew has nothing from before. */
static void durations_since(const json_t *before, const json_t *now, struct durations *sum)
{
    struct durations was;
    struct durations is;
    durations_read(before, &was);
    durations_read(now, &is);
    if (was.count <= is.count && was.sum_ns <= is.sum_ns)
        durations_subtract(&is, &was);
    durations_merge(sum, &is);
}

static json_t *seconds_of(uint64_t ns)
{
    return ns == UINT64_MAX ? json_null() : json_real((double)ns / 1e9);
}

static json_t *quantile(const struct durations *durations, double part)
{
    return durations->count > 0 ? seconds_of(durations_quantile_ns(durations, part)) : json_null();
}

/* Per request of `count`. */
static json_t *mean(const struct durations *durations, uint64_t count)
{
    return count > 0 ? json_real((double)durations->sum_ns / 1e9 / (double)count) : json_null();
}

/* ---- cores ---- */

static const json_t *core_before(const struct looks *l, size_t index)
{
    return json_array_get(json_object_get(l->before, "cores"), index);
}

/* "total" or a step of a family's requests on a core, NULL: there were none. */
static const json_t *times_of(const json_t *core, const char *family, const char *step)
{
    const json_t *families = json_object_get(core, "request_times");
    return json_object_get(json_object_get(families, family), step);
}

static json_t *core_quantile(const json_t *before, const json_t *now, const char *family)
{
    struct durations total = {0};
    durations_since(times_of(before, family, "total"), times_of(now, family, "total"), &total);
    return quantile(&total, 0.99);
}

static json_t *core_figures(const struct looks *l, const json_t *before, const json_t *now)
{
    static const struct {
        const char *key, *of;
    } rates[] = {
        {"busy", "core_busy_seconds_total"},
        {"sqe_per_second", "uring_submissions_total"},
        {"commits_per_second", "journal_commits_total"},
        {"in_bytes_per_second", "network_received_bytes_total"},
        {"out_bytes_per_second", "network_sent_bytes_total"},
        {"requests_per_second", "requests_received_total"},
    };
    static const char *const copied[] = {"core", "responding", "connections", "partitions"};
    struct durations turns = {0};
    struct durations commits = {0};
    json_t *core = json_object();
    for (size_t i = 0; i < array_count(copied); i++)
        (void)json_object_set(core, copied[i], json_object_get(now, copied[i]));
    for (size_t i = 0; i < array_count(rates); i++)
        (void)json_object_set_new(core, rates[i].key,
                                  json_real(looks_rate(l, before, now, rates[i].of)));
    durations_since(json_object_get(before, "core_turn_seconds"),
                    json_object_get(now, "core_turn_seconds"), &turns);
    durations_since(json_object_get(before, "journal_commit_seconds"),
                    json_object_get(now, "journal_commit_seconds"), &commits);
    (void)json_object_set_new(core, "longest_turn_seconds",
                              seconds_of(durations_longest_ns(&turns)));
    (void)json_object_set_new(core, "commit_p99_seconds", quantile(&commits, 0.99));
    (void)json_object_set_new(core, "produce_p99_seconds", core_quantile(before, now, "produce"));
    (void)json_object_set_new(core, "fetch_p99_seconds", core_quantile(before, now, "fetch"));
    return core;
}

static json_t *cores_figures(const struct looks *l)
{
    json_t *cores = json_array();
    size_t index;
    const json_t *core;
    json_array_foreach(json_object_get(l->now, "cores"), index, core)
    {
        (void)json_array_append_new(cores, core_figures(l, core_before(l, index), core));
    }
    return cores;
}

/* ---- requests ---- */

/* Over all cores. */
static struct durations family_since(const struct looks *l, const char *family, const char *step)
{
    struct durations sum = {0};
    size_t index;
    const json_t *core;
    json_array_foreach(json_object_get(l->now, "cores"), index, core)
    {
        durations_since(times_of(core_before(l, index), family, step), times_of(core, family, step),
                        &sum);
    }
    return sum;
}

static json_t *steps_figures(const struct looks *l, const char *family, uint64_t count)
{
    json_t *steps = json_object();
    for (unsigned i = 0; i < REQUEST_STEP_COUNT; i++) {
        const struct durations step = family_since(l, family, request_step_names[i]);
        (void)json_object_set_new(steps, request_step_names[i],
                                  json_pack("{s:o, s:o}", "mean_seconds", mean(&step, count),
                                            "p99_seconds", quantile(&step, 0.99)));
    }
    return steps;
}

static json_t *family_figures(const struct looks *l, const char *family)
{
    const struct durations total = family_since(l, family, "total");
    double per_second = l->seconds > 0 ? (double)total.count / l->seconds : 0;
    return json_pack("{s:s, s:f, s:o, s:o, s:o, s:o}", "api", family, "per_second", per_second,
                     "p50_seconds", quantile(&total, 0.5), "p99_seconds", quantile(&total, 0.99),
                     "mean_seconds", mean(&total, total.count), "steps",
                     steps_figures(l, family, total.count));
}

static json_t *requests_figures(const struct looks *l)
{
    static const enum request_family shown[] = {FAMILY_PRODUCE, FAMILY_FETCH, FAMILY_FOLLOWER_FETCH,
                                                FAMILY_OTHER};
    json_t *requests = json_array();
    for (size_t i = 0; i < array_count(shown); i++)
        (void)json_array_append_new(requests, family_figures(l, request_family_names[shown[i]]));
    return requests;
}

/* ---- all ---- */

json_t *top_figures(const struct looks *l)
{
    struct timespec wall;
    const json_t *process = json_object_get(l->now, "process");
    const json_t *process_before = json_object_get(l->before, "process");
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    json_t *figures = json_pack("{s:I, s:f, s:b, s:f, s:O, s:o, s:o}", "time_ms",
                                (json_int_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000, "seconds",
                                l->seconds, "ready", (int)looks_good(l), "cpu_cores",
                                looks_rate(l, process_before, process, "cpu_seconds"),
                                "resident_bytes", json_object_get(process, "resident_bytes"),
                                "cores", cores_figures(l), "requests", requests_figures(l));
    static const char *const copied[] = {"version", "node_id", "durability"};
    for (size_t i = 0; i < array_count(copied); i++)
        (void)json_object_set(figures, copied[i], json_object_get(l->now, copied[i]));
    return figures;
}
