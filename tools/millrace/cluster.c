/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/cluster.h"

#include "io/mem.h"
#include "io/nearest.h"
#include "net/err.h"

#include <string.h>

char *text_of(struct session *s, struct str str)
{
    size_t len = str.len > 0 ? (size_t)str.len : 0;
    char *text = arena_alloc(&s->arena, len + 1);
    must(text != NULL); /* a part of an answer that fitted */
    if (len > 0)
        memcpy(text, str.data, len);
    text[len] = 0;
    return text;
}

int text_order(struct str a, struct str b)
{
    size_t len = (size_t)max_i64(min_i64(a.len, b.len), 0);
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

json_t *json_of(struct str str)
{
    if (str.len < 0)
        return json_null();
    json_t *value = json_stringn(str.data, (size_t)str.len);
    return value ? value : json_string("(not UTF-8)");
}

json_t *json_of_offset(int64_t offset)
{
    return offset >= 0 ? json_integer(offset) : json_null();
}

json_t *json_of_i32s(const int32_t *values, int32_t count)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_integer(values[i]));
    return array;
}

/* ---- exit codes ---- */

void tally_add(struct tally *tally, int code)
{
    if (code == EXIT_OK) {
        tally->good++;
        return;
    }
    tally->bad++;
    tally->code = code;
}

int tally_code(const struct tally *tally)
{
    if (tally->bad == 0)
        return EXIT_OK;
    return tally->good > 0 ? EXIT_PARTLY : tally->code;
}

int exit_code_of(int16_t error)
{
    switch (error) {
    case ERR_NONE:
        return EXIT_OK;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_TOPIC_ALREADY_EXISTS:
    case ERR_GROUP_ID_NOT_FOUND:
        return EXIT_PRESENCE;
    case ERR_REQUEST_TIMED_OUT:
    case ERR_LEADER_NOT_AVAILABLE:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}

int broker_error(const struct session *s, const char *thing, int16_t error, struct str text)
{
    if (text.len > 0)
        complain(s->inv, "%s: %.*s (%s)", thing, text.len, text.data, err_name(error));
    else
        complain(s->inv, "%s: %s (%s)", thing, err_sentence(error), err_name(error));
    return exit_code_of(error);
}

int partition_error(const struct session *s, struct str topic, int32_t partition, int16_t error)
{
    char thing[320];
    (void)snprintf(thing, sizeof(thing), "topic '%.*s', partition %d", topic.len, topic.data,
                   partition);
    return broker_error(s, thing, error, str_null());
}

/* ---- metadata ---- */

int cluster_metadata(struct session *s, const char *const *names, uint32_t count, bool create,
                     struct metadata_response *metadata)
{
    struct metadata_request request;
    init_metadata_request(&request);
    request.allow_auto_topic_creation = create;
    request.topics_count = -1;
    if (names) {
        request.topics = arena_array(&s->arena, count, sizeof(*request.topics));
        must(request.topics != NULL);
        request.topics_count = (int32_t)count;
    }
    for (uint32_t i = 0; names && i < count; i++) {
        init_metadata_request_topic(&request.topics[i]);
        request.topics[i].name = str_of(names[i]);
    }
    int code = session_call(s, NULL, KEY_METADATA, CLIENT_NEWEST, &request, metadata, &s->arena);
    if (code == EXIT_OK && metadata->error_code != ERR_NONE)
        return broker_error(s, "metadata", metadata->error_code, str_null());
    return code;
}

struct broker_link *cluster_broker(struct session *s, const struct metadata_response *metadata,
                                   int32_t node_id)
{
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        const struct metadata_response_broker *broker = &metadata->brokers[i];
        if (broker->node_id == node_id)
            return session_broker(s, node_id, text_of(s, broker->host), broker->port);
    }
    if (!s->hush)
        complain(s->inv, "broker %d is not known to %s", node_id, s->bootstrap->host);
    return NULL;
}

