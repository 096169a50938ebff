/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/import/kafka_scan.h"

#include "core/record/record.h"
#include "io/mem.h"
#include "tools/millrace/import/kafka_text.h"
#include "tools/millrace/segment_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MARKER_BYTES_MAX (1U << 20)
#define MARKER_ABORT     0
#define MARKER_COMMIT    1

static bool refuse(struct kafka_scan *scan, const char *format, ...) printf_like(2, 3);

static bool refuse(struct kafka_scan *scan, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(scan->reason, sizeof(scan->reason), format, args);
    va_end(args);
    return false;
}

/* ---- which files ---- */

/* The base in a segment's name, -1: it is no segment. */
static int64_t base_of(const char *name)
{
    if (strlen(name) != 24 || strcmp(name + 20, ".log") != 0 || strspn(name, "0123456789") != 20)
        return -1;
    errno = 0;
    long long base = strtoll(name, NULL, 10);
    return errno == 0 ? base : -1;
}

static int by_base(const void *a, const void *b)
{
    const struct kafka_segment *left = a;
    const struct kafka_segment *right = b;
    return left->base < right->base ? -1 : left->base > right->base;
}

static bool list_segments(struct kafka_scan *scan, const char *directory)
{
    DIR *list = opendir(directory);
    const struct dirent *entry;
    bool good = true;
    if (!list)
        return refuse(scan, "%s cannot be read: %s", directory, strerror(errno));
    while (good && (entry = readdir(list))) {
        const char *dot = strrchr(entry->d_name, '.');
        int64_t base = base_of(entry->d_name);
        if (dot && strcmp(dot, ".swap") == 0)
            good = refuse(scan, "%s/%s is a compaction that was not finished", directory,
                          entry->d_name);
        if (base < 0)
            continue;
        scan->segments =
            mem_realloc(scan->segments, (scan->segment_count + 1) * sizeof(scan->segments[0]));
        scan->segments[scan->segment_count++] = (struct kafka_segment){.base = base};
    }
    (void)closedir(list);
    if (scan->segment_count > 1)
        qsort(scan->segments, scan->segment_count, sizeof(scan->segments[0]), by_base);
    return good && (scan->segment_count > 0 || refuse(scan, "%s holds no segment", directory));
}

uint64_t kafka_scan_size(const char *directory)
{
    DIR *list = opendir(directory);
    const struct dirent *entry;
    uint64_t size = 0;
    while (list && (entry = readdir(list))) {
        struct stat about;
        char *path = base_of(entry->d_name) >= 0 ? kafka_path(directory, entry->d_name) : NULL;
        if (path && stat(path, &about) == 0)
            size += (uint64_t)about.st_size;
        mem_free(path);
    }
    if (list)
        (void)closedir(list);
    return size;
}

/* ---- transactions ---- */

static struct kafka_open_transaction *open_find(const struct kafka_scan *scan, int64_t producer_id)
{
    struct kafka_open_transaction *open;
    HASH_FIND(hh, scan->open, &producer_id, sizeof(producer_id), open);
    return open;
}

static void take_transactional(struct kafka_scan *scan, const struct batch_header *header)
{
    scan->transactional++;
    if (open_find(scan, header->producer_id))
        return;
    struct kafka_open_transaction *open = mem_zalloc(sizeof(*open));
    open->producer_id = header->producer_id;
    open->first_offset = header->base_offset;
    HASH_ADD(hh, scan->open, producer_id, sizeof(open->producer_id), open);
}

static void take_end(struct kafka_scan *scan, const struct batch_header *header, bool aborted)
{
    struct kafka_open_transaction *open = open_find(scan, header->producer_id);
    if (!open)
        return; /* its data is gone */
    if (aborted) {
        if ((scan->aborted_count & (scan->aborted_count - 1)) == 0)
            scan->aborted =
                mem_realloc(scan->aborted, max_u64(2 * (uint64_t)scan->aborted_count, 1) *
                                               sizeof(scan->aborted[0]));
        scan->aborted[scan->aborted_count++] =
            (struct kafka_aborted){.producer_id = header->producer_id,
                                   .first_offset = open->first_offset,
                                   .last_offset = batch_last_offset(header)};
    }
    HASH_DELETE(hh, scan->open, open);
    mem_free(open);
}

/* The key of a marker: version i16, type i16. */
static int marker_type(const struct segment_file *segment)
{
    struct inflater inflater;
    struct record_iter iter;
    struct record record;
    int type = -1;
    inflater_init(&inflater);
    if (record_iter_init(&iter, &inflater, segment->batch, MARKER_BYTES_MAX)) {
        if (record_iter_next(&iter, &record) == RECORD_READY && record.key_len >= 4)
            type = record.key[2] << 8 | record.key[3];
        record_iter_fini(&iter);
    }
    inflater_fini(&inflater);
    return type;
}

static bool take_marker(struct kafka_scan *scan, const struct segment_file *segment)
{
    if (segment->header.record_count == 0)
        return true; /* a compaction has left its offsets only */
    int type = marker_type(segment);
    scan->markers++;
    if (type != MARKER_ABORT && type != MARKER_COMMIT)
        return refuse(scan,
                      "%s, position %llu: a control batch of a kind (%d) that has no place "
                      "in a topic's log",
                      segment->path, (unsigned long long)segment->at, type);
    take_end(scan, &segment->header, type == MARKER_ABORT);
    return true;
}

