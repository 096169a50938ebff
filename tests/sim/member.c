/* SPDX-License-Identifier: Apache-2.0
 *
 * A member of a group, dynamic or static: it joins, assigns the shares when it leads, commits
 * offsets and sends heartbeats; and now and then it is silent for longer than its session, leaves,
 * wants something else, loses its connection, or commits though it is no member any more.
 */
#include "net/err.h"
#include "tests/sim/ask_group.h"
#include "tests/sim/group_facts.h"

#include <stdio.h>
#include <string.h>

#define SESSION_MS   60
#define REBALANCE_MS 120

enum phase { OUT, JOINED, MEMBER };

struct member {
    struct actor actor;
    struct ask ask;
    enum phase phase;
    uint32_t group;
    int instance; /* -1: a dynamic member */
    char instance_id[16];
    char id[GROUP_NAME_SIZE];
    int32_t generation;
    char protocol[8]; /* that the group has chosen */
    uint8_t wish;     /* what it tells the leader */
    bool leads;
    uint32_t life; /* of the broker that told it all this */
    bool zombie;   /* it has left in that life, and commits once more */
    struct sync_group_request_assignment assignments[16];
    uint8_t shares[GROUP_SHARES];
    int32_t assignment_count;
    struct commit_fact *commit;
};

static struct member *member_of(struct actor *a)
{
    return container_of(a, struct member, actor);
}

static const char *group_name(const struct member *me)
{
    return me->actor.model->groups->groups[me->group].name;
}

static struct str instance_id_of(const struct member *me)
{
    return me->instance < 0 ? str_null() : str_of(me->instance_id);
}

static struct seat seat_of(const struct member *me)
{
    return (struct seat){.group = group_name(me),
                         .member_id = me->id,
                         .instance_id = me->instance < 0 ? "" : me->instance_id,
                         .generation = me->generation};
}

static void member_start(struct actor *a)
{
    struct member *me = member_of(a);
    for (uint8_t i = 0; i < GROUP_SHARES; i++)
        me->shares[i] = i;
    me->generation = -1;
    me->group = a->number % GROUP_BY_HAND;
    me->instance = a->number < 4 ? -1 : (int)(a->number / 2 % GROUP_INSTANCES);
    (void)snprintf(me->instance_id, sizeof(me->instance_id), "instance-%d", me->instance);
}

static void become(struct member *me, enum phase phase)
{
    me->phase = phase;
    actor_later(&me->actor, phase == MEMBER ? 6 * MS : 2 * MS);
}

static void forget(struct member *me)
{
    me->id[0] = '\0';
    me->generation = -1;
    become(me, OUT);
}

/* Errors that send a member back to the beginning; true: it was one. */
static bool took_error(struct member *me, int16_t error)
{
    if (error == ERR_NONE)
        return false;
    if (error == ERR_UNKNOWN_MEMBER_ID || error == ERR_FENCED_INSTANCE_ID)
        forget(me);
    else if (group_error_is_passing(error) || error == ERR_ILLEGAL_GENERATION ||
             error == ERR_UNKNOWN_SERVER_ERROR)
        become(me, OUT);
    else
        wrong(me->actor.model, "member %u of %s: key %d: %s", me->actor.number, group_name(me),
              me->ask.call.key, err_name(error));
    return true;
}

/* ---- JoinGroup ---- */

/* The leader deals the shares out. */
static void deal(struct member *me, const struct join_group_response *response)
{
    uint32_t count = 0;
    me->assignment_count = 0;
    for (int32_t i = 0; i < response->members_count && i < 16; i++) {
        uint32_t first = count;
        while (count < GROUP_SHARES &&
               (i + 1 == response->members_count || !rng_one_in(&me->actor.rng, 2)))
            count++;
        struct sync_group_request_assignment *to = &me->assignments[me->assignment_count++];
        init_sync_group_request_assignment(to);
        to->member_id = response->members[i].member_id;
        to->assignment =
            (struct bytes){.data = &me->shares[first], .len = (int32_t)(count - first)};
    }
}

static void sync_up(struct member *me);

