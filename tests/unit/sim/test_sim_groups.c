/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups and committed offsets as clients see them: handlers, coordinator and log together, over
 * restarts and crashes. What the state machine alone decides is in
 * tests/unit/core/group/test_group.c.
 */
#include "core/group/group_record.h"
#include "core/internal_topic.h"
#include "core/record/batch_builder.h"
#include "tests/unit/sim/desk.h"

#include <errno.h>
#include <stdio.h>

#define SESSION_MS 10000
#define DELAY_MS   3000
#define PARTITIONS 2000

/* The newest version of each request that is served, and is not KIP-848's. */
#define COMMIT_VERSION 9
#define FETCH_VERSION  9
#define JOIN_VERSION   9
#define SYNC_VERSION   5

/* ---- asking ---- */

static int16_t topic_create(struct desk *desk, const char *name, int32_t partitions)
{
    struct create_topics_request request;
    struct create_topics_request_topic topic;
    struct create_topics_response response;
    init_create_topics_request(&request);
    init_create_topics_request_topic(&topic);
    topic.name = str_of(name);
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = 10000;
    desk_ask(desk, 0, KEY_CREATE_TOPICS, 5, &request, &response);
    return response.topics[0].error_code;
}

static void topic_delete(struct desk *desk, const char *name)
{
    struct delete_topics_request request;
    struct delete_topics_response response;
    struct str names[] = {str_of(name)};
    init_delete_topics_request(&request);
    request.topic_names = names;
    request.topic_names_count = 1;
    request.timeout_ms = 10000;
    desk_ask(desk, 0, KEY_DELETE_TOPICS, 4, &request, &response);
    assert_int_equal(response.responses[0].error_code, ERR_NONE);
}

/* Until the group has a coordinator that serves. */
static void coordinator_await(struct desk *desk, const char *group)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    init_find_coordinator_request(&request);
    request.key = str_of(group);
    for (;;) {
        desk_ask(desk, 0, KEY_FIND_COORDINATOR, 3, &request, &response);
        if (response.error_code == ERR_NONE)
            break;
        assert_int_equal(response.error_code, ERR_COORDINATOR_NOT_AVAILABLE);
        desk_pass(desk, 10);
    }
    desk_pass(desk, 100);
}

static void begin_with(struct desk *desk, uint16_t shards)
{
    desk_broker_start(desk, shards);

    assert_int_equal(topic_create(desk, "topic", 4), ERR_NONE);
    coordinator_await(desk, "group");
}

static void begin(struct desk *desk, uint64_t seed, uint16_t shards)
{
    desk_begin(desk, seed);
    begin_with(desk, shards);
}

struct committer {
    const char *member;   /* "": none */
    const char *instance; /* NULL: none */
    int32_t generation;   /* -1: none */
};

static const struct committer nobody = {.member = "", .generation = -1};

static enum err commit_note(struct desk *desk, const char *group, const struct committer *by,
                            const char *topic, int32_t partition, int64_t offset, struct str note)
{
    struct offset_commit_request request;
    struct offset_commit_request_topic topics;
    struct offset_commit_request_partition partitions;
    struct offset_commit_response response;
    init_offset_commit_request(&request);
    init_offset_commit_request_topic(&topics);
    init_offset_commit_request_partition(&partitions);
    request.group_id = str_of(group);
    request.member_id = str_of(by->member);
    request.group_instance_id = str_of(by->instance);
    request.generation_id_or_member_epoch = by->generation;
    request.topics = &topics;
    request.topics_count = 1;
    topics.name = str_of(topic);
    topics.partitions = &partitions;
    topics.partitions_count = 1;
    partitions.partition_index = partition;
    partitions.committed_offset = offset;
    partitions.committed_metadata = note;
    desk_ask(desk, 0, KEY_OFFSET_COMMIT, COMMIT_VERSION, &request, &response);
    assert_int_equal(response.topics_count, 1);
    assert_int_equal(response.topics[0].partitions_count, 1);
    return (enum err)response.topics[0].partitions[0].error_code;
}

static enum err commit_by(struct desk *desk, const char *group, const struct committer *by,
                          const char *topic, int32_t partition, int64_t offset)
{
    return commit_note(desk, group, by, topic, partition, offset, str_of("note"));
}

static enum err commit(struct desk *desk, const char *group, const char *topic, int32_t partition,
                       int64_t offset)
{
    return commit_by(desk, group, &nobody, topic, partition, offset);
}

