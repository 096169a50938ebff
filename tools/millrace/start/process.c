/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/start/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define STAT_SIZE 2048U

/* The fields of /proc/self/stat behind the name, which is the second and may hold blanks; the first
 * of them is field 3. */
static void read_stat(struct process *process)
{
    char text[STAT_SIZE];
    FILE *in = fopen("/proc/self/stat", "re");
    if (!in)
        return;
    size_t len = fread(text, 1, sizeof(text) - 1, in);
    (void)fclose(in);
    text[len] = 0;
    char *at = strrchr(text, ')');
    double ticks = (double)sysconf(_SC_CLK_TCK);
    double cpu_ticks = 0;
    double start_ticks = 0;
    for (unsigned field = 3; at && (at = strchr(at, ' ')); field++) {
        at++;
        if (field == 14 || field == 15)
            cpu_ticks += strtod(at, NULL);
        else if (field == 22)
            start_ticks = strtod(at, NULL);
        else if (field == 23)
            process->virtual_bytes = strtoull(at, NULL, 10);
        else if (field == 24)
            process->resident_bytes = strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    struct timespec wall;
    struct timespec boot;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    process->cpu_seconds = cpu_ticks / ticks;
    process->uptime_seconds =
        (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - start_ticks / ticks;
    process->started_seconds =
        (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - process->uptime_seconds;
}

static uint64_t count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));) // NOLINT: this thread's DIR
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count > 0 ? count - 1 : 0; /* that of the directory itself */
}

void process_read(struct process *process)
{
    struct rlimit files;
    *process = (struct process){0};
    read_stat(process);
    process->open_files = count_files();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        process->open_files_max = files.rlim_cur;
}
