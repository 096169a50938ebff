/* SPDX-License-Identifier: Apache-2.0
 *
 * Members and what they hold. Deadlines are found lazily, as in core/group/group.c: a heartbeat
 * costs no search among the members, and a tick that came too early looks at everybody once.
 */
#include "core/group/consumer_private.h"

static const char *const state_names[] = {
#define X(name, text) [name] = (text),
    CONSUMER_STATES(X)
#undef X
};

const char *consumer_state_name(enum consumer_state state)
{
    return state_names[state];
}

/* ---- time ---- */

uint64_t consumer_after_ms(const struct consumer_group *g, int64_t ms)
{
    return g->host->now_ns(g->host) + (uint64_t)max_i64(ms, 0) * NS_PER_MS;
}

void consumer_due_at(struct consumer_group *g, uint64_t at_ns)
{
    g->deadline_ns = min_u64(g->deadline_ns, at_ns);
}

void consumer_member_is_alive(struct consumer_group *g, struct consumer_member *member)
{
    member->expires_ns = consumer_after_ms(g, member->classic ? member->classic->session_timeout_ms
                                                              : g->host->session_timeout_ms);
    consumer_due_at(g, member->expires_ns);
}

/* By then it must have done something. */
static uint64_t dies_at(const struct consumer_member *member)
{
    const struct consumer_classic *classic = member->classic;
    uint64_t at_ns = min_u64(member->expires_ns, member->revoke_by_ns);
    return classic ? min_u64(at_ns, min_u64(classic->join_by_ns, classic->sync_by_ns)) : at_ns;
}

void consumer_group_tick(struct consumer_group *g)
{
    const uint64_t now_ns = g->host->now_ns(g->host);
    struct consumer_member *next;
    g->deadline_ns = UINT64_MAX;
    for (struct consumer_member *m = g->members; m; m = next) {
        next = m->hh.next;
        if (dies_at(m) <= now_ns)
            consumer_member_fence(g, m);
        else
            consumer_due_at(g, dies_at(m));
    }
}

/* ---- memory ---- */

void consumer_account(struct consumer_group *g, size_t before, size_t after)
{
    g->bytes += after;
    g->bytes -= before;
    g->host->member_bytes += after;
    g->host->member_bytes -= before;
}

static size_t text_size(struct str text)
{
    return text.len < 0 ? 0 : (size_t)text.len + 1;
}

void consumer_set_text(struct consumer_group *g, struct str *to, struct str text)
{
    struct str copy = group_text_copy(text);
    consumer_account(g, text_size(*to), text_size(copy));
    mem_free(no_const(to->data));
    *to = copy;
}

/* ---- what is to be written ---- */

void consumer_mark(struct consumer_group *g, struct consumer_member *member, unsigned dirty)
{
    if (member->dirty == 0)
        TAILQ_INSERT_TAIL(&g->dirty_members, member, dirty_link);
    member->dirty |= (uint8_t)dirty;
}

bool consumer_group_is_dirty(const struct consumer_group *g)
{
    return g->dirty != 0 || !TAILQ_EMPTY(&g->dirty_members) || !STAILQ_EMPTY(&g->gone) ||
           g->regexes_dirty;
}

void consumer_group_doubt(struct consumer_group *g)
{
    g->dirty |= CONSUMER_DIRTY_EPOCH;
}

static void mark_gone(struct consumer_group *g, struct str id, bool regex)
{
    struct consumer_gone *gone = mem_zalloc(sizeof(*gone));
    gone->id = group_text_copy(id);
    gone->regex = regex;
    STAILQ_INSERT_TAIL(&g->gone, gone, link);
}

void consumer_group_clean(struct consumer_group *g)
{
    struct consumer_member *member;
    struct consumer_gone *gone;
    while ((member = TAILQ_FIRST(&g->dirty_members)) != NULL) {
        TAILQ_REMOVE(&g->dirty_members, member, dirty_link);
        member->dirty = 0;
    }
    while ((gone = STAILQ_FIRST(&g->gone)) != NULL) {
        STAILQ_REMOVE_HEAD(&g->gone, link);
        mem_free(no_const(gone->id.data));
        mem_free(gone);
    }
    struct consumer_regex *regex = g->regexes_dirty ? g->subscriptions.regexes : NULL;
    for (; regex; regex = regex->hh.next)
        regex->dirty = false;
    g->regexes_dirty = false;
    g->dirty = 0;
}

