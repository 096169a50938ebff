/* SPDX-License-Identifier: Apache-2.0
 *
 * The aborted transactions of a log. Batches of theirs stay in it, and a reader of committed
 * records is told which to pass over: a producer's, from the first one to the marker (KIP-98).
 *
 * This broker does not let transactions in, so only a log that was taken over from Apache Kafka
 * (tools/millrace/import) has any. What has ended by then never changes any more: the list is
 * written once, into a file `aborted` in the log's directory, and read at a start. That it has to
 * be there stands in the log's checkpoints; without it aborted records would be served as good
 * ones.
 *
 * Layout: a first block (core/log/format.h; own fields: count u32, CRC-32C of what follows u32),
 * then for each: producer id i64, first offset i64, last offset i64 (its marker's), by last offset.
 */
#pragma once

#include "core/log/format.h"
#include "core/log/log_error.h"
#include "core/record/batch.h"

#define ABORTED_NAME "aborted"
#define ABORTED_MAX  (4U << 20)

struct aborted_transaction {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset;
};

struct aborted_list {
    struct aborted_transaction *items; /* by last offset; NULL: none */
    uint32_t count;
    /* private */
    int64_t span_max; /* of the longest, in offsets */
};

/* Takes the items: from mem_alloc(), by last offset. */
struct aborted_list aborted_of(struct aborted_transaction *take_items, uint32_t count);
void aborted_fini(struct aborted_list *list);
void aborted_copy(struct aborted_list *to, const struct aborted_list *from);

/* Is the batch data of one of them? */
bool aborted_has(const struct aborted_list *list, const struct batch_header *header);

/* Those that a reader meets who gets records from `from` on, by first offset: the caller's to
 * mem_free(). NULL, and *count 0: none. He gets nothing at or behind `upto`, and at most
 * `batches_max` batches, so that what is looked at is bounded by what he asked for. */
struct aborted_transaction *aborted_between(const struct aborted_list *list, int64_t from,
                                            int64_t upto, uint32_t batches_max, uint32_t *count);

/* Both block. The list that is read is the caller's to aborted_fini(). */
bool aborted_write(struct fs *fs, const char *directory, const uint8_t uuid[16],
                   const struct aborted_list *list, struct log_error *error) warn_unused;
bool aborted_read(struct fs *fs, const char *directory, const uint8_t uuid[16],
                  struct aborted_list *list, struct log_error *error) warn_unused;
