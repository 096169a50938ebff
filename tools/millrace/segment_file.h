/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment files as they lie on a disk, read without a broker: Kafka's format, so Kafka's own are
 * read too. Every batch is checked as it comes: its length, format, order and checksum.
 *
 * The active segment of a running broker, or of one that was killed, has space behind its data
 * that is all zero; that is no damage. Nor is it when the file was another segment's before
 * (core/log/recycle.h) and that one's bytes are there, from the next block on. Bytes that a broker
 * writes meanwhile may be seen in part.
 */
#pragma once

#include "core/record/batch.h"

struct segment_file {
    char *path;
    char topic[256]; /* of the directory "topic-partition" it lies in; "" when that is not its name
                      */
    int32_t partition; /* -1 then */
    uint64_t size;
    /* the batch read last, or the place that is damaged */
    uint64_t at;
    struct batch_header header;
    struct span batch;
    uint64_t unused;  /* at the end: bytes of space behind the data */
    char reason[160]; /* of damage, or why the file cannot be read */

    /* private */
    bool may_be_reused;
    int file;
    uint64_t next_at;
    int64_t next_offset;
    uint8_t *bytes;
    size_t room;
    struct piece piece;
};

enum segment_next { SEGMENT_BATCH, SEGMENT_END, SEGMENT_DAMAGED, SEGMENT_UNREADABLE };

/* False: `reason` says why. Either way segment_file_close() is due. */
bool segment_file_open(struct segment_file *segment, const char *path) warn_unused;
/* The next batch; it is valid until the next call. Anything else is the end of reading. */
enum segment_next segment_file_next(struct segment_file *segment);
/* Behind the last offset that was read. */
int64_t segment_file_offset(const struct segment_file *segment);
/* After SEGMENT_DAMAGED: goes to the next whole batch whose checksum and offsets fit; false: there
 * is none, or the file may be one that was another segment's, where such a batch says nothing. */
bool segment_file_resync(struct segment_file *segment) warn_unused;
void segment_file_close(struct segment_file *segment);

/* Every *.log file at or below a path, in order of name. */
struct segment_list {
    char **paths;
    uint32_t count;
};
/* False: *error is an errno of `path`, or of something below it. */
bool segment_list_add(struct segment_list *list, const char *path, int *error) warn_unused;
void segment_list_fini(struct segment_list *list);
