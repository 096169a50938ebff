/* SPDX-License-Identifier: Apache-2.0
 *
 * When an append may be acknowledged: core/log/promise.c decides it.
 */
#pragma once

#include "core/log/segment.h"

/* The append is part of the log: what goes through the journal for it, itself or a stand-in. */
struct log_append *promise_take(struct log_body *lg, struct log_append *op);
/* Below it a duplicate is answered at once. */
int64_t promise_of_duplicates(const struct log_body *lg);
/* Its record is whole in a group. */
void promise_journaled(struct log_shard *ls, struct log_append *op);
/* All groups up to `seq` are written. */
void promise_on_written(struct log_shard *ls, uint64_t seq);
/* A direct write of the log is done. */
void promise_behind(struct log_body *lg);
/* The append is durable, and all before it. */
void promise_durable(struct log_body *lg, const struct log_append *op);
/* The log was brought back, and all of it is durable. */
void promise_adopt(struct log_body *lg, bool relaxed);
/* The log ends there, and all of it is durable. */
void promise_reset(struct log_body *lg, struct segment *segment, uint32_t position, int64_t offset);
void promise_run(struct log_shard *ls); /* at the end of a turn */
/* Tells whose acked_offset has moved. */
void promise_tell(struct log_shard *ls);
void promise_fail(struct log_shard *ls); /* the directory is offline */
/* Its configuration may want another mode. */
void promise_mode_run(struct log_body *lg);
void promise_mode_durable(struct log_body *lg);
void promise_forget(struct log_body *lg); /* the log is freed */
void promise_on_flush_timer(struct shard *sh, struct timer *timer);
void promise_fini(struct log_shard *ls);
