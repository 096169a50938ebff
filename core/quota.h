/* SPDX-License-Identifier: Apache-2.0
 *
 * Client quotas as a shard holds to them (KIP-13, 124, 219): bytes produced and fetched, and the
 * time that requests take. A quota is of the broker, not of a connection or a shard: each user of
 * one (a client, or all clients of a user, by kind) has a home shard, by hash. A shard counts what
 * its own connections use, tells the home what is new by mail, one mail under way at a time, and
 * gets back what all have used; so it is behind by a round trip at most, and nothing is shared.
 *
 * Over the limit the answer is sent at once with throttle_time_ms, and the connection rests for so
 * long (request_mute). A fetch is answered empty then, and what it found is not counted. What
 * only brokers ask (their fetches, AlterPartition and the like) is exempt, and so is time where
 * acks=0 means that nobody would hear; a change that a broker passes on to the controller counts as
 * that broker's.
 *
 * Where nobody has a quota a request costs two loads; where others have, a comparison of its client
 * id with the last one of its connection. At most QUOTA_USES_MAX users are told apart; those beyond
 * share one account of their kind. Who has been silent for longer than the window is forgotten when
 * room is wanted.
 */
#pragma once

#include "core/broker.h"
#include "core/controller/controller.h"
#include "core/metadata/quota_table.h"
#include "core/quota_window.h"

#define QUOTA_USES_MAX 10000U /* per shard */

struct quotas;

/* What a shard's connections were told. */
struct quota_counts {
    uint64_t throttles[QUOTA_KINDS];
    uint64_t throttled_ns[QUOTA_KINDS]; /* to rest for so long */
};

struct quotas *quotas_new(struct broker_shard *bs);
void quotas_free(struct quotas *quotas);
const struct quota_counts *quotas_counts(const struct quotas *quotas);

/* It has used so much, and may have to rest for it. */
void quota_spend(struct request *q, enum quota_kind kind, double amount);
/* True: it would have to rest if it did, and will; nothing is counted. Else it is. */
bool quota_waits(struct request *q, enum quota_kind kind, double amount);
/* What may be used at once by who has used nothing of late. */
double quota_most(struct request *q, enum quota_kind kind);

/* The time of the connection's shard that a request takes, where somebody wants to know. False: it
 * is not counted, or already. */
bool quota_time_begin(struct request *q);
void quota_time_end(struct request *q);
/* What it has taken so far counts; before its answer is written. */
void quota_time_settle(struct request *q);

/* The quota on partitions created and deleted: the op is the controller's to decide, and what it
 * said (throttle_ms) is done. */
void quota_of_mutations(struct request *q, struct control_op *op);
void quota_mutated(struct request *q, const struct control_op *op);

/* On the control shard, a newcomer: 0 and it may come in, or how long it is held before it is
 * closed, because too many came from its address (KIP-612). */
uint64_t quota_connection_delay(struct broker_shard *bs, const struct io_address *peer);

/* The connection is about to be freed. */
void quota_connection_gone(struct conn *c);
