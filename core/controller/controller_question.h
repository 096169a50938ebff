/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations of the controller as requests of Kafka's protocol: what a broker asks of a controller
 * that is another broker, and what it makes of the answer. The connection is
 * core/controller/controller_link.c.
 */
#pragma once

#include "core/controller/controller.h"

struct client_call;

#define CONTROLLER_ASKED_MAX 64U /* operations of one request */

/* The first of a queue, and those behind it that go with it. */
struct controller_asked {
    const struct broker_shard *bs;
    struct control_op *first;
    uint32_t count; /* 1; a request about several says so as it is written */
};

struct controller_question {
    int16_t key;
    int16_t version; /* the one that is spoken */
    void (*write)(struct controller_asked *asked, struct wr *w);
    /* To each its error. False: that is no answer to what was asked. */
    bool (*read)(const struct controller_asked *asked, struct rd *rd, struct client_call *call);
};

/* NULL: it is not passed on. */
const struct controller_question *controller_question_of(const struct control_op *op);
