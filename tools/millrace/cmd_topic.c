/* SPDX-License-Identifier: Apache-2.0
 *
 * Topics as they are: `millrace topic list` and `millrace topic describe`.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/cluster.h"
#include "tools/millrace/topic_storage.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* ---- list ---- */

static const struct column list_columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partitions", .title = "PARTITIONS"},
    {.key = "replication_factor", .title = "REPLICAS"},
    {.key = "under_replicated", .title = "UNDER-REPLICATED", .wide = true},
    {.key = "leaderless", .title = "LEADERLESS", .wide = true},
    {.key = "internal", .title = "INTERNAL", .wide = true},
    {.key = "topic_id", .title = "ID", .wide = true},
};

static json_t *list_row(const struct metadata_response_topic *topic)
{
    int32_t replicas = 0;
    int under = 0;
    int leaderless = 0;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct metadata_response_partition *partition = &topic->partitions[i];
        replicas = (int32_t)max_i64(replicas, partition->replica_nodes_count);
        under += partition->isr_nodes_count < partition->replica_nodes_count;
        leaderless += partition->leader_id < 0;
    }
    char id[UUID_TEXT_LEN + 1];
    uuid_text(&topic->topic_id, id);
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:b, s:s?}", "topic", json_of(topic->name),
                     "partitions", topic->partitions_count, "replication_factor", replicas,
                     "under_replicated", under, "leaderless", leaderless, "internal",
                     topic->is_internal, "topic_id", uuid_is_zero(&topic->topic_id) ? NULL : id);
}

static int by_name(const void *a, const void *b)
{
    return text_order(((const struct metadata_response_topic *)a)->name,
                      ((const struct metadata_response_topic *)b)->name);
}

static int list(struct session *s)
{
    struct metadata_response metadata;
    int code = cluster_metadata(s, NULL, 0, false, &metadata);
    if (code != EXIT_OK)
        return code;
    const char *pattern = s->inv->operand_count > 0 ? s->inv->operands[0] : NULL;
    bool internal = option_on(s->inv, "internal");
    if (metadata.topics_count > 1)
        qsort(metadata.topics, (size_t)metadata.topics_count, sizeof(*metadata.topics), by_name);
    struct listing *listing = listing_open(s->inv, list_columns, array_count(list_columns));
    uint32_t shown = 0;
    for (int32_t i = 0; i < metadata.topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata.topics[i];
        if (topic->is_internal && !internal)
            continue;
        if (pattern && fnmatch(pattern, text_of(s, topic->name), 0) != 0)
            continue;
        listing_row(listing, list_row(topic));
        shown++;
    }
    listing_close(listing);
    if (shown == 0 && format_is_table(s->inv))
        note(s->inv, "no topics%s%s", pattern ? " match " : "", pattern ? pattern : "");
    return EXIT_OK;
}

int cmd_topic_list(struct invocation *inv)
{
    return session_run(inv, list);
}

/* ---- describe ---- */

static const struct column partition_columns[] = {
    {.key = "partition", .title = "PARTITION"},
    {.key = "leader", .title = "LEADER"},
    {.key = "leader_epoch", .title = "EPOCH"},
    {.key = "replicas", .title = "REPLICAS"},
    {.key = "isr", .title = "ISR"},
    {.key = "offline_replicas", .title = "OFFLINE", .wide = true},
    {.key = "start_offset", .title = "START"},
    {.key = "end_offset", .title = "END"},
    {.key = "records", .title = "RECORDS"},
    {.key = "error", .title = "ERROR", .wide = true},
};

static const struct column config_columns[] = {
    {.key = "name", .title = "CONFIG"},
    {.key = "value", .title = "VALUE"},
    {.key = "source", .title = "SOURCE"},
};

static json_t *json_answer(const struct offset_query *query)
{
    return json_of_offset(query->error == ERR_NONE ? query->offset : -1);
}

static json_t *partition_row(const struct metadata_response_partition *partition,
                             const struct offset_query *start, const struct offset_query *end)
{
    bool known = start->error == ERR_NONE && end->error == ERR_NONE;
    int16_t error = partition->error_code;
    if (error == ERR_NONE)
        error = end->error;
    json_t *records = known ? json_integer(end->offset - start->offset) : json_null();
    json_t *leader = partition->leader_id >= 0 ? json_integer(partition->leader_id) : json_null();
    return json_pack(
        "{s:i, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}", "partition",
        partition->partition_index, "leader", leader, "leader_epoch", partition->leader_epoch,
        "replicas", json_of_i32s(partition->replica_nodes, partition->replica_nodes_count), "isr",
        json_of_i32s(partition->isr_nodes, partition->isr_nodes_count), "offline_replicas",
        json_of_i32s(partition->offline_replicas, partition->offline_replicas_count),
        "start_offset", json_answer(start), "end_offset", json_answer(end), "records", records,
        "error", error ? err_name(error) : NULL);
}

static int by_partition(const void *a, const void *b)
{
    return ((const struct metadata_response_partition *)a)->partition_index -
           ((const struct metadata_response_partition *)b)->partition_index;
}

