/* SPDX-License-Identifier: Apache-2.0
 *
 * An image as records: what a snapshot of the metadata log holds.
 */
#include "core/metadata/image_edit.h"

#include "core/metadata/image_private.h"
#include "io/mem.h"

#include <string.h>

/* Replicas in one record, so that each record is small beside a chunk of a snapshot. */
#define RUN_REPLICAS_MAX 16384U

struct writer {
    const struct image *image;
    void (*on_record)(void *user, const struct metadata_record *record);
    void *user;
};

static void emit(const struct writer *writer, const struct metadata_record *record)
{
    writer->on_record(writer->user, record);
}

static void emit_broker(const struct writer *writer, const struct broker_image *broker)
{
    struct metadata_endpoint *endpoints =
        mem_alloc((broker->endpoint_count + 1U) * sizeof(*endpoints));
    for (uint32_t i = 0; i < broker->endpoint_count; i++)
        endpoints[i] = (struct metadata_endpoint){
            .listener = str_of(broker->endpoints[i].listener),
            .host = str_of(broker->endpoints[i].host),
            .port = broker->endpoints[i].port,
        };
    emit(writer, &(struct metadata_record){.kind = METADATA_BROKER_UP,
                                           .broker_up = {
                                               .id = broker->id,
                                               .epoch = broker->epoch,
                                               .directory = broker->directory,
                                               .rack = str_of(broker->rack),
                                               .version = str_null(),
                                               .endpoints = endpoints,
                                               .endpoint_count = broker->endpoint_count,
                                           }});
    mem_free(endpoints);
    if (broker->draining)
        emit(writer, &(struct metadata_record){
                         .kind = METADATA_BROKER_DRAINING,
                         .broker_draining = {.id = broker->id, .epoch = broker->epoch}});
    if (!broker->live)
        emit(writer,
             &(struct metadata_record){.kind = METADATA_BROKER_DOWN,
                                       .broker_down = {.id = broker->id, .epoch = broker->epoch}});
}

static void emit_overrides(const struct writer *writer, const struct overrides *overrides,
                           struct metadata_config config)
{
    if (overrides->count == 0)
        return;
    struct metadata_setting *settings = mem_alloc(overrides->count * sizeof(*settings));
    for (uint16_t i = 0; i < overrides->count; i++)
        settings[i] = (struct metadata_setting){
            .name = str_of(conf_keys[overrides->item[i].key].name),
            .value = str_of(overrides->item[i].value),
        };
    config.settings = settings;
    config.setting_count = overrides->count;
    emit(writer, &(struct metadata_record){.kind = METADATA_CONFIG, .config = config});
    mem_free(settings);
}

/* Partitions from `first` on with the same number of replicas; how many. */
static uint32_t emit_run(const struct writer *writer, const struct topic_image *topic,
                         uint32_t first)
{
    uint32_t replica_count = topic->partitions[first].replica_count;
    uint32_t count_max = RUN_REPLICAS_MAX / replica_count;
    int32_t *replicas = mem_alloc((size_t)count_max * replica_count * sizeof(*replicas));
    uint32_t count = 0;
    while (count < count_max && first + count < topic->partition_count &&
           topic->partitions[first + count].replica_count == replica_count) {
        memcpy(replicas + (size_t)count * replica_count, topic->partitions[first + count].replicas,
               replica_count * sizeof(*replicas));
        count++;
    }
    emit(writer, &(struct metadata_record){.kind = METADATA_PARTITIONS,
                                           .partitions = {
                                               .topic_id = topic->id,
                                               .first = (int32_t)first,
                                               .count = count,
                                               .replica_count = replica_count,
                                               .replicas = replicas,
                                           }});
    mem_free(replicas);
    return count;
}

static bool is_as_created(const struct partition_image *partition)
{
    return partition->leader == partition->replicas[0] && partition->leader_epoch == 0 &&
           partition->partition_epoch == 0 && !image_is_moving(partition) &&
           partition->isr_count == partition->replica_count &&
           memcmp(partition->isr, partition->replicas,
                  partition->isr_count * sizeof(*partition->isr)) == 0;
}

static void emit_topic(const struct writer *writer, const struct topic_image *topic)
{
    const struct str name = {topic->name, topic->name_len};
    emit(writer, &(struct metadata_record){.kind = METADATA_TOPIC_CREATE,
                                           .topic_create = {.id = topic->id, .name = name}});
    for (uint32_t i = 0; i < topic->partition_count;)
        i += emit_run(writer, topic, i);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_image *partition = &topic->partitions[i];
        if (is_as_created(partition))
            continue;
        emit(writer, &(struct metadata_record){.kind = METADATA_PARTITION_CHANGE,
                                               .partition_change = {
                                                   .topic_id = topic->id,
                                                   .partition = (int32_t)i,
                                                   .leader = partition->leader,
                                                   .leader_epoch = partition->leader_epoch,
                                                   .partition_epoch = partition->partition_epoch,
                                                   .replicas = partition->replicas,
                                                   .isr = partition->isr,
                                                   .replica_count = partition->replica_count,
                                                   .isr_count = partition->isr_count,
                                                   .removing_count = partition->removing_count,
                                                   .adding = partition->adding,
                                               }});
    }
    emit_overrides(writer, &topic->overrides,
                   (struct metadata_config){.resource = METADATA_RESOURCE_TOPIC,
                                            .topic_id = topic->id,
                                            .broker_id = -1});
}

static void emit_quota(const struct writer *writer, const struct quota_image *quota)
{
    struct metadata_limit limits[QUOTA_KINDS];
    uint32_t count = 0;
    for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
        if (quota->limits[kind] > 0)
            limits[count++] = (struct metadata_limit){str_of(quota_key((enum quota_kind)kind)),
                                                      quota->limits[kind]};
    emit(writer, &(struct metadata_record){
                     .kind = METADATA_CLIENT_QUOTA,
                     .quota = {.entity = quota->entity, .limits = limits, .limit_count = count}});
}

void image_records(const struct image *image,
                   void (*on_record)(void *user, const struct metadata_record *record), void *user)
{
    const struct writer writer = {image, on_record, user};
    emit(&writer, &(struct metadata_record){.kind = METADATA_NOOP,
                                            .noop = {.controller_id = image->controller_id,
                                                     .controller_epoch = image->controller_epoch}});
    for (uint32_t i = 0; i < image->feature_count; i++)
        emit(&writer, &(struct metadata_record){.kind = METADATA_FEATURE,
                                                .feature = {.name = str_of(image->features[i].name),
                                                            .level = image->features[i].level}});
    for (uint32_t i = 0; i < image->broker_count; i++)
        emit_broker(&writer, &image->brokers[i]);
    const struct image_tables *tables = image->tables;
    for (uint32_t i = 0; i < tables->settings_count; i++)
        emit_overrides(&writer, &tables->settings[i].overrides,
                       (struct metadata_config){.resource = METADATA_RESOURCE_BROKER,
                                                .broker_id = tables->settings[i].broker_id});
    for (uint32_t i = 0; i < image->quotas->count; i++)
        emit_quota(&writer, image->quotas->items[i]);
    for (uint32_t i = 0; i < image->topic_count; i++)
        emit_topic(&writer, image->topics[i]);
    emit(&writer, &(struct metadata_record){
                      .kind = METADATA_PRODUCER_IDS,
                      .producer_ids = {.broker_id = -1, .first = image->producer_id_next}});
}
