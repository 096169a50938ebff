/* SPDX-License-Identifier: Apache-2.0
 *
 * An edit is the skeleton of the next image (brokers, settings, features: small, copied at once)
 * and an overlay of the topics that differ from the base. At its end the overlay is merged into the
 * base's sorted array: the cost is one pass over pointers, whatever the size of the topics.
 */
#include "core/metadata/image_edit.h"

#include "core/metadata/image_private.h"
#include "io/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size)               mem_alloc(size)
#define uthash_free(memory, len)          mem_free(memory)
#define HASH_FUNCTION(key, len, hash_out) HASH_FNV(key, len, hash_out)
#include <uthash.h>

#define INTERNAL_TOPICS "__consumer_offsets\0__transaction_state\0"

/* A topic that is new, changed or deleted in this edit. */
struct edit_topic {
    struct uuid id;
    struct topic_image *topic; /* our own until the end; NULL: deleted */
    bool reconfigured;
    char *folded; /* key of by_name; NULL: not in it */
    UT_hash_handle by_id;
    UT_hash_handle by_name;
};

struct image_edit {
    const struct image *base;   /* NULL: from nothing */
    const struct image *before; /* where partitions are at home; NULL: nowhere yet */
    struct image *next;
    struct image_tables *tables; /* of next */
    struct edit_topic *by_id;
    struct edit_topic *by_name; /* by folded name, those not deleted */
    uint32_t changed_count;
    bool settings_changed; /* every topic's configuration is resolved anew */
    uint32_t ignored;
};

struct refusal {
    char *sentence;
    size_t size;
};

static printf_like(2, 3) bool refuse(const struct refusal *refusal, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(refusal->sentence, refusal->size, format, args);
    va_end(args);
    return false;
}

/* ---- begin ---- */

static void *take_room(struct image_edit *edit, size_t count, size_t size)
{
    void *room = arena_array(&edit->tables->arena, count, size);
    must(room != NULL);
    return room;
}

