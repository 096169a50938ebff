/* SPDX-License-Identifier: Apache-2.0
 *
 * JoinGroup, SyncGroup, Heartbeat and LeaveGroup: decode, a call to the shard of the group's
 * coordinator, encode. Joins and syncs wait there for other members, for as long as the rebalance
 * timeout says; when their connection ends meanwhile they are called back, and what they have done
 * to the group stays done.
 *
 * A consumer group of KIP-848 answers them, too, when it has members: it migrates then.
 */
#include "core/api/api.h"
#include "core/group/consumer_classic.h"
#include "core/group/groups.h"

#include <stdio.h>
#include <string.h>

/* JoinGroup's versions (KIP-62, KIP-394, KIP-814). */
#define JOIN_REBALANCE_TIMEOUT_VERSION 1
#define JOIN_MEMBER_ID_VERSION         4
#define JOIN_SKIP_VERSION              9

#define SYNC_PROTOCOL_VERSION 5 /* has to say the protocol */
#define LEAVE_BATCH_VERSION   3 /* several members, an error each */

struct str api_client_host(struct request *q)
{
    const uint8_t *ip = q->conn->peer.ip;
    char text[64];
    if (!q->conn->peer.v6) {
        snprintf(text, sizeof(text), "/%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]);
    } else {
        size_t at = 0;
        for (unsigned i = 0; i < 16; i += 2)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%x", i == 0 ? "/" : ":",
                                   (unsigned)ip[i] << 8 | ip[i + 1]);
    }
    return str_of(arena_text(&q->arena, text));
}

static enum err check_group(const struct request *q, struct str group_id)
{
    if (!api_may(q, OPERATION_READ, RESOURCE_GROUP, group_id))
        return ERR_GROUP_AUTHORIZATION_FAILED;
    return group_id.len > 0 ? ERR_NONE : ERR_INVALID_GROUP_ID;
}

static struct str copy_str(struct arena *arena, struct str text, bool *failed)
{
    if (text.len < 0)
        return str_null();
    char *copy = arena_alloc(arena, (size_t)text.len);
    if (!copy) {
        *failed = true;
        return str_of("");
    }
    if (text.len > 0)
        memcpy(copy, text.data, (size_t)text.len);
    return (struct str){copy, text.len};
}

static struct bytes copy_bytes(struct arena *arena, struct bytes bytes, bool *failed)
{
    struct str copy = copy_str(arena, (struct str){(const char *)bytes.data, bytes.len}, failed);
    return (struct bytes){(const uint8_t *)copy.data, copy.len < 0 ? 0 : copy.len};
}

/* ---- what may wait ---- */

/* A join or a sync. The call is the home shard's while `away`; so is the cancel. */
struct wait {
    struct group_call call;
    struct api_work work;
    struct request *q;
    struct mail cancel_mail;
    void (*cancel)(struct wait *wait); /* on the home shard; ends the call if it waits */
    void (*answer)(struct wait *wait); /* on the connection's shard */
    bool away;
    bool cancelling;
    bool ended; /* home shard: the call went back */
};

static void wait_one_less(struct wait *wait)
{
    if (!wait->away && !wait->cancelling)
        wait->answer(wait);
}

static void on_wait_back(struct group_call *call)
{
    struct wait *wait = container_of(call, struct wait, call);
    wait->away = false;
    request_time_pass(&wait->q->time, STEP_PARK, shard_step_ns(api_shard(wait->q)->sh));
    wait_one_less(wait);
}

static void on_cancel_back(struct shard *here, struct mail *mail)
{
    (void)here;
    struct wait *wait = container_of(mail, struct wait, cancel_mail);
    wait->cancelling = false;
    wait_one_less(wait);
}

static void wait_cancel_here(struct wait *wait)
{
    if (!wait->ended)
        wait->cancel(wait);
}

static void on_cancel(struct shard *here, struct mail *mail)
{
    wait_cancel_here(container_of(mail, struct wait, cancel_mail));
    shard_answer(here, mail, on_cancel_back);
}

void api_group_cancel(struct request *q)
{
    struct wait *wait = q->user;
    struct broker_shard *bs = api_shard(q);
    if (!wait || !wait->away || wait->cancelling)
        return;
    if (wait->call.home == bs->sh->id) {
        wait_cancel_here(wait);
        return;
    }
    wait->cancelling = true;
    shard_post(bs->sh, wait->call.home, &wait->cancel_mail, on_cancel);
}