/* Of all partitions of a topic at once. */
static void commit_many(struct desk *desk, const char *group, const char *topic, int32_t count)
{
    struct offset_commit_request request;
    struct offset_commit_request_topic topics;
    struct offset_commit_response response;
    struct offset_commit_request_partition *partitions = calloc((size_t)count, sizeof(*partitions));
    must(partitions != NULL);
    init_offset_commit_request(&request);
    init_offset_commit_request_topic(&topics);
    request.group_id = str_of(group);
    request.generation_id_or_member_epoch = -1;
    request.topics = &topics;
    request.topics_count = 1;
    topics.name = str_of(topic);
    topics.partitions = partitions;
    topics.partitions_count = count;
    for (int32_t i = 0; i < count; i++) {
        init_offset_commit_request_partition(&partitions[i]);
        partitions[i].partition_index = i;
        partitions[i].committed_offset = i;
    }
    desk_ask(desk, 0, KEY_OFFSET_COMMIT, COMMIT_VERSION, &request, &response);
    for (int32_t i = 0; i < count; i++)
        assert_int_equal(response.topics[0].partitions[i].error_code, ERR_NONE);
    free(partitions);
}

static enum err fetch_error(struct desk *desk, const char *group, const char *topic,
                            int32_t partition, int64_t *offset)
{
    struct offset_fetch_request request;
    struct offset_fetch_request_group groups;
    struct offset_fetch_request_group_topic topics;
    struct offset_fetch_response response;
    init_offset_fetch_request(&request);
    init_offset_fetch_request_group(&groups);
    init_offset_fetch_request_group_topic(&topics);
    request.groups = &groups;
    request.groups_count = 1;
    groups.group_id = str_of(group);
    groups.topics = &topics;
    groups.topics_count = 1;
    topics.name = str_of(topic);
    topics.partition_indexes = &partition;
    topics.partition_indexes_count = 1;
    desk_ask(desk, 1, KEY_OFFSET_FETCH, FETCH_VERSION, &request, &response);
    if (response.groups[0].error_code != ERR_NONE)
        return (enum err)response.groups[0].error_code;
    *offset = response.groups[0].topics[0].partitions[0].committed_offset;
    return ERR_NONE;
}

static int64_t fetch(struct desk *desk, const char *group, const char *topic, int32_t partition)
{
    int64_t offset = -2;
    assert_int_equal(fetch_error(desk, group, topic, partition, &offset), ERR_NONE);
    return offset;
}

/* All offsets of the group. */
static int32_t fetch_count(struct desk *desk, const char *group)
{
    struct offset_fetch_request request;
    struct offset_fetch_request_group groups;
    struct offset_fetch_response response;
    int32_t count = 0;
    init_offset_fetch_request(&request);
    init_offset_fetch_request_group(&groups);
    request.groups = &groups;
    request.groups_count = 1;
    groups.group_id = str_of(group);
    groups.topics_count = -1;
    desk_ask(desk, 1, KEY_OFFSET_FETCH, FETCH_VERSION, &request, &response);
    assert_int_equal(response.groups[0].error_code, ERR_NONE);
    for (int32_t i = 0; i < response.groups[0].topics_count; i++)
        count += response.groups[0].topics[i].partitions_count;
    return count;
}

static struct str group_state(struct desk *desk, const char *group, int32_t *members)
{
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct str names[] = {str_of(group)};
    init_describe_groups_request(&request);
    request.groups = names;
    request.groups_count = 1;
    desk_ask(desk, 1, KEY_DESCRIBE_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups[0].error_code, ERR_NONE);
    if (members)
        *members = response.groups[0].members_count;
    return response.groups[0].group_state;
}

static void assert_state(struct desk *desk, const char *group, const char *name)
{
    struct str state = group_state(desk, group, NULL);
    if (!str_equal(state, str_of(name)))
        fail_msg("%s is %.*s, not %s", group, (int)state.len, state.data, name);
}

static enum err group_delete(struct desk *desk, const char *group)
{
    struct delete_groups_request request;
    struct delete_groups_response response;
    struct str names[] = {str_of(group)};
    init_delete_groups_request(&request);
    request.groups_names = names;
    request.groups_names_count = 1;
    desk_ask(desk, 0, KEY_DELETE_GROUPS, 2, &request, &response);
    return (enum err)response.results[0].error_code;
}

static enum err offset_delete(struct desk *desk, const char *group, const char *topic,
                              int32_t partition, enum err *of_partition)
{
    struct offset_delete_request request;
    struct offset_delete_request_topic topics;
    struct offset_delete_request_partition partitions;
    struct offset_delete_response response;
    init_offset_delete_request(&request);
    init_offset_delete_request_topic(&topics);
    init_offset_delete_request_partition(&partitions);
    request.group_id = str_of(group);
    request.topics = &topics;
    request.topics_count = 1;
    topics.name = str_of(topic);
    topics.partitions = &partitions;
    topics.partitions_count = 1;
    partitions.partition_index = partition;
    desk_ask(desk, 0, KEY_OFFSET_DELETE, 0, &request, &response);
    if (response.error_code == ERR_NONE)
        *of_partition = (enum err)response.topics[0].partitions[0].error_code;
    return (enum err)response.error_code;
}

/* ---- members ---- */

