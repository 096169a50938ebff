/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/import_take.h"

#include "core/log/log_import.h"
#include "core/metadata/metadata_log.h"
#include "core/metadata/metadata_seed.h"
#include "io/mem.h"
#include "io/threads.h"
#include "tools/millrace/import/data_directory.h"
#include "tools/millrace/import/import_origin.h"
#include "tools/millrace/import/import_report.h"
#include "tools/millrace/import/kafka_text.h"

#include <errno.h>
#include <fts.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTITIONS_RUN 16384U       /* in one metadata record */
#define PRODUCER_BLOCK 1000         /* ids that Kafka gives a broker at a time */
#define PRODUCER_SPARE 1000000      /* where it is not known how many it has given */
#define BATCH_ROOM     (256U << 10) /* records that go into one batch before the next begins */

struct taking {
    struct import_take *take;
    struct log_dir *dir;
    struct log_error error;
    struct kafka_topic **topics; /* those that are taken over, in order of name */
    uint32_t topic_count;
    struct uuid *ids; /* of the topics */
    struct log_import *logs;
    struct aborted_list *aborted; /* of the logs */
    uint32_t log_count;
    struct metadata_records *batches;
    uint32_t batch_count;
};

static bool failed(struct taking *taking, const char *format, ...) printf_like(2, 3);

static bool failed(struct taking *taking, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(taking->take->reason, sizeof(taking->take->reason), format, args);
    va_end(args);
    return false;
}

static bool failed_log(struct taking *taking)
{
    return failed(taking, "%s", taking->error.text);
}

static bool random_bytes(void *to, size_t size)
{
    return getrandom(to, size, 0) == (ssize_t)size;
}

/* ---- the directory ---- */

static bool open_dir(struct taking *taking, const char *path)
{
    const struct kafka_node *node = taking->take->node;
    struct log_dir_options options = data_directory_options(path);
    options.may_format = true;
    options.node_id = node->meta.node_id;
    (void)snprintf(options.cluster_id, sizeof(options.cluster_id), "%s", node->meta.cluster_id);
    if (!random_bytes(options.new_uuid, sizeof(options.new_uuid)))
        return failed(taking, "the machine gives no random numbers");
    taking->dir = log_dir_open(&options, &taking->error);
    return taking->dir || failed_log(taking);
}

/* ---- files ---- */

static bool take_file(struct taking *taking, const char *from_folder, const char *to_folder,
                      int64_t base, const char *suffix, int64_t bytes, bool is_closed)
{
    char name[40];
    (void)snprintf(name, sizeof(name), "%020lld%s", (long long)base, suffix);
    char *from = kafka_path(from_folder, name);
    char *to = kafka_path(to_folder, name);
    struct stat about;
    int error = 0;
    /* An index is a hint: without one the segment is walked. */
    bool wanted = bytes >= 0 || stat(from, &about) == 0;
    if (wanted)
        error = import_file(&taking->take->ways, from, to,
                            bytes >= 0 ? (uint64_t)bytes : (uint64_t)about.st_size, is_closed);
    bool good =
        error == 0 || failed(taking, "cannot take %s over to %s: %s", from, to, strerror(-error));
    mem_free(from);
    mem_free(to);
    return good;
}

static bool take_segments(struct taking *taking, const struct kafka_partition *partition,
                          const char *folder)
{
    const struct kafka_scan *scan = partition->scan;
    bool good = true;
    for (uint32_t i = 0; good && i < scan->segment_count; i++) {
        const struct kafka_segment *segment = &scan->segments[i];
        bool closed = i + 1 < scan->segment_count;
        good =
            take_file(taking, partition->directory, folder, segment->base, ".log",
                      (int64_t)segment->bytes, closed) &&
            take_file(taking, partition->directory, folder, segment->base, ".index", -1, false) &&
            take_file(taking, partition->directory, folder, segment->base, ".timeindex", -1, false);
        taking->take->segments++;
    }
    int result = good ? fs_sync_dir(taking->dir->fs, folder) : 0;
    return good &&
           (result >= 0 || failed(taking, "cannot flush %s: %s", folder, strerror(-result)));
}

