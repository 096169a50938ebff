/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/image.h"

#include "core/metadata/image_private.h"
#include "core/metadata/metadata_record.h"
#include "io/mem.h"

#include <string.h>
#include <strings.h>

/* ---- hashes ---- */

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93ULL;
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93ULL;
    return value ^ (value >> 32);
}

static char folded(char letter)
{
    return letter == '_' ? '.' : letter;
}

static uint32_t name_hash(const struct image_tables *tables, const char *name, size_t len)
{
    uint64_t hash = tables->seed;
    for (size_t i = 0; i < len; i++)
        hash = mix(hash ^ (uint8_t)folded(name[i]));
    return (uint32_t)hash;
}

static uint32_t id_hash(const struct image_tables *tables, const struct uuid *id)
{
    uint64_t half[2];
    memcpy(half, id->bytes, sizeof(half));
    return (uint32_t)mix(mix(tables->seed ^ half[0]) ^ half[1]);
}

/* Are they equal when '_' is read as '.'? */
static bool names_collide(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    for (size_t i = 0; i < a_len; i++) {
        if (folded(a[i]) != folded(b[i]))
            return false;
    }
    return true;
}

void image_table_insert(struct image_tables *tables, struct topic_image *topic)
{
    uint32_t at = name_hash(tables, topic->name, topic->name_len) & tables->mask;
    while (tables->by_name[at])
        at = (at + 1) & tables->mask;
    tables->by_name[at] = topic;
    at = id_hash(tables, &topic->id) & tables->mask;
    while (tables->by_id[at])
        at = (at + 1) & tables->mask;
    tables->by_id[at] = topic;
}

/* ---- looking up ---- */

struct topic_image *image_collision(const struct image *image, const char *name, size_t len)
{
    const struct image_tables *tables = image->tables;
    uint32_t at = name_hash(tables, name, len) & tables->mask;
    for (; tables->by_name[at]; at = (at + 1) & tables->mask) {
        struct topic_image *topic = tables->by_name[at];
        if (names_collide(topic->name, topic->name_len, name, len))
            return topic;
    }
    return NULL;
}

const struct topic_image *image_topic_by_name(const struct image *image, const char *name,
                                              size_t len)
{
    const struct topic_image *topic = image_collision(image, name, len);
    return topic && memcmp(topic->name, name, len) == 0 ? topic : NULL;
}

const struct topic_image *image_topic_by_id(const struct image *image, const struct uuid *id)
{
    const struct image_tables *tables = image->tables;
    uint32_t at = id_hash(tables, id) & tables->mask;
    for (; tables->by_id[at]; at = (at + 1) & tables->mask) {
        if (uuid_equal(&tables->by_id[at]->id, id))
            return tables->by_id[at];
    }
    return NULL;
}

int16_t image_level(const struct image *image)
{
    for (uint32_t i = 0; i < image->feature_count; i++)
        if (strcmp(image->features[i].name, METADATA_LEVEL) == 0)
            return image->features[i].level;
    return METADATA_LEVEL_OLDEST;
}

const struct broker_image *image_broker(const struct image *image, int32_t id)
{
    uint32_t low = 0;
    uint32_t high = image->broker_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->brokers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->broker_count && image->brokers[low].id == id ? &image->brokers[low] : NULL;
}

const struct broker_endpoint_image *image_endpoint(const struct broker_image *broker,
                                                   const char *listener)
{
    for (uint32_t i = 0; i < broker->endpoint_count; i++) {
        if (strcasecmp(broker->endpoints[i].listener, listener) == 0)
            return &broker->endpoints[i];
    }
    return NULL;
}

struct conf_view image_view(const struct image *image, const struct topic_image *topic)
{
    return (struct conf_view){
        .conf = image->tables->conf,
        .cluster = image->cluster_overrides,
        .broker = image->broker_overrides,
        .topic = topic ? &topic->overrides : NULL,
    };
}

/* ---- the end ---- */

void topic_image_free(struct topic_image *topic)
{
    overrides_fini(&topic->overrides);
    mem_free(no_const(topic->partitions));
    mem_free(no_const(topic->name));
    mem_free(topic->ids);
    mem_free(topic);
}

void image_free(struct image *image)
{
    if (!image)
        return;
    struct image_tables *tables = image->tables;
    for (uint32_t i = 0; i < image->topic_count; i++) {
        must(tables->topics[i]->refs > 0);
        if (--tables->topics[i]->refs == 0)
            topic_image_free(tables->topics[i]);
    }
    for (uint32_t i = 0; i < tables->settings_count; i++)
        overrides_fini(&tables->settings[i].overrides);
    mem_free(tables->settings);
    mem_free(tables->topics);
    mem_free(tables->by_name);
    mem_free(tables->by_id);
    mem_free(tables->load);
    quota_table_put(tables->quotas);
    arena_fini(&tables->arena);
    mem_free(tables);
    mem_free(image);
}
