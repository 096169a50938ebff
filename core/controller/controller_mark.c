/* SPDX-License-Identifier: Apache-2.0
 *
 * The log directories are told how far the metadata log was followed (struct metadata_mark), so
 * that a start notices a store that was set back to an older copy: it knows nothing of newer
 * topics, and their logs must not be taken for those of deleted ones.
 *
 * Told at once, then five times a second at most while the log goes on (each time is a rename and
 * two flushes in each directory), and at a planned stop. What was decided in the fifth of a second
 * before a crash is not covered. Nor is a store that was set back and has gone on until a snapshot
 * stands for the marked batch: nothing is left there to compare it with.
 */
#include "core/controller/controller_private.h"
#include "io/diag.h"

#define MARK_REST_NS (NS_PER_S / 5)

static void mark_work(void *argument)
{
    struct controller_mark *mark = argument;
    mark->good = log_dirs_set_mark(mark->dirs, mark->writing, &mark->error);
}

static void on_rested(struct shard *sh, struct timer *timer)
{
    (void)sh;
    controller_mark(container_of(timer, struct controller, mark.rest));
}

static void on_marked(struct io_op *op)
{
    struct controller *c = container_of(op, struct controller, mark.op);
    struct controller_mark *mark = &c->mark;
    mark->busy = false;
    mark->written = mark->writing.number;
    if (!mark->good && !mark->told) /* a directory that has failed fails from now on */
        diag_warn(c->sh, "metadata.mark_not_written", "why=%s", mark->error.text);
    mark->told = !mark->good;
    mark->rest = (struct timer){.fn = on_rested, .name = "controller.mark"};
    timer_set(c->sh, &mark->rest, io_now_ns(c->sh->io) + MARK_REST_NS);
    controller_try_to_end(c);
}

static void begin(struct controller *c)
{
    struct controller_mark *mark = &c->mark;
    mark->dirs = c->bs->broker->dirs;
    mark->writing = metadata_log_mark(&c->log);
    mark->busy = true;
    mark->op.done = on_marked;
    io_work(c->sh->io, &mark->op, mark_work, mark);
}

static bool is_behind(const struct controller *c)
{
    return c->log_begun && c->log.number > c->mark.written;
}

void controller_mark(struct controller *c)
{
    if (is_behind(c) && !c->closing && !c->mark.busy && !c->identity_busy &&
        !timer_is_set(&c->mark.rest))
        begin(c);
}

bool controller_mark_ended(struct controller *c)
{
    timer_cancel(c->sh, &c->mark.rest);
    controller_mark(c);
    return !c->mark.busy;
}
