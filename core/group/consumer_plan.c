/* SPDX-License-Identifier: Apache-2.0
 *
 * From what members want and what topics there are to a target for everybody. The topics are looked
 * at by the first heartbeat after they have changed; a plan is made by the first heartbeat that
 * finds the group's epoch ahead of its assignment, and while it is worked on the group goes on with
 * the target that it has.
 */
#include "core/group/consumer_private.h"

#include <stdlib.h>

/* A topic that an expression matches is there as its name, as a topic of the group's and by id. */
#define MATCH_COPIES 3U

/* ---- topics ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static uint32_t add_ids(const struct consumer_group *g, struct uuid *ids, const struct str *names,
                        uint32_t count)
{
    uint32_t found = 0;
    uint32_t partitions;
    for (uint32_t i = 0; i < count; i++)
        found += g->host->topic(g->host, names[i], &ids[found], &partitions);
    return found;
}

void consumer_refresh(struct consumer_group *g, struct consumer_subscription *sub)
{
    if (sub->version == g->host->topics_version)
        return;
    const struct consumer_regex *regex = sub->regex;
    const uint32_t room = sub->name_count + (regex ? regex->topic_count : 0);
    const size_t before = g->subscriptions.bytes;
    consumer_subscription_reserve(&g->subscriptions, sub, room);
    consumer_account(g, before, g->subscriptions.bytes);
    uint32_t count = add_ids(g, sub->ids, sub->names, sub->name_count);
    if (regex)
        count += add_ids(g, sub->ids + count, regex->topics, regex->topic_count);
    qsort(sub->ids, count, sizeof(*sub->ids), compare_ids);
    sub->id_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (sub->id_count == 0 || !uuid_equal(&sub->ids[sub->id_count - 1], &sub->ids[i]))
            sub->ids[sub->id_count++] = sub->ids[i];
    sub->version = g->host->topics_version;
}

/* Does not depend on the order of the topics; 0: there are none. */
static uint64_t hash_of_topics(const struct consumer_group *g)
{
    uint64_t hash = 0;
    for (const struct consumer_topic *t = g->subscriptions.topics; t; t = t->hh.next) {
        struct {
            struct uuid id;
            uint64_t partitions;
        } is = {0};
        uint32_t partitions;
        if (!g->host->topic(g->host, t->name, &is.id, &partitions))
            continue;
        is.partitions = partitions;
        hash +=
            map_hash_salted(&is, sizeof(is), map_hash_salted(t->name.data, (size_t)t->name.len, 1));
    }
    return hash;
}

static bool knows_all_regexes(const struct consumer_group *g)
{
    const struct consumer_regex *regex = g->subscriptions.regexes;
    for (; regex; regex = regex->hh.next)
        if (!regex->resolved)
            return false;
    return true;
}

static bool has_stale_regex(const struct consumer_group *g)
{
    const struct consumer_regex *regex = g->subscriptions.regexes;
    for (; regex; regex = regex->hh.next)
        if (regex->asked != g->host->topics_version)
            return true;
    return false;
}

void consumer_look_at_topics(struct consumer_group *g)
{
    if (!g->resolving && g->subscriptions.regexes && has_stale_regex(g)) {
        g->resolving = true;
        g->host->resolve(g->host, g);
    }
    const bool seen = g->looked && g->topics_seen == g->host->topics_version &&
                      g->wishes_seen == g->subscriptions.changes;
    if (seen || !knows_all_regexes(g))
        return;
    g->looked = true;
    g->topics_seen = g->host->topics_version;
    g->wishes_seen = g->subscriptions.changes;
    const uint64_t hash = hash_of_topics(g);
    if (hash == g->metadata_hash)
        return;
    g->metadata_hash = hash;
    consumer_bump(g);
}

void consumer_group_resolve_one(struct consumer_group *g, struct str text, uint64_t version,
                                const struct str *topics, uint32_t count)
{
    struct consumer_regex *regex = consumer_regex_find(&g->subscriptions, text);
    if (!regex)
        return; /* nobody wants it any more */
    const size_t before = g->subscriptions.bytes;
    regex->asked = version;
    regex->refused = g->host->member_bytes + MATCH_COPIES * consumer_names_size(topics, count) >
                     g->host->member_bytes_max;
    if (regex->refused) { /* it means what it has meant before, if anything */
        regex->resolved = true;
        return;
    }
    if (!consumer_regex_resolve(&g->subscriptions, regex, topics, count))
        return;
    consumer_account(g, before, g->subscriptions.bytes);
    regex->resolved_ms = g->host->wall_ms(g->host);
    regex->dirty = true;
    g->regexes_dirty = true;
}

