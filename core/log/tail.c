/* SPDX-License-Identifier: Apache-2.0
 *
 * The tail buffer: the newest bytes of each log, in blocks. It is the target of the one copy from
 * the socket, the source of the journal's copy, of the lazy write to the segment and of the send,
 * and the cache for readers near the end; a block goes when its memory is wanted and its bytes are
 * in the segment file.
 *
 * Sizes follow the load: a log's next block is larger when the last one filled within 50 ms, and a
 * page again when that took 5 s; no log takes more than its share of a quarter of the pool. An idle
 * log may lose even its last, partial block: the next append reads that page back first.
 *
 * How much of the plan is touched follows the readers: a clean block is used again before new
 * memory is, until a reader misses bytes that a larger tail would still have; then the target grows
 * by what was missed. Memory that was just used is in the cache, and the first touch of a page is
 * the dearest thing that can happen to a byte (2 s/GB were measured in a virtual machine whose host
 * gives memory on demand: more than all else together).
 */
#include "core/log/tail.h"

#include "core/log/log_change.h"
#include "core/log/log_private.h"

#define TAIL_SLAB        64U
#define TAIL_FILLED_FAST 50000000ULL
#define TAIL_FILLED_SLOW 5000000000ULL
#define TAIL_TARGET      (32ULL << 20) /* to begin with */
#define ENDS_GROW        (16ULL << 10) /* a page, and what is appended to it */

void tail_init(struct log_shard *ls)
{
    block_pool_init(&ls->pool, max_u64(ls->dir->options.tail_bytes, BLOCK_SIZE_MAX));
    block_pool_init(&ls->cold_pool, max_u64(ls->dir->options.cold_bytes, 2ULL * BLOCK_SIZE_MAX));
    ls->tail_target = min_u64(TAIL_TARGET, ls->pool.size);
    TAILQ_INIT(&ls->clean);
    TAILQ_INIT(&ls->spare);
}

void tail_fini(struct log_shard *ls)
{
    block_pool_fini(&ls->pool);
    block_pool_fini(&ls->cold_pool);
    for (uint32_t i = 0; i < ls->slab_count; i++)
        mem_free(ls->slabs[i]);
    mem_free(ls->slabs);
}

/* ---- blocks ---- */

static struct tail_block *tail_descriptor(struct log_shard *ls)
{
    if (TAILQ_EMPTY(&ls->spare)) {
        struct tail_block *slab = mem_zalloc(TAIL_SLAB * sizeof(*slab));
        ls->slabs = mem_realloc(ls->slabs, (ls->slab_count + 1) * sizeof(ls->slabs[0]));
        ls->slabs[ls->slab_count++] = slab;
        for (uint32_t i = 0; i < TAIL_SLAB; i++)
            TAILQ_INSERT_TAIL(&ls->spare, &slab[i], link);
    }
    struct tail_block *block = TAILQ_FIRST(&ls->spare);
    TAILQ_REMOVE(&ls->spare, block, link);
    return block;
}

static void tail_release(struct log_shard *ls, struct tail_block *block)
{
    must(block->refs == 0 && block->lg == NULL && !block->clean);
    block_put(block->cold ? &ls->cold_pool : &ls->pool, block->data, block->size_class);
    TAILQ_INSERT_HEAD(&ls->spare, block, link);
    ls->reads_again = ls->reads_again || block->cold;
    if (ls->waiting_memory > 0 || ls->reads_again)
        log_shard_kick(ls);
}

/* Out of its log's list; memory goes when the last pin is back. */
void tail_drop(struct log_shard *ls, struct tail_block *block)
{
    struct log_body *lg = block->lg;
    must(lg != NULL);
    TAILQ_REMOVE(&lg->blocks, block, link);
    if (block->clean)
        TAILQ_REMOVE(&ls->clean, block, clean_link);
    block->clean = false;
    if (lg->tail == block)
        lg->tail = NULL;
    block->lg = NULL;
    block->segment = NULL;
    tail_put(ls, block);
}

