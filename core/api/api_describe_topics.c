/* SPDX-License-Identifier: Apache-2.0
 *
 * DescribeTopicPartitions (KIP-966): topics in order of name, cut into pages by a cursor.
 */
#include "core/api/api.h"
#include "core/topic_name.h"

#include <stdlib.h>
#include <string.h>

struct page {
    struct api_work work;
    struct request *q;
    struct describe_topic_partitions_request request;
    struct describe_topic_partitions_response response;
    int32_t left;  /* partitions that still fit */
    int32_t topic; /* the next one of the request */
    bool all;      /* no topic is named */
    bool failed;
};

static int by_text(const void *a, const void *b)
{
    const struct str *x = &((const struct describe_topic_partitions_request_topic *)a)->name;
    const struct str *y = &((const struct describe_topic_partitions_request_topic *)b)->name;
    int32_t shorter = x->len < y->len ? x->len : y->len;
    int order = shorter > 0 ? memcmp(x->data, y->data, (size_t)shorter) : 0;
    return order ? order : x->len - y->len;
}

/* They are in order: a topic that is named again is named once, as in Kafka. */
static void names_unite(struct describe_topic_partitions_request *request)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        if (kept == 0 || by_text(&request->topics[kept - 1], &request->topics[i]) != 0)
            request->topics[kept++] = request->topics[i];
    request->topics_count = kept;
}

/* Every name, when none is asked for. */
static bool names_fill(struct page *page)
{
    struct request *q = page->q;
    const struct image *image = api_shard(q)->image;
    struct describe_topic_partitions_request *request = &page->request;
    page->all = request->topics_count == 0;
    if (page->all) {
        request->topics = arena_array(&q->arena, image->topic_count, sizeof(*request->topics));
        if (!request->topics)
            return false;
        for (uint32_t i = 0; i < image->topic_count; i++)
            request->topics[request->topics_count++].name =
                (struct str){image->topics[i]->name, image->topics[i]->name_len};
        return true; /* they are in order */
    }
    qsort(request->topics, (size_t)request->topics_count, sizeof(*request->topics), by_text);
    names_unite(request);
    return true;
}

static void cursor_set(struct page *page, struct str topic, int32_t partition)
{
    page->response.has_next_cursor = true;
    page->response.next_cursor.topic_name = topic;
    page->response.next_cursor.partition_index = partition;
}

static bool partition_fill(struct page *page, const struct topic_image *topic, int32_t index,
                           struct describe_topic_partitions_response_partition *out)
{
    const struct partition_image *in = &topic->partitions[index];
    const int32_t leader = api_leader_id(page->q, topic, index);
    init_describe_topic_partitions_response_partition(out);
    out->error_code = leader < 0 ? ERR_LEADER_NOT_AVAILABLE : ERR_NONE;
    out->partition_index = index;
    out->leader_id = leader;
    out->leader_epoch = in->leader_epoch;
    out->replica_nodes = no_const(in->replicas);
    out->replica_nodes_count = in->replica_count;
    /* May be null by the schema, but Kafka's own admin client (3.9, 4.3) takes no null. */
    out->eligible_leader_replicas_count = 0;
    out->last_known_elr_count = 0;
    return api_in_sync(page->q, page->work.image, in, &out->isr_nodes, &out->isr_nodes_count) &&
           api_offline(page->q, page->work.image, topic, index, &out->offline_replicas,
                       &out->offline_replicas_count);
}

