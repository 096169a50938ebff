/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log/log_clean.h"

#include "core/log/clean_file.h"
#include "core/log/log_change.h"
#include "core/log/log_directory.h"
#include "core/log/log_private.h"
#include "core/log/log_swap.h"
#include "io/diag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum clean_phase {
    CLEAN_NOTING,    /* keys of the dirty part */
    CLEAN_FILTERING, /* a group of segments */
    CLEAN_SWAPPING,  /* it is written: the log takes it */
    CLEAN_MARKING,   /* all are: the log notes how far */
    CLEAN_OVER,
};

/* A segment as it was when the pass began. */
struct clean_segment {
    int64_t base;
    int64_t end_offset;
    uint32_t version;
    uint32_t size;
};

/* Between steps the shard's, during one the helper's, who sees nothing else. */
struct log_clean {
    struct log_body *lg; /* not touched by the helper */
    struct log_clean_result result;
    struct io_op op;
    struct log_change change;
    void (*done)(void *user);
    void *user;

    enum clean_phase phase;
    char *directory;
    struct clean_segment *segments;
    uint32_t segment_count;
    int64_t first_dirty;
    uint64_t segment_bytes;
    uint32_t index_interval;
    uint32_t tag; /* of the next file */
    bool mistake_no_flush;

    struct compact_producer *producers;
    struct aborted_list aborted;
    struct compactor compactor;
    struct clean_input input;
    struct clean_output output;
    uint32_t at; /* the segment that is read */
    /* The group: */
    uint32_t group_from;
    uint32_t group_upto;
    bool looking; /* a single segment is read only, until something in it has to go */
    uint64_t read_before;
    uint64_t kept_before;
    struct log_swap swap;
    bool has_files; /* of this group, complete and not in place */
    bool may_unlink;

    int64_t failed; /* -errno */
    const char *verb;
    char *path; /* what failed or is damaged */
    uint32_t damage_at;
    int64_t damage_offset;
};

/* ---- which segments ---- */

static bool may_be_cleaned(const struct segment *segment, const struct log_clean_bounds *bounds)
{
    return segment_is_settled(segment) && !segment->swapping &&
           segment->end_offset <= bounds->upto_offset && segment->base < bounds->before_segment;
}

void log_clean_look(const struct log *log, const struct log_clean_bounds *bounds,
                    struct log_clean_look *look)
{
    const struct log_body *lg = log_body_of_const(log);
    const struct segment *segment;
    *look = (struct log_clean_look){.clean_upto = lg->clean_upto};
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (segment->below)
            continue;
        bool is_clean = segment->end_offset <= lg->clean_upto;
        if (!is_clean && !may_be_cleaned(segment, bounds))
            return;
        *(is_clean ? &look->clean_bytes : &look->dirty_bytes) += segment->size;
    }
}

static void take_segments(struct log_clean *clean, const struct log_clean_bounds *bounds)
{
    const struct segment *segment;
    uint32_t count = 0;
    TAILQ_FOREACH (segment, &clean->lg->segments, link)
        count++;
    clean->segments = mem_zalloc((count + 1) * sizeof(clean->segments[0]));
    TAILQ_FOREACH (segment, &clean->lg->segments, link) {
        if (segment->below)
            continue;
        if (!may_be_cleaned(segment, bounds))
            return;
        clean->segments[clean->segment_count++] =
            (struct clean_segment){.base = segment->base,
                                   .end_offset = segment->end_offset,
                                   .version = segment->version,
                                   .size = segment->size};
    }
}

