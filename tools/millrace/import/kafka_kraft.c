/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_kraft.h"

#include "core/record/record.h"
#include "core/topic_name.h"
#include "io/mem.h"
#include "net/kafka.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/segment_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FRAME_VERSION     1
#define RECORD_BYTES_MAX  (64U << 20) /* of one batch, inflated */
#define ARENA_BYTES_MAX   (256U << 20)
#define KIND_TOPIC        2
#define KIND_PARTITION    3
#define KIND_CONFIG       4
#define KIND_CHANGE       5
#define KIND_REMOVE_TOPIC 9
#define KIND_FEATURE      12
#define KIND_PRODUCER_IDS 15
#define KIND_BEGIN        23
#define KIND_END          24
#define KIND_ABORT        25
#define RESOURCE_TOPIC    2
#define RESOURCE_BROKER   4

struct kraft_held {
    uint8_t *data;
    int32_t len;
};

/* What about a kind that is not read: how it counts among what is not taken over. */
struct kind {
    uint16_t number;
    bool matters;
    enum kafka_other other;
    int change;
};

static const struct kind kinds[] = {
    {0, false, 0, 0},             /* register broker */
    {1, false, 0, 0},             /* unregister broker */
    {7, false, 0, 0},             /* fence broker */
    {8, false, 0, 0},             /* unfence broker */
    {10, true, KAFKA_TOKENS, 1},  /* delegation token */
    {11, true, KAFKA_USERS, 1},   /* SCRAM credential */
    {14, true, KAFKA_QUOTAS, 1},  /* client quota, or the end of one */
    {17, false, 0, 0},            /* change of a broker's registration */
    {18, true, KAFKA_ACLS, 1},    /* ACL */
    {19, true, KAFKA_ACLS, -1},   /* end of one */
    {20, false, 0, 0},            /* nothing */
    {21, false, 0, 0},            /* state of a migration from ZooKeeper */
    {22, true, KAFKA_USERS, -1},  /* end of a credential */
    {26, true, KAFKA_TOKENS, -1}, /* end of a token */
    {27, false, 0, 0},            /* register controller */
    {28, false, 0, 0},            /* eligible leaders cleared */
};

void kraft_init(struct kraft *kraft, struct kafka_cluster *cluster)
{
    *kraft = (struct kraft){.cluster = cluster};
}

static void held_forget(struct kraft *kraft)
{
    for (uint32_t i = 0; i < kraft->held_count; i++)
        mem_free(kraft->held[i].data);
    mem_free(kraft->held);
    kraft->held = NULL;
    kraft->held_count = 0;
}

void kraft_fini(struct kraft *kraft)
{
    held_forget(kraft);
}

struct said {
    char *text;
    size_t size;
};

static bool refuse(const struct said *said, const char *format, ...) printf_like(2, 3);

static bool refuse(const struct said *said, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said->text, said->size, format, args);
    va_end(args);
    return false;
}

/* ---- records ---- */

static bool take_topic(struct kafka_cluster *cluster, const struct topic_record *record,
                       const struct said *said)
{
    const char *problem = topic_name_problem(record->name);
    if (problem)
        return refuse(said, "a topic has a name that is none: %s", problem);
    if (uuid_is_zero(&record->topic_id) ||
        !kafka_topic_add(cluster, record->name, &record->topic_id))
        return refuse(said, "topic '%.*s' is there twice", record->name.len, record->name.data);
    return true;
}

static bool has_node(const int32_t *ids, int32_t count, int32_t node)
{
    for (int32_t i = 0; i < count; i++)
        if (ids[i] == node)
            return true;
    return false;
}

static struct kafka_partition *partition_of(struct kafka_cluster *cluster, const struct uuid *id,
                                            int32_t number, const struct said *said)
{
    struct kafka_topic *topic = kafka_topic_of_id(cluster, id);
    struct kafka_partition *partition = topic ? kafka_partition_get(topic, number) : NULL;
    if (!partition)
        (void)refuse(said,
                     "partition %d is of a topic that is not there, or its number is too "
                     "large",
                     number);
    return partition;
}

