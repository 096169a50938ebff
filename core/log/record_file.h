/* SPDX-License-Identifier: Apache-2.0
 *
 * An append-only file of batches that survive a crash: each is whole or absent, and they come back
 * in order. Checkpoints and the metadata store of a single node are such files.
 *
 * Layout: a first block (core/log/format.h; own fields: nonce u64, first seq u64, and since version
 * 2 born u64: the batches that it was written with), then batches, each beginning at a multiple of
 * FS_BLOCK:
 *
 *      0  magic   u32  "RECB"
 *      4  crc     u32, CRC-32C from byte 8 to the end of the payload
 *      8  nonce   u64, of the file: old blocks of another file never pass
 *     16  seq     u64, rising by one; goes on when the file is rewritten
 *     24  length  u32, of the payload
 *     28  zero    u32
 *     32  payload, zeros up to the next block
 *
 * One batch is in flight at a time, and the next is written only after it was durable. So a batch
 * that does not match is the torn tail of a crash, and may be cut, exactly when nothing valid of
 * this file follows it; with a later batch behind it, it was acknowledged and the file is damaged.
 * A file is born whole (written aside, synced, renamed), and rewritten the same way: when one of
 * the batches it was born with does not match or is not there, no crash has done it.
 *
 * Rejected: one record per write (a checkpoint has thousands), appending by size (each append
 * would wait for the file system's metadata; space is taken in steps and is zero).
 */
#pragma once

#include "core/log/format.h"
#include "core/log/log_error.h"
#include "io/io.h"

#define RECORD_FILE_BATCH_MAX (64U << 20)
#define RECORD_FILE_STEP      (256U << 10) /* space is taken in steps of this */

struct record_payload {
    const void *data;
    uint32_t length;
};

struct record_append {
    /* The payload is copied when the write begins: it must stay until done(). */
    struct record_payload payload;
    void (*done)(struct record_append *append);
    void *user;
    bool failed; /* set before done(); final for the file: nothing is written after a failure */
    /* private */
    STAILQ_ENTRY(record_append) link;
};

struct record_rewrite {
    /* The new contents; must stay until done(). */
    const struct record_payload *payloads;
    uint32_t count;
    uint64_t nonce; /* random */
    void (*done)(struct record_rewrite *rewrite);
    void *user;
    bool failed;
};

/* home: the shard whose io is used; nobody while only the blocking calls are used. */
struct record_file {
    struct fs *fs;
    char *path;
    char magic[8];
    uint8_t directory[16];
    int file;
    uint64_t nonce;
    uint64_t next_seq;
    uint64_t born_seq; /* of the first batch that came later than the file; 0: not known */
    uint64_t position; /* of the next batch */
    uint64_t size;     /* of the file: space that is taken */
    bool torn_tail;    /* open found and cut one */
    bool failed;
    char reason[256]; /* why it failed: a sentence */

    /* private */
    struct io *io;
    struct io_op op;
    STAILQ_HEAD(, record_append) queue;
    struct record_rewrite *rewrite;
    uint8_t *buffer;
    size_t buffer_size;
    int64_t work_result;
    bool busy;
};

/* A new file with these batches (count may be 0), in place of any old one. Blocking. */
bool record_file_create(struct record_file *rf, struct fs *fs, const char *path,
                        const char magic[8], const uint8_t directory[16], uint64_t nonce,
                        const struct record_payload *payloads, uint32_t count,
                        struct log_error *error);
/* The same, empty, and its first batch will be `first_seq`: it goes on where an old file ended. */
bool record_file_restart(struct record_file *rf, struct fs *fs, const char *path,
                         const char magic[8], const uint8_t directory[16], uint64_t nonce,
                         uint64_t first_seq, struct log_error *error);
/* Reads all batches; `on_batch` may refuse one by returning false after filling in `error`.
 * Blocking. The payload is valid during the call only. */
bool record_file_open(struct record_file *rf, struct fs *fs, const char *path, const char magic[8],
                      const uint8_t directory[16],
                      bool (*on_batch)(void *argument, const uint8_t *payload, uint32_t length,
                                       struct log_error *error),
                      void *argument, struct log_error *error);
void record_file_close(struct record_file *rf); /* nothing in flight */

/* Durable when it returns true. Blocking. */
bool record_file_rewrite_now(struct record_file *rf, const struct record_payload *payloads,
                             uint32_t count, uint64_t nonce, struct log_error *error);

/* The same on a shard; one after another, in order. done() never runs inside the call. */
void record_file_append(struct record_file *rf, struct io *io, struct record_append *append);
/* None in flight yet; appends after it go to the new file. */
void record_file_rewrite(struct record_file *rf, struct io *io, struct record_rewrite *rewrite);
/* Bytes a batch of this payload takes. */
uint64_t record_file_batch_size(uint32_t payload_length);
