/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/read_ahead.h"

#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/log_read.h"
#include "core/log/segment.h"

struct read_chunk {
    TAILQ_ENTRY(read_chunk) link;     /* segment's, by position */
    TAILQ_ENTRY(read_chunk) use_link; /* shard's, least recently used first */
    struct segment *segment;
    struct tail_block *block; /* from `position` on, `used` bytes when it was read */
    uint32_t upto;            /* what was asked for */
    bool reading;
    bool dropped; /* while it is being read: in no list any more */
    struct io_op op;
    struct log_pins waiting;
};

static struct log_shard *shard_of_chunk(const struct read_chunk *chunk)
{
    return chunk->segment->lg->ls;
}

static void chunk_unlist(struct read_chunk *chunk)
{
    TAILQ_REMOVE(&chunk->segment->read_ahead->chunks, chunk, link);
    TAILQ_REMOVE(&shard_of_chunk(chunk)->read_chunks, chunk, use_link);
}

/* In no list. */
static void chunk_free(struct read_chunk *chunk)
{
    tail_put(shard_of_chunk(chunk), chunk->block);
    mem_free(chunk);
}

static void chunk_drop(struct read_chunk *chunk)
{
    chunk_unlist(chunk);
    chunk->dropped = true;
    if (!chunk->reading)
        chunk_free(chunk);
}

void read_ahead_drop(struct segment *segment)
{
    struct read_ahead *ahead = segment->read_ahead;
    struct read_chunk *chunk;
    if (!ahead)
        return;
    while ((chunk = TAILQ_FIRST(&ahead->chunks)) != NULL)
        chunk_drop(chunk);
    mem_free(ahead);
    segment->read_ahead = NULL;
}

/* The one that was used least lately, but none of `but`. */
static bool shrink(struct log_shard *ls, const struct segment *but)
{
    struct read_chunk *chunk;
    TAILQ_FOREACH (chunk, &ls->read_chunks, use_link) {
        if (chunk->reading || chunk->block->refs > 1 || chunk->segment == but)
            continue;
        chunk_drop(chunk);
        return true;
    }
    return false;
}

bool read_ahead_shrink(struct log_shard *ls)
{
    return shrink(ls, NULL);
}

void read_ahead_idle(struct log_shard *ls)
{
    if (TAILQ_EMPTY(&ls->pins_waiting) && TAILQ_EMPTY(&ls->finds_waiting))
        return;
    ls->reads_again = true;
    log_shard_kick(ls);
}

/* ---- reading ---- */

/* Those who wait look again: at the chunk, or at the file. */
static void on_read(struct io_op *op)
{
    struct read_chunk *chunk = container_of(op, struct read_chunk, op);
    struct segment *segment = chunk->segment;
    struct log_body *lg = segment->lg;
    struct log_pins waiting;
    struct log_pin *pin;
    TAILQ_INIT(&waiting);
    TAILQ_CONCAT(&waiting, &chunk->waiting, priv.link);
    chunk->reading = false;
    if (op->res > 0) {
        chunk->block->used =
            (uint32_t)min_u64((uint64_t)op->res, chunk->upto - chunk->block->position);
        count_up(&lg->ls->counts.cold_bytes, (uint64_t)op->res);
    }
    if (chunk->dropped)
        chunk_free(chunk);
    else if (op->res <= 0 || lg->ls->offline)
        chunk_drop(chunk);
    while ((pin = TAILQ_FIRST(&waiting)) != NULL) {
        TAILQ_REMOVE(&waiting, pin, priv.link);
        pin_again(pin);
    }
    read_ahead_idle(lg->ls);
    segment_unuse(segment);
    log_unuse(lg);
}

/* Not what the same reader is about to come to. */
static struct tail_block *chunk_memory(const struct segment *segment)
{
    struct log_shard *ls = segment->lg->ls;
    const struct block_pool *pool = &ls->cold_pool;
    while (pool->used + BLOCK_SIZE_MAX > pool->size / 2)
        if (!shrink(ls, segment))
            return NULL;
    return tail_cold_block(ls, BLOCK_SIZE_MAX);
}

static void chunk_list(struct read_chunk *chunk)
{
    struct read_chunks *chunks = &chunk->segment->read_ahead->chunks;
    struct read_chunk *next;
    TAILQ_INSERT_TAIL(&shard_of_chunk(chunk)->read_chunks, chunk, use_link);
    TAILQ_FOREACH (next, chunks, link) {
        if (next->block->position > chunk->block->position) {
            TAILQ_INSERT_BEFORE(next, chunk, link);
            return;
        }
    }
    TAILQ_INSERT_TAIL(chunks, chunk, link);
}

