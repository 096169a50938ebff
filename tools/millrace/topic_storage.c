/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes come from DescribeLogDirs of each broker that has a replica, offsets from the leaders. What
 * only Millrace's brokers say (segments, damage, recycled files) stands in tags of that answer that
 * other clients pass over; of another maker's broker it is not known.
 */
#include "tools/millrace/topic_storage.h"

#include "net/err.h"
#include "tools/millrace/cluster.h"

#include <string.h>

static const struct column columns[] = {
    {.key = "kind", .title = "KIND"},
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "broker", .title = "BROKER"},
    {.key = "segments", .title = "SEGMENTS"},
    {.key = "bytes", .title = "BYTES", .unit = UNIT_BYTES},
    {.key = "start_offset", .title = "START"},
    {.key = "end_offset", .title = "END"},
    {.key = "damaged_batches", .title = "DAMAGED"},
    {.key = "log_dir", .title = "LOG DIR", .wide = true},
    {.key = "error", .title = "ERROR", .wide = true},
};

/* The offsets of a topic's partitions, in their order. */
struct offsets {
    struct offset_query *start;
    struct offset_query *end;
};

static int offsets_ask(struct session *s, const struct metadata_response *metadata,
                       const struct metadata_response_topic *topic, struct offsets *offsets)
{
    const uint32_t count = (uint32_t)max_i64(topic->partitions_count, 0);
    struct offset_query **each[] = {&offsets->start, &offsets->end};
    static const int64_t which[] = {TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
    for (uint32_t e = 0; e < array_count(each); e++) {
        struct offset_query *queries = arena_array(&s->arena, count, sizeof(*queries));
        must(queries != NULL);
        for (uint32_t i = 0; i < count; i++)
            queries[i] = (struct offset_query){.topic = topic->name,
                                               .partition = topic->partitions[i].partition_index,
                                               .leader = topic->partitions[i].leader_id,
                                               .timestamp = which[e]};
        *each[e] = queries;
        int code = cluster_list_offsets(s, metadata, queries, count, OFFSETS_LOOK_MS);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

static int log_dirs_ask(struct session *s, const struct metadata_response *metadata, int32_t node,
                        struct describe_log_dirs_response *response)
{
    struct describe_log_dirs_request request;
    struct broker_link *link = cluster_broker(s, metadata, node);
    if (!link)
        return EXIT_UNREACHABLE;
    const uint32_t count = (uint32_t)max_i64(metadata->topics_count, 0);
    init_describe_log_dirs_request(&request);
    request.topics = arena_array(&s->arena, count, sizeof(*request.topics));
    must(request.topics != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct metadata_response_topic *topic = &metadata->topics[i];
        struct describe_log_dirs_request_topic *asked = &request.topics[request.topics_count++];
        init_describe_log_dirs_request_topic(asked);
        asked->topic = topic->name;
        asked->partitions =
            arena_array(&s->arena, (size_t)max_i64(topic->partitions_count, 0), sizeof(int32_t));
        must(asked->partitions != NULL);
        for (int32_t p = 0; p < topic->partitions_count; p++)
            asked->partitions[asked->partitions_count++] = topic->partitions[p].partition_index;
    }
    return session_call(s, link, KEY_DESCRIBE_LOG_DIRS, CLIENT_NEWEST, &request, response,
                        &s->arena);
}

static json_t *known(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static const struct describe_log_dirs_response_partition *
partition_in(const struct describe_log_dirs_response_result *dir, struct str topic,
             int32_t partition)
{
    for (int32_t t = 0; t < dir->topics_count; t++) {
        if (!str_equal(dir->topics[t].name, topic))
            continue;
        for (int32_t p = 0; p < dir->topics[t].partitions_count; p++)
            if (dir->topics[t].partitions[p].partition_index == partition)
                return &dir->topics[t].partitions[p];
    }
    return NULL;
}

static json_t *answered(const struct offset_query *query)
{
    return json_of_offset(query->error == ERR_NONE ? query->offset : -1);
}

static json_t *partition_row(const struct metadata_response_topic *topic, int32_t i, int32_t node,
                             const struct describe_log_dirs_response_result *dir,
                             const struct offsets *offsets)
{
    const struct metadata_response_partition *partition = &topic->partitions[i];
    const struct describe_log_dirs_response_partition *found =
        dir ? partition_in(dir, topic->name, partition->partition_index) : NULL;
    /* Millrace says how many segments there are, and then zero damage means that none is known. */
    bool ours = found && found->segments >= 0;
    return json_pack(
        "{s:s, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}", "kind", "partition", "topic",
        json_of(topic->name), "partition", partition->partition_index, "broker", node, "segments",
        known(ours ? found->segments : -1), "bytes", known(found ? found->partition_size : -1),
        "start_offset", answered(&offsets->start[i]), "end_offset", answered(&offsets->end[i]),
        "damaged_batches", known(ours ? found->damaged_batches : -1), "log_dir",
        dir ? json_of(dir->log_dir) : json_null(), "error",
        dir && dir->error_code ? err_name(dir->error_code) : NULL);
}

static json_t *recycled_row(int32_t node, const struct describe_log_dirs_response_result *dir)
{
    return json_pack("{s:s, s:i, s:I, s:o, s:I, s:I}", "kind", "recycled", "broker", node, "bytes",
                     (json_int_t)dir->recycled_bytes, "log_dir", json_of(dir->log_dir),
                     "total_bytes", (json_int_t)dir->total_bytes, "usable_bytes",
                     (json_int_t)dir->usable_bytes);
}

static bool has_replica(const struct metadata_response_partition *partition, int32_t node)
{
    for (int32_t i = 0; i < partition->replica_nodes_count; i++)
        if (partition->replica_nodes[i] == node)
            return true;
    return false;
}

/* The directory that has the partition, else the first. */
static const struct describe_log_dirs_response_result *
dir_of(const struct describe_log_dirs_response *response, struct str topic, int32_t partition)
{
    for (int32_t i = 0; i < response->results_count; i++)
        if (partition_in(&response->results[i], topic, partition))
            return &response->results[i];
    return response->results_count > 0 ? &response->results[0] : NULL;
}

static uint32_t rows_of(struct listing *listing, const struct metadata_response *metadata,
                        const struct offsets *offsets, int32_t node,
                        const struct describe_log_dirs_response *response)
{
    uint32_t rows = 0;
    for (int32_t t = 0; t < metadata->topics_count; t++) {
        const struct metadata_response_topic *topic = &metadata->topics[t];
        for (int32_t i = 0; i < topic->partitions_count && topic->error_code == ERR_NONE; i++) {
            const struct metadata_response_partition *partition = &topic->partitions[i];
            if (!has_replica(partition, node))
                continue;
            listing_row(listing,
                        partition_row(topic, i, node,
                                      dir_of(response, topic->name, partition->partition_index),
                                      &offsets[t]));
            rows++;
        }
    }
    for (int32_t i = 0; rows > 0 && i < response->results_count; i++)
        if (response->results[i].recycled_bytes >= 0)
            listing_row(listing, recycled_row(node, &response->results[i]));
    return rows;
}

static bool has_any(const struct metadata_response *metadata, int32_t node)
{
    for (int32_t t = 0; t < metadata->topics_count; t++)
        for (int32_t i = 0; i < metadata->topics[t].partitions_count; i++)
            if (has_replica(&metadata->topics[t].partitions[i], node))
                return true;
    return false;
}

int topic_describe_storage(struct session *s)
{
    struct metadata_response metadata;
    int code = cluster_metadata(s, s->inv->operands, s->inv->operand_count, false, &metadata);
    if (code != EXIT_OK)
        return code;
    struct tally tally = {0};
    const uint32_t count = (uint32_t)max_i64(metadata.topics_count, 0);
    struct offsets *offsets = arena_array(&s->arena, count, sizeof(*offsets));
    must(offsets != NULL);
    for (uint32_t t = 0; t < count; t++) {
        const struct metadata_response_topic *topic = &metadata.topics[t];
        if (topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            code = topic_not_found(s, text_of(s, topic->name));
        else if (topic->error_code != ERR_NONE)
            code = broker_error(s, text_of(s, topic->name), topic->error_code, str_null());
        else
            code = offsets_ask(s, &metadata, topic, &offsets[t]);
        tally_add(&tally, code);
    }
    struct listing *listing = listing_open(s->inv, columns, array_count(columns));
    for (int32_t i = 0; i < metadata.brokers_count && tally.good > 0; i++) {
        struct describe_log_dirs_response response;
        const int32_t node = metadata.brokers[i].node_id;
        if (!has_any(&metadata, node))
            continue;
        code = log_dirs_ask(s, &metadata, node, &response);
        if (code == EXIT_OK && response.error_code != ERR_NONE)
            code = broker_error(s, "storage", response.error_code, str_null());
        if (code == EXIT_OK)
            (void)rows_of(listing, &metadata, offsets, node, &response);
        else
            tally_add(&tally, code);
    }
    listing_close(listing);
    return tally_code(&tally);
}
