/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers for a walk, wherever they are: in the tail, or read from the segment, 64 KiB at a time
 * into the cold budget.
 */
#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/log/read_ahead.h"
#include "core/record/batch.h"
#include "io/crc.h"

#define FIND_READ (64U << 10)

void find_wait(struct log_shard *ls, struct log_find *find)
{
    find->priv.waiting = true;
    TAILQ_INSERT_TAIL(&ls->finds_waiting, find, priv.link);
}

static enum find_step find_read(struct log_body *lg, struct segment *segment, struct log_find *find,
                                uint32_t at)
{
    struct log_shard *ls = lg->ls;
    if (!segment_ready(segment, 0))
        return STEP_WAIT;
    if (find->priv.block == NULL)
        find->priv.block = tail_cold_block(ls, FIND_READ);
    while (find->priv.block == NULL && read_ahead_shrink(ls))
        find->priv.block = tail_cold_block(ls, FIND_READ);
    if (find->priv.block == NULL)
        return STEP_WAIT;
    find->priv.buffer_position = (uint32_t)round_down(at, FS_BLOCK);
    find->priv.wanted = at;
    find->priv.buffer_end = segment->written; /* what comes from behind it means nothing */
    segment_use(segment);
    find->priv.block->segment = segment; /* kept alive by the use */
    find->priv.op.done = find_on_read;
    io_read(ls->io, &find->priv.op, segment->file, find->priv.block->data, FIND_READ,
            find->priv.buffer_position);
    return STEP_READ;
}

/* Of a header that the tail does not hold as a whole: it may begin in a block that was written and
 * evicted, and end in one that was not. */
static bool find_pieces(const struct log_body *lg, const struct segment *segment,
                        const struct log_find *find, uint32_t at, uint8_t bytes[BATCH_HEADER_SIZE])
{
    uint32_t begin = find->priv.buffer_position;
    uint32_t end = begin + find->priv.buffer_len;
    uint32_t got = 0;
    while (got < BATCH_HEADER_SIZE) {
        uint32_t from = at + got;
        uint32_t run = (uint32_t)min_u64(BATCH_HEADER_SIZE - got, FS_BLOCK - from % FS_BLOCK);
        if (tail_holds(lg, segment, from, run))
            tail_copy_out(lg, segment, from, bytes + got, run);
        else if (from >= begin && from + run <= end)
            memcpy(bytes + got, find->priv.block->data + (from - begin), run);
        else
            return false;
        got += run;
    }
    return true;
}

enum find_step find_header(struct log_body *lg, struct segment *segment, struct log_find *find,
                           uint32_t at, struct batch_header *header)
{
    uint8_t bytes[BATCH_HEADER_SIZE];
    if (tail_holds(lg, segment, at, BATCH_HEADER_SIZE))
        tail_copy_out(lg, segment, at, bytes, BATCH_HEADER_SIZE);
    else if (at + BATCH_HEADER_SIZE <= segment->written &&
             read_ahead_copy(segment, at, bytes, BATCH_HEADER_SIZE))
        ; /* a reader is expected here */
    else if (!find_pieces(lg, segment, find, at, bytes))
        return find_read(lg, segment, find, at);
    batch_header_of(header, bytes);
    return STEP_GOT;
}

enum find_step find_prove(struct log_body *lg, struct segment *segment, struct log_find *find)
{
    const uint32_t end = find->priv.before_at + find->priv.before_size;
    if (end > segment->written ||
        tail_holds(lg, segment, find->priv.before_at, find->priv.before_size))
        find->priv.prove_crc = find->priv.before_crc;
    else
        while (find->priv.prove_at < end) {
            uint32_t at = find->priv.prove_at;
            uint32_t have = find->priv.buffer_position + find->priv.buffer_len;
            if (at < find->priv.buffer_position || at >= have)
                return find_read(lg, segment, find, at);
            uint32_t run = (uint32_t)min_u64(end, have) - at;
            find->priv.prove_crc =
                crc32c(find->priv.prove_crc,
                       find->priv.block->data + (at - find->priv.buffer_position), run);
            find->priv.prove_at += run;
        }
    return STEP_GOT;
}
