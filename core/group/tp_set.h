/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of partitions, as consumer groups hand them out: sorted by topic id and number, each once,
 * in memory of their own. Nothing is changed in place: what is computed is a new set.
 */
#pragma once

#include "io/mem.h"
#include "io/uuid.h"

struct tp {
    struct uuid topic;
    int32_t partition;
};

/* All zeros: empty. */
struct tp_set {
    struct tp *parts;
    uint32_t count;
};

int tp_compare(const struct tp *a, const struct tp *b);

/* Sorts what the caller has. False: a partition is there twice. */
bool tp_sort(struct tp *parts, uint32_t count) warn_unused;

struct tp_set tp_set_copy(const struct tp_set *set);
void tp_set_fini(struct tp_set *set);
/* `with` becomes *set, whose memory is given back. */
void tp_set_replace(struct tp_set *set, struct tp_set with);

struct tp_set tp_set_both(const struct tp_set *a, const struct tp_set *b);
struct tp_set tp_set_either(const struct tp_set *a, const struct tp_set *b);
struct tp_set tp_set_without(const struct tp_set *a, const struct tp_set *b);

/* Where it is; count: it is not. */
uint32_t tp_set_find(const struct tp_set *set, const struct tp *part);
bool tp_set_has(const struct tp_set *set, const struct tp *part);
bool tp_set_equal(const struct tp_set *a, const struct tp_set *b);
/* Is all of `a` in `b`? */
bool tp_set_within(const struct tp_set *a, const struct tp_set *b);
/* Is anything of `a` in `b`? */
bool tp_set_meets(const struct tp_set *a, const struct tp_set *b);

/* How many from `at` on are of one topic; 0 at the end. */
uint32_t tp_set_run(const struct tp_set *set, uint32_t at);
