/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run must have shown, as people write it: --assert 'p99<5ms', 'e2e.p99.9<1s', 'rate>20k'.
 * Quantiles are of the response time unless another latency stands before them.
 */
#pragma once

#include "tools/millrace/bench/bench_measure.h"

#include <jansson.h>

struct assertion {
    const char *text;
    char latency[16]; /* "response", ...; "" for the rate */
    double quantile;  /* 1: the largest */
    double limit;     /* nanoseconds, or records per second */
};

/* NULL, or what is wrong with it. text: borrowed. */
const char *assertion_parse(struct assertion *assertion, const char *text) warn_unused;
/* Does it hold? *value: what was measured. A latency that was not measured does not hold. */
bool assertion_holds(const struct assertion *assertion, const struct measure *m, double *value);
/* "p99<5ms: it was 7.250 ms"; returns text. */
#define ASSERTION_TEXT_SIZE 160U
const char *assertion_text(const struct assertion *assertion, double value,
                           char text[ASSERTION_TEXT_SIZE]);
