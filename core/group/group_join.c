/* SPDX-License-Identifier: Apache-2.0
 *
 * JoinGroup and what follows from it: who gets in, when a rebalance begins and when it ends, who
 * leads and which protocol is chosen. G-numbers as in core/group/group.c.
 */
#include "core/group/group_private.h"
#include "io/uuid.h"

#include <stdio.h>

/* Who joins for the first time does not know its id, so it cannot send heartbeats meanwhile. */
#define NEW_MEMBER_JOIN_NS 300000000000ULL
#define UUID_DASHED_LEN    36U
/* A member's id stays a string of the protocol. */
#define MEMBER_ID_PREFIX_MAX ((int64_t)INT16_MAX - 1 - UUID_DASHED_LEN)

/* ---- which protocol (G5) ---- */

static bool everybody_speaks(const struct group *g, struct str protocol)
{
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        if (!group_member_protocol(m, protocol))
            return false;
    return true;
}

static bool is_compatible(const struct group *g, const struct group_join *join)
{
    if (join->protocol_count == 0)
        return false;
    if (g->state == GROUP_EMPTY)
        return join->protocol_type.len > 0;
    if (!str_equal(g->protocol_type, join->protocol_type))
        return false;
    for (uint32_t i = 0; i < join->protocol_count; i++)
        if (everybody_speaks(g, join->protocols[i].name))
            return true;
    return false;
}

/* The first of the member's protocols among the candidates gets its vote. */
static void vote(const struct group_member *member, const struct str *candidates, uint32_t count,
                 uint32_t *votes)
{
    for (uint32_t p = 0; p < member->protocol_count; p++)
        for (uint32_t c = 0; c < count; c++)
            if (str_equal(member->protocols[p].name, candidates[c])) {
                votes[c]++;
                return;
            }
}

/* Most votes win, and of equals the one the oldest member likes best. */
struct str group_choose_protocol(const struct group *g)
{
    const struct group_member *first = g->members;
    must(first && first->protocol_count <= GROUP_PROTOCOLS_MAX);
    struct str candidates[GROUP_PROTOCOLS_MAX];
    uint32_t votes[GROUP_PROTOCOLS_MAX] = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < first->protocol_count; i++)
        if (everybody_speaks(g, first->protocols[i].name))
            candidates[count++] = first->protocols[i].name;
    must(count > 0); /* nobody gets in who has none in common with all */
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        vote(m, candidates, count, votes);
    uint32_t best = 0;
    for (uint32_t c = 1; c < count; c++)
        if (votes[c] > votes[best])
            best = c;
    return candidates[best];
}

/* ---- the rebalance ---- */

static int32_t rebalance_timeout_of(const struct group *g)
{
    int32_t longest = 0;
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        longest = m->rebalance_timeout_ms > longest ? m->rebalance_timeout_ms : longest;
    return longest;
}

/* What the leader decided is void, and whoever waits for it is told to join again. */
void group_drop_decision(struct group *g, enum err error)
{
    g->sync_ticket = 0;
    for (struct group_member *m = g->members; m; m = m->hh.next) {
        size_t before = m->bytes;
        group_member_set_assignment(m, (struct bytes){0});
        group_member_set_next_assignment(m, (struct bytes){0});
        group_account(g, before, m->bytes);
        group_end_sync(g, m, error);
    }
}

static void join_ends_at(struct group *g, uint64_t at_ns)
{
    g->join_ends_ns = at_ns;
    group_due_at(g, at_ns);
}

/* G6 */
static void prepare_rebalance(struct group *g)
{
    if (g->state == GROUP_COMPLETING_REBALANCE)
        group_drop_decision(g, ERR_REBALANCE_IN_PROGRESS);
    for (struct group_member *m = g->members; m; m = m->hh.next)
        group_set_sync_pending(g, m, false);
    int32_t timeout_ms = rebalance_timeout_of(g);
    g->delayed = g->state == GROUP_EMPTY;
    if (g->delayed) {
        int32_t delay_ms = g->host->initial_rebalance_delay_ms;
        g->delay_left_ms = timeout_ms > delay_ms ? timeout_ms - delay_ms : 0;
        g->joined_meanwhile = false;
        join_ends_at(g, group_after_ms(g, delay_ms));
    } else {
        join_ends_at(g, group_after_ms(g, timeout_ms));
    }
    group_become(g, GROUP_PREPARING_REBALANCE);
}

void group_maybe_prepare_rebalance(struct group *g)
{
    if (group_may_become(g, GROUP_PREPARING_REBALANCE))
        prepare_rebalance(g);
}