void consumer_bump(struct consumer_group *g)
{
    must(g->epoch < INT32_MAX);
    g->epoch++;
    g->calm = false;
    g->dirty |= CONSUMER_DIRTY_GROUP;
}

/* ---- what members hold ---- */

struct consumer_holding *consumer_holding_find(const struct consumer_group *g,
                                               const struct tp *part)
{
    struct consumer_holding *holding = NULL;
    HASH_FIND(hh, g->holdings, part, sizeof(*part), holding);
    return holding;
}

void consumer_hold(struct consumer_group *g, struct consumer_member *member, const struct tp *part,
                   int32_t epoch)
{
    struct consumer_holding *holding = mem_zalloc(sizeof(*holding));
    must(!consumer_holding_find(g, part)); /* one reader for each partition */
    *holding = (struct consumer_holding){.part = *part, .epoch = epoch, .member = member};
    HASH_ADD(hh, g->holdings, part, sizeof(holding->part), holding);
    consumer_account(g, 0, sizeof(*holding));
}

void consumer_let_go(struct consumer_group *g, const struct tp *part)
{
    struct consumer_holding *holding = consumer_holding_find(g, part);
    must(holding);
    HASH_DELETE(hh, g->holdings, holding);
    consumer_account(g, sizeof(*holding), 0);
    mem_free(holding);
}

int32_t consumer_group_held_since(const struct consumer_group *g, const struct tp *part)
{
    const struct consumer_holding *holding = consumer_holding_find(g, part);
    return holding ? holding->epoch : -1;
}

/* ---- members ---- */

struct consumer_member *consumer_find(const struct consumer_group *g, struct str id)
{
    struct consumer_member *member = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->members, id.data, (size_t)id.len, member);
    return member;
}

const struct consumer_member *consumer_group_member(const struct consumer_group *g, struct str id)
{
    return consumer_find(g, id);
}

struct consumer_member *consumer_find_static(const struct consumer_group *g, struct str instance)
{
    struct consumer_member *member = NULL;
    if (instance.len >= 0)
        HASH_FIND(hh_instance, g->statics, instance.data, (size_t)instance.len, member);
    return member;
}

struct consumer_member *consumer_member_add(struct consumer_group *g, struct str id,
                                            struct str instance_id)
{
    struct consumer_member *member = mem_zalloc(sizeof(*member));
    member->rack_id = str_null();
    member->client_id = str_null();
    member->client_host = str_null();
    member->instance_id = str_null();
    member->id = str_null();
    consumer_set_text(g, &member->id, id);
    if (instance_id.len >= 0)
        consumer_set_text(g, &member->instance_id, instance_id);
    member->assignor = -1;
    member->rebalance_timeout_ms = -1;
    member->state = CONSUMER_MEMBER_STABLE;
    member->expires_ns = UINT64_MAX;
    member->revoke_by_ns = UINT64_MAX;
    HASH_ADD_KEYPTR(hh, g->members, member->id.data, (size_t)member->id.len, member);
    if (instance_id.len >= 0)
        HASH_ADD_KEYPTR(hh_instance, g->statics, member->instance_id.data,
                        (size_t)member->instance_id.len, member);
    g->member_count++;
    consumer_account(g, 0, sizeof(*member));
    return member;
}

void consumer_member_vote(struct consumer_group *g, struct consumer_member *member,
                          int32_t assignor)
{
    if (member->assignor >= 0)
        g->votes[member->assignor]--;
    if (assignor >= 0)
        g->votes[assignor]++;
    member->assignor = assignor;
}

enum assignor consumer_group_assignor(const struct consumer_group *g)
{
    enum assignor best = g->host->preferred;
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++)
        if (g->votes[i] > g->votes[best])
            best = (enum assignor)i;
    return best;
}

void consumer_member_forget(struct consumer_group *g, struct consumer_subscription *sub)
{
    const struct consumer_regex *regex = sub->regex;
    const bool last = regex && regex->refs == 1 && sub->refs == 1;
    const size_t before = g->subscriptions.bytes;
    if (last)
        mark_gone(g, regex->text, true);
    consumer_unsubscribe(&g->subscriptions, sub);
    consumer_account(g, before, g->subscriptions.bytes);
}