static const char *keep_text(struct image_edit *edit, const char *text, size_t len)
{
    char *copy = take_room(edit, len + 1, 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static const char *keep(struct image_edit *edit, const char *text)
{
    return text ? keep_text(edit, text, strlen(text)) : NULL;
}

static const char *keep_str(struct image_edit *edit, struct str text)
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
    edit->tables->settings[0].broker_id = -1;
    edit->tables->settings[1].broker_id = options->node_id;
    overrides_init(&edit->tables->settings[0].overrides, CONF_BROKER);
    overrides_init(&edit->tables->settings[1].overrides, CONF_BROKER);
    edit->next->controller_id = -1;
    edit->settings_changed = true;
    return edit;
}

static void copy_brokers(struct image_edit *edit, const struct image *base, uint32_t room)
{
    struct broker_image *brokers = take_room(edit, room, sizeof(*brokers));
    for (uint32_t i = 0; i < base->broker_count; i++) {
        brokers[i] = base->brokers[i];
        brokers[i].rack = keep(edit, base->brokers[i].rack);
        struct broker_endpoint_image *endpoints =
            take_room(edit, brokers[i].endpoint_count, sizeof(*endpoints));
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
    struct feature_image *features = take_room(edit, base->feature_count, sizeof(*features));
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
    copy_brokers(edit, base, base->broker_count);
    copy_features(edit, base);
    settings_init(edit, from->settings_count);
    for (uint32_t i = 0; i < from->settings_count; i++) {
        edit->tables->settings[i].broker_id = from->settings[i].broker_id;
        overrides_copy(&edit->tables->settings[i].overrides, &from->settings[i].overrides);
    }
    memcpy(edit->tables->load, from->load, from->shard_count * sizeof(*from->load));
    edit->tables->topic_conf = from->topic_conf;
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

static struct edit_topic *find_changed(const struct image_edit *edit, const struct uuid *id)
{
    struct edit_topic *found;
    HASH_FIND(by_id, edit->by_id, id, sizeof(*id), found);
    return found;
}

const struct topic_image *image_edit_topic_by_id(const struct image_edit *edit,
                                                 const struct uuid *id)
{
    const struct edit_topic *changed = find_changed(edit, id);
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
    return topic && !find_changed(edit, &topic->id) ? topic : NULL;
}

const struct topic_image *image_edit_topic_by_name(const struct image_edit *edit, struct str name)
{
    const struct topic_image *topic = image_edit_collision(edit, name);
    return topic && memcmp(topic->name, name.data, (size_t)name.len) == 0 ? topic : NULL;
}

static struct edit_topic *add_changed(struct image_edit *edit, struct topic_image *topic)
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

static void place_ids(struct topic_image *topic, struct partition_image *partitions)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        partitions[i].replicas = topic->ids + (size_t)i * 2 * topic->stride;
        partitions[i].isr = partitions[i].replicas + topic->stride;
    }
    topic->partitions = partitions;
}

/* Grows the partitions of our own copy of a topic, or the room of each for its replicas. */
static struct partition_image *resize(struct topic_image *topic, uint32_t count, uint32_t stride)
{
    const struct partition_image *old = topic->partitions;
    int32_t *old_ids = topic->ids;
    struct partition_image *partitions = mem_zalloc(count * sizeof(*partitions));
    uint32_t kept = topic->partition_count;
    topic->ids = mem_zalloc((size_t)count * 2 * stride * sizeof(*topic->ids));
    for (uint32_t i = 0; i < kept; i++) {
        int32_t *ids = topic->ids + (size_t)i * 2 * stride;
        memcpy(ids, old[i].replicas, old[i].replica_count * sizeof(*ids));
        memcpy(ids + stride, old[i].isr, old[i].isr_count * sizeof(*ids));
        partitions[i] = old[i];
    }
    topic->partition_count = count;
    topic->stride = stride;
    place_ids(topic, partitions);
    mem_free(no_const(old));
    mem_free(old_ids);
    return partitions;
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
    place_ids(topic, partitions);
    return topic;
}

/* Our own copy of a topic, made at its first change. NULL: there is no such topic. */
static struct edit_topic *change(struct image_edit *edit, const struct uuid *id)
{
    struct edit_topic *changed = find_changed(edit, id);
    if (changed)
        return changed->topic ? changed : NULL;
    const struct topic_image *base = edit->base ? image_topic_by_id(edit->base, id) : NULL;
    if (!base)
        return NULL;
    return add_changed(edit, edit->tables->mutate_shared ? no_const(base) : topic_copy(base));
}

/* ---- placement ---- */

static bool is_here(const struct image_edit *edit, const struct partition_image *partition)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (partition->replicas[i] == edit->tables->node_id)
            return true;
    }
    return false;
}

static const struct partition_image *partition_before(const struct image_edit *edit,
                                                      const struct topic_image *topic,
                                                      const struct partition_image *partition)
{
    const struct topic_image *before =
        edit->before ? image_topic_by_id(edit->before, &topic->id) : NULL;
    const struct partition_image *found =
        before ? image_partition(before, (int32_t)(partition - topic->partitions)) : NULL;
    return found && is_here(edit, found) ? found : NULL;
}

static void place(struct image_edit *edit, const struct topic_image *topic,
                  struct partition_image *partition)
{
    if (!is_here(edit, partition))
        return;
    uint32_t *load = edit->tables->load;
    const struct partition_image *before = partition_before(edit, topic, partition);
    uint16_t least = before ? before->home : 0;
    for (uint16_t i = 1; i < edit->tables->shard_count && !before; i++) {
        if (load[i] < load[least])
            least = i;
    }
    partition->home = least;
    load[least]++;
}

static void unplace(struct image_edit *edit, const struct partition_image *partition)
{
    if (is_here(edit, partition))
        edit->tables->load[partition->home]--;
}

/* ---- records ---- */

static bool is_internal(struct str name)
{
    for (const char *at = INTERNAL_TOPICS; *at != '\0'; at += strlen(at) + 1) {
        if (str_equal(name, str_of(at)))
            return true;
    }
    return false;
}

