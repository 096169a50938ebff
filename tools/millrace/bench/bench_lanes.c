/* SPDX-License-Identifier: Apache-2.0
 *
 * Which partitions the load goes to, and which brokers lead them. Leaders are read once, at the
 * begin: a partition that moves during a run answers with errors, which are counted.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/bench/bench.h"

#include <string.h>

#define READY_PATIENCE 60000ULL /* ms: a topic with many partitions takes its time */
#define CONFIGS_MAX    32U

/* TOPIC, or TOPIC-0, TOPIC-1, ... when there are several. */
static const char *topic_name(struct bench *b, int64_t index)
{
    char name[BENCH_TOPIC_SIZE];
    if (b->o.topics == 1)
        return b->o.topic;
    (void)snprintf(name, sizeof(name), "%s-%lld", b->o.topic, (long long)index);
    return text_of(b->s, str_of(name));
}

static const char **topic_names(struct bench *b)
{
    const char **names = arena_array(&b->s->arena, (size_t)b->o.topics, sizeof(*names));
    must(names != NULL);
    for (int64_t i = 0; i < b->o.topics; i++)
        names[i] = topic_name(b, i);
    return names;
}

/* ---- making topics ---- */

/* Is it among those, of *count? */
static bool is_config(const struct create_topics_request_config *configs, int32_t count,
                      const char *key)
{
    for (int32_t i = 0; i < count; i++)
        if (str_equal(configs[i].name, str_of(key)))
            return true;
    return false;
}

static int read_configs(struct bench *b, struct create_topics_request_config *configs,
                        int32_t *count)
{
    const struct properties *given = b->o.topic_settings;
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(b->s->inv, "config", &cursor));) {
        size_t len = strcspn(text, "=");
        if (text[len] != '=' || *count == CONFIGS_MAX)
            return usage_error(b->s->inv, "--config %s: at most %u KEY=VALUE are wanted", text,
                               CONFIGS_MAX);
        configs[(*count)++] = (struct create_topics_request_config){
            .name = {.data = text, .len = (int32_t)len}, .value = str_of(text + len + 1)};
    }
    for (uint32_t i = given ? given->count : 0; i-- > 0;) { /* the last of one key counts */
        const struct property *entry = &given->entry[i];
        if (is_config(configs, *count, entry->key))
            continue;
        if (*count == CONFIGS_MAX)
            return usage_error(b->s->inv, "topicConfig: at most %u settings of topics are taken",
                               CONFIGS_MAX);
        configs[(*count)++] = (struct create_topics_request_config){.name = str_of(entry->key),
                                                                    .value = str_of(entry->value)};
    }
    return EXIT_OK;
}

/* Those that exist already are left as they are. */
static int topics_make(struct bench *b, const char **names)
{
    struct session *s = b->s;
    struct create_topics_request_config configs[CONFIGS_MAX];
    int32_t config_count = 0;
    int code = read_configs(b, configs, &config_count);
    if (code != EXIT_OK)
        return code;
    struct create_topics_request request;
    struct create_topics_response response;
    init_create_topics_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.topics = arena_array(&s->arena, (size_t)b->o.topics, sizeof(*request.topics));
    must(request.topics != NULL);
    request.topics_count = (int32_t)b->o.topics;
    for (int32_t i = 0; i < request.topics_count; i++) {
        init_create_topics_request_topic(&request.topics[i]);
        request.topics[i].name = str_of(names[i]);
        request.topics[i].num_partitions = b->o.partitions > 0 ? (int32_t)b->o.partitions : -1;
        request.topics[i].replication_factor = (int16_t)b->o.replication;
        request.topics[i].configs = configs;
        request.topics[i].configs_count = config_count;
    }
    struct broker_link *link = cluster_controller(s);
    if (!link)
        return EXIT_UNREACHABLE;
    code = session_call(s, link, KEY_CREATE_TOPICS, CLIENT_NEWEST, &request, &response, &s->arena);
    for (int32_t i = 0; code == EXIT_OK && i < response.topics_count; i++) {
        int16_t error = response.topics[i].error_code;
        char thing[BENCH_TOPIC_SIZE + 16];
        (void)snprintf(thing, sizeof(thing), "topic '%s'", text_of(s, response.topics[i].name));
        if (error != ERR_NONE && error != ERR_TOPIC_ALREADY_EXISTS)
            code = broker_error(s, thing, error, response.topics[i].error_message);
    }
    return code;
}