/* The group, if it is one of KIP-848 with members. */
static struct group_entry *find_mixed(const struct groups *groups, struct str group_id)
{
    struct group_entry *entry = groups_find_consumer(groups, group_id);
    return entry && !group_entry_is_empty(entry) ? entry : NULL;
}

/* A consumer group has answered in memory; who asked is told when that is durable. */
static void end_when_durable(struct group_entry *entry, struct group_wait *stored,
                             struct group_call *call, enum err error)
{
    stored->call = call;
    if (error == ERR_NONE) {
        groups_answer_when_durable(entry, stored);
        return;
    }
    groups_settle(entry);
    group_call_end(call, error);
}

/* On the home shard: the call goes back with what its answer holds. */
static void wait_end(struct wait *wait, enum err error)
{
    wait->ended = true;
    group_call_end(&wait->call, error);
}

static void wait_start(struct wait *wait, struct request *q, struct str group_id)
{
    wait->q = q;
    wait->call.group_id = group_id;
    wait->call.arena = &q->arena;
    wait->call.done = on_wait_back;
    wait->away = true;
    q->user = wait;
    const bool may_wait = request_may_wait(q);
    group_call_start(api_shard(q), &wait->call);
    if (!may_wait)
        api_group_cancel(q);
}

/* ---- JoinGroup ---- */

struct join_op {
    struct wait wait;
    struct group_wait stored;
    struct join_group_request request;
    struct join_group_response response;
    struct group_join join;
};

static void members_fill(struct join_op *op, const struct group *g, bool *failed)
{
    struct arena *arena = op->wait.call.arena;
    struct join_group_response *response = &op->response;
    response->members = arena_array(arena, g->member_count, sizeof(*response->members));
    if (!response->members) {
        *failed = true;
        return;
    }
    for (const struct group_member *m = g->members; m; m = m->hh.next) {
        struct join_group_response_member *out = &response->members[response->members_count++];
        init_join_group_response_member(out);
        out->member_id = copy_str(arena, m->id, failed);
        out->group_instance_id = copy_str(arena, m->instance_id, failed);
        out->metadata = copy_bytes(arena, group_member_metadata(m, g->protocol), failed);
    }
}

static enum err join_fill(struct join_op *op)
{
    const struct group_join *join = &op->join;
    struct arena *arena = op->wait.call.arena;
    struct join_group_response *response = &op->response;
    bool failed = false;
    response->generation_id = join->generation;
    response->protocol_type = copy_str(arena, join->protocol_type_out, &failed);
    response->protocol_name = copy_str(arena, join->protocol, &failed);
    response->leader = copy_str(arena, join->leader, &failed);
    response->skip_assignment = join->skip_assignment;
    response->member_id = copy_str(arena, join->member_id_out, &failed);
    if (join->members_of)
        members_fill(op, join->members_of, &failed);
    return failed ? ERR_UNKNOWN_SERVER_ERROR : join->error;
}

static void on_joined(struct group_join *join)
{
    struct join_op *op = container_of(join, struct join_op, join);
    wait_end(&op->wait, join_fill(op));
}

/* Nobody waits for others there, and a cancel finds nothing to do. */
static void join_mixed(struct group_entry *entry, struct join_op *op)
{
    struct io *io = shard_here()->io;
    const uint64_t high = io_random(io);
    const struct uuid id = uuid_of_random(high, io_random(io));
    char made_id[UUID_TEXT_LEN + 1];
    uuid_text(&id, made_id);
    consumer_classic_join(entry->consumer, &op->join, str_of(made_id));
    op->wait.ended = true;
    end_when_durable(entry, &op->stored, &op->wait.call, join_fill(op));
}

static void join_run(struct groups *groups, struct group_call *call)
{
    struct join_op *op = container_of(call, struct join_op, wait.call);
    const struct join_group_request *request = &op->request;
    struct group_entry *entry = find_mixed(groups, request->group_id);
    enum err error = ERR_UNKNOWN_MEMBER_ID;
    if (entry) {
        join_mixed(entry, op);
        return;
    }
    entry = groups_find(groups, request->group_id);
    if (!entry && request->member_id.len > 0) {
        op->response.member_id = request->member_id;
        wait_end(&op->wait, error);
        return;
    }
    entry = groups_get_classic(groups, request->group_id, &error);
    if (!entry) {
        wait_end(&op->wait, error);
        return;
    }
    group_join(entry->group, &op->join);
    groups_settle(entry);
}