static struct aborted_list aborted_of_scan(const struct kafka_scan *scan)
{
    struct aborted_transaction *items = mem_alloc((scan->aborted_count + 1) * sizeof(items[0]));
    for (uint32_t i = 0; i < scan->aborted_count; i++)
        items[i] = (struct aborted_transaction){.producer_id = scan->aborted[i].producer_id,
                                                .first_offset = scan->aborted[i].first_offset,
                                                .last_offset = scan->aborted[i].last_offset};
    return aborted_of(items, scan->aborted_count);
}

static bool take_partition(struct taking *taking, uint32_t topic, uint32_t number)
{
    const struct kafka_partition *partition = &taking->topics[topic]->partitions[number];
    const struct kafka_scan *scan = partition->scan;
    struct log_import *log = &taking->logs[taking->log_count];
    struct log_import_segment *segments = mem_zalloc(scan->segment_count * sizeof(segments[0]));
    for (uint32_t i = 0; i < scan->segment_count; i++)
        segments[i] = (struct log_import_segment){.base = scan->segments[i].base,
                                                  .bytes = (uint32_t)scan->segments[i].bytes};
    taking->aborted[taking->log_count] = aborted_of_scan(scan);
    *log = (struct log_import){
        .id = {.partition = (int32_t)number},
        .topic = taking->topics[topic]->name,
        .start_offset = partition->start_offset,
        .end_offset = scan->end_offset,
        .segments = segments,
        .segment_count = scan->segment_count,
        .anchor = scan->anchor,
        .epochs = &scan->epochs,
        .producers = &scan->producers,
        .aborted = &taking->aborted[taking->log_count],
    };
    memcpy(log->id.topic_id, taking->ids[topic].bytes, sizeof(log->id.topic_id));
    taking->log_count++;
    if (scan->aborted_count > ABORTED_MAX)
        return failed(taking, "%s-%u has more aborted transactions than %u", log->topic, number,
                      ABORTED_MAX);
    char *folder = log_import_folder(taking->dir, log, &taking->error);
    if (!folder)
        return failed_log(taking);
    bool good = take_segments(taking, partition, folder);
    mem_free(folder);
    return good;
}

static bool take_topics(struct taking *taking)
{
    for (uint32_t i = 0; i < taking->topic_count; i++)
        for (uint32_t p = 0; p < taking->topics[i]->partition_count; p++)
            if (!take_partition(taking, i, p))
                return false;
    return true;
}

/* ---- metadata ---- */

static void record(struct taking *taking, const struct metadata_record *record)
{
    struct metadata_records *batch =
        taking->batch_count > 0 ? &taking->batches[taking->batch_count - 1] : NULL;
    if (!batch || batch->length > BATCH_ROOM) {
        taking->batches =
            mem_realloc(taking->batches, (taking->batch_count + 1) * sizeof(taking->batches[0]));
        batch = &taking->batches[taking->batch_count++];
        *batch = (struct metadata_records){0};
    }
    metadata_records_add(batch, record);
}

/* The metadata must know the directory; the broker that comes replaces what is said here. */
static void record_broker(struct taking *taking)
{
    int32_t node = taking->take->node->meta.node_id;
    struct metadata_broker_up up = {.id = node, .rack = str_null(), .version = str_null()};
    memcpy(up.directory.bytes, taking->dir->uuid, sizeof(up.directory.bytes));
    record(taking, &(struct metadata_record){.kind = METADATA_BROKER_UP, .broker_up = up});
    record(taking,
           &(struct metadata_record){.kind = METADATA_BROKER_DOWN, .broker_down = {.id = node}});
}

static void record_partitions(struct taking *taking, uint32_t topic)
{
    const struct kafka_topic *from = taking->topics[topic];
    int32_t node = taking->take->node->meta.node_id;
    int32_t *replicas = mem_alloc(PARTITIONS_RUN * sizeof(replicas[0]));
    for (uint32_t i = 0; i < PARTITIONS_RUN; i++)
        replicas[i] = node;
    for (uint32_t first = 0; first < from->partition_count; first += PARTITIONS_RUN)
        record(taking, &(struct metadata_record){
                           .kind = METADATA_PARTITIONS,
                           .partitions = {.topic_id = taking->ids[topic],
                                          .first = (int32_t)first,
                                          .count = (uint32_t)min_u64(PARTITIONS_RUN,
                                                                     from->partition_count - first),
                                          .replica_count = 1,
                                          .replicas = replicas}});
    for (uint32_t i = 0; i < from->partition_count; i++)
        record(taking, &(struct metadata_record){
                           .kind = METADATA_PARTITION_CHANGE,
                           .partition_change = {.topic_id = taking->ids[topic],
                                                .partition = (int32_t)i,
                                                .leader = -1,
                                                .leader_epoch = from->partitions[i].leader_epoch,
                                                .replicas = replicas,
                                                .isr = replicas,
                                                .replica_count = 1,
                                                .isr_count = 1}});
    mem_free(replicas);
}

