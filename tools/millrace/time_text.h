/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as people write them.
 */
#pragma once

#include "io/base.h"

/* Milliseconds since 1970: a number of them, 2026-01-31[T12:00[:00[.000]]] with Z, +01:00 or (UTC)
 * nothing behind it, or -90s, -5m, -2h, -1d before now. */
bool time_text_parse(const char *text, size_t len, int64_t now_ms, int64_t *ms) warn_unused;

/* A duration of ISO 8601 in days, hours, minutes and seconds, "P1DT2H30M", as kafka-consumer-groups
 * takes it, or 90s, 5m, 2h, 1d; in milliseconds. */
bool time_text_duration(const char *text, int64_t *ms) warn_unused;