static int describe_partitions(struct session *s, const struct metadata_response *metadata,
                               const struct metadata_response_topic *topic, json_t *rows)
{
    uint32_t count = (uint32_t)max_i64(topic->partitions_count, 0);
    if (count > 1)
        qsort(topic->partitions, count, sizeof(*topic->partitions), by_partition);
    struct offset_query *ends[2];
    static const int64_t which[] = {TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
    for (uint32_t e = 0; e < array_count(ends); e++) {
        ends[e] = arena_array(&s->arena, count, sizeof(**ends));
        must(ends[e] != NULL);
        for (uint32_t i = 0; i < count; i++)
            ends[e][i] = (struct offset_query){
                .topic = topic->name,
                .partition = topic->partitions[i].partition_index,
                .leader = topic->partitions[i].leader_id,
                .timestamp = which[e],
            };
        int code = cluster_list_offsets(s, metadata, ends[e], count, OFFSETS_LOOK_MS);
        if (code != EXIT_OK)
            return code;
    }
    for (uint32_t i = 0; i < count; i++)
        (void)json_array_append_new(rows,
                                    partition_row(&topic->partitions[i], &ends[0][i], &ends[1][i]));
    return EXIT_OK;
}

static bool is_own_config(const json_t *row)
{
    const char *source = json_string_value(json_object_get(row, "source"));
    return source && strcmp(source, "DYNAMIC_TOPIC_CONFIG") == 0;
}

/* Why some of the numbers are missing. */
static void print_troubles(const struct session *s, json_t *partitions)
{
    size_t i;
    json_t *row;
    json_array_foreach(partitions, i, row)
    {
        const char *error = json_string_value(json_object_get(row, "error"));
        bool leaderless = json_is_null(json_object_get(row, "leader"));
        if (leaderless)
            note(s->inv, "partition %lld has no leader: none of its in-sync replicas is there",
                 (long long)json_integer_value(json_object_get(row, "partition")));
        else if (error)
            note(s->inv, "partition %lld: its leader answers %s",
                 (long long)json_integer_value(json_object_get(row, "partition")), error);
    }
}

/* What its acknowledgements promise; NULL: it is another maker's broker. */
static const char *durability_of(const json_t *configs)
{
    size_t index;
    const json_t *row;
    json_array_foreach(configs, index, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && strcmp(name, "millrace.durability") == 0)
            return json_string_value(json_object_get(row, "value"));
    }
    return NULL;
}

/* For people: a line about the topic, what differs from the defaults, the partitions. */
static void print_description(struct session *s, const json_t *row)
{
    const struct invocation *inv = s->inv;
    const json_t *id = json_object_get(row, "topic_id");
    const char *durability = json_string_value(json_object_get(row, "durability"));
    printf("topic %s  partitions %zu%s%s%s%s%s\n", json_string_value(json_object_get(row, "topic")),
           json_array_size(json_object_get(row, "partitions")), json_is_string(id) ? "  id " : "",
           json_is_string(id) ? json_string_value(id) : "", durability ? "  durability " : "",
           durability ? durability : "",
           json_is_true(json_object_get(row, "internal")) ? "  internal" : "");
    bool all = format_of(inv) == FORMAT_WIDE;
    listing_print(inv, config_columns, array_count(config_columns), json_object_get(row, "configs"),
                  all ? NULL : is_own_config);
    listing_print(inv, partition_columns, array_count(partition_columns),
                  json_object_get(row, "partitions"), NULL);
    print_troubles(s, json_object_get(row, "partitions"));
}

static int describe_one(struct session *s, const struct metadata_response *metadata,
                        const struct metadata_response_topic *topic, json_t **row)
{
    char id[UUID_TEXT_LEN + 1];
    json_t *partitions = json_array();
    json_t *configs = json_array();
    int code = describe_partitions(s, metadata, topic, partitions);
    if (code == EXIT_OK)
        code = cluster_configs(s, NULL, CONFIG_OF_TOPIC, topic->name, configs);
    uuid_text(&topic->topic_id, id);
    *row = json_pack("{s:o, s:s?, s:b, s:s?, s:o, s:o}", "topic", json_of(topic->name), "topic_id",
                     uuid_is_zero(&topic->topic_id) ? NULL : id, "internal", topic->is_internal,
                     "durability", durability_of(configs), "partitions", partitions, "configs",
                     configs);
    return code;
}

static int describe(struct session *s)
{
    static const struct column awk_columns[] = {
        {.key = "topic", .title = "TOPIC"},        {.key = "partition", .title = "PARTITION"},
        {.key = "leader", .title = "LEADER"},      {.key = "leader_epoch", .title = "EPOCH"},
        {.key = "replicas", .title = "REPLICAS"},  {.key = "isr", .title = "ISR"},
        {.key = "start_offset", .title = "START"}, {.key = "end_offset", .title = "END"},
    };
    struct invocation *inv = s->inv;
    struct metadata_response metadata;
    int code = cluster_metadata(s, inv->operands, inv->operand_count, false, &metadata);
    if (code != EXIT_OK)
        return code;
    struct tally tally = {0};
    bool table = format_is_table(inv);
    struct listing *listing =
        table ? NULL : listing_open(inv, awk_columns, array_count(awk_columns));
    for (int32_t i = 0; i < metadata.topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata.topics[i];
        const char *name = text_of(s, topic->name);
        json_t *row = NULL;
        if (topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            code = topic_not_found(s, name);
        else if (topic->error_code != ERR_NONE)
            code = broker_error(s, name, topic->error_code, str_null());
        else
            code = describe_one(s, &metadata, topic, &row);
        tally_add(&tally, code);
        if (row && table)
            print_description(s, row);
        if (row && format_of(inv) == FORMAT_AWK)
            listing_partitions(listing, row, "topic");
        else if (row && !table)
            listing_row(listing, row);
        else if (row)
            json_decref(row);
    }
    if (listing)
        listing_close(listing);
    return tally_code(&tally);
}

int cmd_topic_describe(struct invocation *inv)
{
    return session_run(inv, option_on(inv, "storage") ? topic_describe_storage : describe);
}