/* Even when no topic is new: somebody may have waited for the answer without anything. A group
 * whose members have left meanwhile stays as it is, it may be on its way out. */
void consumer_group_resolved(struct consumer_group *g)
{
    g->resolving = false;
    if (!g->dead && g->member_count > 0)
        consumer_look_at_topics(g);
}

/* ---- plans ---- */

static uint32_t number_subscriptions(struct consumer_group *g)
{
    uint32_t count = 0;
    for (struct consumer_subscription *sub = g->subscriptions.map; sub; sub = sub->hh.next) {
        consumer_refresh(g, sub);
        sub->number = count++;
    }
    return count;
}

static void plan_topics(const struct consumer_group *g, struct assign_plan *plan)
{
    plan->topic_count = 0;
    for (const struct consumer_topic *t = g->subscriptions.topics; t; t = t->hh.next) {
        struct assign_topic *topic = &plan->topics[plan->topic_count];
        plan->topic_count += g->host->topic(g->host, t->name, &topic->id, &topic->partitions);
    }
    assign_plan_sort(plan);
}

static void plan_subscriptions(const struct consumer_group *g, struct assign_plan *plan)
{
    for (const struct consumer_subscription *sub = g->subscriptions.map; sub; sub = sub->hh.next) {
        struct assign_subscription *out = &plan->subscriptions[sub->number];
        out->topics = mem_alloc((sub->id_count + 1UL) * sizeof(*out->topics));
        for (uint32_t i = 0; i < sub->id_count; i++) {
            const uint32_t topic = assign_plan_topic(plan, &sub->ids[i]);
            if (topic != UINT32_MAX)
                out->topics[out->count++] = topic;
        }
    }
}

static void plan_members(const struct consumer_group *g, struct assign_plan *plan)
{
    struct assign_member *out = plan->members;
    for (const struct consumer_member *m = g->members; m; m = m->hh.next, out++) {
        out->id = group_text_copy(m->id);
        out->name = m->instance_id.len >= 0 ? group_text_copy(m->instance_id) : out->id;
        out->subscription = m->subscription->number;
        out->now = tp_set_copy(&m->target);
    }
}

/* ---- what is too much ---- */

/* What a record has beside texts, topics and partitions, and these, in the largest of the two that
 * tell of an assignment. */
#define RECORD_BYTES 256U
#define TEXT_BYTES   5U
#define TOPIC_BYTES  40U
#define PART_BYTES   8U

static size_t record_bytes(const struct consumer_group *g, struct str id, const struct tp_set *set)
{
    size_t bytes = RECORD_BYTES + 2UL * TEXT_BYTES + (size_t)g->id.len + (size_t)id.len +
                   (size_t)set->count * PART_BYTES;
    uint32_t run;
    for (uint32_t at = 0; (run = tp_set_run(set, at)) > 0; at += run)
        bytes += TOPIC_BYTES;
    return bytes;
}

static bool plan_fits(const struct consumer_group *g, const struct assign_plan *plan)
{
    const size_t max = g->host->record_bytes_max(g->host, g);
    for (uint32_t i = 0; i < plan->member_count; i++)
        if (record_bytes(g, plan->members[i].id, &plan->members[i].next) > max)
            return false;
    return true;
}

static void refuse_plan(struct consumer_group *g, int32_t epoch, enum err error)
{
    g->refused_epoch = epoch;
    g->refusal = error;
}

/* Of those that are there already nobody has asked for it: topics have grown, and they go on with
 * the target that they have. */
enum err consumer_refuse(struct consumer_group *g, struct consumer_member *member,
                         const char **message)
{
    const struct consumer_regex *regex = member->subscription->regex;
    if (regex && regex->refused && !member->planned) {
        *message = "the memory for members of groups does not take what the expression matches";
        consumer_member_fence(g, member);
        return ERR_COORDINATOR_NOT_AVAILABLE;
    }
    if (g->refused_epoch != g->epoch || member->planned)
        return ERR_NONE;
    *message = g->refusal == ERR_COORDINATOR_NOT_AVAILABLE
                   ? "the memory for members of groups does not take the group's assignment"
                   : "what a member would be assigned is more than a record may hold: "
                     "max.message.bytes of __consumer_offsets";
    consumer_member_fence(g, member);
    return g->refusal;
}

