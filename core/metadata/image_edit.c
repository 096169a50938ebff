/* SPDX-License-Identifier: Apache-2.0
 *
 * An edit is the skeleton of the next image (brokers, settings, features: small, copied at once)
 * and an overlay of the topics that differ from the base. At its end the overlay is merged into the
 * base's sorted array: the cost is one pass over pointers, whatever the size of the topics.
 */
#include "core/metadata/image_edit_private.h"
#include "io/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- begin ---- */

void *edit_take_room(struct image_edit *edit, size_t count, size_t size)
{
    void *room = arena_array(&edit->tables->arena, count, size);
    must(room != NULL);
    return room;
}

static const char *keep_text(struct image_edit *edit, const char *text, size_t len)
{
    char *copy = edit_take_room(edit, len + 1, 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static const char *keep(struct image_edit *edit, const char *text)
{
    return text ? keep_text(edit, text, strlen(text)) : NULL;
}

const char *edit_keep_str(struct image_edit *edit, struct str text)
{
    return text.len < 0 ? NULL : keep_text(edit, text.data, (size_t)text.len);
}

static struct image_edit *edit_new(const struct image_options *options)
{
    struct image_edit *edit = mem_zalloc(sizeof(*edit));
    edit->next = mem_zalloc(sizeof(*edit->next));
    edit->tables = mem_zalloc(sizeof(*edit->tables));
    edit->next->tables = edit->tables;
    struct image_tables *tables = edit->tables;
    tables->conf = options->conf;
    tables->node_id = options->node_id;
    tables->shard_count = options->shard_count;
    tables->seed = options->seed;
    tables->mutate_shared = options->mutate_shared;
    tables->load = mem_zalloc(options->shard_count * sizeof(*tables->load));
    arena_init(&tables->arena, IMAGE_ARENA_BYTES_MAX);
    edit->next->cluster_id = keep(edit, options->cluster_id);
    return edit;
}

/* The two that always exist come first, so that the image can point at them. */
static void settings_init(struct image_edit *edit, uint32_t count)
{
    struct image_tables *tables = edit->tables;
    tables->settings = mem_zalloc(count * sizeof(*tables->settings));
    tables->settings_count = count;
}

struct image_edit *image_edit_new(const struct image_options *options)
{
    struct image_edit *edit = edit_new(options);
    edit->before = options->before;
    settings_init(edit, 2);
    edit->tables->quotas = quota_table_new();
    edit->next->quotas = edit->tables->quotas;
    edit->quotas_changed = true;
    edit->tables->settings[0].broker_id = -1;
    edit->tables->settings[1].broker_id = options->node_id;
    overrides_init(&edit->tables->settings[0].overrides, CONF_BROKER);
    overrides_init(&edit->tables->settings[1].overrides, CONF_BROKER);
    edit->next->controller_id = -1;
    edit->settings_changed = true;
    return edit;
}

void edit_copy_brokers(struct image_edit *edit, const struct image *base, uint32_t room)
{
    struct broker_image *brokers = edit_take_room(edit, room, sizeof(*brokers));
    for (uint32_t i = 0; i < base->broker_count; i++) {
        brokers[i] = base->brokers[i];
        brokers[i].rack = keep(edit, base->brokers[i].rack);
        struct broker_endpoint_image *endpoints =
            edit_take_room(edit, brokers[i].endpoint_count, sizeof(*endpoints));
        for (uint32_t e = 0; e < brokers[i].endpoint_count; e++) {
            endpoints[e] = base->brokers[i].endpoints[e];
            endpoints[e].listener = keep(edit, endpoints[e].listener);
            endpoints[e].host = keep(edit, endpoints[e].host);
        }
        brokers[i].endpoints = endpoints;
    }
    edit->next->brokers = brokers;
    edit->next->broker_count = base->broker_count;
}

static void copy_features(struct image_edit *edit, const struct image *base)
{
    struct feature_image *features = edit_take_room(edit, base->feature_count, sizeof(*features));
    for (uint32_t i = 0; i < base->feature_count; i++)
        features[i] =
            (struct feature_image){keep(edit, base->features[i].name), base->features[i].level};
    edit->next->features = features;
    edit->next->feature_count = base->feature_count;
}

struct image_edit *image_edit_begin(const struct image *base)
{
    const struct image_tables *from = base->tables;
    const struct image_options options = {
        .conf = from->conf,
        .cluster_id = base->cluster_id,
        .node_id = from->node_id,
        .shard_count = from->shard_count,
        .seed = from->seed,
        .mutate_shared = from->mutate_shared,
    };
    struct image_edit *edit = edit_new(&options);
    edit->base = base;
    struct image *next = edit->next;
    next->controller_id = base->controller_id;
    next->controller_epoch = base->controller_epoch;
    next->producer_id_next = base->producer_id_next;
    next->partition_count = base->partition_count;
    edit_copy_brokers(edit, base, base->broker_count);
    copy_features(edit, base);
    settings_init(edit, from->settings_count);
    for (uint32_t i = 0; i < from->settings_count; i++) {
        edit->tables->settings[i].broker_id = from->settings[i].broker_id;
        overrides_copy(&edit->tables->settings[i].overrides, &from->settings[i].overrides);
    }
    memcpy(edit->tables->load, from->load, from->shard_count * sizeof(*from->load));
    edit->tables->topic_conf = from->topic_conf;
    edit->tables->quotas = quota_table_get(from->quotas);
    next->quotas = from->quotas;
    return edit;
}

/* ---- the overlay ---- */

static char *fold(const char *name, size_t len)
{
    char *folded = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++)
        folded[i] = name[i] == '_' ? '.' : name[i];
    folded[len] = '\0';
    return folded;
}

struct edit_topic *edit_find_changed(const struct image_edit *edit, const struct uuid *id)
{
    struct edit_topic *found;
    HASH_FIND(by_id, edit->by_id, id, sizeof(*id), found);
    return found;
}

const struct topic_image *image_edit_topic_by_id(const struct image_edit *edit,
                                                 const struct uuid *id)
{
    const struct edit_topic *changed = edit_find_changed(edit, id);
    if (changed)
        return changed->topic;
    return edit->base ? image_topic_by_id(edit->base, id) : NULL;
}

const struct topic_image *image_edit_collision(const struct image_edit *edit, struct str name)
{
    char *folded = fold(name.data, (size_t)name.len);
    struct edit_topic *changed;
    HASH_FIND(by_name, edit->by_name, folded, (unsigned)name.len, changed);
    mem_free(folded);
    if (changed)
        return changed->topic;
    const struct topic_image *topic =
        edit->base ? image_collision(edit->base, name.data, (size_t)name.len) : NULL;
    return topic && !edit_find_changed(edit, &topic->id) ? topic : NULL;
}

const struct topic_image *image_edit_topic_by_name(const struct image_edit *edit, struct str name)
{
    const struct topic_image *topic = image_edit_collision(edit, name);
    return topic && memcmp(topic->name, name.data, (size_t)name.len) == 0 ? topic : NULL;
}

struct edit_topic *edit_add_changed(struct image_edit *edit, struct topic_image *topic)
{
    struct edit_topic *changed = mem_zalloc(sizeof(*changed));
    changed->id = topic->id;
    changed->topic = topic;
    changed->folded = fold(topic->name, topic->name_len);
    HASH_ADD(by_id, edit->by_id, id, sizeof(changed->id), changed);
    HASH_ADD_KEYPTR(by_name, edit->by_name, changed->folded, (unsigned)topic->name_len, changed);
    edit->changed_count++;
    return changed;
}

void edit_place_ids(struct topic_image *topic, struct partition_image *partitions)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        partitions[i].replicas = topic->ids + (size_t)i * 2 * topic->stride;
        partitions[i].isr = partitions[i].replicas + topic->stride;
    }
    topic->partitions = partitions;
}

