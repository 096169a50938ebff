/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/import_report.h"

#include "core/conf/conf.h"
#include "io/mem.h"

struct other {
    const char *what;
    const char *why;
};

static const struct other others[] = {
#define X(name, what, why) {what, why},
    KAFKA_OTHERS(X)
#undef X
};

/* ---- what is taken ---- */

char *import_setting(const struct kafka_setting *setting)
{
    const struct conf_key *key = conf_find(CONF_TOPIC, setting->name);
    struct conf_error error;
    char *text = NULL;
    if (!key || (key->class != CONF_HONOURED && key->class != CONF_PLANNED) ||
        !conf_check(key, setting->value, &text, &error))
        return NULL;
    return text;
}

bool import_takes(const struct kafka_node *node, const struct kafka_topic *topic)
{
    return !topic->is_left_out && !kafka_topic_is_refused(node, topic);
}

bool import_may(const struct kafka_node *node)
{
    return node->refusal_count == 0;
}

/* ---- a topic ---- */

static json_t *settings_json(const struct kafka_topic *topic, bool kept)
{
    json_t *json = json_object();
    for (uint32_t i = 0; i < topic->settings.count; i++) {
        const struct kafka_setting *setting = &topic->settings.items[i];
        char *text = import_setting(setting);
        if ((text != NULL) == kept)
            (void)json_object_set_new(json, setting->name,
                                      json_string(kept ? text : setting->value));
        mem_free(text);
    }
    return json;
}

struct sums {
    uint64_t segments, records, markers, bytes, aborted;
};

static struct sums sums_of(const struct kafka_topic *topic)
{
    struct sums sums = {0};
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct kafka_scan *scan = topic->partitions[i].scan;
        if (!scan)
            continue;
        sums.segments += scan->segment_count;
        sums.records += scan->records;
        sums.markers += scan->markers;
        sums.bytes += scan->bytes;
        sums.aborted += scan->aborted_count;
    }
    return sums;
}

static json_t *partitions_json(const struct kafka_topic *topic)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct kafka_partition *partition = &topic->partitions[i];
        const struct kafka_scan *scan = partition->scan;
        if (scan)
            (void)json_array_append_new(
                list, json_pack("{s:i, s:I, s:I, s:i, s:I, s:I, s:I}", "partition", (int)i,
                                "start_offset", (json_int_t)partition->start_offset, "end_offset",
                                (json_int_t)scan->end_offset, "leader_epoch",
                                (int)partition->leader_epoch, "records", (json_int_t)scan->records,
                                "bytes", (json_int_t)scan->bytes, "producers",
                                (json_int_t)scan->producers.count));
    }
    return list;
}

static json_t *topic_json(const struct kafka_node *node, const struct kafka_topic *topic)
{
    struct sums sums = sums_of(topic);
    char id[UUID_TEXT_LEN + 1];
    uuid_text(&topic->id, id);
    const char *verdict = topic->is_left_out          ? "left out"
                          : import_takes(node, topic) ? "carried over"
                                                      : "refused";
    return json_pack("{s:s, s:s?, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "topic",
                     topic->name, "topic_id", uuid_is_zero(&topic->id) ? NULL : id, "verdict",
                     verdict, "partitions", (int)topic->partition_count, "segments",
                     (json_int_t)sums.segments, "records", (json_int_t)sums.records, "markers",
                     (json_int_t)sums.markers, "bytes", (json_int_t)sums.bytes,
                     "transactions_aborted", (json_int_t)sums.aborted, "settings",
                     settings_json(topic, true), "settings_lost", settings_json(topic, false),
                     "partition_list", partitions_json(topic));
}

static const struct column columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "verdict", .title = "VERDICT"},
    {.key = "partitions", .title = "PARTITIONS"},
    {.key = "segments", .title = "SEGMENTS"},
    {.key = "records", .title = "RECORDS"},
    {.key = "bytes", .title = "BYTES", .unit = UNIT_BYTES},
    {.key = "transactions_aborted", .title = "ABORTED", .wide = true},
    {.key = "topic_id", .title = "TOPIC ID", .wide = true},
};

/* ---- what is not ---- */

static void lost_add(json_t *list, const char *what, uint64_t count, const char *why)
{
    if (count > 0)
        (void)json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "what", what, "count",
                                                    (json_int_t)count, "why", why));
}

