/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the assignors know of each other and nobody else: all partitions of a plan in
 * one row, and who has each.
 */
#pragma once

#include "core/group/assign.h"

#define ASSIGN_NOBODY UINT32_MAX

struct assign_work {
    struct assign_plan *plan;
    uint32_t part_count;
    uint32_t *owner; /* [part_count]: a member's place, or ASSIGN_NOBODY */
    uint32_t *load;  /* [member_count] */

    /* who reads a topic: readers[reader_first[t]] .. readers[reader_first[t + 1] - 1] */
    uint32_t *reader_first;
    uint32_t *readers;
};

void assign_uniform(struct assign_work *work);
void assign_range(struct assign_work *work);
