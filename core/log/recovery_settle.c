/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a log whose records are in place (core/log/recovery_apply.c) are made as long as
 * they must be, and no others stay: what the lengths do not name goes, the batches at the log's end
 * are read and checked, and the entry says what there is.
 *
 * A block with acknowledged bytes is written only with what the journals still hold, or with the
 * copy that a cut has made (core/log/segment_cut.c). So files are not cut to their data here: that
 * would rewrite the last block, of which there may be no copy. They lose the whole blocks behind
 * it, and the roll or the stop that comes next does the rest.
 */
#include "core/log/recovery.h"

#include "core/record/batch_scan.h"

#include <errno.h>
#include <stdio.h>

/* Is there still room in what all logs together may read? */
static bool settle_may_check(struct recovery *rc, uint32_t bytes)
{
    return __atomic_add_fetch(&rc->checked_bytes, bytes, __ATOMIC_RELAXED) <= RECOVERY_CHECK_MAX;
}

/* The batches behind the anchor of the last segment, whose end is the log's. Whole blocks are read,
 * past the page cache. */
static bool settle_check(struct recovery_apply *ap, int file, const char *path)
{
    const struct recovery_log *log = ap->log;
    const struct checkpoint_entry *entry = &log->entry;
    uint64_t at = entry->anchor;
    uint64_t end = entry->end.position;
    if (at >= end || !settle_may_check(ap->rc, (uint32_t)(end - at)))
        return true;
    struct batch_scan scan;
    batch_scan_start(&scan, entry->end.segment_base);
    scan.offset_upto = entry->end_offset;
    /* Empty although there are batches: the log's start is at its end. */
    if (log->epochs.count > 0)
        scan.epoch_upto = epoch_latest(&log->epochs);
    uint8_t *buffer = recovery_buffer(ap->worker);
    int64_t result = 0;
    bool good = true;
    while (good && at < end) {
        uint64_t from = round_down(at, FS_BLOCK);
        uint64_t bytes = min_u64(RECOVERY_CHECK_READ, round_up(end, FS_BLOCK) - from);
        result = fs_read(ap->fs, file, buffer, bytes, from);
        uint64_t upto = min_u64(end, from + (uint64_t)max_i64(result, 0));
        if (upto <= at)
            break;
        good = batch_scan_feed(&scan, buffer + (at - from), upto - at);
        at = upto;
    }
    if (result < 0)
        return log_refuse_io(ap->error, "read", path, result);
    if (good && batch_scan_is_whole(&scan) && scan.offset_from == entry->end_offset)
        return true;
    return log_refuse(ap->error, LOG_ERROR_DAMAGED,
                      "%s is damaged at offset %llu: the batch there, at or above log offset %lld, "
                      "does not match its checksum; restore the directory from a replica or a copy",
                      path, (unsigned long long)entry->anchor + scan.batch_at,
                      (long long)scan.offset_from);
}

static void settle_add(struct recovery_log *log, struct recovered_segment segment)
{
    log->segments = mem_realloc(log->segments, (log->segment_count + 1) * sizeof(log->segments[0]));
    uint32_t at = log->segment_count++;
    while (at > 0 && log->segments[at - 1].base > segment.base) {
        log->segments[at] = log->segments[at - 1];
        at--;
    }
    log->segments[at] = segment;
}

/* The file is as long as it must be, and not by whole blocks longer: *length. */
static int64_t settle_size(struct recovery_apply *ap, int file, const char *path, uint32_t size,
                           uint64_t *length)
{
    int64_t result = fs_size(ap->fs, file);
    if (result >= 0 && result < (int64_t)size) {
        (void)recovery_refuse_short(ap->error, path, (uint64_t)result, size);
        return -EIO;
    }
    *length = min_u64((uint64_t)max_i64(result, 0), round_up(size, FS_BLOCK));
    if (result <= (int64_t)*length)
        return result;
    ap->changed = true;
    return fs_truncate(ap->fs, file, *length);
}

