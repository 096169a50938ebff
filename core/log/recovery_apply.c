/* SPDX-License-Identifier: Apache-2.0
 *
 * One log's way back. Its records come in the order of their change numbers, without a gap.
 *
 * Physical and logical are apart. Records that the entry covers change nothing logically, but their
 * bytes are put in place again (up to what the entry says was flushed): the block they are in may
 * have been rewritten after the entry was made, and torn by the crash. Records behind the entry do
 * both. Bytes go through the page cache here and are synced at the end, with those of all logs
 * (fs_tree); nothing is released from the journals before.
 *
 * Of an extent (core/log/bypass.c) the journal has no second copy: its bytes are in the segment, or
 * it was never acknowledged, and neither was what follows; there the log ends. So nothing may be
 * put over them that came before: bytes that a later truncation dropped are left alone, since what
 * was appended after it may have gone to their place directly.
 */
#include "core/log/log_directory.h"
#include "core/log/recovery.h"
#include "core/log/segment_cut.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- files ---- */

char *recovery_segment_path(const struct recovery_log *log, int64_t base)
{
    size_t size = strlen(log->directory) + 32;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%020lld.log", log->directory, (long long)base);
    return path;
}

uint8_t *recovery_buffer(struct recovery_worker *worker)
{
    if (worker->buffer == NULL)
        worker->buffer = mem_pages(RECOVERY_CHECK_READ);
    return worker->buffer;
}

int64_t recovery_segment_base(const char *name)
{
    if (strlen(name) != 24 || strcmp(name + 20, ".log") != 0 || strspn(name, "0123456789") != 20)
        return -1;
    return (int64_t)strtoull(name, NULL, 10);
}

static void apply_close(struct recovery_apply *ap)
{
    if (ap->file >= 0)
        fs_close(ap->fs, ap->file);
    ap->file = -1;
}

static bool apply_open(struct recovery_apply *ap, int64_t base, bool create)
{
    if (ap->file >= 0 && ap->base == base)
        return true;
    apply_close(ap);
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
static bool apply_claim(struct recovery_apply *ap)
{
    struct log_dir *dir = ap->rc->dir;
    struct recovery_log *log = ap->log;
    if (log->record_count == 0 && dir->was_clean)
        return true;
    uint8_t identity[FS_BLOCK];
    int64_t result = 0;
    log_identity_encode(identity, dir->uuid, &log->id, log->incarnation);
    if (log->record_count > 0)
        result = log_directory_claim(ap->fs, log->directory, identity);
    if (result >= 0 && !dir->was_clean)
        result = segment_cut_undo(ap->fs, log->directory, identity);
    if (result == -EBUSY)
        return log_refuse(ap->error, LOG_ERROR_DAMAGED,
                          "%s is claimed by two logs; restore the directory from a copy",
                          log->directory);
    return result >= 0 || log_refuse_io(ap->error, "make", log->directory, result);
}

static bool apply_damaged(struct recovery_apply *ap, const struct recovery_record *record,
                          const char *what)
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

static bool apply_bytes(struct recovery_apply *ap, const struct recovery_record *record,
                        int64_t base, uint32_t position, const uint8_t *bytes, uint32_t count)
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
static bool apply_follows(const struct recovery_apply *ap, const struct journal_append *append)
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

static bool apply_append(struct recovery_apply *ap, const struct recovery_record *record)
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
static int64_t extent_check(struct recovery_apply *ap, const struct journal_extent *extent,
                            bool *whole)
{
    char *path = recovery_segment_path(ap->log, extent->append.segment_base);
    int64_t result = fs_open(ap->fs, path, FS_READ);
    mem_free(path);
    *whole = false;
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    int file = (int)result;
    uint8_t *buffer = recovery_buffer(ap->worker);
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

static bool apply_edges(struct recovery_apply *ap, const struct recovery_record *record,
                        const struct journal_extent *extent, const uint8_t *bytes)
{
    const struct journal_append *append = &extent->append;
    uint32_t head = journal_extent_head(extent);
    uint32_t tail = journal_extent_tail(extent);
    return apply_bytes(ap, record, append->segment_base, append->position, bytes, head) &&
           apply_bytes(ap, record, append->segment_base, append->position + append->bytes - tail,
                       bytes + head, tail);
}

static bool apply_extent(struct recovery_apply *ap, const struct recovery_record *record)
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
static bool apply_is_new(const struct recovery_apply *ap, const struct recovery_record *change,
                         int64_t base)
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
static bool apply_drop_above(struct recovery_apply *ap, const struct recovery_record *change,
                             int64_t base)
{
    struct fs *fs = ap->fs;
    struct fs_list list = {0};
    apply_close(ap);
    int64_t result = fs_list(fs, ap->log->directory, &list);
    if (result == -ENOENT)
        result = 0; /* nothing was ever written */
    for (uint32_t i = 0; result >= 0 && i < list.count; i++) {
        int64_t found = recovery_segment_base(list.names[i]);
        if (found <= base || apply_is_new(ap, change, found))
            continue;
        char *path = recovery_segment_path(ap->log, found);
        result = fs_unlink(fs, path);
        mem_free(path);
    }
    fs_list_free(&list);
    return result >= 0 || log_refuse_io(ap->error, "cut", ap->log->directory, result);
}

static bool apply_truncate(struct recovery_apply *ap, const struct recovery_record *record)
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

static bool apply_log_start(struct recovery_apply *ap, const struct recovery_record *record)
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

static bool apply_reset(struct recovery_apply *ap, const struct recovery_record *record)
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
static bool apply_swap(struct recovery_apply *ap, const struct recovery_record *record)
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

static bool apply_mode(struct recovery_apply *ap, const struct recovery_record *record)
{
    struct bytes_in in = record->body;
    int64_t relaxed = take_i64(&in);
    if (in.overrun || relaxed < 0 || relaxed > 1)
        return apply_damaged(ap, record, "a mode that nobody knows");
    ap->log->entry.relaxed = relaxed == 1;
    return true;
}

static bool apply_one(struct recovery_apply *ap, const struct recovery_record *record)
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
    if (record->kind == JOURNAL_MODE)
        return apply_mode(ap, record);
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

static bool apply_records(struct recovery_apply *ap)
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
    apply_close(ap);
    return good;
}

bool recovery_bring_back(struct recovery *rc, struct recovery_worker *worker,
                         struct recovery_log *log)
{
    struct recovery_apply ap = {.rc = rc,
                                .worker = worker,
                                .error = &worker->error,
                                .log = log,
                                .fs = rc->dir->fs,
                                .file = -1,
                                /* A clean stop has synced everything, and nothing was written. */
                                .changed = !rc->dir->was_clean};
    if (!apply_records(&ap) || !recovery_settle(&ap))
        return false;
    if (ap.changed || log->record_count > 0)
        __atomic_store_n(&rc->changed, true, __ATOMIC_RELAXED);
    if (!rc->dir->was_clean && log->entry.relaxed && !fs_mutation(ap.fs, "recovery.loss_not_told"))
        log->entry.may_have_lost = true;
    return !log->entry.has_aborted ||
           aborted_read(ap.fs, log->directory, rc->dir->uuid, &log->aborted, ap.error);
}
