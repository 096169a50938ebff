/* SPDX-License-Identifier: Apache-2.0
 *
 * Where in a segment offsets and times are, about: two sparse indexes, of offsets and of the
 * maximum timestamp so far. Each is bounded: when it is full every other entry goes and the
 * interval doubles. They are filled by appends and by readers that walk where nothing is known,
 * and they are what a closed segment's .index and .timeindex (Kafka's formats) hold.
 *
 * An entry of the time index says that no batch before the named one reaches its timestamp, so a
 * search begins there. That is true of the segment's whole beginning or not at all: `upto` says how
 * far the batches have been seen one after another, and only what comes at `upto` counts. A process
 * that meets a segment of an earlier one knows nothing (upto 0) until somebody asks for a time.
 *
 * Files are hints. They carry no checksum and are not flushed, an old one may lie beside a log that
 * was cut meanwhile, so nothing they say is believed before a batch says the same: who walks from
 * an entry must meet the batch it names, with that timestamp and less before it. Else the file's
 * word is forgotten, the walk begins at the segment's beginning, and a closed segment gets a new
 * file.
 */
#include "core/log/segment_index.h"

#include "core/log/file_job.h"
#include "core/log/log_private.h"
#include "core/record/batch.h"

#include <endian.h>
#include <errno.h>

#define SEGMENT_INDEX_MAX 2048U

#define LOAD_BYTES         (64U << 10) /* of a smaller segment nobody reads an index */
#define INDEX_ENTRY_SIZE   8U
#define TIME_ENTRY_SIZE    12U
#define INDEX_INTERVAL_MAX (1U << 30)
/* Kafka writes an entry each 4 KiB. */
#define FILE_ENTRIES_MAX (512U << 10)

static uint32_t entries_max(const struct segment *segment, uint32_t entry_size)
{
    uint32_t bytes = segment->lg->config.index_bytes;
    return (uint32_t)min_u64(SEGMENT_INDEX_MAX, max_u64(2, bytes / entry_size));
}

static uint32_t interval_doubled(uint32_t interval)
{
    return (uint32_t)min_u64(interval * 2ULL, INDEX_INTERVAL_MAX);
}

/* ---- offsets ---- */

static void index_thin(struct segment *segment)
{
    for (uint32_t i = 0; i * 2 < segment->index_count; i++)
        segment->index[i] = segment->index[(size_t)i * 2];
    segment->index_count = (segment->index_count + 1) / 2;
    segment->index_interval = interval_doubled(segment->index_interval);
}

/* Index of the first entry whose offset is above `relative`. */
static uint32_t index_above(const struct segment *segment, uint32_t relative)
{
    uint32_t low = 0;
    uint32_t high = segment->index_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->index[middle].relative_offset <= relative)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void index_add(struct segment *segment, uint32_t relative, uint32_t position,
                      uint32_t interval)
{
    segment->index_interval = (uint32_t)max_u64(segment->index_interval, max_u64(interval, 1));
    uint32_t at = index_above(segment, relative);
    uint32_t before = at > 0 ? segment->index[at - 1].position : 0;
    if (position - before < segment->index_interval || position <= before)
        return;
    if (at < segment->index_count &&
        segment->index[at].position - position < segment->index_interval)
        return;
    if (segment->index_count >= entries_max(segment, INDEX_ENTRY_SIZE)) {
        index_thin(segment);
        return;
    }
    if (segment->index_count == segment->index_size) {
        segment->index_size = segment->index_size == 0 ? 16 : segment->index_size * 2;
        segment->index =
            mem_realloc(segment->index, segment->index_size * sizeof(segment->index[0]));
    }
    memmove(segment->index + at + 1, segment->index + at,
            (segment->index_count - at) * sizeof(segment->index[0]));
    segment->index[at] = (struct index_entry){.relative_offset = relative, .position = position};
    segment->index_count++;
}

struct index_entry segment_index_find(const struct segment *segment, int64_t offset)
{
    int64_t relative = offset - segment->base;
    if (relative < 0)
        return (struct index_entry){0};
    uint32_t at =
        relative > UINT32_MAX ? segment->index_count : index_above(segment, (uint32_t)relative);
    return at > 0 ? segment->index[at - 1] : (struct index_entry){0};
}