static struct topic_image *topic_copy(const struct topic_image *from)
{
    struct topic_image *topic = mem_alloc(sizeof(*topic));
    *topic = *from;
    topic->refs = 0;
    topic->name = mem_strdup(from->name);
    overrides_copy(&topic->overrides, &from->overrides);
    size_t ids_bytes = (size_t)from->partition_count * 2 * from->stride * sizeof(*topic->ids);
    topic->ids = mem_alloc(ids_bytes);
    struct partition_image *partitions = mem_alloc(from->partition_count * sizeof(*partitions));
    if (from->partition_count > 0) {
        memcpy(topic->ids, from->ids, ids_bytes);
        memcpy(partitions, from->partitions, from->partition_count * sizeof(*partitions));
    }
    edit_place_ids(topic, partitions);
    return topic;
}

struct edit_topic *edit_change(struct image_edit *edit, const struct uuid *id)
{
    struct edit_topic *changed = edit_find_changed(edit, id);
    if (changed)
        return changed->topic ? changed : NULL;
    const struct topic_image *base = edit->base ? image_topic_by_id(edit->base, id) : NULL;
    if (!base)
        return NULL;
    return edit_add_changed(edit, edit->tables->mutate_shared ? no_const(base) : topic_copy(base));
}

/* ---- end ---- */

struct conf_view edit_view(const struct image_edit *edit, const struct overrides *topic)
{
    return (struct conf_view){
        .conf = edit->tables->conf,
        .cluster = &edit->tables->settings[0].overrides,
        .broker = &edit->tables->settings[1].overrides,
        .topic = topic,
    };
}

static void resolve_topic(struct image_edit *edit, struct topic_image *topic)
{
    const struct conf_view view = edit_view(edit, &topic->overrides);
    struct conf_error error;
    /* When a broker's new default contradicts the topic's own setting, the topic goes by the
     * defaults; the controller has refused what a request could have got wrong. */
    if (topic->overrides.count == 0 || !overrides_resolve_topic(&view, &topic->conf, &error))
        topic->conf = edit->tables->topic_conf;
}

