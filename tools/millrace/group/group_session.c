/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/group/group_session.h"

#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/group/assignor.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH_MAX      (256U << 20)
#define JOIN_SLACK_MS    5000 /* a join may take the rebalance timeout; so much longer for its way */
#define PATIENCE_TRIES   2U   /* request timeouts without any answer, then it ends */
#define OFFSET_COMMIT_AS 9    /* newer ones name topics by their ids */
#define SUBSCRIPTION_AS  0    /* the version of the bytes: what is in newer ones is not wanted */

void group_session_init(struct group_session *g, struct session *s, const char *group,
                        const char *const *topics, uint32_t topic_count)
{
    *g = (struct group_session){.s = s,
                                .group = group,
                                .topics = topics,
                                .topic_count = topic_count,
                                .member_id = mem_strdup(""),
                                .generation = -1};
    g->partition_counts = mem_zalloc((topic_count + 1) * sizeof(*g->partition_counts));
    arena_init(&g->scratch, SCRATCH_MAX);
}

void group_session_fini(struct group_session *g)
{
    arena_fini(&g->scratch);
    mem_free(g->partition_counts);
    mem_free(g->member_id);
}

static void set_member_id(struct group_session *g, struct str id)
{
    char *copy = mem_zalloc((size_t)max_i64(id.len, 0) + 1);
    if (id.len > 0)
        memcpy(copy, id.data, (size_t)id.len);
    mem_free(g->member_id);
    g->member_id = copy;
}

static struct str instance_id(const struct group_session *g)
{
    const char *text = g->s->settings.group_instance_id;
    return text[0] ? str_of(text) : str_null();
}

static bool stopped(const struct group_session *g)
{
    return g->s->stop && *g->s->stop;
}

/* ---- asking the coordinator ---- */

/* One request; EXIT_UNREACHABLE when the coordinator is not there, which is not said. */
static int ask(struct group_session *g, int16_t key, const void *request, void *response,
               int64_t timeout_ms)
{
    struct session *s = g->s;
    s->hush = true;
    int code = EXIT_UNREACHABLE;
    if (!g->coordinator)
        g->coordinator = group_coordinator_apart(s, g->group);
    if (g->coordinator)
        code = session_call_for(s, g->coordinator, key,
                                key == KEY_OFFSET_COMMIT ? OFFSET_COMMIT_AS : CLIENT_NEWEST,
                                request, response, &g->scratch, timeout_ms);
    s->hush = false;
    if (code == EXIT_OK)
        g->answered_ns = session_now_ns(s);
    if (code == EXIT_UNREACHABLE)
        g->coordinator = NULL;
    return code;
}

/* The coordinator is not there: is that for too long now? Says so. */
static int unreachable(const struct group_session *g)
{
    uint64_t patience_ns = PATIENCE_TRIES * (uint64_t)g->s->settings.request_timeout_ms * NS_PER_MS;
    if (session_now_ns(g->s) - g->answered_ns <= patience_ns)
        return EXIT_OK;
    complain(g->s->inv, "group '%s': its coordinator has not answered for %lld s", g->group,
             (long long)(patience_ns / 1000000000U));
    return EXIT_UNREACHABLE;
}

enum verdict { VERDICT_GOOD, VERDICT_JOIN, VERDICT_RETRY, VERDICT_FATAL };

/* What an error of the coordinator means for the membership. */
static enum verdict judge(struct group_session *g, int16_t error)
{
    switch (error) {
    case ERR_NONE:
        return VERDICT_GOOD;
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_NOT_COORDINATOR:
        g->coordinator = NULL;
        return VERDICT_RETRY;
    case ERR_UNKNOWN_MEMBER_ID:
        set_member_id(g, str_null());
        g->generation = -1;
        return VERDICT_JOIN;
    case ERR_ILLEGAL_GENERATION:
        g->generation = -1;
        return VERDICT_JOIN;
    case ERR_REBALANCE_IN_PROGRESS:
    case ERR_MEMBER_ID_REQUIRED:
        return VERDICT_JOIN;
    default:
        return VERDICT_FATAL;
    }
}

static int fatal(const struct group_session *g, int16_t error)
{
    char thing[320];
    (void)snprintf(thing, sizeof(thing), "group '%s'", g->group);
    int code = broker_error(g->s, thing, error, str_null());
    if (error == ERR_INCONSISTENT_GROUP_PROTOCOL)
        fprintf(stderr, "next:  its members must know the assignor range or roundrobin\n");
    return code;
}

