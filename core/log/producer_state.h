/* SPDX-License-Identifier: Apache-2.0
 *
 * What a partition remembers of its idempotent producers (KIP-98, KIP-360): per producer id the
 * epoch and the last five batches, so that a retry is recognised instead of appended again, and a
 * gap is refused.
 *
 * Kafka allows five requests in flight per connection, hence five batches. Memory holds ten: a
 * checkpoint describes the durable log only, and when the newest five are not durable yet it still
 * has five to write down. The state is part of the
 * log: it is absorbed by every append (leader or replica), written into checkpoints, and brought up
 * to date on replay. It is bounded: with `ids_max` ids the one idle longest makes place. A producer
 * whose state is gone is accepted with any sequence (I5).
 *
 * Structure: entries in one array (grown by doubling, never shrunk), an open-addressing hash of
 * indexes over it, and a list by last use through the entries. The hash seed comes from the caller,
 * because producer ids come from clients.
 */
#pragma once

#include "core/log/format.h"

#define PRODUCER_BATCHES    5U /* recognised as duplicates, and written to checkpoints */
#define PRODUCER_REMEMBERED 10U

enum producer_verdict {
    PRODUCER_OK,
    PRODUCER_DUPLICATE,
    PRODUCER_OUT_OF_ORDER,
    PRODUCER_INVALID_EPOCH,
};

struct producer_batch {
    int32_t base_sequence;
    int32_t last_sequence;
    int64_t base_offset;
    int64_t last_offset;
    int64_t timestamp; /* max timestamp of the batch */
};

struct producer {
    int64_t id;
    int64_t txn_first_offset;  /* of its open transaction, -1: none (transactions come later) */
    int64_t last_used_ms;      /* wall time of the last append, for expiry */
    int32_t coordinator_epoch; /* -1: none */
    int16_t epoch;
    uint8_t count;  /* batches known */
    uint8_t first;  /* ring index of the oldest */
    uint32_t newer; /* neighbours in the list by last use; index + 1, 0: none */
    uint32_t older;
    struct producer_batch batches[PRODUCER_REMEMBERED];
};

struct producer_state {
    struct producer *producers;
    uint32_t *slots; /* index + 1, 0: free */
    uint32_t count;
    uint32_t size;       /* of producers[] */
    uint32_t slots_mask; /* slots - 1 */
    uint32_t newest;
    uint32_t oldest;
    uint64_t seed;
};

void producer_state_init(struct producer_state *ps, uint64_t seed);
void producer_state_fini(struct producer_state *ps);

/* Sequences wrap from INT32_MAX to 0 (I3). */
static inline int32_t producer_last_sequence(int32_t base_sequence, int32_t last_offset_delta)
{
    return (int32_t)(((uint32_t)base_sequence + (uint32_t)last_offset_delta) & INT32_MAX);
}

/* May a client's batch be appended (I2-I6)? A duplicate's original is copied to *original. */
enum producer_verdict producer_check(const struct producer_state *ps, int64_t id, int16_t epoch,
                                     int32_t base_sequence, int32_t last_sequence,
                                     struct producer_batch *original);
/* A batch was appended. */
void producer_absorb(struct producer_state *ps, int64_t id, int16_t epoch,
                     const struct producer_batch *batch, int64_t now_ms, uint32_t ids_max);

const struct producer *producer_find(const struct producer_state *ps, int64_t id);
/* Forgets who has not written since `before_ms` and has no open transaction (I8). */
void producer_expire(struct producer_state *ps, int64_t before_ms);
/* The log now ends at `offset`: batches at or above it are forgotten, and ids with none left. */
void producer_truncate(struct producer_state *ps, int64_t offset);

/* Only batches that end below `upto_offset`, the newest five of each id; ids with none are left
 * out. The size is an upper bound. */
size_t producer_encoded_size(const struct producer_state *ps);
void producer_encode(const struct producer_state *ps, int64_t upto_offset, struct bytes_out *out);
/* False when the bytes are not a state. `ps` is fresh before. */
bool producer_decode(struct producer_state *ps, struct bytes_in *in);
