/* SPDX-License-Identifier: Apache-2.0
 *
 * How long things took, as Prometheus reads it and as JSON: the rows HISTOGRAM of metrics.def, and
 * where the time of requests goes (net/request_time.h).
 *
 * Prometheus has a bucket per power of two from 16 us to 69 s, and requests of all cores together:
 * every series costs those who keep it. JSON has all buckets that are in use, per core:
 *
 *   {"count": 12, "seconds": 0.0031, "buckets": [[262144, 11], [294912, 1]]}
 *
 * where a bucket is its end in nanoseconds and how many lie in it, those of other buckets apart.
 */
#pragma once

#include "tools/millrace/start/metrics.h"

#include <jansson.h>
#include <stdio.h>

void durations_print_text(FILE *to, const struct metrics *m);
/* Adds what a core has to its object: each row by its name, and "request_times". */
void durations_print_json(json_t *object, const struct metrics_values *values);

/* "# HELP" and "# TYPE" of a metric. */
void metric_print_head(FILE *to, const char *name, const char *kind, const char *help);
