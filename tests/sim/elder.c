/* SPDX-License-Identifier: Apache-2.0
 *
 * A member of the classic protocol in the groups of the fellows (tests/sim/fellow.c): whichever
 * kind its group is of at the moment, it joins, leads when it is told to, takes and gives back what
 * it is told, eagerly or cooperatively, commits, is silent, leaves, and loses its connection. So
 * groups migrate, up when a fellow joins and down when the last one is gone.
 */
#include "core/group/group_record.h"
#include "net/err.h"
#include "tests/sim/ask_group.h"
#include "tests/sim/consumer_facts.h"
#include "tests/sim/group_facts.h"

#include <stdio.h>
#include <string.h>

#define LED_MAX     16U
#define VERSION     1 /* of the embedded protocol: the first with owned partitions */
#define ARENA_BYTES (1U << 20)

enum phase { OUT, JOINED, MEMBER };

struct elder {
    struct actor actor;
    struct ask ask;
    enum phase phase;
    uint32_t group;
    uint32_t member; /* among all of the groups */
    bool eager;      /* it gives everything back before it joins */
    uint8_t wish;
    char id[64];
    int32_t generation;
    uint32_t proven_life; /* of the broker: it has answered as one that knows the member */
    char protocol[8];     /* that the group has chosen, or its own */
    struct consumer_list owned;
    struct arena arena; /* of what it says */
    struct sync_group_request_assignment assignments[LED_MAX];
    int32_t assignment_count;

    struct consumer_part old; /* what it had, */
    int32_t old_generation;   /* in a generation that is over; -1: nothing */
    uint32_t old_life; /* of the broker, which a classic group tells more than it writes down */
    bool left;         /* and then it left */
    char old_id[64];
    bool commit_is_stale;
};

static struct elder *elder_of(struct actor *a)
{
    return container_of(a, struct elder, actor);
}

static const char *group_name(const struct elder *me)
{
    return me->actor.model->consumers->groups[me->group].name;
}

static void elder_start(struct actor *a)
{
    struct elder *me = elder_of(a);
    me->group = a->number % CONSUMER_GROUPS;
    me->member = CONSUMER_ELDERS + a->number;
    me->eager = a->number / CONSUMER_GROUPS % 2 == 0;
    me->generation = -1;
    me->old_generation = -1;
}

static void give_back(struct elder *me, const struct consumer_part *part)
{
    consumer_give(me->actor.model, me->group, me->member, part);
    me->old = *part;
    me->old_generation = me->generation;
    me->old_life = me->actor.model->life;
    me->left = false;
    (void)snprintf(me->old_id, sizeof(me->old_id), "%s", me->id);
}

static void give_all_back(struct elder *me)
{
    for (uint32_t i = 0; i < me->owned.count; i++)
        give_back(me, &me->owned.parts[i]);
    me->owned.count = 0;
}

static void become(struct elder *me, enum phase phase)
{
    me->phase = phase;
    actor_later(&me->actor, phase == MEMBER ? 8 * MS : 2 * MS);
}

/* Its generation is over without it: what it had is lost. */
static void forget(struct elder *me)
{
    give_all_back(me);
    me->generation = -1;
    become(me, OUT);
}

/* A heartbeat is answered without an error while the group is being read back, too (G3): it says
 * something only when another answer in the same life has shown that the member is known. */
static void heard(struct elder *me, bool clean, bool proven)
{
    struct consumer_facts *facts = me->actor.model->consumers;
    if (proven)
        me->proven_life = me->ask.life;
    if (me->proven_life != me->ask.life)
        return;
    facts->members[me->member].heard_ns = me->ask.asked_ns;
    if (clean)
        facts->members[me->member].clean_ns = me->ask.asked_ns;
}

/* Errors that send it back to the beginning; true: it was one. */
static bool took_error(struct elder *me, int16_t error)
{
    if (error == ERR_NONE)
        return false;
    if (error == ERR_UNKNOWN_MEMBER_ID || error == ERR_FENCED_INSTANCE_ID ||
        error == ERR_ILLEGAL_GENERATION) {
        forget(me);
        if (error != ERR_ILLEGAL_GENERATION)
            me->id[0] = '\0';
    } else if (group_error_is_passing(error) || error == ERR_UNKNOWN_SERVER_ERROR) {
        become(me, OUT); /* it joins again, and has what it has */
    } else {
        wrong(me->actor.model, "elder %u: key %d: %s", me->actor.number, me->ask.call.key,
              err_name(error));
    }
    return true;
}

