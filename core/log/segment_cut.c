/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting a segment file to its data without ever having its last block in one place only.
 *
 * A truncation to the middle of a block makes the file system rewrite that block, and power that is
 * lost meanwhile may take the block with it, acknowledged bytes and all. The journal has them no
 * more: a segment is cut when it has been quiet for long (a roll, a clean stop). So the block is
 * first copied into the log's log.id, behind the identity, and made durable there; then the file is
 * cut and made durable; then the copy is crossed out:
 *
 *     block 0  whose directory it is (core/log/log_directory.c)
 *     block 1  the copy's header: identity, segment, length, checksum; zeros: nothing is being cut
 *     block 2  the copied block
 *
 * A start that finds a copy puts it back. It is crossed out before anything else may happen to the
 * segment, so a copy that is found is never older than the block. One segment of a log is cut at a
 * time, since there is one place.
 *
 * Rejected: a cut by recovery (it would need the same copy for every log at once; recovery leaves
 * the last block alone and the file is cut by the roll or the stop that follows), the copy in the
 * journal (a closed segment has no place there: its records would stand behind the log's end), a
 * file of its own (two names to make durable per roll).
 */
#include "core/log/segment_cut.h"

#include "core/log/log_directory.h"
#include "core/log/log_private.h"

#include <errno.h>
#include <stdio.h>

#define CUT_MAGIC   "MRLOGCUT"
#define CUT_VERSION 1U

struct cut {
    _Alignas(FS_BLOCK) uint8_t blocks[2][FS_BLOCK]; /* the header, and the copied block */
    int file;                                       /* log.id */
};

static char *path_of(const char *directory, int64_t base)
{
    size_t size = strlen(directory) + 32;
    char *path = mem_alloc(size);
    if (base < 0)
        (void)snprintf(path, size, "%s/log.id", directory);
    else
        (void)snprintf(path, size, "%s/%020lld.log", directory, (long long)base);
    return path;
}

static int64_t cut_begin(struct cut *cut, struct fs *fs, const char *directory)
{
    char *path = path_of(directory, -1);
    cut->file = fs_open(fs, path, FS_WRITE);
    mem_free(path);
    return cut->file;
}

static void cut_end(struct cut *cut, struct fs *fs)
{
    if (cut->file >= 0)
        fs_close(fs, cut->file);
}

static int64_t cut_write(struct cut *cut, struct fs *fs, size_t size)
{
    int64_t result = fs_write(fs, cut->file, cut->blocks, size, FS_BLOCK);
    return result < 0 ? result : fs_sync(fs, cut->file);
}

static int64_t cut_cross_out(struct cut *cut, struct fs *fs)
{
    memset(cut->blocks[0], 0, FS_BLOCK);
    return cut_write(cut, fs, FS_BLOCK);
}

/* ---- cutting ---- */

static int64_t cut_keep(struct cut *cut, struct fs *fs, const struct segment_cut *what)
{
    uint64_t from = round_down(what->length, FS_BLOCK);
    int64_t result = fs_read(fs, what->file, cut->blocks[1], FS_BLOCK, from);
    if (result >= 0 && from + (uint64_t)result < what->length)
        result = -EIO; /* shorter than what was written */
    if (result < 0)
        return result;
    memset(cut->blocks[1] + (what->length - from), 0, FS_BLOCK - (what->length - from));
    struct bytes_in own;
    const uint8_t *directory;
    must(format_check(what->identity, SEGMENT_IDENTITY_MAGIC, 1, &own, &directory) == FORMAT_OK);
    struct bytes_out out =
        format_begin(cut->blocks[0], CUT_MAGIC, CUT_VERSION, CUT_VERSION, directory);
    put_u32(&out, crc32c(0, what->identity, FS_BLOCK));
    put_i64(&out, what->base);
    put_u32(&out, what->length);
    put_u32(&out, crc32c(0, cut->blocks[1], FS_BLOCK));
    format_end(cut->blocks[0]);
    return cut_write(cut, fs, 2 * FS_BLOCK);
}

int64_t segment_cut(struct fs *fs, const struct segment_cut *what)
{
    struct cut cut;
    int64_t result = fs_size(fs, what->file);
    if (result < 0)
        return result;
    bool inside = what->length % FS_BLOCK != 0 && result != what->length && !what->mistake_no_copy;
    if (inside) {
        result = cut_begin(&cut, fs, what->directory);
        if (result >= 0)
            result = cut_keep(&cut, fs, what);
    }
    if (result >= 0)
        result = fs_truncate(fs, what->file, what->length);
    if (result >= 0)
        result = fs_sync(fs, what->file);
    if (inside && result >= 0)
        result = cut_cross_out(&cut, fs);
    if (inside)
        cut_end(&cut, fs);
    return result;
}

/* ---- a start ---- */

/* The copy says which segment ends in it; false: there is none, or it was never whole. */
static bool cut_read(struct cut *cut, struct fs *fs, const uint8_t identity[FS_BLOCK],
                     int64_t *base, uint32_t *length)
{
    struct bytes_in own;
    const uint8_t *directory;
    if (fs_read(fs, cut->file, cut->blocks, 2 * FS_BLOCK, FS_BLOCK) != 2 * FS_BLOCK ||
        format_check(cut->blocks[0], CUT_MAGIC, CUT_VERSION, &own, &directory) != FORMAT_OK ||
        take_u32(&own) != crc32c(0, identity, FS_BLOCK))
        return false;
    *base = take_i64(&own);
    *length = take_u32(&own);
    return take_u32(&own) == crc32c(0, cut->blocks[1], FS_BLOCK) && *base >= 0;
}

int64_t segment_cut_undo(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK])
{
    struct cut cut;
    int64_t base;
    uint32_t length;
    int64_t result = cut_begin(&cut, fs, directory);
    if (result >= 0 && cut_read(&cut, fs, identity, &base, &length)) {
        uint64_t from = round_down(length, FS_BLOCK);
        char *path = path_of(directory, base);
        result = fs_open(fs, path, FS_WRITE);
        mem_free(path);
        if (result >= 0) {
            int file = (int)result;
            result = fs_write(fs, file, cut.blocks[1], length - from, from);
            if (result >= 0)
                result = fs_sync(fs, file);
            fs_close(fs, file);
        }
        if (result >= 0 || result == -ENOENT)
            result = cut_cross_out(&cut, fs);
    }
    cut_end(&cut, fs);
    return result == -ENOENT ? 0 : min_i64(result, 0);
}
