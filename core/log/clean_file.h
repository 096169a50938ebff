/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of a compaction: a segment read batch by batch, and a new one written with its index. All
 * of it blocks and runs in io_work(); past the page cache, which is other programs'.
 */
#pragma once

#include "core/record/batch.h"
#include "io/fs.h"

#define CLEAN_BUFFER_BYTES (256U << 10)

/* ---- reading ---- */

enum clean_read {
    CLEAN_BATCH,
    CLEAN_END,
    CLEAN_DAMAGED, /* the batch at `at` is not what was written */
    CLEAN_FAILED,  /* `error` says why */
};

/* What is wrong with a damaged one. */
enum clean_damage {
    CLEAN_SHORT,    /* what is left is no header */
    CLEAN_HEADER,   /* it is no header of a batch */
    CLEAN_BEYOND,   /* it would end behind the segment */
    CLEAN_ORDER,    /* it begins below where the one before it ended */
    CLEAN_CHECKSUM, /* its bytes are not those of its checksum */
};

struct clean_input {
    struct fs *fs;
    int file; /* -1: none is open */
    int64_t error;
    enum clean_damage damage;
    uint32_t size; /* of the segment */
    uint32_t at;   /* of the next batch */
    int64_t offset_from;
    struct batch_header header; /* of the batch that was read last */
    uint64_t bytes;             /* read since somebody set it to 0 */
    /* private */
    uint8_t *buffer; /* of file positions [from, from + have) */
    uint64_t buffer_size;
    uint64_t from;
    uint64_t have;
};

void clean_input_init(struct clean_input *in, struct fs *fs);
/* False: `error` says why. */
bool clean_input_open(struct clean_input *in, const char *path, uint32_t size, int64_t base);
void clean_input_close(struct clean_input *in); /* also when none is open */
void clean_input_fini(struct clean_input *in);
/* *bytes are header.length and stay until the next call. Their checksum was proven. */
enum clean_read clean_input_next(struct clean_input *in, const uint8_t **bytes);

/* ---- writing ---- */

struct clean_index_entry {
    uint32_t relative_offset;
    uint32_t position;
};

struct clean_output {
    struct fs *fs;
    int file; /* -1: nothing was written yet */
    int64_t base;
    uint32_t size;
    int64_t max_timestamp; /* of batches with records, INT64_MIN: none */
    int64_t max_offset;    /* that batch's base offset, place and length */
    uint32_t max_position;
    uint32_t max_length;
    uint64_t bytes; /* written since somebody set it to 0 */
    /* private */
    char *path;
    uint8_t *buffer;
    uint32_t used;
    struct clean_index_entry *index;
    uint32_t index_count;
    uint32_t index_interval;
};

void clean_output_init(struct clean_output *out, struct fs *fs);
void clean_output_begin(struct clean_output *out, const char *path, int64_t base,
                        uint32_t index_interval);
/* A whole batch. 0 or -errno, as for the others. */
int64_t clean_output_put(struct clean_output *out, const uint8_t *bytes, uint32_t len) warn_unused;
/* The file is as long as its bytes, and durable with its index; not their names. Nothing when
 * nothing was put. */
int64_t clean_output_finish(struct clean_output *out, const char *index_path,
                            bool mistake_no_flush) warn_unused;
/* Gives up what was begun: the file goes, as far as it can and if it may. */
void clean_output_drop(struct clean_output *out, bool may_unlink);
void clean_output_fini(struct clean_output *out);