static int producer_order(const void *a, const void *b)
{
    const struct compact_producer *x = a;
    const struct compact_producer *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static struct compact_producer *take_producers(const struct producer_state *ps, uint32_t *count)
{
    struct compact_producer *producers = mem_zalloc((ps->count + 1) * sizeof(producers[0]));
    *count = 0;
    for (uint32_t i = 0; i < ps->count; i++) {
        const struct producer *producer = &ps->producers[i];
        if (producer->count == 0)
            continue;
        uint32_t newest = (producer->first + producer->count - 1U) % PRODUCER_REMEMBERED;
        producers[(*count)++] = (struct compact_producer){
            .id = producer->id, .last_offset = producer->batches[newest].last_offset};
    }
    qsort(producers, *count, sizeof(producers[0]), producer_order);
    return producers;
}

static void map_begin(struct log_clean *clean, uint64_t bytes_max)
{
    uint8_t secret[KEY_MAP_SECRET_BYTES];
    for (uint32_t i = 0; i < KEY_MAP_SECRET_BYTES; i += 8) {
        uint64_t word = io_random(clean->lg->ls->io);
        memcpy(secret + i, &word, 8);
    }
    /* No more keys than offsets. */
    uint64_t keys = 0;
    if (clean->segment_count > 0)
        keys = (uint64_t)max_i64(
            clean->segments[clean->segment_count - 1].end_offset - clean->first_dirty, 0);
    key_map_init(&clean->compactor.map, keys, bytes_max, secret);
}

struct log_clean *log_clean_begin(struct log *log, const struct log_clean_options *options)
{
    struct log_body *lg = log_body_of(log);
    struct log_shard *ls = lg->ls;
    must(log_at_home(ls));
    struct log_clean *clean = mem_zalloc(sizeof(*clean));
    size_t size = strlen(ls->dir->path) + LOG_TOPIC_MAX + 16;
    clean->lg = lg;
    lg->read_by_name++;
    clean->directory = mem_alloc(size);
    log_directory_path(clean->directory, size, ls->dir->path, lg->log.topic, lg->log.id.partition);
    clean->first_dirty = lg->clean_upto;
    clean->segment_bytes = lg->config.segment_bytes;
    clean->index_interval = lg->config.index_interval_bytes;
    clean->tag = (uint32_t)io_random(ls->io);
    clean->mistake_no_flush = io_mutation(ls->io, "compact.swap_before_flush");
    take_segments(clean, &options->bounds);
    compactor_init(&clean->compactor);
    struct compact_rules *rules = &clean->compactor.rules;
    *rules = options->rules;
    clean->producers = take_producers(&lg->producers, &rules->producer_count);
    rules->producers = clean->producers;
    aborted_copy(&clean->aborted, &lg->aborted);
    rules->aborted = clean->aborted;
    clean->compactor.known_upto = clean->first_dirty;
    map_begin(clean, options->map_bytes_max);
    clean_input_init(&clean->input, ls->fs);
    clean_output_init(&clean->output, ls->fs);
    return clean;
}

const struct log_clean_result *log_clean_result(const struct log_clean *clean)
{
    return &clean->result;
}

/* ---- on the helper ---- */

static char *segment_path(const struct log_clean *clean, int64_t base)
{
    size_t size = strlen(clean->directory) + 32;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%020lld.log", clean->directory, (long long)base);
    return path;
}

static char *cleaned_path(const struct log_clean *clean, bool index)
{
    size_t size = strlen(clean->directory) + 80;
    char *path = mem_alloc(size);
    long long base = clean->segments[clean->group_from].base;
    if (index)
        (void)snprintf(path, size, "%s/" SWAP_INDEX_NAME, clean->directory, base, clean->tag);
    else
        (void)snprintf(path, size, "%s/" SWAP_NAME, clean->directory, base, clean->tag);
    return path;
}

/* `path` moves in. */
static void clean_fail(struct log_clean *clean, const char *verb, char *path, int64_t error)
{
    mem_free(clean->path);
    clean->verb = verb;
    clean->path = path;
    clean->failed = error;
}

/* The next batch of segment `at`; at its end it is closed. Neither BATCH nor END: told. */
static enum clean_read read_next(struct log_clean *clean, const uint8_t **bytes)
{
    struct clean_input *in = &clean->input;
    const struct clean_segment *segment = &clean->segments[clean->at];
    char *path = NULL;
    if (in->file < 0) {
        path = segment_path(clean, segment->base);
        bool open = clean_input_open(in, path, segment->size, segment->base);
        if (!open) {
            clean_fail(clean, "open", path, in->error);
            return CLEAN_FAILED;
        }
        mem_free(path);
    }
    enum clean_read status = clean_input_next(in, bytes);
    if (status == CLEAN_BATCH && batch_last_offset(&in->header) >= segment->end_offset)
        status = CLEAN_DAMAGED;
    if (status == CLEAN_END)
        clean_input_close(in);
    if (status == CLEAN_FAILED)
        clean_fail(clean, "read", segment_path(clean, segment->base), in->error);
    if (status == CLEAN_DAMAGED) {
        clean_fail(clean, "read", segment_path(clean, segment->base), -EBADMSG);
        clean->damage_at = in->at;
        clean->damage_offset = in->header.base_offset;
    }
    return status;
}

static void broken_records(struct log_clean *clean)
{
    const struct clean_input *in = &clean->input;
    clean_fail(clean, "inflate", segment_path(clean, clean->segments[clean->at].base), -EBADMSG);
    clean->damage_at = in->at - (uint32_t)batch_size(&in->header);
    clean->damage_offset = in->header.base_offset;
}

/* ---- the first half: keys ---- */

static void group_begin(struct log_clean *clean);

static void filter_begin(struct log_clean *clean)
{
    clean_input_close(&clean->input);
    clean->phase = CLEAN_FILTERING;
    clean->group_upto = 0;
    group_begin(clean);
}

static void note_one(struct log_clean *clean)
{
    struct compactor *cp = &clean->compactor;
    const uint8_t *bytes;
    if (clean->at == clean->segment_count) {
        filter_begin(clean);
        return;
    }
    if (clean->segments[clean->at].end_offset <= clean->first_dirty) {
        clean->at++;
        return;
    }
    enum clean_read status = read_next(clean, &bytes);
    if (status == CLEAN_END)
        cp->known_upto = max_i64(cp->known_upto, clean->segments[clean->at++].end_offset);
    if (status != CLEAN_BATCH)
        return;
    const struct batch_header *header = &clean->input.header;
    if (batch_last_offset(header) < clean->first_dirty)
        return;
    switch (compact_note(cp, bytes, (uint32_t)batch_size(header), clean->first_dirty)) {
    case COMPACT_FULL:
        if (cp->known_upto == clean->first_dirty) {
            clean->result.verdict = LOG_CLEAN_TOO_SMALL;
            clean->phase = CLEAN_OVER;
            return;
        }
        clean->result.map_full = true;
        filter_begin(clean);
        return;
    case COMPACT_BROKEN:
        broken_records(clean);
        return;
    case COMPACT_KEEP:
    case COMPACT_CHANGED:
    case COMPACT_GONE:
        cp->known_upto = batch_last_offset(header) + 1;
    }
}

/* ---- the second half: groups ---- */

static void group_begin(struct log_clean *clean)
{
    uint32_t from = clean->group_upto;
    const struct clean_segment *segments = clean->segments;
    clean->group_from = from;
    if (from == clean->segment_count || segments[from].base >= clean->compactor.known_upto) {
        clean->phase = CLEAN_MARKING;
        return;
    }
    uint32_t upto = from + 1;
    uint64_t size = segments[from].size;
    while (upto < clean->segment_count && upto - from < SWAP_SEGMENTS_MAX &&
           segments[upto].base < clean->compactor.known_upto &&
           size + segments[upto].size <= clean->segment_bytes &&
           segments[upto].end_offset - segments[from].base <= INT32_MAX)
        size += segments[upto++].size;
    clean->group_upto = upto;
    clean->at = from;
    clean->looking = upto == from + 1;
    clean->read_before = clean->compactor.records_read;
    clean->kept_before = clean->compactor.records_kept;
    clean->tag++;
    char *path = cleaned_path(clean, false);
    clean_output_begin(&clean->output, path, segments[from].base, clean->index_interval);
    mem_free(path);
}

/* Its files are complete: this is what the log is told. */
static void group_describe(struct log_clean *clean)
{
    const struct clean_output *out = &clean->output;
    struct log_swap *swap = &clean->swap;
    struct swap_record *record = &swap->record;
    *swap = (struct log_swap){.max_timestamp = out->max_timestamp};
    record->tag = clean->tag;
    record->new_size = out->size;
    record->count = clean->group_upto - clean->group_from;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct clean_segment *segment = &clean->segments[clean->group_from + i];
        record->bases[i] = segment->base;
        record->end_offset = segment->end_offset;
        swap->versions[i] = segment->version;
        swap->sizes[i] = segment->size;
    }
    if (out->max_timestamp != INT64_MIN)
        swap->max_range = (struct log_range){.base_offset = out->max_offset,
                                             .segment_base = out->base,
                                             .position = out->max_position,
                                             .length = out->max_length};
}

