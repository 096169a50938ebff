/* SPDX-License-Identifier: Apache-2.0
 *
 * One log's way back. Its records come in the order of their change numbers, without a gap.
 *
 * Physical and logical are apart. Records that the entry covers change nothing logically, but their
 * bytes are put in place again (up to what the entry says was flushed): the block they are in may
 * have been rewritten after the entry was made, and torn by the crash. Records behind the entry do
 * both. Bytes go through the page cache here and are synced at the end; nothing is released from
 * the journals before.
 *
 * A block with acknowledged bytes is written only with what the journals still hold, or with the
 * copy that a cut has made (core/log/segment_cut.c). So files are not cut to their data here: that
 * would rewrite the last block, of which there may be no copy. They lose the whole blocks behind
 * it, and the roll or the stop that comes next does the rest.
 *
 * Of an extent (core/log/bypass.c) the journal has no second copy: its bytes are in the segment, or
 * it was never acknowledged, and neither was what follows; there the log ends. So nothing may be
 * put over them that came before: bytes that a later truncation dropped are left alone, since what
 * was appended after it may have gone to their place directly.
 */
#include "core/log/recovery.h"

#include "core/record/batch_scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- files ---- */

struct apply {
    struct recovery *rc;
    struct recovery_worker *worker;
    struct log_error *error; /* the worker's */
    struct recovery_log *log;
    struct fs *fs;
    int file; /* of segment `base` */
    int64_t base;
    bool changed; /* a file, or the names of files, since the last stop: to be synced */
    bool ended;   /* an extent was not whole */
};

char *recovery_segment_path(const struct recovery_log *log, int64_t base)
{
    size_t size = strlen(log->directory) + 32;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%020lld.log", log->directory, (long long)base);
    return path;
}

/* RECOVERY_CHECK_READ bytes. */
static uint8_t *apply_buffer(const struct apply *ap)
{
    if (ap->worker->buffer == NULL)
        ap->worker->buffer = mem_pages(RECOVERY_CHECK_READ);
    return ap->worker->buffer;
}

/* The base that a segment file's name says, -1 for other names. */
static int64_t segment_name_base(const char *name)
{
    if (strlen(name) != 24 || strcmp(name + 20, ".log") != 0 || strspn(name, "0123456789") != 20)
        return -1;
    return (int64_t)strtoull(name, NULL, 10);
}

static bool apply_close(struct apply *ap)
{
    if (ap->file < 0)
        return true;
    int result = fs_sync(ap->fs, ap->file);
    fs_close(ap->fs, ap->file);
    ap->file = -1;
    return result >= 0 || log_refuse_io(ap->error, "sync", ap->log->directory, result);
}

static bool apply_open(struct apply *ap, int64_t base, bool create)
{
    if (ap->file >= 0 && ap->base == base)
        return true;
    if (!apply_close(ap))
        return false;
    char *path = recovery_segment_path(ap->log, base);
    int result = fs_open(ap->fs, path, FS_WRITE | (create ? FS_CREATE : 0));
    if (result < 0)
        (void)log_refuse_io(ap->error, "open", path, result);
    mem_free(path);
    ap->file = result;
    ap->base = base;
    return result >= 0;
}

/* The directory is this log's, and none of its segments is half cut. */
static bool apply_claim(struct apply *ap)
{
    struct log_dir *dir = ap->rc->dir;
    struct recovery_log *log = ap->log;
    if (log->record_count == 0 && dir->was_clean)
        return true;
    uint8_t *identity = mem_pages(FS_BLOCK);
    int64_t result = 0;
    log_identity_encode(identity, dir->uuid, &log->id, log->incarnation);
    if (log->record_count > 0)
        result = log_directory_claim(ap->fs, dir->path, log->directory, identity);
    if (result >= 0 && !dir->was_clean)
        result = segment_cut_undo(ap->fs, log->directory, identity);
    mem_pages_free(identity, FS_BLOCK);
    if (result == -EBUSY)
        return log_refuse(ap->error, LOG_ERROR_DAMAGED,
                          "%s is claimed by two logs; restore the directory from a copy",
                          log->directory);
    return result >= 0 || log_refuse_io(ap->error, "make", log->directory, result);
}

