/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that is known to be damaged is read from its beginning, batch by batch, until one is
 * not what was written. From there on the bytes of another replica are laid beside those of the
 * file, as far as the files agree again:
 *
 *     block:      |           |           |           |
 *     batches:    [ a ][  b  ][##c##][#####d#####][  e   ][ f ]
 *     given:           [  b  ][  c  ][     d     ][  e   ]
 *                      anchor
 *
 * All that is given follows each other without a gap, from the batch on that the first block begins
 * in (the anchor), and each batch has the right checksum and an epoch that our history has there.
 * Where file and answer differ the file's batch must be damaged; where it is good, and another one,
 * nothing is touched. The range ends where both have the same batch again, or where the segment
 * ends. So its bytes fit it exactly, and every byte of a block that is written was just seen to be
 * the same on another replica, below its high watermark.
 *
 * That is also why a crash in the midst is safe. The blocks at both ends hold bytes of healthy
 * batches, and power that is lost may take a block with it that is being written. They are written
 * with what they held; if they are lost all the same there is a copy where this one came from, and
 * what is lost here is damage like any other: found by the scrub or by who reads it, and mended.
 * Rejected: a copy in log.id as for a cut (core/log/segment_cut.c), which has room for one block,
 * and a segment written anew that takes the place of this one (core/log/log_swap.c), a gigabyte for
 * a bit.
 *
 * An open segment waits until it is closed: the writer works in its file, and a start reads its end
 * and would refuse what is lost there. So does a log that a compaction has left gaps in at that
 * place: there nothing proves which offsets are missing.
 */
#include "core/log/log_mend.h"

#include "core/log/clean_file.h"
#include "core/log/file_job.h"
#include "core/log/log_private.h"
#include "core/log/read_ahead.h"
#include "io/diag.h"

#include <stdio.h>

#define STEP_BYTES  (1U << 20)
#define GIVEN_MAX   (128U << 20)
#define NO_POSITION UINT32_MAX

/* Where a batch begins, or should. */
struct mend_place {
    uint32_t at;
    int64_t offset;
};

/* During a step the helper's, who sees nothing else; otherwise the shard's. */
struct log_mend {
    struct log_body *lg; /* not touched by the helper */
    struct log_mend_result result;
    char file[512];
    void (*done)(void *user);
    void *user;

    /* The segment, as it was when the walk of it began; base -1: none. */
    int64_t base;
    int64_t start_offset; /* of the log; what lies below it nobody wants, and nobody has */
    int64_t end_offset;
    uint32_t version;
    uint32_t size;
    int64_t over_upto; /* segments that begin below it have had their turn */
    struct epoch_history epochs;
    struct segment_damage known;

    struct clean_input input;
    struct mend_place next;   /* of the walk */
    struct mend_place anchor; /* the last batch that begins at or before the block of `next` */
    struct mend_place gap;    /* a batch that does not follow the one before it; NO_POSITION: the */
    struct mend_place gap_anchor; /* last one does */
    struct mend_place dead;       /* damage that may lie below the log's start; NO_POSITION: none */
    struct mend_place dead_anchor;

    struct mend_place hole; /* the first damaged batch; NO_POSITION: not met */
    uint8_t *given;         /* from the anchor on */
    uint32_t given_len;
    uint32_t asked_at; /* what was given last begins there */
    int64_t upto_offset;

    uint8_t *blocks; /* of the file, from the anchor's on; during one step */
    uint64_t blocks_from;
    uint64_t blocks_len;
    struct mend_place bad_upto;
    uint32_t bad_from;
    uint32_t bad_batches;
    struct mend_place after; /* the end of what is the same now, and its anchor */
    struct mend_place after_anchor;
};

/* ---- on the helper: the walk ---- */

static void say(struct log_mend *mend, enum log_mend_verdict verdict, const char *reason)
{
    mend->result.verdict = verdict;
    mend->result.reason = reason;
}

static bool is_known(const struct log_mend *mend, uint32_t at)
{
    for (uint32_t i = 0; i < mend->known.count; i++)
        if (mend->known.positions[i] == at)
            return true;
    return false;
}

/* What its checksum does not prove. */
static bool belongs_here(const struct log_mend *mend, const struct batch_header *header)
{
    return header->last_offset_delta >= 0 && batch_last_offset(header) < mend->end_offset &&
           epoch_holds(&mend->epochs, header->base_offset, header->leader_epoch);
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
    say(mend, LOG_MEND_ASK, NULL);
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

/* What lies below the log's start is passed by its length. */
static bool pass_dead(struct log_mend *mend)
{
    struct clean_input *in = &mend->input;
    const int64_t size = batch_size(&in->header);
    if (mend->next.offset >= mend->start_offset || size < BATCH_HEADER_SIZE ||
        size > mend->size - mend->next.at)
        return false;
    if (mend->dead.at == NO_POSITION) {
        mend->dead = mend->next;
        mend->dead_anchor = mend->anchor;
    }
    mend->next.at += (uint32_t)size;
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
        if (belongs_here(mend, &in->header) &&
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
        say(mend, LOG_MEND_LATER, "the disk does not give the file");
        return;
    case CLEAN_END:
        say(mend, LOG_MEND_WHOLE, NULL);
    }
}

static void walk(struct log_mend *mend, const char *path)
{
    struct clean_input *in = &mend->input;
    say(mend, LOG_MEND_MORE, NULL);
    if (!clean_input_open(in, path, mend->size, mend->base)) {
        say(mend, LOG_MEND_LATER, "the file cannot be opened");
        return;
    }
    in->at = mend->next.at;
    in->offset_from = mend->next.offset;
    in->bytes = 0;
    while (mend->result.verdict == LOG_MEND_MORE && in->bytes < STEP_BYTES)
        look_at_one(mend);
    clean_input_close(in);
}

/* ---- on the helper: is what was given right? ---- */

/* A whole batch at `at`, of at most `len` bytes, that begins with the offset. */
static bool is_good(const struct log_mend *mend, const uint8_t *bytes, uint64_t len, int64_t offset,
                    struct batch_header *header)
{
    struct piece piece;
    if (len < BATCH_HEADER_SIZE)
        return false;
    batch_header_of(header, bytes);
    const int64_t size = batch_size(header);
    return size >= BATCH_HEADER_SIZE && size <= (int64_t)min_u64(len, INT32_MAX) &&
           header->magic == BATCH_MAGIC && header->base_offset == offset &&
           belongs_here(mend, header) &&
           batch_crc(span_of(&piece, bytes, (uint32_t)size)) == header->crc;
}

static const uint8_t *file_at(const struct log_mend *mend, uint32_t position)
{
    return mend->blocks + (position - mend->blocks_from);
}

/* The next batch of what was given, at `place` of the file. False: `say` was called. */
static bool compare_one(struct log_mend *mend, struct mend_place *place, bool *differs)
{
    const uint8_t *given = mend->given + (place->at - mend->anchor.at);
    const uint32_t left = mend->given_len - (place->at - mend->anchor.at);
    const uint32_t room = mend->size - place->at;
    struct batch_header header;
    struct batch_header own;
    if (!is_good(mend, given, left, place->offset, &header)) {
        say(mend, LOG_MEND_REFUSED, "what is there is no batch that belongs here");
        return false;
    }
    const uint32_t size = (uint32_t)batch_size(&header);
    if (size > room) {
        say(mend, LOG_MEND_REFUSED, "what is there is longer than the segment");
        return false;
    }
    *differs = memcmp(given, file_at(mend, place->at), size) != 0;
    if (*differs && is_good(mend, file_at(mend, place->at), room, place->offset, &own)) {
        say(mend, LOG_MEND_REFUSED, "what is there is another batch than the good one here");
        return false;
    }
    *place = (struct mend_place){place->at + size, batch_last_offset(&header) + 1};
    return true;
}

/* Does what is left of it hold a whole batch? */
static bool has_one_more(const struct log_mend *mend, uint32_t at)
{
    struct batch_header header;
    const uint32_t used = at - mend->anchor.at;
    if (mend->given_len - used < BATCH_HEADER_SIZE)
        return false;
    batch_header_of(&header, mend->given + used);
    return batch_size(&header) <= mend->given_len - used;
}

/* More has to be given, from `place` on. An answer always has one whole batch. */
static void ask_on(struct log_mend *mend, struct mend_place place)
{
    mend->given_len = place.at - mend->anchor.at;
    mend->result.offset = place.offset;
    if (place.at == mend->asked_at)
        say(mend, LOG_MEND_REFUSED, "what is there ends in the middle of a batch");
    else
        say(mend, LOG_MEND_ASK, NULL);
    mend->asked_at = place.at;
}

static void remember_bad(struct log_mend *mend, struct mend_place batch, struct mend_place end)
{
    if (mend->bad_from == NO_POSITION) {
        mend->bad_from = batch.at;
        mend->result.from_offset = batch.offset;
    }
    mend->bad_upto = end;
    mend->bad_batches++;
}

/* True: all of it is known. Else `say` was called. */
static bool compare(struct log_mend *mend)
{
    struct mend_place place = mend->anchor;
    bool differs = false;
    mend->bad_from = NO_POSITION;
    mend->bad_upto = (struct mend_place){0};
    mend->bad_batches = 0;
    mend->after_anchor = mend->anchor;
    while (place.at < mend->size && (differs || place.at <= mend->hole.at ||
                                     place.at < round_up(mend->bad_upto.at, FS_BLOCK))) {
        const struct mend_place batch = place;
        if (!has_one_more(mend, place.at)) {
            ask_on(mend, place);
            return false;
        }
        if (!compare_one(mend, &place, &differs))
            return false;
        if (differs)
            remember_bad(mend, batch, place);
        if (batch.at <= round_down(place.at, FS_BLOCK))
            mend->after_anchor = batch;
    }
    mend->after = place;
    if (place.at == mend->size && place.offset != mend->end_offset)
        say(mend, LOG_MEND_REFUSED, "what is there does not end where the segment does");
    else if (mend->bad_from == NO_POSITION)
        say(mend, LOG_MEND_LATER, "the file reads well again");
    else if (mend->bad_upto.offset > mend->upto_offset)
        say(mend, LOG_MEND_LATER, "it is not known to be committed");
    else
        return true;
    return false;
}

/* ---- on the helper: the file ---- */

/* Past the page cache. What a file that is too short does not have is zeros. */
static int64_t read_blocks(struct log_mend *mend, const char *path, uint8_t *to, uint64_t from,
                           uint64_t len)
{
    struct fs *fs = mend->input.fs;
    int file = fs_open(fs, path, FS_READ | FS_DIRECT);
    if (file < 0)
        return file;
    int64_t got = fs_read(fs, file, to, len, from);
    fs_close(fs, file);
    if (got >= 0 && (uint64_t)got < len)
        memset(to + got, 0, len - (uint64_t)got);
    return min_i64(got, 0);
}

static int64_t write_range(struct log_mend *mend, const char *path, uint64_t from, uint64_t upto)
{
    struct fs *fs = mend->input.fs;
    int file = fs_open(fs, path, FS_WRITE); /* the last block of the file may not be a whole one */
    if (file < 0)
        return file;
    int64_t result = fs_write(fs, file, file_at(mend, (uint32_t)from), upto - from, from);
    if (result >= 0)
        result = fs_sync(fs, file);
    fs_close(fs, file);
    return min_i64(result, 0);
}

static bool reads_back(struct log_mend *mend, const char *path, uint64_t from, uint64_t upto)
{
    const uint64_t len = round_up(upto, FS_BLOCK) - from;
    uint8_t *blocks = mem_pages(len);
    bool same = read_blocks(mend, path, blocks, from, len) >= 0 &&
                memcmp(blocks, file_at(mend, (uint32_t)from), upto - from) == 0;
    mem_pages_free(blocks, len);
    return same;
}

/* Whole blocks, but for the end of the file. */
static int64_t put_back(struct log_mend *mend, const char *path)
{
    const uint32_t bytes = mend->bad_upto.at - mend->bad_from;
    const uint64_t from = round_down(mend->bad_from, FS_BLOCK);
    const uint64_t upto = min_u64(round_up(mend->bad_upto.at, FS_BLOCK), mend->size);
    memcpy(mend->blocks + (mend->bad_from - mend->blocks_from),
           mend->given + (mend->bad_from - mend->anchor.at), bytes);
    if (fs_mutation(mend->input.fs, "mend.neighbours_not_kept"))
        memset(mend->blocks + (from - mend->blocks_from), 0, mend->bad_from - from);
    if (!fs_mutation(mend->input.fs, "mend.not_written")) {
        int64_t result = write_range(mend, path, from, upto);
        if (result < 0)
            return result;
        if (!reads_back(mend, path, from, upto)) {
            say(mend, LOG_MEND_LATER, "what was written reads back as something else");
            return 0;
        }
    }
    mend->result.upto_offset = mend->bad_upto.offset;
    mend->result.position = mend->bad_from;
    mend->result.bytes = bytes;
    mend->result.batches = mend->bad_batches;
    say(mend, LOG_MEND_DONE, NULL);
    return 0;
}

static int64_t look_at_given(struct log_mend *mend, const char *path)
{
    const uint64_t upto = min_u64((uint64_t)mend->anchor.at + mend->given_len, mend->size);
    int64_t result = 0;
    mend->blocks_from = round_down(mend->anchor.at, FS_BLOCK);
    mend->blocks_len = round_up(max_u64(upto, mend->hole.at + 1), FS_BLOCK) - mend->blocks_from;
    mend->blocks = mem_pages(mend->blocks_len);
    if (read_blocks(mend, path, mend->blocks, mend->blocks_from, mend->blocks_len) < 0)
        say(mend, LOG_MEND_LATER, "the disk does not give the file");
    else if (compare(mend))
        result = put_back(mend, path);
    mem_pages_free(mend->blocks, mend->blocks_len);
    mend->blocks = NULL;
    return result;
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
        result = look_at_given(mend, path);
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

struct log_mend *log_mend_begin(struct log *log)
{
    struct log_body *lg = log_body_of(log);
    must(log_at_home(lg->ls));
    struct log_mend *mend = mem_zalloc(sizeof(*mend));
    mend->lg = lg;
    mend->base = -1;
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
        say(mend, LOG_MEND_LATER, "the directory is offline");
    } else if (segment->doomed || segment->version != mend->version) {
        say(mend, LOG_MEND_LATER, "the segment is not what it was");
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
        mend->hole.at = NO_POSITION;
        given_drop(mend);
    } else if (mend->result.verdict == LOG_MEND_WHOLE) {
        segment_over(mend); /* another one may be damaged */
        say(mend, LOG_MEND_MORE, NULL);
    } else if (mend->result.verdict == LOG_MEND_REFUSED) {
        ask_anew(mend);
    }
    mend->done(mend->user);
}

static bool job_start(struct log_mend *mend, struct segment *segment, void (*done)(void *user),
                      void *user)
{
    if (segment == NULL) {
        say(mend, LOG_MEND_LATER, "the segment is not what it was");
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
        say(mend, LOG_MEND_LATER, NULL); /* it was skipped, or is open, or the log goes */
    else
        say(mend, LOG_MEND_WHOLE, NULL);
    return false;
}

bool log_mend_give(struct log_mend *mend, const uint8_t *bytes, uint32_t len, int64_t upto_offset,
                   void (*done)(void *user), void *user)
{
    must(log_at_home(mend->lg->ls) && mend->hole.at != NO_POSITION);
    if (len == 0 || len > GIVEN_MAX - mend->given_len) {
        say(mend, LOG_MEND_REFUSED, len == 0 ? "nothing is there" : "the damage is too long");
        ask_anew(mend);
        return false;
    }
    mend->given = mem_realloc(mend->given, mend->given_len + len);
    memcpy(mend->given + mend->given_len, bytes, len);
    mend->given_len += len;
    mend->upto_offset = upto_offset;
    return job_start(mend, segment_now(mend), done, user);
}