uint32_t consumer_group_shed(struct consumer_group *g)
{
    const size_t max = g->host->record_bytes_max(g->host, g);
    struct consumer_member *next;
    uint32_t shed = 0;
    for (struct consumer_member *m = TAILQ_FIRST(&g->dirty_members); m; m = next) {
        next = TAILQ_NEXT(m, dirty_link);
        if (record_bytes(g, m->id, &m->target) <= max &&
            record_bytes(g, m->id, &m->assigned) + record_bytes(g, m->id, &m->revoking) <= max)
            continue;
        consumer_member_fence(g, m);
        shed++;
    }
    return shed;
}

/* What a plan is made of, and what comes of it: for each partition a place in two sets, who has it,
 * and where it is held. */
#define PLAN_PART_BYTES   (3 * sizeof(struct tp) + sizeof(uint32_t) + sizeof(struct consumer_holding))
#define PLAN_MEMBER_BYTES (sizeof(struct assign_member) + 64U)

static size_t plan_bytes(const struct consumer_group *g, const struct assign_plan *plan)
{
    size_t bytes = plan->member_count * PLAN_MEMBER_BYTES;
    for (uint32_t i = 0; i < plan->topic_count; i++)
        bytes += sizeof(plan->topics[i]) + plan->topics[i].partitions * PLAN_PART_BYTES;
    for (const struct consumer_subscription *sub = g->subscriptions.map; sub; sub = sub->hh.next)
        bytes += sub->id_count * (uint64_t)sub->refs * sizeof(uint32_t);
    return bytes;
}

void consumer_maybe_plan(struct consumer_group *g)
{
    if (g->planning || g->epoch <= g->assignment_epoch || g->epoch == g->refused_epoch ||
        g->host->now_ns(g->host) < g->plan_after_ns)
        return;
    /* Nobody is to lose what an expression means that has not been asked since a restart. */
    if (!knows_all_regexes(g))
        return;
    const uint32_t subscriptions = number_subscriptions(g);
    struct assign_plan *plan =
        assign_plan_new(HASH_COUNT(g->subscriptions.topics), subscriptions, g->member_count);
    plan->assignor = consumer_group_assignor(g);
    plan_topics(g, plan);
    g->plan_bytes = plan_bytes(g, plan);
    if (g->host->member_bytes + g->plan_bytes > g->host->member_bytes_max) {
        g->plan_bytes = 0;
        refuse_plan(g, g->epoch, ERR_COORDINATOR_NOT_AVAILABLE);
        assign_plan_free(plan);
        return;
    }
    consumer_account(g, 0, g->plan_bytes);
    plan_subscriptions(g, plan);
    plan_members(g, plan);
    g->planning = true;
    g->plan_epoch = g->epoch;
    g->host->assign(g->host, g, plan);
}

void consumer_group_rest(struct consumer_group *g, uint64_t until_ns)
{
    g->plan_after_ns = until_ns;
}

/* A static member may have come back under another id meanwhile. */
static struct consumer_member *find_planned(const struct consumer_group *g,
                                            const struct assign_member *planned)
{
    const bool is_static = planned->name.data != planned->id.data;
    struct consumer_member *member = consumer_find(g, planned->id);
    return member || !is_static ? member : consumer_find_static(g, planned->name);
}

static void take_target(struct consumer_group *g, struct assign_member *planned)
{
    struct consumer_member *member = find_planned(g, planned);
    if (!member)
        return;
    member->planned |= member->subscription->number == planned->subscription;
    if (tp_set_equal(&member->target, &planned->next))
        return;
    consumer_set_target(g, member, planned->next);
    planned->next = (struct tp_set){0};
    consumer_mark(g, member, CONSUMER_DIRTY_TARGET);
}

void consumer_group_assigned(struct consumer_group *g, struct assign_plan *plan)
{
    must(g->planning);
    g->planning = false;
    consumer_account(g, g->plan_bytes, 0);
    g->plan_bytes = 0;
    bool over = g->dead || g->member_count == 0;
    if (!over && !plan_fits(g, plan)) {
        refuse_plan(g, g->plan_epoch, ERR_UNKNOWN_SERVER_ERROR);
        over = true;
    }
    for (uint32_t i = 0; !over && i < plan->member_count; i++)
        take_target(g, &plan->members[i]);
    assign_plan_free(plan);
    if (over)
        return;
    consumer_set_assignment_epoch(g, g->plan_epoch);
}

void consumer_set_assignment_epoch(struct consumer_group *g, int32_t epoch)
{
    g->assignment_epoch = epoch;
    g->dirty |= CONSUMER_DIRTY_EPOCH;
    for (struct consumer_member *m = g->members; m; m = m->hh.next)
        consumer_recount(g, m);
}
