/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms as Prometheus reads them and as JSON, from two cores. promtool's opinion is asked in
 * tests/cli/run.
 */
#include "tools/millrace/start/metrics_durations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUESTS 1000U

static void fill(struct metrics_values *values, uint64_t times)
{
    for (uint64_t i = 0; i < REQUESTS; i++) {
        struct request_time time = {.until_ns = 1};
        request_time_pass(&time, STEP_WORK, 1 + 1000 * times);
        request_time_pass(&time, STEP_JOURNAL, 1 + 1000 * (times + i));
        request_times_add(&values->times[FAMILY_PRODUCE], &time, 1);
        durations_add(&values->histogram[HISTOGRAM_commit], 100000);
    }
}

static char *text_of(const struct metrics *m)
{
    char *text;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    must(to != NULL);
    durations_print_text(to, m);
    must(fclose(to) == 0);
    return text;
}

/* The number behind the only line that begins so. */
static double value_of(const char *text, const char *series)
{
    const char *line = strstr(text, series);
    assert_non_null(line);
    assert_null(strstr(line + 1, series));
    return strtod(line + strlen(series), NULL);
}

static void test_text(void **state)
{
    (void)state;
    struct metrics_probe probes[2] = {0};
    const struct metrics m = {.probes = probes, .count = 2};
    fill(&probes[0].seen, 5);
    fill(&probes[1].seen, 500);
    char *text = text_of(&m);
    assert_true(value_of(text, "millrace_request_latency_seconds_count{api=\"produce\"}") == 2000);
    double total = value_of(text, "millrace_request_latency_seconds_sum{api=\"produce\"}");
    double work =
        value_of(text, "millrace_request_step_seconds_sum{api=\"produce\",step=\"work\"}");
    double journal =
        value_of(text, "millrace_request_step_seconds_sum{api=\"produce\",step=\"journal\"}");
    assert_true(work == 0.505 && total == work + journal);
    assert_true(value_of(text, "millrace_request_step_seconds_bucket{api=\"produce\",step=\"work\","
                               "le=\"1.6384e-05\"}") == 1000);
    assert_true(value_of(text, "millrace_request_step_seconds_bucket{api=\"produce\","
                               "step=\"journal\",le=\"+Inf\"}") == 2000);
    assert_true(value_of(text, "millrace_journal_commit_seconds_bucket{core=\"1\","
                               "le=\"6.5536e-05\"}") == 0);
    assert_true(value_of(text, "millrace_journal_commit_seconds_bucket{core=\"1\","
                               "le=\"0.000131072\"}") == 1000);
    assert_null(strstr(text, "park")); /* nobody was */
    assert_null(strstr(text, "fetch"));
    free(text);
}

static void test_json(void **state)
{
    (void)state;
    static struct metrics_values values;
    json_t *object = json_object();
    fill(&values, 5);
    durations_print_json(object, &values);
    const json_t *produce = json_object_get(json_object_get(object, "request_times"), "produce");
    const json_t *journal = json_object_get(produce, "journal");
    assert_int_equal(json_object_size(produce), 3); /* work and total, too */
    assert_int_equal(json_integer_value(json_object_get(journal, "count")), REQUESTS);
    uint64_t sum = 0;
    size_t index;
    const json_t *bucket;
    json_array_foreach(json_object_get(journal, "buckets"), index, bucket)
    {
        uint64_t end_ns = (uint64_t)json_integer_value(json_array_get(bucket, 0));
        assert_int_equal(duration_bucket_end_ns(duration_bucket(end_ns - 1)), end_ns);
        sum += (uint64_t)json_integer_value(json_array_get(bucket, 1));
    }
    assert_int_equal(sum, REQUESTS); /* those without a wait included */
    assert_non_null(json_object_get(object, "core_turn_seconds"));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
