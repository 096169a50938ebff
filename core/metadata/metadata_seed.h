/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata of a node of its own that begins with something: written before any broker has run
 * on it, so that the first one finds a cluster with topics, as after a stop. What a broker adds
 * when it comes (itself, an epoch) it adds as ever.
 */
#pragma once

#include "core/log/log_error.h"
#include "core/metadata/metadata_record.h"
#include "io/fs.h"

struct metadata_seed {
    struct fs *fs;
    const char *directory;  /* D/metadata */
    uint8_t uuid[16];       /* of D */
    const char *cluster_id; /* 22 characters */
    uint64_t nonce;         /* random */
};

/* Each of the batches has at most METADATA_BATCH_BYTES_MAX bytes. Blocks; durable when it is true.
 */
bool metadata_seed_write(const struct metadata_seed *seed, const struct metadata_records *batches,
                         uint32_t count, struct log_error *error) warn_unused;
