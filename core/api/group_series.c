/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/group_series.h"

#include "core/api/api.h"

static bool series_step(struct api_work *work)
{
    struct group_series *series = container_of(work, struct group_series, work);
    if (series->at >= series->count)
        return false;
    series->stepping = true;
    series->away = true;
    series->call.error = ERR_NONE;
    series->begin(series);
    if (series->call.error == ERR_NONE)
        group_call_start(api_shard(work->q), &series->call);
    else
        series->call.done(&series->call);
    series->stepping = false;
    return !series->away;
}

static void series_stepped(struct api_work *work)
{
    struct group_series *series = container_of(work, struct group_series, work);
    if (!series->away)
        series->end(series);
}

static void on_back(struct group_call *call)
{
    struct group_series *series = container_of(call, struct group_series, call);
    series->away = false;
    series->back(series);
    series->at++;
    if (!series->stepping)
        api_work_go(&series->work, series_step, series_stepped);
}

void group_series_start(struct group_series *series, struct request *q)
{
    api_work_init(&series->work, q);
    series->call.arena = &q->arena;
    series->call.done = on_back;
    api_work_go(&series->work, series_step, series_stepped);
}