static void group_end(struct log_clean *clean)
{
    if (clean->looking) { /* all of it stays */
        group_begin(clean);
        return;
    }
    char *index_path = cleaned_path(clean, true);
    int64_t result = clean_output_finish(&clean->output, index_path, clean->mistake_no_flush);
    if (result >= 0)
        result = fs_sync_dir(clean->input.fs, clean->directory);
    mem_free(index_path);
    if (result < 0) {
        clean_fail(clean, "write", cleaned_path(clean, false), result);
        return;
    }
    group_describe(clean);
    clean->has_files = clean->output.size > 0;
    clean->phase = CLEAN_SWAPPING;
}

/* Something in the only segment has to go: once more from its beginning, this time with a file. */
static void group_again(struct log_clean *clean)
{
    clean_input_close(&clean->input);
    clean->compactor.records_read = clean->read_before;
    clean->compactor.records_kept = clean->kept_before;
    clean->looking = false;
}

static void filter_one(struct log_clean *clean)
{
    const uint8_t *bytes;
    const uint8_t *left = NULL;
    uint32_t left_len = 0;
    enum clean_read status = read_next(clean, &bytes);
    if (status == CLEAN_END && ++clean->at == clean->group_upto)
        group_end(clean);
    if (status != CLEAN_BATCH)
        return;
    uint32_t len = (uint32_t)batch_size(&clean->input.header);
    enum compact_verdict verdict = compact_batch(&clean->compactor, bytes, len, &left, &left_len);
    if (verdict == COMPACT_BROKEN) {
        broken_records(clean);
        return;
    }
    if (verdict == COMPACT_KEEP) {
        left = bytes;
        left_len = len;
    } else if (clean->looking) {
        group_again(clean);
        return;
    }
    if (clean->looking || verdict == COMPACT_GONE)
        return;
    /* A new form is mostly shorter; where a codec made it longer the segment may become too long.
     */
    int64_t result = (uint64_t)clean->output.size + left_len <= INT32_MAX
                         ? clean_output_put(&clean->output, left, left_len)
                         : -EFBIG;
    if (result < 0)
        clean_fail(clean, "write", cleaned_path(clean, false), result);
}