/* One that subscribes to "topic". */
struct member {
    struct desk *desk;
    unsigned connection;
    const char *group;
    const char *instance;
    char id[80];
    struct join_group_request request;
    struct join_group_request_protocol protocol;
    struct question join;
    struct join_group_response joined;
    struct question sync;
    struct sync_group_request sync_request;
    int32_t generation;
};

static const uint8_t subscription[] = {0,   1,   0,   0,   0,   1,   0,   5,  't',
                                       'o', 'p', 'i', 'c', 255, 255, 255, 255};

static struct member member_of(struct desk *desk, unsigned connection, const char *instance)
{
    return (struct member){.desk = desk,
                           .connection = connection,
                           .group = "group",
                           .instance = instance,
                           .generation = -1};
}

static void join_send(struct member *m)
{
    init_join_group_request(&m->request);
    init_join_group_request_protocol(&m->protocol);
    m->request.group_id = str_of(m->group);
    m->request.session_timeout_ms = SESSION_MS;
    m->request.rebalance_timeout_ms = 20000;
    m->request.member_id = str_of(m->id);
    m->request.group_instance_id = str_of(m->instance);
    m->request.protocol_type = str_of("consumer");
    m->request.protocols = &m->protocol;
    m->request.protocols_count = 1;
    m->protocol.name = str_of("range");
    m->protocol.metadata = (struct bytes){subscription, sizeof(subscription)};
    desk_send(m->desk, &m->join, m->connection, KEY_JOIN_GROUP, JOIN_VERSION, &m->request);
}

static enum err join_end(struct member *m)
{
    must(desk_answer(&m->join, &m->joined));
    m->generation = m->joined.generation_id;
    must(m->joined.member_id.len < (int32_t)sizeof(m->id));
    snprintf(m->id, sizeof(m->id), "%.*s", (int)m->joined.member_id.len, m->joined.member_id.data);
    return (enum err)m->joined.error_code;
}

/* A dynamic member is given its id first (G4). */
static void join_begin(struct member *m)
{
    join_send(m);
    if (m->instance || m->id[0] != '\0')
        return;
    assert_int_equal(join_end(m), ERR_MEMBER_ID_REQUIRED);
    join_send(m);
}

static bool leads(const struct member *m)
{
    return str_equal(m->joined.leader, str_of(m->id));
}

static void sync_send(struct member *m, const struct sync_group_request_assignment *assignments,
                      int32_t count)
{
    init_sync_group_request(&m->sync_request);
    m->sync_request.group_id = str_of(m->group);
    m->sync_request.generation_id = m->generation;
    m->sync_request.member_id = str_of(m->id);
    m->sync_request.group_instance_id = str_of(m->instance);
    m->sync_request.protocol_type = str_of("consumer");
    m->sync_request.protocol_name = str_of("range");
    m->sync_request.assignments = no_const(assignments);
    m->sync_request.assignments_count = count;
    desk_send(m->desk, &m->sync, m->connection, KEY_SYNC_GROUP, SYNC_VERSION, &m->sync_request);
}

static enum err sync_end(struct member *m, struct sync_group_response *response)
{
    must(desk_answer(&m->sync, response));
    return (enum err)response->error_code;
}

static enum err heartbeat(struct member *m)
{
    struct heartbeat_request request;
    struct heartbeat_response response;
    init_heartbeat_request(&request);
    request.group_id = str_of(m->group);
    request.generation_id = m->generation;
    request.member_id = str_of(m->id);
    request.group_instance_id = str_of(m->instance);
    desk_ask(m->desk, m->connection, KEY_HEARTBEAT, 4, &request, &response);
    return (enum err)response.error_code;
}

static enum err leave(struct member *m)
{
    struct leave_group_request request;
    struct leave_group_request_member member;
    struct leave_group_response response;
    init_leave_group_request(&request);
    init_leave_group_request_member(&member);
    request.group_id = str_of(m->group);
    request.members = &member;
    request.members_count = 1;
    member.member_id = str_of(m->id);
    member.group_instance_id = str_of(m->instance);
    desk_ask(m->desk, m->connection, KEY_LEAVE_GROUP, 5, &request, &response);
    assert_int_equal(response.error_code, ERR_NONE);
    return (enum err)response.members[0].error_code;
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)};
}

static void assert_assigned(const struct sync_group_response *response, const char *text)
{
    assert_int_equal(response->assignment.len, strlen(text));
    assert_memory_equal(response->assignment.data, text, strlen(text));
}

/* The one member of a stable group; everything is its own. */
static void settle_one(struct member *m)
{
    struct sync_group_response synced;
    join_begin(m);
    assert_int_equal(join_end(m), ERR_NONE);
    assert_true(leads(m));
    const struct sync_group_request_assignment all = {str_of(m->id), bytes_of("all")};
    sync_send(m, &all, 1);
    assert_int_equal(sync_end(m, &synced), ERR_NONE);
    assert_assigned(&synced, "all");
}

