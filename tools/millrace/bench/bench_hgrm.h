/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram as the text that HdrHistogram's tools read and draw (.hgrm): value in milliseconds,
 * percentile, how many values up to it, 1/(1-percentile); five lines per halving of what is left.
 */
#pragma once

#include "io/histogram.h"

#include <stdio.h>

void hgrm_print(const struct histogram *histogram, FILE *to);