/* ---- what members tell each other ---- */

static const struct topic_fact *topic_of(const struct elder *me, const struct consumer_part *part)
{
    const struct topic_fact *topic = model_topic_find(me->actor.model, str_null(), &part->topic);
    return topic && topic->state == TOPIC_THERE ? topic : NULL;
}

/* Of a topic that is to go it cannot say that it has it, so it has not: others may get it while the
 * topic is still there. */
static void give_up_doubtful(struct elder *me)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < me->owned.count; i++) {
        if (topic_of(me, &me->owned.parts[i]))
            me->owned.parts[kept++] = me->owned.parts[i];
        else
            give_back(me, &me->owned.parts[i]);
    }
    me->owned.count = kept;
}

static struct bytes say_subscription(struct elder *me)
{
    const struct model *m = me->actor.model;
    struct consumer_protocol_subscription says;
    struct consumer_protocol_subscription_owned_partition owned[CONSUMER_LIST];
    struct str names[TOPICS_MAX];
    struct bytes bytes;
    struct wr w;
    init_consumer_protocol_subscription(&says);
    says.topics = names;
    for (uint32_t i = 0; i < TOPICS_MAX; i++)
        if ((i + me->wish) % 3 != 0)
            names[says.topics_count++] = str_of(m->topics[i].name);
    says.owned_partitions = owned;
    for (uint32_t i = 0; i < me->owned.count; i++) {
        const struct topic_fact *topic = topic_of(me, &me->owned.parts[i]);
        struct consumer_protocol_subscription_owned_partition *to =
            &owned[says.owned_partitions_count++];
        init_consumer_protocol_subscription_owned_partition(to);
        to->topic = str_of(topic->name);
        to->partitions = &me->owned.parts[i].partition;
        to->partitions_count = 1;
    }
    wr_init(&w, &me->arena);
    wr_i16(&w, VERSION);
    write_consumer_protocol_subscription(&w, VERSION, &says);
    must(group_record_piece(&w, &me->arena, &bytes));
    return bytes;
}

static bool read_subscription(struct elder *me, struct bytes bytes,
                              struct consumer_protocol_subscription *out)
{
    struct piece piece;
    struct rd rd;
    rd_init(&rd, span_of(&piece, bytes.data, (uint32_t)bytes.len));
    return rd_i16(&rd) == VERSION &&
           read_consumer_protocol_subscription(&rd, &me->arena, VERSION, out);
}

/* Who of the others has it? count: nobody. */
static int32_t owner_of(const struct consumer_protocol_subscription *says, int32_t count,
                        struct str topic, int32_t partition)
{
    for (int32_t i = 0; i < count; i++)
        for (int32_t o = 0; o < says[i].owned_partitions_count; o++) {
            const struct consumer_protocol_subscription_owned_partition *of =
                &says[i].owned_partitions[o];
            if (str_equal(of->topic, topic) && of->partitions[0] == partition)
                return i;
        }
    return count;
}

static bool wants(const struct consumer_protocol_subscription *says, struct str topic)
{
    for (int32_t i = 0; i < says->topics_count; i++)
        if (str_equal(says->topics[i], topic))
            return true;
    return false;
}

struct share {
    struct consumer_protocol_assignment_assigned_partition parts[CONSUMER_LIST];
    int32_t numbers[CONSUMER_LIST];
};

/* Somebody's, unless another one has it still: then nobody's for now. */
static void deal_part(struct share *shares, struct consumer_protocol_assignment *given,
                      const struct consumer_protocol_subscription *says, int32_t count,
                      struct str topic, int32_t partition, uint32_t salt)
{
    const int32_t to = (int32_t)((salt + (uint32_t)partition) % (uint32_t)count);
    const int32_t owner = owner_of(says, count, topic, partition);
    const int32_t at = given[to].assigned_partitions_count;
    if (!wants(&says[to], topic) || (owner != count && owner != to) || at == (int32_t)CONSUMER_LIST)
        return;
    init_consumer_protocol_assignment_assigned_partition(&shares[to].parts[at]);
    shares[to].numbers[at] = partition;
    shares[to].parts[at].topic = topic;
    shares[to].parts[at].partitions = &shares[to].numbers[at];
    shares[to].parts[at].partitions_count = 1;
    given[to].assigned_partitions_count++;
}