/* Dynamic members that did not come back are out; static ones have their session timeout (G6). */
static void drop_absent(struct group *g)
{
    struct group_member *next;
    for (struct group_member *m = g->members; m; m = next) {
        next = m->hh.next;
        if (!m->joined && m->instance_id.len < 0)
            group_remove_member(g, m, ERR_UNKNOWN_MEMBER_ID);
    }
}

/* False: nobody is there who could lead. */
static bool elect_leader(struct group *g)
{
    const struct group_member *leader = group_find_member(g, g->leader);
    if (leader && leader->joined)
        return true;
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        if (m->joined) {
            group_set_text(&g->leader, m->id);
            return true;
        }
    return false;
}

static void generation_tell(struct group *g)
{
    group_set_text(&g->protocol, group_choose_protocol(g));
    group_become(g, GROUP_COMPLETING_REBALANCE);
    g->sync_ends_ns = group_after_ms(g, rebalance_timeout_of(g));
    group_due_at(g, g->sync_ends_ns);
    for (struct group_member *m = g->members; m; m = m->hh.next) {
        group_set_joined(g, m, false);
        m->is_new = false;
        group_set_sync_pending(g, m, true);
        group_member_is_alive(g, m);
        if (m->join)
            group_join_answer(g, m, m->join, group_is_leader(g, m));
    }
}

void group_store_now(struct group *g)
{
    g->host->store(g->host, g, ++g->tickets);
}

static void complete_join(struct group *g)
{
    drop_absent(g);
    if (g->members && !elect_leader(g)) {
        /* Static members alone, and none of them is back: their sessions decide. */
        join_ends_at(g, group_after_ms(g, rebalance_timeout_of(g)));
        return;
    }
    g->join_ends_ns = UINT64_MAX;
    g->delayed = false;
    g->undecided = false;
    g->generation = g->generation == INT32_MAX ? 0 : g->generation + 1;
    if (g->members) {
        generation_tell(g);
        return;
    }
    group_set_text(&g->protocol, str_null());
    group_become(g, GROUP_EMPTY);
    group_store_now(g);
}

void group_maybe_complete_join(struct group *g)
{
    if (g->state == GROUP_PREPARING_REBALANCE && !g->delayed &&
        g->joined_count == g->member_count && g->pending_count == 0)
        complete_join(g);
}

/* The initial delay is over: again, if somebody came meanwhile and there is time (G6). */
void group_join_time_over(struct group *g)
{
    if (g->delayed && g->joined_meanwhile && g->delay_left_ms > 0) {
        int32_t delay_ms = g->host->initial_rebalance_delay_ms;
        if (delay_ms > g->delay_left_ms)
            delay_ms = g->delay_left_ms;
        g->joined_meanwhile = false;
        g->delay_left_ms -= delay_ms;
        join_ends_at(g, group_after_ms(g, delay_ms));
        return;
    }
    complete_join(g);
}

void group_after_removal(struct group *g)
{
    if (g->state == GROUP_PREPARING_REBALANCE)
        group_maybe_complete_join(g);
    else
        group_maybe_prepare_rebalance(g);
    group_maybe_complete_join(g); /* nobody may be left */
}

/* ---- JoinGroup ---- */

