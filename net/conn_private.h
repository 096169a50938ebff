/* SPDX-License-Identifier: Apache-2.0
 *
 * What net/conn.c, conn_room.c, conn_in.c and conn_out.c know of each other.
 */
#pragma once

#include "net/conn.h"

enum request_state {
    REQUEST_WAITING,  /* its turn has not come */
    REQUEST_RUNNING,  /* the service has it */
    REQUEST_ANSWERED, /* its answer leaves when those before it have left */
    REQUEST_LEAVING,  /* all of its answer is in the send in flight */
};

void conn_step_later(struct conn *c);
void conn_reap(struct conn *c);

/* conn.c: memory is short: readers that stall are closed soon */
void conn_relief_later(struct net_shard *net);

/* It rests, or will when a request that runs is answered. */
static inline bool conn_is_muted(const struct conn *c)
{
    return c->muting > 0 || timer_is_set(&c->mute);
}

/* conn.c: the answer is with the socket, or there is none: it is over and counts; or it does not.
 */
void conn_request_sent(struct request *q);
void conn_request_free(struct request *q);

/* conn.c: an answer that needs far less memory than what led to it: the rest is given back */
void conn_answer_shrink(struct request *q);

/* conn_room.c */
void conn_room_init(struct net_shard *net);
void conn_room_fini(struct net_shard *net);
bool conn_room_admits(struct conn *c);    /* May the next request start? Else it lines up. */
void conn_room_leave(struct conn *c);     /* ... and does not want to any more */
bool conn_is_small(const struct conn *c); /* the next request is, and so is all it may need */
void conn_room_count(struct request *q);  /* a handler has it, and what it holds may have grown */
void conn_room_forget(struct request *q); /* not any more */
void conn_room_grow(struct request *q);   /* its next step may take more: now, or when it may */
void conn_room_grown(struct request *q);  /* it has no more such steps */

void conn_room_frames(struct net_shard *net); /* whole frames have to go */

/* conn_in.c */
void conn_in_rest(struct conn *c);  /* takes in what had to wait */
void conn_in_read(struct conn *c);  /* arms a receive when the connection may read */
void conn_in_leave(struct conn *c); /* it does not wait for the budget any more */
void conn_in_forget(struct request *q);
void conn_in_fini(struct conn *c);
void conn_in_on_finish(struct shard *sh, struct timer *timer);

/* conn_out.c */
void conn_out_send(struct conn *c);
void conn_out_end(struct conn *c); /* nothing is in flight: lets go of the pins */
void conn_out_free_all(struct net_shard *net);