const struct index_entry *segment_index_after(const struct segment *segment, uint32_t position)
{
    uint32_t low = 0;
    uint32_t high = segment->index_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->index[middle].position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < segment->index_count ? &segment->index[low] : NULL;
}

void segment_index_disown(struct segment *segment, uint32_t position)
{
    for (uint32_t i = 0; i < segment->index_count; i++) {
        if (segment->index[i].position != position)
            continue;
        segment->index_count--;
        memmove(segment->index + i, segment->index + i + 1,
                (segment->index_count - i) * sizeof(segment->index[0]));
        return;
    }
}

/* ---- times ---- */

static void times_push(struct segment *segment, const struct time_entry *entry)
{
    struct segment_times *times = &segment->times;
    if (entry->timestamp < 0 ||
        (times->count > 0 && entry->timestamp <= times->entries[times->count - 1].timestamp))
        return;
    if (times->count >= entries_max(segment, TIME_ENTRY_SIZE)) {
        for (uint32_t i = 0; i * 2 < times->count; i++)
            times->entries[i] = times->entries[(size_t)i * 2];
        times->count = (times->count + 1) / 2;
        times->interval = interval_doubled(times->interval);
    }
    if (times->count == times->size) {
        times->size = times->size == 0 ? 16 : times->size * 2;
        times->entries = mem_realloc(times->entries, times->size * sizeof(times->entries[0]));
    }
    times->entries[times->count++] = *entry;
}

static struct time_entry times_newest(const struct segment *segment)
{
    const struct segment_times *times = &segment->times;
    return (struct time_entry){.timestamp = times->max_timestamp,
                               .relative_offset = times->max_relative_offset,
                               .position = times->max_range.position};
}

void segment_times_drop(struct segment *segment)
{
    struct segment_times *times = &segment->times;
    times->count = 0;
    times->looked = 0;
    times->upto = 0;
    times->max_timestamp = INT64_MIN;
    times->max_range = (struct log_range){0};
    times->claimed = false;
    times->unsaved = true;
}

/* The entries are all that is known: everything before the last one's batch is accounted for. */
static void times_claim(struct segment *segment)
{
    struct segment_times *times = &segment->times;
    const struct time_entry *last = &times->entries[times->count - 1];
    times->claimed = true;
    times->claim = *last;
    times->looked = last->position;
    times->upto = last->position;
    times->max_timestamp = times->count > 1 ? last[-1].timestamp : INT64_MIN;
    times->max_range = (struct log_range){0};
}

/* Without records no time either: compaction leaves such batches. */
static int64_t time_of(const struct batch_header *header)
{
    return header->record_count > 0 ? header->max_timestamp : INT64_MIN;
}

/* May this batch stand where a file says that the batch of `claim` is the first with its timestamp?
 * *met: it is that one. */
static bool claim_holds(const struct time_entry *claim, uint32_t relative, int64_t timestamp,
                        bool *met)
{
    *met = relative == claim->relative_offset && timestamp == claim->timestamp;
    return *met || (relative < claim->relative_offset && timestamp < claim->timestamp);
}

bool segment_time_claim_holds(const struct segment *segment, const struct time_entry *claim,
                              const struct batch_header *header, bool *met)
{
    return claim_holds(claim, (uint32_t)(batch_last_offset(header) - segment->base),
                       time_of(header), met);
}

