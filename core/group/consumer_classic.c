/* SPDX-License-Identifier: Apache-2.0 */
#include "core/group/consumer_classic.h"

#include "core/group/consumer_private.h"

#define ARENA_BYTES_MAX (64U << 20)

static const char protocol_type[] = "consumer";

/* ---- who is it? ---- */

static enum err find(const struct consumer_group *g, struct str member_id, struct str instance_id,
                     struct consumer_member **member)
{
    *member =
        instance_id.len >= 0 ? consumer_find_static(g, instance_id) : consumer_find(g, member_id);
    if (!*member)
        return ERR_UNKNOWN_MEMBER_ID;
    return instance_id.len >= 0 && !str_equal((*member)->id, member_id) ? ERR_FENCED_INSTANCE_ID
                                                                        : ERR_NONE;
}

static enum err find_classic(const struct consumer_group *g, struct str member_id,
                             struct str instance_id, int32_t generation,
                             struct consumer_member **member)
{
    const enum err error = find(g, member_id, instance_id, member);
    if (error != ERR_NONE)
        return error;
    if (!(*member)->classic)
        return ERR_UNKNOWN_MEMBER_ID;
    return (*member)->epoch == generation ? ERR_NONE : ERR_ILLEGAL_GENERATION;
}

/* It has as long as a rebalance may take, from the first time that it was told. */
static void has_to_join(struct consumer_group *g, struct consumer_member *member)
{
    struct consumer_classic *classic = member->classic;
    if (classic->join_by_ns == UINT64_MAX)
        classic->join_by_ns = consumer_after_ms(g, member->rebalance_timeout_ms);
    consumer_due_at(g, classic->join_by_ns);
}

/* ---- JoinGroup ---- */

static bool all_speak_one(const struct consumer_group *g, const struct group_join *join)
{
    for (uint32_t i = 0; i < join->protocol_count; i++) {
        const struct str name = join->protocols[i].name;
        const struct consumer_spoken *spoken = NULL;
        HASH_FIND(hh, g->spoken, name.data, (size_t)max_i64(name.len, 0), spoken);
        if (g->classic_count == (spoken ? spoken->members : 0))
            return true;
    }
    return false;
}

static size_t protocols_bytes(const struct group_join *join)
{
    return group_protocols_size(join->protocols, join->protocol_count);
}

/* Who joins, or whose place is taken; NULL: somebody new. */
static struct consumer_member *known_as(const struct consumer_group *g,
                                        const struct group_join *join, struct str id)
{
    return join->instance_id.len >= 0 ? consumer_find_static(g, join->instance_id)
                                      : consumer_find(g, id);
}

/* Whose group rebalances needs no room to stay in it, as in core/group/group_join.c. */
static bool has_memory(const struct consumer_group *g, const struct group_join *join)
{
    const struct consumer_member *member = known_as(g, join, join->member_id);
    const struct consumer_classic *classic = member ? member->classic : NULL;
    const size_t had =
        classic ? group_protocols_size(classic->protocols, classic->protocol_count) : 0;
    const size_t has = protocols_bytes(join);
    return has <= had || g->host->member_bytes + has - had <= g->host->member_bytes_max;
}

