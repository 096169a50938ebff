/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeGroups, ListGroups and DeleteGroups (G15, G16).
 */
#include "core/api/api.h"
#include "core/api/group_series.h"
#include "core/group/group_write.h"

#include <string.h>

static struct str str_copy(struct arena *arena, struct str text, bool *full)
{
    const size_t len = (size_t)max_i64(text.len, 0);
    char *copy = arena_alloc(arena, len);
    if (!copy) {
        *full = true;
        return str_of("");
    }
    if (len > 0)
        memcpy(copy, text.data, len);
    return (struct str){copy, (int32_t)len};
}

static struct bytes bytes_copy(struct arena *arena, struct bytes bytes, bool *full)
{
    struct str copy = str_copy(arena, (struct str){(const char *)bytes.data, bytes.len}, full);
    return (struct bytes){(const uint8_t *)copy.data, copy.len};
}

/* ---- DescribeGroups ---- */

#define DESCRIBE_NOT_FOUND_VERSION 6 /* an unknown group is an error, and a sentence says so */

struct describe_op {
    struct group_series series;
    struct request *q;
    struct describe_groups_request request;
    struct describe_groups_response response;
};

/* Which metadata counts is only known of a group that stands; assignments stay what they were. */
static void describe_member(const struct group *g, const struct group_member *m,
                            struct arena *arena, struct describe_groups_response_member *out,
                            bool *full)
{
    init_describe_groups_response_member(out);
    out->member_id = str_copy(arena, m->id, full);
    if (m->instance_id.len >= 0)
        out->group_instance_id = str_copy(arena, m->instance_id, full);
    out->client_id = str_copy(arena, m->client_id, full);
    out->client_host = str_copy(arena, m->client_host, full);
    if (g->state == GROUP_STABLE)
        out->member_metadata = bytes_copy(arena, group_member_metadata(m, g->protocol), full);
    out->member_assignment = bytes_copy(arena, m->assignment, full);
}

static bool describe(const struct group *g, struct arena *arena,
                     struct describe_groups_response_group *out)
{
    bool full = false;
    out->group_state = str_of(group_state_name(g->state));
    out->protocol_type = str_copy(arena, g->protocol_type, &full);
    if (g->state == GROUP_STABLE)
        out->protocol_data = str_copy(arena, g->protocol, &full);
    out->members = arena_array(arena, g->member_count, sizeof(*out->members));
    if (!out->members)
        return false;
    for (const struct group_member *m = g->members; m; m = m->hh.next)
        describe_member(g, m, arena, &out->members[out->members_count++], &full);
    return !full;
}

static void describe_run(struct groups *groups, struct group_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, series.call);
    struct describe_groups_response_group *out = &op->response.groups[op->series.at];
    const struct group_entry *entry = groups_find_classic(groups, call->group_id);
    enum err error = ERR_NONE;
    if (!entry)
        error = ERR_GROUP_ID_NOT_FOUND;
    else if (!describe(entry->group, call->arena, out))
        error = ERR_UNKNOWN_SERVER_ERROR;
    group_call_end(call, error);
}

static void describe_begin(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    struct str id = op->request.groups[series->at];
    struct describe_groups_response_group *out = &op->response.groups[series->at];
    init_describe_groups_response_group(out);
    op->response.groups_count++;
    out->group_id = id;
    series->call.group_id = id;
    if (!api_may(op->q, OPERATION_DESCRIBE, RESOURCE_GROUP, id))
        series->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
    else if (op->request.include_authorized_operations)
        out->authorized_operations = api_operations(op->q, RESOURCE_GROUP, id);
}

static void describe_back(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    struct describe_groups_response_group *out = &op->response.groups[series->at];
    out->error_code = (int16_t)series->call.error;
    if (series->call.error != ERR_NONE)
        out->members_count = 0;
    if (series->call.error != ERR_GROUP_ID_NOT_FOUND)
        return;
    out->group_state = str_of(group_state_name(GROUP_DEAD));
    if (op->q->header.request_api_version < DESCRIBE_NOT_FOUND_VERSION) {
        out->error_code = ERR_NONE;
        return;
    }
    out->error_message = str_of("there is no such group");
    out->authorized_operations = INT32_MIN;
}

static void describe_end(struct group_series *series)
{
    struct describe_op *op = container_of(series, struct describe_op, series);
    api_work_answer(&series->work, KAFKA_DESCRIBE_GROUPS_RESPONSE, &op->response);
}

void api_describe_groups(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct describe_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_describe_groups_response(&op->response);
    if (!read_describe_groups_request(&rd, &q->arena, q->header.request_api_version,
                                      &op->request)) {
        api_malformed(q);
        return;
    }
    const size_t count = (size_t)max_i64(op->request.groups_count, 0);
    op->response.groups = arena_array(&q->arena, count, sizeof(*op->response.groups));
    if (!op->response.groups) {
        api_malformed(q);
        return;
    }
    op->series.count = (int32_t)count;
    op->series.call.run = describe_run;
    op->series.begin = describe_begin;
    op->series.back = describe_back;
    op->series.end = describe_end;
    group_series_start(&op->series, q);
}

