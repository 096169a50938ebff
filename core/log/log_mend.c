/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that is known to be damaged is read from its beginning, batch by batch, until one is
 * not what was written. From there on, or a little before, another replica's bytes are asked for
 * (core/log/log_mend_given.c puts them in), then the walk goes on. What it comes to the end of is
 * whole, whatever was known.
 *
 * An open segment waits until it is closed, which it is at the next append: the writer works in its
 * file, and a start reads its end and would refuse what is lost there.
 */
#include "core/log/file_job.h"
#include "core/log/log_mend_private.h"
#include "core/log/read_ahead.h"

#include <stdio.h>

#define STEP_BYTES (1U << 20)

/* What its checksum does not prove. */
bool mend_belongs(const struct log_mend *mend, const struct batch_header *header)
{
    return header->last_offset_delta >= 0 && batch_last_offset(header) < mend->end_offset &&
           epoch_holds(&mend->epochs, header->base_offset, header->leader_epoch);
}

/* ---- on the helper: the walk ---- */

static bool is_known(const struct log_mend *mend, uint32_t at)
{
    for (uint32_t i = 0; i < mend->known.count; i++)
        if (mend->known.positions[i] == at)
            return true;
    return false;
}

static void ask_anew(struct log_mend *mend)
{
    mend->given_len = 0;
    mend->asked_at = mend->anchor.at;
    mend->result.offset = max_i64(mend->anchor.offset, mend->start_offset);
    mend->result.from_offset = mend->hole.offset;
}

static void hole_begins(struct log_mend *mend, struct mend_place at, struct mend_place anchor)
{
    mend->hole = at;
    mend->anchor = at.at % FS_BLOCK == 0 ? at : anchor;
    ask_anew(mend);
    mend_say(mend, LOG_MEND_ASK, NULL);
}

/* The batch is what it should be; *header is of it. */
static void passed(struct log_mend *mend, const struct batch_header *header)
{
    const struct mend_place place = {mend->next.at, header->base_offset};
    const uint32_t end = place.at + (uint32_t)batch_size(header);
    if (mend->dead.at != NO_POSITION && header->base_offset > mend->start_offset) {
        hole_begins(mend, mend->dead, mend->dead_anchor); /* some of it is above */
        return;
    }
    mend->dead.at = NO_POSITION;
    mend->gap.at = NO_POSITION;
    if (header->base_offset > mend->next.offset) {
        mend->gap = mend->next;
        mend->gap_anchor = mend->anchor;
    }
    if (place.at <= round_down(end, FS_BLOCK))
        mend->anchor = place;
    mend->next = (struct mend_place){end, batch_last_offset(header) + 1};
    if (mend->next.offset <= mend->start_offset)
        mend->anchor = mend->next;
}

/* What lies below the log's start is passed by what its header says, which the next batch proves.
 */
static bool pass_dead(struct log_mend *mend)
{
    struct clean_input *in = &mend->input;
    const struct batch_header *header = &in->header;
    const int64_t size = batch_size(header);
    const bool follows = header->base_offset == mend->next.offset && header->last_offset_delta >= 0;
    const int64_t end = follows ? batch_last_offset(header) + 1 : mend->next.offset;
    if (mend->next.offset >= mend->start_offset || end > mend->start_offset ||
        size < BATCH_HEADER_SIZE || size > mend->size - mend->next.at)
        return false;
    if (mend->dead.at == NO_POSITION) {
        mend->dead = mend->next;
        mend->dead_anchor = mend->anchor;
    }
    mend->next = (struct mend_place){mend->next.at + (uint32_t)size, end};
    mend->anchor = mend->next;
    in->at = mend->next.at;
    in->offset_from = mend->next.offset;
    return true;
}

