/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a simulated file (the model: io/sim/disk.h). A clean block has one copy; the first write
 * to it moves that copy to `kept`, so a flush frees it and a power loss goes back to it. Bytes seen
 * beyond the size are always zero.
 */
#include "io/sim/node.h"

#include <stdlib.h>
#include <string.h>

static void *data_new(void)
{
    void *data = malloc(BLOCK);
    must(data != NULL);
    return data;
}

static uint8_t *data_zero(void)
{
    return memset(data_new(), 0, BLOCK);
}

static bool all_zero(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

struct block *node_block(struct node *node, uint64_t number, bool make)
{
    uint64_t chunk = number / BLOCK_CHUNK;
    if (chunk >= node->chunk_count) {
        if (!make)
            return NULL;
        uint64_t count = max_u64(chunk + 1, (uint64_t)node->chunk_count * 2);
        must(count < UINT32_MAX);
        struct block **grown = realloc((void *)node->chunks, count * sizeof(struct block *));
        must(grown != NULL);
        memset((void *)(grown + node->chunk_count), 0,
               (count - node->chunk_count) * sizeof(struct block *));
        node->chunks = grown;
        node->chunk_count = (uint32_t)count;
    }
    if (!node->chunks[chunk]) {
        if (!make)
            return NULL;
        node->chunks[chunk] = calloc(BLOCK_CHUNK, sizeof(struct block));
        must(node->chunks[chunk] != NULL);
        for (uint32_t i = 0; i < BLOCK_CHUNK; i++)
            node->chunks[chunk][i].number = (uint32_t)(chunk * BLOCK_CHUNK) + i;
    }
    return &node->chunks[chunk][number % BLOCK_CHUNK];
}

static void block_list(struct node *node, struct block *block)
{
    if (!block->listed)
        TAILQ_INSERT_TAIL(&node->dirty, block, link);
    block->listed = true;
}

static void block_clean(struct node *node, struct block *block)
{
    free(block->kept);
    block->kept = NULL;
    block->dirty = 0;
    block->cut = 0;
    block->forgotten = false;
    if (block->listed)
        TAILQ_REMOVE(&node->dirty, block, link);
    block->listed = false;
}

static void block_drop(struct node *node, struct block *block)
{
    block_clean(node, block);
    free(block->seen);
    block->seen = NULL;
    if (block->allocated)
        node->space--;
    block->allocated = false;
}

void node_data_free(struct node *node)
{
    for (uint32_t c = 0; c < node->chunk_count; c++) {
        for (uint32_t i = 0; node->chunks[c] && i < BLOCK_CHUNK; i++) {
            free(node->chunks[c][i].seen);
            free(node->chunks[c][i].kept);
        }
        free(node->chunks[c]);
    }
    free((void *)node->chunks);
    node->chunks = NULL;
    node->chunk_count = 0;
    TAILQ_INIT(&node->dirty);
}

uint64_t node_space_needed(struct node *node, uint64_t offset, uint64_t len)
{
    uint64_t need = 0;
    for (uint64_t n = offset / BLOCK; len > 0 && n <= (offset + len - 1) / BLOCK; n++) {
        const struct block *block = node_block(node, n, false);
        need += !block || !block->allocated;
    }
    return need;
}

static void block_allocate(struct node *node, struct block *block)
{
    if (!block->allocated)
        node->space++;
    block->allocated = true;
}

void node_allocate(struct node *node, uint64_t offset, uint64_t len)
{
    for (uint64_t n = offset / BLOCK; len > 0 && n <= (offset + len - 1) / BLOCK; n++)
        block_allocate(node, node_block(node, n, true));
    node->size = max_u64(node->size, offset + len);
}

/* Sectors touched by [from, to) of a block. */
static uint8_t sectors_of(uint32_t from, uint32_t to)
{
    uint32_t first = from / SECTOR;
    uint32_t end = (to + SECTOR - 1) / SECTOR;
    return (uint8_t)((SECTORS_ALL << first) & (SECTORS_ALL >> (8 - end)));
}

/* Gives the block a copy to write into, with the durable one set apart. `whole`: all of it will be
 * overwritten. */
static void block_touch(struct node *node, struct block *block, bool whole)
{
    /* A sync in flight has promised what stands here: let it have been quick. */
    if (block->dirty && block->written <= node->sync_mark && !block->forgotten && !block->cut)
        block_clean(node, block);
    if (!block->dirty) {
        block->kept = block->seen;
        block->seen = data_new();
        if (!whole && block->kept)
            memcpy(block->seen, block->kept, BLOCK);
        else if (!whole)
            memset(block->seen, 0, BLOCK);
    } else if (!block->seen) {
        block->seen = data_zero();
    }
}

static void block_keep_sectors(struct node *node, struct block *block, uint8_t sectors)
{
    block->dirty &= (uint8_t)~sectors;
    block->cut &= (uint8_t)~sectors;
    if (block->dirty == 0) {
        block_clean(node, block);
        return;
    }
    if (!block->kept)
        block->kept = data_zero();
    for (size_t s = 0; s < BLOCK / SECTOR; s++) {
        if (!(sectors & (1U << s)))
            continue;
        if (block->seen)
            memcpy(block->kept + s * SECTOR, block->seen + s * SECTOR, SECTOR);
        else
            memset(block->kept + s * SECTOR, 0, SECTOR);
    }
}

static void block_write(struct node *node, struct block *block, uint32_t from, const uint8_t *data,
                        uint32_t len, bool durable)
{
    bool whole = len == BLOCK;
    block_allocate(node, block);
    if (whole && durable && all_zero(data, BLOCK)) {
        block_clean(node, block);
        free(block->seen);
        block->seen = NULL;
        return;
    }
    block_touch(node, block, whole);
    block->written = ++node->writes;
    memcpy(block->seen + from, data, len);
    block->dirty |= sectors_of(from, from + len);
    block->forgotten = false;
    block_list(node, block);
    if (durable)
        block_keep_sectors(node, block, sectors_of(from, from + len));
}

/* The new size has become durable, and with it that what was cut off is zero. */
static void node_keep_size(struct node *node)
{
    struct block *block;
    struct block *next;
    node->size_kept = node->size;
    if (!node->cut_pending)
        return;
    node->cut_pending = false;
    for (block = TAILQ_FIRST(&node->dirty); block; block = next) {
        next = TAILQ_NEXT(block, link);
        for (size_t s = 0; block->kept && s < BLOCK / SECTOR; s++) {
            if (block->cut & (1U << s))
                memset(block->kept + s * SECTOR, 0, SECTOR);
        }
        block->cut = 0;
        if (!block->seen)
            block_clean(node, block);
    }
}

struct gather {
    const struct iovec *iov;
    uint64_t skip;
};

/* The next bytes, in one piece: from the vectors themselves when they lie so. */
static const uint8_t *gather_next(struct gather *gather, uint32_t len, uint8_t *scratch)
{
    const struct iovec *iov = gather->iov;
    if (iov->iov_len - gather->skip >= len) {
        const uint8_t *data = (const uint8_t *)iov->iov_base + gather->skip;
        gather->skip += len;
        if (gather->skip == iov->iov_len) {
            gather->iov++;
            gather->skip = 0;
        }
        return data;
    }
    for (uint32_t done = 0; done < len;) {
        uint64_t part = min_u64(len - done, gather->iov->iov_len - gather->skip);
        memcpy(scratch + done, (const uint8_t *)gather->iov->iov_base + gather->skip, part);
        done += (uint32_t)part;
        gather->skip += part;
        if (gather->skip == gather->iov->iov_len) {
            gather->iov++;
            gather->skip = 0;
        }
    }
    return scratch;
}

/* len: may be less than the vectors hold. */
void node_write(struct node *node, const struct iovec *iov, unsigned count, uint64_t offset,
                uint64_t len, bool durable)
{
    uint8_t scratch[BLOCK];
    struct gather gather = {.iov = iov};
    uint64_t end = offset + len;
    (void)count;
    while (offset < end) {
        uint32_t from = (uint32_t)(offset % BLOCK);
        uint32_t part = (uint32_t)min_u64(BLOCK - from, end - offset);
        const uint8_t *data = gather_next(&gather, part, scratch);
        block_write(node, node_block(node, offset / BLOCK, true), from, data, part, durable);
        offset += part;
    }
    bool grew = end > node->size;
    node->size = max_u64(node->size, end);
    if (durable && (grew || end > node->size_kept))
        node_keep_size(node);
}

uint64_t node_read(struct node *node, void *to, uint64_t len, uint64_t offset)
{
    if (offset >= node->size)
        return 0;
    len = min_u64(len, node->size - offset);
    for (uint64_t done = 0; done < len;) {
        uint32_t from = (uint32_t)((offset + done) % BLOCK);
        uint64_t part = min_u64(BLOCK - from, len - done);
        const struct block *block = node_block(node, (offset + done) / BLOCK, false);
        if (block && block->seen)
            memcpy((uint8_t *)to + done, block->seen + from, part);
        else
            memset((uint8_t *)to + done, 0, part);
        done += part;
    }
    return len;
}

/* Bytes [from, BLOCK) go, by a truncation. */
static void block_cut(struct node *node, struct block *block, uint32_t from)
{
    uint32_t whole = (uint32_t)round_up(from, SECTOR);
    if (block->seen || block->dirty) {
        block_touch(node, block, false);
        block->written = ++node->writes;
        memset(block->seen + from, 0, BLOCK - from);
        block->dirty |= sectors_of(from, BLOCK);
        if (whole < BLOCK)
            block->cut |= sectors_of(whole, BLOCK);
        block_list(node, block);
    }
    if (from == 0) {
        free(block->seen);
        block->seen = NULL;
        if (block->allocated)
            node->space--;
        block->allocated = false;
    }
}

void node_truncate(struct node *node, uint64_t size)
{
    if (size < node->size) {
        node->cut_pending = true;
        for (uint64_t c = size / BLOCK / BLOCK_CHUNK; c < node->chunk_count; c++) {
            for (uint64_t i = 0; node->chunks[c] && i < BLOCK_CHUNK; i++) {
                uint64_t at = (c * BLOCK_CHUNK + i) * BLOCK;
                if (at + BLOCK > size)
                    block_cut(node, &node->chunks[c][i], at >= size ? 0 : (uint32_t)(size - at));
            }
        }
    }
    node->size = size;
}

void node_sync(struct node *node, uint64_t mark)
{
    struct block *block;
    struct block *next;
    node_keep_size(node);
    for (block = TAILQ_FIRST(&node->dirty); block; block = next) {
        next = TAILQ_NEXT(block, link);
        if (!block->forgotten && block->written <= mark)
            block_clean(node, block);
    }
}

void node_sync_overwrites(struct node *node)
{
    struct block *block;
    struct block *next;
    for (block = TAILQ_FIRST(&node->dirty); block; block = next) {
        next = TAILQ_NEXT(block, link);
        if (!block->forgotten && !block->cut && block->kept &&
            (uint64_t)block->number * BLOCK < node->size_kept)
            block_clean(node, block);
    }
}

void node_sync_failed(struct node *node, uint64_t mark)
{
    struct block *block;
    TAILQ_FOREACH (block, &node->dirty, link) {
        if (block->written <= mark)
            block->forgotten = true;
    }
}

/* ---- power loss ---- */

static uint64_t size_after(const struct node *node, struct rng *rng, bool *cut_lost)
{
    *cut_lost = false;
    if (node->size == node->size_kept && !node->cut_pending)
        return node->size;
    uint64_t fate = rng_below(rng, node->cut_pending ? 2 : 3);
    *cut_lost = node->cut_pending && fate == 0;
    if (fate == 0)
        return node->size_kept;
    if (fate == 1)
        return node->size;
    uint64_t between = node->size_kept + rng_below(rng, node->size - node->size_kept + 1);
    return max_u64(round_down(between, BLOCK), node->size_kept);
}

static void sector_fate(uint8_t *image, const uint8_t *seen, bool cut_zero,
                        const struct power_dice *dice)
{
    if (cut_zero)
        memset(image, 0, SECTOR);
    if (rng_one_in(dice->rng, dice->torn_one_in)) {
        uint64_t at = rng_below(dice->rng, SECTOR);
        if (seen)
            memcpy(image, seen, at);
        else
            memset(image, 0, at);
    } else if (rng_below(dice->rng, 16) < dice->keep_in_16) {
        if (seen)
            memcpy(image, seen, SECTOR);
        else
            memset(image, 0, SECTOR);
    }
}

static void block_power_loss(struct node *node, struct block *block, bool cut_lost,
                             const struct power_dice *dice)
{
    uint8_t *image = block->kept ? block->kept : data_zero();
    block->kept = NULL;
    for (size_t s = 0; s < BLOCK / SECTOR; s++) {
        bool cut = block->cut & (1U << s);
        if (!(block->dirty & (1U << s)) || (cut && cut_lost))
            continue;
        sector_fate(image + s * SECTOR, block->seen ? block->seen + s * SECTOR : NULL, cut, dice);
    }
    /* A drive may write 4096 bytes where 512 were meant, and half of a physical sector is
     * unreadable as a whole: so the bytes that did not change are lost with those that did. A
     * truncation to the middle of a block is such a write, the file system zeroes the rest in
     * place. Only a block that was cut whole is not touched while the truncation is not durable. */
    bool rewritten = block->cut != SECTORS_ALL || !cut_lost;
    if (rewritten && rng_one_in(dice->rng, dice->block_lost_one_in))
        memset(image, rng_one_in(dice->rng, 2) ? 0 : 0xdb, BLOCK);
    free(block->seen);
    block->seen = image;
    block_clean(node, block);
    if (!block->allocated)
        node->space++;
    block->allocated = true;
}

void node_power_loss(struct node *node, const struct power_dice *dice)
{
    bool cut_lost;
    struct block *block;
    uint64_t size = size_after(node, dice->rng, &cut_lost);
    while ((block = TAILQ_FIRST(&node->dirty)) != NULL)
        block_power_loss(node, block, cut_lost, dice);
    for (uint64_t c = size / BLOCK / BLOCK_CHUNK; c < node->chunk_count; c++) {
        for (uint64_t i = 0; node->chunks[c] && i < BLOCK_CHUNK; i++) {
            uint64_t at = (c * BLOCK_CHUNK + i) * BLOCK;
            block = &node->chunks[c][i];
            if (at >= size)
                block_drop(node, block);
            else if (at + BLOCK > size && block->seen)
                memset(block->seen + (size - at), 0, at + BLOCK - size);
        }
    }
    node->size = size;
    node->size_kept = size;
    node->cut_pending = false;
    node->sync_mark = 0;
    node->writes = 0;
}

bool node_flip(struct node *node, uint64_t offset, uint8_t mask)
{
    struct block *block = offset < node->size ? node_block(node, offset / BLOCK, false) : NULL;
    if (!block)
        return false;
    if (!block->seen)
        block->seen = data_zero();
    block->seen[offset % BLOCK] ^= mask;
    if (block->kept)
        block->kept[offset % BLOCK] ^= mask;
    return true;
}