static struct bytes say_assignment(struct elder *me,
                                   const struct consumer_protocol_assignment *assignment)
{
    struct bytes bytes;
    struct wr w;
    wr_init(&w, &me->arena);
    wr_i16(&w, VERSION);
    write_consumer_protocol_assignment(&w, VERSION, assignment);
    must(group_record_piece(&w, &me->arena, &bytes));
    return bytes;
}

static void lead(struct elder *me, const struct join_group_response *response)
{
    const struct model *m = me->actor.model;
    const int32_t count = (int32_t)min_i64(response->members_count, LED_MAX);
    struct consumer_protocol_subscription says[LED_MAX];
    struct consumer_protocol_assignment given[LED_MAX];
    struct share *shares = arena_array(&me->arena, LED_MAX, sizeof(*shares));
    const uint32_t salt = (uint32_t)rng_below(&me->actor.rng, 3);
    must(shares);
    for (int32_t i = 0; i < count; i++) {
        init_consumer_protocol_assignment(&given[i]);
        given[i].assigned_partitions = shares[i].parts;
        if (!read_subscription(me, response->members[i].metadata, &says[i])) {
            wrong(me->actor.model, "elder %u leads, and cannot read what a member wants",
                  me->actor.number);
            return;
        }
    }
    for (uint32_t t = 0; t < TOPICS_MAX; t++)
        for (int32_t p = 0; m->topics[t].state == TOPIC_THERE && p < m->topics[t].partitions; p++)
            deal_part(shares, given, says, count, str_of(m->topics[t].name), p, salt + t);
    for (int32_t i = 0; i < count; i++) {
        struct sync_group_request_assignment *to = &me->assignments[me->assignment_count++];
        init_sync_group_request_assignment(to);
        to->member_id = response->members[i].member_id;
        to->assignment = say_assignment(me, &given[i]);
    }
}

/* ---- JoinGroup ---- */

static void sync_up(struct elder *me);

static void joined(struct elder *me, const struct join_group_response *response)
{
    if (response->member_id.len > 0)
        (void)snprintf(me->id, sizeof(me->id), "%.*s", (int)response->member_id.len,
                       response->member_id.data);
    if (response->error_code == ERR_MEMBER_ID_REQUIRED) {
        become(me, OUT);
        return;
    }
    if (took_error(me, response->error_code))
        return;
    /* It may have been taken in anew, with nothing: what it has it is told by SyncGroup. */
    me->generation = response->generation_id;
    (void)snprintf(me->protocol, sizeof(me->protocol), "%.*s", response->protocol_name.len,
                   response->protocol_name.data);
    me->assignment_count = 0;
    become(me, JOINED);
    if (!actor_connected(&me->actor))
        return;
    if (str_equal(response->leader, response->member_id))
        lead(me, response);
    sync_up(me); /* at once: the names are in the answer */
}

static void on_joined(struct client *c, struct client_call *call)
{
    struct elder *me = container_of(call, struct elder, ask.call);
    struct join_group_response response;
    (void)c;
    actor_later(&me->actor, 5 * MS);
    if (ask_answered(&me->ask) && ask_read(&me->ask, read_join_group_response, &response))
        joined(me, &response);
    else
        become(me, OUT);
    arena_fini(&me->arena);
}

static void join(struct elder *me)
{
    static const char *const names[] = {"range", "sticky"};
    struct join_group_request request;
    struct join_group_request_protocol protocols[2];
    const int16_t version = actor_version(&me->actor, KEY_JOIN_GROUP, 4);
    if (me->eager)
        give_all_back(me);
    give_up_doubtful(me);
    arena_init(&me->arena, ARENA_BYTES);
    init_join_group_request(&request);
    request.group_id = str_of(group_name(me));
    request.session_timeout_ms = CONSUMER_SESSION_MS;
    request.rebalance_timeout_ms = CONSUMER_REBALANCE_MS;
    request.member_id = str_of(me->id);
    request.protocol_type = str_of("consumer");
    request.protocols = protocols;
    request.protocols_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        init_join_group_request_protocol(&protocols[i]);
        protocols[i].name = str_of(names[i ^ (me->actor.number & 1)]);
        protocols[i].metadata = say_subscription(me);
    }
    struct wr *w = ask_begin(&me->actor, &me->ask, KEY_JOIN_GROUP, version);
    write_join_group_request(w, version, &request);
    ask_send(&me->ask, on_joined);
}