static struct committer committer_of(const struct member *m)
{
    return (struct committer){m->id, m->instance, m->generation};
}

/* ---- offsets over lives ---- */

static void o7_offsets_and_groups_come_back_whatever_ended_the_broker(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 11, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 6), ERR_NONE);
    assert_int_equal(commit(&desk, "by-hand", "topic", 3, 44), ERR_NONE);
    for (int life = 0; life < 3; life++) {
        if (life == 0)
            desk_broker_stop(&desk);
        else
            desk_broker_crash(&desk, life == 1 ? CRASH_KILL : CRASH_POWER);
        desk_broker_start(&desk, (uint16_t)(3 - life));
        desk_pass(&desk, 100);
        assert_int_equal(fetch(&desk, "group", "topic", 0), 6 + life);
        assert_int_equal(fetch(&desk, "by-hand", "topic", 3), 44);
        assert_int_equal(fetch(&desk, "by-hand", "topic", 2), -1);
        assert_state(&desk, "group", "Stable");
        assert_int_equal(heartbeat(&m), ERR_NONE); /* as if nothing had been */
        assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 7 + life), ERR_NONE);
    }
    desk_end(&desk);
}

static void g3_who_asks_while_the_offsets_are_read_back_is_told_so(void **state)
{
    (void)state;
    struct desk desk;
    int64_t offset;
    begin(&desk, 12, 1);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    assert_int_equal(commit(&desk, "by-hand", "topic", 0, 5), ERR_NONE);
    desk_broker_stop(&desk); /* the log is in its segment, not in the tail */
    assert_true(node_start(&desk.node, 1));
    desk_until(&desk, desk_node_is_ready, &desk);
    machine_disk_stall(desk.node.machine, 20 * DESK_S);
    process_call(desk.process, 0, desk_connect, &desk);
    desk_until(&desk, desk_is_connected, &desk);
    assert_int_equal(fetch_error(&desk, "by-hand", "topic", 0, &offset),
                     ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(commit(&desk, "by-hand", "topic", 0, 6), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(heartbeat(&m), ERR_NONE);
    struct sync_group_response synced;
    sync_send(&m, NULL, 0);
    assert_int_equal(sync_end(&m, &synced), ERR_REBALANCE_IN_PROGRESS);
    struct list_groups_request request;
    struct list_groups_response response;
    init_list_groups_request(&request);
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    desk_pass(&desk, 21000);
    assert_int_equal(fetch(&desk, "by-hand", "topic", 0), 5);
    desk_end(&desk);
}

static void g3_without_its_topic_nobody_is_coordinator(void **state)
{
    (void)state;
    struct desk desk;
    int64_t offset;
    desk_begin(&desk, 13);
    desk_broker_start(&desk, 2);
    assert_int_equal(topic_create(&desk, "topic", 1), ERR_NONE);
    assert_int_equal(commit(&desk, "group", "topic", 0, 1), ERR_NOT_COORDINATOR);
    assert_int_equal(fetch_error(&desk, "group", "topic", 0, &offset), ERR_NOT_COORDINATOR);
    struct member m = member_of(&desk, 2, NULL);
    join_send(&m);
    assert_int_equal(join_end(&m), ERR_NOT_COORDINATOR);
    desk_end(&desk);
}

/* ---- what may be committed ---- */

static void o1_who_may_commit(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 14, 3);
    struct committer by = {.member = "stranger", .generation = 3};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_ILLEGAL_GENERATION);
    assert_int_equal(commit(&desk, "group", "topic", 0, 1), ERR_NONE); /* nobody is in it */
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 2), ERR_NONE);
    assert_int_equal(commit(&desk, "group", "topic", 0, 3), ERR_UNKNOWN_MEMBER_ID);
    by.generation--;
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 4), ERR_ILLEGAL_GENERATION);
    by = (struct committer){"stranger", NULL, m.generation};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 5), ERR_UNKNOWN_MEMBER_ID);
    by = (struct committer){m.id, "stranger", m.generation};
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 6), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 2);
    desk_end(&desk);
}

