/* SPDX-License-Identifier: Apache-2.0
 *
 * Tail memory of a shard: one reserved range, handed out in blocks of 4, 16, 64 or 256 KiB.
 *
 * Ten thousand idle partitions want a page each, a busy one wants 256 KiB, and the same memory must
 * serve both as load moves. So the range is cut into chunks of 256 KiB, each with a 64-bit map of
 * its free pages; a block is a free run of its own size at its own alignment, found by a few bit
 * operations. Chunks stand in one list per largest run they can still give, and a request takes the
 * fullest chunk that suffices: small blocks gather in few chunks and whole chunks stay whole.
 * Freeing sets bits, so neighbours join by themselves. Memory is touched only when used.
 */
#pragma once

#include "io/base.h"

#include <sys/queue.h>

#define BLOCK_CLASSES  4U
#define BLOCK_SIZE_MIN 4096U
#define BLOCK_SIZE_MAX (256U << 10)

/* class 0..3: 4, 16, 64, 256 KiB */
static inline uint32_t block_size_of(unsigned size_class)
{
    return BLOCK_SIZE_MIN << (2 * size_class);
}

/* The smallest class that holds `bytes`, the largest class when none does. */
static inline unsigned block_class_of(uint64_t bytes)
{
    unsigned size_class = 0;
    while (size_class + 1 < BLOCK_CLASSES && block_size_of(size_class) < bytes)
        size_class++;
    return size_class;
}

struct block_chunk;
TAILQ_HEAD(block_chunk_list, block_chunk);

struct block_pool {
    uint8_t *base;
    uint64_t size; /* multiple of BLOCK_SIZE_MAX */
    uint64_t used;
    struct block_chunk *chunks;
    struct block_chunk_list lists[BLOCK_CLASSES + 1]; /* [0]: full; [1 + class]: may give class */
};

void block_pool_init(struct block_pool *pool, uint64_t bytes);
void block_pool_fini(struct block_pool *pool); /* every block is back */
/* NULL: no run of that size is free. The memory holds what it held. */
uint8_t *block_get(struct block_pool *pool, unsigned size_class);
void block_put(struct block_pool *pool, uint8_t *block, unsigned size_class);
