/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_place.h"

#include "io/mem.h"
#include "net/err.h"

#include <string.h>

static uint32_t live_broker_count(const struct controller_step *step)
{
    const struct image *image = image_edit_peek(step->edit);
    uint32_t count = 0;
    for (uint32_t i = 0; i < image->broker_count; i++)
        count += image->brokers[i].live;
    return count;
}

/* The brokers that new replicas may go to, in the order in which they get them. */
struct places {
    uint32_t count;
    int32_t *ids;
    uint32_t *racks; /* of each, by number */
    uint32_t rack_count;
};

/* A broker that does not say where it stands is a rack of its own. */
static uint32_t rack_of(const struct image *image, const struct places *places, uint32_t at)
{
    const char *rack = image_broker(image, places->ids[at])->rack;
    for (uint32_t i = 0; rack && i < at; i++) {
        const char *other = image_broker(image, places->ids[i])->rack;
        if (other && strcmp(rack, other) == 0)
            return places->racks[i];
    }
    return places->rack_count;
}

static void swap_places(struct places *places, uint32_t a, uint32_t b)
{
    int32_t id = places->ids[a];
    uint32_t rack = places->racks[a];
    places->ids[a] = places->ids[b];
    places->racks[a] = places->racks[b];
    places->ids[b] = id;
    places->racks[b] = rack;
}

/* Neighbours are of different racks while there are brokers of others: each round takes one of each
 * rack, in the order of their first brokers. */
static void places_alternate(struct places *places)
{
    uint32_t at = 0;
    while (at < places->count) {
        for (uint32_t rack = 0; rack < places->rack_count; rack++) {
            uint32_t next = at;
            while (next < places->count && places->racks[next] != rack)
                next++;
            for (; next < places->count && next > at; next--) /* the others keep their order */
                swap_places(places, next, next - 1);
            at += at < places->count && places->racks[at] == rack;
        }
    }
}

/* Without brokers that are about to stop, if `least` remain. */
static void places_find(const struct controller_step *step, uint32_t least, struct places *places)
{
    const struct image *image = image_edit_peek(step->edit);
    uint32_t staying = 0;
    for (uint32_t i = 0; i < image->broker_count; i++)
        staying += image_broker_stays(image, image->brokers[i].id);
    *places = (struct places){
        .ids = mem_alloc((image->broker_count + 1) * sizeof(*places->ids)),
        .racks = mem_alloc((image->broker_count + 1) * sizeof(*places->racks)),
    };
    for (uint32_t i = 0; i < image->broker_count; i++) {
        if (!image->brokers[i].live || (staying >= least && image->brokers[i].draining))
            continue;
        places->ids[places->count] = image->brokers[i].id;
        uint32_t rack = rack_of(image, places, places->count);
        places->racks[places->count++] = rack;
        places->rack_count += rack == places->rack_count;
    }
    places_alternate(places);
}

/* Is it one that a partition has its replicas at so far, or in the rack of one? */
static bool is_taken(const struct places *places, const uint32_t *chosen, uint32_t count,
                     uint32_t at, bool by_rack)
{
    for (uint32_t i = 0; i < count; i++)
        if (by_rack ? places->racks[chosen[i]] == places->racks[at] : chosen[i] == at)
            return true;
    return false;
}

/* Of the next replica, looked for from `shift` brokers behind the leader on: in a rack without one
 * while there are such racks. */
static uint32_t next_place(const struct places *places, uint32_t shift, const uint32_t *chosen,
                           uint32_t count)
{
    const uint32_t others = places->count - 1;
    for (uint32_t i = 0; i < others; i++) {
        uint32_t at = (chosen[0] + 1 + (shift + i) % others) % places->count;
        if (!is_taken(places, chosen, count, at, count < places->rack_count))
            return at;
    }
    must_failed("there are more brokers than replicas", __FILE__, __LINE__);
}

