/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk for a time, segment by segment: those whose greatest timestamp is known are passed, in the
 * others it begins where the time index says (core/log/segment_index.c).
 */
#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/log/segment_index.h"
#include "core/record/batch.h"

/* What the log no longer holds, or the reader may not see yet, does not count. */
void find_time_hint(const struct log_body *lg, struct log_find *find, const struct segment *segment)
{
    find->priv.at = segment_index_find(segment, find->offset).position;
    bool maximum = find->priv.mode == FIND_TIMESTAMP_MAX;
    const struct time_entry *entry =
        segment_time_find(segment, maximum ? INT64_MAX : find->priv.timestamp, find_upto(lg, find));
    if (entry == NULL || entry->position < find->priv.at ||
        segment->base + entry->relative_offset < find->offset)
        return;
    find->priv.at = entry->position;
    find->priv.claimed = true;
    find->priv.claim_timestamp = entry->timestamp;
    find->priv.claim_offset = entry->relative_offset;
}

bool find_time_skips(struct log_body *lg, struct log_find *find, const struct segment *segment)
{
    const struct segment_times *times = &segment->times;
    if (!segment_times_known(segment))
        return false;
    if (find->priv.mode == FIND_TIMESTAMP)
        return times->max_timestamp < find->priv.timestamp;
    const struct log_range *range = &times->max_range;
    if (range->base_offset < find->offset || range->base_offset >= find_upto(lg, find))
        return false;
    if (times->max_timestamp > find->priv.best_timestamp) {
        find->priv.best_timestamp = times->max_timestamp;
        find->priv.best = *range;
    }
    return true;
}

bool find_time_matches(struct log_find *find, const struct segment *segment,
                       const struct batch_header *header)
{
    if (batch_last_offset(header) < find->offset || header->record_count == 0)
        return false; /* without records no time either: compaction leaves such batches */
    if (find->priv.mode == FIND_TIMESTAMP)
        return header->max_timestamp >= find->priv.timestamp;
    if (header->max_timestamp > find->priv.best_timestamp) {
        find->priv.best_timestamp = header->max_timestamp;
        find->priv.best = (struct log_range){.base_offset = header->base_offset,
                                             .segment_base = segment->base,
                                             .segment_version = segment->version,
                                             .position = find->priv.at,
                                             .length = (uint32_t)batch_size(header)};
    }
    return false;
}

void find_time_leave(const struct log_body *lg, struct segment *segment)
{
    if (segment->sealed && !lg->ls->stopping)
        segment_index_rewrite(segment);
    /* A search through a long log must not collect the indexes of all of it. */
    if (segment->sealed && segment->job == NULL && segment_times_known(segment))
        segment_index_forget(segment);
}

bool find_time_holds(struct log_find *find, const struct segment *segment,
                     const struct batch_header *header)
{
    const struct time_entry claim = {.timestamp = find->priv.claim_timestamp,
                                     .relative_offset = find->priv.claim_offset};
    bool met;
    bool holds = segment_time_claim_holds(segment, &claim, header, &met);
    find->priv.claimed = !met;
    return holds;
}
