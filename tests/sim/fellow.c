/* SPDX-License-Identifier: Apache-2.0
 *
 * A member of a consumer group of KIP-848, dynamic or static: it joins, takes what it is told,
 * gives back what it is no longer told, commits, wants something else now and then, leaves for good
 * or for a while, is silent for longer than its session, loses its connection, and commits what it
 * had in an epoch that is over.
 */
#include "net/err.h"
#include "tests/sim/ask_group.h"
#include "tests/sim/consumer_facts.h"
#include "tests/sim/group_facts.h"

#include <stdio.h>
#include <string.h>

struct fellow {
    struct actor actor;
    struct ask ask;
    bool in; /* it has an epoch */
    uint32_t group;
    char instance[16]; /* "": dynamic */
    char id[24];
    uint32_t ids; /* how many it had */
    int32_t epoch;
    bool full; /* it says all: an answer was lost, or it wants something else */
    uint8_t wish;
    struct consumer_list owned;
    struct consumer_list told;
    bool obeying; /* it has been told something else than it has */

    struct consumer_part old; /* what it had, */
    int32_t old_epoch;        /* in an epoch that is over; -1: nothing */
    bool left;                /* and then it left */
    char old_id[24];
    bool commit_old;
    bool commit_is_stale;
    struct consumer_list sent; /* what the request says that it has */
};

static struct fellow *fellow_of(struct actor *a)
{
    return container_of(a, struct fellow, actor);
}

static const char *group_name(const struct fellow *me)
{
    return me->actor.model->consumers->groups[me->group].name;
}

static void fellow_start(struct actor *a)
{
    struct fellow *me = fellow_of(a);
    me->group = a->number % CONSUMER_GROUPS;
    me->old_epoch = -1;
    if (a->number % 3 == 2)
        (void)snprintf(me->instance, sizeof(me->instance), "instance-%u", a->number);
}

static void give_back(struct fellow *me, const struct consumer_part *part)
{
    consumer_give(me->actor.model, me->group, me->actor.number, part);
    me->old = *part;
    me->old_epoch = me->epoch;
    me->left = false;
    (void)snprintf(me->old_id, sizeof(me->old_id), "%s", me->id);
}

static void forget(struct fellow *me)
{
    for (uint32_t i = 0; i < me->owned.count; i++)
        consumer_give(me->actor.model, me->group, me->actor.number, &me->owned.parts[i]);
    me->owned.count = 0;
    me->told.count = 0;
    me->obeying = false;
    me->in = false;
    me->epoch = 0;
    actor_later(&me->actor, 4 * MS);
}

/* First what it is to lose, then what it gets, as a client may do it between two heartbeats. */
static void obey(struct fellow *me)
{
    struct consumer_list kept = {0};
    for (uint32_t i = 0; i < me->owned.count; i++) {
        const struct consumer_part *part = &me->owned.parts[i];
        if (consumer_has(&me->told, part))
            kept.parts[kept.count++] = *part;
        else
            give_back(me, part);
    }
    for (uint32_t i = 0; i < me->told.count; i++) {
        if (consumer_has(&kept, &me->told.parts[i]))
            continue;
        kept.parts[kept.count++] = me->told.parts[i];
        consumer_take(me->actor.model, me->group, me->actor.number, &me->told.parts[i]);
    }
    me->owned = kept;
    me->obeying = false;
}

/* ---- ConsumerGroupHeartbeat ---- */

static void take_told(struct fellow *me,
                      const struct consumer_group_heartbeat_response_assignment *assignment)
{
    me->told.count = 0;
    for (int32_t t = 0; t < assignment->topic_partitions_count; t++) {
        const struct consumer_group_heartbeat_response_topic_partition *topic =
            &assignment->topic_partitions[t];
        for (int32_t p = 0; p < topic->partitions_count && me->told.count < CONSUMER_LIST; p++)
            me->told.parts[me->told.count++] =
                (struct consumer_part){.topic = topic->topic_id, .partition = topic->partitions[p]};
    }
    me->obeying = true;
}

static bool has_to_give(const struct fellow *me)
{
    for (uint32_t i = 0; me->obeying && i < me->owned.count; i++)
        if (!consumer_has(&me->told, &me->owned.parts[i]))
            return true;
    return false;
}

