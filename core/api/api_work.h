/* SPDX-License-Identifier: Apache-2.0
 *
 * Work over many items: a request that may be about thousands of topics or partitions does a few of
 * them per step and keeps a cursor in its operation; after SHARD_YIELD_NS the rest of the shard has
 * its turn and the work goes on in the next one. Encoding a long answer is such work, too.
 *
 * While work waits, no later request of its connection starts, so appends keep their order, and the
 * image it began with is held: its steps and its answer see one snapshot, and may keep pointers
 * into it until the work is done.
 */
#pragma once

#include "core/broker.h"
#include "net/conn.h"
#include "net/kafka.h"

struct api_work;

typedef bool api_step(struct api_work *work); /* 10 us at most; true: there is more to do */
typedef void api_done(struct api_work *work);

/* Embedded in the handler's operation, in the request's arena. */
struct api_work {
    struct request *q;
    const struct image *image; /* for step and done */

    /* private */
    api_step *step;
    api_done *done;
    struct task task;
    bool running;
    bool waiting; /* holds the image */
    uint32_t hold;
    enum kafka_kind kind;
    const void *response;
};

void api_work_init(struct api_work *work, struct request *q);
/* Steps until there is no more to do, now or in later turns, then done(), which may go on with
 * another step. One step at a time. */
void api_work_go(struct api_work *work, api_step *step, api_done *done);
/* Ends the request with this answer. `response` stays until the answer has been written; it is in
 * the request's arena. How long the connection rests, if it is over a quota, is told in it. */
void api_work_answer(struct api_work *work, enum kafka_kind kind, void *response);

/* The same for a handler that does no work of that kind; copies `response` when it is long. */
void api_answer(struct request *q, enum kafka_kind kind, void *response);

/* A walk over partitions that are named topic by topic. */
struct api_cursor {
    int32_t topic;     /* where it is */
    int32_t partition; /* of that topic, by its place in the list */
    bool begun;        /* it is at a topic */
};
enum api_place { API_TOPIC, API_PARTITION, API_END };
/* Goes on, and says to what. partition_count: of the topic that it is at, if it is at one. */
enum api_place api_cursor_next(struct api_cursor *at, int32_t topic_count, int32_t partition_count);
