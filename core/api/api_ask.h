/* SPDX-License-Identifier: Apache-2.0
 *
 * A request that asks about partitions, named topic by topic: it is gone through a few partitions
 * per step; each is answered at once or, by its home shard, later; when the last has been, the
 * answer is written. Who runs out of the request's arena closes the connection.
 */
#pragma once

#include "core/api/api_work.h"

struct api_ask;

struct api_ask_kind {
    enum kafka_kind answer;
    int32_t (*partition_count)(const struct api_ask *ask); /* of the topic that it is at */
    bool (*topic)(struct api_ask *ask);     /* begins the answer about it; false: no memory */
    void (*partition)(struct api_ask *ask); /* answers about the one it is at, or begins to */
};

/* The first member of the handler's operation. */
struct api_ask {
    struct api_work work;
    const struct api_ask_kind *kind;
    void *response;
    int32_t topic_count;
    struct api_cursor at;
    const struct topic_image *image; /* of the topic that it is at, or NULL: topic() finds it */

    /* private */
    int32_t waiting;
    bool failed;
};

/* An operation of `size` zeroed bytes; NULL: no memory. */
void *api_ask_new(struct request *q, size_t size);
/* response_topics: room for the answers about all topics; NULL: there is none. */
void api_ask_go(struct api_ask *ask, const struct api_ask_kind *kind, int32_t topic_count,
                void *response, const void *response_topics);
/* One more partition is answered later, and then has been. */
void api_ask_begun(struct api_ask *ask);
void api_ask_ended(struct api_ask *ask);
