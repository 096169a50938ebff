/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/quota_entity.h"

#include <string.h>

static const char *const keys[QUOTA_KINDS] = {
    [QUOTA_PRODUCE] = "producer_byte_rate",          [QUOTA_FETCH] = "consumer_byte_rate",
    [QUOTA_REQUEST] = "request_percentage",          [QUOTA_MUTATION] = "controller_mutation_rate",
    [QUOTA_CONNECTION] = "connection_creation_rate",
};

static const char *const types[QUOTA_PARTS] = {
    [QUOTA_OF_USER] = "user",
    [QUOTA_OF_CLIENT] = "client-id",
    [QUOTA_OF_IP] = "ip",
};

static unsigned find(const char *const *names, unsigned count, struct str name)
{
    unsigned at = 0;
    while (at < count && !str_equal(name, str_of(names[at])))
        at++;
    return at;
}

const char *quota_key(enum quota_kind kind)
{
    must(kind < QUOTA_KINDS);
    return keys[kind];
}

enum quota_kind quota_kind_of(struct str key)
{
    return (enum quota_kind)find(keys, QUOTA_KINDS, key);
}

const char *quota_type(enum quota_of of)
{
    must(of < QUOTA_PARTS);
    return types[of];
}

enum quota_of quota_of_type(struct str type)
{
    return (enum quota_of)find(types, QUOTA_PARTS, type);
}

static int compare_parts(const struct quota_part *a, const struct quota_part *b)
{
    if (a->match != b->match)
        return a->match < b->match ? -1 : 1;
    if (a->match != QUOTA_NAMED)
        return 0;
    int32_t shorter = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = shorter > 0 ? memcmp(a->name.data, b->name.data, (size_t)shorter) : 0;
    return order != 0 ? order : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

int quota_entity_compare(const struct quota_entity *a, const struct quota_entity *b)
{
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        int order = compare_parts(&a->part[of], &b->part[of]);
        if (order != 0)
            return order;
    }
    return 0;
}

bool quota_entity_may(const struct quota_entity *entity, enum quota_kind kind)
{
    bool of_ip = entity->part[QUOTA_OF_IP].match != QUOTA_ABSENT;
    return of_ip == (kind == QUOTA_CONNECTION);
}
