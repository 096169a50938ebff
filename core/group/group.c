/* SPDX-License-Identifier: Apache-2.0
 *
 * G1 to G16 and O1 are rules of the classic protocol, as Kafka's coordinator keeps them; each has a
 * test by its name (tests/unit/core/group/test_group.c). Joining is core/group/group_join.c.
 *
 * Deadlines are found lazily: deadline_ns only ever comes nearer between two ticks, so a heartbeat
 * costs no search among the members, and a tick that came too early looks at everybody once.
 */
#include "core/group/group_private.h"

/* ---- states ---- */

static const char *const state_names[] = {
#define X(name, text) [name] = (text),
    GROUP_STATES(X)
#undef X
};

/* Bits of the states that may come before (G1). */
static const uint8_t states_before[GROUP_STATE_COUNT] = {
    [GROUP_EMPTY] = 1U << GROUP_PREPARING_REBALANCE,
    [GROUP_PREPARING_REBALANCE] =
        1U << GROUP_EMPTY | 1U << GROUP_STABLE | 1U << GROUP_COMPLETING_REBALANCE,
    [GROUP_COMPLETING_REBALANCE] = 1U << GROUP_PREPARING_REBALANCE,
    [GROUP_STABLE] = 1U << GROUP_COMPLETING_REBALANCE,
    [GROUP_DEAD] = 1U << GROUP_EMPTY | 1U << GROUP_PREPARING_REBALANCE |
                   1U << GROUP_COMPLETING_REBALANCE | 1U << GROUP_STABLE,
};

const char *group_state_name(enum group_state state)
{
    return state_names[state];
}

bool group_may_become(const struct group *g, enum group_state state)
{
    return (states_before[state] >> g->state & 1U) != 0;
}

void group_become(struct group *g, enum group_state state)
{
    must(group_may_become(g, state));
    g->state = state;
    g->state_since_ms = g->host->wall_ms(g->host);
}

/* ---- time ---- */

uint64_t group_now(const struct group *g)
{
    return g->host->now_ns(g->host);
}

uint64_t group_after_ms(const struct group *g, int64_t ms)
{
    return group_now(g) + (uint64_t)max_i64(ms, 0) * NS_PER_MS;
}

void group_due_at(struct group *g, uint64_t at_ns)
{
    g->deadline_ns = min_u64(g->deadline_ns, at_ns);
}

void group_member_is_alive(struct group *g, struct group_member *member)
{
    member->expires_ns = group_after_ms(g, member->session_timeout_ms);
    group_due_at(g, member->expires_ns);
}

/* Those who wait for us are not silent; but a first join does not wait for ever (G10). */
static bool may_expire(const struct group_member *member)
{
    return member->is_new || (!member->joined && !member->sync);
}

/* ---- small things ---- */

void group_set_text(struct str *to, struct str text)
{
    struct str copy = group_text_copy(text);
    mem_free(no_const(to->data));
    *to = copy;
}

struct group_member *group_find_member(const struct group *g, struct str id)
{
    struct group_member *member = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->members, id.data, (size_t)id.len, member);
    return member;
}

struct group_member *group_find_static(const struct group *g, struct str instance_id)
{
    struct group_member *member = NULL;
    if (instance_id.len >= 0)
        HASH_FIND(hh_instance, g->statics, instance_id.data, (size_t)instance_id.len, member);
    return member;
}

bool group_is_leader(const struct group *g, const struct group_member *member)
{
    return g->leader.len >= 0 && str_equal(g->leader, member->id);
}

void group_link(struct group *g, struct group_member *member)
{
    HASH_ADD_KEYPTR(hh, g->members, member->id.data, (size_t)member->id.len, member);
    if (member->instance_id.len >= 0)
        HASH_ADD_KEYPTR(hh_instance, g->statics, member->instance_id.data,
                        (size_t)member->instance_id.len, member);
}