static bool apply_damaged(struct apply *ap, const struct recovery_record *record, const char *what)
{
    return log_refuse(ap->error, LOG_ERROR_DAMAGED,
                      "%s is damaged at offset %llu: %s (%s-%d); restore the directory from a "
                      "replica or a copy",
                      record->path, (unsigned long long)record->position, what,
                      ap->log->entry.topic, (int)ap->log->id.partition);
}

/* ---- append ---- */

/* How far a record's bytes in this segment still belong to the log. */
uint32_t recovery_record_limit(struct fs *fs, const struct recovery_log *log,
                               const struct recovery_record *record, int64_t base)
{
    const struct checkpoint_entry *entry = &log->entry;
    uint32_t limit = 0;
    if (record->change > log->change) {
        limit = UINT32_MAX;
    } else if (base == log->covered.segment_base) {
        limit = log->covered.position;
    } else if (base == log->covered_end.segment_base) {
        limit = log->covered_end.position; /* a batch that rolled was partly journaled */
    } else {
        for (uint32_t i = 0; i < entry->open_count; i++) {
            if (entry->open[i].segment_base == base)
                limit = entry->open[i].position;
        }
    }
    if (fs_mutation(fs, "recovery.dropped_bytes_again"))
        return limit;
    if (base > record->cut.segment_base)
        return 0;
    return base < record->cut.segment_base || limit < record->cut.position ? limit
                                                                           : record->cut.position;
}

static bool apply_bytes(struct apply *ap, const struct recovery_record *record, int64_t base,
                        uint32_t position, const uint8_t *bytes, uint32_t count)
{
    uint32_t limit = recovery_record_limit(ap->fs, ap->log, record, base);
    if (position >= limit || count == 0)
        return true;
    count = (uint32_t)min_u64(count, limit - position);
    if (!apply_open(ap, base, true))
        return false;
    int64_t result = fs_write(ap->fs, ap->file, bytes, count, position);
    return result >= 0 || log_refuse_io(ap->error, "write", ap->log->directory, result);
}

static void apply_roll(struct checkpoint_entry *entry, int64_t base)
{
    entry->open = mem_realloc(entry->open, (entry->open_count + 1) * sizeof(entry->open[0]));
    entry->open[entry->open_count++] = entry->end;
    entry->end = (struct log_place){.segment_base = base, .position = 0};
}

/* Does it begin where the log ends? */
static bool apply_follows(const struct apply *ap, const struct journal_append *append)
{
    const struct checkpoint_entry *entry = &ap->log->entry;
    if (append->segment_base == entry->end.segment_base)
        return append->batch_position == entry->end.position;
    return append->segment_base > entry->end.segment_base &&
           append->segment_base >= entry->end_offset && append->batch_position == 0;
}

/* The batch is whole: offsets, epochs and producers move. False: its offsets are taken. */
static bool apply_batch(struct recovery_log *log, const struct journal_append *append)
{
    struct checkpoint_entry *entry = &log->entry;
    if (append->segment_base > entry->end.segment_base) {
        apply_roll(entry, append->segment_base);
        log->anchors = (struct log_anchors){0, 0};
    }
    log_anchors_move(&log->anchors, append->batch_position);
    if (append->base_offset < entry->end_offset)
        return false;
    entry->end.position = append->position + append->bytes;
    entry->end_offset = append->last_offset + 1;
    epoch_assign(&log->epochs, append->leader_epoch, append->base_offset);
    if (append->producer_id >= 0 && append->base_sequence >= 0) {
        const struct producer_batch batch = {.base_sequence = append->base_sequence,
                                             .last_sequence = append->last_sequence,
                                             .base_offset = append->base_offset,
                                             .last_offset = append->last_offset,
                                             .timestamp = append->max_timestamp};
        producer_absorb(&log->producers, append->producer_id, append->producer_epoch, &batch,
                        append->now_ms, log_config_default.producer_ids_max);
    }
    return true;
}

