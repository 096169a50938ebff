/* SPDX-License-Identifier: Apache-2.0 */
#include "io/span.h"

#include <string.h>

void span_advance(struct span *span, uint32_t count)
{
    must(count <= span->len);
    span->len -= count;
    while (count > 0) {
        uint32_t run = span->piece->len - span->skip;
        if (count < run) {
            span->skip += count;
            return;
        }
        count -= run;
        span->piece++;
        span->skip = 0;
    }
}

void span_take(struct span *span, void *to, uint32_t len)
{
    must(len <= span->len);
    uint8_t *at = to;
    while (len > 0) {
        uint32_t run;
        const uint8_t *from = span_front(span, &run);
        if (run > len)
            run = len;
        memcpy(at, from, run);
        at += run;
        len -= run;
        span_advance(span, run);
    }
}

void span_peek(const struct span *span, void *to, uint32_t len)
{
    struct span copy = *span;
    span_take(&copy, to, len);
}