static bool apply_topic_create(struct image_edit *edit, const struct metadata_topic_create *create,
                               const struct refusal *refusal)
{
    if (find_changed(edit, &create->id) || image_edit_topic_by_id(edit, &create->id) ||
        image_edit_topic_by_name(edit, create->name))
        return refuse(refusal, "topic %.*s is created twice", create->name.len, create->name.data);
    struct topic_image *topic = mem_zalloc(sizeof(*topic));
    char *name = mem_alloc((size_t)create->name.len + 1);
    memcpy(name, create->name.data, (size_t)create->name.len);
    name[create->name.len] = '\0';
    topic->id = create->id;
    topic->name = name;
    topic->name_len = (uint16_t)create->name.len;
    topic->internal = is_internal(create->name);
    topic->stride = 1;
    overrides_init(&topic->overrides, CONF_TOPIC);
    add_changed(edit, topic)->reconfigured = true;
    return true;
}

static bool refuse_topic(const struct refusal *refusal, const struct uuid *id, const char *what)
{
    char text[UUID_TEXT_LEN + 1];
    uuid_text(id, text);
    return refuse(refusal, "%s topic id %s, which does not exist", what, text);
}

static bool apply_topic_delete(struct image_edit *edit, const struct uuid *id,
                               const struct refusal *refusal)
{
    struct edit_topic *changed = change(edit, id);
    if (!changed)
        return refuse_topic(refusal, id, "a record deletes");
    struct topic_image *topic = changed->topic;
    edit->next->partition_count -= topic->partition_count;
    for (uint32_t i = 0; i < topic->partition_count; i++)
        unplace(edit, &topic->partitions[i]);
    HASH_DELETE(by_name, edit->by_name, changed);
    mem_free(changed->folded);
    changed->folded = NULL;
    if (topic->refs == 0)
        topic_image_free(topic);
    changed->topic = NULL;
    return true;
}

static bool apply_partitions(struct image_edit *edit, const struct metadata_partitions *record,
                             const struct refusal *refusal)
{
    struct edit_topic *changed = change(edit, &record->topic_id);
    if (!changed)
        return refuse_topic(refusal, &record->topic_id, "a record adds partitions to");
    struct topic_image *topic = changed->topic;
    uint32_t first = topic->partition_count;
    if ((uint32_t)record->first != first || record->count > (uint32_t)INT32_MAX - first)
        return refuse(refusal, "partitions of topic %s begin at %d instead of %u", topic->name,
                      record->first, first);
    uint32_t stride = record->replica_count > topic->stride ? record->replica_count : topic->stride;
    struct partition_image *partitions = resize(topic, first + record->count, stride);
    size_t bytes = record->replica_count * sizeof(int32_t);
    for (uint32_t i = 0; i < record->count; i++) {
        struct partition_image *partition = &partitions[first + i];
        const int32_t *replicas = record->replicas + (size_t)i * record->replica_count;
        memcpy(no_const(partition->replicas), replicas, bytes);
        memcpy(no_const(partition->isr), replicas, bytes);
        partition->replica_count = (uint16_t)record->replica_count;
        partition->isr_count = (uint16_t)record->replica_count;
        partition->leader = replicas[0];
        place(edit, topic, partition);
    }
    edit->next->partition_count += record->count;
    return true;
}

