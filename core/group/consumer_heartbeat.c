/* SPDX-License-Identifier: Apache-2.0
 *
 * ConsumerGroupHeartbeat: who is it, what does it want, how far is it (K1 to K5). One that says
 * nothing new of a member that is where it is to be costs two look-ups.
 */
#include "core/group/consumer_private.h"

#include <stdio.h>

static void refuse(struct consumer_heartbeat *hb, enum err error, const char *message)
{
    hb->error = error;
    hb->message = message;
}

/* ---- what can be said without a group ---- */

static const char *what_is_wrong(const struct consumer_heartbeat *hb, bool client_made_id)
{
    if (hb->member_id.len <= 0 && (client_made_id || hb->epoch != CONSUMER_EPOCH_JOIN))
        return "the member id is empty";
    if (hb->instance_id.len == 0)
        return "the instance id is empty";
    if (hb->rack_id.len == 0)
        return "the rack id is empty";
    if (hb->epoch < CONSUMER_EPOCH_LEAVE_STATIC)
        return "there is no such member epoch";
    if (hb->epoch == CONSUMER_EPOCH_LEAVE_STATIC && hb->instance_id.len < 0)
        return "only a member with an instance id can leave for a while";
    if (hb->epoch != CONSUMER_EPOCH_JOIN)
        return NULL;
    if (hb->rebalance_timeout_ms == -1)
        return "who joins has to say its rebalance timeout";
    if (!hb->owned || hb->owned->count > 0)
        return "who joins has no partitions, and has to say so";
    if (hb->name_count < 0 && hb->regex.len < 0)
        return "who joins has to say what it wants to read";
    return NULL;
}

enum err consumer_heartbeat_check(const struct consumer_heartbeat *hb, bool client_made_id,
                                  const char **message)
{
    *message = what_is_wrong(hb, client_made_id);
    return *message ? ERR_INVALID_REQUEST : ERR_NONE;
}

/* What a record has beside texts, and each of them. */
#define RECORD_BYTES 256U
#define TEXT_BYTES   5U

static size_t text_bytes(struct str text)
{
    return TEXT_BYTES + (size_t)max_i64(text.len, 0);
}

/* A member whose record the log would refuse does not come in. */
static bool fits_record(const struct consumer_group *g, const struct consumer_heartbeat *hb)
{
    size_t bytes = RECORD_BYTES + text_bytes(g->id) + text_bytes(hb->member_id) +
                   text_bytes(hb->instance_id) + text_bytes(hb->rack_id) +
                   text_bytes(hb->client_id) + text_bytes(hb->regex);
    for (int32_t i = 0; i < hb->name_count; i++)
        bytes += text_bytes(hb->names[i]);
    return bytes <= g->host->record_bytes_max(g->host, g);
}

static enum err check_wishes(const struct consumer_group *g, const struct consumer_heartbeat *hb,
                             const char **message)
{
    enum assignor assignor;
    if (!fits_record(g, hb)) {
        *message = "what the member says of itself is too long to be stored";
        return ERR_INVALID_REQUEST;
    }
    if (hb->assignor.len >= 0 &&
        (!assign_find(hb->assignor, &assignor) || !g->host->served[assignor])) {
        *message = "there is no such server side assignor here";
        return ERR_UNSUPPORTED_ASSIGNOR;
    }
    if (hb->regex.len <= 0 || consumer_regex_find(&g->subscriptions, hb->regex))
        return ERR_NONE;
    *message = g->subscriptions.regex_count >= g->host->regexes_max
                   ? "the group has as many regular expressions as it may have"
                   : g->host->regex_check(g->host, hb->regex);
    return *message ? ERR_INVALID_REGULAR_EXPRESSION : ERR_NONE;
}

/* ---- who is it? ---- */

/* Who joins again under its id has given up everything, or never heard that it is in. One that
 * comes with its last epoch may not have heard of the new one (K3). */
static bool epoch_is_good(const struct consumer_member *member, const struct consumer_heartbeat *hb)
{
    if (hb->epoch == CONSUMER_EPOCH_JOIN || hb->epoch == member->epoch)
        return true;
    return hb->epoch < member->epoch && hb->epoch == member->previous_epoch && hb->owned &&
           tp_set_within(hb->owned, &member->assigned);
}

