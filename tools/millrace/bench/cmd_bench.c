/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench produce`, `consume`, `e2e` and `verify`: a run from its begin to its report.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench_work.h"

struct bench *bench_new(struct session *s, bool e2e)
{
    struct bench *b = mem_zalloc(sizeof(*b));
    b->s = s;
    b->counted = -1;
    measure_init(&b->measure, e2e);
    bench_prepare();
    return b;
}

void bench_free(struct bench *b)
{
    bench_lanes_fini(b);
    json_decref(b->broker);
    json_decref(b->members);
    mem_free(b->remarks);
    json_decref(b->agents);
    measure_fini(&b->measure);
    if (b->checks)
        checks_fini(b->checks);
    mem_free(b->checks);
    mem_free(b);
}

/* ---- sending, and reading back ---- */

static int readers_start(struct bench *b)
{
    int code;
    if (!b->o.stamped)
        return EXIT_OK;
    if (b->o.subscriptions > 0) {
        code = bench_subscribers_open(b);
    } else {
        b->checks = mem_alloc(sizeof(*b->checks));
        checks_init(b->checks, b->lane_count);
        code = bench_readers_open(b, (uint32_t)b->o.readers);
    }
    if (code == EXIT_OK)
        bench_readers_begin(b);
    return code;
}

/* How many records came, by the broker's offsets; the readers go on to where the lanes end now.
 * What failed, or was to be in one replica only, may be in them or not. */
static int count(struct bench *b)
{
    const int64_t before = bench_lanes_end(b);
    const bool all = b->o.acks == -1 && b->measure.lost == 0 && b->in_flight == 0;
    int code = EXIT_OK;
    if (b->o.stamped)
        code = bench_readers_extend(b);
    else if (all)
        code = bench_lanes_offsets(b);
    if (code == EXIT_OK && all)
        b->counted = bench_lanes_end(b) - before;
    return code;
}

/* Sends, waits for the answers, and then until all that the broker has is read. */
static int send_and_read(struct bench *b)
{
    struct work *work = work_mine();
    int code = bench_conns_open(b);
    if (code == EXIT_OK)
        code = readers_start(b);
    if (code == EXIT_OK && work)
        code = work_wait(work, b);
    if (code != EXIT_OK)
        return code;
    code = bench_run(b);
    bench_drain(b, NULL);
    if (code == EXIT_OK && !work)
        code = count(b);
    if (code == EXIT_OK && b->o.stamped)
        bench_drain(b, bench_readers_pending);
    return code;
}

/* By this process. */
static int load_here(struct bench *b)
{
    bench_batches_init(b);
    int code = send_and_read(b);
    bench_readers_close(b);
    bench_conns_close(b); /* what was not answered by now has failed */
    bench_batches_fini(b);
    return code;
}

/* By others. */
static int load_there(struct bench *b)
{
    int code = bench_fleet_run(b);
    return code == EXIT_OK ? count(b) : code;
}

int bench_load(struct bench *b)
{
    int code = bench_schedule_begin(b);
    if (code == EXIT_OK)
        code = bench_lanes_find(b);
    if (code == EXIT_OK)
        code = bench_broker_facts(b);
    if (code != EXIT_OK)
        return code;
    return b->o.agents ? load_there(b) : load_here(b);
}

static int load(struct session *s, const char *kind, bool e2e)
{
    struct bench *b = bench_new(s, e2e);
    struct work *work = work_mine();
    int code = bench_options_read(&b->o, s, kind);
    if (code == EXIT_OK && work)
        work_divide(work, &b->o);
    if (code == EXIT_OK)
        code = bench_load(b);
    if (b->epoch_ns > 0)
        code = work ? work_report(work, b, code) : bench_report(b, code);
    bench_free(b);
    return code;
}

static int produce(struct session *s)
{
    return load(s, "produce", false);
}

static int e2e(struct session *s)
{
    return load(s, "e2e", true);
}

static int verify(struct session *s)
{
    return load(s, "verify", true);
}

/* ---- reading alone ---- */

static int consume(struct session *s)
{
    struct bench *b = bench_new(s, false);
    int code = bench_read_options(&b->o, s);
    if (code == EXIT_OK)
        code = bench_lanes_find(b);
    if (code == EXIT_OK)
        code = bench_broker_facts(b);
    if (code == EXIT_OK) {
        code = bench_readers_open(b, (uint32_t)b->o.readers);
        if (code == EXIT_OK)
            code = bench_read_run(b);
        bench_readers_close(b);
        if (b->epoch_ns > 0)
            code = bench_report(b, code);
    }
    bench_free(b);
    return code;
}

int cmd_bench_consume(struct invocation *inv)
{
    return session_run_pool(inv, BENCH_POOL_BYTES, consume);
}

int cmd_bench_e2e(struct invocation *inv)
{
    return session_run(inv, e2e);
}

int cmd_bench_produce(struct invocation *inv)
{
    return session_run(inv, produce);
}

int cmd_bench_verify(struct invocation *inv)
{
    return session_run(inv, verify);
}