/* False: no memory. Sets the cursor when the page is full. */
static bool topic_fill(struct page *page, struct str name, int32_t from)
{
    struct request *q = page->q;
    const struct topic_image *topic =
        image_topic_by_name(page->work.image, name.data, (size_t)name.len);
    struct describe_topic_partitions_response_topic *out =
        &page->response.topics[page->response.topics_count++];
    init_describe_topic_partitions_response_topic(out);
    out->name = name;
    if (!api_may(q, OPERATION_DESCRIBE, RESOURCE_TOPIC, name)) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return true;
    }
    out->topic_authorized_operations = api_operations(q, RESOURCE_TOPIC, name);
    if (!topic) {
        out->error_code =
            topic_name_problem(name) ? ERR_INVALID_TOPIC_EXCEPTION : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return true;
    }
    out->topic_id = topic->id;
    out->is_internal = topic->internal;
    int32_t total = (int32_t)topic->partition_count;
    int32_t count = (int32_t)min_i64(max_i64(total - from, 0), page->left);
    out->partitions = arena_array(&q->arena, (size_t)count, sizeof(*out->partitions));
    if (!out->partitions)
        return false;
    for (int32_t i = 0; i < count; i++)
        if (!partition_fill(page, topic, from + i, &out->partitions[out->partitions_count++]))
            return false;
    page->left -= count;
    if (from + count < total)
        cursor_set(page, name, from + count);
    return true;
}

/* One topic: false when the page is over. */
static bool page_step(struct api_work *work)
{
    struct page *page = container_of(work, struct page, work);
    const struct describe_topic_partitions_request *request = &page->request;
    if (page->topic == request->topics_count)
        return false;
    const struct describe_topic_partitions_request_topic *in = &request->topics[page->topic++];
    int32_t from = 0;
    if (request->has_cursor) {
        const struct describe_topic_partitions_request_topic at = {.name =
                                                                       request->cursor.topic_name};
        int order = by_text(in, &at);
        if (order < 0)
            return true;
        if (order == 0)
            from = (int32_t)max_i64(request->cursor.partition_index, 0);
    }
    if (page->left == 0) {
        cursor_set(page, in->name, from);
        return false;
    }
    page->failed = !topic_fill(page, in->name, from);
    return !page->failed && !page->response.has_next_cursor;
}

/* A cursor stands in one of the topics that are asked for. */
static bool cursor_stands(const struct page *page)
{
    const struct describe_topic_partitions_request *request = &page->request;
    if (!request->has_cursor)
        return true;
    bool found = page->all;
    for (int32_t i = 0; !found && i < request->topics_count; i++)
        found = str_equal(request->topics[i].name, request->cursor.topic_name);
    return found && request->cursor.partition_index >= 0;
}

static void page_refuse(struct page *page)
{
    struct describe_topic_partitions_response *response = &page->response;
    const int32_t count = page->all ? 0 : page->request.topics_count;
    for (int32_t i = 0; i < count; i++) {
        struct describe_topic_partitions_response_topic *out =
            &response->topics[response->topics_count++];
        init_describe_topic_partitions_response_topic(out);
        out->name = page->request.topics[i].name;
        out->error_code = ERR_INVALID_REQUEST;
    }
    api_answer(page->q, KAFKA_DESCRIBE_TOPIC_PARTITIONS_RESPONSE, response);
}

static void page_done(struct api_work *work)
{
    struct page *page = container_of(work, struct page, work);
    if (page->failed)
        api_malformed(page->q);
    else
        api_work_answer(work, KAFKA_DESCRIBE_TOPIC_PARTITIONS_RESPONSE, &page->response);
}

void api_describe_topic_partitions(struct broker_shard *bs, struct request *q)
{
    const int32_t limit = bs->broker->conf->broker.max_request_partition_size_limit;
    const int16_t version = q->header.request_api_version;
    struct rd rd;
    struct page *page = api_op_new(q, sizeof(*page), &rd);
    if (!page)
        return;
    api_work_init(&page->work, q);
    page->q = q;
    init_describe_topic_partitions_response(&page->response);
    bool whole = read_describe_topic_partitions_request(&rd, &q->arena, version, &page->request) &&
                 names_fill(page);
    if (whole)
        page->response.topics = arena_array(&q->arena, (size_t)page->request.topics_count,
                                            sizeof(*page->response.topics));
    page->left = (int32_t)min_i64(max_i64(page->request.response_partition_limit, 1), limit);
    if (whole && page->response.topics && !cursor_stands(page))
        page_refuse(page);
    else if (whole && page->response.topics)
        api_work_go(&page->work, page_step, page_done);
    else
        api_malformed(q);
}