static struct consumer_member *fenced(struct consumer_heartbeat *hb)
{
    refuse(hb, ERR_FENCED_MEMBER_EPOCH,
           "the member's epoch is not the coordinator's: give up all partitions and join again");
    return NULL;
}

/* How far it has come is not known: it begins again, with nothing. */
static bool is_lost(const struct consumer_member *member, const struct consumer_heartbeat *hb)
{
    return member->state == CONSUMER_MEMBER_UNKNOWN && (!hb->owned || hb->owned->count > 0);
}

static bool is_full(const struct consumer_group *g, struct consumer_heartbeat *hb)
{
    if (g->member_count < g->host->members_max)
        return false;
    refuse(hb, ERR_GROUP_MAX_SIZE_REACHED, "the group is full");
    return true;
}

static size_t wish_bytes(const struct consumer_heartbeat *hb)
{
    size_t bytes = text_bytes(hb->regex);
    for (int32_t i = 0; i < hb->name_count; i++)
        bytes += sizeof(hb->names[i]) + text_bytes(hb->names[i]);
    return bytes;
}

/* Who says again what it wants needs no room. */
static bool wants_the_same(const struct consumer_member *member,
                           const struct consumer_heartbeat *hb)
{
    const struct consumer_subscription *sub = member->subscription;
    const struct str regex = sub->regex ? sub->regex->text : str_null();
    return (hb->name_count < 0 ||
            consumer_subscription_names(sub, hb->names, (uint32_t)hb->name_count)) &&
           (hb->regex.len < 0 || str_equal(hb->regex, regex) ||
            (hb->regex.len == 0 && regex.len < 0));
}

/* The memory of all groups: that passes, and clients come back, as in core/group/group_join.c. */
static bool has_memory(const struct consumer_group *g, struct consumer_heartbeat *hb)
{
    const struct consumer_member *member = hb->instance_id.len >= 0
                                               ? consumer_find_static(g, hb->instance_id)
                                               : consumer_find(g, hb->member_id);
    if (g->host->member_bytes + wish_bytes(hb) < g->host->member_bytes_max ||
        (member ? wants_the_same(member, hb) : hb->epoch != CONSUMER_EPOCH_JOIN))
        return true;
    refuse(hb, ERR_COORDINATOR_NOT_AVAILABLE, "the memory for members of groups is used up");
    return false;
}

static struct consumer_member *find_dynamic(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    struct consumer_member *member = consumer_find(g, hb->member_id);
    if (member)
        return epoch_is_good(member, hb) ? member : fenced(hb);
    if (hb->epoch == CONSUMER_EPOCH_JOIN)
        return is_full(g, hb) ? NULL : consumer_member_add(g, hb->member_id, str_null());
    refuse(hb, ERR_UNKNOWN_MEMBER_ID, "the member is not of the group");
    return NULL;
}

struct consumer_member *consumer_succeed(struct consumer_group *g, struct consumer_member *old,
                                         struct str id)
{
    HASH_DELETE(hh_instance, g->statics, old);
    struct consumer_member *member = consumer_member_add(g, id, old->instance_id);
    consumer_set_text(g, &member->rack_id, old->rack_id);
    consumer_set_text(g, &member->client_id, old->client_id);
    consumer_set_text(g, &member->client_host, old->client_host);
    member->rebalance_timeout_ms = old->rebalance_timeout_ms;
    consumer_member_vote(g, member, old->assignor);
    consumer_member_subscribe(g, member, old->subscription->names, old->subscription->name_count,
                              old->subscription->regex ? old->subscription->regex->text
                                                       : str_null());
    consumer_set_target(g, member, tp_set_copy(&old->target));
    member->planned = old->planned;
    struct tp_set assigned = tp_set_copy(&old->assigned);
    consumer_member_remove(g, old);
    consumer_set_current(g, member, assigned, (struct tp_set){0});
    consumer_mark(g, member,
                  CONSUMER_DIRTY_MEMBER | CONSUMER_DIRTY_TARGET | CONSUMER_DIRTY_CURRENT);
    return member;
}