void consumer_member_subscribe(struct consumer_group *g, struct consumer_member *member,
                               const struct str *names, uint32_t count, struct str regex)
{
    struct consumer_subscription *old = member->subscription;
    const size_t before = g->subscriptions.bytes;
    member->subscription = consumer_subscribe(&g->subscriptions, names, count, regex);
    consumer_account(g, before, g->subscriptions.bytes);
    if (old)
        consumer_member_forget(g, old);
}

/* How many have come to the target: what the group's state is made of. */
void consumer_recount(struct consumer_group *g, struct consumer_member *member)
{
    const bool is = member->state == CONSUMER_MEMBER_STABLE && member->epoch == g->assignment_epoch;
    g->reconciled_count += is;
    g->reconciled_count -= member->reconciled;
    member->reconciled = is;
}

/* ---- the classic protocol ---- */

static void speak(struct consumer_group *g, const struct consumer_classic *classic, bool more)
{
    for (uint32_t i = 0; i < classic->protocol_count; i++) {
        const struct str name = classic->protocols[i].name;
        struct consumer_spoken *spoken = NULL;
        HASH_FIND(hh, g->spoken, name.data, (size_t)name.len, spoken);
        if (!spoken) {
            must(more);
            spoken = mem_zalloc(sizeof(*spoken));
            spoken->name = group_text_copy(name);
            HASH_ADD_KEYPTR(hh, g->spoken, spoken->name.data, (size_t)name.len, spoken);
            consumer_account(g, 0, sizeof(*spoken) + (size_t)name.len);
        }
        spoken->members += more;
        spoken->members -= !more;
        if (spoken->members > 0)
            continue;
        HASH_DELETE(hh, g->spoken, spoken);
        consumer_account(g, sizeof(*spoken) + (size_t)name.len, 0);
        mem_free(no_const(spoken->name.data));
        mem_free(spoken);
    }
}

static size_t classic_size(const struct consumer_classic *classic)
{
    return sizeof(*classic) + group_protocols_size(classic->protocols, classic->protocol_count);
}

void consumer_set_classic(struct consumer_group *g, struct consumer_member *member,
                          int32_t session_timeout_ms, const struct group_protocol *protocols,
                          uint32_t count)
{
    struct consumer_classic *old = member->classic;
    struct consumer_classic *classic = NULL;
    if (count > 0) {
        classic = mem_zalloc(sizeof(*classic));
        classic->session_timeout_ms = session_timeout_ms;
        classic->protocols = group_protocols_copy(protocols, count);
        classic->protocol_count = count;
        classic->join_by_ns = UINT64_MAX;
        classic->sync_by_ns = UINT64_MAX;
        consumer_account(g, 0, classic_size(classic));
        speak(g, classic, true);
        g->classic_count++;
    }
    member->classic = classic;
    if (!old)
        return;
    g->classic_count--;
    speak(g, old, false);
    consumer_account(g, classic_size(old), 0);
    mem_free(old->protocols);
    mem_free(old);
}

bool consumer_group_wants_downgrade(const struct consumer_group *g)
{
    return g->host->downgrades && !g->stays && !g->dead && g->member_count > 0 &&
           g->classic_count == g->member_count && g->member_count <= g->host->classic_members_max;
}

void consumer_group_stay(struct consumer_group *g)
{
    g->stays = true;
    consumer_bump(g);
}

/* ---- members that go ---- */

static void member_free(struct consumer_group *g, struct consumer_member *member)
{
    tp_set_fini(&member->target);
    tp_set_fini(&member->assigned);
    tp_set_fini(&member->revoking);
    consumer_set_text(g, &member->id, str_null());
    consumer_set_text(g, &member->instance_id, str_null());
    consumer_set_text(g, &member->rack_id, str_null());
    consumer_set_text(g, &member->client_id, str_null());
    consumer_set_text(g, &member->client_host, str_null());
    consumer_account(g, sizeof(*member), 0);
    mem_free(member->restored_since);
    mem_free(member->revoked_since);
    mem_free(member);
}

