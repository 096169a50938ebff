/* SPDX-License-Identifier: Apache-2.0
 *
 * Removing groups, or some of the offsets that a group has committed: `millrace group delete` and
 * `millrace group offset-delete`.
 */
#include "net/err.h"
#include "tools/millrace/group/groups.h"
#include "tools/millrace/partition_list.h"

#include <string.h>

static void next_step(int16_t error)
{
    if (error == ERR_NON_EMPTY_GROUP)
        fprintf(stderr, "next:  stop its members; millrace group describe shows who they are\n");
    if (error == ERR_GROUP_SUBSCRIBED_TO_TOPIC)
        fprintf(stderr,
                "next:  stop the members that read that topic, or group seek its offsets\n");
}

static int say_group_error(struct session *s, const char *group, int16_t error)
{
    char thing[320];
    if (error == ERR_NONE)
        return EXIT_OK;
    if (error == ERR_GROUP_ID_NOT_FOUND)
        return group_not_found(s, group);
    (void)snprintf(thing, sizeof(thing), "group '%s'", group);
    int code = broker_error(s, thing, error, str_null());
    next_step(error);
    return code;
}

/* ---- groups ---- */

static int16_t delete_error(const void *response)
{
    const struct delete_groups_response *deleted = response;
    return deleted->results_count == 1 ? deleted->results[0].error_code : ERR_NONE;
}

static int delete_one(struct session *s, const char *name, struct listing *listing)
{
    struct delete_groups_request request;
    struct delete_groups_response response;
    struct str names[1] = {str_of(name)};
    init_delete_groups_request(&request);
    request.groups_names = names;
    request.groups_names_count = 1;
    int code =
        group_call(s, name, KEY_DELETE_GROUPS, CLIENT_NEWEST, &request, &response, delete_error);
    if (code != EXIT_OK)
        return code;
    int16_t error =
        response.results_count == 1 ? response.results[0].error_code : ERR_UNKNOWN_SERVER_ERROR;
    code = say_group_error(s, name, error);
    listing_row(listing,
                json_pack("{s:o, s:s, s:s?}", "group", json_of(str_of(name)), "result",
                          error ? "failed" : "deleted", "error", error ? err_name(error) : NULL));
    return code;
}

static int delete_groups(struct session *s)
{
    static const struct column columns[] = {
        {.key = "group", .title = "GROUP"},
        {.key = "result", .title = "RESULT"},
        {.key = "error", .title = "ERROR", .wide = true},
    };
    struct tally tally = {0};
    struct listing *listing = listing_open_report(s->inv, columns, array_count(columns));
    for (uint32_t i = 0; i < s->inv->operand_count; i++)
        tally_add(&tally, delete_one(s, s->inv->operands[i], listing));
    listing_close(listing);
    return tally_code(&tally);
}

int cmd_group_delete(struct invocation *inv)
{
    return session_run(inv, delete_groups);
}

/* ---- offsets ---- */

static int16_t offset_delete_error(const void *response)
{
    return ((const struct offset_delete_response *)response)->error_code;
}

/* Of what is committed, the partitions that were named. */
static int choose(struct session *s, const char *group, const struct group_partitions *committed,
                  struct group_partitions *chosen)
{
    const char *text;
    for (uint32_t cursor = 0; (text = option_next(s->inv, "topic", &cursor));) {
        struct topic_choice choice = topic_choice_of(text);
        const struct str topic = {choice.topic, (int32_t)choice.len};
        uint32_t before = chosen->count;
        bool bad = false;
        for (uint32_t i = 0; i < committed->count && !bad; i++) {
            const struct group_partition *at = &committed->list[i];
            if (str_equal(at->topic, topic) && partition_list_has(choice.list, at->partition, &bad))
                (void)group_partition_of(s, chosen, at->topic, at->partition);
        }
        if (bad)
            return usage_error(s->inv, "--topic %s: a list such as orders:0,3-5 is wanted", text);
        if (chosen->count == before) {
            complain(s->inv, "group '%s' has committed nothing in %s", group, text);
            return EXIT_PRESENCE;
        }
    }
    return EXIT_OK;
}

static void delete_request(struct session *s, const char *group,
                           const struct group_partitions *chosen,
                           struct offset_delete_request *request)
{
    init_offset_delete_request(request);
    request->group_id = str_of(group);
    request->topics = arena_array(&s->arena, chosen->count, sizeof(*request->topics));
    struct offset_delete_request_partition *partition =
        arena_array(&s->arena, chosen->count, sizeof(*partition));
    must(request->topics && partition);
    struct offset_delete_request_topic *topic = NULL;
    for (uint32_t i = 0; i < chosen->count; i++, partition++) {
        if (!topic || !str_equal(topic->name, chosen->list[i].topic)) {
            topic = &request->topics[request->topics_count++];
            init_offset_delete_request_topic(topic);
            topic->name = chosen->list[i].topic;
            topic->partitions = partition;
        }
        init_offset_delete_request_partition(partition);
        partition->partition_index = chosen->list[i].partition;
        topic->partitions_count++;
    }
}

static int report_offset(struct session *s, struct str topic, int32_t partition, int16_t error,
                         struct listing *listing)
{
    int code = EXIT_OK;
    if (error != ERR_NONE) {
        code = partition_error(s, topic, partition, error);
        next_step(error);
    }
    listing_row(listing, json_pack("{s:o, s:i, s:s, s:s?}", "topic", json_of(topic), "partition",
                                   partition, "result", error ? "failed" : "deleted", "error",
                                   error ? err_name(error) : NULL));
    return code;
}

static int delete_offsets(struct session *s)
{
    static const struct column columns[] = {
        {.key = "topic", .title = "TOPIC"},
        {.key = "partition", .title = "PARTITION"},
        {.key = "result", .title = "RESULT"},
        {.key = "error", .title = "ERROR", .wide = true},
    };
    const char *group = s->inv->operands[0];
    struct group_partitions committed = {0};
    struct group_partitions chosen = {0};
    struct offset_delete_request request;
    struct offset_delete_response response;
    if (!option_on(s->inv, "topic"))
        return usage_error(s->inv, "--topic TOPIC[:PARTITIONS] is wanted");
    int code = group_committed(s, group, &committed);
    if (code == EXIT_OK)
        code = choose(s, group, &committed, &chosen);
    if (code != EXIT_OK)
        return code;
    delete_request(s, group, &chosen, &request);
    code = group_call(s, group, KEY_OFFSET_DELETE, CLIENT_NEWEST, &request, &response,
                      offset_delete_error);
    if (code == EXIT_OK)
        code = say_group_error(s, group, response.error_code);
    if (code != EXIT_OK)
        return code;
    struct tally tally = {0};
    struct listing *listing = listing_open_report(s->inv, columns, array_count(columns));
    for (int32_t t = 0; t < response.topics_count; t++)
        for (int32_t p = 0; p < response.topics[t].partitions_count; p++)
            tally_add(&tally, report_offset(s, response.topics[t].name,
                                            response.topics[t].partitions[p].partition_index,
                                            response.topics[t].partitions[p].error_code, listing));
    listing_close(listing);
    return tally_code(&tally);
}

int cmd_group_offset_delete(struct invocation *inv)
{
    return session_run(inv, delete_offsets);
}
