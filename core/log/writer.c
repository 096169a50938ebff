/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tail to the segments, behind everybody's back.
 *
 * A log asks to be written (writer_want) when 128 KiB are flushed and not in its file, when it
 * rolled, when memory is short, or when a checkpoint runs. At the end of a turn, writes of up to
 * 256 KiB start straight from the tail blocks: at most WRITE_SLOTS per shard, one per log. Only
 * flushed bytes and, unless a checkpoint, a roll or a truncation asks for the end, only whole
 * blocks are written. Where large appends went to the file directly (core/log/bypass.c), what is
 * before them is written as soon as it is flushed, and up to their wall only. A partial block goes
 * out from a page of its own, zero padded, because the tail block behind it is being appended to.
 */
#include "core/log/writer.h"

#include "core/log/file_job.h"
#include "core/log/log_change.h"
#include "core/log/log_private.h"
#include "core/log/segment_index.h"

#define TAIL_WRITE_MIN   (128U << 10) /* lazy write when so much is flushed and unwritten */
#define TAIL_WRITE_MAX   (256U << 10)
#define TAIL_WRITE_PACED (64U << 10) /* while there is time */
#define WRITE_REST       4U          /* times what a write took, while there is time */

/* ---- how much at a time ----
 *
 * What is written here stands in front of the next commit, in the disk's queue and in its next
 * flush. While commits come slowly enough that time, not space, ends a checkpoint's period, they go
 * first: one short write at a time, and the disk rests from them four times as long as it took; one
 * flush at a time. (2,000 batches a second: of what took longer than a millisecond two thirds stood
 * behind writes and flushes that all began at once.) Under load the same would let the journal run
 * half full and then hold everybody up; there it is as much as the disk takes in a millisecond.
 */

/* Is space or memory wanted, or all of a log written, so that what is written here may get in the
 * way of commits? */
static bool writer_hurries(const struct log_shard *ls)
{
    uint64_t area = ls->journal.length - JOURNAL_AREA;
    return ls->pressure || ls->stopping || ls->truncating > 0 || ls->journal.starved ||
           ls->journal.used > area / 4 * 3;
}

bool writer_has_time(const struct log_shard *ls)
{
    return ls->has_time && !journal_half_full(&ls->journal) && !writer_hurries(ls);
}

static uint32_t writer_length_max(const struct log_shard *ls)
{
    return writer_has_time(ls) ? TAIL_WRITE_PACED : TAIL_WRITE_MAX;
}

/* ---- planning ---- */

struct write_plan {
    struct segment *segment;
    uint32_t from;
    uint32_t upto;
};

static uint32_t writer_limit(const struct log_body *lg, const struct segment *segment)
{
    if (io_mutation(lg->ls->io, "writer.unflushed_bytes"))
        return segment->size;
    if (segment == lg->flushed_segment)
        return lg->flushed_position;
    return segment->base < lg->flushed_segment->base ? segment->size : 0;
}

uint32_t writer_target(const struct log_body *lg, const struct segment *segment)
{
    if (!lg->in_checkpoint || segment->base > lg->target.segment_base)
        return 0;
    return segment->base == lg->target.segment_base ? lg->target.position : segment->size;
}

static bool writer_plan_segment(const struct log_body *lg, struct segment *segment,
                                struct write_plan *plan)
{
    uint32_t limit = writer_limit(lg, segment);
    uint32_t wall = bypass_wall(segment);
    if (segment->sealed || segment->written >= limit || segment->written >= wall)
        return false;
    uint32_t from = (uint32_t)round_down(segment->written, FS_BLOCK);
    uint32_t whole = (uint32_t)min_u64(round_down(limit, FS_BLOCK), wall);
    uint32_t upto = 0;
    if (lg->state == LOG_TRUNCATING || (segment->closed && limit == segment->size))
        upto = limit;
    else if (writer_target(lg, segment) > segment->written)
        upto = (uint32_t)max_u64(whole, writer_target(lg, segment));
    else if (whole > from && (whole - from >= TAIL_WRITE_MIN || whole == wall || lg->ls->pressure))
        upto = whole;
    upto = (uint32_t)min_u64(upto, min_u64(wall, from + writer_length_max(lg->ls)));
    *plan = (struct write_plan){.segment = segment, .from = from, .upto = upto};
    return upto > segment->written;
}