/* ---- ListGroups ---- */

#define FILTERS       64U /* per step */
#define TYPE_CLASSIC  "classic"
#define TYPE_CONSUMER "consumer"

/* One shard after another adds its groups, in as many turns as it takes. */
struct list_op {
    struct api_work work;
    struct request *q;
    struct mail mail;
    struct task task; /* of the shard that it is on, as is the walk */
    struct group_walk walk;
    struct list_groups_request request;
    struct list_groups_response response;
    int32_t filter; /* the next to be looked at */
    bool wants_classic;
    bool wants_consumer;
    uint32_t classic;  /* bits (1 << state) of those that are wanted */
    uint32_t consumer; /* likewise */
    size_t room;       /* in response.groups */
    int32_t looked;    /* at how many of them, when all are there, and kept how many */
    int32_t kept;
    uint16_t shard;
    bool full; /* the arena */
};

static bool str_equal_any_case(struct str a, const char *b)
{
    return a.len >= 0 && (size_t)a.len == strlen(b) && strncasecmp(a.data, b, (size_t)a.len) == 0;
}

/* A state of no group and a type of no group are wanted in vain, as in Kafka. */
static void list_want_state(struct list_op *op, struct str name)
{
    for (unsigned state = 0; state < GROUP_STATE_COUNT; state++)
        if (str_equal_any_case(name, group_state_name((enum group_state)state)))
            op->classic |= 1U << state;
    for (unsigned state = 0; state < CONSUMER_STATE_COUNT; state++)
        if (str_equal_any_case(name, consumer_state_name((enum consumer_state)state)))
            op->consumer |= 1U << state;
}

static bool list_filter_step(struct api_work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    const struct list_groups_request *request = &op->request;
    for (unsigned i = 0; op->filter < request->states_filter_count && i < FILTERS; i++)
        list_want_state(op, request->states_filter[op->filter++]);
    return op->filter < request->states_filter_count;
}

static bool list_type_step(struct api_work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    const struct list_groups_request *request = &op->request;
    for (unsigned i = 0; op->filter < request->types_filter_count && i < FILTERS; i++) {
        const struct str type = request->types_filter[op->filter++];
        op->wants_classic |= str_equal_any_case(type, TYPE_CLASSIC);
        op->wants_consumer |= str_equal_any_case(type, TYPE_CONSUMER);
    }
    return op->filter < request->types_filter_count;
}

static bool list_wants(const struct list_op *op, const struct group_entry *entry)
{
    return entry->group
               ? op->wants_classic && (op->classic >> entry->group->state & 1U)
               : op->wants_consumer && (op->consumer >> consumer_group_state(entry->consumer) & 1U);
}

static struct list_groups_response_group *list_place(struct list_op *op)
{
    struct list_groups_response *response = &op->response;
    if ((size_t)response->groups_count == op->room) {
        const size_t room = op->room > 0 ? op->room * 2 : 64;
        struct list_groups_response_group *grown = arena_array(&op->q->arena, room, sizeof(*grown));
        if (!grown) {
            op->full = true;
            return NULL;
        }
        if (op->room > 0)
            memcpy(grown, response->groups, op->room * sizeof(*grown));
        response->groups = grown;
        op->room = room;
    }
    return &response->groups[response->groups_count++];
}

static void list_add(struct list_op *op, const struct group_entry *entry)
{
    struct arena *arena = &op->q->arena;
    const struct group *g = entry->group;
    if (!list_wants(op, entry))
        return;
    struct list_groups_response_group *out = list_place(op);
    if (!out)
        return;
    init_list_groups_response_group(out);
    out->group_id = str_copy(arena, entry->id, &op->full);
    out->protocol_type = g ? str_copy(arena, g->protocol_type, &op->full) : str_of("consumer");
    out->group_state = str_of(g ? group_state_name(g->state)
                                : consumer_state_name(consumer_group_state(entry->consumer)));
    out->group_type = str_of(g ? TYPE_CLASSIC : TYPE_CONSUMER);
}

static void list_next(struct list_op *op);

static void on_list_back(struct shard *here, struct mail *mail)
{
    (void)here;
    list_next(container_of(mail, struct list_op, mail));
}

static void list_step(struct shard *here, struct task *task)
{
    struct list_op *op = container_of(task, struct list_op, task);
    struct groups *groups = broker_shard_of(here)->groups;
    const uint64_t began_ns = io_clock_ns(here->io);
    const struct group_entry *entry;
    while (!op->full && (entry = group_walk_next(groups, &op->walk)) != NULL) {
        list_add(op, entry);
        if (shard_should_yield(here, began_ns)) {
            shard_ready(here, task);
            return;
        }
    }
    group_walk_end(&op->walk);
    if (groups_are_loading(groups))
        op->response.error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    shard_answer(here, &op->mail, on_list_back);
}

