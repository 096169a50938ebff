/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a log directory or a file of it was refused at start. Only start uses it: it is read by a
 * person, who must learn the cause, the object (file and offset) and the next step.
 */
#pragma once

#include "io/base.h"

enum log_error_kind {
    LOG_ERROR_NONE,
    LOG_ERROR_IO,      /* a system call failed; the text says which and where */
    LOG_ERROR_LOCKED,  /* another process holds the directory; the text names its pid */
    LOG_ERROR_KAFKA,   /* a directory written by Apache Kafka (meta.properties): left untouched */
    LOG_ERROR_FOREIGN, /* not empty and not ours, or another cluster's or node's */
    LOG_ERROR_NESTED,  /* inside another log directory */
    LOG_ERROR_MISSING, /* empty or missing where an existing directory was expected */
    LOG_ERROR_NEWER,   /* written by a newer version that this one may not read */
    LOG_ERROR_DAMAGED, /* file, offset and what to do are in the text */
    LOG_ERROR_FULL,    /* no space for the journal */
};

/* Why a start was refused: a sentence with cause, object and next step. */
struct log_error {
    enum log_error_kind kind;
    char text[640];
};

/* Fills *error and returns false, so that a refusal is one line. */
bool log_refuse(struct log_error *error, enum log_error_kind kind, const char *format, ...)
    printf_like(3, 4);
/* The same for a failed system call: "cannot <verb> <path>: <reason>; <next step>". */
bool log_refuse_io(struct log_error *error, const char *verb, const char *path, int64_t result);
