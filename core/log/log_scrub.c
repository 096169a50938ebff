/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/log_scrub.h"

#include "core/log/clean_file.h"
#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_directory.h"
#include "core/log/log_private.h"
#include "core/log/segment_index.h"
#include "io/diag.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>

#define FOUND_MAX 16U /* damages of one step */

/* A place that is not what was written. */
struct scrub_found {
    uint32_t position;
    int64_t offset;
};

/* A batch that was met. */
struct scrub_batch {
    uint32_t position;
    int64_t base;
    int64_t end;  /* behind its last offset */
    bool has_gap; /* it did not follow the one before it */
};

/* A file of a closed segment, and how far the walk has come in it. */
struct scrub_index {
    uint8_t *bytes;
    uint32_t count;
    uint32_t next;
    bool wrong;
};

/* Between steps the shard's, during one the helper's, who sees nothing else. */
struct log_scrub {
    struct log_body *lg; /* not touched by the helper; NULL: none */
    struct log_scrub_result result;
    struct io_op op;
    void (*done)(void *user);
    void *user;
    char *directory;

    /* The segment, as it was when the walk of it began. */
    int64_t base;
    int64_t end_offset;
    uint32_t version;
    uint32_t appended; /* its bytes; in the file for good are input.size */
    bool sealed;
    bool fresh; /* not opened yet */
    bool more;
    struct epoch_history epochs;

    struct clean_input input;
    struct scrub_index offsets;
    struct scrub_index times;
    int64_t greatest;          /* timestamp so far, INT64_MIN: none */
    struct scrub_batch before; /* the next one */
    bool lost;                 /* behind damage: the next batch may begin elsewhere */
    int64_t lost_offset;       /* then the next batch's, if it begins here */
    uint32_t lost_at;          /* the damage, or what the index has named behind it */

    struct scrub_found found[FOUND_MAX];
    uint32_t found_count;
    bool unlink;
    int64_t error; /* -errno of the file */
};

/* ---- on the helper: indexes ---- */

#define OFFSET_ENTRY 8U
#define TIME_ENTRY   12U

static uint32_t be32_of(const struct scrub_index *index, uint32_t entry, uint32_t size, uint32_t at)
{
    uint32_t value;
    memcpy(&value, index->bytes + (size_t)entry * size + at, sizeof(value));
    return be32toh(value);
}

static uint32_t entry_position(const struct scrub_index *index, uint32_t entry)
{
    return be32_of(index, entry, OFFSET_ENTRY, 4);
}

static void index_look(struct log_scrub *scrub, uint32_t position, uint32_t relative)
{
    struct scrub_index *index = &scrub->offsets;
    while (index->next < index->count && entry_position(index, index->next) <= position) {
        index->wrong = index->wrong || entry_position(index, index->next) != position ||
                       be32_of(index, index->next, OFFSET_ENTRY, 0) != relative;
        index->next++;
    }
}

/* An entry names the first batch with its timestamp. */
static void times_look(struct log_scrub *scrub, uint32_t relative, int64_t timestamp)
{
    struct scrub_index *index = &scrub->times;
    while (index->next < index->count && !index->wrong) {
        int64_t claim = (int64_t)((uint64_t)be32_of(index, index->next, TIME_ENTRY, 0) << 32 |
                                  be32_of(index, index->next, TIME_ENTRY, 4));
        uint32_t named = be32_of(index, index->next, TIME_ENTRY, 8);
        if (relative < named) {
            index->wrong = timestamp >= claim;
            break;
        }
        index->wrong = relative > named || timestamp != claim || scrub->greatest >= claim;
        index->next++;
    }
    scrub->greatest = max_i64(scrub->greatest, timestamp);
}

static void indexes_look(struct log_scrub *scrub, const struct batch_header *header,
                         uint32_t position)
{
    uint32_t relative = (uint32_t)(batch_last_offset(header) - scrub->base);
    index_look(scrub, position, relative);
    times_look(scrub, relative, header->record_count > 0 ? header->max_timestamp : INT64_MIN);
}

/* Behind damage nobody knows what they should say. */
static void indexes_give_up(struct log_scrub *scrub)
{
    scrub->times.next = scrub->times.count;
    while (scrub->offsets.next < scrub->offsets.count &&
           entry_position(&scrub->offsets, scrub->offsets.next) <= scrub->input.at)
        scrub->offsets.next++;
}

static void index_close(struct scrub_index *index)
{
    mem_free(index->bytes);
    *index = (struct scrub_index){0};
}

static char *file_path(const struct log_scrub *scrub, const char *suffix)
{
    size_t size = strlen(scrub->directory) + 48;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%020lld%s", scrub->directory, (long long)scrub->base, suffix);
    return path;
}