static bool writer_plan(const struct log_body *lg, struct write_plan *plan)
{
    struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        if (writer_plan_segment(lg, segment, plan))
            return true;
        if (segment->base >= lg->flushed_segment->base)
            break;
    }
    return false;
}

bool writer_is_done(struct log_body *lg)
{
    struct write_plan plan;
    if (!writer_plan(lg, &plan))
        return true;
    writer_want(lg);
    return false;
}

void writer_want(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    if (lg->write_queued || lg->writing || lg->state == LOG_DEAD ||
        (lg->state == LOG_DELETING && io_mutation(ls->io, "writer.dying_log_not_written")))
        return;
    lg->write_queued = true;
    TAILQ_INSERT_TAIL(&ls->write_queue, lg, write_link);
    log_shard_kick(ls);
}

void writer_forget(struct log_body *lg)
{
    struct log_shard *ls = lg->ls;
    if (lg->write_queued)
        TAILQ_REMOVE(&ls->write_queue, lg, write_link);
    lg->write_queued = false;
    if (lg->dirty)
        TAILQ_REMOVE(&ls->dirty, lg, dirty_link);
    lg->dirty = false;
    if (lg->listed) {
        /* A checkpoint that an offline directory left behind. */
        must(ls->offline);
        if (lg->reached)
            TAILQ_REMOVE(&ls->to_sync, lg, dirty_link);
        else
            TAILQ_REMOVE(&ls->checkpointing, lg, dirty_link);
        lg->listed = false;
        lg->in_checkpoint = false;
    }
    must(!lg->writing && lg->syncing == NULL);
}

void writer_on_flushed(struct log_body *lg)
{
    if (lg->write_queued || lg->writing)
        return;
    const struct segment *segment = lg->flushed_segment;
    uint64_t enough = min_u64(segment->written + (uint64_t)TAIL_WRITE_MIN, bypass_wall(segment));
    if (segment != lg->active || lg->flushed_position >= enough)
        writer_want(lg);
}

/* ---- closing segments ---- */

static void writer_on_sealed(struct file_job *job)
{
    struct segment *segment = job->segment;
    if (job->result < 0) {
        log_shard_fail(job->ls, job->verb, job->directory, job->result);
        return;
    }
    if (segment->doomed)
        return;
    segment->sealed = true;
    segment->sealed_number = job->ls->checkpoint_number;
    segment->dirty = false;
    segment->allocated = segment->size;
    segment_index_forget(segment);
    if (segment->damage != NULL && job->lg->log.on_damaged != NULL)
        job->lg->log.on_damaged(&job->lg->log); /* it can be mended now */
    if (!segment->below) {
        job->lg->sealed_count++;
        job->lg->sealed_bytes += segment->size;
    }
    log_dirty(job->lg);
    writer_want(job->lg); /* the next one */
}

static void writer_seal(struct log_body *lg)
{
    struct segment *segment;
    TAILQ_FOREACH (segment, &lg->segments, link) {
        /* An entry names the durable end's segment as open, so that one is not sealed yet. */
        if (segment->base >= lg->durable_segment->base)
            return;
        if (segment->sealed || segment->job != NULL || segment->written < segment->size ||
            lg->syncing == segment)
            continue;
        if (!lg->cutting && segment_ready(segment, 0))
            segment_seal(segment, writer_on_sealed);
    }
}

/* ---- writing ---- */

