/* SPDX-License-Identifier: Apache-2.0 */
#include "io/arena.h"

#include "io/mem.h"

#include <assert.h>
#include <string.h>

#define CHUNK_BYTES_MIN ((size_t)4 << 10)
#define CHUNK_BYTES_MAX ((size_t)64 << 10)
#define ALIGNMENT       8

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* header included */
};

static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0, "a chunk's data begins aligned");

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

static void free_list(struct arena_chunk *chunk)
{
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
}

void arena_fini(struct arena *arena)
{
    free_list(arena->chunks);
    arena_init(arena, arena->bytes_max);
}

static void use(struct arena *arena, struct arena_chunk *chunk)
{
    arena->at = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + chunk->bytes;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk **link = &arena->chunks;
    while (*link && (*link)->bytes != CHUNK_BYTES_MIN)
        link = &(*link)->next;
    struct arena_chunk *kept = *link;
    if (kept)
        *link = kept->next;
    free_list(arena->chunks);
    arena_init(arena, arena->bytes_max);
    if (kept) {
        kept->next = NULL;
        arena->chunks = kept;
        arena->held_bytes = kept->bytes;
        use(arena, kept);
    }
}

static struct arena_chunk *chunk_new(struct arena *arena, size_t bytes)
{
    if (bytes > arena->bytes_max - arena->held_bytes)
        return NULL;
    struct arena_chunk *chunk = mem_alloc(bytes);
    chunk->bytes = bytes;
    count_up(&arena->held_bytes, bytes);
    return chunk;
}

/* A large wish goes behind the current chunk, whose rest stays in use. */
static void *alloc_large(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = chunk_new(arena, sizeof(*chunk) + size);
    if (!chunk)
        return NULL;
    if (arena->chunks) {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    } else {
        chunk->next = NULL;
        arena->chunks = chunk;
        arena->at = arena->end = (uint8_t *)chunk + chunk->bytes;
    }
    return chunk + 1;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = round_up(size, ALIGNMENT);
    if (size > (size_t)(arena->end - arena->at) || !arena->at) {
        size_t bytes = arena->chunks ? arena->chunks->bytes * 2 : CHUNK_BYTES_MIN;
        if (bytes > CHUNK_BYTES_MAX)
            bytes = CHUNK_BYTES_MAX;
        if (size > bytes / 4)
            return alloc_large(arena, size);
        size_t allowed = arena->bytes_max - arena->held_bytes;
        if (bytes > allowed && allowed >= sizeof(struct arena_chunk) + size)
            bytes = round_down(allowed, ALIGNMENT);
        struct arena_chunk *chunk = chunk_new(arena, bytes);
        if (!chunk)
            return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        use(arena, chunk);
    }
    void *found = arena->at;
    arena->at += size;
    return found;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

char *arena_text(struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = arena_alloc(arena, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