static void index_open(struct log_scrub *scrub, struct scrub_index *index, const char *suffix,
                       size_t entry_size)
{
    char *path = file_path(scrub, suffix);
    index_close(index);
    if (scrub->sealed)
        index->bytes = segment_index_file(scrub->input.fs, path, entry_size, &index->count);
    mem_free(path);
}

/* ---- on the helper: batches ---- */

static void found(struct log_scrub *scrub, uint32_t position, int64_t offset)
{
    if (scrub->found_count < FOUND_MAX)
        scrub->found[scrub->found_count++] = (struct scrub_found){position, offset};
}

/* To the next batch that the index knows of; false: it knows none. */
static bool go_on_by_index(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    const struct scrub_index *index = &scrub->offsets;
    for (uint32_t i = 0; i < index->count; i++) {
        if (entry_position(index, i) > scrub->lost_at && entry_position(index, i) < in->size) {
            in->at = entry_position(index, i);
            in->offset_from = scrub->base;
            scrub->lost_at = in->at;
            return true;
        }
    }
    return false;
}

static void batch_good(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    const struct batch_header *header = &in->header;
    const uint32_t position = in->at - (uint32_t)batch_size(header);
    const int64_t follows = scrub->before.end;
    const bool was_lost = scrub->lost;
    scrub->result.batches++;
    scrub->lost = false;
    if (batch_last_offset(header) >= scrub->end_offset ||
        !epoch_holds(&scrub->epochs, header->base_offset, header->leader_epoch)) {
        found(scrub, position, header->base_offset);
        in->offset_from = follows;
        scrub->before.has_gap = false;
        scrub->lost = true;
        scrub->lost_offset = follows + header->last_offset_delta + 1;
        scrub->lost_at = position;
        indexes_give_up(scrub);
        return;
    }
    indexes_look(scrub, header, position);
    scrub->before = (struct scrub_batch){.position = position,
                                         .base = header->base_offset,
                                         .end = batch_last_offset(header) + 1,
                                         .has_gap = !was_lost && header->base_offset > follows};
}

/* Not below the one before it. Which of the two is wrong? One that follows its own predecessor
 * without a gap is right. True: the one before it was, and this one is looked at again. */
static bool order_damage(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    if (!scrub->before.has_gap)
        return false;
    found(scrub, scrub->before.position, scrub->before.base);
    scrub->before = (struct scrub_batch){.end = scrub->base};
    scrub->lost = true;
    scrub->lost_offset = in->header.base_offset;
    scrub->lost_at = in->at;
    scrub->offsets.wrong = false; /* it was the batch */
    scrub->times.wrong = false;
    in->offset_from = scrub->base;
    return true;
}

static void batch_damaged(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    const struct batch_header *header = &in->header;
    const int64_t size = in->damage == CLEAN_SHORT ? 0 : batch_size(header);
    const bool whole = in->damage == CLEAN_CHECKSUM || in->damage == CLEAN_ORDER;
    if (!scrub->sealed && (in->damage == CLEAN_SHORT ||
                           (in->damage == CLEAN_BEYOND && in->at + size <= scrub->appended))) {
        scrub->more = false; /* its end is not in the file yet */
        return;
    }
    if (in->damage == CLEAN_ORDER && order_damage(scrub))
        return;
    /* Where only a damaged length has led to nothing is known. */
    const bool expected = !scrub->lost || (whole && header->base_offset == scrub->lost_offset);
    if (expected) {
        found(scrub, in->at, whole ? header->base_offset : in->offset_from);
        scrub->lost_at = in->at;
    }
    scrub->lost = true;
    scrub->lost_offset = batch_last_offset(header) + 1;
    if (in->damage == CLEAN_ORDER)
        scrub->lost_offset = in->offset_from + header->last_offset_delta + 1;
    if (whole && expected)
        in->at += (uint32_t)size;
    else if (!go_on_by_index(scrub))
        scrub->more = false;
    if (in->at >= in->size)
        scrub->more = false;
    scrub->before = (struct scrub_batch){.end = in->offset_from};
    indexes_give_up(scrub);
}

static void look_at_one(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    const uint8_t *bytes;
    switch (clean_input_next(in, &bytes)) {
    case CLEAN_BATCH:
        batch_good(scrub);
        return;
    case CLEAN_DAMAGED:
        batch_damaged(scrub);
        return;
    case CLEAN_FAILED:
        scrub->error = in->error;
        scrub->more = false;
        return;
    case CLEAN_END:
        scrub->more = false;
        if (scrub->sealed && !scrub->lost) {
            scrub->offsets.wrong |= scrub->offsets.next < scrub->offsets.count;
            scrub->times.wrong |= scrub->times.next < scrub->times.count;
        }
    }
}

