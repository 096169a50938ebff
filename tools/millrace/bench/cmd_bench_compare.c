/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench compare`: is B better or worse than A, and how sure is that? The seconds of the
 * runs are what is compared: their rates, and the quantiles of the response time in each of them.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench_bootstrap.h"
#include "tools/millrace/bench/bench_stored.h"
#include "tools/millrace/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED 1

struct figure {
    const char *name;
    const char *key; /* of a second */
    double factor;   /* to the unit in the name */
    bool per_second;
    bool less_is_better;
};

static const struct figure figures[] = {
    {"records/s", "records", 1, true, false},
    {"read/s", "arrived", 1, true, false},
    {"response p50 ms", "response_p50_ns", 1e-6, false, true},
    {"response p99 ms", "response_p99_ns", 1e-6, false, true},
    {"response p99.9 ms", "response_p999_ns", 1e-6, false, true},
    {"response max ms", "response_max_ns", 1e-6, false, true},
    {"e2e p99 ms", "e2e_p99_ns", 1e-6, false, true},
};

static const struct column columns[] = {
    {.key = "figure", .title = "FIGURE"},
    {.key = "a_text", .title = "A"},
    {.key = "b_text", .title = "B"},
    {.key = "change", .title = "CHANGE"},
    {.key = "interval", .title = "95 % INTERVAL"},
    {.key = "verdict", .title = "VERDICT"},
};

/* Its value in each second; *count 0: the run does not have it. */
static double *values_of(const json_t *run, const struct figure *figure, uint32_t *count)
{
    const json_t *series = json_object_get(run, "series");
    double *values = mem_zalloc((json_array_size(series) + 1) * sizeof(*values));
    double sum = 0;
    size_t index;
    json_t *second;
    *count = 0;
    json_array_foreach(series, index, second)
    {
        const json_t *value = json_object_get(second, figure->key);
        double seconds = json_number_value(json_object_get(second, "seconds"));
        if (!json_is_number(value) || seconds <= 0)
            continue;
        double number = json_number_value(value) * figure->factor;
        values[(*count)++] = figure->per_second ? number / seconds : number;
        sum += number;
    }
    if (sum <= 0)
        *count = 0;
    return values;
}

static const char *verdict_of_ratio(const struct bootstrap *result, bool less_is_better)
{
    if (result->low <= 1 && result->high >= 1)
        return "no difference";
    return (result->ratio < 1) == less_is_better ? "better" : "worse";
}

/* For sure worse by more than that part? */
static bool is_regression(const struct bootstrap *result, bool less_is_better, double max_regress)
{
    if (less_is_better)
        return result->low > 1 + max_regress;
    return result->high < 1 - max_regress;
}

static json_t *row_of(const struct figure *figure, const struct bootstrap *result, bool regression)
{
    char text[4][64];
    const int digits = figure->per_second ? 0 : 3;
    (void)snprintf(text[0], sizeof(text[0]), "%.*f", digits, result->a);
    (void)snprintf(text[1], sizeof(text[1]), "%.*f", digits, result->b);
    (void)snprintf(text[2], sizeof(text[2]), "%+.1f %%", 100 * (result->ratio - 1));
    (void)snprintf(text[3], sizeof(text[3]), "%+.1f to %+.1f %%", 100 * (result->low - 1),
                   100 * (result->high - 1));
    return json_pack("{s:s, s:f, s:f, s:s, s:s, s:f, s:f, s:f, s:s, s:s, s:s, s:b}", "figure",
                     figure->name, "a", result->a, "b", result->b, "a_text", text[0], "b_text",
                     text[1], "ratio", result->ratio, "low", result->low, "high", result->high,
                     "change", text[2], "interval", text[3], "verdict",
                     verdict_of_ratio(result, figure->less_is_better), "regression", regression);
}

static int compare(struct invocation *inv, json_t *const runs[2], double max_regress)
{
    struct listing *listing = listing_open(inv, columns, array_count(columns));
    int code = EXIT_OK;
    for (size_t i = 0; i < array_count(figures); i++) {
        uint32_t counts[2];
        double *a = values_of(runs[0], &figures[i], &counts[0]);
        double *b = values_of(runs[1], &figures[i], &counts[1]);
        if (counts[0] > 0 && counts[1] > 0) {
            struct bootstrap result = bootstrap_ratio(a, counts[0], b, counts[1], SEED);
            bool regression =
                max_regress >= 0 && is_regression(&result, figures[i].less_is_better, max_regress);
            if (regression)
                code = EXIT_INVALID;
            listing_row(listing, row_of(&figures[i], &result, regression));
        }
        mem_free(a);
        mem_free(b);
    }
    listing_close(listing);
    return code;
}

/* What makes the comparison doubtful is said, not forbidden. */
static void say_doubts(const struct invocation *inv, json_t *const runs[2])
{
    static const char *const members[][2] = {
        {"machine", "host"}, {"machine", "kernel"},       {"broker", "durability"},
        {"options", "rate"}, {"options", "record_bytes"}, {"options", "batch_records"},
        {"options", "loop"}, {"options", "connections"},  {"options", "partitions"},
    };
    for (size_t i = 0; i < 2; i++)
        if (!json_is_true(json_object_get(runs[i], "valid")))
            note(inv, "warning: %s is INVALID: the generator was the limit", inv->operands[i]);
    for (size_t i = 0; i < array_count(members); i++) {
        const json_t *values[2];
        for (size_t k = 0; k < 2; k++)
            values[k] = json_object_get(json_object_get(runs[k], members[i][0]), members[i][1]);
        if (!json_equal(values[0], values[1]))
            note(inv, "note: they differ in %s %s", members[i][0], members[i][1]);
    }
}

/* "5%" or "5" */
static int read_percent(const struct invocation *inv, double *part)
{
    const char *text = option_text(inv, "max-regress");
    if (!text)
        return EXIT_OK;
    char *end;
    double number = strtod(text, &end);
    if (end == text || (*end && strcmp(end, "%") != 0) || !isfinite(number) || number < 0)
        return usage_error(inv, "--max-regress %s: percent are wanted, as 5%%", text);
    *part = number / 100;
    return EXIT_OK;
}

int cmd_bench_compare(struct invocation *inv)
{
    double max_regress = -1;
    int code = read_percent(inv, &max_regress);
    if (code != EXIT_OK)
        return code;
    json_t *const a = stored_read(inv, inv->operands[0]);
    json_t *const b = a ? stored_read(inv, inv->operands[1]) : NULL;
    json_t *const runs[2] = {a, b};
    code = EXIT_FAILED;
    if (b) {
        say_doubts(inv, runs);
        code = compare(inv, runs, max_regress);
    }
    if (code == EXIT_INVALID)
        complain(inv, "worse by more than %s, beyond doubt", option_text(inv, "max-regress"));
    json_decref(a);
    json_decref(b);
    return code;
}