static void writer_on_write(struct io_op *op)
{
    struct segment_write *write = container_of(op, struct segment_write, op);
    struct log_shard *ls = write->ls;
    struct log_body *lg = write->lg;
    struct segment *segment = write->segment;
    ls->writes_busy--;
    ls->writes_bytes -= write->bytes;
    uint64_t now_ns = io_now_ns(ls->io);
    ls->write_not_before_ns = now_ns + WRITE_REST * (now_ns - write->began_ns);
    TAILQ_INSERT_HEAD(&ls->writes_free, write, link);
    lg->writing = false;
    log_unuse(lg);
    if (op->res < 0) {
        segment_unuse(segment);
        log_shard_fail(ls, "write a segment of", lg->log.topic, op->res);
        log_shard_progress(ls);
        return;
    }
    ls->moves++;
    segment->written = write->upto;
    bypass_absorb(segment);
    segment->dirty = true;
    count_up(&ls->counts.segment_writes, 1);
    count_up(&ls->counts.segment_bytes, (uint64_t)op->res);
    tail_written(lg, segment);
    segment_unuse(segment);
    writer_want(lg);
    checkpoint_log_written(lg);
    if (!TAILQ_EMPTY(&lg->changes))
        log_change_run(lg);
    log_shard_progress(ls);
}

/* The vectors of [from, upto): tail blocks, and the padded page for what is not a whole block. */
static unsigned writer_gather(const struct log_body *lg, const struct write_plan *plan,
                              struct iovec *iov, uint8_t *page, uint32_t *upto)
{
    uint32_t whole = (uint32_t)round_down(plan->upto, FS_BLOCK);
    unsigned count =
        tail_gather(lg, plan->segment, plan->from, whole, iov, IO_VECTORS_MAX - 1, upto);
    if (*upto < whole || whole == plan->upto)
        return count;
    memset(page, 0, FS_BLOCK);
    tail_copy_out(lg, plan->segment, whole, page, plan->upto - whole);
    iov[count++] = (struct iovec){.iov_base = page, .iov_len = FS_BLOCK};
    *upto = plan->upto;
    return count;
}

static void writer_start(struct log_body *lg, const struct write_plan *plan)
{
    struct log_shard *ls = lg->ls;
    struct segment_write *write = TAILQ_FIRST(&ls->writes_free);
    TAILQ_REMOVE(&ls->writes_free, write, link);
    ls->writes_busy++;
    write->lg = lg;
    write->segment = plan->segment;
    struct iovec iov[IO_VECTORS_MAX];
    unsigned count = writer_gather(lg, plan, iov, write->page, &write->upto);
    write->bytes = (uint32_t)round_up(write->upto, FS_BLOCK) - plan->from;
    if (plan->segment->issued < write->upto)
        plan->segment->issued = write->upto;
    ls->writes_bytes += write->bytes;
    lg->writing = true;
    lg->users++;
    segment_use(plan->segment);
    write->began_ns = io_now_ns(ls->io);
    write->op.done = writer_on_write;
    io_write(ls->io, &write->op, plan->segment->file, iov, count, plan->from, false);
}

/* Bytes under way at most. */
static uint64_t writer_share(const struct log_shard *ls)
{
    if (writer_hurries(ls))
        return UINT64_MAX;
    if (!writer_has_time(ls))
        return max_u64(TAIL_WRITE_MAX, ls->journal.bytes_per_ms);
    return io_now_ns(ls->io) < ls->write_not_before_ns ? 0 : 1;
}

static bool writer_may_start(const struct log_shard *ls)
{
    return !ls->offline && !TAILQ_EMPTY(&ls->writes_free) && ls->writes_bytes < writer_share(ls);
}

void writer_run(struct log_shard *ls)
{
    struct log_body *lg;
    while (writer_may_start(ls) && (lg = TAILQ_FIRST(&ls->write_queue)) != NULL) {
        TAILQ_REMOVE(&ls->write_queue, lg, write_link);
        lg->write_queued = false;
        if (lg->state != LOG_TRUNCATING)
            writer_seal(lg);
        struct write_plan plan;
        if (lg->writing || !writer_plan(lg, &plan)) {
            checkpoint_log_written(lg);
            continue;
        }
        /* Space first: the job that takes it queues the log again. */
        if (segment_ready(plan.segment, round_up(plan.upto, FS_BLOCK)))
            writer_start(lg, &plan);
    }
    if (!TAILQ_EMPTY(&ls->write_queue) && ls->writes_busy == 0 && !ls->offline &&
        writer_has_time(ls))
        timer_set(ls->sh, &ls->write_timer, ls->write_not_before_ns);
}