static void look_at_one(struct log_mend *mend)
{
    struct clean_input *in = &mend->input;
    const uint8_t *bytes;
    switch (clean_input_next(in, &bytes)) {
    case CLEAN_BATCH:
        /* Behind compaction there are gaps; one that somebody calls damaged is none of those. */
        if (mend_belongs(mend, &in->header) &&
            (in->header.base_offset == mend->next.offset || !is_known(mend, mend->next.at)))
            passed(mend, &in->header);
        else if (!pass_dead(mend))
            hole_begins(mend, mend->next, mend->anchor);
        return;
    case CLEAN_DAMAGED:
        /* Of two that overlap the one with a gap in front is wrong (core/log/find_doubt.c). */
        if (in->damage == CLEAN_ORDER && mend->gap.at != NO_POSITION)
            hole_begins(mend, mend->gap, mend->gap_anchor);
        else if (in->damage == CLEAN_SHORT || !pass_dead(mend))
            hole_begins(mend, mend->next, mend->anchor);
        return;
    case CLEAN_FAILED:
        mend_say(mend, LOG_MEND_LATER, "the disk does not give the file");
        return;
    case CLEAN_END:
        mend_say(mend, LOG_MEND_WHOLE, NULL);
    }
}

static void walk(struct log_mend *mend, const char *path)
{
    struct clean_input *in = &mend->input;
    mend_say(mend, LOG_MEND_MORE, NULL);
    if (!clean_input_open(in, path, mend->size, mend->base)) {
        mend_say(mend, LOG_MEND_LATER, "the file cannot be opened");
        return;
    }
    in->at = mend->next.at;
    in->offset_from = mend->next.offset;
    in->bytes = 0;
    while (mend->result.verdict == LOG_MEND_MORE && in->bytes < STEP_BYTES)
        look_at_one(mend);
    clean_input_close(in);
}

int64_t mend_files(struct file_job *job)
{
    struct log_mend *mend = job->argument;
    char *path = file_job_path(job, ".log");
    int64_t result = 0;
    job->verb = "mend a segment of";
    if (mend->hole.at == NO_POSITION)
        walk(mend, path);
    else
        result = mend_given(mend, path);
    mem_free(path);
    return result;
}

/* ---- on the shard ---- */

static void given_drop(struct log_mend *mend)
{
    mem_free(mend->given);
    mend->given = NULL;
    mend->given_len = 0;
}

static void on_over(struct shard *sh, struct task *task)
{
    struct log_mend *mend = container_of(task, struct log_mend, over);
    (void)sh;
    mend->done(mend->user);
}

struct log_mend *log_mend_begin(struct log *log, uint32_t given_bytes_max)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls));
    struct log_mend *mend = mem_zalloc(sizeof(*mend));
    mend->lg = lg;
    mend->base = -1;
    mend->given_max = given_bytes_max;
    mend->over = (struct task){.fn = on_over, .name = "log.mend"};
    mend->hole.at = NO_POSITION;
    clean_input_init(&mend->input, lg->ls->fs);
    return mend;
}

void log_mend_end(struct log_mend *mend)
{
    given_drop(mend);
    epoch_fini(&mend->epochs);
    clean_input_fini(&mend->input);
    mem_free(mend);
}

const struct log_mend_result *log_mend_result(const struct log_mend *mend)
{
    return &mend->result;
}

static bool may_be_touched(const struct segment *segment)
{
    return segment->sealed && !segment->below && !segment->swapping && segment->job == NULL;
}

static void walk_begins(struct log_mend *mend, const struct segment *segment)
{
    const struct epoch_history *epochs = &segment->lg->epochs;
    const struct mend_place first = {0, segment->base};
    given_drop(mend);
    mend->base = segment->base;
    mend->start_offset = segment->lg->log.start_offset;
    mend->version = segment->version;
    mend->size = segment->size;
    mend->end_offset = segment->end_offset;
    mend->known = *segment->damage;
    mend->known.count = (uint32_t)min_u64(mend->known.count, SEGMENT_DAMAGES);
    mend->next = first;
    mend->anchor = first;
    mend->gap.at = NO_POSITION;
    mend->dead.at = NO_POSITION;
    mend->hole.at = NO_POSITION;
    (void)snprintf(mend->file, sizeof(mend->file), "%s/%s-%d/%020lld.log",
                   segment->lg->ls->dir->path, segment->lg->log.topic,
                   (int)segment->lg->log.id.partition, (long long)segment->base);
    mend->result.file = mend->file;
    epoch_fini(&mend->epochs);
    for (uint32_t i = 0; i < epochs->count; i++)
        epoch_assign(&mend->epochs, epochs->entries[i].epoch, epochs->entries[i].start_offset);
}