void group_unlink(struct group *g, struct group_member *member)
{
    HASH_DELETE(hh, g->members, member);
    if (member->instance_id.len >= 0)
        HASH_DELETE(hh_instance, g->statics, member);
}

/* A member's memory has changed from `before`. */
void group_account(struct group *g, size_t before, size_t after)
{
    g->bytes += after;
    g->bytes -= before;
    g->host->member_bytes += after;
    g->host->member_bytes -= before;
}

/* Who may this be (G12)? */
enum err group_check_member(const struct group *g, struct str member_id, struct str instance_id)
{
    if (instance_id.len >= 0) {
        const struct group_member *holder = group_find_static(g, instance_id);
        if (!holder)
            return ERR_UNKNOWN_MEMBER_ID;
        return str_equal(holder->id, member_id) ? ERR_NONE : ERR_FENCED_INSTANCE_ID;
    }
    return group_find_member(g, member_id) ? ERR_NONE : ERR_UNKNOWN_MEMBER_ID;
}

static enum err check_generation(const struct group *g, struct str member_id,
                                 struct str instance_id, int32_t generation)
{
    if (g->state == GROUP_DEAD)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    enum err error = group_check_member(g, member_id, instance_id);
    if (error == ERR_NONE && generation != g->generation)
        error = ERR_ILLEGAL_GENERATION;
    return error;
}

/* ---- answers ---- */

void group_set_joined(struct group *g, struct group_member *member, bool joined)
{
    g->joined_count += joined;
    g->joined_count -= member->joined;
    member->joined = joined;
}

void group_set_sync_pending(struct group *g, struct group_member *member, bool pending)
{
    g->sync_pending_count += pending;
    g->sync_pending_count -= member->sync_pending;
    member->sync_pending = pending;
}

/* The request waits no more. */
void group_join_detach(struct group_join *join)
{
    if (!join->group)
        return;
    if (join->stores)
        TAILQ_REMOVE(&join->group->storing, join, link);
    mem_free(no_const(join->old_leader.data));
    join->old_leader = str_null();
    join->stores = false;
    join->member->join = NULL;
    join->group = NULL;
    join->member = NULL;
}

void group_join_fail(struct group_join *join, enum err error, struct str member_id)
{
    group_join_detach(join);
    join->error = error;
    join->generation = -1;
    join->protocol_type_out = str_null();
    join->protocol = str_null();
    join->leader = str_of("");
    join->member_id_out = member_id;
    join->skip_assignment = false;
    join->members_of = NULL;
    join->done(join);
}

/* The answer of the generation as it stands, to a member whose request this is. */
void group_join_answer(const struct group *g, const struct group_member *member,
                       struct group_join *join, bool with_members)
{
    group_join_detach(join);
    join->error = ERR_NONE;
    join->generation = g->generation;
    join->protocol_type_out = g->protocol_type;
    join->protocol = g->protocol;
    join->leader = g->leader;
    join->member_id_out = member->id;
    join->skip_assignment = false;
    join->members_of = with_members ? g : NULL;
    join->done(join);
}

void group_end_join(struct group *g, struct group_member *member, enum err error,
                    struct str member_id)
{
    group_set_joined(g, member, false);
    if (member->join)
        group_join_fail(member->join, error, member_id);
}

void group_sync_end(struct group_sync *sync, enum err error)
{
    const struct group *g = sync->group;
    const struct group_member *member = sync->member;
    sync->error = error;
    sync->protocol_type_out = str_null();
    sync->protocol_out = str_null();
    sync->assignment = (struct bytes){0};
    if (error == ERR_NONE) {
        sync->protocol_type_out = g->protocol_type;
        sync->protocol_out = g->protocol;
        sync->assignment = member->assignment;
    }
    sync->member->sync = NULL;
    sync->group = NULL;
    sync->member = NULL;
    sync->done(sync);
}

