/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions about topics from the desk (tests/unit/sim/desk.h): make one, configure it, write a
 * batch, read one, ask for offsets and producers, delete records.
 */
#pragma once

#include "core/record/batch_builder.h"
#include "tests/unit/sim/desk.h"

#define EARLIEST       (-2)
#define LATEST         (-1)
#define MAX_TIMESTAMP  (-3)
#define EARLIEST_LOCAL (-4)
#define LATEST_TIERED  (-5)

#define SET(key, text)                                                                             \
    {                                                                                              \
        .name = str_of(key), .value = str_of(text)                                                 \
    }

/* TOPIC(&desk, "name", SET("retention.ms", "60000"), ...) */
#define TOPIC(desk, name, ...)                                                                     \
    topic_create((desk), (name), (struct create_topics_request_config[]){__VA_ARGS__},             \
                 (int32_t)array_count(((struct create_topics_request_config[]){__VA_ARGS__})))

/* For one topic, which stays the caller's. */
static inline struct create_topics_request topic_request(struct create_topics_request_topic *topic,
                                                         const char *name, int32_t partitions)
{
    struct create_topics_request request;
    init_create_topics_request(&request);
    init_create_topics_request_topic(topic);
    topic->name = str_of(name);
    topic->num_partitions = partitions;
    topic->replication_factor = 1;
    request.topics = topic;
    request.topics_count = 1;
    request.timeout_ms = 10000;
    return request;
}

/* With the configuration that is the rule. */
static inline int16_t topic_ask(struct desk *desk, const char *name, int32_t partitions)
{
    struct create_topics_request_topic topic;
    struct create_topics_request request = topic_request(&topic, name, partitions);
    struct create_topics_response response;
    desk_ask(desk, 0, KEY_CREATE_TOPICS, 5, &request, &response);
    return response.topics[0].error_code;
}

/* Of one partition. */
static inline void topic_create(struct desk *desk, const char *name,
                                struct create_topics_request_config *configs, int32_t count)
{
    struct create_topics_request_topic topic;
    struct create_topics_request request = topic_request(&topic, name, 1);
    struct create_topics_response response;
    topic.configs = configs;
    topic.configs_count = count;
    desk_ask(desk, 0, KEY_CREATE_TOPICS, 5, &request, &response);
    assert_int_equal(response.topics[0].error_code, ERR_NONE);
    desk_pass(desk, 10);
}

static inline void topic_delete(struct desk *desk, const char *name)
{
    struct delete_topics_request request;
    struct delete_topics_response response;
    struct str names[] = {str_of(name)};
    init_delete_topics_request(&request);
    request.topic_names = names;
    request.topic_names_count = 1;
    request.timeout_ms = 10000;
    desk_ask(desk, 0, KEY_DELETE_TOPICS, 4, &request, &response);
    assert_int_equal(response.responses[0].error_code, ERR_NONE);
}

static inline void config_set_of(struct desk *desk, int8_t type, const char *resource,
                                 const char *key, const char *value)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_resource of;
    struct incremental_alter_configs_request_config config;
    struct incremental_alter_configs_response response;
    init_incremental_alter_configs_request(&request);
    init_incremental_alter_configs_request_resource(&of);
    init_incremental_alter_configs_request_config(&config);
    request.resources = &of;
    request.resources_count = 1;
    of.resource_type = type;
    of.resource_name = str_of(resource);
    of.configs = &config;
    of.configs_count = 1;
    config.name = str_of(key);
    config.value = str_of(value);
    desk_ask(desk, 0, KEY_INCREMENTAL_ALTER_CONFIGS, 1, &request, &response);
    assert_int_equal(response.responses[0].error_code, ERR_NONE);
}

static inline void config_set(struct desk *desk, const char *topic, const char *key,
                              const char *value)
{
    config_set_of(desk, 2, topic, key, value);
}

/* Of one topic. */
static inline struct metadata_response metadata_ask(struct desk *desk, unsigned connection,
                                                    const char *name, int16_t version)
{
    struct metadata_request request;
    struct metadata_request_topic topic;
    struct metadata_response response;
    init_metadata_request(&request);
    init_metadata_request_topic(&topic);
    topic.name = str_of(name);
    request.topics = &topic;
    request.topics_count = 1;
    desk_ask(desk, connection, KEY_METADATA, version, &request, &response);
    return response;
}

/* The parts of a request that writes one batch to one partition. */
struct one_batch {
    struct produce_request_topic topic;
    struct produce_request_partition partition;
    struct piece piece;
};

static inline struct produce_request produce_request_of(struct one_batch *one, const char *name,
                                                        int32_t partition, const uint8_t *bytes,
                                                        size_t len)
{
    struct produce_request request;
    init_produce_request(&request);
    init_produce_request_topic(&one->topic);
    init_produce_request_partition(&one->partition);
    request.acks = -1;
    request.timeout_ms = 10000;
    request.topic_data = &one->topic;
    request.topic_data_count = 1;
    one->topic.name = str_of(name);
    one->topic.partition_data = &one->partition;
    one->topic.partition_data_count = 1;
    one->partition.index = partition;
    one->partition.records = records_of(span_of(&one->piece, bytes, (uint32_t)len));
    return request;
}

/* Asks for one batch to be written; several in a row are in their order. */
static inline void produce_ask(struct desk *desk, struct question *question, const char *name,
                               int16_t version, const uint8_t *bytes, size_t len)
{
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, name, 0, bytes, len);
    desk_send(desk, question, 0, KEY_PRODUCE, version, &request);
}

static inline struct produce_response_partition produce_answer(struct question *question)
{
    struct produce_response response;
    must(desk_answer(question, &response)); /* else the connection ended */
    return response.responses[0].partition_responses[0];
}