void consumer_member_remove(struct consumer_group *g, struct consumer_member *member)
{
    struct consumer_cursor *cursor;
    mark_gone(g, member->id, false);
    LIST_FOREACH (cursor, &g->cursors, link)
        if (cursor->next == member)
            cursor->next = member->hh.next;
    consumer_set_current(g, member, (struct tp_set){0}, (struct tp_set){0});
    consumer_set_target(g, member, (struct tp_set){0});
    if (member->dirty != 0)
        TAILQ_REMOVE(&g->dirty_members, member, dirty_link);
    consumer_member_vote(g, member, -1);
    consumer_set_classic(g, member, 0, NULL, 0);
    if (member->subscription)
        consumer_member_forget(g, member->subscription);
    g->reconciled_count -= member->reconciled;
    HASH_DELETE(hh, g->members, member);
    if (member->instance_id.len >= 0 && consumer_find_static(g, member->instance_id) == member)
        HASH_DELETE(hh_instance, g->statics, member);
    must(g->member_count > 0);
    g->member_count--;
    member_free(g, member);
}

void consumer_member_fence(struct consumer_group *g, struct consumer_member *member)
{
    consumer_member_remove(g, member);
    if (!consumer_group_wants_downgrade(g)) /* its first generation is a new one anyway */
        consumer_bump(g);
}

/* ---- the group ---- */

struct consumer_group *consumer_group_new(struct consumer_host *host, struct str id)
{
    struct consumer_group *g = mem_zalloc(sizeof(*g));
    g->host = host;
    g->id = group_text_copy(id);
    g->refused_epoch = -1;
    g->deadline_ns = UINT64_MAX;
    TAILQ_INIT(&g->dirty_members);
    STAILQ_INIT(&g->gone);
    return g;
}

void consumer_group_free(struct consumer_group *g)
{
    must(!g->planning && !g->resolving);
    while (!LIST_EMPTY(&g->cursors))
        consumer_cursor_end(LIST_FIRST(&g->cursors));
    while (g->members)
        consumer_member_remove(g, g->members);
    consumer_group_clean(g);
    must(!g->holdings && !g->spoken && g->bytes == 0 && g->subscriptions.count == 0);
    mem_free(no_const(g->id.data));
    mem_free(g);
}

enum consumer_state consumer_group_state(const struct consumer_group *g)
{
    if (g->dead)
        return CONSUMER_DEAD;
    if (g->member_count == 0)
        return CONSUMER_EMPTY;
    if (g->epoch > g->assignment_epoch)
        return CONSUMER_ASSIGNING;
    return g->reconciled_count < g->member_count ? CONSUMER_RECONCILING : CONSUMER_STABLE;
}

bool consumer_group_is_void(const struct consumer_group *g)
{
    return g->member_count == 0 && g->epoch == 0;
}

/* ---- walks ---- */

void consumer_cursor_begin(struct consumer_cursor *cursor, struct consumer_group *g)
{
    cursor->g = g;
    cursor->next = g->members;
    LIST_INSERT_HEAD(&g->cursors, cursor, link);
}

const struct consumer_member *consumer_cursor_next(struct consumer_cursor *cursor)
{
    const struct consumer_member *member = cursor->next;
    if (member)
        cursor->next = member->hh.next;
    return member;
}

void consumer_cursor_end(struct consumer_cursor *cursor)
{
    if (cursor->g)
        LIST_REMOVE(cursor, link);
    cursor->g = NULL;
}

/* ---- commits ---- */

enum err consumer_stale_error(const struct consumer_member *member)
{
    return member->classic ? ERR_ILLEGAL_GENERATION : ERR_STALE_MEMBER_EPOCH;
}

enum err consumer_group_commit(const struct consumer_group *g, struct str member_id, int32_t epoch,
                               bool *each_partition)
{
    *each_partition = false;
    if (epoch < 0 && g->member_count == 0)
        return ERR_NONE; /* an administrator, or a consumer that is none of the group's */
    const struct consumer_member *member = consumer_find(g, member_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    if (epoch > member->epoch)
        return consumer_stale_error(member);
    *each_partition = epoch < member->epoch;
    return ERR_NONE;
}

bool consumer_group_commit_of(const struct consumer_group *g, struct str member_id, int32_t epoch,
                              const struct tp *part)
{
    const struct consumer_holding *holding = consumer_holding_find(g, part);
    return holding && str_equal(holding->member->id, member_id) && epoch >= holding->epoch;
}

enum err consumer_group_fetch(const struct consumer_group *g, struct str member_id, int32_t epoch)
{
    if (member_id.len < 0 && epoch < 0)
        return ERR_NONE;
    const struct consumer_member *member = consumer_find(g, member_id);
    if (!member)
        return ERR_UNKNOWN_MEMBER_ID;
    return epoch == member->epoch ? ERR_NONE : consumer_stale_error(member);
}