/* ---- the leader's work ---- */

static struct bytes flat(struct arena *arena, struct wr *w)
{
    uint64_t len = wr_len(w);
    uint8_t *bytes = arena_alloc(arena, len);
    must(bytes && !w->bad && len <= INT32_MAX);
    uint8_t *at = bytes;
    for (const struct out_part *part = wr_finish(w); part; part = part->next) {
        memcpy(at, part->data, part->len);
        at += part->len;
    }
    return (struct bytes){.data = bytes, .len = (int32_t)len};
}

static struct bytes subscription_bytes(struct group_session *g)
{
    struct consumer_protocol_subscription subscription;
    init_consumer_protocol_subscription(&subscription);
    subscription.topics = arena_array(&g->scratch, g->topic_count, sizeof(*subscription.topics));
    must(subscription.topics != NULL);
    subscription.topics_count = (int32_t)g->topic_count;
    for (uint32_t i = 0; i < g->topic_count; i++)
        subscription.topics[i] = str_of(g->topics[i]);
    subscription.user_data.len = -1;
    struct wr w;
    wr_init(&w, &g->scratch);
    wr_i16(&w, SUBSCRIPTION_AS);
    write_consumer_protocol_subscription(&w, SUBSCRIPTION_AS, &subscription);
    return flat(&g->scratch, &w);
}

static struct bytes assignment_bytes(struct group_session *g,
                                     const struct consumer_protocol_assignment *assignment)
{
    struct wr w;
    wr_init(&w, &g->scratch);
    wr_i16(&w, SUBSCRIPTION_AS);
    write_consumer_protocol_assignment(&w, SUBSCRIPTION_AS, assignment);
    return flat(&g->scratch, &w);
}

static int32_t partitions_of(const struct metadata_response *metadata, struct str name)
{
    for (int32_t i = 0; i < metadata->topics_count; i++)
        if (str_equal(metadata->topics[i].name, name) && metadata->topics[i].error_code == ERR_NONE)
            return metadata->topics[i].partitions_count;
    return -1;
}

static int by_text(const void *a, const void *b)
{
    return text_order(*(const struct str *)a, *(const struct str *)b);
}

/* Every topic that a member wants, each once, with its number of partitions. */
static int topics_of(struct group_session *g, const struct assignor_member *members, uint32_t count,
                     struct assignor_topic **topics, uint32_t *topic_count)
{
    struct session *s = g->s;
    size_t room = 0;
    for (uint32_t i = 0; i < count; i++)
        room += (size_t)members[i].topic_count;
    struct str *all = arena_array(&g->scratch, room, sizeof(*all));
    const char **names = arena_array(&g->scratch, room, sizeof(*names));
    *topics = arena_array(&g->scratch, room, sizeof(**topics));
    must(all && names && *topics);
    size_t wanted = 0;
    for (uint32_t i = 0; i < count; i++)
        for (int32_t t = 0; t < members[i].topic_count; t++)
            all[wanted++] = members[i].topics[t];
    if (wanted > 1)
        qsort(all, wanted, sizeof(*all), by_text);
    *topic_count = 0;
    for (size_t i = 0; i < wanted; i++)
        if (i == 0 || !str_equal(all[i], all[i - 1])) {
            names[*topic_count] = text_of(s, all[i]);
            (*topics)[(*topic_count)++].name = all[i];
        }
    struct metadata_response metadata;
    int code = cluster_metadata(s, names, *topic_count, false, &metadata);
    for (uint32_t i = 0; code == EXIT_OK && i < *topic_count; i++)
        (*topics)[i].partitions = (int32_t)max_i64(partitions_of(&metadata, (*topics)[i].name), 0);
    for (uint32_t i = 0; code == EXIT_OK && i < g->topic_count; i++)
        g->partition_counts[i] = partitions_of(&metadata, str_of(g->topics[i]));
    return code;
}

