/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash maps of the control plane: uthash on our own memory, with xxHash in place of its own hash
 * function. Walks go in order of insertion, so they are the same in every run.
 */
#pragma once

#include "io/base.h"
#include "io/mem.h"

uint32_t map_hash(const void *key, size_t len);
/* For keys that somebody else chooses, who does not know the salt. */
uint64_t map_hash_salted(const void *key, size_t len, uint64_t salt);

#define HASH_FUNCTION(key, len, hash) ((hash) = map_hash(key, len))
#define uthash_malloc(size)           mem_alloc(size)
#define uthash_free(pointer, size)    mem_free(pointer)
#include <uthash.h>