static bool settle_cut(struct recovery_apply *ap, int64_t base, uint32_t size)
{
    char *path = recovery_segment_path(ap->log, base);
    /* What was put in place is in the page cache, and a direct read would wait for it to go out. */
    unsigned how = ap->log->record_count == 0 ? FS_WRITE | FS_DIRECT : FS_WRITE;
    int64_t result = fs_open(ap->fs, path, how);
    uint64_t length = 0;
    bool good = true;
    if (result == -ENOENT && size == 0) {
        result = 0; /* nothing was ever written */
    } else if (result == -ENOENT) {
        good = recovery_refuse_missing(ap->error, path, size);
    } else if (result >= 0) {
        int file = (int)result;
        result = settle_size(ap, file, path, size, &length);
        if (result >= 0 && base == ap->log->entry.end.segment_base)
            good = settle_check(ap, file, path);
        fs_close(ap->fs, file);
    }
    if (good && result < 0 && ap->error->kind == LOG_ERROR_NONE)
        (void)log_refuse_io(ap->error, "cut", path, result);
    mem_free(path);
    settle_add(ap->log, (struct recovered_segment){.base = base, .size = size, .length = length});
    return good && result >= 0;
}

static bool settle_is_open(const struct recovery_log *log, int64_t base)
{
    for (uint32_t i = 0; i < log->entry.open_count; i++) {
        if (log->entry.open[i].segment_base == base)
            return true;
    }
    return base == log->entry.end.segment_base;
}

/* Another segment begins behind this one and not behind the log's start: all of it is below. */
static bool settle_is_below(const struct recovery_log *log, int64_t base)
{
    const struct checkpoint_entry *entry = &log->entry;
    bool below = entry->end.segment_base > base && entry->end.segment_base <= entry->start_offset;
    for (uint32_t i = 0; i < entry->open_count; i++)
        below = below || (entry->open[i].segment_base > base &&
                          entry->open[i].segment_base <= entry->start_offset);
    for (uint32_t i = 0; i < log->segment_count; i++)
        below =
            below || (log->segments[i].base > base && log->segments[i].base <= entry->start_offset);
    return below;
}

static void settle_unlink(struct recovery_apply *ap, const char *name)
{
    size_t size = strlen(ap->log->directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", ap->log->directory, name);
    ap->changed = true;
    (void)!fs_unlink(ap->fs, path); /* what stays behind is superfluous next time, too */
    mem_free(path);
}

static void settle_unlink_segment(struct recovery_apply *ap, int64_t base)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)base);
    settle_unlink(ap, name);
}

/* A segment that the entry calls open. It may be gone: it lies below a start that was set since. */
static bool settle_open(struct recovery_apply *ap, const struct log_place *open)
{
    if (settle_is_below(ap->log, open->segment_base)) {
        settle_unlink_segment(ap, open->segment_base);
        return true;
    }
    return settle_cut(ap, open->segment_base, open->position);
}

/* A file the lengths do not name: a sealed segment, or left over. */
static bool settle_file(struct recovery_apply *ap, int64_t base)
{
    struct fs *fs = ap->fs;
    struct recovery_log *log = ap->log;
    char *path = recovery_segment_path(log, base);
    int64_t result;
    if (base > log->entry.end.segment_base) {
        result = fs_unlink(fs, path);
        ap->changed = true;
    } else {
        result = fs_open(fs, path, FS_READ);
        if (result >= 0) {
            int file = (int)result;
            result = fs_size(fs, file);
            fs_close(fs, file);
            uint32_t size = (uint32_t)min_i64(max_i64(result, 0), INT32_MAX);
            if (result >= 0)
                settle_add(log, (struct recovered_segment){
                                    .base = base, .size = size, .length = size, .sealed = true});
        }
    }
    bool good = result >= 0 || log_refuse_io(ap->error, "look at", path, result);
    mem_free(path);
    return good;
}

/* How many segments lie wholly below the log's start. */
static uint32_t settle_below(const struct recovery_log *log)
{
    uint32_t below = 0;
    while (below + 1 < log->segment_count &&
           log->segments[below + 1].base <= log->entry.start_offset)
        below++;
    return below;
}

/* They go. */
static void settle_start(struct recovery_apply *ap)
{
    struct recovery_log *log = ap->log;
    uint32_t drop = settle_below(log);
    for (uint32_t i = 0; i < drop; i++)
        settle_unlink_segment(ap, log->segments[i].base);
    log->segment_count -= drop;
    memmove(log->segments, log->segments + drop, log->segment_count * sizeof(log->segments[0]));
}

/* The entry says what there is now. */
static void settle_entry(struct recovery_log *log)
{
    struct checkpoint_entry *entry = &log->entry;
    mem_free(entry->open);
    entry->open = mem_zalloc(log->segment_count * sizeof(entry->open[0]));
    entry->open_count = 0;
    entry->sealed_count = 0;
    entry->sealed_bytes = 0;
    for (uint32_t i = 0; i + 1 < log->segment_count; i++) {
        const struct recovered_segment *segment = &log->segments[i];
        if (segment->sealed) {
            entry->sealed_count++;
            entry->sealed_bytes += segment->size;
        } else {
            entry->open[entry->open_count++] = (struct log_place){segment->base, segment->size};
        }
    }
    entry->flushed = entry->end;
    entry->swap = (struct swap_record){0};
}

