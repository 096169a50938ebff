/* SPDX-License-Identifier: Apache-2.0
 *
 * Receive blocks. The kernel picks a block from a ring we keep filled (a provided buffer ring) when
 * bytes are there, so an armed receive holds none.
 *
 * The ring is kept short: blocks go through it first in, first out, and 16 blocks of 64 KiB stay in
 * the cache where 256 would not (a receive into cold memory was measured three times slower). It is
 * made longer when the kernel found it empty while blocks were left. The pool behind it is a stack,
 * touched only as far as the load needs.
 */
#include "io/real/ring.h"

#define POOL_ENTRIES_MAX 256U
#define POOL_TARGET      16U

static size_t ring_size(const struct receive_pool *pool)
{
    return pool->entries * sizeof(struct io_uring_buf);
}

int pool_init(struct io *io, uint64_t bytes)
{
    struct receive_pool *pool = &io->pool;
    uint64_t count = bytes / IO_BLOCK_SIZE;
    must(count <= UINT16_MAX + 1U); /* the kernel's buffer ids: 4 GiB for a shard */
    pool->count = count > 0 ? (uint32_t)count : 1;
    pool->entries = 1;
    while (pool->entries * 2 <= pool->count && pool->entries < POOL_ENTRIES_MAX)
        pool->entries *= 2;
    pool->target = pool->entries < POOL_TARGET ? pool->entries : POOL_TARGET;
    pool->ring = mem_pages(ring_size(pool));

    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)pool->ring, .ring_entries = pool->entries, .bgid = POOL_GROUP};
    int result = io_uring_register_buf_ring(&io->ring, &registration, 0);
    if (result != 0) {
        mem_pages_free(pool->ring, ring_size(pool));
        return result;
    }
    io_uring_buf_ring_init(pool->ring);
    pool->memory = mem_pages((size_t)pool->count * IO_BLOCK_SIZE);
    pool->blocks = mem_zalloc(pool->count * sizeof(pool->blocks[0]));
    for (uint32_t i = pool->count; i-- > 0;) {
        struct io_block *block = &pool->blocks[i];
        block->data = pool->memory + (size_t)i * IO_BLOCK_SIZE;
        block->size = IO_BLOCK_SIZE;
        block->index = i;
        block->next = pool->unused;
        pool->unused = block;
    }
    return 0;
}

void pool_fini(struct io *io)
{
    struct receive_pool *pool = &io->pool;
    must(pool->held == 0);
    mem_pages_free(pool->ring, ring_size(pool));
    mem_pages_free(pool->memory, (size_t)pool->count * IO_BLOCK_SIZE);
    mem_free(pool->blocks);
}

void pool_offer(struct io *io)
{
    struct receive_pool *pool = &io->pool;
    int mask = io_uring_buf_ring_mask(pool->entries);
    int added = 0;
    while (pool->offered < pool->target && pool->unused != NULL) {
        struct io_block *block = pool->unused;
        pool->unused = block->next;
        io_uring_buf_ring_add(pool->ring, block->data, IO_BLOCK_SIZE, (uint16_t)block->index, mask,
                              added++);
        pool->offered++;
    }
    if (added > 0)
        io_uring_buf_ring_advance(pool->ring, added);
}

/* The kernel found the ring empty: keep it longer, if that was not for want of blocks. */
void pool_starving(struct io *io)
{
    struct receive_pool *pool = &io->pool;
    if (pool->unused != NULL && pool->offered == 0 && pool->target < pool->entries)
        pool->target *= 2;
}

struct io_block *pool_taken(struct io *io, unsigned index)
{
    struct receive_pool *pool = &io->pool;
    must(index < pool->count && pool->offered > 0);
    struct io_block *block = &pool->blocks[index];
    must(block->refs == 0);
    pool->offered--;
    pool->held++;
    block->refs = 1;
    return block;
}

void io_block_get(struct io *io, struct io_block *block)
{
    (void)io;
    must(block->refs > 0);
    block->refs++;
}

void io_block_put(struct io *io, struct io_block *block)
{
    struct receive_pool *pool = &io->pool;
    must(block == &pool->blocks[block->index] && block->refs > 0);
    if (--block->refs > 0)
        return;
    pool->held--;
    block->next = pool->unused;
    pool->unused = block;
}

uint32_t io_blocks_free(const struct io *io)
{
    return io->pool.count - io->pool.held;
}

bool io_blocks_scarce(const struct io *io)
{
    return io_blocks_free(io) < io->pool.count / 2;
}
