/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that need not lie in one piece. A frame arrives in receive blocks wherever the kernel cut
 * it, and may be 100 MiB long; copying it together would cost one copy more than the log needs. So
 * everything that reads bytes reads a span: a position in an array of pieces, and a length.
 *
 * A span borrows: it is valid as long as its pieces are, and owns nothing.
 */
#pragma once

#include "io/base.h"

struct piece {
    const uint8_t *data;
    uint32_t len;
};

/* `len` bytes, beginning `skip` bytes into piece[0] and going on in piece[1], piece[2], ...; none
 * of them is empty. An empty span may have piece == NULL. */
struct span {
    const struct piece *piece;
    uint32_t skip; /* < piece->len unless len == 0 */
    uint32_t len;
};

/* A span over contiguous bytes; *piece is the caller's and must outlive the span. */
static inline struct span span_of(struct piece *piece, const void *data, uint32_t len)
{
    piece->data = data;
    piece->len = len;
    return (struct span){.piece = piece, .skip = 0, .len = len};
}

/* The longest contiguous run at the front; *len is 0 only for an empty span. */
static inline const uint8_t *span_front(const struct span *span, uint32_t *len)
{
    if (span->len == 0) {
        *len = 0;
        return NULL;
    }
    uint32_t run = span->piece->len - span->skip;
    *len = run < span->len ? run : span->len;
    return span->piece->data + span->skip;
}

/* Drops `count` bytes from the front; count <= span->len. */
void span_advance(struct span *span, uint32_t count);

/* The first `len` bytes of `span`, as a span of their own; len <= span->len. */
static inline struct span span_first(struct span span, uint32_t len)
{
    span.len = len;
    return span;
}

/* Copies `len` bytes from the front to `to` and drops them from the span; len <= span->len. */
void span_take(struct span *span, void *to, uint32_t len);

/* Copies without dropping. */
void span_peek(const struct span *span, void *to, uint32_t len);