/* Leaders in turn; followers shifted so that the load of a dead leader spreads over all others. */
static void place(const struct controller_step *step, struct placement *placement, uint32_t first)
{
    const struct image *image = image_edit_peek(step->edit);
    struct places places;
    places_find(step, placement->replica_count, &places);
    must(places.count > 0 && places.count >= placement->replica_count);
    uint32_t start = (uint32_t)(image->partition_count % places.count);
    int32_t *to = placement->replicas;
    for (uint32_t i = 0; i < placement->count; i++) {
        uint32_t chosen[METADATA_REPLICAS_MAX] = {(start + first + i) % places.count};
        uint32_t shift = start + (first + i) / places.count;
        for (uint32_t r = 1; r < placement->replica_count; r++)
            chosen[r] = next_place(&places, shift + r - 1, chosen, r);
        for (uint32_t r = 0; r < placement->replica_count; r++)
            *to++ = places.ids[chosen[r]];
    }
    mem_free(places.ids);
    mem_free(places.racks);
}

static bool check_brokers(struct controller_step *step, struct control_op *op,
                          struct control_item *item, const struct control_assignment *assignment)
{
    for (int32_t i = 0; i < assignment->broker_count; i++) {
        int32_t id = assignment->broker_ids[i];
        if (!image_broker_is_live(image_edit_peek(step->edit), id))
            return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "the assignment names broker %d, which is not registered", id);
        for (int32_t j = 0; j < i; j++) {
            if (assignment->broker_ids[j] == id)
                return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                         "the assignment of a partition names broker %d twice", id);
        }
    }
    return true;
}

static bool check_size(struct controller_step *step, struct control_op *op,
                       struct control_item *item, uint64_t count, uint64_t replica_count)
{
    if (count * replica_count > CONTROL_REPLICAS_PER_ITEM_MAX)
        return controller_refuse(
            op, item, ERR_INVALID_PARTITIONS,
            "%llu new partitions with %llu replicas are more than the %u replicas that "
            "one request may create",
            (unsigned long long)count, (unsigned long long)replica_count,
            CONTROL_REPLICAS_PER_ITEM_MAX);
    uint64_t now = image_edit_partition_count(step->edit);
    if (now + count > CONTROL_PARTITIONS_MAX)
        return controller_refuse(op, item, ERR_INVALID_PARTITIONS,
                                 "with %llu partitions more there would be %llu; the limit is %u",
                                 (unsigned long long)count, (unsigned long long)now + count,
                                 CONTROL_PARTITIONS_MAX);
    return true;
}

/* The replicas that the client gave for `count` partitions; in_order: of CreatePartitions. */
static bool take_assignments(struct controller_step *step, struct control_op *op,
                             struct control_item *item, struct placement *placement, bool in_order)
{
    uint32_t replica_count = placement->replica_count;
    placement->replicas =
        mem_zalloc((size_t)placement->count * replica_count * sizeof(*placement->replicas));
    bool *seen = mem_zalloc(placement->count * sizeof(*seen));
    bool good = true;
    for (int32_t i = 0; good && i < item->assignment_count; i++) {
        const struct control_assignment *assignment = &item->assignments[i];
        int32_t partition = in_order ? i : assignment->partition;
        if (partition < 0 || (uint32_t)partition >= placement->count || seen[partition])
            good = controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "the assigned partitions are not 0, 1, 2, ... each once");
        else if (assignment->broker_count != (int32_t)replica_count)
            good = controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "a partition is assigned %d replicas where others have %u",
                                     assignment->broker_count, replica_count);
        else
            good = check_brokers(step, op, item, assignment);
        if (good) {
            seen[partition] = true;
            memcpy(placement->replicas + (size_t)partition * replica_count, assignment->broker_ids,
                   replica_count * sizeof(int32_t));
        }
    }
    mem_free(seen);
    if (!good)
        mem_free(placement->replicas);
    return good;
}

