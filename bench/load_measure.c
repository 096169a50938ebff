/* SPDX-License-Identifier: Apache-2.0
 *
 * What bench-load reports: one line of JSON per run.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The text of /proc/PID/NAME; "" when there is none. */
static void proc_read(int pid, const char *name, char *text, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, size - 1, file) : 0;
    text[len] = '\0';
    if (file)
        (void)fclose(file);
}

/* Fields 14 and 15, user and system time in ticks, counted from behind the command's name. */
double broker_cpu_s(int pid)
{
    char text[1024];
    proc_read(pid, "stat", text, sizeof(text));
    char *at = strrchr(text, ')');
    double ticks = 0;
    for (int field = 2; at && field <= 15; field++) {
        if (field >= 14)
            ticks += strtod(at, NULL);
        at = strchr(at + 1, ' ');
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static double broker_resident_mib(int pid)
{
    char text[256];
    proc_read(pid, "statm", text, sizeof(text));
    char *at = strchr(text, ' ');
    return at ? strtod(at, NULL) * (double)sysconf(_SC_PAGESIZE) / 1048576.0 : 0;
}

static double own_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void measure_begin(struct load *load)
{
    load->measure = (struct measure){.began_ns = now_ns(),
                                     .broker_cpu_s = broker_cpu_s(load->options.broker_pid),
                                     .own_cpu_s = own_cpu_s()};
}

static double us(uint64_t ns)
{
    return (double)ns / 1e3;
}

void measure_print(const struct load *load)
{
    const struct measure *m = &load->measure;
    const struct load_options *o = &load->options;
    double seconds = (double)(now_ns() - m->began_ns) / 1e9;
    double cpu_s = broker_cpu_s(o->broker_pid) - m->broker_cpu_s;
    double gb = (double)m->bytes / 1e9;
    printf("{\"seconds\": %.3f, \"requests\": %llu, \"batches\": %llu, \"bytes\": %llu, "
           "\"errors\": %llu, \"error_code\": %d, \"late\": %llu, ",
           seconds, (unsigned long long)m->requests, (unsigned long long)m->batches,
           (unsigned long long)m->bytes, (unsigned long long)m->errors, load->error_code,
           (unsigned long long)m->late);
    printf("\"mb_per_s\": %.2f, \"batches_per_s\": %.1f, \"requests_per_s\": %.1f, ",
           gb * 1e3 / seconds, (double)m->batches / seconds, (double)m->requests / seconds);
    printf("\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, ",
           us(histogram_quantile_ns(&m->latency, 0.5)), us(histogram_quantile_ns(&m->latency, 0.9)),
           us(histogram_quantile_ns(&m->latency, 0.99)),
           us(histogram_quantile_ns(&m->latency, 0.999)), us(m->latency.max_ns));
    if (o->broker_pid > 0)
        printf("\"broker_cpu_percent\": %.2f, \"broker_cpu_s_per_gb\": %.3f, "
               "\"broker_resident_mib\": %.1f, ",
               100 * cpu_s / seconds, gb > 0 ? cpu_s / gb : 0, broker_resident_mib(o->broker_pid));
    printf("\"client_cpu_percent\": %.1f}\n", 100 * (own_cpu_s() - m->own_cpu_s) / seconds);
}
