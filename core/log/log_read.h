/* SPDX-License-Identifier: Apache-2.0
 *
 * What readers of a log share (core/log/log_find.c, core/log/log_pin.c).
 */
#pragma once

#include "core/log/segment.h"

/* Bytes of a segment that may be read. */
uint32_t log_read_limit(const struct log_body *lg, const struct segment *segment);
void log_read_run(struct log_shard *ls); /* finds and pins that wait try again */

/* log_pin.c */
void pin_again(struct log_pin *pin); /* it has waited */