static void join_cancel(struct wait *wait)
{
    struct join_op *op = container_of(wait, struct join_op, wait);
    struct group *g = op->join.group;
    if (!g)
        return;
    struct group_entry *entry = g->user;
    group_join_cancel(&op->join, ERR_REBALANCE_IN_PROGRESS);
    groups_settle(entry);
}

static void join_answer(struct wait *wait)
{
    struct join_op *op = container_of(wait, struct join_op, wait);
    op->response.error_code = (int16_t)wait->call.error;
    api_work_answer(&wait->work, KAFKA_JOIN_GROUP_RESPONSE, &op->response);
}

static bool join_prepare(struct join_op *op, struct request *q)
{
    const int16_t version = q->header.request_api_version;
    const struct join_group_request *request = &op->request;
    struct group_protocol *protocols =
        arena_array(&q->arena, (size_t)max_i64(request->protocols_count, 0), sizeof(*protocols));
    if (!protocols)
        return false;
    for (int32_t i = 0; i < request->protocols_count; i++)
        protocols[i] = (struct group_protocol){.name = request->protocols[i].name,
                                               .metadata = request->protocols[i].metadata};
    op->join = (struct group_join){
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .client_id = q->header.client_id,
        .client_host = api_client_host(q),
        .protocol_type = request->protocol_type,
        .protocols = protocols,
        .protocol_count = (uint32_t)max_i64(request->protocols_count, 0),
        .session_timeout_ms = request->session_timeout_ms,
        .rebalance_timeout_ms = version >= JOIN_REBALANCE_TIMEOUT_VERSION
                                    ? request->rebalance_timeout_ms
                                    : request->session_timeout_ms,
        .member_id_required = version >= JOIN_MEMBER_ID_VERSION,
        .may_skip = version >= JOIN_SKIP_VERSION,
        .done = on_joined,
    };
    return true;
}

void api_join_group(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct join_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->wait.work, q);
    init_join_group_response(&op->response);
    if (!read_join_group_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !join_prepare(op, q)) {
        api_malformed(q);
        return;
    }
    op->response.protocol_type = str_null();
    op->response.protocol_name = str_null();
    op->response.leader = str_of("");
    op->response.member_id = op->request.member_id;
    op->wait.call.run = join_run;
    op->wait.cancel = join_cancel;
    op->wait.answer = join_answer;
    op->wait.call.error = check_group(q, op->request.group_id);
    if (op->wait.call.error == ERR_NONE)
        wait_start(&op->wait, q, op->request.group_id);
    else
        join_answer(&op->wait);
}

/* ---- SyncGroup ---- */

struct sync_op {
    struct wait wait;
    struct group_wait stored;
    struct sync_group_request request;
    struct sync_group_response response;
    struct group_sync sync;
};

static void on_synced(struct group_sync *sync)
{
    struct sync_op *op = container_of(sync, struct sync_op, sync);
    struct arena *arena = op->wait.call.arena;
    bool failed = false;
    op->response.protocol_type = copy_str(arena, sync->protocol_type_out, &failed);
    op->response.protocol_name = copy_str(arena, sync->protocol_out, &failed);
    op->response.assignment = copy_bytes(arena, sync->assignment, &failed);
    wait_end(&op->wait, failed ? ERR_UNKNOWN_SERVER_ERROR : sync->error);
}

/* The texts are the request's own, and the assignment is in its arena. */
static void sync_mixed(struct group_entry *entry, struct sync_op *op)
{
    consumer_classic_sync(entry->consumer, &op->sync, op->wait.call.arena);
    op->response.protocol_type = op->sync.protocol_type_out;
    op->response.protocol_name = op->sync.protocol_out;
    op->response.assignment = op->sync.assignment;
    op->wait.ended = true;
    end_when_durable(entry, &op->stored, &op->wait.call, op->sync.error);
}

