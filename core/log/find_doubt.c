/* SPDX-License-Identifier: Apache-2.0
 *
 * May a walk believe the headers that it meets? What a batch says of its offsets is either not
 * covered by its checksum (the first one) or by a checksum that a walk does not read (the last
 * one), so a flipped bit could make the walk answer with another batch, or pass over the one that
 * was asked for. Batches of a log follow each other, and that is what is looked at here:
 *
 *   - one that begins below the end of the one before it, ends behind its segment or is not of the
 *     epoch that the log had there, is damaged; which of two, when they overlap, is told by the
 *     one before them: who follows without a gap is right;
 *   - where the walk began by a hint the batch must be the one that the hint has seen;
 *   - after a gap, which only compaction leaves, a batch is answered when the one behind it agrees;
 *   - where the offset asked for is in no batch, the checksum of the one before the hole has to be
 *     right, which is read for that;
 *   - a damaged batch is passed, by its length or, where that leads to nothing, by the index of
 *     offsets, and from then on only one that holds the offset asked for is an answer: the next
 *     one would hide that something is missing.
 */
#include "core/log/find_doubt.h"

#include "core/log/log_find.h"
#include "core/log/log_private.h"
#include "core/log/segment_index.h"
#include "core/record/batch.h"

#define FOLLOWS_UNKNOWN (-1) /* the walk has begun in the middle */
#define FOLLOWS_DAMAGE  (-2)

void find_doubt_begin(struct log_find *find, const struct segment *segment)
{
    bool damaged = find->priv.follows == FOLLOWS_DAMAGE && !find->priv.no_hints;
    if (!damaged)
        find->priv.follows = find->priv.at == 0 ? segment->base : FOLLOWS_UNKNOWN;
    find->priv.has_gap = false;
    find->priv.before_size = 0;
    find->priv.proving = false;
    find->priv.candidate = UINT32_MAX;
    find->priv.believed = UINT32_MAX;
}

bool find_doubt_missed(const struct log_find *find)
{
    return find->priv.follows == FOLLOWS_DAMAGE;
}

static void meet_damage(struct log_find *find)
{
    find->priv.follows = FOLLOWS_DAMAGE;
    find->priv.has_gap = false;
    find->priv.before_size = 0;
    find->priv.lost_at = find->priv.at;
}

static enum find_doubt pass_damaged(struct log_find *find, const struct batch_header *header)
{
    meet_damage(find);
    find->priv.at += (uint32_t)batch_size(header);
    return DOUBT_ON;
}

static enum find_doubt pass_by_index(const struct segment *segment, struct log_find *find)
{
    const struct index_entry *entry = segment_index_after(segment, find->priv.lost_at);
    if (entry == NULL)
        return DOUBT_CORRUPT;
    find->priv.at = entry->position;
    find->priv.lost_at = entry->position;
    return DOUBT_ON;
}

/* Behind the candidate; NULL: who stands there can say nothing. */
static enum find_doubt judge_candidate(struct segment *segment, struct log_find *find,
                                       const struct batch_header *header)
{
    uint32_t at = find->priv.candidate;
    find->priv.candidate = UINT32_MAX;
    find->priv.at = at;
    if (header != NULL && header->base_offset < find->priv.candidate_end) {
        segment_damaged(segment, at, find->priv.before_offset);
        return DOUBT_CORRUPT;
    }
    find->priv.believed = at;
    return DOUBT_ON;
}

/* It begins below the end of the one before it. */
static enum find_doubt judge_order(struct segment *segment, struct log_find *find,
                                   const struct batch_header *header)
{
    if (!find->priv.has_gap) {
        segment_damaged(segment, find->priv.at, header->base_offset);
        return pass_damaged(find, header);
    }
    segment_damaged(segment, find->priv.before_at, find->priv.before_offset);
    meet_damage(find);
    return DOUBT_NONE;
}

static void remember(struct log_find *find, const struct batch_header *header, bool gap)
{
    find->priv.before_at = find->priv.at;
    find->priv.before_offset = header->base_offset;
    find->priv.before_size = (uint32_t)batch_size(header);
    find->priv.before_crc = header->crc;
    find->priv.before_proven = false;
    find->priv.has_gap = gap;
}

bool find_doubt_prove(struct log_find *find)
{
    if (find->priv.before_size == 0 || find->priv.before_proven)
        return false;
    find->priv.proving = true;
    find->priv.prove_at = find->priv.before_at + BATCH_CRC_FROM;
    find->priv.prove_crc = 0;
    return true;
}

bool find_doubt_proven(struct segment *segment, struct log_find *find)
{
    find->priv.proving = false;
    find->priv.before_proven = true;
    if (find->priv.prove_crc == find->priv.before_crc)
        return true;
    segment_damaged(segment, find->priv.before_at, find->priv.before_offset);
    return false;
}

enum find_doubt find_doubt(struct segment *segment, struct log_find *find,
                           const struct batch_header *header, uint32_t limit)
{
    const int64_t end = batch_last_offset(header) + 1;
    const bool damaged = segment_damage_after(segment, find->priv.at) == find->priv.at;
    if (find->priv.candidate != UINT32_MAX)
        return judge_candidate(segment, find, damaged ? NULL : header);
    if (find->priv.at == find->priv.believed)
        return DOUBT_NONE;
    if (damaged)
        return pass_damaged(find, header);
    if (!find_hint_was_right(find, header))
        return DOUBT_AGAIN;
    if (end > segment->end_offset || header->base_offset < segment->base ||
        !epoch_holds(&segment->lg->epochs, header->base_offset, header->leader_epoch)) {
        if (find->priv.follows == FOLLOWS_DAMAGE)
            return pass_by_index(segment, find);
        segment_damaged(segment, find->priv.at, header->base_offset);
        return pass_damaged(find, header);
    }
    if (header->base_offset < find->priv.follows) {
        enum find_doubt doubt = judge_order(segment, find, header);
        if (doubt != DOUBT_NONE)
            return doubt;
    }
    if (end > find->offset && header->base_offset > find->offset && find_doubt_prove(find))
        return DOUBT_ON;
    const bool gap = find->priv.follows >= 0 && header->base_offset > find->priv.follows;
    remember(find, header, gap);
    if (end <= find->offset) {
        find->priv.follows = end;
        return DOUBT_NONE;
    }
    if (header->base_offset > find->offset && find->priv.follows == FOLLOWS_DAMAGE)
        return DOUBT_CORRUPT;
    if (gap && batch_size(header) < (int64_t)limit - find->priv.at) {
        find->priv.candidate = find->priv.at;
        find->priv.candidate_end = end;
        find->priv.at += (uint32_t)batch_size(header);
        return DOUBT_ON;
    }
    return DOUBT_NONE;
}

enum find_doubt find_doubt_unfit(struct segment *segment, struct log_find *find, int64_t offset)
{
    if (find->priv.candidate != UINT32_MAX)
        return judge_candidate(segment, find, NULL);
    if (find->priv.follows == FOLLOWS_DAMAGE)
        return pass_by_index(segment, find);
    if (segment_damage_after(segment, find->priv.at) != find->priv.at) {
        if (!find->priv.from_start)
            return DOUBT_AGAIN;
        segment_damaged(segment, find->priv.at, offset);
    }
    meet_damage(find);
    return pass_by_index(segment, find);
}
