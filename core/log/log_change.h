/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of a log that are no appends, from inside: birth, truncation, a new log start, deletion.
 */
#pragma once

#include "core/log/segment.h"

enum change_step {
    CHANGE_ASKED,
    CHANGE_FINDING,
    CHANGE_FOUND,
    CHANGE_QUEUED,
    CHANGE_DURABLE,
    CHANGE_UNLINKING,
};

/* log_change.c */
void log_remove_directory(struct log_body *lg);
void log_change_durable(struct log_body *lg, struct log_append *record);
void log_change_run(struct log_body *lg);
/* At the end of the turn, if there is a change: what it waited for may be over. */
void log_change_soon(struct log_body *lg);
void log_change_finish(struct log_body *lg, struct log_change *change, enum log_verdict verdict);
/* Something that used the log has ended (lg->users). */
void log_unuse(struct log_body *lg);
/* Takes one whole away, with its files. */
void log_remove_segment(struct log_body *lg, struct segment *segment);
/* It is no part of the log any more. */
void log_discount_segment(struct log_body *lg, struct segment *segment);

/* log_start.c */
void log_start_run(struct log_body *lg, struct log_change *change);
void log_start_apply(struct log_body *lg, const struct log_change *change); /* it is durable */
/* Its files go when their time has come. */
void log_sweep_later(struct log_body *lg, struct segment *segment);
void log_sweep_run(struct log_shard *ls);
void log_on_sweep_timer(struct shard *sh, struct timer *timer);
/* No segment of it is swept any more. */
void log_sweep_forget(struct log_body *lg);