static void refused(struct fellow *me, int16_t error)
{
    if (error == ERR_UNKNOWN_MEMBER_ID || error == ERR_FENCED_MEMBER_EPOCH ||
        error == ERR_GROUP_ID_NOT_FOUND || error == ERR_UNRELEASED_INSTANCE_ID ||
        error == ERR_FENCED_INSTANCE_ID) {
        forget(me);
        return;
    }
    me->full = true;
    if (!group_error_is_passing(error) && error != ERR_UNKNOWN_SERVER_ERROR)
        wrong(me->actor.model, "member %u: a heartbeat: %s", me->actor.number, err_name(error));
}

static void on_beat(struct client *c, struct client_call *call)
{
    struct fellow *me = container_of(call, struct fellow, ask.call);
    struct consumer_facts *facts = me->actor.model->consumers;
    struct consumer_group_heartbeat_response response;
    (void)c;
    actor_later(&me->actor, me->in ? 8 * MS : 4 * MS);
    if (!ask_answered(&me->ask) ||
        !ask_read(&me->ask, read_consumer_group_heartbeat_response, &response)) {
        me->full = true; /* nobody knows whether it has come there */
        return;
    }
    if (response.error_code != ERR_NONE) {
        refused(me, response.error_code);
        return;
    }
    me->in = true;
    me->full = false;
    me->epoch = response.member_epoch;
    facts->members[me->actor.number].heard_ns = me->ask.asked_ns;
    if (response.has_assignment)
        take_told(me, &response.assignment);
    if (!has_to_give(me))
        facts->members[me->actor.number].clean_ns = me->ask.asked_ns;
}

static uint32_t wishes_of(const struct fellow *me, struct str *names)
{
    const struct model *m = me->actor.model;
    uint32_t count = 0;
    for (uint32_t i = 0; i < TOPICS_MAX; i++)
        if ((i + me->wish) % 3 != 0)
            names[count++] = str_of(m->topics[i].name);
    return count;
}

static uint32_t owned_of(struct fellow *me,
                         struct consumer_group_heartbeat_request_topic_partition *topics)
{
    me->sent = me->owned;
    for (uint32_t i = 0; i < me->sent.count; i++) {
        init_consumer_group_heartbeat_request_topic_partition(&topics[i]);
        topics[i].topic_id = me->sent.parts[i].topic;
        topics[i].partitions = &me->sent.parts[i].partition;
        topics[i].partitions_count = 1;
    }
    return me->sent.count;
}

static void send_beat(struct fellow *me, struct consumer_group_heartbeat_request *request,
                      client_call_fn *done)
{
    const int16_t version = actor_version(&me->actor, KEY_CONSUMER_GROUP_HEARTBEAT, 1);
    request->group_id = str_of(group_name(me));
    request->member_id = str_of(me->id);
    if (me->instance[0])
        request->instance_id = str_of(me->instance);
    struct wr *w = ask_begin(&me->actor, &me->ask, KEY_CONSUMER_GROUP_HEARTBEAT, version);
    write_consumer_group_heartbeat_request(w, version, request);
    ask_send(&me->ask, done);
}

static void beat(struct fellow *me)
{
    struct consumer_group_heartbeat_request request;
    struct consumer_group_heartbeat_request_topic_partition topics[CONSUMER_LIST];
    struct str names[TOPICS_MAX];
    init_consumer_group_heartbeat_request(&request);
    request.member_epoch = me->epoch;
    request.subscribed_topic_names_count = -1;
    request.topic_partitions_count = -1;
    if (!me->in || me->full) {
        request.rebalance_timeout_ms = CONSUMER_REBALANCE_MS;
        request.subscribed_topic_names = names;
        request.subscribed_topic_names_count = (int32_t)wishes_of(me, names);
        request.subscribed_topic_regex = str_of(me->wish % 4 == 3 ? ".*" : "");
    }
    if (!me->in || me->full || (!me->obeying && rng_one_in(&me->actor.rng, 2))) {
        me->obeying = false; /* who says what it has does not take what it was told before */
        request.topic_partitions = topics;
        request.topic_partitions_count = (int32_t)owned_of(me, topics);
    }
    send_beat(me, &request, on_beat);
}

static void join(struct fellow *me)
{
    if (!me->id[0] || rng_one_in(&me->actor.rng, 8))
        (void)snprintf(me->id, sizeof(me->id), "fellow-%u-%u", me->actor.number, me->ids++);
    me->owned.count = 0;
    me->epoch = 0;
    beat(me);
}

static void on_left(struct client *c, struct client_call *call)
{
    struct fellow *me = container_of(call, struct fellow, ask.call);
    struct consumer_group_heartbeat_response response;
    (void)c;
    actor_later(&me->actor, 20 * MS);
    if (ask_answered(&me->ask) &&
        ask_read(&me->ask, read_consumer_group_heartbeat_response, &response) &&
        response.error_code == ERR_NONE && response.member_epoch == -1)
        me->left = me->old_epoch > 0; /* and its id is not used again */
}

