/* SPDX-License-Identifier: Apache-2.0
 *
 * May a walk by offset believe the headers that it meets? core/log/find_doubt.c says why not.
 */
#pragma once

#include "core/log/segment.h"

struct batch_header;

enum find_doubt {
    DOUBT_NONE,    /* the batch is what it says */
    DOUBT_ON,      /* look at find->priv.at next */
    DOUBT_AGAIN,   /* the hint was wrong */
    DOUBT_CORRUPT, /* what was asked for is damaged */
};
/* Into a segment, at find->priv.at. */
void find_doubt_begin(struct log_find *find, const struct segment *segment);
enum find_doubt find_doubt(struct segment *segment, struct log_find *find,
                           const struct batch_header *header, uint32_t limit);
/* No header can be there; `offset` is what it says. */
enum find_doubt find_doubt_unfit(struct segment *segment, struct log_find *find, int64_t offset);
/* True: what the walk has passed last has to be proven, because it says that what was asked for is
 * not in it, and nothing else is. */
bool find_doubt_prove(struct log_find *find);
/* It was: false: it is damaged. */
bool find_doubt_proven(struct segment *segment, struct log_find *find);
/* The walk has passed damage since the last batch that is what it says. */
bool find_doubt_missed(const struct log_find *find);
