/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch: decode and session (what is asked), then core/api/fetch_read.c (what there is), then the
 * budget, what an incremental answer leaves out, and the answer. Records are in it by reference
 * only: core/api/fetch_pin.c.
 */
#include "core/api/fetch_private.h"
#include "core/log/aborted.h"
#include "core/quota.h"
#include "io/mem.h"

#include <math.h>
#include <string.h>

#define FETCH_SESSION_VERSION  7
#define FETCH_ZSTD_VERSION     10
#define FETCH_RACK_VERSION     11 /* consumers say where they are, and may read from followers */
#define FETCH_REPLICA_VERSION  15 /* replica_state in place of replica_id */
#define FETCH_TOPIC_ID_VERSION 13
#define SESSION_EPOCH_FULL     0
#define SESSION_EPOCH_NONE     (-1) /* no session, and the end of the one that is named */
#define ISOLATION_COMMITTED    1
#define FETCH_ITEMS            16U /* parts per step */
#define ANSWER_BYTES           32U /* of an answer beside its records, about */
#define PART_BYTES             48U /* likewise, for each partition */

static bool by_id(const struct fetch *f)
{
    return f->q->header.request_api_version >= FETCH_TOPIC_ID_VERSION;
}

static struct fetch_sessions *sessions_of(const struct fetch *f)
{
    return api_shard(f->q)->sessions;
}

/* ---- encode ---- */

static struct fetch_session_key session_key_of(const struct fetch_part *part)
{
    return (struct fetch_session_key){.partition = part->key.partition,
                                      .by_id = part->asked_by_id,
                                      .topic_id = part->key.topic_id,
                                      .topic = part->topic};
}

/* max.bytes in request order: the first partition with data keeps its first batch whatever its
 * size, the others what is left (F3). What does not hold one batch is left out: Java's consumer
 * takes records without a whole batch for an error. */
static void apply_budget(struct fetch *f)
{
    uint32_t left = f->bytes_max;
    bool first = true;
    for (uint32_t i = 0; i < f->part_count; i++) {
        struct fetch_part *part = &f->parts[i];
        if (part->range.length == 0)
            continue;
        if (!first) {
            uint32_t room = (uint32_t)min_i64(left, part->bytes_max);
            bool whole = room >= part->range.first ||
                         io_mutation(api_shard(f->q)->sh->io, "fetch.first_batch_cut");
            part->range.length = whole ? (uint32_t)min_u64(part->range.length, room) : 0;
        }
        first = false;
        left -= (uint32_t)min_u64(left, part->range.length);
    }
}

/* Told again only what has changed (S4). */
static bool worth_telling(const struct fetch_part *part, const struct fetch_session_partition *told)
{
    return !told || part->error != ERR_NONE || part->range.length > 0 ||
           part->diverging_epoch >= 0 || part->read_replica >= 0 ||
           told->high_watermark != part->high_watermark ||
           told->log_start_offset != part->log_start_offset;
}

static void session_told(struct fetch_session *session, struct fetch_session_partition *told,
                         const struct fetch_part *part)
{
    told->high_watermark = part->high_watermark; /* -1 after an error: then it is told again */
    told->log_start_offset = part->log_start_offset;
    if (part->range.length > 0)
        fetch_session_rotate(session, told);
}

static void endpoint_add(struct fetch_response *response, const struct api_leader *leader)
{
    for (int32_t i = 0; i < response->node_endpoints_count; i++)
        if (response->node_endpoints[i].node_id == leader->id)
            return;
    response->node_endpoints[response->node_endpoints_count++] =
        (struct fetch_response_node_endpoint){.node_id = leader->id,
                                              .host = leader->host,
                                              .port = leader->port,
                                              .rack = leader->rack};
}

static void leader_hint(struct fetch *f, const struct fetch_part *part,
                        struct fetch_response_partition *out)
{
    struct api_leader leader = api_leader_of(f->q, &part->key);
    out->current_leader.leader_id = leader.id;
    out->current_leader.leader_epoch = leader.epoch;
    if (leader.reachable && !f->response.node_endpoints)
        f->response.node_endpoints =
            arena_array(&f->q->arena, f->part_count, sizeof(*f->response.node_endpoints));
    if (leader.reachable && f->response.node_endpoints)
        endpoint_add(&f->response, &leader);
}

static int16_t error_for_version(int16_t error, int16_t version)
{
    /* Older than KAFKA_STORAGE_ERROR (F12). */
    if (error == ERR_KAFKA_STORAGE_ERROR && version <= 5)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    return error;
}

/* An empty list for those who asked for committed records, null for the others (F7). Without the
 * list the records must not leave. */
