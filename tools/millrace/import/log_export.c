/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/log_export.h"

#include "io/fs.h"
#include "io/mem.h"
#include "io/threads.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INDEX_INTERVAL 4096U /* bytes of data between two entries, as Kafka has it */

static bool refuse(struct log_export *export, const char *format, ...) printf_like(2, 3);

static bool refuse(struct log_export *export, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(export->reason, sizeof(export->reason), format, args);
    va_end(args);
    return false;
}

/* ---- files ---- */

struct bytes_grown {
    uint8_t *data;
    size_t len;
    size_t room;
};

static uint8_t *grow(struct bytes_grown *bytes, size_t more)
{
    if (bytes->len + more > bytes->room) {
        bytes->room = 2 * bytes->room + more;
        bytes->data = mem_realloc(bytes->data, bytes->room);
    }
    bytes->len += more;
    return bytes->data + bytes->len - more;
}

static void put_be(struct bytes_grown *bytes, uint64_t value, size_t size)
{
    uint8_t *at = grow(bytes, size);
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static bool write_file(struct log_export *export, const char *folder, const char *name,
                       const void *data, size_t len)
{
    char *path = kafka_path(folder, name);
    struct fs *fs = fs_host();
    int64_t result = fs_open(fs, path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE);
    if (result >= 0) {
        int file = (int)result;
        result = len > 0 ? fs_write(fs, file, data, len, 0) : 0;
        if (result >= 0)
            result = fs_sync(fs, file);
        fs_close(fs, file);
    }
    bool good = result >= 0 || refuse(export, "cannot write %s: %s", path, strerror((int)-result));
    mem_free(path);
    return good;
}

/* ---- indexes of one segment ---- */

struct indexes {
    int64_t base;
    struct bytes_grown offsets;
    struct bytes_grown times;
    uint64_t since;        /* bytes since the last entry */
    int64_t max_timestamp; /* so far */
    int64_t max_offset;    /* of the batch that has it */
    int64_t told_timestamp;
};

static void put_time(struct indexes *indexes)
{
    if (indexes->max_timestamp <= indexes->told_timestamp)
        return;
    put_be(&indexes->times, (uint64_t)indexes->max_timestamp, 8);
    put_be(&indexes->times, (uint64_t)(indexes->max_offset - indexes->base), 4);
    indexes->told_timestamp = indexes->max_timestamp;
}

static void take_batch(struct indexes *indexes, const struct batch_header *header,
                       uint64_t position)
{
    int64_t last = batch_last_offset(header);
    if (indexes->since > INDEX_INTERVAL) {
        put_be(&indexes->offsets, (uint64_t)(last - indexes->base), 4);
        put_be(&indexes->offsets, position, 4);
        put_time(indexes);
        indexes->since = 0;
    }
    /* Kafka takes the time of records: one that compaction has left empty has none. */
    if (header->record_count > 0 && header->max_timestamp > indexes->max_timestamp) {
        indexes->max_timestamp = header->max_timestamp;
        indexes->max_offset = last;
    }
    indexes->since += (uint64_t)batch_size(header);
}

static bool read_indexes(struct log_export *export, const char *path, struct indexes *indexes)
{
    struct segment_file segment;
    enum segment_next next = SEGMENT_UNREADABLE;
    if (segment_file_open(&segment, path))
        while ((next = segment_file_next(&segment)) == SEGMENT_BATCH)
            take_batch(indexes, &segment.header, segment.at);
    bool good = next == SEGMENT_END || refuse(export, "%s, position %llu: %s", path,
                                              (unsigned long long)segment.at, segment.reason);
    put_time(indexes);
    segment_file_close(&segment);
    return good;
}

/* For each aborted transaction an offset below which no later one of the list begins: a reader that
 * has what he wants before it looks no further. */
static int64_t *stable_offsets(const struct kafka_scan *scan)
{
    int64_t *stable = mem_alloc((scan->aborted_count + 1) * sizeof(stable[0]));
    int64_t lowest = INT64_MAX;
    for (uint32_t i = scan->aborted_count; i-- > 0;) {
        stable[i] = min_i64(lowest, scan->aborted[i].last_offset + 1);
        lowest = min_i64(lowest, scan->aborted[i].first_offset);
    }
    return stable;
}

/* The aborted transactions that end in [base, end): version i16 and four numbers each. */
static void put_aborted(struct bytes_grown *bytes, const struct kafka_scan *scan, int64_t base,
                        int64_t end)
{
    int64_t *stable = stable_offsets(scan);
    for (uint32_t i = 0; i < scan->aborted_count; i++) {
        const struct kafka_aborted *aborted = &scan->aborted[i];
        if (aborted->last_offset < base || aborted->last_offset >= end)
            continue;
        put_be(bytes, 0, 2);
        put_be(bytes, (uint64_t)aborted->producer_id, 8);
        put_be(bytes, (uint64_t)aborted->first_offset, 8);
        put_be(bytes, (uint64_t)aborted->last_offset, 8);
        put_be(bytes, (uint64_t)stable[i], 8);
    }
    mem_free(stable);
}

static bool write_indexes(struct log_export *export, const char *folder, int64_t base,
                          const struct indexes *indexes, const struct bytes_grown *aborted)
{
    char name[40];
    (void)snprintf(name, sizeof(name), "%020lld.index", (long long)base);
    bool good = write_file(export, folder, name, indexes->offsets.data, indexes->offsets.len);
    (void)snprintf(name, sizeof(name), "%020lld.timeindex", (long long)base);
    good = good && write_file(export, folder, name, indexes->times.data, indexes->times.len);
    (void)snprintf(name, sizeof(name), "%020lld.txnindex", (long long)base);
    return good &&
           (aborted->len == 0 || write_file(export, folder, name, aborted->data, aborted->len));
}

static bool export_segment(struct log_export *export, const struct kafka_scan *scan, uint32_t at,
                           const char *folder)
{
    const struct kafka_segment *segment = &scan->segments[at];
    bool last = at + 1 == scan->segment_count;
    int64_t end = last ? scan->end_offset : scan->segments[at + 1].base;
    struct indexes indexes = {.base = segment->base, .max_timestamp = -1, .told_timestamp = -1};
    struct bytes_grown aborted = {0};
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)segment->base);
    char *from = kafka_path(export->from, name);
    char *to = kafka_path(folder, name);
    bool there = strcmp(from, to) == 0;
    int error = there ? 0 : import_file(export->ways, from, to, segment->bytes, false);
    bool good =
        error == 0 || refuse(export, "cannot copy %s to %s: %s", from, to, strerror(-error));
    put_aborted(&aborted, scan, segment->base, end);
    good = good && read_indexes(export, to, &indexes) &&
           write_indexes(export, folder, segment->base, &indexes, &aborted);
    export->segments++;
    export->bytes += segment->bytes;
    mem_free(indexes.offsets.data);
    mem_free(indexes.times.data);
    mem_free(aborted.data);
    mem_free(from);
    mem_free(to);
    return good;
}

