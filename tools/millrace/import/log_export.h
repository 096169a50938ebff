/* SPDX-License-Identifier: Apache-2.0
 *
 * A log as Apache Kafka keeps it: the folder topic-partition with segments, their .index,
 * .timeindex and, where transactions were aborted, .txnindex, with leader-epoch-checkpoint and
 * partition.metadata. Segments are byte for byte what they were.
 */
#pragma once

#include "io/uuid.h"
#include "tools/millrace/import/import_file.h"
#include "tools/millrace/import/kafka_scan.h"
#include "tools/millrace/output.h"

struct log_export {
    const char *topic;
    int32_t partition;
    struct uuid topic_id;
    int64_t start_offset; /* segments that lie below it stay behind */
    bool is_empty;        /* it begins where it ends */
    const char *from;     /* the folder */
    const char *to;       /* the directory that gets a folder */
    struct import_ways *ways;
    /* what came of it */
    uint64_t segments;
    uint64_t records;
    uint64_t bytes;
    int64_t first_offset; /* of what was written */
    int64_t end_offset;
    char reason[512];
};

/* False: `reason` says why. Durable when it is true. */
bool log_export_write(struct log_export *export) warn_unused;
/* The folder to write into: made, the caller's to mem_free(). NULL: `reason` says why. */
char *log_export_folder(struct log_export *export);
/* A table of what was exported, and a row of it. */
struct listing *log_export_listing(const struct invocation *inv);
json_t *log_export_row(const struct log_export *export);
/* The segments are in the folder already (`from` is it): what stands beside them is written. */
bool log_export_finish(struct log_export *export) warn_unused;