static void part_fill_aborted(struct fetch *f, const struct fetch_part *part,
                              struct fetch_response_partition *out)
{
    out->aborted_transactions_count = f->committed_only ? 0 : -1;
    if (part->aborted_count == 0)
        return;
    out->aborted_transactions =
        arena_array(&f->q->arena, part->aborted_count, sizeof(*out->aborted_transactions));
    if (!out->aborted_transactions) {
        f->failed = true;
        return;
    }
    out->aborted_transactions_count = (int32_t)part->aborted_count;
    for (uint32_t i = 0; i < part->aborted_count; i++)
        out->aborted_transactions[i] = (struct fetch_response_aborted_transaction){
            .producer_id = part->aborted[i].producer_id,
            .first_offset = part->aborted[i].first_offset};
}

static void part_fill_records(struct fetch *f, struct fetch_part *part,
                              struct fetch_response_partition *out)
{
    part->check = arena_alloc(&f->q->arena, sizeof(*part->check));
    if (!part->check) {
        f->failed = true;
        return;
    }
    part->check->begun = false;
    out->records = records_ref(part->range.length, (uint64_t)(uintptr_t)part);
}

static void part_fill(struct fetch *f, struct fetch_part *part,
                      struct fetch_response_partition *out)
{
    init_fetch_response_partition(out);
    out->partition_index = part->key.partition;
    out->error_code = error_for_version(part->error, f->q->header.request_api_version);
    out->high_watermark = part->high_watermark;
    out->last_stable_offset = part->last_stable_offset;
    out->log_start_offset = part->log_start_offset;
    if (part->diverging_epoch >= 0) {
        out->diverging_epoch.epoch = part->diverging_epoch;
        out->diverging_epoch.end_offset = part->diverging_end_offset;
    }
    out->preferred_read_replica = part->read_replica;
    part_fill_aborted(f, part, out);
    if (part->range.length > 0)
        part_fill_records(f, part, out);
    if (part->error == ERR_NOT_LEADER_OR_FOLLOWER || part->error == ERR_FENCED_LEADER_EPOCH)
        leader_hint(f, part, out);
}

static bool same_topic(const struct fetch_part *a, const struct fetch_part *b)
{
    if (a->asked_by_id)
        return memcmp(a->key.topic_id.bytes, b->key.topic_id.bytes,
                      sizeof(a->key.topic_id.bytes)) == 0;
    return str_equal(a->topic, b->topic);
}

static bool response_alloc(struct fetch *f)
{
    struct arena *arena = &f->q->arena;
    f->out = arena_array(arena, f->part_count, sizeof(*f->out));
    f->response.responses = arena_array(arena, f->part_count, sizeof(*f->response.responses));
    return f->out && f->response.responses;
}

static struct fetch_response_topic *topic_of(struct fetch *f, const struct fetch_part *part)
{
    struct fetch_response *response = &f->response;
    if (f->before && same_topic(f->before, part))
        return &response->responses[response->responses_count - 1];
    struct fetch_response_topic *topic = &response->responses[response->responses_count++];
    init_fetch_response_topic(topic);
    topic->topic = part->topic;
    topic->topic_id = part->key.topic_id;
    topic->partitions = f->out;
    return topic;
}

/* Parts in order; those of one topic that follow each other share an entry. */
static void part_tell(struct fetch *f, struct fetch_session *session, struct fetch_part *part)
{
    struct fetch_session_key key = session_key_of(part);
    struct fetch_session_partition *told = session ? fetch_session_get(session, &key) : NULL;
    bool tell = !f->incremental || worth_telling(part, told);
    if (told)
        session_told(session, told, part);
    if (!tell)
        return;
    struct fetch_response_topic *topic = topic_of(f, part);
    f->before = part;
    part_fill(f, part, f->out++);
    topic->partitions_count++;
}

/* The session is looked up in each step: it may have been evicted meanwhile. */
static bool tell_some(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    struct fetch_session *session = fetch_session_find(sessions_of(f), f->session_id);
    for (unsigned i = 0; i < FETCH_ITEMS; i++) {
        if (f->next == f->part_count)
            return false;
        part_tell(f, session, &f->parts[f->next++]);
    }
    return true;
}

static void forget_aborted(struct fetch *f)
{
    for (uint32_t i = 0; i < f->part_count; i++) {
        mem_free(f->parts[i].aborted);
        f->parts[i].aborted = NULL;
    }
}

static void on_told(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    forget_aborted(f);
    if (f->failed) {
        api_malformed(f->q);
        return;
    }
    f->response.session_id = f->session_id;
    api_work_answer(work, KAFKA_FETCH_RESPONSE, &f->response);
}

