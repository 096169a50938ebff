/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/fetch_plan.h"

#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/partition_list.h"
#include "tools/millrace/time_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- -o ---- */

enum where { AT_START, AT_END, AT_OFFSET, AFTER_START, BEFORE_END, AT_TIME };

struct position {
    enum where where;
    int64_t number; /* an offset, a count, or milliseconds */
    int64_t to_ms;  /* AT_TIME: where to end; INT64_MAX: nowhere */
};

static bool number_parse(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && text[0] >= '0' && text[0] <= '9';
}

static bool position_parse(const char *text, int64_t now_ms, struct position *position)
{
    *position = (struct position){.to_ms = INT64_MAX};
    if (strcmp(text, "start") == 0 || strcmp(text, "beginning") == 0) {
        position->where = AT_START;
        return true;
    }
    if (strcmp(text, "end") == 0) {
        position->where = AT_END;
        return true;
    }
    if (text[0] == '@') {
        const char *to = strstr(text + 1, ":@");
        size_t len = to ? (size_t)(to - text - 1) : strlen(text + 1);
        position->where = AT_TIME;
        return time_text_parse(text + 1, len, now_ms, &position->number) &&
               (!to || time_text_parse(to + 2, strlen(to + 2), now_ms, &position->to_ms));
    }
    position->where = text[0] == '+' ? AFTER_START : text[0] == '-' ? BEFORE_END : AT_OFFSET;
    return number_parse(text + (position->where != AT_OFFSET), &position->number);
}

/* ---- the plan ---- */

static int check_topic(struct session *s, const struct metadata_response_topic *topic)
{
    const char *name = text_of(s, topic->name);
    if (topic->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return topic_not_found(s, name);
    if (topic->error_code != ERR_NONE)
        return broker_error(s, name, topic->error_code, str_null());
    return EXIT_OK;
}

static int take_topic(struct fetch_plan *plan, struct session *s,
                      const struct metadata_response_topic *topic)
{
    const char *name = text_of(s, topic->name);
    const char *list = option_text(s->inv, "partition");
    int code = check_topic(s, topic);
    if (code != EXIT_OK)
        return code;
    uint32_t before = plan->count;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct metadata_response_partition *partition = &topic->partitions[i];
        bool bad = false;
        bool chosen = partition_list_has(list, partition->partition_index, &bad);
        if (bad)
            return usage_error(s->inv, "--partition %s: a list such as 0,3-5 is wanted", list);
        if (chosen)
            plan->parts[plan->count++] = (struct fetch_part){
                .topic = name,
                .topic_id = topic->topic_id,
                .partition = partition->partition_index,
                .leader = partition->leader_id,
                .committed = -1,
                .end = INT64_MAX,
            };
    }
    if (plan->count > before)
        return EXIT_OK;
    complain(s->inv, "topic '%s' has none of the partitions %s, only 0 to %d", name,
             list ? list : "", topic->partitions_count - 1);
    return EXIT_PRESENCE;
}

/* Looks one time up for all partitions; the offsets in query order. */
static int look_up(const struct fetch_plan *plan, struct session *s, int64_t timestamp,
                   struct offset_query *queries)
{
    for (uint32_t i = 0; i < plan->count; i++)
        queries[i] = (struct offset_query){
            .topic = str_of(plan->parts[i].topic),
            .partition = plan->parts[i].partition,
            .leader = plan->parts[i].leader,
            .timestamp = timestamp,
        };
    int code = cluster_list_offsets(s, &plan->metadata, queries, plan->count, UINT64_MAX);
    for (uint32_t i = 0; code == EXIT_OK && i < plan->count; i++)
        if (queries[i].error != ERR_NONE)
            code = partition_error(s, queries[i].topic, queries[i].partition, queries[i].error);
    return code;
}

static void place(struct fetch_part *part, const struct position *position, int64_t start,
                  int64_t end, int64_t from, int64_t to)
{
    switch (position->where) {
    case AT_START:
        part->next = start;
        break;
    case AT_END:
        part->next = end;
        break;
    case AT_OFFSET:
        part->next = position->number;
        break;
    case AFTER_START:
        part->next = min_i64(start + position->number, end);
        break;
    case BEFORE_END:
        part->next = max_i64(end - position->number, start);
        break;
    case AT_TIME:
        part->next = from >= 0 ? from : end;
        break;
    }
    if (position->to_ms != INT64_MAX) {
        part->end = to >= 0 ? to : end;
        part->over = part->next >= part->end;
    }
}