static void walk_begin(struct log_scrub *scrub)
{
    struct clean_input *in = &scrub->input;
    const uint32_t size = in->size;
    char *path = file_path(scrub, ".log");
    clean_input_close(in);
    scrub->fresh = false;
    scrub->greatest = INT64_MIN;
    scrub->before = (struct scrub_batch){.end = scrub->base};
    scrub->lost = false;
    index_open(scrub, &scrub->offsets, ".index", OFFSET_ENTRY);
    index_open(scrub, &scrub->times, ".timeindex", TIME_ENTRY);
    if (!clean_input_open(in, path, size, scrub->base)) {
        scrub->error = in->error;
        scrub->more = false;
    }
    mem_free(path);
}

static void indexes_unlink(struct log_scrub *scrub)
{
    static const char *const suffixes[] = {".index", ".timeindex"};
    for (unsigned i = 0; i < array_count(suffixes); i++) {
        char *path = file_path(scrub, suffixes[i]);
        (void)!fs_unlink(scrub->input.fs, path);
        mem_free(path);
    }
    scrub->unlink = false;
    scrub->more = false;
}

static void scrub_work(void *argument)
{
    struct log_scrub *scrub = argument;
    struct clean_input *in = &scrub->input;
    in->bytes = 0;
    if (scrub->unlink) {
        indexes_unlink(scrub);
        return;
    }
    if (scrub->fresh)
        walk_begin(scrub);
    while (scrub->more && in->bytes < SCRUB_STEP_BYTES && scrub->found_count < FOUND_MAX)
        look_at_one(scrub);
    if (!scrub->more)
        clean_input_close(in);
}

/* ---- on the shard ---- */

struct log_scrub *log_scrub_new(struct fs *fs)
{
    struct log_scrub *scrub = mem_zalloc(sizeof(*scrub));
    clean_input_init(&scrub->input, fs);
    return scrub;
}

void log_scrub_free(struct log_scrub *scrub)
{
    must(scrub->lg == NULL);
    clean_input_fini(&scrub->input);
    mem_free(scrub);
}

struct log_scrub_result *log_scrub_result(struct log_scrub *scrub)
{
    return &scrub->result;
}

void log_scrub_enter(struct log_scrub *scrub, struct log *log)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls) && scrub->lg == NULL);
    size_t size = strlen(lg->ls->dir->path) + LOG_TOPIC_MAX + 16;
    scrub->lg = lg;
    lg->read_by_name++;
    scrub->directory = mem_alloc(size);
    log_directory_path(scrub->directory, size, lg->ls->dir->path, log->topic, log->id.partition);
    scrub->base = -1;
    scrub->more = false;
}

/* What of it is in its file for good. One that has just taken the place of others has not got its
 * name yet: another one has. */
static uint32_t bytes_for_good(const struct segment *segment)
{
    bool named = segment->job == NULL || segment->job->kind != JOB_SWAP;
    if (segment->below || segment->swapping || !named)
        return 0;
    return segment->sealed ? segment->size : (uint32_t)min_u64(segment->written, segment->size);
}

static void epochs_copy(struct epoch_history *to, const struct epoch_history *from)
{
    epoch_fini(to);
    for (uint32_t i = 0; i < from->count; i++)
        epoch_assign(to, from->entries[i].epoch, from->entries[i].start_offset);
}

bool log_scrub_next(struct log_scrub *scrub)
{
    const struct log_body *lg = scrub->lg;
    must(log_at_home(lg->ls) && !scrub->more);
    const struct segment *segment;
    uint32_t skip = io_mutation(lg->ls->io, "scrub.skips_a_segment") ? 1 : 0;
    if (lg->state != LOG_LIVE || lg->ls->offline)
        return false;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->base > scrub->base && bytes_for_good(segment) > 0 && skip-- == 0)
            break;
    }
    if (segment == NULL)
        return false;
    scrub->base = segment->base;
    scrub->version = segment->version;
    scrub->end_offset = segment->end_offset;
    scrub->appended = segment->size;
    scrub->sealed = segment->sealed;
    scrub->input.size = bytes_for_good(segment);
    scrub->fresh = true;
    scrub->more = true;
    scrub->error = 0;
    epochs_copy(&scrub->epochs, &lg->epochs);
    scrub->result.segments++;
    return true;
}

bool log_scrub_more(const struct log_scrub *scrub)
{
    return scrub->more;
}

