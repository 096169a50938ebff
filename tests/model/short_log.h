/* SPDX-License-Identifier: Apache-2.0
 *
 * A log of a dozen records in memory, as the partition's code sees one (core/log/log.h), that
 * flushes when it is told to. It stands behind the calls that this code makes of the log
 * (log_append, log_truncate, log_reset, log_epoch_end): the linker wraps them.
 */
#pragma once

#include "core/log/epoch.h"
#include "core/log/log.h"
#include "tests/model/commit_set.h"

/* Epochs of the model begin at 1, those of the code at 0. */
#define SHORT_LOG_EPOCH(epoch) ((epoch)-1)

struct short_log {
    struct log lg;
    struct epoch_history epochs;
    struct model_record records[MODEL_LOG_MAX];
    struct log_append *under_way[MODEL_LOG_MAX]; /* not flushed */
    uint32_t under_way_count;
};

/* A log that was there before, all of it durable. */
void short_log_init(struct short_log *log, const struct model_record *records, int count);
/* What is under way ends with LOG_CLOSED. */
void short_log_fini(struct short_log *log);
/* One more record; op->done() runs when it is flushed. */
void short_log_add(struct short_log *log, struct model_record record, struct log_append *op);
/* All below `offset` is durable. */
void short_log_flush(struct short_log *log, int64_t offset);
