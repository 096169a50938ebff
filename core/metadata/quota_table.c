/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/quota_table.h"

#include "io/mem.h"

#include <string.h>

/* ---- looking up ---- */

/* Where it is, or would be. */
static uint32_t place_of(const struct quota_table *table, const struct quota_entity *entity)
{
    uint32_t low = 0;
    uint32_t high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (quota_entity_compare(&table->items[middle]->entity, entity) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct quota_table *table, uint32_t at, const struct quota_entity *entity)
{
    return at < table->count && quota_entity_compare(&table->items[at]->entity, entity) == 0;
}

const struct quota_image *quota_table_find(const struct quota_table *table,
                                           const struct quota_entity *entity)
{
    uint32_t at = place_of(table, entity);
    return is_at(table, at, entity) ? table->items[at] : NULL;
}

static double limit_of(const struct quota_table *table, enum quota_kind kind,
                       struct quota_part user, struct quota_part client, struct quota_part ip)
{
    const struct quota_entity entity = {{user, client, ip}};
    const struct quota_image *found = quota_table_find(table, &entity);
    return found ? found->limits[kind] : 0;
}

/* A name that is empty has no quota but the default's. */
static struct quota_part named(struct str name)
{
    return (struct quota_part){.match = name.len > 0 ? QUOTA_NAMED : QUOTA_DEFAULT, .name = name};
}

bool quota_table_rule(const struct quota_table *table, enum quota_kind kind, struct str user,
                      struct str client, struct quota_rule *rule)
{
    static const struct quota_part absent = {.match = QUOTA_ABSENT};
    static const struct quota_part defaults = {.match = QUOTA_DEFAULT};
    const struct quota_part users[] = {named(user), defaults, absent};
    const struct quota_part clients[] = {named(client), defaults, absent};
    for (size_t u = 0; u < array_count(users) && table->any[kind]; u++) {
        for (size_t c = 0; c < array_count(clients); c++) {
            double limit = limit_of(table, kind, users[u], clients[c], absent);
            if (limit <= 0)
                continue;
            *rule = (struct quota_rule){.limit = limit,
                                        .by_user = users[u].match != QUOTA_ABSENT,
                                        .by_client = clients[c].match != QUOTA_ABSENT};
            return true;
        }
    }
    return false;
}

double quota_table_ip_limit(const struct quota_table *table, struct str ip)
{
    static const struct quota_part absent = {.match = QUOTA_ABSENT};
    static const struct quota_part defaults = {.match = QUOTA_DEFAULT};
    if (!table->any[QUOTA_CONNECTION])
        return 0;
    double limit = limit_of(table, QUOTA_CONNECTION, absent, absent, named(ip));
    return limit > 0 ? limit : limit_of(table, QUOTA_CONNECTION, absent, absent, defaults);
}

/* ---- making ---- */

static struct quota_image *image_of(const struct quota_entity *entity)
{
    size_t bytes = 0;
    for (unsigned of = 0; of < QUOTA_PARTS; of++)
        if (entity->part[of].match == QUOTA_NAMED)
            bytes += (size_t)entity->part[of].name.len;
    struct quota_image *image = mem_zalloc(sizeof(*image) + bytes);
    char *at = (char *)(image + 1);
    image->refs = 1;
    for (unsigned of = 0; of < QUOTA_PARTS; of++) {
        const struct quota_part *from = &entity->part[of];
        struct quota_part *part = &image->entity.part[of];
        part->match = from->match;
        if (from->match != QUOTA_NAMED)
            continue;
        memcpy(at, from->name.data, (size_t)from->name.len);
        part->name = (struct str){at, from->name.len};
        at += from->name.len;
    }
    return image;
}

static void image_put(const struct quota_image *image)
{
    struct quota_image *mine = no_const(image);
    must(mine->refs > 0);
    if (--mine->refs == 0)
        mem_free(mine);
}

struct quota_table *quota_table_new(void)
{
    struct quota_table *table = mem_zalloc(sizeof(*table));
    table->refs = 1;
    return table;
}

struct quota_table *quota_table_copy(const struct quota_table *from)
{
    struct quota_table *table = quota_table_new();
    table->version = from->version;
    table->count = from->count;
    table->room = from->count + 1;
    table->items = mem_alloc(table->room * sizeof(struct quota_image *));
    memcpy(table->any, from->any, sizeof(table->any));
    for (uint32_t i = 0; i < from->count; i++) {
        table->items[i] = from->items[i];
        ((struct quota_image *)no_const(table->items[i]))->refs++;
    }
    return table;
}

struct quota_table *quota_table_get(struct quota_table *table)
{
    must(table->refs > 0);
    table->refs++;
    return table;
}

void quota_table_put(struct quota_table *table)
{
    if (!table)
        return;
    must(table->refs > 0);
    if (--table->refs > 0)
        return;
    for (uint32_t i = 0; i < table->count; i++)
        image_put(table->items[i]);
    mem_free(table->items);
    mem_free(table);
}

static void insert(struct quota_table *table, uint32_t at, const struct quota_image *image)
{
    if (table->count == table->room) {
        table->room = table->room ? 2 * table->room : 8;
        table->items = mem_realloc(table->items, table->room * sizeof(struct quota_image *));
    }
    memmove(table->items + at + 1, table->items + at,
            (table->count - at) * sizeof(struct quota_image *));
    table->items[at] = image;
    table->count++;
}

static void count_kinds(struct quota_table *table)
{
    memset(table->any, 0, sizeof(table->any));
    for (uint32_t i = 0; i < table->count; i++)
        for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
            table->any[kind] |= table->items[i]->limits[kind] > 0;
}

uint32_t quota_table_set(struct quota_table *table, const struct metadata_quota *record)
{
    uint32_t unknown = 0;
    uint32_t known = 0;
    uint32_t at = place_of(table, &record->entity);
    struct quota_image *image = image_of(&record->entity);
    for (uint32_t i = 0; i < record->limit_count; i++) {
        enum quota_kind kind = quota_kind_of(record->limits[i].key);
        if (kind == QUOTA_KINDS || !quota_entity_may(&record->entity, kind) ||
            !(record->limits[i].value > 0)) {
            unknown++;
            continue;
        }
        image->limits[kind] = record->limits[i].value;
        table->any[kind] = true;
        known++;
    }
    bool was_there = is_at(table, at, &record->entity);
    const struct quota_image *before = was_there ? table->items[at] : NULL;
    if (known > 0 && before)
        table->items[at] = image;
    else if (known > 0)
        insert(table, at, image);
    else
        image_put(image);
    if (known == 0 && before)
        memmove(table->items + at, table->items + at + 1,
                (--table->count - at) * sizeof(struct quota_image *));
    if (before) {
        image_put(before);
        count_kinds(table);
    }
    return unknown;
}