static void clean_work(void *argument)
{
    struct log_clean *clean = argument;
    struct clean_input *in = &clean->input;
    struct clean_output *out = &clean->output;
    in->bytes = 0;
    out->bytes = 0;
    uint64_t batches = 0;
    while (clean->failed == 0 && in->bytes + out->bytes + batches < CLEAN_STEP_BYTES) {
        if (clean->phase == CLEAN_NOTING)
            note_one(clean);
        else if (clean->phase == CLEAN_FILTERING)
            filter_one(clean);
        else
            break;
        /* Compressed bytes are few and still work: one that becomes ten. */
        if (in->file >= 0)
            batches += batch_codec(&in->header) != CODEC_NONE
                           ? 4U * (uint64_t)max_i64(batch_size(&in->header), 0)
                           : 64U;
    }
    if (clean->failed != 0) {
        clean_input_close(in);
        clean_output_drop(out, true);
    }
    clean->result.step_bytes = in->bytes + out->bytes;
}

/* ---- on the shard ---- */

static void step_end(struct log_clean *clean, enum log_clean_verdict verdict)
{
    clean->result.verdict = verdict;
    if (verdict != LOG_CLEAN_MORE)
        clean->phase = CLEAN_OVER;
    clean->done(clean->user);
}

static void told(const struct log_clean *clean)
{
    const struct log *log = &clean->lg->log;
    diag_error(clean->lg->ls->sh, "log.compaction_damaged",
               "topic=%s partition=%d file=%s offset=%u batch=%lld next_step=%s", log->topic,
               (int)log->id.partition, clean->path, clean->damage_at,
               (long long)clean->damage_offset,
               "restore the file from a replica or a copy; until then this log is not compacted");
}

static void step_failed(struct log_clean *clean)
{
    struct log_shard *ls = clean->lg->ls;
    if (clean->failed == -EBADMSG) {
        told(clean);
        step_end(clean, LOG_CLEAN_DAMAGED);
        return;
    }
    /* A file that is gone is the log's, which changes. */
    if (clean->failed != -ENOSPC && clean->failed != -EFBIG && clean->failed != -ENOENT)
        log_shard_fail(ls, clean->verb, clean->path, clean->failed);
    step_end(clean, LOG_CLEAN_STOPPED);
}

static void count_group(struct log_clean *clean)
{
    struct log_clean_result *result = &clean->result;
    const struct swap_record *record = &clean->swap.record;
    for (uint32_t i = 0; i < record->count; i++)
        result->bytes_before += clean->swap.sizes[i];
    result->bytes_after += record->new_size;
    result->segments_before += record->count;
    result->segments_after += record->new_size > 0;
    result->records_read += clean->compactor.records_read - clean->read_before;
    result->records_kept += clean->compactor.records_kept - clean->kept_before;
}

