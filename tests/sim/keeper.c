/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper of offsets: keeps some by hand, without being a member, takes them back, asks what is
 * committed in any group, and in the reckoning asks for everything.
 */
#include "net/err.h"
#include "tests/sim/ask_group.h"
#include "tests/sim/group_facts.h"

struct keeper {
    struct actor actor;
    struct ask ask;
    struct commit_fact *commit;
    uint32_t group;
    struct topic_fact *topic;
    uint32_t incarnation;
    int32_t partition;

    /* the reckoning: what comes next */
    uint32_t next_group;
    uint32_t next_topic;
    int32_t next_partition;
    bool done;
    bool
        lost; /* its last question went to no coordinator: perhaps nobody has ever made the topic */
};

static struct keeper *keeper_of(struct actor *a)
{
    return container_of(a, struct keeper, actor);
}

static void keeper_start(struct actor *a)
{
    (void)a;
}

static const char *group_name(const struct keeper *ke)
{
    return ke->actor.model->groups->groups[ke->group].name;
}

static void again(struct keeper *ke)
{
    actor_later(&ke->actor, ke->actor.model->reckoning ? 0 : 4 * MS);
}

static void commit_end(struct keeper *ke, int16_t error)
{
    struct model *m = ke->actor.model;
    if (error == ERR_NONE)
        group_committed(m, ke->commit, COMMIT_ACKED);
    else
        group_committed(m, ke->commit, group_error_is_vague(error) ? COMMIT_LOST : COMMIT_REFUSED);
    if (error != ERR_NONE && !group_error_is_passing(error) && !group_error_is_vague(error) &&
        error != ERR_UNKNOWN_TOPIC_OR_PARTITION && error != ERR_UNKNOWN_TOPIC_ID &&
        error != ERR_GROUP_ID_NOT_FOUND && error != ERR_NON_EMPTY_GROUP)
        wrong(m, "keeper: key %d: %s", ke->ask.call.key, err_name(error));
}

/* ---- OffsetCommit ---- */

static void on_commit(struct client *c, struct client_call *call)
{
    struct keeper *ke = container_of(call, struct keeper, ask.call);
    int16_t error;
    (void)c;
    again(ke);
    if (ask_committed(&ke->ask, &error))
        commit_end(ke, error);
    else
        group_committed(ke->actor.model, ke->commit, COMMIT_LOST);
}

static void commit(struct keeper *ke)
{
    const struct seat seat = {
        .group = group_name(ke), .member_id = "", .instance_id = "", .generation = -1};
    ask_commit(&ke->actor, &ke->ask, &seat, 2, ke->topic, ke->partition, ke->commit->offset,
               on_commit);
}

/* ---- OffsetDelete, DeleteGroups ---- */

static void on_taken_back(struct client *c, struct client_call *call)
{
    struct keeper *ke = container_of(call, struct keeper, ask.call);
    struct offset_delete_response response;
    (void)c;
    again(ke);
    if (!ask_answered(&ke->ask) || !ask_read(&ke->ask, read_offset_delete_response, &response)) {
        group_committed(ke->actor.model, ke->commit, COMMIT_LOST);
        return;
    }
    int16_t error = response.error_code;
    if (error == ERR_NONE)
        error = response.topics[0].partitions[0].error_code;
    commit_end(ke, error);
}

static void ask_take_back(struct keeper *ke)
{
    struct offset_delete_request request;
    struct offset_delete_request_topic one;
    struct offset_delete_request_partition part;
    init_offset_delete_request(&request);
    init_offset_delete_request_topic(&one);
    init_offset_delete_request_partition(&part);
    request.group_id = str_of(group_name(ke));
    request.topics = &one;
    request.topics_count = 1;
    one.name = str_of(ke->topic->name);
    one.partitions = &part;
    one.partitions_count = 1;
    part.partition_index = ke->partition;
    struct wr *w = ask_begin(&ke->actor, &ke->ask, KEY_OFFSET_DELETE, 0);
    write_offset_delete_request(w, 0, &request);
    ask_send(&ke->ask, on_taken_back);
}

static void on_deleted(struct client *c, struct client_call *call)
{
    struct keeper *ke = container_of(call, struct keeper, ask.call);
    struct delete_groups_response response;
    (void)c;
    again(ke);
    if (ask_answered(&ke->ask) && ask_read(&ke->ask, read_delete_groups_response, &response))
        commit_end(ke, response.results[0].error_code);
    else
        group_committed(ke->actor.model, ke->commit, COMMIT_LOST);
}

static void ask_delete(struct keeper *ke)
{
    struct delete_groups_request request;
    struct str name = str_of(group_name(ke));
    int16_t version = actor_version(&ke->actor, KEY_DELETE_GROUPS, 0);
    init_delete_groups_request(&request);
    request.groups_names = &name;
    request.groups_names_count = 1;
    struct wr *w = ask_begin(&ke->actor, &ke->ask, KEY_DELETE_GROUPS, version);
    write_delete_groups_request(w, version, &request);
    ask_send(&ke->ask, on_deleted);
}

