/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client asks first: ApiVersions, and who the brokers are (DescribeCluster).
 */
#include "core/api/api.h"
#include "core/metadata/metadata_record.h"

#include <ctype.h>
#include <string.h>

/* ---- ApiVersions ---- */

/* Letters, digits, '-' and '.', beginning and ending with a letter or digit (A3). */
static bool software_text_valid(struct str text)
{
    if (text.len <= 0)
        return false;
    for (int32_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool inner = i > 0 && i < text.len - 1;
        if (!isalnum(c) && !(inner && (c == '-' || c == '.')))
            return false;
    }
    return true;
}

static void keep_text(char *to, size_t size, struct str text)
{
    size_t len = text.len > 0 ? min_u64((uint64_t)text.len, size - 1) : 0;
    if (len)
        memcpy(to, text.data, len);
    to[len] = 0;
}

static void api_fill(struct api_versions_response_api_key *out, const struct kafka_api *api)
{
    *out = (struct api_versions_response_api_key){
        .api_key = api->key, .min_version = api->advertised_min, .max_version = api->served_max};
}

static void api_versions_answer(struct request *q, int16_t version,
                                struct api_versions_response *response)
{
    request_answer_begin(q);
    write_api_versions_response(&q->answer, version, response);
    request_answer(q);
}

/* A version we do not know: the oldest form, and what we do speak (A1). */
static void api_versions_unsupported(struct request *q)
{
    struct api_versions_response response;
    struct api_versions_response_api_key key;
    init_api_versions_response(&response);
    api_fill(&key, kafka_api_find(KEY_API_VERSIONS));
    response.error_code = ERR_UNSUPPORTED_VERSION;
    response.api_keys = &key;
    response.api_keys_count = 1;
    api_versions_answer(q, 0, &response);
}

/* What brokers ask each other is nobody else's business, and on one node nobody's. */
static bool is_told(const struct request *q, const struct kafka_api *api)
{
    bool between = api->key == KEY_ALTER_PARTITION || api->key == KEY_ALLOCATE_PRODUCER_IDS;
    const struct image *image = api_shard(q)->image;
    bool consumer =
        api->key == KEY_CONSUMER_GROUP_HEARTBEAT || api->key == KEY_CONSUMER_GROUP_DESCRIBE;
    return api->served_max >= 0 && (!consumer || api_has_consumer_groups(api_shard(q))) &&
           (!between || (api_from_brokers(q) && image && image->broker_count > 1));
}

/* What this broker takes part in, and what all have agreed to; nothing before it knows. */
struct told_features {
    struct api_versions_response_supported_feature supported;
    struct api_versions_response_finalized_feature finalized;
};

static void features_fill(const struct broker_shard *bs, struct told_features *features,
                          struct api_versions_response *response)
{
    if (!bs->image)
        return;
    int16_t level = image_level(bs->image);
    features->supported = (struct api_versions_response_supported_feature){
        .name = str_of(METADATA_LEVEL),
        .min_version = METADATA_LEVEL_OLDEST,
        .max_version = (int16_t)bs->broker->conf->broker.metadata_level};
    features->finalized = (struct api_versions_response_finalized_feature){
        .name = str_of(METADATA_LEVEL), .min_version_level = level, .max_version_level = level};
    response->supported_features = &features->supported;
    response->supported_features_count = 1;
    response->finalized_features = &features->finalized;
    response->finalized_features_count = 1;
    response->finalized_features_epoch = (int64_t)bs->image->batch;
}

void api_api_versions(struct broker_shard *bs, struct request *q)
{
    const struct kafka_api *self = kafka_api_find(KEY_API_VERSIONS);
    const int16_t version = q->header.request_api_version;
    if (version < self->served_min || version > self->served_max) {
        api_versions_unsupported(q);
        return;
    }
    struct api_versions_request request;
    struct api_versions_response response;
    struct told_features features;
    struct rd rd;
    rd_init(&rd, q->body);
    init_api_versions_response(&response);
    response.api_keys = arena_array(&q->arena, kafka_apis_count, sizeof(*response.api_keys));
    if (!read_api_versions_request(&rd, &q->arena, version, &request) || !response.api_keys) {
        api_malformed(q);
        return;
    }
    if (version >= 3 && (!software_text_valid(request.client_software_name) ||
                         !software_text_valid(request.client_software_version))) {
        response.error_code = ERR_INVALID_REQUEST;
        api_versions_answer(q, version, &response);
        return;
    }
    struct conn *c = q->conn;
    keep_text(c->software_name, sizeof(c->software_name), request.client_software_name);
    keep_text(c->software_version, sizeof(c->software_version), request.client_software_version);
    for (size_t i = 0; i < kafka_apis_count; i++)
        if (is_told(q, &kafka_apis[i]))
            api_fill(&response.api_keys[response.api_keys_count++], &kafka_apis[i]);
    features_fill(bs, &features, &response);
    api_versions_answer(q, version, &response);
}

/* ---- DescribeCluster ---- */

#define ENDPOINT_BROKERS     1
#define ENDPOINT_CONTROLLERS 2

static void cluster_fill(struct broker_shard *bs, struct request *q,
                         struct describe_cluster_response *response)
{
    const struct image *image = bs->image;
    const char *listener = bs->broker->listeners.listener[q->conn->listener].name;
    response->cluster_id = str_of(image->cluster_id);
    response->controller_id = image->controller_id;
    for (uint32_t i = 0; i < image->broker_count; i++) {
        const struct broker_image *broker = &image->brokers[i];
        const struct broker_endpoint_image *endpoint = image_endpoint(broker, listener);
        if (!endpoint || !broker->live)
            continue;
        response->brokers[response->brokers_count++] =
            (struct describe_cluster_response_broker){.broker_id = broker->id,
                                                      .host = str_of(endpoint->host),
                                                      .port = endpoint->port,
                                                      .rack = str_of(broker->rack)};
    }
}

void api_describe_cluster(struct broker_shard *bs, struct request *q)
{
    const int16_t version = q->header.request_api_version;
    struct describe_cluster_request request;
    struct describe_cluster_response response;
    struct rd rd;
    rd_init(&rd, q->body);
    init_describe_cluster_response(&response);
    response.brokers = arena_array(&q->arena, bs->image->broker_count, sizeof(*response.brokers));
    if (!read_describe_cluster_request(&rd, &q->arena, version, &request) || !response.brokers) {
        api_malformed(q);
        return;
    }
    int8_t endpoint_type = version >= 1 ? request.endpoint_type : ENDPOINT_BROKERS;
    if (endpoint_type == ENDPOINT_BROKERS) {
        cluster_fill(bs, q, &response);
    } else {
        response.error_code = endpoint_type == ENDPOINT_CONTROLLERS ? ERR_MISMATCHED_ENDPOINT_TYPE
                                                                    : ERR_UNSUPPORTED_ENDPOINT_TYPE;
        response.error_message = str_of("this is a broker's listener: ask for brokers");
    }
    if (request.include_cluster_authorized_operations && response.error_code == ERR_NONE)
        response.cluster_authorized_operations =
            api_operations(q, RESOURCE_CLUSTER, str_of("kafka-cluster"));
    request_answer_begin(q);
    write_describe_cluster_response(&q->answer, version, &response);
    request_answer(q);
}
