/* SPDX-License-Identifier: Apache-2.0
 *
 * What metrics_collect() found, as Prometheus reads it and as one JSON object.
 *
 * No series names a topic, a partition or a group: their number is the users', and a monitor that
 * keeps every series for weeks pays for each.
 */
#pragma once

#include "tools/millrace/start/metrics.h"

#include <jansson.h>
#include <stdio.h>

/* Prometheus' text format 0.0.4. m may have no broker yet: then it is about the process alone. */
void metrics_print_text(FILE *to, const struct metrics *m);

/* The same as an object. */
json_t *metrics_print_json(const struct metrics *m);

/* Has every shard answered? Says which has not, in a sentence each. */
bool metrics_print_health(FILE *to, const struct metrics *m);