void bench_topics_remove(struct bench *b)
{
    struct session *s = b->s;
    const char **names = topic_names(b);
    const size_t count = (size_t)b->o.topics;
    struct delete_topics_request request;
    struct delete_topics_response response;
    init_delete_topics_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    /* Which of the two is sent depends on the version. */
    request.topic_names = arena_array(&s->arena, count, sizeof(*request.topic_names));
    request.topics = arena_array(&s->arena, count, sizeof(*request.topics));
    must(request.topic_names != NULL && request.topics != NULL);
    request.topic_names_count = request.topics_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        request.topic_names[i] = str_of(names[i]);
        init_delete_topics_request_topic(&request.topics[i]);
        request.topics[i].name = str_of(names[i]);
    }
    if (cluster_ask_controller(s, KEY_DELETE_TOPICS, &request, &response, &s->arena) != EXIT_OK)
        return;
    for (int32_t i = 0; i < response.responses_count; i++) {
        const int16_t error = response.responses[i].error_code;
        if (error != ERR_NONE && error != ERR_UNKNOWN_TOPIC_OR_PARTITION)
            (void)broker_error(s, text_of(s, response.responses[i].name), error,
                               response.responses[i].error_message);
    }
}

/* ---- leaders ---- */

static uint32_t lanes_counted(const struct metadata_response *metadata)
{
    uint32_t count = 0;
    for (int32_t t = 0; t < metadata->topics_count; t++)
        count += (uint32_t)metadata->topics[t].partitions_count;
    return count;
}

/* The first error of a topic or partition. */
static int16_t metadata_error(const struct metadata_response *metadata)
{
    for (int32_t t = 0; t < metadata->topics_count; t++) {
        const struct metadata_response_topic *topic = &metadata->topics[t];
        if (topic->error_code != ERR_NONE)
            return topic->error_code;
        for (int32_t p = 0; p < topic->partitions_count; p++)
            if (topic->partitions[p].leader_id < 0)
                return ERR_LEADER_NOT_AVAILABLE;
    }
    return ERR_NONE;
}

/* Metadata without an error; what was just made may take a moment. */
static int topics_settle(struct bench *b, const char **names, struct metadata_response *metadata)
{
    struct session *s = b->s;
    uint64_t until_ns = session_now_ns(s) + READY_PATIENCE * NS_PER_MS;
    for (;;) {
        int code = cluster_metadata(s, names, (uint32_t)b->o.topics, false, metadata);
        if (code != EXIT_OK)
            return code;
        int16_t error = metadata_error(metadata);
        if (error == ERR_NONE)
            return EXIT_OK;
        if (error == ERR_UNKNOWN_TOPIC_OR_PARTITION && !b->o.create)
            return topic_not_found(s, names[0]);
        if (!err_retriable(error) || session_now_ns(s) > until_ns)
            return broker_error(s, names[0], error, str_null());
        session_pause(s, 20 * NS_PER_MS);
    }
}

/* Producers share out their topic's partitions, so topics have equally many. */
static int partitions_check(struct bench *b)
{
    const struct metadata_response *metadata = &b->metadata;
    for (int32_t t = 0; b->o.producers > 0 && t < metadata->topics_count; t++) {
        if (metadata->topics[t].partitions_count == b->o.partitions)
            continue;
        complain(b->s->inv, "topic '%s' is there already and has %d partitions, not %lld",
                 text_of(b->s, metadata->topics[t].name), metadata->topics[t].partitions_count,
                 (long long)b->o.partitions);
        return EXIT_PRESENCE;
    }
    return EXIT_OK;
}

static int32_t broker_index(struct bench *b, int32_t node_id)
{
    for (uint32_t i = 0; i < b->broker_count; i++)
        if (b->brokers[i].node_id == node_id)
            return (int32_t)i;
    if (b->broker_count == BENCH_BROKERS_MAX)
        return -1;
    b->brokers[b->broker_count] = (struct bench_broker){.node_id = node_id};
    return (int32_t)b->broker_count++;
}

static int lane_make(struct bench *b, const struct metadata_response_topic *topic,
                     const struct metadata_response_partition *partition)
{
    int32_t broker = broker_index(b, partition->leader_id);
    if (broker < 0) {
        complain(b->s->inv, "more than %u brokers", BENCH_BROKERS_MAX);
        return EXIT_FAILED;
    }
    struct bench_lane *lane = &b->lanes[b->lane_count++];
    lane->topic = text_of(b->s, topic->name);
    lane->partition = partition->partition_index;
    lane->broker = (uint32_t)broker;
    return EXIT_OK;
}

/* The session's link proves that the broker can be reached, and tells its address. */
static int brokers_find(struct bench *b, const struct metadata_response *metadata)
{
    for (uint32_t i = 0; i < b->broker_count; i++) {
        struct bench_broker *broker = &b->brokers[i];
        struct broker_link *link = cluster_broker(b->s, metadata, broker->node_id);
        if (!link)
            return EXIT_UNREACHABLE;
        broker->address = link->client.address;
        (void)snprintf(broker->host, sizeof(broker->host), "%s", link->host);
        broker->lanes = mem_zalloc(b->partition_count * sizeof(*broker->lanes));
        for (uint32_t lane = 0; lane < b->partition_count; lane++)
            if (b->lanes[lane].broker == i) {
                b->lanes[lane].rank = broker->lane_count;
                broker->lanes[broker->lane_count++] = lane;
            }
    }
    return EXIT_OK;
}