/* "client-uuid" as Java writes it: tools cut the client id off again. */
static struct str new_member_id(struct group *g, const struct group_join *join)
{
    uint64_t high = g->host->random(g->host);
    uint64_t low = g->host->random(g->host);
    struct uuid uuid = uuid_of_random(high, low);
    const uint8_t *b = uuid.bytes;
    struct str prefix = join->instance_id.len >= 0 ? join->instance_id : join->client_id;
    size_t prefix_len = (size_t)min_i64(max_i64(prefix.len, 0), MEMBER_ID_PREFIX_MAX);
    size_t size = prefix_len + 1 + UUID_DASHED_LEN + 1;
    char *text = mem_alloc(size);
    if (prefix_len > 0)
        memcpy(text, prefix.data, prefix_len);
    int len = snprintf(text + prefix_len, size - prefix_len,
                       "-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                       b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                       b[12], b[13], b[14], b[15]);
    return (struct str){.data = text, .len = (int32_t)prefix_len + len};
}

/* The request waits for the next generation; an older one of the same member does no more. */
static void join_wait(struct group *g, struct group_member *member, struct group_join *join)
{
    if (member->join)
        group_join_fail(member->join, ERR_REBALANCE_IN_PROGRESS, member->id);
    member->join = join;
    join->group = g;
    join->member = member;
    join->stores = false;
    join->old_leader = str_null();
    group_set_joined(g, member, true);
}

static void member_update(struct group *g, struct group_member *member,
                          const struct group_join *join)
{
    size_t before = member->bytes;
    group_member_set_protocols(member, join->protocols, join->protocol_count);
    group_account(g, before, member->bytes);
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
}

static void join_known(struct group *g, struct group_member *member, struct group_join *join)
{
    member_update(g, member, join);
    join_wait(g, member, join);
    group_maybe_prepare_rebalance(g);
}

static void join_add(struct group *g, struct str member_id, struct group_join *join)
{
    if (g->state == GROUP_EMPTY)
        group_set_text(&g->protocol_type, join->protocol_type);
    struct group_member *member =
        group_member_new(member_id, join->instance_id, join->client_id, join->client_host);
    group_member_set_protocols(member, join->protocols, join->protocol_count);
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    member->is_new = true;
    member->expires_ns = group_now(g) + NEW_MEMBER_JOIN_NS;
    group_due_at(g, member->expires_ns);
    group_add_member(g, member);
    if (g->state == GROUP_PREPARING_REBALANCE && g->delayed)
        g->joined_meanwhile = true;
    join_wait(g, member, join);
    group_maybe_prepare_rebalance(g);
}

/* A static member is back without its id, or another took its place: the older is fenced (G12). */
static struct group_member *take_over(struct group *g, struct group_member *member, struct str id)
{
    group_end_join(g, member, ERR_FENCED_INSTANCE_ID, member->id);
    if (member->sync)
        group_sync_end(member->sync, ERR_FENCED_INSTANCE_ID);
    bool led = group_is_leader(g, member);
    size_t before = member->bytes;
    group_unlink(g, member);
    group_member_rename(member, id);
    group_link(g, member);
    group_account(g, before, member->bytes);
    if (led)
        group_set_text(&g->leader, id);
    group_member_is_alive(g, member);
    return member;
}

/* In a stable group that would choose the same protocol nobody need notice; but the new id must be
 * known after a restart, so it is stored before it is told. When that fails the member is told to
 * try again, and will be given another id: the old one stays fenced, it has been replaced. */
static void join_static(struct group *g, struct group_member *member, struct str id,
                        struct group_join *join)
{
    struct str old_leader = group_text_copy(g->leader);
    take_over(g, member, id);
    member_update(g, member, join);
    join_wait(g, member, join);
    if (g->state == GROUP_STABLE && str_equal(group_choose_protocol(g), g->protocol)) {
        join->stores = true;
        join->old_leader = old_leader;
        TAILQ_INSERT_TAIL(&g->storing, join, link);
        group_store_now(g);
        join->ticket = g->tickets;
        return;
    }
    mem_free(no_const(old_leader.data));
    group_maybe_prepare_rebalance(g);
}

void group_static_stored(struct group *g, struct group_join *join, enum err error)
{
    struct group_member *member = join->member;
    if (g->state != GROUP_STABLE) {
        /* A rebalance has begun, and it is in it. */
        TAILQ_REMOVE(&g->storing, join, link);
        join->stores = false;
        return;
    }
    group_set_joined(g, member, false);
    group_member_is_alive(g, member);
    if (error != ERR_NONE) {
        group_join_fail(join, error, str_of(""));
        return;
    }
    bool leads = group_is_leader(g, member) && join->may_skip;
    struct str old_leader = join->old_leader;
    join->old_leader = str_null();
    group_join_detach(join);
    join->error = ERR_NONE;
    join->generation = g->generation;
    join->protocol_type_out = g->protocol_type;
    join->protocol = g->protocol;
    /* Told of its old id, an older client does not take itself for the leader, and assigns nothing
     * that nobody would hear of. */
    join->leader = join->may_skip ? g->leader : old_leader;
    join->member_id_out = member->id;
    join->skip_assignment = leads;
    join->members_of = leads ? g : NULL;
    join->done(join);
    mem_free(no_const(old_leader.data));
}

static void join_new(struct group *g, struct group_join *join)
{
    struct str id = new_member_id(g, join);
    struct group_member *holder = group_find_static(g, join->instance_id);
    if (holder) {
        join_static(g, holder, id, join);
    } else if (join->instance_id.len < 0 && join->member_id_required) {
        const struct group_pending *pending = group_pending_add(g, id, join->session_timeout_ms);
        group_join_fail(join, ERR_MEMBER_ID_REQUIRED, pending->id);
    } else {
        join_add(g, id, join);
    }
    mem_free(no_const(id.data));
}

/* G8 */
static void join_again(struct group *g, struct group_member *member, struct group_join *join)
{
    bool same = group_member_matches(member, join->protocols, join->protocol_count);
    switch (g->state) {
    case GROUP_PREPARING_REBALANCE:
        join_known(g, member, join);
        return;
    case GROUP_COMPLETING_REBALANCE:
        if (same)
            group_join_answer(g, member, join, group_is_leader(g, member));
        else
            join_known(g, member, join);
        return;
    case GROUP_STABLE:
        if (group_is_leader(g, member) || !same)
            join_known(g, member, join);
        else
            group_join_answer(g, member, join, false);
        return;
    case GROUP_EMPTY:
    case GROUP_DEAD:
    case GROUP_STATE_COUNT:
        break;
    }
    group_join_fail(join, ERR_UNKNOWN_MEMBER_ID, join->member_id);
}

/* What it needs beyond what it has already. */
static size_t join_growth(const struct group *g, const struct group_join *join)
{
    const struct group_member *member = group_find_member(g, join->member_id);
    if (!member && join->member_id.len <= 0)
        member = group_find_static(g, join->instance_id);
    const size_t had = member ? group_protocols_size(member->protocols, member->protocol_count) : 0;
    const size_t has = group_protocols_size(join->protocols, join->protocol_count);
    return has > had ? has - had : 0;
}

/* group.max.size, as many as are wanted at a time (G13), and a bound of our own for what one
 * group's members say of themselves: either way this group is full. */
static bool has_room(const struct group *g, const struct group_join *join)
{
    const struct group_host *host = g->host;
    const struct group_member *member = group_find_member(g, join->member_id);
    bool known = member || group_find_static(g, join->instance_id);
    const size_t growth = join_growth(g, join);
    if (growth > 0 && g->bytes + growth > host->group_bytes_max)
        return false;
    switch (g->state) {
    case GROUP_PREPARING_REBALANCE:
        return (member && member->joined) || g->joined_count < host->members_max;
    case GROUP_COMPLETING_REBALANCE:
    case GROUP_STABLE:
        return known || g->member_count < host->members_max;
    case GROUP_EMPTY:
    case GROUP_DEAD:
    case GROUP_STATE_COUNT:
        break;
    }
    return true;
}

static enum err check_join(const struct group *g, const struct group_join *join)
{
    if (join->session_timeout_ms < g->host->session_timeout_min_ms ||
        join->session_timeout_ms > g->host->session_timeout_max_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (g->state == GROUP_DEAD)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    if (join->protocol_count > GROUP_PROTOCOLS_MAX || !is_compatible(g, join))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return ERR_NONE;
}

/* The memory plan is used up by all groups together (what is given away and does not come back,
 * pending ids, counts, too): that passes, so the answer is one on which clients look for their
 * coordinator again and come back, Java's and librdkafka's without a word to the application.
 * GROUP_MAX_SIZE_REACHED ends a Java consumer. Whose group rebalances needs no room to stay in it.
 */
static enum err check_room(const struct group *g, const struct group_join *join)
{
    const struct group_host *host = g->host;
    if (!has_room(g, join))
        return ERR_GROUP_MAX_SIZE_REACHED;
    const size_t growth = join_growth(g, join);
    if (growth > 0 && host->member_bytes + growth > host->member_bytes_max)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    return ERR_NONE;
}

void group_join(struct group *g, struct group_join *join)
{
    join->group = NULL;
    join->member = NULL;
    join->stores = false;
    join->old_leader = str_null();
    enum err error = check_join(g, join);
    if (error != ERR_NONE) {
        group_join_fail(join, error, join->member_id);
        return;
    }
    error = check_room(g, join);
    if (error != ERR_NONE) {
        group_join_fail(join, error, str_of(""));
        return;
    }
    struct group_pending *pending = group_pending_find(g, join->member_id);
    if (join->member_id.len <= 0) {
        join_new(g, join);
    } else if (pending && join->instance_id.len < 0) {
        group_pending_remove(g, pending);
        join_add(g, join->member_id, join);
    } else {
        error = group_check_member(g, join->member_id, join->instance_id);
        if (error == ERR_NONE)
            join_again(g, group_find_member(g, join->member_id), join);
        else
            group_join_fail(join, error, join->member_id);
    }
    group_maybe_complete_join(g);
}

void group_join_cancel(struct group_join *join, enum err error)
{
    struct group *g = join->group;
    struct group_member *member = join->member;
    if (!g)
        return;
    if (member->is_new) {
        member->expires_ns =
            min_u64(member->expires_ns, group_after_ms(g, member->session_timeout_ms));
        group_due_at(g, member->expires_ns);
    }
    if (g->state == GROUP_STABLE) { /* it waited for its id to be stored */
        group_set_joined(g, member, false);
        group_member_is_alive(g, member);
    }
    group_join_fail(join, error, join->member_id);
}
