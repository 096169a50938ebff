/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment files that nobody needs any more, kept for the next segment: a durable write into blocks
 * that were written before costs a flush, one into fresh blocks a change of the file system's own
 * records, too. Everything here blocks; it runs at start and on helper threads.
 *
 * The pool is the directory D/recycled and nothing else: no memory is shared between the shards'
 * helpers. A free file's name says how long it is, and whoever renames it has it.
 *
 *   D/recycled/<16 hex length>-<16 hex tag>       free
 *   D/recycled/<...>.in, .out                     on its way; after a crash a start removes it
 *
 * A file of the pool is full of batches that look good. Two things keep them from being taken for
 * data: a log's end is what journal and checkpoints say, never what a file holds (recovery cuts
 * files there); and a free file's first block is a header of ours, which is written when no other
 * name leads to the file durably and is wiped, durably, before the file gets its next name. So a
 * name in the pool without that header, whatever a crash has left, is only a name.
 *
 * What was deleted stays on the disk until it is written over: bytes_max 0 prevents that.
 */
#pragma once

#include "io/fs.h"

struct recycle_pool {
    struct fs *fs;
    const char *root;    /* D */
    const uint8_t *uuid; /* D's */
    uint64_t bytes_max;  /* of all its files together; 0: nothing enters */
};

/* Files that may stay do; the others go. */
int64_t recycle_start(const struct recycle_pool *pool);
/* Moves a file into the pool: 1; 0: there is no room for it, it is too small to be of use, or
 * somebody else has a name for it (a hard link) and wants its bytes as they are. No
 * other file had `tag`. Nobody reads or writes the file, and its end is durable. */
int64_t recycle_put(const struct recycle_pool *pool, const char *path, uint64_t tag);
/* Gives the largest file of [least, most] bytes the name `path` in `directory`, durably: 1; 0:
 * there is none. */
int64_t recycle_take(const struct recycle_pool *pool, const char *directory, const char *path,
                     uint64_t least, uint64_t most);
/* Bytes of all its files. */
uint64_t recycle_bytes(const struct recycle_pool *pool);
/* Gives the largest file back to the file system; false: there is none. */
bool recycle_shrink(const struct recycle_pool *pool);
/* Free space, for which the pool gives way while it is less than twice the reserve, or than a
 * twentieth of the disk. */
int64_t recycle_space(const struct recycle_pool *pool, uint64_t reserve_bytes,
                      uint64_t *free_bytes);
