/* SPDX-License-Identifier: Apache-2.0 */
#include "core/helper_line.h"

#include "io/io.h"

static void on_worked(struct io_op *op);

static void work(void *argument)
{
    struct helper_job *job = argument;
    job->more = job->work(job, job->slices);
}

static void job_go(struct helper_job *job, uint32_t slices)
{
    struct helper_line *line = job->line;
    job->slices = slices;
    job->op.done = on_worked;
    count_up(&line->jobs, 1);
    io_work(line->sh->io, &job->op, work, job);
}

static void next_long(struct helper_line *line)
{
    struct helper_job *job = TAILQ_FIRST(&line->waiting);
    line->longest = job;
    if (!job)
        return;
    TAILQ_REMOVE(&line->waiting, job, link);
    job_go(job, HELPER_SLICES);
}

static void on_worked(struct io_op *op)
{
    struct helper_job *job = container_of(op, struct helper_job, op);
    struct helper_line *line = job->line;
    if (job->more && !line->longest)
        line->longest = job;
    if (job->more && line->longest == job) {
        job_go(job, HELPER_SLICES);
        return;
    }
    if (job->more) {
        job->rewind(job);
        count_up(&line->rewinds, 1);
        TAILQ_INSERT_TAIL(&line->waiting, job, link);
        return;
    }
    if (line->longest == job)
        next_long(line);
    job->done(job);
}

void helper_line_init(struct helper_line *line, struct shard *sh)
{
    *line = (struct helper_line){.sh = sh};
    TAILQ_INIT(&line->waiting);
}

void helper_line_go(struct helper_line *line, struct helper_job *job)
{
    job->line = line;
    job_go(job, HELPER_SLICES_FIRST);
}