static bool place_as_assigned(struct controller_step *step, struct control_op *op,
                              struct control_item *item, struct placement *placement)
{
    if (item->partition_count != -1 || item->replication_factor != -1)
        return controller_refuse(op, item, ERR_INVALID_REQUEST,
                                 "a request gives counts or assignments, not both");
    if (item->assignments[0].broker_count < 1)
        return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                 "the assignment of a partition is empty");
    placement->count = (uint32_t)item->assignment_count;
    placement->replica_count = (uint32_t)item->assignments[0].broker_count;
    if (placement->replica_count > METADATA_REPLICAS_MAX)
        return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                 "a partition has at most %u replicas", METADATA_REPLICAS_MAX);
    return check_size(step, op, item, placement->count, placement->replica_count) &&
           take_assignments(step, op, item, placement, false);
}

static bool place_by_counts(struct controller_step *step, struct control_op *op,
                            struct control_item *item, struct placement *placement)
{
    const struct broker_conf *conf = &step->conf->broker;
    int32_t count = item->partition_count == -1 ? conf->num_partitions : item->partition_count;
    int32_t replica_count = item->replication_factor == -1 ? conf->default_replication_factor
                                                           : item->replication_factor;
    uint32_t brokers = live_broker_count(step);
    if (count < 1)
        return controller_refuse(op, item, ERR_INVALID_PARTITIONS,
                                 "the number of partitions is %d; it must be at least 1", count);
    if (replica_count < 1)
        return controller_refuse(op, item, ERR_INVALID_REPLICATION_FACTOR,
                                 "the replication factor is %d; it must be at least 1",
                                 replica_count);
    if ((uint32_t)replica_count > brokers || (uint32_t)replica_count > METADATA_REPLICAS_MAX)
        return controller_refuse(
            op, item, ERR_INVALID_REPLICATION_FACTOR,
            "the replication factor %d is larger than the number of brokers, %u", replica_count,
            brokers);
    placement->count = (uint32_t)count;
    placement->replica_count = (uint32_t)replica_count;
    if (!check_size(step, op, item, placement->count, placement->replica_count))
        return false;
    placement->replicas =
        mem_alloc((size_t)count * (size_t)replica_count * sizeof(*placement->replicas));
    place(step, placement, 0);
    return true;
}

bool placement_of_topic(struct controller_step *step, struct control_op *op,
                        struct control_item *item, struct placement *placement)
{
    return item->assignment_count > 0 ? place_as_assigned(step, op, item, placement)
                                      : place_by_counts(step, op, item, placement);
}

bool placement_of_more(struct controller_step *step, struct control_op *op,
                       struct control_item *item, const struct topic_image *topic,
                       struct placement *placement)
{
    const uint32_t now = topic->partition_count;
    placement->count = (uint32_t)item->partition_count - now;
    placement->replica_count = topic->partitions[0].replica_count;
    if (!check_size(step, op, item, placement->count, placement->replica_count))
        return false;
    if (item->assignment_count >= 0) {
        if ((uint32_t)item->assignment_count != placement->count)
            return controller_refuse(op, item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                     "%d partitions are assigned where %u are new",
                                     item->assignment_count, placement->count);
        return take_assignments(step, op, item, placement, true);
    }
    if (placement->replica_count > live_broker_count(step))
        return controller_refuse(
            op, item, ERR_INVALID_REPLICATION_FACTOR,
            "the topic has %u replicas of each partition, and there are %u brokers",
            placement->replica_count, live_broker_count(step));
    placement->replicas = mem_alloc((size_t)placement->count * placement->replica_count *
                                    sizeof(*placement->replicas));
    place(step, placement, now);
    return true;
}

void placement_record(struct controller_step *step, const struct uuid *topic_id, uint32_t first,
                      const struct placement *placement)
{
    controller_step_record(step,
                           &(struct metadata_record){.kind = METADATA_PARTITIONS,
                                                     .partitions = {
                                                         .topic_id = *topic_id,
                                                         .first = (int32_t)first,
                                                         .count = placement->count,
                                                         .replica_count = placement->replica_count,
                                                         .replicas = placement->replicas,
                                                     }});
}
