/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_partition.h"

#include <string.h>

bool ids_hold(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

void next_begin(struct next_state *next, const struct topic_image *topic, uint32_t partition)
{
    const struct partition_image *was = &topic->partitions[partition];
    *next = (struct next_state){.topic = topic,
                                .was = was,
                                .partition = (int32_t)partition,
                                .leader = was->leader,
                                .leader_epoch = was->leader_epoch,
                                .set_count = was->isr_count,
                                .replica_count = was->replica_count,
                                .removing_count = was->removing_count,
                                .adding = was->adding};
    must(was->isr_count <= METADATA_REPLICAS_MAX && was->replica_count <= METADATA_REPLICAS_MAX);
    memcpy(next->set, was->isr, was->isr_count * sizeof(next->set[0]));
    memcpy(next->replicas, was->replicas, was->replica_count * sizeof(next->replicas[0]));
}

void next_set_remove(struct next_state *next, int32_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < next->set_count; i++)
        if (next->set[i] != id)
            next->set[kept++] = next->set[i];
    next->set_count = kept;
}

uint32_t next_insync_min(const struct next_state *next)
{
    const struct partition_image partition = {.replica_count = (uint16_t)next->replica_count,
                                              .removing_count = (uint16_t)next->removing_count,
                                              .adding = next->adding};
    return image_insync_min(&next->topic->conf, &partition);
}

void next_set_leave(const struct controller_step *step, struct next_state *next, int32_t id)
{
    uint32_t least = step->mutate_shrink ? 1 : next_insync_min(next);
    if (ids_hold(next->set, next->set_count, id) && next->set_count > least)
        next_set_remove(next, id);
}

int32_t next_candidate(const struct controller_step *step, const struct next_state *next)
{
    for (uint32_t i = 0; i < next->replica_count; i++) {
        int32_t id = next->replicas[i];
        if (ids_hold(next->set, next->set_count, id) &&
            image_broker_stays(image_edit_peek(step->edit), id))
            return id;
    }
    return -1;
}

void next_elect(const struct controller_step *step, struct next_state *next)
{
    next->leader = next_candidate(step, next);
    next->leader_epoch++;
}

static void elect_if_there(const struct controller_step *step, struct next_state *next, uint32_t i)
{
    if (image_broker_stays(image_edit_peek(step->edit), next->replicas[i]))
        next->leader = next->replicas[i];
}

void next_elect_unclean(struct controller_step *step, struct next_state *next)
{
    next_elect(step, next);
    for (uint32_t i = 0; i < next->replica_count && next->leader < 0; i++)
        if (!(next->adding >> i & 1U))
            elect_if_there(step, next, i);
    for (uint32_t i = 0; i < next->replica_count && next->leader < 0; i++)
        elect_if_there(step, next, i); /* a move has begun: it may have nothing yet */
    if (next->leader < 0 || ids_hold(next->set, next->set_count, next->leader))
        return;
    next->set[0] = next->leader;
    next->set_count = 1;
    step->unclean_elections++;
}

void next_elect_as_set(struct controller_step *step, struct next_state *next)
{
    bool may_lose = next->topic->conf.unclean_leader_election_enable && !step->mutate_clean;
    if (may_lose || step->mutate_unclean)
        next_elect_unclean(step, next);
    else
        next_elect(step, next);
}

void next_write(struct controller_step *step, const struct next_state *next)
{
    controller_step_record(
        step, &(struct metadata_record){.kind = METADATA_PARTITION_CHANGE,
                                        .partition_change = {
                                            .topic_id = next->topic->id,
                                            .partition = next->partition,
                                            .leader = next->leader,
                                            .leader_epoch = next->leader_epoch,
                                            .partition_epoch = next->was->partition_epoch + 1,
                                            .replicas = next->replicas,
                                            .isr = next->set,
                                            .replica_count = next->replica_count,
                                            .isr_count = next->set_count,
                                            .removing_count = next->removing_count,
                                            .adding = next->adding,
                                        }});
}