/* ---- OffsetFetch ---- */

static void next_question(struct keeper *ke)
{
    if (ke->actor.model->reckoning)
        ke->next_partition++;
}

static void on_fetched(struct client *c, struct client_call *call)
{
    struct keeper *ke = container_of(call, struct keeper, ask.call);
    struct model *m = ke->actor.model;
    struct offset_fetch_response response;
    (void)c;
    again(ke);
    if (!ask_answered(&ke->ask) || !ask_read(&ke->ask, read_offset_fetch_response, &response))
        return;
    int16_t error = response.error_code;
    if (response.topics_count == 1 && response.topics[0].partitions_count == 1 && error == ERR_NONE)
        error = response.topics[0].partitions[0].error_code;
    ke->lost = group_error_is_passing(error);
    if (ke->lost)
        return;
    if (error != ERR_NONE || response.topics_count != 1) {
        wrong(m, "OffsetFetch: %s", err_name(error));
        return;
    }
    if (ke->topic->state == TOPIC_THERE && ke->topic->incarnation == ke->incarnation)
        group_fetched(m, ke->group, ke->topic, ke->partition,
                      response.topics[0].partitions[0].committed_offset, ke->ask.asked_ns);
    next_question(ke);
}

static void ask_fetch(struct keeper *ke)
{
    struct offset_fetch_request request;
    struct offset_fetch_request_topic one;
    int16_t version = (int16_t)rng_between(&ke->actor.rng, 1, 7);
    init_offset_fetch_request(&request);
    init_offset_fetch_request_topic(&one);
    request.group_id = str_of(group_name(ke));
    request.topics = &one;
    request.topics_count = 1;
    one.name = str_of(ke->topic->name);
    one.partition_indexes = &ke->partition;
    one.partition_indexes_count = 1;
    struct wr *w = ask_begin(&ke->actor, &ke->ask, KEY_OFFSET_FETCH, version);
    write_offset_fetch_request(w, version, &request);
    ask_send(&ke->ask, on_fetched);
}

/* ---- what is asked ---- */

/* False: there is no topic. */
static bool draw_place(struct keeper *ke)
{
    ke->topic = model_topic(ke->actor.model, &ke->actor.rng);
    if (!ke->topic)
        return false;
    ke->incarnation = ke->topic->incarnation;
    ke->partition = (int32_t)rng_below(&ke->actor.rng, (uint64_t)ke->topic->partitions);
    return true;
}

static bool commit_begin(struct keeper *ke, const struct topic_fact *topic, int64_t offset)
{
    ke->commit =
        group_commit_begin(ke->actor.model, ke->group, topic, topic ? ke->partition : 0, offset);
    return ke->commit != NULL;
}

static void ask_something(struct keeper *ke)
{
    struct model *m = ke->actor.model;
    uint64_t kind = rng_below(&ke->actor.rng, 40);
    actor_later(&ke->actor, 4 * MS);
    if (m->resting || !draw_place(ke))
        return;
    if (kind < 20) {
        ke->group = (uint32_t)rng_below(&ke->actor.rng, GROUPS_MAX);
        ask_fetch(ke);
        return;
    }
    ke->group = GROUP_BY_HAND;
    if (kind < 35 && commit_begin(ke, ke->topic, ++m->groups->serial)) {
        commit(ke);
    } else if (kind < 38 && commit_begin(ke, ke->topic, -1)) {
        ask_take_back(ke);
    } else if (kind == 38 && commit_begin(ke, NULL, -1)) {
        ask_delete(ke);
    }
}

/* All groups, all topics, all partitions. */
static void reckon(struct keeper *ke)
{
    struct model *m = ke->actor.model;
    for (; ke->next_group < GROUPS_MAX; ke->next_group++, ke->next_topic = 0) {
        for (; ke->next_topic < TOPICS_MAX; ke->next_topic++, ke->next_partition = 0) {
            struct topic_fact *topic = &m->topics[ke->next_topic];
            if (topic->state != TOPIC_THERE || ke->next_partition >= topic->partitions)
                continue;
            ke->group = ke->next_group;
            ke->topic = topic;
            ke->incarnation = topic->incarnation;
            ke->partition = ke->next_partition;
            ask_fetch(ke);
            return;
        }
    }
    ke->done = true;
}

static void keeper_step(struct actor *a)
{
    struct keeper *ke = keeper_of(a);
    if (ke->ask.under_way || ke->done)
        return;
    if (a->model->reckoning && ke->lost) {
        ke->lost = false;
        ask_coordinator(a, &ke->ask, group_name(ke));
    } else if (a->model->reckoning) {
        reckon(ke);
    } else {
        ask_something(ke);
    }
}

static bool keeper_busy(const struct actor *a)
{
    const struct keeper *ke = container_of(no_const(a), struct keeper, actor);
    return ke->ask.under_way || (a->model->reckoning && !ke->done);
}

const struct actor_kind actor_keeper = {
    .name = "keeper",
    .size = sizeof(struct keeper),
    .start = keeper_start,
    .step = keeper_step,
    .busy = keeper_busy,
};
