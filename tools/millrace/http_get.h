/* SPDX-License-Identifier: Apache-2.0
 *
 * One GET of the admin listener, over plain HTTP/1.1.
 */
#pragma once

#include "net/address.h"

struct http_got {
    int status;
    char *body; /* with a 0 behind it; mem_free() */
    size_t len;
    char problem[256]; /* when there is none: half a sentence */
};

/* False: no answer within so many milliseconds, or one that is none. */
bool http_get(const struct address *address, const char *path, int64_t timeout_ms,
              struct http_got *got);
