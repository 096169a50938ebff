/* SPDX-License-Identifier: Apache-2.0
 *
 * What another replica gives is put into a damaged segment, if it is right.
 *
 * From a damaged batch on its bytes are laid beside those of the file, until both agree again:
 *
 *     block:      |           |           |           |
 *     batches:    [ a ][  b  ][##c##][#####d#####][  e   ][ f ]
 *     given:           [  b  ][  c  ][     d     ][  e   ]
 *                      anchor
 *
 * All that is given follows each other without a gap, from the batch on that the first block begins
 * in (the anchor), and each batch has the right checksum and an epoch that our history has there.
 * Where file and answer differ the file's batch must be damaged; where it is good, and another one,
 * nothing is touched. The range ends where both have the same batch again, or where the segment
 * ends. So its bytes fit it exactly, and every byte of a block that is written was just seen to be
 * the same on another replica, below its high watermark.
 *
 * That is also why a crash in the midst is safe. The blocks at both ends hold bytes of healthy
 * batches, and power that is lost may take a block with it that is being written. They are written
 * with what they held; if they are lost all the same there is a copy where this one came from, and
 * what is lost here is damage like any other: found by the scrub or by who reads it, and mended.
 * Rejected: a copy in log.id as for a cut (core/log/segment_cut.c), which has room for one block,
 * and a segment written anew that takes the place of this one (core/log/log_swap.c), a gigabyte for
 * a bit.
 *
 * Where compaction has left gaps nothing is put back: nothing proves which offsets are missing.
 */
#include "core/log/log_mend_private.h"

#include <errno.h>

/* ---- is it right? ---- */

/* A whole batch at `at`, of at most `len` bytes, that begins with the offset. */
static bool is_good(const struct log_mend *mend, const uint8_t *bytes, uint64_t len, int64_t offset,
                    struct batch_header *header)
{
    struct piece piece;
    if (len < BATCH_HEADER_SIZE)
        return false;
    batch_header_of(header, bytes);
    const int64_t size = batch_size(header);
    return size >= BATCH_HEADER_SIZE && size <= (int64_t)min_u64(len, INT32_MAX) &&
           header->magic == BATCH_MAGIC && header->base_offset == offset &&
           mend_belongs(mend, header) &&
           batch_crc(span_of(&piece, bytes, (uint32_t)size)) == header->crc;
}

static const uint8_t *file_at(const struct log_mend *mend, uint32_t position)
{
    return mend->blocks + (position - mend->blocks_from);
}

/* The next batch of what was given, at `place` of the file. False: `say` was called. */
static bool compare_one(struct log_mend *mend, struct mend_place *place, bool *differs)
{
    const uint8_t *given = mend->given + (place->at - mend->anchor.at);
    const uint32_t left = mend->given_len - (place->at - mend->anchor.at);
    const uint32_t room = mend->size - place->at;
    const uint64_t loaded = mend->blocks_from + mend->blocks_len - place->at;
    struct batch_header header;
    struct batch_header own;
    if (!is_good(mend, given, left, place->offset, &header)) {
        mend_say(mend, LOG_MEND_REFUSED, "what is there is no batch that belongs here");
        return false;
    }
    const uint32_t size = (uint32_t)batch_size(&header);
    if (size > room) {
        mend_say(mend, LOG_MEND_REFUSED, "what is there is longer than the segment");
        return false;
    }
    *differs = memcmp(given, file_at(mend, place->at), size) != 0;
    if (*differs &&
        is_good(mend, file_at(mend, place->at), min_u64(room, loaded), place->offset, &own)) {
        mend_say(mend, LOG_MEND_REFUSED, "what is there is another batch than the good one here");
        return false;
    }
    *place = (struct mend_place){place->at + size, batch_last_offset(&header) + 1};
    return true;
}

/* Does what is left of it hold a whole batch? */
static bool has_one_more(const struct log_mend *mend, uint32_t at)
{
    struct batch_header header;
    const uint32_t used = at - mend->anchor.at;
    if (mend->given_len - used < BATCH_HEADER_SIZE)
        return false;
    batch_header_of(&header, mend->given + used);
    return batch_size(&header) <= mend->given_len - used;
}

/* More has to be given, from `place` on. An answer always has one whole batch. */
static void ask_on(struct log_mend *mend, struct mend_place place)
{
    mend->given_len = place.at - mend->anchor.at;
    mend->result.offset = place.offset;
    if (place.at == mend->asked_at)
        mend_say(mend, LOG_MEND_REFUSED, "what is there ends in the middle of a batch");
    else
        mend_say(mend, LOG_MEND_ASK, NULL);
    mend->asked_at = place.at;
}

static void remember_bad(struct log_mend *mend, struct mend_place batch, struct mend_place end)
{
    if (mend->bad_from == NO_POSITION) {
        mend->bad_from = batch.at;
        mend->result.from_offset = batch.offset;
    }
    mend->bad_upto = end;
    mend->bad_batches++;
}

