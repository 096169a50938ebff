/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/metrics.h"

#include "core/group/groups.h"
#include "core/quota.h"
#include "io/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 100000U

const struct metric_info metric_infos[METRIC_COUNT] = {
#define METRIC(id_, kind_, unit_, name_, help_, value_)                                            \
    [METRIC_##                                                                                     \
        id_] = {.name = (name_), .help = (help_), .kind = METRIC_##kind_, .unit = METRIC_##unit_},
#include "tools/millrace/start/metrics.def"
};

/* ---- on the shard ---- */

static void copy_control(struct metrics_values *to, const struct broker_shard *bs)
{
    to->ready = bs->broker->ready && !bs->broker->stopping;
    if (!bs->image)
        return;
    to->topics = bs->image->topic_count;
    to->partitions = bs->image->partition_count;
    (void)snprintf(to->cluster_id, sizeof(to->cluster_id), "%s", bs->image->cluster_id);
}

static void copy_histograms(struct metrics_values *values, const struct broker_shard *bs)
{
    const struct shard *sh = bs->sh;
    struct durations *to = values->histogram;
#define HISTOGRAM(id, name, help, fill)                                                            \
    fill;                                                                                          \
    to++;
#include "tools/millrace/start/metrics.def"
    must(to == values->histogram + METRIC_HISTOGRAMS);
    memcpy(values->times, bs->net.times_of, sizeof(values->times));
}

static void copy_values(struct metrics_values *to, const struct broker_shard *bs)
{
    const struct shard *sh = bs->sh;
    const struct net_shard *net = &bs->net;
    const struct io_counts *io = io_counts(sh->io);
    struct log_counts counted = {0};
    const struct log_counts *logs = &counted;
    const char *reason;
    const uint32_t offline = broker_logs_offline(bs, &reason);
    broker_logs_counts(bs, &counted);
#define METRIC(id, kind, unit, name, help, expression) to->value[METRIC_##id] = (expression);
#include "tools/millrace/start/metrics.def"
    copy_histograms(to, bs);
    memcpy(to->closed, net->closed, sizeof(to->closed));
    memcpy(to->stalls, sh->stalls_of, sizeof(to->stalls));
    memcpy(to->requests, net->requests_of, sizeof(to->requests));
    (void)snprintf(to->offline_reason, sizeof(to->offline_reason), "%s", reason);
    if (sh->id == CONTROL_SHARD)
        copy_control(to, bs);
}

static void arm(struct metrics_probe *probe)
{
    io_read(probe->bs->sh->io, &probe->op, probe->file, &probe->word, sizeof(probe->word), 0);
}

static void on_asked(struct io_op *op)
{
    struct metrics_probe *probe = container_of(op, struct metrics_probe, op);
    struct metrics *m = probe->metrics;
    shard_step(probe->bs->sh, "metrics");
    uint64_t asked = __atomic_load_n(&probe->asked, __ATOMIC_ACQUIRE);
    if (asked != probe->answered) {
        copy_values(&probe->copy, probe->bs);
        __atomic_store_n(&probe->answered, asked, __ATOMIC_RELEASE);
    }
    if (!__atomic_load_n(&m->ending, __ATOMIC_ACQUIRE))
        arm(probe);
    else if (__atomic_sub_fetch(&m->armed, 1, __ATOMIC_ACQ_REL) == 0)
        m->ended(m->user);
}

void metrics_shard_begin(struct metrics *m, struct shard *sh)
{
    struct metrics_probe *probe = &m->probes[sh->id];
    probe->bs = broker_shard_of(sh);
    probe->op.done = on_asked;
    arm(probe);
}

static void ring(const struct metrics_probe *probe)
{
    uint64_t one = 1;
    ssize_t wrote = write(probe->file, &one, sizeof(one));
    must(wrote == (ssize_t)sizeof(one));
}

void metrics_end(struct metrics *m, void (*ended)(void *user), void *user)
{
    m->ended = ended;
    m->user = user;
    __atomic_store_n(&m->ending, true, __ATOMIC_RELEASE);
    for (uint16_t i = 0; i < m->count; i++)
        ring(&m->probes[i]);
}

/* ---- on the asker's thread ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static bool is_answered(const struct metrics_probe *probe)
{
    return __atomic_load_n(&probe->answered, __ATOMIC_ACQUIRE) == probe->asked;
}

static void ask(struct metrics_probe *probe)
{
    if (!is_answered(probe))
        return; /* a stuck one is not asked again */
    probe->asked_ns = now_ns();
    __atomic_store_n(&probe->asked, probe->asked + 1, __ATOMIC_RELEASE);
    ring(probe);
}

/* False while its answer may still come. */
static bool take(struct metrics_probe *probe, uint64_t until_ns)
{
    probe->silent_ns = 0;
    if (is_answered(probe)) {
        probe->seen = probe->copy;
        return true;
    }
    probe->silent_ns = now_ns() - probe->asked_ns;
    return now_ns() >= until_ns;
}

void metrics_collect(struct metrics *m)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    uint64_t until_ns = now_ns() + METRICS_PATIENCE_NS;
    for (uint16_t i = 0; i < m->count; i++)
        ask(&m->probes[i]);
    for (uint16_t i = 0; i < m->count; i++)
        while (!take(&m->probes[i], until_ns))
            (void)nanosleep(&pause, NULL);
}

/* ---- life ---- */

bool metrics_init(struct metrics *m, struct broker *broker)
{
    *m = (struct metrics){
        .broker = broker, .count = broker->shard_count, .armed = broker->shard_count};
    m->probes = mem_zalloc(m->count * sizeof(*m->probes));
    for (uint16_t i = 0; i < m->count; i++) {
        m->probes[i].metrics = m;
        m->probes[i].file = eventfd(0, EFD_CLOEXEC);
        if (m->probes[i].file < 0)
            return false;
    }
    return true;
}

void metrics_fini(struct metrics *m)
{
    for (uint16_t i = 0; i < m->count; i++)
        if (m->probes[i].file > 0)
            (void)close(m->probes[i].file);
    mem_free(m->probes);
}
