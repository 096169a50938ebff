/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a walk by offset begins: at the largest place known of a batch at or before it, be it a
 * mark left by an earlier find, the first batch of a tail block, or an entry of the sparse index. A
 * reader at the end of the log finds its place by a mark, without touching a header.
 */
#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/log/segment_index.h"
#include "core/record/batch.h"

void log_marks_clear(struct log_body *lg)
{
    for (uint32_t i = 0; i < LOG_MARKS; i++)
        lg->marks[i].offset = -1;
}

void log_mark_put(struct log_body *lg, int64_t offset, int64_t segment_base, uint32_t position)
{
    for (uint32_t i = 0; i < LOG_MARKS; i++) {
        if (lg->marks[i].offset == offset)
            return;
    }
    lg->marks[lg->next_mark++ % LOG_MARKS] =
        (struct log_mark){.offset = offset, .place = {segment_base, position}};
}

struct find_hint find_hint(const struct log_body *lg, const struct segment *segment, int64_t offset)
{
    const struct index_entry entry = segment_index_find(segment, offset);
    struct find_hint best = {.position = entry.position, .base_offset = -1, .last_offset = -1};
    if (entry.position > 0)
        best.last_offset = segment->base + entry.relative_offset;
    for (uint32_t i = 0; i < LOG_MARKS; i++) {
        const struct log_mark *mark = &lg->marks[i];
        if (mark->offset >= 0 && mark->offset <= offset &&
            mark->place.segment_base == segment->base && mark->place.position > best.position)
            best = (struct find_hint){mark->place.position, mark->offset, -1};
    }
    const struct tail_block *block;
    TAILQ_FOREACH_REVERSE(block, &lg->blocks, tail_blocks, link)
    {
        if (block->segment != segment) {
            if (block->segment->base < segment->base)
                break;
            continue;
        }
        if (block->position + block->size <= best.position)
            break;
        if (block->first_position == UINT32_MAX || block->first_offset > offset)
            continue;
        if (block->first_position > best.position)
            best = (struct find_hint){block->first_position, block->first_offset, -1};
        break;
    }
    return best;
}

bool find_hint_was_right(const struct log_find *find, const struct batch_header *header)
{
    if (find->priv.walked || find->priv.from_start)
        return true;
    return header->base_offset <= find->offset &&
           (find->priv.hint_base < 0 || header->base_offset == find->priv.hint_base) &&
           (find->priv.hint_last < 0 || batch_last_offset(header) == find->priv.hint_last);
}

void find_disown(struct log_body *lg, const struct log_find *find, struct segment *segment)
{
    if (find->priv.mode != FIND_OFFSET || find->priv.walked)
        return;
    if (find->priv.hint_last >= 0)
        segment_index_disown(segment, find->priv.at);
    else
        log_marks_clear(lg);
}
