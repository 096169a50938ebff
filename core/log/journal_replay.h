/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a journal at start, and beginning a new generation in it. Blocking; no shard serves yet.
 *
 * The walk begins at the newest whole superblock's released place and follows the position rule
 * (core/log/journal_format.h) as long as group after group is right. Where it ends, the difference
 * between a torn tail and damage must be told: a group was acknowledged if a later group of this
 * generation says so in its acked_seq. With such a witness the start is refused with file and
 * offset; without one nobody was told of these bytes, and they are cut.
 *
 * After replay a new generation begins (larger number, new nonce, seq 1 at JOURNAL_AREA): what
 * older generations left in the file never passes again.
 */
#pragma once

#include "core/log/journal_format.h"
#include "core/log/log_error.h"

struct journal_file {
    struct fs *fs;
    char *path;
    int file;
    struct journal_superblock sb; /* the newest whole one */
    uint8_t *bytes;               /* the whole file, until journal_forget() */
    uint64_t size;
    /* results of the walk */
    uint64_t end;
    uint64_t discarded_groups;
    uint64_t discarded_bytes;
};

/* The walk over the bytes of a file; pure. `on_record` gets each record's body (behind the record
 * header) and where it stands; false ends the walk with its error. */
struct journal_walk {
    const uint8_t *bytes;
    uint64_t size;
    const char *path; /* for the sentences */
    struct journal_superblock sb;
    bool (*on_record)(void *argument, const struct journal_record *record, struct bytes_in body,
                      uint64_t position, struct log_error *error);
    void *argument;
    /* deliberate mistakes of the simulation */
    bool mistake_skip_group;
    bool mistake_any_generation;
    bool mistake_no_crc;
    /* results */
    uint64_t groups;
    uint64_t group_bytes;
    uint64_t end; /* where a further group was looked for */
    /* Groups of this generation that were written behind the end, torn or behind a torn one, and
     * the bytes of their records: no acknowledgement covers them. */
    uint64_t discarded_groups;
    uint64_t discarded_bytes;
};
bool journal_walk(struct journal_walk *walk, struct log_error *error);

/* The newest whole superblock among the first two blocks; false: none. */
bool journal_superblock_find(const uint8_t *bytes, uint64_t size, const char *path,
                             const uint8_t directory[16], struct journal_superblock *sb,
                             struct log_error *error);

/* Reads the file whole; of a journal that was stopped clean the superblocks alone, for there is
 * nothing to replay. */
bool journal_read(struct journal_file *jf, struct fs *fs, const char *path,
                  const uint8_t directory[16], struct log_error *error);
void journal_forget(struct journal_file *jf); /* frees the bytes */
/* A file that did not exist, `length` bytes of zeros that were really written. */
bool journal_create(struct journal_file *jf, struct fs *fs, const char *path,
                    const uint8_t directory[16], uint64_t length, uint64_t nonce,
                    struct log_error *error);
/* A new generation, durable. Two superblocks are written, so that the old one is gone for good. */
bool journal_renew(struct journal_file *jf, const uint8_t directory[16], uint64_t nonce,
                   uint64_t checkpoint_seq, struct log_error *error);
void journal_file_close(struct journal_file *jf);