static void joined(struct member *me, const struct join_group_response *response)
{
    (void)snprintf(me->id, sizeof(me->id), "%.*s", (int)response->member_id.len,
                   response->member_id.data);
    if (response->error_code == ERR_MEMBER_ID_REQUIRED) {
        become(me, OUT);
        return;
    }
    if (took_error(me, response->error_code))
        return;
    me->generation = response->generation_id;
    (void)snprintf(me->protocol, sizeof(me->protocol), "%.*s", response->protocol_name.len,
                   response->protocol_name.data);
    me->life = me->ask.life;
    me->leads = str_equal(response->leader, response->member_id) && !response->skip_assignment;
    group_joined(me->actor.model, me->group, &me->ask, me->generation, me->instance, me->id);
    me->assignment_count = 0;
    become(me, JOINED);
    if (!actor_connected(&me->actor))
        return;
    if (me->leads)
        deal(me, response);
    sync_up(me); /* at once: the names are in the answer */
}

static void on_joined(struct client *c, struct client_call *call)
{
    struct member *me = container_of(call, struct member, ask.call);
    struct join_group_response response;
    (void)c;
    actor_later(&me->actor, 5 * MS);
    if (ask_answered(&me->ask) && ask_read(&me->ask, read_join_group_response, &response))
        joined(me, &response);
    else
        become(me, OUT);
}

static void join(struct member *me)
{
    struct join_group_request request;
    struct join_group_request_protocol protocols[2];
    uint8_t metadata[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, me->wish};
    int16_t version = actor_version(&me->actor, KEY_JOIN_GROUP, me->instance < 0 ? 0 : 5);
    init_join_group_request(&request);
    request.group_id = str_of(group_name(me));
    request.session_timeout_ms = SESSION_MS;
    request.rebalance_timeout_ms = REBALANCE_MS;
    request.member_id = str_of(me->id);
    request.group_instance_id = instance_id_of(me);
    request.protocol_type = str_of("consumer");
    request.protocols = protocols;
    request.protocols_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        init_join_group_request_protocol(&protocols[i]);
        protocols[i].name = str_of(i == (me->actor.number & 1) ? "range" : "sticky");
        protocols[i].metadata = (struct bytes){metadata, sizeof(metadata)};
    }
    struct wr *w = ask_begin(&me->actor, &me->ask, KEY_JOIN_GROUP, version);
    write_join_group_request(w, version, &request);
    ask_send(&me->ask, on_joined);
}

/* ---- SyncGroup ---- */

static void on_synced(struct client *c, struct client_call *call)
{
    struct member *me = container_of(call, struct member, ask.call);
    struct sync_group_response response;
    (void)c;
    become(me, OUT);
    if (!ask_answered(&me->ask) || !ask_read(&me->ask, read_sync_group_response, &response) ||
        took_error(me, response.error_code))
        return;
    for (int32_t i = 0; i < response.assignment.len; i++)
        group_owner(me->actor.model, me->group, me->generation, response.assignment.data[i],
                    me->instance < 0 ? me->id : me->instance_id);
    become(me, MEMBER);
}

static void sync_up(struct member *me)
{
    struct sync_group_request request;
    int16_t version = actor_version(&me->actor, KEY_SYNC_GROUP, me->instance < 0 ? 0 : 3);
    init_sync_group_request(&request);
    request.group_id = str_of(group_name(me));
    request.generation_id = me->generation;
    request.member_id = str_of(me->id);
    request.group_instance_id = instance_id_of(me);
    request.protocol_type = str_of("consumer");
    request.protocol_name = str_of(me->protocol);
    request.assignments = me->assignments;
    request.assignments_count = me->assignment_count;
    struct wr *w = ask_begin(&me->actor, &me->ask, KEY_SYNC_GROUP, version);
    write_sync_group_request(w, version, &request);
    ask_send(&me->ask, on_synced);
}

/* ---- Heartbeat, LeaveGroup ---- */

static void on_heartbeat(struct client *c, struct client_call *call)
{
    struct member *me = container_of(call, struct member, ask.call);
    struct heartbeat_response response;
    (void)c;
    actor_later(&me->actor, 6 * MS);
    if (ask_answered(&me->ask) && ask_read(&me->ask, read_heartbeat_response, &response))
        (void)took_error(me, response.error_code);
}