static void o2_unknown_topics_and_long_notes_are_refused(void **state)
{
    (void)state;
    static char note[4097];
    struct desk desk;
    begin(&desk, 15, 2);
    memset(note, 'n', sizeof(note));
    assert_int_equal(commit(&desk, "group", "nowhere", 0, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(commit(&desk, "group", "topic", 4, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(
        commit_note(&desk, "group", &nobody, "topic", 0, 1, (struct str){note, sizeof(note)}),
        ERR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(
        commit_note(&desk, "group", &nobody, "topic", 0, 2, (struct str){note, sizeof(note) - 1}),
        ERR_NONE);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 2);
    desk_end(&desk);
}

static void o4_what_was_not_committed_is_minus_one(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 16, 2);
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    assert_int_equal(fetch(&desk, "group", "nowhere", 7), -1);
    assert_int_equal(fetch_count(&desk, "group"), 0);
    desk_end(&desk);
}

/* ---- groups ---- */

static void g6_two_members_share_a_group(void **state)
{
    (void)state;
    struct desk desk;
    struct sync_group_response synced;
    begin(&desk, 17, 3);
    struct member a = member_of(&desk, 2, NULL);
    struct member b = member_of(&desk, 3, NULL);
    uint64_t since_ns = world_now_ns(desk.world);
    join_begin(&a);
    join_begin(&b);
    assert_int_equal(join_end(&a), ERR_NONE);
    assert_int_equal(join_end(&b), ERR_NONE);
    uint64_t took_ms = (world_now_ns(desk.world) - since_ns) / DESK_MS;
    assert_in_range(took_ms, DELAY_MS, 2 * DELAY_MS + 1000); /* somebody came meanwhile */
    assert_int_equal(a.generation, b.generation);
    assert_true(leads(&a) && !leads(&b));
    assert_int_equal(a.joined.members_count, 2);
    assert_int_equal(b.joined.members_count, 0);
    assert_state(&desk, "group", "CompletingRebalance");
    sync_send(&b, NULL, 0);
    const struct sync_group_request_assignment both[] = {{str_of(a.id), bytes_of("first")},
                                                         {str_of(b.id), bytes_of("second")}};
    sync_send(&a, both, 2);
    assert_int_equal(sync_end(&a, &synced), ERR_NONE);
    assert_assigned(&synced, "first");
    assert_int_equal(sync_end(&b, &synced), ERR_NONE);
    assert_assigned(&synced, "second");
    assert_state(&desk, "group", "Stable");
    /* One leaves: the other is told to join again. */
    assert_int_equal(leave(&b), ERR_NONE);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(&b), ERR_UNKNOWN_MEMBER_ID);
    const struct committer gone = committer_of(&b);
    assert_int_equal(commit_by(&desk, "group", &gone, "topic", 0, 9), ERR_UNKNOWN_MEMBER_ID);
    join_begin(&a);
    assert_int_equal(join_end(&a), ERR_NONE);
    assert_int_equal(a.generation, b.generation + 1);
    desk_end(&desk);
}

static void g10_a_silent_member_is_out_after_its_session(void **state)
{
    (void)state;
    struct desk desk;
    int32_t members;
    begin(&desk, 18, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    desk_pass(&desk, SESSION_MS - 500);
    assert_int_equal(heartbeat(&m), ERR_NONE);
    desk_pass(&desk, SESSION_MS - 500);
    (void)group_state(&desk, "group", &members);
    assert_int_equal(members, 1);
    desk_pass(&desk, 1000);
    assert_state(&desk, "group", "Empty");
    assert_int_equal(heartbeat(&m), ERR_UNKNOWN_MEMBER_ID);
    desk_end(&desk);
}

static void g12_the_newer_of_two_with_one_instance_id_wins(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 19, 2);
    struct member old = member_of(&desk, 2, "instance");
    settle_one(&old);
    struct member new = member_of(&desk, 3, "instance");
    join_begin(&new);
    assert_int_equal(join_end(&new), ERR_NONE);
    assert_int_equal(new.generation, old.generation); /* nobody else need notice */
    assert_int_equal(heartbeat(&old), ERR_FENCED_INSTANCE_ID);
    struct committer by = committer_of(&old);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_FENCED_INSTANCE_ID);
    by = committer_of(&new);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 2), ERR_NONE);
    /* The new id is known after a crash, too. */
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 100);
    assert_int_equal(heartbeat(&old), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(heartbeat(&new), ERR_NONE);
    desk_end(&desk);
}

static void a_member_whose_connection_goes_while_it_waits_stays_joined(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 20, 3);
    struct member m = member_of(&desk, 2, NULL);
    join_begin(&m);
    desk_pass(&desk, 10);
    world_link_reset(desk.world, NULL, NULL);
    struct join_group_response response;
    assert_false(desk_answer(&m.join, &response));
    desk_until(&desk, desk_is_alone, &desk);
    process_call(desk.process, 0, desk_connect, &desk);
    desk_until(&desk, desk_is_connected, &desk);
    desk_pass(&desk, DELAY_MS);
    assert_state(&desk, "group", "CompletingRebalance");
    join_send(&m); /* and is told what it has missed */
    assert_int_equal(join_end(&m), ERR_NONE);
    assert_int_equal(m.generation, 1);
    desk_end(&desk);
}

