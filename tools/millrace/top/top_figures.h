/* SPDX-License-Identifier: Apache-2.0
 *
 * What `millrace top` tells of the time between two looks, as one object:
 *
 *   {"time_ms", "seconds", "version", "node_id", "ready", "cpu_cores", "resident_bytes",
 *    "cores": [{"core", "responding", "busy", "longest_turn_seconds", "sqe_per_second",
 *               "commits_per_second", "commit_p99_seconds", "connections", "partitions",
 *               "in_bytes_per_second", "out_bytes_per_second", "requests_per_second",
 *               "produce_p99_seconds", "fetch_p99_seconds"}, ...],
 *    "requests": [{"api", "per_second", "p50_seconds", "p99_seconds", "mean_seconds",
 *                  "steps": {"queue": {"mean_seconds", "p99_seconds"}, ...}}, ...]}
 *
 * busy is a part of 1. The means of the steps add up to the request's mean. What did not happen in
 * the interval has no time: null.
 */
#pragma once

#include "tools/millrace/looks.h"

json_t *top_figures(const struct looks *l);
