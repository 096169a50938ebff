/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scrub.h"

#include "core/log/log_scrub.h"
#include "io/diag.h"
#include "io/mem.h"

#define LOOK_NS    15000000000ULL /* between looks at the settings */
#define FIRST_NS   60000000000ULL /* after a start others have more to do */
#define STEPS      16U            /* partitions that are gone, in one task */
#define FILE_COST  (64U << 10)    /* opening one costs as much as reading so much */
#define REST_TIMES 4U
#define NS_PER_MS  1000000ULL
#define SECOND     1e9

struct scrub {
    struct broker_shard *bs;
    struct timer timer;
    struct task task;
    uint64_t due_ns; /* the next pass */

    /* the pass under way */
    struct partition_key *keys; /* of the partitions when it began */
    uint32_t key_count;
    uint32_t next;
    uint64_t bytes; /* of them together, about */
    uint64_t began_ns;
    struct log_scrub *reader;

    /* the partition under way */
    struct partition *pt;
    bool new_file;
    uint64_t step_ns; /* when its last step began */
    bool resting;

    bool stopping;
    void (*stopped)(void *user);
    void *user;
};

static const struct broker_conf *conf_of(const struct scrub *sc)
{
    const struct image *image = sc->bs->image;
    return image ? image->broker_conf : &sc->bs->broker->conf->broker;
}

static uint64_t period_ns(const struct scrub *sc)
{
    return (uint64_t)min_i64(conf_of(sc)->scrub_period_ms, INT64_MAX / 1000000) * NS_PER_MS;
}

static bool may_go_on(const struct scrub *sc)
{
    return !sc->stopping && conf_of(sc)->scrub_period_ms >= 0;
}

static bool may_read(const struct partition *pt)
{
    return !pt->closing && !broker_logs_failed(pt);
}

static void look_again(struct scrub *sc)
{
    uint64_t now_ns = io_now_ns(sc->bs->sh->io);
    uint64_t at_ns = now_ns + LOOK_NS;
    if (conf_of(sc)->scrub_period_ms >= 0)
        at_ns = min_u64(at_ns, max_u64(sc->due_ns, now_ns + NS_PER_MS));
    timer_set(sc->bs->sh, &sc->timer, at_ns);
}

/* ---- a pass ---- */

static void say_what_was_done(const struct scrub *sc)
{
    const struct log_scrub_result *done = log_scrub_result(sc->reader);
    uint64_t took_ns = io_now_ns(sc->bs->sh->io) - sc->began_ns;
    diag_info(sc->bs->sh, "log.scrubbed",
              "partitions=%u segments=%u batches=%llu bytes=%llu damaged=%u unreadable=%u "
              "indexes_removed=%u took_ms=%llu",
              sc->key_count, done->segments, (unsigned long long)done->batches,
              (unsigned long long)done->bytes, done->damaged, done->unreadable, done->indexes,
              (unsigned long long)(took_ns / NS_PER_MS));
}

/* Once, whatever the number of directories. */
static void count_pass(const struct broker_shard *bs)
{
    uint32_t i = 0;
    while (i + 1 < LOG_DIRS_MAX && bs->logs.of[i] == NULL)
        i++;
    if (bs->logs.of[i] != NULL)
        log_shard_scrubbed(bs->logs.of[i]);
}

static void pass_end(struct scrub *sc)
{
    const bool whole = sc->next == sc->key_count && may_go_on(sc);
    if (whole) {
        say_what_was_done(sc);
        count_pass(sc->bs);
    }
    log_scrub_free(sc->reader);
    sc->reader = NULL;
    mem_free(sc->keys);
    sc->keys = NULL;
    if (sc->stopping) {
        if (sc->stopped)
            sc->stopped(sc->user);
        return;
    }
    sc->due_ns = sc->began_ns + (whole ? period_ns(sc) : 0);
    look_again(sc);
}

static void pass_on(struct scrub *sc)
{
    if (sc->next == sc->key_count || !may_go_on(sc))
        pass_end(sc);
    else
        shard_ready(sc->bs->sh, &sc->task);
}

/* ---- one partition ---- */

static void on_left(void *user)
{
    struct scrub *sc = user;
    partition_unpinned(sc->pt);
    sc->pt = NULL;
    pass_on(sc);
}

static void partition_end(struct scrub *sc)
{
    log_scrub_leave(sc->reader, on_left, sc);
}

