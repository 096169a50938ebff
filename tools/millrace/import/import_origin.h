/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a data directory came from: the file D/imported-from (JSON), which an import leaves and the
 * broker does not read. And --commit, which gives the way back up: of Kafka's directories goes what
 * was taken over.
 *
 *   {"cluster_id": ..., "node_id": N, "directories": [...],
 *    "folders": [{"folder": path, "segment": "<20 digits>.log", "bytes": of it}, ...]}
 *
 * A folder is named with its last segment, so that a Kafka that has run again meanwhile and got
 * records that are nowhere else is noticed.
 */
#pragma once

#include "tools/millrace/import/kafka_node.h"

#define IMPORT_ORIGIN "imported-from"

/* Into `directory`, durably. 0, or -errno. */
int import_origin_write(const struct kafka_node *node, const char *directory);

struct import_commit {
    const char **dirs; /* Kafka's, borrowed */
    uint32_t dir_count;
    const char *data_dir;
    uint64_t files; /* that went */
    uint64_t bytes;
    char reason[700];
};
/* False: `reason` says why, and nothing went, or not all of it. */
bool import_commit(struct import_commit *commit) warn_unused;
