/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_cluster.h"

#include "tools/millrace/import/kafka_scan.h"

#include <stdlib.h>

void kafka_cluster_init(struct kafka_cluster *cluster, int32_t node_id)
{
    *cluster = (struct kafka_cluster){.node_id = node_id, .producer_id_next = -1};
}

static void topic_free(struct kafka_topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct kafka_partition *partition = &topic->partitions[i];
        if (partition->scan) {
            kafka_scan_fini(partition->scan);
            mem_free(partition->scan);
        }
        mem_free(partition->directory);
    }
    kafka_settings_fini(&topic->settings);
    mem_free(topic->partitions);
    mem_free(topic);
}

void kafka_topic_remove(struct kafka_cluster *cluster, struct kafka_topic *topic)
{
    HASH_DELETE(by_name, cluster->by_name, topic);
    if (!uuid_is_zero(&topic->id))
        HASH_DELETE(by_id, cluster->by_id, topic);
    topic_free(topic);
}

void kafka_cluster_fini(struct kafka_cluster *cluster)
{
    while (cluster->by_name)
        kafka_topic_remove(cluster, cluster->by_name);
}

struct kafka_topic *kafka_topic_find(const struct kafka_cluster *cluster, const char *name)
{
    struct kafka_topic *topic;
    HASH_FIND(by_name, cluster->by_name, name, strlen(name), topic);
    return topic;
}

struct kafka_topic *kafka_topic_of_id(const struct kafka_cluster *cluster, const struct uuid *id)
{
    struct kafka_topic *topic;
    HASH_FIND(by_id, cluster->by_id, id, sizeof(*id), topic);
    return topic;
}

struct kafka_topic *kafka_topic_add(struct kafka_cluster *cluster, struct str name,
                                    const struct uuid *id)
{
    struct kafka_topic *topic = mem_zalloc(sizeof(*topic));
    must(name.len > 0 && name.len <= (int32_t)LOG_TOPIC_MAX);
    memcpy(topic->name, name.data, (size_t)name.len);
    topic->id = *id;
    if (kafka_topic_find(cluster, topic->name) ||
        (!uuid_is_zero(id) && kafka_topic_of_id(cluster, id))) {
        mem_free(topic);
        return NULL;
    }
    HASH_ADD_KEYPTR(by_name, cluster->by_name, topic->name, strlen(topic->name), topic);
    if (!uuid_is_zero(id))
        HASH_ADD(by_id, cluster->by_id, id, sizeof(topic->id), topic);
    return topic;
}

struct kafka_partition *kafka_partition_get(struct kafka_topic *topic, int32_t number)
{
    if (number < 0 || number >= KAFKA_PARTITIONS_MAX)
        return NULL;
    uint32_t count = (uint32_t)number + 1;
    if (count > topic->partition_count) {
        topic->partitions = mem_realloc(topic->partitions, count * sizeof(topic->partitions[0]));
        for (uint32_t i = topic->partition_count; i < count; i++)
            topic->partitions[i] = (struct kafka_partition){.high_watermark = -1};
        topic->partition_count = count;
    }
    topic->partitions[number].known = true;
    return &topic->partitions[number];
}

/* ---- settings ---- */

static char *text_of(struct str str)
{
    char *text = mem_alloc((size_t)str.len + 1);
    memcpy(text, str.data, (size_t)str.len);
    text[str.len] = '\0';
    return text;
}

static void setting_remove(struct kafka_settings *settings, uint32_t at)
{
    mem_free(settings->items[at].name);
    mem_free(settings->items[at].value);
    settings->items[at] = settings->items[--settings->count];
}

void kafka_settings_set(struct kafka_settings *settings, struct str name, struct str value)
{
    if (name.len < 0)
        return;
    for (uint32_t i = 0; i < settings->count; i++) {
        if (str_equal(str_of(settings->items[i].name), name)) {
            setting_remove(settings, i);
            break;
        }
    }
    if (value.len < 0)
        return;
    settings->items =
        mem_realloc(settings->items, (settings->count + 1) * sizeof(settings->items[0]));
    settings->items[settings->count++] =
        (struct kafka_setting){.name = text_of(name), .value = text_of(value)};
}

void kafka_settings_fini(struct kafka_settings *settings)
{
    while (settings->count > 0)
        setting_remove(settings, settings->count - 1);
    mem_free(settings->items);
    settings->items = NULL;
}

/* ---- in order ---- */

static int by_topic_name(const void *a, const void *b)
{
    const struct kafka_topic *left = *(struct kafka_topic *const *)a;
    const struct kafka_topic *right = *(struct kafka_topic *const *)b;
    return strcmp(left->name, right->name);
}

struct kafka_topic **kafka_topics_sorted(const struct kafka_cluster *cluster, uint32_t *count)
{
    uint32_t all = HASH_CNT(by_name, cluster->by_name);
    struct kafka_topic **topics = mem_alloc((all + 1) * sizeof(topics[0]));
    *count = 0;
    for (struct kafka_topic *topic = cluster->by_name; topic; topic = topic->by_name.next)
        topics[(*count)++] = topic;
    qsort(topics, *count, sizeof(topics[0]), by_topic_name);
    return topics;
}
