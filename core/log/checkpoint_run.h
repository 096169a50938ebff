/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints while the broker runs: everything in the segments, noted, the journal released.
 * core/log/checkpoint_run.c says how.
 */
#pragma once

#include "core/log/checkpoint.h"
#include "core/log/record_file.h"

struct log_body;

#define CHECKPOINT_AFTER_NS 5000000000ULL

enum checkpoint_step {
    CHECKPOINT_IDLE,
    CHECKPOINT_MARKED,  /* waits until the marked group is durable */
    CHECKPOINT_WRITING, /* logs write and sync */
    CHECKPOINT_NOTING,  /* entries go to the checkpoint file */
    CHECKPOINT_RELEASING,
};

struct checkpoint_batch {
    struct record_append append;
    struct log_shard *ls;
    TAILQ_ENTRY(checkpoint_batch) link;
    uint32_t used;
    uint32_t size;
    uint8_t *bytes;
};

/* Entries "deleted" of logs that D/checkpoint-start still knows as alive. */
struct checkpoint_tombstones {
    uint8_t *bytes;
    size_t used;
    size_t size;
};

TAILQ_HEAD(checkpoint_batches, checkpoint_batch);

void checkpoint_want(struct log_shard *ls);
void checkpoint_run(struct log_shard *ls);
void checkpoint_on_release(struct log_shard *ls);
/* `open` is the caller's to free. */
void checkpoint_log_entry(const struct log_body *lg, struct checkpoint_entry *entry);
void checkpoint_note(struct log_body *lg);
void checkpoint_fini(struct log_shard *ls);

/* What runs in WRITING may have come to its end. */
void checkpoint_log_written(struct log_body *lg);
