/* SPDX-License-Identifier: Apache-2.0
 *
 * An append's way through the journal to its acknowledgement: core/log/log_commit.c.
 */
#pragma once

#include "core/log/journal.h"
#include "core/log/log.h"

struct log_body;

#define LOG_NO_RECORD 0U /* kind of a duplicate in the queue: it waits and writes nothing */

/* A fragment fills its group or has 64 KiB: at most 16 in each of the journal's buffers. */
#define LOG_FRAGMENTS (17U * JOURNAL_BUFFERS)

/* A part of a batch that is in a group: when the group is durable, so is this place. */
struct log_fragment {
    uint64_t seq;
    struct log_body *lg;
    struct segment *segment;
    uint32_t position;
    uint64_t change;
};

/* An append, or another record, joins its log's line. */
void log_enqueue(struct log_body *lg, struct log_append *op, uint8_t kind);
void log_journal_fill(struct log_shard *ls);
void log_on_commit(struct log_shard *ls, uint64_t seq);
/* What a record of bytes [from, to) of an append says. */
void log_append_summary(const struct log_body *lg, const struct log_append *op, uint32_t from,
                        uint32_t to, struct journal_append *append);
/* Does its record make a group durable? */
bool log_makes_durable(const struct log_body *lg, const struct log_append *op);
/* A direct write of the log is done: what stands behind it. */
void log_commit_behind(struct log_body *lg);
/* A record that is no append joins the queue; log_change_durable() when it is durable. */
void log_queue_record(struct log_body *lg, struct log_append *record, uint8_t kind);
void log_dirty(struct log_body *lg);
/* The directory is offline: everything that waits for it ends. */
void log_fail_all(struct log_shard *ls);
