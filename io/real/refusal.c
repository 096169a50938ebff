/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine refuses io_uring: say by what, and what to do about it. A container's seccomp profile
 * answers EPERM or ENOSYS, the sysctl kernel.io_uring_disabled EPERM, an old kernel ENOSYS or
 * EINVAL, and the memory-lock limit ENOMEM.
 */
#include "io/real/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NEEDS_KERNEL "Millrace needs Linux 6.1 or newer"

/* The whole of a small file, or an empty string. */
static void file_text(const char *path, char *text, size_t size)
{
    text[0] = '\0';
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t n = read(file, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(file);
}

static bool seccomp_filters(void)
{
    char status[8192];
    file_text("/proc/self/status", status, sizeof(status));
    const char *line = strstr(status, "\nSeccomp:");
    return line != NULL && strtol(line + 9, NULL, 10) == 2;
}

static void kernel_version(char *text, size_t size)
{
    struct utsname name;
    snprintf(text, size, "%s", uname(&name) == 0 ? name.release : "unknown");
}

static void refusal_of_permission(int error, char *text, size_t size)
{
    char setting[16];
    file_text("/proc/sys/kernel/io_uring_disabled", setting, sizeof(setting));
    setting[strcspn(setting, "\n")] = '\0';
    if (error == -EPERM && (setting[0] == '1' || setting[0] == '2')) {
        snprintf(text, size,
                 "io_uring is disabled by the sysctl kernel.io_uring_disabled=%s; run: sysctl -w "
                 "kernel.io_uring_disabled=0",
                 setting);
    } else if (seccomp_filters()) {
        snprintf(text, size,
                 "io_uring_setup is refused by a seccomp filter (%s); start the container with "
                 "--security-opt seccomp=unconfined or a profile that allows io_uring_setup, "
                 "io_uring_enter and io_uring_register",
                 error == -EPERM ? "EPERM" : "ENOSYS");
    } else {
        char version[80];
        kernel_version(version, sizeof(version));
        snprintf(text, size,
                 "kernel %s has no io_uring for this process (%s); " NEEDS_KERNEL
                 " with CONFIG_IO_URING, and no security module that forbids it",
                 version, strerror(-error));
    }
}

void refusal_of_ring(int error, char *text, size_t size)
{
    struct rlimit limit = {0};
    switch (-error) {
    case EPERM:
    case EACCES:
    case ENOSYS:
        refusal_of_permission(error, text, size);
        break;
    case ENOMEM:
        (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        snprintf(text, size,
                 "the ring does not fit in the locked-memory limit of %llu KiB; raise it: ulimit "
                 "-l unlimited, docker --ulimit memlock=-1 or LimitMEMLOCK=infinity",
                 (unsigned long long)limit.rlim_cur / 1024);
        break;
    case EMFILE:
    case ENFILE:
        snprintf(text, size,
                 "no file descriptor is left for the ring; raise the limit: ulimit -n, or "
                 "LimitNOFILE=");
        break;
    default:
        snprintf(text, size, "io_uring_setup failed: %s", strerror(-error));
    }
}

void refusal_of_buffers(int error, char *text, size_t size)
{
    if (error == -EINVAL)
        refusal_of_operations("rings of provided buffers", text, size);
    else
        refusal_of_ring(error, text, size);
}

void refusal_of_operations(const char *missing, char *text, size_t size)
{
    char version[80];
    kernel_version(version, sizeof(version));
    snprintf(text, size, "the io_uring of kernel %s lacks %s; " NEEDS_KERNEL, version, missing);
}