static void partition_replicas(const struct kafka_cluster *cluster,
                               struct kafka_partition *partition, const int32_t *replicas,
                               int32_t count)
{
    partition->replica_count = (uint32_t)max_i64(count, 0);
    partition->elsewhere = !has_node(replicas, count, cluster->node_id);
}

static bool take_partition(struct kafka_cluster *cluster, const struct partition_record *record,
                           const struct said *said)
{
    struct kafka_partition *partition =
        partition_of(cluster, &record->topic_id, record->partition_id, said);
    if (!partition)
        return false;
    partition->leader_epoch = record->leader_epoch;
    partition_replicas(cluster, partition, record->replicas, record->replicas_count);
    return true;
}

static bool take_change(struct kafka_cluster *cluster, const struct partition_change_record *record,
                        const struct said *said)
{
    struct kafka_partition *partition =
        partition_of(cluster, &record->topic_id, record->partition_id, said);
    if (!partition)
        return false;
    /* An epoch is raised by each new leader, and by a change of replicas; nobody needs more than a
     * number that is not below Kafka's. */
    partition->leader_epoch++;
    if (record->replicas_count >= 0)
        partition_replicas(cluster, partition, record->replicas, record->replicas_count);
    return true;
}

static void take_config(struct kafka_cluster *cluster, const struct config_record *record)
{
    char name[LOG_TOPIC_MAX + 1] = "";
    if (record->resource_type == RESOURCE_BROKER)
        cluster->others[KAFKA_BROKER_SETTINGS]++;
    if (record->resource_type != RESOURCE_TOPIC || record->resource_name.len <= 0 ||
        record->resource_name.len > (int32_t)LOG_TOPIC_MAX)
        return;
    memcpy(name, record->resource_name.data, (size_t)record->resource_name.len);
    struct kafka_topic *topic = kafka_topic_find(cluster, name);
    if (topic)
        kafka_settings_set(&topic->settings, record->name, record->value);
}

static bool take_other(struct kafka_cluster *cluster, uint32_t number, const struct said *said)
{
    for (uint32_t i = 0; i < array_count(kinds); i++) {
        if (kinds[i].number != number)
            continue;
        uint64_t *count = &cluster->others[kinds[i].other];
        if (kinds[i].matters && (kinds[i].change > 0 || *count > 0))
            *count = kinds[i].change > 0 ? *count + 1 : *count - 1;
        return true;
    }
    return refuse(said,
                  "a record is of kind %u, which Kafka 4.3 does not have; this Kafka is newer than "
                  "what Millrace knows",
                  number);
}