struct broker_link *cluster_controller(struct session *s)
{
    static const char *const none[1];
    struct metadata_response metadata;
    if (cluster_metadata(s, none, 0, false, &metadata) != EXIT_OK)
        return NULL;
    if (metadata.controller_id < 0)
        return session_any(s);
    return cluster_broker(s, &metadata, metadata.controller_id);
}

int cluster_ask_controller(struct session *s, int16_t key, const void *request, void *response,
                           struct arena *arena)
{
    struct broker_link *link = cluster_controller(s);
    return link ? session_call(s, link, key, CLIENT_NEWEST, request, response, arena)
                : EXIT_UNREACHABLE;
}

/* DescribeConfigs' config_source. */
static const char *source_name(int8_t source)
{
    static const char *const names[] = {
        "UNKNOWN",
        "DYNAMIC_TOPIC_CONFIG",
        "DYNAMIC_BROKER_CONFIG",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "STATIC_BROKER_CONFIG",
        "DEFAULT_CONFIG",
    };
    return source > 0 && source < (int8_t)array_count(names) ? names[source] : names[0];
}

int cluster_configs(struct session *s, struct broker_link *link, enum config_of of, struct str name,
                    json_t *rows)
{
    struct describe_configs_request request;
    struct describe_configs_request_resource resource;
    struct describe_configs_response response;
    init_describe_configs_request(&request);
    init_describe_configs_request_resource(&resource);
    resource.resource_type = (int8_t)of;
    resource.resource_name = name;
    resource.configuration_keys_count = -1;
    request.resources = &resource;
    request.resources_count = 1;
    int code =
        session_call(s, link, KEY_DESCRIBE_CONFIGS, CLIENT_NEWEST, &request, &response, &s->arena);
    if (code != EXIT_OK || response.results_count < 1)
        return code;
    const struct describe_configs_response_result *result = &response.results[0];
    if (result->error_code != ERR_NONE)
        return broker_error(s, "configuration", result->error_code, result->error_message);
    for (int32_t i = 0; i < result->configs_count; i++) {
        const struct describe_configs_response_config *config = &result->configs[i];
        (void)json_array_append_new(
            rows, json_pack("{s:o, s:o, s:s, s:b, s:b}", "name", json_of(config->name), "value",
                            json_of(config->value), "source", source_name(config->config_source),
                            "read_only", config->read_only, "sensitive", config->is_sensitive));
    }
    return EXIT_OK;
}

int topic_not_found(struct session *s, const char *name)
{
    struct metadata_response all;
    struct nearest nearest;
    nearest_begin(&nearest, name);
    if (cluster_metadata(s, NULL, 0, false, &all) == EXIT_OK)
        for (int32_t i = 0; i < all.topics_count; i++)
            (void)nearest_offer(&nearest, text_of(s, all.topics[i].name));
    complain(s->inv, "topic '%s' not found%s", name, did_you_mean(nearest.found));
    if (!nearest.found)
        fprintf(stderr, "next:  millrace topic list shows those that exist\n");
    return EXIT_PRESENCE;
}

/* ---- offsets ---- */

#define ANSWERED INT16_MAX /* in `error`: not to be asked again; no code of Kafka's */

static bool to_leader(const struct offset_query *query, int32_t leader)
{
    return query->leader == leader && query->error == ERR_NONE;
}

