/* SPDX-License-Identifier: Apache-2.0
 *
 * What a shard says about itself: log lines for the operator, and a ring of recent events for the
 * one who reads a panic.
 *
 * A line has a stable event name and fields, and comes out as logfmt or JSON:
 *
 *     diag_warn(sh, "connection.closed", "peer=%s reason=%s bytes=%lu", peer, reason, bytes);
 *     ts=2025-03-01T12:00:00.123456Z level=warn shard=2 event=connection.closed peer=... bytes=17
 *
 * The format is a list of key=value separated by single spaces. Each value is escaped on its own,
 * so that a client id with a space, a quote or a newline stays inside its field. Conversions: s
 * (with precision), c, d, i, u, x (with h, l, ll, z, j), f (with precision), p is not one of them.
 *
 * Every event name of a shard may say DIAG_LINES_PER_SECOND lines in a second; what is more is
 * counted and the next line that passes carries suppressed=N. An error is never counted away, since
 * it names an object that broke and may be the only line about it: whoever says one sees to it that
 * no client sets its pace. What an operator does not want to hear at all: io/diag_level.h. Lines
 * are written off the shard (io_log); a shard never waits for the terminal.
 */
#pragma once

#include "io/diag_level.h"

struct shard;
struct shard_group;

#define DIAG_LINES_PER_SECOND 10U
#define DIAG_EVENTS           256U  /* remembered per shard */
#define DIAG_LINE_MAX         2048U /* what does not fit is left out: truncated=true */
#define DIAG_VALUE_MAX        1024U /* a longer value is cut and ends in ... */

/* sh may be NULL outside a shard, at start: then the line has no shard and no limit. */
void diag_line(struct shard *sh, enum diag_level level, const char *event, const char *fields, ...)
    printf_like(4, 5);

#define diag_error(sh, event, ...) diag_line(sh, DIAG_ERROR, event, __VA_ARGS__)
#define diag_warn(sh, event, ...)  diag_line(sh, DIAG_WARN, event, __VA_ARGS__)
#define diag_info(sh, event, ...)  diag_line(sh, DIAG_INFO, event, __VA_ARGS__)

/* Remembers an event in the shard's ring: cheap enough for every request. name is a literal. */
void diag_event(struct shard *sh, const char *name, uint64_t a, uint64_t b);

/* Prints the shard's id, step and last events to standard error. */
void diag_dump(const struct shard *sh);
void diag_dump_here(void); /* of the shard whose turn this is, if any: for must_failed() */

/* For io/shard.c. */
struct diag *diag_new(void);
void diag_free(struct diag *diag);
