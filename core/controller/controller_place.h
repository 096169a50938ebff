/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the replicas of new partitions go: as the client has assigned them, or spread over the
 * brokers that live, each in another rack while there are racks left (broker.rack).
 */
#pragma once

#include "core/controller/controller_step.h"

/* Of new partitions; zeros to begin with. */
struct placement {
    uint32_t count;
    uint32_t replica_count;
    int32_t *replicas; /* [count][replica_count], the asker's to mem_free() */
};

/* Of a new topic. False: it was refused. */
bool placement_of_topic(struct controller_step *step, struct control_op *op,
                        struct control_item *item, struct placement *placement);
/* Of the partitions that a topic is to have beyond those it has. False: it was refused. */
bool placement_of_more(struct controller_step *step, struct control_op *op,
                       struct control_item *item, const struct topic_image *topic,
                       struct placement *placement);
/* Decided: from partition `first` on. */
void placement_record(struct controller_step *step, const struct uuid *topic_id, uint32_t first,
                      const struct placement *placement);