static struct consumer_member *join_static(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    struct consumer_member *old = consumer_find_static(g, hb->instance_id);
    if (!old && consumer_find(g, hb->member_id))
        return fenced(hb); /* the id is somebody else's */
    if (!old)
        return is_full(g, hb) ? NULL : consumer_member_add(g, hb->member_id, hb->instance_id);
    if (!old->classic && old->epoch != CONSUMER_EPOCH_LEAVE_STATIC) {
        refuse(hb, ERR_UNRELEASED_INSTANCE_ID, "another member has this instance id");
        return NULL;
    }
    if (str_equal(old->id, hb->member_id)) {
        old->epoch = CONSUMER_EPOCH_JOIN;
        consumer_mark(g, old, CONSUMER_DIRTY_CURRENT);
        return old;
    }
    return consumer_find(g, hb->member_id) ? fenced(hb) : consumer_succeed(g, old, hb->member_id);
}

static struct consumer_member *known_static(const struct consumer_group *g,
                                            struct consumer_heartbeat *hb)
{
    struct consumer_member *member = consumer_find_static(g, hb->instance_id);
    if (!member) {
        refuse(hb, ERR_UNKNOWN_MEMBER_ID, "the instance id is not of the group");
        return NULL;
    }
    if (!str_equal(member->id, hb->member_id)) {
        refuse(hb, ERR_FENCED_INSTANCE_ID, "another member has this instance id");
        return NULL;
    }
    return member;
}

static struct consumer_member *find_member(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    if (hb->instance_id.len < 0)
        return find_dynamic(g, hb);
    if (hb->epoch == CONSUMER_EPOCH_JOIN)
        return join_static(g, hb);
    struct consumer_member *member = known_static(g, hb);
    return !member || epoch_is_good(member, hb) ? member : fenced(hb);
}

/* ---- it goes ---- */

static void leave(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    struct consumer_member *member =
        hb->instance_id.len >= 0 ? known_static(g, hb) : consumer_find(g, hb->member_id);
    if (!member) {
        if (hb->error == ERR_NONE)
            refuse(hb, ERR_UNKNOWN_MEMBER_ID, "the member is not of the group");
        return;
    }
    hb->epoch_out = hb->epoch;
    hb->interval_ms = 0;
    if (hb->epoch == CONSUMER_EPOCH_LEAVE) {
        consumer_member_fence(g, member);
        return;
    }
    member->epoch = CONSUMER_EPOCH_LEAVE_STATIC;
    member->revoke_by_ns = UINT64_MAX;
    member->state = CONSUMER_MEMBER_STABLE;
    struct tp_set assigned = tp_set_copy(&member->assigned);
    consumer_set_current(g, member, assigned, (struct tp_set){0});
    consumer_mark(g, member, CONSUMER_DIRTY_CURRENT);
    consumer_recount(g, member);
}

/* ---- what does it want? ---- */

bool consumer_set_changed(struct consumer_group *g, struct str *to, struct str text)
{
    if (text.len < 0 || str_equal(*to, text))
        return false;
    consumer_set_text(g, to, text);
    return true;
}

/* True: it wants something else than before. */
static bool take_subscription(struct consumer_group *g, struct consumer_member *member,
                              const struct consumer_heartbeat *hb)
{
    const struct consumer_subscription *old = member->subscription;
    if (hb->name_count < 0 && hb->regex.len < 0 && old)
        return false;
    const struct str *names = hb->names;
    uint32_t count = (uint32_t)max_i64(hb->name_count, 0);
    struct str regex = hb->regex;
    if (hb->name_count < 0 && old) {
        names = old->names;
        count = old->name_count;
    }
    if (regex.len < 0 && old && old->regex)
        regex = old->regex->text;
    struct consumer_subscription *kept = member->subscription;
    if (kept)
        kept->refs++; /* `names` and `regex` may be its own */
    consumer_member_subscribe(g, member, names, count, regex);
    const bool anew = member->subscription != kept;
    member->planned &= !anew;
    if (kept)
        consumer_member_forget(g, kept);
    return anew;
}

bool consumer_wants_nothing(const struct consumer_member *member)
{
    return member->subscription->name_count == 0 && !member->subscription->regex;
}

