/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for one request: taken piece by piece, given back all at once when the answer has left.
 * Decoded requests and encoded answers live here, so that no handler frees anything, and so that
 * one number bounds what one request can make the broker allocate, whatever its bytes claim.
 *
 * Chunks grow from 4 KiB to 64 KiB; a larger wish gets a chunk of its own. The limit counts chunks,
 * that is, what really left the allocator. An arena without allocations owns no memory. Reset keeps
 * one small chunk, because the next request will want it.
 */
#pragma once

#include "io/base.h"

struct arena_chunk;

struct arena {
    /* private */
    uint8_t *at; /* free bytes of the newest ordinary chunk: [at, end) */
    uint8_t *end;
    struct arena_chunk *chunks; /* newest first; the one `at` points into is the first */
    uint64_t held_bytes;        /* all chunks together, headers included; a counter */
    size_t bytes_max;
};

/* Owns nothing until the first allocation. bytes_max is hard: beyond it arena_alloc fails. */
void arena_init(struct arena *arena, size_t bytes_max);

/* Gives all chunks back to the allocator; the arena may be used again. */
void arena_fini(struct arena *arena);

/* Forgets everything allocated; pointers into the arena are dead. */
void arena_reset(struct arena *arena);

/* `size` bytes aligned to 8, contents undefined, or NULL when the limit would be passed.
 * A size of 0 gives a valid pointer to nothing. */
void *arena_alloc(struct arena *arena, size_t size) warn_unused;

/* count * size, checked for overflow. */
void *arena_array(struct arena *arena, size_t count, size_t size) warn_unused;

/* A copy of the text, or NULL when the limit would be passed. */
char *arena_text(struct arena *arena, const char *text) warn_unused;
