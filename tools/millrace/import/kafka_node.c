/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_node.h"

#include "io/mem.h"
#include "tools/millrace/import/kafka_kraft.h"
#include "tools/millrace/import/kafka_offsets.h"
#include "tools/millrace/import/kafka_zookeeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

/* Topics that Kafka keeps for itself, and that mean nothing to another broker. */
static const char *const kafkas_own[] = {"__transaction_state", "__share_group_state",
                                         "__remote_log_metadata"};

void kafka_refuse(struct kafka_node *node, const char *topic, const char *format, ...)
{
    node->refusals =
        mem_realloc(node->refusals, (node->refusal_count + 1) * sizeof(node->refusals[0]));
    struct kafka_refusal *refusal = &node->refusals[node->refusal_count++];
    (void)snprintf(refusal->topic, sizeof(refusal->topic), "%s", topic ? topic : "");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(refusal->text, sizeof(refusal->text), format, args);
    va_end(args);
}

bool kafka_topic_is_refused(const struct kafka_node *node, const struct kafka_topic *topic)
{
    for (uint32_t i = 0; i < node->refusal_count; i++)
        if (strcmp(node->refusals[i].topic, topic->name) == 0)
            return true;
    return false;
}

/* ---- a directory ---- */

/* Kafka holds a lock of fcntl's on it. 0: nobody does. */
static pid_t lock_holder(const char *directory)
{
    char *path = kafka_path(directory, ".lock");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pid_t pid = 0;
    if (file >= 0 && fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        pid = lock.l_pid;
    if (file >= 0)
        close(file);
    mem_free(path);
    return pid;
}

static bool is_there(const char *directory, const char *name)
{
    char *path = kafka_path(directory, name);
    bool there = access(path, F_OK) == 0;
    mem_free(path);
    return there;
}

static bool read_meta(struct kafka_node *node, const char *directory, struct kafka_meta *meta)
{
    char sentence[320];
    size_t len;
    int error;
    char *text = kafka_text_read(directory, "meta.properties", &len, &error);
    bool good = text != NULL;
    if (!good && error == ENOENT)
        kafka_refuse(
            node, NULL,
            "%s is no data directory of Apache Kafka: it has no meta.properties; name what "
            "log.dirs of its server.properties names",
            directory);
    else if (!good)
        kafka_refuse(node, NULL, "%s/meta.properties cannot be read: %s", directory,
                     strerror(error));
    if (good && !kafka_meta_parse(meta, text, len, sentence, sizeof(sentence))) {
        kafka_refuse(node, NULL, "%s/meta.properties, %s; is it Kafka's?", directory, sentence);
        good = false;
    }
    mem_free(text);
    return good;
}

static void read_marks(struct kafka_node *node, const char *directory, const char *name,
                       struct kafka_marks *marks)
{
    size_t len;
    int error;
    char *text = kafka_text_read(directory, name, &len, &error);
    if (!text && error != ENOENT)
        kafka_refuse(node, NULL, "%s/%s cannot be read: %s", directory, name, strerror(error));
    else if (text && !kafka_marks_parse(marks, text, len))
        kafka_refuse(node, NULL,
                     "%s/%s is not what Kafka writes; restore the directory from a copy", directory,
                     name);
    mem_free(text);
}

/* Whose is it, and is it at rest? */
static bool look_at_dir(struct kafka_node *node, const char *directory, bool first)
{
    struct kafka_meta meta;
    if (!read_meta(node, directory, &meta))
        return false;
    if (first)
        node->meta = meta;
    if (meta.version != node->meta.version || meta.node_id != node->meta.node_id ||
        strcmp(meta.cluster_id, node->meta.cluster_id) != 0) {
        kafka_refuse(node, NULL,
                     "%s is of node %d of cluster %s, and %s of node %d of cluster %s; name the "
                     "directories of one node",
                     directory, meta.node_id, meta.cluster_id, node->dirs[0], node->meta.node_id,
                     node->meta.cluster_id);
        return false;
    }
    pid_t holder = lock_holder(directory);
    if (holder != 0) {
        kafka_refuse(node, NULL,
                     "%s is in use: process %ld holds %s/.lock; stop that Kafka (SIGTERM), and "
                     "come back when it has ended",
                     directory, (long)holder, directory);
        return false;
    }
    if (!is_there(directory, ".kafka_cleanshutdown")) {
        kafka_refuse(node, NULL,
                     "%s was not stopped cleanly (it has no .kafka_cleanshutdown), so the ends of "
                     "its logs may be torn; start that Kafka, let it recover, and stop it with "
                     "SIGTERM",
                     directory);
        return false;
    }
    read_marks(node, directory, "log-start-offset-checkpoint", &node->starts);
    read_marks(node, directory, "replication-offset-checkpoint", &node->ends);
    return true;
}

/* ---- metadata ---- */

static bool read_kraft(struct kafka_node *node)
{
    const char *where = NULL;
    for (uint32_t i = 0; i < node->dir_count && !where; i++)
        where = is_there(node->dirs[i], KRAFT_FOLDER) ? node->dirs[i] : NULL;
    if (!where) {
        kafka_refuse(node, NULL,
                     "none of the directories holds " KRAFT_FOLDER
                     ", the metadata; name the one that metadata.log.dir names, too, and is this "
                     "node a controller at all? Only a node that is both can be taken over");
        return false;
    }
    char sentence[400];
    char *path = kafka_path(where, KRAFT_FOLDER);
    struct kraft kraft;
    kraft_init(&kraft, &node->cluster);
    bool good = kraft_read(&kraft, path, sentence, sizeof(sentence));
    kraft_fini(&kraft);
    mem_free(path);
    if (!good)
        kafka_refuse(node, NULL, "the metadata cannot be taken over: %s", sentence);
    node->settings_known = true;
    return good;
}

/* Without metadata: a folder tells of its topic. */
static struct kafka_topic *topic_of_folder(struct kafka_node *node, const char *name,
                                           const struct uuid *id)
{
    struct kafka_topic *topic = kafka_topic_find(&node->cluster, name);
    return topic ? topic : kafka_topic_add(&node->cluster, str_of(name), id);
}

/* The id in partition.metadata; zero: there is none, as before Kafka 2.8. */
static bool folder_id(struct kafka_node *node, const char *folder, struct uuid *id)
{
    size_t len;
    int error;
    char *text = kafka_text_read(folder, "partition.metadata", &len, &error);
    bool good = text ? kafka_topic_id_parse(id, text, len) : error == ENOENT;
    if (!text)
        *id = (struct uuid){0};
    if (!good)
        kafka_refuse(node, NULL,
                     "%s/partition.metadata is not what Kafka writes; restore it from a copy",
                     folder);
    mem_free(text);
    return good;
}

/* False: it is of no topic that is there. */
static bool take_folder(struct kafka_node *node, const char *name, int32_t number, char *folder)
{
    struct uuid id;
    if (!folder_id(node, folder, &id))
        return true; /* said */
    struct kafka_topic *topic = node->kraft || node->settings_known
                                    ? kafka_topic_find(&node->cluster, name)
                                    : topic_of_folder(node, name, &id);
    bool same = topic && (uuid_is_zero(&id) || uuid_equal(&id, &topic->id));
    bool new_number = topic && (!node->kraft && !node->settings_known);
    if (topic && !same && new_number) {
        kafka_refuse(node, name, "folders of topic '%s' name different topic ids", name);
        return true;
    }
    if (!same || (!new_number && (uint32_t)number >= topic->partition_count))
        return false;
    struct kafka_partition *partition = kafka_partition_get(topic, number);
    if (!partition || partition->directory) {
        kafka_refuse(node, name,
                     "%s: there is another folder of that partition, or its number is "
                     "too large",
                     folder);
        return true;
    }
    partition->directory = mem_strdup(folder);
    node->folder_bytes += kafka_scan_size(folder);
    return true;
}

static void list_folders(struct kafka_node *node, const char *directory)
{
    DIR *list = opendir(directory);
    const struct dirent *entry;
    if (!list)
        kafka_refuse(node, NULL, "%s cannot be read: %s", directory, strerror(errno));
    while (list && (entry = readdir(list))) {
        char topic[LOG_TOPIC_MAX + 1];
        int32_t number;
        if (!kafka_folder_parse(entry->d_name, topic, &number) ||
            strcmp(entry->d_name, KRAFT_FOLDER) == 0)
            continue;
        char *folder = kafka_path(directory, entry->d_name);
        if (!take_folder(node, topic, number, folder))
            node->strays++;
        mem_free(folder);
    }
    if (list)
        (void)closedir(list);
}

/* ---- topics ---- */

static const char *setting_of(const struct kafka_topic *topic, const char *name)
{
    for (uint32_t i = 0; i < topic->settings.count; i++)
        if (strcmp(topic->settings.items[i].name, name) == 0)
            return topic->settings.items[i].value;
    return NULL;
}

static int32_t latest_epoch(struct kafka_node *node, const char *topic, const char *folder)
{
    size_t len;
    int error;
    int32_t latest = -1;
    char *text = kafka_text_read(folder, "leader-epoch-checkpoint", &len, &error);
    if (text && !kafka_epochs_parse(&latest, text, len))
        kafka_refuse(node, topic,
                     "%s/leader-epoch-checkpoint is not what Kafka writes; restore it from a copy",
                     folder);
    mem_free(text);
    return latest;
}

struct reading {
    struct kafka_node *node;
    const struct kafka_node_options *options;
    uint64_t done;
};

static void on_progress(void *user, uint64_t bytes)
{
    struct reading *reading = user;
    reading->done += bytes;
    if (reading->options->on_progress)
        reading->options->on_progress(reading->options->user, reading->done,
                                      reading->node->folder_bytes);
}

static void check_partition(struct kafka_node *node, const struct kafka_topic *topic,
                            uint32_t number, struct kafka_partition *partition)
{
    const struct kafka_scan *scan = partition->scan;
    int64_t producer_id = -1;
    int64_t open = kafka_scan_open_from(scan, &producer_id);
    int64_t mark = kafka_marks_find(&node->ends, topic->name, (int32_t)number);
    int64_t start = kafka_marks_find(&node->starts, topic->name, (int32_t)number);
    partition->start_offset = max_i64(start, scan->segments[0].base);
    partition->high_watermark = mark;
    if (open >= 0)
        kafka_refuse(node, topic->name,
                     "%s-%u: producer %lld has a transaction open since offset %lld, and nobody "
                     "could end it any more; start Kafka, end it (kafka-transactions.sh abort), "
                     "and stop Kafka again",
                     topic->name, number, (long long)producer_id, (long long)open);
    else if (mark >= 0 && mark < scan->end_offset)
        kafka_refuse(node, topic->name,
                     "%s-%u: records from offset %lld to %lld were never committed; start Kafka "
                     "with the other replicas, and stop it when they are",
                     topic->name, number, (long long)mark, (long long)scan->end_offset);
    else if (partition->start_offset > scan->end_offset)
        kafka_refuse(node, topic->name, "%s-%u: its start (%lld) lies behind its end (%lld)",
                     topic->name, number, (long long)partition->start_offset,
                     (long long)scan->end_offset);
}

static void read_partition(struct reading *reading, const struct kafka_topic *topic,
                           uint32_t number)
{
    struct kafka_node *node = reading->node;
    struct kafka_partition *partition = &topic->partitions[number];
    if (!partition->known || !partition->directory) {
        kafka_refuse(node, topic->name, "%s-%u has no folder%s; name all directories of log.dirs%s",
                     topic->name, number,
                     partition->elsewhere ? " here, its replicas are on other nodes" : "",
                     partition->elsewhere ? ", or move it here first" : "");
        return;
    }
    partition->scan = mem_zalloc(sizeof(*partition->scan));
    partition->scan->on_progress = on_progress;
    partition->scan->user = reading;
    kafka_scan_read(partition->scan, partition->directory);
    if (partition->scan->reason[0] != '\0') {
        kafka_refuse(node, topic->name, "%s", partition->scan->reason);
        return;
    }
    partition->leader_epoch = (int32_t)max_i64(
        max_i64(partition->leader_epoch, latest_epoch(node, topic->name, partition->directory)),
        epoch_latest(&partition->scan->epochs));
    check_partition(node, topic, number, partition);
}

static void read_topic(struct reading *reading, struct kafka_topic *topic)
{
    struct kafka_node *node = reading->node;
    const char *remote = setting_of(topic, "remote.storage.enable");
    if (remote && strcmp(remote, "true") == 0)
        kafka_refuse(node, topic->name,
                     "topic '%s' has segments in tiered storage, which are not in these "
                     "directories; copy it into a topic without, or leave it out (--except %s)",
                     topic->name, topic->name);
    for (uint32_t i = 0; i < topic->partition_count; i++)
        read_partition(reading, topic, i);
    if (strcmp(topic->name, KAFKA_OFFSETS_TOPIC) == 0 && !kafka_topic_is_refused(node, topic))
        kafka_offsets_count(topic, &node->groups, &node->committed_offsets);
}

static bool is_left_out(const struct kafka_topic *topic, const struct kafka_node_options *options)
{
    for (uint32_t i = 0; i < array_count(kafkas_own); i++)
        if (strcmp(topic->name, kafkas_own[i]) == 0)
            return true;
    for (uint32_t i = 0; i < options->except_count; i++)
        if (strcmp(topic->name, options->except[i]) == 0)
            return true;
    return false;
}

static void check_except(struct kafka_node *node, const struct kafka_node_options *options)
{
    for (uint32_t i = 0; i < options->except_count; i++)
        if (!kafka_topic_find(&node->cluster, options->except[i]))
            kafka_refuse(node, NULL, "--except %s: there is no such topic", options->except[i]);
}

static void read_topics(struct kafka_node *node, const struct kafka_node_options *options)
{
    struct reading reading = {.node = node, .options = options};
    uint32_t count;
    struct kafka_topic **topics = kafka_topics_sorted(&node->cluster, &count);
    check_except(node, options);
    for (uint32_t i = 0; i < count; i++) {
        topics[i]->is_left_out = is_left_out(topics[i], options);
        if (!topics[i]->is_left_out)
            read_topic(&reading, topics[i]);
    }
    mem_free(topics);
}

static bool read_metadata(struct kafka_node *node, const struct kafka_node_options *options)
{
    node->kraft = node->meta.version == 1;
    kafka_cluster_init(&node->cluster, node->meta.node_id);
    if (node->kraft && options->zookeeper) {
        kafka_refuse(node, NULL, "--zookeeper: this Kafka keeps its metadata in %s/" KRAFT_FOLDER,
                     node->dirs[0]);
        return false;
    }
    if (node->kraft)
        return read_kraft(node);
    if (!options->zookeeper)
        return true; /* the folders tell of topics, and nobody of their settings */
    char sentence[320];
    node->settings_known = true;
    if (kafka_zookeeper_read(&node->cluster, options->zookeeper, node->meta.cluster_id, sentence,
                             sizeof(sentence)))
        return true;
    kafka_refuse(node, NULL, "ZooKeeper at %s: %s", options->zookeeper, sentence);
    return false;
}

bool kafka_node_at_rest(struct kafka_node *node)
{
    bool good = true;
    for (uint32_t i = 0; i < node->dir_count; i++)
        good = look_at_dir(node, node->dirs[i], i == 0) && good;
    return good;
}

void kafka_node_read(struct kafka_node *node, const char **dirs, uint32_t dir_count,
                     const struct kafka_node_options *options)
{
    *node = (struct kafka_node){.dirs = dirs, .dir_count = dir_count};
    if (!kafka_node_at_rest(node) || !read_metadata(node, options))
        return;
    for (uint32_t i = 0; i < dir_count; i++)
        list_folders(node, dirs[i]);
    read_topics(node, options);
}

void kafka_node_fini(struct kafka_node *node)
{
    kafka_cluster_fini(&node->cluster);
    kafka_marks_fini(&node->starts);
    kafka_marks_fini(&node->ends);
    mem_free(node->refusals);
}
