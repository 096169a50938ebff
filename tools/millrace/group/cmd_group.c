/* SPDX-License-Identifier: Apache-2.0
 *
 * Consumer groups as they are: `millrace group list` and `millrace group describe`.
 */
#include "io/nearest.h"
#include "net/err.h"
#include "tools/millrace/group/groups.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

/* ---- list ---- */

static const struct column list_columns[] = {
    {.key = "group", .title = "GROUP"},
    {.key = "state", .title = "STATE"},
    {.key = "protocol_type", .title = "PROTOCOL"},
    {.key = "type", .title = "TYPE", .wide = true},
    {.key = "coordinator", .title = "COORDINATOR"},
};

static const char *const state_names[] = {
    "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty",
    "Assigning",          "Reconciling"};
static const char *const type_names[] = {"classic", "consumer", "share", "streams"};

/* "stable,Empty" into the names that brokers use. */
static int filter_take(const struct invocation *inv, const char *option, const char *const *names,
                       size_t name_count, struct str *to, size_t room, int32_t *count)
{
    const char *list;
    for (uint32_t cursor = 0; (list = option_next(inv, option, &cursor));) {
        for (const char *at = list; *at;) {
            char word[32];
            size_t len = strcspn(at, ",");
            (void)snprintf(word, sizeof(word), "%.*s", (int)len, at);
            struct nearest nearest;
            nearest_begin(&nearest, word);
            size_t i = 0;
            while (i < name_count && strcasecmp(names[i], word) != 0)
                (void)nearest_offer(&nearest, names[i++]);
            if (i == name_count)
                return usage_error(inv, "--%s %s: there is none of that name%s", option, word,
                                   did_you_mean(nearest.found));
            if ((size_t)*count == room)
                return usage_error(inv, "--%s: more than %zu", option, room);
            to[(*count)++] = str_of(names[i]);
            at += len + (at[len] == ',');
        }
    }
    return EXIT_OK;
}

static json_t *or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *list_row(const struct group_entry *entry)
{
    return json_pack("{s:o, s:o, s:s, s:o, s:i}", "group", json_of(str_of(entry->name)), "state",
                     or_null(entry->state), "protocol_type", entry->protocol_type, "type",
                     or_null(entry->type), "coordinator", entry->broker);
}

static int list(struct session *s)
{
    struct group_filter filter = {0};
    struct group_entry *entries;
    uint32_t count;
    int code = filter_take(s->inv, "state", state_names, array_count(state_names), filter.states,
                           array_count(filter.states), &filter.state_count);
    if (code == EXIT_OK)
        code = filter_take(s->inv, "type", type_names, array_count(type_names), filter.types,
                           array_count(filter.types), &filter.type_count);
    if (code == EXIT_OK)
        code = group_list(s, &filter, &entries, &count);
    if (code != EXIT_OK)
        return code;
    const char *pattern = s->inv->operand_count > 0 ? s->inv->operands[0] : NULL;
    struct listing *listing = listing_open(s->inv, list_columns, array_count(list_columns));
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pattern && fnmatch(pattern, entries[i].name, 0) != 0)
            continue;
        listing_row(listing, list_row(&entries[i]));
        shown++;
    }
    listing_close(listing);
    if (shown == 0 && format_is_table(s->inv))
        note(s->inv, "no groups%s%s", pattern ? " match " : "", pattern ? pattern : "");
    return EXIT_OK;
}

int cmd_group_list(struct invocation *inv)
{
    return session_run(inv, list);
}

/* ---- describe: what is known of a group ---- */

static const struct column member_columns[] = {
    {.key = "member", .title = "MEMBER"},
    {.key = "instance_id", .title = "INSTANCE", .wide = true},
    {.key = "client", .title = "CLIENT"},
    {.key = "host", .title = "HOST"},
    {.key = "topics", .title = "TOPICS", .wide = true},
    {.key = "partition_count", .title = "PARTITIONS"},
};

