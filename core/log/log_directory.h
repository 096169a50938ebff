/* SPDX-License-Identifier: Apache-2.0
 *
 * A log's directory: whose it is, making it, and removing it. The same path may be another log's,
 * so each directory says in a file log.id which one it belongs to. All of it blocks.
 */
#pragma once

#include "core/log/log.h"
#include "core/log/recycle.h"

void log_directory_path(char *to, size_t size, const char *root, const char *topic,
                        int32_t partition);
#define SEGMENT_IDENTITY_MAGIC "MRLOGID1"
void log_identity_encode(uint8_t block[FS_BLOCK], const uint8_t directory[16],
                         const struct log_id *id, uint32_t incarnation);

/* Whose directory is it: 1 this identity's, 0 nobody's, -EBUSY another log's. */
int64_t log_directory_owner(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK]);
/* Makes the directory and its log.id: 1 it was ours, 0 it is now, and not yet durable; -EBUSY:
 * another log's. */
int64_t log_directory_claim(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK]);
/* What was claimed is durable, and so are the names in it. */
int64_t log_directory_flush(struct fs *fs, const char *root, const char *directory);
/* Whose it says it is; false: it has no readable log.id. */
bool log_directory_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                        struct log_id *id, uint32_t *incarnation);
/* Renames a directory away and removes it; its segments may go to a pool (NULL: none do) under the
 * tags from `pool_tag` on. */
int64_t log_directory_remove(struct fs *fs, const char *root, const char *directory, uint32_t tag,
                             const struct recycle_pool *pool, uint64_t pool_tag);
/* One segment file: into the pool, when there is one that has room, else away: 1 it is in the pool.
 */
int64_t segment_file_remove(struct fs *fs, const char *path, const struct recycle_pool *pool,
                            uint64_t pool_tag);