static void sync_run(struct groups *groups, struct group_call *call)
{
    struct sync_op *op = container_of(call, struct sync_op, wait.call);
    struct group_entry *entry = find_mixed(groups, op->request.group_id);
    if (entry) {
        sync_mixed(entry, op);
        return;
    }
    entry = groups_find_classic(groups, op->request.group_id);
    if (!entry) {
        wait_end(&op->wait, ERR_UNKNOWN_MEMBER_ID);
        return;
    }
    group_sync(entry->group, &op->sync);
    groups_settle(entry);
}

static void sync_cancel(struct wait *wait)
{
    struct sync_op *op = container_of(wait, struct sync_op, wait);
    struct group *g = op->sync.group;
    if (!g)
        return;
    struct group_entry *entry = g->user;
    group_sync_cancel(&op->sync, ERR_REBALANCE_IN_PROGRESS);
    groups_settle(entry);
}

/* While it loads nobody knows better than to join again (G3). */
static void sync_answer(struct wait *wait)
{
    struct sync_op *op = container_of(wait, struct sync_op, wait);
    enum err error = wait->call.error;
    if (error == ERR_COORDINATOR_LOAD_IN_PROGRESS)
        error = ERR_REBALANCE_IN_PROGRESS;
    op->response.error_code = (int16_t)error;
    api_work_answer(&wait->work, KAFKA_SYNC_GROUP_RESPONSE, &op->response);
}

static bool sync_prepare(struct sync_op *op, struct request *q)
{
    const struct sync_group_request *request = &op->request;
    size_t count = (size_t)max_i64(request->assignments_count, 0);
    struct group_assignment *assignments = arena_array(&q->arena, count, sizeof(*assignments));
    if (!assignments)
        return false;
    for (size_t i = 0; i < count; i++)
        assignments[i] =
            (struct group_assignment){.member_id = request->assignments[i].member_id,
                                      .assignment = request->assignments[i].assignment};
    op->sync = (struct group_sync){
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .generation = request->generation_id,
        .protocol_type = request->protocol_type,
        .protocol = request->protocol_name,
        .assignments = assignments,
        .assignment_count = (uint32_t)count,
        .done = on_synced,
    };
    return true;
}

void api_sync_group(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct sync_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->wait.work, q);
    init_sync_group_response(&op->response);
    if (!read_sync_group_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !sync_prepare(op, q)) {
        api_malformed(q);
        return;
    }
    op->wait.call.run = sync_run;
    op->wait.cancel = sync_cancel;
    op->wait.answer = sync_answer;
    bool unsaid = op->request.protocol_type.len < 0 || op->request.protocol_name.len < 0;
    op->wait.call.error = q->header.request_api_version >= SYNC_PROTOCOL_VERSION && unsaid
                              ? ERR_INCONSISTENT_GROUP_PROTOCOL
                              : check_group(q, op->request.group_id);
    if (op->wait.call.error == ERR_NONE)
        wait_start(&op->wait, q, op->request.group_id);
    else
        sync_answer(&op->wait);
}

/* ---- Heartbeat ---- */

struct heartbeat_op {
    struct group_call call;
    struct group_wait stored;
    struct request *q;
    struct heartbeat_request request;
};

static void heartbeat_run(struct groups *groups, struct group_call *call)
{
    struct heartbeat_op *op = container_of(call, struct heartbeat_op, call);
    struct group_entry *entry = find_mixed(groups, op->request.group_id);
    enum err error = ERR_UNKNOWN_MEMBER_ID;
    if (entry) {
        error =
            consumer_classic_heartbeat(entry->consumer, op->request.member_id,
                                       op->request.group_instance_id, op->request.generation_id);
        end_when_durable(entry, &op->stored, call, error);
        return;
    }
    entry = groups_find_classic(groups, op->request.group_id);
    if (entry) {
        error = group_heartbeat(entry->group, op->request.member_id, op->request.group_instance_id,
                                op->request.generation_id);
        groups_settle(entry);
    }
    group_call_end(call, error);
}

static void heartbeat_answer(struct group_call *call)
{
    struct heartbeat_op *op = container_of(call, struct heartbeat_op, call);
    struct heartbeat_response response;
    init_heartbeat_response(&response);
    if (call->error != ERR_COORDINATOR_LOAD_IN_PROGRESS) /* it will be known soon (G3) */
        response.error_code = (int16_t)call->error;
    api_answer(op->q, KAFKA_HEARTBEAT_RESPONSE, &response);
}

