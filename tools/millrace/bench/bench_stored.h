/* SPDX-License-Identifier: Apache-2.0
 *
 * Results of `millrace bench` as they were written: read back, and refused when they are none.
 */
#pragma once

#include "tools/millrace/command.h"

#include <jansson.h>

#define BENCH_SCHEMA         "millrace-bench"
#define BENCH_SCHEMA_VERSION 1

/* The object in the file, or NULL, said. ndjson: its last line. */
json_t *stored_read(const struct invocation *inv, const char *path);
/* Appends the object to `results`, or all of the array that `bench sweep` has written; false, and
 * said. */
bool stored_read_all(const struct invocation *inv, const char *path, json_t *results);