/* ---- what stands beside them ---- */

static bool write_epochs(struct log_export *export, const struct kafka_scan *scan,
                         const char *folder)
{
    size_t room = 64 + (size_t)scan->epochs.count * 40;
    char *text = mem_alloc(room);
    size_t len = (size_t)snprintf(text, room, "0\n%u\n", scan->epochs.count);
    for (uint32_t i = 0; i < scan->epochs.count; i++)
        len += (size_t)snprintf(text + len, room - len, "%d %lld\n",
                                (int)scan->epochs.entries[i].epoch,
                                (long long)scan->epochs.entries[i].start_offset);
    bool good = write_file(export, folder, "leader-epoch-checkpoint", text, len);
    mem_free(text);
    return good;
}

static bool write_topic_id(struct log_export *export, const char *folder)
{
    char text[64];
    char id[UUID_TEXT_LEN + 1];
    uuid_text(&export->topic_id, id);
    int len = snprintf(text, sizeof(text), "version: 0\ntopic_id: %s", id);
    return write_file(export, folder, "partition.metadata", text, (size_t)len);
}

/* ---- a log ---- */

/* The segment that holds the log's start, or begins behind it. */
static uint32_t first_kept(const struct log_export *export, const struct kafka_scan *scan)
{
    uint32_t at = 0;
    while (at + 1 < scan->segment_count && scan->segments[at + 1].base <= export->start_offset)
        at++;
    return at;
}

