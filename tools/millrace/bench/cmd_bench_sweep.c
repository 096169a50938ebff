/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench sweep`: the open loop of `bench produce` at one rate after the other, on the same
 * connections, and what came of each. bench_sweep.h says which rates those are.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench.h"
#include "tools/millrace/bench/bench_sweep.h"
#include "tools/millrace/output.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define FOLLOWED 0.98 /* of what was due is acknowledged in time: the broker follows */
#define WHY_SIZE 640U

struct sweep {
    struct bench *b;
    struct rates rates;
    json_t *rows; /* what was told of each run */
    json_t *runs; /* --out: the runs; else NULL */
    int code;     /* why it ended */
};

/* What came of the run that is over. */
struct run {
    double rate, due_per_s, achieved_per_s;
    bool follows;
    struct verdict verdict;
    enum sweep_outcome outcome;
    char why[WHY_SIZE];
};

static const char *const outcome_names[] = {"held", "missed", "invalid"};

/* ---- judging ---- */

static void reason(struct run *run, const char *format, ...) printf_like(2, 3);

static void reason(struct run *run, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(run->why);
    (void)snprintf(run->why + used, WHY_SIZE - used, "%s", used > 0 ? "; " : "");
    used = strlen(run->why);
    va_start(arguments, format);
    (void)vsnprintf(run->why + used, WHY_SIZE - used, format, arguments);
    va_end(arguments);
}

static void judge_claims(struct run *run, const struct bench *b)
{
    char text[ASSERTION_TEXT_SIZE];
    for (uint32_t i = 0; i < b->o.assertion_count; i++) {
        double value;
        if (!assertion_holds(&b->o.assertions[i], &b->measure, &value))
            reason(run, "%s", assertion_text(&b->o.assertions[i], value, text));
    }
}

/* What was due has been acknowledged or has failed by now, so their sum is the schedule's own
 * count, also where arrivals are random. */
static void judge(struct run *run, const struct bench *b)
{
    char text[VERDICT_TEXT_SIZE];
    const struct measure *m = &b->measure;
    const double seconds = measure_seconds(m);
    const double due = (double)(m->records + m->failed);
    *run = (struct run){.rate = b->o.rate};
    run->due_per_s = due / seconds;
    run->achieved_per_s = (double)m->rate_records / seconds;
    run->follows = (double)m->rate_records >= FOLLOWED * due;
    run->verdict = verdict_of(m->seconds, m->second_count);
    if (!run->follows)
        reason(run, "%.1f %% of what was due", 100 * (double)m->rate_records / due);
    if (m->failed > 0)
        reason(run, "%llu records failed", (unsigned long long)m->failed);
    judge_claims(run, b);
    run->outcome = run->why[0] ? SWEEP_MISSED : SWEEP_HELD;
    if (!run->verdict.valid) {
        reason(run, "%s", verdict_text(&run->verdict, text));
        run->outcome = SWEEP_INVALID;
    }
}

/* ---- telling ---- */

#define RATE_SIZE 32U

static const char *rate_text(char text[RATE_SIZE], double rate)
{
    (void)snprintf(text, RATE_SIZE, rate < 100 ? "%g" : "%.0f", rate);
    return text;
}

static json_t *json_of_row(const struct run *run, const struct bench *b)
{
    const struct measure *m = &b->measure;
    const struct histogram *h = m->response;
    return json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:s, s:s}", "rate",
                     run->rate, "due_per_s", run->due_per_s, "achieved_per_s", run->achieved_per_s,
                     "response_p50_ns", (json_int_t)histogram_quantile_ns(h, 0.5),
                     "response_p99_ns", (json_int_t)histogram_quantile_ns(h, 0.99),
                     "response_p999_ns", (json_int_t)histogram_quantile_ns(h, 0.999),
                     "response_max_ns", (json_int_t)h->max_ns, "failed", (json_int_t)m->failed,
                     "follows", run->follows, "valid", run->verdict.valid, "outcome",
                     outcome_names[run->outcome], "why", run->why);
}

static void print_row(const struct run *run, const struct bench *b)
{
    const struct histogram *h = b->measure.response;
    const char *name = outcome_names[run->outcome];
    char rate[RATE_SIZE];
    (void)rate_text(rate, run->rate);
    if (format_of(b->s->inv) == FORMAT_AWK)
        printf("rate\t%s\t%.0f\t%.6f\t%.6f\t%.6f\t%.6f\t%s\t%s\n", rate, run->achieved_per_s,
               ms(histogram_quantile_ns(h, 0.5)), ms(histogram_quantile_ns(h, 0.99)),
               ms(histogram_quantile_ns(h, 0.999)), ms(h->max_ns), name,
               run->why[0] ? run->why : "-");
    else
        printf("%10s %10.0f %9.3f %9.3f %9.3f %10.3f   %s%s%s\n", rate, run->achieved_per_s,
               ms(histogram_quantile_ns(h, 0.5)), ms(histogram_quantile_ns(h, 0.99)),
               ms(histogram_quantile_ns(h, 0.999)), ms(h->max_ns),
               run->outcome == SWEEP_INVALID ? "INVALID" : name, run->why[0] ? ": " : "", run->why);
    (void)fflush(stdout);
}

static void print_head(const struct sweep *sweep)
{
    const struct bench *b = sweep->b;
    if (!format_is_table(b->s->inv))
        return;
    printf("sweep     of %s at %s, %.6g s each\n", b->o.topic,
           json_string_value(json_object_get(b->broker, "address")),
           (double)b->o.duration_ns / (double)NS_PER_S);
    printf("broker    %s\n", json_string_value(json_object_get(b->broker, "durability_text")));
    printf("\n%10s %10s %9s %9s %9s %10s\n", "wanted/s", "achieved/s", "p50 ms", "p99 ms",
           "p99.9 ms", "max ms");
    (void)fflush(stdout);
}

static void tell(struct sweep *sweep, const struct run *run)
{
    struct bench *b = sweep->b;
    const struct invocation *inv = b->s->inv;
    json_t *row = json_of_row(run, b);
    must(row != NULL);
    if (sweep->runs) {
        json_t *whole = bench_json(b, &run->verdict);
        (void)json_object_set(whole, "sweep", row);
        (void)json_array_append_new(sweep->runs, whole);
    }
    bench_live_clear(b);
    if (format_of(inv) == FORMAT_NDJSON) {
        json_t *object = json_copy(row);
        (void)json_object_set_new(object, "type", json_string("rate"));
        print_object(inv, object);
        (void)fflush(stdout);
    } else if (format_of(inv) != FORMAT_JSON) {
        print_row(run, b);
    }
    (void)json_array_append_new(sweep->rows, row);
}

/* ---- running ---- */

static int run_at(struct bench *b, double rate)
{
    b->o.rate = rate;
    bench_run_forget(b);
    int code = bench_schedule_begin(b);
    if (code == EXIT_OK && !b->conns)
        code = bench_conns_open(b);
    if (code != EXIT_OK)
        return code;
    code = bench_run(b);
    bench_drain(b, NULL);
    if (b->in_flight > 0) /* nothing of this run may be in the next one */
        bench_conns_close(b);
    if (code == EXIT_OK && bench_interrupted())
        code = EXIT_INTERRUPTED;
    if (code == EXIT_OK && b->measure.acked == 0) {
        char text[RATE_SIZE];
        complain(b->s->inv, "the broker has acknowledged nothing of %s/s", rate_text(text, rate));
        code = EXIT_UNREACHABLE;
    }
    return code;
}

static enum sweep_outcome run_rate(void *argument, double rate)
{
    struct sweep *sweep = argument;
    struct run run;
    sweep->code = run_at(sweep->b, rate);
    if (sweep->code != EXIT_OK)
        return SWEEP_ENDED;
    judge(&run, sweep->b);
    tell(sweep, &run);
    return run.outcome;
}

/* ---- what came of it ---- */

static const char *bound_of(const struct knee *knee)
{
    if (knee->held <= 0)
        return "none";
    return knee->missed > 0 && knee->invalid <= 0 && !knee->ended ? "exact" : "at_least";
}

static void print_knee(const struct knee *knee)
{
    char held[RATE_SIZE];
    char missed[RATE_SIZE];
    char invalid[RATE_SIZE];
    (void)rate_text(held, knee->held);
    (void)rate_text(missed, knee->missed);
    (void)rate_text(invalid, knee->invalid);
    printf("\nknee      ");
    if (knee->held <= 0)
        printf("none: no rate held");
    else
        printf("%s%s/s, the highest rate that held",
               strcmp(bound_of(knee), "exact") == 0 ? "" : "at least ", held);
    if (knee->invalid > 0)
        printf("; at %s/s the generator was the limit", invalid);
    if (knee->missed > 0)
        printf("; %s/s did not", missed);
    if (knee->invalid <= 0 && knee->missed <= 0 && !knee->ended)
        printf("; none was too much");
    puts(knee->ended ? "; the search was not complete" : "");
}

static json_t *json_of_knee(const struct knee *knee)
{
    const struct {
        const char *name;
        double rate;
    } all[] = {
        {"rate", knee->held}, {"missed_rate", knee->missed}, {"invalid_rate", knee->invalid}};
    json_t *object = json_pack("{s:s, s:b}", "bound", bound_of(knee), "complete", !knee->ended);
    for (size_t i = 0; i < array_count(all); i++)
        (void)json_object_set_new(object, all[i].name,
                                  all[i].rate > 0 ? json_real(all[i].rate) : json_null());
    return object;
}

static void tell_knee(const struct sweep *sweep, const struct knee *knee)
{
    const struct bench *b = sweep->b;
    const struct invocation *inv = b->s->inv;
    char text[RATE_SIZE];
    switch (format_of(inv)) {
    case FORMAT_TEXT:
    case FORMAT_WIDE:
        print_knee(knee);
        break;
    case FORMAT_AWK:
        printf("knee\t%s\t%s\n", knee->held > 0 ? rate_text(text, knee->held) : "-",
               bound_of(knee));
        break;
    case FORMAT_NDJSON: {
        json_t *object = json_of_knee(knee);
        (void)json_object_set_new(object, "type", json_string("knee"));
        print_object(inv, object);
        break;
    }
    case FORMAT_JSON:
        print_object(inv, json_pack("{s:s, s:s, s:O, s:O, s:o}", "type", "sweep", "topic",
                                    b->o.topic, "broker", b->broker, "rates", sweep->rows, "knee",
                                    json_of_knee(knee)));
        break;
    }
}

static int finish(const struct sweep *sweep, const struct knee *knee)
{
    const struct invocation *inv = sweep->b->s->inv;
    const char *out = option_text(inv, "out");
    if (json_array_size(sweep->rows) == 0)
        return sweep->code; /* why was said */
    tell_knee(sweep, knee);
    if (out && json_dump_file(sweep->runs, out, JSON_COMPACT) != 0) {
        complain(inv, "cannot write %s: %s", out, strerror(errno));
        return sweep->code != EXIT_OK ? sweep->code : EXIT_FAILED;
    }
    if (sweep->code != EXIT_OK)
        return sweep->code;
    return knee->held <= 0 || knee->invalid > 0 ? EXIT_INVALID : EXIT_OK;
}

static int sweep_all(struct sweep *sweep)
{
    struct bench *b = sweep->b;
    const struct invocation *inv = b->s->inv;
    struct sweep_plan plan = {.rates = &sweep->rates, .refine = 3, .all = option_on(inv, "all")};
    if (!option_number(inv, "refine", 0, 64, &plan.refine))
        return EXIT_USAGE;
    int code = bench_schedule_begin(b); /* what is wrong with --arrival is said first */
    if (code == EXIT_OK)
        code = bench_lanes_find(b);
    if (code == EXIT_OK)
        code = bench_broker_facts(b);
    if (code != EXIT_OK)
        return code;
    bench_batches_init(b);
    print_head(sweep);
    const struct knee knee = sweep_search(&plan, run_rate, sweep);
    bench_conns_close(b);
    bench_live_clear(b);
    code = finish(sweep, &knee);
    bench_batches_fini(b);
    return code;
}

static int sweep_run(struct session *s)
{
    struct sweep sweep = {.b = bench_new(s, false), .rows = json_array()};
    if (option_on(s->inv, "out"))
        sweep.runs = json_array();
    int code = bench_sweep_read(&sweep.b->o, s, &sweep.rates);
    if (code == EXIT_OK)
        code = sweep_all(&sweep);
    json_decref(sweep.rows);
    json_decref(sweep.runs);
    bench_free(sweep.b);
    return code;
}

int cmd_bench_sweep(struct invocation *inv)
{
    return bench_session(inv, SESSION_POOL_BYTES, sweep_run);
}