/* The lanes of all partitions are there once: as often as there are producers. */
static void producers_make(struct bench *b)
{
    b->producer_count = (uint32_t)(b->o.producers * b->o.topics);
    b->producer_turns = mem_zalloc(b->producer_count * sizeof(*b->producer_turns));
    const uint32_t partitions = bench_topic_partitions(b);
    must(partitions > 0); /* partitions_check() */
    for (uint32_t i = 0; i < b->producer_count; i++) {
        struct bench_lane *lanes = bench_producer_lanes(b, i);
        const uint32_t first = i % (uint32_t)b->o.topics * partitions;
        for (uint32_t p = 0; p < partitions; p++) {
            lanes[p] = b->lanes[first + p];
            lanes[p].producer = i;
        }
        b->producer_turns[i] = i / (uint32_t)b->o.topics % partitions; /* not all to the same one */
    }
    b->lane_count = b->producer_count * partitions;
}

struct bench_lane *bench_producer_lanes(struct bench *b, uint32_t producer)
{
    return &b->lanes[(size_t)producer * bench_topic_partitions(b)];
}

uint32_t bench_topic_partitions(const struct bench *b)
{
    return b->partition_count / (uint32_t)b->o.topics;
}

/* One of their offsets, of all partitions: start or end. */
static int lanes_ask(struct bench *b, int64_t timestamp)
{
    struct offset_query *queries = mem_zalloc(b->partition_count * sizeof(*queries));
    for (uint32_t i = 0; i < b->partition_count; i++)
        queries[i] = (struct offset_query){.topic = str_of(b->lanes[i].topic),
                                           .partition = b->lanes[i].partition,
                                           .leader = b->brokers[b->lanes[i].broker].node_id,
                                           .timestamp = timestamp};
    int code = cluster_list_offsets(b->s, &b->metadata, queries, b->partition_count, UINT64_MAX);
    for (uint32_t i = 0; code == EXIT_OK && i < b->partition_count; i++) {
        if (queries[i].error != ERR_NONE)
            code = partition_error(b->s, queries[i].topic, queries[i].partition, queries[i].error);
        else if (timestamp == TIMESTAMP_LATEST)
            b->lanes[i].end = queries[i].offset;
        else
            b->lanes[i].start = queries[i].offset;
    }
    mem_free(queries);
    return code;
}

int bench_lanes_offsets(struct bench *b)
{
    int code = lanes_ask(b, TIMESTAMP_EARLIEST);
    return code == EXIT_OK ? lanes_ask(b, TIMESTAMP_LATEST) : code;
}

int64_t bench_lanes_end(const struct bench *b)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < b->partition_count; i++)
        sum += b->lanes[i].end;
    return sum;
}

int bench_lanes_find(struct bench *b)
{
    const char **names = topic_names(b);
    int code = b->o.create ? topics_make(b, names) : EXIT_OK;
    if (code == EXIT_OK)
        code = topics_settle(b, names, &b->metadata);
    if (code == EXIT_OK)
        code = partitions_check(b);
    if (code != EXIT_OK)
        return code;
    const size_t lanes = lanes_counted(&b->metadata) * max_u64((uint64_t)b->o.producers, 1);
    b->lanes = mem_zalloc((lanes + 1) * sizeof(*b->lanes));
    for (int32_t t = 0; t < b->metadata.topics_count; t++)
        for (int32_t p = 0; p < b->metadata.topics[t].partitions_count && code == EXIT_OK; p++)
            code = lane_make(b, &b->metadata.topics[t], &b->metadata.topics[t].partitions[p]);
    if (code == EXIT_OK && b->lane_count == 0) {
        complain(b->s->inv, "topic '%s' has no partitions", b->o.topic);
        code = EXIT_FAILED;
    }
    b->partition_count = b->lane_count;
    if (code == EXIT_OK)
        code = brokers_find(b, &b->metadata);
    if (code == EXIT_OK && b->o.producers > 0)
        producers_make(b);
    /* A partition that answers for its offsets is there for records too. */
    return code == EXIT_OK ? bench_lanes_offsets(b) : code;
}

int bench_broker_any(struct bench *b)
{
    const struct broker_link *link = session_any(b->s);
    if (!link)
        return EXIT_UNREACHABLE;
    struct bench_broker *broker = &b->brokers[b->broker_count++];
    *broker = (struct bench_broker){.node_id = link->node_id, .address = link->client.address};
    (void)snprintf(broker->host, sizeof(broker->host), "%s", link->host);
    return EXIT_OK;
}

void bench_lanes_fini(struct bench *b)
{
    for (uint32_t i = 0; i < b->broker_count; i++)
        mem_free(b->brokers[i].lanes);
    mem_free(b->lanes);
    mem_free(b->producer_turns);
}
