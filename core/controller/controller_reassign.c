/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_reassign.h"

#include "net/err.h"

#include <string.h>

/* What the partition has, but for what a move under way was to add. */
static uint32_t original_of(const struct partition_image *was, int32_t *ids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < was->replica_count; i++)
        if (!(was->adding >> i & 1U))
            ids[count++] = was->replicas[i];
    return count;
}

static uint32_t target_count(const struct next_state *next)
{
    return next->replica_count - next->removing_count;
}

/* ---- is it a sound wish? ---- */

static bool check_target(struct controller_step *step, struct control_op *op,
                         struct control_item *item)
{
    if (item->replica_count == 0)
        return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                 "a partition has at least one replica");
    if (item->replica_count > (int32_t)METADATA_REPLICAS_MAX)
        return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                 "a partition has at most %u replicas", METADATA_REPLICAS_MAX);
    for (int32_t i = 0; i < item->replica_count; i++) {
        int32_t id = item->replicas[i];
        if (!image_broker(image_edit_peek(step->edit), id))
            return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "there is no broker %d", id);
        if (ids_hold(item->replicas, (uint32_t)i, id))
            return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "broker %d is named twice", id);
    }
    return true;
}

/* ---- the move ---- */

/* The target, and behind it what else holds the partition: all that was there before, and of what a
 * former move was to add what has made it into the set. False: too many. */
static bool merge(struct next_state *next, const int32_t *target, uint32_t count)
{
    const struct partition_image *was = next->was;
    int32_t original[METADATA_REPLICAS_MAX];
    uint32_t original_count = original_of(was, original);
    next->adding = 0;
    next->removing_count = 0;
    next->replica_count = count;
    memcpy(next->replicas, target, count * sizeof(*target));
    for (uint32_t i = 0; i < count; i++)
        if (!ids_hold(original, original_count, target[i]))
            next->adding |= 1ULL << i;
    for (uint32_t i = 0; i < was->replica_count; i++) {
        int32_t id = was->replicas[i];
        bool needed =
            ids_hold(original, original_count, id) || ids_hold(next->set, next->set_count, id);
        if (ids_hold(target, count, id) || !needed)
            continue;
        if (next->replica_count == METADATA_REPLICAS_MAX)
            return false;
        next->replicas[next->replica_count++] = id;
        next->removing_count++;
    }
    return true;
}

/* Those of the set that it is to have; how many. */
static uint32_t remaining_set(const struct next_state *next, int32_t *set)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < next->set_count; i++)
        if (ids_hold(next->replicas, target_count(next), next->set[i]))
            set[count++] = next->set[i];
    return count;
}

static void end(const struct controller_step *step, struct next_state *next, bool taken_back)
{
    struct next_state after = *next;
    after.replica_count = target_count(next);
    after.removing_count = 0;
    after.adding = 0;
    after.set_count = remaining_set(next, after.set);
    if (next->adding == 0 && next->removing_count == 0)
        return;
    if (step->mutate_reassign) {
        after.set_count = after.replica_count;
        memcpy(after.set, after.replicas, after.replica_count * sizeof(after.set[0]));
    }
    uint32_t wanted = taken_back ? next_insync_min(&after) : after.replica_count;
    if (after.set_count < wanted || next_candidate(step, &after) < 0)
        return;
    bool leads_on = ids_hold(after.set, after.set_count, after.leader) &&
                    image_broker_stays(image_edit_peek(step->edit), after.leader);
    int32_t leader = after.leader;
    next_elect(step, &after);
    if (leads_on)
        after.leader = leader;
    after.leader_epoch = next->was->leader_epoch + 1; /* one record, one epoch */
    *next = after;
}

void controller_reassign_end(const struct controller_step *step, struct next_state *next)
{
    end(step, next, false);
}

static bool is_as_it_was(const struct next_state *next)
{
    const struct partition_image *was = next->was;
    return next->replica_count == was->replica_count &&
           next->removing_count == was->removing_count && next->adding == was->adding &&
           memcmp(next->replicas, was->replicas, next->replica_count * sizeof(next->replicas[0])) ==
               0;
}

static void move_to(struct controller_step *step, struct control_op *op, struct control_item *item,
                    struct next_state *next, const int32_t *target, uint32_t count)
{
    if (!merge(next, target, count)) {
        controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "while it moves a partition has at most %u replicas, old and new",
                          METADATA_REPLICAS_MAX);
        return;
    }
    if (is_as_it_was(next))
        return;
    if (next->leader < 0)
        next->leader = next_candidate(step, next);
    next->leader_epoch++; /* it has other followers */
    end(step, next, item->replica_count < 0);
    next_write(step, next);
}

void controller_reassign(struct controller_step *step, struct control_op *op,
                         struct control_item *item, const struct topic_image *topic)
{
    const struct partition_image *was = image_partition(topic, item->partition);
    int32_t original[METADATA_REPLICAS_MAX];
    if (!was) {
        controller_refuse(op, item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic has %u partitions",
                          topic->partition_count);
        return;
    }
    struct next_state next;
    next_begin(&next, topic, (uint32_t)item->partition);
    uint32_t original_count = original_of(was, original);
    if (item->replica_count < 0 && !image_is_moving(was))
        controller_refuse(op, item, ERR_NO_REASSIGNMENT_IN_PROGRESS, "the partition is at rest");
    else if (item->replica_count < 0)
        move_to(step, op, item, &next, original, original_count);
    else if (!check_target(step, op, item))
        return;
    else if (item->same_replica_count && (uint32_t)item->replica_count != original_count)
        controller_refuse(op, item, ERR_INVALID_REPLICATION_FACTOR,
                          "the partition has %u replicas, and is to have %d", original_count,
                          item->replica_count);
    else
        move_to(step, op, item, &next, item->replicas, (uint32_t)item->replica_count);
}
