/* SPDX-License-Identifier: Apache-2.0
 *
 * "Did you mean ...?": which of the names that exist a typing mistake could have turned into the
 * one that was given.
 */
#pragma once

#include "io/base.h"

#define NEAREST_NAME_LEN_MAX 96U /* longer ones are no typing mistake */

struct nearest {
    const char *wanted; /* borrowed */
    const char *found;  /* the best offer so far, borrowed from it; NULL: none was near */
    /* private */
    size_t len;
    uint32_t distance; /* an offer must be at least as near */
};

void nearest_begin(struct nearest *nearest, const char *wanted);
/* True when this one is nearer than all before. */
bool nearest_offer(struct nearest *nearest, const char *name);
