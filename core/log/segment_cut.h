/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting a segment file to its data. Both block.
 */
#pragma once

#include "io/fs.h"

struct segment_cut {
    const char *directory;
    const uint8_t *identity; /* of its log.id */
    int file;
    int64_t base;
    uint32_t length;
    bool mistake_no_copy;
};
/* The file ends at its data, durably. */
int64_t segment_cut(struct fs *fs, const struct segment_cut *what);
/* At a start: the last block of a segment whose cut was cut off is there again. */
int64_t segment_cut_undo(struct fs *fs, const char *directory, const uint8_t identity[FS_BLOCK]);
