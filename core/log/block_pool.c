/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/block_pool.h"

#include "io/mem.h"

struct block_chunk {
    uint64_t free; /* a bit per page */
    uint32_t list;
    TAILQ_ENTRY(block_chunk) link;
};

/* Bit n is set when a free run of the class begins at page n, aligned to the class. */
static uint64_t block_runs(uint64_t free, unsigned size_class)
{
    if (size_class == 0)
        return free;
    free &= free >> 1;
    free &= free >> 2;
    if (size_class == 1)
        return free & 0x1111111111111111ULL;
    free &= free >> 4;
    free &= free >> 8;
    if (size_class == 2)
        return free & 0x0001000100010001ULL;
    free &= free >> 16;
    free &= free >> 32;
    return free & 1;
}

static uint64_t block_mask(unsigned size_class)
{
    must(size_class < BLOCK_CLASSES);
    unsigned pages = 1U << (2 * size_class);
    return pages == 64 ? UINT64_MAX : (1ULL << pages) - 1;
}

static uint32_t block_list_of(uint64_t free)
{
    for (unsigned size_class = BLOCK_CLASSES; size_class-- > 0;) {
        if (block_runs(free, size_class) != 0)
            return size_class + 1;
    }
    return 0;
}

static void block_relist(struct block_pool *pool, struct block_chunk *chunk)
{
    uint32_t list = block_list_of(chunk->free);
    if (list == chunk->list)
        return;
    TAILQ_REMOVE(&pool->lists[chunk->list], chunk, link);
    chunk->list = list;
    TAILQ_INSERT_HEAD(&pool->lists[list], chunk, link);
}

void block_pool_init(struct block_pool *pool, uint64_t bytes)
{
    uint64_t count = bytes / BLOCK_SIZE_MAX;
    must(count > 0);
    *pool = (struct block_pool){.size = count * BLOCK_SIZE_MAX};
    pool->base = mem_pages(pool->size);
    pool->chunks = mem_zalloc(count * sizeof(pool->chunks[0]));
    for (uint32_t i = 0; i <= BLOCK_CLASSES; i++)
        TAILQ_INIT(&pool->lists[i]);
    for (uint64_t i = 0; i < count; i++) {
        struct block_chunk *chunk = &pool->chunks[i];
        chunk->free = UINT64_MAX;
        chunk->list = BLOCK_CLASSES;
        TAILQ_INSERT_TAIL(&pool->lists[BLOCK_CLASSES], chunk, link);
    }
}

void block_pool_fini(struct block_pool *pool)
{
    must(pool->used == 0);
    mem_free(pool->chunks);
    mem_pages_free(pool->base, pool->size);
    *pool = (struct block_pool){0};
}

uint8_t *block_get(struct block_pool *pool, unsigned size_class)
{
    for (unsigned list = size_class + 1; list <= BLOCK_CLASSES; list++) {
        struct block_chunk *chunk = TAILQ_FIRST(&pool->lists[list]);
        if (chunk == NULL)
            continue;
        unsigned page = (unsigned)__builtin_ctzll(block_runs(chunk->free, size_class));
        chunk->free &= ~(block_mask(size_class) << page);
        block_relist(pool, chunk);
        count_up(&pool->used, block_size_of(size_class));
        uint64_t index = (uint64_t)(chunk - pool->chunks);
        return pool->base + index * BLOCK_SIZE_MAX + (uint64_t)page * BLOCK_SIZE_MIN;
    }
    return NULL;
}

void block_put(struct block_pool *pool, uint8_t *block, unsigned size_class)
{
    uint64_t offset = (uint64_t)(block - pool->base);
    must(offset < pool->size && offset % block_size_of(size_class) == 0);
    struct block_chunk *chunk = &pool->chunks[offset / BLOCK_SIZE_MAX];
    uint64_t bits = block_mask(size_class) << (offset % BLOCK_SIZE_MAX / BLOCK_SIZE_MIN);
    must((chunk->free & bits) == 0);
    chunk->free |= bits;
    block_relist(pool, chunk);
    count_set(&pool->used, pool->used - block_size_of(size_class));
}
