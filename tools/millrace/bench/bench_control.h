/* SPDX-License-Identifier: Apache-2.0
 *
 * --client librdkafka: the same load by another client, as a control of our own. A helper program
 * beside this one (tools/librdkafka) sends and reads; it is an agent that nobody needs a token for,
 * as it is this process's child.
 */
#pragma once

#include "tools/millrace/bench/bench.h"

#include <sys/types.h>

#define CONTROL_PROGRAM "millrace-bench-librdkafka"

/* What that client cannot do is refused, by its name. */
int control_refuse(const struct bench_options *o, const struct session *s);
/* Starts it: the socket to it, and its process; EXIT_OK, or said. */
int control_start(const struct bench *b, int *file, pid_t *process);
/* What it is to do, as a message; NULL: there is something in it that is not UTF-8. */
json_t *control_plan(const struct bench *b);
/* What it says of what was read back, into b; false when that cannot be true. */
bool control_checks(struct bench *b, const json_t *message) warn_unused;
