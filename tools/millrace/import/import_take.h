/* SPDX-License-Identifier: Apache-2.0
 *
 * A node of Apache Kafka, read (tools/millrace/import/kafka_node.h) and found good, becomes a data
 * directory of Millrace. It is made beside its place, under D.import, and gets its name when it is
 * whole and durable: until then there is nothing that a broker would start on, and a directory that
 * was left behind by an import that was killed may just be removed.
 *
 * Kafka's directories are only read.
 */
#pragma once

#include "tools/millrace/import/import_file.h"
#include "tools/millrace/import/kafka_node.h"

struct import_take {
    const struct kafka_node *node;
    const char *data_dir;
    struct import_ways ways;
    /* what came of it */
    uint32_t topics;
    uint32_t partitions;
    uint64_t segments;
    char reason[700]; /* why it failed */
};

/* False: `reason` says why; what was made is gone, as far as that could be. */
bool import_take(struct import_take *take) warn_unused;