/* ---- SyncGroup ---- */

/* Topics that are not what they were when it asked are nobody's for the check. */
static void take_told(struct elder *me, const struct consumer_protocol_assignment *assignment)
{
    struct model *m = me->actor.model;
    struct consumer_list told = {0};
    struct consumer_list kept = {0};
    bool gave = false;
    for (int32_t t = 0; t < assignment->assigned_partitions_count; t++) {
        const struct consumer_protocol_assignment_assigned_partition *of =
            &assignment->assigned_partitions[t];
        const struct topic_fact *topic = model_topic_find(m, of->topic, NULL);
        if (!topic || topic->state != TOPIC_THERE || topic->since_ns >= me->ask.asked_ns)
            continue;
        for (int32_t p = 0; p < of->partitions_count && told.count < CONSUMER_LIST; p++)
            told.parts[told.count++] =
                (struct consumer_part){.topic = topic->id, .partition = of->partitions[p]};
    }
    for (uint32_t i = 0; i < me->owned.count; i++) {
        if (consumer_has(&told, &me->owned.parts[i])) {
            kept.parts[kept.count++] = me->owned.parts[i];
        } else {
            give_back(me, &me->owned.parts[i]);
            gave = true;
        }
    }
    for (uint32_t i = 0; i < told.count; i++) {
        if (consumer_has(&kept, &told.parts[i]))
            continue;
        kept.parts[kept.count++] = told.parts[i];
        consumer_take(m, me->group, me->member, &told.parts[i]);
    }
    me->owned = kept;
    become(me, gave && !me->eager ? OUT : MEMBER); /* others may have it then */
}

static void synced(struct elder *me, const struct sync_group_response *response)
{
    struct consumer_protocol_assignment assignment;
    struct piece piece;
    struct rd rd;
    if (took_error(me, response->error_code))
        return;
    heard(me, true, true);
    init_consumer_protocol_assignment(&assignment);
    rd_init(&rd, span_of(&piece, response->assignment.data,
                         (uint32_t)max_i64(response->assignment.len, 0)));
    if (response->assignment.len > 0 &&
        (rd_i16(&rd) != VERSION ||
         !read_consumer_protocol_assignment(&rd, &me->arena, VERSION, &assignment)))
        wrong(me->actor.model, "elder %u: it cannot read what it is told", me->actor.number);
    take_told(me, &assignment);
}

static void on_synced(struct client *c, struct client_call *call)
{
    struct elder *me = container_of(call, struct elder, ask.call);
    struct sync_group_response response;
    (void)c;
    become(me, OUT);
    arena_init(&me->arena, ARENA_BYTES);
    if (ask_answered(&me->ask) && ask_read(&me->ask, read_sync_group_response, &response))
        synced(me, &response);
    arena_fini(&me->arena);
}

static void sync_up(struct elder *me)
{
    struct sync_group_request request;
    const int16_t version = actor_version(&me->actor, KEY_SYNC_GROUP, 0);
    init_sync_group_request(&request);
    request.group_id = str_of(group_name(me));
    request.generation_id = me->generation;
    request.member_id = str_of(me->id);
    request.protocol_type = str_null();
    request.protocol_name = str_null();
    if (version >= 5) {
        request.protocol_type = str_of("consumer");
        request.protocol_name = str_of(me->protocol);
    }
    request.assignments = me->assignments;
    request.assignments_count = me->assignment_count;
    struct wr *w = ask_begin(&me->actor, &me->ask, KEY_SYNC_GROUP, version);
    write_sync_group_request(w, version, &request);
    ask_send(&me->ask, on_synced);
}

/* ---- Heartbeat, LeaveGroup ---- */

static void on_heartbeat(struct client *c, struct client_call *call)
{
    struct elder *me = container_of(call, struct elder, ask.call);
    struct heartbeat_response response;
    (void)c;
    actor_later(&me->actor, 6 * MS);
    if (!ask_answered(&me->ask) || !ask_read(&me->ask, read_heartbeat_response, &response))
        return;
    if (response.error_code == ERR_NONE || response.error_code == ERR_REBALANCE_IN_PROGRESS)
        heard(me, response.error_code == ERR_NONE, response.error_code != ERR_NONE);
    (void)took_error(me, response.error_code);
}