static void sync_refuse(struct group_sync *sync, enum err error)
{
    sync->error = error;
    sync->protocol_type_out = str_null();
    sync->protocol_out = str_null();
    sync->assignment = (struct bytes){0};
    sync->done(sync);
}

void group_end_sync(struct group *g, struct group_member *member, enum err error)
{
    if (!member->sync)
        return;
    group_member_is_alive(g, member);
    group_sync_end(member->sync, error);
}

/* ---- members come and go ---- */

static size_t pending_size(const struct group_pending *pending)
{
    return sizeof(*pending) + (size_t)pending->id.len + 1;
}

void group_pending_remove(struct group *g, struct group_pending *pending)
{
    must(g->pending_count > 0);
    HASH_DELETE(hh, g->pending, pending);
    g->pending_count--;
    group_account(g, pending_size(pending), 0);
    mem_free(no_const(pending->id.data));
    mem_free(pending);
}

struct group_pending *group_pending_find(const struct group *g, struct str id)
{
    struct group_pending *pending = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->pending, id.data, (size_t)id.len, pending);
    return pending;
}

const struct group_pending *group_pending_add(struct group *g, struct str id, int32_t timeout_ms)
{
    struct group_pending *pending = mem_zalloc(sizeof(*pending));
    pending->id = group_text_copy(id);
    pending->expires_ns = group_after_ms(g, timeout_ms);
    HASH_ADD_KEYPTR(hh, g->pending, pending->id.data, (size_t)pending->id.len, pending);
    g->pending_count++;
    group_account(g, 0, pending_size(pending));
    group_due_at(g, pending->expires_ns);
    return pending;
}

void group_add_member(struct group *g, struct group_member *member)
{
    if (g->member_count == 0) /* the first says what kind of group it is (G5), and leads (G7) */
        must(g->leader.len < 0);
    if (g->leader.len < 0)
        group_set_text(&g->leader, member->id);
    group_link(g, member);
    g->member_count++;
    group_account(g, 0, member->bytes);
}

void group_remove_member(struct group *g, struct group_member *member, enum err error)
{
    group_end_join(g, member, error, member->id);
    if (member->sync)
        group_sync_end(member->sync, error);
    group_set_sync_pending(g, member, false);
    bool led = group_is_leader(g, member);
    group_unlink(g, member);
    must(g->member_count > 0);
    g->member_count--;
    group_account(g, member->bytes, 0);
    group_member_free(member);
    if (led)
        group_set_text(&g->leader, g->members ? g->members->id : str_null());
}

/* ---- SyncGroup ---- */

static enum err check_sync(const struct group *g, const struct group_sync *sync)
{
    enum err error = check_generation(g, sync->member_id, sync->instance_id, sync->generation);
    if (error != ERR_NONE)
        return error;
    if (sync->protocol_type.len >= 0 && !str_equal(sync->protocol_type, g->protocol_type))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (sync->protocol.len >= 0 && !str_equal(sync->protocol, g->protocol))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (g->state == GROUP_EMPTY)
        return ERR_UNKNOWN_MEMBER_ID;
    if (g->state == GROUP_PREPARING_REBALANCE)
        return ERR_REBALANCE_IN_PROGRESS;
    return ERR_NONE;
}

static void sync_wait(struct group *g, struct group_member *member, struct group_sync *sync)
{
    if (member->sync)
        group_sync_end(member->sync, ERR_REBALANCE_IN_PROGRESS);
    member->sync = sync;
    sync->group = g;
    sync->member = member;
    group_set_sync_pending(g, member, false);
}

static void sync_stored(struct group *g, enum err error)
{
    g->sync_ticket = 0;
    if (error != ERR_NONE) {
        group_drop_decision(g, error);
        group_maybe_prepare_rebalance(g);
        return;
    }
    for (struct group_member *m = g->members; m; m = m->hh.next) {
        size_t before = m->bytes;
        group_member_take_next_assignment(m);
        group_account(g, before, m->bytes);
        group_end_sync(g, m, ERR_NONE);
    }
    group_become(g, GROUP_STABLE);
}

