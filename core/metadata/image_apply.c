/* SPDX-License-Identifier: Apache-2.0
 *
 * What each record of the metadata log does to an edit, and where a new partition of this broker is
 * at home.
 */
#include "core/metadata/image_edit_private.h"
#include "io/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INTERNAL_TOPICS "__consumer_offsets\0__transaction_state\0"

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

/* ---- placement ---- */

static bool is_here(const struct image_edit *edit, const struct partition_image *partition)
{
    return image_has_replica(partition, edit->tables->node_id);
}

static const struct partition_image *partition_before(const struct image_edit *edit,
                                                      const struct topic_image *topic,
                                                      const struct partition_image *partition)
{
    const struct topic_image *before =
        edit->before ? image_topic_by_id(edit->before, &topic->id) : NULL;
    const struct partition_image *found =
        before ? image_partition(before, (int32_t)(partition - topic->partitions)) : NULL;
    return found && found->placed ? found : NULL;
}

static void place(struct image_edit *edit, const struct topic_image *topic,
                  struct partition_image *partition)
{
    uint32_t *load = edit->tables->load;
    const struct partition_image *before =
        partition->placed ? partition : partition_before(edit, topic, partition);
    uint16_t least = before ? before->home : 0;
    partition->home = least;
    partition->placed = before != NULL;
    if (!is_here(edit, partition))
        return;
    for (uint16_t i = 1; i < edit->tables->shard_count && !before; i++) {
        if (load[i] < load[least])
            least = i;
    }
    partition->home = least;
    partition->placed = true;
    load[least]++;
}

static void unplace(struct image_edit *edit, const struct partition_image *partition)
{
    if (is_here(edit, partition))
        edit->tables->load[partition->home]--;
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
    edit_place_ids(topic, partitions);
    mem_free(no_const(old));
    mem_free(old_ids);
    return partitions;
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
    if (edit_find_changed(edit, &create->id) || image_edit_topic_by_id(edit, &create->id) ||
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
    edit_add_changed(edit, topic)->reconfigured = true;
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
    struct edit_topic *changed = edit_change(edit, id);
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
    struct edit_topic *changed = edit_change(edit, &record->topic_id);
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
    struct edit_topic *changed = edit_change(edit, &record->topic_id);
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
    partition->removing_count = (uint16_t)record->removing_count;
    partition->adding = record->adding;
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
        edit_copy_brokers(edit, &before, before.broker_count + 1);
        struct broker_image *brokers = no_const(next->brokers);
        uint32_t at = next->broker_count++;
        for (; at > 0 && brokers[at - 1].id > up->id; at--)
            brokers[at] = brokers[at - 1];
        found = &brokers[at];
    }
    struct broker_endpoint_image *endpoints =
        edit_take_room(edit, up->endpoint_count, sizeof(*endpoints));
    for (uint32_t i = 0; i < up->endpoint_count; i++) {
        endpoints[i].listener = edit_keep_str(edit, up->endpoints[i].listener);
        endpoints[i].host = edit_keep_str(edit, up->endpoints[i].host);
        endpoints[i].port = up->endpoints[i].port;
    }
    *found = (struct broker_image){
        .id = up->id,
        .epoch = up->epoch,
        .directory = up->directory,
        .rack = edit_keep_str(edit, up->rack),
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
        found->live = found->draining = false;
    return true;
}

static bool apply_broker_draining(struct image_edit *edit,
                                  const struct metadata_broker_draining *draining,
                                  const struct refusal *refusal)
{
    struct broker_image *found = no_const(image_broker(edit->next, draining->id));
    if (!found)
        return refuse(refusal, "broker %d is to stop, and it never came", draining->id);
    if (found->epoch == draining->epoch)
        found->draining = found->live;
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
    features = edit_take_room(edit, next->feature_count + 1U, sizeof(*features));
    if (next->feature_count > 0)
        memcpy(features, next->features, next->feature_count * sizeof(*features));
    features[next->feature_count++] =
        (struct feature_image){edit_keep_str(edit, record->name), record->level};
    next->features = features;
}

static void apply_quota(struct image_edit *edit, const struct metadata_quota *record)
{
    struct image_tables *tables = edit->tables;
    if (!edit->quotas_changed) {
        struct quota_table *shared = tables->quotas;
        tables->quotas = quota_table_copy(shared);
        quota_table_put(shared);
        edit->next->quotas = tables->quotas;
        edit->quotas_changed = true;
    }
    edit->ignored += quota_table_set(tables->quotas, record);
}

/* ---- settings ---- */

static void fill_overrides(struct image_edit *edit, struct overrides *overrides,
                           const struct metadata_config *record)
{
    const struct conf_view view = edit_view(edit, NULL);
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
        struct edit_topic *changed = edit_change(edit, &record->topic_id);
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
    case METADATA_BROKER_DRAINING:
        return apply_broker_draining(edit, &record->broker_draining, &refusal);
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
    case METADATA_CLIENT_QUOTA:
        apply_quota(edit, &record->quota);
        return true;
    }
    return true;
}