static bool apply_partition_change(struct image_edit *edit,
                                   const struct metadata_partition_change *record,
                                   const struct refusal *refusal)
{
    struct edit_topic *changed = change(edit, &record->topic_id);
    if (!changed)
        return refuse_topic(refusal, &record->topic_id, "a record changes a partition of");
    struct topic_image *topic = changed->topic;
    const struct partition_image *old = image_partition(topic, record->partition);
    if (!old)
        return refuse(refusal, "a record changes partition %d of topic %s, which does not exist",
                      record->partition, topic->name);
    if (record->leader_epoch < old->leader_epoch || record->partition_epoch < old->partition_epoch)
        return refuse(refusal, "the epochs of partition %d of topic %s would go backwards",
                      record->partition, topic->name);
    uint32_t wanted =
        record->replica_count > record->isr_count ? record->replica_count : record->isr_count;
    struct partition_image *partitions = wanted > topic->stride
                                             ? resize(topic, topic->partition_count, wanted)
                                             : no_const(topic->partitions);
    struct partition_image *partition = &partitions[record->partition];
    bool was_here = is_here(edit, partition);
    partition->leader = record->leader;
    partition->leader_epoch = record->leader_epoch;
    partition->partition_epoch = record->partition_epoch;
    uint32_t *load = edit->tables->load;
    if (was_here)
        load[partition->home]--;
    partition->replica_count = (uint16_t)record->replica_count;
    partition->isr_count = (uint16_t)record->isr_count;
    memcpy(no_const(partition->replicas), record->replicas,
           record->replica_count * sizeof(int32_t));
    memcpy(no_const(partition->isr), record->isr, record->isr_count * sizeof(int32_t));
    if (was_here && is_here(edit, partition))
        load[partition->home]++; /* it stays where it is */
    else
        place(edit, topic, partition);
    return true;
}

static void apply_broker_up(struct image_edit *edit, const struct metadata_broker_up *up)
{
    struct image *next = edit->next;
    struct broker_image *found = no_const(image_broker(next, up->id));
    if (!found) {
        const struct image before = *next;
        copy_brokers(edit, &before, before.broker_count + 1);
        struct broker_image *brokers = no_const(next->brokers);
        uint32_t at = next->broker_count++;
        for (; at > 0 && brokers[at - 1].id > up->id; at--)
            brokers[at] = brokers[at - 1];
        found = &brokers[at];
    }
    struct broker_endpoint_image *endpoints =
        take_room(edit, up->endpoint_count, sizeof(*endpoints));
    for (uint32_t i = 0; i < up->endpoint_count; i++) {
        endpoints[i].listener = keep_str(edit, up->endpoints[i].listener);
        endpoints[i].host = keep_str(edit, up->endpoints[i].host);
        endpoints[i].port = up->endpoints[i].port;
    }
    *found = (struct broker_image){
        .id = up->id,
        .epoch = up->epoch,
        .directory = up->directory,
        .rack = keep_str(edit, up->rack),
        .endpoint_count = up->endpoint_count,
        .endpoints = endpoints,
        .live = true,
    };
}

static bool apply_broker_down(struct image_edit *edit, const struct metadata_broker_down *down,
                              const struct refusal *refusal)
{
    struct broker_image *found = no_const(image_broker(edit->next, down->id));
    if (!found)
        return refuse(refusal, "broker %d goes, and it never came", down->id);
    if (found->epoch == down->epoch)
        found->live = false;
    return true;
}

static void apply_feature(struct image_edit *edit, const struct metadata_feature *record)
{
    struct image *next = edit->next;
    struct feature_image *features = no_const(next->features);
    for (uint32_t i = 0; i < next->feature_count; i++) {
        if (str_equal(record->name, str_of(features[i].name))) {
            features[i].level = record->level;
            return;
        }
    }
    features = take_room(edit, next->feature_count + 1U, sizeof(*features));
    if (next->feature_count > 0)
        memcpy(features, next->features, next->feature_count * sizeof(*features));
    features[next->feature_count++] =
        (struct feature_image){keep_str(edit, record->name), record->level};
    next->features = features;
}

/* ---- settings ---- */

static struct conf_view view_of(const struct image_edit *edit, const struct overrides *topic)
{
    return (struct conf_view){
        .conf = edit->tables->conf,
        .cluster = &edit->tables->settings[0].overrides,
        .broker = &edit->tables->settings[1].overrides,
        .topic = topic,
    };
}

static void fill_overrides(struct image_edit *edit, struct overrides *overrides,
                           const struct metadata_config *record)
{
    const struct conf_view view = view_of(edit, NULL);
    for (uint32_t i = 0; i < record->setting_count; i++) {
        const struct metadata_setting *setting = &record->settings[i];
        struct conf_error error;
        if (!overrides_alter(overrides, OVERRIDE_SET, setting->name.data, (size_t)setting->name.len,
                             setting->value.data, (size_t)setting->value.len, &view, &error))
            edit->ignored++;
    }
}