static int assign(struct group_session *g, const struct join_group_response *joined,
                  struct sync_group_request *sync)
{
    uint32_t count = (uint32_t)max_i64(joined->members_count, 0);
    struct assignor_member *members = arena_array(&g->scratch, count, sizeof(*members));
    sync->assignments = arena_array(&g->scratch, count, sizeof(*sync->assignments));
    must(members && sync->assignments);
    for (uint32_t i = 0; i < count; i++) {
        struct consumer_protocol_subscription subscription;
        const struct join_group_response_member *member = &joined->members[i];
        members[i] = (struct assignor_member){.id = member->member_id,
                                              .instance_id = member->group_instance_id};
        if (group_subscription(g->s, member->metadata, &subscription)) {
            members[i].topics = subscription.topics;
            members[i].topic_count = subscription.topics_count;
        }
    }
    struct assignor_topic *topics;
    uint32_t topic_count;
    int code = topics_of(g, members, count, &topics, &topic_count);
    if (code != EXIT_OK)
        return code;
    enum assignor assignor = assignor_find(str_of(g->protocol));
    must(assignor < ASSIGNOR_COUNT); /* nothing else was offered */
    if (!assignor_run(assignor, members, count, topics, topic_count, &g->scratch)) {
        complain(g->s->inv, "group '%s' is too large to be led from here", g->group);
        return EXIT_FAILED;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sync_group_request_assignment *to = &sync->assignments[sync->assignments_count++];
        init_sync_group_request_assignment(to);
        to->member_id = members[i].id;
        to->assignment = assignment_bytes(g, &members[i].assignment);
    }
    return EXIT_OK;
}

/* ---- joining ---- */

static int join(struct group_session *g, struct join_group_response *response)
{
    const struct settings *settings = &g->s->settings;
    struct join_group_request request;
    struct join_group_request_protocol protocols[ASSIGNOR_COUNT];
    init_join_group_request(&request);
    request.group_id = str_of(g->group);
    request.session_timeout_ms = (int32_t)settings->session_timeout_ms;
    request.rebalance_timeout_ms = (int32_t)settings->max_poll_interval_ms;
    request.member_id = str_of(g->member_id);
    request.group_instance_id = instance_id(g);
    request.protocol_type = str_of("consumer");
    request.protocols = protocols;
    request.protocols_count = ASSIGNOR_COUNT;
    for (unsigned i = 0; i < ASSIGNOR_COUNT; i++) {
        init_join_group_request_protocol(&protocols[i]);
        protocols[i].name = str_of(assignor_name((enum assignor)i));
        protocols[i].metadata = subscription_bytes(g);
    }
    int code =
        ask(g, KEY_JOIN_GROUP, &request, response,
            max_i64(settings->max_poll_interval_ms + JOIN_SLACK_MS, settings->request_timeout_ms));
    if (code != EXIT_OK)
        return code;
    if (response->error_code == ERR_NONE || response->error_code == ERR_MEMBER_ID_REQUIRED)
        set_member_id(g, response->member_id);
    if (response->error_code == ERR_NONE) {
        g->generation = response->generation_id;
        g->leads = str_equal(response->leader, response->member_id);
        (void)snprintf(g->protocol, sizeof(g->protocol), "%.*s",
                       (int)max_i64(response->protocol_name.len, 0), response->protocol_name.data);
    }
    return EXIT_OK;
}

static int sync_group(struct group_session *g, const struct join_group_response *joined,
                      struct sync_group_response *response)
{
    struct sync_group_request request;
    init_sync_group_request(&request);
    request.group_id = str_of(g->group);
    request.generation_id = g->generation;
    request.member_id = str_of(g->member_id);
    request.group_instance_id = instance_id(g);
    request.protocol_type = str_of("consumer");
    request.protocol_name = str_of(g->protocol);
    int code = EXIT_OK;
    if (g->leads && !joined->skip_assignment)
        code = assign(g, joined, &request);
    if (code != EXIT_OK)
        return code;
    return ask(g, KEY_SYNC_GROUP, &request, response,
               max_i64(g->s->settings.max_poll_interval_ms + JOIN_SLACK_MS,
                       g->s->settings.request_timeout_ms));
}

/* One attempt; *error is the coordinator's word. */
static int join_once(struct group_session *g, struct sync_group_response *synced, int16_t *error)
{
    struct join_group_response joined;
    int code = join(g, &joined);
    *error = joined.error_code;
    if (code != EXIT_OK || *error != ERR_NONE)
        return code;
    code = sync_group(g, &joined, synced);
    *error = synced->error_code;
    return code;
}

