/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides about client quotas (Kafka's ClientQuotaControlManager), and the
 * quota it is itself subject to: partitions created and deleted, by a bucket of tokens for each
 * client that has one (KIP-599). A bucket is full with QUOTA_BURST_S seconds' worth; each partition
 * takes a token, and it may be overdrawn once. Requests of versions that know
 * THROTTLING_QUOTA_EXCEEDED are refused while it is, item by item; older ones are only told to
 * wait.
 * home: the control shard.
 */
#pragma once

#include "core/controller/controller_step.h"

#define QUOTA_BURST_S 11.0 /* controller.quota.window.num of a second each */

/* One item: an entity's quotas are changed. */
void controller_alter_quota(struct controller_step *step, struct control_op *op,
                            struct control_item *item);

struct mutation_bucket;

struct mutation_buckets {
    struct mutation_bucket *by_key; /* uthash */
    uint32_t count;
};

/* Finds or makes the bucket of op->mutator, filled up to now. */
void mutation_bucket_find(struct mutation_buckets *buckets, struct control_op *op, uint64_t now_ns);
/* May this item change so many partitions? Takes them when it may. */
bool controller_charge(struct control_op *op, struct control_item *item, uint32_t partitions);
void mutation_buckets_fini(struct mutation_buckets *buckets);