/* Reads a message of a known kind, whole; what it says comes afterwards. */
#define READ(name, version_max)                                                                    \
    struct name##_record record;                                                                   \
    if (version > (version_max))                                                                   \
        return refuse(said,                                                                        \
                      "a " #name " record is of version %u, which Kafka 4.3 does not have; this "  \
                      "Kafka is newer than what Millrace knows",                                   \
                      version);                                                                    \
    if (!read_##name##_record(rd, arena, (int16_t)version, &record) || rd_left(rd) > 0)            \
        return refuse(said, "a " #name " record cannot be read");

static bool read_topic(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                       uint32_t version, const struct said *said)
{
    READ(topic, 0)
    return take_topic(cluster, &record, said);
}

static bool read_partition(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                           uint32_t version, const struct said *said)
{
    READ(partition, 2)
    return take_partition(cluster, &record, said);
}

static bool read_change(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                        uint32_t version, const struct said *said)
{
    READ(partition_change, 2)
    return take_change(cluster, &record, said);
}

static bool read_config(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                        uint32_t version, const struct said *said)
{
    READ(config, 0)
    take_config(cluster, &record);
    return true;
}

static bool read_remove_topic(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                              uint32_t version, const struct said *said)
{
    READ(remove_topic, 0)
    struct kafka_topic *topic = kafka_topic_of_id(cluster, &record.topic_id);
    if (!topic)
        return refuse(said, "a topic goes that is not there");
    kafka_topic_remove(cluster, topic);
    return true;
}

/* A level above what Kafka 4.3 has may mean anything. */
static bool read_feature(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                         uint32_t version, const struct said *said)
{
    (void)cluster;
    READ(feature_level, 0)
    return true;
}

static bool read_producer_ids(struct kafka_cluster *cluster, struct rd *rd, struct arena *arena,
                              uint32_t version, const struct said *said)
{
    READ(producer_ids, 0)
    cluster->producer_id_next = max_i64(cluster->producer_id_next, record.next_producer_id);
    return true;
}

static bool take_known(struct kraft *kraft, uint32_t kind, uint32_t version, struct rd *rd,
                       struct arena *arena, const struct said *said)
{
    struct kafka_cluster *cluster = kraft->cluster;
    switch (kind) {
    case KIND_TOPIC:
        return read_topic(cluster, rd, arena, version, said);
    case KIND_PARTITION:
        return read_partition(cluster, rd, arena, version, said);
    case KIND_CONFIG:
        return read_config(cluster, rd, arena, version, said);
    case KIND_CHANGE:
        return read_change(cluster, rd, arena, version, said);
    case KIND_REMOVE_TOPIC:
        return read_remove_topic(cluster, rd, arena, version, said);
    case KIND_FEATURE:
        return read_feature(cluster, rd, arena, version, said);
    case KIND_PRODUCER_IDS:
        return read_producer_ids(cluster, rd, arena, version, said);
    default:
        return take_other(cluster, kind, said);
    }
}

/* ---- metadata transactions ---- */

static bool take_value(struct kraft *kraft, struct bytes value, const struct said *said);

static void hold(struct kraft *kraft, struct bytes value)
{
    kraft->held = mem_realloc(kraft->held, (kraft->held_count + 1) * sizeof(kraft->held[0]));
    struct kraft_held *held = &kraft->held[kraft->held_count++];
    *held = (struct kraft_held){.data = mem_alloc((size_t)value.len), .len = value.len};
    memcpy(held->data, value.data, (size_t)value.len);
}

static bool take_held(struct kraft *kraft, const struct said *said)
{
    bool good = true;
    kraft->in_transaction = false;
    for (uint32_t i = 0; good && i < kraft->held_count; i++)
        good = take_value(kraft, (struct bytes){kraft->held[i].data, kraft->held[i].len}, said);
    held_forget(kraft);
    return good;
}

static bool take_value(struct kraft *kraft, struct bytes value, const struct said *said)
{
    struct rd rd;
    struct piece piece;
    if (value.len <= 0)
        return refuse(said, "a record has no value");
    rd_init(&rd, span_of(&piece, value.data, (uint32_t)value.len));
    uint32_t frame = rd_uvarint(&rd);
    uint32_t kind = rd_uvarint(&rd);
    uint32_t version = rd_uvarint(&rd);
    if (rd.bad || frame != FRAME_VERSION)
        return refuse(said, "a record has a frame that is not of version %d", FRAME_VERSION);
    if (kind == KIND_BEGIN || kind == KIND_ABORT) {
        held_forget(kraft);
        kraft->in_transaction = kind == KIND_BEGIN;
        return true;
    }
    if (kind == KIND_END)
        return take_held(kraft, said);
    if (kraft->in_transaction) {
        hold(kraft, value);
        return true;
    }
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    bool good = take_known(kraft, kind, version, &rd, &arena, said);
    arena_fini(&arena);
    return good;
}

bool kraft_take(struct kraft *kraft, struct bytes value, char *sentence, size_t sentence_size)
{
    const struct said said = {sentence, sentence_size};
    kraft->records++;
    return take_value(kraft, value, &said);
}

/* ---- files ---- */

static bool take_batch(struct kraft *kraft, const struct segment_file *segment, int64_t from,
                       const struct said *said)
{
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    enum record_status status = RECORD_BROKEN;
    bool good = true;
    inflater_init(&inflater);
    if (record_iter_init(&iter, &inflater, segment->batch, RECORD_BYTES_MAX)) {
        while (good && (status = record_iter_next(&iter, &record)) == RECORD_READY)
            good = record.offset < from ||
                   kraft_take(kraft, (struct bytes){record.value, record.value_len}, said->text,
                              said->size);
        record_iter_fini(&iter);
    }
    inflater_fini(&inflater);
    if (good && status != RECORD_END)
        good = refuse(said, "a batch cannot be read");
    return good;
}

/* The records at or above `from`; *end is behind the last. */
static bool read_file(struct kraft *kraft, const char *path, int64_t from, int64_t *first,
                      int64_t *end, const struct said *said)
{
    struct segment_file segment;
    enum segment_next next = SEGMENT_UNREADABLE;
    char what[256] = "";
    const struct said inside = {what, sizeof(what)};
    bool good = true;
    *first = -1;
    if (segment_file_open(&segment, path)) {
        while (good && (next = segment_file_next(&segment)) == SEGMENT_BATCH) {
            *first = *first < 0 ? segment.header.base_offset : *first;
            *end = batch_last_offset(&segment.header) + 1;
            if (!(segment.header.attributes & BATCH_CONTROL) && *end > from)
                good = take_batch(kraft, &segment, from, &inside);
        }
    }
    if (!good)
        (void)refuse(said, "%s, the batch at offset %lld: %s", path,
                     (long long)segment.header.base_offset, what);
    else if (next != SEGMENT_END)
        good = refuse(said, "%s, position %llu: %s", path, (unsigned long long)segment.at,
                      segment.reason);
    segment_file_close(&segment);
    return good;
}

struct kraft_names {
    char **names;
    uint32_t count;
    char *snapshot; /* the newest */
};

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    return len > strlen(suffix) && strcmp(name + len - strlen(suffix), suffix) == 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool list_names(struct kraft_names *names, const char *directory)
{
    DIR *list = opendir(directory);
    const struct dirent *entry;
    if (!list)
        return false;
    while ((entry = readdir(list))) {
        const char *name = entry->d_name;
        if (strspn(name, "0123456789") != 20)
            continue;
        if (ends_with(name, ".checkpoint") &&
            (!names->snapshot || strcmp(names->snapshot, name) < 0)) {
            mem_free(names->snapshot);
            names->snapshot = mem_strdup(name);
        } else if (strcmp(name + 20, ".log") == 0) {
            names->names = mem_realloc(names->names, (names->count + 1) * sizeof(names->names[0]));
            names->names[names->count++] = mem_strdup(name);
        }
    }
    (void)closedir(list);
    if (names->count > 0)
        qsort(names->names, names->count, sizeof(names->names[0]), by_text);
    return true;
}

static bool read_snapshot(struct kraft *kraft, const char *directory, const char *name,
                          int64_t *end, const struct said *said)
{
    char *path = kafka_path(directory, name);
    int64_t ignored;
    int64_t last = 0;
    bool good = read_file(kraft, path, 0, &ignored, &last, said);
    *end = strtoll(name, NULL, 10);
    mem_free(path);
    return good;
}

bool kraft_read(struct kraft *kraft, const char *directory, char *sentence, size_t sentence_size)
{
    const struct said said = {sentence, sentence_size};
    struct kraft_names names = {0};
    int64_t next = 0;
    if (!list_names(&names, directory))
        return refuse(&said, "%s cannot be read: %s", directory, strerror(errno));
    bool good = !names.snapshot || read_snapshot(kraft, directory, names.snapshot, &next, &said);
    for (uint32_t i = 0; good && i < names.count; i++) {
        char *path = kafka_path(directory, names.names[i]);
        int64_t first;
        int64_t end = next;
        good = read_file(kraft, path, next, &first, &end, &said);
        if (good && first > next)
            good = refuse(&said,
                          "%s begins at offset %lld, and what is before it ends at %lld: a "
                          "file is missing",
                          path, (long long)first, (long long)next);
        next = max_i64(next, end);
        mem_free(path);
    }
    if (good && names.count == 0)
        good = refuse(&said, "%s holds no log", directory);
    for (uint32_t i = 0; i < names.count; i++)
        mem_free(names.names[i]);
    mem_free(names.names);
    mem_free(names.snapshot);
    return good;
}