static void g9_an_assignment_that_no_record_can_hold_is_refused(void **state)
{
    (void)state;
    struct desk desk;
    struct sync_group_response synced;
    begin(&desk, 21, 2);
    struct member m = member_of(&desk, 2, NULL);
    join_begin(&m);
    assert_int_equal(join_end(&m), ERR_NONE);
    uint8_t *huge = calloc(1, 1U << 20);
    must(huge != NULL);
    const struct sync_group_request_assignment all = {str_of(m.id), {huge, 1U << 20}};
    sync_send(&m, &all, 1); /* fits the sum, but not with the rest of the record */
    assert_int_equal(sync_end(&m, &synced), ERR_UNKNOWN_SERVER_ERROR);
    free(huge);
    join_send(&m);
    assert_int_equal(join_end(&m), ERR_NONE);
    desk_end(&desk);
}

static void g15_g16_groups_are_listed_and_described(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 22, 3);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    char name[16];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "hand-%d", i);
        assert_int_equal(commit(&desk, name, "topic", 0, i), ERR_NONE);
    }
    struct list_groups_request request;
    struct list_groups_response response;
    init_list_groups_request(&request);
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 21);
    struct str states[] = {str_of("stable")};
    request.states_filter = states;
    request.states_filter_count = 1;
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 1);
    assert_true(str_equal(response.groups[0].group_id, str_of("group")));
    assert_true(str_equal(response.groups[0].protocol_type, str_of("consumer")));
    struct str types[] = {str_of("consumer")};
    request.types_filter = types;
    request.types_filter_count = 1;
    desk_ask(&desk, 0, KEY_LIST_GROUPS, 5, &request, &response);
    assert_int_equal(response.groups_count, 0);
    assert_state(&desk, "nowhere", "Dead");
    assert_state(&desk, "hand-7", "Empty");
    desk_end(&desk);
}

/* ---- what is forgotten ---- */

static void o6_offsets_of_a_topic_that_is_read_stay(void **state)
{
    (void)state;
    struct desk desk;
    enum err error = ERR_NONE;
    begin(&desk, 23, 2);
    assert_int_equal(topic_create(&desk, "other", 1), ERR_NONE);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit_by(&desk, "group", &by, "other", 0, 2), ERR_NONE);
    assert_int_equal(offset_delete(&desk, "group", "topic", 0, &error), ERR_NONE);
    assert_int_equal(error, ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    assert_int_equal(offset_delete(&desk, "group", "other", 0, &error), ERR_NONE);
    assert_int_equal(error, ERR_NONE);
    assert_int_equal(offset_delete(&desk, "nobody", "other", 0, &error), ERR_GROUP_ID_NOT_FOUND);
    assert_int_equal(group_delete(&desk, "group"), ERR_NON_EMPTY_GROUP);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1);
    assert_int_equal(fetch(&desk, "group", "other", 0), -1);
    desk_end(&desk);
}

static void g15_a_deleted_group_does_not_come_back(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 24, 2);
    assert_int_equal(topic_create(&desk, "wide", PARTITIONS), ERR_NONE);
    commit_many(&desk, "hand", "wide", PARTITIONS); /* more than one batch of tombstones takes */
    assert_int_equal(fetch_count(&desk, "hand"), PARTITIONS);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    assert_int_equal(leave(&m), ERR_NONE);
    assert_state(&desk, "group", "Empty");
    assert_int_equal(group_delete(&desk, "hand"), ERR_NONE);
    assert_int_equal(group_delete(&desk, "group"), ERR_NONE);
    assert_int_equal(group_delete(&desk, "group"), ERR_GROUP_ID_NOT_FOUND);
    for (int life = 0; life < 2; life++) {
        assert_state(&desk, "hand", "Dead");
        assert_state(&desk, "group", "Dead");
        assert_int_equal(fetch_count(&desk, "hand"), 0);
        desk_broker_crash(&desk, CRASH_POWER);
        desk_broker_start(&desk, 1);
        desk_pass(&desk, 200);
    }
    desk_end(&desk);
}

static void a_deletion_that_the_log_does_not_take_changes_nothing(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 30, 1);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    const struct disk_fault fault = {
        .calls = DISK_WRITE | DISK_SYNC, .times = UINT32_MAX, .error = -EIO};
    machine_disk_fault(desk.node.machine, &fault);
    assert_int_equal(group_delete(&desk, "hand"), ERR_NOT_COORDINATOR);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 3), ERR_NOT_COORDINATOR);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 2);
    assert_state(&desk, "hand", "Empty");
    machine_disk_heal(desk.node.machine);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 1);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 2);
    desk_end(&desk);
}

