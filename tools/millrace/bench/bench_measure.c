/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/bench/bench_measure.h"

#include "io/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- what the machine did ---- */

static size_t file_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, size - 1, file) : 0;
    text[len] = 0;
    if (file)
        (void)fclose(file);
    return len;
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks of all
 * processors together. */
static void machine_times(double *busy_s, double *steal_s)
{
    char text[512];
    double fields[8] = {0};
    (void)file_text("/proc/stat", text, sizeof(text));
    char *at = strchr(text, ' ');
    for (size_t i = 0; at && i < array_count(fields); i++)
        fields[i] = strtod(at, &at);
    const double scale = (double)sysconf(_SC_CLK_TCK) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    *steal_s = fields[7] / scale;
    *busy_s = (fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]) / scale;
}

static double thread_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* How long this thread could have run and had no core: the second field of schedstat, nanoseconds.
 * What a cgroup's quota keeps from it is in there. */
static double thread_wait_s(void)
{
    char text[96];
    (void)file_text("/proc/thread-self/schedstat", text, sizeof(text));
    const char *at = strchr(text, ' ');
    return at ? (double)strtoull(at, NULL, 10) / (double)NS_PER_S : 0;
}

/* Fields 14 and 15, user and system time in ticks, counted from behind the command's name. */
double process_cpu_s(int64_t pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    (void)file_text(path, text, sizeof(text));
    char *at = strrchr(text, ')');
    double ticks = 0;
    for (int field = 2; at && field <= 15; field++) {
        if (field >= 14)
            ticks += strtod(at, NULL);
        at = strchr(at + 1, ' ');
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

int64_t process_resident_bytes(int64_t pid)
{
    char path[64];
    char text[256];
    (void)snprintf(path, sizeof(path), "/proc/%lld/statm", (long long)pid);
    (void)file_text(path, text, sizeof(text));
    char *at = strchr(text, ' ');
    return at ? (int64_t)strtoll(at, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

/* ---- the run ---- */

static struct histogram *histogram_new(void)
{
    return mem_zalloc(sizeof(struct histogram));
}

void measure_init(struct measure *m, bool e2e)
{
    *m = (struct measure){.ends_ns = UINT64_MAX};
    m->response = histogram_new();
    m->service = histogram_new();
    m->delay = histogram_new();
    m->now_response = histogram_new();
    m->now_delay = histogram_new();
    m->now_lag = histogram_new();
    if (!e2e)
        return;
    m->e2e = histogram_new();
    m->now_e2e = histogram_new();
}

void measure_fini(struct measure *m)
{
    mem_free(m->response);
    mem_free(m->service);
    mem_free(m->delay);
    mem_free(m->e2e);
    mem_free(m->now_response);
    mem_free(m->now_delay);
    mem_free(m->now_lag);
    mem_free(m->now_e2e);
    mem_free(m->seconds);
}

void measure_reset(struct measure *m)
{
    const bool e2e = m->e2e != NULL;
    const uint64_t *spun_ns = m->spun_ns;
    measure_fini(m);
    measure_init(m, e2e);
    m->spun_ns = spun_ns;
}

static double spun_s(const struct measure *m)
{
    return m->spun_ns ? (double)*m->spun_ns / (double)NS_PER_S : 0;
}

/* As a share of a core. Where the core was taken away, that struck work and looking alike. */
static double worked(const struct measure *m, double seconds)
{
    const double cpu_s = thread_cpu_s() - m->own_cpu_s;
    const double spun = (spun_s(m) - m->own_spun_s) / seconds;
    return cpu_s / seconds * (spun < 1 ? 1 - spun : 0);
}

static void second_begin(struct measure *m, uint64_t now_ns)
{
    m->now_began_ns = now_ns;
    m->own_cpu_s = thread_cpu_s();
    m->own_spun_s = spun_s(m);
    m->own_wait_s = thread_wait_s();
    machine_times(&m->machine_s, &m->steal_s);
}

void measure_begin(struct measure *m, uint64_t now_ns)
{
    m->began_ns = now_ns;
    second_begin(m, now_ns);
}

void measure_end(struct measure *m, uint64_t now_ns)
{
    m->ends_ns = now_ns;
}

double measure_seconds(const struct measure *m)
{
    return m->began_ns > 0 ? (double)(m->ends_ns - m->began_ns) / (double)NS_PER_S : 0;
}

static bool is_measured(const struct measure *m, uint64_t at_ns)
{
    return m->began_ns > 0 && at_ns >= m->began_ns && at_ns < m->ends_ns;
}

static uint64_t since(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

void measure_acked(struct measure *m, const struct acked *acked)
{
    m->acked += acked->count;
    if (is_measured(m, acked->now_ns)) {
        m->rate_records += acked->count;
        m->rate_bytes += acked->bytes;
        m->now.records += acked->count;
        m->now.bytes += acked->bytes;
    }
    if (!is_measured(m, acked->due_ns))
        return;
    const uint64_t response_ns = since(acked->due_ns, acked->now_ns);
    const uint64_t delay_ns = since(acked->due_ns, acked->sent_ns);
    m->records += acked->count;
    m->bytes += acked->bytes;
    histogram_add_n(m->response, response_ns, acked->count);
    histogram_add_n(m->service, since(acked->sent_ns, acked->now_ns), acked->count);
    histogram_add_n(m->delay, delay_ns, acked->count);
    histogram_add_n(m->now_response, response_ns, acked->count);
    histogram_add_n(m->now_delay, delay_ns, acked->count);
    histogram_add_n(m->now_lag, since(acked->planned_ns, acked->sent_ns), acked->count);
}

void measure_request(struct measure *m, uint64_t now_ns)
{
    if (!is_measured(m, now_ns))
        return;
    m->rate_requests++;
    m->now.requests++;
}

void measure_fetched(struct measure *m, uint64_t asked_ns, uint64_t now_ns)
{
    if (m->e2e) /* there are acknowledgements to be timed */
        return;
    measure_request(m, now_ns);
    if (!is_measured(m, asked_ns))
        return;
    histogram_add(m->service, since(asked_ns, now_ns));
    histogram_add(m->now_response, since(asked_ns, now_ns));
}

void measure_failed(struct measure *m, uint64_t due_ns, int code, uint64_t records)
{
    int at = code >= MEASURE_UNSENT ? code : code + 1;
    m->codes[at >= 0 && at < MEASURE_CODES ? at : 0]++;
    m->lost += records;
    if (!is_measured(m, due_ns))
        return;
    m->failed += records;
    m->now.errors += records;
}

void measure_read(struct measure *m, uint64_t now_ns, uint64_t records, uint64_t bytes)
{
    if (!is_measured(m, now_ns))
        return;
    m->arrived += records;
    m->arrived_bytes += bytes;
    m->now.arrived += records;
    m->now.arrived_bytes += bytes;
}

void measure_arrived(struct measure *m, uint64_t due_ns, uint64_t now_ns, uint64_t bytes)
{
    measure_read(m, now_ns, 1, bytes);
    if (!is_measured(m, due_ns))
        return;
    histogram_add(m->e2e, since(due_ns, now_ns));
    histogram_add(m->now_e2e, since(due_ns, now_ns));
}

/* What its histograms say. */
static void second_quantiles(struct measure *m)
{
    struct bench_second *second = &m->now;
    second->response_p50 = histogram_quantile_ns(m->now_response, 0.5);
    second->response_p99 = histogram_quantile_ns(m->now_response, 0.99);
    second->response_p999 = histogram_quantile_ns(m->now_response, 0.999);
    second->response_max = m->now_response->max_ns;
    second->response_mean = histogram_mean_ns(m->now_response);
    second->delay_p99 = histogram_quantile_ns(m->now_delay, 0.99);
    if (!m->now_e2e)
        return;
    second->e2e_p50 = histogram_quantile_ns(m->now_e2e, 0.5);
    second->e2e_p99 = histogram_quantile_ns(m->now_e2e, 0.99);
    second->e2e_max = m->now_e2e->max_ns;
}

void measure_second_keep(struct measure *m)
{
    second_quantiles(m);
    if (m->second_count == m->second_room) {
        m->second_room = m->second_room > 0 ? 2 * m->second_room : 64;
        m->seconds = mem_realloc(m->seconds, m->second_room * sizeof(*m->seconds));
    }
    m->seconds[m->second_count++] = m->now;
    m->now = (struct bench_second){0};
    histogram_clear(m->now_response);
    histogram_clear(m->now_delay);
    histogram_clear(m->now_lag);
    if (m->now_e2e)
        histogram_clear(m->now_e2e);
}

static void second_close(struct measure *m, uint64_t now_ns, uint64_t in_flight)
{
    struct bench_second *second = &m->now;
    double machine_s;
    double steal_s;
    second->seconds = (double)(now_ns - m->now_began_ns) / (double)NS_PER_S;
    machine_times(&machine_s, &steal_s);
    second->own_cpu = worked(m, second->seconds);
    second->own_wait = (thread_wait_s() - m->own_wait_s) / second->seconds;
    second->machine_cpu = (machine_s - m->machine_s) / second->seconds;
    second->steal = (steal_s - m->steal_s) / second->seconds;
    second->in_flight = in_flight;
    second->lag_p99 = histogram_quantile_ns(m->now_lag, 0.99);
    if (m->on_second)
        m->on_second(m, m->user);
    measure_second_keep(m);
}

uint64_t measure_second_end_ns(const struct measure *m)
{
    if (m->began_ns == 0 || m->now_began_ns >= m->ends_ns)
        return UINT64_MAX;
    return min_u64(m->now_began_ns + NS_PER_S, m->ends_ns);
}

bool measure_tick(struct measure *m, uint64_t now_ns, uint64_t in_flight)
{
    const bool over = now_ns >= m->ends_ns;
    if (m->began_ns == 0 || m->now_began_ns >= m->ends_ns)
        return false;
    if (!over && now_ns < m->now_began_ns + NS_PER_S)
        return false;
    if (over && m->ends_ns < m->now_began_ns + NS_PER_S / 4) {
        m->now_began_ns = m->ends_ns; /* too short to mean much */
        return false;
    }
    second_close(m, over ? m->ends_ns : now_ns, in_flight);
    second_begin(m, now_ns);
    return true;
}
