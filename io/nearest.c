/* SPDX-License-Identifier: Apache-2.0 */
#include "io/nearest.h"

#include <string.h>

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours from a to b (optimal string
 * alignment), or more than `limit` as soon as that is certain: a client can ask for many names that
 * do not exist. Both are at most NEAREST_NAME_LEN_MAX long. */
static uint32_t edit_distance(const char *a, const char *b, uint32_t limit)
{
    uint32_t rows[3][NEAREST_NAME_LEN_MAX + 1];
    uint32_t *before = rows[0];
    uint32_t *above = rows[1];
    uint32_t *row = rows[2];
    size_t len = strlen(b);
    for (size_t j = 0; j <= len; j++)
        before[j] = above[j] = (uint32_t)j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        uint32_t least = row[0] = (uint32_t)i;
        for (size_t j = 1; j <= len; j++) {
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min3(row[j], row[j], before[j - 2] + 1);
            least = row[j] < least ? row[j] : least;
        }
        /* A swap reaches back two rows, so one row above the limit is not the end. */
        if (least > limit + 1)
            return least;
        uint32_t *reuse = before;
        before = above;
        above = row;
        row = reuse;
    }
    return above[len];
}

void nearest_begin(struct nearest *nearest, const char *wanted)
{
    size_t len = strlen(wanted);
    /* More than one mistake in five characters is another word. */
    *nearest = (struct nearest){.wanted = wanted, .len = len, .distance = (uint32_t)len / 5 + 1};
}

bool nearest_offer(struct nearest *nearest, const char *name)
{
    size_t len = strlen(name);
    size_t apart = len > nearest->len ? len - nearest->len : nearest->len - len;
    if (nearest->len == 0 || nearest->len > NEAREST_NAME_LEN_MAX || len > NEAREST_NAME_LEN_MAX ||
        apart > nearest->distance)
        return false;
    uint32_t distance = edit_distance(nearest->wanted, name, nearest->distance);
    if (distance > nearest->distance || (distance == nearest->distance && nearest->found))
        return false;
    nearest->distance = distance;
    nearest->found = name;
    return true;
}