/* What a new session remembers of the request. */
static bool session_asked(const struct fetch *f, struct fetch_session *session,
                          const struct fetch_part *part)
{
    struct fetch_session_key key = session_key_of(part);
    struct fetch_session_partition *cached = fetch_session_put(session, &key);
    if (!cached)
        return false;
    if (!io_mutation(api_shard(f->q)->sh->io, "fetch.session_forgets_offset"))
        cached->offset = part->offset;
    cached->bytes_max = part->bytes_max;
    cached->current_leader_epoch = part->current_leader_epoch;
    cached->last_fetched_epoch = part->last_fetched_epoch;
    return true;
}

/* A session that cannot be kept is no session. */
static void session_drop(struct fetch *f)
{
    struct fetch_session *session = fetch_session_find(sessions_of(f), f->session_id);
    if (session)
        fetch_session_close(sessions_of(f), session);
    f->session_id = 0;
}

static bool remember_some(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    struct fetch_session *session = fetch_session_find(sessions_of(f), f->session_id);
    for (unsigned i = 0; i < FETCH_ITEMS; i++) {
        if (f->next == f->part_count)
            return false;
        if (!session || !session_asked(f, session, &f->parts[f->next++])) {
            session_drop(f);
            return false;
        }
    }
    return true;
}

static void on_remembered(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    f->next = 0;
    api_work_go(work, tell_some, on_told);
}

/* What it found counts, unless that is too much: then it is not told, the session stays as it is,
 * and the same is asked again after a rest (F13). */
static bool is_over_quota(struct fetch *f)
{
    uint64_t bytes = ANSWER_BYTES + (uint64_t)f->part_count * PART_BYTES;
    for (uint32_t i = 0; i < f->part_count; i++)
        bytes += f->parts[i].range.length;
    if (f->replica >= 0)
        return false;
    quota_time_settle(f->q);
    return f->q->mute_ns > 0 || quota_waits(f->q, QUOTA_FETCH, (double)bytes);
}

void fetch_finish(struct fetch *f)
{
    struct request *q = f->q;
    TAILQ_REMOVE(&sessions_of(f)->under_way, f, link);
    q->user = NULL;
    if (f->closing) {
        forget_aborted(f);
        request_silent(q);
        return;
    }
    apply_budget(f);
    if (is_over_quota(f)) {
        forget_aborted(f);
        f->response.session_id = f->session_id;
        api_work_answer(&f->work, KAFKA_FETCH_RESPONSE, &f->response);
        return;
    }
    if (!response_alloc(f)) {
        forget_aborted(f);
        api_malformed(q);
        return;
    }
    f->next = 0;
    struct fetch_session *session =
        f->session_new ? fetch_session_new(sessions_of(f), by_id(f), f->part_count) : NULL;
    if (session) {
        f->session_id = session->id;
        api_work_go(&f->work, remember_some, on_remembered);
    } else {
        api_work_go(&f->work, tell_some, on_told);
    }
}

static void answer_error(struct fetch *f, enum err error)
{
    f->response.error_code = (int16_t)error;
    api_work_answer(&f->work, KAFKA_FETCH_RESPONSE, &f->response);
}

/* ---- what is asked ---- */

static void part_resolve(struct fetch *f, struct fetch_part *part)
{
    struct request *q = f->q;
    const struct image *image = f->work.image;
    const struct topic_image *topic =
        part->asked_by_id ? image_topic_by_id(image, &part->key.topic_id)
                          : image_topic_by_name(image, part->topic.data, (size_t)part->topic.len);
    const struct partition_image *partition =
        topic ? image_partition(topic, part->key.partition) : NULL;
    part->diverging_epoch = -1;
    part->read_replica = -1;
    part->high_watermark = -1;
    part->last_stable_offset = -1;
    part->log_start_offset = -1;
    part->error = ERR_NONE;
    if (!topic && part->asked_by_id)
        part->error = ERR_UNKNOWN_TOPIC_ID;
    else if (!partition)
        part->error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    else if (!api_may(q, OPERATION_READ, RESOURCE_TOPIC, str_of(topic->name)))
        part->error = ERR_TOPIC_AUTHORIZATION_FAILED;
    if (part->error != ERR_NONE) {
        f->may_wait = false;
        return;
    }
    part->key.topic_id = topic->id;
    part->home = partition->home;
}

