/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/partition_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Takes "3" or "3-5" off the list. */
static bool range_take(const char **at, int32_t *from, int32_t *to)
{
    char *end;
    errno = 0;
    long first = strtol(*at, &end, 10);
    if (errno || end == *at || first < 0 || first > PARTITION_MAX)
        return false;
    *from = *to = (int32_t)first;
    if (*end == '-') {
        const char *second = end + 1;
        long last = strtol(second, &end, 10);
        if (errno || end == second || last < first || last > PARTITION_MAX)
            return false;
        *to = (int32_t)last;
    }
    if (*end != 0 && *end != ',')
        return false;
    *at = end + (*end == ',');
    return true;
}

bool partition_list_has(const char *list, int32_t partition, bool *bad)
{
    bool chosen = !list;
    for (const char *at = list; at && *at;) {
        int32_t from;
        int32_t to;
        if (!range_take(&at, &from, &to)) {
            *bad = true;
            return false;
        }
        chosen |= partition >= from && partition <= to;
    }
    return chosen;
}

struct topic_choice topic_choice_of(const char *text)
{
    const char *colon = strchr(text, ':');
    return (struct topic_choice){
        .topic = text,
        .len = colon ? (size_t)(colon - text) : strlen(text),
        .list = colon ? colon + 1 : NULL,
    };
}
