/* SPDX-License-Identifier: Apache-2.0
 *
 * The tail buffer: the newest bytes of each log, in blocks. core/log/tail.c says how it is used.
 */
#pragma once

#include "core/log/log.h"

struct log_body;

/* Memory over file positions [position, position + size) of a segment; bytes below `used` are
 * valid. Referenced by its log while it is in the log's list, by pins, and by cold reads. */
struct tail_block {
    TAILQ_ENTRY(tail_block) link;       /* log's blocks, by place */
    TAILQ_ENTRY(tail_block) clean_link; /* shard's clean list, oldest first */
    struct segment *segment;
    struct log_body *lg; /* NULL: in no log's list any more, or a cold read */
    uint8_t *data;
    uint32_t position;
    uint32_t size;
    uint32_t used;
    uint32_t refs;
    uint32_t first_position; /* of the first batch that begins here; UINT32_MAX: none */
    int64_t first_offset;
    uint8_t size_class;
    bool clean;  /* in the clean list */
    bool cold;   /* memory of the cold budget */
    bool loaded; /* it began as a partial block that was read back from the segment */
};

TAILQ_HEAD(tail_blocks, tail_block);

void tail_init(struct log_shard *ls);
void tail_fini(struct log_shard *ls);
/* Blocks for [from, from + len) of the segment, which is the log's end. LOG_OK, or LOG_WAIT: no
 * memory (*memory), or the partial block is being read. */
enum log_verdict tail_reserve(struct log_body *lg, struct segment *segment, uint32_t from,
                              uint32_t len, bool *memory);
/* The log ends at `end` of the segment again: blocks beyond go away. */
void tail_rewind(struct log_body *lg, struct segment *segment, uint32_t end);
/* The block that holds the position, NULL: none does. Begins at the newest. */
struct tail_block *tail_find(const struct log_body *lg, const struct segment *segment,
                             uint32_t position);
/* Are these bytes all in memory? */
bool tail_holds(const struct log_body *lg, const struct segment *segment, uint32_t from,
                uint32_t len);
void tail_copy_out(const struct log_body *lg, const struct segment *segment, uint32_t from,
                   void *to, uint32_t len);
uint32_t tail_crc(const struct log_body *lg, const struct segment *segment, uint32_t from,
                  uint32_t len);
/* The vectors of whole blocks [from, upto), as many as there is room for; *reached says how far. */
unsigned tail_gather(const struct log_body *lg, const struct segment *segment, uint32_t from,
                     uint32_t upto, struct iovec iov[], unsigned count_max, uint32_t *reached);
void tail_get(struct tail_block *block);
void tail_put(struct log_shard *ls, struct tail_block *block);
void tail_written(struct log_body *lg, struct segment *segment);
void tail_drop(struct log_shard *ls, struct tail_block *block); /* out of its log */
void tail_drop_all(struct log_body *lg);
/* A reader wants bytes that are not in the tail any more: would a larger one have them? */
void tail_missed(const struct log_body *lg, const struct segment *segment, uint32_t position,
                 uint32_t bytes);
struct tail_block *tail_cold_block(struct log_shard *ls, uint32_t bytes);