/* The segment under way; NULL: it is not what it was, or cannot be touched now. */
static struct segment *segment_now(const struct log_mend *mend)
{
    struct segment *segment = segment_named(mend->lg, mend->base, mend->version);
    bool same = segment != NULL && mend->lg->state == LOG_LIVE && !mend->lg->ls->offline &&
                may_be_touched(segment) && segment->size == mend->size;
    return same ? segment : NULL;
}

static void segment_over(struct log_mend *mend)
{
    given_drop(mend);
    mend->over_upto = mend->base + 1;
    mend->base = -1;
    mend->hole.at = NO_POSITION;
}

void log_mend_skip(struct log_mend *mend)
{
    must(mend->hole.at != NO_POSITION);
    segment_over(mend);
}

static void on_job(struct file_job *job)
{
    struct log_mend *mend = job->argument;
    struct log_shard *ls = job->ls;
    struct segment *segment = job->segment;
    if (job->result < 0) {
        log_shard_fail(ls, job->verb, job->directory, job->result);
        mend_say(mend, LOG_MEND_LATER, "the directory is offline");
    } else if (segment->doomed || segment->version != mend->version) {
        mend_say(mend, LOG_MEND_LATER, "the segment is not what it was");
    } else if (mend->result.verdict == LOG_MEND_DONE) {
        segment_mended(segment, mend->result.position, mend->bad_upto.at);
        count_up(&ls->counts.mended, mend->result.batches);
    } else if (mend->result.verdict == LOG_MEND_WHOLE) {
        segment_mended(segment, 0, segment->size);
    }
    ls->reads_again = true; /* who waited to open it */
    log_shard_kick(ls);
    if (mend->result.verdict == LOG_MEND_DONE) {
        mend->next = mend->after;
        mend->anchor = mend->after_anchor;
        mend->dead.at = NO_POSITION; /* what follows it was right */
        mend->hole.at = NO_POSITION;
        given_drop(mend);
    } else if (mend->result.verdict == LOG_MEND_WHOLE) {
        segment_over(mend); /* another one may be damaged */
        mend_say(mend, LOG_MEND_MORE, NULL);
    } else if (mend->result.verdict == LOG_MEND_REFUSED) {
        ask_anew(mend);
    }
    shard_ready(ls->sh, &mend->over); /* the caller may let go of the log, when the job has */
}

static bool job_start(struct log_mend *mend, struct segment *segment, void (*done)(void *user),
                      void *user)
{
    if (segment == NULL) {
        mend_say(mend, LOG_MEND_LATER, "the segment is not what it was");
        return false;
    }
    mend->done = done;
    mend->user = user;
    struct file_job *job = file_job_new(mend->lg->ls, JOB_MEND, mend->lg, segment, on_job);
    job->argument = mend;
    file_job_start(job);
    return true;
}

bool log_mend_step(struct log_mend *mend, void (*done)(void *user), void *user)
{
    struct log_body *lg = mend->lg;
    struct segment *segment;
    must(log_at_home(lg->ls) && mend->hole.at == NO_POSITION);
    if (mend->base >= 0)
        return job_start(mend, segment_now(mend), done, user);
    TAILQ_FOREACH (segment, &lg->segments, link)
        if (segment->base >= mend->over_upto && segment->damage != NULL && may_be_touched(segment))
            break;
    if (segment != NULL && lg->state == LOG_LIVE && !lg->ls->offline) {
        walk_begins(mend, segment);
        return job_start(mend, segment, done, user);
    }
    if (log_is_damaged(&lg->log))
        mend_say(mend, LOG_MEND_LATER, NULL); /* it was skipped, or is open, or the log goes */
    else
        mend_say(mend, LOG_MEND_WHOLE, NULL);
    return false;
}

bool log_mend_give(struct log_mend *mend, const uint8_t *bytes, uint32_t len, int64_t upto_offset,
                   void (*done)(void *user), void *user)
{
    must(log_at_home(mend->lg->ls) && mend->hole.at != NO_POSITION);
    if (len == 0 || len > mend->given_max - mend->given_len) {
        mend_say(mend, LOG_MEND_REFUSED, len == 0 ? "nothing is there" : "the damage is too long");
        ask_anew(mend);
        return false;
    }
    mend->given = mem_realloc(mend->given, mend->given_len + len);
    memcpy(mend->given + mend->given_len, bytes, len);
    mend->given_len += len;
    mend->upto_offset = upto_offset;
    return job_start(mend, segment_now(mend), done, user);
}