static inline struct produce_response_partition batch_produce(struct desk *desk, const char *name,
                                                              int16_t version, const uint8_t *bytes,
                                                              size_t len)
{
    struct question question;
    produce_ask(desk, &question, name, version, bytes, len);
    return produce_answer(&question);
}

/* A record, whatever is in it. */
static inline enum err record_produce(struct desk *desk, const char *name)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1000, BYTES_NULL, (struct bytes_or_null){"value", 5}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    enum err error = (enum err)batch_produce(desk, name, 9, bytes, len).error_code;
    batch_builder_fini(&builder);
    return error;
}

static inline struct list_offsets_response_partition offset_ask(struct desk *desk, const char *name,
                                                                int16_t version, int64_t timestamp)
{
    struct list_offsets_request request;
    struct list_offsets_request_topic topic;
    struct list_offsets_request_partition part;
    struct list_offsets_response response;
    init_list_offsets_request(&request);
    init_list_offsets_request_topic(&topic);
    init_list_offsets_request_partition(&part);
    request.replica_id = -1;
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = str_of(name);
    topic.partitions = &part;
    topic.partitions_count = 1;
    part.timestamp = timestamp;
    desk_ask(desk, 0, KEY_LIST_OFFSETS, version, &request, &response);
    return response.topics[0].partitions[0];
}

static inline int64_t offset_at(struct desk *desk, const char *name, int64_t timestamp)
{
    struct list_offsets_response_partition answer = offset_ask(desk, name, 9, timestamp);
    assert_int_equal(answer.error_code, ERR_NONE);
    return answer.offset;
}

/* Of a type, "client-id"; name NULL: the default. value 0: none any more. */
static inline int16_t quota_ask(struct desk *desk, const char *type, const char *name,
                                const char *key, double value)
{
    struct alter_client_quotas_request request;
    struct alter_client_quotas_response response;
    struct alter_client_quotas_request_entry entry;
    struct alter_client_quotas_request_entity entity = {
        .entity_type = str_of(type), .entity_name = name ? str_of(name) : str_null()};
    struct alter_client_quotas_request_op op = {
        .key = str_of(key), .value = value, .remove = value == 0};
    init_alter_client_quotas_request(&request);
    init_alter_client_quotas_request_entry(&entry);
    entry.entity = &entity;
    entry.entity_count = 1;
    entry.ops = &op;
    entry.ops_count = 1;
    request.entries = &entry;
    request.entries_count = 1;
    desk_ask(desk, DESK_ADMIN, KEY_ALTER_CLIENT_QUOTAS, 1, &request, &response);
    assert_int_equal(response.entries_count, 1);
    return response.entries[0].error_code;
}

/* For the first `count` partitions of one topic from their start, as soon as there is anything,
 * without a session; `topic` and `parts` stay the caller's. */
static inline struct fetch_request fetch_request_of(struct fetch_request_topic *topic,
                                                    struct fetch_request_partition *parts,
                                                    int32_t count, const char *name)
{
    struct fetch_request request;
    init_fetch_request(&request);
    init_fetch_request_topic(topic);
    request.max_wait_ms = 500;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.session_epoch = -1;
    request.topics = topic;
    request.topics_count = 1;
    topic->topic = str_of(name);
    topic->partitions = parts;
    topic->partitions_count = count;
    for (int32_t i = 0; i < count; i++) {
        init_fetch_request_partition(&parts[i]);
        parts[i].partition = i;
        parts[i].partition_max_bytes = 1 << 20;
    }
    return request;
}

static inline void fetch_ask(struct desk *desk, struct question *question, const char *name,
                             int16_t version, int64_t offset, int32_t wait_ms)
{
    struct fetch_request_topic topic;
    struct fetch_request_partition part;
    struct fetch_request request = fetch_request_of(&topic, &part, 1, name);
    request.max_wait_ms = wait_ms;
    part.fetch_offset = offset;
    desk_send(desk, question, 1, KEY_FETCH, version, &request);
}

static inline struct fetch_response_partition fetch_answer(struct question *question)
{
    struct fetch_response response;
    must(desk_answer(question, &response)); /* else the connection ended */
    return response.responses[0].partitions[0];
}

static inline enum err delete_records(struct desk *desk, const char *name, int64_t offset,
                                      int64_t *low_watermark)
{
    struct delete_records_request request;
    struct delete_records_request_topic topic;
    struct delete_records_request_partition part;
    struct delete_records_response response;
    init_delete_records_request(&request);
    init_delete_records_request_topic(&topic);
    init_delete_records_request_partition(&part);
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = 10000;
    topic.name = str_of(name);
    topic.partitions = &part;
    topic.partitions_count = 1;
    part.offset = offset;
    desk_ask(desk, 0, KEY_DELETE_RECORDS, 2, &request, &response);
    *low_watermark = response.topics[0].partitions[0].low_watermark;
    return (enum err)response.topics[0].partitions[0].error_code;
}

static inline const struct describe_producers_response_partition *
producers_ask(struct desk *desk, const char *name, int32_t partition)
{
    static struct describe_producers_response response;
    struct describe_producers_request request;
    struct describe_producers_request_topic topic;
    init_describe_producers_request(&request);
    init_describe_producers_request_topic(&topic);
    topic.name = str_of(name);
    topic.partition_indexes = &partition;
    topic.partition_indexes_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    desk_ask(desk, 0, KEY_DESCRIBE_PRODUCERS, 0, &request, &response);
    assert_int_equal(response.topics_count, 1);
    assert_int_equal(response.topics[0].partitions_count, 1);
    assert_int_equal(response.topics[0].partitions[0].partition_index, partition);
    return &response.topics[0].partitions[0];
}
