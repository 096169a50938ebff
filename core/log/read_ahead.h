/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold bytes before anybody asks for them. Who reads a segment from its file goes on where it
 * stopped, nearly always: so when a pin continues an earlier one, what comes next is read too, and
 * the disk works while the bytes before are being sent and the reader makes up its next request.
 * One reader in 1 MiB answers, one request at a time: without it the disk waits for the network and
 * the network for the disk (430 MB/s where direct reads give 1,400).
 *
 * A chunk is a block of the cold budget over whole disk blocks of the segment. It stays until a pin
 * has reached its end, its memory is wanted (the least recently used one goes first), or the
 * segment is cut or goes. Chunks take half of the cold budget at most. What is in them is proven by
 * whoever sends it, like any bytes of a file.
 */
#pragma once

#include "core/log/log.h"
#include "core/log/tail.h"

struct segment;
struct log_shard;
struct read_chunk;

TAILQ_HEAD(read_chunks, read_chunk);

#define READ_AHEAD_BYTES   (1U << 20) /* in front of a reader */
#define READ_AHEAD_READERS 4U         /* of a segment, that are told apart */

/* Of a segment. */
struct read_ahead {
    struct read_chunks chunks;
    uint32_t ends[READ_AHEAD_READERS]; /* where pins have ended */
    uint32_t next_end;
};

enum read_verdict {
    READ_MISSES, /* nothing is known of the position: it is the pin's to read */
    READ_HAS,    /* *block holds it; the reference is the caller's */
    READ_COMES,  /* it is being read: pin_again() comes */
};

/* The pin's position. */
enum read_verdict read_ahead_take(struct segment *segment, struct log_pin *pin,
                                  struct tail_block **block);
/* A pin covers [from, end): what follows is read if it goes on from an earlier one. */
void read_ahead_go(struct segment *segment, uint32_t from, uint32_t end);
/* Are these bytes there? Then they are copied. */
bool read_ahead_copy(const struct segment *segment, uint32_t at, void *to, uint32_t len);
/* What was read is not what the file will say, or nobody will want it. */
void read_ahead_drop(struct segment *segment);
/* Gives the memory of a chunk back; false: there is none to be given. */
bool read_ahead_shrink(struct log_shard *ls);
/* A chunk was read, or a pin of it is back: whoever waits for memory may have it. */
void read_ahead_idle(struct log_shard *ls);
