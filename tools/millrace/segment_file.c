/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/segment_file.h"

#include "io/fs.h"
#include "io/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_SUFFIX ".log"
#define ZEROS_PIECE    (256U << 10)

/* ---- one file ---- */

/* The topic and partition in the name of its directory. */
static void segment_place(struct segment_file *segment)
{
    char *path = realpath(segment->path, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    const char *directory = path ? strrchr(path, '/') : NULL;
    const char *dash = directory ? strrchr(directory, '-') : NULL;
    char *end = NULL;
    long partition = dash ? strtol(dash + 1, &end, 10) : -1;
    segment->partition = -1;
    if (dash && dash[1] >= '0' && dash[1] <= '9' && *end == '\0' && partition <= INT32_MAX &&
        (size_t)(dash - directory) < sizeof(segment->topic)) {
        segment->partition = (int32_t)partition;
        (void)snprintf(segment->topic, sizeof(segment->topic), "%.*s", (int)(dash - directory - 1),
                       directory + 1);
    }
    free(path);
}

static bool is_newest(const char *directory, const char *name)
{
    DIR *list = opendir(directory);
    bool newest = list != NULL;
    const struct dirent *entry;
    while (newest && (entry = readdir(list))) {
        const char *dot = strrchr(entry->d_name, '.');
        newest = !dot || strcmp(dot, SEGMENT_SUFFIX) != 0 || strcmp(entry->d_name, name) <= 0;
    }
    if (list)
        (void)closedir(list);
    return newest;
}

/* Is it the newest of a log whose broker uses files again? */
static bool segment_may_be_reused(const char *path)
{
    char *real = realpath(path, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;
    bool may = false;
    if (slash) {
        struct stat about;
        size_t size = strlen(real) + sizeof("/../recycled");
        char *pool = mem_alloc(size);
        *slash = '\0';
        (void)snprintf(pool, size, "%s/../recycled", real);
        may = stat(pool, &about) == 0 && is_newest(real, slash + 1);
        mem_free(pool);
    }
    free(real);
    return may;
}

/* Reads all of [at, at + len) or says why not. */
static bool segment_read(struct segment_file *segment, void *to, size_t len, uint64_t at)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(segment->file, (uint8_t *)to + done, len - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            (void)snprintf(segment->reason, sizeof(segment->reason), "%s",
                           got < 0 ? strerror(errno) : "the file was cut while it was read");
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

bool segment_file_open(struct segment_file *segment, const char *path)
{
    *segment = (struct segment_file){.path = mem_strdup(path), .next_offset = 0};
    segment_place(segment);
    segment->file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (segment->file < 0 || fstat(segment->file, &about) != 0) {
        (void)snprintf(segment->reason, sizeof(segment->reason), "%s", strerror(errno));
        return false;
    }
    segment->size = (uint64_t)about.st_size;
    segment->may_be_reused = segment->size % FS_BLOCK == 0 && segment_may_be_reused(path);
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    char *end = NULL;
    long long base = strtoll(name, &end, 10);
    if (end == name + 20 && strcmp(end, SEGMENT_SUFFIX) == 0 && base >= 0)
        segment->next_offset = base; /* its name is the first offset that may be in it */
    return true;
}

void segment_file_close(struct segment_file *segment)
{
    if (segment->file >= 0)
        close(segment->file);
    mem_free(segment->bytes);
    mem_free(segment->path);
}

static void segment_room(struct segment_file *segment, size_t len)
{
    if (len <= segment->room)
        return;
    mem_free(segment->bytes);
    segment->room = max_u64(len, ZEROS_PIECE);
    segment->bytes = mem_alloc(segment->room);
}

static enum segment_next segment_damaged_by(struct segment_file *segment, const char *what)
{
    (void)snprintf(segment->reason, sizeof(segment->reason), "%s", what);
    return SEGMENT_DAMAGED;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* No batch is here. The newest segment of a broker that runs or was killed may be a file that was
 * an older one's, whose bytes follow where a block of this one's data ends. */
static enum segment_next segment_no_batch(struct segment_file *segment, const char *what)
{
    uint64_t end = round_up(max_u64(segment->at, 1), FS_BLOCK);
    uint8_t bytes[FS_BLOCK];
    size_t len = end - segment->at;
    if (!segment->may_be_reused || end > segment->size)
        return segment_damaged_by(segment, what);
    if (!segment_read(segment, bytes, len, segment->at))
        return SEGMENT_UNREADABLE;
    if (!is_zero(bytes, len))
        return segment_damaged_by(segment, what);
    segment->unused = segment->size - segment->at;
    return SEGMENT_END;
}

/* No batch begins here: is it space, or are there bytes behind? */
static enum segment_next segment_rest(struct segment_file *segment)
{
    segment_room(segment, ZEROS_PIECE);
    for (uint64_t at = segment->at; at < segment->size;) {
        size_t len = min_u64(ZEROS_PIECE, segment->size - at);
        if (!segment_read(segment, segment->bytes, len, at))
            return SEGMENT_UNREADABLE;
        if (!is_zero(segment->bytes, len))
            return segment_no_batch(segment, "no batch begins here, and there are bytes behind");
        at += len;
    }
    segment->unused = segment->size - segment->at;
    return SEGMENT_END;
}

static const char *header_fault(const struct segment_file *segment)
{
    const struct batch_header *header = &segment->header;
    if (header->magic >= 0 && header->magic < BATCH_MAGIC)
        return "message format v0 or v1, which Kafka 4 and Millrace do not read";
    if (header->magic != BATCH_MAGIC)
        return "the format's number is unknown";
    if (batch_size(header) < BATCH_HEADER_SIZE)
        return "the length is shorter than a header";
    if ((uint64_t)batch_size(header) > segment->size - segment->at)
        return "the batch goes on behind the end of the file";
    if (header->base_offset < segment->next_offset)
        return "the offset is below that of the batch before, or of the file's name";
    if (header->last_offset_delta < 0 || header->base_offset > INT64_MAX - INT32_MAX)
        return "the last offset is below the first, or too large";
    return NULL;
}

enum segment_next segment_file_next(struct segment_file *segment)
{
    uint8_t head[BATCH_HEADER_SIZE];
    segment->at = segment->next_at;
    if (segment->at == segment->size)
        return SEGMENT_END;
    if (segment->size - segment->at < sizeof(head))
        return segment_rest(segment);
    if (!segment_read(segment, head, sizeof(head), segment->at))
        return SEGMENT_UNREADABLE;
    if (is_zero(head, sizeof(head)))
        return segment_rest(segment);
    batch_header_of(&segment->header, head);
    const char *fault = header_fault(segment);
    if (fault)
        return segment_no_batch(segment, fault);
    uint32_t len = (uint32_t)batch_size(&segment->header);
    segment_room(segment, len);
    if (!segment_read(segment, segment->bytes, len, segment->at))
        return SEGMENT_UNREADABLE;
    segment->batch = span_of(&segment->piece, segment->bytes, len);
    if (batch_crc(segment->batch) != segment->header.crc)
        return segment_no_batch(segment, "the batch does not match its checksum");
    segment->next_at = segment->at + len;
    segment->next_offset = batch_last_offset(&segment->header) + 1;
    return SEGMENT_BATCH;
}

/* ---- behind damage ---- */

static bool is_batch_at(struct segment_file *segment, uint64_t at, const uint8_t *head)
{
    struct batch_header header;
    struct piece piece;
    batch_header_of(&header, head);
    if (header.magic != BATCH_MAGIC || batch_size(&header) < BATCH_HEADER_SIZE ||
        (uint64_t)batch_size(&header) > segment->size - at || header.last_offset_delta < 0 ||
        header.record_count < 0 || header.base_offset < segment->next_offset ||
        header.base_offset - segment->next_offset > INT32_MAX)
        return false;
    uint32_t len = (uint32_t)batch_size(&header);
    uint8_t *bytes = mem_alloc(len);
    bool good = segment_read(segment, bytes, len, at) &&
                batch_crc(span_of(&piece, bytes, len)) == header.crc;
    mem_free(bytes);
    return good;
}

int64_t segment_file_offset(const struct segment_file *segment)
{
    return segment->next_offset;
}

bool segment_file_resync(struct segment_file *segment)
{
    uint8_t *window = mem_alloc(ZEROS_PIECE);
    uint64_t from = segment->at + 1;
    bool found = false;
    while (!found && !segment->may_be_reused && segment->size - from >= BATCH_HEADER_SIZE) {
        size_t len = min_u64(ZEROS_PIECE, segment->size - from);
        if (!segment_read(segment, window, len, from))
            break;
        size_t last = len - BATCH_HEADER_SIZE;
        for (size_t i = 0; i <= last && !found; i++) {
            found = is_batch_at(segment, from + i, window + i);
            if (found)
                segment->next_at = from + i;
        }
        from += last + 1;
    }
    mem_free(window);
    return found;
}

/* ---- which files ---- */

static int by_name(const FTSENT **left, const FTSENT **right)
{
    return strcmp((*left)->fts_name, (*right)->fts_name);
}

static bool is_segment(const FTSENT *entry)
{
    const char *dot = strrchr(entry->fts_name, '.');
    return entry->fts_info == FTS_F &&
           (entry->fts_level == 0 || (dot && strcmp(dot, SEGMENT_SUFFIX) == 0));
}

bool segment_list_add(struct segment_list *list, const char *path, int *error)
{
    char *paths[] = {mem_strdup(path), NULL};
    FTS *walk = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    *error = walk ? 0 : errno;
    const FTSENT *entry;
    while (walk && *error == 0 && (entry = fts_read(walk))) {
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
            *error = entry->fts_errno;
        else if (is_segment(entry)) {
            list->paths = mem_realloc(list->paths, (list->count + 1) * sizeof(list->paths[0]));
            list->paths[list->count++] = mem_strdup(entry->fts_path);
        }
    }
    if (walk)
        fts_close(walk);
    mem_free(paths[0]);
    return *error == 0;
}

void segment_list_fini(struct segment_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        mem_free(list->paths[i]);
    mem_free(list->paths);
}