static bool apply_append(struct apply *ap, const struct recovery_record *record)
{
    struct bytes_in in = record->body;
    struct journal_append append;
    if (!journal_append_decode(&append, &in))
        return apply_damaged(ap, record, "an append that does not fit its record");
    bool covered = record->change <= ap->log->change;
    if (!covered && !apply_follows(ap, &append))
        return apply_damaged(ap, record, "an append that does not follow the log's end");
    if (!apply_bytes(ap, record, append.segment_base, append.position, in.at, append.bytes))
        return false;
    if (covered)
        return true;
    ap->log->entry.flushed =
        (struct log_place){append.segment_base, append.position + append.bytes};
    if (append.last && !apply_batch(ap->log, &append))
        return apply_damaged(ap, record, "an append whose offsets are taken already");
    return true;
}

/* ---- extent ---- */

/* Are the inner bytes in the segment? */
static int64_t extent_check(struct apply *ap, const struct journal_extent *extent, bool *whole)
{
    char *path = recovery_segment_path(ap->log, extent->append.segment_base);
    int64_t result = fs_open(ap->fs, path, FS_READ);
    mem_free(path);
    *whole = false;
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    int file = (int)result;
    uint8_t *buffer = apply_buffer(ap);
    uint32_t crc = 0;
    uint32_t at = 0;
    while (at < extent->inner_bytes) {
        uint64_t bytes = min_u64(RECOVERY_CHECK_READ, extent->inner_bytes - at);
        result = fs_read(ap->fs, file, buffer, bytes, extent->inner_position + at);
        if (result <= 0)
            break;
        crc = crc32c(crc, buffer, (size_t)result);
        at += (uint32_t)result;
    }
    fs_close(ap->fs, file);
    *whole = at == extent->inner_bytes && crc == extent->inner_crc;
    return min_i64(result, 0);
}

static bool apply_edges(struct apply *ap, const struct recovery_record *record,
                        const struct journal_extent *extent, const uint8_t *bytes)
{
    const struct journal_append *append = &extent->append;
    uint32_t head = journal_extent_head(extent);
    uint32_t tail = journal_extent_tail(extent);
    return apply_bytes(ap, record, append->segment_base, append->position, bytes, head) &&
           apply_bytes(ap, record, append->segment_base, append->position + append->bytes - tail,
                       bytes + head, tail);
}

static bool apply_extent(struct apply *ap, const struct recovery_record *record)
{
    struct bytes_in in = record->body;
    struct journal_extent extent;
    if (!journal_extent_decode(&extent, &in))
        return apply_damaged(ap, record, "an extent that does not fit its record");
    const struct journal_append *append = &extent.append;
    if (record->change <= ap->log->change)
        return apply_edges(ap, record, &extent, in.at);
    if (!apply_follows(ap, append))
        return apply_damaged(ap, record, "an extent that does not follow the log's end");
    if (!record->committed && !fs_mutation(ap->fs, "recovery.extent_not_checked")) {
        bool whole;
        int64_t result = extent_check(ap, &extent, &whole);
        if (result < 0)
            return log_refuse_io(ap->error, "read", ap->log->directory, result);
        ap->ended = !whole;
        if (ap->ended)
            return true;
    }
    if (!apply_edges(ap, record, &extent, in.at))
        return false;
    ap->log->entry.flushed =
        (struct log_place){append->segment_base, append->position + append->bytes};
    return apply_batch(ap->log, append) ||
           apply_damaged(ap, record, "an extent whose offsets are taken already");
}

/* ---- other kinds ---- */