static void resolve_defaults(struct image_edit *edit)
{
    struct image_tables *tables = edit->tables;
    const struct conf_view view = edit_view(edit, NULL);
    struct conf_error error;
    if (edit->settings_changed && !overrides_resolve_topic(&view, &tables->topic_conf, &error))
        tables->topic_conf = tables->conf->topic;
    tables->broker_conf = tables->conf->broker;
    for (uint16_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        if (key->scope != CONF_BROKER || !key->has_field || key->dynamic == CONF_READ_ONLY)
            continue;
        struct conf_value value;
        conf_value_find(&view, key, &value);
        /* A converted text lives in the value: fields that keep text would outlive it. */
        must(value.text != value.buffer || key->kind == CONF_LONG || key->kind == CONF_INT);
        conf_store(key, value.text, &tables->broker_conf);
    }
}

static int compare_topics(const void *a, const void *b)
{
    const struct topic_image *left = *(struct topic_image *const *)a;
    const struct topic_image *right = *(struct topic_image *const *)b;
    return strcmp(left->name, right->name);
}

/* The changed topics that go on, sorted by name. */
static struct topic_image **changed_topics(struct image_edit *edit, uint32_t *count)
{
    struct topic_image **topics = mem_alloc((edit->changed_count + 1U) * sizeof(*topics));
    struct edit_topic *changed;
    struct edit_topic *following;
    *count = 0;
    HASH_ITER(by_id, edit->by_id, changed, following)
    {
        if (!changed->topic)
            continue;
        if (changed->reconfigured || edit->settings_changed)
            resolve_topic(edit, changed->topic);
        topics[(*count)++] = changed->topic;
    }
    qsort(topics, *count, sizeof(struct topic_image *), compare_topics);
    return topics;
}

static void merge_topics(struct image_edit *edit)
{
    uint32_t changed_count;
    struct topic_image **changed = changed_topics(edit, &changed_count);
    uint32_t base_count = edit->base ? edit->base->topic_count : 0;
    struct topic_image **topics =
        mem_alloc(((size_t)base_count + changed_count + 1) * sizeof(*topics));
    uint32_t count = 0;
    uint32_t next = 0;
    for (uint32_t i = 0; i < base_count; i++) {
        struct topic_image *topic = edit->base->tables->topics[i];
        if (edit_find_changed(edit, &topic->id))
            continue;
        while (next < changed_count && compare_topics(&changed[next], &topic) < 0)
            topics[count++] = changed[next++];
        topics[count++] = topic;
    }
    while (next < changed_count)
        topics[count++] = changed[next++];
    mem_free(changed);
    edit->tables->topics = topics;
    edit->next->topics = (const struct topic_image *const *)topics;
    edit->next->topic_count = count;
}

static void build_tables(struct image_edit *edit)
{
    struct image_tables *tables = edit->tables;
    uint32_t size = 16;
    while (size < 2 * edit->next->topic_count)
        size *= 2;
    tables->mask = size - 1;
    tables->by_name = mem_zalloc(size * sizeof(*tables->by_name));
    tables->by_id = mem_zalloc(size * sizeof(*tables->by_id));
    for (uint32_t i = 0; i < edit->next->topic_count; i++) {
        tables->topics[i]->refs++;
        image_table_insert(tables, tables->topics[i]);
    }
}

static void forget_overlay(struct image_edit *edit, bool with_topics)
{
    struct edit_topic *changed;
    struct edit_topic *following;
    HASH_CLEAR(by_name, edit->by_name);
    HASH_ITER(by_id, edit->by_id, changed, following)
    {
        HASH_DELETE(by_id, edit->by_id, changed);
        if (with_topics && changed->topic && changed->topic->refs == 0)
            topic_image_free(changed->topic);
        mem_free(changed->folded);
        mem_free(changed);
    }
}

struct image *image_edit_end(struct image_edit *edit, uint64_t batch)
{
    struct image *next = edit->next;
    next->batch = batch;
    if (edit->quotas_changed)
        edit->tables->quotas->version = batch;
    resolve_defaults(edit);
    for (uint32_t i = 0; edit->settings_changed && edit->base && i < edit->base->topic_count; i++)
        (void)edit_change(edit, &edit->base->topics[i]->id);
    merge_topics(edit);
    build_tables(edit);
    next->broker_conf = &edit->tables->broker_conf;
    next->cluster_overrides = &edit->tables->settings[0].overrides;
    next->broker_overrides = &edit->tables->settings[1].overrides;
    forget_overlay(edit, false);
    mem_free(edit);
    return next;
}

void image_edit_cancel(struct image_edit *edit)
{
    forget_overlay(edit, true);
    image_free(edit->next);
    mem_free(edit);
}

/* ---- what it would be ---- */

const struct image *image_edit_peek(const struct image_edit *edit)
{
    return edit->next;
}

const struct overrides *image_edit_settings(const struct image_edit *edit, int32_t broker_id)
{
    const struct image_tables *tables = edit->tables;
    for (uint32_t i = 0; i < tables->settings_count; i++) {
        if (tables->settings[i].broker_id == broker_id)
            return &tables->settings[i].overrides;
    }
    return NULL;
}

uint64_t image_edit_partition_count(const struct image_edit *edit)
{
    return edit->next->partition_count;
}

uint32_t image_edit_ignored(const struct image_edit *edit)
{
    return edit->ignored;
}
