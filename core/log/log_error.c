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

bool log_refuse_io(struct log_error *error, const char *verb, const char *path, int64_t result)
{
    int number = result < 0 ? (int)-result : EIO;
    enum log_error_kind kind = number == ENOSPC ? LOG_ERROR_FULL : LOG_ERROR_IO;
    return log_refuse(error, kind, "cannot %s %s: %s", verb, path, strerrordesc_np(number));
}