bool kafka_scan_is_aborted(const struct kafka_scan *scan, const struct batch_header *header)
{
    if (!(header->attributes & BATCH_TRANSACTIONAL) || (header->attributes & BATCH_CONTROL))
        return false;
    for (uint32_t i = 0; i < scan->aborted_count; i++) {
        const struct kafka_aborted *aborted = &scan->aborted[i];
        if (aborted->producer_id == header->producer_id &&
            aborted->first_offset <= header->base_offset &&
            header->base_offset <= aborted->last_offset)
            return true;
    }
    return false;
}

int64_t kafka_scan_open_from(const struct kafka_scan *scan, int64_t *producer_id)
{
    int64_t lowest = -1;
    for (const struct kafka_open_transaction *open = scan->open; open; open = open->hh.next) {
        if (lowest >= 0 && open->first_offset >= lowest)
            continue;
        lowest = open->first_offset;
        *producer_id = open->producer_id;
    }
    return lowest;
}

/* ---- batches ---- */

static void take_producer(struct kafka_scan *scan, const struct batch_header *header)
{
    scan->producer_id_max = max_i64(scan->producer_id_max, header->producer_id);
    if (header->producer_id < 0 || header->base_sequence < 0)
        return;
    const struct producer_batch batch = {
        .base_sequence = header->base_sequence,
        .last_sequence = producer_last_sequence(header->base_sequence, header->last_offset_delta),
        .base_offset = header->base_offset,
        .last_offset = batch_last_offset(header),
        .timestamp = header->max_timestamp,
    };
    producer_absorb(&scan->producers, header->producer_id, header->producer_epoch, &batch,
                    max_i64(header->max_timestamp, 0), log_config_default.producer_ids_max);
}

static bool take_batch(struct kafka_scan *scan, const struct segment_file *segment)
{
    const struct batch_header *header = &segment->header;
    if (header->record_count < 0)
        return refuse(scan, "%s, position %llu: a batch with fewer records than none",
                      segment->path, (unsigned long long)segment->at);
    if (header->leader_epoch < epoch_latest(&scan->epochs))
        return refuse(scan, "%s, position %llu: the leader epoch is below that of the batch before",
                      segment->path, (unsigned long long)segment->at);
    scan->batches++;
    epoch_assign(&scan->epochs, header->leader_epoch, header->base_offset);
    log_anchors_move(&scan->anchors, (uint32_t)segment->at);
    take_producer(scan, header);
    if (header->attributes & BATCH_CONTROL)
        return take_marker(scan, segment);
    scan->records += (uint64_t)header->record_count;
    if ((header->attributes & BATCH_TRANSACTIONAL) && header->record_count > 0)
        take_transactional(scan, header);
    return true;
}

static bool refuse_file(struct kafka_scan *scan, const struct segment_file *segment,
                        enum segment_next why)
{
    if (why == SEGMENT_UNREADABLE)
        return refuse(scan, "%s cannot be read at position %llu: %s", segment->path,
                      (unsigned long long)segment->at, segment->reason);
    if (segment->header.magic >= 0 && segment->header.magic < BATCH_MAGIC)
        return refuse(scan,
                      "%s, position %llu: %s; let Kafka 3 rewrite the topic: copy it into a new "
                      "one, or wait until its retention has removed the old segments",
                      segment->path, (unsigned long long)segment->at, segment->reason);
    return refuse(scan, "%s is damaged at position %llu: %s; restore it from a copy", segment->path,
                  (unsigned long long)segment->at, segment->reason);
}

static bool read_segment(struct kafka_scan *scan, struct kafka_segment *at, const char *directory)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)at->base);
    char *path = kafka_path(directory, name);
    struct segment_file segment;
    enum segment_next next = SEGMENT_UNREADABLE;
    bool good = true;
    scan->anchors = (struct log_anchors){0, 0};
    if (segment_file_open(&segment, path)) {
        if (segment.size > INT32_MAX)
            good = refuse(scan, "%s is larger than 2 GiB", path);
        while (good && (next = segment_file_next(&segment)) == SEGMENT_BATCH) {
            good = take_batch(scan, &segment);
            scan->end_offset = batch_last_offset(&segment.header) + 1;
            if (scan->on_progress)
                scan->on_progress(scan->user, (uint64_t)batch_size(&segment.header));
        }
    }
    if (good && next != SEGMENT_END)
        good = refuse_file(scan, &segment, next);
    at->bytes = segment.at;
    scan->bytes += at->bytes;
    segment_file_close(&segment);
    mem_free(path);
    return good;
}

void kafka_scan_read(struct kafka_scan *scan, const char *directory)
{
    scan->producer_id_max = -1;
    producer_state_init(&scan->producers, 0);
    if (!list_segments(scan, directory))
        return;
    for (uint32_t i = 0; i < scan->segment_count; i++) {
        struct kafka_segment *segment = &scan->segments[i];
        if (segment->base < scan->end_offset) {
            (void)refuse(scan,
                         "%s/%020lld.log begins below offset %lld, where the segment before "
                         "it ends; restore the folder from a copy",
                         directory, (long long)segment->base, (long long)scan->end_offset);
            return;
        }
        scan->end_offset = segment->base;
        if (!read_segment(scan, segment, directory))
            return;
    }
    uint32_t size = (uint32_t)scan->segments[scan->segment_count - 1].bytes;
    scan->anchor = log_anchor_of(&scan->anchors, size);
}

void kafka_scan_fini(struct kafka_scan *scan)
{
    struct kafka_open_transaction *open;
    struct kafka_open_transaction *following;
    HASH_ITER(hh, scan->open, open, following)
    {
        HASH_DELETE(hh, scan->open, open);
        mem_free(open);
    }
    epoch_fini(&scan->epochs);
    producer_state_fini(&scan->producers);
    mem_free(scan->aborted);
    mem_free(scan->segments);
    *scan = (struct kafka_scan){0};
}