/* Does an extent behind this change lie in this segment? Then the file is a new one. */
static bool apply_is_new(const struct apply *ap, const struct recovery_record *change, int64_t base)
{
    const struct recovery_log *log = ap->log;
    const struct recovery_record *record = change + 1;
    if (fs_mutation(ap->fs, "recovery.new_segment_dropped"))
        return false;
    for (; record < log->records + log->record_count; record++) {
        struct bytes_in in = record->body;
        struct journal_extent extent;
        if (record->kind == JOURNAL_EXTENT && journal_extent_decode(&extent, &in) &&
            extent.append.segment_base == base)
            return true;
    }
    return false;
}

/* Files of segments that a truncation or a reset dropped. What comes after it in the journal is put
 * in place again, and may begin segments before, between or under these names. */
static bool apply_drop_above(struct apply *ap, const struct recovery_record *change, int64_t base)
{
    struct fs *fs = ap->fs;
    struct fs_list list = {0};
    if (!apply_close(ap))
        return false;
    int64_t result = fs_list(fs, ap->log->directory, &list);
    if (result == -ENOENT)
        result = 0; /* nothing was ever written */
    for (uint32_t i = 0; result >= 0 && i < list.count; i++) {
        int64_t found = segment_name_base(list.names[i]);
        if (found <= base || apply_is_new(ap, change, found))
            continue;
        char *path = recovery_segment_path(ap->log, found);
        result = fs_unlink(fs, path);
        mem_free(path);
    }
    fs_list_free(&list);
    return result >= 0 || log_refuse_io(ap->error, "cut", ap->log->directory, result);
}

static bool apply_truncate(struct apply *ap, const struct recovery_record *record)
{
    struct recovery_log *log = ap->log;
    struct checkpoint_entry *entry = &log->entry;
    struct bytes_in in = record->body;
    int64_t offset = take_i64(&in);
    struct log_place place = {.segment_base = take_i64(&in)};
    place.position = take_u32(&in);
    if (in.overrun || offset < entry->start_offset || offset > entry->end_offset ||
        place.segment_base < 0 || place.segment_base > entry->end.segment_base ||
        place.position > INT32_MAX)
        return apply_damaged(ap, record, "a truncation that does not fit the log");
    uint32_t kept = 0;
    for (uint32_t i = 0; i < entry->open_count; i++) {
        if (entry->open[i].segment_base < place.segment_base)
            entry->open[kept++] = entry->open[i];
    }
    entry->open_count = kept;
    log_anchors_cut(&log->anchors,
                    place.segment_base == entry->end.segment_base ? place.position : 0);
    entry->end = place;
    entry->flushed = place;
    entry->end_offset = offset;
    entry->clean_upto = min_i64(entry->clean_upto, offset);
    entry->swap = (struct swap_record){0}; /* one before it was done */
    epoch_truncate_end(&log->epochs, offset);
    producer_truncate(&log->producers, offset);
    log->files_changed = true;
    return apply_drop_above(ap, record, place.segment_base);
}

static bool apply_log_start(struct apply *ap, const struct recovery_record *record)
{
    struct checkpoint_entry *entry = &ap->log->entry;
    struct bytes_in in = record->body;
    int64_t offset = take_i64(&in);
    int64_t segment_base = take_i64(&in);
    if (in.overrun || offset > entry->end_offset || segment_base > entry->end_offset)
        return apply_damaged(ap, record, "a log start behind the log's end");
    if (segment_base > entry->end.segment_base) {
        apply_roll(entry, segment_base);
        entry->flushed = entry->end;
        ap->log->anchors = (struct log_anchors){0, 0};
    }
    entry->start_offset = max_i64(entry->start_offset, offset);
    entry->clean_upto = max_i64(entry->clean_upto, entry->start_offset);
    entry->swap = (struct swap_record){0}; /* one before it was done */
    epoch_truncate_start(&ap->log->epochs, entry->start_offset);
    ap->log->files_changed = true;
    return true;
}