/* What cannot be stored is not copied first. */
static bool is_too_large(const struct group *g, const struct group_sync *sync)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < sync->assignment_count; i++)
        bytes += (size_t)max_i64(sync->assignments[i].assignment.len, 0);
    return bytes > g->host->record_bytes_max(g->host, g);
}

/* Whoever the leader forgot gets nothing; what it assigned to strangers is dropped (G9). */
static void decide(struct group *g, const struct group_sync *sync)
{
    if (is_too_large(g, sync)) {
        sync_stored(g, ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    for (uint32_t i = 0; i < sync->assignment_count; i++) {
        struct group_member *member = group_find_member(g, sync->assignments[i].member_id);
        if (!member)
            continue;
        size_t before = member->bytes;
        group_member_set_next_assignment(member, sync->assignments[i].assignment);
        group_account(g, before, member->bytes);
    }
    g->sync_ticket = g->tickets + 1;
    group_store_now(g);
}

void group_sync(struct group *g, struct group_sync *sync)
{
    sync->group = NULL;
    sync->member = NULL;
    enum err error = check_sync(g, sync);
    if (error != ERR_NONE) {
        sync_refuse(sync, error);
        return;
    }
    struct group_member *member = group_find_member(g, sync->member_id);
    sync_wait(g, member, sync);
    if (g->state == GROUP_STABLE) {
        group_end_sync(g, member, ERR_NONE);
        return;
    }
    if (group_is_leader(g, member) && g->sync_ticket == 0)
        decide(g, sync);
}

void group_sync_cancel(struct group_sync *sync, enum err error)
{
    if (sync->group)
        group_end_sync(sync->group, sync->member, error);
}

void group_stored(struct group *g, uint64_t ticket, enum err error)
{
    if (ticket == g->sync_ticket && g->state == GROUP_COMPLETING_REBALANCE) {
        sync_stored(g, error);
        return;
    }
    struct group_join *join;
    TAILQ_FOREACH (join, &g->storing, link)
        if (join->ticket == ticket) {
            group_static_stored(g, join, error);
            return;
        }
}

/* ---- the smaller requests ---- */

/* G10 */
enum err group_heartbeat(struct group *g, struct str member_id, struct str instance_id,
                         int32_t generation)
{
    enum err error = check_generation(g, member_id, instance_id, generation);
    if (error != ERR_NONE)
        return error;
    group_member_is_alive(g, group_find_member(g, member_id));
    return g->state == GROUP_PREPARING_REBALANCE ? ERR_REBALANCE_IN_PROGRESS : ERR_NONE;
}

/* G11 */
enum err group_leave(struct group *g, struct str member_id, struct str instance_id)
{
    if (g->state == GROUP_DEAD)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    struct group_member *member;
    if (member_id.len <= 0) {
        member = group_find_static(g, instance_id);
        if (!member)
            return ERR_UNKNOWN_MEMBER_ID;
    } else {
        struct group_pending *pending = group_pending_find(g, member_id);
        if (pending) {
            group_pending_remove(g, pending);
            group_maybe_complete_join(g);
            return ERR_NONE;
        }
        enum err error = group_check_member(g, member_id, instance_id);
        if (error != ERR_NONE)
            return error;
        member = group_find_member(g, member_id);
    }
    group_remove_member(g, member, ERR_UNKNOWN_MEMBER_ID);
    group_after_removal(g);
    return ERR_NONE;
}

/* O1 */
enum err group_commit(struct group *g, struct str member_id, struct str instance_id,
                      int32_t generation)
{
    if (g->state == GROUP_DEAD)
        return ERR_COORDINATOR_NOT_AVAILABLE;
    if (g->state == GROUP_EMPTY && generation < 0)
        return ERR_NONE; /* somebody who only keeps offsets here */
    if (generation < 0 && member_id.len <= 0 && instance_id.len < 0)
        return ERR_UNKNOWN_MEMBER_ID;
    enum err error = check_generation(g, member_id, instance_id, generation);
    if (error != ERR_NONE)
        return error;
    if (g->state == GROUP_COMPLETING_REBALANCE)
        return ERR_REBALANCE_IN_PROGRESS;
    group_member_is_alive(g, group_find_member(g, member_id));
    return ERR_NONE;
}

/* ---- time passes ---- */

static bool expire_pending(struct group *g, uint64_t now)
{
    bool expired = false;
    struct group_pending *next;
    for (struct group_pending *p = g->pending; p; p = next) {
        next = p->hh.next;
        if (p->expires_ns <= now) {
            group_pending_remove(g, p);
            expired = true;
        } else {
            group_due_at(g, p->expires_ns);
        }
    }
    return expired;
}

static bool expire_members(struct group *g, uint64_t now)
{
    bool expired = false;
    struct group_member *next;
    for (struct group_member *m = g->members; m; m = next) {
        next = m->hh.next;
        if (!may_expire(m))
            continue; /* whoever answers it sets its time anew */
        if (m->expires_ns <= now) {
            group_remove_member(g, m, ERR_UNKNOWN_MEMBER_ID);
            expired = true;
        } else {
            group_due_at(g, m->expires_ns);
        }
    }
    return expired;
}

/* They were told of a generation and never asked what is theirs (G9). */
static void drop_unsynced(struct group *g)
{
    struct group_member *next;
    for (struct group_member *m = g->members; m; m = next) {
        next = m->hh.next;
        if (m->sync_pending)
            group_remove_member(g, m, ERR_UNKNOWN_MEMBER_ID);
    }
    group_after_removal(g);
}

void group_tick(struct group *g)
{
    uint64_t now = group_now(g);
    g->deadline_ns = UINT64_MAX;
    bool expired = expire_pending(g, now);
    if (expire_members(g, now))
        group_after_removal(g);
    else if (expired)
        group_maybe_complete_join(g);
    if (g->state == GROUP_PREPARING_REBALANCE) {
        if (g->join_ends_ns <= now)
            group_join_time_over(g);
        else
            group_due_at(g, g->join_ends_ns);
    } else if (g->sync_pending_count > 0) {
        if (g->sync_ends_ns <= now)
            drop_unsynced(g);
        else
            group_due_at(g, g->sync_ends_ns);
    }
}

/* ---- beginning and end ---- */

struct group *group_new(struct group_host *host, struct str id)
{
    struct group *g = mem_zalloc(sizeof(*g));
    g->host = host;
    g->id = group_text_copy(id);
    g->state = GROUP_EMPTY;
    g->protocol_type = str_null();
    g->protocol = str_null();
    g->leader = str_null();
    g->state_since_ms = -1;
    g->deadline_ns = UINT64_MAX;
    g->join_ends_ns = UINT64_MAX;
    TAILQ_INIT(&g->storing);
    return g;
}

void group_kill(struct group *g, enum err error)
{
    while (g->pending)
        group_pending_remove(g, g->pending);
    for (struct group_member *m = g->members; m; m = m->hh.next) {
        group_end_join(g, m, error, m->id);
        if (m->sync)
            group_sync_end(m->sync, error);
    }
    while (g->members)
        group_remove_member(g, g->members, error);
    group_become(g, GROUP_DEAD);
    g->deadline_ns = UINT64_MAX;
}

void group_free(struct group *g)
{
    if (g->state != GROUP_DEAD)
        group_kill(g, ERR_NOT_COORDINATOR);
    must(TAILQ_EMPTY(&g->storing));
    mem_free(no_const(g->id.data));
    mem_free(no_const(g->protocol_type.data));
    mem_free(no_const(g->protocol.data));
    mem_free(no_const(g->leader.data));
    mem_free(g);
}

void group_restore_member(struct group *g, struct str member_id, struct str instance_id,
                          struct str client_id, struct str client_host, int32_t session_timeout_ms,
                          int32_t rebalance_timeout_ms, const struct group_protocol *protocols,
                          uint32_t protocol_count, struct bytes assignment)
{
    must(g->state == GROUP_EMPTY);
    if (group_find_member(g, member_id) || group_find_static(g, instance_id))
        return;
    struct group_member *member = group_member_new(member_id, instance_id, client_id, client_host);
    group_member_set_protocols(member, protocols, protocol_count);
    group_member_set_assignment(member, assignment);
    member->session_timeout_ms = session_timeout_ms;
    member->rebalance_timeout_ms = rebalance_timeout_ms;
    group_add_member(g, member);
    group_member_is_alive(g, member);
}

void group_restore(struct group *g, int32_t generation, struct str protocol_type,
                   struct str protocol, struct str leader, int64_t state_since_ms)
{
    g->generation = generation;
    group_set_text(&g->protocol_type, protocol_type);
    group_set_text(&g->protocol, protocol);
    if (group_find_member(g, leader))
        group_set_text(&g->leader, leader);
    g->state_since_ms = state_since_ms;
    g->undecided = g->members && leader.len < 0;
    if (g->members)
        g->state = GROUP_STABLE; /* by no transition: that is how it was left */
}

void group_restore_chosen(struct group *g, int32_t generation, struct str protocol_type,
                          bool undecided)
{
    must(g->members);
    g->generation = generation;
    group_set_text(&g->protocol_type, protocol_type);
    group_set_text(&g->protocol, group_choose_protocol(g));
    g->state_since_ms = g->host->wall_ms(g->host);
    g->undecided = undecided;
    g->state = GROUP_STABLE;
}

void group_resume(struct group *g)
{
    for (struct group_member *m = g->members; m; m = m->hh.next)
        group_member_is_alive(g, m);
    if (g->undecided)
        group_maybe_prepare_rebalance(g);
}

void group_forget_assignments(struct group *g)
{
    for (struct group_member *m = g->members; m; m = m->hh.next) {
        const size_t before = m->bytes;
        group_member_set_assignment(m, (struct bytes){0});
        group_account(g, before, m->bytes);
    }
}

/* ---- questions ---- */

bool group_is_consumer(const struct group *g)
{
    return str_equal(g->protocol_type, str_of("consumer"));
}

bool group_is_deciding(const struct group *g)
{
    return g->sync_ticket != 0;
}

bool group_is_void(const struct group *g)
{
    return g->state == GROUP_EMPTY && g->generation == 0 && g->pending_count == 0;
}

/* A consumer's metadata begins with a version and the topics it wants. */
static bool wants(const struct group *g, const struct group_member *member, struct str topic)
{
    struct bytes metadata = group_member_metadata(member, g->protocol);
    struct piece piece;
    struct rd rd;
    rd_init(&rd, span_of(&piece, metadata.data, (uint32_t)max_i64(metadata.len, 0)));
    if (metadata.len <= 0)
        return true;
    rd_i16(&rd);
    int32_t count = rd_i32(&rd);
    for (int32_t i = 0; i < count && !rd.bad; i++) {
        int16_t len = rd_i16(&rd);
        struct span name = rd_span(&rd, len > 0 ? (uint32_t)len : 0);
        uint32_t run;
        const uint8_t *data = span_front(&name, &run);
        if (!rd.bad && str_equal(topic, (struct str){(const char *)data, (int32_t)run}))
            return true;
    }
    return rd.bad;
}

bool group_subscribes(const struct group *g, struct str topic)
{
    if (g->protocol.len < 0)
        return g->member_count > 0;
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        if (wants(g, m, topic))
            return true;
    return false;
}
