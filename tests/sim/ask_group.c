/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/ask_group.h"

#include "net/err.h"

static struct str instance_of(const struct seat *seat)
{
    return seat->instance_id[0] ? str_of(seat->instance_id) : str_null();
}

/* The first version that knows static members, for one. */
static int16_t version_of(struct actor *a, int16_t key, const struct seat *seat)
{
    return actor_version(a, key, seat->instance_id[0] ? 3 : 0);
}

void ask_heartbeat(struct actor *a, struct ask *ask, const struct seat *seat, client_call_fn *done)
{
    struct heartbeat_request request;
    const int16_t version = version_of(a, KEY_HEARTBEAT, seat);
    init_heartbeat_request(&request);
    request.group_id = str_of(seat->group);
    request.generation_id = seat->generation;
    request.member_id = str_of(seat->member_id);
    request.group_instance_id = instance_of(seat);
    struct wr *w = ask_begin(a, ask, KEY_HEARTBEAT, version);
    write_heartbeat_request(w, version, &request);
    ask_send(ask, done);
}

void ask_leave(struct actor *a, struct ask *ask, const struct seat *seat, client_call_fn *done)
{
    struct leave_group_request request;
    struct leave_group_request_member member;
    const int16_t version = version_of(a, KEY_LEAVE_GROUP, seat);
    init_leave_group_request(&request);
    init_leave_group_request_member(&member);
    request.group_id = str_of(seat->group);
    request.member_id = str_of(seat->member_id);
    member.member_id = request.member_id;
    member.group_instance_id = instance_of(seat);
    request.members = &member;
    request.members_count = 1;
    struct wr *w = ask_begin(a, ask, KEY_LEAVE_GROUP, version);
    write_leave_group_request(w, version, &request);
    ask_send(ask, done);
}

bool ask_left(struct ask *ask, int16_t *error)
{
    struct leave_group_response response;
    if (!ask_answered(ask) || !ask_read(ask, read_leave_group_response, &response))
        return false;
    *error = response.error_code;
    if (*error == ERR_NONE && response.members_count > 0)
        *error = response.members[0].error_code;
    return true;
}

void ask_commit(struct actor *a, struct ask *ask, const struct seat *seat, int16_t version_min,
                const struct topic_fact *topic, int32_t partition, int64_t offset,
                client_call_fn *done)
{
    struct offset_commit_request request;
    struct offset_commit_request_topic one;
    struct offset_commit_request_partition part;
    const int16_t version = actor_version(a, KEY_OFFSET_COMMIT, version_min);
    init_offset_commit_request(&request);
    init_offset_commit_request_topic(&one);
    init_offset_commit_request_partition(&part);
    request.group_id = str_of(seat->group);
    request.generation_id_or_member_epoch = seat->generation;
    request.member_id = str_of(seat->member_id);
    request.group_instance_id = instance_of(seat);
    request.retention_time_ms = -1;
    request.topics = &one;
    request.topics_count = 1;
    one.name = str_of(topic->name);
    one.topic_id = topic->id; /* version 10 */
    one.partitions = &part;
    one.partitions_count = 1;
    part.partition_index = partition;
    part.committed_offset = offset;
    struct wr *w = ask_begin(a, ask, KEY_OFFSET_COMMIT, version);
    write_offset_commit_request(w, version, &request);
    ask_send(ask, done);
}

bool ask_committed(struct ask *ask, int16_t *error)
{
    struct offset_commit_response response;
    if (!ask_answered(ask) || !ask_read(ask, read_offset_commit_response, &response) ||
        response.topics_count != 1 || response.topics[0].partitions_count != 1)
        return false;
    *error = response.topics[0].partitions[0].error_code;
    return true;
}
