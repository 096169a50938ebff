/* SPDX-License-Identifier: Apache-2.0
 *
 * May this batch go into this partition's log? All that Kafka 4.3 asks of the records field of a
 * produce request: exactly one whole batch of format v2, of an allowed size, whose checksum,
 * counts, offsets, timestamps and keys hold when its records are really looked at.
 *
 * A check is a state machine, because a batch may be 100 MiB, or may inflate to hundreds: each
 * step looks at a given number of 64 KiB slices and returns. The owner steps it between turns, or
 * hands all of it to a helper thread (batch_check_is_heavy); the verdict is the same. Records are
 * walked, never collected: memory is that of the inflater.
 *
 * The checksum comes first, since nothing inside it means anything before. An owner who is going to
 * copy the batch anyway (core/log/log.c) sets crc_by_copy and finds out then; then only a
 * refusal reads the bytes for the checksum, so that a damaged batch is always CORRUPT_MESSAGE and
 * never called a lie.
 *
 * Decisions where Kafka does something else, or several things:
 *  - Offset deltas that are not 0, 1, 2, ...: Kafka rebuilds such a batch when it is compressed and
 *    stores it as it is when not. Here it is INVALID_RECORD: no client of format v2 sends them.
 *  - Bytes behind the batch that are no batch: Kafka cuts them off. Here: INVALID_RECORD.
 *  - The timestamp type LogAppendTime and the delete horizon are the broker's to set: refused
 * always (Kafka lets the former through on CreateTime topics, and the latter always).
 *  - A broken or overlong compressed payload is always INVALID_RECORD, an unknown codec always
 *    UNSUPPORTED_COMPRESSION_TYPE (Kafka: sometimes UNKNOWN_SERVER_ERROR).
 *  - At most BATCH_RECORD_ERRORS_MAX bad records are named one by one, so that a refusal cannot be
 *    larger than what it refuses.
 * What a topic's compression.type asks for comes after this (core/record/recode.h).
 */
#pragma once

#include "core/record/record.h"
#include "net/err.h"

#define BATCH_RECORD_ERRORS_MAX 100

/* What the partition asks for; times are wall clock milliseconds. */
struct batch_rules {
    int64_t now_ms;                  /* the turn's clock, also the time of LogAppendTime */
    int64_t timestamp_before_max_ms; /* message.timestamp.before.max.ms */
    int64_t timestamp_after_max_ms;  /* message.timestamp.after.max.ms */
    uint64_t inflated_bytes_max;     /* of all records together */
    int32_t message_bytes_max;       /* max.message.bytes: the batch with its whole header */
    int32_t segment_bytes;           /* segment.bytes */
    bool log_append_time;            /* message.timestamp.type */
    bool compacted;                  /* cleanup.policy contains compact */
    bool zstd_allowed;               /* produce request version >= 7 */
    bool crc_by_copy;
};

enum record_error_kind {
    RECORD_ERROR_NO_KEY,          /* INVALID_RECORD */
    RECORD_ERROR_TIMESTAMP,       /* INVALID_TIMESTAMP */
    RECORD_ERROR_LOG_APPEND_TIME, /* INVALID_TIMESTAMP */
};

/* One bad record (KIP-467). */
struct record_error {
    int64_t timestamp;
    int32_t batch_index;
    enum record_error_kind kind;
};

enum batch_verdict {
    BATCH_MORE, /* step again */
    BATCH_GOOD,
    BATCH_REFUSED, /* `failure` says why */
};

/* Does not move once started: failure.text may point into it. About 2.3 KiB. */
struct batch_check {
    /* Results. After BATCH_REFUSED: */
    struct failure failure;
    uint32_t record_error_count; /* of record_errors[] */
    uint32_t record_error_total; /* of all bad records */
    /* The header, host order; meaningful unless the refusal was about the framing. */
    struct batch_header header;
    /* After BATCH_GOOD: what max timestamp has to be, and the record it belongs to: of several the
     * first; of LogAppendTime the first of all. -1 when no record has a timestamp. */
    int64_t max_timestamp;
    int32_t max_timestamp_offset_delta;
    uint64_t plain_bytes; /* of all records, inflated */

    /* Private. */
    struct batch_rules rules;
    struct span batch, crc_left;
    uint32_t crc;
    uint8_t state;
    int32_t record_index;
    bool crc_known, bad_timestamps;
    struct record_walk walk;
    struct inflater *inflater;
    struct record_error record_errors[BATCH_RECORD_ERRORS_MAX];
    char sentence[160];
};

/* `records` is the records field of the request, null and empty being the same; its pieces live
 * until the check is over, and `inflater` is borrowed as long. */
void batch_check_start(struct batch_check *check, const struct batch_rules *rules,
                       struct inflater *inflater, struct span records);

/* Looks at up to `slices` (at least one) slices of 64 KiB. Measured with twice the work the cores
 * could do, so an upper bound: 4 us per slice of checksum, 1 us of plain 1 KiB records, 160 us of
 * the smallest records (7 bytes), 30 us to inflate LZ4, 170 us zstd, 600 us gzip. The verdict stays
 * when called again. */
enum batch_verdict batch_check_step(struct batch_check *check, uint32_t slices);

/* Whether the check may take longer than a turn has, in a single step (raw snappy) or in all:
 * compressed, and larger than a slice. */
bool batch_check_is_heavy(const struct batch_check *check);

/* The sentence for record_errors[index] of a refused batch. */
void batch_check_record_error(const struct batch_check *check, uint32_t index, char *text,
                              size_t size);
