/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/read_replica.h"

#include "core/broker.h"
#include "core/partition/partition_replicas.h"

bool read_replicas_are_used(const struct broker_shard *bs)
{
    const char *selector = bs->broker->conf->broker.replica_selector_class;
    return selector && str_equal(str_of(selector), str_of(CONF_RACK_AWARE_SELECTOR));
}

static bool is_in(const struct image *image, int32_t id, struct str rack)
{
    const struct broker_image *broker = image_broker(image, id);
    return broker && broker->live && broker->rack && str_equal(str_of(broker->rack), rack);
}

int32_t read_replica_for(const struct partition *pt, struct str rack, int64_t offset)
{
    const struct image *image = pt->bs->image;
    const struct partition_follower *best = NULL;
    if (rack.len <= 0 || !pt->replicas || !read_replicas_are_used(pt->bs) ||
        is_in(image, pt->bs->broker->node_id, rack))
        return -1;
    for (uint32_t i = 0; i < pt->replicas->count; i++) {
        const struct partition_follower *follower = &pt->replicas->followers[i];
        if (follower->in_set && follower->seen && follower->durable_end >= offset &&
            (!best || follower->durable_end > best->durable_end) &&
            is_in(image, follower->id, rack))
            best = follower;
    }
    return best ? best->id : -1;
}