static void part_from_request(struct fetch_part *part, const struct fetch_request_topic *topic,
                              const struct fetch_request_partition *in, bool asked_by_id)
{
    *part = (struct fetch_part){
        .key = {.topic_id = topic->topic_id, .partition = in->partition},
        .topic = topic->topic,
        .asked_by_id = asked_by_id,
        .offset = in->fetch_offset,
        .bytes_max = (int32_t)max_i64(in->partition_max_bytes, 0),
        .current_leader_epoch = in->current_leader_epoch,
        .last_fetched_epoch = in->last_fetched_epoch,
    };
}

static bool parts_from_request(struct fetch *f)
{
    const struct fetch_request *request = &f->request;
    uint32_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        count += (uint32_t)request->topics[i].partitions_count;
    f->parts = arena_array(&f->q->arena, count, sizeof(*f->parts));
    if (!f->parts)
        return false;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct fetch_request_topic *topic = &request->topics[i];
        for (int32_t j = 0; j < topic->partitions_count; j++)
            part_from_request(&f->parts[f->part_count++], topic, &topic->partitions[j], by_id(f));
    }
    return true;
}

/* The session may be gone before the answer leaves: names are copied. */
static bool part_from_session(struct fetch *f, struct fetch_part *part,
                              const struct fetch_session_partition *cached)
{
    struct str topic = cached->topic;
    if (topic.len >= 0) {
        char *copy = arena_alloc(&f->q->arena, (size_t)topic.len);
        if (!copy)
            return false;
        memcpy(copy, topic.data, (size_t)topic.len);
        topic.data = copy;
    }
    *part = (struct fetch_part){
        .key = {.topic_id = cached->topic_id, .partition = cached->partition},
        .topic = topic,
        .asked_by_id = by_id(f),
        .offset = cached->offset,
        .bytes_max = cached->bytes_max,
        .current_leader_epoch = cached->current_leader_epoch,
        .last_fetched_epoch = cached->last_fetched_epoch,
    };
    return true;
}

static bool parts_from_session(struct fetch *f, struct fetch_session *session)
{
    f->parts = arena_array(&f->q->arena, session->count, sizeof(*f->parts));
    if (!f->parts)
        return false;
    const struct fetch_session_partition *cached;
    TAILQ_FOREACH (cached, &session->order, link)
        if (!part_from_session(f, &f->parts[f->part_count++], cached))
            return false;
    return true;
}

/* ---- sessions: which partitions a request is about (S1, S3, S4) ---- */

static bool session_update(struct fetch *f, struct fetch_session *session)
{
    const struct fetch_request *request = &f->request;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct fetch_request_topic *topic = &request->topics[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            struct fetch_part part;
            part_from_request(&part, topic, &topic->partitions[j], by_id(f));
            if (!session_asked(f, session, &part))
                return false;
        }
    }
    for (int32_t i = 0; i < request->forgotten_topics_data_count; i++) {
        const struct fetch_request_forgotten_topic *topic = &request->forgotten_topics_data[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            const struct fetch_session_key key = {.partition = topic->partitions[j],
                                                  .by_id = by_id(f),
                                                  .topic_id = topic->topic_id,
                                                  .topic = topic->topic};
            fetch_session_forget(session, &key);
        }
    }
    return true;
}

static enum err begin_incremental(struct fetch *f)
{
    struct fetch_sessions *sessions = sessions_of(f);
    struct fetch_session *session = fetch_session_find(sessions, f->request.session_id);
    if (!session)
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    if (session->epoch != f->request.session_epoch)
        return ERR_INVALID_FETCH_SESSION_EPOCH;
    if (session->by_id != by_id(f))
        return ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    if (!session_update(f, session)) { /* too large to be kept: start anew, without */
        fetch_session_close(sessions, session);
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    }
    fetch_session_use(sessions, session);
    f->session_id = session->id;
    f->incremental = true;
    if (!parts_from_session(f, session))
        return ERR_INVALID_REQUEST;
    if (session->count == 0) { /* nothing left to ask for: it is over (S5) */
        f->session_id = 0;
        fetch_session_close(sessions, session);
    }
    return ERR_NONE;
}

static enum err begin_full(struct fetch *f)
{
    const struct fetch_request *request = &f->request;
    if (request->session_id != 0) {
        struct fetch_session *old = fetch_session_find(sessions_of(f), request->session_id);
        if (old)
            fetch_session_close(sessions_of(f), old);
    }
    if (!parts_from_request(f))
        return ERR_INVALID_REQUEST;
    f->session_new = f->q->header.request_api_version >= FETCH_SESSION_VERSION &&
                     request->session_epoch == SESSION_EPOCH_FULL && f->part_count > 0;
    return ERR_NONE;
}

