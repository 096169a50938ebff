/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run elsewhere has measured, as messages (bench_message.h): one for each second when it is
 * over, and one at the end. Histograms go bucket by bucket and are merged by adding counts, so that
 * the quantiles of a merged one are those of all values; nothing is averaged.
 *
 *   second   from_ns (since the measured time began), the counts of struct bench_second, and the
 *            histograms response, delay and, end to end, e2e
 *   end      measured_ns, the counts of struct measure, connections, requests that failed by their
 *            code, and the histograms with service
 *
 * A histogram: sum_ns, max_ns, and buckets, an array of each bucket's end and its count in turn.
 */
#pragma once

#include "tools/millrace/bench/bench_measure.h"
#include "tools/millrace/bench/bench_message.h"

#define SHARE_SECONDS_MAX 1000000U /* of a run */

/* A line in the making; all zero at first. Its memory is used again. */
struct share_line {
    char *data;
    size_t len, room;
};

void share_line_fini(struct share_line *line);
/* The second that is under way and over: on_second of struct measure tells when. */
void share_second(const struct measure *m, struct share_line *line);
void share_end(const struct measure *m, uint64_t connections, struct share_line *line);

/* Adds what a message says, the second to the one that is under way; false when it cannot be true,
 * and `into` is good for nothing then. own: the second alone. Of what the machine and the generator
 * did into->now has the worst. */
bool share_take_second(const json_t *message, struct measure *into,
                       struct bench_second *own) warn_unused;
bool share_take_end(const json_t *message, struct measure *into, uint64_t *connections) warn_unused;
