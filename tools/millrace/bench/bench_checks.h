/* SPDX-License-Identifier: Apache-2.0
 *
 * Was what was sent read back? Records are numbered per partition from 0, in the order in which
 * they were handed over. Of each number two bits are kept: was it acknowledged, was it seen.
 *
 *   lost        acknowledged, and not seen
 *   duplicates  seen again
 *   reordered   seen for the first time after a larger number of its partition
 *   gaps        runs of numbers that were not seen below the largest that was; those whose request
 *               failed may rightly be missing, so a gap alone is no fault
 *   surplus     seen although no acknowledgement came: it may rightly be there
 */
#pragma once

#include "io/base.h"

struct checks_lane {
    uint8_t *bits; /* of number n: bits 2 (n % 4) and 2 (n % 4) + 1 of byte n / 4 */
    uint64_t room; /* numbers */
    uint64_t next; /* one more than the largest that was seen */
    uint64_t acked_end;
    uint64_t duplicates, reordered;
};

/* What came of a lane, or of all together. */
struct checks_sum {
    uint64_t acked, seen;
    uint64_t lost, duplicates, reordered, gaps, surplus;
};

struct checks {
    struct checks_lane *lanes;
    uint32_t lane_count;
    uint64_t corrupt;        /* batches whose checksum does not fit */
    uint64_t foreign;        /* records that are not of this run */
    struct checks_sum *told; /* of each lane, by another program that has checked; NULL: none has */
};

void checks_init(struct checks *checks, uint32_t lane_count);
void checks_fini(struct checks *checks);
void checks_acked(struct checks *checks, uint32_t lane, uint64_t first, uint64_t count);
/* False for a number that cannot have been sent; it counts as foreign. sent: how many were. */
bool checks_seen(struct checks *checks, uint32_t lane, uint64_t number, uint64_t sent);
struct checks_sum checks_sum_of(const struct checks *checks, uint32_t lane);
struct checks_sum checks_sum_all(const struct checks *checks);
/* Nothing of what must not be. */
bool checks_good(const struct checks *checks, const struct checks_sum *sum);
