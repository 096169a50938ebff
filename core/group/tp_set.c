/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/tp_set.h"

#include <stdlib.h>
#include <string.h>

int tp_compare(const struct tp *a, const struct tp *b)
{
    const int order = memcmp(a->topic.bytes, b->topic.bytes, sizeof(a->topic.bytes));
    return order != 0 ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

static int compare_any(const void *a, const void *b)
{
    return tp_compare(a, b);
}

bool tp_sort(struct tp *parts, uint32_t count)
{
    if (count > 1)
        qsort(parts, count, sizeof(*parts), compare_any);
    for (uint32_t i = 1; i < count; i++)
        if (tp_compare(&parts[i - 1], &parts[i]) == 0)
            return false;
    return true;
}

static struct tp_set set_with_room(uint32_t room)
{
    return (struct tp_set){.parts = room > 0 ? mem_alloc(room * sizeof(struct tp)) : NULL};
}

/* What was made may be less than there was room for. */
static struct tp_set fitted(struct tp_set set, uint32_t room)
{
    if (set.count == room)
        return set;
    if (set.count > 0) {
        set.parts = mem_realloc(set.parts, set.count * sizeof(struct tp));
    } else {
        mem_free(set.parts);
        set.parts = NULL;
    }
    return set;
}

struct tp_set tp_set_copy(const struct tp_set *set)
{
    struct tp_set copy = set_with_room(set->count);
    copy.count = set->count;
    if (set->count > 0)
        memcpy(copy.parts, set->parts, set->count * sizeof(struct tp));
    return copy;
}

void tp_set_fini(struct tp_set *set)
{
    mem_free(set->parts);
    *set = (struct tp_set){0};
}

void tp_set_replace(struct tp_set *set, struct tp_set with)
{
    mem_free(set->parts);
    *set = with;
}

enum which { ONLY_A = 1, ONLY_B = 2, IN_BOTH = 4 };

static struct tp_set merge(const struct tp_set *a, const struct tp_set *b, unsigned wanted)
{
    const uint32_t room = a->count + ((wanted & ONLY_B) != 0 ? b->count : 0);
    struct tp_set out = set_with_room(room);
    uint32_t i = 0;
    uint32_t j = 0;
    while (i < a->count || j < b->count) {
        const int order = i == a->count   ? 1
                          : j == b->count ? -1
                                          : tp_compare(&a->parts[i], &b->parts[j]);
        const unsigned is = order < 0 ? ONLY_A : order > 0 ? ONLY_B : IN_BOTH;
        if ((is & wanted) != 0)
            out.parts[out.count++] = order <= 0 ? a->parts[i] : b->parts[j];
        i += order <= 0;
        j += order >= 0;
    }
    return fitted(out, room);
}

struct tp_set tp_set_both(const struct tp_set *a, const struct tp_set *b)
{
    return merge(a, b, IN_BOTH);
}

struct tp_set tp_set_either(const struct tp_set *a, const struct tp_set *b)
{
    return merge(a, b, ONLY_A | ONLY_B | IN_BOTH);
}

struct tp_set tp_set_without(const struct tp_set *a, const struct tp_set *b)
{
    return merge(a, b, ONLY_A);
}

uint32_t tp_set_find(const struct tp_set *set, const struct tp *part)
{
    const struct tp *found =
        set->count > 0 ? bsearch(part, set->parts, set->count, sizeof(*part), compare_any) : NULL;
    return found ? (uint32_t)(found - set->parts) : set->count;
}

bool tp_set_has(const struct tp_set *set, const struct tp *part)
{
    return tp_set_find(set, part) < set->count;
}

bool tp_set_equal(const struct tp_set *a, const struct tp_set *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->parts, b->parts, a->count * sizeof(struct tp)) == 0);
}

bool tp_set_within(const struct tp_set *a, const struct tp_set *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (!tp_set_has(b, &a->parts[i]))
            return false;
    return true;
}

bool tp_set_meets(const struct tp_set *a, const struct tp_set *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (tp_set_has(b, &a->parts[i]))
            return true;
    return false;
}

uint32_t tp_set_run(const struct tp_set *set, uint32_t at)
{
    uint32_t end = at;
    while (end < set->count && uuid_equal(&set->parts[end].topic, &set->parts[at].topic))
        end++;
    return end - at;
}