/* True: all of it is known. Else `say` was called. */
static bool compare(struct log_mend *mend)
{
    struct mend_place place = mend->anchor;
    bool differs = false;
    mend->bad_from = NO_POSITION;
    mend->bad_upto = (struct mend_place){0};
    mend->bad_batches = 0;
    mend->after_anchor = mend->anchor;
    while (place.at < mend->size && (differs || place.at <= mend->hole.at ||
                                     place.at < round_up(mend->bad_upto.at, FS_BLOCK))) {
        const struct mend_place batch = place;
        if (!has_one_more(mend, place.at)) {
            ask_on(mend, place);
            return false;
        }
        if (!compare_one(mend, &place, &differs))
            return false;
        if (differs)
            remember_bad(mend, batch, place);
        if (batch.at <= round_down(place.at, FS_BLOCK))
            mend->after_anchor = batch;
    }
    mend->after = place;
    if (place.at == mend->size && place.offset != mend->end_offset)
        mend_say(mend, LOG_MEND_REFUSED, "what is there does not end where the segment does");
    else if (mend->bad_from == NO_POSITION)
        mend_say(mend, LOG_MEND_LATER, "the file reads well again");
    else if (mend->bad_upto.offset > mend->upto_offset)
        mend_say(mend, LOG_MEND_LATER, "it is not known to be committed");
    else
        return true;
    return false;
}

/* ---- the file ---- */

/* Past the page cache. What a file that is too short does not have is zeros. */
static int64_t read_blocks(struct log_mend *mend, const char *path, uint8_t *to, uint64_t from,
                           uint64_t len)
{
    struct fs *fs = mend->input.fs;
    int file = fs_open(fs, path, FS_READ | FS_DIRECT);
    if (file < 0)
        return file;
    int64_t got = fs_read(fs, file, to, len, from);
    fs_close(fs, file);
    if (got >= 0 && (uint64_t)got < len)
        memset(to + got, 0, len - (uint64_t)got);
    return min_i64(got, 0);
}

/* False: -errno when what is on the disk is in doubt, else 0 and `say` was called. A full disk is
 * no reason to give up the directory: what was written of it is right. */
static bool write_range(struct log_mend *mend, const char *path, uint64_t from, uint64_t upto,
                        int64_t *result)
{
    struct fs *fs = mend->input.fs;
    int file = fs_open(fs, path, FS_WRITE); /* the last block of the file may not be a whole one */
    *result = 0;
    if (file < 0) {
        mend_say(mend, LOG_MEND_LATER, "the file cannot be opened for writing");
        return false;
    }
    int64_t written = fs_write(fs, file, file_at(mend, (uint32_t)from), upto - from, from);
    const bool full = written == -ENOSPC || written == -EDQUOT;
    if (full)
        mend_say(mend, LOG_MEND_LATER, "the disk is full");
    else
        *result = written < 0 ? written : min_i64(fs_sync(fs, file), 0);
    fs_close(fs, file);
    return !full && *result == 0;
}

static bool reads_back(struct log_mend *mend, const char *path, uint64_t from, uint64_t upto)
{
    const uint64_t len = round_up(upto, FS_BLOCK) - from;
    uint8_t *blocks = mem_pages(len);
    bool same = read_blocks(mend, path, blocks, from, len) >= 0 &&
                memcmp(blocks, file_at(mend, (uint32_t)from), upto - from) == 0;
    mem_pages_free(blocks, len);
    return same;
}

/* Whole blocks, but for the end of the file. */
static int64_t put_back(struct log_mend *mend, const char *path)
{
    const uint32_t bytes = mend->bad_upto.at - mend->bad_from;
    const uint64_t from = round_down(mend->bad_from, FS_BLOCK);
    const uint64_t upto = min_u64(round_up(mend->bad_upto.at, FS_BLOCK), mend->size);
    memcpy(mend->blocks + (mend->bad_from - mend->blocks_from),
           mend->given + (mend->bad_from - mend->anchor.at), bytes);
    if (fs_mutation(mend->input.fs, "mend.neighbours_not_kept"))
        memset(mend->blocks + (from - mend->blocks_from), 0, mend->bad_from - from);
    if (!fs_mutation(mend->input.fs, "mend.not_written")) {
        int64_t result;
        if (!write_range(mend, path, from, upto, &result))
            return result;
        if (!reads_back(mend, path, from, upto)) {
            mend_say(mend, LOG_MEND_LATER, "what was written reads back as something else");
            return 0;
        }
    }
    mend->result.upto_offset = mend->bad_upto.offset;
    mend->result.position = mend->bad_from;
    mend->result.bytes = bytes;
    mend->result.batches = mend->bad_batches;
    mend_say(mend, LOG_MEND_DONE, NULL);
    return 0;
}

int64_t mend_given(struct log_mend *mend, const char *path)
{
    const uint64_t upto = min_u64((uint64_t)mend->anchor.at + mend->given_len, mend->size);
    int64_t result = 0;
    mend->blocks_from = round_down(mend->anchor.at, FS_BLOCK);
    mend->blocks_len = round_up(max_u64(upto, mend->hole.at + 1), FS_BLOCK) - mend->blocks_from;
    mend->blocks = mem_pages(mend->blocks_len);
    if (read_blocks(mend, path, mend->blocks, mend->blocks_from, mend->blocks_len) < 0)
        mend_say(mend, LOG_MEND_LATER, "the disk does not give the file");
    else if (compare(mend))
        result = put_back(mend, path);
    mem_pages_free(mend->blocks, mend->blocks_len);
    mend->blocks = NULL;
    return result;
}
