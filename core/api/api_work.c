/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/api_work.h"

#include "core/api/api.h"
#include "core/quota.h"

#include <string.h>

#define ENCODE_ELEMENTS 128U /* per step: 10 us */

static void on_task(struct shard *sh, struct task *task);

void api_work_init(struct api_work *work, struct request *q)
{
    memset(work, 0, sizeof(*work));
    work->q = q;
    work->task =
        (struct task){.fn = on_task, .name = kafka_api_find(q->header.request_api_key)->name};
}

static void work_wait(struct api_work *work)
{
    struct broker_shard *bs = api_shard(work->q);
    if (!work->waiting) {
        work->waiting = true;
        work->hold = partitions_hold_image(bs);
    }
    count_up(&bs->yields, 1);
    request_yield(work->q, &work->task);
}

static void work_over(struct api_work *work)
{
    if (!work->waiting)
        return;
    work->waiting = false;
    partitions_release_image(api_shard(work->q), work->hold);
    request_yield_end(work->q);
}

static void work_run(struct api_work *work)
{
    const struct shard *sh = work->q->conn->net->sh;
    const uint64_t began_ns = io_clock_ns(sh->io);
    work->running = true;
    while (work->step) {
        while (work->step(work)) {
            if (shard_should_yield(sh, began_ns)) {
                work->running = false;
                work_wait(work);
                return;
            }
        }
        work->step = NULL;
        work->done(work);
    }
    work->running = false;
    work_over(work);
}

/* Its time counts, unless that of what called does. */
static void work_run_timed(struct api_work *work)
{
    struct request *q = work->q;
    bool timed = quota_time_begin(q);
    work_run(work);
    if (timed)
        quota_time_end(q);
}

static void on_task(struct shard *sh, struct task *task)
{
    (void)sh;
    work_run_timed(container_of(task, struct api_work, task));
}

void api_work_go(struct api_work *work, api_step *step, api_done *done)
{
    must(!work->step);
    work->step = step;
    work->done = done;
    if (work->running)
        return;
    work->image = api_shard(work->q)->image;
    work_run_timed(work);
}

/* ---- answers ---- */

static bool encode_some(struct request *q, enum kafka_kind kind, const void *response)
{
    q->answer.budget = ENCODE_ELEMENTS;
    return !kafka_write(kind, &q->answer, q->header.request_api_version, response);
}

static bool encode_step(struct api_work *work)
{
    return encode_some(work->q, work->kind, work->response);
}

static void encoded(struct api_work *work)
{
    request_answer(work->q);
}

static void tell_throttle(struct request *q, enum kafka_kind kind, void *response)
{
    int32_t at = kafka_messages[kind].throttle;
    quota_time_settle(q);
    if (at < 0 || q->mute_ns == 0)
        return;
    const int32_t ms = (int32_t)(q->mute_ns / 1000000U);
    memcpy((char *)response + at, &ms, sizeof(ms));
}

void api_work_answer(struct api_work *work, enum kafka_kind kind, void *response)
{
    tell_throttle(work->q, kind, response);
    work->kind = kind;
    work->response = response;
    request_answer_begin(work->q);
    api_work_go(work, encode_step, encoded);
}

void api_answer(struct request *q, enum kafka_kind kind, void *response)
{
    tell_throttle(q, kind, response);
    request_answer_begin(q);
    if (!encode_some(q, kind, response)) {
        request_answer(q);
        return;
    }
    struct api_work *work = arena_alloc(&q->arena, sizeof(*work));
    void *copy = arena_alloc(&q->arena, kafka_messages[kind].size);
    if (!work || !copy) {
        api_malformed(q);
        return;
    }
    memcpy(copy, response, kafka_messages[kind].size);
    api_work_init(work, q);
    work->kind = kind;
    work->response = copy;
    api_work_go(work, encode_step, encoded);
}

enum api_place api_cursor_next(struct api_cursor *at, int32_t topic_count, int32_t partition_count)
{
    if (at->begun && at->partition + 1 < partition_count) {
        at->partition++;
        return API_PARTITION;
    }
    at->topic += at->begun;
    at->begun = at->topic < topic_count;
    at->partition = -1;
    return at->begun ? API_TOPIC : API_END;
}