static void beat(struct member *me)
{
    const struct seat seat = seat_of(me);
    ask_heartbeat(&me->actor, &me->ask, &seat, on_heartbeat);
}

static void on_left(struct client *c, struct client_call *call)
{
    struct member *me = container_of(call, struct member, ask.call);
    int16_t error;
    (void)c;
    become(me, OUT);
    if (!ask_left(&me->ask, &error) || took_error(me, error))
        return;
    me->zombie = me->ask.life == me->actor.model->life && rng_one_in(&me->actor.rng, 2);
    me->life = me->ask.life;
    if (!me->zombie)
        forget(me);
}

static void leave(struct member *me)
{
    const struct seat seat = seat_of(me);
    ask_leave(&me->actor, &me->ask, &seat, on_left);
}

/* ---- OffsetCommit ---- */

static void commit_end(struct member *me, int16_t error)
{
    struct model *m = me->actor.model;
    if (error == ERR_NONE)
        group_committed(m, me->commit, COMMIT_ACKED);
    else
        group_committed(m, me->commit, group_error_is_vague(error) ? COMMIT_LOST : COMMIT_REFUSED);
    if (error != ERR_UNKNOWN_TOPIC_OR_PARTITION && error != ERR_UNKNOWN_TOPIC_ID && !me->zombie)
        (void)took_error(me, error);
}

static void on_commit(struct client *c, struct client_call *call)
{
    struct member *me = container_of(call, struct member, ask.call);
    int16_t error;
    (void)c;
    actor_later(&me->actor, 6 * MS);
    if (ask_committed(&me->ask, &error))
        commit_end(me, error);
    else
        group_committed(me->actor.model, me->commit, COMMIT_LOST);
    if (me->zombie) {
        me->zombie = false;
        forget(me);
    }
}

static void commit(struct member *me)
{
    struct model *m = me->actor.model;
    const struct topic_fact *topic = model_topic(m, &me->actor.rng);
    actor_later(&me->actor, 6 * MS);
    if (!topic)
        return;
    int32_t partition = (int32_t)rng_below(&me->actor.rng, (uint64_t)topic->partitions);
    me->commit = group_commit_begin(m, me->group, topic, partition, ++m->groups->serial);
    if (!me->commit)
        return;
    struct seat seat = seat_of(me);
    seat.generation -= rng_one_in(&me->actor.rng, 16); /* its last one */
    me->commit->old = seat.generation < m->groups->groups[me->group].synced;
    me->commit->fenced =
        (me->zombie && me->life == m->life) ||
        group_is_fenced(m, me->group, m->life, seat.generation, me->instance, me->id);
    ask_commit(&me->actor, &me->ask, &seat, me->instance < 0 ? 2 : 7, topic, partition,
               me->commit->offset, on_commit);
}

/* ---- its life ---- */

static void live(struct member *me)
{
    struct actor *a = &me->actor;
    uint64_t kind = rng_below(&a->rng, 24);
    if (kind < 12) {
        commit(me);
    } else if (kind < 19) {
        beat(me);
    } else if (kind == 19) {
        leave(me);
    } else if (kind == 20) {
        me->wish++;
        become(me, OUT);
    } else if (kind == 21) {
        client_close(&a->client);
    } else if (kind == 22) {
        actor_later(a, 3 * SESSION_MS * MS);
    } else {
        become(me, OUT); /* a join that changes nothing */
    }
}

static void member_step(struct actor *a)
{
    struct member *me = member_of(a);
    if (me->ask.under_way)
        return;
    if (a->model->resting && me->phase != MEMBER)
        return;
    if (a->model->resting) {
        leave(me);
    } else if (me->zombie) {
        commit(me);
    } else if (me->phase == MEMBER) {
        live(me);
    } else if (rng_one_in(&a->rng, 4)) {
        ask_coordinator(&me->actor, &me->ask, group_name(me));
    } else {
        join(me);
    }
}

static bool member_busy(const struct actor *a)
{
    const struct member *me = container_of(no_const(a), struct member, actor);
    return me->ask.under_way;
}

const struct actor_kind actor_member = {
    .name = "member",
    .size = sizeof(struct member),
    .start = member_start,
    .step = member_step,
    .busy = member_busy,
};