static void o5_offsets_expire_when_their_group_has_been_empty_for_long(void **state)
{
    (void)state;
    struct desk desk;
    desk_begin(&desk, 25);
    desk_set(&desk, "offsets.retention.minutes", "1");
    desk_set(&desk, "offsets.retention.check.interval.ms", "5000");
    begin_with(&desk, 2);
    struct member m = member_of(&desk, 2, NULL);
    settle_one(&m);
    const struct committer by = committer_of(&m);
    assert_int_equal(commit_by(&desk, "group", &by, "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    for (int i = 0; i < 10; i++) {
        desk_pass(&desk, 9000);
        assert_int_equal(heartbeat(&m), ERR_NONE);
    }
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1); /* somebody reads it */
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    assert_state(&desk, "hand", "Dead");
    assert_int_equal(leave(&m), ERR_NONE);
    desk_pass(&desk, 50000);
    assert_int_equal(fetch(&desk, "group", "topic", 0), 1);
    desk_pass(&desk, 20000);
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    assert_state(&desk, "group", "Dead");
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_state(&desk, "group", "Dead");
    assert_int_equal(fetch(&desk, "group", "topic", 0), -1);
    desk_end(&desk);
}

static void a_jump_of_the_wall_clock_expires_nothing_at_once(void **state)
{
    (void)state;
    struct desk desk;
    desk_begin(&desk, 26);
    desk_set(&desk, "offsets.retention.minutes", "60");
    desk_set(&desk, "offsets.retention.check.interval.ms", "60000");
    begin_with(&desk, 1);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    machine_jump_wall(desk.node.machine, (int64_t)86400 * 1000);
    desk_pass(&desk, 70000);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 2);
    desk_pass(&desk, 60000); /* the clock stayed there */
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    desk_end(&desk);
}

static void offsets_of_a_deleted_topic_go_with_it(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 27, 3);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 2), ERR_NONE);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 3), ERR_NONE);
    desk_broker_stop(&desk); /* offsets that were read back do not know their topic's id */
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 4), ERR_NONE);
    assert_int_equal(fetch_count(&desk, "hand"), 2);
    topic_delete(&desk, "topic");
    assert_int_equal(topic_create(&desk, "topic", 4), ERR_NONE);
    desk_pass(&desk, 100);
    assert_int_equal(fetch_count(&desk, "hand"), 0);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 5), ERR_NONE);
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 3);
    desk_pass(&desk, 200);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), -1);
    assert_int_equal(fetch(&desk, "hand", "topic", 1), 5);
    desk_end(&desk);
}

static void offsets_of_a_topic_that_went_unseen_go_at_the_next_start(void **state)
{
    (void)state;
    struct desk desk;
    begin(&desk, 28, 1);
    assert_int_equal(topic_create(&desk, "wide", PARTITIONS), ERR_NONE);
    commit_many(&desk, "hand", "wide", PARTITIONS);
    topic_delete(&desk, "wide"); /* its tombstones are on their way */
    desk_broker_crash(&desk, CRASH_POWER);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 1000);
    assert_int_equal(fetch_count(&desk, "hand"), 0);
    desk_end(&desk);
}

/* ---- records that nobody understands ---- */

/* Writes into __consumer_offsets as replicating tools do. */
static void write_record(struct desk *desk, int32_t partition, struct bytes key, struct bytes value)
{
    struct produce_request request;
    struct produce_request_topic topic;
    struct produce_request_partition part;
    struct produce_response response;
    struct batch_builder builder;
    struct piece piece;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1, (struct bytes_or_null){key.data, key.len},
                      (struct bytes_or_null){value.data, value.len}, NULL, 0);
    size_t len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    init_produce_request(&request);
    init_produce_request_topic(&topic);
    init_produce_request_partition(&part);
    request.acks = -1;
    request.timeout_ms = 10000;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    topic.name = str_of(INTERNAL_TOPIC_OFFSETS);
    topic.partition_data = &part;
    topic.partition_data_count = 1;
    part.index = partition;
    part.records = records_of(span_of(&piece, bytes, (uint32_t)len));
    desk_ask(desk, DESK_ADMIN, KEY_PRODUCE, 9, &request, &response);
    assert_int_equal(response.responses[0].partition_responses[0].error_code, ERR_NONE);
    batch_builder_fini(&builder);
}

static void o7_poisoned_records_are_skipped(void **state)
{
    (void)state;
    static const uint8_t half[] = {0, 1, 0};
    static const uint8_t strange[] = {9, 9, 1, 2, 3};
    struct desk desk;
    begin(&desk, 29, 1);
    assert_int_equal(commit(&desk, "hand", "topic", 0, 1), ERR_NONE);
    const int32_t home = internal_topic_partition(str_of("hand"), 3);
    struct arena arena;
    struct group_record_bytes record;
    const struct group_offset offset = {
        .topic = str_of("topic"), .offset = 77, .metadata = str_of(""), .expire_ms = -1};
    arena_init(&arena, 1U << 20);
    assert_true(group_record_of_offset(&record, &arena, str_of("hand"), &offset));
    write_record(&desk, home, (struct bytes){half, sizeof(half)}, record.value);
    write_record(&desk, home, (struct bytes){strange, sizeof(strange)}, record.value);
    write_record(&desk, home, record.key, (struct bytes){half, sizeof(half)});
    write_record(&desk, home, (struct bytes){.len = 0, .data = half}, record.value);
    /* A record of a group that belongs elsewhere would be found by nobody, or twice. */
    write_record(&desk, (home + 1) % 3, record.key, record.value);
    assert_int_equal(commit(&desk, "hand", "topic", 1, 2), ERR_NONE);
    desk_broker_stop(&desk);
    desk_broker_start(&desk, 2);
    desk_pass(&desk, 100);
    assert_int_equal(fetch(&desk, "hand", "topic", 0), 1);
    assert_int_equal(fetch(&desk, "hand", "topic", 1), 2);
    arena_fini(&arena);
    desk_end(&desk);
}

