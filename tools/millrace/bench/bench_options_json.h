/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of a load as JSON, in so far as a helper program needs them to send and to read.
 */
#pragma once

#include "tools/millrace/bench/bench_options.h"

#include <jansson.h>

json_t *options_json(const struct bench_options *o); /* NULL: it has what is not UTF-8 */
/* Its texts are borrowed; false when something is missing or does not fit. */
bool options_take(const json_t *object, struct bench_options *o) warn_unused;
