/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is registered, and what the one in office decides about it: brokers that have gone give up
 * what they lead, those that have come are told of, and of each as many partitions go into one
 * batch as it takes.
 */
#include "core/controller/controller_private.h"

#include "io/diag.h"

#include <assert.h>
#include <inttypes.h>

bool controller_is_member(const struct controller *c, const struct image *image)
{
    const struct broker_image *self = image ? image_broker(image, c->bs->broker->node_id) : NULL;
    return self && self->live && self->epoch == c->membership.broker_epoch;
}

static const struct member *find_member(const struct controller *c, int32_t id)
{
    for (uint32_t i = 0; i < c->membership.member_count; i++) {
        if (c->membership.members[i].id == id)
            return &c->membership.members[i];
    }
    return NULL;
}

/* False: the batch is full, and it goes on in the next one. */
static bool change_go(struct controller *c)
{
    struct member_change *change = &c->change;
    bool done = true;
    switch (change->kind) {
    case MEMBER_GOES:
        done = controller_broker_down(&c->step, &change->pass, &change->broker_down);
        break;
    case MEMBER_IS_LOSSY:
        done = controller_broker_lossy(&c->step, &change->pass, change->id);
        break;
    case MEMBER_COMES:
        done = controller_broker_up(&c->step, &change->pass, &change->broker_up);
        break;
    }
    change->under_way = !done;
    return done;
}

static bool broker_goes(struct controller *c, const struct broker_image *broker, bool bounced)
{
    diag_info(c->sh, "cluster.broker_down", "node=%d", broker->id);
    c->change = (struct member_change){.kind = MEMBER_GOES,
                                       .broker_down = {.id = broker->id, .epoch = broker->epoch},
                                       .pass = {.bounced = bounced}};
    return change_go(c);
}

/* Its directory is gone, and another one has taken its place. */
static bool broker_is_lossy(struct controller *c, int32_t id)
{
    diag_warn(c->sh, "cluster.directory_replaced", "node=%d", id);
    c->change = (struct member_change){.kind = MEMBER_IS_LOSSY, .id = id};
    return change_go(c);
}

static bool broker_comes(struct controller *c, const struct member *member, bool lossy)
{
    struct metadata_endpoint endpoints[LISTENER_COUNT_MAX];
    static_assert(LISTENER_COUNT_MAX <= METADATA_ENDPOINTS_MAX, "every listener has its place");
    for (uint32_t i = 0; i < member->endpoint_count; i++)
        endpoints[i] = (struct metadata_endpoint){
            .listener = str_of(member->endpoints[i].listener),
            .host = str_of(member->endpoints[i].host),
            .port = member->endpoints[i].port,
        };
    diag_info(c->sh, "cluster.broker_up", "node=%d epoch=%" PRId64, member->id, member->epoch);
    c->change = (struct member_change){.kind = MEMBER_COMES,
                                       .broker_up = {
                                           .id = member->id,
                                           .epoch = member->epoch,
                                           .directory = member->directory,
                                           .lossy = lossy,
                                           .rack = str_of(member->rack),
                                           .version = str_of(member->version),
                                           .endpoints = endpoints,
                                           .endpoint_count = member->endpoint_count,
                                       }};
    bool done = change_go(c);
    c->change.broker_up.endpoint_count = 0;
    return done;
}

static bool all_gone(struct controller *c)
{
    for (uint32_t i = 0; i < image_edit_peek(c->step.edit)->broker_count; i++) {
        const struct broker_image *broker = &image_edit_peek(c->step.edit)->brokers[i];
        const struct member *member = find_member(c, broker->id);
        if (broker->live && (!member || member->epoch != broker->epoch) &&
            !broker_goes(c, broker, member != NULL))
            return false;
    }
    return true;
}

static bool all_come(struct controller *c)
{
    for (uint32_t i = 0; i < c->membership.member_count; i++) {
        const struct member *member = &c->membership.members[i];
        const struct broker_image *known = image_broker(image_edit_peek(c->step.edit), member->id);
        if (known && known->live && known->epoch == member->epoch)
            continue;
        bool lossy = known && !uuid_equal(&known->directory, &member->directory);
        /* A look at all partitions that has taken several batches is had once more: topics may have
         * gone meanwhile, and others moved to where it had been. */
        if (lossy && !uuid_equal(&known->directory, &member->replaced))
            diag_warn(c->sh, "cluster.foreign_directory", "node=%d", member->id);
        else if ((lossy && !broker_is_lossy(c, member->id)) || !broker_comes(c, member, lossy))
            return false;
    }
    return true;
}

/* A former controller may have died in the middle of a broker's partitions. */
static bool all_rechecked(struct controller *c)
{
    while (c->recheck < image_edit_peek(c->step.edit)->broker_count) {
        const struct broker_image *broker = &image_edit_peek(c->step.edit)->brokers[c->recheck++];
        c->change = (struct member_change){.kind = broker->live ? MEMBER_COMES : MEMBER_GOES,
                                           .broker_up = {.id = broker->id},
                                           .broker_down = {.id = broker->id},
                                           .pass = {.begun = true}};
        if (!change_go(c))
            return false;
    }
    return true;
}

void controller_decide_members(struct controller *c)
{
    c->members_known = false;
    if (c->taking_over)
        controller_record(c, &(struct metadata_record){
                                 .kind = METADATA_NOOP,
                                 .noop = {.controller_id = c->bs->broker->node_id,
                                          .controller_epoch = c->membership.controller_epoch}});
    if (c->tip->feature_count == 0)
        controller_record(c, &(struct metadata_record){
                                 .kind = METADATA_FEATURE,
                                 .feature = {.name = str_of(METADATA_LEVEL), .level = c->level}});
    bool all = !c->change.under_way || change_go(c);
    all = all && all_gone(c) && all_come(c) && all_rechecked(c);
    c->members_known = !all; /* the rest in the next batch */
    if (all)
        controller_lead_all_later(c);
}

static void on_members(void *user)
{
    struct controller *c = user;
    c->members_known = true;
    c->lowest = (struct controller_level){.node = c->bs->broker->node_id, .level = c->level};
    for (uint32_t i = 0; i < c->membership.member_count; i++) {
        const struct member *member = &c->membership.members[i];
        if (member->level < c->lowest.level)
            c->lowest = (struct controller_level){.node = member->id, .level = member->level};
    }
    shard_ready(c->sh, &c->work);
}

void controller_list_members(struct controller *c)
{
    c->members_known = false;
    membership_list(&c->membership, on_members);
}