static void on_list(struct shard *here, struct mail *mail)
{
    struct list_op *op = container_of(mail, struct list_op, mail);
    op->task = (struct task){.fn = list_step, .name = "group.list"};
    list_step(here, &op->task);
}

/* Only what may be described is told. */
static bool list_may_step(struct api_work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    struct list_groups_response *response = &op->response;
    for (unsigned i = 0; op->looked < response->groups_count && i < FILTERS; i++) {
        const struct list_groups_response_group *group = &response->groups[op->looked++];
        if (api_may(op->q, OPERATION_DESCRIBE, RESOURCE_GROUP, group->group_id))
            response->groups[op->kept++] = *group;
    }
    return op->looked < response->groups_count;
}

static void list_answer(struct api_work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    struct list_groups_response *response = &op->response;
    response->groups_count = op->kept;
    if (op->full)
        response->error_code = ERR_UNKNOWN_SERVER_ERROR;
    api_work_answer(work, KAFKA_LIST_GROUPS_RESPONSE, response);
}

static void list_next(struct list_op *op)
{
    struct broker_shard *bs = api_shard(op->q);
    if (op->shard < bs->broker->shard_count)
        shard_post(bs->sh, op->shard++, &op->mail, on_list);
    else
        api_work_go(&op->work, list_may_step, list_answer);
}

static void list_types_known(struct api_work *work)
{
    list_next(container_of(work, struct list_op, work));
}

static void list_states_known(struct api_work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    op->filter = 0;
    api_work_go(work, list_type_step, list_types_known);
}

void api_list_groups(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct list_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    api_work_init(&op->work, q);
    op->q = q;
    init_list_groups_response(&op->response);
    if (!read_list_groups_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    if (op->request.states_filter_count <= 0)
        op->classic = op->consumer = UINT32_MAX;
    if (op->request.types_filter_count <= 0)
        op->wants_classic = op->wants_consumer = true;
    api_work_go(&op->work, list_filter_step, list_states_known);
}

/* ---- DeleteGroups ---- */

struct delete_op {
    struct group_series series;
    struct request *q;
    struct delete_groups_request request;
    struct delete_groups_response response;
    struct group_removal removal;
};

static void on_group_deleted(struct group_removal *removal)
{
    struct delete_op *op = container_of(removal, struct delete_op, removal);
    group_call_end(&op->series.call, removal->error);
}

static void delete_run(struct groups *groups, struct group_call *call)
{
    struct delete_op *op = container_of(call, struct delete_op, series.call);
    struct group_entry *entry = groups_find(groups, call->group_id);
    enum err error = ERR_NONE;
    if (!entry || group_entry_is_dead(entry))
        error = ERR_GROUP_ID_NOT_FOUND;
    else if (entry->group ? entry->group->state != GROUP_EMPTY : !group_entry_is_empty(entry))
        error = ERR_NON_EMPTY_GROUP;
    if (error != ERR_NONE) {
        group_call_end(call, error);
        return;
    }
    op->removal =
        (struct group_removal){.entry = entry, .group_too = true, .done = on_group_deleted};
    group_removal_start(&op->removal);
}

static void delete_begin(struct group_series *series)
{
    struct delete_op *op = container_of(series, struct delete_op, series);
    struct str id = op->request.groups_names[series->at];
    struct delete_groups_response_result *out = &op->response.results[series->at];
    init_delete_groups_response_result(out);
    op->response.results_count++;
    out->group_id = id;
    series->call.group_id = id;
    if (!api_may(op->q, OPERATION_DELETE, RESOURCE_GROUP, id))
        series->call.error = ERR_GROUP_AUTHORIZATION_FAILED;
}

static void delete_back(struct group_series *series)
{
    struct delete_op *op = container_of(series, struct delete_op, series);
    op->response.results[series->at].error_code = (int16_t)series->call.error;
}

static void delete_end(struct group_series *series)
{
    struct delete_op *op = container_of(series, struct delete_op, series);
    api_work_answer(&series->work, KAFKA_DELETE_GROUPS_RESPONSE, &op->response);
}

void api_delete_groups(struct broker_shard *bs, struct request *q)
{
    (void)bs;
    struct rd rd;
    struct delete_op *op = api_op_new(q, sizeof(*op), &rd);
    if (!op)
        return;
    op->q = q;
    init_delete_groups_response(&op->response);
    if (!read_delete_groups_request(&rd, &q->arena, q->header.request_api_version, &op->request)) {
        api_malformed(q);
        return;
    }
    const size_t count = (size_t)max_i64(op->request.groups_names_count, 0);
    op->response.results = arena_array(&q->arena, count, sizeof(*op->response.results));
    if (!op->response.results) {
        api_malformed(q);
        return;
    }
    op->series.count = (int32_t)count;
    op->series.call.run = delete_run;
    op->series.begin = delete_begin;
    op->series.back = delete_back;
    op->series.end = delete_end;
    group_series_start(&op->series, q);
}