static bool apply_reset(struct apply *ap, const struct recovery_record *record)
{
    struct recovery_log *log = ap->log;
    struct checkpoint_entry *entry = &log->entry;
    struct bytes_in in = record->body;
    int64_t offset = take_i64(&in);
    if (in.overrun || offset < 0)
        return apply_damaged(ap, record, "a reset to no offset");
    entry->open_count = 0;
    entry->end = (struct log_place){.segment_base = offset, .position = 0};
    entry->flushed = entry->end;
    entry->start_offset = offset;
    entry->end_offset = offset;
    entry->clean_upto = offset;
    entry->swap = (struct swap_record){0}; /* one before it was done */
    log->anchors = (struct log_anchors){0, 0};
    epoch_truncate_end(&log->epochs, 0);
    producer_truncate(&log->producers, 0);
    log->files_changed = true;
    return apply_drop_above(ap, record, -1);
}

/* Compacted segments (core/log/log_swap.c): one that came before was done, this one is done when
 * the files are settled. */
static bool apply_swap(struct apply *ap, const struct recovery_record *record)
{
    struct checkpoint_entry *entry = &ap->log->entry;
    struct bytes_in in = record->body;
    struct swap_record swap;
    if (!swap_record_decode(&swap, &in) || swap.clean_upto > entry->end_offset ||
        (swap.count > 0 && swap.end_offset > entry->end.segment_base))
        return apply_damaged(ap, record, "a compaction that does not fit the log");
    entry->swap = swap;
    entry->clean_upto = max_i64(swap.clean_upto, entry->start_offset);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < entry->open_count; i++) {
        int64_t base = entry->open[i].segment_base;
        if (swap.count == 0 || base < swap.bases[0] || base >= swap.end_offset)
            entry->open[kept++] = entry->open[i];
    }
    entry->open_count = kept;
    ap->log->files_changed = ap->log->files_changed || swap.count > 0;
    return true;
}

static bool apply_one(struct apply *ap, const struct recovery_record *record)
{
    if (record->kind == JOURNAL_APPEND)
        return apply_append(ap, record);
    if (record->kind == JOURNAL_EXTENT)
        return apply_extent(ap, record);
    if (record->change <= ap->log->change)
        return true;
    if (record->kind == JOURNAL_TRUNCATE)
        return apply_truncate(ap, record);
    if (record->kind == JOURNAL_LOG_START)
        return apply_log_start(ap, record);
    if (record->kind == JOURNAL_RESET)
        return apply_reset(ap, record);
    if (record->kind == JOURNAL_SWAP)
        return apply_swap(ap, record);
    return apply_damaged(ap, record, "a record that cannot stand here");
}

/* Of the log, that a record would have appended. */
static uint32_t bytes_of(const struct recovery_record *record)
{
    struct bytes_in in = record->body;
    struct journal_append append;
    bool appends = record->kind == JOURNAL_APPEND || record->kind == JOURNAL_EXTENT;
    return appends && journal_summary_decode(&append, &in) ? append.bytes : 0;
}

static int record_order(const void *a, const void *b)
{
    const struct recovery_record *x = a;
    const struct recovery_record *y = b;
    return x->change < y->change ? -1 : x->change > y->change;
}

/* What later records tell about earlier ones. Truncations and resets begin when everything before
 * them is committed, and what lies below a start or in compacted segments was; its segment may be
 * gone. */
