/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch in another codec (compression.type, B10): its records are inflated and compressed again
 * slice by slice, never standing anywhere whole, and stay byte for byte what they were; so do all
 * fields of the header but the codec, the length and the checksum. Kafka makes new records where it
 * does this; nothing that a consumer sees differs.
 */
#pragma once

#include "core/record/batch.h"
#include "core/record/deflate.h"

enum recode_status {
    RECODE_OK,
    RECODE_TOO_LARGE, /* larger than bytes_max */
    RECODE_BROKEN,    /* its records cannot be inflated */
};

struct recode {
    /* in */
    struct span batch; /* checked */
    enum codec codec;  /* the wanted one */
    int level;
    uint32_t bytes_max;   /* of the whole new batch */
    uint64_t plain_bytes; /* its records, inflated: what the check has seen */
    bool mistake_cut;     /* a deliberate one: a byte of each slice is left out */

    /* out */
    enum recode_status status;
    uint8_t *bytes; /* the new batch, the caller's to mem_free(); NULL: RECODE_OK was not reached */
    uint32_t len;
};

/* Burns: on a helper thread. `inflater` and `deflater` are borrowed. */
void recode_run(struct recode *recode, struct inflater *inflater, struct deflater *deflater);
