/* SPDX-License-Identifier: Apache-2.0
 *
 * Leader epochs of one log: at which offset each leader began. A follower that comes back asks
 * "where does epoch E end?" and truncates to the answer, so two logs that were led by different
 * brokers find the place where they part (KIP-101, KIP-279).
 *
 * Entries rise strictly in epoch and in start offset. Changes only when the leader changes, so a
 * sorted array is all it takes.
 */
#pragma once

#include "core/log/format.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epoch_history {
    struct epoch_entry *entries;
    uint32_t count;
    uint32_t size;
};

void epoch_fini(struct epoch_history *history);

/* A batch of `epoch` begins at `start_offset`: noted when the epoch is new. */
void epoch_assign(struct epoch_history *history, int32_t epoch, int64_t start_offset);
/* -1: none. */
int32_t epoch_latest(const struct epoch_history *history);
int32_t epoch_oldest(const struct epoch_history *history);

/* May a batch that begins there be of this epoch? Below the first entry nothing is known but that
 * none is newer than it. */
bool epoch_holds(const struct epoch_history *history, int64_t offset, int32_t epoch);

/* The epochs that batches in [from, upto) may have, as epoch_holds() has it. */
void epoch_bounds(const struct epoch_history *history, int64_t from, int64_t upto, int32_t *least,
                  int32_t *most);

/* L5: where does `asked` end? The largest known epoch <= asked, and the start of the next higher
 * one, or end_offset for the latest; false (and -1, -1) when asked is newer than all or -1. Older
 * than all: (asked, start of the first). */
bool epoch_end(const struct epoch_history *history, int32_t asked, int64_t end_offset,
               int32_t *epoch, int64_t *offset);

/* The log now ends at `offset`: epochs that began at or above it are gone. */
void epoch_truncate_end(struct epoch_history *history, int64_t offset);
/* The log now starts at `offset`: epochs that ended at or below it are gone, the one that covers
 * `offset` begins there. */
void epoch_truncate_start(struct epoch_history *history, int64_t offset);

size_t epoch_encoded_size(const struct epoch_history *history);
void epoch_encode(const struct epoch_history *history, struct bytes_out *out);
/* False when the bytes are not a history. `history` is empty before. */
bool epoch_decode(struct epoch_history *history, struct bytes_in *in);