/* The partitions that were given, with what is committed in them. */
static int take_assignment(struct group_session *g, struct bytes bytes,
                           struct group_partitions *assigned)
{
    struct consumer_protocol_assignment assignment;
    struct group_partitions committed = {0};
    *assigned = (struct group_partitions){0};
    if (bytes.len <= 0) /* the leader knows no partition for this member */
        return EXIT_OK;
    if (!group_assignment(g->s, bytes, &assignment)) {
        complain(g->s->inv, "group '%s': the leader's assignment cannot be read", g->group);
        return EXIT_FAILED;
    }
    int code = group_committed(g->s, g->group, &committed);
    for (int32_t t = 0; code == EXIT_OK && t < assignment.assigned_partitions_count; t++) {
        const struct consumer_protocol_assignment_assigned_partition *topic =
            &assignment.assigned_partitions[t];
        struct str name = str_of(text_of(g->s, topic->topic)); /* out of the scratch */
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            struct group_partition *found =
                group_partition_of(g->s, &committed, name, topic->partitions[p]);
            *group_partition_of(g->s, assigned, name, topic->partitions[p]) = *found;
        }
    }
    return code;
}

static void joined(struct group_session *g)
{
    const struct settings *settings = &g->s->settings;
    uint64_t now_ns = session_now_ns(g->s);
    g->joined = true;
    g->heartbeat_at_ns = now_ns + (uint64_t)settings->heartbeat_interval_ms * NS_PER_MS;
    g->commit_at_ns = now_ns + (uint64_t)settings->auto_commit_interval_ms * NS_PER_MS;
    g->look_at_ns = now_ns + (uint64_t)settings->metadata_max_age_ms * NS_PER_MS;
}

int group_session_join(struct group_session *g, struct group_partitions *assigned)
{
    struct session *s = g->s;
    g->joined = false;
    g->answered_ns = session_now_ns(s);
    while (!stopped(g)) {
        struct sync_group_response synced = {0};
        int16_t error = ERR_NONE;
        arena_reset(&g->scratch);
        int code = join_once(g, &synced, &error);
        if (code == EXIT_UNREACHABLE && unreachable(g) == EXIT_OK)
            error = ERR_COORDINATOR_NOT_AVAILABLE;
        else if (code != EXIT_OK)
            return code;
        enum verdict verdict = judge(g, error);
        if (verdict == VERDICT_FATAL)
            return fatal(g, error);
        if (verdict == VERDICT_GOOD) {
            joined(g);
            return take_assignment(g, synced.assignment, assigned);
        }
        if (verdict == VERDICT_RETRY)
            session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
    return EXIT_INTERRUPTED;
}

/* ---- staying ---- */

static int heartbeat(struct group_session *g)
{
    const struct settings *settings = &g->s->settings;
    struct heartbeat_request request;
    struct heartbeat_response response;
    arena_reset(&g->scratch);
    init_heartbeat_request(&request);
    request.group_id = str_of(g->group);
    request.generation_id = g->generation;
    request.member_id = str_of(g->member_id);
    request.group_instance_id = instance_id(g);
    g->heartbeat_at_ns =
        session_now_ns(g->s) + (uint64_t)settings->heartbeat_interval_ms * NS_PER_MS;
    int code = ask(g, KEY_HEARTBEAT, &request, &response, settings->session_timeout_ms);
    if (code == EXIT_UNREACHABLE)
        return unreachable(g); /* the next one finds it, or it joins again */
    if (code != EXIT_OK)
        return code;
    enum verdict verdict = judge(g, response.error_code);
    g->joined = verdict != VERDICT_JOIN;
    return verdict == VERDICT_FATAL ? fatal(g, response.error_code) : EXIT_OK;
}

/* The leader sees to it that partitions which are added find a reader. */
static void look_at_topics(struct group_session *g)
{
    struct session *s = g->s;
    struct metadata_response metadata;
    g->look_at_ns = session_now_ns(s) + (uint64_t)s->settings.metadata_max_age_ms * NS_PER_MS;
    s->hush = true;
    int code = g->leads ? cluster_metadata(s, g->topics, g->topic_count, false, &metadata)
                        : EXIT_UNREACHABLE;
    s->hush = false;
    for (uint32_t i = 0; code == EXIT_OK && i < g->topic_count; i++)
        if (partitions_of(&metadata, str_of(g->topics[i])) != g->partition_counts[i])
            g->joined = false;
}

int group_session_keep(struct group_session *g)
{
    uint64_t now_ns = session_now_ns(g->s);
    int code = EXIT_OK;
    if (g->joined && now_ns >= g->heartbeat_at_ns)
        code = heartbeat(g);
    if (code == EXIT_OK && g->joined && now_ns >= g->look_at_ns)
        look_at_topics(g);
    return code;
}

uint64_t group_session_next_ns(const struct group_session *g)
{
    uint64_t next_ns = min_u64(g->heartbeat_at_ns, g->look_at_ns);
    return g->s->settings.auto_commit ? min_u64(next_ns, g->commit_at_ns) : next_ns;
}

/* ---- committing ---- */

bool group_session_commit_due(const struct group_session *g)
{
    return g->s->settings.auto_commit && session_now_ns(g->s) >= g->commit_at_ns;
}

/* How many partitions are in it. */
static uint32_t commit_request(struct group_session *g, const struct fetch_plan *plan,
                               struct offset_commit_request *request)
{
    init_offset_commit_request(request);
    request->group_id = str_of(g->group);
    request->generation_id_or_member_epoch = g->generation;
    request->member_id = str_of(g->member_id);
    request->group_instance_id = instance_id(g);
    request->topics = arena_array(&g->scratch, plan->count, sizeof(*request->topics));
    struct offset_commit_request_partition *partitions =
        arena_array(&g->scratch, plan->count, sizeof(*partitions));
    must(request->topics && partitions);
    struct offset_commit_request_topic *topic = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct fetch_part *part = &plan->parts[i];
        if (part->next == part->committed)
            continue;
        if (!topic || !str_equal(topic->name, str_of(part->topic))) {
            topic = &request->topics[request->topics_count++];
            init_offset_commit_request_topic(topic);
            topic->name = str_of(part->topic);
            topic->partitions = &partitions[count];
        }
        struct offset_commit_request_partition *partition = &partitions[count++];
        init_offset_commit_request_partition(partition);
        partition->partition_index = part->partition;
        partition->committed_offset = part->next;
        partition->committed_metadata = str_of("");
        topic->partitions_count++;
    }
    return count;
}

