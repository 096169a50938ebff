/* SPDX-License-Identifier: Apache-2.0
 *
 * Do a log's files reach as far as bytes of which no journal has a copy? Those are what lies before
 * the journals' first record of a segment, and what lies inside an extent (core/log/bypass.c) that
 * was committed. It is asked before a record is put in place: that would make a missing file anew,
 * as long as the old one, with a hole where acknowledged bytes were. What the bytes are is not
 * looked at; that is done when they are read.
 *
 * A file may rightly end before: a later record drops what was there (a truncation), or lets go of
 * the segment (a log start, a compaction).
 */
#include "core/log/recovery.h"

#include <errno.h>

bool recovery_refuse_missing(struct log_error *error, const char *path, uint64_t size)
{
    return log_refuse(error, LOG_ERROR_DAMAGED,
                      "%s is missing, but %llu bytes of it were acknowledged; restore it from a "
                      "replica or a copy",
                      path, (unsigned long long)size);
}

bool recovery_refuse_short(struct log_error *error, const char *path, uint64_t length,
                           uint64_t size)
{
    return log_refuse(error, LOG_ERROR_DAMAGED,
                      "%s is damaged: it ends at %llu, but %llu bytes were acknowledged; restore "
                      "it from a replica or a copy",
                      path, (unsigned long long)length, (unsigned long long)size);
}

static bool reach_refuse(const char *path, int64_t length, uint64_t size, struct log_error *error)
{
    if (length == -ENOENT)
        return recovery_refuse_missing(error, path, size);
    if (length < 0)
        return log_refuse_io(error, "look at", path, length);
    return recovery_refuse_short(error, path, (uint64_t)length, size);
}

static bool reach(struct fs *fs, const struct recovery_log *log, int64_t base, uint64_t size,
                  struct log_error *error)
{
    char *path = recovery_segment_path(log, base);
    int file = fs_open(fs, path, FS_READ);
    int64_t length = file;
    if (file >= 0) {
        length = fs_size(fs, file);
        fs_close(fs, file);
    }
    bool good = length >= (int64_t)size || reach_refuse(path, length, size, error);
    mem_free(path);
    return good;
}

/* Where a record's bytes begin, or the segment that it begins; segment_base -1: neither. */
static struct log_place record_place(const struct recovery_record *record)
{
    struct bytes_in in = record->body;
    struct journal_append append;
    struct log_place place = {.segment_base = -1};
    if (record->kind == JOURNAL_APPEND || record->kind == JOURNAL_EXTENT) {
        if (journal_summary_decode(&append, &in))
            place = (struct log_place){append.segment_base, append.position};
    } else if (record->kind == JOURNAL_LOG_START) {
        (void)take_i64(&in);
        place.segment_base = take_i64(&in);
    }
    return place;
}

/* The file of a segment that begins below the log's start may be gone; of the last one only when
 * another has begun since. */
static bool may_be_gone(const struct recovery_log *log, int64_t base)
{
    if (base >= log->later_start)
        return false;
    bool last = base == log->entry.end.segment_base;
    for (uint32_t i = 0; last && i < log->record_count; i++) {
        int64_t other = record_place(&log->records[i]).segment_base;
        last = other <= base || other > log->later_start;
    }
    return !last;
}

/* How many of the bytes before this place are in the file alone. */
static uint32_t alone_in_file(const struct recovery_log *log, struct log_place place)
{
    const struct log_place *cut = &log->later_cut;
    if (place.segment_base > cut->segment_base || may_be_gone(log, place.segment_base))
        return 0;
    if (place.segment_base == cut->segment_base)
        place.position = (uint32_t)min_u64(place.position, cut->position);
    for (uint32_t i = 0; i < log->record_count; i++) {
        struct log_place first = record_place(&log->records[i]);
        if (first.segment_base == place.segment_base)
            place.position = (uint32_t)min_u64(place.position, first.position);
    }
    return place.position;
}

static bool reach_place(struct fs *fs, const struct recovery_log *log, struct log_place place,
                        struct log_error *error)
{
    uint32_t bytes = alone_in_file(log, place);
    return bytes == 0 || reach(fs, log, place.segment_base, bytes, error);
}

/* How far a file must go for this record, 0: it says nothing about that. Of an extent that nobody
 * has called committed the bytes are looked at, in its turn. */
static uint64_t record_reach(struct fs *fs, const struct recovery_log *log,
                             const struct recovery_record *record, int64_t *base)
{
    struct bytes_in in = record->body;
    struct journal_extent extent;
    if (record->kind != JOURNAL_EXTENT || !(record->committed || record->change <= log->change) ||
        !journal_extent_decode(&extent, &in))
        return 0; /* what cannot be read is refused in its turn */
    *base = extent.append.segment_base;
    uint64_t end = (uint64_t)extent.inner_position + extent.inner_bytes;
    bool kept = extent.append.last_offset >= log->later_start &&
                end <= recovery_record_limit(fs, log, record, *base);
    return kept && extent.inner_bytes > 0 ? end : 0;
}

bool recovery_reaches(struct fs *fs, const struct recovery_log *log, struct log_error *error)
{
    const struct checkpoint_entry *entry = &log->entry;
    bool good = reach_place(fs, log, entry->end, error);
    for (uint32_t i = 0; good && i < entry->open_count; i++)
        good = reach_place(fs, log, entry->open[i], error);
    /* Backwards: those before the last one of a segment are in it. */
    int64_t reached_base = -1;
    uint64_t reached = 0;
    for (uint32_t i = log->record_count; good && i-- > 0;) {
        int64_t base;
        uint64_t end = record_reach(fs, log, &log->records[i], &base);
        if (end == 0 || (base == reached_base && end <= reached))
            continue;
        good = reach(fs, log, base, end, error);
        reached_base = base;
        reached = end;
    }
    return good;
}
