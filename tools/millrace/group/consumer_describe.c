/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/group/consumer_describe.h"

#include "net/err.h"

#include <string.h>

static int16_t describe_error(const void *response)
{
    const struct consumer_group_describe_response *described = response;
    return described->groups_count == 1 ? described->groups[0].error_code : ERR_NONE;
}

static struct bytes bytes_of(struct session *s, struct wr *w)
{
    const uint64_t len = wr_len(w);
    const struct out_part *part = wr_finish(w);
    uint8_t *to = arena_alloc(&s->arena, (size_t)len);
    must(to != NULL && !w->bad);
    const struct bytes bytes = {.data = to, .len = (int32_t)len};
    for (; part; part = part->next) {
        memcpy(to, part->data, part->len);
        to += part->len;
    }
    return bytes;
}

static struct bytes subscription_of(struct session *s,
                                    const struct consumer_group_describe_response_member *member)
{
    struct consumer_protocol_subscription subscription;
    struct wr w;
    init_consumer_protocol_subscription(&subscription);
    subscription.topics = member->subscribed_topic_names;
    subscription.topics_count = member->subscribed_topic_names_count;
    wr_init(&w, &s->arena);
    wr_i16(&w, 0);
    write_consumer_protocol_subscription(&w, 0, &subscription);
    return bytes_of(s, &w);
}

static struct bytes assignment_of(struct session *s,
                                  const struct consumer_group_describe_response_assignment *from)
{
    struct consumer_protocol_assignment assignment;
    const size_t count = (size_t)max_i64(from->topic_partitions_count, 0);
    struct wr w;
    init_consumer_protocol_assignment(&assignment);
    assignment.assigned_partitions =
        arena_array(&s->arena, count, sizeof(*assignment.assigned_partitions));
    must(assignment.assigned_partitions != NULL);
    for (size_t i = 0; i < count; i++)
        assignment.assigned_partitions[i] =
            (struct consumer_protocol_assignment_assigned_partition){
                .topic = from->topic_partitions[i].topic_name,
                .partitions = from->topic_partitions[i].partitions,
                .partitions_count = from->topic_partitions[i].partitions_count};
    assignment.assigned_partitions_count = (int32_t)count;
    wr_init(&w, &s->arena);
    wr_i16(&w, 0);
    write_consumer_protocol_assignment(&w, 0, &assignment);
    return bytes_of(s, &w);
}

static void tell(struct session *s, const struct consumer_group_describe_response_group *from,
                 struct describe_groups_response_group *group)
{
    const size_t count = (size_t)max_i64(from->members_count, 0);
    init_describe_groups_response_group(group);
    group->error_code = from->error_code;
    group->error_message = from->error_message;
    group->group_id = from->group_id;
    group->group_state = from->group_state;
    group->protocol_type = str_of("consumer");
    group->protocol_data = from->assignor_name;
    group->members = arena_array(&s->arena, count, sizeof(*group->members));
    must(group->members != NULL);
    for (size_t i = 0; i < count; i++) {
        const struct consumer_group_describe_response_member *member = &from->members[i];
        struct describe_groups_response_member *to = &group->members[i];
        init_describe_groups_response_member(to);
        to->member_id = member->member_id;
        to->group_instance_id = member->instance_id;
        to->client_id = member->client_id;
        to->client_host = member->client_host;
        to->member_metadata = subscription_of(s, member);
        to->member_assignment = assignment_of(s, &member->assignment);
    }
    group->members_count = (int32_t)count;
}

int consumer_describe(struct session *s, const char *name,
                      struct describe_groups_response_group *group)
{
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    struct str names[1] = {str_of(name)};
    const struct broker_link *link = group_coordinator(s, name);
    if (!link)
        return EXIT_UNREACHABLE;
    if (client_version(&link->client, KEY_CONSUMER_GROUP_DESCRIBE, CLIENT_NEWEST) < 0) {
        group->error_code = ERR_GROUP_ID_NOT_FOUND;
        return EXIT_OK;
    }
    init_consumer_group_describe_request(&request);
    request.group_ids = names;
    request.group_ids_count = 1;
    int code = group_call(s, name, KEY_CONSUMER_GROUP_DESCRIBE, CLIENT_NEWEST, &request, &response,
                          describe_error);
    if (code != EXIT_OK)
        return code;
    if (response.groups_count != 1) {
        complain(s->inv, "group '%s': the answer is about %d groups", name, response.groups_count);
        return EXIT_FAILED;
    }
    tell(s, &response.groups[0], group);
    return EXIT_OK;
}