/* What bypasses the journal may be in the file before its record was made from these bytes. */
static bool tail_flushed(const struct tail_block *block)
{
    const struct log_body *lg = block->lg;
    if (io_mutation(lg->ls->io, "bypass.evicted_too_early"))
        return true;
    return block->segment != lg->flushed_segment
               ? block->segment->base < lg->flushed_segment->base
               : block->position + block->used <= lg->flushed_position;
}

/* May its memory be taken? All its bytes are in the file, and nothing is about to be added. */
static bool tail_evictable(const struct tail_block *block)
{
    const struct segment *segment = block->segment;
    must(segment != NULL);
    if (!tail_flushed(block))
        return false;
    if (segment->written >= block->position + block->size)
        return true;
    if (segment->written < block->position + block->used || segment->written != segment->size)
        return false;
    return !block->lg->writing && segment->size == block->position + block->used;
}

static void tail_settle(struct tail_block *block)
{
    if (block->lg == NULL || block->clean || block->refs != 1 || !tail_evictable(block))
        return;
    struct log_shard *ls = block->lg->ls;
    block->clean = true;
    TAILQ_INSERT_TAIL(&ls->clean, block, clean_link);
    if (ls->waiting_memory > 0)
        log_shard_kick(ls);
}

void tail_get(struct tail_block *block)
{
    block->refs++;
}

void tail_put(struct log_shard *ls, struct tail_block *block)
{
    must(block->refs > 0);
    if (--block->refs == 0)
        tail_release(ls, block);
    else if (block->cold)
        read_ahead_idle(ls);
    else
        tail_settle(block);
}

static bool tail_evict(struct log_shard *ls)
{
    struct tail_block *block;
    while ((block = TAILQ_FIRST(&ls->clean)) != NULL) {
        if (block->refs == 1 && tail_evictable(block)) {
            tail_drop(ls, block);
            return true;
        }
        TAILQ_REMOVE(&ls->clean, block, clean_link); /* pinned or written to: it comes back */
        block->clean = false;
    }
    return false;
}

void tail_missed(const struct log_body *lg, const struct segment *segment, uint32_t position,
                 uint32_t bytes)
{
    struct log_shard *ls = lg->ls;
    uint64_t behind = segment->size - position;
    while (behind <= ls->pool.size && (segment = TAILQ_NEXT(segment, link)) != NULL)
        behind += segment->size;
    if (behind <= ls->pool.size)
        ls->tail_target = min_u64(ls->tail_target + bytes, ls->pool.size);
}

static struct tail_block *tail_block_new(struct log_shard *ls, unsigned size_class)
{
    uint8_t *data;
    while (ls->pool.used + block_size_of(size_class) > ls->tail_target && tail_evict(ls))
        ;
    while ((data = block_get(&ls->pool, size_class)) == NULL) {
        if (!tail_evict(ls)) {
            if (size_class == 0)
                return NULL;
            size_class--;
        }
    }
    struct tail_block *block = tail_descriptor(ls);
    *block = (struct tail_block){.data = data,
                                 .size = block_size_of(size_class),
                                 .size_class = (uint8_t)size_class,
                                 .refs = 1,
                                 .first_position = UINT32_MAX};
    return block;
}

struct tail_block *tail_cold_block(struct log_shard *ls, uint32_t bytes)
{
    unsigned size_class = block_class_of(bytes);
    uint8_t *data = block_get(&ls->cold_pool, size_class);
    if (data == NULL)
        return NULL;
    struct tail_block *block = tail_descriptor(ls);
    *block = (struct tail_block){.data = data,
                                 .size = block_size_of(size_class),
                                 .size_class = (uint8_t)size_class,
                                 .refs = 1,
                                 .cold = true};
    return block;
}

/* ---- making room ---- */

static void tail_adapt(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    uint64_t now = io_now_ns(ls->io);
    uint64_t took = now - lg->block_since_ns;
    lg->block_since_ns = now;
    if (took < TAIL_FILLED_FAST) {
        uint64_t share = ls->pool.size / 4 / (uint64_t)max_u64(ls->log_count, 1);
        if (lg->size_class + 1U < BLOCK_CLASSES && block_size_of(lg->size_class + 1U) <= share)
            lg->size_class++;
    } else if (took > TAIL_FILLED_SLOW) {
        lg->size_class = 0;
    }
}

