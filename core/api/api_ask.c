/* SPDX-License-Identifier: Apache-2.0 */
#include "core/api/api_ask.h"

#include "core/api/api.h"

#include <string.h>

#define ASK_ITEMS 8U /* per step */

void *api_ask_new(struct request *q, size_t size)
{
    struct api_ask *ask = arena_alloc(&q->arena, size);
    if (!ask)
        return NULL;
    memset(ask, 0, size);
    api_work_init(&ask->work, q);
    return ask;
}

void api_ask_begun(struct api_ask *ask)
{
    ask->waiting++;
}

void api_ask_ended(struct api_ask *ask)
{
    if (--ask->waiting > 0)
        return;
    if (ask->failed)
        api_malformed(ask->work.q);
    else
        api_work_answer(&ask->work, ask->kind->answer, ask->response);
}

/* False at the end. */
static bool next(struct api_ask *ask)
{
    switch (api_cursor_next(&ask->at, ask->topic_count,
                            ask->at.begun ? ask->kind->partition_count(ask) : 0)) {
    case API_TOPIC:
        ask->failed = !ask->kind->topic(ask);
        return !ask->failed;
    case API_PARTITION:
        ask->kind->partition(ask);
        return true;
    case API_END:
        break;
    }
    return false;
}

static bool ask_step(struct api_work *work)
{
    struct api_ask *ask = container_of(work, struct api_ask, work);
    bool more = !ask->failed;
    for (unsigned i = 0; more && i < ASK_ITEMS; i++)
        more = next(ask);
    return more;
}

static void all_asked(struct api_work *work)
{
    api_ask_ended(container_of(work, struct api_ask, work));
}

void api_ask_go(struct api_ask *ask, const struct api_ask_kind *kind, int32_t topic_count,
                void *response, const void *response_topics)
{
    ask->kind = kind;
    ask->topic_count = topic_count;
    ask->response = response;
    ask->failed = response_topics == NULL;
    ask->waiting = 1; /* for the walk itself */
    api_work_go(&ask->work, ask_step, all_asked);
}
