/* SPDX-License-Identifier: Apache-2.0
 *
 * Producer ids (I1): unique in the cluster and across restarts, because a block of ids is durable
 * in the metadata log before its first id is given out. Each shard holds a block and asks the
 * controller for the next one when it runs out; what a block has left at a stop is never used.
 */
#pragma once

#include "core/broker.h"

struct producer_ids;

struct producer_id_request {
    void (*done)(struct producer_id_request *request); /* now or later, on this shard */
    int64_t producer_id;
    int16_t error;
    void *user;
    /* private */
    STAILQ_ENTRY(producer_id_request) link;
};

struct producer_ids *producer_ids_new(struct broker_shard *bs);
void producer_ids_free(struct producer_ids *ids);
void producer_ids_take(struct producer_ids *ids, struct producer_id_request *request);
