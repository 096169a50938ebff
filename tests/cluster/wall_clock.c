/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a broker: its wall clock is ahead of the machine's by as many seconds as the file
 * that WALL_CLOCK_AHEAD names holds, an int32_t that may be changed at any time. (libfaketime does
 * not get along with jemalloc: each asks the other when it starts.)
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int32_t *ahead_s;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("WALL_CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        abort();
    const void *bytes = mmap(NULL, sizeof(*ahead_s), PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED)
        abort();
    (void)close(file);
    ahead_s = bytes;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    long result = syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME && ahead_s)
        time->tv_sec += *ahead_s;
    return (int)result;
}