static void apply_look_back(struct recovery_log *log)
{
    struct log_place cut = {.segment_base = INT64_MAX, .position = UINT32_MAX};
    uint64_t committed = 0;
    int64_t start = INT64_MIN;
    bool anew = false;     /* what is older than this record went in a reset */
    bool replaced = false; /* so did what the entry says */
    for (uint32_t i = log->record_count; i-- > 0;) {
        struct recovery_record *record = &log->records[i];
        struct bytes_in in = record->body;
        struct journal_append append;
        record->cut = cut;
        record->committed = record->change <= committed;
        if (record->kind == JOURNAL_APPEND || record->kind == JOURNAL_EXTENT) {
            if (journal_summary_decode(&append, &in)) {
                committed = max_u64(committed, append.committed);
                record->committed = record->committed || append.last_offset < start;
            }
            continue;
        }
        if (record->kind == JOURNAL_LOG_START && !anew)
            start = max_i64(start, take_i64(&in));
        struct swap_record swap;
        if (record->kind == JOURNAL_SWAP && !anew && swap_record_decode(&swap, &in) &&
            swap.count > 0)
            start = max_i64(start, swap.end_offset);
        if (record->kind == JOURNAL_TRUNCATE || record->kind == JOURNAL_RESET)
            committed = max_u64(committed, record->change);
        if (record->kind == JOURNAL_RESET) {
            cut = (struct log_place){.segment_base = -1};
            anew = true;
            replaced = replaced || record->change > log->change;
        }
        if (record->kind != JOURNAL_TRUNCATE)
            continue;
        (void)take_i64(&in);
        struct log_place place = {.segment_base = take_i64(&in)};
        place.position = take_u32(&in);
        if (place.segment_base < cut.segment_base ||
            (place.segment_base == cut.segment_base && place.position < cut.position))
            cut = place;
    }
    log->later_cut = cut;
    log->later_start = replaced ? start : max_i64(start, log->entry.start_offset);
    if (log->entry.swap.count > 0 && !replaced)
        log->later_start = max_i64(log->later_start, log->entry.swap.end_offset);
}

static bool apply_records(struct apply *ap)
{
    const struct recovery *rc = ap->rc;
    struct recovery_log *log = ap->log;
    size_t size = strlen(rc->dir->path) + LOG_TOPIC_MAX + 16;
    log->directory = mem_alloc(size);
    log_directory_path(log->directory, size, rc->dir->path, log->entry.topic, log->id.partition);
    log->change = log->entry.change;
    log->covered = log->entry.flushed;
    log->covered_end = log->entry.end;
    log->anchors = (struct log_anchors){log->entry.anchor, log->entry.anchor};
    if (rc->mistake_forget_producers) {
        producer_state_fini(&log->producers);
        producer_state_init(&log->producers, rc->seed);
    }
    bool good = apply_claim(ap);
    if (log->record_count == 0)
        return good;
    qsort(log->records, log->record_count, sizeof(log->records[0]), record_order);
    apply_look_back(log);
    uint64_t next = log->records[0].change;
    if (good && next > log->change + 1)
        good = apply_damaged(ap, &log->records[0], "records before it are missing");
    good = good && recovery_reaches(ap->fs, log, ap->error);
    for (uint32_t i = 0; good && i < log->record_count; i++, next++) {
        const struct recovery_record *record = &log->records[i];
        if (record->change != next)
            good = apply_damaged(ap, record, "records before it are missing");
        else if (!ap->ended)
            good = apply_one(ap, record);
        if (ap->ended)
            log->discarded_bytes += bytes_of(record);
    }
    log->entry.change = max_u64(log->entry.change, next - 1);
    log->entry.anchor = log_anchor_of(&log->anchors, log->entry.end.position);
    return apply_close(ap) && good;
}

/* ---- settling: files as long as they must be, and no others ---- */

/* Is there still room in what all logs together may read? */
static bool settle_may_check(struct recovery *rc, uint32_t bytes)
{
    return __atomic_add_fetch(&rc->checked_bytes, bytes, __ATOMIC_RELAXED) <= RECOVERY_CHECK_MAX;
}

/* The batches behind the anchor of the last segment, whose end is the log's. Whole blocks are read,
 * past the page cache. */
static bool settle_check(struct apply *ap, int file, const char *path)
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
    uint8_t *buffer = apply_buffer(ap);
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

