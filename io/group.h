/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a shard group, for shard.c, mail.c, timer.c and diag.c only.
 */
#pragma once

#include "io/diag.h"
#include "io/mail_ring.h"
#include "io/shard.h"

/* What one shard keeps about another. */
struct shard_peer {
    struct mail_ring *out;
    struct mail_ring *in;
    uint32_t credits; /* mails we may still send */
    uint32_t returns; /* of their mails that were taken here and whose credit is not home yet */
    struct mail_queue waiting; /* mails that found no credit, oldest first */
    bool wake;                 /* is in shard->wake */
};

struct shard_group {
    uint16_t count;
    uint32_t credits;
    struct shard *shards;    /* [count] */
    struct mail_ring *rings; /* [from * count + to] */
};

/* mail.c */
void mail_open(struct shard *sh);
void mail_close(struct shard *sh);
bool mail_run(struct shard *sh); /* delivers; true when some was left for the next turn */
bool mail_pending(void *shard);  /* is there mail to deliver? */
void mail_wake(struct shard *sh);

/* shard.c: closes the account of the step that ran and opens the next one's. */
void shard_step_begin(struct shard *sh, const char *name);

/* timer.c */
bool timer_run(struct shard *sh); /* true when some due ones were left for the next turn */