static const struct column partition_columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "partition", .title = "PARTITION"},
    {.key = "committed_offset", .title = "COMMITTED"},
    {.key = "start_offset", .title = "START", .wide = true},
    {.key = "end_offset", .title = "END"},
    {.key = "lag", .title = "LAG"},
    {.key = "member", .title = "MEMBER"},
    {.key = "client", .title = "CLIENT"},
    {.key = "host", .title = "HOST", .wide = true},
    {.key = "metadata", .title = "METADATA", .wide = true},
    {.key = "error", .title = "ERROR", .wide = true},
};

/* -1: not known. */
static int64_t lag_of(const struct group_partition *partition)
{
    return partition->committed >= 0 && partition->end >= 0
               ? max_i64(partition->end - partition->committed, 0)
               : -1;
}

static json_t *partition_row(const struct group_partition *partition)
{
    const struct describe_groups_response_member *member = partition->member;
    struct str none = str_null();
    json_t *row = json_pack(
        "{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}", "topic",
        json_of(partition->topic), "partition", partition->partition, "committed_offset",
        json_of_offset(partition->committed), "start_offset", json_of_offset(partition->start),
        "end_offset", json_of_offset(partition->end), "lag", json_of_offset(lag_of(partition)),
        "member", json_of(member ? member->member_id : none), "client",
        json_of(member ? member->client_id : none), "host",
        json_of(member ? member->client_host : none), "metadata", json_of(partition->metadata),
        "error", partition->error ? err_name(partition->error) : NULL);
    return row;
}

/* What a member has been given, beside what is committed there. */
static json_t *take_assignment(struct session *s, struct group_partitions *partitions,
                               const struct describe_groups_response_member *member,
                               json_int_t *count)
{
    struct consumer_protocol_assignment assignment;
    json_t *list = json_array();
    *count = 0;
    if (member->member_assignment.len <= 0 ||
        !group_assignment(s, member->member_assignment, &assignment))
        return list;
    for (int32_t t = 0; t < assignment.assigned_partitions_count; t++) {
        const struct consumer_protocol_assignment_assigned_partition *topic =
            &assignment.assigned_partitions[t];
        for (int32_t p = 0; p < topic->partitions_count; p++)
            group_partition_of(s, partitions, topic->topic, topic->partitions[p])->member = member;
        *count += topic->partitions_count;
        (void)json_array_append_new(
            list, json_pack("{s:o, s:o}", "topic", json_of(topic->topic), "partitions",
                            json_of_i32s(topic->partitions, topic->partitions_count)));
    }
    return list;
}

static json_t *member_row(struct session *s, struct group_partitions *partitions,
                          const struct describe_groups_response_member *member)
{
    struct consumer_protocol_subscription subscription;
    json_t *topics = json_array();
    if (member->member_metadata.len > 0 &&
        group_subscription(s, member->member_metadata, &subscription))
        for (int32_t t = 0; t < subscription.topics_count; t++)
            (void)json_array_append_new(topics, json_of(subscription.topics[t]));
    json_int_t count;
    json_t *assigned = take_assignment(s, partitions, member, &count);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "member", json_of(member->member_id),
                     "instance_id", json_of(member->group_instance_id), "client",
                     json_of(member->client_id), "host", json_of(member->client_host), "topics",
                     topics, "assignment", assigned, "partition_count", count);
}

static int describe_one(struct session *s, const char *name, json_t **row)
{
    struct describe_groups_response_group group;
    struct group_partitions partitions = {0};
    int code = group_describe(s, name, &group);
    if (code != EXIT_OK)
        return code;
    if (group.error_code == ERR_GROUP_ID_NOT_FOUND)
        return group_not_found(s, name);
    if (group.error_code != ERR_NONE)
        return broker_error(s, name, group.error_code, group.error_message);
    const struct broker_link *link = group_coordinator(s, name);
    code = link ? group_committed(s, name, &partitions) : EXIT_UNREACHABLE;
    if (code != EXIT_OK)
        return code;
    int32_t coordinator = link->node_id;
    json_t *members = json_array();
    json_t *rows = json_array();
    for (int32_t i = 0; i < group.members_count; i++)
        (void)json_array_append_new(members, member_row(s, &partitions, &group.members[i]));
    code = group_log_ends(s, &partitions);
    json_int_t lag = 0;
    for (uint32_t i = 0; i < partitions.count; i++) {
        lag += max_i64(lag_of(&partitions.list[i]), 0);
        (void)json_array_append_new(rows, partition_row(&partitions.list[i]));
    }
    *row =
        json_pack("{s:o, s:o, s:o, s:o, s:i, s:I, s:o, s:o}", "group", json_of(str_of(name)),
                  "state", json_of(group.group_state), "protocol_type",
                  json_of(group.protocol_type), "protocol", json_of(group.protocol_data),
                  "coordinator", coordinator, "lag", lag, "members", members, "partitions", rows);
    return code;
}