/* From the disk block that `from` is in. NULL: not now. */
static struct read_chunk *chunk_begin(struct segment *segment, uint32_t from, uint32_t upto)
{
    struct log_body *lg = segment->lg;
    struct tail_block *block = chunk_memory(segment);
    if (block == NULL)
        return NULL;
    struct read_chunk *chunk = mem_zalloc(sizeof(*chunk));
    chunk->segment = segment;
    chunk->block = block;
    block->position = (uint32_t)round_down(from, FS_BLOCK);
    chunk->upto = (uint32_t)min_u64(upto, (uint64_t)block->position + block->size);
    chunk->reading = true;
    TAILQ_INIT(&chunk->waiting);
    chunk_list(chunk);
    lg->users++;
    segment_use(segment);
    chunk->op.done = on_read;
    io_read(lg->ls->io, &chunk->op, segment->file, block->data,
            (uint32_t)round_up(chunk->upto - block->position, FS_BLOCK), block->position);
    return chunk;
}

/* What is missing of [from, upto), from its beginning on, in whole chunks: a reader that goes on by
 * little would else have many small ones. */
static void chunks_fill(struct segment *segment, uint32_t from, uint32_t upto)
{
    while (from < upto) {
        struct read_chunk *chunk = TAILQ_FIRST(&segment->read_ahead->chunks);
        while (chunk && chunk->upto <= from)
            chunk = TAILQ_NEXT(chunk, link);
        if (!chunk || chunk->block->position > from)
            chunk = chunk_begin(segment, from, chunk ? chunk->block->position : segment->written);
        if (!chunk)
            return;
        from = chunk->upto;
    }
}

/* ---- readers ---- */

static bool goes_on(struct read_ahead *ahead, uint32_t from, uint32_t end)
{
    bool known = from == 0;
    uint32_t at = ahead->next_end;
    for (uint32_t i = 0; i < READ_AHEAD_READERS; i++) {
        if (ahead->ends[i] != from || from == 0)
            continue;
        known = true;
        at = i;
        break;
    }
    if (at == ahead->next_end)
        ahead->next_end = (at + 1) % READ_AHEAD_READERS;
    ahead->ends[at] = end;
    return known;
}

void read_ahead_go(struct segment *segment, uint32_t from, uint32_t end)
{
    if (!segment->read_ahead) {
        segment->read_ahead = mem_zalloc(sizeof(*segment->read_ahead));
        TAILQ_INIT(&segment->read_ahead->chunks);
    }
    if (!goes_on(segment->read_ahead, from, end) || segment->file < 0 || segment->doomed ||
        segment->lg->state != LOG_LIVE || segment->lg->ls->stopping)
        return;
    uint64_t upto = min_u64((uint64_t)end + READ_AHEAD_BYTES, segment->written);
    if (upto > end)
        chunks_fill(segment, end, (uint32_t)upto);
}

static struct read_chunk *chunk_at(const struct segment *segment, uint32_t position)
{
    struct read_chunk *chunk;
    if (!segment->read_ahead)
        return NULL;
    TAILQ_FOREACH (chunk, &segment->read_ahead->chunks, link)
        if (chunk->block->position <= position && position < chunk->upto)
            return chunk;
    return NULL;
}

enum read_verdict read_ahead_take(struct segment *segment, struct log_pin *pin,
                                  struct tail_block **block)
{
    struct read_chunk *chunk = chunk_at(segment, pin->priv.position);
    struct log_shard *ls = segment->lg->ls;
    if (!chunk)
        return READ_MISSES;
    if (chunk->reading) {
        TAILQ_INSERT_TAIL(&chunk->waiting, pin, priv.link);
        return READ_COMES;
    }
    uint32_t end = chunk->block->position + chunk->block->used;
    if (pin->priv.position >= end) { /* the file was shorter */
        chunk_drop(chunk);
        return READ_MISSES;
    }
    *block = chunk->block;
    tail_get(chunk->block);
    if (pin->priv.length_max >= end - pin->priv.position) {
        chunk_drop(chunk);
    } else {
        TAILQ_REMOVE(&ls->read_chunks, chunk, use_link);
        TAILQ_INSERT_TAIL(&ls->read_chunks, chunk, use_link);
    }
    return READ_HAS;
}

bool read_ahead_copy(const struct segment *segment, uint32_t at, void *to, uint32_t len)
{
    const struct read_chunk *chunk = chunk_at(segment, at);
    if (!chunk || chunk->reading || at + len > chunk->block->position + chunk->block->used)
        return false;
    memcpy(to, chunk->block->data + (at - chunk->block->position), len);
    return true;
}
