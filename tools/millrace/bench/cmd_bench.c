/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench produce`, `consume`, `e2e` and `verify`: a run from its begin to its report.
 */
#include "io/mem.h"
#include "io/threads.h"
#include "tools/millrace/bench/bench_control.h"
#include "tools/millrace/bench/bench_work.h"

#include <unistd.h>

/* A core that looks for answers all the time is one that nobody else has, so there has to be
 * another. Where a load is pinned to one CPU (taskset) the others count, too. */
static int spin_allowed(const struct invocation *inv)
{
    struct machine machine;
    machine_read(&machine, "");
    if (machine.quota_percent > 0) {
        complain(inv, "--spin takes a whole core, and this process may use %.2f of one (%s)",
                 machine.quota_percent / 100.0, machine.quota_source);
        return EXIT_FAILED;
    }
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 2) {
        complain(inv, "--spin takes a whole core, and this machine has no other");
        return EXIT_FAILED;
    }
    note(inv,
         "note: --spin keeps one of this machine's %ld cores busy; a broker here needs others "
         "(start --cores)",
         cores);
    return EXIT_OK;
}

int bench_session(struct invocation *inv, uint64_t pool_bytes, int (*work)(struct session *s))
{
    const bool spins = option_on(inv, "spin");
    const struct session_options options = {
        .pool_bytes = pool_bytes, .spin_ns = spins ? NS_PER_S : 0, /* longer than any turn sleeps */
    };
    int code = spins ? spin_allowed(inv) : EXIT_OK;
    return code == EXIT_OK ? session_run_as(inv, &options, work) : code;
}

struct bench *bench_new(struct session *s, bool e2e)
{
    struct bench *b = mem_zalloc(sizeof(*b));
    b->s = s;
    b->counted = -1;
    measure_init(&b->measure, e2e);
    if (option_on(s->inv, "spin"))
        b->measure.spun_ns = &io_counts(s->sh->io)->spun_ns;
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
    json_decref(b->client);
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
    return b->o.agents || b->o.client ? load_there(b) : load_here(b);
}

static int load(struct session *s, const char *kind, bool e2e)
{
    struct bench *b = bench_new(s, e2e);
    struct work *work = work_mine();
    int code = bench_options_read(&b->o, s, kind);
    if (code == EXIT_OK)
        code = control_refuse(&b->o, s);
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

static int read_here(struct bench *b)
{
    int code = bench_readers_open(b, (uint32_t)b->o.readers);
    if (code == EXIT_OK)
        code = bench_read_run(b);
    bench_readers_close(b);
    return code;
}

static int consume(struct session *s)
{
    struct bench *b = bench_new(s, false);
    int code = bench_read_options(&b->o, s);
    if (code == EXIT_OK)
        code = control_refuse(&b->o, s);
    if (code == EXIT_OK)
        code = bench_lanes_find(b);
    if (code == EXIT_OK)
        code = bench_broker_facts(b);
    if (code == EXIT_OK)
        code = b->o.client ? bench_fleet_run(b) : read_here(b);
    if (b->epoch_ns > 0)
        code = bench_report(b, code);
    bench_free(b);
    return code;
}

int cmd_bench_consume(struct invocation *inv)
{
    return bench_session(inv, BENCH_POOL_BYTES, consume);
}

int cmd_bench_e2e(struct invocation *inv)
{
    return bench_session(inv, SESSION_POOL_BYTES, e2e);
}

int cmd_bench_produce(struct invocation *inv)
{
    return bench_session(inv, SESSION_POOL_BYTES, produce);
}

int cmd_bench_verify(struct invocation *inv)
{
    return bench_session(inv, SESSION_POOL_BYTES, verify);
}