/* What it had is not its own any more when it says so. */
static void leave(struct fellow *me)
{
    struct consumer_group_heartbeat_request request;
    const bool for_a_while = me->instance[0] && rng_one_in(&me->actor.rng, 2);
    init_consumer_group_heartbeat_request(&request);
    request.subscribed_topic_names_count = -1;
    request.topic_partitions_count = -1;
    request.member_epoch = for_a_while ? -2 : -1;
    send_beat(me, &request, on_left);
    me->old_epoch = -1;
    if (me->owned.count > 0)
        give_back(me, &me->owned.parts[0]);
    forget(me);
    me->id[0] = '\0';
}

/* ---- OffsetCommit ---- */

static void commit_end(struct fellow *me, int16_t error)
{
    struct model *m = me->actor.model;
    if (error != ERR_NONE) {
        m->consumers->refused++;
        return;
    }
    m->consumers->accepted++;
    if (me->commit_is_stale)
        wrong(m, "member %u: a commit under epoch %d of what it had then is accepted",
              me->actor.number, me->old_epoch);
}

static void on_commit(struct client *c, struct client_call *call)
{
    struct fellow *me = container_of(call, struct fellow, ask.call);
    int16_t error;
    (void)c;
    actor_later(&me->actor, 6 * MS);
    if (ask_committed(&me->ask, &error))
        commit_end(me, error);
}

static void send_commit(struct fellow *me, const char *id, int32_t epoch,
                        const struct consumer_part *of)
{
    const struct topic_fact *topic = model_topic_find(me->actor.model, str_null(), &of->topic);
    const struct seat seat = {
        .group = group_name(me), .member_id = id, .instance_id = me->instance, .generation = epoch};
    if (topic)
        ask_commit(&me->actor, &me->ask, &seat, 9, topic, of->partition, 1, on_commit);
}

static void commit(struct fellow *me)
{
    const struct model *m = me->actor.model;
    actor_later(&me->actor, 6 * MS);
    const bool old = me->old_epoch > 0 && rng_one_in(&me->actor.rng, 3);
    if (old) {
        const uint32_t holder = consumer_holder(m, me->group, &me->old);
        me->commit_is_stale =
            me->left || (me->old_epoch < me->epoch && strcmp(me->old_id, me->id) == 0 &&
                         holder != CONSUMER_NOBODY && holder != me->actor.number);
        send_commit(me, me->old_id, me->old_epoch, &me->old);
    } else if (me->in && me->owned.count > 0) {
        me->commit_is_stale = false;
        send_commit(me, me->id, me->epoch,
                    &me->owned.parts[rng_below(&me->actor.rng, me->owned.count)]);
    }
}

/* ---- its life ---- */

static void live(struct fellow *me)
{
    struct actor *a = &me->actor;
    const uint64_t kind = rng_below(&a->rng, 40);
    if (me->obeying && rng_one_in(&a->rng, 2)) {
        obey(me);
        me->full = true; /* as the Java client does: with all that it has */
        beat(me);
    } else if (kind < 8) {
        commit(me);
    } else if (kind == 8) {
        leave(me);
    } else if (kind == 9) {
        me->wish++;
        me->full = true;
        beat(me);
    } else if (kind == 10) {
        client_close(&a->client);
    } else if (kind == 11) {
        actor_later(a, 3 * CONSUMER_SESSION_MS * MS);
    } else {
        beat(me);
    }
}

static void fellow_step(struct actor *a)
{
    struct fellow *me = fellow_of(a);
    if (me->ask.under_way || (a->model->resting && !me->in))
        return;
    const bool away = consumer_is_classic_time(a->model, me->group);
    if (a->model->resting || (away && me->in && rng_one_in(&a->rng, 3)))
        leave(me);
    else if (me->in)
        live(me);
    else if (away)
        actor_later(a, 20 * MS);
    else if (me->left && rng_one_in(&a->rng, 2))
        commit(me);
    else if (rng_one_in(&a->rng, 4))
        ask_coordinator(&me->actor, &me->ask, group_name(me));
    else
        join(me);
}

static bool fellow_busy(const struct actor *a)
{
    const struct fellow *me = container_of(no_const(a), struct fellow, actor);
    return me->ask.under_way;
}

const struct actor_kind actor_fellow = {
    .name = "fellow",
    .size = sizeof(struct fellow),
    .start = fellow_start,
    .step = fellow_step,
    .busy = fellow_busy,
};
