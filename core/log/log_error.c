/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/log_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool log_refuse(struct log_error *error, enum log_error_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->kind = kind;
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

/* What helps against the kernel's word. */
static const char *next_step(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
        return "give the user who starts the broker the right to it, or choose another directory "
               "(log.dirs, --data-dir)";
    case ENOTDIR:
    case EEXIST:
        return "a file is in the way: move it, or choose another directory (log.dirs, --data-dir)";
    case EROFS:
        return "mount the file system for writing, or choose another directory (log.dirs, "
               "--data-dir)";
    case ENOSPC:
    case EDQUOT:
        return "free space on it, or choose another directory (log.dirs, --data-dir)";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n, LimitNOFILE=)";
    case EIO:
        return "the disk does not work as it should: see the kernel's log (dmesg)";
    default:
        return "put that right, or choose another directory (log.dirs, --data-dir)";
    }
}

bool log_refuse_io(struct log_error *error, const char *verb, const char *path, int64_t result)
{
    int number = result < 0 ? (int)-result : EIO;
    enum log_error_kind kind = number == ENOSPC ? LOG_ERROR_FULL : LOG_ERROR_IO;
    return log_refuse(error, kind, "cannot %s %s: %s; %s", verb, path, strerrordesc_np(number),
                      next_step(number));
}