/* Before the next step. */
static uint64_t rest_ns(const struct scrub *sc, uint64_t bytes)
{
    const struct broker_conf *conf = conf_of(sc);
    const double most = (double)conf->scrub_max_bytes_per_second / sc->bs->broker->shard_count;
    const double period_s = (double)max_u64(period_ns(sc), 1) / SECOND;
    double rate = (double)sc->bytes / period_s;
    if (rate > most)
        rate = most;
    double took = (double)(io_now_ns(sc->bs->sh->io) - sc->step_ns);
    double rest = (double)(bytes + (sc->new_file ? FILE_COST : 0)) / rate * SECOND;
    if (rest < took * REST_TIMES)
        rest = took * REST_TIMES;
    return rest < (double)LOOK_NS ? (uint64_t)rest : LOOK_NS;
}

static void on_step_done(void *user)
{
    struct scrub *sc = user;
    sc->new_file = !log_scrub_more(sc->reader);
    if (!may_go_on(sc) || !may_read(sc->pt) || (sc->new_file && !log_scrub_next(sc->reader))) {
        partition_end(sc);
        return;
    }
    sc->resting = true;
    timer_set(sc->bs->sh, &sc->timer,
              io_now_ns(sc->bs->sh->io) + rest_ns(sc, log_scrub_result(sc->reader)->step_bytes));
}

static void step(struct scrub *sc)
{
    sc->resting = false;
    sc->step_ns = io_now_ns(sc->bs->sh->io);
    log_scrub_step(sc->reader, on_step_done, sc);
}

static void on_task(struct shard *sh, struct task *task)
{
    struct scrub *sc = container_of(task, struct scrub, task);
    (void)sh;
    for (unsigned i = 0; i < STEPS && sc->next < sc->key_count && may_go_on(sc); i++) {
        struct partition *pt = partition_find(&sc->bs->partitions, &sc->keys[sc->next++]);
        if (pt == NULL || !may_read(pt))
            continue;
        sc->pt = pt;
        partition_pinned(pt);
        log_scrub_enter(sc->reader, pt->log);
        if (log_scrub_next(sc->reader))
            step(sc);
        else
            partition_end(sc);
        return; /* it goes on by pass_on() */
    }
    pass_on(sc);
}

static void pass_begin(struct scrub *sc)
{
    const struct partition_table *table = &sc->bs->partitions;
    struct io *io = sc->bs->sh->io;
    uint32_t first = table->size > 0 ? (uint32_t)(io_random(io) % table->size) : 0;
    sc->began_ns = io_now_ns(io);
    sc->keys = mem_alloc((table->count + 1) * sizeof(sc->keys[0]));
    sc->key_count = 0;
    sc->next = 0;
    sc->bytes = 0;
    for (uint32_t i = 0; i < table->size; i++) {
        const struct partition *pt = table->slots[(first + i) % table->size];
        if (pt == NULL)
            continue;
        sc->keys[sc->key_count++] = pt->key;
        sc->bytes += max_u64(pt->log->size_bytes, FILE_COST);
    }
    sc->reader = log_scrub_new(sc->bs->broker->options.fs);
    pass_on(sc);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct scrub *sc = container_of(timer, struct scrub, timer);
    if (sc->resting && may_go_on(sc) && may_read(sc->pt)) {
        step(sc);
    } else if (sc->resting) {
        sc->resting = false;
        partition_end(sc);
    } else if (may_go_on(sc) && io_now_ns(sh->io) >= sc->due_ns) {
        pass_begin(sc);
    } else {
        look_again(sc);
    }
}

/* ---- life ---- */

struct scrub *scrub_start(struct broker_shard *bs)
{
    struct scrub *sc = mem_zalloc(sizeof(*sc));
    sc->bs = bs;
    sc->timer = (struct timer){.fn = on_timer, .name = "log.scrub"};
    sc->task = (struct task){.fn = on_task, .name = "log.scrub"};
    uint64_t wait_ns = FIRST_NS;
    if (conf_of(sc)->scrub_period_ms >= 0)
        wait_ns = min_u64(wait_ns, period_ns(sc));
    sc->due_ns = io_now_ns(bs->sh->io) + wait_ns;
    look_again(sc);
    return sc;
}

void scrub_stop(struct scrub *sc, void (*done)(void *user), void *user)
{
    sc->stopping = true;
    timer_cancel(sc->bs->sh, &sc->timer);
    if (sc->keys == NULL) {
        done(user);
        return;
    }
    sc->stopped = done;
    sc->user = user;
    if (!sc->resting)
        return; /* what is under way comes to its end */
    sc->resting = false;
    partition_end(sc);
}

void scrub_free(struct scrub *sc)
{
    mem_free(sc);
}