/* True: the group has to think again. */
static bool take_wishes(struct consumer_group *g, struct consumer_member *member,
                        const struct consumer_heartbeat *hb, bool *subscribes_anew)
{
    const bool is_new = !member->subscription;
    enum assignor assignor;
    bool changed = is_new || member->classic;
    if (is_new || member->classic)
        g->stays = false;
    if (member->classic)
        consumer_set_classic(g, member, 0, NULL, 0);
    changed |= consumer_set_changed(g, &member->rack_id, hb->rack_id);
    changed |= consumer_set_changed(g, &member->client_id, hb->client_id);
    changed |= consumer_set_changed(g, &member->client_host, hb->client_host);
    if (hb->rebalance_timeout_ms != -1 &&
        hb->rebalance_timeout_ms != member->rebalance_timeout_ms) {
        member->rebalance_timeout_ms = hb->rebalance_timeout_ms;
        changed = true;
    }
    *subscribes_anew = take_subscription(g, member, hb);
    if (hb->assignor.len >= 0 && assign_find(hb->assignor, &assignor) &&
        member->assignor != (int32_t)assignor) {
        consumer_member_vote(g, member, (int32_t)assignor); /* for the next plan, as in Kafka */
        changed = true;
    }
    if (changed || *subscribes_anew)
        consumer_mark(g, member, CONSUMER_DIRTY_MEMBER);
    /* Who comes and wants nothing changes nothing for anybody. */
    return *subscribes_anew && !(is_new && consumer_wants_nothing(member));
}

/* ---- the request ---- */

static bool says_all(const struct consumer_heartbeat *hb)
{
    return hb->epoch == CONSUMER_EPOCH_JOIN || (hb->rebalance_timeout_ms != -1 && hb->owned &&
                                                (hb->name_count >= 0 || hb->regex.len >= 0));
}

/* With an epoch in which nobody has anything: who joins can be told one, however long the first
 * plan takes. A log that was cut off may know the group's epoch and none of a plan's. */
void consumer_begin(struct consumer_group *g)
{
    if (g->epoch <= 1)
        consumer_bump(g);
    consumer_set_assignment_epoch(g, 1);
}

bool consumer_bring_on(struct consumer_group *g, struct consumer_member *member, bool bump,
                       const struct tp_set *owned, bool anew)
{
    const int32_t epoch = g->epoch;
    consumer_look_at_topics(g);
    if (bump && g->epoch == epoch)
        consumer_bump(g);
    consumer_maybe_plan(g);
    const bool changed = consumer_reconcile(g, member, owned, anew);
    consumer_member_is_alive(g, member);
    return changed;
}

static void stay(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    struct consumer_member *member = find_member(g, hb);
    if (!member)
        return;
    if (is_lost(member, hb)) {
        (void)fenced(hb);
        return;
    }
    if (g->assignment_epoch == 0)
        consumer_begin(g);
    bool anew;
    const bool bump = take_wishes(g, member, hb, &anew);
    const bool changed = consumer_bring_on(g, member, bump, hb->owned, anew);
    hb->error = consumer_refuse(g, member, &hb->message);
    if (hb->error != ERR_NONE)
        return;
    hb->member_id_out = member->id;
    hb->epoch_out = member->epoch;
    hb->assignment = says_all(hb) || changed ? &member->assigned : NULL;
}

void consumer_group_heartbeat(struct consumer_group *g, struct consumer_heartbeat *hb)
{
    hb->error = ERR_NONE;
    hb->message = NULL;
    hb->member_id_out = hb->member_id;
    hb->epoch_out = hb->epoch;
    hb->interval_ms = g->host->heartbeat_interval_ms;
    hb->assignment = NULL;
    if (hb->epoch < 0) {
        leave(g, hb);
        return;
    }
    hb->error = check_wishes(g, hb, &hb->message);
    if (hb->error == ERR_NONE && has_memory(g, hb))
        stay(g, hb);
}

bool consumer_group_may_join(const struct consumer_group *g, struct consumer_heartbeat *hb)
{
    hb->error = check_wishes(g, hb, &hb->message);
    if (hb->error != ERR_NONE || !has_memory(g, hb))
        return false;
    const struct consumer_member *of_id = consumer_find(g, hb->member_id);
    const struct consumer_member *of_instance = consumer_find_static(g, hb->instance_id);
    if (hb->instance_id.len >= 0 && of_id && of_id != of_instance) {
        (void)fenced(hb); /* the id is somebody else's */
        return false;
    }
    return of_id || of_instance || !is_full(g, hb);
}
