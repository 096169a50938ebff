/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata of Kafka in KRaft mode: the folder __cluster_metadata-0 with a log of record batches
 * and snapshots of it (<offset>-<epoch>.checkpoint). A record's value is a frame: frame version,
 * kind and version as unsigned varints, then the message (net/kafka.wire, "metadata").
 *
 * The newest snapshot is read, then the log from the snapshot's end. A log of one voter that was
 * stopped cleanly is committed to its end. Records between the beginning and the end of a metadata
 * transaction count when it ends, and not when it is aborted or never ends.
 */
#pragma once

#include "tools/millrace/import/kafka_cluster.h"

#define KRAFT_FOLDER "__cluster_metadata-0"

struct kraft {
    struct kafka_cluster *cluster;
    uint64_t records; /* read so far */
    bool in_transaction;
    struct kraft_held *held; /* of the open transaction */
    uint32_t held_count;
};

void kraft_init(struct kraft *kraft, struct kafka_cluster *cluster);
void kraft_fini(struct kraft *kraft);

/* One record's value. False: the sentence says what about it is unknown or does not fit. */
bool kraft_take(struct kraft *kraft, struct bytes value, char *sentence,
                size_t sentence_size) warn_unused;

/* All of a folder. False: likewise, with the file's name. */
bool kraft_read(struct kraft *kraft, const char *directory, char *sentence,
                size_t sentence_size) warn_unused;