static bool export_scan(struct log_export *export, const struct kafka_scan *scan,
                        const char *folder)
{
    struct fs *fs = fs_host();
    bool good = true;
    uint32_t first = first_kept(export, scan);
    export->first_offset = scan->segments[first].base;
    export->end_offset = scan->end_offset;
    export->records = scan->records;
    for (uint32_t i = first; good && i < scan->segment_count; i++)
        good = export_segment(export, scan, i, folder);
    good = good && write_epochs(export, scan, folder) && write_topic_id(export, folder);
    int result = good ? fs_sync_dir(fs, folder) : 0;
    if (good && result >= 0)
        result = fs_sync_dir(fs, export->to);
    return good &&
           (result >= 0 || refuse(export, "cannot flush %s: %s", folder, strerror(-result)));
}

char *log_export_folder(struct log_export *export)
{
    char name[LOG_TOPIC_MAX + 16];
    (void)snprintf(name, sizeof(name), "%s-%d", export->topic, (int)export->partition);
    char *folder = kafka_path(export->to, name);
    int result = access(folder, F_OK) == 0 ? -EEXIST : fs_mkdir(fs_host(), folder);
    if (result >= 0)
        return folder;
    (void)refuse(export, "cannot make %s: %s; remove it, or name another directory with --to",
                 folder, strerror(-result));
    mem_free(folder);
    return NULL;
}

/* A log of ours that holds nothing has no file; Kafka's has one. */
static bool export_nothing(struct log_export *export, const char *folder)
{
    const struct kafka_scan nothing = {0};
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)export->start_offset);
    export->first_offset = export->start_offset;
    export->end_offset = export->start_offset;
    export->segments = 1;
    int result = 0;
    bool good = write_file(export, folder, name, NULL, 0) &&
                write_epochs(export, &nothing, folder) && write_topic_id(export, folder);
    if (good)
        result = fs_sync_dir(fs_host(), folder);
    return good &&
           (result >= 0 || refuse(export, "cannot flush %s: %s", folder, strerror(-result)));
}

static bool export_into(struct log_export *export, const char *folder)
{
    struct kafka_scan scan = {0};
    if (export->is_empty)
        return export_nothing(export, folder);
    kafka_scan_read(&scan, export->from);
    bool good = scan.reason[0] == '\0' || refuse(export, "%s", scan.reason);
    good = good && export_scan(export, &scan, folder);
    kafka_scan_fini(&scan);
    return good;
}

bool log_export_write(struct log_export *export)
{
    char *folder = log_export_folder(export);
    bool good = folder && export_into(export, folder);
    mem_free(folder);
    return good;
}

bool log_export_finish(struct log_export *export)
{
    return export_into(export, export->from);
}

/* ---- told ---- */

static const struct column columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "first_offset", .title = "FIRST"},
    {.key = "end_offset", .title = "END"},
    {.key = "segments", .title = "SEGMENTS"},
    {.key = "bytes", .title = "BYTES", .unit = UNIT_BYTES},
    {.key = "topic_id", .title = "TOPIC ID", .wide = true},
};

struct listing *log_export_listing(const struct invocation *inv)
{
    return listing_open(inv, columns, array_count(columns));
}

json_t *log_export_row(const struct log_export *export)
{
    char id[UUID_TEXT_LEN + 1];
    uuid_text(&export->topic_id, id);
    return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "topic", export->topic,
                     "partition", (int)export->partition, "topic_id", id, "start_offset",
                     (json_int_t) export->start_offset, "first_offset",
                     (json_int_t) export->first_offset, "end_offset",
                     (json_int_t) export->end_offset, "segments", (json_int_t) export->segments,
                     "bytes", (json_int_t) export->bytes);
}