static int32_t offsets_request(struct session *s, struct list_offsets_request *request,
                               const struct offset_query *queries, uint32_t count, int32_t leader)
{
    init_list_offsets_request(request);
    request->replica_id = -1;
    request->isolation_level = (int8_t)s->settings.read_committed;
    request->timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request->topics = arena_array(&s->arena, count, sizeof(*request->topics));
    struct list_offsets_request_partition *partitions =
        arena_array(&s->arena, count, sizeof(*partitions));
    must(request->topics && partitions);
    struct list_offsets_request_topic *topic = NULL;
    int32_t asked = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!to_leader(&queries[i], leader))
            continue;
        if (!topic || !str_equal(topic->name, queries[i].topic)) {
            topic = &request->topics[request->topics_count++];
            init_list_offsets_request_topic(topic);
            topic->name = queries[i].topic;
            topic->partitions = &partitions[asked];
        }
        struct list_offsets_request_partition *partition = &partitions[asked++];
        init_list_offsets_request_partition(partition);
        partition->partition_index = queries[i].partition;
        partition->timestamp = queries[i].timestamp;
        topic->partitions_count++;
    }
    return asked;
}

static void offset_take(struct offset_query *queries, uint32_t count, struct str topic,
                        const struct list_offsets_response_partition *answer)
{
    for (uint32_t i = 0; i < count; i++) {
        if (queries[i].partition != answer->partition_index || !str_equal(queries[i].topic, topic))
            continue;
        queries[i].error = answer->error_code;
        queries[i].offset = answer->offset;
    }
}

static int offsets_ask(struct session *s, const struct metadata_response *metadata,
                       struct offset_query *queries, uint32_t count)
{
    for (int32_t b = 0; b < metadata->brokers_count; b++) {
        struct list_offsets_request request;
        struct list_offsets_response response;
        int32_t leader = metadata->brokers[b].node_id;
        if (offsets_request(s, &request, queries, count, leader) == 0)
            continue;
        struct broker_link *link = cluster_broker(s, metadata, leader);
        if (!link)
            return EXIT_UNREACHABLE;
        int code =
            session_call(s, link, KEY_LIST_OFFSETS, CLIENT_NEWEST, &request, &response, &s->arena);
        if (code != EXIT_OK)
            return code;
        for (int32_t t = 0; t < response.topics_count; t++)
            for (int32_t p = 0; p < response.topics[t].partitions_count; p++)
                offset_take(queries, count, response.topics[t].name,
                            &response.topics[t].partitions[p]);
    }
    return EXIT_OK;
}

static bool is_there(const struct metadata_response *metadata, int32_t node_id)
{
    for (int32_t i = 0; i < metadata->brokers_count; i++)
        if (metadata->brokers[i].node_id == node_id)
            return true;
    return false;
}

/* A partition that was made a moment ago may not have arrived at its leader, though Metadata names
 * it: a Kafka with a cold JVM took seconds for 288 of them. */
static bool offsets_again(const struct metadata_response *metadata, struct offset_query *queries,
                          uint32_t count)
{
    bool again = false;
    for (uint32_t i = 0; i < count; i++) {
        bool passing = queries[i].error && is_there(metadata, queries[i].leader) &&
                       err_retriable(queries[i].error);
        if (passing)
            queries[i].error = ERR_NONE;
        else if (queries[i].error == ERR_NONE)
            queries[i].error = ANSWERED;
        again |= passing;
    }
    return again;
}

int cluster_list_offsets(struct session *s, const struct metadata_response *metadata,
                         struct offset_query *queries, uint32_t count, uint64_t patience_ms)
{
    for (uint32_t i = 0; i < count; i++)
        queries[i].error =
            is_there(metadata, queries[i].leader) ? ERR_NONE : ERR_LEADER_NOT_AVAILABLE;
    uint64_t until_ns = session_now_ns(s) +
                        min_u64(patience_ms, (uint64_t)s->settings.request_timeout_ms) * NS_PER_MS;
    int code = offsets_ask(s, metadata, queries, count);
    while (code == EXIT_OK && session_now_ns(s) < until_ns &&
           offsets_again(metadata, queries, count)) {
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * 1000000U);
        code = offsets_ask(s, metadata, queries, count);
    }
    for (uint32_t i = 0; i < count; i++)
        if (queries[i].error == ANSWERED)
            queries[i].error = ERR_NONE;
    return code;
}
