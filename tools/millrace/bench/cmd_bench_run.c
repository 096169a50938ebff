/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench run`: a workload of the OpenMessaging benchmark. Beside the load, in its turns:
 * the search for a rate, a backlog that grows while nobody reads and is then read, and samples.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench_omb.h"
#include "tools/millrace/bench/bench_search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG_LEFT    1000             /* records that are as good as none */
#define BACKLOG_LOOK_NS (10 * NS_PER_MS) /* how often it is looked at */

enum backlog_phase { BACKLOG_NONE, BACKLOG_WAITS, BACKLOG_GROWS, BACKLOG_SHRINKS, BACKLOG_READ };

struct run {
    struct plan plan;
    struct omb omb;
    struct search search;
    uint64_t searched_ns; /* when its period began; 0: not yet */
    uint64_t searched_acked, searched_read;
    enum backlog_phase phase;
    uint64_t phase_ns; /* when it began */
    double grew_s, shrank_s;
};

/* ---- beside the load ---- */

static uint64_t search_look(struct run *run, struct bench *b, uint64_t now_ns)
{
    const uint64_t acked = b->measure.acked;
    const uint64_t read =
        b->o.subscriptions > 0 ? b->read_records / (uint64_t)b->o.subscriptions : acked;
    if (run->searched_ns > 0 && now_ns < run->searched_ns + SEARCH_PERIOD_NS)
        return run->searched_ns + SEARCH_PERIOD_NS;
    if (run->searched_ns > 0) {
        const struct search_period period = {
            .seconds = (double)(now_ns - run->searched_ns) / (double)NS_PER_S,
            .acked = (double)(acked - run->searched_acked),
            .read = (double)(read - run->searched_read),
            .unread = acked > read ? (double)(acked - read) : 0,
        };
        bench_rate_change(b, search_next(&run->search, &period));
    }
    run->searched_ns = now_ns;
    run->searched_acked = acked;
    run->searched_read = read;
    return now_ns + SEARCH_PERIOD_NS;
}

static double phase_next(struct run *run, enum backlog_phase phase, uint64_t now_ns)
{
    const double seconds = (double)(now_ns - run->phase_ns) / (double)NS_PER_S;
    run->phase = phase;
    run->phase_ns = now_ns;
    return seconds;
}

/* It has as long as it takes, and --duration begins when it is read. */
static uint64_t backlog_look(struct run *run, struct bench *b, uint64_t now_ns)
{
    const int64_t left = run->omb.backlog;
    const int64_t wanted = run->plan.backlog_bytes / b->o.record_bytes;
    const double rest = (1 - run->plan.workload.drain_ratio) * (double)wanted;
    switch (run->phase) {
    case BACKLOG_NONE:
        return UINT64_MAX;
    case BACKLOG_WAITS:
        b->until_ns = UINT64_MAX;
        if (b->measure.began_ns == 0)
            return UINT64_MAX;
        (void)phase_next(run, BACKLOG_GROWS, now_ns);
        bench_readers_pause(b);
        break;
    case BACKLOG_GROWS:
        if (left < wanted)
            break;
        run->grew_s = phase_next(run, BACKLOG_SHRINKS, now_ns);
        bench_readers_resume(b);
        break;
    case BACKLOG_SHRINKS:
        if (left > max_i64(BACKLOG_LEFT, (int64_t)rest))
            break;
        run->shrank_s = phase_next(run, BACKLOG_READ, now_ns);
        if (b->o.duration_ns > 0)
            b->until_ns = now_ns + b->o.duration_ns;
        return UINT64_MAX;
    case BACKLOG_READ:
        return UINT64_MAX;
    }
    return now_ns + BACKLOG_LOOK_NS;
}

static uint64_t beside(struct bench *b, uint64_t now_ns)
{
    struct run *run = b->user;
    uint64_t then_ns = omb_look(&run->omb, b, now_ns);
    if (b->o.searches)
        then_ns = min_u64(then_ns, search_look(run, b, now_ns));
    return min_u64(then_ns, backlog_look(run, b, now_ns));
}

/* ---- telling ---- */

/* How many records subscriptions should have read ... */
static uint64_t wanted_reads(const struct bench *b)
{
    return b->measure.acked * (uint64_t)b->o.subscriptions;
}

/* ... and have; what others have sent to the topics is not counted. */
static uint64_t own_reads(const struct bench *b)
{
    return b->read_records - b->foreign;
}

static json_t *json_of_run(const struct run *run, const struct bench *b)
{
    json_t *workload = plan_json(&run->plan, &b->o);
    must(workload != NULL);
    (void)json_object_set_new(workload, "read", json_integer((json_int_t)own_reads(b)));
    (void)json_object_set_new(workload, "to_be_read", json_integer((json_int_t)wanted_reads(b)));
    (void)json_object_set_new(workload, "idle_consumers",
                              json_integer((json_int_t)b->idle_consumers));
    if (b->o.searches)
        (void)json_object_set_new(workload, "searched_rate", json_real(run->search.rate));
    if (run->phase != BACKLOG_NONE)
        (void)json_object_set_new(workload, "backlog",
                                  json_pack("{s:b, s:b, s:f, s:f}", "built",
                                            run->phase > BACKLOG_GROWS, "drained",
                                            run->phase == BACKLOG_READ, "build_s", run->grew_s,
                                            "drain_s", run->shrank_s));
    return json_pack("{s:o}", "workload", workload);
}

static void print_backlog(const struct run *run, FILE *to)
{
    if (run->phase == BACKLOG_NONE)
        return;
    fprintf(to, "backlog   %.0f MiB ", (double)run->plan.backlog_bytes / 1048576.0);
    if (run->phase <= BACKLOG_GROWS)
        fputs("were not there in time\n", to);
    else if (run->phase == BACKLOG_SHRINKS)
        fprintf(to, "built in %.1f s, and not read in time\n", run->grew_s);
    else
        fprintf(to, "built in %.1f s, read in %.1f s\n", run->grew_s, run->shrank_s);
}

static char *remarks(const struct run *run, const struct bench *b)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    must(to != NULL);
    plan_print(&run->plan, &b->o, to);
    if (b->idle_consumers > 0)
        fprintf(to, "          %u consumers have no partition\n", b->idle_consumers);
    if (b->o.searches)
        fprintf(to, "search    ended at %.0f/s; the rate below is what went through\n",
                run->search.rate);
    print_backlog(run, to);
    (void)fclose(to);
    char *copy = mem_strdup(text);
    free(text);
    return copy;
}

static int omb_write(struct run *run, const struct bench *b)
{
    const char *path = option_text(b->s->inv, "omb");
    json_t *object = omb_json(&run->omb, b, &run->plan);
    int code = EXIT_OK;
    if (path && json_dump_file(object, path, JSON_INDENT(2)) != 0) {
        complain(b->s->inv, "cannot write %s: %s", path, strerror(errno));
        code = EXIT_FAILED;
    }
    json_decref(object);
    return code;
}

/* Every record that was acknowledged is read by each subscription, and none twice. A record of
 * which nobody knows may be there or not. */
static int reads_check(const struct bench *b)
{
    const uint64_t wanted = wanted_reads(b);
    const uint64_t read = own_reads(b);
    const bool certain = b->counted >= 0;
    if (read >= wanted && (!certain || read == wanted))
        return EXIT_OK;
    complain(b->s->inv,
             "%llu records were read, and %llu should have been: %llu acknowledged for "
             "%lld subscriptions",
             (unsigned long long)read, (unsigned long long)wanted,
             (unsigned long long)b->measure.acked, (long long)b->o.subscriptions);
    return EXIT_VERIFY;
}

static int tell(struct run *run, struct bench *b, int code)
{
    b->members = json_of_run(run, b);
    b->remarks = remarks(run, b);
    const int written = omb_write(run, b);
    code = bench_report(b, code);
    if (code != EXIT_OK && code != EXIT_INVALID && code != EXIT_PARTLY)
        return code;
    const int read = reads_check(b);
    if (read != EXIT_OK)
        return read;
    return written != EXIT_OK ? written : code;
}

/* ---- running ---- */

static int load(struct run *run, struct session *s, const struct bench_options *o)
{
    struct bench *b = bench_new(s, o->subscriptions > 0);
    b->o = *o;
    b->user = run;
    b->beside = beside;
    search_begin(&run->search);
    if (run->plan.backlog_bytes > 0)
        run->phase = BACKLOG_WAITS;
    int code = bench_load(b);
    if (b->epoch_ns > 0)
        code = tell(run, b, code);
    if (run->plan.own_topics && !option_on(s->inv, "keep") && b->partition_count > 0)
        bench_topics_remove(b);
    bench_free(b);
    return code;
}

static int run_workload(struct session *s)
{
    struct bench_options o = {0};
    struct run *run = mem_zalloc(sizeof(*run));
    omb_init(&run->omb);
    int code = plan_read(&run->plan, s, &o);
    if (code == EXIT_OK)
        code = load(run, s, &o);
    plan_fini(&run->plan);
    omb_fini(&run->omb);
    mem_free(run);
    return code;
}

int cmd_bench_run(struct invocation *inv)
{
    return bench_session(inv, BENCH_POOL_BYTES, run_workload);
}
