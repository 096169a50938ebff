/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions about groups and committed offsets from the desk (tests/unit/sim/desk.h), and members
 * of a group of the classic protocol.
 */
#pragma once

#include "tests/unit/sim/desk_topics.h"

#include <stdio.h>

#define SESSION_MS      10000
#define DELAY_MS        3000
#define MANY_PARTITIONS 2000 /* their offsets are more than a batch takes */

/* The newest version of each request that is served, and is not KIP-848's. */
#define COMMIT_VERSION 9
#define FETCH_VERSION  9
#define JOIN_VERSION   9
#define SYNC_VERSION   5

/* ---- asking ---- */

/* Until the group has a coordinator that serves. */
static inline void coordinator_await(struct desk *desk, const char *group)
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

static inline void groups_begin_with(struct desk *desk, uint16_t shards)
{
    desk_broker_start(desk, shards);
    assert_int_equal(topic_ask(desk, "topic", 4), ERR_NONE);
    coordinator_await(desk, "group");
}

static inline void groups_begin(struct desk *desk, uint64_t seed, uint16_t shards)
{
    desk_begin(desk, seed);
    groups_begin_with(desk, shards);
}

struct committer {
    const char *member;   /* "": none */
    const char *instance; /* NULL: none */
    int32_t generation;   /* -1: none */
};

static const struct committer nobody = {.member = "", .generation = -1};

static inline enum err commit_note(struct desk *desk, const char *group, const struct committer *by,
                                   const char *topic, int32_t partition, int64_t offset,
                                   struct str note)
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

static inline enum err commit_by(struct desk *desk, const char *group, const struct committer *by,
                                 const char *topic, int32_t partition, int64_t offset)
{
    return commit_note(desk, group, by, topic, partition, offset, str_of("note"));
}

static inline enum err commit(struct desk *desk, const char *group, const char *topic,
                              int32_t partition, int64_t offset)
{
    return commit_by(desk, group, &nobody, topic, partition, offset);
}

/* Of all partitions of a topic at once. */
static inline void commit_many(struct desk *desk, const char *group, const char *topic,
                               int32_t count)
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

static inline enum err fetch_error(struct desk *desk, const char *group, const char *topic,
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

static inline int64_t fetch(struct desk *desk, const char *group, const char *topic,
                            int32_t partition)
{
    int64_t offset = -2;
    assert_int_equal(fetch_error(desk, group, topic, partition, &offset), ERR_NONE);
    return offset;
}

/* All offsets of the group. */
static inline int32_t fetch_count(struct desk *desk, const char *group)
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

static inline struct str group_state(struct desk *desk, const char *group, int32_t *members)
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

static inline void assert_state(struct desk *desk, const char *group, const char *name)
{
    struct str state = group_state(desk, group, NULL);
    if (!str_equal(state, str_of(name)))
        fail_msg("%s is %.*s, not %s", group, (int)state.len, state.data, name);
}

static inline enum err group_delete(struct desk *desk, const char *group)
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

static inline enum err offset_delete(struct desk *desk, const char *group, const char *topic,
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

static inline struct member member_of(struct desk *desk, unsigned connection, const char *instance)
{
    return (struct member){.desk = desk,
                           .connection = connection,
                           .group = "group",
                           .instance = instance,
                           .generation = -1};
}

static inline void join_send(struct member *m)
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

static inline enum err join_end(struct member *m)
{
    must(desk_answer(&m->join, &m->joined));
    m->generation = m->joined.generation_id;
    must(m->joined.member_id.len < (int32_t)sizeof(m->id));
    snprintf(m->id, sizeof(m->id), "%.*s", (int)m->joined.member_id.len, m->joined.member_id.data);
    return (enum err)m->joined.error_code;
}

/* A dynamic member is given its id first (G4). */
static inline void join_begin(struct member *m)
{
    join_send(m);
    if (m->instance || m->id[0] != '\0')
        return;
    assert_int_equal(join_end(m), ERR_MEMBER_ID_REQUIRED);
    join_send(m);
}

static inline bool leads(const struct member *m)
{
    return str_equal(m->joined.leader, str_of(m->id));
}

static inline void sync_send(struct member *m,
                             const struct sync_group_request_assignment *assignments, int32_t count)
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

static inline enum err sync_end(struct member *m, struct sync_group_response *response)
{
    must(desk_answer(&m->sync, response));
    return (enum err)response->error_code;
}

static inline enum err heartbeat(struct member *m)
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

static inline enum err leave(struct member *m)
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

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)};
}

static inline void assert_assigned(const struct sync_group_response *response, const char *text)
{
    assert_int_equal(response->assignment.len, strlen(text));
    assert_memory_equal(response->assignment.data, text, strlen(text));
}

/* The one member of a stable group; everything is its own. */
static inline void settle_one(struct member *m)
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

static inline struct committer committer_of(const struct member *m)
{
    return (struct committer){m->id, m->instance, m->generation};
}
