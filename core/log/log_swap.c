/* SPDX-License-Identifier: Apache-2.0
 *
 * A compacted segment takes the place of the segments it was made of. All of them are sealed, and
 * no record in any journal would write to their files any more (segment_is_settled), so that
 * nothing but this changes them. In this order, and a crash may come between any two steps:
 *
 *   1. the new bytes are in <base>.<tag>.cleaned, its index beside it; both and their names are
 *      durable (core/log/log_clean.c). A crash: the next start removes them.
 *   2. a record in the journal says which segments go and how long the new one is. From the moment
 *      it is durable the log consists of the new one: finds see nothing else, sizes count it.
 *      Until 4 is done every checkpoint entry of the log repeats the record, because the
 *      checkpoint that covers it releases the journal.
 *   3. names: each old <base>.log becomes <base>.<version>.deleted, then the new file takes the
 *      name of the first of them; indexes likewise.
 *   4. the directory is flushed, and the change is done. Only now another change of this log may
 *      begin, so at most one swap is between 2 and 4.
 *   5. after file.delete.delay.ms the old files go. A start removes whatever is called .deleted or
 *      .cleaned and is not the file of 2.
 *
 * A start that finds the record, in the journal or in the entry, does 3 and 4 again
 * (core/log/recovery_swap.c): when <base>.<tag>.cleaned is there it is renamed, when not it was;
 * the old ones are removed. The tag is there because the same base may be compacted again: a file
 * that was never finished must not be taken for the one of the record.
 *
 * Readers. A place in a segment (struct log_range) names it by base and version, so that one that
 * was found before 2 is never looked up in the new one. A find whose segment is gone begins again;
 * a pin goes on in the old one, whose file can be opened by its new name until 5. While names
 * change, files that are open are read, and nobody opens one (segment->swapping).
 *
 * Rejected: a commit by rename alone, as Kafka has it (.swap): what a checkpoint counts would
 * disagree with the directory in either order. Holding back checkpoints between 2 and 4: a slow
 * directory flush would stop the journal of all logs. Old files under their names, new ones under
 * others: Kafka's tools, and who copies the directory, look for <base>.log.
 */
#include "core/log/log_swap.h"

#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_find.h"
#include "core/log/log_private.h"

#include <errno.h>
#include <stdio.h>

/* ---- names ---- */

static int64_t no_error_if_gone(int64_t result)
{
    return result == -ENOENT ? 0 : result;
}

static void name_in(const struct file_job *job, char *path, size_t size, const char *suffix,
                    int64_t base)
{
    (void)snprintf(path, size, "%s/%020lld%s", job->directory, (long long)base, suffix);
}

static const char *const index_suffixes[] = {".index", ".timeindex"};

static int64_t put_aside(struct file_job *job, uint32_t at, char *from, char *to, size_t size)
{
    const struct swap_record *record = &job->swap->record;
    int64_t base = record->bases[at];
    int64_t result = 0;
    for (unsigned i = 0; i < array_count(index_suffixes) && result >= 0; i++) {
        name_in(job, from, size, index_suffixes[i], base);
        result = no_error_if_gone(fs_unlink(job->fs, from));
    }
    if (result < 0)
        return result;
    name_in(job, from, size, ".log", base);
    (void)snprintf(to, size, "%s/" REPLACED_NAME, job->directory, (long long)base,
                   job->swap->versions[at]);
    return fs_rename(job->fs, from, to);
}

static int64_t put_in_place(struct file_job *job, char *from, char *to, size_t size)
{
    const struct swap_record *record = &job->swap->record;
    long long base = record->bases[0];
    (void)snprintf(from, size, "%s/" SWAP_NAME, job->directory, base, record->tag);
    name_in(job, to, size, ".log", base);
    int64_t result = fs_rename(job->fs, from, to);
    if (result < 0)
        return result;
    (void)snprintf(from, size, "%s/" SWAP_INDEX_NAME, job->directory, base, record->tag);
    name_in(job, to, size, ".index", base);
    return no_error_if_gone(fs_rename(job->fs, from, to));
}

int64_t swap_files(struct file_job *job)
{
    const struct swap_record *record = &job->swap->record;
    size_t size = strlen(job->directory) + 80;
    char *from = mem_alloc(size);
    char *to = mem_alloc(size);
    int64_t result = 0;
    job->verb = "rename segments of";
    for (uint32_t i = 0; i < record->count && result >= 0; i++)
        result = put_aside(job, i, from, to, size);
    if (result >= 0 && record->new_size > 0)
        result = put_in_place(job, from, to, size);
    if (result >= 0)
        result = fs_sync_dir(job->fs, job->directory);
    mem_free(from);
    mem_free(to);
    return result;
}

/* ---- the change ---- */

static struct segment *old_at(const struct log_body *lg, const struct log_swap *swap, uint32_t at)
{
    return segment_named(lg, swap->record.bases[at], swap->versions[at]);
}