static bool settle_count(struct recovery_apply *ap)
{
    struct recovery_log *log = ap->log;
    struct checkpoint_entry *entry = &log->entry;
    uint32_t sealed = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < log->segment_count; i++) {
        if (!log->segments[i].sealed)
            continue;
        sealed++;
        bytes += log->segments[i].size;
    }
    /* Of those below the start some are counted and some are not: the removal of a file may have
     * been lost. */
    uint32_t below = settle_below(log);
    for (uint32_t i = 0; i < below && sealed > entry->sealed_count; i++) {
        if (!log->segments[i].sealed)
            continue;
        sealed--;
        bytes -= log->segments[i].size;
    }
    if (!log->files_changed && (sealed != entry->sealed_count || bytes != entry->sealed_bytes))
        return log_refuse(ap->error, LOG_ERROR_DAMAGED,
                          "%s is damaged: it should hold %u closed segments of %llu bytes, and "
                          "holds %u of %llu; restore it from a replica or a copy",
                          log->directory, entry->sealed_count,
                          (unsigned long long)entry->sealed_bytes, sealed,
                          (unsigned long long)bytes);
    settle_start(ap);
    settle_entry(log);
    return true;
}

/* The mistake of believing a file: what looks good behind a log's end joins it. */
static void settle_replay(struct recovery_apply *ap, int file, uint8_t *bytes)
{
    struct checkpoint_entry *entry = &ap->log->entry;
    int64_t result = fs_read(ap->fs, file, bytes, RECOVERY_CHECK_READ, 0);
    struct batch_scan scan;
    while (result > (int64_t)entry->end.position + BATCH_HEADER_SIZE) {
        const uint8_t *at = bytes + entry->end.position;
        struct batch_header header;
        batch_header_of(&header, at);
        uint64_t size = (uint64_t)max_i64(batch_size(&header), 0);
        batch_scan_start(&scan, 0);
        if (size < BATCH_HEADER_SIZE || entry->end.position + size > (uint64_t)result ||
            !batch_scan_feed(&scan, at, size) || !batch_scan_is_whole(&scan))
            return;
        entry->end.position += (uint32_t)size;
        entry->end_offset = max_i64(entry->end_offset, scan.offset_from);
    }
}

static void settle_mistake(struct recovery_apply *ap)
{
    char *path = recovery_segment_path(ap->log, ap->log->entry.end.segment_base);
    int file = fs_open(ap->fs, path, FS_READ);
    if (file >= 0) {
        settle_replay(ap, file, recovery_buffer(ap->worker));
        fs_close(ap->fs, file);
    }
    mem_free(path);
}

bool recovery_settle(struct recovery_apply *ap)
{
    struct recovery_log *log = ap->log;
    struct checkpoint_entry *entry = &log->entry;
    struct fs_list list = {0};
    if (!ap->rc->dir->was_clean && fs_mutation(ap->fs, "recovery.recycled_batch_replayed"))
        settle_mistake(ap);
    if (entry->clean_upto > 0 && fs_mutation(ap->fs, "recovery.swap_forgotten"))
        entry->swap.count = 0;
    if (entry->swap.count > 0) {
        ap->changed = true;
        log->files_changed = true;
        if (!recovery_swap_finish(ap->fs, log->directory, &entry->swap, ap->error))
            return false;
    }
    int result = fs_list(ap->fs, log->directory, &list);
    if (result < 0 && result != -ENOENT)
        return log_refuse_io(ap->error, "read the directory", log->directory, result);
    bool good = true;
    for (uint32_t i = 0; good && i < list.count; i++) {
        if (recovery_is_left_over(list.names[i]))
            settle_unlink(ap, list.names[i]);
        int64_t base = recovery_segment_base(list.names[i]);
        if (base >= 0 && !settle_is_open(log, base))
            good = settle_file(ap, base);
    }
    fs_list_free(&list);
    for (uint32_t i = 0; good && i < entry->open_count; i++)
        good = settle_open(ap, &entry->open[i]);
    good = good && settle_cut(ap, entry->end.segment_base, entry->end.position);
    return good && settle_count(ap);
}