static bool times_noted(struct segment *segment, const struct batch_header *header,
                        uint32_t position, uint32_t interval)
{
    struct segment_times *times = &segment->times;
    const uint32_t relative = (uint32_t)(batch_last_offset(header) - segment->base);
    const uint32_t length = (uint32_t)batch_size(header);
    const int64_t time = time_of(header);
    if (position != times->upto)
        return true;
    bool met = false;
    if (times->claimed && !claim_holds(&times->claim, relative, time, &met)) {
        segment_times_drop(segment);
        return false;
    }
    times->claimed = times->claimed && !met;
    if (time > times->max_timestamp) {
        times->max_timestamp = time;
        times->max_relative_offset = relative;
        times->max_range = (struct log_range){.base_offset = header->base_offset,
                                              .segment_base = segment->base,
                                              .segment_version = segment->version,
                                              .position = position,
                                              .length = length};
    }
    times->upto = position + length;
    times->interval = (uint32_t)max_u64(times->interval, max_u64(interval, 1));
    if (!times->claimed && position - times->looked >= times->interval) {
        struct time_entry newest = times_newest(segment);
        if (io_mutation(segment->lg->ls->io, "index.time_of_any_batch"))
            newest = (struct time_entry){time, relative, position};
        times->looked = position;
        times_push(segment, &newest);
    }
    return true;
}

bool segment_noted(struct segment *segment, const struct batch_header *header, uint32_t position,
                   uint32_t interval)
{
    if (position == 0)
        segment->first_timestamp = time_of(header);
    index_add(segment, (uint32_t)(batch_last_offset(header) - segment->base), position, interval);
    return times_noted(segment, header, position, interval);
}

const struct time_entry *segment_time_find(const struct segment *segment, int64_t timestamp,
                                           int64_t upto_offset)
{
    const struct segment_times *times = &segment->times;
    uint32_t low = 0;
    uint32_t high = times->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct time_entry *entry = &times->entries[middle];
        if (entry->timestamp <= timestamp && segment->base + entry->relative_offset < upto_offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &times->entries[low - 1] : NULL;
}

/* ---- both ---- */

void segment_index_cut(struct segment *segment, uint32_t position)
{
    struct segment_times *times = &segment->times;
    while (segment->index_count > 0 &&
           segment->index[segment->index_count - 1].position >= position)
        segment->index_count--;
    while (times->count > 0 && times->entries[times->count - 1].position >= position)
        times->count--;
    if (times->upto > position) {
        if (times->count > 0)
            times_claim(segment);
        else
            segment_times_drop(segment);
    }
    segment->index_asked = true; /* what the files say is old */
}

void segment_index_forget(struct segment *segment)
{
    if (!segment_times_known(segment))
        segment_times_drop(segment);
    mem_free(segment->index);
    segment->index = NULL;
    segment->index_count = 0;
    segment->index_size = 0;
    mem_free(segment->times.entries);
    segment->times.entries = NULL;
    segment->times.count = 0;
    segment->times.size = 0;
    segment->index_asked = false;
}

/* ---- files ---- */

/* Not flushed: nothing is lost with it. */
static int64_t file_write(struct fs *fs, const char *path, const uint8_t *bytes, size_t size)
{
    int64_t result = fs_open(fs, path, FS_WRITE | FS_CREATE);
    if (result < 0)
        return result;
    int file = (int)result;
    result = fs_truncate(fs, file, 0);
    if (result >= 0 && size > 0)
        result = fs_write(fs, file, bytes, size, 0);
    fs_close(fs, file);
    return result;
}

uint8_t *segment_index_file(struct fs *fs, const char *path, size_t entry_size, uint32_t *count)
{
    *count = 0;
    int64_t result = fs_open(fs, path, FS_READ);
    if (result < 0)
        return NULL;
    int file = (int)result;
    result = fs_size(fs, file);
    uint32_t entries =
        (uint32_t)min_u64((uint64_t)max_i64(result, 0) / entry_size, FILE_ENTRIES_MAX);
    uint8_t *bytes = mem_zalloc(entries * entry_size + 1);
    if (fs_read(fs, file, bytes, entries * entry_size, 0) == (int64_t)(entries * entry_size))
        *count = entries;
    fs_close(fs, file);
    return bytes;
}

static uint32_t be32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static void put_be32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

/* Kafka's format: big-endian relative offset and position, entries only. */
static void index_read(struct file_job *job)
{
    uint32_t count;
    char *path = file_job_path(job, ".index");
    uint8_t *bytes = segment_index_file(job->fs, path, INDEX_ENTRY_SIZE, &count);
    job->index = mem_zalloc(count * sizeof(job->index[0]) + 1);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = bytes + (size_t)i * INDEX_ENTRY_SIZE;
        struct index_entry entry = {.relative_offset = be32_at(at), .position = be32_at(at + 4)};
        if (entry.position == 0 ||
            (kept > 0 && (entry.position <= job->index[kept - 1].position ||
                          entry.relative_offset <= job->index[kept - 1].relative_offset)))
            continue;
        job->index[kept++] = entry;
    }
    job->index_count = kept;
    mem_free(bytes);
    mem_free(path);
}