static void tail_on_load(struct io_op *op)
{
    struct log_body *lg = container_of(op, struct log_body, load_op);
    struct log_shard *ls = lg->ls;
    struct tail_block *block = lg->load_block;
    struct segment *segment = block->segment;
    lg->load_block = NULL;
    lg->loading = false;
    log_unuse(lg);
    /* A file that was cut to its data ends inside the block. */
    uint32_t used = segment->size - block->position;
    bool read = op->res >= (int64_t)used;
    segment_unuse(segment);
    if (read && lg->tail == NULL && lg->active == segment && used < FS_BLOCK) {
        block->used = used;
        block->loaded = true;
        block->lg = lg;
        TAILQ_INSERT_TAIL(&lg->blocks, block, link);
        lg->tail = block;
        tail_settle(block);
    } else {
        block->segment = NULL;
        tail_put(ls, block);
    }
    if (!read)
        log_shard_fail(ls, "read the tail of", lg->log.topic, op->res);
    log_shard_kick(ls);
}

/* Reads the partial last block back. True when it is under way or waits for the file. */
static bool tail_load(struct log_body *lg, struct segment *segment, uint32_t from)
{
    if (lg->loading || !segment_ready(segment, 0))
        return true;
    /* The target is too small for the ends of all logs that are written to. */
    lg->ls->tail_target = min_u64(lg->ls->tail_target + ENDS_GROW, lg->ls->pool.size);
    struct tail_block *block = tail_block_new(lg->ls, 0);
    if (block == NULL)
        return false;
    block->segment = segment;
    block->position = (uint32_t)round_down(from, FS_BLOCK);
    lg->load_block = block;
    lg->loading = true;
    lg->users++;
    segment_use(segment);
    lg->load_op.done = tail_on_load;
    io_read(lg->ls->io, &lg->load_op, segment->file, block->data, FS_BLOCK, block->position);
    return true;
}

static bool tail_extend(struct log_body *lg, struct segment *segment, uint32_t from, uint32_t end)
{
    struct tail_blocks fresh = TAILQ_HEAD_INITIALIZER(fresh);
    while (from < end) {
        tail_adapt(lg);
        unsigned size_class = block_class_of(end - from);
        if (size_class < lg->size_class)
            size_class = lg->size_class;
        struct tail_block *block = tail_block_new(lg->ls, size_class);
        if (block == NULL) {
            while ((block = TAILQ_FIRST(&fresh)) != NULL) {
                TAILQ_REMOVE(&fresh, block, link);
                tail_put(lg->ls, block);
            }
            return false;
        }
        block->position = from;
        block->used = 0;
        from += block->size;
        TAILQ_INSERT_TAIL(&fresh, block, link);
    }
    struct tail_block *block;
    TAILQ_FOREACH (block, &fresh, link) {
        block->lg = lg;
        block->segment = segment;
    }
    TAILQ_CONCAT(&lg->blocks, &fresh, link);
    return true;
}

enum log_verdict tail_reserve(struct log_body *lg, struct segment *segment, uint32_t from,
                              uint32_t len, bool *memory)
{
    struct tail_block *tail = lg->tail;
    *memory = false;
    if (tail != NULL && tail->segment == segment) {
        must(from == tail->position + tail->used);
        if (tail->clean) {
            TAILQ_REMOVE(&lg->ls->clean, tail, clean_link);
            tail->clean = false;
        }
        uint32_t end = tail->position + tail->size;
        if (from + len <= end)
            return LOG_OK;
        *memory = !tail_extend(lg, segment, end, from + len);
        if (*memory)
            tail_settle(tail);
    } else if (from % FS_BLOCK == 0) {
        *memory = !tail_extend(lg, segment, from, from + len);
    } else {
        *memory = !tail_load(lg, segment, from);
        return LOG_WAIT;
    }
    return *memory ? LOG_WAIT : LOG_OK;
}