static int find_places(struct fetch_plan *plan, struct session *s, const struct position *position)
{
    struct offset_query *queries =
        arena_array(&s->arena, (size_t)plan->count * 4, sizeof(*queries));
    must(queries != NULL);
    struct offset_query *at[4];
    const int64_t times[] = {TIMESTAMP_EARLIEST, TIMESTAMP_LATEST, position->number,
                             position->to_ms};
    for (uint32_t i = 0; i < array_count(at); i++) {
        at[i] = &queries[(size_t)plan->count * i];
        bool wanted = i < 2 || (position->where == AT_TIME && times[i] != INT64_MAX);
        int code = wanted ? look_up(plan, s, times[i], at[i]) : EXIT_OK;
        if (code != EXIT_OK)
            return code;
        for (uint32_t j = 0; !wanted && j < plan->count; j++)
            at[i][j].offset = -1;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        struct fetch_part *part = &plan->parts[i];
        int64_t start = at[0][i].offset;
        int64_t end = at[1][i].offset;
        place(part, position, start, end, at[2][i].offset, at[3][i].offset);
        if (part->committed >= start && part->committed <= end)
            part->next = part->committed;
        else if (part->committed >= 0)
            note(s->inv,
                 "topic '%s', partition %d: the committed offset %lld is not in %lld to %lld; %lld",
                 part->topic, part->partition, (long long)part->committed, (long long)start,
                 (long long)end, (long long)part->next);
        if (part->next < start || part->next > end) {
            complain(s->inv, "topic '%s', partition %d: offset %lld is not in %lld to %lld",
                     part->topic, part->partition, (long long)part->next, (long long)start,
                     (long long)end);
            return EXIT_FAILED;
        }
        if (option_on(s->inv, "exit-at-end") && part->next >= end)
            part->over = true; /* there is nothing, and no need to wait for it */
    }
    return EXIT_OK;
}

/* An empty plan, -o, and what the cluster says of the topics. */
static int begin(struct fetch_plan *plan, struct session *s, struct position *position)
{
    const struct invocation *inv = s->inv;
    const char *where = option_text(inv, "offset");
    *plan = (struct fetch_plan){0};
    if (!position_parse(where, io_wall_ms(s->sh->io), position))
        return usage_error(inv, "--offset %s: start, end, N, +N, -N or @TIME is wanted", where);
    return cluster_metadata(s, inv->operands, inv->operand_count, false, &plan->metadata);
}

int fetch_plan_make(struct fetch_plan *plan, struct session *s)
{
    struct position position;
    int code = begin(plan, s, &position);
    if (code != EXIT_OK)
        return code;
    size_t room = 0;
    for (int32_t i = 0; i < plan->metadata.topics_count; i++)
        room += (size_t)max_i64(plan->metadata.topics[i].partitions_count, 0);
    plan->parts = mem_zalloc((room + 1) * sizeof(*plan->parts));
    for (int32_t i = 0; code == EXIT_OK && i < plan->metadata.topics_count; i++)
        code = take_topic(plan, s, &plan->metadata.topics[i]);
    return code == EXIT_OK ? find_places(plan, s, &position) : code;
}

/* ---- in a group ---- */

static void refresh_topic(struct fetch_plan *plan, const struct metadata_response_topic *topic)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        struct fetch_part *part = &plan->parts[i];
        for (int32_t j = 0; j < topic->partitions_count; j++)
            if (str_equal(topic->name, str_of(part->topic)) &&
                topic->partitions[j].partition_index == part->partition) {
                part->leader = topic->partitions[j].leader_id;
                if (uuid_is_zero(&part->topic_id)) /* later another topic of that name */
                    part->topic_id = topic->topic_id;
            }
    }
}

int fetch_plan_make_empty(struct fetch_plan *plan, struct session *s)
{
    struct position position;
    int code = begin(plan, s, &position);
    if (code == EXIT_OK && position.to_ms != INT64_MAX)
        return usage_error(s->inv, "--offset %s: a group reads on and on, so no end is wanted",
                           option_text(s->inv, "offset"));
    for (int32_t i = 0; code == EXIT_OK && i < plan->metadata.topics_count; i++)
        code = check_topic(s, &plan->metadata.topics[i]);
    return code;
}

int fetch_plan_assign(struct fetch_plan *plan, struct session *s,
                      const struct group_partitions *assigned)
{
    struct position position;
    fetch_plan_free(plan);
    int code = begin(plan, s, &position);
    if (code != EXIT_OK || assigned->count == 0)
        return code;
    plan->parts = mem_zalloc(assigned->count * sizeof(*plan->parts));
    for (uint32_t i = 0; i < assigned->count; i++)
        plan->parts[i] = (struct fetch_part){
            .topic = text_of(s, assigned->list[i].topic),
            .partition = assigned->list[i].partition,
            .leader = -1,
            .committed = assigned->list[i].committed,
            .end = INT64_MAX,
        };
    plan->count = assigned->count;
    for (int32_t i = 0; i < plan->metadata.topics_count; i++)
        refresh_topic(plan, &plan->metadata.topics[i]);
    return find_places(plan, s, &position);
}

int fetch_plan_refresh(struct fetch_plan *plan, struct session *s)
{
    int code = cluster_metadata(s, s->inv->operands, s->inv->operand_count, false, &plan->metadata);
    for (int32_t i = 0; code == EXIT_OK && i < plan->metadata.topics_count; i++)
        refresh_topic(plan, &plan->metadata.topics[i]);
    return code;
}

void fetch_plan_free(struct fetch_plan *plan)
{
    mem_free(plan->parts);
}