static enum err fetch_begin(struct fetch *f)
{
    const struct fetch_request *request = &f->request;
    const int16_t version = f->q->header.request_api_version;
    f->replica =
        version >= FETCH_REPLICA_VERSION ? request->replica_state.replica_id : request->replica_id;
    f->replica_epoch = version >= FETCH_REPLICA_VERSION ? request->replica_state.replica_epoch : -1;
    if (f->replica >= 0 && !api_is_broker(f->q, f->replica, f->replica_epoch))
        return ERR_CLUSTER_AUTHORIZATION_FAILED;
    if (version < FETCH_SESSION_VERSION || request->session_epoch == SESSION_EPOCH_FULL ||
        request->session_epoch == SESSION_EPOCH_NONE)
        return begin_full(f);
    return begin_incremental(f);
}

/* ---- the groups ---- */

static bool groups_make(struct fetch *f)
{
    uint16_t shards = api_shard(f->q)->broker->shard_count;
    uint32_t *counts = arena_array(&f->q->arena, shards, sizeof(*counts));
    f->groups = arena_array(&f->q->arena, shards, sizeof(*f->groups));
    struct fetch_part **slots =
        arena_array(&f->q->arena, f->part_count, sizeof(struct fetch_part *));
    if (!counts || !f->groups || !slots)
        return false;
    memset(counts, 0, shards * sizeof(*counts));
    for (uint32_t i = 0; i < f->part_count; i++)
        if (f->parts[i].error == ERR_NONE)
            counts[f->parts[i].home]++;
    for (uint16_t home = 0; home < shards; home++) {
        if (counts[home] == 0)
            continue;
        struct fetch_group *group = &f->groups[f->group_count++];
        *group = (struct fetch_group){.fetch = f, .home = home, .parts = slots};
        slots += counts[home];
        for (uint32_t i = 0; i < f->part_count; i++)
            if (f->parts[i].error == ERR_NONE && f->parts[i].home == home)
                group->parts[group->part_count++] = &f->parts[i];
    }
    return true;
}

static bool resolve_some(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    for (unsigned i = 0; i < FETCH_ITEMS; i++) {
        if (f->next == f->part_count)
            return false;
        part_resolve(f, &f->parts[f->next++]);
    }
    return true;
}

static void on_resolved(struct api_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);
    struct request *q = f->q;
    if (!groups_make(f)) {
        api_malformed(q);
        return;
    }
    if (!request_may_wait(q))
        f->may_wait = false;
    q->user = f;
    TAILQ_INSERT_TAIL(&api_shard(q)->sessions->under_way, f, link);
    fetch_read(f);
}

void api_fetch(struct broker_shard *bs, struct request *q)
{
    struct rd rd;
    struct fetch *f = api_op_new(q, sizeof(*f), &rd);
    if (!f)
        return;
    api_work_init(&f->work, q);
    f->q = q;
    init_fetch_response(&f->response);
    if (!read_fetch_request(&rd, &q->arena, q->header.request_api_version, &f->request)) {
        api_malformed(q);
        return;
    }
    enum err error = fetch_begin(f);
    if (error != ERR_NONE) {
        answer_error(f, error);
        return;
    }
    double most = bs->broker->conf->broker.fetch_max_bytes;
    q->untimed = f->replica >= 0;
    if (f->replica >= 0)
        q->family = FAMILY_FOLLOWER_FETCH;
    if (f->replica < 0)
        most = fmin(most, quota_most(q, QUOTA_FETCH)); /* more would never be served */
    f->bytes_max = (uint32_t)max_i64(min_i64(f->request.max_bytes, (int64_t)most), 0);
    f->bytes_min = (uint32_t)min_i64(max_i64(f->request.min_bytes, 0), f->bytes_max);
    f->committed_only = f->request.isolation_level == ISOLATION_COMMITTED;
    f->knows_zstd = f->q->header.request_api_version >= FETCH_ZSTD_VERSION;
    f->may_follow = f->replica < 0 && f->q->header.request_api_version >= FETCH_RACK_VERSION;
    f->may_wait = f->request.max_wait_ms > 0 && f->bytes_min > 0;
    api_work_go(&f->work, resolve_some, on_resolved);
}

/* ---- the end of things ---- */

void fetch_hurry(struct request *q)
{
    struct fetch *f = q->user;
    if (f)
        fetch_end(f);
}

void fetch_cancel(struct request *q)
{
    struct fetch *f = q->user;
    if (!f)
        return; /* it is being refused, or answered */
    f->closing = true;
    fetch_end(f);
}

void fetch_drain(struct broker_shard *bs)
{
    struct fetch *f;
    struct fetch *next;
    for (f = TAILQ_FIRST(&bs->sessions->under_way); f; f = next) {
        next = TAILQ_NEXT(f, link);
        fetch_end(f);
    }
}