static void record_settings(struct taking *taking, uint32_t topic)
{
    const struct kafka_settings *from = &taking->topics[topic]->settings;
    struct metadata_setting *settings = mem_alloc((from->count + 1) * sizeof(settings[0]));
    char **texts = mem_alloc((from->count + 1) * sizeof(char *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        texts[count] = import_setting(&from->items[i]);
        if (!texts[count])
            continue;
        settings[count] = (struct metadata_setting){.name = str_of(from->items[i].name),
                                                    .value = str_of(texts[count])};
        count++;
    }
    if (count > 0)
        record(taking, &(struct metadata_record){.kind = METADATA_CONFIG,
                                                 .config = {.resource = METADATA_RESOURCE_TOPIC,
                                                            .topic_id = taking->ids[topic],
                                                            .broker_id = -1,
                                                            .settings = settings,
                                                            .setting_count = count}});
    while (count > 0)
        mem_free(texts[--count]);
    mem_free(texts);
    mem_free(settings);
}

/* Ids that Kafka has given to producers are never given again: somebody may still use one. */
static void record_producer_ids(struct taking *taking)
{
    const struct kafka_cluster *cluster = &taking->take->node->cluster;
    int64_t next = 0;
    for (uint32_t i = 0; i < taking->topic_count; i++)
        for (uint32_t p = 0; p < taking->topics[i]->partition_count; p++)
            next = max_i64(next, taking->topics[i]->partitions[p].scan->producer_id_max + 1);
    next = (next / PRODUCER_BLOCK + 1) * PRODUCER_BLOCK;
    if (cluster->producer_id_next < 0)
        next += PRODUCER_SPARE;
    record(taking, &(struct metadata_record){
                       .kind = METADATA_PRODUCER_IDS,
                       .producer_ids = {.broker_id = -1,
                                        .first = max_i64(next, cluster->producer_id_next)}});
}

static bool write_metadata(struct taking *taking)
{
    record_broker(taking);
    for (uint32_t i = 0; i < taking->topic_count; i++) {
        record(taking, &(struct metadata_record){
                           .kind = METADATA_TOPIC_CREATE,
                           .topic_create = {.id = taking->ids[i],
                                            .name = str_of(taking->topics[i]->name)}});
        record_partitions(taking, i);
        record_settings(taking, i);
    }
    record_producer_ids(taking);
    char *path = kafka_path(taking->dir->path, "metadata");
    struct metadata_seed seed = {.fs = taking->dir->fs,
                                 .directory = path,
                                 .cluster_id = taking->take->node->meta.cluster_id};
    memcpy(seed.uuid, taking->dir->uuid, sizeof(seed.uuid));
    bool good = (random_bytes(&seed.nonce, sizeof(seed.nonce)) ||
                 failed(taking, "the machine gives no random numbers")) &&
                (metadata_seed_write(&seed, taking->batches, taking->batch_count, &taking->error) ||
                 failed_log(taking));
    mem_free(path);
    return good;
}

/* ---- all of it ---- */

static bool choose_topics(struct taking *taking)
{
    uint32_t all;
    uint32_t logs = 0;
    taking->topics = kafka_topics_sorted(&taking->take->node->cluster, &all);
    taking->ids = mem_zalloc((all + 1) * sizeof(taking->ids[0]));
    for (uint32_t i = 0; i < all; i++) {
        struct kafka_topic *topic = taking->topics[i];
        if (!import_takes(taking->take->node, topic))
            continue;
        uint64_t random[2];
        if (!random_bytes(random, sizeof(random)))
            return failed(taking, "the machine gives no random numbers");
        taking->ids[taking->topic_count] =
            uuid_is_zero(&topic->id) ? uuid_of_random(random[0], random[1]) : topic->id;
        taking->topics[taking->topic_count++] = topic;
        logs += topic->partition_count;
    }
    taking->logs = mem_zalloc((logs + 1) * sizeof(taking->logs[0]));
    taking->aborted = mem_zalloc((logs + 1) * sizeof(taking->aborted[0]));
    taking->take->topics = taking->topic_count;
    taking->take->partitions = logs;
    return true;
}

/* What was written is what a start would find. */
static bool look_back(struct taking *taking)
{
    if (!log_dir_look(taking->dir, &taking->error))
        return failed_log(taking);
    return taking->dir->recovered_count == taking->log_count ||
           failed(taking, "of %u logs only %u came back", taking->log_count,
                  taking->dir->recovered_count);
}

static void taking_fini(struct taking *taking)
{
    if (taking->dir)
        log_dir_close(taking->dir);
    for (uint32_t i = 0; i < taking->log_count; i++) {
        aborted_fini(&taking->aborted[i]);
        mem_free(no_const(taking->logs[i].segments));
    }
    for (uint32_t i = 0; i < taking->batch_count; i++)
        metadata_records_fini(&taking->batches[i]);
    mem_free(taking->batches);
    mem_free(taking->logs);
    mem_free(taking->aborted);
    mem_free(taking->ids);
    mem_free(taking->topics);
}

/* Its files are ours or second names. */
static void remove_all(const char *path)
{
    char *paths[] = {no_const(path), NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    const FTSENT *entry;
    while (walk && (entry = fts_read(walk)))
        if (entry->fts_info != FTS_D)
            (void)!remove(entry->fts_accpath);
    if (walk)
        fts_close(walk);
}

static bool check_place(struct taking *taking, const char *aside)
{
    struct stat about;
    struct uuid id;
    const char *cluster = taking->take->node->meta.cluster_id;
    if (stat(aside, &about) == 0)
        return failed(taking,
                      "%s is there: an import that was not finished has left it; remove it, and "
                      "try again",
                      aside);
    if (stat(taking->take->data_dir, &about) == 0 && rmdir(taking->take->data_dir) != 0)
        return failed(taking, "%s is there, and is no empty directory; name a new one",
                      taking->take->data_dir);
    return uuid_of_text(&id, cluster, strlen(cluster)) ||
           failed(taking,
                  "the cluster id %s is not of the form that Kafka gives (22 characters); Millrace "
                  "could not keep it",
                  cluster);
}

static bool give_name(struct taking *taking, const char *aside)
{
    const char *to = taking->take->data_dir;
    char *parent = kafka_path(to, "..");
    struct fs *fs = fs_host();
    int result = fs_rename(fs, aside, to);
    if (result >= 0)
        result = fs_sync_dir(fs, parent);
    mem_free(parent);
    return result >= 0 ||
           failed(taking, "cannot rename %s to %s: %s", aside, to, strerror(-result));
}

static bool write_origin(struct taking *taking, const char *directory)
{
    int error = import_origin_write(taking->take->node, directory);
    return error >= 0 ||
           failed(taking, "cannot write %s/" IMPORT_ORIGIN ": %s", directory, strerror(-error));
}

bool import_take(struct import_take *take)
{
    struct taking taking = {.take = take};
    size_t size = strlen(take->data_dir) + sizeof(".import");
    char *aside = mem_alloc(size);
    size_t len = strlen(take->data_dir);
    while (len > 1 && take->data_dir[len - 1] == '/')
        len--;
    (void)snprintf(aside, size, "%.*s.import", (int)len, take->data_dir);
    bool ours = check_place(&taking, aside);
    bool good = ours && open_dir(&taking, aside) && choose_topics(&taking) &&
                take_topics(&taking) &&
                (log_import_all(taking.dir, taking.logs, taking.log_count, &taking.error) ||
                 failed_log(&taking)) &&
                write_metadata(&taking) && look_back(&taking) && write_origin(&taking, aside);
    taking_fini(&taking);
    good = good && give_name(&taking, aside);
    if (ours && !good)
        remove_all(aside);
    mem_free(aside);
    return good;
}
