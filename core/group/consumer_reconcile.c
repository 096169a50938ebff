/* SPDX-License-Identifier: Apache-2.0
 *
 * A member's way to its target: give back, say so, get the epoch and what is free (K5).
 */
#include "core/group/consumer_private.h"

static size_t set_size(const struct tp_set *set)
{
    return set->count * sizeof(*set->parts);
}

void consumer_set_target(struct consumer_group *g, struct consumer_member *member,
                         struct tp_set target)
{
    consumer_account(g, set_size(&member->target), set_size(&target));
    tp_set_replace(&member->target, target);
}

/* What it no longer has, nor is to give back, is free; what is new it has since its epoch. */
void consumer_set_current(struct consumer_group *g, struct consumer_member *member,
                          struct tp_set assigned, struct tp_set revoking)
{
    struct tp_set was = tp_set_either(&member->assigned, &member->revoking);
    struct tp_set is = tp_set_either(&assigned, &revoking);
    struct tp_set gone = tp_set_without(&was, &is);
    struct tp_set new = tp_set_without(&is, &was);
    for (uint32_t i = 0; !g->restoring && i < gone.count; i++)
        consumer_let_go(g, &gone.parts[i]);
    for (uint32_t i = 0; !g->restoring && i < new.count; i++)
        consumer_hold(g, member, &new.parts[i], member->epoch);
    consumer_account(g, set_size(&member->assigned) + set_size(&member->revoking),
                     set_size(&assigned) + set_size(&revoking));
    tp_set_replace(&member->assigned, assigned);
    tp_set_replace(&member->revoking, revoking);
    tp_set_fini(&was);
    tp_set_fini(&is);
    tp_set_fini(&gone);
    tp_set_fini(&new);
}

static void become(struct consumer_group *g, struct consumer_member *member,
                   enum consumer_member_state state)
{
    /* One of the classic protocol is told to join again, and has a time of its own for that. */
    const bool revokes = state == CONSUMER_MEMBER_REVOKING && !member->classic;
    member->revoke_by_ns =
        revokes ? consumer_after_ms(g, member->rebalance_timeout_ms) : UINT64_MAX;
    consumer_due_at(g, member->revoke_by_ns);
    member->state = state;
    consumer_mark(g, member, CONSUMER_DIRTY_CURRENT);
    consumer_recount(g, member);
}

static bool still_owns(const struct tp_set *owned, const struct tp_set *revoking)
{
    return !owned || tp_set_meets(owned, revoking);
}

/* Of the target, what the member reads: a target may be older than what it wants now. */
static struct tp_set wanted_of(struct consumer_group *g, const struct consumer_member *member,
                               const struct tp_set *set)
{
    struct consumer_subscription *sub = member->subscription;
    consumer_refresh(g, sub);
    if (sub->regex && !sub->regex->resolved)
        return tp_set_copy(set);
    struct tp_set wanted = tp_set_copy(set);
    wanted.count = 0;
    for (uint32_t i = 0; i < set->count; i++)
        if (consumer_subscription_has(sub, &set->parts[i].topic))
            wanted.parts[wanted.count++] = set->parts[i];
    return wanted;
}

/* Takes out what anybody holds, be it the member itself; true: there was something. */
static bool drop_held(const struct consumer_group *g, struct tp_set *parts)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < parts->count; i++)
        if (!consumer_holding_find(g, &parts->parts[i]))
            parts->parts[kept++] = parts->parts[i];
    const bool dropped = kept < parts->count;
    parts->count = kept;
    return dropped;
}

static void to_epoch(struct consumer_member *member, int32_t epoch)
{
    member->previous_epoch = member->epoch;
    member->epoch = epoch;
}

static void next_step(struct consumer_group *g, struct consumer_member *member,
                      const struct tp_set *owned)
{
    struct tp_set target = wanted_of(g, member, &member->target);
    struct tp_set keeps = tp_set_both(&member->assigned, &target);
    struct tp_set loses = tp_set_without(&member->assigned, &keeps);
    if (loses.count > 0 && still_owns(owned, &loses)) {
        to_epoch(member, member->epoch); /* until it has given that back, too */
        consumer_set_current(g, member, keeps, loses);
        become(g, member, CONSUMER_MEMBER_REVOKING);
        tp_set_fini(&target);
        return;
    }
    struct tp_set gets = tp_set_without(&target, &keeps);
    const bool waits = drop_held(g, &gets);
    to_epoch(member, g->assignment_epoch);
    consumer_set_current(g, member, tp_set_either(&keeps, &gets), (struct tp_set){0});
    become(g, member, waits ? CONSUMER_MEMBER_WAITING : CONSUMER_MEMBER_STABLE);
    tp_set_fini(&gets);
    tp_set_fini(&loses);
    tp_set_fini(&keeps);
    tp_set_fini(&target);
}

/* It is at its target, or on its way; but it does not want all of that any more. */
static void give_up_unwanted(struct consumer_group *g, struct consumer_member *member)
{
    struct tp_set keeps = wanted_of(g, member, &member->assigned);
    if (keeps.count == member->assigned.count) {
        tp_set_fini(&keeps);
        return;
    }
    struct tp_set loses = tp_set_without(&member->assigned, &keeps);
    struct tp_set revoking = tp_set_either(&member->revoking, &loses);
    consumer_set_current(g, member, keeps, revoking);
    become(g, member, CONSUMER_MEMBER_REVOKING);
    tp_set_fini(&loses);
}

/* True: a call of next_step() would change nothing. */
static bool waits_in_vain(const struct consumer_group *g, const struct consumer_member *member)
{
    if (member->epoch != g->assignment_epoch || member->previous_epoch != member->epoch)
        return false;
    for (uint32_t i = 0; i < member->target.count; i++) {
        const struct tp *part = &member->target.parts[i];
        if (!tp_set_has(&member->assigned, part) && !consumer_holding_find(g, part))
            return false;
    }
    return tp_set_within(&member->assigned, &member->target);
}

bool consumer_reconcile(struct consumer_group *g, struct consumer_member *member,
                        const struct tp_set *owned, bool subscribes_anew)
{
    const struct tp_set was = tp_set_copy(&member->assigned);
    if (member->state == CONSUMER_MEMBER_STABLE) {
        if (member->epoch != g->assignment_epoch)
            next_step(g, member, owned);
        else if (subscribes_anew)
            give_up_unwanted(g, member);
    } else if (member->state == CONSUMER_MEMBER_REVOKING) {
        if (!still_owns(owned, &member->revoking))
            next_step(g, member, owned);
        else if (subscribes_anew)
            give_up_unwanted(g, member);
    } else if (member->state == CONSUMER_MEMBER_UNKNOWN || !waits_in_vain(g, member)) {
        next_step(g, member, owned);
    }
    const bool changed = !tp_set_equal(&was, &member->assigned);
    mem_free(was.parts);
    return changed;
}
