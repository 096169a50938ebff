/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace group seek`: other offsets for groups that nobody is in. Nothing is changed without
 * --execute; what would be is printed instead.
 */
#include "net/err.h"
#include "tools/millrace/group/seek_target.h"
#include "tools/millrace/partition_list.h"

#include <string.h>

struct seek {
    struct session *s;
    const char *group;
    struct seek_target target;
    struct group_partitions now; /* what the group has committed */
    struct group_partitions
        chosen;    /* what is to change; TO_FILE, TO_GROUP: `committed` is where to */
    int64_t *to;   /* per chosen: the new offset */
    int64_t *from; /* and the one it has, -1: none */
    struct tally tally;
};

/* ---- which partitions ---- */

static int choose_topic(struct seek *seek, struct topic_choice choice)
{
    struct session *s = seek->s;
    char name[256];
    const char *names[1] = {name};
    (void)snprintf(name, sizeof(name), "%.*s", (int)choice.len, choice.topic);
    struct metadata_response metadata;
    int code = cluster_metadata(s, names, 1, false, &metadata);
    if (code != EXIT_OK || metadata.topics_count < 1)
        return code;
    const struct metadata_response_topic *topic = &metadata.topics[0];
    if (topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return topic_not_found(s, name);
    if (topic->error_code != ERR_NONE)
        return broker_error(s, name, topic->error_code, str_null());
    uint32_t before = seek->chosen.count;
    bool bad = false;
    for (int32_t i = 0; i < topic->partitions_count && !bad; i++)
        if (partition_list_has(choice.list, topic->partitions[i].partition_index, &bad))
            (void)group_partition_of(s, &seek->chosen, topic->name,
                                     topic->partitions[i].partition_index);
    if (bad)
        return usage_error(s->inv, "%s:%s: a list such as 0,3-5 is wanted", name, choice.list);
    if (seek->chosen.count > before)
        return EXIT_OK;
    complain(s->inv, "topic '%s' has none of the partitions %s, only 0 to %d", name,
             choice.list ? choice.list : "", topic->partitions_count - 1);
    return EXIT_PRESENCE;
}

/* Without --allow-new-topics rpk's --topics only narrows what the group has committed. */
static bool may_choose(const struct seek *seek, struct str topic)
{
    bool has = seek->target.kind == TO_GROUP || option_on(seek->s->inv, "allow-new-topics");
    for (uint32_t i = 0; !has && i < seek->now.count; i++)
        has = str_equal(seek->now.list[i].topic, topic);
    if (!has)
        note(seek->s->inv,
             "topic '%.*s' is left out: group '%s' has committed nothing there, and "
             "--allow-new-topics is not given",
             topic.len, topic.data, seek->group);
    return has;
}

/* --topic T[:LIST], again and again, and rpk's --topics A,B. */
static int choose_topics(struct seek *seek)
{
    const struct invocation *inv = seek->s->inv;
    const char *text;
    int code = EXIT_OK;
    for (uint32_t cursor = 0; code == EXIT_OK && (text = option_next(inv, "topic", &cursor));)
        code = choose_topic(seek, topic_choice_of(text));
    for (uint32_t cursor = 0; code == EXIT_OK && (text = option_next(inv, "topics", &cursor));)
        for (const char *at = text; code == EXIT_OK && *at;) {
            size_t len = strcspn(at, ",");
            if (may_choose(seek, (struct str){at, (int32_t)len}))
                code = choose_topic(seek, (struct topic_choice){.topic = at, .len = len});
            at += len + (at[len] == ',');
        }
    return code;
}

/* Of another set, those whose topic was named, or all of them when none was. */
static void keep_chosen(struct seek *seek, const struct group_partitions *from)
{
    struct group_partitions named = seek->chosen;
    seek->chosen = (struct group_partitions){0};
    for (uint32_t i = 0; i < from->count; i++) {
        const struct group_partition *at = &from->list[i];
        bool wanted = named.count == 0;
        for (uint32_t j = 0; !wanted && j < named.count; j++)
            wanted = named.list[j].partition == at->partition &&
                     str_equal(named.list[j].topic, at->topic);
        if (wanted && at->committed >= 0)
            *group_partition_of(seek->s, &seek->chosen, at->topic, at->partition) = *at;
    }
}

static int choose(struct seek *seek)
{
    struct session *s = seek->s;
    struct group_partitions other = {0};
    bool named = option_on(s->inv, "topic") || option_on(s->inv, "topics");
    if (named && (option_on(s->inv, "all-topics") || seek->target.kind == TO_FILE))
        return usage_error(s->inv, "--topic and %s do not go together",
                           seek->target.kind == TO_FILE ? "a file" : "--all-topics");
    if (seek->target.kind == TO_FILE)
        return seek_file_read(s, seek->target.text, seek->group, &seek->chosen);
    int code = choose_topics(seek);
    if (code == EXIT_OK && seek->target.kind == TO_GROUP) {
        code = group_committed(s, seek->target.text, &other);
        keep_chosen(seek, &other);
        if (code == EXIT_OK && seek->chosen.count == 0) {
            complain(s->inv, "group '%s' has committed nothing there", seek->target.text);
            return EXIT_PRESENCE;
        }
    } else if (code == EXIT_OK) {
        if (!named)
            keep_chosen(seek, &seek->now);
        if (seek->chosen.count == 0 && !option_on(s->inv, "all-groups")) {
            complain(s->inv, "group '%s' has committed nothing%s", seek->group,
                     named ? " in these topics" : "");
            fprintf(stderr, "next:  --topic TOPIC names what it is to read\n");
            return EXIT_PRESENCE;
        }
    }
    return code;
}

/* ---- where to ---- */

static int64_t target_of(const struct seek *seek, uint32_t i, int64_t at_time)
{
    const struct group_partition *partition = &seek->chosen.list[i];
    int64_t from = seek->from[i];
    switch (seek->target.kind) {
    case TO_START:
        return partition->start;
    case TO_END:
        return partition->end;
    case TO_CURRENT:
        return from >= 0 ? from : partition->end;
    case TO_OFFSET:
        return seek->target.number;
    case TO_SHIFT:
        return from >= 0 ? from + seek->target.number : -1;
    case TO_TIME:
        return at_time >= 0 ? at_time : partition->end;
    case TO_FILE:
    case TO_GROUP:
        return partition->committed;
    }
    return -1;
}

/* Into the log, as kafka-consumer-groups does it, and said. */
static int64_t into_log(const struct seek *seek, const struct group_partition *partition,
                        int64_t offset)
{
    int64_t inside = max_i64(min_i64(offset, partition->end), partition->start);
    if (inside != offset)
        note(seek->s->inv,
             "topic '%.*s', partition %d: offset %lld is not in %lld to %lld, so it is %lld",
             partition->topic.len, partition->topic.data, partition->partition, (long long)offset,
             (long long)partition->start, (long long)partition->end, (long long)inside);
    return inside;
}

static int find_target(struct seek *seek, uint32_t i, int64_t at_time)
{
    struct session *s = seek->s;
    const struct group_partition *partition = &seek->chosen.list[i];
    if (partition->end < 0 || partition->start < 0)
        return partition_error(s, partition->topic, partition->partition, partition->error);
    if (seek->target.kind == TO_SHIFT && seek->from[i] < 0) {
        complain(s->inv, "topic '%.*s', partition %d: group '%s' has committed nothing to shift",
                 partition->topic.len, partition->topic.data, partition->partition, seek->group);
        return EXIT_PRESENCE;
    }
    seek->to[i] = into_log(seek, partition, target_of(seek, i, at_time));
    return EXIT_OK;
}

static int find_targets(struct seek *seek)
{
    struct session *s = seek->s;
    int code = group_log_ends(s, &seek->chosen);
    uint32_t count = seek->chosen.count;
    int64_t *at_time = arena_array(&s->arena, count, sizeof(*at_time));
    seek->to = arena_array(&s->arena, count, sizeof(*seek->to));
    seek->from = arena_array(&s->arena, count, sizeof(*seek->from));
    must(at_time && seek->to && seek->from);
    if (code == EXIT_OK && seek->target.kind == TO_TIME)
        code = group_offsets_at(s, &seek->chosen, seek->target.number, at_time);
    for (uint32_t i = 0; code == EXIT_OK && i < count; i++) {
        const struct group_partition *partition = &seek->chosen.list[i];
        seek->from[i] =
            group_partition_of(s, &seek->now, partition->topic, partition->partition)->committed;
        seek->to[i] = -1;
        tally_add(&seek->tally,
                  find_target(seek, i, seek->target.kind == TO_TIME ? at_time[i] : -1));
    }
    return code;
}

/* ---- doing it ---- */

static int16_t commit_error(const void *response)
{
    const struct offset_commit_response *committed = response;
    int16_t error = ERR_NONE;
    for (int32_t t = 0; t < committed->topics_count; t++)
        for (int32_t p = 0; p < committed->topics[t].partitions_count; p++)
            error = error ? error : committed->topics[t].partitions[p].error_code;
    return error;
}

static void commit_request(struct seek *seek, struct offset_commit_request *request)
{
    struct session *s = seek->s;
    uint32_t count = seek->chosen.count;
    init_offset_commit_request(request);
    request->group_id = str_of(seek->group); /* a generation of -1 and no member: the admin's way */
    request->topics = arena_array(&s->arena, count, sizeof(*request->topics));
    struct offset_commit_request_partition *partitions =
        arena_array(&s->arena, count, sizeof(*partitions));
    must(request->topics && partitions);
    struct offset_commit_request_topic *topic = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct group_partition *at = &seek->chosen.list[i];
        if (seek->to[i] < 0)
            continue;
        if (!topic || !str_equal(topic->name, at->topic)) {
            topic = &request->topics[request->topics_count++];
            init_offset_commit_request_topic(topic);
            topic->name = at->topic;
            topic->partitions = partitions;
        }
        init_offset_commit_request_partition(partitions);
        partitions->partition_index = at->partition;
        partitions->committed_offset = seek->to[i];
        partitions->committed_metadata = str_of("");
        partitions++;
        topic->partitions_count++;
    }
}

static int16_t error_of(const struct offset_commit_response *response,
                        const struct group_partition *partition)
{
    for (int32_t t = 0; t < response->topics_count; t++)
        for (int32_t p = 0; p < response->topics[t].partitions_count; p++)
            if (response->topics[t].partitions[p].partition_index == partition->partition &&
                str_equal(response->topics[t].name, partition->topic))
                return response->topics[t].partitions[p].error_code;
    return ERR_UNKNOWN_SERVER_ERROR;
}

/* One request for all, as they belong to one group. */
static int commit(struct seek *seek)
{
    struct session *s = seek->s;
    struct tally *tally = &seek->tally;
    struct offset_commit_request request;
    struct offset_commit_response response;
    commit_request(seek, &request);
    if (request.topics_count == 0)
        return EXIT_OK;
    int code = group_call(s, seek->group, KEY_OFFSET_COMMIT, 9, &request, &response, commit_error);
    if (code != EXIT_OK)
        return code;
    *tally = (struct tally){.bad = tally->bad, .code = tally->code};
    for (uint32_t i = 0; i < seek->chosen.count; i++) {
        struct group_partition *partition = &seek->chosen.list[i];
        if (seek->to[i] < 0)
            continue;
        partition->error = error_of(&response, partition);
        tally_add(tally, partition->error == ERR_NONE
                             ? EXIT_OK
                             : partition_error(s, partition->topic, partition->partition,
                                               partition->error));
    }
    return EXIT_OK;
}

/* ---- printing ---- */

static const struct column columns[] = {
    {.key = "group", .title = "GROUP"}, /* where there are several */
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "from_offset", .title = "FROM"},
    {.key = "to_offset", .title = "TO"},
    {.key = "result", .title = "RESULT"},
    {.key = "start_offset", .title = "START", .wide = true},
    {.key = "end_offset", .title = "END", .wide = true},
    {.key = "error", .title = "ERROR", .wide = true},
};

static void print_group(struct listing *listing, const struct seek *seek, bool done)
{
    for (uint32_t i = 0; i < seek->chosen.count; i++) {
        const struct group_partition *at = &seek->chosen.list[i];
        bool failed = seek->to[i] < 0 || at->error != ERR_NONE;
        listing_row(listing, json_pack("{s:o, s:o, s:i, s:o, s:o, s:s, s:o, s:o, s:s?}", "group",
                                       json_of(str_of(seek->group)), "topic", json_of(at->topic),
                                       "partition", at->partition, "from_offset",
                                       json_of_offset(seek->from[i]), "to_offset",
                                       json_of_offset(seek->to[i]), "result",
                                       failed ? "failed"
                                       : done ? "moved"
                                              : "planned",
                                       "start_offset", json_of_offset(at->start), "end_offset",
                                       json_of_offset(at->end), "error",
                                       at->error ? err_name(at->error) : NULL));
    }
}

static void print_plan(const struct invocation *inv, const struct seek *seeks, uint32_t count,
                       bool done)
{
    uint32_t first = option_on(inv, "all-groups") ? 0 : 1;
    struct listing *listing =
        listing_open_report(inv, columns + first, array_count(columns) - first);
    for (uint32_t i = 0; i < count; i++)
        print_group(listing, &seeks[i], done);
    listing_close(listing);
}

/* What --from-file and kafka-consumer-groups read. */
static void print_export(const struct seek *seek)
{
    bool several = option_on(seek->s->inv, "all-groups");
    for (uint32_t i = 0; i < seek->chosen.count; i++)
        if (seek->to[i] >= 0)
            printf("%s%s%.*s,%d,%lld\n", several ? seek->group : "", several ? "," : "",
                   seek->chosen.list[i].topic.len, seek->chosen.list[i].topic.data,
                   seek->chosen.list[i].partition, (long long)seek->to[i]);
}

/* ---- all of it ---- */

/* A group that is none may be given its first offsets, but only when topics are named: a slip in
 * its name is then seen. */
static int check_group(struct seek *seek)
{
    struct session *s = seek->s;
    struct describe_groups_response_group group;
    int code = group_describe(s, seek->group, &group);
    if (code != EXIT_OK)
        return code;
    bool missing = group.error_code == ERR_GROUP_ID_NOT_FOUND;
    bool named = option_on(s->inv, "topic") || option_on(s->inv, "allow-new-topics") ||
                 seek->target.kind == TO_FILE || seek->target.kind == TO_GROUP;
    if (missing && !named)
        return group_not_found(s, seek->group);
    if (missing)
        note(s->inv, "group '%s' is new", seek->group);
    else if (group.error_code != ERR_NONE)
        return broker_error(s, seek->group, group.error_code, group.error_message);
    return group_is_empty(s, seek->group, &group, "seek") ? EXIT_OK : EXIT_FAILED;
}

static int seek_group(struct seek *seek, bool execute)
{
    int code = check_group(seek);
    if (code == EXIT_OK)
        code = group_committed(seek->s, seek->group, &seek->now);
    if (code == EXIT_OK)
        code = choose(seek);
    if (code == EXIT_OK && seek->chosen.count > 0)
        code = find_targets(seek);
    if (code == EXIT_OK && execute)
        code = commit(seek);
    return code;
}

/* One after another; a group that cannot be moved does not keep the others from it. *planned: for
 * so many partitions there is something to tell. */
static int seek_groups(struct seek *seeks, uint32_t count, bool execute, uint32_t *planned)
{
    struct tally tally = {0};
    *planned = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct seek *seek = &seeks[i];
        int code = seek_group(seek, execute);
        if (code != EXIT_OK) {
            seek->chosen.count = 0;
            seek->tally = (struct tally){.bad = 1, .code = code};
        }
        *planned += seek->chosen.count;
        tally.good += seek->tally.good;
        tally.bad += seek->tally.bad;
        tally.code = seek->tally.bad > 0 ? seek->tally.code : tally.code;
    }
    return tally_code(&tally);
}

static int run(struct session *s)
{
    const struct invocation *inv = s->inv;
    bool execute = option_on(inv, "execute");
    bool export = option_on(inv, "export");
    struct seek_target target;
    const char *const *names;
    uint32_t count;
    uint32_t planned;
    if (execute && (export || option_on(inv, "dry-run")))
        return usage_error(inv, "--execute and --%s do not go together",
                           export ? "export" : "dry-run");
    int code = seek_target_read(s, &target);
    if (code == EXIT_OK && target.kind == TO_FILE && option_on(inv, "all-groups"))
        code = usage_error(inv, "--all-groups and a file do not go together");
    if (code == EXIT_OK)
        code = groups_asked(s, true, &names, &count);
    if (code != EXIT_OK)
        return code;
    struct seek *seeks = arena_array(&s->arena, count, sizeof(*seeks));
    must(seeks != NULL);
    for (uint32_t i = 0; i < count; i++)
        seeks[i] = (struct seek){.s = s, .group = names[i], .target = target};
    code = seek_groups(seeks, count, execute, &planned);
    if (code != EXIT_OK && planned == 0)
        return code;
    for (uint32_t i = 0; export && i < count; i++)
        print_export(&seeks[i]);
    if (!export)
        print_plan(inv, seeks, count, execute);
    if (!execute && !export && format_is_table(inv))
        note(inv, "nothing was changed: --execute does it");
    return code;
}
int cmd_group_seek(struct invocation *inv)
{
    return session_run(inv, run);
}