void api_heartbeat(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct heartbeat_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    if (!read_heartbeat_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    op->q = q;
    op->call = (struct group_call){.group_id = op->request.group_id,
                                   .arena = &q->arena,
                                   .run = heartbeat_run,
                                   .done = heartbeat_answer};
    op->call.error = check_group(q, op->request.group_id);
    if (op->call.error == ERR_NONE)
        group_call_start(bs, &op->call);
    else
        heartbeat_answer(&op->call);
}

/* ---- LeaveGroup ---- */

struct leave_op {
    struct group_call call;
    struct group_wait stored;
    struct request *q;
    struct leave_group_request request;
    struct leave_group_response response;
};

static void leave_mixed(struct group_entry *entry, struct leave_op *op)
{
    bool left = false;
    for (int32_t i = 0; i < op->request.members_count; i++) {
        const struct leave_group_request_member *in = &op->request.members[i];
        const enum err error =
            consumer_classic_leave(entry->consumer, in->member_id, in->group_instance_id);
        op->response.members[i].error_code = (int16_t)error;
        left |= error == ERR_NONE;
    }
    if (left)
        consumer_classic_left(entry->consumer);
    end_when_durable(entry, &op->stored, &op->call, ERR_NONE);
}

static void leave_run(struct groups *groups, struct group_call *call)
{
    struct leave_op *op = container_of(call, struct leave_op, call);
    struct group_entry *entry = find_mixed(groups, op->request.group_id);
    if (entry) {
        leave_mixed(entry, op);
        return;
    }
    entry = groups_find_classic(groups, op->request.group_id);
    for (int32_t i = 0; i < op->request.members_count; i++) {
        const struct leave_group_request_member *in = &op->request.members[i];
        enum err error = ERR_UNKNOWN_MEMBER_ID;
        if (entry && io_mutation(shard_here()->io, "group.leaver_stays"))
            error = ERR_NONE;
        else if (entry)
            error = group_leave(entry->group, in->member_id, in->group_instance_id);
        op->response.members[i].error_code = (int16_t)error;
    }
    if (entry)
        groups_settle(entry);
    group_call_end(call, ERR_NONE);
}

/* Old versions know one member, whose error is the answer's. */
static void leave_answer(struct group_call *call)
{
    struct leave_op *op = container_of(call, struct leave_op, call);
    bool batch = op->q->header.request_api_version >= LEAVE_BATCH_VERSION;
    op->response.error_code = (int16_t)call->error;
    if (call->error == ERR_NONE && !batch)
        op->response.error_code = op->response.members[0].error_code;
    if (call->error != ERR_NONE || !batch)
        op->response.members_count = 0;
    api_answer(op->q, KAFKA_LEAVE_GROUP_RESPONSE, &op->response);
}

static bool leave_prepare(struct leave_op *op, struct request *q)
{
    struct leave_group_request *request = &op->request;
    if (q->header.request_api_version < LEAVE_BATCH_VERSION) {
        request->members = arena_array(&q->arena, 1, sizeof(*request->members));
        if (!request->members)
            return false;
        init_leave_group_request_member(&request->members[0]);
        request->members[0].member_id = request->member_id;
        request->members_count = 1;
    }
    int32_t count = (int32_t)max_i64(request->members_count, 0);
    op->response.members = arena_array(&q->arena, (size_t)count, sizeof(*op->response.members));
    if (!op->response.members)
        return false;
    for (int32_t i = 0; i < count; i++) {
        init_leave_group_response_member(&op->response.members[i]);
        op->response.members[i].member_id = request->members[i].member_id;
        op->response.members[i].group_instance_id = request->members[i].group_instance_id;
    }
    op->response.members_count = count;
    return true;
}

void api_leave_group(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct leave_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    init_leave_group_response(&op->response);
    if (!read_leave_group_request(&rd, &q->arena, q->header.request_api_version, &op->request) ||
        !leave_prepare(op, q)) {
        api_malformed(q);
        return;
    }
    op->q = q;
    op->call = (struct group_call){.group_id = op->request.group_id,
                                   .arena = &q->arena,
                                   .run = leave_run,
                                   .done = leave_answer};
    op->call.error = check_group(q, op->request.group_id);
    if (op->call.error == ERR_NONE)
        group_call_start(bs, &op->call);
    else
        leave_answer(&op->call);
}
