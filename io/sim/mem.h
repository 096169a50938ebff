/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of simulated processes: each allocation hangs in the list of its owner, so that a crash
 * gives it all back and a clean stop can be asked for leaks. Without an owner (a unit test, or the
 * scenario itself) mem_alloc() is plain memory and leaks are the sanitizer's to find.
 */
#pragma once

#include "io/mem.h"

#include <sys/queue.h>

struct mem_head;
LIST_HEAD(mem_list, mem_head);

struct mem_owner {
    struct mem_list list;
    uint64_t bytes;
    uint64_t count;
};

void mem_owner_init(struct mem_owner *owner);
void mem_owner_free_all(struct mem_owner *owner);
/* Makes `owner` the one that pays; returns the one before. */
struct mem_owner *mem_owner_set(struct mem_owner *owner);