static enum err check_join(const struct consumer_group *g, const struct group_join *join)
{
    const struct consumer_host *host = g->host;
    if (join->session_timeout_ms < host->classic_session_min_ms ||
        join->session_timeout_ms > host->classic_session_max_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (!host->mixes)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (g->member_count >= host->members_max && !consumer_find(g, join->member_id))
        return ERR_GROUP_MAX_SIZE_REACHED;
    if (!str_equal(join->protocol_type, str_of(protocol_type)) ||
        join->protocol_count > GROUP_PROTOCOLS_MAX || !all_speak_one(g, join))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (join->member_id.len <= 0 && join->instance_id.len < 0 && join->member_id_required)
        return ERR_MEMBER_ID_REQUIRED;
    if (!has_memory(g, join))
        return ERR_COORDINATOR_NOT_AVAILABLE; /* on which clients come back */
    struct consumer_member *known; /* a static one is whom it says that it is, or nobody yet */
    return join->instance_id.len >= 0 && join->member_id.len > 0
               ? find(g, join->member_id, join->instance_id, &known)
               : ERR_NONE;
}

/* What a record has beside texts, and each of them. */
#define RECORD_BYTES 256U
#define TEXT_BYTES   5U

/* What it says is in its record twice: as it said it, and what it wants. */
static bool fits_record(const struct consumer_group *g, const struct group_join *join,
                        const struct consumer_protocol_subscription *subscription)
{
    size_t bytes = RECORD_BYTES + protocols_bytes(join) + (size_t)max_i64(g->id.len, 0) +
                   (size_t)max_i64(join->instance_id.len, 0) +
                   (size_t)max_i64(join->client_id.len, 0);
    for (int32_t i = 0; i < subscription->topics_count; i++)
        bytes += TEXT_BYTES + (size_t)max_i64(subscription->topics[i].len, 0);
    return bytes <= g->host->record_bytes_max(g->host, g);
}

/* Who comes without its id under an instance id takes the place of whoever has it, whichever
 * protocol that one speaks. */
static struct consumer_member *come_in(struct consumer_group *g, const struct group_join *join,
                                       struct str id)
{
    struct consumer_member *const known = known_as(g, join, id);
    if (!known)
        return consumer_member_add(g, id, join->instance_id);
    if (join->instance_id.len < 0 || join->member_id.len > 0)
        return known;
    const bool last = !known->classic && g->classic_count + 1 == g->member_count;
    struct consumer_member *const member = consumer_succeed(g, known, id);
    g->calm = last;
    return member;
}

/* True: the group has to think again. */
static bool take_wishes(struct consumer_group *g, struct consumer_member *member,
                        const struct group_join *join,
                        const struct consumer_protocol_subscription *subscription, bool *anew)
{
    const struct consumer_classic *classic = member->classic;
    struct consumer_subscription *const old = member->subscription;
    bool changed = !old || !classic || classic->session_timeout_ms != join->session_timeout_ms ||
                   !group_protocols_equal(classic->protocols, classic->protocol_count,
                                          join->protocols, join->protocol_count);
    changed |= consumer_set_changed(g, &member->rack_id, subscription->rack_id);
    changed |= consumer_set_changed(g, &member->client_id, join->client_id);
    changed |= consumer_set_changed(g, &member->client_host, join->client_host);
    changed |= member->rebalance_timeout_ms != join->rebalance_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    consumer_member_vote(g, member, -1);
    consumer_set_classic(g, member, join->session_timeout_ms, join->protocols,
                         join->protocol_count);
    if (old)
        old->refs++; /* it must be compared still */
    consumer_member_subscribe(g, member, subscription->topics,
                              (uint32_t)max_i64(subscription->topics_count, 0), str_null());
    *anew = member->subscription != old;
    member->planned &= !*anew;
    if (old)
        consumer_member_forget(g, old);
    if (changed || *anew)
        consumer_mark(g, member, CONSUMER_DIRTY_MEMBER);
    return *anew && !(!old && consumer_wants_nothing(member));
}

static void answer(struct group_join *join, const struct consumer_member *member)
{
    join->error = ERR_NONE;
    join->generation = member->epoch;
    join->protocol_type_out = str_of(protocol_type);
    join->protocol = member->classic->protocols[0].name;
    join->member_id_out = member->id;
}

static enum err join_with(struct consumer_group *g, struct group_join *join, struct str id,
                          const struct consumer_protocol_subscription *subscription)
{
    const char *message;
    bool anew;
    if (!fits_record(g, join, subscription))
        return ERR_UNKNOWN_SERVER_ERROR;
    struct consumer_member *const member = come_in(g, join, id);
    if (g->assignment_epoch == 0)
        consumer_begin(g);
    const bool bump = take_wishes(g, member, join, subscription, &anew);
    struct tp_set owned = consumer_embedded_owned(g->host, subscription);
    (void)consumer_bring_on(g, member, bump, &owned, anew);
    tp_set_fini(&owned);
    const enum err error = consumer_refuse(g, member, &message);
    if (error != ERR_NONE)
        return error;
    member->classic->join_by_ns = UINT64_MAX;
    member->classic->sync_by_ns = consumer_after_ms(g, member->rebalance_timeout_ms);
    consumer_due_at(g, member->classic->sync_by_ns);
    answer(join, member);
    return ERR_NONE;
}

static enum err try_to_join(struct consumer_group *g, struct group_join *join, struct str id)
{
    struct consumer_protocol_subscription subscription;
    struct arena arena;
    enum err error = check_join(g, join);
    if (error != ERR_NONE)
        return error;
    arena_init(&arena, ARENA_BYTES_MAX);
    error = consumer_embedded_subscription(join->protocols[0].metadata, &arena, &subscription)
                ? join_with(g, join, id, &subscription)
                : ERR_UNKNOWN_SERVER_ERROR;
    arena_fini(&arena);
    return error;
}

/* Which id is told beside an error is Kafka's. */
void consumer_classic_join(struct consumer_group *g, struct group_join *join, struct str made_id)
{
    join->group = NULL;
    join->member = NULL;
    join->generation = -1;
    join->protocol_type_out = str_null();
    join->protocol = str_null();
    join->leader = str_of("");
    join->skip_assignment = false;
    join->members_of = NULL;
    join->error = try_to_join(g, join, join->member_id.len > 0 ? join->member_id : made_id);
    if (join->error == ERR_MEMBER_ID_REQUIRED)
        join->member_id_out = made_id;
    else if (join->error == ERR_INVALID_SESSION_TIMEOUT)
        join->member_id_out = join->member_id;
    else if (join->error != ERR_NONE)
        join->member_id_out = str_of("");
}

/* ---- SyncGroup ---- */

static enum err check_sync(const struct consumer_member *member, const struct group_sync *sync)
{
    if (sync->protocol_type.len >= 0 && !str_equal(sync->protocol_type, str_of(protocol_type)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (sync->protocol.len >= 0 && !str_equal(sync->protocol, member->classic->protocols[0].name))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return ERR_NONE;
}

void consumer_classic_sync(struct consumer_group *g, struct group_sync *sync, struct arena *arena)
{
    struct consumer_member *member;
    sync->group = NULL;
    sync->member = NULL;
    sync->protocol_type_out = str_null();
    sync->protocol_out = str_null();
    sync->assignment = (struct bytes){0};
    sync->error = find_classic(g, sync->member_id, sync->instance_id, sync->generation, &member);
    if (sync->error == ERR_NONE)
        sync->error = check_sync(member, sync);
    if (sync->error != ERR_NONE)
        return;
    /* One that is to give back first has joined already, and is asked again when it has. */
    if (g->assignment_epoch > member->epoch && member->state != CONSUMER_MEMBER_REVOKING) {
        has_to_join(g, member);
        sync->error = ERR_REBALANCE_IN_PROGRESS;
        return;
    }
    member->classic->sync_by_ns = UINT64_MAX;
    consumer_member_is_alive(g, member);
    sync->protocol_type_out = sync->protocol_type;
    sync->protocol_out = sync->protocol;
    if (!consumer_embedded_write(g->host, &member->assigned, member->classic->protocols[0].metadata,
                                 arena, &sync->assignment))
        sync->error = ERR_UNKNOWN_SERVER_ERROR;
}

/* ---- Heartbeat ---- */

/* Others have still what it is to get. */
static bool waits_for_others(const struct consumer_group *g, const struct consumer_member *member)
{
    for (uint32_t i = 0; i < member->target.count; i++) {
        const struct tp *part = &member->target.parts[i];
        if (!tp_set_has(&member->assigned, part) && consumer_holding_find(g, part))
            return true;
    }
    return false;
}

static bool has_a_step_to_go(const struct consumer_group *g, const struct consumer_member *member)
{
    return member->epoch < g->assignment_epoch || member->state == CONSUMER_MEMBER_REVOKING ||
           (member->state == CONSUMER_MEMBER_WAITING && !waits_for_others(g, member));
}

enum err consumer_classic_heartbeat(struct consumer_group *g, struct str member_id,
                                    struct str instance_id, int32_t generation)
{
    struct consumer_member *member;
    const char *message;
    enum err error = find_classic(g, member_id, instance_id, generation, &member);
    if (error != ERR_NONE)
        return error;
    consumer_member_is_alive(g, member);
    /* There may be nobody else to see that a member is gone, or that topics have changed. */
    consumer_look_at_topics(g);
    consumer_maybe_plan(g);
    error = consumer_refuse(g, member, &message);
    if (error != ERR_NONE)
        return error;
    if (!has_a_step_to_go(g, member))
        return ERR_NONE;
    has_to_join(g, member);
    return ERR_REBALANCE_IN_PROGRESS;
}

/* ---- LeaveGroup ---- */

enum err consumer_classic_leave(struct consumer_group *g, struct str member_id,
                                struct str instance_id)
{
    struct consumer_member *member;
    enum err error = ERR_NONE;
    if (member_id.len <= 0 && instance_id.len >= 0) { /* an administrator's removal */
        member = consumer_find_static(g, instance_id);
        error = member ? ERR_NONE : ERR_UNKNOWN_MEMBER_ID;
    } else {
        error = find(g, member_id, instance_id, &member);
    }
    if (error == ERR_NONE)
        consumer_member_remove(g, member);
    return error;
}

void consumer_classic_left(struct consumer_group *g)
{
    if (!consumer_group_wants_downgrade(g))
        consumer_bump(g);
}
