/* SPDX-License-Identifier: Apache-2.0
 *
 * A consumer group as its records tell it. They may come in any order, and a crash may have cut
 * them off anywhere: what fits together counts when all have been read.
 */
#include "core/group/consumer_private.h"

static struct consumer_member *find_or_add(struct consumer_group *g, struct str id)
{
    struct consumer_member *member = consumer_find(g, id);
    return member ? member : consumer_member_add(g, id, str_null());
}

/* Who knows nothing of itself any more is gone. */
static void forget_if_nothing(struct consumer_group *g, struct consumer_member *member)
{
    if (!member->subscription && member->target.count == 0 && member->epoch == 0 &&
        member->assigned.count == 0 && member->revoking.count == 0)
        consumer_member_remove(g, member);
}

static void set_instance(struct consumer_group *g, struct consumer_member *member,
                         struct str instance_id)
{
    if (member->instance_id.len >= 0 && consumer_find_static(g, member->instance_id) == member)
        HASH_DELETE(hh_instance, g->statics, member);
    consumer_set_text(g, &member->instance_id, instance_id);
    struct consumer_member *holder = consumer_find_static(g, instance_id);
    if (holder)
        HASH_DELETE(hh_instance, g->statics, holder); /* its tombstone is on its way */
    if (instance_id.len >= 0)
        HASH_ADD_KEYPTR(hh_instance, g->statics, member->instance_id.data,
                        (size_t)member->instance_id.len, member);
}

void consumer_restore_member(struct consumer_group *g, struct str id,
                             const struct consumer_restored_member *restored)
{
    struct consumer_member *member = consumer_find(g, id);
    enum assignor assignor;
    g->restoring = true;
    if (!restored) {
        if (member)
            consumer_member_remove(g, member);
        return;
    }
    if (!member)
        member = consumer_member_add(g, id, str_null());
    set_instance(g, member, restored->instance_id);
    consumer_set_text(g, &member->rack_id, restored->rack_id);
    consumer_set_text(g, &member->client_id, restored->client_id);
    consumer_set_text(g, &member->client_host, restored->client_host);
    member->rebalance_timeout_ms = restored->rebalance_timeout_ms;
    consumer_set_classic(g, member, restored->session_timeout_ms, restored->protocols,
                         restored->classic ? restored->protocol_count : 0);
    consumer_member_subscribe(g, member, restored->names, restored->name_count, restored->regex);
    consumer_member_vote(g, member,
                         assign_find(restored->assignor, &assignor) ? (int32_t)assignor : -1);
}

void consumer_restore_target(struct consumer_group *g, struct str id, struct tp_set *target)
{
    g->restoring = true;
    struct consumer_member *member = target ? find_or_add(g, id) : consumer_find(g, id);
    if (!member)
        return;
    consumer_set_target(g, member, target ? *target : (struct tp_set){0});
    member->planned = target != NULL;
    forget_if_nothing(g, member);
}

void consumer_restore_current(struct consumer_group *g, struct str id,
                              const struct consumer_restored_current *current)
{
    static const struct consumer_restored_current nothing = {.state = CONSUMER_MEMBER_STABLE};
    g->restoring = true;
    struct consumer_member *member = current ? find_or_add(g, id) : consumer_find(g, id);
    if (!member)
        return;
    if (!current)
        current = &nothing;
    member->epoch = current->epoch;
    member->previous_epoch = current->previous_epoch;
    member->state = current->state;
    consumer_set_current(g, member, current->assigned, current->revoking);
    mem_free(member->restored_since);
    member->restored_since = current->since;
    mem_free(member->revoked_since);
    member->revoked_since = current->revoked_since;
    forget_if_nothing(g, member);
}

/* A partition of two members cannot be written; should it be read, the first one has it. */
static void hold_restored(struct consumer_group *g, struct consumer_member *member,
                          struct tp_set *set, const int32_t *since)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (consumer_holding_find(g, &set->parts[i])) {
            consumer_mark(g, member, CONSUMER_DIRTY_CURRENT);
            continue;
        }
        consumer_hold(g, member, &set->parts[i], since ? since[i] : member->epoch);
        set->parts[kept++] = set->parts[i];
    }
    consumer_account(g, (set->count - kept) * sizeof(*set->parts), 0);
    set->count = kept;
}

void consumer_group_resume(struct consumer_group *g)
{
    struct consumer_member *next;
    consumer_group_clean(g);
    for (struct consumer_member *m = g->members; m; m = next) {
        next = m->hh.next;
        if (!m->subscription) /* half of it */
            consumer_member_fence(g, m);
    }
    g->restoring = false;
    for (struct consumer_member *m = g->members; m; m = m->hh.next) {
        hold_restored(g, m, &m->assigned, m->restored_since);
        hold_restored(g, m, &m->revoking, m->revoked_since);
        mem_free(m->restored_since);
        m->restored_since = NULL;
        mem_free(m->revoked_since);
        m->revoked_since = NULL;
        consumer_member_is_alive(g, m);
        if (m->state == CONSUMER_MEMBER_REVOKING && !m->classic) {
            m->revoke_by_ns = consumer_after_ms(g, m->rebalance_timeout_ms);
            consumer_due_at(g, m->revoke_by_ns);
        }
        consumer_recount(g, m);
    }
}