/* The file is as long as it must be, and not by whole blocks longer: *length. Synced, where it is
 * not so since a clean stop. */
static int64_t settle_size(struct apply *ap, int file, const char *path, uint32_t size,
                           uint64_t *length)
{
    int64_t result = fs_size(ap->fs, file);
    if (result >= 0 && result < (int64_t)size) {
        (void)recovery_refuse_short(ap->error, path, (uint64_t)result, size);
        return -EIO;
    }
    *length = min_u64((uint64_t)max_i64(result, 0), round_up(size, FS_BLOCK));
    bool cut = result > (int64_t)*length;
    if (cut)
        result = fs_truncate(ap->fs, file, *length);
    if (result >= 0 && (cut || ap->changed))
        result = fs_sync(ap->fs, file);
    return result;
}

static bool settle_cut(struct apply *ap, int64_t base, uint32_t size)
{
    char *path = recovery_segment_path(ap->log, base);
    int64_t result = fs_open(ap->fs, path, FS_WRITE | FS_DIRECT);
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

static void settle_unlink(struct apply *ap, const char *name)
{
    size_t size = strlen(ap->log->directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", ap->log->directory, name);
    ap->changed = true;
    (void)!fs_unlink(ap->fs, path); /* what stays behind is superfluous next time, too */
    mem_free(path);
}

static void settle_unlink_segment(struct apply *ap, int64_t base)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%020lld.log", (long long)base);
    settle_unlink(ap, name);
}

/* A segment that the entry calls open. It may be gone: it lies below a start that was set since. */
static bool settle_open(struct apply *ap, const struct log_place *open)
{
    if (settle_is_below(ap->log, open->segment_base)) {
        settle_unlink_segment(ap, open->segment_base);
        return true;
    }
    return settle_cut(ap, open->segment_base, open->position);
}

/* A file the lengths do not name: a sealed segment, or left over. */
static bool settle_file(struct apply *ap, int64_t base)
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
static void settle_start(struct apply *ap)
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

static bool settle_count(struct apply *ap)
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
static void settle_replay(struct apply *ap, int file, uint8_t *bytes)
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

static void settle_mistake(struct apply *ap)
{
    char *path = recovery_segment_path(ap->log, ap->log->entry.end.segment_base);
    int file = fs_open(ap->fs, path, FS_READ);
    if (file >= 0) {
        settle_replay(ap, file, apply_buffer(ap));
        fs_close(ap->fs, file);
    }
    mem_free(path);
}

static bool settle(struct apply *ap)
{
    struct recovery_log *log = ap->log;
    struct checkpoint_entry *entry = &log->entry;
    struct fs_list list = {0};
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
        int64_t base = segment_name_base(list.names[i]);
        if (base >= 0 && !settle_is_open(log, base))
            good = settle_file(ap, base);
    }
    fs_list_free(&list);
    for (uint32_t i = 0; good && i < entry->open_count; i++)
        good = settle_open(ap, &entry->open[i]);
    good = good && settle_cut(ap, entry->end.segment_base, entry->end.position);
    if (good && result >= 0 && ap->changed) {
        result = fs_sync_dir(ap->fs, log->directory);
        good = result >= 0 || log_refuse_io(ap->error, "sync", log->directory, result);
    }
    return good && settle_count(ap);
}

bool recovery_bring_back(struct recovery *rc, struct recovery_worker *worker,
                         struct recovery_log *log)
{
    struct apply ap = {.rc = rc,
                       .worker = worker,
                       .error = &worker->error,
                       .log = log,
                       .fs = rc->dir->fs,
                       .file = -1,
                       /* A clean stop has synced everything, and nothing was written since. */
                       .changed = !rc->dir->was_clean};
    if (!apply_records(&ap))
        return false;
    if (!rc->dir->was_clean && fs_mutation(ap.fs, "recovery.recycled_batch_replayed"))
        settle_mistake(&ap);
    return settle(&ap);
}