static struct overrides *settings_of(struct image_edit *edit, int32_t broker_id)
{
    struct image_tables *tables = edit->tables;
    for (uint32_t i = 0; i < tables->settings_count; i++) {
        if (tables->settings[i].broker_id == broker_id)
            return &tables->settings[i].overrides;
    }
    uint32_t count = tables->settings_count + 1;
    tables->settings = mem_realloc(tables->settings, count * sizeof(*tables->settings));
    struct image_settings *added = &tables->settings[tables->settings_count];
    added->broker_id = broker_id;
    overrides_init(&added->overrides, CONF_BROKER);
    tables->settings_count = count;
    return &added->overrides;
}

static bool apply_config(struct image_edit *edit, const struct metadata_config *record,
                         const struct refusal *refusal)
{
    struct overrides *target;
    if (record->resource == METADATA_RESOURCE_TOPIC) {
        struct edit_topic *changed = change(edit, &record->topic_id);
        if (!changed)
            return refuse_topic(refusal, &record->topic_id, "a record configures");
        changed->reconfigured = true;
        target = &changed->topic->overrides;
    } else {
        target = settings_of(edit, record->broker_id);
        edit->settings_changed = true;
    }
    overrides_fini(target);
    fill_overrides(edit, target, record);
    return true;
}

bool image_edit_apply(struct image_edit *edit, const struct metadata_record *record, char *sentence,
                      size_t sentence_size)
{
    const struct refusal refusal = {sentence, sentence_size};
    switch (record->kind) {
    case METADATA_NOOP:
        edit->next->controller_id = record->noop.controller_id;
        edit->next->controller_epoch = record->noop.controller_epoch;
        return true;
    case METADATA_BROKER_UP:
        apply_broker_up(edit, &record->broker_up);
        return true;
    case METADATA_BROKER_DOWN:
        return apply_broker_down(edit, &record->broker_down, &refusal);
    case METADATA_TOPIC_CREATE:
        return apply_topic_create(edit, &record->topic_create, &refusal);
    case METADATA_TOPIC_DELETE:
        return apply_topic_delete(edit, &record->topic_delete.id, &refusal);
    case METADATA_PARTITIONS:
        return apply_partitions(edit, &record->partitions, &refusal);
    case METADATA_PARTITION_CHANGE:
        return apply_partition_change(edit, &record->partition_change, &refusal);
    case METADATA_CONFIG:
        return apply_config(edit, &record->config, &refusal);
    case METADATA_PRODUCER_IDS:
        if (record->producer_ids.first < edit->next->producer_id_next)
            return refuse(&refusal, "producer ids from %lld on are given out twice",
                          (long long)record->producer_ids.first);
        edit->next->producer_id_next = record->producer_ids.first + record->producer_ids.count;
        return true;
    case METADATA_FEATURE:
        apply_feature(edit, &record->feature);
        return true;
    }
    return true;
}

/* ---- end ---- */

static void resolve_topic(struct image_edit *edit, struct topic_image *topic)
{
    const struct conf_view view = view_of(edit, &topic->overrides);
    struct conf_error error;
    /* When a broker's new default contradicts the topic's own setting, the topic goes by the
     * defaults; the controller has refused what a request could have got wrong. */
    if (topic->overrides.count == 0 || !overrides_resolve_topic(&view, &topic->conf, &error))
        topic->conf = edit->tables->topic_conf;
}

static void resolve_defaults(struct image_edit *edit)
{
    struct image_tables *tables = edit->tables;
    const struct conf_view view = view_of(edit, NULL);
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
        if (find_changed(edit, &topic->id))
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
    resolve_defaults(edit);
    for (uint32_t i = 0; edit->settings_changed && edit->base && i < edit->base->topic_count; i++)
        (void)change(edit, &edit->base->topics[i]->id);
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