/* ---- describe: printing ---- */

static const char *member_text(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

#define NAME_SHOWN_SIZE 512U

static const char *name_shown(const json_t *row, const char *key, char buffer[NAME_SHOWN_SIZE])
{
    const char *text = member_text(row, key);
    (void)snprintf(buffer, NAME_SHOWN_SIZE, "%s", text ? text : "");
    return text_visible(buffer);
}

/* For people: a line about the group, its members, its partitions; or what of that was chosen. */
static void print_description(const struct invocation *inv, const json_t *row)
{
    bool state = option_on(inv, "state");
    bool members = option_on(inv, "members");
    bool offsets = option_on(inv, "offsets");
    bool all = !state && !members && !offsets;
    const json_t *member_rows = json_object_get(row, "members");
    char group[NAME_SHOWN_SIZE];
    char protocol[NAME_SHOWN_SIZE];
    (void)name_shown(row, "protocol", protocol);
    if (all || state)
        printf("group %s  state %s%s%s  members %zu  coordinator %lld  lag %lld\n",
               name_shown(row, "group", group), member_text(row, "state"),
               protocol[0] ? "  protocol " : "", protocol, json_array_size(member_rows),
               json_integer_value(json_object_get(row, "coordinator")),
               json_integer_value(json_object_get(row, "lag")));
    if (members && json_array_size(member_rows) == 0)
        note(inv, "group %s has no members", name_shown(row, "group", group));
    if (all || members)
        listing_print(inv, member_columns, array_count(member_columns), member_rows, NULL);
    if (all || offsets)
        listing_print(inv, partition_columns, array_count(partition_columns),
                      json_object_get(row, "partitions"), NULL);
}

static int describe_groups(struct session *s, const char *const *names, uint32_t count)
{
    static const struct column awk_columns[] = {
        {.key = "group", .title = "GROUP"},
        {.key = "topic", .title = "TOPIC"},
        {.key = "partition", .title = "PARTITION"},
        {.key = "committed_offset", .title = "COMMITTED"},
        {.key = "end_offset", .title = "END"},
        {.key = "lag", .title = "LAG"},
        {.key = "member", .title = "MEMBER"},
        {.key = "client", .title = "CLIENT"},
        {.key = "host", .title = "HOST"},
    };
    bool table = format_is_table(s->inv);
    struct tally tally = {0};
    struct listing *listing =
        table ? NULL : listing_open(s->inv, awk_columns, array_count(awk_columns));
    for (uint32_t i = 0; i < count; i++) {
        json_t *row = NULL;
        tally_add(&tally, describe_one(s, names[i], &row));
        if (row && table)
            print_description(s->inv, row);
        if (row && format_of(s->inv) == FORMAT_AWK)
            listing_partitions(listing, row, "group");
        else if (row && !table)
            listing_row(listing, row);
        else
            json_decref(row);
    }
    if (listing)
        listing_close(listing);
    return tally_code(&tally);
}

static int describe(struct session *s)
{
    const char *const *names;
    uint32_t count;
    int code = groups_asked(s, false, &names, &count);
    return code == EXIT_OK ? describe_groups(s, names, count) : code;
}

int cmd_group_describe(struct invocation *inv)
{
    return session_run(inv, describe);
}