/* Kafka's format: big-endian timestamp and relative offset. The positions come from the other
 * index. One entry out of order, and none is believed. */
static void times_read(struct file_job *job)
{
    uint32_t count;
    char *path = file_job_path(job, ".timeindex");
    uint8_t *bytes = segment_index_file(job->fs, path, TIME_ENTRY_SIZE, &count);
    job->times = mem_zalloc(count * sizeof(job->times[0]) + 1);
    uint32_t at_index = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = bytes + (size_t)i * TIME_ENTRY_SIZE;
        struct time_entry *entry = &job->times[i];
        entry->timestamp = (int64_t)((uint64_t)be32_at(at) << 32 | be32_at(at + 4));
        entry->relative_offset = be32_at(at + 8);
        if (entry->timestamp < 0 ||
            (i > 0 && (entry->timestamp <= entry[-1].timestamp ||
                       entry->relative_offset <= entry[-1].relative_offset))) {
            count = 0;
            break;
        }
        while (at_index < job->index_count &&
               job->index[at_index].relative_offset <= entry->relative_offset)
            at_index++;
        entry->position = at_index > 0 ? job->index[at_index - 1].position : 0;
    }
    job->times_count = count;
    mem_free(bytes);
    mem_free(path);
}

int64_t segment_index_read(struct file_job *job)
{
    index_read(job);
    times_read(job);
    return 0;
}

/* What a file holds before the entries of this process, of which it knows nothing. */
static void index_prepend(struct file_job *job)
{
    struct file_job old = {.fs = job->fs, .directory = job->directory, .base = job->base};
    index_read(&old);
    uint32_t kept = 0;
    while (kept < old.index_count &&
           (job->index_count == 0 ||
            (old.index[kept].position < job->index[0].position &&
             old.index[kept].relative_offset < job->index[0].relative_offset)))
        kept++;
    old.index = mem_realloc(old.index, (kept + job->index_count) * sizeof(old.index[0]) + 1);
    if (job->index_count > 0)
        memcpy(old.index + kept, job->index, job->index_count * sizeof(old.index[0]));
    mem_free(job->index);
    job->index = old.index;
    job->index_count += kept;
}

static int64_t index_write(const struct file_job *job)
{
    size_t size = (size_t)job->index_count * INDEX_ENTRY_SIZE;
    uint8_t *bytes = mem_zalloc(size + 1);
    for (uint32_t i = 0; i < job->index_count; i++) {
        uint8_t *at = bytes + (size_t)i * INDEX_ENTRY_SIZE;
        put_be32(at, job->index[i].relative_offset);
        put_be32(at + 4, job->index[i].position);
    }
    char *path = file_job_path(job, ".index");
    int64_t result = file_write(job->fs, path, bytes, size);
    mem_free(path);
    mem_free(bytes);
    return result;
}

static int64_t times_write(const struct file_job *job)
{
    size_t size = (size_t)job->times_count * TIME_ENTRY_SIZE;
    uint8_t *bytes = mem_zalloc(size + 1);
    for (uint32_t i = 0; i < job->times_count; i++) {
        uint8_t *at = bytes + (size_t)i * TIME_ENTRY_SIZE;
        put_be32(at, (uint32_t)((uint64_t)job->times[i].timestamp >> 32));
        put_be32(at + 4, (uint32_t)job->times[i].timestamp);
        put_be32(at + 8, job->times[i].relative_offset);
    }
    char *path = file_job_path(job, ".timeindex");
    int64_t result = file_write(job->fs, path, bytes, size);
    mem_free(path);
    mem_free(bytes);
    return result;
}

