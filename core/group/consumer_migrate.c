/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/consumer_migrate.h"

#include "core/group/consumer_private.h"

#define ARENA_BYTES_MAX (64U << 20)

/* ---- up ---- */

/* Before the first generation there is no protocol: then what it likes best. */
static const struct group_protocol *protocol_of(const struct group *from,
                                                const struct group_member *m)
{
    const struct group_protocol *chosen =
        from->protocol.len >= 0 ? group_member_protocol(m, from->protocol) : NULL;
    return chosen ? chosen : &m->protocols[0];
}

/* What it was assigned last. One that was told to join again in the middle of a rebalance has no
 * assignment here any more, but may have partitions: it said so when it joined. */
static bool assigned_to(const struct consumer_group *g, const struct group_member *m,
                        const struct consumer_protocol_subscription *subscription,
                        struct arena *arena, struct tp_set *assigned, const char **message)
{
    struct consumer_protocol_assignment assignment;
    if (m->assignment.len <= 0) {
        *assigned = consumer_embedded_owned(g->host, subscription);
        return true;
    }
    if (!consumer_embedded_assignment(m->assignment, arena, &assignment)) {
        *message = "an assignment of the classic group is none of the consumer protocol";
        return false;
    }
    if (assignment.user_data.len > 0) {
        *message = "an assignor of the classic group adds data of its own, which would be lost";
        return false;
    }
    *assigned = consumer_embedded_assigned(g->host, &assignment);
    return true;
}

/* What two were assigned the first one has. */
static void drop_held(const struct consumer_group *g, struct tp_set *parts)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < parts->count; i++)
        if (!consumer_holding_find(g, &parts->parts[i]))
            parts->parts[kept++] = parts->parts[i];
    parts->count = kept;
}

static bool member_up(struct consumer_group *g, const struct group *from,
                      const struct group_member *m, struct arena *arena, const char **message)
{
    struct consumer_protocol_subscription subscription;
    struct tp_set assigned;
    if (m->protocol_count == 0 ||
        !consumer_embedded_subscription(protocol_of(from, m)->metadata, arena, &subscription)) {
        *message = "what a member of the classic group wants is none of the consumer protocol";
        return false;
    }
    if (!assigned_to(g, m, &subscription, arena, &assigned, message))
        return false;
    struct consumer_member *member = consumer_member_add(g, m->id, m->instance_id);
    consumer_set_text(g, &member->rack_id, subscription.rack_id);
    consumer_set_text(g, &member->client_id, m->client_id);
    consumer_set_text(g, &member->client_host, m->client_host);
    member->rebalance_timeout_ms = m->rebalance_timeout_ms;
    consumer_set_classic(g, member, m->session_timeout_ms, m->protocols, m->protocol_count);
    consumer_member_subscribe(g, member, subscription.topics,
                              (uint32_t)max_i64(subscription.topics_count, 0), str_null());
    member->epoch = from->generation;
    member->previous_epoch = from->generation;
    drop_held(g, &assigned);
    consumer_set_target(g, member, tp_set_copy(&assigned));
    member->planned = true;
    consumer_set_current(g, member, assigned, (struct tp_set){0});
    consumer_member_is_alive(g, member);
    consumer_recount(g, member);
    consumer_mark(g, member,
                  CONSUMER_DIRTY_MEMBER | CONSUMER_DIRTY_TARGET | CONSUMER_DIRTY_CURRENT);
    return true;
}

/* What it had when it joined last and was not assigned again: it may not have heard of that yet,
 * and has to join again anyway when it has given it back. Kafka takes it for given back. */
static void still_gives_back(struct consumer_group *g, const struct group *from,
                             const struct group_member *m, struct arena *arena)
{
    struct consumer_protocol_subscription subscription;
    struct consumer_member *member = consumer_find(g, m->id);
    if (!consumer_embedded_subscription(protocol_of(from, m)->metadata, arena, &subscription))
        return;
    struct tp_set owned = consumer_embedded_owned(g->host, &subscription);
    drop_held(g, &owned);
    if (owned.count == 0) {
        tp_set_fini(&owned);
        return;
    }
    consumer_set_current(g, member, tp_set_copy(&member->assigned), owned);
    member->state = CONSUMER_MEMBER_REVOKING;
    consumer_recount(g, member);
}

bool consumer_migrate_up(struct consumer_group *g, const struct group *from, const char **message)
{
    struct arena arena;
    bool good = true;
    must(g->member_count == 0 && g->epoch == 0 && !g->subscriptions.regexes);
    if (from->generation < 0 || from->generation >= INT32_MAX - 1) {
        *message = "the classic group has come to its last generation";
        return false;
    }
    g->assignment_epoch = from->generation;
    g->dirty |= CONSUMER_DIRTY_GROUP | CONSUMER_DIRTY_EPOCH;
    arena_init(&arena, ARENA_BYTES_MAX);
    for (const struct group_member *m = from->members; m && good; m = m->hh.next) {
        good = member_up(g, from, m, &arena, message);
        arena_reset(&arena);
    }
    for (const struct group_member *m = from->members; m && good; m = m->hh.next) {
        still_gives_back(g, from, m, &arena);
        arena_reset(&arena);
    }
    arena_fini(&arena);
    /* That there are topics is nothing new. */
    consumer_look_at_topics(g);
    g->epoch = from->generation;
    return good;
}

/* ---- down ---- */

/* Its assignment is what it has, which the next migration asks for; Kafka writes what it was to
 * have. Nobody is told: they all join again, unless both are the same. */
static bool member_down(const struct consumer_group *g, const struct consumer_member *m,
                        bool takes_target, struct group *to, struct arena *arena)
{
    const struct consumer_classic *classic = m->classic;
    struct bytes assignment;
    struct tp_set held =
        takes_target ? tp_set_copy(&m->target) : tp_set_either(&m->assigned, &m->revoking);
    const bool good =
        consumer_embedded_write(g->host, &held, classic->protocols[0].metadata, arena, &assignment);
    tp_set_fini(&held);
    if (!good)
        return false;
    group_restore_member(to, m->id, m->instance_id, m->client_id, m->client_host,
                         classic->session_timeout_ms, m->rebalance_timeout_ms, classic->protocols,
                         classic->protocol_count, assignment);
    return true;
}

bool consumer_migrate_down(const struct consumer_group *g, bool takes_target, struct group *to)
{
    struct arena arena;
    bool good = true;
    arena_init(&arena, ARENA_BYTES_MAX);
    for (const struct consumer_member *m = g->members; m && good; m = m->hh.next) {
        good = member_down(g, m, takes_target, to, &arena);
        arena_reset(&arena);
    }
    arena_fini(&arena);
    if (good)
        group_restore_chosen(to, g->epoch, str_of("consumer"),
                             !g->calm || consumer_group_state(g) != CONSUMER_STABLE);
    return good;
}