/* ---- many groups in one request ---- */

#define MANY   3000
#define STORED 20

/* Whatever shards they live on, answers stand in the order of the names; and a shard is asked once,
 * not once for each name: a turn of two shards for each of 100,000 names would be seconds. */
static void g15_many_groups_are_described_at_once(void **state)
{
    (void)state;
    static char text[MANY][16];
    static struct str names[MANY];
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct desk desk;
    begin(&desk, 24, 2);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "group-%d", i);
        names[i] = str_of(text[i]);
    }
    for (int i = 0; i < STORED; i++)
        assert_int_equal(commit(&desk, text[i], "topic", 0, 1), ERR_NONE);
    init_describe_groups_request(&request);
    request.groups = names;
    request.groups_count = MANY;
    uint64_t began_ns = world_now_ns(desk.world);
    desk_ask(&desk, 1, KEY_DESCRIBE_GROUPS, 5, &request, &response);
    assert_in_range(world_now_ns(desk.world) - began_ns, 0, 20 * DESK_MS);
    assert_int_equal(response.groups_count, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(str_equal(response.groups[i].group_id, names[i]));
        assert_int_equal(response.groups[i].error_code, ERR_NONE);
        assert_true(
            str_equal(response.groups[i].group_state, str_of(i < STORED ? "Empty" : "Dead")));
    }
    desk_end(&desk);
}

/* Those of one name in order: the second finds nothing. */
static void g16_many_groups_are_deleted_at_once(void **state)
{
    (void)state;
    struct delete_groups_request request;
    struct delete_groups_response response;
    struct desk desk;
    begin(&desk, 25, 2);
    struct str names[] = {str_of("a"), str_of("nobody"), str_of("b"), str_of("a"), str_of("c")};
    static const int16_t wanted[] = {ERR_NONE, ERR_GROUP_ID_NOT_FOUND, ERR_NONE,
                                     ERR_GROUP_ID_NOT_FOUND, ERR_NONE};
    assert_int_equal(commit(&desk, "a", "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "b", "topic", 0, 1), ERR_NONE);
    assert_int_equal(commit(&desk, "c", "topic", 0, 1), ERR_NONE);
    init_delete_groups_request(&request);
    request.groups_names = names;
    request.groups_names_count = array_count(names);
    desk_ask(&desk, 0, KEY_DELETE_GROUPS, 2, &request, &response);
    for (uint32_t i = 0; i < array_count(names); i++)
        assert_int_equal(response.results[i].error_code, wanted[i]);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(o7_offsets_and_groups_come_back_whatever_ended_the_broker),
        cmocka_unit_test(g3_who_asks_while_the_offsets_are_read_back_is_told_so),
        cmocka_unit_test(g3_without_its_topic_nobody_is_coordinator),
        cmocka_unit_test(g15_many_groups_are_described_at_once),
        cmocka_unit_test(g16_many_groups_are_deleted_at_once),
        cmocka_unit_test(o1_who_may_commit),
        cmocka_unit_test(o2_unknown_topics_and_long_notes_are_refused),
        cmocka_unit_test(o4_what_was_not_committed_is_minus_one),
        cmocka_unit_test(g6_two_members_share_a_group),
        cmocka_unit_test(g10_a_silent_member_is_out_after_its_session),
        cmocka_unit_test(g12_the_newer_of_two_with_one_instance_id_wins),
        cmocka_unit_test(a_member_whose_connection_goes_while_it_waits_stays_joined),
        cmocka_unit_test(g9_an_assignment_that_no_record_can_hold_is_refused),
        cmocka_unit_test(g15_g16_groups_are_listed_and_described),
        cmocka_unit_test(o6_offsets_of_a_topic_that_is_read_stay),
        cmocka_unit_test(g15_a_deleted_group_does_not_come_back),
        cmocka_unit_test(a_deletion_that_the_log_does_not_take_changes_nothing),
        cmocka_unit_test(o5_offsets_expire_when_their_group_has_been_empty_for_long),
        cmocka_unit_test(a_jump_of_the_wall_clock_expires_nothing_at_once),
        cmocka_unit_test(offsets_of_a_deleted_topic_go_with_it),
        cmocka_unit_test(offsets_of_a_topic_that_went_unseen_go_at_the_next_start),
        cmocka_unit_test(o7_poisoned_records_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