int64_t segment_index_write(struct file_job *job)
{
    if (job->index_begins_late)
        index_prepend(job);
    int64_t result = index_write(job);
    if (result >= 0 && !job->times_unknown)
        result = times_write(job);
    return result == -ENOSPC ? 0 : result; /* a hint is not worth the directory */
}

void segment_index_unlink(const struct file_job *job)
{
    static const char *const suffixes[] = {".index", ".timeindex"};
    for (unsigned i = 0; i < array_count(suffixes); i++) {
        char *path = file_job_path(job, suffixes[i]);
        (void)!fs_unlink(job->fs, path);
        mem_free(path);
    }
}

/* ---- jobs ---- */

/* A missing or odd file is no error: readers walk instead. */
static void on_loaded(struct file_job *job)
{
    struct segment *segment = job->segment;
    struct segment_times *times = &segment->times;
    for (uint32_t i = 0; i < job->index_count && !segment->doomed; i++) {
        if (job->index[i].position < segment->size)
            index_add(segment, job->index[i].relative_offset, job->index[i].position, 1);
    }
    bool fits =
        job->times_count > 0 && job->times[job->times_count - 1].position < segment->size &&
        segment->base + job->times[job->times_count - 1].relative_offset < segment->end_offset;
    if (!segment->doomed && times->count == 0 && fits) {
        for (uint32_t i = 0; i < job->times_count; i++)
            times_push(segment, &job->times[i]);
        if (times->upto <= times->entries[times->count - 1].position)
            times_claim(segment);
    } else if (!fits) {
        if (times->count == 0)
            segment_times_drop(segment); /* a walk finds them again */
        times->unsaved = true;
    }
    if (!segment->doomed && !io_mutation(job->ls->io, "writer.forgotten_by_index_job"))
        writer_want(
            job->lg); /* a segment has one job at a time: the writer may have come in vain */
    job->ls->reads_again = true;
    log_shard_kick(job->ls);
}

bool segment_index_load(struct segment *segment)
{
    if (segment->job != NULL && segment->job->kind == JOB_INDEX)
        return true;
    if (segment->index_asked || segment->size < LOAD_BYTES || segment->job != NULL ||
        segment->swapping)
        return false;
    segment->index_asked = true;
    file_job_start(file_job_new(segment->lg->ls, JOB_INDEX, segment->lg, segment, on_loaded));
    return true;
}

void segment_index_save(struct segment *segment, struct file_job *job)
{
    struct segment_times *times = &segment->times;
    job->index_begins_late = !segment->index_asked;
    job->index_count = segment->index_count;
    job->index = mem_zalloc(segment->index_count * sizeof(job->index[0]) + 1);
    if (segment->index_count > 0)
        memcpy(job->index, segment->index, segment->index_count * sizeof(job->index[0]));
    job->times_unknown = !segment_times_known(segment);
    times->unsaved = job->times_unknown;
    if (job->times_unknown)
        return;
    /* The last entry is the segment's maximum. */
    const struct time_entry newest = times_newest(segment);
    times_push(segment, &newest);
    job->times_count = times->count;
    job->times = mem_zalloc(times->count * sizeof(job->times[0]) + 1);
    if (times->count > 0)
        memcpy(job->times, times->entries, times->count * sizeof(job->times[0]));
}

static void on_rewritten(struct file_job *job)
{
    if (job->result < 0)
        log_shard_fail(job->ls, "write an index in", job->directory, job->result);
    else if (!job->segment->doomed)
        writer_want(job->lg);
    job->ls->reads_again = true;
    log_shard_kick(job->ls);
}

void segment_index_rewrite(struct segment *segment)
{
    struct log_shard *ls = segment->lg->ls;
    if (!segment->times.unsaved || segment->job != NULL || segment->swapping || segment->replaced ||
        segment->size < LOAD_BYTES || !segment_times_known(segment) || ls->offline)
        return;
    struct file_job *job = file_job_new(ls, JOB_INDEX_WRITE, segment->lg, segment, on_rewritten);
    job->verb = "write";
    segment_index_save(segment, job);
    file_job_start(job);
}