static uint64_t settings_lost(struct kafka_topic *const *topics, uint32_t count)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; i < count; i++) {
        json_t *json = topics[i]->is_left_out ? NULL : settings_json(topics[i], false);
        lost += json_object_size(json);
        json_decref(json);
    }
    return lost;
}

static json_t *lost_json(const struct kafka_node *node, struct kafka_topic *const *topics,
                         uint32_t count)
{
    json_t *list = json_array();
    uint64_t left_out = 0;
    for (uint32_t i = 0; i < count; i++)
        left_out += topics[i]->is_left_out ? 1 : 0;
    for (uint32_t i = 0; i < KAFKA_OTHER_COUNT; i++)
        lost_add(list, others[i].what, node->cluster.others[i], others[i].why);
    lost_add(list, "topics", left_out, "Kafka's own, or named by --except");
    lost_add(list, "settings of topics", settings_lost(topics, count),
             "Millrace does not have them, or not with that value (see settings_lost)");
    if (!node->settings_known)
        lost_add(list, "settings of all topics", count,
                 "they are in ZooKeeper: name it with --zookeeper HOST:PORT/PATH, or go on with "
                 "the defaults of the broker (--without-settings)");
    lost_add(list, "folders", node->strays, "their topics were deleted");
    return list;
}

static json_t *refusals_json(const struct kafka_node *node)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < node->refusal_count; i++) {
        const struct kafka_refusal *refusal = &node->refusals[i];
        (void)json_array_append_new(list, json_pack("{s:s?, s:s}", "topic",
                                                    refusal->topic[0] ? refusal->topic : NULL,
                                                    "reason", refusal->text));
    }
    return list;
}

static json_t *node_json(const struct kafka_node *node)
{
    json_t *dirs = json_array();
    for (uint32_t i = 0; i < node->dir_count; i++)
        (void)json_array_append_new(dirs, json_string(node->dirs[i]));
    return json_pack("{s:s, s:i, s:s, s:o}", "cluster_id", node->meta.cluster_id, "node_id",
                     (int)node->meta.node_id, "metadata", node->kraft ? "kraft" : "zookeeper",
                     "directories", dirs);
}

/* ---- both ---- */

static void print_sentences(const struct invocation *inv, const struct kafka_node *node,
                            const json_t *lost)
{
    size_t index;
    const json_t *row;
    note(inv, "committed offsets: %llu of %llu groups carry over",
         (unsigned long long)node->committed_offsets, (unsigned long long)node->groups);
    json_array_foreach(lost, index, row)
    {
        note(inv, "not carried over: %lld %s: %s",
             (long long)json_integer_value(json_object_get(row, "count")),
             json_string_value(json_object_get(row, "what")),
             json_string_value(json_object_get(row, "why")));
    }
}

static void print_refusals(const struct invocation *inv, const struct kafka_node *node)
{
    for (uint32_t i = 0; i < node->refusal_count; i++)
        complain(inv, "%s", node->refusals[i].text);
}

void import_report(const struct invocation *inv, const struct kafka_node *node, json_t *more)
{
    uint32_t count;
    struct kafka_topic **topics = kafka_topics_sorted(&node->cluster, &count);
    json_t *rows = json_array();
    for (uint32_t i = 0; i < count; i++)
        (void)json_array_append_new(rows, topic_json(node, topics[i]));
    json_t *lost = lost_json(node, topics, count);
    enum format format = format_of(inv);
    if (format == FORMAT_JSON || format == FORMAT_NDJSON) {
        json_t *whole = json_pack("{s:s, s:o, s:O, s:I, s:I, s:O, s:o}", "verdict",
                                  import_may(node) ? "good" : "refused", "node", node_json(node),
                                  "topics", rows, "groups", (json_int_t)node->groups,
                                  "committed_offsets", (json_int_t)node->committed_offsets,
                                  "not_carried_over", lost, "refusals", refusals_json(node));
        if (more)
            (void)json_object_update(whole, more);
        print_object(inv, whole);
    } else {
        listing_print(inv, columns, array_count(columns), rows, NULL);
        if (node->meta.cluster_id[0])
            print_sentences(inv, node, lost);
    }
    print_refusals(inv, node);
    json_decref(more);
    json_decref(rows);
    json_decref(lost);
    mem_free(topics);
}
