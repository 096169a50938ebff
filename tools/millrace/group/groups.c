/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/group/groups.h"

#include "io/mem.h"
#include "io/nearest.h"
#include "net/err.h"
#include "tools/millrace/group/consumer_describe.h"

#include <stdlib.h>
#include <string.h>

/* ---- the coordinator ---- */

static bool coordinator_moves(int16_t error)
{
    return error == ERR_COORDINATOR_LOAD_IN_PROGRESS || error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_NOT_COORDINATOR;
}

static int find_coordinator(struct session *s, const char *group,
                            struct find_coordinator_response *response)
{
    struct find_coordinator_request request;
    init_find_coordinator_request(&request);
    request.key = str_of(group);
    return session_call(s, NULL, KEY_FIND_COORDINATOR, 3, &request, response, &s->arena);
}

static int coordinator_error(const struct session *s, const char *group, int16_t error)
{
    char thing[320];
    (void)snprintf(thing, sizeof(thing), "group '%s'", group);
    return broker_error(s, thing, error, str_null());
}

/* Where it is; NULL, and said, when nobody knows. */
static struct broker_link *
coordinator_link(struct session *s, const char *group,
                 struct broker_link *(*connect)(struct session *s, int32_t node_id,
                                                const char *host, int32_t port))
{
    uint64_t until_ns = session_deadline_ns(s);
    for (;;) {
        struct find_coordinator_response response;
        if (find_coordinator(s, group, &response) != EXIT_OK)
            return NULL;
        if (response.error_code == ERR_NONE)
            return connect(s, response.node_id, text_of(s, response.host), response.port);
        if (!coordinator_moves(response.error_code) || session_now_ns(s) > until_ns) {
            (void)coordinator_error(s, group, response.error_code);
            return NULL;
        }
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
}

struct broker_link *group_coordinator(struct session *s, const char *group)
{
    return coordinator_link(s, group, session_broker);
}

struct broker_link *group_coordinator_apart(struct session *s, const char *group)
{
    return coordinator_link(s, group, session_broker_apart);
}

int group_call(struct session *s, const char *group, int16_t key, int16_t version_max,
               const void *request, void *response, int16_t (*error_of)(const void *response))
{
    uint64_t until_ns = session_deadline_ns(s);
    for (;;) {
        struct broker_link *link = group_coordinator(s, group);
        if (!link)
            return EXIT_UNREACHABLE;
        int code = session_call(s, link, key, version_max, request, response, &s->arena);
        if (code != EXIT_OK || !coordinator_moves(error_of(response)))
            return code;
        if (session_now_ns(s) > until_ns)
            return coordinator_error(s, group, error_of(response));
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
}

/* ---- listing ---- */

static int list_broker(struct session *s, struct broker_link *link,
                       const struct group_filter *filter, struct list_groups_response *response)
{
    struct list_groups_request request;
    init_list_groups_request(&request);
    request.states_filter = no_const(filter->states);
    request.states_filter_count = filter->state_count;
    request.types_filter = no_const(filter->types);
    request.types_filter_count = filter->type_count;
    int16_t version = client_version(&link->client, KEY_LIST_GROUPS, CLIENT_NEWEST);
    if ((filter->state_count > 0 && version < 4) || (filter->type_count > 0 && version < 5)) {
        char text[LINK_TEXT_SIZE];
        complain(s->inv, "%s is too old to choose groups by %s", link_text(link, text),
                 version < 4 ? "state" : "type");
        return EXIT_FAILED;
    }
    for (uint64_t until_ns = session_deadline_ns(s);;) {
        int code =
            session_call(s, link, KEY_LIST_GROUPS, CLIENT_NEWEST, &request, response, &s->arena);
        if (code != EXIT_OK || response->error_code == ERR_NONE)
            return code;
        if (!coordinator_moves(response->error_code) || session_now_ns(s) > until_ns)
            return broker_error(s, "groups", response->error_code, str_null());
        session_pause(s, (uint64_t)s->settings.retry_backoff_ms * NS_PER_MS);
    }
}

static int entry_by_name(const void *a, const void *b)
{
    return strcmp(((const struct group_entry *)a)->name, ((const struct group_entry *)b)->name);
}

/* Room for what a broker adds to those before it. */
static struct group_entry *entries_grown(struct session *s, const struct group_entry *entries,
                                         uint32_t count, uint32_t more)
{
    struct group_entry *grown =
        arena_array(&s->arena, (size_t)count + more, sizeof(struct group_entry));
    must(grown != NULL); /* as many as an answer that fitted has */
    if (count > 0)
        memcpy(grown, entries, count * sizeof(*grown));
    return grown;
}

int group_list(struct session *s, const struct group_filter *filter, struct group_entry **entries,
               uint32_t *count)
{
    static const char *const none[1];
    struct metadata_response metadata;
    *entries = NULL;
    *count = 0;
    int code = cluster_metadata(s, none, 0, false, &metadata);
    for (int32_t b = 0; code == EXIT_OK && b < metadata.brokers_count; b++) {
        struct list_groups_response response;
        struct broker_link *link = cluster_broker(s, &metadata, metadata.brokers[b].node_id);
        code = link ? list_broker(s, link, filter, &response) : EXIT_UNREACHABLE;
        if (code != EXIT_OK)
            return code;
        uint32_t more = (uint32_t)max_i64(response.groups_count, 0);
        *entries = entries_grown(s, *entries, *count, more);
        for (uint32_t i = 0; i < more; i++)
            (*entries)[(*count)++] = (struct group_entry){
                .name = text_of(s, response.groups[i].group_id),
                .protocol_type = text_of(s, response.groups[i].protocol_type),
                .state = text_of(s, response.groups[i].group_state),
                .type = text_of(s, response.groups[i].group_type),
                .broker = metadata.brokers[b].node_id,
            };
    }
    if (*count > 1)
        qsort(*entries, *count, sizeof(**entries), entry_by_name);
    return code;
}

int groups_asked(struct session *s, bool consumers, const char *const **names, uint32_t *count)
{
    const struct invocation *inv = s->inv;
    const struct group_filter none = {0};
    struct group_entry *entries;
    uint32_t found;
    *names = inv->operands;
    *count = inv->operand_count;
    if (!option_on(inv, "all-groups"))
        return *count > 0 ? EXIT_OK : usage_error(inv, "which groups? GROUP, or --all-groups");
    if (*count > 0)
        return usage_error(inv, "--all-groups and '%s' do not go together", inv->operands[0]);
    int code = group_list(s, &none, &entries, &found);
    const char **all = arena_array(&s->arena, found, sizeof(*all));
    must(all != NULL);
    for (uint32_t i = 0; code == EXIT_OK && i < found; i++)
        if (!consumers || !entries[i].protocol_type[0] ||
            strcmp(entries[i].protocol_type, "consumer") == 0)
            all[(*count)++] = entries[i].name;
    *names = all;
    return code;
}

int group_not_found(struct session *s, const char *name)
{
    const struct group_filter all = {0};
    struct group_entry *entries;
    uint32_t count;
    struct nearest nearest;
    nearest_begin(&nearest, name);
    if (group_list(s, &all, &entries, &count) == EXIT_OK)
        for (uint32_t i = 0; i < count; i++)
            (void)nearest_offer(&nearest, entries[i].name);
    complain(s->inv, "group '%s' not found%s", name, did_you_mean(nearest.found));
    if (!nearest.found)
        fprintf(stderr, "next:  millrace group list shows those that exist\n");
    return EXIT_PRESENCE;
}

/* ---- describing ---- */

static int16_t describe_error(const void *response)
{
    const struct describe_groups_response *described = response;
    return described->groups_count == 1 ? described->groups[0].error_code : ERR_NONE;
}

int group_describe(struct session *s, const char *name,
                   struct describe_groups_response_group *group)
{
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct str names[1] = {str_of(name)};
    init_describe_groups_request(&request);
    request.groups = names;
    request.groups_count = 1;
    int code = group_call(s, name, KEY_DESCRIBE_GROUPS, CLIENT_NEWEST, &request, &response,
                          describe_error);
    if (code != EXIT_OK)
        return code;
    if (response.groups_count != 1) {
        complain(s->inv, "group '%s': the answer is about %d groups", name, response.groups_count);
        return EXIT_FAILED;
    }
    *group = response.groups[0];
    if (group->error_code == ERR_NONE && str_equal(group->group_state, str_of("Dead")))
        group->error_code = ERR_GROUP_ID_NOT_FOUND;
    return group->error_code == ERR_GROUP_ID_NOT_FOUND ? consumer_describe(s, name, group)
                                                       : EXIT_OK;
}

bool group_is_empty(struct session *s, const char *name,
                    const struct describe_groups_response_group *group, const char *what)
{
    if (group->error_code == ERR_GROUP_ID_NOT_FOUND || group->members_count == 0)
        return true;
    complain(s->inv, "group '%s' is %.*s and has %d member%s: %s wants an empty group", name,
             group->group_state.len, group->group_state.data, group->members_count,
             group->members_count == 1 ? "" : "s", what);
    fprintf(stderr, "next:  stop its members; millrace group describe %s shows who they are\n",
            name);
    return false;
}

/* The version before the bytes; newer ones only add fields behind those that are known here. */
static struct rd bytes_begin(struct session *s, struct bytes bytes, int16_t *version)
{
    struct rd r;
    struct piece *piece = arena_alloc(&s->arena, sizeof(*piece));
    must(piece != NULL);
    uint32_t len = (uint32_t)max_i64(bytes.len, 0);
    rd_init(&r, span_of(piece, bytes.data, len));
    *version = rd_i16(&r);
    return r;
}

bool group_subscription(struct session *s, struct bytes metadata,
                        struct consumer_protocol_subscription *subscription)
{
    int16_t version;
    struct rd r = bytes_begin(s, metadata, &version);
    return !r.bad && version >= 0 &&
           read_consumer_protocol_subscription(&r, &s->arena, (int16_t)min_i64(version, 3),
                                               subscription);
}

bool group_assignment(struct session *s, struct bytes bytes,
                      struct consumer_protocol_assignment *assignment)
{
    int16_t version;
    struct rd r = bytes_begin(s, bytes, &version);
    return !r.bad && version >= 0 &&
           read_consumer_protocol_assignment(&r, &s->arena, (int16_t)min_i64(version, 3),
                                             assignment);
}

/* ---- partitions ---- */

static int by_place(const void *a, const void *b)
{
    const struct group_partition *x = a;
    const struct group_partition *y = b;
    int order = text_order(x->topic, y->topic);
    return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

static void sort_by_place(struct group_partitions *partitions)
{
    if (partitions->count > 1)
        qsort(partitions->list, partitions->count, sizeof(*partitions->list), by_place);
    partitions->sorted = partitions->count;
}

static struct group_partition *partition_add(struct session *s, struct group_partitions *partitions,
                                             struct str topic, int32_t partition)
{
    if (partitions->count == partitions->room) {
        uint32_t room = partitions->room ? 2 * partitions->room : 64;
        struct group_partition *grown = arena_array(&s->arena, room, sizeof(*grown));
        must(grown != NULL);
        if (partitions->count > 0)
            memcpy(grown, partitions->list, partitions->count * sizeof(*grown));
        partitions->list = grown;
        partitions->room = room;
    }
    struct group_partition *added = &partitions->list[partitions->count++];
    *added = (struct group_partition){
        .topic = topic, .partition = partition, .committed = -1, .start = -1, .end = -1};
    added->metadata = str_null();
    return added;
}

struct group_partition *group_partition_of(struct session *s, struct group_partitions *partitions,
                                           struct str topic, int32_t partition)
{
    const struct group_partition wanted = {.topic = topic, .partition = partition};
    struct group_partition *found =
        partitions->sorted == 0
            ? NULL
            : bsearch(&wanted, partitions->list, partitions->sorted, sizeof(wanted), by_place);
    for (uint32_t i = partitions->sorted; !found && i < partitions->count; i++)
        if (by_place(&wanted, &partitions->list[i]) == 0)
            found = &partitions->list[i];
    return found ? found : partition_add(s, partitions, topic, partition);
}

static int16_t fetched_error(const void *response)
{
    const struct offset_fetch_response *fetched = response;
    return fetched->error_code;
}

int group_committed(struct session *s, const char *name, struct group_partitions *partitions)
{
    struct offset_fetch_request request;
    struct offset_fetch_response response;
    init_offset_fetch_request(&request);
    request.group_id = str_of(name);
    request.topics_count = -1; /* all */
    int code = group_call(s, name, KEY_OFFSET_FETCH, 7, &request, &response, fetched_error);
    if (code != EXIT_OK)
        return code;
    if (response.error_code != ERR_NONE)
        return coordinator_error(s, name, response.error_code);
    for (int32_t t = 0; t < response.topics_count; t++) {
        const struct offset_fetch_response_topic *topic = &response.topics[t];
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            const struct offset_fetch_response_partition *answer = &topic->partitions[p];
            struct group_partition *partition =
                partition_add(s, partitions, topic->name, answer->partition_index);
            partition->committed = answer->error_code == ERR_NONE ? answer->committed_offset : -1;
            partition->leader_epoch = answer->committed_leader_epoch;
            partition->metadata = answer->metadata;
            partition->error = answer->error_code;
        }
    }
    sort_by_place(partitions);
    return EXIT_OK;
}

/* Metadata of every topic that is named, each once; the partitions are sorted. */
static int metadata_of(struct session *s, const struct group_partitions *partitions,
                       struct metadata_response *metadata)
{
    const char **names = arena_array(&s->arena, partitions->count, sizeof(*names));
    must(names != NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < partitions->count; i++)
        if (i == 0 || !str_equal(partitions->list[i].topic, partitions->list[i - 1].topic))
            names[count++] = text_of(s, partitions->list[i].topic);
    return cluster_metadata(s, names, count, false, metadata);
}

static int32_t leader_of(const struct metadata_response *metadata,
                         const struct group_partition *partition)
{
    for (int32_t t = 0; t < metadata->topics_count; t++) {
        const struct metadata_response_topic *topic = &metadata->topics[t];
        for (int32_t p = 0; str_equal(topic->name, partition->topic) && p < topic->partitions_count;
             p++)
            if (topic->partitions[p].partition_index == partition->partition)
                return topic->partitions[p].leader_id;
    }
    return -2; /* there is no such partition */
}

static int look_up(struct session *s, const struct metadata_response *metadata,
                   struct group_partitions *partitions, int64_t timestamp, int64_t *offsets)
{
    struct offset_query *queries = arena_array(&s->arena, partitions->count, sizeof(*queries));
    must(queries != NULL);
    for (uint32_t i = 0; i < partitions->count; i++)
        queries[i] = (struct offset_query){
            .topic = partitions->list[i].topic,
            .partition = partitions->list[i].partition,
            .leader = leader_of(metadata, &partitions->list[i]),
            .timestamp = timestamp,
        };
    int code = cluster_list_offsets(s, metadata, queries, partitions->count, UINT64_MAX);
    for (uint32_t i = 0; code == EXIT_OK && i < partitions->count; i++) {
        bool gone = queries[i].leader == -2;
        int16_t error = gone ? ERR_UNKNOWN_TOPIC_OR_PARTITION : queries[i].error;
        offsets[i] = error == ERR_NONE ? queries[i].offset : -1;
        if (error != ERR_NONE)
            partitions->list[i].error = error;
    }
    return code;
}

int group_log_ends(struct session *s, struct group_partitions *partitions)
{
    static const int64_t times[] = {TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
    struct metadata_response metadata;
    if (partitions->count == 0)
        return EXIT_OK;
    sort_by_place(partitions);
    int64_t *offsets = arena_array(&s->arena, partitions->count, sizeof(*offsets));
    must(offsets != NULL);
    int code = metadata_of(s, partitions, &metadata);
    for (uint32_t t = 0; code == EXIT_OK && t < array_count(times); t++) {
        code = look_up(s, &metadata, partitions, times[t], offsets);
        for (uint32_t i = 0; code == EXIT_OK && i < partitions->count; i++)
            if (times[t] == TIMESTAMP_EARLIEST)
                partitions->list[i].start = offsets[i];
            else
                partitions->list[i].end = offsets[i];
    }
    return code;
}

int group_offsets_at(struct session *s, struct group_partitions *partitions, int64_t timestamp,
                     int64_t *offsets)
{
    struct metadata_response metadata;
    int code = metadata_of(s, partitions, &metadata);
    return code == EXIT_OK ? look_up(s, &metadata, partitions, timestamp, offsets) : code;
}