/* The segment that was read; NULL: it is not that any more. */
static struct segment *segment_read(const struct log_scrub *scrub)
{
    struct log_body *lg = scrub->lg;
    struct segment *segment = segment_named(lg, scrub->base, scrub->version);
    bool same = segment != NULL && lg->state == LOG_LIVE && !lg->ls->offline &&
                !segment->swapping && !segment->below;
    return same ? segment : NULL;
}

static void tell_unreadable(struct log_scrub *scrub)
{
    const struct log *log = &scrub->lg->log;
    scrub->result.unreadable++;
    count_up(&scrub->lg->ls->counts.unreadable, 1);
    char *path = file_path(scrub, ".log");
    diag_error(scrub->lg->ls->sh, "log.unreadable",
               "file=%s topic=%s partition=%d offset=%u reason=%s next_step=%s", path, log->topic,
               (int)log->id.partition, scrub->input.at, strerror((int)-scrub->error),
               "look at the disk, and restore the file from a replica or a copy; until then a "
               "fetch of what cannot be read answers KAFKA_STORAGE_ERROR");
    mem_free(path);
}

static void tell_index(struct log_scrub *scrub, struct segment *segment)
{
    const struct log *log = &scrub->lg->log;
    scrub->result.indexes++;
    count_up(&scrub->lg->ls->counts.damaged_indexes, 1);
    char *path = file_path(scrub, scrub->offsets.wrong ? ".index" : ".timeindex");
    diag_warn(scrub->lg->ls->sh, "log.index_wrong", "file=%s topic=%s partition=%d next_step=%s",
              path, log->topic, (int)log->id.partition,
              "none: it does not fit its segment and is removed; readers walk instead, and the "
              "next search for a time makes it anew");
    mem_free(path);
    if (segment->job == NULL)
        segment_index_forget(segment);
    scrub->offsets.wrong = false;
    scrub->times.wrong = false;
    scrub->unlink = true;
    scrub->more = true;
}

static void tell(struct log_scrub *scrub, struct segment *segment)
{
    for (uint32_t i = 0; i < scrub->found_count; i++)
        segment_damaged(segment, scrub->found[i].position, scrub->found[i].offset);
    scrub->result.damaged += scrub->found_count;
    if (scrub->error != 0)
        tell_unreadable(scrub);
    else if (!scrub->more && (scrub->offsets.wrong || scrub->times.wrong))
        tell_index(scrub, segment);
}

static void on_work(struct io_op *op)
{
    struct log_scrub *scrub = container_of(op, struct log_scrub, op);
    struct log_body *lg = scrub->lg;
    struct segment *segment = segment_read(scrub);
    lg->ls->jobs--;
    scrub->result.step_bytes = scrub->input.bytes;
    scrub->result.bytes += scrub->input.bytes;
    count_up(&lg->ls->counts.scrubbed_bytes, scrub->input.bytes);
    if (segment != NULL)
        tell(scrub, segment);
    else
        scrub->more = false;
    scrub->found_count = 0;
    if (!scrub->more) {
        index_close(&scrub->offsets);
        index_close(&scrub->times);
    }
    log_unuse(lg);
    log_shard_progress(lg->ls);
    scrub->done(scrub->user);
}

/* While it runs the log keeps its directory. */
static void work_start(struct log_scrub *scrub, io_fn *done, void (*work)(void *argument))
{
    scrub->lg->users++;
    scrub->lg->ls->jobs++;
    scrub->op.done = done;
    io_work(scrub->lg->ls->io, &scrub->op, work, scrub);
}

void log_scrub_step(struct log_scrub *scrub, void (*done)(void *user), void *user)
{
    must(scrub->lg != NULL && log_at_home(scrub->lg->ls) && scrub->more);
    scrub->done = done;
    scrub->user = user;
    work_start(scrub, on_work, scrub_work);
}

static void leave_work(void *argument)
{
    struct log_scrub *scrub = argument;
    clean_input_close(&scrub->input);
}

static void on_left(struct io_op *op)
{
    struct log_scrub *scrub = container_of(op, struct log_scrub, op);
    struct log_body *lg = scrub->lg;
    mem_free(scrub->directory);
    scrub->directory = NULL;
    scrub->lg = NULL;
    index_close(&scrub->offsets);
    index_close(&scrub->times);
    epoch_fini(&scrub->epochs);
    scrub->more = false;
    scrub->unlink = false;
    must(lg->read_by_name > 0);
    lg->read_by_name--;
    lg->ls->jobs--;
    log_unuse(lg);
    log_shard_progress(lg->ls);
    scrub->done(scrub->user);
}

void log_scrub_leave(struct log_scrub *scrub, void (*done)(void *user), void *user)
{
    must(scrub->lg != NULL && log_at_home(scrub->lg->ls));
    scrub->done = done;
    scrub->user = user;
    work_start(scrub, on_left, leave_work);
}