static int16_t take_committed(const struct offset_commit_request *request,
                              const struct offset_commit_response *response,
                              struct fetch_plan *plan)
{
    int16_t error = ERR_NONE;
    for (int32_t t = 0; t < response->topics_count; t++)
        for (int32_t p = 0; p < response->topics[t].partitions_count; p++)
            if (response->topics[t].partitions[p].error_code != ERR_NONE)
                error = response->topics[t].partitions[p].error_code;
    for (int32_t t = 0; error == ERR_NONE && t < request->topics_count; t++)
        for (int32_t p = 0; p < request->topics[t].partitions_count; p++)
            for (uint32_t i = 0; i < plan->count; i++)
                if (plan->parts[i].partition == request->topics[t].partitions[p].partition_index &&
                    str_equal(str_of(plan->parts[i].topic), request->topics[t].name))
                    plan->parts[i].committed = request->topics[t].partitions[p].committed_offset;
    return error;
}

int group_session_commit(struct group_session *g, struct fetch_plan *plan)
{
    struct session *s = g->s;
    struct offset_commit_request request;
    struct offset_commit_response response;
    g->commit_at_ns = session_now_ns(s) + (uint64_t)s->settings.auto_commit_interval_ms * NS_PER_MS;
    if (g->generation < 0 || !s->settings.auto_commit)
        return EXIT_OK;
    arena_reset(&g->scratch);
    if (commit_request(g, plan, &request) == 0)
        return EXIT_OK;
    int code = ask(g, KEY_OFFSET_COMMIT, &request, &response, s->settings.request_timeout_ms);
    if (code != EXIT_OK)
        return code == EXIT_UNREACHABLE ? EXIT_OK : code; /* the next commit says the same */
    int16_t error = take_committed(&request, &response, plan);
    enum verdict verdict = judge(g, error);
    if (verdict == VERDICT_JOIN)
        g->joined = false; /* what was read may be read again, by whoever gets it */
    return verdict == VERDICT_FATAL ? fatal(g, error) : EXIT_OK;
}

/* A static member stays: its partitions wait for it until the session ends. */
void group_session_leave(struct group_session *g)
{
    struct leave_group_request request;
    struct leave_group_response response;
    struct leave_group_request_member member;
    if (g->member_id[0] == 0 || instance_id(g).len > 0)
        return;
    arena_reset(&g->scratch);
    init_leave_group_request(&request);
    init_leave_group_request_member(&member);
    request.group_id = str_of(g->group);
    request.member_id = member.member_id = str_of(g->member_id);
    member.reason = str_of("the consumer ended");
    request.members = &member;
    request.members_count = 1;
    (void)ask(g, KEY_LEAVE_GROUP, &request, &response, g->s->settings.request_timeout_ms);
    g->joined = false;
    g->generation = -1;
}