void tail_rewind(struct log_body *lg, struct segment *segment, uint32_t end)
{
    struct tail_block *block;
    while ((block = TAILQ_LAST(&lg->blocks, tail_blocks)) != NULL) {
        if (block->segment->base < segment->base ||
            (block->segment == segment && block->position < end))
            break;
        tail_drop(lg->ls, block);
    }
    if (block == NULL || block->segment != segment || end >= block->position + block->size) {
        lg->tail =
            block != NULL && block->segment == segment && end == block->position + block->size
                ? block
                : NULL;
    } else {
        lg->tail = block;
    }
    if (lg->tail == NULL)
        return;
    lg->tail->used = end - lg->tail->position;
    if (lg->tail->first_position != UINT32_MAX && lg->tail->first_position >= end)
        lg->tail->first_position = UINT32_MAX;
    tail_settle(lg->tail);
}

/* ---- looking ---- */

struct tail_block *tail_find(const struct log_body *lg, const struct segment *segment,
                             uint32_t position)
{
    struct tail_block *block;
    TAILQ_FOREACH_REVERSE(block, &lg->blocks, tail_blocks, link)
    {
        if (block->segment != segment) {
            if (block->segment->base < segment->base)
                return NULL;
            continue;
        }
        if (position >= block->position)
            return position < block->position + block->size ? block : NULL;
    }
    return NULL;
}

bool tail_holds(const struct log_body *lg, const struct segment *segment, uint32_t from,
                uint32_t len)
{
    const struct tail_block *block = tail_find(lg, segment, from);
    uint32_t end = from + len;
    while (block != NULL && block->segment == segment && from >= block->position) {
        from = block->position + block->size;
        if (from >= end)
            return true;
        block = TAILQ_NEXT(block, link);
    }
    return false;
}

void tail_copy_out(const struct log_body *lg, const struct segment *segment, uint32_t from,
                   void *to, uint32_t len)
{
    const struct tail_block *block = tail_find(lg, segment, from);
    uint8_t *at = to;
    while (len > 0) {
        must(block != NULL && block->segment == segment && from >= block->position);
        uint32_t run = (uint32_t)min_u64(len, block->position + block->size - from);
        memcpy(at, block->data + (from - block->position), run);
        at += run;
        from += run;
        len -= run;
        block = TAILQ_NEXT(block, link);
    }
}

uint32_t tail_crc(const struct log_body *lg, const struct segment *segment, uint32_t from,
                  uint32_t len)
{
    const struct tail_block *block = tail_find(lg, segment, from);
    uint32_t crc = 0;
    while (len > 0) {
        must(block != NULL && block->segment == segment && from >= block->position);
        uint32_t run = (uint32_t)min_u64(len, block->position + block->size - from);
        crc = crc32c(crc, block->data + (from - block->position), run);
        from += run;
        len -= run;
        block = TAILQ_NEXT(block, link);
    }
    return crc;
}

unsigned tail_gather(const struct log_body *lg, const struct segment *segment, uint32_t from,
                     uint32_t upto, struct iovec iov[], unsigned count_max, uint32_t *reached)
{
    unsigned count = 0;
    const struct tail_block *block = tail_find(lg, segment, from);
    while (from < upto && count < count_max) {
        must(block != NULL && block->segment == segment && from >= block->position);
        uint32_t run = (uint32_t)min_u64(upto - from, block->position + block->size - from);
        iov[count++] =
            (struct iovec){.iov_base = block->data + (from - block->position), .iov_len = run};
        from += run;
        block = TAILQ_NEXT(block, link);
    }
    *reached = from;
    return count;
}

/* ---- going ---- */

void tail_written(struct log_body *lg, struct segment *segment)
{
    struct tail_block *block;
    TAILQ_FOREACH_REVERSE(block, &lg->blocks, tail_blocks, link)
    {
        if (block->segment != segment) {
            if (block->segment->base < segment->base)
                return;
            continue;
        }
        if (block->clean)
            return; /* older ones were settled before it */
        tail_settle(block);
    }
}

void tail_drop_all(struct log_body *lg)
{
    struct tail_block *block;
    while ((block = TAILQ_FIRST(&lg->blocks)) != NULL)
        tail_drop(lg->ls, block);
}