static void beat(struct elder *me)
{
    const struct seat seat = {.group = group_name(me),
                              .member_id = me->id,
                              .instance_id = "",
                              .generation = me->generation};
    ask_heartbeat(&me->actor, &me->ask, &seat, on_heartbeat);
}

static void on_left(struct client *c, struct client_call *call)
{
    struct elder *me = container_of(call, struct elder, ask.call);
    int16_t error;
    (void)c;
    become(me, OUT);
    if (!ask_left(&me->ask, &error))
        return;
    if (error == ERR_NONE)
        me->left = me->old_generation > 0; /* and its id is not used again */
    actor_later(&me->actor, 20 * MS);
}

/* What it had is not its own any more when it says so. */
static void leave(struct elder *me)
{
    char id[sizeof(me->id)];
    const struct seat seat = {.group = group_name(me), .member_id = id, .instance_id = ""};
    memcpy(id, me->id, sizeof(id));
    me->old_generation = -1;
    forget(me);
    me->id[0] = '\0';
    ask_leave(&me->actor, &me->ask, &seat, on_left);
}

/* ---- OffsetCommit ---- */

static void commit_end(struct elder *me, int16_t error)
{
    struct model *m = me->actor.model;
    if (error != ERR_NONE) {
        m->consumers->refused++;
        return;
    }
    m->consumers->accepted++;
    if (me->commit_is_stale)
        wrong(m, "elder %u: a commit in generation %d of what it had then is accepted",
              me->actor.number, me->old_generation);
}

static void on_commit(struct client *c, struct client_call *call)
{
    struct elder *me = container_of(call, struct elder, ask.call);
    int16_t error;
    (void)c;
    actor_later(&me->actor, 6 * MS);
    if (ask_committed(&me->ask, &error))
        commit_end(me, error);
}

static void send_commit(struct elder *me, const char *id, int32_t generation,
                        const struct consumer_part *of)
{
    const struct topic_fact *topic = topic_of(me, of);
    const struct seat seat = {
        .group = group_name(me), .member_id = id, .instance_id = "", .generation = generation};
    if (topic)
        ask_commit(&me->actor, &me->ask, &seat, 2, topic, of->partition, 1, on_commit);
}

static void commit(struct elder *me)
{
    const struct model *m = me->actor.model;
    actor_later(&me->actor, 6 * MS);
    if (me->old_generation > 0 && rng_one_in(&me->actor.rng, 2)) {
        const uint32_t holder = consumer_holder(m, me->group, &me->old);
        me->commit_is_stale =
            me->old_life == m->life &&
            (me->left || (me->old_generation < me->generation && strcmp(me->old_id, me->id) == 0 &&
                          holder != CONSUMER_NOBODY && holder != me->member));
        send_commit(me, me->old_id, me->old_generation, &me->old);
    } else if (me->phase == MEMBER && me->owned.count > 0) {
        me->commit_is_stale = false;
        send_commit(me, me->id, me->generation,
                    &me->owned.parts[rng_below(&me->actor.rng, me->owned.count)]);
    }
}

/* ---- its life ---- */

static void live(struct elder *me)
{
    struct actor *a = &me->actor;
    const uint64_t kind = rng_below(&a->rng, 48);
    if (kind < 10) {
        commit(me);
    } else if (kind == 10) {
        leave(me);
    } else if (kind == 11) {
        me->wish++;
        become(me, OUT);
    } else if (kind == 12) {
        client_close(&a->client);
    } else if (kind == 13) {
        actor_later(a, 3 * CONSUMER_SESSION_MS * MS);
    } else if (kind == 14) {
        become(me, OUT); /* a join that changes nothing */
    } else {
        beat(me);
    }
}

static void elder_step(struct actor *a)
{
    struct elder *me = elder_of(a);
    if (me->ask.under_way || (a->model->resting && me->phase != MEMBER))
        return;
    if (a->model->resting)
        leave(me);
    else if (me->phase == MEMBER)
        live(me);
    else if (me->left && rng_one_in(&a->rng, 2))
        commit(me);
    else if (rng_one_in(&a->rng, 6))
        ask_coordinator(&me->actor, &me->ask, group_name(me));
    else
        join(me);
}

static bool elder_busy(const struct actor *a)
{
    const struct elder *me = container_of(no_const(a), struct elder, actor);
    return me->ask.under_way;
}

const struct actor_kind actor_elder = {
    .name = "elder",
    .size = sizeof(struct elder),
    .start = elder_start,
    .step = elder_step,
    .busy = elder_busy,
};