static void on_swapped(struct log_change *change)
{
    struct log_clean *clean = container_of(change, struct log_clean, change);
    if (change->verdict == LOG_OK)
        clean->has_files = false;
    if (change->verdict != LOG_OK) {
        step_end(clean, LOG_CLEAN_STOPPED);
        return;
    }
    if (clean->phase == CLEAN_MARKING) {
        clean->result.known_upto = clean->compactor.known_upto;
        step_end(clean, LOG_CLEAN_DONE);
        return;
    }
    count_group(clean);
    clean->phase = CLEAN_FILTERING;
    group_begin(clean);
    step_end(clean, LOG_CLEAN_MORE);
}

static void swap_start(struct log_clean *clean)
{
    struct log_swap *swap = &clean->swap;
    if (clean->phase == CLEAN_MARKING)
        *swap = (struct log_swap){.record.clean_upto = clean->compactor.known_upto};
    else
        swap->record.clean_upto = clean->lg->clean_upto;
    clean->change = (struct log_change){.done = on_swapped};
    log_swap(&clean->lg->log, &clean->change, swap);
}

static void on_work(struct io_op *op)
{
    struct log_clean *clean = container_of(op, struct log_clean, op);
    struct log_body *lg = clean->lg;
    lg->ls->jobs--;
    if (clean->failed != 0)
        step_failed(clean);
    else if (clean->phase == CLEAN_OVER)
        step_end(clean, clean->result.verdict);
    else if (lg->state != LOG_LIVE || lg->ls->offline)
        step_end(clean, LOG_CLEAN_STOPPED);
    else if (clean->phase == CLEAN_SWAPPING || clean->phase == CLEAN_MARKING)
        swap_start(clean);
    else
        step_end(clean, LOG_CLEAN_MORE);
    log_unuse(lg);
    log_shard_progress(lg->ls);
}

/* While it runs the log keeps its directory. */
static void work_start(struct log_clean *clean, io_fn *done, void (*work)(void *argument))
{
    struct log_body *lg = clean->lg;
    lg->users++;
    lg->ls->jobs++;
    clean->op.done = done;
    io_work(lg->ls->io, &clean->op, work, clean);
}

void log_clean_step(struct log_clean *clean, void (*done)(void *user), void *user)
{
    must(log_at_home(clean->lg->ls) && clean->phase != CLEAN_OVER);
    clean->done = done;
    clean->user = user;
    clean->result.verdict = LOG_CLEAN_MORE;
    work_start(clean, on_work, clean_work);
}

/* ---- the end ---- */

/* What is not in place and will not be: a swap that was refused, an output that was begun. */
static void end_work(void *argument)
{
    struct log_clean *clean = argument;
    clean_input_close(&clean->input);
    clean_output_drop(&clean->output, clean->may_unlink);
    for (unsigned index = 0; clean->has_files && clean->may_unlink && index < 2; index++) {
        char *path = cleaned_path(clean, index != 0);
        (void)!fs_unlink(clean->input.fs, path);
        mem_free(path);
    }
    /* Here, because giving back a map of many megabytes takes milliseconds. */
    compactor_fini(&clean->compactor);
    clean_input_fini(&clean->input);
    clean_output_fini(&clean->output);
}

static void on_end(struct io_op *op)
{
    struct log_clean *clean = container_of(op, struct log_clean, op);
    struct log_body *lg = clean->lg;
    mem_free(clean->producers);
    aborted_fini(&clean->aborted);
    void (*done)(void *user) = clean->done;
    void *user = clean->user;
    mem_free(clean->directory);
    mem_free(clean->segments);
    mem_free(clean->path);
    mem_free(clean);
    must(lg->read_by_name > 0);
    lg->read_by_name--;
    lg->ls->jobs--;
    log_unuse(lg);
    log_shard_progress(lg->ls);
    done(user);
}

void log_clean_end(struct log_clean *clean, void (*done)(void *user), void *user)
{
    clean->done = done;
    clean->user = user;
    /* Of a log that goes the directory may soon be another one's; an offline one is left alone,
     * since what the journal says of these files is not known. */
    clean->may_unlink = clean->lg->state == LOG_LIVE && !clean->lg->ls->offline;
    work_start(clean, on_end, end_work);
}