/* Are all of them there, as they were, one after another? */
static bool is_as_it_was(const struct log_body *lg, const struct log_swap *swap)
{
    const struct segment *before = NULL;
    for (uint32_t i = 0; i < swap->record.count; i++) {
        const struct segment *segment = old_at(lg, swap, i);
        if (segment == NULL || !segment_is_settled(segment) || segment->below ||
            segment->size != swap->sizes[i] ||
            (before != NULL && TAILQ_NEXT(before, link) != segment))
            return false;
        before = segment;
    }
    return true;
}

static bool has_jobs(const struct log_body *lg, const struct log_swap *swap)
{
    for (uint32_t i = 0; i < swap->record.count; i++) {
        if (old_at(lg, swap, i)->job != NULL)
            return true;
    }
    return false;
}

void swap_run(struct log_body *lg, struct log_change *change)
{
    const struct log_swap *swap = change->priv.swap;
    if (change->priv.step != CHANGE_ASKED)
        return;
    if (!is_as_it_was(lg, swap)) {
        log_change_finish(lg, change, LOG_CLOSED);
        return;
    }
    if (has_jobs(lg, swap))
        return; /* the end of each comes here again */
    for (uint32_t i = 0; i < swap->record.count; i++)
        old_at(lg, swap, i)->swapping = true;
    change->priv.step = CHANGE_QUEUED;
    log_queue_record(lg, &change->priv.record, JOURNAL_SWAP);
}

/* ---- in memory ---- */

static void drop_blocks(struct log_body *lg, const struct segment *segment)
{
    struct tail_block *block;
    struct tail_block *next;
    for (block = TAILQ_FIRST(&lg->blocks); block != NULL; block = next) {
        next = TAILQ_NEXT(block, link);
        if (block->segment == segment)
            tail_drop(lg->ls, block);
    }
}

static void take_out(struct log_body *lg, struct segment *segment)
{
    log_discount_segment(lg, segment);
    drop_blocks(lg, segment);
    TAILQ_REMOVE(&lg->segments, segment, link);
    TAILQ_INSERT_TAIL(&lg->replaced, segment, link);
    segment->replaced = true;
    log_sweep_later(lg, segment);
}

/* The compacted segment, in front of the first old one. */
static struct segment *put_in(struct log_body *lg, const struct log_swap *swap)
{
    const struct swap_record *record = &swap->record;
    struct segment *first = old_at(lg, swap, 0);
    struct segment *segment = segment_new(lg, record->bases[0]);
    TAILQ_REMOVE(&lg->segments, segment, link);
    TAILQ_INSERT_BEFORE(first, segment, link);
    if (io_mutation(lg->ls->io, "compact.place_of_another"))
        segment->version = first->version;
    segment->end_offset = record->end_offset;
    segment->size = record->new_size;
    segment->written = record->new_size;
    segment->issued = record->new_size;
    segment->allocated = record->new_size;
    segment->anchors = (struct log_anchors){LOG_NO_ANCHOR, LOG_NO_ANCHOR};
    segment->closed = true;
    segment->sealed = true;
    segment->sealed_number = 0; /* its bytes were never in a journal */
    segment->index_asked = false;
    segment->times.upto = segment->size;
    segment->times.max_timestamp = swap->max_timestamp;
    segment->times.max_range = swap->max_range;
    segment->times.max_range.segment_version = segment->version;
    lg->sealed_count++;
    lg->sealed_bytes += segment->size;
    lg->log.size_bytes += segment->size;
    return segment;
}

static void on_names(struct file_job *job)
{
    struct log_body *lg = job->lg;
    struct log_change *change = TAILQ_FIRST(&lg->changes);
    struct segment *segment;
    if (job->result < 0) {
        log_shard_fail(job->ls, job->verb, job->directory, job->result);
        return; /* the change ends with the log's users */
    }
    TAILQ_FOREACH (segment, &lg->replaced, link)
        segment->swapping = false;
    lg->swap = (struct swap_record){0};
    count_up(&lg->ls->counts.segments_swapped, 1);
    log_dirty(lg);
    lg->ls->reads_again = true;
    log_sweep_run(lg->ls);
    log_change_finish(lg, change, LOG_OK);
}

void swap_durable(struct log_body *lg, struct log_change *change)
{
    const struct log_swap *swap = change->priv.swap;
    const struct swap_record *record = &swap->record;
    lg->clean_upto = max_i64(record->clean_upto, lg->log.start_offset);
    if (record->count == 0) {
        log_change_finish(lg, change, LOG_OK);
        return;
    }
    lg->swap = *record;
    lg->swaps++;
    log_marks_clear(lg);
    struct segment *old = old_at(lg, swap, 0);
    struct segment *made = record->new_size > 0 ? put_in(lg, swap) : NULL;
    for (uint32_t i = 0; i < record->count; i++) {
        struct segment *next = TAILQ_NEXT(old, link);
        take_out(lg, old);
        old = next;
    }
    struct file_job *job = file_job_new(lg->ls, JOB_SWAP, lg, made, on_names);
    job->swap = swap;
    file_job_start(job);
}
