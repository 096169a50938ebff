/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/group_series.h"

#include "core/api/api.h"

#define NOBODY (-1)

/* A group that is to be asked for, in line with those of its home. */
struct series_place {
    struct str group_id;
    int32_t partition;
    int32_t next; /* of the same home */
};

struct series_line {
    int32_t first, last; /* NOBODY: empty */
};

/* ---- on a home shard, one group after another ---- */

static void series_next_shard(struct group_series *series);

static void on_visited(struct shard *here, struct mail *mail)
{
    (void)here;
    series_next_shard(container_of(mail, struct group_series, mail));
}

static void visit_over(struct group_series *series, struct shard *here)
{
    if (here == api_shard(series->work.q)->sh)
        series_next_shard(series);
    else
        shard_answer(here, &series->mail, on_visited);
}

static void visit_run(struct shard *here, struct task *task)
{
    struct group_series *series = container_of(task, struct group_series, task);
    const uint64_t began_ns = io_clock_ns(here->io);
    while (series->at != NOBODY) {
        const struct series_place *place = &series->places[series->at];
        if (shard_should_yield(here, began_ns)) {
            shard_ready(here, task);
            return;
        }
        series->call.group_id = place->group_id;
        series->call.partition = place->partition;
        series->stepping = true;
        series->away = true;
        group_call_run(broker_shard_of(here), &series->call);
        series->stepping = false;
        if (series->away)
            return;
    }
    visit_over(series, here);
}

static void on_back(struct group_call *call)
{
    struct group_series *series = container_of(call, struct group_series, call);
    series->away = false;
    series->back(series);
    series->at = series->places[series->at].next;
    if (!series->stepping)
        shard_ready(shard_here(), &series->task);
}

static void visit(struct shard *here, struct group_series *series)
{
    series->task = (struct task){.fn = visit_run, .name = "group.series"};
    visit_run(here, &series->task);
}

static void on_visit(struct shard *here, struct mail *mail)
{
    visit(here, container_of(mail, struct group_series, mail));
}

/* ---- on the connection's shard ---- */

static void series_next_shard(struct group_series *series)
{
    const struct broker_shard *bs = api_shard(series->work.q);
    const uint16_t count = bs->broker->shard_count;
    while (series->shard < count && series->lines[series->shard].first == NOBODY)
        series->shard++;
    if (series->shard == count) {
        series->end(series);
        return;
    }
    const uint16_t shard = series->shard++;
    series->at = series->lines[shard].first;
    if (shard == bs->sh->id)
        visit(bs->sh, series);
    else
        shard_post(bs->sh, shard, &series->mail, on_visit);
}

static void line_up(struct group_series *series, int32_t at)
{
    const struct group_call *call = &series->call;
    struct series_line *line = &series->lines[call->home];
    series->places[at] = (struct series_place){
        .group_id = call->group_id, .partition = call->partition, .next = NOBODY};
    if (line->first == NOBODY)
        line->first = at;
    else
        series->places[line->last].next = at;
    line->last = at;
}

static bool series_step(struct api_work *work)
{
    struct group_series *series = container_of(work, struct group_series, work);
    struct group_call *call = &series->call;
    if (series->at >= series->count)
        return false;
    call->error = ERR_NONE;
    series->begin(series);
    if (call->error == ERR_NONE && !group_call_place(api_shard(work->q), call))
        call->error = ERR_NOT_COORDINATOR;
    if (call->error == ERR_NONE)
        line_up(series, series->at);
    else
        series->back(series);
    series->at++;
    return true;
}

static void series_lined_up(struct api_work *work)
{
    series_next_shard(container_of(work, struct group_series, work));
}

void group_series_start(struct group_series *series, struct request *q)
{
    const uint16_t shards = api_shard(q)->broker->shard_count;
    api_work_init(&series->work, q);
    series->call.arena = &q->arena;
    series->call.done = on_back;
    series->places = arena_array(&q->arena, (size_t)series->count, sizeof(*series->places));
    series->lines = arena_array(&q->arena, shards, sizeof(*series->lines));
    if (!series->places || !series->lines) {
        api_malformed(q);
        return;
    }
    for (uint16_t i = 0; i < shards; i++)
        series->lines[i] = (struct series_line){NOBODY, NOBODY};
    api_work_go(&series->work, series_step, series_lined_up);
}
